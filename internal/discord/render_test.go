package discord

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

func visitor() *bridge.Session {
	return &bridge.Session{
		ID: "s1", VisitorID: "v_42",
		Identity:  &bridge.Identity{ID: "u1", Name: "Maria *Ana* & Co", Email: "maria_a@acme.test"},
		UserPhone: "+34600111222", UserPhoneCountry: "ES",
		Metadata: &bridge.Metadata{
			URL: "https://acme.test/pricing?plan=_pro_&x=1", PageTitle: "Pricing\n— **Acme**", City: "Madrid", Country: "Spain",
			Timezone: "Europe/Madrid", Language: "es", DeviceType: "mobile", Browser: "Firefox", OS: "Android",
		},
	}
}

// golden compares a text with a file of testdata; UPDATE_GOLDEN=1 writes it anew.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// The golden files show the parts as they are sent.
func TestRenderGolden(t *testing.T) {
	const thread, flat = bridge.ThreadID("100/7"), bridge.ThreadID("200/flat/300")
	asked := bridge.MessageID("interaction/1/2/sealed")
	many := make([]bridge.Attachment, 12)
	for i := range many {
		many[i] = bridge.Attachment{Filename: string(rune('a'+i)) + ".png", Size: 1000}
	}
	for name, m := range map[string]bridge.Outgoing{
		"word":   {Thread: thread, Text: "<b>*_~`|>@everyone @here @ana # - 1. [a](b) \\*", Kind: bridge.KindMessage},
		"lines":  {Thread: thread, Text: "> q\n# h\n - l\n 12. n\n-# s\nnot # > - 1.\n```go\nx\n```\n", Kind: bridge.KindMessage},
		"links":  {Thread: thread, Text: "see https://a.test/x_y*z*, <https://b.test/_> and (http://c.test/_d_)", Kind: bridge.KindMessage},
		"author": {Thread: thread, Author: "Ana *Lead* (Telegram)", Text: "On it <3", ReplyTo: "12", Kind: bridge.KindMessage},
		"notice": {Thread: thread, Text: "⚡ left *after*\n\n3 min", Kind: bridge.KindNotice},
		"flat":   {Thread: flat, Visitor: "Maria *Ana*", Text: "Hello", Kind: bridge.KindMessage},
		"flat_author": {Thread: flat, Visitor: "Maria", Author: "Ana", Text: strings.Repeat("many words ", 300),
			Kind: bridge.KindMessage},
		"files": {Thread: thread, Text: "See", Kind: bridge.KindMessage, Links: []bridge.Attachment{
			{Filename: "a_b_.pdf", Size: 123456, URL: "https://f.test/a_b_?x=1&y=2"}, {Filename: "b.png", Size: 2_345_678}, {}}},
		"files_only":    {Thread: thread, Kind: bridge.KindMessage, Links: []bridge.Attachment{{Filename: "a.pdf", Size: 999}}},
		"blank":         {Thread: thread, Text: " \n\u200b", Kind: bridge.KindMessage},
		"empty":         {Thread: thread, Kind: bridge.KindMessage},
		"upload":        {Thread: thread, Text: "See", ReplyTo: "5", Files: many, Kind: bridge.KindMessage},
		"upload_alone":  {Thread: thread, Text: " ", ReplyTo: "5", Files: many[:1], Kind: bridge.KindNotice},
		"upload_author": {Thread: thread, Author: "Ana (Slack)", Files: many[3:5], Kind: bridge.KindMessage},
		"upload_large": {Thread: thread, Kind: bridge.KindMessage, Files: []bridge.Attachment{
			{Filename: "1", Size: maxUpload}, {Filename: "2", Size: 1}, {Filename: "3", Size: maxUpload - 1}, {Filename: "4", Size: 1}}},
		"mention": {Thread: thread, Text: "A visitor <@1> waits", Mention: []string{"500", "anonymous", "-100", "501"}, Kind: bridge.KindMessage},
		"answer":  {Thread: thread, Text: strings.Repeat("status ", 300), ReplyTo: asked, Kind: bridge.KindMessage},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, p := range render(m) {
				if n := measure.Units(p.Text); n > maxText {
					t.Errorf("a part has %d units", n)
				}
				b.WriteString("--- silent=" + map[bool]string{true: "yes", false: "no"}[p.Silent] + " reply=" + string(p.ReplyTo))
				if len(p.Mention) > 0 {
					b.WriteString(" mention=" + strings.Join(p.Mention, ","))
				}
				if len(p.Files) > 0 {
					b.WriteString(" files")
					for _, f := range p.Files {
						b.WriteString(" " + f.Filename)
					}
				}
				b.WriteString("\n" + p.Text + "\n")
				if p.Plain != "" {
					b.WriteString("--- plain\n" + p.Plain + "\n")
				}
			}
			golden(t, name, b.String())
		})
	}
}

func TestCardGolden(t *testing.T) {
	stars := strings.Repeat("*", 5000)
	for name, c := range map[string]bridge.Card{
		"card":       {Session: visitor()},
		"card_bare":  {Session: &bridge.Session{ID: "s", VisitorID: "v_42"}},
		"card_state": {Session: visitor(), Words: "where is *my* <order> & @here?", Answers: "Answers: Ana"},
		"card_long": {Words: stars, Answers: stars, Session: &bridge.Session{ID: stars, VisitorID: stars, UserPhone: stars, Identity: &bridge.Identity{Name: stars, Email: stars},
			Metadata: &bridge.Metadata{URL: "https://a.test/" + stars, PageTitle: stars, City: stars, Country: stars, Timezone: stars, Language: stars,
				DeviceType: stars, Browser: stars, OS: stars}}},
	} {
		t.Run(name, func(t *testing.T) {
			card := cardOf(c)
			raw, err := json.MarshalIndent(card, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, string(raw)+"\n")
			if measure.Units(card.Title) > maxTitle || measure.Units(card.Description) > maxAbout || measure.Units(card.Footer.Text) > maxFooter {
				t.Errorf("the card is too long: %d, %d, %d", measure.Units(card.Title), measure.Units(card.Description), measure.Units(card.Footer.Text))
			}
		})
	}
}

// Whatever is sent: parts are within the limit, show something, are whole characters, are seen as they were typed, and together
// are the text.
func TestRenderProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"word ", "\n", "\n\n", "😀", "👨‍👩‍👧‍👦", "🇪🇸", "e\u0301", "<b>", "&amp;", "ש", "a",
			"*", "**", "_", "__", "~~", "||", "`", "```", "\\", "> ", ">>> ", "# ", "-# ", "- ", "1. ", "[a](https://x.test)", "<@12>", "<#1>",
			"<:a:1>", "<t:1>", "@everyone", "@here", "https://a.test/_b_*c* ", "http://x.test", " ", ".", ")", ":",
			strings.Repeat("x", 900), strings.Repeat("😀", 700), strings.Repeat("e\u0301", 500), strings.Repeat("🇪🇸", 300), strings.Repeat(" ", 100),
			strings.Repeat("*", 700)}), 1, 40).Draw(rt, "words")
		all := strings.Join(words, "")
		m := bridge.Outgoing{Thread: "1/7", Text: all, Kind: bridge.KindMessage}
		flat := rapid.Bool().Draw(rt, "flat")
		if flat {
			m.Thread, m.Visitor = "1/flat/7", "Maria"
		}
		var whole strings.Builder
		for i, p := range render(m) {
			if n := measure.Units(p.Text); n == 0 || n > maxText {
				rt.Fatalf("a part has %d units", n)
			}
			bare := p.Plain
			if bare == "" {
				bare = p.Text
			}
			if measure.IsBlank(bare) || !utf8.ValidString(bare) {
				rt.Fatalf("a part is blank or torn: %q", bare)
			}
			if seen := strings.ReplaceAll(shown(p.Text), "\u2060", ""); seen != bare {
				rt.Fatalf("%q is seen as %q, not as %q", p.Text, seen, bare)
			}
			if flat {
				var ok bool
				if bare, ok = strings.CutPrefix(bare, "Maria\n"); !ok {
					rt.Fatalf("part %d does not say whose it is", i)
				}
			}
			bare = strings.TrimPrefix(bare, platform.BlankMark())
			for _, torn := range []string{"\u0301", "\u200d", "🇸"} {
				if strings.HasPrefix(bare, torn) {
					rt.Fatalf("part %d begins within a character", i)
				}
			}
			whole.WriteString(bare)
		}
		if whole.String() != all {
			rt.Fatalf("the parts are not the text: %d bytes, %d", whole.Len(), len(all))
		}
	})
}

// A backslash behind what is nearly an address, or behind one in bold, would make it one, and leave what follows as markup.
func TestNearlyAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://a<@1>":           `https\://a\<@1>`,
		"see http:///<@1>":        `see http\:///\<@1>`,
		"https://":                `https\://`,
		"https://a.test/<@1>":     `<https://a.test/>\<@1>`,
		"https://a.test/b_c, x:/": `https://a.test/b_c, x:/`,
	} {
		if got := escape(text, true); got != want || shown(got) != text {
			t.Errorf("%q is written %q and seen as %q", text, got, shown(got))
		}
		if got := escape(text, false); shown(got) != text {
			t.Errorf("%q in bold is written %q and seen as %q", text, got, shown(got))
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, text string
		limit      int
		want       []string
	}{
		{"fits", "hello", 5, []string{"hello"}},
		{"word", "hello world", 8, []string{"hello ", "world"}},
		{"line", "one two\nthree four", 14, []string{"one two\n", "three four"}},
		{"paragraph", "aaaa bb\n\ncc\ndd ee", 14, []string{"aaaa bb\n\n", "cc\ndd ee"}},
		{"no boundary", "abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"escaped", "****", 4, []string{"**", "**"}},
		{"surrogates", "😀😀😀", 3, []string{"😀", "😀", "😀"}},
		{"combining", "ae\u0301e\u0301", 4, []string{"ae\u0301", "e\u0301"}},
		{"joined", "a👩‍💻b", 5, []string{"a", "👩‍💻", "b"}},
		{"flags", "🇪🇸🇫🇷🇩🇪", 6, []string{"🇪🇸", "🇫🇷", "🇩🇪"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, piece := range split([]run{{c.text, plain}}, c.limit) {
				got = append(got, platform.Text(piece))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestThreadName(t *testing.T) {
	for _, c := range []struct{ name, id, want string }{
		{"Maria", "v", "Maria"},
		{" Maria \n López\t", "v", "Maria López"},
		{"\u200b", "v1", "v1"},
		{"", "\n", "Visitor"},
		{strings.Repeat("x", 101), "v", strings.Repeat("x", 99) + "…"},
		{strings.Repeat("👩‍💻", 300), "v", strings.Repeat("👩‍💻", 19) + "…"},
	} {
		if got := platform.ThreadName(&bridge.Session{VisitorID: c.id, Identity: &bridge.Identity{Name: c.name}}, maxName); got != c.want || measure.Units(got) > maxName {
			t.Errorf("%q: the thread is called %q, not %q", c.name, got, c.want)
		}
	}
}
