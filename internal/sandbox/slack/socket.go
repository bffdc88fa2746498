package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

const (
	// ticketFor is how long an address of apps.connections.open may wait for its connection.
	ticketFor = 30 * time.Second
	// maxConnections: "Socket Mode allows your app to maintain up to 10 open WebSocket connections at the same time"
	// (https://docs.slack.dev/apis/events-api/using-socket-mode).
	maxConnections = 10
	// writeWithin ends a connection whose client reads nothing.
	writeWithin = 10 * time.Second
)

// sockets are the connections of Socket Mode.
type sockets struct {
	tickets map[string]time.Time
	last    int
	open    []*connection
	greeted int
	next    int // whose turn it is
	envs    map[string]*event
	lastEnv int
	refuse  bool
	hangUp  bool
	silent  bool
}

type connection struct {
	ws    *websocket.Conn
	gone  bool
	ended chan struct{}

	mu   sync.Mutex
	out  [][]byte // nil is a ping
	wake chan struct{}
}

// send has bytes written, after all that was sent before.
func (c *connection) send(body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, body)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write writes what is sent until the connection ends.
func (c *connection) write() {
	for {
		c.mu.Lock()
		out := c.out
		c.out = nil
		c.mu.Unlock()
		for _, body := range out {
			_ = c.ws.SetWriteDeadline(time.Now().Add(writeWithin))
			var err error
			if body == nil {
				err = c.ws.WriteMessage(websocket.PingMessage, []byte("Ping from sandbox"))
			} else {
				err = c.ws.WriteMessage(websocket.TextMessage, body)
			}
			if err != nil {
				_ = c.ws.NetConn().Close()
				return
			}
		}
		select {
		case <-c.wake:
		case <-c.ended:
			return
		}
	}
}

func (s *Server) openConnection() object {
	s.sockets.last++
	ticket := fmt.Sprintf("ticket-%d", s.sockets.last)
	s.sockets.tickets[ticket] = time.Now().Add(ticketFor)
	host := strings.TrimPrefix(s.base, "http")
	return object{"url": "ws" + host + "/link/?ticket=" + ticket + "&app_id=" + appID}
}

// serveSocket takes a connection to an address of apps.connections.open. The call that Calls has of it, socket, is answered
// when the connection stands.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	var c *connection
	call := stage.Call{Method: "socket", Params: map[string]string{"ticket": ticket}}
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		until, ok := s.sockets.tickets[ticket]
		delete(s.sockets.tickets, ticket)
		if !ok || time.Now().After(until) || s.sockets.refuse || s.appGone != "" || len(s.sockets.open) >= maxConnections {
			return nil, refuse("refused")
		}
		return nil, nil
	}, func(w http.ResponseWriter, _ any, err error) int {
		if err != nil {
			stage.Write(w, http.StatusForbidden, nil)
			return http.StatusForbidden
		}
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return http.StatusBadRequest // Upgrade has answered
		}
		c = &connection{ws: ws, ended: make(chan struct{}), wake: make(chan struct{}, 1)}
		return http.StatusSwitchingProtocols
	})
	if c != nil {
		s.attend(c)
	}
}

// attend says hello, and reads what the app sends until the connection ends.
func (s *Server) attend(c *connection) {
	defer func() { _ = c.ws.Close() }()
	s.mu.Lock()
	if s.shut || s.sockets.hangUp {
		s.mu.Unlock()
		return
	}
	s.sockets.open = append(s.sockets.open, c)
	s.sockets.greeted++
	s.hello(c)
	var writers sync.WaitGroup
	writers.Go(c.write)
	writers.Go(func() { s.ping(c) })
	for _, e := range slices.Clone(s.outbox.pending) {
		// What no living connection has waits for this one.
		if e.kind == "events_api" && (e.on == nil || e.on.gone) && s.requests.events == "" {
			s.offer(e)
		}
	}
	s.back.Change()
	s.mu.Unlock()
	for {
		_, body, err := c.ws.ReadMessage()
		if err != nil {
			break
		}
		s.acknowledge(body)
	}
	s.mu.Lock()
	c.gone = true
	s.sockets.open = slices.DeleteFunc(s.sockets.open, func(one *connection) bool { return one == c })
	s.back.Change()
	s.mu.Unlock()
	close(c.ended)
	_ = c.ws.Close()
	writers.Wait()
}

func (s *Server) hello(c *connection) {
	s.frame(c, object{
		"type": "hello", "num_connections": len(s.sockets.open), "connection_info": object{"app_id": appID},
		"debug_info": object{"host": "applink-sandbox", "build_number": 1, "approximate_connection_time": 18060},
	})
}

func (s *Server) ping(c *connection) {
	ticker := time.NewTicker(s.options.PingEvery)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		if !s.sockets.silent {
			c.send(nil)
		}
		s.mu.Unlock()
		select {
		case <-ticker.C:
		case <-c.ended:
			return
		}
	}
}

// frame sends a message by a connection, unless the sockets are silent.
func (s *Server) frame(c *connection, o object) {
	body, err := json.Marshal(o)
	if err != nil {
		s.back.Fault(fmt.Sprintf("a frame cannot be written: %v", err))
		return
	}
	if !s.sockets.silent {
		c.send(body)
	}
}

// offer sends an event by one of the connections, and waits for its acknowledgement. Without a connection, the attempt has
// failed: "events that arrived while the app had no open Socket Mode connection" are repeated (github.com/vercel/chat/issues/666).
func (s *Server) offer(e *event) {
	again := func() { s.offer(e) }
	for range max(e.times, 1) {
		e.tries++
		if len(s.sockets.open) == 0 {
			e.on = nil
			s.failed(e, again)
			return
		}
		s.sockets.next++
		e.on = s.sockets.open[s.sockets.next%len(s.sockets.open)]
		s.sockets.lastEnv++
		env := fmt.Sprintf("00000000-0000-4000-9000-%012x", s.sockets.lastEnv)
		o := object{
			"envelope_id": env, "type": e.kind, "payload": e.payload, "accepts_response_payload": e.kind == "slash_commands",
		}
		if e.slash == nil {
			o["retry_attempt"], o["retry_reason"] = e.tries-1, ""
			if e.tries > 1 {
				o["retry_reason"] = "timeout"
			}
		}
		if s.sockets.envs == nil {
			s.sockets.envs = make(map[string]*event)
		}
		s.sockets.envs[env] = e
		s.frame(e.on, o)
	}
	e.times = 1
	s.later(e, s.options.AckWithin, func() { s.failed(e, again) })
}

// acknowledge reads what the app answers to an envelope.
func (s *Server) acknowledge(body []byte) {
	var ack struct {
		EnvelopeID string          `json:"envelope_id"`
		Payload    json.RawMessage `json:"payload"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if json.Unmarshal(body, &ack) != nil || ack.EnvelopeID == "" {
		s.back.Fault("socket: what the app sends is no acknowledgement")
		return
	}
	e := s.sockets.envs[ack.EnvelopeID]
	if e == nil {
		if !strings.HasPrefix(ack.EnvelopeID, "junk") {
			s.back.Fault(fmt.Sprintf("socket: there is no envelope %q", ack.EnvelopeID))
		}
		return
	}
	delete(s.sockets.envs, ack.EnvelopeID)
	if e.done {
		return // it was acknowledged before, or given up
	}
	s.finish(e)
	switch {
	case e.slash != nil && e.slash.press == nil:
		e.slash.Acked = true
		s.answerSlash(e.slash, ack.Payload)
	case e.slash != nil && len(ack.Payload) == 0:
		e.slash.Acked = true
	case len(ack.Payload) > 0 && string(ack.Payload) != "null":
		s.back.Fault("socket: an event is acknowledged with a payload, which it does not accept")
	}
}

// Connections returns how many sockets are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets.open)
}

// Greeted returns how many sockets have been opened so far, those that are gone included. A call of socket is counted before that.
func (s *Server) Greeted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sockets.greeted
}

// Cut cuts all sockets without a word.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sockets.open {
		_ = c.ws.NetConn().Close()
	}
}

// Disconnect announces the end of all sockets that are open, and closes them after the grace. Slack's reasons are warning, some
// ten seconds before the end; refresh_requested, when the connection is old; link_disabled, when Socket Mode was turned off
// (https://docs.slack.dev/apis/events-api/using-socket-mode#disconnect).
func (s *Server) Disconnect(reason string, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sockets.open {
		s.frame(c, object{"type": "disconnect", "reason": reason, "debug_info": object{"host": "applink-sandbox"}})
		s.back.Go(func() {
			timer := time.NewTimer(grace)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-c.ended:
				return
			case <-s.back.Closed():
				return
			}
			_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""),
				time.Now().Add(time.Second))
			_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(time.Second)) // for the client's own farewell
		})
	}
}

// Refuse turns on that no new socket is taken: the address answers 403.
func (s *Server) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets.refuse = on
}

// HangUp turns on that new sockets are taken and closed at once.
func (s *Server) HangUp(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets.hangUp = on
}

// Silence turns on that the sockets stay open and say nothing, no ping either. Events are written nowhere and count as sent.
func (s *Server) Silence(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets.silent = on
}

// Junk writes a frame of any form to all sockets that are open. An envelope_id that begins with junk may be acknowledged.
func (s *Server) Junk(frame string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sockets.open {
		c.send([]byte(frame))
	}
}
