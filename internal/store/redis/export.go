package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// The words with which moving begins.
const (
	movingExport = "export" // nothing is written while a copy is read
	movingDrain  = "drain"  // nobody gets a lease, and who has one is asked to end
	movingFinal  = "final"  // nothing is written while the store is read for good
	movingImport = "import" // nothing is written until all is there
	movingMoved  = "moved"  // nothing is written any more
)

const (
	// movingFor is how long the store stays closed when whoever closed it is gone, and movingRenew how often that is renewed.
	movingFor   = 15 * time.Second
	movingRenew = 3 * time.Second
	// exportPoll is how often a commit asks whether an export is over.
	exportPoll = 50 * time.Millisecond
	// exportPage is how many keys, rows or entries of anything one command reads.
	exportPage = 500
)

var _ store.Movable = (*Store)(nil)

// movingScript changes what is made of the store as a whole.
//
// KEYS  moving
// ARGV  what it must be now, empty: nothing; what it becomes, empty: nothing; milliseconds until that ends, 0: never
// Returns nothing when it was so, else what it is.
var movingScript = redis.NewScript(`
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return now ~= '' and now or 'over' end
if ARGV[2] == '' then
	redis.call('DEL', KEYS[1])
elseif ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return false
`)

// become changes what moving says, for a time or, if that is 0, for good. An error says what it said instead.
func (s *Store) become(ctx context.Context, from, to string, ttl time.Duration) error {
	is := ""
	err := s.do(ctx, func(c redis.Cmdable) (err error) {
		is, err = movingScript.Run(ctx, c, []string{keyMoving}, from, to, ttl.Milliseconds()).Text()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	switch word, _, _ := strings.Cut(is, " "); {
	case err != nil || is == "":
		return err
	case word == movingImport:
		return errHalfImported
	case from == "":
		return store.ErrExporting
	default:
		return errors.New("it took too long, and the store is open again")
	}
}

var errHalfImported = errors.New("an import into it is under way or was cut off; import again")

// closedHint says what to do about a store that is closed.
func closedHint(text string) string {
	switch word, _, _ := strings.Cut(strings.TrimPrefix(text, "CLOSED "), " "); word {
	case movingMoved:
		return store.ErrMoved.Error()
	case movingImport:
		return errHalfImported.Error()
	default:
		return "it is being exported"
	}
}

// Moved implements store.Movable. A store into which an import was cut off is an error.
func (s *Store) Moved(ctx context.Context) (at time.Time, ok bool, err error) {
	value, err := s.one(ctx, func(c redis.Cmdable) *redis.StringCmd { return c.Get(ctx, keyMoving) })
	if err != nil {
		return at, false, err
	}
	word, rest, _ := strings.Cut(string(value), " ")
	if word == movingImport {
		return at, false, fmt.Errorf("%w: redis: %w", bridge.ErrUnavailable, errHalfImported)
	}
	ms, _ := strconv.ParseInt(rest, 10, 64)
	return time.UnixMilli(ms).UTC(), word == movingMoved, nil
}

// Reopen implements store.Movable.
func (s *Store) Reopen(ctx context.Context) error {
	if _, moved, err := s.Moved(ctx); err != nil || !moved {
		return err
	}
	return s.do(ctx, func(c redis.Cmdable) error { return c.Del(ctx, keyMoving).Err() })
}

// Export implements store.Movable. Redis does not show a moment of the past, so nothing is written while it is read: commits wait for some
// seconds, and then fail.
func (s *Store) Export(ctx context.Context, c store.Cut, take func(store.Item) error) error {
	var refused error // by take: its own error, and no fault of Redis's
	err := s.export(ctx, c, func(i store.Item) error {
		refused = take(i)
		return refused
	})
	if err != nil && refused != nil {
		return refused
	}
	return err
}

func (s *Store) export(ctx context.Context, c store.Cut, take func(store.Item) error) (err error) {
	if _, moved, err := s.Moved(ctx); err != nil {
		return err
	} else if moved {
		return s.exportAll(ctx, take)
	}
	word := " " + rand.Text()
	now := ""
	turn := func(to string, ttl time.Duration) error {
		if err := s.become(ctx, now, to, ttl); err != nil {
			return err
		}
		now = to
		return nil
	}
	first := movingExport + word
	if c.Final {
		first = movingDrain + word
	}
	if err := turn(first, movingFor); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.become(context.WithoutCancel(ctx), now, "", 0) // else it ends by itself
		}
	}()
	if c.Final {
		err := s.renewing(ctx, now, func(ctx context.Context) error {
			return store.Drained(ctx, func(ctx context.Context) (bool, error) { return s.anyHeld(ctx, c.Leases) })
		})
		if err != nil {
			return err
		}
		if err := turn(movingFinal+word, movingFor); err != nil {
			return err
		}
	}
	if err := s.renewing(ctx, now, func(ctx context.Context) error { return s.exportAll(ctx, take) }); err != nil {
		return err
	}
	if !c.Final {
		return turn("", 0)
	}
	at, err := s.Now(ctx)
	if err != nil {
		return err
	}
	return turn(fmt.Sprint(movingMoved, " ", at.UnixMilli()), 0)
}

// renewing runs do and keeps what moving says meanwhile. When that is lost do is ended, and the error says so.
func (s *Store) renewing(ctx context.Context, word string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			bridge.Sleep(ctx, movingRenew)
			if ctx.Err() != nil {
				return
			}
			if err := s.become(ctx, word, word, movingFor); err != nil {
				cancel(err)
				return
			}
		}
	}()
	err := do(ctx)
	if lost := context.Cause(ctx); lost != nil {
		err = lost
	}
	cancel(nil)
	<-ended
	return err
}

// anyHeld says whether a lease is held whose name begins so.
func (s *Store) anyHeld(ctx context.Context, begins string) (held bool, err error) {
	err = s.scan(ctx, escaped(keyLease+begins)+"*", func(redis.Cmdable, []string) error {
		held = true
		return nil
	})
	return held, err
}

// escaped is a text in a pattern of keys.
func escaped(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}

// scan calls take with all keys of a pattern, some at a time, some of them perhaps more than once.
func (s *Store) scan(ctx context.Context, pattern string, take func(c redis.Cmdable, keys []string) error) error {
	return s.do(ctx, func(c redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := c.Scan(ctx, cursor, pattern, scanPage).Result()
			if err != nil {
				return err
			}
			if len(keys) > 0 {
				if err := take(c, keys); err != nil {
					return err
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
}

// exportAll reads everything but the leases, while nothing is written.
func (s *Store) exportAll(ctx context.Context, take func(store.Item) error) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	// Where the log is gone, what was kept for older versions says how far it was.
	kept, err := s.one(ctx, func(c redis.Cmdable) *redis.StringCmd { return c.Get(ctx, keySeq) })
	if err != nil {
		return err
	}
	if last == 0 {
		last = seqOf(string(kept))
	}
	if err := take(store.Item{Kind: store.KindLast, Seq: last}); err != nil {
		return err
	}
	for _, part := range []func(context.Context, func(store.Item) error) error{
		s.exportLanes, s.exportWords, s.exportClaims, s.exportRows, s.exportLog,
	} {
		if err := part(ctx, take); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) exportLanes(ctx context.Context, take func(store.Item) error) error {
	names, err := s.Lanes(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		state, err := s.Lane(ctx, name)
		if err != nil {
			return err
		}
		if err := take(store.Item{Kind: store.KindLane, Lane: name, Seq: state.Cursor}); err != nil {
			return err
		}
		for _, m := range state.Done {
			if err := take(store.Item{Kind: store.KindMark, Lane: name, Seq: m.Seq, Target: m.Target}); err != nil {
				return err
			}
		}
	}
	return nil
}

// exportWords reads the sessions' last words, each once: nothing moves them meanwhile.
func (s *Store) exportWords(ctx context.Context, take func(store.Item) error) error {
	return s.do(ctx, func(c redis.Cmdable) error {
		for from := int64(0); ; from += exportPage {
			words, err := c.ZRangeWithScores(ctx, keyWords, from, from+exportPage-1).Result()
			if err != nil || len(words) == 0 {
				return err
			}
			for _, w := range words {
				session, _ := w.Member.(string)
				if err := take(store.Item{Kind: store.KindLastWord, Session: session, Seq: bridge.Seq(w.Score)}); err != nil {
					return err
				}
			}
		}
	})
}

// exportClaims reads the claims of sessions, and then those without one.
func (s *Store) exportClaims(ctx context.Context, take func(store.Item) error) error {
	tell := func(session, key, value string) error {
		at, rest, _ := strings.Cut(value, ":")
		appended, sum, _ := strings.Cut(rest, ":")
		return take(store.Item{Kind: store.KindClaim, Session: session, Key: key, Seq: seqOf(at), Appended: appended == "1", Sum: sum})
	}
	err := s.scan(ctx, keyClaims+"*", func(c redis.Cmdable, keys []string) error {
		for page := range slices.Chunk(keys, exportPage) {
			pipe := c.Pipeline()
			claims := make([]*redis.MapStringStringCmd, len(page))
			for i, key := range page {
				claims[i] = pipe.HGetAll(ctx, key)
			}
			if _, err := pipe.Exec(ctx); err != nil {
				return err
			}
			for i, key := range page {
				for name, value := range claims[i].Val() {
					if err := tell(strings.TrimPrefix(key, keyClaims), name, value); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.scan(ctx, keyClaim+"*", func(c redis.Cmdable, keys []string) error {
		for page := range slices.Chunk(keys, exportPage) {
			values, err := c.MGet(ctx, page...).Result()
			if err != nil {
				return err
			}
			for i, value := range values {
				if text, ok := value.(string); ok { // else it has ended meanwhile
					if err := tell("", strings.TrimPrefix(page[i], keyClaim), text); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

func (s *Store) exportRows(ctx context.Context, take func(store.Item) error) error {
	tables := map[string]bool{}
	err := s.scan(ctx, keyRows+"*", func(_ redis.Cmdable, keys []string) error {
		for _, key := range keys {
			tables[strings.TrimPrefix(key, keyRows)] = true
		}
		return nil
	})
	for table := range tables {
		if err == nil {
			err = s.exportTable(ctx, table, take)
		}
	}
	return err
}

func (s *Store) exportTable(ctx context.Context, table string, take func(store.Item) error) error {
	return s.do(ctx, func(c redis.Cmdable) error {
		for cursor := uint64(0); ; {
			kept, next, err := c.HScan(ctx, keyRows+table, cursor, "", exportPage).Result()
			if err != nil {
				return err
			}
			for pair := range slices.Chunk(kept, 2) {
				value := rowValue(pair[1])
				_, rest, _ := strings.Cut(pair[1], ":")
				item := store.Item{Kind: store.KindRow, Table: table, Key: pair[0], Session: rest[:len(rest)-len(value)], Value: value}
				if err := take(item); err != nil {
					return err
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	})
}

func (s *Store) exportLog(ctx context.Context, take func(store.Item) error) error {
	return s.do(ctx, func(c redis.Cmdable) error {
		for from := "-"; ; {
			page, err := c.XRangeN(ctx, keyLog, from, "+", exportPage).Result()
			if err != nil || len(page) == 0 {
				return err
			}
			for _, m := range page {
				id, _, _ := strings.Cut(m.ID, "-")
				data, _ := m.Values[fieldEvent].(string)
				if err := take(store.Item{Kind: store.KindEntry, Seq: seqOf(id), Value: []byte(data)}); err != nil {
					return err
				}
				from = "(" + m.ID
			}
		}
	})
}
