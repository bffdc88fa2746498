package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
)

// clumsy is a collector that panics once in each of its methods.
type clumsy struct {
	collector
	panicked map[string]bool
}

func (c *clumsy) trip(where string, e bridge.Entry) {
	c.mu.Lock()
	first := !c.panicked[where] && e.Event.Message == "5"
	c.panicked[where] = c.panicked[where] || first
	c.mu.Unlock()
	if first {
		panic("as the test says")
	}
}

func (c *clumsy) Kind(e bridge.Entry) bridge.Kind {
	c.trip("kind", e)
	return bridge.KindMessage
}

func (c *clumsy) Prepare(_ context.Context, entries []bridge.Entry, _ func(string) bool) error {
	for _, e := range entries {
		c.trip("prepare", e)
	}
	return nil
}

func (c *clumsy) Prefetch(e bridge.Entry) { c.trip("prefetch", e) }

func (c *clumsy) IsText(bridge.Event) bool { return true }

func (c *clumsy) Circumstance(_ context.Context, d engine.Delivery, _ *engine.Circumstance) {
	c.trip("circumstance", d.Entry)
}

func (c *clumsy) React(_ context.Context, _ engine.Act, _ *bridge.DeliveryError, d engine.Delivery) (b bridge.Batch, drop bool, err error) {
	c.trip("react", d.Entry)
	return bridge.Batch{}, false, nil
}

func (c *clumsy) Attempt(ctx context.Context, d engine.Delivery, p engine.Peek) (engine.Result, error) {
	r, err := c.collector.Attempt(ctx, d, p)
	if err != nil {
		err = &bridge.DeliveryError{Reason: bridge.ReasonClosed, Scope: bridge.ScopeSession, Op: "collect", Detail: "closed"}
	}
	return r, err
}

// A panic over an event, in whatever a sink does about it, ends neither the program nor the lane: every event comes, once and in its order.
func TestPanicsOfASinkPass(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bridge.db")
	sink := &clumsy{collector: collector{tries: map[bridge.Seq]int{}, got: map[string][]string{}}, panicked: map[string]bool{}}
	var want []string
	synctest.Test(t, func(t *testing.T) {
		delivering(t, path, sink, func(ctx context.Context, e *engine.Engine) {
			var events []bridge.Event
			for i := range 10 {
				want = append(want, fmt.Sprint(i))
				events = append(events, bridge.Event{
					Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: "s", Message: want[i], Body: []byte(`{"content":"hello"}`),
				})
			}
			if _, err := e.Commit(ctx, bridge.Batch{Events: events}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		})
	})
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if !slices.Equal(sink.got["s"], want) {
		t.Errorf("it got %q", sink.got["s"])
	}
	if len(sink.panicked) != 5 {
		t.Errorf("it panicked in %v", sink.panicked)
	}
}
