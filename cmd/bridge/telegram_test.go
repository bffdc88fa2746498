package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// keptHook is the webhook's secret in these tests.
const keptHook = "kept-webhook-proof_c7"

// front stands before the bridge with an address that outlives it, as a reverse proxy with a public name does.
type front struct {
	url    string
	target atomic.Pointer[proc] // nil: the rig's process
	passed atomic.Int32         // requests of Telegram that were passed on
	before func(n int32)        // called before the n-th is passed on; set before the start
	drops  func(n int32) bool   // whether the n-th's answer is withheld; set before the start
}

// withWebhook has Telegram send updates to the bridge.
func (r *rig) withWebhook() *front {
	f := &front{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n := f.passed.Add(1)
		if f.before != nil {
			f.before(n)
		}
		p := f.target.Load()
		if p == nil {
			p = r.process()
		}
		base, err := url.Parse(p.base)
		if err != nil {
			http.Error(w, "no bridge", http.StatusBadGateway)
			return
		}
		answer := httptest.NewRecorder()
		proxy := httputil.ReverseProxy{
			Rewrite:  func(p *httputil.ProxyRequest) { p.SetURL(base) },
			ErrorLog: log.New(io.Discard, "", 0),
		}
		proxy.ServeHTTP(answer, req)
		if f.drops != nil && f.drops(n) {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.url = srv.URL
	r.env["PUBLIC_URL"], r.env["TELEGRAM_WEBHOOK_SECRET"] = srv.URL, keptHook
	r.t.Cleanup(func() {
		r.telegram.Close() // it holds connections to the front
		srv.Close()
	})
	return f
}

// hooked starts the bridge and waits until Telegram sends updates to it.
func (r *rig) hooked(f *front) *proc {
	r.t.Helper()
	p := r.start()
	r.until("set: the webhook", func() bool {
		return r.telegram.Webhook() == f.url+"/webhooks/telegram" && strings.Contains(p.Output(), "sends updates to the webhook")
	})
	return p
}

// quick has the stand-in repeat at once what a webhook did not take.
func quick() telegram.Options { return telegram.Options{WebhookPause: time.Millisecond} }

// onStoresWith is onStores with options for the stand-in.
func onStoresWith(t *testing.T, o telegram.Options, test func(t *testing.T, r *rig)) {
	for _, name := range []string{"bolt", "redis"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			stores()[name](t, r.env)
			test(t, r)
		})
	}
}

// one returns the only topic of a session, waiting for it.
func (r *rig) one(session string) int {
	r.t.Helper()
	r.until("open: the topic of "+session, func() bool { return len(r.topics(session)) == 1 })
	return r.topics(session)[0].ID
}

// answers returns what the app server was told that operators said to a session.
func (r *rig) answers(session string) []string {
	var out []string
	for _, e := range r.app.of("operator_message") {
		if e.SessionID == session {
			out = append(out, e.Content)
		}
	}
	return out
}

func TestWebhookRoundTrip(t *testing.T) {
	onStoresWith(t, quick(), func(t *testing.T, r *rig) {
		f := r.withWebhook()
		r.env["LOG_LEVEL"] = "debug"
		p := r.hooked(f)
		r.must("/api/messages", message("mia", "m1", "Hello?"))
		topic := r.one("mia")
		r.telegram.Say(r.chat, 0, r.ana.ID, "/online")
		r.telegram.Say(r.chat, topic, r.ana.ID, "Yes!")
		r.telegram.Say(r.chat, 0, r.ana.ID, "among us")
		r.telegram.Say(r.chat, topic, r.ana.ID, "How can I help?")
		want := []string{"Yes!", "How can I help?"}
		r.until("told: the answers", func() bool { return len(r.answers("mia")) >= 2 })
		r.until("told: the presence", func() bool { return len(r.app.of("operator_status")) == 1 })
		if code := p.Exit(); code != 0 {
			t.Errorf("it ended with %d", code)
		}
		r.noLeak("the log", p.Output())
		if strings.Contains(p.Output(), keptHook) {
			t.Error("the log shows the webhook's secret")
		}

		// What is said while no bridge is there waits at Telegram.
		r.telegram.Say(r.chat, topic, r.ana.ID, "Still there?")
		r.hooked(f)
		r.must("/api/messages", message("mia", "m2", "Thanks"))
		want = append(want, "Still there?")
		r.until("told: what was said meanwhile", func() bool { return len(r.answers("mia")) >= 3 })
		if got := r.answers("mia"); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		r.until("shown: the visitor's words", func() bool { return slices.Equal(r.shown(topic), []string{"Hello?", "Thanks"}) })
		if n := r.telegram.Count("getUpdates"); n != 0 {
			t.Errorf("updates were polled %d times", n)
		}

		// Without the secret the webhook goes, and updates are fetched.
		r.process().Exit()
		delete(r.env, "TELEGRAM_WEBHOOK_SECRET")
		r.start()
		r.telegram.Say(r.chat, topic, r.ana.ID, "By poll")
		r.until("told: what was polled", func() bool { return len(r.answers("mia")) >= 4 })
		if got := r.answers("mia"); !slices.Equal(got, append(want, "By poll")) || r.telegram.Webhook() != "" {
			t.Errorf("told %q, webhook %q", got, r.telegram.Webhook())
		}
	})
}

// A bridge that is killed with an update in its hands, or with the answer on its way, is sent it again: nothing is lost, and
// nothing is told twice.
func TestWebhookKilled(t *testing.T) {
	t.Parallel() // on Redis it waits most of the time, for a killed bridge's leases to end
	onStoresWith(t, quick(), func(t *testing.T, r *rig) {
		const sessions, words = 5, 30
		f := r.withWebhook()
		var again sync.WaitGroup
		var one sync.Mutex
		restart := func() {
			again.Go(func() {
				one.Lock()
				defer one.Unlock()
				r.process().Kill()
				r.start()
			})
		}
		f.before = func(n int32) {
			if n == 20 || n == 60 {
				restart() // while it is passed on, or before or after it
			}
			if n == 100 {
				r.process().Kill() // nobody is there for it
				restart()
			}
		}
		f.drops = func(n int32) bool {
			if n == 40 || n == 80 {
				r.process().Kill() // accepted, and nobody was told
				restart()
				return true
			}
			return false
		}
		r.hooked(f)
		topics := map[string]int{}
		for s := range sessions {
			session := fmt.Sprint("v", s)
			r.must("/api/messages", message(session, "m1", "hello"))
			topics[session] = r.one(session)
		}
		want := map[string][]string{}
		for n := range sessions * words {
			session, text := fmt.Sprint("v", n%sessions), fmt.Sprint("op-", n)
			r.telegram.Say(r.chat, topics[session], r.ana.ID, text)
			want[session] = append(want[session], text)
		}
		r.until("taken: all updates", func() bool { return r.telegram.Pending() == 0 && f.passed.Load() > 100 })
		again.Wait()
		r.must("/api/messages", message("v0", "m2", "hello again"))
		r.until("told: all that was said", func() bool { return len(r.app.of("operator_message")) >= sessions*words })
		for session, texts := range want {
			if got := r.answers(session); !slices.Equal(got, texts) {
				t.Errorf("session %s: said %v, told %v", session, texts, got)
			}
		}
	})
}

func TestWebhookProof(t *testing.T) {
	r := newRig(t, quick())
	stores()["bolt"](t, r.env)
	r.env["API_KEY"], r.env["BIND"] = keptKey, "127.0.0.1"
	f := r.withWebhook()
	r.hooked(f)
	if code, answer := r.ask(http.MethodPost, "/api/messages", keptKey, message("mia", "m1", "hello")); code != http.StatusOK {
		t.Fatal(answer)
	}
	topic := r.one("mia")
	update := func(id int) string {
		return fmt.Sprintf(`{"update_id":%d,"message":{"message_id":%d,"date":1,"message_thread_id":%d,"is_topic_message":true,"text":"forged",
			"chat":{"id":%d,"type":"supergroup","is_forum":true},"from":{"id":%d,"first_name":"Ana"}}}`, id, id, topic, r.chat, r.ana.ID)
	}
	stream := r.listen(keptKey)
	knock := func(method, path string, secrets ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.process().base+path, strings.NewReader(update(900_000_000)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["X-Telegram-Bot-Api-Secret-Token"] = secrets
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode
	}
	for _, c := range []struct {
		method, path string
		secrets      []string
		want         int
	}{
		{http.MethodPost, "/webhooks/telegram", nil, http.StatusUnauthorized},
		{http.MethodPost, "/webhooks/telegram", []string{""}, http.StatusUnauthorized},
		{http.MethodPost, "/webhooks/telegram", []string{"kept"}, http.StatusUnauthorized},
		{http.MethodPost, "/webhooks/telegram", []string{keptKey}, http.StatusUnauthorized},
		{http.MethodPost, "/webhooks/telegram", []string{"x", keptHook}, http.StatusUnauthorized},
		{http.MethodGet, "/webhooks/telegram", []string{keptHook}, http.StatusMethodNotAllowed},
		{http.MethodPut, "/webhooks/telegram", []string{keptHook}, http.StatusMethodNotAllowed},
		{http.MethodPost, "/webhooks/discord", []string{keptHook}, http.StatusNotFound},
		{http.MethodPost, "/webhooks", []string{keptHook}, http.StatusNotFound},
	} {
		if got := knock(c.method, c.path, c.secrets...); got != c.want {
			t.Errorf("%s %s with %q: %d, want %d", c.method, c.path, c.secrets, got, c.want)
		}
	}
	r.telegram.Say(r.chat, topic, r.ana.ID, "genuine")
	r.until("heard: the genuine one", func() bool { return strings.Contains(stream.heard(), "genuine") })
	if strings.Contains(stream.heard(), "forged") {
		t.Errorf("the stream tells of what was not proved:\n%s", stream.heard())
	}
	if got := knock(http.MethodPost, "/webhooks/telegram", keptHook); got != http.StatusOK {
		t.Errorf("with the secret: %d", got)
	}
	r.until("heard: what has the proof", func() bool { return strings.Contains(stream.heard(), "forged") })

	// Without a secret there is no such path.
	r.process().Exit()
	delete(r.env, "TELEGRAM_WEBHOOK_SECRET")
	r.start()
	for _, secrets := range [][]string{nil, {""}, {keptHook}} {
		if got := knock(http.MethodPost, "/webhooks/telegram", secrets...); got != http.StatusNotFound {
			t.Errorf("not configured: %d", got)
		}
	}
}

// Of several bridges on one Redis any may be sent an update, also one that delivers nothing itself: it looks for a thread that
// another is about to record, and what it takes is in order.
func TestWebhookAtAnyBridge(t *testing.T) {
	t.Parallel() // on Redis it waits most of the time, for a killed bridge's leases to end
	r := newRig(t, quick())
	stores()["redis"](t, r.env)
	f := r.withWebhook()
	owner := r.hooked(f)
	other := r.launch()
	t.Cleanup(other.Kill)
	f.target.Store(other)

	answered, held := make(chan struct{}), make(chan int, 1)
	r.telegram.Next("createForumTopic", telegram.Action{HoldAnswer: answered})
	var once sync.Once
	r.telegram.Observe(func(s telegram.Stage, c telegram.Call) {
		if s == telegram.Processed && c.Method == "createForumTopic" {
			once.Do(func() { held <- r.telegram.Topics(r.chat)[0].ID })
		}
	})
	r.must("/api/messages", message("mia", "m1", "hello"))
	topic := <-held
	r.telegram.Say(r.chat, topic, r.ana.ID, "before the bridge knows of the topic")
	r.until("passed on: the update", func() bool { return f.passed.Load() >= 2 }) // the first tells of the topic itself
	<-time.After(300 * time.Millisecond)                                          // for it to be looked up in vain; no assertion depends on it
	close(answered)
	r.until("told: the early word", func() bool { return len(r.answers("mia")) == 1 })

	// What is nobody's is waited for once.
	r.telegram.Say(r.chat, 0, r.ana.ID, "among us")
	r.until("taken: what is nobody's", func() bool { return r.telegram.Pending() == 0 })
	began := time.Now()
	for n := range 20 {
		r.telegram.Say(r.chat, 0, r.ana.ID, "among us")
		r.telegram.Say(r.chat, topic, r.ana.ID, strconv.Itoa(n))
	}
	r.until("told: twenty more", func() bool { return len(r.answers("mia")) == 21 })
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("talk of the operators' own held visitors up: %v", took)
	}
	for n, text := range r.answers("mia")[1:] {
		if text != strconv.Itoa(n) {
			t.Errorf("%q is told in place %d", text, n)
		}
	}
	if n := len(r.app.of("operator_message")); n != 21 {
		t.Errorf("%d operator's messages", n)
	}

	// The owner goes; the other one takes all over.
	owner.Kill()
	r.telegram.Say(r.chat, topic, r.ana.ID, "last")
	r.until("told: the last", func() bool { return len(r.answers("mia")) == 22 })
	r.mu.Lock()
	r.proc = other
	r.mu.Unlock()
	r.must("/api/messages", message("mia", "m2", "bye"))
	r.until("shown: the visitor's last", func() bool { return slices.Equal(r.shown(topic), []string{"hello", "bye"}) })
}

// startInside runs the bridge in the test's own process, with settings that no variable has.
func (r *rig) startInside(change func(*Config)) {
	r.t.Helper()
	c, err := loadConfig(func(name string) string { return r.env[name] }, os.ReadFile)
	if err != nil {
		r.t.Fatal(err)
	}
	change(&c)
	ctx, stop := context.WithCancel(context.Background())
	p := &proc{Process: program.Inside(func(out io.Writer) {
		if err := serveConfig(ctx, c, out); err != nil {
			r.t.Errorf("the bridge ended: %v", err)
		}
	}, program.Listens)}
	if p.Ready == "" {
		r.t.Fatal("the bridge ended at its start")
	}
	p.base = "http://" + p.Ready
	r.mu.Lock()
	r.proc = p
	r.mu.Unlock()
	r.t.Cleanup(func() {
		stop()
		<-p.Ended
		r.mu.Lock()
		defer r.mu.Unlock()
		r.proc = nil // the rig would kill it
	})
}

// texts returns the visitor's texts in all topics of a session and, where the chat has none, in the chat.
func (r *rig) texts(session string) []string {
	topics := r.topics(session)
	if len(topics) == 0 {
		// Beside what operators are told of the platform.
		return slices.DeleteFunc(r.shown(0), func(text string) bool { return strings.Contains(text, "Telegram lets the bridge open") })
	}
	var out []string
	for _, topic := range topics {
		out = append(out, r.shown(topic.ID)...)
	}
	return out
}

// lines returns the log's lines that hold all the texts.
func (p *proc) lines(texts ...string) []string {
	var out []string
	for line := range strings.Lines(p.Output()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			out = append(out, line)
		}
	}
	return out
}

// TestTelegramFaults has everything that is known to go wrong with Telegram happen to the real program, between a visitor's
// first message and the second. What is asked for is that the second arrives, and the third behind it.
func TestTelegramFaults(t *testing.T) {
	t.Parallel()
	type row struct {
		name    string
		options telegram.Options
		inside  bool                    // in the test's own process, with a short time-out
		slow    bool                    // it waits for the next probe of a lane that is held
		spoil   func(r *rig, topic int) // what goes wrong, after the first message
		second  string                  // the second message; empty: a plain one
		says    []string                // what a line of the log holds, once
		ready   string                  // what /readyz?verbose tells meanwhile
		mend    func(r *rig)            // puts it right, once that was said
		want    []string                // what the topics show in the end; nil: all three
		check   func(r *rig, t *testing.T)
	}
	next := func(method string, a telegram.Action) func(*rig, int) {
		return func(r *rig, _ int) { r.telegram.Next(method, a) }
	}
	gone := func(says telegram.Gone) func(*rig, int) {
		return func(r *rig, topic int) { r.telegram.DeleteTopic(r.chat, topic, says) }
	}
	closed := func(r *rig, topic int) { r.telegram.CloseTopic(r.chat, topic, r.ana.ID) }
	rights := func(b telegram.BotRights) func(*rig) { return func(r *rig) { r.telegram.SetBot(r.chat, b) } }
	all := telegram.BotRights{Status: telegram.Administrator, ManageTopics: true, DeleteMessages: true}
	later := []string{"second", "third"}
	long := strings.Repeat("😀", bridge.MaxShown)
	failed := func(texts ...string) []string {
		return append([]string{`msg="an attempt failed"`, "lane=telegram"}, texts...)
	}
	isOpen := func(r *rig, t *testing.T) {
		if topics := r.topics("mia"); len(topics) != 1 || topics[0].Closed {
			t.Errorf("topics %+v", topics)
		}
	}
	rows := []row{
		{name: "kicked", slow: true, spoil: func(r *rig, _ int) { rights(telegram.BotRights{Status: telegram.Kicked})(r) },
			says:  failed("level=ERROR", "reason=auth", "403 Forbidden: bot was kicked", "add the bot to the operators' chat again"),
			ready: "add the bot to the operators' chat again", mend: rights(all)},
		{name: "token revoked", slow: true, spoil: func(r *rig, _ int) { r.telegram.Revoke() },
			says:  failed("level=ERROR", "reason=auth", "401 Unauthorized", "check TELEGRAM_BOT_TOKEN"),
			ready: "check TELEGRAM_BOT_TOKEN", mend: func(r *rig) { r.telegram.Restore() }},
		{name: "no right to make topics", slow: true, spoil: func(r *rig, topic int) {
			r.telegram.DeleteTopic(r.chat, topic, telegram.GoneNotFound)
			rights(telegram.BotRights{Status: telegram.Administrator})(r)
		}, says: failed("level=ERROR", "reason=auth", "op=createForumTopic", "can_manage_topics"), ready: "can_manage_topics",
			mend: rights(all), want: later},
		{name: "no right to write", slow: true, options: telegram.Options{ReadsAll: true},
			spoil: func(r *rig, _ int) { rights(telegram.BotRights{Status: telegram.Member, Muted: true})(r) },
			says:  failed("level=ERROR", "reason=auth", "can_send_messages"), ready: "can_send_messages", mend: rights(all)},

		{name: "topic deleted", spoil: gone(telegram.GoneNotFound), says: failed("reason=thread_gone", "message thread not found"), want: later},
		{name: "topic deleted, in capitals", spoil: gone(telegram.GoneDeleted), says: failed("reason=thread_gone", "TOPIC_DELETED"), want: later},
		{name: "topic deleted in silence", spoil: gone(telegram.GoneSilent), says: failed("reason=thread_gone", "landed outside"), want: later},
		{name: "topic closed", options: telegram.Options{RefuseClosed: true}, spoil: closed, says: failed("reason=closed", "TOPIC_CLOSED"), check: isOpen},
		{name: "topic closed, to an administrator", spoil: closed},
		{name: "another poller", spoil: func(r *rig, _ int) {
			var stopped atomic.Bool
			r.telegram.On("getUpdates", func(telegram.Call) telegram.Action {
				if stopped.Load() {
					return telegram.Action{}
				}
				if r.process().says("another program receives updates") {
					stopped.Store(true)
				}
				return telegram.Fail(http.StatusConflict, "Conflict: terminated by other getUpdates request")
			})
			r.telegram.Say(r.chat, 0, r.ana.ID, "wakes the poll that waits")
		}, says: []string{"level=ERROR", "another program receives updates with this bot's token", "stop it"}, check: func(r *rig, t *testing.T) {
			r.telegram.Say(r.chat, r.one("mia"), r.ana.ID, "an answer")
			r.until("told: the answer", func() bool { return len(r.answers("mia")) == 1 })
		}},
		{name: "too many requests", spoil: next("sendMessage", telegram.FloodWait(2)), says: failed("reason=rate_limited", "retry after 2"),
			check: func(r *rig, t *testing.T) {
				var until time.Time
				for _, c := range r.telegram.Calls() {
					if c.Method == "sendMessage" && c.At.Before(until) {
						t.Errorf("a call came %v before its time", until.Sub(c.At))
					}
					if c.Code == http.StatusTooManyRequests {
						until = c.At.Add(2 * time.Second)
					}
				}
				if until.IsZero() {
					t.Error("nothing was refused")
				}
			}},
		{name: "500", spoil: next("sendMessage", telegram.Fail(500, "Internal Server Error")), says: failed("reason=transient", "500 Internal")},
		{name: "HTML, 502", spoil: next("sendMessage", telegram.Page(502)), says: failed("reason=transient", "HTTP 502")},
		{name: "HTML, 200", spoil: next("sendMessage", telegram.Page(200)), says: failed("reason=transient", "HTTP 200", "TELEGRAM_API_URL")},
		{name: "no answer", inside: true, spoil: next("sendMessage", telegram.Action{Silence: true}), says: failed("reason=unconfirmed", "time-out")},
		{name: "cut before", spoil: next("sendMessage", telegram.Action{DropBefore: true}), says: failed("reason=unconfirmed", "connection closed")},
		{name: "cut after", spoil: next("sendMessage", telegram.Action{DropAfter: true}), says: failed("reason=unconfirmed", "connection closed"),
			want: []string{"first", "second", "second", "third"}},
		{name: "unparsable", spoil: next("sendMessage", telegram.Fail(400, "Bad Request: can't parse entities: Unsupported start tag")),
			says: failed("reason=rejected", "can't parse entities", "without markup")},
		{name: "too long", second: long, want: []string{"first", long, "third"}},
		{name: "no answer to a topic", spoil: func(r *rig, topic int) {
			gone(telegram.GoneNotFound)(r, topic)
			r.telegram.Next("createForumTopic", telegram.Action{DropAfter: true})
		}, says: failed("reason=unconfirmed", "op=createForumTopic"), want: later},
	}
	var running sync.WaitGroup
	few := make(chan struct{}, 4) // starts at a time; most of the rest is waiting, so t.Parallel would be slow
	for _, row := range rows {
		running.Go(func() {
			if !row.slow {
				few <- struct{}{}
				defer func() { <-few }()
			}
			t.Run(row.name, func(t *testing.T) {
				r := newRig(t, row.options)
				stores()["bolt"](t, r.env)
				if row.inside {
					r.startInside(func(c *Config) { c.Telegram.Timeout = 2 * time.Second })
				} else {
					r.start()
				}
				p := r.process()
				r.must("/api/messages", message("mia", "m1", "first"))
				topic := r.one("mia")
				if row.spoil != nil {
					row.spoil(r, topic)
				}
				second := row.second
				if second == "" {
					second = "second"
				}
				r.must("/api/messages", message("mia", "m2", second))
				if row.says != nil {
					r.until("said: what is wrong", func() bool { return p.says(row.says...) })
				}
				if row.ready != "" {
					r.until("told to who asks: what is wrong", func() bool {
						_, answer := r.ask(http.MethodGet, "/readyz?verbose", "", "")
						held := strings.Contains(answer, `"paused"`) || strings.Contains(answer, `"refused"`)
						return held && strings.Contains(answer, row.ready)
					})
				}
				r.must("/api/messages", message("mia", "m3", "third"))
				if row.mend != nil {
					if slices.Contains(r.texts("mia"), "third") {
						t.Error("the third message did not wait")
					}
					row.mend(r)
				}
				want := row.want
				if want == nil {
					want = []string{"first", "second", "third"}
				}
				whole := strings.Join(want, "")
				shown := func() []string {
					if row.inside { // with a time-out as short as the row's, a slow machine loses other answers, and shows those twice
						return slices.Compact(r.texts("mia"))
					}
					return r.texts("mia")
				}
				r.until("shown: all", func() bool { return len(strings.Join(shown(), "")) >= len(whole) })
				if got := shown(); strings.Join(got, "") != whole {
					t.Errorf("shown %q, want %q", got, want)
				}
				r.until("told: that all are there", func() bool { return len(r.app.of("message_delivered")) == 3 })
				// With a time-out as short as the row's, a slow machine may lose another answer.
				if n := len(p.lines(row.says...)); row.says != nil && (n == 0 || n > 1 && !row.inside) {
					t.Errorf("said %d times:\n%s", n, p.Output())
				}
				if row.check != nil {
					row.check(r, t)
				}
			})
		})
	}
	running.Wait()
}

// inChat has the rig's bridge work in a chat of another kind.
func (r *rig) inChat(kind telegram.Kind) {
	r.chat = r.telegram.AddChat(telegram.Chat{Kind: kind})
	r.env["TELEGRAM_CHAT_ID"] = strconv.FormatInt(r.chat, 10)
}

// A visitor's reply to an operator's message that was deleted by hand is shown without the reply.
func TestReplyToWhatIsGone(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.start()
	r.must("/api/messages", message("mia", "m1", "hello"))
	topic := r.one("mia")
	var said []telegram.Message
	for _, text := range []string{"to stay", "to go"} {
		said = append(said, r.telegram.Say(r.chat, topic, r.ana.ID, text))
	}
	r.until("told: both", func() bool { return len(r.answers("mia")) == 2 })
	r.telegram.Remove(said[1])
	for i, m := range said {
		r.must("/api/messages", fmt.Sprintf(`{"message":{"id":"r%d","sessionId":"mia","content":"reply %d","sender":"visitor","replyTo":"telegram:%d"},
			"session":{"id":"mia","visitorId":"mia"}}`, i, i, m.ID))
	}
	r.until("shown: the replies", func() bool { return slices.Equal(r.shown(topic), []string{"hello", "reply 0", "reply 1"}) })
	messages := r.telegram.Messages(r.chat, topic)
	if a, b := messages[len(messages)-2], messages[len(messages)-1]; a.ReplyTo != said[0].ID || b.ReplyTo != 0 {
		t.Errorf("the replies are to %d and %d", a.ReplyTo, b.ReplyTo)
	}
}

// A basic group becomes a supergroup: it is followed, that is kept, and the numbers of its messages, which start anew, are not
// taken for those of before.
func TestGroupMoves(t *testing.T) {
	t.Parallel() // on Redis it waits most of the time, for a killed bridge's leases to end
	onStores(t, func(t *testing.T, r *rig) {
		r.inChat(telegram.Group)
		old := r.chat
		r.start()
		sessions := []string{"amy", "bob", "cleo"}
		for i, session := range sessions {
			r.must("/api/messages", message(session, "m1", session+" before"))
			r.until("shown: "+session, func() bool { return len(r.shown(0)) == i+1 })
		}
		shown := func(chat int64, text string) *telegram.Message {
			for _, m := range r.telegram.Messages(chat, 0) {
				if m.Own && (strings.HasSuffix(m.Text, text) || strings.HasPrefix(m.Text, text)) {
					return &m
				}
			}
			return nil
		}
		r.telegram.Reply(*shown(old, "bob before"), r.ana.ID, "to bob, before")
		r.until("told: bob", func() bool { return len(r.answers("bob")) == 1 })
		for n := range 30 { // so that the numbers of the new chat have all been there before
			r.must("/api/messages", message("amy", fmt.Sprint("old", n), fmt.Sprint("amy, old ", n)))
		}
		r.until("shown: the last before", func() bool { return shown(old, "amy, old 29") != nil })

		r.chat = r.telegram.Upgrade(old)
		for _, session := range slices.Backward(sessions) {
			r.must("/api/messages", message(session, "m2", session+" after"))
			r.until("shown there: "+session, func() bool { return shown(r.chat, session+" after") != nil })
		}
		if !r.process().says("level=WARN", "set TELEGRAM_CHAT_ID to it") {
			t.Error("the new id is not said")
		}
		// A reply to what is no visitor's message is nobody's, and a visitor's reply to what is in the old chat is none here.
		r.telegram.Say(r.chat, 0, r.ana.ID, "/id")
		r.until("answered: the operator", func() bool { return shown(r.chat, "You are Ana.") != nil })
		r.telegram.Reply(*shown(r.chat, "You are Ana."), r.ana.ID, "to nobody")
		r.until("taken: what is nobody's", func() bool { return shown(r.chat, "so that I know who it is for.") != nil })
		r.must("/api/messages", fmt.Sprintf(`{"message":{"id":"r1","sessionId":"bob","content":"bob replies","sender":"visitor","replyTo":%q},
			"session":{"id":"bob","visitorId":"bob"}}`, r.app.of("operator_message")[0].MessageID))
		r.until("shown: the reply", func() bool { return shown(r.chat, "bob replies") != nil })
		if to := shown(r.chat, "bob replies").ReplyTo; to != 0 {
			t.Errorf("the visitor's reply is to %d", to)
		}
		var calls int
		for round := range 2 {
			for _, session := range sessions {
				r.telegram.Reply(*shown(r.chat, session+" after"), r.ana.ID, fmt.Sprint("to ", session, ", after, ", round))
			}
			for _, session := range sessions {
				r.until("told: "+session, func() bool {
					got := r.answers(session)
					return len(got) > 0 && got[len(got)-1] == fmt.Sprint("to ", session, ", after, ", round)
				})
			}
			if round == 1 {
				break
			}
			r.process().Kill()
			calls = len(r.telegram.Calls())
			r.start()
			r.must("/api/messages", message("bob", "m3", "bob once more"))
			r.until("shown there after a restart", func() bool { return shown(r.chat, "bob once more") != nil })
		}
		for _, c := range r.telegram.Calls()[calls:] {
			if c.Chat == old && !strings.HasPrefix(c.Method, "getChat") { // a start looks at the chat that is configured
				t.Errorf("after the restart %s is called for the old chat", c.Method)
			}
		}
		if n := len(r.app.of("operator_message")); n != 1+2*len(sessions) {
			t.Errorf("%d operator's messages were told", n)
		}
		ids := map[string]bool{}
		for _, e := range r.app.of("operator_message") {
			if ids[e.MessageID] {
				t.Errorf("two messages are called %s", e.MessageID)
			}
			ids[e.MessageID] = true
		}
	})
}

// count returns how many events of a type arrived, without those that arrived again.
func (a *app) count(kind string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for i := range a.got {
		if a.got[i].Type == kind {
			n++
		}
	}
	return n
}

// Operators clear up while visitors write: ten topics are deleted, ten closed. Every message is taken by a topic of its session,
// and what is accepted after the deletion by the new one.
func TestTopicsDeletedAndClosedByHand(t *testing.T) {
	onStoresWith(t, telegram.Options{RefuseClosed: true}, func(t *testing.T, r *rig) {
		const sessions, words, touched = 200, 4, 10
		r.start()
		name := func(s int) string { return fmt.Sprint("v", s) }
		send := func(s, n int) {
			r.must("/api/messages", message(name(s), fmt.Sprint("m", n), strconv.Itoa(n)))
		}
		var wg sync.WaitGroup
		for s := range sessions {
			wg.Go(func() { send(s, 0) })
		}
		wg.Wait()
		r.until("open: all topics", func() bool {
			return r.app.count("message_delivered") == sessions
		})
		first := map[string]int{}
		for _, topic := range r.telegram.Topics(r.chat) {
			first[topic.Name] = topic.ID
		}
		if len(first) != sessions {
			t.Fatalf("%d topics", len(first))
		}

		var mu sync.Mutex
		deleted := map[int]time.Time{} // session → when its topic was deleted
		firstAfter := map[int]int{}    // session → the first message that was sent after it
		half := make(chan struct{}, sessions)
		for s := range sessions {
			wg.Go(func() {
				for n := 1; n <= words; n++ {
					mu.Lock()
					if _, is := deleted[s]; is && firstAfter[s] == 0 {
						firstAfter[s] = n
					}
					mu.Unlock()
					send(s, n)
					if n == words/3 {
						half <- struct{}{}
					}
				}
			})
		}
		for range sessions / 4 {
			<-half
		}
		kinds := []telegram.Gone{telegram.GoneNotFound, telegram.GoneDeleted, telegram.GoneSilent}
		for s := range touched {
			r.telegram.DeleteTopic(r.chat, first[name(s)], kinds[s%len(kinds)])
			mu.Lock()
			deleted[s] = time.Now()
			mu.Unlock()
			r.telegram.CloseTopic(r.chat, first[name(touched+s)], r.ana.ID)
		}
		wg.Wait()
		for s := range 2 * touched {
			send(s, words+1) // some have sent all theirs before
			if s < touched && firstAfter[s] == 0 {
				firstAfter[s] = words + 1
			}
		}
		r.until("told: that all are there", func() bool {
			return r.app.count("message_delivered") == sessions*(words+1)+2*touched
		})
		if n := len(r.app.of("message_failed")); n > 0 {
			t.Errorf("%d messages failed", n)
		}

		took := map[string][]string{} // session → what its first topic took while it was there
		for _, c := range r.telegram.Calls() {
			if c.Method != "sendMessage" || c.Code != http.StatusOK {
				continue
			}
			lines := strings.Split(c.Text, "\n")
			for session, topic := range first {
				if topic == c.Topic {
					took[session] = append(took[session], lines[len(lines)-1])
				}
			}
		}
		for s := range sessions {
			topics := r.topics(name(s))
			if len(topics) != 1 {
				t.Errorf("session %d has %d topics", s, len(topics))
				continue
			}
			count := words + 1
			if s < 2*touched {
				count++
			}
			shown := r.shown(topics[0].ID)
			if s >= touched {
				if topics[0].ID != first[name(s)] || topics[0].Closed || len(shown) != count {
					t.Errorf("session %d: %+v shows %q", s, topics[0], shown)
				}
				for n, text := range shown {
					if text != strconv.Itoa(n) {
						t.Errorf("session %d shows %q in place %d", s, text, n)
					}
				}
				continue
			}
			// The new topic begins somewhere before the first message after the deletion, and has all from there on.
			if topics[0].ID == first[name(s)] || len(shown) == 0 {
				t.Errorf("session %d: %+v shows %q", s, topics[0], shown)
				continue
			}
			begin, err := strconv.Atoi(shown[0])
			if err != nil || begin > firstAfter[s] || len(shown) != count-begin {
				t.Errorf("session %d shows %q; the first after the deletion is %d", s, shown, firstAfter[s])
			}
			for i, text := range shown {
				if text != strconv.Itoa(begin+i) {
					t.Errorf("session %d shows %q in place %d", s, text, i)
				}
			}
			for n := range begin {
				if !slices.Contains(took[name(s)], strconv.Itoa(n)) {
					t.Errorf("session %d: message %d was taken by no topic", s, n)
				}
			}
		}
	})
}
