package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// ErrDamaged means that the file is not what a bridge has left: a disk, a copy or somebody's hand has changed it.
var ErrDamaged = errors.New("the store is damaged")

// wayBack is what an error says of a file that cannot be used.
const wayBack = "stop the bridge, keep the file elsewhere, and put a backup of it in its place; without one, start with no file: " +
	"then what was accepted and not delivered is lost, and visitors get new threads"

func damaged(path string, cause any) error {
	return fmt.Errorf("%w: %s: %v; %s", ErrDamaged, path, cause, wayBack)
}

// guarded runs what reads the file. bbolt trusts what it reads: a page that is not what it should be ends in a panic, or in a
// fault of memory where the file is shorter than it should be.
func guarded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, p)
		}
	}()
	return fn()
}

// create makes a new, empty store. Its name appears when it is complete, so that an empty file is never one of ours.
func create(path string) error {
	temp, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+".new-")
	if err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	name := filepath.Join(temp, filepath.Base(path))
	db, err := openFile(name)
	if err == nil {
		err = db.Close()
	}
	if err == nil {
		// Never over one that another process has made meanwhile.
		if err = os.Link(name, path); errors.Is(err, fs.ErrExist) {
			return nil
		}
	}
	if err != nil { // not every file system has links
		err = os.Rename(name, path)
	}
	if err != nil {
		return fmt.Errorf("make the store: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// examine looks at a file before it is opened for writing. An empty file was a store once, and to go on with it would be to
// begin anew without a word.
func examine(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return create(path)
	case err != nil:
		return fmt.Errorf("open the store: %w", err)
	case info.Size() == 0:
		return damaged(path, "it is empty, and no bridge leaves an empty file")
	}
	// This takes the lock, and reads none but the first pages.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
	if err != nil {
		return openFault(path, err)
	}
	defer func() { _ = db.Close() }()
	f, err := os.Open(path) //nolint:gosec // the store's own file
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := (&walker{file: f, size: info.Size()}).walk(); err != nil {
		return damaged(path, err)
	}
	return nil
}

// Examine looks at a store's file without changing it. inUse says that a bridge has it open; then nothing is looked at. A file that is
// not there is made by Open, and is no error.
func Examine(path string) (inUse bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	err = guarded(path, func() error { return examine(path) })
	if errors.Is(err, errInUse) {
		return true, nil
	}
	return false, err
}

func openFault(path string, err error) error {
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return fmt.Errorf("%s is in use: %w; stop that one, or give this one its own DATA_DIR", path, errInUse)
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrChecksum), errors.Is(err, bbolterrors.ErrVersionMismatch):
		return damaged(path, err)
	default:
		return fmt.Errorf("open the store %s: %w", path, err)
	}
}

// walker looks at every page that bbolt looks at when it opens a file whose list of free pages was not written, as after a kill:
// bbolt does so in a goroutine of its own, where no panic can be caught. The layout is bbolt's version 2; integers are those of
// the machine.
type walker struct {
	file     io.ReaderAt
	size     int64
	pageSize int64
	end      uint64 // of the pages
	buffer   []byte
	seen     map[uint64]bool
}

const (
	pageHeader  = 16
	pageItem    = 16
	bucketSize  = 16
	metaSize    = 64
	branchPage  = 0x01
	leafPage    = 0x02
	listPage    = 0x10
	bucketFlag  = 0x01
	noFreelist  = ^uint64(0)
	metaMagic   = 0xED0CDAED
	maxPageSize = 1 << 24
)

var order = binary.NativeEndian

// meta is where everything is.
type meta struct {
	pageSize            int64
	root, freelist, end uint64
	transaction         uint64
}

// metaAt reads one of the two pages that say where everything is.
func (w *walker) metaAt(offset int64) (m meta, ok bool) {
	page := make([]byte, pageHeader+metaSize)
	if n, _ := w.file.ReadAt(page, offset); n < len(page) {
		return m, false
	}
	b := page[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	m = meta{
		pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), end: order.Uint64(b[40:]),
		transaction: order.Uint64(b[48:]),
	}
	return m, order.Uint32(b) == metaMagic && order.Uint64(b[56:]) == sum.Sum64() && m.pageSize > 0 && m.pageSize <= maxPageSize
}

func (w *walker) walk() error {
	m, ok := w.metaAt(0)
	second := m.pageSize
	if !ok {
		second = int64(os.Getpagesize())
	}
	if other, valid := w.metaAt(second); valid && (!ok || other.transaction > m.transaction) {
		m, ok = other, true
	}
	if !ok {
		return errors.New("both of its first pages are not what was written")
	}
	w.pageSize, w.end = m.pageSize, m.end
	if int64(m.end)*m.pageSize > w.size {
		return fmt.Errorf("it has %d bytes and was %d", w.size, int64(m.end)*m.pageSize)
	}
	if m.freelist != noFreelist {
		_, err := w.page(m.freelist, listPage)
		return err
	}
	w.seen = map[uint64]bool{}
	return w.tree(m.root)
}

// page reads a whole page. What it returns is good until the next call.
func (w *walker) page(id uint64, kinds uint16) ([]byte, error) {
	if id < 2 || id >= w.end {
		return nil, fmt.Errorf("there is no page %d", id)
	}
	if w.seen != nil {
		if w.seen[id] {
			return nil, fmt.Errorf("page %d is in two places", id)
		}
		w.seen[id] = true
	}
	head := make([]byte, pageHeader)
	if _, err := w.file.ReadAt(head, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	flags, more := order.Uint16(head[8:]), uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || flags&kinds == 0 || flags&^kinds != 0 || id+more >= w.end {
		return nil, fmt.Errorf("page %d is not what was written", id)
	}
	size := int64(more+1) * w.pageSize
	if int64(cap(w.buffer)) < size {
		w.buffer = make([]byte, size)
	}
	page := w.buffer[:size]
	if _, err := w.file.ReadAt(page, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return page, nil
}

// tree looks at a page and all below it.
func (w *walker) tree(id uint64) error {
	page, err := w.page(id, branchPage|leafPage)
	if err != nil {
		return err
	}
	wrong := fmt.Errorf("page %d is not what was written", id)
	count := int(order.Uint16(page[10:]))
	if pageHeader+count*pageItem > len(page) {
		return wrong
	}
	leaf := order.Uint16(page[8:])&leafPage != 0
	var below []uint64
	var before []byte
	for i := range count {
		at := pageHeader + i*pageItem
		item := page[at:]
		var pos, keySize, valueSize uint64
		if leaf {
			pos, keySize, valueSize = uint64(order.Uint32(item[4:])), uint64(order.Uint32(item[8:])), uint64(order.Uint32(item[12:]))
		} else {
			pos, keySize = uint64(order.Uint32(item)), uint64(order.Uint32(item[4:]))
			below = append(below, order.Uint64(item[8:]))
		}
		from := uint64(at) + pos
		if from+keySize+valueSize > uint64(len(page)) {
			return wrong
		}
		key := page[from : from+keySize]
		if i > 0 && string(before) >= string(key) {
			return wrong
		}
		before = key
		if leaf && order.Uint32(item)&bucketFlag != 0 {
			if valueSize < bucketSize {
				return wrong
			}
			if root := order.Uint64(page[from+keySize:]); root != 0 { // a small bucket stands in the page itself
				below = append(below, root)
			}
		}
	}
	for _, next := range below {
		if err := w.tree(next); err != nil {
			return err
		}
	}
	return nil
}

// HasSessions says whether a store's file knows any session. It changes nothing. A file that is not there, that a bridge has open, or
// that cannot be read knows none.
func HasSessions(path string) (has bool) {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	_ = guarded(path, func() error {
		if err := examine(path); err != nil {
			return err
		}
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: true})
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		return db.View(func(tx *bbolt.Tx) error {
			for _, name := range []string{bucketSessions, bucketJournal} {
				b := tx.Bucket([]byte(name))
				if b == nil {
					continue
				}
				k, _ := b.Cursor().Seek(sessionPrefix("\x00")) // after everything of the empty session
				if name == bucketJournal {
					k, _ = b.Cursor().First()
				}
				has = has || k != nil
			}
			return nil
		})
	})
	return has
}
