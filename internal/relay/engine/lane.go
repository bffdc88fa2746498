package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The times of a lane.
const (
	leaseTTL    = 5 * time.Second
	leaseRenew  = 1500 * time.Millisecond
	leaseMargin = time.Second // nothing begins when less than this is left of the lease
	// lastAnswers is how long calls that are under way when the lease ends may still be answered. It is half of leaseMargin, so that
	// they end before another process can have the lane.
	lastAnswers = 500 * time.Millisecond
	clockSkew   = time.Minute     // that a platform's clock and the store's may differ by
	stopTimeout = 8 * time.Second // for running calls to end and be recorded
	cursorEvery = 5 * time.Second // how often a cursor that moved over useless events alone is saved
)

// Lane is one destination's reader of the log. One process owns it at a time.
type Lane struct {
	name   string
	engine *Engine
	opts   LaneOptions
	sink   Sink
	// What else the sink is; nil: it is not.
	targeter     Targeter
	targetHealth TargetHealth
	recoverer    Recoverer
	rows         RowWriter
	observer     Observer
	log          *slog.Logger
	wakeUp       chan struct{}
	leaseTTL     time.Duration // how long the lease is taken for

	mu    sync.Mutex
	owned bool
	lease bridge.Lease
	lose  func() // ends the ownership, since the lease is lost
	queue *queue
	pace  pace
	saved bridge.Seq // the cursor in the store
	ahead ahead
	takes bool          // the destination has taken a call since the lane is ours, or since it last failed as a whole
	space chan struct{} // holds a token when there may be room for more of the log
	// finished is what was, when the lane was last ours; restating says that the store has to be told of all of it again, and
	// restateNow holds a token then.
	finished   bridge.LaneState
	restating  bool
	restateNow chan struct{}
	deferred   map[string][]*item
	running    map[*run]struct{}
	pause      pause
	refused    map[string]*refusal // kinds of calls that are refused while others work
	caution    caution
	quiet      time.Time // until then no signs are shown: one was refused for its pace
	lastHeld   time.Time // when something last had to wait for the pace
	errand     *Errand   // that waits for a place; nil: none
	onErrand   bool      // one is under way
	announcing sync.Mutex
	// suspects are the sessions whose last call failed in a way that does not say whose fault it is, and whether a call for
	// another session has worked since: then the fault is their own.
	suspects map[string]bool

	recorder recorder // where the sink dedupes

	// unwritten are results that could not be recorded before the lane was lost.
	unwritten []unwrittenResult

	workers *workers // of this ownership; the next one begins when they have ended
}

func newLane(o LaneOptions, e *Engine) *Lane {
	l := &Lane{
		name: o.Name, engine: e, opts: o, sink: o.Sink, log: e.LaneLog(o.Name), wakeUp: make(chan struct{}, 1),
		restateNow: make(chan struct{}, 1), space: make(chan struct{}, 1), leaseTTL: leaseTTL,
	}
	if exclusive(e.store) { // nobody waits for it
		l.leaseTTL = 12 * leaseTTL
	}
	l.recorder.lane = l
	l.targeter, _ = o.Sink.(Targeter)
	l.targetHealth, _ = o.Sink.(TargetHealth)
	l.recoverer, _ = o.Sink.(Recoverer)
	l.rows, _ = o.Sink.(RowWriter)
	l.observer, _ = o.Sink.(Observer)
	return l
}

// register gives a new lane its place: the end of the log. The callbacks' lane begins at the log's beginning.
func (l *Lane) register(ctx context.Context) error {
	if l.opts.FromBeginning {
		return nil
	}
	state, err := l.engine.store.Lane(ctx, l.name)
	if err != nil || state.Known {
		return err
	}
	last, err := l.engine.store.Last(ctx)
	if err != nil {
		return err
	}
	// Before an empty log too: a process that ends before the first delivery is recorded must not be followed by one that takes
	// the lane for new again.
	_, err = l.engine.store.Commit(ctx, bridge.Batch{Progress: bridge.Progress{Lane: l.name, Cursor: max(last, 1)}})
	return err
}

// leaseOf names the lease of a lane.
func leaseOf(lane string) string { return "lane/" + lane }

// run owns the lane whenever it can, until ctx ends; then running calls get stopTimeout to end.
func (l *Lane) run(ctx context.Context) {
	lease := bridge.Lease{Name: leaseOf(l.name), Token: rand.Text()}
	defer l.release(ctx, lease)      // also one whose taking was cut off by the end
	failing, another := false, false // another: a bridge beside this one had the lane
	for ctx.Err() == nil {
		sent := time.Now()
		ok, err := l.engine.store.Acquire(ctx, lease, l.leaseTTL)
		if err == nil && !ok {
			another = true
		}
		if err == nil && ok {
			if another {
				l.log.Info("the lane is taken over from another bridge")
				another = false
			}
			failing = false
			if err = l.own(ctx, lease, sent); err == nil {
				continue
			}
		}
		if err != nil && ctx.Err() == nil && !failing {
			if failing = true; errors.Is(err, bridge.ErrMoving) {
				l.log.Info("the lane stands still", "err", err)
			} else {
				l.log.Error("the lane cannot be worked; trying on", "err", err)
			}
		}
		bridge.Sleep(ctx, time.Second)
	}
}

// own works the lane for as long as the lease is held. It returns nil when ctx ended or the lease was lost.
func (l *Lane) own(ctx context.Context, lease bridge.Lease, sent time.Time) error {
	if err := l.recordUnwritten(ctx, lease); err != nil {
		return err
	}
	stored, err := l.engine.store.Lane(ctx, l.name)
	if err != nil {
		return err
	}
	state := l.recall(stored)
	if err := l.load(ctx); err != nil {
		return err
	}
	pacing, err := l.engine.store.Get(ctx, tablePaces, l.name)
	if err != nil {
		return err
	}
	// hard bounds everything that is done under the lease; soft ends earlier, at shutdown, and starts nothing new.
	hard, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lose(nil)
	soft, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	context.AfterFunc(hard, func() { stop(nil) })
	context.AfterFunc(soft, func() {
		time.AfterFunc(stopTimeout, func() { lose(errors.New("the time to end is over")) })
	})
	// A call whose answer is not awaited has to be made again, and may show what it carries twice.
	leaseLost := func() {
		stop(bridge.ErrLeaseLost)
		time.AfterFunc(lastAnswers, func() { lose(bridge.ErrLeaseLost) })
	}
	moving := func() { stop(bridge.ErrMoving) } // as at the end

	l.mu.Lock()
	l.lease, l.lose, l.owned = lease, leaseLost, true
	l.queue = newQueue(l.targets, l.awaits)
	l.queue.atOnce = l.atOnce
	l.queue.fed = state.Cursor
	l.saved, l.ahead, l.takes = stored.Cursor, ahead{}, false
	l.queue.began = l.engine.tail.Newest() // calls for events up to there may have been made by others
	l.queue.stored = state.Done
	l.setPace(pacing, time.Now())
	l.deferred = map[string][]*item{}
	l.running = map[*run]struct{}{}
	l.workers = newWorkers()
	l.errand, l.onErrand = nil, false
	l.pause, l.refused, l.suspects = pause{}, map[string]*refusal{}, map[string]bool{}
	l.mu.Unlock()

	var work sync.WaitGroup
	work.Go(func() { l.renewLease(hard, leaseLost, moving, lease, sent) })
	work.Go(func() { l.feed(soft, state) })
	work.Go(func() { l.monitor(soft) })
	if l.opts.Receive != nil {
		work.Go(func() { l.receive(soft) })
	}
	if l.opts.Beside != nil {
		work.Go(func() { l.opts.Beside(soft) })
	}
	l.dispatch(soft, hard)
	l.Settled(hard)
	l.save(hard)
	l.mu.Lock()
	l.owned = false
	l.mu.Unlock()
	stop(nil)
	lost := errors.Is(context.Cause(soft), bridge.ErrLeaseLost)
	lose(nil)
	work.Wait()
	l.workers.end()
	l.remember()
	if !lost {
		l.release(ctx, lease)
	}
	return nil
}

// release gives the lease back, if it is held.
func (l *Lane) release(ctx context.Context, lease bridge.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := l.engine.store.Release(ctx, lease); err != nil {
		l.log.Warn("the lease could not be given back; it ends by itself", "err", err)
	}
}

// renewLease renews the lease. When it is lost, or can no longer be known to be held, it says so, and when the store is being moved.
func (l *Lane) renewLease(ctx context.Context, lost, moving func(), lease bridge.Lease, sent time.Time) {
	alone := exclusive(l.engine.store)
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	expired := time.AfterFunc(time.Until(sent.Add(l.leaseTTL-leaseMargin)), lost)
	defer expired.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent = time.Now()
		renewal, cancel := ctx, func() {}
		if !alone { // it may have to be waited for
			renewal, cancel = context.WithTimeout(ctx, leaseRenew)
		}
		ok, err := l.engine.store.Acquire(renewal, lease, l.leaseTTL)
		cancel()
		switch {
		case errors.Is(err, bridge.ErrMoving) && ok:
			expired.Reset(time.Until(sent.Add(l.leaseTTL - leaseMargin)))
			moving()
		case err != nil: // the lease may hold; its time runs
		case !ok:
			l.log.Warn("the lease is lost; another bridge works the lane")
			lost()
			return
		default:
			expired.Reset(time.Until(sent.Add(l.leaseTTL - leaseMargin)))
		}
	}
}

// untilWanted waits until there is somebody to deliver to, or ever was, and returns behind which place to begin. Until then the
// events wait in the log alone.
func (l *Lane) untilWanted(ctx context.Context, after bridge.Seq) bridge.Seq {
	if l.targeter == nil {
		return after
	}
	tick := time.NewTicker(retainEvery) // the log is trimmed no more often, and each time is a write
	defer tick.Stop()
	for {
		changed := l.changed()
		before, none := l.targeter.Unwanted(ctx, time.Now())
		if !none {
			return after
		}
		if before = min(before, l.engine.tail.Newest()); before > after {
			after = before
			l.mu.Lock()
			l.queue.read(after)
			l.mu.Unlock()
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return after
		}
	}
}

// enqueue puts one entry where it belongs. done are the targets that are recorded to have it.
func (l *Lane) enqueue(e bridge.Entry, done []string) {
	if e.Event.Type == TypeRedelivered {
		l.enqueueRedelivered(e, done)
		return
	}
	moved := l.observer != nil && l.observer.OnEvent(e)
	kind := l.sink.Kind(e)
	if kind == bridge.KindNone {
		l.queue.read(e.Seq)
	} else {
		it := &item{Queued: Queued{Seq: e.Seq, Session: e.Event.Session, Type: e.Event.Type}, kind: kind, beside: l.isBeside(e.Event.Type)}
		if p, ok := l.sink.(Prefetcher); ok && kind == bridge.KindMessage {
			it.isText = p.IsText(e.Event)
		}
		if e.Event.Origin != bridge.OriginApp {
			it.Only = e.Event.Callback
		}
		l.rankOf(it, e)
		l.add(it, done)
	}
	if moved {
		l.queue.refreshSession(e.Event.Session)
	}
	if len(l.deferred) == 0 {
		return
	}
	if claim := e.Event.NaturalKey(); claim != "" {
		l.resumeDeferred(e.Event.Session+"\n"+claim, e.Seq)
	}
	if e.Event.Opens {
		l.resumeDeferred(e.Event.Session+"\n"+bridge.SessionKey, e.Seq)
	}
}

// add queues an event. Called under the lock.
func (l *Lane) add(it *item, done []string) {
	for _, target := range done {
		if it.done == nil {
			it.done = map[string]bool{}
		}
		it.done[target] = true
	}
	l.noteUnseen(it)
	l.queue.add(it)
	l.queue.settle(it)
	if it.isText {
		l.queue.endFilesWait(it.Session)
	}
}

// monitor does what time and changes outside ask for.
func (l *Lane) monitor(ctx context.Context) {
	tick := time.NewTicker(cursorEvery)
	defer tick.Stop()
	changed := l.changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			changed = l.changed()
			l.mu.Lock()
			l.queue.refresh()
			l.mu.Unlock()
			l.wake()
		case <-l.restateNow:
			l.save(ctx)
		case <-tick.C:
			l.mu.Lock()
			l.queue.refreshSession("") // what is of no session may wait for a callback that is gone
			l.mu.Unlock()
			l.expire(ctx, time.Now())
			l.report(ctx, time.Now())
			l.tellStuck(ctx, time.Now())
			l.tellDelayed(ctx, time.Now())
			l.announce(time.Now())
			l.save(ctx)
			l.wake()
		}
	}
}

// report tells operators how the destination does, where that is news. Whoever may be back is asked.
func (l *Lane) report(ctx context.Context, now time.Time) {
	s, ok := l.sink.(Reporter)
	if !ok {
		return
	}
	n := s.Report(now, l.refusals())
	l.mu.Lock()
	for _, target := range n.RetryNow {
		l.queue.retryNow(target)
	}
	n.Batch.Lease = l.lease
	l.mu.Unlock()
	if n.Acked == nil {
		return
	}
	if _, err := l.engine.Commit(ctx, n.Batch); err == nil {
		n.Acked()
	} // else the next tick tries again
}

func (l *Lane) wake() { nudge(l.wakeUp) }

// nudge puts a token into a channel that has none.
func nudge(token chan<- struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// dispatch starts attempts until soft ends.
func (l *Lane) dispatch(soft, hard context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for soft.Err() == nil {
		timer.Reset(l.startAll(hard))
		nudge(l.space)
		select {
		case <-soft.Done():
		case <-l.wakeUp:
		case <-timer.C:
		}
	}
}

// startAll starts every attempt that may start now and returns after which time to look again.
func (l *Lane) startAll(ctx context.Context) time.Duration {
	const long = time.Hour
	l.mu.Lock()
	defer l.mu.Unlock()
	concurrency := max(l.sink.Limits().Concurrency, 1)
	for {
		now := time.Now()
		if len(l.running) >= concurrency {
			return long // the end of a run wakes us
		}
		if wait := max(l.pause.until.Sub(now), l.caution.delay(now)); wait > 0 {
			if l.caution.delay(now) > 0 {
				l.lastHeld = now
			}
			return wait
		}
		if l.pause.failures > 0 && l.pause.probe != nil || l.caution.alone(now) && l.calling() {
			return long
		}
		if wait := l.startErrand(ctx, now); wait > 0 {
			return wait
		}
		l.queue.wake(now)
		t := l.queue.next(now)
		if t == nil { // nothing is ready, or the end of a run makes room for what is
			l.startIdle(ctx, now)
			if next := l.queue.nextWake(); !next.IsZero() {
				return next.Sub(now)
			}
			return long
		}
		if l.heldNow(t.head, now) && l.queue.overtake(t) {
			continue // with its place as it is now
		}
		if wait := l.pace.delay(now, int(t.head.places)); wait > 0 {
			l.lastHeld = now
			return wait
		}
		l.queue.start(t) // the very one: which one is next depends on failures, too, and they change meanwhile
		l.notePossiblySent(t)
		r := &run{started: now, ended: make(chan struct{}), places: int(t.head.places)}
		if l.pause.failures > 0 {
			l.pause.probe = r
		}
		l.pace.spend(now, r.places)
		r.lastBefore, l.caution.last = l.caution.last, now
		l.running[r] = struct{}{}
		it := t.head
		l.workers.begin(func() { l.work(ctx, r, t, it) })
	}
}

// room says whether the destination could well take more: under half of its pace, and no person's word waiting.
func (l *Lane) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.pace.room(now) && l.caution.rate(now) == 0 && !l.queue.wordsWait(now) && l.pause.cause == nil
}

// changesBehind returns the waiting events of an event's session that edit or delete a message.
func (l *Lane) changesBehind(it *item) []bridge.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.queue.sessions[it.Session]
	if s == nil {
		return nil
	}
	var out []bridge.Seq
	for _, other := range s.items {
		switch other.Type {
		case bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted, bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
			out = append(out, other.Seq)
		}
	}
	return out
}
