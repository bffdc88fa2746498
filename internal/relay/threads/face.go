package threads

import (
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// authorAI is what the AI is called.
const authorAI = "AI"

// visitorFace is whom a visitor's words are shown under: their own name, and no colleague's. Those have a place in round brackets behind
// their names.
func visitorFace(s *bridge.Session) bridge.Face {
	name := strings.NewReplacer("(", "[", ")", "]", "（", "[", "）", "]").Replace(s.DisplayName())
	if strings.EqualFold(strings.TrimSpace(name), authorAI) {
		name += " [visitor]"
	}
	return bridge.Face{Name: name, Seed: s.VisitorID}
}
