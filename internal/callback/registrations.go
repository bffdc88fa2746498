package callback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/pocketping/bridge/internal/bridge"
)

// Team says who is online.
type Team interface {
	// Status is the team as this bridge has been told of it. It does not wait.
	Status() bridge.OperatorStatus
	// FreshStatus is the team as the store has it now.
	FreshStatus(ctx context.Context) (bridge.OperatorStatus, error)
}

// Registrations is the registry for those who register. A callback that is registered is told at once who is online.
type Registrations struct {
	*Registry
	Team Team
}

// Put registers a callback, or refreshes it. made is the secret that was made here and now, which is shown this once. An error is a
// *bridge.FieldError, bridge.ErrTooManyCallbacks or the store's.
func (r Registrations) Put(ctx context.Context, w bridge.RegisterRequest) (reg bridge.Registration, made bridge.Secret, created bool, err error) {
	told, err := json.Marshal(r.Team.Status())
	if err != nil {
		return reg, "", false, err
	}
	reg, made, created, err = r.Registry.Put(ctx, w, func(id string) []bridge.Event { return []bridge.Event{statusFor(id, told)} })
	if err == nil {
		err = r.correct(ctx, reg.ID, told)
	}
	return reg, made, created, err
}

// correct tells a callback that was just registered what this bridge did not know of the team when it was: the events of such
// changes stand before what it was told. What is changed later is told to all.
func (r Registrations) correct(ctx context.Context, id string, told []byte) error {
	for {
		team, err := r.Team.FreshStatus(ctx)
		if err != nil {
			return err
		}
		now, err := json.Marshal(team)
		if err != nil || bytes.Equal(now, told) {
			return err
		}
		if _, err := r.store.Commit(ctx, bridge.Batch{Events: []bridge.Event{statusFor(id, now)}}); err != nil {
			return err
		}
		told = now
	}
}

func statusFor(id string, body []byte) bridge.Event {
	return bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Callback: id, Body: body}
}

// Rotate is Registry.Rotate; ok is false when there is no such registration.
func (r Registrations) Rotate(ctx context.Context, id string) (reg bridge.Registration, made bridge.Secret, ok bool, err error) {
	reg, made, err = r.Registry.Rotate(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return reg, "", false, nil
	}
	return reg, made, err == nil, err
}

// Test is Registry.Test; ok is false when there is nothing of this id. It waits for the receiver, which has its own time.
func (r Registrations) Test(ctx context.Context, id string) (result bridge.TestResult, ok bool, err error) {
	result, err = r.Registry.Test(ctx, id)
	if errors.Is(err, ErrUnknown) {
		return result, false, nil
	}
	return result, err == nil, err
}
