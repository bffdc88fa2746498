package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/export"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// movable is what both stores are.
type movable interface {
	store.Store
	store.Movable
}

// place is an empty place of a store's: with open it is opened, with fill it gets what was exported.
type place struct {
	open func(t *testing.T) movable
	fill func(t *testing.T, next func() (store.Item, error)) error
}

func boltPlace(t *testing.T) place {
	path := filepath.Join(t.TempDir(), "bridge.db")
	return place{
		func(t *testing.T) movable {
			s, err := bolt.Open(path, bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		},
		func(_ *testing.T, next func() (store.Item, error)) error { return bolt.Import(path, next) },
	}
}

func redisPlaces(t *testing.T) func(t *testing.T) place {
	server, n := redistest.Start(t), 0
	return func(*testing.T) place {
		n++
		url := server.Database(n)
		open := func(t *testing.T) *redis.Store {
			s, err := redis.Open(t.Context(), url, redis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			return s
		}
		return place{
			func(t *testing.T) movable { return open(t) },
			func(t *testing.T, next func() (store.Item, error)) error {
				return open(t).Import(t.Context(), "lane/", next)
			},
		}
	}
}

// places are the kinds of stores.
func places(t *testing.T) map[string]func(t *testing.T) place {
	return map[string]func(t *testing.T) place{"bolt": boltPlace, "redis": redisPlaces(t)}
}

func commit(t *testing.T, s store.Store, b bridge.Batch) bridge.Result {
	t.Helper()
	result, err := s.Commit(t.Context(), b)
	if err != nil || result.Duplicate {
		t.Fatalf("%+v %v", result, err)
	}
	return result
}

// fillStore puts something of every kind into a store, more of it than one page has, and a lane that waits.
func fillStore(t *testing.T, s store.Store) (cursor bridge.Seq) {
	t.Helper()
	var at atomic.Uint64
	var all sync.WaitGroup
	one := func(i int) {
		session := fmt.Sprintf("s-%04d \xff\"<é>", i) // not all of it is UTF-8
		b := bridge.Batch{
			Claims: []bridge.Claim{{Session: session, Key: "visitor_message/m", Sum: "x:y"}, {Key: fmt.Sprint("update/", i), Sum: "sum"}},
			Events: []bridge.Event{{Type: bridge.TypeVisitorMessage, Origin: "app", Session: session, Message: "m", Opens: true,
				Body: []byte(`{"message":"` + strings.Repeat("é\n", i%7) + "\x00\xfe" + `"}`)}},
			Rows: []bridge.Row{
				{Table: "threads", Key: "telegram/" + session, Session: session, Value: []byte{0, 0xff, '\n', byte(i)}},
				{Table: "by-time", Key: fmt.Sprintf("%06d", i), Session: session, Value: []byte{}},
				{Table: "presence", Key: fmt.Sprint("operator/", i), Value: []byte(`{"a":1}`)},
			},
		}
		result, err := s.Commit(t.Context(), b)
		if err == nil {
			_, err = s.Commit(t.Context(), bridge.Batch{Progress: bridge.Progress{
				Lane: "callbacks", Done: []bridge.Mark{{Seq: result.Seqs[0], Target: "app/1"}, {Seq: result.Seqs[0]}},
			}})
		}
		if err != nil {
			t.Error(err)
			return
		}
		if i == 300 {
			at.Store(uint64(result.Seqs[0]))
		}
	}
	for first := range 100 { // side by side, as commits are quick
		all.Go(func() {
			for i := first; i < 700; i += 100 {
				one(i)
			}
		})
	}
	all.Wait()
	cursor = bridge.Seq(at.Load())
	commit(t, s, bridge.Batch{Progress: bridge.Progress{Lane: "telegram", Cursor: cursor}})
	if err := s.Trim(t.Context(), cursor); err != nil {
		t.Fatal(err)
	}
	return cursor
}

// items returns everything that a store keeps, in one order, without repeats.
func items(t *testing.T, s store.Movable, c store.Cut) []string {
	t.Helper()
	var all []string
	err := s.Export(t.Context(), c, func(i store.Item) error {
		all = append(all, fmt.Sprintf("%+v", i))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// carry writes an export of a store and fills another with it.
func carry(t *testing.T, from store.Movable, to place) []byte {
	t.Helper()
	var stream bytes.Buffer
	if _, err := export.Write(t.Context(), &stream, from, store.Cut{}, export.Header{MadeBy: "test"}); err != nil {
		t.Fatal(err)
	}
	r, err := export.NewReader(bytes.NewReader(stream.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if err := to.fill(t, r.Next); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

// All that one store keeps another has afterwards, and works with it.
func TestCarried(t *testing.T) {
	kinds := places(t)
	first := kinds["bolt"](t).open(t)
	cursor := fillStore(t, first)
	want := items(t, first, store.Cut{})
	if len(want) < 700*8 {
		t.Fatalf("%d items", len(want))
	}
	last := first
	for _, kind := range []string{"redis", "redis", "bolt", "bolt"} {
		to := kinds[kind](t)
		carry(t, last, to)
		last = to.open(t)
		if diff := cmp.Diff(want, items(t, last, store.Cut{})); diff != "" {
			t.Fatalf("into %s: %s", kind, diff)
		}
	}
	for name, s := range map[string]store.Store{"as it was": first, "carried": last} {
		state, err := s.Lane(t.Context(), "telegram")
		if err != nil || state.Cursor != cursor {
			t.Errorf("%s: %+v %v", name, state, err)
		}
		again, err := s.Commit(t.Context(), bridge.Batch{
			Claims: []bridge.Claim{{Session: "s-0500 \xff\"<é>", Key: "visitor_message/m", Sum: "x:y"}},
			Events: []bridge.Event{{Type: bridge.TypeVisitorMessage, Origin: "app"}},
		})
		if err != nil || !again.Duplicate || again.First == 0 {
			t.Errorf("%s: a repeat is %+v %v", name, again, err)
		}
		before, err := s.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if next := commit(t, s, bridge.Batch{Events: []bridge.Event{{Type: bridge.TypeCustomEvent, Origin: "app"}}}); next.Seqs[0] <= before {
			t.Errorf("%s: %v after %v", name, next.Seqs, before)
		}
		rows, err := s.List(t.Context(), "by-time", "000698", 10)
		if err != nil || len(rows) != 1 {
			t.Errorf("%s: %v %v", name, rows, err)
		}
		if err := s.ForgetSession(t.Context(), "s-0500 \xff\"<é>"); err != nil {
			t.Fatal(err)
		}
		if value, err := s.Get(t.Context(), "threads", "telegram/s-0500 \xff\"<é>"); value != nil || err != nil {
			t.Errorf("%s: what a session owned is there still: %q %v", name, value, err)
		}
	}
}

// An empty log has an end all the same, and no event's number is given twice.
func TestLogsEnd(t *testing.T) {
	kinds := places(t)
	for _, way := range [][2]string{{"bolt", "redis"}, {"redis", "bolt"}, {"redis", "redis"}} {
		from, to := kinds[way[0]](t).open(t), kinds[way[1]](t)
		last := commit(t, from, bridge.Batch{Events: []bridge.Event{{Type: bridge.TypeCustomEvent, Origin: "app"}}}).Seqs[0]
		if err := from.Trim(t.Context(), last+1); err != nil {
			t.Fatal(err)
		}
		carry(t, from, to)
		s := to.open(t)
		if end, err := s.Last(t.Context()); end != last || err != nil {
			t.Errorf("%v: %v %v, want %v", way, end, err, last)
		}
		if n, _, err := s.LogSize(t.Context()); n != 0 || err != nil {
			t.Errorf("%v: %d entries, %v", way, n, err)
		}
	}
}

// A stream that is cut off or changed anywhere fills nothing, and says so.
func TestNotWhole(t *testing.T) {
	kinds := places(t)
	from := kinds["bolt"](t).open(t)
	for i := range 3 {
		commit(t, from, bridge.Batch{
			Rows: []bridge.Row{{Table: "t", Key: fmt.Sprint(i), Value: []byte("value")}}, Events: []bridge.Event{{Type: bridge.TypeCustomEvent, Origin: "app"}},
		})
	}
	var whole bytes.Buffer
	if _, err := export.Write(t.Context(), &whole, from, store.Cut{}, export.Header{}); err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) error {
		r, err := export.NewReader(bytes.NewReader(data))
		for err == nil {
			_, err = r.Next()
		}
		return err
	}
	if err := read(whole.Bytes()); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for n := range whole.Len() {
		if err := read(whole.Bytes()[:n]); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("cut off at %d: %v", n, err)
		}
		if changed := bytes.Clone(whole.Bytes()); true {
			changed[n] ^= 1
			if err := read(changed); err == nil || errors.Is(err, io.EOF) && n < whole.Len()-1 {
				t.Fatalf("changed at %d: %v", n, err)
			}
		}
	}
	if err := read([]byte(`{"format":"pocketping-bridge-export","version":2}` + "\n")); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Error(err)
	}
	half := whole.Bytes()[:whole.Len()*2/3]
	for name, kind := range kinds {
		to := kind(t)
		r, err := export.NewReader(bytes.NewReader(half))
		if err != nil {
			t.Fatal(err)
		}
		if err := to.fill(t, r.Next); !errors.Is(err, export.ErrCutOff) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "redis" { // a part of it is there, and nobody takes it for all
			s := to.open(t)
			if _, err := s.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("v")}}}); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("half a store takes writes: %v", err)
			}
			if err := s.Ping(t.Context()); !errors.Is(err, bridge.ErrUnavailable) || !strings.Contains(err.Error(), "import") {
				t.Errorf("half a store is well: %v", err)
			}
		}
		carry(t, from, to) // the next one is not held up by it
		if diff := cmp.Diff(items(t, from, store.Cut{}), items(t, to.open(t), store.Cut{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What a bridge has accepted is not replaced; what it has made of itself at its start is.
func TestNotEmpty(t *testing.T) {
	nothing := func() (store.Item, error) { return store.Item{}, io.EOF }
	for name, kind := range places(t) {
		to := kind(t)
		with := func(b bridge.Batch) {
			t.Helper()
			s := to.open(t)
			commit(t, s, b)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		with(bridge.Batch{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("v")}}, Progress: bridge.Progress{Lane: "l", Cursor: 1}})
		if err := to.fill(t, nothing); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := items(t, to.open(t), store.Cut{}); len(got) != 1 {
			t.Errorf("%s: left over: %v", name, got)
		}
	}
	for name, kind := range places(t) {
		for _, b := range []bridge.Batch{
			{Events: []bridge.Event{{Type: bridge.TypeCustomEvent, Origin: "app"}}},
			{Rows: []bridge.Row{{Table: "t", Key: "k", Session: "s", Value: []byte("v")}}},
		} {
			to := kind(t)
			s := to.open(t)
			commit(t, s, b)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := to.fill(t, nothing); !errors.Is(err, store.ErrNotEmpty) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	to := redisPlaces(t)(t)
	if held, err := to.open(t).Acquire(t.Context(), bridge.Lease{Name: "lane/telegram", Token: "other"}, time.Hour); !held || err != nil {
		t.Fatal(held, err)
	}
	if err := to.fill(t, nothing); !errors.Is(err, store.ErrInUse) {
		t.Errorf("beside a bridge: %v", err)
	}
}

// A final export waits for who holds a lease, and closes the store; one that fails opens it again.
func TestFinal(t *testing.T) {
	for name, kind := range places(t) {
		t.Run(name, func(t *testing.T) {
			place := kind(t)
			s := place.open(t)
			lane, other := bridge.Lease{Name: "lane/telegram", Token: "me"}, bridge.Lease{Name: "lane/slack", Token: "me"}
			hold := func(l bridge.Lease) (bool, error) { return s.Acquire(t.Context(), l, time.Hour) }
			write := func() error {
				_, err := s.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{{Table: "t", Key: "k", Value: []byte("v")}}})
				return err
			}
			if held, err := hold(lane); !held || err != nil {
				t.Fatal(held, err)
			}
			failing := errors.New("no room")
			exported := make(chan error)
			run := func(fail error) {
				exported <- s.Export(context.WithoutCancel(t.Context()), store.Cut{Final: true, Leases: "lane/"}, func(store.Item) error {
					if fail == nil {
						if err := write(); !errors.Is(err, bridge.ErrUnavailable) {
							t.Errorf("a write while it is read: %v", err)
						}
					}
					return fail
				})
			}
			end := func(fail error) {
				go run(fail)
				for { // until it is asked to end
					held, err := hold(lane)
					if errors.Is(err, store.ErrMoving) && held {
						break
					}
					if err != nil || !held {
						t.Fatal(held, err)
					}
				}
				if held, err := hold(other); held || !errors.Is(err, store.ErrMoving) {
					t.Errorf("a lease is had anew: %v %v", held, err)
				}
				if err := write(); err != nil {
					t.Errorf("what was under way is not recorded: %v", err)
				}
				if err := s.Release(t.Context(), lane); err != nil {
					t.Error(err)
				}
			}
			end(failing)
			if err := <-exported; !errors.Is(err, failing) {
				t.Error(err)
			}
			if err := write(); err != nil {
				t.Errorf("after one that failed: %v", err)
			}
			if held, err := hold(lane); !held || err != nil {
				t.Error(held, err)
			}
			end(nil)
			if err := <-exported; err != nil {
				t.Fatal(err)
			}
			closed := func(when string) {
				t.Helper()
				if err := write(); !errors.Is(err, bridge.ErrUnavailable) {
					t.Errorf("%s: a write: %v", when, err)
				}
				if err := s.Ping(t.Context()); !errors.Is(err, store.ErrMoved) {
					t.Errorf("%s: a ping: %v", when, err)
				}
				if held, err := hold(lane); held || !errors.Is(err, store.ErrMoving) {
					t.Errorf("%s: a lease: %v %v", when, held, err)
				}
				if at, moved, err := s.Moved(t.Context()); !moved || err != nil || time.Since(at).Abs() > time.Hour {
					t.Errorf("%s: %v %v %v", when, at, moved, err)
				}
			}
			closed("afterwards")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = place.open(t)
			closed("opened again")
			if got := items(t, s, store.Cut{Final: true}); len(got) < 2 {
				t.Errorf("it cannot be exported once more: %v", got)
			}
			if err := s.Reopen(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := write(); err != nil {
				t.Errorf("reopened: %v", err)
			}
		})
	}
}

// What is written while a copy is made is in it wholly or not at all, with everything before it.
func TestOneMoment(t *testing.T) {
	for name, kind := range places(t) {
		t.Run(name, func(t *testing.T) {
			s := kind(t).open(t)
			stop, ended := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(ended)
				for i := 0; ; {
					select {
					case <-stop:
						return
					default:
					}
					n := fmt.Sprint(i)
					_, err := s.Commit(context.WithoutCancel(t.Context()), bridge.Batch{
						Claims: []bridge.Claim{{Session: "s" + n, Key: "k"}}, Events: []bridge.Event{{Type: bridge.TypeCustomEvent, Origin: "app", Message: n, Session: "s" + n}},
						Rows: []bridge.Row{{Table: "t", Key: n, Value: []byte(n)}},
					})
					switch {
					case err == nil: // or it was written already
						i++
					case !errors.Is(err, bridge.ErrUnavailable): // else it has waited for long, and is written again
						t.Errorf("%d: %v", i, err)
						return
					}
				}
			}()
			for range 5 {
				counts := map[store.Kind]int{}
				seen := map[string]bool{}
				err := s.Export(t.Context(), store.Cut{}, func(i store.Item) error {
					if line := fmt.Sprintf("%+v", i); !seen[line] {
						seen[line] = true
						counts[i.Kind]++
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if n := counts[store.KindRow]; counts[store.KindClaim] != n || counts[store.KindEntry] != n || counts[store.KindLastWord] != n {
					t.Errorf("%v", counts)
				}
			}
			close(stop)
			<-ended
		})
	}
}
