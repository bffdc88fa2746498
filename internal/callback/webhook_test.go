package callback

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/pocketping/bridge/internal/api/apitest"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// said is a request as a receiver saw it.
type said struct {
	header http.Header
	body   []byte
}

// receiver answers as the test says, and keeps what it got.
func receiver(t *testing.T, answer http.HandlerFunc) (url string, got chan said) {
	t.Helper()
	got = make(chan said, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- said{r.Header.Clone(), body}
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, got
}

func TestPostEvent(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	url, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r := newRegistry(t, newMemory(), func(o *Options) {
		o.EventsURL, o.EventsSecret, o.APIKey, o.Guard = bridge.Secret(url+"/catch/1"), secret, "first-key", nil
	})
	began := time.Now().Add(-time.Second)
	if err := r.PostEvent(t.Context(), bridge.TypeNewSession, "evt_1", []byte(`{"session":{"id":"s"}}`)); err != nil {
		t.Fatal(err)
	}
	s := <-got
	var body struct {
		Type   string          `json:"type"`
		Data   json.RawMessage `json:"data"`
		SentAt time.Time       `json:"sentAt"`
	}
	if err := json.Unmarshal(s.body, &body); err != nil || body.Type != "new_session" || string(body.Data) != `{"session":{"id":"s"}}` ||
		body.SentAt.Before(began) || body.SentAt.After(time.Now()) {
		t.Errorf("%s, %v", s.body, err)
	}
	if err := must(standardwebhooks.NewWebhook(secret))(t).Verify(s.body, s.header); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"X-PocketPing-Event": "new_session", "X-PocketPing-Signature": signature(secret, s.body), "webhook-id": "evt_1",
		"Content-Type": "application/json", "User-Agent": "bridge/test", "Authorization": "",
	} {
		if v := s.header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	unsigned := newRegistry(t, newMemory(), func(o *Options) { o.EventsURL = bridge.Secret(url) })
	if err := unsigned.PostEvent(t.Context(), bridge.TypeNewSession, "evt_2", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s.header.Get("webhook-id") != "evt_2" || s.header.Get("X-PocketPing-Signature")+s.header.Get("webhook-signature") != "" {
		t.Errorf("%v", s.header)
	}
}

// What cannot be reached, or asks for time, is no event's own fault.
func TestPostEventFaults(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	refused := "http://" + ln.Addr().String()
	_ = ln.Close()
	answering := func(status int, after string) string {
		url, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(status)
		})
		return url
	}
	broken, _ := receiver(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, c := range map[string]struct {
		url    string
		reason bridge.Reason
		scope  bridge.Scope
	}{
		"refused":       {refused, bridge.ReasonTransient, bridge.ScopeDestination},
		"broken off":    {broken, bridge.ReasonUnconfirmed, bridge.ScopeSession},
		"500":           {answering(500, ""), bridge.ReasonTransient, bridge.ScopeSession},
		"410":           {answering(410, ""), bridge.ReasonTransient, bridge.ScopeSession},
		"429":           {answering(429, "3"), bridge.ReasonRateLimited, bridge.ScopeDestination},
		"503":           {answering(503, "3"), bridge.ReasonRateLimited, bridge.ScopeDestination},
		"422":           {answering(422, ""), bridge.ReasonRejected, bridge.ScopeSession},
		"not any more":  {"", bridge.ReasonTransient, bridge.ScopeDestination},
		"a control one": {"http://127.0.0.1\n", bridge.ReasonTransient, bridge.ScopeDestination},
	} {
		r := newRegistry(t, newMemory(), func(o *Options) { o.EventsURL = bridge.Secret(c.url) })
		d := fault(t, r.PostEvent(t.Context(), bridge.TypeNewSession, "evt_1", []byte(`{}`)))
		if d.Reason != c.reason || d.Scope != c.scope || d.Op != "webhook" || d.Detail == "" {
			t.Errorf("%s: %+v", name, d)
		}
		if strings.Contains(d.Error(), "127.0.0.1") {
			t.Errorf("%s: %q carries the address", name, d)
		}
	}
}

func TestTest(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	status := http.StatusOK
	url, got := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "you said "+secret+" "+r.Header.Get("Authorization")+" \xff "+strings.Repeat("é", 1000))
	})
	s := newMemory()
	r := newRegistry(t, s, func(o *Options) {
		o.BackendURL, o.APIKey = bridge.Secret(url+"/s3cret"), "first-key"
		o.EventsURL, o.EventsSecret = bridge.Secret(url+"/s3cret"), "events"
	})
	put(t, r, bridge.RegisterRequest{ID: "app", URL: url, Secret: secret, Events: []bridge.Type{bridge.TypeOperatorMessage}})
	for _, id := range []string{"app", Backend, Webhook} {
		result, err := r.Test(t.Context(), id)
		if err != nil || result.Status != 200 || result.Fault != "" || result.Took <= 0 || result.Took > time.Minute {
			t.Fatalf("%s: %+v, %v", id, result, err)
		}
		if (result.Answer == "") != (id != "app") {
			t.Errorf("%s: shown %q", id, result.Answer)
		}
		for _, never := range []string{secret, "first-key", "s3cret"} {
			if strings.Contains(result.Answer, never) {
				t.Errorf("%s: %q carries a secret", id, result.Answer)
			}
		}
		if n := len([]rune(result.Answer)); n > maxExcerpt+1 {
			t.Errorf("%s: %d characters are shown", id, n)
		}
		seen := <-got
		var body struct {
			Type string          `json:"type"`
			ID   string          `json:"id"`
			Data json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(seen.body, &body); err != nil || body.Type != "test" || seen.header.Get("X-PocketPing-Event") != "test" {
			t.Errorf("%s: %s, %v", id, seen.body, err)
		}
		if id == Webhook && string(body.Data) != "{}" || id != Webhook && body.ID != seen.header.Get("webhook-id") {
			t.Errorf("%s: %s", id, seen.body)
		}
	}
	// Whatever it answers, its registration stays and nothing is kept of it.
	for _, status = range []int{410, 500, 422} {
		result, err := r.Test(t.Context(), "app")
		if err != nil || result.Status != status || result.Fault == "" {
			t.Errorf("%+v, %v", result, err)
		}
	}
	if len(r.failed) != 0 || !r.Has("app") {
		t.Error("a test counts as a delivery")
	}
	if _, err := r.Test(t.Context(), "none"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	if result, err := newRegistry(t, s, func(o *Options) { o.Guard = nil }).Test(t.Context(), "app"); err != nil ||
		result.Status != 0 || !strings.Contains(result.Fault, "loopback") {
		t.Errorf("a private address: %+v, %v", result, err)
	}
	if _, err := newRegistry(t, newMemory()).Test(t.Context(), Webhook); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
	// A registration that another bridge took a moment ago can be tested.
	two := newRegistry(t, s)
	put(t, r, bridge.RegisterRequest{ID: "new", URL: url})
	status = http.StatusOK
	if result, err := two.Test(t.Context(), "new"); err != nil || result.Status != 200 {
		t.Errorf("%+v, %v", result, err)
	}
}

// What the configuration names is listed, without the path of its URL, and cannot be changed from outside.
func TestConfigured(t *testing.T) {
	r := newRegistry(t, newMemory(), func(o *Options) {
		o.BackendURL, o.EventsURL = "https://app.example.com/s3cret?key=1", "https://hooks.example.com/s3cret"
	})
	put(t, r, bridge.RegisterRequest{ID: "web"})
	list := must(r.List(t.Context()))(t)
	if len(list) != 2 || list[0].ID != Backend || list[0].URL != "https://app.example.com/…" || !list[0].ExpiresAt.IsZero() {
		t.Errorf("%+v", list)
	}
	if reg, ok, err := r.Get(t.Context(), Backend); !ok || err != nil || reg.URL != list[0].URL {
		t.Errorf("%+v, %v, %v", reg, ok, err)
	}
	for _, id := range []string{Backend, Webhook} {
		_, err := r.Delete(t.Context(), id)
		_, _, rotated := r.Rotate(t.Context(), id)
		_, _, _, taken := r.Put(t.Context(), bridge.RegisterRequest{ID: id, URL: "http://127.0.0.1/"}, nil)
		for _, err := range []error{err, rotated, taken} {
			if f, ok := errors.AsType[*bridge.FieldError](err); !ok || f.Field != "id" || !strings.Contains(f.Problem, "_WEBHOOK_URL") {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	plain := newRegistry(t, newMemory())
	if ok, err := plain.Delete(t.Context(), Backend); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	put(t, plain, bridge.RegisterRequest{ID: Webhook}) // an id like any other where there is no such webhook
	if !plain.Has(Webhook) || plain.Has(Backend) || !r.Has(Backend) || r.Has(Webhook) {
		t.Error("what is known is not what is there")
	}
}

// Where a callback leads is asked of the guard when it is registered: whatever it may not be is refused, with the reason and the
// setting that would allow it, and nobody is called.
func TestRefusedAddresses(t *testing.T) {
	asked := func(setting string) *Registry {
		return newRegistry(t, newMemory(), func(o *Options) {
			o.Guard = must(outbound.NewGuard(setting))(t)
			o.Dial = nil
		})
	}
	off, on := asked("off"), asked("on")
	refused := apitest.RefusedAddresses()
	if len(refused) < 40 {
		t.Fatalf("%d addresses", len(refused))
	}
	for _, c := range refused {
		w := bridge.RegisterRequest{ID: "app", URL: "http://" + c.Host + "/hook"}
		_, _, _, err := off.Put(t.Context(), w, nil)
		f, ok := errors.AsType[*bridge.FieldError](err)
		if !ok || f.Field != "url" || !strings.Contains(f.Problem, c.Because) || strings.Contains(f.Problem, outbound.GuardSetting) == c.Never {
			t.Errorf("%s: %v", c.Host, err)
		}
		if _, _, _, err := on.Put(t.Context(), w, nil); (err != nil) != c.Never {
			t.Errorf("%s where private ones are allowed: %v", c.Host, err)
		}
	}
	if n := len(must(off.List(t.Context()))(t)); n != 0 {
		t.Errorf("%d are registered", n)
	}
}

// Where it leads is asked again at each call: a registration from when it was allowed, a name that leads elsewhere meanwhile,
// and a redirect reach nobody.
func TestNobodyIsCalled(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody inside was called") }))
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	s := newMemory()
	open := newRegistry(t, s)
	for id, host := range map[string]string{
		"address": "127.0.0.1:" + port, "name": "localhost:" + port, "mapped": "[::ffff:127.0.0.1]:" + port,
	} {
		put(t, open, bridge.RegisterRequest{ID: id, URL: "http://" + host + "/"})
	}
	strict := newRegistry(t, s, func(o *Options) { o.Guard = nil })
	for _, id := range []string{"address", "name", "mapped"} {
		d := fault(t, strict.Post(t.Context(), id, operatorMessage("s")))
		if d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, "loopback") || !strings.Contains(d.Detail, outbound.GuardSetting) {
			t.Errorf("%s: %v", id, d)
		}
	}
	// Nobody who may be called can send us on to them.
	url, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
	})
	put(t, open, bridge.RegisterRequest{ID: "redirect", URL: url})
	d := fault(t, open.Post(t.Context(), "redirect", operatorMessage("s")))
	if d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, "redirects are not followed") {
		t.Errorf("%v", d)
	}
}

// Over TLS many calls at once share a connection.
func TestHTTP2(t *testing.T) {
	var versions, connections sync.Map
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		versions.Store(r.Proto, true)
		connections.Store(r.RemoteAddr, true)
		w.WriteHeader(http.StatusNoContent)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	r := newRegistry(t, newMemory(), func(o *Options) { o.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12} })
	put(t, r, bridge.RegisterRequest{ID: "app", URL: srv.URL})
	if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, ok := versions.Load("HTTP/2.0"); !ok {
		t.Error("HTTP/2 was not spoken")
	}
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections for 33 calls", n)
	}
}

// 64 sessions at once use as many connections again and again.
func TestConnectionsAreKept(t *testing.T) {
	var connections atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	r := newRegistry(t, newMemory())
	put(t, r, bridge.RegisterRequest{ID: "app", URL: srv.URL})
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 20 {
				if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := connections.Load(); n > 320 { // on a busy machine many dials lose the race against a connection that became free; not kept, there would be 1280
		t.Errorf("%d connections for 64 sessions", n)
	}
}

// Answers without an end, also behind a compression of a thousand to one, cost next to nothing.
func TestEndlessAnswersCostNoMemory(t *testing.T) {
	chunk := []byte(strings.Repeat("x", 32<<10))
	url, got := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	r := newRegistry(t, newMemory())
	put(t, r, bridge.RegisterRequest{ID: "app", URL: url})
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	post := func() {
		if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
			t.Error(err)
		}
		<-got
	}
	post()
	before := allocated()
	const calls = 50
	for range calls {
		post()
	}
	if each := (allocated() - before) / calls; each > 512<<10 { // both sides, in this one process
		t.Errorf("%d bytes for each call", each)
	}
}

// For a day after a rotation both secrets sign, and each is taken by the specification's own library.
func TestTwoSecrets(t *testing.T) {
	url, got := receiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r := newRegistry(t, newMemory())
	_, first, _, err := r.Put(t.Context(), bridge.RegisterRequest{ID: "app", URL: url}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := r.Rotate(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
		t.Fatal(err)
	}
	s := <-got
	for _, secret := range []bridge.Secret{first, second} {
		if err := must(standardwebhooks.NewWebhook(secret.Reveal()))(t).Verify(s.body, s.header); err != nil {
			t.Error(err)
		}
	}
	if s.header.Get("X-PocketPing-Signature") != signature(second, s.body) {
		t.Error("X-PocketPing-Signature is not made with the new secret")
	}
	// A third makes the first one void.
	_, third, err := r.Rotate(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Post(t.Context(), "app", operatorMessage("s")); err != nil {
		t.Fatal(err)
	}
	s = <-got
	for secret, want := range map[bridge.Secret]bool{first: false, second: true, third: true} {
		if err := must(standardwebhooks.NewWebhook(secret.Reveal()))(t).Verify(s.body, s.header); (err == nil) != want {
			t.Errorf("taken: %v, %v", want, err)
		}
	}
}

// Whoever waits for a change hears when events go to others, and when they come back.
func TestFailingIsTold(t *testing.T) {
	r := newRegistry(t, newMemory())
	put(t, r, bridge.RegisterRequest{ID: "app"})
	down := &bridge.DeliveryError{Reason: bridge.ReasonTransient}
	told := func(what string, want bool, do func()) {
		t.Helper()
		changed := r.Changed()
		do()
		select {
		case <-changed:
			if !want {
				t.Errorf("%s was told", what)
			}
		default:
			if want {
				t.Errorf("%s was not told", what)
			}
		}
	}
	told("the first failure", false, func() { r.note("app", down, false) })
	told("the second failure", false, func() { r.note("app", down, false) })
	r.failed["app"] = failures{first: time.Now().Add(-failingAfter), last: time.Now().Add(-time.Second)}
	told("a minute of failures", true, func() { r.note("app", down, false) })
	told("one more", false, func() { r.note("app", down, false) })
	told("its return", true, func() { r.note("app", nil, false) })
	told("a success", false, func() { r.note("app", nil, false) })
}
