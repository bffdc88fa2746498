package engine

import (
	"cmp"
	"math/rand/v2"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The paces of trying again.
const (
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute  // of a session
	maxProbe     = 30 * time.Second // of a destination: one probe, at most this far apart
	GiveUpAfter  = 24 * time.Hour   // of an event's age, after at least one attempt
	GoneAgain    = time.Hour        // a thread that goes twice within it is a fault
	GoneAtMost   = 3                // times within it; then the session goes without a thread
)

// Act is what the relay does about a failed attempt.
type Act int

const (
	ActRetry       Act = iota // the same call again, after the wait
	ActForget                 // forget the thread; a word opens a new one, anything else is dropped
	ActReopen                 // reopen the thread; a word is sent then, anything else is dropped
	ActFollow                 // take over the chat's new id
	ActPlain                  // send the form without markup
	ActUndecorated            // take away what embellishes it: the name and the card of a new thread, a message's card and reply
	ActFlat                   // go without a thread: show it in the main place, by name
	ActDeadLetter             // a dead letter
)

// outcome is the verdict on a failed attempt.
type outcome struct {
	act        Act
	wait       time.Duration // before this session's next attempt
	pausesLane bool          // the whole lane pauses; one probe goes when the pause is over
	pausesOp   bool          // calls of this kind pause, with probes; all others go on
	pause      time.Duration // how long; 0 with pausesLane: as long as its failures in a row ask for
	attempt    bool          // it counts as an attempt
	alert      bool          // a person has to do something
}

func (o outcome) String() string { return o.act.String() }

func (a Act) String() string {
	return [...]string{"retry", "forget thread", "reopen thread", "follow the move", "send without markup",
		"go without name or card", "go without a thread", "give up"}[a]
}

// Circumstance is what a verdict depends on besides the reason.
type Circumstance struct {
	Failures            int           // of this session at this destination in a row, with this one
	slowest             time.Duration // its back-off is no longer; 0: maxBackoff
	age                 time.Duration // of the event
	Plain               bool          // there is a form without markup that was not tried
	Gone                int           // how often the session's thread went within goneAgain, with this time
	OpensIn             time.Duration // until another thread may be opened for it, where it went too often
	Decorated           bool          // it embellishes what can be shown without
	Flat                bool          // the session can be shown in the main place
	Opening             bool          // what failed was to open its thread
	expiresWhileLimited bool          // see LaneOptions.ExpiresWhileLimited
	life                time.Duration // how long the event is tried, after at least one attempt; 0: giveUpAfter
	refused             time.Duration // for how long a program that takes others' events has been refusing this one; 0: it does not
	jitter              func() float64
}

// decide is the only place that says what becomes of a failed attempt.
func decide(err *bridge.DeliveryError, c Circumstance) outcome {
	o := outcome{act: ActRetry, attempt: true}
	switch err.Reason {
	case bridge.ReasonTransient, bridge.ReasonUnconfirmed:
		if o.pausesLane = err.Scope == bridge.ScopeDestination; !o.pausesLane {
			o.wait = backoff(c.Failures, cmp.Or(c.slowest, maxBackoff), c.jitter)
		}
	case bridge.ReasonRateLimited:
		o.attempt = false
		o.wait = max(err.RetryAfter, firstBackoff)
		if c.expiresWhileLimited { // one that asks for a second each time is not asked every second, nor by all sessions at once
			o.wait = max(o.wait+time.Duration(float64(o.wait)*c.jitter()/10), backoff(c.Failures, maxBackoff, c.jitter))
		}
		if err.Scope == bridge.ScopeDestination {
			o.pausesLane, o.pause, o.wait = true, o.wait, 0
		}
	case bridge.ReasonThreadGone:
		o.act = ActForget
		switch {
		case c.Gone >= GoneAtMost && c.Flat:
			o.act = ActFlat
		case c.Gone >= GoneAtMost:
			o.wait = max(c.OpensIn, backoff(c.Gone, maxBackoff, c.jitter))
		case c.Gone > 1:
			o.wait = backoff(c.Gone, maxBackoff, c.jitter)
		}
	case bridge.ReasonClosed, bridge.ReasonMoved:
		if o.act = ActReopen; err.Reason == bridge.ReasonMoved {
			o.act = ActFollow
		}
		if c.Failures > 1 {
			o.wait = backoff(c.Failures, maxBackoff, c.jitter)
		}
	case bridge.ReasonAuth:
		o.alert = true
		switch err.Scope {
		case bridge.ScopeDestination:
			o.pausesLane, o.pause = true, maxProbe
		case bridge.ScopeOperation:
			o.pausesOp, o.pause = true, maxProbe
		default:
			o.wait = backoff(c.Failures, cmp.Or(c.slowest, maxBackoff), c.jitter)
		}
	default: // rejected, and what no adapter should say
		o.act = ActDeadLetter
		switch {
		case c.Plain:
			o.act, o.attempt = ActPlain, false
		case c.Decorated:
			o.act, o.attempt = ActUndecorated, false
		case c.Opening && c.Flat:
			o.act = ActFlat
		}
	}
	life := cmp.Or(c.life, GiveUpAfter)
	switch {
	case (o.attempt || c.expiresWhileLimited) && c.age > life, c.refused >= refusedGiveUp:
		o.act = ActDeadLetter
	case c.refused > 0:
		o.wait = min(o.wait, max(refusedGiveUp-c.refused, firstBackoff))
	case c.expiresWhileLimited && err.Reason == bridge.ReasonRateLimited: // there is a last attempt at the end of the time
		left := max(life-c.age, firstBackoff)
		o.wait, o.pause = min(o.wait, left), min(o.pause, left)
	}
	return o
}

// backoff doubles from firstBackoff to the limit, with full jitter but never less than a tenth of a second.
func backoff(failures int, limit time.Duration, jitter func() float64) time.Duration {
	d := limit
	if failures < 20 {
		d = min(limit, firstBackoff<<max(failures-1, 0))
	}
	return max(100*time.Millisecond, time.Duration(float64(d)*jitter()))
}

func jitter() float64 { return rand.Float64() } //nolint:gosec // spreads retries; nothing secret depends on it
