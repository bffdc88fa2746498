package api

import (
	"io"
	"net/http"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// A platform's webhook takes its requests as they are, asks for no API key and answers for itself; one that is not configured is
// not there.
func TestWebhooks(t *testing.T) {
	o := newDesk().options(t)
	o.APIKeys = []bridge.Secret{"key"}
	o.Webhooks = map[string]http.Handler{
		"telegram": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Header.Get("X-Proof") == "" {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			_, _ = w.Write(append(body, '!'))
		}),
		"discord": nil,
	}
	url := serve(t, o)
	if got := ask(t, http.MethodPost, url+"/webhooks/telegram", "as it came", "X-Proof", "x"); got.status != http.StatusOK || got.body != "as it came!" {
		t.Errorf("%d %q", got.status, got.body)
	}
	if got := ask(t, http.MethodPost, url+"/webhooks/telegram", "{}", "Authorization", "Bearer key"); got.status != http.StatusTeapot {
		t.Errorf("the webhook's own answer: %d", got.status)
	}
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/webhooks/telegram", http.StatusMethodNotAllowed},
		{http.MethodPut, "/webhooks/telegram", http.StatusMethodNotAllowed},
		{http.MethodPost, "/webhooks/discord", http.StatusNotFound},
		{http.MethodPost, "/webhooks/slack", http.StatusNotFound},
		{http.MethodPost, "/webhooks/telegram/x", http.StatusNotFound},
		{http.MethodPost, "/webhooks", http.StatusNotFound},
	} {
		if got := ask(t, c.method, url+c.path, "", "X-Proof", "x"); got.status != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got.status, c.want)
		}
	}
}
