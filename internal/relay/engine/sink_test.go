package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// collector is a new sink: it wants every event, and takes each at the third attempt.
type collector struct {
	mu    sync.Mutex
	tries map[bridge.Seq]int
	got   map[string][]string // by session
}

func (c *collector) Limits() bridge.Limits { return bridge.Limits{Concurrency: 4} }

func (c *collector) Kind(bridge.Entry) bridge.Kind { return bridge.KindMessage }

func (c *collector) Attempt(_ context.Context, d engine.Delivery, _ engine.Peek) (engine.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := d.Entry
	if c.tries[e.Seq]++; c.tries[e.Seq] < 3 {
		return engine.Result{Op: "collect"}, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeSession, Op: "collect", Detail: "not yet"}
	}
	c.got[e.Event.Session] = append(c.got[e.Event.Session], e.Event.Message)
	return engine.Result{Op: "collect", Done: true}, nil
}

// A new sink is three methods: it gets every event, each session's in order, again when it fails, and by another process what the one
// before has not delivered.
func TestNewSink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bridge.db")
	sink := &collector{tries: map[bridge.Seq]int{}, got: map[string][]string{}}
	want := map[string][]string{}
	for process := range 2 {
		synctest.Test(t, func(t *testing.T) {
			delivering(t, path, sink, func(ctx context.Context, e *engine.Engine) {
				for i := range 20 {
					ev := bridge.Event{
						Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: fmt.Sprint("s", i%3), Message: fmt.Sprint(process, "-", i),
						Body: []byte(`{"content":"hello"}`),
					}
					if _, err := e.Commit(ctx, bridge.Batch{Events: []bridge.Event{ev}}); err != nil {
						t.Fatal(err)
					}
					want[ev.Session] = append(want[ev.Session], ev.Message)
				}
				if process > 0 { // the first one ends in the middle
					time.Sleep(time.Minute)
				}
			})
		})
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	for session, messages := range want {
		if got := sink.got[session]; !slices.Equal(got, messages) {
			t.Errorf("%s: it got %q, want %q", session, got, messages)
		}
	}
}

// delivering runs an engine with one lane, which delivers to sink, while meanwhile runs.
func delivering(t *testing.T, path string, sink engine.Sink, meanwhile func(context.Context, *engine.Engine)) {
	t.Helper()
	store, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	e := engine.New(engine.Options{Store: store, Log: slog.New(slog.DiscardHandler)})
	e.AddLane(engine.LaneOptions{Name: "sink", Sink: sink})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { e.Run(ctx) })
	meanwhile(ctx, e)
	stop()
	work.Wait()
}
