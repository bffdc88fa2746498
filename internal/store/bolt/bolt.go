// Package bolt is the store that needs nothing installed: one file, written by one process. It keeps what store.Store
// promises through a kill and a power cut, and knows nothing of what the events and rows mean.
//
// The file's buckets; integers are big-endian, names in keys have their length in two bytes before them:
//
//	meta      "format" → the layout's number, "ping" → the last probe, "count/" table → how many rows it has, once that was asked,
//	          "moved" → when a final export closed the store
//	log       seq → the event's line and body; the bucket's own sequence is the newest Seq ever given
//	sessions  session 0 → Seq of the last word
//	          session 1 key → claim: when (8), appended (1), sum; those without a session are under the empty one
//	          session 2 table key → nothing: a row that the session owns
//	journal   number → keys and values that sessions is yet to get
//	rows      table key → owner, value
//	lanes     lane → cursor
//	done      lane seq target → nothing
//
// Leases live in memory: the file's lock already makes the process the only one.
package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

const (
	bucketMeta     = "meta"
	bucketLog      = "log"
	bucketSessions = "sessions"
	bucketJournal  = "journal"
	bucketRows     = "rows"
	bucketLanes    = "lanes"
	bucketDone     = "done"

	format = "1"

	// A group is at most this much: it bounds how long one write takes.
	groupCalls = 1024
	groupBytes = 8 << 20

	lockTimeout = time.Second
)

// Options are what a Store may be told; the zero value is what a server wants.
type Options struct {
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // the store's clock; nil: the machine's
	// Still says that nothing will be written while an export reads, so that the file itself is read. Else it is copied first, beside it.
	Still bool

	pendingKeys int // for tests
}

// Store is one file. It implements store.Store.
type Store struct {
	path   string
	now    func() time.Time
	db     *bbolt.DB
	group  *store.Group[*commit]
	outage store.Outage // for the writer alone, as refused is
	// refused is the size of the largest write that the disk did not take since it took one as large; 0: none.
	refused  int
	notifier signal

	dbMu         sync.RWMutex          // held by whoever reads db without writing
	writing      sync.Mutex            // held by whoever writes the file
	pendingStale bool                  // a write failed: pending must be read again
	damage       atomic.Pointer[error] // that was met; nil: none
	pending      pending
	committing   atomic.Pointer[committing] // nil: no transaction is about to end

	leasesMu sync.Mutex
	leases   map[string]lease

	still     bool
	exporting sync.Mutex                 // held by an export
	moving    atomic.Bool                // nobody gets a lease, and who has one is asked to end
	moved     atomic.Pointer[bridge.Seq] // when an export closed the store; nil: none has

	closed    chan struct{}
	closeOnce sync.Once
	closeErr  error
}

var _ store.Store = (*Store)(nil)

type lease struct {
	token string
	until time.Time
}

// Open opens the file, or makes it and its folder. A file that another process has open is an error at once; a large one that
// is mostly empty is compacted.
func Open(path string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the store: %w", err)
	}
	if err := examine(path); err != nil {
		return nil, err
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if err := guarded(path, func() error { return prepare(db) }); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	_ = removeIfThere(path + compacting) // of a compaction that was cut off; the lock on the file says that none is under way
	_ = removeIfThere(path + exported)   // the same of an export
	if smaller := maybeCompact(path, db, mostOfIt, o.Logger); smaller != db {
		if err := db.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), smaller.Close())
		}
		db = smaller
	}
	s := &Store{
		path:         path,
		now:          o.Now,
		db:           db,
		outage:       store.Outage{Logger: o.Logger},
		leases:       make(map[string]lease),
		closed:       make(chan struct{}),
		still:        o.Still,
		pendingStale: true,
		pending:      pending{limit: cmp.Or(o.pendingKeys, pendingKeys)},
	}
	if err := s.transact(func(*writer) {}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	if err := s.loadMoved(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	s.group = store.NewGroup(groupCalls, groupBytes, s.write)
	return s, nil
}

// openFile opens a bbolt file with our settings. The free list is written by Close alone, so that commits stay fast in a file
// that was once much larger: after a kill it is found again by a scan of the file.
func openFile(path string) (db *bbolt.DB, err error) {
	err = guarded(path, func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:        lockTimeout,
			FreelistType:   bbolt.FreelistMapType,
			NoFreelistSync: true,
		})
		return err
	})
	if err != nil && !errors.Is(err, ErrDamaged) {
		err = openFault(path, err)
	}
	return db, err
}

// prepare makes the buckets and refuses a file of another layout.
func prepare(db *bbolt.DB) error {
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{bucketMeta, bucketLog, bucketSessions, bucketJournal, bucketRows, bucketLanes, bucketDone} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(bucketMeta))
		switch found := string(meta.Get([]byte("format"))); found {
		case "":
			return meta.Put([]byte("format"), []byte(format))
		case format:
			return nil
		default:
			return fmt.Errorf("the file has layout %q and this version reads layout %q; use the version that wrote it", found, format)
		}
	})
}

// Close ends the store; commits that wait are written first.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.group.Close()
		close(s.closed)
		s.writing.Lock()
		defer s.writing.Unlock()
		s.writeFreelist()
		s.closeErr = s.db.Close()
	})
	return s.closeErr
}

// writeFreelist writes the list of free pages, so that the next Open need not look at the whole file. A file that does not take
// it is as after a kill.
func (s *Store) writeFreelist() {
	if s.damage.Load() != nil {
		return
	}
	s.db.NoFreelistSync = false
	_ = s.change(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("ping"), seqBytes(bridge.SeqAt(s.now())))
	})
}

// Now returns the machine's clock.
func (s *Store) Now(context.Context) (time.Time, error) { return s.now(), nil }

// Ping writes a row of its own, as large as what the disk did not take last.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.group.Commit(ctx, &commit{ping: true}, 0)
	return err
}

// Exclusive says that no other process has the file: Open waits for that.
func (s *Store) Exclusive() bool { return true }

// Acquire takes or renews a lease.
func (s *Store) Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	now := s.now()
	held, ok := s.leases[l.Name]
	ok = ok && now.Before(held.until)
	if s.moving.Load() && (!ok || held.token != l.Token) {
		return false, store.ErrMoving
	}
	if ok && held.token != l.Token {
		return false, nil
	}
	s.leases[l.Name] = lease{token: l.Token, until: now.Add(ttl)}
	if s.moving.Load() {
		return true, store.ErrMoving
	}
	return true, nil
}

// Release gives a lease back if it is held.
func (s *Store) Release(ctx context.Context, l bridge.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	if s.leases[l.Name].token == l.Token {
		delete(s.leases, l.Name)
	}
	return nil
}

func (s *Store) holds(l bridge.Lease) bool {
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	held, ok := s.leases[l.Name]
	return ok && held.token == l.Token && s.now().Before(held.until)
}

// view runs a read. The file that cannot be read is an unavailable store.
func (s *Store) view(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	return unavailable(guarded(s.path, func() error { return s.db.View(fn) }))
}

// change runs a transaction that writes. When it meets a damage nothing is written any more: what would come of it is not known.
// The caller holds writing.
func (s *Store) change(fn func(tx *bbolt.Tx) error) error {
	if damage := s.damage.Load(); damage != nil {
		return *damage
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	err = guarded(s.path, func() error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
	if errors.Is(err, ErrDamaged) {
		s.damage.Store(&err)
	}
	if err != nil {
		// After a failed commit it is over already; in all other cases what it has taken is given back without a look at the file.
		_ = guarded(s.path, tx.Rollback)
	}
	return err
}

// settled runs a write outside the group, with everything of the sessions in its place. It waits for the group's present write
// and holds up the next.
func (s *Store) settled(ctx context.Context, fn func(w *writer)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.transact(func(w *writer) {
		if w.settle(); w.err == nil {
			fn(w)
		}
	})
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
}
