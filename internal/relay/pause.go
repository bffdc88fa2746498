package relay

import (
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// pause is a destination's fault.
type pause struct {
	since    time.Time // of the first failure in a row; zero: none
	set      time.Time // when it was last set
	until    time.Time
	failures int
	probe    *run // the one attempt that is allowed to try
	cause    *bridge.DeliveryError
}

// judge keeps the lane's pause and the track's failures. Called under the lock.
func (l *lane) judge(v verdict, r *run, t *track, now time.Time) {
	if l.pause.probe == r {
		l.pause.probe = nil
	}
	switch {
	case v.stopped || v.idle:
	case v.failed == nil:
		t.failures, l.unanswered, t.stuck = 0, 0, stuck{}
		l.resume(now)
	case v.outcome.hold:
		p := &l.pause
		if p.since.IsZero() {
			p.since = now
		}
		if r.started.After(p.set) || p.set.IsZero() {
			p.set = now
			wait := v.outcome.pause
			if v.failed.Reason != bridge.ReasonRateLimited {
				p.failures++
				wait = max(wait, backoff(p.failures, maxProbe, func() float64 { return (1 + jitter()) / 2 }))
			}
			p.until, p.cause = now.Add(wait), v.failed
		}
	default:
		t.failures++
		l.resume(now)
	}
}

// resume ends a pause: the destination answered. A window that it has closed stays closed, whatever a call that was under way
// still brings.
func (l *lane) resume(now time.Time) {
	if l.pause.failures == 0 && now.Before(l.pause.until) {
		return
	}
	if l.pause.failures > 0 {
		l.log.Info("the destination answers again", "after", time.Since(l.pause.since).Round(time.Second))
	}
	l.pause = pause{}
}

func (l *lane) health() bridge.LaneHealth {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := bridge.LaneHealth{Lane: l.name, State: "waiting"}
	if !l.owned {
		return h
	}
	h.State = "delivering"
	var oldest bridge.Seq
	if h.Waiting, oldest = l.queue.waiting(); h.Waiting > 0 {
		h.Oldest = time.Since(oldest.Time())
	}
	if l.pause.failures > 0 || time.Now().Before(l.pause.until) {
		h.State, h.Reason = "paused", string(l.pause.cause.Reason)+": "+l.pause.cause.Detail
	}
	return h
}
