package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// receive receives until ctx ends. When the receiver gives up, the verdict on its error says when it is called again.
func (l *Lane) receive(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := bridge.Protect(l.log, opListen, func() error { return l.opts.Receive(ctx) })
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxBackoff {
			failures = 0
		}
		failures++
		cause := bridge.AsDelivery(err, opListen, "the receiver ended without a cause")
		if cause == nil || errors.Is(err, bridge.ErrUnavailable) {
			cause = &bridge.DeliveryError{
				Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opListen, Detail: "the store is unavailable",
			}
		}
		l.engine.meter.Called(l.name, opListen, cause.Reason)
		l.limited(cause)
		o := decide(cause, Circumstance{Failures: failures, jitter: jitter})
		wait := min(max(o.wait, o.pause, backoff(failures, maxProbe, func() float64 { return (1 + jitter()) / 2 })), maxBackoff)
		if cause.Reason == bridge.ReasonRateLimited {
			wait = max(cause.RetryAfter, firstBackoff)
		}
		l.log.Warn("receiving failed", "reason", cause.Reason, "op", cause.Op, "detail", cause.Detail,
			"attempt", failures, "wait", wait.Round(time.Millisecond))
		bridge.Sleep(ctx, wait)
	}
}
