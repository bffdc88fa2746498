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

// timeoutIngester gives an event that changes the team so much time.
type timeoutIngester struct{ bridge.Ingester }

func (t timeoutIngester) Ingest(ctx context.Context, in bridge.Inbound) (out bridge.Accepted, err error) {
	if in.Event.Type != bridge.TypeOperatorStatus {
		return t.Ingester.Ingest(ctx, in)
	}
	err = inTime(ctx, func(ctx context.Context) (err error) {
		out, err = t.Ingester.Ingest(ctx, in)
		return err
	})
	return out, err
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

func (t timeoutCallbacks) List(ctx context.Context) (all []bridge.Registration, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		all, err = t.Callbacks.List(ctx)
		return err
	})
	return all, err
}

func (t timeoutCallbacks) Delete(ctx context.Context, id string) (there bool, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		there, err = t.Callbacks.Delete(ctx, id)
		return err
	})
	return there, err
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

func (t timeoutDeliveries) Deliveries(ctx context.Context, q bridge.DeliveryQuery) (page bridge.DeliveryPage, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		page, err = t.of.Deliveries(ctx, q)
		return err
	})
	return page, err
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
