package demo

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// span is a stretch of text in one style, a set of letters: b bold, i italic, s struck, u underlined, c code, q quoted, n small,
// m a mention.
type span struct {
	Text  string `json:"t"`
	Style string `json:"s,omitempty"`
	URL   string `json:"u,omitempty"`
}

// join puts neighbours of the same style together.
func join(spans []span) []span {
	var out []span
	for _, s := range spans {
		last := len(out) - 1
		switch {
		case s.Text == "":
		case last >= 0 && out[last].Style == s.Style && out[last].URL == s.URL:
			out[last].Text += s.Text
		default:
			out = append(out, s)
		}
	}
	return out
}

// styled adds a letter to a set of them.
func styled(style, letter string) string {
	if strings.Contains(style, letter) {
		return style
	}
	letters := strings.Split(style+letter, "")
	slices.Sort(letters)
	return strings.Join(letters, "")
}

func unstyled(style, letter string) string { return strings.ReplaceAll(style, letter, "") }

// telegramText shows a text with Telegram's entities, whose offsets count UTF-16 units.
func telegramText(text string, entities []telegram.Entity) []span {
	units := utf16.Encode([]rune(text))
	styles, links := make([]string, len(units)), make([]string, len(units))
	letters := map[string]string{
		"bold": "b", "italic": "i", "underline": "u", "strikethrough": "s", "code": "c", "pre": "c", "blockquote": "q",
		"expandable_blockquote": "q", "mention": "m", "text_mention": "m", "bot_command": "m",
	}
	for _, e := range entities {
		for i := max(e.Offset, 0); i < min(e.Offset+e.Length, len(units)); i++ {
			switch {
			case letters[e.Type] != "":
				styles[i] = styled(styles[i], letters[e.Type])
			case e.Type == "text_link":
				links[i] = e.URL
			case e.Type == "url":
				links[i] = string(utf16.Decode(units[e.Offset:min(e.Offset+e.Length, len(units))]))
			}
		}
	}
	var out []span
	for from := 0; from < len(units); {
		to := from + 1
		for to < len(units) && styles[to] == styles[from] && links[to] == links[from] {
			to++
		}
		out = append(out, span{string(utf16.Decode(units[from:to])), styles[from], webURL(links[from])})
		from = to
	}
	return join(out)
}

// webURL returns the URL if it leads to a web page, and nothing otherwise.
func webURL(url string) string {
	if strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://") {
		return url
	}
	return ""
}

// discordText shows Discord's Markdown, as far as messages here have it. name returns what <@id> reads as.
func discordText(text string, name func(id string) string) []span {
	var out []span
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			out = append(out, span{Text: "\n"})
		}
		style := ""
		if rest, ok := strings.CutPrefix(line, "-# "); ok {
			line, style = rest, "n"
		} else if rest, ok := strings.CutPrefix(line, "> "); ok {
			line, style = rest, "q"
		}
		out = append(out, discordLine(line, style, name)...)
	}
	return join(out)
}

func discordLine(line, style string, name func(id string) string) []span {
	var out []span
	address := regexp.MustCompile(`^https?://[^\s<]+[^<.,:;"'\]\s)]`)
	mention := regexp.MustCompile(`^<@!?([0-9]+)>`)
	marks := [][2]string{{"**", "b"}, {"__", "u"}, {"~~", "s"}, {"*", "i"}, {"_", "i"}}
scan:
	for line != "" {
		if line[0] == '\\' && len(line) > 1 && strings.IndexByte("\\*_~`|<>[]()#-+.@:", line[1]) >= 0 {
			out, line = append(out, span{Text: line[1:2], Style: style}), line[2:]
			continue
		}
		if found := address.FindString(line); found != "" {
			out, line = append(out, span{found, style, found}), line[len(found):]
			continue
		}
		if found := mention.FindStringSubmatch(line); found != nil {
			out, line = append(out, span{Text: "@" + name(found[1]), Style: styled(style, "m")}), line[len(found[0]):]
			continue
		}
		if code, rest, ok := strings.Cut(line[1:], "`"); ok && line[0] == '`' && code != "" {
			out, line = append(out, span{Text: code, Style: styled(style, "c")}), rest
			continue
		}
		for _, mark := range marks {
			rest, ok := strings.CutPrefix(line, mark[0])
			switch {
			case !ok:
			case strings.Contains(style, mark[1]):
				style, line = unstyled(style, mark[1]), rest
				continue scan
			case strings.Contains(rest, mark[0]) && (mark[0] != "_" || !endsInWord(out)):
				style, line = styled(style, mark[1]), rest
				continue scan
			default: // it marks nothing
				out, line = append(out, span{Text: mark[0], Style: style}), rest
				continue scan
			}
		}
		n := 1
		for n < len(line) && line[n]&0xc0 == 0x80 { // the rest of a character
			n++
		}
		out, line = append(out, span{Text: line[:n], Style: style}), line[n:]
	}
	return out
}

// endsInWord says whether a letter or digit is the last of it: an underscore within a word marks nothing.
func endsInWord(spans []span) bool {
	last, _ := utf8.DecodeLastRuneInString(lastText(spans))
	return unicode.IsLetter(last) || unicode.IsDigit(last)
}

// slackBlocks shows a message's blocks; ok is false for those that it does not know. name returns what a user's id reads as,
// emoji what a short name does.
func slackBlocks(raw json.RawMessage, name, emoji func(string) string) (out []span, ok bool) {
	var blocks []slackElement
	if len(raw) == 0 || json.Unmarshal(raw, &blocks) != nil {
		return nil, false
	}
	for i, b := range blocks {
		if b.Type != "rich_text" {
			return nil, false
		}
		if i > 0 {
			out = append(out, span{Text: "\n"})
		}
		for j, part := range b.Elements {
			if j > 0 && !strings.HasSuffix(lastText(out), "\n") {
				out = append(out, span{Text: "\n"})
			}
			style := map[string]string{"rich_text_quote": "q", "rich_text_preformatted": "c"}[part.Type]
			if part.Type == "rich_text_list" {
				for k, item := range part.Elements {
					if k > 0 {
						out = append(out, span{Text: "\n"})
					}
					out = append(out, slackSection(append([]slackElement{{Type: "text", Text: "• "}}, item.Elements...), "", name, emoji)...)
				}
				continue
			}
			out = append(out, slackSection(part.Elements, style, name, emoji)...)
		}
	}
	return join(out), true
}

type slackElement struct {
	Type     string          `json:"type"`
	Elements []slackElement  `json:"elements"`
	Text     string          `json:"text"`
	URL      string          `json:"url"`
	User     string          `json:"user_id"`
	Name     string          `json:"name"`
	Range    string          `json:"range"` // of a broadcast: here, channel
	Style    map[string]bool `json:"style"`
}

// UnmarshalJSON reads what this page shows and leaves out what has another form.
func (e *slackElement) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for name, into := range map[string]any{
		"type": &e.Type, "elements": &e.Elements, "text": &e.Text, "url": &e.URL, "user_id": &e.User, "name": &e.Name, "range": &e.Range, "style": &e.Style,
	} {
		if raw, there := fields[name]; there {
			_ = json.Unmarshal(raw, into) // of another form: left out
		}
	}
	return nil
}

func slackSection(elements []slackElement, style string, name, emoji func(string) string) []span {
	var out []span
	for _, e := range elements {
		look := style
		for key, letter := range map[string]string{"bold": "b", "italic": "i", "strike": "s", "code": "c"} {
			if e.Style[key] {
				look = styled(look, letter)
			}
		}
		switch e.Type {
		case "text":
			out = append(out, span{Text: e.Text, Style: look})
		case "link":
			text := e.Text
			if text == "" {
				text = e.URL
			}
			out = append(out, span{text, look, webURL(e.URL)})
		case "user":
			out = append(out, span{Text: "@" + name(e.User), Style: styled(look, "m")})
		case "broadcast":
			out = append(out, span{Text: "@" + e.Range, Style: styled(look, "m")})
		case "emoji":
			out = append(out, span{Text: emoji(e.Name), Style: look})
		}
	}
	return out
}

func lastText(spans []span) string {
	if len(spans) == 0 {
		return "\n"
	}
	return spans[len(spans)-1].Text
}

// plainText shows a text as it is, with web addresses as links.
func plainText(text string) []span {
	var out []span
	for text != "" {
		at := regexp.MustCompile(`https?://[^\s<>"]+[^\s<>".,;:!?)\]]`).FindStringIndex(text)
		if at == nil {
			at = []int{len(text), len(text)}
		}
		out = append(out, span{Text: text[:at[0]]}, span{Text: text[at[0]:at[1]], URL: text[at[0]:at[1]]})
		text = text[at[1]:]
	}
	return join(out)
}
