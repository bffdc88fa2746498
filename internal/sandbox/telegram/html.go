package telegram

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Entity is a MessageEntity. Offset and Length count UTF-16 code units.
type Entity struct {
	Type     string `json:"type"`
	Offset   int    `json:"offset"`
	Length   int    `json:"length"`
	URL      string `json:"url,omitempty"`
	Language string `json:"language,omitempty"`
	// UserID is the user of a text_mention; on the wire it is an object.
	UserID int64 `json:"-"`
	// EmojiID is the custom emoji's id.
	EmojiID string `json:"custom_emoji_id,omitempty"`
}

// parseHTML reads a text in the HTML parse mode. It follows parse_html of TDLib (td/telegram/MessageEntity.cpp, commit
// 1a901a0e): what it takes, what it ignores, and the words and byte offsets of what it refuses. An error's text has to be put
// behind "can't parse entities: ". Not known here is the tag tg-time of Bot API 9.5; it is refused like any other.
func parseHTML(src string) (string, []Entity, error) {
	p := htmlParser{src: src}
	for p.pos < len(src) {
		switch c := src[p.pos]; {
		case c == '&':
			if r, next, ok := p.reference(p.pos); ok {
				p.put(r)
				p.pos = next
				continue
			}
			p.raw()
		case c != '<':
			p.raw()
		case p.at(p.pos+1) == '/':
			if err := p.closing(); err != nil {
				return "", nil, err
			}
		default:
			if err := p.opening(); err != nil {
				return "", nil, err
			}
		}
	}
	if n := len(p.open); n > 0 {
		return "", nil, wrongMarkup("Can't find end tag corresponding to start tag \"%s\"", p.open[n-1].name)
	}
	if p.surrogate {
		return "", nil, wrongMarkup("Text contains invalid Unicode characters after decoding HTML entities, " +
			"check for unmatched surrogate code units")
	}
	return p.out.String(), p.entities, nil
}

// markupError is a refusal in Telegram's own words.
type markupError string

func (e markupError) Error() string { return string(e) }

func wrongMarkup(format string, args ...any) error { return markupError(fmt.Sprintf(format, args...)) }

// htmlTag is a start tag whose end has not come yet.
type htmlTag struct {
	name   string
	value  string // the one attribute that counts: href, language, class, emoji-id, expandable
	offset int    // where its text begins, in UTF-16 units
	begin  int    // the same in bytes of the output
}

type htmlParser struct {
	src       string
	pos       int
	out       strings.Builder
	units     int // UTF-16 units written
	open      []htmlTag
	entities  []Entity
	surrogate bool
}

// at returns a byte of the source, and 0 behind its end.
func (p *htmlParser) at(i int) byte {
	if i < len(p.src) {
		return p.src[i]
	}
	return 0
}

// blank is TDLib's is_space: it takes in the end of the text, so that every scan up to a blank stops there.
func blank(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', '\v', 0:
		return true
	}
	return false
}

func (p *htmlParser) skipBlanks() {
	for p.at(p.pos) != 0 && blank(p.at(p.pos)) {
		p.pos++
	}
}

func (p *htmlParser) put(r rune) {
	if r >= 0xd800 && r <= 0xdfff {
		p.surrogate = true
	}
	p.out.WriteRune(r)
	p.units += max(utf16.RuneLen(r), 1)
}

// raw copies one character of the source.
func (p *htmlParser) raw() {
	r, n := utf8.DecodeRuneInString(p.src[p.pos:])
	p.put(r)
	p.pos += n
}

// reference reads a character reference at an ampersand. Only lt, gt, amp, quot and numbers are known; anything else is plain
// text, and so is a number that is too long. The semicolon may be missing.
func (p *htmlParser) reference(at int) (r rune, next int, ok bool) {
	end := at + 1
	if p.at(end) == '#' {
		end++
		base, digits := 10, "0123456789"
		if p.at(end) == 'x' {
			end++
			base, digits = 16, "0123456789abcdefABCDEF"
		}
		from := end
		for p.at(end) != 0 && strings.IndexByte(digits, p.at(end)) >= 0 {
			end++
		}
		n, err := strconv.ParseUint(p.src[from:end], base, 32)
		if err != nil || n == 0 || n >= 0x10ffff || end-at >= 10 {
			return 0, 0, false
		}
		r = rune(n)
	} else {
		for c := p.at(end) | 0x20; c >= 'a' && c <= 'z'; c = p.at(end) | 0x20 {
			end++
		}
		switch p.src[at+1 : end] {
		case "lt":
			r = '<'
		case "gt":
			r = '>'
		case "amp":
			r = '&'
		case "quot":
			r = '"'
		default:
			return 0, 0, false
		}
	}
	if p.at(end) == ';' {
		end++
	}
	return r, end, true
}

// opening reads a start tag.
func (p *htmlParser) opening() error {
	begin := p.pos
	p.pos++
	for !blank(p.at(p.pos)) && p.at(p.pos) != '>' {
		p.pos++
	}
	if p.at(p.pos) == 0 {
		return wrongMarkup("Unclosed start tag at byte offset %d", begin)
	}
	tag := htmlTag{name: lowerASCII(p.src[begin+1 : p.pos]), offset: p.units, begin: p.out.Len()}
	switch tag.name {
	case "a", "b", "strong", "i", "em", "s", "strike", "del", "u", "ins", "tg-spoiler", "tg-emoji", "span", "pre", "code",
		"blockquote":
	default:
		return wrongMarkup("Unsupported start tag \"%s\" at byte offset %d", tag.name, begin)
	}
	for p.at(p.pos) != '>' {
		p.skipBlanks()
		if p.at(p.pos) == '>' {
			break
		}
		if err := p.attribute(&tag, begin); err != nil {
			return err
		}
	}
	p.pos++
	if tag.name == "span" && tag.value != "spoiler" {
		return wrongMarkup("Tag \"span\" must have class \"tg-spoiler\" at byte offset %d", begin)
	}
	p.open = append(p.open, tag)
	return nil
}

// attribute reads one attribute of a start tag that begins at the byte begin.
func (p *htmlParser) attribute(tag *htmlTag, begin int) error {
	from := p.pos
	for c := p.at(p.pos); !blank(c) && strings.IndexByte(`=>/"'`, c) < 0; c = p.at(p.pos) {
		p.pos++
	}
	name := p.src[from:p.pos]
	if name == "" {
		return wrongMarkup("Empty attribute name in the tag \"%s\" at byte offset %d", tag.name, begin)
	}
	p.skipBlanks()
	if p.at(p.pos) != '=' {
		if p.at(p.pos) == 0 {
			return wrongMarkup("Unclosed start tag \"%s\" at byte offset %d", tag.name, begin)
		}
		tag.set(name, "")
		return nil
	}
	p.pos++
	p.skipBlanks()
	if p.at(p.pos) == 0 {
		return wrongMarkup("Unclosed start tag \"%s\" at byte offset %d", tag.name, begin)
	}
	value, err := p.attributeValue()
	if err != nil {
		return err
	}
	if p.at(p.pos) == 0 {
		return wrongMarkup("Unclosed start tag at byte offset %d", begin)
	}
	tag.set(name, value)
	return nil
}

// attributeValue reads a quoted string, or a name of letters, digits, dots and hyphens, which is lower-cased.
func (p *htmlParser) attributeValue() (string, error) {
	quote := p.at(p.pos)
	if quote != '"' && quote != '\'' {
		from := p.pos
		for c := p.at(p.pos); c == '.' || c == '-' || alnum(c); c = p.at(p.pos) {
			p.pos++
		}
		if c := p.at(p.pos); !blank(c) && c != '>' {
			return "", wrongMarkup("Unexpected end of name token at byte offset %d", from)
		}
		return lowerASCII(p.src[from:p.pos]), nil
	}
	p.pos++
	var value strings.Builder
	for p.at(p.pos) != 0 && p.at(p.pos) != quote {
		if p.at(p.pos) == '&' {
			if r, next, ok := p.reference(p.pos); ok {
				value.WriteRune(r)
				p.pos = next
				continue
			}
		}
		value.WriteByte(p.at(p.pos))
		p.pos++
	}
	if p.at(p.pos) == quote {
		p.pos++
	}
	return value.String(), nil
}

// set keeps the attribute if it means something on its tag; others are ignored, as the real parser does.
func (t *htmlTag) set(name, value string) {
	switch t.name + " " + name {
	case "a href", "tg-emoji emoji-id":
		t.value = value
	case "code class":
		if language, ok := strings.CutPrefix(value, "language-"); ok {
			t.value = language
		}
	case "span class":
		if class, ok := strings.CutPrefix(value, "tg-"); ok {
			t.value = class
		}
	case "blockquote expandable":
		t.value = "1"
	}
}

// closing reads an end tag. An end tag without a name closes whatever is open.
func (p *htmlParser) closing() error {
	begin := p.pos
	if len(p.open) == 0 {
		return wrongMarkup("Unexpected end tag at byte offset %d", begin)
	}
	p.pos += 2
	for !blank(p.at(p.pos)) && p.at(p.pos) != '>' {
		p.pos++
	}
	name := lowerASCII(p.src[begin+2 : p.pos])
	p.skipBlanks()
	if p.at(p.pos) != '>' {
		return wrongMarkup("Unclosed end tag at byte offset %d", begin)
	}
	p.pos++
	tag := p.open[len(p.open)-1]
	if name != "" && name != tag.name {
		return wrongMarkup("Unmatched end tag at byte offset %d, expected \"</%s>\", found \"</%s>\"", begin, tag.name, name)
	}
	p.open = p.open[:len(p.open)-1]
	if p.units == tag.offset {
		return nil
	}
	return p.entity(tag)
}

// entity turns a closed tag with a text into an entity.
func (p *htmlParser) entity(tag htmlTag) error {
	e := Entity{Offset: tag.offset, Length: p.units - tag.offset}
	var last *Entity // an entity of exactly the same text, for code in pre
	if n := len(p.entities); n > 0 && p.entities[n-1].Offset == e.Offset && p.entities[n-1].Length == e.Length {
		last = &p.entities[n-1]
	}
	switch tag.name {
	case "b", "strong":
		e.Type = "bold"
	case "i", "em":
		e.Type = "italic"
	case "u", "ins":
		e.Type = "underline"
	case "s", "strike", "del":
		e.Type = "strikethrough"
	case "span", "tg-spoiler":
		e.Type = "spoiler"
	case "blockquote":
		e.Type = "blockquote"
		if tag.value != "" {
			e.Type = "expandable_blockquote"
		}
	case "tg-emoji":
		if id, err := strconv.ParseInt(tag.value, 10, 64); err != nil || id == 0 {
			return wrongMarkup("Invalid custom emoji identifier specified")
		}
		e.Type, e.EmojiID = "custom_emoji", tag.value
	case "a":
		link := tag.value
		if link == "" {
			link = p.out.String()[tag.begin:]
		}
		if id, ok := userOfLink(link); ok {
			e.Type, e.UserID = "text_mention", id
			break
		}
		if link, ok := checkedLink(link); ok {
			e.Type, e.URL = "text_link", link
			break
		}
		return nil // a link that leads nowhere is dropped, its text stays
	case "pre":
		if last != nil && last.Type == "code" && last.Language != "" {
			last.Type = "pre"
			return nil
		}
		e.Type = "pre"
	case "code":
		if last != nil && last.Type == "pre" && tag.value != "" {
			last.Language = tag.value
			return nil
		}
		// The language stays until a pre of the same text comes; tidy drops it from code that stays alone.
		e.Type, e.Language = "code", tag.value
	}
	p.entities = append(p.entities, e)
	return nil
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
