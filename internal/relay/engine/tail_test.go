package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// fakeLog is a store's log of which a test may take the end. It is of no other use.
type fakeLog struct {
	Store

	mu      sync.Mutex
	entries []bridge.Seq
	grown   chan struct{}
	fault   error
	reads   int
}

func (f *fakeLog) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.grown)
	f.grown = make(chan struct{})
}

func (f *fakeLog) Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		f.mu.Lock()
		var out []bridge.Entry
		for _, seq := range f.entries {
			if seq > after && len(out) < max {
				out = append(out, bridge.Entry{Seq: seq})
			}
		}
		f.reads++
		grown, fault := f.grown, f.fault
		f.mu.Unlock()
		if fault != nil || len(out) > 0 || wait <= 0 {
			return out, fault
		}
		select {
		case <-grown:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *fakeLog) Last(context.Context) (bridge.Seq, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.entries) == 0 {
		return 0, f.fault
	}
	return f.entries[len(f.entries)-1], f.fault
}

func (f *fakeLog) Entry(_ context.Context, seq bridge.Seq) (bridge.Entry, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bridge.Entry{Seq: seq}, slices.Contains(f.entries, seq), f.fault
}

// follows runs a tail over a log with the given entries while a test looks at what it gives to a reader of all of it.
func follows(t *testing.T, test func(log *fakeLog, tail *tail, told func() []bridge.Seq), entries ...bridge.Seq) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{entries: entries, grown: make(chan struct{})}
		tail := newTail(log, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		if err := tail.start(ctx); err != nil {
			t.Fatal(err)
		}
		var work sync.WaitGroup
		work.Go(func() { tail.run(ctx) })
		var mu sync.Mutex
		var seqs []bridge.Seq
		work.Go(func() {
			after := tail.Newest()
			for {
				page, err := tail.Next(ctx, after, 10)
				if err != nil {
					return
				}
				mu.Lock()
				for _, e := range page {
					seqs = append(seqs, e.Seq)
					after = e.Seq
				}
				mu.Unlock()
			}
		})
		synctest.Wait()
		test(log, tail, func() []bridge.Seq {
			time.Sleep(10 * time.Second) // of the bubble: everything that is to come is here
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(seqs)
		})
		stop()
		work.Wait()
	})
}

func wantTold(t *testing.T, got []bridge.Seq, want ...bridge.Seq) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told %d, want %d", got, want)
	}
}

func entriesOf(seqs ...bridge.Seq) []bridge.Entry {
	var out []bridge.Entry
	for _, seq := range seqs {
		out = append(out, bridge.Entry{Seq: seq})
	}
	return out
}

// What this process appends is told without reading; what it does not stand directly behind is read first.
func TestOffers(t *testing.T) {
	follows(t, func(log *fakeLog, tail *tail, all func() []bridge.Seq) {
		log.mu.Lock() // no reader hears of these
		log.entries = append(log.entries, 11, 12, 13)
		log.mu.Unlock()
		tail.offer(10, entriesOf(11, 12, 13))
		wantTold(t, all(), 11, 12, 13)
		tail.offer(10, entriesOf(11, 12, 13)) // known by now
		log.mu.Lock()
		log.entries = append(log.entries, 14, 15, 16) // 14 is another's
		log.mu.Unlock()
		tail.offer(14, entriesOf(15, 16))
		wantTold(t, all(), 11, 12, 13, 14, 15, 16)
		// Of these the reader was faster with the first.
		log.mu.Lock()
		log.entries = append(log.entries, 17, 18)
		log.mu.Unlock()
		tail.growing.Lock()
		tail.add(entriesOf(17))
		tail.growing.Unlock()
		tail.offer(16, entriesOf(17, 18))
		wantTold(t, all(), 11, 12, 13, 14, 15, 16, 17, 18)
	}, 10)
}

// A commit whose answer is lost may have been made: an offer that says nothing of it is not believed.
func TestNoOfferIsBelievedAfterALostAnswer(t *testing.T) {
	follows(t, func(log *fakeLog, tail *tail, all func() []bridge.Seq) {
		log.mu.Lock()
		log.entries = append(log.entries, 11, 12)
		log.mu.Unlock()
		tail.noteUnknownCommit()
		tail.offer(10, entriesOf(12))
		wantTold(t, all(), 11, 12)
		log.mu.Lock()
		reads := log.reads
		log.entries = append(log.entries, 13)
		log.mu.Unlock()
		tail.offer(12, entriesOf(13)) // now it is
		synctest.Wait()
		if log.mu.Lock(); log.reads != reads {
			t.Error("the store was read for what was offered")
		}
		log.mu.Unlock()
		wantTold(t, all(), 11, 12, 13)
	}, 10)
}

// A log that loses its end goes on behind it, and nothing is told twice, whether it is quiet then or not, and whether the
// store was away or not.
func TestLogLosesItsEnd(t *testing.T) {
	for name, lose := range map[string]func(log *fakeLog){
		"quiet": func(log *fakeLog) { log.change(func() { log.entries = []bridge.Seq{9, 10, 11} }) },
		"under traffic of another's": func(log *fakeLog) {
			log.change(func() { log.fault = bridge.ErrUnavailable })
			time.Sleep(3 * time.Second)
			log.change(func() { log.fault, log.entries = nil, []bridge.Seq{9, 10, 11, 20} })
		},
		"all of it": func(log *fakeLog) { log.change(func() { log.entries = nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			follows(t, func(log *fakeLog, tail *tail, all func() []bridge.Seq) {
				losses := 0
				tail.onLoss = func() { losses++ }
				log.change(func() { log.entries = append(log.entries, 11, 12, 13) })
				wantTold(t, all(), 11, 12, 13)
				lose(log)
				want := []bridge.Seq{11, 12, 13}
				if name == "under traffic of another's" {
					want = append(want, 20)
				}
				wantTold(t, all(), want...)
				log.mu.Lock()
				last := bridge.Seq(0)
				if len(log.entries) > 0 {
					last = log.entries[len(log.entries)-1]
				}
				log.entries = append(log.entries, 21, 22)
				log.mu.Unlock()
				tail.offer(last, entriesOf(21, 22))
				wantTold(t, all(), append(want, 21, 22)...)
				if losses != 1 {
					t.Errorf("the loss was noticed %d times", losses)
				}
			}, 9, 10)
		})
	}
}

// What is finished is known to the process, whether or not the store has kept it.
func TestFinishedIsRemembered(t *testing.T) {
	l := newLane(LaneOptions{Name: "x"}, &Engine{log: slog.New(slog.DiscardHandler)})
	targets := map[bridge.Seq][]string{}
	l.queue = newQueue(func(q Queued) []string { return targets[q.Seq] }, func(Queued) bool { return true })
	items := map[bridge.Seq]*item{}
	for seq := bridge.Seq(1); seq <= 3000; seq++ {
		targets[seq] = []string{"a", "b"}
		items[seq] = &item{Queued: Queued{Seq: seq, Session: "s"}}
		l.queue.add(items[seq])
	}
	for seq, it := range items {
		if seq != 5 {
			l.queue.finish(it, "a")
			l.queue.finish(it, "b")
		}
	}
	l.queue.finish(items[5], "b")
	l.queue.trim()
	l.remember()
	if n := len(l.queue.order); n > 1500 {
		t.Fatalf("%d events are in memory", n)
	}
	state := l.recall(bridge.LaneState{Cursor: 2, Done: []bridge.Mark{{Seq: 7, Target: "a"}}, Known: true})
	if state.Cursor != 4 || len(state.Done) != 2*2995+1 {
		t.Fatalf("recalled cursor %d and %d marks", state.Cursor, len(state.Done))
	}
	for seq := bridge.Seq(5); seq <= 3000; seq++ {
		for _, target := range targets[seq] {
			if got, want := slices.Contains(state.Done, bridge.Mark{Seq: seq, Target: target}), seq != 5 || target == "b"; got != want {
				t.Fatalf("%d for %s is done: %v", seq, target, got)
			}
		}
	}
	if !l.restating {
		t.Error("the store is not told")
	}
	l.restating = false
	// Another bridge has gone on meanwhile.
	if state := l.recall(bridge.LaneState{Cursor: 9000, Known: true}); state.Cursor != 9000 || len(state.Done) > 0 || l.restating {
		t.Errorf("recalled %+v, %v", state, l.restating)
	}
}
