package slack

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	// maxText: "we will truncate messages containing more than 40,000 characters"
	// (https://docs.slack.dev/reference/methods/chat.postMessage).
	maxText = 40000
	// maxUpdate: "Message text is too long. The text field cannot exceed 4,000 characters" (msg_too_long of chat.update).
	maxUpdate = 4000
)

// texts reads and writes Slack's text: three escapes, &amp; &lt; &gt;, and what stands between < and >: <@U1>, <#C1|name>,
// <!here>, <https://a.example|label> (https://docs.slack.dev/messaging/formatting-message-text).
type texts struct {
	address, named *regexp.Regexp
	emoji          map[string]string // by short name
	short          map[string]string // by character
}

func newTexts() texts {
	t := texts{
		address: regexp.MustCompile(`https?://[^\s<>|"]*[^\s<>|".,;:!?')\]]`),
		named:   regexp.MustCompile(`(^|[^\w@.-])@([a-zA-Z0-9._-]*[a-zA-Z0-9_-])`),
		emoji:   emojiTable(), short: make(map[string]string),
	}
	for name, char := range t.emoji {
		if old, ok := t.short[char]; !ok || name < old {
			t.short[char] = name
		}
	}
	return t
}

// token is a part of a text: text itself, or what stood between < and >.
type token struct {
	kind  byte   // 0: text; @, #, ! and : for a link
	text  string // text as it stands, with its escapes; else the id, the name or the address
	label string
}

// scan takes a text apart. What stands between angles and means nothing is text.
func scan(text string) []token {
	var out []token
	plain := func(part string) {
		if part == "" {
			return
		}
		if n := len(out); n > 0 && out[n-1].kind == 0 {
			out[n-1].text += part
			return
		}
		out = append(out, token{text: part})
	}
	for text != "" {
		open := strings.IndexByte(text, '<')
		if open < 0 {
			break
		}
		plain(text[:open])
		text = text[open:]
		end := strings.IndexAny(text[1:], "<>\n")
		if end < 0 || text[1+end] != '>' {
			plain("<")
			text = text[1:]
			continue
		}
		if t, ok := control(text[1 : 1+end]); ok {
			out = append(out, t)
		} else {
			plain(text[:end+2])
		}
		text = text[end+2:]
	}
	plain(text)
	return out
}

// control reads what stands between < and >.
func control(inner string) (token, bool) {
	body, label, _ := strings.Cut(inner, "|")
	if body == "" {
		return token{}, false
	}
	switch kind := body[0]; kind {
	case '@', '#', '!':
		return token{kind, body[1:], label}, len(body) > 1
	}
	scheme, rest, ok := strings.Cut(body, ":")
	switch strings.ToLower(scheme) {
	case "http", "https":
		ok = ok && strings.HasPrefix(rest, "//") && len(rest) > 2
	case "mailto", "tel", "slack":
	default:
		ok = false
	}
	return token{':', body, label}, ok
}

func (t token) String() string {
	body := t.text
	switch t.kind {
	case 0:
		return escape(t.text)
	case '@', '#', '!':
		body = string(t.kind) + body
	}
	if t.label != "" {
		body += "|" + t.label
	}
	return "<" + body + ">"
}

// escape makes a text's &, < and > safe, but for the three escapes that stand there already.
func escape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteByte(c)
			if rest := text[i+1:]; !slices.ContainsFunc([]string{"amp;", "lt;", "gt;"}, func(one string) bool {
				return strings.HasPrefix(rest, one)
			}) {
				b.WriteString("amp;")
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(text string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
}

// escapeAll is what an app on a person's side does to what was typed.
func escapeAll(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// linking says what becomes of names and addresses that nobody marked.
type linking struct{ names, addresses bool }

// linkingOf reads parse and link_names. "By default, URLs will be hyperlinked. Set parse to none to remove the hyperlinks"; full
// finds names, too. link_names officially finds user groups alone; here everybody, so that a test sees who asks for it.
func linkingOf(p params) linking {
	return linking{names: p["parse"] == "full" || p.is("link_names"), addresses: p["parse"] != "none"}
}

// store turns a text as an app sent it into what Slack keeps.
func (s *Server) store(text string, l linking) string {
	var b strings.Builder
	for _, t := range scan(text) {
		if t.kind != 0 {
			b.WriteString(t.String())
			continue
		}
		part := escape(t.text)
		if l.addresses {
			part = s.text.address.ReplaceAllString(part, "<$0>")
		}
		if l.names {
			part = s.linkNames(part)
		}
		b.WriteString(part)
	}
	return b.String()
}

// linkNames turns @name into a mention, where there is such a name.
func (s *Server) linkNames(text string) string {
	return s.text.named.ReplaceAllStringFunc(text, func(found string) string {
		m := s.text.named.FindStringSubmatch(found)
		if id := s.named(m[2]); id != "" {
			return m[1] + "<" + id + ">"
		}
		return found
	})
}

// named returns the mark of a name: !here, @U1, or nothing.
func (s *Server) named(name string) string {
	switch name {
	case "channel", "here", "everyone":
		return "!" + name
	}
	for _, u := range s.users {
		if strings.EqualFold(u.Name, name) {
			return "@" + u.ID
		}
	}
	return ""
}

// typed turns what a person typed into the text that Slack makes of it: escapes, mentions, channels, addresses, and the short
// names of emoji.
func (s *Server) typed(text string) string {
	text = s.linkNames(s.text.address.ReplaceAllString(escapeAll(text), "<$0>"))
	for _, c := range s.channels {
		if c.Name != "" {
			text = strings.ReplaceAll(text, "#"+c.Name, "<#"+c.ID+"|"+c.Name+">")
		}
	}
	for char, name := range s.text.short {
		text = strings.ReplaceAll(text, char, ":"+name+":")
	}
	return text
}

// pingsOf adds those whom a stored text notifies.
func (s *Server) pingsOf(text string, pings []string) []string {
	for _, t := range scan(text) {
		whom := ""
		switch {
		case t.kind == '@':
			whom = t.text
		case t.kind == '!' && (t.text == "channel" || t.text == "here" || t.text == "everyone"):
			whom = "!" + t.text
		case t.kind == '!' && strings.HasPrefix(t.text, "subteam^"):
			whom = strings.TrimPrefix(t.text, "subteam^")
		}
		pings = ping(pings, whom)
	}
	return pings
}

func ping(pings []string, whom string) []string {
	if whom == "" || slices.Contains(pings, whom) {
		return pings
	}
	return append(pings, whom)
}

// plain returns what a person sees of a message.
func (s *Server) plain(m *message) string {
	if m.blocks != "" {
		return s.plainBlocks([]byte(m.blocks))
	}
	return s.plainText(m.text, !m.quiet)
}

// plainText renders a stored text: marks gone, names for ids, escapes undone. The marks are those of mrkdwn: *bold*, _italic_,
// ~strike~, `code`, ```code```, a > before a quote, and :short_names: of emoji. Invisible characters are left as they are.
func (s *Server) plainText(text string, marks bool) string {
	// What must not be looked into for marks is put aside; one private character stands for each.
	const first = 0xf0000
	var aside []string
	hide := func(shown string) string {
		aside = append(aside, shown)
		return string(rune(first + len(aside) - 1))
	}
	var b strings.Builder
	for _, t := range scan(text) {
		switch {
		case t.kind == 0:
			b.WriteString(t.text)
		case t.kind == ':' && marks && t.label != "":
			b.WriteString(hide(s.plainText(t.label, true)))
		default:
			b.WriteString(hide(s.shownToken(t)))
		}
	}
	text = b.String()
	if marks {
		text = s.unmark(text, hide)
	}
	text = unescape(text)
	return string(slices.Concat(restore([]rune(text), first, aside)))
}

func restore(text []rune, first rune, aside []string) []rune {
	out := make([]rune, 0, len(text))
	for _, r := range text {
		if i := int(r - first); r >= first && i < len(aside) {
			out = append(out, restore([]rune(aside[i]), first, aside[:i])...)
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s *Server) shownToken(t token) string {
	switch t.kind {
	case '@':
		u := s.users[t.text]
		return "@" + cmp.Or(u.DisplayName, u.RealName, u.Name, t.label, t.text)
	case '#':
		if c := s.channels[t.text]; c != nil {
			return "#" + c.Name
		}
		return "#" + cmp.Or(t.label, t.text)
	case '!':
		name, _, _ := strings.Cut(t.text, "^")
		if name == "date" || name == "subteam" {
			return cmp.Or(t.label, "@group")
		}
		return "@" + name
	}
	return unescape(cmp.Or(t.label, t.text))
}

// unmark takes the marks of mrkdwn off. hide puts a piece aside that is not to be looked into any more.
func (s *Server) unmark(text string, hide func(string) string) string {
	cut := func(text, mark string, lines bool) string {
		var b strings.Builder
		for {
			before, rest, ok := strings.Cut(text, mark)
			code, after, closed := strings.Cut(rest, mark)
			if !ok || !closed || code == "" || !lines && strings.Contains(code, "\n") {
				if ok && closed {
					b.WriteString(before + mark)
					text = rest
					continue
				}
				b.WriteString(text)
				return b.String()
			}
			b.WriteString(before + hide(unescape(strings.Trim(code, "\n"))))
			text = after
		}
	}
	text = cut(cut(text, "```", true), "`", false)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if quoted, ok := strings.CutPrefix(line, "&gt;"); ok {
			line = strings.TrimPrefix(strings.TrimPrefix(quoted, "&gt;&gt;"), " ")
		}
		for _, mark := range "*_~" {
			line = unpair(line, mark)
		}
		lines[i] = s.text.draw(line)
	}
	return strings.Join(lines, "\n")
}

// pairs matches a stretch of text between two marks: no word ends before the first or begins behind the second, and the stretch neither
// begins nor ends with a space.
var pairs = map[rune]*regexp.Regexp{'*': pair(`\*`), '_': pair(`_`), '~': pair(`~`)}

func pair(mark string) *regexp.Regexp {
	const noWord = `[^\pL\p{Nd}_]`
	return regexp.MustCompile(`(?:^|` + noWord + `)` + mark + `([^ ` + mark + `](?:.*?[^ ])??)` + mark + `(?:$|` + noWord + `)`)
}

// unpair takes pairs of a mark off a line.
func unpair(line string, mark rune) string {
	var out strings.Builder
	for {
		at := pairs[mark].FindStringSubmatchIndex(line)
		if at == nil {
			return out.String() + line
		}
		out.WriteString(line[:at[2]-1] + line[at[2]:at[3]])
		line = line[at[3]+1:]
	}
}

// draw puts the emoji in place of their short names, where the sandbox knows them.
func (t texts) draw(text string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, ":")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, ":")
		if char, known := t.emoji[name]; closed && known {
			b.WriteString(char)
			text = after
			continue
		}
		b.WriteByte(':')
		text = rest
	}
}

// rich returns the blocks that Slack gives to what a person typed.
func (t texts) rich(text string) []object {
	elements := []object{}
	for _, part := range scan(text) {
		switch part.kind {
		case 0:
			elements = append(elements, t.richText(unescape(part.text))...)
		case '@':
			elements = append(elements, object{"type": "user", "user_id": part.text})
		case '#':
			elements = append(elements, object{"type": "channel", "channel_id": part.text})
		case '!':
			elements = append(elements, object{"type": "broadcast", "range": part.text})
		default:
			link := object{"type": "link", "url": unescape(part.text)}
			link.set("text", unescape(part.label), part.label != "")
			elements = append(elements, link)
		}
	}
	return []object{{
		"type": "rich_text", "block_id": fmt.Sprintf("b%05x", len(text)),
		"elements": []object{{"type": "rich_text_section", "elements": elements}},
	}}
}

// richText returns the elements of a text: emoji are elements of their own.
func (t texts) richText(text string) []object {
	var out []object
	words := func(part string) {
		if part != "" {
			out = append(out, object{"type": "text", "text": part})
		}
	}
	begin := 0
	for i := 0; i < len(text); i++ {
		if text[i] != ':' {
			continue
		}
		name, _, closed := strings.Cut(text[i+1:], ":")
		if char, known := t.emoji[name]; closed && known {
			words(text[begin:i])
			points := make([]string, 0, 2)
			for _, r := range char {
				points = append(points, fmt.Sprintf("%x", r))
			}
			out = append(out, object{"type": "emoji", "name": name, "unicode": strings.Join(points, "-")})
			i += len(name) + 1
			begin = i + 1
		}
	}
	words(text[begin:])
	return out
}

// emojiTable returns the emoji that the sandbox knows, by one short name each. Slack writes what a person typed with these
// names (https://github.com/iamcal/emoji-data).
func emojiTable() map[string]string {
	return map[string]string{
		"+1": "👍", "-1": "👎", "smile": "😄", "grinning": "😀", "joy": "😂", "wink": "😉", "blush": "😊", "heart_eyes": "😍",
		"slightly_smiling_face": "🙂", "upside_down_face": "🙃", "thinking_face": "🤔", "cry": "😢", "sob": "😭", "rage": "😡",
		"scream": "😱", "tada": "🎉", "fire": "🔥", "rocket": "🚀", "eyes": "👀", "pray": "🙏", "clap": "👏", "wave": "👋",
		"ok_hand": "👌", "muscle": "💪", "raised_hands": "🙌", "100": "💯", "heart": "❤️", "broken_heart": "💔", "star": "⭐",
		"zap": "⚡", "white_check_mark": "✅", "heavy_check_mark": "✔️", "x": "❌", "warning": "⚠️", "question": "❓",
		"exclamation": "❗", "bulb": "💡", "lock": "🔒", "bell": "🔔", "hourglass": "⌛", "speech_balloon": "💬", "robot_face": "🤖",
		"wastebasket": "🗑️", "point_right": "👉", "point_up": "☝️", "saluting_face": "🫡", "handshake": "🤝", "sunglasses": "😎",
		"coffee": "☕", "bug": "🐛", "package": "📦", "email": "📧", "phone": "☎️", "globe_with_meridians": "🌐", "link": "🔗",
		"page_facing_up": "📄", "paperclip": "📎", "iphone": "📱", "computer": "💻", "round_pushpin": "📍", "earth_africa": "🌍",
	}
}

// typedCommand is the text behind a command as Slack hands it on: escaped, and with mentions if the app asks for it, as here
// ("escape channels, users, and links sent to your app").
func (s *Server) typedCommand(text string) string { return s.linkNames(escapeAll(text)) }
