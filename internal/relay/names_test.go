package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// site is a message that an operator wrote on the site.
func site(session, id, text string) string {
	return strings.Replace(message(session, id, text), "visitor_message", "operator_message", 1)
}

func replying(body, to string) string {
	return strings.Replace(body, `"content"`, `"replyTo":"`+to+`","content"`, 1)
}

// A visitor's "1" and an operator's "1" are two messages, shown or waiting, whatever is done to one of them.
func TestOneIDOfTwoSides(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, slack *bridgetest.Platform) {
		slack.Bears.Quotes = true
		h.start()
		h.ingest(message("a", "1", "the visitor's"))
		h.ingest(site("a", "1", "the operator's"))
		settle()
		h.ingest(edited("1", "the visitor's, edited", 1))
		settle()
		// A reply means the other side's, where both have the id.
		h.ingest(replying(message("a", "2", "a visitor replies"), "1"))
		h.ingest(replying(site("a", "2", "an operator replies"), "1"))
		settle()
		shown := telegram.Shown(telegram.Threads("a")[0])
		at := func(text string) bridgetest.Shown {
			i := slices.IndexFunc(shown, func(s bridgetest.Shown) bool { return strings.Contains(s.Text, text) })
			if i < 0 {
				t.Fatalf("%q is not shown: %q", text, texts(telegram, "a"))
			}
			return shown[i]
		}
		if got := at("a visitor replies").ReplyTo; got != at("the operator's").ID {
			t.Errorf("the visitor replies to %s", got)
		}
		if got := at("an operator replies").ReplyTo; got != at("the visitor's, edited").ID {
			t.Errorf("the operator replies to %s", got)
		}
		quotes := strings.Join(texts(slack, "a"), "\n")
		if !strings.Contains(quotes, "[quote the operator's]a visitor replies") ||
			!strings.Contains(quotes, "[quote the visitor's, edited]") {
			t.Errorf("what is quoted: %s", quotes)
		}
		h.ingest(deleted("1"))
		settle()
		for _, p := range []*bridgetest.Platform{telegram, slack} {
			got := strings.Join(texts(p, "a"), "\n")
			if strings.Contains(got, "the visitor's, edited\n") || !strings.Contains(got, "the operator's") {
				t.Errorf("after the visitor's is deleted: %s", got)
			}
		}
	})
}

// Where both wait to be shown, an edit or deletion meant for one leaves the other alone.
func TestOneIDOfTwoSidesWaiting(t *testing.T) {
	t.Parallel()
	for _, change := range []string{edited("1", "changed", 1), deleted("1")} {
		pair(t, func(t *testing.T, h *house, telegram, _ *bridgetest.Platform) {
			telegram.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
				return fault(bridge.ReasonTransient, bridge.ScopeSession)
			})
			h.start()
			h.ingest(site("a", "1", "the operator's"))
			h.ingest(message("a", "1", "the visitor's"))
			h.ingest(change)
			settle()
			telegram.Hook(bridgetest.OpOpenThread, nil)
			for range 40 {
				settle()
			}
			got := strings.Join(texts(telegram, "a"), "\n")
			if !strings.Contains(got, "the operator's") || strings.Contains(got, "the visitor's") {
				t.Errorf("Telegram shows %q", got)
			}
		})
	}
}

// A visitor's message may have an id that is formed as an operator's: whose it is decides, not how it is called.
func TestVisitorsMessageNamedAsAnOperators(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "0", "the first"))
		settle()
		thread := telegram.Threads("a")[0]
		ana := bridge.Author{ID: "u", Name: "Ana"}
		telegram.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: thread, Message: "77", Author: ana, Text: "ana's"})
		settle()
		h.ingest(message("a", "telegram:77", "the visitor's"))
		settle()
		shown := telegram.Shown(thread)
		own := shown[len(shown)-1]
		if own.Text != "the visitor's" {
			t.Fatalf("Telegram shows %q", texts(telegram, "a"))
		}
		// Ana has no say in it.
		telegram.Tell(bridge.Update{Kind: bridge.UpdateEdit, Thread: thread, Message: own.ID, Author: ana, Text: "forged"})
		telegram.Tell(bridge.Update{
			Kind: bridge.UpdateMessage, Thread: thread, Message: "78", Author: ana, ReplyTo: own.ID, Text: "/delete", Command: &bridge.Command{Name: "delete"},
		})
		settle()
		if n := len(h.of(bridge.TypeOperatorEdited)) + len(h.of(bridge.TypeOperatorDeleted)); n != 0 {
			t.Errorf("an operator changed the visitor's message: %d events", n)
		}
		telegram.Tell(bridge.Update{Kind: bridge.UpdateReaction, Thread: thread, Message: own.ID, Author: ana})
		settle()
		if n := len(h.of(bridge.TypeMessageRead)); n != 1 {
			t.Errorf("the visitor's message was read %d times", n)
		}
		telegram.Tell(bridge.Update{Kind: bridge.UpdateEdit, Thread: thread, Message: "77", Author: ana, Text: "ana's, edited"})
		settle()
		got := strings.Join(texts(discord, "a"), "\n")
		if !strings.Contains(got, "ana's, edited") || !strings.Contains(got, "the visitor's") {
			t.Errorf("Discord shows %s", got)
		}
		// And what an app says of it is of the operator's.
		h.ingest(fmt.Sprintf(`{"type":"message_read","sessionId":"a","messageIds":[%q],"status":"read"}`, "telegram:77"))
		settle()
		if got := telegram.Signs("77"); !slices.Contains(got, string(bridge.SignRead)) {
			t.Errorf("ana's message has the signs %v", got)
		}
		if got := telegram.Signs(own.ID); len(got) != 0 {
			t.Errorf("the visitor's message has the signs %v", got)
		}
	})
}
