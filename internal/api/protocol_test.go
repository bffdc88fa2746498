package api

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

func TestProtocol(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	o.APIKeys = []bridge.Secret{"key"}
	base := serve(t, o)
	for _, test := range []struct {
		name   string
		header []string
		served bool
	}{
		{"none", nil, true},
		{"ours", []string{"X-PocketPing-Protocol", "1"}, true},
		{"the next", []string{"X-PocketPing-Protocol", "2"}, false},
		{"no number", []string{"X-PocketPing-Protocol", "one"}, false},
		{"empty", []string{"X-PocketPing-Protocol", ""}, false},
		{"two", []string{"X-PocketPing-Protocol", "1", "X-PocketPing-Protocol", "2"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range []string{"/health", "/api/events", "/nothing"} {
				method, want := "GET", map[string]int{"/health": 200, "/api/events": 200, "/nothing": 404}[path]
				if path == "/api/events" {
					method = "POST"
				}
				got := ask(t, method, base+path, `{"type":"operator_status","online":true}`, append(test.header, "Authorization", "Bearer key")...)
				if test.served {
					if got.status != want {
						t.Errorf("%s: %d %s", path, got.status, got.body)
					}
					continue
				}
				var said struct {
					Error, Code string
					Supported   []int
				}
				if err := json.Unmarshal([]byte(got.body), &said); err != nil || said.Error == "" {
					t.Fatalf("%s: %q", path, got.body)
				}
				if got.status != 426 || said.Code != "protocol" || !cmp.Equal(said.Supported, []int{1}) {
					t.Errorf("%s: %d %s", path, got.status, got.body)
				}
			}
		})
	}
	if n := len(d.inbound()); n != 2 {
		t.Errorf("%d events were taken, want 2", n)
	}
}
