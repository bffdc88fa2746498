package bridgeclient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// sendersAtOnce is how many sessions' events are on their way at one time.
const sendersAtOnce = 16

// letter is an event on its way. Its body and key do not change from one try to the next.
type letter struct {
	Session string `json:"session"`
	Type    string `json:"type"`
	Key     string `json:"key"` // Idempotency-Key
	Body    []byte `json:"body"`
	file    string // in the spool
}

// outbox keeps what the bridge has not accepted: a queue for each session, each sent in order, one letter at a time.
type outbox struct {
	c     *Client
	slots chan struct{}

	mu     sync.Mutex // guards what follows
	queues map[string][]letter
	total  int
	idle   chan struct{} // closed while nothing waits
	closed bool
}

func newOutbox(c *Client, waiting []letter) *outbox {
	o := &outbox{c: c, slots: make(chan struct{}, sendersAtOnce), queues: make(map[string][]letter), idle: make(chan struct{})}
	close(o.idle)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range waiting {
		o.push(l)
	}
	return o
}

func newKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func (o *outbox) add(session, kind string, text []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if o.total >= o.c.config.MaxQueue {
		err := fmt.Errorf("%w: %d events wait, a %s of session %q is dropped", ErrQueueFull, o.total, kind, session)
		o.c.count(func(s *Stats) { s.Dropped++ })
		go o.c.tell(err)
		return err
	}
	l := letter{Session: session, Type: kind, Key: newKey(), Body: text}
	if o.c.spool != nil {
		if err := o.c.spool.keep(&l); err != nil { // it is sent all the same
			go o.c.tell(fmt.Errorf("bridgeclient: the spool cannot keep a %s: %w", kind, err))
		}
	}
	o.push(l)
	return nil
}

// push lines a letter up. The caller holds the lock.
func (o *outbox) push(l letter) {
	if o.total == 0 {
		o.idle = make(chan struct{})
	}
	o.total++
	queue, running := o.queues[l.Session]
	o.queues[l.Session] = append(queue, l)
	if !running {
		o.c.work.Add(1)
		go o.send(l.Session)
	}
}

// send sends a session's letters until none is left.
func (o *outbox) send(session string) {
	defer o.c.work.Done()
	for {
		o.mu.Lock()
		l := o.queues[session][0]
		o.mu.Unlock()
		if !o.deliver(l) {
			return // the client has ended; what is in the spool stays there
		}
		if o.c.spool != nil {
			o.c.spool.remove(l)
		}
		o.mu.Lock()
		o.queues[session] = o.queues[session][1:]
		o.total--
		last := len(o.queues[session]) == 0
		if last {
			delete(o.queues, session)
		}
		if o.total == 0 {
			close(o.idle)
		}
		o.mu.Unlock()
		if last {
			return
		}
	}
}

// deliver sends a letter until the bridge has accepted or refused it, and says whether it did.
func (o *outbox) deliver(l letter) bool {
	header := http.Header{"Idempotency-Key": {l.Key}}
	if cb := o.c.config.Callback; cb != nil {
		header["X-PocketPing-Callback"] = []string{cb.id()}
	}
	told := 0
	for wait := newBackoff(); ; {
		select {
		case o.slots <- struct{}{}:
		case <-o.c.life.Done():
			return false
		}
		status, answered, answer, err := o.c.request(o.c.life, http.MethodPost, "/api/events", l.Body, header)
		<-o.slots
		var asked time.Duration
		switch {
		case o.c.life.Err() != nil && (err != nil || status != http.StatusOK):
			return false
		case err != nil:
		case status == http.StatusOK:
			o.c.count(func(s *Stats) { s.Sent++ })
			return true
		case !tryAgain(status):
			o.c.count(func(s *Stats) { s.Dropped++ })
			o.c.tell(fmt.Errorf("%w: %s of session %q: %d %s", ErrRefused, l.Type, l.Session, status, answer))
			return true
		default:
			asked = retryAfter(answered)
			if told != status { // it may go on for hours
				told = status
				o.c.tell(refusal(status, answer))
			}
		}
		o.c.count(func(s *Stats) { s.Retries++ })
		if !wait.pause(o.c.life, asked) {
			return false
		}
	}
}

// tryAgain says whether an answer other than 200 can change by itself, or by a change of the configuration: a visitor's word is
// not dropped for a wrong key.
func tryAgain(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusUpgradeRequired, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

func refusal(status int, answer []byte) error {
	if status == http.StatusUpgradeRequired {
		return protocolError(answer)
	}
	return fmt.Errorf("bridgeclient: the bridge answers %d, the event is sent again later: %s", status, answer)
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *outbox) close(ctx context.Context) error {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	return o.flush(ctx)
}
