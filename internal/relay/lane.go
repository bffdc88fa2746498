package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The times of a lane.
const (
	leaseTTL    = 5 * time.Second
	leaseRenew  = 1500 * time.Millisecond
	leaseMargin = time.Second      // nothing begins when less than this is left of the lease
	callTimeout = 30 * time.Second // of one platform call
	fileTimeout = 5 * time.Minute  // of one that uploads files
	// lastAnswers is how long calls that are under way when the lease ends may still be answered. It is half of leaseMargin, so that
	// they end before another process can have the lane.
	lastAnswers  = 500 * time.Millisecond
	clockSkew    = time.Minute     // that a platform's clock and the store's may differ by
	stopTimeout  = 8 * time.Second // for running calls to end and be recorded
	cursorEvery  = 5 * time.Second // how often a cursor that moved over useless events alone is saved
	orphanWindow = time.Minute     // within which what an event refers to must be accepted
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

// preparer is a destination that has to read something before it is given entries. It is called without the lane's lock.
type preparer interface {
	prepare(ctx context.Context, entries []bridge.Entry) error
}

// unserved is a destination that may have nobody to deliver to, ever. It is called without the lane's lock.
type unserved interface {
	// nobodys returns the place in the log up to which nobody will ever want the events; ok is false once somebody is or was
	// there.
	nobodys(ctx context.Context, now time.Time) (before bridge.Seq, ok bool)
}

// fileUser is a destination that has the files of an event fetched as soon as it is in the log. wantFiles returns at once; it is
// called without the lane's lock.
type fileUser interface {
	wantFiles(e bridge.Entry)
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
	wait  *filesWait   // it waits for its files, and its session with it
	needs int          // no call was made, since it takes so many places in the pace
	// blocked is the kind of call that it needs and that the destination refuses: it waits until then.
	blocked string
	until   time.Time
}

// lane is one destination's reader of the log. One process owns it at a time.
type lane struct {
	name   string
	relay  *Relay
	dest   destination
	listen func(context.Context) // runs while this process owns the lane, to receive from the platform; nil: nothing to do
	log    *slog.Logger
	wakeUp chan struct{}
	// leaseTTL is how long the lease is taken for, and leaseRenew how often.
	leaseTTL, leaseRenew time.Duration
	// toPrograms says that it leads to app servers or the events webhook: what apps.go says holds.
	toPrograms bool

	mu    sync.Mutex
	owned bool
	lease bridge.Lease
	lose  func() // ends the ownership, since the lease is lost
	queue *queue
	pace  pace
	saved bridge.Seq // the cursor in the store
	// finished is what was, when the lane was last ours; restating says that the store has to be told of all of it again, and
	// restateNow holds a token then.
	finished   bridge.LaneState
	restating  bool
	restateNow chan struct{}
	began      bridge.Seq // the log's end when the lane came to be ours: calls for events up to there may have been made by others
	parked     map[string][]*item
	running    map[*run]struct{}
	records    []record // that wait to be written
	pause      pause
	refused    map[string]*refusal // kinds of calls that are refused while others work
	caution    caution
	quiet      time.Time // until then no signs are shown: one was refused for its pace
	// suspects are the sessions whose last call failed in a way that does not say whose fault it is, and whether a call for
	// another session has worked since: then the fault is their own.
	suspects map[string]bool

	recording bool // somebody writes the records
	// idle are the goroutines that have ended an attempt and wait for the next; they end with quit, which is this ownership's.
	idle chan func()
	quit chan struct{}

	// hand are results that could not be recorded before the lane was lost.
	hand []inHand

	attempts sync.WaitGroup // of this ownership; the next one begins when they have ended
}

func newLane(name string, r *Relay) *lane {
	l := &lane{name: name, relay: r, log: r.log.With("lane", name), wakeUp: make(chan struct{}, 1), idle: make(chan func()),
		restateNow: make(chan struct{}, 1), leaseTTL: leaseTTL, leaseRenew: leaseRenew}
	if exclusive(r.store) { // nobody waits for it
		l.leaseTTL, l.leaseRenew = 12*leaseTTL, 12*leaseRenew
	}
	return l
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
		ok, err := l.relay.store.Acquire(ctx, lease, l.leaseTTL)
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
	if err := l.recordHand(ctx, lease); err != nil {
		return err
	}
	stored, err := l.relay.store.Lane(ctx, l.name)
	if err != nil {
		return err
	}
	state := l.recall(stored)
	if err := l.dest.load(ctx); err != nil {
		return err
	}
	pacing, err := l.relay.store.Get(ctx, tablePaces, l.name)
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

	l.mu.Lock()
	l.lease, l.lose, l.owned = lease, leaseLost, true
	l.queue = newQueue(l.dest.targets, l.dest.waits)
	l.queue.atOnce = l.dest.atOnce
	l.queue.fed = state.Cursor
	l.saved = stored.Cursor
	l.began = l.relay.tail.Newest()
	l.setPace(pacing, time.Now())
	l.parked = map[string][]*item{}
	l.running = map[*run]struct{}{}
	l.quit = make(chan struct{})
	l.pause, l.refused, l.suspects = pause{}, map[string]*refusal{}, map[string]bool{}
	l.mu.Unlock()

	var work sync.WaitGroup
	work.Go(func() { l.keep(hard, leaseLost, lease, sent) })
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
	stop(nil)
	lost := errors.Is(context.Cause(soft), bridge.ErrLeaseLost)
	lose(nil)
	work.Wait()
	close(l.quit)
	l.attempts.Wait()
	l.remember()
	if !lost {
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

// keep renews the lease. When it is lost, or can no longer be known to be held, it says so.
func (l *lane) keep(ctx context.Context, lost func(), lease bridge.Lease, sent time.Time) {
	tick := time.NewTicker(l.leaseRenew)
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
		renewal, cancel := context.WithTimeout(ctx, l.leaseRenew)
		ok, err := l.relay.store.Acquire(renewal, lease, l.leaseTTL)
		cancel()
		switch {
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

// feed hands the log to the queue.
func (l *lane) feed(ctx context.Context, state bridge.LaneState) {
	done := map[bridge.Seq][]string{}
	for _, m := range state.Done {
		done[m.Seq] = append(done[m.Seq], m.Target)
	}
	after := l.untilServed(ctx, state.Cursor)
	for ctx.Err() == nil {
		entries, err := l.relay.tail.Next(ctx, after, tailPage)
		if p, ok := l.dest.(preparer); ok && err == nil {
			err = p.prepare(ctx, entries)
		}
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
		l.saveRows(ctx)
		l.wantFiles(entries, done)
	}
}

// wantFiles tells the destination of people's words that are to come to it.
func (l *lane) wantFiles(entries []bridge.Entry, done map[bridge.Seq][]string) {
	p, ok := l.dest.(fileUser)
	if !ok {
		return
	}
	for _, e := range entries {
		if len(done[e.Seq]) == 0 && l.dest.kind(e) == bridge.KindWord {
			p.wantFiles(e)
		}
	}
}

// untilServed waits until there is somebody to deliver to, or ever was, and returns behind which place to begin. Until then the
// events wait in the log alone.
func (l *lane) untilServed(ctx context.Context, after bridge.Seq) bridge.Seq {
	d, ok := l.dest.(unserved)
	if !ok {
		return after
	}
	tick := time.NewTicker(cursorEvery)
	defer tick.Stop()
	for {
		changed := l.dest.changed()
		before, none := d.nobodys(ctx, time.Now())
		if !none {
			return after
		}
		if before = min(before, l.relay.tail.Newest()); before > after {
			after = before
			l.mu.Lock()
			l.queue.skip(after)
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
		it := &item{seq: e.Seq, session: e.Event.Session, eventType: e.Event.Type, kind: kind, beside: l.isBeside(e.Event.Type)}
		it.isText = kind == bridge.KindWord && e.Event.Type != typeLate && !bringsFiles(e.Event)
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
	if it.isText {
		l.queue.endFilesWait(it.session)
	}
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
		case <-l.restateNow:
			l.save(ctx)
		case <-tick.C:
			l.mu.Lock()
			l.queue.follow("") // what is of no session may wait for a callback that is gone
			l.mu.Unlock()
			l.expire(ctx, time.Now())
			l.tell(ctx, time.Now())
			l.tellStuck(ctx, time.Now())
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
		if wait := max(l.pause.until.Sub(now), l.caution.delay(now)); wait > 0 {
			return wait
		}
		if l.pause.failures > 0 && l.pause.probe != nil || l.caution.alone(now) && l.calling() {
			return long
		}
		l.queue.wake(now)
		t := l.queue.next()
		if t == nil { // nothing is ready, or the end of a run makes room for what is
			if next := l.queue.nextWake(); !next.IsZero() {
				return next.Sub(now)
			}
			return long
		}
		if wait := l.pace.delay(now, t.head.places); wait > 0 {
			return wait
		}
		l.queue.start(t) // the very one: which one is next depends on failures, too, and they change meanwhile
		l.doubt(t)
		r := &run{started: now, ended: make(chan struct{}), places: t.head.places}
		if l.pause.failures > 0 {
			l.pause.probe = r
		}
		l.pace.take(now, r.places)
		r.lastBefore, l.caution.last = l.caution.last, now
		l.running[r] = struct{}{}
		it := t.head
		l.begin(func() { l.work(ctx, r, t, it) })
	}
}

// room says whether the destination could well take more: under half of its pace, and no person's word waiting.
func (l *lane) room() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.pace.room(now) && l.caution.rate(now) == 0 && !l.queue.wordsWait() && l.pause.cause == nil
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
