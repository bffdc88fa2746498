package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// TestStats: what was accepted is in the statistics at once, and once, whatever becomes of the program; people's answers come from
// the chat.
func TestStats(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		r.start()
		for _, session := range []string{"mia", "leo", "zoe"} {
			r.must("/api/messages", message(session, "m1", "hello"))
		}
		r.must("/api/sessions", `{"id":"silent","visitorId":"silent"}`)
		r.must("/api/events", `{"type":"operator_message","session":{"id":"leo","visitorId":"leo"},"sourceBridge":"ai",
			"message":{"id":"a1","sessionId":"leo","content":"I am a machine","sender":"ai"}}`)
		r.must("/api/events", `{"type":"csat_submitted","session":{"id":"leo","visitorId":"leo"},"score":4}`)
		r.stats(func(s bridge.Stats) bool {
			return s.Conversations == 4 && s.Messages == 4 && s.UnansweredNow == 2 && s.ResponseRate == 0.25 && s.People.FirstResponse.P50 == nil
		})
		r.until("in a topic", func() bool { return len(r.topics("mia")) == 1 })
		r.telegram.Say(r.chat, r.topics("mia")[0].ID, r.ana.ID, "hello!")
		r.until("told", func() bool { return len(r.app.of("operator_message")) == 1 })
		whole := func(s bridge.Stats) bool {
			return s.Conversations == 4 && s.Messages == 5 && s.UnansweredNow == 1 && s.ResponseRate == 0.5 &&
				s.People.FirstResponse.P50 != nil && s.MedianFirstResponse != nil && s.CSAT.Responses == 1 && *s.CSAT.Percent == 1
		}
		r.stats(whole)
		for range 2 {
			r.process().Kill()
			r.start()
			r.stats(whole)
		}
		r.must("/api/messages", message("mia", "m1", "hello")) // again
		r.stats(whole)
		r.must("/api/messages", message("mia", "m2", "bye"))
		r.stats(func(s bridge.Stats) bool { return s.Messages == 6 && s.UnansweredNow == 2 && len(s.Sparkline) == 7 })
	})
}

// stats asks for the statistics of the last days, and fails the test unless they are as wanted.
func (r *rig) stats(want func(bridge.Stats) bool) {
	r.t.Helper()
	resp, err := r.client.Get(r.next().base + "/stats?period=7d")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	var got bridge.Stats
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != http.StatusOK || !want(got) {
		r.t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
}
