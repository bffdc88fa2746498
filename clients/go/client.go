package bridgeclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Protocol is the version of the bridge's contract that this package speaks.
const Protocol = 1

const (
	defaultMaxQueue = 10_000
	requestTimeout  = 20 * time.Second
	typingTimeout   = 5 * time.Second // the bridge drops what is older
	maxAnswer       = 1 << 20

	typeVisitorTyping = "visitor_typing"
)

// Config says where the bridge is, and how to speak to it. URL is needed, all else has a default.
type Config struct {
	URL    string // of the bridge, such as http://localhost:3001
	APIKey string
	// Spool is a folder in which the outbox and the place in the stream survive the process. It is made if it is not there,
	// and is for one process alone. Empty: both are in memory.
	Spool string
	// MaxQueue is how many events may wait; one more is dropped and told to OnError. 0: 10 000.
	MaxQueue int
	// Callback, if set, has events come by callbacks in place of the stream.
	Callback *Callback
	// OnError is told what went wrong and what was lost by it; nothing is thrown into the app. It may be called by several
	// goroutines at once.
	OnError func(error)
	// OnEvent is told of each event of the operators' side, after Attach has done with it. It must not wait for long.
	OnEvent func(Event)
	// HTTPClient makes the requests; nil: one of its own.
	HTTPClient *http.Client
}

// Errors that OnError is given, among others; tell them apart with errors.Is.
var (
	ErrQueueFull = errors.New("bridgeclient: the outbox is full")
	ErrRefused   = errors.New("bridgeclient: the bridge refuses it")
	ErrGap       = errors.New("bridgeclient: the stream no longer has all that was missed")
	ErrProtocol  = errors.New("bridgeclient: the bridge speaks another version of the protocol")
	ErrClosed    = errors.New("bridgeclient: closed")
	// ErrUnknownSession is what a handler returns for an event whose session it does not have.
	ErrUnknownSession = errors.New("bridgeclient: the session is unknown here")
)

// Handler takes one event. An error is a failure, after which the event comes again, except ErrUnknownSession: that event is
// done with.
type Handler func(context.Context, Event) error

// Found is what the bridge says of itself.
type Found struct {
	Version  string   `json:"version"`
	Protocol int      `json:"protocol"`
	Bridges  []string `json:"bridges"` // the platforms
}

// Stats are counts since the start.
type Stats struct {
	Queued    int   // events that wait
	Sent      int64 // accepted by the bridge
	Dropped   int64 // refused by the bridge, or too many
	Retries   int64
	Received  int64 // events that were taken
	Repeats   int64 // events that had been taken before
	Unknown   int64 // events of sessions that are not here
	Connected bool  // the stream is open, or the callback registered
	Bridge    Found // what the bridge said of itself; zero until it answers
}

// Client is a connection to a bridge. Its methods may be called by several goroutines at once.
type Client struct {
	config Config
	base   string
	http   *http.Client    // for requests
	long   *http.Client    // for the stream
	life   context.Context //nolint:containedctx // the client's own, which Close ends
	end    context.CancelFunc
	work   sync.WaitGroup
	outbox *outbox
	seen   *seenIDs
	spool  *spool // nil: in memory

	mu    sync.Mutex // guards what follows
	stats Stats
	hears bool
}

// New makes a client and begins to send what a spool still has. It does not need the bridge to be there.
func New(config Config) (*Client, error) {
	base, err := url.Parse(config.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("bridgeclient: URL %q is not one of http or https", config.URL)
	}
	if config.MaxQueue <= 0 {
		config.MaxQueue = defaultMaxQueue
	}
	c := &Client{config: config, base: strings.TrimRight(config.URL, "/"), seen: newSeenIDs()}
	c.http = config.HTTPClient
	if c.http == nil {
		c.http = &http.Client{Timeout: requestTimeout}
	}
	c.long = &http.Client{Transport: c.http.Transport} // a stream has no end
	c.life, c.end = context.WithCancel(context.Background())
	var waiting []letter
	if config.Spool != "" {
		if c.spool, waiting, err = openSpool(config.Spool); err != nil {
			return nil, err
		}
	}
	c.outbox = newOutbox(c, waiting)
	c.work.Add(1)
	go c.lookAtBridge()
	return c, nil
}

// Send lines an event up for the bridge and returns at once. The event is as it is now: what happens to the values later
// changes nothing. VisitorTyping goes past the queue. The error is ErrClosed or ErrQueueFull, or says why the event cannot be
// written as JSON or kept on disk.
func (c *Client) Send(e SiteEvent) error {
	if read, ok := e.(MessageRead); ok {
		return c.sendRead(read)
	}
	kind, session := e.about()
	text, err := body(e)
	if err != nil {
		return fmt.Errorf("bridgeclient: %s: %w", kind, err)
	}
	if kind == typeVisitorTyping {
		return c.sendTyping(text)
	}
	return c.outbox.add(session, kind, text)
}

// receiptsAtOnce is how many ids one message_read has; the bridge takes a thousand.
const receiptsAtOnce = 100

func (c *Client) sendRead(e MessageRead) error {
	for ids := e.MessageIDs; len(ids) > 0; {
		part := e
		part.MessageIDs, ids = ids[:min(receiptsAtOnce, len(ids))], ids[min(receiptsAtOnce, len(ids)):]
		text, err := body(part)
		if err != nil {
			return err
		}
		if err := c.outbox.add(e.SessionID, "message_read", text); err != nil {
			return err
		}
	}
	return nil
}

// sendTyping sends once, at the side of the queue: an hour later nobody cares who was typing.
func (c *Client) sendTyping(text []byte) error {
	if c.life.Err() != nil {
		return ErrClosed
	}
	c.work.Add(1)
	go func() {
		defer c.work.Done()
		ctx, cancel := context.WithTimeout(c.life, typingTimeout)
		defer cancel()
		_, _, _, _ = c.request(ctx, http.MethodPost, "/api/events", text, nil)
	}()
	return nil
}

// Stats returns the counts.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Queued = c.outbox.waiting()
	return s
}

func (c *Client) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// Flush waits until all that was sent so far is accepted or refused, or ctx ends.
func (c *Client) Flush(ctx context.Context) error { return c.outbox.flush(ctx) }

// Close flushes, until ctx ends at the latest, and ends the client. What is in a spool and was not sent is sent by the next
// client; what was in memory is lost, and the error says so.
func (c *Client) Close(ctx context.Context) error {
	err := c.outbox.close(ctx)
	c.end()
	c.work.Wait()
	if err != nil && c.spool == nil {
		return fmt.Errorf("bridgeclient: %d events were not sent: %w", c.outbox.waiting(), err)
	}
	return nil
}

// tell gives an error to the app, which must not end us.
func (c *Client) tell(err error) {
	if c.config.OnError == nil || err == nil {
		return
	}
	defer func() { _ = recover() }()
	c.config.OnError(err)
}

// request makes one request. The answer's body is read whole.
func (c *Client) request(ctx context.Context, method, path string, text []byte, header http.Header) (int, http.Header, []byte, error) {
	req, err := c.newRequest(ctx, method, path, text, header)
	if err != nil {
		return 0, nil, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, resp.Header, answer, err
}

func (c *Client) newRequest(ctx context.Context, method, path string, text []byte, header http.Header) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if text != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.config.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.config.APIKey)
	}
	req.Header.Set("X-PocketPing-Protocol", fmt.Sprint(Protocol))
	req.Header.Set("User-Agent", "pocketping-bridge-client-go")
	return req, nil
}

// Find asks the bridge which version it is and which protocol it speaks.
func (c *Client) Find(ctx context.Context) (Found, error) {
	status, _, answer, err := c.request(ctx, http.MethodGet, "/health", nil, nil)
	if err != nil {
		return Found{}, err
	}
	var found Found
	switch {
	case status == http.StatusUpgradeRequired:
		return found, protocolError(answer)
	case status != http.StatusOK || json.Unmarshal(answer, &found) != nil:
		return found, fmt.Errorf("bridgeclient: GET /health is answered with %d", status)
	}
	c.count(func(s *Stats) { s.Bridge = found })
	if found.Protocol != 0 && found.Protocol != Protocol {
		return found, fmt.Errorf("%w: it is bridge %s and speaks %d, this client speaks %d", ErrProtocol, found.Version, found.Protocol, Protocol)
	}
	return found, nil
}

func protocolError(answer []byte) error {
	var told struct{ Supported []int }
	_ = json.Unmarshal(answer, &told)
	return fmt.Errorf("%w: it speaks %v, this client speaks %d", ErrProtocol, told.Supported, Protocol)
}

// lookAtBridge finds out, once, what the bridge is.
func (c *Client) lookAtBridge() {
	defer c.work.Done()
	for wait := newBackoff(); ; {
		_, err := c.Find(c.life)
		if err == nil || errors.Is(err, ErrProtocol) {
			c.tell(err)
			return
		}
		if !wait.pause(c.life, 0) {
			return
		}
	}
}

// Presence asks whether anybody of the team is online.
func (c *Client) Presence(ctx context.Context) (online bool, err error) {
	status, _, answer, err := c.request(ctx, http.MethodGet, "/api/presence", nil, nil)
	if err != nil {
		return false, err
	}
	var told struct{ Online bool }
	if status != http.StatusOK || json.Unmarshal(answer, &told) != nil {
		return false, fmt.Errorf("bridgeclient: GET /api/presence is answered with %d", status)
	}
	return told.Online, nil
}

// handleOnce gives an event to the handler, once.
func (c *Client) handleOnce(ctx context.Context, e Event, handle Handler) error {
	if !c.seen.begin(e.ID) {
		c.count(func(s *Stats) { s.Repeats++ })
		return nil
	}
	err := guarded(func() error { return handle(ctx, e) })
	known := err == nil
	if errors.Is(err, ErrUnknownSession) {
		c.count(func(s *Stats) { s.Unknown++ })
	}
	c.seen.finish(e.ID, known)
	if !known {
		return err
	}
	c.count(func(s *Stats) { s.Received++ })
	if c.config.OnEvent != nil {
		if err := guarded(func() error { c.config.OnEvent(e); return nil }); err != nil {
			c.tell(err)
		}
	}
	return nil
}

// guarded turns a panic of the app's code into an error.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bridgeclient: the app panics: %v", p)
		}
	}()
	return do()
}

// seenIDs are the ids of the last events that were taken. The same event does not run twice at a time.
type seenIDs struct {
	mu    sync.Mutex
	free  *sync.Cond
	ids   map[string]bool // false while it runs
	order []string
}

const maxSeen = 10_000

func newSeenIDs() *seenIDs {
	s := &seenIDs{ids: make(map[string]bool)}
	s.free = sync.NewCond(&s.mu)
	return s
}

// begin says whether the event is to be taken; one without an id always is.
func (s *seenIDs) begin(id string) bool {
	if id == "" {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		done, there := s.ids[id]
		if !there {
			s.ids[id] = false
			return true
		}
		if done {
			return false
		}
		s.free.Wait()
	}
}

func (s *seenIDs) finish(id string, taken bool) {
	if id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.free.Broadcast()
	if !taken {
		delete(s.ids, id)
		return
	}
	s.ids[id] = true
	if s.order = append(s.order, id); len(s.order) > maxSeen {
		delete(s.ids, s.order[0])
		s.order = s.order[1:]
	}
}
