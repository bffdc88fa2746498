package slack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// listening runs Listen until stop is called, which returns its error; ended yields it before.
func listening(t *testing.T, p bridge.Listener, inbox bridge.Inbox) (ended <-chan error, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Listen(ctx, inbox) }()
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Fatal("Listen does not end")
			return nil
		}
	}
	t.Cleanup(func() { cancel() })
	return done, stop
}

// until waits for a condition of the stand-in or the adapter.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("%s never came about", what)
		}
		timer := time.NewTimer(2 * time.Millisecond)
		<-timer.C
	}
}

func texts(updates []bridge.Update) []string {
	out := make([]string, 0, len(updates))
	for _, u := range updates {
		out = append(out, u.Text)
	}
	return out
}

// once returns the updates without repetitions, as the relay takes them.
func once(updates []bridge.Update) []bridge.Update {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(updates), func(u bridge.Update) bool {
		defer func() { seen[u.ID] = true }()
		return seen[u.ID]
	})
}

func (p *place) connected(t *testing.T, n int) {
	t.Helper()
	until(t, fmt.Sprint(n, " connections"), func() bool { return p.server.Connections() == n })
}

// begun waits until the receiver has accepted what was missed and goes on with what comes live.
func (p *place) begun(t *testing.T) {
	t.Helper()
	until(t, "the beginning", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.at.at != "" && p.gate == nil && (p.config.AppToken == "" || p.server.Connections() == 1)
	})
}

// TestCutAtRandom cuts the socket again and again while operators write in many threads and announces some of the ends: every
// message is accepted once, in the order of its thread.
func TestCutAtRandom(t *testing.T) {
	t.Parallel()
	const threads = 5
	each := 40
	if soak.Asked() {
		each = 600
	}
	p := start(t, sandbox.Options{RetryPauses: soon(), AckWithin: 300 * time.Millisecond}, nil)
	var places []bridge.ThreadID
	for i := range threads {
		places = append(places, bridgetest.Open(t, p, &bridge.Session{ID: "s" + strconv.Itoa(i), VisitorID: "v"}))
	}
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, again{p}, inbox)
	p.connected(t, 1)

	var work sync.WaitGroup
	over := make(chan struct{})
	work.Go(func() {
		defer close(over)
		for i := range each * threads {
			p.say(places[i%threads], strconv.Itoa(i/threads), "")
			timer := time.NewTimer(time.Duration(rand.N(4)) * time.Millisecond)
			<-timer.C
		}
	})
	for cuts := 0; ; cuts++ {
		timer := time.NewTimer(time.Duration(5+rand.N(40)) * time.Millisecond)
		select {
		case <-over:
		case <-timer.C:
			switch rand.N(3) {
			case 0:
				p.server.Disconnect("refresh_requested", time.Duration(rand.N(10))*time.Millisecond)
			default:
				p.server.Cut()
			}
			continue
		}
		if cuts < 3 {
			t.Errorf("only %d cuts", cuts)
		}
		break
	}
	work.Wait()
	until(t, "all", func() bool { return len(inbox.Messages()) >= threads*each })
	until(t, "all acknowledged", func() bool { return p.server.Pending() == 0 })
	_ = stop()
	all := inbox.Messages()
	if len(all) != len(once(all)) {
		t.Errorf("%d updates of %d messages", len(all), len(once(all)))
	}
	for i, thread := range places {
		var got []string
		for _, u := range all {
			if u.Thread == thread {
				got = append(got, u.Text)
			}
		}
		for n, text := range got {
			if text != strconv.Itoa(n) {
				t.Fatalf("thread %d: %q", i, got)
			}
		}
		if len(got) != each {
			t.Errorf("thread %d has %d of %d messages", i, len(got), each)
		}
	}
}

// An announced end loses nothing: the next connection is there before the last one goes, and then alone.
func TestRefresh(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.say(thread, "0", "")
	inbox.Wait(t, 1)
	var fewest atomic.Int64
	fewest.Store(1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_ = p.server.Wait(t.Context(), func() bool {
			n := p.server.Connections()
			fewest.Store(min(fewest.Load(), int64(n)))
			return n == 0
		})
	}()
	for i := range 3 {
		p.server.Disconnect("warning", time.Minute)
		until(t, "the next connection", func() bool { return p.server.Greeted() == i+2 })
		p.say(thread, "between", "")
		p.connected(t, 1)
		p.say(thread, "after", "")
		inbox.Wait(t, 1+2*(i+1))
		if fewest.Load() == 0 {
			t.Error("there was no connection for a while")
		}
	}
	if n := p.server.Count(opSocket); n != 4 {
		t.Errorf("%d connections were asked for", n)
	}
	if n := len(inbox.Messages()); n != 7 {
		t.Errorf("%q", texts(inbox.Messages()))
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	<-watched
}

// A next connection that cannot be made is tried for again while the last one stands.
func TestRefreshRefused(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.connected(t, 1)
	p.server.Next(opSocket, stage.Page(502), sandbox.Fail("internal_error"), stage.Action{DropAfter: true})
	p.server.Disconnect("warning", time.Minute)
	until(t, "the next connection", func() bool { return p.server.Count("socket") == 2 })
	p.say(thread, "hello", "")
	inbox.Wait(t, 1)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// What was said while nobody listened is read from the histories, in the order in which it was said, before what comes live.
func TestCatchUp(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, nil)
	one, two := bridgetest.Open(t, p, visitor()), bridgetest.Open(t, p, &bridge.Session{ID: "s2", VisitorID: "v2"})
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.say(one, "heard", "")
	early := p.say(two, "heard, and edited later", "")
	inbox.Wait(t, 2)
	_ = stop()

	p.server.Lose(true)
	p.say(one, "missed 1", "")
	p.server.Edit(p.message(early), "edited")
	for i := range 450 {
		p.say(two, "missed "+strconv.Itoa(2+i), "")
	}
	p.say(mainThread(p.channel), "!online", "")
	late := p.say(one, "typo", "")
	p.server.Edit(p.message(late), "no typo")
	bridgetest.Deliver(t, p, one, bridge.Outgoing{Text: "of the visitor", Kind: bridge.KindMessage})
	p.server.Join(p.channel, p.ana)
	p.server.Lose(false)

	// Another process: nothing is known but the cursor.
	cursor, _ := inbox.Cursor(t.Context(), "")
	p.Slack, p.logs = adapter(t, p.config)
	next := bridgetest.NewInbox(cursor)
	hold := make(chan struct{})
	p.server.Next(opHistory, stage.Action{Hold: hold})
	p.server.Next(opReplies, sandbox.RateLimited(1)) // Slack may have to be asked again
	_, stop = listening(t, p, next)
	p.connected(t, 1)
	p.say(one, "live", "")
	close(hold)
	want := []string{"missed 1", "edited"}
	for i := range 450 {
		want = append(want, "missed "+strconv.Itoa(2+i))
	}
	want = append(want, "!online", "no typo", "no typo", "live")
	known := map[string]bool{}
	for _, u := range inbox.All() {
		known[u.ID] = true
	}
	news := func() []bridge.Update {
		return slices.DeleteFunc(next.All(), func(u bridge.Update) bool { return known[u.ID] || u.ID == "" })
	}
	until(t, "all", func() bool { return len(news()) >= len(want) })
	_ = stop()
	if diff := cmp.Diff(want, texts(news())); diff != "" {
		t.Error(diff)
	}
	if got := news(); got[1].Kind != bridge.UpdateEdit || got[1].Message != early || got[len(want)-2].Kind != bridge.UpdateEdit || got[len(want)-2].Message != late {
		t.Errorf("%+v", got)
	}
	// The ids are the same as live ones: a third process that is told all of it again has no news.
	last, _ := next.Cursor(t.Context(), "")
	if p.at.String() != last {
		t.Errorf("the cursor is %q, not %q", last, p.at)
	}
}

// Where Slack lets the history be read only later, what is said now goes on; the position stands still, so that nothing between is
// lost, and it is said.
func TestLiveWhileHistoryIsLimited(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, nil)
	one := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.say(one, "heard", "")
	inbox.Wait(t, 1)
	_ = stop()
	p.server.Lose(true)
	p.say(one, "missed", "")
	p.server.Lose(false)

	cursor, _ := inbox.Cursor(t.Context(), "")
	p.Slack, p.logs = adapter(t, p.config)
	next := bridgetest.NewInbox(cursor)
	p.server.On(opHistory, func(stage.Call) stage.Action { return sandbox.RateLimited(60) })
	_, stop = listening(t, p, next)
	p.connected(t, 1)
	p.say(one, "live", "")
	until(t, "live", func() bool { return slices.Contains(texts(next.All()), "live") })
	_ = stop()
	if now, _ := next.Cursor(t.Context(), ""); now != cursor {
		t.Errorf("the cursor moved from %q to %q, over what was missed", cursor, now)
	}
	if !strings.Contains(p.logs.String(), "what is said now goes on") {
		t.Error("it is not said")
	}
}

// What was missed and cannot be read any more, once Slack has had it wait, ends the receiver, so that it begins anew.
func TestCatchingUpFails(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, nil)
	p.waitsLive = time.Second
	p.server.Next(opHistory, sandbox.RateLimited(1), sandbox.Fail("invalid_auth"))
	began := tsOf(time.Now().Add(-time.Minute))
	ended, _ := listening(t, p, bridgetest.NewInbox(position{at: began, began: began}.String()))
	select {
	case err := <-ended:
		if reason(t, err).Reason != bridge.ReasonAuth {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Listen does not end")
	}
}

// While updates are refused, the cursor stays where it is: nothing that was not accepted lies behind it.
func TestCursorBehindWhatIsNotAccepted(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	for i := range 5 {
		p.say(thread, strconv.Itoa(i), "")
	}
	began := tsOf(time.Now().Add(-time.Minute))
	inbox := bridgetest.NewInbox(position{at: began, began: began}.String())
	refusal := errors.New("no")
	inbox.Before = func(_ context.Context, u bridge.Update) error {
		if u.Text == "3" {
			return refusal
		}
		return nil
	}
	ended, _ := listening(t, p, inbox)
	if err := <-ended; !errors.Is(err, refusal) {
		t.Fatal(err)
	}
	cursor, _ := inbox.Cursor(t.Context(), "")
	at, ok := parsePosition(cursor)
	if all := inbox.Messages(); !ok || len(all) != 3 || at.at != string(all[2].Message) {
		t.Errorf("%q after %q", cursor, texts(all))
	}
}

// A live message that is refused ends the receiver, is not acknowledged, and is there again.
func TestRefusedLive(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	var full atomic.Bool
	refusal := errors.New("the store is full")
	inbox.Before = func(context.Context, bridge.Update) error {
		if full.Load() {
			return refusal
		}
		return nil
	}
	ended, _ := listening(t, p, inbox)
	p.begun(t)
	full.Store(true)
	p.say(thread, "1", "")
	p.say(thread, "2", "")
	if err := <-ended; !errors.Is(err, refusal) || p.server.Pending() < 2 {
		t.Errorf("%v; %d wait", err, p.server.Pending())
	}
	full.Store(false)
	_, stop := listening(t, p, inbox)
	if got := texts(inbox.Wait(t, 2)); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("%q", got)
	}
	until(t, "acknowledgements", func() bool { return p.server.Pending() == 0 })
	_ = stop()
}

// An empty cursor begins now: what was said before is nobody's.
func TestBeginsNow(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	p.server.Lose(true)
	p.say(thread, "before", "")
	p.server.Lose(false)
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.begun(t)
	p.say(thread, "after", "")
	inbox.Wait(t, 1)
	p.server.Lose(true) // a gap soon after the beginning does not reach behind it
	p.say(thread, "missed", "")
	p.server.Lose(false)
	p.server.Cut()
	if got := texts(inbox.Wait(t, 2)); !slices.Equal(got, []string{"after", "missed"}) {
		t.Errorf("%q", got)
	}
	_ = stop()
}

// Events that come three times are one update; so are a message and the mention in it.
func TestRepeated(t *testing.T) {
	for _, way := range []string{"socket", "events"} {
		t.Run(way, func(t *testing.T) {
			var p *place
			var listener bridge.Listener
			if way == "socket" {
				p = start(t, sandbox.Options{}, nil)
				listener = p
			} else {
				r := startRequested(t, sandbox.Options{})
				p, listener = r.place, r
			}
			thread := bridgetest.Open(t, p, visitor())
			inbox := bridgetest.NewInbox("")
			_, stop := listening(t, listener, inbox)
			p.begun(t)
			p.server.Redeliver(3)
			id := p.say(thread, "one @bridge", "")
			p.server.Edit(p.message(id), "two @bridge")
			p.server.Edit(p.message(id), "three")
			p.server.React(p.message(id), p.ana, "eyes")
			p.server.Delete(p.message(id))
			p.say(thread, "@bridge online", "")
			inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Command != nil })
			until(t, "acknowledgements", func() bool { return p.server.Pending() == 0 })
			_ = stop()
			var kinds []bridge.UpdateKind
			for _, u := range inbox.All() {
				if u.ID != "" {
					kinds = append(kinds, u.Kind)
				}
			}
			want := []bridge.UpdateKind{bridge.UpdateMessage, bridge.UpdateEdit, bridge.UpdateEdit, bridge.UpdateReaction, bridge.UpdateDelete, bridge.UpdateMessage}
			if diff := cmp.Diff(want, kinds); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is of no visitor is not accepted, and acknowledged all the same; nothing is asked of Slack for it.
func TestIgnored(t *testing.T) {
	p := start(t, sandbox.Options{}, func(c *Config) { c.TestBotIDs = []string{"U0TESTBOT"} })
	robot := p.server.AddUser(sandbox.User{ID: "U0ROBOT", Bot: true})
	tester := p.server.AddUser(sandbox.User{ID: "U0TESTBOT", Bot: true, RealName: "Tester"})
	elsewhere := p.server.AddChannel(sandbox.Channel{Name: "sales"})
	direct := p.server.AddChannel(sandbox.Channel{Kind: sandbox.Direct, User: p.ana})
	thread := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.begun(t)
	bridgetest.Deliver(t, p, thread, bridge.Outgoing{Text: "our own", Kind: bridge.KindMessage})
	p.server.Say(p.channel, parentOf(thread), robot.ID, "a robot")
	p.server.Say(elsewhere, "", p.ana, "elsewhere")
	p.server.Say(direct, "", p.ana, "in private")
	p.server.SetTopic(p.channel, p.ana, "a topic")
	p.server.Join(p.channel, p.ana)
	said := p.say(thread, "a person", "")
	p.server.Unfurl(p.message(said), "https://x.test")
	p.server.React(p.server.Say(elsewhere, "", p.ana, "x"), p.ana, "eyes")
	p.server.PushEvent(map[string]any{"type": "hologram", "channel": map[string]any{"id": p.channel}})
	p.server.Say(p.channel, parentOf(thread), tester.ID, "a test's robot")
	got := inbox.Wait(t, 2)
	until(t, "acknowledgements", func() bool { return p.server.Pending() == 0 })
	_ = stop()
	if diff := cmp.Diff([]string{"a person", "a test's robot"}, texts(got)); diff != "" || got[1].Author.Name != "Tester" {
		t.Error(diff, got)
	}
	for _, u := range inbox.All() {
		if u.Kind != bridge.UpdateMessage && u.ID != "" {
			t.Errorf("%+v", u)
		}
	}
	if told, _ := inbox.Cursor(t.Context(), ""); !later(p.at.at, string(said)) || p.acked != p.at.at && later(p.at.at, tsOf(timeOf(p.acked).Add(storeEvery))) ||
		!strings.HasPrefix(told, p.acked) {
		t.Errorf("the position is %q, and the inbox knows %q", p.at, told)
	}
	for _, c := range p.server.Calls() {
		if c.Method == opUser && (c.Params["user"] == robot.ID || c.Params["user"] == p.server.Bot().ID) {
			t.Errorf("it is asked who %s is", c.Params["user"])
		}
	}
}

// The position moves over what needs no attention; the inbox is told now and then.
func TestPass(t *testing.T) {
	s, _ := adapter(t, Config{BotToken: "xoxb-1", ChannelID: "C0123456789"})
	inbox := bridgetest.NewInbox("")
	s.at, s.acked = position{at: "1000.000000", began: "1000.000000"}, "1000.000000"
	for i, want := range []int{0, 0, 1, 1} {
		if err := s.advance(t.Context(), inbox, tsOf(time.Unix(1000, 0).Add(time.Duration(i+1)*2*time.Minute)), storeEvery); err != nil {
			t.Fatal(err)
		}
		if n := len(inbox.All()); n != want {
			t.Errorf("after %d: the inbox was told %d times", i, n)
		}
	}
	if err := s.advance(t.Context(), inbox, "900.000000", 0); err != nil || s.at.at != "1480.000000" {
		t.Errorf("%v %v", s.at, err)
	}
	if cursor, _ := inbox.Cursor(t.Context(), ""); cursor != "1360.000000 1000.000000" {
		t.Errorf("%q", cursor)
	}
}

// What cannot be read is acknowledged, so that it does not come for ever, and holds nothing up.
func TestJunk(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.begun(t)
	p.server.Junk(`{"envelope_id":"junk-1","type":"hologram","payload":{}}`)
	p.server.Junk(`{"envelope_id":"junk-2","type":"events_api","payload":"no object"}`)
	p.server.Junk(`{"envelope_id":"junk-3","type":"events_api","payload":{"type":"event_callback","event":7}}`)
	p.server.Junk(`{"envelope_id":"junk-4","type":"slash_commands","payload":[]}`)
	p.server.Junk(`{"type":"hello"}`)
	p.server.Junk(`not JSON at all`)
	p.server.PushEvent(map[string]any{"type": "message", "channel": p.channel, "user": p.ana, "ts": "1.1", "thread_ts": parentOf(thread), "text": "readable",
		"event_ts": "1.1", "blocks": []any{map[string]any{"type": "rich_text", "elements": "broken"}}})
	p.say(thread, "after", "")
	got := inbox.Wait(t, 2)
	until(t, "acknowledgements", func() bool { return p.server.Pending() == 0 })
	_ = stop()
	if diff := cmp.Diff([]string{"readable", "after"}, texts(got)); diff != "" {
		t.Error(diff)
	}
	if p.server.Count("socket") != 1 {
		t.Error("the connection did not bear it")
	}
}

// A server that takes connections and closes them at once, or refuses them, is not stormed.
func TestNoStorm(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	p.socketPause = 50 * time.Millisecond
	p.server.HangUp(true)
	inbox := bridgetest.NewInbox("")
	ended, _ := listening(t, p, inbox)
	if d := reason(t, <-ended); d.Reason != bridge.ReasonTransient || d.Scope != bridge.ScopeDestination || d.Op != opSocket {
		t.Errorf("%+v", *d)
	}
	if n := p.server.Count(opSocket); n != 1 {
		t.Errorf("%d connections were asked for", n)
	}

	p.server.HangUp(false)
	began, read := time.Now(), p.server.Count(opHistory)
	_, stop := listening(t, p, inbox)
	for i := range 5 { // each is lost soon after it stood
		until(t, "a connection", func() bool { return p.server.Count(opHistory) == read+i+1 && p.server.Connections() == 1 })
		p.server.Cut()
	}
	if d := time.Since(began); d < 25*time.Millisecond+50*time.Millisecond {
		t.Errorf("five connections within %v", d)
	}
	_ = stop()
	if s := p.pause(1); s > p.socketPause || s < p.socketPause/2 {
		t.Errorf("the first pause is %v", s)
	}
	if s := p.pause(100); s > socketPauseMax || s < socketPauseMax/2 {
		t.Errorf("the last pause is %v", s)
	}

	p.server.Refuse(true)
	ended, _ = listening(t, p, inbox)
	if d := reason(t, <-ended); d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, "Forbidden") {
		t.Errorf("%+v", *d)
	}
}

// again listens again when it fails, as the relay does.
type again struct{ *place }

func (a again) Listen(ctx context.Context, inbox bridge.Inbox) error {
	for {
		err := a.place.Listen(ctx, inbox)
		if ctx.Err() != nil {
			return err
		}
		a.log.Warn("receiving failed", "err", err)
	}
}

// A connection that says nothing any more is given up, and what was missed meanwhile is found.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{PingEvery: 20 * time.Millisecond}, nil)
	p.silentFor, p.helloWithin = time.Second, 500*time.Millisecond
	thread := bridgetest.Open(t, p, visitor())
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, again{p}, inbox)
	p.begun(t)
	p.say(thread, "heard", "")
	inbox.Wait(t, 1)
	timer := time.NewTimer(2 * p.silentFor) // pings alone keep it
	<-timer.C
	if n := p.server.Count("socket"); n != 1 {
		t.Fatalf("%d connections", n)
	}
	p.server.Silence(true)
	p.say(thread, "into the void", "")
	until(t, "another attempt", func() bool { return p.server.Count("socket") > 2 })
	p.server.Silence(false)
	if got := inbox.Wait(t, 2); got[1].Text != "into the void" {
		t.Errorf("%q", texts(got))
	}
	_ = stop()
}

// Tokens that are not accepted, and a socket mode that is turned off, end the receiver with what to do about it.
func TestSocketAuth(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(*place)
		says    string
	}{
		"bot token":    {func(p *place) { p.server.Revoke("invalid_auth") }, "SLACK_BOT_TOKEN"},
		"app token":    {func(p *place) { p.server.RevokeApp("invalid_auth") }, "SLACK_APP_TOKEN"},
		"turned off":   {nil, "Socket Mode is turned off"},
		"a wrong kind": {func(p *place) { p.server.Next(opSocket, sandbox.Fail("not_allowed_token_type")) }, "connections:write"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, sandbox.Options{}, nil)
			if c.arrange != nil {
				c.arrange(p)
			}
			ended, _ := listening(t, p, bridgetest.NewInbox(""))
			if c.arrange == nil {
				p.connected(t, 1)
				p.server.Disconnect("link_disabled", time.Minute)
			}
			d := reason(t, <-ended)
			if d.Reason != bridge.ReasonAuth || d.Scope != bridge.ScopeDestination || !strings.Contains(d.Detail, c.says) {
				t.Errorf("%+v", *d)
			}
		})
	}
}

// Whoever has neither a token for sockets nor a secret for requests is told so, and how to get replies.
func TestNoWayToListen(t *testing.T) {
	p := start(t, sandbox.Options{}, func(c *Config) { c.AppToken = "" })
	_, stop := listening(t, p, bridgetest.NewInbox(""))
	until(t, "a word", func() bool { return strings.Contains(p.logs.String(), "will not arrive") })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, fix := range []string{"SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"} {
		if !strings.Contains(p.logs.String(), fix) {
			t.Errorf("%s is not named", fix)
		}
	}
	if p.Webhook(bridgetest.NewInbox("")) != nil {
		t.Error("requests are taken without a secret")
	}
	if n := len(p.server.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// The bot goes into its channel by itself, and tells which rights it lacks.
func TestIntroduction(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	p.server.RemoveBot(p.channel)
	p.server.RemoveScope("reactions:write")
	p.server.RemoveScope("files:read")
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.connected(t, 1)
	p.say(mainThread(p.channel), "!help", "")
	inbox.Wait(t, 1)
	_ = stop()
	if text := p.logs.String(); !strings.Contains(text, "reactions:write, files:read") || strings.Contains(text, "chat:write") {
		t.Error("the rights that lack are not told")
	}

	private := sandbox.New(sandbox.Options{})
	t.Cleanup(private.Close)
	if got := lacking([]string{"chat:write", "groups:history"}, Config{ChannelID: "C1", Username: "x"}); !slices.Contains(got, "chat:write.customize") ||
		slices.Contains(got, "channels:history") {
		t.Errorf("%q", got)
	}
	if got := lacking(nil, Config{ChannelID: "C1"}); got != nil {
		t.Errorf("%q", got)
	}
}

// Names that cannot be learnt hold nothing up; a general word stands in, since visitors see it.
func TestNamesUnknown(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	p.server.On(opUser, func(stage.Call) stage.Action { return stage.Page(502) })
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.connected(t, 1)
	for range 3 {
		p.say(thread, "hello", "")
	}
	got := inbox.Wait(t, 3)
	_ = stop()
	if got[0].Author != (bridge.Author{ID: p.ana, Name: "Team"}) || p.server.Count(opUser) != 1 {
		t.Errorf("%+v; asked %d times", got[0].Author, p.server.Count(opUser))
	}
}

// A slash command is answered where it was given, for its author's eyes; too late, it is answered in the channel.
func TestSlashCommand(t *testing.T) {
	for _, way := range []string{"socket", "requests"} {
		t.Run(way, func(t *testing.T) {
			var p *place
			var listener bridge.Listener
			if way == "socket" {
				p = start(t, sandbox.Options{}, nil)
				listener = p
			} else {
				r := startRequested(t, sandbox.Options{})
				p, listener = r.place, r
			}
			elsewhere := p.server.AddChannel(sandbox.Channel{Name: "sales"})
			inbox := bridgetest.NewInbox("")
			_, stop := listening(t, listener, inbox)
			p.begun(t)
			p.server.Slash(p.channel, p.ana, "/bridge", "online 2h")
			u := inbox.Wait(t, 1)[0]
			if u.Command == nil || *u.Command != (bridge.Command{Name: "online", Args: "2h"}) || u.Thread != p.MainThread() || !u.Slash || u.Author.Name != "Ana" {
				t.Fatalf("%+v", u)
			}
			answer := p.Render(bridge.Outgoing{Thread: u.Thread, Text: "You are <online>.", ReplyTo: u.Message, Kind: bridge.KindMessage})[0]
			ids, err := p.Send(t.Context(), u.Thread, answer)
			if err != nil || len(ids) != 1 || ids[0] == "" {
				t.Fatalf("%q %v", ids, err)
			}
			if got := p.server.Ephemerals(p.channel, p.ana); len(got) != 1 || got[0].Plain != "You are <online>." {
				t.Errorf("%+v", got)
			}
			if err := p.Delete(t.Context(), u.Thread, ids[0]); err != nil {
				t.Error(err)
			}
			if err := p.Edit(t.Context(), u.Thread, ids[0], answer); reason(t, err).Reason != bridge.ReasonTooLate {
				t.Error(err)
			}

			p.server.Next("response_url", stage.Page(502))
			if _, err := p.Send(t.Context(), u.Thread, answer); reason(t, err).Reason != bridge.ReasonTransient {
				t.Errorf("%v", err)
			}
			p.server.Next("response_url", stage.Action{Status: 404, Body: "used_url"})
			if _, err := p.Send(t.Context(), u.Thread, answer); err != nil || len(p.server.Parents(p.channel)) != 1 {
				t.Errorf("an answer that is too late: %v", err)
			}
			_, address, _ := strings.Cut(strings.TrimPrefix(string(u.Message), responseMark), "/")
			for _, to := range []bridge.MessageID{
				responseID(address, time.Now().Add(-30*time.Minute)), responseID("https://evil.test/x", time.Now()), responseMark + "x/" + bridge.MessageID(address),
			} {
				answer.ReplyTo = to
				if _, err := p.Send(t.Context(), u.Thread, answer); err != nil {
					t.Errorf("%v", err)
				}
			}
			if got := p.server.Parents(p.channel); len(got) != 4 {
				t.Errorf("%d answers in the channel", len(got))
			}

			p.server.Slash(elsewhere, p.ana, "/bridge", "online")
			until(t, "a word", func() bool { return len(p.server.Ephemerals(elsewhere, p.ana)) == 1 })
			if got := p.server.Ephemerals(elsewhere, p.ana)[0].Plain; !strings.Contains(got, "operators' channel") {
				t.Errorf("%q", got)
			}
			if n := len(inbox.Messages()); n != 1 {
				t.Errorf("%d commands", n)
			}
			_ = stop()
		})
	}
}
