package discord

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// hooked is a webhook's adapter, and the stand-in that it is at.
type hooked struct {
	*WebhookSender
	server *sandbox.Server
	base   string
	room   string
	hook   sandbox.Webhook
	logs   *logs
}

func startHook(t *testing.T, kind sandbox.Kind) *hooked {
	t.Helper()
	server := sandbox.New(sandbox.Options{})
	server.FailOnFaults(t)
	base, err := server.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	h := &hooked{server: server, base: base, room: server.AddChannel(sandbox.Channel{Kind: kind, Name: "support"})}
	h.hook = server.AddWebhook(h.room, "Hooky")
	h.WebhookSender, h.logs = hookAt(t, base, h.hook)
	return h
}

func hookAt(t *testing.T, base string, w sandbox.Webhook) (*WebhookSender, *logs) {
	t.Helper()
	log, l := logger(t)
	h, err := NewWebhook(Config{
		WebhookURL: bridge.Secret(base + "/api/v10" + w.Path), Username: "Support", AvatarURL: "https://example.test/a.png", Rate: 50,
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.rest.client.CloseIdleConnections)
	t.Cleanup(h.rest.files.CloseIdleConnections)
	return h, l
}

// place returns where a thread's messages stand, and which is its card.
func (h *hooked) place(thread bridge.ThreadID) (place, card string) {
	place, card, _ = h.find(thread, "test")
	if place == "" {
		place = h.room
	}
	return place, card
}

// messages returns what the webhook wrote where a thread's messages stand, without cards.
func (h *hooked) messages(thread bridge.ThreadID) []sandbox.Message {
	place, _ := h.place(thread)
	return slices.DeleteFunc(h.server.Messages(place), func(m sandbox.Message) bool { return m.Webhook != h.hook.ID || len(m.Embeds) > 0 })
}

func seen(messages []sandbox.Message) []bridgetest.Shown {
	var out []bridgetest.Shown
	for _, m := range messages {
		s := bridgetest.Shown{ID: bridge.MessageID(m.ID), Text: shown(m.Text), Silent: m.Silent, Pings: m.Pings}
		for _, f := range m.Files {
			s.Files = append(s.Files, bridgetest.ShownFile{Name: f.Name, Content: f.Content})
		}
		out = append(out, s)
	}
	return out
}

func (h *hooked) shown(thread bridge.ThreadID) []bridgetest.Shown { return seen(h.messages(thread)) }

func (h *hooked) card(thread bridge.ThreadID) string {
	place, card := h.place(thread)
	for _, m := range h.server.Messages(place) {
		if m.ID == card {
			return cardText(m)
		}
	}
	return ""
}

// shared is a webhook's adapter in a channel that all sessions share. It notes which thread each message was sent for, so that the
// suite sees one thread at a time.
type shared struct {
	*hooked
	owners map[string]bridge.ThreadID
}

// own notes the messages that a call has brought, with or without its answer.
func (s *shared) own(thread bridge.ThreadID) {
	for _, m := range s.messages(thread) {
		if s.owners[m.ID] == "" {
			s.owners[m.ID] = thread
		}
	}
}

func (s *shared) Send(ctx context.Context, thread bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	defer s.own(thread)
	return s.WebhookSender.Send(ctx, thread, p)
}

func (s *shared) Upload(ctx context.Context, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	defer s.own(thread)
	return s.WebhookSender.Upload(ctx, thread, p, files)
}

func (s *shared) shown(thread bridge.ThreadID) []bridgetest.Shown {
	return seen(slices.DeleteFunc(s.messages(thread), func(m sandbox.Message) bool { return s.owners[m.ID] != thread }))
}

func hookHarness(t *testing.T, kind sandbox.Kind) *bridgetest.Harness {
	h := startHook(t, kind)
	refuse := func(a sandbox.Action) func(bridge.ThreadID) {
		return func(bridge.ThreadID) { h.server.Next("execute_webhook", a) }
	}
	out := &bridgetest.Harness{
		Platform: h.WebhookSender,
		Secrets:  []bridge.Secret{bridge.Secret(h.hook.Token), bridge.Secret(h.base)},
		Shown: func(thread bridge.ThreadID) []bridgetest.Shown {
			<-time.After(2 * brief)
			return h.shown(thread)
		},
		Card:        h.card,
		Tidy:        strings.TrimSpace,
		RepeatsShow: true,
		NoReplies:   true,
		RateScope:   bridge.ScopeSession,
		AnaID:       h.server.AddUser(sandbox.User{Name: "ana"}).ID,
		Faults: map[bridgetest.Fault]func(bridge.ThreadID){
			bridgetest.FaultRateLimit:    refuse(sandbox.RateLimited(brief)),
			bridgetest.FaultServer:       refuse(sandbox.Page(http.StatusBadGateway)),
			bridgetest.FaultCut:          refuse(sandbox.Action{DropAfter: true}),
			bridgetest.FaultUnauthorised: func(bridge.ThreadID) { h.server.RemoveWebhook(h.hook.ID) },
		},
	}
	if kind == sandbox.Forum {
		out.Faults[bridgetest.FaultThreadGone] = func(thread bridge.ThreadID) {
			place, _ := h.place(thread)
			h.server.DeleteThread(place, "")
		}
		return out
	}
	flat := &shared{h, map[string]bridge.ThreadID{}}
	out.Platform = flat
	out.Shown = func(thread bridge.ThreadID) []bridgetest.Shown {
		<-time.After(2 * brief)
		return flat.shown(thread)
	}
	return out
}

func TestHookSuite(t *testing.T) {
	for name, kind := range map[string]sandbox.Kind{"text": sandbox.Text, "forum": sandbox.Forum} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness { return hookHarness(t, kind) })
		})
	}
}

// The webhook's own host is called, under the configured name; in a channel without posts every message says whose it is.
func TestHookIsFlat(t *testing.T) {
	t.Parallel()
	h := startHook(t, sandbox.Text)
	thread := bridgetest.Open(t, h.WebhookSender, session("1", "Maria *L*"))
	if !isFlat(thread) {
		t.Fatalf("the thread is %q", thread)
	}
	bridgetest.Deliver(t, h.WebhookSender, thread, bridge.Outgoing{Visitor: "Maria *L*", Text: strings.Repeat("hello ", 500), Kind: bridge.KindMessage})
	all := h.shown(thread)
	if len(all) != 2 {
		t.Fatalf("shown %+v", all)
	}
	for _, s := range all {
		if !strings.HasPrefix(s.Text, "Maria *L*\nhello ") {
			t.Errorf("shown %.40q", s.Text)
		}
	}
	for _, m := range h.server.Messages(h.room) {
		if m.Author.Shown() != "Support" {
			t.Errorf("a message is by %q", m.Author.Shown())
		}
	}
	// What the channel is was asked once.
	bridgetest.Open(t, h.WebhookSender, session("2", "Eva"))
	if n := h.server.Count("execute_webhook"); n != 1+1+2+1 {
		t.Errorf("%d calls were made", n)
	}
	// A forum, by now: the next attempt begins a post.
	h.server.Next("execute_webhook", sandbox.Fail(http.StatusBadRequest, 220001, "Webhooks posted to forum channels must have a thread_name or thread_id"))
	if _, _, err := h.OpenThread(t.Context(), session("3", "Eva"), bridge.Opening{}); platform.ReasonOf(err) != bridge.ReasonTransient {
		t.Errorf("the error is %v", err)
	}
	calls := h.server.Count("execute_webhook")
	bridgetest.Open(t, h.WebhookSender, session("3", "Eva"))
	if n := h.server.Count("execute_webhook") - calls; n != 2 {
		t.Errorf("%d calls were made", n)
	}
}

// A webhook's refusals, on the wire.
func TestHookRefusals(t *testing.T) {
	t.Parallel()
	h := startHook(t, sandbox.Forum)
	thread := bridgetest.Open(t, h.WebhookSender, session("1", "Maria"))
	ids := bridgetest.Deliver(t, h.WebhookSender, thread, bridge.Outgoing{Text: "hello", Kind: bridge.KindMessage})
	send := func() error { _, err := h.Send(t.Context(), thread, bridge.Part{Text: "words"}); return err }
	edit := func() error { return h.Edit(t.Context(), thread, ids[0], bridge.Part{Text: "words"}) }
	for _, c := range []struct {
		name   string
		call   func() error
		op     string
		answer sandbox.Action
		reason bridge.Reason
		says   string
	}{
		{"deleted", send, "execute_webhook", sandbox.Fail(404, 10015, "Unknown Webhook"), bridge.ReasonAuth, "DISCORD_WEBHOOK_URL"},
		{"wrong token", send, "execute_webhook", sandbox.Fail(401, 50027, "Invalid Webhook Token"), bridge.ReasonAuth, "DISCORD_WEBHOOK_URL"},
		{"wrong token at an edit", edit, "update_webhook_message", sandbox.Fail(401, 50027, "Invalid Webhook Token"), bridge.ReasonAuth,
			"DISCORD_WEBHOOK_URL"},
		{"thread gone", send, "execute_webhook", sandbox.Fail(404, 10003, "Unknown Channel"), bridge.ReasonThreadGone, ""},
		{"thread locked", send, "execute_webhook", sandbox.Fail(400, 50083, "Thread is archived"), bridge.ReasonThreadGone, ""},
		{"message gone", edit, "update_webhook_message", sandbox.Fail(404, 10008, "Unknown Message"), bridge.ReasonMessageGone, ""},
		{"page", send, "execute_webhook", sandbox.Page(503), bridge.ReasonTransient, "503"},
		{"cut", send, "execute_webhook", sandbox.Action{DropAfter: true}, bridge.ReasonUnconfirmed, ""},
		{"strange answer", send, "execute_webhook", sandbox.Action{Status: 204}, bridge.ReasonUnconfirmed, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.server.Next(c.op, c.answer)
			err := c.call()
			if platform.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("the error is %v", err)
			}
			for _, secret := range []string{h.hook.Token, h.base} {
				if strings.Contains(err.Error()+h.logs.String(), secret) {
					t.Errorf("it shows %q: %v", secret, err)
				}
			}
		})
	}
	for _, id := range []bridge.ThreadID{"", "5/6", bridge.ThreadID(h.hook.ID + "/"), bridge.ThreadID(h.hook.ID + "/flat/x")} {
		if _, err := h.Send(t.Context(), id, bridge.Part{Text: "x"}); platform.ReasonOf(err) != bridge.ReasonThreadGone {
			t.Errorf("the thread %q: %v", id, err)
		}
		if err := h.Delete(t.Context(), id, "5"); err != nil {
			t.Errorf("deleting in the thread %q: %v", id, err)
		}
	}
	if err := h.Edit(t.Context(), thread, "x", bridge.Part{Text: "x"}); platform.ReasonOf(err) != bridge.ReasonMessageGone {
		t.Errorf("editing what is no message: %v", err)
	}
}
