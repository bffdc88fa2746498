package slack

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	helloWithin = 10 * time.Second // from the address of a socket to Slack's hello on it
	// silentFor is how long a socket may say nothing. Slack pings at least every 30 seconds.
	silentFor   = 45 * time.Second
	writeWithin = 10 * time.Second
	leaveWithin = 2 * time.Second // from our good-bye to Slack's
	// maxFrame is the longest frame that is read, in bytes: a message with all its markup, twice where it was edited.
	maxFrame = 4 << 20
	// maxQueue is how many frames wait for their turn; then Slack has to wait.
	maxQueue = 1000

	// A connection that is lost sooner than socketCalm after it began is followed by a pause: socketPause, doubled each time up to
	// socketPauseMax. So is one that could not be made while another one stands.
	socketCalm     = 30 * time.Second
	socketPause    = time.Second
	socketPauseMax = time.Minute
)

// socket is one connection of Socket Mode.
type socket struct {
	ws    *websocket.Conn
	began time.Time
	left  bool // we have said good-bye; of the run's own goroutine
}

// frame is what a connection tells: that it stands, a message, that it is gone, or that it could not be made.
type frame struct {
	from   *socket
	begins bool
	body   []byte
	err    error
}

// line is the connections of one run of Listen: one, and the next one when Slack says that it will end the one there is, as it
// does every few hours. Their frames come in one queue.
type line struct {
	slack *Slack
	ctx   context.Context //nolint:containedctx // of the run; the line lives no longer
	queue chan frame
	work  sync.WaitGroup

	mu      sync.Mutex
	opening bool
	open    map[*socket]bool
}

// keepSocket receives by Socket Mode. It returns when a connection cannot be made and none stands: the relay decides when it is
// tried again. open is called when requests, should there be any, need not wait any more.
func (s *Slack) keepSocket(ctx context.Context, inbox bridge.Inbox, open func()) error {
	ctx, cancel := context.WithCancel(ctx)
	l := &line{slack: s, ctx: ctx, queue: make(chan frame, maxQueue), open: map[*socket]bool{}}
	// look is what reads what was missed meanwhile, at the pace that Slack allows.
	var look *catching
	var looked chan error
	defer func() {
		if look != nil {
			<-look.ended //nolint:errcheck // what it came to was told where it was started
		}
	}()
	defer l.work.Wait()
	defer l.closeAll()
	defer cancel()

	standing := map[*socket]bool{}
	var aside []frame // what waits until everything before it is accepted
	settled, gap, lost := false, true, 0
	l.ensure(0)
	for {
		var f frame
		missed := s.missed
		if look != nil {
			missed = nil // it reads that, too
		}
		select {
		case f = <-l.queue:
		case err := <-looked:
			if err != nil {
				return err
			}
			look, looked, gap = nil, nil, false
			continue
		case <-missed:
			if err := s.catchUp(ctx, inbox); err != nil {
				return err
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case f.body != nil && settled:
			if err := s.envelope(ctx, inbox, f, look == nil); err != nil {
				return err
			}
			continue
		case f.body != nil:
			aside = append(aside, f)
			continue
		case f.begins:
			// The one before is left, so that there is one again: of several, each has some of the messages, in no order.
			for k := range standing {
				k.leave()
			}
			standing[f.from] = true
		case f.from == nil: // it could not be made
			d, _ := errors.AsType[*bridge.DeliveryError](f.err)
			if len(standing) == 0 || d == nil || d.Reason == bridge.ReasonAuth {
				return f.err
			}
			lost++
			l.replace(max(s.pause(lost), d.RetryAfter))
			continue
		default: // it is gone
			if f.err != nil {
				return f.err
			}
			delete(standing, f.from)
			switch {
			case time.Since(f.from.began) > socketCalm:
				lost = 0
			case !f.from.left:
				lost++
			}
			gap = gap || !f.from.left
			if len(standing) == 0 {
				gap = true
				s.log.Info("the connection to Slack is lost; another one is made", "op", opSocket)
				l.ensure(s.pause(lost - 1))
			}
		}
		// Something may have been on its way by a connection that is gone.
		if settled = len(standing) == 1; !settled {
			continue
		}
		of := span{overlap, threadReach, true}
		if f.from.left && !gap {
			of = span{briefly, briefReach, true}
		}
		if look == nil {
			s.mu.Lock()
			at := s.at
			s.mu.Unlock()
			begun := s.catchUpApart(ctx, inbox, at, of)
			select {
			case err := <-begun.ended:
				if err != nil {
					return err
				}
				gap = false
			case <-begun.limited:
				look, looked = begun, begun.ended
			}
		} else {
			s.suspect() // one more look, when this one has ended
		}
		open()
		for _, f := range aside {
			if err := s.envelope(ctx, inbox, f, look == nil); err != nil {
				return err
			}
		}
		aside = nil
	}
}

// leave ends a connection in the orderly way: what Slack has sent by it is still read.
func (k *socket) leave() {
	if k.left {
		return
	}
	k.left = true
	end := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = k.ws.WriteControl(websocket.CloseMessage, end, time.Now().Add(writeWithin))
	time.AfterFunc(leaveWithin, func() { _ = k.ws.Close() })
}

// pause returns how long to wait before the next connection, after so many that were lost at once.
func (s *Slack) pause(lost int) time.Duration {
	if lost <= 0 {
		return 0
	}
	d := min(s.socketPause<<min(lost-1, 16), socketPauseMax)
	return d/2 + rand.N(d/2+1) //nolint:gosec // a pause is no secret
}

// replace makes one more connection, after a pause, unless one is being made already.
func (l *line) replace(pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connect(pause)
}

// ensure is replace where no connection stands.
func (l *line) ensure(pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) == 0 {
		l.connect(pause)
	}
}

// connect is called under the lock.
func (l *line) connect(pause time.Duration) {
	if l.opening || l.ctx.Err() != nil {
		return
	}
	l.opening = true
	l.work.Go(func() {
		var k *socket
		err := platform.Wait(l.ctx, pause)
		if err == nil {
			err = bridge.Protect(l.slack.log, opSocket, func() (err error) { k, err = l.slack.dial(l.ctx); return err })
		}
		l.mu.Lock()
		l.opening = false
		if err == nil {
			l.open[k] = true
		}
		l.mu.Unlock()
		if err != nil {
			l.tell(frame{err: err})
			return
		}
		if err := bridge.Protect(l.slack.log, opSocket, func() error { l.read(k); return nil }); err != nil {
			l.end(frame{from: k, err: err})
		}
	})
}

// tell queues a frame.
func (l *line) tell(f frame) bool {
	select {
	case l.queue <- f:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// closeAll ends all connections.
func (l *line) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.open {
		_ = k.ws.Close()
	}
}

// read reads a connection to its end. Slack's word that it will end it is heeded at once, however much waits in the queue.
func (l *line) read(k *socket) {
	stop := context.AfterFunc(l.ctx, func() { _ = k.ws.Close() })
	defer stop()
	end, told := frame{from: k}, false
	for ok := l.tell(frame{from: k, begins: true}); ok; {
		_ = k.ws.SetReadDeadline(time.Now().Add(l.slack.silentFor))
		_, body, err := k.ws.ReadMessage()
		if err != nil {
			break
		}
		var head struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
		}
		if decode(body, &head) == nil && head.Type == "disconnect" {
			if head.Reason == "link_disabled" {
				end.err = &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeDestination, Op: opSocket,
					Detail: "Socket Mode is turned off for the app; turn it on under Socket Mode in the app's settings"}
				break
			}
			if !told { // it may say so twice
				told = true
				l.slack.log.Debug("Slack ends a connection soon; another one is made", "op", opSocket)
				l.replace(0)
			}
			continue
		}
		ok = l.tell(frame{from: k, body: body})
	}
	l.end(end)
}

// end tells that a connection is gone.
func (l *line) end(f frame) {
	_ = f.from.ws.Close()
	l.mu.Lock()
	delete(l.open, f.from)
	l.mu.Unlock()
	l.tell(f)
}

// dial makes a connection and waits for Slack's hello. Its errors are *bridge.DeliveryErrors.
func (s *Slack) dial(ctx context.Context) (*socket, error) {
	var at slackapi.SocketModeConnection
	err := s.do(ctx, opSocket, &at, func(ctx context.Context) error {
		_, _, err := s.api.StartSocketModeContext(ctx)
		return err
	})
	if err != nil {
		return nil, repeatable(err)
	}
	fault := func(detail string) error {
		return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opSocket, Detail: detail}
	}
	u, err := url.Parse(at.URL)
	if err != nil || u.Host == "" || !s.trustedSocket(u) {
		return nil, fault("the answer names no socket of Slack's")
	}
	ctx, cancel := context.WithTimeout(ctx, s.helloWithin)
	defer cancel()
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: s.helloWithin}
	ws, resp, err := dialer.DialContext(ctx, at.URL, nil) //nolint:bodyclose // nothing of it is left open
	switch {
	case err != nil && resp != nil:
		return nil, fault("the socket answered " + http.StatusText(resp.StatusCode))
	case err != nil:
		return nil, fault("the socket: " + outbound.Describe(err, s.secrets...))
	}
	k := &socket{ws: ws, began: time.Now()}
	ws.SetReadLimit(maxFrame)
	ws.SetPingHandler(func(data string) error {
		_ = ws.SetReadDeadline(time.Now().Add(s.silentFor))
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeWithin))
		return nil
	})
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer stop()
	var hello struct {
		Type        string `json:"type"`
		Connections int    `json:"num_connections"`
	}
	_, body, err := ws.ReadMessage()
	if err != nil || decode(body, &hello) != nil || hello.Type != "hello" || !stop() {
		_ = ws.Close()
		return nil, fault("the socket closed before it said hello")
	}
	if hello.Connections > maxConnections {
		s.once("rivals", "more connections are open with this app's token than the bridge has, and each of them takes some of the "+
			"operators' messages away; if another program uses the token, stop it, or give the bridge an app of its own", "op", opSocket)
	}
	return k, nil
}

// maxConnections is how many connections the bridge may have at once: the one that ends, the next one, and one that is gone and
// not missed yet.
const maxConnections = 3

// trustedSocket says whether a socket's address is Slack's over TLS, or of the server whose Web API we call.
func (s *Slack) trustedSocket(u *url.URL) bool {
	asPage := *u
	switch u.Scheme {
	case "wss":
		asPage.Scheme = "https"
	case "ws":
		asPage.Scheme = "http"
	default:
		return false
	}
	return s.trusted(&asPage)
}

// envelope takes a message of a connection and acknowledges it. What is not accepted is not acknowledged, so that it comes again;
// what cannot be read is. moves says whether the position goes with it.
func (s *Slack) envelope(ctx context.Context, inbox bridge.Inbox, f frame, moves bool) error {
	var e struct {
		ID      string          `json:"envelope_id"`
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := decode(f.body, &e); err != nil || e.ID == "" {
		if e.Type != "hello" {
			s.log.Warn("a frame without an envelope is skipped", "op", opSocket)
		}
		return nil
	}
	var answer json.RawMessage
	switch e.Type {
	case "events_api":
		if err := s.handle(ctx, inbox, e.Payload, moves); err != nil {
			return err
		}
	case "slash_commands":
		var c slash
		if err := decode(e.Payload, &c); err != nil {
			s.log.Warn("a command cannot be read and is skipped", "op", opSocket)
			break
		}
		reply, err := s.command(ctx, inbox, &c)
		if err != nil {
			return err
		}
		if reply != "" {
			answer = ephemeral(reply)
		}
	default:
		s.log.Debug("a message of a kind that is not asked for is acknowledged", "op", opSocket)
	}
	ack, err := json.Marshal(struct {
		ID      string          `json:"envelope_id"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}{e.ID, answer})
	if err == nil {
		// Where the connection is gone meanwhile, the envelope comes again by another one, and is known.
		_ = f.from.ws.SetWriteDeadline(time.Now().Add(writeWithin))
		_ = f.from.ws.WriteMessage(websocket.TextMessage, ack)
	}
	return nil
}
