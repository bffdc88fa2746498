package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// compactBytes is how much one transaction of a compaction writes.
const compactBytes = 4 << 20

// Compact rewrites the file without its free pages, which it otherwise keeps for ever, and returns its size in bytes before
// and after. No bridge may have the file open. The new file takes the old one's place only when it is complete and on disk.
func Compact(path string) (before, after int64, err error) {
	if before, err = fileSize(path); err != nil {
		return 0, 0, err
	}
	src, err := openFile(path)
	if err != nil {
		return 0, 0, err
	}
	// The lock on the old file is kept until the new one is in its place.
	defer func() { err = errors.Join(err, src.Close()) }()

	temp := path + ".compact"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return before, 0, fmt.Errorf("remove what an earlier compaction left: %w", err)
	}
	if err := copyFile(temp, src); err != nil {
		return before, 0, errors.Join(fmt.Errorf("compact %s: %w", path, err), removeIfThere(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return before, 0, errors.Join(fmt.Errorf("compact %s: %w", path, err), removeIfThere(temp))
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return before, 0, fmt.Errorf("compact %s: %w", path, err)
	}
	after, err = fileSize(path)
	return before, after, err
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
	return errors.Join(err, dst.Close())
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
