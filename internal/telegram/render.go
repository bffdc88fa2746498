package telegram

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	maxText  = 4096 // UTF-16 units of a message after its markup is parsed
	maxTopic = 128  // UTF-16 units of a topic's name

	// maxLine and maxURL keep a card well below a message: its fields are the app server's and may have any length.
	maxLine = 200
	maxURL  = 1000

	blankMark = "(blank)"
)

// run is a stretch of text in one style. A message is a list of runs; it is split before it becomes markup, so no part ever
// has half a tag, and its length is the one that Telegram counts.
type run struct {
	text string
	tag  string // the HTML tag: b, i or empty
}

// Render implements bridge.Platform. A card stands before the text, in the same part if that fits. In a chat without topics
// every part says who the visitor is. The parts' plain texts, put together, are the whole text.
func (t *Telegram) Render(m bridge.Outgoing) []bridge.Part { return render(m) }

func render(m bridge.Outgoing) []bridge.Part {
	var head []run
	if name := oneLine(m.Visitor, maxTopic); name != "" && isFlat(m.Thread) {
		head = []run{{name, "b"}, {"\n", ""}}
	}
	limit := maxText - units(text(head))

	body := bodyOf(m)
	var groups [][]run
	replyGroup := 0
	if m.Card != nil {
		card := cardOf(m.Card)
		switch {
		case len(body) == 0:
			groups = [][]run{card}
		case units(text(card))+2+units(text(body)) <= limit:
			groups = [][]run{append(append(card, run{"\n\n", ""}), body...)}
		default:
			groups, replyGroup = [][]run{card, body}, 1
		}
	} else {
		groups = [][]run{body}
	}

	var parts []bridge.Part
	for g, group := range groups {
		for i, piece := range split(group, limit) {
			if isBlank(text(piece)) {
				// Telegram refuses what shows nothing. Such a piece is white space only and far from the limit.
				piece = append([]run{{blankMark, "i"}}, piece...)
			}
			piece = append(append([]run{}, head...), piece...)
			p := bridge.Part{Text: markup(piece), Plain: text(piece), Silent: m.Kind == bridge.KindNotice}
			if g == replyGroup && i == 0 {
				p.ReplyTo = m.ReplyTo
			}
			parts = append(parts, p)
		}
	}
	return parts
}

// bodyOf returns a message without its card; it is empty only where the card is all there is.
func bodyOf(m bridge.Outgoing) []run {
	if m.Card != nil && m.Text == "" && len(m.Links) == 0 {
		return nil
	}
	style := ""
	if m.Kind == bridge.KindNotice {
		style = "i"
	}
	var body []run
	if author := oneLine(m.Author, maxLine); author != "" {
		body = append(body, run{author + ":", "b"}, run{" ", ""})
	}
	if isBlank(m.Text) && len(m.Links) == 0 {
		body = append(body, run{blankMark, "i"})
	}
	if m.Text != "" {
		body = append(body, run{m.Text, style})
	}
	for i, f := range m.Links {
		if i > 0 || m.Text != "" {
			body = append(body, run{"\n", ""})
		}
		body = append(body, run{fileLine(f), ""})
	}
	return body
}

func fileLine(f bridge.Attachment) string {
	name := oneLine(f.Filename, maxLine)
	if name == "" {
		name = "file"
	}
	line := "📎 " + name
	if f.Size > 0 {
		line += " (" + sizeOf(f.Size) + ")"
	}
	if f.URL != "" {
		line += ": " + strings.Join(strings.Fields(f.URL), "")
	}
	return line
}

// sizeOf writes a size the way people read it: 999 B, 12 kB, 3.4 MB.
func sizeOf(bytes int64) string {
	switch {
	case bytes < 1000:
		return strconv.FormatInt(bytes, 10) + " B"
	case bytes < 1_000_000:
		return fmt.Sprintf("%.0f kB", float64(bytes)/1e3)
	case bytes < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}

// cardOf says in a few lines who a visitor is and where, as far as is known.
func cardOf(s *bridge.Session) []run {
	who := oneLine(s.DisplayName(), maxLine)
	if isBlank(who) {
		who = "Visitor"
	}
	card := []run{{"👤 ", ""}, {who, "b"}}
	more := func(values ...string) string {
		var known []string
		for _, v := range values {
			if v = oneLine(v, maxLine); v != "" {
				known = append(known, v)
			}
		}
		return strings.Join(known, " · ")
	}
	line := func(mark, text string) {
		if text != "" {
			card = append(card, run{"\n" + mark + " " + text, ""})
		}
	}
	var email string
	if s.Identity != nil {
		email = s.Identity.Email
	}
	if contact := more(email, strings.TrimSpace(s.UserPhone+" "+inBrackets(s.UserPhoneCountry))); contact != "" {
		card = append(card, run{" · " + contact, ""})
	}
	if m := s.Metadata; m != nil {
		title, url := oneLine(m.PageTitle, maxLine), oneLine(m.URL, maxURL)
		if title != "" && url != "" {
			title += " — "
		}
		line("📄", title+url)
		line("📍", more(placeOf(m), m.Timezone, m.Language))
		line("💻", more(m.DeviceType, m.Browser, m.OS))
	}
	return card
}

func placeOf(m *bridge.Metadata) string {
	city, country := oneLine(m.City, maxLine), oneLine(m.Country, maxLine)
	if city != "" && country != "" {
		return city + ", " + country
	}
	return city + country
}

func inBrackets(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return "(" + text + ")"
}

// topicName returns a session's topic name; it is never empty, and Telegram neither refuses nor cuts it.
func topicName(s *bridge.Session) string {
	for _, name := range []string{s.DisplayName(), s.VisitorID} {
		if name = oneLine(name, maxTopic); !isBlank(name) {
			return name
		}
	}
	return "Visitor"
}

// oneLine returns a text without control characters and line breaks, cut to limit UTF-16 units with an ellipsis.
func oneLine(s string, limit int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if units(s) <= limit {
		return s
	}
	n := prefix(s, limit-1)
	return strings.TrimSpace(s[:clusterStart(s, n)]) + "…"
}

// text returns the runs without their styles.
func text(runs []run) string {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.text)
	}
	return b.String()
}

// markup returns the runs as Telegram's HTML.
func markup(runs []run) string {
	var b strings.Builder
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	for _, r := range runs {
		if r.text == "" {
			continue
		}
		if r.tag != "" {
			b.WriteString("<" + r.tag + ">")
		}
		_, _ = escape.WriteString(&b, r.text)
		if r.tag != "" {
			b.WriteString("</" + r.tag + ">")
		}
	}
	return b.String()
}

// split cuts runs into pieces of at most limit UTF-16 units.
func split(runs []run, limit int) [][]run {
	var pieces [][]run
	for _, want := range splitText(text(runs), limit) {
		var piece []run
		for left := len(want); left > 0; {
			n := min(left, len(runs[0].text))
			if n > 0 {
				piece = append(piece, run{runs[0].text[:n], runs[0].tag})
			}
			left -= n
			if runs[0].text = runs[0].text[n:]; runs[0].text == "" {
				runs = runs[1:]
			}
		}
		pieces = append(pieces, piece)
	}
	return pieces
}

// splitText cuts a text into pieces of at most limit UTF-16 units that together are the text: after a paragraph, a line or a
// word where one ends in the second half of a piece, else between two characters as people see them.
func splitText(s string, limit int) []string {
	var pieces []string
	for units(s) > limit {
		n := prefix(s, limit)
		cut := 0
		for _, at := range []func(string) int{afterParagraph, afterLine, afterWord} {
			if cut = at(s[:n]); cut > n/2 {
				break
			}
			cut = 0
		}
		if cut == 0 {
			cut = clusterStart(s, n)
		}
		pieces = append(pieces, s[:cut])
		s = s[cut:]
	}
	return append(pieces, s)
}

func afterParagraph(s string) int {
	if i := strings.LastIndex(s, "\n\n"); i >= 0 {
		return i + 2
	}
	return 0
}

func afterLine(s string) int { return strings.LastIndexByte(s, '\n') + 1 }

func afterWord(s string) int {
	i := strings.LastIndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return 0
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return i + size
}

// prefix returns how many bytes of s, in whole runes, have at most limit UTF-16 units.
func prefix(s string, limit int) int {
	n := 0
	for i, r := range s {
		if n += unitsOf(r); n > limit {
			return i
		}
	}
	return len(s)
}

// clusterStart returns the last place at or before n where s may be cut without tearing a character apart that is made of
// several code points. It gives up after maxCluster bytes, so that stacked marks without end do not stop a message.
func clusterStart(s string, n int) int {
	const maxCluster = 128
	for at := n; at > 0 && n-at < maxCluster; {
		if startsCluster(s, at) {
			return at
		}
		_, size := utf8.DecodeLastRuneInString(s[:at])
		at -= size
	}
	return n
}

// startsCluster knows combining marks, joiners, emoji modifiers and tags, flags, and CR LF; not all of Unicode's rules.
func startsCluster(s string, at int) bool {
	const zwj = '\u200d'
	next, _ := utf8.DecodeRuneInString(s[at:])
	prev, _ := utf8.DecodeLastRuneInString(s[:at])
	switch {
	case at >= len(s):
		return true
	case next == zwj || prev == zwj:
		return false
	case unicode.In(next, unicode.Mn, unicode.Me, unicode.Mc):
		return false
	case next >= 0x1f3fb && next <= 0x1f3ff, next >= 0xe0020 && next <= 0xe007f:
		return false
	case prev == '\r' && next == '\n':
		return false
	case isFlagLetter(next):
		letters := 0
		for rest := s[:at]; ; letters++ {
			r, size := utf8.DecodeLastRuneInString(rest)
			if !isFlagLetter(r) {
				break
			}
			rest = rest[:len(rest)-size]
		}
		return letters%2 == 0
	}
	return true
}

func isFlagLetter(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// units returns the length of a text as Telegram counts it, in UTF-16 code units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n += unitsOf(r)
	}
	return n
}

func unitsOf(r rune) int {
	if r >= 0x10000 {
		return 2
	}
	return 1
}

// isBlank says whether a text shows nothing, so that Telegram would take it for empty.
func isBlank(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return false
		case r == '\u2800', r == '\u3164', r == '\uffa0', r == '\u115f', r == '\u1160':
			return false
		}
		return true
	})
}
