package slack

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestText(t *testing.T) {
	o := newOffice(t, Options{})
	ana := "<@" + o.ana.ID + ">"
	tests := map[string]struct {
		pairs []string // of chat.postMessage
		text  string   // on the wire
		plain string
		pings []string
	}{
		"escapes":        {[]string{"text", "a &lt;b&gt; &amp; c"}, "a &lt;b&gt; &amp; c", "a <b> & c", nil},
		"escaped twice":  {[]string{"text", "&amp;lt;"}, "&amp;lt;", "&lt;", nil},
		"stray":          {[]string{"text", "a < b > c & d <x>"}, "a &lt; b &gt; c &amp; d &lt;x&gt;", "a < b > c & d <x>", nil},
		"other entity":   {[]string{"text", "&quot;"}, "&amp;quot;", "&quot;", nil},
		"channel":        {[]string{"text", "<!channel> x"}, "<!channel> x", "@channel x", []string{"!channel"}},
		"here, everyone": {[]string{"text", "<!here|here> <!everyone>"}, "<!here|here> <!everyone>", "@here @everyone", []string{"!here", "!everyone"}},
		"escaped ping":   {[]string{"text", "&lt;!channel&gt;"}, "&lt;!channel&gt;", "<!channel>", nil},
		"user":           {[]string{"text", ana}, ana, "@Ana Lima", []string{o.ana.ID}},
		"group":          {[]string{"text", "<!subteam^S1|@ops>"}, "<!subteam^S1|@ops>", "@ops", []string{"S1"}},
		"names are text": {[]string{"text", "@ana @channel a@here.example"}, "@ana @channel a@here.example", "@ana @channel a@here.example", nil},
		"link_names":     {[]string{"text", "@ana @here", "link_names", "1"}, ana + " <!here>", "@Ana Lima @here", []string{o.ana.ID, "!here"}},
		"parse full":     {[]string{"text", "@everyone", "parse", "full"}, "<!everyone>", "@everyone", []string{"!everyone"}},
		"address":        {[]string{"text", "see https://a.example/?b&c."}, "see <https://a.example/?b&amp;c>.", "see https://a.example/?b&c.", nil},
		"parse none":     {[]string{"text", "https://a.example", "parse", "none"}, "https://a.example", "https://a.example", nil},
		"link":           {[]string{"text", "<https://a.example|*A* &amp; B>"}, "<https://a.example|*A* &amp; B>", "A & B", nil},
		"other scheme":   {[]string{"text", "<javascript:x|y>"}, "&lt;javascript:x|y&gt;", "<javascript:x|y>", nil},
		"channel link":   {[]string{"text", "<#" + o.channel + ">"}, "<#" + o.channel + ">", "#support", nil},
		"marks":          {[]string{"text", "*b* _i_ ~s~ `c*d*` *_x_*"}, "*b* _i_ ~s~ `c*d*` *_x_*", "b i s c*d* x", nil},
		"no marks":       {[]string{"text", "a*b*c 2 * 3 * 4 snake_case_name * x*"}, "a*b*c 2 * 3 * 4 snake_case_name * x*", "a*b*c 2 * 3 * 4 snake_case_name * x*", nil},
		"code":           {[]string{"text", "```\n*x* &lt;\n```"}, "```\n*x* &lt;\n```", "*x* <", nil},
		"quote":          {[]string{"text", "> a\nb > c"}, "&gt; a\nb &gt; c", "a\nb > c", nil},
		"mrkdwn off":     {[]string{"text", "*b* :+1: > a", "mrkdwn", "false"}, "*b* :+1: &gt; a", "*b* :+1: > a", nil},
		"emoji":          {[]string{"text", ":+1::tada: 12:30:45 :nope:"}, ":+1::tada: 12:30:45 :nope:", "👍🎉 12:30:45 :nope:", nil},
		"lone marks":     {[]string{"text", "` * _ ~ <"}, "` * _ ~ &lt;", "` * _ ~ <", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			answer := call(t, o.Server, "chat.postMessage", append([]string{"channel", o.channel}, tt.pairs...)...)
			if says(answer) != "ok" {
				t.Fatalf("%v", answer)
			}
			m, _ := o.Message(o.channel, answer["ts"].(string))
			if m.Text != tt.text || m.Plain != tt.plain || !slices.Equal(m.Pings, tt.pings) {
				t.Errorf("text %q\nplain %q\npings %q", m.Text, m.Plain, m.Pings)
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	o := newOffice(t, Options{})
	tests := map[string]struct {
		blocks string
		plain  string
		pings  []string
	}{
		"section":    {`[{"type":"section","text":{"type":"mrkdwn","text":"*a* <!here>"},"fields":[{"type":"plain_text","text":"*b* :+1:"}]}]`, "a @here\n*b* 👍", []string{"!here"}},
		"verbatim":   {`[{"type":"section","text":{"type":"mrkdwn","text":"@channel","verbatim":true}}]`, "@channel", nil},
		"found":      {`[{"type":"section","text":{"type":"mrkdwn","text":"@channel"}}]`, "@channel", []string{"!channel"}},
		"plain text": {`[{"type":"header","text":{"type":"plain_text","text":"<!channel> & :+1:","emoji":false}}]`, "<!channel> & :+1:", nil},
		"context":    {`[{"type":"context","elements":[{"type":"image","image_url":"https://a.example/a.png","alt_text":"a"},{"type":"mrkdwn","text":"_x_"}]},{"type":"divider"}]`, "x", nil},
		"rich text": {
			`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"*a* &amp; <!here>"},` +
				`{"type":"user","user_id":"` + o.ana.ID + `"},{"type":"emoji","name":"+1"},{"type":"link","url":"https://a.example"}]},` +
				`{"type":"rich_text_quote","elements":[{"type":"text","text":"q"}]},{"type":"rich_text_section","elements":[{"type":"broadcast","range":"here"}]}]}]`,
			"*a* &amp; <!here>@Ana Lima👍https://a.example\nq\n@here", []string{o.ana.ID, "!here"},
		},
		"list": {
			`[{"type":"rich_text","elements":[{"type":"rich_text_list","style":"ordered","elements":[{"type":"rich_text_section","elements":` +
				`[{"type":"text","text":"a"}]},{"type":"rich_text_section","elements":[{"type":"text","text":"b"}]}]}]}]`, "1. a\n2. b", nil,
		},
		"button": {`[{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"plain_text","text":"Go"}}]}]`, "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			answer := call(t, o.Server, "chat.postMessage", "channel", o.channel, "blocks", tt.blocks)
			if says(answer) != "ok" {
				t.Fatalf("%v", answer)
			}
			m, _ := o.Message(o.channel, answer["ts"].(string))
			if m.Plain != tt.plain || !slices.Equal(m.Pings, tt.pings) {
				t.Errorf("plain %q\npings %q", m.Plain, m.Pings)
			}
		})
	}
	for name, blocks := range map[string]string{
		"unknown":        `[{"type":"nope"}]`,
		"empty text":     `[{"type":"section","text":{"type":"mrkdwn","text":""}}]`,
		"no text":        `[{"type":"section"}]`,
		"header mrkdwn":  `[{"type":"header","text":{"type":"mrkdwn","text":"x"}}]`,
		"no elements":    `[{"type":"context","elements":[]}]`,
		"twice the id":   `[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`,
		"image":          `[{"type":"image","image_url":"https://a.example/a.png"}]`,
		"rich element":   `[{"type":"rich_text","elements":[{"type":"nope"}]}]`,
		"text as string": `[{"type":"section","text":"x"}]`,
	} {
		if got := says(call(t, o.Server, "chat.postMessage", "channel", o.channel, "blocks", blocks)); got != "invalid_blocks" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestTyped: what a person types comes with Slack's marks and its own blocks.
func TestTyped(t *testing.T) {
	o := newOffice(t, Options{})
	m := o.Say(o.channel, "", o.ana.ID, "@bridge #support <b> & 🎉 https://a.example/?a&b")
	want := "<@" + botUser + "> <#" + o.channel + "|support> &lt;b&gt; &amp; :tada: <https://a.example/?a&amp;b>"
	if m.Text != want || m.Plain != "@bridge #support <b> & 🎉 https://a.example/?a&b" {
		t.Errorf("%q %q", m.Text, m.Plain)
	}
	raw, err := json.Marshal(o.text.rich(m.Text))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.plainBlocks(raw); got != "@bridge #support <b> & 🎉 https://a.example/?a&b" {
		t.Errorf("blocks %q", got)
	}
	if edited := o.Edit(m, "@ana"); !slices.Equal(edited.Pings, []string{o.ana.ID}) || !edited.Edited {
		t.Errorf("%+v", edited)
	}
	if raw := o.Send(Post{Channel: o.channel, User: o.ana.ID, Text: "<!here> @bridge", Raw: true}); raw.Text != "<!here> @bridge" {
		t.Errorf("%q", raw.Text)
	}
}
