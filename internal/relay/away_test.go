package relay_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// However long the store was away, what operators write is received again within half a minute after it is back.
func TestReceivingGoesOnSoon(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		const away = 3 * time.Hour
		until := time.Now().Add(away)
		p.Hook(bridgetest.OpListen, func(context.Context, bridgetest.Call) error {
			if time.Now().Before(until) {
				return fmt.Errorf("accept: %w", bridge.ErrUnavailable)
			}
			return nil
		})
		h.start()
		time.Sleep(away + 31*time.Second)
		calls := p.Calls(bridgetest.OpListen)
		for i, c := range calls[1:] {
			if wait := c.At.Sub(calls[i].At); wait > 31*time.Second {
				t.Fatalf("attempt %d came %v after the one before", i+1, wait)
			}
		}
		if last := calls[len(calls)-1]; last.At.Before(until) {
			t.Errorf("it was tried last %v before the store was back", until.Sub(last.At))
		}
		if n := len(calls); n > 1000 {
			t.Errorf("%d attempts in %v", n, away)
		}
	})
}
