package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Of a session of ten words, ten answers, a rating, three page views and a file each platform shows at most three messages that are not
// people's words, and none of those rings.
func TestNoise(t *testing.T) {
	t.Parallel()
	r := newRinger(t, "24h")
	view := func(page string) {
		r.must("/api/events", fmt.Sprintf(`{"type":"new_session","session":{"id":"mia","visitorId":"mia","metadata":{"url":"https://shop.example/%s"}}}`, page))
	}
	view("home")
	for i := range 10 {
		r.must("/api/messages", message("mia", fmt.Sprint("m", i), fmt.Sprintf("mias-word-%d.", i)))
		r.until("the thread on each platform", func() bool {
			return !slices.ContainsFunc(r.boards, func(b board) bool { return len(b.threads("mia")) == 0 })
		})
		b := r.boards[i%len(r.boards)]
		b.say(b.threads("mia")[0], fmt.Sprintf("anas-word-%d.", i))
		if i == 3 || i == 6 {
			view(fmt.Sprint("page-", i))
		}
	}
	r.until("the answers at the app", func() bool { return len(r.app.of("operator_message")) == 10 })
	file, err := json.Marshal(newFileServer(t).attachment(picture(1)))
	if err != nil {
		t.Fatal(err)
	}
	r.must("/api/events", `{"type":"visitor_message","session":{"id":"mia","visitorId":"mia"},"message":{"id":"file","sessionId":"mia","content":"mias-word-file.",`+
		`"attachments":[`+string(file)+`]}}`)
	r.must("/api/events", `{"type":"csat_submitted","session":{"id":"mia","visitorId":"mia"},"score":5,"comment":"fine"}`)
	r.must("/api/messages", message("mia", "last", "mias-word-last."))
	for _, platform := range []string{"telegram", "discord", "slack"} {
		r.until("the last word on "+platform, func() bool { return r.has(platform, "mias-word-last.") })
		r.mu.Lock()
		sent := slices.Clone(r.sent[platform])
		r.mu.Unlock()
		var others []string
		for _, p := range sent {
			text := p["text"] + p["content"]
			if strings.Contains(text+p["blocks"], "-word-") {
				continue
			}
			others = append(others, text)
			rings := p["disable_notification"] != "true"
			switch platform {
			case "discord":
				flags, err := strconv.Atoi(p["flags"])
				rings = err != nil || flags&(1<<12) == 0 || strings.Contains(discordRings(t, p), "users")
			case "slack":
				rings = slackRings(t, p) != ""
			}
			if rings {
				t.Errorf("%s rings for %q", platform, text)
			}
		}
		t.Logf("%s: %d messages are not people's words: %q", platform, len(others), others)
		if len(others) > 3 {
			t.Errorf("%s shows %d messages that are not people's words: %q", platform, len(others), others)
		}
	}
}
