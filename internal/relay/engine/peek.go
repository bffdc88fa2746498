package engine

import (
	"context"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// What a lane asks its sink, with what holds where the sink has no answer.

// onlyTarget is the target of a sink that has one.
var onlyTarget = []string{""}

func (l *Lane) targets(q Queued) []string {
	if l.targeter == nil {
		return onlyTarget
	}
	return l.targeter.Targets(q)
}

func (l *Lane) awaits(q Queued) bool { return l.targeter == nil || l.targeter.Awaits(q) }

func (l *Lane) changed() <-chan struct{} {
	if l.targeter == nil {
		return nil
	}
	return l.targeter.Changed()
}

func (l *Lane) everHadTarget() bool { return l.targeter == nil || l.targeter.EverHadTarget() }

func (l *Lane) atOnce(target string) int {
	if l.targetHealth == nil {
		return max(l.sink.Limits().Concurrency, 1)
	}
	return l.targetHealth.AtOnce(target)
}

func (l *Lane) lastOnly(t bridge.Type) bool { return slices.Contains(l.opts.LastOnly, t) }

func (l *Lane) pendingRows() []bridge.Row {
	if l.rows == nil {
		return nil
	}
	return l.rows.PendingRows()
}

func (l *Lane) givenUp(e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	if d, ok := l.sink.(Disposer); ok {
		return d.GivenUp(e, cause)
	}
	return nil
}

func (l *Lane) load(ctx context.Context) error {
	if s, ok := l.sink.(Loader); ok {
		return s.Load(ctx)
	}
	return nil
}

func (l *Lane) prepare(ctx context.Context, entries []bridge.Entry) error {
	p, ok := l.sink.(Preparer)
	if !ok {
		return nil
	}
	return p.Prepare(ctx, entries, func(session string) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.queue.sessions[session] != nil
	})
}

// tidy drops what the sink remembers of sessions that have been silent for long.
func (l *Lane) tidy(now time.Time) {
	s, ok := l.sink.(Tidier)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Tidy(now, func(session string) bool { return l.queue != nil && l.queue.sessions[session] != nil })
}

// peek is what an attempt for an item may ask: see Peek.
type peek struct {
	*Lane
	item *item
}

func (p peek) Room() bool { return p.room() }

func (p peek) Quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return now.Before(p.quiet) || p.caution.alone(now)
}

func (p peek) TextBehind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.wordsBehind(p.item)
}

func (p peek) LeftUnheard() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.queue.sessions[p.item.Session]
	return s != nil && s.words == 0 &&
		slices.ContainsFunc(s.items, func(other *item) bool { return other.Type == bridge.TypeVisitorDisconnect })
}

func (p peek) Held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heldNow(p.item, time.Now())
}

func (p peek) ChangesBehind(ctx context.Context) ([]bridge.Entry, error) {
	return p.entries(ctx, p.changesBehind(p.item))
}

func (p peek) Behind(ctx context.Context) ([]bridge.Entry, error) {
	return p.entries(ctx, p.behind(p.item))
}

// entries returns events of the log, those that are still there.
func (p peek) entries(ctx context.Context, seqs []bridge.Seq) ([]bridge.Entry, error) {
	var out []bridge.Entry
	for _, seq := range seqs {
		e, ok, err := p.engine.tail.entry(ctx, seq)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}

// delivery is an item as an attempt for a target sees it. Attempts for its other targets may be under way.
func (l *Lane) delivery(it *item, e bridge.Entry, target string) Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := it.remembers()
	return Delivery{
		Entry: e, Target: target, Kind: it.kind, Ordered: it.placed, Places: int(it.places), PossiblySent: m.possiblySent, Edited: m.edited,
		Memory: &m.memory,
	}
}
