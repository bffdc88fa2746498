package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// expirePage is how many events are given up in one write.
const expirePage = 256

// expire gives up what is too old: events that waited in vain for somebody to deliver to, and all of them while the destination
// fails and has been failing for a while.
func (l *Lane) expire(ctx context.Context, now time.Time) {
	for more := true; more; {
		l.mu.Lock()
		old, lost, cause := l.tooOld(now)
		b := bridge.Batch{Lease: l.lease, Progress: bridge.Progress{Lane: l.name}}
		l.mu.Unlock()
		if more = len(old) == expirePage; len(old) == 0 {
			return
		}
		if lost {
			var given []byte
			for _, it := range old {
				given = append(given, it.Seq.String()...)
				e, ok, err := l.entry(ctx, it)
				if err != nil {
					return // the next tick tries again
				}
				b.Progress.Done = append(b.Progress.Done, bridge.Mark{Seq: it.Seq, Target: everyTarget})
				if ok && !l.isState(it) {
					b.Rows = append(b.Rows, deadLetter(l.name, it.Only, e, cause, now))
					b.Events = append(b.Events, l.givenUp(e, cause)...)
				}
			}
			if len(b.Events) > 0 {
				// Recognises this very write, of these events and no others, when its answer was lost.
				b.Claims = []bridge.Claim{{Key: "expired/" + l.name + "/" + bridge.Digest(given)}}
			}
			if _, err := l.engine.Commit(ctx, b); err != nil {
				return // the next tick tries again
			}
			l.log.Error("events were given up for their age", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
				"count", len(old))
		}
		l.mu.Lock()
		for _, it := range old {
			if lost && !l.isState(it) {
				l.engine.meter.DeadLettered(l.name, cause.Reason)
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
func (l *Lane) tooOld(now time.Time) (old []*item, lost bool, cause *bridge.DeliveryError) {
	since, cause := l.pause.since, l.pause.cause
	if l.pause.failures == 0 && l.opts.ExpiresWhileLimited {
		since, cause = l.caution.first, l.caution.cause
	}
	failing := !since.IsZero() && now.Sub(since) > maxBackoff
	life := l.life()
	if lost = failing; !failing {
		lost, life = l.everHadTarget(), GiveUpAfter
		cause = &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opAttempt, Detail: "nobody is registered to get it"}
	}
	for _, it := range l.queue.order {
		switch {
		case it.Age(now) <= life || len(old) == expirePage:
			return old, lost, cause
		case it.finished:
		case failing && !l.queue.busy(it), !failing && len(l.targets(it.Queued)) == 0:
			old = append(old, it)
		case !failing:
			return old, lost, cause // the attempts for it decide
		}
	}
	return old, lost, cause
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
	return bridge.Row{Table: tableDead, Key: key, Value: bridge.MustJSON(letter), Session: owner}
}
