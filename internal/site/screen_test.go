package site_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
)

// A client whose address is kept out gets 403 on every route, and no session.
func TestScreen(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *site.Options) {
		o.Address = func(req *http.Request) string { return req.Header.Get("X-Test-Address") }
		o.Screen = func(address string) error {
			if address == "203.0.113.9" {
				return bridge.ErrFiltered
			}
			return nil
		}
	})
	ask := func(method, path, body, address string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), method, r.options.Path+path, strings.NewReader(body))
		req.Header.Set("Origin", origin)
		req.Header.Set("X-Test-Address", address)
		out := httptest.NewRecorder()
		r.door.ServeHTTP(out, req)
		return out
	}
	for _, c := range [][2]string{
		{"POST", "/connect"}, {"POST", "/message"}, {"GET", "/messages?sessionId=x"}, {"GET", "/stream?sessionId=x"}, {"POST", "/upload"}, {"GET", "/presence"},
	} {
		if got := ask(c[0], c[1], `{"visitorId":"v"}`, "203.0.113.9"); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), `"filtered"`) {
			t.Errorf("%s %s: %d %s", c[0], c[1], got.Code, got.Body)
		}
	}
	if got := ask("POST", "/connect", `{"visitorId":"v","sessionId":null,"metadata":{}}`, "192.0.2.1"); got.Code != http.StatusOK {
		t.Errorf("another client: %d %s", got.Code, got.Body)
	}
}
