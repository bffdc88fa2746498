package relay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// slowFiles are files by their URLs. The part of a URL behind its last dash says how long the file takes to come: a duration, or
// never.
type slowFiles struct {
	someFiles
	mu    *sync.Mutex
	asked map[string]int // how often
}

func newSlowFiles() slowFiles { return slowFiles{mu: &sync.Mutex{}, asked: map[string]int{}} }

func (f slowFiles) Fetch(ctx context.Context, a bridge.Attachment, _ int64) (bridge.File, io.Closer, error) {
	f.mu.Lock()
	f.asked[a.URL]++
	f.mu.Unlock()
	_, after, _ := strings.Cut(a.URL, "-")
	if after == "gone" {
		return bridge.File{}, nil, errors.New("it cannot be had")
	}
	wait, err := time.ParseDuration(after)
	if err != nil {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return bridge.File{}, nil, ctx.Err()
	}
	content := "content of " + a.URL
	return bridge.File{Name: a.Filename, Size: int64(len(content)), Body: strings.NewReader(content)}, io.NopCloser(nil), nil
}

// times returns how often a URL was asked for.
func (f slowFiles) times(url string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[url]
}

// withFiles is a visitor's message with files of these URLs, whose names are the URLs' parts before the dash.
func withFiles(session, id, text string, urls ...string) string {
	var files []string
	for _, url := range urls {
		name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "-")
		files = append(files, fmt.Sprintf(`{"filename":%q,"url":%q}`, name, url))
	}
	return fmt.Sprintf(`{"type":"visitor_message","session":{"id":%q,"visitorId":"v-%s"},"message":{"id":%q,"sessionId":%q,"content":%q,"attachments":[%s]}}`,
		session, session, id, session, text, strings.Join(files, ","))
}

// timeline is what a session's thread shows, each with the second when it was shown; files stand in brackets, and what replies
// to something has an arrow.
func timeline(p *bridgetest.Platform, began time.Time, session string) []string {
	var out []string
	for _, c := range p.Calls(bridgetest.OpSend, bridgetest.OpUpload, bridgetest.OpEdit, bridgetest.OpDelete) {
		if c.Err != nil || !slices.Contains(p.Threads(session), c.Thread) {
			continue
		}
		text := c.Text
		if _, rest, ok := strings.Cut(text, "]\n"); ok && strings.HasPrefix(text, "[card") {
			text = rest
		}
		for _, f := range c.Part.Files {
			text += "[" + f.Filename + "]"
		}
		if c.Part.ReplyTo != "" {
			text = "↩" + text
		}
		if c.Op == bridgetest.OpEdit || c.Op == bridgetest.OpDelete {
			text = c.Op + " " + text
		}
		out = append(out, fmt.Sprintf("%.0f %s", c.At.Sub(began).Seconds(), text))
	}
	return out
}

func slowly(t *testing.T, test func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time)) {
	t.Helper()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears.MaxFile = 100
		h.files = newSlowFiles()
		h.start()
		test(t, h, p, time.Now())
	})
}

// A text waits for its files for three seconds, and no longer than until the session's next word. What is here by then goes with
// it; the others come behind it.
func TestTextAndItsFiles(t *testing.T) {
	for name, c := range map[string]struct {
		urls []string
		next time.Duration // when the session's next word is accepted; 0: there is none
		want []string
	}{
		"here at once":         {[]string{"a-0s"}, 0, []string{"0 see", "0 [a]"}},
		"here in time":         {[]string{"a-2s"}, 0, []string{"2 see", "2 [a]"}},
		"here too late":        {[]string{"a-7s"}, 0, []string{"3 see", "7 ↩[a]"}},
		"never here":           {[]string{"a-never"}, 0, []string{"3 see", "30 ↩\n[file a]"}},
		"some of them":         {[]string{"a-7s", "b-1s", "c-8s"}, 0, []string{"3 see", "3 [b]", "8 ↩[a]", "8 [c]"}},
		"not to be had":        {[]string{"a-gone", "b-1s"}, 0, []string{"1 see\n[file a]", "1 [b]"}},
		"rounds":               {[]string{"a-5s", "b-20s", "c-never"}, 0, []string{"3 see", "13 ↩[a]", "23 ↩[b]", "30 ↩\n[file c]"}},
		"overtaken":            {[]string{"a-7s"}, time.Second, []string{"1 see", "1 next", "7 ↩[a]"}},
		"here before the next": {[]string{"a-1s"}, 2 * time.Second, []string{"1 see", "1 [a]", "2 next"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
				h.ingest(withFiles("s", "1", "see", c.urls...))
				if c.next > 0 {
					time.Sleep(c.next)
					h.ingest(message("s", "2", "next"))
				}
				time.Sleep(time.Minute)
				want(t, timeline(p, began, "s"), c.want...)
				if n := len(h.of(bridge.TypeMessageDelivered)); n != len(h.of(bridge.TypeVisitorMessage)) {
					t.Errorf("%d receipts", n)
				}
				if got := h.letterIDs(""); len(got) > 0 {
					t.Errorf("dead letters: %v", got)
				}
			})
		})
	}
}

// Messages with files that follow each other, as an album does, wait for them side by side.
func TestFilesInARow(t *testing.T) {
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		h.ingest(withFiles("s", "1", "one", "a-2s"))
		h.ingest(withFiles("s", "2", "", "b-1s"))
		h.ingest(withFiles("s", "3", "three", "c-9s"))
		time.Sleep(time.Minute)
		want(t, timeline(p, began, "s"), "2 one", "2 [a]", "2 [b]", "3 three", "9 ↩[c]")
	})
}

// A message of files alone is shown when they come, and is delivered then; the session's next words go before it.
func TestFilesAlone(t *testing.T) {
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		h.ingest(message("s", "0", "hello"))
		time.Sleep(time.Second)
		h.ingest(withFiles("s", "1", "", "a-10s"))
		time.Sleep(time.Second)
		h.ingest(message("s", "2", "next"))
		time.Sleep(5 * time.Second)
		if n := len(h.of(bridge.TypeMessageDelivered)); n != 2 {
			t.Errorf("%d messages are delivered before the file is there", n)
		}
		time.Sleep(time.Minute)
		want(t, timeline(p, began, "s"), "0 hello", "2 next", "11 [a]")
		if n := len(h.of(bridge.TypeMessageDelivered)); n != 3 {
			t.Errorf("%d messages are delivered", n)
		}
	})
}

// Sessions whose files come a byte at a time hold up nobody else, however many there are.
func TestSlowFilesHoldUpNobody(t *testing.T) {
	for _, sessions := range []int{8, 40} {
		slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
			for i := range sessions {
				h.ingest(withFiles(fmt.Sprint("slow", i), "1", "see", fmt.Sprintf("https://site%d.test/a-never", i%3)))
			}
			for i := range 4 {
				at := time.Since(began)
				h.ingest(message("other", fmt.Sprint(i), fmt.Sprint("word ", i)))
				synctest.Wait()
				time.Sleep(900 * time.Millisecond)
				if got := timeline(p, began, "other"); len(got) != i+1 {
					t.Errorf("%d slow sessions: %v after the beginning, %q is shown to the other", sessions, at, got)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(10 * time.Minute)
			for i := range sessions {
				got := timeline(p, began, fmt.Sprint("slow", i))
				if len(got) != 2 || got[0] != "3 see" || !strings.HasSuffix(got[1], "↩\n[file a]") {
					t.Errorf("a slow session shows %q", got)
				}
			}
		})
	}
}

// A file is fetched once for all platforms, and again by a process that comes after; whatever ends in the middle, it is shown.
func TestFilesSurvive(t *testing.T) {
	for _, stopAt := range []time.Duration{time.Second, 4 * time.Second, 9 * time.Second} {
		pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
			telegram.Bears.MaxFile, discord.Bears.MaxFile = 100, 100
			slow := newSlowFiles()
			h.files = slow
			h.start()
			h.ingest(withFiles("s", "1", "see", "a-7s", "b-0s", "c-never"))
			time.Sleep(stopAt)
			h.stop()
			h.start()
			time.Sleep(time.Hour)
			for _, p := range []*bridgetest.Platform{telegram, discord} {
				var got []string
				for _, line := range timeline(p, time.Now(), "s") {
					_, line, _ = strings.Cut(line, " ")
					got = append(got, strings.TrimPrefix(line, "↩"))
				}
				slices.Sort(got)
				want(t, got, "\n[file c]", "[a]", "[b]", "see")
			}
			if n := slow.times("a-7s"); n > 2 {
				t.Errorf("a file was fetched %d times by two processes for two platforms", n)
			}
		})
	}
}

// What is done to a message while its files are on their way is done to them too.
func TestChangesWhileFilesCome(t *testing.T) {
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		h.ingest(withFiles("a", "1", "one", "x-8s"))
		h.ingest(withFiles("a", "2", "two", "y-8s"))
		time.Sleep(4 * time.Second)
		h.ingest(edited("1", "uno", 1))
		h.ingest(deleted("2"))
		time.Sleep(10 * time.Second)
		want(t, texts(p, "a"), "uno", "")
		want(t, timeline(p, began, "a")[2:], "4 Edit uno", "4 Delete ", "8 ↩[x]")
		h.ingest(edited("1", "one again", 2))
		time.Sleep(time.Second)
		want(t, texts(p, "a"), "one again", "")
		h.ingest(deleted("1"))
		time.Sleep(time.Second)
		if left := p.Shown(p.Threads("a")[0]); len(left) != 1 || len(left[0].Files) > 0 || !strings.HasPrefix(left[0].Text, "[card") {
			t.Errorf("%+v is left", left)
		}
	})
}

// Ten files of a message are fetched, up to fifty are named, and no URL is shown that is the file itself or too long to be read.
func TestManyFiles(t *testing.T) {
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		slow := h.files.(slowFiles)
		var urls []string
		for i := range 50 {
			urls = append(urls, fmt.Sprintf("n%d-0s", i))
		}
		h.ingest(withFiles("s", "1", "see", urls...))
		time.Sleep(time.Minute)
		got := timeline(p, began, "s")
		if len(got) != 11 || !strings.HasPrefix(got[0], "0 see\n📎 and 40 more: n10, n11, ") || !strings.HasSuffix(got[0], ", n49") {
			t.Errorf("%q", got)
		}
		if len(slow.asked) != 10 {
			t.Errorf("%d files were fetched", len(slow.asked))
		}
	})
	pair(t, func(t *testing.T, h *house, p, _ *bridgetest.Platform) { // of a platform that takes no files
		h.start()
		long := "https://x.test/" + strings.Repeat("a", 2000)
		h.ingest(withFiles("s", "1", "", "data:image/png;base64,AAAA", long, long+strings.Repeat("a", 100), long, long))
		settle()
		c := p.Calls(bridgetest.OpSend)
		if len(c) != 1 {
			t.Fatalf("%+v", c)
		}
		row, err := h.store.Get(t.Context(), "shown/telegram", "s\nvisitor\n1")
		if err != nil || strings.Contains(string(row), "data:") || strings.Count(string(row), "https://") != 2 {
			t.Errorf("%v: %.3000s", err, row)
		}
	})
}

// A message of which a part was shown by a version that knew no plans is ended as it was begun.
func TestBegunWithoutAPlan(t *testing.T) {
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		h.ingest(message("s", "0", "hello"))
		time.Sleep(time.Second)
		release := p.Hold(bridgetest.OpSend)
		h.ingest(message("s", "1", "held"))
		h.ingest(withFiles("s", "2", "see", "a-0s", "b-gone"))
		synctest.Wait()
		var of bridge.Entry
		for _, e := range h.events() {
			if e.Event.Message == "2" {
				of = e
			}
		}
		row := bridge.Row{Table: "progress/telegram", Key: of.Seq.String(), Value: []byte(`{"sent":1,"ids":["77"]}`), Session: "s"}
		if _, err := h.store.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{row}}); err != nil {
			t.Fatal(err)
		}
		release()
		time.Sleep(time.Minute)
		want(t, timeline(p, began, "s"), "0 hello", "1 held", "1 [a]", "1 \n[file b]")
	})
}

// Late files that are given up are a dead letter of their own, and shown when that is tried again.
func TestLateFilesGivenUp(t *testing.T) {
	slowly(t, func(t *testing.T, h *house, p *bridgetest.Platform, began time.Time) {
		h.ingest(withFiles("s", "1", "", "a-7s"))
		time.Sleep(5 * time.Second)
		p.Hook(bridgetest.OpUpload, func(context.Context, bridgetest.Call) error { panic("a defect") })
		time.Sleep(time.Minute)
		ids := h.letterIDs("")
		if len(ids) != 1 || len(h.of(bridge.TypeMessageFailed)) != 1 || len(h.of(bridge.TypeMessageDelivered)) != 0 {
			t.Fatalf("dead letters %v", ids)
		}
		p.Hook(bridgetest.OpUpload, nil)
		if err := h.relay.Retry(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := timeline(p, began, "s"); !strings.HasSuffix(got[len(got)-1], " [a]") || len(h.of(bridge.TypeMessageDelivered)) != 1 {
			t.Errorf("%q", got)
		}
	})
}

var _ relay.Files = slowFiles{}
