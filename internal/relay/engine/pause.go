package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// pause is a fault of a whole destination.
type pause struct {
	since    time.Time // of the first failure in a row; zero: none
	set      time.Time // when it was last set
	until    time.Time
	failures int
	probe    *run // the one attempt that is allowed to try
	cause    *bridge.DeliveryError
}

// refusal is a kind of call that the destination refuses, whatever it is about.
type refusal struct {
	since   time.Time
	set     time.Time // when it was last refused
	until   time.Time // then one event may try again
	probing *item
	cause   *bridge.DeliveryError
}

// updateBackoff keeps the lane's pauses and the partition's failures. Called under the lock.
func (l *Lane) updateBackoff(v verdict, r *run, t *partition, it *item, now time.Time) {
	if l.pause.probe == r {
		l.pause.probe = nil
	}
	for _, p := range l.refused {
		if p.probing == it {
			p.probing = nil
		}
	}
	switch {
	case v.stopped || v.Idle:
	case v.failed == nil:
		t.failures, t.tries, t.stuck = 0, 0, stuck{}
		l.worked(t, v.Op, r, now)
	case v.failed.Reason == bridge.ReasonRateLimited && v.outcome.pausesLane:
		t.tries++
		l.caution.refuse(r.started, now, v.outcome.pause, v.failed, &l.pace)
	case v.outcome.pausesLane:
		t.tries++
		l.stop(v, r, now)
	case v.outcome.pausesOp:
		t.tries++
		l.refuse(v, r, now)
		l.resume(now)
	default:
		t.tries++
		if t.failures++; !isUnclear(v.failed, t) {
			l.resume(now)
		}
	}
}

// worked notes a call that worked: the destination takes calls, and calls of this kind.
func (l *Lane) worked(t *partition, op string, r *run, now time.Time) {
	delete(l.suspects, t.session.key)
	for session := range l.suspects {
		l.suspects[session] = true
	}
	if p := l.refused[op]; p != nil && r.started.After(p.set) {
		delete(l.refused, op)
		l.queue.unblock(op)
		l.log.Info("calls of a kind that was refused work again", "op", op, "after", now.Sub(p.since).Round(time.Second))
	}
	l.caution.worked(r.started, now)
	l.resume(now)
	l.takes = true
}

// stop begins or prolongs the pause of the whole lane.
func (l *Lane) stop(v verdict, r *run, now time.Time) {
	p := &l.pause
	if p.since.IsZero() {
		p.since = now
	}
	if !p.set.IsZero() && !r.started.After(p.set) {
		return // it was under way when the pause began
	}
	p.set, l.takes = now, false
	p.failures++
	wait := max(v.outcome.pause, backoff(p.failures, maxProbe, func() float64 { return (1 + jitter()) / 2 }))
	p.until, p.cause = now.Add(wait), v.failed
}

// refuse notes that calls of a kind are refused.
func (l *Lane) refuse(v verdict, r *run, now time.Time) {
	p := l.refused[v.Op]
	if p == nil {
		p = &refusal{since: now}
		l.refused[v.Op] = p
	}
	if p.set.IsZero() || r.started.After(p.set) {
		p.set, p.until = now, now.Add(v.outcome.pause)
	}
	p.cause = v.failed
}

// MayCall implements PeekPace: where calls of a kind are refused, one event at a time tries one.
func (p peek) MayCall(op string) (ok bool, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch r := p.refused[op]; {
	case r == nil:
		return true, time.Time{}
	case now.Before(r.until):
		return false, r.until
	case r.probing != nil && r.probing != p.item:
		return false, now.Add(maxProbe)
	default:
		r.probing = p.item
		return true, time.Time{}
	}
}

// pausable says which kinds of calls can wait by themselves: those that only some sessions need.
func pausable(op string) bool { return op == OpOpenThread || op == OpReopenThread }

// maxSuspects is how many sessions are remembered whose calls fail.
const maxSuspects = 1000

// isUnclear says whether a failure does not tell whose fault it is. A lost answer tells as little as a 5xx.
func isUnclear(cause *bridge.DeliveryError, t *partition) bool {
	return t.target == "" && (cause.Scope == bridge.ScopeUnclear ||
		cause.Reason == bridge.ReasonUnconfirmed && cause.Scope == bridge.ScopeSession)
}

// whose settles the scope of a failure. One that does not say whose fault it is, is the session's as long as calls for others
// work; when those fail too, it is the destination's. slowest is the longest back-off that suits the session's own: it is short
// as long as no other session's call has shown that the destination works.
func (l *Lane) whose(t *partition, op string, cause *bridge.DeliveryError) (settled *bridge.DeliveryError, slowest time.Duration) {
	d := *cause
	switch {
	case d.Scope == bridge.ScopeOperation && !pausable(op):
		d.Scope = bridge.ScopeSession
		return &d, 0
	case !isUnclear(cause, t):
		if d.Scope == bridge.ScopeUnclear {
			d.Scope = bridge.ScopeSession
		}
		return &d, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.suspects) >= maxSuspects {
		clear(l.suspects)
	}
	if l.suspects[t.session.key] {
		d.Scope = bridge.ScopeSession
		return &d, maxBackoff
	}
	l.suspects[t.session.key] = false
	failing := 0
	for _, worked := range l.suspects {
		if !worked {
			failing++
		}
	}
	if d.Scope = bridge.ScopeSession; failing > 1 {
		d.Scope = bridge.ScopeDestination
	}
	return &d, maxProbe
}

// resume ends a pause: the destination answered.
func (l *Lane) resume(now time.Time) {
	if l.pause.failures > 0 {
		l.log.Info("the destination answers again", "after", now.Sub(l.pause.since).Round(time.Second))
	}
	l.pause = pause{}
}

func (l *Lane) health() bridge.LaneHealth {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := bridge.LaneHealth{Lane: l.name, State: "waiting"}
	if !l.owned {
		return h
	}
	now := time.Now()
	h.State = "delivering"
	var oldest bridge.Seq
	if h.Waiting, oldest = l.queue.waiting(); h.Waiting > 0 {
		h.Oldest = now.Sub(oldest.Time())
		h.Waiting += l.ahead.waits
	}
	switch cause := l.caution.cause; {
	case l.pause.failures > 0:
		h.State, h.Reason = "paused", string(l.pause.cause.Reason)+": "+l.pause.cause.Detail
	case cause != nil && now.Before(l.caution.Until):
		h.State, h.Reason = "paused", string(cause.Reason)+": "+cause.Detail
	}
	h.Rate, h.PauseLeft = l.caution.rate(now), max(l.caution.Until.Sub(now), 0)
	for _, op := range slices.Sorted(maps.Keys(l.refused)) {
		p := l.refused[op]
		h.Refused = append(h.Refused, bridge.RefusedCalls{
			Op: op, Reason: string(p.cause.Reason) + ": " + p.cause.Detail, Since: p.since.UTC(),
		})
	}
	for _, failing := range l.suspects {
		if failing {
			h.Sessions++
		}
	}
	return h
}
