package slack

import (
	"context"
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

// connSet is the connections of one run of Listen: one, and the next one when Slack says that it will end the one there is, as it
// does every few hours. Their frames come in one queue.
type connSet struct {
	slack *Slack
	ctx   context.Context //nolint:containedctx // of the run; the set lives no longer
	queue chan frame
	work  sync.WaitGroup

	mu      sync.Mutex
	opening bool
	open    map[*socket]bool
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
func (c *connSet) replace(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connect(pause)
}

// ensure is replace where no connection stands.
func (c *connSet) ensure(pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) == 0 {
		c.connect(pause)
	}
}

// connect is called under the lock.
func (c *connSet) connect(pause time.Duration) {
	if c.opening || c.ctx.Err() != nil {
		return
	}
	c.opening = true
	c.work.Go(func() {
		var k *socket
		err := platform.Wait(c.ctx, pause)
		if err == nil {
			err = bridge.Protect(c.slack.log, opSocket, func() (err error) { k, err = c.slack.dial(c.ctx); return err })
		}
		c.mu.Lock()
		c.opening = false
		if err == nil {
			c.open[k] = true
		}
		c.mu.Unlock()
		if err != nil {
			c.enqueue(frame{err: err})
			return
		}
		if err := bridge.Protect(c.slack.log, opSocket, func() error { c.read(k); return nil }); err != nil {
			c.end(frame{from: k, err: err})
		}
	})
}

// enqueue queues a frame.
func (c *connSet) enqueue(f frame) bool {
	select {
	case c.queue <- f:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// closeAll ends all connections.
func (c *connSet) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.open {
		_ = k.ws.Close()
	}
}

// read reads a connection to its end. Slack's word that it will end it is heeded at once, however much waits in the queue.
func (c *connSet) read(k *socket) {
	stop := context.AfterFunc(c.ctx, func() { _ = k.ws.Close() })
	defer stop()
	end, told := frame{from: k}, false
	for ok := c.enqueue(frame{from: k, begins: true}); ok; {
		_ = k.ws.SetReadDeadline(time.Now().Add(c.slack.silentFor))
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
				c.slack.log.Debug("Slack ends a connection soon; another one is made", "op", opSocket)
				c.replace(0)
			}
			continue
		}
		ok = c.enqueue(frame{from: k, body: body})
	}
	c.end(end)
}

// end says that a connection is gone.
func (c *connSet) end(f frame) {
	_ = f.from.ws.Close()
	c.mu.Lock()
	delete(c.open, f.from)
	c.mu.Unlock()
	c.enqueue(f)
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
	scheme, ok := map[string]string{"wss": "https", "ws": "http"}[u.Scheme]
	asPage := *u
	asPage.Scheme = scheme
	return ok && s.trusted(&asPage)
}
