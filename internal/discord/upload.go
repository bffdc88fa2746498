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
	"strconv"
	"strings"
	"sync"

	"github.com/pocketping/bridge/internal/bridge"
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
	if name := oneLine(f.Name, longest); name != "" {
		return name
	}
	return "file"
}

func (f *form) open() io.ReadCloser { return io.NopCloser(io.MultiReader(f.parts...)) }

func (f *form) fault() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, noFile("its address is not one of Discord's")
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity") // so that bytes are those of the file
	if from > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	tracked, x := outbound.Trace(ctx)
	resp, err := d.files.Do(req.WithContext(tracked)) //nolint:gosec // the host is one of Discord's
	if err != nil {
		f := outbound.Failure(opFile, err, x, d.token)
		if f.Reason == bridge.ReasonUnconfirmed {
			f.Reason = bridge.ReasonTransient
		}
		return nil, f
	}
	c := &bridge.Content{Body: resp.Body, Size: a.Size, Type: a.Type}
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.ContentLength >= 0 {
			c.Size = resp.ContentLength
		}
		return c, nil
	case http.StatusPartialContent:
		if first, size, ok := contentRange(resp.Header.Get("Content-Range")); ok && first == from {
			c.From, c.Size = first, size
			return c, nil
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if from >= a.Size {
			_ = resp.Body.Close()
			return &bridge.Content{Body: http.NoBody, From: from, Size: a.Size, Type: a.Type}, nil
		}
	}
	_ = resp.Body.Close()
	detail := fmt.Sprintf("the file's host answered %d", resp.StatusCode)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Op: opFile, Detail: detail,
			RetryAfter: max(seconds(resp.Header.Get("Retry-After")), defaultRetryAfter)}
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusForbidden:
		return nil, noFile(detail)
	}
	return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opFile, Detail: detail}
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
