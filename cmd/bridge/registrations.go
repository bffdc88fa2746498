package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/callback"
	"github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/store"
)

// registrations is the registry as the API sees it. A callback that is registered is told at once who is online.
type registrations struct {
	*callback.Registry
	presence *presence.Presence
	store    store.Store
}

// Put implements api.Callbacks.
func (r registrations) Put(ctx context.Context, id string, spec api.CallbackSpec) (
	reg bridge.Registration, made bridge.Secret, created bool, err error,
) {
	told, err := statusOf(r.presence.Team())
	if err != nil {
		return reg, "", false, err
	}
	reg, made, created, err = r.Registry.Put(ctx, callback.RegisterRequest{
		ID: id, URL: spec.URL, Secret: spec.Secret, Events: spec.Events, TTL: spec.TTL,
	}, func(id string) []bridge.Event { return []bridge.Event{statusFor(id, told)} })
	if err == nil {
		err = r.correct(ctx, reg.ID, told)
	}
	if errors.Is(err, callback.ErrFull) {
		err = api.ErrTooManyCallbacks
	}
	return reg, made, created, err
}

// correct tells a callback that was just registered what this bridge did not know of the team when it was: the events of such
// changes stand before what it was told. What is changed later is told to all.
func (r registrations) correct(ctx context.Context, id string, told []byte) error {
	for {
		team, err := r.presence.Fresh(ctx)
		if err != nil {
			return err
		}
		now, err := statusOf(team)
		if err != nil || bytes.Equal(now, told) {
			return err
		}
		if _, err := r.store.Commit(ctx, bridge.Batch{Events: []bridge.Event{statusFor(id, now)}}); err != nil {
			return err
		}
		told = now
	}
}

// statusOf returns the body of the operator_status that tells of a team.
func statusOf(team presence.Team) ([]byte, error) {
	return json.Marshal(bridge.OperatorStatus{Online: team.Online, Operators: team.Operators})
}

func statusFor(id string, body []byte) bridge.Event {
	return bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Callback: id, Body: body}
}

// Rotate implements api.Callbacks.
func (r registrations) Rotate(ctx context.Context, id string) (reg bridge.Registration, made bridge.Secret, ok bool, err error) {
	reg, made, err = r.Registry.Rotate(ctx, id)
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
