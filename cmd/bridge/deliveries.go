package main

import (
	"context"
	"errors"

	"github.com/pocketping/bridge/internal/relay/engine"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/callback"
	"github.com/pocketping/bridge/internal/relay"
)

// deliveries is the relay's deliveries as the API sees them.
type deliveries struct{ relay *relay.Relay }

// Deliveries implements api.Deliveries.
func (d deliveries) Deliveries(ctx context.Context, q api.DeliveryQuery) (out api.DeliveryPage, err error) {
	err = inTime(ctx, func(ctx context.Context) error {
		page, err := d.relay.Deliveries(ctx, engine.Query{State: q.State, Lane: q.Lane, After: q.After, Max: q.Max})
		if err != nil {
			return err
		}
		out.Next = page.Next
		for _, one := range page.Deliveries {
			out.Deliveries = append(out.Deliveries, api.Delivery{
				ID: one.ID, State: one.State, Lane: one.Lane, Target: one.Target, EventID: one.Event.String(), Type: one.Type,
				SessionID: one.Session, MessageID: one.Message, Timestamp: one.Accepted, Reason: one.Reason, Detail: one.Detail,
				FailedAt: one.Failed,
			})
		}
		return nil
	})
	return out, err
}

// Retry implements api.Deliveries.
func (d deliveries) Retry(ctx context.Context, id string) error {
	return inTime(ctx, func(ctx context.Context) error { return asked(d.relay.Retry(ctx, id)) })
}

// RetryAll implements api.Deliveries.
func (d deliveries) RetryAll(ctx context.Context, lane string) (retried, left int, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		retried, left, err = d.relay.RetryAll(ctx, lane)
		return asked(err)
	})
	return retried, left, err
}

// Discard implements api.Deliveries.
func (d deliveries) Discard(ctx context.Context, id string) error {
	return inTime(ctx, func(ctx context.Context) error { return asked(d.relay.Discard(ctx, id)) })
}

// asked puts the relay's errors in the API's words.
func asked(err error) error {
	switch {
	case errors.Is(err, engine.ErrNoDelivery):
		return api.ErrNoDelivery
	case errors.Is(err, engine.ErrNoLane):
		return api.ErrNoLane
	default:
		return err
	}
}

// Rotate implements api.Callbacks.
func (r registrations) Rotate(ctx context.Context, id string) (reg bridge.Registration, made bridge.Secret, ok bool, err error) {
	err = inTime(ctx, func(ctx context.Context) (err error) {
		reg, made, err = r.Registry.Rotate(ctx, id)
		return err
	})
	if errors.Is(err, callback.ErrUnknown) {
		return reg, "", false, nil
	}
	return reg, made, err == nil, err
}

// Test implements api.Callbacks. It waits for the receiver, which has its own time.
func (r registrations) Test(ctx context.Context, id string) (api.CallbackTest, bool, error) {
	result, err := r.Registry.Test(ctx, id)
	if errors.Is(err, callback.ErrUnknown) {
		return api.CallbackTest{}, false, nil
	}
	return api.CallbackTest(result), err == nil, err
}
