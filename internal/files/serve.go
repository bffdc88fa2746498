package files

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	defaultSlots = 64
	slotTimeout  = 5 * time.Second  // that a request waits for others to end
	openTimeout  = 20 * time.Second // of a platform, until a file begins
	writeTimeout = 30 * time.Second // without a piece taken by the client, or given by the platform
	serveTimeout = 30 * time.Minute // of all of it
	pieceSize    = 32 << 10         // bytes; all that is held of a file
	pieceIn      = 8 * time.Second  // that a client takes a piece in: 4 kB a second, or it is left

	// maxCache is how long a browser may keep a file, if its link works that long.
	maxCache = 24 * time.Hour
)

// problem is an answer that is no file, in the form of the API's.
type problem struct {
	status int
	code   string
	text   string
	retry  time.Duration
}

func (p *problem) Error() string { return p.text }

// ServeHTTP hands out a file: GET or HEAD of /files/<signed>, whole or from one byte to another. The platform is asked for it
// only then. A file is never a page of this server's: what a browser could run is saved rather than shown.
func (l *Links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // the visitor's page is another site's
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		refuse(w, &problem{status: http.StatusMethodNotAllowed, code: "method_not_allowed", text: "a file can only be read"})
		return
	}
	if err := l.serve(w, r); err != nil {
		refuse(w, err)
	}
}

func refuse(w http.ResponseWriter, p *problem) {
	body := bridge.MustJSON(struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}{p.text, p.code})
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(append(body, '\n'))
}

// serve answers the request, or returns what to answer. Once the answer has begun it returns nothing; what breaks off then
// breaks the connection off.
func (l *Links) serve(w http.ResponseWriter, r *http.Request) *problem {
	to, err := l.read(path.Base(r.URL.Path))
	switch {
	case errors.Is(err, errExpired):
		return &problem{status: http.StatusGone, code: "expired", text: err.Error()}
	case err != nil:
		return &problem{status: http.StatusForbidden, code: "forbidden", text: err.Error()}
	}
	var source bridge.FileSource
	if l.source != nil {
		source = l.source(to.platform)
	}
	if source == nil {
		return &problem{status: http.StatusNotFound, code: "not_found", text: "the platform that has this file is not connected"}
	}
	h := w.Header()
	tag := to.tag()
	h.Set("ETag", tag)
	cache := min(time.Duration(to.until-l.now().Unix())*time.Second, maxCache)
	h.Set("Cache-Control", "private, max-age="+strconv.Itoa(int(cache/time.Second)))
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	var wanted span
	if condition := r.Header.Get("If-Range"); r.Method == http.MethodGet && (condition == "" || condition == tag) {
		wanted = parseRange(r.Header.Get("Range"))
	}
	begin := int64(0)
	if to.size <= 0 {
		wanted = span{} // whether the file has those bytes is not known
	}
	if wanted.asked {
		var ok bool
		if begin, _, ok = wanted.within(to.size); !ok {
			return unsatisfiable(w, to.size)
		}
	}
	client := ClientOf(r, l.proxies)
	if !l.places.enter(r.Context(), tag, client, l.slotIn) {
		return &problem{status: http.StatusServiceUnavailable, code: "busy", text: "too many files are on their way; please try again", retry: l.slotIn}
	}
	defer l.places.leave(tag, client)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	over := time.AfterFunc(l.total, func() { cancel(errSlow) })
	defer over.Stop()
	opening := time.AfterFunc(l.openIn, func() { cancel(errSlow) })
	content, err := source.OpenFile(ctx, to.ref, begin)
	opening.Stop()
	if err == nil && context.Cause(ctx) != nil {
		_ = content.Body.Close()
		err = context.Cause(ctx)
	}
	fail := func(err error) *problem { return l.fault(r.Context(), context.Cause(ctx), to, err) }
	if err != nil {
		return fail(err)
	}
	defer func() { _ = content.Body.Close() }()
	body := &watchedBody{r: content.Body, timer: time.AfterFunc(l.stall, func() { cancel(errSlow) }), stall: l.stall}
	defer body.timer.Stop()
	content.Body = body
	return l.answer(w, r, to, wanted, content, fail)
}

// fault says why a platform did not give a file. Its own words are for the log.
func (l *Links) fault(asked context.Context, cause error, to link, err error) *problem {
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	if !ok { // its text may hold anything
		d = &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "file", Detail: "it failed in a way of its own"}
	}
	var p *problem
	switch {
	case asked.Err() != nil: // nobody waits for the answer
		return &problem{status: http.StatusServiceUnavailable, code: "canceled", text: "the request was given up"}
	case errors.Is(cause, errSlow):
		p = &problem{status: http.StatusGatewayTimeout, code: "timeout", text: "the platform that has this file does not answer"}
	case d.Reason == bridge.ReasonRejected:
		p = &problem{status: http.StatusNotFound, code: "not_found", text: "the platform does not hand out this file (any more)"}
	case d.Reason == bridge.ReasonRateLimited:
		p = &problem{status: http.StatusServiceUnavailable, code: "busy", text: "the platform that has this file is busy; please try again",
			retry: min(max(d.RetryAfter, time.Second), time.Hour)}
	default:
		p = &problem{status: http.StatusBadGateway, code: "bad_gateway", text: "the platform that has this file failed"}
	}
	l.log.Warn("an operator's file cannot be handed out", "platform", to.platform, "reason", d.Reason, "op", d.Op, "err", d,
		"status", p.status)
	return p
}

// answer writes the headers and the content.
func (l *Links) answer(w http.ResponseWriter, r *http.Request, to link, wanted span, content *bridge.Content,
	fail func(error) *problem) *problem {
	var body io.Reader = content.Body
	size := to.size
	if content.Size >= 0 {
		size = content.Size
	} else if size <= 0 {
		size = -1
	}
	begin, length, status := int64(0), size, http.StatusOK
	if wanted.asked && size >= 0 {
		var end int64
		var ok bool
		if begin, end, ok = wanted.within(size); !ok {
			return unsatisfiable(w, size)
		}
		length, status = end-begin+1, http.StatusPartialContent
	}
	if begin < content.From {
		return fail(errors.New("the platform begins in the middle"))
	}
	if _, err := io.CopyN(io.Discard, body, begin-content.From); err != nil {
		return fail(err)
	}
	h := w.Header()
	typ, inline := shownAs(to.typ, content.Type)
	h.Set("Content-Type", typ)
	h.Set("Content-Disposition", disposition(inline, to.name))
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	ranges := "none"
	if to.size > 0 {
		ranges = "bytes"
	}
	h.Set("Accept-Ranges", ranges)
	if status == http.StatusPartialContent {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, begin+length-1, size))
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	if size >= 0 {
		body = io.LimitReader(body, length)
	}
	n, err := l.copy(w, body)
	if err != nil || size >= 0 && n < length {
		if r.Context().Err() == nil {
			l.log.Warn("an operator's file broke off", "platform", to.platform, "bytes", n, "of", length)
		}
		panic(http.ErrAbortHandler) // the only way to tell the client that there was more
	}
	return nil
}

// copy writes a content piece by piece. A client that takes no piece for a while is left. The deadline goes with the request.
func (l *Links) copy(w http.ResponseWriter, body io.Reader) (int64, error) {
	control := http.NewResponseController(w)
	var n int64
	piece := make([]byte, pieceSize)
	for {
		read, err := body.Read(piece)
		if read > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(min(l.stall, pieceIn))) // not every writer has one
			wrote, failed := w.Write(piece[:read])
			n += int64(wrote)
			if failed != nil {
				return n, failed
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
	}
}

// watchedBody is a content whose every reading has to come to an end.
type watchedBody struct {
	r     io.ReadCloser
	timer *time.Timer
	stall time.Duration
}

func (b *watchedBody) Close() error { return b.r.Close() }

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	defer b.timer.Stop()
	return b.r.Read(p)
}

// tag names the content: what a platform has under a reference does not change.
func (to link) tag() string {
	sum := sha256.Sum256([]byte(to.platform + "\x00" + to.ref + "\x00" + strconv.FormatInt(to.size, 10)))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return true
		}
	}
	return false
}

// span is the part of a file that is asked for. The zero value is all of it.
type span struct {
	asked  bool
	suffix bool  // the last bytes, as many as first says
	first  int64 // a byte
	last   int64 // the last one, included; -1: to the end
}

// parseRange reads a Range of one span of bytes. What it does not read, several spans among it, is as if it were not there: that
// is always allowed (RFC 9110, 14.2).
func parseRange(header string) span {
	text, ok := strings.CutPrefix(strings.TrimSpace(header), "bytes=")
	from, to, cut := strings.Cut(text, "-")
	if !ok || !cut {
		return span{}
	}
	first, errFirst := parseBytes(from)
	last, errLast := parseBytes(to)
	switch {
	case from == "" && errLast == nil:
		return span{asked: true, suffix: true, first: last}
	case errFirst != nil:
		return span{}
	case to == "":
		return span{asked: true, first: first, last: -1}
	case errLast != nil || last < first:
		return span{}
	}
	return span{asked: true, first: first, last: last}
}

func parseBytes(text string) (int64, error) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, "+-") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(text, 10, 64)
}

// within returns the first and the last byte of a file of that size that are asked for; ok is false when it has none of them.
func (s span) within(size int64) (first, last int64, ok bool) {
	first, last = s.first, size-1
	if s.suffix {
		first = max(size-s.first, 0)
		return first, last, s.first > 0 && size > 0
	}
	if s.last >= 0 {
		last = min(last, s.last)
	}
	return first, last, first < size
}

func unsatisfiable(w http.ResponseWriter, size int64) *problem {
	w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
	return &problem{status: http.StatusRequestedRangeNotSatisfiable, code: "range", text: "the file has no such bytes"}
}

// shownAs returns the Content-Type of a file, and whether a browser may show it rather than save it: pictures, sounds, films and
// plain text it may. What could run as a page of this server's gets a type under which nothing runs.
func shownAs(linked, given string) (typ string, inline bool) {
	typ = plainType(linked)
	if typ == "" || typ == octets {
		typ = plainType(given)
	}
	kind, sub, _ := strings.Cut(typ, "/")
	runs := func(part string) bool { return strings.Contains(sub, part) }
	switch {
	case typ == "", slices.ContainsFunc([]string{"html", "xml", "svg", "script", "xsl"}, runs):
		return octets, false
	case kind == "audio", kind == "video",
		kind == "image" && slices.Contains([]string{"png", "jpeg", "gif", "webp", "avif", "bmp", "heic", "heif"}, sub):
		return typ, true
	case typ == "text/plain":
		return mime.FormatMediaType(typ, map[string]string{"charset": "utf-8"}), true
	case kind == "text" && sub != "csv" && sub != "calendar" && sub != "vcard" && sub != "markdown":
		return octets, false
	}
	return typ, false
}

// disposition returns a Content-Disposition with the name in plain letters, and beside it, where that is not the name, as it is
// (RFC 6266, RFC 8187).
func disposition(inline bool, name string) string {
	kind := "attachment"
	if inline {
		kind = "inline"
	}
	if name == "" {
		return kind
	}
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	out := kind + `; filename="` + plain + `"`
	if plain == name {
		return out
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return out + "; filename*=UTF-8''" + b.String()
}
