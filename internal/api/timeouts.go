package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// apiTimeout is how long a request may wait for what there is one of: the team, the registrations. Those that change it go one
// after the other, and with a store that hangs each would wait for all before it.
const apiTimeout = 10 * time.Second

// inTime gives do so much time, and makes of its being over that the store is unavailable.
func inTime(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	err := do(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, bridge.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
	}
	return err
}

// timed is inTime of what returns something.
func timed[T any](ctx context.Context, do func(ctx context.Context) (T, error)) (out T, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		out, err = do(ctx)
		return err
	})
	return out, err
}

// timeoutIngester gives an event that changes the team so much time.
type timeoutIngester struct{ bridge.Ingester }

func (t timeoutIngester) Ingest(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error) {
	if in.Event.Type != bridge.TypeOperatorStatus {
		return t.Ingester.Ingest(ctx, in)
	}
	return timed(ctx, func(ctx context.Context) (bridge.Accepted, error) { return t.Ingester.Ingest(ctx, in) })
}

// timeoutCallbacks gives each call so much time, but for Test: that waits for the receiver, which has its own.
type timeoutCallbacks struct{ Callbacks }

func (t timeoutCallbacks) Put(ctx context.Context, w bridge.RegisterRequest) (
	reg bridge.Registration, made bridge.Secret, created bool, err error,
) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		reg, made, created, err = t.Callbacks.Put(ctx, w)
		return err
	})
	return reg, made, created, err
}

func (t timeoutCallbacks) Get(ctx context.Context, id string) (reg bridge.Registration, ok bool, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		reg, ok, err = t.Callbacks.Get(ctx, id)
		return err
	})
	return reg, ok, err
}

func (t timeoutCallbacks) List(ctx context.Context) ([]bridge.Registration, error) {
	return timed(ctx, t.Callbacks.List)
}

func (t timeoutCallbacks) Delete(ctx context.Context, id string) (bool, error) {
	return timed(ctx, func(ctx context.Context) (bool, error) { return t.Callbacks.Delete(ctx, id) })
}

func (t timeoutCallbacks) Rotate(ctx context.Context, id string) (reg bridge.Registration, made bridge.Secret, ok bool, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		reg, made, ok, err = t.Callbacks.Rotate(ctx, id)
		return err
	})
	return reg, made, ok, err
}

// timeoutDeliveries gives each call so much time.
type timeoutDeliveries struct{ of Deliveries }

func (t timeoutDeliveries) Deliveries(ctx context.Context, q bridge.DeliveryQuery) (bridge.DeliveryPage, error) {
	return timed(ctx, func(ctx context.Context) (bridge.DeliveryPage, error) { return t.of.Deliveries(ctx, q) })
}

func (t timeoutDeliveries) Retry(ctx context.Context, id string) error {
	return inTime(ctx, func(ctx context.Context) error { return t.of.Retry(ctx, id) })
}

func (t timeoutDeliveries) RetryAll(ctx context.Context, lane string) (retried, left int, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		retried, left, err = t.of.RetryAll(ctx, lane)
		return err
	})
	return retried, left, err
}

func (t timeoutDeliveries) Discard(ctx context.Context, id string) error {
	return inTime(ctx, func(ctx context.Context) error { return t.of.Discard(ctx, id) })
}
