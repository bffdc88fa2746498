package discord

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

const (
	maxText   = 2000 // of a message ("Create Message" of the documentation)
	maxName   = 100  // of a thread's name
	maxFiles  = 10   // of one message (30015)
	maxTitle  = 256  // of an embed
	maxAbout  = 4096 // of an embed's description
	maxFooter = 2048

	// maxLine and maxURL keep a card short: its fields are the app server's and may have any length.
	maxLine = 200
	maxURL  = 1000

	// maxUpload is what may be in the files of one message, in bytes. The limit of a server without boosts has been 10 MiB and is
	// no lower anywhere; what the request has besides the files is taken off.
	maxUpload = 10<<20 - 64<<10

	blankMark = "(blank)"
	cardColor = 0x5865f2
)

// Render implements bridge.Platform. The parts' plain texts, put together, are the whole text. In a channel without threads every
// part says who the visitor is.
func (d *Discord) Render(m bridge.Outgoing) []bridge.Part { return render(m) }

func render(m bridge.Outgoing) []bridge.Part {
	var head []run
	if name := measure.OneLine(m.Visitor, maxLine); name != "" && isFlat(m.Thread) {
		head = []run{{name, bold}, {"\n", plain}}
	}
	mention := mentions(m.Mention)
	limit := maxText - cost(head) - cost(mention)

	var parts []bridge.Part
	if body := bodyOf(m); len(body) > 0 {
		for i, piece := range split(body, limit) {
			if measure.IsBlank(text(piece)) {
				// Discord refuses what shows nothing. Such a piece is white space only and far from the limit.
				piece = append([]run{{blankMark, plain}}, piece...)
			}
			piece = append(append([]run{}, head...), piece...)
			p := bridge.Part{Silent: m.Kind == bridge.KindNotice, ReplyTo: followUp(m.ReplyTo)}
			if i == 0 {
				piece = append(mention, piece...)
				p.ReplyTo, p.Mention = m.ReplyTo, m.Mention
			}
			p.Text = markup(piece)
			if bare := text(piece); bare != p.Text {
				p.Plain = bare
			}
			parts = append(parts, p)
		}
	}
	for _, files := range grouped(m.Files) {
		p := bridge.Part{Silent: m.Kind == bridge.KindNotice, Files: files}
		if len(parts) == 0 {
			p.ReplyTo = m.ReplyTo
		}
		parts = append(parts, p)
	}
	return parts
}

// mentions are the people who are called by name, in a line of their own.
func mentions(ids []string) []run {
	var called []string
	for _, id := range ids {
		if f, ok := parseSnowflake(id); ok {
			called = append(called, "<@"+f.String()+">")
		}
	}
	if len(called) == 0 {
		return nil
	}
	return []run{{strings.Join(called, " ") + "\n", raw}}
}

// bodyOf returns a message's text; nothing where its files are all there is.
func bodyOf(m bridge.Outgoing) []run {
	if measure.IsBlank(m.Text) && len(m.Links) == 0 && len(m.Files) > 0 && m.Author == "" {
		return nil
	}
	style := plain
	if m.Kind == bridge.KindNotice {
		style = small
	}
	var body []run
	if author := measure.OneLine(m.Author, maxLine); author != "" {
		body = append(body, run{author + ":", bold}, run{" ", plain})
	}
	switch {
	case measure.IsBlank(m.Text) && len(m.Links) == 0 && len(m.Files) > 0 && len(body) > 0:
		return append(body, run{"📎", plain})
	case measure.IsBlank(m.Text) && len(m.Links) == 0:
		body = append(body, run{blankMark, plain})
	}
	if m.Text != "" {
		body = append(body, run{m.Text, style})
	}
	for i, f := range m.Links {
		if i > 0 || m.Text != "" {
			body = append(body, run{"\n", plain})
		}
		body = append(body, fileLine(f)...)
	}
	return body
}

func fileLine(f bridge.Attachment) []run {
	name := measure.OneLine(f.Filename, maxLine)
	if name == "" {
		name = "file"
	}
	line := "📎 " + name
	if f.Size > 0 {
		line += " (" + sizeOf(f.Size) + ")"
	}
	if f.URL == "" {
		return []run{{line, plain}}
	}
	return []run{{line + ": ", plain}, {strings.Join(strings.Fields(f.URL), ""), plain}}
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
func cardOf(s *bridge.Session) *discordgo.MessageEmbed {
	who := measure.OneLine(s.DisplayName(), maxLine)
	if measure.IsBlank(who) {
		who = "Visitor"
	}
	more := func(values ...string) string {
		var known []string
		for _, v := range values {
			if v = measure.OneLine(v, maxLine); v != "" {
				known = append(known, v)
			}
		}
		return strings.Join(known, " · ")
	}
	var lines []run
	line := func(mark string, runs ...run) {
		if measure.IsBlank(text(runs)) {
			return
		}
		if len(lines) > 0 {
			lines = append(lines, run{"\n", plain})
		}
		lines = append(append(lines, run{mark + " ", plain}), runs...)
	}
	var email string
	if s.Identity != nil {
		email = s.Identity.Email
	}
	line("✉️", run{more(email, strings.TrimSpace(s.UserPhone+" "+inBrackets(s.UserPhoneCountry))), plain})
	if m := s.Metadata; m != nil {
		title, url := measure.OneLine(m.PageTitle, maxLine), measure.OneLine(m.URL, maxURL)
		if title != "" && url != "" {
			title += " — "
		}
		line("📄", run{title, plain}, run{url, plain})
		line("📍", run{more(placeOf(m), m.Timezone, m.Language), plain})
		line("💻", run{more(m.DeviceType, m.Browser, m.OS), plain})
	}
	title := []run{{"👤 " + who, plain}}
	return &discordgo.MessageEmbed{
		Title:       markup(split(title, maxTitle)[0]),
		Description: markup(split(lines, maxAbout)[0]),
		Color:       cardColor,
		Footer:      &discordgo.MessageEmbedFooter{Text: footerOf(s)},
	}
}

func footerOf(s *bridge.Session) string { return "Session " + measure.OneLine(s.ID, maxFooter-100) }

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

// threadName returns the name of a session's thread; it is never empty, and Discord neither refuses nor cuts it.
func threadName(s *bridge.Session) string {
	for _, name := range []string{s.DisplayName(), s.VisitorID} {
		if name = measure.OneLine(name, maxName); !measure.IsBlank(name) {
			return name
		}
	}
	return "Visitor"
}
