package relay

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
)

func event(seq int, session string, kind bridge.Kind) *item {
	return &item{seq: bridge.Seq(seq), kind: kind, session: session}
}

func TestWordsComeFirst(t *testing.T) {
	q := newQueue(func(*item) []string { return []string{""} }, func(*item) bool { return true })
	q.add(event(1, "a", bridge.KindNotice))
	q.add(event(2, "b", bridge.KindWord))
	q.add(event(3, "c", bridge.KindNotice))
	q.add(event(4, "d", bridge.KindWord))
	q.add(event(5, "c", bridge.KindWord)) // what stands in front of it in its session becomes urgent too
	var got []int
	now := time.Unix(0, 0)
	for t := q.pop(now); t != nil; t = q.pop(now) {
		got = append(got, int(t.head.seq))
		q.finish(t.head, t.target)
		q.put(t, time.Time{})
	}
	if want := []int{2, 3, 4, 5, 1}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

// Whatever comes, fails, waits and ends, in whatever way: each target of each session sees the session's events in order
// and once, the cursor is never beyond an unfinished event, and in the end everything is finished.
func TestQueueKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := []string{"", "x", "y"}[:rapid.IntRange(1, 3).Draw(t, "targets")]
		q := newQueue(func(*item) []string { return all }, func(*item) bool { return true })
		now := time.Unix(0, 0)
		var items []*item
		var busy []*track
		seen := map[string][]bridge.Seq{}
		check := func() {
			c := q.cursor(nil)
			for _, it := range items {
				if it.seq <= c && !it.finished {
					t.Fatalf("cursor %d is beyond %d, which is not finished", c, it.seq)
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
			key := fmt.Sprint(tr.stream.key, "/", tr.target)
			seen[key] = append(seen[key], tr.head.seq)
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
				if tr := q.pop(now); tr != nil {
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
			for tr := q.pop(now); tr != nil; tr = q.pop(now) {
				busy = append(busy, tr)
			}
			check()
		}
		if n, _ := q.waiting(); n != 0 || len(q.streams) != 0 || len(q.order) != 0 {
			t.Fatalf("%d events, %d streams and %d places are left", n, len(q.streams), len(q.order))
		}
		for key, seqs := range seen {
			if !slices.IsSorted(seqs) || len(slices.Compact(slices.Clone(seqs))) != len(seqs) {
				t.Fatalf("%s saw %v", key, seqs)
			}
		}
	})
}
