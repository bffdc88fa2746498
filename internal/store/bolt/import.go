package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

const (
	// imported ends the name of a new file until it is complete.
	imported = ".import"
	// importItems is how many items one transaction of an import writes.
	importItems = 5000
)

// Import makes a file of the items that next returns until io.EOF; any other error of next ends it, and no file is made. The file gets
// its name when it is complete. One that is there already is replaced if no event was accepted there and no session is known, else it is
// store.ErrNotEmpty.
func Import(path string, next func() (store.Item, error)) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the store: %w", err)
	}
	done, err := lockEmpty(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	temp := path + imported
	if err := removeIfThere(temp); err != nil {
		return fmt.Errorf("remove what an earlier import left: %w", err)
	}
	defer func() { _ = removeIfThere(temp) }()
	db, err := openFile(temp)
	if err != nil {
		return err
	}
	db.NoSync = true // once at the end is enough
	err = prepare(db)
	for more := true; more && err == nil; {
		err = db.Update(func(tx *bbolt.Tx) error {
			more, err = importSome(tx, next)
			return err
		})
	}
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("put the store in its place: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// lockEmpty keeps others from a file until done is called, if there is one, and looks that it is empty.
func lockEmpty(path string) (done func() error, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err := examine(path); err != nil {
		return nil, err
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	empty := true
	err = guarded(path, func() error {
		return db.View(func(tx *bbolt.Tx) error {
			if log := tx.Bucket([]byte(bucketLog)); log != nil && log.Sequence() > 0 {
				empty = false
			}
			for _, name := range []string{bucketSessions, bucketJournal} {
				if b := tx.Bucket([]byte(name)); b != nil {
					k, _ := b.Cursor().First()
					empty = empty && k == nil
				}
			}
			return nil
		})
	})
	if err == nil && !empty {
		err = fmt.Errorf("%s: %w", path, store.ErrNotEmpty)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db.Close, nil
}

// importSome writes the next items, and says whether there may be more.
func importSome(tx *bbolt.Tx, next func() (store.Item, error)) (more bool, err error) {
	log, sessions := tx.Bucket([]byte(bucketLog)), tx.Bucket([]byte(bucketSessions))
	rows, lanes, done := tx.Bucket([]byte(bucketRows)), tx.Bucket([]byte(bucketLanes)), tx.Bucket([]byte(bucketDone))
	// begin gives a session that has something a last word, so that it is forgotten in its time; its own comes perhaps later.
	begin := func(session string, at bridge.Seq) error {
		if session == "" || sessions.Get(wordKey(session)) != nil {
			return nil
		}
		return sessions.Put(wordKey(session), seqBytes(at))
	}
	for range importItems {
		i, err := next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(i.Session) > maxName || len(i.Table) > maxName || len(i.Key) > maxName || len(i.Lane) > maxName || len(i.Target) > maxName {
			return false, errName
		}
		switch i.Kind {
		case store.KindLast:
			err = log.SetSequence(uint64(max(i.Seq, bridge.Seq(log.Sequence()))))
		case store.KindLane:
			err = lanes.Put(lanePrefix(i.Lane), seqBytes(i.Seq))
		case store.KindMark:
			err = done.Put(markKey(i.Lane, bridge.Mark{Seq: i.Seq, Target: i.Target}), nil)
		case store.KindLastWord:
			err = sessions.Put(wordKey(i.Session), seqBytes(i.Seq))
		case store.KindClaim:
			err = sessions.Put(claimKey(i.Session, i.Key), held{at: i.Seq, appended: i.Appended, sum: i.Sum}.bytes())
			err = errors.Join(err, begin(i.Session, i.Seq))
		case store.KindRow:
			err = rows.Put(rowKey(i.Table, i.Key), rowValue(bridge.Row{Session: i.Session, Value: i.Value}))
			if i.Session != "" {
				err = errors.Join(err, sessions.Put(ownedKey(i.Session, i.Table, i.Key), nil), begin(i.Session, bridge.Seq(log.Sequence())))
			}
		case store.KindEntry:
			err = errors.Join(log.Put(seqBytes(i.Seq), i.Value), log.SetSequence(max(uint64(i.Seq), log.Sequence())))
		default:
			err = fmt.Errorf("there is no %q in a store", i.Kind)
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}
