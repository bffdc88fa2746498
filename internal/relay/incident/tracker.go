// Package incident is what operators are told of those who fail: an app server that takes nothing, a platform that refuses a kind of
// call. It says so once, says when it is over, and remembers what it has said. It knows no lane and no platform.
package incident

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
)

// tableIncidents holds the receivers of which operators were told that they fail: key <lane>/<target>, value incident. Whoever
// works the lane next neither says it again, nor forgets to say that it is over.
const tableIncidents = "troubles"

// TellAfter is how long failures in a row last until operators are told: with the attempt that shows it, two minutes.
const TellAfter = 75 * time.Second

// incident is a row of failures of one receiver, without a success in between.
type incident struct {
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Detail string    `json:"detail"` // of the last one
	Acked  bool      `json:"told"`   // operators know
	over   time.Time // of a incident that operators know, when it ended
}

// Tracker is what is known of how a lane's receivers do. Its methods may be called from several goroutines.
type Tracker struct {
	lane   string
	places func() []Place
	log    *slog.Logger
	after  time.Duration // of failures in a row, until operators are told
	words  Words
	apart  bool // each target is told of by itself

	mu    sync.Mutex
	of    map[string]*incident
	taken map[string]time.Time // when a receiver took an event last
}

// Words are the sentences in which operators are told.
type Words interface {
	// Down says that targets have been failing for a time; detail is what the first one said last.
	Down(targets []string, long time.Duration, detail string) string
	// Back says that targets do again, after a time.
	Back(targets []string, after time.Duration) string
}

// Store is what is needed of the store; package store says what the method promises.
type Store interface {
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
}

// rowsMost is more rows than the table has: there are a few for each receiver.
const rowsMost = 100_000

// Place is where operators are told what is of no session.
type Place struct {
	Platform string
	Thread   bridge.ThreadID
}

// Options is what is known of a lane's receivers from the first.
type Options struct {
	Name   string         // under which the lane's rows are kept
	Places func() []Place // where operators are told
	Words  Words
	After  time.Duration // of failures in a row, until operators are told
	Apart  bool          // each target is told of by itself
	Log    *slog.Logger
}

// New returns what is known of receivers of which nothing has failed yet.
func New(o Options) *Tracker {
	return &Tracker{
		lane: o.Name, places: o.Places, log: o.Log, after: o.After, words: o.Words, apart: o.Apart,
		of: map[string]*incident{}, taken: map[string]time.Time{},
	}
}

// Load begins with what the process before has told.
func (ts *Tracker) Load(ctx context.Context, s Store) error {
	rows, err := s.List(ctx, tableIncidents, "", rowsMost)
	if err != nil {
		return err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	clear(ts.of)
	for _, row := range rows {
		target, mine := strings.CutPrefix(row.Key, ts.lane+"/")
		t := &incident{}
		if mine && json.Unmarshal(row.Value, t) == nil {
			ts.of[target] = t
		}
	}
	return nil
}

// Failing says whether the last attempt for a receiver failed.
func (ts *Tracker) Failing(target string) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.of[target]
	return t != nil && t.over.IsZero()
}

// TookSince says whether a receiver has taken an event since then.
func (ts *Tracker) TookSince(target string, since time.Time) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.taken[target].After(since)
}

// Note takes what an attempt came to. A refusal of the event shows that somebody is there; an attempt that was broken off, and a
// failing answer to what the receiver may not know, shows nothing.
func (ts *Tracker) Note(ctx context.Context, target string, of bridge.Type, err error) {
	now := time.Now()
	cause := bridge.AsDelivery(err, "attempt", "unexpected fault")
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.of[target]
	if cause == nil {
		ts.taken[target] = now
	}
	switch {
	case cause != nil && cause.Status != 0 && cause.Reason != bridge.ReasonRejected && of.MayBeUnknown():
	case cause == nil || cause.Reason == bridge.ReasonRejected:
		switch {
		case t == nil:
		case !t.Acked:
			delete(ts.of, target)
		case t.over.IsZero():
			t.over = now
		}
	case ctx.Err() != nil:
	default:
		if t == nil {
			t = &incident{First: now}
			ts.of[target] = t
		}
		// One that fails again before anybody was told that it is back was not back.
		t.Last, t.Detail, t.over = now, cause.Detail, time.Time{}
	}
}

// Notice tells which receivers have been failing for a while, and which of those are back. What is not known any more is
// forgotten without a word.
func (ts *Tracker) Notice(now time.Time, known func(target string) bool) (n engine.Notice) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var down, back, gone []string
	for target, t := range ts.of {
		switch {
		case !known(target) && !t.Acked:
			delete(ts.of, target)
		case !known(target):
			gone = append(gone, target)
		case !t.over.IsZero():
			back = append(back, target)
		case t.Acked || now.Sub(t.First) < ts.after:
		case t.Last.Sub(t.First) < ts.after:
			n.RetryNow = append(n.RetryNow, target)
		default:
			down = append(down, target)
		}
	}
	if len(down)+len(back)+len(gone) == 0 {
		return n
	}
	for _, list := range [][]string{down, back, gone} {
		slices.Sort(list)
	}
	if ts.apart {
		down, back = down[:min(1, len(down))], back[:min(1, len(back))]
	}
	b := &n.Batch
	var texts []string
	if len(down) > 0 {
		t := ts.of[down[0]]
		for _, target := range down {
			row := *ts.of[target]
			row.Acked = true
			b.Rows = append(b.Rows, bridge.Row{Table: tableIncidents, Key: ts.lane + "/" + target, Value: bridge.MustJSON(row)})
		}
		texts = append(texts, "⚠️ "+ts.words.Down(down, now.Sub(t.First), t.Detail))
	}
	var longest time.Duration
	for _, target := range slices.Concat(back, gone) {
		b.Rows = append(b.Rows, bridge.Row{Table: tableIncidents, Key: ts.lane + "/" + target})
		longest = max(longest, ts.of[target].over.Sub(ts.of[target].First))
	}
	if len(back) > 0 {
		texts = append(texts, "✅ "+ts.words.Back(back, longest))
	}
	for _, text := range texts {
		for _, p := range ts.places() {
			b.Events = append(b.Events, bridge.Event{
				Type: bridge.TypeAnswer, Origin: p.Platform, Body: bridge.MustJSON(bridge.Answer{Platform: p.Platform, Thread: p.Thread, Text: text}),
			})
		}
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		what := []string{ts.lane}
		for _, target := range slices.Concat(down, back) {
			what = append(what, target, fmt.Sprint(ts.of[target].First.UnixNano(), ts.of[target].Acked))
		}
		b.Claims = []bridge.Claim{{Key: "troubles/" + bridge.Digest([]byte(strings.Join(what, "\n")))}}
	}
	n.Acked = func() { ts.acked(down, back, gone) }
	return n
}

// acked notes what was written.
func (ts *Tracker) acked(down, back, gone []string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, target := range down {
		if t := ts.of[target]; t != nil {
			t.Acked = true
			ts.log.Error("operators are told of a fault", "target", target, "detail", t.Detail)
		} else {
			// It came back while this was written: operators are told that next.
			ts.of[target] = &incident{First: time.Now(), Acked: true, over: time.Now()}
		}
	}
	for _, target := range back {
		ts.log.Info("operators are told that a fault is over", "target", target)
		if t := ts.of[target]; t.over.IsZero() { // it failed again while this was written
			t.First, t.Acked = t.Last, false
		} else {
			delete(ts.of, target)
		}
	}
	for _, target := range gone {
		delete(ts.of, target)
	}
}

// Compare notes what fails now, and that everything else does not, but for what is kept.
func (ts *Tracker) Compare(failing map[string]*bridge.DeliveryError, keeps func(target string) bool) {
	ts.mu.Lock()
	over := make([]string, 0, len(ts.of))
	for target := range ts.of {
		if failing[target] == nil && !keeps(target) {
			over = append(over, target)
		}
	}
	ts.mu.Unlock()
	for _, target := range over {
		ts.Note(context.Background(), target, bridge.TypeAnswer, nil)
	}
	for target, cause := range failing {
		ts.Note(context.Background(), target, bridge.TypeAnswer, cause)
	}
}

// LastOf returns when a target failed last.
func (ts *Tracker) LastOf(target string) time.Time {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.of[target]; t != nil {
		return t.Last
	}
	return time.Time{}
}
