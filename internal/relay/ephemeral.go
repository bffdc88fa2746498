package relay

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// That somebody is typing is told at once or not at all: it is never stored, waits for nothing and is not tried again.
const (
	typingEvery   = 4 * time.Second // of one session on one platform; their indicators last 5 to 10 s
	typingTimeout = 5 * time.Second
	typingAtOnce  = 8   // calls
	typingKnown   = 500 // sessions whose last time is kept
)

// ephemeral is what is told and not kept: to platforms, streams and callbacks.
type ephemeral struct {
	log   *slog.Logger
	slots chan struct{}
	calls sync.WaitGroup

	mu        sync.Mutex
	last      map[string]time.Time // platform, line feed, session → when it was shown
	listeners map[int]func(bridge.Entry)
	next      int // listener's number
	ended     bool
}

func newEphemeral(log *slog.Logger) *ephemeral {
	return &ephemeral{
		log:   log,
		slots: make(chan struct{}, typingAtOnce), last: map[string]time.Time{}, listeners: map[int]func(bridge.Entry){},
	}
}

// try runs call in a goroutine of its own, unless too many run or the relay ends.
func (p *ephemeral) try(call func(ctx context.Context)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	select {
	case p.slots <- struct{}{}:
	default:
		return
	}
	p.calls.Go(func() {
		defer func() { <-p.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), typingTimeout)
		defer cancel()
		_ = bridge.Protect(p.log, "react", func() error { call(ctx); return nil })
	})
}

// soon runs call in a goroutine of its own, when there is room, unless the relay ends.
func (p *ephemeral) soon(call func(ctx context.Context)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.calls.Go(func() {
		p.slots <- struct{}{}
		defer func() { <-p.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), typingTimeout)
		defer cancel()
		_ = bridge.Protect(p.log, "press", func() error { call(ctx); return nil })
	})
}

// due says whether the last time for a key is long enough ago, and notes this one.
func (p *ephemeral) due(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.last[key]) < typingEvery {
		return false
	}
	if len(p.last) >= typingKnown {
		clear(p.last)
	}
	p.last[key] = now
	return true
}

func (p *ephemeral) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.calls.Wait()
}

// Ephemeral has tell called with what is told and not kept, as it happens, until end is called. It must not wait.
func (r *Relay) Ephemeral(tell func(bridge.Entry)) (end func()) {
	p := r.ephemeral
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	n := p.next
	p.listeners[n] = tell
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, n)
	}
}

// visitorTypes shows in the session's threads that the visitor types.
func (r *Relay) visitorTypes(session string) {
	for _, p := range r.platforms {
		if !p.sink.ShowsTyping() || !p.lane.Owns() || !r.ephemeral.due(p.name+"\n"+session) {
			continue
		}
		r.ephemeral.try(func(ctx context.Context) { p.sink.ShowTyping(ctx, session, p.lane) })
	}
}

// operatorTypes tells the visitor's app that an operator types, or does not any more.
func (r *Relay) operatorTypes(platform, session string, is bool) {
	r.ephemeral.try(func(ctx context.Context) {
		e := typingEntry(bridge.OperatorTyping{SessionID: session, IsTyping: is, SourceBridge: platform})
		r.ephemeral.tell(e)
		if r.others != nil {
			r.ephemeral.try(func(ctx context.Context) {
				if err := r.others.Tell(ctx, e.Event.Body); err != nil {
					r.ephemeral.log.Debug("that an operator types is not told to the other bridges", "session", session, "err", err)
				}
			})
		}
		bound, err := msgmap.Bound(ctx, r.store, session)
		if err != nil {
			r.ephemeral.log.Debug("that an operator types is not told to callbacks", "session", session, "err", err)
			return
		}
		for _, target := range r.recv.Targets(e, bound) {
			r.ephemeral.try(func(ctx context.Context) { _ = r.recv.Post(ctx, target, e) })
		}
	})
}

func typingEntry(t bridge.OperatorTyping) bridge.Entry {
	return bridge.Entry{Seq: bridge.SeqAt(time.Now()), Event: bridge.Event{
		Type: bridge.TypeOperatorTyping, Origin: t.SourceBridge, Session: t.SessionID, Body: json.RawMessage(bridge.MustJSON(t)),
	}}
}

// tell tells all who listen here.
func (p *ephemeral) tell(e bridge.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, tell := range p.listeners {
		tell(e)
	}
}

// heardFromOthers tells the pages and streams that are here what another bridge has heard. Callbacks have it from that one.
func (r *Relay) heardFromOthers(text []byte) {
	var t bridge.OperatorTyping
	if json.Unmarshal(text, &t) == nil && t.SessionID != "" {
		r.ephemeral.tell(typingEntry(t))
	}
}
