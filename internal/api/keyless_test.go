package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// askAs asks as a browser or another program would, by the name of a host.
func askAs(t *testing.T, h http.Handler, method, path, host string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHostWithoutKey(t *testing.T) {
	o := newDesk().options(t)
	o.PublicURL = "https://Bridge.Example.com:8443/base"
	open := New(o)
	o.APIKeys = []bridge.Secret{"0123456789abcdef"}
	keyed := New(o)
	for host, served := range map[string]bool{
		"127.0.0.1:3001": true, "10.1.2.3": true, "[::1]:3001": true, "[fd00::7]": true, "localhost:3001": true, "LOCALHOST": true,
		"localhost.:3001": true, "shop.localhost:3001": true, "bridge:3001": true, "bridge": true, "host.docker.internal:3001": true,
		"bridge.example.com": true, "bridge.example.com.": true, "BRIDGE.example.com:3001": true, "": true,
		"evil.example:3001": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "127.0.0.1.nip.io:3001": false,
		"evil.bridge.example.com": false, "internal.evil.example": false, "notlocalhost.": true, "a.b": false, "1.2.3": false,
	} {
		for _, path := range []string{"/api/presence", "/health", "/readyz", "/nothing", "/api/events/stream/"} {
			if got := askAs(t, open, "POST", path, host); (got.Code != http.StatusMisdirectedRequest) != served {
				t.Errorf("%q %s: %d %s", host, path, got.Code, got.Body)
			}
			if got := askAs(t, keyed, "POST", path, host); got.Code == http.StatusMisdirectedRequest {
				t.Errorf("with keys, %q %s: %d", host, path, got.Code)
			}
		}
	}
}

func TestPagesOfOthersWithoutKey(t *testing.T) {
	const allowed = "https://app.example"
	tests := []struct {
		name   string
		header []string
		cors   []string
		served bool
	}{
		{"a program", nil, nil, true},
		{"typed into the browser", []string{"Sec-Fetch-Site", "none"}, nil, true},
		{"a cross-site fetch", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, nil, false},
		{"a cross-site picture", []string{"Sec-Fetch-Site", "cross-site"}, nil, false},
		{"a form of an old browser", []string{"Origin", "https://evil.example"}, nil, false},
		{"a page in a sandbox, or a file", []string{"Origin", "null"}, nil, false},
		{"another server on this machine", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:5173"}, nil, false},
		{"an allowed page", []string{"Sec-Fetch-Site", "cross-site", "Origin", allowed}, []string{allowed}, true},
		{"beside an allowed page", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, []string{allowed}, false},
		{"a picture beside an allowed page", []string{"Sec-Fetch-Site", "cross-site"}, []string{allowed}, false},
		{"null beside an allowed page", []string{"Origin", "null"}, []string{allowed}, false},
		{"two origins", []string{"Origin", allowed, "Origin", "https://evil.example"}, []string{allowed}, false},
		{"any page is allowed", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://any.example"}, []string{"*"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk()
			o := d.options(t)
			o.CORSOrigins, o.Metrics = test.cors, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			open := New(o)
			for _, q := range []struct{ method, path string }{
				{"POST", "/api/events"}, {"GET", "/api/presence"}, {"PUT", "/api/callbacks/x"}, {"GET", "/api/callbacks"},
				{"POST", "/api/callbacks/x/rotate"}, {"GET", "/metrics"}, {"GET", "/stats"}, {"OPTIONS", "/api/callbacks/x"},
			} {
				got := askAs(t, open, q.method, q.path, "localhost:3001", test.header...)
				if (got.Code != http.StatusForbidden) != test.served {
					t.Errorf("%s %s: %d %s", q.method, q.path, got.Code, got.Body)
				}
			}
			for _, path := range []string{"/health", "/readyz", "/livez"} { // which have rules of their own
				if got := askAs(t, open, "GET", path, "localhost:3001", test.header...); got.Code != http.StatusOK {
					t.Errorf("%s: %d", path, got.Code)
				}
			}
			o.APIKeys = []bridge.Secret{"0123456789abcdef"}
			if got := askAs(t, New(o), "GET", "/api/presence", "evil.example", append(test.header, "Authorization", "Bearer 0123456789abcdef")...); got.Code != http.StatusOK {
				t.Errorf("with a key: %d %s", got.Code, got.Body)
			}
			if n := len(d.inbound()); n != 0 {
				t.Errorf("%d events were taken", n)
			}
		})
	}
}

func TestWithoutKeyAround(t *testing.T) {
	h := WithoutKey(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), "https://b.example", nil)
	for host, want := range map[string]int{"127.0.0.1:9090": 204, "b.example": 204, "evil.example": 421} {
		if got := askAs(t, h, "GET", "/metrics", host); got.Code != want {
			t.Errorf("%s: %d", host, got.Code)
		}
	}
	if got := askAs(t, h, "GET", "/metrics", "127.0.0.1:9090", "Origin", "null"); got.Code != http.StatusForbidden {
		t.Errorf("another page: %d", got.Code)
	}
}
