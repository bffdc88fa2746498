package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// narrowTable says which narrow keys each route of the description takes. A route that is not here takes none.
func narrowTable() map[string][]Scope {
	read := []Scope{ScopeRead, ScopeDraft, ScopeReply}
	return map[string][]Scope{
		"POST /api/events":                   {ScopeEvents}, // with the example's type; a reply key's is below
		"POST /api/sessions":                 {ScopeEvents},
		"POST /api/messages":                 {ScopeEvents},
		"POST /api/operator/status":          {ScopeEvents},
		"POST /api/custom-events":            {ScopeEvents},
		"POST /api/disconnect":               {ScopeEvents},
		"GET /api/events/stream":             read,
		"GET /api/presence":                  read,
		"GET /api/sessions/{id}/messages":    read,
		"POST /api/sessions/{id}/transcript": read,
		"POST /api/sessions/{id}/drafts":     {ScopeDraft, ScopeReply},
		"GET /api/deliveries":                read,
		"GET /api/v1/stats":                  read,
		"GET /stats":                         read,
		"GET /metrics":                       read,
	}
}

const aBareKey = "bare-key-0123456789"

func narrowKey(scope Scope) string { return string(scope) + "-key-0123456789" }

// withNarrowKeys asks for keys: one that may do everything, and one of each scope.
func withNarrowKeys(o *Options) {
	o.APIKeys = []bridge.Secret{aBareKey}
	for _, scope := range Scopes() {
		o.NarrowKeys = append(o.NarrowKeys, NarrowKey{Secret: bridge.Secret(narrowKey(scope)), Scope: scope})
	}
}

// Every key at every route of the description: one that is too narrow is answered with 403, and nothing behind the route is asked.
func TestNarrowKeys(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	withNarrowKeys(&o)
	o.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	base := serve(t, o)
	table := narrowTable()
	seen := 0
	for path, item := range contract(t).Paths.Map() {
		if !guarded(path) {
			continue
		}
		for method := range item.Operations() {
			route := method + " " + path
			for _, scope := range append(Scopes(), "") {
				key := aBareKey
				if scope != "" {
					key = narrowKey(scope)
				}
				before := len(d.inbound())
				got := statusWith(t, method, base+strings.ReplaceAll(path, "{id}", "web-1"), key)
				if seen++; got == http.StatusUnauthorized || got == http.StatusMisdirectedRequest {
					t.Errorf("%s with the key %q: %d", route, scope, got)
				}
				if may := scope == "" || slices.Contains(table[route], scope); may != (got != http.StatusForbidden) {
					t.Errorf("%s with the key %q: %d, want it taken: %v", route, scope, got, may)
				}
				if got == http.StatusForbidden && len(d.inbound()) != before {
					t.Errorf("%s with the key %q: an event got through", route, scope)
				}
			}
		}
	}
	if seen < 5*20 {
		t.Errorf("only %d of key and route", seen)
	}
}

// statusWith asks with a key, an event's body where one is taken, and returns the answer's status alone, so that a stream ends.
func statusWith(t *testing.T, method, url, key string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(`{"type":"session_closed","sessionId":"s1"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// A reply key sends operator_message and no other event, however the type is written; no other narrow key but an events key sends
// any.
func TestNarrowKeysAndTypes(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	withNarrowKeys(&o)
	base := serve(t, o)
	operator := `{"type":"operator_message","session":` + someSession + `,"message":` + someMessage + `}`
	visitor := `{"type":"visitor_message","session":` + someSession + `,"message":` + someMessage + `}`
	for _, test := range []struct {
		scope  Scope
		path   string
		body   string
		status int
	}{
		{ScopeReply, "/api/events", operator, 200},
		{ScopeReply, "/api/events", visitor, 403},
		{ScopeReply, "/api/events", `{"type":"session_closed","sessionId":"s1"}`, 403},
		{ScopeReply, "/api/events", `{"type":"operator_status","online":true}`, 403},
		{ScopeReply, "/api/events", `{"type":"visitor_message"}`, 403},
		{ScopeReply, "/api/events", `{"type":"operator_message"}`, 400},
		{ScopeReply, "/api/events", `{`, 400},
		{ScopeReply, "/api/messages", visitor, 403},
		{ScopeReply, "//api/messages/", visitor, 403},
		{ScopeEvents, "/api/events", operator, 200},
		{ScopeEvents, "/api/events", visitor, 200},
		{ScopeDraft, "/api/events", operator, 403},
		{ScopeRead, "/api/events", operator, 403},
	} {
		before := len(d.inbound())
		got := ask(t, "POST", base+test.path, test.body, "Authorization", "Bearer "+narrowKey(test.scope))
		if taken := len(d.inbound()) - before; got.status != test.status || taken == 1 != (test.status == 200) {
			t.Errorf("%s, %s %s: %d, %d taken", test.scope, test.path, test.body, got.status, taken)
		}
		if got.status == 403 {
			if code, _ := got.problem(t); code != "key_too_narrow" {
				t.Errorf("%s: %s", test.scope, got.body)
			}
		}
	}
	for path, want := range map[string]int{"/api/nothing": 404, "/api": 404} {
		if got := ask(t, "GET", base+path, "", "Authorization", "Bearer "+narrowKey(ScopeRead)); got.status != want {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}
