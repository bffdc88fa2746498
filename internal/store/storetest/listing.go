package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// everything is more rows than any table of a test has.
const everything = 1 << 20

// all returns a table's rows.
func all(t *testing.T, s store.Store, table string) ([]bridge.Row, error) {
	t.Helper()
	return s.List(t.Context(), table, "", everything)
}

// testList lists tables, those that are kept in order and one that is not, from everywhere and in pages.
func testList(t *testing.T, s store.Store, _ Place) {
	for _, table := range []string{"t", "by-t", "dead", "by-t2"} {
		var keys []string
		for i := range 1200 {
			keys = append(keys, fmt.Sprintf("%c/%d", 'a'+i%3, i))
		}
		for page := range slices.Chunk(keys, 100) {
			var b bridge.Batch
			for _, key := range page {
				b.Rows = append(b.Rows, bridge.Row{Table: table, Key: key, Value: []byte("of " + key), Session: "s" + key[2:]})
			}
			commit(t, s, b)
		}
		slices.Sort(keys)
		check := func(from string, limit int) {
			t.Helper()
			rows, err := s.List(t.Context(), table, from, limit)
			if err != nil {
				t.Fatal(err)
			}
			i, there := slices.BinarySearch(keys, from)
			if there {
				i++
			}
			var want []bridge.Row
			for _, key := range keys[i:min(len(keys), i+limit)] {
				want = append(want, bridge.Row{Table: table, Key: key, Value: []byte("of " + key)})
			}
			same(t, fmt.Sprintf("%d of %s behind %q", limit, table, from), rows, want)
		}
		for _, from := range []string{"", "a", "b/", "b/10", "b/10 ", "c/998", "d", "a/é"} {
			for _, limit := range []int{1, 7, 1000, everything} {
				check(from, limit)
			}
		}
		// What goes, by itself or with its owner, is listed no more; what comes is.
		commit(t, s, bridge.Batch{Rows: []bridge.Row{{Table: table, Key: keys[0]}, {Table: table, Key: keys[700]}}})
		if err := s.ForgetSession(t.Context(), "s"+keys[300][2:]); err != nil {
			t.Fatal(err)
		}
		gone := []string{keys[0], keys[300], keys[700]}
		keys = slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(gone, key) })
		commit(t, s, bridge.Batch{Rows: []bridge.Row{{Table: table, Key: "b/9999", Value: []byte("of b/9999")}}})
		keys = append(keys, "b/9999")
		slices.Sort(keys)
		check("", everything)
		check("b/99", 5)
		n, err := s.Count(t.Context(), table)
		same(t, "Count", must(t, n, err), len(keys))
	}
}

// testScan comes across every row.
func testScan(t *testing.T, s store.Store, _ Place) {
	want := map[string]string{}
	for i := range 30 {
		var b bridge.Batch
		for j := range 100 {
			key := fmt.Sprint("k", i, "/", j)
			want[key] = key
			b.Rows = append(b.Rows, bridge.Row{Table: "t", Key: key, Value: []byte(key)}, bridge.Row{Table: "tt", Key: key, Value: []byte("x")})
		}
		commit(t, s, b)
	}
	got := map[string]string{}
	for place, begun := "", false; !begun || place != ""; begun = true {
		rows, next, err := s.Scan(t.Context(), "t", place, 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			same(t, "table", row.Table, "t")
			got[row.Key] = string(row.Value)
		}
		place = next
	}
	same(t, "rows", got, want)
}

func testGetAll(t *testing.T, s store.Store, _ Place) {
	var b bridge.Batch
	var keys []string
	for i := range 1100 {
		keys = append(keys, fmt.Sprint(i))
		if i%2 == 0 {
			b.Rows = append(b.Rows, bridge.Row{Table: "t", Key: fmt.Sprint(i), Value: []byte(strings.Repeat("x", i%5))})
		}
	}
	commit(t, s, b)
	values, err := s.GetAll(t.Context(), "t", keys...)
	same(t, "values", len(must(t, values, err)), len(keys))
	for i, value := range values {
		if (value == nil) != (i%2 == 1) || len(value) != i%5*(1-i%2) {
			t.Errorf("%d: %q", i, value)
		}
	}
	values, err = s.GetAll(t.Context(), "t")
	same(t, "no keys", len(must(t, values, err)), 0)
}

// testCount follows a count through everything that changes it.
func testCount(t *testing.T, s store.Store, p Place) {
	count := func(s store.Store, table string, want int) {
		t.Helper()
		n, err := s.Count(t.Context(), table)
		same(t, "Count of "+table, must(t, n, err), want)
	}
	row := func(table, key, value, owner string) bridge.Row {
		r := bridge.Row{Table: table, Key: key, Session: owner}
		if value != "" {
			r.Value = []byte(value)
		}
		return r
	}
	commit(t, s, bridge.Batch{Rows: []bridge.Row{row("t", "a", "1", "s"), row("t", "b", "1", ""), row("tt", "a", "1", "s")}})
	count(s, "t", 2)
	count(s, "none", 0)
	commit(t, s, bridge.Batch{Rows: []bridge.Row{row("t", "a", "2", "s"), row("t", "c", "1", "s"), row("none", "a", "1", "s")}})
	count(s, "t", 3)
	count(s, "none", 1)
	commit(t, s, bridge.Batch{Rows: []bridge.Row{row("t", "a", "", ""), row("t", "a", "", ""), row("t", "z", "", "")}})
	count(s, "t", 2)
	if _, err := s.Commit(t.Context(), bridge.Batch{
		If: []bridge.Row{row("t", "b", "other", "")}, Rows: []bridge.Row{row("t", "new", "1", "")},
	}); err == nil {
		t.Error("the refused batch was taken")
	}
	count(s, "t", 2)
	if err := s.ForgetSession(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	count(s, "t", 1)
	count(s, "none", 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = p.open(t)
	count(s, "t", 1)
	count(s, "tt", 0)
}

// testForgetLarge forgets a session that has very much, and one beside it that speaks again.
func testForgetLarge(t *testing.T, s store.Store, _ Place) {
	commit(t, s, events("large", "hello"))
	commit(t, s, events("small", "hello"))
	for i := range 40 {
		var b bridge.Batch
		for j := range 100 {
			key := fmt.Sprint(i, "/", j)
			b.Rows = append(b.Rows, bridge.Row{Table: "t", Key: key, Value: []byte("x"), Session: "large"},
				bridge.Row{Table: "by-t", Key: key, Value: []byte("x"), Session: "large"})
			b.Claims = append(b.Claims, bridge.Claim{Session: "large", Key: key})
		}
		commit(t, s, b)
	}
	seqs := commit(t, s, events("other", "hello")).Seqs
	gone, err := s.Forget(t.Context(), seqs[0])
	same(t, "Forget", must(t, gone, err), 2)
	for _, table := range []string{"t", "by-t"} {
		rows, err := all(t, s, table)
		same(t, "rows of "+table, len(must(t, rows, err)), 0)
		n, err := s.Count(t.Context(), table)
		same(t, "Count of "+table, must(t, n, err), 0)
	}
	claimed, err := s.Claimed(t.Context(), "large", "0/0", "39/99")
	same(t, "claims", must(t, claimed, err), []bridge.Seq{0, 0})
}

// testManyMarks has one event wait for long while very many behind it are done.
func testManyMarks(t *testing.T, s store.Store, _ Place) {
	const marks = 12_000
	var b bridge.Batch
	for i := range marks {
		b.Progress.Lane = "l"
		b.Progress.Done = append(b.Progress.Done, bridge.Mark{Seq: bridge.Seq(i + 2)})
		if len(b.Progress.Done) == 1000 {
			commit(t, s, b)
			b = bridge.Batch{}
		}
	}
	lane, err := s.Lane(t.Context(), "l")
	same(t, "marks", len(must(t, lane, err).Done), marks)
	for i, mark := range lane.Done {
		if mark.Seq != bridge.Seq(i+2) {
			t.Fatalf("mark %d is %d", i, mark.Seq)
		}
	}
	commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: "l", Cursor: marks}})
	lane, err = s.Lane(t.Context(), "l")
	same(t, "Lane", must(t, lane, err), bridge.LaneState{Known: true, Cursor: marks, Done: []bridge.Mark{{Seq: marks + 1}}})
	if err := s.ForgetLane(t.Context(), "l", bridge.Lease{}); err != nil {
		t.Fatal(err)
	}
	lane, err = s.Lane(t.Context(), "l")
	same(t, "Lane", must(t, lane, err), bridge.LaneState{})
}
