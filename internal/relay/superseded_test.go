package relay_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

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

// An earlier version kept who had the last word as a row, and no claim that tells when.
func TestSupersededOfEarlierVersion(t *testing.T) {
	t.Parallel()
	said := []bridge.Claim{{Session: "s", Key: bridge.VisitorMessageKey("1")}, {Session: "s", Key: bridge.OperatorMessageKey("2")}}
	for _, c := range []struct {
		name, row, after string
		want             bool
	}{
		{"the visitor's is the last", `{"side":"visitor","id":"1"}`, "1", false},
		{"the visitor's is not", `{"side":"operator","id":"2"}`, "1", true},
		{"the AI's behind the visitor's", `{"side":"visitor","id":"1","ai":["2"]}`, "2", false},
		{"an operator's of a platform", `{"side":"operator","id":"telegram:5"}`, "telegram:5", false},
		{"before an operator's of a platform", `{"side":"operator","id":"telegram:5"}`, "1", true},
		{"the AI's behind an operator's of a platform", `{"side":"operator","id":"telegram:5","ai":["2"]}`, "2", false},
		{"one that is not known", `{"side":"visitor","id":"1"}`, "3", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
				h.start()
				for i, claim := range said { // one after the other
					b := bridge.Batch{Claims: []bridge.Claim{claim}}
					if i == 0 {
						b.Rows = []bridge.Row{{Table: "words", Key: "s", Value: []byte(c.row), Session: "s"}}
					}
					if _, err := h.store.Commit(t.Context(), b); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				answer := func(id string) error {
					_, err := h.try(fmt.Sprintf(`{"type":"operator_message","session":{"id":"s","visitorId":"v"},
						"message":{"id":%q,"sessionId":"s","content":"x","sender":"ai","afterMessageId":%q}}`, id, c.after))
					return err
				}
				err := answer("answer")
				if superseded := errors.Is(err, bridge.ErrSuperseded); superseded != c.want || err != nil && !superseded {
					t.Errorf("%v", err)
				}
				h.ingest(`{"type":"visitor_message","session":{"id":"s","visitorId":"v"},"message":{"id":"9","sessionId":"s","content":"x"}}`)
				if err := answer("another"); !errors.Is(err, bridge.ErrSuperseded) {
					t.Errorf("after the visitor's next word: %v", err)
				}
			})
		})
	}
}
