package slack

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kyokomi/emoji/v2"

	"github.com/pocketping/bridge/internal/words"
)

// plain turns what people write on Slack into text as a person reads it.
type plain struct {
	names map[string]string // of users, and of channels without their mark, by id
	me    string            // the bot's user id, or empty
	toMe  bool              // the text began with a mention of the bot, which was left out
}

// read returns a message's text. The blocks are what the person typed; the text is made from them, with marks in it that cannot
// be told from typed ones, and is read where there is no rich text.
func (p *plain) read(text string, blocks []json.RawMessage) string {
	if out, ok := p.blocks(blocks); ok && (out != "" || p.toMe) {
		return out
	}
	p.toMe = false
	if text = p.mrkdwn(text); text == "" && !p.toMe {
		return p.otherBlocks(blocks)
	}
	return lines(text, p.tables(blocks))
}

// element is what is read of an element of rich text, of any kind.
type element struct {
	Type     string    `json:"type"`
	Elements []element `json:"elements"`
	Text     string    `json:"text"`
	URL      string    `json:"url"`
	User     string    `json:"user_id"`
	Channel  string    `json:"channel_id"`
	Group    string    `json:"usergroup_id"`
	Range    string    `json:"range"`
	Fallback string    `json:"fallback"`
	Value    string    `json:"value"` // of a colour
	Name     string    `json:"name"`
	Unicode  string    `json:"unicode"`
	SkinTone int       `json:"skin_tone"`
	Style    any       `json:"style"` // of a list: ordered or bullet; of others an object
	Indent   int       `json:"indent"`
	Offset   int       `json:"offset"`
}

// blocks reads rich text and tables; ok is false for anything else, and for what is not known here.
func (p *plain) blocks(blocks []json.RawMessage) (out string, ok bool) {
	var b strings.Builder
	for _, raw := range blocks {
		var block element
		err := json.Unmarshal(raw, &block)
		if err != nil && isSyntax(err) || block.Type != "rich_text" && block.Type != "table" {
			return "", false
		}
		if block.Type == "table" {
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
				b.WriteByte('\n')
			}
			b.WriteString(p.table(raw))
		}
		for _, e := range block.Elements {
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
				b.WriteByte('\n')
			}
			if !p.paragraph(&b, e) {
				return "", false
			}
		}
	}
	out = b.String()
	if p.toMe {
		out = afterMention(out)
	}
	return out, len(blocks) > 0
}

func (p *plain) paragraph(b *strings.Builder, e element) bool {
	switch e.Type {
	case "rich_text_section", "rich_text_preformatted":
		return p.line(b, e.Elements)
	case "rich_text_quote":
		var quoted strings.Builder
		if !p.line(&quoted, e.Elements) {
			return false
		}
		b.WriteString("> " + strings.ReplaceAll(strings.TrimSuffix(quoted.String(), "\n"), "\n", "\n> "))
		return true
	case "rich_text_list":
		for i, item := range e.Elements {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(strings.Repeat("  ", min(max(e.Indent, 0), 8)))
			if e.Style == "ordered" {
				b.WriteString(strconv.Itoa(e.Offset+i+1) + ". ")
			} else {
				b.WriteString("• ")
			}
			if !p.line(b, item.Elements) {
				return false
			}
		}
		return true
	}
	return false
}

func (p *plain) line(b *strings.Builder, elements []element) bool {
	for _, e := range elements {
		switch e.Type {
		case "text":
			b.WriteString(e.Text)
		case "link":
			b.WriteString(link(e.URL, e.Text))
		case "emoji":
			b.WriteString(cmp.Or(toned(fromHex(e.Unicode), e.SkinTone), drawn(e.Name, e.SkinTone), ":"+e.Name+":"))
		case "user":
			if e.User == p.me && p.me != "" && strings.TrimSpace(b.String()) == "" && !p.toMe {
				p.toMe = true
				continue
			}
			b.WriteString(p.user(e.User, ""))
		case "channel":
			b.WriteString(p.channel(e.Channel, ""))
		case "usergroup":
			b.WriteString("@" + cmp.Or(p.name(e.Group), words.Get().Group))
		case "broadcast":
			b.WriteString("@" + e.Range)
		case "date":
			b.WriteString(e.Fallback)
		case "color":
			b.WriteString(e.Value)
		default:
			return false
		}
	}
	return true
}

func (p *plain) user(id, label string) string {
	return "@" + cmp.Or(p.name(id), label, words.Get().Someone)
}

func (p *plain) channel(id, label string) string {
	return "#" + cmp.Or(label, p.name(id), "channel")
}

// link writes a link as text: its label and its address, or one of them where they are the same.
func link(address, label string) string {
	for _, scheme := range []string{"mailto:", "tel:"} {
		if rest, ok := strings.CutPrefix(address, scheme); ok {
			address = rest
		}
	}
	same := func(a, b string) bool {
		for _, scheme := range []string{"https://", "http://"} {
			a, b = strings.TrimPrefix(a, scheme), strings.TrimPrefix(b, scheme)
		}
		return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
	}
	switch {
	case label == "":
		return address
	case address == "" || same(address, label):
		return label
	}
	return label + " (" + address + ")"
}

// afterMention takes off what stands between the bot's name and what it is told.
func afterMention(text string) string {
	return strings.TrimLeft(text, " ,:\t\n\u00a0")
}

// The private characters that stand for what must not be looked into for marks, while marks are taken off.
const (
	asideFirst = '\U000f0000'
	asideLast  = '\U000ffffd'
)

// withoutAsides returns a text without the characters that stand for others.
func withoutAsides(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= asideFirst && r <= asideLast {
			return utf8.RuneError
		}
		return r
	}, text)
}

// name returns what somebody or something is called, as far as it is known; people may call themselves anything.
func (p *plain) name(id string) string { return withoutAsides(p.names[id]) }

// inAngles is what Slack writes in place of an address, a name or a call.
var inAngles = regexp.MustCompile(`<[^>]*>`)

// mrkdwn reads Slack's markup: three escapes, what stands between < and >, the marks of *bold*, _italic_, ~strike~ and `code`,
// and the :names: of emoji.
func (p *plain) mrkdwn(text string) string {
	// The characters that stand for others here cannot be sent; nobody misses them.
	text = withoutAsides(text)
	if rest, ok := cutMention(text, p.me); ok {
		p.toMe, text = true, afterMention(rest)
	}
	var aside []string
	hide := func(shown string) string {
		if len(aside) > asideLast-asideFirst {
			return shown
		}
		aside = append(aside, shown)
		return string(rune(asideFirst + len(aside) - 1))
	}
	text = spans(text, "```", hide)
	text = spans(text, "`", hide)
	text = inAngles.ReplaceAllStringFunc(text, func(all string) string { return hide(p.control(all[1 : len(all)-1])) })
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		for _, mark := range "*_~" {
			line = unpair(line, mark)
		}
		lines[i] = draw(line)
	}
	text = unescape(strings.Join(lines, "\n"))
	for strings.ContainsFunc(text, func(r rune) bool { return r >= asideFirst && int(r-asideFirst) < len(aside) }) {
		var out strings.Builder
		for _, r := range text {
			if i := int(r - asideFirst); r >= asideFirst && i < len(aside) {
				out.WriteString(aside[i])
				continue
			}
			out.WriteRune(r)
		}
		text = out.String()
	}
	return text
}

// cutMention takes a mention of the bot off the beginning of a text.
func cutMention(text, me string) (rest string, ok bool) {
	text = strings.TrimLeft(text, " \t\n\u00a0")
	inner, ok := strings.CutPrefix(text, "<@"+me)
	if me == "" || !ok {
		return text, false
	}
	label, rest, closed := strings.Cut(inner, ">")
	if !closed || label != "" && !strings.HasPrefix(label, "|") {
		return text, false
	}
	return rest, true
}

func unescape(text string) string {
	return strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(text)
}

// control reads what stands between < and >.
func (p *plain) control(inner string) string {
	body, label, _ := strings.Cut(inner, "|")
	body, label = unescape(body), unescape(label)
	switch {
	case strings.HasPrefix(body, "@"):
		return p.user(body[1:], strings.TrimPrefix(label, "@"))
	case strings.HasPrefix(body, "#"):
		return p.channel(body[1:], strings.TrimPrefix(label, "#"))
	case strings.HasPrefix(body, "!subteam^"):
		return "@" + cmp.Or(strings.TrimPrefix(label, "@"), p.name(strings.TrimPrefix(body, "!subteam^")), words.Get().Group)
	case strings.HasPrefix(body, "!date^"):
		return cmp.Or(label, words.Get().ADate)
	case strings.HasPrefix(body, "!"):
		return cmp.Or(label, "@"+body[1:])
	}
	return link(body, label)
}

// spans puts aside what stands between two marks of code. Code of three marks may have several lines.
func spans(text, mark string, hide func(string) string) string {
	var b strings.Builder
	for {
		before, rest, open := strings.Cut(text, mark)
		code, after, closed := strings.Cut(rest, mark)
		if !open || !closed {
			b.WriteString(text)
			return b.String()
		}
		if strings.Trim(code, "\n") == "" || len(mark) == 1 && strings.Contains(code, "\n") {
			b.WriteString(before + mark)
			text = rest
			continue
		}
		b.WriteString(before + hide(unescape(unlinked(strings.Trim(code, "\n")))))
		text = after
	}
}

// unlinked takes the angles off addresses in code, which Slack puts there too.
func unlinked(code string) string {
	return inAngles.ReplaceAllStringFunc(code, func(all string) string {
		address, label, _ := strings.Cut(all[1:len(all)-1], "|")
		return cmp.Or(label, address)
	})
}

// unpair takes pairs of a mark off a line: one that stands where a word may begin, and one where a word may end.
func unpair(line string, mark rune) string {
	runes := []rune(line)
	in := func(i int) bool { return i >= 0 && i < len(runes) && ofWord(runes[i]) }
	space := func(i int) bool { return i < 0 || i >= len(runes) || unicode.IsSpace(runes[i]) }
	again := func(i int) bool { return i >= 0 && i < len(runes) && runes[i] == mark }
	out := make([]rune, 0, len(runes))
	closes := true // a mark further on may
	for i := 0; i < len(runes); i++ {
		end := -1
		if closes && runes[i] == mark && !in(i-1) && !again(i-1) && !space(i+1) && !again(i+1) {
			for j := i + 2; j < len(runes) && end < 0; j++ {
				if runes[j] == mark && !space(j-1) && !in(j+1) && !again(j+1) {
					end = j
				}
			}
			closes = end >= 0
		}
		if end < 0 {
			out = append(out, runes[i])
			continue
		}
		out = append(out, runes[i+1:end]...)
		i = end
	}
	return string(out)
}

// draw puts emoji in place of their names.
func draw(line string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(line, ":")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, ":")
		char := ""
		left, _ := utf8.DecodeLastRuneInString(b.String())
		right, _ := utf8.DecodeRuneInString(after)
		// 10:100:20 has no 💯 in it.
		if closed && name != "" && (!ofWord(left) || !ofWord(right)) {
			tone := 0
			if text, next, toned := strings.Cut(after, ":"); toned && text == "" {
				if digit, behind, ok := strings.Cut(next, ":"); ok && strings.HasPrefix(digit, "skin-tone-") {
					if n, err := strconv.Atoi(strings.TrimPrefix(digit, "skin-tone-")); err == nil {
						tone, after = n, behind
					}
				}
			}
			char = drawn(name, tone)
		}
		if char == "" {
			b.WriteByte(':')
			line = rest
			continue
		}
		b.WriteString(char)
		line = after
	}
}

func ofWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// drawn returns an emoji by Slack's name for it, or nothing for one that is unknown, such as a workspace's own.
func drawn(name string, tone int) string {
	name, skin, _ := strings.Cut(name, "::skin-tone-")
	if n, err := strconv.Atoi(skin); err == nil {
		tone = n
	}
	if country, ok := strings.CutPrefix(name, "flag-"); ok && len(country) == 2 {
		if flag := flagOf(country); flag != "" {
			return flag
		}
	}
	if name == "simple_smile" {
		return "🙂" // Slack's own name
	}
	return toned(strings.TrimSpace(emoji.CodeMap()[":"+name+":"]), tone)
}

// flagOf returns the flag of a country by its two letters.
func flagOf(country string) string {
	var b strings.Builder
	for _, r := range country {
		if r < 'a' || r > 'z' {
			return ""
		}
		b.WriteRune(r - 'a' + 0x1f1e6)
	}
	return b.String()
}

// toned gives an emoji a skin tone, 2 to 6 as Slack counts them.
func toned(char string, tone int) string {
	isTone := func(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }
	if char == "" || tone < 2 || tone > 6 || strings.ContainsFunc(char, isTone) {
		return char
	}
	runes := []rune(char)
	rest := runes[1:]
	if len(rest) > 0 && rest[0] == '\ufe0f' {
		rest = rest[1:]
	}
	return string(slices.Concat(runes[:1], []rune{rune(0x1f3fb + tone - 2)}, rest))
}

// fromHex reads code points such as 1f44d-1f3fd.
func fromHex(text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	for part := range strings.SplitSeq(text, "-") {
		n, err := strconv.ParseUint(part, 16, 32)
		if err != nil || !utf8.ValidRune(rune(n)) {
			return ""
		}
		b.WriteRune(rune(n))
	}
	return b.String()
}
