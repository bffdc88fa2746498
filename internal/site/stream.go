package site

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/pocketping/bridge/internal/bridge"
)

// The times of sockets and streams.
const (
	beatEvery    = 25 * time.Second // the server's ping, or a stream's comment: the widget sends none
	deadAfter    = 60 * time.Second // without a word or a pong
	writeTimeout = 10 * time.Second // of one frame; a page that takes longer is cut off, and comes again
	maxFrame     = 16 << 10         // bytes from a page
	framesEvery  = 10               // a second from a page
)

// stream opens a socket, where one is asked for, else a stream of server-sent events. A page that is refused a socket asks for a
// stream, and one that is refused that polls; so it stays until the page is loaded again.
func (d *Door) stream(w http.ResponseWriter, r *http.Request) {
	v, err := d.known(r.Context(), r.URL.Query().Get("sessionId"))
	if err != nil {
		d.reply(w, r, nil, err)
		return
	}
	address := d.address(r) // not the request, which would stay for as long as the page does
	if !d.limits.open(address) {
		d.reply(w, r, nil, tooManyPages())
		return
	}
	leave := func() { d.limits.close(address) }
	p := newPage(v.ID, websocket.IsWebSocketUpgrade(r))
	if !d.hub.enter(p, d.o.SocketsMax) {
		leave()
		d.reply(w, r, nil, tooManyPages())
		return
	}
	d.visits.opened(v.ID, time.Now())
	way := wayStream
	if p.socket {
		way = waySocket
	}
	d.o.Meter.PageOpened(way)
	gone := func() {
		d.o.Meter.PageClosed(way)
		leave()
		left := d.hub.leave(p)
		d.visits.closed(p.session, left, time.Now())
	}
	if p.socket {
		d.openSocket(w, r, p, gone)
		return
	}
	defer gone()
	d.events(w, r, p)
}

func tooManyPages() *problem {
	return &problem{status: http.StatusServiceUnavailable, code: "too_many_pages", text: "too many pages are open; this one polls", retry: time.Minute}
}

// openSocket opens a socket and returns: two goroutines of its own tell the page and hear it, until it goes.
func (d *Door) openSocket(w http.ResponseWriter, r *http.Request, p *page, gone func()) {
	conn, err := d.upgrade.Upgrade(w, r, nil)
	if err != nil { // it is answered
		gone()
		return
	}
	ctx, end := context.WithCancel(context.Background())
	d.pages.Go(func() {
		defer gone()
		write := func(text []byte) error {
			_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			return conn.WriteMessage(websocket.TextMessage, text)
		}
		ping := func() error { return conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)) }
		_ = bridge.Protect(d.log, "tell", func() error { d.tell(ctx, p, write, ping); return nil })
		code := websocket.CloseNormalClosure
		select {
		case <-d.o.Closing:
			code = websocket.CloseServiceRestart
		default:
		}
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
		_ = conn.Close()
	})
	d.pages.Go(func() {
		defer end()
		_ = bridge.Protect(d.log, "hear", func() error { d.hear(ctx, conn, p); return nil }) // a page that is not heard any more comes again
	})
}

// hear reads what a page sends by its socket, until it is gone.
func (d *Door) hear(ctx context.Context, conn *websocket.Conn, p *page) {
	conn.SetReadLimit(maxFrame)
	postpone := func(string) error { return conn.SetReadDeadline(time.Now().Add(deadAfter)) }
	conn.SetPongHandler(postpone)
	_ = postpone("")
	pace := rate.NewLimiter(framesEvery, 2*framesEvery)
	for {
		kind, text, err := conn.ReadMessage()
		if err != nil {
			return
		}
		_ = postpone("")
		if kind != websocket.TextMessage || !pace.Allow() {
			continue
		}
		d.visits.sign(p.session, time.Now())
		if err := d.heard(ctx, p.session, text); err != nil && ctx.Err() == nil {
			d.log.Warn("an event of a page could not be taken", "err", err)
		}
	}
}

// heard takes a frame of a page. Only its own events count; the inspector is not offered.
func (d *Door) heard(ctx context.Context, session string, text []byte) error {
	var told struct {
		Type string `json:"type"`
		Data struct {
			Name      string           `json:"name"`
			Data      bridge.EventData `json:"data"`
			Timestamp string           `json:"timestamp"`
		} `json:"data"`
	}
	if d.o.MaskCards {
		text = bridge.MaskCardsJSON(text, &told)
	}
	if json.Unmarshal(text, &told) != nil || told.Type != "event" || told.Data.Name == "" {
		return nil
	}
	v, err := d.visitor(ctx, session)
	if err != nil {
		return err
	}
	name := told.Data.Name
	if long := []rune(name); len(long) > bridge.MaxEventName {
		name = string(long[:bridge.MaxEventName])
	}
	return d.ingest(ctx, map[string]any{
		"type": bridge.TypeCustomEvent, "session": v.session(),
		"event": bridge.CustomEvent{Name: name, Data: told.Data.Data, Timestamp: told.Data.Timestamp, SessionID: session},
	})
}

// events tells a page by server-sent events: without names, since the widget hears no others.
func (d *Door) events(w http.ResponseWriter, r *http.Request, p *page) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	write := func(text string) error {
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write([]byte(text)); err != nil { //nolint:gosec // JSON in a stream that no browser takes for a page
			return err
		}
		return rc.Flush()
	}
	if write(": open\n\n") != nil {
		return
	}
	d.tell(r.Context(), p, func(text []byte) error {
		return write("data: " + strings.ReplaceAll(string(text), "\n", " ") + "\n\n")
	}, func() error { return write(": beat\n\n") })
}
