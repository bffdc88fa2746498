package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// importItems is how many items one call of an import writes.
const importItems = 500

// Import fills the state with the items that next returns until io.EOF. Until then no bridge can write it; what an import left that was
// cut off is removed by the next one. One in which an event was accepted, or a session is known, is store.ErrNotEmpty; what else a
// bridge has made there at its start goes. busy begins the names of leases of which none may be held: then a bridge runs.
func (s *Store) Import(ctx context.Context, busy string, next func() (store.Item, error)) error {
	if held, err := s.anyHeld(ctx, busy); err != nil {
		return err
	} else if held {
		return store.ErrInUse
	}
	kept, err := s.one(ctx, func(c redis.Cmdable) *redis.StringCmd { return c.Get(ctx, keyMoving) })
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(kept), movingImport+" ") {
		if err := s.isEmpty(ctx); err != nil {
			return err
		}
	}
	if err := s.clear(ctx); err != nil {
		return err
	}
	word := movingImport + " " + rand.Text()
	if err := s.become(ctx, string(kept), word, 0); err != nil {
		return err
	}
	i := importer{store: s}
	for more := true; more; {
		if more, err = i.some(ctx, next); err != nil {
			return err
		}
	}
	if err := i.end(ctx); err != nil {
		return err
	}
	return s.become(ctx, word, "", 0)
}

// isEmpty looks whether a bridge has taken anything here.
func (s *Store) isEmpty(ctx context.Context) error {
	found, err := ask(ctx, s, func(c redis.Cmdable) answer[int64] { return c.Exists(ctx, keyLog, keyWords) })
	if err == nil && found > 0 {
		err = store.ErrNotEmpty
	}
	return err
}

// clear removes everything but what says that nothing is to be written.
func (s *Store) clear(ctx context.Context) error {
	return s.scan(ctx, prefix+"*", func(c redis.Cmdable, keys []string) error {
		for _, key := range keys {
			if key == keyMoving {
				continue
			}
			if err := c.Unlink(ctx, key).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

// importer is an import under way.
type importer struct {
	store  *Store
	last   bridge.Seq // the newest Seq ever given
	logEnd bridge.Seq // of the log as it was written
}

// some writes the next items, and says whether there may be more.
func (i *importer) some(ctx context.Context, next func() (store.Item, error)) (more bool, err error) {
	var items []store.Item
	for len(items) < importItems {
		item, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return false, nil
	}
	err = i.store.do(ctx, func(c redis.Cmdable) error {
		now, err := c.Time(ctx).Result()
		if err != nil {
			return err
		}
		pipe := c.Pipeline()
		for _, item := range items {
			if err := i.put(ctx, pipe, item, now); err != nil {
				return err
			}
		}
		_, err = pipe.Exec(ctx)
		return err
	})
	return len(items) == importItems, err
}

func (i *importer) put(ctx context.Context, pipe redis.Pipeliner, item store.Item, now time.Time) error {
	begin := func(at bridge.Seq) {
		if item.Session != "" {
			pipe.ZAddNX(ctx, keyWords, redis.Z{Score: float64(at), Member: item.Session})
		}
	}
	switch item.Kind {
	case store.KindLast:
		i.last = max(i.last, item.Seq)
	case store.KindLane:
		pipe.HSet(ctx, keyLanes, item.Lane, text(item.Seq))
	case store.KindMark:
		member := text(item.Seq)
		if item.Target != "" {
			member += "/" + item.Target
		}
		pipe.ZAdd(ctx, keyDone+item.Lane, redis.Z{Score: float64(item.Seq), Member: member})
	case store.KindLastWord:
		pipe.ZAdd(ctx, keyWords, redis.Z{Score: float64(item.Seq), Member: item.Session})
	case store.KindClaim:
		value := text(item.Seq) + ":" + flag(item.Appended) + ":" + item.Sum
		if item.Session != "" {
			pipe.HSet(ctx, keyClaims+item.Session, item.Key, value)
			begin(item.Seq)
		} else if left := item.Seq.Time().Add(bridge.ClaimTTL).Sub(now); left >= time.Millisecond {
			pipe.Set(ctx, keyClaim+item.Key, value, min(left, bridge.ClaimTTL))
		}
	case store.KindRow:
		pipe.HSet(ctx, keyRows+item.Table, item.Key, fmt.Sprintf("%d:%s%s", len(item.Session), item.Session, item.Value))
		if store.Ordered(item.Table) {
			pipe.ZAdd(ctx, keyIndex+item.Table, redis.Z{Member: item.Key})
		}
		if item.Session != "" {
			pipe.SAdd(ctx, keyOwned+item.Session, item.Table+"\x00"+item.Key)
			begin(max(i.last, bridge.SeqAt(now)))
		}
	case store.KindEntry:
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: keyLog, ID: text(item.Seq) + "-0", Values: []any{fieldEvent, item.Value}})
		i.logEnd = item.Seq
	default:
		return fmt.Errorf("there is no %q in a store", item.Kind)
	}
	return nil
}

// end gives the log the end that it had, which its last entry need not be.
func (i *importer) end(ctx context.Context) error {
	last := max(i.last, i.logEnd)
	if last == 0 {
		return nil
	}
	return i.store.do(ctx, func(c redis.Cmdable) error {
		pipe := c.TxPipeline()
		if last > i.logEnd {
			id := text(last) + "-0"
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: keyLog, ID: id, Values: []any{fieldEvent, ""}})
			pipe.XDel(ctx, keyLog, id)
		}
		pipe.Set(ctx, keySeq, text(last), 0)
		_, err := pipe.Exec(ctx)
		return err
	})
}
