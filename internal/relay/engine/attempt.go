package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// run is an attempt under way.
type run struct {
	started    time.Time
	ended      chan struct{} // closed when it is recorded
	ahead      bool          // its partition has gone on; it is among the records
	places     int           // that it takes in the pace; 0 is one
	lastBefore time.Time     // when the call before it was made
}

// Settled waits until every attempt that runs now has ended and is recorded, or until ctx ends.
func (l *Lane) Settled(ctx context.Context) {
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

// work makes one attempt for the head of a partition, and records what came of it.
func (l *Lane) work(ctx context.Context, r *run, t *partition, it *item) {
	v := l.try(ctx, r, t, it)
	if r.ahead {
		return // whoever records it ends the run
	}
	l.mu.Lock()
	l.finishAttempt(v, r, t, it, time.Now())
	delete(l.running, r)
	close(r.ended)
	dirty := l.caution.dirty
	l.mu.Unlock()
	l.wake()
	if dirty {
		l.savePace(ctx)
	}
}

// finishAttempt gives a partition back, with what came of its attempt. Called under the lock.
func (l *Lane) finishAttempt(v verdict, r *run, t *partition, it *item, now time.Time) {
	if v.Idle || v.Free {
		l.pace.refund(r.started, r.places)
		if l.caution.last.Equal(r.started) {
			l.caution.last = r.lastBefore
		}
	}
	if !v.Idle {
		it.places = 0
	}
	l.updateBackoff(v, r, t, it, now)
	l.settlePossiblySent(v, r, t, it)
	var notBefore time.Time
	t.forFiles = false
	switch {
	case v.Wait != nil && (v.Wait.PastTexts || !l.queue.wordsBehind(it)):
		notBefore, t.forFiles = v.Wait.Until, true
		l.whenReady(v.Wait.Ready, v.Wait.Until.Sub(now), func() { l.queue.endFilesWait(it.Session) })
	case v.stopped: // neither done nor failed: the lease or the process ends
		notBefore = now.Add(maxProbe)
	case v.Defer != nil:
		l.deferItem(it, v.Defer)
	case v.Needs > 0: // the most urgent one waits for its places, and nobody overtakes it
		it.places = uint16(min(v.Needs, math.MaxUint16))
	case v.Blocked != "":
		t.blocked, notBefore = v.Blocked, v.Until
	case v.Done:
		l.queue.finish(it, t.target)
		for _, other := range l.alsoDone(it, v.Also) {
			l.queue.finish(other, t.target)
		}
	case v.failed != nil && v.outcome.pausesLane && l.pause.failures > 0:
		// The next probe is another session's, if one waits: what looks like the destination's fault may be this event's.
		notBefore = l.pause.until.Add(time.Second)
	case v.failed != nil && v.outcome.pausesOp && l.refused[v.Op] != nil:
		t.blocked, notBefore = v.Op, l.refused[v.Op].until.Add(time.Second) // likewise
	case v.failed != nil:
		if v.failed.Reason == bridge.ReasonRateLimited {
			l.lastHeld = now
		}
		notBefore, t.asked = l.stepAside(it, t, v.notBefore), v.failed.Reason == bridge.ReasonRateLimited
	}
	if v.Seen {
		l.queue.seen(it.Session)
	}
	t.next = v.Next && notBefore.IsZero() && v.failed == nil
	l.queue.put(t, notBefore)
}

// notePossiblySent notes that the process before us may have made the call that comes next, and not have lived to record it. Called
// under the lock.
func (l *Lane) notePossiblySent(t *partition) {
	if it := t.head; t.target == "" && it.possiblySent().IsZero() && it.Seq <= l.queue.began && !slices.Contains(t.session.confirmed, it.Type) {
		it.remembers().possiblySent = it.Seq.Time().Add(-clockSkew)
	}
}

// settlePossiblySent notes what an attempt says about the calls before it. Called under the lock.
func (l *Lane) settlePossiblySent(v verdict, r *run, t *partition, it *item) {
	switch {
	case t.target != "" || v.Idle || v.stopped:
	case v.failed == nil:
		if it.more != nil {
			it.more.possiblySent = time.Time{}
		}
		if it.Seq <= l.queue.began && !slices.Contains(t.session.confirmed, it.Type) {
			t.session.confirmed = append(t.session.confirmed, it.Type)
		}
	case v.failed.Reason == bridge.ReasonUnconfirmed && it.possiblySent().IsZero():
		it.remembers().possiblySent = r.started.Add(-clockSkew)
	}
}

// verdict is what an attempt came to, in the end.
type verdict struct {
	Result
	failed    *bridge.DeliveryError
	outcome   outcome
	notBefore time.Time
	stopped   bool
}

// try attempts, decides and records.
func (l *Lane) try(ctx context.Context, r *run, t *partition, it *item) verdict {
	e, ok, err := l.entry(ctx, it)
	switch {
	case err != nil:
		return verdict{Result: Result{Idle: true}, failed: storeFault(err), notBefore: time.Now().Add(time.Second)}
	case !ok:
		l.log.Error("an unfinished event is no longer in the log", "event", it.Seq, "session", it.Session)
		return verdict{Result: Result{Idle: true, Done: true}}
	}
	if e.Event.Type == bridge.TypeErased || l.outlived(it, time.Now()) {
		return l.recorded(ctx, t, it, verdict{Result: Result{Idle: true, Done: true}})
	}
	if l.lastOnly(it.Type) {
		l.mu.Lock()
		old := l.queue.superseded(it, t.target)
		l.mu.Unlock()
		if old {
			return l.recorded(ctx, t, it, verdict{Result: Result{Idle: true, Done: true}})
		}
	}
	if it.Redelivered && l.engine.presenter != nil {
		edited, gone, err := l.engine.presenter.Present(ctx, &e)
		if err != nil {
			return verdict{Result: Result{Idle: true}, failed: storeFault(err), notBefore: time.Now().Add(time.Second)}
		}
		if t.target == "" { // with targets several partitions have the item at once, and none asks for it
			it.remembers().edited = edited
		}
		if gone {
			l.log.Info("a dead letter is not shown", "event", it.Seq, "type", it.Type, "session", it.Session, "cause", "it was deleted since")
			return l.recorded(ctx, t, it, verdict{Result: Result{Idle: true, Done: true}})
		}
	}
	res, err := l.attempt(ctx, l.delivery(it, e, t.target), it)
	if err == nil {
		if res.Note != "" {
			l.log.Info("an event is not shown", "event", it.Seq, "type", it.Type, "session", it.Session, "cause", res.Note)
		}
		if !res.Idle {
			l.called(t, it, res.Op, "")
			if l.opts.Apps && byOperator(e.Event) {
				l.engine.meter.CalledBack(time.Since(it.Seq.Time()))
			}
		}
		if res.Shed != "" {
			l.engine.meter.Shed(l.name, res.Shed)
		}
		if res.Orphan {
			l.engine.meter.Orphaned(l.name)
		}
		v := verdict{Result: res}
		if res.Done && !res.Idle && l.opts.Dedupes {
			l.recorder.releaseBeforeCommit(ctx, v, r, t, it)
			return v
		}
		v = l.recorded(ctx, t, it, v)
		if v.Done && !v.Idle {
			l.engine.meter.Delivered(l.name, time.Since(it.Seq.Time()))
			if len(v.Also) > 0 {
				l.engine.meter.Merged(l.name, len(v.Also)+1)
			}
			for _, seq := range v.Also {
				l.engine.meter.Delivered(l.name, time.Since(seq.Time()))
			}
		}
		return v
	}
	if ctx.Err() != nil {
		return verdict{stopped: true}
	}
	if errors.Is(err, bridge.ErrUnavailable) {
		return verdict{Result: Result{Idle: true}, failed: storeFault(err), notBefore: time.Now().Add(time.Second)}
	}
	cause := bridge.AsDelivery(err, opAttempt, fmt.Sprintf("unexpected fault: %T", err))
	l.called(t, it, res.Op, cause.Reason)
	l.limited(cause)
	return l.fail(ctx, t, it, e, res.Op, cause, r.started)
}

// fail decides what becomes of a failed attempt.
func (l *Lane) fail(
	ctx context.Context, t *partition, it *item, e bridge.Entry, op string, cause *bridge.DeliveryError, started time.Time,
) verdict {
	now := time.Now()
	c := Circumstance{Failures: t.failures + 1, age: it.Age(now), jitter: jitter, expiresWhileLimited: l.opts.ExpiresWhileLimited, life: l.life()}
	cause, c.slowest = l.whose(t, op, cause)
	c.refused = l.noteStuck(t, it, cause, started, now)
	d := l.delivery(it, e, t.target)
	if l.recoverer != nil {
		_ = bridge.Protect(l.log, op, func() error { l.recoverer.Circumstance(ctx, d, &c); return nil }) // less is known without it
	}
	if cause.Op == opAttempt { // a defect of ours says nothing of what was refused
		c.Decorated, c.Flat = false, false
	}
	o := decide(cause, c)
	v := verdict{Result: Result{Op: op}, failed: cause, outcome: o}
	level := slog.LevelWarn
	switch {
	case o.act == ActDeadLetter, o.alert && (o.pausesLane || o.pausesOp) && !l.alreadyReported(op, cause):
		level = slog.LevelError
	case o.alert && (o.pausesLane || o.pausesOp):
		level = slog.LevelInfo // a probe found what a person was told already
	}
	l.log.Log(ctx, level, "an attempt failed", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
		"event", it.Seq, "type", it.Type, "session", it.Session, "target", t.target,
		"attempt", t.tries+1, "next", o.String(), "wait", max(o.wait, o.pause).Round(time.Millisecond))
	if o.wait > 0 {
		v.notBefore = now.Add(o.wait)
	}
	switch o.act {
	case ActRetry:
	case ActDeadLetter:
		if v.Done = true; l.isState(it) {
			break // what it tells of has passed, or is told anew
		}
		v.Batch = bridge.Batch{Rows: []bridge.Row{deadLetter(l.name, t.target, e, cause, now)}, Events: l.givenUp(e, cause)}
	default:
		b, drop, err := l.react(ctx, o.act, cause, d)
		if err != nil {
			return verdict{failed: bridge.AsDelivery(err, cause.Op, cause.Detail), outcome: o, notBefore: now.Add(maxProbe)}
		}
		v.Batch, v.Done = b, drop
	}
	if v = l.recorded(ctx, t, it, v); o.act == ActDeadLetter && !v.stopped && !l.isState(it) {
		l.engine.meter.DeadLettered(l.name, cause.Reason)
	}
	return v
}

// alreadyReported says whether the lane, or this kind of call, is paused for the same cause already.
func (l *Lane) alreadyReported(op string, cause *bridge.DeliveryError) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	paused := l.pause.cause
	if p := l.refused[op]; p != nil && cause.Scope == bridge.ScopeOperation {
		paused = p.cause
	}
	return paused != nil && paused.Reason == cause.Reason && paused.Op == cause.Op && paused.Detail == cause.Detail
}

// storeFault is the store's fault in an adapter's words.
func storeFault(err error) *bridge.DeliveryError {
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "store", Detail: err.Error()}
}

// attempt is the sink's, with a panic in it as a refusal.
func (l *Lane) attempt(ctx context.Context, d Delivery, it *item) (res Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("a delivery panicked", "event", d.Entry.Seq, "type", d.Entry.Event.Type, "stack", string(debug.Stack()))
			err = &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opAttempt, Detail: "a defect in the bridge"}
		}
	}()
	return l.sink.Attempt(ctx, d, peek{l, it})
}

// react does what a verdict asks for besides waiting. A sink that can do nothing of it has done with the event.
func (l *Lane) react(ctx context.Context, a Act, cause *bridge.DeliveryError, d Delivery) (b bridge.Batch, drop bool, err error) {
	if l.recoverer == nil {
		return bridge.Batch{}, true, nil
	}
	err = bridge.Protect(l.log, cause.Op, func() (err error) { b, drop, err = l.recoverer.React(ctx, a, cause, d); return err })
	return b, drop, err
}
