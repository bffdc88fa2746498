package relay

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// parking says what an event waits for.
type parking struct {
	claim  string        // the session's claim that it refers to
	seq    bridge.Seq    // where the claim is in the log; 0: not accepted yet
	atMost time.Duration // then it is looked at again
}

// hold parks an event until what it refers to is there. Called under the lock.
func (l *lane) hold(it *item, p *parking) {
	if p.seq > 0 && p.seq <= l.queue.fed {
		// What it refers to waits in the same stream, or is finished.
		l.queue.take(it)
		it.placed = true
		l.queue.behind(it, l.queue.find(it.session, p.seq))
		return
	}
	l.queue.take(it)
	key := it.session + "\n" + p.claim
	l.parked[key] = append(l.parked[key], it)
	q := l.queue
	time.AfterFunc(p.atMost, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if i := slices.Index(l.parked[key], it); i >= 0 && l.queue == q {
			if l.parked[key] = slices.Delete(l.parked[key], i, i+1); len(l.parked[key]) == 0 {
				delete(l.parked, key)
			}
			if !it.finished {
				l.queue.behind(it, nil)
				l.wake()
			}
		}
	})
}

// unpark puts the events that waited for a claim directly behind the event that took it. Called under the lock.
func (l *lane) unpark(key string, seq bridge.Seq) {
	items := l.parked[key]
	if len(items) == 0 {
		return
	}
	delete(l.parked, key)
	other := l.queue.find(items[0].session, seq)
	for _, it := range items {
		if it.finished {
			continue
		}
		it.placed = true
		l.queue.behind(it, other)
		other = it
	}
}
