package relay

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// That somebody is typing is told at once or not at all: it is never stored, waits for nothing and is not tried again.
const (
	typingEvery   = 4 * time.Second // of one session on one platform; their indicators last 5 to 10 s
	typingTimeout = 5 * time.Second
	typingAtOnce  = 8   // calls
	typingKnown   = 500 // sessions whose last time is kept
)

// passing is what is told and not kept: to platforms, streams and callbacks.
type passing struct {
	log   *slog.Logger
	slots chan struct{}
	calls sync.WaitGroup

	mu        sync.Mutex
	last      map[string]time.Time // platform, line feed, session → when it was shown
	listeners map[int]func(bridge.Entry)
	next      int // listener's number
	ended     bool
}

func newPassing(log *slog.Logger) *passing {
	return &passing{
		log:   log,
		slots: make(chan struct{}, typingAtOnce), last: map[string]time.Time{}, listeners: map[int]func(bridge.Entry){},
	}
}

// try runs call in a goroutine of its own, unless too many run or the relay ends.
func (p *passing) try(call func(ctx context.Context)) {
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
		_ = bridge.Protect(p.log, opReact, func() error { call(ctx); return nil })
	})
}

// due says whether the last time for a key is long enough ago, and notes this one.
func (p *passing) due(key string) bool {
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

func (p *passing) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.calls.Wait()
}

// Passing has tell called with what is told and not kept, as it happens, until end is called. It must not wait.
func (r *Relay) Passing(tell func(bridge.Entry)) (end func()) {
	p := r.passing
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
	for _, l := range r.lanes {
		d, ok := l.dest.(*threads)
		if !ok {
			continue
		}
		typer, ok := d.platform.(bridge.Typer)
		if !ok || !l.owns() || !r.passing.due(d.name+"\n"+session) {
			continue
		}
		r.passing.try(func(ctx context.Context) {
			t, err := d.thread(ctx, session)
			if err != nil || t.ID == "" || d.isClosed(session) || !l.spare() {
				return
			}
			// Nothing waits for it; but a refusal for its pace is heeded.
			l.heedLimit(typer.ShowTyping(ctx, t.ID))
		})
	}
}

// operatorTypes tells the visitor's app that an operator types.
func (in *inbox) operatorTypes(ctx context.Context, u bridge.Update) error {
	session, err := in.lookUp(ctx, u)
	if err != nil || session == "" {
		return err
	}
	r := in.relay
	e := bridge.Entry{Seq: bridge.SeqAt(time.Now()), Event: bridge.Event{
		Type: bridge.TypeOperatorTyping, Origin: in.platform, Session: session,
		Body: json.RawMessage(mustJSON(bridge.OperatorTyping{SessionID: session, IsTyping: true, SourceBridge: in.platform})),
	}}
	r.passing.mu.Lock()
	for _, tell := range r.passing.listeners {
		tell(e)
	}
	r.passing.mu.Unlock()
	bound, err := r.store.Get(ctx, tableBindings, session)
	if err != nil {
		return err
	}
	for _, target := range r.recv.Targets(e, string(bound)) {
		r.passing.try(func(ctx context.Context) { _ = r.recv.Post(ctx, target, e) })
	}
	return nil
}

// owns says whether this process works the lane.
func (l *lane) owns() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned
}

// spare takes a call out of the pace, if the destination has room for one that nobody waits for.
func (l *lane) spare() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.owned || l.pause.cause != nil || l.caution.rate(now) > 0 || now.Before(l.quiet) || !l.pace.room(now) || l.queue.wordsWait() {
		return false
	}
	l.pace.take(now, 1)
	return true
}
