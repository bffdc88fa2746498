package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The times of a lane.
const (
	leaseTTL     = 10 * time.Second
	leaseRenew   = 3 * time.Second
	leaseMargin  = time.Second      // no call runs when less than this is left of the lease
	callTimeout  = 30 * time.Second // of one platform call
	fileTimeout  = 5 * time.Minute  // of one that uploads files
	clockSkew    = time.Minute      // that a platform's clock and the store's may differ by
	stopTimeout  = 8 * time.Second  // for running calls to end and be recorded
	cursorEvery  = 5 * time.Second  // how often a cursor that moved over useless events alone is saved
	lostInRow    = 3                // answers lost, that are a platform's fault
	orphanWindow = time.Minute      // within which what an event refers to must be accepted
)

// destination is where a lane delivers to.
type destination interface {
	limits() bridge.Limits
	// atOnce is how many attempts for one target may be under way at the same time. Called under the lane's lock.
	atOnce(target string) int
	// kind says of what use an event is.
	kind(e bridge.Entry) bridge.Kind
	// heard is called for every event of the log, in order, before anything is done about it, under the lane's lock. It says
	// whether the events that wait in its session have other targets from now on.
	heard(e bridge.Entry) bool
	// targets returns who is to get an event now. Called under the lane's lock.
	targets(it *item) []string
	// waits says whether an event that has no target waits for one. Called under the lane's lock.
	waits(it *item) bool
	// lastOnly says whether only the last of several waiting events of a type matters.
	lastOnly(t bridge.Type) bool
	// attempt makes at most one call, within callTimeout, or fileTimeout where it carries files.
	attempt(ctx context.Context, it *item, target string, e bridge.Entry) (result, error)
	// react does what a verdict asks for besides waiting. drop says that the event is finished thereby.
	react(ctx context.Context, o outcome, cause *bridge.DeliveryError, it *item, e bridge.Entry) (b bridge.Batch, drop bool, err error)
	// load is called when this process comes to own the lane.
	load(ctx context.Context) error
	// unwritten returns rows that have to be written with the next cursor; written tells that they are. Both are called under
	// the lane's lock.
	unwritten() []bridge.Row
	written(rows []bridge.Row)
	// circumstance fills in what the destination knows about an attempt that failed.
	circumstance(ctx context.Context, it *item, c *circumstance)
	// buried returns the events that tell of a dead letter.
	buried(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event
	// changed returns a channel that is closed when targets have changed; nil: they never do.
	changed() <-chan struct{}
	// news returns what operators have to be told of how the destination does.
	news(now time.Time) news
	// aged says whether the time of an event runs while the destination asks for time, too.
	aged() bool
	// knowsRepeats says that whoever gets an event knows it when it comes again. Then the next one of its session goes out while
	// the record of the one before it is still being written.
	knowsRepeats() bool
	// served says whether there ever was anybody to deliver to: only then is what nobody got a loss.
	served() bool
	// tidy drops what is remembered of sessions that have been silent for long. It and served are called under the lane's lock.
	tidy(now time.Time)
}

// result is what an attempt without a fault came to.
type result struct {
	batch bridge.Batch // what it produced, recorded before anything else happens
	done  bool         // the target has the event; else the next step follows
	op    string       // the step that was taken, or failed; empty: no call was made
	idle  bool         // no call was made
	free  bool         // the call was one that the platform's pace does not count
	note  string       // why nothing was sent, for the log
	stray bool         // what it refers to was not accepted in time
	park  *parking     // it waits for what it refers to
}

// parking says what an event waits for.
type parking struct {
	claim  string        // the session's claim that it refers to
	seq    bridge.Seq    // where the claim is in the log; 0: not accepted yet
	atMost time.Duration // then it is looked at again
}

// lane is one destination's reader of the log. One process owns it at a time.
type lane struct {
	name   string
	relay  *Relay
	dest   destination
	listen func(context.Context) // runs while this process owns the lane, to receive from the platform; nil: nothing to do
	log    *slog.Logger
	wakeUp chan struct{}

	mu      sync.Mutex
	owned   bool
	lease   bridge.Lease
	lose    context.CancelCauseFunc // ends the ownership
	queue   *queue
	pace    pace
	saved   bridge.Seq // the cursor in the store
	began   bridge.Seq // the log's end when the lane came to be ours: calls for events up to there may have been made by others
	parked  map[string][]*item
	running map[*run]struct{}
	records []record // that wait to be written
	pause   pause
	// unanswered is how many answers were lost since the last call that worked.
	unanswered int

	recording bool // somebody writes the records
	// idle are the goroutines that have ended an attempt and wait for the next; they end with quit, which is this ownership's.
	idle chan func()
	quit chan struct{}

	attempts sync.WaitGroup // of this ownership; the next one begins when they have ended
}

// run is an attempt under way.
type run struct {
	started time.Time
	ended   chan struct{} // closed when it is recorded
	ahead   bool          // its track has gone on; it is among the records
}

// pause is a destination's fault.
type pause struct {
	since    time.Time // of the first failure in a row; zero: none
	set      time.Time // when it was last set
	until    time.Time
	failures int
	probe    *run // the one attempt that is allowed to try
	cause    *bridge.DeliveryError
}

func newLane(name string, r *Relay) *lane {
	return &lane{name: name, relay: r, log: r.log.With("lane", name), wakeUp: make(chan struct{}, 1), idle: make(chan func())}
}

func (l *lane) use(d destination) { l.dest = d }

// introduce gives a new lane its place: the end of the log. The callbacks' lane begins at the log's beginning.
func (l *lane) introduce(ctx context.Context) error {
	if l.name == laneCallbacks {
		return nil
	}
	state, err := l.relay.store.Lane(ctx, l.name)
	if err != nil || state.Known {
		return err
	}
	last, err := l.relay.store.Last(ctx)
	if err != nil {
		return err
	}
	// Before an empty log too: a process that ends before the first delivery is recorded must not be followed by one that takes
	// the lane for new again.
	_, err = l.relay.store.Commit(ctx, bridge.Batch{Progress: bridge.Progress{Lane: l.name, Cursor: max(last, 1)}})
	return err
}

// leaseOf names the lease of a lane.
func leaseOf(lane string) string { return "lane/" + lane }

// run owns the lane whenever it can, until ctx ends; then running calls get stopTimeout to end.
func (l *lane) run(ctx context.Context) {
	lease := bridge.Lease{Name: leaseOf(l.name), Token: rand.Text()}
	defer l.release(ctx, lease) // also one whose taking was cut off by the end
	failing := false
	for ctx.Err() == nil {
		sent := time.Now()
		ok, err := l.relay.store.Acquire(ctx, lease, leaseTTL)
		if err == nil && ok {
			failing = false
			if err = l.own(ctx, lease, sent); err == nil {
				continue
			}
		}
		if err != nil && ctx.Err() == nil && !failing {
			l.log.Error("the lane cannot be worked; trying on", "err", err)
			failing = true
		}
		sleep(ctx, time.Second)
	}
}

// own works the lane for as long as the lease is held. It returns nil when ctx ended or the lease was lost.
func (l *lane) own(ctx context.Context, lease bridge.Lease, sent time.Time) error {
	state, err := l.relay.store.Lane(ctx, l.name)
	if err != nil {
		return err
	}
	if err := l.dest.load(ctx); err != nil {
		return err
	}
	// hard bounds everything that is done under the lease; soft ends earlier, at shutdown, and starts nothing new.
	hard, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lose(nil)
	soft, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(hard, stop)
	context.AfterFunc(soft, func() {
		time.AfterFunc(stopTimeout, func() { lose(errors.New("the time to end is over")) })
	})

	l.mu.Lock()
	l.lease, l.lose, l.owned = lease, lose, true
	l.queue = newQueue(l.dest.targets, l.dest.waits)
	l.queue.atOnce = l.dest.atOnce
	l.queue.fed = state.Cursor
	l.saved = state.Cursor
	l.began = l.relay.tail.Newest()
	l.pace = newPace(l.dest.limits().Pace)
	l.parked = map[string][]*item{}
	l.running = map[*run]struct{}{}
	l.quit = make(chan struct{})
	l.pause = pause{}
	l.mu.Unlock()

	var work sync.WaitGroup
	work.Go(func() { l.keep(hard, lose, lease, sent) })
	work.Go(func() { l.feed(soft, state) })
	work.Go(func() { l.watch(soft) })
	if l.listen != nil {
		work.Go(func() { l.listen(soft) })
	}
	l.dispatch(soft, hard)
	l.settled(hard)
	l.save(hard)
	l.mu.Lock()
	l.owned = false
	l.mu.Unlock()
	stop()
	lost := context.Cause(hard)
	lose(nil)
	work.Wait()
	close(l.quit)
	l.attempts.Wait()
	if lost == nil || !errors.Is(lost, bridge.ErrLeaseLost) {
		l.release(ctx, lease)
	}
	return nil
}

// release gives the lease back, if it is held.
func (l *lane) release(ctx context.Context, lease bridge.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := l.relay.store.Release(ctx, lease); err != nil {
		l.log.Warn("the lease could not be given back; it ends by itself", "err", err)
	}
}

// keep renews the lease. It cancels everything under it when the lease is lost, or can no longer be known to be held.
func (l *lane) keep(ctx context.Context, lose context.CancelCauseFunc, lease bridge.Lease, sent time.Time) {
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	expired := time.AfterFunc(time.Until(sent.Add(leaseTTL-leaseMargin)), func() { lose(bridge.ErrLeaseLost) })
	defer expired.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sent = time.Now()
		renewal, cancel := context.WithTimeout(ctx, leaseRenew)
		ok, err := l.relay.store.Acquire(renewal, lease, leaseTTL)
		cancel()
		switch {
		case err != nil: // the lease may hold; its time runs
		case !ok:
			l.log.Warn("the lease is lost; another bridge works the lane")
			lose(bridge.ErrLeaseLost)
			return
		default:
			expired.Reset(time.Until(sent.Add(leaseTTL - leaseMargin)))
		}
	}
}

// feed hands the log to the queue.
func (l *lane) feed(ctx context.Context, state bridge.LaneState) {
	done := map[bridge.Seq][]string{}
	for _, m := range state.Done {
		done[m.Seq] = append(done[m.Seq], m.Target)
	}
	after := min(state.Cursor, l.relay.tail.Newest()) // a log that lost its end goes on behind it
	for ctx.Err() == nil {
		entries, err := l.relay.tail.Next(ctx, after, tailPage)
		if err != nil {
			if ctx.Err() == nil {
				l.log.Error("the log cannot be read; trying on", "err", err)
				sleep(ctx, time.Second)
			}
			continue
		}
		l.mu.Lock()
		for _, e := range entries {
			l.take(e, done[e.Seq])
			after = e.Seq
		}
		l.mu.Unlock()
		l.wake()
	}
}

// take puts one entry where it belongs. done are the targets that are recorded to have it.
func (l *lane) take(e bridge.Entry, done []string) {
	if e.Event.Type == typeAgain {
		l.takeAgain(e, done)
		return
	}
	moved := l.dest.heard(e)
	kind := l.dest.kind(e)
	if kind == bridge.KindNone {
		l.queue.skip(e.Seq)
	} else {
		it := &item{seq: e.Seq, session: e.Event.Session, eventType: e.Event.Type, kind: kind}
		if e.Event.Origin != bridge.OriginApp {
			it.only = e.Event.Callback
		}
		l.add(it, done)
	}
	if moved {
		l.queue.follow(e.Event.Session)
	}
	if len(l.parked) == 0 {
		return
	}
	if claim := naturalKey(e.Event); claim != "" {
		l.unpark(e.Event.Session+"\n"+claim, e.Seq)
	}
	if e.Event.Opens {
		l.unpark(e.Event.Session+"\n"+sessionClaim, e.Seq)
	}
}

// add queues an event. Called under the lock.
func (l *lane) add(it *item, done []string) {
	for _, target := range done {
		if it.done == nil {
			it.done = map[string]bool{}
		}
		it.done[target] = true
	}
	l.queue.add(it)
	l.queue.settle(it)
}

// watch does what time and changes outside ask for.
func (l *lane) watch(ctx context.Context) {
	tick := time.NewTicker(cursorEvery)
	defer tick.Stop()
	changed := l.dest.changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
			changed = l.dest.changed()
			l.mu.Lock()
			l.queue.refresh()
			l.mu.Unlock()
			l.wake()
		case <-tick.C:
			l.mu.Lock()
			l.queue.follow("") // what is of no session may wait for a callback that is gone
			l.mu.Unlock()
			l.expire(ctx, time.Now())
			l.tell(ctx, time.Now())
			l.save(ctx)
			l.wake()
		}
	}
}

// tell tells operators how the destination does, where that is news. Whoever may be back is asked.
func (l *lane) tell(ctx context.Context, now time.Time) {
	n := l.dest.news(now)
	l.mu.Lock()
	for _, target := range n.unsure {
		l.queue.hurry(target)
	}
	n.batch.Lease = l.lease
	l.mu.Unlock()
	if n.written == nil {
		return
	}
	if _, err := l.relay.commit(ctx, n.batch); err == nil {
		n.written()
	} // else the next tick tries again
}

// expirePage is how many events are given up in one write.
const expirePage = 256

// expire gives up what is too old: events that waited in vain for somebody to deliver to, and all of them while the destination
// fails and has been failing for a while.
func (l *lane) expire(ctx context.Context, now time.Time) {
	for more := true; more; {
		l.mu.Lock()
		old, lost, cause := l.tooOld(now)
		b := bridge.Batch{Lease: l.lease}
		l.mu.Unlock()
		if more = len(old) == expirePage; len(old) == 0 {
			return
		}
		if lost {
			for _, it := range old {
				e, ok, err := l.entry(ctx, it)
				if err != nil {
					return // the next tick tries again
				}
				if ok {
					b.Rows = append(b.Rows, deadLetter(l.name, it.only, e, cause, now))
					b.Events = append(b.Events, l.dest.buried(e, cause)...)
				}
			}
			if len(b.Events) > 0 {
				// Recognises this very write when its answer was lost.
				b.Claims = []bridge.Claim{{Key: "expired/" + l.name + "/" + old[0].seq.String() + "/" + old[len(old)-1].seq.String()}}
			}
			if _, err := l.relay.commit(ctx, b); err != nil {
				return
			}
			l.log.Error("events were given up for their age", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
				"count", len(old))
		}
		l.mu.Lock()
		for _, it := range old {
			if lost {
				l.relay.meter.Buried(l.name, cause.Reason)
			}
			if !it.finished {
				l.queue.drop(it)
			}
		}
		l.mu.Unlock()
	}
}

// tooOld returns up to expirePage of the oldest events that are to be given up, whether that is a loss, and why. Called under
// the lock.
func (l *lane) tooOld(now time.Time) (old []*item, lost bool, cause *bridge.DeliveryError) {
	failing := (l.pause.failures > 0 || l.dest.aged() && !l.pause.since.IsZero()) && now.Sub(l.pause.since) > maxBackoff
	if lost, cause = failing, l.pause.cause; !failing {
		lost = l.dest.served()
		cause = &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opAttempt, Detail: "nobody is registered to get it"}
	}
	for _, it := range l.queue.order {
		switch {
		case it.age(now) <= giveUpAfter || len(old) == expirePage:
			return old, lost, cause
		case it.finished:
		case failing && !l.queue.busy(it), !failing && len(l.dest.targets(it)) == 0:
			old = append(old, it)
		case !failing:
			return old, lost, cause // the attempts for it decide
		}
	}
	return old, lost, cause
}

// save records a cursor that has moved since it was last recorded.
func (l *lane) save(ctx context.Context) {
	l.mu.Lock()
	cursor := l.queue.cursor(nil)
	b := bridge.Batch{Lease: l.lease, Progress: bridge.Progress{Lane: l.name, Cursor: cursor}}
	b.Rows = l.dest.unwritten()
	moved := cursor > l.saved
	l.mu.Unlock()
	if !moved {
		return
	}
	if _, err := l.relay.store.Commit(ctx, b); err == nil {
		l.saw(b)
	}
}

func (l *lane) wake() {
	select {
	case l.wakeUp <- struct{}{}:
	default:
	}
}

// dispatch starts attempts until soft ends.
func (l *lane) dispatch(soft, hard context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for soft.Err() == nil {
		timer.Reset(l.startAll(hard))
		select {
		case <-soft.Done():
		case <-l.wakeUp:
		case <-timer.C:
		}
	}
}

// startAll starts every attempt that may start now and returns after which time to look again.
func (l *lane) startAll(ctx context.Context) time.Duration {
	const long = time.Hour
	l.mu.Lock()
	defer l.mu.Unlock()
	concurrency := max(l.dest.limits().Concurrency, 1)
	for {
		now := time.Now()
		if len(l.running) >= concurrency {
			return long // the end of a run wakes us
		}
		if wait := l.pause.until.Sub(now); wait > 0 {
			return wait
		}
		if l.pause.failures > 0 && l.pause.probe != nil {
			return long
		}
		l.queue.wake(now)
		if l.queue.next() == nil { // nothing is ready, or the end of a run makes room for what is
			if next := l.queue.nextWake(); !next.IsZero() {
				return next.Sub(now)
			}
			return long
		}
		if wait := l.pace.delay(now); wait > 0 {
			return wait
		}
		t := l.queue.pop(now)
		l.doubt(t)
		r := &run{started: now, ended: make(chan struct{})}
		if l.pause.failures > 0 {
			l.pause.probe = r
		}
		l.pace.take(now)
		l.running[r] = struct{}{}
		it := t.head
		l.begin(func() { l.work(ctx, r, t, it) })
	}
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
	l.mu.Unlock()
	l.wake()
}

// conclude gives a track back, with what came of its attempt. Called under the lock.
func (l *lane) conclude(v verdict, r *run, t *track, it *item, now time.Time) {
	if v.idle || v.free {
		l.pace.refund(r.started)
	}
	l.judge(v, r, t, now)
	l.settleDoubt(v, r, t, it)
	var notBefore time.Time
	switch {
	case v.stopped: // neither done nor failed: the lease or the process ends
		notBefore = now.Add(maxProbe)
	case v.park != nil:
		l.hold(it, v.park)
	case v.done:
		l.queue.finish(it, t.target)
	case v.failed != nil && v.outcome.hold && l.pause.failures > 0:
		// The next probe is another session's, if one waits: what looks like the destination's fault may be this event's.
		notBefore = l.pause.until.Add(time.Second)
	case v.failed != nil:
		notBefore, t.asked = v.notBefore, v.failed.Reason == bridge.ReasonRateLimited
	}
	l.queue.put(t, notBefore)
}

// record is a delivery whose track has gone on, and that is not in the store yet.
type record struct {
	run    *run
	item   *item
	target string
	batch  bridge.Batch // what it produced
}

// goOn lets the track of an event that was delivered go on before that is recorded.
func (l *lane) goOn(ctx context.Context, v verdict, r *run, t *track, it *item) {
	l.mu.Lock()
	defer l.wake()
	defer l.mu.Unlock()
	r.ahead = true
	it.unrecorded++
	l.records = append(l.records, record{r, it, t.target, v.batch})
	l.conclude(v, r, t, it, time.Now())
	if !l.recording {
		l.recording = true
		l.attempts.Go(func() { l.writeRecords(ctx) })
	}
}

// recordsPage is how many deliveries are recorded in one write.
const recordsPage = 256

// writeRecords records deliveries, all that wait in one write, until none waits. Whatever the store's fault, the calls are not
// made again by this process.
func (l *lane) writeRecords(ctx context.Context) {
	for {
		l.mu.Lock()
		n := min(len(l.records), recordsPage)
		page := l.records[:n:n]
		if l.records = l.records[n:]; n == 0 {
			l.records, l.recording = nil, false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		written := l.writePage(ctx, page)
		l.mu.Lock()
		for _, rec := range page {
			rec.item.unrecorded--
			delete(l.running, rec.run)
			close(rec.run.ended)
			if written {
				l.relay.meter.Delivered(l.name, time.Since(rec.item.seq.Time()))
			}
		}
		l.queue.trim()
		l.mu.Unlock()
		l.wake()
	}
}

func (l *lane) writePage(ctx context.Context, page []record) (written bool) {
	b := bridge.Batch{Progress: bridge.Progress{Lane: l.name}}
	var rows []bridge.Row
	first, last := page[0], page[len(page)-1]
	for _, rec := range page {
		b.Events = append(b.Events, rec.batch.Events...)
		rows = append(rows, rec.batch.Rows...)
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		b.Claims = []bridge.Claim{{Key: fmt.Sprintf("records/%s/%s/%s/%s/%s/%d", l.name, first.item.seq, digest([]byte(first.target)),
			last.item.seq, digest([]byte(last.target)), len(page))}}
	}
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		l.mu.Lock()
		b.Lease = l.lease
		b.Rows = append(rows[:len(rows):len(rows)], l.dest.unwritten()...)
		l.progressOf(page, &b.Progress)
		l.mu.Unlock()
		_, err := l.relay.commit(ctx, b)
		if err == nil {
			l.saw(b)
			return true
		}
		if errors.Is(err, bridge.ErrLeaseLost) {
			l.lose(bridge.ErrLeaseLost)
		}
		if ctx.Err() != nil || !errors.Is(err, bridge.ErrUnavailable) {
			l.log.Error("deliveries could not be recorded and may be repeated", "event", first.item.seq, "count", len(page), "err", err)
			return false
		}
		if !said {
			l.log.Error("deliveries cannot be recorded; trying on", "event", first.item.seq, "count", len(page), "err", err)
			said = true
		}
		sleep(ctx, wait)
	}
}

// progressOf is the lane's progress once the records are in the store. Called under the lock.
func (l *lane) progressOf(page []record, p *bridge.Progress) {
	for _, rec := range page {
		rec.item.unrecorded--
	}
	p.Cursor, p.Done = l.queue.cursor(nil), nil
	for _, rec := range page {
		rec.item.unrecorded++
		if rec.item.seq > p.Cursor {
			p.Done = append(p.Done, bridge.Mark{Seq: rec.item.seq, Target: rec.target})
		}
	}
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
	if l.dest.lastOnly(it.eventType) {
		l.mu.Lock()
		old := l.queue.superseded(it, t.target)
		l.mu.Unlock()
		if old {
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
	return l.fail(ctx, t, it, e, cause)
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
func (l *lane) fail(ctx context.Context, t *track, it *item, e bridge.Entry, cause *bridge.DeliveryError) verdict {
	now := time.Now()
	cause = l.lost(t, cause)
	c := circumstance{failures: t.failures + 1, age: it.age(now), jitter: jitter, aged: l.dest.aged()}
	l.dest.circumstance(ctx, it, &c)
	o := decide(cause, c)
	v := verdict{failed: cause, outcome: o}
	level := slog.LevelWarn
	switch {
	case o.act == actBury, o.alert && !l.said(cause):
		level = slog.LevelError
	case o.alert:
		level = slog.LevelInfo // a probe found what a person was told already
	}
	l.log.Log(ctx, level, "an attempt failed", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
		"event", it.seq, "type", it.eventType, "session", it.session, "target", t.target,
		"attempt", t.failures+1, "next", o.String(), "wait", max(o.wait, o.pause).Round(time.Millisecond))
	if o.wait > 0 {
		v.notBefore = now.Add(o.wait)
	}
	switch o.act {
	case actRetry:
	case actPlain:
		it.plain = true
	case actBury:
		v.batch = bridge.Batch{Rows: []bridge.Row{deadLetter(l.name, t.target, e, cause, now)}, Events: l.dest.buried(e, cause)}
		v.done = true
	default:
		b, drop, err := l.dest.react(ctx, o, cause, it, e)
		if err != nil {
			return verdict{failed: bridge.AsDelivery(err, cause.Op, cause.Detail), outcome: o, notBefore: now.Add(maxProbe)}
		}
		v.batch, v.done = b, drop
	}
	if v = l.recorded(ctx, t, it, v); o.act == actBury && !v.stopped {
		l.relay.meter.Buried(l.name, cause.Reason)
	}
	return v
}

// said says whether the lane is held for the same cause already.
func (l *lane) said(cause *bridge.DeliveryError) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.pause.cause
	return held != nil && held.Reason == cause.Reason && held.Op == cause.Op && held.Detail == cause.Detail
}

// lost counts answers lost in a row. One says little of the other sessions' calls; several are the platform's fault, and to
// go on would only show every session's message again and again.
func (l *lane) lost(t *track, cause *bridge.DeliveryError) *bridge.DeliveryError {
	if cause.Reason != bridge.ReasonUnconfirmed || t.target != "" {
		return cause
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unanswered++; l.unanswered < lostInRow {
		return cause
	}
	d := *cause
	d.Scope = bridge.ScopeDestination
	return &d
}

// recorded writes what an attempt produced, for as long as the lane is owned. Whatever the store's fault, the call is not
// made again by this process.
func (l *lane) recorded(ctx context.Context, t *track, it *item, v verdict) verdict {
	b := v.batch
	if len(b.Rows) == 0 && len(b.Events) == 0 && (!v.done || v.idle) {
		return v // nothing that is worth a write: an event of no use is found to be of no use again
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		b.Claims = append(b.Claims, bridge.Claim{Key: "record/" + l.name + "/" + it.seq.String() + "/" + t.target})
	}
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		l.mu.Lock()
		b.Lease = l.lease
		b.Rows = v.batch.Rows
		if v.done {
			b.Progress = l.progress(t, it)
			b.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], l.dest.unwritten()...)
		}
		l.mu.Unlock()
		_, err := l.relay.commit(ctx, b)
		if err == nil {
			l.saw(b)
			return v
		}
		if errors.Is(err, bridge.ErrLeaseLost) {
			l.lose(bridge.ErrLeaseLost)
		}
		if ctx.Err() != nil || !errors.Is(err, bridge.ErrUnavailable) {
			l.log.Error("a delivery could not be recorded and may be repeated", "event", it.seq, "session", it.session, "err", err)
			return verdict{stopped: true}
		}
		if !said {
			l.log.Error("a delivery cannot be recorded; trying on", "event", it.seq, "err", err)
			said = true
		}
		sleep(ctx, wait)
	}
}

// saw notes what is written.
func (l *lane) saw(b bridge.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = max(l.saved, b.Progress.Cursor)
	l.dest.written(b.Rows)
}

// progress is the lane's, once the target has the event.
func (l *lane) progress(t *track, it *item) bridge.Progress {
	p := bridge.Progress{Lane: l.name}
	var also *item
	if it.unrecorded == 0 && l.queue.finishedWith(it, t.target) {
		also = it
	}
	p.Cursor = l.queue.cursor(also)
	if p.Cursor < it.seq {
		p.Done = []bridge.Mark{{Seq: it.seq, Target: t.target}}
	}
	return p
}

// judge keeps the lane's pause and the track's failures. Called under the lock.
func (l *lane) judge(v verdict, r *run, t *track, now time.Time) {
	if l.pause.probe == r {
		l.pause.probe = nil
	}
	switch {
	case v.stopped || v.idle:
	case v.failed == nil:
		t.failures, l.unanswered = 0, 0
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

// room says whether the destination could well take more: under half of its pace, and no person's word waiting.
func (l *lane) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pace.room(time.Now()) && !l.queue.wordsWait() && l.pause.cause == nil
}

// changesBehind returns the waiting events of an event's session that edit or delete a message.
func (l *lane) changesBehind(it *item) []bridge.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.queue.streams[it.session]
	if s == nil {
		return nil
	}
	var out []bridge.Seq
	for _, other := range s.items {
		switch other.eventType {
		case bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted, bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted:
			out = append(out, other.seq)
		}
	}
	return out
}

// leftUnheard says whether the visitor of an announcement has left without a word.
func (l *lane) leftUnheard(it *item) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.queue.streams[it.session]
	if s == nil || s.words > 0 {
		return false
	}
	return slices.ContainsFunc(s.items, func(other *item) bool { return other.eventType == bridge.TypeVisitorDisconnect })
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

// storeFault is the store's fault in an adapter's words.
func storeFault(err error) *bridge.DeliveryError {
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "store", Detail: err.Error()}
}

// tableDead holds what was given up: key as Letter.key makes it, value a Letter. A letter is kept for as long as a session is
// after its last word, but from its own time on: its row is owned by a session of its own, which never says anything more.
const tableDead = "dead"

// Letter is a dead letter.
type Letter struct {
	Lane   string        `json:"lane"`
	Target string        `json:"target,omitempty"`
	ID     string        `json:"id"`
	Reason bridge.Reason `json:"reason"`
	Detail string        `json:"detail"`
	At     time.Time     `json:"at"`
	Event  bridge.Event  `json:"event"`
}

func deadLetter(lane, target string, e bridge.Entry, cause *bridge.DeliveryError, now time.Time) bridge.Row {
	letter := Letter{
		Lane: lane, Target: target, ID: e.Seq.String(), Reason: cause.Reason,
		Detail: cause.Op + ": " + cause.Detail, At: now.UTC(), Event: e.Event,
	}
	letter.Event.Body = asJSON(e.Event.Body)
	key := letter.key()
	// No other session's id has a line feed. One that is given up again has its time anew.
	owner := fmt.Sprintf("%s\n%s\n%d", tableDead, key, now.UnixMilli())
	return bridge.Row{Table: tableDead, Key: key, Value: mustJSON(letter), Session: owner}
}

// mustJSON marshals what cannot fail to be marshalled: our own structs of plain fields.
func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("relay: %T does not marshal: %v", v, err))
	}
	return out
}
