package bridgeclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// noEvent is an id that no event has. A stream that is asked to go on behind it shows the last hour.
	noEvent = "evt_0000000000000001"
	// streamSilence is how long a stream may say nothing; the bridge's heart beats every 30 seconds.
	streamSilence = 75 * time.Second
	maxFrame      = 4 << 20
)

// Listen gives the events of the operators' side to handle, one after the other, until ctx ends or the client is closed. With
// Config.Callback they come to CallbackHandler instead, and Listen only keeps the registration. It returns ctx's error or
// ErrClosed; what fails in between is tried again.
//
// The first stream of a client without a spool shows the last hour; handle has to drop what it knows. A handler that fails
// gets the event again after a pause, and the ones behind it wait.
func (c *Client) Listen(ctx context.Context, handle Handler) error {
	c.mu.Lock()
	twice := c.hears
	c.hears = true
	c.mu.Unlock()
	if twice {
		return errors.New("bridgeclient: Listen is running already")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	if c.config.Callback != nil {
		c.keepRegistered(ctx)
	} else {
		c.follow(ctx, handle)
	}
	c.count(func(s *Stats) { s.Connected = false })
	if c.life.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}

// follow reads one stream after the other.
func (c *Client) follow(ctx context.Context, handle Handler) {
	s := &streamReader{c: c, handle: handle}
	if c.spool != nil {
		var err error
		if s.last, err = c.spool.lastEvent(); err != nil {
			c.tell(fmt.Errorf("bridgeclient: the place in the stream cannot be read: %w", err))
		}
		s.kept = s.last != ""
	}
	if s.last == "" {
		s.last = noEvent
	}
	wait, told := newBackoff(), ""
	for ctx.Err() == nil {
		opened, err := s.read(ctx)
		c.count(func(s *Stats) { s.Connected = false })
		if ctx.Err() != nil {
			return
		}
		if opened {
			wait, told = newBackoff(), ""
		} else if err != nil && err.Error() != told {
			told = err.Error() // once, not at each try
			c.tell(err)
		}
		if !wait.pause(ctx, s.asked) {
			return
		}
	}
}

// streamReader reads server-sent events.
type streamReader struct {
	c      *Client
	handle Handler
	last   string        // the id to go on behind
	kept   bool          // last is an event that was taken, so a gap is a loss
	asked  time.Duration // by Retry-After
}

// read opens the stream and reads it to its end. opened says whether it was one.
func (s *streamReader) read(ctx context.Context) (opened bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(streamSilence, cancel)
	defer silence.Stop()
	s.asked = 0
	req, err := s.c.newRequest(ctx, http.MethodGet, "/api/events/stream", nil,
		http.Header{"Last-Event-Id": {s.last}, "Accept": {"text/event-stream"}})
	if err != nil {
		return false, err
	}
	resp, err := s.c.long.Do(req)
	if err != nil {
		return false, fmt.Errorf("bridgeclient: the stream cannot be opened: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		s.asked = retryAfter(resp.Header)
		if resp.StatusCode == http.StatusUpgradeRequired {
			return false, protocolError(answer)
		}
		return false, fmt.Errorf("bridgeclient: the stream is answered with %d %s", resp.StatusCode, answer)
	}
	s.c.count(func(s *Stats) { s.Connected = true })
	var f frame
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxFrame)
	for lines.Scan() {
		silence.Reset(streamSilence)
		if line := lines.Text(); line != "" {
			f.line(line)
			continue
		}
		if err := s.frame(ctx, f); err != nil {
			return true, err
		}
		f = frame{}
	}
	return true, lines.Err()
}

// frame is one of the stream's events.
type frame struct{ id, event, data string }

func (f *frame) line(text string) {
	name, value, _ := strings.Cut(text, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "id":
		f.id = value
	case "event":
		f.event = value
	case "data":
		if f.data != "" {
			f.data += "\n"
		}
		f.data += value
	}
}

func (s *streamReader) frame(ctx context.Context, f frame) error {
	switch {
	case f.event == "gap":
		if s.kept {
			s.c.tell(fmt.Errorf("%w: behind %s", ErrGap, s.last))
		}
		return nil
	case f.event != "" || f.data == "":
		return nil // overflow: the stream ends, and the next one goes on behind last
	}
	e, err := parseEvent([]byte(f.data))
	if err != nil {
		s.c.tell(fmt.Errorf("bridgeclient: an event of the stream cannot be read: %w", err))
		return nil
	}
	for wait := newBackoff(); ; {
		err := s.c.handleOnce(ctx, e, s.handle)
		if err == nil || errors.Is(err, ErrUnknownSession) {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.c.tell(fmt.Errorf("bridgeclient: %s %s: %w", e.Type, e.ID, err))
		if !wait.pause(ctx, 0) {
			return ctx.Err()
		}
	}
	if f.id == "" {
		return nil
	}
	s.last, s.kept = f.id, true
	if s.c.spool != nil {
		if err := s.c.spool.setLastEvent(f.id); err != nil {
			s.c.tell(fmt.Errorf("bridgeclient: the place in the stream cannot be kept: %w", err))
		}
	}
	return nil
}
