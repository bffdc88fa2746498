package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// The limits of lanes that deliver to programs: app servers' callbacks and the events webhook.
const (
	programLife = 72 * time.Hour // of an event, after at least one attempt

	// A receiver may fail one event and take others. Operators are told of such an event in its session's threads after stuckToldAfter.
	// An event that the receiver refuses all this time is given up. stuckToldAfter is a little under two minutes, since it is looked at
	// every cursorEvery.
	stuckToldAfter = 2*time.Minute - 2*cursorEvery
	refusedGiveUp  = 15 * time.Minute
)

// stuck describes the first event of a partition while its target does not take it.
type stuck struct {
	seq     bridge.Seq
	since   time.Time // the beginning of the first attempt that failed
	refused time.Time // when the target refused it first; zero: it did not
	others  bool      // the target took others before it failed to take this one again
	detail  string    // of the last failure
	acked   bool      // operators know
}

// isBeside says whether an event is outside of its session's order from the first.
func (l *Lane) isBeside(t bridge.Type) bool { return l.opts.Programs && t.HoldsUpNothing() }

// isState says whether an event only tells a program of a state: it is never a dead letter.
func (l *Lane) isState(it *item) bool {
	_, state := it.Type.StateLife()
	return l.opts.Programs && state
}

// outlived says whether an event is too old to be delivered.
func (l *Lane) outlived(it *item, now time.Time) bool {
	life, state := it.Type.StateLife()
	return l.opts.Programs && state && life > 0 && it.Age(now) > life
}

// life is how long an event is tried, after at least one attempt.
func (l *Lane) life() time.Duration {
	if l.opts.Programs {
		return programLife
	}
	return GiveUpAfter
}

// stepAside takes an event that failed out of its partition's order, if it failed because the receiver may not know its type. It
// returns when the partition goes on. The caller holds the lock.
func (l *Lane) stepAside(it *item, t *partition, notBefore time.Time) time.Time {
	if !l.opts.Programs || !it.Type.MayBeUnknown() || l.lastOnly(it.Type) {
		return notBefore
	}
	for other := range t.session.partitions.all() {
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

// noteStuck notes that a target did not take a partition's first event. It returns for how long the target has refused this event while
// it took others; 0 when that is not so.
func (l *Lane) noteStuck(t *partition, it *item, cause *bridge.DeliveryError, started, now time.Time) time.Duration {
	if l.targetHealth == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &t.stuck
	if s.seq != it.Seq {
		*s = stuck{seq: it.Seq, since: started}
	}
	s.detail = cause.Detail
	s.others = l.targetHealth.TookSince(t.target, s.since)
	switch {
	case !cause.Refuses():
		s.refused = time.Time{}
		return 0
	case s.refused.IsZero():
		s.refused = now
	}
	if !s.others {
		return 0
	}
	return max(now.Sub(s.refused), 1)
}

// tellStuck looks for operators' messages that a callback has not taken for minutes although it takes others. Operators are told of each
// in its session's threads.
func (l *Lane) tellStuck(ctx context.Context, now time.Time) {
	if l.targetHealth == nil || !l.opts.Apps {
		return
	}
	type found struct {
		partition *partition
		stuck     stuck
		item      *item
	}
	var all []found
	l.mu.Lock()
	for _, t := range l.queue.later.list {
		s := t.stuck
		if t.head != nil && t.head.Seq == s.seq && !s.acked && now.Sub(s.since) >= stuckToldAfter && t.head.Session != "" &&
			!t.head.Type.MayBeUnknown() && s.others {
			all = append(all, found{t, s, t.head})
		}
	}
	lease := l.lease
	l.mu.Unlock()
	for _, f := range all {
		b := bridge.Batch{
			Lease: lease, Events: []bridge.Event{bridge.SessionNotice(f.item.Session, stuckText(f.item.Type, f.stuck))},
			// A process that takes the lane over does not say it again.
			Claims: []bridge.Claim{{Key: "stuck/" + f.item.Seq.String() + "/" + bridge.Digest([]byte(f.partition.target))}},
		}
		if _, err := l.engine.Commit(ctx, b); err != nil {
			return // the next tick tries again
		}
		l.mu.Lock()
		if f.partition.stuck.seq == f.stuck.seq {
			f.partition.stuck.acked = true
		}
		l.mu.Unlock()
	}
}

// stuckText is what operators are told of such a message.
func stuckText(t bridge.Type, s stuck) string {
	say := words.Get()
	what := map[bridge.Type]string{
		bridge.TypeOperatorMessage: say.StuckAnswer, bridge.TypeOperatorEdited: say.StuckEdit, bridge.TypeOperatorDeleted: say.StuckDeletion,
		bridge.TypeSessionClosed: say.StuckClose, bridge.TypeCSATRequest: say.StuckRating,
	}[t]
	until := say.StuckThreeDays
	if !s.refused.IsZero() {
		until = say.StuckQuarter
	}
	return say.StuckFor.With(cmp.Or(what, say.Something), s.detail, until)
}
