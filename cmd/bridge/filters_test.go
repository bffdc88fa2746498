package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Visitors whom a filter keeps out get 403, and nothing of them is shown; others are. It is counted, and operators can see it.
func TestFilters(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		for name, value := range map[string]string{
			"UA_FILTER_ENABLED": "true", "IP_FILTER_ENABLED": "true", "IP_FILTER_BLOCKLIST": "203.0.113.0/24", "TRANSCRIPTS": "on",
		} {
			r.env[name] = value
		}
		r.start()
		said := func(session, id, metadata string) string {
			return fmt.Sprintf(`{"type":"visitor_message","message":{"id":%q,"sessionId":%[2]q,"content":"words of %[2]s"},
				"session":{"id":%[2]q,"visitorId":%[2]q,"metadata":%[3]s}}`, id, session, metadata)
		}
		for session, metadata := range map[string]string{
			"bot": `{"userAgent":"Mozilla/5.0 (compatible; Googlebot/2.1)"}`, "ip": `{"ip":"203.0.113.9"}`, "both": `{"ip":"203.0.113.9","userAgent":"curl/8"}`,
		} {
			for _, path := range []string{"/api/events", "/api/messages"} {
				if code, a, err := r.post(path, said(session, "1", metadata)); err != nil || code != http.StatusForbidden || a.Error == "" {
					t.Errorf("%s, %s: %d %v", session, path, code, err)
				}
			}
			if _, text := r.ask(http.MethodGet, "/api/sessions/"+session+"/messages", "", ""); !strings.Contains(text, `"messages":[]`) {
				t.Errorf("%s is kept: %s", session, text)
			}
		}
		r.must("/api/sessions", `{"id":"ana","visitorId":"ana","metadata":{"userAgent":"Firefox","ip":"192.0.2.1"}}`)
		r.must("/api/events", said("ana", "1", `{"userAgent":"Firefox","ip":"192.0.2.1"}`))
		r.until("shown", func() bool { return len(r.topics("ana")) == 1 })
		// An event without a session is judged by what was told of it last.
		if a := r.must("/api/events", `{"type":"visitor_message_edited","sessionId":"ana","messageId":"1","content":"changed"}`); !a.OK {
			t.Errorf("%+v", a)
		}
		for _, session := range []string{"bot", "ip", "both"} {
			if len(r.topics(session)) > 0 {
				t.Errorf("%s is shown", session)
			}
		}
		if _, text := r.scrape(r.process().base, ""); !strings.Contains(text, `bridge_filtered_total{filter="user_agent"} 2`) ||
			!strings.Contains(text, `bridge_filtered_total{filter="address"} 4`) || !strings.Contains(text, `result="filtered",type="visitor_message"} 6`) {
			t.Error("not counted")
		}
		topic := r.topics("ana")[0].ID
		r.telegram.Say(r.chat, topic, r.ana.ID, "/status")
		r.until("told", func() bool {
			for _, m := range r.telegram.Messages(r.chat, topic) {
				if strings.Contains(m.Text, "Filters: 6 requests refused since the start") {
					return true
				}
			}
			return false
		})
		if out := r.process().Output(); strings.Contains(out, "203.0.113.9") || strings.Contains(out, "Googlebot/2.1") || !strings.Contains(out, "kept out by a filter") {
			t.Error("the log says what it should not, or nothing")
		}
	})
}
