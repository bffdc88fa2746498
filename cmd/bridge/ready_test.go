package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

func TestStoreCause(t *testing.T) {
	for _, text := range []string{
		"redis: dial tcp 10.1.2.3:6379: connect: connection refused", "dial tcp: lookup db.secret.example: no such host",
		"redis: read tcp 10.1.2.3:5->10.1.2.3:6379: i/o timeout", "write /secret/bridge.db: no space left on device", "secret 10.1.2.3",
	} {
		if said := storeCause(errors.New(text)); said == "" || strings.Contains(said, "10.1") || strings.Contains(said, "secret") {
			t.Errorf("%q is told as %q", text, said)
		}
	}
}

// Who has no key is told that the store is away, but not where it is.
func TestReadyShowsNoAddress(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		r := newRig(t)
		server := redistest.Start(t)
		r.env["REDIS_URL"] = server.URL()
		if keyed {
			r.env["API_KEY"], r.env["BIND"] = keptKey, "127.0.0.1"
		}
		r.start()
		server.Kill()
		var answer string
		r.until("not ready", func() bool {
			var code int
			code, answer = r.ask(http.MethodGet, "/readyz?verbose", "", "")
			return code == http.StatusServiceUnavailable
		})
		if strings.Contains(answer, server.Addr) || !strings.Contains(answer, "the store cannot be reached") {
			t.Errorf("without a key (there are some: %v) it says\n%s", keyed, answer)
		}
		if !keyed {
			continue
		}
		if _, answer = r.ask(http.MethodGet, "/readyz?verbose", keptKey, ""); !strings.Contains(answer, server.Addr) {
			t.Errorf("with a key it says\n%s", answer)
		}
	}
}
