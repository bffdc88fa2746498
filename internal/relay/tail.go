package relay

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tail follows the log for this whole process: one reader of the store, and the newest entries in memory for the lanes and
// the streams, which are mostly near the end. Whoever is further behind reads the store.
type tail struct {
	store    Store
	log      *slog.Logger
	observer func(bridge.Entry)

	mu      sync.Mutex
	entries []bridge.Entry
	bytes   int
	base    bridge.Seq // everything after it and up to newest is in entries
	newest  bridge.Seq
	void    bridge.Seq    // readers up to here, and beyond newest, have read what the store no longer has; 0: none
	changed chan struct{} // closed when newest moves
}

// What the tail keeps at most.
const (
	tailEntries = 8192
	tailBytes   = 16 << 20
	tailPage    = 512
)

func newTail(s Store, log *slog.Logger) *tail {
	return &tail{store: s, log: log, changed: make(chan struct{}), observer: func(bridge.Entry) {}}
}

func (t *tail) start(ctx context.Context) error {
	last, err := t.store.Last(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.base, t.newest = last, last
	return nil
}

// run reads until ctx ends. A store that cannot be read is asked again every second, and said once.
func (t *tail) run(ctx context.Context) {
	silent := false
	for ctx.Err() == nil {
		after := t.Newest()
		entries, err := t.store.Read(ctx, after, tailPage, 2*time.Second)
		if err == nil && len(entries) == 0 {
			err = t.rewind(ctx, after)
		}
		if err != nil {
			if ctx.Err() == nil && !silent {
				t.log.Error("the log cannot be read; trying on", "err", err)
				silent = true
			}
			sleep(ctx, time.Second)
			continue
		}
		silent = false
		t.append(entries)
	}
}

// rewind starts anew when the store holds less than was read from it before: it was emptied, or lost its end.
func (t *tail) rewind(ctx context.Context, after bridge.Seq) error {
	last, err := t.store.Last(ctx)
	if err != nil || last >= after {
		return err
	}
	t.log.Warn("the log ends before its last known end; reading it anew", "was", after, "is", last)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries, t.bytes, t.base, t.newest, t.void = nil, 0, last, last, after
	t.tell()
	return nil
}

func (t *tail) append(entries []bridge.Entry) {
	if len(entries) == 0 {
		return
	}
	for _, e := range entries {
		t.observer(e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.entries = append(t.entries, e)
		t.bytes += len(e.Event.Body)
		t.newest = e.Seq
	}
	drop := 0
	for len(t.entries)-drop > tailEntries || t.bytes > tailBytes {
		t.base = t.entries[drop].Seq
		t.bytes -= len(t.entries[drop].Event.Body)
		drop++
	}
	if drop > 0 {
		clear(t.entries[:drop])
		t.entries = t.entries[drop:]
	}
	t.tell()
}

// tell wakes who waits. Called under the lock.
func (t *tail) tell() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// Newest implements bridge.Feed.
func (t *tail) Newest() bridge.Seq {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest
}

// Next implements bridge.Feed.
func (t *tail) Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error) {
	for {
		t.mu.Lock()
		newest, base, changed := t.newest, t.base, t.changed
		if after > newest && after <= t.void {
			after = 0 // the log lost its end: what it has now may all be new
		}
		if after >= base && after < newest {
			i := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].Seq > after })
			n := min(max, len(t.entries)-i)
			out := append([]bridge.Entry(nil), t.entries[i:i+n]...)
			t.mu.Unlock()
			return out, nil
		}
		t.mu.Unlock()
		if after < base {
			entries, err := t.store.Read(ctx, after, max, 0)
			if err != nil {
				return nil, err
			}
			if len(entries) > 0 {
				return entries, nil
			}
			after = base // nothing is left of what was before
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// entry returns one entry of the log.
func (t *tail) entry(ctx context.Context, seq bridge.Seq) (bridge.Entry, bool, error) {
	t.mu.Lock()
	i := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].Seq >= seq })
	if i < len(t.entries) && t.entries[i].Seq == seq {
		e := t.entries[i]
		t.mu.Unlock()
		return e, true, nil
	}
	t.mu.Unlock()
	return t.store.Entry(ctx, seq)
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
