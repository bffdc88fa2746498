package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// command runs a subcommand in this process, with the given variables for an environment.
func command(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, fault bytes.Buffer
	code = run(t.Context(), args, func(name string) string { return env[name] }, &out, &fault)
	return code, out.String(), fault.String()
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args           string
		code           int
		stdout, stderr string // parts of them
	}{
		{"nonsense", 2, "", `there is no command "nonsense"`},
		{"nonsense", 2, "", usage},
		{"check this", 2, "", `bridge check takes no "this"`},
		{"version now", 2, "", usage},
		{"demo -twice", 2, "", "-twice"},
		{"check -h", 0, "", ""},
		{"help", 0, usage, ""},
		{"--help", 0, usage, ""},
		{"version", 0, buildVersion() + "\n", ""},
		{"--version", 0, buildVersion() + "\n", ""},
		{"-version", 0, buildVersion() + "\n", ""},
		{"--version now", 2, "", usage},
		{"check", 0, "the configuration is usable\n", ""},
		{"check", 0, "note: no chat platform is configured", ""},
	} {
		code, stdout, stderr := command(t, nil, strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
			t.Errorf("bridge %s ends with %d, want %d, and says:\n%s%s", test.args, code, test.code, stdout, stderr)
		}
		if test.stdout == "" && stdout != "" || code == 2 && stderr == "" {
			t.Errorf("bridge %s says the wrong things in the wrong place:\n%s|%s", test.args, stdout, stderr)
		}
	}
}

// What is wrong comes all at once, a line each.
func TestCheckListsAllFaults(t *testing.T) {
	code, stdout, stderr := command(t, map[string]string{
		"PORT": "many", "TELEGRAM_BOT_TOKEN": "1:a b", "OPEN_THREAD": "never", "REDIS_WAIT": "1", "BACKEND_WEBHOOK_URL": "app",
	}, "check")
	if code != 1 || stdout != "" {
		t.Errorf("it ends with %d and says %q", code, stdout)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	want := []string{"bridge: ", "  PORT: ", "  REDIS_WAIT: ", "  TELEGRAM_BOT_TOKEN: ", "  TELEGRAM_CHAT_ID: ", "  OPEN_THREAD: ", "  BACKEND_WEBHOOK_URL: "}
	if !slices.EqualFunc(lines, want, strings.HasPrefix) {
		t.Errorf("it says\n%s\nwant lines that begin with %q", stderr, want)
	}
	if strings.Contains(stderr, "a b") {
		t.Errorf("it shows the token:\n%s", stderr)
	}
}

// port returns the port that the bridge listens on.
func (p *proc) port() string { return p.base[strings.LastIndexByte(p.base, ':')+1:] }

func TestHealth(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	p := r.start()
	r.env["PORT"] = p.port()
	if h := r.launch("health"); h.Cmd.ProcessState.ExitCode() != 0 || h.Output() != "" {
		t.Errorf("of a running bridge it ends with %d and says:\n%s", h.Cmd.ProcessState.ExitCode(), h.Output())
	}
	p.Exit()
	h := r.launch("health")
	if code := h.Cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(h.Output(), "does not answer on 127.0.0.1:"+p.port()) {
		t.Errorf("of a stopped bridge it ends with %d and says:\n%s", code, h.Output())
	}
}

// Ctrl-C, whoever manages it, and a terminal that is closed end the bridge in good order.
func TestAskedToEnd(t *testing.T) {
	t.Parallel()
	for _, how := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		r := newRig(t)
		p := r.start()
		if err := p.Cmd.Process.Signal(how); err != nil {
			t.Fatal(err)
		}
		<-p.Ended
		if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%v ends it with %d:\n%s", how, code, p.Output())
		}
	}
}

func TestTakenPort(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, r.env["PORT"], _ = net.SplitHostPort(ln.Addr().String())
	p := r.launch()
	if p.base != "" {
		p.Kill()
		t.Fatal("it listens on a taken port")
	}
	said := strings.TrimSpace(lastLines(strings.TrimSpace(p.Output()), 1))
	if code := p.Cmd.ProcessState.ExitCode(); code != 1 || !strings.HasPrefix(said, "bridge: PORT or BIND: ") ||
		!strings.Contains(said, ln.Addr().String()) || !strings.Contains(said, "address already in use") {
		t.Errorf("it ended with %d and said:\n%s", code, p.Output())
	}
}

// Ended in the middle of the work, the bridge is gone within ten seconds, with success; nothing that it has accepted is lost
// or shown twice.
func TestEndedUnderLoad(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.start()
	tr := newTraffic(r)
	for range 2 {
		tr.allow(400)
		from := tr.sent()
		r.until("at work", func() bool { return tr.sent() >= from+100 && tr.inFlight.Load() >= 30 })
		p, began := r.process(), time.Now()
		code := p.Exit()
		if took := time.Since(began); code != 0 || took > 10*time.Second {
			t.Errorf("it ended with %d after %s:\n%s", code, took, lastLines(p.Output(), 20))
		}
		r.start()
	}
	tr.end(0)
}

// While the bridge ends it says so, delivers what is under way, and keeps what it still accepts for the next start; streams
// end in good order.
func TestEnding(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	hold := make(chan struct{})
	r.telegram.On("sendMessage", func(telegram.Call) telegram.Action { return telegram.Action{Hold: hold} })
	held := r.telegram.Await(telegram.Received, "sendMessage")
	p := r.start()
	stream := r.listen("")
	r.must("/api/messages", message("mia", "m1", "first"))
	<-held
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var ready string
	r.until("unready", func() bool {
		var code int
		code, ready = r.ask(http.MethodGet, "/readyz?verbose", "", "")
		return code == http.StatusServiceUnavailable
	})
	if !strings.Contains(ready, "the bridge is ending") {
		t.Errorf("/readyz says %s", ready)
	}
	if code, answer := r.ask(http.MethodGet, "/livez", "", ""); code != http.StatusOK {
		t.Errorf("/livez says %s", answer)
	}
	r.env["PORT"] = p.port()
	if code, _, stderr := command(t, r.env, "health"); code != 1 || !strings.Contains(stderr, "the bridge is not ready: ") {
		t.Errorf("bridge health ends with %d and says %s", code, stderr)
	}
	r.env["PORT"] = "0"
	r.must("/api/messages", message("mia", "m2", "second"))
	began := time.Now()
	close(hold)
	<-p.Ended
	if code, took := p.Cmd.ProcessState.ExitCode(), time.Since(began); code != 0 || took > 5*time.Second {
		t.Errorf("it ended with %d, %s after its last call:\n%s", code, took, p.Output())
	}
	<-stream.ended
	if stream.err != nil {
		t.Errorf("the stream ended with %v", stream.err)
	}
	r.start()
	r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 && len(r.shown(r.topics("mia")[0].ID)) >= 2 })
	if got := r.shown(r.topics("mia")[0].ID); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("the topic shows %q", got)
	}
}

// A registered callback is told at once who is there, and then what operators write, each event signed with its secret.
func TestRegisteredCallback(t *testing.T) {
	t.Parallel()
	const key = "a key of thirty-two bytes, no less"
	for _, secret := range []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(key)), key} {
		t.Run(secret[:5], func(t *testing.T) {
			onStores(t, func(t *testing.T, r *rig) {
				web := newApp(t)
				r.env["PRESENCE_ON_REPLY"] = "false"
				r.start()
				code, answer := r.ask(http.MethodPut, "/api/callbacks/web-1", "", fmt.Sprintf(`{"url":%q,"secret":%q}`, web.url+"/hook", secret))
				if code != http.StatusCreated || strings.Contains(answer, key) || strings.Contains(answer, secret) ||
					!strings.Contains(answer, `"operatorOnline":false`) || !strings.Contains(answer, "\r\nLocation: /api/callbacks/web-1\r\n") {
					t.Errorf("the registration is answered with\n%s", answer)
				}
				r.until("told who is there", func() bool { return len(web.of("operator_status")) == 1 })
				if first := web.of("operator_status")[0]; first.Online {
					t.Errorf("it was told %s", first.body)
				}
				r.must("/api/messages", message("mia", "m1", "hello"))
				r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
				r.telegram.Say(r.chat, r.topics("mia")[0].ID, r.ana.ID, "Ça va <bien>?")
				r.until("at both callbacks", func() bool {
					return len(web.of("operator_message")) == 1 && len(r.app.of("operator_message")) == 1 && len(web.of("message_delivered")) > 0
				})
				if got := web.of("operator_message")[0]; got.Content != "Ça va <bien>?" || got.SessionID != "mia" {
					t.Errorf("it got %s", got.body)
				}
				if n := len(web.of("message_delivered")); n != 1 {
					t.Errorf("it was told %d times of one delivery", n)
				}
				if n := len(r.app.of("operator_status")); n != 0 {
					t.Errorf("the other callback was told of the status %d times", n)
				}
				for _, kind := range []string{"operator_status", "message_delivered", "operator_message"} {
					for _, e := range web.of(kind) {
						signed(t, e, secret, key)
					}
				}
				if code, answer := r.ask(http.MethodPut, "/api/callbacks/web-1", "", fmt.Sprintf(`{"url":%q}`, web.url)); code != http.StatusOK {
					t.Errorf("a refresh is answered with\n%s", answer)
				}
				if code, _ := r.ask(http.MethodDelete, "/api/callbacks/web-1", "", ""); code != http.StatusNoContent {
					t.Errorf("taking it away is answered with %d", code)
				}
			})
		})
	}
}

// signed checks a delivery as its receiver would. The one signature has the secret's characters for a key, the other its key.
func signed(t *testing.T, e received, secret, key string) {
	t.Helper()
	sum := func(key, text string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	body, stamp := string(e.body), e.header.Get("webhook-timestamp")
	for name, want := range map[string]string{
		"X-PocketPing-Signature": "sha256=" + hex.EncodeToString(sum(secret, body)),
		"X-PocketPing-Event":     e.Type,
		"webhook-id":             e.ID,
		"webhook-signature":      "v1," + base64.StdEncoding.EncodeToString(sum(key, e.ID+"."+stamp+"."+body)),
		"Content-Type":           "application/json",
		"User-Agent":             "pocketping-bridge/" + buildVersion(),
		"Authorization":          "",
	} {
		if got := e.header.Get(name); got != want {
			t.Errorf("%s: header %s is %q, want %q", e.Type, name, got, want)
		}
	}
	var seconds int64
	if _, err := fmt.Sscan(stamp, &seconds); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > hung {
		t.Errorf("%s: webhook-timestamp is %q", e.Type, stamp)
	}
}

func TestPrivateCallbacksOff(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.env["ALLOW_PRIVATE_CALLBACKS"] = "off"
	r.start()
	for _, url := range []string{r.app.url, "http://localhost:1/hook", "http://[::1]/", "https://10.1.2.3/", "http://169.254.169.254/latest"} {
		code, answer := r.ask(http.MethodPut, "/api/callbacks/web-1", "", fmt.Sprintf(`{"url":%q}`, url))
		var a accepted
		_, body, _ := strings.Cut(answer, "\r\n\r\n")
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatal(err)
		}
		hint := strings.Contains(a.Error, "ALLOW_PRIVATE_CALLBACKS")
		if never := strings.Contains(url, "169.254"); code != http.StatusBadRequest || a.Field != "url" || hint == never {
			t.Errorf("%s is answered with\n%s", url, answer)
		}
	}
	if _, list := r.ask(http.MethodGet, "/api/callbacks", "", ""); strings.Count(list, `"id"`) != 1 || !strings.Contains(list, `"id":"backend"`) {
		t.Errorf("there are callbacks:\n%s", list)
	}
	// The configuration's own is the owner's word.
	r.must("/api/operator/status", `{"online":true}`)
	r.until("at the configured callback", func() bool { return len(r.app.of("operator_status")) == 1 })
}

func TestDemoOnce(t *testing.T) {
	r := newRig(t)
	p := r.launch("demo", "-once")
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	for _, said := range []string{"Mia, a visitor", "POST /api/messages: 200", "Ana, in the topic", "signature valid", "One round trip"} {
		if !strings.Contains(p.Output(), said) {
			t.Errorf("it does not say %q", said)
		}
	}
	if t.Failed() {
		t.Logf("it said:\n%s", p.Output())
	}
}

// Nothing of the demo is in a bridge that serves.
func TestDemoIsNotServed(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	p := r.start()
	for _, path := range []string{"/", "/demo/", "/demo/state", "/demo/stream", "/demo/main.js", "/say"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			req, err := http.NewRequestWithContext(t.Context(), method, p.base+path, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s is answered %d", method, path, resp.StatusCode)
			}
		}
	}
}

// Who knows a page's session id is its visitor: logs have the beginning of it.
func TestLogHasNoWholeSessionOfAPage(t *testing.T) {
	for _, c := range []Config{{}, {LogJSON: true}} {
		var out bytes.Buffer
		log := newLogger(c, &out)
		id := rand.Text()
		log.Info("a", "session", id)
		log.With("session", id).Info("b")
		log.Info("c", "session", id+"-"+"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
		log.Info("d", "session", "of-an-app-server")
		if said := out.String(); strings.Contains(said, id) || strings.Count(said, id[:8]+"…") != 3 || !strings.Contains(said, "of-an-app-server") {
			t.Errorf("it says\n%s", said)
		}
	}
}
