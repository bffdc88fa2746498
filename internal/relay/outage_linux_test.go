package relay_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// givenUp is a store that counts what is told of dead letters, and how much is written at once.
type givenUp struct {
	relay.Store
	half func() // called when half of them are told

	mu      sync.Mutex
	want    int
	failed  map[string]int // session → message_failed
	notices map[string]int // session → lines in its threads
	letters int
	largest int // events and rows of one write
}

func (g *givenUp) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	res, err := g.Store.Commit(ctx, b)
	if err != nil {
		return res, err
	}
	half := false
	g.mu.Lock()
	before := g.letters
	for _, row := range b.Rows {
		if row.Table == "dead" && row.Value != nil {
			g.letters++
		}
	}
	for _, e := range b.Events {
		switch e.Type {
		case bridge.TypeMessageFailed:
			g.failed[e.Session]++
		case bridge.TypeAnswer:
			if strings.Contains(string(e.Body), "is not shown on Telegram") {
				g.notices[e.Session]++
			}
		}
	}
	g.largest = max(g.largest, len(b.Events)+len(b.Rows))
	half = before < g.want/2 && g.letters >= g.want/2
	g.mu.Unlock()
	if half {
		g.half()
	}
	return res, nil
}

// inUse is the memory that is in use now, without garbage.
func inUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// What waits for a platform for longer than its time becomes dead letters: some at a time, whatever their number, each told in one line and by
// one message_failed. The other platform has it all the while.
func TestBacklogPassesItsTime(t *testing.T) {
	t.Parallel()
	n := 1_000
	if soak.Asked() {
		n = 100_000
	}
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
			return fault(bridge.ReasonTransient, bridge.ScopeDestination)
		})
		other := &place{called: "discord"}
		h.platforms = []bridge.Platform{p, other}
		h.openStore()
		for from := 0; from < n; from += 500 {
			var b bridge.Batch
			for i := from; i < from+500; i++ {
				session := fmt.Sprint("s", i)
				b.Events = append(b.Events, bridge.Event{
					Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: session, Message: "1", Opens: true, Body: []byte(message(session, "1", "hello")),
				})
			}
			if _, err := h.store.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		for _, lane := range []string{"telegram", "discord"} {
			if _, err := h.store.Commit(t.Context(), bridge.Batch{Progress: bridge.Progress{Lane: lane, Cursor: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.store.Close(); err != nil {
			t.Fatal(err)
		}
		var middle int64
		told := &givenUp{want: n, failed: map[string]int{}, notices: map[string]int{}, half: func() { middle = inUse() }}
		h.adjust = func(o *relay.Options) func(context.Context) {
			told.Store = o.Store
			o.Store = told
			return nil
		}
		h.start()
		time.Sleep(23 * time.Hour)
		if got := other.sent.Load(); got != int64(n) {
			t.Errorf("of %d messages the other platform shows %d", n, got)
		}
		if told.letters != 0 {
			t.Errorf("before their time %d are given up", told.letters)
		}
		before := inUse()
		time.Sleep(70 * time.Minute)
		told.mu.Lock()
		defer told.mu.Unlock()
		if told.letters != n || len(told.failed) != n || len(told.notices) != n {
			t.Errorf("of %d: %d dead letters, %d message_failed, %d lines", n, told.letters, len(told.failed), len(told.notices))
		}
		for session, times := range told.failed {
			if times != 1 || told.notices[session] != 1 {
				t.Errorf("of %s it is told %d times by message_failed and in %d lines", session, times, told.notices[session])
			}
		}
		if got := other.sent.Load(); got != int64(2*n) {
			t.Errorf("the other platform shows %d messages and lines, not %d", got, 2*n)
		}
		// A page of 256 letters is told by two events each, beside what else was to be written.
		if told.largest > 1500 {
			t.Errorf("%d events and rows were written at once", told.largest)
		}
		if grown := middle - before; grown > 32<<20 {
			t.Errorf("in the middle %d bytes more are in use than before", grown)
		}
		soak.Row(t, "%d that passed their time: each a dead letter, a line and a message_failed; at most %d events and rows in one write; %.1f MiB in use before, %.1f in the middle",
			n, told.largest, float64(before)/(1<<20), float64(middle)/(1<<20))
	})
}
