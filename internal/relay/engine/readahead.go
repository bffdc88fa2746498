package engine

import (
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// readAheadMost is how many unfinished events of a lane are in memory: what waits behind them waits in the log alone. So a platform that
// takes nothing for a day costs no more than one that takes nothing for an hour. An event takes 125 bytes where each session has 50 of them, and
// 560 where each has one, so these are 6 to 27 MiB. Fewer would find less to be shown in one message, and new visitors later: their first
// words go before others' only where they have been read.
const readAheadMost = 50_000

// ahead is what a lane knows of the log behind the place up to which it has read.
type ahead struct {
	full    bool       // enough was read, until it has come down to three quarters
	counted bridge.Seq // up to where it was looked at what waits
	waits   int        // behind what was read and up to there
}

// readsOn says whether the lane is to read on. One that leads to several targets always does: one of them that is gone must not keep
// others' events waiting. Called under the lock.
func (l *Lane) readsOn(now time.Time) bool {
	if l.targeter != nil {
		return true
	}
	most := l.engine.readAhead
	switch n := l.queue.unfinished(); {
	case n >= most:
		l.ahead.full = true
	case n < most-most/4:
		l.ahead.full = false
	}
	return !l.ahead.full || l.starves(now)
}

// starves says whether the destination takes calls, and nothing that was read can be tried: all of it waits for something of its own.
// What stands behind that in the log must not wait with it, however much is in memory then. Called under the lock.
func (l *Lane) starves(now time.Time) bool {
	switch {
	case len(l.running) >= max(l.sink.Limits().Concurrency, 1), l.pause.failures > 0, l.caution.delay(now) > 0:
		return false
	case l.calling() && (!l.takes || l.caution.alone(now)): // its end tells whether any are taken
		return false
	}
	l.queue.wake(now)
	return l.queue.ready.Len() == 0
}

// feed hands the log to the queue.
func (l *Lane) feed(ctx context.Context, state bridge.LaneState) {
	done := map[bridge.Seq][]string{}
	for _, m := range state.Done {
		done[m.Seq] = append(done[m.Seq], m.Target)
	}
	after := l.untilWanted(ctx, state.Cursor)
	for ctx.Err() == nil {
		l.mu.Lock()
		reads, from := l.readsOn(time.Now()), after
		if !reads {
			from = max(after, l.ahead.counted)
		}
		l.mu.Unlock()
		entries, more, err := l.engine.tail.page(ctx, from, tailPage)
		switch {
		case err != nil:
		case len(entries) == 0:
			l.awaitMore(ctx, reads, more)
			continue
		case !reads:
			_ = bridge.Protect(l.log, opFeed, func() error { l.lookAhead(entries, done); return nil })
			continue
		default:
			err = bridge.Protect(l.log, opFeed, func() error { return l.enqueueAll(ctx, entries, done, &after) })
		}
		if err != nil {
			if ctx.Err() == nil {
				l.log.Error("the log cannot be read; trying on", "err", err)
				bridge.Sleep(ctx, time.Second)
			}
			continue
		}
		l.wake()
		l.saveRows(ctx)
		_ = bridge.Protect(l.log, opFeed, func() error { l.wantFiles(entries, done); return nil }) // files only come the sooner by it
	}
}

// opFeed is the reading of the log.
const opFeed = "feed"

// awaitMore waits until the log has grown, or until there is room for what it has.
func (l *Lane) awaitMore(ctx context.Context, reads bool, more <-chan struct{}) {
	space := l.space
	if reads {
		space = nil
	}
	select {
	case <-more:
	case <-space:
	case <-ctx.Done():
	}
}

// enqueueAll puts entries into the queue; after is moved with each.
func (l *Lane) enqueueAll(ctx context.Context, entries []bridge.Entry, done map[bridge.Seq][]string, after *bridge.Seq) error {
	if err := l.prepare(ctx, entries); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		if e.Seq <= l.ahead.counted && l.isWaiting(e, done[e.Seq]) {
			l.ahead.waits--
		}
		l.enqueue(e, done[e.Seq])
		*after = e.Seq
	}
	if *after >= l.ahead.counted {
		l.ahead.waits = 0
	}
	return nil
}

// lookAhead counts entries that stay in the log for now. What cannot wait for their turn is done: their files are fetched, while those who
// have them are there, and the sink hears of a session that is erased.
func (l *Lane) lookAhead(entries []bridge.Entry, done map[bridge.Seq][]string) {
	defer func() { // also behind a panic
		l.mu.Lock()
		l.ahead.counted = entries[len(entries)-1].Seq
		l.mu.Unlock()
	}()
	waits := 0
	for _, e := range entries {
		if l.isWaiting(e, done[e.Seq]) {
			waits++
		}
		if e.Event.Type == bridge.TypeErased && l.observer != nil {
			l.observer.OnEvent(e)
		}
	}
	l.mu.Lock()
	l.ahead.waits += waits
	l.mu.Unlock()
	l.wantFiles(entries, done)
}

// isWaiting says whether the lane has a use for an entry that it has not read.
func (l *Lane) isWaiting(e bridge.Entry, done []string) bool {
	if len(done) > 0 {
		return false
	}
	if e.Event.Type == TypeRedelivered {
		var mine bool
		if e, _, mine = unwrap(e, l.name); !mine {
			return false
		}
	}
	return l.sink.Kind(e) != bridge.KindNone
}

// wantFiles tells the sink of people's messages that are to come to it.
func (l *Lane) wantFiles(entries []bridge.Entry, done map[bridge.Seq][]string) {
	p, ok := l.sink.(Prefetcher)
	if !ok {
		return
	}
	for _, e := range entries {
		if len(done[e.Seq]) == 0 && l.sink.Kind(e) == bridge.KindMessage {
			p.Prefetch(e)
		}
	}
}

// unread says whether the log has events that the lane has left there for now.
func (l *Lane) unread() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ahead.counted > l.queue.fed
}

// Deleted implements PeekQueue.
func (p peek) Deleted(ctx context.Context, e bridge.Entry) (bool, error) {
	if p.engine.presenter == nil || !p.unread() {
		return false, nil
	}
	_, gone, err := p.engine.presenter.Present(ctx, &e)
	return gone, err
}
