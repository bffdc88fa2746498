package engine

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
)

// pop starts the most urgent partition that may be tried now; nil: there is none.
func pop(q *queue, now time.Time) *partition {
	q.wake(now)
	t := q.next(now)
	if t != nil {
		q.start(t)
	}
	return t
}

func event(seq int, session string, kind bridge.Kind) *item {
	return &item{Queued: Queued{Seq: bridge.Seq(seq), Session: session}, kind: kind}
}

func TestWordsComeFirst(t *testing.T) {
	t.Parallel()
	q := newQueue(func(Queued) []string { return []string{""} }, func(Queued) bool { return true })
	q.add(event(1, "a", bridge.KindNotice))
	q.add(event(2, "b", bridge.KindMessage))
	q.add(event(3, "c", bridge.KindNotice))
	q.add(event(4, "d", bridge.KindMessage))
	q.add(event(5, "c", bridge.KindMessage)) // what stands in front of it in its session becomes urgent too
	var got []int
	now := time.Unix(0, 0)
	for t := pop(q, now); t != nil; t = pop(q, now) {
		got = append(got, int(t.head.Seq))
		q.finish(t.head, t.target)
		q.put(t, time.Time{})
	}
	if want := []int{2, 3, 4, 5, 1}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

// What is done and not in the store yet holds the cursor, and nothing else.
func TestUnrecordedHoldsTheCursor(t *testing.T) {
	t.Parallel()
	q := newQueue(func(Queued) []string { return []string{"x"} }, func(Queued) bool { return true })
	items := make([]*item, 4)
	for i := range items {
		items[i] = event(i+1, "a", bridge.KindMessage)
		q.add(items[i])
	}
	done := func(it *item) {
		t.Helper()
		tr := pop(q, time.Unix(0, 0))
		if tr == nil || tr.head != it {
			t.Fatalf("not the turn of %d", it.Seq)
		}
		it.unrecorded++
		q.finish(it, "x")
		q.put(tr, time.Time{})
	}
	recorded := func(it *item) { it.unrecorded--; q.trim() }
	cursor := func(want bridge.Seq) {
		t.Helper()
		if c := q.cursor(nil); c != want {
			t.Errorf("the cursor is at %d, want %d", c, want)
		}
	}
	for _, it := range items[:3] {
		done(it)
	}
	cursor(0)
	recorded(items[1])
	cursor(0)
	recorded(items[0])
	cursor(2)
	recorded(items[2])
	cursor(3)
	if n, _ := q.waiting(); n != 1 || len(q.order) != 1 {
		t.Errorf("%d wait, %d places are kept", n, len(q.order))
	}
	done(items[3])
	recorded(items[3])
	cursor(4)
}

// One event that waits for days holds up the cursor, but not the memory of all that was done behind it.
func TestFinishedEventsAreForgotten(t *testing.T) {
	t.Parallel()
	q := newQueue(func(Queued) []string { return []string{"x"} }, func(Queued) bool { return true })
	q.add(event(1, "stuck", bridge.KindMessage))
	stuck := pop(q, time.Unix(0, 0))
	for i := range 100_000 {
		it := event(i+2, "a", bridge.KindMessage)
		q.add(it)
		tr := pop(q, time.Unix(0, 0))
		q.finish(it, "x")
		q.put(tr, time.Time{})
	}
	if n := len(q.order); n > 3000 {
		t.Errorf("%d places are kept for one event that waits", n)
	}
	if c := q.cursor(nil); c != 0 {
		t.Errorf("the cursor is at %d", c)
	}
	q.finish(stuck.head, "x")
	q.put(stuck, time.Time{})
	if c := q.cursor(nil); c != 100_001 || len(q.order) != 0 {
		t.Errorf("the cursor is at %d, %d places are kept", c, len(q.order))
	}
}

// A target gets no more at once than it may, and does not hold up the others.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	q := newQueue(func(q Queued) []string { return []string{q.Only} }, func(Queued) bool { return true })
	q.atOnce = func(target string) int { return map[string]int{"x": 2, "y": 5}[target] }
	for i := range 20 {
		it := event(i+1, fmt.Sprint("s", i), bridge.KindMessage)
		it.Only = []string{"x", "y"}[i%2]
		q.add(it)
	}
	got := map[string]int{}
	var busy []*partition
	for tr := pop(q, time.Unix(0, 0)); tr != nil; tr = pop(q, time.Unix(0, 0)) {
		got[tr.target]++
		busy = append(busy, tr)
	}
	if got["x"] != 2 || got["y"] != 5 {
		t.Errorf("at once: %v", got)
	}
	q.finish(busy[0].head, busy[0].target)
	q.put(busy[0], time.Time{})
	if tr := pop(q, time.Unix(0, 0)); tr == nil || tr.target != busy[0].target {
		t.Error("the end of one makes room for no other")
	}
}

// Whatever comes, fails, waits and ends, in whatever way: each target of each session sees the session's events in order
// and once, the cursor is never beyond an unfinished event, and in the end everything is finished.
func TestQueueKeepsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := []string{"", "x", "y"}[:rapid.IntRange(1, 3).Draw(t, "targets")]
		q := newQueue(func(Queued) []string { return all }, func(Queued) bool { return true })
		now := time.Unix(0, 0)
		var items []*item
		var busy []*partition
		seen := map[string][]bridge.Seq{}
		check := func() {
			c := q.cursor(nil)
			for _, it := range items {
				if it.Seq <= c && !it.finished {
					t.Fatalf("cursor %d is beyond %d, which is not finished", c, it.Seq)
				}
			}
		}
		step := func(i int, fail bool) {
			tr := busy[i]
			busy = slices.Delete(busy, i, i+1)
			if fail {
				q.put(tr, now.Add(time.Second))
				return
			}
			key := fmt.Sprint(tr.session.key, "/", tr.target)
			seen[key] = append(seen[key], tr.head.Seq)
			q.finish(tr.head, tr.target)
			q.put(tr, time.Time{})
		}
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				it := event(len(items)+1, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "session"), bridge.Kind(rapid.IntRange(1, 2).Draw(t, "kind")))
				items = append(items, it)
				q.add(it)
				q.settle(it)
			case 1:
				if tr := pop(q, now); tr != nil {
					busy = append(busy, tr)
				}
			case 2:
				if len(busy) > 0 {
					step(rapid.IntRange(0, len(busy)-1).Draw(t, "which"), rapid.Bool().Draw(t, "fail"))
				}
			case 3:
				now = now.Add(time.Second)
				if len(all) > 1 && rapid.IntRange(0, 9).Draw(t, "leave") == 0 {
					all = all[:len(all)-1]
					q.refresh()
				}
			}
			check()
		}
		for len(busy) > 0 || q.ready.Len() > 0 || q.later.Len() > 0 {
			for len(busy) > 0 {
				step(0, false)
			}
			now = now.Add(time.Second)
			for tr := pop(q, now); tr != nil; tr = pop(q, now) {
				busy = append(busy, tr)
			}
			check()
		}
		if n, _ := q.waiting(); n != 0 || len(q.sessions) != 0 || len(q.order) != 0 {
			t.Fatalf("%d events, %d streams and %d places are left", n, len(q.sessions), len(q.order))
		}
		for key, seqs := range seen {
			if !slices.IsSorted(seqs) || len(slices.Compact(slices.Clone(seqs))) != len(seqs) {
				t.Fatalf("%s saw %v", key, seqs)
			}
		}
	})
}

// What waits for a target takes little: 96 bytes an event, the places in two lists, and a share of its session's.
func TestWaitingEventIsSmall(t *testing.T) {
	inUse := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	const n = 200_000
	for each, most := range map[int]int64{50: 150, 1: 650} {
		before := inUse()
		q := newQueue(func(Queued) []string { return onlyTarget }, func(Queued) bool { return true })
		for i := range n {
			q.add(&item{kind: bridge.KindMessage, Queued: Queued{
				Seq: bridge.Seq(i + 1), Session: fmt.Sprintf("session-%06d", i%(n/each)), Type: bridge.Type(strings.Clone(string(bridge.TypeVisitorMessage))),
			}})
		}
		took := (inUse() - before) / n
		t.Logf("%d bytes an event, with %d a session", took, each)
		if took > most {
			t.Errorf("%d bytes an event, with %d a session: more than %d", took, each, most)
		}
		runtime.KeepAlive(q)
	}
}
