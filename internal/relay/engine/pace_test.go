package engine

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
)

// However calls come, no window holds more than its limit, and a refunded call leaves no trace.
func TestPaceKeepsItsWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := []bridge.Pace{{Calls: rapid.IntRange(1, 5).Draw(t, "calls"), Per: time.Minute}, {Calls: 2, Per: time.Second}}
		p := newPace(limits)
		now := time.Unix(1_700_000_000, 0)
		var made []time.Time
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			if d := p.delay(now, 1); d > 0 {
				now = now.Add(d)
			}
			if d := p.delay(now, 1); d > 0 {
				t.Fatalf("after its delay it asks for %v more", d)
			}
			p.spend(now, 1)
			if rapid.Bool().Draw(t, "refund") {
				p.refund(now, 1)
				if d := p.delay(now, 1); d > 0 {
					t.Fatalf("a refunded call is in the way for %v", d)
				}
				continue
			}
			made = append(made, now)
			for _, l := range limits {
				in := 0
				for _, at := range made {
					if now.Sub(at) < l.Per {
						in++
					}
				}
				if in > l.Calls {
					t.Fatalf("%d calls within %v", in, l.Per)
				}
			}
		}
	})
}

func TestPaceRoom(t *testing.T) {
	t.Parallel()
	p := newPace([]bridge.Pace{{Calls: 4, Per: time.Minute}})
	now := time.Unix(1_700_000_000, 0)
	for i, want := range []bool{true, true, false, false} {
		if got := p.room(now); got != want {
			t.Errorf("after %d calls room is %v", i, got)
		}
		p.spend(now, 1)
	}
	if !p.room(now.Add(2 * time.Minute)) {
		t.Error("no room after the window")
	}
	if off := newPace(nil); off.delay(now, 1) != 0 || !off.room(now) {
		t.Error("without a limit there is no room")
	}
}
