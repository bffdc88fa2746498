package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	table "github.com/pocketping/bridge/internal/words"
)

// team is a house with operators on three platforms, and with the real presence.
type team struct {
	*house
	places map[string]*bridgetest.Platform
	people *people.Presence
	asked  int
}

var platformNames = []string{"telegram", "discord", "slack"}

// newTeam makes a team; adjust may set further options of both.
func newTeam(t *testing.T, adjust func(*relay.Options, *people.Options)) *team {
	t.Helper()
	tm := &team{places: map[string]*bridgetest.Platform{}}
	var platforms []bridge.Platform
	for _, name := range platformNames {
		p := bridgetest.NewPlatform(name)
		p.Bears.Concurrency = 8
		p.Bears.Rings = true
		p.Bears.Quotes = name == "slack"
		tm.places[name] = p
		platforms = append(platforms, p)
	}
	tm.house = newHouse(t, platforms...)
	tm.receivers.ids = []string{"app"}
	tm.adjust = func(o *relay.Options) func(context.Context) {
		p := people.Options{OnReply: true, Log: slog.New(slog.DiscardHandler)}
		if adjust != nil {
			adjust(o, &p)
		}
		tm.people = people.New(tm.store, p)
		o.Presence = tm.people
		return func(ctx context.Context) {
			if err := tm.people.Load(ctx); err != nil {
				t.Error(err)
			}
			tm.people.Run(ctx)
		}
	}
	tm.start()
	synctest.Wait()
	return tm
}

// thread returns a session's present thread on a platform.
func (tm *team) thread(platform, session string) bridge.ThreadID {
	tm.t.Helper()
	all := tm.places[platform].Threads(session)
	if len(all) == 0 {
		tm.t.Fatalf("%s has no thread on %s", session, platform)
	}
	return all[len(all)-1]
}

// update is what an author writes on a platform. A text that begins with a slash is a command in the platform's own form.
func (tm *team) update(thread bridge.ThreadID, author, text string, replyTo bridge.MessageID) bridge.Update {
	tm.asked++
	u := bridge.Update{
		Kind: bridge.UpdateMessage, Thread: thread, Message: bridge.MessageID(fmt.Sprint("asked-", tm.asked)), ReplyTo: replyTo,
		Author: bridge.Author{ID: "u-" + author, Name: author}, Text: text,
	}
	if cmd, ok := strings.CutPrefix(text, "/"); ok {
		name, args, _ := strings.Cut(cmd, " ")
		u.Command = &bridge.Command{Name: name, Args: args}
	}
	return u
}

// do lets an author write something, and returns what the bridge answers, and what happens.
func (tm *team) do(platform string, u bridge.Update) (answer string, effects []string) {
	tm.t.Helper()
	p := tm.places[platform]
	before := tm.last()
	p.Tell(u)
	synctest.Wait()
	var answers []string
	for _, s := range p.Shown(u.Thread) {
		if s.ReplyTo == u.Message {
			answers = append(answers, s.Text)
		}
	}
	return strings.Join(answers, " | "), tm.effects(before)
}

func (tm *team) say(platform string, thread bridge.ThreadID, author, text string) (answer string, effects []string) {
	tm.t.Helper()
	return tm.do(platform, tm.update(thread, author, text, ""))
}

func (tm *team) last() bridge.Seq {
	tm.t.Helper()
	last, err := tm.store.Last(tm.t.Context())
	if err != nil {
		tm.t.Fatal(err)
	}
	return last
}

// effects are the events that app servers are told of, after one of the log: the type, and what matters of the body.
func (tm *team) effects(after bridge.Seq) []string {
	tm.t.Helper()
	entries, err := tm.store.Read(tm.t.Context(), after, 1000, 0)
	if err != nil {
		tm.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if !e.Event.FromOperators() || e.Event.Type == bridge.TypeMessageDelivered {
			continue
		}
		var body map[string]any
		if err := json.Unmarshal(e.Event.Body, &body); err != nil {
			tm.t.Fatal(err)
		}
		if e.Event.Type == bridge.TypeOperatorStatus {
			var s bridge.OperatorStatus
			if err := json.Unmarshal(e.Event.Body, &s); err != nil {
				tm.t.Fatal(err)
			}
			text := "operator_status"
			for _, op := range s.Operators {
				text += fmt.Sprintf(" %s=%s,%s", op.Name, op.Status, op.Reason)
			}
			out = append(out, text)
			continue
		}
		text := string(e.Event.Type)
		for _, key := range slices.Sorted(maps.Keys(body)) {
			switch key {
			case "sessionId", "messageId", "deletedAt", "editedAt", "requestedAt", "replyToMessageId", "operatorId":
			default:
				text += fmt.Sprintf(" %s=%v", key, body[key])
			}
		}
		out = append(out, text)
	}
	return out
}

func oneOf(texts []string) string { return strings.Join(texts, "; ") }

// commandCase is a command and what comes of it in a visitor's thread, and outside.
type commandCase struct {
	text       string
	answer     string // a part of it, in a thread; empty: none
	effect     string // P is the platform
	reply      string // what it replies to: own, visitor, other; empty: nothing
	everywhere string // what every thread of the session shows
	outside    string // a part of the answer outside threads; empty: as in a thread, with the same effect
}

const inThread = "write it in the visitor's thread"

func commandCases() []commandCase {
	here := "operator_status Ana=online,command"
	return []commandCase{
		{text: "online", answer: "You are online. Visitors see the team online.", effect: here},
		{text: "online 2h", answer: "You are online until ", effect: here},
		{text: "online until 23:59", answer: "You are online until 23:59 UTC.", effect: here},
		{text: "online soon", answer: `I cannot read “soon” as a time. Write /online 2h`},
		{text: "away", answer: "You are away.", effect: "operator_status Ana=away,command"},
		{text: "away 1h30m", answer: "You are away until ", effect: "operator_status Ana=away,command"},
		{text: "away until 25:00", answer: `I cannot read “until 25:00” as a time.`},
		{text: "offline", answer: "You are offline.", effect: "operator_status Ana=offline,command"},
		{text: "offline 2h", answer: "/offline takes nothing after it. Nothing was done."},
		{text: "status", answer: "nobody has said !online yet"},
		{text: "who", answer: "1 open conversation, 1 waiting for an answer"},
		{text: "status please", answer: "/status takes nothing after it."},
		{text: "info", answer: "Visitor: Mia\nKnown as: u1\nVisitor id: v-1\nSession: s", outside: inThread},
		{text: "info all", answer: "/info takes nothing after it."},
		{text: "r how are you?", effect: "operator_message content=how are you? operatorName=Ana sourceBridge=P; operator_status Ana=online,reply",
			outside: inThread},
		{text: "reply how are you?", effect: "operator_message content=how are you? operatorName=Ana sourceBridge=P; operator_status Ana=online,reply",
			outside: inThread},
		{text: "r", answer: "/r needs something after it: /r text. Nothing was done."},
		{text: "send /as it is", effect: "operator_message content=/as it is operatorName=Ana sourceBridge=P; operator_status Ana=online,reply",
			outside: inThread},
		{text: "send", answer: "Nothing that you wrote here waits to be sent.", outside: inThread},
		{text: "note secret-talk", everywhere: "📝 Ana (P), not for the visitor: secret-talk", outside: inThread},
		{text: "note", answer: "/note needs something after it"},
		{text: "claim @Nobody", answer: `I know no other operator yet.`, outside: inThread},
		{text: "assign Nobody", answer: `I know no other operator yet.`, outside: inThread},
		{text: "assign", answer: "/assign needs something after it: /assign @name."},
		{text: "ok", answer: "Nobody is asked to take care of this visitor.", outside: inThread},
		{text: "remind 2h call back", answer: "You are reminded here at ", outside: inThread},
		{text: "remind until 23:59", answer: "You are reminded here at 23:59 UTC", outside: inThread},
		{text: "remind me", answer: `I cannot read a time in “me”.`, outside: inThread},
		{text: "remind", answer: "/remind needs something after it: /remind 2h [text]."},
		{text: "claim", effect: "conversation_assigned operatorName=Ana", everywhere: "✋ Ana (P) takes care of this visitor.", outside: inThread},
		{text: "unclaim", answer: "Nobody has claimed this visitor.", outside: inThread},
		{text: "find mi", answer: "Found by “mi”, the newest first:\n🔎 Mia · 00:0"},
		{text: "find nobody", answer: `Nobody is found by “nobody”.`},
		{text: "find", answer: "/find needs something after it: /find text."},
		{text: "history", answer: "This is the first conversation with this visitor.", outside: inThread},
		{text: "transcript", answer: "Conversations are not kept here: TRANSCRIPTS=on keeps", outside: inThread},
		{text: "transcript all", answer: "/transcript takes nothing after it."},
		{text: "history all", answer: "/history takes nothing after it."},
		{text: "block rude", effect: "visitor_blocked blocked=true operatorName=Ana", outside: inThread,
			everywhere: "🚫 Ana (P) has blocked this visitor: rude. What they do is not shown here. !unblock ends it."},
		{text: "block", effect: "visitor_blocked blocked=true operatorName=Ana", outside: inThread,
			everywhere: "🚫 Ana (P) has blocked this visitor. What they do is not shown here. !unblock ends it."},
		{text: "unblock", answer: "This visitor is not blocked.", outside: inThread},
		{text: "unblock nobody", answer: "This visitor is not blocked. /blocked tells who is."},
		{text: "blocked", answer: "Nobody is blocked."},
		{text: "blocked all", answer: "/blocked takes nothing after it."},
		{text: "canned", answer: "There are no canned replies."},
		{text: "canned add x-1 secret-talk and more", answer: "!x-1 in a visitor's thread sends that."},
		{text: "canned remove x-1", answer: `There is no canned reply “x-1”.`},
		{text: "canned add close secret-talk", answer: "!close is a command; take another name. Nothing was done."},
		{text: "canned add a/b secret-talk", answer: "A canned reply's name has up to 32 letters"},
		{text: "canned add x", answer: "What is it to say?"},
		{text: "canned frobnicate", answer: "/canned does not take that: /canned [add name text|remove name]."},
		{text: "read", answer: "The visitor's message is marked as read.", effect: "message_read messageIds=[m1] sourceBridge=P status=read", outside: inThread},
		{text: "delete", reply: "own", effect: "operator_message_deleted", outside: inThread},
		{text: "delete", answer: "Write /delete in reply to the message of yours", outside: inThread},
		{text: "delete", reply: "visitor", answer: "That is no message of yours that the visitor sees.", outside: inThread},
		{text: "delete", reply: "other", answer: "That is somebody else's message. Nothing was done.", outside: inThread},
		{text: "close", effect: "session_closed operatorName=Ana sourceBridge=P", everywhere: "✅ Ana (P) has closed the conversation.", outside: inThread},
		{text: "close now", answer: "/close takes nothing after it. Nothing was done."},
		{text: "reopen", answer: "The conversation is open.", outside: inThread},
		{text: "csat", answer: "The visitor is asked for a rating.", effect: "csat_request", outside: inThread},
		{text: "rate", answer: "The visitor is asked for a rating.", effect: "csat_request", outside: inThread},
		{text: "ai on", answer: "The AI answers this visitor from here on", effect: "ai_toggle enabled=true", outside: inThread},
		{text: "ai OFF", answer: "The AI does not answer this visitor any more.", effect: "ai_toggle enabled=false", outside: inThread},
		{text: "ai perhaps", answer: "/ai does not take that: /ai on|off."},
		{text: "ai", answer: "/ai needs something after it: /ai on|off."},
		{text: "name Anastasia of Support", answer: "Visitors see you as Anastasia of Support.", effect: "operator_status Anastasia of Support=offline,command"},
		{text: "name " + strings.Repeat("x", 61), answer: "A name has at most 60 characters."},
		{text: "link", answer: "on the other platform within ten minutes", effect: "operator_status Ana=offline,command"},
		{text: "link NOSUCH", answer: "I do not know this code."},
		{text: "unlink", answer: "This account is not linked with another."},
		{text: "unlink me", answer: "/unlink takes nothing after it."},
		{text: "id", answer: "You are Ana.\nOPERATORS=P:u-Ana\n"},
		{text: "help", answer: "What you write here goes to the visitor. Commands do not (", outside: "What you write here goes to nobody. Commands ("},
		{text: "commands", answer: "help name says what one does.", outside: "In a visitor's thread: "},
		{text: "help away", answer: "away [duration|until time] – you are away for a while (2h, 30m, until 14:00)."},
		{text: "help /reply", answer: "r text – sends the text to the visitor. In a visitor's thread. Also: "},
		{text: "help awy", answer: "help lists all commands."},
	}
}

// Every command on every platform: in a thread and outside, in the platform's own form and as text, from a stranger, and made
// of a message that was sent. With SOAK=1 each of it with each; else the forms take turns over the platforms, and the platforms over
// the commands that are given outside.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	for i, platform := range platformNames {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for n, c := range commandCases() {
					for _, mark := range []string{"/", "!"} {
						turn := strings.Count(mark, "!") + i
						if soak.Asked() || (turn+n)%2 == 0 {
							testInThread(t, c, platform, mark)
						}
						if soak.Asked() || (turn+n)%len(platformNames) == 0 {
							testOutside(t, c, platform, mark)
						}
					}
				}
			})
		})
	}
}

// onCase is a case on a platform, with a visitor's thread at hand.
type onCase struct {
	*team
	commandCase
	platform string
	session  string
	replies  map[string]bridge.MessageID
}

// onCase makes the thread of a case, with what the case replies to.
func (tm *team) onCase(c commandCase, platform string) *onCase {
	tm.t.Helper()
	session, visitor := fmt.Sprint("s", tm.asked), "v-1"
	if strings.HasPrefix(c.text, "block") || c.text == "history" { // the next case is another visitor's
		visitor = session
	}
	tm.ingest(fmt.Sprintf(`{"type":"visitor_message","session":{"id":%q,"visitorId":%q,"identity":{"id":"u1","name":"Mia"}},`+
		`"message":{"id":"m1","sessionId":%q,"content":"hello"}}`, session, visitor, session))
	synctest.Wait()
	on := &onCase{team: tm, commandCase: c, platform: platform, session: session}
	on.replies = map[string]bridge.MessageID{"visitor": tm.places[platform].Shown(on.at())[0].ID}
	for reply, author := range map[string]string{"own": "Ana", "other": "Ben"} {
		if c.reply == reply {
			u := tm.update(on.at(), author, "an answer", "")
			tm.do(platform, u)
			on.replies[reply] = u.Message
		}
	}
	time.Sleep(2 * time.Second) // the sum of the conversations is written once a second
	return on
}

func (on *onCase) at() bridge.ThreadID { return on.thread(on.platform, on.session) }

// asOn is a text that names commands as it names them on a platform.
func asOn(platform, text string) string {
	if platform == "slack" {
		return table.Marked(text, "!")
	}
	return text
}

// give lets an author give the case's command, and checks what comes of it.
func (on *onCase) give(how string, u bridge.Update, wantAnswer, wantEffect string) {
	on.t.Helper()
	wantAnswer = asOn(on.platform, strings.ReplaceAll(wantAnswer, "P:", on.platform+":"))
	wantEffect = strings.ReplaceAll(wantEffect, "=P", "="+on.platform)
	answer, effects := on.do(on.platform, u)
	if wantAnswer == "" && answer != "" || !strings.Contains(answer, wantAnswer) {
		on.t.Errorf("%s, %s: answered with %q, want %q", on.text, how, answer, wantAnswer)
	}
	if got := oneOf(effects); got != wantEffect {
		on.t.Errorf("%s, %s: got %q, want %q", on.text, how, got, wantEffect)
	}
}

// testInThread gives a command in a thread, in the form that a mark makes.
func testInThread(t *testing.T, c commandCase, platform, mark string) {
	tm := newTeam(t, func(o *relay.Options, _ *people.Options) {
		o.Operators = []string{platform + ":u-Ana", platform + ":u-Ben"}
	})
	defer tm.stop()
	on := tm.onCase(c, platform)
	name, args, _ := strings.Cut(c.text, " ")

	// A stranger first: nothing happens, and that is said once.
	refused, again := "This was not sent to the visitor, Eve: you are not one of the operators.", ""
	switch name {
	case "id":
		refused, again = "OPERATORS=P:u-Eve", "OPERATORS=P:u-Eve"
	case "help", "commands":
		refused, again = c.answer, c.answer
	}
	on.give("from a stranger", tm.update(on.at(), "Eve", mark+c.text, on.replies[c.reply]), refused, "")
	on.give("from a stranger, again", tm.update(on.at(), "Eve", mark+c.text, on.replies[c.reply]), again, "")

	on.give(mark+" in a thread", tm.update(on.at(), "Ana", mark+c.text, on.replies[c.reply]), c.answer, c.effect)
	if c.everywhere != "" {
		text := strings.ReplaceAll(c.everywhere, "(P)", "("+strings.ToUpper(platform[:1])+platform[1:]+")")
		for _, other := range platformNames {
			if shown := tm.places[other].Texts(tm.thread(other, on.session)); !slices.Contains(shown, text) {
				t.Errorf("%s: %s shows %q", c.text, other, shown)
			}
		}
	}

	// Another thread, where a message that was sent is made a command.
	on = tm.onCase(c, platform)
	sent := tm.update(on.at(), "Ben", "plain", "")
	tm.do(platform, sent)
	edit := tm.update(on.at(), "Ben", mark+c.text, "")
	edit.Kind, edit.Message, edit.Edited = bridge.UpdateEdit, sent.Message, time.Now()
	if (name == "r" || name == "reply" || name == "send") && args != "" {
		on.give("made of a message", edit, "", "operator_message_edited content="+args)
	} else {
		on.give("made of a message", edit, "A message that was sent does not become a command.", "")
	}
	tm.secret()
}

// testOutside gives a command outside of all threads.
func testOutside(t *testing.T, c commandCase, platform, mark string) {
	tm := newTeam(t, nil)
	defer tm.stop()
	on := tm.onCase(c, platform)
	answer, effect := c.answer, c.effect
	if c.outside != "" {
		answer, effect = c.outside, ""
	}
	on.give(mark+" outside", tm.update("main", "Ana", mark+c.text, ""), answer, effect)
	tm.secret()
}

// secret fails the test when an app server is told of a command or of talk among operators.
func (tm *team) secret() {
	tm.t.Helper()
	for _, e := range tm.receivers.entries("app") {
		if body := string(e.Wire()); strings.Contains(body, "secret-talk") || e.Event.Type == bridge.TypeAnswer {
			tm.t.Errorf("the app is told: %s", body)
		}
	}
}
