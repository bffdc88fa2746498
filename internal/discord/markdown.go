package discord

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/words"
)

// resolver names what mentions name by their ids. A function returns nothing for what it does not know.
type resolver struct {
	user    func(id string) string
	role    func(id string) string
	channel func(id string) string
}

// Markdown as Discord reads it, in the order in which it is looked for.
var (
	heading  = regexp.MustCompile(`^ *(?:-#|#{1,3})[ \t]+`)
	userTag  = regexp.MustCompile(`^<@!?([0-9]+)>`)
	roleTag  = regexp.MustCompile(`^<@&([0-9]+)>`)
	placeTag = regexp.MustCompile(`^<#([0-9]+)>`)
	emojiTag = regexp.MustCompile(`^<a?:([A-Za-z0-9_]+):[0-9]+>`)
	timeTag  = regexp.MustCompile(`^<t:(-?[0-9]{1,13})(?::([tTdDfFsSR]))?>`)
	slashTag = regexp.MustCompile(`^</([^:>\n]+):[0-9]+>`)
	guideTag = regexp.MustCompile(`^<id:([a-z-]+)(?::[0-9]+)?>`)
	bareLink = regexp.MustCompile(`^<(https?://[^\s>]+)>`)
	namedOne = regexp.MustCompile(`^\[((?:\\.|[^\[\]\\\n])+)\]\(\s*<?(https?://[^\s)>]+)>?(?:\s+"[^"]*")?\s*\)`)
	linkHere = regexp.MustCompile(`^https?://[^\s<]+[^<.,:;"'\]\s]`)
)

// readable turns what an operator typed into the text that others read in Discord, without its markup. Code stays as it was typed,
// with its backticks: nothing in it is markup.
func readable(s string, b resolver) string {
	var out strings.Builder
	for s != "" {
		before, rest, found := strings.Cut(s, "```")
		if code, after, closed := strings.Cut(rest, "```"); found && closed && code != "" && !endsInEscape(before) {
			out.WriteString(lines(before, b))
			out.WriteString("```" + code + "```")
			s = after
			continue
		}
		out.WriteString(lines(s, b))
		break
	}
	return strings.TrimSpace(out.String())
}

// endsInEscape says whether the character behind a text is escaped.
func endsInEscape(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

func lines(s string, b resolver) string {
	all := strings.Split(s, "\n")
	for i, line := range all {
		all[i] = strings.TrimPrefix(line, heading.FindString(line))
	}
	return inline(strings.Join(all, "\n"), b)
}

// inline reads the markup inside of text that has neither blocks of code nor headings any more.
func inline(s string, b resolver) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		rest := s[i:]
		if n, shown := token(rest, b); n > 0 {
			out.WriteString(shown)
			i += n
			continue
		}
		if n, inner := styled(rest, lastRune(s[:i])); n > 0 {
			out.WriteString(inline(inner, b))
			i += n
			continue
		}
		_, size := utf8.DecodeRuneInString(rest)
		out.WriteString(rest[:size])
		i += size
	}
	return out.String()
}

func lastRune(s string) rune {
	r, _ := utf8.DecodeLastRuneInString(s)
	return r
}

// token reads what stands at the beginning of s and is no style: an escape, code, a link, a mention. It returns its length, 0 for
// none, and what it shows.
func token(s string, b resolver) (n int, shown string) {
	switch s[0] {
	case '\\':
		if len(s) > 1 && s[1] < utf8.RuneSelf && unicode.In(rune(s[1]), unicode.P, unicode.S) {
			return 2, s[1:2]
		}
	case '`':
		if n := codeSpan(s); n > 0 {
			return n, s[:n]
		}
		n := len(s) - len(strings.TrimLeft(s, "`"))
		return n, s[:n]
	case 'h':
		if found := linkHere.FindString(s); found != "" {
			return len(found), found
		}
	case '[':
		if m := namedOne.FindStringSubmatch(s); m != nil {
			if m[1] == m[2] {
				return len(m[0]), m[2]
			}
			return len(m[0]), inline(m[1], b) + " (" + m[2] + ")"
		}
	case '<':
		return tag(s, b)
	}
	return 0, ""
}

// codeSpan returns the length of the code that s begins with: as many backticks stand at its end as at its beginning.
func codeSpan(s string) int {
	ticks := len(s) - len(strings.TrimLeft(s, "`"))
	for i := ticks; i < len(s); {
		if s[i] != '`' {
			i++
			continue
		}
		run := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		if run == ticks {
			return i + run
		}
		i += run
	}
	return 0
}

// tag reads what stands in angle brackets.
func tag(s string, b resolver) (n int, shown string) {
	var m []string
	is := func(kind *regexp.Regexp) bool {
		m = kind.FindStringSubmatch(s)
		return m != nil
	}
	switch {
	case is(userTag):
		shown = "@" + cmp.Or(b.user(m[1]), words.Get().Someone)
	case is(roleTag):
		shown = "@" + cmp.Or(b.role(m[1]), words.Get().Role)
	case is(placeTag):
		shown = "#" + cmp.Or(b.channel(m[1]), words.Get().Channel)
	case is(emojiTag):
		shown = ":" + m[1] + ":"
	case is(timeTag):
		at, _ := strconv.ParseInt(m[1], 10, 64) // it has few digits
		shown = timeText(time.Unix(at, 0).UTC(), m[2])
	case is(slashTag):
		shown = "/" + m[1]
	case is(guideTag):
		shown = "#" + m[1]
	case is(bareLink):
		shown = m[1]
	default:
		return 0, ""
	}
	return len(m[0]), shown
}

// timeText writes a time for readers in any zone. A relative time would be wrong by the time it is read.
func timeText(at time.Time, form string) string {
	say := words.Get()
	switch form {
	case "t":
		return at.Format("15:04 UTC")
	case "T":
		return at.Format("15:04:05 UTC")
	case "d", "D":
		return say.Date(at)
	case "F":
		return say.Weekday(at) + at.Format(" 15:04 UTC")
	case "S":
		return say.Date(at) + at.Format(" 15:04:05 UTC")
	}
	return say.Date(at) + at.Format(" 15:04 UTC")
}

// styled reads a styled stretch at the beginning of s, which stands behind the character before. It returns its length with its
// marks, 0 for none, and what is between them.
func styled(s string, before rune) (n int, inner string) {
	for _, mark := range []string{"**", "__", "~~", "||"} {
		if !strings.HasPrefix(s, mark) {
			continue
		}
		if end := closing(s, mark); end > len(mark) {
			return end + len(mark), s[len(mark):end]
		}
	}
	switch {
	case s[0] == '*' && len(s) > 1 && s[1] != '*':
		next, _ := utf8.DecodeRuneInString(s[1:])
		if end := closing(s, "*"); end > 1 && !unicode.IsSpace(next) && !unicode.IsSpace(lastRune(s[:end])) {
			return end + 1, s[1:end]
		}
	case s[0] == '_' && !strings.HasPrefix(s, "__") && !isWord(before):
		// Underscores inside of a word are the word's own.
		if end := closing(s, "_"); end > 1 {
			if next, _ := utf8.DecodeRuneInString(s[end+1:]); !isWord(next) || end+1 == len(s) {
				return end + 1, s[1:end]
			}
		}
	}
	return 0, ""
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// closing returns where the mark that s begins with stands again: not in code or a link, not escaped, and as its own mark, not as
// a part of a longer one. It returns 0 for nowhere.
func closing(s, mark string) int {
	for i := len(mark); i < len(s); {
		switch {
		case s[i] == '\\':
			i += 2
			continue
		case s[i] == '`':
			if n := codeSpan(s[i:]); n > 0 {
				i += n
				continue
			}
		case s[i] == 'h':
			// An address ends where the mark of the style around it stands at its end.
			if found := strings.TrimRight(linkHere.FindString(s[i:]), "*_~|"); found != "" {
				i += len(found)
				continue
			}
		case s[i] == '<':
			if n, _ := tag(s[i:], resolver{user: nobody, role: nobody, channel: nobody}); n > 0 {
				i += n
				continue
			}
		case strings.HasPrefix(s[i:], mark):
			run := len(s[i:]) - len(strings.TrimLeft(s[i:], mark[:1]))
			switch {
			case run == len(mark), run >= 3:
				return i + run - len(mark)
			default:
				i += run // two of what is looked for once: of a style inside
				continue
			}
		}
		i++
	}
	return 0
}

func nobody(string) string { return "" }
