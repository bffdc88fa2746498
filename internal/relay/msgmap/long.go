package msgmap

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// Of a text that is longer than bridge.MaxShown its beginning is shown, and the whole goes as a file. So whatever a site sends, it is
// two messages, and as much work as those.
const (
	shownOfLong = 1000 // characters
	// weightOfLong bounds what they become in a platform's markup, so that they stay one message everywhere.
	weightOfLong = 1800
	wholeName    = "message.txt"
)

// Shorten returns what is shown of a text, and the file that has all of it; nil: the text is shown whole.
func Shorten(text string) (begins string, whole *bridge.Attachment) {
	if len(text) <= bridge.MaxShown {
		return text, nil
	}
	n := utf8.RuneCountInString(text)
	if n <= bridge.MaxShown {
		return text, nil
	}
	begins = strings.TrimRight(text[:endOfLong(text)], " \n") + words.Get().LongText.With(strconv.Itoa(n), wholeName)
	return begins, &bridge.Attachment{
		Filename: wholeName, MimeType: "text/plain", Size: int64(len(text)),
		URL: wholePrefix + base64.StdEncoding.EncodeToString([]byte(text)),
	}
}

const wholePrefix = "data:text/plain;charset=utf-8;base64,"

// WholeText returns what a file that Shorten made has in it: such a file came from nowhere and need not be fetched. ok is false for
// any other.
func WholeText(a bridge.Attachment) (content []byte, ok bool) {
	text, ok := strings.CutPrefix(a.URL, wholePrefix)
	if !ok {
		return nil, false
	}
	content, err := base64.StdEncoding.DecodeString(text)
	return content, err == nil
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

// quoted is how much of a text is kept for a platform that quotes, in characters.
const quoted = 200

// Excerpt is a message's text, or as much of it as is quoted; where there is none, the name of its first file.
func Excerpt(text string, files []bridge.Attachment) string {
	if text == "" && len(files) > 0 {
		text = strings.TrimSpace("📎 " + files[0].Filename)
	}
	if r := []rune(text); len(r) > quoted {
		return string(r[:quoted]) + "…"
	}
	return text
}
