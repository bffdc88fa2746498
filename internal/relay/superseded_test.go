package relay_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// What counts as a word since: the visitor's and a person's, from wherever it comes; not the AI's own, and not what the app says itself.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	visitor := func(id, sender string) string {
		return fmt.Sprintf(`{"type":"visitor_message","session":{"id":"s","visitorId":"v"},"message":{"id":%q,"sessionId":"s","content":"x","sender":%q}}`, id, sender)
	}
	operator := func(id, sender, after string) string {
		return fmt.Sprintf(`{"type":"operator_message","session":{"id":"s","visitorId":"v"},"message":{"id":%q,"sessionId":"s","content":"x","sender":%q,"afterMessageId":%q}}`,
			id, sender, after)
	}
	for _, c := range []struct {
		name  string
		said  []string
		after string
		want  bool
	}{
		{"nobody", []string{visitor("1", "visitor")}, "1", false},
		{"the visitor", []string{visitor("1", "visitor"), visitor("2", "visitor")}, "1", true},
		{"the last of two", []string{visitor("1", "visitor"), visitor("2", "visitor")}, "2", false},
		{"an operator in the app", []string{visitor("1", "visitor"), operator("9", "operator", "")}, "1", true},
		{"an operator, written as a visitor's message", []string{visitor("1", "visitor"), visitor("9", "operator")}, "1", true},
		{"the operator's is answered", []string{visitor("1", "visitor"), operator("9", "operator", "")}, "9", false},
		{"the AI", []string{visitor("1", "visitor"), operator("9", "ai", "")}, "1", false},
		{"the AI, whose own is named", []string{visitor("1", "visitor"), operator("9", "ai", "1")}, "9", false},
		{"the AI, and then the visitor", []string{visitor("1", "visitor"), operator("9", "ai", "1"), visitor("2", "visitor")}, "9", true},
		{"the app itself", []string{visitor("1", "visitor"), visitor("9", "system")}, "1", false},
		{"an operator with the visitor's id", []string{visitor("1", "visitor"), operator("1", "operator", "")}, "1", true},
		{"what the app repeats of an operator", []string{visitor("1", "visitor"), operator("telegram:5", "operator", ""), operator("9", "ai", "telegram:5"), operator("telegram:5", "operator", "")}, "9", false},
		{"nobody at all", nil, "1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
				h.start()
				for _, body := range c.said {
					h.ingest(body)
				}
				_, err := h.try(operator("answer", "ai", c.after))
				if superseded := errors.Is(err, bridge.ErrSuperseded); superseded != c.want || err != nil && !superseded {
					t.Errorf("%v", err)
				}
				if _, err := h.try(operator("a person's", "operator", c.after)); err != nil {
					t.Errorf("a person: %v", err)
				}
			})
		})
	}
}
