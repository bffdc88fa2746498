package relay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// outage runs a test with a platform that takes nothing, and of whose lane ten events are in memory and more are in the log.
func outage(t *testing.T, test func(t *testing.T, h *house, p *bridgetest.Platform, over func())) {
	t.Helper()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.adjust = func(o *relay.Options) func(context.Context) {
			o.ReadAhead = 10
			return nil
		}
		p.Bears.Pace = []bridge.Pace{{Calls: 60, Per: time.Minute}}
		h.start()
		p.Fail(bridgetest.OpSend, refused()...)
		h.ingest(message("letter", "1", "a dead letter"))
		h.ingest(message("letter", "2", "after it"))
		time.Sleep(time.Minute)
		gone := func(context.Context, bridgetest.Call) error {
			return fault(bridge.ReasonTransient, bridge.ScopeDestination)
		}
		ops := []string{bridgetest.OpOpenThread, bridgetest.OpSend}
		for _, op := range ops {
			p.Hook(op, gone)
		}
		h.ingest(message("a", "1", "to be deleted"))
		h.ingest(message("a", "2", "to stay"))
		for i := range 20 {
			h.ingest(message(fmt.Sprint("s", i), "1", "hello"))
			synctest.Wait()
		}
		test(t, h, p, func() {
			for _, op := range ops {
				p.Hook(op, nil)
			}
			time.Sleep(5 * time.Minute)
			for i := range 20 {
				want(t, texts(p, fmt.Sprint("s", i)), "hello")
			}
		})
	})
}

// sent are the texts that a platform was ever asked to show in sessions' threads.
func sent(p *bridgetest.Platform) string {
	var out strings.Builder
	for _, c := range p.Calls(bridgetest.OpSend) {
		if c.Thread != p.MainThread() {
			out.WriteString(c.Text + "\n")
		}
	}
	return out.String()
}

// What is deleted by an event that waits in the log is not shown, whether the message has been read or not; what is edited by one is as it is
// then, in the end.
func TestChangesBehindTheReadAhead(t *testing.T) {
	t.Parallel()
	outage(t, func(t *testing.T, h *house, p *bridgetest.Platform, over func()) {
		h.ingest(message("b", "1", "to be deleted"))
		h.ingest(message("b", "2", "as it was"))
		for i := range 20 {
			h.ingest(message(fmt.Sprint("more", i), "1", "hello"))
			synctest.Wait()
		}
		h.ingest(`{"type":"visitor_message_deleted","sessionId":"a","messageId":"1"}`)
		h.ingest(`{"type":"visitor_message_deleted","sessionId":"b","messageId":"1"}`)
		h.ingest(`{"type":"visitor_message_edited","sessionId":"b","messageId":"2","content":"as it is"}`)
		time.Sleep(time.Minute)
		over()
		want(t, texts(p, "a"), "to stay")
		want(t, texts(p, "b"), "as it is")
		if all := sent(p); strings.Contains(all, "to be deleted") {
			t.Errorf("it was shown for a while:\n%s", all)
		}
	})
}

// A session whose words wait in the log is erased at once, and none of them is ever shown.
func TestErasedBehindTheReadAhead(t *testing.T) {
	t.Parallel()
	outage(t, func(t *testing.T, h *house, p *bridgetest.Platform, over func()) {
		h.ingest(message("erased", "1", "of nobody"))
		h.ingest(message("last", "1", "the last"))
		synctest.Wait()
		var ids []string
		for _, session := range []string{"erased", "a"} { // one in the log, one in memory
			id, err := h.relay.Erase(t.Context(), session, true)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		time.Sleep(2 * time.Minute)
		for _, id := range ids {
			if e, ok, err := h.relay.Erasure(t.Context(), id); err != nil || !ok || e.State != bridge.ErasureDone {
				t.Errorf("%+v, %v, %v", e, ok, err)
			}
		}
		over()
		want(t, texts(p, "last"), "the last")
		if all := sent(p); strings.Contains(all, "of nobody") || strings.Contains(all, "to stay") {
			t.Errorf("it was shown:\n%s", all)
		}
	})
}

// A dead letter that is tried again while more waits than is in memory comes when that is done, and is told as waiting until then.
func TestLetterBehindTheReadAhead(t *testing.T) {
	t.Parallel()
	outage(t, func(t *testing.T, h *house, p *bridgetest.Platform, over func()) {
		letters := h.letterIDs("telegram")
		if len(letters) == 0 {
			t.Fatal("there is no dead letter")
		}
		for _, id := range letters {
			h.retry(id)
		}
		synctest.Wait()
		if n := h.waitingFor("telegram"); n != 2+20+len(letters) {
			t.Errorf("%d wait", n)
		}
		if got := len(h.deliveries(bridge.StateWaiting, "telegram")); got != 2+20+len(letters) {
			t.Errorf("%d are told to wait", got)
		}
		h.stop()
		h.start()
		over()
		if n := strings.Count(sent(p), "a dead letter"); n < 2 || len(h.letterIDs("telegram")) != 0 {
			t.Errorf("it was tried %d times", n)
		}
	})
}
