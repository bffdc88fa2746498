package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// record is a delivery whose partition has gone on, and that is not in the store yet.
type record struct {
	run    *run
	item   *item
	target string
	batch  bridge.Batch // what it produced
}

// recorder records deliveries whose partitions have gone on already, all that wait in one write. It is here for throughput alone. Its
// fields are used under the lane's lock.
type recorder struct {
	lane    *Lane
	waiting []record
	writing bool
}

// releaseBeforeCommit lets the partition of an event that was delivered go on before that is recorded.
func (w *recorder) releaseBeforeCommit(ctx context.Context, v verdict, r *run, t *partition, it *item) {
	l := w.lane
	l.mu.Lock()
	defer l.wake()
	defer l.mu.Unlock()
	r.ahead = true
	it.unrecorded++
	w.waiting = append(w.waiting, record{r, it, t.target, v.Batch})
	l.finishAttempt(v, r, t, it, time.Now())
	if !w.writing {
		w.writing = true
		l.workers.all.Go(func() { w.write(ctx) })
	}
}

// recordsPage is how many deliveries are recorded in one write.
const recordsPage = 256

// write records deliveries, all that wait in one write, until none waits. Whatever the store's fault, the calls are not
// made again by this process.
func (w *recorder) write(ctx context.Context) {
	l := w.lane
	for {
		l.mu.Lock()
		n := min(len(w.waiting), recordsPage)
		page := w.waiting[:n:n]
		if w.waiting = w.waiting[n:]; n == 0 {
			w.waiting, w.writing = nil, false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		written := w.writePage(ctx, page)
		l.mu.Lock()
		for _, rec := range page {
			rec.item.unrecorded--
			delete(l.running, rec.run)
			close(rec.run.ended)
			if written {
				l.engine.meter.Delivered(l.name, time.Since(rec.item.Seq.Time()))
			}
		}
		l.queue.trim()
		l.mu.Unlock()
		l.wake()
	}
}

func (w *recorder) writePage(ctx context.Context, page []record) (written bool) {
	l := w.lane
	var b bridge.Batch
	first, last := page[0], page[len(page)-1]
	for _, rec := range page {
		b.Events = append(b.Events, rec.batch.Events...)
		b.Rows = append(b.Rows, rec.batch.Rows...)
	}
	if len(b.Events) > 0 {
		// Recognises this very write when its answer was lost.
		b.Claims = []bridge.Claim{{Key: fmt.Sprintf("records/%s/%s/%s/%s/%s/%d", l.name, first.item.Seq, bridge.Digest([]byte(first.target)),
			last.item.Seq, bridge.Digest([]byte(last.target)), len(page))}}
	}
	l.mu.Lock()
	b.Rows = append(b.Rows, l.pendingRows()...)
	b.Progress = w.progressOf(page)
	l.mu.Unlock()
	if l.write(ctx, b, first.item, len(page)) == writeDone {
		return true
	}
	for _, rec := range page {
		l.keepUnwritten(unwrittenResult{
			seq: rec.item.Seq, target: rec.target, done: true, batch: rec.batch, key: recordKey(l.name, rec.item, rec.target, rec.batch, true),
		})
	}
	return false
}

// progressOf is the lane's progress once the records are in the store. Called under the lock.
func (w *recorder) progressOf(page []record) bridge.Progress {
	for _, rec := range page {
		rec.item.unrecorded--
	}
	p := bridge.Progress{Lane: w.lane.name, Cursor: w.lane.queue.cursor()}
	for _, rec := range page {
		rec.item.unrecorded++
		if rec.item.Seq > p.Cursor {
			p.Done = append(p.Done, bridge.Mark{Seq: rec.item.Seq, Target: rec.target})
		}
	}
	return p
}
