package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay/engine"
)

const day = 24 * time.Hour

// keeping is bubble with a relay that removes what is old.
func keeping(t *testing.T, kept time.Duration, test func(t *testing.T, h *house, p *bridgetest.Platform)) {
	t.Helper()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.kept = kept
		test(t, h, p)
	})
}

// pass lets time pass while nothing runs, which is quicker, and then the relay work for a few rounds.
func (h *house) pass(d time.Duration) {
	h.stop()
	time.Sleep(d)
	h.start()
	time.Sleep(5 * time.Minute)
}

// letters returns the dead letters.
func (h *house) letters() []engine.Letter {
	h.t.Helper()
	rows, err := h.store.List(context.Background(), "dead", "", 1<<20)
	if err != nil {
		h.t.Fatal(err)
	}
	var out []engine.Letter
	for _, row := range rows {
		var l engine.Letter
		if err := json.Unmarshal(row.Value, &l); err != nil {
			h.t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func (h *house) lanes() []string {
	h.t.Helper()
	names, err := h.store.Lanes(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return names
}

// rows returns how many rows there are in a table.
func (h *house) rows(table string) int {
	h.t.Helper()
	rows, err := h.store.List(context.Background(), table, "", 1<<20)
	if err != nil {
		h.t.Fatal(err)
	}
	return len(rows)
}

func TestLogIsTrimmedBehindItsHour(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.start()
		h.ingest(message("a", "1", "one"))
		time.Sleep(50 * time.Minute)
		h.ingest(message("a", "2", "two"))
		time.Sleep(9 * time.Minute)
		if n := len(h.of(bridge.TypeVisitorMessage)); n != 2 {
			t.Errorf("within the hour %d of 2 messages are in the log", n)
		}
		time.Sleep(3 * time.Minute)
		if n := len(h.of(bridge.TypeVisitorMessage)); n != 1 {
			t.Errorf("after an hour %d messages are in the log", n)
		}
		time.Sleep(time.Hour)
		if n := len(h.events()); n != 0 {
			t.Errorf("after two hours %d events are in the log", n)
		}
		// What follows the log from its end goes on.
		newest := h.relay.Feed().Newest()
		h.ingest(message("a", "3", "three"))
		entries, err := h.relay.Feed().Next(t.Context(), newest-1, 10)
		if err != nil || len(entries) < 2 || entries[0].Seq != newest {
			t.Errorf("behind the last entry the feed has %v, %v", entries, err)
		}
		synctest.Wait()
		want(t, texts(p, "a"), "one", "two", "three")
	})
}

func TestLogIsNotTrimmedBeforeIt(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		release := p.Hold(bridgetest.OpSend)
		h.start()
		for i := range 3 {
			h.ingest(message(fmt.Sprint("s", i), "1", "hello"))
		}
		time.Sleep(10 * time.Hour)
		if n := len(h.of(bridge.TypeVisitorMessage)); n != 3 {
			t.Errorf("%d of 3 messages that wait are in the log", n)
		}
		release()
		time.Sleep(2 * time.Hour)
		if n := len(h.events()); n != 0 {
			t.Errorf("%d events are in the log", n)
		}
		for i := range 3 {
			if got := texts(p, fmt.Sprint("s", i)); !slices.Contains(got, "hello") {
				t.Errorf("session %d shows %q", i, got)
			}
		}
	})
}

func TestLogKeepsSoManyAtMost(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.start()
		var b bridge.Batch
		for range 2500 {
			b.Events = append(b.Events, bridge.Event{Type: bridge.TypeMessageRead, Origin: bridge.OriginApp, Session: "a", Body: []byte("{}")})
		}
		for range 42 { // 105 000, in two minutes
			if _, err := h.store.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		if n, _, err := h.store.LogSize(t.Context()); err != nil || n > 100_000 || n < 99_000 {
			t.Errorf("%d events are in the log, %v", n, err)
		}
	})
}

func TestSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids, h.receivers.from = []string{"x", "y"}, "y"
		h.start()
		h.ingest(announce("old"))
		h.ingest(message("old", "1", "one"))
		h.ingest(message("new", "1", "one"))
		synctest.Wait()
		p.Say(p.Threads("old")[0], "Ana", "an answer")
		p.Fail(bridgetest.OpSend, refused()...)
		h.ingest(message("other", "1", "refused"))
		time.Sleep(10 * time.Minute)
		h.pass(25 * day)
		h.ingest(message("new", "2", "two"))
		time.Sleep(time.Minute)
		p.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, bridge.ScopeSession))
		h.ingest(message("new", "3", "refused"))
		time.Sleep(2 * time.Minute)

		h.pass(6 * day)
		for _, session := range []string{"old", "new", "other"} {
			seqs, err := h.store.Claimed(t.Context(), session, "session")
			if kept := session == "new"; err != nil || (seqs[0] != 0) != kept {
				t.Errorf("session %s is known: %v, %v", session, seqs, err)
			}
		}
		for _, table := range []string{"threads/telegram", "places/telegram", "bindings"} {
			if n := h.rows(table); n != 1 {
				t.Errorf("%d rows in table %s", n, table)
			}
		}
		// A dead letter has its own time, whatever its session says.
		if got := h.letters(); len(got) != 1 || got[0].Event.Session != "new" {
			t.Errorf("dead letters: %+v", got)
		}
		if n := len(h.of(bridge.TypeMessageFailed)); n != 0 {
			t.Errorf("%d events of weeks ago are in the log", n)
		}
		// A visitor who comes back is a new one.
		h.ingest(message("old", "1", "again"))
		time.Sleep(time.Minute)
		threads := p.Threads("old")
		if len(threads) != 2 {
			t.Fatalf("%d threads", len(threads))
		}
		p.Say(threads[1], "Ana", "welcome back")
		time.Sleep(time.Minute)
		if got := h.receivers.messages("y"); !slices.Contains(got, "welcome back") {
			t.Errorf("the callback got %q", got)
		}
		for range 4 {
			h.pass(10 * day)
			h.ingest(message("new", fmt.Sprint(time.Now().Unix()), "still here"))
		}
		if got := h.letters(); len(got) != 0 {
			t.Errorf("dead letters of a session that goes on: %+v", got)
		}
		if n := h.rows("cursors"); n != 1 {
			t.Errorf("%d receivers know their place", n)
		}
		if got := h.lanes(); !slices.Equal(got, []string{"callbacks", "telegram"}) {
			t.Errorf("lanes %q", got)
		}
	})
}

// A silent session that comes back while the process runs on has forgotten nothing that the store remembers, and remembers
// nothing that the store has forgotten.
func TestMemoryGoesWithItsSession(t *testing.T) {
	t.Parallel()
	keeping(t, day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids, h.receivers.from = []string{"x", "y"}, "y"
		h.start()
		h.ingest(message("a", "1", "one"))
		time.Sleep(40 * time.Hour)
		if n := h.rows("places/telegram"); n != 0 {
			t.Fatalf("%d places", n)
		}
		h.ingest(message("a", "2", "two"))
		synctest.Wait()
		threads := p.Threads("a")
		if len(threads) != 2 {
			t.Fatalf("%d threads", len(threads))
		}
		h.stop()
		h.start()
		p.Say(threads[1], "Ana", "hi")
		synctest.Wait()
		want(t, h.receivers.messages("y"), "hi")
		want(t, h.receivers.messages("x"))
	})
}

// A binding that was read at a start outlives the row, if its session comes back right after that was removed.
func TestBindingIsWrittenAgain(t *testing.T) {
	t.Parallel()
	keeping(t, day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids, h.receivers.from = []string{"x", "y"}, "y"
		h.start()
		h.ingest(message("a", "1", "one"))
		time.Sleep(25 * time.Hour)
		h.stop()
		h.start()
		time.Sleep(3 * time.Hour)
		if n := h.rows("bindings"); n != 0 {
			t.Fatalf("%d bindings", n)
		}
		h.ingest(message("a", "2", "two"))
		time.Sleep(time.Minute)
		h.stop()
		h.start()
		threads := p.Threads("a")
		p.Say(threads[len(threads)-1], "Ana", "hi")
		synctest.Wait()
		want(t, h.receivers.messages("y"), "hi")
		want(t, h.receivers.messages("x"))
	})
}

// Whatever still has to be delivered keeps its session.
func TestWaitingSessionIsKept(t *testing.T) {
	t.Parallel()
	keeping(t, day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.start()
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
			return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: 50 * time.Hour}
		})
		h.ingest(message("a", "2", "two"))
		time.Sleep(49 * time.Hour)
		p.Hook(bridgetest.OpSend, nil)
		time.Sleep(2 * time.Hour)
		want(t, texts(p, "a"), "one", "two")
		if n := len(p.Threads("a")); n != 1 {
			t.Errorf("%d threads", n)
		}
	})
}

func TestRetiredLane(t *testing.T) {
	t.Parallel()
	// begun has one message shown by both platforms, three waiting for the second one, and the second one gone.
	begun := func(t *testing.T, h *house) (other *bridgetest.Platform) {
		other = bridgetest.NewPlatform("discord")
		other.Bears.Concurrency = 8
		all := []bridge.Platform{h.platforms[0], other}
		h.receivers.ids = []string{"x"}
		h.platforms = all
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("b", "1", "one"))
		synctest.Wait()
		// Session a waits, b goes on beside it: what it got is recorded beyond the cursor.
		other.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if c.Thread == other.Threads("a")[0] {
				return fault(bridge.ReasonTransient, bridge.ScopeSession)
			}
			return nil
		})
		h.ingest(message("a", "2", "two"))
		h.ingest(message("b", "2", "two"))
		h.ingest(message("a", "3", "three"))
		h.ingest(`{"type":"custom_event","session":{"id":"a","visitorId":"v-a"},"event":{"name":"click"}}`)
		h.ingest(`{"type":"message_read","sessionId":"a","messageIds":["1"],"status":"read"}`)
		time.Sleep(time.Second)
		h.stop()
		h.platforms = all[:1]
		h.start()
		return other
	}
	t.Run("is given up after a day", func(t *testing.T) {
		keeping(t, 30*day, func(t *testing.T, h *house, _ *bridgetest.Platform) {
			begun(t, h)
			time.Sleep(23 * time.Hour)
			if n := len(h.letters()); n != 0 || !slices.Contains(h.lanes(), "discord") {
				t.Errorf("before its time: %d dead letters, lanes %q", n, h.lanes())
			}
			if n := len(h.of(bridge.TypeVisitorMessage)); n != 3 {
				t.Errorf("%d messages that wait are in the log", n)
			}
			time.Sleep(70 * time.Minute)
			var got []string
			for _, l := range h.letters() {
				got = append(got, strings.Join([]string{l.Lane, string(l.Event.Type), l.Event.Session, l.Event.Message}, " "))
			}
			want(t, got, "discord visitor_message a 2", "discord visitor_message a 3", "discord custom_event a ")
			var failed []string
			for _, e := range h.of(bridge.TypeMessageFailed) {
				failed = append(failed, e.Event.Origin+" "+e.Event.Message)
			}
			want(t, failed, "discord 2", "discord 3")
			if got := h.lanes(); slices.Contains(got, "discord") {
				t.Errorf("lanes %q", got)
			}
			if n := h.rows("lanes"); n != 1 { // the callbacks'
				t.Errorf("%d notes of lanes", n)
			}
			time.Sleep(2 * time.Hour)
			if n := len(h.events()); n != 0 {
				t.Errorf("%d events are in the log", n)
			}
		})
	})
	t.Run("goes on when it is configured again", func(t *testing.T) {
		keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
			other := begun(t, h)
			time.Sleep(20 * time.Hour)
			other.Hook(bridgetest.OpSend, nil)
			h.stop()
			h.platforms = []bridge.Platform{p, other}
			h.start()
			time.Sleep(5 * time.Minute)
			want(t, texts(other, "a"), "one", "two", "three", "⚡ click")
			want(t, texts(other, "b"), "one", "two")
			// Its day begins anew.
			h.stop()
			h.platforms = []bridge.Platform{p}
			h.start()
			h.ingest(message("a", "4", "four"))
			time.Sleep(20 * time.Hour)
			if n := len(h.letters()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	})
	t.Run("is left alone while another bridge works it", func(t *testing.T) {
		keeping(t, 30*day, func(t *testing.T, h *house, _ *bridgetest.Platform) {
			begun(t, h)
			lease := bridge.Lease{Name: "lane/discord", Token: "another"}
			for range 30 {
				if ok, err := h.store.Acquire(t.Context(), lease, 2*time.Hour); err != nil || !ok {
					t.Fatalf("the lease: %v, %v", ok, err)
				}
				time.Sleep(time.Hour)
			}
			if n := len(h.letters()); n != 0 || !slices.Contains(h.lanes(), "discord") {
				t.Errorf("%d dead letters, lanes %q", n, h.lanes())
			}
			if n := h.rows("lanes"); n != 1 { // the callbacks'
				t.Errorf("%d notes of lanes", n)
			}
			if n := len(h.of(bridge.TypeVisitorMessage)); n != 3 {
				t.Errorf("%d messages that wait are in the log", n)
			}
		})
	})
}

func TestCallbacksGone(t *testing.T) {
	t.Parallel()
	say := func(h *house, p *bridgetest.Platform) {
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		p.Say(p.Threads("a")[0], "Ana", "hi")
	}
	t.Run("what nobody got is kept as dead letters", func(t *testing.T) {
		keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.receivers.ids = []string{"x"}
			h.start()
			h.ingest(message("b", "1", "hello"))
			time.Sleep(time.Minute)
			h.stop()
			h.receivers.ids = nil
			h.start()
			say(h, p)
			time.Sleep(23 * time.Hour)
			if n := len(h.letters()); n != 0 {
				t.Errorf("%d dead letters", n)
			}
			time.Sleep(2 * time.Hour)
			var got []string
			for _, l := range h.letters() {
				got = append(got, l.Lane+" "+string(l.Event.Type))
			}
			want(t, got, "callbacks operator_message") // message_delivered has passed
			time.Sleep(time.Hour)
			if n := len(h.events()); n != 0 {
				t.Errorf("%d events are in the log", n)
			}
		})
	})
	t.Run("unless there never was one", func(t *testing.T) {
		keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			say(h, p)
			time.Sleep(26 * time.Hour)
			if n := len(h.letters()) + len(h.events()); n != 0 {
				t.Errorf("%d events and dead letters are kept", n)
			}
		})
	})
}

// A platform that refuses us for days holds up the log for one: then what waits is given up, and said.
func TestPlatformAwayForDays(t *testing.T) {
	t.Parallel()
	keeping(t, 30*day, func(t *testing.T, h *house, p *bridgetest.Platform) {
		const messages = 600
		p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
			return fault(bridge.ReasonAuth, bridge.ScopeDestination)
		})
		h.start()
		for i := range messages {
			h.ingest(message(fmt.Sprint("s", i), "1", "hello"))
		}
		time.Sleep(20 * time.Hour)
		h.ingest(message("late", "1", "hello"))
		time.Sleep(4*time.Hour + 10*time.Minute)
		if n, failed := len(h.letters()), len(h.of(bridge.TypeMessageFailed)); n != messages || failed != messages {
			t.Errorf("%d dead letters, %d said", n, failed)
		}
		if n := len(h.of(bridge.TypeVisitorMessage)); n != 1 {
			t.Errorf("%d messages are in the log", n)
		}
		p.Hook(bridgetest.OpOpenThread, nil)
		time.Sleep(time.Minute)
		want(t, texts(p, "late"), "hello")
	})
}
