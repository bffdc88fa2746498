package engine

import (
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// spreadFrom is how long a window has to be for its calls to be spread over it, for its calls to be kept across restarts, and for
// it to be assumed half used by a process that does not know.
const spreadFrom = 10 * time.Second

// burstPart of a long window's calls may go at once: 5 of 20.
const burstPart = 4

// pace keeps a lane within its platform's documented limits: at most so many calls in any window of so long. Of a long window the
// calls do not all leave at once: after a few, what is left is spread over the time until the oldest call leaves the window. It
// is used under the lane's lock.
type pace struct {
	windows []*window
	minute  [60]second // the calls of the last minute
	allowed float64    // calls a minute that no refusal alone teaches to be too many
}

type second struct {
	of    int64 // Unix seconds
	calls int
}

type window struct {
	per     time.Duration
	burst   int      // calls that may go at once; 0: all of the window's
	taken   []placed // a ring of the last calls, one place for each that the window allows
	next    int      // the oldest of them, and the place of the next
	limit   int      // calls per per, as the platform documents them
	nominal time.Duration
}

// placed is a call that takes a place in a window.
type placed struct {
	at      time.Time
	assumed bool // a process before may have made it
}

func newPace(limits []bridge.Pace) pace {
	var p pace
	for _, l := range limits {
		if l.Calls > 0 && l.Per > 0 {
			// A hundredth more than the limit says: calls that leave evenly may arrive a little closer together.
			w := &window{per: l.Per + l.Per/100, taken: make([]placed, l.Calls), limit: l.Calls, nominal: l.Per}
			if l.Per >= spreadFrom {
				w.burst = max(l.Calls/burstPart, 1)
			}
			p.windows = append(p.windows, w)
		}
	}
	return p
}

// restore takes the calls that were made before, as they are known. known is false where nothing is: then long windows count as
// half used, half a window ago.
func (p *pace) restore(made []time.Time, known bool, now time.Time) {
	for _, w := range p.windows {
		switch {
		case w.burst == 0:
		case !known:
			for range len(w.taken) / 2 {
				w.spend(placed{at: now.Add(-w.per / 2), assumed: true})
			}
		default:
			for _, at := range made {
				if !at.After(now) {
					w.spend(placed{at: at})
				}
			}
		}
	}
}

// made returns the calls that long windows still hold, oldest first; keeps is false where there is no such window.
func (p *pace) made(now time.Time) (calls []time.Time, keeps bool) {
	for _, w := range p.windows {
		if w.burst == 0 || keeps {
			continue
		}
		keeps = true
		for j := range w.taken {
			if c := w.taken[(w.next+j)%len(w.taken)]; w.holds(c, now) {
				calls = append(calls, c.at)
			}
		}
	}
	return calls, keeps
}

// delay returns how long the next call, which takes so many places, has to wait; 0 means that it may go now.
func (p *pace) delay(now time.Time, places int) time.Duration {
	var d time.Duration
	for { // calls that leave a window meanwhile change how what is left of it is spread; there are only so many
		var more time.Duration
		for _, w := range p.windows {
			more = max(more, w.delay(now.Add(d), places))
		}
		if more <= 0 {
			return d
		}
		d += more
	}
}

func (w *window) holds(c placed, now time.Time) bool { return !c.at.IsZero() && now.Sub(c.at) < w.per }

func (w *window) spend(c placed) {
	w.taken[w.next] = c
	w.next = (w.next + 1) % len(w.taken)
}

func (w *window) delay(now time.Time, places int) time.Duration {
	n := len(w.taken)
	places = min(max(places, 1), n)
	var d time.Duration
	// As many of the oldest calls as it takes places have to have left.
	if c := w.taken[(w.next+places-1)%n]; !c.at.IsZero() {
		d = max(c.at.Add(w.per).Sub(now), 0)
	}
	if w.burst == 0 {
		return d
	}
	used, own := 0, 0
	var oldest, last time.Time
	for j := range n {
		c := w.taken[(w.next+j)%n]
		if !w.holds(c, now) {
			continue
		}
		if used == 0 {
			oldest = c.at
		}
		if used++; !c.assumed {
			own++
		}
		last = c.at
	}
	if left := n - used; used > 0 && left > 0 && own+places > w.burst {
		gap := oldest.Add(w.per).Sub(last) / time.Duration(left+1) // the place that the oldest leaves is one of them
		d = max(d, last.Add(gap).Sub(now))
	}
	return d
}

// spend notes a call that is made now.
func (p *pace) spend(now time.Time, places int) {
	for _, w := range p.windows {
		for range min(max(places, 1), len(w.taken)) {
			w.spend(placed{at: now})
		}
	}
	p.count(now, 1)
}

func (p *pace) count(at time.Time, calls int) {
	s := &p.minute[at.Unix()%int64(len(p.minute))]
	if s.of != at.Unix() {
		*s = second{of: at.Unix()}
	}
	s.calls = max(s.calls+calls, 0)
}

// lastMinute is how many calls were made in the last minute.
func (p *pace) lastMinute(now time.Time) int {
	n := 0
	for _, s := range p.minute {
		if now.Unix()-s.of < int64(len(p.minute)) {
			n += s.calls
		}
	}
	return n
}

// perMinute is how many calls a minute the windows allow in the long run; 0: there are none.
func (p *pace) perMinute() float64 {
	least := 0.0
	for _, w := range p.windows {
		if r := float64(w.limit) / w.nominal.Minutes(); least == 0 || r < least {
			least = r
		}
	}
	return least
}

// refund gives back the places of a call that was taken at the given time and not made. Calls taken since keep theirs.
func (p *pace) refund(at time.Time, places int) {
	for _, w := range p.windows {
		for range min(max(places, 1), len(w.taken)) {
			w.refund(at)
		}
	}
	p.count(at, -1)
}

func (w *window) refund(at time.Time) {
	n := len(w.taken)
	for back := 1; back <= n; back++ {
		j := (w.next - back + n) % n
		if c := w.taken[j]; c.assumed || !c.at.Equal(at) {
			continue
		}
		// Close the gap, so that the ring stays in the order of the calls and the free place is the next one.
		for ; back > 1; back-- {
			k := (j + 1) % n
			w.taken[j] = w.taken[k]
			j = k
		}
		w.taken[j] = placed{}
		w.next = j
		return
	}
}

// room says whether less than half of every window is in use.
func (p *pace) room(now time.Time) bool {
	for _, w := range p.windows {
		used := 0
		for _, c := range w.taken {
			if w.holds(c, now) && !c.assumed {
				used++
			}
		}
		if used*2 >= len(w.taken) {
			return false
		}
	}
	return true
}
