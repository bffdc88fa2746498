package redis

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// withFewRights makes the user that the documentation has, who may do no more than the bridge needs, and returns the server's address
// with it, for a URL.
func withFewRights(t *testing.T, server *redistest.Server) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/running.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ACL SETUSER bridge .*>PASSWORD .*$`).Find(page)
	if line == nil {
		t.Fatal("docs/running.md has no line that makes the user")
	}
	var command []any
	for _, word := range strings.Fields(string(line)) {
		command = append(command, word)
	}
	if err := plain(t, server.URL()).Do(t.Context(), command...).Err(); err != nil {
		t.Fatal(err)
	}
	who := "bridge:PASSWORD@" + server.Addr
	few := plain(t, "redis://"+who)
	for _, beyond := range [][]any{{"GET", "other"}, {"FLUSHALL"}, {"KEYS", "*"}, {"CONFIG", "SET", "save", ""}, {"ACL", "LIST"}} {
		if err := few.Do(t.Context(), beyond...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%v: %v, and the user has more rights than it should", beyond, err)
		}
	}
	return who
}
