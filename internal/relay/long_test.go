package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// A long text is two messages: its beginning, and a file with all of it; an edit to one is an edit and a file.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears.MaxFile = 1 << 20
		h.files = someFiles{}
		h.start()
		uploaded := func() (out []string) {
			for _, s := range p.Shown(p.Threads("a")[0]) {
				for _, f := range s.Files {
					out = append(out, f.Name+" "+string(f.Content))
				}
			}
			return out
		}
		long, longer := strings.Repeat("word ", 1000), strings.Repeat("päge ", 12_000)
		h.ingest(message("a", "1", "short"))
		h.ingest(message("a", "2", long))
		settle()
		before := len(p.Calls(bridgetest.OpSend)) + len(p.Calls(bridgetest.OpUpload))
		h.ingest(message("a", "3", longer))
		settle()
		if n := len(p.Calls(bridgetest.OpSend)) + len(p.Calls(bridgetest.OpUpload)) - before; n != 2 {
			t.Errorf("a long text is %d messages", n)
		}
		want(t, uploaded(), "message.txt "+long, "message.txt "+longer)
		shown := texts(p, "a")[1]
		if !strings.HasPrefix(shown, long[:990]) || len(shown) > 1100 || !strings.Contains(shown, "(5000 characters: message.txt has all of them)") {
			t.Errorf("shown is %q", shown)
		}
		h.ingest(fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":"a","messageId":"1","content":%q}`, longer))
		settle()
		if got := uploaded(); len(got) != 3 || got[2] != "message.txt "+longer {
			t.Errorf("after the edit there are %d files", len(got))
		}
		if shown := texts(p, "a")[0]; !strings.HasPrefix(shown, longer[:900]) || len(shown) > 1300 {
			t.Errorf("edited to %q", shown)
		}
		// The app server is told of an operator's long text whole.
		h.receivers.change(func() { h.receivers.ids = []string{"x"} })
		p.Say(p.Threads("a")[0], "Ana", long)
		settle()
		if got := h.receivers.messages("x"); !slices.Contains(got, long) {
			t.Error("the app is told less than an operator wrote")
		}
	})
}

// Of two edits with one time the later accepted one is shown, also where the message was shown after both, and a repeat after a
// failure changes nothing.
func TestEditsOfOneSecond(t *testing.T) {
	t.Parallel()
	edit := func(text string) string {
		return fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":"a","messageId":"1","content":%q,"editedAt":"2026-01-02T03:04:05Z"}`, text)
	}
	for name, first := range map[string]bool{"edited where it stands": true, "shown after the edits": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				h.start()
				if first {
					h.ingest(message("a", "1", "one"))
					settle()
				} else {
					p.Fail(bridgetest.OpOpenThread, fault(bridge.ReasonTransient, bridge.ScopeSession), fault(bridge.ReasonTransient, bridge.ScopeSession))
					h.ingest(message("a", "1", "one"))
				}
				for _, text := range []string{"two", "three", "two"} {
					h.ingest(edit(text))
				}
				h.ingest(edit("four"))
				time.Sleep(time.Minute)
				want(t, texts(p, "a"), "four")
				if got := h.ingest(edit("four")); !got.Duplicate {
					t.Error("the same edit is no repeat")
				}
			})
		})
	}
}

// What the app itself says in a conversation is a notice: nobody waits for an answer to it, and it opens no thread.
func TestSystemMessages(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		system := func(session, id, text string) string {
			return fmt.Sprintf(`{"type":"visitor_message","session":{"id":%[1]q,"visitorId":%[1]q},"message":{"id":%[2]q,"sessionId":%[1]q,"content":%[3]q,"sender":"system"}}`, session, id, text)
		}
		h.ingest(system("b", "1", "A chat was opened"))
		h.ingest(message("a", "1", "hello"))
		h.ingest(system("a", "2", "The order was paid"))
		settle()
		want(t, texts(p, "a"), "hello", "ℹ️ The order was paid")
		if n := len(p.Threads("b")); n != 0 {
			t.Errorf("it opened %d threads", n)
		}
		for _, s := range p.Shown(p.Threads("a")[0]) {
			if strings.Contains(s.Text, "paid") && !s.Silent {
				t.Error("it rings")
			}
		}
	})
}
