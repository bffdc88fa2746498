package discord

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

// Upload implements bridge.Uploader: one message with all the files.
func (d *Discord) Upload(ctx context.Context, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	return d.say(ctx, opUpload, thread, p, files)
}

// rewind sets files back to their beginning.
func rewind(files []bridge.File) error {
	for _, f := range files {
		if s, ok := f.Body.(io.Seeker); ok {
			if _, err := s.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
	}
	return nil
}

func attachedAll(files []bridge.File) []attached {
	var out []attached
	for i, f := range files {
		out = append(out, attached{ID: i, Filename: fileName(f)})
	}
	return out
}

// setMessage gives a call its message; with files it is a form ("Uploading Files" of the documentation).
func (c *call) setMessage(message any, files []bridge.File) {
	if len(files) == 0 {
		c.body = message
		return
	}
	form := platform.NewForm()
	form.Field("payload_json", string(bridge.MustJSON(message)), "application/json")
	for i, f := range files {
		kind := f.Type
		if kind == "" || strings.ContainsFunc(kind, func(r rune) bool { return r < ' ' || r > '~' }) {
			kind = "application/octet-stream"
		}
		form.File("files["+strconv.Itoa(i)+"]", fileName(f), kind, f)
	}
	c.stream = form.Body()
}

// fileName returns a name that Discord takes.
func fileName(f bridge.File) string {
	const longest = 200
	return cmp.Or(measure.OneLine(f.Name, longest), "file")
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
	err := d.get(ctx, opMessage, "/channels/"+flake(parts[0]).String()+"/messages/"+flake(parts[1]).String(), false, &m)
	switch platform.ReasonOf(err) {
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
	ctx, stall := platform.WatchStall(ctx, d.rest.stall)
	fail := func(err error) (*bridge.Content, error) {
		stall.End()
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
		f := outbound.Failure(opFile, stall.Cause(err), x, d.token)
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
	c.Body = platform.Download(opFile, resp.Body, stall)
	return c, nil
}

// trusted says whether a file may be read from an address.
func (d *Discord) trusted(address *url.URL) bool {
	if address.User != nil {
		return false
	}
	if address.Scheme == "https" && slices.Contains(cdnHosts(), address.Host) {
		return true
	}
	api, err := url.Parse(d.rest.base)
	return err == nil && address.Scheme == api.Scheme && address.Host == api.Host
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
		if first, size, ok := platform.ContentRange(resp.Header.Get("Content-Range")); ok && first <= from {
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
