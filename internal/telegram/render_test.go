package telegram

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
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

// The golden files show the parts as they are sent; UPDATE_GOLDEN=1 writes them anew.
func TestRenderGolden(t *testing.T) {
	update := os.Getenv("UPDATE_GOLDEN") != ""
	const topic, flat = bridge.ThreadID("-100/7"), bridge.ThreadID("-100/flat/s1")
	album := []bridge.Attachment{
		{Filename: "a.png", MimeType: "image/png", Size: 1000}, {Filename: "b.jpg", MimeType: "image/jpeg; x=y", Size: 2000},
		{Filename: "c.mp4", MimeType: "video/mp4", Size: 3000}, {Filename: "<d>.pdf", MimeType: "application/pdf", Size: 4000},
		{Filename: "e.gif", MimeType: "image/gif", Size: 5000}, {Filename: "f.webp", MimeType: "image/webp", Size: 6000},
	}
	for name, m := range map[string]bridge.Outgoing{
		"word":   {Thread: topic, Text: "<b>&amp;_*~|>@everyone \"q\"", Kind: bridge.KindMessage},
		"card":   {Thread: topic, Card: visitor(), Text: "Hello?\n\nAnyone < there > & here?", Kind: bridge.KindMessage},
		"bare":   {Thread: topic, Card: &bridge.Session{ID: "s", VisitorID: "v_42"}, Kind: bridge.KindNotice},
		"apart":  {Thread: topic, Card: visitor(), Text: strings.Repeat("long word ", 400), ReplyTo: "5", Kind: bridge.KindMessage},
		"author": {Thread: topic, Author: "Ana & Eva (Discord)", Text: "On it <3", ReplyTo: "12", Kind: bridge.KindMessage},
		"notice": {Thread: topic, Text: "Visitor left <after 3 min>", Kind: bridge.KindNotice},
		"flat":   {Thread: flat, Visitor: "Maria <Ana>", Text: "Hello", Kind: bridge.KindMessage},
		"flat_author": {Thread: flat, Visitor: "Maria", Author: "Ana", Text: strings.Repeat("many words ", 600),
			Kind: bridge.KindMessage},
		"files": {Thread: topic, Text: "See", Kind: bridge.KindMessage, Links: []bridge.Attachment{
			{Filename: "a<b>.pdf", Size: 123456, URL: "https://f.test/a?x=1&y=2"}, {Filename: "b.png", Size: 2_345_678}, {}}},
		"files_only":    {Thread: topic, Kind: bridge.KindMessage, Links: []bridge.Attachment{{Filename: "a.pdf", Size: 999}}},
		"blank":         {Thread: topic, Text: " \n\u200b", Kind: bridge.KindMessage},
		"upload":        {Thread: topic, Text: "See", ReplyTo: "5", Files: album, Kind: bridge.KindMessage},
		"upload_alone":  {Thread: topic, ReplyTo: "5", Files: album[:1], Kind: bridge.KindNotice},
		"upload_card":   {Thread: topic, Card: visitor(), Text: " ", ReplyTo: "5", Files: album[:1], Kind: bridge.KindMessage},
		"upload_author": {Thread: topic, Author: "Ana (Slack)", Files: album[3:], Kind: bridge.KindMessage},
		"upload_flat":   {Thread: flat, Visitor: "Maria", Files: album[:2], Kind: bridge.KindMessage},
		"mention":       {Thread: topic, Text: "A visitor <waits>", Mention: []string{"500", "anonymous", "-100", "501"}, Kind: bridge.KindMessage},
		"mention_card":  {Thread: topic, Card: visitor(), Mention: []string{"500"}, Kind: bridge.KindMessage},
		"names": {Thread: topic, Author: "@boss", Kind: bridge.KindMessage, Text: "@ana_op, (@eva) a@b.test mail@x @é @a @ @" + strings.Repeat("x", 33) +
			" https://m.test/@ana/post?q=\"1\". x://@bob http://-/@carl <https://m.test/@dora>\u2003http://m.test/@e1 @@frank @änne @garyé"},
		"many_names": {Thread: topic, Text: strings.Repeat("@ana ", 82) + "https://m.test/@ana", Kind: bridge.KindMessage},
		"empty":      {Thread: topic, Kind: bridge.KindMessage},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, p := range render(m) {
				if n := measure.Units(p.Plain); n > maxText {
					t.Errorf("a part has %d units", n)
				}
				b.WriteString("--- silent=")
				b.WriteString(map[bool]string{true: "yes", false: "no"}[p.Silent])
				b.WriteString(" reply=" + string(p.ReplyTo))
				if len(p.Mention) > 0 {
					b.WriteString(" mention=" + strings.Join(p.Mention, ","))
				}
				if len(p.Files) > 0 {
					b.WriteString(" files")
					for _, f := range p.Files {
						b.WriteString(" " + f.Filename)
					}
					b.WriteString("\n" + p.Text + p.Plain)
					continue
				}
				b.WriteString("\n" + p.Text + "\n--- plain\n" + p.Plain + "\n")
			}
			path := filepath.Join("testdata", name+".golden")
			if update {
				if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever is sent: parts are within the limit, show something, are whole characters, and together are the text.
func TestRenderProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"word ", "\n", "\n\n", "😀", "👨‍👩‍👧‍👦", "🇪🇸", "e\u0301", "<b>", "&amp;", "ש", "a",
			strings.Repeat("x", 900), strings.Repeat("😀", 700), strings.Repeat("e\u0301", 500), strings.Repeat("🇪🇸", 300), strings.Repeat(" ", 100)}),
			1, 40).Draw(rt, "words")
		all := strings.Join(words, "")
		m := bridge.Outgoing{Thread: "-1/7", Text: all, Kind: bridge.KindMessage}
		flat := rapid.Bool().Draw(rt, "flat")
		if flat {
			m.Thread, m.Visitor = "-1/flat/s", "Maria"
		}
		var whole strings.Builder
		parts := render(m)
		for i, p := range parts {
			if n := measure.Units(p.Plain); n == 0 || n > maxText {
				rt.Fatalf("a part has %d units", n)
			}
			if measure.IsBlank(p.Plain) || !utf8.ValidString(p.Plain) {
				rt.Fatalf("a part is blank or torn: %q", p.Plain)
			}
			plain := p.Plain
			if flat {
				var ok bool
				if plain, ok = strings.CutPrefix(plain, "Maria\n"); !ok {
					rt.Fatalf("part %d does not say whose it is", i)
				}
			}
			plain = strings.TrimPrefix(plain, platform.BlankMark())
			for _, torn := range []string{"\u0301", "\u200d"} {
				if strings.HasPrefix(plain, torn) {
					rt.Fatalf("part %d begins within a character", i)
				}
			}
			if strings.HasPrefix(plain, "🇸") {
				rt.Fatalf("part %d begins within a flag", i)
			}
			whole.WriteString(plain)
		}
		if whole.String() != all {
			rt.Fatalf("the parts are not the text: %d bytes, %d", whole.Len(), len(all))
		}
	})
}

func TestSplitText(t *testing.T) {
	for _, c := range []struct {
		name, text string
		limit      int
		want       []string
	}{
		{"fits", "hello", 5, []string{"hello"}},
		{"word", "hello world", 8, []string{"hello ", "world"}},
		{"line", "one two\nthree four", 14, []string{"one two\n", "three four"}},
		{"paragraph", "aaaa bb\n\ncc\ndd ee", 14, []string{"aaaa bb\n\n", "cc\ndd ee"}},
		{"too early a paragraph", "a\n\nbcdef ghijk lmn", 12, []string{"a\n\nbcdef ", "ghijk lmn"}},
		{"no boundary", "abcdefghij", 4, []string{"abcd", "efgh", "ij"}},
		{"surrogates", "😀😀😀", 3, []string{"😀", "😀", "😀"}},
		{"combining", "ae\u0301e\u0301", 4, []string{"ae\u0301", "e\u0301"}},
		{"joined", "a👩‍💻b", 5, []string{"a", "👩‍💻", "b"}},
		{"skin", "a👍🏽", 4, []string{"a", "👍🏽"}},
		{"flags", "🇪🇸🇫🇷🇩🇪", 6, []string{"🇪🇸", "🇫🇷", "🇩🇪"}},
		{"endless cluster", "a" + strings.Repeat("\u0301", 300), 200,
			[]string{"a" + strings.Repeat("\u0301", 199), strings.Repeat("\u0301", 101)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, measure.Split(c.text, c.limit)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTopicName(t *testing.T) {
	for _, c := range []struct {
		name, visitor, want string
	}{
		{"Maria", "v1", "Maria"},
		{" Maria \n José\x00 ", "v1", "Maria José"},
		{"", "v1", "v1"},
		{"\u200b", "v1", "v1"},
		{"\u200b", "\u2060", "Visitor"},
		{strings.Repeat("a", 128), "v1", strings.Repeat("a", 128)},
		{strings.Repeat("a", 129), "v1", strings.Repeat("a", 127) + "…"},
		{strings.Repeat("😀", 100), "v1", strings.Repeat("😀", 63) + "…"},
	} {
		got := platform.ThreadName(&bridge.Session{ID: "s", VisitorID: c.visitor, Identity: &bridge.Identity{Name: c.name}}, maxTopic)
		if got != c.want || measure.Units(got) > maxTopic {
			t.Errorf("%q of %q: %q", c.name, c.visitor, got)
		}
	}
}

// Files that one call cannot take are in several.
func TestBatches(t *testing.T) {
	photo := bridge.Attachment{MimeType: "image/png", Size: 1}
	big := bridge.Attachment{MimeType: "application/pdf", Size: 20_000_000}
	unknown := bridge.Attachment{MimeType: "application/pdf"}
	for name, c := range map[string]struct {
		files []bridge.Attachment
		want  []int
	}{
		"none":    {nil, nil},
		"one":     {[]bridge.Attachment{photo}, []int{1}},
		"ten":     {slices.Repeat([]bridge.Attachment{photo}, 10), []int{10}},
		"many":    {slices.Repeat([]bridge.Attachment{photo}, 23), []int{10, 10, 3}},
		"big":     {slices.Repeat([]bridge.Attachment{big}, 5), []int{2, 2, 1}},
		"unknown": {[]bridge.Attachment{big, unknown, unknown, big, big}, []int{2, 1, 1, 1}},
		"mixed":   {[]bridge.Attachment{photo, photo, big, photo, big, big}, []int{3, 2, 1}},
	} {
		var got []int
		for _, b := range batches(c.files) {
			got = append(got, len(b))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// However names, URLs and marks mix: the markup shows the text, and nobody is pinged who was not meant.
func TestMarkupProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"@ana", "@", "_", "é", " ", "\u2003", "https://", "http://m.test", "/", "\"", "&", "<b>", "x", "."}),
			1, 30).Draw(rt, "words")
		all := strings.Join(words, "")
		server := sandbox.New(sandbox.Options{})
		defer server.Close()
		group := server.AddChat(sandbox.Chat{})
		user := server.AddUser(sandbox.User{}).ID
		m := server.Send(sandbox.Post{Chat: group, User: user, HTML: true, Text: "|" + markup([]run{{text: all}}) + "|"})
		if m.Text != "|"+all+"|" {
			rt.Fatalf("%q shows %q", all, m.Text)
		}
		for _, e := range m.Entities {
			if e.Type == "mention" {
				rt.Fatalf("%q pings", all)
			}
		}
	})
}

// A visitor's “/close” is shown, and no command: whoever touches it gives none. What the bridge itself says can be touched.
func TestUntappable(t *testing.T) {
	t.Parallel()
	for said, shown := range map[string]string{
		"/close":                      "/\u2060close",
		"say /close, (/offline)":      "say /\u2060close, (/\u2060offline)",
		"a/b 1/2 //x https://x.de/y":  "a/b 1/2 //x https://x.de/y",
		"/ and / alone /":             "/ and / alone /",
		"no slash":                    "no slash",
		"\n/close@our_bot\n.\n/línea": "\n/\u2060close@our_bot\n.\n/\u2060línea",
	} {
		if got := untappable(said); got != shown {
			t.Errorf("%q is shown as %q", said, got)
		}
		parts := render(bridge.Outgoing{Thread: "-1/7", Text: said, Foreign: true, Kind: bridge.KindMessage})
		if len(parts) != 1 || parts[0].Plain != shown {
			t.Errorf("%q: %+v", said, parts)
		}
		if parts = render(bridge.Outgoing{Thread: "-1/7", Text: said, Kind: bridge.KindMessage}); len(parts) != 1 || parts[0].Plain != said {
			t.Errorf("the bridge's own %q: %+v", said, parts)
		}
	}
	card := render(bridge.Outgoing{Thread: "-1/7", Card: &bridge.Session{
		ID: "s", VisitorID: "v", Identity: &bridge.Identity{ID: "i", Name: "/close"}, Metadata: &bridge.Metadata{PageTitle: "/offline"},
	}})
	if got := card[0].Plain; !strings.Contains(got, "/\u2060close") || !strings.Contains(got, "/\u2060offline") {
		t.Errorf("a card: %q", got)
	}
}
