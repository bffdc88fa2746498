package stats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/stats"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// onStores runs a test on both stores.
func onStores(t *testing.T, test func(t *testing.T, s store.Store)) {
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		s, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		s, err := redis.Open(t.Context(), redistest.Start(t).URL(), redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		test(t, s)
	})
}

// storeLog is a log that is read from its store alone.
type storeLog struct{ store.Store }

func (l storeLog) Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error) {
	for {
		entries, err := l.Read(ctx, after, max, time.Minute)
		if err != nil || len(entries) > 0 {
			return entries, err
		}
	}
}

// follow counts until the test ends, or end is called.
func follow(t *testing.T, c *stats.Counts, s store.Store) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { c.Follow(ctx, storeLog{s}, func() bridge.Lease { return bridge.Lease{} }) })
	return func() {
		cancel()
		work.Wait()
	}
}

// world is what has happened, told one by one, and what follows from the contract's words without any counting along.
type world struct {
	t        *testing.T
	store    store.Store
	sessions map[string]*session
}

type session struct {
	created  time.Time
	messages []message
	score    int
	rated    time.Time
}

type message struct {
	by bridge.Sender
	at time.Time
}

// happens commits an event.
func (w *world) happens(e bridge.Event, body any) bridge.Entry {
	w.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	e.Body = raw
	res, err := w.store.Commit(w.t.Context(), bridge.Batch{Events: []bridge.Event{e}})
	if err != nil {
		w.t.Fatal(err)
	}
	return bridge.Entry{Seq: res.Seqs[0], Event: e}
}

type object = map[string]any

// begins announces a session, with a time of the app's or without one.
func (w *world) begins(id string, created time.Time) {
	s := object{"id": id, "visitorId": id}
	if !created.IsZero() {
		s["createdAt"] = created.Format(time.RFC3339Nano)
	}
	e := w.happens(bridge.Event{Type: bridge.TypeNewSession, Origin: bridge.OriginApp, Session: id, Opens: true}, object{"session": s})
	if w.sessions[id] != nil {
		return // told again
	}
	if created.IsZero() {
		created = e.Seq.Time()
	}
	w.sessions[id] = &session{created: created}
}

// says has somebody say something, at a time of their own or, with none, now.
func (w *world) says(id string, by bridge.Sender, at time.Time) {
	m := object{"id": "m", "sessionId": id, "sender": by}
	if !at.IsZero() {
		m["timestamp"] = at.Format(time.RFC3339Nano)
	}
	s := w.sessions[id]
	told := object{"message": m, "session": object{"id": id, "visitorId": id, "createdAt": s.created.Format(time.RFC3339Nano)}}
	e := bridge.Event{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: id, Message: "m", Opens: true}
	switch {
	case by == bridge.SenderOperator && at.IsZero(): // in chat
		e.Type, e.Origin, e.Opens = bridge.TypeOperatorMessage, "telegram", false
		told = object{"sessionId": id, "messageId": "telegram:1"}
	case by != bridge.SenderVisitor && at.UnixMilli()%2 == 0: // else by the other way that apps have
		e.Type = bridge.TypeOperatorMessage
	}
	entry := w.happens(e, told)
	if at.IsZero() {
		at = entry.Seq.Time()
	}
	s.messages = append(s.messages, message{by, at})
}

func (w *world) rates(id string, score int, at time.Time) {
	w.happens(bridge.Event{Type: bridge.TypeCSATSubmitted, Origin: bridge.OriginApp, Session: id, Opens: true},
		object{"session": object{"id": id, "createdAt": w.sessions[id].created.Format(time.RFC3339Nano)}, "score": score, "respondedAt": at.Format(time.RFC3339Nano)})
	s := w.sessions[id]
	s.score, s.rated = score, at
}

// noise is what does not count.
func (w *world) noise(id string) {
	w.happens(bridge.Event{Type: bridge.TypeCustomEvent, Origin: bridge.OriginApp, Session: id, Opens: true}, object{"session": object{"id": id}})
	w.happens(bridge.Event{Type: bridge.TypeMessageDelivered, Origin: "telegram", Session: id, Message: "m"}, object{"sessionId": id})
	w.happens(bridge.Event{Type: bridge.TypeOperatorMessage, Origin: bridge.OriginApp, Session: id, Message: "telegram:1", Opens: true},
		object{"session": object{"id": id}, "message": object{"sender": "operator"}, "sourceBridge": "telegram"}) // told back by the app
	w.happens(bridge.Event{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: id, Message: "n", Opens: true},
		object{"session": object{"id": id}, "message": object{"sender": "system"}})
	w.happens(bridge.Event{Type: bridge.TypeOperatorMessage, Origin: "telegram", Session: "nobody", Message: "telegram:2"}, object{})
	w.happens(bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginApp}, object{"online": true})
}

// expected is what the contract says of a window of days.
func (w *world) expected(from, to time.Time) bridge.Stats {
	first := from.UTC().Truncate(24 * time.Hour)
	end := to.UTC().Add(-1).Truncate(24 * time.Hour).Add(24 * time.Hour)
	in := func(t time.Time) bool { return !t.Before(first) && t.Before(end) }
	out := bridge.Stats{Sparkline: make([]int, int(end.Sub(first)/(24*time.Hour)))}
	var firsts, people, nexts, scores []float64
	answered, good := 0, 0.0
	for _, s := range w.sessions {
		if s.score != 0 && in(s.rated) {
			scores = append(scores, float64(s.score))
			if s.score >= 4 {
				good++
			}
		}
		if !in(s.created) {
			continue
		}
		out.Conversations++
		out.Sparkline[int(s.created.Sub(first)/(24*time.Hour))]++
		f, p, n, any := s.answers()
		firsts, people, nexts = append(firsts, f...), append(people, p...), append(nexts, n...)
		if any {
			answered++
		}
		for _, m := range s.messages {
			if in(m.at) {
				out.Messages++
			}
		}
		if len(s.messages) > 0 && s.messages[len(s.messages)-1].by == bridge.SenderVisitor {
			out.UnansweredNow++
		}
	}
	if out.Conversations > 0 {
		out.ResponseRate = float64(answered) / float64(out.Conversations)
	}
	out.MedianFirstResponse = middle(firsts)
	out.People.FirstResponse = bridge.Quantiles{P50: middle(people), P90: ninth(people)}
	out.People.NextResponse = bridge.Quantiles{P50: middle(nexts), P90: ninth(nexts)}
	if out.CSAT.Responses = len(scores); len(scores) > 0 {
		sum := 0.0
		for _, score := range scores {
			sum += score
		}
		share, average := good/float64(len(scores)), sum/float64(len(scores))
		out.CSAT.Percent, out.CSAT.Average = &share, &average
	}
	return out
}

// answers are the seconds to the answers in a session.
func (s *session) answers() (first, people, next []float64, any bool) {
	var asked, waits time.Time
	person := false
	after := func(t time.Time, m message) []float64 {
		return []float64{threeDigits(max(m.at.UnixMilli()-t.UnixMilli(), 0))}
	}
	for _, m := range s.messages {
		if m.by == bridge.SenderVisitor {
			if asked.IsZero() {
				asked = m.at
			}
			if person && waits.IsZero() {
				waits = m.at
			}
			continue
		}
		any = true
		if asked.IsZero() {
			continue
		}
		if first == nil {
			first = after(asked, m)
		}
		if m.by == bridge.SenderOperator {
			if !person {
				people = after(asked, m)
			} else if !waits.IsZero() {
				next = append(next, after(waits, m)...)
			}
			person = true
		}
		waits = time.Time{}
	}
	return first, people, next, any
}

// threeDigits is a number of milliseconds in seconds, rounded to three digits as people do: half goes up.
func threeDigits(ms int64) float64 {
	unit := math.Pow10(max(len(strconv.FormatInt(ms, 10))-3, 0))
	return math.Round(float64(ms)/unit) * unit / 1000
}

func middle(v []float64) *float64 {
	if len(v) == 0 {
		return nil
	}
	slices.Sort(v)
	m := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return &m
}

func ninth(v []float64) *float64 {
	if len(v) == 0 {
		return nil
	}
	slices.Sort(v)
	at := (len(v)*9 + 9) / 10
	return &v[at-1]
}

// holds compares what is told of some windows with what is right.
func (w *world) holds(c *stats.Counts, now time.Time) {
	w.t.Helper()
	today := now.UTC().Truncate(24 * time.Hour)
	for _, window := range [][2]time.Time{
		{now.AddDate(0, 0, -6), now}, {now.AddDate(0, 0, -29), now}, {today.AddDate(0, 0, -35), now}, {today, now.Add(time.Second)},
		{today.AddDate(0, 0, -9), today.AddDate(0, 0, -2)}, {today.AddDate(0, 0, -3).Add(time.Hour), today.AddDate(0, 0, -3).Add(2 * time.Hour)},
	} {
		got, err := c.Stats(w.t.Context(), window[0], window[1])
		if err != nil {
			w.t.Fatal(err)
		}
		got.From, got.To = "", ""
		if diff := cmp.Diff(w.expected(window[0], window[1]), got); diff != "" {
			w.t.Fatalf("%s to %s (-right +told):\n%s", window[0], window[1], diff)
		}
	}
}

// TestStats has much happen, ends what counts again and again, and asks in between: what is told is always what follows from all that
// was accepted, whether it has been counted yet or not.
func TestStats(t *testing.T) {
	onStores(t, func(t *testing.T, s store.Store) {
		const seed = 20
		r := rand.New(rand.NewPCG(seed, seed))
		now := time.Now().UTC().Truncate(time.Millisecond)
		w := &world{t: t, store: s, sessions: map[string]*session{}}
		ago := func(most time.Duration) time.Time {
			return now.Add(-time.Duration(r.Int64N(int64(most/time.Millisecond))) * time.Millisecond)
		}
		c := stats.New(s, []string{"telegram"}, slog.New(slog.DiscardHandler))
		end := follow(t, c, s)
		w.begins("half", now.Add(-time.Hour))
		w.says("half", bridge.SenderVisitor, now.Add(-time.Minute))
		w.says("half", bridge.SenderOperator, now.Add(-time.Minute+1245*time.Millisecond)) // between two numbers of three digits
		w.holds(c, time.Now())
		for i := range 400 {
			id := fmt.Sprint("s", r.IntN(40))
			if known := w.sessions[id]; known == nil || r.IntN(12) == 0 {
				created := ago(33 * 24 * time.Hour)
				if r.IntN(4) == 0 && known == nil {
					created = time.Time{}
				}
				w.begins(id, created)
				continue
			}
			at := func() time.Time {
				if created := w.sessions[id].created; created.Before(now) && r.IntN(3) > 0 {
					return ago(now.Sub(created) + time.Second)
				}
				return time.Time{}
			}
			switch r.IntN(9) {
			case 0, 1, 2:
				w.says(id, bridge.SenderVisitor, at())
			case 3, 4:
				w.says(id, bridge.SenderOperator, at())
			case 5:
				if when := at(); !when.IsZero() {
					w.says(id, bridge.SenderAI, when)
				}
			case 6:
				w.rates(id, 1+r.IntN(5), ago(30*24*time.Hour))
			case 7:
				w.noise(id)
			}
			switch {
			case i%100 == 99: // it is ended in the middle of its work, and another goes on
				end()
				end = follow(t, stats.New(s, []string{"telegram"}, slog.New(slog.DiscardHandler)), s)
			case i%40 == 39:
				w.holds(c, time.Now())
			}
		}
		w.holds(c, time.Now())
		end()
		w.holds(stats.New(s, []string{"telegram"}, slog.New(slog.DiscardHandler)), time.Now())
	})
}

// TestForgotten: a session that goes does not count as unanswered any more, and stays in the days' numbers.
func TestForgotten(t *testing.T) {
	onStores(t, func(t *testing.T, s store.Store) {
		c := stats.New(s, nil, slog.New(slog.DiscardHandler))
		w := &world{t: t, store: s, sessions: map[string]*session{}}
		for _, id := range []string{"a", "b"} {
			w.begins(id, time.Time{})
			w.says(id, bridge.SenderVisitor, time.Time{})
		}
		end := follow(t, c, s)
		counted(t, s, "stats-sessions", 2)
		if err := s.ForgetSession(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		end()
		got, err := c.Stats(t.Context(), time.Now().Add(-24*time.Hour), time.Now())
		if err != nil || got.Conversations != 2 || got.Messages != 2 || got.UnansweredNow != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

// counted waits until a table has so many rows.
func counted(t *testing.T, s store.Store, table string, want int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := s.Count(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		if n >= want {
			return
		}
		<-tick.C
	}
}

// busyLog is a log that grows by so many events a second from when it is first read: messages of some sessions, in turns.
type busyLog struct {
	began    time.Time
	first    bridge.Seq
	rate     int
	sessions []string
	behind   int // how far behind its end it was read at most
}

func (l *busyLog) Next(ctx context.Context, after bridge.Seq, most int) ([]bridge.Entry, error) {
	if l.began.IsZero() {
		l.began = time.Now()
	}
	end := func() bridge.Seq { return l.first + bridge.Seq(time.Since(l.began).Seconds()*float64(l.rate)) }
	after = max(after, l.first)
	for end() <= after {
		bridge.Sleep(ctx, time.Millisecond)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	l.behind = max(l.behind, int(end()-after))
	var out []bridge.Entry
	for seq := after + 1; seq <= end() && len(out) < most; seq++ {
		out = append(out, bridge.Entry{Seq: seq, Event: bridge.Event{
			Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: l.sessions[int(seq)%len(l.sessions)],
			Summary: &bridge.Summary{Message: true, Sender: bridge.SenderVisitor},
		}})
	}
	return out, nil
}

// countingStore counts the writes.
type countingStore struct {
	store.Store
	commits int
}

func (s *countingStore) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	s.commits++
	return s.Store.Commit(ctx, b)
}

// TestKeepsUp: where very much is accepted, the log's end is counted while it is in the memory of this process, 8192 events, and written once
// a second all the same.
func TestKeepsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = inner.Close() }()
		s := &countingStore{Store: inner}
		log := &busyLog{rate: 20_000}
		w := &world{t: t, store: s, sessions: map[string]*session{}}
		for i := range 50 {
			log.sessions = append(log.sessions, fmt.Sprint("s", i))
			w.begins(log.sessions[i], time.Time{})
		}
		if log.first, err = s.Last(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.commits = 0
		ctx, end := context.WithTimeout(t.Context(), 10*time.Second)
		defer end()
		stats.New(s, nil, slog.New(slog.DiscardHandler)).Follow(ctx, log, func() bridge.Lease { return bridge.Lease{} })
		if log.behind > 8192 || s.commits < 9 || s.commits > 11 {
			t.Errorf("read up to %d events behind the end; %d writes in ten seconds", log.behind, s.commits)
		}
	})
}
