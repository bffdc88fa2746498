package telegram

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
)

func aFile(name, typ, content string) bridge.File {
	return bridge.File{Name: name, Type: typ, Size: int64(len(content)), Body: strings.NewReader(content)}
}

func picture(t testing.TB, width, height int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.White})); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// once is a content that cannot be rewound.
func once(f bridge.File) bridge.File {
	f.Body = io.MultiReader(f.Body)
	return f
}

func TestUpload(t *testing.T) {
	good, wide := picture(t, 30, 20), picture(t, 300, 10)
	photo := func(content string) bridge.File { return aFile("a b.png", "image/png", content) }
	pdf := func() bridge.File { return aFile("Ä \"x\".pdf", "application/pdf", "%PDF") }
	for name, c := range map[string]struct {
		files []bridge.File
		calls []string
		shown string
	}{
		"photo":             {[]bridge.File{photo(good)}, []string{opPhoto}, "photo:a b.png"},
		"webp":              {[]bridge.File{aFile("a.webp", "IMAGE/WEBP; q=1", "RIFF....WEBPVP8L....\x2f\x1d\xc0\x04\x00......")}, []string{opPhoto}, "photo:a.webp"},
		"document":          {[]bridge.File{pdf()}, []string{opFile}, `document:Ä "x".pdf`},
		"gif":               {[]bridge.File{aFile("a.gif", "image/gif", "GIF89a")}, []string{opFile}, "document:a.gif"},
		"no type":           {[]bridge.File{aFile("a", "", "x")}, []string{opFile}, "document:a"},
		"wrong type":        {[]bridge.File{aFile("a", "no type at all\r\n", "x")}, []string{opFile}, "document:a"},
		"no name":           {[]bridge.File{aFile("..", "image/jpeg", good)}, []string{opPhoto}, "photo:file.jpg"},
		"path":              {[]bridge.File{aFile("../../a\\b\r\nc.txt", "text/plain", "x")}, []string{opFile}, "document:.._.._a_b c.txt"},
		"big photo":         {[]bridge.File{photo(good + strings.Repeat("x", maxPhoto))}, []string{opFile}, "document:a b.png"},
		"video":             {[]bridge.File{aFile("a.mp4", "video/mp4", "x")}, []string{opFile}, "document:a.mp4"},
		"album":             {[]bridge.File{photo(good), aFile("b.mp4", "video/mp4", "x")}, []string{opAlbum}, "photo:a b.png video:b.mp4"},
		"documents":         {[]bridge.File{pdf(), aFile("b.mp3", "audio/mpeg", "x")}, []string{opAlbum}, `document:Ä "x".pdf document:b.mp3`},
		"not what was said": {[]bridge.File{photo(good), aFile("b.png", "text/plain", "x")}, []string{opAlbum}, "document:a b.png document:b.png"},
		"no picture":        {[]bridge.File{photo("<html>")}, []string{opPhoto, opFile}, "document:a b.png"},
		"too wide":          {[]bridge.File{photo(wide)}, []string{opPhoto, opFile}, "document:a b.png"},
		"album of one bad": {[]bridge.File{photo(good), photo(wide), aFile("b.mp4", "video/mp4", "x")}, []string{opAlbum, opAlbum},
			"document:a b.png document:a b.png document:b.mp4"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, sandbox.Options{KeepFile: 20 << 20}, sandbox.Chat{})
			thread := bridgetest.Open(t, p, visitor())
			asked, err := p.Send(t.Context(), thread, bridge.Part{Text: "x"})
			if err != nil {
				t.Fatal(err)
			}
			contents := make([]string, len(c.files))
			for i, f := range c.files {
				raw, err := io.ReadAll(f.Body)
				if err != nil {
					t.Fatal(err)
				}
				contents[i] = string(raw)
				if _, ok := f.Body.(io.Seeker); ok {
					c.files[i].Body = strings.NewReader("before" + contents[i])
					if _, err := io.CopyN(io.Discard, c.files[i].Body, 6); err != nil { // what was read before is not the file
						t.Fatal(err)
					}
				} else {
					c.files[i].Body = io.MultiReader(strings.NewReader(contents[i]))
				}
			}
			ids, err := p.Upload(t.Context(), thread, bridge.Part{Silent: true, ReplyTo: asked[0]}, c.files)
			if err != nil || len(ids) != len(c.files) {
				t.Fatalf("%q %v", ids, err)
			}
			var shown []string
			_, topic, _ := parseThread(thread)
			for i, m := range p.server.Messages(p.chat, int(topic))[2:] {
				shown = append(shown, m.File.Kind+":"+m.File.Name)
				if string(m.File.Content) != contents[i] || !m.Silent || messageID(p.chat, int64(m.ID)) != ids[i] ||
					messageID(p.chat, int64(m.ReplyTo)) != asked[0] || (m.Album != "") != (len(ids) > 1) {
					t.Errorf("message %d: %d bytes of %d, message %d", i, len(m.File.Content), len(contents[i]), m.ID)
				}
			}
			var calls []string
			for _, call := range p.server.Calls() {
				if call.Method == opPhoto || call.Method == opFile || call.Method == opAlbum {
					calls = append(calls, call.Method)
				}
			}
			if diff := cmp.Diff(c.calls, calls); diff != "" || strings.Join(shown, " ") != c.shown {
				t.Errorf("shown %q, calls %s", shown, diff)
			}
		})
	}
}

// A flat thread takes files as well, and its replies.
func TestUploadFlat(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{Kind: sandbox.Group})
	thread := bridgetest.Open(t, p, visitor())
	ids, err := p.Upload(t.Context(), thread, bridge.Part{ReplyTo: "7"}, []bridge.File{aFile("a.pdf", "application/pdf", "x")})
	if err != nil || len(ids) != 1 || !strings.HasPrefix(string(ids[0]), fmt.Sprint(p.chat)) {
		t.Fatalf("%q %v", ids, err)
	}
}

// broken fails in its middle.
type broken struct {
	r   io.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = b.err
	}
	return n, err
}

func TestUploadRefused(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	secret := errors.New("https://files.test/?token=4711")
	short := aFile("a.pdf", "application/pdf", "short")
	short.Size = 100
	failing := short
	failing.Body = broken{strings.NewReader("short"), secret}
	huge := short
	huge.Size = maxUploadElsewhere + 1
	stuck := make(chan struct{})
	defer close(stuck)
	for name, c := range map[string]struct {
		thread bridge.ThreadID
		files  []bridge.File
		reason bridge.Reason
		detail string
	}{
		"none":        {thread, nil, bridge.ReasonRejected, "one to ten"},
		"eleven":      {thread, make([]bridge.File, 11), bridge.ReasonRejected, "one to ten"},
		"too big":     {thread, []bridge.File{huge}, bridge.ReasonRejected, "2.0 GB"},
		"too short":   {thread, []bridge.File{short}, bridge.ReasonTransient, "could not be read to its end"},
		"fails":       {thread, []bridge.File{failing}, bridge.ReasonTransient, "could not be read to its end"},
		"empty":       {thread, []bridge.File{aFile("a", "", "")}, bridge.ReasonRejected, "non-empty"},
		"other place": {"-5/7", []bridge.File{aFile("a", "", "x")}, bridge.ReasonThreadGone, "another chat"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Upload(t.Context(), c.thread, bridge.Part{}, c.files)
			d := reason(t, err)
			if d.Reason != c.reason || d.Scope != bridge.ScopeSession || !strings.Contains(d.Detail, c.detail) || strings.Contains(err.Error(), "4711") {
				t.Errorf("%v", err)
			}
		})
	}
	if got := p.shown(thread); len(got) != 0 {
		t.Errorf("shown %+v", got)
	}
	// What is cut off by us says nothing of Telegram.
	ctx, cancel := context.WithCancel(t.Context())
	received := p.server.Await(sandbox.Received, opFile)
	p.server.Next(opFile, sandbox.Action{Hold: stuck})
	go func() {
		<-received
		cancel()
	}()
	_, err := p.Upload(ctx, thread, bridge.Part{}, []bridge.File{aFile("a", "", "x")})
	if d := reason(t, err); d.Reason != bridge.ReasonUnconfirmed && d.Reason != bridge.ReasonTransient || d.Scope != bridge.ScopeSession {
		t.Errorf("%v", d)
	}
}

// Telegram may refuse a picture before it has all of it; as a document it gets all of it.
func TestUploadRefusedEarly(t *testing.T) {
	content := strings.Repeat("0123456789", 900_000) // more than the buffers on the way hold
	again := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, opPhoto) {
			const body = `{"ok":false,"error_code":400,"description":"Bad Request: PHOTO_INVALID_DIMENSIONS"}`
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, body)
			_ = http.NewResponseController(w).Flush()
			<-again
			return
		}
		defer close(again)
		f, header, err := r.FormFile("document")
		if err != nil {
			t.Error(err)
			return
		}
		got, err := io.ReadAll(f)
		if err != nil || string(got) != content || header.Filename != "a.png" {
			t.Errorf("%d bytes of %q arrived, %v", len(got), header.Filename, err)
		}
		_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":9,"message_thread_id":7}}`)
	}))
	tg, _ := adapter(t, Config{Token: testToken, ChatID: -1000000000100, APIURL: server.URL})
	ids, err := tg.Upload(t.Context(), "-1000000000100/7", bridge.Part{}, []bridge.File{aFile("a.png", "image/png", content)})
	if err != nil || len(ids) != 1 {
		t.Errorf("%q %v", ids, err)
	}
	tg.files.CloseIdleConnections()
	server.Close()
}

// A source or a server that stands still ends the call, and one that is slow does not.
func TestUploadStalls(t *testing.T) {
	slow := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-slow // the rest of a body that does not fit into the buffers on the way is not read
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	defer close(slow)
	tg, _ := adapter(t, Config{Token: testToken, ChatID: -100, APIURL: server.URL})
	tg.stall = 50 * time.Millisecond
	_, err := tg.Upload(t.Context(), "-100/7", bridge.Part{}, []bridge.File{{Name: "a", Size: 40 << 20, Body: io.LimitReader(zeros{}, 40<<20)}})
	if d := reason(t, err); d.Reason != bridge.ReasonTransient || d.Scope != bridge.ScopeSession || d.Detail != "time-out" {
		t.Errorf("%v", d)
	}

	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	p.stall = 2 * time.Second // less than the upload takes in all, and far more than a step of it
	ticks := 0
	drip := readerFunc(func(b []byte) (int, error) {
		if ticks++; ticks > 10 {
			return 0, io.EOF
		}
		<-time.After(250 * time.Millisecond)
		b[0] = 'x'
		return 1, nil
	})
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, []bridge.File{{Name: "a", Size: 10, Body: drip}}); err != nil {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error)            { clear(p); return len(p), nil }
func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// counted counts how far it was read, and how much of the heap was in use meanwhile at most.
type counted struct {
	r    io.Reader
	n    int64
	most *uint64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if before := c.n; before>>20 != (before+int64(n))>>20 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*c.most = max(*c.most, m.HeapAlloc)
	}
	c.n += int64(n)
	return n, err
}

// Twenty megabytes go up and come down, and are never in memory.
func TestTwentyMegabytes(t *testing.T) {
	const size, bound = 20 << 20, 4 << 20
	p := start(t, sandbox.Options{KeepFile: 1}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	begin := m.HeapAlloc

	var most uint64
	up := &counted{r: io.LimitReader(zeros{}, size), most: &most}
	if _, err := p.Upload(t.Context(), thread, bridge.Part{}, []bridge.File{{Name: "a.bin", Size: size, Body: up}}); err != nil {
		t.Fatal(err)
	}
	_, topic, _ := parseThread(thread)
	all := p.server.Messages(p.chat, int(topic))
	want := sha256.New()
	_, _ = io.CopyN(want, zeros{}, size)
	if f := all[len(all)-1].File; f.Size != size || !bytes.Equal(f.Sum[:], want.Sum(nil)) {
		t.Errorf("%d bytes arrived, or other ones", f.Size)
	}
	said := p.server.Upload(sandbox.Upload{Chat: p.chat, Topic: int(topic), User: p.ana, Name: "b.bin", Reader: zeros{}, Size: size})
	c, err := p.OpenFile(t.Context(), said.File.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	down := &counted{r: c.Body, most: &most}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{down}); err != nil || down.n != size || c.Size != size {
		t.Errorf("%d bytes came, of %d: %v", down.n, c.Size, err)
	}
	_ = c.Body.Close()
	if most > begin+bound {
		t.Errorf("the heap grew by %d bytes", most-begin)
	}
}

func TestOpenFile(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	content := strings.Repeat("0123456789", 100)
	said := p.server.Upload(sandbox.Upload{Chat: p.chat, User: p.ana, Name: "a b ä.txt", Type: "text/plain", Content: []byte(content)})
	huge := p.server.Upload(sandbox.Upload{Chat: p.chat, User: p.ana, Reader: zeros{}, Size: maxDownload + 1})
	for _, c := range []struct {
		from    int64
		arrange sandbox.Action
		begins  int64
	}{
		{0, sandbox.Action{}, 0},
		{1, sandbox.Action{}, 1},
		{999, sandbox.Action{}, 999},
		{500, sandbox.Action{Status: 200, Body: content}, 0}, // ranges are not served
		{500, sandbox.Action{Status: 206, Header: http.Header{"Content-Range": {"bytes 400-999/1000"}}, Body: content[400:]}, 400},
		{500, sandbox.Action{Status: 206, Header: http.Header{"Content-Range": {"bytes 500-999/*"}}, Body: content[500:]}, 500},
	} {
		p.server.Next(opFetch, c.arrange)
		got, err := p.OpenFile(t.Context(), said.File.ID, c.from)
		if err != nil {
			t.Fatalf("from %d: %v", c.from, err)
		}
		all, err := io.ReadAll(got.Body)
		if err != nil || got.From != c.begins || string(all) != content[c.begins:] || got.Size != 1000 || !strings.HasPrefix(got.Type, "text/plain") {
			t.Errorf("from %d: %d bytes from %d of %d, %q, %v", c.from, len(all), got.From, got.Size, got.Type, err)
		}
		if err := got.Body.Close(); err != nil {
			t.Error(err)
		}
	}

	broken := fmt.Sprintf("HTTP %d", 206)
	for name, c := range map[string]struct {
		ref    string
		from   int64
		on     string
		action sandbox.Action
		reason bridge.Reason
		scope  bridge.Scope
		detail string
	}{
		"unknown":        {"no such file", 0, "", sandbox.Action{}, bridge.ReasonRejected, 0, "invalid file_id"},
		"empty":          {"", 0, "", sandbox.Action{}, bridge.ReasonRejected, 0, "file_id"},
		"too big":        {huge.File.ID, 0, "", sandbox.Action{}, bridge.ReasonRejected, 0, "too big"},
		"beyond":         {said.File.ID, 1000, "", sandbox.Action{}, bridge.ReasonRejected, 0, "416"},
		"gone meanwhile": {said.File.ID, 0, opFetch, sandbox.Fail(404, "Not Found"), bridge.ReasonRejected, 0, "404"},
		"502":            {said.File.ID, 0, opFetch, sandbox.Page(502), bridge.ReasonTransient, bridge.ScopeUnclear, "502"},
		"redirect":       {said.File.ID, 0, opFetch, sandbox.Redirect(302, "http://127.0.0.1:1/"), bridge.ReasonTransient, bridge.ScopeDestination, "302"},
		"401":            {said.File.ID, 0, opFetch, sandbox.Fail(401, "Unauthorized"), bridge.ReasonAuth, bridge.ScopeDestination, "TELEGRAM_BOT_TOKEN"},
		"429":            {said.File.ID, 0, opFetch, sandbox.FloodWait(7), bridge.ReasonRateLimited, bridge.ScopeDestination, "429"},
		"another range": {said.File.ID, 5, opFetch, sandbox.Action{Status: 206, Header: http.Header{"Content-Range": {"bytes 9-10/11"}}},
			bridge.ReasonTransient, bridge.ScopeDestination, broken},
		"no range": {said.File.ID, 5, opFetch, sandbox.Action{Status: 206}, bridge.ReasonTransient, bridge.ScopeDestination, broken},
		"no path": {said.File.ID, 0, opGet, sandbox.Action{Status: 200, Body: `{"ok":true,"result":{"file_id":"x"}}`}, bridge.ReasonRejected, 0,
			"names no path"},
		"a way out": {said.File.ID, 0, opGet, sandbox.Action{Status: 200, Body: `{"ok":true,"result":{"file_path":"a/../../getMe"}}`},
			bridge.ReasonRejected, 0, "names no path"},
		"502 at first": {said.File.ID, 0, opGet, sandbox.Page(502), bridge.ReasonTransient, bridge.ScopeDestination, "502"},
		"silence":      {said.File.ID, 0, opFetch, sandbox.Action{Silence: true}, bridge.ReasonTransient, bridge.ScopeDestination, "time-out"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.on != "" {
				p.server.Next(c.on, c.action)
			}
			tg := p.Telegram
			tg.paths = nil
			if name == "silence" {
				tg, _ = adapter(t, Config{Token: bridge.Secret(p.server.Token()), ChatID: p.chat,
					APIURL: strings.TrimSuffix(p.base, "/bot"+p.server.Token()+"/"), Timeout: 3 * time.Second}) // for the path, on a busy machine too
			}
			_, err := tg.OpenFile(t.Context(), c.ref, c.from)
			d := reason(t, err)
			if d.Reason != c.reason || d.Scope != c.scope || !strings.Contains(d.Detail, c.detail) {
				t.Errorf("%+v", *d)
			}
			if printed := fmt.Sprintf("%v %+v", err, *d); strings.Contains(printed, p.server.Token()) || strings.Contains(printed, "http://") {
				t.Errorf("%q", printed)
			}
		})
	}

	local := start(t, sandbox.Options{LocalFiles: true}, sandbox.Chat{})
	said = local.server.Upload(sandbox.Upload{Chat: local.chat, User: local.ana, Content: []byte("x")})
	_, err := local.OpenFile(t.Context(), said.File.ID, 0)
	if d := reason(t, err); d.Reason != bridge.ReasonRejected || !strings.Contains(d.Detail, "--local") || strings.Contains(d.Detail, "/") {
		t.Errorf("%v", d)
	}
}

// A file's path is asked for once in its hour, and anew when there is nothing at it any more.
func TestPathIsKept(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	said := p.server.Upload(sandbox.Upload{Chat: p.chat, User: p.ana, Name: "a.txt", Type: "text/plain", Content: []byte("content")})
	opens := func(asked int) {
		t.Helper()
		c, err := p.OpenFile(t.Context(), said.File.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(c.Body); string(body) != "content" || err != nil {
			t.Errorf("%q %v", body, err)
		}
		_ = c.Body.Close()
		n := 0
		for _, call := range p.server.Calls() {
			if call.Method == opGet {
				n++
			}
		}
		if n != asked {
			t.Errorf("the path was asked for %d times, not %d", n, asked)
		}
	}
	for range 5 {
		opens(1)
	}
	p.server.Next(opFetch, sandbox.Fail(404, "Not Found"))
	opens(2)
	opens(2)
	p.mu.Lock()
	at := p.paths[said.File.ID]
	at.until = time.Now()
	p.paths[said.File.ID] = at
	p.mu.Unlock()
	opens(3)
}

// What breaks off, or stands still, on its way down is said without a word of where it came from.
func TestDownloadBreaks(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	said := p.server.Upload(sandbox.Upload{Chat: p.chat, User: p.ana, Content: []byte("x")})
	more := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, opGet) {
			_, _ = fmt.Fprint(w, `{"ok":true,"result":{"file_path":"documents/a b.pdf"}}`)
			return
		}
		w.Header().Set("Content-Length", "100")
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		if r.Header.Get("Range") != "" {
			<-more
		}
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	defer close(more)
	tg, _ := adapter(t, Config{Token: testToken, ChatID: -100, APIURL: server.URL})
	tg.stall = 50 * time.Millisecond
	for from, detail := range map[int64]string{0: "in the middle of the answer", 1: "time-out"} {
		c, err := tg.OpenFile(t.Context(), said.File.ID, from)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * tg.stall) // nobody has to read at once
		got, err := io.ReadAll(c.Body)
		if d := reason(t, err); string(got) != "half" || d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, detail) ||
			c.Type != "application/pdf" {
			t.Errorf("%q %q %v", got, c.Type, err)
		}
		_ = c.Body.Close()
	}
}

// What cannot be rewound is not sent a second time: the refusal stands.
func TestNotRewound(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	_, err := p.Upload(t.Context(), thread, bridge.Part{}, []bridge.File{once(aFile("a.png", "image/png", "x"))})
	if d := reason(t, err); d.Reason != bridge.ReasonRejected || !strings.Contains(d.Detail, "IMAGE_PROCESS_FAILED") {
		t.Errorf("%v", d)
	}
}
