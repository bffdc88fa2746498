package slack

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
		Identity:  &bridge.Identity{ID: "u1", Name: "Maria <Ana> & Co", Email: "maria@acme.test"},
		UserPhone: "+34600111222", UserPhoneCountry: "ES",
		Metadata: &bridge.Metadata{
			URL: "https://acme.test/pricing?plan=pro&x=\"1\"", PageTitle: "Pricing\n— <Acme>", City: "Madrid", Country: "Spain",
			Timezone: "Europe/Madrid", Language: "es", DeviceType: "mobile", Browser: "Firefox", OS: "Android",
		},
	}
}

// golden compares a text with a golden file; UPDATE_GOLDEN=1 writes it anew.
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

// TestRenderGolden shows the parts as they are sent.
func TestRenderGolden(t *testing.T) {
	files := make([]bridge.Attachment, 0, 12)
	for i := range 12 {
		files = append(files, bridge.Attachment{Filename: string(rune('a'+i)) + ".png", Size: 1})
	}
	const thread = bridge.ThreadID("C1/1.2")
	for name, c := range map[string]struct {
		m    bridge.Outgoing
		flat bool
	}{
		"word":   {m: bridge.Outgoing{Thread: thread, Text: "*a* _b_ `c` <!channel> &amp; :smile: <@U1>\n> d", Kind: bridge.KindMessage}},
		"author": {m: bridge.Outgoing{Thread: thread, Author: "Ana & Eva (Discord)", Text: "On it <3", Kind: bridge.KindMessage}},
		"notice": {m: bridge.Outgoing{Thread: thread, Text: "Visitor left <after 3 min>", Kind: bridge.KindNotice}},
		"links": {m: bridge.Outgoing{Thread: thread, Text: "see https://a.test/x?a=1&b=2, (http://b.test). https:// ftp://c.test https://[bad",
			Kind: bridge.KindMessage}},
		"quote": {m: bridge.Outgoing{Thread: thread, Text: "yes", Quote: &bridge.Quote{Author: "Ana <x>", Text: "*Really*?\n" + strings.Repeat("long ", 100)},
			Kind: bridge.KindMessage}},
		"quote_visitor": {m: bridge.Outgoing{Thread: thread, Text: "no", Quote: &bridge.Quote{Text: " \n"}, Kind: bridge.KindMessage}},
		"mention": {m: bridge.Outgoing{Thread: thread, Text: "A visitor <waits>", Mention: []string{"U1", "nobody", "<!channel>", "W2"},
			Kind: bridge.KindMessage}},
		"files": {m: bridge.Outgoing{Thread: thread, Text: "See", Kind: bridge.KindMessage, Links: []bridge.Attachment{
			{Filename: "a<b>.pdf", Size: 123456, URL: "https://f.test/a?x=1&y=2"}, {Filename: "b.png", Size: 2_345_678}, {}}}},
		"upload":       {m: bridge.Outgoing{Thread: thread, Text: "See", Files: files, Kind: bridge.KindMessage}},
		"upload_alone": {m: bridge.Outgoing{Thread: thread, Files: files[:1], Kind: bridge.KindNotice}},
		"blank":        {m: bridge.Outgoing{Thread: thread, Text: " \n\u200b", Kind: bridge.KindMessage}},
		"empty":        {m: bridge.Outgoing{Thread: thread, Kind: bridge.KindMessage}},
		"answer":       {m: bridge.Outgoing{Thread: "C1/", Text: "You are online.", ReplyTo: "response/1/https://x", Kind: bridge.KindMessage}},
		"flat_card":    {m: bridge.Outgoing{Visitor: "Maria <Ana>", Card: visitor(), Text: "Hello", Kind: bridge.KindMessage}, flat: true},
		"flat":         {m: bridge.Outgoing{Visitor: "Maria", Author: "Ana", Text: "Hello", Kind: bridge.KindMessage}, flat: true},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, p := range render(c.m, c.flat) {
				var blocks any
				if p.Markup != nil {
					raw, err := json.Marshal(p.Markup)
					if err == nil {
						err = json.Unmarshal(raw, &blocks)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				names := make([]string, 0, len(p.Files))
				for _, f := range p.Files {
					names = append(names, f.Filename)
				}
				out := json.NewEncoder(&b)
				out.SetEscapeHTML(false)
				out.SetIndent("", "  ")
				if err := out.Encode(map[string]any{"blocks": blocks, "plain": p.Plain, "text": fallback(p.Plain), "silent": p.Silent,
					"reply": p.ReplyTo, "mention": p.Mention, "files": names}); err != nil {
					t.Fatal(err)
				}
			}
			golden(t, name, b.String())
		})
	}
}

func TestCardGolden(t *testing.T) {
	long := visitor()
	long.Identity.Name = strings.Repeat("x", 5000)
	long.Metadata.URL = "https://x.test/" + strings.Repeat("y", 5000)
	long.Metadata.PageTitle, long.Metadata.City, long.Metadata.OS = long.Identity.Name, long.Identity.Name, long.Identity.Name
	for name, c := range map[string]bridge.Card{
		"card": {Session: visitor()}, "card_bare": {Session: &bridge.Session{ID: "s", VisitorID: "v_42"}},
		"card_long":  {Session: long, Words: long.Identity.Name, Answers: long.Identity.Name},
		"card_state": {Session: visitor(), Words: "where is *my* <order> & @here?", Answers: "Answers: Ana"},
	} {
		card := cardOf(c)
		if n := measure.Units(platform.Text(card)); n > maxPart {
			t.Errorf("%s has %d units", name, n)
		}
		golden(t, name, platform.Text(card)+"\n")
	}
}

// Whatever a visitor writes, the parts are within the limits, have nothing but their text in them, and are the whole of it.
func TestRenderAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("<>&*_~`:@#!|\n \u200d👍🏽🇪🇸é"))), 1, 9000, -1).Draw(t, "text")
		if !utf8.ValidString(text) {
			return
		}
		plain, shown := "", ""
		for _, p := range render(bridge.Outgoing{Text: text, Kind: bridge.KindMessage}, false) {
			if n := measure.Units(p.Plain); n > maxPart+measure.Units(platform.BlankMark()) {
				t.Fatalf("a part of %d units", n)
			}
			if n := utf8.RuneCountInString(fallback(p.Plain)); n > maxFallback {
				t.Fatalf("a fallback of %d characters", n)
			}
			plain += strings.TrimPrefix(p.Plain, platform.BlankMark())
			for _, e := range elementsOf(t, p.Markup) {
				if e.Type != "text" && e.Type != "link" || e.Text == "" {
					t.Fatalf("an element %+v", e)
				}
				if e.Text != platform.BlankMark() {
					shown += e.Text
				}
			}
		}
		if plain != text || shown != text {
			t.Fatalf("shown %q plain %q", shown, plain)
		}
	})
}

func elementsOf(t interface{ Fatal(...any) }, blocks any) []element {
	var all []element
	raw, err := json.Marshal(blocks)
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []element
	for _, block := range all {
		for _, e := range block.Elements {
			out = append(out, e.Elements...)
		}
	}
	return out
}

func TestFallback(t *testing.T) {
	for _, text := range []string{strings.Repeat("<", 4000), strings.Repeat("x", 4001), strings.Repeat("😀&", 3000)} {
		got := fallback(text)
		if n := utf8.RuneCountInString(got); n > maxFallback || n < maxFallback-10 {
			t.Errorf("%d characters", n)
		}
		if i := strings.LastIndexAny(got, "&;"); i >= 0 && got[i] == '&' {
			t.Errorf("half an escape: %q", got[i:])
		}
	}
}
