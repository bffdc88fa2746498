package telegram

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
)

const testSecret = bridge.Secret("webhook-s3cret_")

// hooked is an adapter whose stand-in sends updates to it.
type hooked struct {
	*place
	inbox *bridgetest.Inbox
	url   string

	mu      sync.Mutex
	handler http.Handler
}

func (h *hooked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	handler := h.handler
	h.mu.Unlock()
	handler.ServeHTTP(w, r)
}

func startHooked(t *testing.T, c sandbox.Chat) *hooked {
	t.Helper()
	p := start(t, sandbox.Options{WebhookPause: time.Millisecond}, c)
	h := &hooked{place: p, inbox: bridgetest.NewInbox("")}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	t.Cleanup(p.server.Close)
	h.url = srv.URL + "/webhooks/telegram"
	base := strings.TrimSuffix(p.base, "/bot"+p.server.Token()+"/")
	p.Telegram, p.logs = adapter(t, Config{
		Token: bridge.Secret(p.server.Token()), ChatID: p.chat, APIURL: base, WebhookURL: h.url, WebhookSecret: testSecret,
	})
	h.handler = p.Webhook(h.inbox)
	return h
}

// listen runs Listen, and returns what ends it.
func (h *hooked) listen(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- h.Listen(ctx, h.inbox) }()
	return func() error { cancel(); return <-done }
}

// says waits until the log holds a text n times.
func (p *place) says(t *testing.T, text string, n int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); strings.Count(p.logs.String(), text) < n; {
		if time.Now().After(end) {
			t.Fatalf("%q is not said %d times", text, n)
		}
		<-time.After(time.Millisecond)
	}
}

func TestWebhook(t *testing.T) {
	h := startHooked(t, sandbox.Chat{})
	topic := h.server.OpenTopic(h.chat, h.ana, "Maria").ID
	h.server.Say(h.chat, topic, h.ana, "before")
	stop := h.listen(t)
	for _, text := range []string{"one", "two", "three"} {
		h.server.Say(h.chat, topic, h.ana, text)
	}
	got := h.inbox.Wait(t, 4)
	h.says(t, "sends updates to the webhook", 1) // updates come before setWebhook is answered; what ends then does not say it
	var texts []string
	for _, u := range got {
		texts = append(texts, u.Text)
		if u.Cursor != "" || u.ID == "" || u.Thread != topicThread(h.chat, int64(topic)) {
			t.Errorf("%+v", u)
		}
	}
	if diff := cmp.Diff([]string{"before", "one", "two", "three"}, texts); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if h.server.Webhook() != h.url {
		t.Error("the webhook went with the bridge")
	}
	for _, c := range h.server.Calls() {
		if c.Method == opPoll {
			t.Error("updates are polled too")
		}
		if c.Method == opHook {
			want := map[string]string{
				"url": h.url, "secret_token": testSecret.Reveal(), "max_connections": "1",
				"allowed_updates": `["message","edited_message","message_reaction","my_chat_member","callback_query"]`,
			}
			if diff := cmp.Diff(want, c.Params); diff != "" {
				t.Errorf("setWebhook -want +got\n%s", diff)
			}
		}
	}
	if strings.Contains(h.logs.String(), testSecret.Reveal()) {
		t.Error("the log holds the secret")
	}

	// The same bot without a webhook's settings: the webhook goes, what waits is polled.
	h.mu.Lock()
	h.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { platform.Refuse(w, http.StatusServiceUnavailable) })
	h.mu.Unlock()
	h.server.Say(h.chat, topic, h.ana, "left over")
	base := strings.TrimSuffix(h.base, "/bot"+h.server.Token()+"/")
	poller, _ := adapter(t, Config{Token: bridge.Secret(h.server.Token()), ChatID: h.chat, APIURL: base})
	h.Telegram = poller
	inbox, _, end := listening(t, h.place, "")
	got = inbox.Wait(t, 1)
	if got[0].Text == "three" { // its confirmation came too late, and it is told again
		got = inbox.Wait(t, 2)[1:]
	}
	if got[0].Text != "left over" {
		t.Errorf("%+v", got)
	}
	_ = end()
	if h.server.Webhook() != "" {
		t.Error("the webhook is still there")
	}
}

func TestWebhookNotConfigured(t *testing.T) {
	tg, _ := adapter(t, Config{Token: testToken, ChatID: -100})
	if tg.Webhook(bridgetest.NewInbox("")) != nil {
		t.Error("there is a webhook")
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestWebhookRequests(t *testing.T) {
	tg, l := adapter(t, Config{
		Token: testToken, ChatID: -1000000000100, APIURL: "http://127.0.0.1:1", WebhookURL: "http://127.0.0.1:1/x", WebhookSecret: testSecret,
	})
	tg.me.Username = "OurBot" // so that nobody is asked
	const update = `{"update_id":5,"message":{"message_id":31,"date":1,"message_thread_id":7,"is_topic_message":true,
		"chat":{"id":-1000000000100,"type":"supergroup"},"from":{"id":500,"first_name":"Ana"},"text":"x"}}`
	right := []string{testSecret.Reveal()}
	for _, c := range []struct {
		name     string
		secrets  []string
		body     io.Reader
		fault    error
		status   int
		accepted int
		kind     bridge.UpdateKind
	}{
		{"good", right, strings.NewReader(update), nil, 200, 1, bridge.UpdateMessage},
		{"no secret", nil, unread{t}, nil, 401, 0, ""},
		{"empty secret", []string{""}, unread{t}, nil, 401, 0, ""},
		{"beginning of the secret", []string{testSecret.Reveal()[:5]}, unread{t}, nil, 401, 0, ""},
		{"longer secret", []string{testSecret.Reveal() + "x"}, unread{t}, nil, 401, 0, ""},
		{"two secrets", []string{"x", testSecret.Reveal()}, unread{t}, nil, 401, 0, ""},
		{"longest", right, io.MultiReader(strings.NewReader(update), bytes.NewReader(bytes.Repeat([]byte(" "), maxUpdate-len(update)))), nil, 200, 1,
			bridge.UpdateMessage},
		{"too long", right, bytes.NewReader(make([]byte, maxUpdate+1)), nil, 413, 0, ""},
		{"cut off", right, io.MultiReader(strings.NewReader(update[:9]), badReader{}), nil, 400, 0, ""},
		{"no JSON", right, strings.NewReader("<html>"), nil, 200, 1, bridge.UpdateNothing},
		{"empty", right, strings.NewReader(""), nil, 200, 1, bridge.UpdateNothing},
		{"not readable", right, strings.NewReader(`{"update_id":6,"message":[1]}`), nil, 200, 1, bridge.UpdateNothing},
		{"store away", right, strings.NewReader(update), fmt.Errorf("x: %w", bridge.ErrUnavailable), 503, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inbox := bridgetest.NewInbox("")
			inbox.Before = func(context.Context, bridge.Update) error { return c.fault }
			r := httptest.NewRequest(http.MethodPost, "/webhooks/telegram", c.body)
			r.Header[headerSecret] = c.secrets
			w := httptest.NewRecorder()
			tg.Webhook(inbox).ServeHTTP(w, r)
			got := inbox.All()
			if w.Code != c.status || len(got) != c.accepted {
				t.Fatalf("%d %q, %d accepted", w.Code, w.Body, len(got))
			}
			if len(got) > 0 && got[0].Kind != c.kind {
				t.Errorf("%+v", got[0])
			}
			if (w.Header().Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%v", w.Header())
			}
		})
	}
	if n := strings.Count(l.String(), "skipped"); n != 3 {
		t.Errorf("%d updates are said to be skipped", n)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A webhook that is taken away is set again; what Telegram has to say about it is said once.
func TestWebhookIsWatched(t *testing.T) {
	h := startHooked(t, sandbox.Chat{})
	h.hookCheck = 2 * time.Millisecond
	h.mu.Lock()
	good := h.handler
	h.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) })
	h.mu.Unlock()
	stop := h.listen(t)
	h.says(t, "sends updates to the webhook", 1)
	h.server.Say(h.chat, 0, h.ana, "hello")
	h.says(t, "Wrong response from the webhook: 502 Bad Gateway", 1)
	h.mu.Lock()
	h.handler = good
	h.mu.Unlock()
	h.inbox.Wait(t, 1)

	call := func(method, body string) {
		t.Helper()
		resp, err := http.Post(h.base+method, "application/json", strings.NewReader(body))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v %v", method, resp, err)
		}
		_ = resp.Body.Close()
	}
	call("deleteWebhook", "{}")
	h.says(t, "taken away by another program", 1)
	h.says(t, "host=none", 1)
	if err := h.server.Wait(t.Context(), func() bool { return h.server.Webhook() == h.url }); err != nil {
		t.Fatal(err)
	}
	call("setWebhook", `{"url":"http://127.0.0.1:1/token-of-others"}`)
	h.says(t, "host=127.0.0.1:1", 1)
	if err := h.server.Wait(t.Context(), func() bool { return h.server.Webhook() == h.url }); err != nil {
		t.Fatal(err)
	}
	h.server.Say(h.chat, 0, h.ana, "again")
	h.inbox.Wait(t, 2)
	_ = stop()
	if n := strings.Count(h.logs.String(), "502 Bad Gateway"); n != 1 || strings.Contains(h.logs.String(), "token-of-others") {
		t.Errorf("the fault is said %d times", n)
	}
}

func TestWebhookRefused(t *testing.T) {
	for _, c := range []struct {
		op     string
		action sandbox.Action
		reason bridge.Reason
		detail string
	}{
		{opHook, sandbox.Fail(400, "Bad Request: bad webhook: Failed to resolve host: Name or service not known"), bridge.ReasonRejected, "PUBLIC_URL"},
		{opHook, sandbox.Fail(401, "Unauthorized"), bridge.ReasonAuth, "TELEGRAM_BOT_TOKEN"},
		{opHook, sandbox.FloodWait(3), bridge.ReasonRateLimited, "retry after 3"},
		{opHooked, sandbox.Page(502), bridge.ReasonTransient, "502"},
	} {
		h := startHooked(t, sandbox.Chat{})
		h.server.Next(c.op, c.action)
		err := h.Listen(t.Context(), h.inbox)
		if d := reason(t, err); d.Reason != c.reason || d.Op != c.op || !strings.Contains(d.Detail, c.detail) {
			t.Errorf("%+v", d)
		}
	}
}

// Where nobody listens the bot still knows its name, and asks for it once.
func TestWebhookWithoutListener(t *testing.T) {
	h := startHooked(t, sandbox.Chat{})
	if err := h.setWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.server.Next(opMe, sandbox.Page(502))
	h.server.Say(h.chat, 0, h.ana, "one")
	h.inbox.Wait(t, 1) // although the name is not known
	h.Telegram.mu.Lock()
	h.askMe = time.Time{}
	h.Telegram.mu.Unlock()
	for _, text := range []string{"/status@another_bot", "/status@bridge_sandbox_bot", "/help", "two"} {
		h.server.Say(h.chat, 0, h.ana, text)
	}
	got := h.inbox.Wait(t, 4)
	if got[1].Command == nil || got[1].Command.Name != "status" || got[2].Command == nil || got[3].Text != "two" {
		t.Errorf("%+v", got)
	}
	if n := h.server.Count(opMe); n != 2 {
		t.Errorf("getMe was called %d times", n)
	}
}

// A bridge that was not told that the group has become another one finds out when there is news from there, before it says that
// the news is nobody's.
func TestWebhookOfAMovedGroup(t *testing.T) {
	h := startHooked(t, sandbox.Chat{Kind: sandbox.Group})
	to := h.server.Upgrade(h.chat) // told to another bridge
	h.server.Say(to, 0, h.ana, "hello")
	h.server.Next(opAction, sandbox.Page(502))
	elsewhere := h.server.AddChat(sandbox.Chat{Kind: sandbox.Supergroup})
	first := true
	h.mu.Lock()
	handler := h.handler
	h.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("migrate_")) {
			w.WriteHeader(http.StatusOK)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		out := httptest.NewRecorder()
		handler.ServeHTTP(out, r)
		if first != (out.Code == http.StatusServiceUnavailable) {
			t.Errorf("answered with %d", out.Code)
		}
		first = false
		w.WriteHeader(out.Code)
	})
	h.mu.Unlock()
	if err := h.setWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.inbox.Wait(t, 1); got[0].Text != "hello" || got[0].Thread != generalThread(to) {
		t.Errorf("%+v", got)
	}
	before := h.server.Count(opAction)
	h.server.Say(elsewhere, 0, h.ana, "not for us")
	h.server.Say(elsewhere, 0, h.ana, "nor this")
	h.server.Say(to, 0, h.ana, "bye")
	if got := h.inbox.Wait(t, 2); got[1].Text != "bye" {
		t.Errorf("%+v", got)
	}
	if n := h.server.Count(opAction) - before; n != 1 {
		t.Errorf("the group was asked for %d times", n)
	}
	// Messages go where they went until Telegram says so: that is what the relay keeps.
	_, err := h.Send(t.Context(), flatThread(h.chat, "s"), bridge.Part{Text: "x"})
	if d := reason(t, err); d.Reason != bridge.ReasonMoved || d.MovedTo != fmt.Sprintf("%d>%d", h.chat, to) {
		t.Errorf("%+v", d)
	}
}

func TestParseWebhookSecret(t *testing.T) {
	for in, want := range map[string]bridge.Secret{
		" aZ09_-\n": "aZ09_-", strings.Repeat("a", 256): bridge.Secret(strings.Repeat("a", 256)),
	} {
		if got, err := ParseWebhookSecret(in); err != nil || got != want {
			t.Errorf("%q: %v", in, err)
		}
	}
	for in, want := range map[string]string{
		"": "empty", "s3cr3t x": "character", "s3cr3t.": "character", "s3cr3té": "character", strings.Repeat("s3cr3t", 50): "too long",
	} {
		_, err := ParseWebhookSecret(in)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "openssl") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestCheckWebhookURL(t *testing.T) {
	const own, other = DefaultAPIURL, "http://127.0.0.1:8081"
	for _, c := range []struct{ url, api, says string }{
		{"https://bridge.example.com/x", own, ""},
		{"https://bridge.example.com:8443/x", own, ""},
		{"https://bridge.example.com:3001/x", own, "8443"},
		{"http://bridge.example.com/x", own, "https://"},
		{"http://127.0.0.1:3001/x", own, "https://"},
		{"http://127.0.0.1:3001/x", other, ""},
		{"http://bridge.internal/x", other, ""},
		{"ftp://127.0.0.1/x", other, "http"},
		{"bridge.example.com", own, "http"},
		{"https://u:p@bridge.example.com/x", own, "user"},
		{"https://bridge.example.com/?x", own, "behind"},
	} {
		err := CheckWebhookURL(c.url, c.api)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s at %s: %v", c.url, c.api, err)
		}
	}
}
