package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// outage is a sink whose destination takes what the test says, and that looks at how much its lane has in memory.
type outage struct {
	engine *engine.Engine
	sink   engine.Sink // itself, or what it is a part of

	mu      sync.Mutex
	refuses func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result) // nil, nil: it takes it
	next    map[string]int                                                  // by session
	taken   int
	doubted int // attempts for events that may have been sent already
	most    int // in memory
	faults  []string
	at      map[int]func() // what happens when so many are taken
}

func newOutage() *outage {
	s := &outage{next: map[string]int{}, at: map[int]func(){}}
	s.sink = s
	return s
}

func (s *outage) Limits() bridge.Limits { return bridge.Limits{Concurrency: 8} }

func (s *outage) Kind(e bridge.Entry) bridge.Kind {
	if e.Event.Type == bridge.TypeVisitorMessage {
		return bridge.KindMessage
	}
	return bridge.KindNone
}

func (s *outage) Attempt(_ context.Context, d engine.Delivery, _ engine.Peek) (engine.Result, error) {
	held := s.engine.Held("sink")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(s.most, held)
	if !d.PossiblySent.IsZero() {
		s.doubted++
	}
	if s.refuses != nil {
		if err, res := s.refuses(d); err != nil {
			return engine.Result{Op: "take"}, err
		} else if res != nil {
			return *res, nil
		}
	}
	session := d.Entry.Event.Session
	if n, _ := strconv.Atoi(d.Entry.Event.Message); n != s.next[session] && len(s.faults) < 10 {
		s.faults = append(s.faults, fmt.Sprintf("%s gets %d and not %d", session, n, s.next[session]))
	}
	s.next[session]++
	s.taken++
	if then := s.at[s.taken]; then != nil {
		then()
	}
	return engine.Result{Op: "take", Done: true}, nil
}

func (s *outage) refuse(refuses func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = refuses
}

// dead is a destination that is gone as a whole.
func dead(engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
	return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: "take", Detail: "gone"}, nil
}

// seen fails the test unless so many were taken, in order, and no more were in memory than may be.
func (s *outage) seen(t *testing.T, taken, most int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range s.faults {
		t.Error(fault)
	}
	if s.taken != taken {
		t.Errorf("%d of %d were taken", s.taken, taken)
	}
	if s.most > most {
		t.Errorf("%d were in memory at the same time, not %d at most", s.most, most)
	}
}

// readAhead is how many events are in memory in tests.
const readAhead = 1000

// full is how many may be: the last page is read whole.
const full = readAhead + engine.TailPage

// waiting is a store in whose log n messages wait, the i-th of the session that of says.
func waiting(t *testing.T, n int, of func(i int) string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "bridge.db")
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	said := map[string]int{}
	const together = 2000
	for from := 0; from < n; from += together {
		var b bridge.Batch
		for i := from; i < min(from+together, n); i++ {
			session := of(i)
			b.Events = append(b.Events, bridge.Event{
				Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Message: strconv.Itoa(said[session]), Body: []byte(`{"content":"hello"}`),
			})
			said[session]++
		}
		if _, err := store.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Commit(t.Context(), bridge.Batch{Progress: bridge.Progress{Lane: "sink", Cursor: 1}}); err != nil {
		t.Fatal(err)
	}
	return path
}

// process runs a bridge on a store while test runs.
func (s *outage) process(t *testing.T, path string, most int, test func(e *engine.Engine)) {
	t.Helper()
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	e := engine.New(engine.Options{Store: store, ReadAhead: most, Log: slog.New(slog.DiscardHandler)})
	e.AddLane(engine.LaneOptions{Name: "sink", Sink: s.sink, Dedupes: true})
	s.engine = e
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { e.Run(ctx) })
	test(e)
	stop()
	work.Wait()
}

// What waits for a destination that is gone waits in the log, and takes memory for a part of it alone. All of it is told, and all of it
// arrives, once and in order, though the bridge ends in the middle.
func TestOutageInPages(t *testing.T) {
	t.Parallel()
	n, sessions, most := 10*readAhead, 2*readAhead, readAhead
	if soak.Asked() {
		n, sessions, most = 300_000, 6000, engine.ReadAheadMost
	}
	synctest.Test(t, func(t *testing.T) {
		path := waiting(t, n, func(i int) string { return fmt.Sprint("s", i%sessions) })
		s := newOutage()
		s.refuse(dead)
		s.process(t, path, most, func(e *engine.Engine) {
			time.Sleep(10 * time.Minute)
			if h := e.Health()[0]; h.Waiting != n || h.State != "paused" {
				t.Errorf("%d wait, %s", h.Waiting, h.State)
			}
			if held := e.Held("sink"); held < most || held > most+engine.TailPage {
				t.Errorf("%d are in memory", held)
			}
			half := make(chan struct{})
			s.mu.Lock()
			s.at[n/2] = func() { close(half) }
			s.refuses, s.doubted = nil, 0
			s.mu.Unlock()
			<-half
		})
		s.process(t, path, most, func(e *engine.Engine) {
			time.Sleep(10 * time.Minute)
			if h := e.Health()[0]; h.Waiting != 0 {
				t.Errorf("%d wait", h.Waiting)
			}
		})
		s.seen(t, n, most+engine.TailPage)
		// Of each session one call may have been made by the process before, however often its events are read in two times.
		if s.doubted > 2*sessions+sessions/10 {
			t.Errorf("%d calls were made for what may have been sent already", s.doubted)
		}
	})
}

// What passes its time in the log becomes dead letters, as what has passed it in memory.
func TestOutagePassesItsTimeInPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 5 * readAhead
		path := waiting(t, n, func(i int) string { return fmt.Sprint("s", i%200) })
		s := newOutage()
		s.refuse(dead)
		time.Sleep(24 * time.Hour)
		s.process(t, path, readAhead, func(e *engine.Engine) {
			time.Sleep(10 * time.Minute)
			given := map[string]bool{}
			for next := ""; ; {
				page, err := e.Deliveries(t.Context(), bridge.DeliveryQuery{State: bridge.StateFailed, Max: 1000, After: next})
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range page.Deliveries {
					given[d.ID] = true
				}
				if next = page.Next; next == "" {
					break
				}
			}
			if len(given) != n {
				t.Errorf("%d of %d are given up", len(given), n)
			}
			if h := e.Health()[0]; h.Waiting != 0 {
				t.Errorf("%d wait", h.Waiting)
			}
		})
		s.seen(t, 0, full)
	})
}

// Where the destination works and all that was read waits for something of its own, the lane reads on: others wait behind it in the log.
func TestReadsPastWhatWaitsForItself(t *testing.T) {
	t.Parallel()
	for name, refuses := range map[string]func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result){
		"sessions that fail": func(engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeSession, Op: "take", Detail: "its thread"}, nil
		},
		"calls of a kind that is refused": func(engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
			return nil, &engine.Result{Idle: true, Blocked: engine.OpOpenThread, Until: time.Now().Add(time.Minute)}
		},
		"what it refers to": func(engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
			return nil, &engine.Result{Idle: true, Defer: &engine.Deferral{Key: "never", AtMost: time.Minute}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const blocked, others = 3 * readAhead, 100
				path := waiting(t, blocked+others, func(i int) string {
					if i < blocked {
						return fmt.Sprint("blocked", i%50)
					}
					return fmt.Sprint("other", i)
				})
				s := newOutage()
				s.refuse(func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
					if strings.HasPrefix(d.Entry.Event.Session, "blocked") {
						return refuses(d)
					}
					return nil, nil
				})
				s.process(t, path, readAhead, func(e *engine.Engine) {
					time.Sleep(time.Minute)
					s.seen(t, others, blocked+others)
					if h := e.Health()[0]; h.Waiting != blocked {
						t.Errorf("%d wait", h.Waiting)
					}
				})
			})
		})
	}
}

// A destination that is gone is not taken for one that has nothing to do, though one session alone has filled the memory.
func TestOneSessionFillsTheMemory(t *testing.T) {
	t.Parallel()
	for name, refuses := range map[string]func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result){
		"gone": dead,
		"asks for time": func(engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
			return &bridge.DeliveryError{
				Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: "take", Detail: "slowly", RetryAfter: 10 * time.Second,
			}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const n = 10 * readAhead
				path := waiting(t, n, func(int) string { return "one" })
				s := newOutage()
				s.refuse(refuses)
				s.process(t, path, readAhead, func(e *engine.Engine) {
					time.Sleep(10 * time.Minute)
					if held := e.Held("sink"); held > full {
						t.Errorf("%d are in memory", held)
					}
				})
				s.seen(t, 0, full)
			})
		})
	}
}

// One event that waits for itself while all behind it are done holds up the cursor, and not the reading.
func TestReadsPastOneThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 4 * readAhead
		path := waiting(t, n, func(i int) string { return fmt.Sprint("s", min(i, 1)*(1+i%20)) })
		s := newOutage()
		stuck := func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
			if d.Entry.Event.Session != "s0" {
				return nil, nil
			}
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeSession, Op: "take", Detail: "its thread"}, nil
		}
		s.refuse(stuck)
		for range 2 { // and none of them comes again where the next process begins at the cursor
			s.process(t, path, readAhead, func(e *engine.Engine) {
				time.Sleep(time.Minute)
				if h := e.Health()[0]; h.Waiting != 1 {
					t.Errorf("%d wait", h.Waiting)
				}
			})
			s.seen(t, n-1, full)
		}
	})
}

// several is an outage with two targets, of which one is gone.
type several struct{ *outage }

func (several) Targets(engine.Queued) []string { return []string{"gone", "works"} }

func (several) Awaits(engine.Queued) bool { return true }

func (several) TargetsKept(context.Context, engine.Queued) ([]string, error) {
	return []string{"gone", "works"}, nil
}

func (several) Changed() <-chan struct{} { return nil }

func (several) EverHadTarget() bool { return true }

func (several) Unwanted(context.Context, time.Time) (bridge.Seq, bool) { return 0, false }

// A lane with several targets reads all: what waits for one of them keeps nothing from the others.
func TestSeveralTargetsReadAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 2 * readAhead
		path := waiting(t, n, func(i int) string { return fmt.Sprint("s", i%20) })
		s := newOutage()
		s.sink = several{s}
		s.refuse(func(d engine.Delivery) (*bridge.DeliveryError, *engine.Result) {
			if d.Target == "works" {
				return nil, nil
			}
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeSession, Op: "take", Detail: "gone"}, nil
		})
		s.process(t, path, readAhead, func(*engine.Engine) {
			time.Sleep(time.Minute)
		})
		s.seen(t, n, n)
	})
}
