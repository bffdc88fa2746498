package slack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pocketping/bridge/internal/bridge"
)

func testView() view {
	return view{
		channel: "C1", me: identity{user: "UBOT", bot: "BBOT"}, testBots: map[string]bool{"BTEST": true, "UTEST": true},
		names: map[string]string{"U1": "Ana", "U2": "Eva", "UBOT": "bridge", "C2": "sales"}, shares: map[string]bridge.MessageID{"7.7": "file:F7"},
	}
}

// aTable is a table as Slack's editor makes it of pasted cells.
const aTable = `{"type":"table","rows":[[{"type":"raw_text","text":"a"},{"type":"raw_number","value":1}],[{"type":"rich_text","elements":[` +
	`{"type":"rich_text_section","elements":[{"type":"text","text":"b & c"}]}]},{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[` +
	`{"type":"emoji","name":"tada","unicode":"1f389"}]}]}]]}`

func TestConvert(t *testing.T) {
	ana := bridge.Author{ID: "U1", Name: "Ana"}
	word := func(text string) bridge.Update {
		return bridge.Update{ID: "C1 5.1 message", Kind: bridge.UpdateMessage, Thread: "C1/1.5", Message: "5.1", Author: ana, Text: text}
	}
	with := func(u bridge.Update, change func(*bridge.Update)) bridge.Update { change(&u); return u }
	command := func(text, name, args string) bridge.Update {
		return with(word(text), func(u *bridge.Update) { u.Command = &bridge.Command{Name: name, Args: args} })
	}
	none := bridge.Update{}
	// in is a message of Ana's in a thread, with more or other fields.
	in := func(fields string) string {
		return `{"type":"message","channel":"C1","user":"U1","ts":"5.1","event_ts":"5.1","thread_ts":"1.5"` + fields + `}`
	}
	rich := func(elements string) string {
		return in(`,"text":"other","blocks":[{"type":"rich_text","elements":[` + elements + `]}]`)
	}
	section := func(elements string) string {
		return rich(`{"type":"rich_text_section","elements":[` + elements + `]}`)
	}
	changed := func(now, before string) string {
		return `{"type":"message","subtype":"message_changed","channel":"C1","ts":"9.9","event_ts":"9.9","message":` + now + `,"previous_message":` + before + `}`
	}
	old := `{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"old"}`
	edit := bridge.Update{ID: "C1 5.1 edit 9.5", Kind: bridge.UpdateEdit, Thread: "C1/1.5", Message: "5.1", Author: ana, Text: "new",
		Edited: time.Unix(9, 500_000_000).UTC()}

	for name, c := range map[string]struct {
		raw  string
		want bridge.Update
	}{
		"text":             {in(`,"text":"Tom &amp; &lt;b&gt; :tada: <@U1> <https://x.y|here>"`), word("Tom & <b> 🎉 @Ana here (https://x.y)")},
		"in the channel":   {strings.Replace(in(`,"text":"x"`), `,"thread_ts":"1.5"`, "", 1), with(word("x"), func(u *bridge.Update) { u.Thread = "C1/" })},
		"a thread's head":  {strings.Replace(in(`,"text":"x"`), `"1.5"`, `"5.1"`, 1), with(word("x"), func(u *bridge.Update) { u.Thread = "C1/" })},
		"rich text":        {section(`{"type":"text","text":"as *typed* &amp; "},{"type":"text","text":"bold","style":{"bold":true}}`), word("as *typed* &amp; bold")},
		"rich emoji":       {section(`{"type":"emoji","name":"tada","unicode":"1f389"},{"type":"emoji","name":"mine"},{"type":"emoji","name":"+1","unicode":"1f44d-1f3fd","skin_tone":4},{"type":"emoji","name":"wave","skin_tone":2}`), word("🎉:mine:👍🏽👋🏻")},
		"rich names":       {section(`{"type":"user","user_id":"U2"},{"type":"text","text":" "},{"type":"user","user_id":"U9"},{"type":"channel","channel_id":"C2"},{"type":"channel","channel_id":"C3"},{"type":"usergroup","usergroup_id":"S1"},{"type":"broadcast","range":"here"}`), word("@Eva @someone#sales#channel@group@here")},
		"rich links":       {section(`{"type":"link","url":"https://x.y/"},{"type":"text","text":" "},{"type":"link","url":"https://x.y","text":"here"},{"type":"link","url":"mailto:a@b.c","text":"a@b.c"}`), word("https://x.y/ here (https://x.y)a@b.c")},
		"rich date":        {section(`{"type":"date","timestamp":1,"format":"{date}","fallback":"May 1"},{"type":"color","value":"#ff0000"}`), word("May 1#ff0000")},
		"rich list":        {rich(`{"type":"rich_text_section","elements":[{"type":"text","text":"do:\n"}]},{"type":"rich_text_list","style":"ordered","offset":1,"elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"a"}]},{"type":"rich_text_section","elements":[{"type":"text","text":"b"}]}]},{"type":"rich_text_list","style":"bullet","indent":1,"elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"c"}]}]}`), word("do:\n2. a\n3. b\n  • c")},
		"rich quote":       {rich(`{"type":"rich_text_quote","elements":[{"type":"text","text":"a\nb"}]},{"type":"rich_text_preformatted","elements":[{"type":"text","text":"x := <y>"}]}`), word("> a\n> b\nx := <y>")},
		"unknown rich":     {section(`{"type":"hologram"}`), word("other")},
		"no rich text":     {in(`,"text":"*bold*","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"x"}}]`), word("bold")},
		"broken blocks":    {in(`,"text":"other","blocks":[{"type":"rich_text","elements":7}]`), word("other")},
		"blocks no list":   {in(`,"text":"other","blocks":7`), word("other")},
		"broadcast":        {in(`,"text":"x","subtype":"thread_broadcast"`), word("x")},
		"me":               {in(`,"text":"x","subtype":"me_message"`), word("x")},
		"strange fields":   {in(`,"text":"x","files":{},"edited":7,"reactions":[{"name":1}]`), word("x")},
		"test bot":         {strings.Replace(in(`,"text":"x","bot_id":"BTEST","username":"Robo"`), `"user":"U1",`, "", 1), with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "BTEST", Name: "Robo"} })},
		"test bot by user": {strings.Replace(in(`,"text":"x","bot_id":"B3"`), `"U1"`, `"UTEST"`, 1), with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "UTEST", Name: "Team"} })},

		"command":           {in(`,"text":"<@UBOT> Online 2h"`), command("Online 2h", "online", "2h")},
		"command with mark": {in(`,"text":" <@UBOT|bridge>: /who"`), command("/who", "who", "")},
		"rich command":      {section(`{"type":"user","user_id":"UBOT"},{"type":"text","text":" note *x*\ny"}`), command("note *x*\ny", "note", "*x*\ny")},
		"app mention":       {strings.Replace(in(`,"text":"<@UBOT> help"`), `"message"`, `"app_mention"`, 1), command("help", "help", "")},
		"our name alone":    {in(`,"text":"<@UBOT>"`), command("", "help", "")},
		"no command":        {in(`,"text":"<@UBOT> can you see this?"`), with(word("can you see this?"), func(u *bridge.Update) { u.ToBot = true })},
		"name inside":       {in(`,"text":"ask <@UBOT> online"`), word("ask @bridge online")},
		"exclamation":       {in(`,"text":"!online"`), word("!online")},

		"file": {in(`,"subtype":"file_share","text":"","files":[{"id":"F1","name":"a.pdf","mimetype":"application/pdf","size":9,"mode":"hosted"},{"id":"F2","mode":"tombstone"}]`),
			with(word(""), func(u *bridge.Update) {
				u.Files = []bridge.Attachment{{Filename: "a.pdf", MimeType: "application/pdf", Size: 9, BridgeFileID: "F1"}}
			})},
		"external file": {in(`,"subtype":"file_share","text":"see","files":[{"id":"F1","title":"Plan","mode":"external","url_private":"https://d.test/1"}]`),
			word("see\n[file: Plan] https://d.test/1")},
		"passed on": {in(`,"text":"","attachments":[{"is_share":true,"text":"they &lt;said&gt; *so*","fallback":"f"}]`), word("[forwarded] they <said> so")},
		"passed on with a word": {in(`,"text":"/close","attachments":[{"is_share":true,"is_msg_unfurl":true,"from_url":"https://x.y","text":"!note a","files":[{"id":"F1","name":"a.pdf"}]}]`),
			word("/close\n[forwarded] !note a\n[file: a.pdf]")},
		"passed on table": {in(`,"text":"","attachments":[{"is_share":true,"text":"","blocks":[` + aTable + `],"fallback":"[no preview available]"}]`),
			word("[forwarded] a | 1\nb & c | 🎉")},
		"table":            {in(`,"text":"see","blocks":[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"see"}]}]},` + aTable + `]`), word("see\na | 1\nb & c | 🎉")},
		"table alone":      {in(`,"text":"","blocks":[` + aTable + `]`), word("a | 1\nb & c | 🎉")},
		"table, odd block": {in(`,"text":"see","blocks":[{"type":"hologram"},` + aTable + `]`), word("see\na | 1\nb & c | 🎉")},
		"blocks alone": {in(`,"text":"","blocks":[{"type":"header","text":{"type":"plain_text","text":"A *b*"}},{"type":"section","text":{"type":"mrkdwn","text":"*c*"},` +
			`"fields":[{"type":"mrkdwn","text":"d"}]},{"type":"context","elements":[{"type":"image","alt_text":"i"},{"type":"mrkdwn","text":"e"}]},` +
			`{"type":"markdown","text":"f"},{"type":"image","alt_text":"g"},{"type":"divider"}]`), word("A *b*\nc\nd\ne\nf\n[image: g]")},
		"preview alone":     {in(`,"text":"","attachments":[{"is_msg_unfurl":true,"text":"internal","fallback":"f"}]`), none},
		"preview of an app": {in(`,"text":"x","attachments":[{"is_app_unfurl":true,"text":"internal","blocks":[` + aTable + `]}]`), word("x")},
		"no preview":        {in(`,"text":"","attachments":[{"fallback":"[no preview available]"}]`), none},
		"partner": {strings.Replace(in(`,"text":"x","user_profile":{"display_name":"Pat","real_name":"Pat Partner"}`), `"U1"`, `"U7"`, 1),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "U7", Name: "Pat"} })},
		"stranger": {strings.Replace(in(`,"text":"x"`), `"U1"`, `"U7"`, 1), with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "U7", Name: "Team"} })},
		"file removed": {changed(`{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"old","files":[{"id":"F1","mode":"tombstone"}]}`,
			`{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"old","files":[{"id":"F1","name":"a"}]}`),
			with(edit, func(u *bridge.Update) {
				u.ID, u.Text, u.Edited = "C1 5.1 removal F1", "old", time.Unix(9, 900_000_000).UTC()
			})},
		"preview": {in(`,"text":"<https://x.y>","attachments":[{"text":"what is there","from_url":"https://x.y"}]`), word("https://x.y")},

		"edit":         {changed(`{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"new","edited":{"user":"U1","ts":"9.5"}}`, old), edit},
		"edit of ages": {changed(`{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"new","edited":{"user":"U1","ts":"9.5"}}`, `null`), edit},
		"link preview": {changed(`{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"old","attachments":[{}]}`, old), none},
		"preview of an edited": {changed(`{"user":"U1","ts":"5.1","text":"a","attachments":[{}],"edited":{"ts":"6.1"}}`,
			`{"user":"U1","ts":"5.1","text":"a","edited":{"ts":"6.1"}}`), none},
		"edited to the same": {changed(`{"user":"U1","ts":"5.1","text":"a","edited":{"ts":"6.1"}}`, `{"user":"U1","ts":"5.1","text":"a"}`), none},
		"edit of a bot":      {changed(`{"bot_id":"BBOT","ts":"5.1","text":"b","edited":{"ts":"6.1"}}`, `{"bot_id":"BBOT","ts":"5.1","text":"a"}`), none},
		"edit of a command": {changed(`{"user":"U1","ts":"5.1","thread_ts":"1.5","text":"<@UBOT> note n","edited":{"ts":"9.5"}}`, old),
			with(edit, func(u *bridge.Update) { u.Text, u.Command = "note n", &bridge.Command{Name: "note", Args: "n"} })},
		"tombstone": {changed(`{"user":"USLACKBOT","subtype":"tombstone","ts":"5.1","text":"This message was deleted."}`, strings.Replace(old, "1.5", "5.1", 1)),
			bridge.Update{ID: "C1 5.1 delete", Kind: bridge.UpdateDelete, Thread: "C1/", Message: "5.1", Author: ana}},
		"delete": {`{"type":"message","subtype":"message_deleted","channel":"C1","ts":"9.9","event_ts":"9.9","deleted_ts":"5.1","previous_message":` + old + `}`,
			bridge.Update{ID: "C1 5.1 delete", Kind: bridge.UpdateDelete, Thread: "C1/1.5", Message: "5.1", Author: ana}},
		"delete of ours": {`{"type":"message","subtype":"message_deleted","channel":"C1","ts":"9.9","deleted_ts":"5.1","previous_message":{"bot_id":"BBOT","ts":"5.1"}}`, none},
		"delete of nothing known": {`{"type":"message","subtype":"message_deleted","channel":"C1","ts":"9.9","deleted_ts":"5.1"}`,
			bridge.Update{ID: "C1 5.1 delete", Kind: bridge.UpdateDelete, Thread: "C1/", Message: "5.1"}},
		"reaction": {`{"type":"reaction_added","user":"U1","reaction":"eyes","item":{"type":"message","channel":"C1","ts":"5.1"},"event_ts":"9.9"}`,
			bridge.Update{ID: "C1 5.1 reaction U1 eyes 9.9", Kind: bridge.UpdateReaction, Message: "5.1", Author: ana}},
		"reaction to a file": {`{"type":"reaction_added","user":"U1","reaction":"eyes","item":{"type":"message","channel":"C1","ts":"7.7"},"event_ts":"9.9"}`,
			bridge.Update{ID: "C1 7.7 reaction U1 eyes 9.9", Kind: bridge.UpdateReaction, Message: "file:F7", Author: ana}},
		"our reaction":        {`{"type":"reaction_added","user":"UBOT","reaction":"eyes","item":{"type":"message","channel":"C1","ts":"5.1"},"event_ts":"9.9"}`, none},
		"reaction elsewhere":  {`{"type":"reaction_added","user":"U1","reaction":"eyes","item":{"type":"message","channel":"C2","ts":"5.1"},"event_ts":"9.9"}`, none},
		"reaction on no item": {`{"type":"reaction_added","user":"U1","reaction":"eyes","item":{"type":"file","file":"F1"},"event_ts":"9.9"}`, none},

		"other channel": {strings.Replace(in(`,"text":"x"`), `"C1"`, `"C2"`, 1), none},
		"ourselves":     {strings.Replace(in(`,"text":"x"`), `"U1"`, `"UBOT"`, 1), none},
		"our bot":       {in(`,"text":"x","bot_id":"BBOT"`), none},
		"other bot":     {in(`,"text":"x","bot_id":"B9"`), none},
		"nobody":        {strings.Replace(in(`,"text":"x"`), `"user"`, `"used"`, 1), none},
		"slackbot":      {strings.Replace(in(`,"text":"x"`), `"U1"`, `"USLACKBOT"`, 1), none},
		"joined":        {in(`,"text":"x","subtype":"channel_join"`), none},
		"topic":         {in(`,"text":"x","subtype":"channel_topic"`), none},
		"empty":         {in(`,"text":""`), none},
		"no ts":         {strings.Replace(in(`,"text":"x"`), `"ts"`, `"tz"`, 1), none},
		"other event":   {strings.Replace(in(`,"text":"x"`), `"message"`, `"pin_added"`, 1), none},
	} {
		t.Run(name, func(t *testing.T) {
			var e message
			if err := decode([]byte(c.raw), &e); err != nil {
				t.Fatal(err)
			}
			got := convert(&e, testView())
			if diff := cmp.Diff(c.want, got.Update); diff != "" {
				t.Error(diff)
			}
			if got.ID != "" && !isTS(got.at) {
				t.Errorf("it happened at %q", got.at)
			}
		})
	}
}

// TestPlain reads Slack's markup as a person does.
func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                                            "",
		"a &lt;b&gt; &amp;amp; c &":                   "a <b> &amp; c &",
		"*bold* _it_ ~s~ `code`":                      "bold it s code",
		"*_both_* and (*this*), *that*.":              "both and (this), that.",
		"2*3*4 a_b_c snake_case * x * y":              "2*3*4 a_b_c snake_case * x * y",
		"**x** *a *b":                                 "**x** *a *b",
		"*one\ntwo*":                                  "*one\ntwo*",
		"`*a* &amp; :tada: <https://x.y>`":            "*a* & :tada: https://x.y",
		"```\nx := *y*\n\n_z_\n``` end":               "x := *y*\n\n_z_ end",
		"`a\nb` c":                                    "`a\nb` c",
		"&gt; quoted\n&gt;more":                       "> quoted\n>more",
		"<@U1> <@U2|x> <@U9|joe> <@U8>":               "@Ana @Eva @joe @someone",
		"<#C2|sales> <#C2> <#C9|> <#C8|x>":            "#sales #sales #channel #x",
		"<!here> <!channel> <!everyone|@e>":           "@here @channel @e",
		"<!subteam^S1|@ops> <!subteam^S1>":            "@ops @group",
		"<!date^139^{date}|May 1> <!date^1^{time}>":   "May 1 a date",
		"<https://x.y/?a=1&amp;b=2> <http://x.y|x.y>": "https://x.y/?a=1&b=2 x.y",
		"<mailto:a@b.c|a@b.c> <tel:+34|call> <https://x.y|*here*>": "a@b.c call (+34) *here* (https://x.y)",
		"_<https://x.y/a_b|see>_":                                  "see (https://x.y/a_b)",
		":tada::+1::wave::skin-tone-3: :+1::skin-tone-6:":          "🎉👍👋🏼 👍🏿",
		":partyparrot: : :: :) :x":                                 ":partyparrot: : :: :) :x",
		"at 10:100:20, ratio a:b:c":                                "at 10:100:20, ratio a:b:c",
		"nice:tada:":                                               "nice🎉",
		":flag-es: :flag-us: :flag-zz: :es: :simple_smile: :man-running::skin-tone-4:": "🇪🇸 🇺🇸 🇿🇿 🇪🇸 🙂 🏃🏽\u200d♂️",
		"a < b <unclosed": "a < b <unclosed",
		"<>":              "",
		"\U000f0000*x*":   "\ufffdx",
	} {
		p := plain{names: testView().names}
		if got := p.mrkdwn(in); got != want {
			t.Errorf("%q\nis    %q\nnot   %q", in, got, want)
		}
	}
}

// Whatever comes, it is read without a panic and without end, and text without marks is left alone.
func TestPlainAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("<>&|@#!*_~`: \nabU1;é😀\U000f0001")), 0, 60, -1).Draw(t, "text")
		p := plain{names: testView().names, me: "U1"}
		_ = p.mrkdwn(text)
		typed := strings.Map(func(r rune) rune {
			if strings.ContainsRune("*_~`:\U000f0001", r) {
				return -1
			}
			return r
		}, text)
		escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(typed)
		if got := (&plain{}).mrkdwn(escaped); got != typed {
			t.Fatalf("%q became %q", typed, got)
		}
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		if decode([]byte(`{"type":"message","channel":"C1","user":"U1","ts":"5.1","text":`+string(raw)+`}`), &m) == nil {
			_ = convert(&m, testView())
			_ = named(&m)
		}
	})
}

func TestSlash(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for text, want := range map[string]bridge.Command{
		"online 2h":             {Name: "online", Args: "2h"},
		"":                      {Name: "help"},
		" Note a &lt;b&gt; *c*": {Name: "note", Args: "a <b> c"},
	} {
		c := slashOf(&slash{Command: "/bridge", Text: text, Channel: "C1", User: "U1", UserName: "ana", ResponseURL: "https://h/x", TriggerID: "1.2"}, testView(), now)
		if c.Command == nil || *c.Command != want || c.ID != "command 1.2" || c.Thread != "C1/" || !c.Slash || c.Message != "response/1800000000/https://h/x" ||
			c.Author != (bridge.Author{ID: "U1", Name: "Ana"}) {
			t.Errorf("%q: %+v %+v", text, c.Update, c.Command)
		}
	}
}

// A command that the app has under its own name needs no other.
func TestSlashByItsName(t *testing.T) {
	c := slashOf(&slash{Command: "/Online", Text: "2h", User: "U1", TriggerID: "1"}, testView(), time.Now())
	if c.Command == nil || !strings.EqualFold(c.Command.Name, "online") || c.Command.Args != "2h" {
		t.Errorf("%+v", c.Command)
	}
}

func TestNamed(t *testing.T) {
	var m message
	raw := `{"user":"U1","text":"<@U2> <@U2|x> <#C3>","blocks":[{"type":"rich_text","elements":[{"type":"user","user_id":"U4"}]}],
		"message":{"user":"U5","text":"` + strings.Repeat("<@U7><@U8>", 50) + `"},"previous_message":{"user":"U9"}}`
	if err := decode([]byte(raw), &m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"U1", "U5", "U7", "U8", "U2", "C3", "U4"}, named(&m)); diff != "" {
		t.Error(diff)
	}
}

func TestTimes(t *testing.T) {
	for ts, want := range map[string]time.Time{
		"1700000000.000100": time.Unix(1_700_000_000, 100_000), "5.1": time.Unix(5, 100_000_000), "5": time.Unix(5, 0), "": {}, "x.1": {}, "-1.0": {},
	} {
		if got := timeOf(ts); !got.Equal(want) {
			t.Errorf("%q is %v", ts, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(0, 1<<52).Draw(t, "microseconds")
		if got := timeOf(tsOf(time.UnixMicro(us))); got.UnixMicro() != us {
			t.Fatalf("%d became %v", us, got)
		}
	})
}

func TestPosition(t *testing.T) {
	at := position{at: "1700001000.000000", began: "1700000000.000000"}
	if got, ok := parsePosition(at.String()); !ok || got != at {
		t.Errorf("%+v %t", got, ok)
	}
	for _, none := range []string{"", "1.2", "1 2", "x.1 1.1"} {
		if got, ok := parsePosition(none); ok {
			t.Errorf("%q is %+v", none, got)
		}
	}
	if got := at.to("1699999999.000000"); got != at {
		t.Errorf("it went back: %+v", got)
	}
	now := time.Unix(1_700_001_000, 0)
	for _, c := range []struct {
		now  time.Time
		want string
	}{{now, "1700000400.000000"}, {now.Add(11 * time.Hour), "1700000400.000000"}, {now.Add(13 * time.Hour), at.at}} {
		if got := at.from(c.now, overlap); got != c.want {
			t.Errorf("%v: %s", c.now, got)
		}
	}
	young := position{at: "1700000010.000000", began: "1700000000.000000"}
	if got := young.from(now, overlap); got != young.began {
		t.Errorf("what is older than the beginning is looked for: %s", got)
	}
}

// What people see of messages that Slack sent.
func TestConvertRecorded(t *testing.T) {
	for name, want := range map[string]string{
		"pasted_table":      "Here are the prices\nPlan | Price\nBasic | 9 EUR",
		"table_only":        "Plan | Price\nBasic | 9 EUR",
		"permalink_preview": "again https://lab.slack.com/archives/C9/p1",
	} {
		raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var e message
		if err := decode(raw, &e); err != nil {
			t.Fatal(err)
		}
		if got := convert(&e, view{channel: e.Channel}); got.Text != want {
			t.Errorf("%s: %q", name, got.Text)
		}
	}
}

// What an event does not tell of a file of another workspace is asked for.
func TestConvertPartnersFile(t *testing.T) {
	raw := `{"type":"message","channel":"C1","user":"U1","ts":"5.1","thread_ts":"1.5","subtype":"file_share","text":"","files":[` +
		`{"id":"F1","mode":"file_access","file_access":"check_file_info","created":0,"timestamp":0,"user":""}]}`
	var e message
	if err := decode([]byte(raw), &e); err != nil {
		t.Fatal(err)
	}
	v := testView()
	for want, known := range map[bridge.Attachment]map[string]file{
		{Filename: "file", BridgeFileID: "F1"}: nil,
		{Filename: "pic.png", MimeType: "image/png", Size: 13, BridgeFileID: "F1"}: {
			"F1": {Name: "pic.png", Mimetype: "image/png", Size: 13, Mode: "hosted", Access: "check_file_info"},
		},
	} {
		v.files = known
		if got := convert(&e, v); len(got.Files) != 1 || got.Files[0] != want {
			t.Errorf("%+v", got.Files)
		}
	}
}

// People call themselves what they like, with the characters too that stand for others while a text is read.
func TestNamesThatStandForOthers(t *testing.T) {
	t.Parallel()
	p := plain{names: map[string]string{"U1": "\U000f0000", "S1": "a\U000f0001b"}}
	if got := p.mrkdwn("<@U1> `x` <!subteam^S1> \U000f0000"); got != "@\ufffd x @a\ufffdb \ufffd" {
		t.Errorf("%q", got)
	}
}

// Marks that nothing closes are looked for once, not once for each of them.
func BenchmarkUnclosedMarks(b *testing.B) {
	p := plain{}
	text := strings.Repeat("*a _b ~c ", 4_000)
	for b.Loop() {
		if p.mrkdwn(text) != text {
			b.Fatal("it is not as it was typed")
		}
	}
}
