package slack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
)

func twoFiles() []bridge.File {
	return []bridge.File{
		{Name: "a.png", Type: "image/png", Size: 3, Body: strings.NewReader("one")},
		{Name: "b.txt", Type: "text/plain", Size: 4, Body: strings.NewReader("four")},
	}
}

// What follows an upload stands behind it, although Slack shows files some time after it has taken them.
func TestUploadStandsInItsPlace(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{ShareDelay: 150 * time.Millisecond}, nil)
	thread := bridgetest.Open(t, p, visitor())
	ids, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_1"}, twoFiles())
	if err != nil || len(ids) != 2 {
		t.Fatalf("%q %v", ids, err)
	}
	bridgetest.Deliver(t, p, thread, bridge.Outgoing{Text: "after", Kind: bridge.KindMessage})
	shown := p.shown(thread)
	if len(shown) != 2 || len(shown[0].Files) != 2 || string(shown[0].Files[1].Content) != "four" || shown[1].Text != "after" {
		t.Errorf("%+v", shown)
	}

	// Where Slack takes too long, it is not waited for ever.
	p.shareWait = 20 * time.Millisecond
	if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_2"}, twoFiles()); err != nil {
		t.Error(err)
	}
	p.server.RemoveScope("files:read")
	if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_3"}, twoFiles()); err != nil {
		t.Error(err)
	}
	until(t, "all", func() bool { return len(p.shown(thread)) == 4 })
}

// An upload whose answer is lost is not shown twice: not by the same process, and not by the next one.
func TestLostUpload(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		p := start(t, sandbox.Options{}, nil)
		thread := bridgetest.Open(t, p, visitor())
		earlier, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_0"}, twoFiles()[:1])
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		p.server.Next(opComplete, stage.Action{DropAfter: true})
		part := bridge.Part{Key: "evt_1"}
		if _, err := p.Upload(t.Context(), thread, part, twoFiles()); reason(t, err).Reason != bridge.ReasonUnconfirmed {
			t.Fatal(err)
		}
		if restarted {
			p.Slack, p.logs = adapter(t, p.config)
		}
		part.Since = began
		ids, err := p.Upload(t.Context(), thread, part, twoFiles())
		shown := p.shown(thread)
		if err != nil || len(ids) != 2 || len(shown) != 2 || ids[0] == earlier[0] {
			t.Errorf("restarted %t: %q %v; shown %+v", restarted, ids, err, shown)
		}
		// One that really was not shown is.
		p.server.Next(opComplete, stage.Action{DropBefore: true})
		part = bridge.Part{Key: "evt_2"}
		three := []bridge.File{{Name: "c.txt", Size: 1, Body: strings.NewReader("c")}}
		if _, err := p.Upload(t.Context(), thread, part, three); err == nil {
			t.Fatal("it worked")
		}
		part.Since = began
		three[0].Body = strings.NewReader("c")
		if _, err := p.Upload(t.Context(), thread, part, three); err != nil || len(p.shown(thread)) != 3 {
			t.Errorf("restarted %t: %v; shown %+v", restarted, err, p.shown(thread))
		}
	}
}

// Files of another part that have the same names are not taken for those of a lost one.
func TestLostUploadOfTheSameName(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	began := time.Now()
	p.server.Next(opComplete, stage.Action{DropBefore: true})
	if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_1"}, twoFiles()); err == nil {
		t.Fatal("it worked")
	}
	p.Slack, p.logs = adapter(t, p.config) // after a restart
	if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_2"}, twoFiles()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_1", Since: began}, twoFiles()); err != nil || len(p.shown(thread)) != 2 {
		t.Errorf("%v; shown %+v", err, p.shown(thread))
	}
}

// All that fails before files are shown can be tried again without a question.
func TestUploadFaults(t *testing.T) {
	broken := func(files []bridge.File) {
		files[1].Body = io.MultiReader(strings.NewReader("fo"), brokenReader{})
	}
	for name, c := range map[string]struct {
		op     string
		action stage.Action
		change func([]bridge.File)
		reason bridge.Reason
		scope  bridge.Scope
		detail string
	}{
		"ticket cut":       {op: opTicket, action: stage.Action{DropAfter: true}, reason: bridge.ReasonTransient, scope: bridge.ScopeDestination},
		"ticket limited":   {op: opTicket, action: sandbox.RateLimited(3), reason: bridge.ReasonRateLimited},
		"uploads disabled": {op: opTicket, action: sandbox.Fail("file_uploads_disabled"), reason: bridge.ReasonRejected, detail: "a setting of the workspace"},
		"missing scope":    {op: opTicket, action: sandbox.Fail("missing_scope"), reason: bridge.ReasonRejected, detail: "add the scope"},
		"a strange place": {op: opTicket, action: stage.Action{Status: 200, Body: `{"ok":true,"upload_url":"https://evil.test/x","file_id":"F1"}`},
			reason: bridge.ReasonTransient, detail: "no place"},
		"content cut":      {op: "upload", action: stage.Action{DropBefore: true}, reason: bridge.ReasonTransient},
		"content 500":      {op: "upload", action: stage.Page(500), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear},
		"content 413":      {op: "upload", action: stage.Page(413), reason: bridge.ReasonRejected, detail: "413"},
		"source broke off": {change: broken, reason: bridge.ReasonTransient},
		"source too short": {change: func(f []bridge.File) { f[0].Body = strings.NewReader("o") }, reason: bridge.ReasonTransient},
		"empty":            {change: func(f []bridge.File) { f[0].Size = 0 }, reason: bridge.ReasonRejected, detail: "empty"},
		"complete failed":  {op: opComplete, action: sandbox.Fail("internal_error"), reason: bridge.ReasonUnconfirmed},
		"archived":         {op: opComplete, action: sandbox.Fail("is_archived"), reason: bridge.ReasonAuth, scope: bridge.ScopeDestination},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, sandbox.Options{}, nil)
			thread := bridgetest.Open(t, p, visitor())
			files := twoFiles()
			if c.change != nil {
				c.change(files)
			} else {
				p.server.Next(c.op, c.action)
			}
			_, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_1"}, files)
			d := reason(t, err)
			if d.Reason != c.reason || d.Scope != c.scope && c.detail == "" || !strings.Contains(d.Detail, c.detail) || strings.Contains(d.Detail, "evil") {
				t.Errorf("%+v", *d)
			}
			if n := len(p.shown(thread)); n != 0 {
				t.Errorf("%d are shown", n)
			}
			if _, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_1"}, twoFiles()); err != nil || len(p.shown(thread)) != 1 {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the source is gone") }

func TestUploadOfNothing(t *testing.T) {
	s, _ := adapter(t, Config{BotToken: "xoxb-1", ChannelID: "C0123456789"})
	if _, err := s.Upload(t.Context(), "C0123456789/1.2", bridge.Part{}, nil); reason(t, err).Reason != bridge.ReasonRejected {
		t.Errorf("%v", err)
	}
}

// Files for a thread whose head is gone land in the channel, and are taken away again.
func TestUploadOutsideItsThread(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	p.server.Delete(p.message(bridge.MessageID(parentOf(thread))))
	_, err := p.Upload(t.Context(), thread, bridge.Part{Key: "evt_1"}, twoFiles())
	if d := reason(t, err); d.Reason != bridge.ReasonThreadGone {
		t.Errorf("%+v", *d)
	}
	if left := p.server.Files(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// The bot that was removed from its channel comes back for an upload, too.
func TestUploadJoins(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	p.server.RemoveBot(p.channel)
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, twoFiles()); err != nil || len(p.shown(thread)) != 1 {
		t.Errorf("%v", err)
	}
}

// A reaction to the message that shows a file is one to the file.
func TestReactionToFile(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	ids, err := p.Upload(t.Context(), thread, bridge.Part{}, twoFiles())
	if err != nil {
		t.Fatal(err)
	}
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.begun(t)
	all := p.server.Messages(p.channel, parentOf(thread))
	p.server.React(all[1], p.ana, "eyes")
	u := inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Kind == bridge.UpdateReaction })[0]
	_ = stop()
	if u.Message != ids[0] {
		t.Errorf("%+v", u)
	}
}

// Large contents are passed on as they come, not kept.
func TestUploadStreams(t *testing.T) {
	const size = 8 << 20
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	content := &largest{r: bytes.NewReader(bytes.Repeat([]byte{7}, size))}
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, []bridge.File{{Name: "big.bin", Size: size, Body: content}}); err != nil {
		t.Fatal(err)
	}
	if content.most > 1<<20 {
		t.Errorf("%d bytes were asked for at once", content.most)
	}
	if f := p.server.Files(); len(f) != 1 || len(f[0].Content) != size {
		t.Errorf("%d files", len(f))
	}
}

type largest struct {
	r    io.Reader
	most int
}

func (l *largest) Read(p []byte) (int, error) {
	l.most = max(l.most, len(p))
	return l.r.Read(p)
}

// A file is read with the token from Slack's hosts alone, and a page in its place is recognised.
func TestOpenFileFaults(t *testing.T) {
	const good = `{"ok":true,"file":{"id":"F1","name":"a.pdf","mimetype":"application/pdf","size":5,"url_private":"%s/files-pri/F1"}}`
	page := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html>sign in</html>")
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		info   string
		serve  func(http.ResponseWriter, *http.Request)
		reason bridge.Reason // empty: it works
		detail string
	}{
		"page": {good, func(w http.ResponseWriter, _ *http.Request) { page(w) }, bridge.ReasonRejected, "sign-in page"},
		"redirect": {good, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://x.slack.com/?redir=/x", http.StatusFound)
		}, bridge.ReasonRejected, "sign-in page"},
		"page of a page": {strings.Replace(good, "application/pdf", "text/html", 1), func(w http.ResponseWriter, _ *http.Request) { page(w) }, bridge.ReasonRejected, "sign-in page"},
		"a real page": {strings.Replace(strings.Replace(good, "application/pdf", "text/html", 1), `"size":5`, `"size":20`, 1),
			func(w http.ResponseWriter, _ *http.Request) { page(w) }, "", ""},
		"gone":      {good, status(404), bridge.ReasonRejected, "404"},
		"forbidden": {good, status(403), bridge.ReasonRejected, "403"},
		"limited":   {good, status(429), bridge.ReasonRateLimited, "429"},
		"broken":    {good, status(503), bridge.ReasonTransient, "503"},
		"bad range": {good, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes x")
			w.WriteHeader(206)
		}, bridge.ReasonTransient, "part"},
		"elsewhere":   {strings.Replace(good, "%s", "https://drive.test", 1), nil, bridge.ReasonRejected, "not at Slack"},
		"over http":   {strings.Replace(good, "%s", "http://files.slack.com", 1), nil, bridge.ReasonRejected, "not at Slack"},
		"no URL":      {`{"ok":true,"file":{"id":"F1"}}`, nil, bridge.ReasonRejected, "not at Slack"},
		"deleted":     {`{"ok":false,"error":"file_deleted"}`, nil, bridge.ReasonRejected, "file_deleted"},
		"unreachable": {`{"ok":false,"error":"service_unavailable"}`, nil, bridge.ReasonTransient, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var base string
			base = stageServer(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/api/") {
					info := c.info
					if strings.Contains(info, "%s") {
						info = fmt.Sprintf(info, base)
					}
					_, _ = io.WriteString(w, info)
					return
				}
				if r.Header.Get("Authorization") != "Bearer xoxb-1" || c.serve == nil {
					t.Errorf("%s with %q", r.URL, r.Header.Get("Authorization"))
					return
				}
				c.serve(w, r)
			})
			s, _ := adapter(t, Config{BotToken: "xoxb-1", ChannelID: "C0123456789", APIURL: base + "/api"})
			content, err := s.OpenFile(t.Context(), "F1", 0)
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = content.Body.Close()
				return
			}
			d := reason(t, err)
			if d.Reason != c.reason || !strings.Contains(d.Detail, c.detail) || strings.Contains(d.Detail, base) {
				t.Errorf("%+v", *d)
			}
			if (d.Reason == bridge.ReasonRateLimited) != (d.RetryAfter > 0) {
				t.Errorf("retry after %v", d.RetryAfter)
			}
		})
	}
}

// A content is read on as long as whoever asked for it wants to.
func TestOpenFileEndsWithItsContext(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	m := p.server.Upload(sandbox.Attachment{Post: sandbox.Post{Channel: p.channel, User: p.ana}, Name: "a.bin", Content: bytes.Repeat([]byte{1}, 4<<20)})
	ctx, cancel := context.WithCancel(t.Context())
	c, err := p.OpenFile(ctx, m.Files[0].ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(c.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	_ = c.Body.Close()
}
