package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	streamBatch    = 256              // entries that a stream takes from the log at once
	streamPatience = 10 * time.Second // for one write; then the reader is taken for dead
	streamPause    = time.Second      // before a log that cannot be read is asked again
)

// stream shows what happens on the operators' side as it happens, until the client goes, the server closes, or the client
// reads nothing any more.
func (s *server) stream(c echo.Context) error {
	r := c.Request()
	wanted, err := narrowed(r)
	if err != nil {
		return err
	}
	if s.isClosing() {
		return &problem{status: http.StatusServiceUnavailable, code: "closing", text: "the server is shutting down", retry: storeRetry}
	}
	ctx, end := context.WithCancel(r.Context())
	defer end()
	go func() {
		select {
		case <-s.closing:
			end()
		case <-ctx.Done():
		}
	}()

	from := s.begin()
	out := sse{w: c.Response(), rc: http.NewResponseController(c.Response())}
	out.open()
	// From here on the answer has begun: a write that fails means that the reader is gone, and there is nobody to tell.
	if out.comment("open") != nil || out.flush() != nil {
		return nil
	}
	if err := s.follow(ctx, out, from, wanted); err != nil {
		s.log.Error("a stream ended: the log cannot be read", "err", err, "request", requestID(c))
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

// begin returns the place in the log after which a stream starts. It is taken before the client hears that the stream is
// open, so that what happens after that is in it.
func (s *server) begin() bridge.Seq { return s.feed.Newest() }

// follow writes the log's entries after the given one, and a heartbeat whenever it is time. It returns nil when ctx ended or
// the reader is gone.
func (s *server) follow(ctx context.Context, out sse, after bridge.Seq, wanted string) error {
	beat := time.Now().Add(s.heartbeat)
	for {
		entries, err := s.next(ctx, after, beat)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		wrote := false
		for _, e := range entries {
			after = e.Seq
			if !told(e.Event, wanted) {
				continue
			}
			if out.event(e) != nil {
				return nil
			}
			wrote = true
		}
		if now := time.Now(); !now.Before(beat) {
			beat = now.Add(s.heartbeat)
			if out.comment("heartbeat") != nil {
				return nil
			}
			wrote = true
		}
		if wrote && out.flush() != nil {
			return nil
		}
	}
}

// next waits for entries, at most until the next heartbeat. A store that is unavailable is waited for.
func (s *server) next(ctx context.Context, after bridge.Seq, until time.Time) ([]bridge.Entry, error) {
	ctx, done := context.WithDeadline(ctx, until)
	defer done()
	entries, err := s.feed.Next(ctx, after, streamBatch)
	switch {
	case err == nil:
		return entries, nil
	case ctx.Err() != nil:
		return nil, nil
	case !errors.Is(err, bridge.ErrUnavailable):
		return nil, err
	}
	pause := time.NewTimer(streamPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
	return nil, nil
}

// told says whether a stream's reader is told of the event: one for a single callback is nobody else's, and one without a
// session is everybody's.
func told(e bridge.Event, wanted string) bool {
	return e.FromOperators() && e.Callback == "" && (wanted == "" || e.Session == "" || e.Session == wanted)
}

// sse writes server-sent events. Each write gets its own deadline.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (o sse) open() {
	h := o.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx holds answers back otherwise
	o.w.WriteHeader(http.StatusOK)
}

func (o sse) comment(text string) error {
	return o.write([]byte(": " + text + "\n\n"))
}

func (o sse) event(e bridge.Entry) error {
	wire := e.Wire()
	frame := make([]byte, 0, len(wire)+40)
	frame = append(frame, "id: "...)
	frame = append(frame, e.Seq.String()...)
	frame = append(frame, "\ndata: "...)
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

func (o sse) write(text []byte) error {
	o.patience()
	_, err := o.w.Write(text)
	return err
}

func (o sse) flush() error {
	o.patience()
	return o.rc.Flush()
}

// patience moves the deadline. A writer that has none, as in a test, waits as long as it likes.
func (o sse) patience() { _ = o.rc.SetWriteDeadline(time.Now().Add(streamPatience)) }
