package telegram

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"
	"github.com/google/go-cmp/cmp"
)

// picture returns a PNG file.
func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.White})); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// part is a part of a multipart request: a file if it has a name.
type part struct{ field, name, text string }

func multi(t *testing.T, s *Server, method string, parts ...part) (int, map[string]any) {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, p := range parts {
		var to io.Writer
		var err error
		if p.name != "" {
			to, err = w.CreateFormFile(p.field, p.name)
		} else {
			to, err = w.CreateFormField(p.field)
		}
		if err == nil {
			_, err = io.WriteString(to, p.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/bot"+s.Token()+"/"+method, &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return do(t, s, r)
}

func TestFilesOfTheBot(t *testing.T) {
	s, base := start(t, Options{KeepFile: 1000})
	s.FailOnFaults(t)
	forum := s.AddChat(Chat{Kind: Forum})
	topic := s.OpenTopic(forum, s.AddUser(User{}).ID, "x").ID
	b := client(t, s, base)
	ctx := t.Context()
	small, long := picture(t, 40, 30), bytes.Repeat([]byte("0123456789"), 500)
	photo, err := b.SendPhoto(ctx, &bot.SendPhotoParams{
		ChatID: forum, MessageThreadID: topic, Photo: &models.InputFileUpload{Filename: "a b.png", Data: bytes.NewReader(small)},
		Caption: "<b>look</b>", ParseMode: models.ParseModeHTML, DisableNotification: true,
	})
	if err != nil || len(photo.Photo) != 1 || photo.Photo[0].Width != 100 || photo.Caption != "look" || len(photo.CaptionEntities) != 1 ||
		photo.MessageThreadID != topic {
		t.Fatalf("sendPhoto: %+v, %v", photo, err)
	}
	document, err := b.SendDocument(ctx, &bot.SendDocumentParams{
		ChatID: forum, MessageThreadID: topic, Document: &models.InputFileUpload{Filename: "ä.pdf", Data: bytes.NewReader(long)},
		ReplyParameters: &models.ReplyParameters{MessageID: photo.ID},
	})
	if err != nil || document.Document.FileName != "ä.pdf" || document.Document.MimeType != "application/pdf" ||
		document.Document.FileSize != int64(len(long)) || document.ReplyToMessage.ID != photo.ID {
		t.Fatalf("sendDocument: %+v, %v", document, err)
	}
	album, err := b.SendMediaGroup(ctx, &bot.SendMediaGroupParams{ChatID: forum, MessageThreadID: topic, Media: []models.InputMedia{
		&models.InputMediaPhoto{Media: "attach://one", MediaAttachment: bytes.NewReader(small), Caption: "first"},
		&models.InputMediaVideo{Media: "attach://two", MediaAttachment: strings.NewReader("video")},
	}})
	if err != nil || len(album) != 2 || album[0].MediaGroupID == "" || album[0].MediaGroupID != album[1].MediaGroupID ||
		album[0].Caption != "first" || album[1].Video == nil {
		t.Fatalf("sendMediaGroup: %+v, %v", album, err)
	}
	type shown struct {
		Kind, Name, Text string
		Size             int64
		Sum              [32]byte
		Kept             bool
	}
	var got []shown
	for _, m := range s.Messages(forum, topic)[1:] {
		got = append(got, shown{m.File.Kind, m.File.Name, m.Text, m.File.Size, m.File.Sum, m.File.Content != nil})
	}
	want := []shown{
		{"photo", "a b.png", "look", int64(len(small)), sha256.Sum256(small), true},
		{"document", "ä.pdf", "", int64(len(long)), sha256.Sum256(long), false},
		{"photo", "one", "first", int64(len(small)), sha256.Sum256(small), true},
		{"video", "two", "", 5, sha256.Sum256([]byte("video")), true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := b.EditMessageText(ctx, &bot.EditMessageTextParams{ChatID: forum, MessageID: photo.ID, Text: "x"}); err == nil ||
		!strings.Contains(err.Error(), "there is no text in the message to edit") {
		t.Errorf("editing a photo's text: %v", err)
	}
}

// zeros is a file that nobody has to hold.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestFilesRefused(t *testing.T) {
	s := New(Options{KeepFile: 10})
	defer s.Close()
	s.AddChat(Chat{Kind: Forum, ID: -1001})
	s.AddChat(Chat{Kind: Supergroup, ID: -1004})
	s.SetBot(-1004, BotRights{Status: Member, Muted: true})
	chat, good := part{"chat_id", "", "-1001"}, string(picture(t, 10, 10))
	album := func(kinds ...string) part {
		var all []map[string]string
		for i, kind := range kinds {
			all = append(all, map[string]string{"type": kind, "media": "attach://f" + strconv.Itoa(i)})
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return part{"media", "", string(raw)}
	}
	for name, tt := range map[string]struct {
		method string
		parts  []part
		code   int
		want   string // empty: a fault
	}{
		"no picture": {"sendPhoto", []part{chat, {"photo", "a.png", "\x89PNG\r\n\x1a\nno"}}, 400, "Bad Request: IMAGE_PROCESS_FAILED"},
		"too wide": {"sendPhoto", []part{chat, {"photo", "a.png", string(picture(t, 210, 10))}}, 400,
			"Bad Request: PHOTO_INVALID_DIMENSIONS"},
		"too large": {"sendPhoto", []part{chat, {"photo", "a.png", string(picture(t, 9501, 500))}}, 400,
			"Bad Request: PHOTO_INVALID_DIMENSIONS"},
		"too long": {"sendPhoto", []part{chat, {"photo", "a.png", good + strings.Repeat("x", 10<<20)}}, 400,
			fmt.Sprintf("Bad Request: file of size %d bytes is too big for a photo; the maximum size is 10485760 bytes", 10<<20+len(good))},
		"empty":         {"sendDocument", []part{chat, {"document", "a", ""}}, 400, "Bad Request: file must be non-empty"},
		"over 50 MB":    {"sendDocument", []part{chat, {"document", "a", strings.Repeat("x", 50<<20)}}, 413, "Request Entity Too Large"},
		"long caption":  {"sendDocument", []part{chat, {"caption", "", strings.Repeat("x", 1025)}, {"document", "a", "x"}}, 400, "Bad Request: message caption is too long"},
		"muted":         {"sendDocument", []part{{"chat_id", "", "-1004"}, {"document", "a", "x"}}, 400, "Bad Request: not enough rights to send documents to the chat"},
		"nobody's chat": {"sendPhoto", []part{{"chat_id", "", "-9"}, {"photo", "a", good}}, 400, "Bad Request: chat not found"},
		"no album":      {"sendMediaGroup", []part{chat, {"media", "", "[]"}}, 400, "Bad Request: there are no messages to send"},
		"album of eleven": {"sendMediaGroup", []part{chat, album(strings.Fields(strings.Repeat("photo ", 11))...)}, 400,
			"Bad Request: too many messages to send as an album"},
		"mixed": {"sendMediaGroup", []part{chat, album("photo", "document"), {"f0", "a", good}, {"f1", "b", "x"}}, 400,
			"Bad Request: document can't be mixed with other media types"},
		"missing": {"sendMediaGroup", []part{chat, album("document", "document"), {"f0", "a", good}}, 400,
			"Bad Request: can't parse InputMedia: media not found"},
		"second no picture": {"sendMediaGroup", []part{chat, album("photo", "photo"), {"f0", "a", good}, {"f1", "b", "x"}}, 400,
			`Bad Request: failed to send message #2 with the error message "IMAGE_PROCESS_FAILED"`},
		"album of one":   {"sendMediaGroup", []part{chat, album("photo"), {"f0", "a", good}}, 400, ""},
		"audio":          {"sendMediaGroup", []part{chat, album("audio", "audio"), {"f0", "a", "x"}, {"f1", "b", "x"}}, 400, ""},
		"by URL":         {"sendPhoto", []part{chat, {"photo", "", "https://a.example/b.png"}}, 400, ""},
		"of no use":      {"sendMediaGroup", []part{chat, album("photo", "photo"), {"f0", "a", good}, {"f1", "a", good}, {"f2", "b", "x"}}, 400, ""},
		"a file as text": {"sendMessage", []part{chat, {"text", "a.txt", "x"}}, 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.Faults())
			code, answer := multi(t, s, tt.method, tt.parts...)
			if code != tt.code || tt.want != "" && answer["description"] != tt.want {
				t.Errorf("%d %v", code, answer)
			}
			if faults := s.Faults()[before:]; (len(faults) == 1) != (tt.want == "") {
				t.Errorf("faults %q", faults)
			}
		})
	}
	if n := len(s.Messages(-1001, 0)); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestDimensions(t *testing.T) {
	img := image.NewPaletted(image.Rect(0, 0, 30, 20), color.Palette{color.White})
	var j, g bytes.Buffer
	if err := jpeg.Encode(&j, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&g, img, nil); err != nil {
		t.Fatal(err)
	}
	webp := func(chunk, fields string) string {
		return "RIFF\x00\x00\x00\x00WEBP" + chunk + "\x00\x00\x00\x00" + fields + strings.Repeat("\x00", 10)
	}
	for name, file := range map[string]string{
		"png": string(picture(t, 30, 20)), "jpeg": j.String(), "gif": g.String(),
		"webp, lossy":    webp("VP8 ", "\x00\x00\x00\x9d\x01\x2a\x1e\x00\x14\x00"),
		"webp, lossless": webp("VP8L", "\x2f\x1d\xc0\x04\x00"),
		"webp, extended": webp("VP8X", "\x00\x00\x00\x00\x1d\x00\x00\x13\x00\x00"),
	} {
		if w, h := dimensions([]byte(file)); w != 30 || h != 20 {
			t.Errorf("%s: %d × %d", name, w, h)
		}
	}
	for _, file := range []string{"", "RIFF", "<html>", webp("VP9 ", "")} {
		if w, h := dimensions([]byte(file)); w != 0 || h != 0 {
			t.Errorf("%q: %d × %d", file, w, h)
		}
	}
}

// fetch gets a file's path, or a range of it, and returns the status and the content.
func fetch(t *testing.T, s *Server, path, ranges string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/file/bot"+s.Token()+"/"+path, nil)
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(t.Context()))
	return w.Code, w.Body.String()
}

func TestDownload(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	said := o.Upload(Upload{Chat: o.chat, User: o.user, Name: "notes.txt", Type: "text/plain", Content: []byte("0123456789"), Caption: "see"})
	huge := o.Upload(Upload{Chat: o.chat, User: o.user, Name: "huge.bin", Reader: zeros{}, Size: 20<<20 + 1})
	most := o.Upload(Upload{Chat: o.chat, User: o.user, Name: "most.bin", Reader: zeros{}, Size: 20 << 20})
	if o.Pending() != 3 || said.Text != "see" || said.File.Name != "notes.txt" {
		t.Fatalf("%+v", said)
	}
	code, answer := call(t, o.Server, "getFile", form("file_id", said.File.ID))
	f, _ := answer["result"].(map[string]any)
	path, _ := f["file_path"].(string)
	if code != 200 || path != "documents/file_1.txt" || f["file_size"] != 10.0 {
		t.Fatalf("%d %v", code, answer)
	}
	for _, c := range []struct {
		path, ranges string
		code         int
		content      string
	}{
		{path, "", 200, "0123456789"},
		{path, "bytes=4-", 206, "456789"},
		{path, "bytes=4-6", 206, "456"},
		{path, "bytes=10-", 416, "invalid range: failed to overlap\n"},
		{"documents/file_9.txt", "", 404, `{"description":"Not Found","error_code":404,"ok":false}`},
	} {
		if code, got := fetch(t, o.Server, c.path, c.ranges); code != c.code || got != c.content {
			t.Errorf("%s %s: %d %q", c.path, c.ranges, code, got)
		}
	}
	if n := o.Count("file"); n != 5 {
		t.Errorf("%d downloads", n)
	}
	for id, want := range map[string]string{"": "Bad Request: file_id not specified", "x": "Bad Request: invalid file_id",
		huge.File.ID: "Bad Request: file is too big"} {
		if code, answer := call(t, o.Server, "getFile", form("file_id", id)); code != 400 || answer["description"] != want {
			t.Errorf("%q: %d %v", id, code, answer)
		}
	}
	if code, _ := call(t, o.Server, "getFile", form("file_id", most.File.ID)); code != 200 {
		t.Errorf("20 MB: %d", code)
	}
	if _, content := fetch(t, o.Server, most.File.path, "bytes=20971519-"); content != "\x00" {
		t.Errorf("the last byte is %q", content)
	}
	o.Next("file", Fail(404, "Not Found"))
	if code, _ := fetch(t, o.Server, path, ""); code != 404 {
		t.Errorf("spoiled: %d", code)
	}
	local := newOffice(t, Options{LocalFiles: true})
	huge = local.Upload(Upload{Chat: local.chat, User: local.user, Reader: zeros{}, Size: 1 << 40})
	_, answer = call(t, local.Server, "getFile", form("file_id", huge.File.ID))
	if path := answer["result"].(map[string]any)["file_path"]; path != "/var/lib/telegram-bot-api/"+local.Token()+"/documents/file_1" {
		t.Errorf("%v", answer)
	}
}

// TestFilesOfOperators lets the library decode what operators send.
func TestFilesOfOperators(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	for _, kind := range []string{"photo", "video", "animation", "audio", "voice", "video_note", "sticker", "document"} {
		o.Upload(Upload{Chat: o.chat, User: o.user, Kind: kind, Name: "a.bin", Type: "a/b", Content: []byte(kind), Album: "9"})
	}
	first := o.Upload(Upload{Chat: o.chat, User: o.user, Kind: "photo", Caption: "one", Content: picture(t, 300, 200)})
	o.Edit(first, "two")
	o.Send(Post{Chat: o.chat, User: o.user, Fields: Poll("q", "a")})
	_, answer := call(t, o.Server, "getUpdates", form("offset", "1"))
	raw, err := json.Marshal(answer["result"])
	if err != nil {
		t.Fatal(err)
	}
	var all []models.Update
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	m := func(i int) *models.Message { return all[i].Message }
	if len(all) != 11 || len(m(0).Photo) != 2 || m(0).Photo[1].FileSize != 5 || m(1).Video.FileName != "a.bin" || m(2).Animation == nil ||
		m(2).Document == nil || m(3).Audio.MimeType != "a/b" || m(4).Voice == nil || m(5).VideoNote == nil || m(6).Sticker == nil ||
		m(7).Document == nil || m(7).MediaGroupID != "9" || m(8).Caption != "one" || m(8).Photo[1].Width != 300 {
		t.Errorf("%s", raw)
	}
	if e := all[9].EditedMessage; e == nil || e.Caption != "two" || e.Text != "" || m(10).Poll.Question != "q" {
		t.Errorf("%s", raw)
	}
}

func TestAlbumsCount(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	s.AddChat(Chat{Kind: Forum, ID: -1001})
	s.SetLimits(DocumentedLimits())
	parts := []part{{"chat_id", "", "-1001"}, {"media", "", ""}}
	var all []string
	for i := range 10 {
		all = append(all, fmt.Sprintf(`{"type":"document","media":"attach://f%d"}`, i))
		parts = append(parts, part{"f" + strconv.Itoa(i), "a", "x"})
	}
	parts[1].text = "[" + strings.Join(all, ",") + "]"
	for i, want := range []int{200, 200, 429} {
		if code, answer := multi(t, s, "sendMediaGroup", parts...); code != want {
			t.Errorf("album %d: %d %v", i, code, answer)
		}
	}
}

// TestDeletionEnds deletes messages before and after they are 48 hours old.
func TestDeletionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		ours := func() string {
			_, answer := call(t, o.Server, "sendMessage", form("chat_id", "-1001", "text", "x"))
			return strconv.Itoa(int(answer["result"].(map[string]any)["message_id"].(float64)))
		}
		remove := func(id string) (int, any) {
			code, answer := call(t, o.Server, "deleteMessage", form("chat_id", "-1001", "message_id", id))
			return code, answer["description"]
		}
		one, two := ours(), ours()
		pass(48*time.Hour - time.Nanosecond)
		if code, text := remove(one); code != 200 {
			t.Errorf("before: %d %v", code, text)
		}
		pass(time.Nanosecond)
		if code, text := remove(two); code != 400 || text != "Bad Request: message can't be deleted" {
			t.Errorf("after: %d %v", code, text)
		}
		four := ours()
		o.Backdate(o.Messages(o.chat, 0)[1], 48*time.Hour)
		if code, _ := remove(four); code != 400 {
			t.Errorf("backdated: %d", code)
		}
	})
}
