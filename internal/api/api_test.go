package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is everything behind the API, as the tests want it.
type desk struct {
	mu    sync.Mutex
	taken []bridge.Inbound

	ingest    func(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error)
	online    bool
	operators []bridge.Operator
	checks    []Check
	lanes     []bridge.LaneHealth
	feed      *feed
	callbacks *registry
	letters   *letters
	statsErr  error
	erased    []string
}

func newDesk() *desk { return &desk{feed: newFeed(), callbacks: newRegistry(), letters: &letters{}} }

func (d *desk) Ingest(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error) {
	d.mu.Lock()
	d.taken = append(d.taken, in)
	d.mu.Unlock()
	if d.ingest != nil {
		return d.ingest(ctx, in)
	}
	return bridge.Accepted{ID: "evt_0000000000000001", OperatorOnline: d.online}, nil
}

func (d *desk) inbound() []bridge.Inbound {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]bridge.Inbound(nil), d.taken...)
}

func (d *desk) Online() bool                                         { return d.online }
func (d *desk) Operators(context.Context) ([]bridge.Operator, error) { return d.operators, nil }
func (d *desk) Platforms() []string                                  { return []string{"telegram"} }
func (d *desk) Checks(context.Context) []Check                       { return d.checks }
func (d *desk) Lanes() []bridge.LaneHealth                           { return d.lanes }
func (d *desk) failing(err error) {
	d.ingest = func(context.Context, bridge.Inbound) (bridge.Accepted, error) { return bridge.Accepted{}, err }
}

func (d *desk) options(t testing.TB) Options {
	return Options{
		Ingester: d, Feed: d.feed, Callbacks: d.callbacks, Deliveries: d.letters, Presence: d, Stats: d, Eraser: d, Health: d, Proposer: d, Version: "1.2.3",
		TellPages: func(context.Context, string, bridge.CustomEvent) error { return nil },
		PublicURL: "http://example.com", // the host of httptest's requests
		Logger:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// serve runs the API on the loopback, as the program does.
func serve(t *testing.T, o Options) string {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = Server(New(o), o.Logger, nil)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts.URL
}

type answered struct {
	status int
	header http.Header
	body   string
}

func (a answered) problem(t *testing.T) (code, field string) {
	t.Helper()
	var p struct{ Error, Code, Field string }
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Error == "" || p.Code == "" {
		t.Fatalf("not an error's body: %q", a.body)
	}
	return p.Code, p.Field
}

// ask sends one request, and holds its answer to the contract; header is pairs of names and values.
func ask(t *testing.T, method, url, body string, header ...string) answered {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	got := do(t, r)
	hold(t, r, got)
	return got
}

func do(t *testing.T, r *http.Request) answered {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp.StatusCode, resp.Header, string(text)}
}

func TestAuth(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	o.APIKeys = []bridge.Secret{"first", "second"}
	url := serve(t, o)
	tests := []struct {
		name, method, path, auth string
		want                     int
	}{
		{"none", "POST", "/api/events", "", 401},
		{"wrong", "POST", "/api/events", "Bearer third", 401},
		{"prefix of a key", "POST", "/api/events", "Bearer firs", 401},
		{"empty", "POST", "/api/events", "Bearer ", 401},
		{"another scheme", "POST", "/api/events", "Basic first", 401},
		{"bare", "POST", "/api/events", "first", 401},
		{"first", "POST", "/api/events", "Bearer first", 200},
		{"second, scheme in lower case", "POST", "/api/events", "bearer second", 200},
		{"unknown path below", "GET", "/api/nothing", "", 401},
		{"unknown path below, with a key", "GET", "/api/nothing", "Bearer first", 404},
		{"written in another way", "GET", "/%61pi/presence", "", 401},
		{"root", "GET", "/api", "", 401},
		{"another path", "GET", "/apis", "", 404},
		{"stats", "GET", "/stats", "", 401},
		{"stats, with a key", "GET", "/stats", "Bearer first", 200},
		{"stats of the first version", "GET", "/api/v1/stats", "", 401},
		{"below stats, with a key", "GET", "/stats/x", "Bearer first", 404},
		{"stream", "GET", "/api/events/stream", "", 401},
		{"callbacks", "PUT", "/api/callbacks/x", "", 401},
		{"wrong method", "GET", "/api/events", "", 401},
		{"options", "OPTIONS", "/api/events", "", 401},
		{"health", "GET", "/health", "", 200},
		{"live", "GET", "/livez", "", 200},
		{"ready", "GET", "/readyz", "", 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var header []string
			if test.auth != "" {
				header = []string{"Authorization", test.auth}
			}
			got := ask(t, test.method, url+test.path, `{"type":"operator_status","online":true}`, header...)
			if got.status != test.want {
				t.Fatalf("status %d, want %d: %s", got.status, test.want, got.body)
			}
			if challenge := got.header.Get("WWW-Authenticate"); (challenge == "Bearer") != (test.want == 401) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
			if test.want == 401 {
				if code, _ := got.problem(t); code != "unauthorized" {
					t.Errorf("code %s", code)
				}
			}
		})
	}
	if n := len(d.inbound()); n != 2 {
		t.Errorf("%d events were taken, want 2", n)
	}
}

func TestOpenWithoutKeys(t *testing.T) {
	d := newDesk()
	if got := ask(t, "POST", serve(t, d.options(t))+"/api/operator/status", `{"online":true}`); got.status != 200 {
		t.Errorf("status %d", got.status)
	}
}

func TestCORS(t *testing.T) {
	tests := []struct {
		name, origin string
		allowed      []string
		want         string
	}{
		{"listed", "https://app.example", []string{"https://app.example/"}, "https://app.example"},
		{"not listed", "https://evil.example", []string{"https://app.example"}, ""},
		{"all", "https://any.example", []string{"*"}, "*"},
		{"none configured", "https://app.example", nil, ""},
		{"no origin", "", []string{"https://app.example"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := newDesk().options(t)
			o.APIKeys, o.CORSOrigins = []bridge.Secret{"key"}, test.allowed
			url := serve(t, o)
			header := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,idempotency-key"}
			if test.origin != "" {
				header = append(header, "Origin", test.origin)
			}
			pre := ask(t, "OPTIONS", url+"/api/events", "", header...)
			if got := pre.header.Get("Access-Control-Allow-Origin"); got != test.want {
				t.Errorf("preflight allows %q, want %q", got, test.want)
			}
			wantStatus := 204
			if test.want == "" {
				wantStatus = 401
			}
			if pre.status != wantStatus {
				t.Errorf("preflight: status %d, want %d", pre.status, wantStatus)
			}
			for _, name := range []string{"Authorization", "Idempotency-Key", "X-PocketPing-Callback"} {
				if there := strings.Contains(pre.header.Get("Access-Control-Allow-Headers"), name); there != (test.want != "") {
					t.Errorf("preflight allows the header %s: %v", name, there)
				}
			}
			// An error must be readable for the page too.
			if got := ask(t, "POST", url+"/api/events", "{}", header...); got.status != 401 || got.header.Get("Access-Control-Allow-Origin") != test.want {
				t.Errorf("request: status %d, allows %q", got.status, got.header.Get("Access-Control-Allow-Origin"))
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	url := serve(t, newDesk().options(t))
	for id, kept := range map[string]bool{
		"abc-1.2_Z": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a b": false, "é": false, "": false,
	} {
		got := ask(t, "GET", url+"/livez", "", "X-Request-ID", id).header.Get("X-Request-ID")
		if got == "" || (got == id) != kept {
			t.Errorf("sent %q, got %q", id, got)
		}
	}
	a, b := ask(t, "GET", url+"/livez", ""), ask(t, "GET", url+"/livez", "")
	if a.header.Get("X-Request-ID") == b.header.Get("X-Request-ID") {
		t.Error("two requests got one id")
	}
}

func TestRouting(t *testing.T) {
	url := serve(t, newDesk().options(t))
	tests := []struct {
		method, path string
		want         int
		allow        string
	}{
		{"GET", "/", 404, ""},
		{"GET", "/api/unknown", 404, ""},
		{"POST", "/api/events/x", 404, ""},
		{"GET", "/api/events", 405, "POST"},
		{"PATCH", "/api/callbacks/x", 405, "PUT"},
		{"POST", "/api/events/stream", 405, "GET"},
		{"DELETE", "/health", 405, "GET"},
		{"HEAD", "/api/events", 405, "POST"},
		{"HEAD", "/nothing", 404, ""},
		{"HEAD", "/health", 200, ""},
		{"HEAD", "/livez", 200, ""},
		{"HEAD", "/readyz", 200, ""},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			got := ask(t, test.method, url+test.path, "")
			if got.status != test.want || !strings.Contains(got.header.Get("Allow"), test.allow) {
				t.Errorf("status %d, Allow %q", got.status, got.header.Get("Allow"))
			}
			if test.method == "HEAD" {
				if got.body != "" {
					t.Errorf("a body: %q", got.body)
				}
			} else if code, _ := got.problem(t); test.want == 404 && code != "not_found" || test.want == 405 && code != "method_not_allowed" {
				t.Errorf("code %s", code)
			}
		})
	}
	// Without net/http in front, which would drop it, there is no body either.
	w := httptest.NewRecorder()
	New(newDesk().options(t)).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "HEAD", "/nothing", nil))
	if w.Body.Len() != 0 {
		t.Errorf("a body: %q", w.Body)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name       string
		err        error
		status     int
		code       string
		retryAfter string
	}{
		{"conflict", bridge.ErrConflict, 422, "conflict", ""},
		{"superseded", bridge.ErrSuperseded, 409, "superseded", ""},
		{"filtered", bridge.ErrFiltered, 403, "filtered", ""},
		{"unavailable, wrapped", errors.Join(errors.New("dial tcp 10.0.0.1: refused"), bridge.ErrUnavailable), 503, "unavailable", "2"},
		{"a field", &bridge.FieldError{Field: "message.id", Problem: "is odd"}, 400, "invalid_field", ""},
		{"unforeseen", errors.New("password=hunter2 in *bridge.Batch"), 500, "internal", ""},
		{"given up inside", context.Canceled, 500, "internal", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk()
			d.failing(test.err)
			got := ask(t, "POST", serve(t, d.options(t))+"/api/operator/status", `{"online":true}`)
			code, _ := got.problem(t)
			if got.status != test.status || code != test.code || got.header.Get("Retry-After") != test.retryAfter {
				t.Errorf("status %d, code %s, Retry-After %q", got.status, code, got.header.Get("Retry-After"))
			}
			if strings.Contains(got.body, "hunter2") || strings.Contains(got.body, "10.0.0.1") || strings.Contains(got.body, "bridge.") {
				t.Errorf("it tells too much: %s", got.body)
			}
		})
	}
}

func TestPanic(t *testing.T) {
	d := newDesk()
	d.ingest = func(context.Context, bridge.Inbound) (bridge.Accepted, error) { panic(errors.New("hunter2")) }
	o := d.options(t)
	var log strings.Builder
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	got := ask(t, "POST", serve(t, o)+"/api/operator/status", `{"online":true}`)
	if code, _ := got.problem(t); got.status != 500 || code != "internal" {
		t.Errorf("status %d, code %s", got.status, code)
	}
	if !strings.Contains(log.String(), "api_test.go") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log has no stack, or a secret: %s", log.String())
	}
}

func TestAccessLineHasNoQuery(t *testing.T) {
	o := newDesk().options(t)
	var log strings.Builder
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w := httptest.NewRecorder()
	New(o).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/api/callbacks/secret-id?token=hunter2", nil))
	line := log.String()
	if !strings.Contains(line, "route=/api/callbacks/:id") || !strings.Contains(line, "status=404") || strings.Contains(line, "hunter2") {
		t.Errorf("line: %s", line)
	}
}

func TestClientAddress(t *testing.T) {
	proxy := netip.MustParsePrefix("10.1.0.0/16")
	for _, test := range []struct {
		name    string
		proxies []netip.Prefix
		peer    string
		want    string
	}{
		{"no proxies", nil, "10.1.2.3:99", "10.1.2.3"},
		{"trusted", []netip.Prefix{proxy}, "10.1.2.3:99", "203.0.113.7"},
		{"loopback is not trusted by itself", []netip.Prefix{proxy}, "127.0.0.1:99", "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.RemoteAddr = test.peer
			r.Header.Set("X-Forwarded-For", "1.1.1.1, 203.0.113.7")
			if got := extractor(test.proxies)(r); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t))
	if got := ask(t, "GET", url+"/health", ""); got.body != `{"status":"ok","bridges":["telegram"],"version":"1.2.3","protocol":1}` {
		t.Errorf("health: %s", got.body)
	}
	if got := ask(t, "GET", url+"/livez", ""); got.status != 200 || got.body != "ok" {
		t.Errorf("livez: %d %s", got.status, got.body)
	}
}

func TestReady(t *testing.T) {
	d := newDesk()
	closing := make(chan struct{})
	o := d.options(t)
	o.Closing = closing
	o.APIKeys = []bridge.Secret{"0123456789abcdef"}
	h := New(o)
	get := func(path string, header ...string) (int, string) {
		w := askAs(t, h, "GET", path, "localhost", header...)
		return w.Code, w.Body.String()
	}
	check := func(path string, wantStatus int, want string) {
		t.Helper()
		if status, body := get(path); status != wantStatus || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	d.checks = []Check{{Name: "store"}}
	d.lanes = []bridge.LaneHealth{{Lane: "telegram", State: "paused", Reason: "auth", Waiting: 3, Oldest: 1500e6}}
	check("/readyz", 200, `{"status":"ok"}`)
	check("/readyz?verbose", 200, `{"status":"ok","checks":[{"name":"store","status":"ok"}],`+
		`"lanes":[{"lane":"telegram","state":"paused","reason":"auth","waiting":3,"oldest":1.5}]}`)
	d.checks = []Check{{Name: "store", Cause: "the disk is full", Detail: "/var/lib/bridge: ENOSPC"}}
	d.lanes = nil
	check("/readyz", 503, `{"status":"unavailable"}`)
	check("/readyz?verbose=1", 503, `{"status":"unavailable","checks":[{"name":"store","status":"failed","cause":"the disk is full"}]}`)
	for auth, shown := range map[string]bool{"Bearer 0123456789abcdef": true, "Bearer 0123456789abcdee": false, "Bearer ": false} {
		if _, body := get("/readyz?verbose", "Authorization", auth); strings.Contains(body, "/var/lib") != shown {
			t.Errorf("with %q: %s", auth, body)
		}
	}
	d.checks = nil
	close(closing)
	check("/readyz", 503, `{"status":"closing"}`)
}

func TestPresence(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t))
	if got := ask(t, "GET", url+"/api/presence", ""); got.body != `{"online":false,"operators":[]}` {
		t.Errorf("nobody: %s", got.body)
	}
	d.online, d.operators = true, []bridge.Operator{{ID: "app", Name: "App", Platform: "app", Status: bridge.StatusOnline}}
	var got bridge.OperatorStatus
	if err := json.Unmarshal([]byte(ask(t, "GET", url+"/api/presence", "").body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bridge.OperatorStatus{Online: true, Operators: d.operators}, got); diff != "" {
		t.Error(diff)
	}
}

// TestShutdown: streams end at once, and what is being accepted is not disturbed.
func TestShutdown(t *testing.T) {
	d := newDesk()
	entered, let := make(chan struct{}), make(chan struct{})
	d.ingest = func(ctx context.Context, _ bridge.Inbound) (bridge.Accepted, error) {
		close(entered)
		select {
		case <-let:
			return bridge.Accepted{ID: "evt_0000000000000002"}, nil
		case <-ctx.Done():
			return bridge.Accepted{}, ctx.Err()
		}
	}
	o := d.options(t)
	closing, end := context.WithCancel(t.Context())
	o.Closing = closing.Done()
	srv := Server(New(o), o.Logger, end)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	url := "http://" + ln.Addr().String()

	lines := listen(t, url+"/api/events/stream")
	lines.want(t, ": open")
	posted := make(chan answered, 1)
	go func() { posted <- ask(t, "POST", url+"/api/operator/status", `{"online":true}`) }()
	<-entered
	down := make(chan error, 1)
	go func() { down <- srv.Shutdown(t.Context()) }()
	lines.wantEnd(t)
	close(let)
	if got := <-posted; got.status != 200 {
		t.Errorf("the event that was under way: %d %s", got.status, got.body)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
