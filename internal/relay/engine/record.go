package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// save records a cursor that has moved since it was last recorded.
func (l *Lane) save(ctx context.Context) {
	l.mu.Lock()
	cursor := l.queue.cursor()
	b := bridge.Batch{Lease: l.lease, Progress: bridge.Progress{Lane: l.name, Cursor: cursor}}
	b.Rows = append(l.pendingRows(), l.paceRows(time.Now())...)
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
	if _, err := l.engine.store.Commit(ctx, b); err == nil {
		l.committed(b)
	} else if restates {
		l.mu.Lock()
		l.restating = true
		l.mu.Unlock()
	}
}

// rowsAtOnce is about how many of a sink's own rows are written at once. Rows are written together with a cursor, which moves with fewer.
const rowsAtOnce = 100

// saveRows writes a sink's rows without a cursor, when they have become many.
func (l *Lane) saveRows(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		b := bridge.Batch{Lease: l.lease, Rows: l.pendingRows()}
		l.mu.Unlock()
		if len(b.Rows) < rowsAtOnce {
			return
		}
		b.Rows = b.Rows[:rowsAtOnce]
		if _, err := l.engine.store.Commit(ctx, b); err != nil {
			if errors.Is(err, bridge.ErrLeaseLost) {
				return
			}
			bridge.Sleep(ctx, time.Second)
			continue
		}
		l.committed(b)
	}
}

// recorded writes what an attempt produced. It tries for as long as the lane is owned; what could not be written by then is kept as
// unwritten. The call itself is not made again by this process, whatever the store's fault was.
func (l *Lane) recorded(ctx context.Context, t *partition, it *item, v verdict) verdict {
	b := v.Batch
	if len(b.Rows) == 0 && len(b.Events) == 0 && (!v.Done || v.Idle) {
		return v // not worth a write: after a restart the event is found to be of no use again
	}
	claim := recordKey(l.name, it, t.target, b, v.Done)
	if len(b.Events) > 0 {
		b.Claims = append(b.Claims, bridge.Claim{Key: claim})
	}
	l.mu.Lock()
	if v.Done {
		b.Progress = l.progress(t, it, l.alsoDone(it, v.Also)...)
		b.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], l.pendingRows()...)
	}
	b.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], l.paceRows(time.Now())...)
	l.mu.Unlock()
	switch l.write(ctx, b, it, 1) {
	case writeDone:
		return v
	case writeAway:
		l.keepUnwritten(unwrittenResult{seq: it.Seq, also: v.Also, target: t.target, done: v.Done, batch: v.Batch, key: claim})
	}
	return verdict{stopped: true}
}

// recordKey is the dedupe key by which a record is recognised when the store's answer was lost. The last step of a delivery has another key
// than those before it.
func recordKey(lane string, it *item, target string, b bridge.Batch, done bool) string {
	key := "record/" + lane + "/" + it.Seq.String() + "/" + target
	if done {
		return key
	}
	step := []byte{}
	for _, e := range b.Events {
		step = append(append(step, e.Type...), e.Body...)
	}
	return key + "/" + bridge.Digest(step)
}

// How a write ended.
type written int

const (
	writeDone    written = iota // the record is in the store, ours or another process's of the same event
	writeAway                   // the store could not be written to for as long as the lane was owned
	writeRefused                // the store will never accept the record
)

// write writes a batch under the lease. It repeats the very same batch until the store confirms it: only then does a dedupe key that is
// taken already mean that the whole batch was written.
func (l *Lane) write(ctx context.Context, b bridge.Batch, first *item, count int) written {
	l.mu.Lock()
	b.Lease = l.lease
	l.mu.Unlock()
	said := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		res, err := l.engine.Commit(ctx, b)
		switch {
		case err == nil && res.Duplicate && !said:
			// Another owner has recorded the same event: its rows are the store's, and ours are not.
			l.log.Warn("a delivery was recorded by another process already", "event", first.Seq, "count", count)
			return writeDone
		case err == nil:
			l.committed(b)
			return writeDone
		case errors.Is(err, bridge.ErrLeaseLost):
			l.lose()
			return writeAway
		case ctx.Err() != nil:
			return writeAway
		case !errors.Is(err, bridge.ErrUnavailable):
			l.log.Error("a delivery could not be recorded and may be repeated", "event", first.Seq, "count", count, "err", err)
			return writeRefused
		case !said:
			l.log.Error("a delivery cannot be recorded; trying on", "event", first.Seq, "count", count, "err", err)
			said = true
		}
		bridge.Sleep(ctx, wait)
	}
}

// committed updates the lane's memory after a record was written.
func (l *Lane) committed(b bridge.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = max(l.saved, b.Progress.Cursor)
	if l.rows != nil {
		l.rows.RowsWritten(b.Rows)
	}
}

// progress is the lane's state in the store once the target has the event, and with it those that were delivered together.
func (l *Lane) progress(t *partition, it *item, others ...*item) bridge.Progress {
	p := bridge.Progress{Lane: l.name}
	all := append([]*item{it}, others...)
	var over []*item
	for _, one := range all {
		if one.unrecorded == 0 && l.queue.finishedWith(one, t.target) {
			over = append(over, one)
		}
	}
	p.Cursor = l.queue.cursor(over...)
	for _, one := range all {
		if p.Cursor < one.Seq {
			p.Done = append(p.Done, bridge.Mark{Seq: one.Seq, Target: t.target})
		}
	}
	return p
}
