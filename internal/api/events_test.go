package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/api/apitest"
	"github.com/pocketping/bridge/internal/bridge"
)

const (
	someSession = `{"id":"s1","visitorId":"v1","plan":"gold"}`
	someMessage = `{"id":"m1","sessionId":"s1","content":"hello","sender":"visitor","timestamp":"2026-01-02T03:04:05Z"}`
)

func TestAccept(t *testing.T) {
	message := `{"message":` + someMessage + `,"session":` + someSession + `}`
	tests := []struct {
		name, path, body string
		want             bridge.Type
		session, message string
		kept             string // the body that is kept, if another
	}{
		{"any", "/api/events", "\n {\"type\":\"session_closed\",\"sessionId\":\"s1\"} ", bridge.TypeSessionClosed, "s1", "",
			`{"type":"session_closed","sessionId":"s1"}`},
		{"session", "/api/sessions", " " + someSession + "\n", bridge.TypeNewSession, "s1", "", `{"session":` + someSession + `}`},
		{"session with a type", "/api/sessions", `{"id":"s1","visitorId":"v1","type":7}`, bridge.TypeNewSession, "s1", "",
			`{"session":{"id":"s1","visitorId":"v1","type":7}}`},
		{"message", "/api/messages", message, bridge.TypeVisitorMessage, "s1", "m1", ""},
		{"message of another type", "/api/messages", `{"type":"operator_message",` + message[1:], bridge.TypeVisitorMessage, "s1", "m1", message},
		{"message of no type", "/api/messages", `{"Type":[1],` + message[1:], bridge.TypeVisitorMessage, "s1", "m1", message},
		{"status", "/api/operator/status", `{"online":false}`, bridge.TypeOperatorStatus, "", "", ""},
		{"status with a stray session", "/api/operator/status", `{"online":true,"session":{"id":"x"},"messageId":"y"}`, bridge.TypeOperatorStatus, "", "", ""},
		{"custom", "/api/custom-events", `{"event":{"name":"n"},"session":` + someSession + `}`, bridge.TypeCustomEvent, "s1", "", ""},
		{"disconnect", "/api/disconnect", `{"type":"visitor_disconnect","session":` + someSession + `,"duration":1.5}`, bridge.TypeVisitorDisconnect, "s1", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk()
			d.online = true
			got := ask(t, "POST", serve(t, d.options(t))+test.path, test.body, "Content-Type", "text/plain", "X-PocketPing-Callback", "web-1")
			if got.status != 200 || got.body != `{"ok":true,"id":"evt_0000000000000001","operatorOnline":true}` {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if kind := got.header.Get("Content-Type"); kind != "application/json" {
				t.Errorf("Content-Type %s", kind)
			}
			taken := d.inbound()
			if len(taken) != 1 {
				t.Fatalf("%d were taken", len(taken))
			}
			in := taken[0]
			if in.Event.Type != test.want || in.Event.SessionOf() != test.session || in.Event.MessageOf() != test.message {
				t.Errorf("type %s, session %q, message %q", in.Event.Type, in.Event.SessionOf(), in.Event.MessageOf())
			}
			if in.Callback != "web-1" || in.IdempotencyKey != "" {
				t.Errorf("callback %q, key %q", in.Callback, in.IdempotencyKey)
			}
			kept := test.kept
			if kept == "" {
				kept = test.body
			}
			var a, b any
			if err := json.Unmarshal(in.Body, &a); err != nil || in.Body[0] != '{' || in.Body[len(in.Body)-1] != '}' {
				t.Fatalf("kept %q: %v", in.Body, err)
			}
			if err := json.Unmarshal([]byte(kept), &b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b, a); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name string
		done bridge.Accepted
		want string
	}{
		{"first", bridge.Accepted{ID: "evt_0000000000000007"}, `{"ok":true,"id":"evt_0000000000000007","operatorOnline":false}`},
		{"again", bridge.Accepted{ID: "evt_0000000000000007", Duplicate: true}, `{"ok":true,"id":"evt_0000000000000007","operatorOnline":false,"duplicate":true}`},
		{"never stored", bridge.Accepted{OperatorOnline: true}, `{"ok":true,"operatorOnline":true}`},
		{"unknown callback", bridge.Accepted{CallbackUnknown: true}, `{"ok":true,"operatorOnline":false,"callback":"unknown"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk()
			d.ingest = func(context.Context, bridge.Inbound) (bridge.Accepted, error) { return test.done, nil }
			if got := ask(t, "POST", serve(t, d.options(t))+"/api/operator/status", `{"online":true}`); got.body != test.want {
				t.Errorf("got %s", got.body)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	d := newDesk()
	body := ` {"online":true}`
	got := ask(t, "POST", serve(t, d.options(t))+"/api/operator/status?x=1", body, "Idempotency-Key", "k 1")
	if got.status != 200 {
		t.Fatal(got.body)
	}
	sum := sha256.Sum256([]byte(body))
	in := d.inbound()[0]
	if in.IdempotencyKey != "/api/operator/status k 1" || in.Sum != hex.EncodeToString(sum[:]) {
		t.Errorf("key %q, sum %q", in.IdempotencyKey, in.Sum)
	}
}

func TestMalformed(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t))
	for _, test := range apitest.Malformed() {
		t.Run(test.Name, func(t *testing.T) {
			got, err := test.Send(t.Context(), url)
			if err == nil {
				err = test.Check(got)
			}
			if err != nil {
				t.Errorf("%.200s: %v", test.Body, err)
			}
		})
	}
	if n := len(d.inbound()); n != 0 {
		t.Errorf("%d were taken", n)
	}
	if len(d.callbacks.specs) != 0 {
		t.Errorf("registered: %v", d.callbacks.specs)
	}
}

func TestDepth(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t))
	nested := func(open, end string, n int) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	for _, test := range []struct {
		name, field string
		status      int
	}{
		{"deepest", nested("[", "]", maxDepth-1), 200},
		{"too deep", nested("[", "]", maxDepth), 400},
		{"wide", "[" + strings.Repeat(`[],{},`, 1000) + "1]", 200},
		{"in a text", `"` + strings.Repeat("[{", 1000) + `\"` + strings.Repeat("[{", 1000) + `\\"`, 200},
		{"behind a text", `["\\",` + nested("[", "]", maxDepth) + `]`, 400},
	} {
		got := ask(t, "POST", url+"/api/operator/status", `{"online":true,"x":`+test.field+`}`)
		if got.status != test.status {
			t.Errorf("%s: %d %s", test.name, got.status, got.body)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	o.MaxBody = 100
	url := serve(t, o)
	fits := `{"online":true,"x":"` + strings.Repeat("x", 78) + `"}`
	if len(fits) != 100 {
		t.Fatal(len(fits))
	}
	send := func(body string, chunked bool) answered {
		t.Helper()
		var from io.Reader = strings.NewReader(body)
		if chunked {
			from = struct{ io.Reader }{from}
		}
		r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/api/operator/status", from)
		if err != nil {
			t.Fatal(err)
		}
		return do(t, r)
	}
	for _, chunked := range []bool{false, true} {
		if got := send(fits, chunked); got.status != 200 {
			t.Errorf("chunked %v: 100 bytes: %d %s", chunked, got.status, got.body)
		}
		for _, body := range []string{fits + " ", strings.Repeat("x", 5000)} {
			got := send(body, chunked)
			if code, _ := got.problem(t); got.status != 413 || code != "too_large" {
				t.Errorf("chunked %v: %d bytes: %d %s", chunked, len(body), got.status, got.body)
			}
		}
	}
	if n := len(d.inbound()); n != 2 {
		t.Errorf("%d were taken, want 2", n)
	}
}

func TestRateLimit(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	o.RateLimit, o.APIKeys = 0.001, []bridge.Secret{"a", "b"}
	url := serve(t, o)
	post := func(key string) answered {
		t.Helper()
		return ask(t, "POST", url+"/api/operator/status", `{"online":true}`, "Authorization", "Bearer "+key)
	}
	if got := post("a"); got.status != 200 {
		t.Fatalf("the first: %d", got.status)
	}
	got := post("a")
	if code, _ := got.problem(t); got.status != 429 || code != "rate_limited" || got.header.Get("Retry-After") != "1000" {
		t.Errorf("the second: %d %s, Retry-After %q", got.status, got.body, got.header.Get("Retry-After"))
	}
	if got := post("b"); got.status != 200 {
		t.Errorf("another key: %d", got.status)
	}
	if got := ask(t, "GET", url+"/api/presence", "", "Authorization", "Bearer a"); got.status != 200 {
		t.Errorf("what is no event: %d", got.status)
	}
}

func TestClientGone(t *testing.T) {
	d := newDesk()
	ctx, leave := context.WithCancel(t.Context())
	d.ingest = func(ctx context.Context, _ bridge.Inbound) (bridge.Accepted, error) {
		leave()
		return bridge.Accepted{}, ctx.Err()
	}
	w := httptest.NewRecorder()
	New(d.options(t)).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/api/operator/status", strings.NewReader(`{"online":true}`)))
	if w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
}

// discard is a writer that costs nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

type taker struct{}

func (taker) Ingest(context.Context, bridge.Inbound) (bridge.Accepted, error) {
	return bridge.Accepted{ID: "evt_0000000000000001"}, nil
}

// BenchmarkAccept compares an accept without its store with the least that Echo can do with the same body.
func BenchmarkAccept(b *testing.B) {
	body := `{"type":"visitor_message","message":` + someMessage + `,"session":` + someSession + `}`
	d := newDesk()
	o := Options{
		Ingester: taker{}, Feed: d.feed, Callbacks: d.callbacks, Presence: d, Health: d,
		APIKeys: []bridge.Secret{"0123456789abcdef0123456789abcdef"}, Heartbeat: time.Minute,
	}
	bare := echo.New()
	bare.POST("/api/events", func(c echo.Context) error {
		if _, err := io.ReadAll(c.Request().Body); err != nil {
			return err
		}
		return c.JSON(http.StatusOK, accepted{OK: true, ID: "evt_0000000000000001"})
	})
	decoding := echo.New()
	decoding.POST("/api/events", func(c echo.Context) error {
		e := new(bridge.AppEvent)
		if err := json.NewDecoder(c.Request().Body).Decode(e); err != nil {
			return err
		}
		return c.JSON(http.StatusOK, accepted{OK: true, ID: "evt_0000000000000001"})
	})
	for _, bench := range []struct {
		name    string
		handler http.Handler
	}{{"bridge", New(o)}, {"echo", bare}, {"echo decoding", decoding}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequestWithContext(b.Context(), "POST", "/api/events", nil)
			r.Header.Set("Authorization", "Bearer 0123456789abcdef0123456789abcdef")
			r.ContentLength = int64(len(body))
			for b.Loop() {
				r.Body = io.NopCloser(strings.NewReader(body))
				bench.handler.ServeHTTP(&discard{header: make(http.Header)}, r)
			}
		})
	}
}
