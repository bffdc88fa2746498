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

// inlet is the queue between the gateway, which must be read without delay, and the inbox, which takes its time.
type inlet struct {
	most int // items

	mu      sync.Mutex
	items   []item
	bytes   int
	changed chan struct{} // closed at every change
	stop    bool          // for good: whoever listens was told to end
	ended   error         // why nothing comes any more
	over    bool
}

func newInlet(most int) *inlet { return &inlet{most: most, changed: make(chan struct{})} }

// change wakes whoever waits. Called under the lock.
func (in *inlet) change() {
	close(in.changed)
	in.changed = make(chan struct{})
}

// push puts an item at the end; false: there is no room.
func (in *inlet) push(it item) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.items) >= in.most || in.bytes+len(it.data) > maxWaitingBytes {
		return false
	}
	in.items = append(in.items, it)
	in.bytes += len(it.data)
	in.change()
	return true
}

// end says that nothing comes any more; what waits is still taken.
func (in *inlet) end(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over, in.ended = true, err
	in.change()
}

// finish says that the end is meant, and not a failure.
func (in *inlet) finish() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stop = true
}

func (in *inlet) stopped() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.stop
}

// next returns the first item and takes it out. Without one it waits; none is true when none came for the given time. The error is
// ctx's, or that with which the inlet ended.
func (in *inlet) next(ctx context.Context, patience time.Duration) (it item, none bool, err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		in.mu.Lock()
		changed := in.changed
		switch {
		case len(in.items) > 0:
			it, in.items = in.items[0], in.items[1:]
			in.bytes -= len(it.data)
			if len(in.items) == 0 {
				in.items = nil // so that a queue that was long does not stay in memory
			}
			in.change()
			in.mu.Unlock()
			return it, false, nil
		case in.over:
			in.mu.Unlock()
			return item{}, false, in.ended
		}
		in.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return item{}, true, nil
		case <-ctx.Done():
			return item{}, false, ctx.Err()
		}
	}
}

// room waits until the half of the inlet is free.
func (in *inlet) room(ctx context.Context) error {
	for {
		in.mu.Lock()
		free := len(in.items) <= in.most/2 && in.bytes <= maxWaitingBytes/2
		changed := in.changed
		in.mu.Unlock()
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
