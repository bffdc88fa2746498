package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		r.env["BACKEND_WEBHOOK_SECRET"] = "s3cret"
		p := r.start()
		a := r.must("/api/messages", message("mia", "m1", "Is <b>this</b> & that in stock?"))
		if !a.OK || a.Duplicate || !strings.HasPrefix(a.ID, "evt_") || a.OperatorOnline {
			t.Errorf("answered %+v", a)
		}
		r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
		topic := r.topics("mia")[0].ID
		if got := r.shown(topic); !slices.Equal(got, []string{"Is <b>this</b> & that in stock?"}) {
			t.Errorf("the topic shows %q", got)
		}
		m := r.telegram.Say(r.chat, topic, r.ana.ID, "Yes, <both> & more!")
		r.until("at the callback", func() bool { return len(r.app.of("operator_message")) == 1 })
		got := r.app.of("operator_message")[0]
		if got.Content != "Yes, <both> & more!" || got.SessionID != "mia" || got.MessageID != "telegram:"+strconv.Itoa(m.ID) {
			t.Errorf("the callback got %s", got.body)
		}
		for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature", "X-Pocketping-Signature"} {
			if got.header.Get(name) == "" {
				t.Errorf("the callback has no %s", name)
			}
		}
		if got.header.Get("X-PocketPing-Event") != "operator_message" || got.header.Get("webhook-id") != got.ID {
			t.Errorf("headers %v for %s", got.header, got.ID)
		}
		if code := p.Exit(); code != 0 {
			t.Errorf("it ended with %d:\n%s", code, p.Output())
		}

		// After a restart the same topic goes on, and what was said before is not said again.
		r.start()
		r.must("/api/messages", message("mia", "m2", "Thanks"))
		r.until("in the same topic", func() bool {
			return slices.Equal(r.shown(topic), []string{"Is <b>this</b> & that in stock?", "Thanks"})
		})
		if n := len(r.telegram.Topics(r.chat)); n != 1 {
			t.Errorf("%d topics", n)
		}
	})
}

func TestPresence(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		r.start()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.process().base+"/api/events/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()

		r.telegram.Say(r.chat, 0, r.ana.ID, "/online")
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() && !strings.Contains(lines.Text(), `"type":"operator_status"`) {
		}
		if !strings.Contains(lines.Text(), `"online":true`) {
			t.Errorf("the stream said %s", lines.Text())
		}
		r.until("told", func() bool { return len(r.app.of("operator_status")) == 1 })
		if !r.app.of("operator_status")[0].Online {
			t.Error("the callback was told that nobody is online")
		}
		r.until("answered in chat", func() bool { return len(r.telegram.Messages(r.chat, 0)) >= 2 })
		if a := r.must("/api/messages", message("mia", "m1", "hello")); !a.OperatorOnline {
			t.Error("the answer says that nobody is online")
		}
		r.process().Kill()
		r.start()
		if a := r.must("/api/messages", message("mia", "m2", "hello")); !a.OperatorOnline {
			t.Error("after a restart nobody is online")
		}
		r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
		topic := r.topics("mia")[0].ID
		r.telegram.Say(r.chat, topic, r.ana.ID, "/status")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/nonsense")
		r.telegram.Say(r.chat, topic, r.ana.ID, "a word")
		r.telegram.Say(r.chat, topic, r.ana.ID, "!offline")
		r.until("the word at the callback", func() bool { return len(r.app.of("operator_message")) > 0 })
		if got := r.app.of("operator_message"); len(got) != 1 || got[0].Content != "a word" {
			t.Errorf("the visitor was sent %v", got)
		}
		r.until("offline", func() bool {
			all := r.app.of("operator_status")
			return len(all) == 2 && !all[1].Online
		})
		r.must("/api/operator/status", `{"online":true}`)
		r.until("online by the app", func() bool {
			all := r.app.of("operator_status")
			return len(all) == 3 && all[2].Online
		})
	})
}

// A Telegram that never answers holds up no request; when it answers again, everything is there, in order.
func TestTelegramThatNeverAnswers(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		messages, sessions := 400, 20
		if soak.Asked() {
			messages = 1000
		}
		silent := make(chan struct{})
		for _, method := range []string{"createForumTopic", "sendMessage"} {
			r.telegram.On(method, func(telegram.Call) telegram.Action { return telegram.Action{Hold: silent} })
		}
		r.start()
		var wg sync.WaitGroup
		for s := range sessions {
			wg.Go(func() {
				session := fmt.Sprint("v", s)
				for i := range messages / sessions {
					if code, a, err := r.post("/api/messages", message(session, fmt.Sprint("m", i), fmt.Sprint(i))); err != nil || code != http.StatusOK {
						t.Errorf("%d %s %v", code, a.Error, err)
					}
				}
			})
		}
		wg.Wait()
		for _, c := range r.telegram.Calls() {
			if c.Code != 0 && (c.Method == "createForumTopic" || c.Method == "sendMessage") {
				t.Fatalf("a call of %s was answered", c.Method)
			}
		}
		close(silent)
		r.until("all there", func() bool {
			n := 0
			for s := range sessions {
				for _, topic := range r.topics(fmt.Sprint("v", s)) {
					n += len(r.shown(topic.ID))
				}
			}
			return n == messages
		})
		for s := range sessions {
			topics := r.topics(fmt.Sprint("v", s))
			if len(topics) != 1 {
				t.Fatalf("session %d has %d topics", s, len(topics))
			}
			for i, text := range r.shown(topics[0].ID) {
				if text != fmt.Sprint(i) {
					t.Fatalf("session %d shows %q at place %d", s, text, i)
				}
			}
		}
	})
}

func TestRepeats(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.start()
		var fresh atomic.Int32
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				code, a, err := r.post("/api/messages", message("mia", "m1", "once"))
				if err != nil || code != http.StatusOK {
					t.Errorf("%d %v", code, err)
				}
				if !a.Duplicate {
					fresh.Add(1)
				}
			})
		}
		wg.Wait()
		if !r.must("/api/messages", message("mia", "m1", "once")).Duplicate {
			t.Error("a later repeat was taken as new")
		}
		if n := fresh.Load(); n != 1 {
			t.Errorf("%d of 32 were taken as new", n)
		}
		r.must("/api/messages", message("mia", "m2", "end"))
		r.until("the end", func() bool {
			return len(r.topics("mia")) == 1 && slices.Contains(r.shown(r.topics("mia")[0].ID), "end")
		})
		if got := r.shown(r.topics("mia")[0].ID); !slices.Equal(got, []string{"once", "end"}) {
			t.Errorf("the topic shows %q", got)
		}
	})
}

// traffic is visitors and an operator at work while the bridge is killed and started again.
type traffic struct {
	r        *rig
	budget   chan struct{} // a token for each message that may be sent
	ended    chan struct{}
	inFlight atomic.Int32
	wg       sync.WaitGroup

	mu       sync.Mutex
	total    int                 // of answered
	answered map[string][]string // session → texts that were answered with 200, in order
	said     map[string][]string // session → what the operator said, in order
}

const (
	trafficSessions = 40
	// concurrency is how many calls to Telegram the bridge has under way at most: as many may repeat at each kill.
	concurrency = 8
)

// newTraffic lets every session send one message after the other, each until it is answered, as an SDK does, for as long as
// the budget lasts; and lets an operator write in one topic after the other.
func newTraffic(r *rig) *traffic {
	tr := &traffic{
		r: r, budget: make(chan struct{}, 1_000_000), ended: make(chan struct{}),
		answered: map[string][]string{}, said: map[string][]string{},
	}
	for s := range trafficSessions {
		session := fmt.Sprint("v", s)
		tr.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-tr.budget:
					tr.sendUntilAnswered(session, strconv.Itoa(i))
				case <-tr.ended:
					return
				}
			}
		})
	}
	tr.wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				tr.say(fmt.Sprint("v", n%trafficSessions), fmt.Sprint("op-", n))
			case <-tr.ended:
				return
			}
		}
	})
	return tr
}

// allow lets the visitors send n more messages.
func (tr *traffic) allow(n int) {
	for range n {
		tr.budget <- struct{}{}
	}
}

// sent returns how many messages were answered.
func (tr *traffic) sent() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.total
}

// say lets the operator write to a session that has a topic.
func (tr *traffic) say(session, text string) {
	threads := tr.board().threads(session)
	if len(threads) == 0 {
		return
	}
	tr.board().say(threads[0], text)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.said[session] = append(tr.said[session], text)
}

func (tr *traffic) sendUntilAnswered(session, text string) {
	for {
		tr.inFlight.Add(1)
		code, _, err := tr.r.post("/api/messages", message(session, "m"+text, text))
		tr.inFlight.Add(-1)
		if err == nil && code == http.StatusOK {
			tr.mu.Lock()
			tr.total++
			tr.answered[session] = append(tr.answered[session], text)
			tr.mu.Unlock()
			return
		}
		if err == nil && code != http.StatusServiceUnavailable {
			tr.r.t.Errorf("a message was answered with %d", code)
			return
		}
		<-time.After(200 * time.Millisecond) // as a client that tries again does
	}
}

// end stops the traffic, waits until all of it is where it belongs, and holds what is there against what was promised.
func (tr *traffic) end(kills int) {
	tr.t().Helper()
	tr.endBeside(kills)
}

func (tr *traffic) t() *testing.T { return tr.r.t }

// board is where the traffic's sessions are held against what was promised.
func (tr *traffic) board() board { return tr.r.boards[0] }

// endBeside is end where sessions that are none of the traffic have topics too.
func (tr *traffic) endBeside(kills int, others ...string) {
	r, t := tr.r, tr.r.t
	t.Helper()
	r.until("every message answered", func() bool { return len(tr.budget) == 0 && tr.inFlight.Load() == 0 })
	close(tr.ended)
	tr.wg.Wait()
	b := tr.board()
	r.until("everything in its threads", func() bool {
		if b.sent() < tr.sent() {
			return false
		}
		for session, texts := range tr.answered {
			threads := b.threads(session)
			if len(threads) == 0 || !slices.Contains(b.shown(threads[len(threads)-1]), texts[len(texts)-1]) {
				return false
			}
		}
		return true
	})
	said := 0
	for _, texts := range tr.said {
		said += len(texts)
	}
	r.until("every answer at the callback", func() bool { return len(r.app.of("operator_message")) >= said })

	repeats, messages := 0, 0
	var again []string
	for session, texts := range tr.answered {
		threads := b.threads(session)
		if len(threads) != 1 {
			t.Errorf("session %s is shown in %d threads", session, len(threads))
			continue
		}
		var firsts []string
		for _, text := range b.shown(threads[0]) {
			if slices.Contains(firsts, text) {
				repeats++
				again = append(again, session+"/"+text)
				continue
			}
			firsts = append(firsts, text)
		}
		messages += len(firsts)
		if !slices.Equal(firsts, texts) {
			t.Errorf("session %s: answered %v, shown %v", session, texts, firsts)
		}
	}
	if repeats > b.repeats(kills) {
		t.Errorf("%d repeats after %d kills with %d calls under way each: %v\n%s", repeats, kills, concurrency, again,
			lastLines(r.process().Output(), 40))
	}
	orphans := b.opened() - len(tr.answered) - len(others)
	if orphans > kills*concurrency {
		t.Errorf("%d threads without a session", orphans)
	}
	got := map[string][]string{}
	for _, e := range r.app.of("operator_message") {
		got[e.SessionID] = append(got[e.SessionID], e.Content)
	}
	for session, texts := range tr.said {
		if !slices.Equal(got[session], texts) {
			t.Errorf("session %s: said %v, at the callback %v", session, texts, got[session])
		}
	}
	soak.Row(t, "%d messages and %d answers through %d kills; %d messages shown twice, %d empty threads", messages, said, kills, repeats, orphans)
}

func TestKilledAtRandom(t *testing.T) {
	kills, spread := 3, 200
	if soak.Asked() {
		kills, spread = 20, 600
	}
	onStores(t, func(t *testing.T, r *rig) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		r.start()
		tr := newTraffic(r)
		for range kills {
			moment := tr.sent() + 50 + random.IntN(spread)
			r.until("at work", func() bool {
				tr.allow(100 - len(tr.budget))
				return tr.sent() >= moment && tr.inFlight.Load() >= 30
			})
			r.process().Kill()
			r.start()
		}
		tr.end(kills)
	})
}

func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	points := []struct {
		name string
		arm  func(r *rig, now func())
	}{
		{"sendMessage received and unanswered", func(r *rig, now func()) { atStage(r, telegram.Received, "sendMessage", now) }},
		{"sendMessage done and unanswered", func(r *rig, now func()) { atStage(r, telegram.Processed, "sendMessage", now) }},
		{"sendMessage just answered", func(r *rig, now func()) { atStage(r, telegram.Answered, "sendMessage", now) }},
		{"createForumTopic done and unanswered", func(r *rig, now func()) { atStage(r, telegram.Processed, "createForumTopic", now) }},
		{"between createForumTopic and the first message", func(r *rig, now func()) { atStage(r, telegram.Answered, "createForumTopic", now) }},
		{"callback held open", func(r *rig, now func()) {
			var once sync.Once
			r.app.mu.Lock()
			defer r.app.mu.Unlock()
			r.app.before = func(e received) {
				if e.Type == "operator_message" {
					once.Do(now)
				}
			}
		}},
	}
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel() // on Redis they wait most of the time, for the killed bridge's leases to end
			onStores(t, func(t *testing.T, r *rig) {
				killed := make(chan struct{})
				r.start()
				tr := newTraffic(r)
				point.arm(r, sync.OnceFunc(func() {
					r.process().Kill()
					close(killed)
				}))
				tr.allow(250)
				select {
				case <-killed:
				case <-time.After(hung):
					t.Fatal("the point was not reached")
				}
				r.start()
				tr.allow(100)
				tr.end(1)
			})
		})
	}
}

// atStage calls now in the middle of the twentieth call of a method that gets to the stage: the call does not go on before
// it has returned.
func atStage(r *rig, stage telegram.Stage, method string, now func()) {
	var n atomic.Int32
	r.telegram.Observe(func(s telegram.Stage, c telegram.Call) {
		if s == stage && c.Method == method && n.Add(1) == 20 {
			now()
		}
	})
}

func TestOneBridgeToAFile(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.start()
	second := r.launch()
	if second.base != "" {
		second.Kill()
		t.Fatal("a second bridge works on the same file")
	}
	if code := second.Cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(second.Output(), "bridge.db") {
		t.Errorf("it ended with %d and said:\n%s", code, second.Output())
	}
}
