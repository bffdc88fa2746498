package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// sight is a message as a person sees it in a thread.
type sight struct {
	ID      string
	Own     bool // the bot wrote it
	Text    string
	ReplyTo string   // the id of the message that it replies to
	Quote   string   // the quotation above the text, on a platform that quotes
	part    string   // of the message that it replies to, where only that is meant
	Files   []string // as sum makes them
	Edited  bool
	merged  bool     // others are shown in the same message
	below   bool     // it has become too long for that
	signs   []string // the bot's reactions, by their characters
	pings   []string // whom it calls
	silent  bool
}

func (s sight) String() string {
	out := fmt.Sprintf("%q", s.Text)
	for _, more := range []struct {
		name, value string
	}{{"reply to", s.ReplyTo}, {"quotes", s.Quote}, {"files", strings.Join(s.Files, " ")}, {"signs", strings.Join(s.signs, "")}} {
		if more.value != "" {
			out += " " + more.name + " " + more.value
		}
	}
	if s.Edited {
		out += " edited"
	}
	return out
}

// sum names a file's content.
func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:6])
}

// upload is a file that somebody sends.
type upload struct {
	kind    string // photo, voice or document
	name    string
	typ     string
	content []byte
}

// stand is a board on which everything that people do can be done, and seen.
type stand interface {
	board
	// see returns a thread's messages, oldest first, without the card and what the platform itself says.
	see(thread string) []sight
	// card returns what a session's card says.
	card(thread string) string
	// The following are Ana's doing; ids are the platform's own.
	reply(thread, to, text string) string
	edit(thread, id, text string)
	remove(thread, id string)
	react(thread, id string)
	send(thread, text string, files ...upload) []string
	// types lets her type, and says whether the platform tells bots of that.
	types(thread string) bool
	// typings returns how often the bot was seen typing in the thread.
	typings(thread string) int
}

// afterCard cuts the card off a message that carries it.
func afterCard(text string) (card, rest string) {
	if !strings.HasPrefix(text, "👤 ") {
		return "", text
	}
	card, rest, _ = strings.Cut(text, "\n\n")
	return card, rest
}

// Telegram.

func (b telegramBoard) messages(thread string) []telegram.Message {
	id, _ := strconv.Atoi(thread)
	return slices.DeleteFunc(b.r.telegram.Messages(b.r.chat, id), func(m telegram.Message) bool { return m.Service != "" })
}

func (b telegramBoard) see(thread string) []sight {
	var out []sight
	for _, m := range b.messages(thread) {
		s := sight{ID: strconv.Itoa(m.ID), Own: m.Own, Text: m.Text, Edited: m.Edited, signs: m.Reactions, silent: m.Silent}
		if m.Own {
			if _, s.Text = afterCard(m.Text); s.Text == "" && m.File == nil {
				continue
			}
		}
		if m.ReplyTo != 0 {
			s.ReplyTo, s.part = strconv.Itoa(m.ReplyTo), m.Quote
		}
		if m.File != nil {
			s.Files = []string{hex.EncodeToString(m.File.Sum[:6])}
		}
		for _, e := range m.Entities {
			if e.Type == "mention" || e.Type == "text_mention" {
				s.pings = append(s.pings, e.Type)
			}
			if e.Type == "text_link" && strings.HasPrefix(e.URL, "tg://user") {
				s.pings = append(s.pings, e.URL)
			}
		}
		out = append(out, s)
	}
	return out
}

func (b telegramBoard) card(thread string) string {
	for _, m := range b.messages(thread) {
		if card, _ := afterCard(m.Text); m.Own && card != "" {
			return card
		}
	}
	return ""
}

func (b telegramBoard) find(thread, id string) telegram.Message {
	n, _ := strconv.Atoi(id)
	for _, m := range b.messages(thread) {
		if m.ID == n {
			return m
		}
	}
	return telegram.Message{Chat: b.r.chat, ID: n}
}

func (b telegramBoard) reply(thread, to, text string) string {
	return strconv.Itoa(b.r.telegram.Reply(b.find(thread, to), b.r.ana.ID, text).ID)
}

func (b telegramBoard) edit(thread, id, text string) { b.r.telegram.Edit(b.find(thread, id), text) }
func (b telegramBoard) remove(thread, id string)     { b.r.telegram.Remove(b.find(thread, id)) }
func (b telegramBoard) react(thread, id string) {
	b.r.telegram.React(b.find(thread, id), b.r.ana.ID, "👍")
}

func (b telegramBoard) send(thread, text string, files ...upload) []string {
	topic, _ := strconv.Atoi(thread)
	album := ""
	if len(files) > 1 {
		album = "album of " + thread
	}
	var ids []string
	for i, f := range files {
		u := telegram.Upload{
			Chat: b.r.chat, Topic: topic, User: b.r.ana.ID, Kind: f.kind, Name: f.name, Type: f.typ, Album: album, Content: f.content,
		}
		if i == 0 {
			u.Caption = text
		}
		ids = append(ids, strconv.Itoa(b.r.telegram.Upload(u).ID))
	}
	return ids
}

func (telegramBoard) types(string) bool { return false }

func (b telegramBoard) typings(thread string) int {
	n := 0
	for _, c := range b.r.telegram.Calls() {
		if c.Method == "sendChatAction" && c.Thread == thread {
			n++
		}
	}
	return n
}

// Discord.

// withoutCall leaves out of a sight that operators are called to what a visitor says: those who stand in front of the text, and no others.
func (s *sight) withoutCall(text string, called ...string) {
	s.Text = text
	if rest := withoutCall(text); !strings.HasPrefix(rest, "⏰") && (rest != text || s.Edited) { // an edit takes nobody's ring back
		s.Text = strings.ReplaceAll(rest, "\u2060", "")
		s.pings = slices.DeleteFunc(slices.Clone(s.pings), func(id string) bool { return slices.Contains(called, id) })
	}
}

// discordSeen reads the Markdown of a message that the bot wrote. Everything in it is meant to be seen as it was typed, but for a
// name in bold at the beginning and the small letters of a notice: any other markup that has an effect is shown between ‹ and ›.
func discordSeen(text string) string {
	if bold, rest, ok := strings.Cut(strings.TrimPrefix(text, "**"), "**"); ok && strings.HasPrefix(text, "**") {
		text = bold + rest
	}
	link := regexp.MustCompile(`^https?://[^\s<]+[^<.,:;"'\]\s]`)
	number := regexp.MustCompile(`^[0-9]+[.)] `)
	var b strings.Builder
	lineStart := true
	for i := 0; i < len(text); {
		rest := text[i:]
		if lineStart && strings.HasPrefix(rest, "-# ") {
			i += 3
			lineStart = false
			continue
		}
		if at := link.FindString(rest); at != "" {
			b.WriteString(at)
			i += len(at)
			lineStart = false
			continue
		}
		switch c := rest[0]; {
		case c == '\\' && len(rest) > 1 && strings.ContainsAny(rest[1:2], "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"):
			b.WriteByte(rest[1])
			i += 2
		case strings.IndexByte("*_~`|<[\\", c) >= 0,
			lineStart && (strings.IndexByte(">#-+", c) >= 0 || number.MatchString(rest)),
			strings.HasPrefix(rest, "@everyone"), strings.HasPrefix(rest, "@here"):
			b.WriteString("‹" + string(c) + "›")
			i++
		default:
			b.WriteByte(c)
			i++
		}
		lineStart = strings.HasSuffix(b.String(), "\n") || lineStart && strings.HasSuffix(b.String(), " ")
	}
	return b.String()
}

func (b *discordBoard) messages(thread string) []discord.Message {
	return slices.DeleteFunc(b.server.Messages(thread), func(m discord.Message) bool {
		return m.ID == thread || m.Kind != discord.Ordinary && m.Kind != discord.ReplyMessage
	})
}

// namedFirst is who a message of the bot's is by. Colleagues have a place behind their names.
var namedFirst = regexp.MustCompile(`^\*\*((?:[^*\\]|\\.)+):\*\*\s?`)

// withoutVisitor is a text without the visitor's name, which stands first where the bot speaks for them.
func withoutVisitor(text, webhook string) string {
	if m := namedFirst.FindStringSubmatch(text); m != nil && webhook == "" && m[1] != "AI" && !strings.HasSuffix(m[1], ")") {
		return text[len(m[0]):]
	}
	return text
}

func (b *discordBoard) see(thread string) []sight {
	var out []sight
	for _, m := range b.messages(thread) {
		s := sight{
			ID: m.ID, Own: m.Own, Text: m.Text, ReplyTo: m.ReplyTo, Edited: m.Edited, pings: m.Pings, silent: m.Silent,
		}
		if m.Own {
			s.withoutCall(m.Text, b.ana, "here")
			s.Text = discordSeen(withoutVisitor(s.Text, m.Webhook))
			if _, name, _ := strings.Cut(m.Author.Name, " "); m.Webhook != "" && (strings.HasSuffix(name, ")") || name == "AI") { // whom its face says
				s.Text = name + ": " + s.Text
			}
		}
		for _, f := range m.Files {
			s.Files = append(s.Files, sum(f.Content))
		}
		for _, r := range m.Reactions {
			if slices.Contains(r.Users, b.server.Bot().ID) {
				s.signs = append(s.signs, r.Emoji)
			}
		}
		out = append(out, s)
	}
	return out
}

func (b *discordBoard) card(thread string) string {
	place := b.channel
	if b.forum {
		place = thread
	}
	for _, m := range b.server.Messages(place) {
		if m.ID == thread && len(m.Embeds) == 1 {
			return discordSeen(m.Embeds[0].Title) + "\n" + discordSeen(m.Embeds[0].Description)
		}
	}
	return ""
}

func (b *discordBoard) at2(thread, id string) discord.Message {
	return discord.Message{ID: id, Channel: thread}
}

func (b *discordBoard) reply(thread, to, text string) string {
	return b.server.Reply(b.at2(thread, to), b.ana, text).ID
}

func (b *discordBoard) edit(thread, id, text string) { b.server.Edit(b.at2(thread, id), text) }
func (b *discordBoard) remove(thread, id string)     { b.server.Delete(b.at2(thread, id)) }
func (b *discordBoard) react(thread, id string)      { b.server.React(b.at2(thread, id), b.ana, "👍") }

func (b *discordBoard) send(thread, text string, files ...upload) []string {
	var list []discord.File
	for _, f := range files {
		list = append(list, discord.File{Name: f.name, Type: f.typ, Content: f.content})
	}
	return []string{b.server.Upload(thread, b.ana, text, list...).ID}
}

func (b *discordBoard) types(thread string) bool {
	b.server.Typing(thread, b.ana)
	return true
}

func (b *discordBoard) typings(thread string) int { return b.server.Typings(thread) }

// Slack.

func (b *slackBoard) messages(thread string) []slack.Message {
	return slices.DeleteFunc(b.server.Messages(b.channel, thread), func(m slack.Message) bool {
		return m.TS == thread || m.Subtype == "tombstone"
	})
}

// slackQuote returns what a message of ours quotes.
func slackQuote(blocks json.RawMessage) string {
	var all []struct {
		Elements []struct {
			Type     string `json:"type"`
			Elements []struct {
				Text string `json:"text"`
			} `json:"elements"`
		} `json:"elements"`
	}
	_ = json.Unmarshal(blocks, &all) // a message without blocks quotes nothing
	quote := ""
	for _, block := range all {
		for _, e := range block.Elements {
			for _, inner := range e.Elements {
				if e.Type == "rich_text_quote" {
					quote += inner.Text
				}
			}
		}
	}
	return quote
}

func (b *slackBoard) see(thread string) []sight {
	signs := map[string]string{"white_check_mark": "✅", "eyes": "👀"}
	var out []sight
	for _, m := range b.messages(thread) {
		s := sight{ID: m.TS, Own: m.Own, Text: m.Plain, Edited: m.Edited, pings: m.Pings}
		if s.Quote = slackQuote(m.Blocks); s.Quote != "" {
			s.Text = strings.TrimPrefix(s.Text, s.Quote+"\n")
		}
		if m.Own {
			s.withoutCall(s.Text, b.ana, "!here")
		}
		for _, f := range m.Files {
			s.Files = append(s.Files, sum(f.Content))
		}
		for _, r := range m.Reactions {
			if slices.Contains(r.Users, b.server.Bot().ID) {
				s.signs = append(s.signs, signs[r.Name])
			}
		}
		out = append(out, s)
	}
	return out
}

func (b *slackBoard) card(thread string) string {
	m, _ := b.server.Message(b.channel, thread)
	return m.Plain
}

func (b *slackBoard) at2(id string) slack.Message { return slack.Message{Channel: b.channel, TS: id} }

// reply writes in the thread: Slack has no replies to a message of one.
func (b *slackBoard) reply(thread, _, text string) string {
	return b.server.Say(b.channel, thread, b.ana, text).TS
}

func (b *slackBoard) edit(_, id, text string) { b.server.Edit(b.at2(id), text) }
func (b *slackBoard) remove(_, id string)     { b.server.Delete(b.at2(id)) }
func (b *slackBoard) react(_, id string)      { b.server.React(b.at2(id), b.ana, "+1") }

func (b *slackBoard) send(thread, text string, files ...upload) []string {
	a := slack.Attachment{
		Post: slack.Post{Channel: b.channel, ThreadTS: thread, User: b.ana, Text: text},
		Name: files[0].name, Mimetype: files[0].typ, Content: files[0].content,
	}
	for _, f := range files[1:] {
		a.More = append(a.More, slack.FileData{Name: f.name, Content: f.content})
	}
	return []string{b.server.Upload(a).TS}
}

func (*slackBoard) types(string) bool { return false }

// typings is none: nothing that a bot can call shows it typing in a thread.
func (*slackBoard) typings(string) int { return 0 }
