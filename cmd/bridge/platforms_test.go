package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// everyBoard are all places, in an order that does not change.
func everyBoard() []string {
	return []string{"telegram", "discord text", "discord forum", "slack socket", "slack events"}
}

// texts returns what a session's threads show on a board, one after the other.
func texts(b board, session string) []string {
	var out []string
	for _, thread := range b.threads(session) {
		out = append(out, b.shown(thread)...)
	}
	return out
}

// A visitor's message opens a thread, an operator's answer reaches the callback, and a restart changes neither.
func TestRoundTripOnEveryPlatform(t *testing.T) {
	const question = "Is <b>this</b> & *that* in stock, @everyone?"
	for _, on := range everyBoard() {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			onStores(t, func(t *testing.T, r *rig) {
				b := r.boards[0]
				p := r.start()
				r.must("/api/messages", message("mia", "m1", question))
				r.until("in a thread", func() bool { return slices.Equal(texts(b, "mia"), []string{question}) })
				thread := b.threads("mia")[0]
				id := b.say(thread, "Yes, both!")
				r.until("at the callback", func() bool { return len(r.app.of("operator_message")) == 1 })
				got := r.app.of("operator_message")[0]
				if got.Content != "Yes, both!" || got.SessionID != "mia" || got.MessageID != id {
					t.Errorf("the callback got %s, not %s", got.body, id)
				}
				if code := p.exit(); code != 0 {
					t.Errorf("it ended with %d:\n%s", code, p.output())
				}
				b.say(thread, "written while nobody listened")
				r.start()
				r.must("/api/messages", message("mia", "m2", "Thanks"))
				r.until("in the same thread", func() bool { return slices.Equal(texts(b, "mia"), []string{question, "Thanks"}) })
				r.until("the other answer at the callback", func() bool { return len(r.app.of("operator_message")) == 2 })
				if n := b.opened(); n != 1 {
					t.Errorf("%d threads", n)
				}
			}, on)
		})
	}
}

// Every platform shows what a visitor says, and what an operator says elsewhere, by name; the app is told once.
func TestPlatformsAtOnce(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.start()
		r.must("/api/messages", message("mia", "m1", "hello"))
		r.until("everywhere", func() bool {
			return !slices.ContainsFunc(r.boards, func(b board) bool { return !slices.Equal(texts(b, "mia"), []string{"hello"}) })
		})
		want := map[board]int{}
		for i, b := range r.boards {
			said := fmt.Sprint("answer ", i)
			b.say(b.threads("mia")[0], said)
			r.until("the answer in the other threads", func() bool {
				for _, other := range r.boards {
					shown := texts(other, "mia")
					if other != b && (len(shown) != want[other]+2 || !strings.Contains(shown[len(shown)-1], said)) {
						return false
					}
				}
				return true
			})
			for _, other := range r.boards {
				if other != b {
					want[other]++
				}
			}
		}
		r.until("at the callback", func() bool { return len(r.app.of("operator_message")) == len(r.boards) })
		for i, got := range r.app.of("operator_message") {
			if b := r.boards[i]; got.Content != fmt.Sprint("answer ", i) || !strings.Contains(string(got.body), `"sourceBridge":"`+b.name()+`"`) {
				t.Errorf("the callback got %s", got.body)
			}
		}
		r.mu.Lock()
		ids := r.app.ids
		r.mu.Unlock()
		for id, n := range ids {
			if n != 1 {
				t.Errorf("event %s came %d times", id, n)
			}
		}
	}, "telegram", "discord text", "slack socket")
}

// What was answered with 200 is there once, in order, on every platform, although the bridge is killed.
func TestKilledOnEveryPlatform(t *testing.T) {
	points := []struct {
		name string
		arm  func(b board, now func())
	}{
		{"a message received and unanswered", func(b board, now func()) { b.at(stage.Received, false, now) }},
		{"a message sent and unanswered", func(b board, now func()) { b.at(stage.Processed, false, now) }},
		{"a thread opened and unanswered", func(b board, now func()) { b.at(stage.Processed, true, now) }},
	}
	kills := 1
	if soak() {
		kills = 20
	}
	for _, on := range everyBoard()[1:] {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			onStores(t, func(t *testing.T, r *rig) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				random := rand.New(rand.NewPCG(seed, 0))
				r.start()
				tr := newTraffic(r)
				for range kills {
					moment := tr.sent() + 50 + random.IntN(400)
					r.until("at work", func() bool {
						tr.allow(100 - len(tr.budget))
						return tr.sent() >= moment && tr.inFlight.Load() >= 20
					})
					r.process().kill()
					r.start()
				}
				point := points[random.IntN(len(points))]
				t.Log(point.name)
				killed := make(chan struct{})
				point.arm(r.boards[0], sync.OnceFunc(func() {
					r.process().kill()
					close(killed)
				}))
				more := 0
				r.until("killed in the middle of a call", func() bool {
					select {
					case <-killed:
						return true
					default:
					}
					if tr.allow(20 - len(tr.budget)); more < 20 {
						more++
						_, _, _ = r.post("/api/messages", message(fmt.Sprint("late", more), "m", "late"))
					}
					return false
				})
				r.start()
				tr.endBeside(kills+1, make([]string, 20)...)
			}, on)
		})
	}
}
