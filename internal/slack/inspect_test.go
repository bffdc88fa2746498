package slack

import (
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
)

// Slack promises an app one socket a minute. What is asked at the start does not take it away from the receiver.
func TestInspectLeavesTheSocket(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	p.server.SetLimits(sandbox.DocumentedLimits())
	if in := p.Inspect(t.Context(), true); len(in.Lacks) > 0 || in.Hears != "socket" {
		t.Errorf("%+v", in)
	}
	_, stop := listening(t, p, bridgetest.NewInbox(""))
	p.begun(t)
	if in := p.Inspect(t.Context(), false); len(in.Lacks) != 1 || !strings.HasPrefix(in.Lacks[0], "SLACK_APP_TOKEN: ") ||
		!strings.Contains(in.Lacks[0], "in a minute") {
		t.Errorf("a socket more in the same minute: %q", in.Lacks)
	}
	_ = stop()
	if n := p.server.Count(opSocket); n != 2 {
		t.Errorf("%d sockets were asked for", n)
	}
}
