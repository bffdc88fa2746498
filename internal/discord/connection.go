package discord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// packet is what goes over the connection.
type packet struct {
	Op   int             `json:"op"`
	Data json.RawMessage `json:"d"`
	Seq  int64           `json:"s,omitempty"`
	Type string          `json:"t,omitempty"`
}

// connection is one connection to the gateway. Its reader passes on what comes; everything else is run's.
type connection struct {
	d  *Discord
	ws *websocket.Conn
	in *eventQueue

	commands *eventQueue
	session  string // that is resumed; empty: one begins
	packets  chan received
	done     chan struct{} // nobody takes packets any more

	gotHello bool // it said hello
	ready    bool
	acked    bool // the last heartbeat was acknowledged
	every    time.Duration
}

type received struct {
	packet packet
	err    error
}

// read passes on packets until the connection ends.
func (c *connection) read() {
	defer close(c.packets)
	_ = bridge.Protect(c.d.log, opGateway, func() error { c.readAll(); return nil })
}

func (c *connection) readAll() {
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
func (c *connection) close(ctx context.Context, end *closeResult) {
	code := closeKeep
	if ctx.Err() != nil && c.in.stopped() {
		code = websocket.CloseNormalClosure
		c.d.session.drop()
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
func (c *connection) run(ctx context.Context) *closeResult {
	c.acked = true
	deadline := time.NewTimer(c.d.times.watchdog)
	defer deadline.Stop()
	beat := time.NewTimer(time.Hour)
	defer beat.Stop()
	beat.Stop()
	for {
		var end *closeResult
		select {
		case <-ctx.Done():
			end = temporary("cancelled")
		case <-deadline.C:
			if !c.ready {
				end = temporary(fallenSilent)
			}
		case <-beat.C:
			if !c.acked {
				end = temporary(fallenSilent)
				break
			}
			end = c.heartbeat()
			beat.Reset(c.every)
		case r, open := <-c.packets:
			if !open {
				return c.ended(temporary("connection closed"))
			}
			gotHello, ready := c.gotHello, c.ready
			if end = c.handle(r); end != nil {
				break
			}
			if c.gotHello != gotHello {
				// The first heartbeat comes at some point of the interval, so that a crowd does not come at once.
				beat.Reset(time.Duration(rand.Int64N(int64(c.every)))) //nolint:gosec // spreads heartbeats
				deadline.Reset(c.d.times.watchdog)
			}
			if c.ready != ready {
				deadline.Stop()
			}
		}
		if end != nil {
			return c.ended(end)
		}
	}
}

func (c *connection) ended(e *closeResult) *closeResult {
	e.ready = c.ready
	if !c.ready && c.session != "" && !e.fatal {
		c.d.session.missed()
	}
	return e
}

// handle deals with a packet.
func (c *connection) handle(r received) *closeResult {
	if r.err != nil {
		return c.d.broke(r.err)
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
		return temporary("the gateway asks for another connection")
	case gatewayInvalid:
		if resumable, err := strconv.ParseBool(string(p.Data)); err != nil || !resumable {
			c.d.session.drop()
		}
		end := temporary("the gateway does not know the session any more")
		end.least = c.d.times.firstPause
		return end
	case gatewayDispatch:
		return c.dispatch(p)
	}
	return nil
}

// hello begins the heartbeats, and the session or its resumption.
func (c *connection) hello(data json.RawMessage) *closeResult {
	var h struct {
		Interval float64 `json:"heartbeat_interval"` // milliseconds
	}
	if json.Unmarshal(data, &h) != nil || h.Interval < 1 {
		return temporary("the gateway's greeting cannot be read")
	}
	if c.gotHello {
		return nil
	}
	c.gotHello, c.every = true, time.Duration(h.Interval*float64(time.Millisecond))
	if c.session != "" {
		_, _, seq, _ := c.d.session.state()
		return c.send(gatewayResume, map[string]any{"token": c.d.token.Reveal(), "session_id": c.session, "seq": seq})
	}
	if !c.d.budget.spend(c.d.clock.now()) {
		return temporary("too many sessions began; the next waits")
	}
	return c.send(gatewayIdentify, map[string]any{
		"token": c.d.token.Reveal(), "intents": intents,
		"properties": map[string]string{"os": "linux", "browser": "bridge", "device": "bridge"},
	})
}

// heartbeat says how far we are: what was accepted, not what came.
func (c *connection) heartbeat() *closeResult {
	c.acked = false
	_, _, _, accepted := c.d.session.state()
	if accepted == 0 {
		return c.send(gatewayHeartbeat, nil)
	}
	return c.send(gatewayHeartbeat, accepted)
}

func (c *connection) send(op int, data any) *closeResult {
	_ = c.ws.SetWriteDeadline(time.Now().Add(c.d.times.write))
	err := c.ws.WriteJSON(map[string]any{"op": op, "d": data})
	if err != nil {
		return temporary(outbound.Describe(err, c.d.token))
	}
	return nil
}

// dispatch takes an event.
func (c *connection) dispatch(p packet) *closeResult {
	switch p.Type {
	case "READY":
		var r struct {
			Session string `json:"session_id"`
			Resume  string `json:"resume_gateway_url"`
		}
		if json.Unmarshal(p.Data, &r) != nil || r.Session == "" {
			return temporary("the gateway's session cannot be read")
		}
		c.ready, c.session = true, r.Session
		c.d.session.begin(r.Session, r.Resume, p.Seq)
		if !c.in.push(item{gap: true}) {
			c.d.session.drop()
			return temporary("too much waits to be accepted")
		}
	default:
		// Of a session that is resumed first what was missed is told, and then RESUMED.
		if c.session != "" && !c.ready {
			c.ready = true
			c.d.session.resumed()
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
		return temporary("too much waits to be accepted") // the rest is told when the session is resumed
	}
	c.d.session.receive(p.Seq)
	return nil
}

// broke says what the end of a connection means.
func (d *Discord) broke(err error) *closeResult {
	e, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return temporary(outbound.Describe(err, d.token))
	}
	detail := fmt.Sprintf("the gateway closed the connection with %d", e.Code)
	switch e.Code {
	case closedSequence, closedSession:
		d.session.drop()
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
	return temporary(detail)
}

// forbidden is a close result that only a person can do something about.
func forbidden(detail string) *closeResult {
	return &closeResult{fatal: true, err: &bridge.DeliveryError{
		Reason: bridge.ReasonAuth, Scope: bridge.ScopeDestination, Op: opGateway, Detail: detail,
	}}
}
