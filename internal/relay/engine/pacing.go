package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tablePaces holds what a lane knows of its destination's pace: key lane, value pacing. It is written with deliveries, and at once
// when the destination refused a call or takes calls again.
const tablePaces = "paces"

// pacing is a lane's pace as it is kept across restarts.
type pacing struct {
	Caution caution     `json:"caution,omitzero"`
	Made    []time.Time `json:"made,omitempty"` // calls that long windows still hold
}

// setPace begins with what is known of the pace, or nothing. Called under the lock.
func (l *Lane) setPace(value []byte, now time.Time) {
	var p pacing
	known := value != nil && json.Unmarshal(value, &p) == nil
	limits := l.sink.Limits()
	l.pace, l.caution, l.quiet = newPace(limits.Pace), p.Caution, time.Time{}
	l.pace.allowed = float64(cmp.Or(limits.Allowed, leastLearnt))
	l.pace.restore(p.Made, known, now)
	if now.Before(l.caution.Until) {
		l.caution.first = l.caution.Refused
		l.caution.cause = &bridge.DeliveryError{
			Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: opAttempt, Detail: "it asked to wait, before this process began",
		}
	}
}

// paceRows returns the row of the lane's pace, if it is worth one. Called under the lock.
func (l *Lane) paceRows(now time.Time) []bridge.Row {
	made, keeps := l.pace.made(now)
	if !keeps && !l.caution.dirty {
		return nil
	}
	return []bridge.Row{{Table: tablePaces, Key: l.name, Value: bridge.MustJSON(pacing{Caution: l.caution, Made: made})}}
}

// savePace writes what the lane knows of the pace. Where that fails, the next delivery's record has it.
func (l *Lane) savePace(ctx context.Context) {
	l.mu.Lock()
	rows := l.paceRows(time.Now())
	b := bridge.Batch{Lease: l.lease, Rows: rows}
	l.caution.dirty = false
	l.mu.Unlock()
	if len(rows) == 0 {
		return
	}
	if _, err := l.engine.store.Commit(ctx, b); err != nil {
		l.mu.Lock()
		l.caution.dirty = true
		l.mu.Unlock()
	}
}

// quietFactor is for how many times the time that the destination named no signs are shown, after one was refused.
const quietFactor = 10

// HeedLimit heeds that a sign or an indicator was refused for its pace: none is shown for long, and what matters goes one call at a
// time until the destination's time is over. A refusal of everything stops the lane as one of a word does.
func (l *Lane) HeedLimit(err error) {
	cause := bridge.AsDelivery(err, OpReact, "unexpected fault")
	if cause == nil || cause.Reason != bridge.ReasonRateLimited {
		return
	}
	if l.limited(cause); cause.Scope == bridge.ScopeSession {
		return
	}
	now := time.Now()
	wait := max(cause.RetryAfter, firstBackoff)
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := now.Add(quietFactor * wait); until.After(l.quiet) {
		l.quiet = until
	}
	if cause.Scope == bridge.ScopeDestination {
		l.caution.refuse(now, now, wait, cause, &l.pace)
		return
	}
	l.caution.narrow(now, wait)
}

// calling says whether a call is under way. Called under the lock.
func (l *Lane) calling() bool {
	for r := range l.running {
		if !r.ahead {
			return true
		}
	}
	return false
}
