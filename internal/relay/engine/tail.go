package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tail is the end of the log in memory, once for the whole process. Lanes and streams read from it, since they are mostly near the end;
// a reader that is further behind reads the store. What this process appends is offered to the tail at once. The store is read only for
// what other processes append, and for what was in the log before this one started.
//
// The tail only grows. After a fail-over the store's log may have lost its end. The store never gives a Seq twice, so its log goes on
// behind what was read before, and the lost entries are still read from memory.
type tail struct {
	store    Store
	log      *slog.Logger
	wait     time.Duration
	observer func(bridge.Entry)

	// growing is held while entries are observed and added, so that both happen in the log's order.
	growing sync.Mutex
	early   map[bridge.Seq][]bridge.Entry // offered before the entry in front of them; the key is that one's Seq
	nudged  chan struct{}                 // holds a token after an offer, or after a commit of unknown outcome
	// unknownCommits counts the events after which only the store knows what is in the log. settled is that count at the last time
	// the store was read to its end.
	unknownCommits, settled int
	onLoss                  func() // called when the log was found to have lost its end

	mu      sync.Mutex
	entries []bridge.Entry
	bytes   int
	base    bridge.Seq // everything after it and up to newest is in entries
	newest  bridge.Seq
	seen    int           // entries so far
	marks   []bridge.Seq  // the Seqs of every tailMark-th entry, the newest ones
	changed chan struct{} // closed when newest moves
	// aside are entries before base that a reader wanted, with some behind each, since those are mostly wanted next.
	aside      map[bridge.Seq]bridge.Entry
	asideBytes int
}

// The tail's limits.
const (
	tailEntries = 8192
	tailBytes   = 16 << 20
	tailPage    = 512
	tailMark    = 1000
	tailAside   = 32                    // entries that are read where one is wanted
	asideMost   = 4096                  // entries aside
	asideBytes  = 4 << 20               // and their size
	tailEarly   = 4096                  // entries that may wait for the entry in front of them
	tailQuiet   = 20 * time.Millisecond // without an offer, until the store is asked
	tailWait    = 2 * time.Second       // for what others append; then it is checked that the log has not lost its end
	tailGap     = 5 * time.Millisecond  // for an offer that is on its way, until the store is asked for what is missing
)

func newTail(s Store, log *slog.Logger) *tail {
	wait := tailWait
	if exclusive(s) {
		wait = time.Minute
	}
	return &tail{
		store: s, log: log, wait: wait, changed: make(chan struct{}), observer: func(bridge.Entry) {}, onLoss: func() {},
		early: map[bridge.Seq][]bridge.Entry{}, nudged: make(chan struct{}, 1),
	}
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

// offer adds entries that this process has appended behind the entry with the Seq after. They are added at once if that entry, or one of
// the offered, is the newest here. Otherwise they wait for it, or are read from the store.
func (t *tail) offer(after bridge.Seq, entries []bridge.Entry) {
	t.growing.Lock()
	defer t.growing.Unlock()
	switch newest := t.Newest(); {
	case t.unknownCommits > t.settled: // the reader finds them
	case after > newest:
		if len(t.early) < tailEarly {
			t.early[after] = entries
		} // else the reader finds them
	case after == newest || slices.ContainsFunc(entries, func(e bridge.Entry) bool { return e.Seq == newest }):
		t.add(entries)
	case newest < entries[len(entries)-1].Seq:
		t.unknownCommits++ // what was newest here is not in the log
	}
	nudge(t.nudged)
}

// noteUnknownCommit notes a commit whose outcome is unknown: the store may have made it. Offers are not taken from then on until the store
// has been read to its end.
func (t *tail) noteUnknownCommit() {
	t.growing.Lock()
	defer t.growing.Unlock()
	t.unknownCommits++
	clear(t.early)
	nudge(t.nudged)
}

// quiet waits until nothing has been offered for a while. It returns false when the store must be read at once: entries in early wait for
// what another process has appended, or a commit's outcome is unknown.
func (t *tail) quiet(ctx context.Context) bool {
	timer := time.NewTimer(tailQuiet)
	defer timer.Stop()
	missing, at := false, bridge.Seq(0)
	for {
		select {
		case <-t.nudged:
			t.growing.Lock()
			wanted, newest := len(t.early) > 0 || t.unknownCommits > t.settled, t.Newest()
			t.growing.Unlock()
			switch {
			case !wanted:
				missing = false
				timer.Reset(tailQuiet)
			case !missing || at != newest:
				missing, at = true, newest
				timer.Reset(tailGap)
			}
		case <-timer.C:
			return !missing
		case <-ctx.Done():
			return true
		}
	}
}

// run reads the store until ctx ends. A store that cannot be read is asked again every second, and that is logged once.
func (t *tail) run(ctx context.Context) {
	silent := false
	var lost bridge.Seq // what was newest when the log was found to have lost it
	for ctx.Err() == nil {
		var wait time.Duration
		if t.quiet(ctx) {
			wait = t.wait
		}
		after := t.Newest()
		idle, err := t.read(ctx, wait)
		if err == nil && after != lost && (idle || silent) {
			// It has been quiet, or the store was away.
			var whole bool
			if whole, err = t.whole(ctx, after); err == nil && !whole {
				lost = after
				t.log.Warn("the log has lost its end; it goes on behind it", "was", after)
				t.onLoss()
			}
		}
		if err != nil {
			if ctx.Err() == nil && !silent {
				t.log.Error("the log cannot be read; trying on", "err", err)
				silent = true
			}
			bridge.Sleep(ctx, time.Second)
			continue
		}
		silent = false
	}
}

// read waits for entries in the store behind the newest one here, and adds them. idle says that none came.
func (t *tail) read(ctx context.Context, wait time.Duration) (idle bool, err error) {
	t.growing.Lock()
	doubts := t.unknownCommits
	t.growing.Unlock()
	entries, err := t.store.Read(ctx, t.Newest(), tailPage, wait)
	if err != nil {
		return false, err
	}
	t.growing.Lock()
	defer t.growing.Unlock()
	t.add(entries)
	switch {
	case len(entries) < tailPage:
		t.settled = doubts
	case t.unknownCommits > t.settled:
		nudge(t.nudged)
	}
	return len(entries) == 0 && wait > 0, nil
}

// whole says whether the log still has the entry that was read last. A trimmed log counts as whole.
func (t *tail) whole(ctx context.Context, newest bridge.Seq) (bool, error) {
	last, err := t.store.Last(ctx)
	if err != nil || last <= newest {
		return last == newest, err
	}
	page, err := t.store.Read(ctx, 0, 1, 0)
	if err != nil || len(page) == 0 || page[0].Seq > newest {
		return err == nil, err
	}
	_, there, err := t.store.Entry(ctx, newest)
	return there, err
}

// add adds the entries that are new, and those in early that waited for them. The caller holds growing.
func (t *tail) add(entries []bridge.Entry) {
	newest := t.Newest()
	for {
		i := sort.Search(len(entries), func(i int) bool { return entries[i].Seq > newest })
		if entries = entries[i:]; len(entries) > 0 {
			t.append(entries)
			newest = entries[len(entries)-1].Seq
		}
		next, ok := t.early[newest]
		if !ok {
			break
		}
		delete(t.early, newest)
		entries = next
	}
	for after := range t.early {
		if after < newest {
			delete(t.early, after) // read from the store meanwhile
		}
	}
}

func (t *tail) append(entries []bridge.Entry) {
	for _, e := range entries {
		t.observer(e)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.entries = append(t.entries, e)
		t.bytes += len(e.Event.Body)
		t.newest = e.Seq
		if t.seen++; t.seen%tailMark == 0 {
			t.marks = append(t.marks, e.Seq)
			t.marks = t.marks[max(0, len(t.marks)-replayMost/tailMark):]
		}
	}
	drop := 0
	for len(t.entries)-drop > tailEntries || t.bytes > tailBytes {
		t.base = t.entries[drop].Seq
		t.bytes -= len(t.entries[drop].Event.Body)
		drop++
	}
	t.entries = t.entries[drop:] // what lies before is freed with the array, when the next ones need a larger one
	for _, e := range entries {
		if e.Event.Type == bridge.TypeErased {
			t.scrub(e.Event)
		}
	}
	close(t.changed) // wakes all that wait in Next
	t.changed = make(chan struct{})
}

// scrub empties the events of a session that is erased; their places stay. The caller holds the lock.
func (t *tail) scrub(told bridge.Event) {
	var of struct {
		Digest string `json:"digest"`
	}
	if json.Unmarshal(told.Body, &of) != nil || of.Digest == "" {
		return
	}
	t.aside, t.asideBytes = nil, 0
	t.entries = slices.Clone(t.entries) // readers may hold the old array
	for i, e := range t.entries {
		if e.Event.Session != "" && bridge.Digest([]byte(e.Event.Session)) == of.Digest {
			t.bytes -= len(e.Event.Body)
			t.entries[i].Event = bridge.Erased()
			t.bytes += len(t.entries[i].Event.Body)
		}
	}
}

// forget drops the entries aside, and all entries up to before but the last of them: a reader that has read that one goes on from it.
func (t *tail) forget(before bridge.Seq) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.aside, t.asideBytes = nil, 0
	drop := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].Seq >= before }) - 1
	if drop <= 0 {
		return
	}
	for _, e := range t.entries[:drop] {
		t.bytes -= len(e.Event.Body)
	}
	t.base = t.entries[drop-1].Seq
	t.entries = slices.Clone(t.entries[drop:]) // readers may hold the old array
}

// beyondReplay returns the place behind which at most replayMost entries have been seen by this process; 0 when no more than that have been
// seen at all.
func (t *tail) beyondReplay() bridge.Seq {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.marks) < replayMost/tailMark {
		return 0
	}
	return t.marks[0] + 1
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
		entries, more, err := t.page(ctx, after, max)
		if err != nil || len(entries) > 0 {
			return entries, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// page returns up to max entries behind a place, those that are there now. more is closed when there are others.
func (t *tail) page(ctx context.Context, after bridge.Seq, max int) (entries []bridge.Entry, more <-chan struct{}, err error) {
	for {
		t.mu.Lock()
		newest, base := t.newest, t.base
		more = t.changed
		if after >= base && after < newest {
			i := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].Seq > after })
			n := min(max, len(t.entries)-i)
			entries = t.entries[i : i+n : i+n] // never written to again
			t.mu.Unlock()
			return entries, more, nil
		}
		t.mu.Unlock()
		if after >= base {
			return nil, more, nil
		}
		if entries, err = t.store.Read(ctx, after, max, 0); err != nil || len(entries) > 0 {
			return entries, more, err
		}
		after = base // nothing is left of what was before
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
	e, ok := t.aside[seq]
	t.mu.Unlock()
	if ok {
		return e, true, nil
	}
	page, err := t.store.Read(ctx, seq-1, tailAside, 0)
	if err != nil || len(page) == 0 || page[0].Seq != seq {
		return bridge.Entry{}, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.aside == nil || len(t.aside) > asideMost || t.asideBytes > asideBytes {
		t.aside, t.asideBytes = map[bridge.Seq]bridge.Entry{}, 0
	}
	for _, e := range page {
		if _, there := t.aside[e.Seq]; !there {
			t.aside[e.Seq] = e
			t.asideBytes += len(e.Event.Body)
		}
	}
	return page[0], true, nil
}
