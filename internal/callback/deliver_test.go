package callback

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/pocketping/bridge/internal/bridge"
)

func operatorMessage(session string) bridge.Entry {
	return bridge.Entry{
		Seq: bridge.SeqAt(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)),
		Event: bridge.Event{
			Type: bridge.TypeOperatorMessage, Origin: "telegram", Session: session, Message: "telegram:7",
			Body: json.RawMessage(`{"sessionId":"` + session + `","content":"hello"}`),
		},
	}
}

func TestTargets(t *testing.T) {
	withBackend := func(o *Options) { o.BackendURL = "http://127.0.0.1:1/backend" }
	message := operatorMessage("s")
	status := bridge.Entry{Event: bridge.Event{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge}}
	only := func(e bridge.Entry, id string) bridge.Entry { e.Event.Callback = id; return e }
	from := func(e bridge.Entry, origin string) bridge.Entry { e.Event.Origin = origin; return e }
	answer := message
	answer.Event.Type = bridge.TypeAnswer
	for _, c := range []struct {
		name    string
		backend bool
		none    bool // nothing is registered
		e       bridge.Entry
		bound   string
		want    []string
	}{
		{name: "unbound", e: message, want: []string{"a", "b"}},
		{name: "unbound with backend", backend: true, e: message, want: []string{"a", "b", "backend"}},
		{name: "bound", e: message, bound: "a", want: []string{"a"}},
		{name: "bound with backend", backend: true, e: message, bound: "a", want: []string{"backend", "a"}},
		{name: "bound to backend", backend: true, e: message, bound: "backend", want: []string{"backend"}},
		{name: "bound to a backend that is not configured", e: message, bound: "backend", want: []string{"a", "b"}},
		{name: "bound to one that is gone", e: message, bound: "gone", want: []string{"a", "b"}},
		{name: "bound to one that does not want it", e: message, bound: "statuses"},
		{name: "failing", e: message, bound: "failing", want: []string{"a", "b"}},
		{name: "status", backend: true, e: status, bound: "a", want: []string{"a", "b", "backend", "statuses"}},
		{name: "for one", backend: true, e: only(status, "b"), want: []string{"b"}},
		{name: "for backend", backend: true, e: only(status, "backend"), want: []string{"backend"}},
		{name: "for one that is gone", backend: true, e: only(status, "gone")},
		{name: "for one that does not want it", e: only(message, "statuses")},
		{name: "from the app", backend: true, e: from(message, bridge.OriginApp)},
		{name: "from the app, named", backend: true, e: only(from(message, bridge.OriginApp), "a")},
		{name: "for an operator", backend: true, e: answer},
		{name: "nobody", none: true, e: message, bound: "a"},
		{name: "backend alone", none: true, backend: true, e: message, bound: "a", want: []string{"backend"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var change []func(*Options)
			if c.backend {
				change = append(change, withBackend)
			}
			r := newRegistry(t, newMemory(), change...)
			if !c.none {
				put(t, r, bridge.RegisterRequest{ID: "a"})
				put(t, r, bridge.RegisterRequest{ID: "b", Events: []bridge.Type{bridge.TypeOperatorMessage, bridge.TypeOperatorStatus}})
				put(t, r, bridge.RegisterRequest{ID: "statuses", Events: []bridge.Type{bridge.TypeOperatorStatus}})
			}
			if c.bound == "failing" {
				c.bound = "a"
				r.failed["a"] = failures{first: time.Now(), last: time.Now().Add(failingAfter)}
			}
			if diff := cmp.Diff(c.want, r.Targets(c.e, c.bound)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFailingForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, newMemory())
		put(t, r, bridge.RegisterRequest{ID: "a"})
		put(t, r, bridge.RegisterRequest{ID: "b"})
		down := &bridge.DeliveryError{Reason: bridge.ReasonTransient}
		moved := func() bool { return len(r.Targets(operatorMessage("s"), "a")) == 2 }
		for range 6 {
			r.note("a", down, false)
			if moved() {
				t.Fatal("moved before a minute was over")
			}
			time.Sleep(10 * time.Second)
		}
		r.note("a", down, true)
		if moved() {
			t.Error("an attempt that we broke off counts")
		}
		r.note("a", down, false)
		if !moved() {
			t.Error("not moved after a minute")
		}
		r.note("a", &bridge.DeliveryError{Reason: bridge.ReasonRejected}, false)
		if moved() {
			t.Error("one that refuses an event counts as failing")
		}
		r.note("a", down, false)
		time.Sleep(time.Hour)
		if moved() {
			t.Error("one failure, long ago, counts as an hour of them")
		}
		r.note("a", down, false)
		r.note("a", nil, false)
		if moved() {
			t.Error("one that took an event counts as failing")
		}
		r.note("unknown", down, false)
		if len(r.failed) != 0 {
			t.Errorf("%d kept", len(r.failed))
		}
	})
}

func TestPost(t *testing.T) {
	type seen struct {
		header http.Header
		body   []byte
	}
	got := make(chan seen, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/hook" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		got <- seen{r.Header, body}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	r := newRegistry(t, newMemory(), func(o *Options) {
		o.BackendURL, o.BackendSecret, o.APIKey = bridge.Secret(srv.URL+"/hook"), secret, "first-key"
	})
	put(t, r, bridge.RegisterRequest{ID: "app", URL: srv.URL + "/hook", Secret: secret})
	e := operatorMessage("s")
	judge := must(standardwebhooks.NewWebhook(secret))(t)
	for _, id := range []string{"app", Backend} {
		if err := r.Post(t.Context(), id, e); err != nil {
			t.Fatal(err)
		}
		s := <-got
		if string(s.body) != string(e.Wire()) {
			t.Errorf("body %s", s.body)
		}
		if err := judge.Verify(s.body, s.header); err != nil {
			t.Error(err)
		}
		authorization := ""
		if id == Backend {
			authorization = "Bearer first-key"
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "User-Agent": "bridge/test", "X-PocketPing-Event": "operator_message",
			"X-PocketPing-Signature": signature(secret, s.body), "webhook-id": e.Seq.String(),
			"Authorization": authorization, "Referer": "", "Cookie": "",
		} {
			if v := s.header.Get(name); v != want {
				t.Errorf("%s: %q, want %q", name, v, want)
			}
		}
	}
}

func TestBackendIsUnguarded(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-PocketPing-Signature") != "" || r.Header.Get("Authorization") != "" {
			t.Error("signed without a secret")
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	s := newMemory()
	put(t, newRegistry(t, s), bridge.RegisterRequest{ID: "app", URL: srv.URL})
	r := newRegistry(t, s, func(o *Options) { o.BackendURL, o.Guard = bridge.Secret(srv.URL), nil })
	if err := r.Post(t.Context(), Backend, operatorMessage("s")); err != nil {
		t.Error(err)
	}
	// Registered when the setting still allowed it; the address is looked at again.
	d := fault(t, r.Post(t.Context(), "app", operatorMessage("s")))
	if d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, "loopback") {
		t.Errorf("%v", d)
	}
	if ok := must(r.Touch(t.Context(), Backend))(t); !ok {
		t.Error("backend is not known")
	}
}

func fault(t *testing.T, err error) *bridge.DeliveryError {
	t.Helper()
	d, ok := err.(*bridge.DeliveryError) //nolint:errorlint // the type itself is promised
	if !ok {
		t.Fatalf("%v is not a *bridge.DeliveryError", err)
	}
	return d
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		want   bridge.Reason // empty: delivered
		wait   time.Duration
	}{
		{status: 200}, {status: 201}, {status: 202}, {status: 204}, {status: 299},
		{status: 301, want: bridge.ReasonTransient},
		{status: 302, want: bridge.ReasonTransient},
		{status: 307, want: bridge.ReasonTransient},
		{status: 308, want: bridge.ReasonTransient},
		{status: 400, want: bridge.ReasonRejected},
		{status: 401, want: bridge.ReasonTransient},
		{status: 403, want: bridge.ReasonTransient},
		{status: 404, want: bridge.ReasonTransient},
		{status: 405, want: bridge.ReasonTransient},
		{status: 408, want: bridge.ReasonTransient},
		{status: 409, want: bridge.ReasonTransient},
		{status: 410, want: bridge.ReasonTransient},
		{status: 413, want: bridge.ReasonRejected},
		{status: 415, want: bridge.ReasonRejected},
		{status: 422, want: bridge.ReasonRejected},
		{status: 429, want: bridge.ReasonTransient},
		{status: 429, after: "7", want: bridge.ReasonRateLimited, wait: 7 * time.Second},
		{status: 500, want: bridge.ReasonTransient},
		{status: 500, after: "7", want: bridge.ReasonRateLimited, wait: 7 * time.Second},
		{status: 404, after: "9", want: bridge.ReasonRateLimited, wait: 9 * time.Second},
		{status: 410, after: "9", want: bridge.ReasonTransient},
		{status: 422, after: "9", want: bridge.ReasonRejected},
		{status: 502, want: bridge.ReasonTransient},
		{status: 503, want: bridge.ReasonTransient},
		{status: 503, after: "120", want: bridge.ReasonRateLimited, wait: 2 * time.Minute},
		{status: 504, want: bridge.ReasonTransient},
	} {
		t.Run(strings.TrimSpace(http.StatusText(c.status)+" "+c.after), func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/s3cret-path" {
					t.Errorf("a redirect to %s was followed", r.URL.Path)
				}
				w.Header().Set("Location", "/elsewhere")
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
				if c.status != 204 {
					_, _ = io.WriteString(w, "hunter2")
				}
			}))
			defer srv.Close()
			r := newRegistry(t, newMemory(), func(o *Options) { o.BackendURL = bridge.Secret(srv.URL + "/s3cret-path") })
			put(t, r, bridge.RegisterRequest{ID: "app", URL: srv.URL + "/s3cret-path"})
			for _, id := range []string{"app", Backend} {
				err := r.Post(t.Context(), id, operatorMessage("s"))
				if c.want == "" {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				d := fault(t, err)
				if d.Reason != c.want || d.Scope != bridge.ScopeSession || d.RetryAfter != c.wait {
					t.Errorf("%s: %s, scope %d, wait %v", id, d.Reason, d.Scope, d.RetryAfter)
				}
				for _, s := range []string{"s3cret", "127.0.0.1", "hunter2", "elsewhere"} {
					if strings.Contains(d.Error(), s) {
						t.Errorf("%q carries %q", d, s)
					}
				}
			}
		})
	}
}

func TestGone(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	defer srv.Close()
	s := newMemory()
	r := newRegistry(t, s, func(o *Options) { o.BackendURL = bridge.Secret(srv.URL) })
	put(t, r, bridge.RegisterRequest{ID: "app", URL: srv.URL})
	put(t, r, bridge.RegisterRequest{ID: "other"})
	changed := r.Changed()
	d := fault(t, r.Post(t.Context(), "app", operatorMessage("s")))
	if d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, "removed") {
		t.Errorf("%v", d)
	}
	<-changed
	if got := r.Targets(operatorMessage("s"), "app"); slices.Contains(got, "app") || !slices.Contains(got, "other") {
		t.Errorf("targets %v", got)
	}
	if s.rows["app"] != nil {
		t.Error("its row is still there")
	}
	if d := fault(t, r.Post(t.Context(), "app", operatorMessage("s"))); d.Reason != bridge.ReasonTransient {
		t.Errorf("%v", d)
	}
	if d := fault(t, r.Post(t.Context(), Backend, operatorMessage("s"))); strings.Contains(d.Detail, "removed") {
		t.Errorf("%v", d)
	}

	// One that registered anew while the old one answered 410 stays.
	put(t, r, bridge.RegisterRequest{ID: "again", URL: srv.URL})
	old := r.target("again").rec
	put(t, r, bridge.RegisterRequest{ID: "again", URL: "http://127.0.0.1:1/new"})
	if ok := must(r.remove(t.Context(), "again", old))(t); ok || s.rows["again"] == nil {
		t.Error("the new registration was removed")
	}
}

func TestTransportFaults(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	refused := "http://" + ln.Addr().String() + "/s3cret-path"
	_ = ln.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer broken.Close()
	r := newRegistry(t, newMemory(), func(o *Options) { o.BackendURL, o.APIKey = bridge.Secret(refused), "bad\nkey" })
	put(t, r, bridge.RegisterRequest{ID: "refused", URL: refused})
	put(t, r, bridge.RegisterRequest{ID: "broken", URL: broken.URL + "/s3cret-path"})
	for id, want := range map[string]bridge.Reason{
		"refused": bridge.ReasonTransient, "broken": bridge.ReasonUnconfirmed, Backend: bridge.ReasonTransient,
	} {
		d := fault(t, r.Post(t.Context(), id, operatorMessage("s")))
		if d.Reason != want || d.Scope != bridge.ScopeSession || d.Detail == "" {
			t.Errorf("%s: %+v", id, d)
		}
		for _, s := range []string{"s3cret", "127.0.0.1", "bad", "whsec"} {
			if strings.Contains(d.Error(), s) {
				t.Errorf("%q carries %q", d, s)
			}
		}
	}
}

// Every call uses the connection of the one before, unless its answer was endless.
func TestConnectionsAndLongAnswers(t *testing.T) {
	var connections atomic.Int64
	size := 1000
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		line := []byte(strings.Repeat("x", 1000))
		for range size / len(line) {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	r := newRegistry(t, newMemory())
	put(t, r, bridge.RegisterRequest{ID: "app", URL: srv.URL})
	for range 5 {
		if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for 5 calls", n)
	}
	size = 1 << 30
	if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
		t.Error(err)
	}
}

// The configuration's callback is told of the types that it asked for, and of what waits for a platform only when it names that.
func TestBackendEvents(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []bridge.Type
		want   []bridge.Type
	}{
		{"the existing server's", bridge.ExistingTypes(), bridge.ExistingTypes()},
		{"all", nil, slices.DeleteFunc(bridge.TeamTypes(), func(t bridge.Type) bool { return t == bridge.TypeMessageDelayed })},
		{"some", []bridge.Type{bridge.TypeMessageDelayed, bridge.TypeOperatorStatus}, []bridge.Type{bridge.TypeOperatorStatus, bridge.TypeMessageDelayed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRegistry(t, newMemory(), func(o *Options) { o.BackendURL, o.BackendEvents = "http://127.0.0.1:1/backend", c.events })
			var got []bridge.Type
			for _, kind := range bridge.TeamTypes() {
				e := bridge.Entry{Event: bridge.Event{Type: kind, Origin: "telegram", Session: "s"}}
				named := e
				named.Event.Callback = Backend
				all, one := r.Targets(e, ""), r.Targets(named, "")
				if !slices.Equal(all, one) {
					t.Errorf("%s: %q, and when it is named %q", kind, all, one)
				}
				if slices.Contains(all, Backend) {
					got = append(got, kind)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// What a receiver says of a type that it need not know is no word on how it does.
func TestUnknownTypesAreNoTrouble(t *testing.T) {
	status := http.StatusNotFound
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer srv.Close()
	r := newRegistry(t, newMemory(), func(o *Options) { o.BackendURL = bridge.Secret(srv.URL) })
	delivered := bridge.Entry{Event: bridge.Event{Type: bridge.TypeMessageDelivered, Origin: bridge.OriginBridge, Session: "s", Body: json.RawMessage(`{}`)}}
	for _, status = range []int{404, 405, 500, 501} {
		d := bridge.AsDelivery(r.Post(t.Context(), Backend, delivered), "", "")
		if d == nil || d.Status != status || d.UnknownType(delivered.Event.Type) != (status != 500) || d.UnknownType(bridge.TypeOperatorMessage) {
			t.Errorf("%d: %+v", status, d)
		}
		if _, troubled := r.failed[Backend]; troubled {
			t.Errorf("%d to what it need not know counts as trouble", status)
		}
	}
	if _ = r.Post(t.Context(), Backend, operatorMessage("s")); len(r.failed) == 0 {
		t.Error("501 to an operator's message is no trouble")
	}
}
