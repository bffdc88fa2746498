package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

// logs collects what is logged.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// source is a platform with one file.
type source struct {
	content  string
	noRanges bool  // begins at the beginning whatever is asked for
	noSize   bool  // does not tell the length
	err      error // in place of the file
	open     func(ctx context.Context, from int64) (*bridge.Content, error)

	mu     sync.Mutex
	asked  []int64
	closed int
}

func (s *source) OpenFile(ctx context.Context, ref string, from int64) (*bridge.Content, error) {
	s.mu.Lock()
	s.asked = append(s.asked, from)
	s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if ref != "ref" {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: "getFile", Detail: "no such file"}
	}
	if s.open != nil {
		return s.open(ctx, from)
	}
	if s.noRanges {
		from = 0
	}
	c := &bridge.Content{Body: &counter{strings.NewReader(s.content[from:]), s}, From: from, Size: int64(len(s.content))}
	if s.noSize {
		c.Size = -1
	}
	return c, nil
}

type counter struct {
	io.Reader
	s *source
}

func (c *counter) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.closed++
	return nil
}

// balanced waits until what was opened is closed: a client has its answer a little earlier.
func (s *source) balanced(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; <-time.After(time.Millisecond) {
		opened, closed := s.counts()
		if opened == closed {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d opened, %d closed", opened, closed)
		}
	}
}

func (s *source) counts() (opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked), s.closed
}

func serveLinks(t *testing.T, s *source, o LinkOptions) (*Links, string) {
	t.Helper()
	o.Source = func(platform string) bridge.FileSource {
		if platform != "telegram" {
			return nil
		}
		return s
	}
	l := newLinks(t, o)
	srv := httptest.NewUnstartedServer(l)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Start()
	t.Cleanup(srv.Close)
	return l, srv.URL
}

// answer is what came without its body.
type answer struct {
	StatusCode    int
	Header        http.Header
	ContentLength int64
}

// ask makes a request and reads its answer.
func ask(t *testing.T, method, url string, header ...string) (answer, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, "", err // cut off before the answer had left
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, resp.ContentLength}, string(body), err
}

func attachment(name, typ string, size int) bridge.Attachment {
	return bridge.Attachment{Filename: name, MimeType: typ, Size: int64(size), BridgeFileID: "ref"}
}

func TestServe(t *testing.T) {
	s := &source{content: "0123456789"}
	now := &clock{now: time.Unix(1_800_000_000, 0)}
	l, base := serveLinks(t, s, LinkOptions{Now: now.Now})
	url := base + l.Link("telegram", attachment("Grüße \"1\".png", "image/png", 10))
	resp, body, err := ask(t, http.MethodGet, url)
	if err != nil || resp.StatusCode != 200 || body != s.content || resp.ContentLength != 10 {
		t.Fatalf("%d %q %v", resp.StatusCode, body, err)
	}
	tag := resp.Header.Get("ETag")
	got := resp.Header.Clone()
	got.Del("Date")
	want := http.Header{
		"Content-Type": {"image/png"}, "Content-Length": {"10"}, "Accept-Ranges": {"bytes"}, "Etag": {tag},
		"Content-Disposition":          {`inline; filename="Gr__e _1_.png"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22.png`},
		"Cache-Control":                {"private, max-age=86400"},
		"X-Content-Type-Options":       {"nosniff"},
		"Content-Security-Policy":      {"sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"},
		"Cross-Origin-Resource-Policy": {"cross-origin"}, "Referrer-Policy": {"no-referrer"}, "X-Robots-Tag": {"noindex"},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(tag) < 10 {
		t.Error(diff)
	}
	if resp, body, _ := ask(t, http.MethodHead, url, "Range", "bytes=2-3"); resp.StatusCode != 200 || body != "" || resp.ContentLength != 10 {
		t.Errorf("HEAD: %d %q %d", resp.StatusCode, body, resp.ContentLength)
	}
	opened, _ := s.counts()
	if resp, body, _ := ask(t, http.MethodGet, url, "If-None-Match", `"x", W/`+tag); resp.StatusCode != 304 || body != "" {
		t.Errorf("If-None-Match: %d %q", resp.StatusCode, body)
	}
	if again, _ := s.counts(); again != opened {
		t.Error("the platform is asked for what the client has")
	}
	now.pass(7*24*time.Hour - time.Minute)
	if resp, _, _ := ask(t, http.MethodGet, url); resp.Header.Get("Cache-Control") != "private, max-age=60" {
		t.Errorf("a minute before its end: %v", resp.Header)
	}
	s.balanced(t)
}

func TestServeRanges(t *testing.T) {
	for _, noRanges := range []bool{false, true} {
		s := &source{content: "0123456789", noRanges: noRanges}
		l, base := serveLinks(t, s, LinkOptions{})
		url := base + l.Link("telegram", attachment("a.mp4", "video/mp4", 10))
		tag, _, _ := ask(t, http.MethodHead, url)
		for _, c := range []struct {
			ask     string
			status  int
			body    string
			content string
		}{
			{"bytes=0-", 206, "0123456789", "bytes 0-9/10"},
			{"bytes=4-", 206, "456789", "bytes 4-9/10"},
			{"bytes=4-6", 206, "456", "bytes 4-6/10"},
			{"bytes=0-0", 206, "0", "bytes 0-0/10"},
			{"bytes=9-99", 206, "9", "bytes 9-9/10"},
			{"bytes=-3", 206, "789", "bytes 7-9/10"},
			{"bytes=-99", 206, "0123456789", "bytes 0-9/10"},
			{"bytes=10-", 416, "", "bytes */10"},
			{"bytes=-0", 416, "", "bytes */10"},
			{"bytes=99999999999999999999-", 200, "0123456789", ""},
			{"bytes=6-4", 200, "0123456789", ""},
			{"bytes=1-2,4-5", 200, "0123456789", ""},
			{"bytes=--3", 200, "0123456789", ""},
			{"bytes=+1-", 200, "0123456789", ""},
			{"bytes=-", 200, "0123456789", ""},
			{"items=1-2", 200, "0123456789", ""},
			{"nonsense", 200, "0123456789", ""},
		} {
			resp, body, err := ask(t, http.MethodGet, url, "Range", c.ask)
			if resp.StatusCode != c.status || c.status != 416 && body != c.body || resp.Header.Get("Content-Range") != c.content || err != nil {
				t.Errorf("%s: %d %q %q %v", c.ask, resp.StatusCode, body, resp.Header.Get("Content-Range"), err)
			}
		}
		for condition, status := range map[string]int{tag.Header.Get("ETag"): 206, `"other"`: 200, "Wed, 21 Oct 2015 07:28:00 GMT": 200} {
			if resp, _, _ := ask(t, http.MethodGet, url, "Range", "bytes=4-", "If-Range", condition); resp.StatusCode != status {
				t.Errorf("If-Range %s: %d", condition, resp.StatusCode)
			}
		}
		s.balanced(t)
	}
}

// The platform knows best how long a file is, and some do not tell.
func TestServeSizes(t *testing.T) {
	for name, c := range map[string]struct {
		s      *source
		size   int // that the link tells
		ask    string
		status int
		body   string
		length int64
		ranges string
	}{
		"told nowhere":          {&source{content: "0123456789", noSize: true}, 0, "bytes=4-", 200, "0123456789", 10, "none"}, // so short that net/http counts it
		"told by the platform":  {&source{content: "0123456789"}, 0, "bytes=4-", 200, "0123456789", 10, "none"},
		"told by the link":      {&source{content: "0123456789", noSize: true}, 10, "bytes=4-", 206, "456789", 6, "bytes"},
		"longer than the link":  {&source{content: "0123456789"}, 5, "bytes=2-", 206, "23456789", 8, "bytes"},
		"shorter than the link": {&source{content: "0123"}, 10, "bytes=2-", 206, "23", 2, "bytes"},
		"far shorter":           {&source{content: "0123", noRanges: true}, 10, "bytes=7-", 416, "", -1, ""},
		"empty":                 {&source{}, 0, "", 200, "", 0, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			l, base := serveLinks(t, c.s, LinkOptions{})
			resp, body, err := ask(t, http.MethodGet, base+l.Link("telegram", attachment("a", "", c.size)), "Range", c.ask)
			if err != nil || resp.StatusCode != c.status || c.status != 416 && (body != c.body || resp.ContentLength != c.length ||
				resp.Header.Get("Accept-Ranges") != c.ranges) {
				t.Errorf("%d %q %d %v %v", resp.StatusCode, body, resp.ContentLength, resp.Header, err)
			}
		})
	}
}

func TestServeRefuses(t *testing.T) {
	const secret = "https://api.test/file/bot123:AAtoken/x"
	deliver := func(r bridge.Reason) error {
		return &bridge.DeliveryError{Reason: r, Op: "getFile", Detail: "what it said", RetryAfter: 1500 * time.Millisecond}
	}
	now := &clock{now: time.Now()}
	for name, c := range map[string]struct {
		link   func(l *Links) string
		method string
		err    error
		status int
		code   string
		retry  string
	}{
		"forged":  {link: func(*Links) string { return "/files/AAAA" }, status: 403, code: "forbidden"},
		"nothing": {link: func(*Links) string { return "/files/" }, status: 403, code: "forbidden"},
		"expired": {link: func(l *Links) string {
			u := l.Link("telegram", attachment("a", "", 1))
			now.pass(8 * 24 * time.Hour)
			return u
		}, status: 410, code: "expired"},
		"other platform": {link: func(l *Links) string { return l.Link("slack", attachment("a", "", 1)) }, status: 404, code: "not_found"},
		"gone":           {err: deliver(bridge.ReasonRejected), status: 404, code: "not_found"},
		"rate limited":   {err: deliver(bridge.ReasonRateLimited), status: 503, code: "busy", retry: "2"},
		"transient":      {err: deliver(bridge.ReasonTransient), status: 502, code: "bad_gateway"},
		"token":          {err: deliver(bridge.ReasonAuth), status: 502, code: "bad_gateway"},
		"a defect":       {err: errors.New(secret), status: 502, code: "bad_gateway"},
		"written":        {method: http.MethodPost, status: 405, code: "method_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			logged := &logs{}
			s := &source{content: "x", err: c.err}
			l, base := serveLinks(t, s, LinkOptions{Now: now.Now, Log: slog.New(slog.NewTextHandler(logged, nil))})
			url := l.Link("telegram", attachment("a", "", 1))
			if c.link != nil {
				url = c.link(l)
			}
			if c.method == "" {
				c.method = http.MethodGet
			}
			resp, body, err := ask(t, c.method, base+url)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) || !strings.Contains(body, `"error":"`) {
				t.Errorf("%d %s %v", resp.StatusCode, body, err)
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("ETag") != "" || resp.Header.Get("Retry-After") != c.retry ||
				resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v", resp.Header)
			}
			for _, not := range []string{"AAtoken", "what it said", "https://"} {
				if strings.Contains(body, not) || not != "what it said" && strings.Contains(logged.String(), not) {
					t.Errorf("%s %s", body, logged.String())
				}
			}
		})
	}
}

// What a browser could run is not what it is served as.
func TestShownAs(t *testing.T) {
	for typ, want := range map[string]string{
		"image/png": "image/png inline", "image/jpeg": "image/jpeg inline", "video/mp4": "video/mp4 inline", "audio/ogg": "audio/ogg inline",
		"text/plain; charset=x": "text/plain; charset=utf-8 inline", "image/svg+xml": octets, "text/html": octets, "TEXT/HTML; a=b": octets,
		"application/xhtml+xml": octets, "text/xml": octets, "application/xml": octets, "text/javascript": octets, "application/javascript": octets,
		"application/x-javascript": octets, "text/xsl": octets, "image/x-thing": "image/x-thing", "application/pdf": "application/pdf",
		"application/zip": "application/zip", "text/csv": "text/csv", "text/css": octets, "text/cache-manifest": octets, "": octets, "nonsense": octets,
		"video/svg+xml": octets, "application/octet-stream": octets, "a/b\r\nX: y": octets,
	} {
		got, inline := shownAs(typ, "")
		if inline {
			got += " inline"
		}
		if got != want {
			t.Errorf("%q: %q", typ, got)
		}
	}
	if typ, _ := shownAs(octets, "image/png"); typ != "image/png" {
		t.Errorf("what the platform says does not count: %q", typ)
	}
	s := &source{content: "<script>"}
	l, base := serveLinks(t, s, LinkOptions{})
	resp, _, _ := ask(t, http.MethodGet, base+l.Link("telegram", attachment("a.html", "text/html", 8)))
	if resp.Header.Get("Content-Type") != octets || resp.Header.Get("Content-Disposition") != `attachment; filename="a.html"` {
		t.Errorf("%v", resp.Header)
	}
}

func TestDisposition(t *testing.T) {
	for name, want := range map[string]string{
		"": "attachment", "a b.pdf": `attachment; filename="a b.pdf"`, "a\"b\\c%d\r\n.pdf": `attachment; filename="a_b_c_d__.pdf"; filename*=UTF-8''a%22b%5Cc%25d%0D%0A.pdf`,
		"日本.pdf": `attachment; filename="__.pdf"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.pdf`,
	} {
		if got := disposition(false, name); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
}

// A platform that breaks off breaks the answer off, so that nobody takes half a file for a whole.
func TestServeBreaksOff(t *testing.T) {
	for name, c := range map[string]struct {
		size int64
		err  error
	}{
		"fault": {10, errors.New("4711")}, "too short": {10, io.EOF}, "of no length": {-1, errors.New("4711")},
	} {
		t.Run(name, func(t *testing.T) {
			s := &source{}
			s.open = func(context.Context, int64) (*bridge.Content, error) {
				return &bridge.Content{Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{c.err})), Size: c.size}, nil
			}
			logged := &logs{}
			l, base := serveLinks(t, s, LinkOptions{Log: slog.New(slog.NewTextHandler(logged, nil))})
			resp, body, err := ask(t, http.MethodGet, base+l.Link("telegram", attachment("a", "", 0)))
			if err == nil || !strings.HasPrefix("half", body) {
				t.Errorf("%d %q %v", resp.StatusCode, body, err)
			}
			said := logged.String()
			if !strings.Contains(said, "broke off") || strings.Contains(said, "4711") {
				t.Errorf("%s", said)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// blocked is a content that stands still until its context ends.
type blocked struct{ ctx context.Context }

func (b blocked) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, b.ctx.Err() }
func (b blocked) Close() error             { return nil }

func TestServeWaits(t *testing.T) {
	silent := func(ctx context.Context, _ int64) (*bridge.Content, error) {
		<-ctx.Done()
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "getFile", Detail: "cancelled"}
	}
	still := func(ctx context.Context, _ int64) (*bridge.Content, error) {
		return &bridge.Content{Body: blocked{ctx}, Size: 5}, nil
	}
	const soon = 20 * time.Millisecond
	for name, c := range map[string]struct {
		open  func(context.Context, int64) (*bridge.Content, error)
		limit func(*Links)
		code  int // 0: none
	}{
		"does not answer":  {silent, func(l *Links) { l.openIn = soon }, 504},
		"stands still":     {still, func(l *Links) { l.stall = soon }, 0},
		"takes for ever":   {still, func(l *Links) { l.total = soon }, 0},
		"answers for ever": {silent, func(l *Links) { l.total = soon }, 504},
	} {
		t.Run(name, func(t *testing.T) {
			l, base := serveLinks(t, &source{open: c.open}, LinkOptions{})
			c.limit(l)
			resp, body, err := ask(t, http.MethodGet, base+l.Link("telegram", attachment("a", "", 0)))
			if resp.StatusCode != c.code || (err != nil) != (c.code == 0) || c.code != 0 && !strings.Contains(body, "timeout") {
				t.Errorf("%d %s %v", resp.StatusCode, body, err)
			}
		})
	}
}

// No more files are on their way than there may be, and one that is free again is used.
func TestServeSlots(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 2)
	s := &source{open: func(context.Context, int64) (*bridge.Content, error) {
		begun <- struct{}{}
		<-release
		return &bridge.Content{Body: io.NopCloser(strings.NewReader("x")), Size: 1}, nil
	}}
	l, base := serveLinks(t, s, LinkOptions{Concurrency: 2})
	l.slotIn = 20 * time.Millisecond
	url := base + l.Link("telegram", attachment("a", "", 1))
	done := make(chan int, 2)
	for range 2 {
		go func() {
			resp, _, _ := ask(t, http.MethodGet, url)
			done <- resp.StatusCode
		}()
		<-begun
	}
	if resp, body, _ := ask(t, http.MethodGet, url); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !strings.Contains(body, "busy") {
		t.Errorf("the third: %d %s", resp.StatusCode, body)
	}
	close(release)
	for range 2 {
		if code := <-done; code != 200 {
			t.Errorf("%d", code)
		}
	}
	if resp, _, _ := ask(t, http.MethodGet, url); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d", resp.StatusCode)
	}
}

// A client that does not read holds neither memory nor a place for long.
func TestServeSlowClient(t *testing.T) {
	const size = 64 << 20
	closed := make(chan struct{})
	s := &source{open: func(context.Context, int64) (*bridge.Content, error) {
		return &bridge.Content{Body: closing{io.LimitReader(zeros{}, size), closed}, Size: size}, nil
	}}
	l, base := serveLinks(t, s, LinkOptions{Concurrency: 1})
	l.stall = 300 * time.Millisecond
	begin := heap()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", l.Link("telegram", attachment("a", "", size))); err != nil {
		t.Fatal(err)
	}
	for l.places.taken() == 0 {
		<-time.After(time.Millisecond)
	}
	if most := heap(); most > begin+2<<20 {
		t.Errorf("the heap grew by %d bytes", most-begin)
	}
	<-closed
	for l.places.taken() > 0 {
		<-time.After(time.Millisecond)
	}
}

type closing struct {
	io.Reader
	closed chan struct{}
}

func (c closing) Close() error { close(c.closed); return nil }

// A client that goes ends what is asked of the platform.
func TestServeClientGoes(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	s := &source{open: func(ctx context.Context, _ int64) (*bridge.Content, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}
	l, base := serveLinks(t, s, LinkOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+l.Link("telegram", attachment("a", "", 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-begun
		cancel()
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if resp, err := transport.RoundTrip(r); err == nil {
		_ = resp.Body.Close()
		t.Errorf("%d", resp.StatusCode)
	}
	<-ended
}

// Connections are used again after a file, and keep nothing of it.
func TestServeKeepsConnections(t *testing.T) {
	s := &source{content: strings.Repeat("x", 100_000)}
	l := newLinks(t, LinkOptions{Source: func(string) bridge.FileSource { return s }})
	l.stall = 50 * time.Millisecond
	dialled := 0
	mux := http.NewServeMux()
	mux.Handle("GET /files/{signed}", l)
	mux.HandleFunc("GET /other", func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(2 * l.stall) // the deadline of a file's last piece is not the connection's
		_, _ = io.WriteString(w, "x")
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled++
		return d.DialContext(ctx, network, address)
	}}}
	defer client.CloseIdleConnections()
	file := l.Link("telegram", attachment("a", "", 100_000))
	for path, want := range map[string]int64{file: 100_000, "/other": 1} {
		for _, p := range []string{file, path} {
			resp, err := client.Get(srv.URL + p)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil || p == path && n != want {
				t.Errorf("%.10s: %d bytes, %v", p, n, err)
			}
		}
	}
	if dialled != 1 {
		t.Errorf("%d connections", dialled)
	}
}
