package telegram

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// filePath is where a file is at Telegram: "guaranteed that the link will be valid for at least 1 hour".
type filePath struct {
	path  string
	size  int64 // bytes; 0: it was not said
	until time.Time
}

const (
	pathFor  = 55 * time.Minute
	maxPaths = 1000
)

// OpenFile implements bridge.FileSource; ref is a file_id. Neither the file's path nor its URL, which has the token in it, leaves
// this function. The path is asked for once in an hour, and anew when there is nothing at it.
func (t *Telegram) OpenFile(ctx context.Context, ref string, from int64) (*bridge.Content, error) {
	at, known := t.knownPath(ref)
	if known {
		c, err := t.fetch(ctx, at.path, at.size, from)
		if fault, ok := errors.AsType[*bridge.DeliveryError](err); !ok || fault.Reason != bridge.ReasonRejected {
			return c, err
		}
		t.mu.Lock()
		delete(t.paths, ref)
		t.mu.Unlock()
	}
	at, err := t.askPath(ctx, ref)
	if err != nil {
		return nil, err
	}
	c, err := t.fetch(ctx, at.path, at.size, from)
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.paths == nil || len(t.paths) >= maxPaths {
			t.paths = map[string]filePath{}
		}
		t.paths[ref] = at
	}
	return c, err
}

func (t *Telegram) knownPath(ref string) (filePath, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.paths[ref]
	return at, ok && time.Now().Before(at.until)
}

// askPath asks where a file is.
func (t *Telegram) askPath(ctx context.Context, ref string) (filePath, error) {
	var f struct {
		Path string `json:"file_path"`
		Size int64  `json:"file_size"`
	}
	asked := time.Now()
	if err := t.ask(ctx, opGet, struct {
		ID string `json:"file_id"`
	}{ref}, &f); err != nil {
		return filePath{}, err
	}
	rejected := func(detail string) (filePath, error) {
		return filePath{}, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opGet, Detail: detail}
	}
	switch {
	case f.Path == "":
		return rejected("the answer names no path")
	case strings.HasPrefix(f.Path, "/") || strings.Contains(f.Path, `\`):
		// A path of its own disk. It is not read, even if the disk is ours too: it would let a server have any file of this host
		// sent to visitors.
		return rejected("the Bot API server runs with --local and hands out no files; run it without, for files up to 20 MB")
	case strings.Contains("/"+f.Path+"/", "/../"):
		return rejected("the answer names no path that may be asked for")
	}
	return filePath{f.Path, f.Size, asked.Add(pathFor)}, nil
}

// fetch begins the download of a path from a byte on. size is what getFile said, 0 for nothing.
func (t *Telegram) fetch(ctx context.Context, filePath string, size, from int64) (*bridge.Content, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	idle := time.AfterFunc(t.stall, func() { cancel(errStalled) })
	end := func() {
		idle.Stop()
		cancel(nil)
	}
	ctx, x := outbound.Trace(ctx)
	fail := func(err error) (*bridge.Content, error) {
		if errors.Is(context.Cause(ctx), errStalled) {
			err = os.ErrDeadlineExceeded
		}
		end()
		d := t.classify(opFetch, err, x)
		if d.Reason == bridge.ReasonUnconfirmed {
			d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeDestination // it may be asked again at any time
		}
		return nil, d
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.fileBase+(&url.URL{Path: filePath}).EscapedPath(), http.NoBody)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	resp, err := t.files.Do(req)
	if err != nil {
		return fail(err)
	}
	c := &bridge.Content{Size: -1}
	if size > 0 {
		c.Size = size
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.ContentLength >= 0 {
			c.Size = resp.ContentLength
		}
	case http.StatusPartialContent:
		begin, whole, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || begin > from {
			_ = resp.Body.Close()
			return fail(&refusal{Code: resp.StatusCode, Opaque: true})
		}
		c.From = begin
		if whole >= 0 {
			c.Size = whole
		}
	case http.StatusNotFound, http.StatusGone, http.StatusRequestedRangeNotSatisfiable:
		_ = resp.Body.Close()
		end()
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opFetch,
			Detail: strconv.Itoa(resp.StatusCode) + " the file is not there, or not as long"}
	default:
		_, err := readAnswer(resp)
		if err == nil {
			err = &refusal{Code: resp.StatusCode, Opaque: true}
		}
		return fail(err)
	}
	if typ, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && typ != "application/octet-stream" {
		c.Type = typ
	} else {
		c.Type = mime.TypeByExtension(path.Ext(filePath))
	}
	idle.Stop()
	c.Body = &download{body: resp.Body, stall: t.stall, idle: idle, cause: func() error { return context.Cause(ctx) }, end: end, secrets: t.secrets}
	return c, nil
}

// contentRange reads a Content-Range of bytes; whole is -1 where it is not told.
func contentRange(text string) (begin, whole int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, total, cut := strings.Cut(text, "/")
	first, _, dash := strings.Cut(span, "-")
	begin, err := strconv.ParseInt(first, 10, 64)
	if !ok || !cut || !dash || err != nil || begin < 0 {
		return 0, 0, false
	}
	if whole, err = strconv.ParseInt(total, 10, 64); err != nil {
		whole = -1
	}
	return begin, whole, true
}

// download is the body of a file on its way here. A reading takes no longer than stall; between two readings there may be any
// time. Its errors are *bridge.DeliveryErrors, but for io.EOF.
type download struct {
	body    io.ReadCloser
	stall   time.Duration
	idle    *time.Timer
	cause   func() error // why the request ended
	end     func()
	secrets []bridge.Secret
}

func (d *download) Read(p []byte) (int, error) {
	d.idle.Reset(d.stall)
	n, err := d.body.Read(p)
	d.idle.Stop()
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if errors.Is(d.cause(), errStalled) {
		err = os.ErrDeadlineExceeded
	}
	return n, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opFetch, Detail: outbound.Describe(err, d.secrets...)}
}

func (d *download) Close() error {
	err := d.body.Close()
	d.end()
	if err != nil {
		return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opFetch, Detail: outbound.Describe(err, d.secrets...)}
	}
	return nil
}
