package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.uber.org/goleak"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is the machine's, moved.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func open(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opened(t testing.TB) *Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "bridge.db"), Options{})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func message(session, text string) bridge.Event {
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		panic(err)
	}
	return bridge.Event{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Body: body}
}

func TestStore(t *testing.T) {
	// With few pending keys they are brought to their place all the time.
	for _, pending := range []int{pendingKeys, 5} {
		t.Run(fmt.Sprint(pending), func(t *testing.T) { testStore(t, pending) })
	}
}

func testStore(t *testing.T, pending int) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		path := filepath.Join(t.TempDir(), "data", "bridge.db")
		clock := new(clock)
		return storetest.Place{
			Open: func(t *testing.T) store.Store { return open(t, path, Options{Now: clock.now, pendingKeys: pending}) },
			Lose: func(t *testing.T) {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			},
			Advance: clock.advance,
		}
	})
}

func TestOpenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.db")
	first := open(t, path, Options{})
	_, err := Open(path, Options{})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another bridge") {
		t.Errorf("Open: %v", err)
	}
	if _, _, err := Compact(path); err == nil || !strings.Contains(err.Error(), "another bridge") {
		t.Errorf("Compact: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path, Options{}).Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenFaults(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte(strings.Repeat("not a store ", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	s := open(t, newer, Options{})
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("format"), []byte("9"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		other:                        "invalid database",
		newer:                        `layout "9"`,
		filepath.Join(other, "x.db"): "not a directory",
	} {
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v, want %s", path, err, want)
		}
	}
}

// TestFull has the file reach a limit, as a full disk would have it, and then go on.
func TestFull(t *testing.T) {
	s := opened(t)
	ctx := t.Context()
	batch := func(i int) bridge.Batch {
		return bridge.Batch{
			Claims: []bridge.Claim{{Session: "s", Key: fmt.Sprint(i)}},
			Events: []bridge.Event{message("s", strings.Repeat("x", 100_000))},
		}
	}
	// Until it is full, everything is answered.
	s.db.MaxSize = 1 << 20
	written := 0
	var failure error
	for failure == nil && written < 1000 {
		if _, failure = s.Commit(ctx, batch(written)); failure == nil {
			written++
		}
	}
	if !errors.Is(failure, bridge.ErrUnavailable) || !strings.Contains(failure.Error(), bbolterrors.ErrMaxSizeReached.Error()) {
		t.Fatalf("Commit: %v", failure)
	}
	// Whatever else is committed meanwhile fails or is written, and the log is read.
	for i := range 3 {
		if _, err := s.Commit(ctx, batch(written+i)); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("Commit: %v", err)
		}
	}
	if entries, err := s.Read(ctx, 0, 1000, 0); err != nil || len(entries) != written {
		t.Fatalf("%d entries, %v; want %d", len(entries), err, written)
	}

	s.db.MaxSize = 0
	for i := range 5 {
		r, err := s.Commit(ctx, batch(written+i))
		if err != nil || r.Duplicate {
			t.Fatalf("Commit: %+v, %v", r, err)
		}
	}
	for i := range written + 5 {
		if r, err := s.Commit(ctx, batch(i)); err != nil || !r.Duplicate {
			t.Fatalf("a repeat: %+v, %v", r, err)
		}
	}
	if entries, err := s.Read(ctx, 0, 1000, 0); err != nil || len(entries) != written+5 {
		t.Errorf("%d entries, %v; want %d", len(entries), err, written+5)
	}
	if err := s.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestNameTooLong(t *testing.T) {
	s := opened(t)
	long := strings.Repeat("x", maxName+1)
	for _, b := range []bridge.Batch{
		{Claims: []bridge.Claim{{Key: long}}},
		{Claims: []bridge.Claim{{Session: long}}},
		{Events: []bridge.Event{message(long, "a")}},
		{Rows: []bridge.Row{{Table: "t", Key: long, Value: []byte("x")}}},
		{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("x"), Session: long}}},
		{Progress: bridge.Progress{Lane: long}},
		{Progress: bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 1, Target: long}}}},
	} {
		if _, err := s.Commit(t.Context(), b); !errors.Is(err, errName) || errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("Commit: %v", err)
		}
	}
	fits := strings.Repeat("x", maxName)
	if _, err := s.Commit(t.Context(), bridge.Batch{
		Claims:   []bridge.Claim{{Session: fits, Key: fits}},
		Rows:     []bridge.Row{{Table: fits, Key: fits, Value: []byte("x"), Session: fits}},
		Progress: bridge.Progress{Lane: fits, Done: []bridge.Mark{{Seq: 1, Target: fits}}},
	}); err != nil {
		t.Error(err)
	}
}

func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.db")
	s := open(t, path, Options{})
	ctx := t.Context()
	var events []bridge.Event
	for i := range 3000 {
		events = append(events, message("s", strings.Repeat(fmt.Sprint(i), 500)))
	}
	r, err := s.Commit(ctx, bridge.Batch{
		Events:   events,
		Claims:   []bridge.Claim{{Session: "s", Key: "m"}},
		Rows:     []bridge.Row{{Table: "t", Key: "k", Value: []byte{}, Session: "s"}},
		Progress: bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: 3}, {Seq: 4, Target: "x"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Seqs[len(r.Seqs)-1]
	if err := s.Trim(ctx, last); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".compact", []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}

	before, after, err := Compact(path)
	if err != nil || after >= before/4 {
		t.Fatalf("Compact: %d → %d, %v", before, after, err)
	}
	if _, err := os.Stat(path + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file: %v", err)
	}
	s = open(t, path, Options{})
	defer func() { _ = s.Close() }()
	if entries, err := s.Read(ctx, 0, 10, 0); err != nil || len(entries) != 1 || entries[0].Seq != last {
		t.Errorf("Read: %v, %v", entries, err)
	}
	if got, err := s.Last(ctx); err != nil || got != last {
		t.Errorf("Last: %d, %v", got, err)
	}
	if lane, err := s.Lane(ctx, "l"); err != nil || len(lane.Done) != 2 {
		t.Errorf("Lane: %+v, %v", lane, err)
	}
	if claimed, err := s.Claimed(ctx, "s", "m"); err != nil || claimed[0] != r.Seqs[0] {
		t.Errorf("Claimed: %v, %v", claimed, err)
	}
	if err := s.ForgetSession(ctx, "s"); err != nil {
		t.Error(err)
	}
	if value, err := s.Get(ctx, "t", "k"); err != nil || value != nil {
		t.Errorf("Get: %q, %v", value, err)
	}
	if _, _, err := Compact(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Compact of nothing: %v", err)
	}
}

// BenchmarkCommit is the cost of an accept: 64 goroutines, each with an event of 500 bytes and a claim.
func BenchmarkCommit(b *testing.B) {
	s := opened(b)
	var n atomic.Int64
	body := json.RawMessage(`{"text":"` + strings.Repeat("x", 490) + `"}`)
	b.SetParallelism(32) // of 2 processors
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			session := fmt.Sprint("session-", i%1000)
			_, err := s.Commit(context.Background(), bridge.Batch{
				Claims: []bridge.Claim{{Session: session, Key: fmt.Sprint("visitor_message/", i)}},
				Events: []bridge.Event{{Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Body: body}},
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPut is the floor under it: the same bytes, one put each, in the same groups.
func BenchmarkPut(b *testing.B) {
	db, err := openFile(filepath.Join(b.TempDir(), "bare.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := prepare(db); err != nil {
		b.Fatal(err)
	}
	group := store.NewGroup(groupCalls, groupBytes, func(calls []*store.Call[[]byte]) {
		err := db.Update(func(tx *bbolt.Tx) error {
			log := tx.Bucket([]byte(bucketLog))
			log.FillPercent = 1
			for _, c := range calls {
				n, err := log.NextSequence()
				if err != nil {
					return err
				}
				if err := log.Put(seqBytes(bridge.Seq(n)), c.Payload); err != nil {
					return err
				}
			}
			return nil
		})
		for _, c := range calls {
			c.Err = err
		}
	})
	defer group.Close()
	value := []byte(strings.Repeat("x", 600))
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := group.Commit(context.Background(), value, len(value)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
