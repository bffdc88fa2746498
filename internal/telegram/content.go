package telegram

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

// What of a message is more than plain text: files, links, and rich messages.

// maxDownload is the longest file that a bot may fetch, in bytes: getFile, "20MB".
const maxDownload = 20 << 20

// file is what is read of any of Telegram's objects that stand for a file.
type file struct {
	ID        string `json:"file_id"`
	Unique    string `json:"file_unique_id"`
	Name      string `json:"file_name"`
	Type      string `json:"mime_type"`
	Size      int64  `json:"file_size"`
	Width     int64  `json:"width"`
	Height    int64  `json:"height"`
	Performer string `json:"performer"` // of music
	Title     string `json:"title"`
	Emoji     string `json:"emoji"` // of a sticker
	Animated  bool   `json:"is_animated"`
	Video     bool   `json:"is_video"`
}

// media is a file, or a photo in several sizes. Whatever is there counts as there, also what cannot be read.
type media struct {
	there bool
	list  []file
}

// UnmarshalJSON never fails: a message has more than its file.
func (m *media) UnmarshalJSON(raw []byte) error {
	if m.there = there(raw); !m.there {
		return nil
	}
	if json.Unmarshal(raw, &m.list) != nil {
		var one file
		m.list = nil
		if json.Unmarshal(raw, &one) == nil {
			m.list = []file{one}
		}
	}
	return nil
}

// best returns the largest of a photo's sizes, and the file itself of everything else.
func (m media) best() file {
	var best file
	for i, f := range m.list {
		if i == 0 || f.ID != "" && (best.ID == "" || f.Width*f.Height > best.Width*best.Height) {
			best = f
		}
	}
	return best
}

// fileKind is how a kind of file is called, and what it is where Telegram does not say.
type fileKind struct {
	label string // of a line that stands for it
	name  string
	typ   string
	ext   string
}

// fileOf returns a message's file. One without an ID is there and cannot be had.
func fileOf(m *message) (kind fileKind, f file, found bool) {
	say := words.Get()
	for _, k := range []struct {
		media media
		fileKind
	}{
		{m.Animation, fileKind{say.Animation, "animation", "video/mp4", ".mp4"}}, // has a document too
		{m.Photo, fileKind{say.Photo, "photo", "image/jpeg", ".jpg"}},
		{m.Video, fileKind{say.Video, "video", "video/mp4", ".mp4"}},
		{m.VideoNote, fileKind{say.VideoMessage, "video", "video/mp4", ".mp4"}},
		{m.Voice, fileKind{say.VoiceMessage, "voice", "audio/ogg", ".ogg"}},
		{m.Audio, fileKind{say.Audio, "audio", "audio/mpeg", ".mp3"}},
		{m.Sticker, fileKind{say.Sticker, "sticker", "image/webp", ".webp"}},
		{m.Document, fileKind{say.File, "file", "application/octet-stream", ""}},
	} {
		if !k.media.there {
			continue
		}
		f = k.media.best()
		switch {
		case f.Animated:
			k.typ, k.ext = "application/x-tgsticker", ".tgs"
		case f.Video:
			k.typ, k.ext = "video/webm", ".webm"
		}
		return k.fileKind, f, true
	}
	return fileKind{}, file{}, false
}

// attachment returns a file as the contract has it, with a name and a type even where Telegram gives none.
func attachment(kind fileKind, f file, message int64) bridge.Attachment {
	a := bridge.Attachment{
		Filename: fileName(f.Name), MimeType: platform.FirstOf(f.Type, kind.typ), Size: max(f.Size, 0), BridgeFileID: f.ID, UploadedFrom: "telegram",
	}
	if bridge.PrintableID(f.Unique) {
		a.ID = f.Unique
	}
	if a.Filename == "" {
		name := cmp.Or(fileName(platform.Joined(" - ", f.Performer, f.Title)), kind.name+"_"+strconv.FormatInt(message, 10))
		a.Filename = name + cmp.Or(extension(a.MimeType), kind.ext)
	}
	return a
}

// fileName returns a name as one may be shown and saved: one line, no path.
func fileName(name string) string {
	name = measure.OneLine(strings.Map(func(r rune) rune {
		switch r {
		case '/', '\\':
			return '_'
		}
		return r
	}, name), platform.MaxLine)
	if measure.IsBlank(name) || strings.Trim(name, ".") == "" {
		return ""
	}
	return name
}

// extension returns the usual ending of a type's files, or nothing.
func extension(typ string) string {
	return map[string]string{
		"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/heic": ".heic",
		"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov",
		"audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a", "audio/x-m4a": ".m4a", "audio/wav": ".wav", "audio/x-wav": ".wav",
		"application/pdf": ".pdf", "application/zip": ".zip", "application/json": ".json", "application/x-tgsticker": ".tgs",
		"text/plain": ".txt", "text/csv": ".csv", "text/html": ".html",
	}[mediaType(typ)]
}

// withLinks returns a text in which the targets of links stand behind their labels, since a plain text has no links.
func withLinks(text string, entities []entity) string {
	var b strings.Builder
	done := 0
	for _, e := range entities {
		if e.Type != "text_link" || e.URL == "" || e.Offset < 0 || e.Length <= 0 {
			continue
		}
		from, ok := byteAt(text, e.Offset)
		to, inside := byteAt(text, e.Offset+e.Length)
		if !ok || !inside || from < done {
			continue
		}
		b.WriteString(text[done:to])
		if !sameLink(text[from:to], e.URL) {
			b.WriteString(" (" + e.URL + ")")
		}
		done = to
	}
	b.WriteString(text[done:])
	return b.String()
}

// sameLink says whether a label is its link's target, give or take what an app adds to it.
func sameLink(label, target string) bool {
	bare := func(s string) string {
		s = strings.ToLower(strings.TrimSpace(s))
		for _, scheme := range []string{"http://", "https://", "mailto:", "tel:"} {
			s = strings.TrimPrefix(s, scheme)
		}
		return strings.TrimSuffix(s, "/")
	}
	return bare(label) == bare(target)
}

// byteAt returns where the UTF-16 unit n of a text begins; ok is false within a character and beyond the end.
func byteAt(text string, n int) (at int, ok bool) {
	for i, r := range text {
		if n <= 0 {
			return i, n == 0
		}
		n -= measure.UnitsOf(r)
	}
	return len(text), n == 0
}

// richText returns what a person reads in a rich message: its blocks as lines, its links with their targets.
func richText(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	text := strings.TrimSpace(richBlocks(v))
	if !utf8.ValidString(text) || measure.IsBlank(text) {
		return ""
	}
	return text
}

// richBlocks writes a block, or several, each on a line of its own.
func richBlocks(v any) string {
	switch v := v.(type) {
	case []any:
		var lines []string
		for _, one := range v {
			lines = append(lines, richBlocks(one))
		}
		return platform.Joined("\n", lines...)
	case map[string]any:
		var cells []string
		rows, _ := v["cells"].([]any)
		for _, row := range rows {
			var texts []string
			columns, _ := row.([]any)
			for _, column := range columns {
				if cell, ok := column.(map[string]any); ok {
					texts = append(texts, richInline(cell["text"]))
				}
			}
			cells = append(cells, platform.Joined(" | ", texts...))
		}
		caption, _ := v["caption"].(map[string]any)
		label, _ := v["label"].(string)
		inner := platform.Joined("\n", richInline(v["summary"]), richInline(v["text"]), richInline(v["expression"]), richBlocks(v["blocks"]),
			richBlocks(v["items"]), platform.Joined("\n", cells...))
		for _, kind := range []string{"photo", "video", "animation", "audio", "voice_note", "location"} {
			if v[kind] != nil {
				inner = platform.Joined("\n", "["+strings.ReplaceAll(kind, "_note", " message")+"]", inner)
			}
		}
		return platform.Joined("\n", platform.Joined(" ", label, inner), richInline(caption["text"]), richInline(caption["credit"]), richInline(v["credit"]))
	}
	return ""
}

// richInline writes text within a block.
func richInline(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var b strings.Builder
		for _, one := range v {
			b.WriteString(richInline(one))
		}
		return b.String()
	case map[string]any:
		text := richInline(v["text"])
		for _, other := range []string{"alternative_text", "expression"} {
			if text == "" {
				text, _ = v[other].(string)
			}
		}
		if target, _ := v["url"].(string); target != "" && !sameLink(text, target) {
			text += " (" + target + ")"
		}
		return text
	}
	return ""
}
