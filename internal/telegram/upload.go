package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// Uploads are requests of our own: the library sends them without a length, and calls the files of an album by the names of
// their parts.

const (
	// maxUpload is the most bytes of files in one call: "50 MB max size for other types of files", of the whole request as far as
	// is known, in which something stands around the files.
	maxUpload = 50_000_000
	// maxUploadElsewhere: "upload files up to 2000 MB" to a Bot API server of one's own.
	maxUploadElsewhere = 2_000_000_000
	maxPhoto           = 10 << 20 // MAX_PHOTO_SIZE of TDLib: "10 MB max size for photos"
	maxAlbum           = 10       // files: "must include 2-10 items"
)

// isVisual says whether files of a type can be photos and videos of an album. Of photos Telegram takes more types, and makes
// stills of some.
func isVisual(typ string) bool { return isPhoto(typ) || mediaType(typ) == "video/mp4" }

func isPhoto(typ string) bool {
	switch mediaType(typ) {
	case "image/jpeg", "image/png", "image/webp":
		return true
	}
	return false
}

// mediaType returns a type in lower case, without its parameters.
func mediaType(typ string) string {
	typ, _, _ = strings.Cut(typ, ";")
	return strings.ToLower(strings.TrimSpace(typ))
}

// batches says which files go together: photos and videos, and other files, each in their order and as many as an album takes. A
// file whose size is not known goes alone.
func batches(files []bridge.Attachment) [][]bridge.Attachment {
	type open struct {
		at    int // in out; -1: nowhere
		total int64
	}
	var out [][]bridge.Attachment
	albums := map[bool]*open{true: {at: -1}, false: {at: -1}}
	for _, f := range files {
		a := albums[isVisual(f.MimeType)]
		if f.Size > 0 && a.at >= 0 && len(out[a.at]) < maxAlbum && a.total+f.Size <= maxUpload {
			out[a.at], a.total = append(out[a.at], f), a.total+f.Size
			continue
		}
		out = append(out, []bridge.Attachment{f})
		if f.Size > 0 {
			a.at, a.total = len(out)-1, f.Size
		}
	}
	return out
}

// Upload implements bridge.Uploader: a photo, a document, or several of them as an album. What Telegram takes for no photo or
// video it gets once more, as a document, if the contents can be rewound, as the relay's can.
func (t *Telegram) Upload(ctx context.Context, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	visual := len(files) > 0
	var total int64
	for _, f := range files {
		total += f.Size
		visual = visual && isVisual(f.Type) && (!isPhoto(f.Type) || f.Size <= maxPhoto)
	}
	if len(files) == 1 {
		visual = visual && isPhoto(files[0].Type)
	}
	op := opOf(len(files), visual)
	chatID, topic, fault := t.find(thread, op)
	switch {
	case fault != nil:
		return nil, fault
	case len(files) == 0 || len(files) > maxAlbum:
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: op, Detail: "one to ten files can be sent in a call"}
	case total > t.maxFile:
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: op,
			Detail: "the files are too big: Telegram takes " + sizeOf(t.maxFile) + " in a call"}
	}
	contents := make([]*source, 0, len(files))
	for _, f := range files {
		contents = append(contents, newSource(f))
	}
	up := upload{op: op, chatID: chatID, topic: topic, part: p, visual: visual, contents: contents}
	sent, refused, fault := t.transfer(ctx, up)
	if visual && refused.isOfPicture() && rewind(contents) {
		up.op, up.visual = opOf(len(files), false), false
		sent, _, fault = t.transfer(ctx, up)
	}
	if fault != nil {
		return nil, fault
	}
	return landed(up.op, chatID, topic, sent)
}

func opOf(files int, visual bool) string {
	switch {
	case files > 1:
		return opAlbum
	case visual:
		return opPhoto
	}
	return opFile
}

// isOfPicture recognises that the files were refused as photos or videos, which they may be as documents. Of an album, Telegram
// quotes what it says of the one that it does not take.
func (r *refusal) isOfPicture() bool {
	if r == nil || r.Code != http.StatusBadRequest {
		return false
	}
	text := strings.ToLower(r.Description)
	for _, part := range []string{"photo", "image", "video", "media_invalid", "media_empty"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// upload is one call with files.
type upload struct {
	op            string
	chatID, topic int64
	part          bridge.Part
	visual        bool
	contents      []*source
}

// transfer makes the call. It reads the files while it sends them, and not any more when it returns. refused is what Telegram
// said if it refused; then there is a fault too.
func (t *Telegram) transfer(ctx context.Context, up upload) (sent []sentMessage, refused *refusal, fault *bridge.DeliveryError) {
	body, size, contentType, err := up.form()
	if err != nil {
		return nil, nil, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: up.op, Detail: "the files cannot be put into a request"}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(t.stall, func() { cancel(errStalled) })
	defer idle.Stop()
	ctx, x := outbound.Trace(ctx)
	g := &gate{r: body, alive: func() { idle.Reset(t.stall) }}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+up.op, g)
	if err != nil {
		return nil, nil, t.classify(up.op, err, x)
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", contentType)
	var result json.RawMessage
	resp, err := t.files.Do(req) //nolint:bodyclose // readAnswer closes it
	if err == nil {
		result, err = readAnswer(resp)
	}
	whole, broken := g.stop()
	if err == nil {
		sent, err = sentMessages(result)
	}
	if err == nil {
		return sent, nil, nil
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return nil, r, t.classify(up.op, err, x)
	}
	if broken {
		return nil, nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: up.op, Detail: "a file could not be read to its end"}
	}
	if errors.Is(context.Cause(ctx), errStalled) {
		err = os.ErrDeadlineExceeded
	}
	fault = t.classify(up.op, err, x)
	if fault.Reason == bridge.ReasonUnconfirmed && !whole {
		fault.Reason = bridge.ReasonTransient // what has no end is not taken
	}
	return nil, nil, fault
}

var errStalled = errors.New("nothing moved for too long")

// sentMessages reads the answer to a call with files: a message, or a list of them.
func sentMessages(result json.RawMessage) ([]sentMessage, error) {
	var list []sentMessage
	if json.Unmarshal(result, &list) == nil {
		return list, nil
	}
	var one sentMessage
	err := json.Unmarshal(result, &one)
	return []sentMessage{one}, err
}

// form returns the call's body, which reads the files as it is read, and its length.
func (up upload) form() (body io.Reader, size int64, contentType string, err error) {
	fields := map[string]string{"chat_id": strconv.FormatInt(up.chatID, 10)}
	if up.topic != 0 {
		fields["message_thread_id"] = strconv.FormatInt(up.topic, 10)
	}
	if up.part.Silent {
		fields["disable_notification"] = "true"
	}
	if id, ok := parseMessage(up.part.ReplyTo, up.chatID); ok {
		fields["reply_parameters"] = `{"message_id":` + strconv.Itoa(id) + `,"allow_sending_without_reply":true}`
	}
	names := []string{map[string]string{opPhoto: "photo", opFile: "document"}[up.op]}
	if up.op == opAlbum {
		type item struct {
			Type  string `json:"type"`
			Media string `json:"media"`
		}
		var album []item
		names = nil
		for i, c := range up.contents {
			name, kind := "file"+strconv.Itoa(i), "document"
			switch {
			case up.visual && isPhoto(c.Type):
				kind = "photo"
			case up.visual:
				kind = "video"
			}
			names, album = append(names, name), append(album, item{kind, "attach://" + name})
		}
		raw, err := json.Marshal(album)
		if err != nil {
			return nil, 0, "", err
		}
		fields["media"] = string(raw)
	}

	var around bytes.Buffer // what stands before, between and behind the files
	form := multipart.NewWriter(&around)
	for _, name := range []string{"chat_id", "message_thread_id", "disable_notification", "reply_parameters", "media"} {
		if value, ok := fields[name]; ok {
			if err := form.WriteField(name, value); err != nil {
				return nil, 0, "", err
			}
		}
	}
	var pieces []io.Reader
	cut := func() {
		size += int64(around.Len())
		pieces = append(pieces, bytes.NewReader(bytes.Clone(around.Bytes())))
		around.Reset()
	}
	for i, c := range up.contents {
		if _, err := form.CreatePart(c.header(names[i])); err != nil {
			return nil, 0, "", err
		}
		cut()
		size += c.Size
		pieces = append(pieces, &exactly{r: c, left: c.Size})
	}
	if err := form.Close(); err != nil {
		return nil, 0, "", err
	}
	cut()
	return io.MultiReader(pieces...), size, form.FormDataContentType(), nil
}

// source is a file's content that may be read twice.
type source struct {
	bridge.File
	start int64 // of a seeker
}

func newSource(f bridge.File) *source {
	s := &source{File: f}
	if seeker, ok := f.Body.(io.Seeker); ok {
		if at, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			s.start = at
		}
	}
	return s
}

func (s *source) Read(p []byte) (int, error) { return s.Body.Read(p) }

// rewind has all be read from their beginnings again, if that is possible.
func rewind(all []*source) bool {
	for _, s := range all {
		seeker, ok := s.Body.(io.Seeker)
		if !ok {
			return false
		}
		if _, err := seeker.Seek(s.start, io.SeekStart); err != nil {
			return false
		}
	}
	return true
}

// header is what stands before the file in a part of that name.
func (s *source) header(part string) textproto.MIMEHeader {
	name := fileName(s.Name)
	if name == "" {
		name = "file" + extension(s.Type)
	}
	typ, _, err := mime.ParseMediaType(s.Type)
	if err != nil {
		typ = "application/octet-stream"
	}
	return textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(part, name)},
		"Content-Type":        {typ},
	}
}

// exactly reads as many bytes as are left; fewer are an error, and more are not looked at.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if e.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// gate is a request's body. The transport may go on reading a body for a while after it has returned the answer; the gate ends
// that.
type gate struct {
	alive func() // called with each piece

	mu      sync.Mutex
	r       io.Reader
	stopped bool
	whole   bool // read to its end
	broken  bool // it could not be read
}

func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return 0, errStalled
	}
	n, err := g.r.Read(p)
	g.alive()
	switch {
	case errors.Is(err, io.EOF):
		g.whole = true
	case err != nil:
		g.broken = true
	}
	return n, err
}

// stop waits for a reading that is under way and lets no other begin.
func (g *gate) stop() (whole, broken bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	return g.whole, g.broken
}
