package slack

import (
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
)

// Whoever speaks is shown under their own name and face, and all else as the configuration says; without the scope Slack shows the app.
func TestFaces(t *testing.T) {
	p := start(t, sandbox.Options{}, func(c *Config) { c.Username, c.IconEmoji = "Support", ":wave:" })
	thread := bridgetest.Open(t, p, visitor())
	shown := func(m bridge.Outgoing) sandbox.Message {
		t.Helper()
		ids := bridgetest.Deliver(t, p, thread, m)
		got, ok := p.server.Message(p.channel, string(ids[0]))
		if !ok || !got.Own {
			t.Fatalf("it is not shown as ours: %+v", got)
		}
		return got
	}
	maria := bridge.Face{Name: "Maria\n<Ana> & Co", Seed: "v_42"}
	first := shown(bridge.Outgoing{Text: "hello", Kind: bridge.KindMessage, Face: maria})
	if first.Username != "Maria <Ana> & Co" || first.Icon != faceOf("v_42") {
		t.Errorf("the visitor is %q %q", first.Username, first.Icon)
	}
	for _, part := range p.Render(bridge.Outgoing{Text: "hello again", Kind: bridge.KindMessage, Face: maria}) {
		if err := p.Edit(t.Context(), thread, bridge.MessageID(first.TS), part); err != nil {
			t.Error(err)
		}
	}
	if got, _ := p.server.Message(p.channel, first.TS); got.Plain != "hello again" || got.Username != first.Username {
		t.Errorf("edited: %q by %q", got.Plain, got.Username)
	}
	copied := shown(bridge.Outgoing{Text: "hi", Author: "Ben (Telegram)", Kind: bridge.KindMessage, Face: bridge.Face{Name: "Ben (Telegram)", Seed: "Ben (Telegram)"}})
	if copied.Username != "Ben (Telegram)" || copied.Icon == "" || copied.Plain != "Ben (Telegram): hi" {
		t.Errorf("a colleague's copy: %+v", copied)
	}
	if notice := shown(bridge.Outgoing{Text: "a notice", Kind: bridge.KindNotice}); notice.Username != "Support" || notice.Icon != ":wave:" {
		t.Errorf("a notice is by %q %q", notice.Username, notice.Icon)
	}
	long := shown(bridge.Outgoing{Text: "x", Kind: bridge.KindMessage, Face: bridge.Face{Name: strings.Repeat("long ", 40), Seed: "x"}})
	if n := len([]rune(long.Username)); n > maxUsername || n < maxUsername/2 {
		t.Errorf("a long name has %d characters", n)
	}
	p.server.RemoveScope("chat:write.customize")
	if got := shown(bridge.Outgoing{Text: "without the scope", Kind: bridge.KindMessage, Face: maria}); got.Username != "" || got.Plain != "without the scope" {
		t.Errorf("without the scope: %+v", got)
	}
}
