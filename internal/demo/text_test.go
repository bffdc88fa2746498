package demo

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

func TestTelegramText(t *testing.T) {
	got := telegramText("👋 bold link https://a.example end", []telegram.Entity{
		{Type: "bold", Offset: 3, Length: 9}, {Type: "text_link", Offset: 8, Length: 4, URL: "javascript:alert(1)"},
		{Type: "url", Offset: 13, Length: 17}, {Type: "italic", Offset: 8, Length: 400}, {Type: "spoiler", Offset: 0, Length: 2},
	})
	want := []span{{Text: "👋 "}, {Text: "bold ", Style: "b"}, {Text: "link", Style: "bi"}, {Text: " ", Style: "i"},
		{Text: "https://a.example", Style: "i", URL: "https://a.example"}, {Text: " end", Style: "i"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDiscordText(t *testing.T) {
	name := func(id string) string { return map[string]string{"7": "Ben"}[id] }
	for text, want := range map[string][]span{
		"":                                 nil,
		"plain":                            {{Text: "plain"}},
		"**Ana (Telegram):** 2\\*3 \\<b>":  {{Text: "Ana (Telegram):", Style: "b"}, {Text: " 2*3 <b>"}},
		"a **b *c* d** e":                  {{Text: "a "}, {Text: "b ", Style: "b"}, {Text: "c", Style: "bi"}, {Text: " d", Style: "b"}, {Text: " e"}},
		"2 * 3 and a_b":                    {{Text: "2 * 3 and a_b"}},
		"**open":                           {{Text: "**open"}},
		"`*x*` ~~no~~":                     {{Text: "*x*", Style: "c"}, {Text: " "}, {Text: "no", Style: "s"}},
		"-# note\n> said\nend":             {{Text: "note", Style: "n"}, {Text: "\n"}, {Text: "said", Style: "q"}, {Text: "\nend"}},
		"<@7>, see https://a.example/_x_.": {{Text: "@Ben", Style: "m"}, {Text: ", see "}, {Text: "https://a.example/_x_", URL: "https://a.example/_x_"}, {Text: "."}},
		"é\\":                              {{Text: "é\\"}},
	} {
		if diff := cmp.Diff(want, discordText(text, name)); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}

func TestSlackBlocks(t *testing.T) {
	name := func(id string) string { return map[string]string{"U1": "Cleo"}[id] }
	blocks := `[{"type":"rich_text","elements":[
		{"type":"rich_text_quote","elements":[{"type":"text","text":"Mia: ","style":{"bold":true}},{"type":"text","text":"Hi"}]},
		{"type":"rich_text_section","elements":[{"type":"user","user_id":"U1"},{"type":"text","text":" see "},
			{"type":"link","url":"https://a.example"},{"type":"link","url":"javascript:x","text":"no"},{"type":"emoji","name":"+1"},{"type":"emoji","name":"odd"},{"type":"date"}]},
		{"type":"rich_text_list","style":"bullet","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"one"}]}]}]}]`
	got, ok := slackBlocks(json.RawMessage(blocks), name, emojiLook)
	want := []span{{Text: "Mia: ", Style: "bq"}, {Text: "Hi", Style: "q"}, {Text: "\n"}, {Text: "@Cleo", Style: "m"}, {Text: " see "},
		{Text: "https://a.example", URL: "https://a.example"}, {Text: "no👍:odd:\n• one"}}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Error(diff, ok)
	}
	for _, unknown := range []string{``, `x`, `[{"type":"section","text":{"type":"mrkdwn","text":"x"}}]`} {
		if _, ok := slackBlocks(json.RawMessage(unknown), name, emojiLook); ok {
			t.Errorf("%q is taken for rich text", unknown)
		}
	}
}

func TestPlainText(t *testing.T) {
	want := []span{{Text: "see "}, {Text: "https://a.example/x", URL: "https://a.example/x"}, {Text: ", and "}, {Text: "http://b.example", URL: "http://b.example"}}
	if diff := cmp.Diff(want, plainText("see https://a.example/x, and http://b.example")); diff != "" {
		t.Error(diff)
	}
}
