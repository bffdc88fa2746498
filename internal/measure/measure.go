// Package measure counts and cuts texts as chat platforms do: in UTF-16 code units, between characters as people see them, at
// the ends of paragraphs, lines and words. It knows Unicode and no platform.
package measure

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Units returns the length of a text in UTF-16 code units. Where a platform does not say in what it counts, nothing counts more.
func Units(s string) int {
	n := 0
	for _, r := range s {
		n += UnitsOf(r)
	}
	return n
}

// UnitsOf returns how many units a character counts.
func UnitsOf(r rune) int {
	if r >= 0x10000 {
		return 2
	}
	return 1
}

// Prefix returns how many bytes of s, in whole runes, have at most limit UTF-16 units.
func Prefix(s string, limit int) int {
	n := 0
	for i, r := range s {
		if n += UnitsOf(r); n > limit {
			return i
		}
	}
	return len(s)
}

// Split cuts a text into pieces of at most limit UTF-16 units that together are the text: after a paragraph, a line or a
// word where one ends in the second half of a piece, else between two characters as people see them.
func Split(s string, limit int) []string {
	var pieces []string
	for Units(s) > limit {
		n := Prefix(s, limit)
		cut := Break(s, n, nil)
		pieces = append(pieces, s[:cut])
		s = s[cut:]
	}
	return append(pieces, s)
}

// Break returns the best place at or before n to cut s, as Split does. A place that is not good, where that is asked, is passed
// over for a lesser one.
func Break(s string, n int, good func(cut int) bool) int {
	for _, at := range []func(string) int{afterParagraph, afterLine, afterWord} {
		if cut := at(s[:n]); cut > n/2 && (good == nil || good(cut)) {
			return cut
		}
	}
	return Whole(s, n)
}

func afterParagraph(s string) int {
	if i := strings.LastIndex(s, "\n\n"); i >= 0 {
		return i + 2
	}
	return 0
}

func afterLine(s string) int { return strings.LastIndexByte(s, '\n') + 1 }

func afterWord(s string) int {
	i := strings.LastIndexFunc(s, unicode.IsSpace)
	if i < 0 {
		return 0
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return i + size
}

// Whole returns the last place at or before n where s may be cut without tearing a character apart that is made of
// several code points. It gives up after maxCluster bytes, so that stacked marks without end do not stop a message.
func Whole(s string, n int) int {
	const maxCluster = 128
	for at := n; at > 0 && n-at < maxCluster; {
		if startsCluster(s, at) {
			return at
		}
		_, size := utf8.DecodeLastRuneInString(s[:at])
		at -= size
	}
	return n
}

// startsCluster knows combining marks, joiners, emoji modifiers and tags, flags, and CR LF; not all of Unicode's rules.
func startsCluster(s string, at int) bool {
	const zwj = '\u200d'
	next, _ := utf8.DecodeRuneInString(s[at:])
	prev, _ := utf8.DecodeLastRuneInString(s[:at])
	switch {
	case at >= len(s):
		return true
	case next == zwj || prev == zwj:
		return false
	case unicode.In(next, unicode.Mn, unicode.Me, unicode.Mc):
		return false
	case next >= 0x1f3fb && next <= 0x1f3ff, isTag(next):
		return false
	case prev == '\r' && next == '\n':
		return false
	case isFlagLetter(next):
		letters := 0
		for rest := s[:at]; ; letters++ {
			r, size := utf8.DecodeLastRuneInString(rest)
			if !isFlagLetter(r) {
				break
			}
			rest = rest[:len(rest)-size]
		}
		return letters%2 == 0
	}
	return true
}

func isFlagLetter(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// OneLine returns a text without control characters, line breaks and what cannot be seen, cut to limit UTF-16 units with an
// ellipsis.
func OneLine(s string, limit int) string {
	if isLine(s, limit) {
		return s
	}
	s = seen(s[:enough(s, limit+longestCluster)])
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if Units(s) <= limit {
		return s
	}
	n := Prefix(s, limit-1)
	return strings.TrimSpace(s[:Whole(s, n)]) + "…"
}

// isLine says whether a text is a short line as it is, as nearly every one is: ASCII words with a space between them.
func isLine(s string, limit int) bool {
	if len(s) > limit || strings.HasPrefix(s, " ") {
		return false
	}
	space := false
	for i := range len(s) {
		switch c := s[i]; {
		case c > ' ' && c <= '~':
			space = false
		case c != ' ' || space:
			return false
		default:
			space = true
		}
	}
	return !space
}

// longestCluster is more units than characters have that are cut as one, such as emoji that are joined.
const longestCluster = 64

// enough returns how many bytes of a text hold so many units of what can be seen: a long text is not gone through for a short line.
func enough(s string, units int) int {
	for i, r := range s {
		if units < 0 {
			return i
		}
		if !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r) {
			units -= UnitsOf(r)
		}
	}
	return len(s)
}

// seen returns a text without the characters of format: those that turn its direction, so that what stands behind it reads as
// something else, and those without a width, by which two texts look alike and are not. Joiners stay where they make one character
// of two: within emoji, and in scripts that write with them.
func seen(s string) string {
	const (
		nonJoiner, joiner = '\u200c', '\u200d'
		latest            = 0x0590 // from here on are the scripts that join, and all emoji
	)
	if !strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cf, r) }) {
		return s
	}
	var out strings.Builder
	before := rune(0)
	for rest := s; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
		after, _ := utf8.DecodeRuneInString(rest)
		switch {
		case !unicode.Is(unicode.Cf, r):
		case (r == joiner || r == nonJoiner) && before > latest && after > latest && after != utf8.RuneError && !unicode.Is(unicode.Cf, before) &&
			!unicode.Is(unicode.Cf, after):
		case isTag(r) && (before == 0x1f3f4 || isTag(before)): // the flags of England, Scotland and Wales
		default:
			continue
		}
		out.WriteRune(r)
		before = r
	}
	return out.String()
}

func isTag(r rune) bool { return r >= 0xe0020 && r <= 0xe007f }

// IsBlank says whether a text shows nothing, so that a platform would take it for empty.
func IsBlank(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return false
		case r == '\u2800', r == '\u3164', r == '\uffa0', r == '\u115f', r == '\u1160':
			return false
		}
		return true
	})
}
