package relay_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// hanging lets one callback take ten seconds to fail.
type hanging struct {
	*receivers
	target string

	mu        sync.Mutex
	now, most int
	isOver    bool
}

func (r *hanging) Post(ctx context.Context, target string, e bridge.Entry) error {
	r.mu.Lock()
	hangs := target == r.target && !r.isOver
	if hangs {
		r.now++
		r.most = max(r.most, r.now)
	}
	r.mu.Unlock()
	if !hangs {
		return r.receivers.Post(ctx, target, e)
	}
	time.Sleep(10 * time.Second) // on the bubble's clock
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
	return fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)
}

// atMost returns how many calls hung at the same time at most since it was asked last.
func (r *hanging) atMost() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := r.most
	r.most = r.now
	return most
}

func (r *hanging) over() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isOver = true
}

// failing has a session whose callbacks fail as the test says.
func failing(t *testing.T, ids []string, test func(t *testing.T, h *house, p *bridgetest.Platform, fail func(bool))) {
	t.Helper()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = ids
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		test(t, h, p, func(fail bool) {
			h.receivers.change(func() {
				clear(h.receivers.fails)
				for _, id := range h.receivers.ids {
					if fail {
						h.receivers.fails[id] = fault(bridge.ReasonTransient, bridge.ScopeSession)
					}
				}
			})
		})
	})
}

// told returns what stands in a platform's main place.
func told(p *bridgetest.Platform) []string { return p.Texts(p.MainThread()) }

// spans are how long something took, where the pauses between attempts decide it, which are random.
var spans = strings.NewReplacer("nothing for 80 s", "nothing for 75 s")

// minutes are of hours.
var minutes = regexp.MustCompile(` h [0-9]+ min\.`)

// toldRoundly is told with spans that do not depend on chance.
func toldRoundly(p *bridgetest.Platform) []string {
	out := told(p)
	for i := range out {
		out[i] = minutes.ReplaceAllString(spans.Replace(out[i]), " h.")
	}
	return out
}

func TestOperatorsAreToldOfAFailingCallback(t *testing.T) {
	t.Parallel()
	failing(t, []string{"web-1"}, func(t *testing.T, h *house, p *bridgetest.Platform, fail func(bool)) {
		fail(true)
		p.Say(p.Threads("a")[0], "Ana", "one")
		time.Sleep(time.Minute)
		want(t, toldRoundly(p))
		time.Sleep(time.Minute)
		const down = "⚠️ The callback web-1 has taken nothing for 75 s: as the test says. What is for it waits, and is tried again for three days."
		want(t, toldRoundly(p), down)
		time.Sleep(3 * time.Hour)
		p.Say(p.Threads("a")[0], "Ana", "two")
		time.Sleep(time.Hour)
		want(t, toldRoundly(p), down)
		// Another process says it neither again, nor forgets that it is over.
		h.stop()
		h.start()
		time.Sleep(30 * time.Minute)
		want(t, toldRoundly(p), down)
		fail(false)
		time.Sleep(6 * time.Minute)
		const back = "✅ The callback web-1 takes events again, after 4 h."
		want(t, toldRoundly(p), down, back)
		want(t, h.receivers.messages("web-1"), "one", "two")
		h.stop()
		h.start()
		time.Sleep(time.Hour)
		want(t, toldRoundly(p), down, back)
		if n := h.rows("troubles"); n != 0 {
			t.Errorf("%d troubles are kept", n)
		}
		// The next time is told anew.
		fail(true)
		p.Say(p.Threads("a")[0], "Ana", "three")
		time.Sleep(10 * time.Minute)
		if got := toldRoundly(p); len(got) != 3 || got[2] != down {
			t.Errorf("told %q", got)
		}
	})
}

func TestOperatorsAreNotToldOf(t *testing.T) {
	t.Parallel()
	for name, during := range map[string]func(t *testing.T, h *house, p *bridgetest.Platform, fail func(bool)){
		"a minute": func(_ *testing.T, _ *house, p *bridgetest.Platform, fail func(bool)) {
			fail(true)
			p.Say(p.Threads("a")[0], "Ana", "one")
			time.Sleep(time.Minute)
			fail(false)
		},
		"single failures": func(_ *testing.T, _ *house, p *bridgetest.Platform, fail func(bool)) {
			for i := range 5 {
				fail(true)
				p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
				synctest.Wait()
				fail(false)
				time.Sleep(10 * time.Minute)
			}
		},
		"refusals": func(_ *testing.T, h *house, p *bridgetest.Platform, _ func(bool)) {
			h.refuse("web-1", true)
			for i := range 20 {
				p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
				time.Sleep(time.Minute)
			}
		},
		"one that is gone": func(_ *testing.T, h *house, p *bridgetest.Platform, fail func(bool)) {
			fail(true)
			p.Say(p.Threads("a")[0], "Ana", "one")
			time.Sleep(time.Minute)
			h.receivers.change(func() { h.receivers.ids = []string{"web-2"} })
			time.Sleep(10 * time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failing(t, []string{"web-1"}, func(t *testing.T, h *house, p *bridgetest.Platform, fail func(bool)) {
				during(t, h, p, fail)
				time.Sleep(10 * time.Minute)
				want(t, told(p))
			})
		})
	}
}

// Many at once are one message on each platform that has a place for it.
func TestOperatorsAreToldOfManyAtOnce(t *testing.T) {
	t.Parallel()
	ids := []string{"w1", "w2", "w3", "w4", "w5", "w6", "w7"}
	failing(t, ids, func(t *testing.T, h *house, p *bridgetest.Platform, fail func(bool)) {
		other := bridgetest.NewPlatform("discord")
		h.stop()
		h.platforms = append(h.platforms, other, struct{ bridge.Platform }{bridgetest.NewPlatform("slack")})
		h.start()
		fail(true)
		p.Say(p.Threads("a")[0], "Ana", "one")
		time.Sleep(12 * time.Minute)
		all := strings.Join(told(p), "\n")
		for _, id := range ids[:5] {
			if !strings.Contains(all, id) {
				t.Errorf("nothing of %s in %q", id, all)
			}
		}
		if n := len(told(p)); n > 3 { // their sixth and seventh failures are minutes apart
			t.Errorf("told %d times", n)
		}
		fail(false)
		time.Sleep(12 * time.Minute)
		if all := strings.Join(told(other), "\n"); strings.Count(all, "✅") == 0 || strings.Join(told(p), "\n") != all {
			t.Errorf("told on one %q, on the other %q", told(p), told(other))
		}
	})
}

// losing is a store whose answers to some writes are lost: they are written, and nobody hears of it.
type losing struct {
	relay.Store
	lose func(b bridge.Batch) bool
	lost atomic.Int32
}

func (l *losing) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	res, err := l.Store.Commit(ctx, b)
	if err == nil && l.lose(b) {
		l.lost.Add(1)
		return bridge.Result{}, bridge.ErrUnavailable
	}
	return res, err
}

// Whatever is written and not known to be, is not written twice: what operators are told, and what a delivery brings about.
func TestLostAnswersOfTheStore(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		var n atomic.Int32
		store := &losing{lose: func(b bridge.Batch) bool {
			return b.Lease.Name == "lane/callbacks" && len(b.Events) > 0 && n.Add(1)%2 == 1
		}}
		h.adjust = func(o *relay.Options) func(context.Context) {
			store.Store = o.Store
			o.Store = store
			return nil
		}
		h.receivers.ids = []string{"web-1", "web-2"}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		for i := range 20 {
			p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		reached := map[string]int{}
		for _, e := range h.of(bridge.TypeOperatorMessageAcked) {
			reached[e.Event.Message]++
		}
		for message, times := range reached {
			if times != 2 { // once for each callback
				t.Errorf("%s is said %d times to have reached the visitor", message, times)
			}
		}
		if len(reached) != 20 {
			t.Errorf("%d reached", len(reached))
		}
		h.receivers.change(func() {
			for _, id := range h.receivers.ids {
				h.receivers.fails[id] = fault(bridge.ReasonTransient, bridge.ScopeSession)
			}
		})
		p.Say(p.Threads("a")[0], "Ana", "one")
		time.Sleep(20 * time.Minute)
		h.receivers.change(func() { clear(h.receivers.fails) })
		time.Sleep(20 * time.Minute)
		all := strings.Join(told(p), "\n")
		if !strings.Contains(all, "⚠️") || !strings.Contains(all, "✅") {
			t.Errorf("told:\n%s", all)
		}
		for _, line := range told(p) {
			if strings.Count(all, line) != 1 {
				t.Errorf("told twice: %s", line)
			}
		}
		if store.lost.Load() < 20 {
			t.Errorf("%d answers were lost", store.lost.Load())
		}
	})
}
