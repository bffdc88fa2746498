package bridge

import (
	"context"
	"time"
)

// Inbound is an app server's event, decoded and valid, on its way into the log.
type Inbound struct {
	Event *AppEvent
	Body  []byte // the request's JSON object, as it came
	// Callback is the instance that the request named, or empty.
	Callback string
	// IdempotencyKey is the request's own key with its path, or empty; Sum is of its body.
	IdempotencyKey string
	Sum            string
	// Rows are written with the event, and not with one that is a duplicate. They are of whoever hands the event over. If are what
	// must be in the store for that, else the error is ErrChanged.
	Rows, If []Row
}

// Accepted is the answer to an Inbound that is durable.
type Accepted struct {
	ID              string // the event's id; empty for what is never stored
	Duplicate       bool   // the event had been accepted before
	OperatorOnline  bool
	CallbackUnknown bool // the instance named by the request is not registered
}

// Ingester takes app servers' events. An error is a *FieldError, ErrConflict, ErrFiltered, ErrSuperseded or ErrUnavailable.
type Ingester interface {
	Ingest(ctx context.Context, in Inbound) (Accepted, error)
}

// Feed is the log, followed as it grows.
type Feed interface {
	// Next returns up to max entries after the given one, waiting for the first as long as ctx allows.
	Next(ctx context.Context, after Seq, max int) ([]Entry, error)
	// Newest returns the Seq of the newest entry, 0 for none.
	Newest() Seq
}

// Registration is an SDK instance's callback. Secret is only shown to whom it was made for.
type Registration struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	Events    []Type    `json:"events,omitempty"` // absent: all
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// LaneHealth is how a lane does.
type LaneHealth struct {
	Lane    string        `json:"lane"`
	State   string        `json:"state"`            // delivering, waiting (for another bridge's lease), paused
	Reason  string        `json:"reason,omitempty"` // why it is paused
	Waiting int           `json:"waiting"`          // events that are not finished
	Oldest  time.Duration `json:"-"`                // age of the oldest of them
	// Refused are the kinds of calls that the destination refuses while it takes others.
	Refused []RefusedCalls `json:"refused,omitempty"`
	// Sessions is how many sessions' calls fail while those for others work.
	Sessions int `json:"failingSessions,omitempty"`
	// Rate is how many calls a minute the lane makes at most after the destination refused calls for their pace; 0: it has not,
	// or not for long.
	Rate float64 `json:"rate,omitempty"`
	// PauseLeft is how long the destination has asked to wait still.
	PauseLeft time.Duration `json:"-"`
}

// RefusedCalls is a kind of call that a destination refuses, such as open_thread.
type RefusedCalls struct {
	Op     string    `json:"op"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}
