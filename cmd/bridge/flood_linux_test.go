package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// cpu is how long a process has computed, in milliseconds.
func (p *proc) cpu(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return ticks * 10
}

// Whatever text a site fills a body with, it becomes three messages at most, or is refused with its field.
func TestTextsWithoutBound(t *testing.T) {
	t.Parallel()
	const session = `{"id":"flood","visitorId":"flood"}`
	big := strings.Repeat("word <&> *_ ", 85_000) // with what each platform has to escape, a little under 1 MiB
	long := big[:bridge.MaxContent]
	emoji := strings.Repeat("😀", bridge.MaxContent)
	message := func(id, content, more string) string {
		return fmt.Sprintf(`{"session":%s,"message":{"id":%q,"sessionId":"flood","content":%q%s}}`, session, id, content, more)
	}
	for _, name := range []string{"telegram", "discord text", "slack socket"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.use(name)
			r.env["AUTO_CLOSE"] = "off"
			r.start()
			r.must("/api/messages", message("first", "hello", ""))
			r.until("shown", func() bool { return len(r.boards[0].threads("flood")) == 1 })
			r.idle()
			thread := r.boards[0].threads("flood")[0]
			count := func() int { return len(r.boards[0].shown(thread)) }
			for _, c := range []struct {
				name, path, body string
				field            string // that is named, where it is refused
			}{
				{name: "content", path: "/api/messages", body: message("c", big, ""), field: "message.content"},
				{name: "longest content", path: "/api/messages", body: message("l", long, "")},
				{name: "longest content of emoji", path: "/api/messages", body: message("e", emoji, "")},
				{name: "content of escapes", path: "/api/messages", body: message("x", strings.Repeat("&", bridge.MaxContent), "")},
				{name: "an edit", path: "/api/events", body: fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":"flood","messageId":"l","content":%q}`, long[:bridge.MaxContent-1]+"!")},
				{name: "the app's operator's", path: "/api/events", body: `{"type":"operator_message","sourceBridge":"inbox",` + message("o", long, "")[1:]},
				{name: "an event's name", path: "/api/custom-events", body: fmt.Sprintf(`{"session":%s,"event":{"name":%q}}`, session, big), field: "event.name"},
				{name: "an event's data", path: "/api/custom-events", body: fmt.Sprintf(`{"session":%s,"event":{"name":"n","data":{"a":%q}}}`, session, big)},
				{name: "a comment", path: "/api/events", body: fmt.Sprintf(`{"type":"csat_submitted","session":%s,"score":1,"comment":%q}`, session, big), field: "comment"},
				{name: "longest comment", path: "/api/events", body: fmt.Sprintf(`{"type":"csat_submitted","session":%s,"score":1,"comment":%q}`, session, big[:bridge.MaxReason])},
				{name: "an AI's reason", path: "/api/events", body: fmt.Sprintf(`{"type":"ai_takeover","session":%s,"reason":%q}`, session, big), field: "reason"},
				{name: "a reason to leave", path: "/api/disconnect", body: fmt.Sprintf(`{"session":%s,"reason":%q}`, session, big), field: "reason"},
				{name: "metadata", path: "/api/sessions", body: fmt.Sprintf(`{"id":"flood","visitorId":"flood","metadata":{"url":%q,"x":1}}`, "https://example.com/"+big)},
				{name: "an identity", path: "/api/events", body: fmt.Sprintf(`{"type":"identity_update","session":{"id":"flood","visitorId":"flood","identity":{"id":"u","name":%q}}}`, big)},
			} {
				before, began := count(), r.process().cpu(t)
				if c.field != "" {
					code, answer, err := r.post(c.path, c.body)
					if err != nil || code != http.StatusBadRequest || answer.Field != c.field {
						t.Errorf("%s: %d %+v %v", c.name, code, answer, err)
					}
				} else {
					r.must(c.path, c.body)
				}
				r.idle()
				n := count() - before
				t.Logf("%s: %d kB become %d messages and %d ms of computing", c.name, len(c.body)>>10, n, r.process().cpu(t)-began)
				if n > 3 || c.path == "/api/messages" && n > 2 || c.field != "" && n > 0 {
					t.Errorf("%s becomes %d messages", c.name, n)
				}
			}
		})
	}
}
