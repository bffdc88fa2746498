package sinks

import (
	"context"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// The lanes that are not a platform's.
const (
	CallbacksLane = "callbacks" // app servers'
	WebhookLane   = "webhook"   // the events webhook's
)

// Store is what the sinks need of the store; package store says what each method promises.
type Store interface {
	msgmap.Store
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
}
