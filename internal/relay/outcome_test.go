package relay

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

// The verdict table, row by row.
func TestDecide(t *testing.T) {
	t.Parallel()
	const s, m, h = time.Second, time.Minute, time.Hour
	session, destination := bridge.ScopeSession, bridge.ScopeDestination
	full := func() float64 { return 1 }
	tests := []struct {
		name  string
		err   bridge.DeliveryError
		given circumstance
		want  outcome
	}{
		{"transient, first", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			circumstance{failures: 1}, outcome{act: actRetry, wait: s, attempt: true}},
		{"transient doubles", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			circumstance{failures: 4}, outcome{act: actRetry, wait: 8 * s, attempt: true}},
		{"transient up to five minutes", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			circumstance{failures: 100}, outcome{act: actRetry, wait: 5 * m, attempt: true}},
		{"transient of the destination pauses the lane", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: destination},
			circumstance{failures: 1}, outcome{act: actRetry, hold: true, attempt: true}},
		{"transient, a day old", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			circumstance{failures: 1, age: 25 * h}, outcome{act: actBury, wait: s, attempt: true}},
		{"rate limited is no attempt", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: session, RetryAfter: 7 * s},
			circumstance{failures: 3}, outcome{act: actRetry, wait: 7 * s}},
		{"rate limited, whole platform", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: destination, RetryAfter: 7 * s},
			circumstance{failures: 3}, outcome{act: actRetry, hold: true, pause: 7 * s}},
		{"rate limited without a time", bridge.DeliveryError{Reason: bridge.ReasonRateLimited},
			circumstance{failures: 1}, outcome{act: actRetry, wait: s}},
		{"rate limited is never given up", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: s},
			circumstance{failures: 1, age: 48 * h}, outcome{act: actRetry, wait: s}},
		{"rate limited for a day, of what ages", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: h},
			circumstance{failures: 1, age: 25 * h, aged: true}, outcome{act: actBury, wait: h + 6*m}},
		{"rate limited of what ages is not asked by all at once", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: 10 * s},
			circumstance{failures: 1, aged: true}, outcome{act: actRetry, wait: 11 * s}},
		{"nor at the same short pace for ever", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: s},
			circumstance{failures: 6, aged: true}, outcome{act: actRetry, wait: 32 * s}},
		{"and for the last time at the end of its day", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: 20 * h},
			circumstance{failures: 1, age: 23 * h, aged: true}, outcome{act: actRetry, wait: h}},
		{"of the whole destination too", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: destination, RetryAfter: 20 * h},
			circumstance{failures: 1, age: 23 * h, aged: true}, outcome{act: actRetry, hold: true, pause: h}},
		{"unconfirmed is repeated", bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Scope: session},
			circumstance{failures: 2}, outcome{act: actRetry, wait: 2 * s, attempt: true}},
		{"unconfirmed of the destination", bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Scope: destination},
			circumstance{failures: 2}, outcome{act: actRetry, hold: true, attempt: true}},
		{"thread gone", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			circumstance{failures: 1}, outcome{act: actForget, attempt: true}},
		{"thread gone twice within an hour", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			circumstance{failures: 1, gone: 2, flat: true}, outcome{act: actForget, wait: 2 * s, attempt: true}},
		{"three times: it goes without", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			circumstance{failures: 1, gone: 3, flat: true, opensIn: 40 * m}, outcome{act: actFlat, attempt: true}},
		{"three times, where there is no other place", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			circumstance{failures: 1, gone: 3, opensIn: 40 * m}, outcome{act: actForget, wait: 40 * m, attempt: true}},
		{"transient of nobody knows whom, as the session's", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			circumstance{failures: 100, slowest: maxProbe}, outcome{act: actRetry, wait: 30 * s, attempt: true}},
		{"rights of one kind of call", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeOperation},
			circumstance{failures: 1}, outcome{act: actRetry, holdOp: true, pause: 30 * s, attempt: true, alert: true}},
		{"rights of one message", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: session},
			circumstance{failures: 2}, outcome{act: actRetry, wait: 2 * s, attempt: true, alert: true}},
		{"rejected with a card", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			circumstance{failures: 1, bare: true}, outcome{act: actBare}},
		{"markup goes before the card", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			circumstance{failures: 1, plain: true, bare: true}, outcome{act: actPlain}},
		{"a thread that no name opens", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			circumstance{failures: 1, opening: true, flat: true}, outcome{act: actFlat, attempt: true}},
		{"closed", bridge.DeliveryError{Reason: bridge.ReasonClosed},
			circumstance{failures: 1}, outcome{act: actReopen, attempt: true}},
		{"closed again", bridge.DeliveryError{Reason: bridge.ReasonClosed},
			circumstance{failures: 3}, outcome{act: actReopen, wait: 4 * s, attempt: true}},
		{"moved", bridge.DeliveryError{Reason: bridge.ReasonMoved},
			circumstance{failures: 1}, outcome{act: actFollow, attempt: true}},
		{"auth holds the lane and calls for a person", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: destination},
			circumstance{failures: 1}, outcome{act: actRetry, hold: true, pause: 30 * s, attempt: true, alert: true}},
		{"auth, a day old", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: destination},
			circumstance{failures: 1, age: 25 * h}, outcome{act: actBury, hold: true, pause: 30 * s, attempt: true, alert: true}},
		{"rejected with a plain form", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			circumstance{failures: 1, plain: true}, outcome{act: actPlain}},
		{"rejected without", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			circumstance{failures: 1}, outcome{act: actBury, attempt: true}},
		{"a reason that nobody knows", bridge.DeliveryError{Reason: "?"},
			circumstance{failures: 1}, outcome{act: actBury, attempt: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.given.jitter = full
			if diff := cmp.Diff(test.want, decide(&test.err, test.given), cmp.AllowUnexported(outcome{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBackoffNeverSpins(t *testing.T) {
	t.Parallel()
	for failures := range 100 {
		if d := backoff(failures, maxBackoff, func() float64 { return 0 }); d < 100*time.Millisecond {
			t.Fatalf("after %d failures it waits %v", failures, d)
		}
	}
}
