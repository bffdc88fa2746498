package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// answered is a program's answer of a status, as an attempt's error.
func answered(status int) error {
	if status/100 == 2 {
		return nil
	}
	reason := bridge.ReasonTransient
	if slices.Contains([]int{400, 413, 415, 422}, status) {
		reason = bridge.ReasonRejected
	}
	return &bridge.DeliveryError{Reason: reason, Op: "callback", Status: status, Detail: fmt.Sprintf("the receiver answered %d", status)}
}

// silent is a receiver that never answers: the attempt's time runs out.
func silent(ctx context.Context) error {
	select {
	case <-time.After(15 * time.Second):
		return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "callback", Detail: "no answer in time"}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A receiver that was made for the existing server knows six types. Whatever it says to others, and if it says nothing, answers are
// there at once.
func TestReceiverThatKnowsSixTypes(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(context.Context) error{
		"404":       func(context.Context) error { return answered(http.StatusNotFound) },
		"405":       func(context.Context) error { return answered(http.StatusMethodNotAllowed) },
		"500":       func(context.Context) error { return answered(http.StatusInternalServerError) },
		"501":       func(context.Context) error { return answered(http.StatusNotImplemented) },
		"400":       func(context.Context) error { return answered(http.StatusBadRequest) },
		"no answer": silent,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				var mu sync.Mutex
				asked := map[bridge.Type]int{}
				took := map[string]time.Time{}
				h.receivers.ids = []string{"backend"}
				h.receivers.answers = func(ctx context.Context, _ string, e bridge.Entry) error {
					if slices.Contains(bridge.ExistingTypes(), e.Event.Type) {
						mu.Lock()
						defer mu.Unlock()
						var m bridge.OperatorMessage
						_ = json.Unmarshal(e.Event.Body, &m)
						took[m.Content] = time.Now()
						return nil
					}
					mu.Lock()
					asked[e.Event.Type]++
					mu.Unlock()
					if name == "no answer" && !e.Event.Type.HoldsUpNothing() {
						return answered(http.StatusInternalServerError)
					}
					return other(ctx)
				}
				h.start()
				// More than may be told at once, where what is told hangs; where it is refused at once nothing is held up by their number.
				sessions := 6
				if name == "no answer" || soak.Asked() {
					sessions = 70
				}
				for i := range sessions {
					h.ingest(message(fmt.Sprint("s", i), "m1", "hello"))
				}
				time.Sleep(30 * time.Second)
				said := map[string]time.Time{}
				say := func(session, text string) {
					p.Say(p.Threads(session)[0], "Ana", text)
					said[text] = time.Now()
				}
				for round := range 2 {
					for i := range sessions {
						session := fmt.Sprint("s", i)
						h.ingest(message(session, fmt.Sprint("again", round), "and?"))
						say(session, fmt.Sprint("answer ", round, " to ", session))
					}
					time.Sleep(20 * time.Second)
				}
				p.Say(p.Threads("s1")[0], "Ana", "!close")
				synctest.Wait()
				h.ingest(message("s1", "more", "one more thing")) // opens it again
				synctest.Wait()
				say("s1", "yes?")
				synctest.Wait()
				p.Say(p.Threads("s1")[0], "Ana", "!ai on")
				synctest.Wait()
				say("s1", "and another")
				time.Sleep(2 * time.Second)
				mu.Lock()
				for text, when := range said {
					if at, ok := took[text]; !ok || at.Sub(when) > time.Second {
						t.Errorf("%q is told after %s (at all: %v)", text, at.Sub(when), ok)
					}
				}
				for _, kind := range []bridge.Type{bridge.TypeMessageDelivered, bridge.TypeSessionReopened, bridge.TypeAIToggle} {
					if asked[kind] == 0 {
						t.Errorf("it was never told of %s", kind)
					}
				}
				mu.Unlock()
				time.Sleep(26 * time.Hour)
				if name != "400" {
					want(t, h.letterIDs("callbacks"))
				}
				for _, d := range h.deliveries("waiting", "callbacks") {
					if strings.Contains(d, "message_delivered") {
						t.Errorf("after a day there waits %s", d)
					}
				}
				if len(told(p)) > 0 && name != "no answer" {
					t.Errorf("operators are told %q", told(p))
				}
			})
		})
	}
}

// What only tells of a state is told for as long as that is worth it, and is no dead letter.
func TestStatesPass(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		h.receivers.change(func() { h.receivers.fails["x"] = answered(http.StatusServiceUnavailable) })
		h.ingest(message("a", "2", "hello?"))
		h.ingest(`{"type":"message_read","sessionId":"a","messageIds":["1"],"status":"read"}`)
		p.Say(p.Threads("a")[0], "Ana", "!read")
		time.Sleep(23 * time.Hour)
		if got := strings.Join(h.deliveries("waiting", "callbacks"), "\n"); !strings.Contains(got, "message_delivered") || !strings.Contains(got, "message_read") {
			t.Errorf("before a day is over there waits %s", got)
		}
		time.Sleep(2 * time.Hour)
		want(t, h.deliveries("", "callbacks"))
	})
}

// One reply that a firewall before the app refuses holds up its conversation for a quarter of an hour, no other one, and the
// operators know within two minutes.
func TestOneRefusedReply(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusUnavailableForLegalReasons} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				h.receivers.ids = []string{"backend"}
				h.receivers.answers = func(_ context.Context, _ string, e bridge.Entry) error {
					if strings.Contains(string(e.Event.Body), "script") {
						return answered(status)
					}
					return nil
				}
				h.start()
				h.ingest(message("a", "1", "hello"))
				h.ingest(message("b", "1", "hello"))
				synctest.Wait()
				say := func(session, text string) { p.Say(p.Threads(session)[0], "Ana", text) }
				say("a", "try <script>alert(1)</script>")
				say("a", "did that help?")
				synctest.Wait()
				for i := range 12 {
					say("b", fmt.Sprint(i))
					time.Sleep(10 * time.Second)
				}
				warned := func(session string) (out []string) {
					for _, text := range texts(p, session) {
						if strings.Contains(text, "has not taken an answer") {
							out = append(out, text)
						}
					}
					return out
				}
				if got := warned("a"); len(got) != 1 || !strings.Contains(got[0], fmt.Sprint(status)) {
					t.Errorf("within two minutes its thread tells %q", got)
				}
				if got := warned("b"); len(got) != 0 {
					t.Errorf("another thread tells %q", got)
				}
				if got := len(h.receivers.messages("backend")); got != 12 {
					t.Errorf("%d of 12 answers to others are told", got)
				}
				time.Sleep(12 * time.Minute)
				if got := h.letterIDs(""); len(got) != 0 {
					t.Errorf("given up before its time: %q", got)
				}
				time.Sleep(time.Minute + 5*time.Second)
				if got := h.receivers.messages("backend"); !slices.Contains(got, "did that help?") {
					t.Errorf("after a quarter of an hour the receiver has %q", got)
				}
				if got := h.letterIDs(""); len(got) != 1 {
					t.Errorf("dead letters %q", got)
				}
				if got := warned("a"); len(got) != 1 {
					t.Errorf("told %d times", len(got))
				}
				if got := strings.Join(texts(p, "a"), "\n"); !strings.Contains(got, "The visitor does not see this message") {
					t.Errorf("that it was given up is not told: %s", got)
				}
			})
		})
	}
}

// A receiver that refuses everything is in trouble itself: nothing is given up because of it.
func TestReceiverThatRefusesEverything(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"backend"}
		h.receivers.answers = func(context.Context, string, bridge.Entry) error { return answered(http.StatusNotFound) }
		h.start()
		h.ingest(message("a", "1", "hello"))
		h.ingest(message("b", "1", "hello"))
		synctest.Wait()
		p.Say(p.Threads("a")[0], "Ana", "one")
		p.Say(p.Threads("b")[0], "Ana", "two")
		time.Sleep(2 * time.Minute)
		if got := told(p); len(got) != 1 || !strings.Contains(got[0], "has taken nothing") {
			t.Errorf("operators are told %q", got)
		}
		time.Sleep(24 * time.Hour)
		want(t, h.letterIDs(""))
		h.receivers.change(func() { h.receivers.answers = nil })
		time.Sleep(6 * time.Minute)
		if got := h.receivers.messages("backend"); len(got) != 2 {
			t.Errorf("when it is back it has %q", got)
		}
	})
}

// One that never answers holds up no other, and operators know within two minutes.
func TestReceiverThatNeverAnswers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"fine", "hangs"}
		h.receivers.answers = func(ctx context.Context, target string, _ bridge.Entry) error {
			if target == "hangs" {
				return silent(ctx)
			}
			return nil
		}
		h.start()
		h.ingest(message("a", "1", "hello"))
		time.Sleep(5 * time.Minute) // what the app is told by itself has failed for long
		p.Say(p.Threads("a")[0], "Ana", "one")
		synctest.Wait()
		want(t, h.receivers.messages("fine"), "one")
		time.Sleep(2 * time.Minute)
		if got := strings.Join(told(p), "\n"); strings.Count(got, "The callback hangs has taken nothing") != 1 {
			t.Errorf("operators are told %q", got)
		}
	})
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"hangs"}
		h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
		h.receivers.answers = func(ctx context.Context, _ string, _ bridge.Entry) error { return silent(ctx) }
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		p.Say(p.Threads("a")[0], "Ana", "one")
		time.Sleep(2 * time.Minute)
		if got := told(p); len(got) != 1 || !strings.Contains(got[0], "The callback hangs has taken nothing") {
			t.Errorf("two minutes after a word that nobody takes operators are told %q", got)
		}
	})
}

// The backend is told who is online from time to time, and when it answers again.
func TestBackendIsToldWhoIsOnline(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.presence.online = true
		h.receivers.ids = []string{"backend", "web-1"}
		h.start()
		h.ingest(message("a", "1", "hello"))
		statuses := func(target string) (n int) {
			for _, text := range h.receivers.events(target) {
				if strings.Contains(text, "operator_status") {
					n++
				}
			}
			return n
		}
		time.Sleep(time.Hour + time.Minute)
		if n := statuses("backend"); n != 4 {
			t.Errorf("in an hour the backend is told %d times", n)
		}
		// It goes, and comes back.
		h.receivers.change(func() {
			h.receivers.fails["backend"] = &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: "callback", Detail: "connection refused"}
		})
		p.Say(p.Threads("a")[0], "Ana", "one")
		time.Sleep(10 * time.Second)
		before := statuses("backend")
		h.receivers.change(func() { delete(h.receivers.fails, "backend") })
		time.Sleep(time.Minute + 30*time.Second)
		if n := statuses("backend"); n != before+1 {
			t.Errorf("when it answers again it is told %d times", n-before)
		}
		if n := statuses("web-1"); n != 0 {
			t.Errorf("another callback is told %d times", n)
		}
		h.receivers.change(func() { h.receivers.unwanted = []bridge.Type{bridge.TypeOperatorStatus} })
		before = len(h.of(bridge.TypeOperatorStatus))
		time.Sleep(time.Hour)
		if n := len(h.of(bridge.TypeOperatorStatus)); n > before {
			t.Errorf("who does not want it is told %d times", n-before)
		}
	})
}
