package redis

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

const (
	keyRewritten = prefix + "rewritten:" // then a word: a log that is written anew, for as long as that takes
	eraseChunk   = 100                   // entries, or keys, of one call
	// rewrittenFor is how long a log that is written anew is kept, should it never take its place.
	rewrittenFor = 10 * time.Minute
)

// Owned returns a session's rows.
func (s *Store) Owned(ctx context.Context, session string) (rows []bridge.Row, err error) {
	if session == "" {
		return nil, nil
	}
	for cursor := uint64(0); ; {
		var members []string
		err := s.do(ctx, func(c redis.Cmdable) (err error) {
			members, cursor, err = c.SScan(ctx, keyOwned+session, cursor, "", eraseChunk).Result()
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, member := range members {
			table, key, _ := strings.Cut(member, "\x00")
			value, err := s.Get(ctx, table, key)
			if err != nil {
				return nil, err
			}
			if value != nil {
				rows = append(rows, bridge.Row{Table: table, Key: key, Value: value, Session: session})
			}
		}
		if cursor == 0 {
			return rows, nil
		}
	}
}

// rewrittenScript puts a log that was written anew in the place of the log, with what was appended since.
//
// KEYS  log, the new one
// ARGV  the last id that the new one has, how many entries may be left to be copied
// Returns 1 when it is done, 0 when more are left.
var rewrittenScript = redis.NewScript(`
local rest = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2] + 1)
if #rest > tonumber(ARGV[2]) then return 0 end
for _, entry in ipairs(rest) do redis.call('XADD', KEYS[2], entry[1], unpack(entry[2])) end
redis.call('PERSIST', KEYS[2])
redis.call('RENAME', KEYS[2], KEYS[1])
return 1
`)

// Erase writes the log anew beside the log and then puts it in its place: an entry of a stream cannot be changed, and one that is
// deleted stays in the blocks of the stream, and so in a dump.
func (s *Store) Erase(ctx context.Context, match func(bridge.Entry) bool) (n int, err error) {
	nothing, err := store.EncodeEvent(bridge.Erased())
	if err != nil {
		return 0, err
	}
	if any, err := s.anyEntry(ctx, match); err != nil || !any {
		return 0, err
	}
	fresh := keyRewritten + rand.Text()
	defer func() {
		if err != nil {
			_ = s.do(context.WithoutCancel(ctx), func(c redis.Cmdable) error { return c.Unlink(ctx, fresh).Err() }) // else it goes by itself
		}
	}()
	last, done := "0", false
	for !done {
		page, err := ask(ctx, s, func(c redis.Cmdable) answer[[]redis.XMessage] {
			return c.XRangeN(ctx, keyLog, "("+last, "+", eraseChunk)
		})
		if err != nil {
			return n, err
		}
		err = s.do(ctx, func(c redis.Cmdable) error {
			pipe := c.Pipeline()
			for _, m := range page {
				last = m.ID
				e, err := entry(m)
				if err != nil {
					return err
				}
				data, _ := m.Values[fieldEvent].(string)
				if match(e) {
					n++
					data = string(nothing)
				}
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: fresh, ID: m.ID, Values: []any{fieldEvent, data}})
			}
			pipe.Expire(ctx, fresh, rewrittenFor)
			_, err := pipe.Exec(ctx)
			return err
		})
		if err != nil {
			return n, err
		}
		if len(page) == eraseChunk {
			continue
		}
		err = s.do(ctx, func(c redis.Cmdable) error {
			answer, err := rewrittenScript.Run(ctx, c, []string{keyLog, fresh}, last, eraseChunk).Int()
			done = answer == 1
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// anyEntry says whether an entry of the log matches.
func (s *Store) anyEntry(ctx context.Context, match func(bridge.Entry) bool) (bool, error) {
	for after := bridge.Seq(0); ; {
		entries, err := s.Read(ctx, after, eraseChunk, 0)
		if err != nil || len(entries) == 0 {
			return false, err
		}
		for _, e := range entries {
			if after = e.Seq; match(e) {
				return true, nil
			}
		}
	}
}

// ForgetClaims removes claims without a session by their keys.
func (s *Store) ForgetClaims(ctx context.Context, text string) (n int, err error) {
	err = s.scan(ctx, keyClaim+"*"+escaped(text)+"*", func(c redis.Cmdable, keys []string) error {
		gone, err := c.Unlink(ctx, keys...).Result()
		n += int(gone)
		return err
	})
	return n, err
}
