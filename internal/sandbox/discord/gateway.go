package discord

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// The gateway's operations (https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway).
const (
	opDispatch       = 0
	opHeartbeat      = 1
	opIdentify       = 2
	opPresence       = 3
	opResume         = 6
	opReconnect      = 7
	opInvalidSession = 9
	opHello          = 10
	opAck            = 11
)

// The close codes that the sandbox itself gives.
const (
	closeUnknown        = 4000
	closeOpcode         = 4001
	closeDecode         = 4002
	closeUnidentified   = 4003
	closeAuthentication = 4004
	closeIdentified     = 4005
	closeSequence       = 4007
	closeRate           = 4008
	closeShard          = 4010
	closeVersion        = 4012
	closeIntents        = 4013
	closeDisallowed     = 4014
)

// The intents that the sandbox's events belong to, and those that exist.
const (
	intentGuilds         = 1 << 0
	intentMembers        = 1 << 1
	intentPresences      = 1 << 8
	intentMessages       = 1 << 9
	intentReactions      = 1 << 10
	intentTyping         = 1 << 11
	intentMessageContent = 1 << 15

	intentsPrivileged = intentMembers | intentPresences | intentMessageContent
	intentsKnown      = 1<<17 - 1 | 1<<20 | 1<<21 | 1<<24 | 1<<25
)

// maxMissed is how many events of a session are kept for a resume. A client's heartbeats say what it has, and that goes.
const maxMissed = 10_000

// gateway is the gateway's state, under the server's lock.
type gateway struct {
	greeting    Greeting   // of each connection
	next        []Greeting // of the next ones
	noAcks      bool
	held        bool // dispatches wait
	delay       time.Duration
	conns       []*conn
	sessions    []*session
	starts      int // identifies left
	startsReset time.Time
	identified  time.Time // the last identify, for the limit
	count       GatewayCounts
}

// GatewayCounts are what came to the gateway so far.
type GatewayCounts struct {
	Connections int // that were opened
	Identifies  int // all, those refused too
	Resumes     int // all, those refused too
	Resumed     int // with success
	Heartbeats  int
	// ElsewhereResumes are resumes that did not come to resume_gateway_url.
	ElsewhereResumes int
}

// Greeting is what a new connection meets. The zero value is an ordinary one.
type Greeting struct {
	// Status refuses the upgrade with an HTTP status.
	Status int
	// Abort cuts the connection as soon as it stands.
	Abort bool
	// Close closes it with a code as soon as it stands.
	Close int
	// Silent takes the connection and never says anything, not even hello.
	Silent bool
	// Hold keeps hello back until the channel is closed or yields.
	Hold <-chan struct{}
	// Reconnect, InvalidSession and Mute answer an identify or resume with op 7, with op 9 that cannot be resumed, with nothing.
	Reconnect      bool
	InvalidSession bool
	Mute           bool
	// NoAcks never acknowledges a heartbeat of the connection.
	NoAcks bool
}

// session is a session of the bot's. It outlives its connection.
type session struct {
	id      string
	intents int
	zipped  bool
	seq     int64
	missed  []event // what can be replayed
	conn    *conn   // nil while there is none
	lost    time.Time
}

type event struct {
	seq  int64
	name string
	body []byte
}

// conn is a connection to the gateway.
type conn struct {
	ws       *websocket.Conn
	greeting Greeting
	resuming bool // it came to resume_gateway_url
	base     string
	session  *session
	frames   []frame
	wake     chan struct{}
	done     chan struct{}
	sent     []time.Time // by the client, for the limit
	closing  bool        // the server closes it
}

// frame is a payload on its way to the client, or the end of the connection.
type frame struct {
	body     []byte
	dispatch bool
	due      time.Time
	zipped   bool
	close    int
}

// GatewayCounts returns what came to the gateway so far.
func (s *Server) GatewayCounts() GatewayCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gateway.count
}

// Connected returns how many connections have a session now.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.gateway.conns {
		if c.session != nil {
			n++
		}
	}
	return n
}

// Connections returns how many connections are open now, those without a session too.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.gateway.conns)
}

// Sessions returns how many sessions could be resumed or are in use.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireSessions()
	return len(s.gateway.sessions)
}

// Greet sets what every new connection meets.
func (s *Server) Greet(g Greeting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.greeting = g
}

// GreetNext lines up what the next connections meet, one for each, before what Greet has set.
func (s *Server) GreetNext(g ...Greeting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.next = append(s.gateway.next, g...)
}

// StopAcks has heartbeats not acknowledged any more, on all connections, or acknowledged again.
func (s *Server) StopAcks(stop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.noAcks = stop
}

// HoldEvents keeps dispatches back until release is called; they come then, in order. READY is not kept back.
func (s *Server) HoldEvents() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.held = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gateway.held = false
		s.wakeAll()
	}
}

// DelayEvents has each dispatch come so much later. 0 takes it back for those to come.
func (s *Server) DelayEvents(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.delay = d
}

func (s *Server) wakeAll() {
	for _, c := range s.gateway.conns {
		c.rouse()
	}
}

// CutConnections cuts all connections without a close frame. Their sessions can be resumed.
func (s *Server) CutConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.gateway.conns {
		c.cut()
	}
}

// CloseConnections closes all connections with a code. Their sessions can be resumed.
func (s *Server) CloseConnections(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeConnections(code)
}

func (s *Server) closeConnections(code int) {
	for _, c := range s.gateway.conns {
		c.hangUp(code)
	}
}

// AskReconnect sends op 7 to all connections. It does not close them.
func (s *Server) AskReconnect() { s.say(`{"op":7,"d":null}`) }

// AskHeartbeat sends op 1 to all connections, which asks for a heartbeat at once.
func (s *Server) AskHeartbeat() { s.say(`{"op":1,"d":null}`) }

// PushFrame sends any text to all connections, such as what is no JSON.
func (s *Server) PushFrame(text string) { s.say(text) }

func (s *Server) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.gateway.conns {
		c.push(frame{body: []byte(text)})
	}
}

// InvalidateSessions sends op 9 to all connections. Sessions that are not resumable are forgotten; the connections stay.
func (s *Server) InvalidateSessions(resumable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.gateway.conns {
		c.push(frame{body: invalidSession(resumable)})
	}
	if !resumable {
		s.forgetSessions()
	}
	s.back.Change()
}

// ForgetSessions has the gateway know no session any more: a resume is answered with op 9. Open connections go on without one.
func (s *Server) ForgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetSessions()
	s.back.Change()
}

func (s *Server) forgetSessions() {
	for _, one := range s.gateway.sessions {
		if one.conn != nil {
			one.conn.session = nil
		}
	}
	s.gateway.sessions = nil
}

// expireSessions forgets the sessions that were without a connection for too long.
func (s *Server) expireSessions() {
	s.gateway.sessions = slices.DeleteFunc(s.gateway.sessions, func(one *session) bool {
		return one.conn == nil && time.Since(one.lost) > s.options.SessionLife
	})
}

// SetSessionStarts sets how often the bot may identify until a time; then it is the usual number again.
func (s *Server) SetSessionStarts(remaining int, reset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.starts, s.gateway.startsReset = remaining, time.Now().Add(reset)
}

// SetPrivilegedIntents sets which of the privileged intents the application may ask for: GUILD_MEMBERS 1<<1, GUILD_PRESENCES
// 1<<8, MESSAGE_CONTENT 1<<15. In the beginning it is the last one alone, unless Options.NoMessageContent is on.
func (s *Server) SetPrivilegedIntents(intents int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.privileged = intents & intentsPrivileged
}

// resetStarts gives a new day's identifies when the old day is over.
func (g *gateway) resetStarts(total int) time.Duration {
	left := time.Until(g.startsReset)
	if left <= 0 {
		if !g.startsReset.IsZero() {
			g.starts = total
		}
		left = 24 * time.Hour
		g.startsReset = time.Now().Add(left)
	}
	return left
}

func (s *Server) getGateway(q *request) (any, error) {
	return object{"url": webSocketURL(q.base)}, nil
}

func (s *Server) getBotGateway(q *request) (any, error) {
	left := s.gateway.resetStarts(s.options.SessionStarts)
	return object{
		"url": webSocketURL(q.base), "shards": 1,
		"session_start_limit": object{
			"total": s.options.SessionStarts, "remaining": s.gateway.starts, "reset_after": left.Milliseconds(), "max_concurrency": 1,
		},
	}, nil
}

// dispatch tells every session that asked for the intent; 0 is for all. Of a guild that the bot is not in it tells nothing. The
// caller holds the lock.
func (s *Server) dispatch(name string, intent int, data object) {
	id, _ := data["guild_id"].(snowflake)
	if slices.ContainsFunc(s.guilds, func(g *guild) bool { return g.id == id && g.left }) {
		return
	}
	s.tell(name, intent, func(bool) any { return data })
}

// tellOf tells of something in a channel, if the bot can see the channel.
func (s *Server) tellOf(c *channel, name string, intent int, data object) {
	if c.may(ViewChannel) {
		s.dispatch(name, intent, data)
	}
}

// tell tells every session that asked for the intent; whole is whether it sees contents.
func (s *Server) tell(name string, intent int, data func(whole bool) any) {
	if len(s.gateway.sessions) == 0 {
		return
	}
	s.expireSessions()
	var bodies [2][]byte
	for _, one := range s.gateway.sessions {
		if intent != 0 && one.intents&intent == 0 {
			continue
		}
		i, whole := 0, one.intents&intentMessageContent != 0
		if whole {
			i = 1
		}
		if bodies[i] == nil {
			body, err := json.Marshal(data(whole))
			if err != nil {
				s.fault("control: the event %s is no JSON: %v", name, err)
				return
			}
			bodies[i] = body
		}
		s.send(one, name, bodies[i])
	}
}

// send puts an event into a session, and on the way if it has a connection.
func (s *Server) send(to *session, name string, body []byte) {
	to.seq++
	e := event{to.seq, name, body}
	to.missed = append(to.missed, e)
	if len(to.missed) > maxMissed {
		to.missed = slices.Clone(to.missed[len(to.missed)-maxMissed/2:])
	}
	if to.conn != nil {
		to.conn.push(frame{
			body: e.payload(), dispatch: true, due: time.Now().Add(s.gateway.delay), zipped: to.zipped,
		})
	}
}

func (e event) payload() []byte {
	body, err := json.Marshal(struct {
		Op   int             `json:"op"`
		Data json.RawMessage `json:"d"`
		Seq  int64           `json:"s"`
		Name string          `json:"t"`
	}{opDispatch, e.body, e.seq, e.name})
	if err != nil {
		return []byte("{}") // the body was marshalled before
	}
	return body
}

// tellMessage tells of a message that is new or changed: the message, and of which guild and member.
func (s *Server) tellMessage(name string, m *message) {
	if !m.channel.may(ViewChannel) {
		return
	}
	s.tell(name, intentMessages, func(whole bool) any {
		o := s.wireMessage(m, true)
		if name == "MESSAGE_CREATE" {
			o = s.withNonce(m)
		}
		o["guild_id"] = m.channel.guild.id
		o.set("member", s.wireMember(m.author, false), m.webhook == nil)
		for _, mentioned := range mentions(o) {
			if u := s.users[flake(text(stringOf(mentioned["id"])))]; u != nil {
				mentioned["member"] = s.wireMember(u, false)
			}
		}
		o.set("channel_type", int(m.channel.kind), true)
		if !whole {
			o = s.contentless(m, o)
		}
		return o
	})
}

func mentions(o object) []object {
	list, _ := o["mentions"].([]object)
	return list
}

func stringOf(v any) *string {
	text, _ := v.(string)
	return &text
}

// tellThread tells of a new thread.
func (s *Server) tellThread(t *channel) {
	o := s.wireChannel(t)
	o["newly_created"] = true
	s.tellOf(t, "THREAD_CREATE", intentGuilds, o)
}

func (s *Server) tellTyping(c *channel, u *User) {
	s.tellOf(c, "TYPING_START", intentTyping, object{
		"channel_id": c.id, "guild_id": c.guild.id, "user_id": u.ID, "timestamp": time.Now().Unix(), "member": s.wireMember(u, true),
	})
}

// push puts a frame into the queue. The caller holds the server's lock.
func (c *conn) push(f frame) {
	c.frames = append(c.frames, f)
	c.rouse()
}

func (c *conn) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// cut ends the connection as a broken line does.
func (c *conn) cut() {
	raw := c.ws.NetConn()
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // reset, not closed in an orderly way
	}
	_ = raw.Close()
}

// hangUp closes the connection with a code. What is still in the queue is not sent.
func (c *conn) hangUp(code int) {
	c.frames, c.closing = nil, true
	c.push(frame{close: code})
}

func invalidSession(resumable bool) []byte {
	if resumable {
		return []byte(`{"op":9,"d":true}`)
	}
	return []byte(`{"op":9,"d":false}`)
}

// serveGateway serves a connection until its end.
func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	base := s.address(r)
	s.mu.Lock()
	g := &s.gateway
	greeting := g.greeting
	if len(g.next) > 0 {
		greeting, g.next = g.next[0], g.next[1:]
	}
	g.count.Connections++
	s.back.Change()
	s.mu.Unlock()
	if greeting.Status != 0 {
		stage.Write(w, greeting.Status, nil)
		return
	}
	query := r.URL.Query()
	for name, wanted := range map[string]string{"encoding": "json", "compress": ""} {
		if got := query.Get(name); got != wanted && (got != "" || name == "compress") {
			s.fault("gateway: the sandbox does not serve %s=%s", name, got)
			s.answer(w, nil, refuse(http.StatusBadRequest, 0, "400: Bad Request"))
			return
		}
	}
	upgrader := websocket.Upgrader{
		CheckOrigin: func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
			stage.Write(w, status, nil)
		},
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	ws.SetReadLimit(1 << 20)
	c := &conn{
		ws: ws, greeting: greeting, base: base, resuming: strings.HasPrefix(r.URL.Path, "/resume"), wake: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	s.mu.Lock()
	g.conns = append(g.conns, c)
	version := query.Get("v")
	switch {
	case greeting.Abort:
		c.cut()
	case greeting.Close != 0:
		c.hangUp(greeting.Close)
	case version != "9" && version != "10" && version != "":
		c.hangUp(closeVersion)
	case !greeting.Silent && greeting.Hold == nil:
		c.push(s.hello())
	}
	s.mu.Unlock()
	s.back.Go(func() { s.write(c) })
	s.read(c)
	close(c.done)
	_ = ws.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	g.conns = slices.DeleteFunc(g.conns, func(one *conn) bool { return one == c })
	if c.session != nil && c.session.conn == c {
		c.session.conn, c.session.lost = nil, time.Now()
	}
	s.back.Change()
}

func (s *Server) hello() frame {
	body, err := json.Marshal(object{"op": opHello, "d": object{"heartbeat_interval": s.options.Heartbeat.Milliseconds()}})
	if err != nil {
		body = nil // a number
	}
	return frame{body: body}
}

// write sends what is in the queue until the connection ends.
func (s *Server) write(c *conn) {
	hold := c.greeting.Hold
	for {
		s.mu.Lock()
		f, after := c.take(s.gateway.held)
		s.mu.Unlock()
		if f != nil {
			switch {
			case f.close != 0:
				c.bye(*f, s.back.Closed())
				return
			case !c.put(*f):
				return
			}
			continue
		}
		timer := time.NewTimer(after)
		select {
		case <-c.wake:
		case <-timer.C:
		case <-hold:
			hold = nil
			s.mu.Lock()
			c.push(s.hello())
			s.mu.Unlock()
		case <-s.back.Closed():
			_ = c.ws.Close()
			timer.Stop()
			return
		case <-c.done:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// take takes the first frame that may go now out of the queue; without one it says how long to wait. Dispatches keep their order
// among themselves; anything else overtakes those that wait.
func (c *conn) take(held bool) (*frame, time.Duration) {
	blocked := held
	after := time.Hour
	for i := range c.frames {
		f := c.frames[i]
		if f.dispatch {
			if wait := time.Until(f.due); !blocked && wait > 0 {
				blocked, after = true, wait
			}
			if blocked {
				continue
			}
		}
		c.frames = slices.Delete(c.frames, i, i+1)
		return &f, 0
	}
	return nil, after
}

// bye says goodbye with a code, and gives the client a moment to hear it.
func (c *conn) bye(f frame, closed <-chan struct{}) {
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(f.close, closeText(f.close)),
		time.Now().Add(time.Second))
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-closed:
	case <-c.done:
	}
	_ = c.ws.Close()
}

// put writes a frame and says whether the connection goes on.
func (c *conn) put(f frame) bool {
	_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
	kind, body := websocket.TextMessage, f.body
	if f.zipped { // "compress": each payload for itself
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		_, _ = z.Write(body)
		_ = z.Close()
		kind, body = websocket.BinaryMessage, out.Bytes()
	}
	if c.ws.WriteMessage(kind, body) != nil {
		_ = c.ws.Close()
		return false
	}
	return true
}

func closeText(code int) string {
	return map[int]string{
		closeUnknown: "Unknown error.", closeOpcode: "Unknown opcode.", closeDecode: "Error while decoding payload.",
		closeUnidentified: "Not authenticated.", closeAuthentication: "Authentication failed.",
		closeIdentified: "Already authenticated.", closeSequence: "Invalid seq.", closeRate: "Rate limited.",
		4009: "Session timed out.", closeShard: "Invalid shard.", closeVersion: "Invalid API version.", closeIntents: "Invalid intent(s).",
		closeDisallowed: "Disallowed intent(s).",
	}[code]
}

// payload is what a client sends.
type payload struct {
	Op   *int            `json:"op"`
	Data json.RawMessage `json:"d"`
}

// read reads what the client sends until the connection ends. A client that does not beat in time is cut off; its session can be
// resumed ("your connection will be closed and you will be forced to Resume").
func (s *Server) read(c *conn) {
	_ = c.ws.SetReadDeadline(time.Now().Add(2 * s.options.Heartbeat))
	for {
		_, raw, err := c.ws.ReadMessage()
		if ended, ok := errors.AsType[*websocket.CloseError](err); ok {
			// "When you close the connection to the gateway with close code 1000 or 1001, your session will be invalidated."
			if ended.Code == websocket.CloseNormalClosure || ended.Code == websocket.CloseGoingAway {
				s.mu.Lock()
				if !c.closing {
					s.endSession(c)
				}
				s.mu.Unlock()
			}
			return
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(closeUnknown, closeText(closeUnknown)),
				time.Now().Add(time.Second))
			return
		}
		if err != nil {
			return
		}
		var p payload
		code := 0
		s.mu.Lock()
		switch {
		case c.greeting.Silent || c.closing:
		case len(raw) > 4096, json.Unmarshal(raw, &p) != nil, p.Op == nil:
			// "Must not exceed 4096 bytes. If an event payload does exceed 4096 bytes, the connection will be closed with a 4002."
			code = closeDecode
		default:
			code = s.receive(c, *p.Op, p.Data)
		}
		if code != 0 {
			if code == closeDecode || code == closeOpcode {
				s.fault("gateway: a payload of op %d that cannot be read", value(p.Op))
			}
			c.hangUp(code)
		}
		s.back.Change()
		s.mu.Unlock()
	}
}

func value(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

func (s *Server) endSession(c *conn) {
	s.gateway.sessions = slices.DeleteFunc(s.gateway.sessions, func(one *session) bool { return one == c.session })
	c.session = nil
}

// receive obeys a payload and returns the code to close with, or 0.
func (s *Server) receive(c *conn, op int, data json.RawMessage) int {
	g := &s.gateway
	if op == opHeartbeat {
		g.count.Heartbeats++
		_ = c.ws.SetReadDeadline(time.Now().Add(2 * s.options.Heartbeat))
		var seq *int64
		if json.Unmarshal(data, &seq) != nil {
			return closeDecode
		}
		if c.session != nil && seq != nil {
			c.session.missed = slices.DeleteFunc(c.session.missed, func(e event) bool { return e.seq < *seq })
		}
		if !g.noAcks && !c.greeting.NoAcks {
			c.push(frame{body: []byte(`{"op":11}`)})
		}
		return 0
	}
	// "Apps can send 120 gateway events per connection every 60 seconds." Heartbeats are not counted here: with a short interval they
	// alone would be too many.
	now := time.Now()
	c.sent = append(slices.DeleteFunc(c.sent, func(t time.Time) bool { return now.Sub(t) > time.Minute }), now)
	if len(c.sent) > 120 {
		return closeRate
	}
	switch op {
	case opIdentify:
		g.count.Identifies++
		if c.session != nil {
			return closeIdentified
		}
		return s.identify(c, data)
	case opResume:
		g.count.Resumes++
		if !c.resuming {
			g.count.ElsewhereResumes++
		}
		if c.session != nil {
			return closeIdentified
		}
		return s.resume(c, data)
	case opPresence:
		if c.session == nil {
			return closeUnidentified
		}
		return 0
	}
	return closeOpcode
}

// authentic says whether the token is the bot's. The word Bot may stand before it, as in the HTTP API.
func (s *Server) authentic(token string) bool {
	return !s.revoked && strings.TrimPrefix(token, "Bot ") == s.options.Token
}

// spoiled does what the greeting wants in place of an answer to an identify or resume.
func (c *conn) spoiled() bool {
	switch {
	case c.greeting.Reconnect:
		c.push(frame{body: []byte(`{"op":7,"d":null}`)})
	case c.greeting.InvalidSession:
		c.push(frame{body: invalidSession(false)})
	default:
		return c.greeting.Mute
	}
	return true
}

func (s *Server) identify(c *conn, data json.RawMessage) int {
	var d struct {
		Token      string             `json:"token"`
		Properties *map[string]string `json:"properties"`
		Intents    *int               `json:"intents"`
		Compress   bool               `json:"compress"`
		Shard      []int              `json:"shard"`
		Threshold  int                `json:"large_threshold"`
		Presence   json.RawMessage    `json:"presence"`
	}
	g := &s.gateway
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	switch err := decoder.Decode(&d); {
	case err != nil || d.Properties == nil:
		return closeDecode
	case !s.authentic(d.Token):
		return closeAuthentication
	case len(d.Shard) > 0 && (len(d.Shard) != 2 || d.Shard[0] != 0 || d.Shard[1] != 1):
		return closeShard
	case d.Intents == nil || *d.Intents&^intentsKnown != 0 || *d.Intents < 0:
		return closeIntents
	case *d.Intents&intentsPrivileged&^s.privileged != 0:
		return closeDisallowed
	}
	if c.spoiled() {
		return 0
	}
	if every := s.limits.IdentifyEvery; every > 0 && time.Since(g.identified) < every {
		c.push(frame{body: invalidSession(false)})
		return 0
	}
	g.resetStarts(s.options.SessionStarts)
	if g.starts <= 0 {
		// "Upon hitting this limit, all active sessions for the app will be terminated, the bot token will be reset."
		s.fault("gateway: the bot has identified more often than session_start_limit allows")
		s.revoked = true
		s.forgetSessions()
		return closeAuthentication
	}
	g.starts--
	g.identified = time.Now()
	to := &session{id: newToken(16), intents: *d.Intents, zipped: d.Compress, conn: c}
	c.session = to
	g.sessions = append(g.sessions, to)
	guilds := make([]object, 0, len(s.guilds))
	for _, one := range s.guilds {
		if !one.left {
			guilds = append(guilds, object{"id": one.id, "unavailable": true})
		}
	}
	s.first(to, "READY", object{
		"v": 10, "user": s.wireUser(s.bot), "guilds": guilds, "session_id": to.id,
		"resume_gateway_url": strings.TrimSuffix(webSocketURL(c.base), "/") + "/resume", "shard": []int{0, 1},
		"application": object{"id": s.appID, "flags": s.appFlags()}, "private_channels": []object{}, "user_settings": object{},
		"relationships": []object{}, "presences": []object{}, "session_type": "normal",
	})
	if to.intents&intentGuilds != 0 {
		for _, one := range s.guilds {
			if !one.left {
				s.first(to, "GUILD_CREATE", s.wireGuildCreate(one))
			}
		}
	}
	return 0
}

// first sends an event that is neither held nor delayed.
func (s *Server) first(to *session, name string, data object) {
	body, err := json.Marshal(data)
	if err != nil {
		s.fault("gateway: the event %s is no JSON: %v", name, err)
		return
	}
	s.send(to, name, body)
	if n := len(to.conn.frames); n > 0 {
		to.conn.frames[n-1].dispatch = false
	}
}

// resume goes on with a session: what it missed, then RESUMED.
func (s *Server) resume(c *conn, data json.RawMessage) int {
	var d struct {
		Token   string `json:"token"`
		Session string `json:"session_id"`
		Seq     *int64 `json:"seq"`
	}
	switch err := json.Unmarshal(data, &d); {
	case err != nil || d.Seq == nil:
		return closeDecode
	case !s.authentic(d.Token):
		return closeAuthentication
	}
	if c.spoiled() {
		return 0
	}
	s.expireSessions()
	i := slices.IndexFunc(s.gateway.sessions, func(one *session) bool { return one.id == d.Session })
	if i < 0 {
		c.push(frame{body: invalidSession(false)})
		return 0
	}
	to := s.gateway.sessions[i]
	if *d.Seq > to.seq {
		return closeSequence
	}
	oldest := to.seq + 1
	if len(to.missed) > 0 {
		oldest = to.missed[0].seq
	}
	if *d.Seq < oldest-1 {
		c.push(frame{body: invalidSession(false)}) // too much was missed
		return 0
	}
	if old := to.conn; old != nil {
		old.session = nil
		old.cut() // half dead, if the client is here
	}
	to.conn, c.session = c, to
	s.gateway.count.Resumed++
	from, _ := slices.BinarySearchFunc(to.missed, *d.Seq+1, func(e event, seq int64) int { return cmp.Compare(e.seq, seq) })
	for _, e := range to.missed[from:] {
		c.push(frame{body: e.payload(), dispatch: true, due: time.Now().Add(s.gateway.delay), zipped: to.zipped})
	}
	s.send(to, "RESUMED", []byte(`{"_trace":["[\"sandbox\"]"]}`))
	return 0
}
