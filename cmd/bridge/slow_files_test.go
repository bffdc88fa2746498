package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// trickle is a server of files that come a byte every ten seconds, for ever.
type trickle struct {
	url   string
	asked atomic.Int32
	left  atomic.Int32 // by those who had enough of it
}

func newTrickle(t *testing.T) *trickle {
	s := &trickle{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Content-Length", "100000")
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			_, _ = w.Write([]byte{'x'})
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
				s.left.Add(1)
				return
			case <-tick.C:
			}
		}
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.url = srv.URL
	return s
}

// Visitors whose files come a byte at a time hold up nobody else's words, on no platform, however many they are.
func TestSlowFiles(t *testing.T) {
	t.Parallel()
	slow := newTrickle(t)
	r := newRig(t)
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	delete(r.env, filesIn)
	r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	want := []sight{hello()}
	words := func() {
		t.Helper()
		began, before := time.Now(), slow.left.Load()
		text := fmt.Sprint("word ", len(want))
		want = append(want, sight{Own: true, Text: text})
		no(t, j.writes(text, text, nil), j.shows(func(stand) []sight { return want }))
		t.Logf("shown after %v", time.Since(began).Round(time.Millisecond))
		if soak.Asked() && time.Since(began) > time.Second {
			t.Errorf("%q is shown after %v", text, time.Since(began))
		}
		// A file is given up after half a minute: whoever waits for that waits for most of it.
		if n := slow.left.Load() - before; n > 0 && time.Since(began) > 15*time.Second {
			t.Errorf("%q is shown after %v, and after %d slow files were given up", text, time.Since(began), n)
		}
	}
	all := 0
	for _, more := range []int{8, 32} {
		for range more {
			name := fmt.Sprint("slow", all)
			all++
			r.must("/api/messages", fmt.Sprintf(`{"message":{"id":"m","sessionId":%q,"content":"see","attachments":[{"id":"f","filename":"a.png","url":"%s/%s"}]},`+
				`"session":{"id":%q,"visitorId":%q}}`, name, slow.url, name, name, name))
		}
		r.until("slow files are on their way", func() bool { return slow.asked.Load() > 0 })
		words()
		words()
	}
	r.until("the slow visitors' words are shown", func() bool {
		for i := range all {
			for _, s := range j.stands {
				if threads := s.threads(fmt.Sprint("slow", i)); len(threads) != 1 || len(s.see(threads[0])) == 0 {
					return false
				}
			}
		}
		return true
	})
	if n := slow.left.Load(); n > 0 {
		t.Logf("%d slow files were given up meanwhile", n)
	}
}

// A file that came within its URL is a file in the threads, and its URL is text nowhere.
func TestDataURL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	file := picture(1)
	file.content = append(file.content, make([]byte, 520_000)...) // as long as a request may be
	url := "data:" + file.typ + ";base64," + base64.StdEncoding.EncodeToString(file.content)
	no(t, j.writes("m1", "see my screenshot", map[string]any{"attachments": []any{map[string]any{"filename": file.name, "mimeType": file.typ, "url": url}}}),
		j.shows(func(s stand) []sight {
			return append([]sight{hello()}, withFiles(s, sight{Own: true, Text: "see my screenshot"}, []string{sum(file.content)})...)
		}))
	no(t, j.writes("m2", "and this", map[string]any{"attachments": []any{map[string]any{"filename": "b.png", "url": "data:image/png;base64,!"}}}),
		j.shows(func(s stand) []sight {
			return append(append([]sight{hello()}, withFiles(s, sight{Own: true, Text: "see my screenshot"}, []string{sum(file.content)})...),
				sight{Own: true, Text: "and this\n📎 b.png"})
		}))
	if strings.Contains(r.process().Output(), "base64") {
		t.Error("the log holds the file")
	}
}
