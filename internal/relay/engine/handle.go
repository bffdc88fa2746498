package engine

import (
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Owns says whether this process works the lane.
func (l *Lane) Owns() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned
}

// Lease is the lane's lease, as this process holds it.
func (l *Lane) Lease() bridge.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lease
}

// Spare takes a call out of the pace, if the destination has room for one that nobody waits for.
func (l *Lane) Spare() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.owned || l.pause.cause != nil || l.caution.rate(now) > 0 || now.Before(l.quiet) || !l.pace.room(now) || l.queue.wordsWait(now) {
		return false
	}
	l.pace.spend(now, 1)
	return true
}

// refusals returns what the destination refuses now.
func (l *Lane) refusals() Refusals {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Refusals{Kinds: map[string]*bridge.DeliveryError{}}
	for op, p := range l.refused {
		r.Kinds[op] = p.cause
	}
	if cause := l.pause.cause; cause != nil && cause.Reason == bridge.ReasonAuth {
		r.Auth = cause
	}
	if cause := l.caution.cause; cause != nil && !l.caution.first.IsZero() {
		r.Limit = cause
	}
	return r
}
