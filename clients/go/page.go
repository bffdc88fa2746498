package bridgeclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	pageBeat    = 20 * time.Second
	pageWaiting = 256 // events; a page that is further behind comes again and asks for its history
)

// pageStream is one page's server-sent events, as the SDK sees a socket.
type pageStream struct {
	mu     sync.Mutex
	frames chan []byte
	closed bool
}

var errPageGone = errors.New("the page is gone")

// WriteJSON is called by the SDK, by several goroutines at once.
func (p *pageStream) WriteJSON(v interface{}) error {
	text, err := json.Marshal(v)
	if err != nil {
		return nil // the next one may be well
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errPageGone
	}
	select {
	case p.frames <- text:
		return nil
	default:
		p.closed = true
		close(p.frames)
		return errPageGone
	}
}

// Close ends the stream.
func (p *pageStream) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.frames)
	}
	return nil
}

// listen registers a socket of a session's.
func (a *attachment[PP, B, St, S, M, E, C, Cu, Status]) listen(sessionID string, conn any) (stop func()) {
	c, ok := conn.(C)
	if !ok {
		return func() {}
	}
	a.pp.RegisterWebSocket(sessionID, c)
	return func() { a.pp.UnregisterWebSocket(sessionID, c) }
}

// stream shows a page what happens in its session, as unnamed events. What the page did not see is shown first.
func (r *routes) stream(w http.ResponseWriter, req *http.Request) {
	session := req.URL.Query().Get("sessionId")
	if known, err := r.known(req.Context(), session); err != nil || known == nil {
		answerError(w, http.StatusNotFound, "Session not found")
		return
	}
	if req.Header.Get("Upgrade") != "" {
		answerError(w, http.StatusNotFound, "there is no socket here")
		return
	}
	page := &pageStream{frames: make(chan []byte, pageWaiting)}
	defer r.a.sdk.listen(session, page)()
	defer func() { _ = page.Close() }()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(pageBeat))
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	if !send(": open\n\n") {
		return
	}
	if after := req.URL.Query().Get("after"); after != "" {
		missed, err := r.messages(req.Context(), session, after)
		answer, _ := missed.(map[string]any)
		list, _ := answer["messages"].([]any)
		for _, m := range list {
			text, _ := json.Marshal(map[string]any{"type": "message", "data": m})
			if err == nil && !send("data: "+string(text)+"\n\n") {
				return
			}
		}
	}
	beat := time.NewTicker(pageBeat)
	defer beat.Stop()
	for {
		select {
		case text, open := <-page.frames:
			if !open || !send("data: "+string(text)+"\n\n") {
				return
			}
		case <-beat.C:
			if !send(": beat\n\n") {
				return
			}
		case <-req.Context().Done():
			return
		case <-r.a.life.Done():
			return
		}
	}
}
