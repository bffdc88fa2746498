package redis_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// TestTheOtherWay: a URL with TLS for a port without, and the other way round, is an error that says so.
func TestTheOtherWay(t *testing.T) {
	t.Parallel()
	plain := redistest.Start(t)
	guarded := redistest.Start(t, "--requirepass", "secret-secret")
	shakes := httptest.NewTLSServer(nil) // stands for a Redis with TLS: nothing gets beyond the handshake
	defer shakes.Close()
	tls := strings.TrimPrefix(shakes.URL, "https://")
	for url, want := range map[string]string{
		"rediss://" + plain.Addr + "/0?dial_timeout=200ms":                       "speaks without TLS",
		"rediss://:secret-secret@" + guarded.Addr + "/0?dial_timeout=200ms":      "speaks without TLS",
		"redis://" + tls + "/0?dial_timeout=2s&read_timeout=2s&write_timeout=2s": "speaks TLS",
	} {
		s, err := redis.Open(t.Context(), url, redis.Options{})
		if err == nil {
			_ = s.Close()
			t.Fatalf("%s is opened", url)
		}
		if !errors.Is(err, bridge.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-secret") {
			t.Errorf("%s: %v; want %q", url, err, want)
		}
	}
}
