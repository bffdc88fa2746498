//go:build clients

package contract

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// hung only ends a test that hangs.
const hung = 3 * time.Minute

// until waits for a condition.
func until(t *testing.T, what string, said func() string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not %s in time\n%s", what, said())
		}
	}
}

// start starts a program and waits for a line that has the words.
func start(t *testing.T, ready string, env []string, dir string, args ...string) *program.Process {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append([]string{"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0 exitcode=66"}, env...)
	p := program.Start(t, cmd, regexp.MustCompile(regexp.QuoteMeta(ready)), hung)
	t.Cleanup(p.Kill)
	if p.Ready == "" {
		t.Fatalf("%s ended at its start:\n%s", args[0], p.Output())
	}
	return p
}

// programs are what is built once.
type programs struct {
	bridge string
	apps   map[string][]string // client → command
}

func build(t *testing.T, clients ...string) programs {
	t.Helper()
	dir := t.TempDir()
	p := programs{bridge: filepath.Join(dir, "bridge"), apps: map[string][]string{}}
	compile := func(in string, args ...string) {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Dir = in
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %v: %v\n%s", args, err, out)
		}
	}
	compile("../..", "-o", p.bridge, "./cmd/bridge")
	for _, client := range clients {
		switch client {
		case "go":
			app := filepath.Join(dir, "app")
			args := []string{"-o", app, "./internal/testapp"}
			if os.Getenv("NO_RACE") == "" {
				args = append([]string{"-race"}, args...)
			}
			compile("../go", args...)
			p.apps[client] = []string{app}
		case "example go":
			app := filepath.Join(dir, "example")
			compile("../../examples/go", "-o", app, ".")
			p.apps[client] = []string{app}
		case "node":
			script, err := filepath.Abs("../node/test/app.mjs")
			if err != nil {
				t.Fatal(err)
			}
			p.apps[client] = []string{"node", script}
		default:
			t.Fatalf("CLIENTS names %q; it names go, node or both, such as CLIENTS=go,node", client)
		}
	}
	return p
}

// rig is a bridge with its surroundings.
type rig struct {
	t        *testing.T
	programs programs
	command  []string // of the app
	env      []string // of the bridge
	port     string
	bridge   *program.Process
	proxy    *proxy
	telegram *telegram.Server
	chat     int64
	ana      int64
	discord  *discord.Server
	channel  string
	ben      string
	slack    *slack.Server // only of the examples
	room     string
	cleo     string
}

const apiKey = "a-key-for-the-contract-cases"

func newRig(t *testing.T, p programs, client string) *rig {
	t.Helper()
	r := &rig{t: t, programs: p, command: p.apps[client], port: program.FreePort(t), telegram: telegram.New(telegram.Options{}), discord: discord.New(discord.Options{})}
	tg, err := r.telegram.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	dc, err := r.discord.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.telegram.Close)
	t.Cleanup(r.discord.Close)
	r.chat = r.telegram.AddChat(telegram.Chat{Kind: telegram.Forum})
	r.ana = r.telegram.AddUser(telegram.User{FirstName: "Ana"}).ID
	r.channel = r.discord.AddChannel(discord.Channel{Kind: discord.Text})
	r.ben = r.discord.AddUser(discord.User{Name: "ben", Display: "Ben"}).ID
	r.env = []string{
		"PORT=" + r.port, "BIND=127.0.0.1", "PUBLIC_URL=http://127.0.0.1:" + r.port, "API_KEY=" + apiKey, "DATA_DIR=" + t.TempDir(), "OPEN_THREAD=message", "LOG_LEVEL=warn",
		"ALLOW_PRIVATE_CALLBACKS=on",
		"TELEGRAM_BOT_TOKEN=" + r.telegram.Token(), "TELEGRAM_CHAT_ID=" + strconv.FormatInt(r.chat, 10), "TELEGRAM_API_URL=" + tg,
		"TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off",
		"DISCORD_BOT_TOKEN=" + r.discord.Token(), "DISCORD_CHANNEL_ID=" + r.channel, "DISCORD_API_URL=" + dc, "DISCORD_RATE=off",
	}
	r.proxy = newProxy(t, "127.0.0.1:"+r.port)
	return r
}

// addSlack gives the bridge a third platform.
func (r *rig) addSlack() {
	r.t.Helper()
	r.slack = slack.New(slack.Options{})
	base, err := r.slack.Listen(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.slack.Close)
	r.cleo = r.slack.AddUser(slack.User{Name: "cleo", RealName: "Cleo"}).ID
	r.room = r.slack.AddChannel(slack.Channel{})
	r.env = append(r.env, "SLACK_BOT_TOKEN="+r.slack.BotToken(), "SLACK_CHANNEL_ID="+r.room, "SLACK_API_URL="+base+"/api/",
		"SLACK_APP_TOKEN="+r.slack.AppToken(), "SLACK_RATE=off")
}

func (r *rig) startBridge() {
	r.t.Helper()
	env := append(r.env, "LOG_LEVEL=info")
	r.bridge = start(r.t, "the bridge listens", env, r.t.TempDir(), r.programs.bridge)
}

// request is an event on its way from the app to the bridge, as the proxy between them saw it.
type request struct {
	Event     map[string]any
	Key       string
	Protocol  string
	Status    int // 0: no answer
	Duplicate bool
	At        time.Time
}

// proxy stands between the app and the bridge, notes what passes, and can fail.
type proxy struct {
	url  string
	to   string
	mu   sync.Mutex
	all  []request
	away bool // nobody is there
	lost bool // answers to events do not come back
	open map[net.Conn]struct{}
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	p := &proxy{to: to, open: make(map[net.Conn]struct{})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "http://" + ln.Addr().String()
	srv := &http.Server{Handler: p, ReadHeaderTimeout: hung, ConnState: func(c net.Conn, s http.ConnState) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch s {
		case http.StateNew:
			p.open[c] = struct{}{}
			if p.away {
				_ = c.Close()
			}
		case http.StateClosed, http.StateHijacked:
			delete(p.open, c)
		}
	}}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	return p
}

func (p *proxy) set(away, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away, p.lost = away, lost
	if away {
		for c := range p.open {
			_ = c.Close()
		}
	}
}

// drop closes the connection, as a server does that dies.
func drop(w http.ResponseWriter) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = c.Close()
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	out, _ := http.NewRequestWithContext(r.Context(), r.Method, "http://"+p.to+r.URL.RequestURI(), bytes.NewReader(body))
	out.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(out)
	note := request{Key: r.Header.Get("Idempotency-Key"), Protocol: r.Header.Get("X-PocketPing-Protocol"), At: time.Now()}
	event := r.URL.Path == "/api/events" && json.Unmarshal(body, &note.Event) == nil
	if err != nil {
		if event {
			p.note(note)
		}
		drop(w)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if event {
		answer, _ := io.ReadAll(resp.Body)
		var told struct{ Duplicate bool }
		_ = json.Unmarshal(answer, &told)
		note.Status, note.Duplicate = resp.StatusCode, told.Duplicate
		p.note(note)
		p.mu.Lock()
		lost := p.lost
		p.mu.Unlock()
		if lost {
			drop(w)
			return
		}
		resp.Body = io.NopCloser(bytes.NewReader(answer))
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	part := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(part)
		if n > 0 {
			if _, werr := w.Write(part[:n]); werr != nil {
				return
			}
			_ = flush.Flush()
		}
		if err != nil {
			if err != io.EOF {
				panic(http.ErrAbortHandler) // what was begun ends as abruptly here
			}
			return
		}
	}
}

func (p *proxy) note(r request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, r)
}

// accepted are the events of a session that the bridge took, each once, in order. One whose answer was lost on the way is a duplicate when
// it is answered.
func (p *proxy) accepted(session string) []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []map[string]any
	answered := map[string]bool{}
	for _, r := range p.all {
		if r.Status != http.StatusOK || sessionOf(r.Event) != session || answered[r.Key] || r.Key == "" && r.Duplicate {
			continue
		}
		answered[r.Key] = r.Key != ""
		out = append(out, r.Event)
	}
	return out
}

func sessionOf(event map[string]any) string {
	if id, ok := event["sessionId"].(string); ok {
		return id
	}
	s, _ := event["session"].(map[string]any)
	id, _ := s["id"].(string)
	return id
}

// page is a visitor's page: its stream of events.
type page struct {
	mu     sync.Mutex
	frames []map[string]any
	end    context.CancelFunc
	open   chan struct{}
}

func openPage(t *testing.T, app, session string) *page {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &page{end: cancel, open: make(chan struct{})}
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, app+"/pocketping/stream?sessionId="+session, nil)
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the page's stream is answered with %d", resp.StatusCode)
	}
	go func() {
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if lines.Text() == ": open" {
				close(p.open)
			}
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			var frame map[string]any
			if ok && json.Unmarshal([]byte(data), &frame) == nil {
				p.mu.Lock()
				p.frames = append(p.frames, frame)
				p.mu.Unlock()
			}
		}
	}()
	<-p.open
	return p
}

func (p *page) seen() []map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]map[string]any(nil), p.frames...)
}

func pretty(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// has says whether a value has all that is wanted: maps may have more, lists may not. "$any" is anything that is there.
func has(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range want {
			if value == nil && g[name] == nil {
				continue
			}
			if !has(g[name], value) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return false
		}
		for i := range want {
			if !has(g[i], want[i]) {
				return false
			}
		}
		return true
	case string:
		if want == "$any" {
			return got != nil
		}
		if part, ok := strings.CutPrefix(want, "~"); ok {
			return strings.Contains(fmt.Sprint(got), part)
		}
	}
	return got == want
}
