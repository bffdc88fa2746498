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

// page is an open page that hears by socket or stream. What it is to be told waits in it, bounded: messages by their ids, which are read
// when they are told, and anything else as frames. A page that has fallen behind is given everything that it may hold.
type page struct {
	session string
	socket  bool // else it has a stream
	opened  time.Time
	wake    chan struct{} // has one place
	away    chan struct{} // has one place: its socket is to be ended

	mu     sync.Mutex
	ids    map[string]bool
	all    bool
	frames [][]byte
	dots   time.Time // when the dots of an operator who types are to go; zero: there are none

	// Of the goroutine that tells it.
	sent  map[string]sentMessage
	apart spacing
}

// sentMessage is how a page was told of a message last.
type sentMessage struct {
	status, edited string
	deleted        bool
	files          int
}

// What waits for a page at most. Beyond it, frames are dropped: they tell of what passes.
const (
	pageIDs    = 64
	pageFrames = 32
)

func newPage(session string, socket bool) *page {
	return &page{
		session: session, socket: socket, opened: time.Now(), wake: make(chan struct{}, 1), away: make(chan struct{}, 1),
		all: true, sent: map[string]sentMessage{}, apart: spacing{},
	}
}

func (p *page) wakeUp() { signal(p.wake) }

// signal puts something in the one place of a channel, unless it is taken.
func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// want has the page told of messages.
func (p *page) want(ids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if p.ids == nil {
			p.ids = map[string]bool{}
		}
		if p.ids[id] = true; len(p.ids) > pageIDs {
			p.ids, p.all = nil, true
			break
		}
	}
	p.wakeUp()
}

func (p *page) wantAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = true
	p.wakeUp()
}

func (p *page) push(text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.frames) < pageFrames {
		p.frames = append(p.frames, text)
	}
	p.wakeUp()
}

// typing notes that an operator types, or not any more.
func (p *page) typing(is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dots = (time.Time{}); is {
		p.dots = time.Now().Add(typingEnds)
	}
	p.wakeUp()
}

// drain returns what waits, and when the dots end.
func (p *page) drain(now time.Time) (ids []string, all bool, frames [][]byte, dots time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids, all, frames = slices.Collect(maps.Keys(p.ids)), p.all, p.frames
	p.ids, p.all, p.frames = nil, false, nil
	if !p.dots.IsZero() && !now.Before(p.dots) {
		p.dots = time.Time{}
		frames = append(frames, bridge.MustJSON(typingFrame(false)))
	}
	return ids, all, frames, p.dots
}

// again has the page told later of what could not be told now.
func (p *page) again(ids []string, all bool) {
	if all {
		p.wantAll()
	} else {
		p.want(ids...)
	}
}

// tell tells a page all that it is to be told until ctx ends or write fails, and looks after it with beat.
func (d *Door) tell(ctx context.Context, p *page, send func(text []byte) error, beat func() error) {
	write := func(text []byte) error {
		d.o.Meter.Pushed()
		return send(text)
	}
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	dots := time.NewTimer(time.Hour)
	defer dots.Stop()
	p.wakeUp()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.o.Closing:
			return
		case <-p.away:
			return
		case <-ticker.C:
			if beat() != nil {
				return
			}
			continue
		case <-dots.C:
		case <-p.wake:
		}
		until, err := d.tellApart(ctx, p, write)
		if errors.Is(err, bridge.ErrUnavailable) {
			bridge.Sleep(ctx, time.Second) // what is to be told waits in the page
			p.wakeUp()
			continue
		}
		if err != nil {
			return
		}
		if !until.IsZero() {
			dots.Reset(time.Until(until))
		}
	}
}

// tellApart is tellOnce on a stack of its own, which is large and not kept: that of a page's goroutine, of which there are thousands,
// stays small.
func (d *Door) tellApart(ctx context.Context, p *page, write func(text []byte) error) (dots time.Time, err error) {
	var work sync.WaitGroup
	work.Go(func() { // a panic is that goroutine's own, whoever waits for it
		err = bridge.Protect(d.log, "tell", func() (err error) { dots, err = d.tellOnce(ctx, p, write); return err })
	})
	work.Wait()
	return dots, err
}

// tellOnce tells a page what waits. An error is write's, or bridge.ErrUnavailable.
func (d *Door) tellOnce(ctx context.Context, p *page, write func(text []byte) error) (dots time.Time, err error) {
	ids, all, frames, dots := p.drain(time.Now())
	if len(ids) > 0 || all {
		var messages []bridge.TranscriptMessage
		if all {
			var got bridge.TranscriptPage
			got, err = d.o.Transcripts.Transcript(ctx, bridge.TranscriptQuery{Session: p.session, Limit: historyPage})
			messages = got.Messages
		} else {
			messages, err = d.o.Transcripts.TranscriptOf(ctx, p.session, ids...)
		}
		var v *visitor
		if err == nil && all {
			v, err = d.visitor(ctx, p.session)
		}
		if err != nil {
			p.again(ids, all)
			if ctx.Err() == nil && !errors.Is(err, bridge.ErrUnavailable) {
				d.log.Error("what was said cannot be read for a page", "err", err)
			}
			return dots, bridge.ErrUnavailable
		}
		slices.SortStableFunc(messages, func(a, b bridge.TranscriptMessage) int { return a.Accepted.Compare(b.Accepted) })
		if v != nil && v.pendingRating() {
			frames = append(frames, bridge.MustJSON(ratingRequest(v.Asked)))
		}
		delivered, err := d.tellMessages(ctx, p, messages, write)
		if err != nil {
			return dots, err
		}
		if len(delivered) > 0 {
			if _, err := d.receipt(ctx, p.session, "delivered", delivered); err != nil && ctx.Err() == nil {
				d.log.Warn("that a page has answers could not be noted", "err", err)
			}
		}
	}
	for _, text := range frames {
		if err := write(text); err != nil {
			return dots, err
		}
	}
	return dots, nil
}

// tellMessages tells a page of messages that it does not hold, or does not hold as they are, and returns the answers among them that it
// is the first to have.
func (d *Door) tellMessages(ctx context.Context, p *page, all []bridge.TranscriptMessage, write func([]byte) error) (delivered []string, err error) {
	if len(p.apart) > 2*historyPage {
		clear(p.apart)
	}
	send := func(kind string, data any) {
		if err != nil {
			return
		}
		text, failed := json.Marshal(frame{kind, data})
		if failed != nil {
			d.log.Error("a message cannot be told to a page", "err", failed)
			return
		}
		err = write(text)
	}
	shaped := map[string]message{}
	for _, m := range d.shapeAfter(ctx, p.session, nil, notSent(p, all), p.apart) {
		shaped[m.ID] = m
	}
	for _, m := range shown(all) {
		now := sentMessage{status: m.Status, deleted: m.DeletedAt != "", files: len(m.Attachments)}
		if m.EditedAt != "" {
			now.edited = bridge.Digest([]byte(m.EditedAt + m.Content))
		}
		was, known := p.sent[m.ID]
		if known && was == now {
			continue
		}
		if !known || was.files != now.files && !now.deleted {
			w, there := shaped[m.ID]
			if !there {
				w = d.shape(ctx, p.session, nil, []bridge.TranscriptMessage{m})[0]
			}
			send("message", w)
			if m.Sender != bridge.SenderVisitor && m.Status == "sent" {
				delivered = append(delivered, m.ID)
			}
		}
		switch {
		case now.deleted && !was.deleted:
			send("message_deleted", map[string]any{"messageId": m.ID, "deletedAt": m.DeletedAt})
		case now.edited != was.edited && !now.deleted:
			send("message_edited", map[string]any{"messageId": m.ID, "content": m.Content, "editedAt": m.EditedAt})
		}
		if now.status != was.status && now.status != "sent" && (m.Sender == bridge.SenderVisitor || now.status == "read") {
			data := map[string]any{"messageIds": []string{m.ID}, "status": now.status}
			if m.DeliveredAt != "" {
				data["deliveredAt"] = m.DeliveredAt
			}
			if m.ReadAt != "" {
				data["readAt"] = m.ReadAt
			}
			send("read", data)
		}
		if err != nil {
			return nil, err
		}
		p.note(m.ID, now)
	}
	return delivered, nil
}

// notSent are the messages that a page was not told of.
func notSent(p *page, all []bridge.TranscriptMessage) []bridge.TranscriptMessage {
	return slices.DeleteFunc(slices.Clone(all), func(m bridge.TranscriptMessage) bool {
		_, known := p.sent[m.ID]
		return known
	})
}

// sentMost is how many messages a page's state is kept of; of others it is told again, which is harmless.
const sentMost = 2 * historyPage

func (p *page) note(id string, now sentMessage) {
	if len(p.sent) >= sentMost {
		clear(p.sent)
	}
	p.sent[id] = now
}
