package bolt

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// commit is a batch made ready by the goroutine that commits it, so that the writer has little to do.
type commit struct {
	batch  bridge.Batch
	claims []bridge.Claim // with those that the events imply
	events []event
	values [][]byte // of batch.Rows, as they are kept; nil: deleted
	want   [][]byte // of batch.If
	ping   bool
	size   int
}

type event struct {
	data    []byte
	session string
}

// Commit writes the batch. See store.Store.
func (s *Store) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	if err := checkBatch(&b); err != nil {
		return bridge.Result{}, err
	}
	c := &commit{batch: b, claims: store.Claims(b)}
	// The writer may still read when the caller has left, and bbolt until the write ends: it gets copies.
	for _, e := range b.Events {
		data, err := store.EncodeEvent(e)
		if err != nil {
			return bridge.Result{}, err
		}
		c.events = append(c.events, event{data, e.Session})
		c.size += len(data)
	}
	for _, r := range b.Rows {
		var value []byte
		if r.Value != nil {
			value = rowValue(r)
		}
		c.values = append(c.values, value)
		c.size += len(value)
	}
	for _, r := range b.If {
		c.want = append(c.want, bytes.Clone(r.Value))
	}
	c.batch.IfTaken = slices.Clone(b.IfTaken)
	c.batch.Progress.Done = slices.Clone(b.Progress.Done)
	return s.group.Commit(ctx, c, c.size)
}

// write is the group's writer: one transaction, one fsync. What did not fit is remembered until as much does: a disk that has
// no room for the next message may have some for less.
func (s *Store) write(calls []*store.Call[*commit]) {
	size := 0
	for _, c := range calls {
		if size += c.Payload.size; c.Payload.ping {
			size += s.refused
		}
	}
	err := s.transact(func(w *writer) {
		for _, c := range calls {
			if c.Result, c.Err = w.apply(c.Payload); w.err != nil {
				break
			}
		}
	})
	switch {
	case err != nil:
		s.refused = max(s.refused, size, 1)
	case size >= s.refused:
		s.refused = 0
	}
	if s.outage.Note(err); err != nil {
		for _, c := range calls {
			c.Result, c.Err = bridge.Result{}, err
		}
	}
}

// errUnwritten ends a transaction in which nothing was written.
var errUnwritten = errors.New("nothing to write")

// transact runs one transaction, and then brings what is kept in memory to what the disk has. An error is ErrUnavailable.
func (s *Store) transact(fn func(w *writer)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.moved.Load() != nil {
		return unavailable(store.ErrMoved)
	}
	var w *writer
	err := s.change(func(tx *bbolt.Tx) error {
		w = newWriter(s, tx)
		if fn(w); !w.wrote {
			return errUnwritten
		}
		w.journalFresh()
		w.keepCounts()
		if w.err != nil {
			return w.err
		}
		s.committing.Store(&committing{tx.ID(), w.fresh})
		return w.log.SetSequence(uint64(w.last))
	})
	defer s.committing.Store(nil) // pending has them by then
	switch {
	case errors.Is(err, errUnwritten):
		return nil
	case err != nil:
		// It is not known what the disk has.
		s.pendingStale = true
		return unavailable(err)
	}
	if w.settled {
		s.pending.set(maps.Clone(w.fresh)) // readers may still have what was about to be committed
	} else {
		s.pending.add(w.fresh)
	}
	if w.appended {
		s.notifier.tell()
	}
	return nil
}

// writer is one transaction. Each batch is checked as a whole before anything of it is written.
type writer struct {
	store *Store
	tx    *bbolt.Tx

	meta, log, journal, sessions, rows, lanes, done *bbolt.Bucket

	now, last bridge.Seq
	appended  bool
	pending   map[string][]byte // of the transactions before
	fresh     map[string][]byte // of this one
	settled   bool              // nothing is pending but what is fresh
	counts    map[string]int    // by how many rows the tables have grown
	wrote     bool
	err       error // of bbolt: the transaction is lost
}

func newWriter(s *Store, tx *bbolt.Tx) *writer {
	w := &writer{
		store:    s,
		tx:       tx,
		fresh:    make(map[string][]byte),
		counts:   make(map[string]int),
		journal:  tx.Bucket([]byte(bucketJournal)),
		meta:     tx.Bucket([]byte(bucketMeta)),
		log:      tx.Bucket([]byte(bucketLog)),
		sessions: tx.Bucket([]byte(bucketSessions)),
		rows:     tx.Bucket([]byte(bucketRows)),
		lanes:    tx.Bucket([]byte(bucketLanes)),
		done:     tx.Bucket([]byte(bucketDone)),
		now:      bridge.SeqAt(s.now()),
	}
	w.log.FillPercent = 1 // it only ever grows at its end
	w.last = bridge.Seq(w.log.Sequence())
	w.journal.FillPercent = 1
	if s.pendingStale {
		s.pending.set(readJournal(w.journal))
		s.pendingStale = false
	}
	w.pending = s.pending.values
	return w
}

func (w *writer) put(b *bbolt.Bucket, key, value []byte) {
	if w.err == nil {
		w.err = b.Put(key, value)
		w.wrote = true
	}
}

func (w *writer) delete(b *bbolt.Bucket, key []byte) {
	if w.err == nil {
		w.err = b.Delete(key)
		w.wrote = true
	}
}

// claim returns a claim that is held now.
func (w *writer) claim(key []byte, session string) (held, bool) {
	value := w.get(key)
	if value == nil {
		return held{}, false
	}
	h := heldOf(value)
	return h, session != "" || !expired(h.at, w.now)
}

// expired says whether a claim without a session, taken at the one time, no longer counts at the other.
func expired(taken, now bridge.Seq) bool {
	return taken+bridge.Seq(bridge.ClaimTTL.Microseconds()) <= now
}

func (w *writer) apply(c *commit) (bridge.Result, error) {
	if c.ping {
		w.put(w.meta, []byte("ping"), append(seqBytes(w.now), make([]byte, w.probe())...))
		return bridge.Result{}, nil
	}
	result, err := w.check(c)
	if err != nil || result.Duplicate {
		return result, err
	}

	at := w.now
	if len(c.events) > 0 {
		result.After = w.last
	}
	for _, e := range c.events {
		w.last = max(w.last+1, w.now)
		w.put(w.log, seqBytes(w.last), e.data)
		w.appended = true
		result.Seqs = append(result.Seqs, w.last)
		if e.session != "" {
			w.keep(wordKey(e.session), seqBytes(w.last))
		}
	}
	if len(result.Seqs) > 0 {
		at = result.Seqs[0]
	}
	w.takeClaims(c, at)
	for i, r := range c.batch.Rows {
		w.putRow(r, c.values[i], at)
	}
	if c.batch.Progress.Lane != "" {
		w.progress(c.batch.Progress)
	}
	return result, nil
}

// probe returns how much a Ping writes besides its time: nothing, or, when the disk did not take something last, more than the
// small free parts of the file have room for.
func (w *writer) probe() int {
	const most = 4 << 20
	if w.store.refused == 0 {
		return 0
	}
	db := w.tx.DB()
	return 2*w.store.refused + min(db.Stats().FreePageN*db.Info().PageSize, most)
}

// check says whether the batch may be written. The claims come before the conditions: a batch that is committed again, after
// an answer that was lost, is a duplicate and not one whose rows have changed.
func (w *writer) check(c *commit) (bridge.Result, error) {
	var result bridge.Result
	if l := c.batch.Lease; l != (bridge.Lease{}) && !w.store.holds(l) {
		return result, bridge.ErrLeaseLost
	}
	for _, claim := range c.claims {
		if claim.Soft || claim.Moves {
			continue
		}
		h, ok := w.claim(claimKey(claim.Session, claim.Key), claim.Session)
		if !ok {
			continue
		}
		if claim.Sum != "" && h.sum != "" && claim.Sum != h.sum {
			return bridge.Result{}, bridge.ErrConflict
		}
		if !result.Duplicate {
			result.Duplicate = true
			if h.appended {
				result.First = h.at
			}
		}
	}
	if result.Duplicate {
		return result, nil
	}
	for i, r := range c.batch.If {
		value := w.rows.Get(rowKey(r.Table, r.Key))
		if _, have, _ := cutName(value); (value == nil) != (c.want[i] == nil) || !bytes.Equal(have, c.want[i]) {
			return result, bridge.ErrChanged
		}
	}
	for _, t := range c.batch.IfTaken {
		if h, _ := w.claim(claimKey(t.Session, t.Key), t.Session); h.at != t.At {
			return result, bridge.ErrChanged
		}
	}
	return result, nil
}

func (w *writer) takeClaims(c *commit, at bridge.Seq) {
	for _, claim := range c.claims {
		key := claimKey(claim.Session, claim.Key)
		if claim.Soft {
			if _, ok := w.claim(key, claim.Session); ok {
				continue
			}
		}
		w.keep(key, held{at: at, appended: len(c.events) > 0, sum: claim.Sum}.bytes())
		w.begin(claim.Session, at)
	}
}

// begin gives a session that has something and no last word yet the present one, so that it is forgotten in its time.
func (w *writer) begin(session string, at bridge.Seq) {
	if session == "" {
		return
	}
	if key := wordKey(session); w.get(key) == nil {
		w.keep(key, seqBytes(at))
	}
}

func (w *writer) putRow(r bridge.Row, value []byte, at bridge.Seq) {
	key := rowKey(r.Table, r.Key)
	old := w.rows.Get(key)
	switch {
	case old == nil && value != nil:
		w.counts[r.Table]++
	case old != nil && value == nil:
		w.counts[r.Table]--
	}
	if owner, _, _ := cutName(old); owner != "" && (value == nil || owner != r.Session) {
		w.delete(w.sessions, ownedKey(owner, r.Table, r.Key))
	}
	if value == nil {
		w.delete(w.rows, key)
		return
	}
	w.put(w.rows, key, value)
	if r.Session != "" {
		w.put(w.sessions, ownedKey(r.Session, r.Table, r.Key), nil)
		w.begin(r.Session, at)
	}
}

func (w *writer) progress(p bridge.Progress) {
	lane := lanePrefix(p.Lane)
	// Of two writes that overtake each other the higher cursor stays.
	cursor := max(p.Cursor, seqOf(w.lanes.Get(lane)))
	w.put(w.lanes, lane, seqBytes(cursor))
	for _, m := range p.Done {
		if m.Seq > cursor {
			w.put(w.done, markKey(p.Lane, m), nil)
		}
	}
	if p.Cursor == 0 {
		return
	}
	// Where very many were waiting for one, some go with each write.
	w.deleteAll(w.done, keysUntil(w.done, lane, markKey(p.Lane, bridge.Mark{Seq: cursor + 1}), 2*chunk))
}

// keysUntil returns the keys from the first to before the last, so many at most. They are good until the transaction ends.
func keysUntil(b *bbolt.Bucket, first, last []byte, most int) [][]byte {
	var keys [][]byte
	cursor := b.Cursor()
	for k, _ := cursor.Seek(first); k != nil && len(keys) < most && bytes.Compare(k, last) < 0; k, _ = cursor.Next() {
		keys = append(keys, k)
	}
	return keys
}
