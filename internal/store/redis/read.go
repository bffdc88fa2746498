package redis

import (
	"context"
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

// Read returns the entries after the given one, and waits for the next when there are none. See store.Store. A read that
// waits is a blocked XREAD: it wakes at once when any bridge appends. At most 64 can wait at a time.
func (s *Store) Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error) {
	end := time.Now().Add(wait)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		block := min(time.Until(end), blockTime)
		if block < time.Millisecond {
			block = -1 // a block of 0 would be for ever
		}
		entries, err := s.readBlocked(ctx, after, max, block)
		if err != nil || len(entries) > 0 || block < 0 {
			return entries, err
		}
	}
}

type readResult struct {
	entries []bridge.Entry
	err     error
}

// readBlocked reads once. When the caller leaves, the blocked read ends by itself within blockTime, or with Close.
func (s *Store) readBlocked(ctx context.Context, after bridge.Seq, max int, block time.Duration) ([]bridge.Entry, error) {
	if block < 0 {
		entries, err := s.xread(ctx, after, max, block)
		return entries, s.fault(ctx, err)
	}
	result := make(chan readResult, 1)
	started := s.background(func() {
		// The time beyond block is for a server that does not answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), block+callTimeout)
		defer cancel()
		entries, err := s.xread(ctx, after, max, block)
		result <- readResult{entries, err}
	})
	if !started {
		return nil, fmt.Errorf("%w: it is closed", bridge.ErrUnavailable)
	}
	select {
	case r := <-result:
		return r.entries, s.fault(ctx, r.err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// background runs what Close waits for; after Close it does not.
func (s *Store) background(run func()) bool {
	s.readersMu.Lock()
	defer s.readersMu.Unlock()
	if s.closed {
		return false
	}
	s.readers.Go(run)
	return true
}

func (s *Store) xread(ctx context.Context, after bridge.Seq, max int, block time.Duration) (entries []bridge.Entry, err error) {
	err = s.on(ctx, s.read, func(c redis.Cmdable) error {
		streams, err := c.XRead(ctx, &redis.XReadArgs{
			Streams: []string{keyLog, text(after) + "-0"},
			Count:   int64(max),
			Block:   block,
		}).Result()
		if err != nil {
			return err
		}
		for _, stream := range streams {
			for _, message := range stream.Messages {
				e, err := entry(message)
				if err != nil {
					return err
				}
				s.clock.observe(e.Seq)
				entries = append(entries, e)
			}
		}
		return nil
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return entries, err
}

func entry(m redis.XMessage) (bridge.Entry, error) {
	id, _, _ := strings.Cut(m.ID, "-")
	data, _ := m.Values[fieldEvent].(string)
	e, err := store.DecodeEvent([]byte(data))
	return bridge.Entry{Seq: seqOf(id), Event: e}, err
}

// seqOf reads a number of ours; anything else is 0.
func seqOf(text string) bridge.Seq {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return bridge.Seq(n)
}

// Entry returns one entry.
func (s *Store) Entry(ctx context.Context, seq bridge.Seq) (e bridge.Entry, ok bool, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		id := text(seq) + "-0"
		messages, err := c.XRange(ctx, keyLog, id, id).Result()
		if err != nil || len(messages) == 0 {
			return err
		}
		e, err = entry(messages[0])
		ok = err == nil
		return err
	})
	return e, ok, err
}

// Last returns the newest entry that the stream was ever given, trimmed or not.
func (s *Store) Last(ctx context.Context) (last bridge.Seq, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		info, err := c.XInfoStream(ctx, keyLog).Result()
		if redis.HasErrorPrefix(err, "no such key") {
			return nil
		}
		if err == nil {
			id, _, _ := strings.Cut(info.LastGeneratedID, "-")
			last = seqOf(id)
			s.clock.observe(last)
		}
		return err
	})
	return last, err
}

// LogSize returns the stream's length and its first entry.
func (s *Store) LogSize(ctx context.Context) (entries int, oldest bridge.Seq, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		pipe := c.TxPipeline()
		length := pipe.XLen(ctx, keyLog)
		first := pipe.XRangeN(ctx, keyLog, "-", "+", 1)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		entries, oldest = int(length.Val()), 0
		for _, message := range first.Val() {
			id, _, _ := strings.Cut(message.ID, "-")
			oldest = seqOf(id)
		}
		return nil
	})
	return entries, oldest, err
}

// one reads one value, nil when there is none.
func (s *Store) one(ctx context.Context, get func(redis.Cmdable) *redis.StringCmd) (value []byte, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		value, err = get(c).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	return value, err
}

// Claimed returns when a session's claims were taken.
func (s *Store) Claimed(ctx context.Context, session string, keys ...string) ([]bridge.Seq, error) {
	found := make([]bridge.Seq, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	err := s.do(ctx, func(c redis.Cmdable) error {
		var values []any
		var err error
		if session == "" {
			full := make([]string, len(keys))
			for i, key := range keys {
				full[i] = keyClaim + key
			}
			values, err = c.MGet(ctx, full...).Result()
		} else {
			values, err = c.HMGet(ctx, keyClaims+session, keys...).Result()
		}
		for i, value := range values {
			held, _ := value.(string)
			at, _, _ := strings.Cut(held, ":")
			found[i] = seqOf(at)
		}
		return err
	})
	return found, err
}

// Lanes returns the names of all lanes.
func (s *Store) Lanes(ctx context.Context) (names []string, err error) {
	names, err = ask(ctx, s, func(c redis.Cmdable) answer[[]string] { return c.HKeys(ctx, keyLanes) })
	slices.Sort(names)
	return names, err
}

// lanePage is how many marks of a lane are read at once.
const lanePage = 5000

// Lane returns what is kept of a lane. The marks are read in pages: when one event waits for long, there may be very many. When
// the cursor has moved meanwhile it begins again.
func (s *Store) Lane(ctx context.Context, name string) (state bridge.LaneState, err error) {
	for {
		before, err := s.cursor(ctx, name)
		if err != nil {
			return state, err
		}
		marks, err := s.marks(ctx, name, seqOf(before))
		if err != nil {
			return state, err
		}
		after, err := s.cursor(ctx, name)
		if err != nil {
			return state, err
		}
		if before == after {
			state = bridge.LaneState{Cursor: seqOf(before), Done: marks, Known: before != ""}
			s.clock.observe(state.Cursor)
			return state, nil
		}
	}
}

func (s *Store) cursor(ctx context.Context, lane string) (string, error) {
	value, err := s.one(ctx, func(c redis.Cmdable) *redis.StringCmd { return c.HGet(ctx, keyLanes, lane) })
	return string(value), err
}

// marks returns a lane's marks behind a place.
func (s *Store) marks(ctx context.Context, lane string, behind bridge.Seq) (all []bridge.Mark, err error) {
	for {
		page, err := ask(ctx, s, func(c redis.Cmdable) answer[[]string] {
			return c.ZRangeByScore(ctx, keyDone+lane, &redis.ZRangeBy{Min: "(" + text(behind), Max: "+inf", Count: lanePage})
		})
		if err != nil {
			return nil, err
		}
		for _, member := range page {
			seq, target, _ := strings.Cut(member, "/")
			all = append(all, bridge.Mark{Seq: seqOf(seq), Target: target})
		}
		if len(page) < lanePage {
			return all, nil
		}
		// The page may have ended among the marks of one event, which has fewer: those are read again.
		behind = all[len(all)-1].Seq - 1
		for all[len(all)-1].Seq > behind {
			all = all[:len(all)-1]
		}
	}
}
