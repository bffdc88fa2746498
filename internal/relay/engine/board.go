package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Errand is a call that is no event's. The lane makes it as soon as the pace has a place for it, before anything else.
type Errand struct {
	Op string // for the meter
	// Idle says that it comes last: it is made while nothing waits for the pace, and is dropped where that is not so.
	Idle bool
	// Session is the one that it is of, if any: an idle errand is dropped while something of its session is on its way.
	Session string
	// Next is after which time the sink is asked for the next one; 0: at the next look.
	Next time.Duration
	// Do makes the call and returns the rows that keep what it came to, and the sessions of which something is shown thereby.
	Do func(ctx context.Context) (rows []bridge.Row, seen []string, err error)
}

// ErrNoCall is an errand's that turned out to need no call.
var ErrNoCall = errors.New("there is nothing to call for")

// Backlog is what of people's words waits in a lane, as far as the lane has read.
type Backlog struct {
	Words    int
	Sessions int       // that have some
	Oldest   time.Time // when the first was accepted; zero: none waits
	Held     bool      // the first of them waits for the destination's pace
	Rate     float64   // calls a minute that are made at most; 0: unknown
	Room     bool      // the destination could well take more; see PeekPace
	// Unseen are the sessions of which nothing is shown yet, the longest-waiting first.
	Unseen []WaitingSession
}

// WaitingSession is a session whose words wait.
type WaitingSession struct {
	Session string
	First   bridge.Seq // the first of them
	Words   int
}

// Announcer is a sink that shows what waits, beside the sessions' own threads.
type Announcer interface {
	// Announce returns the one call that is to be made for that now; nil: none.
	Announce(now time.Time, b Backlog) *Errand
}

// Delayer is a sink that tells of messages which wait.
type Delayer interface {
	// Delayed returns the events that tell of them.
	Delayed(waiting []bridge.Entry, now time.Time) []bridge.Event
}

// How long a message waits until that is told, and how many are told of at once.
const (
	delayedAfter = 30 * time.Second
	delayedPage  = 256
)

// heldRecently is for how long something is taken to wait for the pace after it did: it is looked at every cursorEvery.
const heldRecently = 3 * cursorEvery

// backlog returns what of people's words waits. Called under the lock.
func (l *Lane) backlog(now time.Time) Backlog {
	b := Backlog{Rate: l.pace.perMinute()}
	if r := l.caution.rate(now); r > 0 {
		b.Rate = r
	}
	var first *item
	for _, s := range l.queue.sessions {
		if s.words == 0 || s.key == "" {
			continue
		}
		w := WaitingSession{Session: s.key}
		for _, it := range s.items {
			if it.kind != bridge.KindMessage || it.Type == bridge.TypeAnswer {
				continue
			}
			if w.Words++; w.Words == 1 {
				w.First = it.Seq
				if first == nil || it.Seq < first.Seq {
					first = it
				}
			}
		}
		if w.Words == 0 {
			continue
		}
		b.Words, b.Sessions = b.Words+w.Words, b.Sessions+1
		if s.unseen {
			b.Unseen = append(b.Unseen, w)
		}
	}
	slices.SortFunc(b.Unseen, func(a, c WaitingSession) int { return strings.Compare(a.First.String(), c.First.String()) })
	if first != nil {
		b.Oldest, b.Held = first.Seq.Time(), l.heldNow(first, now) && now.Sub(l.lastHeld) < heldRecently
	}
	return b
}

// announce asks the sink for what is to be shown of what waits.
func (l *Lane) announce(now time.Time) {
	a, ok := l.sink.(Announcer)
	if !ok {
		return
	}
	l.announcing.Lock()
	defer l.announcing.Unlock()
	l.mu.Lock()
	if l.errand != nil && l.errand.Idle {
		l.errand = nil // it found no time
	}
	busy := l.errand != nil || l.onErrand || l.pause.failures > 0
	var b Backlog
	if !busy {
		b = l.backlog(now)
	}
	l.mu.Unlock()
	if busy {
		return
	}
	b.Room = l.room()
	if e := a.Announce(now, b); e != nil {
		l.mu.Lock()
		l.errand = e
		l.mu.Unlock()
	}
}

// startErrand starts the call that goes before all others, if there is one. wait is how long it has to wait for the pace. Called under
// the lock.
func (l *Lane) startErrand(ctx context.Context, now time.Time) (wait time.Duration) {
	e := l.errand
	if e == nil || e.Idle || l.caution.alone(now) { // the one call that shows whether the destination takes any is a word's
		return 0
	}
	if wait := l.pace.delay(now, 1); wait > 0 {
		return wait
	}
	l.beginErrand(ctx, now, e)
	return 0
}

// startIdle starts the call that comes last, if there is one, or drops it. Nothing else is ready. Called under the lock.
func (l *Lane) startIdle(ctx context.Context, now time.Time) {
	e := l.errand
	if e == nil || !e.Idle {
		return
	}
	if l.errand = nil; l.caution.alone(now) || l.pace.delay(now, 1) > 0 || e.Session != "" && l.queue.sessions[e.Session] != nil {
		return
	}
	l.beginErrand(ctx, now, e)
}

// beginErrand is called under the lock.
func (l *Lane) beginErrand(ctx context.Context, now time.Time, e *Errand) {
	l.errand, l.onErrand = nil, true
	r := &run{started: now, ended: make(chan struct{})}
	l.pace.spend(now, 1)
	r.lastBefore, l.caution.last = l.caution.last, now
	l.running[r] = struct{}{}
	l.workers.begin(func() { l.runErrand(ctx, r, e) })
}

func (l *Lane) runErrand(ctx context.Context, r *run, e *Errand) {
	call, cancel := context.WithTimeout(ctx, CallTimeout)
	var rows []bridge.Row
	var seen []string
	err := bridge.Protect(l.log, e.Op, func() (err error) { rows, seen, err = e.Do(call); return err })
	cancel()
	now := time.Now()
	none := errors.Is(err, ErrNoCall)
	if none {
		err = nil
	}
	cause := bridge.AsDelivery(err, e.Op, "unexpected fault")
	reason := bridge.Reason("")
	if cause != nil {
		reason = cause.Reason
	}
	if ctx.Err() == nil && !none {
		l.engine.meter.Called(l.name, e.Op, reason)
	}
	if len(rows) > 0 {
		l.mu.Lock()
		b := bridge.Batch{Lease: l.lease, Rows: append(rows, l.paceRows(now)...)}
		l.mu.Unlock()
		if _, err := l.engine.store.Commit(ctx, b); err != nil {
			l.log.Warn("what is shown of what waits could not be kept", "err", err)
		}
	}
	l.mu.Lock()
	switch {
	case none:
		l.pace.refund(r.started, r.places)
		if l.caution.last.Equal(r.started) {
			l.caution.last = r.lastBefore
		}
	case cause == nil:
		l.caution.worked(r.started, now)
		for _, session := range seen {
			l.queue.seen(session)
		}
	case cause.Reason == bridge.ReasonRateLimited && cause.Scope == bridge.ScopeDestination:
		l.caution.refuse(r.started, now, max(cause.RetryAfter, firstBackoff), cause, &l.pace)
	}
	l.onErrand = false
	delete(l.running, r)
	close(r.ended)
	q := l.queue
	l.mu.Unlock()
	if e.Next > 0 {
		time.AfterFunc(e.Next, func() { l.announceNext(q) })
	}
	if cause != nil && ctx.Err() == nil {
		l.log.Info("what waits could not be shown", "op", cause.Op, "reason", cause.Reason, "detail", cause.Detail)
	}
	l.wake()
}

// announceNext is announce for who asked for it, unless the ownership of then has ended.
func (l *Lane) announceNext(of *queue) {
	l.mu.Lock()
	over := !l.owned || l.queue != of
	l.mu.Unlock()
	if !over {
		l.announce(time.Now())
		l.wake()
	}
}

// tellDelayed tells of messages that wait for long, of each once.
func (l *Lane) tellDelayed(ctx context.Context, now time.Time) {
	d, ok := l.sink.(Delayer)
	if !ok {
		return
	}
	l.mu.Lock()
	var late []*item
	for _, it := range l.queue.order {
		if it.Age(now) < delayedAfter || len(late) == delayedPage {
			break
		}
		if !it.finished && !it.told && it.kind == bridge.KindMessage && it.Type == bridge.TypeVisitorMessage {
			late = append(late, it)
		}
	}
	b := bridge.Batch{Lease: l.lease}
	l.mu.Unlock()
	if len(late) == 0 {
		return
	}
	var waiting []bridge.Entry
	var which strings.Builder
	for _, it := range late {
		e, ok, err := l.entry(ctx, it)
		if err != nil {
			return // the next tick tries again
		}
		if ok {
			waiting = append(waiting, e)
			which.WriteString(it.Seq.String() + " ")
		}
	}
	b.Events = d.Delayed(waiting, now)
	b.Claims = []bridge.Claim{{Key: "delayed/" + l.name + "/" + bridge.Digest([]byte(which.String()))}}
	if _, err := l.engine.Commit(ctx, b); err != nil {
		return // likewise
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range late {
		it.told = true
	}
}
