// Package bolt is the store that needs nothing installed: one file, written by one process. It keeps what store.Store
// promises through a kill and a power cut, and knows nothing of what the events and rows mean.
//
// The file's buckets; integers are big-endian, names in keys have their length in two bytes before them:
//
//	meta      "format" → the layout's number, "ping" → the last probe
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
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

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

	pendingKeys int // for tests
}

// Store is one file. It implements store.Store.
type Store struct {
	path   string
	now    func() time.Time
	db     *bbolt.DB
	group  *store.Group[*commit]
	outage store.Outage // for the writer alone
	grown  signal

	swapping sync.RWMutex // held by whoever reads db without writing
	writing  sync.Mutex   // held by whoever writes the file
	doubtful bool         // a write failed: pending must be read again
	pending  pending

	leasesMu sync.Mutex
	leases   map[string]lease

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
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if err := prepare(db); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	_ = removeIfThere(path + compacting) // of a compaction that was cut off; the lock on the file says that none is under way
	if smaller := tightened(path, db, mostOfIt, o.Logger); smaller != db {
		if err := db.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), smaller.Close())
		}
		db = smaller
	}
	s := &Store{
		path:     path,
		now:      o.Now,
		db:       db,
		outage:   store.Outage{Logger: o.Logger},
		leases:   make(map[string]lease),
		closed:   make(chan struct{}),
		doubtful: true,
		pending:  pending{limit: cmp.Or(o.pendingKeys, pendingKeys)},
	}
	if err := s.transact(func(*writer) error { return nil }); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	s.group = store.NewGroup(groupCalls, groupBytes, s.write)
	return s, nil
}

// openFile opens a bbolt file with our settings. The free list is not written: it is found again by a scan at the next
// start, and commits stay fast in a file that was once much larger.
func openFile(path string) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        lockTimeout,
		FreelistType:   bbolt.FreelistMapType,
		NoFreelistSync: true,
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use: %w; stop that one, or give this one its own DATA_DIR", path, errInUse)
	case err != nil:
		return nil, fmt.Errorf("open the store %s: %w", path, err)
	}
	return db, nil
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
		s.closeErr = s.db.Close()
	})
	return s.closeErr
}

// Now returns the machine's clock.
func (s *Store) Now(context.Context) (time.Time, error) { return s.now(), nil }

// Ping writes a row of its own.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.group.Commit(ctx, &commit{ping: true}, 0)
	return err
}

// Acquire takes or renews a lease.
func (s *Store) Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.leasesMu.Lock()
	defer s.leasesMu.Unlock()
	now := s.now()
	if held, ok := s.leases[l.Name]; ok && held.token != l.Token && now.Before(held.until) {
		return false, nil
	}
	s.leases[l.Name] = lease{token: l.Token, until: now.Add(ttl)}
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
	s.swapping.RLock()
	defer s.swapping.RUnlock()
	return unavailable(s.db.View(fn))
}

// update runs a write outside the group, with everything of the sessions in its place. It waits for the group's present
// write and holds up the next.
func (s *Store) update(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.transact(func(w *writer) error {
		if w.settle(); w.err != nil {
			return w.err
		}
		w.wrote = true
		return fn(w.tx)
	})
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
}
