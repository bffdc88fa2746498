package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// What the tests of this file give the bridge to keep to itself, besides the bot's token.
const (
	keptKey    = "kept-api-key-5d1c"
	keptOldKey = "kept-api-key-77aa"
	keptQuery  = "kept-query-91e0"
	keptSecret = "kept-webhook-secret-c3"
	keptText   = "kept-words-of-a-visitor"
	nowhere    = "http://127.0.0.1:1" // nobody listens on a port that low
)

// withSecrets gives the rig's bridge every kind of secret.
func (r *rig) withSecrets() {
	r.env["LOG_LEVEL"] = "debug"
	r.env["BIND"] = "127.0.0.1"
	r.env["API_KEY"] = keptKey + "," + keptOldKey
	r.env["BACKEND_WEBHOOK_SECRET"] = "whsec_" + base64.StdEncoding.EncodeToString([]byte(keptSecret))
	r.env["DATA_DIR"] = r.t.TempDir()
	r.withCallback(r.app.url)
}

// withCallback has the configured callback at a server, with a secret query.
func (r *rig) withCallback(base string) {
	r.env["BACKEND_WEBHOOK_URL"] = base + "/callback?key=" + keptQuery
}

// leaks returns which secrets a text holds, each with the line that holds it.
func (r *rig) leaks(text string) []string {
	_, token, _ := strings.Cut(r.telegram.Token(), ":") // without the bot's id, which is none, and the colon, which has two spellings
	secrets := map[string]string{
		"the bot token":                    token,
		"an API key":                       keptKey,
		"the other API key":                keptOldKey,
		"the callback's query":             keptQuery,
		"the callback's secret":            keptSecret,
		"the callback's secret, as base64": base64.StdEncoding.EncodeToString([]byte(keptSecret)),
		"what the visitor wrote":           keptText,
	}
	var out []string
	for line := range strings.Lines(text) {
		for what, secret := range secrets {
			if secret != "" && strings.Contains(line, secret) {
				out = append(out, what+" in: "+strings.TrimSpace(line))
			}
		}
	}
	slices.Sort(out)
	return out
}

// noLeak fails the test for each secret in a text that others can read.
func (r *rig) noLeak(where, text string) {
	r.t.Helper()
	for _, leak := range r.leaks(text) {
		r.t.Errorf("%s shows %s", where, leak)
	}
}

// ask makes a request and returns the answer's status, and all of it: headers and body.
func (r *rig) ask(method, path, key, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.process().base+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	whole, err := httputil.DumpResponse(resp, true)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(whole)
}

// listener reads a stream to its end.
type listener struct {
	mu    sync.Mutex
	text  strings.Builder
	err   error         // how it ended; nil for a proper end
	ended chan struct{} // closed then
}

func (l *listener) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// listen opens the stream of events. When it returns, what happens from then on is heard.
func (r *rig) listen(key string) *listener { r.t.Helper(); return r.listenTo(r.process(), key) }

// listenTo is listen at one of several bridges.
func (r *rig) listenTo(p *proc, key string) *listener { r.t.Helper(); return r.listenAfter(p, key, "") }

// listenAfter is listenTo behind the event that was told last.
func (r *rig) listenAfter(p *proc, key, last string) *listener {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, p.base+"/api/events/stream", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := (&http.Client{Transport: r.client.Transport}).Do(req) //nolint:bodyclose // without a time-out; the goroutine below closes it
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("the stream is answered with %d", resp.StatusCode)
	}
	l := &listener{ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		defer func() { _ = resp.Body.Close() }()
		buf := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(buf)
			l.mu.Lock()
			l.text.Write(buf[:n])
			if err != nil && err != io.EOF {
				l.err = err
			}
			l.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	r.until("open: the stream", func() bool { return strings.Contains(l.heard(), ": open") })
	return l
}

// says tells whether a line of the bridge's log holds all the texts.
func (p *proc) says(texts ...string) bool {
	for line := range strings.Lines(p.Output()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

// bothAt sends all calls, Telegram's and the callback's, to one server.
func (r *rig) bothAt(base string) {
	r.env["TELEGRAM_API_URL"] = base
	r.withCallback(base)
}

// serveRaw listens and lets answer write what it likes to each request; then the connection is closed.
func serveRaw(t *testing.T, answer func(c net.Conn, request []byte)) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				head, err := httputil.DumpRequest(req, false)
				if err == nil {
					answer(c, head)
				}
			}()
		}
	}()
	return "http://" + ln.Addr().String()
}

// No log line, no error and no answer of a run in which every call fails shows a secret, or what a visitor wrote.
func TestFailuresShowNoSecret(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		arrange  func(t *testing.T, r *rig) // makes every call fail
		telegram []string                   // the log has such a line of a call to Telegram,
		callback []string                   // and of one to the callback
		hears    string                     // the stream gets an event with this, too
	}{
		{
			name:     "connection refused",
			arrange:  func(_ *testing.T, r *rig) { r.bothAt(nowhere) },
			telegram: []string{"reason=transient", "op=createForumTopic", `detail="connection refused"`},
			callback: []string{"reason=transient", `detail="connection refused"`},
		},
		{
			name: "cut off without an answer",
			arrange: func(t *testing.T, r *rig) {
				r.telegram.On("", func(telegram.Call) telegram.Action { return telegram.Action{DropBefore: true} })
				srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
				t.Cleanup(srv.Close)
				r.withCallback(srv.URL)
			},
			telegram: []string{"reason=unconfirmed", "op=createForumTopic", `detail="connection closed without an answer"`},
			callback: []string{"reason=unconfirmed", `detail="connection closed without an answer"`},
		},
		{
			name: "redirect",
			arrange: func(t *testing.T, r *rig) {
				other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
					whole, _ := httputil.DumpRequest(req, true)
					t.Errorf("the server redirected to got:\n%s", whole)
					r.noLeak("a redirected request", string(whole))
				}))
				t.Cleanup(other.Close)
				r.telegram.On("", func(telegram.Call) telegram.Action {
					return telegram.Redirect(http.StatusFound, other.URL+"/elsewhere")
				})
				srv := httptest.NewServer(http.RedirectHandler(other.URL+"/elsewhere", http.StatusTemporaryRedirect))
				t.Cleanup(srv.Close)
				r.withCallback(srv.URL)
			},
			telegram: []string{"reason=transient", "op=createForumTopic", "HTTP 302 without an answer of the Bot API"},
			callback: []string{"reason=transient", "the receiver answered 307; redirects are not followed"},
		},
		{
			name: "unknown certificate",
			arrange: func(t *testing.T, r *rig) {
				srv := httptest.NewUnstartedServer(http.NotFoundHandler())
				srv.Config.ErrorLog = log.New(io.Discard, "", 0)
				srv.StartTLS()
				t.Cleanup(srv.Close)
				r.bothAt(srv.URL)
			},
			telegram: []string{"reason=transient", "op=createForumTopic", "certificate is signed by an unknown authority"},
			callback: []string{"reason=transient", "certificate is signed by an unknown authority"},
		},
		{
			name: "HTML pages",
			arrange: func(t *testing.T, r *rig) {
				r.telegram.On("", func(telegram.Call) telegram.Action { return telegram.Page(http.StatusBadGateway) })
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					w.WriteHeader(http.StatusBadGateway)
					_, _ = fmt.Fprintf(w, "<html><h1>502</h1>%s</html>", req.RequestURI)
				}))
				t.Cleanup(srv.Close)
				r.withCallback(srv.URL)
			},
			telegram: []string{"reason=transient", "op=createForumTopic", "HTTP 502 without an answer of the Bot API"},
			callback: []string{"reason=transient", "the receiver answered 502"},
		},
		{
			name: "answers that echo the request",
			arrange: func(t *testing.T, r *rig) {
				srv := httptest.NewServer(echo(t, r))
				t.Cleanup(srv.Close)
				r.bothAt(srv.URL)
			},
			telegram: []string{"reason=rejected", "op=sendMessage", `detail="400 Bad Request: POST /bot`, "[redacted]", "give up"},
			callback: []string{"reason=transient", "the receiver answered 500"},
			hears:    `"type":"message_failed"`,
		},
		{
			name: "the request itself for an answer",
			arrange: func(t *testing.T, r *rig) {
				r.bothAt(serveRaw(t, func(c net.Conn, request []byte) { _, _ = c.Write(request) }))
			},
			telegram: []string{"reason=unconfirmed", "op=createForumTopic", `detail="the answer is not HTTP"`},
			callback: []string{"reason=unconfirmed", `detail="the answer is not HTTP"`},
		},
		{
			// The standard library's client prints what a connection says that nobody asked.
			name: "more than the answer",
			arrange: func(t *testing.T, r *rig) {
				r.bothAt(serveRaw(t, func(c net.Conn, request []byte) {
					_, _ = fmt.Fprintf(c, "HTTP/1.1 500 %s\r\nContent-Length: 2\r\n\r\nno%s", strings.Fields(string(request))[1], request)
					_, _ = io.Copy(io.Discard, c) // until the bridge closes it
				}))
			},
			telegram: []string{"reason=transient", "op=createForumTopic", "HTTP 500 without an answer of the Bot API"},
			callback: []string{"reason=transient", "the receiver answered 500"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.withSecrets()
			test.arrange(t, r)
			p := r.start()
			stream := r.listen(keptKey)
			r.visit("m1")
			failed := func() bool {
				const attempt = `msg="an attempt failed"`
				return p.says(append([]string{attempt, "lane=telegram"}, test.telegram...)...) &&
					p.says(append([]string{attempt, "lane=callbacks", "op=callback", "target=backend"}, test.callback...)...) &&
					p.says(`msg="receiving failed"`, "lane=telegram", "op=getUpdates")
			}
			r.until("logged: every failure", failed)
			r.until("heard: what the stream is told", func() bool {
				return strings.Contains(stream.heard(), `"type":"operator_status"`) && strings.Contains(stream.heard(), test.hears)
			})
			r.visit("m2") // now that the failures are known
			if code := p.Exit(); code != 0 {
				t.Errorf("it ended with %d", code)
			}
			<-stream.ended
			r.noLeak("the stream", stream.heard())
			r.noLeak("the log", p.Output())
			if t.Failed() {
				t.Logf("the bridge said:\n%s", p.Output())
			}
		})
	}
}

// visit asks for everything that can be asked for, rightly and wrongly, and looks at the answers. id is the message's.
func (r *rig) visit(id string) {
	r.t.Helper()
	words := message("mia", id, keptText)
	for _, q := range []struct {
		method, path, key, body string
		want                    int
	}{
		{http.MethodPost, "/api/messages", keptKey, words, http.StatusOK},
		{http.MethodPost, "/api/messages", keptOldKey, words, http.StatusOK},
		{http.MethodPost, "/api/messages", "", words, http.StatusUnauthorized},
		{http.MethodPost, "/api/messages", keptKey[:10], words, http.StatusUnauthorized},
		{http.MethodPost, "/api/messages", keptKey, words[:40], http.StatusBadRequest},
		{http.MethodPost, "/api/operator/status", keptKey, `{"online":true}`, http.StatusOK},
		{http.MethodGet, "/health", "", "", http.StatusOK},
		{http.MethodGet, "/readyz?verbose", "", "", http.StatusOK},
		{http.MethodGet, "/api/presence", keptKey, "", http.StatusOK},
		{http.MethodGet, "/api/callbacks", keptKey, "", http.StatusOK},
		{http.MethodGet, "/api/callbacks/backend", keptKey, "", http.StatusOK},
		{http.MethodPut, "/api/callbacks/backend", keptKey, `{"url":"http://127.0.0.1:1"}`, http.StatusBadRequest},
		{http.MethodGet, "/nowhere", "", "", http.StatusNotFound},
	} {
		code, answer := r.ask(q.method, q.path, q.key, q.body)
		if code != q.want {
			r.t.Errorf("%s %s is answered with %d, want %d:\n%s", q.method, q.path, code, q.want, answer)
		}
		r.noLeak(q.method+" "+q.path, answer)
	}
}

// echo refuses every call, and quotes its path and headers in each place of the answer. It fails the test when it could not
// have shown the secrets, for they were not sent to it.
func echo(t *testing.T, r *rig) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		callback := strings.HasPrefix(req.URL.Path, "/callback")
		all := fmt.Sprint(req.Method, " ", req.RequestURI, " ", req.Header)
		if len(r.leaks(all)) == 0 {
			t.Errorf("the request has no secrets to quote: %s", all)
		}
		for _, name := range []string{"Location", "Retry-After", "X-Error", "WWW-Authenticate"} {
			w.Header().Set(name, all)
		}
		if callback {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, all)
			return
		}
		code := http.StatusInternalServerError // nothing is wrong with the token as far as the receiver can see
		if strings.HasSuffix(req.URL.Path, "/createForumTopic") || strings.HasSuffix(req.URL.Path, "/sendMessage") {
			code = http.StatusBadRequest
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"ok":false,"error_code":%d,"description":%q,"parameters":{"note":%q}}`, code, http.StatusText(code)+": "+all, all)
	})
}

// Nor does a run in which no call is ever answered, whether the bridge is ended or the other side goes at last.
func TestSilenceShowsNoSecret(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"ended and killed", "the others go"} {
		t.Run(end, func(t *testing.T) {
			r := newRig(t)
			r.withSecrets()
			r.telegram.On("", func(telegram.Call) telegram.Action { return telegram.Action{Silence: true} })
			called, release := make(chan struct{}, 1), make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				select {
				case called <- struct{}{}:
				default:
				}
				select {
				case <-release:
				case <-req.Context().Done():
				}
				panic(http.ErrAbortHandler)
			}))
			t.Cleanup(srv.Close)
			free := sync.OnceFunc(func() { close(release) })
			t.Cleanup(free)
			r.withCallback(srv.URL)

			p := r.start()
			stream := r.listen(keptKey)
			r.visit("m1")
			<-called
			r.until("called: Telegram", func() bool { return r.telegram.Count("getMe") > 0 && r.telegram.Count("createForumTopic") > 0 })
			r.visit("m2")
			if strings.Contains(p.Output(), "failed") {
				t.Errorf("something failed before its time:\n%s", p.Output())
			}
			if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			r.until("ending", func() bool {
				code, answer := r.ask(http.MethodGet, "/readyz?verbose", "", "")
				r.noLeak("/readyz", answer)
				return code == http.StatusServiceUnavailable
			})
			if end == "the others go" {
				free()
				r.telegram.Close()
				<-p.Ended
				for _, line := range [][]string{{"lane=telegram", "op=createForumTopic"}, {"lane=callbacks", "op=callback"}} {
					if !p.says(append(line, `msg="an attempt failed"`, "reason=unconfirmed", "connection closed without an answer")...) {
						t.Errorf("no line with %q:\n%s", line, p.Output())
					}
				}
			} else {
				p.Kill()
			}
			<-stream.ended
			r.noLeak("the stream", stream.heard())
			r.noLeak("the log", p.Output())
		})
	}
}

// A start that is refused for what is wrong with a secret, or because one stands where it does not belong, names the setting
// and does not show the value.
func TestRefusedStartShowsNoSecret(t *testing.T) {
	t.Parallel()
	const token = "7000000001:AAsandbox-sandbox-sandbox-sandbox-0"
	r := newRig(t)
	if r.telegram.Token() != token {
		t.Fatal("the stand-in has another token by now")
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token[:20]+"\n"+token[20:]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pieces := []string{token[11:20], token[20:], keptKey, keptQuery, keptSecret}
	for _, test := range []struct {
		name string
		env  map[string]string
		says string
	}{
		{"a URL with a control character", map[string]string{"TELEGRAM_API_URL": nowhere + "/\x01bot" + token}, "TELEGRAM_API_URL"},
		{"a URL that is none", map[string]string{"TELEGRAM_API_URL": "bot" + token}, "TELEGRAM_API_URL"},
		{"a URL with a broken host", map[string]string{"TELEGRAM_API_URL": "http://[" + token}, "TELEGRAM_API_URL"},
		{"a URL of another scheme", map[string]string{"TELEGRAM_API_URL": "telegram://" + token + "/"}, "TELEGRAM_API_URL"},
		{"a URL with a password", map[string]string{"TELEGRAM_API_URL": "https://bot:" + token + "@127.0.0.1/"}, "TELEGRAM_API_URL"},
		{"a URL with a query", map[string]string{"TELEGRAM_API_URL": nowhere + "/?token=" + token}, "TELEGRAM_API_URL"},
		{"a token with a line break", map[string]string{"TELEGRAM_BOT_TOKEN": token[:20] + "\n" + token[20:]}, "TELEGRAM_BOT_TOKEN"},
		{"a token with a control character", map[string]string{"TELEGRAM_BOT_TOKEN": token[:20] + "\x7f" + token[20:]}, "TELEGRAM_BOT_TOKEN"},
		{"a token in a URL", map[string]string{"TELEGRAM_BOT_TOKEN": "https://api.telegram.org/bot" + token + "/"}, "TELEGRAM_BOT_TOKEN"},
		{"a token file with two lines", map[string]string{"TELEGRAM_BOT_TOKEN": "", "TELEGRAM_BOT_TOKEN_FILE": file}, "TELEGRAM_BOT_TOKEN"},
		{"a token for a file", map[string]string{"TELEGRAM_BOT_TOKEN": "", "TELEGRAM_BOT_TOKEN_FILE": token}, "TELEGRAM_BOT_TOKEN_FILE"},
		{"a token for a chat", map[string]string{"TELEGRAM_CHAT_ID": token}, "TELEGRAM_CHAT_ID"},
		{"a key with a line break", map[string]string{"API_KEY": keptKey + "\n" + keptKey}, "API_KEY"},
		{"a callback that is no URL", map[string]string{"BACKEND_WEBHOOK_URL": "app.example.com?key=" + keptQuery}, "BACKEND_WEBHOOK_URL"},
		{"a callback with a control character", map[string]string{"BACKEND_WEBHOOK_URL": nowhere + "/\x01?key=" + keptQuery}, "BACKEND_WEBHOOK_URL"},
		{"a secret that is no base64", map[string]string{"BACKEND_WEBHOOK_SECRET": "whsec_!" + keptSecret}, "BACKEND_WEBHOOK_SECRET"},
		{"a Redis that is not there", map[string]string{"REDIS_URL": "redis://user:" + keptSecret + "@127.0.0.1:1/0"}, "unavailable"},
		{"a Redis that is no URL", map[string]string{"REDIS_URL": "redis://user:" + keptSecret + "@[::/\x010"}, "bridge: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.env["DATA_DIR"] = t.TempDir()
			for name, value := range test.env {
				r.env[name] = value
			}
			p := r.launch()
			if p.base != "" {
				p.Kill()
				t.Fatalf("it started:\n%s", p.Output())
			}
			if code := p.Cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.Output(), test.says) {
				t.Errorf("it ended with %d and said:\n%s", code, p.Output())
			}
			for _, piece := range pieces {
				if strings.Contains(p.Output(), piece) {
					t.Errorf("it shows %q:\n%s", piece, p.Output())
				}
			}
		})
	}
}
