package bolt

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// Owned returns a session's rows.
func (s *Store) Owned(ctx context.Context, session string) (rows []bridge.Row, err error) {
	if session == "" {
		return nil, nil
	}
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		prefix := append(sessionPrefix(session), kindRow)
		cursor := tx.Bucket([]byte(bucketSessions)).Cursor()
		for k, _ := cursor.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = cursor.Next() {
			row := k[len(prefix):]
			table, key, ok := cutName(row)
			if _, value, kept := cutName(tx.Bucket([]byte(bucketRows)).Get(row)); ok && kept {
				rows = append(rows, bridge.Row{Table: table, Key: string(key), Value: append([]byte{}, value...), Session: session})
			}
		}
		return nil
	})
	return rows, err
}

// Erase overwrites entries of the log, some at a time. What they were stays in free pages until the file is compacted.
func (s *Store) Erase(ctx context.Context, match func(bridge.Entry) bool) (n int, err error) {
	nothing, err := store.EncodeEvent(bridge.Erased())
	if err != nil {
		return 0, err
	}
	for after := bridge.Seq(0); ; {
		entries, err := s.readFile(ctx, after, chunk)
		if err != nil || len(entries) == 0 {
			return n, err
		}
		var found []bridge.Seq
		for _, e := range entries {
			if after = e.Seq; match(e) {
				found = append(found, e.Seq)
			}
		}
		if len(found) == 0 {
			continue
		}
		err = s.transact(func(w *writer) {
			for _, seq := range found {
				if w.log.Get(seqBytes(seq)) != nil { // else it was trimmed
					w.put(w.log, seqBytes(seq), nothing)
				}
			}
		})
		if err != nil {
			return n, err
		}
		n += len(found)
	}
}

// ForgetClaims removes claims without a session by their keys.
func (s *Store) ForgetClaims(ctx context.Context, text string) (n int, err error) {
	if err := s.settled(ctx, func(*writer) {}); err != nil {
		return 0, err
	}
	return s.forgetClaims(ctx, func(key, _ []byte) bool { return bytes.Contains(key, []byte(text)) })
}

// compactAtOnce is the size in bytes up to which a file is compacted while it is in use: commits wait for less than a second.
const compactAtOnce = 64 << 20

// Compact rewrites the file without its free pages, with all that was ever in them, and says whether it did: a large file would hold
// up commits for long, and is for Compact while no bridge runs.
func (s *Store) Compact(ctx context.Context) (done bool, err error) {
	if err := s.settled(ctx, func(*writer) {}); err != nil { // the journal too
		return false, err
	}
	done = s.replaceFile(func(old *bbolt.DB) *bbolt.DB {
		var size int64
		if size, err = pagesOf(old); err != nil || size > compactAtOnce {
			return nil
		}
		var db *bbolt.DB
		db, err = shrink(s.path, old)
		return db
	})
	if done {
		return true, nil
	}
	return false, unavailable(err)
}
