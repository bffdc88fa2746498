package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/soak"
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
	t.Parallel()
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
				if code := p.Exit(); code != 0 {
					t.Errorf("it ended with %d:\n%s", code, p.Output())
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
	t.Parallel()
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
		r.app.mu.Lock()
		ids := maps.Clone(r.app.ids)
		r.app.mu.Unlock()
		for id, n := range ids {
			if n != 1 {
				t.Errorf("event %s came %d times", id, n)
			}
		}
	}, "telegram", "discord text", "slack socket")
}

// What was answered with 200 is there once, in order, on every platform, although the bridge is killed.
func TestKilledOnEveryPlatform(t *testing.T) {
	t.Parallel()
	points := []struct {
		name string
		arm  func(b board, now func())
	}{
		{"a message received and unanswered", func(b board, now func()) { b.at(stage.Received, false, now) }},
		{"a message sent and unanswered", func(b board, now func()) { b.at(stage.Processed, false, now) }},
		{"a thread opened and unanswered", func(b board, now func()) { b.at(stage.Processed, true, now) }},
	}
	kills, spread := 1, 100
	// Both of a platform's ways on different stores.
	all := map[string][]string{"discord text": {"bolt"}, "discord forum": {"redis"}, "slack socket": {"bolt"}, "slack events": {"redis"}}
	if soak.Asked() {
		kills, spread = 20, 200
		for on := range all {
			all[on] = []string{"bolt", "redis"}
		}
	}
	for on, names := range all {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			test := func(t *testing.T, r *rig) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				random := rand.New(rand.NewPCG(seed, 0))
				r.start()
				tr := newTraffic(r)
				for range kills {
					moment := tr.sent() + 50 + random.IntN(spread)
					r.until("at work", func() bool {
						tr.allow(100 - len(tr.budget))
						return tr.sent() >= moment && tr.inFlight.Load() >= 20
					})
					r.process().Kill()
					r.start()
				}
				point := points[random.IntN(len(points))]
				t.Log(point.name)
				killed := make(chan struct{})
				point.arm(r.boards[0], sync.OnceFunc(func() {
					r.process().Kill()
					close(killed)
				}))
				tr.allow(80)
				for i := range 30 { // sessions that are new, so that threads are opened
					tr.wg.Go(func() { tr.sendUntilAnswered(fmt.Sprint("late", i), "0") })
				}
				select {
				case <-killed:
				case <-time.After(hung):
					t.Fatalf("the point was not reached; the bridge said:\n%s", lastLines(r.process().Output(), 40))
				}
				r.start()
				tr.end(kills + 1)
			}
			for _, name := range names {
				onStore(t, name, test, on)
			}
		})
	}
}

// Operators' words reach the callback once each, in order, however often the connection that brings them is cut.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	const said = 500
	cuts := 10
	if soak.Asked() {
		cuts = 50
	}
	for _, c := range []struct {
		on  string
		cut func(b board, n int)
	}{
		{"discord text", func(b board, n int) {
			server := b.(*discordBoard).server
			switch n % 4 {
			case 0:
				server.CutConnections()
			case 1:
				server.InvalidateSessions(false)
			case 2:
				server.ForgetSessions()
				server.CutConnections()
			default:
				server.AskReconnect()
			}
		}},
		{"slack socket", func(b board, n int) {
			server := b.(*slackBoard).server
			if n%3 == 2 {
				server.Disconnect("refresh_requested", 0)
				return
			}
			server.Cut()
		}},
	} {
		t.Run(c.on, func(t *testing.T) {
			t.Parallel()
			onStores(t, func(t *testing.T, r *rig) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				random := rand.New(rand.NewPCG(seed, 0))
				b := r.boards[0]
				r.start()
				r.must("/api/messages", message("mia", "m1", "hello"))
				r.until("in a thread", func() bool { return len(b.threads("mia")) == 1 })
				thread := b.threads("mia")[0]
				at := map[int]bool{}
				for len(at) < cuts {
					at[random.IntN(said-10)+5] = true
				}
				var want []string
				n := 0
				for i := range said {
					if at[i] {
						c.cut(b, n)
						n++
					}
					want = append(want, fmt.Sprint("word ", i))
					b.say(thread, want[i])
					if i%25 == 24 { // as fast as the bridge follows, more or less
						r.until("following", func() bool { return len(r.app.of("operator_message")) > i-300 })
					}
				}
				r.until("all at the callback", func() bool { return len(r.app.of("operator_message")) >= said })
				var got []string
				for _, e := range r.app.of("operator_message") {
					got = append(got, e.Content)
				}
				if !slices.Equal(got, want) {
					t.Errorf("the callback got %q", got)
				}
				r.app.mu.Lock()
				defer r.app.mu.Unlock()
				for id, times := range r.app.ids {
					if times != 1 {
						t.Errorf("%s came %d times", id, times)
					}
				}
				soak.Row(t, "%d words through %d cuts, each once and in order", said, cuts)
			}, c.on)
		})
	}
}

// What Slack delivers three times is told once.
func TestSlackRepeats(t *testing.T) {
	t.Parallel()
	for _, on := range []string{"slack socket", "slack events"} {
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			onStores(t, func(t *testing.T, r *rig) {
				b := r.boards[0].(*slackBoard)
				b.server.Redeliver(3)
				r.start()
				r.must("/api/messages", message("mia", "m1", "hello"))
				r.until("in a thread", func() bool { return len(b.threads("mia")) == 1 })
				for i := range 20 {
					b.say(b.threads("mia")[0], fmt.Sprint(i))
				}
				r.until("all at the callback", func() bool { return len(r.app.of("operator_message")) >= 20 })
				b.say(b.threads("mia")[0], "end")
				r.until("the end at the callback", func() bool { return r.app.of("operator_message")[len(r.app.of("operator_message"))-1].Content == "end" })
				if got := r.app.of("operator_message"); len(got) != 21 {
					t.Errorf("the callback got %d messages", len(got))
				}
			}, on)
		})
	}
}

// A guild of twenty active threads takes sixty visitors: the longest silent thread is archived for the next one.
func TestActiveThreads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.use("discord text")
	stores()["bolt"](t, r.env)
	b := r.boards[0].(*discordBoard)
	b.server.SetActiveThreads(20)
	r.start()
	for i := range 60 {
		r.must("/api/messages", message(fmt.Sprint("v", i), "m", fmt.Sprint("hello ", i)))
	}
	r.until("all delivered", func() bool {
		for i := range 60 {
			if len(b.threads(fmt.Sprint("v", i))) != 1 {
				return false
			}
		}
		return true
	})
	active := 0
	for _, thread := range b.server.Threads(b.channel) {
		if !thread.Archived {
			active++
		}
	}
	if active > 20 || active < 5 { // five are archived at once, and five more for an opening that was refused just before
		t.Errorf("%d threads are active", active)
	}
	r.must("/api/messages", message("v0", "m2", "again"))
	r.until("the archived thread goes on", func() bool { return slices.Equal(texts(b, "v0"), []string{"hello 0", "again"}) })
}
