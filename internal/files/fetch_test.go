package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pngHead = "\x89PNG\r\n\x1a\n"
	pdfHead = "%PDF-1.7\n"
	page    = "<!DOCTYPE html><html><body>please sign in</body></html>"
)

func fetcher(t *testing.T, o FetchOptions) *Fetcher {
	t.Helper()
	if o.Guard == nil {
		guard, err := outbound.NewGuard("127.0.0.0/8")
		if err != nil {
			t.Fatal(err)
		}
		o.Guard = guard
	}
	f := NewFetcher(o)
	t.Cleanup(f.client.CloseIdleConnections)
	return f
}

func serving(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s.URL
}

func TestFetch(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(w, pdfHead+"zipped")
	_ = w.Close()
	long := pngHead + strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		a       bridge.Attachment
		path    string
		header  http.Header
		body    string
		chunked bool
		want    bridge.File // without its Body
	}{
		"as announced":        {bridge.Attachment{Filename: "a b.png", MimeType: "image/png", Size: 9}, "", nil, long, false, bridge.File{Name: "a b.png", Type: "image/png"}},
		"of no length":        {bridge.Attachment{Filename: "a.png", MimeType: "image/png"}, "", nil, long, true, bridge.File{Name: "a.png", Type: "image/png"}},
		"short":               {bridge.Attachment{Filename: "a.txt"}, "", nil, "x", false, bridge.File{Name: "a.txt", Type: "text/plain"}},
		"short, of no length": {bridge.Attachment{Filename: "a.bin"}, "", http.Header{"Content-Type": {octets}}, "\x00", true, bridge.File{Name: "a.bin", Type: octets}},
		"zipped":              {bridge.Attachment{Filename: "a.pdf"}, "", http.Header{"Content-Encoding": {"gzip"}}, zipped.String(), false, bridge.File{Name: "a.pdf", Type: "application/pdf"}},
		"name of URL":         {bridge.Attachment{}, "/x/Caf%C3%A9%20menu.pdf?token=4711", nil, pdfHead, false, bridge.File{Name: "Café menu.pdf", Type: "application/pdf"}},
		"no name":             {bridge.Attachment{Filename: "../.."}, "/", nil, pdfHead, false, bridge.File{Name: "file", Type: "application/pdf"}},
		"other type":          {bridge.Attachment{Filename: "a.png", MimeType: "image/png"}, "", nil, pdfHead, false, bridge.File{Name: "a.png", Type: "application/pdf"}},
		"a page":              {bridge.Attachment{Filename: "a.html", MimeType: "text/html"}, "", nil, page, false, bridge.File{Name: "a.html", Type: "text/html"}},
		"redirected":          {bridge.Attachment{Filename: "a.png"}, "/redirect/3", nil, pngHead, false, bridge.File{Name: "a.png", Type: "image/png"}},
	} {
		t.Run(name, func(t *testing.T) {
			base := serving(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("User-Agent") != "bridge/1" || r.Header.Get("Referer") != "" {
					t.Errorf("%v", r.Header)
				}
				if rest, ok := strings.CutPrefix(r.URL.Path, "/redirect/"); ok {
					if n, _ := strconv.Atoi(rest); n > 0 {
						http.Redirect(w, r, fmt.Sprintf("../redirect/%d", n-1), []int{301, 302, 307, 308}[n])
						return
					}
				}
				for k, v := range c.header {
					w.Header()[k] = v
				}
				if !c.chunked {
					w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
				}
				for i, part := range []string{c.body[:len(c.body)/2], c.body[len(c.body)/2:]} {
					_, _ = io.WriteString(w, part)
					if c.chunked && i == 0 {
						_ = http.NewResponseController(w).Flush()
					}
				}
			})
			f := fetcher(t, FetchOptions{UserAgent: "bridge/1"})
			c.a.URL = base + c.path
			got, closer, err := f.Fetch(t.Context(), c.a, 0)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(got.Body)
			want := c.body
			if c.header.Get("Content-Encoding") != "" {
				want = pdfHead + "zipped"
			}
			size := int64(len(want))
			if c.chunked || c.header.Get("Content-Encoding") != "" {
				size = -1
			}
			if err != nil || string(body) != want || got.Size != size || got.Name != c.want.Name || got.Type != c.want.Type {
				t.Errorf("%q %q %d of %d bytes, %v", got.Name, got.Type, len(body), got.Size, err)
			}
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFetchRefused(t *testing.T) {
	const limit = 4096
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	body := func(text string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			_, _ = io.WriteString(w, text)
		}
	}
	chunked := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, text)
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", to); w.WriteHeader(302) }
	}
	png := bridge.Attachment{Filename: "a.png", MimeType: "image/png"}
	for name, c := range map[string]struct {
		a         bridge.Attachment // its URL is the server's unless it has one
		serve     http.HandlerFunc
		reason    string
		temporary bool
	}{
		"no URL":             {bridge.Attachment{URL: " "}, nil, "no URL", false},
		"no http":            {bridge.Attachment{URL: "file:///etc/passwd"}, nil, "must begin with http", false},
		"with a password":    {bridge.Attachment{URL: "https://a:4711@b.test/"}, nil, "no password", false},
		"private":            {bridge.Attachment{URL: "http://10.0.0.1/x?token=4711"}, nil, "a private address", false},
		"metadata":           {bridge.Attachment{URL: "http://169.254.169.254/latest"}, nil, "metadata", false},
		"another loopback":   {bridge.Attachment{URL: "http://[::1]:1/"}, nil, "loopback", false},
		"nobody there":       {bridge.Attachment{URL: "http://127.0.0.1:1/?token=4711"}, nil, "connection refused", true},
		"redirect to inside": {png, redirect("http://10.0.0.1/?token=4711"), "the URL it is redirected to leads to a private", false},
		"to metadata":        {png, redirect("//169.254.169.254/"), "never allowed", false},
		"to a file":          {png, redirect("file:///etc/passwd"), "must begin with http", false},
		"to nowhere":         {png, redirect(""), "no valid one", false},
		"in a circle":        {png, redirect("/"), "more than 3 times", false},
		"not found":          {png, status(404), "not there any more (404)", false},
		"gone":               {png, status(410), "not there any more (410)", false},
		"forbidden":          {png, status(403), "may not be fetched (403)", false},
		"other status":       {png, status(204), "answered 204", false},
		"partial":            {png, status(206), "answered 206", false},
		"server fault":       {png, status(503), "answered 503", true},
		"empty":              {png, body(""), "empty", false},
		"empty, chunked":     {png, chunked(""), "empty", false},
		"too big":            {png, body(strings.Repeat("x", limit+1), "Content-Length", strconv.Itoa(limit+1)), "longer than 4 kB", false},
		"a page":             {png, body(page), "web page", false},
		"a page by its type": {png, body("please sign in", "Content-Type", "text/html"), "web page", false},
		"a page for a PDF":   {bridge.Attachment{Filename: "a.pdf"}, body(page, "Content-Type", "application/pdf"), "web page", false},
		"broken off":         {png, cut, "broke off", true},
		"strange encoding":   {png, body("x", "Content-Encoding", "br"), "encoding", false},
		"damaged":            {png, body("no gzip at all", "Content-Encoding", "gzip"), "damaged", false},
		"damaged inside":     {png, body("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff", "Content-Encoding", "gzip"), "damaged", false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.a.URL == "" {
				c.a.URL = serving(t, c.serve) + "/?token=4711"
			}
			f := fetcher(t, FetchOptions{})
			_, closer, err := f.Fetch(t.Context(), c.a, limit)
			var fault *FetchError
			if closer != nil || !errors.As(err, &fault) {
				t.Fatalf("%T %v", err, err)
			}
			if !strings.Contains(fault.Reason, c.reason) || fault.Temporary != c.temporary {
				t.Errorf("%+v", fault)
			}
			for _, not := range []string{"4711", "127.0.0.1", "10.0.0.1", "://"} {
				if strings.Contains(strings.ReplaceAll(fault.Reason, "http:// or https://", ""), not) && not != "127.0.0.1" {
					t.Errorf("%q holds %q", fault.Reason, not)
				}
			}
		})
	}
}

// What is too long, and does not say so beforehand, is not read to its end.
func TestFetchTooLong(t *testing.T) {
	base := serving(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.CopyN(w, zeros{}, 5000)
	})
	for limit, want := range map[int64]string{4096: "longer than 4 kB", 5000: ""} {
		file, closer, err := fetcher(t, FetchOptions{MaxFile: limit}).Fetch(t.Context(), bridge.Attachment{URL: base}, 0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, file.Body)
		fault, _ := errors.AsType[*FetchError](err)
		if n > limit || (fault == nil) != (want == "") || fault != nil && !strings.Contains(fault.Reason, want) {
			t.Errorf("%d bytes of at most %d, %v", n, limit, err)
		}
		_ = closer.Close()
	}
}

// What breaks off while it is read is said then, in words of our own.
func TestFetchBreaksOff(t *testing.T) {
	stuck := make(chan struct{})
	base := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			<-stuck
			return
		}
		w.Header().Set("Content-Length", "10000")
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/stuck" {
			<-stuck
		}
		panic(http.ErrAbortHandler)
	})
	defer close(stuck)
	f := fetcher(t, FetchOptions{})
	f.stall, f.answerIn = 50*time.Millisecond, 50*time.Millisecond
	for path, want := range map[string]string{"/cut": "the file broke off", "/stuck": "the file comes too slowly"} {
		file, closer, err := f.Fetch(t.Context(), bridge.Attachment{URL: base + path}, 0)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * f.stall) // a slow reader is no slow source
		got, err := io.ReadAll(file.Body)
		var fault *FetchError
		if !errors.As(err, &fault) || fault.Reason != want || fault.Temporary != (path == "/cut") || len(got) != 1000 {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
		_ = closer.Close()
	}
	if _, _, err := f.Fetch(t.Context(), bridge.Attachment{URL: base + "/silent"}, 0); err == nil || err.Error() != "the file comes too slowly" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Fetch(ctx, bridge.Attachment{URL: base + "/silent"}, 0); err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("%v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// heap is how much is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Twenty megabytes are fetched, of known length and of unknown, and are never in memory.
func TestFetchTwentyMegabytes(t *testing.T) {
	const size, bound = 20 << 20, 2 << 20
	base := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		_, _ = io.CopyN(w, zeros{}, size)
	})
	f := fetcher(t, FetchOptions{})
	begin := heap()
	for _, path := range []string{"/known", "/unknown"} {
		file, closer, err := f.Fetch(t.Context(), bridge.Attachment{URL: base + path}, 0)
		if err != nil {
			t.Fatal(err)
		}
		half, err := io.CopyN(io.Discard, file.Body, size/2)
		middle := heap()
		rest, err2 := io.Copy(io.Discard, struct{ io.Reader }{file.Body})
		if known := path == "/known"; known && file.Size != size || !known && file.Size != -1 || half+rest != size || err != nil || err2 != nil {
			t.Errorf("%s: %d + %d of %d bytes, %v %v", path, half, rest, file.Size, err, err2)
		}
		if middle > begin+bound {
			t.Errorf("%s: the heap grew by %d bytes", path, middle-begin)
		}
		_ = closer.Close()
	}
}

func TestTypeOf(t *testing.T) {
	for _, c := range []struct{ announced, served, head, want string }{
		{"image/png", "image/png", pngHead, "image/png"},
		{"image/jpeg", "", pngHead, "image/png"},
		{"", "", pngHead, "image/png"},
		{"image/heic", octets, "\x00\x00\x00\x18ftypheic", "image/heic"},
		{"image/svg+xml", "image/svg+xml", "<svg xmlns=", "image/svg+xml"},
		{"image/png", "", "just text", "text/plain"},
		{"image/png", "", "PK\x03\x04", "application/zip"},
		{"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "", "PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"audio/mp4", "", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42", "audio/mp4"},
		{"", "", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42mp41", "video/mp4"},
		{"", "application/x-thing", "\x00\x01", "application/x-thing"},
		{"", "nonsense", "\x00\x01", octets},
		{"text/csv", "text/plain", "a,b", "text/csv"},
		{"text/html", "text/html", page, "text/html"},
		{"", "", page, "text/html"},
	} {
		got, err := typeOf(c.announced, c.served, []byte(c.head))
		if err != nil || got != c.want {
			t.Errorf("%+v: %q %v", c, got, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"a.png": "a.png", " a b.png ": "a b.png", "a/b\\c": "a_b_c", "": "", ".": "", "..": "", "/": "", "\x00\n": "", "a\r\nb": "ab",
		"gpj\u202eexe.pdf": "gpjexe.pdf", "\xff.pdf": ".pdf",
		strings.Repeat("é", 200) + ".jpeg": strings.Repeat("é", 125) + ".jpeg", strings.Repeat("x", 300): strings.Repeat("x", 255),
		"a." + strings.Repeat("x", 300): "a." + strings.Repeat("x", 253),
	} {
		if got := cleanName(in); got != want {
			t.Errorf("%.40q: %.40q", in, got)
		}
	}
}
