package main

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// earlierStores is where the stores lie that an earlier version wrote; write.go.txt there is what it did.
const earlierStores = "testdata/store-34e7b3a"

// earlierWorld says what the platforms had in common with an earlier store: which message is which.
type earlierWorld struct {
	Chat    int64                        `json:"chat"`    // Telegram's
	Ana     map[string]string            `json:"ana"`     // platform → Ana's user id
	Channel map[string]string            `json:"channel"` // platform → the operators' chat
	Threads map[string]map[string]string `json:"threads"` // session → platform → thread
	Shown   map[string]map[string]string `json:"shown"`   // text → platform → message id
	Answers map[string]string            `json:"answers"` // text of an operator's message → its id on the wire
}

// The texts of an earlier store that nobody had been shown when it was closed, and one that quotes one of its messages.
const (
	earlierReply   = "a reply to ana"
	earlierAnswer  = "the answer that waits"
	earlierMessage = "waits for all platforms"
	earlierFirst   = "the first of nina waits"
)

// TestEarlierStore starts the bridge on stores that version 34e7b3a wrote: what was shown is not shown again, what waited is
// delivered, what is done to an old message finds it, and receivers go on where they were.
func TestEarlierStore(t *testing.T) {
	t.Parallel()
	t.Run("bolt", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bridge.db"), unpacked(t, "bolt.db.gz"), 0o600); err != nil {
			t.Fatal(err)
		}
		goesOn(t, newEarlier(t, "bolt", map[string]string{"DATA_DIR": dir}))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t)
		restore(t, server, unpacked(t, "redis.jsonl.gz"))
		goesOn(t, newEarlier(t, "redis", map[string]string{"REDIS_URL": server.URL()}))
	})
}

func unpacked(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(earlierStores, name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if !callbackEnds.Match(data) {
		t.Fatalf("%s has no callback that ends", name)
	}
	return callbackEnds.ReplaceAll(data, []byte("${1}2126"))
}

// callbackEnds finds the year in which the callback of an earlier store ends, which was registered for a day. A year has as many
// bytes as any other, so a file of bolt's may be changed in place.
var callbackEnds = regexp.MustCompile(`(expiresAt\\?":\\?")(2026)`)

// restore gives a Redis the commands that make the earlier one's data.
func restore(t *testing.T, server *redistest.Server, commands []byte) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	pipe := client.Pipeline()
	lines := bufio.NewScanner(strings.NewReader(string(commands)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var words []string
		if err := json.Unmarshal(lines.Bytes(), &words); err != nil {
			t.Fatal(err)
		}
		args := make([]any, len(words))
		for i, word := range words {
			if raw, ok := strings.CutPrefix(word, "base64:"); ok {
				data, err := base64.StdEncoding.DecodeString(raw)
				if err != nil {
					t.Fatal(err)
				}
				word = string(data)
			}
			args[i] = word
		}
		pipe.Do(t.Context(), args...)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// earlier is a rig whose platforms know nothing but what the bridge does now: calls about the places and messages of before
// are answered as if those were there.
type earlier struct {
	*rig
	world  earlierWorld
	dc     *discordBoard
	sl     *slackBoard
	nextID atomic.Int64
}

func newEarlier(t *testing.T, name string, env map[string]string) *earlier {
	t.Helper()
	e := &earlier{}
	data, err := os.ReadFile(filepath.Join(earlierStores, name+".world.json"))
	if err == nil {
		err = json.Unmarshal(data, &e.world)
	}
	if err != nil {
		t.Fatal(err)
	}
	e.rig = newRig(t, telegram.Options{FirstUpdateID: 727_000_011})
	e.chat = e.telegram.AddChat(telegram.Chat{Kind: telegram.Forum, ID: e.world.Chat})
	id, _ := strconv.ParseInt(e.world.Ana["telegram"], 10, 64)
	e.ana = e.telegram.AddUser(telegram.User{ID: id, FirstName: "Ana"})
	e.dc = newDiscordBoard(t, discord.Text)
	e.dc.channel = e.dc.server.AddChannel(discord.Channel{ID: e.world.Channel["discord"], Kind: discord.Text})
	e.dc.ana = e.dc.server.AddUser(discord.User{ID: e.world.Ana["discord"], Name: "ana", Display: "Ana"}).ID
	e.sl = newSlackBoard(t, true)
	if e.sl.channel != e.world.Channel["slack"] || e.sl.ana != e.world.Ana["slack"] {
		t.Fatalf("the stand-in for Slack has %s and %s", e.sl.channel, e.sl.ana)
	}
	e.boards = []board{telegramBoard{e.rig}, e.dc, e.sl}
	for _, b := range e.boards {
		for key, value := range b.env() {
			e.env[key] = value
		}
	}
	for key, value := range env {
		e.env[key] = value
	}
	// However long ago the store was written, nothing of it is too old to be looked at.
	for key, value := range map[string]string{
		"RETENTION_DAYS": "3650", "AUTO_CLOSE": "0", "UNANSWERED_AFTER": "0", "PRESENCE_TIMEOUT": "0",
	} {
		e.env[key] = value
	}
	delete(e.env, "BACKEND_WEBHOOK_URL")
	delete(e.env, "BACKEND_WEBHOOK_EVENTS")
	e.nextID.Store(5000)
	e.telegram.On("", e.telegramHad)
	e.dc.server.On("", e.discordHad)
	e.sl.server.On("", e.slackHad)
	return e
}

// telegramHad answers for the topics of before, and for those that are opened now, whose numbers must be others.
func (e *earlier) telegramHad(c telegram.Call) telegram.Action {
	n := e.nextID.Add(1)
	result := ""
	switch c.Method {
	case "createForumTopic":
		result = fmt.Sprintf(`{"message_thread_id":%d,"name":"x","icon_color":7322096}`, n)
	case "sendMessage":
		result = fmt.Sprintf(`{"message_id":%d,"message_thread_id":%s,"is_topic_message":true,"date":1,"chat":{"id":%d,"type":"supergroup",`+
			`"is_forum":true},"text":"x"}`, n, c.Params["message_thread_id"], e.chat)
	case "editMessageText":
		result = fmt.Sprintf(`{"message_id":%s,"date":1,"chat":{"id":%d,"type":"supergroup","is_forum":true},"text":"x"}`,
			c.Params["message_id"], e.chat)
	case "deleteMessage", "setMessageReaction", "closeForumTopic", "reopenForumTopic", "editForumTopic", "sendChatAction":
		result = "true"
	default:
		return telegram.Action{}
	}
	return telegram.Action{Status: http.StatusOK, Body: `{"ok":true,"result":` + result + `}`}
}

// discordHad answers for the threads of before.
func (e *earlier) discordHad(c stage.Call) stage.Action {
	place := c.Params["channel_id"]
	if place != e.world.Threads["vera"]["discord"] && place != e.world.Threads["otto"]["discord"] {
		return stage.Action{}
	}
	thread := fmt.Sprintf(`{"id":%q,"type":11,"guild_id":%q,"parent_id":%q,"name":"x","owner_id":%q,`+
		`"thread_metadata":{"archived":false,"locked":false,"auto_archive_duration":1440,"archive_timestamp":"2026-01-01T00:00:00Z"}}`,
		place, e.dc.server.Guild(), e.dc.channel, e.dc.server.Bot().ID)
	made := fmt.Sprintf(`{"id":"%d","channel_id":%q,"content":"x","author":{"id":%q,"username":"x","bot":true},"type":0,`+
		`"timestamp":"2026-01-01T00:00:00Z","attachments":[],"embeds":[],"mentions":[]}`,
		1_600_000_000_000_000_000+e.nextID.Add(1), place, e.dc.server.Bot().ID)
	switch c.Method {
	case "get_channel", "update_channel":
		return stage.Action{Status: http.StatusOK, Body: thread}
	case "list_messages":
		return stage.Action{Status: http.StatusOK, Body: "[]"}
	case "create_message", "update_message":
		return stage.Action{Status: http.StatusOK, Body: made}
	case "delete_message", "add_my_message_reaction", "trigger_typing_indicator":
		return stage.Action{Status: http.StatusNoContent}
	}
	return stage.Action{}
}

// slackHad answers for the threads of before.
func (e *earlier) slackHad(c stage.Call) stage.Action {
	old := func(ts string) bool {
		if ts == e.world.Threads["vera"]["slack"] || ts == e.world.Threads["otto"]["slack"] {
			return true
		}
		for _, on := range e.world.Shown {
			if ts != "" && on["slack"] == ts {
				return true
			}
		}
		return false
	}
	ts := c.Params["ts"]
	switch {
	case c.Method == "chat.postMessage" && old(c.Thread):
		ts = fmt.Sprintf("%d.%06d", time.Now().Unix(), e.nextID.Add(1))
	case c.Method == "conversations.replies" && old(c.Thread):
		return stage.Action{Status: http.StatusOK, Body: `{"ok":true,"messages":[],"has_more":false}`}
	case c.Method == "chat.update" && old(ts), c.Method == "chat.delete" && old(ts):
	case strings.HasPrefix(c.Method, "reactions.") && old(c.Params["timestamp"]):
	default:
		return stage.Action{}
	}
	return stage.Action{Status: http.StatusOK, Body: fmt.Sprintf(`{"ok":true,"channel":%q,"ts":%q,"message":{"text":"x","ts":%q,"thread_ts":%q}}`,
		e.sl.channel, ts, ts, c.Thread)}
}

// called is a call about a message, as the platforms have it in common.
type called struct{ platform, method, thread, message, text, reply string }

// calls returns all calls about messages so far, each platform's in their order.
func (e *earlier) calls() []called {
	var out []called
	for _, c := range e.telegram.Calls() {
		var to struct {
			Message int `json:"message_id"`
		}
		_ = json.Unmarshal([]byte(c.Params["reply_parameters"]), &to)
		reply := ""
		if to.Message != 0 {
			reply = strconv.Itoa(to.Message)
		}
		out = append(out, called{"telegram", c.Method, c.Params["message_thread_id"], c.Params["message_id"], c.Params["text"], reply})
	}
	for _, c := range e.dc.server.Calls() {
		var to struct {
			Message string `json:"message_id"`
		}
		_ = json.Unmarshal([]byte(c.Params["message_reference"]), &to)
		out = append(out, called{"discord", c.Method, c.Params["channel_id"], c.Params["message_id"], discordPlain(c.Text), to.Message})
	}
	for _, c := range e.sl.server.Calls() {
		out = append(out, called{"slack", c.Method, c.Thread, c.Params["ts"], c.Params["text"] + c.Params["blocks"], ""})
	}
	return out
}

// The methods by which a message is sent, changed and deleted.
func sends() []string   { return []string{"sendMessage", "create_message", "chat.postMessage"} }
func edits() []string   { return []string{"editMessageText", "update_message", "chat.update"} }
func deletes() []string { return []string{"deleteMessage", "delete_message", "chat.delete"} }

// find returns a platform's calls by one of the methods, whose text has the given one.
func (e *earlier) find(platform string, methods []string, text string) []called {
	return slices.DeleteFunc(e.calls(), func(c called) bool {
		return c.platform != platform || !slices.Contains(methods, c.method) || !strings.Contains(c.text, text)
	})
}

// eachShows waits until each platform was told once of a text, in the session's thread of before, if it had one.
func (e *earlier) eachShows(session, text string, on ...string) {
	e.t.Helper()
	for _, b := range e.boards {
		if len(on) > 0 && !slices.Contains(on, b.name()) {
			continue
		}
		e.until(text+" on "+b.name(), func() bool { return len(e.find(b.name(), sends(), text)) > 0 })
		thread := e.world.Threads[session][b.name()]
		if got := e.find(b.name(), sends(), text); len(got) != 1 || thread != "" && got[0].thread != thread {
			e.t.Errorf("%s was told of %q by %+v, not once in %q", b.name(), text, got, thread)
		}
	}
}

// put registers the callback of before, which is at another address now.
func (e *earlier) put() {
	e.t.Helper()
	req, err := http.NewRequest(http.MethodPut, e.process().base+"/api/callbacks/shop", strings.NewReader(`{"url":"`+e.app.url+`"}`))
	if err != nil {
		e.t.Fatal(err)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK { // it is refreshed, not made
		e.t.Fatalf("PUT of the callback that was registered: %s", resp.Status)
	}
}

// told waits for a callback of a type with an id, and returns it.
func (e *earlier) told(kind, id string) received {
	e.t.Helper()
	var got received
	e.until(kind+" of "+id, func() bool {
		for _, r := range e.app.of(kind) {
			if r.MessageID == id {
				got = r
				return true
			}
		}
		return false
	})
	return got
}

func goesOn(t *testing.T, e *earlier) {
	e.start()
	e.put()

	// What waited.
	e.eachShows("vera", earlierMessage)
	e.eachShows("nina", earlierFirst)
	e.told("operator_message", e.world.Answers[earlierAnswer])

	e.visitorChanges()
	e.operatorsChange()
	e.knowsTheRest()

	// Everything of before stands in the lanes before what was done now, so that by now it would have come again.
	for text, on := range e.world.Shown {
		for platform := range on {
			again := slices.DeleteFunc(e.find(platform, sends(), text), func(c called) bool { return strings.Contains(c.text, earlierReply) })
			if len(again) > 0 {
				t.Errorf("%s was shown %q again: %+v", platform, text, again)
			}
		}
	}
	for text, id := range e.world.Answers {
		n := 0
		for _, got := range e.app.of("operator_message") {
			if got.MessageID == id {
				n++
			}
		}
		if want := map[bool]int{true: 1}[text == earlierAnswer]; n != want {
			t.Errorf("the app was told %d times of %q, not %d", n, text, want)
		}
	}
	// An event that was accepted is known still.
	if a := e.must("/api/messages", message("vera", "m1", "the first of vera")); !a.Duplicate {
		t.Error("an old message was accepted once more")
	}
}

// visitorChanges replies to, edits and deletes messages that were shown before.
func (e *earlier) visitorChanges() {
	e.t.Helper()
	first, second := e.world.Shown["the first of vera"], e.world.Shown["the second of vera"]
	e.must("/api/messages", `{"message":{"id":"m7","sessionId":"vera","content":"`+earlierReply+`","sender":"visitor","replyTo":"`+
		e.world.Answers["ana from telegram"]+`"},"session":{"id":"vera","visitorId":"vera"}}`)
	e.eachShows("vera", earlierReply)
	for platform, want := range map[string]string{
		"telegram": e.world.Shown["ana from telegram"]["telegram"], "discord": e.world.Shown["ana from telegram"]["discord"],
	} {
		if got := e.find(platform, sends(), earlierReply); got[0].reply != want {
			e.t.Errorf("on %s it replies to %q, not %q", platform, got[0].reply, want)
		}
	}
	if got := e.find("slack", sends(), earlierReply); !strings.Contains(got[0].text, "ana from telegram") {
		e.t.Errorf("on slack nothing is quoted: %q", got[0].text)
	}
	e.must("/api/events", `{"type":"visitor_message_edited","sessionId":"vera","messageId":"m1","content":"the first, as it is now"}`)
	e.must("/api/events", `{"type":"visitor_message_edited","sessionId":"vera","messageId":"m2","content":"older than what is shown",`+
		`"editedAt":"2025-01-02T03:04:05Z"}`)
	e.must("/api/events", `{"type":"visitor_message_deleted","sessionId":"vera","messageId":"m2"}`)
	for _, b := range e.boards {
		e.until("edited on "+b.name(), func() bool { return len(e.find(b.name(), edits(), "the first, as it is now")) > 0 })
		if got := e.find(b.name(), edits(), "the first, as it is now"); got[0].message != first[b.name()] {
			e.t.Errorf("%s was told to edit %q, not %q", b.name(), got[0].message, first[b.name()])
		}
		e.until("deleted on "+b.name(), func() bool { return len(e.find(b.name(), deletes(), "")) > 0 })
		if got := e.find(b.name(), deletes(), ""); got[0].message != second[b.name()] {
			e.t.Errorf("%s was told to delete %q, not %q", b.name(), got[0].message, second[b.name()])
		}
		if got := e.find(b.name(), edits(), "older than what is shown"); len(got) > 0 {
			e.t.Errorf("%s was shown an edit that is older than what it showed: %+v", b.name(), got)
		}
	}
}

// operatorsChange lets Ana edit, delete and write in the threads of before.
func (e *earlier) operatorsChange() {
	e.t.Helper()
	answers := e.world.Answers
	number := func(text string) int {
		n, _ := strconv.Atoi(text)
		return n
	}
	topic := number(e.world.Threads["vera"]["telegram"])
	chat := map[string]any{"id": e.chat, "type": "supergroup", "is_forum": true, "title": "Support"}
	ana := map[string]any{"id": e.ana.ID, "is_bot": false, "first_name": "Ana"}
	of := func(id int, text string) map[string]any {
		return map[string]any{
			"message_id": id, "message_thread_id": topic, "is_topic_message": true, "chat": chat, "from": ana, "date": time.Now().Unix(), "text": text,
		}
	}
	edited := of(number(e.world.Shown["ana from telegram"]["telegram"]), "ana thinks again")
	edited["edit_date"] = time.Now().Unix()
	// Its id is one that the earlier version knew: another bot's, since it was taken before this was written. The next one has both
	// an id and a message that the earlier version took.
	e.telegram.PushUpdate(map[string]any{"edited_message": edited})
	taken := of(number(e.world.Shown[earlierAnswer]["telegram"]), earlierAnswer)
	taken["date"] = 1_700_000_000
	e.telegram.PushUpdate(map[string]any{"message": taken})
	if got := e.told("operator_message_edited", answers["ana from telegram"]); got.Content != "ana thinks again" || got.SessionID != "vera" {
		e.t.Errorf("the app was told %s", got.body)
	}
	for _, platform := range []string{"discord", "slack"} {
		e.until("edited on "+platform, func() bool { return len(e.find(platform, edits(), "ana thinks again")) > 0 })
		want := e.world.Shown["ana from telegram"][platform]
		if got := e.find(platform, edits(), "ana thinks again"); got[0].message != want {
			e.t.Errorf("%s was told to edit %q, not %q", platform, got[0].message, want)
		}
	}
	e.dc.server.PushEvent("MESSAGE_DELETE", map[string]any{
		"id": e.world.Shown["ana from discord"]["discord"], "channel_id": e.world.Threads["vera"]["discord"], "guild_id": e.dc.server.Guild(),
	})
	e.told("operator_message_deleted", answers["ana from discord"])
	e.telegram.PushUpdate(map[string]any{"message": of(7001, "ana goes on")})
	if got := e.told("operator_message", "telegram:7001"); got.SessionID != "vera" {
		e.t.Errorf("the app was told %s", got.body)
	}
	ts := fmt.Sprintf("%d.%06d", time.Now().Unix(), 1)
	e.sl.server.PushEvent(map[string]any{
		"type": "message", "channel": e.sl.channel, "user": e.sl.ana, "text": "ana goes on there, too", "ts": ts, "event_ts": ts,
		"thread_ts": e.world.Threads["vera"]["slack"], "channel_type": "channel",
	})
	if got := e.told("operator_message", "slack:"+ts); got.SessionID != "vera" {
		e.t.Errorf("the app was told %s", got.body)
	}
}

// knowsTheRest looks for what is kept besides messages: dead letters, presence, canned replies, and that otto's conversation is
// closed.
func (e *earlier) knowsTheRest() {
	e.t.Helper()
	body := e.get("/api/deliveries?state=failed")
	if n := strings.Count(body, `"state":"failed"`); n != 2 {
		e.t.Errorf("there are %d dead letters, not 2: %s", n, body)
	}
	resp, err := e.client.Post(e.process().base+"/api/deliveries/retry?lane=telegram", "application/json", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	_ = resp.Body.Close()
	e.until("the dead letter on Telegram", func() bool { return len(e.find("telegram", sends(), "refused by telegram")) > 0 })
	if body := e.get("/api/presence"); !strings.Contains(body, `"online":true`) || !strings.Contains(body, "Ana-Maria") {
		e.t.Errorf("the team is %s", body)
	}
	e.must("/api/messages", message("otto", "n2", "otto is back"))
	e.eachShows("otto", "otto is back")
	e.until("reopened", func() bool { return len(e.app.of("session_reopened")) > 0 })
	topic, _ := strconv.Atoi(e.world.Threads["vera"]["telegram"])
	e.telegram.PushUpdate(map[string]any{"message": map[string]any{
		"message_id": 7002, "message_thread_id": topic, "is_topic_message": true, "date": time.Now().Unix(), "text": "!hours",
		"chat": map[string]any{"id": e.chat, "type": "supergroup", "is_forum": true, "title": "Support"},
		"from": map[string]any{"id": e.ana.ID, "is_bot": false, "first_name": "Ana"},
	}})
	if got := e.told("operator_message", "telegram:7002"); got.Content != "We are here from nine to five." {
		e.t.Errorf("the app was told %s", got.body)
	}
}

// get returns the body of an answer of the bridge.
func (e *earlier) get(path string) string {
	e.t.Helper()
	resp, err := e.client.Get(e.process().base + path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(body)
}
