package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// asBridge in the environment makes the test's own program the bridge: what the tests run is the real program.
const asBridge = "BRIDGE_TEST_RUN_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asBridge) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := untilAsked()
	defer stop()
	if patience := os.Getenv(filesIn); patience != "" && len(os.Args) == 1 {
		os.Exit(servePatiently(ctx, patience))
	}
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr, asBridge+"=1"))
}

// filesIn in the environment is how long that program's texts wait for their files. On a busy machine these take longer than people are
// kept waiting, and then come behind their texts.
const filesIn = "BRIDGE_TEST_FILES_IN"

func servePatiently(ctx context.Context, patience string) int {
	c, err := loadConfig(os.Getenv, os.ReadFile)
	if err == nil {
		c.filesIn, err = time.ParseDuration(patience)
	}
	if err == nil {
		tune(ctx, os.Getenv)
		err = serveConfig(ctx, c, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bridge:", err)
		return 1
	}
	return 0
}

// hung ends a test in which nothing has happened for so long.
const hung = 2 * time.Minute

// rig is the bridge with everything around it: a stand-in for Telegram with a forum, an app server, and a store.
type rig struct {
	t           *testing.T
	telegram    *telegram.Server
	telegramURL string
	chat        int64
	ana         telegram.User
	boards      []board // the platforms that the bridge is told of; Telegram, unless use says otherwise
	app         *app
	env         map[string]string
	client      *http.Client

	mu     sync.Mutex
	proc   *proc
	others []*proc // further bridges on the same store, which take requests by turns with proc
	turn   int
	marks  int // messages by which allLooked knows how far the lanes are
}

// stores are what every end-to-end test runs on.
func stores() map[string]func(t *testing.T, env map[string]string) {
	return map[string]func(*testing.T, map[string]string){
		"bolt": func(t *testing.T, env map[string]string) { env["DATA_DIR"] = t.TempDir() },
		"redis": func(t *testing.T, env map[string]string) {
			env["REDIS_URL"] = redistest.Start(t).URL()
		},
	}
}

// onStores runs a test on each store, with Telegram or with the named boards.
func onStores(t *testing.T, test func(t *testing.T, r *rig), on ...string) {
	for _, name := range []string{"bolt", "redis"} {
		onStore(t, name, test, on...)
	}
}

func onStore(t *testing.T, name string, test func(t *testing.T, r *rig), on ...string) {
	t.Run(name, func(t *testing.T) {
		var r *rig
		if r = newRig(t); len(on) > 0 {
			r.use(on...)
		}
		stores()[name](t, r.env)
		test(t, r)
	})
}

// newRig makes a rig; its stand-in for Telegram can be given options.
func newRig(t *testing.T, options ...telegram.Options) *rig {
	t.Helper()
	r := &rig{
		t: t, telegram: telegram.New(append(options, telegram.Options{})[0]), app: newApp(t),
		client: &http.Client{Timeout: hung, Transport: &http.Transport{MaxIdleConnsPerHost: 128}},
	}
	base, err := r.telegram.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	r.chat = r.telegram.AddChat(telegram.Chat{Kind: telegram.Forum})
	r.ana = r.telegram.AddUser(telegram.User{FirstName: "Ana"})
	r.telegramURL = base
	r.env = r.telegramEnv()
	r.boards = []board{telegramBoard{r}}
	for name, value := range map[string]string{
		"PORT": "0", "LOG_LEVEL": "info", "OPEN_THREAD": "message", "BACKEND_WEBHOOK_URL": r.app.url + "/callback",
		"BACKEND_WEBHOOK_EVENTS": "all", "UNANSWERED_AFTER": "off", // a busy machine takes more than its five minutes
		filesIn: "1m",
	} {
		r.env[name] = value
	}
	t.Cleanup(func() {
		for _, p := range r.processes() {
			p.Kill()
		}
		r.telegram.Close()
		r.telegram.FailOnFaults(t)
	})
	return r
}

// telegramEnv is what the bridge has to be told of the stand-in for Telegram.
func (r *rig) telegramEnv() map[string]string {
	return map[string]string{
		"TELEGRAM_BOT_TOKEN": r.telegram.Token(), "TELEGRAM_CHAT_ID": strconv.FormatInt(r.chat, 10),
		"TELEGRAM_API_URL": r.telegramURL, "TELEGRAM_RATE": "off", "TELEGRAM_GLOBAL_RATE": "off",
	}
}

// proc is one run of the program.
type proc struct {
	*program.Process
	base string // empty: it ended before it served
}

// launch starts the program with the rig's environment, and returns when it listens or has ended.
func (r *rig) launch(args ...string) *proc {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{asBridge + "=1"}
	for name, value := range r.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	p := &proc{Process: program.Start(r.t, cmd, program.Listens, hung)}
	if p.Ready != "" {
		p.base = "http://" + p.Ready
	}
	return p
}

// start starts the bridge, or starts it again.
func (r *rig) start() *proc {
	r.t.Helper()
	p := r.launch()
	if p.base == "" {
		r.t.Fatalf("the bridge ended at its start:\n%s", p.Output())
	}
	for _, b := range r.boards {
		if f, ok := b.(follower); ok {
			f.follow(r.t, p.base)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proc = p
	return p
}

// processes returns all bridges of the rig.
func (r *rig) processes() []*proc {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proc == nil {
		return nil
	}
	return append([]*proc{r.proc}, r.others...)
}

// next returns the bridge whose turn it is to take a request.
func (r *rig) next() *proc {
	all := r.processes()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	return all[r.turn%len(all)]
}

func (r *rig) process() *proc {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proc
}

// accepted is the answer to an event.
type accepted struct {
	OK             bool   `json:"ok"`
	ID             string `json:"id"`
	Duplicate      bool   `json:"duplicate"`
	OperatorOnline bool   `json:"operatorOnline"`
	Error          string `json:"error"`
	Field          string `json:"field"`
}

// post sends a body to the bridge whose turn it is. A connection that ended without an answer, as one does whose request takes seconds to come on a
// busy machine, is no refusal: the body is sent again, as app servers do.
func (r *rig) post(path, body string) (code int, a accepted, err error) {
	for range 6 {
		if code, a, err = r.postTo(r.next(), path, body); !errors.Is(err, io.EOF) {
			break
		}
	}
	return code, a, err
}

func (r *rig) postTo(p *proc, path, body string) (int, accepted, error) {
	req, err := http.NewRequest(http.MethodPost, p.base+path, strings.NewReader(body))
	if err != nil {
		return 0, accepted{}, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, accepted{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, accepted{}, err
	}
	var a accepted
	err = json.Unmarshal(data, &a)
	return resp.StatusCode, a, err
}

// must sends a body and fails the test unless it is taken.
func (r *rig) must(path, body string) accepted {
	r.t.Helper()
	code, a, err := r.post(path, body)
	if err != nil || code != http.StatusOK {
		r.t.Fatalf("POST %s: %d %s %v", path, code, a.Error, err)
	}
	return a
}

func message(session, id, text string) string {
	return fmt.Sprintf(`{"message":{"id":%q,"sessionId":%q,"content":%q,"sender":"visitor"},"session":{"id":%q,"visitorId":%q}}`,
		id, session, text, session, session)
}

// topics returns the topics of a session that show something of it, oldest first.
func (r *rig) topics(session string) []telegram.Topic {
	var out []telegram.Topic
	for _, t := range r.telegram.Topics(r.chat) {
		if t.Name == session && len(r.shown(t.ID)) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// shown returns the visitor's texts that a topic shows, without the card; of a message that shows several, each.
func (r *rig) shown(topic int) []string {
	var out []string
	for _, m := range r.telegram.Messages(r.chat, topic) {
		if m.Own && m.Service == "" {
			text := m.Text
			if at := strings.Index(text, "👤 "); at >= 0 {
				if _, rest, ok := strings.Cut(text[at:], "\n\n"); ok {
					text = rest
				}
			}
			for _, s := range split([]sight{{Own: true, Text: text}}) {
				lines := strings.Split(s.Text, "\n")
				line := lines[len(lines)-1]
				if s.below {
					line = "✏️ " + line
				}
				out = append(out, line)
			}
		}
	}
	return out
}

// until waits for a condition on the stand-in or the app server.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	if !r.eventually(cond) {
		r.t.Fatalf("not %s in time; the bridge said:\n%s", what, lastLines(r.process().Output(), 60))
	}
}

// waiters is how many goroutines wait for conditions.
var waiters atomic.Int64

// eventually waits for a condition, for as long as anything goes on: a busy machine is slow, and only what stands still hangs. To look takes
// all who wait at most a fifth of a processor, since what is waited for needs it.
func (r *rig) eventually(cond func() bool) bool {
	waiters.Add(1)
	defer waiters.Add(-1)
	seen, since := r.progress(), time.Now()
	for {
		began := time.Now()
		if cond() {
			return true
		}
		select {
		case <-time.After(min(max(10*time.Millisecond, 5*time.Duration(waiters.Load())*time.Since(began)), 2*time.Second)):
		case <-r.t.Context().Done():
			return false
		}
		if now := r.progress(); now != seen {
			seen, since = now, time.Now()
		} else if time.Since(since) > hung {
			return false
		}
	}
}

// progress counts what the platforms and the app server have seen of the bridge, and what Telegram still has for it.
func (r *rig) progress() string {
	r.app.mu.Lock()
	seen := []int{len(r.app.ids), r.telegram.Pending()}
	r.app.mu.Unlock()
	for _, b := range r.boards {
		seen = append(seen, b.sent())
	}
	return fmt.Sprint(seen)
}

func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// app is an app server that takes callbacks.
type app struct {
	url string

	mu     sync.Mutex
	got    []received
	ids    map[string]int // webhook-id → how often
	before func(received) // called before the answer, without the lock
}

// received is one callback.
type received struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	SessionID string `json:"sessionId"`
	MessageID string `json:"messageId"`
	Content   string `json:"content"`
	Online    bool   `json:"online"`
	header    http.Header
	body      []byte
}

func newApp(t *testing.T) *app {
	a := &app{ids: map[string]int{}}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var e received
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	e.header, e.body = r.Header.Clone(), body
	a.mu.Lock()
	before := a.before
	a.mu.Unlock()
	if before != nil {
		before(e)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids[r.Header.Get("webhook-id")]++; a.ids[r.Header.Get("webhook-id")] == 1 {
		a.got = append(a.got, e)
	}
}

// of returns the first arrivals of a type, in their order.
func (a *app) of(kind string) []received {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.got), func(e received) bool { return e.Type != kind })
}
