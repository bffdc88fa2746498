// Package files moves files between the world and the platforms: it fetches what visitors attach, from URLs that strangers
// wrote, and hands out what operators send, behind links that it signs and from streams that it opens on demand. It knows HTTP,
// addresses that may be called, types and names of files; it knows no platform, no session and no message. No file but one that
// came within its URL is in memory whole, and none stays on disk for longer than the process lives.
package files

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// DefaultMaxFile is the longest file that is fetched where nothing else is said, in bytes.
const DefaultMaxFile = 25 << 20

const (
	maxRedirects = 3
	sniffed      = 512 // bytes that http.DetectContentType looks at
	maxName      = 255 // bytes of a file's name

	answerTimeout = 15 * time.Second // until the first bytes of the file, redirects included
	stallTimeout  = 15 * time.Second // without a byte
)

// FetchError says why a file cannot be had, in a few words that may be shown to an operator: the URL is not among them.
type FetchError struct {
	Reason    string
	Temporary bool // it may be had another time
}

func (e *FetchError) Error() string { return e.Reason }

func cannot(format string, args ...any) error {
	return &FetchError{Reason: fmt.Sprintf(format, args...)}
}

func temporary(format string, args ...any) error {
	return &FetchError{Reason: fmt.Sprintf(format, args...), Temporary: true}
}

// FetchOptions is what a Fetcher is made of. The zero value is good.
type FetchOptions struct {
	Guard     *outbound.Guard // which addresses may be called; nil: the strictest
	MaxFile   int64           // bytes; 0: DefaultMaxFile
	UserAgent string
}

// Fetcher opens visitors' attachments. Its methods may be called from several goroutines.
type Fetcher struct {
	guard  *outbound.Guard
	client *http.Client
	max    int64
	agent  string

	answerIn, stall time.Duration
}

// NewFetcher returns a fetcher.
func NewFetcher(o FetchOptions) *Fetcher {
	if o.Guard == nil {
		o.Guard = outbound.Strict()
	}
	if o.MaxFile <= 0 {
		o.MaxFile = DefaultMaxFile
	}
	return &Fetcher{
		guard: o.Guard, client: outbound.NewClient(outbound.Options{Guard: o.Guard}), max: o.MaxFile, agent: o.UserAgent,
		answerIn: answerTimeout, stall: stallTimeout,
	}
}

// Fetch opens an attachment of at most limit bytes, or of as many as the options say if that is less; 0 is no limit of the
// caller's. The file's type is what its content shows, where that can be told; its size is -1 where it is not known beforehand.
// ctx has to last until the file is closed. A data: URL is the file.
//
// An error is a *FetchError, that of reading the file too.
func (f *Fetcher) Fetch(ctx context.Context, a bridge.Attachment, limit int64) (bridge.File, io.Closer, error) {
	if limit <= 0 || limit > f.max {
		limit = f.max
	}
	if a.HasData() {
		return decoded(a, limit)
	}
	ctx, t := f.begin(ctx)
	file, err := f.open(ctx, t, a, limit)
	if err != nil {
		_ = t.Close()
		return bridge.File{}, nil, err
	}
	return file, t, nil
}

func (f *Fetcher) open(ctx context.Context, t *transfer, a bridge.Attachment, limit int64) (bridge.File, error) {
	resp, at, err := f.get(ctx, t, a.URL) //nolint:bodyclose // the transfer closes it
	if err != nil {
		return bridge.File{}, err
	}
	t.body = resp.Body
	if resp.ContentLength > limit {
		return bridge.File{}, tooBig(limit)
	}
	var content io.Reader = t
	size := resp.ContentLength
	switch encoding := strings.ToLower(resp.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip": // not asked for, and sent all the same
		size = -1
		if content, err = gzip.NewReader(t); err != nil {
			return bridge.File{}, t.fault(err)
		}
	default:
		return bridge.File{}, cannot("the file comes in an encoding that was not asked for")
	}
	head := make([]byte, sniffed)
	n, err := io.ReadFull(content, head)
	t.begun = true
	if err != nil && (!isEnd(err) || size > int64(n)) {
		return bridge.File{}, t.fault(err)
	}
	if head = head[:n]; n == 0 {
		return bridge.File{}, cannot("the file is empty")
	}
	file := bridge.File{Name: nameOf(a, at), Size: size}
	if file.Type, err = typeOf(announced(a, file.Name), resp.Header.Get("Content-Type"), head); err != nil {
		return bridge.File{}, err
	}
	t.idle.Stop()
	file.Body = &bounded{io.MultiReader(strings.NewReader(string(head)), content), limit, limit}
	return file, nil
}

// bounded is a content that ends with an error when it is too long.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooBig(b.limit)
	}
	return n, err
}

func tooBig(limit int64) error {
	if limit < 1<<20 {
		return cannot("the file is longer than %d kB", limit>>10)
	}
	return cannot("the file is longer than %d MB", limit>>20)
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// get asks for the URL, and for those that it is redirected to. Each is looked at before it is called, and its address while it
// is connected to.
func (f *Fetcher) get(ctx context.Context, t *transfer, address string) (*http.Response, *url.URL, error) {
	which := "the file's URL "
	for range maxRedirects + 1 {
		if strings.TrimSpace(address) == "" {
			return nil, nil, cannot("the file has no URL")
		}
		if err := f.guard.CheckURL(ctx, address); err != nil {
			return nil, nil, cannot("%s%s", which, err.Error()) // a RefusedError's text has neither the URL nor the address
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return nil, nil, cannot("%scannot be called", which)
		}
		req.Header.Set("Accept", "*/*")
		req.Header.Set("Accept-Encoding", "identity")
		if f.agent != "" {
			req.Header.Set("User-Agent", f.agent)
		}
		resp, err := f.client.Do(req)
		if err != nil {
			if refused, ok := errors.AsType[*outbound.RefusedError](err); ok {
				return nil, nil, cannot("%s%s", which, refused.Reason)
			}
			return nil, nil, t.fault(err)
		}
		to := resp.Header.Get("Location")
		switch resp.StatusCode {
		case http.StatusOK:
			return resp, req.URL, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
			http.StatusPermanentRedirect:
			_ = resp.Body.Close()
			next, err := req.URL.Parse(to)
			if err != nil || to == "" {
				return nil, nil, cannot("%sis redirected to no valid one", which)
			}
			address, which = next.String(), "the URL it is redirected to "
		default:
			_ = resp.Body.Close()
			return nil, nil, refusedWith(resp.StatusCode)
		}
	}
	return nil, nil, cannot("the file's URL is redirected more than %d times", maxRedirects)
}

func refusedWith(status int) error {
	switch {
	case status == http.StatusNotFound || status == http.StatusGone:
		return cannot("the file is not there any more (%d)", status)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return cannot("the file may not be fetched (%d)", status)
	case status == http.StatusTooManyRequests || status >= 500:
		return temporary("the file's server answered %d", status)
	}
	return cannot("the file's server answered %d", status)
}

// transfer is a file on its way, from the first call to its Close. Its first bytes are here within the fetcher's answerIn; from
// then on a reading takes no longer than its stall, and between two readings the clock stands still.
type transfer struct {
	cancel context.CancelCauseFunc
	cause  func() error // why it was cancelled
	idle   *time.Timer
	stall  time.Duration
	begun  bool
	body   io.ReadCloser
}

var errSlow = errors.New("too slow")

func (f *Fetcher) begin(ctx context.Context) (context.Context, *transfer) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &transfer{
		cancel: cancel, cause: func() error { return context.Cause(ctx) },
		idle: time.AfterFunc(f.answerIn, func() { cancel(errSlow) }), stall: f.stall,
	}
}

func (t *transfer) Read(p []byte) (int, error) {
	if t.begun {
		t.idle.Reset(t.stall)
		defer t.idle.Stop()
	}
	n, err := t.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = t.fault(err)
	}
	return n, err
}

// fault says what went wrong on the way, in words of its own.
func (t *transfer) fault(err error) error {
	if known, ok := errors.AsType[*FetchError](err); ok {
		return known
	}
	switch {
	case errors.Is(t.cause(), errSlow):
		return tooSlow()
	case isEnd(err):
		return temporary("the file broke off")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return cannot("the file is damaged")
	}
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return cannot("the file is damaged")
	}
	return temporary("the file cannot be fetched: %s", outbound.Describe(err))
}

// Close ends the transfer. It returns no error.
func (t *transfer) Close() error {
	t.idle.Stop()
	if t.body != nil {
		_ = t.body.Close()
	}
	t.cancel(nil)
	return nil
}

// announced is the type that the visitor's app says, or the name.
func announced(a bridge.Attachment, name string) string {
	if typ := plainType(a.MimeType); typ != "" && typ != octets {
		return typ
	}
	return plainType(mime.TypeByExtension(strings.ToLower(path.Ext(name))))
}

const octets = "application/octet-stream"

// plainType returns a type without its parameters, in lower case, and nothing for what is none.
func plainType(text string) string {
	typ, _, err := mime.ParseMediaType(text)
	if err != nil || !strings.Contains(typ, "/") {
		return ""
	}
	return typ
}

// typeOf says what a file is: what its content shows where that is beyond doubt, else what was announced, else what its server
// says. A web page that nobody announced is no file: it is what servers show to those who are not signed in.
func typeOf(announced, served string, head []byte) (string, error) {
	served = plainType(served)
	shown := plainType(http.DetectContentType(head))
	isPage := shown == "text/html" || isHTML(served) && strings.HasPrefix(shown, "text/")
	switch {
	case isPage && announced != "" && !isHTML(announced):
		return "", cannot("a web page came in place of the file; it may need a sign-in")
	case isPage:
		return "text/html", nil
	}
	switch kind, _, _ := strings.Cut(shown, "/"); {
	case kind == "image", shown == "application/pdf":
		return shown, nil
	case (kind == "audio" || kind == "video") && !strings.HasPrefix(announced, "audio/") && !strings.HasPrefix(announced, "video/"):
		return shown, nil // containers say little of what is in them
	case strings.HasPrefix(announced, "image/") && announced != "image/svg+xml" && shown != octets:
		return shown, nil
	}
	for _, typ := range []string{announced, served, shown} {
		if typ != "" && typ != octets {
			return typ, nil
		}
	}
	return octets, nil
}

func isHTML(typ string) bool { return typ == "text/html" || typ == "application/xhtml+xml" }

// nameOf returns the name that an attachment is given, or its URL's last part.
func nameOf(a bridge.Attachment, at *url.URL) string {
	for _, name := range []string{a.Filename, path.Base(at.Path)} {
		if name = cleanName(name); name != "" {
			return name
		}
	}
	return "file"
}

// cleanName returns a name of one line and without a path, not too long and with its ending; nothing for what shows nothing.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '/' || r == '\\':
			return '_'
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1 // also what turns the direction of a text, so that an ending looks like another
		}
		return r
	}, strings.TrimSpace(name))
	if len(name) > maxName {
		ext := path.Ext(name)
		if len(ext) > 20 {
			ext = ""
		}
		stem := name[:maxName-len(ext)]
		for !utf8.ValidString(stem) {
			stem = stem[:len(stem)-1]
		}
		name = stem + ext
	}
	if strings.Trim(name, ". _") == "" {
		return ""
	}
	return name
}
