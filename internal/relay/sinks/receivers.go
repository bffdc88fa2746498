package sinks

import (
	"context"

	"github.com/pocketping/bridge/internal/bridge"
)

// Receivers are the app servers' callbacks.
type Receivers interface {
	// Targets returns the ids of the callbacks that are to get the event now, of a session that is bound to one or to none.
	Targets(e bridge.Entry, bound string) []string
	// Registered says whether there is any callback.
	Registered() bool
	// Has says whether there is this one.
	Has(id string) bool
	// Post makes one attempt to deliver the event to one of them, within a time of its own.
	Post(ctx context.Context, target string, e bridge.Entry) error
	// Changed returns a channel that is closed when registrations have changed.
	Changed() <-chan struct{}
}
