package discord

import (
	"context"
	"encoding/json"
	"sync"
	"time"
)

const (
	maxWaiting      = 10_000   // events between the gateway and the inbox
	maxWaitingBytes = 64 << 20 // of them
)

// item is something that came from the gateway: an event, or the news that a session began and events before it may be lost.
type item struct {
	gap     bool
	kind    string
	data    json.RawMessage // nil: it only moves the session on
	session string
	seq     int64
}

// eventQueue is the queue between the gateway, which must be read without delay, and the inbox, which takes its time.
type eventQueue struct {
	most int // items

	mu      sync.Mutex
	items   []item
	bytes   int
	changed chan struct{} // closed at every change
	stop    bool          // for good: whoever listens was told to end
	ended   error         // why nothing comes any more
	over    bool
}

func newEventQueue(most int) *eventQueue {
	return &eventQueue{most: most, changed: make(chan struct{})}
}

// change wakes whoever waits. Called under the lock.
func (q *eventQueue) change() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// push puts an item at the end; false: there is no room.
func (q *eventQueue) push(it item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) >= q.most || q.bytes+len(it.data) > maxWaitingBytes {
		return false
	}
	q.items = append(q.items, it)
	q.bytes += len(it.data)
	q.change()
	return true
}

// end says that nothing comes any more; what waits is still taken.
func (q *eventQueue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over, q.ended = true, err
	q.change()
}

// finish says that the end is meant, and not a failure.
func (q *eventQueue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stop = true
}

func (q *eventQueue) stopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stop
}

// next returns the first item and takes it out. Without one it waits; none is true when none came for the given time. The error is
// ctx's, or that with which the queue ended.
func (q *eventQueue) next(ctx context.Context, after time.Duration) (it item, none bool, err error) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	for {
		q.mu.Lock()
		changed := q.changed
		switch {
		case len(q.items) > 0:
			it, q.items = q.items[0], q.items[1:]
			q.bytes -= len(it.data)
			if len(q.items) == 0 {
				q.items = nil // so that a queue that was long does not stay in memory
			}
			q.change()
			q.mu.Unlock()
			return it, false, nil
		case q.over:
			q.mu.Unlock()
			return item{}, false, q.ended
		}
		q.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return item{}, true, nil
		case <-ctx.Done():
			return item{}, false, ctx.Err()
		}
	}
}

// room waits until the half of the queue is free.
func (q *eventQueue) room(ctx context.Context) error {
	for {
		q.mu.Lock()
		free := len(q.items) <= q.most/2 && q.bytes <= maxWaitingBytes/2
		changed := q.changed
		q.mu.Unlock()
		if free {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
