package bolt

import (
	"bytes"
	"context"
	"encoding/binary"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
)

// Get returns a row's value, nil when there is none.
func (s *Store) Get(ctx context.Context, table, key string) ([]byte, error) {
	values, err := s.GetAll(ctx, table, key)
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// GetAll returns the values of several rows.
func (s *Store) GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		rows := tx.Bucket([]byte(bucketRows))
		for i, key := range keys {
			if _, v, ok := cutName(rows.Get(rowKey(table, key))); ok {
				values[i] = append([]byte{}, v...)
			}
		}
		return nil
	})
	return values, err
}

// List returns the rows behind a key. Every table of a file is in order.
func (s *Store) List(ctx context.Context, table, after string, max int) (rows []bridge.Row, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		prefix, first := rowKey(table, ""), rowKey(table, after)
		cursor := tx.Bucket([]byte(bucketRows)).Cursor()
		for k, v := cursor.Seek(first); bytes.HasPrefix(k, prefix) && len(rows) < max; k, v = cursor.Next() {
			if after != "" && bytes.Equal(k, first) {
				continue
			}
			_, value, _ := cutName(v)
			rows = append(rows, bridge.Row{Table: table, Key: string(k[len(prefix):]), Value: append([]byte{}, value...)})
		}
		return nil
	})
	return rows, err
}

// Scan is List: the place is the last key.
func (s *Store) Scan(ctx context.Context, table, place string, max int) (rows []bridge.Row, next string, err error) {
	rows, err = s.List(ctx, table, place, max)
	if len(rows) == max {
		next = rows[max-1].Key
	}
	return rows, next, err
}

// A table that is counted has its count in the meta bucket, under this and its name. Commits keep it from then on; the first
// Count of a table that has rows already looks at them all.
const countOf = "count/"

// Count returns how many rows a table has.
func (s *Store) Count(ctx context.Context, table string) (n int, err error) {
	key := []byte(countOf + table)
	known := false
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		n, known = countIn(tx.Bucket([]byte(bucketMeta)), key)
		return nil
	})
	if err != nil || known {
		return n, err
	}
	err = s.transact(func(w *writer) {
		if n, known = countIn(w.meta, key); known {
			return
		}
		prefix := rowKey(table, "")
		cursor := w.rows.Cursor()
		for k, _ := cursor.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = cursor.Next() {
			n++
		}
		w.put(w.meta, key, binary.BigEndian.AppendUint64(nil, uint64(n)))
	})
	return n, err
}

func countIn(meta *bbolt.Bucket, key []byte) (n int, known bool) {
	value := meta.Get(key)
	return int(seqOf(value)), value != nil
}

// keepCounts writes the counts that have changed, of the tables that have one.
func (w *writer) keepCounts() {
	for table, more := range w.counts {
		key := []byte(countOf + table)
		if n, known := countIn(w.meta, key); known && more != 0 {
			w.put(w.meta, key, binary.BigEndian.AppendUint64(nil, uint64(n+more)))
		}
	}
}
