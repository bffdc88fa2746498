package relay

import (
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// pace keeps a lane within its platform's documented limits: at most so many calls in any window of so long. It is used
// under the lane's lock.
type pace struct{ windows []window }

type window struct {
	per   time.Duration
	taken []time.Time // a ring of the last calls, one place for each that the window allows
	next  int         // the oldest of them, and the place of the next
}

func newPace(limits []bridge.Pace) pace {
	var p pace
	for _, l := range limits {
		if l.Calls > 0 && l.Per > 0 {
			// A hundredth more than the limit says: calls that leave evenly may arrive a little closer together.
			p.windows = append(p.windows, window{per: l.Per + l.Per/100, taken: make([]time.Time, l.Calls)})
		}
	}
	return p
}

// delay returns how long the next call has to wait; 0 means that it may go now.
func (p *pace) delay(now time.Time) time.Duration {
	var d time.Duration
	for i := range p.windows {
		w := &p.windows[i]
		if oldest := w.taken[w.next]; !oldest.IsZero() {
			d = max(d, oldest.Add(w.per).Sub(now))
		}
	}
	return d
}

func (p *pace) take(now time.Time) {
	for i := range p.windows {
		w := &p.windows[i]
		w.taken[w.next] = now
		w.next = (w.next + 1) % len(w.taken)
	}
}

// refund gives back a call that was taken at the given time and not made. Calls taken since keep their places.
func (p *pace) refund(at time.Time) {
	for i := range p.windows {
		w := &p.windows[i]
		n := len(w.taken)
		for back := 1; back <= n; back++ {
			j := (w.next - back + n) % n
			if !w.taken[j].Equal(at) {
				continue
			}
			// Close the gap, so that the ring stays in the order of the calls and the free place is the next one.
			for ; back > 1; back-- {
				k := (j + 1) % n
				w.taken[j] = w.taken[k]
				j = k
			}
			w.taken[j] = time.Time{}
			w.next = j
			break
		}
	}
}

// room says whether less than half of every window is in use.
func (p *pace) room(now time.Time) bool {
	for i := range p.windows {
		w := &p.windows[i]
		used := 0
		for _, t := range w.taken {
			if !t.IsZero() && now.Sub(t) < w.per {
				used++
			}
		}
		if used*2 >= len(w.taken) {
			return false
		}
	}
	return true
}
