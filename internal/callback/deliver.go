package callback

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

const (
	opPost         = "callback"
	opWebhook      = "webhook"
	attemptTimeout = 15 * time.Second
	maxAnswer      = 64 << 10 // bytes read of an answer, only so that the connection can be used again
)

// target is where one attempt goes.
type target struct {
	url     bridge.Secret
	secrets []bridge.Secret
	bearer  bridge.Secret
	client  *http.Client
	rec     *record // nil for the configuration's
}

// Targets returns the ids of the callbacks that are to get the event now, of a session that is bound to one or to none: the
// one that the event names; else, for an operator_status, all; else the bound one while it is registered and has not been
// failing for a minute; else all. Each gets only the types that it asked for, the configuration's callback also of what is
// for all. It is decided by what is known here and now, and costs no call.
func (r *Registry) Targets(e bridge.Entry, bound string) []string {
	if !e.Event.FromOperators() {
		return nil
	}
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if only := e.Event.Callback; only != "" {
		if only == Backend {
			if r.backend != nil && r.backendWants(e.Event.Type) {
				return []string{Backend}
			}
			return nil
		}
		if rec := r.known[only]; rec != nil && !rec.expired(now) && rec.wants(e.Event.Type) {
			return []string{only}
		}
		return nil
	}
	var out []string
	if r.backend != nil && r.backendWants(e.Event.Type) {
		out = append(out, Backend)
	}
	if e.Event.Type != bridge.TypeOperatorStatus {
		if bound == Backend && r.backend != nil && !r.failing(Backend) {
			return out
		}
		if rec := r.known[bound]; rec != nil && !rec.expired(now) && !r.failing(bound) {
			if rec.wants(e.Event.Type) {
				out = append(out, bound)
			}
			return out
		}
	}
	for id, rec := range r.known {
		if !rec.expired(now) && rec.wants(e.Event.Type) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Has says whether a callback is registered, or is the configuration's.
func (r *Registry) Has(id string) bool { return r.target(id) != nil }

// Registered says whether there is any callback, the configuration's included.
func (r *Registry) Registered() bool {
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.backend != nil {
		return true
	}
	for _, rec := range r.known {
		if !rec.expired(now) {
			return true
		}
	}
	return false
}

// failing says whether all attempts of the last minute or longer failed. The caller holds mu.
func (r *Registry) failing(id string) bool {
	t := r.failed[id]
	return t.last.Sub(t.first) >= failingAfter
}

// backendWants says whether the configuration's callback is told of a type.
func (r *Registry) backendWants(t bridge.Type) bool { return bridge.Wanted(r.backendEvents, t) }

// Post makes one attempt to deliver the event to one callback, within 15 seconds. Its error is a *bridge.DeliveryError, and
// always of the session's scope: one app server that is down is no reason to keep others waiting. Receivers drop repeats by
// webhook-id, so an unconfirmed attempt may be made again without harm. A receiver that answers 410 is unregistered; that is
// transient, as is a callback that is not registered any more, for the event has reached nobody: at the next attempt Targets
// names others, or it waits for the first one that comes.
func (r *Registry) Post(ctx context.Context, id string, e bridge.Entry) error {
	t := r.target(id)
	if t == nil {
		return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opPost, Detail: "the callback is not registered any more"}
	}
	x, _, d := r.attempt(ctx, t, call{event: e.Event.Type, id: e.Seq.String(), body: e.Wire()}, 0)
	r.note(id, d, ctx.Err() != nil || e.Event.Type.MayBeUnknown() && x.Status != 0)
	if d == nil {
		return nil
	}
	if x.Status == http.StatusGone && t.rec != nil {
		d.Detail += "; its registration is removed"
		if _, err := r.remove(ctx, id, t.rec); err != nil {
			d.Detail += " when the store takes it" // it says so again at the next attempt
		}
	}
	return d
}

func (r *Registry) target(id string) *target {
	if id == Backend {
		return r.backend // a nil one too
	}
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec := r.known[id]
	if rec == nil || rec.expired(now) {
		return nil
	}
	return r.targetOf(rec, now)
}

func (r *Registry) targetOf(rec *record, now time.Time) *target {
	return &target{url: bridge.Secret(rec.URL), secrets: rec.secrets(now), client: r.guarded, rec: rec}
}

// note keeps for how long a callback has been failing, and tells when that moves events from one callback to others, or back.
// An answer that refuses the event shows that somebody is there; an attempt that we broke off, or a failure for what the receiver may
// not know, shows nothing.
func (r *Registry) note(id string, d *bridge.DeliveryError, saysNothing bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	failing := r.failing(id)
	defer func() {
		if r.failing(id) != failing {
			r.announce()
		}
	}()
	switch {
	case d == nil || d.Reason == bridge.ReasonRejected:
		delete(r.failed, id)
	case saysNothing || id != Backend && r.known[id] == nil:
	default:
		t, ok := r.failed[id]
		if !ok {
			t.first = now
		}
		t.last = now
		r.failed[id] = t
	}
}

// call is one request: an event, and the id that all attempts for it have.
type call struct {
	event bridge.Type
	id    string
	body  []byte
}

// attempt makes the call, within 15 seconds, and returns up to keep bytes of what was answered. The status is the answer; the
// body matters to no delivery, and neither does its end: it is read only so that the connection can be used again.
func (r *Registry) attempt(ctx context.Context, t *target, c call, keep int) (*outbound.Exchange, []byte, *bridge.DeliveryError) {
	ctx, x := outbound.Trace(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url.Reveal(), bytes.NewReader(c.body))
	if err != nil {
		return x, nil, failure(err, x, t)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", r.agent)
	req.Header.Set(headerEvent, string(c.event))
	if t.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+t.bearer.Reveal())
	}
	sign(req.Header, c.id, time.Now(), c.body, t.secrets)
	resp, err := t.client.Do(req)
	if err != nil {
		return x, nil, failure(err, x, t)
	}
	answer := io.LimitReader(resp.Body, maxAnswer)
	said := make([]byte, keep)
	n, _ := io.ReadFull(answer, said)
	_, _ = io.Copy(io.Discard, answer)
	_ = resp.Body.Close()
	return x, said[:n], verdict(x)
}

func failure(err error, x *outbound.Exchange, t *target) *bridge.DeliveryError {
	d := outbound.Failure(opPost, err, x, append(slices.Clone(t.secrets), t.bearer)...)
	d.Scope = bridge.ScopeSession
	return d
}

// verdict turns an answer into a reason.
func verdict(x *outbound.Exchange) *bridge.DeliveryError {
	d := &bridge.DeliveryError{
		Reason: bridge.ReasonTransient,
		Scope:  bridge.ScopeSession,
		Op:     opPost,
		Status: x.Status,
		Detail: fmt.Sprintf("the receiver answered %d", x.Status),
	}
	switch x.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		d.Reason = bridge.ReasonRejected
		return d
	case http.StatusGone:
		return d
	}
	switch x.Status / 100 {
	case 2:
		return nil
	case 3:
		d.Detail += "; redirects are not followed"
	}
	if x.RetryAfter > 0 { // whatever is wrong, it says when to come again
		d.Reason, d.RetryAfter = bridge.ReasonRateLimited, x.RetryAfter
	}
	return d
}
