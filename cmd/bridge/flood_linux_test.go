package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// cpu is how long a process has computed, in milliseconds.
func (p *proc) cpu(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
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

// allocated is all memory that the bridge has taken since its start, given back or not, in MB.
func (r *rig) allocated() float64 {
	now, _ := r.scrape(r.process().base, "")
	return now["go_memstats_alloc_bytes_total"] / 1e6
}

// peak begins a measurement of memory: what it returns says by how many MB the process's resident memory has grown at most since.
func (p *proc) peak(t *testing.T) (grown func() float64) {
	t.Helper()
	// 5 makes the highest so far the present one (proc_pid_clear_refs(5)).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Cmd.Process.Pid), []byte("5"), 0o200); err != nil {
		t.Fatal(err)
	}
	highest := func() float64 {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(raw), "VmHWM:")
		kb, err := strconv.Atoi(strings.Fields(after)[0])
		if err != nil {
			t.Fatal(err)
		}
		return float64(kb) / 1e3
	}
	before := highest()
	return func() float64 { return highest() - before }
}

// posts is how many messages of the bridge's a thread shows; an album is one.
func (r *rig) posts(thread string) int {
	if _, ok := r.boards[0].(telegramBoard); !ok {
		return len(r.boards[0].shown(thread))
	}
	topic, _ := strconv.Atoi(thread)
	n, albums := 0, map[string]bool{}
	for _, m := range r.telegram.Messages(r.chat, topic) {
		if m.Own && m.Service == "" && !albums[m.Album] {
			n++
			albums[m.Album] = m.Album != ""
		}
	}
	return n
}

// Fifty files on one message are three messages at most, and ten of them are fetched, once each.
func TestFiftyAttachments(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"telegram", "discord text", "slack socket"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var fetches atomic.Int64
			site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fetches.Add(1)
				_, _ = w.Write([]byte("a text"))
			}))
			defer site.Close()
			r := newRig(t)
			r.use(name)
			r.start()
			r.must("/api/messages", message("many", "m1", "hello"))
			thread := r.thread("many")
			r.allLooked()
			var files []string
			for i := range 50 {
				files = append(files, fmt.Sprintf(`{"id":"f%d","filename":"%d.txt","mimeType":"text/plain","url":"%s/%d?%s"}`, i, i, site.URL, i,
					strings.Repeat("q", 8000)))
			}
			body := strings.Replace(message("many", "m2", "fifty"), `"sender"`, `"attachments":[`+strings.Join(files, ",")+`],"sender"`, 1)
			before, began, taken := r.posts(thread), r.process().cpu(t), r.allocated()
			r.must("/api/messages", body)
			r.until("fetched", func() bool { return fetches.Load() >= 10 })
			r.allLooked()
			n := r.posts(thread) - before
			t.Logf("%d kB become %d messages, %d fetches, %d ms of computing and %.1f MB allocated in all", len(body)>>10, n, fetches.Load(),
				r.process().cpu(t)-began, r.allocated()-taken)
			if n > 3 || n < 1 || fetches.Load() != 10 {
				t.Errorf("%d messages and %d fetches", n, fetches.Load())
			}
		})
	}
}

// thread waits for a session's thread on the first platform.
func (r *rig) thread(session string) string {
	r.t.Helper()
	r.until("shown", func() bool { return len(r.boards[0].threads(session)) == 1 })
	return r.boards[0].threads(session)[0]
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
			thread := r.thread("flood")
			r.allLooked()
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
				before, began, taken, grown := count(), r.process().cpu(t), r.allocated(), r.process().peak(t)
				if c.field != "" {
					code, answer, err := r.post(c.path, c.body)
					if err != nil || code != http.StatusBadRequest || answer.Field != c.field {
						t.Errorf("%s: %d %+v %v", c.name, code, answer, err)
					}
				} else {
					r.must(c.path, c.body)
				}
				r.allLooked()
				n := count() - before
				t.Logf("%s: %d kB become %d messages, %d ms of computing, %.1f MB more at most, and %.1f MB allocated in all", c.name, len(c.body)>>10, n,
					r.process().cpu(t)-began, grown(), r.allocated()-taken)
				if n > 3 || c.path == "/api/messages" && n > 2 || c.field != "" && n > 0 {
					t.Errorf("%s becomes %d messages", c.name, n)
				}
			}
		})
	}
}
