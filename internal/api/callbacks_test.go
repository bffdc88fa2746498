package api

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

// registry keeps callbacks in memory.
type registry struct {
	mu     sync.Mutex
	regs   map[string]bridge.Registration
	specs  []bridge.RegisterRequest
	fault  error
	result bridge.TestResult // of every test
}

func newRegistry() *registry { return &registry{regs: map[string]bridge.Registration{}} }

func (r *registry) Put(_ context.Context, spec bridge.RegisterRequest) (bridge.Registration, bridge.Secret, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil {
		return bridge.Registration{}, "", false, r.fault
	}
	if spec.TTL > 365*24*time.Hour {
		return bridge.Registration{}, "", false, &bridge.FieldError{Field: "ttl", Problem: "must be between 1 and 31536000 seconds"}
	}
	r.specs = append(r.specs, spec)
	id := spec.ID
	if id == "" {
		id = "cb_made"
	}
	_, known := r.regs[id]
	made := bridge.Secret("")
	if !known && spec.Secret == "" {
		made = "whsec_made"
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.regs[id] = bridge.Registration{ID: id, URL: spec.URL, Events: spec.Events, CreatedAt: at, ExpiresAt: at.Add(spec.TTL)}
	return r.regs[id], made, !known, nil
}

func (r *registry) Get(_ context.Context, id string) (bridge.Registration, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reg, ok := r.regs[id]
	return reg, ok, r.fault
}

func (r *registry) List(context.Context) ([]bridge.Registration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []bridge.Registration
	for _, reg := range r.regs {
		out = append(out, reg)
	}
	return out, r.fault
}

func (r *registry) Delete(_ context.Context, id string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.regs[id]
	delete(r.regs, id)
	return ok, r.fault
}

func (r *registry) Rotate(_ context.Context, id string) (bridge.Registration, bridge.Secret, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reg, ok := r.regs[id]
	return reg, "whsec_rotated", ok, r.fault
}

func (r *registry) Test(_ context.Context, id string) (bridge.TestResult, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.regs[id]
	return r.result, ok, r.fault
}

func TestRotateAndTest(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t)) + "/api/callbacks/"
	for _, path := range []string{"none/rotate", "none/test"} {
		if got := ask(t, "POST", url+path, ""); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	ask(t, "PUT", url+"web%2F1", `{"url":"https://a.example","ttl":60}`)
	got := ask(t, "POST", url+"web%2F1/rotate", "")
	if got.status != 200 || got.header.Get("Cache-Control") != "no-store" || !strings.Contains(got.body, `"secret":"whsec_rotated","operatorOnline":false`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, c := range []struct {
		result bridge.TestResult
		want   string
	}{
		{bridge.TestResult{Status: 204, Took: 1500 * time.Millisecond}, `{"ok":true,"status":204,"duration":1.5}`},
		{bridge.TestResult{Status: 500, Took: time.Second, Answer: "oops", Fault: "the receiver answered 500"},
			`{"ok":false,"status":500,"duration":1,"answer":"oops","error":"the receiver answered 500"}`},
		{bridge.TestResult{Fault: "connection refused"}, `{"ok":false,"duration":0,"error":"connection refused"}`},
	} {
		d.callbacks.result = c.result
		if got := ask(t, "POST", url+"web%2F1/test", ""); got.status != 200 || got.body != c.want {
			t.Errorf("%d %s, want %s", got.status, got.body, c.want)
		}
	}
	d.callbacks.fault = &bridge.FieldError{Field: "id", Problem: "is the configuration's"}
	if got := ask(t, "POST", url+"backend/rotate", ""); got.status != 400 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// What the configuration names has no times, and is shown like the others.
func TestConfiguredCallback(t *testing.T) {
	d := newDesk()
	d.callbacks.regs["backend"] = bridge.Registration{ID: "backend", URL: "https://app.example/…"}
	url := serve(t, d.options(t)) + "/api/callbacks"
	if got := ask(t, "GET", url, ""); got.body != `{"callbacks":[{"id":"backend","url":"https://app.example/…"}]}` {
		t.Errorf("%s", got.body)
	}
	if got := ask(t, "GET", url+"/backend", ""); got.body != `{"id":"backend","url":"https://app.example/…","operatorOnline":false}` {
		t.Errorf("%s", got.body)
	}
}

func TestCallbacks(t *testing.T) {
	d := newDesk()
	d.online = true
	url := serve(t, d.options(t))
	check := func(got answered, status int, body string) {
		t.Helper()
		if got.status != status || got.body != body {
			t.Errorf("%d %s\nwant %d %s", got.status, got.body, status, body)
		}
	}
	check(ask(t, "GET", url+"/api/callbacks", ""), 200, `{"callbacks":[]}`)
	times := `"createdAt":"2026-01-02T03:04:05Z","expiresAt":"2026-01-02T03:05:05Z"`
	put := `{"url":"https://a.example/x","events":["operator_message"],"ttl":60,"more":1}`
	check(ask(t, "PUT", url+"/api/callbacks/web%2F1", put), 201,
		`{"id":"web/1","url":"https://a.example/x","events":["operator_message"],`+times+`,"secret":"whsec_made","operatorOnline":true}`)
	reg := `{"id":"web/1","url":"https://a.example/x","events":["operator_message"],` + times
	check(ask(t, "PUT", url+"/api/callbacks/web%2F1", put), 200, reg+`,"operatorOnline":true}`)
	check(ask(t, "GET", url+"/api/callbacks/web%2F1", ""), 200, reg+`,"operatorOnline":true}`)
	check(ask(t, "GET", url+"/api/callbacks", ""), 200, `{"callbacks":[`+reg+`}]}`)
	check(ask(t, "DELETE", url+"/api/callbacks/web%2F1", ""), 204, "")
	for _, method := range []string{"GET", "DELETE"} {
		if got := ask(t, method, url+"/api/callbacks/web%2F1", ""); got.status != 404 {
			t.Errorf("%s of none: %d", method, got.status)
		}
	}

	a := ask(t, "POST", url+"/api/callbacks", `{"url":"https://b.example","secret":"own"}`)
	var made registration
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if made.Secret != "" || made.ID != "cb_made" || a.header.Get("Location") != "/api/callbacks/cb_made" {
		t.Errorf("made %+v at %s", made, a.header.Get("Location"))
	}
	want := []bridge.RegisterRequest{
		{ID: "web/1", URL: "https://a.example/x", Events: []bridge.Type{"operator_message"}, TTL: time.Minute},
		{ID: "web/1", URL: "https://a.example/x", Events: []bridge.Type{"operator_message"}, TTL: time.Minute},
		{URL: "https://b.example", Secret: "own"},
	}
	if diff := cmp.Diff(want, d.callbacks.specs); diff != "" {
		t.Error(diff)
	}
}

func TestCallbackFaults(t *testing.T) {
	d := newDesk()
	url := serve(t, d.options(t)) + "/api/callbacks"
	for _, test := range []struct {
		fault  error
		status int
		code   string
	}{
		{&bridge.FieldError{Field: "url", Problem: "leads to a private address"}, 400, "invalid_field"},
		{bridge.ErrTooManyCallbacks, 422, "too_many_callbacks"},
		{bridge.ErrUnavailable, 503, "unavailable"},
	} {
		d.callbacks.fault = test.fault
		got := ask(t, "PUT", url+"/x", `{"url":"https://a.example"}`)
		if code, _ := got.problem(t); got.status != test.status || code != test.code {
			t.Errorf("%v: %d %s", test.fault, got.status, got.body)
		}
	}
}
