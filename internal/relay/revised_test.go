package relay_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// A dead letter that is delivered again shows what the visitor's message is now: its last text, or nothing, and an older edit that is
// accepted later changes nothing.
func TestRetriedShowsThePresent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		changes []string
		shows   []string
	}{
		"edited":             {[]string{edited("1", "second", 1)}, []string{"second"}},
		"edited twice":       {[]string{edited("1", "third", 2), edited("1", "second", 1)}, []string{"third"}},
		"at the same second": {[]string{edited("1", "second", 1), strings.Replace(edited("1", "third", 1), ":01Z", ":01.0Z", 1)}, []string{"third"}},
		"without a time":     {[]string{edited("1", "second", 0)}, []string{"second"}},
		"deleted":            {[]string{deleted("1")}, nil},
		"edited and deleted": {[]string{edited("1", "second", 1), deleted("1"), edited("1", "third", 2)}, nil},
		"of an operator's":   {[]string{strings.Replace(deleted("1"), `"1"`, `"2"`, 1)}, []string{"first"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				hook := &catcher{}
				h.webhook = hook
				h.start()
				h.ingest(message("a", "0", "zero"))
				settle()
				p.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
				hook.fail(fault(bridge.ReasonRejected, bridge.ScopeSession))
				h.ingest(message("a", "1", "first"))
				settle()
				hook.fail(nil)
				for _, change := range c.changes {
					h.ingest(change)
				}
				settle()
				letters := append(h.letterIDs("telegram"), h.letterIDs("webhook")...)
				if len(letters) != 3 { // the webhook was not told either that it failed
					t.Fatalf("dead letters %q", letters)
				}
				hook.mu.Lock()
				hook.got = nil
				hook.mu.Unlock()
				for _, id := range letters {
					h.retry(id)
				}
				settle()
				want(t, warned(t, texts(p, "a"), "on Telegram"), append([]string{"zero"}, c.shows...)...)
				got := strings.Join(slices.DeleteFunc(hook.caught(), func(s string) bool {
					return !strings.HasPrefix(s, "visitor_message {")
				}), "\n")
				if len(c.shows) == 0 && got != "" || len(c.shows) > 0 && !strings.Contains(got, `"content":"`+c.shows[0]+`"`) {
					t.Errorf("the webhook was told %s", got)
				}
				if left := h.letterIDs(""); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
				// What it shows can be changed as ever.
				h.ingest(edited("1", "last", 9))
				settle()
				if len(c.shows) > 0 {
					want(t, warned(t, texts(p, "a"), "on Telegram"), "zero", "last")
				}
			})
		})
	}
}

// What an operator has edited or deleted since reaches neither the visitor's app nor the other platforms as it was.
func TestRetriedAnswerIsThePresent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind  bridge.UpdateKind
		shows []string
	}{
		"edited":  {bridge.UpdateEdit, []string{"second"}},
		"deleted": {bridge.UpdateDelete, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
				h.start()
				h.ingest(message("a", "1", "one"))
				settle()
				h.refuse("app", true)
				discord.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
				ana := bridge.Author{ID: "u", Name: "Ana"}
				thread := telegram.Threads("a")[0]
				telegram.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: thread, Message: "77", Author: ana, Text: "first"})
				settle()
				h.refuse("app", false)
				telegram.Tell(bridge.Update{Kind: c.kind, Thread: thread, Message: "77", Author: ana, Text: "second", Edited: time.Now()})
				settle()
				for _, lane := range []string{"callbacks", "discord"} {
					letters := h.letterIDs(lane)
					if len(letters) == 0 {
						t.Fatalf("no dead letter of %s", lane)
					}
					for _, id := range letters {
						h.retry(id)
					}
				}
				synctest.Wait()
				settle()
				want(t, h.receivers.messages("app"), c.shows...)
				got := strings.Join(texts(discord, "a"), "\n")
				if strings.Contains(got, "first") || len(c.shows) > 0 && !strings.Contains(got, "Ana (Telegram): second") {
					t.Errorf("Discord shows %q", got)
				}
				if left := h.letterIDs(""); len(left) != 0 {
					t.Errorf("left: %q", left)
				}
			})
		})
	}
}
