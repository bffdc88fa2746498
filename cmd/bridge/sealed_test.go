package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// With SECRETS_KEY a callback's secret is in the store in no readable form, one from before is sealed at the start and works on, and a
// bridge with another key, or none, does not start.
func TestSecretsKey(t *testing.T) {
	for _, name := range []string{"bolt", "redis"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.env["DATA_DIR"] = t.TempDir()
			stored := func() string {
				data, err := os.ReadFile(filepath.Join(r.env["DATA_DIR"], "bridge.db"))
				if err != nil {
					t.Fatal(err)
				}
				return string(data)
			}
			if name == "redis" {
				server := redistest.Start(t)
				r.env["REDIS_URL"], stored = server.URL(), server.Appended
			}
			const before, after = "secret-from-before-1f", "secret-from-after-2e"
			register := func(id, secret string) {
				if code, said := r.ask(http.MethodPut, "/api/callbacks/"+id, "", `{"url":"`+r.app.url+`/x","secret":"`+secret+`"}`); code != http.StatusCreated {
					t.Fatalf("%d %s", code, said)
				}
			}
			works := func(id, secret string) {
				r.t.Helper()
				if code, said := r.ask(http.MethodPost, "/api/callbacks/"+id+"/test", "", ""); code != http.StatusOK || !strings.Contains(said, `"ok":true`) {
					t.Errorf("%s: %d %s", id, code, said)
				}
				tests := r.app.of("test")
				signed(t, tests[len(tests)-1], secret, secret)
			}
			p := r.start()
			register("old", before)
			p.Exit()
			r.env["SECRETS_KEY"] = strings.Repeat("k", 32)
			p = r.start()
			register("new", after)
			works("old", before)
			works("new", after)
			p.Exit()
			if strings.Contains(stored(), after) {
				t.Error("the secret is in the store")
			}
			for key, says := range map[string]string{strings.Repeat("x", 32): "SECRETS_KEY is not the key", "": "set SECRETS_KEY"} {
				if r.env["SECRETS_KEY"] = key; key == "" {
					delete(r.env, "SECRETS_KEY")
				}
				p := r.launch()
				if p.base != "" || !strings.Contains(p.Output(), says) {
					t.Errorf("with the key %q it starts, or says %s", key, p.Output())
				}
			}
			r.env["SECRETS_KEY"] = strings.Repeat("k", 32)
			r.start()
			works("old", before)
			works("new", after)
		})
	}
}
