package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

func (r *receivers) Has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.ids, id)
}

// ids returns the ids of the events that a callback got, as it got them.
func (r *receivers) events(target string) []string {
	var out []string
	for _, e := range r.entries(target) {
		out = append(out, e.Seq.String()+" "+string(e.Event.Type))
	}
	return out
}

// deliveries lists all of a state and lane, page by page, in short.
func (h *house) deliveries(state, lane string) []string {
	h.t.Helper()
	var out []string
	for after := ""; ; {
		page, err := h.relay.Deliveries(h.t.Context(), bridge.DeliveryQuery{State: state, Lane: lane, After: after, Max: 3})
		if err != nil {
			h.t.Fatal(err)
		}
		for _, d := range page.Deliveries {
			out = append(out, fmt.Sprintf("%s %s/%s %s %s/%s", d.State, d.Lane, d.Target, d.Type, d.SessionID, d.MessageID))
		}
		if after = page.Next; after == "" {
			return out
		}
	}
}

// letterIDs returns the ids of the dead letters of a lane.
func (h *house) letterIDs(lane string) []string {
	h.t.Helper()
	page, err := h.relay.Deliveries(h.t.Context(), bridge.DeliveryQuery{State: bridge.StateFailed, Lane: lane, Max: 1000})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []string
	for _, d := range page.Deliveries {
		if d.Reason == "" || d.Detail == "" || d.FailedAt.IsZero() || d.Timestamp.IsZero() {
			h.t.Errorf("a dead letter without a cause: %+v", d)
		}
		out = append(out, d.ID)
	}
	return out
}

func (h *house) retry(id string) {
	h.t.Helper()
	if err := h.relay.Retry(h.t.Context(), id); err != nil {
		h.t.Fatal(err)
	}
}

// refuse makes a callback refuse for good, or take again.
func (h *house) refuse(target string, refuse bool) {
	h.receivers.change(func() {
		delete(h.receivers.fails, target)
		if refuse {
			h.receivers.fails[target] = fault(bridge.ReasonRejected, bridge.ScopeSession)
		}
	})
}

// A dead letter of a callback is delivered again with the id that it had, behind what the session has had since, and once.
func TestRetriedCallback(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x", "y"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.refuse("x", true)
		p.Say(p.Threads("a")[0], "Ana", "one")
		p.Say(p.Threads("a")[0], "Ana", "two")
		synctest.Wait()
		h.refuse("x", false)
		p.Say(p.Threads("a")[0], "Ana", "three")
		synctest.Wait()
		want(t, h.receivers.messages("x"), "three")
		first := h.receivers.events("y")
		ids := h.letterIDs("callbacks")
		if len(ids) != 2 || len(h.letterIDs("")) != 2 || len(h.letterIDs("telegram")) != 0 {
			t.Fatalf("dead letters %q", ids)
		}
		h.retry(ids[0])
		synctest.Wait()
		want(t, h.receivers.messages("x"), "three", "one")
		if got := h.receivers.events("x"); got[1] != first[0] {
			t.Errorf("again as %s, first as %s", got[1], first[0])
		}
		if err := h.relay.Retry(t.Context(), ids[0]); !errors.Is(err, bridge.ErrNoDelivery) {
			t.Errorf("a second retry: %v", err)
		}
		// Nobody else is told, now or by a stream, and it is a dead letter again when it is refused again.
		want(t, h.receivers.messages("y"), "one", "two", "three")
		for _, e := range h.events() {
			if e.Event.Type == "delivery_retried" && (e.Event.FromOperators() || e.Event.Session != "a") {
				t.Errorf("shown to others: %+v", e.Event)
			}
		}
		h.refuse("x", true)
		h.retry(ids[1])
		synctest.Wait()
		want(t, h.letterIDs("callbacks"), ids[1])
		h.refuse("x", false)
		h.retry(ids[1])
		synctest.Wait()
		want(t, h.receivers.messages("x"), "three", "one", "two")
		if got := h.deliveries("", ""); len(got) != 0 {
			t.Errorf("left: %q", got)
		}
	})
}

// Of many who deliver a letter again at once, or remove it, one does.
func TestRetriedOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.refuse("x", true)
		p.Say(p.Threads("a")[0], "Ana", "one")
		synctest.Wait()
		h.refuse("x", false)
		id := h.letterIDs("callbacks")[0]
		var wg sync.WaitGroup
		var done atomic.Int32
		for i := range 32 {
			wg.Go(func() {
				var err error
				switch i % 3 {
				case 0, 1:
					err = h.relay.Retry(t.Context(), id)
				default:
					var n int
					if n, _, err = h.relay.RetryAll(t.Context(), "callbacks"); err == nil && n == 0 {
						err = bridge.ErrNoDelivery
					}
				}
				if err == nil {
					done.Add(1)
				} else if !errors.Is(err, bridge.ErrNoDelivery) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		if n, got := done.Load(), len(h.receivers.messages("x")); n != 1 || got != 1 {
			t.Errorf("%d did it, and it came %d times", n, got)
		}
	})
}

// A retry that is accepted is delivered, whenever the process ends; a letter is never both a letter and on its way.
func TestRetrySurvives(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.refuse("x", true)
		p.Say(p.Threads("a")[0], "Ana", "one")
		synctest.Wait()
		h.receivers.change(func() { h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		h.retry(h.letterIDs("")[0])
		time.Sleep(time.Hour)
		want(t, h.deliveries("", ""), "waiting callbacks/x operator_message a/telegram:2")
		h.stop()
		h.start()
		want(t, h.deliveries("", ""), "waiting callbacks/x operator_message a/telegram:2")
		time.Sleep(time.Hour)
		want(t, h.deliveries(bridge.StateWaiting, "callbacks"), "waiting callbacks/x operator_message a/telegram:2")
		h.stop()
		h.refuse("x", false)
		h.start()
		synctest.Wait()
		want(t, h.receivers.messages("x"), "one")
		// It has three days of its own, then it is given up as the same letter.
		h.refuse("x", true)
		p.Say(p.Threads("a")[0], "Ana", "two")
		synctest.Wait()
		id := h.letterIDs("")[0]
		h.receivers.change(func() { h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		h.retry(id)
		time.Sleep(73 * time.Hour)
		want(t, h.letterIDs(""), id)
	})
}

// A letter for a callback that is gone goes where the session's events go now, or waits for the first callback that comes.
func TestRetriedForOneThatIsGone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.refuse("x", true)
		for i := range 3 {
			p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
		}
		synctest.Wait()
		ids := h.letterIDs("")
		h.receivers.change(func() { h.receivers.ids = []string{"y", "z"} })
		h.retry(ids[0])
		synctest.Wait()
		want(t, h.receivers.messages("y"), "0")
		want(t, h.receivers.messages("z"), "0")
		h.receivers.change(func() { h.receivers.ids = nil })
		h.retry(ids[1])
		time.Sleep(time.Hour)
		want(t, h.deliveries(bridge.StateWaiting, ""), "waiting callbacks/x operator_message a/telegram:3")
		h.receivers.change(func() { h.receivers.ids = []string{"w"} })
		synctest.Wait()
		want(t, h.receivers.messages("w"), "1")
		// It leaves while the retry waits for it.
		h.receivers.change(func() { h.receivers.ids = []string{"x", "w"} })
		h.receivers.change(func() { h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		h.retry(ids[2])
		time.Sleep(time.Minute)
		want(t, h.receivers.messages("w"), "1")
		h.receivers.change(func() { h.receivers.ids = []string{"w"} })
		time.Sleep(10 * time.Minute)
		want(t, h.receivers.messages("w"), "1", "2")
		if got := h.deliveries("", ""); len(got) != 0 {
			t.Errorf("left: %q", got)
		}
	})
}

// A platform's dead letter is shown again, and the app is told of it.
func TestRetriedOnPlatform(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		other := bridgetest.NewPlatform("discord")
		h.platforms = append(h.platforms, other)
		h.start()
		h.ingest(message("a", "0", "zero"))
		synctest.Wait()
		p.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "two"))
		synctest.Wait()
		want(t, warned(t, texts(p, "a"), "on Telegram (as the test says)"), "zero", "two")
		ids := h.letterIDs("telegram")
		if len(ids) != 1 || len(h.of(bridge.TypeMessageFailed)) != 1 {
			t.Fatalf("dead letters %q", ids)
		}
		h.retry(ids[0])
		time.Sleep(time.Second)
		want(t, warned(t, texts(p, "a"), "on Telegram"), "zero", "two", "one")
		want(t, warned(t, texts(other, "a"), "on Telegram"), "zero", "one", "two")
		delivered := 0
		for _, e := range h.of(bridge.TypeMessageDelivered) {
			if e.Event.Message == "1" && e.Event.Origin == "telegram" {
				delivered++
			}
		}
		if delivered != 1 || len(h.letterIDs("")) != 0 {
			t.Errorf("told %d times that it is delivered; dead letters %q", delivered, h.letterIDs(""))
		}
	})
}

// A letter that is given up again is kept for as long as a new one.
func TestLetterThatIsGivenUpAgain(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		p.Fail(bridgetest.OpSend, refused()...)
		h.ingest(message("a", "1", "one"))
		time.Sleep(time.Minute)
		id := h.letterIDs("")[0]
		h.pass(29 * day)
		p.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.retry(id)
		time.Sleep(time.Minute)
		h.pass(29 * day)
		want(t, h.letterIDs(""), id)
		h.pass(3 * day)
		want(t, h.letterIDs(""))
	})
}

// What was shown of a message in several parts is not shown again.
func TestRetriedInTheMiddle(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.PartSize = 4
		h.start()
		h.ingest(message("a", "0", "zero"))
		synctest.Wait()
		p.Fail(bridgetest.OpSend, nil, fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.ingest(message("a", "1", "aaaabbbbcccc"))
		synctest.Wait()
		h.stop()
		h.start()
		h.retry(h.letterIDs("")[0])
		time.Sleep(time.Second)
		all := slices.DeleteFunc(p.Texts(p.Threads("a")[0]), func(text string) bool { // but for the line that it was missing
			return !slices.Contains([]string{"aaaa", "bbbb", "cccc"}, text)
		})
		want(t, all, "aaaa", "bbbb", "cccc")
	})
}

func TestRetryAll(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		const sessions, each = 30, 5
		h.receivers.ids = []string{"x"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		for s := range sessions {
			h.ingest(message(fmt.Sprint("s", s), "1", "hello"))
		}
		synctest.Wait()
		h.refuse("x", true)
		for i := range each {
			for s := range sessions {
				p.Say(p.Threads(fmt.Sprint("s", s))[0], "Ana", fmt.Sprint(i))
			}
		}
		time.Sleep(time.Minute)
		if n := len(h.letterIDs("callbacks")); n != sessions*each {
			t.Fatalf("%d dead letters", n)
		}
		if n := len(h.deliveries("", "")); n != sessions*each {
			t.Errorf("%d on all pages", n)
		}
		if _, _, err := h.relay.RetryAll(t.Context(), "nowhere"); !errors.Is(err, bridge.ErrNoLane) {
			t.Errorf("an unknown lane: %v", err)
		}
		if n, left, err := h.relay.RetryAll(t.Context(), "telegram"); n != 0 || left != 0 || err != nil {
			t.Errorf("another lane: %d, %d, %v", n, left, err)
		}
		h.refuse("x", false)
		if n, left, err := h.relay.RetryAll(t.Context(), "callbacks"); n != sessions*each || left != 0 || err != nil {
			t.Errorf("%d, %d, %v", n, left, err)
		}
		time.Sleep(time.Minute)
		got := map[string][]string{}
		for _, e := range h.receivers.entries("x") {
			var m bridge.OperatorMessage
			_ = json.Unmarshal(e.Event.Body, &m)
			got[e.Event.Session] = append(got[e.Event.Session], m.Content)
		}
		for s := range sessions {
			want(t, got[fmt.Sprint("s", s)], "0", "1", "2", "3", "4")
		}
		if n := len(h.letterIDs("")); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		p.Fail(bridgetest.OpSend, refused()...)
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		id := h.letterIDs("")[0]
		if err := h.relay.Discard(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{h.relay.Discard(t.Context(), id), h.relay.Retry(t.Context(), id), h.relay.Retry(t.Context(), "nonsense"), h.relay.Discard(t.Context(), "")} {
			if !errors.Is(err, bridge.ErrNoDelivery) {
				t.Errorf("%v, want ErrNoDelivery", err)
			}
		}
		if n := h.rows("dead"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// What waits is listed wherever it waits, page by page, once.
func TestWaitingDeliveries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x", "y"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "0", "zero"))
		h.ingest(message("b", "0", "zero"))
		synctest.Wait()
		h.receivers.change(func() { h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		for i := range 3 {
			p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
		}
		synctest.Wait()
		p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
			return fault(bridge.ReasonTransient, bridge.ScopeSession)
		})
		h.ingest(message("b", "1", "one"))
		h.ingest(message("b", "2", "two"))
		h.ingest(`{"type":"message_read","sessionId":"b","messageIds":["1"],"status":"read"}`)
		time.Sleep(time.Second)
		expect := []string{
			"waiting callbacks/x operator_message a/telegram:3", "waiting callbacks/x operator_message a/telegram:4",
			"waiting callbacks/x operator_message a/telegram:5",
			"waiting telegram/ visitor_message b/1", "waiting telegram/ visitor_message b/2",
		}
		want(t, h.deliveries(bridge.StateWaiting, ""), expect...)
		want(t, h.deliveries("", ""), expect...)
		want(t, h.deliveries(bridge.StateWaiting, "telegram"), expect[3:]...)
		want(t, h.deliveries(bridge.StateFailed, ""))
		// A lane that is not configured any more is shown, too.
		h.stop()
		h.platforms = nil
		h.start()
		want(t, h.deliveries("", "telegram"), expect[3:]...)
		for _, q := range []bridge.DeliveryQuery{{Lane: "nowhere", Max: 1}, {After: "x", Max: 1}, {After: "w:telegram", Max: 1}, {After: "w:telegram:1", Max: 1}} {
			if _, err := h.relay.Deliveries(t.Context(), q); err == nil {
				t.Errorf("%+v is answered", q)
			} else if _, ok := errors.AsType[*bridge.FieldError](err); !ok {
				t.Errorf("%+v: %v", q, err)
			}
		}
	})
}

// A dead letter of a lane that is not configured stays one, and one that was on its way again becomes one again.
func TestRetryOfARetiredLane(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		other := bridgetest.NewPlatform("discord")
		all := []bridge.Platform{p, other}
		h.platforms = all
		h.start()
		h.ingest(message("a", "0", "zero"))
		synctest.Wait()
		other.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		id := h.letterIDs("discord")[0]
		other.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
			return fault(bridge.ReasonTransient, bridge.ScopeSession)
		})
		h.retry(id)
		time.Sleep(time.Minute)
		want(t, h.letterIDs(""))
		h.stop()
		h.platforms = all[:1]
		h.start()
		time.Sleep(25 * time.Hour)
		want(t, h.letterIDs("discord"), id)
		if err := h.relay.Retry(t.Context(), id); !errors.Is(err, bridge.ErrNoLane) {
			t.Errorf("%v, want ErrNoLane", err)
		}
		want(t, h.letterIDs("discord"), id)
		other.Hook(bridgetest.OpSend, nil)
		h.stop()
		h.platforms = all
		h.start()
		h.retry(id)
		time.Sleep(time.Minute)
		want(t, warned(t, texts(other, "a"), "on Discord"), "zero", "one")
	})
}

// A body that could not be read the first time is the same the second time.
func TestRetryOfTheUnreadable(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.start()
		deep := strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000)
		_, err := h.store.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{{
			Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: "a", Message: "0", Body: []byte(`{"x":` + deep + `}`),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		ids := h.letterIDs("telegram")
		h.retry(ids[0])
		time.Sleep(time.Minute)
		want(t, h.letterIDs("telegram"), ids...)
		if l := h.letters()[0]; !strings.Contains(string(l.Event.Body), deep[:100]) {
			t.Error("its body is another one")
		}
	})
}

// An event that waits follows its session to another instance at once, in order, without anything else happening.
func TestWaitingEventsFollowTheBinding(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x", "y"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.receivers.from = "x"
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.receivers.change(func() { h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		for i := range 3 {
			p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
		}
		synctest.Wait()
		h.receivers.from = "y"
		h.ingest(`{"type":"message_read","sessionId":"a","messageIds":["1"],"status":"read"}`)
		synctest.Wait()
		want(t, h.receivers.messages("y"), "0", "1", "2")
		if got := h.deliveries("", ""); len(got) != 0 {
			t.Errorf("left: %q", got)
		}
	})
}

// What waits for a bound instance that has been failing goes to all when that is said, and back when it is over.
func TestWaitingEventsGoToAll(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x", "y", "z"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.receivers.from = "x"
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.receivers.change(func() { h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession) })
		p.Say(p.Threads("a")[0], "Ana", "one")
		p.Say(p.Threads("a")[0], "Ana", "two")
		time.Sleep(2 * time.Minute)
		want(t, h.receivers.messages("y"))
		h.receivers.change(func() { h.receivers.dead["x"] = true })
		synctest.Wait()
		want(t, h.receivers.messages("y"), "one", "two")
		want(t, h.receivers.messages("z"), "one", "two")
		h.receivers.change(func() { clear(h.receivers.dead); clear(h.receivers.fails) })
		time.Sleep(10 * time.Minute)
		want(t, h.receivers.messages("x"), "one", "two")
		p.Say(p.Threads("a")[0], "Ana", "three")
		synctest.Wait()
		want(t, h.receivers.messages("x"), "one", "two", "three")
		want(t, h.receivers.messages("y"), "one", "two")
	})
}

// A callback that only ever asks for time has three days, like any other, however much it asks for.
func TestPatienceHasAnEnd(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		asks := map[string]time.Duration{"x": 10 * time.Minute, "y": 7 * time.Hour, "z": 24 * time.Hour}
		h.receivers.ids = slices.Sorted(maps.Keys(asks))
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.receivers.change(func() {
			for id, after := range asks {
				h.receivers.fails[id] = &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Op: "callback", Detail: "429", RetryAfter: after}
			}
		})
		p.Say(p.Threads("a")[0], "Ana", "one")
		time.Sleep(71*time.Hour + 59*time.Minute)
		if n := len(h.letterIDs("")); n != 0 {
			t.Errorf("%d given up before their time", n)
		}
		time.Sleep(12 * time.Minute)
		if got := h.letterIDs(""); len(got) != len(asks) {
			t.Errorf("dead letters after three days: %q", got)
		}
	})
}

// Whoever hangs holds up a part of the lane, and when it is known to fail a small one.
func TestOneHangingCallbackHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		const sessions = 400
		h.receivers.ids = []string{"x", "y"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		slow := &hanging{receivers: h.receivers, target: "x"}
		h.hangs = slow
		h.start()
		for s := range sessions {
			h.ingest(message(fmt.Sprint("s", s), "1", "hello"))
		}
		synctest.Wait()
		for s := range sessions {
			p.Say(p.Threads(fmt.Sprint("s", s))[0], "Ana", "hi")
		}
		synctest.Wait()
		if n := len(h.receivers.messages("y")); n != sessions {
			t.Errorf("%d of %d while the other one hangs", n, sessions)
		}
		if n := slow.atMost(); n > 64 {
			t.Errorf("%d calls to one at the same time", n)
		}
		time.Sleep(11 * time.Second)
		slow.atMost()
		time.Sleep(10 * time.Minute)
		if n := slow.atMost(); n > 4 || n == 0 {
			t.Errorf("%d calls at the same time to one that fails", n)
		}
		slow.over()
		time.Sleep(10 * time.Minute)
		if n := len(h.receivers.messages("x")); n != sessions {
			t.Errorf("%d of %d when it answers again", n, sessions)
		}
	})
}
