package bridge

import (
	"errors"
	"time"
)

// The states of a Delivery.
const (
	StateWaiting = "waiting" // it has not been delivered yet
	StateFailed  = "failed"  // it was given up: a dead letter
)

// Delivery is an event on its way to one destination, or given up on it. What the event says is not shown.
type Delivery struct {
	ID        string    `json:"id"` // opaque; the same for as long as it is not delivered
	State     string    `json:"state"`
	Lane      string    `json:"lane"`
	Target    string    `json:"target,omitempty"` // of the lane's, where it has several and it is known
	EventID   string    `json:"eventId"`
	Type      Type      `json:"type"`
	SessionID string    `json:"sessionId,omitempty"`
	MessageID string    `json:"messageId,omitempty"`
	Timestamp time.Time `json:"timestamp"` // of the event

	// Of one that failed.
	Reason   Reason    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"` // for people; without secrets
	FailedAt time.Time `json:"failedAt,omitzero"`
}

// DeliveryQuery says which deliveries are wanted.
type DeliveryQuery struct {
	State string // empty: all, the failed ones first
	Lane  string // empty: of all lanes
	After string // the Next of the page before; empty: from the beginning
	Max   int    // of a page
}

// DeliveryPage is some of the deliveries.
type DeliveryPage struct {
	Deliveries []Delivery
	Next       string // with which the next page is asked for; empty: there is none
}

// Call is who is to be called to a visitor's word on a platform.
type Call struct {
	Needed   bool      // nobody who takes part is there
	Users    []string  // platform user ids of those who are called by name; none: those whom the platform's setting names
	Answered time.Time // when somebody answered the visitor last; zero: nobody has
}

// The faults of what is asked about deliveries.
var (
	// ErrNoDelivery means that there is no such dead letter.
	ErrNoDelivery = errors.New("there is no such dead letter")
	// ErrNoLane means that a dead letter's lane is not configured, so that nobody would carry it.
	ErrNoLane = errors.New("the lane is not configured")
)
