package discord

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

const usualIntents = intentGuilds | intentMessages | intentReactions | intentTyping | intentMessageContent

// line is a connection to the gateway by hand.
type line struct {
	*websocket.Conn
	t       *testing.T
	session string
	resume  string
	seq     int64
}

// got is a payload that came.
type got struct {
	Op   int             `json:"op"`
	Data json.RawMessage `json:"d"`
	Seq  *int64          `json:"s"`
	Name string          `json:"t"`
}

// dial connects to the gateway's address as GET /gateway tells it.
func (o *office) dial(path string) (*line, error) {
	o.t.Helper()
	u := o.call("GET", "/gateway", nil).str("url") // the base of a request that has no network
	if u != "ws://sandbox.example" {
		o.t.Errorf("gateway at %q", u)
	}
	address := strings.Replace(o.base, "http", "ws", 1) + path + "/?v=10&encoding=json"
	dialer := websocket.Dialer{HandshakeTimeout: 5 * time.Second}
	ws, response, err := dialer.DialContext(o.t.Context(), address, nil)
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	o.t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(2 * time.Minute)) // only for a test that hangs
	return &line{Conn: ws, t: o.t}, nil
}

func (l *line) send(op int, data any) {
	l.t.Helper()
	if err := l.WriteJSON(object{"op": op, "d": data}); err != nil {
		l.t.Fatal(err)
	}
}

// next reads the next payload.
func (l *line) next() got {
	l.t.Helper()
	kind, raw, err := l.ReadMessage()
	if err != nil {
		l.t.Fatal(err)
	}
	if kind == websocket.BinaryMessage {
		z, err := zlib.NewReader(bytes.NewReader(raw))
		if err != nil {
			l.t.Fatal(err)
		}
		if raw, err = io.ReadAll(z); err != nil {
			l.t.Fatal(err)
		}
	}
	var g got
	if err := json.Unmarshal(raw, &g); err != nil {
		l.t.Fatalf("%s: %v", raw, err)
	}
	if g.Seq != nil {
		if *g.Seq != l.seq+1 {
			l.t.Errorf("the event %s is number %d after %d", g.Name, *g.Seq, l.seq)
		}
		l.seq = *g.Seq
	}
	return g
}

// want reads the next payload, which has to be this one, and decodes its data.
func (l *line) want(op int, name string, into any) got {
	l.t.Helper()
	g := l.next()
	if g.Op != op || g.Name != name {
		l.t.Fatalf("got op %d %s %s, want op %d %s", g.Op, g.Name, g.Data, op, name)
	}
	if into != nil {
		if err := json.Unmarshal(g.Data, into); err != nil {
			l.t.Fatal(err)
		}
	}
	return g
}

// closed reads the end of the connection and returns its code; 0 if it was cut.
func (l *line) closed() int {
	l.t.Helper()
	for {
		_, _, err := l.ReadMessage()
		if ended, ok := errors.AsType[*websocket.CloseError](err); ok && ended.Code != websocket.CloseAbnormalClosure {
			return ended.Code
		}
		if err != nil {
			return 0
		}
	}
}

func identity(o *office, intents int) object {
	return object{"token": o.Token(), "intents": intents, "properties": object{"os": "linux", "browser": "x", "device": "x"}}
}

// connect connects, identifies and reads READY and the guild.
func (o *office) connect(intents int) *line {
	o.t.Helper()
	l, err := o.dial("")
	if err != nil {
		o.t.Fatal(err)
	}
	l.want(opHello, "", nil)
	l.send(opIdentify, identity(o, intents))
	var ready struct {
		User    struct{ ID string }
		Session string `json:"session_id"`
		Resume  string `json:"resume_gateway_url"`
		App     struct{ ID string }
		Guilds  []struct{ Unavailable bool }
	}
	l.want(opDispatch, "READY", &ready)
	if ready.User.ID != o.Bot().ID || len(ready.Guilds) != 1 || !ready.Guilds[0].Unavailable {
		o.t.Errorf("%+v", ready)
	}
	if intents&intentGuilds != 0 {
		var guild struct {
			ID                string
			Channels, Threads []struct{ ID string }
		}
		l.want(opDispatch, "GUILD_CREATE", &guild)
		if guild.ID != o.Guild() || len(guild.Channels) != 2 {
			o.t.Errorf("%+v", guild)
		}
	}
	l.session, l.resume = ready.Session, ready.Resume
	return l
}

// resumes connects and resumes another line's session.
func (o *office) resumes(old *line, seq int64) *line {
	o.t.Helper()
	l, err := o.dial("/resume")
	if err != nil {
		o.t.Fatal(err)
	}
	l.want(opHello, "", nil)
	l.seq, l.session = seq, old.session
	l.send(opResume, object{"token": o.Token(), "session_id": old.session, "seq": seq})
	return l
}

// TestGatewayClientLibrary receives with the client library that bots use, with its own settings.
func TestGatewayClientLibrary(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	d := o.client()
	d.SyncEvents = true
	d.Identify.Intents = discordgo.Intent(usualIntents)
	var mu sync.Mutex
	var seen []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf(format, args...))
	}
	arrived := make(chan struct{}, 100)
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.MessageCreate) {
		note("create %s %s %d", e.Author.Username, e.Content, len(e.Attachments))
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.MessageUpdate) {
		note("update %s %v", e.Content, e.EditedTimestamp != nil)
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.MessageDelete) {
		note("delete %v", e.ID != "" && e.GuildID == o.Guild())
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.MessageReactionAdd) {
		note("reaction %s %v", e.Emoji.Name, e.UserID == o.ana)
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.MessageReactionRemove) {
		note("no reaction %s", e.Emoji.Name)
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.TypingStart) {
		note("typing %v", e.UserID == o.ana)
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.ThreadCreate) {
		note("thread %s %v", e.Name, e.NewlyCreated)
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.ThreadUpdate) {
		note("thread %s archived %v", e.Name, e.ThreadMetadata.Archived)
		arrived <- struct{}{}
	})
	d.AddHandler(func(_ *discordgo.Session, e *discordgo.ThreadDelete) {
		note("thread gone %v", e.ParentID == o.text)
		arrived <- struct{}{}
	})
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	if o.Connected() != 1 || o.Sessions() != 1 {
		t.Errorf("%d connected, %d sessions", o.Connected(), o.Sessions())
	}
	said := o.Upload(o.text, o.ana, "hello", File{Name: "a.txt", Content: []byte("abc")})
	o.Edit(said, "hello you")
	o.Unfurl(said, Embed{Title: "A page"})
	o.React(said, o.ana, "👀")
	o.Unreact(said, o.ana, "👀")
	o.Typing(o.text, o.ana)
	thread := o.OpenThread(o.text, o.ana, "by hand", "in it")
	o.ArchiveThread(thread.ID, o.ana)
	o.DeleteThread(thread.ID, o.ana)
	o.Delete(said)
	want := []string{
		"create ana hello 1", "update hello you true", "update hello you true", "reaction 👀 true", "no reaction 👀", "typing true",
		"thread by hand true", "create ana by hand 0", "create ana in it 0", "thread by hand archived true", "thread gone true",
		"delete true",
	}
	for range want {
		<-arrived
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := d.CloseWithCode(websocket.CloseNormalClosure); err != nil {
		t.Error(err)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Connections() == 0 && o.Sessions() == 0 }); err != nil {
		t.Error(err)
	}
}

func TestIdentify(t *testing.T) {
	ok := func(o *office) object { return identity(o, usualIntents) }
	with := func(name string, value any) func(*office) object {
		return func(o *office) object {
			d := identity(o, usualIntents)
			d[name] = value
			return d
		}
	}
	tests := map[string]struct {
		options Options
		data    func(*office) object
		code    int
	}{
		"token":      {Options{}, with("token", "wrong"), 4004},
		"intents":    {Options{}, with("intents", 1<<30), 4013},
		"no intents": {Options{}, with("intents", nil), 4013},
		"members":    {Options{}, with("intents", intentMembers), 4014},
		"content":    {Options{NoMessageContent: true}, ok, 4014},
		"shard":      {Options{}, with("shard", []int{1, 2}), 4010},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, tt.options).listen()
			o.FailOnFaults(t)
			l, err := o.dial("")
			if err != nil {
				t.Fatal(err)
			}
			l.want(opHello, "", nil)
			l.send(opIdentify, tt.data(o))
			if code := l.closed(); code != tt.code {
				t.Errorf("closed with %d, want %d", code, tt.code)
			}
			if n := o.GatewayCounts(); n.Identifies != 1 || n.Connections != 1 {
				t.Errorf("%+v", n)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		o := newOffice(t, Options{}).listen()
		l := o.connect(usualIntents)
		l.send(opIdentify, ok(o))
		if code := l.closed(); code != 4005 {
			t.Errorf("closed with %d", code)
		}
	})
	t.Run("rubbish", func(t *testing.T) {
		o := newOffice(t, Options{}).listen()
		for send, code := range map[string]int{
			"{": 4002, `{"op":99}`: 4001, `{"op":3,"d":{}}`: 4003, `{"op":2,"d":{"token":"x"}}`: 4002, `{"d":1}`: 4002,
			strings.Repeat(" ", 5000): 4002,
		} {
			l, err := o.dial("")
			if err != nil {
				t.Fatal(err)
			}
			l.want(opHello, "", nil)
			if err := l.WriteMessage(websocket.TextMessage, []byte(send)); err != nil {
				t.Fatal(err)
			}
			if got := l.closed(); got != code {
				t.Errorf("%.20q: closed with %d, want %d", send, got, code)
			}
		}
		if len(o.Faults()) != 5 {
			t.Errorf("%q", o.Faults())
		}
	})
	t.Run("starts", func(t *testing.T) {
		o := newOffice(t, Options{SessionStarts: 7}).listen()
		o.connect(usualIntents)
		a := o.call("GET", "/gateway/bot", nil)
		if a.at("session_start_limit", "total") != 7.0 || a.at("session_start_limit", "remaining") != 6.0 ||
			a.at("session_start_limit", "max_concurrency") != 1.0 || a.at("shards") != 1.0 {
			t.Error(a.body)
		}
		o.SetSessionStarts(0, time.Hour)
		l, err := o.dial("")
		if err != nil {
			t.Fatal(err)
		}
		l.want(opHello, "", nil)
		l.send(opIdentify, ok(o))
		if code := l.closed(); code != 4004 {
			t.Errorf("closed with %d", code)
		}
		o.want(o.call("GET", "/gateway/bot", nil), 401, 0) // the token was reset
		if len(o.Faults()) != 1 {
			t.Errorf("%q", o.Faults())
		}
	})
	t.Run("too soon", func(t *testing.T) {
		o := newOffice(t, Options{}).listen()
		o.SetLimits(UsualLimits())
		o.connect(usualIntents)
		l, err := o.dial("")
		if err != nil {
			t.Fatal(err)
		}
		l.want(opHello, "", nil)
		l.send(opIdentify, ok(o))
		if g := l.want(opInvalidSession, "", nil); string(g.Data) != "false" {
			t.Errorf("%s", g.Data)
		}
	})
}

func TestResume(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	l := o.connect(usualIntents)
	if !strings.HasSuffix(l.resume, "/resume") {
		t.Errorf("resume at %q", l.resume)
	}
	o.Say(o.text, o.ana, "one")
	l.want(opDispatch, "MESSAGE_CREATE", nil)
	seq := l.seq
	o.CutConnections()
	if code := l.closed(); code != 0 {
		t.Errorf("closed with %d", code)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Connections() == 0 }); err != nil {
		t.Fatal(err)
	}
	o.Say(o.text, o.ana, "two")
	o.Say(o.text, o.ana, "three")
	l = o.resumes(l, seq)
	for _, text := range []string{"two", "three"} {
		var m struct{ Content string }
		if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != text {
			t.Errorf("%+v", m)
		}
	}
	l.want(opDispatch, "RESUMED", nil)
	o.Say(o.text, o.ana, "four")
	l.want(opDispatch, "MESSAGE_CREATE", nil)

	// Closed with a code, and resumed from further back.
	o.CloseConnections(4000)
	if code := l.closed(); code != 4000 {
		t.Errorf("closed with %d", code)
	}
	again := o.resumes(l, l.seq-1)
	again.want(opDispatch, "MESSAGE_CREATE", nil)
	again.want(opDispatch, "RESUMED", nil)

	// The server thinks that the old connection lives.
	third := o.resumes(again, again.seq)
	third.want(opDispatch, "RESUMED", nil)
	if code := again.closed(); code != 0 {
		t.Errorf("the old one was closed with %d", code)
	}
	if n := o.GatewayCounts(); n.Resumes != 3 || n.Resumed != 3 || n.ElsewhereResumes != 0 || n.Identifies != 1 {
		t.Errorf("%+v", n)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Connections() == 1 && o.Connected() == 1 }); err != nil {
		t.Fatal(err)
	}

	future := o.resumes(third, third.seq+100)
	if code := future.closed(); code != 4007 {
		t.Errorf("closed with %d", code)
	}
	o.ForgetSessions()
	lost := o.resumes(third, third.seq)
	if g := lost.want(opInvalidSession, "", nil); string(g.Data) != "false" {
		t.Errorf("%s", g.Data)
	}
	lost.send(opIdentify, identity(o, usualIntents)) // on the same connection
	lost.seq = 0
	lost.want(opDispatch, "READY", nil)

	// 1000 ends a session, anything else does not.
	_ = lost.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	if err := o.Wait(t.Context(), func() bool { return o.Sessions() == 0 }); err != nil {
		t.Fatal(err)
	}
}

func TestSessionEnds(t *testing.T) {
	o := newOffice(t, Options{SessionLife: time.Nanosecond}).listen()
	l := o.connect(usualIntents)
	o.CutConnections()
	l.closed()
	if err := o.Wait(t.Context(), func() bool { return o.Connections() == 0 }); err != nil {
		t.Fatal(err)
	}
	if n := o.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	o.resumes(l, l.seq).want(opInvalidSession, "", nil)
}

// TestMissedAreForgotten says by a heartbeat what has arrived: from further back nothing can be resumed.
func TestMissedAreForgotten(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	l := o.connect(usualIntents)
	for range 3 {
		o.Say(o.text, o.ana, "x")
		l.want(opDispatch, "MESSAGE_CREATE", nil)
	}
	l.send(opHeartbeat, l.seq)
	l.want(opAck, "", nil)
	o.CutConnections()
	l.closed()
	o.resumes(l, 1).want(opInvalidSession, "", nil)
	o.resumes(l, l.seq).want(opDispatch, "RESUMED", nil)
}

func TestContent(t *testing.T) {
	o := newOffice(t, Options{NoMessageContent: true}).listen()
	o.FailOnFaults(t)
	l := o.connect(intentGuilds | intentMessages)
	o.Upload(o.text, o.ana, "secret", File{Name: "a.txt", Content: []byte("x")})
	type seen struct {
		Content     string
		Attachments []struct{ ID string }
		Embeds      []struct{ Type string }
		Replied     *seen `json:"referenced_message"`
	}
	var m seen
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != "" || len(m.Attachments) != 0 {
		t.Errorf("%+v", m)
	}
	said := o.Say(o.text, o.ana, "hey <@"+o.Bot().ID+">")
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content == "" {
		t.Error("a mention of the bot comes without content")
	}
	own := o.send(o.text, "mine")
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != "mine" {
		t.Error("the bot's own message comes without content")
	}
	o.Reply(Message{Channel: o.text, ID: own}, o.ana, "reply")
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != "reply" || m.Replied == nil || m.Replied.Content != "mine" {
		t.Errorf("a reply pings the bot: %+v", m)
	}
	o.Edit(o.Say(o.text, o.ana, "before"), "after")
	l.want(opDispatch, "MESSAGE_CREATE", &m)
	if l.want(opDispatch, "MESSAGE_UPDATE", &m); m.Content != "" {
		t.Errorf("%+v", m)
	}
	o.Reply(o.Messages(o.text)[0], o.ben, "x")
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != "" || m.Replied == nil || m.Replied.Content != "" {
		t.Errorf("%+v", m)
	}
	a := o.call("GET", "/channels/"+o.text+"/messages?after="+said.ID+"&limit=3", nil)
	if a.str(2, "content") != "mine" || a.str(0, "content") != "" {
		t.Errorf("by the HTTP API: %s", a.body)
	}
}

func TestIntents(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	l := o.connect(intentMessages)
	said := o.Say(o.text, o.ana, "one")
	o.React(said, o.ana, "👀")
	o.Typing(o.text, o.ana)
	o.OpenThread(o.text, o.ana, "x", "")
	o.Deny(o.text, ViewChannel)
	o.Say(o.text, o.ana, "unseen")
	o.Allow(o.text, ViewChannel)
	o.Say(o.text, o.ana, "two")
	for _, kind := range []int{Ordinary, ThreadCreated, Ordinary} {
		var m struct{ Type int }
		if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Type != kind {
			t.Errorf("%+v", m)
		}
	}
}

func TestGreetings(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	dial := func() *line {
		t.Helper()
		l, err := o.dial("")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	hold := make(chan struct{})
	o.GreetNext(
		Greeting{Status: http.StatusServiceUnavailable}, Greeting{Abort: true}, Greeting{Close: 4008}, Greeting{Silent: true},
		Greeting{Reconnect: true}, Greeting{InvalidSession: true}, Greeting{Mute: true}, Greeting{NoAcks: true}, Greeting{Hold: hold},
	)
	if l, err := o.dial(""); err == nil {
		t.Errorf("it stands: %v", l)
	}
	if l, err := o.dial(""); err == nil && l.closed() != 0 { // cut, perhaps before the client knew that it stands
		t.Error("it was closed in an orderly way")
	}
	if code := dial().closed(); code != 4008 {
		t.Errorf("closed with %d", code)
	}
	nothing := func(l *line) {
		t.Helper()
		_ = l.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, raw, err := l.ReadMessage(); err == nil {
			t.Errorf("it said %s", raw)
		}
	}
	silent := dial()
	silent.send(opIdentify, identity(o, usualIntents))
	nothing(silent)
	reconnect := dial()
	reconnect.want(opHello, "", nil)
	reconnect.send(opIdentify, identity(o, usualIntents))
	reconnect.want(opReconnect, "", nil)
	invalid := dial()
	invalid.want(opHello, "", nil)
	invalid.send(opIdentify, identity(o, usualIntents))
	invalid.want(opInvalidSession, "", nil)
	mute := dial()
	mute.want(opHello, "", nil)
	mute.send(opIdentify, identity(o, usualIntents))
	mute.send(opHeartbeat, nil)
	mute.want(opAck, "", nil)
	nothing(mute)
	noAcks := dial()
	noAcks.want(opHello, "", nil)
	noAcks.send(opHeartbeat, nil)
	nothing(noAcks)
	held := dial()
	close(hold)
	held.want(opHello, "", nil)
	o.Greet(Greeting{Close: 4000})
	for range 2 {
		if code := dial().closed(); code != 4000 {
			t.Errorf("closed with %d", code)
		}
	}
	if n := o.GatewayCounts(); n.Connections != 11 || n.Identifies != 3 || n.Heartbeats != 2 {
		t.Errorf("%+v", n)
	}
}

func TestGatewayControls(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	l := o.connect(usualIntents)
	release := o.HoldEvents()
	o.Say(o.text, o.ana, "one")
	o.Say(o.text, o.ana, "two")
	l.send(opHeartbeat, l.seq)
	l.want(opAck, "", nil) // it overtakes what is held
	release()
	var m struct{ Content string }
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != "one" {
		t.Errorf("%+v", m)
	}
	l.want(opDispatch, "MESSAGE_CREATE", nil)
	o.DelayEvents(30 * time.Millisecond)
	began := time.Now()
	o.Say(o.text, o.ana, "late")
	o.DelayEvents(0)
	o.Say(o.text, o.ana, "not before it")
	if l.want(opDispatch, "MESSAGE_CREATE", &m); m.Content != "late" || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%+v after %v", m, time.Since(began))
	}
	l.want(opDispatch, "MESSAGE_CREATE", nil)
	o.AskReconnect()
	l.want(opReconnect, "", nil)
	o.AskHeartbeat()
	l.want(opHeartbeat, "", nil)
	o.PushEvent("NOVELTY", map[string]any{"x": 1})
	if g := l.want(opDispatch, "NOVELTY", nil); string(g.Data) != `{"x":1}` {
		t.Errorf("%s", g.Data)
	}
	o.PushFrame("rubbish")
	if _, raw, err := l.ReadMessage(); string(raw) != "rubbish" {
		t.Errorf("%s %v", raw, err)
	}
	o.InvalidateSessions(true)
	if g := l.want(opInvalidSession, "", nil); string(g.Data) != "true" || o.Sessions() != 1 {
		t.Errorf("%s, %d sessions", g.Data, o.Sessions())
	}
	o.StopAcks(true)
	l.send(opHeartbeat, l.seq)
	if err := o.Wait(t.Context(), func() bool { return o.GatewayCounts().Heartbeats == 2 }); err != nil {
		t.Fatal(err)
	}
	o.StopAcks(false)
	l.send(opHeartbeat, l.seq)
	l.want(opAck, "", nil) // of the third
	o.InvalidateSessions(false)
	if g := l.want(opInvalidSession, "", nil); string(g.Data) != "false" || o.Sessions() != 0 {
		t.Errorf("%s, %d sessions", g.Data, o.Sessions())
	}
	l.seq = 0
	l.send(opIdentify, identity(o, usualIntents))
	l.want(opDispatch, "READY", nil)
	l.want(opDispatch, "GUILD_CREATE", nil)
	o.Kick("")
	l.want(opDispatch, "GUILD_DELETE", nil)
	o.Say(o.text, o.ana, "unheard")
	o.Invite("")
	l.want(opDispatch, "GUILD_CREATE", nil)
	o.Revoke()
	if code := l.closed(); code != 4004 {
		t.Errorf("closed with %d", code)
	}
}

// TestHeartbeatMissing leaves the heartbeats out: the connection ends, the session does not.
func TestHeartbeatMissing(t *testing.T) {
	o := newOffice(t, Options{Heartbeat: 20 * time.Millisecond}).listen()
	o.FailOnFaults(t)
	l := o.connect(usualIntents)
	if code := l.closed(); code != 4000 {
		t.Errorf("closed with %d", code)
	}
	o.resumes(l, l.seq).want(opDispatch, "RESUMED", nil)
}

func TestPayloadCompression(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	l, err := o.dial("")
	if err != nil {
		t.Fatal(err)
	}
	l.want(opHello, "", nil)
	d := identity(o, usualIntents)
	d["compress"] = true
	l.send(opIdentify, d)
	l.want(opDispatch, "READY", nil)
	l.want(opDispatch, "GUILD_CREATE", nil)
	if len(o.Faults()) != 0 {
		t.Errorf("%q", o.Faults())
	}
	address := strings.Replace(o.base, "http", "ws", 1) + "/?v=10&encoding=json&compress=zlib-stream"
	if ws, response, err := websocket.DefaultDialer.DialContext(t.Context(), address, nil); err == nil {
		_ = ws.Close()
		t.Error("it stands with transport compression")
	} else {
		_ = response.Body.Close()
	}
	if len(o.Faults()) != 1 {
		t.Errorf("%q", o.Faults())
	}
	old, response, err := websocket.DefaultDialer.DialContext(t.Context(), strings.Replace(address, "v=10&encoding=json&compress=zlib-stream", "v=6", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	defer old.Close()
	if code := (&line{Conn: old, t: t}).closed(); code != 4012 {
		t.Errorf("closed with %d", code)
	}
}

// TestEventFields looks at what events say beyond the message.
func TestEventFields(t *testing.T) {
	o := newOffice(t, Options{}).listen()
	o.FailOnFaults(t)
	l := o.connect(usualIntents)
	type event struct {
		GuildID string `json:"guild_id"`
		Nonce   string
		Member  *struct{ Nick *string }
		Webhook string `json:"webhook_id"`
		Author  struct {
			ID  string
			Bot bool
		}
		Type int
	}
	var e event
	o.call("POST", "/channels/"+o.text+"/messages", object{"content": "x", "nonce": "n"})
	if l.want(opDispatch, "MESSAGE_CREATE", &e); e.Nonce != "n" || e.GuildID != o.Guild() || e.Member == nil || !e.Author.Bot {
		t.Errorf("%+v", e)
	}
	hook := o.AddWebhook(o.text, "other")
	o.Send(Post{Channel: o.text, Webhook: hook.ID, Name: "CI", Text: "built"})
	e = event{}
	if l.want(opDispatch, "MESSAGE_CREATE", &e); e.Webhook != hook.ID || e.Author.ID != hook.ID || e.Member != nil {
		t.Errorf("%+v", e)
	}
	bot := o.AddUser(User{Name: "other bot", Bot: true})
	said := o.Say(o.text, bot.ID, "beep")
	if l.want(opDispatch, "MESSAGE_CREATE", &e); !e.Author.Bot {
		t.Errorf("%+v", e)
	}
	o.Pin(said, o.ana)
	l.want(opDispatch, "MESSAGE_UPDATE", nil)
	l.want(opDispatch, "CHANNEL_PINS_UPDATE", nil)
	if l.want(opDispatch, "MESSAGE_CREATE", &e); e.Type != Pinned {
		t.Errorf("%+v", e)
	}
	thread := o.OpenThreadOn(said, o.ana, "t")
	var th struct {
		New  bool `json:"newly_created"`
		Meta struct {
			Archived, Locked bool
			Auto             int `json:"auto_archive_duration"`
		} `json:"thread_metadata"`
		Parent string `json:"parent_id"`
	}
	if l.want(opDispatch, "THREAD_CREATE", &th); !th.New || th.Parent != o.text || th.Meta.Auto != 4320 {
		t.Errorf("%+v", th)
	}
	l.want(opDispatch, "MESSAGE_UPDATE", nil)
	if l.want(opDispatch, "MESSAGE_CREATE", &e); e.Type != ThreadStarter {
		t.Errorf("%+v", e)
	}
	o.RenameThread(thread.ID, o.ana, "u")
	l.want(opDispatch, "THREAD_UPDATE", nil)
	if l.want(opDispatch, "MESSAGE_CREATE", &e); e.Type != Renamed {
		t.Errorf("%+v", e)
	}
	o.AddToThread(thread.ID, o.ana, o.ben)
	if l.want(opDispatch, "MESSAGE_CREATE", &e); e.Type != RecipientAdd {
		t.Errorf("%+v", e)
	}
	o.LockThread(thread.ID, o.ana, true)
	if l.want(opDispatch, "THREAD_UPDATE", &th); !th.Meta.Archived || !th.Meta.Locked {
		t.Errorf("%+v", th)
	}
	o.UnarchiveThread(thread.ID, o.ana)
	if l.want(opDispatch, "THREAD_UPDATE", &th); th.Meta.Archived || !th.Meta.Locked {
		t.Errorf("%+v", th)
	}
	o.DeleteChannel(o.text)
	l.want(opDispatch, "CHANNEL_DELETE", nil)
	if threads := o.Threads(""); len(threads) != 0 || len(o.Messages(o.text)) != 0 {
		t.Errorf("%+v", threads)
	}
}
