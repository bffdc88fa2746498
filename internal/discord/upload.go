package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/outbound"
)

// Upload implements bridge.Uploader: one message with all the files.
func (d *Discord) Upload(ctx context.Context, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	place, isHome, fault := d.find(thread, opUpload)
	if fault != nil {
		return nil, fault
	}
	m := postOf(p).withNonce(nonceOf(p.Key, place))
	if found, err := d.sentBefore(ctx, place, isHome, m, files, p.Since); found != "" || err != nil {
		return messageIDs(found), err
	}
	stream, err := newForm(m, files)
	if err != nil {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opUpload, Detail: "the files cannot be sent"}
	}
	id, err := d.create(ctx, call{op: opUpload, stream: stream, home: isHome}, place, m.Nonce)
	return messageIDs(id), err
}

// form is a message with files on its way, "Uploading Files" of the documentation. Its length is known, and its files are read
// while they are sent.
type form struct {
	kind  string // the content type, with the boundary
	size  int64  // bytes
	parts []io.Reader

	mu     sync.Mutex
	broken string // what was wrong with a file
	left   int64  // bytes of the files that were not read yet
	alive  func() // called for each piece that is read
}

// newForm returns the form of a message and its files. The form is sent once.
func newForm(m post, files []bridge.File) (*form, error) {
	for i, f := range files {
		m.Attachments = append(m.Attachments, attached{ID: i, Filename: fileName(f)})
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	f := &form{}
	var text bytes.Buffer
	w := multipart.NewWriter(&text)
	flush := func() {
		f.size += int64(text.Len())
		f.parts = append(f.parts, strings.NewReader(text.String()))
		text.Reset()
	}
	part := func(disposition, kind string) error {
		_, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}})
		return err
	}
	if err := part(`form-data; name="payload_json"`, "application/json"); err != nil {
		return nil, err
	}
	text.Write(payload)
	for i, file := range files {
		kind := file.Type
		if kind == "" || strings.ContainsFunc(kind, func(r rune) bool { return r < ' ' || r > '~' }) {
			kind = "application/octet-stream"
		}
		name := multipart.FileContentDisposition("files["+strconv.Itoa(i)+"]", fileName(file))
		if err := part(name, kind); err != nil {
			return nil, err
		}
		flush()
		f.size += file.Size
		f.left += file.Size
		f.parts = append(f.parts, &content{form: f, body: file.Body, left: file.Size})
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	flush()
	f.kind = w.FormDataContentType()
	return f, nil
}

// fileName returns a name that Discord takes.
func fileName(f bridge.File) string {
	const longest = 200
	if name := measure.OneLine(f.Name, longest); name != "" {
		return name
	}
	return "file"
}

func (f *form) open() io.ReadCloser { return io.NopCloser(io.MultiReader(f.parts...)) }

// fault says why Discord cannot have got the whole of it; nothing, if it can.
func (f *form) fault() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == "" && f.left > 0 {
		return "the connection broke off before the files were sent"
	}
	return f.broken
}

// read notes that a piece of a file was read.
func (f *form) read(n int) {
	f.mu.Lock()
	f.left -= int64(n)
	alive := f.alive
	f.mu.Unlock()
	if alive != nil {
		alive()
	}
}

func (f *form) fail(fault string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = fault
	return errors.New(fault)
}

// content is a file of exactly the length that was said.
type content struct {
	form *form
	body io.Reader
	left int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.EOF
	}
	n, err := c.body.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.form.read(n)
	switch {
	case c.left == 0:
		return n, nil
	case errors.Is(err, io.EOF):
		return n, c.form.fail("the file is shorter than was said")
	case err != nil:
		return n, c.form.fail("the file broke off")
	}
	return n, nil
}

// A file's BridgeFileID is <channel>/<message>/<attachment>. Its address is asked for when it is opened, since Discord's addresses
// expire.

func fileID(channelID, messageID, attachmentID string) string {
	return channelID + "/" + messageID + "/" + attachmentID
}

// cdnHosts are where Discord keeps attachments ("Image Base URL", "Signed Attachment CDN URLs" of the documentation).
func cdnHosts() []string { return []string{"cdn.discordapp.com", "media.discordapp.net"} }

// OpenFile implements bridge.FileSource. It reads from Discord's file hosts and from the API's own alone, whatever the address
// says, and sends no token to them.
func (d *Discord) OpenFile(ctx context.Context, ref string, from int64) (*bridge.Content, error) {
	parts := strings.Split(ref, "/")
	if len(parts) != 3 || flake(parts[0]) == 0 || flake(parts[1]) == 0 || flake(parts[2]) == 0 {
		return nil, noFile("it is no file of Discord's")
	}
	var m message
	path := "/channels/" + flake(parts[0]).String() + "/messages/" + flake(parts[1]).String()
	err := d.rest.do(ctx, call{op: opMessage, method: http.MethodGet, path: path, again: true}, &m)
	switch reasonOf(err) {
	case "":
	case bridge.ReasonMessageGone, bridge.ReasonThreadGone, bridge.ReasonClosed:
		return nil, noFile("the message with it is gone")
	default:
		return nil, err
	}
	for _, a := range m.files() {
		if flake(a.ID) == flake(parts[2]) {
			return d.load(ctx, a, max(from, 0))
		}
	}
	return nil, noFile("the message has no such file any more")
}

func noFile(why string) error {
	return &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opFile, Detail: why}
}

// load opens an attachment at its present address.
func (d *Discord) load(ctx context.Context, a attachment, from int64) (*bridge.Content, error) {
	address, err := url.Parse(a.URL)
	if err != nil || !d.trusted(address) {
		return nil, noFile("its address is not one of Discord's")
	}
	if a.Size > 0 && from >= a.Size {
		return &bridge.Content{Body: http.NoBody, From: from, Size: a.Size, Type: a.Type}, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	idle := time.AfterFunc(d.rest.stall, func() { cancel(errStalled) })
	fail := func(err error) (*bridge.Content, error) {
		idle.Stop()
		cancel(nil)
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), http.NoBody)
	if err != nil {
		return fail(noFile("its address is not one of Discord's"))
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity") // so that bytes are those of the file
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	tracked, x := outbound.Trace(ctx)
	resp, err := d.rest.files.Do(req.WithContext(tracked))
	if err != nil {
		f := outbound.Failure(opFile, stalled(context.Cause(ctx), err), x, d.token)
		if f.Reason == bridge.ReasonUnconfirmed {
			f.Reason = bridge.ReasonTransient // it may be asked again at any time
		}
		return fail(f)
	}
	c := &bridge.Content{Size: a.Size, Type: a.Type}
	if err := begins(c, resp, from); err != nil {
		_ = resp.Body.Close()
		return fail(err)
	}
	idle.Stop()
	c.Body = &download{body: resp.Body, stall: d.rest.stall, idle: idle, cause: func() error { return context.Cause(ctx) }, cancel: cancel}
	return c, nil
}

// trusted says whether a file may be read from an address.
func (d *Discord) trusted(address *url.URL) bool {
	if address.User != nil {
		return false
	}
	for _, host := range cdnHosts() {
		if address.Scheme == "https" && address.Host == host {
			return true
		}
	}
	api, err := url.Parse(d.rest.base)
	return err == nil && address.Scheme == api.Scheme && address.Host == api.Host
}

// contentRange reads the header of a part of a file, such as bytes 10-99/100; the size is -1 where it is not told.
func contentRange(text string) (first, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, whole, found := strings.Cut(text, "/")
	begin, _, dashed := strings.Cut(span, "-")
	first, err := strconv.ParseInt(begin, 10, 64)
	if !ok || !found || !dashed || err != nil {
		return 0, 0, false
	}
	if size, err = strconv.ParseInt(whole, 10, 64); err != nil {
		size = -1
	}
	return first, size, true
}

// begins reads how an answer with a file begins. Its errors are *bridge.DeliveryErrors.
func begins(c *bridge.Content, resp *http.Response, from int64) error {
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.ContentLength >= 0 {
			c.Size = resp.ContentLength
		}
		return nil
	case http.StatusPartialContent:
		if first, size, ok := contentRange(resp.Header.Get("Content-Range")); ok && first <= from {
			c.From, c.Size = first, size
			return nil
		}
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden, http.StatusRequestedRangeNotSatisfiable:
		return noFile(fmt.Sprintf("%d the file is not there, or not as long", resp.StatusCode))
	case http.StatusTooManyRequests:
		return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Op: opFile, Detail: "429 too many requests",
			RetryAfter: max(seconds(resp.Header.Get("Retry-After")), defaultRetryAfter)}
	}
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opFile, Detail: fmt.Sprintf("the file's host answered %d", resp.StatusCode)}
}

// errStalled is why a transfer ends that does not go on.
var errStalled = errors.New("nothing came for too long")

// stalled returns the error of a call, or a time-out where that was the cause.
func stalled(cause, err error) error {
	if errors.Is(cause, errStalled) {
		return os.ErrDeadlineExceeded
	}
	return err
}

// download is the body of a file on its way here. A reading takes no longer than stall; between two readings there may be any
// time. Its errors are *bridge.DeliveryErrors, but for io.EOF.
type download struct {
	body   io.ReadCloser
	stall  time.Duration
	idle   *time.Timer
	cause  func() error // why the request ended
	cancel context.CancelCauseFunc
}

func (d *download) Read(p []byte) (int, error) {
	d.idle.Reset(d.stall)
	n, err := d.body.Read(p)
	d.idle.Stop()
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, d.fault(err)
}

func (d *download) fault(err error) error {
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opFile, Detail: outbound.Describe(stalled(d.cause(), err))}
}

func (d *download) Close() error {
	err := d.body.Close()
	d.idle.Stop()
	d.cancel(nil)
	if err != nil {
		return d.fault(err)
	}
	return nil
}
