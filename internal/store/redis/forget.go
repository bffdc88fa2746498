package redis

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	// trimChunk is how many entries one call removes, forgetChunk how many sessions, forgetRows how many rows of them, and
	// forgetMarks how many marks of a lane: none keeps Redis for long.
	trimChunk   = 5_000
	forgetChunk = 50
	forgetRows  = 500
	forgetMarks = 5_000
)

// Trim removes the entries before the given one. Whole blocks of the stream go first, a limited number at a time, and then
// the rest of one block.
func (s *Store) Trim(ctx context.Context, before bridge.Seq) error {
	id := text(before) + "-0"
	for {
		removed, err := ask(ctx, s, func(c redis.Cmdable) answer[int64] { return c.XTrimMinIDApprox(ctx, keyLog, id, trimChunk) })
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
func (s *Store) Forget(ctx context.Context, lastWordBefore bridge.Seq) (gone int, err error) {
	for {
		old, err := ask(ctx, s, func(c redis.Cmdable) answer[[]string] {
			return c.ZRangeByScore(ctx, keyWords, &redis.ZRangeBy{Min: "-inf", Max: "(" + text(lastWordBefore), Count: forgetChunk})
		})
		if err != nil || len(old) == 0 {
			return gone, err
		}
		went, err := s.forget(ctx, text(lastWordBefore), old)
		if gone += went; err != nil {
			return gone, err
		}
	}
}

// ForgetSession removes a session.
func (s *Store) ForgetSession(ctx context.Context, session string) error {
	for gone := session == ""; !gone; {
		went, err := s.forget(ctx, "+inf", []string{session})
		if err != nil {
			return err
		}
		gone = went > 0
	}
	return nil
}

// ForgetLane removes a lane's marks, some at a time, and then the lane.
func (s *Store) ForgetLane(ctx context.Context, name string, l bridge.Lease) error {
	keys := []string{keyLanes, keyDone + name, keyLease + l.Name}
	for {
		var answer int
		err := s.do(ctx, func(c redis.Cmdable) (err error) {
			answer, err = forgetLaneScript.Run(ctx, c, keys, name, flag(l != (bridge.Lease{})), s.holder(l), forgetMarks).Int()
			return err
		})
		switch {
		case err != nil:
			return err
		case answer == 0:
			return bridge.ErrLeaseLost
		case answer == 1:
			return nil
		}
	}
}

// forget removes up to forgetRows rows of the first of some sessions, and those sessions that then have none, and returns how
// many went. It looks first what they own, since the script must be given every key.
func (s *Store) forget(ctx context.Context, before string, sessions []string) (gone int, err error) {
	err = s.do(ctx, func(c redis.Cmdable) error {
		pipe := c.Pipeline()
		owned := make([]*redis.StringSliceCmd, len(sessions))
		for i, session := range sessions {
			owned[i] = pipe.SRandMemberN(ctx, keyOwned+session, forgetRows)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		var rows []any
		numbers := map[string]int{}
		var tables []string
		n := 0
		for ; n < len(sessions) && len(rows) < 4*forgetRows; n++ {
			for _, member := range owned[n].Val() {
				table, key, _ := strings.Cut(member, "\x00")
				if numbers[table] == 0 {
					tables = append(tables, keyRows+table, keyIndex+table)
					numbers[table] = len(tables) / 2
				}
				rows = append(rows, n+1, table, numbers[table], key)
			}
		}
		keys, args := []string{keyWords}, []any{before, n}
		for _, session := range sessions[:n] {
			keys, args = append(keys, keyClaims+session, keyOwned+session), append(args, session)
		}
		args = append(append(args, len(rows)/4), rows...)
		gone, err = forgetScript.Run(ctx, c, append(keys, tables...), args...).Int()
		return err
	})
	return gone, err
}
