package telegram

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// reacted returns an update of a reaction to message 31: what it was, what it is.
func reacted(by, before string, after ...string) string {
	list := func(emoji ...string) string {
		var all []string
		for _, e := range emoji {
			if e != "" {
				all = append(all, `{"type":"emoji","emoji":"`+e+`"}`)
			}
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	return `{"update_id":5,"message_reaction":{"chat":{"id":-1000000000100,"type":"supergroup","is_forum":true},"message_id":31,"date":1,` +
		by + `,"old_reaction":` + list(before) + `,"new_reaction":` + list(after...) + `}}`
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
	seen := func(id, name string) bridge.Update {
		return bridge.Update{Kind: bridge.UpdateReaction, Message: "31", Author: bridge.Author{ID: id, Name: name}}
	}

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
			Author: bridge.Author{ID: "500", Name: "ana", Handle: "ana"}, Text: "x"}},
		"basic group": {inChat(group, `,"text":"x","reply_to_message":{"message_id":30}`), bridge.Update{Kind: bridge.UpdateMessage, Thread: "-42/",
			Flat: true, Message: "-42/31", ReplyTo: "-42/30", ReplyToNumber: 30, Author: bridge.Author{ID: "500", Name: "ana", Handle: "ana"}, Text: "x"}},
		"anonymous": {inForum(`,"text":"x","sender_chat":{"id":-1000000000100,"type":"supergroup"},"author_signature":"Boss"`),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "anonymous", Name: "Boss"} })},
		"anonymous, untitled": {inForum(`,"text":"x","sender_chat":{"id":-1000000000100}`),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "anonymous", Name: "Team"} })},
		"as a channel": {inForum(`,"text":"x","sender_chat":{"id":-200,"type":"channel","title":"News"}`),
			with(word("x"), func(u *bridge.Update) { u.Author = bridge.Author{ID: "-200", Name: "News"} })},
		"test bot": {strings.Replace(inForum(`,"text":"x"`), `"id":500`, `"is_bot":true,"id":777`, 1),
			with(word("x"), func(u *bridge.Update) { u.Author.ID = "777" })},
		"no name": {strings.Replace(inForum(`,"text":"x"`), `"first_name":"Ana","last_name":"Ruiz"`, `"first_name":"\u200b"`, 1),
			with(word("x"), func(u *bridge.Update) { u.Author.Name = "Team" })},
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

		"caption": {inForum(`,"photo":[{"file_id":"x"}],"caption":" look "`), with(word(" look "), func(u *bridge.Update) {
			u.Files = []bridge.Attachment{{Filename: "photo_31.jpg", MimeType: "image/jpeg", BridgeFileID: "x", UploadedFrom: "telegram"}}
		})},
		"photo without id":     {inForum(`,"photo":[{}]`), word("[photo]")},
		"photo of another age": {inForum(`,"photo":7`), word("[photo]")},
		"document without id":  {inForum(`,"document":{"file_name":"a.pdf"}`), word("[file: a.pdf]")},
		"too big": {inForum(`,"document":{"file_id":"x","file_name":"a.iso","file_size":20971521},"caption":"see"`),
			hinted(word("see\n[file: a.iso, too big to pass on (21.0 MB)]"), tooBig)},
		"too big, alone": {inForum(`,"video":{"file_id":"x","file_size":34000000}`), hinted(word("[video, too big to pass on (34.0 MB)]"), tooBig)},
		"album": {inForum(`,"photo":[{"file_id":"x","file_unique_id":"u"}],"media_group_id":"9"`), with(word(""), func(u *bridge.Update) {
			u.Album = "9"
			u.Files = []bridge.Attachment{{ID: "u", Filename: "photo_31.jpg", MimeType: "image/jpeg", BridgeFileID: "x", UploadedFrom: "telegram"}}
		})},
		"link": {inForum(`,"text":"😀 see here, a.test and b","entities":[{"type":"bold","offset":0,"length":20},` +
			`{"type":"text_link","offset":7,"length":4,"url":"https://c.test/?a=1"},{"type":"text_link","offset":13,"length":6,"url":"http://a.test/"},` +
			`{"type":"text_link","offset":24,"length":1,"url":"tg://x"}]`),
			word("😀 see here (https://c.test/?a=1), a.test and b (tg://x)")},
		"link in a caption": {inForum(`,"location":{},"caption":"x","caption_entities":[{"type":"text_link","offset":0,"length":1,"url":"https://c.test"}]`),
			word("x (https://c.test)")},
		"crossed links": {inForum(`,"text":"abcdef","entities":[{"type":"text_link","offset":0,"length":4,"url":"u"},` +
			`{"type":"text_link","offset":2,"length":4,"url":"v"}]`), word("abcd (u)ef")},
		"torn links": {inForum(`,"text":"😀b","entities":[{"type":"text_link","offset":1,"length":1,"url":"u"},` +
			`{"type":"text_link","offset":0,"length":9,"url":"u"},{"type":"text_link","offset":-1,"length":1,"url":"u"}]`), word("😀b")},
		"command with a link": {inForum(`,"text":"/note see","entities":[{"type":"bot_command","offset":0,"length":5},` +
			`{"type":"text_link","offset":6,"length":3,"url":"https://c.test"}]`),
			with(word("/note see (https://c.test)"), func(u *bridge.Update) {
				u.Command = &bridge.Command{Name: "note", Args: "see (https://c.test)"}
			})},
		"rich": {inForum(`,"rich_message":{"blocks":[{"type":"heading","size":1,"text":"Title"},{"type":"divider"},` +
			`{"type":"paragraph","text":["see ",{"type":"bold","text":{"type":"url","text":"this","url":"https://c.test"}},{"type":"custom_emoji",` +
			`"alternative_text":"😀","custom_emoji_id":"1"}]},{"type":"list","items":[{"label":"1.","blocks":[{"type":"paragraph","text":"one"}]}]},` +
			`{"type":"table","cells":[[{"text":"a"},{"text":"b"}],[{"text":"c"},{}]]},{"type":"photo","photo":[],"caption":{"text":"cap"}}]}`),
			word("Title\nsee this (https://c.test)😀\n1. one\na | b\nc\n[photo]\ncap")},
		"rich, unreadable": {inForum(`,"rich_message":{"blocks":7}`), hinted(word("[formatted message]"), "The visitor sees no more of this than [formatted message].")},
		"winners":          {inForum(`,"giveaway_winners":{}`), hinted(word("[giveaway]"), "The visitor sees no more of this than [giveaway].")},

		"edit": {strings.Replace(inForum(`,"text":"x","edit_date":1700000000`), `"message":`, `"edited_message":`, 1),
			with(word("x"), func(u *bridge.Update) { u.Kind, u.Edited = bridge.UpdateEdit, time.Unix(1_700_000_000, 0).UTC() })},
		"edit without a date": {strings.Replace(inForum(`,"text":"x"`), `"message":`, `"edited_message":`, 1),
			with(word("x"), func(u *bridge.Update) { u.Kind, u.Edited = bridge.UpdateEdit, time.Unix(1_800_000_000, 0) })},
		"edit into a command": {strings.Replace(inForum(`,"text":"/close"`), `"message":`, `"edited_message":`, 1),
			with(word("/close"), func(u *bridge.Update) {
				u.Kind, u.Edited, u.Command = bridge.UpdateEdit, time.Unix(1_800_000_000, 0), &bridge.Command{Name: "close"}
			})},
		"edit by a bot":       {strings.NewReplacer(`"message":`, `"edited_message":`, `"id":500`, `"is_bot":true,"id":778`).Replace(inForum(`,"text":"x"`)), none},
		"reaction":            {reacted(`"user":{"id":500,"first_name":"Ana"}`, "", "👍"), seen("500", "Ana")},
		"another reaction":    {reacted(`"user":{"id":500,"first_name":"Ana"}`, "👍", "👀"), seen("500", "Ana")},
		"one more reaction":   {reacted(`"user":{"id":500,"first_name":"Ana"}`, "👍", "👍", "👀"), seen("500", "Ana")},
		"anonymous reaction":  {reacted(`"actor_chat":{"id":-1000000000100}`, "", "👍"), seen("anonymous", "Team")},
		"reaction taken back": {reacted(`"user":{"id":500,"first_name":"Ana"}`, "👍"), none},
		"reaction of a bot":   {reacted(`"user":{"id":778,"is_bot":true}`, "", "👍"), none},
		"reaction of ours":    {reacted(`"user":{"id":99,"is_bot":true}`, "", "👍"), none},
		"reaction elsewhere":  {strings.Replace(reacted(`"user":{"id":500}`, "", "👍"), "-1000000000100", "-101", 1), none},
		"reaction in basic group": {strings.Replace(reacted(`"user":{"id":500,"first_name":"Ana"}`, "", "👍"), "-1000000000100", "-42", 1),
			with(seen("500", "Ana"), func(u *bridge.Update) { u.Message = "-42/31" })},
		"press": {press(`,"message_thread_id":7,"is_topic_message":true`), with(word(""), func(u *bridge.Update) {
			u.Kind, u.Slash, u.Press, u.At, u.Act = bridge.UpdatePress, true, "claim", time.Time{}, ""
			u.ReplyTo, u.Message = u.Message, "press/q9"
		})},
		"press of an old message": {press(`,"date":0`), with(word(""), func(u *bridge.Update) {
			u.Kind, u.Slash, u.Press, u.At, u.Act = bridge.UpdatePress, true, "claim", time.Time{}, ""
			u.ReplyTo, u.Message, u.Thread = u.Message, "press/q9", "-1000000000100/"
		})},
		"press elsewhere":     {strings.Replace(press(""), "-1000000000100", "-101", 1), none},
		"press of a bot":      {strings.Replace(press(""), `"id":500`, `"is_bot":true,"id":778`, 1), none},
		"press of nothing":    {`{"update_id":5,"callback_query":{"id":"q9","from":{"id":500},"data":"claim"}}`, none},
		"press with a game":   {strings.Replace(press(""), `"data":"claim"`, `"game_short_name":"x"`, 1), none},
		"animation":           {inForum(`,"animation":{},"document":{"file_name":"a.mp4"}`), word("[animation]")},
		"voice":               {inForum(`,"voice":{}`), word("[voice message]")},
		"audio":               {inForum(`,"audio":{}`), word("[audio]")},
		"video":               {inForum(`,"video":{}`), word("[video]")},
		"sticker":             {inForum(`,"sticker":{"emoji":"👍"}`), word("👍")},
		"sticker alone":       {inForum(`,"sticker":{}`), word("[sticker]")},
		"forwarded":           {inForum(`,"text":"see this","forward_origin":{"type":"user"}`), word("[forwarded] see this")},
		"forwarded command":   {inForum(`,"text":"/close","entities":[{"type":"bot_command","offset":0,"length":6}],"forward_origin":{"type":"user"}`), word("[forwarded] /close")},
		"forwarded, to a bot": {inForum(`,"text":"/x@other","forward_origin":{"type":"hidden_user"}`), word("[forwarded] /x@other")},
		"forwarded of old":    {inForum(`,"text":"!close","forward_date":1`), word("[forwarded] !close")},
		"not quite a command": {inForum(`,"text":"/note:x","entities":[{"type":"bot_command","offset":0,"length":5}]`), word("/note:x")},
		"live location": {inForum(`,"location":{"latitude":41.38,"longitude":2.17,"live_period":900}`),
			hinted(word("[location: 41.380000, 2.170000]"), "The visitor sees the place where you are now; it does not follow you.")},
		"live location moves": {strings.Replace(inForum(`,"location":{"latitude":41.39,"longitude":2.17,"live_period":900},"edit_date":1`),
			`"message":`, `"edited_message":`, 1), none},
		"live location ends": {strings.Replace(inForum(`,"location":{"latitude":41.39,"longitude":2.17},"edit_date":1`),
			`"message":`, `"edited_message":`, 1), none},
		"location": {inForum(`,"location":{"latitude":41.38,"longitude":2.17}`), word("[location: 41.380000, 2.170000]")},
		"venue": {inForum(`,"venue":{"title":"Café","address":"Gran Via 1"},"location":{"latitude":1,"longitude":2}`),
			word("[place: Café, Gran Via 1]")},
		"contact":   {inForum(`,"contact":{"phone_number":"+34600","first_name":"Eva"}`), word("[contact: Eva, +34600]")},
		"poll":      {inForum(`,"poll":{"question":"When?","options":[{"text":"now"},{"text":"later"}]}`), word("[poll: When? (now / later)]")},
		"checklist": {inForum(`,"checklist":{"title":"Do","tasks":[{"text":"a"}]}`), word("[checklist: Do (a)]")},
		"dice":      {inForum(`,"dice":{"emoji":"🎲","value":5}`), word("🎲 5")},
		"story":     {inForum(`,"story":{}`), hinted(word("[story]"), "The visitor sees no more of this than [story].")},
		"game":      {inForum(`,"game":{"title":"Chess"}`), word("[game: Chess]")},

		"other chat":       {inChat(`{"id":-101,"type":"supergroup"}`, `,"text":"x"`), none},
		"bot":              {strings.Replace(inForum(`,"text":"x"`), `"id":500`, `"is_bot":true,"id":778`, 1), none},
		"ourselves":        {strings.Replace(inForum(`,"text":"x"`), `"id":500`, `"id":99`, 1), none},
		"nobody":           {strings.Replace(inForum(`,"text":"x"`), `"from"`, `"form"`, 1), none},
		"automatic":        {inForum(`,"text":"x","is_automatic_forward":true,"sender_chat":{"id":-200}`), none},
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
			got.Act, got.At = "", time.Time{} // TestActs has these
			if diff := cmp.Diff(c.want, got.Update); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What was done in a supergroup has one name, whichever bot is told of it and under which id; whatever differs, it is another act. In
// a basic group each bot has ids of its own.
func TestActs(t *testing.T) {
	t.Parallel()
	const where = `"chat":{"id":-1000000000100,"type":"supergroup","is_forum":true},"message_thread_id":7,"is_topic_message":true,` +
		`"from":{"id":1,"first_name":"Ana"}`
	act := func(id int64, raw string) string {
		t.Helper()
		got, err := convert(json.RawMessage(raw), id, testView())
		if err != nil || got.Kind == bridge.UpdateNothing || got.At.Unix() < 100 {
			t.Fatalf("%s: %+v, %v", raw, got.Update, err)
		}
		return got.Act
	}
	said := func(number int, text string) string {
		return fmt.Sprintf(`{"message":{"message_id":%d,"date":100,"text":%q,%s}}`, number, text, where)
	}
	changed := func(number, at int, text string) string {
		return fmt.Sprintf(`{"edited_message":{"message_id":%d,"date":100,"edit_date":%d,"text":%q,%s}}`, number, at, text, where)
	}
	reacted := func(number, at int) string {
		return fmt.Sprintf(`{"message_reaction":{"message_id":%d,"date":%d,"user":{"id":1,"first_name":"Ana"},"old_reaction":[],`+
			`"new_reaction":[{"type":"emoji","emoji":"👍"}],"chat":{"id":-1000000000100,"type":"supergroup","is_forum":true}}}`, number, at)
	}
	names := map[string]string{}
	for _, raw := range []string{
		said(31, "a"), said(32, "a"), changed(31, 101, "b"), changed(31, 101, "c"), changed(31, 102, "b"), changed(32, 101, "b"),
		reacted(31, 101), reacted(31, 102), reacted(32, 101),
	} {
		name := act(5, raw)
		if other, known := names[name]; known || name == "" {
			t.Errorf("%s has the name %q, as %s", raw, name, other)
		}
		names[name] = raw
		if again := act(900, raw); again != name {
			t.Errorf("told by another bot, %s has the name %q, not %q", raw, again, name)
		}
	}
	if name := act(5, `{"message":{"message_id":31,"date":100,"text":"a","chat":{"id":-42,"type":"group"},"from":{"id":1,"first_name":"Ana"}}}`); name != "" {
		t.Errorf("in a basic group it has the name %q", name)
	}
}

// tooBig is what the author of a file is told that a bot is not given.
const tooBig = "The visitor does not get this file: Telegram gives a bot none of more than 20 MB."

func hinted(u bridge.Update, hint string) bridge.Update {
	u.Hint = hint
	return u
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
		"/a": "a|", "/a_1 x  y ": "a_1|x  y", "/A@OURBOT\nx": "a|x", "/a@other": "other", "/a@": "", "/a!": "", "/5": "", "/_a": "", "/a, b": "", "/a@other, b": "other",
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
		`,"sender_chat":{"id":-1000000000100},"text":"x"`, `,"document":{"file_id":"x","file_name":"../a\n","mime_type":"text/plain"}`,
		`,"text":"😀 é","entities":[{"type":"text_link","offset":1,"length":2,"url":"u"}]`,
		`,"rich_message":{"blocks":[{"type":"list","items":[{"label":"1.","blocks":[]}]},{"text":["a",{"url":"b"}]}]}`} {
		f.Add([]byte(inForum(fields)))
		f.Add([]byte(strings.Replace(inForum(fields), `"message":`, `"edited_message":`, 1)))
	}
	f.Add([]byte(reacted(`"user":{"id":500}`, "", "👍")))
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
		if got.Author.ID == "" || got.Author.Name == "" || got.Message == "" || !utf8.ValidString(got.Text) {
			t.Fatalf("%+v", got)
		}
		if got.Kind == bridge.UpdateReaction {
			return
		}
		chat, _, ok := parseThread(got.Thread)
		if err != nil || !ok {
			t.Fatalf("%+v %v", got, err)
		}
		if chat != -1000000000100 && chat != -42 {
			t.Fatalf("a message of the chat %d", chat)
		}
		if got.Text == "" && len(got.Files) == 0 || (got.Kind == bridge.UpdateEdit) == got.Edited.IsZero() {
			t.Fatalf("%+v", got)
		}
		for _, a := range got.Files {
			if a.BridgeFileID == "" || a.Filename == "" || a.MimeType == "" || a.Size < 0 || strings.ContainsAny(a.Filename, "/\\\n") {
				t.Fatalf("%+v", a)
			}
		}
		if c := got.Command; c != nil && (c.Name == "" || c.Name != strings.ToLower(c.Name)) {
			t.Fatalf("command %+v", c)
		}
	})
}

// Each kind of file becomes one that a visitor can save.
func TestAttachments(t *testing.T) {
	file := func(name, typ string) bridge.Attachment {
		return bridge.Attachment{ID: "u", Filename: name, MimeType: typ, Size: 7, BridgeFileID: "f", UploadedFrom: "telegram"}
	}
	for name, c := range map[string]struct {
		fields string
		want   bridge.Attachment
		text   string
	}{
		"photo": {`"photo":[{"file_id":"small","width":90,"height":60},{"file_id":"f","file_unique_id":"u","file_size":7,"width":900,"height":600},` +
			`{"file_id":"middle","width":320,"height":200}]`, file("photo_31.jpg", "image/jpeg"), ""},
		"video":     {`"video":{FILE}`, file("video_31.mp4", "video/mp4"), ""},
		"named":     {`"video":{FILE,"file_name":"a.mov","mime_type":"video/quicktime"}`, file("a.mov", "video/quicktime"), ""},
		"animation": {`"animation":{FILE,"file_name":"a.mp4","mime_type":"video/mp4"},"document":{"file_id":"d"}`, file("a.mp4", "video/mp4"), ""},
		"voice":     {`"voice":{FILE,"mime_type":"audio/ogg"}`, file("voice_31.ogg", "audio/ogg"), ""},
		"music":     {`"audio":{FILE,"performer":"A/B","title":"C","mime_type":"audio/mp4"}`, file("A_B - C.m4a", "audio/mp4"), ""},
		"audio":     {`"audio":{FILE}`, file("audio_31.mp3", "audio/mpeg"), ""},
		"round":     {`"video_note":{FILE}`, file("video_31.mp4", "video/mp4"), ""},
		"document":  {`"document":{FILE,"file_name":"Rechnung ä.pdf","mime_type":"application/pdf"}`, file("Rechnung ä.pdf", "application/pdf"), ""},
		"nameless":  {`"document":{FILE,"mime_type":"application/pdf; a=b"}`, file("file_31.pdf", "application/pdf; a=b"), ""},
		"typeless":  {`"document":{FILE}`, file("file_31", "application/octet-stream"), ""},
		"path":      {`"document":{FILE,"file_name":"../../etc\\x\u0000\n.txt"}`, file(".._.._etc_x .txt", "application/octet-stream"), ""},
		"dots":      {`"document":{FILE,"file_name":".."}`, file("file_31", "application/octet-stream"), ""},
		"sticker":   {`"sticker":{FILE,"emoji":"👍"}`, file("sticker_31.webp", "image/webp"), "👍"},
		"moving":    {`"sticker":{FILE,"is_video":true}`, file("sticker_31.webm", "video/webm"), ""},
		"animated":  {`"sticker":{FILE,"is_animated":true,"emoji":"👍"}`, file("sticker_31.tgs", "application/x-tgsticker"), "👍"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := strings.ReplaceAll(c.fields, "FILE", `"file_id":"f","file_unique_id":"u","file_size":7,"width":9,"height":9`)
			got, err := convert(json.RawMessage(inForum(","+fields)), 5, testView())
			if err != nil || got.Kind != bridge.UpdateMessage || got.Text != c.text {
				t.Fatalf("%+v %v", got, err)
			}
			if diff := cmp.Diff([]bridge.Attachment{c.want}, got.Files); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEveryField holds the definition of a message against what is read of it: each field is content, or known to be none.
func TestEveryField(t *testing.T) {
	dir := os.Getenv("PLATFORM_SPECS")
	if dir == "" {
		t.Log("PLATFORM_SPECS is not set: the fields of a message are not compared with the Bot API's definition")
		return
	}
	raw, err := os.ReadFile(filepath.Join(dir, "telegram", "api.json"))
	if err != nil {
		t.Fatal(err)
	}
	var spec struct {
		Types map[string]struct {
			Fields []struct {
				Name        string `json:"name"`
				Description string `json:"description"`
			} `json:"fields"`
		} `json:"types"`
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		t.Fatal(err)
	}
	for _, f := range spec.Types["Message"].Fields {
		isContent := strings.HasPrefix(f.Description, "Optional. Message ") && !strings.Contains(f.Description, "service message") ||
			f.Name == "giveaway" || f.Name == "giveaway_winners"
		value := map[string]string{"dice": `{"emoji":"x"}`}[f.Name]
		if value == "" {
			value = `{"file_id":"x","title":"x"}`
		}
		got, _ := convert(json.RawMessage(inForum(`,"`+f.Name+`":`+value)), 5, testView())
		if shown := got.Kind == bridge.UpdateMessage; shown != isContent {
			t.Errorf("%s: shown %t; %s", f.Name, shown, f.Description)
		}
	}
}

// press is a press of the button claim under message 31, which has more fields.
func press(more string) string {
	return `{"update_id":5,"callback_query":{"id":"q9","chat_instance":"1","from":{"id":500,"first_name":"Ana","last_name":"Ruiz"},"data":"claim",` +
		`"message":{"message_id":31,"chat":{"id":-1000000000100,"type":"supergroup","is_forum":true}` + more + `}}}`
}
