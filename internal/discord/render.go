package discord

import (
	"regexp"
	"slices"
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	maxText   = 2000 // of a message ("Create Message" of the documentation)
	maxMerged = 1400 // of what is merged; the rest is for edits
	maxName   = 100  // of a thread's name
	maxFiles  = 10   // of one message (30015)
	maxTitle  = 256  // of an embed
	maxAbout  = 4096 // of an embed's description
	maxFooter = 2048

	// maxUpload is what may be in the files of one message, in bytes. The limit of a server without boosts has been 10 MiB and is
	// no lower anywhere; what the request has besides the files is taken off.
	maxUpload = 10<<20 - 64<<10

	cardColor = 0x5865f2
)

// Render implements bridge.Platform. The parts' plain texts, put together, are the whole text. In a channel without threads every
// part says who the visitor is. As many files as one message takes go with a text that is one part.
func (d *Discord) Render(m bridge.Outgoing) []bridge.Part {
	if m.Notify && d.notify != "" {
		m.Mention = append(slices.Clone(m.Mention), d.notify)
	}
	return render(m)
}

func render(m bridge.Outgoing) []bridge.Part {
	var head []run
	if name := measure.OneLine(m.Visitor, platform.MaxLine); name != "" && isFlat(m.Thread) {
		head = []run{{name, bold}, {"\n", plain}}
	}
	body := bodyOf(m)
	if slices.Contains(m.Mention, notifyHere) { // Discord allows @here in the whole of a message or not at all
		head, body = untagged(head), untagged(body)
	}
	mention := mentions(m.Mention)
	limit := maxText - cost(head) - cost(mention)

	var parts []bridge.Part
	if len(body) > 0 {
		for i, piece := range split(body, limit) {
			if measure.IsBlank(platform.Text(piece)) {
				// Discord refuses what shows nothing. Of that there may be as much as a message takes, and the mark has its place.
				mark := run{platform.BlankMark(), plain}
				piece = append([]run{mark}, split(piece, limit-cost([]run{mark}))[0]...)
			}
			piece = append(append([]run{}, head...), piece...)
			p := bridge.Part{Silent: m.IsSilent(), ReplyTo: followUp(m.ReplyTo), Caption: m.Caption, Face: m.Face}
			if i == 0 {
				if bare, ok := withoutAuthor(m, piece); ok {
					p.Faced = new(markup(append(slices.Clone(mention), bare...)))
				}
				piece = append(mention, piece...)
				p.ReplyTo, p.Mention = m.ReplyTo, m.Mention
			}
			p.Text = markup(piece)
			if bare := platform.Text(piece); bare != p.Text {
				p.Plain = bare
			}
			parts = append(parts, p)
		}
		parts[len(parts)-1].Buttons = m.Buttons
	}
	groups := grouped(m.Files)
	if len(groups) > 0 && len(parts) == 1 && !m.Apart && !isInteraction(m.ReplyTo) {
		parts[0].Files, parts[0].Caption, groups = groups[0], true, groups[1:]
	}
	if len(parts) > 0 && parts[0].Faced != nil && *parts[0].Faced == "" && !parts[0].Caption {
		parts[0].Faced = nil // Discord refuses what shows nothing: the name stays
	}
	for _, files := range groups {
		p := bridge.Part{Silent: m.IsSilent(), Files: files, Face: m.Face}
		if len(parts) == 0 {
			p.ReplyTo = m.ReplyTo
		}
		parts = append(parts, p)
	}
	return parts
}

// withoutAuthor returns the first piece of a message in a thread without the author's name in front. ok is false where there is none.
func withoutAuthor(m bridge.Outgoing, piece []run) (bare []run, ok bool) {
	who := speakerOf(m)
	if who == "" || isFlat(m.Thread) || len(piece) == 0 || piece[0].text != who+":" {
		return nil, false
	}
	return piece[min(2, len(piece)):], true
}

// speakerOf is who a message says that it is by, where the bot shows it: its author, or in a thread the visitor.
func speakerOf(m bridge.Outgoing) string {
	if author := measure.OneLine(m.Author, platform.MaxLine); author != "" || isFlat(m.Thread) {
		return author
	}
	return measure.OneLine(m.Face.Name, platform.MaxLine)
}

// Whom a part mentions besides users: those in the channel who are there, or a role.
const (
	notifyHere = "here"
	roleMark   = "&" // stands before a role's id
)

var everyone = regexp.MustCompile(`(?i)@(everyone|here)`)

// untagged returns runs in which nothing calls everyone.
func untagged(runs []run) []run {
	const wordJoiner = "\u2060"
	out := slices.Clone(runs)
	for i, r := range out {
		out[i].text = everyone.ReplaceAllString(r.text, "@"+wordJoiner+"$1")
	}
	return out
}

// callLine matches the line in which people are called. Who is there may be others when a message is sent again.
var callLine = regexp.MustCompile(`^(?:(?:<@&?[0-9]+>|@here) ?)+\n`)

// mentions are the people who are called by name, in a line of their own.
func mentions(ids []string) []run {
	var called []string
	for _, id := range ids {
		role, isRole := strings.CutPrefix(id, roleMark)
		f, ok := parseSnowflake(role)
		switch {
		case id == notifyHere:
			called = append(called, "@here")
		case ok && isRole:
			called = append(called, "<@&"+f.String()+">")
		case ok:
			called = append(called, "<@"+f.String()+">")
		}
	}
	if len(called) == 0 {
		return nil
	}
	return []run{{strings.Join(called, " ") + "\n", raw}}
}

// bodyOf returns a message's text; nothing where its files are all there is, and what they reply to says whose they are.
func bodyOf(m bridge.Outgoing) []run {
	who := speakerOf(m)
	isBare := measure.IsBlank(m.Text) && len(m.Links) == 0
	if isBare && len(m.Files) > 0 && (who == "" || m.Author == "" && m.ReplyTo != "") {
		return nil
	}
	style := plain
	if m.Kind == bridge.KindNotice {
		style = small
	}
	var body []run
	if who != "" {
		body = append(body, run{who + ":", bold}, run{" ", plain})
	}
	switch {
	case isBare && len(m.Files) > 0 && m.Apart:
		return append(body, run{"📎", plain})
	case isBare && len(m.Files) > 0:
		return body[:1]
	case isBare:
		body = append(body, run{platform.BlankMark(), plain})
	}
	switch {
	case m.Text == "":
	case m.Foreign:
		body = append(body, run{m.Text, style})
	default:
		body = append(body, ownRuns(m.Text, style)...)
	}
	for i, f := range m.Links {
		if i > 0 || m.Text != "" {
			body = append(body, run{"\n", plain})
		}
		label, address := platform.FileLine(f)
		body = append(body, run{label, plain}, run{address, plain})
	}
	return body
}

// grouped puts files together that fit into one message.
func grouped(files []bridge.Attachment) [][]bridge.Attachment {
	var groups [][]bridge.Attachment
	var size int64
	for _, f := range files {
		last := len(groups) - 1
		if last < 0 || len(groups[last]) == maxFiles || size+f.Size > maxUpload {
			groups, size, last = append(groups, nil), 0, last+1
		}
		groups[last] = append(groups[last], f)
		size += f.Size
	}
	return groups
}

// cardOf says in an embed who a visitor is and where, as far as is known. The footer names the session: by it a card is
// recognised whose answer was lost.
func cardOf(c bridge.Card) *discordgo.MessageEmbed {
	known := platform.CardOf(c.Session)
	if known.Contact != "" {
		known.Lines = append([]platform.CardLine{{Mark: "✉️", Text: known.Contact}}, known.Lines...)
	}
	var lines []run
	for _, line := range append(platform.StateOf(c), known.Lines...) {
		if len(lines) > 0 {
			lines = append(lines, run{"\n", plain})
		}
		lines = append(lines, run{line.Mark + " ", plain}, run{line.Text, plain}, run{line.URL, plain})
	}
	title := []run{{"👤 " + known.Who, plain}}
	return &discordgo.MessageEmbed{
		Title:       markup(split(title, maxTitle)[0]),
		Description: markup(split(lines, maxAbout)[0]),
		Color:       cardColor,
		Footer:      &discordgo.MessageEmbedFooter{Text: footerOf(c.Session)},
	}
}

func footerOf(s *bridge.Session) string { return "Session " + measure.OneLine(s.ID, maxFooter-100) }
