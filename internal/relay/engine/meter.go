package engine

import (
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Meter counts what the relay does. Its methods are called from several goroutines and must not wait. What they are told are
// words of small sets and times: never a session, a message or a text.
type Meter interface {
	CallMeter
	// Delivered tells how long after its acceptance an event's delivery to one target was recorded.
	Delivered(lane string, after time.Duration)
	// CalledBack tells how long after its acceptance what an operator did in chat was taken by one callback.
	CalledBack(after time.Duration)
	// Orphaned counts an event that a lane dropped because what it refers to was not accepted in time.
	Orphaned(lane string)
	// Merged counts messages that were shown as one, since they had waited for the pace.
	Merged(lane string, messages int)
	// Shed counts what was left out, since it had waited for the pace and is not worth it; kind is one of a few words.
	Shed(lane, kind string)
	// DeadLettered counts a dead letter.
	DeadLettered(lane string, reason bridge.Reason)
}

// CallMeter counts the calls that deliveries make.
type CallMeter interface {
	// Called counts an attempt to take the next step of a delivery. No reason: it succeeded. What the end of the lease or of
	// the process broke off is not counted, and neither is what the store held up.
	Called(lane, op string, reason bridge.Reason)
	// Repeated counts a call that was made again because the answer to the one before was lost. What a process repeats after
	// a crash of the one before it is not known to be a repeat.
	Repeated(lane string)
	// Limited tells that a destination refused a call for its pace, and for how long it asked to wait; method is its own name of the call.
	Limited(lane, method string, retryAfter time.Duration)
}

// The steps of a delivery, for the meter: one word for each thing that the relay asks of a destination, whichever it is. The
// log names a failed call as the platform does.
const (
	OpOpenThread   = "open_thread"
	OpRenameThread = "rename_thread"
	OpReopenThread = "reopen_thread"
	OpCloseThread  = "close_thread"
	OpEditCard     = "edit_card"
	OpSend         = "send"
	OpUpload       = "upload"
	OpEdit         = "edit"
	OpDelete       = "delete"
	OpReact        = "react"
	OpPost         = "post"    // to a callback
	opListen       = "listen"  // receiving; it only ever ends with a failure
	opAttempt      = "attempt" // what failed by a defect, before a call or in the middle of it
)

// unmetered is the meter of a relay that was given none.
type unmetered struct{}

func (unmetered) Called(string, string, bridge.Reason)  {}
func (unmetered) Repeated(string)                       {}
func (unmetered) Delivered(string, time.Duration)       {}
func (unmetered) CalledBack(time.Duration)              {}
func (unmetered) Orphaned(string)                       {}
func (unmetered) Limited(string, string, time.Duration) {}
func (unmetered) Merged(string, int)                    {}
func (unmetered) Shed(string, string)                   {}
func (unmetered) DeadLettered(string, bridge.Reason)    {}

// called counts an attempt of a partition that did not end without a call, and whether it repeats one whose answer was lost.
func (l *Lane) called(t *partition, it *item, op string, reason bridge.Reason) {
	if op == "" {
		l.engine.meter.Called(l.name, opAttempt, reason)
		return
	}
	l.engine.meter.Called(l.name, op, reason)
	if t.unconfirmed == it {
		l.engine.meter.Repeated(l.name)
	}
	if t.unconfirmed = nil; reason == bridge.ReasonUnconfirmed {
		t.unconfirmed = it
	}
}

// limited tells the meter of a call that was refused for its pace.
func (l *Lane) limited(cause *bridge.DeliveryError) {
	if cause.Reason == bridge.ReasonRateLimited {
		l.engine.meter.Limited(l.name, cause.Op, cause.RetryAfter)
	}
}

// byOperator says whether an event is what an operator did in chat, and not what became of a delivery there.
func byOperator(e bridge.Event) bool {
	return e.FromOperators() && e.Origin != bridge.OriginBridge &&
		e.Type != bridge.TypeMessageDelivered && e.Type != bridge.TypeMessageFailed
}
