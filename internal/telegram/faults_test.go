package telegram

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/measure"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
)

// TestFaults has everything that is known to go wrong with Telegram happen to real calls, and looks at what the relay is told.
func TestFaults(t *testing.T) {
	const (
		session     = bridge.ScopeSession
		destination = bridge.ScopeDestination
	)
	type fault struct {
		name    string
		options sandbox.Options
		kind    sandbox.Kind
		arrange func(p *place, topic int)
		call    string // the call that is made; empty: opSend
		part    bridge.Part
		message bridge.MessageID // that is to be changed; empty: one that the bot has just sent
		reason  bridge.Reason    // empty: it works
		scope   bridge.Scope
		detail  string
		shown   string // what the thread shows in the end; empty: not looked at
	}
	next := func(op string, a sandbox.Action) func(*place, int) {
		return func(p *place, _ int) { p.server.Next(op, a) }
	}
	rights := func(r sandbox.BotRights) func(*place, int) {
		return func(p *place, _ int) { p.server.SetBot(p.chat, r) }
	}
	gone := func(says sandbox.Gone) func(*place, int) {
		return func(p *place, topic int) { p.server.DeleteTopic(p.chat, topic, says) }
	}
	closed := func(p *place, topic int) { p.server.CloseTopic(p.chat, topic, p.ana) }
	noTopics := rights(sandbox.BotRights{Status: sandbox.Administrator})
	word := bridge.Part{Text: "<b>x</b>", Plain: "x"}
	refuseClosed := sandbox.Options{RefuseClosed: true}
	for _, f := range []fault{
		{name: "topic deleted", arrange: gone(sandbox.GoneNotFound), reason: bridge.ReasonThreadGone, detail: "message thread not found"},
		{name: "topic deleted, in capitals", arrange: gone(sandbox.GoneDeleted), reason: bridge.ReasonThreadGone, detail: "TOPIC_DELETED"},
		{name: "topic deleted in silence", arrange: gone(sandbox.GoneSilent), reason: bridge.ReasonThreadGone, detail: "landed outside"},
		{name: "topic deleted, renamed", arrange: gone(sandbox.GoneNotFound), call: opRename, reason: bridge.ReasonThreadGone},
		{name: "topic deleted, reopened", arrange: gone(sandbox.GoneNotFound), call: opReopen, reason: bridge.ReasonThreadGone},
		{name: "result in another topic", arrange: next(opSend, sandbox.Action{Status: 200,
			Body: `{"ok":true,"result":{"message_id":9,"message_thread_id":99999,"is_topic_message":true,"date":1,"chat":{"id":1,"type":"supergroup"}}}`}),
			reason: bridge.ReasonThreadGone, detail: "landed outside"},
		{name: "topic closed", options: refuseClosed, arrange: closed, reason: bridge.ReasonClosed, detail: "TOPIC_CLOSED"},
		{name: "topic closed, reopened", options: refuseClosed, arrange: closed, call: opReopen},
		{name: "topic open, reopened", call: opReopen},
		{name: "topic closed, to an administrator", arrange: closed, shown: "x"},
		{name: "group moved", kind: sandbox.Group, arrange: func(p *place, _ int) { p.server.Upgrade(p.chat) }, reason: bridge.ReasonMoved,
			scope: destination, detail: "upgraded"},
		{name: "kicked", arrange: rights(sandbox.BotRights{Status: sandbox.Kicked}), reason: bridge.ReasonAuth, scope: destination,
			detail: "add the bot to the operators' chat again"},
		{name: "kicked, opening", arrange: rights(sandbox.BotRights{Status: sandbox.Kicked}), call: opOpen, reason: bridge.ReasonAuth,
			scope: destination, detail: "add the bot"},
		{name: "token revoked", arrange: func(p *place, _ int) { p.server.Revoke() }, reason: bridge.ReasonAuth, scope: destination,
			detail: "check TELEGRAM_BOT_TOKEN"},
		{name: "conflict", arrange: next(opSend, sandbox.Fail(409, "Conflict: terminated by other request")), reason: bridge.ReasonTransient,
			scope: destination},
		{name: "too many requests", arrange: next(opSend, sandbox.FloodWait(7)), reason: bridge.ReasonRateLimited, scope: destination},
		{name: "too many topics", arrange: next(opOpen, sandbox.FloodWait(7)), call: opOpen, reason: bridge.ReasonRateLimited, scope: destination},
		{name: "500", arrange: next(opSend, sandbox.Fail(500, "Internal Server Error")), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear},
		{name: "504", arrange: next(opSend, sandbox.Fail(504, "Gateway Timeout")), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear},
		{name: "HTML, 502", arrange: next(opSend, sandbox.Page(502)), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear, detail: "HTTP 502"},
		{name: "HTML, 200", arrange: next(opSend, sandbox.Page(200)), reason: bridge.ReasonTransient, scope: destination, detail: "TELEGRAM_API_URL"},
		{name: "HTML, 403", arrange: next(opSend, sandbox.Page(403)), reason: bridge.ReasonTransient, scope: destination, detail: "TELEGRAM_API_URL"},
		{name: "no answer", arrange: next(opSend, sandbox.Action{Silence: true}), reason: bridge.ReasonUnconfirmed, detail: "time-out"},
		{name: "no answer, opening", arrange: next(opOpen, sandbox.Action{Silence: true}), call: opOpen, reason: bridge.ReasonUnconfirmed,
			detail: "time-out"},
		{name: "cut before", arrange: next(opSend, sandbox.Action{DropBefore: true}), reason: bridge.ReasonUnconfirmed, detail: "connection closed"},
		{name: "cut after", arrange: next(opSend, sandbox.Action{DropAfter: true}), reason: bridge.ReasonUnconfirmed, detail: "connection closed",
			shown: "x"},
		{name: "not reachable", arrange: func(p *place, _ int) { p.server.Close(); p.sends.CloseIdleConnections() },
			reason: bridge.ReasonTransient, scope: destination, detail: "connection refused"},
		{name: "unparsable", part: bridge.Part{Text: "<b>x", Plain: "x"}, reason: bridge.ReasonRejected, detail: "can't parse entities"},
		{name: "unparsable, plainly", part: bridge.Part{Text: "<b>x"}, shown: "<b>x"},
		{name: "too long", part: bridge.Part{Text: strings.Repeat("x", maxText+1)}, reason: bridge.ReasonRejected, detail: "message is too long"},
		{name: "reply to what is gone", part: bridge.Part{Text: "x", ReplyTo: "99999"}, shown: "x"},
		{name: "file, topic deleted", arrange: gone(sandbox.GoneNotFound), call: opFile, reason: bridge.ReasonThreadGone},
		{name: "file, topic deleted in silence", arrange: gone(sandbox.GoneSilent), call: opFile, reason: bridge.ReasonThreadGone,
			detail: "landed outside"},
		{name: "file, topic closed", options: refuseClosed, arrange: closed, call: opFile, reason: bridge.ReasonClosed},
		{name: "file, group moved", kind: sandbox.Group, arrange: func(p *place, _ int) { p.server.Upgrade(p.chat) }, call: opFile,
			reason: bridge.ReasonMoved, scope: destination},
		{name: "file, too many requests", arrange: next(opFile, sandbox.FloodWait(7)), call: opFile, reason: bridge.ReasonRateLimited,
			scope: destination},
		{name: "file, token revoked", arrange: func(p *place, _ int) { p.server.Revoke() }, call: opFile, reason: bridge.ReasonAuth,
			scope: destination},
		{name: "file, cut after", arrange: next(opFile, sandbox.Action{DropAfter: true}), call: opFile, reason: bridge.ReasonUnconfirmed},
		{name: "file, no answer", arrange: next(opFile, sandbox.Action{Silence: true}), call: opFile, reason: bridge.ReasonUnconfirmed,
			detail: "time-out"},
		{name: "file, 502", arrange: next(opFile, sandbox.Page(502)), call: opFile, reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear},
		{name: "file, too large", arrange: next(opFile, sandbox.Fail(413, "Request Entity Too Large")), call: opFile, reason: bridge.ReasonRejected,
			detail: "Too Large"},
		{name: "file, too large for a proxy", arrange: next(opFile, sandbox.Page(413)), call: opFile, reason: bridge.ReasonRejected,
			detail: "413"},
		{name: "file, no right", arrange: rights(sandbox.BotRights{Status: sandbox.Member, Muted: true}), call: opFile,
			reason: bridge.ReasonRejected, detail: "allow it in the group's permissions"},
		{name: "file, not allowed", arrange: next(opFile, sandbox.Fail(400, "Bad Request: CHAT_SEND_DOCS_FORBIDDEN")), call: opFile,
			reason: bridge.ReasonRejected, detail: "allow it in the group's permissions"},

		{name: "edited", call: opEdit, shown: "x"},
		{name: "edited, the same", call: opEdit, part: bridge.Part{Text: "before"}, shown: "before"},
		{name: "edited, gone", call: opEdit, message: "99999", reason: bridge.ReasonMessageGone, detail: "not found"},
		{name: "edited, of another group", call: opEdit, message: "-42/7", reason: bridge.ReasonMessageGone},
		{name: "edited, topic deleted", arrange: gone(sandbox.GoneNotFound), call: opEdit, reason: bridge.ReasonMessageGone},
		{name: "edited, too late", arrange: next(opEdit, sandbox.Fail(400, "Bad Request: message can't be edited")), call: opEdit,
			reason: bridge.ReasonTooLate},
		{name: "edited, a file", arrange: next(opEdit, sandbox.Fail(400, "Bad Request: there is no text in the message to edit")), call: opEdit,
			reason: bridge.ReasonTooLate},
		{name: "edited, unparsable", call: opEdit, part: bridge.Part{Text: "<b>x", Plain: "x"}, reason: bridge.ReasonRejected,
			detail: "can't parse entities"},
		{name: "edited, too many requests", arrange: next(opEdit, sandbox.FloodWait(7)), call: opEdit, reason: bridge.ReasonRateLimited,
			scope: destination},
		{name: "deleted", call: opDelete},
		{name: "deleted, gone", call: opDelete, message: "99999"},
		{name: "deleted, of another group", call: opDelete, message: "-42/7", reason: bridge.ReasonTooLate},
		{name: "deleted, after two days", arrange: func(p *place, topic int) {
			all := p.server.Messages(p.chat, topic)
			p.server.Backdate(all[len(all)-1], 48*time.Hour)
		}, call: opDelete, reason: bridge.ReasonTooLate, detail: "48 hours"},
		{name: "deleted, kicked", arrange: rights(sandbox.BotRights{Status: sandbox.Kicked}), call: opDelete, reason: bridge.ReasonAuth,
			scope: destination},
		{name: "closed", call: opClose},
		{name: "closed already", arrange: closed, call: opClose},
		{name: "closed, deleted", arrange: gone(sandbox.GoneNotFound), call: opClose, reason: bridge.ReasonThreadGone},
		{name: "closed, no topics any more", arrange: next(opClose, sandbox.Fail(400, "Bad Request: the chat is not a forum")), call: opClose,
			reason: bridge.ReasonThreadGone},
		{name: "closed, no right", arrange: next(opClose, sandbox.Fail(400, "Bad Request: not enough rights to close or open the topic")),
			call: opClose, reason: bridge.ReasonRejected, detail: "can_manage_topics"},
		{name: "reacted", call: opReact},
		{name: "reacted, gone", call: opReact, message: "99999", reason: bridge.ReasonMessageGone},
		{name: "reacted, not allowed", arrange: next(opReact, sandbox.Fail(400, "Bad Request: REACTION_INVALID")), call: opReact,
			reason: bridge.ReasonRejected},
		{name: "typing", call: opAction},
		{name: "typing, kicked", arrange: rights(sandbox.BotRights{Status: sandbox.Kicked}), call: opAction, reason: bridge.ReasonAuth,
			scope: destination},

		{name: "no right to open", arrange: noTopics, call: opOpen, reason: bridge.ReasonAuth, scope: bridge.ScopeOperation, detail: "can_manage_topics"},
		{name: "no right to write", arrange: rights(sandbox.BotRights{Status: sandbox.Member, Muted: true}), reason: bridge.ReasonAuth,
			scope: destination, detail: "can_send_messages"},
	} {
		t.Run(f.name, func(t *testing.T) {
			p := start(t, f.options, sandbox.Chat{Kind: f.kind})
			thread := bridgetest.Open(t, p, visitor())
			_, topic, _ := parseThread(thread)
			message := f.message
			switch f.call {
			case opEdit, opDelete, opReact:
				sent, err := p.Send(t.Context(), thread, bridge.Part{Text: "before"})
				if err != nil {
					t.Fatal(err)
				}
				if message == "" {
					message = sent[0]
				}
			}
			if f.arrange != nil {
				f.arrange(p, int(topic))
			}
			if f.detail == "time-out" {
				base := strings.TrimSuffix(p.base, "/bot"+p.server.Token()+"/")
				p.Telegram, _ = adapter(t, Config{Token: bridge.Secret(p.server.Token()), ChatID: p.chat, APIURL: base,
					Timeout: 3 * time.Second}) // for the call to be there, on a busy machine too
			}
			part, op := f.part, f.call
			if part.Text == "" {
				part = word
			}
			var ids []bridge.MessageID
			var err error
			switch op {
			case opOpen:
				_, _, err = p.OpenThread(t.Context(), visitor(), bridge.Opening{})
			case opRename:
				err = p.RenameThread(t.Context(), thread, "another name")
			case opReopen:
				err = p.ReopenThread(t.Context(), thread)
			case opClose:
				err = p.CloseThread(t.Context(), thread)
			case opEdit:
				err = p.Edit(t.Context(), thread, message, part)
			case opDelete:
				err = p.Delete(t.Context(), thread, message)
			case opReact:
				err = p.React(t.Context(), thread, message, bridge.SignRead)
			case opAction:
				err = p.ShowTyping(t.Context(), thread)
			case opFile:
				ids, err = p.Upload(t.Context(), thread, bridge.Part{}, []bridge.File{aFile("a.pdf", "application/pdf", "content")})
			default:
				op = opSend
				ids, err = p.Send(t.Context(), thread, part)
			}
			switch {
			case f.reason == "" && err != nil:
				t.Fatal(err)
			case f.reason == "":
				if op == opSend && len(ids) != 1 {
					t.Errorf("ids %q", ids)
				}
			default:
				d := reason(t, err)
				if d.Reason != f.reason || d.Scope != f.scope || d.Op != op || !strings.Contains(d.Detail, f.detail) {
					t.Errorf("%+v", *d)
				}
				if (d.Reason == bridge.ReasonRateLimited) != (d.RetryAfter == 7*time.Second) {
					t.Errorf("retry after %v", d.RetryAfter)
				}
			}
			if got := p.shown(thread); f.shown != "" && (len(got) != 1 || got[0].Text != f.shown) {
				t.Errorf("shown %+v", got)
			}
		})
	}
}

// A message of 4000 characters, of which each is two to Telegram, is split and whole.
func TestLongMessage(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	thread := bridgetest.Open(t, p, visitor())
	text := strings.Repeat("😀", bridge.MaxShown)
	ids := bridgetest.Deliver(t, p, thread, bridge.Outgoing{Text: text, Kind: bridge.KindMessage})
	whole := ""
	for _, s := range p.shown(thread) {
		if n := measure.Units(s.Text); n > maxText {
			t.Errorf("a part has %d units", n)
		}
		whole += s.Text
	}
	if len(ids) != 2 || whole != text {
		t.Errorf("%d messages, whole: %t", len(ids), whole == text)
	}
}

// The messages of a group that has become another one are not taken for messages of that one, in either direction.
func TestMessagesOfAMovedGroup(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{Kind: sandbox.Group})
	thread := bridgetest.Open(t, p, visitor())
	send := func(reply bridge.MessageID) bridge.MessageID {
		t.Helper()
		ids, err := p.Send(t.Context(), thread, bridge.Part{Text: "x", ReplyTo: reply})
		if err != nil {
			t.Fatal(err)
		}
		return ids[0]
	}
	old := map[bridge.MessageID]bool{}
	for range 3 {
		old[send("")] = true
	}
	to := p.server.Upgrade(p.chat)
	_, err := p.Send(t.Context(), thread, bridge.Part{Text: "x"})
	if err := p.Move(reason(t, err).MovedTo); err != nil {
		t.Fatal(err)
	}
	var after []bridge.MessageID
	for id := range old {
		after = append(after, send(id))
	}
	for _, id := range append(after, send(after[0])) {
		if old[id] {
			t.Errorf("two messages are called %s", id)
		}
	}
	messages := p.server.Messages(to, 0)
	for i, m := range messages[len(messages)-4:] {
		if (m.ReplyTo != 0) != (i == 3) {
			t.Errorf("message %d replies to %d", i, m.ReplyTo)
		}
	}
	m := p.server.Reply(messages[len(messages)-1], p.ana, "an answer")
	inbox, _, stop := listening(t, p, "")
	got := inbox.Wait(t, 1)
	_ = stop()
	if got[0].Message != messageID(to, int64(m.ID)) || old[got[0].ReplyTo] || got[0].ReplyToNumber != int64(m.ReplyTo) {
		t.Errorf("%+v", got[0])
	}
}

func TestMessageIDs(t *testing.T) {
	for _, c := range []struct {
		chat int64
		id   bridge.MessageID
	}{{-42, "-42/7"}, {-1000000000042, "7"}, {500, "7"}} {
		if got := messageID(c.chat, 7); got != c.id {
			t.Errorf("%d: %s", c.chat, got)
		}
		for _, other := range []int64{-42, -1000000000042, 500} {
			n, ok := parseMessage(c.id, other)
			if want := isBasic(other) == isBasic(c.chat); ok != want || ok && n != 7 {
				t.Errorf("%s in %d: %d %t", c.id, other, n, ok)
			}
		}
	}
	for _, id := range []bridge.MessageID{"", "0", "-1", "x", "-43/7", "-42/", "-42/x"} {
		if n, ok := parseMessage(id, -42); ok {
			t.Errorf("%q is message %d", id, n)
		}
	}
}

// A move that is kept is followed only as long as the chat that moved is the configured one.
func TestMoveAfterTheSettingChanged(t *testing.T) {
	for home, want := range map[int64]int64{-42: -1000000000007, -1000000000007: -1000000000007, -1000000000008: -1000000000008} {
		tg, _ := adapter(t, Config{Token: testToken, ChatID: home})
		if err := tg.Move("-42>-1000000000007"); err != nil || tg.chat != want {
			t.Errorf("%d: %d %v", home, tg.chat, err)
		}
		chat, _, fault := tg.find(flatThread(-42, "s"), opSend)
		if known := home != -1000000000008; known != (fault == nil) || known && chat != want {
			t.Errorf("%d: %d %v", home, chat, fault)
		}
	}
}

// Another program that polls is said once for as long as it does, and left alone; what it leaves is received.
func TestRival(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	p.conflictWait, p.conflictCalm = time.Millisecond, time.Nanosecond
	p.pollFor = 0
	const conflict = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
	var there atomic.Bool
	var polls atomic.Int32
	p.server.On(opPoll, func(sandbox.Call) sandbox.Action {
		polls.Add(1)
		if there.Load() {
			return sandbox.Fail(409, conflict)
		}
		return sandbox.Action{}
	})
	inbox, ended, stop := listening(t, p, "")
	const said, over = "another program receives updates", "no other program receives updates"
	for spell := 1; spell <= 2; spell++ {
		there.Store(true)
		for met := polls.Load(); polls.Load() < met+5; {
			<-time.After(time.Millisecond)
		}
		if n := strings.Count(p.logs.String(), said); n != spell {
			t.Errorf("spell %d: said %d times", spell, n)
		}
		there.Store(false)
		p.say(generalThread(p.chat), fmt.Sprint(spell), "")
		inbox.Wait(t, spell)
		p.says(t, over, spell)
	}
	select {
	case err := <-ended:
		t.Errorf("it ended: %v", err)
	default:
	}
	_ = stop()
}

// The poll of a bridge that has just gone, still held by Telegram, is no reason to say anything.
func TestTakeOver(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	p.conflictWait = time.Millisecond
	old, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		_, err := p.poll(old, 1)
		gone <- err
	}()
	if err := p.server.Wait(t.Context(), p.server.Polling); err != nil {
		t.Fatal(err)
	}
	p.server.Next(opPoll, sandbox.Fail(409, "Conflict: terminated by other getUpdates request"))
	inbox, _, stop := listening(t, p, "")
	if err := <-gone; !saysConflict(err) {
		t.Errorf("the old poll ended with %v", err)
	}
	p.say(generalThread(p.chat), "hello", "")
	inbox.Wait(t, 1)
	_ = stop()
	if strings.Contains(p.logs.String(), "another program") {
		t.Error("it is said")
	}
}

func TestRivalWaits(t *testing.T) {
	tg, _ := adapter(t, Config{Token: testToken, ChatID: -100})
	var r conflictTracker
	now := time.Unix(1_800_000_000, 0)
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 60, 60} {
		if got := tg.conflict(&r, now); got != want*time.Second {
			t.Errorf("%v, want %v", got, want*time.Second)
		}
	}
	if tg.noConflict(&r, now.Add(conflictCalm-1)); r.conflicts == 0 {
		t.Error("the spell is over too soon")
	}
	if tg.noConflict(&r, now.Add(conflictCalm)); r != (conflictTracker{}) {
		t.Error("the spell is not over")
	}
}
