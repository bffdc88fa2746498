package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// run is an attempt under way.
type run struct {
	started    time.Time
	ended      chan struct{} // closed when it is recorded
	ahead      bool          // its track has gone on; it is among the records
	places     int           // that it takes in the pace; 0 is one
	lastBefore time.Time     // when the call before it was made
}

// begin runs do in a goroutine that has nothing to do any more, or in a new one, whose stack has to grow first.
func (l *lane) begin(do func()) {
	select {
	case l.idle <- do:
		return
	default:
	}
	quit := l.quit
	l.attempts.Go(func() {
		for {
			do()
			select {
			case do = <-l.idle:
			case <-quit:
				return
			}
		}
	})
}

// settled waits until every attempt that runs now has ended and is recorded.
func (l *lane) settled(ctx context.Context) {
	l.mu.Lock()
	ends := make([]chan struct{}, 0, len(l.running))
	for r := range l.running {
		ends = append(ends, r.ended)
	}
	l.mu.Unlock()
	for _, ended := range ends {
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// work makes one attempt for the head of a track, and records what came of it.
func (l *lane) work(ctx context.Context, r *run, t *track, it *item) {
	v := l.try(ctx, r, t, it)
	if r.ahead {
		return // whoever records it ends the run
	}
	l.mu.Lock()
	l.conclude(v, r, t, it, time.Now())
	delete(l.running, r)
	close(r.ended)
	news := l.caution.dirty
	l.mu.Unlock()
	l.wake()
	if news {
		l.savePace(ctx)
	}
}

// conclude gives a track back, with what came of its attempt. Called under the lock.
func (l *lane) conclude(v verdict, r *run, t *track, it *item, now time.Time) {
	if v.idle || v.free {
		l.pace.refund(r.started, r.places)
		if l.caution.last.Equal(r.started) {
			l.caution.last = r.lastBefore
		}
	}
	if !v.idle {
		it.places = 0
	}
	l.judge(v, r, t, it, now)
	l.settleDoubt(v, r, t, it)
	var notBefore time.Time
	t.forFiles = false
	switch {
	case v.wait != nil && !l.queue.wordsBehind(it):
		notBefore, t.forFiles = v.wait.until, true
		l.whenReady(v.wait.ready, v.wait.until.Sub(now), func() { l.queue.endFilesWait(it.session) })
	case v.stopped: // neither done nor failed: the lease or the process ends
		notBefore = now.Add(maxProbe)
	case v.park != nil:
		l.hold(it, v.park)
	case v.needs > 0: // the most urgent one waits for its places, and nobody overtakes it
		it.places = v.needs
	case v.blocked != "":
		t.blocked, notBefore = v.blocked, v.until
	case v.done:
		l.queue.finish(it, t.target)
	case v.failed != nil && v.outcome.hold && l.pause.failures > 0:
		// The next probe is another session's, if one waits: what looks like the destination's fault may be this event's.
		notBefore = l.pause.until.Add(time.Second)
	case v.failed != nil && v.outcome.holdOp && l.refused[v.op] != nil:
		t.blocked, notBefore = v.op, l.refused[v.op].until.Add(time.Second) // likewise
	case v.failed != nil:
		notBefore, t.asked = l.stepAside(it, t, v.notBefore), v.failed.Reason == bridge.ReasonRateLimited
	}
	l.queue.put(t, notBefore)
}

// doubt notes that the process before us may have made the call that comes next, and not have lived to record it. Called
// under the lock.
func (l *lane) doubt(t *track) {
	if it := t.head; t.target == "" && it.since.IsZero() && it.seq <= l.began && !t.stream.proved {
		it.since = it.seq.Time().Add(-clockSkew)
	}
}

// settleDoubt notes what an attempt says about the calls before it. Called under the lock.
func (l *lane) settleDoubt(v verdict, r *run, t *track, it *item) {
	switch {
	case t.target != "" || v.idle || v.stopped:
	case v.failed == nil:
		t.stream.proved, it.since = true, time.Time{}
	case v.failed.Reason == bridge.ReasonUnconfirmed && it.since.IsZero():
		it.since = r.started.Add(-clockSkew)
	}
}

// verdict is what an attempt came to, in the end.
type verdict struct {
	result
	failed    *bridge.DeliveryError
	outcome   outcome
	notBefore time.Time
	stopped   bool
}

// try attempts, decides and records.
func (l *lane) try(ctx context.Context, r *run, t *track, it *item) verdict {
	e, ok, err := l.entry(ctx, it)
	switch {
	case err != nil:
		return verdict{result: result{idle: true}, failed: storeFault(err), notBefore: time.Now().Add(time.Second)}
	case !ok:
		l.log.Error("an unfinished event is no longer in the log", "event", it.seq, "session", it.session)
		return verdict{result: result{idle: true, done: true}}
	}
	if l.outlived(it, time.Now()) {
		return l.recorded(ctx, t, it, verdict{result: result{idle: true, done: true}})
	}
	if l.dest.lastOnly(it.eventType) {
		l.mu.Lock()
		old := l.queue.superseded(it, t.target)
		l.mu.Unlock()
		if old {
			return l.recorded(ctx, t, it, verdict{result: result{idle: true, done: true}})
		}
	}
	if it.again {
		now, err := l.relay.present(ctx, &e)
		if err != nil {
			return verdict{result: result{idle: true}, failed: storeFault(err), notBefore: time.Now().Add(time.Second)}
		}
		if t.target == "" { // with targets several tracks have the item at once, and none asks for it
			it.now = now
		}
		if now != nil && now.Gone {
			l.log.Info("a dead letter is not shown", "event", it.seq, "type", it.eventType, "session", it.session, "cause", "it was deleted since")
			return l.recorded(ctx, t, it, verdict{result: result{idle: true, done: true}})
		}
	}
	res, err := l.attempt(ctx, it, t.target, e)
	if err == nil {
		if res.note != "" {
			l.log.Info("an event is not shown", "event", it.seq, "type", it.eventType, "session", it.session, "cause", res.note)
		}
		if !res.idle {
			l.called(t, it, res.op, "")
			if l.name == laneCallbacks && byOperator(e.Event) {
				l.relay.meter.CalledBack(time.Since(it.seq.Time()))
			}
		}
		if res.stray {
			l.relay.meter.Orphaned(l.name)
		}
		v := verdict{result: res}
		if res.done && !res.idle && l.dest.knowsRepeats() {
			l.goOn(ctx, v, r, t, it)
			return v
		}
		v = l.recorded(ctx, t, it, v)
		if v.done && !v.idle {
			l.relay.meter.Delivered(l.name, time.Since(it.seq.Time()))
		}
		return v
	}
	if ctx.Err() != nil {
		return verdict{stopped: true}
	}
	if errors.Is(err, bridge.ErrUnavailable) {
		return verdict{result: result{idle: true}, failed: storeFault(err), notBefore: time.Now().Add(time.Second)}
	}
	cause := bridge.AsDelivery(err, opAttempt, fmt.Sprintf("unexpected fault: %T", err))
	l.called(t, it, res.op, cause.Reason)
	return l.fail(ctx, t, it, e, res.op, cause, r.started)
}

// attempt is the destination's, with a panic in it as a refusal.
func (l *lane) attempt(ctx context.Context, it *item, target string, e bridge.Entry) (res result, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("a delivery panicked", "event", e.Seq, "type", e.Event.Type, "stack", string(debug.Stack()))
			err = &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opAttempt, Detail: "a defect in the bridge"}
		}
	}()
	return l.dest.attempt(ctx, it, target, e)
}

// fail decides what becomes of a failed attempt.
func (l *lane) fail(
	ctx context.Context, t *track, it *item, e bridge.Entry, op string, cause *bridge.DeliveryError, started time.Time,
) verdict {
	now := time.Now()
	c := circumstance{failures: t.failures + 1, age: it.age(now), jitter: jitter, aged: l.dest.aged(), life: l.life()}
	cause, c.slowest = l.whose(t, op, cause)
	c.refused = l.noteStuck(t, it, cause, started, now)
	if l.dest.circumstance(ctx, it, &c); cause.Op == opAttempt { // a defect of ours says nothing of what was refused
		c.bare, c.flat = false, false
	}
	o := decide(cause, c)
	v := verdict{result: result{op: op}, failed: cause, outcome: o}
	level := slog.LevelWarn
	switch {
	case o.act == actBury, o.alert && (o.hold || o.holdOp) && !l.said(op, cause):
		level = slog.LevelError
	case o.alert && (o.hold || o.holdOp):
		level = slog.LevelInfo // a probe found what a person was told already
	}
	l.log.Log(ctx, level, "an attempt failed", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
		"event", it.seq, "type", it.eventType, "session", it.session, "target", t.target,
		"attempt", t.tries+1, "next", o.String(), "wait", max(o.wait, o.pause).Round(time.Millisecond))
	if o.wait > 0 {
		v.notBefore = now.Add(o.wait)
	}
	switch o.act {
	case actRetry:
	case actPlain:
		it.plain = true
	case actBare:
		it.bare++
	case actBury:
		if v.done = true; l.isState(it) {
			break // what it tells of has passed, or is told anew
		}
		v.batch = bridge.Batch{Rows: []bridge.Row{deadLetter(l.name, t.target, e, cause, now)}, Events: l.dest.buried(e, cause)}
	default:
		b, drop, err := l.dest.react(ctx, o, cause, it, e)
		if err != nil {
			return verdict{failed: bridge.AsDelivery(err, cause.Op, cause.Detail), outcome: o, notBefore: now.Add(maxProbe)}
		}
		v.batch, v.done = b, drop
	}
	if v = l.recorded(ctx, t, it, v); o.act == actBury && !v.stopped && !l.isState(it) {
		l.relay.meter.Buried(l.name, cause.Reason)
	}
	return v
}

// said says whether the lane, or this kind of call, is held for the same cause already.
func (l *lane) said(op string, cause *bridge.DeliveryError) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.pause.cause
	if p := l.refused[op]; p != nil && cause.Scope == bridge.ScopeOperation {
		held = p.cause
	}
	return held != nil && held.Reason == cause.Reason && held.Op == cause.Op && held.Detail == cause.Detail
}

// storeFault is the store's fault in an adapter's words.
func storeFault(err error) *bridge.DeliveryError {
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "store", Detail: err.Error()}
}
