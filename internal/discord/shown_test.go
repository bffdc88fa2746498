package discord

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// shown returns what a person sees of a message in Discord's apps. It is written after their Markdown rules, apart from how the
// adapter escapes and reads: what should have been escaped and was not loses its marks here.
func shown(s string) string {
	var out strings.Builder
	for lineStart := true; s != ""; {
		if lineStart {
			lineStart = false
			if n := len(blockMark.FindString(s)); n > 0 {
				s = s[n:]
				continue
			}
			if n := len(listMark.FindString(s)); n > 0 {
				out.WriteString("• ")
				s = s[n:]
				continue
			}
		}
		n, text := shownPiece(s)
		out.WriteString(text)
		lineStart = strings.HasSuffix(s[:n], "\n")
		s = s[n:]
	}
	return out.String()
}

var (
	blockMark  = regexp.MustCompile(`^ *(>>> |> |#{1,3}\s+|-#\s+)`)
	listMark   = regexp.MustCompile(`^ *([-*+]|\d+\.)\s+`)
	fence      = regexp.MustCompile("(?s)^```(?:[a-zA-Z0-9_+.#-]+\n)?\n*([^\n].*?)\n*```")
	shownLink  = regexp.MustCompile(`^https?://[^\s<]+[^<.,:;"'\]\s]`)
	shownOther = regexp.MustCompile(`^<(https?://[^>\s]+)>`)
	shownMask  = regexp.MustCompile(`^\[([^\]]+)\]\(https?://[^)\s]+\)`)
	shownWho   = regexp.MustCompile(`^<(@!?|@&|#)(\d+)>`)
	shownEmoji = regexp.MustCompile(`^<a?:(\w+):\d+>`)
	shownTime  = regexp.MustCompile(`^<t:-?\d+(:[tTdDfFR])?>`)
	word       = regexp.MustCompile(`^\w`)
)

// shownPiece returns the length of the first piece of a text, and what is seen of it.
func shownPiece(s string) (int, string) {
	if n := strings.IndexAny(s, "\\`<[*_~|h\n"); n > 0 {
		return n, s[:n] // nothing of it can be the beginning of markup
	} else if n < 0 {
		return len(s), s
	}
	if s[0] == '\\' && len(s) > 1 && !strings.ContainsAny(s[1:2], " \n\t") && !word.MatchString(s[1:]) || strings.HasPrefix(s, `\_`) {
		_, n := utf8.DecodeRuneInString(s[1:])
		return 1 + n, s[1 : 1+n]
	}
	if m := fence.FindStringSubmatch(s); m != nil {
		return len(m[0]), m[1]
	}
	if ticks := len(s) - len(strings.TrimLeft(s, "`")); ticks > 0 {
		mark := s[:ticks]
		if i := strings.Index(s[ticks:], mark); i > 0 {
			return 2*ticks + i, s[ticks : ticks+i]
		}
		return ticks, mark
	}
	if m := shownOther.FindStringSubmatch(s); m != nil {
		return len(m[0]), m[1]
	}
	if m := shownLink.FindString(s); m != "" {
		return len(m), m
	}
	if m := shownMask.FindStringSubmatch(s); m != nil {
		return len(m[0]), shown(m[1])
	}
	if m := shownWho.FindStringSubmatch(s); m != nil {
		return len(m[0]), strings.TrimRight(m[1], "!&") + "somebody"
	}
	if m := shownEmoji.FindStringSubmatch(s); m != nil {
		return len(m[0]), "(" + m[1] + ")"
	}
	if m := shownTime.FindString(s); m != "" {
		return len(m), "(a time)"
	}
	for _, mark := range []string{"**", "__", "~~", "||", "*", "_"} {
		if end := markEnd(s, mark); end > 0 {
			return end + len(mark), shown(s[len(mark):end])
		}
	}
	_, n := utf8.DecodeRuneInString(s)
	return n, s[:n]
}

// markEnd returns where a style ends that s begins with, 0 if it begins with none.
func markEnd(s, mark string) int {
	if !strings.HasPrefix(s, mark) {
		return 0
	}
	for i := len(mark); i < len(s); i++ {
		if s[i] == '\\' {
			i++
			continue
		}
		if !strings.HasPrefix(s[i:], mark) || i == len(mark) {
			continue
		}
		after := s[i+len(mark):]
		if strings.HasPrefix(after, mark[:1]) && len(mark) == 2 {
			continue
		}
		if mark == "_" && word.MatchString(after) || mark == "*" && (s[1] == ' ' || strings.HasPrefix(after, "*")) {
			continue
		}
		return i
	}
	return 0
}

func TestShown(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                        "plain",
		`\*so\*`:                       "*so*",
		"*so* **bold** __u__ ~~x~~":    "so bold u x",
		"> quote\n# head\n- item":      "quote\nhead\n• item",
		"`code *x*` ```go\na\n```":     "code *x* a",
		`https://a.test/x_y_z \_`:      "https://a.test/x_y_z _",
		"<@123> <#1> <:smile:1> <t:1>": "@somebody #somebody (smile) (a time)",
		`\<@123> \\ \@everyone`:        `<@123> \ @everyone`,
		"[a](https://b.test)":          "a",
	} {
		if got := shown(text); got != want {
			t.Errorf("of %q %q is seen, not %q", text, got, want)
		}
	}
}
