package bridge

import (
	"errors"
	"time"
)

// RegisterRequest is a callback's registration as it is asked for. Zero values were not given.
type RegisterRequest struct {
	ID     string // empty: one is made
	URL    string
	Secret Secret        // empty: what the registration has stays; a new one gets one of ours
	Events []Type        // empty: all
	TTL    time.Duration // 0: 24 hours
}

// TestResult is what a receiver said to a test event.
type TestResult struct {
	Status int           // 0: there was no answer
	Took   time.Duration // until there was one, or was known to be none
	// Answer is the beginning of the answer's text, without our secrets. What the configuration names shows none: its URL is a
	// secret, and receivers like to repeat what was asked for.
	Answer string
	Fault  string // why a delivery would have failed; empty: it would not
}

// ErrTooManyCallbacks means that there are as many registrations as there may be.
var ErrTooManyCallbacks = errors.New("there are 1000 callbacks already; delete one that is not used")
