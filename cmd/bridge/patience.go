package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay"
)

// patience is how long a request may wait for what there is one of: the team, the registrations. Those that change it go one
// after the other, and with a store that hangs each would wait for all before it.
const patience = 10 * time.Second

// inTime gives do so much time, and makes of its being over that the store is unavailable.
func inTime(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := do(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, bridge.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
	}
	return err
}

// taker is the relay as the API sees it.
type taker struct{ *relay.Relay }

// Ingest implements bridge.Ingester.
func (t taker) Ingest(ctx context.Context, in bridge.Inbound) (out bridge.Accepted, err error) {
	if in.Event.Type != bridge.TypeOperatorStatus {
		return t.Relay.Ingest(ctx, in)
	}
	err = inTime(ctx, func(ctx context.Context) (err error) {
		out, err = t.Relay.Ingest(ctx, in)
		return err
	})
	return out, err
}

// Get implements api.Callbacks.
func (r registrations) Get(ctx context.Context, id string) (reg bridge.Registration, ok bool, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		reg, ok, err = r.Registry.Get(ctx, id)
		return err
	})
	return reg, ok, err
}

// List implements api.Callbacks.
func (r registrations) List(ctx context.Context) (all []bridge.Registration, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		all, err = r.Registry.List(ctx)
		return err
	})
	return all, err
}

// Delete implements api.Callbacks.
func (r registrations) Delete(ctx context.Context, id string) (there bool, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		there, err = r.Registry.Delete(ctx, id)
		return err
	})
	return there, err
}
