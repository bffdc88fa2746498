package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

// meter keeps what it is told.
type meter struct {
	mu     sync.Mutex
	counts map[string]int
	change chan struct{} // gets a token at each change
}

func newMeter() *meter { return &meter{counts: map[string]int{}, change: make(chan struct{}, 100)} }

func (m *meter) add(what string, n int) {
	m.mu.Lock()
	m.counts[what] += n
	m.mu.Unlock()
	m.change <- struct{}{}
}

func (m *meter) Accepts(t, result string) func() { return func() { m.add(t+" "+result, 1) } }
func (m *meter) Requests(route string) func(int, time.Duration) {
	return func(status int, took time.Duration) {
		if took < 0 || took > time.Minute {
			panic(took)
		}
		m.add(fmt.Sprint(route, " ", status), 1)
	}
}
func (m *meter) StreamOpened() { m.add("streams", 1) }
func (m *meter) StreamClosed() { m.add("streams", -1) }

// await waits for changes: a request is counted when it has been answered.
func (m *meter) await(t *testing.T, changes int) {
	t.Helper()
	for range changes {
		select {
		case <-m.change:
		case <-time.After(hung):
			t.Fatalf("not counted; told were %v", m.told())
		}
	}
}

func (m *meter) told() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

// Every request with an event is counted once, by what became of it.
func TestAcceptsAreCounted(t *testing.T) {
	const key = "Bearer first"
	message := `{"message":` + someMessage + `,"session":` + someSession + `}`
	any := `{"type":"visitor_message",` + message[1:]
	typing := `{"type":"visitor_typing","sessionId":"s1","isTyping":true}`
	unavailable := fmt.Errorf("%w: redis: refused", bridge.ErrUnavailable)
	tests := []struct {
		name, path, auth, body string
		ingest                 func() (bridge.Accepted, error)
		want                   string // type and result
		status                 int
	}{
		{"accepted", "/api/messages", key, message, nil, "visitor_message accepted", 200},
		{"accepted, any", "/api/events", key, any, nil, "visitor_message accepted", 200},
		{"accepted and not kept", "/api/events", key, typing, nil, "visitor_typing accepted", 200},
		{"a session", "/api/sessions", key, someSession, nil, "new_session accepted", 200},
		{"duplicate", "/api/messages", key, message, func() (bridge.Accepted, error) {
			return bridge.Accepted{ID: "evt_0000000000000001", Duplicate: true}, nil
		}, "visitor_message duplicate", 200},
		{"no JSON", "/api/events", key, `{`, nil, "other invalid", 400},
		{"no JSON for a path", "/api/disconnect", key, `{`, nil, "visitor_disconnect invalid", 400},
		{"unknown type", "/api/events", key, `{"type":"s3cret-type"}`, nil, "other invalid", 400},
		{"a type that is not theirs", "/api/events", key, `{"type":"message_delivered"}`, nil, "other invalid", 400},
		{"field wrong", "/api/events", key, `{"type":"session_closed"}`, nil, "session_closed invalid", 400},
		{"session wrong", "/api/sessions", key, `{"id":"s1"}`, nil, "new_session invalid", 400},
		{"message wrong", "/api/messages", key, `{"message":` + someMessage + `}`, nil, "visitor_message invalid", 400},
		{"too large", "/api/messages", key, strings.Repeat("x", 5000), nil, "visitor_message invalid", 413},
		{"no key", "/api/messages", "", message, nil, "visitor_message unauthorized", 401},
		{"wrong key", "/api/events", "Bearer second", any, nil, "other unauthorized", 401},
		{"conflict", "/api/messages", key, message, func() (bridge.Accepted, error) { return bridge.Accepted{}, bridge.ErrConflict },
			"visitor_message conflict", 422},
		{"superseded", "/api/events", key, any, func() (bridge.Accepted, error) { return bridge.Accepted{}, bridge.ErrSuperseded },
			"visitor_message superseded", 409},
		{"filtered", "/api/messages", key, message, func() (bridge.Accepted, error) { return bridge.Accepted{}, bridge.ErrFiltered },
			"visitor_message filtered", 403},
		{"unavailable", "/api/events", key, any, func() (bridge.Accepted, error) { return bridge.Accepted{}, unavailable },
			"visitor_message unavailable", 503},
		{"a fault", "/api/events", key, any, func() (bridge.Accepted, error) { return bridge.Accepted{}, errors.New("oh") },
			"visitor_message failed", 500},
		{"a panic", "/api/events", key, any, func() (bridge.Accepted, error) { panic("oh") }, "visitor_message failed", 500},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, m := newDesk(), newMeter()
			if test.ingest != nil {
				d.ingest = func(context.Context, bridge.Inbound) (bridge.Accepted, error) { return test.ingest() }
			}
			o := d.options(t)
			o.APIKeys, o.Meter, o.MaxBody = []bridge.Secret{"first"}, m, 4096
			got := ask(t, "POST", serve(t, o)+test.path, test.body, "Authorization", test.auth)
			m.await(t, 2)
			want := map[string]int{test.want: 1, fmt.Sprint(test.path, " ", test.status): 1}
			if diff := cmp.Diff(want, m.told()); diff != "" || got.status != test.status {
				t.Errorf("answered %d, -want +told\n%s", got.status, diff)
			}
		})
	}
}

func TestRateLimitedIsCounted(t *testing.T) {
	d, m := newDesk(), newMeter()
	o := d.options(t)
	o.RateLimit, o.Meter = 1, m
	url := serve(t, o)
	for range 3 {
		ask(t, "POST", url+"/api/messages", `{"message":`+someMessage+`,"session":`+someSession+`}`)
		m.await(t, 2)
	}
	want := map[string]int{
		"visitor_message accepted": 1, "visitor_message rate_limited": 2, "/api/messages 200": 1, "/api/messages 429": 2,
	}
	if diff := cmp.Diff(want, m.told()); diff != "" {
		t.Errorf("-want +told\n%s", diff)
	}
}

// A client that goes before the answer has not met a fault of the store.
func TestGivenUpIsCounted(t *testing.T) {
	d, m := newDesk(), newMeter()
	asked := make(chan struct{})
	d.ingest = func(ctx context.Context, _ bridge.Inbound) (bridge.Accepted, error) {
		close(asked)
		<-ctx.Done()
		return bridge.Accepted{}, ctx.Err()
	}
	o := d.options(t)
	o.Meter = m
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", serve(t, o)+"/api/messages",
		strings.NewReader(`{"message":`+someMessage+`,"session":`+someSession+`}`))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		cancel()
	}()
	transport := &http.Transport{DisableKeepAlives: true}
	if resp, err := transport.RoundTrip(r); err == nil {
		_ = resp.Body.Close()
		t.Fatal("it was answered")
	}
	m.await(t, 2)
	if diff := cmp.Diff(map[string]int{"visitor_message canceled": 1, "/api/messages 503": 1}, m.told()); diff != "" {
		t.Errorf("-want +told\n%s", diff)
	}
}

// Only what has a route is told, under the route's name: no path of others becomes a label.
func TestRoutesAreFew(t *testing.T) {
	d, m := newDesk(), newMeter()
	o := d.options(t)
	o.APIKeys, o.Meter, o.TrustedProxies = []bridge.Secret{"first"}, m, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	url := serve(t, o)
	client := 0 // each is another one: of an address only some wrong keys a second are answered
	for _, path := range []string{"/s3cret", "/api/s3cret", "/api/events/s3cret", "/api/callbacks/s3cret", "/api/callbacks/s3cret/more", "/api", "/",
		"/metrics", "/health", "/api/events"} {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS", "BREW"} {
			for _, auth := range []string{"", "Bearer first"} {
				client++
				ask(t, method, url+path, "", "Authorization", auth, "X-Forwarded-For", fmt.Sprint("203.0.113.", client))
			}
		}
	}
	for what, n := range m.told() {
		if strings.Contains(what, "s3cret") || n < 1 {
			t.Errorf("told %d of %s", n, what)
		}
	}
	names := slices.Sorted(maps.Keys(m.told()))
	for _, want := range []string{"/api/callbacks/:id 404", "/api/callbacks/:id 401", "/health 200", "/api/events 405", "other unauthorized"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s was not told; told were %q", want, names)
		}
	}
}

func TestStreamsAreCounted(t *testing.T) {
	d, m := newDesk(), newMeter()
	o := d.options(t)
	o.Meter = m
	url := serve(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", url+"/api/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	m.await(t, 1)
	if n := m.told()["streams"]; n != 1 {
		t.Errorf("%d streams while one is open", n)
	}
	ask(t, "GET", url+"/api/events/stream?sessionId=", "")
	cancel()
	m.await(t, 1)
	if diff := cmp.Diff(map[string]int{"streams": 0}, m.told()); diff != "" {
		t.Errorf("-want +told\n%s", diff)
	}
}

// Metrics want a key where there is one, and are not there at all when they are served elsewhere.
func TestMetricsPath(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("# all is well\n")) })
	for _, test := range []struct {
		name    string
		keys    []bridge.Secret
		metrics http.Handler
		auth    string
		status  int
	}{
		{"with a key", []bridge.Secret{"first"}, page, "Bearer first", 200},
		{"without a key", []bridge.Secret{"first"}, page, "", 401},
		{"with a wrong key", []bridge.Secret{"first"}, page, "Bearer second", 401},
		{"where no key is asked for", nil, page, "", 200},
		{"served elsewhere", []bridge.Secret{"first"}, nil, "Bearer first", 404},
		{"served elsewhere, no key", nil, nil, "", 404},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := newDesk().options(t)
			o.APIKeys, o.Metrics = test.keys, test.metrics
			got := ask(t, "GET", serve(t, o)+"/metrics", "", "Authorization", test.auth)
			if got.status != test.status || strings.Contains(got.body, "all is well") != (test.status == 200) {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}
