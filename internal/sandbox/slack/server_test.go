package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	api "github.com/slack-go/slack"
	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a workspace with a channel and a person.
type office struct {
	*Server
	base    string
	channel string
	ana     User
}

func newOffice(t *testing.T, options Options) *office {
	t.Helper()
	s := New(options)
	t.Cleanup(s.Close)
	o := &office{Server: s}
	o.ana = s.AddUser(User{Name: "ana", RealName: "Ana Lima"})
	o.channel = s.AddChannel(Channel{Name: "support"})
	return o
}

// listen serves over the network.
func (o *office) listen(t *testing.T) *office {
	t.Helper()
	base, err := o.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	o.base = base
	return o
}

func (o *office) client(t *testing.T, options ...api.Option) *api.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return api.New(o.BotToken(), append([]api.Option{
		api.OptionAPIURL(o.base + "/api/"), api.OptionHTTPClient(&http.Client{Transport: transport, Timeout: 2 * time.Minute}),
		api.OptionAppLevelToken(o.AppToken()),
	}, options...)...)
}

// call calls a method without a network and returns the answer.
func call(t *testing.T, s *Server, method string, pairs ...string) map[string]any {
	t.Helper()
	v := form(pairs...)
	if !v.Has("token") {
		v.Set("token", s.BotToken())
	}
	r := httptest.NewRequest(http.MethodPost, "/api/"+method, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, answer := do(t, s, r)
	return answer
}

func do(t *testing.T, s *Server, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(t.Context()))
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return w.Code, answer
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// says returns the error of an answer, or ok.
func says(answer map[string]any) string {
	if answer["ok"] == true {
		return "ok"
	}
	text, _ := answer["error"].(string)
	return text
}

func TestClientLibrary(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	o.FailOnFaults(t)
	c, ctx := o.client(t), t.Context()

	me, err := c.AuthTestContext(ctx)
	if err != nil || me.UserID != o.Bot().ID || me.BotID != botID || me.TeamID != teamID {
		t.Fatalf("auth.test: %+v, %v", me, err)
	}
	info, err := c.GetConversationInfoContext(ctx, &api.GetConversationInfoInput{ChannelID: o.channel, IncludeNumMembers: true})
	if err != nil || !info.IsMember || info.Name != "support" || info.NumMembers != 2 || info.IsPrivate || !info.IsChannel {
		t.Fatalf("conversations.info: %+v, %v", info, err)
	}
	metadata := api.SlackMetadata{EventType: "relay", EventPayload: map[string]any{"id": "m1"}}
	_, card, posted, err := c.PostMessageWithResponseContext(ctx, o.channel, api.MsgOptionText("a < b & <!channel> *bold*", true),
		api.MsgOptionMetadata(metadata), api.MsgOptionDisableLinkUnfurl(), api.MsgOptionDisableMediaUnfurl())
	if err != nil || posted.Text != "a &lt; b &amp; &lt;!channel&gt; *bold*" || posted.BotID != botID || posted.ThreadTimestamp != "" ||
		posted.Metadata.EventType != "relay" {
		t.Fatalf("chat.postMessage: %+v, %v", posted, err)
	}
	_, ts, reply, err := c.PostMessageWithResponseContext(ctx, o.channel, api.MsgOptionTS(card), api.MsgOptionUsername("Visitor"),
		api.MsgOptionIconEmoji(":bust_in_silhouette:"), api.MsgOptionText("hello <@"+o.ana.ID+"|ana>", false))
	if err != nil || reply.ThreadTimestamp != card || reply.SubType != "bot_message" || reply.Username != "Visitor" || reply.User != "" {
		t.Fatalf("a reply: %+v, %v", reply, err)
	}
	if _, _, _, err := c.UpdateMessageContext(ctx, o.channel, ts, api.MsgOptionText("bye", false)); err != nil {
		t.Fatalf("chat.update: %v", err)
	}
	ref := api.NewRefToMessage(o.channel, ts)
	if err := c.AddReactionContext(ctx, "eyes", ref); err != nil {
		t.Fatalf("reactions.add: %v", err)
	}
	if err := c.AddReactionContext(ctx, "eyes", ref); err == nil || err.Error() != "already_reacted" {
		t.Errorf("a second time: %v", err)
	}
	said := o.Reply(Message{Channel: o.channel, TS: card}, o.ana.ID, "see https://a.example/x?a=1&b=2 👍 @bridge")
	want := []Message{
		{
			TS: card, Channel: o.channel, User: botUser, BotID: botID, Author: "bridge", Own: true,
			Text: "a &lt; b &amp; &lt;!channel&gt; *bold*", Plain: "a < b & <!channel> bold", Replies: 2,
			Metadata: &Metadata{EventType: "relay", EventPayload: map[string]any{"id": "m1"}},
		},
		{
			TS: ts, Channel: o.channel, ThreadTS: card, BotID: botID, Author: "Visitor", Username: "Visitor",
			Icon: ":bust_in_silhouette:", Own: true, Subtype: "bot_message", Text: "bye", Plain: "bye", Edited: true,
			Reactions: []Reaction{{"eyes", []string{botUser}}}, UnfurlMedia: true,
		},
		{
			TS: said.TS, Channel: o.channel, ThreadTS: card, User: o.ana.ID, Author: "Ana Lima",
			Text:  "see <https://a.example/x?a=1&amp;b=2> :+1: <@" + botUser + ">",
			Plain: "see https://a.example/x?a=1&b=2 👍 @bridge", Pings: []string{botUser}, UnfurlLinks: true, UnfurlMedia: true,
		},
	}
	if diff := cmp.Diff(want, o.Messages(o.channel, card)); diff != "" {
		t.Errorf("the thread (-want +got):\n%s", diff)
	}
	if parents := o.Parents(o.channel); len(parents) != 1 || parents[0].TS != card {
		t.Errorf("parents %+v", parents)
	}
	thread, more, cursor, err := c.GetConversationRepliesContext(ctx, &api.GetConversationRepliesParameters{
		ChannelID: o.channel, Timestamp: card, Limit: 1, IncludeAllMetadata: true,
	})
	if err != nil || !more || cursor == "" || len(thread) != 2 || thread[0].Metadata.EventPayload["id"] != "m1" ||
		thread[0].ReplyCount != 2 || thread[0].LatestReply != said.TS || thread[1].Timestamp != ts {
		t.Fatalf("conversations.replies: %+v, %v, %q, %v", thread, more, cursor, err)
	}
	thread, more, _, err = c.GetConversationRepliesContext(ctx, &api.GetConversationRepliesParameters{
		ChannelID: o.channel, Timestamp: card, Limit: 1, Cursor: cursor,
	})
	if err != nil || more || len(thread) != 2 || thread[0].Timestamp != card || thread[1].Timestamp != said.TS ||
		thread[0].Metadata.EventType != "" {
		t.Fatalf("the second page: %+v, %v, %v", thread, more, err)
	}
	history, err := c.GetConversationHistoryContext(ctx, &api.GetConversationHistoryParameters{ChannelID: o.channel, Oldest: "0"})
	if err != nil || len(history.Messages) != 1 || history.Messages[0].LatestReply != said.TS {
		t.Fatalf("conversations.history: %+v, %v", history, err)
	}
	if err := c.RemoveReactionContext(ctx, "eyes", ref); err != nil {
		t.Errorf("reactions.remove: %v", err)
	}
	if _, _, err := c.DeleteMessageContext(ctx, o.channel, ts); err != nil {
		t.Errorf("chat.delete: %v", err)
	}
	user, err := c.GetUserInfoContext(ctx, o.ana.ID)
	if err != nil || user.Profile.RealName != "Ana Lima" || user.IsBot {
		t.Errorf("users.info: %+v, %v", user, err)
	}
	o.RemoveBot(o.channel)
	if _, _, err := c.PostMessageContext(ctx, o.channel, api.MsgOptionText("x", false)); err == nil || err.Error() != "not_in_channel" {
		t.Errorf("outside: %v", err)
	}
	if _, _, _, err := c.JoinConversationContext(ctx, o.channel); err != nil {
		t.Errorf("conversations.join: %v", err)
	}
	if _, warning, _, err := c.JoinConversationContext(ctx, o.channel); err != nil || warning != "already_in_channel" {
		t.Errorf("conversations.join again: %q, %v", warning, err)
	}
	o.RemoveScope("chat:write")
	var refused api.SlackErrorResponse
	_, _, err = c.PostMessageContext(ctx, o.channel, api.MsgOptionText("x", false))
	if !errors.As(err, &refused) || refused.Err != "missing_scope" || refused.Needed != "chat:write" ||
		!strings.Contains(refused.Provided, "users:read") {
		t.Errorf("without a scope: %+v", err)
	}
	o.AddScope("chat:write")
	o.SetLimits(Limits{PostsPerSecond: 1})
	var limited *api.RateLimitedError
	for range 3 {
		_, _, err = c.PostMessageContext(ctx, o.channel, api.MsgOptionText("x", false))
	}
	if !errors.As(err, &limited) || limited.RetryAfter != time.Second || o.Hasty() != 1 {
		t.Errorf("too fast: %v, %d", err, o.Hasty())
	}
	if _, _, err := c.PostMessageContext(ctx, o.AddChannel(Channel{Name: "other"}), api.MsgOptionText("x", false)); err != nil {
		t.Errorf("another channel has a pace of its own: %v", err)
	}
	if n := o.Count("chat.postMessage"); n != 8 {
		t.Errorf("%d posts", n)
	}
}

func TestFiles(t *testing.T) {
	o := newOffice(t, Options{ShareDelay: time.Millisecond}).listen(t)
	o.FailOnFaults(t)
	c, ctx := o.client(t), t.Context()
	_, card, err := c.PostMessageContext(ctx, o.channel, api.MsgOptionText("card", false))
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("0123456789", 10)
	up, err := c.UploadFileContext(ctx, api.UploadFileParameters{
		Reader: strings.NewReader(content), FileSize: len(content), Filename: "a b.txt", Title: "Log", Channel: o.channel,
		ThreadTimestamp: card, InitialComment: "from <b>", AltTxt: "a log",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(ctx, func() bool { return len(o.Messages(o.channel, card)) == 2 }); err != nil {
		t.Fatal(err)
	}
	m := o.Messages(o.channel, card)[1]
	want := []File{{
		ID: up.ID, Name: "a b.txt", Title: "Log", Mimetype: "text/plain", User: botUser, Alt: "a log", Content: []byte(content),
	}}
	if diff := cmp.Diff(want, m.Files); diff != "" || m.Subtype != "file_share" || m.Text != "from &lt;b&gt;" || !m.Own {
		t.Errorf("%+v (-want +got):\n%s", m, diff)
	}
	info, _, _, err := c.GetFileInfoContext(ctx, up.ID, 0, 0)
	if err != nil || len(info.Shares.Public[o.channel]) != 1 || info.Shares.Public[o.channel][0].Ts != m.TS ||
		info.Shares.Public[o.channel][0].ThreadTs != card {
		t.Fatalf("files.info: %+v, %v", info, err)
	}
	var got bytes.Buffer
	if err := c.GetFileContext(ctx, info.URLPrivate, &got); err != nil || got.String() != content {
		t.Errorf("download: %q, %v", got.String(), err)
	}
	o.RemoveScope("files:read")
	if err := c.GetFileContext(ctx, info.URLPrivate, io.Discard); err == nil || !strings.Contains(err.Error(), "sign-in page") {
		t.Errorf("download without a scope: %v", err)
	}
	o.AddScope("files:read")
	// Range and sign-in, by hand.
	fetch := func(token, span string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, info.URLPrivate, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", token)
		r.Header.Set("Range", span)
		transport := &http.Transport{DisableKeepAlives: true}
		response, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	if code, body := fetch("Bearer "+o.BotToken(), "bytes=3-5"); code != http.StatusPartialContent || body != "345" {
		t.Errorf("range: %d %q", code, body)
	}
	if code, body := fetch("Bearer other", ""); code != http.StatusOK || !strings.Contains(body, "Sign in") {
		t.Errorf("sign in: %d %q", code, body)
	}
	if err := c.DeleteFileContext(ctx, up.ID); err != nil {
		t.Fatal(err)
	}
	if left, ok := o.Message(o.channel, m.TS); !ok || len(left.Files) != 1 || !left.Files[0].Deleted {
		t.Errorf("a message with words stays, with a tombstone of the file: %+v", left)
	}
	mute, err := c.UploadFileContext(ctx, api.UploadFileParameters{
		Reader: strings.NewReader("x"), FileSize: 1, Filename: "x.bin", Channel: o.channel, ThreadTimestamp: card,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Wait(ctx, func() bool { return len(o.Messages(o.channel, card)) == 3 }); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteFileContext(ctx, mute.ID); err != nil || len(o.Messages(o.channel, card)) != 2 {
		t.Errorf("a message without words goes with its file: %v", err)
	}
	if err := c.DeleteFileContext(ctx, mute.ID); err == nil || err.Error() != "file_deleted" {
		t.Errorf("twice: %v", err)
	}
	if n := len(o.Files()); n != 0 {
		t.Errorf("%d files", n)
	}
	if n := o.Count("upload"); n != 2 {
		t.Errorf("%d uploads", n)
	}
}

func TestWebhook(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	address := o.AddWebhook(o.channel)
	post := func(address, kind, body string) (int, string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, address, strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		o.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	err := api.PostWebhookCustomHTTPContext(t.Context(), address, &http.Client{Transport: transport}, &api.WebhookMessage{
		Text: "hi <!here>", Username: "Visitor", IconEmoji: ":eyes:",
	})
	if err != nil {
		t.Fatal(err)
	}
	if m := o.Messages(o.channel, ""); len(m) != 1 || m[0].Author != "Visitor" || m[0].Own || m[0].Subtype != "bot_message" ||
		!slices.Equal(m[0].Pings, []string{"!here"}) || m[0].Plain != "hi @here" {
		t.Errorf("%+v", m)
	}
	for name, tt := range map[string]struct {
		address, kind, body string
		code                int
		says                string
	}{
		"form":     {address, "application/x-www-form-urlencoded", form("payload", `{"text":"x"}`).Encode(), 200, "ok"},
		"no JSON":  {address, "application/json", `{`, 400, "invalid_payload"},
		"no text":  {address, "application/json", `{}`, 400, "no_text"},
		"no hook":  {o.base + "/services/T/B/x", "application/json", `{"text":"x"}`, 404, "no_service"},
		"blocks":   {address, "application/json", `{"blocks":[{"type":"section"}]}`, 400, "invalid_blocks"},
		"unserved": {address, "application/json", `{"text":"x","attachments":[]}`, 400, "invalid_payload"},
	} {
		if code, body := post(tt.address, tt.kind, tt.body); code != tt.code || body != tt.says {
			t.Errorf("%s: %d %q", name, code, body)
		}
	}
	if len(o.Faults()) != 1 {
		t.Errorf("faults %q", o.Faults())
	}
	o.SetLimits(DocumentedLimits())
	for i, want := range []int{200, 429} {
		if code, body := post(address, "application/json", `{"text":"x"}`); code != want {
			t.Errorf("%d: %d %q", i, code, body)
		}
	}
	o.SetLimits(Limits{})
	o.Archive(o.channel, o.ana.ID)
	if code, body := post(address, "application/json", `{"text":"x"}`); code != 410 || body != "channel_is_archived" {
		t.Errorf("archived: %d %q", code, body)
	}
	o.RemoveWebhook(address)
	if code, body := post(address, "application/json", `{"text":"x"}`); code != 404 || body != "no_service" {
		t.Errorf("removed: %d %q", code, body)
	}
}

func TestRefusals(t *testing.T) {
	long := `[{"type":"section","text":{"type":"mrkdwn","text":"` + strings.Repeat("x", 3001) + `"}}]`
	header := `[{"type":"header","text":{"type":"plain_text","text":"` + strings.Repeat("x", 151) + `"}}]`
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"type":"divider"},`, 51), ",") + "]"
	total := "[" +
		strings.TrimSuffix(strings.Repeat(`{"type":"section","text":{"type":"mrkdwn","text":"`+strings.Repeat("x", 3000)+`"}},`, 5), ",") + "]"
	tests := map[string]struct {
		method string
		pairs  []string
		says   string
	}{
		"no token":           {"auth.test", []string{"token", ""}, "not_authed"},
		"wrong token":        {"auth.test", []string{"token", "xoxb-1"}, "invalid_auth"},
		"app token":          {"chat.postMessage", []string{"token", "APP", "channel", "C", "text", "x"}, "not_allowed_token_type"},
		"bot token":          {"apps.connections.open", nil, "not_allowed_token_type"},
		"no channel":         {"chat.postMessage", []string{"channel", "C9", "text", "x"}, "channel_not_found"},
		"by name":            {"chat.postMessage", []string{"channel", "#support", "text", "x"}, "ok"},
		"private":            {"chat.postMessage", []string{"channel", "PRIVATE", "text", "x"}, "channel_not_found"},
		"archived":           {"chat.postMessage", []string{"channel", "ARCHIVED", "text", "x"}, "is_archived"},
		"nothing":            {"chat.postMessage", []string{"channel", "C", "text", ""}, "no_text"},
		"no blocks":          {"chat.postMessage", []string{"channel", "C", "blocks", "[]"}, "no_text"},
		"section":            {"chat.postMessage", []string{"channel", "C", "blocks", long}, "invalid_blocks"},
		"header":             {"chat.postMessage", []string{"channel", "C", "blocks", header}, "invalid_blocks"},
		"51 blocks":          {"chat.postMessage", []string{"channel", "C", "blocks", many}, "invalid_blocks"},
		"all blocks":         {"chat.postMessage", []string{"channel", "C", "blocks", total}, "msg_blocks_too_long"},
		"broken blocks":      {"chat.postMessage", []string{"channel", "C", "blocks", "{"}, "invalid_blocks_format"},
		"metadata":           {"chat.postMessage", []string{"channel", "C", "text", "x", "metadata", "x"}, "invalid_metadata_format"},
		"metadata's type":    {"chat.postMessage", []string{"channel", "C", "text", "x", "metadata", `{"a":1}`}, "invalid_metadata_schema"},
		"update":             {"chat.update", []string{"channel", "C", "ts", "1.000001", "text", "x"}, "message_not_found"},
		"update another's":   {"chat.update", []string{"channel", "C", "ts", "ANA", "text", "x"}, "cant_update_message"},
		"update too long":    {"chat.update", []string{"channel", "C", "ts", "OWN", "text", strings.Repeat("x", 4001)}, "msg_too_long"},
		"delete":             {"chat.delete", []string{"channel", "C", "ts", "1.000001"}, "message_not_found"},
		"delete another's":   {"chat.delete", []string{"channel", "C", "ts", "ANA"}, "cant_delete_message"},
		"thread":             {"conversations.replies", []string{"channel", "C", "ts", "1.000001"}, "thread_not_found"},
		"oldest":             {"conversations.history", []string{"channel", "C", "oldest", "x"}, "invalid_ts_oldest"},
		"cursor":             {"conversations.history", []string{"channel", "C", "cursor", "x"}, "invalid_cursor"},
		"join archived":      {"conversations.join", []string{"channel", "ARCHIVED"}, "is_archived"},
		"reaction":           {"reactions.remove", []string{"channel", "C", "timestamp", "OWN", "name", "eyes"}, "no_reaction"},
		"reaction's name":    {"reactions.add", []string{"channel", "C", "timestamp", "OWN", "name", ":eyes:"}, "invalid_name"},
		"reaction's ts":      {"reactions.add", []string{"channel", "C", "timestamp", "x", "name", "eyes"}, "bad_timestamp"},
		"reaction's message": {"reactions.add", []string{"channel", "C", "timestamp", "1.000001", "name", "eyes"}, "message_not_found"},
		"reaction's item":    {"reactions.remove", []string{"name", "eyes"}, "no_item_specified"},
		"user":               {"users.info", []string{"user", "U9"}, "user_not_found"},
		"file":               {"files.info", []string{"file", "F9"}, "file_not_found"},
		"another's file":     {"files.delete", []string{"file", "FILE"}, "cant_delete_file"},
		"unfinished":         {"files.completeUploadExternal", []string{"files", `[{"id":"F9"}]`}, "file_not_found"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, Options{})
			o.FailOnFaults(t)
			own := call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", "mine")
			private := o.AddChannel(Channel{Kind: Private, Name: "secret"})
			o.RemoveBot(private)
			archived := o.AddChannel(Channel{Name: "old"})
			o.Archive(archived, o.ana.ID)
			replace := map[string]string{
				"C": o.channel, "PRIVATE": private, "ARCHIVED": archived, "APP": o.AppToken(),
				"ANA": o.Say(o.channel, "", o.ana.ID, "x").TS, "OWN": own["ts"].(string),
				"FILE": o.Upload(Attachment{Post: Post{Channel: o.channel, User: o.ana.ID}, Name: "a.txt", Content: []byte("a")}).Files[0].ID,
			}
			pairs := slices.Clone(tt.pairs)
			for i := 1; i < len(pairs); i += 2 {
				if v, ok := replace[pairs[i]]; ok {
					pairs[i] = v
				}
			}
			answer := call(t, o.Server, tt.method, pairs...)
			if says(answer) != tt.says {
				t.Errorf("%v", answer)
			}
		})
	}
}

// TestInvalidBlocks wants Slack's pointer to what is wrong, which the adapter can log.
func TestInvalidBlocks(t *testing.T) {
	o := newOffice(t, Options{})
	answer := call(t, o.Server, "chat.postMessage", "channel", o.channel, "blocks",
		`[{"type":"divider"},{"type":"section","text":{"type":"mrkdwn","text":"`+strings.Repeat("é", 3001)+`"}}]`)
	want := map[string]any{
		"ok": false, "error": "invalid_blocks", "errors": []any{"must be less than 3001 characters [json-pointer:/blocks/1/text/text]"},
		"response_metadata": map[string]any{
			"messages": []any{"[ERROR] must be less than 3001 characters [json-pointer:/blocks/1/text/text]"},
		},
	}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if says(call(t, o.Server, "chat.postMessage", "channel", o.channel, "blocks",
		`[{"type":"section","text":{"type":"mrkdwn","text":"`+strings.Repeat("é", 3000)+`"}}]`)) != "ok" {
		t.Error("3000 characters are refused")
	}
}

func TestTruncation(t *testing.T) {
	o := newOffice(t, Options{})
	call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", strings.Repeat("é", 40001))
	if n := len([]rune(o.Messages(o.channel, "")[0].Text)); n != 40000 {
		t.Errorf("%d characters", n)
	}
}

// TestFaults wants whatever the definition does not allow among the faults.
func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		pairs  []string
	}{
		"method":     {"chat.scheduleMessage", nil},
		"argument":   {"chat.postMessage", []string{"channel", "C", "text", "x", "colour", "red"}},
		"missing":    {"chat.delete", []string{"channel", "C"}},
		"unserved":   {"chat.postMessage", []string{"channel", "C", "attachments", "[]"}},
		"boolean":    {"chat.postMessage", []string{"channel", "C", "text", "x", "mrkdwn", "maybe"}},
		"number":     {"conversations.history", []string{"channel", "C", "limit", "ten"}},
		"array":      {"files.completeUploadExternal", []string{"files", "x"}},
		"bad thread": {"chat.postMessage", []string{"channel", "C", "text", "x", "thread_ts", "1700000000000001"}},
		"reply's ts": {"chat.postMessage", []string{"channel", "C", "text", "x", "thread_ts", "REPLY"}},
		"empty file": {"files.getUploadURLExternal", []string{"filename", "x", "length", "0"}},
		"UTF-8":      {"chat.postMessage", []string{"channel", "C", "text", "\xff"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, Options{})
			head := o.Say(o.channel, "", o.ana.ID, "x")
			reply := o.Reply(head, o.ana.ID, "y")
			pairs := slices.Clone(tt.pairs)
			for i := 1; i < len(pairs); i += 2 {
				pairs[i] = strings.NewReplacer("REPLY", reply.TS).Replace(pairs[i])
				if pairs[i] == "C" {
					pairs[i] = o.channel
				}
			}
			answer := call(t, o.Server, tt.method, pairs...)
			if answer["ok"] != false || len(o.Faults()) != 1 {
				t.Errorf("%v, faults %q", answer, o.Faults())
			}
		})
	}
}

// TestRequestFaults wants among the faults what is wrong with a request itself.
func TestRequestFaults(t *testing.T) {
	o := newOffice(t, Options{})
	ticket := call(t, o.Server, "files.getUploadURLExternal", "filename", "a", "length", "3")["upload_url"].(string)
	for name, tt := range map[string]struct{ target, kind, bearer, body string }{
		"query":      {"/api/auth.test?token=" + o.BotToken(), "", "", ""},
		"twice":      {"/api/chat.postMessage", "application/x-www-form-urlencoded", "", "token=" + o.BotToken() + "&text=a&text=b"},
		"two tokens": {"/api/auth.test", "application/x-www-form-urlencoded", "other", "token=" + o.BotToken()},
		"JSON token": {"/api/auth.test", "application/json", "", `{"token":"` + o.BotToken() + `"}`},
		"no JSON":    {"/api/auth.test", "application/json", o.BotToken(), `[]`},
		"a type":     {"/api/auth.test", "text/xml", o.BotToken(), `<a/>`},
		"length":     {ticket, "application/octet-stream", "", "four"},
		"a path":     {"/elsewhere", "", "", ""},
	} {
		before := len(o.Faults())
		r := httptest.NewRequest(http.MethodPost, tt.target, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		if tt.bearer != "" {
			r.Header.Set("Authorization", "Bearer "+tt.bearer)
		}
		w := httptest.NewRecorder()
		o.ServeHTTP(w, r)
		if len(o.Faults()) != before+1 || strings.Contains(w.Body.String(), `"ok":true`) {
			t.Errorf("%s: %d %s, %q", name, w.Code, w.Body, o.Faults()[before:])
		}
	}
	r := httptest.NewRequest(http.MethodPost, ticket, strings.NewReader("for"))
	w := httptest.NewRecorder()
	if o.ServeHTTP(w, r); w.Code != http.StatusOK || w.Body.String() != "OK - 3" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestJSON sends a body as SDKs of other languages do: JSON with a bearer.
func TestJSON(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	r := httptest.NewRequest(http.MethodPost, "/api/chat.postMessage", strings.NewReader(`{"channel":"`+o.channel+`","text":"x","unfurl_links":true,
		"blocks":[{"type":"section","text":{"type":"mrkdwn","text":"*hi*"}}],"metadata":{"event_type":"a","event_payload":{}}}`))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Authorization", "Bearer "+o.BotToken())
	if _, answer := do(t, o.Server, r); says(answer) != "ok" {
		t.Fatalf("%v", answer)
	}
	m := o.Messages(o.channel, "")[0]
	if m.Plain != "hi" || m.Text != "x" || !m.UnfurlLinks || m.Metadata.EventType != "a" {
		t.Errorf("%+v", m)
	}
}

func TestTokenGone(t *testing.T) {
	o := newOffice(t, Options{})
	for _, says := range []string{"", "account_inactive", "invalid_auth"} {
		o.Revoke(says)
		want := says
		if want == "" {
			want = "token_revoked"
		}
		if got := call(t, o.Server, "auth.test"); got["error"] != want {
			t.Errorf("%v", got)
		}
	}
	o.Restore()
	if got := says(call(t, o.Server, "auth.test")); got != "ok" {
		t.Error(got)
	}
	o.RevokeApp("account_inactive")
	if got := says(call(t, o.Server, "apps.connections.open", "token", o.AppToken())); got != "account_inactive" {
		t.Error(got)
	}
}

// TestUpdateKeepsBlocks: a text alone leaves the blocks, and so what people see, as it was.
func TestUpdateKeepsBlocks(t *testing.T) {
	o := newOffice(t, Options{})
	blocks := `[{"type":"section","text":{"type":"mrkdwn","text":"seen"}}]`
	ts := call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", "a", "blocks", blocks,
		"metadata", `{"event_type":"e","event_payload":{"a":"b"}}`)["ts"].(string)
	for _, step := range []struct {
		pairs       []string
		text, plain string
		metadata    bool
	}{
		{[]string{"text", "b"}, "b", "seen", true},
		{[]string{"blocks", strings.ReplaceAll(blocks, "seen", "new")}, "b", "new", true},
		{[]string{"text", "c", "blocks", "[]", "metadata", "{}"}, "c", "c", false},
	} {
		answer := call(t, o.Server, "chat.update", append([]string{"channel", o.channel, "ts", ts}, step.pairs...)...)
		m, _ := o.Message(o.channel, ts)
		if says(answer) != "ok" || m.Text != step.text || m.Plain != step.plain || !m.Edited || (m.Metadata != nil) != step.metadata {
			t.Errorf("%v: %v, %+v", step.pairs, answer, m)
		}
	}
}

func TestThreads(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	head := o.Say(o.channel, "", o.ana.ID, "question")
	reply := o.Reply(head, o.ana.ID, "more")
	o.Send(Post{Channel: o.channel, ThreadTS: head.TS, User: o.ana.ID, Text: "all", Broadcast: true})
	if seen := o.Messages(o.channel, ""); len(seen) != 2 || !seen[1].Broadcast || seen[1].ThreadTS != head.TS {
		t.Errorf("the channel: %+v", seen)
	}
	if parents := o.Parents(o.channel); len(parents) != 1 || parents[0].TS != head.TS {
		t.Errorf("parents: %+v", parents)
	}
	o.Delete(head)
	stone, ok := o.Message(o.channel, head.TS)
	if !ok || stone.Subtype != "tombstone" || stone.Plain != "This message was deleted." || stone.User != slackbot || stone.Replies != 2 {
		t.Fatalf("%+v", stone)
	}
	page := call(t, o.Server, "conversations.replies", "channel", o.channel, "ts", head.TS)["messages"].([]any)
	if first, _ := page[0].(map[string]any); len(page) != 3 || first["subtype"] != "tombstone" || first["hidden"] != true ||
		first["reply_count"] != 2.0 || first["user"] != slackbot {
		t.Errorf("%v", page)
	}
	answer := call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", "x", "thread_ts", head.TS)
	if message, _ := answer["message"].(map[string]any); message["thread_ts"] != head.TS {
		t.Errorf("a tombstone still heads its thread: %v", answer)
	}
	for _, m := range o.Messages(o.channel, head.TS)[1:] {
		o.Delete(m)
	}
	if _, ok := o.Message(o.channel, head.TS); ok || len(o.Messages(o.channel, "")) != 0 {
		t.Errorf("the tombstone outlives its last reply: %+v", o.Messages(o.channel, ""))
	}
	answer = call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", "lost", "thread_ts", head.TS)
	message, _ := answer["message"].(map[string]any)
	if _, threaded := message["thread_ts"]; says(answer) != "ok" || threaded {
		t.Errorf("a deleted parent: %v", answer)
	}
	if m := o.Messages(o.channel, ""); len(m) != 1 || m[0].Plain != "lost" {
		t.Errorf("%+v", m)
	}
	if got := says(call(t, o.Server, "conversations.replies", "channel", o.channel, "ts", reply.TS)); got != "thread_not_found" {
		t.Error(got)
	}
}

func TestPages(t *testing.T) {
	o := newOffice(t, Options{})
	var all []string
	for range 5 {
		all = append(all, o.Say(o.channel, "", o.ana.ID, "x").TS)
	}
	texts := func(answer map[string]any) (out []string, cursor string) {
		for _, m := range answer["messages"].([]any) {
			out = append(out, m.(map[string]any)["ts"].(string))
		}
		data, _ := answer["response_metadata"].(map[string]any)
		cursor, _ = data["next_cursor"].(string)
		return out, cursor
	}
	first, cursor := texts(call(t, o.Server, "conversations.history", "channel", o.channel, "limit", "3"))
	rest, end := texts(call(t, o.Server, "conversations.history", "channel", o.channel, "limit", "3", "cursor", cursor))
	back := append(first, rest...)
	slices.Reverse(back)
	if diff := cmp.Diff(all, back); diff != "" || end != "" {
		t.Errorf("%q (-want +got):\n%s", end, diff)
	}
	for name, tt := range map[string]struct {
		pairs []string
		want  int
	}{
		"exclusive": {[]string{"oldest", all[1], "latest", all[3]}, 1},
		"inclusive": {[]string{"oldest", all[1], "latest", all[3], "inclusive", "1"}, 3},
		"oldest":    {[]string{"oldest", all[1]}, 3},
		"latest":    {[]string{"latest", all[1], "inclusive", "true"}, 2},
	} {
		got, _ := texts(call(t, o.Server, "conversations.history", append([]string{"channel", o.channel}, tt.pairs...)...))
		if len(got) != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTiers counts calls into a closed window, and opens it again.
func TestTiers(t *testing.T) {
	o := newOffice(t, Options{})
	o.SetLimits(Limits{TierPerMinute: [5]int{0, 1, 0, 0, 0}})
	open := func() map[string]any { return call(t, o.Server, "apps.connections.open", "token", o.AppToken()) }
	if got := []string{says(open()), says(open()), says(open())}; !slices.Equal(got, []string{"ok", "ratelimited", "ratelimited"}) {
		t.Error(got)
	}
	if o.Hasty() != 1 {
		t.Errorf("%d", o.Hasty())
	}
	o.SetLimits(Limits{})
	if got := says(open()); got != "ok" {
		t.Error(got)
	}
}

// TestActions spoils answers in the ways that Slack has.
func TestActions(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	c, ctx := o.client(t), t.Context()
	post := func() error {
		_, _, err := c.PostMessageContext(ctx, o.channel, api.MsgOptionText("x", false))
		return err
	}
	o.Next("chat.postMessage", Fail("internal_error"), Fail(""), RateLimited(7), RateLimited(0), stage.Page(502), stage.Action{DropAfter: true})
	if err := post(); err == nil || err.Error() != "internal_error" {
		t.Errorf("%v", err)
	}
	if err := post(); err != nil {
		t.Errorf("ok false without an error: %v", err) // the library takes it for success
	}
	var limited *api.RateLimitedError
	if err := post(); !errors.As(err, &limited) || limited.RetryAfter != 7*time.Second {
		t.Errorf("%v", err)
	}
	var status api.StatusCodeError
	if err := post(); !errors.As(err, &status) || status.Code != http.StatusTooManyRequests {
		t.Errorf("%v", err)
	}
	if err := post(); !errors.As(err, &status) || status.Code != http.StatusBadGateway {
		t.Errorf("%v", err)
	}
	if err := post(); err == nil || len(o.Messages(o.channel, "")) != 1 {
		t.Errorf("an answer that is lost: %v", err)
	}
}

func TestControlsFault(t *testing.T) {
	o := newOffice(t, Options{})
	m := o.Say(o.channel, "", o.ana.ID, "x")
	o.Delete(m)
	kept := o.Say(o.channel, "", o.ana.ID, "y")
	for name, do := range map[string]func(){
		"channel": func() { o.Say("C9", "", o.ana.ID, "x") },
		"user":    func() { o.Say(o.channel, "", "U9", "x") },
		"thread":  func() { o.Say(o.channel, m.TS, o.ana.ID, "x") },
		"edit":    func() { o.Edit(m, "x") },
		"delete":  func() { o.Delete(m) },
		"unfurl":  func() { o.Unfurl(m, "https://a.example") },
		"react":   func() { o.React(m, o.ana.ID, "eyes") },
		"unreact": func() { o.Unreact(kept, o.ana.ID, "eyes") },
		"upload":  func() { o.Upload(Attachment{Post: Post{Channel: "C9"}}) },
		"file":    func() { o.DeleteFile("F9") },
		"archive": func() { o.Archive("C9", o.ana.ID) },
		"slash":   func() { o.Slash(o.channel, o.ana.ID, "online", "") },
		"webhook": func() { o.AddWebhook("C9") },
		"direct":  func() { o.AddChannel(Channel{Kind: Direct}) },
	} {
		before := len(o.Faults())
		do()
		if len(o.Faults()) != before+1 {
			t.Errorf("%s: %v", name, o.Faults()[before:])
		}
	}
}

// TestCloseEndsWaiting: Close ends a call that is never answered, and a file that was to come later.
func TestCloseEndsWaiting(t *testing.T) {
	o := newOffice(t, Options{ShareDelay: time.Hour}).listen(t)
	c := o.client(t)
	if _, err := c.UploadFileContext(t.Context(), api.UploadFileParameters{
		Reader: strings.NewReader("x"), FileSize: 1, Filename: "x", Channel: o.channel,
	}); err != nil {
		t.Fatal(err)
	}
	o.On("auth.test", func(stage.Call) stage.Action { return stage.Action{Silence: true} })
	received := o.Await(stage.Received, "auth.test")
	ended := make(chan error, 1)
	go func() {
		_, err := c.AuthTestContext(context.WithoutCancel(t.Context()))
		ended <- err
	}()
	<-received
	o.Close()
	if err := <-ended; err == nil {
		t.Error("a call outlived Close")
	}
	if len(o.Messages(o.channel, "")) != 0 {
		t.Error("the file came")
	}
}

// TestArchived: what was written stays as it is.
func TestArchived(t *testing.T) {
	o := newOffice(t, Options{})
	o.FailOnFaults(t)
	ts := call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", "x")["ts"].(string)
	o.Archive(o.channel, o.ana.ID)
	for method, tt := range map[string]struct {
		pairs []string
		says  string
	}{
		"chat.update":           {[]string{"ts", ts, "text", "y"}, "is_inactive"},
		"chat.delete":           {[]string{"ts", ts}, "cant_delete_message"},
		"reactions.add":         {[]string{"timestamp", ts, "name", "eyes"}, "is_archived"},
		"conversations.history": {nil, "ok"},
	} {
		if got := says(call(t, o.Server, method, append([]string{"channel", o.channel}, tt.pairs...)...)); got != tt.says {
			t.Errorf("%s: %s", method, got)
		}
	}
	o.Unarchive(o.channel, o.ana.ID)
	if got := says(call(t, o.Server, "chat.update", "channel", o.channel, "ts", ts, "text", "y")); got != "ok" {
		t.Errorf("unarchived: %s", got)
	}
}
