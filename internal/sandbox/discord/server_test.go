package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const agent = "DiscordBot (https://example.com, 1)"

// office is a sandbox with a text channel, a forum and two people.
type office struct {
	*Server
	t           *testing.T
	base        string
	text, forum string
	ana, ben    string
}

func newOffice(t *testing.T, options Options) *office {
	t.Helper()
	o := &office{Server: New(options), t: t}
	t.Cleanup(o.Close)
	o.Allow("", ManageWebhooks)
	o.ana, o.ben = o.AddUser(User{Name: "ana", Display: "Ana"}).ID, o.AddUser(User{Name: "ben"}).ID
	o.text = o.AddChannel(Channel{Name: "support"})
	o.forum = o.AddChannel(Channel{Kind: Forum, Name: "visitors", Tags: []Tag{{Name: "open"}}})
	return o
}

// listen serves the office over the network.
func (o *office) listen() *office {
	o.t.Helper()
	base, err := o.Listen(o.t.Context(), "")
	if err != nil {
		o.t.Fatal(err)
	}
	o.base = base
	return o
}

// answer is what came back of a call.
type answer struct {
	status int
	header http.Header
	body   string
}

// at returns a value of the answer by its path; nil if there is none.
func (a answer) at(path ...any) any {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return nil
	}
	for _, one := range path {
		switch key := one.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

func (a answer) str(path ...any) string {
	s, _ := a.at(path...).(string)
	return s
}

// code is the error code of Discord's, or 0.
func (a answer) code() int {
	n, _ := a.at("code").(float64)
	return int(n)
}

// call calls the API without a network. A body that is no string is sent as JSON.
func (o *office) call(method, path string, body any) answer {
	o.t.Helper()
	return o.callAs(o.t.Context(), "Bot "+o.Token(), method, path, body)
}

func (o *office) callAs(ctx context.Context, token, method, path string, body any) answer {
	o.t.Helper()
	var raw []byte
	switch body := body.(type) {
	case nil:
	case string:
		raw = []byte(body)
	default:
		var err error
		if raw, err = json.Marshal(body); err != nil {
			o.t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, "http://sandbox.example/api/v10"+path, bytes.NewReader(raw)).WithContext(ctx)
	r.Header.Set("User-Agent", agent)
	if len(raw) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// send sends a message that has to succeed and returns its id.
func (o *office) send(channel, text string) string {
	o.t.Helper()
	a := o.call("POST", "/channels/"+channel+"/messages", object{"content": text})
	if a.status != 200 {
		o.t.Fatalf("%d %s", a.status, a.body)
	}
	return a.str("id")
}

// thread makes a thread without a message that has to succeed.
func (o *office) thread(name string) string {
	o.t.Helper()
	a := o.call("POST", "/channels/"+o.text+"/threads", object{"name": name, "type": 11, "auto_archive_duration": 1440})
	if a.status != 201 {
		o.t.Fatalf("%d %s", a.status, a.body)
	}
	return a.str("id")
}

// want checks a status and a code of Discord's.
func (o *office) want(a answer, status, code int) {
	o.t.Helper()
	if a.status != status || code != 0 && a.code() != code {
		o.t.Errorf("got %d %s, want %d %d", a.status, a.body, status, code)
	}
}

// redirect sends what a client library sends to Discord to the sandbox.
type redirect struct {
	to   string
	next http.RoundTripper
}

func (r redirect) RoundTrip(q *http.Request) (*http.Response, error) {
	u, err := url.Parse(r.to)
	if err != nil {
		return nil, err
	}
	q = q.Clone(q.Context())
	q.URL.Scheme, q.URL.Host = u.Scheme, u.Host
	return r.next.RoundTrip(q)
}

// client returns the real client library, pointed at the sandbox.
func (o *office) client() *discordgo.Session {
	o.t.Helper()
	d, err := discordgo.New("Bot " + o.Token())
	if err != nil {
		o.t.Fatal(err)
	}
	transport := &http.Transport{}
	o.t.Cleanup(transport.CloseIdleConnections)
	d.Client = &http.Client{Transport: redirect{o.base, transport}, Timeout: 2 * time.Minute}
	d.ShouldRetryOnRateLimit, d.MaxRestRetries = false, 0
	return d
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestClientLibrary drives the HTTP API with the client library that bots use.
func TestClientLibrary(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	d := o.client()
	message, channel := must[*discordgo.Message](t), must[*discordgo.Channel](t)

	me := must[*discordgo.User](t)(d.User("@me"))
	if me.ID != o.Bot().ID || !me.Bot || me.Username != "bridge_sandbox" {
		t.Errorf("users/@me: %+v", me)
	}
	guild := must[*discordgo.Guild](t)(d.Guild(o.Guild()))
	if guild.Name != "Support" || len(guild.Roles) != 1 {
		t.Errorf("guild: %+v", guild)
	}
	text := channel(d.Channel(o.text))
	if text.Type != discordgo.ChannelTypeGuildText || text.Name != "support" {
		t.Errorf("channel: %+v", text)
	}
	said := o.Say(o.text, o.ana, "hello")
	sent := message(d.ChannelMessageSendComplex(o.text, &discordgo.MessageSend{
		Content:         "**Hi** <@" + o.ana + "> @everyone",
		Embeds:          []*discordgo.MessageEmbed{{Title: "Visitor", Fields: []*discordgo.MessageEmbedField{{Name: "Page", Value: "/"}}}},
		AllowedMentions: &discordgo.MessageAllowedMentions{Parse: []discordgo.AllowedMentionType{}},
		Reference:       &discordgo.MessageReference{MessageID: said.ID, ChannelID: o.text},
		Flags:           discordgo.MessageFlagsSuppressNotifications,
	}))
	if sent.Type != discordgo.MessageTypeReply || sent.ReferencedMessage == nil || sent.ReferencedMessage.Content != "hello" ||
		len(sent.Embeds) != 1 || len(sent.Mentions) != 0 {
		t.Errorf("sent: %+v", sent)
	}
	edited := message(d.ChannelMessageEdit(o.text, sent.ID, "Bye"))
	if edited.Content != "Bye" || edited.EditedTimestamp == nil || len(edited.Embeds) != 1 {
		t.Errorf("edited: %+v", edited)
	}
	if err := d.MessageReactionAdd(o.text, said.ID, "👀"); err != nil {
		t.Error(err)
	}
	if err := d.ChannelTyping(o.text); err != nil || o.Typings(o.text) != 1 {
		t.Errorf("typing: %v, %d", err, o.Typings(o.text))
	}
	got := o.Messages(o.text)
	want := []Message{
		{Text: "hello", Author: User{ID: o.ana, Name: "ana", Display: "Ana"}, Reactions: []Reaction{{"👀", []string{o.Bot().ID}}}},
		{
			Text: "Bye", Author: o.Bot(), Own: true, Kind: ReplyMessage, ReplyTo: said.ID, Flags: 4096, Silent: true, Edited: true,
			Embeds: []Embed{{Title: "Visitor", Fields: []EmbedField{{Name: "Page", Value: "/"}}}},
		},
	}
	for i := range got {
		got[i].ID, got[i].Channel, got[i].Date = "", "", time.Time{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if err := d.MessageReactionRemove(o.text, said.ID, "👀", "@me"); err != nil || len(o.Messages(o.text)[0].Reactions) != 0 {
		t.Errorf("reaction: %v", err)
	}
	list := must[[]*discordgo.Message](t)(d.ChannelMessages(o.text, 10, "", said.ID, ""))
	if len(list) != 1 || list[0].ID != sent.ID {
		t.Errorf("messages after: %+v", list)
	}
	if err := d.ChannelMessageDelete(o.text, sent.ID); err != nil || len(o.Messages(o.text)) != 1 {
		t.Errorf("delete: %v", err)
	}

	thread := channel(d.ThreadStartComplex(o.text, &discordgo.ThreadStart{
		Name: "Visitor 1", Type: discordgo.ChannelTypeGuildPublicThread, AutoArchiveDuration: 1440,
	}))
	onMessage := channel(d.MessageThreadStartComplex(o.text, said.ID, &discordgo.ThreadStart{Name: "Visitor 2"}))
	if onMessage.ID != said.ID || onMessage.OwnerID != me.ID {
		t.Errorf("thread at a message: %+v", onMessage)
	}
	post := channel(d.ForumThreadStartComplex(o.forum, &discordgo.ThreadStart{Name: "Visitor 3"}, &discordgo.MessageSend{
		Content: "first", Files: []*discordgo.File{{Name: "a b.txt", ContentType: "text/plain", Reader: strings.NewReader("abc")}},
	}))
	if first := o.Messages(post.ID); len(first) != 1 || first[0].ID != post.ID || first[0].Text != "first" ||
		first[0].Files[0].Name != "a_b.txt" || string(first[0].Files[0].Content) != "abc" {
		t.Errorf("forum: %+v", first)
	}
	active := must[*discordgo.ThreadsList](t)(d.GuildThreadsActive(o.Guild()))
	if len(active.Threads) != 3 || active.Threads[0].ID != post.ID {
		t.Errorf("active: %+v", active)
	}
	yes := true
	channel(d.ChannelEdit(thread.ID, &discordgo.ChannelEdit{Archived: &yes, Locked: &yes, Name: "closed"}))
	if got, _ := o.Thread(thread.ID); !got.Archived || !got.Locked || got.Name != "closed" || got.AutoArchive != 1440 {
		t.Errorf("thread: %+v", got)
	}
	archived := must[*discordgo.ThreadsList](t)(d.ThreadsArchived(o.text, nil, 10))
	if len(archived.Threads) != 1 || archived.Threads[0].ID != thread.ID || !archived.Threads[0].ThreadMetadata.Archived {
		t.Errorf("archived: %+v", archived)
	}
	if _, err := d.ChannelDelete(post.ID); err != nil || len(o.Threads(o.forum)) != 0 {
		t.Errorf("delete a thread: %v", err)
	}
	if _, err := d.ApplicationCommandBulkOverwrite(o.Application(), o.Guild(), []*discordgo.ApplicationCommand{{
		Name: "close", Description: "Close the conversation", Options: []*discordgo.ApplicationCommandOption{{
			Type: discordgo.ApplicationCommandOptionString, Name: "note", Description: "A note",
		}},
	}}); err != nil || !slices.Equal(o.Commands(o.Guild()), []string{"close"}) {
		t.Errorf("commands: %v, %v", err, o.Commands(o.Guild()))
	}
	hook := must[*discordgo.Webhook](t)(d.WebhookCreate(o.text, "Bridge", ""))
	byHook := message(d.WebhookExecute(hook.ID, hook.Token, true, &discordgo.WebhookParams{Content: "as a visitor", Username: "Zoe"}))
	if byHook.Author.Username != "Zoe" || byHook.WebhookID != hook.ID {
		t.Errorf("webhook: %+v", byHook.Author)
	}
	changed := "changed"
	message(d.WebhookMessageEdit(hook.ID, hook.Token, byHook.ID, &discordgo.WebhookEdit{Content: &changed}))
	last := o.Messages(o.text)
	if m := last[len(last)-1]; m.Text != "changed" || m.Author.Name != "Zoe" || !m.Own || m.Webhook != hook.ID {
		t.Errorf("webhook's message: %+v", m)
	}
	if _, err := d.ChannelMessageSend(o.forum, "x"); err == nil || !strings.Contains(err.Error(), "50008") {
		t.Errorf("a message to a forum: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	theirs := o.Say(o.text, o.ana, "hi")
	mine := o.send(o.text, "mine")
	withThread := o.Say(o.text, o.ana, "has one")
	o.OpenThreadOn(withThread, o.ana, "x")
	pin := o.Say(o.text, o.ana, "pinned")
	o.Pin(pin, o.ana)
	all := o.Messages(o.text)
	system := all[len(all)-1]
	category := o.AddChannel(Channel{Kind: Category, Name: "c"})
	tagged := o.AddChannel(Channel{Kind: Forum, Name: "tags", RequireTag: true, Tags: []Tag{{Name: "a"}}})
	messages := "/channels/" + o.text + "/messages"
	long := strings.Repeat("é", 2001)
	tests := map[string]struct {
		method, path string
		body         any
		status, code int
		says         string
	}{
		"no channel":        {"POST", "/channels/1/messages", object{"content": "x"}, 404, 10003, "Unknown Channel"},
		"no message":        {"PATCH", messages + "/1", object{"content": "x"}, 404, 10008, "Unknown Message"},
		"no guild":          {"GET", "/guilds/1", nil, 404, 10004, ""},
		"no member":         {"GET", "/guilds/" + o.Guild() + "/members/1", nil, 404, 10007, ""},
		"no webhook":        {"POST", "/webhooks/1/x", object{"content": "x"}, 404, 10015, ""},
		"no interaction":    {"POST", "/interactions/1/x/callback", object{"type": 4, "data": object{"content": "x"}}, 404, 10062, ""},
		"empty":             {"POST", messages, object{"content": " \n"}, 400, 50006, "empty message"},
		"empty, null":       {"POST", messages, object{"content": nil, "embeds": nil, "tts": false}, 400, 50006, ""},
		"too long":          {"POST", messages, object{"content": long}, 400, 50035, `"content":{"_errors":[{"code":"BASE_TYPE_MAX_LENGTH"`},
		"far too long":      {"POST", messages, object{"content": long + long}, 400, 50035, "Must be 4000 or fewer in length."},
		"11 embeds":         {"POST", messages, object{"embeds": slices.Repeat([]object{{"title": "x"}}, 11)}, 400, 50035, ""},
		"empty embed":       {"POST", messages, object{"embeds": []object{{"color": 1}}}, 400, 50035, "BASE_TYPE_REQUIRED"},
		"long title":        {"POST", messages, object{"embeds": []object{{"title": long[:514]}}}, 400, 50035, `"0":{"title"`},
		"all embeds":        {"POST", messages, object{"embeds": []object{{"description": long}, {"description": long}, {"description": long}}}, 400, 50035, "MAX_EMBED_SIZE_EXCEEDED"},
		"embed's address":   {"POST", messages, object{"embeds": []object{{"title": "x", "url": "javascript:x"}}}, 400, 50035, "URL_TYPE_INVALID_SCHEME"},
		"field's value":     {"POST", messages, object{"embeds": []object{{"fields": []object{{"name": "x", "value": ""}}}}}, 400, 50035, `"fields":{"0":{"value"`},
		"reply to nothing":  {"POST", messages, object{"content": "x", "message_reference": object{"message_id": "1"}}, 400, 50035, "REPLIES_UNKNOWN_MESSAGE"},
		"reply to a system": {"POST", messages, object{"content": "x", "message_reference": object{"message_id": system.ID}}, 400, 50035, "REPLIES_CANNOT"},
		"long nonce":        {"POST", messages, object{"content": "x", "nonce": strings.Repeat("n", 26)}, 400, 50035, "Must be 25 or fewer"},
		"mentions twice":    {"POST", messages, object{"content": "x", "allowed_mentions": object{"parse": []string{"users"}, "users": []string{o.ana}}}, 400, 50035, "mutually exclusive"},
		"edit theirs":       {"PATCH", messages + "/" + theirs.ID, object{"content": "x"}, 403, 50005, ""},
		"edit to nothing":   {"PATCH", messages + "/" + mine, object{"content": ""}, 400, 50006, ""},
		"emoji":             {"PUT", messages + "/" + mine + "/reactions/" + ":eyes:" + "/@me", nil, 400, 10014, ""},
		"second thread":     {"POST", messages + "/" + withThread.ID + "/threads", object{"name": "x"}, 400, 160004, ""},
		"thread at system":  {"POST", messages + "/" + system.ID + "/threads", object{"name": "x"}, 400, 50068, ""},
		"long name":         {"POST", "/channels/" + o.text + "/threads", object{"name": long[:202], "type": 11}, 400, 50035, "Must be between 1 and 100"},
		"archive duration":  {"POST", "/channels/" + o.text + "/threads", object{"name": "x", "type": 11, "auto_archive_duration": 5}, 400, 50035, "BASE_TYPE_CHOICES"},
		"post without text": {"POST", "/channels/" + o.forum + "/threads", object{"name": "x", "message": object{}}, 400, 50006, ""},
		"post without tag":  {"POST", "/channels/" + tagged + "/threads", object{"name": "x", "message": object{"content": "x"}}, 400, 40067, ""},
		"unknown tag":       {"POST", "/channels/" + tagged + "/threads", object{"name": "x", "applied_tags": []string{"1"}, "message": object{"content": "x"}}, 404, 10087, ""},
		"long post":         {"POST", "/channels/" + o.forum + "/threads", object{"name": "x", "message": object{"content": long}}, 400, 50035, `"message":{"content"`},
		"to a forum":        {"POST", "/channels/" + o.forum + "/messages", object{"content": "x"}, 400, 50008, ""},
		"to a category":     {"POST", "/channels/" + category + "/messages", object{"content": "x"}, 400, 50008, ""},
		"thread there":      {"POST", "/channels/" + category + "/threads", object{"name": "x", "type": 11}, 400, 50024, ""},
		"other application": {"PUT", "/applications/1/guilds/" + o.Guild() + "/commands", []object{}, 403, 20012, ""},
		"command's name":    {"PUT", "/applications/" + o.Application() + "/guilds/" + o.Guild() + "/commands", []object{{"name": "Close", "description": "x"}}, 400, 50035, "APPLICATION_COMMAND_INVALID_NAME"},
		"limit":             {"GET", messages + "?limit=101", nil, 400, 50035, "NUMBER_TYPE_MAX"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o.t = t
			a := o.call(tt.method, tt.path, tt.body)
			o.want(a, tt.status, tt.code)
			if !strings.Contains(a.body, tt.says) {
				t.Errorf("it says %s", a.body)
			}
		})
	}
	if n := len(o.Messages(o.text)); n != len(all) {
		t.Errorf("%d messages, want %d", n, len(all))
	}
	o.t = t
	o.want(o.call("DELETE", messages+"/"+system.ID, nil), 204, 0) // a pin's message can be deleted
	o.want(o.call("POST", messages, object{"content": long[:4000]}), 200, 0)
	o.want(o.call("POST", messages, object{
		"content": "x", "message_reference": object{"message_id": "1", "fail_if_not_exists": false},
	}), 200, 0)
}

func TestToken(t *testing.T) {
	o := newOffice(t, Options{})
	path := "/channels/" + o.text + "/messages"
	for _, token := range []string{"", "Bot wrong", o.Token()} {
		o.want(o.callAs(t.Context(), token, "GET", path, nil), 401, 0)
	}
	o.Revoke()
	a := o.call("GET", path, nil)
	if o.want(a, 401, 0); a.body != `{"code":0,"message":"401: Unauthorized"}` {
		t.Error(a.body)
	}
	o.Restore()
	o.want(o.call("GET", path, nil), 200, 0)
	if o.Invalid() != 4 {
		t.Errorf("%d invalid requests", o.Invalid())
	}
	if len(o.Faults()) != 0 {
		t.Error(o.Faults())
	}
}

func TestPermissions(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	thread := o.OpenThread(o.text, o.ana, "x", "hello")
	said := o.Say(o.text, o.ana, "x")
	in := "/channels/" + o.text
	at := in + "/messages/" + said.ID
	tests := map[string]struct {
		denied       Permission
		method, path string
		body         any
		status, code int
	}{
		"view":          {ViewChannel, "GET", in, nil, 403, 50001},
		"send":          {SendMessages, "POST", in + "/messages", object{"content": "x"}, 403, 50013},
		"threads":       {SendMessagesInThreads, "POST", "/channels/" + thread.ID + "/messages", object{"content": "x"}, 403, 50013},
		"threads' view": {ViewChannel, "POST", "/channels/" + thread.ID + "/messages", object{"content": "x"}, 403, 50001},
		"embeds":        {EmbedLinks, "POST", in + "/messages", object{"embeds": []object{{"title": "x"}}}, 403, 50013},
		"new thread":    {CreatePublicThreads, "POST", in + "/threads", object{"name": "x", "type": 11}, 403, 50013},
		"at a message":  {CreatePublicThreads, "POST", at + "/threads", object{"name": "x"}, 403, 50013},
		"manage":        {ManageThreads, "PATCH", "/channels/" + thread.ID, object{"archived": true}, 403, 50013},
		"delete thread": {ManageThreads, "DELETE", "/channels/" + thread.ID, nil, 403, 50013},
		"delete":        {ManageMessages, "DELETE", at, nil, 403, 50013},
		"react":         {AddReactions, "PUT", at + "/reactions/%F0%9F%91%80/@me", nil, 403, 50013},
		"history":       {ReadMessageHistory, "GET", at, nil, 403, 50013},
		"reply":         {ReadMessageHistory, "POST", in + "/messages", object{"content": "x", "message_reference": object{"message_id": said.ID}}, 400, 160002},
		"webhooks":      {ManageWebhooks, "POST", in + "/webhooks", object{"name": "x"}, 403, 50013},
		"channel":       {ManageChannels, "PATCH", in, object{"name": "x"}, 403, 50013},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.Deny(o.text, tt.denied)
			o.want(o.call(tt.method, tt.path, tt.body), tt.status, tt.code)
			o.Allow(o.text, tt.denied)
		})
	}
	o.t = t
	o.Deny("", SendMessages)
	o.want(o.call("POST", in+"/messages", object{"content": "x"}), 403, 50013)
	o.Allow("", SendMessages)
	o.want(o.call("POST", in+"/messages", object{"content": "x"}), 200, 0)
	o.Kick("")
	for _, path := range []string{in, "/guilds/" + o.Guild(), "/guilds/" + o.Guild() + "/threads/active"} {
		o.want(o.call("GET", path, nil), 403, 50001)
	}
	o.Invite("")
	o.want(o.call("GET", in, nil), 200, 0)
}

func TestNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		o.FailOnFaults(t)
		send := func(channel, text string, nonce any, enforce bool) answer {
			return o.call("POST", "/channels/"+channel+"/messages", object{"content": text, "nonce": nonce, "enforce_nonce": enforce})
		}
		first := send(o.text, "a", "n1", true)
		if first.str("nonce") != "n1" {
			t.Errorf("the nonce does not come back: %s", first.body)
		}
		other := o.AddChannel(Channel{Name: "other"})
		for name, again := range map[string]answer{
			"same": send(o.text, "a", "n1", true), "another text": send(o.text, "b", "n1", true), "another channel": send(other, "a", "n1", true),
		} {
			if again.status != 200 || again.str("id") != first.str("id") || again.str("content") != "a" {
				t.Errorf("%s: %s", name, again.body)
			}
		}
		if a := send(o.text, "c", "n1", false); a.str("id") == first.str("id") {
			t.Error("a nonce was enforced that was not to be")
		}
		if a := send(o.text, "d", 7, true); a.at("nonce") != 7.0 || a.str("id") == first.str("id") {
			t.Errorf("a number: %s", a.body)
		}
		if got := o.call("GET", "/channels/"+o.text+"/messages/"+first.str("id"), nil); got.at("nonce") != nil {
			t.Errorf("a fetched message has the nonce: %s", got.body)
		}
		time.Sleep(3*time.Minute + time.Second) // of the bubble's clock
		if a := send(o.text, "e", "n1", true); a.str("id") == first.str("id") {
			t.Error("the nonce is still known")
		}
		o.ForgetNonces()
		if a := send(o.text, "f", "n1", true); a.str("content") != "f" {
			t.Error("the nonce is still known")
		}
		if n := len(o.Messages(o.text)); n != 5 || len(o.Messages(other)) != 0 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestPings(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	loud, quiet := o.AddRole("loud", true), o.AddRole("quiet", false)
	said := o.Say(o.text, o.ben, "x")
	all := fmt.Sprintf("<@%s> <@!%s> <@&%s> <@&%s> <@1> @everyone @here", o.ana, o.ana, loud, quiet)
	none := object{"parse": []string{}}
	tests := map[string]struct {
		body object
		deny Permission
		want []string
	}{
		"by default":     {object{"content": all}, 0, []string{o.ana, loud, quiet, "everyone", "here"}},
		"not everyone":   {object{"content": all}, MentionEveryone, []string{o.ana, loud}},
		"nobody":         {object{"content": all, "allowed_mentions": none}, 0, nil},
		"null parse":     {object{"content": all, "allowed_mentions": object{"parse": nil}}, 0, nil},
		"users":          {object{"content": all, "allowed_mentions": object{"parse": []string{"users"}}}, 0, []string{o.ana}},
		"some":           {object{"content": all, "allowed_mentions": object{"users": []string{o.ana}, "roles": []string{loud}}}, 0, []string{o.ana, loud}},
		"others":         {object{"content": all, "allowed_mentions": object{"users": []string{o.ben}}}, 0, nil},
		"everyone":       {object{"content": all, "allowed_mentions": object{"parse": []string{"everyone"}}}, 0, []string{"everyone", "here"}},
		"a reply":        {object{"content": "y", "message_reference": object{"message_id": said.ID}}, 0, []string{o.ben}},
		"a quiet reply":  {object{"content": "y", "message_reference": object{"message_id": said.ID}, "allowed_mentions": none}, 0, nil},
		"a lively reply": {object{"content": "y", "message_reference": object{"message_id": said.ID}, "allowed_mentions": object{"replied_user": true}}, 0, []string{o.ben}},
		"only an embed":  {object{"embeds": []object{{"description": all}}}, 0, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.Deny(o.text, tt.deny)
			a := o.call("POST", "/channels/"+o.text+"/messages", tt.body)
			o.want(a, 200, 0)
			o.Allow(o.text, tt.deny)
			list := o.Messages(o.text)
			if diff := cmp.Diff(tt.want, list[len(list)-1].Pings); diff != "" {
				t.Error(diff)
			}
			if everyone := slices.Contains(tt.want, "everyone"); a.at("mention_everyone") != everyone {
				t.Errorf("mention_everyone: %s", a.body)
			}
		})
	}
}

func TestArchivedThreads(t *testing.T) {
	o := newOffice(t, Options{ActiveThreads: 3})
	o.FailOnFaults(t)
	thread := o.thread("one")
	in := "/channels/" + thread
	mine := o.send(thread, "mine")
	theirs := o.Say(thread, o.ana, "theirs")
	is := func(archived, locked bool) {
		t.Helper()
		if got, ok := o.Thread(thread); !ok || got.Archived != archived || got.Locked != locked {
			t.Fatalf("%+v", got)
		}
	}
	o.ArchiveThread(thread, o.ana)
	is(true, false)
	o.want(o.call("PATCH", in+"/messages/"+mine, object{"content": "x"}), 400, 50083)
	o.want(o.call("PUT", in+"/messages/"+theirs.ID+"/reactions/%F0%9F%91%80/@me", nil), 400, 50083)
	o.want(o.call("PATCH", in, object{"name": "x"}), 400, 50083)
	o.want(o.call("PATCH", in, object{"locked": true}), 400, 50083)
	o.want(o.call("PATCH", in, object{"archived": true}), 200, 0) // it is so
	o.want(o.call("DELETE", in+"/messages/"+mine, nil), 204, 0)
	is(true, false)
	o.send(thread, "opens")
	is(false, false)

	o.want(o.call("PATCH", in, object{"archived": true, "locked": true}), 200, 0)
	is(true, true)
	o.want(o.call("POST", in+"/messages", object{"content": "x"}), 400, 50083)
	o.Deny(o.text, ManageThreads)
	o.want(o.call("PATCH", in, object{"archived": false}), 403, 50013)
	o.Allow(o.text, ManageThreads)
	o.want(o.call("PATCH", in, object{"archived": false}), 200, 0)
	is(false, true)
	o.send(thread, "a manager may")
	o.Deny(o.text, ManageThreads)
	o.want(o.call("POST", in+"/messages", object{"content": "x"}), 400, 160005)
	o.want(o.call("PATCH", in+"/messages/"+o.Messages(thread)[1].ID, object{"content": "x"}), 400, 160005)
	o.Allow(o.text, ManageThreads)
	o.UnlockThread(thread, o.ana)
	is(false, false)

	// An operator's word opens it, too.
	o.ArchiveThread(thread, "")
	o.Say(thread, o.ana, "back")
	is(false, false)

	o.ArchiveThread(thread, "")
	o.thread("two")
	o.thread("three")
	four := o.thread("four")
	o.want(o.call("POST", "/channels/"+o.text+"/threads", object{"name": "five", "type": 11}), 400, 160006)
	o.want(o.call("POST", "/channels/"+o.forum+"/threads", object{"name": "five", "message": object{"content": "x"}}), 400, 160006)
	o.want(o.call("POST", "/channels/"+o.text+"/messages/"+o.send(o.text, "x")+"/threads", object{"name": "five"}), 400, 160006)
	o.want(o.call("POST", in+"/messages", object{"content": "x"}), 400, 160006)
	o.want(o.call("PATCH", in, object{"archived": false}), 400, 160006)
	o.DeleteThread(four, o.ana)
	o.send(thread, "fits")
	o.SetActiveThreads(10)
	o.thread("fits too")

	list := o.call("GET", "/guilds/"+o.Guild()+"/threads/active", nil)
	if n, _ := list.at("threads").([]any); len(n) != 4 || list.at("threads", 0, "member") != nil || list.at("members", 0) == nil {
		t.Errorf("active: %s", list.body)
	}
	o.want(o.call("GET", "/channels/"+four, nil), 404, 10003)
}

func TestArchivedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		o.FailOnFaults(t)
		var ids []string
		for i := range 5 {
			ids = append(ids, o.thread(fmt.Sprint(i)))
			time.Sleep(time.Minute) // of the bubble's clock
			o.ArchiveThread(ids[i], "")
		}
		o.call("POST", "/channels/"+o.text+"/threads", object{"name": "private"})
		path := "/channels/" + o.text + "/threads/archived/public?limit=2"
		var got []string
		for {
			a := o.call("GET", path, nil)
			list, _ := a.at("threads").([]any)
			for i := range list {
				got = append(got, a.str("threads", i, "id"))
			}
			if a.at("has_more") != true {
				break
			}
			path = "/channels/" + o.text + "/threads/archived/public?limit=2&before=" +
				url.QueryEscape(a.str("threads", len(list)-1, "thread_metadata", "archive_timestamp"))
		}
		slices.Reverse(ids)
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestThreadKinds(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	// Without a type it is a private thread.
	a := o.call("POST", "/channels/"+o.text+"/threads", object{"name": "x"})
	if a.at("type") != 12.0 {
		t.Error(a.body)
	}
	o.want(o.call("POST", "/channels/"+o.text+"/threads", object{"name": "x", "type": 0}), 400, 50035)
	o.thread("public")
	list := o.Messages(o.text)
	if len(list) != 1 || list[0].Kind != ThreadCreated || list[0].Text != "public" {
		t.Errorf("%+v", list)
	}
	said := o.Say(o.text, o.ana, "start")
	b := o.call("POST", "/channels/"+o.text+"/messages/"+said.ID+"/threads", object{"name": "at a message"})
	if o.want(b, 201, 0); b.str("id") != said.ID {
		t.Error(b.body)
	}
	first := o.call("GET", "/channels/"+said.ID+"/messages", nil)
	if first.at(0, "type") != 21.0 || first.str(0, "referenced_message", "content") != "start" || first.str(0, "id") == said.ID {
		t.Errorf("the thread's first message: %s", first.body)
	}
	c := o.call("PATCH", "/channels/"+said.ID, object{"name": "renamed", "auto_archive_duration": 60})
	if o.want(c, 200, 0); c.str("name") != "renamed" || c.at("thread_metadata", "auto_archive_duration") != 60.0 {
		t.Error(c.body)
	}
	in := o.Messages(said.ID)
	if m := in[len(in)-1]; m.Kind != Renamed || m.Text != "renamed" || !m.Own {
		t.Errorf("%+v", m)
	}
	o.want(o.call("DELETE", "/channels/"+said.ID+"/messages/"+in[0].ID, nil), 403, 50021)
	o.want(o.call("POST", "/channels/"+said.ID+"/messages/"+o.send(said.ID, "x")+"/threads", object{"name": "x"}), 400, 50024)
	tags := o.Tags(o.forum)
	post := o.call("POST", "/channels/"+o.forum+"/threads", object{
		"name": "post", "applied_tags": []string{tags[0].ID}, "message": object{"content": "x", "flags": 4096},
	})
	if o.want(post, 201, 0); post.str("message", "id") != post.str("id") || post.str("applied_tags", 0) != tags[0].ID {
		t.Error(post.body)
	}
	if got := o.Threads(o.forum); len(got) != 1 || got[0].Tags[0] != tags[0].ID || !o.Messages(got[0].ID)[0].Silent {
		t.Errorf("%+v", got)
	}
	o.DeleteChannel(o.text)
	o.want(o.call("GET", "/channels/"+said.ID, nil), 404, 10003)
	if len(o.Threads("")) != 1 {
		t.Errorf("%+v", o.Threads(""))
	}
}

func TestListMessages(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	var ids []string
	for i := range 10 {
		ids = append(ids, o.Say(o.text, o.ana, fmt.Sprint(i)).ID)
	}
	o.Delete(Message{Channel: o.text, ID: ids[4]})
	for query, want := range map[string]string{
		"": "9876532 10", "?limit=3": "987", "?limit=3&after=" + ids[2]: "653", "?limit=3&before=" + ids[6]: "532",
		"?limit=4&around=" + ids[6]: "7653", "?after=" + ids[4]: "98765", "?limit=2&before=" + ids[4]: "32", "?after=" + ids[9]: "",
		"?limit=2&after=0": "10", "?limit=2&after=1": "10",
	} {
		a := o.call("GET", "/channels/"+o.text+"/messages"+query, nil)
		var list []struct{ Content string }
		if err := json.Unmarshal([]byte(a.body), &list); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range list {
			got += m.Content
		}
		if got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	o.Deny(o.text, ReadMessageHistory)
	if a := o.call("GET", "/channels/"+o.text+"/messages", nil); a.body != "[]" {
		t.Error(a.body)
	}
}

func TestWebhooks(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	hook, forum := o.AddWebhook(o.text, "Bridge"), o.AddWebhook(o.forum, "Bridge")
	public := func(method, path string, body any) answer {
		t.Helper()
		return o.callAs(t.Context(), "", method, path, body)
	}
	o.want(public("POST", hook.Path, object{"content": "no answer"}), 204, 0)
	a := public("POST", hook.Path+"?wait=true", object{"content": "x <@" + o.ana + ">", "username": "Zoe"})
	if o.want(a, 200, 0); a.str("author", "username") != "Zoe" || a.str("webhook_id") != hook.ID || a.at("author", "bot") != true {
		t.Error(a.body)
	}
	o.want(public("POST", "/webhooks/"+hook.ID+"/wrong", object{"content": "x"}), 401, 50027)
	o.want(public("POST", hook.Path, object{"content": "x", "username": "My Discord"}), 400, 50035)
	o.want(public("POST", hook.Path, object{"content": "x", "thread_name": "x"}), 400, 220003)
	o.want(public("POST", forum.Path, object{"content": "x"}), 400, 220001)
	thread := o.thread("t")
	o.want(public("POST", forum.Path+"?thread_id="+thread, object{"content": "x"}), 404, 10003)
	o.want(public("POST", forum.Path+"?thread_id="+thread, object{"content": "x", "thread_name": "x"}), 400, 220002)
	o.ArchiveThread(thread, "")
	in := public("POST", hook.Path+"?wait=true&thread_id="+thread, object{"content": "in"})
	o.want(in, 200, 0)
	if got, _ := o.Thread(thread); got.Archived {
		t.Error("still archived")
	}
	o.want(public("PATCH", hook.Path+"/messages/"+in.str("id"), object{"content": "y"}), 404, 10008) // only with its thread
	o.want(public("PATCH", hook.Path+"/messages/"+in.str("id")+"?thread_id="+thread, object{"content": "y"}), 200, 0)
	o.LockThread(thread, "", true)
	o.want(public("PATCH", hook.Path+"/messages/"+in.str("id")+"?thread_id="+thread, object{"content": "z"}), 400, 50083)
	o.want(public("POST", hook.Path+"?thread_id="+thread, object{"content": "x"}), 400, 50083)
	post := public("POST", forum.Path+"?wait=true", object{"content": "first", "thread_name": "Visitor"})
	o.want(post, 200, 0)
	if got, ok := o.Thread(post.str("channel_id")); !ok || got.Name != "Visitor" || got.ID != post.str("id") {
		t.Errorf("%+v", got)
	}
	got := public("PATCH", forum.Path+"/messages/"+post.str("id")+"?thread_id="+post.str("id"), object{"content": "second"})
	o.want(got, 200, 0)
	o.want(public("DELETE", hook.Path+"/messages/"+a.str("id"), nil), 204, 0)
	if mine := o.call("POST", "/channels/"+o.text+"/webhooks", object{"name": "mine"}); mine.str("application_id") != o.Application() ||
		!strings.HasSuffix(mine.str("url"), "/api/webhooks/"+mine.str("id")+"/"+mine.str("token")) {
		t.Error(mine.body)
	}
	// A webhook's own address has no version.
	r := httptest.NewRequest("POST", "http://sandbox.example/api"+hook.Path, strings.NewReader(`{"content":"by address"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", agent)
	w := httptest.NewRecorder()
	if o.ServeHTTP(w, r); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	o.RemoveWebhook(hook.ID)
	o.want(public("POST", hook.Path, object{"content": "x"}), 404, 10015)
	if list := o.call("GET", "/channels/"+o.text+"/webhooks", nil); list.str(0, "name") != "mine" || list.at(1) != nil {
		t.Error(list.body)
	}
}

func TestWebhookLimitOfOneChannel(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	for range 15 {
		o.want(o.call("POST", "/channels/"+o.text+"/webhooks", object{"name": "x"}), 200, 0)
	}
	o.want(o.call("POST", "/channels/"+o.text+"/webhooks", object{"name": "x"}), 400, 30007)
}

// TestFaults sends what the definition does not allow.
func TestFaults(t *testing.T) {
	o := newOffice(t, Options{})
	messages := "/channels/" + o.text + "/messages"
	tests := map[string]struct {
		method, path string
		body         any
		status       int
		says         string
	}{
		"path":          {"GET", "/nowhere", nil, 404, "does not serve GET /nowhere"},
		"method":        {"PUT", "/gateway", nil, 405, "does not serve PUT"},
		"field":         {"POST", messages, object{"text": "x"}, 400, `has no field "text"`},
		"type":          {"POST", messages, object{"content": 5}, 400, "content is no string"},
		"unserved":      {"POST", messages, object{"content": "x", "poll": object{"question": object{}}}, 400, `does not serve the field "poll"`},
		"nested":        {"POST", messages, object{"embeds": []object{{"text": "x"}}}, 400, `RichEmbed has no field "text"`},
		"required":      {"POST", "/channels/" + o.text + "/threads", object{}, 400, `needs the field "name"`},
		"no JSON":       {"POST", messages, "{", 400, "no JSON"},
		"no body":       {"POST", messages, nil, 400, "needs a body"},
		"body":          {"POST", "/channels/" + o.text + "/typing", object{"x": 1}, 400, "takes no body"},
		"query":         {"GET", messages + "?count=1", nil, 400, `no query parameter "count"`},
		"query's type":  {"GET", messages + "?limit=x", nil, 400, "is no integer"},
		"id":            {"GET", "/channels/abc", nil, 400, "no snowflake"},
		"flags":         {"POST", messages, object{"content": "x", "flags": 64}, 400, "flags 64"},
		"thread fields": {"PATCH", "/channels/" + o.text, object{"archived": true}, 400, "fields of a thread"},
		"callback":      {"POST", "/interactions/1/x/callback", object{"type": 9, "data": object{"title": "x"}}, 400, "callback"},
		"two points":    {"GET", messages + "?after=1&before=2", nil, 400, "only one of"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o.t = t
			before := len(o.Faults())
			a := o.call(tt.method, tt.path, tt.body)
			o.want(a, tt.status, 0)
			faults := o.Faults()[before:]
			if len(faults) != 1 || !strings.Contains(faults[0], tt.says) && name != "callback" {
				t.Errorf("faults %q, want %q", faults, tt.says)
			}
		})
	}
	form := httptest.NewRequest("POST", "/v10"+messages, strings.NewReader("content=x"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.Header.Set("User-Agent", agent)
	form.Header.Set("Authorization", "Bot "+o.Token())
	w := httptest.NewRecorder()
	if o.ServeHTTP(w, form); w.Code != 400 || !strings.Contains(o.Faults()[len(o.Faults())-1], "body of type") {
		t.Errorf("%d %v", w.Code, o.Faults())
	}
	r := httptest.NewRequest("GET", "/v10/gateway", http.NoBody)
	w = httptest.NewRecorder()
	if o.ServeHTTP(w, r); w.Code != 403 || !strings.Contains(o.Faults()[len(o.Faults())-1], "User-Agent") {
		t.Errorf("%d %v", w.Code, o.Faults())
	}
}

// TestActions spoils answers.
func TestActions(t *testing.T) {
	opened := make(chan struct{})
	close(opened)
	tests := map[string]struct {
		action Action
		status int // 0: no answer
		body   string
		exists bool
	}{
		"nothing":    {Action{}, 200, `"content":"x"`, true},
		"fail":       {Fail(400, 50035, "Invalid Form Body"), 400, `{"message": "Invalid Form Body", "code": 50035}`, false},
		"limit":      {RateLimited(1500 * time.Millisecond), 429, `"retry_after": 1.500, "global": false`, false},
		"shared":     {SharedLimited(time.Second), 429, "The resource is being rate limited.", false},
		"global":     {GlobalLimited(time.Second), 429, `"global": true`, false},
		"banned":     {Banned(time.Minute), 429, "Error 1015", false},
		"page":       {Page(502), 502, "502 Bad Gateway", false},
		"lost":       {Action{DropAfter: true}, 0, "", true},
		"never came": {Action{DropBefore: true}, 0, "", false},
		"late lie":   {Action{Status: 500, Body: "oops", After: true}, 500, "oops", true},
		"held":       {Action{Hold: opened, Delay: time.Millisecond}, 200, `"content":"x"`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, Options{}).listen()
			o.FailOnFaults(t)
			o.Next("create_message", tt.action)
			send := func(text string) (int, http.Header, string) {
				r, err := http.NewRequestWithContext(t.Context(), "POST", o.base+"/v9/channels/"+o.text+"/messages",
					strings.NewReader(`{"content":"`+text+`"}`))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bot "+o.Token())
				r.Header.Set("User-Agent", agent)
				r.Header.Set("Content-Type", "application/json")
				transport := &http.Transport{DisableKeepAlives: true}
				response, err := transport.RoundTrip(r)
				if err != nil {
					return 0, nil, ""
				}
				defer response.Body.Close()
				body, err := io.ReadAll(response.Body)
				if err != nil {
					t.Error(err)
				}
				return response.StatusCode, response.Header, string(body)
			}
			status, header, body := send("x")
			if status != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q", status, body)
			}
			if status == 429 && header.Get("Retry-After") == "" {
				t.Errorf("%v", header)
			}
			if limited := name == "limit" || name == "shared"; limited && header.Get("X-RateLimit-Reset-After") == "" {
				t.Errorf("%v", header)
			}
			if (header.Get("X-RateLimit-Bucket") == "") == (name == "nothing" || name == "held") {
				t.Errorf("%v", header)
			}
			if exists := len(o.Messages(o.text)) == 1; exists != tt.exists {
				t.Errorf("the message exists: %v", exists)
			}
			if status, _, _ := send("again"); status != 200 {
				t.Errorf("the next call: %d", status)
			}
			calls := o.Calls()
			if len(calls) != 2 || calls[0].Text != "x" || calls[0].Place != o.text || calls[0].Method != "create_message" {
				t.Errorf("%+v", calls)
			}
		})
	}
}

func TestCalls(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	thread := o.thread("name")
	hook := o.AddWebhook(o.text, "w")
	o.send(thread, "hi")
	o.call("POST", "/channels/"+o.forum+"/threads", object{"name": "post", "message": object{"content": "first"}})
	o.call("POST", hook.Path+"?thread_id="+thread, object{"content": "hook"})
	var got []string
	for _, c := range o.Calls() {
		got = append(got, fmt.Sprintf("%s %v %v %s %d", c.Method, c.Place == o.text, c.Thread == thread, c.Text, c.Code))
	}
	want := []string{
		"create_thread true false name 201", "create_message true true hi 200", "create_thread false false first 201",
		"execute_webhook true true hook 204",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p := o.Calls()[0].Params; p["type"] != "11" || p["channel_id"] != o.text {
		t.Errorf("%v", p)
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, Options{})
		o.FailOnFaults(t)
		other := o.AddChannel(Channel{Name: "other"})
		send := func(channel string) answer {
			return o.call("POST", "/channels/"+channel+"/messages", object{"content": "x"})
		}
		free := send(o.text)
		if o.want(free, 200, 0); free.header.Get("X-RateLimit-Remaining") == "0" || free.header.Get("X-RateLimit-Limit") == "" {
			t.Errorf("%v", free.header)
		}
		o.SetLimits(UsualLimits())
		var bucket string
		for i := range 5 {
			a := send(o.text)
			o.want(a, 200, 0)
			if left := a.header.Get("X-RateLimit-Remaining"); left != fmt.Sprint(4-i) || a.header.Get("X-RateLimit-Limit") != "5" {
				t.Errorf("%d: %v", i, a.header)
			}
			bucket = a.header.Get("X-RateLimit-Bucket")
			time.Sleep(time.Second) // of the bubble's clock
		}
		o.want(send(o.text), 200, 0) // 5 s are over: a new window
		for range 4 {
			send(o.text)
		}
		early := send(o.text)
		o.want(early, 429, 0)
		if early.at("global") != false || early.at("retry_after") != 5.0 || early.header.Get("Retry-After") != "5" ||
			early.header.Get("X-RateLimit-Scope") != "user" || early.header.Get("X-RateLimit-Bucket") != bucket ||
			early.header.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("%s %v", early.body, early.header)
		}
		o.want(send(other), 200, 0) // another channel
		o.want(o.call("POST", "/channels/"+o.text+"/typing", nil), 204, 0)
		if o.TooEarly("create_message") != 1 || o.TooEarly("") != 1 || o.TooEarly("delete_message") != 0 || o.Invalid() != 1 {
			t.Errorf("%d too early, %d invalid", o.TooEarly(""), o.Invalid())
		}
		// Two renames in ten minutes, whatever else update_channel may.
		thread := o.thread("a")
		for i, want := range []int{200, 200, 429} {
			o.want(o.call("PATCH", "/channels/"+thread, object{"name": fmt.Sprint(i)}), want, 0)
		}
		o.want(o.call("PATCH", "/channels/"+thread, object{"archived": true}), 200, 0)
		o.SetLimits(Limits{Global: Window{3, time.Second}})
		o.register("a")
		used := o.UseCommand(o.text, o.ana, "a", nil)
		for range 2 {
			o.want(send(o.text), 200, 0)
		}
		global := send(other)
		if o.want(global, 429, 0); global.at("global") != true || global.header.Get("X-RateLimit-Global") != "true" ||
			global.header.Get("X-RateLimit-Scope") != "global" || global.header.Get("X-RateLimit-Limit") != "" {
			t.Errorf("%s %v", global.body, global.header)
		}
		o.want(o.respond(used, object{"type": 4, "data": object{"content": "x"}}), 204, 0) // not bound to it
		time.Sleep(time.Second)                                                            // of the bubble's clock
		o.want(send(other), 200, 0)
		o.SetLimits(Limits{})
		for range 60 {
			o.want(send(o.text), 200, 0)
		}
	})
}

func TestControlsFault(t *testing.T) {
	o := newOffice(t, Options{})
	thread := o.OpenThread(o.text, o.ana, "x", "hi")
	o.LockThread(thread.ID, o.ana, true)
	said := o.Say(o.text, o.ana, "x")
	for name, do := range map[string]func(){
		"channel":  func() { o.Say("9", o.ana, "x") },
		"user":     func() { o.Say(o.text, "9", "x") },
		"forum":    func() { o.Say(o.forum, o.ana, "x") },
		"locked":   func() { o.Say(thread.ID, o.ana, "x") },
		"reply":    func() { o.Reply(Message{Channel: o.text, ID: "9"}, o.ana, "x") },
		"edit":     func() { o.Edit(Message{Channel: o.text, ID: "9"}, "x") },
		"react":    func() { o.React(said, "9", "👀") },
		"unreact":  func() { o.Unreact(said, o.ana, "👀") },
		"archive":  func() { o.ArchiveThread(o.text, o.ana) },
		"open":     func() { o.OpenThread("9", o.ana, "x", "") },
		"command":  func() { o.UseCommand(o.text, o.ana, "close", nil) },
		"webhook":  func() { o.AddWebhook(thread.ID, "x") },
		"remove":   func() { o.RemoveWebhook("9") },
		"deny":     func() { o.Deny("9", SendMessages) },
		"kick":     func() { o.Kick("9") },
		"invite":   func() { o.Invite("") },
		"typing":   func() { o.Typing("9", o.ana) },
		"delete":   func() { o.DeleteChannel(thread.ID) },
		"add":      func() { o.AddToThread(thread.ID, o.ana, "9") },
		"pin":      func() { o.Pin(said, "9") },
		"a thread": func() { o.AddChannel(Channel{Kind: PublicThread}) },
	} {
		before := len(o.Faults())
		do()
		if len(o.Faults()) != before+1 {
			t.Errorf("%s: %v", name, o.Faults()[before:])
		}
	}
}

func TestClosed(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.Close()
	o.want(o.call("GET", "/gateway", nil), 503, 0)
	if _, err := o.Listen(t.Context(), ""); err == nil {
		t.Error("it listens again")
	}
}
