package telegram

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

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
	return slices.Contains([]string{"image/jpeg", "image/png", "image/webp"}, mediaType(typ))
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
			Detail: "the files are too big: Telegram takes " + platform.SizeOf(t.maxFile) + " in a call"}
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
	return r != nil && r.Code == http.StatusBadRequest && says(r, "photo", "image", "video", "media_invalid", "media_empty")
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
	body, send := t.single(up)
	if up.op == opAlbum {
		body, send = t.album(up)
	}
	ctx, stall := platform.WatchStall(ctx, t.stall)
	defer stall.End()
	body.Moving(stall.Moved)
	ctx, x := outbound.Trace(ctx)
	result, err := send(ctx)
	missing, broken := body.Stop()
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
	fault = t.classify(up.op, stall.Cause(err), x)
	if fault.Reason == bridge.ReasonUnconfirmed && missing != "" {
		fault.Reason = bridge.ReasonTransient // what has no end is not taken
	}
	return nil, nil, fault
}

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

// sending makes a call and returns its result, or the *refusal that it met.
type sending func(context.Context) (json.RawMessage, error)

// single is the call with one file, which goes through the library. The body is the file.
func (t *Telegram) single(up upload) (*platform.Body, sending) {
	name, _ := up.contents[0].shown()
	body := platform.FileBody(up.contents[0].File)
	file := &models.InputFileUpload{Filename: name, Data: body}
	reply, mode := replyTo(up.part, up.chatID), parseMode(up.part)
	call := func(ctx context.Context) error {
		if up.op == opPhoto {
			return only(t.api.SendPhoto(ctx, &bot.SendPhotoParams{
				ChatID: up.chatID, MessageThreadID: int(up.topic), Photo: file, Caption: up.part.Text, ParseMode: mode,
				DisableNotification: up.part.Silent, ReplyParameters: reply,
			}))
		}
		return only(t.api.SendDocument(ctx, &bot.SendDocumentParams{
			ChatID: up.chatID, MessageThreadID: int(up.topic), Document: file, Caption: up.part.Text, ParseMode: mode,
			DisableNotification: up.part.Silent, ReplyParameters: reply,
		}))
	}
	return body, func(ctx context.Context) (result json.RawMessage, err error) {
		err = through(context.WithValue(ctx, streamKey{}, true), &result, call)
		return result, err
	}
}

// album is the call with several files, without the library. The body is a form, which reads the files as it is read.
func (t *Telegram) album(up upload) (*platform.Body, sending) {
	body := up.form()
	return body, func(ctx context.Context) (json.RawMessage, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+opAlbum, body)
		if err != nil {
			return nil, err
		}
		req.ContentLength = body.Size
		req.Header.Set("Content-Type", body.Type)
		resp, err := t.files.Do(req) //nolint:bodyclose // readAnswer closes it
		if err != nil {
			return nil, err
		}
		return readAnswer(resp)
	}
}

// albumItem is a file of an album.
type albumItem struct {
	Type      string           `json:"type"`
	Media     string           `json:"media"`
	Caption   string           `json:"caption,omitempty"`
	ParseMode models.ParseMode `json:"parse_mode,omitempty"`
}

// form returns an album.
func (up upload) form() *platform.Body {
	form := platform.NewForm()
	form.Field("chat_id", strconv.FormatInt(up.chatID, 10), "")
	if up.topic != 0 {
		form.Field("message_thread_id", strconv.FormatInt(up.topic, 10), "")
	}
	if up.part.Silent {
		form.Field("disable_notification", "true", "")
	}
	if reply := replyTo(up.part, up.chatID); reply != nil {
		form.Field("reply_parameters", string(bridge.MustJSON(reply)), "")
	}
	media := make([]albumItem, 0, len(up.contents))
	for i, c := range up.contents {
		kind := "document"
		switch {
		case up.visual && isPhoto(c.Type):
			kind = "photo"
		case up.visual:
			kind = "video"
		}
		item := albumItem{Type: kind, Media: "attach://file" + strconv.Itoa(i)}
		if i == 0 { // shown beside the whole album where no other one has a caption
			item.Caption, item.ParseMode = up.part.Text, parseMode(up.part)
		}
		media = append(media, item)
	}
	form.Field("media", string(bridge.MustJSON(media)), "")
	for i, c := range up.contents {
		name, typ := c.shown()
		form.File("file"+strconv.Itoa(i), name, typ, c.File)
	}
	return form.Body()
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

// shown returns a file's name and its type, as they are sent.
func (s *source) shown() (name, typ string) {
	name = cmp.Or(fileName(s.Name), "file"+extension(s.Type))
	typ, _, err := mime.ParseMediaType(s.Type)
	if err != nil {
		typ = "application/octet-stream"
	}
	return name, typ
}
