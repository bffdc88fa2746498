package relay

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
)

// tableTroubles holds the receivers of which operators were told that they fail: key <lane>/<target>, value trouble. Whoever
// works the lane next neither says it again, nor forgets to say that it is over.
const tableTroubles = "troubles"

const (
	tellAfter = 75 * time.Second // of failures in a row, until operators are told: with the attempt that shows it, two minutes
	tellNames = 5                // receivers that are named in one message
)

// trouble is a row of failures of one receiver, without a success in between.
type trouble struct {
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Detail string    `json:"detail"` // of the last one
	Told   bool      `json:"told"`   // operators know
	over   time.Time // of a trouble that operators know, when it ended
}

// troubles is what is known of how a lane's receivers do. Its methods may be called from several goroutines.
type troubles struct {
	lane   string
	places func() []place
	log    *slog.Logger
	after  time.Duration // of failures in a row, until operators are told
	words  troubleWords
	apart  bool // each target is told of by itself

	mu    sync.Mutex
	of    map[string]*trouble
	taken map[string]time.Time // when a receiver took an event last
}

// troubleWords are the sentences in which operators are told.
type troubleWords interface {
	// down says that targets have been failing for a time; detail is what the first one said last.
	down(targets []string, long time.Duration, detail string) string
	// back says that targets do again, after a time.
	back(targets []string, after time.Duration) string
}

// place is where operators are told what is of no session.
type place struct {
	platform string
	thread   bridge.ThreadID
}

func newTroubles(lane string, places func() []place, log *slog.Logger) *troubles {
	return &troubles{
		lane: lane, places: places, log: log, after: tellAfter, words: receiverWords(lane),
		of: map[string]*trouble{}, taken: map[string]time.Time{},
	}
}

// load begins with what the process before has told.
func (ts *troubles) load(ctx context.Context, s Store) error {
	rows, err := s.List(ctx, tableTroubles, "", smallTable)
	if err != nil {
		return err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	clear(ts.of)
	for _, row := range rows {
		target, mine := strings.CutPrefix(row.Key, ts.lane+"/")
		t := &trouble{}
		if mine && json.Unmarshal(row.Value, t) == nil {
			ts.of[target] = t
		}
	}
	return nil
}

// has says whether the last attempt for a receiver failed.
func (ts *troubles) has(target string) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.of[target]
	return t != nil && t.over.IsZero()
}

// takes says whether a receiver has taken an event since then.
func (ts *troubles) takes(target string, since time.Time) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.taken[target].After(since)
}

// note takes what an attempt came to. A refusal of the event shows that somebody is there; an attempt that was broken off, and a
// failing answer to what the receiver may not know, shows nothing.
func (ts *troubles) note(ctx context.Context, target string, of bridge.Type, err error) {
	now := time.Now()
	cause := bridge.AsDelivery(err, opPost, "unexpected fault")
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
		case !t.Told:
			delete(ts.of, target)
		case t.over.IsZero():
			t.over = now
		}
	case ctx.Err() != nil:
	default:
		if t == nil {
			t = &trouble{First: now}
			ts.of[target] = t
		}
		// One that fails again before anybody was told that it is back was not back.
		t.Last, t.Detail, t.over = now, cause.Detail, time.Time{}
	}
}

// news is what operators have to be told.
type news struct {
	batch   bridge.Batch
	written func()   // to be called when the batch is written; nil: there is none
	unsure  []string // targets that may have been back for a while: no attempt has been made that would show it
}

// news tells which receivers have been failing for a while, and which of those are back. What is not known any more is
// forgotten without a word.
func (ts *troubles) news(now time.Time, known func(target string) bool) (n news) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var down, back, gone []string
	for target, t := range ts.of {
		switch {
		case !known(target) && !t.Told:
			delete(ts.of, target)
		case !known(target):
			gone = append(gone, target)
		case !t.over.IsZero():
			back = append(back, target)
		case t.Told || now.Sub(t.First) < ts.after:
		case t.Last.Sub(t.First) < ts.after:
			n.unsure = append(n.unsure, target)
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
	b := &n.batch
	var texts []string
	if len(down) > 0 {
		t := ts.of[down[0]]
		for _, target := range down {
			row := *ts.of[target]
			row.Told = true
			b.Rows = append(b.Rows, bridge.Row{Table: tableTroubles, Key: ts.lane + "/" + target, Value: mustJSON(row)})
		}
		texts = append(texts, "⚠️ "+ts.words.down(down, now.Sub(t.First), t.Detail))
	}
	var longest time.Duration
	for _, target := range slices.Concat(back, gone) {
		b.Rows = append(b.Rows, bridge.Row{Table: tableTroubles, Key: ts.lane + "/" + target})
		longest = max(longest, ts.of[target].over.Sub(ts.of[target].First))
	}
	if len(back) > 0 {
		texts = append(texts, "✅ "+ts.words.back(back, longest))
	}
	for _, text := range texts {
		for _, p := range ts.places() {
			b.Events = append(b.Events, bridge.Event{
				Type: bridge.TypeAnswer, Origin: p.platform, Body: mustJSON(bridge.Answer{Platform: p.platform, Thread: p.thread, Text: text}),
			})
		}
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		what := []string{ts.lane}
		for _, target := range slices.Concat(down, back) {
			what = append(what, target, fmt.Sprint(ts.of[target].First.UnixNano(), ts.of[target].Told))
		}
		b.Claims = []bridge.Claim{{Key: "troubles/" + digest([]byte(strings.Join(what, "\n")))}}
	}
	n.written = func() { ts.told(down, back, gone) }
	return n
}

// told notes what was written.
func (ts *troubles) told(down, back, gone []string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, target := range down {
		if t := ts.of[target]; t != nil {
			t.Told = true
			ts.log.Error("operators are told of a fault", "target", target, "detail", t.Detail)
		} else {
			// It came back while this was written: operators are told that next.
			ts.of[target] = &trouble{First: time.Now(), Told: true, over: time.Now()}
		}
	}
	for _, target := range back {
		ts.log.Info("operators are told that a fault is over", "target", target)
		if t := ts.of[target]; t.over.IsZero() { // it failed again while this was written
			t.First, t.Told = t.Last, false
		} else {
			delete(ts.of, target)
		}
	}
	for _, target := range gone {
		delete(ts.of, target)
	}
}

// receiverWords are those of the lane of that name, which is not a platform's.
type receiverWords string

func (lane receiverWords) down(targets []string, long time.Duration, detail string) string {
	return lane.subject(targets, "has", "have") + fmt.Sprintf(" taken nothing for %s: %s. What is for it waits, "+
		"and is tried again for three days.", ago(long), detail)
}

func (lane receiverWords) back(targets []string, after time.Duration) string {
	return lane.subject(targets, "takes", "take") + " events again, after " + ago(after) + "."
}

// subject begins a sentence about receivers.
func (lane receiverWords) subject(targets []string, one, several string) string {
	if lane == laneWebhook {
		return "The events webhook " + one
	}
	if len(targets) == 1 {
		return "The callback " + targets[0] + " " + one
	}
	rest := ""
	if n := len(targets) - tellNames; n > 0 {
		targets, rest = targets[:tellNames], fmt.Sprintf(" and %d more", n)
	}
	return "The callbacks " + strings.Join(targets, ", ") + rest + " " + several
}

// ago is a time in words.
func ago(d time.Duration) string {
	switch minutes := int(d.Minutes()); {
	case minutes < 1:
		return "less than a minute"
	case minutes == 1:
		return "a minute"
	case minutes < 120:
		return fmt.Sprintf("%d minutes", minutes)
	default:
		return fmt.Sprintf("%d hours", minutes/60)
	}
}
