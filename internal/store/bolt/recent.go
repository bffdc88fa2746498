package bolt

import (
	"slices"
	"sort"
	"sync"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	recentEntries = 4096
	recentBytes   = 8 << 20
)

// recent is the newest part of the log in memory, for those who follow it, and where they wait for more. Its entries' bodies
// are shared: nobody writes to them.
type recent struct {
	mu      sync.RWMutex
	known   bool
	base    bridge.Seq // with known: entries is the whole log after it
	entries []bridge.Entry
	bytes   int
	grown   chan struct{} // closed at the next append
}

// reset forgets everything, and wakes those who wait so that they look at the disk.
func (r *recent) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.entries, r.bytes = false, nil, 0
	r.wake()
}

func (r *recent) wake() {
	if r.grown != nil {
		close(r.grown)
	}
	r.grown = make(chan struct{})
}

// add appends entries that are on the disk. before is the newest Seq without them.
func (r *recent) add(before bridge.Seq, entries []bridge.Entry) {
	if len(entries) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known {
		r.known, r.base = true, before
	}
	r.entries = append(r.entries, entries...)
	for _, e := range entries {
		r.bytes += len(e.Event.Body)
	}
	drop := 0
	for ; len(r.entries)-drop > recentEntries || r.bytes > recentBytes; drop++ {
		r.base = r.entries[drop].Seq
		r.bytes -= len(r.entries[drop].Event.Body)
	}
	r.cut(drop)
	r.wake()
}

func (r *recent) cut(n int) {
	clear(r.entries[:n])
	r.entries = r.entries[n:]
}

// trim forgets the entries before the given one, which are no longer on the disk.
func (r *recent) trim(before bridge.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.index(before)
	for _, e := range r.entries[:n] {
		r.bytes -= len(e.Event.Body)
	}
	r.cut(n)
}

// index returns the place of the first entry at or after the Seq.
func (r *recent) index(seq bridge.Seq) int {
	return sort.Search(len(r.entries), func(i int) bool { return r.entries[i].Seq >= seq })
}

// after returns up to max entries after the given one; ok is false when only the disk can tell. grown is closed when there
// is more than was known when it was returned.
func (r *recent) after(seq bridge.Seq, max int) (entries []bridge.Entry, grown <-chan struct{}, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.known || seq < r.base {
		return nil, r.grown, false
	}
	from := r.index(seq + 1)
	to := min(from+max, len(r.entries))
	return slices.Clone(r.entries[from:to]), r.grown, true
}
