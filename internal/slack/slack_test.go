package slack

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience only ends a test that hangs.
const patience = 2 * time.Minute

// logs collects what is logged, and shows it in the test's log.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p)
	return len(p), nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// logger returns a logger, and fails the test when a secret or an address with one is logged.
func logger(t *testing.T, secrets ...bridge.Secret) (*slog.Logger, *logs) {
	l := &logs{}
	t.Cleanup(func() {
		text := l.String()
		if text != "" {
			t.Log(text)
		}
		for _, secret := range append(secrets, "ticket=", "/commands/", "/services/", "/upload/", "/files-pri/") {
			if secret != "" && strings.Contains(text, secret.Reveal()) {
				t.Errorf("%q is logged", secret.Reveal())
			}
		}
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// place is an adapter, the channel that it is for and the stand-in that both are at.
type place struct {
	*Slack
	server  *sandbox.Server
	channel string
	ana     string
	logs    *logs
}

// soon are pauses before repetitions that a test can wait for.
func soon() []time.Duration { return slices.Repeat([]time.Duration{20 * time.Millisecond}, 1000) }

func start(t *testing.T, o sandbox.Options, change func(*Config)) *place {
	t.Helper()
	server := sandbox.New(o)
	server.FailOnFaults(t)
	base, err := server.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p := &place{server: server, ana: server.AddUser(sandbox.User{Name: "ana", RealName: "Ana Ruiz", DisplayName: "Ana"}).ID}
	p.channel = server.AddChannel(sandbox.Channel{})
	c := Config{BotToken: bridge.Secret(server.BotToken()), ChannelID: p.channel, APIURL: base + "/api/", AppToken: bridge.Secret(server.AppToken())}
	if change != nil {
		change(&c)
	}
	p.Slack, p.logs = adapter(t, c)
	return p
}

func adapter(t *testing.T, c Config) (*Slack, *logs) {
	t.Helper()
	log, l := logger(t, c.BotToken, c.AppToken, c.SigningSecret)
	s, err := New(c, log)
	if err != nil {
		t.Fatal(err)
	}
	s.socketPause = time.Millisecond
	s.sharePause = 5 * time.Millisecond
	t.Cleanup(s.calls.CloseIdleConnections)
	t.Cleanup(s.content.CloseIdleConnections)
	return s, l
}

func parentOf(thread bridge.ThreadID) string {
	_, parent, _ := strings.Cut(string(thread), "/")
	return parent
}

func (p *place) shown(thread bridge.ThreadID) []bridgetest.Shown {
	var out []bridgetest.Shown
	for _, m := range p.server.Messages(p.channel, parentOf(thread)) {
		if !m.Own || m.TS == parentOf(thread) {
			continue
		}
		// Slack has no silent messages; a notice is told by its looks.
		s := bridgetest.Shown{ID: bridge.MessageID(m.TS), Text: m.Plain, Pings: m.Pings, Silent: strings.Contains(string(m.Blocks), `"italic":true`)}
		for _, f := range m.Files {
			if f.Deleted {
				continue
			}
			s.ID = bridge.MessageID(fileID + f.ID)
			s.Files = append(s.Files, bridgetest.ShownFile{Name: f.Name, Content: f.Content})
		}
		out = append(out, s)
	}
	return out
}

func (p *place) message(id bridge.MessageID) sandbox.Message {
	m, _ := p.server.Message(p.channel, string(id))
	return m
}

func (p *place) say(thread bridge.ThreadID, text string, _ bridge.MessageID) bridge.MessageID {
	return bridge.MessageID(p.server.Say(p.channel, parentOf(thread), p.ana, text).TS)
}

func (p *place) refuse(a stage.Action) func(bridge.ThreadID) {
	return func(bridge.ThreadID) { p.server.Next(opPost, a) }
}

func (p *place) harness() *bridgetest.Harness {
	return &bridgetest.Harness{
		Platform: p.Slack,
		Secrets:  p.secrets,
		Shown:    p.shown,
		Card: func(thread bridge.ThreadID) string {
			m, _ := p.server.Message(p.channel, parentOf(thread))
			return m.Plain
		},
		Tidy:      func(text string) string { return strings.TrimSuffix(text, "\n") },
		NoReplies: true,
		RateScope: bridge.ScopeDestination,
		Faults: map[bridgetest.Fault]func(bridge.ThreadID){
			bridgetest.FaultRateLimit:    p.refuse(sandbox.RateLimited(7)),
			bridgetest.FaultServer:       p.refuse(stage.Page(502)),
			bridgetest.FaultCut:          p.refuse(stage.Action{DropAfter: true}),
			bridgetest.FaultMarkup:       p.refuse(sandbox.Fail("invalid_blocks")),
			bridgetest.FaultUnauthorised: func(bridge.ThreadID) { p.server.Revoke("") },
			bridgetest.FaultThreadGone: func(thread bridge.ThreadID) {
				p.server.Delete(p.message(bridge.MessageID(parentOf(thread))))
			},
		},
		Say:   p.say,
		AnaID: p.ana,
		Edit: func(_ bridge.ThreadID, id bridge.MessageID, text string) {
			p.server.Edit(p.message(id), text)
		},
		Delete: func(_ bridge.ThreadID, id bridge.MessageID) { p.server.Delete(p.message(id)) },
		React:  func(_ bridge.ThreadID, id bridge.MessageID) { p.server.React(p.message(id), p.ana, "eyes") },
		Upload: func(thread bridge.ThreadID, name, mediaType string, content []byte) bridge.MessageID {
			m := p.server.Upload(sandbox.Attachment{Post: sandbox.Post{Channel: p.channel, ThreadTS: parentOf(thread), User: p.ana},
				Name: name, Mimetype: mediaType, Content: content})
			return bridge.MessageID(m.TS)
		},
		Signs: func(_ bridge.ThreadID, id bridge.MessageID) []string {
			var out []string
			for _, r := range p.message(id).Reactions {
				if slices.Contains(r.Users, p.server.Bot().ID) {
					out = append(out, r.Name)
				}
			}
			return out
		},
		Waiting: p.server.Pending,
	}
}

func TestSocketMode(t *testing.T) {
	bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness { return start(t, sandbox.Options{}, nil).harness() })
}

// TestOtherName runs the suite with messages that are shown under a name of their own: Slack tells of no user with them.
func TestOtherName(t *testing.T) {
	bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness {
		return start(t, sandbox.Options{}, func(c *Config) { c.Username, c.IconEmoji = "Shop", "speech_balloon" }).harness()
	})
}

// requested is an adapter that Slack's requests come to, once its receiver has begun.
type requested struct {
	*place
	mu      sync.Mutex
	handler http.Handler
}

// closedInbox takes nothing.
type closedInbox struct{}

func (closedInbox) Accept(context.Context, bridge.Update) error {
	return errors.New("nobody is there yet")
}
func (closedInbox) Cursor(context.Context, string) (string, error) { return "", nil }
func (closedInbox) Begun(context.Context) (time.Time, error)       { return time.Time{}, nil }

// begunInbox says when it is asked for its cursor.
type begunInbox struct {
	bridge.Inbox
	begun func()
}

func (i begunInbox) Cursor(ctx context.Context, bot string) (string, error) {
	i.begun()
	return i.Inbox.Cursor(ctx, bot)
}

func (r *requested) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	h := r.handler
	r.mu.Unlock()
	h.ServeHTTP(w, q)
}

func (r *requested) serve(inbox bridge.Inbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handler = r.Webhook(inbox)
}

func (r *requested) Listen(ctx context.Context, inbox bridge.Inbox) error {
	defer r.serve(closedInbox{})
	return r.Slack.Listen(ctx, begunInbox{inbox, func() { r.serve(inbox) }})
}

func startRequested(t *testing.T, o sandbox.Options) *requested {
	t.Helper()
	r := &requested{place: start(t, o, nil)}
	c := r.config
	c.AppToken, c.SigningSecret = "", bridge.Secret(r.server.SigningSecret())
	r.Slack, r.logs = adapter(t, c)
	r.serve(closedInbox{})
	front := httptest.NewServer(r)
	t.Cleanup(front.Close)
	if err := r.server.SetRequestURL(t.Context(), front.URL+"/webhooks/slack"); err != nil {
		t.Fatal(err)
	}
	r.server.SetCommandURL(front.URL + "/webhooks/slack")
	return r
}

func TestEventsAPI(t *testing.T) {
	bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness {
		now := tsOf(time.Now())
		r := startRequested(t, sandbox.Options{RetryPauses: soon()})
		h := r.harness()
		h.Platform, h.Secrets, h.Cursor = r, r.secrets, position{at: now, began: now}.String()
		return h
	})
}

// hooked is the webhook's adapter, with a note of what was sent for which session: Slack itself knows no threads here.
type hooked struct {
	*Incoming
	p    *place
	mu   sync.Mutex
	sent map[bridge.ThreadID][]string // ts
	ids  map[string]bridge.MessageID  // by ts
}

func (h *hooked) Send(ctx context.Context, thread bridge.ThreadID, part bridge.Part) ([]bridge.MessageID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.p.server.Messages(h.p.channel, ""))
	ids, err := h.Incoming.Send(ctx, thread, part)
	for _, m := range h.p.server.Messages(h.p.channel, "")[before:] {
		h.sent[thread] = append(h.sent[thread], m.TS)
		if len(ids) > 0 {
			h.ids[m.TS] = ids[0]
		}
	}
	return ids, err
}

func (h *hooked) shown(thread bridge.ThreadID) []bridgetest.Shown {
	var out []bridgetest.Shown
	for _, ts := range h.sent[thread] {
		m := h.p.message(bridge.MessageID(ts))
		out = append(out, bridgetest.Shown{ID: h.ids[ts], Text: m.Plain, Pings: m.Pings, Silent: strings.Contains(string(m.Blocks), `"italic":true`)})
	}
	return out
}

func TestIncomingWebhook(t *testing.T) {
	bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness {
		p := start(t, sandbox.Options{}, nil)
		address := p.server.AddWebhook(p.channel)
		log, _ := logger(t, bridge.Secret(address))
		w, err := NewWebhook(Config{WebhookURL: bridge.Secret(address)}, log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.calls.CloseIdleConnections)
		h := &hooked{Incoming: w, p: p, sent: map[bridge.ThreadID][]string{}, ids: map[string]bridge.MessageID{}}
		next := func(a stage.Action) func(bridge.ThreadID) {
			return func(bridge.ThreadID) { p.server.Next(opHook, a) }
		}
		return &bridgetest.Harness{
			Platform: h, Secrets: []bridge.Secret{bridge.Secret(address)}, Shown: h.shown, RepeatsShow: true, NoReplies: true,
			Tidy:      func(text string) string { return strings.TrimSuffix(text, "\n") },
			RateScope: bridge.ScopeDestination,
			Faults: map[bridgetest.Fault]func(bridge.ThreadID){
				bridgetest.FaultRateLimit:    next(sandbox.RateLimited(7)),
				bridgetest.FaultServer:       next(stage.Page(502)),
				bridgetest.FaultCut:          next(stage.Action{DropAfter: true}),
				bridgetest.FaultMarkup:       next(stage.Action{Status: 400, Body: "invalid_blocks"}),
				bridgetest.FaultUnauthorised: func(bridge.ThreadID) { p.server.RemoveWebhook(address) },
			},
		}
	})
}

func reason(t *testing.T, err error) *bridge.DeliveryError {
	t.Helper()
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return d
}

// stageServer serves a handler, and returns its base URL.
func stageServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}
