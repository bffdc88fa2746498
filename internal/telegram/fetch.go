package telegram

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-telegram/bot"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
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
		if platform.ReasonOf(err) != bridge.ReasonRejected {
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
	if err := t.ask(ctx, opGet, &f, func(ctx context.Context) error {
		return only(t.api.GetFile(ctx, &bot.GetFileParams{FileID: ref}))
	}); err != nil {
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
	ctx, stall := platform.WatchStall(ctx, t.stall)
	ctx, x := outbound.Trace(ctx)
	fail := func(err error) (*bridge.Content, error) {
		err = stall.Cause(err)
		stall.End()
		return nil, platform.Repeatable(t.classify(opFetch, err, x))
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
		begin, whole, ok := platform.ContentRange(resp.Header.Get("Content-Range"))
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
		stall.End()
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
	c.Body = platform.Download(opFetch, resp.Body, stall, t.secrets...)
	return c, nil
}
