package discord

import (
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// said is what a visitor said, as the relay has it shown.
func said(thread bridge.ThreadID, text string) bridge.Outgoing {
	return bridge.Outgoing{Thread: thread, Visitor: "Mar*ia", Text: text, Foreign: true, Kind: bridge.KindMessage, Face: bridge.Face{Name: "Mar*ia", Seed: "v"}}
}

// Where the bot speaks for a visitor, the name stands first and in bold: without the webhook, beyond its pace, and in a reply. An edit keeps it.
// Under the webhook's name it is not said again.
func TestTheBotNamesWhoSpeaks(t *testing.T) {
	t.Parallel()
	const named = `**Mar\*ia:** `
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Mar*ia"))
	say := func(m bridge.Outgoing) bridge.MessageID {
		t.Helper()
		part := p.Render(m)[0]
		part.Key = m.Text
		return shows(t, p, thread, part)
	}
	id := say(said(thread, "hello"))
	if got := p.last(t, thread); got.Webhook != "" || got.Text != named+"hello" {
		t.Errorf("without the webhook it is %q", got.Text)
	}
	if err := p.Edit(t.Context(), thread, id, p.Render(said(thread, "hello!"))[0]); err != nil {
		t.Fatal(err)
	}
	if got := p.last(t, thread); got.Text != named+"hello!" {
		t.Errorf("edited it is %q", got.Text)
	}
	long := p.Render(said(thread, strings.Repeat("long ", 500)))
	if len(long) != 2 || !strings.HasPrefix(long[0].Text, named) || strings.Contains(long[1].Text, named) {
		t.Errorf("a long one has %d parts", len(long))
	}
	alone := said(thread, "")
	alone.Files = []bridge.Attachment{{Filename: "a.png"}}
	if got := p.Render(alone); len(got) != 1 || got[0].Text != `**Mar\*ia:**` || *got[0].Faced != "" {
		t.Errorf("a file alone is %+v", got)
	}
	flat := p.Render(said(p.MainThread(), "hello"))[0]
	if strings.Count(flat.Text, "Mar") != 1 {
		t.Errorf("without a thread it is %q", flat.Text)
	}

	p.server.Allow("", sandbox.ManageWebhooks)
	p.faces.until = time.Time{}
	id = say(said(thread, "with a face"))
	if got := p.last(t, thread); got.Webhook == "" || got.Text != "with a face" {
		t.Fatalf("with a face it is %+v", got)
	}
	if err := p.Edit(t.Context(), thread, id, p.Render(said(thread, "and edited"))[0]); err != nil {
		t.Fatal(err)
	}
	if got := p.last(t, thread); got.Text != "and edited" {
		t.Errorf("with a face an edit is %q", got.Text)
	}
	reply := said(thread, "to that")
	reply.ReplyTo = id
	say(reply)
	if got := p.last(t, thread); got.Webhook != "" || got.Text != named+"to that" {
		t.Errorf("a reply is %q", got.Text)
	}
	for range hookCalls {
		p.faces.sent = append(p.faces.sent, p.rest.now())
	}
	say(said(thread, "beyond the pace"))
	if got := p.last(t, thread); got.Webhook != "" || got.Text != named+"beyond the pace" {
		t.Errorf("beyond the webhook's pace it is %q", got.Text)
	}
}

// What was said and not confirmed is found in either form, the webhook's and the bot's, and shown once.
func TestWhatWasSaidIsFoundInBothForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call   string
		answer sandbox.Action
		face   bool
	}{
		"the webhook's, made":     {"execute_webhook", sandbox.Action{DropAfter: true}, true},
		"the webhook's, not made": {"execute_webhook", sandbox.Action{DropBefore: true}, true},
		"the bot's, made":         {"create_message", sandbox.Action{DropAfter: true}, false},
		"the bot's, not made":     {"create_message", sandbox.Action{DropBefore: true}, false},
	} {
		for after, gone := range map[string]bool{"as it was": false, "the webhook gone since": true} {
			t.Run(name+", "+after, func(t *testing.T) {
				t.Parallel()
				p, thread := faced(t, sandbox.Text)
				if !c.face {
					p.server.Deny("", sandbox.ManageWebhooks)
				}
				began := time.Now()
				part := p.Render(said(thread, "is it there?"))[0]
				part.Key = "k"
				p.server.Next(c.call, c.answer)
				if _, err := p.Send(t.Context(), thread, part); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
					t.Fatalf("the error is %v", err)
				}
				if gone {
					p.server.Deny("", sandbox.ManageWebhooks)
					p.faces.until = time.Now().Add(time.Hour)
				}
				now := began.Add(20 * time.Minute) // Discord has forgotten the nonce
				p.rest.now = func() time.Time { return now }
				part.Since = began
				shows(t, p, thread, part)
				n := 0
				_, place, _ := strings.Cut(string(thread), "/")
				for _, m := range p.server.Messages(place) {
					if strings.Contains(m.Text, "is it there?") {
						n++
					}
				}
				if n != 1 {
					t.Errorf("it is shown %d times", n)
				}
			})
		}
	}
}
