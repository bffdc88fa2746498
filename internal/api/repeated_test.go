package api

import (
	"strings"
	"testing"
)

// A field that is there twice is refused on every path that takes JSON, so that nothing is handed on that was not looked at.
func TestRepeatedFieldsAreRefused(t *testing.T) {
	d := newDesk()
	base := serve(t, d.options(t))
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", "/api/events", `{"type":"session_closed","sessionId":"a","SessionId":"b"}`, "sessionId"},
		{"POST", "/api/events", `{"type":"session_closed","Type":"operator_message","sessionId":"a"}`, "type"},
		{"POST", "/api/messages", `{"type":"visitor_message","type":"operator_message","message":` + someMessage + `,"session":` + someSession + `}`, "type"},
		{"POST", "/api/messages", `{"type":1,"message":` + someMessage + `,"Message":` + someMessage + `,"session":` + someSession + `}`, "message"},
		{"POST", "/api/sessions", `{"id":"s1","visitorId":"v1","ID":"s2"}`, "id"},
		{"POST", "/api/sessions/s1/events", `{"name":"a","NAME":"b"}`, "name"},
		{"PUT", "/api/callbacks/web-1", `{"url":"https://app.example.com/a","URL":"https://evil.example.com/"}`, "url"},
	} {
		got := ask(t, c.method, base+c.path, c.body)
		if got.status != 400 {
			t.Errorf("%s %s: %d %s", c.path, c.body, got.status, got.body)
			continue
		}
		if _, field := got.problem(t); field != c.field || !strings.Contains(got.body, "more than once") {
			t.Errorf("%s %s: %s", c.path, c.body, got.body)
		}
	}
	if taken := d.inbound(); len(taken) > 0 {
		t.Errorf("%d taken", len(taken))
	}
}
