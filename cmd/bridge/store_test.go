package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// What can befall a Redis. The bridge says 503 and why, loses nothing that it answered with 200, and goes on by itself.
func TestRedisAway(t *testing.T) {
	set := func(t *testing.T, s *redistest.Server, args ...any) {
		t.Helper()
		client := goredis.NewClient(&goredis.Options{Addr: s.Addr, MaxRetries: -1})
		defer func() { _ = client.Close() }()
		if err := client.Do(context.Background(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		away  func(t *testing.T, s *redistest.Server)
		back  func(t *testing.T, s *redistest.Server)
		cause string // is named in /readyz?verbose and in the log
	}{
		{
			"killed",
			func(_ *testing.T, s *redistest.Server) { s.Kill() },
			func(_ *testing.T, s *redistest.Server) { s.Restart() },
			"connection refused",
		},
		{
			"paused",
			func(_ *testing.T, s *redistest.Server) { s.Pause() },
			func(_ *testing.T, s *redistest.Server) { s.Resume() },
			"timeout",
		},
		{
			"full",
			func(t *testing.T, s *redistest.Server) { set(t, s, "config", "set", "maxmemory", "1mb") },
			func(t *testing.T, s *redistest.Server) { set(t, s, "config", "set", "maxmemory", "0") },
			"OOM",
		},
		{
			"read-only",
			func(t *testing.T, s *redistest.Server) { set(t, s, "replicaof", "127.0.0.1", "1") },
			func(t *testing.T, s *redistest.Server) { set(t, s, "replicaof", "no", "one") },
			"READONLY",
		},
		{
			"without its replicas",
			func(t *testing.T, s *redistest.Server) { set(t, s, "config", "set", "min-replicas-to-write", "1") },
			func(t *testing.T, s *redistest.Server) { set(t, s, "config", "set", "min-replicas-to-write", "0") },
			"NOREPLICAS",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			server := redistest.Start(t, "--appendfsync", "always") // else a kill may lose what was answered
			r.env["REDIS_URL"] = server.URL()
			r.start()
			tr := newTraffic(r)
			tr.allow(200)
			r.until("at work", func() bool { return tr.sent() >= 100 })
			test.away(t, server)

			r.until("refused", func() bool {
				resp, err := r.client.Post(r.process().base+"/api/messages", "application/json", strings.NewReader(message("away", "m", "back")))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				return resp.StatusCode == http.StatusServiceUnavailable
			})
			code, said := get(t, r, "/readyz?verbose")
			if code != http.StatusServiceUnavailable || !strings.Contains(said, test.cause) {
				t.Errorf("/readyz says %d %s", code, said)
			}
			if code, _ := get(t, r, "/health"); code != http.StatusOK {
				t.Errorf("/health says %d", code)
			}
			test.back(t, server)
			r.until("ready again", func() bool {
				code, _ := get(t, r, "/readyz")
				return code == http.StatusOK
			})
			tr.allow(100)
			r.until("the refused message taken", func() bool {
				code, _, err := r.post("/api/messages", message("away", "m", "back"))
				return err == nil && code == http.StatusOK
			})
			r.until("the refused message shown", func() bool { return len(r.topics("away")) > 0 })
			// While Redis was away calls that were under way may have lost their records, as with a kill.
			tr.endBeside(1, "away")
			if n := strings.Count(r.process().Output(), "the store does not take writes"); n == 0 || n > 3 {
				t.Errorf("the log says %d times that the store does not take writes", n)
			}
		})
	}
}

// A Redis that comes back empty has forgotten the sessions; the bridge goes on, and gives no id twice.
func TestRedisEmptied(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := redistest.Start(t)
	r.env["REDIS_URL"] = server.URL()
	r.start()
	before := r.must("/api/messages", message("mia", "m1", "before"))
	r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	var after accepted
	r.until("accepted", func() bool {
		code, a, err := r.post("/api/messages", message("mia", "m2", "after"))
		after = a
		return err == nil && code == http.StatusOK
	})
	if after.ID <= before.ID {
		t.Errorf("event %s comes after %s", after.ID, before.ID)
	}
	r.until("shown", func() bool {
		for _, topic := range r.topics("mia") {
			if strings.Contains(fmt.Sprint(r.shown(topic.ID)), "after") {
				return true
			}
		}
		return false
	})
}

// get asks the first bridge.
func get(t *testing.T, r *rig, path string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.process().base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestRedisBesideAFile: a start on an empty Redis beside a file with sessions says so; on one that is in use already, or beside a file
// without, it does not.
func TestRedisBesideAFile(t *testing.T) {
	t.Parallel()
	const said = "which are not carried over"
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.start()
	r.must("/api/messages", message("mia", "m1", "hello"))
	r.until("shown", func() bool { return len(r.topics("mia")) == 1 })
	r.process().Exit()
	stores()["redis"](t, r.env)
	for _, first := range []bool{true, false} {
		p := r.start()
		r.must("/api/messages", message("leo", "m1", "hello"))
		p.Exit()
		if strings.Contains(p.Output(), said) != first {
			t.Errorf("first start: %v\n%s", first, p.Output())
		}
	}
	r.env["DATA_DIR"] = t.TempDir()
	stores()["redis"](t, r.env)
	p := r.start()
	p.Exit()
	if strings.Contains(p.Output(), said) {
		t.Errorf("without a file it says\n%s", p.Output())
	}
}
