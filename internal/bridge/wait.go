package bridge

import (
	"context"
	"time"
)

// Sleep waits for d or for the end of ctx.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Every calls do once in each period, and when wake has something, until ctx ends. The errors that do returns are not tried again before
// the next time; failed is called for the first of several in a row, and not for one that came of ctx's end.
func Every(ctx context.Context, period time.Duration, wake <-chan struct{}, do func(context.Context) error, failed func(error)) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
		err := do(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			failed(err)
		}
		failing = err != nil
	}
}
