package telegram

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func ent(kind string, offset, length int) Entity {
	return Entity{Type: kind, Offset: offset, Length: length}
}

func TestParseHTML(t *testing.T) {
	tests := map[string]struct {
		in       string
		text     string
		entities []Entity
	}{
		"plain": {"hello", "hello", nil},
		"bold":  {"a <b>b</b> c", "a b c", []Entity{ent("bold", 2, 1)}},
		"names": {"<strong>a</strong><em>b</em><ins>c</ins><del>d</del><strike>e</strike><tg-spoiler>f</tg-spoiler>", "abcdef",
			[]Entity{ent("bold", 0, 1), ent("italic", 1, 1), ent("underline", 2, 1), ent("strikethrough", 3, 2), ent("spoiler", 5, 1)}},
		"upper case":     {"<B>x</b>", "x", []Entity{ent("bold", 0, 1)}},
		"nested":         {"<b>a<i>b</i></b>", "ab", []Entity{ent("bold", 0, 2), ent("italic", 1, 1)}},
		"utf-16 offsets": {"😀<b>é😀</b>", "😀é😀", []Entity{ent("bold", 2, 3)}},
		"references":     {"&lt;b&gt; &amp; &quot;x&quot; &#65;&#x42;", `<b> & "x" AB`, nil},
		"no semicolon":   {"a &lt b", "a < b", nil},
		"unknown":        {"&nbsp;&copy; &", "&nbsp;&copy; &", nil},
		"huge number":    {"&#99999999;", "&#99999999;", nil},
		"link": {`<a href="https://x.example/?a=1&amp;b=2">x</a>`, "x",
			[]Entity{{Type: "text_link", Offset: 0, Length: 1, URL: "https://x.example/?a=1&b=2"}}},
		"bare host": {`<a href='http://x.example'>x</a>`, "x",
			[]Entity{{Type: "text_link", Offset: 0, Length: 1, URL: "http://x.example/"}}},
		"link is its text": {`<a>x.example</a>`, "x.example",
			[]Entity{{Type: "text_link", Offset: 0, Length: 9, URL: "http://x.example/"}}},
		"link to nowhere": {`<a href="http://localhost:3001/x">x</a>`, "x", nil},
		"odd scheme":      {`<a href="javascript:alert(1)">x</a>`, "x", nil},
		"code in pre": {`<pre><code class="language-go">x</code></pre>`, "x",
			[]Entity{{Type: "pre", Offset: 0, Length: 1, Language: "go"}}},
		"code alone":   {`<code class="language-go">x</code>`, "x", []Entity{ent("code", 0, 1)}},
		"code in bold": {`<b>a<code>b</code>c</b>`, "abc", []Entity{ent("bold", 0, 1), ent("code", 1, 1), ent("bold", 2, 1)}},
		"quote": {"<blockquote>a</blockquote><blockquote expandable>b</blockquote>", "ab",
			[]Entity{ent("blockquote", 0, 1), ent("expandable_blockquote", 1, 1)}},
		"span": {`<span class="tg-spoiler">a</span>`, "a", []Entity{ent("spoiler", 0, 1)}},
		"emoji": {`<tg-emoji emoji-id="5368324170671202286">👍</tg-emoji>`, "👍",
			[]Entity{{Type: "custom_emoji", Offset: 0, Length: 2, EmojiID: "5368324170671202286"}}},
		"nameless end":    {"<b>a</>", "a", []Entity{ent("bold", 0, 1)}},
		"empty tag":       {"a<b></b>", "a", nil},
		"attributes":      {`<b class=x id="y" z>a</b>`, "a", []Entity{ent("bold", 0, 1)}},
		"white space":     {" \n<b> a </b>\n ", "a", []Entity{ent("bold", 0, 1)}},
		"only white bold": {"a<b> </b>b", "a b", nil},
		"control":         {"a\tb\r\nc\u202ed", "a b\ncd", nil},
		"merged":          {"<b>a</b><b>b</b>", "ab", []Entity{ent("bold", 0, 2)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text, entities, err := parseHTML(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			text, entities = tidy(text, entities)
			if len(entities) == 0 {
				entities = nil
			}
			if text != tt.text {
				t.Errorf("text %q, want %q", text, tt.text)
			}
			if diff := cmp.Diff(tt.entities, entities); diff != "" {
				t.Errorf("entities (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseHTMLRefuses(t *testing.T) {
	tests := map[string]string{
		"<x>a</x>":               `Unsupported start tag "x" at byte offset 0`,
		"é <br/>":                `Unsupported start tag "br/" at byte offset 3`,
		"1 < 2":                  `Unsupported start tag "" at byte offset 2`,
		"a <b":                   `Unclosed start tag at byte offset 2`,
		"a <":                    `Unclosed start tag at byte offset 2`,
		"<b>a":                   `Can't find end tag corresponding to start tag "b"`,
		"a</b>":                  `Unexpected end tag at byte offset 1`,
		"<b>a</i>":               `Unmatched end tag at byte offset 4, expected "</b>", found "</i>"`,
		"<b>a</b":                `Unclosed end tag at byte offset 4`,
		"<span>a</span>":         `Tag "span" must have class "tg-spoiler" at byte offset 0`,
		"<b />":                  `Empty attribute name in the tag "b" at byte offset 0`,
		`<a href`:                `Unclosed start tag "a" at byte offset 0`,
		`<a href=`:               `Unclosed start tag "a" at byte offset 0`,
		`<a href="x`:             `Unclosed start tag at byte offset 0`,
		`<a href=x/y>a</a>`:      `Unexpected end of name token at byte offset 8`,
		"<tg-emoji>a</tg-emoji>": `Invalid custom emoji identifier specified`,
		"&#xd83d;": "Text contains invalid Unicode characters after decoding HTML entities, " +
			"check for unmatched surrogate code units",
	}
	for in, want := range tests {
		t.Run(in, func(t *testing.T) {
			_, _, err := parseHTML(in)
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

func TestFind(t *testing.T) {
	tests := map[string][]Entity{
		"/online 2h":                         {ent("bot_command", 0, 7)},
		"/close@bridge_sandbox_bot":          {ent("bot_command", 0, 25)},
		"é /a /b":                            {ent("bot_command", 2, 2), ent("bot_command", 5, 2)},
		"a/b //c /d/e":                       nil,
		"see https://x.example/a?b=1, @anna": {ent("url", 4, 23), ent("mention", 29, 5)},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			if diff := cmp.Diff(want, newFinder().find(text, nil)); diff != "" {
				t.Errorf("entities (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParseHTML(f *testing.F) {
	for _, seed := range []string{
		"a <b>b</b>", `<a href="x&amp;y">z</a>`, "<pre><code class=\"language-go\">x</code></pre>", "&#x1f600;<i>é</i>",
		"<b", "</", "<a =",
		" <b> <i> x </i>\n</b> ", "<b>\x00</b>", "<blockquote expandable>\r\n<u>x</u></blockquote>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if !utf8.ValidString(in) {
			return
		}
		text, entities, err := parseHTML(in)
		if err != nil {
			return
		}
		text, entities = tidy(text, entities)
		if !utf8.ValidString(text) || strings.Trim(text, " \n") != text && len(entities) == 0 {
			t.Errorf("%q became %q", in, text)
		}
		length := utf16Len(text)
		for _, e := range newFinder().find(text, entities) {
			if e.Offset < 0 || e.Length <= 0 || e.Offset+e.Length > length {
				t.Errorf("%q became %q with %+v", in, text, e)
			}
		}
	})
}
