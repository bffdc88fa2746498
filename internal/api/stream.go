package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	streamPage      = 512              // entries that a stream takes from the log at once
	streamBehind    = 8192             // entries; a stream that was at the log's end and is further from it is too slow
	streamSlow      = 10 * time.Second // for one write; a reader that takes longer is too slow
	streamOneWrite  = time.Minute      // for one write; then the reader is taken for dead
	streamLastWrite = time.Second      // for the last write when the server closes
	streamPause     = time.Second      // before a log that cannot be read is asked again
)

var (
	// errReaderGone means that a write failed: there is nobody to tell.
	errReaderGone = errors.New("the stream's reader is gone")
	// errCutOff means that the stream cannot go on as it was. Its reader is told, and comes again from where it was.
	errCutOff = errors.New("the stream is cut off")
)

// stream shows what happens on the operators' side as it happens, until the client goes, the server closes, or the client
// reads too slowly. A client that says what it saw last is shown what it missed first.
func (s *server) stream(c echo.Context) error {
	r := c.Request()
	wanted, err := narrowed(r)
	if err != nil {
		return err
	}
	last, resumed := lastSeen(r)
	key, _ := s.keys.find(r)
	end, err := s.streams.begin(key)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := &sse{w: c.Response(), rc: http.NewResponseController(c.Response()), closing: s.o.Closing}
	f := follower{server: s, out: out, beat: time.Now().Add(s.o.Heartbeat), timer: time.NewTimer(s.o.Heartbeat)}
	f.wanted, f.wake = wanted, make(chan struct{}, 1)
	f.cut = func() {
		cancel()
		out.writeWithin(streamLastWrite)
	}
	defer f.timer.Stop()
	// The place is taken before the client hears that the stream is open, so that what happens after that is in it.
	leave, err := s.hub.add(&f.listener)
	if err != nil {
		return err
	}
	defer leave()
	f.after = f.read
	s.counts.meter.StreamOpened()
	defer s.counts.meter.StreamClosed()
	out.open()
	err = out.comment("open")
	if err == nil {
		err = out.flush()
	}
	if err == nil && resumed {
		err = f.resume(ctx, last)
	}
	for err == nil && ctx.Err() == nil {
		err = f.step(ctx)
	}
	// The answer has begun: whatever happened, nothing but the stream's own words can follow.
	switch {
	case err == nil, errors.Is(err, errReaderGone):
	case errors.Is(err, errCutOff):
		s.o.Logger.Info("a stream is cut off; its reader can come again from where it was", "request", requestID(c), "err", err)
		_ = out.overflow(f.after)
	default:
		s.o.Logger.Error("a stream ended: the log cannot be read", "err", err, "request", requestID(c))
	}
	return nil
}

// narrowed returns the only session that the client wants to hear of, or nothing.
func narrowed(r *http.Request) (string, error) {
	values, there := r.URL.Query()["sessionId"]
	if !there {
		return "", nil
	}
	if len(values) != 1 || !bridge.PrintableID(values[0]) {
		return "", &bridge.FieldError{Field: "sessionId", Problem: "must be 1 to 128 printable characters"}
	}
	return values[0], nil
}

// follower is one stream: its reader, and how far it is in the log.
type follower struct {
	*server
	listener
	out   *sse
	after bridge.Seq  // the reader has everything that is for it up to here
	beat  time.Time   // when a heartbeat is due
	timer *time.Timer // goes off then
}

// step waits for what is due, at most until the next heartbeat, and shows it.
func (f *follower) step(ctx context.Context) error {
	told, passed, end, err := f.next(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	for _, e := range told {
		if ctx.Err() != nil {
			return nil
		}
		if err := f.out.event(e); err != nil {
			return err
		}
		f.after = e.Seq
		if f.out.late {
			return fmt.Errorf("%w: a write took more than %s", errCutOff, streamSlow)
		}
	}
	f.after = end
	for _, e := range passed {
		if err := f.out.ephemeral(e); err != nil {
			return err
		}
	}
	beat, err := f.keepAlive()
	if err != nil {
		return err
	}
	if len(told)+len(passed) > 0 && !beat {
		if err := f.out.flush(); err != nil {
			return err
		}
	}
	if f.out.late {
		return fmt.Errorf("%w: a write took more than %s", errCutOff, streamSlow)
	}
	return nil
}

// keepAlive sends a heartbeat when one is due.
func (f *follower) keepAlive() (sent bool, err error) {
	if time.Now().Before(f.beat) {
		return false, nil
	}
	f.beat = time.Now().Add(f.o.Heartbeat)
	f.timer.Reset(f.o.Heartbeat)
	if err := f.out.comment("heartbeat"); err != nil {
		return false, err
	}
	return true, f.out.flush()
}

// next waits for what is due, at most until the next heartbeat, and returns the entries and what else the reader is told of, and up to
// where it then has everything. They are copies: a write that waits must not hold the log's memory. A store that is unavailable is waited for.
func (f *follower) next(ctx context.Context) (told, passed []bridge.Entry, end bridge.Seq, err error) {
	due, passed, place, err := f.hub.dueFor(&f.listener)
	if err == nil && due.to == 0 && len(passed) == 0 {
		select {
		case <-f.wake:
		case <-f.timer.C:
		case <-ctx.Done():
		}
		due, passed, place, err = f.hub.dueFor(&f.listener)
	}
	f.after = max(f.after, place)
	if err != nil || due.to == 0 {
		return nil, passed, f.after, err
	}
	ctx, done := context.WithDeadline(ctx, f.beat)
	defer done()
	entries, err := entriesBehind(ctx, f.o.Feed, f.after, due.from)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, passed, f.after, nil
	case errors.Is(err, bridge.ErrUnavailable):
		bridge.Sleep(ctx, streamPause)
		return nil, passed, f.after, nil
	default:
		return nil, nil, 0, err
	}
	for _, e := range entries {
		if tells(e.Event, f.wanted) {
			told = append(told, e)
		}
	}
	end = entries[len(entries)-1].Seq
	f.hub.hasRead(&f.listener, len(entries), end)
	return told, passed, end, nil
}

// tells says whether a stream's reader is told of the event: one for a single callback is nobody else's, and one without a
// session is everybody's.
func tells(e bridge.Event, wanted string) bool {
	return e.FromOperators() && e.Callback == "" && (wanted == "" || e.Session == "" || e.Session == wanted)
}

// sse writes server-sent events. Each write gets its own deadline. Its errors are errReaderGone.
type sse struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	late bool // a write took so long that the reader is too slow

	closing <-chan struct{}
}

func (o *sse) open() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx holds answers back otherwise
	o.w.WriteHeader(http.StatusOK)
}

func (o *sse) comment(text string) error {
	return o.write([]byte(": " + text + "\n\n"))
}

func (o *sse) event(e bridge.Entry) error {
	wire := e.Wire()
	frame := make([]byte, 0, len(wire)+40)
	frame = append(frame, "id: "...)
	frame = append(frame, e.Seq.String()...)
	return o.data(append(frame, '\n'), wire)
}

// ephemeral shows what is not in the log: without an id, since no stream can go on behind it.
func (o *sse) ephemeral(e bridge.Entry) error { return o.data(nil, e.Wire()) }

// data ends a frame with its data.
func (o *sse) data(frame, wire []byte) error {
	frame = append(frame, "data: "...)
	data := len(frame)
	frame = append(frame, wire...)
	// In JSON a line's end can only be space between tokens; in a frame it would end the data.
	for i := data; i < len(frame); i++ {
		if frame[i] == '\n' || frame[i] == '\r' {
			frame[i] = ' '
		}
	}
	return o.write(append(frame, "\n\n"...))
}

// gap tells that what stood between the last event that the reader saw and from may be missing. What is from there on follows.
func (o *sse) gap(last, from bridge.Seq) error {
	if err := o.write(fmt.Appendf(nil, "event: gap\ndata: {\"lastEventId\":%q,\"from\":%q}\n\n", last, from)); err != nil {
		return err
	}
	return o.flush()
}

// overflow is the last word to a reader that is cut off: up to where it has everything. With that as Last-Event-ID, which
// browsers send by themselves, it misses nothing.
func (o *sse) overflow(last bridge.Seq) error {
	if err := o.write(fmt.Appendf(nil, "event: overflow\nid: %s\ndata: {\"lastEventId\":%q}\n\n", last, last)); err != nil {
		return err
	}
	return o.flush()
}

func (o *sse) write(text []byte) error {
	return o.timed(func() error {
		_, err := o.w.Write(text)
		return err
	})
}

func (o *sse) flush() error { return o.timed(o.rc.Flush) }

func (o *sse) timed(do func() error) error {
	start := time.Now()
	o.writeWithin(streamOneWrite)
	if closed(o.closing) { // asked after the deadline is set: who closes it then sets another one
		o.writeWithin(streamLastWrite)
	}
	if err := do(); err != nil {
		return errReaderGone
	}
	o.late = o.late || time.Since(start) > streamSlow
	return nil
}

// writeWithin moves the deadline. A writer that has none, as in a test, waits as long as it likes.
func (o *sse) writeWithin(d time.Duration) { _ = o.rc.SetWriteDeadline(time.Now().Add(d)) }
