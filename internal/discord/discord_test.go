package discord

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hung only ends a test that hangs.
const hung = 2 * time.Minute

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

func logger(t *testing.T) (*slog.Logger, *logs) {
	l := &logs{}
	t.Cleanup(func() {
		if text := l.String(); text != "" {
			t.Log(text)
		}
	})
	return slog.New(slog.NewTextHandler(l, nil)), l
}

// place is an adapter, the channel that it is for and the stand-in that both are at.
type place struct {
	*Discord
	server *sandbox.Server
	base   string
	room   string // the channel's id
	ana    string
	logs   *logs
}

// quick are times for tests that wait for them.
func quick() timings {
	return timings{
		watchdog: 5 * time.Second, write: time.Second, firstPause: 2 * time.Millisecond, lastPause: 20 * time.Millisecond,
		calm: time.Minute, identify: 0, flush: 50 * time.Millisecond,
	}
}

func start(t *testing.T, o sandbox.Options, kind sandbox.Kind) *place {
	t.Helper()
	server := sandbox.New(o)
	server.FailOnFaults(t)
	return startAt(t, server, kind)
}

// startLoose is start for tests that send what no client should.
func startLoose(t *testing.T) *place { return startAt(t, sandbox.New(sandbox.Options{}), sandbox.Text) }

func startAt(t *testing.T, server *sandbox.Server, kind sandbox.Kind) *place {
	t.Helper()
	base, err := server.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p := &place{server: server, base: base, ana: server.AddUser(sandbox.User{Name: "ana_01", Nick: "Ana"}).ID}
	p.room = server.AddChannel(sandbox.Channel{Kind: kind, Name: "support"})
	p.Discord, p.logs = adapter(t, p.config())
	return p
}

func (p *place) config() Config {
	return Config{Token: bridge.Secret(p.server.Token()), ChannelID: p.room, APIURL: p.base + "/api", EnableGateway: true,
		PublicKey: p.server.PublicKey()}
}

func adapter(t *testing.T, c Config) (*Discord, *logs) {
	t.Helper()
	log, l := logger(t)
	d, err := New(c, log)
	if err != nil {
		t.Fatal(err)
	}
	d.times = quick()
	t.Cleanup(d.rest.client.CloseIdleConnections)
	t.Cleanup(d.rest.files.CloseIdleConnections)
	return d, l
}

// thread returns a thread's id on the stand-in.
func (p *place) thread(id bridge.ThreadID) string {
	found, _, fault := p.find(id, "test")
	if fault != nil {
		return ""
	}
	return found
}

// shownOf returns messages as the suite wants them.
func shownOf(messages []sandbox.Message, id string) []bridgetest.Shown {
	var out []bridgetest.Shown
	for _, m := range messages {
		if !m.Own || m.Kind != sandbox.Ordinary && m.Kind != sandbox.ReplyMessage || m.ID == id {
			continue
		}
		s := bridgetest.Shown{ID: bridge.MessageID(m.ID), Text: shown(m.Text), ReplyTo: bridge.MessageID(m.ReplyTo), Silent: m.Silent, Pings: m.Pings}
		for _, f := range m.Files {
			s.Files = append(s.Files, bridgetest.ShownFile{Name: f.Name, Content: f.Content})
		}
		out = append(out, s)
	}
	return out
}

func (p *place) shown(thread bridge.ThreadID) []bridgetest.Shown {
	return shownOf(p.server.Messages(p.thread(thread)), p.thread(thread))
}

// card returns what is seen of the message that a thread began at.
func (p *place) card(thread bridge.ThreadID) string {
	id := p.thread(thread)
	for _, m := range append(p.server.Messages(p.room), p.server.Messages(id)...) {
		if m.ID == id {
			return cardText(m)
		}
	}
	return ""
}

func cardText(m sandbox.Message) string {
	var b strings.Builder
	for _, e := range m.Embeds {
		b.WriteString(shown(e.Title) + "\n" + shown(e.Description) + "\n")
		if e.Footer != nil {
			b.WriteString(e.Footer.Text + "\n")
		}
	}
	return b.String()
}

// typed is how an operator types a text that others are to see exactly so.
func typed(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "~", `\~`, "`", "\\`", "|", `\|`, "<", `\<`, ">", `\>`, "#", `\#`).Replace(text)
}

func (p *place) say(thread bridge.ThreadID, text string, replyTo bridge.MessageID) bridge.MessageID {
	return bridge.MessageID(p.server.Send(sandbox.Post{Channel: p.thread(thread), User: p.ana, Text: typed(text), ReplyTo: string(replyTo)}).ID)
}

func (p *place) message(thread bridge.ThreadID, id bridge.MessageID) sandbox.Message {
	for _, m := range p.server.Messages(p.thread(thread)) {
		if m.ID == string(id) {
			return m
		}
	}
	return sandbox.Message{}
}

// now returns a cursor of this moment: what is written from now on has a higher id.
func (p *place) now() string { return (snowflakeAt(time.Now()) - 1).String() }

// brief is a refusal for pace that is over at once; the harness looks at a thread no sooner than that.
const brief = time.Millisecond

func harness(t *testing.T, kind sandbox.Kind) *bridgetest.Harness {
	p := start(t, sandbox.Options{}, kind)
	refuse := func(a sandbox.Action) func(bridge.ThreadID) {
		return func(bridge.ThreadID) { p.server.Next(opSend, a) }
	}
	h := &bridgetest.Harness{
		Platform: p.Discord,
		Secrets:  []bridge.Secret{bridge.Secret(p.server.Token()), bridge.Secret(p.base)},
		Shown: func(thread bridge.ThreadID) []bridgetest.Shown {
			<-time.After(2 * brief)
			return p.shown(thread)
		},
		Card: p.card,
		Tidy: strings.TrimSpace,
		Faults: map[bridgetest.Fault]func(bridge.ThreadID){
			bridgetest.FaultRateLimit:  refuse(sandbox.RateLimited(brief)),
			bridgetest.FaultServer:     refuse(sandbox.Page(http.StatusBadGateway)),
			bridgetest.FaultCut:        refuse(sandbox.Action{DropAfter: true}),
			bridgetest.FaultThreadGone: func(thread bridge.ThreadID) { p.server.DeleteThread(p.thread(thread), p.ana) },
			bridgetest.FaultThreadClosed: func(thread bridge.ThreadID) {
				p.server.LockThread(p.thread(thread), p.ana, true)
				p.server.Next(opSend, sandbox.Fail(http.StatusBadRequest, 50083, "Thread is archived"))
			},
			bridgetest.FaultUnauthorised: func(bridge.ThreadID) { p.server.Revoke() },
		},
		RateScope: bridge.ScopeSession,
		Say:       p.say,
		AnaID:     p.ana,
		Cursor:    p.now(),
		Edit: func(thread bridge.ThreadID, id bridge.MessageID, text string) {
			p.server.Edit(p.message(thread, id), typed(text))
		},
		Delete: func(thread bridge.ThreadID, id bridge.MessageID) { p.server.Delete(p.message(thread, id)) },
		React: func(thread bridge.ThreadID, id bridge.MessageID) {
			p.server.React(p.message(thread, id), p.ana, "👍")
		},
		Upload: func(thread bridge.ThreadID, name, mediaType string, content []byte) bridge.MessageID {
			return bridge.MessageID(p.server.Upload(p.thread(thread), p.ana, "", sandbox.File{Name: name, Type: mediaType, Content: content}).ID)
		},
		Signs: func(thread bridge.ThreadID, id bridge.MessageID) []string {
			var out []string
			for _, r := range p.message(thread, id).Reactions {
				if slices.Contains(r.Users, p.server.Bot().ID) {
					out = append(out, r.Emoji)
				}
			}
			return out
		},
	}
	return h
}

func TestSuite(t *testing.T) {
	for name, kind := range map[string]sandbox.Kind{"text": sandbox.Text, "announcements": sandbox.Announcement, "forum": sandbox.Forum} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness { return harness(t, kind) })
		})
	}
}

// listener is a run of Listen.
type listener struct {
	stop  func() error
	ended <-chan error
}

func listen(t *testing.T, d *Discord, inbox bridge.Inbox) listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() {
		err := d.Listen(ctx, inbox)
		if ctx.Err() == nil { // whoever waits for an update would wait in vain, and not know why
			d.log.Info("Listen ended", "err", err)
		}
		done <- err
	}()
	return listener{ended: done, stop: func() error {
		cancel()
		return await(t, done)
	}}
}

// await returns what a channel yields, and fails the test when that takes too long.
func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(hung):
		t.Fatal("it hangs")
		panic("unreachable")
	}
}

func session(id, name string) *bridge.Session {
	return &bridge.Session{ID: id, VisitorID: "visitor-" + id, Identity: &bridge.Identity{ID: "i-" + id, Name: name}}
}

// until waits for a condition of the stand-in's.
func (p *place) until(t *testing.T, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	if err := p.server.Wait(ctx, condition); err != nil {
		t.Fatalf("it does not happen: %v", err)
	}
}
