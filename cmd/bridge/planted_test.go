package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// In a run at debug level in which every call fails, and every failure repeats what was sent, none of the secrets is in what the program
// prints, a dump of its goroutines too, in its metrics, its list of deliveries with its dead letters, its answers, its store, or an export.
func TestPlantedSecrets(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bolt", "redis"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			dir := t.TempDir()
			r.env = map[string]string{"DATA_DIR": dir}
			stored := func() string {
				file, err := os.ReadFile(filepath.Join(dir, "bridge.db"))
				if err != nil {
					t.Fatal(err)
				}
				return string(file)
			}
			if name == "redis" {
				server := redistest.Start(t)
				r.env["REDIS_URL"], stored = server.URL(), server.Appended
			}
			plantedSecrets(t, r, stored)
		})
	}
}

// plantedSecrets is one such run; stored returns all that the store has written.
func plantedSecrets(t *testing.T, r *rig, stored func() string) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		whole, _ := httputil.DumpRequest(req, true)
		w.Header().Set("X-Echo", req.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(map[bool]int{true: http.StatusBadRequest, false: http.StatusInternalServerError}[strings.Contains(string(whole), `"type":"visitor_message"`)])
		_, _ = fmt.Fprintf(w, `{"ok":false,"description":%q,"message":%q,"error":%q}`, whole, req.URL, req.Header)
	}))
	t.Cleanup(echo.Close)
	planted := map[string]string{}
	plant := func(what string) string {
		planted[what] = fmt.Sprintf("planted%02d%s", len(planted), strings.Repeat("x7", 12))
		return planted[what]
	}
	maps.Copy(r.env, map[string]string{
		"PORT": "0", "BIND": "127.0.0.1", "LOG_LEVEL": "debug", "ALLOW_PRIVATE_CALLBACKS": "on", "TRANSCRIPTS": "on",
		"API_KEY":            plant("a key") + ",draft=" + plant("a draft key") + ",read=" + plant("a read key") + ",events=" + plant("an events key") + ",reply=" + plant("a reply key"),
		"TELEGRAM_BOT_TOKEN": "123456789:" + plant("Telegram's token"), "TELEGRAM_CHAT_ID": "-1001", "TELEGRAM_API_URL": echo.URL,
		"DISCORD_BOT_TOKEN": plant("Discord's token"), "DISCORD_CHANNEL_ID": "1234567890123456789", "DISCORD_API_URL": echo.URL + "/api",
		"SLACK_BOT_TOKEN": "xoxb-" + plant("Slack's token"), "SLACK_CHANNEL_ID": "C0123456789", "SLACK_API_URL": echo.URL + "/api/",
		"SLACK_SIGNING_SECRET": plant("Slack's signing secret"), "SLACK_APP_TOKEN": "",
		"BACKEND_WEBHOOK_URL": echo.URL + "/backend?k=" + plant("the backend's query"), "BACKEND_WEBHOOK_SECRET": plant("the backend's secret"),
		"EVENTS_WEBHOOK_URL": echo.URL + "/events?k=" + plant("the webhook's query"), "EVENTS_WEBHOOK_SECRET": plant("the webhook's secret"),
		"WIDGET_ORIGINS": "https://shop.example.com", "WIDGET_IDENTITY": "mark", "WIDGET_IDENTITY_SECRET": plant("the identities' secret"),
		"SECRETS_KEY": plant("the store's key"), "OPEN_THREAD": "session", "BACKEND_WEBHOOK_EVENTS": "all",
	})
	r.boards = nil
	key, hook := planted["a key"], plant("a callback's secret")
	if len(planted) != 16 {
		t.Fatalf("%d secrets", len(planted))
	}
	p := r.start()
	var answers strings.Builder
	ask := func(method, path, body string) {
		_, said := r.ask(method, path, key, body)
		answers.WriteString(said)
	}
	ask(http.MethodPut, "/api/callbacks/web", `{"url":"`+echo.URL+`/web","secret":"`+hook+`"}`)
	ask(http.MethodPost, "/api/messages", message("s", "m", "words"))
	ask(http.MethodPost, "/api/operator/status", `{"online":true}`)
	for _, path := range []string{"/api/callbacks/web/test", "/api/callbacks/backend/test", "/api/callbacks/webhook/test", "/api/deliveries/retry?lane=telegram"} {
		ask(http.MethodPost, path, "")
	}
	for _, lane := range []string{"telegram", "discord", "slack", "callbacks", "webhook"} {
		r.until("failing: "+lane, func() bool { return p.says("lane="+lane, "failed") })
	}
	r.until("a dead letter", func() bool {
		_, dead := r.ask(http.MethodGet, "/api/deliveries?state=failed", key, "")
		return strings.Contains(dead, `"visitor_message"`)
	})
	for _, path := range []string{
		"/api/deliveries", "/api/deliveries?state=failed", "/api/deliveries?state=waiting", "/api/callbacks", "/api/presence", "/readyz?verbose", "/health", "/metrics", "/stats", "/api/sessions/s/messages", "/api/nothing", "/openapi.yaml",
	} {
		ask(http.MethodGet, path, "")
	}
	_, said := r.ask(http.MethodGet, "/api/presence", planted["a read key"]+"?", "")
	answers.WriteString(said)
	copied := filepath.Join(t.TempDir(), "copy.ndjson")
	r.ran("export", "-to", copied, "-url", p.base)
	whole, err := os.ReadFile(copied)
	if err != nil || !strings.Contains(string(whole), "visitor_message") {
		t.Errorf("the export has %d bytes, %v", len(whole), err)
	}
	if err := p.Cmd.Process.Signal(syscall.SIGQUIT); err != nil { // Go's runtime prints what every goroutine does
		t.Fatal(err)
	}
	<-p.Ended
	if !strings.Contains(p.Output(), "goroutine ") {
		t.Error("there is no dump")
	}
	for where, text := range map[string]string{"the output": p.Output(), "an answer": answers.String(), "the store": stored(), "an export": string(whole)} {
		for what, secret := range planted {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s has %s: …%q…", where, what, text[max(0, i-150):min(len(text), i+60)])
			}
		}
	}
}
