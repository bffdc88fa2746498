// Package platform has what the adapters for chat platforms share: the words in which a visitor, a file and a size are told, the
// bodies of uploads and downloads, the checks of a webhook's request, and waiting. It knows no platform's API, and no adapter.
package platform

import (
	"strings"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// MaxLine and MaxURL keep a card short, in UTF-16 units: its fields are the app server's and may have any length.
	MaxLine = 200
	MaxURL  = 1000

	maxDetail = 200 // characters of what a platform said
)

// SizeOf writes a size the way people read it: 999 B, 12 kB, 3.4 MB.
func SizeOf(bytes int64) string { return words.Get().Size(bytes) }

// BlankMark is shown for a text that shows nothing, which platforms refuse.
func BlankMark() string { return words.Get().Blank }

// Bracketed stands in a text for something that is no text: what it is, and its name, if it has one.
func Bracketed(what, name string) string {
	if name = strings.TrimSpace(name); name == "" {
		return "[" + what + "]"
	}
	return words.Get().Named.With(what, name)
}

// FileLine is the line that stands for a file: its name and size, and the address that follows them, if it has one.
func FileLine(f bridge.Attachment) (label, address string) {
	label = "📎 " + measure.OneLine(f.Filename, MaxLine)
	if label == "📎 " {
		label += words.Get().File
	}
	if f.Size > 0 {
		label += " (" + SizeOf(f.Size) + ")"
	}
	if f.URL != "" {
		label += ": "
	}
	return label, strings.Join(strings.Fields(f.URL), "")
}

// Card is what is known of a visitor, in the order in which it is shown.
type Card struct {
	Who     string // never empty
	Contact string // e-mail address and telephone number
	Lines   []CardLine
}

// CardLine is a line of a card: a mark, and a text with or without an address behind it.
type CardLine struct{ Mark, Text, URL string }

// CardOf returns what is known of a session's visitor.
func CardOf(s *bridge.Session) Card {
	card := Card{Who: measure.OneLine(s.DisplayName(), MaxLine)}
	if measure.IsBlank(card.Who) {
		card.Who = words.Get().Visitor
	}
	var email, verified string
	if s.Identity != nil {
		email = s.Identity.Email
		if proved := s.Identity.Verified; proved != nil {
			verified = map[bool]string{true: words.Get().Verified, false: words.Get().NotVerified}[*proved]
		}
	}
	if contact := dotted(email, s.UserPhone+" "+InBrackets(s.UserPhoneCountry), verified); !measure.IsBlank(contact) {
		card.Contact = contact
	}
	m := s.Metadata
	if m == nil {
		return card
	}
	title, address := measure.OneLine(m.PageTitle, MaxLine), measure.OneLine(m.URL, MaxURL)
	if title != "" && address != "" {
		title += " — "
	}
	place := Joined(", ", measure.OneLine(m.City, MaxLine), measure.OneLine(m.Country, MaxLine))
	for _, line := range []CardLine{
		{"📄", title, address},
		{"📍", dotted(place, m.Timezone, m.Language), ""},
		{"💻", dotted(m.DeviceType, m.Browser, m.OS), ""},
	} {
		if !measure.IsBlank(line.Text + line.URL) {
			card.Lines = append(card.Lines, line)
		}
	}
	return card
}

// StateOf returns the lines of a card that say how its session stands.
func StateOf(c bridge.Card) []CardLine {
	var lines []CardLine
	for _, line := range []CardLine{{"💬", measure.OneLine(c.Words, MaxLine), ""}, {"🙋", measure.OneLine(c.Answers, MaxLine), ""}} {
		if !measure.IsBlank(line.Text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// dotted puts values that are there into a line.
func dotted(values ...string) string {
	for i, v := range values {
		values[i] = measure.OneLine(v, MaxLine)
	}
	return Joined(" · ", values...)
}

// ThreadName returns the name of a session's thread: one line of at most limit UTF-16 units, never empty.
func ThreadName(s *bridge.Session, limit int) string {
	for _, name := range []string{s.DisplayName(), s.VisitorID} {
		if name = measure.OneLine(name, limit); !measure.IsBlank(name) {
			return name
		}
	}
	return words.Get().Visitor
}

// FirstOf returns the first text that shows anything, without the white space around it.
func FirstOf(texts ...string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); !measure.IsBlank(t) {
			return t
		}
	}
	return ""
}

// Joined puts the texts together that are not empty, without the white space around each.
func Joined(separator string, texts ...string) string {
	var known []string
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			known = append(known, t)
		}
	}
	return strings.Join(known, separator)
}

// InBrackets puts brackets around a text that is not empty.
func InBrackets(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return "(" + text + ")"
}

// Plainly returns what a platform said in a form that may be logged: without secrets, without what it quotes, and not long.
func Plainly(text string, secrets []bridge.Secret) string {
	text, _, _ = strings.Cut(bridge.Redact(text, secrets...), `"`)
	text = strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text))
	if runes := []rune(text); len(runes) > maxDetail {
		text = string(runes[:maxDetail]) + "…"
	}
	return text
}

// Run is a stretch of text in one style. A message is a list of runs; it is cut into parts before it becomes markup, so that no
// part has half a style.
type Run[R any] interface {
	Shown() string // the text as people see it
	Part(from, to int) R
}

// Text returns the runs without their styles.
func Text[R interface{ Shown() string }](runs []R) string {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.Shown())
	}
	return b.String()
}

// Split cuts runs into pieces of at most limit UTF-16 units.
func Split[R Run[R]](runs []R, limit int) [][]R {
	var pieces [][]R
	for _, want := range measure.Split(Text(runs), limit) {
		var piece []R
		for left := len(want); left > 0; {
			whole := len(runs[0].Shown())
			n := min(left, whole)
			if n > 0 {
				piece = append(piece, runs[0].Part(0, n))
			}
			left -= n
			if runs[0] = runs[0].Part(n, whole); n == whole {
				runs = runs[1:]
			}
		}
		pieces = append(pieces, piece)
	}
	return pieces
}
