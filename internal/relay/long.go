package relay

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// Of a text that is longer than bridge.MaxShown its beginning is shown, and the whole goes as a file. So whatever a site sends, it is
// two messages, and as much work as those.
const (
	shownOfLong = 1000 // characters
	// weightOfLong bounds what they become in a platform's markup, so that they stay one message everywhere.
	weightOfLong = 1800
	wholeName    = "message.txt"
)

// splitLong returns what is shown of a text, and the file that has all of it; nil: the text is shown whole.
func splitLong(text string) (shown string, whole *bridge.Attachment) {
	if len(text) <= bridge.MaxShown {
		return text, nil
	}
	n := utf8.RuneCountInString(text)
	if n <= bridge.MaxShown {
		return text, nil
	}
	shown = strings.TrimRight(text[:endOfLong(text)], " \n") + fmt.Sprintf("… (%d characters: %s has all of them)", n, wholeName)
	return shown, &bridge.Attachment{
		Filename: wholeName, MimeType: "text/plain", Size: int64(len(text)),
		URL: wholePrefix + base64.StdEncoding.EncodeToString([]byte(text)),
	}
}

// endOfLong returns where the shown beginning of a long text ends.
func endOfLong(text string) int {
	characters, weight := 0, 0
	for at, r := range text {
		switch {
		case r == '&':
			weight += len("&amp;")
		case r == '<', r == '>':
			weight += len("&lt;")
		case strings.ContainsRune("*_~|`\\[](){}#+-.!=:@/\n", r): // a backslash goes before some of them
			weight += 2
		case r > 0xffff: // two where UTF-16 is counted
			weight += 2
		default:
			weight++
		}
		if characters++; characters > shownOfLong || weight > weightOfLong {
			return at
		}
	}
	return len(text)
}

// whole puts the file that has all of a long text, or none, in front of a message's own files.
func (w *wish) whole(file *bridge.Attachment) {
	if w.hasWhole {
		w.files = w.files[1:]
	}
	if w.hasWhole = file != nil; w.hasWhole {
		w.files = append([]bridge.Attachment{*file}, w.files...)
	}
}

// uploadWhole is the call that shows all of a long text that a message was edited to; nil when there is none, or the platform takes no
// files. The file of the text before stays: it is what was written then.
func (d *threads) uploadWhole(e bridge.Entry, t *thread, w wish) []step {
	uploader, can := d.platform.(bridge.Uploader)
	if w.all == nil || !can || d.files == nil || w.all.Size > d.max.MaxFile {
		return nil
	}
	return []step{{opUpload, func(ctx context.Context) ([]bridge.MessageID, error) {
		f, closer, err := d.files.Fetch(ctx, *w.all, d.max.MaxFile)
		if err != nil {
			return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opUpload, Detail: err.Error()}
		}
		defer func() { _ = closer.Close() }()
		part := bridge.Part{Files: []bridge.Attachment{*w.all}, Silent: true, Key: partKey(e, 1000)}
		_, err = uploader.Upload(ctx, t.ID, part, []bridge.File{f})
		return nil, err
	}}}
}

// wholes are Files that have what splitLong made, too: it came from nowhere and need not be fetched.
type wholes struct{ Files }

const wholePrefix = "data:text/plain;charset=utf-8;base64,"

func (w wholes) Fetch(ctx context.Context, a bridge.Attachment, most int64) (bridge.File, io.Closer, error) {
	text, ok := strings.CutPrefix(a.URL, wholePrefix)
	content, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || int64(len(content)) > most {
		return w.Files.Fetch(ctx, a, most)
	}
	f := bridge.File{Name: a.Filename, Type: "text/plain; charset=utf-8", Size: int64(len(content)), Body: bytes.NewReader(content)}
	return f, io.NopCloser(nil), nil
}
