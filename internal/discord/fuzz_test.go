package discord

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// FuzzConvert reads what Discord's gateway tells: nothing that it tells can become the words of nobody, of the bridge itself or of another
// bot, a message without an id, or the words of another thread.
func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(len(raw)), raw, "Ana")
	}
	for _, seed := range []string{
		`{"id":"5","ids":["6","x"],"channel_id":"200"}`,
		`{"user_id":"500","message_id":"5","member":{"nick":"Ana","user":{"id":"500"}},"emoji":{"id":null,"name":"👍"}}`,
		`{"user_id":"99","member":{"user":{"id":"99","bot":true}}}`, `{"id":"+5","author":{"id":"1"},"content":"x"}`,
		`{"id":"5","author":{"id":"500"},"edited_timestamp":"2026-01-01T00:00:00Z","content":"**a** <@1> ` + "```" + `"}`,
		`{"id":"5","author":{"id":"500"},"message_reference":{"type":1},"message_snapshots":[{"message":{"content":"x","message_snapshots":[{}]}}]}`,
	} {
		for kind := range uint8(4) {
			f.Add(kind, []byte(seed), "")
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, raw []byte, name string) {
		if !utf8.ValidString(name) {
			return // names come in JSON
		}
		v := testView()
		v.resolver.user = func(string) string { return name }
		var got []bridge.Update
		take := func(u bridge.Update, ok bool) {
			if ok {
				got = append(got, u)
			}
		}
		read := func(into any) bool {
			err := json.Unmarshal(raw, into)
			return err == nil || partly(err)
		}
		switch kind % 4 {
		case 0:
			var m message
			if read(&m) {
				take(convertMessage(&m, v))
				take(convertEdit(&m, v))
			}
		case 1:
			var d deletion
			if read(&d) {
				got = convertDelete(&d, v.thread)
			}
		case 2:
			var r reaction
			if read(&r) {
				take(convertReaction(&r, v))
			}
		default:
			var y typing
			if read(&y) {
				take(convertTyping(&y, v))
			}
		}
		for _, u := range got {
			checkUpdate(t, u, v)
		}
	})
}

func checkUpdate(t *testing.T, u bridge.Update, v view) {
	t.Helper()
	author := u.Author.ID
	if u.Thread != v.thread || author == v.self {
		t.Fatalf("not ours to tell: %+v", u)
	}
	if _, ok := parseSnowflake(author); u.Kind != bridge.UpdateDelete && (!ok || measure.IsBlank(u.Author.Name)) {
		t.Fatalf("nobody's: %+v", u)
	}
	if u.Kind == bridge.UpdateTyping {
		return
	}
	if id, ok := parseSnowflake(string(u.Message)); !ok || id.String() != string(u.Message) || u.ID == "" {
		t.Fatalf("no message's: %+v", u)
	}
	if (u.Kind == bridge.UpdateEdit) == u.Edited.IsZero() {
		t.Fatalf("an edit without a time: %+v", u)
	}
	if u.Kind != bridge.UpdateMessage && u.Kind != bridge.UpdateEdit {
		return
	}
	if u.Text == "" && len(u.Files) == 0 || !utf8.ValidString(u.Text) || u.Command != nil {
		t.Fatalf("%+v", u)
	}
	for _, file := range u.Files {
		if file.UploadedFrom != "discord" || strings.Count(file.BridgeFileID, "/") < 2 {
			t.Fatalf("the file %+v", file)
		}
	}
}

// FuzzReadable reads an operator's markup. What is escaped reads as it was typed, whatever it is.
func FuzzReadable(f *testing.F) {
	for _, seed := range []string{
		"**bold** <@1> `x`", "```go\nx\n```", `\*`, "[a](https://b.test)", "||a||b||", "<t:1:R>", "# h\n-# s", "_a_b_", "***both***", "https://a.test/_b_*c*",
		"<@&3><#4><:a:1></x:2><id:guide>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		if !utf8.ValidString(typed) {
			return
		}
		got := readable(typed, testBook())
		if !utf8.ValidString(got) || strings.TrimSpace(got) != got {
			t.Fatalf("%q reads %q", typed, got)
		}
		if len(got) > 64*len(typed) {
			t.Fatalf("%d bytes read as %d", len(typed), len(got))
		}
		if strings.Contains(typed, "```") || strings.Contains(typed, "http") {
			return // an address is not escaped
		}
		if got := readable(escape(typed, false), testBook()); got != strings.TrimSpace(typed) {
			t.Fatalf("%q, escaped as %q, reads %q", typed, escape(typed, false), got)
		}
	})
}

// live matches what calls somebody or shows something else than its text, where no backslash stands before it.
var live = regexp.MustCompile(`(?:^|[^\\])(?:\\\\)*(?:<@[!&]?[0-9]+>|<#[0-9]+>|@everyone|@here|<a?:\w+:[0-9]+>|<t:-?[0-9]+)`)

// FuzzRender writes what a visitor says, is called and sends: it is seen as it was typed, in messages that Discord takes, and calls nobody.
func FuzzRender(f *testing.F) {
	f.Add("<b>*_~`|>@everyone @here # - 1. [a](b) \\* <@1>", "Maria *Ana* <@1>", "a_b_@everyone.pdf", "https://f.test/a_b_?x=1", uint8(0))
	f.Add("```\n<@&5>\n```", "> @here", "x", "data:text/html,<b>", uint8(1))
	f.Add("https://a.test/<@1>", "", "<@1>", "https://a.test/<@1>)", uint8(2))
	f.Add("https:///<@1> http://a<@1>", "https://a.test/b_c<@1>", "http://x<@here", "http://_<@1>", uint8(3))
	f.Add("\\<@1>", "\n", "[a](https://b.test)", "javascript:alert(1)", uint8(3))
	f.Fuzz(func(t *testing.T, text, name, file, address string, how uint8) {
		for _, s := range []string{text, name, file, address} {
			if !utf8.ValidString(s) || len(s) > 20_000 {
				return // acceptance takes neither
			}
		}
		m := bridge.Outgoing{Thread: "1/7", Text: text, Foreign: true, Kind: bridge.KindMessage, Links: []bridge.Attachment{{Filename: file, URL: address, Size: 5}}}
		if how&1 != 0 {
			m.Thread, m.Visitor = "1/flat/7", name
		}
		if how&2 != 0 {
			m.Author, m.Kind = name, bridge.KindNotice
		}
		for _, p := range render(m) {
			if n := measure.Units(p.Text); n == 0 || n > maxText {
				t.Fatalf("a part has %d units", n)
			}
			bare := p.Plain
			if bare == "" {
				bare = p.Text
			}
			if measure.IsBlank(bare) || !utf8.ValidString(p.Text) {
				t.Fatalf("a part is blank or torn: %q", p.Text)
			}
			if at := live.FindString(withoutAddresses(p.Text)); at != "" {
				t.Fatalf("%q has %q in it", p.Text, at)
			}
			if len(p.Mention) > 0 || len(allowed(p.Mention).Parse)+len(allowed(p.Mention).Users)+len(allowed(p.Mention).Roles) > 0 {
				t.Fatalf("it calls %v", p.Mention)
			}
		}
		card := cardOf(bridge.Card{Session: &bridge.Session{ID: file, VisitorID: name, Identity: &bridge.Identity{Name: text, Email: name}, Metadata: &bridge.Metadata{URL: address, PageTitle: file}}, Words: text, Answers: name})
		if measure.Units(card.Title) > maxTitle || measure.Units(card.Description) > maxAbout || strings.Contains(card.Title, "\n") {
			t.Fatalf("the card %+v", card)
		}
		for _, said := range []string{card.Title, card.Description} {
			if at := live.FindString(withoutAddresses(said)); at != "" {
				t.Fatalf("the card %q has %q in it", said, at)
			}
		}
		if thread := platform.ThreadName(&bridge.Session{VisitorID: name, Identity: &bridge.Identity{Name: text}}, maxName); measure.Units(thread) > maxName ||
			measure.IsBlank(thread) || strings.ContainsAny(thread, "\n\r") {
			t.Fatalf("the thread's name %q", thread)
		}
	})
}

// withoutAddresses leaves out addresses, in which nothing is markup.
func withoutAddresses(text string) string { return anyAddress.ReplaceAllString(text, "x") }

var anyAddress = regexp.MustCompile(strings.TrimPrefix(shownOther.String(), "^") + "|" + strings.TrimPrefix(shownLink.String(), "^"))

// FuzzPosition reads the cursor that is stored: whatever stands there, one is read that is written and read again as the same.
func FuzzPosition(f *testing.F) {
	for _, seed := range []string{"", "5", "5 1 2", "5 zzzzzzzzzzzzzz", "0", "-1 2", "18446744073709551615 1", "5 3 2 1", "5 1 x 2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, ok := parsePosition(cursor)
		if !ok {
			return
		}
		again, ok := parsePosition(p.String())
		if !ok || again.String() != p.String() {
			t.Fatalf("%q is %+v, and that is %q", cursor, p, again)
		}
		for _, id := range p.beyond {
			if id <= p.upTo || !p.has(id) {
				t.Fatalf("%q: %+v", cursor, p)
			}
		}
	})
}
