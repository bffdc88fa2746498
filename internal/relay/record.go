package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// save records a cursor that has moved since it was last recorded.
func (l *lane) save(ctx context.Context) {
	l.mu.Lock()
	cursor := l.queue.cursor(nil)
	b := bridge.Batch{Lease: l.lease, Progress: bridge.Progress{Lane: l.name, Cursor: cursor}}
	b.Rows = l.dest.unwritten()
	moved := cursor > l.saved
	restates := l.restating
	if restates {
		_, b.Progress.Done = l.queue.allFinished()
		l.restating = false
	}
	l.mu.Unlock()
	if !moved && !restates && len(b.Rows) == 0 {
		return
	}
	if _, err := l.relay.store.Commit(ctx, b); err == nil {
		l.saw(b)
	} else if restates {
		l.mu.Lock()
		l.restating = true
		l.mu.Unlock()
	}
}

// rowsAtOnce is how many of a destination's own rows are written at once, about: they go with a cursor, and it with few.
const rowsAtOnce = 100

// saveRows writes a destination's rows when they have become many, without a cursor.
func (l *lane) saveRows(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		b := bridge.Batch{Lease: l.lease, Rows: l.dest.unwritten()}
		l.mu.Unlock()
		if len(b.Rows) < rowsAtOnce {
			return
		}
		b.Rows = b.Rows[:rowsAtOnce]
		if _, err := l.relay.store.Commit(ctx, b); err != nil {
			if errors.Is(err, bridge.ErrLeaseLost) {
				return
			}
			sleep(ctx, time.Second)
			continue
		}
		l.saw(b)
	}
}

// record is a delivery whose track has gone on, and that is not in the store yet.
type record struct {
	run    *run
	item   *item
	target string
	batch  bridge.Batch // what it produced
}

// goOn lets the track of an event that was delivered go on before that is recorded.
func (l *lane) goOn(ctx context.Context, v verdict, r *run, t *track, it *item) {
	l.mu.Lock()
	defer l.wake()
	defer l.mu.Unlock()
	r.ahead = true
	it.unrecorded++
	l.records = append(l.records, record{r, it, t.target, v.batch})
	l.conclude(v, r, t, it, time.Now())
	if !l.recording {
		l.recording = true
		l.attempts.Go(func() { l.writeRecords(ctx) })
	}
}

// recordsPage is how many deliveries are recorded in one write.
const recordsPage = 256

// writeRecords records deliveries, all that wait in one write, until none waits. Whatever the store's fault, the calls are not
// made again by this process.
func (l *lane) writeRecords(ctx context.Context) {
	for {
		l.mu.Lock()
		n := min(len(l.records), recordsPage)
		page := l.records[:n:n]
		if l.records = l.records[n:]; n == 0 {
			l.records, l.recording = nil, false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		written := l.writePage(ctx, page)
		l.mu.Lock()
		for _, rec := range page {
			rec.item.unrecorded--
			delete(l.running, rec.run)
			close(rec.run.ended)
			if written {
				l.relay.meter.Delivered(l.name, time.Since(rec.item.seq.Time()))
			}
		}
		l.queue.trim()
		l.mu.Unlock()
		l.wake()
	}
}

func (l *lane) writePage(ctx context.Context, page []record) (written bool) {
	b := bridge.Batch{Progress: bridge.Progress{Lane: l.name}}
	var rows []bridge.Row
	first, last := page[0], page[len(page)-1]
	for _, rec := range page {
		b.Events = append(b.Events, rec.batch.Events...)
		rows = append(rows, rec.batch.Rows...)
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		b.Claims = []bridge.Claim{{Key: fmt.Sprintf("records/%s/%s/%s/%s/%s/%d", l.name, first.item.seq, digest([]byte(first.target)),
			last.item.seq, digest([]byte(last.target)), len(page))}}
	}
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		l.mu.Lock()
		b.Lease = l.lease
		b.Rows = append(rows[:len(rows):len(rows)], l.dest.unwritten()...)
		l.progressOf(page, &b.Progress)
		l.mu.Unlock()
		_, err := l.relay.commit(ctx, b)
		if err == nil {
			l.saw(b)
			return true
		}
		if errors.Is(err, bridge.ErrLeaseLost) {
			l.lose(bridge.ErrLeaseLost)
		}
		if ctx.Err() != nil || !errors.Is(err, bridge.ErrUnavailable) {
			l.log.Error("deliveries could not be recorded and may be repeated", "event", first.item.seq, "count", len(page), "err", err)
			return false
		}
		if !said {
			l.log.Error("deliveries cannot be recorded; trying on", "event", first.item.seq, "count", len(page), "err", err)
			said = true
		}
		sleep(ctx, wait)
	}
}

// progressOf is the lane's progress once the records are in the store. Called under the lock.
func (l *lane) progressOf(page []record, p *bridge.Progress) {
	for _, rec := range page {
		rec.item.unrecorded--
	}
	p.Cursor, p.Done = l.queue.cursor(nil), nil
	for _, rec := range page {
		rec.item.unrecorded++
		if rec.item.seq > p.Cursor {
			p.Done = append(p.Done, bridge.Mark{Seq: rec.item.seq, Target: rec.target})
		}
	}
}

// recorded writes what an attempt produced, for as long as the lane is owned. Whatever the store's fault, the call is not
// made again by this process.
func (l *lane) recorded(ctx context.Context, t *track, it *item, v verdict) verdict {
	b := v.batch
	if len(b.Rows) == 0 && len(b.Events) == 0 && (!v.done || v.idle) {
		return v // nothing that is worth a write: an event of no use is found to be of no use again
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		b.Claims = append(b.Claims, bridge.Claim{Key: "record/" + l.name + "/" + it.seq.String() + "/" + t.target})
	}
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		l.mu.Lock()
		b.Lease = l.lease
		b.Rows = v.batch.Rows
		if v.done {
			b.Progress = l.progress(t, it)
			b.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], l.dest.unwritten()...)
		}
		l.mu.Unlock()
		_, err := l.relay.commit(ctx, b)
		if err == nil {
			l.saw(b)
			return v
		}
		if errors.Is(err, bridge.ErrLeaseLost) {
			l.lose(bridge.ErrLeaseLost)
		}
		if ctx.Err() != nil || !errors.Is(err, bridge.ErrUnavailable) {
			l.log.Error("a delivery could not be recorded and may be repeated", "event", it.seq, "session", it.session, "err", err)
			return verdict{stopped: true}
		}
		if !said {
			l.log.Error("a delivery cannot be recorded; trying on", "event", it.seq, "err", err)
			said = true
		}
		sleep(ctx, wait)
	}
}

// saw notes what is written.
func (l *lane) saw(b bridge.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = max(l.saved, b.Progress.Cursor)
	l.dest.written(b.Rows)
}

// progress is the lane's, once the target has the event.
func (l *lane) progress(t *track, it *item) bridge.Progress {
	p := bridge.Progress{Lane: l.name}
	var also *item
	if it.unrecorded == 0 && l.queue.finishedWith(it, t.target) {
		also = it
	}
	p.Cursor = l.queue.cursor(also)
	if p.Cursor < it.seq {
		p.Done = []bridge.Mark{{Seq: it.seq, Target: t.target}}
	}
	return p
}
