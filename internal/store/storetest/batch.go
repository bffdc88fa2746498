package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

func testClaim(t *testing.T, s store.Store, _ Place) {
	for _, session := range []string{"", "s"} {
		b := events("s", "a", "b")
		b.Claims = []bridge.Claim{{Session: session, Key: "k"}}
		seqs := commit(t, s, b).Seqs
		same(t, "seqs", len(seqs), 2)
		entries := len(readAll(t, s))
		same(t, "a repeat", commit(t, s, b), bridge.Result{Duplicate: true, First: seqs[0]})
		same(t, "entries", len(readAll(t, s)), entries)

		b = bridge.Batch{Claims: []bridge.Claim{{Session: session, Key: "quiet"}}}
		same(t, "without events", commit(t, s, b), bridge.Result{})
		same(t, "its repeat", commit(t, s, b), bridge.Result{Duplicate: true})
	}
}

func testClaimSum(t *testing.T, s store.Store, _ Place) {
	for _, session := range []string{"", "s"} {
		take := func(key, sum string) bridge.Batch {
			b := events("s", "a")
			b.Claims = []bridge.Claim{{Session: session, Key: key, Sum: sum}}
			return b
		}
		seq := commit(t, s, take("k", "1:2\x00:3")).Seqs[0]
		same(t, "the same", commit(t, s, take("k", "1:2\x00:3")), bridge.Result{Duplicate: true, First: seq})
		same(t, "not compared", commit(t, s, take("k", "")), bridge.Result{Duplicate: true, First: seq})
		refused(t, s, take("k", "2"), bridge.ErrConflict)

		seq = commit(t, s, take("none", "")).Seqs[0]
		same(t, "held without", commit(t, s, take("none", "2")), bridge.Result{Duplicate: true, First: seq})
	}
}

func testClaimSoft(t *testing.T, s store.Store, _ Place) {
	for _, session := range []string{"", "s"} {
		b := events("s", "a")
		b.Claims = []bridge.Claim{{Session: session, Key: "soft", Sum: "1", Soft: true}}
		first := commit(t, s, b).Seqs[0]
		b.Claims[0].Sum = "2"
		same(t, "soft again", commit(t, s, b).Duplicate, false)
		// It is held by the first, as any other.
		b.Claims[0] = bridge.Claim{Session: session, Key: "soft", Sum: "1"}
		same(t, "hard", commit(t, s, b), bridge.Result{Duplicate: true, First: first})
		b.Claims[0].Sum = "2"
		refused(t, s, b, bridge.ErrConflict)
	}
}

func testClaimSeveral(t *testing.T, s store.Store, _ Place) {
	b := events("s", "a")
	b.Claims = []bridge.Claim{{Session: "s", Key: "one"}, {Key: "two", Sum: "2"}}
	first := commit(t, s, b).Seqs[0]

	b.Claims = []bridge.Claim{{Key: "three"}, {Key: "two"}}
	same(t, "one is held", commit(t, s, b), bridge.Result{Duplicate: true, First: first})
	b.Claims = []bridge.Claim{{Session: "s", Key: "one"}, {Key: "two", Sum: "other"}}
	refused(t, s, b, bridge.ErrConflict)
	b.Claims = []bridge.Claim{{Key: "three"}}
	same(t, "nothing was taken by the refused", commit(t, s, b).Duplicate, false)
	same(t, "log", len(readAll(t, s)), 2)
}

func testClaimRace(t *testing.T, s store.Store, p Place) {
	stores := []store.Store{s, s}
	if p.Shared {
		stores[1] = p.open(t)
	}
	for round := range 10 {
		const racers = 32
		results := make([]bridge.Result, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() {
				b := events("s", fmt.Sprint(i))
				b.Claims = []bridge.Claim{{Session: "s", Key: fmt.Sprint(round)}}
				var err error
				if results[i], err = stores[i%2].Commit(t.Context(), b); err != nil {
					t.Errorf("Commit: %v", err)
				}
			})
		}
		wg.Wait()
		var winner bridge.Seq
		for _, r := range results {
			if !r.Duplicate {
				if winner != 0 || len(r.Seqs) != 1 {
					t.Fatalf("a second winner: %+v", r)
				}
				winner = r.Seqs[0]
			}
		}
		for _, r := range results {
			if r.Duplicate && r.First != winner {
				t.Errorf("First is %d, want %d", r.First, winner)
			}
		}
		same(t, "log", len(readAll(t, s)), round+1)
	}
}

func testClaimExpires(t *testing.T, s store.Store, p Place) {
	if p.Advance == nil {
		return
	}
	b := events("s", "a")
	b.Claims = []bridge.Claim{{Key: "k", Sum: "1"}}
	kept := events("s", "a")
	kept.Claims = []bridge.Claim{{Session: "s", Key: "k"}}
	commit(t, s, b)
	commit(t, s, kept)
	p.Advance(bridge.ClaimTTL - time.Minute)
	same(t, "within", commit(t, s, b).Duplicate, true)
	p.Advance(2 * time.Minute)
	claimed, err := s.Claimed(t.Context(), "", "k")
	same(t, "Claimed", must(t, claimed, err), []bridge.Seq{0})
	b.Claims[0].Sum = "2"
	same(t, "after", commit(t, s, b).Duplicate, false)
	same(t, "taken anew", commit(t, s, b).Duplicate, true)
	same(t, "a session's", commit(t, s, kept).Duplicate, true)

	p.Advance(bridge.ClaimTTL + time.Minute)
	gone, err := s.Forget(t.Context(), 0)
	same(t, "Forget", must(t, gone, err), 0)
	same(t, "after Forget", commit(t, s, b).Duplicate, false)
	gone, err = s.Forget(t.Context(), 0)
	same(t, "Forget", must(t, gone, err), 0)
	same(t, "a present one stays", commit(t, s, b).Duplicate, true)
	same(t, "a session's stays", commit(t, s, kept).Duplicate, true)
}

func testClaimedOfRead(t *testing.T, s store.Store, _ Place) {
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				session := fmt.Sprint(w, "-", i)
				b := events(session, "hello")
				b.Claims = []bridge.Claim{{Session: session, Key: "m"}}
				if _, err := s.Commit(t.Context(), b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	defer wg.Wait()
	var after bridge.Seq
	for read := 0; read < writers*each; {
		entries, err := s.Read(t.Context(), after, 512, 0) // at any moment, not only when it is told
		if err != nil {
			t.Error(err)
			return
		}
		for _, e := range entries {
			read, after = read+1, e.Seq
			if seqs, err := s.Claimed(t.Context(), e.Event.Session, "m"); err != nil || seqs[0] != e.Seq {
				t.Errorf("the claim of %d, of session %s: %v, %v", e.Seq, e.Event.Session, seqs, err)
				return
			}
		}
	}
}

func testClaimed(t *testing.T, s store.Store, _ Place) {
	b := events("s", "a", "b")
	b.Claims = []bridge.Claim{{Session: "s", Key: "m"}, {Session: "other", Key: "n"}, {Key: "free"}}
	seqs := commit(t, s, b).Seqs
	claimed := func(session string, keys ...string) []bridge.Seq {
		t.Helper()
		got, err := s.Claimed(t.Context(), session, keys...)
		return must(t, got, err)
	}
	same(t, "s", claimed("s", "n", "m", "free", "m"), []bridge.Seq{0, seqs[0], 0, seqs[0]})
	same(t, "other", claimed("other", "m", "n"), []bridge.Seq{0, seqs[0]})
	same(t, "none", claimed("none", "m"), []bridge.Seq{0})
	same(t, "no session", claimed("", "free", "m"), []bridge.Seq{seqs[0], 0})
	same(t, "no keys", len(claimed("s")), 0)

	before, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, bridge.Batch{Claims: []bridge.Claim{{Session: "s", Key: "quiet"}}})
	after, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if at := claimed("s", "quiet")[0]; at < bridge.SeqAt(before) || at > bridge.SeqAt(after) {
		t.Errorf("without events: %d is not between %d and %d", at, bridge.SeqAt(before), bridge.SeqAt(after))
	}
}

func testOpens(t *testing.T, s store.Store, _ Place) {
	known := func(session string) bridge.Seq {
		t.Helper()
		got, err := s.Claimed(t.Context(), session, "session")
		return must(t, got, err)[0]
	}
	commit(t, s, events("s", "a"))
	same(t, "not opened", known("s"), bridge.Seq(0))
	b := events("s", "b")
	b.Events[0].Opens = true
	first := commit(t, s, b).Seqs[0]
	same(t, "opened", known("s"), first)
	same(t, "opened again", commit(t, s, b).Duplicate, false)
	same(t, "still the first", known("s"), first)

	b.Claims = []bridge.Claim{{Key: "k"}}
	b.Events[0].Session = "other"
	commit(t, s, b)
	b.Events[0].Session = "third"
	same(t, "a duplicate", commit(t, s, b).Duplicate, true)
	same(t, "opens nothing", known("third"), bridge.Seq(0))
	b = bridge.Batch{Events: []bridge.Event{{Type: "x", Opens: true}}}
	same(t, "no session", commit(t, s, b).Duplicate, false)
}

// A claim that moves is taken with every batch that has it, in whatever form the batch comes, and by none that is not written.
func testClaimMoves(t *testing.T, s store.Store, _ Place) {
	said := bridge.Claim{Session: "s", Key: bridge.SaidKey, Moves: true}
	last := func() bridge.Seq {
		t.Helper()
		got, err := s.Claimed(t.Context(), "s", bridge.SaidKey)
		return must(t, got, err)[0]
	}
	message := func(id string, opens bool, more ...bridge.Claim) bridge.Batch {
		b := events("s", id)
		b.Events[0].Opens = opens
		b.Claims = append([]bridge.Claim{{Session: "s", Key: id}}, more...)
		return b
	}
	first := commit(t, s, message("1", false)).Seqs[0]
	same(t, "it is not taken", last(), bridge.Seq(0))
	for i, b := range []bridge.Batch{
		message("2", false, said), message("3", true, said), message("4", false, said, bridge.Claim{Key: "more"}),
		{Claims: []bridge.Claim{said}, Events: events("s", "5").Events}, message("6", true, said),
	} {
		seq := commit(t, s, b).Seqs[0]
		same(t, fmt.Sprint("it is taken with ", i), last(), seq)
	}
	seq := last()
	same(t, "a repeat", commit(t, s, message("1", true, said)), bridge.Result{Duplicate: true, First: first})
	same(t, "does not take it", last(), seq)
	commit(t, s, message("7", true))
	commit(t, s, message("8", false))
	same(t, "others do not take it", last(), seq)
	got, err := s.Claimed(t.Context(), "s", "session", "3", "6")
	known := must(t, got, err)
	same(t, "the session is known once", known[0], known[1])
	same(t, "the claim beside it", known[2], seq)
}

func testIfTaken(t *testing.T, s store.Store, _ Place) {
	said := bridge.Claim{Session: "s", Key: bridge.SaidKey, Moves: true}
	say := func(at bridge.Seq) bridge.Batch {
		b := events("s", "a")
		b.Claims = []bridge.Claim{said}
		b.IfTaken = []bridge.Taken{{Session: "s", Key: bridge.SaidKey, At: at}}
		return b
	}
	refused(t, s, say(1), bridge.ErrChanged)
	first := commit(t, s, say(0)).Seqs[0]
	refused(t, s, say(0), bridge.ErrChanged)
	refused(t, s, say(first-1), bridge.ErrChanged)
	second := commit(t, s, say(first)).Seqs[0]
	refused(t, s, say(first), bridge.ErrChanged)
	b := say(second)
	b.IfTaken = append(b.IfTaken, bridge.Taken{Session: "s", Key: "other", At: 1})
	refused(t, s, b, bridge.ErrChanged)
	b = say(first)
	b.Claims = append(b.Claims, bridge.Claim{Session: "s", Key: "m"})
	refused(t, s, b, bridge.ErrChanged)
	b.IfTaken[0].At = second
	written := commit(t, s, b).Seqs[0]
	same(t, "a repeat is one whatever has changed", commit(t, s, b), bridge.Result{Duplicate: true, First: written})
	same(t, "log", len(readAll(t, s)), 3)

	// Of many that wait for the same, one is written.
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 32 {
		wg.Go(func() {
			if _, err := s.Commit(t.Context(), say(written)); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	same(t, "winners", won, 1)
}

func testConditions(t *testing.T, s store.Store, _ Place) {
	row := func(value []byte) bridge.Row { return bridge.Row{Table: "t", Key: "k", Value: value, Session: "owner"} }
	change := func(from, to []byte) bridge.Batch {
		b := events("s", "a")
		b.If = []bridge.Row{{Table: "t", Key: "k", Value: from}}
		b.Rows = []bridge.Row{row(to)}
		return b
	}
	refused(t, s, change([]byte("1"), []byte("2")), bridge.ErrChanged)
	refused(t, s, change([]byte{}, []byte("2")), bridge.ErrChanged)
	commit(t, s, change(nil, []byte("1")))
	refused(t, s, change(nil, []byte("2")), bridge.ErrChanged)
	refused(t, s, change([]byte{}, []byte("2")), bridge.ErrChanged)
	refused(t, s, change([]byte("12"), []byte("2")), bridge.ErrChanged)
	commit(t, s, change([]byte("1"), []byte{}))
	refused(t, s, change(nil, []byte("2")), bridge.ErrChanged)
	commit(t, s, change([]byte{}, []byte("a:b\x00c")))
	commit(t, s, change([]byte("a:b\x00c"), nil))
	commit(t, s, change(nil, nil))
	same(t, "log", len(readAll(t, s)), 5)

	b := change(nil, []byte("1"))
	b.If = append(b.If, bridge.Row{Table: "t", Key: "other", Value: []byte("x")})
	refused(t, s, b, bridge.ErrChanged)

	// Of many that change the same row, one does.
	commit(t, s, change(nil, []byte("start")))
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 32 {
		wg.Go(func() {
			if _, err := s.Commit(t.Context(), change([]byte("start"), fmt.Append(nil, i))); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	same(t, "winners", won, 1)
}

func testRepeat(t *testing.T, s store.Store, _ Place) {
	b := events("s", "a")
	b.Claims = []bridge.Claim{{Key: "update 1"}}
	b.If = []bridge.Row{{Table: "t", Key: "k"}}
	b.Rows = []bridge.Row{{Table: "t", Key: "k", Value: []byte("1")}}
	first := commit(t, s, b).Seqs[0]
	same(t, "repeat", commit(t, s, b), bridge.Result{Duplicate: true, First: first})
	b.Claims[0].Key = "update 2"
	refused(t, s, b, bridge.ErrChanged)
}

func testRows(t *testing.T, s store.Store, _ Place) {
	get := func(table, key string) []byte {
		t.Helper()
		value, err := s.Get(t.Context(), table, key)
		return must(t, value, err)
	}
	list := func(table string) []bridge.Row {
		t.Helper()
		rows, err := all(t, s, table)
		return must(t, rows, err)
	}
	put := func(rows ...bridge.Row) { t.Helper(); commit(t, s, bridge.Batch{Rows: rows}) }

	put(bridge.Row{Table: "t", Key: "b", Value: []byte("2")},
		bridge.Row{Table: "t", Key: "a", Value: []byte("1"), Session: "s"},
		bridge.Row{Table: "t", Key: "empty", Value: []byte{}},
		bridge.Row{Table: "u", Key: "a", Value: []byte("\x00\xff:1")})
	same(t, "a", get("t", "a"), []byte("1"))
	same(t, "empty", get("t", "empty"), []byte{})
	same(t, "none", get("t", "none") == nil, true)
	same(t, "u", get("u", "a"), []byte("\x00\xff:1"))
	same(t, "t", list("t"), []bridge.Row{
		{Table: "t", Key: "a", Value: []byte("1")},
		{Table: "t", Key: "b", Value: []byte("2")},
		{Table: "t", Key: "empty", Value: []byte{}},
	})

	// The last of several wins.
	put(bridge.Row{Table: "t", Key: "a", Value: []byte("x")},
		bridge.Row{Table: "t", Key: "a"},
		bridge.Row{Table: "t", Key: "b"},
		bridge.Row{Table: "t", Key: "b", Value: []byte("y")},
		bridge.Row{Table: "t", Key: "none"})
	same(t, "t", list("t"), []bridge.Row{
		{Table: "t", Key: "b", Value: []byte("y")},
		{Table: "t", Key: "empty", Value: []byte{}},
	})
	same(t, "u", len(list("u")), 1)
}

func testRowOwners(t *testing.T, s store.Store, _ Place) {
	row := func(key, owner string) bridge.Row {
		return bridge.Row{Table: "t", Key: key, Value: []byte(key), Session: owner}
	}
	commit(t, s, bridge.Batch{Rows: []bridge.Row{row("moved", "a"), row("freed", "a"), row("kept", "a"), row("gone", "a")}})
	commit(t, s, bridge.Batch{Rows: []bridge.Row{row("moved", "b"), row("freed", ""), row("kept", "a"), {Table: "t", Key: "gone"}}})
	commit(t, s, bridge.Batch{Rows: []bridge.Row{row("gone", "")}})
	keys := func() (keys []string) {
		rows, err := all(t, s, "t")
		for _, r := range must(t, rows, err) {
			keys = append(keys, r.Key)
		}
		return keys
	}
	if err := s.ForgetSession(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	same(t, "without a", keys(), []string{"freed", "gone", "moved"})
	if err := s.ForgetSession(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	same(t, "without b", keys(), []string{"freed", "gone"})
}

// testAtomic commits batches that fail at each possible check and contain everything that could be written.
func testAtomic(t *testing.T, s store.Store, _ Place) {
	commit(t, s, bridge.Batch{
		Claims:   []bridge.Claim{{Key: "held", Sum: "1"}},
		Rows:     []bridge.Row{{Table: "t", Key: "old", Value: []byte("old"), Session: "s"}},
		Progress: bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 9}}, Cursor: 3},
	})
	full := func() bridge.Batch {
		b := events("new", "a", "b")
		b.Events[0].Opens = true
		b.Claims = []bridge.Claim{{Key: "free"}, {Session: "new", Key: "m"}, {Session: "new", Key: "soft", Soft: true}}
		b.Rows = []bridge.Row{{Table: "t", Key: "new", Value: []byte("new"), Session: "new"}, {Table: "t", Key: "old"}}
		b.Progress = bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 10}}, Cursor: 9}
		return b
	}
	untouched := func(name string) {
		t.Helper()
		same(t, name+": log", len(readAll(t, s)), 0)
		last, err := s.Last(t.Context())
		same(t, name+": Last", must(t, last, err), bridge.Seq(0))
		rows, err := all(t, s, "t")
		same(t, name+": rows", must(t, rows, err), []bridge.Row{{Table: "t", Key: "old", Value: []byte("old")}})
		claimed, err := s.Claimed(t.Context(), "new", "session", "m", "soft")
		same(t, name+": claims", must(t, claimed, err), []bridge.Seq{0, 0, 0})
		claimed, err = s.Claimed(t.Context(), "", "free")
		same(t, name+": claim", must(t, claimed, err), []bridge.Seq{0})
		lane, err := s.Lane(t.Context(), "l")
		same(t, name+": lane", must(t, lane, err), bridge.LaneState{Cursor: 3, Done: []bridge.Mark{{Seq: 9}}, Known: true})
	}

	b := full()
	b.Claims = append(b.Claims, bridge.Claim{Key: "held"})
	same(t, "duplicate", commit(t, s, b), bridge.Result{Duplicate: true})
	untouched("duplicate")
	b.Claims[len(b.Claims)-1].Sum = "2"
	refused(t, s, b, bridge.ErrConflict)
	untouched("conflict")
	b = full()
	b.If = []bridge.Row{{Table: "t", Key: "old", Value: []byte("old")}, {Table: "t", Key: "old", Value: []byte("other")}}
	refused(t, s, b, bridge.ErrChanged)
	untouched("changed")
	b = full()
	b.Lease = bridge.Lease{Name: "l", Token: "x"}
	refused(t, s, b, bridge.ErrLeaseLost)
	untouched("lease")

	// The same batch is whole where nothing refuses it, between others of its group that are refused.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			b := full()
			b.If = []bridge.Row{{Table: "t", Key: "never", Value: []byte("x")}}
			_, _ = s.Commit(t.Context(), b)
		})
	}
	r := commit(t, s, full())
	wg.Wait()
	same(t, "log", len(readAll(t, s)), 2)
	claimed, err := s.Claimed(t.Context(), "new", "session", "m", "soft")
	same(t, "claims", must(t, claimed, err), []bridge.Seq{r.Seqs[0], r.Seqs[0], r.Seqs[0]})
	lane, err := s.Lane(t.Context(), "l")
	same(t, "lane", must(t, lane, err), bridge.LaneState{Cursor: 9, Done: []bridge.Mark{{Seq: 10}}, Known: true})
}

func testProgress(t *testing.T, s store.Store, _ Place) {
	move := func(cursor bridge.Seq, done ...bridge.Mark) {
		t.Helper()
		commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: "l", Done: done, Cursor: cursor}})
	}
	check := func(cursor bridge.Seq, done ...bridge.Mark) {
		t.Helper()
		lane, err := s.Lane(t.Context(), "l")
		same(t, "Lane", must(t, lane, err), bridge.LaneState{Cursor: cursor, Done: done, Known: true})
	}
	mark := func(seq bridge.Seq, target string) bridge.Mark { return bridge.Mark{Seq: seq, Target: target} }
	const base = 1_800_000_000_000_000 // the size that a Seq has

	move(0)
	check(0)
	move(0, mark(base+20, "b"), mark(base+3, ""), mark(base+20, "a"), mark(base+100, ""), mark(base+3, "x"))
	check(0, mark(base+3, ""), mark(base+3, "x"), mark(base+20, "a"), mark(base+20, "b"), mark(base+100, ""))
	move(0, mark(base+20, "a"))
	move(base + 3)
	check(base+3, mark(base+20, "a"), mark(base+20, "b"), mark(base+100, ""))
	// What is behind the cursor, or in the same batch, is finished anyway.
	move(0, mark(base+2, ""), mark(base+21, ""))
	check(base+3, mark(base+20, "a"), mark(base+20, "b"), mark(base+21, ""), mark(base+100, ""))
	move(base+30, mark(base+30, "a"), mark(base+31, ""))
	check(base+30, mark(base+31, ""), mark(base+100, ""))
	move(base + 1000)
	check(base + 1000)
	// A lane only moves forward.
	move(base+40, mark(base+41, ""))
	check(base + 1000)
}

func testLanes(t *testing.T, s store.Store, _ Place) {
	for _, lane := range []string{"a", "ab", "b"} {
		commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: lane, Done: []bridge.Mark{{Seq: 5}, {Seq: 9}}}})
	}
	commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: "a", Cursor: 9}})
	for lane, want := range map[string]bridge.LaneState{
		"a":  {Cursor: 9, Known: true},
		"ab": {Done: []bridge.Mark{{Seq: 5}, {Seq: 9}}, Known: true},
		"b":  {Done: []bridge.Mark{{Seq: 5}, {Seq: 9}}, Known: true},
		"c":  {},
	} {
		got, err := s.Lane(t.Context(), lane)
		same(t, lane, must(t, got, err), want)
	}
	names, err := s.Lanes(t.Context())
	same(t, "Lanes", must(t, names, err), []string{"a", "ab", "b"})
}

func testForgetLane(t *testing.T, s store.Store, _ Place) {
	for _, lane := range []string{"a", "ab", "b"} {
		commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: lane, Done: []bridge.Mark{{Seq: 5}, {Seq: 9, Target: "x"}}, Cursor: 2}})
	}
	lanes := func(want ...string) {
		t.Helper()
		names, err := s.Lanes(t.Context())
		same(t, "Lanes", append([]string{}, must(t, names, err)...), append([]string{}, want...))
	}
	forget := func(lane string, l bridge.Lease, want error) {
		t.Helper()
		if err := s.ForgetLane(t.Context(), lane, l); !errors.Is(err, want) {
			t.Errorf("ForgetLane: %v, want %v", err, want)
		}
	}
	held := bridge.Lease{Name: "l", Token: "1"}
	forget("a", held, bridge.ErrLeaseLost)
	acquire(t, s, "l", "1", time.Minute)
	forget("a", bridge.Lease{Name: "l", Token: "2"}, bridge.ErrLeaseLost)
	forget("a", bridge.Lease{Name: "l"}, bridge.ErrLeaseLost)
	lanes("a", "ab", "b")
	forget("a", held, nil)
	forget("none", held, nil)
	lanes("ab", "b")
	lane, err := s.Lane(t.Context(), "a")
	same(t, "a", must(t, lane, err), bridge.LaneState{})
	lane, err = s.Lane(t.Context(), "ab")
	same(t, "ab", must(t, lane, err), bridge.LaneState{Cursor: 2, Done: []bridge.Mark{{Seq: 5}, {Seq: 9, Target: "x"}}, Known: true})
	forget("b", bridge.Lease{}, nil)
	lanes("ab")
	// It begins anew when it comes again.
	commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: "a", Cursor: 1}})
	lane, err = s.Lane(t.Context(), "a")
	same(t, "a", must(t, lane, err), bridge.LaneState{Cursor: 1, Known: true})
}

func acquire(t *testing.T, s store.Store, name, token string, ttl time.Duration) bool {
	t.Helper()
	ok, err := s.Acquire(t.Context(), bridge.Lease{Name: name, Token: token}, ttl)
	return must(t, ok, err)
}

func release(t *testing.T, s store.Store, name, token string) {
	t.Helper()
	if err := s.Release(t.Context(), bridge.Lease{Name: name, Token: token}); err != nil {
		t.Fatal(err)
	}
}

func testLeases(t *testing.T, s store.Store, _ Place) {
	same(t, "free", acquire(t, s, "l", "1", time.Minute), true)
	same(t, "renewed", acquire(t, s, "l", "1", time.Minute), true)
	same(t, "held", acquire(t, s, "l", "2", time.Minute), false)
	same(t, "another", acquire(t, s, "m", "2", time.Minute), true)
	release(t, s, "l", "2")
	same(t, "not released by another", acquire(t, s, "l", "2", time.Minute), false)
	release(t, s, "l", "1")
	same(t, "released", acquire(t, s, "l", "2", time.Minute), true)
	same(t, "lost", acquire(t, s, "l", "1", time.Minute), false)
	release(t, s, "none", "1")
}

// testLeaseOfTheDead has one who took a lease and ended without giving it back, and two who want it.
func testLeaseOfTheDead(t *testing.T, s store.Store, p Place) {
	switch {
	case p.Ended == nil && p.Shared:
		return
	case p.Ended == nil:
		same(t, "taken", acquire(t, s, "l", "1", time.Hour), true)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, "taken over", acquire(t, p.open(t), "l", "2", time.Hour), true)
		return
	}
	dead := p.Ended(t)
	defer func() {
		if err := dead.Close(); err != nil {
			t.Error(err)
		}
	}()
	same(t, "taken", acquire(t, dead, "l", "1", time.Hour), true)
	var taken [2]bool
	var both sync.WaitGroup
	for i := range taken {
		both.Go(func() { taken[i] = acquire(t, s, "l", fmt.Sprint(2+i), time.Hour) })
	}
	both.Wait()
	if taken[0] == taken[1] {
		t.Errorf("taken over by %v", taken)
	}
	refused(t, dead, bridge.Batch{Lease: bridge.Lease{Name: "l", Token: "1"}}, bridge.ErrLeaseLost)
	release(t, dead, "l", "1")
	same(t, "held by who is alive", acquire(t, s, "l", "4", time.Hour), false)
	same(t, "held by who is alive", acquire(t, dead, "l", "1", time.Hour), false)
}

func testLeaseExpires(t *testing.T, s store.Store, p Place) {
	const ttl = 50 * time.Millisecond
	same(t, "taken", acquire(t, s, "l", "1", ttl), true)
	pass := func() {
		if p.Advance != nil {
			p.Advance(ttl)
		}
	}
	b := events("s", "a")
	b.Lease = bridge.Lease{Name: "l", Token: "1"}
	pass()
	for end := time.Now().Add(patience); ; {
		if _, err := s.Commit(t.Context(), b); err != nil {
			refused(t, s, b, bridge.ErrLeaseLost)
			break
		}
		if time.Now().After(end) {
			t.Fatal("it never expires")
		}
	}
	same(t, "taken by the next", acquire(t, s, "l", "2", time.Minute), true)
	same(t, "not by the last", acquire(t, s, "l", "1", time.Minute), false)
	release(t, s, "l", "1")
	same(t, "still not", acquire(t, s, "l", "1", time.Minute), false)
}

func testLeaseCommit(t *testing.T, s store.Store, _ Place) {
	b := events("s", "a")
	b.Lease = bridge.Lease{Name: "l", Token: "1"}
	refused(t, s, b, bridge.ErrLeaseLost)
	acquire(t, s, "l", "1", time.Minute)
	commit(t, s, b)
	b.Lease.Token = "2"
	refused(t, s, b, bridge.ErrLeaseLost)
	b.Lease.Token = ""
	refused(t, s, b, bridge.ErrLeaseLost)
	b.Lease = bridge.Lease{Name: "l", Token: "1"}
	release(t, s, "l", "1")
	refused(t, s, b, bridge.ErrLeaseLost)
	same(t, "log", len(readAll(t, s)), 1)
}

// furnish gives a session everything that it can own.
func furnish(t *testing.T, s store.Store, session string) bridge.Seq {
	t.Helper()
	b := events(session, "a")
	b.Events[0].Opens = true
	b.Claims = []bridge.Claim{{Session: session, Key: "m1"}, {Session: session, Key: "m2"}}
	b.Rows = []bridge.Row{
		{Table: "session", Key: session, Value: []byte("x"), Session: session},
		{Table: "thread", Key: "t/" + session, Value: []byte(session), Session: session},
		{Table: "message", Key: session + "/1", Value: []byte("1"), Session: session},
		{Table: "message", Key: session + "/2", Value: []byte("2"), Session: session},
	}
	return commit(t, s, b).Seqs[0]
}

// furnished says whether all of that, or nothing, is there.
func furnished(t *testing.T, s store.Store, session string) bool {
	t.Helper()
	there := 0
	for _, row := range [][2]string{
		{"session", session}, {"thread", "t/" + session}, {"message", session + "/1"}, {"message", session + "/2"},
	} {
		value, err := s.Get(t.Context(), row[0], row[1])
		if must(t, value, err) != nil {
			there++
		}
	}
	claimed, err := s.Claimed(t.Context(), session, "session", "m1", "m2")
	for _, at := range must(t, claimed, err) {
		if at != 0 {
			there++
		}
	}
	if there != 0 && there != 7 {
		t.Errorf("%s: %d of 7 are there", session, there)
	}
	return there == 7
}

func testForgetSession(t *testing.T, s store.Store, _ Place) {
	names := []string{"a", "ab", "b"}
	for _, name := range names {
		furnish(t, s, name)
	}
	commit(t, s, bridge.Batch{
		Claims: []bridge.Claim{{Key: "a"}},
		Rows:   []bridge.Row{{Table: "session", Key: "free", Value: []byte("x")}},
	})
	for i, name := range names {
		if err := s.ForgetSession(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for j, other := range names {
			same(t, other, furnished(t, s, other), j > i)
		}
	}
	rows, err := all(t, s, "session")
	same(t, "a free row stays", len(must(t, rows, err)), 1)
	claimed, err := s.Claimed(t.Context(), "", "a")
	same(t, "a free claim stays", must(t, claimed, err)[0] != 0, true)
	same(t, "the log stays", len(readAll(t, s)), 3)
	furnish(t, s, "a")
	same(t, "it may come again", furnished(t, s, "a"), true)
}

func testForget(t *testing.T, s store.Store, _ Place) {
	furnish(t, s, "old")
	furnish(t, s, "spoke")
	limit := furnish(t, s, "new")
	commit(t, s, events("spoke", "again"))
	// Messages one right after the other count each.
	for _, id := range []string{"1", "2"} {
		b := events("spoke", id)
		b.Claims = []bridge.Claim{{Session: "spoke", Key: id}, {Session: "spoke", Key: bridge.SaidKey, Moves: true}}
		limit = commit(t, s, b).Seqs[0]
	}
	commit(t, s, events("new", "again"))
	// Something without an event has its time too.
	commit(t, s, bridge.Batch{Claims: []bridge.Claim{{Session: "silent", Key: "k"}}})

	gone, err := s.Forget(t.Context(), limit)
	same(t, "Forget", must(t, gone, err), 1)
	same(t, "old", furnished(t, s, "old"), false)
	same(t, "spoke", furnished(t, s, "spoke"), true)
	same(t, "new", furnished(t, s, "new"), true)
	gone, err = s.Forget(t.Context(), limit)
	same(t, "nothing more", must(t, gone, err), 0)

	now, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone, err = s.Forget(t.Context(), bridge.SeqAt(now.Add(time.Hour)))
	same(t, "all", must(t, gone, err), 3)
	same(t, "spoke", furnished(t, s, "spoke"), false)
	claimed, err := s.Claimed(t.Context(), "silent", "k")
	same(t, "silent", must(t, claimed, err), []bridge.Seq{0})
}

func testForgetMany(t *testing.T, s store.Store, _ Place) {
	const sessions = 1200
	var b bridge.Batch
	for i := range sessions {
		session := fmt.Sprint("s", i)
		b.Events = append(b.Events, event(session, "a"))
		b.Rows = append(b.Rows, bridge.Row{Table: "t", Key: session, Value: []byte("x"), Session: session})
	}
	seqs := commit(t, s, b).Seqs
	gone, err := s.Forget(t.Context(), seqs[sessions-10])
	same(t, "Forget", must(t, gone, err), sessions-10)
	rows, err := all(t, s, "t")
	same(t, "rows left", len(must(t, rows, err)), 10)
}
