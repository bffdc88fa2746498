package engine

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
		given Circumstance
		want  outcome
	}{
		{"transient, first", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			Circumstance{Failures: 1}, outcome{act: ActRetry, wait: s, attempt: true}},
		{"transient doubles", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			Circumstance{Failures: 4}, outcome{act: ActRetry, wait: 8 * s, attempt: true}},
		{"transient up to five minutes", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			Circumstance{Failures: 100}, outcome{act: ActRetry, wait: 5 * m, attempt: true}},
		{"transient of the destination pauses the lane", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: destination},
			Circumstance{Failures: 1}, outcome{act: ActRetry, pausesLane: true, attempt: true}},
		{"transient, a day old", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			Circumstance{Failures: 1, age: 25 * h}, outcome{act: ActDeadLetter, wait: s, attempt: true}},
		{"rate limited is no attempt", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: session, RetryAfter: 7 * s},
			Circumstance{Failures: 3}, outcome{act: ActRetry, wait: 7 * s}},
		{"rate limited, whole platform", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: destination, RetryAfter: 7 * s},
			Circumstance{Failures: 3}, outcome{act: ActRetry, pausesLane: true, pause: 7 * s}},
		{"rate limited without a time", bridge.DeliveryError{Reason: bridge.ReasonRateLimited},
			Circumstance{Failures: 1}, outcome{act: ActRetry, wait: s}},
		{"rate limited is never given up", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: s},
			Circumstance{Failures: 1, age: 48 * h}, outcome{act: ActRetry, wait: s}},
		{"rate limited for a day, of what ages", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: h},
			Circumstance{Failures: 1, age: 25 * h, expiresWhileLimited: true}, outcome{act: ActDeadLetter, wait: h + 6*m}},
		{"rate limited of what ages is not asked by all at once", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: 10 * s},
			Circumstance{Failures: 1, expiresWhileLimited: true}, outcome{act: ActRetry, wait: 11 * s}},
		{"nor at the same short pace for ever", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: s},
			Circumstance{Failures: 6, expiresWhileLimited: true}, outcome{act: ActRetry, wait: 32 * s}},
		{"and for the last time at the end of its day", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: 20 * h},
			Circumstance{Failures: 1, age: 23 * h, expiresWhileLimited: true}, outcome{act: ActRetry, wait: h}},
		{"of the whole destination too", bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: destination, RetryAfter: 20 * h},
			Circumstance{Failures: 1, age: 23 * h, expiresWhileLimited: true}, outcome{act: ActRetry, pausesLane: true, pause: h}},
		{"unconfirmed is repeated", bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Scope: session},
			Circumstance{Failures: 2}, outcome{act: ActRetry, wait: 2 * s, attempt: true}},
		{"unconfirmed of the destination", bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Scope: destination},
			Circumstance{Failures: 2}, outcome{act: ActRetry, pausesLane: true, attempt: true}},
		{"thread gone", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			Circumstance{Failures: 1}, outcome{act: ActForget, attempt: true}},
		{"thread gone twice within an hour", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			Circumstance{Failures: 1, Gone: 2, Flat: true}, outcome{act: ActForget, wait: 2 * s, attempt: true}},
		{"three times: it goes without", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			Circumstance{Failures: 1, Gone: 3, Flat: true, OpensIn: 40 * m}, outcome{act: ActFlat, attempt: true}},
		{"three times, where there is no other place", bridge.DeliveryError{Reason: bridge.ReasonThreadGone},
			Circumstance{Failures: 1, Gone: 3, OpensIn: 40 * m}, outcome{act: ActForget, wait: 40 * m, attempt: true}},
		{"transient of nobody knows whom, as the session's", bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: session},
			Circumstance{Failures: 100, slowest: maxProbe}, outcome{act: ActRetry, wait: 30 * s, attempt: true}},
		{"rights of one kind of call", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeOperation},
			Circumstance{Failures: 1}, outcome{act: ActRetry, pausesOp: true, pause: 30 * s, attempt: true, alert: true}},
		{"rights of one message", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: session},
			Circumstance{Failures: 2}, outcome{act: ActRetry, wait: 2 * s, attempt: true, alert: true}},
		{"rejected with a card", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			Circumstance{Failures: 1, Decorated: true}, outcome{act: ActUndecorated}},
		{"markup goes before the card", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			Circumstance{Failures: 1, Plain: true, Decorated: true}, outcome{act: ActPlain}},
		{"a thread that no name opens", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			Circumstance{Failures: 1, Opening: true, Flat: true}, outcome{act: ActFlat, attempt: true}},
		{"closed", bridge.DeliveryError{Reason: bridge.ReasonClosed},
			Circumstance{Failures: 1}, outcome{act: ActReopen, attempt: true}},
		{"closed again", bridge.DeliveryError{Reason: bridge.ReasonClosed},
			Circumstance{Failures: 3}, outcome{act: ActReopen, wait: 4 * s, attempt: true}},
		{"moved", bridge.DeliveryError{Reason: bridge.ReasonMoved},
			Circumstance{Failures: 1}, outcome{act: ActFollow, attempt: true}},
		{"auth holds the lane and calls for a person", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: destination},
			Circumstance{Failures: 1}, outcome{act: ActRetry, pausesLane: true, pause: 30 * s, attempt: true, alert: true}},
		{"auth, a day old", bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: destination},
			Circumstance{Failures: 1, age: 25 * h}, outcome{act: ActDeadLetter, pausesLane: true, pause: 30 * s, attempt: true, alert: true}},
		{"rejected with a plain form", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			Circumstance{Failures: 1, Plain: true}, outcome{act: ActPlain}},
		{"rejected without", bridge.DeliveryError{Reason: bridge.ReasonRejected},
			Circumstance{Failures: 1}, outcome{act: ActDeadLetter, attempt: true}},
		{"a reason that nobody knows", bridge.DeliveryError{Reason: "?"},
			Circumstance{Failures: 1}, outcome{act: ActDeadLetter, attempt: true}},
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
