package relay_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// A long word whose answer was lost is sent again with whom it called, whoever is there by then, so that it is cut where it was cut before.
// The next process knows whom it called.
func TestWordWhoseAnswerIsLostCallsTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		word    string
		restart bool
		want    []string
	}{
		"in one process":      {message("s", "m1", "one two three"), false, []string{"@u-Ana one", "@u-Ana one", " two three"}},
		"in the next process": {message("s", "m1", "one two three"), true, []string{"@u-Ana one", "@u-Ana one", " two three"}},
		"with a file":         {withFiles("s", "m1", "one two", "f-0s"), true, []string{"@u-Ana one", "@u-Ana one", " two\n[file", " f]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inCalledTeam(t, func(t *testing.T, tm *team) {
				p := tm.places["telegram"]
				tm.say("telegram", "main", "Ana", "/online")
				tm.ingest(message("s", "m0", "hi"))
				synctest.Wait()
				p.PartSize = len("@u-Ana one")
				thread := tm.thread("telegram", "s")
				first := len(p.Texts(thread))
				var losing atomic.Bool
				losing.Store(true)
				p.Hook(bridgetest.OpSend, func(_ context.Context, call bridgetest.Call) error {
					if call.Thread == thread && losing.CompareAndSwap(true, false) {
						return bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession))
					}
					return nil
				})
				tm.ingest(c.word)
				synctest.Wait()
				if losing.Load() {
					t.Fatal("nothing was sent")
				}
				tm.say("telegram", "main", "Ana", "/offline")
				if c.restart {
					tm.again(time.Second)
				}
				time.Sleep(5 * time.Minute)
				want(t, p.Texts(thread)[first:], c.want...)
			})
		})
	}
}
