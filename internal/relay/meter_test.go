package relay_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// meter keeps what it is told.
type meter struct {
	mu     sync.Mutex
	counts map[string]int
	times  map[string][]time.Duration
}

func newMeter() *meter { return &meter{counts: map[string]int{}, times: map[string][]time.Duration{}} }

func (m *meter) count(words ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[strings.TrimSpace(strings.Join(words, " "))]++
}

func (m *meter) time(what string, after time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[what]++
	m.times[what] = append(m.times[what], after)
}

func (m *meter) Called(lane, op string, reason bridge.Reason) {
	m.count("call", lane, op, string(reason))
}
func (m *meter) Repeated(lane string)                       { m.count("repeat", lane) }
func (m *meter) Delivered(lane string, after time.Duration) { m.time("delivered "+lane, after) }
func (m *meter) CalledBack(after time.Duration)             { m.time("called back", after) }
func (m *meter) Orphaned(lane string)                       { m.count("orphan", lane) }
func (m *meter) Merged(lane string, _ int)                  { m.count("merged", lane) }
func (m *meter) Limited(lane, method string, after time.Duration) {
	m.count("limited", lane, method, after.String())
}
func (m *meter) Shed(lane, kind string) { m.count("shed", lane, kind) }
func (m *meter) DeadLettered(lane string, reason bridge.Reason) {
	m.count("buried", lane, string(reason))
}
func (m *meter) Updated(platform string, kind bridge.UpdateKind) {
	m.count("update", platform, string(kind))
}

func (m *meter) told() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.counts)
}

// transcript is what the log said.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// lines returns how many lines hold all the texts.
func (s *transcript) lines(texts ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for line := range strings.Lines(s.text.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// Everything that is done is counted once, as what it was.
func TestMeter(t *testing.T) {
	t.Parallel()
	session, destination := bridge.ScopeSession, bridge.ScopeDestination
	tests := []struct {
		name string
		do   func(h *house, p *bridgetest.Platform)
		want map[string]int // of the lane telegram
	}{
		{"nothing", func(*house, *bridgetest.Platform) {}, map[string]int{}},
		{"a message", func(h *house, _ *bridgetest.Platform) { h.ingest(message("a", "1", "one")) }, map[string]int{
			"call telegram open_thread": 1, "call telegram send": 1, "delivered telegram": 1,
		}},
		{"a repeat of the app's", func(h *house, _ *bridgetest.Platform) {
			h.ingest(message("a", "1", "one"))
			h.ingest(message("a", "1", "one"))
		}, map[string]int{"call telegram open_thread": 1, "call telegram send": 1, "delivered telegram": 1}},
		{"a message in parts", func(h *house, p *bridgetest.Platform) {
			p.PartSize = 4
			h.ingest(message("a", "1", "aaaabbbbcccc"))
		}, map[string]int{"call telegram open_thread": 1, "call telegram send": 6, "delivered telegram": 1}}, // three are the card
		{"faults", func(h *house, p *bridgetest.Platform) {
			p.Fail(bridgetest.OpOpenThread, fault(bridge.ReasonTransient, destination))
			p.Fail(bridgetest.OpSend, fault(bridge.ReasonTransient, session), fault(bridge.ReasonRateLimited, session))
			h.ingest(message("a", "1", "one"))
		}, map[string]int{
			"call telegram open_thread": 1, "call telegram open_thread transient": 1,
			"call telegram send": 1, "call telegram send transient": 1, "call telegram send rate_limited": 1, "delivered telegram": 1,
			"limited telegram send 0s": 1,
		}},
		{"answers lost", func(h *house, p *bridgetest.Platform) {
			p.Fail(bridgetest.OpOpenThread, fault(bridge.ReasonUnconfirmed, session))
			p.Fail(bridgetest.OpSend, bridgetest.After(fault(bridge.ReasonUnconfirmed, session)), fault(bridge.ReasonUnconfirmed, destination),
				fault(bridge.ReasonTransient, session))
			h.ingest(message("a", "1", "one"))
			h.ingest(message("a", "2", "two"))
		}, map[string]int{
			"call telegram open_thread": 1, "call telegram open_thread unconfirmed": 1,
			"call telegram send": 2, "call telegram send unconfirmed": 2, "call telegram send transient": 1,
			"repeat telegram": 3, "delivered telegram": 2,
		}},
		{"an answer lost, and the event given up", func(h *house, p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, fault(bridge.ReasonUnconfirmed, session), fault(bridge.ReasonRejected, session),
				fault(bridge.ReasonRejected, session))
			h.ingest(message("a", "1", "one"))
			h.ingest(message("a", "2", "two"))
		}, map[string]int{
			"call telegram open_thread": 1, "call telegram send unconfirmed": 1, "call telegram send rejected": 2, "repeat telegram": 1,
			// Two sends: the other message, and that one is missing.
			"buried telegram rejected": 1, "call telegram send": 2, "delivered telegram": 2,
		}},
		{"a panic", func(h *house, p *bridgetest.Platform) {
			p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error { panic("as the test says") })
			h.ingest(message("a", "1", "one"))
		}, map[string]int{ // of the message, and of the line that it is missing
			"call telegram open_thread": 1, "call telegram attempt rejected": 2, "buried telegram rejected": 2,
		}},
		{"a day away", func(h *house, p *bridgetest.Platform) {
			began := time.Now()
			p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
				if time.Since(began) < 25*time.Hour {
					return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: destination, Op: "open", RetryAfter: 25 * time.Hour}
				}
				return fault(bridge.ReasonAuth, destination)
			})
			h.ingest(message("a", "1", "one"))
			time.Sleep(27 * time.Hour)
		}, map[string]int{
			"call telegram open_thread rate_limited": 1, "call telegram open_thread auth": 1, "buried telegram auth": 1,
			"limited telegram open 25h0m0s": 1,
		}},
		{"a thread closed by hand", func(h *house, p *bridgetest.Platform) {
			h.ingest(message("a", "1", "one"))
			synctest.Wait()
			p.ShutThread(p.Threads("a")[0])
			h.ingest(message("a", "2", "two"))
		}, map[string]int{
			"call telegram open_thread": 1, "call telegram send": 2, "call telegram send closed": 1, "call telegram reopen_thread": 1,
			"delivered telegram": 2,
		}},
		{"a name learnt", func(h *house, _ *bridgetest.Platform) {
			h.ingest(message("a", "1", "one"))
			synctest.Wait()
			h.ingest(`{"type":"identity_update","session":{"id":"a","visitorId":"v-a","identity":{"id":"u","name":"Ada"}}}`)
		}, map[string]int{
			"call telegram open_thread": 1, "call telegram send": 1, "call telegram rename_thread": 1, "call telegram edit_card": 1,
			"delivered telegram": 2,
		}},
		{"an edit of nothing", func(h *house, _ *bridgetest.Platform) {
			h.ingest(message("a", "0", "zero"))
			h.ingest(`{"type":"visitor_message_edited","sessionId":"a","messageId":"1","content":"better"}`)
		}, map[string]int{"call telegram open_thread": 1, "call telegram send": 1, "delivered telegram": 1, "orphan telegram": 1}},
		{"updates", func(h *house, p *bridgetest.Platform) {
			h.ingest(message("a", "1", "one"))
			synctest.Wait()
			p.Say(p.Threads("a")[0], "Ana", "hi")
			p.Say("nowhere", "Ana", "among ourselves")
			p.Say(p.Threads("a")[0], "Ana", "!help")
			synctest.Wait()
			p.Rewind(0)
			time.Sleep(10 * time.Minute)
		}, map[string]int{
			// Two sends: the message, and the command's answer.
			"call telegram open_thread": 1, "call telegram send": 2, "delivered telegram": 2, "update telegram message": 3,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				m := newMeter()
				h.meter = m
				h.start()
				synctest.Wait()
				test.do(h, p)
				time.Sleep(10 * time.Minute)
				got := m.told()
				maps.DeleteFunc(got, func(what string, _ int) bool { return strings.Contains(what, "listen") })
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("-want +told\n%s", diff)
				}
			})
		})
	}
}

// A delivery's time runs from the acceptance to the record, and an operator's word's to the callback's answer.
func TestMeterTimes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		m := newMeter()
		h.meter = m
		h.receivers.ids = []string{"x", "y"}
		h.start()
		p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
			time.Sleep(3 * time.Second)
			return nil
		})
		h.ingest(message("a", "1", "one"))
		time.Sleep(time.Minute)
		h.receivers.change(func() { h.receivers.fails["y"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		p.Say(p.Threads("a")[0], "Ana", "hi")
		time.Sleep(20 * time.Minute)
		h.receivers.change(func() { delete(h.receivers.fails, "y") })
		time.Sleep(10 * time.Minute)
		want := map[string]int{
			// The message; and operators are told that a callback fails, and that it is back.
			"call telegram open_thread": 1, "call telegram send": 3, "call telegram react": 1, "delivered telegram": 4,
			"update telegram message": 1,
			// The receipt and the word, each to both; the word's failures at one of them.
			"call callbacks post": 4, "delivered callbacks": 4, "called back": 2,
		}
		got := m.told()
		if got["call callbacks post transient"] == 0 {
			t.Error("no failure was counted")
		}
		delete(got, "call callbacks post transient")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +told\n%s", diff)
		}
		within := func(what string, i int, low, high time.Duration) {
			t.Helper()
			if took := m.times[what][i]; took < low || took > high {
				t.Errorf("%s took %v, want %v to %v", what, took, low, high)
			}
		}
		within("delivered telegram", 0, 3*time.Second, 4*time.Second)
		within("called back", 0, 0, time.Second)
		within("called back", 1, 20*time.Minute, 30*time.Minute)
	})
}

// What is counted as failed is what the log says, line for line, and each attempt has one line at most.
func TestMeterAgreesWithTheLog(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		m := newMeter()
		h.meter = m
		h.start()
		reasons := []bridge.Reason{
			bridge.ReasonTransient, bridge.ReasonRateLimited, bridge.ReasonUnconfirmed, bridge.ReasonThreadGone, bridge.ReasonClosed,
			bridge.ReasonAuth, bridge.ReasonRejected,
		}
		for i, reason := range reasons {
			p.Fail(bridgetest.OpSend, fault(reason, bridge.ScopeSession))
			h.ingest(message(fmt.Sprint("s", i), "1", "one"))
			time.Sleep(10 * time.Minute)
		}
		for _, reason := range reasons {
			lines := h.said.lines("an attempt failed", "reason="+string(reason)+" ")
			if told := m.told()["call telegram send "+string(reason)]; told != 1 || lines != 1 {
				t.Errorf("%s: counted %d times, %d lines", reason, told, lines)
			}
		}
		if n := h.said.lines("as the test says"); n != len(reasons) {
			t.Errorf("%d lines for %d failures", n, len(reasons))
		}
	})
}
