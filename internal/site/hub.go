package site

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// hub knows which pages of which sessions are open here, and what has lately become of those sessions.
type hub struct {
	mu     sync.Mutex
	rooms  map[string]*room
	open   int   // sockets and streams
	online *bool // what pages were told last; nil: nothing yet
}

// room is a session with pages that are open, or that poll.
type room struct {
	since   time.Time // since when its changes are noted
	changed time.Time // when it last changed, at the latest
	pages   map[*page]bool
	waiting map[string]bool // messages of the visitor's whose request is not answered
	typed   time.Time       // when it was last told that the visitor types
	used    time.Time
	uploads []time.Time // when files were asked for that no message names yet

	// When polls were answered: the first of a window of answerWindow, and of the one before it.
	answer, before time.Time
}

// answerWindow is how far back, at least, polls of the other pages of a session are covered by what a poll is given. A hidden page polls
// once a minute.
const answerWindow = 3 * time.Minute

// roomLife is how long a session without pages is remembered.
const roomLife = 10 * time.Minute

func newHub() *hub { return &hub{rooms: map[string]*room{}} }

// room is called under the lock.
func (h *hub) room(session string, now time.Time) *room {
	r := h.rooms[session]
	if r == nil {
		r = &room{since: now, changed: now, pages: map[*page]bool{}}
		h.rooms[session] = r
	}
	r.used = now
	return r
}

// tidy forgets sessions that nobody has asked for in a while.
func (h *hub) tidy(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for session, r := range h.rooms {
		if len(r.pages) == 0 && len(r.waiting) == 0 && now.Sub(r.used) > roomLife {
			delete(h.rooms, session)
		}
	}
}

// answered notes that a page of the session was given all that there is.
func (h *hub) answered(session string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.room(session, now)
	if r.answer.IsZero() || now.Sub(r.answer) > answerWindow {
		r.before, r.answer = r.answer, now
	}
}

// answeredBefore is a time that no answer is older than which a page of the session may have had last, unless that page was silent for
// longer than answerWindow while others were not; zero: it is not known.
func (h *hub) answeredBefore(session string, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.room(session, now)
	if !r.before.IsZero() {
		return r.before
	}
	return r.answer
}

// unchanged says whether nothing has become of a session since a time, as far as is known here for sure.
func (h *hub) unchanged(session string, since time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[session]
	return r != nil && since.After(r.since) && !r.changed.After(since)
}

func (h *hub) posting(session, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.room(session, time.Now())
	if r.waiting == nil {
		r.waiting = map[string]bool{}
	}
	r.waiting[id] = true
}

func (h *hub) posted(session string, ids ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[session]; r != nil {
		for _, id := range ids {
			delete(r.waiting, id)
		}
	}
}

// uploading counts a file of a session that no message names yet; false: there are too many. Those that came to nothing are forgotten
// with unsentLife.
func (h *hub) uploading(session string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.room(session, now)
	r.uploads = slices.DeleteFunc(r.uploads, func(at time.Time) bool { return now.Sub(at) > unsentLife })
	if len(r.uploads) >= waitingMost {
		return false
	}
	r.uploads = append(r.uploads, now)
	return true
}

// uploadsSent notes that a message names files.
func (h *hub) uploadsSent(session string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[session]; r != nil {
		r.uploads = r.uploads[min(n, len(r.uploads)):]
	}
}

// posts are the visitor's messages whose request is not answered.
func (h *hub) posts(session string) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[session]; r != nil {
		return maps.Clone(r.waiting)
	}
	return nil
}

// typingEvery is how often it is told that a visitor types: the widget tells it with every key.
const typingEvery = 3 * time.Second

func (h *hub) typingDue(session string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[session]
	return r == nil || now.Sub(r.typed) >= typingEvery
}

func (h *hub) typed(session string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.room(session, now).typed = now
}

// The most pages that hear by socket or stream: of all, of one session.
const pagesOfSession = 5

// enter adds a page; false: there are too many.
func (h *hub) enter(p *page, most int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.room(p.session, time.Now())
	if h.open >= most || len(r.pages) >= pagesOfSession {
		return false
	}
	r.pages[p] = true
	h.open++
	return true
}

// leave takes a page out, and returns how many of its session are left.
func (h *hub) leave(p *page) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[p.session]
	if r == nil || !r.pages[p] {
		return 0
	}
	delete(r.pages, p)
	h.open--
	r.used = time.Now()
	return len(r.pages)
}

// change tells a session's pages which of its messages are other than they were.
func (h *hub) change(session string, at time.Time, messages ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[session]
	if r == nil {
		return
	}
	if now := time.Now(); at.Before(now) {
		at = now
	}
	r.changed = at
	for p := range r.pages {
		p.want(messages...)
	}
}

// reopens is how old a socket must be for its page to open it again when it is ended: the widget takes an earlier end as a sign that sockets
// do not go here.
const reopens = 3 * time.Second

// end ends the sockets of a session. A page that is there opens its own again after a second.
func (h *hub) end(session string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[session]; r != nil {
		for p := range r.pages {
			if p.socket && now.Sub(p.opened) > reopens {
				signal(p.away)
			}
		}
	}
}

// send gives all pages of a session a frame; an empty session stands for all.
func (h *hub) send(session string, f frame) {
	text, err := json.Marshal(f)
	if err != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if session != "" {
		if r := h.rooms[session]; r != nil {
			for p := range r.pages {
				p.push(text)
			}
		}
		return
	}
	for _, r := range h.rooms {
		for p := range r.pages {
			p.push(text)
		}
	}
}

// missed has all pages look for all that they may have missed.
func (h *hub) missed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, r := range h.rooms {
		r.changed = now
		for p := range r.pages {
			p.wantAll()
		}
	}
}

// followPage is how many entries of the log are looked at together, followBack how far back a bridge looks at its start: for what was
// asked of sessions, and answers that nobody took, while it was away.
const (
	followPage = 256
	followBack = 10 * time.Minute
)

// follow tells pages of what is in the log, as it comes.
func (d *Door) follow(ctx context.Context) {
	after := bridge.SeqAt(time.Now().Add(-followBack))
	failing := false
	for ctx.Err() == nil {
		entries, err := d.o.Feed.Next(ctx, after, followPage)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if !failing {
				d.log.Warn("the log cannot be followed for pages; trying on", "err", err)
			}
			failing = true
			bridge.Sleep(ctx, time.Second)
			continue
		}
		if failing {
			failing = false
			d.hub.missed()
		}
		for _, e := range entries {
			_ = bridge.Protect(d.log, "follow", func() error { d.observe(ctx, e); return nil })
			after = max(after, e.Seq)
		}
	}
}

// frame is what a page is told by socket or stream.
type frame struct {
	Type string `json:"type"`
	Data any    `json:"data"`
}

// observe tells pages of an entry of the log.
func (d *Door) observe(ctx context.Context, e bridge.Entry) {
	ev := e.Event
	switch ev.Type {
	case bridge.TypeVisitorMessage, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted, bridge.TypeOperatorMessage,
		bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted, bridge.TypeMessageDelivered:
		d.hub.change(ev.Session, e.Seq.Time(), ev.Message)
		if ev.Type == bridge.TypeOperatorMessage {
			d.hub.typingUntil(ev.Session, false) // an answer ends the dots
			d.visits.answer(ev.Session, ev.Message, e.Seq.Time())
		}
	case bridge.TypeMessageRead:
		var read bridge.Read
		if json.Unmarshal(ev.Body, &read) == nil {
			d.hub.change(ev.Session, e.Seq.Time(), read.MessageIDs...)
		}
	case bridge.TypeOperatorStatus:
		d.tellPresence()
	case bridge.TypeAITakeover:
		d.hub.send(ev.Session, frame{"ai_takeover", struct{}{}})
	case bridge.TypeCSATRequest:
		err := d.askedToRate(ctx, ev.Session, e.Seq.Time())
		if err != nil && !errors.Is(err, ErrNoSession) && ctx.Err() == nil {
			d.log.Warn("a request for a rating could not be noted", "err", err)
		}
		d.hub.send(ev.Session, ratingRequest(e.Seq.Time()))
	case bridge.TypePageEvent:
		var told struct {
			Event bridge.CustomEvent `json:"event"`
		}
		if json.Unmarshal(ev.Body, &told) == nil && time.Since(e.Seq.Time()) < followBack/2 {
			d.hub.send(ev.Session, frame{"event", map[string]any{
				"name": told.Event.Name, "data": told.Event.Data, "timestamp": bridge.WireTime(e.Seq.Time()),
			}})
		}
	}
}

func ratingRequest(at time.Time) frame {
	return frame{"csat_request", map[string]any{"requestedAt": bridge.WireTime(at)}}
}

// tellPresence tells all pages whether anyone is there, when that has changed.
func (d *Door) tellPresence() {
	online := d.o.Presence.Online()
	d.hub.mu.Lock()
	same := d.hub.online != nil && *d.hub.online == online
	d.hub.online = &online
	d.hub.mu.Unlock()
	if !same {
		d.hub.send("", frame{"presence", map[string]any{"online": online}})
	}
}

// typingEnds is when the widget, which does not end it by itself, is told that an operator who typed does not any more.
const typingEnds = 8 * time.Second

// pass tells pages what is never stored: that an operator types.
func (d *Door) pass(e bridge.Entry) {
	if e.Event.Type != bridge.TypeOperatorTyping {
		return
	}
	var told bridge.OperatorTyping
	if json.Unmarshal(e.Event.Body, &told) != nil {
		return
	}
	d.hub.send(e.Event.Session, typingFrame(told.IsTyping))
	d.hub.typingUntil(e.Event.Session, told.IsTyping)
}

func typingFrame(is bool) frame {
	return frame{"typing", map[string]any{"isTyping": is, "sender": "operator"}}
}

func (h *hub) typingUntil(session string, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.rooms[session]; r != nil {
		for p := range r.pages {
			p.typing(is)
		}
	}
}
