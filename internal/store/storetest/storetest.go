// Package storetest holds every store to the same behaviour. It knows stores by their interface only.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// Place is where one store keeps its state. All but Open may be nil: what needs them is then not tested.
type Place struct {
	// Open opens the state: the first time, and again after a Close. The test closes what it opened.
	Open func(t *testing.T) store.Store
	// Shared says that Open may be called while another store is open on the same state.
	Shared bool
	// Ended opens the state as a process would that has ended since. Where nothing is shared, leases end with their process.
	Ended func(t *testing.T) store.Store
	// Lose removes all state while nothing is open on it.
	Lose func(t *testing.T)
	// Advance moves the store's clock, back with a negative duration.
	Advance func(d time.Duration)
}

// patience only ends a test that hangs.
const patience = 2 * time.Minute

// Run runs the suite. place returns a new, empty place each time.
func Run(t *testing.T, place func(t *testing.T) Place) {
	t.Helper()
	run(t, place, nil)
	t.Run("any sequence of calls", func(t *testing.T) { testModel(t, place) })
}

// RunClock runs what the suite has on the store's clock, for a place whose Advance moves it and where all else was tested elsewhere.
func RunClock(t *testing.T, place func(t *testing.T) Place) {
	t.Helper()
	run(t, place, []string{
		"a seq is the clock", "a seq is never given twice when the clock goes back", "a claim without a session expires", "claimed tells when",
		"a claim that moves tells when it was taken last", "leases", "a lease ends with its time", "a commit needs its lease", "ping and clock",
	})
}

// run runs the tests of these names; all for none.
func run(t *testing.T, place func(t *testing.T) Place, names []string) {
	t.Helper()
	ran := 0
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s store.Store, p Place)
	}{
		{"a seq is the clock", testSeqIsClock},
		{"seqs grow within a batch and between batches", testSeqGrows},
		{"a seq is never given twice when the clock goes back", testSeqClockBack},
		{"a seq is never given twice when all is lost", testSeqLost},
		{"an event comes back as it was", testEvent},
		{"an empty log", testEmpty},
		{"reads go page by page", testReadPages},
		{"a read waits and gives up", testReadGivesUp},
		{"a read wakes at an append", testReadWakes},
		{"a read wakes at another store's append", testReadWakesAcross},
		{"a read ends with its context", testReadCancelled},
		{"a read ends with the store", testReadClosed},
		{"trim", testTrim},
		{"the size of the log", testLogSize},
		{"a claim is taken once", testClaim},
		{"a claim with another sum is a conflict", testClaimSum},
		{"a soft claim is no obstacle", testClaimSoft},
		{"several claims", testClaimSeveral},
		{"one of many with the same claim is written", testClaimRace},
		{"a claim without a session expires", testClaimExpires},
		{"claimed tells when", testClaimed},
		{"whoever reads an event finds its claims", testClaimedOfRead},
		{"an opening event makes its session known", testOpens},
		{"a claim that moves tells when it was taken last", testClaimMoves},
		{"conditions", testConditions},
		{"conditions on claims", testIfTaken},
		{"a batch that is repeated is a duplicate, not changed", testRepeat},
		{"rows", testRows},
		{"rows change owners", testRowOwners},
		{"list", testList},
		{"scan", testScan},
		{"get several", testGetAll},
		{"count", testCount},
		{"a refused batch writes nothing", testAtomic},
		{"progress", testProgress},
		{"lanes do not know each other", testLanes},
		{"forget a lane", testForgetLane},
		{"leases", testLeases},
		{"a lease ends with its time", testLeaseExpires},
		{"a commit needs its lease", testLeaseCommit},
		{"a lease of who has ended is free", testLeaseOfTheDead},
		{"forget a session", testForgetSession},
		{"forget old sessions", testForget},
		{"forget many sessions", testForgetMany},
		{"forget a large session", testForgetLarge},
		{"many marks", testManyMarks},
		{"many commits at once", testConcurrent},
		{"a commit that nobody waits for", testCommitCancelled},
		{"all is there after a close", testReopen},
		{"two stores share a state", testShared},
		{"names with every character", testNames},
		{"large values", testLarge},
		{"ping and clock", testPing},
		{"erase entries of the log", testErase},
		{"what a session owns", testOwned},
		{"forget claims by a text", testForgetClaims},
		{"a closed store", testClosed},
	} {
		if len(names) > 0 && !slices.Contains(names, test.name) {
			continue
		}
		ran++
		t.Run(test.name, func(t *testing.T) {
			p := place(t)
			test.run(t, p.open(t), p)
		})
	}
	if len(names) > 0 && ran != len(names) {
		t.Errorf("%d of %d tests are there", ran, len(names))
	}
}

// open opens a store that is closed with the test.
func (p Place) open(t *testing.T) store.Store {
	t.Helper()
	s := p.Open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// must ends the test at an error.
func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func commit(t *testing.T, s store.Store, b bridge.Batch) bridge.Result {
	t.Helper()
	r, err := s.Commit(t.Context(), b)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return r
}

func refused(t *testing.T, s store.Store, b bridge.Batch, want error) {
	t.Helper()
	if _, err := s.Commit(t.Context(), b); !errors.Is(err, want) {
		t.Errorf("Commit: %v, want %v", err, want)
	}
}

// event is a message of a session, told from others by its text.
func event(session, text string) bridge.Event {
	return bridge.Event{
		Type:    bridge.TypeVisitorMessage,
		Origin:  bridge.OriginApp,
		Session: session,
		Body:    json.RawMessage(fmt.Sprintf(`{"text":%q}`, text)),
	}
}

func events(session string, texts ...string) bridge.Batch {
	var b bridge.Batch
	for _, text := range texts {
		b.Events = append(b.Events, event(session, text))
	}
	return b
}

func readAll(t *testing.T, s store.Store) []bridge.Entry {
	t.Helper()
	var all []bridge.Entry
	for {
		var after bridge.Seq
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		page, err := s.Read(t.Context(), after, 1000, 0)
		if err != nil {
			t.Fatalf("Read: %v", err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if reflect.DeepEqual(want, got) { // mostly, and cmp takes its time with thousands of rows
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func testSeqIsClock(t *testing.T, s store.Store, _ Place) {
	from, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seq := commit(t, s, events("s", "a")).Seqs[0]
	to, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seq < bridge.SeqAt(from) || seq > bridge.SeqAt(to) {
		t.Errorf("seq %d is not between %d and %d", seq, bridge.SeqAt(from), bridge.SeqAt(to))
	}
}

func testSeqGrows(t *testing.T, s store.Store, _ Place) {
	var last bridge.Seq
	for range 20 {
		for _, seq := range commit(t, s, events("s", "a", "b", "c")).Seqs {
			if seq <= last {
				t.Fatalf("%d comes after %d", seq, last)
			}
			last = seq
		}
	}
	got, err := s.Last(t.Context())
	same(t, "Last", must(t, got, err), last)
}

func testSeqClockBack(t *testing.T, s store.Store, p Place) {
	if p.Advance == nil {
		return
	}
	first := commit(t, s, events("s", "a")).Seqs[0]
	p.Advance(-time.Hour)
	// What the store knows of its clock may go on for a moment.
	seqs := commit(t, s, events("s", "b", "c")).Seqs
	if seqs[0] <= first || seqs[0] > first+bridge.Seq(time.Minute.Microseconds()) || seqs[1] != seqs[0]+1 {
		t.Errorf("%d come after %d", seqs, first)
	}
	p.Advance(2 * time.Hour)
	if seq := commit(t, s, events("s", "d")).Seqs[0]; seq < first+bridge.Seq(time.Hour.Microseconds()) {
		t.Errorf("%d does not follow the clock", seq)
	}
}

func testSeqLost(t *testing.T, s store.Store, p Place) {
	if p.Lose == nil {
		return
	}
	seqs := commit(t, s, events("s", "a", "b")).Seqs
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.Lose(t)
	s = p.open(t)
	last, err := s.Last(t.Context())
	same(t, "Last", must(t, last, err), bridge.Seq(0))
	if seq := commit(t, s, events("s", "c")).Seqs[0]; seq <= seqs[1] {
		t.Errorf("%d comes after %d", seq, seqs[1])
	}
}

func testEvent(t *testing.T, s store.Store, _ Place) {
	full := bridge.Event{
		Type: bridge.TypeOperatorMessage, Origin: "telegram", Session: "s", Message: "m\u2028\"<&>\x00", Callback: "c", Opens: true,
		Body: json.RawMessage(`{ "b": "<é\u0000 ,\"body\":>", "a" : [1.50, 1e400, null],"a":{}}`),
	}
	odd := bridge.Event{Type: "x", Body: json.RawMessage("\nnot JSON\x00\xff\n")}
	bare := bridge.Event{Type: "x", Origin: bridge.OriginBridge}
	seqs := commit(t, s, bridge.Batch{Events: []bridge.Event{full, bare, odd}}).Seqs
	want := []bridge.Entry{{Seq: seqs[0], Event: full}, {Seq: seqs[1], Event: bare}, {Seq: seqs[2], Event: odd}}
	same(t, "Read", readAll(t, s), want)
	for _, w := range want {
		got, ok, err := s.Entry(t.Context(), w.Seq)
		if err != nil || !ok {
			t.Fatalf("Entry: %v, %v", ok, err)
		}
		same(t, "Entry", got, w)
	}
}

func testEmpty(t *testing.T, s store.Store, _ Place) {
	last, err := s.Last(t.Context())
	same(t, "Last", must(t, last, err), bridge.Seq(0))
	same(t, "Read", len(readAll(t, s)), 0)
	_, ok, err := s.Entry(t.Context(), 1)
	same(t, "Entry", must(t, ok, err), false)
	value, err := s.Get(t.Context(), "t", "k")
	same(t, "Get", must(t, value, err) == nil, true)
	rows, err := all(t, s, "t")
	same(t, "List", len(must(t, rows, err)), 0)
	lane, err := s.Lane(t.Context(), "l")
	same(t, "Lane", must(t, lane, err), bridge.LaneState{})
	claimed, err := s.Claimed(t.Context(), "s", "k")
	same(t, "Claimed", must(t, claimed, err), []bridge.Seq{0})
	if err := s.Trim(t.Context(), 1<<50); err != nil {
		t.Error(err)
	}
	if err := s.ForgetSession(t.Context(), "s"); err != nil {
		t.Error(err)
	}
	gone, err := s.Forget(t.Context(), 1<<50)
	same(t, "Forget", must(t, gone, err), 0)
	same(t, "an empty batch", commit(t, s, bridge.Batch{}), bridge.Result{})
}

func testReadPages(t *testing.T, s store.Store, p Place) {
	var texts []string
	for i := range 25 {
		texts = append(texts, fmt.Sprint(i))
	}
	seqs := commit(t, s, events("s", texts...)).Seqs
	check := func(s store.Store) {
		t.Helper()
		for from := range len(seqs) + 1 {
			for _, limit := range []int{1, 10, 100} {
				var after bridge.Seq
				if from > 0 {
					after = seqs[from-1]
				}
				page, err := s.Read(t.Context(), after, limit, patience*time.Duration(min(len(seqs)-from, 1)))
				if err != nil {
					t.Fatal(err)
				}
				var got []bridge.Seq
				for _, e := range page {
					got = append(got, e.Seq)
				}
				if want := seqs[from:min(from+limit, len(seqs))]; !slices.Equal(got, want) {
					t.Fatalf("after %d, at most %d: %v, want %v", after, limit, got, want)
				}
			}
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Now without what the store may have kept in memory.
	check(p.open(t))
}

func testReadGivesUp(t *testing.T, s store.Store, _ Place) {
	seq := commit(t, s, events("s", "a")).Seqs[0]
	start := time.Now()
	const wait = 100 * time.Millisecond
	got, err := s.Read(t.Context(), seq, 10, wait)
	same(t, "Read", len(must(t, got, err)), 0)
	if took := time.Since(start); took < wait-5*time.Millisecond || took > wait+5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// testReadWakes has a follower that sees each entry while it waits, and no later than the next one is due.
func testReadWakes(t *testing.T, s store.Store, _ Place) { follow(t, s, s) }

func testReadWakesAcross(t *testing.T, s store.Store, p Place) {
	if p.Shared {
		follow(t, s, p.open(t))
	}
}

func follow(t *testing.T, from, to store.Store) {
	t.Helper()
	const rounds = 20
	seen := make(chan bridge.Seq)
	go func() {
		defer close(seen)
		var after bridge.Seq
		for range rounds {
			entries, err := from.Read(t.Context(), after, 1, patience)
			if err != nil || len(entries) != 1 {
				t.Errorf("Read: %d entries, %v", len(entries), err)
				return
			}
			after = entries[0].Seq
			seen <- after
		}
	}()
	start := time.Now()
	for i := range rounds {
		want := commit(t, to, events("s", fmt.Sprint(i))).Seqs[0]
		if got, ok := <-seen; !ok || got != want {
			t.Fatalf("seen %d, want %d", got, want)
		}
	}
	// One that polls, or sleeps over a wake-up, takes longer by far.
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("%d wake-ups took %v", rounds, took)
	}
}

func testReadCancelled(t *testing.T, s store.Store, _ Place) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Read(ctx, 0, 1, patience)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
}

func testReadClosed(t *testing.T, s store.Store, _ Place) {
	ended := make(chan error)
	start := time.Now()
	go func() {
		_, err := s.Read(t.Context(), 0, 1, patience)
		ended <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Read: %v", err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}

func testLogSize(t *testing.T, s store.Store, p Place) {
	var texts []string
	for i := range 1300 {
		texts = append(texts, fmt.Sprint(i))
	}
	check := func(s store.Store, entries int, oldest bridge.Seq) {
		t.Helper()
		gotEntries, gotOldest, err := s.LogSize(t.Context())
		same(t, "entries", must(t, gotEntries, err), entries)
		same(t, "oldest", gotOldest, oldest)
	}
	check(s, 0, 0)
	first := commit(t, s, events("s", "a")).Seqs[0]
	check(s, 1, first)
	seqs := commit(t, s, events("s", texts...)).Seqs
	commit(t, s, bridge.Batch{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("v")}}})
	check(s, 1301, first)
	for _, n := range []int{0, 1203, 1299} {
		if err := s.Trim(t.Context(), seqs[n]); err != nil {
			t.Fatal(err)
		}
		check(s, 1300-n, seqs[n])
	}
	if err := s.Trim(t.Context(), seqs[1299]+1); err != nil {
		t.Fatal(err)
	}
	check(s, 0, 0)
	last := commit(t, s, events("s", "z")).Seqs[0]
	check(s, 1, last)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.LogSize(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("LogSize of a closed store: %v", err)
	}
	check(p.open(t), 1, last)
}

func testTrim(t *testing.T, s store.Store, p Place) {
	var texts []string
	for i := range 1300 {
		texts = append(texts, fmt.Sprint(i))
	}
	seqs := commit(t, s, events("s", texts...)).Seqs
	check := func(s store.Store, first int) {
		t.Helper()
		all := readAll(t, s)
		if len(all) != len(seqs)-first || first < len(seqs) && all[0].Seq != seqs[first] {
			t.Fatalf("%d entries, want %d", len(all), len(seqs)-first)
		}
		for i := max(0, first-2); i < min(first+2, len(seqs)); i++ {
			_, ok, err := s.Entry(t.Context(), seqs[i])
			same(t, "Entry", must(t, ok, err), i >= first)
		}
		last, err := s.Last(t.Context())
		same(t, "Last", must(t, last, err), seqs[len(seqs)-1])
	}
	for _, first := range []int{0, 1, 2, 1203, 1203, 5} {
		if err := s.Trim(t.Context(), seqs[first]); err != nil {
			t.Fatal(err)
		}
		check(s, max(first, map[int]int{5: 1203}[first]))
	}
	if err := s.Trim(t.Context(), seqs[len(seqs)-1]+1); err != nil {
		t.Fatal(err)
	}
	check(s, len(seqs))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = p.open(t)
	check(s, len(seqs))
	if seq := commit(t, s, events("s", "next")).Seqs[0]; seq <= seqs[len(seqs)-1] {
		t.Errorf("%d comes after %d", seq, seqs[len(seqs)-1])
	}
	same(t, "log", len(readAll(t, s)), 1)
}

func testConcurrent(t *testing.T, s store.Store, _ Place) {
	const writers, each = 64, 25
	seqs := make([][]bridge.Seq, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				b := events(fmt.Sprint("s", w), fmt.Sprint(i))
				b.Claims = []bridge.Claim{{Session: fmt.Sprint("s", w), Key: fmt.Sprint(i)}}
				r, err := s.Commit(t.Context(), b)
				if err != nil || r.Duplicate {
					t.Errorf("Commit: %+v, %v", r, err)
					return
				}
				seqs[w] = append(seqs[w], r.Seqs...)
			}
		})
	}
	wg.Wait()
	all := readAll(t, s)
	same(t, "entries", len(all), writers*each)
	found := make(map[string][]bridge.Seq)
	texts := make(map[string]int)
	var last bridge.Seq
	for _, e := range all {
		if e.Seq <= last {
			t.Fatalf("%d comes after %d", e.Seq, last)
		}
		last = e.Seq
		session := e.Event.Session
		same(t, "body", string(e.Event.Body), fmt.Sprintf(`{"text":"%d"}`, texts[session]))
		texts[session]++
		found[session] = append(found[session], e.Seq)
	}
	for w := range writers {
		same(t, "the order of a writer's commits", found[fmt.Sprint("s", w)], seqs[w])
	}
}

func testCommitCancelled(t *testing.T, s store.Store, _ Place) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Commit(ctx, events("s", "a")); !errors.Is(err, context.Canceled) || errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Commit: %v", err)
	}
	same(t, "log", len(readAll(t, s)), 0)
}

func testReopen(t *testing.T, s store.Store, p Place) {
	b := events("s", "a", "b")
	b.Events[0].Opens = true
	b.Claims = []bridge.Claim{{Key: "free", Sum: "1"}, {Session: "s", Key: "m"}}
	b.Rows = []bridge.Row{{Table: "t", Key: "k", Value: []byte("v"), Session: "s"}}
	b.Progress = bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 7, Target: "x"}}, Cursor: 5}
	seqs := commit(t, s, b).Seqs
	entries := readAll(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = p.open(t)
	same(t, "log", readAll(t, s), entries)
	last, err := s.Last(t.Context())
	same(t, "Last", must(t, last, err), seqs[1])
	claimed, err := s.Claimed(t.Context(), "s", "session", "m", "none")
	same(t, "Claimed", must(t, claimed, err), []bridge.Seq{seqs[0], seqs[0], 0})
	value, err := s.Get(t.Context(), "t", "k")
	same(t, "Get", string(must(t, value, err)), "v")
	lane, err := s.Lane(t.Context(), "l")
	same(t, "Lane", must(t, lane, err), bridge.LaneState{Cursor: 5, Done: []bridge.Mark{{Seq: 7, Target: "x"}}, Known: true})
	same(t, "a repeat", commit(t, s, b), bridge.Result{Duplicate: true, First: seqs[0]})
	if next := commit(t, s, events("s", "c")).Seqs[0]; next <= seqs[1] {
		t.Errorf("%d comes after %d", next, seqs[1])
	}
	gone, err := s.Forget(t.Context(), seqs[1]+1<<40)
	same(t, "Forget", must(t, gone, err), 1)
	value, err = s.Get(t.Context(), "t", "k")
	same(t, "Get", must(t, value, err) == nil, true)
}

func testShared(t *testing.T, s store.Store, p Place) {
	if !p.Shared {
		return
	}
	other := p.open(t)
	b := events("s", "a")
	b.Claims = []bridge.Claim{{Session: "s", Key: "m"}}
	first := commit(t, s, b).Seqs[0]
	same(t, "the other's", commit(t, other, b), bridge.Result{Duplicate: true, First: first})
	same(t, "log", readAll(t, other), readAll(t, s))

	lease := bridge.Lease{Name: "l", Token: "1"}
	ok, err := s.Acquire(t.Context(), lease, time.Minute)
	same(t, "Acquire", must(t, ok, err), true)
	ok, err = other.Acquire(t.Context(), bridge.Lease{Name: "l", Token: "2"}, time.Minute)
	same(t, "Acquire of the other", must(t, ok, err), false)
	refused(t, other, bridge.Batch{Lease: bridge.Lease{Name: "l", Token: "2"}}, bridge.ErrLeaseLost)
}

// testNames uses names that could be taken for two, or for another's.
func testNames(t *testing.T, s store.Store, _ Place) {
	names := []string{"a", "a:b", "a/b", "b", "ab", "é😀", "{x}", "*", "%d", "a b", "'", `"`, "\\", "0", "session"}
	var rows []bridge.Row
	for _, session := range names {
		var b bridge.Batch
		for _, name := range names {
			b.Claims = append(b.Claims, bridge.Claim{Session: session, Key: name, Sum: session + "|" + name})
			b.Rows = append(b.Rows, bridge.Row{Table: name, Key: session, Value: []byte(name + "|" + session), Session: session})
			b.Progress.Done = append(b.Progress.Done, bridge.Mark{Seq: 3, Target: name})
		}
		rows = append(rows, b.Rows...)
		b.Progress.Lane = session
		b.Events = []bridge.Event{event(session, "x")}
		if r := commit(t, s, b); r.Duplicate {
			t.Fatalf("%q is taken", session)
		}
	}
	targets := slices.Sorted(slices.Values(names))
	for _, name := range names {
		got, err := all(t, s, name)
		if err != nil {
			t.Fatal(err)
		}
		var want []bridge.Row
		for _, key := range targets {
			want = append(want, bridge.Row{Table: name, Key: key, Value: []byte(name + "|" + key)})
		}
		same(t, "List", got, want)
		lane, err := s.Lane(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var marks []bridge.Mark
		for _, target := range targets {
			marks = append(marks, bridge.Mark{Seq: 3, Target: target})
		}
		same(t, "Lane", lane, bridge.LaneState{Done: marks, Known: true})
	}
	for i, session := range names {
		if err := s.ForgetSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, name := range names {
			got, err := all(t, s, name)
			left += len(must(t, got, err))
		}
		same(t, "rows left", left, len(rows)-(i+1)*len(names))
	}
}

func testLarge(t *testing.T, s store.Store, _ Place) {
	text := string(slices.Repeat([]byte("0123456789abcdef"), 1<<16)) // 1 MiB
	b := events("s", text, text)
	b.Rows = []bridge.Row{{Table: "t", Key: "k", Value: []byte(text)}}
	b.If = []bridge.Row{{Table: "t", Key: "k"}}
	commit(t, s, b)
	b.If[0].Value = []byte(text)
	commit(t, s, b)
	value, err := s.Get(t.Context(), "t", "k")
	same(t, "row", string(must(t, value, err)) == text, true)
	all := readAll(t, s)
	same(t, "log", len(all), 4)
	same(t, "body", string(all[3].Event.Body) == string(b.Events[1].Body), true)
}

func testPing(t *testing.T, s store.Store, p Place) {
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	now, err := s.Now(t.Context())
	if off := time.Since(must(t, now, err)); p.Advance == nil && off.Abs() > time.Minute {
		t.Errorf("the clock is %v off", off)
	}
	same(t, "log", len(readAll(t, s)), 0)
}

func testClosed(t *testing.T, s store.Store, _ Place) {
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(t.Context(), events("s", "a")); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := s.Get(t.Context(), "t", "k"); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Ping: %v", err)
	}
}
