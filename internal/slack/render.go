package slack

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

const (
	// maxPart is the longest text of a part, in UTF-16 units. Slack names no limit for rich text but takes some 13 000 characters
	// in all blocks of a message together; a section's limit of 3000 is the one that it gives for other blocks.
	maxPart = 3000
	// maxFallback is the longest text beside blocks, in characters. Longer ones are cut on posting and refused on editing.
	maxFallback = 4000

	// maxLine and maxURL keep a card well below a message: its fields are the app server's and may have any length.
	maxLine  = 200
	maxURL   = 1000
	maxQuote = 150

	filesPerPart = 10

	blankMark = "(blank)"
)

// style is how a stretch of text looks.
type style uint8

const (
	plainly style = iota
	bold
	italic
	// person is a user's id instead of a text: the user is called.
	person
)

// run is a stretch of text in one style. A message is a list of runs; it is split before it becomes blocks.
type run struct {
	text string
	is   style
}

// Render implements bridge.Platform. A part's text is Slack's blocks as JSON: rich text, whose texts Slack takes as they are, so
// that *stars*, <!channel> and :smile: are shown as they were typed and ping nobody. The parts' plain texts, put together, are
// the whole text.
func (s *Slack) Render(m bridge.Outgoing) []bridge.Part { return render(m, isFlat(m.Thread)) }

// render makes a message's parts. In a flat place each says who the visitor is.
func render(m bridge.Outgoing, flat bool) []bridge.Part {
	var head []run
	if name := measure.OneLine(m.Visitor, maxLine); name != "" && flat {
		head = []run{{name, bold}, {"\n", plainly}}
	}
	limit := maxPart - measure.Units(text(head))
	groups := [][]run{bodyOf(m)}
	if m.Card != nil {
		card := cardOf(m.Card)
		switch {
		case len(groups[0]) == 0:
			groups[0] = card
		case measure.Units(text(card))+2+measure.Units(text(groups[0])) <= limit:
			groups[0] = slices.Concat(card, []run{{"\n\n", plainly}}, groups[0])
		default:
			groups = [][]run{card, groups[0]}
		}
	}
	quote := quoteOf(m.Quote)
	mention := slices.DeleteFunc(slices.Clone(m.Mention), func(id string) bool { return !isUser(id) })
	var parts []bridge.Part
	for g, group := range groups {
		if len(group) == 0 {
			continue
		}
		for i, piece := range split(group, limit) {
			if measure.IsBlank(text(piece)) {
				// Slack shows nothing for it, or refuses it. Such a piece is white space only and far from the limit.
				piece = slices.Concat([]run{{blankMark, italic}}, piece)
			}
			piece = slices.Concat(head, piece)
			p := bridge.Part{Silent: m.Kind == bridge.KindNotice}
			if g == len(groups)-1 && i == 0 {
				p.ReplyTo = m.ReplyTo
				p.Mention = mention
				p.Text, p.Plain = markup(quote, slices.Concat(calls(mention), piece)), quote.plain()+text(piece)
			} else {
				p.Text, p.Plain = markup(quotation{}, piece), text(piece)
			}
			parts = append(parts, p)
		}
	}
	for files := range slices.Chunk(m.Files, filesPerPart) {
		parts = append(parts, bridge.Part{Files: files, Silent: m.Kind == bridge.KindNotice})
	}
	return parts
}

// bodyOf returns a message without its card; it is empty only where the card or the files are all there is.
func bodyOf(m bridge.Outgoing) []run {
	if m.Text == "" && len(m.Links) == 0 && (m.Card != nil || len(m.Files) > 0 && m.Author == "" && m.Quote == nil) {
		return nil
	}
	look := plainly
	if m.Kind == bridge.KindNotice {
		look = italic
	}
	var body []run
	if author := measure.OneLine(m.Author, maxLine); author != "" {
		body = append(body, run{author + ":", bold}, run{" ", plainly})
	}
	if measure.IsBlank(m.Text) && len(m.Links) == 0 && len(m.Files) == 0 {
		body = append(body, run{blankMark, italic})
	}
	if m.Text != "" {
		body = append(body, run{m.Text, look})
	}
	for i, f := range m.Links {
		if i > 0 || m.Text != "" {
			body = append(body, run{"\n", plainly})
		}
		body = append(body, run{fileLine(f), plainly})
	}
	return body
}

// isUser says whether an id is one of a person, who can be called.
func isUser(id string) bool {
	ok, err := regexp.MatchString(`^[UW][A-Z0-9]+$`, id)
	return ok && err == nil
}

// calls are the operators who are called in front of a text.
func calls(users []string) []run {
	var out []run
	for _, id := range users {
		out = append(out, run{id, person}, run{" ", plainly})
	}
	return out
}

// quotation is what a message replies to.
type quotation struct{ author, text string }

func quoteOf(q *bridge.Quote) quotation {
	if q == nil {
		return quotation{}
	}
	out := quotation{author: measure.OneLine(q.Author, maxLine), text: measure.OneLine(q.Text, maxQuote)}
	if out.author == "" {
		out.author = "Visitor"
	}
	if measure.IsBlank(out.text) {
		out.text = "…"
	}
	return out
}

func (q quotation) plain() string {
	if q.text == "" {
		return ""
	}
	return "> " + q.author + ": " + q.text + "\n"
}

func fileLine(f bridge.Attachment) string {
	name := measure.OneLine(f.Filename, maxLine)
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

// cardOf says in a few lines who a visitor is and where, as far as is known. It fits into one part.
func cardOf(s *bridge.Session) []run {
	who := measure.OneLine(s.DisplayName(), maxLine)
	if measure.IsBlank(who) {
		who = "Visitor"
	}
	card := []run{{"👤 ", plainly}, {who, bold}}
	more := func(values ...string) string {
		var known []string
		for _, v := range values {
			if v = measure.OneLine(v, maxLine); v != "" {
				known = append(known, v)
			}
		}
		return strings.Join(known, " · ")
	}
	line := func(mark, text string) {
		if text != "" {
			card = append(card, run{"\n" + mark + " " + text, plainly})
		}
	}
	var email string
	if s.Identity != nil {
		email = s.Identity.Email
	}
	if contact := more(email, strings.TrimSpace(s.UserPhone+" "+inBrackets(s.UserPhoneCountry))); contact != "" {
		card = append(card, run{" · " + contact, plainly})
	}
	if m := s.Metadata; m != nil {
		title, page := measure.OneLine(m.PageTitle, maxLine), measure.OneLine(m.URL, maxURL)
		if title != "" && page != "" {
			title += " — "
		}
		line("📄", title+page)
		line("📍", more(placeOf(m), m.Timezone, m.Language))
		line("💻", more(m.DeviceType, m.Browser, m.OS))
	}
	return card
}

func placeOf(m *bridge.Metadata) string {
	city, country := measure.OneLine(m.City, maxLine), measure.OneLine(m.Country, maxLine)
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

// text returns the runs as plain text, without those who are called.
func text(runs []run) string {
	var b strings.Builder
	for _, r := range runs {
		if r.is != person {
			b.WriteString(r.text)
		}
	}
	return b.String()
}

// markup returns a quotation, if there is one, and runs as blocks in JSON.
func markup(q quotation, runs []run) string {
	var elements []slackapi.RichTextElement
	if q.text != "" {
		elements = append(elements, &slackapi.RichTextQuote{Type: slackapi.RTEQuote,
			Elements: slices.Concat(pieces(run{q.author + ": ", bold}), pieces(run{q.text, plainly}))})
	}
	var section []slackapi.RichTextSectionElement
	for _, r := range runs {
		section = append(section, pieces(r)...)
	}
	elements = append(elements, slackapi.NewRichTextSection(section...))
	out, err := json.Marshal([]slackapi.Block{slackapi.NewRichTextBlock("", elements...)})
	if err != nil {
		return "" // these types have nothing that cannot be written
	}
	return string(out)
}

// pieces returns a run as elements of rich text. Addresses of web pages become links that read as they were typed; nothing else
// has a meaning.
func pieces(r run) []slackapi.RichTextSectionElement {
	if r.is == person {
		return []slackapi.RichTextSectionElement{slackapi.NewRichTextSectionUserElement(r.text, nil)}
	}
	var look *slackapi.RichTextSectionTextStyle
	if r.is != plainly {
		look = &slackapi.RichTextSectionTextStyle{Bold: r.is == bold, Italic: r.is == italic}
	}
	var out []slackapi.RichTextSectionElement
	say := func(text string) {
		if text != "" {
			out = append(out, slackapi.NewRichTextSectionTextElement(text, look))
		}
	}
	rest := r.text
	for _, at := range addresses(r.text) {
		address := r.text[at[0]:at[1]]
		say(rest[:at[0]-(len(r.text)-len(rest))])
		out = append(out, slackapi.NewRichTextSectionLinkElement(address, address, look))
		rest = r.text[at[1]:]
	}
	say(rest)
	return out
}

// addresses finds the addresses of web pages in a text, as pairs of offsets.
func addresses(text string) [][]int {
	if !strings.Contains(text, "://") {
		return nil
	}
	found := regexp.MustCompile(`https?://[^\s<>"|\\^{}]+`).FindAllStringIndex(text, -1)
	for _, at := range found {
		at[1] = at[0] + len(strings.TrimRight(text[at[0]:at[1]], ".,;:!?'*_~`)]"))
	}
	return slices.DeleteFunc(found, func(at []int) bool {
		u, err := url.Parse(text[at[0]:at[1]])
		return err != nil || u.Host == "" || at[1]-at[0] > maxURL
	})
}

// fallback returns a plain text as it stands beside blocks, for notifications, or alone: with Slack's escapes, so that nothing
// in it has a meaning, and as much of it as Slack takes.
func fallback(plain string) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	out := escape.Replace(plain)
	for utf8.RuneCountInString(out) > maxFallback {
		runes := []rune(plain)
		plain = string(runes[:len(runes)-max(1, (utf8.RuneCountInString(out)-maxFallback)/5)])
		out = escape.Replace(plain)
	}
	return out
}

// split cuts runs into pieces of at most limit UTF-16 units.
func split(runs []run, limit int) [][]run {
	var out [][]run
	for _, want := range measure.Split(text(runs), limit) {
		var piece []run
		for left := len(want); left > 0; {
			n := min(left, len(runs[0].text))
			if n > 0 {
				piece = append(piece, run{runs[0].text[:n], runs[0].is})
			}
			left -= n
			if runs[0].text = runs[0].text[n:]; runs[0].text == "" {
				runs = runs[1:]
			}
		}
		out = append(out, piece)
	}
	return out
}
