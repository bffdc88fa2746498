package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
)

// waitingFor returns how many events a lane holds.
func (h *house) waitingFor(lane string) int {
	h.t.Helper()
	for _, health := range h.relay.Health() {
		if health.Lane == lane {
			return health.Waiting
		}
	}
	h.t.Fatalf("there is no lane %s", lane)
	return 0
}

// Until the first callback is registered its events wait in the log, and nowhere else; none are lost.
func TestEventsForNobodyWaitInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.start()
		for i := range 300 {
			h.ingest(message(fmt.Sprint("s", i%10), fmt.Sprint("m", i), "hello"))
		}
		time.Sleep(time.Hour)
		if n := len(h.of(bridge.TypeMessageDelivered)); n != 300 {
			t.Errorf("%d receipts are in the log", n)
		}
		if n := h.waitingFor("callbacks"); n != 0 {
			t.Errorf("%d events are held in memory", n)
		}
		h.receivers.change(func() { h.receivers.ids = []string{"x"} })
		time.Sleep(time.Minute)
		if n := len(h.receivers.entries("x")); n != 300 {
			t.Errorf("the first callback got %d of 300 events", n)
		}
		// From now on there has been one: what waits for the next is a loss when it is given up.
		h.receivers.change(func() { h.receivers.ids = nil })
		h.ingest(message("s0", "late", "hello"))
		time.Sleep(time.Minute)
		if n := h.waitingFor("callbacks"); n != 1 {
			t.Errorf("%d events wait for the next callback", n)
		}
	})
}

// Where streams take the events, nothing is kept for a callback that may never come.
func TestStreamsAloneKeepNothingForCallbacks(t *testing.T) {
	keeping(t, 30*day, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.start()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for feed, after := h.relay.Feed(), bridge.Seq(0); ctx.Err() == nil; {
				entries, _ := feed.Next(ctx, after, 100)
				if len(entries) > 0 {
					after = entries[len(entries)-1].Seq
				}
			}
		}()
		for i := range 50 {
			h.ingest(message("s", fmt.Sprint("m", i), "hello"))
		}
		time.Sleep(3 * time.Hour)
		if n := len(h.events()); n != 0 {
			t.Errorf("%d events are in the log", n)
		}
		h.receivers.change(func() { h.receivers.ids = []string{"x"} })
		time.Sleep(time.Minute)
		if n := len(h.receivers.entries("x")); n != 0 {
			t.Errorf("the first callback got %d events of before", n)
		}
		h.ingest(message("s", "late", "hello"))
		synctest.Wait()
		if n := len(h.receivers.entries("x")); n != 1 {
			t.Errorf("the first callback got %d events", n)
		}
		cancel()
	})
}

// counting counts the rows that the relay reads.
type counting struct {
	relay.Store
	rows atomic.Int64
}

func (c *counting) Get(ctx context.Context, table, key string) ([]byte, error) {
	value, err := c.Store.Get(ctx, table, key)
	c.rows.Add(1)
	return value, err
}

func (c *counting) GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error) {
	values, err := c.Store.GetAll(ctx, table, keys...)
	c.rows.Add(int64(len(values)))
	return values, err
}

func (c *counting) List(ctx context.Context, table, after string, most int) ([]bridge.Row, error) {
	rows, err := c.Store.List(ctx, table, after, most)
	c.rows.Add(int64(len(rows)))
	return rows, err
}

func (c *counting) Scan(ctx context.Context, table, place string, most int) ([]bridge.Row, string, error) {
	rows, next, err := c.Store.Scan(ctx, table, place, most)
	c.rows.Add(int64(len(rows)))
	return rows, next, err
}

// What a start reads, and what ten minutes of work read, does not grow with the sessions that are stored.
func TestReadsDoNotGrow(t *testing.T) {
	t.Parallel()
	read := func(stored int) (rows int64) {
		inTeam(t, func(o *relay.Options, _ *people.Options) {
			o.Unanswered, o.AnswerTimeout, o.AutoClose, o.Retention = 5*time.Minute, 20*time.Minute, 10*day, 30*day
		}, func(t *testing.T, tm *team) {
			store := &counting{}
			time.Sleep(time.Minute) // the store is put in order
			tm.stop()
			fillStore(t, tm.house, stored)
			before := tm.adjust
			tm.adjust = func(o *relay.Options) func(context.Context) {
				beside := before(o)
				store.Store = o.Store
				o.Store = store
				return beside
			}
			tm.start()
			tm.say("telegram", "main", "Ana", "/online")
			for i := range 5 {
				tm.ingest(message(fmt.Sprint("new", i), "m", "hello"))
				tm.ingest(message(fmt.Sprintf("stored-%06d", i), "again", "hello"))
			}
			time.Sleep(10 * time.Minute)
			answer, _ := tm.say("telegram", "main", "Ana", "/status")
			if want := fmt.Sprintf("%d open conversations, %d waiting", stored+5, stored+5); !strings.Contains(answer, want) {
				t.Errorf("with %d stored /status says %s", stored, answer)
			}
			if _, err := tm.relay.Deliveries(t.Context(), bridge.DeliveryQuery{State: bridge.StateFailed, Max: 10}); err != nil {
				t.Error(err)
			}
			rows = store.rows.Load()
		})
		return rows
	}
	few, many := read(1000), read(8000)
	t.Logf("%d rows with 1000 stored sessions, %d with 8000", few, many)
	if float64(many) > 1.1*float64(few) {
		t.Errorf("%d rows are read with 1000 stored sessions, and %d with 8000", few, many)
	}
}

// fillStore leaves sessions that wait for an answer, called to twice already, and dead letters.
func fillStore(t *testing.T, h *house, sessions int) {
	t.Helper()
	h.openStore()
	now := time.Now().UTC()
	for from := 0; from < sessions; from += 500 {
		var b bridge.Batch
		for i := from; i < min(from+500, sessions); i++ {
			session := fmt.Sprintf("stored-%06d", i)
			waits := bridge.SeqAt(now.Add(-time.Hour)) + bridge.Seq(i)
			row := fmt.Sprintf(`{"last":%q,"waits":%d,"calls":2,"called":%q,"unread":["m"]}`, now.Format(time.RFC3339), waits, now.Format(time.RFC3339))
			b.Claims = append(b.Claims, bridge.Claim{Session: session, Key: "session"})
			for _, r := range []bridge.Row{
				{Table: "open", Key: session, Value: []byte(row)},
				{Table: "by-wait", Key: fmt.Sprintf("2/%020d/%s", waits, session), Value: []byte{}},
				{Table: "by-silence", Key: now.Format(time.RFC3339) + "/" + session, Value: []byte{}},
				{Table: "bindings", Key: session, Value: []byte("x")},
				{Table: "closed", Key: "other-" + session, Value: []byte("{}")},
				{Table: "dead", Key: fmt.Sprintf("telegram/evt_%016d", i), Value: []byte(`{"lane":"telegram","id":"evt_1","event":{"type":"visitor_message"}}`)},
			} {
				r.Session = session
				b.Rows = append(b.Rows, r)
			}
		}
		if _, err := h.store.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// What an earlier version has stored of conversations, without an order, is put in order: who waits is called out, who is
// silent is closed, and so is a thread that was opened for nobody.
func TestConversationsOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) {
		o.Unanswered, o.AutoClose, o.OpenThread = time.Hour, 8*time.Hour, relay.OpenOnSession
	}, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		for i := range 450 { // more than are put in order at once
			tm.ingest(message(fmt.Sprint("s", i), "m", "hello"))
		}
		tm.ingest(announce("unheard"))
		time.Sleep(10 * time.Second)
		tm.stop()
		tm.openStore()
		var b bridge.Batch
		for _, table := range []string{"by-wait", "by-silence"} {
			rows, err := tm.store.List(t.Context(), table, "", 1<<20)
			if err != nil || len(rows) < 450 {
				t.Fatalf("%s has %d rows, %v", table, len(rows), err)
			}
			for _, row := range rows {
				b.Rows = append(b.Rows, bridge.Row{Table: table, Key: row.Key})
			}
		}
		b.Rows = append(b.Rows, bridge.Row{Table: "watch", Key: "ordered"},
			bridge.Row{Table: "watch", Key: "sum", Value: []byte(`{"open":450,"waiting":450}`)},
			bridge.Row{Table: "announced", Key: "unheard", Value: []byte(time.Now().Format(time.RFC3339)), Session: "unheard"})
		if _, err := tm.store.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := tm.store.Close(); err != nil {
			t.Fatal(err)
		}
		tm.start()
		time.Sleep(time.Minute)
		answer, _ := tm.say("telegram", "main", "Ana", "/status")
		if !strings.Contains(answer, "450 open conversations, 450 waiting") {
			t.Error(answer)
		}
		time.Sleep(2 * time.Hour)
		for _, session := range []string{"s0", "s200", "s449"} {
			called := 0
			for _, e := range tm.of(bridge.TypeAnswer) {
				var a bridge.Answer
				if json.Unmarshal(e.Event.Body, &a) == nil && a.Session == session && strings.Contains(a.Text, "has waited") {
					called++
				}
			}
			if called != 2 {
				t.Errorf("operators were called to %s %d times", session, called)
			}
		}
		time.Sleep(12 * time.Hour)
		closed := map[bridge.ThreadID]bool{}
		for _, call := range tm.places["telegram"].Calls(bridgetest.OpCloseThread) {
			closed[call.Thread] = true
		}
		for _, session := range []string{"s0", "s200", "s449", "unheard"} {
			if !closed[tm.thread("telegram", session)] {
				t.Errorf("%s is not closed", session)
			}
		}
		if len(closed) != 451 {
			t.Errorf("%d threads are closed", len(closed))
		}
		for table, want := range map[string]int{"open": 0, "by-wait": 0, "by-silence": 0, "announced": 0} {
			if n := tm.rows(table); n != want {
				t.Errorf("%d rows are left of %s", n, table)
			}
		}
	})
}

// Dead letters are listed and tried again in pages, by lane.
func TestManyDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.openStore()
		letter := func(lane string, i int) bridge.Row {
			id := fmt.Sprintf("evt_%016d", 946684800000000+i)
			value := fmt.Sprintf(`{"lane":%q,"id":%q,"reason":"rejected","event":{"type":"visitor_message","origin":"app","session":"s%d","message":"m%d","body":%s}}`,
				lane, id, i, i, message(fmt.Sprint("s", i), fmt.Sprint("m", i), "hello"))
			return bridge.Row{Table: "dead", Key: lane + "/" + id, Value: []byte(value), Session: "dead\n" + lane + id}
		}
		const letters = 2300
		for from := 0; from < letters; from += 100 {
			var b bridge.Batch
			for i := from; i < from+100; i++ {
				b.Rows = append(b.Rows, letter("telegram", i), letter("webhook", i))
			}
			if _, err := h.store.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.store.Close(); err != nil {
			t.Fatal(err)
		}
		h.start()
		for _, lane := range []string{"telegram", "webhook", ""} {
			want := letters
			if lane == "" {
				want *= 2
			}
			found, after, before := 0, "", ""
			for pages := 0; pages == 0 || after != ""; pages++ {
				page, err := h.relay.Deliveries(t.Context(), bridge.DeliveryQuery{State: bridge.StateFailed, Lane: lane, After: after, Max: 200})
				if err != nil || len(page.Deliveries) > 200 {
					t.Fatalf("%d, %v", len(page.Deliveries), err)
				}
				for _, d := range page.Deliveries {
					if found++; d.ID <= before || lane != "" && d.Lane != lane {
						t.Fatalf("%s of %s comes behind %s", d.ID, d.Lane, before)
					}
					before = d.ID
				}
				after = page.Next
			}
			if found != want {
				t.Errorf("of %q %d letters are listed", lane, found)
			}
		}
		for _, want := range [][2]int{{1000, 1000}, {1000, 300}, {300, 0}, {0, 0}} {
			retried, left, err := h.relay.RetryAll(t.Context(), "telegram")
			if err != nil || retried != want[0] || left != want[1] {
				t.Errorf("%d are tried again and %d left, %v; want %v", retried, left, err, want)
			}
			time.Sleep(10 * time.Minute)
		}
		if n := h.rows("dead"); n != letters {
			t.Errorf("%d dead letters are left", n)
		}
	})
}
