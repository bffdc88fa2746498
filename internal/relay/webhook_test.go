package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// catcher is an events webhook in memory.
type catcher struct {
	mu    sync.Mutex
	fault error
	got   []string // <type> <data>
	ids   []string
}

func (c *catcher) PostEvent(_ context.Context, event bridge.Type, id string, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		return c.fault
	}
	if !json.Valid(data) {
		return fault(bridge.ReasonRejected, bridge.ScopeSession)
	}
	c.got = append(c.got, string(event)+" "+string(data))
	c.ids = append(c.ids, id)
	return nil
}

func (c *catcher) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = err
}

func (c *catcher) caught() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.got...)
}

// Every event of both directions is told, each in its shape, with what nobody knows carried along.
func TestWebhookShapes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		hook := &catcher{}
		h.webhook = hook
		h.receivers.ids = []string{"x"}
		h.start()
		const session = `{"id":"s","visitorId":"v","plan":{"gold":[1,2]}}`
		for _, c := range []struct{ body, data string }{
			{`{"type":"new_session","session":` + session + `}`, `{"session":` + session + `}`},
			{
				`{"type":"visitor_message","Session":` + session + `,"message":{"id":"m","sessionId":"s","content":"<hi>","x":null}}`,
				`{"sessionId":"s","visitorId":"v","message":{"id":"m","sessionId":"s","content":"<hi>","x":null},"session":` + session + `}`,
			},
			{`{"type":"identity_update","session":` + session + `}`, `{"session":` + session + `}`},
			{`{"type":"ai_takeover","session":` + session + `,"reason":"asked"}`, `{"session":` + session + `,"reason":"asked"}`},
			{`{"type":"operator_status","online":false,"more":1}`, `{"online":false}`},
			{
				`{"type":"message_read","sessionId":"s","messageIds":["b","a"],"status":"read","readAt":"2026-01-01T00:00:00Z"}`,
				`{"sessionId":"s","messageIds":["b","a"],"status":"read"}`,
			},
			{
				`{"type":"custom_event","session":` + session + `,"event":{"name":"n","data":{"x":[{}]},"y":1}}`,
				`{"event":{"name":"n","data":{"x":[{}]},"y":1},"session":` + session + `}`,
			},
			{
				`{"type":"visitor_message_edited","sessionId":"s","messageId":"m","content":"new","editedAt":"2026-01-01T00:00:00Z"}`,
				`{"sessionId":"s","messageId":"m","content":"new"}`,
			},
			{`{"type":"visitor_message_deleted","sessionId":"s","messageId":"m"}`, `{"sessionId":"s","messageId":"m"}`},
			{
				`{"type":"visitor_disconnect","session":` + session + `,"duration":0,"reason":"manual"}`,
				`{"session":` + session + `,"duration":0,"reason":"manual"}`,
			},
			{
				`{"type":"csat_submitted","session":` + session + `,"score":4,"comment":"ok","respondedAt":"now"}`,
				`{"sessionId":"s","score":4,"comment":"ok","respondedAt":"now"}`,
			},
		} {
			body, data := c.body, c.data
			before := len(hook.caught())
			id := h.ingest(body).ID
			time.Sleep(time.Second)
			var kind struct{ Type string }
			if err := json.Unmarshal([]byte(body), &kind); err != nil {
				t.Fatal(err)
			}
			found := false
			for i, got := range hook.caught()[before:] {
				if is, said, _ := strings.Cut(got, " "); is == kind.Type && equal(t, said, data) {
					found = hook.ids[before+i] == id
				}
			}
			if !found {
				t.Errorf("%s: told %q", body, hook.caught()[before:])
			}
		}
		// Typing is never stored, and so not told.
		before := len(hook.caught())
		h.ingest(`{"type":"visitor_typing","sessionId":"s","isTyping":true}`)
		synctest.Wait()
		if n := len(hook.caught()); n != before {
			t.Errorf("told of typing: %q", hook.caught()[before:])
		}
		// What happens on the operators' side is told as app servers are told of it.
		whole := func(e bridge.Entry) string { return string(e.Event.Type) + ` {"event":` + string(e.Wire()) + `}` }
		p.Say(p.Threads("s")[0], "Ana", "hi")
		h.ingest(`{"type":"session_closed","sessionId":"s"}`)
		h.ingest(`{"type":"operator_message","session":` + session + `,"sourceBridge":"inbox","operatorName":"Ben",
			"message":{"id":"m9","sessionId":"s","content":"from the inbox","sender":"operator"}}`)
		synctest.Wait()
		all := hook.caught()
		for _, e := range h.events() {
			ev := e.Event
			switch {
			case ev.Type == bridge.TypeMessageDelivered, ev.Type == bridge.TypeSessionClosed, ev.Type == bridge.TypeOperatorMessage && ev.Origin == "telegram":
			default:
				continue
			}
			found := false
			for _, got := range all {
				is, said, _ := strings.Cut(got, " ")
				_, data, _ := strings.Cut(whole(e), " ")
				found = found || is == string(ev.Type) && equal(t, said, data)
			}
			if !found {
				t.Errorf("nothing is told of %s", whole(e))
			}
		}
		last := all[len(all)-1]
		for _, part := range []string{`operator_message {"event":{"type":"operator_message","id":"evt_`, `"messageId":"m9"`, `"content":"from the inbox"`, `"operatorName":"Ben"`, `"sourceBridge":"inbox"`} {
			found := false
			for _, got := range all {
				found = found || strings.Contains(got, part)
			}
			if !found {
				t.Errorf("%s is nowhere; the last is %s", part, last)
			}
		}
		for _, got := range all {
			if strings.HasPrefix(got, "answer") || strings.HasPrefix(got, "delivery_retried") {
				t.Errorf("told of %s", got)
			}
		}
	})
}

// equal says whether two texts are the same JSON.
func equal(t *testing.T, a, b string) bool {
	t.Helper()
	var one, two any
	if err := json.Unmarshal([]byte(a), &one); err != nil {
		t.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &two); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return fmt.Sprint(one) == fmt.Sprint(two)
}

// What is told to one instance alone, and what the bridge answers to an operator, is nobody else's business.
func TestWebhookIsNotTold(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		hook := &catcher{}
		h.webhook = hook
		h.receivers.ids = []string{"x"}
		h.start()
		_, err := h.store.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{
			{Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Callback: "x", Body: []byte(`{"online":true,"operators":[]}`)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		p.Say("nowhere", "Ana", "!help")
		time.Sleep(time.Minute)
		if got := hook.caught(); len(got) != 0 {
			t.Errorf("told %q", got)
		}
	})
}

// A new webhook hears what happens from now on; one that is away gets all in order; one that is gone for good leaves dead letters.
func TestWebhookLane(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		hook := &catcher{}
		h.start()
		h.ingest(message("a", "0", "before"))
		synctest.Wait()
		h.stop()
		h.webhook = hook
		h.start()
		synctest.Wait()
		if got := hook.caught(); len(got) != 0 {
			t.Fatalf("told of what was before: %q", got)
		}
		words := func() (out []string) {
			for _, got := range hook.caught() {
				var data struct {
					Message struct{ ID string }
				}
				if rest, ok := strings.CutPrefix(got, "visitor_message "); ok && json.Unmarshal([]byte(rest), &data) == nil {
					out = append(out, data.Message.ID)
				}
			}
			return out
		}
		for _, err := range []error{
			fault(bridge.ReasonTransient, bridge.ScopeDestination), fault(bridge.ReasonTransient, bridge.ScopeSession),
			fault(bridge.ReasonUnconfirmed, bridge.ScopeSession),
			&bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, RetryAfter: time.Minute},
		} {
			hook.fail(err)
			before := len(words())
			for i := range 5 {
				h.ingest(message("a", fmt.Sprint(len(words()), "/", i), "x"))
			}
			time.Sleep(20 * time.Minute)
			hook.fail(nil)
			time.Sleep(10 * time.Minute)
			var expect []string
			for i := range 5 {
				expect = append(expect, fmt.Sprint(before, "/", i))
			}
			want(t, words()[before:], expect...)
		}
		if got := strings.Join(told(p), "\n"); strings.Count(got, "⚠️ The events webhook has taken nothing for ") != 4 ||
			strings.Count(got, "✅ The events webhook takes events again") != 4 {
			t.Errorf("told %s", got)
		}
		// Refused for good, and delivered after all.
		hook.fail(fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.ingest(message("a", "refused", "x"))
		synctest.Wait()
		hook.fail(nil)
		h.ingest(message("a", "next", "x"))
		synctest.Wait()
		ids := h.letterIDs("webhook")
		for _, id := range ids {
			h.retry(id)
		}
		time.Sleep(time.Minute)
		if got := words(); len(got) < 2 || got[len(got)-2] != "next" || got[len(got)-1] != "refused" {
			t.Errorf("told %q", got)
		}
		if n := len(h.letterIDs("")); n != 0 {
			t.Errorf("%d dead letters", n)
		}
		// Not configured any more: a day, then dead letters.
		hook.fail(fault(bridge.ReasonTransient, bridge.ScopeDestination))
		h.ingest(message("a", "lost", "x"))
		time.Sleep(time.Minute)
		h.stop()
		h.webhook = nil
		h.start()
		time.Sleep(25 * time.Hour)
		found := false
		for _, d := range h.deliveries("failed", "webhook") {
			found = found || d == "failed webhook/ visitor_message a/lost"
		}
		if !found || strings.Contains(strings.Join(h.lanes(), " "), "webhook") {
			t.Errorf("dead letters %q, lanes %q", h.deliveries("failed", ""), h.lanes())
		}
		if n := len(h.of(bridge.TypeMessageFailed)); n != 0 {
			t.Errorf("the app was told of %d failures", n)
		}
	})
}

// A webhook that asks for time for days holds up the log for three.
func TestWebhookAwayForDays(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		hook := &catcher{fault: &bridge.DeliveryError{
			Reason: bridge.ReasonRateLimited, Op: "webhook", Detail: "429", Scope: bridge.ScopeDestination, RetryAfter: 5 * time.Hour,
		}}
		h.webhook = hook
		h.receivers.ids = []string{"x"}
		h.start()
		for i := range 5 {
			h.ingest(message(fmt.Sprint("s", i), "1", "x"))
		}
		time.Sleep(71 * time.Hour)
		if n := len(h.letterIDs("webhook")); n != 0 {
			t.Errorf("%d dead letters before their time", n)
		}
		time.Sleep(time.Hour + 20*time.Minute)
		if n := len(h.letterIDs("webhook")); n != 5 { // the messages; what became of them has passed
			t.Errorf("%d dead letters", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(h.events()); n > 5 {
			t.Errorf("%d events are in the log", n)
		}
	})
}

// Where e-mail addresses are hidden, an answer that waits is told without one, in the threads and to the webhook. App servers, who may send
// mail, have it.
func TestAnswerWaitingWithoutHiddenAddress(t *testing.T) {
	t.Parallel()
	const address = "mia@example.org"
	for _, hidden := range [][]string{nil, {"Email"}} {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			hook := &catcher{}
			h.webhook, h.receivers.ids = hook, []string{"app"}
			h.adjust = func(o *relay.Options) func(context.Context) {
				var err error
				if o.Hide, err = bridge.NewHidden(hidden); err != nil {
					t.Error(err)
				}
				return nil
			}
			h.start()
			h.ingest(message("s", "m1", "hello"))
			if err := h.relay.AnswerWaiting(t.Context(), "s", []string{"a1"}, address); err != nil {
				t.Fatal(err)
			}
			settle()
			shown, caught := strings.Join(texts(p, "s"), "\n"), strings.Join(hook.caught(), "\n")
			if !strings.Contains(shown, "📭") || !strings.Contains(caught, "answer_waiting") {
				t.Errorf("nothing is told: %s %s", shown, caught)
			}
			for where, text := range map[string]string{"the thread": shown, "the webhook": caught} {
				if strings.Contains(text, address) != (hidden == nil) {
					t.Errorf("with %q hidden %s has %s", hidden, where, text)
				}
			}
			if !slices.ContainsFunc(h.receivers.entries("app"), func(e bridge.Entry) bool { return strings.Contains(string(e.Event.Body), address) }) {
				t.Error("the app is not told the address")
			}
		})
	}
}
