package telegram

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	maxText    = 4096 // UTF-16 units of a message after its markup is parsed
	maxCaption = 1024 // UTF-16 units of what stands beside a file, likewise
	maxTopic   = 128  // UTF-16 units of a topic's name

	maxMerged = 3500 // UTF-16 units of what is merged; the rest is for edits

	callMark = "🔔" // the text of a link that pings somebody: his name is not known here

	// maxLinks is how many names of a part are links, well below the hundred marks that Telegram keeps of a message.
	maxLinks = 80
)

// run is a stretch of text in one style. A message is a list of runs; it is split before it becomes markup, so no part ever
// has half a tag, and its length is the one that Telegram counts.
type run struct {
	text string
	tag  string // the HTML tag: b, i or empty
	link string // the target of a link around it, or empty
}

// Shown implements platform.Run.
func (r run) Shown() string { return r.text }

// Part implements platform.Run.
func (r run) Part(from, to int) run { return run{r.text[from:to], r.tag, r.link} }

// Render implements bridge.Platform. A card stands before the text, in the same part if that fits. In a chat without topics
// every part with a text says who the visitor is. The parts' plain texts, put together, are the whole text. Files follow, as many
// to a part as one call takes, the first ones with the text where that fits beside them; where nothing is said beside them and it would
// not be known whose they are, a text names them.
func (t *Telegram) Render(m bridge.Outgoing) []bridge.Part { return render(m) }

func render(m bridge.Outgoing) []bridge.Part {
	var head []run
	if name := measure.OneLine(m.Visitor, maxTopic); name != "" && isFlat(m.Thread) {
		head = []run{{text: untappable(name), tag: "b"}, {text: "\n"}}
	}
	limit := maxText - measure.Units(platform.Text(head))
	if m.Caption {
		limit = maxCaption - measure.Units(platform.Text(head))
	}

	body := bodyOf(m, len(head) > 0)
	var groups [][]run
	replyGroup := 0
	switch {
	case m.Card != nil:
		card := cardOf(m.Card)
		switch {
		case len(body) == 0:
			groups = [][]run{card}
		case measure.Units(platform.Text(card))+2+measure.Units(platform.Text(body)) <= limit:
			groups = [][]run{append(append(card, run{text: "\n\n"}), body...)}
		default:
			groups, replyGroup = [][]run{card, body}, 1
		}
	case len(body) > 0:
		groups = [][]run{body}
	}

	var parts []bridge.Part
	buttons := -1 // the part under which they stand
	for g, group := range groups {
		for i, piece := range platform.Split(group, limit) {
			if measure.IsBlank(platform.Text(piece)) {
				// Telegram refuses what shows nothing. Such a piece is white space only and far from the limit.
				piece = append([]run{{text: platform.BlankMark(), tag: "i"}}, piece...)
			}
			piece = append(append([]run{}, head...), piece...)
			p := bridge.Part{Text: markup(piece), Plain: platform.Text(piece), Silent: m.IsSilent(), Caption: m.Caption}
			if g == replyGroup && i == 0 {
				p.ReplyTo, p.Excerpt, p.Mention = m.ReplyTo, m.Excerpt, called(m)
			}
			if parts = append(parts, p); m.Card == nil || g == 0 {
				buttons = len(parts) - 1
			}
		}
	}
	if buttons >= 0 {
		parts[buttons].Buttons = m.Buttons
	}
	files := batches(m.Files)
	if len(files) > 0 && len(parts) == 1 && !m.Apart && m.Card == nil && measure.Units(parts[0].Plain) <= maxCaption {
		parts[0].Files, parts[0].Caption, files = files[0], true, files[1:]
	}
	for _, files := range files {
		p := bridge.Part{Files: files, Silent: m.IsSilent()}
		if len(parts) == 0 {
			p.ReplyTo = m.ReplyTo
		}
		parts = append(parts, p)
	}
	return parts
}

// bodyOf returns a message without its card and its files; it is empty only where these are all there is. named says that
// something stands before it that makes no sense alone.
func bodyOf(m bridge.Outgoing, named bool) []run {
	author := measure.OneLine(m.Author, platform.MaxLine)
	links := m.Links
	if len(m.Files) > 0 && measure.IsBlank(m.Text) {
		m.Text = ""
		if len(links) == 0 && (named && m.Card == nil || author != "" && (m.Apart || m.Card != nil)) {
			links = withoutURLs(m.Files)
		}
	}
	ids := called(m)
	if m.Text == "" && len(links) == 0 && len(ids) == 0 && (m.Card != nil || len(m.Files) > 0 && author == "") {
		return nil
	}
	style := ""
	if m.Kind == bridge.KindNotice {
		style = "i"
	}
	var body []run
	for _, id := range ids {
		body = append(body, run{text: callMark, link: "tg://user?id=" + id})
	}
	if len(ids) > 0 {
		body = append(body, run{text: " "})
	}
	if author != "" {
		body = append(body, run{text: author + ":", tag: "b"})
	}
	if author != "" && (m.Text != "" || len(links) > 0 || len(m.Files) == 0) {
		body = append(body, run{text: " "})
	}
	if measure.IsBlank(m.Text) && len(links) == 0 && len(m.Files) == 0 && len(ids) == 0 {
		body = append(body, run{text: platform.BlankMark(), tag: "i"})
	}
	if m.Text != "" {
		text := m.Text
		if m.Foreign {
			text = untappable(text)
		}
		body = append(body, run{text: text, tag: style})
	}
	for i, f := range links {
		if i > 0 || m.Text != "" {
			body = append(body, run{text: "\n"})
		}
		label, address := platform.FileLine(f)
		body = append(body, run{text: label + address})
	}
	return body
}

// untappable returns a text in which Telegram finds no command of the bridge: whoever reads a visitor's “/close” and touches it would
// give it. A word joiner, which nobody sees, stands behind the slash.
func untappable(s string) string {
	const wordJoiner = "\u2060"
	if !strings.Contains(s, "/") {
		return s
	}
	var out strings.Builder
	before := ' '
	for rest := s; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		out.WriteString(rest[:size])
		rest = rest[size:]
		next, _ := utf8.DecodeRuneInString(rest)
		if r == '/' && !strings.ContainsRune("/<>", before) && !isWord(before) && isWord(next) { // as tdlib finds commands
			out.WriteString(wordJoiner)
		}
		before = r
	}
	return out.String()
}

// called returns the ids of people who are to be pinged: users of Telegram alone can be.
func called(m bridge.Outgoing) []string {
	var ids []string
	for _, id := range m.Mention {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil && n > 0 && len(ids) < maxLinks {
			ids = append(ids, id)
		}
	}
	return ids
}

func withoutURLs(files []bridge.Attachment) []bridge.Attachment {
	out := make([]bridge.Attachment, 0, len(files))
	for _, f := range files {
		out = append(out, bridge.Attachment{Filename: f.Filename, Size: f.Size})
	}
	return out
}

// cardOf says in a few lines who a visitor is and where, as far as is known.
func cardOf(s *bridge.Session) []run {
	known := platform.CardOf(s)
	card := []run{{text: "👤 "}, {text: untappable(known.Who), tag: "b"}}
	if known.Contact != "" {
		card = append(card, run{text: " · " + known.Contact})
	}
	for _, line := range known.Lines {
		card = append(card, run{text: "\n" + line.Mark + " " + untappable(line.Text+line.URL)})
	}
	return card
}

// markup returns the runs as Telegram's HTML. Whatever Telegram would take for the name of a user, and ping him, becomes a link
// to that name: it looks the same and pings nobody.
func markup(runs []run) string {
	var b strings.Builder
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")
	put := func(text, link string) {
		if link != "" {
			b.WriteString(`<a href="` + escape.Replace(link) + `">`)
		}
		_, _ = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").WriteString(&b, text)
		if link != "" {
			b.WriteString("</a>")
		}
	}
	links := 0
	for _, r := range runs {
		if r.text == "" {
			continue
		}
		if r.tag != "" {
			b.WriteString("<" + r.tag + ">")
		}
		done := 0
		for r.link == "" {
			from, to, target := username(r.text, done)
			if target == "" {
				break
			}
			put(r.text[done:from], "")
			if links++; links > maxLinks {
				target = ""
			}
			name := r.text[from:to]
			if target == "" {
				name = strings.ReplaceAll(name, "@", "@\u2060") // no name any more
			}
			put(name, target)
			done = to
		}
		put(r.text[done:], r.link)
		if r.tag != "" {
			b.WriteString("</" + r.tag + ">")
		}
	}
	return b.String()
}

// username returns where, from a byte of a text on, the first thing stands that Telegram takes for the name of a user, and what
// to link it to; nothing when there is none. A name is an @ behind no letter or digit, and 2 to 32 letters, digits and
// underscores with none behind them. In a URL it is none, but a link within one would undo it: there the URL is what is linked.
func username(s string, begin int) (from, to int, target string) {
	for i := begin; i < len(s); i++ {
		if s[i] != '@' {
			continue
		}
		n := nameEnd(s, i+1)
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[n:])
		if n-i < 3 || n-i > 33 || i > 0 && isWord(before) || n < len(s) && isWord(after) {
			continue
		}
		if from, to := webAddress(s, begin, i); to >= n {
			return from, to, s[from:to]
		}
		return i, n, "https://t.me/" + s[i+1:n]
	}
	return 0, 0, ""
}

// webAddress returns where the web address lies around the byte i, none of it before begin; 0, 0 when there is none.
func webAddress(s string, begin, i int) (from, to int) {
	from = begin
	for j, r := range s[begin:i] {
		if unicode.IsSpace(r) {
			from = begin + j + utf8.RuneLen(r)
		}
	}
	scheme := strings.Index(s[from:i], "http")
	if scheme < 0 {
		return 0, 0
	}
	from += scheme
	to = len(s)
	if end := strings.IndexFunc(s[i:], unicode.IsSpace); end >= 0 {
		to = i + end
	}
	to = from + len(strings.TrimRight(s[from:to], `.,;:!?'")]}>`))
	u, err := url.Parse(s[from:to])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return 0, 0
	}
	labels := strings.Split(u.Hostname(), ".")
	for _, label := range labels {
		if label == "" || strings.Trim(label, "-") != label || strings.ContainsFunc(label, func(r rune) bool {
			return r >= utf8.RuneSelf || r != '-' && !isWord(r)
		}) {
			return 0, 0
		}
	}
	if last := labels[len(labels)-1]; len(labels) < 2 || len(last) < 2 || strings.ContainsAny(last, "0123456789_-") {
		return 0, 0
	}
	return from, to
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
