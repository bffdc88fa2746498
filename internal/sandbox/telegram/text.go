package telegram

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxText is the most characters of a message's text: "1-4096 characters after entities parsing". It counts characters, not
// UTF-16 units: 4096 times U+1F600 is taken, one more is refused (measured on the real server,
// github.com/FerroxLabs/wayland/issues/934).
const maxText = 4096

// maxEntities is the most entities that a message keeps; the rest is dropped without a word (MAX_USER_ENTITY_COUNT in TDLib's
// MessageEntity.cpp).
const maxEntities = 100

// tidy turns a parsed text into what is stored and shown: control characters become spaces, carriage returns and a few
// invisible characters go, white space around the text goes, and the entities follow, lose surrounding white space, and are
// put in order. It follows fix_formatted_text and clean_input_string_with_entities of TDLib (MessageEntity.cpp), but for
// replace_offending_characters. An empty result is an error of the caller's wording.
func tidy(text string, entities []Entity) (string, []Entity) {
	units, at := clean(text)
	moved := make([]Entity, 0, len(entities))
	for _, e := range entities {
		end := min(e.Offset+e.Length, len(at)-1)
		if e.Offset < 0 || e.Offset >= end {
			continue
		}
		e.Offset, e.Length = at[e.Offset], at[end]-at[e.Offset]
		if e.Type == "code" {
			e.Language = ""
		}
		if e, ok := shrink(units, e); ok {
			moved = append(moved, e)
		}
	}
	sortEntities(moved)

	end := len(units)
	for end > 0 && white(units[end-1]) {
		end--
	}
	begin := 0
	for begin < end && white(units[begin]) && (len(moved) == 0 || begin < moved[0].Offset) {
		begin++
	}
	kept := moved[:0]
	for _, e := range moved {
		e.Length = min(e.Offset+e.Length, end) - e.Offset
		e.Offset -= begin
		if e.Length > 0 {
			kept = append(kept, e)
		}
	}
	kept = untangle(kept, end-begin)
	if len(kept) > maxEntities {
		kept = kept[:maxEntities]
	}
	return string(utf16.Decode(units[begin:end])), kept
}

// clean returns the text without what Telegram removes, as UTF-16 units, and where each unit of the old text, and its end,
// lies in the new one.
func clean(text string) (units []uint16, at []int) {
	for _, r := range text {
		for range max(utf16.RuneLen(r), 1) {
			at = append(at, len(units))
		}
		switch {
		case r == '\r', r >= 0x2028 && r <= 0x202e, r == 0x333, r == 0x33f, r == 0x30a:
		case r < ' ' && r != '\n':
			units = append(units, ' ')
		default:
			units = utf16.AppendRune(units, r)
		}
	}
	return units, append(at, len(units))
}

func white(u uint16) bool { return u == ' ' || u == '\n' }

// shrink takes white space off an entity's ends, unless the entity carries something that cannot be seen.
func shrink(units []uint16, e Entity) (Entity, bool) {
	if !carries(e) {
		for e.Length > 0 && white(units[e.Offset]) {
			e.Offset++
			e.Length--
		}
		if !slices.ContainsFunc(units[e.Offset:e.Offset+e.Length], func(u uint16) bool { return !white(u) }) {
			return e, false
		}
	}
	return e, e.Length > 0
}

// carries says whether an entity means something without its text: is_hidden_data_entity of TDLib.
func carries(e Entity) bool {
	switch e.Type {
	case "text_link", "text_mention", "custom_emoji":
		return true
	case "pre":
		return e.Language != ""
	}
	return false
}

// splittable says whether parts of an entity are entities of the same kind: they may cross others, and are merged.
func splittable(kind string) bool {
	switch kind {
	case "bold", "italic", "underline", "strikethrough", "spoiler":
		return true
	}
	return false
}

// untangle makes entities that may stand together: "pre and code entities can't contain other entities; bold, italic,
// underline, strikethrough, and spoiler entities can contain and can be part of any other entities, except pre and code;
// blockquote and expandable_blockquote entities can't be nested; all other entities can't contain each other"
// (https://core.telegram.org/bots/api#formatting-options). What overlaps of the same kind becomes one.
func untangle(entities []Entity, length int) []Entity {
	var kept, quotes []Entity
	code := make([]bool, length)
	for _, e := range entities {
		list := &kept
		switch e.Type {
		case "bold", "italic", "underline", "strikethrough", "spoiler":
			continue
		case "blockquote", "expandable_blockquote":
			list = &quotes
		}
		if n := len(*list); n > 0 && e.Offset < (*list)[n-1].Offset+(*list)[n-1].Length {
			continue
		}
		*list = append(*list, e)
		if e.Type == "code" || e.Type == "pre" {
			for i := e.Offset; i < e.Offset+e.Length; i++ {
				code[i] = true
			}
		}
	}
	kept = append(kept, quotes...)
	for _, kind := range []string{"bold", "italic", "underline", "strikethrough", "spoiler"} {
		covered := make([]bool, length+1)
		for _, e := range entities {
			for i := e.Offset; e.Type == kind && i < e.Offset+e.Length; i++ {
				covered[i] = !code[i]
			}
		}
		from := 0
		for i, on := range covered {
			if on {
				continue
			}
			if i > from {
				kept = append(kept, Entity{Type: kind, Offset: from, Length: i - from})
			}
			from = i + 1
		}
	}
	sortEntities(kept)
	return kept
}

// sortEntities puts entities in the order in which Telegram returns them: by offset, the longer first, then by kind
// (get_type_priority in MessageEntity.cpp).
func sortEntities(entities []Entity) {
	slices.SortStableFunc(entities, func(a, b Entity) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(b.Length, a.Length), cmp.Compare(priority(a), priority(b)))
	})
}

func priority(e Entity) int {
	switch e.Type {
	case "blockquote", "expandable_blockquote":
		return 0
	case "pre":
		return 11
	case "code":
		return 20
	case "text_link", "text_mention":
		return 49
	case "bold":
		return 90
	case "italic":
		return 91
	case "underline":
		return 92
	case "strikethrough":
		return 93
	case "spoiler":
		return 94
	case "custom_emoji":
		return 99
	}
	return 50
}

// finder finds the entities that nobody marked: commands, mentions and web addresses. Telegram also finds hashtags, cashtags,
// e-mail addresses, telephone and card numbers, and addresses without a scheme; those are left out here.
type finder struct {
	command, mention, address *regexp.Regexp
}

func newFinder() finder {
	return finder{
		// match_bot_commands in MessageEntity.cpp; the mark before a command must not be a word's end, a slash or an angle.
		command: regexp.MustCompile(`(?:^|[^\w/<>])(/\w{1,64}(?:@\w{3,32})?)`),
		// match_mentions there: neither behind nor before a letter, a digit or an underscore, of any script.
		mention: regexp.MustCompile(`(?:^|[^\pL\pN_])(@[a-zA-Z0-9_]{2,32})`),
		address: regexp.MustCompile(`(?:^|[^\w])(https?://[^\s<>"]*[^\s<>".,;:!?')\]])`),
	}
}

// find adds what it finds to the entities of a text, but for what lies in a link, code or another found entity.
func (f finder) find(text string, entities []Entity) []Entity {
	var taken []Entity
	for _, e := range entities {
		if !splittable(e.Type) && !strings.HasSuffix(e.Type, "blockquote") {
			taken = append(taken, e)
		}
	}
	add := func(kind string, expression *regexp.Regexp) {
		for _, m := range expression.FindAllStringSubmatchIndex(text, -1) {
			end := m[3]
			if kind == "bot_command" && end < len(text) && (alnum(text[end]) || text[end] >= utf8.RuneSelf ||
				strings.IndexByte("_/<>", text[end]) >= 0) {
				continue // a command ends where its word ends
			}
			next, _ := utf8.DecodeRuneInString(text[end:])
			if kind == "mention" && end < len(text) && (next == '_' || unicode.IsLetter(next) || unicode.IsDigit(next)) {
				continue
			}
			e := Entity{Type: kind, Offset: utf16Len(text[:m[2]]), Length: utf16Len(text[m[2]:end])}
			if !slices.ContainsFunc(taken, func(t Entity) bool {
				return e.Offset < t.Offset+t.Length && t.Offset < e.Offset+e.Length
			}) {
				taken = append(taken, e)
				entities = append(entities, e)
			}
		}
	}
	add("url", f.address)
	add("mention", f.mention)
	add("bot_command", f.command)
	sortEntities(entities)
	return entities
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// checkedLink returns a link's target as Telegram keeps it: a scheme is added, a bare host gets its slash. A target of another
// scheme, or whose host has no dot in it (localhost above all), is no link: get_checked_link in TDLib's LinkManager.cpp.
func checkedLink(target string) (string, bool) {
	target = strings.TrimSpace(target)
	scheme, _, ok := strings.Cut(target, ":")
	switch lowerASCII(scheme) {
	case "tg", "ton", "tonsite":
		return target, ok && strings.Contains(target, "//")
	case "http", "https":
	default:
		if strings.Contains(target, "://") {
			return "", false
		}
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return "", false
	}
	if host := u.Hostname(); !strings.Contains(host, ".") && !strings.Contains(host, ":") || strings.HasSuffix(host, ".") {
		return "", false
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String(), true
}

// userOfLink reads tg://user?id=123, the link that mentions a user.
func userOfLink(target string) (int64, bool) {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "tg" || u.Host != "user" {
		return 0, false
	}
	id, err := strconv.ParseInt(u.Query().Get("id"), 10, 64)
	return id, err == nil && id > 0
}

// cleanName makes a topic's name of what was given: white space collapses, and what is longer than limit characters is cut
// (clean_name in TDLib's misc.cpp).
func cleanName(name string, limit int) string {
	runes := []rune(strings.Join(strings.Fields(name), " "))
	return strings.TrimSpace(string(runes[:min(len(runes), limit)]))
}
