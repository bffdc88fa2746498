package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// secretWords are what must be nowhere once a visitor is erased.
func secretWords() []string {
	return []string{"sess-zebra-1", "vis-zebra-2", "ZebraQuagga", "zebra@quagga.example", "question-zebra-3", "answer-zebra-4", "edited-zebra-5", "refused-zebra-6"}
}

// TestErasure: of a visitor who is erased nothing is left in the store's dump, or file, nor in the chats but what a bot may not delete,
// which is listed; others lose nothing, and the record names nobody.
func TestErasure(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"bolt", "redis"} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.use("telegram", "discord text", "slack socket")
			r.env["TRANSCRIPTS"] = "on"
			r.env["SECRETS_KEY"] = "sealed-sealed-sealed-sealed-sealed-sealed" // which must not hold the compaction up
			dump := eraseStore(t, r, on)
			r.start()
			eraseTalk(r)
			for _, word := range secretWords() {
				if text := dump(); !bytes.Contains(text, []byte(word)) {
					t.Fatalf("%q is not in the store beforehand: the search finds nothing", word)
				}
			}
			id := r.erase("sess-zebra-1?platforms=true")
			record := r.erased(id)
			if record.Events == 0 || record.Threads != 2 || len(record.Left) != 1 || record.Left[0].Where != "slack" || record.Left[0].Messages != 1 {
				t.Errorf("the record is %+v", record)
			}
			text := dump()
			for _, word := range secretWords() {
				if at := bytes.Index(text, []byte(word)); at >= 0 {
					t.Errorf("%q is still in the store: %q", word, text[max(0, at-60):min(len(text), at+60)])
				}
			}
			if !bytes.Contains(text, []byte("sess-other")) || !bytes.Contains(text, []byte("hello from another")) {
				t.Error("another visitor's words are gone")
			}
			// In the chats nothing is left of the visitor, and all of the other.
			for _, b := range r.boards {
				left, kept := b.threads("ZebraQuagga"), b.threads("sess-other")
				if len(left) > 0 || len(kept) != 1 {
					t.Errorf("%s: %d threads of the erased, %d of the other", b.name(), len(left), len(kept))
				}
			}
			// The log goes on, and so does a reader of it.
			r.must("/api/messages", message("sess-other", "m2", "are you still there?"))
			r.until("shown", func() bool {
				for _, b := range r.boards {
					if len(b.shown(b.threads("sess-other")[0])) < 2 {
						return false
					}
				}
				return true
			})
		})
	}
}

// eraseStore gives the rig a store, and returns what shows all that is in it: a dump of Redis, or the file.
func eraseStore(t *testing.T, r *rig, on string) func() []byte {
	t.Helper()
	if on == "bolt" {
		r.env["DATA_DIR"] = t.TempDir()
		return func() []byte {
			data, err := os.ReadFile(filepath.Join(r.env["DATA_DIR"], "bridge.db"))
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	server := redistest.Start(t, "--rdbcompression", "no")
	r.env["REDIS_URL"] = server.URL()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	return func() []byte {
		if err := client.Save(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		dir, err := client.ConfigGet(t.Context(), "dir").Result()
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir["dir"], "dump.rdb"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

// eraseTalk has two visitors talk, one of whom is to be erased: with an edit, an answer from each platform, a look at who it is, and a
// message that a platform refuses.
func eraseTalk(r *rig) {
	who := `"session":{"id":"sess-zebra-1","visitorId":"vis-zebra-2","identity":{"id":"u-zebra","name":"ZebraQuagga","email":"zebra@quagga.example"}}`
	r.must("/api/messages", message("sess-other", "m1", "hello from another"))
	r.must("/api/messages", `{"message":{"id":"m1","sessionId":"sess-zebra-1","content":"question-zebra-3","sender":"visitor"},`+who+`}`)
	r.must("/api/events", `{"type":"visitor_message_edited","sessionId":"sess-zebra-1","messageId":"m1","content":"edited-zebra-5","editedAt":"2026-01-01T00:00:00Z"}`)
	r.until("in the chats", func() bool {
		for _, b := range r.boards {
			if len(b.threads("ZebraQuagga")) != 1 || len(b.threads("sess-other")) != 1 {
				return false
			}
		}
		return true
	})
	topic := r.boards[0].threads("ZebraQuagga")[0]
	r.boards[0].say(topic, "answer-zebra-4")
	r.boards[2].say(r.boards[2].threads("ZebraQuagga")[0], "from Slack")
	r.boards[0].say(topic, "/info")
	r.until("told", func() bool { return len(r.app.of("operator_message")) == 2 })
	r.telegram.On("sendMessage", func(c telegram.Call) telegram.Action {
		if strings.Contains(fmt.Sprint(c.Params), "refused-zebra-6") {
			return telegram.Fail(http.StatusBadRequest, "Bad Request: message is too strange")
		}
		return telegram.Action{}
	})
	r.must("/api/messages", `{"message":{"id":"m2","sessionId":"sess-zebra-1","content":"refused-zebra-6","sender":"visitor"},`+who+`}`)
	r.until("given up", func() bool { return len(r.app.of("message_failed")) == 1 })
}

// erase asks for an erasure, and returns its id.
func (r *rig) erase(path string) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodDelete, r.next().base+"/api/sessions/"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusAccepted || answer.ID == "" {
		r.t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return answer.ID
}

// erased waits until an erasure is done, and returns its record.
func (r *rig) erased(id string) (record bridge.Erasure) {
	r.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * hung); time.Now().Before(end); <-tick.C {
		resp, err := r.client.Get(r.next().base + "/api/erasures/" + id)
		if err != nil {
			r.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			err = json.Unmarshal(body, &record)
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			r.t.Fatalf("%d %s %v", resp.StatusCode, body, err)
		}
		if record.State == bridge.ErasureDone {
			return record
		}
	}
	r.t.Fatalf("the erasure is not done: %+v\n%s", record, lastLines(r.process().Output(), 40))
	return record
}
