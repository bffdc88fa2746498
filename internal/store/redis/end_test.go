package redis

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// TestEndOfTheLog: commits do not ask for what the log begins with, which may be large, except where nothing else tells its end.
func TestEndOfTheLog(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	admin := plain(t, server.URL())
	asked := func() (n int) {
		t.Helper()
		stats, err := admin.Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(stats) {
			if rest, ok := strings.CutPrefix(line, "cmdstat_xinfo|stream:calls="); ok {
				_, _ = fmt.Sscanf(rest, "%d", &n)
			} else if rest, ok := strings.CutPrefix(line, "cmdstat_xinfo:calls="); ok { // of 6.2
				_, _ = fmt.Sscanf(rest, "%d", &n)
			}
		}
		return n
	}
	last := bridge.Seq(0)
	add := func(i int) {
		t.Helper()
		r, err := s.Commit(t.Context(), batch(fmt.Sprint(i)))
		if err != nil || r.After != last || r.Seqs[0] <= last {
			t.Fatalf("Commit: %+v, %v; want one after %d", r, err, last)
		}
		last = r.Seqs[0]
	}
	add(0)
	before := asked()
	for i := range 20 {
		add(1 + 2*i)
		// Without an event, and one that was there before.
		if _, err := s.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("v")}}}); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Commit(t.Context(), batch(fmt.Sprint(1+2*i))); err != nil || !r.Duplicate || r.First != last {
			t.Fatalf("Commit: %+v, %v", r, err)
		}
	}
	if n := asked() - before; n != 0 {
		t.Errorf("XINFO STREAM was called %d times", n)
	}
	// Another version writes another end, or the last entry is gone: the log is asked.
	if err := admin.Set(t.Context(), keySeq, uint64(last+1000), 0).Err(); err != nil {
		t.Fatal(err)
	}
	add(100)
	pipe := admin.TxPipeline()
	pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: keyLog, ID: text(last+5) + "-0", Values: []any{"e", "{}\n"}})
	pipe.XDel(t.Context(), keyLog, text(last+5)+"-0")
	pipe.Set(t.Context(), keySeq, text(last+5), 0)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	last += 5
	add(101)
	if n := asked() - before; n != 2 {
		t.Errorf("XINFO STREAM was called %d times, not 2", n)
	}
	if end, err := s.Last(t.Context()); err != nil || end != last {
		t.Errorf("Last: %d, %v; want %d", end, err, last)
	}
}
