package discord

import (
	"slices"
	"strings"
	"testing"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
)

// Those whom DISCORD_NOTIFY names are called once, in front, and nobody by what a visitor or a file says; only the first part calls.
func TestNotify(t *testing.T) {
	const said = "@everyone @HERE <@&81384788765712384> https://example.com/@here "
	for setting, c := range map[string]struct {
		line  string
		parse []discordgo.AllowedMentionType
		roles []string
	}{
		"here":              {"@here\n", []discordgo.AllowedMentionType{discordgo.AllowedMentionTypeEveryone}, nil},
		"81384788765712384": {"<@&81384788765712384>\n", []discordgo.AllowedMentionType{}, []string{"81384788765712384"}},
		"off":               {"", []discordgo.AllowedMentionType{}, nil},
	} {
		notify, err := ParseNotify(setting)
		if err != nil {
			t.Fatal(err)
		}
		d := &Discord{channel: "1", notify: notify}
		parts := d.Render(bridge.Outgoing{
			Thread: "1/flat/s", Visitor: "@here", Author: "@everyone", Text: strings.Repeat(said, 40), Kind: bridge.KindMessage, Notify: true,
			Links: []bridge.Attachment{{Filename: "@everyone.pdf", URL: "https://example.com/@everyone"}},
		})
		if len(parts) < 2 {
			t.Fatalf("%d parts", len(parts))
		}
		for i, p := range parts {
			m := postOf(p)
			if i > 0 {
				c.line, c.parse, c.roles = "", []discordgo.AllowedMentionType{}, nil
			}
			if !strings.HasPrefix(m.Content, c.line) || !slices.Equal(m.AllowedMentions.Parse, c.parse) || !slices.Equal(m.AllowedMentions.Roles, c.roles) ||
				len(m.AllowedMentions.Users) > 0 {
				t.Errorf("%s: part %d begins with %.40q and allows %+v", setting, i, m.Content, m.AllowedMentions)
			}
			for _, text := range []string{strings.TrimPrefix(m.Content, c.line), strings.TrimPrefix(p.Plain, c.line)} {
				if len(c.parse) > 0 && everyone.MatchString(text) {
					t.Errorf("%s: part %d calls everyone: %.60q", setting, i, text)
				}
			}
		}
	}
}

// A message that is looked for after its answer was lost is known with another call in front: others may be online by then.
func TestLostCallIsFound(t *testing.T) {
	d := &Discord{}
	same := func(shown, sent string) bool {
		return d.isSame(&message{ID: "5", Content: &shown}, post{MessageSend: discordgo.MessageSend{Content: sent}}, nil)
	}
	for _, shown := range []string{"hello", "@here\nhello", "<@1> <@2>\nhello", "<@&3>\nhello"} {
		if !same(shown, "<@7>\nhello") || !same(shown, "hello") {
			t.Errorf("%q is not known", shown)
		}
	}
	if same("@here\nhello", "<@7>\nhello again") || same("hello\n@here", "hello") {
		t.Error("another message is taken for it")
	}
}
