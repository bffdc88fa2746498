package relay

import (
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// What holds for the lanes to programs: app servers' callbacks and the events webhook.
const (
	programLife = 72 * time.Hour // of an event, after at least one attempt

	// An event that its receiver does not take while it takes others is told in its session's threads, and one that is refused is
	// given up. The first is a little under two minutes: it is looked for every cursorEvery.
	stuckToldAfter   = 2*time.Minute - 2*cursorEvery
	refusedGiveUp    = 15 * time.Minute
	statusEvery      = 15 * time.Minute // how often the backend is told anew who is online
	statusAgainEvery = time.Minute      // and how often at most because it answers again
)

// stuck is what is known of a track's head that its target does not take.
type stuck struct {
	seq     bridge.Seq
	since   time.Time // the beginning of the first attempt that failed
	refused time.Time // when the target refused it first; zero: it did not
	detail  string    // of the last failure
	told    bool      // operators know
}

// taker is a destination that knows since when a target has taken something.
type taker interface {
	// takes says whether a target has taken an event since then.
	takes(target string, since time.Time) bool
}

// isBeside says whether an event stands beside its session's from the first.
func (l *lane) isBeside(t bridge.Type) bool { return l.toPrograms && t.HoldsUpNothing() }

// isState says whether an event only tells a program of a state: it is never a dead letter.
func (l *lane) isState(it *item) bool {
	_, state := it.eventType.StateLife()
	return l.toPrograms && state
}

// outlived says whether an event is not worth telling any more.
func (l *lane) outlived(it *item, now time.Time) bool {
	life, state := it.eventType.StateLife()
	return l.toPrograms && state && life > 0 && it.age(now) > life
}

// life is how long an event is tried, after at least one attempt.
func (l *lane) life() time.Duration {
	if l.toPrograms {
		return programLife
	}
	return giveUpAfter
}

// stepAside has an event that failed make room for those behind it, if the receiver may not know its type, and returns when its
// track goes on. Called under the lock.
func (l *lane) stepAside(it *item, t *track, notBefore time.Time) time.Time {
	if !l.toPrograms || !it.eventType.MayBeUnknown() || l.dest.lastOnly(it.eventType) {
		return notBefore
	}
	for _, other := range t.stream.tracks {
		if other != t && other.busy && other.head == it {
			return notBefore // another receiver is being told of it right now
		}
	}
	if it.beside {
		l.queue.setAside(it, t.target, notBefore, t.failures)
		return notBefore
	}
	l.queue.setAside(it, t.target, notBefore, t.failures)
	t.failures, t.stuck = 0, stuck{}
	return time.Time{}
}

// noteStuck notes that a target did not take a track's head, and returns for how long it has been refusing that one while it took
// others; 0: it does not.
func (l *lane) noteStuck(t *track, it *item, cause *bridge.DeliveryError, started, now time.Time) time.Duration {
	d, ok := l.dest.(taker)
	if !ok {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &t.stuck
	if s.seq != it.seq {
		*s = stuck{seq: it.seq, since: started}
	}
	s.detail = cause.Detail
	switch {
	case !cause.Refuses():
		s.refused = time.Time{}
		return 0
	case s.refused.IsZero():
		s.refused = now
	}
	if !d.takes(t.target, s.since) {
		return 0
	}
	return max(now.Sub(s.refused), 1)
}

// tellStuck tells in the threads of their sessions of the operators' words that a callback has not been taking for minutes, while
// it takes others.
func (l *lane) tellStuck(ctx context.Context, now time.Time) {
	d, ok := l.dest.(taker)
	if !ok || l.name != laneCallbacks {
		return
	}
	type found struct {
		track *track
		stuck stuck
		item  *item
	}
	var all []found
	l.mu.Lock()
	for _, t := range l.queue.later.list {
		s := t.stuck
		if t.head != nil && t.head.seq == s.seq && !s.told && now.Sub(s.since) >= stuckToldAfter && t.head.session != "" &&
			!t.head.eventType.MayBeUnknown() && d.takes(t.target, s.since) {
			all = append(all, found{t, s, t.head})
		}
	}
	lease := l.lease
	l.mu.Unlock()
	for _, f := range all {
		b := bridge.Batch{
			Lease: lease, Events: []bridge.Event{everywhere(f.item.session, stuckText(f.item.eventType, f.stuck))},
			// A process that takes the lane over does not say it again.
			Claims: []bridge.Claim{{Key: "stuck/" + f.item.seq.String() + "/" + digest([]byte(f.track.target))}},
		}
		if _, err := l.relay.commit(ctx, b); err != nil {
			return // the next tick tries again
		}
		l.mu.Lock()
		if f.track.stuck.seq == f.stuck.seq {
			f.track.stuck.told = true
		}
		l.mu.Unlock()
	}
}

// stuckText says what the visitor's app does not take.
func stuckText(t bridge.Type, s stuck) string {
	what := map[bridge.Type]string{
		bridge.TypeOperatorMessage: "an answer", bridge.TypeOperatorEdited: "an edit", bridge.TypeOperatorDeleted: "a deletion",
		bridge.TypeSessionClosed: "that the conversation was closed", bridge.TypeCSATRequest: "the request for a rating",
	}[t]
	if what == "" {
		what = "something"
	}
	until := "It is tried again for three days"
	if !s.refused.IsZero() {
		until = "It is tried again for a quarter of an hour"
	}
	return "⚠️ The visitor's app has not taken " + what + " of this conversation for two minutes: " + s.detail + ". " + until +
		", and what follows waits behind it."
}
