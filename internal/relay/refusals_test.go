package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// healthOf returns how the platform's lane does.
func healthOf(h *house) bridge.LaneHealth {
	h.t.Helper()
	for _, l := range h.relay.Health() {
		if l.Lane == "telegram" {
			return l
		}
	}
	h.t.Fatal("there is no such lane")
	return bridge.LaneHealth{}
}

// sentAt returns when the call was made that showed a text; zero: there was none.
func sentAt(p *bridgetest.Platform, text string) time.Time {
	for _, c := range p.Calls(bridgetest.OpSend) {
		if strings.HasSuffix(c.Text, text) && c.Err == nil && c.Ended {
			return c.At
		}
	}
	return time.Time{}
}

// Without the right to open threads, the sessions that have one are served as ever; new visitors wait, and are all shown when
// the right is there.
func TestOpeningsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		const old = 30
		for i := range old {
			h.ingest(message(fmt.Sprintf("old%d", i), "1", "first"))
		}
		synctest.Wait()
		p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
			return &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeOperation, Op: "createForumTopic", Detail: "not enough rights"}
		})
		for i := range 4 {
			h.ingest(message(fmt.Sprintf("new%d", i), "1", "hello"))
		}
		began := time.Now()
		rounds, every := 13, 9*time.Second // in two minutes
		if soak.Asked() {
			rounds, every = 40, 3*time.Second
		}
		for i := range rounds {
			for j := range old {
				h.ingest(message(fmt.Sprintf("old%d", j), fmt.Sprint(i+2), fmt.Sprintf("w%d-%d", j, i)))
			}
			asked := time.Now()
			synctest.Wait()
			for j := range old {
				if at := sentAt(p, fmt.Sprintf("w%d-%d", j, i)); at.IsZero() || at.Sub(asked) > time.Millisecond {
					t.Fatalf("after %v, a word of a session that has a thread was shown %v after it was accepted", asked.Sub(began), at.Sub(asked))
				}
			}
			time.Sleep(every)
		}
		tries := 0
		for _, c := range p.Calls(bridgetest.OpOpenThread) {
			if c.Err != nil {
				tries++
			}
		}
		if tries < 4 || tries > 4+4 {
			t.Errorf("%d openings were tried in two minutes, of four that were refused at first", tries)
		}
		health := healthOf(h)
		if health.State != "delivering" || len(health.Refused) != 1 || health.Refused[0].Op != "open_thread" ||
			!strings.Contains(health.Refused[0].Reason, "not enough rights") {
			t.Errorf("it says %+v", health)
		}
		p.Hook(bridgetest.OpOpenThread, nil)
		time.Sleep(31 * time.Second)
		for i := range 4 {
			want(t, texts(p, fmt.Sprintf("new%d", i)), "hello")
		}
		time.Sleep(10 * time.Second)
		told := p.Texts("main")
		if len(told) != 2 || !strings.HasPrefix(told[0], "⚠️ Telegram lets the bridge open no threads") || !strings.HasPrefix(told[1], "✅ Telegram lets") {
			t.Errorf("operators were told %q", told)
		}
		if health := healthOf(h); len(health.Refused) != 0 {
			t.Errorf("it still says %+v", health)
		}
	})
}

// What always fails for one session is that session's: others' words do not wait, and its own are tried ever more rarely.
func TestOneSessionsFault(t *testing.T) {
	for name, fails := range map[string]error{
		"5xx":         &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeUnclear, Op: "send", Detail: "500"},
		"answer lost": &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: "send", Detail: "time-out"},
		"unknown 403": &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeUnclear, Op: "send", Detail: "403"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				h.start()
				for _, s := range []string{"bad", "b", "c"} {
					h.ingest(message(s, "1", "first"))
				}
				synctest.Wait()
				p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
					if strings.Contains(c.Text, "poison") {
						return fails
					}
					return nil
				})
				h.ingest(message("bad", "2", "poison"))
				for i := range 200 {
					s := []string{"b", "c"}[i%2]
					text := fmt.Sprintf("w%d", i)
					h.ingest(message(s, fmt.Sprint(i+2), text))
					asked := time.Now()
					synctest.Wait()
					if at := sentAt(p, text); at.IsZero() || at.Sub(asked) > time.Millisecond {
						t.Fatalf("another session's word is not shown at once, %d s after the fault began", 3*i)
					}
					time.Sleep(3 * time.Second)
				}
				tries := 0
				for _, c := range p.Calls(bridgetest.OpSend) {
					if strings.Contains(c.Text, "poison") {
						tries++
					}
				}
				if tries < 6 || tries > 30 {
					t.Errorf("it was tried %d times in ten minutes", tries)
				}
				if health := healthOf(h); health.State != "delivering" || health.Sessions != 1 {
					t.Errorf("it says %+v", health)
				}
				p.Hook(bridgetest.OpSend, nil)
				time.Sleep(6 * time.Minute)
				want(t, texts(p, "bad"), "first", "poison")
			})
		})
	}
}

// When calls for several sessions fail so, it is the destination's fault: the lane pauses, and asks with one call at a time.
func TestEverySessionsFault(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		for i := range 10 {
			h.ingest(message(fmt.Sprint(i), "1", "first"))
		}
		synctest.Wait()
		before := len(p.Calls(bridgetest.OpSend))
		p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeUnclear, Op: "send", Detail: "502"}
		})
		for i := range 10 {
			h.ingest(message(fmt.Sprint(i), "2", "second"))
		}
		time.Sleep(10 * time.Minute)
		if n := len(p.Calls(bridgetest.OpSend)) - before; n > 8+40 {
			t.Errorf("%d calls in ten minutes, of eight that were under way at first", n)
		}
		if health := healthOf(h); health.State != "paused" {
			t.Errorf("it says %+v", health)
		}
		p.Hook(bridgetest.OpSend, nil)
		time.Sleep(time.Minute)
		for i := range 10 {
			want(t, texts(p, fmt.Sprint(i)), "first", "second")
		}
	})
}

// After a refusal for pace there is one call, alone, when the time is over and a little more; then slowly more. So it is after a
// restart in the middle, too.
func TestAfterTooMany(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				p.Bears.Pace = []bridge.Pace{{Calls: 20, Per: time.Minute}}
				h.start()
				until := time.Now().Add(time.Hour + time.Minute)
				for i := range 30 {
					h.ingest(message(fmt.Sprint(i), "1", "first"))
				}
				time.Sleep(time.Hour)
				before := len(p.Calls())
				p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
					if time.Now().Before(until) {
						return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: "send",
							RetryAfter: 20 * time.Second, Detail: "429"}
					}
					return nil
				})
				for i := range 30 {
					h.ingest(message(fmt.Sprint(i), "2", "second"))
				}
				synctest.Wait()
				atOnce := len(p.Calls()) - before
				if restart {
					time.Sleep(10 * time.Second)
					h.stop()
					time.Sleep(2 * time.Second)
					h.start()
				}
				time.Sleep(time.Until(until))
				calls := p.Calls()[before:]
				if n := len(calls); atOnce > 5 || n-atOnce > 4 {
					t.Errorf("%d calls at once, and %d after the refusal", atOnce, n-atOnce)
				}
				for i := atOnce; i < len(calls); i++ {
					if d := calls[i].At.Sub(calls[i-1].At); d < 21*time.Second {
						t.Errorf("a call went %v after a refusal that asked for 20 s", d)
					}
				}
				if health := healthOf(h); health.State != "paused" || health.Rate == 0 || health.Rate > 5 {
					t.Errorf("it says %+v", health)
				}
				seen := len(p.Calls())
				time.Sleep(time.Minute + 30*time.Second)
				if n := len(p.Calls()) - seen; n < 2 || n > 6 {
					t.Errorf("%d calls in the first minute and a half after three refusals in a row", n)
				}
				time.Sleep(15 * time.Minute)
				for i := range 30 {
					want(t, texts(p, fmt.Sprint(i)), "first", "second")
				}
				if health := healthOf(h); health.Rate != 0 {
					t.Errorf("after a quarter of an hour without a refusal it says %+v", health)
				}
			})
		})
	}
}

// Where no pace is configured it is learnt from the refusals, and calls do not go eight at a time any more.
func TestPaceIsLearnt(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		for i := range 180 {
			h.ingest(message(fmt.Sprint(i), "1", "first"))
		}
		synctest.Wait()
		// A platform that takes 20 a minute.
		var mu sync.Mutex
		var taken []time.Time
		refusals := 0
		p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			taken = slices.DeleteFunc(taken, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
			if len(taken) >= 20 {
				refusals++
				return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: "send",
					RetryAfter: taken[0].Add(time.Minute).Sub(now), Detail: "429"}
			}
			taken = append(taken, now)
			return nil
		})
		time.Sleep(time.Hour)
		for i := range 180 {
			h.ingest(message(fmt.Sprint(i), "2", "second"))
		}
		time.Sleep(25 * time.Minute)
		for i := range 180 {
			want(t, texts(p, fmt.Sprint(i)), "first", "second")
		}
		mu.Lock()
		defer mu.Unlock()
		if refusals > 30 {
			t.Errorf("%d refusals for 180 messages", refusals)
		}
	})
}

// A thread that goes as soon as it is opened is opened three times an hour at most; then the session goes without, by name, and
// an operator's reply reaches it.
func TestThreadThatIsGoneAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"app"}
		h.start()
		p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if strings.HasPrefix(string(c.Thread), "thread-a") {
				return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: "send", Detail: "message thread not found"}
			}
			return nil
		})
		h.ingest(message("a", "1", "one"))
		h.ingest(message("b", "1", "other"))
		synctest.Wait()
		want(t, texts(p, "b"), "other")
		time.Sleep(time.Hour)
		if n := len(p.Threads("a")); n > 3 {
			t.Errorf("%d threads were opened within an hour", n)
		}
		h.ingest(message("a", "2", "two"))
		time.Sleep(time.Minute)
		shown := p.Shown("flat-a")
		if len(shown) != 2 || !strings.Contains(shown[0].Text, "v-a: one") || shown[1].Text != "v-a: two" {
			t.Fatalf("in the main place there is %+v", shown)
		}
		told := p.Texts("main")
		if len(told) != 1 || !strings.Contains(told[0], "threads go as soon as they are opened (message thread not found)") {
			t.Errorf("operators were told %q", told)
		}
		p.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: "main", Message: "900", ReplyTo: shown[1].ID,
			Author: bridge.Author{ID: "u", Name: "Ana"}, Text: "I am here"})
		time.Sleep(time.Second)
		want(t, h.receivers.messages("app"), "I am here")
	})
}

// A name or a card that the platform refuses does not take the words with it.
func TestRefusedEmbellishment(t *testing.T) {
	const named = `{"type":"visitor_message","session":{"id":"a","visitorId":"v-a","identity":{"id":"u","name":"Player 1488"}},` +
		`"message":{"id":"1","sessionId":"a","content":"one"}}`
	refuses := func(p *bridgetest.Platform, op, text string) {
		p.Hook(op, func(_ context.Context, c bridgetest.Call) error {
			if strings.Contains(c.Text, text) {
				return &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: op, Detail: "INVALID_COMMUNITY_PROPERTY_NAME"}
			}
			return nil
		})
	}
	t.Run("name", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			refuses(p, bridgetest.OpOpenThread, "1488")
			h.start()
			h.ingest(named)
			time.Sleep(time.Second)
			want(t, texts(p, "a"), "one")
			want(t, h.letterIDs(""))
			if name := p.NameOf(p.Threads("a")[0]); name != "v-a" {
				t.Errorf("the thread's name is %q", name)
			}
			if h.said.lines("INVALID_COMMUNITY_PROPERTY_NAME") == 0 {
				t.Error("nothing says why")
			}
		})
	})
	t.Run("any name", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			refuses(p, bridgetest.OpOpenThread, "")
			h.start()
			h.ingest(named)
			time.Sleep(time.Second)
			if got := p.Texts("flat-a"); len(got) != 1 || !strings.HasSuffix(got[0], "Player 1488: one") {
				t.Errorf("in the main place there is %q", got)
			}
			want(t, h.letterIDs(""))
		})
	})
	t.Run("card", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			refuses(p, bridgetest.OpSend, "[card")
			h.start()
			h.ingest(named)
			h.ingest(message("a", "2", "two"))
			time.Sleep(time.Second)
			want(t, texts(p, "a"), "one", "two")
			want(t, h.letterIDs(""))
		})
	})
	t.Run("new name", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "1", "one"))
			synctest.Wait()
			refuses(p, bridgetest.OpRenameThread, "1488")
			h.ingest(`{"type":"identity_update","session":{"id":"a","visitorId":"v-a","identity":{"id":"u","name":"Player 1488"}}}`)
			h.ingest(message("a", "2", "two"))
			time.Sleep(time.Second)
			want(t, texts(p, "a"), "one", "two")
			want(t, h.letterIDs(""))
		})
	})
}

// The pace lets a few calls go at once and spreads the rest; it counts an album as its files, and a restart forgets none of it.
func TestPaceOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears = bridge.Limits{Concurrency: 8, Pace: []bridge.Pace{{Calls: 20, Per: time.Minute}}}
		h.start()
		h.ingest(message("a", "0", "first"))
		time.Sleep(10 * time.Minute)
		began := time.Now()
		for i := range 40 {
			h.ingest(message("a", fmt.Sprint(i+1), fmt.Sprint("w", i)))
		}
		time.Sleep(20 * time.Second)
		h.stop()
		h.start()
		time.Sleep(3 * time.Minute)
		var at []time.Time
		for _, c := range p.Calls(bridgetest.OpSend) {
			if !c.At.Before(began) && c.Thread != p.MainThread() {
				at = append(at, c.At)
			}
		}
		if len(at) != 40 {
			t.Fatalf("%d of 40 are shown", len(at))
		}
		for i := range at {
			if i >= 20 && at[i].Sub(at[i-20]) < time.Minute {
				t.Errorf("21 calls within %v", at[i].Sub(at[i-20]))
			}
			if i >= 6 && at[i].Sub(at[i-6]) < time.Second {
				t.Errorf("7 calls within %v", at[i].Sub(at[i-6]))
			}
		}
	})
}

// A process that knows nothing of the one before takes the window for half used.
func TestPaceOfANewProcess(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears = bridge.Limits{Concurrency: 8, Pace: []bridge.Pace{{Calls: 20, Per: time.Minute}}}
		h.start()
		for i := range 40 {
			h.ingest(message("a", fmt.Sprint(i), fmt.Sprint("w", i)))
		}
		time.Sleep(29 * time.Second)
		if n := len(p.Calls()); n < 5 || n > 10 {
			t.Errorf("%d calls in the first half minute", n)
		}
	})
}

// unsteady is a store that is away, or whose answers are lost, as the test says.
type unsteady struct {
	relay.Store
	mu     sync.Mutex
	away   bool
	commit func(bridge.Batch) error // after a write that worked; its error is the answer
	before func(bridge.Batch) error // its error is the answer, and nothing is written
}

func (s *unsteady) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

// refuse asks f before every write from now on.
func (s *unsteady) refuse(f func(bridge.Batch) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

func (s *unsteady) isAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away
}

func (s *unsteady) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	if s.isAway() {
		return bridge.Result{}, bridge.ErrUnavailable
	}
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(b); err != nil {
			return bridge.Result{}, err
		}
	}
	res, err := s.Store.Commit(ctx, b)
	if err == nil && s.commit != nil {
		if lost := s.commit(b); lost != nil {
			return bridge.Result{}, lost
		}
	}
	return res, err
}

func (s *unsteady) Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error) {
	if s.isAway() {
		return false, bridge.ErrUnavailable
	}
	return s.Store.Acquire(ctx, l, ttl)
}

func (s *unsteady) Get(ctx context.Context, table, key string) ([]byte, error) {
	if s.isAway() {
		return nil, bridge.ErrUnavailable
	}
	return s.Store.Get(ctx, table, key)
}

func (s *unsteady) GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error) {
	if s.isAway() {
		return nil, bridge.ErrUnavailable
	}
	return s.Store.GetAll(ctx, table, keys...)
}

func withUnsteady(h *house) *unsteady {
	s := &unsteady{}
	h.adjust = func(o *relay.Options) func(context.Context) {
		s.Store = o.Store
		o.Store = s
		return nil
	}
	return s
}

// The store is away for longer than the lease: what calls came to is recorded when the lane is held again, and no call is made
// a second time.
func TestResultsInHand(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		s := withUnsteady(h)
		h.start()
		for i := range 8 {
			h.ingest(message(fmt.Sprint(i), "1", "first"))
		}
		synctest.Wait()
		release := p.Hold(bridgetest.OpSend)
		for i := range 8 {
			h.ingest(message(fmt.Sprint(i), "2", "second"))
		}
		synctest.Wait()
		s.set(true)
		release()
		time.Sleep(40 * time.Second)
		s.set(false)
		time.Sleep(time.Minute)
		for i := range 8 {
			want(t, texts(p, fmt.Sprint(i)), "first", "second")
		}
		delivered := 0
		for _, e := range h.of(bridge.TypeMessageDelivered) {
			if e.Event.Message == "2" {
				delivered++
			}
		}
		if delivered != 8 {
			t.Errorf("%d of 8 are told to be delivered", delivered)
		}
	})
}

// The store goes while threads are opened: each of them is recorded when it is back, and nobody has a second one.
func TestOpenedWhileTheStoreGoes(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		s := withUnsteady(h)
		h.start()
		release := p.Hold(bridgetest.OpOpenThread)
		const sessions = 30
		for i := range sessions {
			h.ingest(message(fmt.Sprint(i), "1", "first"))
		}
		synctest.Wait()
		s.set(true)
		release()
		time.Sleep(5 * time.Second) // the lane holds its lease all the while
		s.set(false)
		time.Sleep(time.Minute)
		for i := range sessions {
			if n := len(p.Threads(fmt.Sprint(i))); n != 1 {
				t.Errorf("%d threads of session %d", n, i)
			}
			want(t, texts(p, fmt.Sprint(i)), "first")
		}
	})
}

// The lane's lease ends while a call is under way: an answer that comes soon after is waited for, so that the call is not made
// again.
func TestLeaseEndsDuringACall(t *testing.T) {
	for name, lose := range map[string]func(s *unsteady){
		"the store is away": func(s *unsteady) { s.set(true) },
		"the store has lost the lease": func(s *unsteady) {
			var lost atomic.Bool
			s.refuse(func(b bridge.Batch) error {
				if b.Progress.Lane == "telegram" && lost.CompareAndSwap(false, true) {
					return bridge.ErrLeaseLost
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				s := withUnsteady(h)
				began := time.Now()
				h.start()
				h.ingest(message("a", "1", "first"))
				h.ingest(message("b", "1", "first"))
				time.Sleep(time.Until(began.Add(6*time.Second + 100*time.Millisecond))) // the lease was renewed just now
				var cancelled atomic.Bool
				p.Hook(bridgetest.OpSend, func(ctx context.Context, c bridgetest.Call) error {
					answer := time.NewTimer(time.Until(began.Add(10*time.Second + 200*time.Millisecond))) // and ended just now
					defer answer.Stop()
					if name != "the store is away" {
						answer.Reset(200 * time.Millisecond)
						if c.Thread == "thread-a-1" {
							return nil
						}
					}
					select {
					case <-answer.C:
						return nil
					case <-ctx.Done():
						cancelled.Store(true)
						return bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession))
					}
				})
				h.ingest(message("b", "2", "second"))
				synctest.Wait()
				lose(s)
				if name != "the store is away" {
					h.ingest(message("a", "2", "second"))
				}
				time.Sleep(20 * time.Second)
				p.Hook(bridgetest.OpSend, nil)
				s.set(false)
				time.Sleep(time.Minute)
				want(t, texts(p, "b"), "first", "second")
				if name != "the store is away" {
					want(t, texts(p, "a"), "first", "second")
				}
				if cancelled.Load() {
					t.Error("the call was cancelled")
				}
			})
		})
	}
}

// A thread that was opened while the store went away is used, and not opened again.
func TestOpeningInHand(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		s := withUnsteady(h)
		h.start()
		release := p.Hold(bridgetest.OpOpenThread)
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		s.set(true)
		release()
		time.Sleep(40 * time.Second)
		s.set(false)
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "one")
		if n := len(p.Calls(bridgetest.OpOpenThread)); n != 1 {
			t.Errorf("the thread was opened %d times", n)
		}
	})
}

// A record whose answer is lost is repeated as it was: what has come about since is not taken for written with it.
func TestRepeatedRecordIsExact(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids, h.receivers.from = []string{"x"}, "x"
		s := withUnsteady(h)
		var lost atomic.Bool
		s.commit = func(b bridge.Batch) error {
			if b.Progress.Lane != "callbacks" || len(b.Events) == 0 || !lost.CompareAndSwap(false, true) {
				return nil
			}
			h.ingest(message("late", "1", "one")) // binds the session
			synctest.Wait()
			return bridge.ErrUnavailable
		}
		h.start()
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		p.Say(p.Threads("a")[0], "Ana", "an answer")
		time.Sleep(time.Minute)
		if !lost.Load() {
			t.Fatal("no record was written")
		}
		if value, err := h.store.Get(t.Context(), "bindings", "late"); err != nil || string(value) != "x" {
			t.Errorf("the binding is %q, %v", value, err)
		}
	})
}

// What was given up for its age is finished by the same write: a process that ends before the cursor moves does not deliver it.
func TestExpiredIsMarked(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		s := withUnsteady(h)
		p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
			return fault(bridge.ReasonTransient, bridge.ScopeDestination)
		})
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("b", "1", "two"))
		time.Sleep(24*time.Hour - time.Minute)
		s.refuse(func(b bridge.Batch) error {
			if b.Progress.Lane == "telegram" && b.Progress.Cursor > 0 {
				return bridge.ErrUnavailable
			}
			return nil
		})
		time.Sleep(2 * time.Minute)
		letters := len(h.letterIDs(""))
		h.stop()
		p.Hook(bridgetest.OpOpenThread, nil)
		h.adjust = nil
		h.start()
		time.Sleep(time.Minute)
		if letters == 0 {
			t.Fatal("nothing was given up")
		}
		shown := len(p.Texts("thread-a-1")) + len(p.Texts("thread-b-1"))
		if got := len(h.letterIDs("")); got != letters || got+shown != 2 {
			t.Errorf("%d dead letters, then %d, and %d shown", letters, got, shown)
		}
	})
}

// A receiver that panics is said, and begins anew.
func TestReceiverPanics(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"app"}
		panics := 0
		p.Hook(bridgetest.OpListen, func(context.Context, bridgetest.Call) error {
			if panics++; panics <= 2 {
				panic("as the test says")
			}
			return nil
		})
		h.start()
		h.ingest(message("a", "1", "one"))
		time.Sleep(time.Minute)
		p.Say(p.Threads("a")[0], "Ana", "hi")
		time.Sleep(time.Second)
		want(t, h.receivers.messages("app"), "hi")
		if h.said.lines("a panic was caught") == 0 {
			t.Error("nobody was told")
		}
	})
}
