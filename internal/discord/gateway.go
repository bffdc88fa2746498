package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// The gateway's operations ("Gateway Opcodes" of the documentation).
const (
	gatewayDispatch  = 0
	gatewayHeartbeat = 1
	gatewayIdentify  = 2
	gatewayResume    = 6
	gatewayReconnect = 7
	gatewayInvalid   = 9
	gatewayHello     = 10
	gatewayAck       = 11
)

// The codes with which the gateway closes a connection ("Gateway Close Event Codes").
const (
	closedToken      = 4004
	closedSequence   = 4007
	closedSession    = 4009
	closedShard      = 4010
	closedSharding   = 4011
	closedVersion    = 4012
	closedIntents    = 4013
	closedDisallowed = 4014

	// closeKeep is the code with which we close a connection whose session goes on; 1000 and 1001 would end it.
	closeKeep = 4000
)

// intents are what is listened for: threads, messages with their text, reactions, and who is typing.
const intents = discordgo.IntentGuilds | discordgo.IntentGuildMessages | discordgo.IntentGuildMessageReactions |
	discordgo.IntentGuildMessageTyping | discordgo.IntentMessageContent

const (
	maxPacket = 64 << 20 // bytes; the first packet of a large server has all its channels and active threads
	// The identifies that a token has: 1000 in 24 hours, after which Discord takes it away. Ours are at most 90 at once and one in
	// 96 seconds after that, 990 in any 24 hours.
	identifiesAtOnce = 90
	identifiesADay   = 900

	failuresToTell = 6 // connections in a row that never stood, until the relay is told
	resumesToDrop  = 3 // resumes in a row that failed, until a session is given up
)

// timings are the gateway's times; tests shorten them.
type timings struct {
	watchdog   time.Duration // for each step of a connection's beginning
	write      time.Duration // for what is written to it
	firstPause time.Duration // before it is opened anew; it doubles up to lastPause
	lastPause  time.Duration
	calm       time.Duration // a connection that lasted as long begins with the first pause again
	identify   time.Duration // between two identifies: one in five seconds is allowed
	flush      time.Duration // between two writes of a position that moved without an update
}

func defaultTimings() timings {
	return timings{
		watchdog: 30 * time.Second, write: 10 * time.Second, firstPause: time.Second, lastPause: time.Minute, calm: time.Minute,
		identify: 5 * time.Second, flush: 30 * time.Second,
	}
}

// clock is the time by which pauses and budgets go.
type clock struct {
	now  func() time.Time
	wait func(context.Context, time.Duration) error
}

// budget keeps identifies within what a token has, whatever goes wrong.
type budget struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	last    time.Time
}

func newBudget() *budget {
	return &budget{limiter: rate.NewLimiter(rate.Every(24*time.Hour/identifiesADay), identifiesAtOnce)}
}

// wait returns how long there is no identify.
func (b *budget) wait(now time.Time, apart time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.last.Add(apart).Sub(now)
	if missing := 1 - b.limiter.TokensAt(now); missing > 0 {
		d = max(d, time.Duration(missing*float64(24*time.Hour/identifiesADay))+time.Millisecond)
	}
	return max(d, 0)
}

// spend takes an identify; false: there is none.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limiter.AllowN(now, 1) {
		return false
	}
	b.last = now
	return true
}

// link is the gateway's session, which outlives its connections and Listen itself: events that were not accepted are told again
// when it is resumed.
type link struct {
	mu       sync.Mutex
	session  string // empty: there is none
	url      string // where it is resumed
	received int64  // the last event that came
	accepted int64  // the last event that was dealt with
	misses   int    // resumes that failed since one worked
}

func (l *link) begin(session, url string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.url, l.received, l.accepted, l.misses = session, url, seq, 0, 0
}

func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.url, l.received, l.accepted, l.misses = "", "", 0, 0, 0
}

// rewind goes back to what was accepted: what came after it is lost with the queue that it was in.
func (l *link) rewind() (resumes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accepted == 0 {
		l.session = ""
	}
	l.received = l.accepted
	return l.session != ""
}

func (l *link) state() (session, url string, received, accepted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.url, l.received, l.accepted
}

func (l *link) receive(seq int64) (session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received = max(l.received, seq)
	return l.session
}

func (l *link) accept(session string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if session == l.session {
		l.accepted = max(l.accepted, seq)
	}
}

// missed notes a resume that failed.
func (l *link) missed() {
	l.mu.Lock()
	l.misses++
	spent := l.misses >= resumesToDrop
	l.mu.Unlock()
	if spent {
		l.drop()
	}
}

func (l *link) resumed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.misses = 0
}

// packet is what goes over the connection.
type packet struct {
	Op   int             `json:"op"`
	Data json.RawMessage `json:"d"`
	Seq  int64           `json:"s,omitempty"`
	Type string          `json:"t,omitempty"`
}

// ending is why a connection ended.
type ending struct {
	err   *bridge.DeliveryError
	fatal bool // another connection would end so too
	stood bool // its session had begun or gone on
	least time.Duration
}

// connect keeps a connection to the gateway until ctx ends or nothing helps any more. What comes goes into the inlets, slash
// commands into the second.
func (d *Discord) connect(ctx context.Context, in, commands *inlet) error {
	short, failed := 0, 0
	for {
		if err := in.room(ctx); err != nil {
			return err
		}
		began := d.clock.now()
		e := d.connection(ctx, in, commands)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if e.fatal {
			return e.err
		}
		if e.stood {
			failed = 0
		} else if failed++; failed >= failuresToTell {
			return e.err
		}
		if e.stood && d.clock.now().Sub(began) >= d.times.calm {
			short = 0
		}
		short++
		pause := max(e.least, d.pause(short))
		d.log.Info("the connection to the gateway ended and is made anew", "op", opGateway, "reason", e.err.Reason, "detail", e.err.Detail,
			"attempt", short, "wait", pause.Round(time.Millisecond))
		if err := d.clock.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// pause doubles from the first pause to the last, and is spread over the half of it.
func (d *Discord) pause(n int) time.Duration {
	p := min(d.times.firstPause<<min(n-1, 20), d.times.lastPause)
	return p/2 + time.Duration(rand.Int64N(int64(p/2)+1)) //nolint:gosec // spreads connections; nothing secret depends on it
}

// gone is an ending that passes.
func gone(detail string) ending {
	return ending{err: &bridge.DeliveryError{
		Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opGateway, Detail: detail,
	}}
}

// connection makes one connection and returns when it has ended. Every step has the watchdog's time: a gateway that says nothing,
// takes nothing or acknowledges nothing is left.
func (d *Discord) connection(ctx context.Context, in, commands *inlet) ending {
	session, address, _, _ := d.link.state()
	if session == "" {
		var end *ending
		if address, end = d.findGateway(ctx); end != nil {
			return *end
		}
	}
	ws, err := d.dial(ctx, address)
	if err != nil {
		if session != "" {
			d.link.missed()
		}
		return gone(err.Error())
	}
	c := &connection{d: d, ws: ws, in: in, commands: commands, session: session, packets: make(chan received), done: make(chan struct{})}
	go c.read()
	var end ending
	if err := bridge.Protect(d.log, opGateway, func() error { end = c.run(ctx); return nil }); err != nil {
		end = gone("a defect in the bridge")
	}
	c.close(ctx, end)
	return end
}

// findGateway asks where the gateway is, and waits until a session may begin there.
func (d *Discord) findGateway(ctx context.Context) (string, *ending) {
	var bot struct {
		URL   string `json:"url"`
		Limit struct {
			Remaining  *int    `json:"remaining"`
			ResetAfter float64 `json:"reset_after"` // milliseconds
		} `json:"session_start_limit"`
	}
	err := d.rest.do(ctx, call{op: opFind, method: http.MethodGet, path: "/gateway/bot", again: true}, &bot)
	if err != nil {
		cause := bridge.AsDelivery(err, opFind, "")
		return "", &ending{err: cause, fatal: cause.Reason == bridge.ReasonAuth, least: cause.RetryAfter}
	}
	if bot.Limit.Remaining != nil && *bot.Limit.Remaining <= 0 {
		return "", &ending{fatal: true, err: &bridge.DeliveryError{
			Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: opFind,
			RetryAfter: max(time.Duration(bot.Limit.ResetAfter)*time.Millisecond, time.Minute),
			Detail:     "the token has been used up for new connections; Discord allows more later",
		}}
	}
	if err := d.clock.wait(ctx, d.budget.wait(d.clock.now(), d.times.identify)); err != nil {
		return "", &ending{}
	}
	return bot.URL, nil
}

// dial opens the connection. Its errors tell no address.
func (d *Discord) dial(ctx context.Context, address string) (*websocket.Conn, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return nil, errors.New("the gateway's address is not valid")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	query := u.Query()
	query.Set("v", apiVersion[2:])
	query.Set("encoding", "json")
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, d.times.watchdog)
	defer cancel()
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: d.times.watchdog}
	ws, resp, err := dialer.DialContext(ctx, u.String(), http.Header{"User-Agent": {userAgent}})
	if resp != nil {
		_ = resp.Body.Close()
	}
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return nil, fmt.Errorf("the gateway answered %d", resp.StatusCode)
	case err != nil:
		return nil, errors.New(outbound.Describe(err, d.token))
	}
	ws.SetReadLimit(maxPacket)
	return ws, nil
}

// connection is one connection to the gateway. Its reader passes on what comes; everything else is run's.
type connection struct {
	d  *Discord
	ws *websocket.Conn
	in *inlet

	commands *inlet
	session  string // that is resumed; empty: one begins
	packets  chan received
	done     chan struct{} // nobody takes packets any more

	greeted bool // it said hello
	stood   bool
	acked   bool // the last heartbeat was acknowledged
	every   time.Duration
}

type received struct {
	packet packet
	err    error
}

// read passes on packets until the connection ends.
func (c *connection) read() {
	defer close(c.packets)
	for {
		var r received
		_, raw, err := c.ws.ReadMessage()
		if r.err = err; err == nil {
			r.err = json.Unmarshal(raw, &r.packet)
		}
		select {
		case c.packets <- r:
		case <-c.done:
			return
		}
		if r.err != nil {
			return
		}
	}
}

// close ends the connection and waits for its reader. The session goes on, unless we stop for good.
func (c *connection) close(ctx context.Context, end ending) {
	code := closeKeep
	if ctx.Err() != nil && c.in.stopped() {
		code = websocket.CloseNormalClosure
		c.d.link.drop()
	}
	if end.err == nil || end.err.Detail != fallenSilent {
		_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
	}
	_ = c.ws.Close()
	close(c.done)
	for range c.packets {
		// until the reader has ended
	}
}

const fallenSilent = "the gateway does not answer"

// run speaks with the gateway until the connection ends.
func (c *connection) run(ctx context.Context) ending {
	c.acked = true
	patience := time.NewTimer(c.d.times.watchdog)
	defer patience.Stop()
	beat := time.NewTimer(time.Hour)
	defer beat.Stop()
	beat.Stop()
	for {
		end, over := ending{}, false
		select {
		case <-ctx.Done():
			end, over = gone("cancelled"), true
		case <-patience.C:
			if !c.stood {
				end, over = gone(fallenSilent), true
			}
		case <-beat.C:
			if !c.acked {
				end, over = gone(fallenSilent), true
				break
			}
			end, over = c.heartbeat()
			beat.Reset(c.every)
		case r, open := <-c.packets:
			if !open {
				return c.ended(gone("connection closed"))
			}
			greeted, stood := c.greeted, c.stood
			if end, over = c.take(r); over {
				break
			}
			if c.greeted != greeted {
				// The first heartbeat comes at some point of the interval, so that a crowd does not come at once.
				beat.Reset(time.Duration(rand.Int64N(int64(c.every)))) //nolint:gosec // spreads heartbeats
				patience.Reset(c.d.times.watchdog)
			}
			if c.stood != stood {
				patience.Stop()
			}
		}
		if over {
			return c.ended(end)
		}
	}
}

func (c *connection) ended(e ending) ending {
	e.stood = c.stood
	if !c.stood && c.session != "" && !e.fatal {
		c.d.link.missed()
	}
	return e
}

// take deals with a packet. over says that the connection is to end.
func (c *connection) take(r received) (end ending, over bool) {
	if r.err != nil {
		return c.d.broke(r.err), true
	}
	p := r.packet
	switch p.Op {
	case gatewayHello:
		return c.hello(p.Data)
	case gatewayHeartbeat:
		return c.heartbeat()
	case gatewayAck:
		c.acked = true
	case gatewayReconnect:
		return gone("the gateway asks for another connection"), true
	case gatewayInvalid:
		if resumable, err := strconv.ParseBool(string(p.Data)); err != nil || !resumable {
			c.d.link.drop()
		}
		end = gone("the gateway does not know the session any more")
		end.least = c.d.times.firstPause
		return end, true
	case gatewayDispatch:
		return c.dispatch(p)
	}
	return ending{}, false
}

// hello begins the heartbeats, and the session or its resumption.
func (c *connection) hello(data json.RawMessage) (ending, bool) {
	var h struct {
		Interval float64 `json:"heartbeat_interval"` // milliseconds
	}
	if json.Unmarshal(data, &h) != nil || h.Interval < 1 {
		return gone("the gateway's greeting cannot be read"), true
	}
	if c.greeted {
		return ending{}, false
	}
	c.greeted, c.every = true, time.Duration(h.Interval*float64(time.Millisecond))
	if c.session != "" {
		_, _, seq, _ := c.d.link.state()
		return c.send(gatewayResume, map[string]any{"token": c.d.token.Reveal(), "session_id": c.session, "seq": seq})
	}
	if !c.d.budget.spend(c.d.clock.now()) {
		return gone("too many sessions began; the next waits"), true
	}
	return c.send(gatewayIdentify, map[string]any{
		"token": c.d.token.Reveal(), "intents": intents,
		"properties": map[string]string{"os": "linux", "browser": "bridge", "device": "bridge"},
	})
}

// heartbeat says how far we are: what was accepted, not what came.
func (c *connection) heartbeat() (ending, bool) {
	c.acked = false
	_, _, _, accepted := c.d.link.state()
	if accepted == 0 {
		return c.send(gatewayHeartbeat, nil)
	}
	return c.send(gatewayHeartbeat, accepted)
}

func (c *connection) send(op int, data any) (ending, bool) {
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.d.times.write))
	err := c.ws.WriteJSON(map[string]any{"op": op, "d": data})
	if err != nil {
		return gone(outbound.Describe(err, c.d.token)), true
	}
	return ending{}, false
}

// dispatch takes an event.
func (c *connection) dispatch(p packet) (ending, bool) {
	switch p.Type {
	case "READY":
		var r struct {
			Session string `json:"session_id"`
			Resume  string `json:"resume_gateway_url"`
			User    user   `json:"user"`
		}
		if json.Unmarshal(p.Data, &r) != nil || r.Session == "" {
			return gone("the gateway's session cannot be read"), true
		}
		c.stood, c.session = true, r.Session
		c.d.link.begin(r.Session, r.Resume, p.Seq)
		if !c.in.push(item{gap: true}) {
			c.d.link.drop()
			return gone("too much waits to be accepted"), true
		}
	default:
		// Of a session that is resumed first what was missed is told, and then RESUMED.
		if c.session != "" && !c.stood {
			c.stood = true
			c.d.link.resumed()
		}
		c.d.learn(p.Type, p.Data)
	}
	it := item{kind: p.Type, session: c.session, seq: p.Seq}
	switch p.Type {
	case "MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK", "MESSAGE_REACTION_ADD", "TYPING_START":
		it.data = p.Data
	case "INTERACTION_CREATE":
		// A person waits for the answer, for three seconds at most: it does not stand behind anything else. One for which there is
		// no room has failed by then.
		_ = c.commands.push(item{data: p.Data})
	}
	if !c.in.push(it) {
		return gone("too much waits to be accepted"), true // the rest is told when the session is resumed
	}
	c.d.link.receive(p.Seq)
	return ending{}, false
}

// broke says what the end of a connection means.
func (d *Discord) broke(err error) ending {
	e, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return gone(outbound.Describe(err, d.token))
	}
	detail := fmt.Sprintf("the gateway closed the connection with %d", e.Code)
	switch e.Code {
	case closedSequence, closedSession:
		d.link.drop()
	case closedToken:
		return forbidden(detail + ": authentication failed; " + adviseToken)
	case closedDisallowed:
		return forbidden(detail + ": disallowed intents; enable MESSAGE CONTENT INTENT in the developer portal " +
			"(https://discord.com/developers/applications), under Bot, Privileged Gateway Intents")
	case closedSharding:
		return forbidden(detail + ": sharding required; the bot is in too many servers, give the bridge a bot of its own")
	case closedShard:
		return forbidden(detail + ": invalid shard; " + adviseURL)
	case closedVersion, closedIntents:
		return forbidden(detail + ": the gateway does not know version " + apiVersion[2:] + " or its intents; " + adviseURL)
	}
	return gone(detail)
}

// forbidden is an ending that only a person can do something about.
func forbidden(detail string) ending {
	return ending{fatal: true, err: &bridge.DeliveryError{
		Reason: bridge.ReasonAuth, Scope: bridge.ScopeDestination, Op: opGateway, Detail: detail,
	}}
}
