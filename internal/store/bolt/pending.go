package bolt

import (
	"maps"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
)

// pendingKeys is how many claims and last words wait in memory before they go to their places together.
const pendingKeys = 16384

// pending are the newest claims and last words, by their keys in the sessions bucket. Each has a page of its own there, and
// to write those pages would be most of what a commit costs. So they first go to the end of the journal, one record for a
// group, and to their places only when there are many. At the start, and whenever it is not known what a failed write has
// left, they are read from the journal again.
type pending struct {
	limit int

	mu     sync.RWMutex // the writer, who alone changes them, reads without
	values map[string][]byte
}

// get is for readers. One who finds nothing here must look into the file afterwards, not before: what leaves here is there.
func (p *pending) get(key []byte) []byte {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.values[string(key)]
}

func (p *pending) set(values map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values = values
}

func (p *pending) add(values map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.values, values)
}

// committing is a transaction that is about to end. Readers may have its entries before pending has its values.
type committing struct {
	id     int
	values map[string][]byte
}

// get returns a value as a reader of the file has it, in whose transaction it is asked for.
func (c *committing) get(reader *bbolt.Tx, key []byte) []byte {
	if c == nil || reader.ID() < c.id {
		return nil
	}
	return c.values[string(key)]
}

// readJournal returns what is pending on the disk.
func readJournal(journal *bbolt.Bucket) map[string][]byte {
	values := make(map[string][]byte)
	cursor := journal.Cursor()
	for k, record := cursor.First(); k != nil; k, record = cursor.Next() {
		for len(record) > 0 {
			key, rest, _ := cutName(record)
			value, rest, ok := cutName(rest)
			if !ok {
				break
			}
			values[key], record = []byte(value), rest
		}
	}
	return values
}

// get returns a claim or a last word, wherever it is.
func (w *writer) get(key []byte) []byte {
	if v, ok := w.fresh[string(key)]; ok {
		return v
	}
	if v, ok := w.pending[string(key)]; ok {
		return v
	}
	return w.sessions.Get(key)
}

// keep writes a claim or a last word.
func (w *writer) keep(key, value []byte) {
	w.fresh[string(key)] = value
	w.wrote = true
}

// journalFresh ends a transaction: what is fresh goes to the journal, or, when that has become long, all to its place.
func (w *writer) journalFresh() {
	switch {
	case len(w.fresh) == 0:
	case len(w.fresh)+len(w.pending) >= w.store.pending.limit:
		w.settle()
	default:
		size := 0
		for k, v := range w.fresh {
			size += len(k) + len(v) + 4
		}
		record := make([]byte, 0, size)
		for k, v := range w.fresh {
			record = appendName(appendName(record, k), string(v))
		}
		n, err := w.journal.NextSequence()
		if w.err == nil {
			w.err = err
		}
		w.put(w.journal, seqBytes(bridge.Seq(n)), record)
	}
}

// settle brings everything that is pending to its place, in the order of the keys, and empties the journal.
func (w *writer) settle() {
	if len(w.fresh)+len(w.pending) == 0 {
		return
	}
	all := make(map[string][]byte, len(w.fresh)+len(w.pending))
	maps.Copy(all, w.pending)
	maps.Copy(all, w.fresh)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		w.put(w.sessions, []byte(k), all[k])
	}
	if w.err == nil {
		w.err = w.tx.DeleteBucket([]byte(bucketJournal))
	}
	if w.err == nil {
		w.journal, w.err = w.tx.CreateBucket([]byte(bucketJournal))
	}
	w.pending, w.fresh, w.settled = nil, make(map[string][]byte), true
}
