package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// said is a page in lines: sender, text, files, status, what became of it.
func saidIn(t *testing.T, r *relay.Relay, q bridge.TranscriptQuery) (lines []string, more bool) {
	t.Helper()
	page, err := r.Transcript(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range page.Messages {
		line := fmt.Sprintf("%s %s: %s [%s]", m.Sender, m.ID, m.Content, m.Status)
		for _, a := range m.Attachments {
			line += " +" + a.Filename
		}
		if m.ReplyTo != "" {
			line += " to " + m.ReplyTo
		}
		for name, at := range map[string]string{"edited": m.EditedAt, "deleted": m.DeletedAt} {
			if at != "" {
				line += " " + name
			}
		}
		if m.Metadata != nil {
			line += " by " + m.Metadata.OperatorName
		}
		if _, ok := bridge.Time(m.Timestamp); !ok || m.SessionID != q.Session || m.Changed.Before(m.Accepted) {
			t.Errorf("%s: time %q, session %q, accepted %s, changed %s", m.ID, m.Timestamp, m.SessionID, m.Accepted, m.Changed)
		}
		lines = append(lines, line)
	}
	return lines, page.More
}

// onBothStores runs a test with a relay that nothing works for, on each store.
func onBothStores(t *testing.T, test func(t *testing.T, h *house)) {
	open := map[string]func(t *testing.T) store.Store{
		"bolt": func(t *testing.T) store.Store {
			s, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"redis": func(t *testing.T) store.Store {
			s, err := redis.Open(t.Context(), redistest.Start(t).URL(), redis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			h := newHouse(t)
			h.relay = relay.New(relay.Options{Store: s, Presence: h.presence, Receivers: h.receivers, Transcripts: true, Log: slog.New(slog.DiscardHandler)})
			h.presence.store = s
			if err := h.relay.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.keeps = s
			test(t, h)
		})
	}
}

func operatorSays(session, id, sender, text string) string {
	return fmt.Sprintf(`{"type":"operator_message","operatorName":"Ana","session":{"id":%q,"visitorId":"v"},
		"message":{"id":%q,"sessionId":%q,"content":%q,"sender":%q}}`, session, id, session, text, sender)
}

// What both sides say is in the session's transcript, in order, as it is now, and a repeat is in it once.
func TestTranscript(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, h *house) {
		h.ingest(withFiles("a", "1", "hello", "https://example.com/a.png"))
		h.ingest(withFiles("a", "1", "hello", "https://example.com/a.png"))
		h.ingest(operatorSays("a", "1", "operator", "hi"))
		h.ingest(replying(message("a", "2", "is it open?"), "1"))
		h.ingest(operatorSays("a", "3", "ai", "yes"))
		h.ingest(message("ab", "1", "another's"))
		h.ingest(message("a", "4", "secret"))
		h.ingest(edited("2", "is it open today?", 5))
		h.ingest(edited("2", "is it?", 2)) // older than the one before
		h.ingest(deleted("4"))
		h.ingest(edited("4", "secret again", 9))
		h.ingest(`{"type":"message_read","sessionId":"a","messageIds":["1","3"],"status":"read"}`)
		h.ingest(`{"type":"message_read","sessionId":"a","messageIds":["1","3"],"status":"delivered"}`)

		got, more := saidIn(t, h.relay, bridge.TranscriptQuery{Session: "a", Limit: 50})
		want(t, got,
			"visitor 1: hello [sent] +a.png", "operator 1: hi [read] by Ana", "visitor 2: is it open today? [sent] to 1 edited",
			"ai 3: yes [read] by Ana", "visitor 4:  [sent] deleted")
		if more {
			t.Error("there is more")
		}
		for _, text := range []string{"secret", "secret again"} {
			for _, table := range []string{"transcript", "by-transcript", "revised"} {
				rows, _, err := h.keeps.Scan(t.Context(), table, "", 1000)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range rows {
					if strings.Contains(string(row.Value), text) {
						t.Errorf("the text of a deleted message is kept in %s: %s", table, row.Value)
					}
				}
			}
		}
		named, err := h.relay.TranscriptOf(t.Context(), "a", "3", "1", "none")
		if err != nil || len(named) != 3 {
			t.Errorf("%d messages named 1 and 3, %v", len(named), err)
		}

		if err := h.keeps.ForgetSession(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		got, _ = saidIn(t, h.relay, bridge.TranscriptQuery{Session: "a", Limit: 50})
		want(t, got)
		got, _ = saidIn(t, h.relay, bridge.TranscriptQuery{Session: "ab", Limit: 50})
		want(t, got, "visitor 1: another's [sent]")
		for _, table := range []string{"transcript", "by-transcript"} {
			rows, _, err := h.keeps.Scan(t.Context(), table, "", 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if strings.HasPrefix(row.Key, "a\n") {
					t.Errorf("%s has %q of a session that was forgotten", table, row.Key)
				}
			}
		}
	})
}

// A transcript is read in pages, from its end back.
func TestTranscriptPages(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, h *house) {
		var all []string
		for i := range 25 {
			id := fmt.Sprint("m", i)
			h.ingest(message("a", id, id))
			all = append(all, fmt.Sprintf("visitor %s: %s [sent]", id, id))
		}
		var got []string
		q := bridge.TranscriptQuery{Session: "a", Limit: 10}
		for pages := 1; ; pages++ {
			lines, more := saidIn(t, h.relay, q)
			got = append(append([]string{}, lines...), got...)
			if !more {
				if pages != 3 {
					t.Errorf("%d pages", pages)
				}
				break
			}
			q.Before = strings.TrimSuffix(strings.Fields(lines[0])[1], ":")
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Error(diff)
		}
		none, _ := saidIn(t, h.relay, bridge.TranscriptQuery{Session: "a", Before: "unknown", Limit: 10})
		want(t, none)
	})
}

// What operators do on a platform is in the transcript, and what the platforms and operators did with the visitor's messages.
func TestTranscriptOfPlatforms(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.adjust = func(o *relay.Options) func(ctx context.Context) { o.Transcripts = true; return nil }
		h.start()
		h.ingest(message("a", "1", "first"))
		settle()
		thread := p.Threads("a")[0]
		in, _ := h.relay.Inbox(p.Name())
		at := time.Now()
		for _, u := range []bridge.Update{
			{ID: "u1", Kind: bridge.UpdateMessage, Thread: thread, Message: "50", Author: bridge.Author{ID: "7", Name: "Ana"}, Text: "answer", At: at},
			{ID: "u2", Kind: bridge.UpdateEdit, Thread: thread, Message: "50", Author: bridge.Author{ID: "7", Name: "Ana"}, Text: "better answer", At: at, Edited: at},
			{ID: "u3", Kind: bridge.UpdateMessage, Thread: thread, Message: "51", Author: bridge.Author{ID: "7", Name: "Ana"}, Text: "a slip", At: at},
			{ID: "u4", Kind: bridge.UpdateDelete, Thread: thread, Message: "51", Author: bridge.Author{ID: "7", Name: "Ana"}, At: at},
		} {
			if err := in.Accept(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		got, _ := saidIn(t, h.relay, bridge.TranscriptQuery{Session: "a", Limit: 50})
		want(t, got, "visitor 1: first [delivered]", "operator telegram:50: better answer [sent] edited by Ana", "operator telegram:51:  [sent] deleted by Ana")
	})
}

// A bridge that keeps no transcripts writes none.
func TestNoTranscript(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "first"))
		h.ingest(deleted("1"))
		settle()
		for _, table := range []string{"transcript", "by-transcript"} {
			if n, err := h.store.Count(t.Context(), table); n != 0 || err != nil {
				t.Errorf("%s has %d rows, %v", table, n, err)
			}
		}
	})
}

// Of a long conversation /transcript shows the newest that a message or two hold.
func TestTranscriptInChat(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Transcripts = true }, func(t *testing.T, tm *team) {
		long := func(i, size int) string { return fmt.Sprintf("word-%d %s", i, strings.Repeat("x", size)) }
		for i := range 8 {
			tm.ingest(message("s", fmt.Sprint("m", i), long(i, 500)))
		}
		synctest.Wait()
		answer, _ := tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/transcript")
		head, rest, _ := strings.Cut(answer, "\n")
		if head != "What was said, the oldest first:" || !strings.HasPrefix(rest, "… Earlier messages are not shown here.\n") ||
			len(answer) > 3200 || strings.Contains(answer, "word-2") || strings.Index(answer, "word-3") > strings.Index(answer, "word-7") {
			t.Errorf("%d characters: %q", len(answer), answer)
		}
		tm.ingest(message("s", "last", long(9, 3500)))
		synctest.Wait()
		if answer, _ = tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/transcript"); !strings.Contains(answer, "word-9") || !strings.HasSuffix(answer, "x…") || len(answer) > 3200 {
			t.Errorf("%d characters: %q", len(answer), answer)
		}
		tm.secret()
	})
}
