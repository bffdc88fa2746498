package relay_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// A likely program's thread is opened by its first message, whatever the setting, and the events webhook is told what is likely.
func TestSuspects(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		hook := &catcher{}
		h.webhook, h.open = hook, relay.OpenOnSession
		h.adjust = func(o *relay.Options) func(context.Context) {
			o.Suspects = func(e bridge.Event) bool { return strings.Contains(string(e.Body), "a program") }
			return nil
		}
		h.start()
		h.ingest(`{"type":"new_session","session":{"id":"bot","visitorId":"v","metadata":{"userAgent":"a program"}},"isBot":false}`)
		h.ingest(`{"type":"new_session","session":{"id":"ana","visitorId":"v","metadata":{"userAgent":"a browser"}},"isBot":true}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		if bots, people := len(p.Threads("bot")), len(p.Threads("ana")); bots != 0 || people != 1 {
			t.Errorf("%d and %d threads", bots, people)
		}
		told := strings.Join(hook.caught(), "\n")
		if strings.Count(told, `"isBot":true`) != 1 || !strings.Contains(told, `"userAgent":"a program"}},"isBot":true`) {
			t.Errorf("told are\n%s", told)
		}
		h.ingest(message("bot", "1", "hello"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(p.Threads("bot")); n != 1 {
			t.Errorf("%d threads after a message", n)
		}
	})
}
