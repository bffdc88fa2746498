// Package filltest fills stores with what a bridge that has been running for long would have left in them, for tests and the benchmark: very
// many sessions, or very many events that wait. It knows what a bridge leaves only by what one has left.
package filltest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

const prefix = "bridge:{default}:"

// Session is what a bridge has left of one session in its store.
type Session struct {
	ID     string
	Rows   []bridge.Row
	Claims []string
}

// InOrder says whether a bridge has put its conversations in order, as it does in the first moments on a store. addr is that of a Redis.
func InOrder(t testing.TB, addr string) bool {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	return client.HExists(context.Background(), prefix+"rows:watch", "ordered").Val()
}

// Left returns what a bridge that has ended has left of sessions in a Redis, and what is left that is of no session.
func Left(t testing.TB, addr string, ids ...string) (sessions []Session, rest []bridge.Row) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	for _, id := range ids {
		sessions = append(sessions, Session{ID: id})
	}
	ctx := context.Background()
	tables, err := client.Keys(ctx, prefix+"rows:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		all, err := client.HGetAll(ctx, table).Result()
		if err != nil {
			t.Fatal(err)
		}
		for key, kept := range all {
			length, value, _ := strings.Cut(kept, ":")
			n, err := strconv.Atoi(length)
			if err != nil {
				t.Fatal(err)
			}
			row := bridge.Row{Table: strings.TrimPrefix(table, prefix+"rows:"), Key: key, Session: value[:n], Value: []byte(value[n:])}
			if i := slices.IndexFunc(sessions, func(s Session) bool { return s.ID == row.Session }); i >= 0 {
				sessions[i].Rows = append(sessions[i].Rows, row)
			} else if row.Session == "" && row.Table == "watch" && row.Key != "cursor" {
				rest = append(rest, row)
			}
		}
	}
	for i, s := range sessions {
		if sessions[i].Claims, err = client.HKeys(ctx, prefix+"claims:"+s.ID).Result(); err != nil {
			t.Fatal(err)
		}
	}
	return sessions, rest
}

// as is what would be left of another session.
func (s Session) as(id string) bridge.Batch {
	var b bridge.Batch
	for _, row := range s.Rows {
		key := strings.ReplaceAll(row.Key, s.ID, id)
		if key == row.Key { // a platform's own id
			key += "-" + id
		}
		b.Rows = append(b.Rows, bridge.Row{
			Table: row.Table, Key: key, Session: id, Value: []byte(strings.ReplaceAll(string(row.Value), s.ID, id)),
		})
	}
	for _, claim := range s.Claims {
		b.Claims = append(b.Claims, bridge.Claim{Session: id, Key: claim})
	}
	return b
}

// ID is that of the n-th stored session.
func ID(n int) string { return fmt.Sprintf("stored-%07d", n) }

// Put writes one batch of what is left of sessions.
type Put func(ctx context.Context, b bridge.Batch) error

// Committing puts by the store itself.
func Committing(s store.Store) Put {
	return func(ctx context.Context, b bridge.Batch) error {
		_, err := s.Commit(ctx, b)
		return err
	}
}

// Piping puts into a Redis what its store would, at several times the pace: without looking whether there is something already.
func Piping(client *redis.Client) Put {
	return func(ctx context.Context, b bridge.Batch) error {
		now := float64(time.Now().UnixMicro())
		pipe := client.Pipeline()
		rows, owned, claims := map[string][]any{}, map[string][]any{}, map[string][]any{}
		var words []redis.Z
		for _, r := range b.Rows {
			rows[r.Table] = append(rows[r.Table], r.Key, fmt.Sprintf("%d:%s%s", len(r.Session), r.Session, r.Value))
			owned[r.Session] = append(owned[r.Session], r.Table+"\x00"+r.Key)
		}
		for _, c := range b.Claims {
			claims[c.Session] = append(claims[c.Session], c.Key, fmt.Sprintf("%.0f:1:", now))
		}
		for table, fields := range rows {
			pipe.HSet(ctx, prefix+"rows:"+table, fields...)
			if store.Ordered(table) {
				var keys []redis.Z
				for i := 0; i < len(fields); i += 2 {
					keys = append(keys, redis.Z{Member: fields[i]})
				}
				pipe.ZAdd(ctx, prefix+"index:"+table, keys...)
			}
		}
		for session, members := range owned {
			pipe.SAdd(ctx, prefix+"owned:"+session, members...)
			words = append(words, redis.Z{Score: now, Member: session})
		}
		for session, fields := range claims {
			pipe.HSet(ctx, prefix+"claims:"+session, fields...)
		}
		pipe.ZAdd(ctx, prefix+"words", words...)
		_, err := pipe.Exec(ctx)
		return err
	}
}

// Fill puts so many sessions into a store, as a bridge that has been running for long would have left them.
func Fill(t testing.TB, s store.Store, put Put, n int, like []Session, rest []bridge.Row) {
	t.Helper()
	const together = 200
	ctx := context.Background()
	if _, err := s.Commit(ctx, bridge.Batch{Rows: rest}); err != nil {
		t.Fatal(err)
	}
	for _, lane := range []string{"telegram", "callbacks"} {
		if _, err := s.Commit(ctx, bridge.Batch{Progress: bridge.Progress{Lane: lane, Cursor: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	var next atomic.Int64
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for {
				from := int(next.Add(together)) - together
				if from >= n || t.Failed() {
					return
				}
				var b bridge.Batch
				for i := from; i < min(from+together, n); i++ {
					one := like[i%len(like)].as(ID(i))
					b.Rows, b.Claims = append(b.Rows, one.Rows...), append(b.Claims, one.Claims...)
				}
				if err := put(ctx, b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
}

// Text is that of the n-th waiting message of a session.
func Text(n int) string { return fmt.Sprintf("b%d.", n) }

// Waiting fills a log with messages like an event that a bridge has accepted: of so many sessions by turns, as they would come. One lane is
// still to get them all; the others, and whoever follows the log besides, have them.
func Waiting(t testing.TB, s store.Store, model bridge.Event, n, sessions int, lane string, others ...string) {
	t.Helper()
	const together = 500
	ctx := context.Background()
	session, id, text := model.Session, model.Message, "model-text"
	for from := 0; from < n; from += together {
		var b bridge.Batch
		for i := from; i < min(from+together, n); i++ {
			e := model
			e.Session, e.Message = fmt.Sprintf("waits-%06d", i%sessions), fmt.Sprint("m", i)
			e.Body = []byte(strings.NewReplacer(session, e.Session, id, e.Message, text, Text(i/sessions)).Replace(string(model.Body)))
			b.Events = append(b.Events, e)
		}
		if _, err := s.Commit(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	last, err := s.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	progress := map[string]bridge.Seq{lane: 1}
	for _, other := range others {
		progress[other] = max(last, 1)
	}
	for lane, at := range progress {
		if _, err := s.Commit(ctx, bridge.Batch{Progress: bridge.Progress{Lane: lane, Cursor: at}}); err != nil {
			t.Fatal(err)
		}
	}
	var followers bridge.Batch
	for _, table := range []string{"watch", "stats"} {
		followers.Rows = append(followers.Rows, bridge.Row{Table: table, Key: "cursor", Value: []byte(strconv.FormatInt(int64(last), 10))})
	}
	if _, err := s.Commit(ctx, followers); err != nil {
		t.Fatal(err)
	}
}
