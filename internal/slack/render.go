package slack

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

const (
	// maxPart is the longest text of a part, in UTF-16 units. Slack names no limit for rich text but takes some 13 000 characters
	// in all blocks of a message together; a section's limit of 3000 is the one that it gives for other blocks.
	maxPart = 3000
	// maxMerged is of what is merged; the rest is for edits and markup.
	maxMerged = 2000
	// maxFallback is the longest text beside blocks, in characters. Longer ones are cut on posting and refused on editing.
	maxFallback = 4000

	maxQuote     = 150
	filesPerPart = 10
)

// style is how a stretch of text looks.
type style uint8

const (
	plainly style = iota
	bold
	italic
	// person is the id of a user or a group, or here, instead of a text: they are called.
	person
)

// run is a stretch of text in one style. A message is a list of runs; it is split before it becomes blocks.
type run struct {
	text string
	is   style
}

// Shown implements platform.Run. A person who is called is no text.
func (r run) Shown() string {
	if r.is == person {
		return ""
	}
	return r.text
}

// Part implements platform.Run.
func (r run) Part(from, to int) run { return run{r.text[from:to], r.is} }

// Render implements bridge.Platform. A part's markup is Slack's blocks: rich text, whose texts Slack takes as they are, so that
// *stars*, <!channel> and :smile: are shown as they were typed and ping nobody. The parts' plain texts, put together, are the whole
// text.
//
// What rings: a reply in a thread rings for those who follow the thread, which who has written there or was mentioned there does
// (https://slack.com/help/articles/115000769927); reply_broadcast shows it in the channel, too, and makes that unread
// (https://docs.slack.dev/reference/methods/chat.postMessage); an element user, usergroup or broadcast of rich text mentions, and that
// rings (https://docs.slack.dev/reference/block-kit/blocks/rich-text-block). A message cannot be made silent.
func (s *Slack) Render(m bridge.Outgoing) []bridge.Part {
	if m.Notify && s.config.Notify != "" {
		m.Mention = append(slices.Clone(m.Mention), s.config.Notify)
	}
	return render(m, isFlat(m.Thread))
}

// render makes a message's parts. In a flat place each says who the visitor is.
func render(m bridge.Outgoing, flat bool) []bridge.Part {
	var head []run
	if name := measure.OneLine(m.Visitor, platform.MaxLine); name != "" && flat {
		head = []run{{name, bold}, {"\n", plainly}}
	}
	limit := maxPart - measure.Units(platform.Text(head))
	groups := [][]run{bodyOf(m)}
	if m.Card != nil {
		card := cardOf(bridge.Card{Session: m.Card})
		switch {
		case len(groups[0]) == 0:
			groups[0] = card
		case measure.Units(platform.Text(card))+2+measure.Units(platform.Text(groups[0])) <= limit:
			groups[0] = slices.Concat(card, []run{{"\n\n", plainly}}, groups[0])
		default:
			groups = [][]run{card, groups[0]}
		}
	}
	quote := quoteOf(m.Quote)
	mention := slices.DeleteFunc(slices.Clone(m.Mention), func(id string) bool {
		return id != notifyHere && !userID.MatchString(id) && !groupID.MatchString(id)
	})
	var parts []bridge.Part
	for g, group := range groups {
		if len(group) == 0 {
			continue
		}
		for i, piece := range platform.Split(group, limit) {
			if measure.IsBlank(platform.Text(piece)) {
				// Slack shows nothing for it, or refuses it. Such a piece is white space only and far from the limit.
				piece = slices.Concat([]run{{platform.BlankMark(), italic}}, piece)
			}
			piece = slices.Concat(head, piece)
			p := partOf(quotation{}, nil, piece)
			if g == len(groups)-1 && i == 0 {
				p = partOf(quote, mention, piece)
				p.ReplyTo, p.Broadcast = m.ReplyTo, m.Broadcast && !flat
			}
			p.Silent, p.Face, p.Caption = m.IsSilent(), m.Face, m.Caption
			parts = append(parts, p)
		}
	}
	if n := len(parts); n > 0 {
		parts[n-1].Buttons = m.Buttons
	}
	chunks := slices.Collect(slices.Chunk(m.Files, filesPerPart))
	if len(chunks) > 0 && len(parts) == 1 && !m.Apart && !parts[0].Broadcast { // the share of a file cannot be shown in the channel, too
		parts[0].Files, parts[0].Caption, chunks = chunks[0], true, chunks[1:]
	}
	for _, files := range chunks {
		parts = append(parts, bridge.Part{Files: files, Silent: m.IsSilent(), Face: m.Face})
	}
	return parts
}

// partOf returns runs as a part, behind what they reply to and those who are called.
func partOf(q quotation, called []string, runs []run) bridge.Part {
	plain := q.plain() + platform.Text(runs)
	return bridge.Part{Text: plain, Plain: plain, Markup: markup(q, slices.Concat(calls(called), runs)), Mention: called}
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
	if author := measure.OneLine(m.Author, platform.MaxLine); author != "" {
		body = append(body, run{author + ":", bold}, run{" ", plainly})
	}
	if measure.IsBlank(m.Text) && len(m.Links) == 0 && len(m.Files) == 0 {
		body = append(body, run{platform.BlankMark(), italic})
	}
	if m.Text != "" {
		body = append(body, run{m.Text, look})
	}
	for i, f := range m.Links {
		if i > 0 || m.Text != "" {
			body = append(body, run{"\n", plainly})
		}
		label, address := platform.FileLine(f)
		body = append(body, run{label + address, plainly})
	}
	return body
}

// userID matches the id of a person, groupID that of a user group, who can be called.
var (
	userID  = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	groupID = regexp.MustCompile(`^S[A-Z0-9]+$`)
)

// notifyHere calls those of the channel who are there.
const notifyHere = "here"

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
	out := quotation{cmp.Or(measure.OneLine(q.Author, platform.MaxLine), words.Get().Visitor), measure.OneLine(q.Text, maxQuote)}
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

// cardOf says in a few lines who a visitor is and where, as far as is known. It fits into one part.
func cardOf(c bridge.Card) []run {
	known := platform.CardOf(c.Session)
	card := []run{{"👤 ", plainly}, {known.Who, bold}}
	if known.Contact != "" {
		card = append(card, run{" · " + known.Contact, plainly})
	}
	for _, line := range append(platform.StateOf(c), known.Lines...) {
		card = append(card, run{"\n" + line.Mark + " " + line.Text + line.URL, plainly})
	}
	return card
}

// markup returns a quotation, if there is one, and runs as blocks.
func markup(q quotation, runs []run) []slackapi.Block {
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
	return []slackapi.Block{slackapi.NewRichTextBlock("", elements...)}
}

// pieces returns a run as elements of rich text. Addresses of web pages become links that read as they were typed; nothing else
// has a meaning.
func pieces(r run) []slackapi.RichTextSectionElement {
	if r.is == person {
		switch {
		case r.text == notifyHere:
			return []slackapi.RichTextSectionElement{slackapi.NewRichTextSectionBroadcastElement(notifyHere)}
		case groupID.MatchString(r.text):
			return []slackapi.RichTextSectionElement{slackapi.NewRichTextSectionUserGroupElement(r.text)}
		}
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

var webAddress = regexp.MustCompile(`https?://[^\s<>"|\\^{}]+`)

// addresses finds the addresses of web pages in a text, as pairs of offsets.
func addresses(text string) [][]int {
	if !strings.Contains(text, "://") {
		return nil
	}
	found := webAddress.FindAllStringIndex(text, -1)
	for _, at := range found {
		at[1] = at[0] + len(strings.TrimRight(text[at[0]:at[1]], ".,;:!?'*_~`)]"))
	}
	return slices.DeleteFunc(found, func(at []int) bool {
		u, err := url.Parse(text[at[0]:at[1]])
		return err != nil || u.Host == "" || at[1]-at[0] > platform.MaxURL
	})
}

// fallback returns a plain text as it stands beside blocks, for notifications, or alone: with Slack's escapes, so that nothing
// in it has a meaning, and as much of it as Slack takes.
func fallback(plain string) string {
	out := escaped(plain)
	for utf8.RuneCountInString(out) > maxFallback {
		runes := []rune(plain)
		plain = string(runes[:len(runes)-max(1, (utf8.RuneCountInString(out)-maxFallback)/5)])
		out = escaped(plain)
	}
	return out
}
