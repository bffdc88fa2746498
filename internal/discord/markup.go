package discord

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// A message is built as runs of text and becomes Discord's Markdown only when it has been cut into pieces: so no piece ever has
// half an escape or half a style, and its length is the one that Discord counts. What visitors typed is escaped whole, their code
// fences too, and arrives as it was typed; there is no fence that a cut could tear.

// style is how a run is shown.
type style uint8

const (
	plain style = iota
	bold
	// small is Discord's subtext, for what the bridge itself says: visitors' words never look like it.
	small
	// raw is markup already: a mention, or the address of a file.
	raw
)

type run struct {
	text  string
	style style
}

// Shown is what platform.Text puts together.
func (r run) Shown() string { return r.text }

// markup returns the runs as Markdown.
func markup(runs []run) string {
	var b strings.Builder
	lineStart := true
	for _, r := range runs {
		if r.text == "" {
			continue
		}
		switch r.style {
		case raw:
			b.WriteString(r.text)
		case bold:
			b.WriteString("**" + escape(r.text, false) + "**")
		case small:
			for i, line := range strings.Split(r.text, "\n") {
				if i > 0 {
					b.WriteByte('\n')
				}
				if (i > 0 || lineStart) && !measure.IsBlank(line) {
					b.WriteString("-# ")
				}
				b.WriteString(escape(line, true))
			}
		default:
			b.WriteString(escape(r.text, true))
		}
		lineStart = strings.HasSuffix(r.text, "\n")
	}
	return b.String()
}

// linked matches what Discord shows as a link wherever it stands. Nothing in it is markup, and a backslash there would be shown and
// lead elsewhere. The pattern is that of Discord's apps.
var linked = regexp.MustCompile(`https?://[^\s<]+[^<.,:;"'\]\s]`)

// tagged matches what Discord shows as something else than its text: mentions, emoji, times, links in brackets.
var tagged = regexp.MustCompile(`^<(?:@[!&]?[0-9]|#[0-9]|a?:[A-Za-z0-9_]+:[0-9]|t:-?[0-9]|/[^>\n]*:[0-9]|id:|https?://)`)

// linkAt returns a link and what follows it up to the next space or bracket, and how long that is in s. A backslash behind it
// would count as part of it: where one is needed the link stands in brackets, which Discord does not show.
func linkAt(s string, length int) (shown string, n int) {
	n = length + len(s[length:]) - len(strings.TrimLeft(s[length:], ".,:;\"']"))
	if !tagged.MatchString(s[n:]) {
		if strings.HasPrefix(s[n:], "<") {
			n++
		}
		return s[:n], n
	}
	if !strings.Contains(s[:length], ">") {
		return "<" + s[:length] + ">" + s[length:n], n
	}
	const wordJoiner = "\u2060" // shows nothing, and tears the tag
	return s[:n] + "<" + wordJoiner, n + 1
}

// escape returns text so that Discord shows it as it is: with a backslash before whatever could begin markup. links says that
// addresses stay untouched; inside a style they cannot. What is none must not become one: the backslash behind it would be a part of it.
func escape(s string, links bool) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	var addresses [][]int
	if links {
		addresses = linked.FindAllStringIndex(s, -1)
	}
	lineStart := true // only spaces since the line began
	for i := 0; i < len(s); {
		if len(addresses) > 0 && i == addresses[0][0] {
			shown, n := linkAt(s[i:], addresses[0][1]-i)
			b.WriteString(shown)
			i, addresses, lineStart = i+n, addresses[1:], false
			continue
		}
		c := s[i]
		switch {
		case c == '\n':
			lineStart = true
			b.WriteByte(c)
			i++
			continue
		case c == ' ' && lineStart:
			b.WriteByte(c)
			i++
			continue
		case strings.IndexByte("\\*_~`|<[]", c) >= 0:
			b.WriteByte('\\')
		case c == '@' && (strings.HasPrefix(s[i+1:], "everyone") || strings.HasPrefix(s[i+1:], "here")):
			b.WriteByte('\\')
		case c == ':' && strings.HasPrefix(s[i:], "://") && (strings.HasSuffix(s[:i], "http") || strings.HasSuffix(s[:i], "https")):
			b.WriteByte('\\')
		case lineStart && (c == '>' || c == '#' || c == '-' || c == '+'):
			b.WriteByte('\\')
		case lineStart && c >= '0' && c <= '9':
			// 1. begins a numbered list, and Discord counts on from the first number by itself.
			n := i
			for n < len(s) && s[n] >= '0' && s[n] <= '9' {
				n++
			}
			b.WriteString(s[i:n])
			if i = n; n < len(s) && (s[n] == '.' || s[n] == ')') {
				b.WriteByte('\\')
				b.WriteByte(s[n])
				i++
			}
			lineStart = false
			continue
		}
		b.WriteByte(c)
		lineStart = false
		i++
	}
	return b.String()
}

// split cuts runs into pieces whose markup has at most limit UTF-16 units, and whose texts together are the runs' text: after a
// paragraph, a line or a word where one ends in the second half of a piece, else between two characters as people see them.
func split(runs []run, limit int) [][]run {
	var pieces [][]run
	for cost(runs) > limit {
		s := platform.Text(runs)
		n := measure.Prefix(s, limit)
		for c := costTo(runs, n); c > limit; c = costTo(runs, n) {
			// Not below one character: a piece is never empty.
			_, least := utf8.DecodeRuneInString(s)
			n = max(least, measure.Prefix(s, min(measure.Units(s[:n])*limit/c, measure.Units(s[:n])-1)))
		}
		n = measure.Break(s, n, func(cut int) bool { return costTo(runs, cut) <= limit })
		piece, rest := cutAt(runs, n)
		pieces, runs = append(pieces, piece), rest
	}
	return append(pieces, runs)
}

func cost(runs []run) int { return measure.Units(markup(runs)) }

func costTo(runs []run, n int) int {
	first, _ := cutAt(runs, n)
	return cost(first)
}

// cutAt cuts runs behind the first n bytes of their text.
func cutAt(runs []run, n int) (first, rest []run) {
	for _, r := range runs {
		k := min(n, len(r.text))
		n -= k
		if k > 0 {
			first = append(first, run{r.text[:k], r.style})
		}
		if r.text = r.text[k:]; r.text != "" {
			rest = append(rest, r)
		}
	}
	return first, rest
}
