package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-telegram/bot"
	"github.com/go-telegram/bot/models"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a sandbox and returns it with its base URL.
func start(t *testing.T, o Options) (*Server, string) {
	t.Helper()
	s := New(o)
	t.Cleanup(s.Close)
	base, err := s.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return s, base
}

// client returns the real client library, pointed at the sandbox.
func client(t *testing.T, s *Server, base string) *bot.Bot {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	b, err := bot.New(s.Token(), bot.WithServerURL(base),
		bot.WithHTTPClient(10*time.Second, &http.Client{Transport: transport, Timeout: 20 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// call calls a method without a network and returns the status and the answer.
func call(t *testing.T, s *Server, method string, values url.Values) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/bot"+s.Token()+"/"+method, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, s, r)
}

func do(t *testing.T, s *Server, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.WithContext(t.Context()))
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
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

func TestClientLibrary(t *testing.T) {
	s, base := start(t, Options{})
	s.FailOnFaults(t)
	ana := s.AddUser(User{FirstName: "Ana"})
	forum := s.AddChat(Chat{Kind: Forum, Username: "support"})
	ctx := t.Context()
	b := client(t, s, base) // calls getMe with an empty multipart body

	me, err := b.GetMe(ctx)
	if err != nil || me.ID != s.Bot().ID || !me.IsBot || me.CanReadAllGroupMessages {
		t.Fatalf("getMe: %+v, %v", me, err)
	}
	info, err := b.GetChat(ctx, &bot.GetChatParams{ChatID: "@support"})
	if err != nil || info.ID != forum || !info.IsForum || info.Type != "supergroup" {
		t.Fatalf("getChat: %+v, %v", info, err)
	}
	topic, err := b.CreateForumTopic(ctx, &bot.CreateForumTopicParams{ChatID: forum, Name: "Visitor"})
	if err != nil || topic.Name != "Visitor" {
		t.Fatalf("createForumTopic: %+v, %v", topic, err)
	}
	sent, err := b.SendMessage(ctx, &bot.SendMessageParams{
		ChatID: forum, MessageThreadID: topic.MessageThreadID, Text: "<b>Hi</b> &amp; bye", ParseMode: models.ParseModeHTML,
		DisableNotification: true, LinkPreviewOptions: &models.LinkPreviewOptions{IsDisabled: bot.True()},
	})
	if err != nil || sent.Text != "Hi & bye" || sent.MessageThreadID != topic.MessageThreadID || !sent.IsTopicMessage ||
		len(sent.Entities) != 1 || sent.Entities[0].Type != models.MessageEntityTypeBold || sent.ReplyToMessage == nil ||
		sent.ReplyToMessage.ForumTopicCreated == nil {
		t.Fatalf("sendMessage: %+v, %v", sent, err)
	}
	said := s.Say(forum, topic.MessageThreadID, ana.ID, "hello")
	reply, err := b.SendMessage(ctx, &bot.SendMessageParams{
		ChatID: forum, Text: "re", ReplyParameters: &models.ReplyParameters{MessageID: said.ID},
	})
	if err != nil || reply.MessageThreadID != topic.MessageThreadID || reply.ReplyToMessage.ID != said.ID {
		t.Fatalf("a reply without a thread: %+v, %v", reply, err)
	}
	edited, err := b.EditMessageText(ctx, &bot.EditMessageTextParams{ChatID: forum, MessageID: sent.ID, Text: "Bye"})
	if err != nil || edited.Text != "Bye" || edited.EditDate == 0 {
		t.Fatalf("editMessageText: %+v, %v", edited, err)
	}
	_, err = b.EditMessageText(ctx, &bot.EditMessageTextParams{ChatID: forum, MessageID: sent.ID, Text: "Bye"})
	if !errors.Is(err, bot.ErrorBadRequest) || !strings.Contains(err.Error(), "message is not modified: specified new") {
		t.Errorf("editing nothing: %v", err)
	}
	for name, ok := range map[string]func() (bool, error){
		"editForumTopic": func() (bool, error) {
			return b.EditForumTopic(ctx, &bot.EditForumTopicParams{ChatID: forum, MessageThreadID: topic.MessageThreadID, Name: "New"})
		},
		"setMessageReaction": func() (bool, error) {
			return b.SetMessageReaction(ctx, &bot.SetMessageReactionParams{
				ChatID: forum, MessageID: said.ID, Reaction: []models.ReactionType{{
					Type: models.ReactionTypeTypeEmoji, ReactionTypeEmoji: &models.ReactionTypeEmoji{Emoji: "👀"},
				}},
			})
		},
		"sendChatAction": func() (bool, error) {
			return b.SendChatAction(ctx, &bot.SendChatActionParams{
				ChatID: forum, MessageThreadID: topic.MessageThreadID, Action: models.ChatActionTyping,
			})
		},
		"setMyCommands": func() (bool, error) {
			return b.SetMyCommands(ctx, &bot.SetMyCommandsParams{
				Commands: []models.BotCommand{{Command: "online", Description: "I am here"}}, Scope: &models.BotCommandScopeDefault{},
			})
		},
		"deleteMessage": func() (bool, error) {
			return b.DeleteMessage(ctx, &bot.DeleteMessageParams{ChatID: forum, MessageID: reply.ID})
		},
		"closeForumTopic": func() (bool, error) {
			return b.CloseForumTopic(ctx, &bot.CloseForumTopicParams{ChatID: forum, MessageThreadID: topic.MessageThreadID})
		},
	} {
		if done, err := ok(); err != nil || !done {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
	want := []Topic{{ID: topic.MessageThreadID, Name: "New", Closed: true, Creator: me.ID}}
	if diff := cmp.Diff(want, s.Topics(forum)); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]BotCommand{{"online", "I am here"}}, s.Commands("default")); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	var seen []string
	for _, m := range s.Messages(forum, topic.MessageThreadID) {
		seen = append(seen, m.Service+m.Text)
		if m.ID == sent.ID && (!m.Silent || !m.Edited || !m.Own) || m.ID == said.ID && len(m.Reactions) != 1 {
			t.Errorf("message %+v", m)
		}
	}
	if strings.Join(seen[:3], " ") != "forum_topic_created Bye hello" || len(seen) != 5 {
		t.Errorf("messages %q", seen)
	}
	reopen := &bot.ReopenForumTopicParams{ChatID: forum, MessageThreadID: topic.MessageThreadID}
	if ok, err := b.ReopenForumTopic(ctx, reopen); err != nil || !ok {
		t.Errorf("reopenForumTopic: %v, %v", ok, err)
	}
	s.DeleteTopic(forum, topic.MessageThreadID, GoneNotFound)
	_, err = b.SendMessage(ctx, &bot.SendMessageParams{ChatID: forum, MessageThreadID: topic.MessageThreadID, Text: "x"})
	if !errors.Is(err, bot.ErrorBadRequest) || !strings.Contains(err.Error(), "Bad Request: message thread not found") {
		t.Errorf("a deleted topic: %v", err)
	}
	s.SetLimits(Limits{PerSecond: 1})
	var flood *bot.TooManyRequestsError
	for range 2 {
		_, err = b.SendMessage(ctx, &bot.SendMessageParams{ChatID: forum, Text: "x"})
	}
	if !errors.As(err, &flood) || flood.RetryAfter != 1 {
		t.Errorf("too fast: %v", err)
	}
	s.SetLimits(Limits{})
	group := s.AddChat(Chat{Kind: Group})
	super := s.Upgrade(group)
	var moved *bot.MigrateError
	_, err = b.SendMessage(ctx, &bot.SendMessageParams{ChatID: group, Text: "x"})
	if !errors.As(err, &moved) || int64(moved.MigrateToChatID) != super {
		t.Errorf("an upgraded group: %v", err)
	}
	s.SetBot(super, BotRights{Status: Kicked})
	if _, err = b.SendMessage(ctx, &bot.SendMessageParams{ChatID: super, Text: "x"}); !errors.Is(err, bot.ErrorForbidden) {
		t.Errorf("kicked: %v", err)
	}
	if n := s.Count("sendMessage"); n != 7 {
		t.Errorf("%d calls of sendMessage", n)
	}
}

// TestClientLibraryPolls lets the library's own receiver decode every kind of update that operators cause.
func TestClientLibraryPolls(t *testing.T) {
	s, base := start(t, Options{})
	ana := s.AddUser(User{FirstName: "Ana"})
	helper := s.AddUser(User{FirstName: "Helper", Bot: true})
	forum := s.AddChat(Chat{Kind: Forum})
	topic := s.OpenTopic(forum, ana.ID, "Visitor")
	first := s.Say(forum, topic.ID, ana.ID, "/info now")
	s.Edit(first, "/help")
	s.Reply(first, helper.ID, "beep")
	s.Send(Post{Chat: forum, Topic: topic.ID, Anonymous: true, Signature: "boss", Text: "hm"})
	s.Say(forum, 0, ana.ID, "general")
	s.CloseTopic(forum, topic.ID, ana.ID)
	s.Send(Post{Chat: forum, Topic: topic.ID, User: ana.ID, Fields: map[string]any{
		"caption": "look", "photo": []map[string]any{{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}},
	}})

	got := make(chan *models.Update, 20)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	b, err := bot.New(s.Token(), bot.WithServerURL(base), bot.WithNotAsyncHandlers(),
		bot.WithHTTPClient(3*time.Second, &http.Client{Transport: transport, Timeout: 20 * time.Second}),
		bot.WithDefaultHandler(func(_ context.Context, _ *bot.Bot, u *models.Update) { got <- u }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan struct{})
	go func() { b.Start(ctx); close(ended) }()
	var updates []*models.Update
	for range 8 {
		updates = append(updates, <-got)
	}
	m := updates[1].Message
	if updates[0].Message.ForumTopicCreated == nil || m.Text != "/info now" ||
		m.MessageThreadID != topic.ID || !m.IsTopicMessage ||
		m.ReplyToMessage == nil || m.ReplyToMessage.ID != topic.ID || m.ReplyToMessage.ForumTopicCreated == nil ||
		len(m.Entities) != 1 || m.Entities[0].Type != models.MessageEntityTypeBotCommand || m.Entities[0].Length != 5 {
		t.Errorf("a message in a topic: %+v", m)
	}
	if e := updates[2].EditedMessage; e == nil || e.ID != first.ID || e.Text != "/help" || e.EditDate == 0 {
		t.Errorf("an edit: %+v", e)
	}
	if r := updates[3].Message; !r.From.IsBot || r.ReplyToMessage.ID != first.ID || r.ReplyToMessage.ReplyToMessage != nil {
		t.Errorf("a bot's reply: %+v", r)
	}
	if a := updates[4].Message; a.From.ID != 1087968824 || a.SenderChat.ID != forum || a.AuthorSignature != "boss" {
		t.Errorf("an anonymous administrator: %+v", a)
	}
	if g := updates[5].Message; g.MessageThreadID != 0 || g.IsTopicMessage || g.ReplyToMessage != nil {
		t.Errorf("General: %+v", g)
	}
	if updates[6].Message.ForumTopicClosed == nil || updates[7].Message.Caption != "look" || len(updates[7].Message.Photo) != 1 {
		t.Errorf("closed and photo: %+v, %+v", updates[6].Message, updates[7].Message)
	}
	// The next getUpdates confirms.
	if err := s.Wait(t.Context(), func() bool { return s.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
}

func TestBodies(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	s.FailOnFaults(t)
	c := s.AddChat(Chat{Kind: Forum, ID: -1001})
	said := s.Send(Post{Chat: c, Anonymous: true, Text: "x"})
	path := "/bot" + s.Token() + "/"
	reply := `{"message_id":` + strconv.Itoa(said.ID) + `}`
	var multi bytes.Buffer
	mw := multipart.NewWriter(&multi)
	for name, value := range map[string]string{
		"chat_id": "-1001", "text": "multi", "reply_parameters": reply, "disable_notification": "true",
	} {
		if err := mw.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
	urlencoded := form("chat_id", "-1001", "text", "form", "reply_parameters", reply, "disable_notification", "true").Encode()
	tests := map[string]struct {
		method, target, kind string
		body                 io.Reader
	}{
		"query": {http.MethodGet, "sendMessage?" + strings.Replace(urlencoded, "form", "query", 1), "", nil},
		"form":  {http.MethodPost, "sendmessage", "application/x-www-form-urlencoded", strings.NewReader(urlencoded)},
		"multi": {http.MethodPost, "sendMessage", mw.FormDataContentType(), &multi},
		"json": {http.MethodPost, "sendMessage", "application/json", strings.NewReader(
			`{"chat_id":-1001,"text":"json","disable_notification":true,"reply_parameters":` + reply + `}`)},
		"both": {http.MethodPost, "sendMessage?chat_id=-1001&disable_notification=true", "application/json; charset=utf-8",
			strings.NewReader(`{"text":"both","reply_parameters":` + reply + `}`)},
		"nothing":  {http.MethodPost, "getMe", "multipart/form-data; boundary=x", http.NoBody},
		"no type":  {http.MethodPost, "getMe", "", http.NoBody},
		"get none": {http.MethodGet, "getMe", "", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, path+tt.target, tt.body)
			if tt.kind != "" {
				r.Header.Set("Content-Type", tt.kind)
			}
			code, answer := do(t, s, r)
			if code != http.StatusOK {
				t.Fatalf("%d %v", code, answer)
			}
			if result, _ := answer["result"].(map[string]any); strings.HasPrefix(strings.ToLower(tt.target), "sendmessage") {
				last := s.Messages(c, 0)
				if m := last[len(last)-1]; result["text"] != name || m.ReplyTo != said.ID || !m.Silent {
					t.Errorf("%v became %+v", result, m)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	s.FailOnFaults(t)
	ana := s.AddUser(User{FirstName: "Ana"})
	forum := s.AddChat(Chat{Kind: Forum, ID: -1001})
	plain := s.AddChat(Chat{Kind: Supergroup, ID: -1002})
	weak := s.AddChat(Chat{Kind: Forum, ID: -1003})
	s.SetBot(weak, BotRights{Status: Administrator})
	muted := s.AddChat(Chat{Kind: Supergroup, ID: -1004})
	s.SetBot(muted, BotRights{Status: Member, Muted: true})
	left := s.AddChat(Chat{Kind: Group, ID: -5})
	s.SetBot(left, BotRights{Status: Left})
	kicked := s.AddChat(Chat{Kind: Forum, ID: -1005})
	s.SetBot(kicked, BotRights{Status: Kicked})
	theirs := strconv.Itoa(s.OpenTopic(weak, ana.ID, "theirs").ID)
	s.CloseTopic(weak, s.Topics(weak)[0].ID, ana.ID)
	open := s.OpenTopic(forum, ana.ID, "open")
	gone := s.OpenTopic(forum, ana.ID, "gone")
	cached := s.OpenTopic(forum, ana.ID, "cached")
	s.DeleteTopic(forum, gone.ID, GoneNotFound)
	s.DeleteTopic(forum, cached.ID, GoneDeleted)
	said := s.Say(forum, open.ID, ana.ID, "hello")
	inPlain := s.Say(plain, 0, ana.ID, "a")
	s.Reply(inPlain, ana.ID, "b")

	tests := []struct {
		method string
		in     url.Values
		code   int
		want   string
	}{
		{"sendMessage", form("chat_id", "", "text", "x"), 400, "Bad Request: chat_id is empty"},
		{"sendMessage", form("chat_id", "-77", "text", "x"), 400, "Bad Request: chat not found"},
		{"sendMessage", form("chat_id", "@nobody", "text", "x"), 400, "Bad Request: chat not found"},
		{"sendMessage", form("chat_id", "-1001", "text", ""), 400, "Bad Request: message text is empty"},
		{"sendMessage", form("chat_id", "-1001", "text", " \n "), 400, "Bad Request: text must be non-empty"},
		{"sendMessage", form("chat_id", "-1001", "text", "\xff"), 400, "Bad Request: strings must be encoded in UTF-8"},
		{"sendMessage", form("chat_id", "-1001", "text", strings.Repeat("😀", 4097)), 400, "Bad Request: message is too long"},
		{"sendMessage", form("chat_id", "-1001", "text", strings.Repeat("😀", 4096)), 200, ""},
		{"sendMessage", form("chat_id", "-1001", "text", "<b>"+strings.Repeat("x", 4096)+"</b>", "parse_mode", "HTML"), 200, ""},
		{"sendMessage", form("chat_id", "-1001", "text", "<x>", "parse_mode", "html"),
			400, `Bad Request: can't parse entities: Unsupported start tag "x" at byte offset 0`},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "parse_mode", "bbcode"), 400, "Bad Request: unsupported parse_mode"},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "message_thread_id", "1"),
			400, "Bad Request: message thread not found"},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "message_thread_id", strconv.Itoa(said.ID)),
			400, "Bad Request: message thread not found"},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "message_thread_id", strconv.Itoa(gone.ID)),
			400, "Bad Request: message thread not found"},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "message_thread_id", strconv.Itoa(cached.ID)),
			400, "Bad Request: TOPIC_DELETED"},
		{"sendMessage", form("chat_id", "-1002", "text", "x", "message_thread_id", strconv.Itoa(inPlain.ID)),
			400, "Bad Request: message thread not found"},
		{"sendMessage", form("chat_id", "-1003", "text", "x", "message_thread_id", theirs), 400, "Bad Request: TOPIC_CLOSED"},
		{"sendMessage", form("chat_id", "-1004", "text", "x"),
			400, "Bad Request: not enough rights to send text messages to the chat"},
		{"sendMessage", form("chat_id", "-5", "text", "x"), 403, "Forbidden: bot is not a member of the group chat"},
		{"sendMessage", form("chat_id", "-1005", "text", "x"), 403, "Forbidden: bot was kicked from the supergroup chat"},
		{"getChat", form("chat_id", "-1005"), 403, "Forbidden: bot was kicked from the supergroup chat"},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "reply_parameters", `{"message_id":99999}`),
			400, "Bad Request: message to be replied not found"},
		{"sendMessage", form("chat_id", "-1001", "text", "x", "reply_parameters",
			`{"message_id":99999,"allow_sending_without_reply":true}`),
			200, ""},
		{"editMessageText", form("chat_id", "-1001", "message_id", "99999", "text", "x"),
			400, "Bad Request: message to edit not found"},
		{"editMessageText", form("chat_id", "-1001", "text", "x"), 400, "Bad Request: message identifier is not specified"},
		{"editMessageText", form("chat_id", "-1001", "message_id", strconv.Itoa(said.ID), "text", "x"),
			400, "Bad Request: message can't be edited"},
		{"deleteMessage", form("chat_id", "-1001", "message_id", "99999"), 400, "Bad Request: message to delete not found"},
		{"deleteMessage", form("chat_id", "-1001", "message_id", strconv.Itoa(open.ID)),
			400, "Bad Request: message can't be deleted"},
		{"setMessageReaction", form("chat_id", "-1001", "message_id", "99999"), 400, "Bad Request: message to react not found"},
		{"setMessageReaction", form("chat_id", "-1001", "message_id", strconv.Itoa(said.ID), "reaction",
			`[{"type":"emoji","emoji":"✅"}]`),
			400, "Bad Request: REACTION_INVALID"},
		{"createForumTopic", form("chat_id", "-1002", "name", "x"), 400, "Bad Request: the chat is not a forum"},
		{"createForumTopic", form("chat_id", "-1003", "name", "x"), 400, "Bad Request: not enough rights to create a topic"},
		{"createForumTopic", form("chat_id", "-1001", "name", " "), 400, "Bad Request: title must be non-empty"},
		{"editForumTopic", form("chat_id", "-1003", "message_thread_id", theirs, "name", "x"),
			400, "Bad Request: not enough rights to edit the topic"},
		{"editForumTopic", form("chat_id", "-1001", "message_thread_id", strconv.Itoa(open.ID), "name", "open"),
			400, "Bad Request: TOPIC_NOT_MODIFIED"},
		{"editForumTopic", form("chat_id", "-1001", "message_thread_id", strconv.Itoa(gone.ID), "name", "x"),
			400, "Bad Request: TOPIC_ID_INVALID"},
		{"closeForumTopic", form("chat_id", "-1003", "message_thread_id", theirs),
			400, "Bad Request: not enough rights to close or open the topic"},
		{"reopenForumTopic", form("chat_id", "-1001", "message_thread_id", strconv.Itoa(open.ID)),
			400, "Bad Request: TOPIC_NOT_MODIFIED"},
		{"sendChatAction", form("chat_id", "-1001", "action", "sleeping"), 400, "Bad Request: wrong parameter action in request"},
		{"sendChatAction", form("chat_id", "-1001", "action", "typing", "message_thread_id", strconv.Itoa(gone.ID)), 200, ""},
		{"setMyCommands", form("commands", `[{"command":"/Online","description":"x"}]`), 400, "Bad Request: BOT_COMMAND_INVALID"},
		{"setWebhook", form("url", "http://bridge.example/x"),
			400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"},
		{"setWebhook", form("url", "https://bridge.example/x", "secret_token", "a b"),
			400, "Bad Request: secret token contains unallowed characters"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.want, func(t *testing.T) {
			code, answer := call(t, s, tt.method, tt.in)
			text, _ := answer["description"].(string)
			if code != tt.code || text != tt.want || answer["ok"] != (code == 200) {
				t.Errorf("%d %q, want %d %q", code, text, tt.code, tt.want)
			}
			if n, _ := answer["error_code"].(float64); code != 200 && int(n) != code {
				t.Errorf("error_code %v", answer["error_code"])
			}
		})
	}
	for path, want := range map[string]int{"/botwrong:token/getMe": 401, "/bot": 404, "/": 404} {
		if code, _ := do(t, s, httptest.NewRequest(http.MethodGet, path, nil)); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func TestFaults(t *testing.T) {
	c := "-1001"
	tests := map[string]struct {
		method, kind, body string
		want               string
		code               int
	}{
		"method":  {"sendVideo", "", "", `the sandbox does not serve the method "sendVideo"`, 404},
		"unknown": {"sendMessage", "", "chat_id=" + c + "&text=x&silent=true", `sendMessage has no parameter "silent"`, 400},
		"missing": {"sendMessage", "", "chat_id=" + c, `sendMessage needs the parameter "text"`, 400},
		"integer": {"sendMessage", "", "chat_id=" + c + "&text=x&message_thread_id=main",
			"sendMessage: parameter message_thread_id: is no Integer", 400},
		"boolean": {"sendMessage", "", "chat_id=" + c + "&text=x&disable_notification=on",
			"sendMessage: parameter disable_notification: is no Boolean", 400},
		"json type": {"sendMessage", "application/json", `{"chat_id":-1001,"text":5}`,
			"sendMessage: parameter text: is no String", 400},
		"json string": {"sendMessage", "application/json", `{"chat_id":-1001,"text":"x","reply_parameters":"{\"message_id\":1}"}`,
			"sendMessage: parameter reply_parameters: is no ReplyParameters", 400},
		"nested": {"sendMessage", "application/json", `{"chat_id":-1001,"text":"x","reply_parameters":{"message_id":1,"quite":"x"}}`,
			`sendMessage: parameter reply_parameters: ReplyParameters has no field "quite"`, 400},
		"nested type": {"setMyCommands", "application/json", `{"commands":[{"command":"a","description":1}]}`,
			"setMyCommands: parameter commands: [0] BotCommand.description is no String", 400},
		"unserved": {"sendMessage", "", "chat_id=" + c + "&text=x&message_effect_id=1",
			`sendMessage: the sandbox does not serve the parameter "message_effect_id"`, 400},
		"markdown": {"sendMessage", "", "chat_id=" + c + "&text=x&parse_mode=MarkdownV2",
			"the sandbox does not serve the parse mode MarkdownV2", 400},
		"update kinds": {"getUpdates", "", `allowed_updates=["mesage"]`, `allowed_updates names the unknown "mesage"`, 400},
		"long name": {"createForumTopic", "", "chat_id=" + c + "&name=" + strings.Repeat("x", 129),
			"the topic's name has 129 characters; 1-128 are allowed", 400},
		"body": {"sendMessage", "text/plain", "x", `the Bot API does not take a body of type "text/plain"`, 400},
		"no json": {"sendMessage", "application/json", "[]",
			"the body is no JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage", 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := New(Options{})
			defer s.Close()
			s.AddChat(Chat{Kind: Forum, ID: -1001})
			r := httptest.NewRequest(http.MethodPost, "/bot"+s.Token()+"/"+tt.method, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if tt.kind != "" {
				r.Header.Set("Content-Type", tt.kind)
			}
			if code, answer := do(t, s, r); code != tt.code {
				t.Errorf("%d %v, want %d", code, answer, tt.code)
			}
			if diff := cmp.Diff([]string{tt.want}, s.Faults()); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			failed := &reporter{}
			s.FailOnFaults(failed)
			for _, f := range failed.atEnd {
				f()
			}
			if failed.errors != 1 {
				t.Errorf("FailOnFaults reported %d", failed.errors)
			}
		})
	}
}

type reporter struct {
	atEnd  []func()
	errors int
}

func (r *reporter) Helper()               {}
func (r *reporter) Cleanup(f func())      { r.atEnd = append(r.atEnd, f) }
func (r *reporter) Errorf(string, ...any) { r.errors++ }

func TestThreads(t *testing.T) {
	s := New(Options{PrivateTopics: true})
	defer s.Close()
	s.FailOnFaults(t)
	ana := s.AddUser(User{FirstName: "Ana"})
	forum := s.AddChat(Chat{Kind: Forum, ID: -1001})
	last := func() map[string]any {
		t.Helper()
		var u map[string]map[string]any
		body := s.inbox.queue[len(s.inbox.queue)-1].body
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(body, &whole); err != nil {
			t.Fatal(err)
		}
		delete(whole, "update_id")
		rest, _ := json.Marshal(whole)
		if err := json.Unmarshal(rest, &u); err != nil {
			t.Fatal(err)
		}
		return u["message"]
	}
	// General: a reply names the root of its chain as thread, but is no topic's message.
	a := s.Say(forum, 0, ana.ID, "a")
	b := s.Reply(a, ana.ID, "b")
	s.Reply(b, ana.ID, "c")
	if m := last(); m["message_thread_id"] != float64(a.ID) || m["is_topic_message"] != nil {
		t.Errorf("a reply in General: %v", m)
	}
	// The bot hears of the topics that it makes itself, not of its messages.
	_, answer := call(t, s, "createForumTopic", form("chat_id", "-1001", "name", "  a \n b  "))
	topic := answer["result"].(map[string]any)
	if m := last(); m["forum_topic_created"].(map[string]any)["name"] != "a b" ||
		m["message_thread_id"] != topic["message_thread_id"] {
		t.Errorf("the bot's topic: %v", m)
	}
	before := s.Pending()
	id := s.Topics(forum)[0].ID
	inTopic := form("chat_id", "-1001", "text", "x", "message_thread_id", strconv.Itoa(id))
	if code, _ := call(t, s, "sendMessage", inTopic); code != 200 || s.Pending() != before {
		t.Errorf("the bot's message: %d, %d updates", code, s.Pending()-before)
	}
	// A reply to a message of another topic is an external one.
	_, answer = call(t, s, "sendMessage", form("chat_id", "-1001", "text", "x", "message_thread_id", strconv.Itoa(id),
		"reply_parameters", `{"message_id":`+strconv.Itoa(a.ID)+`}`))
	m := answer["result"].(map[string]any)
	if m["external_reply"].(map[string]any)["message_id"] != float64(a.ID) || m["message_thread_id"] != float64(id) {
		t.Errorf("a reply across topics: %v", m)
	}
	// A closed topic still takes the messages of a bot that may manage topics.
	s.CloseTopic(forum, id, ana.ID)
	if code, _ := call(t, s, "sendMessage", inTopic); code != 200 {
		t.Errorf("a closed topic: %d", code)
	}
	// Private chats have topics, too; silence about a deleted one shows in the result alone.
	private := s.AddChat(Chat{Kind: Private, User: ana.ID})
	if code, answer := call(t, s, "createForumTopic", form("chat_id", strconv.Itoa(int(private)), "name", "p")); code != 200 {
		t.Fatalf("a private topic: %v", answer)
	}
	p := s.Topics(private)[0]
	if got := s.Say(private, p.ID, ana.ID, "hello"); got.Topic != p.ID {
		t.Errorf("said %+v", got)
	}
	s.DeleteTopic(private, p.ID, GoneSilent)
	_, answer = call(t, s, "sendMessage",
		form("chat_id", strconv.Itoa(int(private)), "text", "x", "message_thread_id", strconv.Itoa(p.ID)))
	if m := answer["result"].(map[string]any); m["message_thread_id"] != nil || m["text"] != "x" {
		t.Errorf("a silent deletion: %v", m)
	}
	strict := New(Options{RefuseClosed: true})
	defer strict.Close()
	strict.AddChat(Chat{Kind: Forum, ID: -1001})
	u := strict.AddUser(User{})
	closed := strict.OpenTopic(-1001, u.ID, "x")
	strict.CloseTopic(-1001, closed.ID, u.ID)
	_, answer = call(t, strict, "sendMessage", form("chat_id", "-1001", "text", "x", "message_thread_id", strconv.Itoa(closed.ID)))
	if answer["description"] != "Bad Request: TOPIC_CLOSED" {
		t.Errorf("RefuseClosed: %v", answer)
	}
}

func TestPrivacyMode(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	ana := s.AddUser(User{})
	group := s.AddChat(Chat{Kind: Group, ID: -7})
	s.SetBot(group, BotRights{Status: Member})
	before := s.Pending()
	for _, text := range []string{"hello", "/x@other_bot", "say /x"} {
		s.Say(group, 0, ana.ID, text)
	}
	if s.Pending() != before {
		t.Error("the bot hears what is not meant for it")
	}
	call(t, s, "sendMessage", form("chat_id", "-7", "text", "hi"))
	s.Say(group, 0, ana.ID, "/x@"+s.Bot().Username)
	s.Reply(s.Messages(group, 0)[3], ana.ID, "to you")
	s.Send(Post{Chat: group, User: ana.ID, Service: "new_chat_title", Fields: map[string]any{"new_chat_title": "T"}})
	if s.Pending() != before+3 {
		t.Errorf("%d updates", s.Pending()-before)
	}
}
