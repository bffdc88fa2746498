package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// recorded keeps the addresses and bodies of all calls that go through it.
type recorded struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *recorded) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *recorded) note(req *http.Request) {
	body, err := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	plain, unescaped := url.QueryUnescape(string(body)) // Slack's are forms
	fmt.Fprintln(&c.text, req.Method, req.URL.RequestURI(), string(body), plain, err, unescaped)
}

// between puts a recorder between the bridge and what a setting names.
func (c *recorded) between(t *testing.T, r *rig, setting string) {
	t.Helper()
	to, err := url.Parse(r.env[setting])
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = to.Scheme, to.Host, p.In.Host
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c.note(req)
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(func() { // the bridge holds a connection as long as it runs
		for _, p := range r.processes() {
			p.Kill()
		}
		srv.Close()
	})
	r.env[setting] = srv.URL + to.Path
}

// catchAll is an events webhook that keeps what it is told.
func catchAll(t *testing.T) (*recorded, string) {
	c := &recorded{}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { c.note(req) }))
	t.Cleanup(srv.Close)
	return c, srv.URL
}

// onWatchedStores runs a test on each store with all platforms, whose calls are recorded; stored returns all that the store has written.
func onWatchedStores(t *testing.T, test func(t *testing.T, r *rig, platforms, webhook *recorded, stored func() string)) {
	for _, name := range []string{"bolt", "redis"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.use("telegram", "discord text", "slack events")
			platforms := &recorded{}
			for _, setting := range []string{"TELEGRAM_API_URL", "DISCORD_API_URL", "SLACK_API_URL"} {
				platforms.between(t, r, setting)
			}
			webhook, at := catchAll(t)
			r.env["EVENTS_WEBHOOK_URL"], r.env["LOG_LEVEL"], r.env["TRANSCRIPTS"], r.env["DATA_DIR"] = at, "debug", "on", t.TempDir()
			stored := func() string {
				data, err := os.ReadFile(filepath.Join(r.env["DATA_DIR"], "bridge.db"))
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
			if name == "redis" {
				server := redistest.Start(t)
				r.env["REDIS_URL"], stored = server.URL(), server.Appended
			}
			test(t, r, platforms, webhook, stored)
		})
	}
}

// everyEvent sends every event that an app server has about a session of its own, with what is given in all places that may hold it.
func (r *rig) everyEvent(session string) {
	r.t.Helper()
	for _, fields := range []string{
		`"type":"new_session",` + session, `"type":"identity_update",` + session,
		`"type":"visitor_message",` + session + `,"message":{"id":"m1","sessionId":"s","content":"words"}`,
		`"type":"visitor_message_edited","sessionId":"s","messageId":"m1","content":"other words"`,
		`"type":"custom_event",` + session + `,"event":{"name":"order","data":` + privateData + `}`,
		`"type":"ai_takeover",` + session + `,"reason":"asked"`,
		`"type":"operator_message",` + session + `,"message":{"id":"o1","sessionId":"s","content":"an answer","sender":"operator"},"operatorName":"Ben"`,
		`"type":"message_read","sessionId":"s","messageIds":["o1"],"status":"read"`, `"type":"visitor_typing","sessionId":"s","isTyping":true`,
		`"type":"csat_submitted",` + session + `,"score":5,"comment":"fine"`, `"type":"operator_status","online":true`,
		`"type":"visitor_disconnect",` + session + `,"duration":5,"reason":"manual"`,
		`"type":"visitor_message",` + session + `,"message":{"id":"m2","sessionId":"s","content":"back again"}`,
		`"type":"visitor_message_deleted","sessionId":"s","messageId":"m1"`, `"type":"session_closed","sessionId":"s"`,
	} {
		r.must("/api/events", "{"+fields+"}")
	}
}

// What HIDE_FIELDS hides.
const (
	privateMail  = "kept-mail@example.com"
	privateIP    = "203.0.113.77"
	privatePage  = "https://shop.example.com/kept-page"
	privateFrom  = "https://kept-referrer.example.com/"
	privateQuery = "kept-query-7b"

	privateData = `{"email":"` + privateMail + `","ip":"` + privateIP + `","url":"` + privatePage + `","total":42}`

	privateSession = `"session":{"id":"s","visitorId":"s","userPhone":"+4915112345678","metadata":{"ip":"` + privateIP + `","url":"` + privatePage + `?q=` + privateQuery +
		`","referrer":"` + privateFrom + `","browser":"Firefox","plan":"gold"},"identity":{"id":"u-1","email":"` + privateMail + `"}}`
)

// everyAnswer has operators do all that apps are told of, in the thread of a session on a platform.
func (r *rig) everyAnswer(b *discordBoard, thread string) {
	r.t.Helper()
	said := b.server.Say(thread, b.ana, "it ships today")
	b.server.Edit(said, "it ships tomorrow")
	gone := b.server.Say(thread, b.ana, "forget it")
	r.until("told of what is gone", func() bool {
		return slices.ContainsFunc(r.app.of("operator_message"), func(e received) bool { return strings.Contains(string(e.body), "forget it") })
	})
	b.server.Delete(gone)
	for _, command := range []string{"!claim", "!note a note", "!read", "!ai off", "!csat", "!remind 2h call back", "!unclaim", "!close", "!reopen", "!unblock"} {
		b.say(thread, command)
	}
}

// everyDraft has a program propose two drafts for a session, of which operators send one and drop the other.
func (r *rig) everyDraft(b *discordBoard, thread, session string) {
	r.t.Helper()
	d := &desk{r: r, b: b, thread: thread}
	for action, answer := range map[string]string{"send:": "Sent to the visitor.", "drop:": "The draft is dropped."} {
		r.propose(session, "to-"+strings.Trim(action, ":"), "proposed to "+action)
		d.sees("not sent: proposed to " + action)
		d.presses(b.ana, action, answer)
	}
}

// page has a visitor do on a page all that one can do there, with these words; it returns the session.
func (r *rig) page(says string) string {
	r.t.Helper()
	ask := func(path, body string) string {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.process().base+"/pocketping"+path, strings.NewReader(body))
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Origin", "https://shop.example.com")
		req.Header.Set("X-Forwarded-For", privateIP)
		resp, err := r.client.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		said, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			r.t.Fatalf("%s: %d %s %v", path, resp.StatusCode, said, err)
		}
		return string(said)
	}
	var made struct{ SessionID string }
	if err := json.Unmarshal([]byte(ask("/connect", `{"visitorId":"page-1","sessionId":null,"metadata":{"url":"`+privatePage+`","referrer":"`+privateFrom+`","plan":"silver"}}`)), &made); err != nil {
		r.t.Fatal(err)
	}
	session := `{"sessionId":"` + made.SessionID + `"`
	for _, call := range [][2]string{
		{"/prechat", `,"email":"` + privateMail + `","phone":"+4915112345678","phoneCountry":"DE"}`},
		{"/identify", `,"identity":{"id":"u-2","email":"` + privateMail + `","plan":"silver"}}`},
		{"/message", `,"content":"` + says + `","sender":"visitor"}`}, {"/typing", `,"isTyping":true,"sender":"visitor"}`},
		{"/csat", `,"score":4,"comment":"` + says + `"}`}, {"/visibility", `,"state":"hidden"}`}, {"/disconnect", `,"reason":"page_unload","duration":5}`},
	} {
		ask(call[0], session+call[1])
	}
	return made.SessionID
}

// With HIDE_FIELDS the hidden fields are in no call to any platform, no line of the log and nothing that the events webhook is told, in a
// run with every event of app servers, pages and operators, and the commands that tell of visitors. The app's callbacks are for the app:
// they have them.
func TestHiddenFields(t *testing.T) {
	t.Parallel()
	onWatchedStores(t, func(t *testing.T, r *rig, platforms, webhook *recorded, _ func() string) {
		r.env["HIDE_FIELDS"], r.env["OPEN_THREAD"] = "email, ip, url", "session"
		r.env["WIDGET_ORIGINS"], r.env["TRUSTED_PROXIES"], r.env["UNANSWERED_AFTER"] = "https://shop.example.com", "127.0.0.1", "1s"
		p := r.start()
		r.everyEvent(privateSession)
		for _, b := range r.boards {
			r.until("shown on "+b.name(), func() bool {
				all := b.threads("s")
				return len(all) > 0 && slices.ContainsFunc(b.shown(all[0]), func(text string) bool { return strings.Contains(text, "back again") })
			})
			for _, command := range []string{"!info", "!status", "!block", "!blocked", "!find s", "!history", "!transcript", "!help"} {
				b.say(b.threads("s")[0], command)
			}
			b.say(b.threads("s")[0], "the last word from "+b.name())
			r.until("heard from "+b.name(), func() bool { return strings.Contains(webhook.String(), "the last word from "+b.name()) })
		}
		discord := r.boards[1].(*discordBoard)
		r.everyAnswer(discord, discord.threads("s")[0])
		page := r.page("from a page")
		for _, b := range r.boards {
			r.until("a page's words on "+b.name(), func() bool {
				all := b.threads("page-1")
				return len(all) > 0 && slices.ContainsFunc(b.shown(all[0]), func(text string) bool { return strings.Contains(text, "from a page") })
			})
			b.say(b.threads("page-1")[0], "!info")
			b.say(b.threads("page-1")[0], "to the page from "+b.name())
			r.until("heard from "+b.name(), func() bool { return strings.Contains(webhook.String(), "to the page from "+b.name()) })
		}
		r.everyDraft(discord, discord.threads("page-1")[0], page)
		if !strings.Contains(webhook.String(), page) || !strings.Contains(webhook.String(), `"plan":"silver"`) {
			t.Error("the webhook is told nothing of the page")
		}
		// Nobody answers this one.
		r.must("/api/events", `{"type":"visitor_message",`+strings.ReplaceAll(privateSession, `"s"`, `"w"`)+`,"message":{"id":"w1","sessionId":"w","content":"anybody?"}}`)
		for _, kind := range []string{
			"new_session", "identity_update", "visitor_message", "visitor_message_edited", "custom_event", "ai_takeover", "operator_message", "message_read",
			"csat_submitted", "operator_status", "visitor_disconnect", "visitor_message_deleted", "session_closed", "message_delivered",
			"operator_message_edited", "operator_message_deleted", "session_reopened", "ai_toggle", "csat_request", "visitor_waiting", "visitor_blocked",
			"conversation_assigned", "draft_sent", "draft_dropped",
		} {
			r.until("told of "+kind, func() bool { return strings.Contains(webhook.String(), `{"type":"`+kind+`"`) })
		}
		r.until("answered", func() bool { return strings.Count(platforms.String(), "u-1") >= 3 }) // by /info, everywhere
		if said := platforms.String(); !strings.Contains(said, "Firefox") || !strings.Contains(said, "total") {
			t.Error("what is not hidden is not shown either")
		}
		if said := webhook.String(); !strings.Contains(said, `"plan":"gold"`) || !strings.Contains(said, `"total":42`) {
			t.Error("the webhook is not told what is not hidden")
		}
		for where, text := range map[string]string{"a platform": platforms.String(), "the events webhook": webhook.String(), "the log": p.Output()} {
			for _, hidden := range []string{privateMail, "kept-mail", privateIP, "kept-page", "kept-referrer", privateQuery} {
				if i := strings.Index(text, hidden); i >= 0 {
					t.Errorf("%s is told %s: …%s…", where, hidden, text[max(0, i-200):min(len(text), i+100)])
				}
			}
		}
	})
}

// With MASK_CARDS no card number is whole in any place: not on the platforms, in callbacks, the webhook, the log, answers or the store.
func TestMaskedCards(t *testing.T) {
	t.Parallel()
	const card, apart = "4111111111111111", "5555-5555-5555-4444"
	onWatchedStores(t, func(t *testing.T, r *rig, platforms, webhook *recorded, stored func() string) {
		r.env["MASK_CARDS"], r.env["WIDGET_ORIGINS"] = "on", "https://shop.example.com"
		p := r.start()
		session := `"session":{"id":"s","visitorId":"s","metadata":{"pageTitle":"` + card + `","url":"https://x/?c=` + card + `"},"identity":{"id":"u","name":"` + apart + `"}}`
		r.must("/api/sessions", strings.TrimSuffix(strings.TrimPrefix(session, `"session":`), ""))
		for _, fields := range []string{
			`"type":"visitor_message",` + session + `,"message":{"id":"m1","sessionId":"s","content":"my card is ` + card + ` or ` + apart + `"}`,
			`"type":"visitor_message_edited","sessionId":"s","messageId":"m1","content":"no, \u0034111 1111 1111 1111"`,
			`"type":"custom_event",` + session + `,"event":{"name":"paid with ` + card + `","data":{"n":` + card + `,"c":["` + apart + `"]}}`,
			`"type":"csat_submitted",` + session + `,"score":5,"comment":"` + card + `"`, `"type":"ai_takeover",` + session + `,"reason":"` + apart + `"`,
			`"type":"operator_message",` + session + `,"message":{"id":"o1","sessionId":"s","content":"` + card + `","sender":"operator"}`,
			`"type":"visitor_message",` + session + `,"message":{"id":"m2","sessionId":"s","content":"the end"}`,
		} {
			r.must("/api/events", "{"+fields+"}")
		}
		r.propose("s", "d1", "pay with "+card)
		r.page("from a page: " + apart)
		r.until("a page's words are shown everywhere", func() bool {
			return strings.Count(platforms.String(), "from a page: ••••-••••-••••-4444") >= 3
		})
		r.until("a draft is shown everywhere", func() bool {
			return strings.Count(platforms.String(), "pay with ••••••••••••1111") >= 3
		})
		sent := 0
		for _, b := range r.boards {
			shown := func(text string) bool {
				all := b.threads(strings.ReplaceAll(apart, "5555-5555-5555", "••••-••••-••••"))
				return len(all) > 0 && strings.Contains(strings.Join(b.shown(all[0]), "\n"), text)
			}
			r.until("shown on "+b.name(), func() bool { return shown("the end") })
			thread := b.threads("••••-••••-••••-4444")[0]
			b.say(thread, "yours was "+card+", from "+b.name())
			sent++
			r.until("heard from "+b.name(), func() bool { return len(r.app.of("operator_message")) == sent })
		}
		_, transcript := r.ask(http.MethodGet, "/api/sessions/s/messages", "", "")
		if !strings.Contains(transcript, "••••••••••••1111") || !strings.Contains(transcript, "•••• •••• •••• 1111") {
			t.Errorf("the transcript has %s", transcript)
		}
		var callbacks strings.Builder
		r.app.mu.Lock()
		for _, e := range r.app.got {
			callbacks.Write(e.body)
		}
		r.app.mu.Unlock()
		r.until("told", func() bool { return strings.Count(webhook.String(), "from slack") > 0 })
		// Telegram, Discord and Slack have what Ana wrote herself; the bridge has sent none of it.
		for where, text := range map[string]string{
			"a platform": platforms.String(), "the events webhook": webhook.String(), "the log": p.Output(), "a callback": callbacks.String(),
			"the transcript": transcript, "the store": stored(),
		} {
			for _, whole := range []string{card, apart, "4111 1111 1111 1111", "5555555555554444"} {
				if i := strings.Index(text, whole); i >= 0 {
					t.Errorf("%s has %s: …%q…", where, whole, text[max(0, i-200):min(len(text), i+100)])
				}
			}
		}
	})
}
