package discord

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// again returns another adapter for the same channel, as after a restart.
func (p *place) again(t *testing.T) *place {
	t.Helper()
	other := *p
	other.Discord, other.logs = adapter(t, p.config())
	return &other
}

// justBegun is an inbox of a platform that came to be served after all that was written so far: none of that is its business. The
// seconds cover what is not known of Discord's clock.
func justBegun() *bridgetest.Inbox {
	inbox := bridgetest.NewInbox("")
	inbox.Began = time.Now().Add(3 * time.Second)
	return inbox
}

// What was written while nobody listened is accepted once and in the order in which it was written: in threads that are active, in
// those that were archived since, in the channel itself, and over several pages.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]sandbox.Kind{"text": sandbox.Text, "forum": sandbox.Forum} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{}, kind)
			var threads []bridge.ThreadID
			for i := range 4 {
				threads = append(threads, bridgetest.Open(t, p.Discord, session(strconv.Itoa(i), "Maria")))
			}
			quiet := bridgetest.Open(t, p.Discord, session("quiet", "Maria"))
			p.say(quiet, "of before", "")
			p.server.ArchiveThread(p.thread(quiet), p.ana)
			inbox := justBegun()
			l := listen(t, p.Discord, inbox)
			p.until(t, func() bool { return p.server.Connected() == 1 })
			n := 0
			say := func(thread bridge.ThreadID) {
				p.say(thread, strconv.Itoa(n), "")
				n++
			}
			say(threads[0])
			checkOnce(t, inbox, n)
			_ = l.stop()

			for i := range 230 {
				say(threads[i%3])
				switch i {
				case 10, 20, 30: // one page and more
					for range 60 {
						say(threads[3])
					}
				case 50:
					p.server.ArchiveThread(p.thread(threads[3]), p.ana)
				case 60:
					if kind == sandbox.Text {
						say(p.threadID(""))
					}
				case 70:
					// Of nobody's interest: our own, another bot's, another channel's, a system message.
					bridgetest.Deliver(t, p.Discord, threads[1], bridge.Outgoing{Text: "ours", Kind: bridge.KindMessage})
					p.server.Say(p.thread(threads[1]), p.server.AddUser(sandbox.User{Name: "other", Bot: true}).ID, "a bot's")
					elsewhere := p.server.AddChannel(sandbox.Channel{Name: "elsewhere"})
					p.server.Say(elsewhere, p.ana, "elsewhere")
					p.server.OpenThread(elsewhere, p.ana, "other", "a thread elsewhere")
					p.server.RenameThread(p.thread(threads[2]), p.ana, "renamed by hand")
				}
			}
			p.server.ArchiveThread(p.thread(threads[2]), p.ana)

			next := p.again(t)
			l = listen(t, next.Discord, inbox)
			checkOnce(t, inbox, n)
			say(threads[0])
			checkOnce(t, inbox, n)
			_ = l.stop()
			for _, u := range inbox.Messages() {
				if u.Author.Name != "Ana" {
					t.Fatalf("a message is by %+v", u.Author)
				}
			}
			p.checkSafe(t)
			next.checkSafe(t)
		})
	}
}

// However many threads were archived since, all are read.
func TestCatchUpOfManyThreads(t *testing.T) {
	t.Parallel()
	const n = 230
	p := start(t, sandbox.Options{}, sandbox.Text)
	inbox := bridgetest.NewInbox(p.now())
	for i := range n {
		thread := p.server.OpenThread(p.room, p.ana, "thread", "")
		p.server.Say(thread.ID, p.ana, strconv.Itoa(i))
		p.server.ArchiveThread(thread.ID, "")
	}
	l := listen(t, p.Discord, inbox)
	checkOnce(t, inbox, n)
	_ = l.stop()
	if pages := p.server.Count("list_public_archived_threads"); pages < 3 {
		t.Errorf("%d pages were read", pages)
	}
}

// A restart in the middle of catching up, at any message, loses none and tells none twice to an inbox that knows ids.
func TestCatchUpIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	const n = 12
	one, two := bridgetest.Open(t, p.Discord, session("1", "Maria")), bridgetest.Open(t, p.Discord, session("2", "Eva"))
	inbox := bridgetest.NewInbox(p.now())
	for i := range n {
		p.say([]bridge.ThreadID{one, two}[i%2], strconv.Itoa(i), "")
	}
	refusal := errors.New("the store is full")
	known := map[string]bool{}
	allowed := 0
	inbox.Before = func(_ context.Context, u bridge.Update) error {
		if u.Kind != bridge.UpdateMessage || known[u.ID] {
			return nil
		}
		if allowed == 0 {
			return refusal
		}
		allowed--
		known[u.ID] = true
		return nil
	}
	for range n - 1 {
		allowed = 1
		if err := await(t, listen(t, p.again(t).Discord, inbox).ended); !errors.Is(err, refusal) {
			t.Fatalf("Listen ended with %v", err)
		}
	}
	allowed = 1
	l := listen(t, p.again(t).Discord, inbox)
	checkOnce(t, inbox, n)
	_ = l.stop()
}

// Messages of several threads may be told in another order than their ids have. None is passed over when the bridge ends then.
func TestToldInAnotherOrder(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	one, two := bridgetest.Open(t, p.Discord, session("1", "Maria")), bridgetest.Open(t, p.Discord, session("2", "Eva"))
	inbox := bridgetest.NewInbox("")
	l := listen(t, p.Discord, inbox)
	p.settle(t, inbox, two)
	release := p.server.HoldEvents()
	first := p.say(one, "first", "")
	_ = l.stop()
	release()
	// The others are told before it, and the bridge is gone then.
	r := &receiver{d: p.Discord, inbox: inbox}
	r.pos, _ = parsePosition(must(inbox.Cursor(t.Context(), "")))
	for i := range 3 {
		<-time.After(3 * time.Millisecond)
		id := p.say(two, strconv.Itoa(i), "")
		err := r.accept(t.Context(), bridge.Update{ID: "message:" + string(id), Kind: bridge.UpdateMessage, Thread: two, Message: id, Text: strconv.Itoa(i)})
		if err != nil {
			t.Fatal(err)
		}
	}

	l = listen(t, p.again(t).Discord, inbox)
	said := func() []bridge.Update { return inbox.Messages()[settling:] }
	inbox.Wait(t, settling+4)
	p.say(two, "last", "")
	inbox.Wait(t, settling+5)
	_ = l.stop()
	if got := said(); len(got) != 5 || got[3].Message != first || got[4].Text != "last" {
		t.Errorf("accepted %q", texts(got))
	}
}

// settling is how many messages settle brings.
const settling = 2

// settle returns when the past has been read, and what is told live comes: of two messages the second is told after it.
func (p *place) settle(t *testing.T, inbox *bridgetest.Inbox, thread bridge.ThreadID) {
	t.Helper()
	before := len(inbox.Messages())
	for i := range settling {
		p.say(thread, "settling", "")
		inbox.Wait(t, before+i+1)
	}
}

func must(text string, err error) string {
	if err != nil {
		panic(err)
	}
	return text
}

// Without a cursor what was written before Discord came to be served counts for nothing, and what is written from then on is not lost
// even if the bridge ends before it hears of it.
func TestBeginsNow(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	p.say(thread, "of before", "")
	inbox := justBegun()
	p.server.Greet(sandbox.Greeting{Silent: true})
	l := listen(t, p.Discord, inbox)
	inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Cursor != "" })
	_ = l.stop()
	p.say(thread, "0", "")
	p.server.Greet(sandbox.Greeting{})
	l = listen(t, p.again(t).Discord, inbox)
	checkOnce(t, inbox, 1)
	_ = l.stop()
}

// While the past is read, live messages wait behind it.
func TestLiveMessagesWait(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	for i := range 5 {
		p.say(thread, strconv.Itoa(i), "")
	}
	hold := make(chan struct{})
	p.server.Next("list_messages", sandbox.Action{Hold: hold})
	asked := p.server.Await(sandbox.Received, "list_messages")
	l := listen(t, p.Discord, inbox)
	await(t, asked)
	for i := 5; i < 10; i++ {
		p.say(thread, strconv.Itoa(i), "")
	}
	if got := inbox.Messages(); len(got) > 0 {
		t.Errorf("%d messages were accepted before the past was read", len(got))
	}
	close(hold)
	checkOnce(t, inbox, 10)
	p.say(thread, "10", "")
	checkOnce(t, inbox, 11) // what came twice would have come by now
	_ = l.stop()
}

// A call that fails while the past is read is made again; for a limit of pace as long as it takes.
func TestCatchUpMeetsFaults(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	one, gone := bridgetest.Open(t, p.Discord, session("1", "Maria")), bridgetest.Open(t, p.Discord, session("2", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	p.say(one, "0", "")
	p.say(gone, "lost with its thread", "")
	p.server.Next("list_messages", sandbox.RateLimited(20*time.Millisecond), sandbox.Page(502), sandbox.Action{DropBefore: true})
	p.server.Next("list_public_archived_threads", sandbox.GlobalLimited(20*time.Millisecond), sandbox.Fail(500, 0, "Internal Server Error"))
	p.server.On("list_messages", func(c sandbox.Call) sandbox.Action {
		if c.Thread == p.thread(gone) || c.Place == p.thread(gone) {
			return sandbox.Fail(http.StatusNotFound, 10003, "Unknown Channel")
		}
		return sandbox.Action{}
	})
	l := listen(t, p.Discord, inbox)
	checkOnce(t, inbox, 1)
	_ = l.stop()

	p.server.On("list_messages", func(sandbox.Call) sandbox.Action { return sandbox.Page(http.StatusBadGateway) })
	p.say(one, "1", "")
	err := await(t, listen(t, p.again(t).Discord, inbox).ended)
	if platform.ReasonOf(err) != bridge.ReasonTransient {
		t.Errorf("Listen ended with %v", err)
	}
	p.checkSafe(t, err)
}

// An update is the same one live and caught up: its id is the same.
func TestIDsAreStable(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	cursor := p.now()
	inbox := bridgetest.NewInbox(cursor)
	l := listen(t, p.Discord, inbox)
	ids := []bridge.MessageID{p.say(thread, "0", ""), p.say(thread, "1", "")}
	inbox.Wait(t, 2)
	p.server.Edit(p.message(thread, ids[1]), "better")
	live := inbox.WaitFor(t, 3, func(bridge.Update) bool { return true })
	// What is no edit is none: a preview, a pin.
	p.server.Unfurl(p.message(thread, ids[1]), sandbox.Embed{Title: "preview"})
	p.server.Unfurl(p.message(thread, ids[0]), sandbox.Embed{Title: "preview"})
	p.server.Pin(p.message(thread, ids[0]), p.ana)
	last := p.say(thread, "2", "")
	live = append(live[:3:3], inbox.Wait(t, 3)[2])
	for _, u := range inbox.All() {
		if u.Kind == bridge.UpdateEdit && u.ID != live[2].ID {
			t.Errorf("an edit that is none: %+v", u)
		}
	}
	_ = l.stop()

	other := bridgetest.NewInbox(cursor)
	l = listen(t, p.again(t).Discord, other)
	caught := other.Wait(t, 3)
	_ = l.stop()
	if caught[0].ID != live[0].ID || caught[1].ID != live[1].ID || caught[2].ID != live[3].ID || caught[2].Message != last {
		t.Errorf("live\n%+v\ncaught up\n%+v", live, caught)
	}
	if caught[1].Text != "better" {
		t.Errorf("an edited message was read as %q", caught[1].Text)
	}
	// With the cursor of a message that was edited since, the edit is told, under the id that it had live.
	again := bridgetest.NewInbox(live[1].Cursor)
	l = listen(t, p.again(t).Discord, again)
	again.Wait(t, 1)
	_ = l.stop()
	edits := slices.DeleteFunc(again.All(), func(u bridge.Update) bool { return u.Kind != bridge.UpdateEdit })
	if len(edits) != 1 || edits[0].ID != live[2].ID || edits[0].Text != "better" {
		t.Errorf("of the edit the second bridge learns %+v", edits)
	}
}

// Changes, deletions of many, reactions, typing: of people, in the operators' place, and no others.
func TestListenToEverything(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	tester := p.server.AddUser(sandbox.User{Name: "tester", Bot: true})
	p.testBots[tester.ID] = true
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	ours := bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: "question", Kind: bridge.KindMessage})[0]
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	p.settle(t, inbox, thread)

	role := p.server.AddRole("Team", true)
	p.server.Say(p.thread(thread), p.ana, fmt.Sprintf("**hi** <@%s> <@&%s> <#%s> <t:0:d>", tester.ID, role, p.room))
	u := inbox.Wait(t, settling+1)[settling]
	if !strings.HasPrefix(u.Text, "hi @tester @") || !strings.HasSuffix(u.Text, "#support 1 January 1970") {
		t.Errorf("it reads %q", u.Text)
	}
	p.server.Say(p.thread(thread), tester.ID, "a test")
	if u := inbox.Wait(t, settling+2)[settling+1]; u.Author.Name != "tester" || u.Text != "a test" {
		t.Errorf("the test bot's message is %+v", u)
	}
	p.server.Say(p.room, p.ana, "!status")
	if u := inbox.Wait(t, settling+3)[settling+2]; u.Thread != p.MainThread() || u.Thread == "" || u.Text != "!status" {
		t.Errorf("a message in the channel itself is %+v", u)
	}
	p.server.React(p.message(thread, ours), p.ana, "🎉")
	p.server.Unreact(p.message(thread, ours), p.ana, "🎉")
	p.server.Typing(p.thread(thread), p.ana)
	p.server.PushEvent("MESSAGE_DELETE_BULK", map[string]any{"ids": []string{"5", "6"}, "channel_id": p.thread(thread), "guild_id": p.server.Guild()})
	p.server.PushEvent("MESSAGE_DELETE", map[string]any{"id": "7", "channel_id": "8", "guild_id": "9"})
	end := p.say(thread, "end", "")
	inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Message == end })
	kinds := map[bridge.UpdateKind]int{}
	for _, u := range inbox.All() {
		kinds[u.Kind]++
		if u.Kind == bridge.UpdateTyping && (u.Thread != thread || u.Author.Name != "Ana" || u.ID != "" || u.Cursor != "") {
			t.Errorf("the typing is %+v", u)
		}
	}
	if kinds[bridge.UpdateReaction] != 1 || kinds[bridge.UpdateTyping] != 1 || kinds[bridge.UpdateDelete] != 2 || kinds[bridge.UpdateMessage] != settling+4 {
		t.Errorf("accepted %v", kinds)
	}
	_ = l.stop()
}

// When more waits than there is room for, the gateway waits: it tells the rest later, and nothing is lost or told twice.
func TestTooMuchWaits(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	p.waiting = 20
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	open := make(chan struct{})
	inbox.Before = func(ctx context.Context, u bridge.Update) error {
		if u.Text == "0" {
			return nil
		}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l := listen(t, p.Discord, inbox)
	ids := []bridge.MessageID{p.say(thread, "0", "")}
	checkOnce(t, inbox, 1)
	for i := 1; i < 100; i++ {
		ids = append(ids, p.say(thread, strconv.Itoa(i), ""))
	}
	p.server.Edit(p.message(thread, ids[99]), "edited")
	p.until(t, func() bool { return p.server.Connected() == 0 })
	close(open)
	checkOnce(t, inbox, 100)
	inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Kind == bridge.UpdateEdit && u.Text == "edited" })
	_ = l.stop()
	if counts := p.server.GatewayCounts(); counts.Identifies != 1 || counts.Resumed == 0 {
		t.Errorf("%+v", counts)
	}
}

// Where a message was written is asked for when it is not known, and what is told in part is read whole.
func TestAsksForWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	id := p.say(thread, "0", "")
	checkOnce(t, inbox, 1)
	forget := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.known = directory{}
		p.nicks.mu.Lock()
		defer p.nicks.mu.Unlock()
		p.nicks.young, p.nicks.old = nil, nil
	}
	forget()
	p.server.Next("get_channel", sandbox.RateLimited(10*time.Millisecond), sandbox.Page(502))
	p.say(thread, "1", "")
	checkOnce(t, inbox, 2)
	forget()
	event := func(kind, channel string, fields map[string]any) {
		all := map[string]any{
			"id": "77", "type": 0, "channel_id": channel, "guild_id": p.server.Guild(), "content": "nobody's",
			"author": map[string]any{"id": p.ana, "username": "ana_01"},
		}
		for k, v := range fields {
			all[k] = v
		}
		p.server.PushEvent(kind, all)
	}
	event("MESSAGE_CREATE", "12345", nil) // of a channel that is not there
	p.server.Next("get_channel", sandbox.Fail(http.StatusForbidden, 50001, "Missing Access"))
	event("MESSAGE_CREATE", "12346", nil) // of one that the bot may not see
	event("MESSAGE_CREATE", p.server.AddChannel(sandbox.Channel{Name: "elsewhere"}), nil)
	// An edit without its text: the message is read anew. One that is gone is no edit.
	p.server.Edit(p.message(thread, id), "whole")
	inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Kind == bridge.UpdateEdit })
	event("MESSAGE_UPDATE", p.thread(thread), map[string]any{"id": string(id), "content": nil, "author": nil, "edited_timestamp": "2030-01-01T00:00:00Z"})
	event("MESSAGE_UPDATE", p.thread(thread), map[string]any{"id": "5", "content": nil, "edited_timestamp": "2030-01-01T00:00:00Z"})
	p.say(thread, "2", "")
	checkOnce(t, inbox, 3)
	for _, u := range inbox.All() {
		if u.Kind == bridge.UpdateEdit && (u.Text != "whole" || u.Message != id || u.Author.Name != "Ana") {
			t.Errorf("an edit is %+v", u)
		}
	}
	// What the gateway tells of the server is learnt.
	p.server.PushEvent("GUILD_ROLE_CREATE", map[string]any{"guild_id": p.server.Guild(), "role": map[string]any{"id": "900", "name": "Night"}})
	p.server.PushEvent("THREAD_LIST_SYNC", map[string]any{"guild_id": p.server.Guild(), "threads": []map[string]any{{"id": "901", "parent_id": p.room, "name": "n"}}})
	p.server.PushEvent("CHANNEL_UPDATE", map[string]any{"guild_id": p.server.Guild(), "id": p.room, "type": 15, "name": "now-a-forum"})
	p.server.PushEvent("CHANNEL_UPDATE", map[string]any{"guild_id": "1", "id": p.room, "type": 0})
	event("MESSAGE_CREATE", "901", map[string]any{"content": "for <@&900> in <#901>"})
	u := inbox.Wait(t, 4)[3]
	if u.Thread != p.threadID("901") || u.Text != "for @Night in #n" || p.MainThread() != "" {
		t.Errorf("the message is %+v, the main place %q", u, p.MainThread())
	}
	_ = l.stop()
}

// The position moves past what is nobody's news, so that a restart does not read the bridge's own messages for ever.
func TestPositionMovesAlone(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	p.until(t, func() bool { return p.server.Connected() == 1 })
	ours := bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: "ours", Kind: bridge.KindMessage})[0]
	inbox.WaitFor(t, 1, func(u bridge.Update) bool {
		pos, ok := parsePosition(u.Cursor)
		return u.Kind == bridge.UpdateNothing && ok && pos.has(flake(string(ours)))
	})
	_ = l.stop()
}

func TestPosition(t *testing.T) {
	at := func(seconds float64) snowflake {
		return snowflakeAt(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds*float64(time.Second)))) + 7
	}
	p, ok := parsePosition(at(0).String())
	if !ok || p.upTo != at(0) {
		t.Fatalf("the position is %+v", p)
	}
	for _, s := range []float64{3, 1, 2, 2} {
		p = p.with(at(s))
	}
	if p.upTo != at(0) || !slices.Equal(p.beyond, []snowflake{at(1), at(2), at(3)}) {
		t.Errorf("the position is %+v", p)
	}
	if p.has(at(2.5)) || !p.has(at(2)) || !p.has(at(-5)) {
		t.Error("it has what it has not")
	}
	// A message that is told late, but not too late, is not passed over.
	p = p.with(at(12.5))
	if p.upTo != at(2) || p.has(at(2.5)) {
		t.Errorf("the position is %+v", p)
	}
	if again, ok := parsePosition(p.String()); !ok || again.upTo != p.upTo || !slices.Equal(again.beyond, p.beyond) {
		t.Errorf("%q reads %+v, not %+v", p.String(), again, p)
	}
	// However many come at once, a cursor stays short.
	for i := range 10_000 {
		p = p.with(at(13) + snowflake(i))
	}
	if len(p.beyond) > maxBeyond || len(p.String()) > 12*maxBeyond || !p.has(at(13)+9_999) {
		t.Errorf("%d beyond, %d bytes", len(p.beyond), len(p.String()))
	}
	for _, text := range []string{"", "0", "x", "x 1", "-5"} {
		if p, ok := parsePosition(text); ok {
			t.Errorf("%q is the position %+v", text, p)
		}
	}
	for _, text := range []string{"100 !", "100 0", "100 1 zzzzzzzzzzzzzzzzzzzzz"} {
		if p, ok := parsePosition(text); !ok || p.upTo != 100 {
			t.Errorf("%q is the position %+v, %t", text, p, ok)
		}
	}
}
