package telegram

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/outbound"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logs collects what is logged, and shows it in the test's log.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p)
	return len(p), nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func logger(t *testing.T) (*slog.Logger, *logs) {
	l := &logs{}
	t.Cleanup(func() {
		if text := l.String(); text != "" {
			t.Log(text)
		}
	})
	return slog.New(slog.NewTextHandler(l, nil)), l
}

// place is an adapter, the chat that it is for and the stand-in that both are at.
type place struct {
	*Telegram
	server *sandbox.Server
	chat   int64
	ana    int64
	logs   *logs
}

func start(t *testing.T, o sandbox.Options, c sandbox.Chat) *place {
	t.Helper()
	server := sandbox.New(o)
	server.FailOnFaults(t)
	base, err := server.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p := &place{server: server, ana: server.AddUser(sandbox.User{FirstName: "Ana"}).ID}
	if c.Kind == sandbox.Private {
		c.User = p.ana
	}
	p.chat = server.AddChat(c)
	p.Telegram, p.logs = adapter(t, Config{Token: bridge.Secret(server.Token()), ChatID: p.chat, APIURL: base})
	return p
}

func adapter(t *testing.T, c Config) (*Telegram, *logs) {
	t.Helper()
	log, l := logger(t)
	tg, err := New(c, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tg.sends.CloseIdleConnections)
	t.Cleanup(tg.polls.CloseIdleConnections)
	t.Cleanup(tg.files.CloseIdleConnections)
	return tg, l
}

func (p *place) shown(thread bridge.ThreadID) []bridgetest.Shown {
	_, topic, _ := parseThread(thread)
	var out []bridgetest.Shown
	for _, m := range p.server.Messages(p.chat, int(topic)) {
		if !m.Own || m.Service != "" {
			continue
		}
		s := bridgetest.Shown{ID: messageID(p.chat, int64(m.ID)), Text: m.Text, Silent: m.Silent}
		if m.ReplyTo != 0 {
			s.ReplyTo = messageID(p.chat, int64(m.ReplyTo))
		}
		for _, e := range m.Entities {
			switch e.Type {
			case "text_mention":
				s.Pings = append(s.Pings, strconv.FormatInt(e.UserID, 10))
			case "mention":
				s.Pings = append(s.Pings, "somebody by name")
			}
		}
		if m.File != nil {
			s.Files = append(s.Files, bridgetest.ShownFile{Name: m.File.Name, Content: m.File.Content})
		}
		out = append(out, s)
	}
	return out
}

func (p *place) say(thread bridge.ThreadID, text string, replyTo bridge.MessageID) bridge.MessageID {
	_, topic, _ := parseThread(thread)
	reply, _ := parseMessage(replyTo, p.chat)
	m := p.server.Send(sandbox.Post{Chat: p.chat, Topic: int(topic), User: p.ana, Text: text, ReplyTo: reply})
	return messageID(p.chat, int64(m.ID))
}

func (p *place) refuse(a sandbox.Action) func(bridge.ThreadID) {
	return func(bridge.ThreadID) { p.server.Next(opSend, a) }
}

func (p *place) harness() *bridgetest.Harness {
	return &bridgetest.Harness{
		Platform:    p.Telegram,
		Secrets:     p.secrets,
		Shown:       p.shown,
		RepeatsShow: true,
		Tidy: func(text string) string {
			return strings.TrimSpace(strings.ReplaceAll(text, "\t", " "))
		},
		RateScope: bridge.ScopeDestination,
		Faults: map[bridgetest.Fault]func(bridge.ThreadID){
			bridgetest.FaultRateLimit: p.refuse(sandbox.FloodWait(7)),
			bridgetest.FaultServer:    p.refuse(sandbox.Page(502)),
			bridgetest.FaultCut:       p.refuse(sandbox.Action{DropAfter: true}),
			bridgetest.FaultMarkup: p.refuse(sandbox.Fail(400,
				`Bad Request: can't parse entities: Unsupported start tag "the visitor's own words 4711" at byte offset 3`)),
			bridgetest.FaultUnauthorised: func(bridge.ThreadID) {
				p.server.On("", func(sandbox.Call) sandbox.Action { return sandbox.Fail(401, "Unauthorized") })
			},
			bridgetest.FaultThreadGone: func(thread bridge.ThreadID) {
				_, topic, _ := parseThread(thread)
				p.server.DeleteTopic(p.chat, int(topic), sandbox.GoneNotFound)
			},
			bridgetest.FaultThreadClosed: func(thread bridge.ThreadID) {
				_, topic, _ := parseThread(thread)
				p.server.CloseTopic(p.chat, int(topic), p.ana)
			},
		},
		Say:   p.say,
		AnaID: strconv.FormatInt(p.ana, 10),
		Edit: func(thread bridge.ThreadID, id bridge.MessageID, text string) {
			p.server.Edit(p.message(id), text)
		},
		React: func(_ bridge.ThreadID, id bridge.MessageID) { p.server.React(p.message(id), p.ana, "👍") },
		Upload: func(thread bridge.ThreadID, name, mediaType string, content []byte) bridge.MessageID {
			_, topic, _ := parseThread(thread)
			m := p.server.Upload(sandbox.Upload{Chat: p.chat, Topic: int(topic), User: p.ana, Name: name, Type: mediaType, Content: content})
			return messageID(p.chat, int64(m.ID))
		},
		Signs: func(thread bridge.ThreadID, id bridge.MessageID) []string {
			_, topic, _ := parseThread(thread)
			n, _ := parseMessage(id, p.chat)
			for _, m := range p.server.Messages(p.chat, int(topic)) {
				if m.ID == n {
					return m.Reactions
				}
			}
			return nil
		},
		Waiting: p.server.Pending,
	}
}

// message names a message to the stand-in.
func (p *place) message(id bridge.MessageID) sandbox.Message {
	n, _ := parseMessage(id, p.chat)
	return sandbox.Message{Chat: p.chat, ID: n}
}

func TestForum(t *testing.T) {
	bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness {
		return start(t, sandbox.Options{RefuseClosed: true}, sandbox.Chat{Kind: sandbox.Forum}).harness()
	})
}

func TestPrivateChatWithTopics(t *testing.T) {
	bridgetest.Run(t, func(t *testing.T) *bridgetest.Harness {
		h := start(t, sandbox.Options{PrivateTopics: true}, sandbox.Chat{Kind: sandbox.Private}).harness()
		delete(h.Faults, bridgetest.FaultThreadClosed) // there is no closing there
		return h
	})
}

func TestSendAsAsked(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	if _, err := p.Send(t.Context(), thread, bridge.Part{Text: "<b>x</b>", Plain: "x", ReplyTo: "999"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(t.Context(), thread, bridge.Part{Text: "<b>x</b>"}); err != nil {
		t.Fatal(err)
	}
	if got := p.shown(thread); len(got) != 2 || got[0].Text != "x" || got[1].Text != "<b>x</b>" {
		t.Errorf("shown %+v", got)
	}
	for _, c := range p.server.Calls() {
		if c.Method == opSend && !strings.Contains(c.Params["link_preview_options"], `"is_disabled":true`) {
			t.Errorf("link previews are on: %v", c.Params)
		}
	}
	if topics := p.server.Topics(p.chat); len(topics) != 1 || topics[0].Name != visitor().DisplayName() {
		t.Errorf("topics %+v", topics)
	}
}

func reason(t *testing.T, err error) *bridge.DeliveryError {
	t.Helper()
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return d
}

func TestTopicGone(t *testing.T) {
	for _, says := range []sandbox.Gone{sandbox.GoneNotFound, sandbox.GoneDeleted, sandbox.GoneSilent} {
		p := start(t, sandbox.Options{}, sandbox.Chat{})
		thread := bridgetest.Open(t, p, visitor())
		_, topic, _ := parseThread(thread)
		p.server.DeleteTopic(p.chat, int(topic), says)
		_, err := p.Send(t.Context(), thread, bridge.Part{Text: "x"})
		d := reason(t, err)
		if d.Reason != bridge.ReasonThreadGone || d.Scope != bridge.ScopeSession {
			t.Errorf("%d: %v", says, err)
		}
		if landed := strings.Contains(d.Detail, "landed outside"); landed != (says == sandbox.GoneSilent) {
			t.Errorf("%d: %q", says, d.Detail)
		}
		if got := reason(t, p.ReopenThread(t.Context(), thread)); got.Reason != bridge.ReasonThreadGone {
			t.Errorf("reopen: %v", got)
		}
	}
}

func TestFlat(t *testing.T) {
	for _, kind := range []sandbox.Kind{sandbox.Supergroup, sandbox.Group, sandbox.Private} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			p := start(t, sandbox.Options{}, sandbox.Chat{Kind: kind})
			one := bridgetest.Open(t, p, visitor())
			two := bridgetest.Open(t, p, &bridge.Session{ID: "a/b", VisitorID: "v2"})
			if one == two || !isFlat(one) || !isFlat(two) {
				t.Fatalf("threads %q and %q", one, two)
			}
			if n := p.server.Count(opOpen); n != 1 {
				t.Errorf("createForumTopic was called %d times within ten minutes", n)
			}
			if n := strings.Count(p.logs.String(), "has no topics"); n != 1 {
				t.Errorf("%d warnings", n)
			}
			bridgetest.Deliver(t, p, one, bridge.Outgoing{Visitor: "Maria", Text: "one", Kind: bridge.KindMessage})
			ids := bridgetest.Deliver(t, p, two, bridge.Outgoing{Visitor: "v2", Text: "two", Kind: bridge.KindMessage})
			if got := p.shown(two); len(got) != 2 || got[0].Text != "Maria\none" || got[1].Text != "v2\ntwo" {
				t.Errorf("shown %+v", got)
			}
			if err := errors.Join(p.RenameThread(t.Context(), one, "x"), p.ReopenThread(t.Context(), one)); err != nil {
				t.Errorf("a flat thread's name: %v", err)
			}

			p.say(generalThread(p.chat), "an answer", ids[0])
			p.say(generalThread(p.chat), "to nobody", "")
			got, _, stop := listening(t, p, "")
			all := got.Wait(t, 2)
			_ = stop()
			if u := all[0]; !u.Flat || u.ReplyTo != ids[0] || messageID(p.chat, u.ReplyToNumber) != ids[0] || u.Thread != generalThread(p.chat) {
				t.Errorf("%+v", u)
			}
			if u := all[1]; !u.Flat || u.ReplyTo != "" || u.ReplyToNumber != 0 {
				t.Errorf("%+v", u)
			}
		})
	}
}

// Topics that are turned on later are found out; what began before stays where it is.
func TestTopicsTurnedOn(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{Kind: sandbox.Supergroup})
	flat := bridgetest.Open(t, p, visitor())
	ids := bridgetest.Deliver(t, p, flat, bridge.Outgoing{Visitor: "Maria", Text: "before", Kind: bridge.KindMessage})
	p.server.TurnOnTopics(p.chat)
	if got := bridgetest.Open(t, p, visitor()); !isFlat(got) {
		t.Errorf("asked again at once: %q", got)
	}
	p.mu.Lock()
	p.flatUntil = time.Now().Add(-time.Second)
	p.mu.Unlock()
	topic := bridgetest.Open(t, p, visitor())
	if isFlat(topic) {
		t.Errorf("not asked again: %q", topic)
	}
	bridgetest.Deliver(t, p, flat, bridge.Outgoing{Visitor: "Maria", Text: "after", Kind: bridge.KindMessage})

	p.say(generalThread(p.chat), "to the old one", ids[0])
	mine := p.say(generalThread(p.chat), "among us", "")
	p.say(generalThread(p.chat), "among us too", mine)
	p.say(topic, "to the new one", "")
	got, _, stop := listening(t, p, "")
	all := got.Wait(t, 4)
	_ = stop()
	for i, flat := range []bool{true, false, false, false} {
		if all[i].Flat != flat {
			t.Errorf("%q: flat %t", all[i].Text, all[i].Flat)
		}
	}
	if all[3].Thread != topic {
		t.Errorf("%q is not %q", all[3].Thread, topic)
	}
}

func TestMigration(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{Kind: sandbox.Group})
	thread := bridgetest.Open(t, p, visitor())
	to := p.server.Upgrade(p.chat)
	_, err := p.Send(t.Context(), thread, bridge.Part{Text: "x"})
	d := reason(t, err)
	if d.Reason != bridge.ReasonMoved || d.MovedTo != fmt.Sprintf("%d>%d", p.chat, to) {
		t.Fatalf("%+v", d)
	}
	for _, none := range []string{"", "elsewhere", strconv.FormatInt(to, 10), "1>x"} {
		if err := p.Move(none); err == nil {
			t.Errorf("moved to %q, which is no place", none)
		}
	}
	if err := p.Move("-777>-1000000000778"); err != nil || p.Telegram.chat != p.chat {
		t.Errorf("another chat's move is followed: %v", err)
	}
	for range 2 {
		if err := p.Move(d.MovedTo); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(p.logs.String(), "set TELEGRAM_CHAT_ID"); n != 1 {
		t.Errorf("the new id was said %d times", n)
	}
	bridgetest.Deliver(t, p, thread, bridge.Outgoing{Visitor: "Maria", Text: "there", Kind: bridge.KindMessage})
	if got := p.server.Messages(to, 0); len(got) == 0 || got[len(got)-1].Text != "Maria\nthere" {
		t.Errorf("shown %+v", got)
	}
	if d := reason(t, func() error { _, err := p.Send(t.Context(), "-5/7", bridge.Part{Text: "x"}); return err }()); d.Reason != bridge.ReasonThreadGone {
		t.Errorf("a thread of another chat: %v", d)
	}
}

// A group that became another one is followed by its own word, also when nobody listened meanwhile.
func TestMigrationHeard(t *testing.T) {
	for _, missed := range []bool{false, true} {
		p := start(t, sandbox.Options{}, sandbox.Chat{Kind: sandbox.Group})
		to := p.server.Upgrade(p.chat)
		p.server.Say(to, 0, p.ana, "hello from the new one")
		cursor := ""
		if missed {
			cursor = fmt.Sprintf("%d %d", 727_000_002, time.Now().Unix())
		}
		inbox, _, stop := listening(t, p, cursor)
		got := inbox.Wait(t, 1)
		_ = stop()
		if got[0].Thread != generalThread(to) || !strings.Contains(p.logs.String(), "becomes another one") {
			t.Errorf("missed %t: %+v", missed, got)
		}
	}
}

func TestRights(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	for _, c := range []struct {
		rights sandbox.BotRights
		open   string
		send   string
	}{
		{sandbox.BotRights{Status: sandbox.Administrator}, "Manage Topics", ""},
		{sandbox.BotRights{Status: sandbox.Member, Muted: true}, "Manage Topics", "Send Messages"},
		{sandbox.BotRights{Status: sandbox.Kicked}, "add the bot", "add the bot"},
		{sandbox.BotRights{Status: sandbox.Left}, "add the bot", "add the bot"},
	} {
		p.server.SetBot(p.chat, c.rights)
		_, _, err := p.OpenThread(t.Context(), visitor(), bridge.Opening{})
		if d := reason(t, err); d.Reason != bridge.ReasonAuth || d.Scope == bridge.ScopeSession || !strings.Contains(d.Detail, c.open) {
			t.Errorf("%+v: %v", c.rights, err)
		}
		_, err = p.Send(t.Context(), thread, bridge.Part{Text: "x"})
		if c.send == "" {
			if err != nil {
				t.Error(err)
			}
		} else if d := reason(t, err); d.Reason != bridge.ReasonAuth || d.Scope != bridge.ScopeDestination || !strings.Contains(d.Detail, c.send) {
			t.Errorf("%+v: %v", c.rights, err)
		}
	}
}

// A message that was sent counts as sent, whatever else the answer holds.
func TestAnswerOfTheFuture(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	_, topic, _ := parseThread(thread)
	p.server.Next(opSend, sandbox.Action{Status: 200, Body: fmt.Sprintf(`{"ok":true,"result":{"message_id":77,"message_thread_id":%d,"date":1,
		"chat":{"id":1,"type":"hyperchat"},"reply_to_message":{"message_id":3,"forward_origin":{"type":"new"},"paid_media":{"paid_media":[{"type":"x"}]}}}}`, topic)})
	ids, err := p.Send(t.Context(), thread, bridge.Part{Text: "x"})
	if err != nil || len(ids) != 1 || ids[0] != "77" {
		t.Errorf("%q %v", ids, err)
	}
}

// No failure of any call shows the token.
func TestTokenIsNowhere(t *testing.T) {
	const token = bridge.Secret("123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQ%\"é")
	stuck := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(stuck)
	echo := func(code int) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1"+r.URL.Path)
			w.WriteHeader(code)
			if code >= 500 || code < 400 {
				_, _ = fmt.Fprintf(w, "<html>%s %s</html>", r.URL.Path, token.Reveal())
				return
			}
			_, _ = fmt.Fprintf(w, `{"ok":false,"error_code":%d,"description":%q}`, code, "Bad: "+r.URL.Path+" "+r.URL.EscapedPath())
		}))
		t.Cleanup(s.Close)
		return s
	}
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer untrusted.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + ln.Addr().String()
	_ = ln.Close()

	for name, base := range map[string]string{
		"refused": refused, "time-out": slow.URL, "redirect": echo(302).URL, "page": echo(200).URL, "5xx": echo(502).URL,
		"400": echo(400).URL, "401": echo(401).URL, "403": echo(403).URL, "404": echo(404).URL, "409": echo(409).URL, "429": echo(429).URL,
		"tls": untrusted.URL, "not tls": strings.Replace(slow.URL, "http:", "https:", 1), "bad host": "http://bridge.invalid",
		"bad port": "http://127.0.0.1:99999", "with newline": refused + "/sub/",
	} {
		t.Run(name, func(t *testing.T) {
			given := token
			if name == "with newline" {
				given += "\n"
			}
			tg, l := adapter(t, Config{Token: given, ChatID: -100, APIURL: base})
			tg.sends.Timeout, tg.polls.Timeout, tg.stall = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
			ctx := t.Context()
			errs := map[string]error{}
			_, _, errs[opOpen] = tg.OpenThread(ctx, visitor(), bridge.Opening{})
			_, errs[opSend] = tg.Send(ctx, "-100/7", bridge.Part{Text: "4711", Plain: "4711"})
			errs[opRename] = tg.RenameThread(ctx, "-100/7", "4711")
			errs[opReopen] = tg.ReopenThread(ctx, "-100/7")
			errs[opClose] = tg.CloseThread(ctx, "-100/7")
			errs[opEdit] = tg.Edit(ctx, "-100/7", "-100/9", bridge.Part{Text: "4711", Plain: "4711"})
			errs[opDelete] = tg.Delete(ctx, "-100/7", "-100/9")
			errs[opReact] = tg.React(ctx, "-100/7", "-100/9", bridge.SignRead)
			errs[opAction] = tg.ShowTyping(ctx, "-100/7")
			_, errs[opPhoto] = tg.Upload(ctx, "-100/7", bridge.Part{}, []bridge.File{aFile("4711.png", "image/png", "4711")})
			_, errs[opGet] = tg.OpenFile(ctx, "4711", 0)
			if name == "409" { // another poller is waited for
				tg.conflictWait = time.Millisecond
				listen, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				_ = tg.Listen(listen, bridgetest.NewInbox(""))
				cancel()
			} else {
				errs[opPoll] = tg.Listen(ctx, bridgetest.NewInbox(""))
			}
			for op, err := range errs {
				if err == nil {
					t.Errorf("%s worked", op)
					continue
				}
				d := reason(t, err)
				printed := fmt.Sprintf("%v %+v %#v", err, *d, *d)
				for _, not := range []string{"AAbb", "ppQQ", "4711", "http://", "https://", "<html>"} {
					if strings.Contains(printed, not) {
						t.Errorf("%s: %q holds %q", op, printed, not)
					}
				}
			}
			if strings.Contains(l.String(), "AAbb") {
				t.Error("the log holds the token")
			}
		})
	}
}

func TestClassify(t *testing.T) {
	const (
		session     = bridge.ScopeSession
		destination = bridge.ScopeDestination
	)
	for _, c := range []struct {
		op     string
		r      refusal
		reason bridge.Reason
		scope  bridge.Scope
		detail string
	}{
		{opSend, refusal{Code: 400, Description: "Bad Request: message thread not found"}, bridge.ReasonThreadGone, session, ""},
		{opSend, refusal{Code: 400, Description: "Bad Request: TOPIC_DELETED"}, bridge.ReasonThreadGone, session, ""},
		{opRename, refusal{Code: 400, Description: "Bad Request: TOPIC_ID_INVALID"}, bridge.ReasonThreadGone, session, ""},
		{opRename, refusal{Code: 400, Description: "Bad Request: the chat is not a forum"}, bridge.ReasonThreadGone, session, ""},
		{opSend, refusal{Code: 400, Description: "Bad Request: TOPIC_CLOSED"}, bridge.ReasonClosed, session, ""},
		{opSend, refusal{Code: 400, Description: "Bad Request: group chat was upgraded", MovedTo: -1005}, bridge.ReasonMoved, destination, ""},
		{opSend, refusal{Code: 403, Description: "Forbidden: bot was kicked from the supergroup chat"}, bridge.ReasonAuth, destination, "add the bot"},
		{opSend, refusal{Code: 400, Description: "Bad Request: chat not found"}, bridge.ReasonAuth, destination, "TELEGRAM_CHAT_ID"},
		{opSend, refusal{Code: 401, Description: "Unauthorized"}, bridge.ReasonAuth, destination, "TELEGRAM_BOT_TOKEN"},
		{opSend, refusal{Code: 404, Description: "Not Found"}, bridge.ReasonAuth, destination, "TELEGRAM_BOT_TOKEN"},
		{opMenu, refusal{Code: 404, Description: "Not Found: method not found"}, bridge.ReasonRejected, session, "too old"},
		{opPoll, refusal{Code: 409, Description: "Conflict: terminated by other getUpdates request"}, bridge.ReasonTransient, destination, "another program"},
		{opSend, refusal{Code: 429, RetryAfter: 7 * time.Second}, bridge.ReasonRateLimited, destination, ""},
		{opSend, refusal{Code: 429, Opaque: true}, bridge.ReasonRateLimited, destination, ""},
		{opSend, refusal{Code: 500, Description: "Internal Server Error"}, bridge.ReasonTransient, bridge.ScopeUnclear, ""},
		{opSend, refusal{Code: 502, Opaque: true}, bridge.ReasonTransient, bridge.ScopeUnclear, "HTTP 502"},
		{opSend, refusal{Code: 404, Opaque: true}, bridge.ReasonTransient, destination, "TELEGRAM_API_URL"},
		{opSend, refusal{Code: 302, Opaque: true}, bridge.ReasonTransient, destination, "TELEGRAM_API_URL"},
		{opSend, refusal{Code: 200, Opaque: true}, bridge.ReasonTransient, destination, "TELEGRAM_API_URL"},
		{opSend, refusal{Code: 400, Description: `Bad Request: can't parse entities: Unsupported start tag "visitor" at`}, bridge.ReasonRejected, session,
			"can't parse entities"},
		{opSend, refusal{Code: 400, Description: "Bad Request: message is too long"}, bridge.ReasonRejected, session, ""},
		{opSend, refusal{Code: 400, Description: "Bad Request: message text is empty"}, bridge.ReasonRejected, session, ""},
		{opSend, refusal{Code: 400, Description: "Bad Request: not enough rights to send text messages to the chat"}, bridge.ReasonAuth, destination,
			"Send Messages"},
		{opOpen, refusal{Code: 400, Description: "Bad Request: not enough rights to create a topic"}, bridge.ReasonAuth, bridge.ScopeOperation, "Manage Topics"},
		{opOpen, refusal{Code: 400, Description: "Bad Request: CHAT_ADMIN_REQUIRED"}, bridge.ReasonAuth, bridge.ScopeOperation, "Manage Topics"},
		{opReopen, refusal{Code: 400, Description: "Bad Request: not enough rights to close or open the topic"}, bridge.ReasonAuth, bridge.ScopeOperation,
			"Manage Topics"},
		{opRename, refusal{Code: 400, Description: "Bad Request: not enough rights to edit the topic"}, bridge.ReasonRejected, session, "Manage Topics"},
		{opSend, refusal{Code: 413, Description: "Request Entity Too Large"}, bridge.ReasonRejected, session, ""},
		{opSend, refusal{Code: 400, Description: "Bad Request: something new"}, bridge.ReasonRejected, session, "something new"},
		{opSend, refusal{Code: 400, Description: "a\x00" + strings.Repeat("é", 500)}, bridge.ReasonRejected, session, "…"},
	} {
		d := classify(c.op, fmt.Errorf("wrapped: %w", &c.r), &outbound.Exchange{Sent: true})
		if d.Reason != c.reason || d.Scope != c.scope || !strings.Contains(d.Detail, c.detail) || d.Op != c.op || d.Detail == "" {
			t.Errorf("%s %d %q: %s scope %d %q", c.op, c.r.Code, c.r.Description, d.Reason, d.Scope, d.Detail)
		}
		if strings.Contains(d.Detail, "visitor") || len([]rune(d.Detail)) > 400 || strings.Contains(d.Detail, "\x00") {
			t.Errorf("detail %q", d.Detail)
		}
		if (d.Reason == bridge.ReasonRateLimited) != (d.RetryAfter > 0) || (d.Reason == bridge.ReasonMoved) != (d.MovedTo == "-1005") {
			t.Errorf("%+v", d)
		}
	}
	if d := classify(opSend, &refusal{Code: 429}, &outbound.Exchange{RetryAfter: 3 * time.Second}); d.RetryAfter != 3*time.Second {
		t.Errorf("the header's Retry-After is not used: %v", d.RetryAfter)
	}
	if d := classify(opSend, context.DeadlineExceeded, &outbound.Exchange{Sent: true}); d.Reason != bridge.ReasonUnconfirmed {
		t.Errorf("%v", d)
	}
}
