package discord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"
	"github.com/gorilla/websocket"

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

	failuresToTell = 6 // connections in a row that were never ready, until the relay is told
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

// closeResult is why a connection ended; nil while it goes on.
type closeResult struct {
	err   *bridge.DeliveryError
	fatal bool // another connection would end so too
	ready bool // its session had begun or gone on
	least time.Duration
}

// connect keeps a connection to the gateway until ctx ends or nothing helps any more. What comes goes into the queues, slash
// commands into the second.
func (d *Discord) connect(ctx context.Context, in, commands *eventQueue) error {
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
		if e.ready {
			failed = 0
		} else if failed++; failed >= failuresToTell {
			return e.err
		}
		if e.ready && d.clock.now().Sub(began) >= d.times.calm {
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

// temporary is a close result that passes.
func temporary(detail string) *closeResult {
	return &closeResult{err: &bridge.DeliveryError{
		Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opGateway, Detail: detail,
	}}
}

// connection makes one connection and returns when it has ended. Every step has the watchdog's time: a gateway that says nothing,
// takes nothing or acknowledges nothing is left.
func (d *Discord) connection(ctx context.Context, in, commands *eventQueue) *closeResult {
	session, address, _, _ := d.session.state()
	if session == "" {
		var end *closeResult
		if address, end = d.findGateway(ctx); end != nil {
			return end
		}
	}
	ws, err := d.dial(ctx, address)
	if err != nil {
		if session != "" {
			d.session.missed()
		}
		return temporary(err.Error())
	}
	c := &connection{d: d, ws: ws, in: in, commands: commands, session: session, packets: make(chan received), done: make(chan struct{})}
	go c.read()
	var end *closeResult
	if err := bridge.Protect(d.log, opGateway, func() error { end = c.run(ctx); return nil }); err != nil {
		end = temporary("a defect in the bridge")
	}
	c.close(ctx, end)
	return end
}

// findGateway asks where the gateway is, and waits until a session may begin there.
func (d *Discord) findGateway(ctx context.Context) (string, *closeResult) {
	var bot struct {
		URL   string `json:"url"`
		Limit struct {
			Remaining  *int    `json:"remaining"`
			ResetAfter float64 `json:"reset_after"` // milliseconds
		} `json:"session_start_limit"`
	}
	if err := d.get(ctx, opFind, "/gateway/bot", false, &bot); err != nil {
		cause := bridge.AsDelivery(err, opFind, "")
		return "", &closeResult{err: cause, fatal: cause.Reason == bridge.ReasonAuth, least: cause.RetryAfter}
	}
	if bot.Limit.Remaining != nil && *bot.Limit.Remaining <= 0 {
		return "", &closeResult{fatal: true, err: &bridge.DeliveryError{
			Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: opFind,
			RetryAfter: max(time.Duration(bot.Limit.ResetAfter)*time.Millisecond, time.Minute),
			Detail:     "the token has been used up for new connections; Discord allows more later",
		}}
	}
	if err := d.clock.wait(ctx, d.budget.wait(d.clock.now(), d.times.identify)); err != nil {
		return "", &closeResult{}
	}
	return bot.URL, nil
}

// trustedGateway says whether a gateway, which is given the token, is Discord's over TLS, or on the host of the server whose API we call.
func trustedGateway(u *url.URL, apiHost string) bool {
	host := strings.ToLower(u.Hostname())
	if u.Scheme == "wss" && (strings.HasSuffix(host, ".discord.gg") || strings.HasSuffix(host, ".discord.com")) {
		return true
	}
	return host == apiHost && apiHost != "discord.com"
}

// dial opens the connection. Its errors tell no address.
func (d *Discord) dial(ctx context.Context, address string) (*websocket.Conn, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return nil, errors.New("the gateway's address is not valid")
	}
	if !trustedGateway(u, d.apiHost) {
		return nil, errors.New("the answer names no gateway of Discord's")
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
