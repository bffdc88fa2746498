package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

const keptRedis = "kept-redis-password-4b"

// A Redis that hangs keeps nobody waiting for long, whatever they ask; it is said once, with its cause and without a secret.
func TestHangingRedisKeepsNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withSecrets()
	server := redistest.Start(t, "--requirepass", keptRedis)
	r.env["REDIS_URL"] = strings.Replace(server.URL(), "redis://", "redis://:"+keptRedis+"@", 1)
	p := r.start()
	code, answer := r.ask(http.MethodPost, "/api/messages", keptKey, message("mia", "m0", keptText))
	if code != http.StatusOK {
		t.Fatalf("answered with\n%s", answer)
	}
	server.Pause()
	requests := []struct{ method, path, body string }{
		{http.MethodPost, "/api/messages", message("mia", "m%d", keptText)},
		{http.MethodPost, "/api/sessions", `{"id":"s%d","visitorId":"v"}`},
		{http.MethodPost, "/api/operator/status", `{"online":true}`},
		{http.MethodPut, "/api/callbacks/web-%d", `{"url":"http://127.0.0.1:1/"}`},
		{http.MethodGet, "/api/callbacks", ""},
		{http.MethodGet, "/readyz?verbose", ""},
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	longest := map[string]time.Duration{}
	for i := range 10 {
		for _, req := range requests {
			all.Go(func() {
				began := time.Now()
				fill := strings.NewReplacer("%d", fmt.Sprint(i+1))
				code, answer := r.ask(req.method, fill.Replace(req.path), keptKey, fill.Replace(req.body))
				took := time.Since(began)
				if code != http.StatusServiceUnavailable || req.path != "/readyz?verbose" && !strings.Contains(answer, "\r\nRetry-After: ") {
					t.Errorf("%s %s is answered with\n%s", req.method, req.path, answer)
				}
				if req.path == "/readyz?verbose" && !strings.Contains(answer, "timeout") {
					t.Errorf("the cause is not named:\n%s", answer)
				}
				r.noLeak("the answer of "+req.path, answer)
				mu.Lock()
				defer mu.Unlock()
				longest[req.path] = max(longest[req.path], took)
			})
		}
	}
	all.Wait()
	t.Logf("the longest answers: %v", longest)
	for path, took := range longest {
		if took > 15*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	server.Resume()
	r.until("ready again", func() bool {
		code, _ := r.ask(http.MethodGet, "/readyz", "", "")
		return code == http.StatusOK
	})
	code, answer = r.ask(http.MethodPost, "/api/messages", keptKey, message("mia", "end", "end"))
	if code != http.StatusOK {
		t.Errorf("answered with\n%s", answer)
	}
	r.until("in the topic", func() bool {
		topics := r.topics("mia")
		return len(topics) == 1 && strings.HasSuffix(strings.Join(r.shown(topics[0].ID), " "), " end")
	})
	if n := strings.Count(p.Output(), "the store does not take writes"); n != 1 || !p.says("the store does not take writes", "timeout") {
		t.Errorf("it says %d times that it takes no writes:\n%s", n, p.Output())
	}
	r.noLeak("the log", p.Output())
	if strings.Contains(p.Output(), keptRedis) {
		t.Error("the log shows the password of Redis")
	}
}
