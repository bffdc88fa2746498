package telegram

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

func testView() view {
	return view{
		chats:    map[int64]bool{-1000000000100: true, -42: true},
		me:       user{ID: 99, IsBot: true, Username: "OurBot"},
		testBots: map[string]bool{"777": true},
		now:      time.Unix(1_800_000_000, 0),
	}
}

// inForum returns a message of Ana's in topic 7 of the operators' forum, with more fields.
func inForum(fields string) string {
	return `{"update_id":5,"message":{"message_id":31,"date":1,"message_thread_id":7,"is_topic_message":true,` +
		`"chat":{"id":-1000000000100,"type":"supergroup","is_forum":true},"from":{"id":500,"first_name":"Ana","last_name":"Ruiz"}` +
		fields + `}}`
}

func inChat(chat, fields string) string {
	return `{"update_id":5,"message":{"message_id":31,"date":1,"chat":` + chat + `,"from":{"id":500,"username":"ana"}` + fields + `}}`
}

func TestConvert(t *testing.T) {
	const (
		forum = `{"id":-1000000000100,"type":"supergroup","is_forum":true}`
		group = `{"id":-42,"type":"group"}`
	)
	ana := bridge.Author{ID: "500", Name: "Ana Ruiz"}
	word := func(text string) bridge.Update {
		return bridge.Update{Kind: bridge.UpdateMessage, Thread: "-1000000000100/7", Message: "31", Author: ana, Text: text}
	}
	with := func(u bridge.Update, change func(*bridge.Update)) bridge.Update { change(&u); return u }
	none := bridge.Update{}

	for name, c := range map[string]struct {
		raw  string
		want bridge.Update
	}{
		"text as typed": {inForum(`,"text":"  <b>&amp; _x_ 😀\n\t"`), word("  <b>&amp; _x_ 😀\n\t")},
		"topic root":    {inForum(`,"text":"x","reply_to_message":{"message_id":7,"forum_topic_created":{"name":"Maria"}}`), word("x")},
		"root by id":    {inForum(`,"text":"x","reply_to_message":{"message_id":7}`), word("x")},
		"reply": {inForum(`,"text":"x","reply_to_message":{"message_id":30,"from":{"id":99}}`), with(word("x"), func(u *bridge.Update) {
			u.ReplyTo, u.ReplyToNumber = "30", 30
		})},
		"general": {inChat(forum, `,"text":"x","message_thread_id":12`), bridge.Update{Kind: bridge.UpdateMessage, Thread: "-1000000000100/", Message: "31",
			Author: bridge.Author{ID: "500", Name: "ana"}, Text: "x"}},
		"basic group": {inChat(group, `,"text":"x","reply_to_message":{"message_id":30}`), bridge.Update{Kind: bridge.UpdateMessage, Thread: "-42/",
			Flat: true, Message: "-42/31", ReplyTo: "-42/30", ReplyToNumber: 30, Author: bridge.Author{ID: "500", Name: "ana"}, Text: "x"}},
		"anonymous": {inForum(`,"text":"x","sender_chat":{"id":-1000000000100,"type":"supergroup"},"author_signature":"Boss"`),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "anonymous", Name: "Boss"} })},
		"anonymous, untitled": {inForum(`,"text":"x","sender_chat":{"id":-1000000000100}`),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "anonymous", Name: "Team"} })},
		"as a channel": {inForum(`,"text":"x","sender_chat":{"id":-200,"type":"channel","title":"News"}`),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "-200", Name: "News"} })},
		"test bot": {strings.Replace(inForum(`,"text":"x"`), `"id":500`, `"is_bot":true,"id":777`, 1),
			with(word("x"), func(u *bridge.Update) { u.Author.ID = "777" })},
		"no name": {strings.Replace(inForum(`,"text":"x"`), `"first_name":"Ana","last_name":"Ruiz"`, `"first_name":"\u200b"`, 1),
			with(word("x"), func(u *bridge.Update) { u.Author.Name = "500" })},
		"field of a wrong type": {inForum(`,"text":"x","dice":7`), word("x")},

		"command": {inForum(`,"text":"/Online 2h ","entities":[{"type":"bot_command","offset":0,"length":7}]`),
			with(word("/Online 2h "), func(u *bridge.Update) { u.Command = &bridge.Command{Name: "online", Args: "2h"} })},
		"command to us": {inForum(`,"text":"/help@ourbot"`),
			with(word("/help@ourbot"), func(u *bridge.Update) { u.Command = &bridge.Command{Name: "help"} })},
		"command to another": {inForum(`,"text":"/help@OtherBot"`), none},
		"command in a caption": {inForum(`,"photo":[{}],"caption":"/note see"`),
			with(word("/note see"), func(u *bridge.Update) { u.Command = &bridge.Command{Name: "note", Args: "see"} })},
		"a path is no command": {inForum(`,"text":"/usr/bin"`), word("/usr/bin")},
		"nor is a slash":       {inForum(`,"text":"/ or //"`), word("/ or //")},
		"exclamation":          {inForum(`,"text":"!help"`), word("!help")},

		"photo":         {inForum(`,"photo":[{"file_id":"x"}]`), word("[photo]")},
		"caption":       {inForum(`,"photo":[{"file_id":"x"}],"caption":" look "`), word(" look ")},
		"document":      {inForum(`,"document":{"file_name":"a.pdf"}`), word("[file: a.pdf]")},
		"animation":     {inForum(`,"animation":{},"document":{"file_name":"a.mp4"}`), word("[animation]")},
		"voice":         {inForum(`,"voice":{}`), word("[voice message]")},
		"audio":         {inForum(`,"audio":{}`), word("[audio]")},
		"video":         {inForum(`,"video":{}`), word("[video]")},
		"sticker":       {inForum(`,"sticker":{"emoji":"👍"}`), word("👍")},
		"sticker alone": {inForum(`,"sticker":{}`), word("[sticker]")},
		"location":      {inForum(`,"location":{"latitude":41.38,"longitude":2.17}`), word("[location: 41.380000, 2.170000]")},
		"venue": {inForum(`,"venue":{"title":"Café","address":"Gran Via 1"},"location":{"latitude":1,"longitude":2}`),
			word("[place: Café, Gran Via 1]")},
		"contact":   {inForum(`,"contact":{"phone_number":"+34600","first_name":"Eva"}`), word("[contact: Eva, +34600]")},
		"poll":      {inForum(`,"poll":{"question":"When?","options":[{"text":"now"},{"text":"later"}]}`), word("[poll: When? (now / later)]")},
		"checklist": {inForum(`,"checklist":{"title":"Do","tasks":[{"text":"a"}]}`), word("[checklist: Do (a)]")},
		"dice":      {inForum(`,"dice":{"emoji":"🎲","value":5}`), word("🎲 5")},
		"story":     {inForum(`,"story":{}`), word("[story]")},
		"game":      {inForum(`,"game":{"title":"Chess"}`), word("[game: Chess]")},

		"other chat":       {inChat(`{"id":-101,"type":"supergroup"}`, `,"text":"x"`), none},
		"bot":              {strings.Replace(inForum(`,"text":"x"`), `"id":500`, `"is_bot":true,"id":778`, 1), none},
		"ourselves":        {strings.Replace(inForum(`,"text":"x"`), `"id":500`, `"id":99`, 1), none},
		"nobody":           {strings.Replace(inForum(`,"text":"x"`), `"from"`, `"form"`, 1), none},
		"automatic":        {inForum(`,"text":"x","is_automatic_forward":true,"sender_chat":{"id":-200}`), none},
		"edited":           {strings.Replace(inForum(`,"text":"x"`), `"message":`, `"edited_message":`, 1), none},
		"topic created":    {inForum(`,"forum_topic_created":{"name":"x"}`), none},
		"topic closed":     {inForum(`,"forum_topic_closed":{}`), none},
		"members":          {inForum(`,"new_chat_members":[{"id":1}]`), none},
		"pinned":           {inForum(`,"pinned_message":{"message_id":1,"text":"x"}`), none},
		"unknown kind":     {inForum(`,"hologram":{}`), none},
		"unknown update":   {`{"update_id":5,"hologram":{}}`, none},
		"membership":       {`{"update_id":5,"my_chat_member":{"chat":{"id":-1000000000100},"new_chat_member":{"status":"kicked"}}}`, none},
		"migration":        {inChat(group, `,"migrate_to_chat_id":-1005`), none},
		"inaccessible":     {`{"update_id":5,"message":{"date":0,"chat":{"id":-1000000000100}}}`, none},
		"reply is a story": {inForum(`,"text":"x","reply_to_story":{"id":4}`), word("x")},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.ID, c.want.Cursor = "telegram:5", "5 1800000000"
			got, err := convert(json.RawMessage(c.raw), 5, testView())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Update); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConvertTellsMore(t *testing.T) {
	for _, c := range []struct {
		raw     string
		movedTo int64
		member  string
	}{
		{inChat(`{"id":-42,"type":"group"}`, `,"migrate_to_chat_id":-1005`), -1005, ""},
		{inChat(`{"id":-1005,"type":"supergroup"}`, `,"migrate_from_chat_id":-42`), -1005, ""},
		{inChat(`{"id":-1005,"type":"supergroup"}`, `,"migrate_from_chat_id":-43`), 0, ""},
		{inChat(`{"id":-43,"type":"group"}`, `,"migrate_to_chat_id":-1005`), 0, ""},
		{`{"update_id":5,"my_chat_member":{"chat":{"id":-1000000000100},"new_chat_member":{"status":"kicked"}}}`, 0, "kicked"},
		{`{"update_id":5,"my_chat_member":{"chat":{"id":-9},"new_chat_member":{"status":"kicked"}}}`, 0, ""},
	} {
		got, err := convert(json.RawMessage(c.raw), 5, testView())
		if err != nil || got.movedTo != c.movedTo || got.member != c.member || got.Kind != bridge.UpdateNothing {
			t.Errorf("%s: %+v %v", c.raw, got, err)
		}
	}
	for _, raw := range []string{`{"update_id":5,"message":7}`, `{"update_id":5,"message":{"message_id":"x","chat":{"id":-1000000000100},"text":"x"}}`} {
		if got, err := convert(json.RawMessage(raw), 5, testView()); err == nil || got.Kind != bridge.UpdateNothing || got.Cursor == "" {
			t.Errorf("%s: %+v %v", raw, got, err)
		}
	}
}

func TestCommand(t *testing.T) {
	for text, want := range map[string]string{
		"/a": "a|", "/a_1 x  y ": "a_1|x  y", "/A@OURBOT\nx": "a|x", "/a@other": "other", "/a@": "a|@", "/a!": "a|!", "/a, b": "a|, b",
		"/a/b": "", "/a<": "", "/añ": "", "/": "", "//": "", "/@ourbot": "", " /a": "", "a /b": "", "/ a": "",
		"/" + strings.Repeat("x", 65): "",
	} {
		name, args, other, ok := command(text, nil, "OurBot")
		got := ""
		switch {
		case other:
			got = "other"
		case ok:
			got = name + "|" + args
		}
		if got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
	if name, _, other, ok := command("/a@whoever", nil, ""); !ok || other || name != "a" {
		t.Error("without a name of our own every command is ours")
	}
}

// Nothing that Telegram sends makes the conversion panic, answer for another chat, or lose its place.
func FuzzConvert(f *testing.F) {
	for _, fields := range []string{`,"text":"/x@ourbot y"`, `,"caption":"c","photo":[{}]`, `,"dice":{"emoji":"x","value":1}`,
		`,"text":"/ééé","entities":[{"type":"bot_command","offset":0,"length":3}]`, `,"reply_to_message":{"message_id":3},"text":"x"`,
		`,"sender_chat":{"id":-1000000000100},"text":"x"`} {
		f.Add([]byte(inForum(fields)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, ok := updateID(raw)
		if !ok {
			return
		}
		got, err := convert(raw, id, testView())
		if got.ID == "" || parsePosition(got.Cursor).id != id {
			t.Fatalf("the place is lost: %+v", got)
		}
		if got.Kind == bridge.UpdateNothing {
			if got.Thread != "" || got.Text != "" || got.Command != nil {
				t.Fatalf("nothing, and yet %+v", got)
			}
			return
		}
		chat, _, ok := parseThread(got.Thread)
		if err != nil || !ok {
			t.Fatalf("%+v %v", got, err)
		}
		if chat != -1000000000100 && chat != -42 {
			t.Fatalf("a message of the chat %d", chat)
		}
		if got.Author.ID == "" || got.Author.Name == "" || got.Message == "" || got.Text == "" || !utf8.ValidString(got.Text) {
			t.Fatalf("%+v", got)
		}
		if c := got.Command; c != nil && (c.Name == "" || c.Name != strings.ToLower(c.Name)) {
			t.Fatalf("command %+v", c)
		}
	})
}
