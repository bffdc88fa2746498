package measure

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  []string
	}{
		{"", 5, []string{""}},
		{"short", 5, []string{"short"}},
		{"one two three", 8, []string{"one two ", "three"}},
		{"one\ntwo three", 12, []string{"one\ntwo ", "three"}},
		{"a paragraph\n\nand\nanother one", 20, []string{"a paragraph\n\n", "and\nanother one"}},
		{"abcdefgh", 3, []string{"abc", "def", "gh"}},
		{"😀😀😀", 5, []string{"😀😀", "😀"}},
		{"ab👩‍💻", 6, []string{"ab", "👩‍💻"}},
		{"🇪🇸🇫🇷🇩🇪", 6, []string{"🇪🇸", "🇫🇷", "🇩🇪"}},
		{"ee\u0301", 2, []string{"e", "e\u0301"}},
	} {
		if got := Split(c.text, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%q at %d: %q", c.text, c.limit, got)
		}
	}
}

func TestSplitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, limit := rapid.String().Draw(t, "text"), rapid.IntRange(2, 40).Draw(t, "limit")
		if !utf8.ValidString(text) {
			return
		}
		pieces := Split(text, limit)
		if strings.Join(pieces, "") != text {
			t.Fatalf("the pieces %q are not the text", pieces)
		}
		for i, p := range pieces {
			if n := Units(p); n > limit || n == 0 && len(pieces) > 1 && i < len(pieces)-1 || !utf8.ValidString(p) {
				t.Fatalf("piece %d of %q has %d units", i, pieces, n)
			}
		}
	})
}

func TestOneLine(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"  a\n\tb\x00 c ", 20, "a b c"},
		{"abcdef", 4, "abc…"},
		{"ab 😀😀", 5, "ab…"},
		{"", 4, ""},
		{"\u202egnp.elif", 20, "gnp.elif"},
		{"a\u2066b\u2069 \u200fc\u061c", 20, "ab c"},
		{"A\u200bn\u200da\u2060 \ufeffB\u00aden", 20, "Ana Ben"},
		{"👩\u200d👩\u200d👧 \u200d👧\u200d", 20, "👩\u200d👩\u200d👧 👧"},
		{"می\u200cخواهم", 20, "می\u200cخواهم"},
		{"क्\u200dष", 20, "क्\u200dष"},
		{"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f \U000e0067", 20,
			"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"},
		{"a\u2028b\u2029c", 20, "a b c"},
		{strings.Repeat(" \u200b", 1000) + "a" + strings.Repeat("\n", 1000) + "bcdef" + strings.Repeat("g ", 1000), 6, "a bcd…"},
	} {
		if got := OneLine(c.text, c.limit); got != c.want {
			t.Errorf("%q at %d: %q", c.text, c.limit, got)
		}
	}
}

// What is taken for a line as it is would be one as well if it were gone through.
func TestOneLineShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab ~  \t\x7f\u200bé"))).Draw(t, "text")
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		if long := OneLine(text+"\u200b", limit); isLine(text, limit) && long != text {
			t.Fatalf("%q at %d is %q", text, limit, long)
		}
	})
}

func TestIsBlank(t *testing.T) {
	for text, want := range map[string]bool{"": true, " \n\t": true, "\u200b\u200d": true, "\u2800\u3164": true, "a": false, "\u200ba": false, "😀": false} {
		if got := IsBlank(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}
