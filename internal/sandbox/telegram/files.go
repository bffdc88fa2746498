package telegram

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"maps"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	// maxRequest is what api.telegram.org takes: "50 MB max size for other types of files"
	// (https://core.telegram.org/bots/api#sending-files). What is longer is refused with 413 before it is looked at.
	maxRequest = 50 << 20
	// maxDownload: "for the moment, bots can download files of up to 20MB in size" (getFile).
	maxDownload = 20 << 20
	// maxPhoto is MAX_PHOTO_SIZE of TDLib's FileManager.cpp.
	maxPhoto = 10 << 20
	// maxAlbum: "must include 2-10 items".
	maxAlbum = 10
	// maxCaption: "0-1024 characters after entities parsing".
	maxCaption = 1024

	// defaultKeep is how much of a file is held where the options say nothing, and maxHeader what is held of every file while
	// its image's size is looked for.
	defaultKeep = 1 << 20
	maxHeader   = 256 << 10

	attach = "attach://"
)

// File is a file of a message.
type File struct {
	Kind    string // the message's field that it stands in: photo, document, …
	ID      string // file_id
	Name    string // as it was sent; on the wire a photo has none
	Type    string // mime_type
	Size    int64  // bytes
	Sum     [sha256.Size]byte
	Content []byte // nil where it is longer than Options.KeepFile, and of an operator's Reader

	header        []byte // the beginning
	width, height int
	path          string // file_path
	reader        io.ReaderAt
	fields        map[string]any // more of its object
	sizes         []*File        // of a photo: the smaller ones
}

// receive reads a file to its end and holds no more of it than keep bytes, or a header's worth. One longer than limit is
// refused.
func receive(r io.Reader, limit, keep int64) (*File, error) {
	sum := sha256.New()
	held := new(bytes.Buffer)
	buffer := make([]byte, 32<<10)
	hold := max(keep, maxHeader)
	f := new(File)
	for {
		n, err := r.Read(buffer)
		_, _ = sum.Write(buffer[:n])
		if f.Size += int64(n); f.Size > limit {
			return nil, tooLarge()
		}
		if room := hold - int64(held.Len()); room > 0 {
			_, _ = held.Write(buffer[:min(int64(n), room)])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
	}
	copy(f.Sum[:], sum.Sum(nil))
	f.header = bytes.Clone(held.Bytes()[:min(held.Len(), maxHeader)])
	if f.Size <= keep {
		f.Content = held.Bytes()
		f.reader = bytes.NewReader(f.Content)
	}
	return f, nil
}

// checkPhoto refuses what Telegram takes for no photo. TDLib looks at the size, the server behind it at the picture:
// "the photo's width and height must not exceed 10000 in total. Width and height ratio must be at most 20" (sendPhoto).
func (f *File) checkPhoto() *refusal {
	if f.Size > maxPhoto {
		return badRequest(fmt.Sprintf("file of size %d bytes is too big for a photo; the maximum size is %d bytes", f.Size, maxPhoto))
	}
	f.width, f.height = dimensions(f.header)
	switch {
	case f.width <= 0 || f.height <= 0:
		return badRequest("IMAGE_PROCESS_FAILED")
	case f.width+f.height > 10000, f.width > 20*f.height, f.height > 20*f.width:
		return badRequest("PHOTO_INVALID_DIMENSIONS")
	}
	return nil
}

// dimensions reads an image's size, 0 for what is none.
func dimensions(header []byte) (width, height int) {
	for _, decode := range []func(io.Reader) (image.Config, error){png.DecodeConfig, jpeg.DecodeConfig, gif.DecodeConfig} {
		if c, err := decode(bytes.NewReader(header)); err == nil {
			return c.Width, c.Height
		}
	}
	// A WebP file, https://developers.google.com/speed/webp/docs/riff_container.
	if len(header) < 30 || string(header[:4]) != "RIFF" || string(header[8:12]) != "WEBP" {
		return 0, 0
	}
	switch string(header[12:16]) {
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(header[26:]) & 0x3fff), int(binary.LittleEndian.Uint16(header[28:]) & 0x3fff)
	case "VP8L":
		bits := binary.LittleEndian.Uint32(header[21:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1
	case "VP8X":
		return int(binary.LittleEndian.Uint32(header[24:])&0xffffff) + 1, int(binary.LittleEndian.Uint32(header[26:])>>8) + 1
	}
	return 0, 0
}

// enter gives a file its ids and makes it one that can be asked for.
func (s *Server) enter(f *File) {
	s.lastFile++
	f.ID = fmt.Sprintf("%s-%d-%s", map[bool]string{true: "AgACAgQ", false: "BQACAgQ"}[f.Kind == "photo"], s.lastFile,
		strings.Repeat("x", 50))
	folders := map[string]string{
		"photo": "photos", "video": "videos", "voice": "voice", "audio": "music", "video_note": "video_notes",
		"animation": "animations", "sticker": "stickers",
	}
	folder := folders[f.Kind]
	if folder == "" {
		folder = "documents"
	}
	f.path = folder + "/file_" + strconv.Itoa(s.lastFile) + path.Ext(f.Name)
	s.files[f.ID] = f
}

// unique is a file's file_unique_id.
func (f *File) unique() string { return "AQAD" + strings.SplitN(f.ID, "-", 3)[1] }

// wire returns a file as its message shows it. What must be there and is not known is made up.
func (f *File) wire() any {
	o := object{"file_id": f.ID, "file_unique_id": f.unique(), "file_size": f.Size}
	switch f.Kind {
	case "photo":
		var sizes []object
		for _, small := range f.sizes {
			sizes = append(sizes, object{"file_id": small.ID, "file_unique_id": small.unique(), "file_size": small.Size, "width": 90, "height": 67})
		}
		o["width"], o["height"] = max(f.width, 100), max(f.height, 100)
		return append(sizes, o)
	case "video", "animation":
		o["width"], o["height"], o["duration"] = 640, 480, 3
	case "sticker":
		o["type"], o["width"], o["height"], o["is_animated"], o["is_video"] = "regular", 512, 512, false, false
	case "video_note":
		o["length"], o["duration"] = 240, 3
	case "voice", "audio":
		o["duration"] = 3
	}
	switch f.Kind {
	case "video", "animation", "document", "audio":
		o.set("file_name", f.Name, f.Name != "")
		o.set("mime_type", f.Type, f.Type != "")
	case "voice":
		o.set("mime_type", f.Type, f.Type != "")
	}
	maps.Copy(o, f.fields)
	return o
}

// media is an InputMedia, or what a method for one file makes of its parameters.
type media struct {
	Type      string `json:"type"`
	Media     string `json:"media"`
	Caption   string `json:"caption"`
	ParseMode string `json:"parse_mode"`

	file     *File
	entities []Entity
}

// sendOne serves sendPhoto and sendDocument.
func (s *Server) sendOne(kind string, p params, files map[string]*File) (any, error) {
	one := []media{{Type: kind, Media: p[kind], Caption: p["caption"], ParseMode: p["parse_mode"]}}
	sent, err := s.sendMedia(p, one, files)
	if err != nil {
		return nil, err
	}
	return sent[0], nil
}

func (s *Server) sendMediaGroup(p params, files map[string]*File) (any, error) {
	var all []media
	if err := p.decode("media", &all); err != nil {
		return nil, err
	}
	switch n := len(all); {
	case n == 0:
		return nil, badRequest("there are no messages to send")
	case n > maxAlbum:
		return nil, badRequest("too many messages to send as an album")
	case n == 1:
		return nil, fault("an album of one item; 2-%d are allowed", maxAlbum) // the real server sends it as one message
	}
	for _, m := range all {
		switch m.Type {
		case "photo", "video", "document":
		default:
			return nil, fault("the sandbox does not serve %q in an album", m.Type)
		}
		if (m.Type == "document") != (all[0].Type == "document") {
			return nil, badRequest("document can't be mixed with other media types")
		}
	}
	return s.sendMedia(p, all, files)
}

// sendMedia sends files, several of them as an album. TDLib looks at the files' sizes and captions before the chat; the server
// behind it refuses pictures, and in an album says which.
func (s *Server) sendMedia(p params, all []media, files map[string]*File) ([]object, error) {
	used := make(map[string]bool)
	for i := range all {
		name, ok := strings.CutPrefix(all[i].Media, attach)
		if !ok {
			return nil, fault("a file by URL or file_id, which the sandbox does not serve")
		}
		if all[i].file = files[name]; all[i].file == nil || used[name] {
			return nil, badRequest("can't parse InputMedia: media not found")
		}
		used[name] = true
		if all[i].file.Size == 0 {
			return nil, badRequest("file must be non-empty")
		}
		if all[i].Type == "photo" && all[i].file.Size > maxPhoto {
			return nil, all[i].file.checkPhoto()
		}
		if err := s.caption(&all[i]); err != nil {
			return nil, err
		}
	}
	for name := range files {
		if !used[name] {
			return nil, fault("the file of the part %q is of no use", name)
		}
	}
	at, err := s.destination(p)
	if err != nil {
		return nil, err
	}
	what := map[string]string{"photo": "photos", "video": "videos", "document": "documents"}[all[0].Type]
	if err := s.admit(at, what); err != nil {
		return nil, err
	}
	for i, m := range all {
		if m.Type != "photo" {
			continue
		}
		refused := m.file.checkPhoto()
		if refused != nil && len(all) > 1 {
			_, said, _ := strings.Cut(refused.text, ": ")
			refused = badRequest(fmt.Sprintf("failed to send message #%d with the error message %q", i+1, said))
		}
		if refused != nil {
			return nil, refused
		}
	}
	// Each message of an album is one.
	if err := s.pace(at.chat, len(all)); err != nil {
		return nil, err
	}
	s.lastAlbum++
	out := make([]object, 0, len(all))
	for _, m := range all {
		m.file.Kind = m.Type
		m.file.Type = mime.TypeByExtension(path.Ext(m.file.Name))
		if m.file.Type == "" {
			m.file.Type = "application/octet-stream"
		}
		s.enter(m.file)
		put := &message{Message: Message{Text: m.Caption, Entities: m.entities, File: m.file}}
		if len(all) > 1 {
			put.Album = strconv.Itoa(13_700_000_000_000_000 + s.lastAlbum)
		}
		out = append(out, s.wire(s.put(at, p, put), true))
	}
	return out, nil
}

// caption reads a caption and its markup.
func (s *Server) caption(m *media) error {
	if m.Caption == "" {
		return nil
	}
	text, entities, err := s.textOf(params{"text": m.Caption, "parse_mode": m.ParseMode})
	if err != nil {
		return err
	}
	if len([]rune(text)) > maxCaption {
		return badRequest("message caption is too long")
	}
	m.Caption, m.entities = text, entities
	return nil
}

func (s *Server) getFile(p params) (any, error) {
	f := s.files[p["file_id"]]
	switch {
	case p["file_id"] == "":
		return nil, badRequest("file_id not specified")
	case f == nil:
		return nil, badRequest("invalid file_id")
	case f.Size > maxDownload && !s.options.LocalFiles:
		return nil, badRequest("file is too big")
	}
	o := object{"file_id": f.ID, "file_unique_id": f.unique(), "file_size": f.Size, "file_path": f.path}
	if s.options.LocalFiles {
		// "file_path field without the need of downloading the file after a getFile request": the server's own disk, with the
		// token in it (--local, https://core.telegram.org/bots/api#using-a-local-bot-api-server).
		o["file_path"] = "/var/lib/telegram-bot-api/" + s.options.Token + "/" + f.path
	}
	s.asked[f.path] = f
	return o, nil
}

// content is a file as the server for files answers with it.
type content struct{ file *File }

// download finds a file by its path, once getFile has told it.
func (s *Server) download(p params) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.asked[p["path"]]
	if f == nil {
		return nil, &refusal{code: http.StatusNotFound, text: "Not Found"}
	}
	if f.reader == nil {
		s.fault("a file was asked for whose content was not kept")
		return nil, &refusal{code: http.StatusNotFound, text: "Not Found"}
	}
	return content{f}, nil
}

// write answers with the content: all of it, or the range that is asked for.
func (c content) write(w http.ResponseWriter, r *http.Request) int {
	w.Header().Set("Content-Type", "application/octet-stream")
	seen := &statusWriter{ResponseWriter: w, code: http.StatusOK}
	http.ServeContent(seen, r, "", time.Time{}, io.NewSectionReader(c.file.reader, 0, c.file.Size))
	_ = http.NewResponseController(w).Flush()
	return seen.code
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Upload is a file that somebody sends.
type Upload struct {
	Chat    int64
	Topic   int // 0: General, or a chat without topics
	User    int64
	ReplyTo int
	Kind    string // photo, video, animation, audio, voice, video_note, sticker; empty: document
	Name    string // of kinds that have one
	Type    string // likewise
	Caption string
	Album   string // those with the same one are an album
	Content []byte
	// Reader and Size are in place of Content, for what is not to be held in memory.
	Reader io.ReaderAt
	Size   int64
	Fields map[string]any // more fields of the file's object, such as is_animated
}

// Upload sends a file; a photo comes in two sizes, as the apps make it.
func (s *Server) Upload(u Upload) Message {
	return s.Send(Post{Chat: u.Chat, Topic: u.Topic, User: u.User, Text: u.Caption, ReplyTo: u.ReplyTo, Album: u.Album, file: fileOf(u)})
}

// Replace puts another file in the place of a message's; its caption stays.
func (s *Server) Replace(m Message, u Upload) {
	f := fileOf(u)
	s.changeMessage(m, func(m *message) {
		m.File = f
		for _, one := range append([]*File{f}, f.sizes...) {
			s.enter(one)
		}
	})
}

func fileOf(u Upload) *File {
	f := &File{Kind: u.Kind, Name: u.Name, Type: u.Type, Size: u.Size, reader: u.Reader, fields: u.Fields}
	if f.Kind == "" {
		f.Kind = "document"
	}
	if f.reader == nil {
		f.Content, f.Size = u.Content, int64(len(u.Content))
		f.Sum, f.reader = sha256.Sum256(u.Content), bytes.NewReader(u.Content)
		f.width, f.height = dimensions(u.Content)
	}
	if f.Kind == "photo" {
		small := []byte("a smaller one")
		f.sizes = []*File{{Kind: "photo", Size: int64(len(small)), reader: bytes.NewReader(small)}}
	}
	return f
}

// Location is the field of a Post that is a place on the map.
func Location(latitude, longitude float64) map[string]any {
	return map[string]any{"location": object{"latitude": latitude, "longitude": longitude}}
}

// Contact is the field of a Post that is a telephone's contact. The last name may be empty.
func Contact(phone, firstName, lastName string) map[string]any {
	o := object{"phone_number": phone, "first_name": firstName}
	o.set("last_name", lastName, lastName != "")
	return map[string]any{"contact": o}
}

// Poll is the field of a Post that is a question to the group.
func Poll(question string, options ...string) map[string]any {
	list := make([]object, 0, len(options))
	for i, text := range options {
		list = append(list, object{"persistent_id": strconv.Itoa(i), "text": text, "voter_count": 0})
	}
	return map[string]any{"poll": object{
		"id": "1", "question": question, "options": list, "total_voter_count": 0, "is_closed": false, "is_anonymous": true,
		"type": "regular", "allows_multiple_answers": false, "allows_revoting": true, "members_only": false,
	}}
}

// fileWire puts a message's file into what the Bot API shows of it.
func (m *message) fileWire(o object) {
	f := m.File
	o[f.Kind] = f.wire()
	if f.Kind == "animation" {
		o["document"] = object{
			"file_id": f.ID, "file_unique_id": f.unique(), "file_size": f.Size, "file_name": f.Name, "mime_type": f.Type,
		} // "for backward compatibility, when this field is set, the document field will also be set"
	}
}

// textFields moves what a message says to where the wire has it: a file's text is its caption.
func (m *message) textFields() (text, entities string) {
	if m.File != nil {
		return "caption", "caption_entities"
	}
	return "text", "entities"
}

// params of a download, for whoever looks at the calls.
func downloadParams(path, ranges string) params {
	p := params{"path": path}
	if ranges != "" {
		p["range"] = ranges
	}
	return p
}
