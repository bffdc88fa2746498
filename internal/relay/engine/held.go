package engine

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// heldFrom is for how long an event has to wait for the destination's pace to count as held: what waits for a moment is shown as if
// nothing had waited.
const heldFrom = 2 * time.Second

// behindMost is how many events behind another one are looked at.
const behindMost = 64

// heldNow says whether an event has waited for the destination's pace, and not only for a moment. Called under the lock.
func (l *Lane) heldNow(it *item, now time.Time) bool {
	return it.Age(now) >= heldFrom && l.lastHeld.After(it.Seq.Time())
}

// behind returns the events that wait behind another one in its session.
func (l *Lane) behind(it *item) []bridge.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.queue.sessions[it.queueKey()]
	if s == nil {
		return nil
	}
	at := slices.Index(s.items, it)
	if at < 0 {
		return nil
	}
	var out []bridge.Seq
	for _, other := range s.items[at+1 : min(at+1+behindMost, len(s.items))] {
		if !other.Redelivered {
			out = append(out, other.Seq)
		}
	}
	return out
}

// alsoDone returns the events that a result finishes besides its own. Called under the lock.
func (l *Lane) alsoDone(it *item, seqs []bridge.Seq) []*item {
	var out []*item
	for _, seq := range seqs {
		if other := l.queue.find(it.Session, seq); other != nil && other != it {
			out = append(out, other)
		}
	}
	return out
}
