package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

const (
	// compactBytes is how much one transaction of a compaction writes.
	compactBytes = 4 << 20
	// compactFrom is the size in bytes from which on a file is compacted by itself: at the start when it is mostly empty, in use when
	// nearly all of it is.
	compactFrom = 16 << 20
	mostOfIt    = 0.5
	nearlyAll   = 0.875
	// compacting ends the name of the new file until it is complete.
	compacting = ".compact"
)

// errInUse means that another process has the file open.
var errInUse = errors.New("another bridge has it open")

// Compact rewrites the file without its free pages, which it otherwise keeps for ever, and returns its size in bytes before
// and after. No bridge may have the file open. The new file takes the old one's place only when it is complete and on disk.
func Compact(path string) (before, after int64, err error) {
	if before, err = fileSize(path); err != nil {
		return 0, 0, err
	}
	var src *bbolt.DB
	if err = examine(path); err == nil {
		src, err = openFile(path)
	}
	if errors.Is(err, errInUse) {
		return before, 0, fmt.Errorf("%s is in use: %w; stop that one, compact, and start it again", path, errInUse)
	}
	if err != nil {
		return before, 0, err
	}
	// The lock on the old file is kept until the new one is in its place.
	dst, err := shrink(path, src)
	err = errors.Join(err, src.Close())
	if dst != nil {
		err = errors.Join(err, dst.Close())
	}
	if err != nil {
		return before, 0, err
	}
	after, err = fileSize(path)
	return before, after, err
}

// maybeCompact compacts a file that has more free pages than the given share of all, as after a long backlog or a shorter
// RETENTION_DAYS, and returns the database to go on with. Only what writes the file must wait meanwhile. A file that cannot be
// compacted serves as it is.
func maybeCompact(path string, db *bbolt.DB, share float64, log *slog.Logger) *bbolt.DB {
	before, err := pagesOf(db)
	if err != nil || before < compactFrom {
		return db // one that cannot be looked at will say so soon enough
	}
	if free := float64(db.Stats().FreePageN) * float64(db.Info().PageSize); free <= share*float64(before) {
		return db
	}
	smaller, err := shrink(path, db)
	if err != nil {
		log.Warn("the store's file is mostly empty and could not be compacted", "bytes", before, "err", err)
	}
	if smaller == nil {
		return db
	}
	if after, err := fileSize(path); err == nil {
		log.Info("the store's file was mostly empty and is compacted", "before", before, "after", after)
	}
	return smaller
}

// tighten compacts a file in use, when next to nothing is left in it.
func (s *Store) tighten() {
	s.replaceFile(func(old *bbolt.DB) *bbolt.DB { return maybeCompact(s.path, old, nearlyAll, s.outage.Logger) })
}

// replaceFile goes on with the database that made returns for the present one, if it is another, and says whether it does. Nobody writes
// meanwhile.
func (s *Store) replaceFile(made func(old *bbolt.DB) *bbolt.DB) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	select {
	case <-s.closed:
		return false
	default:
	}
	old := s.db
	db := made(old)
	if db == nil || db == old {
		return false
	}
	s.dbMu.Lock() // waits for reads that are under way
	s.db = db
	s.dbMu.Unlock()
	if err := old.Close(); err != nil {
		s.outage.Logger.Warn("the file of before the compaction could not be closed", "err", err)
	}
	return true
}

// shrink puts a file without free pages in the place of the one that is open, and opens it. Once it is there, it is returned,
// whatever the error.
func shrink(path string, src *bbolt.DB) (*bbolt.DB, error) {
	temp := path + compacting
	if err := removeIfThere(temp); err != nil {
		return nil, fmt.Errorf("remove what an earlier compaction left: %w", err)
	}
	err := copyFile(temp, src)
	var dst *bbolt.DB
	if err == nil {
		// Opened before it gets the name, so that nobody else does.
		if dst, err = openFile(temp); err == nil {
			if err = os.Rename(temp, path); err != nil {
				err = errors.Join(err, dst.Close())
			}
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("compact %s: %w", path, err), removeIfThere(temp))
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return dst, fmt.Errorf("compact %s: a power cut may bring the old file back: %w", path, err)
	}
	return dst, nil
}

func copyFile(to string, src *bbolt.DB) error {
	dst, err := openFile(to)
	if err != nil {
		return err
	}
	dst.NoSync = true // once at the end is enough
	err = bbolt.Compact(dst, src, compactBytes)
	if err == nil {
		err = dst.Sync()
	}
	size := int64(0)
	if err == nil {
		size, err = pagesOf(dst)
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return os.Truncate(to, size)
}

// pagesOf returns the size in bytes of all pages, free or not. bbolt makes the file larger than that, up to twice.
func pagesOf(db *bbolt.DB) (size int64, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	return size, err
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("look at the store: %w", err)
	}
	return info.Size(), nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder makes a rename survive a power cut.
func syncFolder(path string) error {
	dir, err := os.Open(path) //nolint:gosec // the store's own folder
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
