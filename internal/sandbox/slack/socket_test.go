package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"
)

// quick has repetitions within a test's patience.
func quick() Options {
	return Options{AckWithin: 40 * time.Millisecond, RetryPauses: []time.Duration{0, time.Millisecond, time.Millisecond}}
}

// TestSocketModeClient lets the library's own client decode everything that operators cause.
func TestSocketModeClient(t *testing.T) {
	o := newOffice(t, Options{PingEvery: 10 * time.Millisecond}).listen(t)
	o.FailOnFaults(t)
	ctx, stop := context.WithCancel(t.Context())
	client := socketmode.New(o.client(t), socketmode.OptionPingInterval(time.Minute)) // a busy machine is no dead connection
	ended := make(chan error, 1)
	go func() { ended <- client.RunContext(ctx) }()
	defer func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the client ended with %v", err)
		}
	}()
	got := make(chan slackevents.EventsAPIEvent, 100)
	commands := make(chan api.SlashCommand, 10)
	go func() {
		for {
			select {
			case e := <-client.Events:
				switch e.Type {
				case socketmode.EventTypeEventsAPI:
					event, _ := e.Data.(slackevents.EventsAPIEvent)
					_ = client.AckCtx(ctx, e.Request.EnvelopeID, nil)
					got <- event
				case socketmode.EventTypeSlashCommand:
					command, _ := e.Data.(api.SlashCommand)
					_ = client.AckCtx(ctx, e.Request.EnvelopeID, map[string]any{"text": "done <!here>"})
					commands <- command
				case socketmode.EventTypeErrorBadMessage:
					t.Errorf("bad message: %v", e.Data)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := o.Wait(ctx, func() bool { return o.Connections() == 1 }); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.client(t).PostMessageContext(ctx, o.channel, api.MsgOptionText("own", false), api.MsgOptionUsername("V")); err != nil {
		t.Fatal(err)
	}
	head := o.Say(o.channel, "", o.ana.ID, "hello @bridge 👍")
	reply := o.Reply(head, o.ana.ID, "more https://a.example")
	o.Edit(reply, "edited")
	o.Unfurl(reply, "https://a.example")
	o.React(reply, o.ana.ID, "+1")
	o.Unreact(reply, o.ana.ID, "+1")
	o.Upload(Attachment{Post: Post{Channel: o.channel, ThreadTS: head.TS, User: o.ana.ID, Text: "look"}, Name: "a.png", Content: []byte("png")})
	o.Send(Post{Channel: o.channel, ThreadTS: head.TS, User: o.ana.ID, Text: "all", Broadcast: true})
	o.Delete(reply)
	o.Delete(head)
	o.Join(o.channel, o.ana.ID)
	o.SetTopic(o.channel, o.ana.ID, "new")
	helper := o.AddUser(User{Name: "helper", Bot: true})
	o.Say(o.channel, "", helper.ID, "beep")

	var seen []string
	for range 17 {
		e := <-got
		outer, _ := e.Data.(*slackevents.EventsAPICallbackEvent)
		if outer == nil || outer.EventID == "" || outer.TeamID != teamID {
			t.Fatalf("%+v", e.Data)
		}
		switch in := e.InnerEvent.Data.(type) {
		case *slackevents.MessageEvent:
			text := in.Message.Text
			switch in.SubType {
			case "message_deleted":
				text = in.PreviousMessage.Text + " gone " + map[bool]string{true: "yes"}[in.DeletedTimeStamp == reply.TS]
			case "message_changed":
				text = fmt.Sprintf("%s<-%s edited=%v %s", in.Message.Text, in.PreviousMessage.Text, in.Message.Edited != nil, in.Message.SubType)
			case "file_share":
				text += " " + in.Message.Files[0].Name
			case "thread_broadcast":
				text += " root " + in.Root.Text
			}
			seen = append(seen, strings.TrimSpace(in.SubType+" "+text+" bot="+in.BotID+" "+in.ChannelType))
		case *slackevents.AppMentionEvent:
			seen = append(seen, "app_mention "+in.Text+" "+map[bool]string{true: "same ts"}[in.TimeStamp == head.TS])
		case *slackevents.ReactionAddedEvent:
			seen = append(seen, "added "+in.Reaction+" "+map[bool]string{true: "same ts"}[in.Item.Timestamp == reply.TS])
		case *slackevents.ReactionRemovedEvent:
			seen = append(seen, "removed "+in.Reaction)
		default:
			seen = append(seen, e.InnerEvent.Type)
		}
	}
	me := "<@" + botUser + ">"
	want := []string{
		"bot_message own bot=" + botID + " channel",
		"hello " + me + " :+1: bot= channel",
		"app_mention hello " + me + " :+1: same ts",
		"more <https://a.example> bot= channel",
		"message_changed edited<-more <https://a.example> edited=true  bot= channel",
		"message_changed edited<-edited edited=true  bot= channel",
		"added +1 same ts",
		"removed +1",
		"file_shared",
		"file_share look a.png bot= channel",
		"thread_broadcast all root hello " + me + " :+1: bot= channel",
		"message_deleted edited gone yes bot= channel",
		"message_changed This message was deleted.<-hello " + me + " :+1: edited=false tombstone bot= channel",
		"channel_join <@" + o.ana.ID + "> has joined the channel bot= channel",
		"member_joined_channel",
		"channel_topic <@" + o.ana.ID + "> set the channel topic: new bot= channel",
		"beep bot=B" + strings.TrimPrefix(helper.ID, "U") + " channel",
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("%d:\nwant %q\n got %q", i, want[i], seen[i])
		}
	}
	o.Slash(o.channel, o.ana.ID, "/online", "2h @bridge <")
	command := <-commands
	if command.Command != "/online" || command.Text != "2h "+me+" &lt;" || command.UserID != o.ana.ID || command.ChannelID != o.channel {
		t.Errorf("%+v", command)
	}
	if err := o.Wait(ctx, func() bool { return len(o.Ephemerals(o.channel, o.ana.ID)) == 1 }); err != nil {
		t.Fatal(err)
	}
	if m := o.Ephemerals(o.channel, o.ana.ID)[0]; m.Plain != "done @here" || m.Author != "bridge" {
		t.Errorf("%+v", m)
	}
	// The response_url takes further answers.
	_, _, err := o.client(t).PostMessageContext(ctx, o.channel, api.MsgOptionText("later", false),
		api.MsgOptionResponseURL(command.ResponseURL, "ephemeral"))
	if seen := o.Ephemerals(o.channel, o.ana.ID); err != nil || len(seen) != 2 || seen[1].Plain != "later" {
		t.Errorf("%+v, %v", seen, err)
	}
	for range 5 {
		_, _, err = o.client(t).PostMessageContext(ctx, o.channel, api.MsgOptionText("x", false),
			api.MsgOptionResponseURL(command.ResponseURL, "in_channel"))
	}
	var status api.StatusCodeError
	if !errors.As(err, &status) || status.Code != http.StatusNotFound {
		t.Errorf("the sixth answer: %v", err)
	}
	if c := o.Commands(); len(c) != 1 || !c[0].Acked || c[0].Error != "" {
		t.Errorf("%+v", c)
	}
	if err := o.Wait(ctx, func() bool { return o.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	// The library comes back after each of these.
	opened := 1
	for name, end := range map[string]func(){
		"refresh": func() { o.Disconnect("refresh_requested", 0) }, "warning": func() { o.Disconnect("warning", time.Millisecond) },
		"cut": o.Cut,
	} {
		end()
		opened++
		if err := o.Wait(ctx, func() bool { return o.Greeted() == opened && o.Connections() == 1 }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// socket is a client of Socket Mode by hand.
type socket struct {
	*websocket.Conn
	t *testing.T
}

type frame struct {
	Type        string `json:"type"`
	Envelope    string `json:"envelope_id"`
	Attempt     int    `json:"retry_attempt"`
	Why         string `json:"retry_reason"`
	Reason      string `json:"reason"`
	Connections int    `json:"num_connections"`
	Accepts     bool   `json:"accepts_response_payload"`
	Payload     struct {
		EventID string `json:"event_id"`
		Command string `json:"command"`
		Event   struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"event"`
	} `json:"payload"`
}

// dial opens a connection and returns what the handshake was answered with.
func (o *office) dial(t *testing.T) (*socket, int) {
	t.Helper()
	answer := call(t, o.Server, "apps.connections.open", "token", o.AppToken())
	address, _ := answer["url"].(string)
	ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), address, nil)
	if response != nil {
		_ = response.Body.Close()
	}
	if err != nil {
		return nil, response.StatusCode
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &socket{ws, t}, response.StatusCode
}

func (s *socket) next() frame {
	s.t.Helper()
	var f frame
	if err := s.ReadJSON(&f); err != nil {
		s.t.Fatal(err)
	}
	return f
}

func (s *socket) ack(f frame) {
	s.t.Helper()
	if err := s.WriteJSON(map[string]string{"envelope_id": f.Envelope}); err != nil {
		s.t.Fatal(err)
	}
}

func TestSocketRedelivers(t *testing.T) {
	o := newOffice(t, quick()).listen(t)
	o.FailOnFaults(t)
	s, _ := o.dial(t)
	if hello := s.next(); hello.Type != "hello" || hello.Connections != 1 {
		t.Fatalf("%+v", hello)
	}
	o.Say(o.channel, "", o.ana.ID, "never")
	id := ""
	for attempt := range 4 {
		f := s.next()
		if f.Type != "events_api" || f.Attempt != attempt || (f.Why == "timeout") != (attempt > 0) || f.Accepts ||
			id != "" && f.Payload.EventID != id {
			t.Fatalf("%d: %+v", attempt, f)
		}
		id = f.Payload.EventID
	}
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 && o.GivenUp() == 1 }); err != nil {
		t.Fatal(err)
	}
	o.Say(o.channel, "", o.ana.ID, "once")
	s.ack(s.next())
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 && o.GivenUp() == 1 }); err != nil {
		t.Fatal(err)
	}
}

// TestSocketComesBack: what came while nobody was there, and what the old connection took with it, comes with a new one.
func TestSocketComesBack(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	o.FailOnFaults(t)
	o.Say(o.channel, "", o.ana.ID, "early")
	a, _ := o.dial(t)
	a.next()
	if f := a.next(); f.Payload.Event.Text != "early" || f.Attempt < 1 {
		t.Fatalf("%+v", f)
	}
	o.Cut()
	if _, _, err := a.ReadMessage(); err == nil {
		t.Fatal("the connection lives")
	}
	b, _ := o.dial(t)
	b.next()
	f := b.next()
	if f.Payload.Event.Text != "early" || f.Attempt < 2 {
		t.Fatalf("%+v", f)
	}
	b.ack(f)
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	o.Lose(true)
	o.Say(o.channel, "", o.ana.ID, "lost")
	o.Lose(false)
	o.Say(o.channel, "", o.ana.ID, "kept")
	if f := b.next(); f.Payload.Event.Text != "kept" || f.Attempt != 0 {
		t.Fatalf("%+v", f)
	}
}

func TestSocketTurns(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	a, _ := o.dial(t)
	a.next()
	b, _ := o.dial(t)
	if hello := b.next(); hello.Connections != 2 {
		t.Fatalf("%+v", hello)
	}
	var want, got []string
	for i := range 4 {
		want = append(want, o.Say(o.channel, "", o.ana.ID, fmt.Sprint(i)).Text)
	}
	for _, s := range []*socket{a, a, b, b} {
		f := s.next()
		s.ack(f)
		got = append(got, f.Payload.Event.Text)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestRedeliver(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	o.FailOnFaults(t)
	s, _ := o.dial(t)
	s.next()
	o.Redeliver(3)
	o.Say(o.channel, "", o.ana.ID, "x")
	ids := make(map[string]bool)
	for i := range 3 {
		f := s.next()
		ids[f.Payload.EventID] = true
		if f.Attempt != i {
			t.Errorf("%+v", f)
		}
		s.ack(f)
	}
	if len(ids) != 1 {
		t.Errorf("%v", ids)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
}

// TestRedeliverOnce: what is delivered several times at first is repeated once at a time.
func TestRedeliverOnce(t *testing.T) {
	o := newOffice(t, quick()).listen(t)
	s, _ := o.dial(t)
	s.next()
	o.Redeliver(2)
	o.Say(o.channel, "", o.ana.ID, "x")
	o.Redeliver(1)
	for i := range 5 {
		if f := s.next(); f.Attempt != i {
			t.Errorf("%+v", f)
		}
	}
	if err := o.Wait(t.Context(), func() bool { return o.GivenUp() == 1 }); err != nil {
		t.Fatal(err)
	}
	o.Say(o.channel, "", o.ana.ID, "y")
	if f := s.next(); f.Payload.Event.Text != "y" || f.Attempt != 0 {
		t.Errorf("%+v", f)
	}
}

func TestSocketTrouble(t *testing.T) {
	o := newOffice(t, Options{PingEvery: time.Millisecond}).listen(t)
	o.Refuse(true)
	if _, code := o.dial(t); code != http.StatusForbidden {
		t.Errorf("refused: %d", code)
	}
	o.Refuse(false)
	o.HangUp(true)
	s, code := o.dial(t)
	if code != http.StatusSwitchingProtocols {
		t.Fatalf("hang up: %d", code)
	}
	if _, _, err := s.ReadMessage(); err == nil {
		t.Error("hang up: it says something")
	}
	o.HangUp(false)

	s, _ = o.dial(t)
	pings := make(chan struct{}, 100)
	s.SetPingHandler(func(string) error {
		select {
		case pings <- struct{}{}:
		default:
		}
		return nil
	})
	frames := make(chan []byte, 10)
	go func() {
		defer close(frames)
		for {
			_, body, err := s.ReadMessage()
			if err != nil {
				return
			}
			frames <- body
		}
	}()
	<-frames
	<-pings
	for _, junk := range []string{`{"type":"novelty","envelope_id":"junk-1"}`, `{`, ``} {
		o.Junk(junk)
		if got := string(<-frames); got != junk {
			t.Errorf("%q", got)
		}
	}
	o.PushEvent(map[string]any{"type": "message", "blocks": "none"})
	if got := <-frames; !strings.Contains(string(got), `"blocks":"none"`) {
		t.Errorf("%s", got)
	}
	o.PushPayload(map[string]any{"type": "app_rate_limited"})
	if got := <-frames; !strings.Contains(string(got), `"app_rate_limited"`) {
		t.Errorf("%s", got)
	}
	o.Silence(true)
	o.Say(o.channel, "", o.ana.ID, "unheard")
	o.Silence(false)
	o.Say(o.channel, "", o.ana.ID, "heard")
	if got := <-frames; !strings.Contains(string(got), `"heard"`) {
		t.Errorf("%s", got)
	}
	if o.Pending() != 4 {
		t.Errorf("%d pending", o.Pending())
	}
	if len(o.Faults()) != 0 {
		t.Errorf("faults %q", o.Faults())
	}
	for _, frame := range []string{`{`, `{"envelope_id":"other"}`} {
		before := len(o.Faults())
		if err := s.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			t.Fatal(err)
		}
		if err := o.Wait(t.Context(), func() bool { return len(o.Faults()) == before+1 }); err != nil {
			t.Fatal(err)
		}
	}
	o.Close()
	for range frames {
		t.Error("a frame after Close")
	}
}

// TestTickets: an address is good for one connection.
func TestTickets(t *testing.T) {
	o := newOffice(t, Options{}).listen(t)
	answer := call(t, o.Server, "apps.connections.open", "token", o.AppToken())
	address, _ := answer["url"].(string)
	for i, want := range []int{http.StatusSwitchingProtocols, http.StatusForbidden} {
		ws, response, _ := websocket.DefaultDialer.DialContext(t.Context(), address, nil)
		_ = response.Body.Close()
		if ws != nil {
			defer func() { _ = ws.Close() }()
		}
		if response.StatusCode != want {
			t.Errorf("%d: %d", i, response.StatusCode)
		}
	}
}

// TestSlashFails: nobody answers a command, and it is not repeated.
func TestSlashFails(t *testing.T) {
	o := newOffice(t, quick()).listen(t)
	o.Slash(o.channel, o.ana.ID, "/online", "")
	s, _ := o.dial(t)
	s.next()
	o.Slash(o.channel, o.ana.ID, "/offline", "")
	if f := s.next(); f.Type != "slash_commands" || f.Payload.Command != "/offline" || !f.Accepts {
		t.Fatalf("%+v", f)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Pending() == 0 }); err != nil {
		t.Fatal(err)
	}
	for _, c := range o.Commands() {
		if c.Acked || c.Error != "operation_timeout" {
			t.Errorf("%+v", c)
		}
	}
}

// TestWhoIsTold: no event without the subscription, the scope, and the bot in the channel.
func TestWhoIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		options Options
		do      func(*office)
		want    []string
	}{
		"all": {Options{}, func(*office) {}, []string{"message", "app_mention", "reaction_added"}},
		"itself": {Options{}, func(o *office) {
			call(t, o.Server, "chat.postMessage", "channel", o.channel, "text", "I am <@"+botUser+">")
		}, []string{"message", "message", "app_mention", "reaction_added"}},
		"subscription": {Options{Events: []string{"reaction_added"}}, func(*office) {}, []string{"reaction_added"}},
		"scope":        {Options{}, func(o *office) { o.RemoveScope("channels:history") }, []string{"app_mention", "reaction_added"}},
		"outside":      {Options{}, func(o *office) { o.RemoveBot(o.channel) }, []string{"channel_left"}},
		"revoked":      {Options{}, func(o *office) { o.Revoke("") }, []string{"tokens_revoked"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, tt.options)
			tt.do(o)
			call(t, o.Server, "chat.postMessage", "channel", "C9", "text", "x") // refused, and told to nobody
			o.React(o.Say(o.channel, "", o.ana.ID, "@bridge"), o.ana.ID, "eyes")
			var got []string
			for _, e := range o.outbox.pending {
				var f struct {
					Event struct {
						Type string `json:"type"`
					} `json:"event"`
				}
				if err := json.Unmarshal(e.payload, &f); err != nil {
					t.Fatal(err)
				}
				got = append(got, f.Event.Type)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v", got)
			}
		})
	}
}
