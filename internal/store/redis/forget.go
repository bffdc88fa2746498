package redis

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	// trimChunk is how many entries one call removes, forgetChunk how many sessions: neither keeps Redis for long.
	trimChunk   = 10_000
	forgetChunk = 50
)

// Trim removes the entries before the given one. Whole blocks of the stream go first, a limited number at a time, and then
// the rest of one block.
func (s *Store) Trim(ctx context.Context, before bridge.Seq) error {
	id := text(before) + "-0"
	for {
		var removed int64
		err := s.do(ctx, func(c redis.Cmdable) (err error) {
			removed, err = c.XTrimMinIDApprox(ctx, keyLog, id, trimChunk).Result()
			return err
		})
		if err != nil {
			return err
		}
		if removed == 0 {
			break
		}
	}
	return s.do(ctx, func(c redis.Cmdable) error { return c.XTrimMinID(ctx, keyLog, id).Err() })
}

// Forget removes old sessions. Claims without a session leave by themselves.
func (s *Store) Forget(ctx context.Context, lastWordBefore bridge.Seq) (int, error) {
	gone := 0
	for {
		var old []string
		went := 0
		err := s.do(ctx, func(c redis.Cmdable) (err error) {
			old, err = c.ZRangeByScore(ctx, keyWords, &redis.ZRangeBy{
				Min: "-inf", Max: "(" + text(lastWordBefore), Count: forgetChunk,
			}).Result()
			if err != nil || len(old) == 0 {
				return err
			}
			went, err = s.forget(ctx, c, text(lastWordBefore), old)
			return err
		})
		if err != nil || len(old) == 0 {
			return gone, err
		}
		gone += went
	}
}

// ForgetSession removes a session.
func (s *Store) ForgetSession(ctx context.Context, session string) error {
	if session == "" {
		return nil
	}
	return s.do(ctx, func(c redis.Cmdable) error {
		_, err := s.forget(ctx, c, "+inf", []string{session})
		return err
	})
}

// ForgetLane removes a lane and its marks.
func (s *Store) ForgetLane(ctx context.Context, name string, l bridge.Lease) error {
	var gone bool
	err := s.do(ctx, func(c redis.Cmdable) (err error) {
		keys := []string{keyLanes, keyDone + name, keyLease + l.Name}
		gone, err = s.forgetLaneScript.Run(ctx, c, keys, name, flag(l != (bridge.Lease{})), s.holder(l)).Bool()
		return err
	})
	if err == nil && !gone {
		return bridge.ErrLeaseLost
	}
	return err
}

// forget removes sessions, in one script call. It looks first in which tables they have rows, since the script must be given
// every key, and again when they have some in another one by then.
func (s *Store) forget(ctx context.Context, c redis.Cmdable, before string, sessions []string) (int, error) {
	for {
		tables, err := tablesOf(ctx, c, sessions)
		if err != nil {
			return 0, err
		}
		keys := []string{keyWords}
		args := []any{before, len(sessions)}
		for _, session := range sessions {
			keys = append(keys, keyClaims+session, keyOwned+session)
			args = append(args, session)
		}
		for _, table := range tables {
			keys = append(keys, keyRows+table)
			args = append(args, table)
		}
		gone, err := s.forgetScript.Run(ctx, c, keys, args...).Int()
		if err != nil || gone >= 0 {
			return gone, err
		}
	}
}

// tablesOf returns the tables in which sessions own rows.
func tablesOf(ctx context.Context, c redis.Cmdable, sessions []string) ([]string, error) {
	pipe := c.Pipeline()
	owned := make([]*redis.StringSliceCmd, len(sessions))
	for i, session := range sessions {
		owned[i] = pipe.SMembers(ctx, keyOwned+session)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	tables := map[string]bool{}
	for _, members := range owned {
		for _, member := range members.Val() {
			table, _, _ := strings.Cut(member, "\x00")
			tables[table] = true
		}
	}
	return slices.Collect(maps.Keys(tables)), nil
}
