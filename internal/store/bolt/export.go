package bolt

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// exported ends the name of a copy of the file that an export reads.
const exported = ".export"

const keyMoved = "moved"

var _ store.Movable = (*Store)(nil)

// Export implements store.Movable. A file that is written meanwhile is copied first, since what reads it for long would hold up whoever
// writes; that needs as much room beside it.
func (s *Store) Export(ctx context.Context, c store.Cut, take func(store.Item) error) error {
	if !s.exporting.TryLock() {
		return store.ErrExporting
	}
	defer s.exporting.Unlock()
	switch {
	case s.moved.Load() != nil:
		return s.exportFile(ctx, take)
	case c.Final:
		return s.exportFinally(ctx, c, take)
	case s.still:
		return s.exportFile(ctx, take)
	}
	return s.exportCopy(ctx, take)
}

// exportFinally has everybody end, and closes the store while it is read. It stays closed if all was taken.
func (s *Store) exportFinally(ctx context.Context, c store.Cut, take func(store.Item) error) (err error) {
	s.moving.Store(true)
	defer func() {
		if err != nil {
			s.moved.Store(nil)
			s.moving.Store(false)
		}
	}()
	held := func(context.Context) (bool, error) { return s.anyHeld(c.Leases), nil }
	if err := store.Drained(ctx, held); err != nil {
		return err
	}
	at := bridge.SeqAt(s.now())
	s.writing.Lock() // whoever writes now is in the export, and nobody after
	s.moved.Store(&at)
	s.writing.Unlock()
	if err := s.exportFile(ctx, take); err != nil {
		return err
	}
	return s.putMoved(seqBytes(at))
}

// anyHeld says whether a lease is held whose name begins so.
func (s *Store) anyHeld(begins string) bool {
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	for name, l := range s.leases {
		if strings.HasPrefix(name, begins) && s.now().Before(l.until) {
			return true
		}
	}
	return false
}

// putMoved writes when the store was closed, or nothing.
func (s *Store) putMoved(at []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return unavailable(s.change(func(tx *bbolt.Tx) error {
		if at == nil {
			return tx.Bucket([]byte(bucketMeta)).Delete([]byte(keyMoved))
		}
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyMoved), at)
	}))
}

// loadMoved reads whether the store is closed.
func (s *Store) loadMoved() error {
	return s.view(context.Background(), func(tx *bbolt.Tx) error {
		if at := tx.Bucket([]byte(bucketMeta)).Get([]byte(keyMoved)); at != nil {
			seq := seqOf(at)
			s.moved.Store(&seq)
			s.moving.Store(true)
		}
		return nil
	})
}

// Moved implements store.Movable.
func (s *Store) Moved(context.Context) (time.Time, bool, error) {
	if at := s.moved.Load(); at != nil {
		return at.Time(), true, nil
	}
	return time.Time{}, false, nil
}

// Reopen implements store.Movable.
func (s *Store) Reopen(context.Context) error {
	if err := s.putMoved(nil); err != nil {
		return err
	}
	s.moved.Store(nil)
	s.moving.Store(false)
	return nil
}

// exportFile reads the file itself.
func (s *Store) exportFile(ctx context.Context, take func(store.Item) error) error {
	return s.view(ctx, func(tx *bbolt.Tx) error { return exportAll(ctx, tx, bridge.SeqAt(s.now()), take) })
}

// exportCopy reads a copy of the file as it is now.
func (s *Store) exportCopy(ctx context.Context, take func(store.Item) error) error {
	path := s.path + exported
	defer func() { _ = removeIfThere(path) }()
	now := bridge.SeqAt(s.now())
	if err := s.view(ctx, func(tx *bbolt.Tx) error { return tx.CopyFile(path, 0o600) }); err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if err != nil {
		return openFault(path, err)
	}
	defer func() { _ = db.Close() }()
	return guarded(s.path, func() error {
		return db.View(func(tx *bbolt.Tx) error { return exportAll(ctx, tx, now, take) })
	})
}

// exportAll reads everything. A file has no leases.
func exportAll(ctx context.Context, tx *bbolt.Tx, now bridge.Seq, take func(store.Item) error) error {
	checked := func(i store.Item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return take(i)
	}
	last := bridge.Seq(tx.Bucket([]byte(bucketLog)).Sequence())
	if err := checked(store.Item{Kind: store.KindLast, Seq: last}); err != nil {
		return err
	}
	for _, part := range []func(*bbolt.Tx, bridge.Seq, func(store.Item) error) error{
		exportLanes, exportSessions, exportRows, exportLog,
	} {
		if err := part(tx, now, checked); err != nil {
			return err
		}
	}
	return nil
}

func exportLanes(tx *bbolt.Tx, _ bridge.Seq, take func(store.Item) error) error {
	cursors := map[string]bridge.Seq{}
	err := tx.Bucket([]byte(bucketLanes)).ForEach(func(k, v []byte) error {
		name, _, _ := cutName(k)
		cursors[name] = seqOf(v)
		return take(store.Item{Kind: store.KindLane, Lane: name, Seq: seqOf(v)})
	})
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucketDone)).ForEach(func(k, _ []byte) error {
		name, rest, ok := cutName(k)
		cursor, known := cursors[name]
		if !ok || !known || len(rest) < 8 || seqOf(rest) <= cursor { // some from before the cursor may not have gone yet
			return nil
		}
		return take(store.Item{Kind: store.KindMark, Lane: name, Seq: seqOf(rest), Target: string(rest[8:])})
	})
}

// exportSessions reads the last words and the claims, those in the journal too. What sessions own is known by the rows.
func exportSessions(tx *bbolt.Tx, now bridge.Seq, take func(store.Item) error) error {
	pending := readJournal(tx.Bucket([]byte(bucketJournal)))
	tell := func(k, v []byte) error {
		session, rest, ok := cutName(k)
		switch {
		case !ok || len(rest) == 0:
		case rest[0] == kindLastWord:
			return take(store.Item{Kind: store.KindLastWord, Session: session, Seq: seqOf(v)})
		case rest[0] == kindClaim:
			if h := heldOf(v); session != "" || !expired(h.at, now) {
				return take(store.Item{Kind: store.KindClaim, Session: session, Key: string(rest[1:]), Seq: h.at, Appended: h.appended, Sum: h.sum})
			}
		}
		return nil
	}
	err := tx.Bucket([]byte(bucketSessions)).ForEach(func(k, v []byte) error {
		if newer, ok := pending[string(k)]; ok {
			v = newer
			delete(pending, string(k))
		}
		return tell(k, v)
	})
	if err != nil {
		return err
	}
	for k, v := range pending {
		if err := tell([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

func exportRows(tx *bbolt.Tx, _ bridge.Seq, take func(store.Item) error) error {
	return tx.Bucket([]byte(bucketRows)).ForEach(func(k, v []byte) error {
		table, key, ok := cutName(k)
		owner, value, kept := cutName(v)
		if !ok || !kept {
			return nil
		}
		return take(store.Item{Kind: store.KindRow, Table: table, Key: string(key), Session: owner, Value: bytes.Clone(value)})
	})
}

func exportLog(tx *bbolt.Tx, _ bridge.Seq, take func(store.Item) error) error {
	return tx.Bucket([]byte(bucketLog)).ForEach(func(k, v []byte) error {
		return take(store.Item{Kind: store.KindEntry, Seq: seqOf(k), Value: bytes.Clone(v)})
	})
}
