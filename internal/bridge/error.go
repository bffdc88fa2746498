package bridge

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Reason says why a delivery failed. It alone decides what happens next; there is no retry flag beside it.
type Reason string

const (
	// ReasonTransient is a fault that passes: it is tried again after a back-off.
	ReasonTransient Reason = "transient"
	// ReasonRateLimited is a refusal for pace: it is tried again after RetryAfter and counts as no attempt.
	ReasonRateLimited Reason = "rate_limited"
	// ReasonUnconfirmed is a call whose answer was lost: it is tried again and may show twice.
	ReasonUnconfirmed Reason = "unconfirmed"
	// ReasonThreadGone means the thread no longer exists: it is forgotten, and a message opens a new one.
	ReasonThreadGone Reason = "thread_gone"
	// ReasonClosed means the thread takes no messages until it is reopened.
	ReasonClosed Reason = "closed"
	// ReasonMessageGone means that the message to be changed no longer exists.
	ReasonMessageGone Reason = "message_gone"
	// ReasonTooLate means that the message can no longer be changed.
	ReasonTooLate Reason = "too_late"
	// ReasonMoved means that the chat has a new id, MovedTo; the call is made again there.
	ReasonMoved Reason = "moved"
	// ReasonAuth means that the platform does not accept our token or our rights: what is refused is held, and that is said.
	ReasonAuth Reason = "auth"
	// ReasonRejected means that this content will never be taken: the plain form is tried where there is one, else the event
	// becomes a dead letter.
	ReasonRejected Reason = "rejected"
)

// Scope says whose fault a failure is.
type Scope int

const (
	// ScopeSession is a fault of this session's delivery; others go on.
	ScopeSession Scope = iota
	// ScopeDestination is a fault of the whole destination (unreachable, token, global limit): its lane pauses.
	ScopeDestination
	// ScopeOperation is a refusal of one kind of call, whatever it is about, such as to open threads: what needs that call waits,
	// everything else goes on.
	ScopeOperation
	// ScopeUnclear is a failure that does not say whose fault it is, such as a 5xx or a 403 that nobody knows: it counts as the
	// session's until calls for another session fail too and none works in between, and then as the destination's.
	ScopeUnclear
)

// DeliveryError is what an adapter returns for an attempt that failed. Detail is safe to log and to show: it carries no
// secret, no URL and no text of a message.
type DeliveryError struct {
	Reason     Reason
	Scope      Scope
	Op         string        // the platform's name of the call, such as sendMessage
	Detail     string        // what the platform said, or what happened on the way
	RetryAfter time.Duration // with ReasonRateLimited: how long to wait
	Status     int           // the HTTP status of a program's answer; 0: there was none, or it was a platform's
	MovedTo    string        // with ReasonMoved: the new place, as the adapter writes it
}

func (e *DeliveryError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Reason, e.Detail)
}

// Refuses says whether a program's answer is its word on this one event, which another may not get: 4xx, but for what asks for time
// or did not arrive, and 410, which is about the registration.
func (e *DeliveryError) Refuses() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusGone:
		return false
	default:
		return e.Status/100 == 4
	}
}

// UnknownType says whether a program answered that it knows no such type, of one that it need not know: it does not want it.
func (e *DeliveryError) UnknownType(t Type) bool {
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return t.MayBeUnknown()
	default:
		return false
	}
}

// AsDelivery returns err as a DeliveryError. An error of any other type is a defect of an adapter or a panic in it and comes
// back as rejected, with fallback as its detail, since its own text may hold anything.
func AsDelivery(err error, op, fallback string) *DeliveryError {
	if err == nil {
		return nil
	}
	if d, ok := errors.AsType[*DeliveryError](err); ok {
		return d
	}
	return &DeliveryError{Reason: ReasonRejected, Op: op, Detail: fallback}
}

// FieldError says which field of a request is wrong and how. Field is a path such as message.id.
type FieldError struct {
	Field   string
	Problem string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// The faults of a write to the store. Every implementation returns these, wrapped or not.
var (
	// ErrUnavailable means that the store could not take the write now; whether it was written is not known.
	ErrUnavailable = errors.New("the store is unavailable")
	// ErrChanged means that a condition of the batch did not hold; nothing was written.
	ErrChanged = errors.New("the row has changed meanwhile")
	// ErrConflict means that a claim is held with another sum; nothing was written.
	ErrConflict = errors.New("the key was used for another content")
	// ErrSuperseded means that the visitor or a person has written since the message that an AI answers; nothing was written.
	ErrSuperseded = errors.New("the visitor or a person has written since")
	// ErrFiltered means that a filter keeps the visitor out; nothing was written.
	ErrFiltered = errors.New("the visitor is kept out by a filter")
	// ErrLeaseLost means that the lease named by the batch is not held; nothing was written.
	ErrLeaseLost = errors.New("the lease is lost")
	// ErrMoving means that the store is about to be exported for good: whoever holds a lease brings what is under way to its end, records
	// it, and gives the lease back. Nobody gets one anew.
	ErrMoving = errors.New("the store is being moved")
)
