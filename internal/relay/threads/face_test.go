package threads

import (
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// A visitor is shown under their own name, and cannot take a colleague's or the AI's.
func TestVisitorFace(t *testing.T) {
	for name, want := range map[string]string{
		"Maria": "Maria", "Ana (Telegram)": "Ana [Telegram]", "Ana （site）": "Ana [site]", "ai": "ai [visitor]", "Aisha": "Aisha",
	} {
		s := &bridge.Session{ID: "s", VisitorID: "v", Identity: &bridge.Identity{ID: "i", Name: name}}
		if got := visitorFace(s); got.Seed != "v" || got.Name != want {
			t.Errorf("%q is shown under %+v, want %q", name, got, want)
		}
	}
}
