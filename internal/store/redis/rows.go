package redis

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// How many rows one command reads at most: each is over in a millisecond or two, and meanwhile Redis does nothing else.
const (
	rowsPage = 500
	scanPage = 1000
)

// Get returns a row's value, nil when there is none.
func (s *Store) Get(ctx context.Context, table, key string) ([]byte, error) {
	kept, err := s.one(ctx, func(c redis.Cmdable) *redis.StringCmd { return c.HGet(ctx, keyRows+table, key) })
	if err != nil || kept == nil {
		return nil, err
	}
	return rowValue(string(kept)), nil
}

// GetAll returns the values of several rows.
func (s *Store) GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error) {
	values := make([][]byte, 0, len(keys))
	for page := range slices.Chunk(keys, rowsPage) {
		err := s.do(ctx, func(c redis.Cmdable) error {
			kept, err := c.HMGet(ctx, keyRows+table, page...).Result()
			for _, one := range kept {
				var value []byte
				if text, ok := one.(string); ok {
					value = rowValue(text)
				}
				values = append(values, value)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// rowValue returns what a row holds behind its owner.
func rowValue(kept string) []byte {
	length, rest, _ := strings.Cut(kept, ":")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > len(rest) {
		return []byte{}
	}
	return []byte(rest[n:])
}

// List returns the rows behind a key. A table in order has an index; of another all rows are read, page by page.
func (s *Store) List(ctx context.Context, table, after string, max int) ([]bridge.Row, error) {
	if !store.Ordered(table) {
		return s.sorted(ctx, table, after, max)
	}
	if err := s.index(ctx, table); err != nil {
		return nil, err
	}
	var rows []bridge.Row
	for len(rows) < max {
		from := "-"
		if after != "" {
			from = "(" + after
		}
		page := min(max-len(rows), rowsPage)
		keys, err := ask(ctx, s, func(c redis.Cmdable) answer[[]string] {
			return c.ZRangeByLex(ctx, keyIndex+table, &redis.ZRangeBy{Min: from, Max: "+", Count: int64(page)})
		})
		if err != nil {
			return nil, err
		}
		values, err := s.GetAll(ctx, table, keys...)
		if err != nil {
			return nil, err
		}
		for i, key := range keys {
			if after = key; values[i] != nil { // else it has gone meanwhile
				rows = append(rows, bridge.Row{Table: table, Key: key, Value: values[i]})
			}
		}
		if len(keys) < page {
			break
		}
	}
	return rows, nil
}

// sorted lists a table that has no index.
func (s *Store) sorted(ctx context.Context, table, after string, max int) ([]bridge.Row, error) {
	all := map[string]bridge.Row{}
	for place := ""; ; {
		rows, next, err := s.Scan(ctx, table, place, scanPage)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if row.Key > after || after == "" {
				all[row.Key] = row
			}
		}
		if place = next; place == "" {
			break
		}
	}
	rows := slices.SortedFunc(maps.Values(all), func(a, b bridge.Row) int { return cmp.Compare(a.Key, b.Key) })
	return rows[:min(len(rows), max)], nil
}

// Scan returns some rows; the place is Redis's cursor.
func (s *Store) Scan(ctx context.Context, table, place string, max int) (rows []bridge.Row, next string, err error) {
	cursor, err := strconv.ParseUint(cmp.Or(place, "0"), 10, 64)
	if err != nil {
		return nil, "", err
	}
	err = s.do(ctx, func(c redis.Cmdable) error {
		kept, at, err := c.HScan(ctx, keyRows+table, cursor, "", int64(min(max, scanPage))).Result()
		for pair := range slices.Chunk(kept, 2) {
			rows = append(rows, bridge.Row{Table: table, Key: pair[0], Value: rowValue(pair[1])})
		}
		if next = ""; at != 0 {
			next = strconv.FormatUint(at, 10)
		}
		return err
	})
	return rows, next, err
}

// Count returns how many rows a table has.
func (s *Store) Count(ctx context.Context, table string) (int, error) {
	n, err := ask(ctx, s, func(c redis.Cmdable) answer[int64] { return c.HLen(ctx, keyRows+table) })
	return int(n), err
}

// index makes a table's index whole. Every write of a row writes it too, so there is something to do only when a version that
// knew of no index has written the table: once, in pages, while others write on. What goes meanwhile is taken out again.
func (s *Store) index(ctx context.Context, table string) error {
	whole := func() (same bool, err error) {
		err = s.do(ctx, func(c redis.Cmdable) error {
			pipe := c.TxPipeline() // both of the same moment
			rows, keys := pipe.HLen(ctx, keyRows+table), pipe.ZCard(ctx, keyIndex+table)
			_, err := pipe.Exec(ctx)
			same = rows.Val() == keys.Val()
			return err
		})
		return same, err
	}
	if same, err := whole(); same || err != nil {
		return err
	}
	for place := ""; ; {
		rows, next, err := s.Scan(ctx, table, place, rowsPage)
		if err != nil {
			return err
		}
		members := make([]redis.Z, len(rows))
		for i, row := range rows {
			members[i].Member = row.Key
		}
		if len(members) > 0 {
			err := s.do(ctx, func(c redis.Cmdable) error { return c.ZAdd(ctx, keyIndex+table, members...).Err() })
			if err != nil {
				return err
			}
		}
		if place = next; place == "" {
			break
		}
	}
	if same, err := whole(); same || err != nil {
		return err
	}
	return s.prune(ctx, table)
}

// prune takes out of a table's index what the table does not have.
func (s *Store) prune(ctx context.Context, table string) error {
	for cursor := uint64(0); ; {
		var found []string
		err := s.do(ctx, func(c redis.Cmdable) (err error) {
			found, cursor, err = c.ZScan(ctx, keyIndex+table, cursor, "", rowsPage).Result()
			return err
		})
		if err != nil {
			return err
		}
		args := []any{}
		for pair := range slices.Chunk(found, 2) {
			args = append(args, pair[0])
		}
		for page := range slices.Chunk(args, rowsPage) {
			err := s.do(ctx, func(c redis.Cmdable) error {
				return pruneScript.Run(ctx, c, []string{keyRows + table, keyIndex + table}, page...).Err()
			})
			if err != nil {
				return err
			}
		}
		if cursor == 0 {
			return nil
		}
	}
}

// pruneScript takes keys out of an index whose rows are not there.
//
// KEYS  rows:<table>, index:<table>
// ARGV  keys
var pruneScript = redis.NewScript(`
for _, key in ipairs(ARGV) do
	if redis.call('HEXISTS', KEYS[1], key) == 0 then redis.call('ZREM', KEYS[2], key) end
end
return 0
`)
