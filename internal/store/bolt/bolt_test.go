package bolt

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
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
	// It is not well, though it has room for less than what was refused.
	if _, err := s.Commit(ctx, bridge.Batch{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("small")}}}); err != nil {
		t.Errorf("Commit: %v", err)
	}
	for range 2 {
		if err := s.Ping(ctx); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("Ping: %v", err)
		}
	}

	s.db.MaxSize = 0
	for range 2 {
		if err := s.Ping(ctx); err != nil {
			t.Errorf("Ping: %v", err)
		}
	}
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

// TestTightenedAtStart has a file that is mostly empty, and two that are not worth it.
func TestTightenedAtStart(t *testing.T) {
	for _, test := range []struct {
		name            string
		events, trimmed int // of 16 KiB each
		tightened       bool
	}{
		{"large and mostly empty", 1500, 1400, true},
		{"large and in use", 1500, 400, false},
		{"small", 300, 300, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bridge.db")
			s := open(t, path, Options{})
			ctx := t.Context()
			var seqs []bridge.Seq
			for len(seqs) < test.events {
				var b bridge.Batch
				for range 50 {
					b.Events = append(b.Events, message("s", strings.Repeat("x", 16<<10)))
				}
				r, err := s.Commit(ctx, b)
				if err != nil {
					t.Fatal(err)
				}
				seqs = append(seqs, r.Seqs...)
			}
			if err := s.Trim(ctx, append(seqs, seqs[len(seqs)-1]+1)[test.trimmed]); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+compacting, []byte("left behind"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := size(t, path)
			var log bytes.Buffer
			s = open(t, path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			defer func() { _ = s.Close() }()
			after := size(t, path)
			if said := strings.Contains(log.String(), "is compacted"); said != test.tightened || test.tightened != (after < before/2) {
				t.Errorf("%d → %d bytes, and it said %q", before, after, &log)
			}
			if _, err := os.Stat(path + compacting); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the temporary file: %v", err)
			}
			entries, err := s.Read(ctx, 0, test.events+1, 0)
			if err != nil || len(entries) != test.events-test.trimmed {
				t.Errorf("%d entries, %v", len(entries), err)
			}
			if r, err := s.Commit(ctx, bridge.Batch{Events: []bridge.Event{message("s", "next")}}); err != nil || r.Seqs[0] <= seqs[len(seqs)-1] {
				t.Errorf("Commit: %+v, %v", r, err)
			}
			if _, err := Open(path, Options{}); !errors.Is(err, errInUse) {
				t.Errorf("a second one opens it: %v", err)
			}
		})
	}
}

// TestTightenedInUse has everything of a large file forgotten while it is read and written.
func TestTightenedInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.db")
	clock := new(clock)
	s := open(t, path, Options{Now: clock.now})
	ctx := t.Context()
	var last bridge.Seq
	for i := range 30 {
		b := bridge.Batch{Claims: []bridge.Claim{{Session: fmt.Sprint("s", i), Key: "m"}}}
		for range 50 {
			b.Events = append(b.Events, message(fmt.Sprint("s", i), strings.Repeat("x", 16<<10)))
		}
		r, err := s.Commit(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		last = r.Seqs[0]
	}
	before := size(t, path)
	clock.advance(time.Hour)

	ending := make(chan struct{})
	var others sync.WaitGroup
	var answered atomic.Int64
	for w := range 4 {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-ending:
					return
				default:
				}
				b := bridge.Batch{Claims: []bridge.Claim{{Session: fmt.Sprint("w", w), Key: fmt.Sprint(i)}}, Events: []bridge.Event{message(fmt.Sprint("w", w), "y")}}
				r, err := s.Commit(ctx, b)
				if err != nil || r.Duplicate {
					t.Errorf("Commit: %+v, %v", r, err)
					return
				}
				if e, ok, err := s.Entry(ctx, r.Seqs[0]); err != nil || !ok || e.Event.Session != fmt.Sprint("w", w) {
					t.Errorf("Entry: %+v, %v, %v", e, ok, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	if err := s.Trim(ctx, last+1000); err != nil {
		t.Error(err)
	}
	gone, err := s.Forget(ctx, last+1000)
	if err != nil || gone != 30 {
		t.Errorf("Forget: %d, %v", gone, err)
	}
	after := size(t, path)
	seen := answered.Load()
	for answered.Load() < seen+20 && !t.Failed() { // on the new file
		runtime.Gosched()
	}
	close(ending)
	others.Wait()
	if after > before/4 {
		t.Errorf("%d → %d bytes", before, after)
	}
	check := func(s *Store) {
		t.Helper()
		if entries, err := s.Read(ctx, 0, 1_000_000, 0); err != nil || int64(len(entries)) != answered.Load() {
			t.Errorf("%d entries of %d, %v", len(entries), answered.Load(), err)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = open(t, path, Options{})
	defer func() { _ = s.Close() }()
	check(s)
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	n, err := fileSize(path)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestFileStaysItsSize has the same traffic day after day: what is forgotten makes room for what comes.
func TestFileStaysItsSize(t *testing.T) {
	const (
		days, kept  = 24, 5
		sessions    = 20 // a day
		messages    = 8  // of each
		warm, limit = 3 * kept, 1.1
	)
	path := filepath.Join(t.TempDir(), "bridge.db")
	clock := new(clock)
	s := open(t, path, Options{Now: clock.now, pendingKeys: 500})
	defer func() { _ = s.Close() }()
	s.db.NoSync = true // it is about room, not about time
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	used := func() int64 {
		n, err := pagesOf(s.db)
		must(err)
		return n
	}
	var before int64
	for day := range days {
		for i := range sessions * messages {
			session := fmt.Sprintf("%x", md5.Sum(fmt.Append(nil, day, i%sessions))) // like ids: no order
			m := fmt.Sprint("m", i)
			r, err := s.Commit(ctx, bridge.Batch{
				Claims: []bridge.Claim{{Session: session, Key: m}, {Key: fmt.Sprint("update ", day, i)}},
				Events: []bridge.Event{{
					Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Opens: true, Body: json.RawMessage(strings.Repeat("x", 300)),
				}},
				Rows: []bridge.Row{
					{Table: "sessions", Key: session, Value: []byte(strings.Repeat("y", 200)), Session: session},
					{Table: "shown", Key: session + m, Value: []byte(m), Session: session},
				},
			})
			must(err)
			_, err = s.Commit(ctx, bridge.Batch{Progress: bridge.Progress{Lane: "l", Done: []bridge.Mark{{Seq: r.Seqs[0] + 1}}, Cursor: r.Seqs[0]}})
			must(err)
		}
		clock.advance(24 * time.Hour)
		must(s.Trim(ctx, bridge.SeqAt(clock.now().Add(-time.Hour))))
		_, err := s.Forget(ctx, bridge.SeqAt(clock.now().Add(-kept*24*time.Hour)))
		must(err)
		if day == warm {
			before = used()
		}
	}
	if after := used(); float64(after) > limit*float64(before) {
		t.Errorf("after %d days the file has %d bytes, after %d days %d", warm, before, days, after)
	} else {
		t.Logf("%d bytes after %d days, %d after %d", before, warm, after, days)
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
