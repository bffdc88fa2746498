package callback

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// PostEvent makes one attempt to tell the events webhook of an event, within 15 seconds: data is what it is told, a JSON
// object, and id the same on every attempt. Its error is a *bridge.DeliveryError. All that is told goes to one place, so that
// what cannot be reached, or asks for time, is the destination's fault; a refusal is the event's own.
func (r *Registry) PostEvent(ctx context.Context, event bridge.Type, id string, data []byte) error {
	if r.webhook == nil {
		return &bridge.DeliveryError{
			Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opWebhook, Detail: "EVENTS_WEBHOOK_URL is not set",
		}
	}
	x, _, d := r.attempt(ctx, r.webhook, call{event: event, id: id, body: envelope(event, data, time.Now())}, 0)
	if d == nil {
		return nil
	}
	d.Op = opWebhook
	if ctx.Err() == nil && (d.Reason == bridge.ReasonRateLimited || d.Reason == bridge.ReasonTransient && x.Status == 0) {
		d.Scope = bridge.ScopeDestination
	}
	return d
}

// envelope is the body of what goes to the events webhook.
func envelope(event bridge.Type, data []byte, now time.Time) []byte {
	return fmt.Appendf(nil, `{"type":"%s","data":%s,"sentAt":"%s"}`, event, data, bridge.WireTime(now))
}

// typeTest is the event that nobody caused.
const typeTest bridge.Type = "test"

// Test sends a test event, signed as any other, to a callback, the configuration's callback or the events webhook. It says
// nothing of how the receiver does: neither does a 410 remove a registration. An error is ErrUnknown or the store's.
func (r *Registry) Test(ctx context.Context, id string) (bridge.TestResult, error) {
	now := time.Now()
	e := bridge.Entry{Seq: bridge.SeqAt(now), Event: bridge.Event{Type: typeTest, Origin: bridge.OriginBridge, Body: json.RawMessage(`{}`)}}
	c := call{event: typeTest, id: e.Seq.String(), body: e.Wire()}
	t := r.target(id)
	switch {
	case t != nil:
	case id == Webhook && r.webhook != nil:
		t, c.body = r.webhook, envelope(typeTest, e.Event.Body, now)
	default:
		// Another bridge may have taken the registration a moment ago.
		rec, _, err := r.read(ctx, id)
		if err != nil {
			return bridge.TestResult{}, err
		}
		if rec == nil {
			return bridge.TestResult{}, ErrUnknown
		}
		t = r.targetOf(rec, now)
	}
	x, said, d := r.attempt(ctx, t, c, maxSaid)
	out := bridge.TestResult{Status: x.Status, Took: time.Since(now)}
	if d != nil {
		out.Fault = d.Detail
	}
	if t.rec != nil {
		out.Answer = excerpt(said, t.secrets)
	}
	return out, nil
}

const (
	maxSaid    = 4 << 10 // bytes of an answer that are looked at
	maxExcerpt = 256     // characters of them that are shown
)

// excerpt is the beginning of a text that somebody else wrote.
func excerpt(said []byte, secrets []bridge.Secret) string {
	text := bridge.Redact(string(bytes.ToValidUTF8(said, []byte("\uFFFD"))), secrets...)
	n := 0
	for i := range text {
		if n++; n > maxExcerpt {
			return text[:i] + "…"
		}
	}
	return text
}
