package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sdk is how one of the existing SDKs writes a visitor's message and two edits within a second.
type sdk struct {
	name    string
	session string // %s is its id
	message string // the fields besides id, sessionId and content
	edited  string // the field editedAt, or none, of both edits
	event   string // a custom event's fields besides its name
}

func sdks() []sdk {
	return []sdk{
		{
			name: "Node",
			session: `{"id":%[1]q,"visitorId":%[1]q,"createdAt":"2026-01-02T03:04:05.678Z","lastActivity":"2026-01-02T03:04:05.678Z","operatorOnline":false,` +
				`"aiActive":false,"metadata":{"url":"https://example.com/","deviceType":"desktop"}}`,
			message: `"sender":"visitor","timestamp":"2026-01-02T03:04:06.001Z","status":"sent","metadata":{}`,
			edited:  `,"editedAt":"2026-01-02T03:04:07.000Z"`,
			event:   `"data":{},"timestamp":"2026-01-02T03:04:06.001Z"`,
		},
		{
			name: "PHP",
			session: `{"id":%[1]q,"visitorId":%[1]q,"createdAt":"2026-01-02T03:04:05+00:00","lastActivity":"2026-01-02T03:04:05+00:00","operatorOnline":false,` +
				`"aiActive":false,"metadata":[],"identity":[],"csat":[]}`,
			message: `"sender":"visitor","timestamp":"2026-01-02T03:04:06+00:00","replyTo":null,"attachments":[],"status":"sent","metadata":[]`,
			edited:  `,"editedAt":"2026-01-02T03:04:07+00:00"`,
			event:   `"data":[],"timestamp":"2026-01-02T03:04:06+00:00","sessionId":null`,
		},
		{
			name: "Ruby",
			session: `{"id":%[1]q,"visitorId":%[1]q,"createdAt":"2026-01-02T03:04:05Z","lastActivity":"2026-01-02T03:04:05Z","operatorOnline":false,` +
				`"aiActive":false,"metadata":{}}`,
			message: `"sender":"visitor","timestamp":"2026-01-02T03:04:06Z","status":"sent"`,
			edited:  `,"editedAt":"2026-01-02T03:04:07Z"`,
			event:   `"timestamp":"2026-01-02T03:04:06Z"`,
		},
		{
			name: "Go",
			session: `{"id":%[1]q,"visitorId":%[1]q,"createdAt":"0001-01-01T00:00:00Z","lastActivity":"0001-01-01T00:00:00Z","operatorOnline":false,` +
				`"aiActive":false,"metadata":{"url":"","deviceType":""},"identity":null,"userPhone":"","userPhoneCountry":""}`,
			message: `"sender":"visitor","timestamp":"0001-01-01T00:00:00Z","replyTo":"","attachments":null,"status":"","deliveredAt":"0001-01-01T00:00:00Z",` +
				`"editedAt":"0001-01-01T00:00:00Z"`,
			edited: `,"editedAt":"0001-01-01T00:00:00Z"`,
			event:  `"data":null,"timestamp":"0001-01-01T00:00:00Z","sessionId":""`,
		},
		{
			name: "Python",
			session: `{"id":%[1]q,"visitorId":%[1]q,"createdAt":"2026-01-02T03:04:05.678901+00:00","lastActivity":"2026-01-02T03:04:05.678901+00:00",` +
				`"operatorOnline":false,"aiActive":false,"metadata":null,"identity":null,"userPhone":null,"userPhoneCountry":null,"csat":null}`,
			message: `"sender":"visitor","timestamp":"2026-01-02T03:04:06.000001+00:00","replyTo":null,"attachments":null,"status":null,"deliveredAt":null,` +
				`"readAt":null,"editedAt":null,"deletedAt":null`,
			edited: `,"editedAt":null`,
			event:  `"data":null,"timestamp":null,"sessionId":null`,
		},
	}
}

// JSON as the existing SDKs write it is accepted and shown, and edits are shown in their order, however coarse their times are.
func TestBodiesOfTheExistingSDKs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	for _, s := range sdks() {
		t.Run(s.name, func(t *testing.T) {
			id := strings.ToLower(s.name)
			session := fmt.Sprintf(s.session, id)
			body := func(message, content string) string {
				return fmt.Sprintf(`{"type":"visitor_message","message":{"id":%q,"sessionId":%q,"content":%q,%s},"session":%s}`, message, id, content, s.message, session)
			}
			edit := func(content string) string {
				return fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":%q,"messageId":"m1","content":%q%s}`, id, content, s.edited)
			}
			r.must("/api/sessions", session)
			r.must("/api/messages", body("m1", "first"))
			r.must("/api/custom-events", fmt.Sprintf(`{"event":{"name":"looks",%s},"session":%s}`, s.event, session))
			r.until("the message is shown", func() bool {
				topics := r.topics(id)
				return len(topics) == 1 && slices.ContainsFunc(r.shown(topics[0].ID), func(text string) bool { return strings.Contains(text, "first") })
			})
			for _, content := range []string{"second", "third"} {
				if got := r.must("/api/events", edit(content)); got.Duplicate {
					t.Errorf("the edit to %q is taken for a repeat", content)
				}
			}
			r.must("/api/messages", body("m2", "done"))
			var texts []string
			r.until("all of it is shown", func() bool {
				texts = r.shown(r.topics(id)[0].ID)
				return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "done") })
			})
			all := strings.Join(texts, "\n")
			if !strings.Contains(all, "third") || strings.Contains(all, "first") || strings.Contains(all, "second") || !strings.Contains(all, "looks") {
				t.Errorf("shown is %q", texts)
			}
			// The very same edit again is a repeat, where it has a time.
			if again := r.must("/api/events", edit("third")); again.Duplicate != (s.name != "Go" && s.name != "Python") {
				t.Errorf("the same edit again is a repeat: %v", again.Duplicate)
			}
		})
	}
}
