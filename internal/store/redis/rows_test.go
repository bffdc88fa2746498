package redis

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// TestIndexOfAnEarlierVersion lists a table that has no index, as an earlier version left it, and one that such a version has
// written to since. The rest is listed from the index alone, however many rows there are. No command has a large part of the rows in
// it, and with a million none takes long.
func TestIndexOfAnEarlierVersion(t *testing.T) {
	rows := 20_000
	if soak.Asked() {
		rows = 1_000_000
	}
	server := redistest.Start(t)
	s := opened(t, server.URL(), Options{})
	admin := plain(t, server.URL())
	want := make([]string, rows)
	for i := range want {
		want[i] = fmt.Sprintf("telegram/evt_%016d", i)
	}
	for page := range slices.Chunk(want, 1000) {
		fields := make([]any, 0, 2*len(page))
		for _, key := range page {
			fields = append(fields, key, "0:of "+key)
		}
		if err := admin.HSet(t.Context(), keyRows+"dead", fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	list := func(after string, max int) []string {
		t.Helper()
		found, err := s.List(t.Context(), "dead", after, max)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, row := range found {
			if keys = append(keys, row.Key); string(row.Value) != "of "+row.Key {
				t.Errorf("%s is %q", row.Key, row.Value)
			}
		}
		return keys
	}
	slower := 0 // µs: every command
	if soak.Asked() {
		slower = 50_000
	}
	for _, args := range [][]any{{"slowlog-log-slower-than", slower}, {"slowlog-max-len", 10_000}} {
		if err := admin.ConfigSet(t.Context(), fmt.Sprint(args[0]), fmt.Sprint(args[1])).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := list("", 5); !slices.Equal(got, want[:5]) {
		t.Errorf("the first are %q", got)
	}
	if got := list(want[rows/2], 7); !slices.Equal(got, want[rows/2+1:rows/2+8]) {
		t.Errorf("in the middle are %q", got)
	}
	if n, err := admin.ZCard(t.Context(), keyIndex+"dead").Result(); err != nil || int(n) != rows {
		t.Errorf("the index has %d, %v", n, err)
	}
	// An earlier version beside this one.
	if err := admin.HSet(t.Context(), keyRows+"dead", "telegram/late", "0:of telegram/late").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.HDel(t.Context(), keyRows+"dead", want[0], want[1]).Err(); err != nil {
		t.Fatal(err)
	}
	if got := list("", 2); !slices.Equal(got, want[2:4]) {
		t.Errorf("the first are %q", got)
	}
	if got := list(want[rows-1], 2); !slices.Equal(got, []string{"telegram/late"}) {
		t.Errorf("the last are %q", got)
	}
	if n, err := s.Count(t.Context(), "dead"); err != nil || n != rows-1 {
		t.Errorf("Count: %d, %v", n, err)
	}
	commands, err := admin.SlowLogGet(t.Context(), -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		// Redis logs 32 words of a command at most, the last of which says how many more there are.
		words, more := len(c.Args), 0
		if _, err := fmt.Sscanf(c.Args[words-1], "... (%d more arguments)", &more); err == nil {
			words += more - 1
		}
		if soak.Asked() && c.Duration >= 50*time.Millisecond || words > 2100 {
			t.Errorf("%.100q with %d words took %v", c.Args, words, c.Duration)
		}
	}
	if !soak.Asked() && len(commands) < rows/1000 {
		t.Errorf("Redis logged %d commands", len(commands))
	}
}

// TestPagesAreSmall looks at what each command reads of a large table.
func TestPagesAreSmall(t *testing.T) {
	s := opened(t, redistest.Start(t).URL(), Options{})
	for i := range 30 {
		var b bridge.Batch
		for j := range 100 {
			b.Rows = append(b.Rows, bridge.Row{Table: "t", Key: fmt.Sprint(i, "/", j), Value: []byte("v")})
		}
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	rows, next, err := s.Scan(t.Context(), "t", "", 100)
	if err != nil || next == "" || len(rows) > 200 {
		t.Errorf("a page of 100 has %d rows, then comes %q, %v", len(rows), next, err)
	}
}
