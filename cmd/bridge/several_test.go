package main

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// pair is two bridges on one Redis.
func pair(t *testing.T, settings ...string) *rig {
	t.Helper()
	r := newRig(t)
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		r.env[name] = value
	}
	stores()["redis"](t, r.env)
	r.start()
	r.others = []*proc{r.launch()}
	return r
}

// replace starts a bridge again in the place of one that has ended.
func (r *rig) replace(i int) {
	r.t.Helper()
	p := r.launch()
	if p.base == "" {
		r.t.Fatalf("the bridge ended at its start:\n%s", p.Output())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i == 0 {
		r.proc = p
	} else {
		r.others[i-1] = p
	}
}

// calledAgain returns a function that waits for the next call that brings something to Telegram, and says how long after the
// given moment it came.
func calledAgain(r *rig) func(from time.Time) time.Duration {
	var mu sync.Mutex
	var last time.Time
	r.telegram.Observe(func(s telegram.Stage, c telegram.Call) {
		if s == telegram.Received && (c.Method == "sendMessage" || c.Method == "createForumTopic") {
			mu.Lock()
			last = c.At
			mu.Unlock()
		}
	})
	return func(from time.Time) time.Duration {
		var d time.Duration
		r.until("taken over", func() bool {
			mu.Lock()
			defer mu.Unlock()
			d = last.Sub(from)
			return d > 0
		})
		return d
	}
}

// Two bridges share a Redis; one after the other is killed under load, and the other takes over.
func TestOneOfTwoKilled(t *testing.T) {
	t.Parallel()
	kills, spread := 3, 200
	if soak.Asked() {
		kills, spread = 20, 600
	}
	r := pair(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	tr := newTraffic(r)
	again := calledAgain(r)
	var longest time.Duration
	for range kills {
		moment := tr.sent() + 50 + random.IntN(spread)
		r.until("at work", func() bool {
			tr.allow(100 - len(tr.budget))
			return tr.sent() >= moment && tr.inFlight.Load() >= 30
		})
		i := random.IntN(2)
		r.processes()[i].Kill()
		killed := time.Now()
		tr.allow(50) // something to take over
		longest = max(longest, again(killed))
		r.replace(i)
	}
	tr.end(kills)
	if longest > 15*time.Second {
		t.Errorf("a take-over took %v", longest)
	}
	if n := conflicts(r); n > kills {
		t.Errorf("%d polls met another one", n)
	}
	soak.Row(t, "the longest of %d take-overs after kill -9 took %v", kills, longest.Round(100*time.Millisecond))
}

// conflicts returns how many polls Telegram refused because there was another one.
func conflicts(r *rig) int {
	n := 0
	for _, c := range r.telegram.Calls() {
		if c.Method == "getUpdates" && c.Code == http.StatusConflict {
			n++
		}
	}
	return n
}

// Both bridges are replaced, one after the other, by SIGTERM: nothing is lost, and nothing is sent twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	r := pair(t)
	tr := newTraffic(r)
	again := calledAgain(r)
	var longest time.Duration
	for i := range 2 {
		moment := tr.sent() + 300
		r.until("at work", func() bool {
			tr.allow(100 - len(tr.budget))
			return tr.sent() >= moment
		})
		p := r.processes()[i]
		if code := p.Exit(); code != 0 {
			t.Errorf("it ended with %d:\n%s", code, lastLines(p.Output(), 20))
		}
		ended := time.Now()
		tr.allow(50)
		longest = max(longest, again(ended))
		r.replace(i)
	}
	tr.end(0)
	if longest > 5*time.Second {
		t.Errorf("a take-over took %v although the lease was given back", longest)
	}
	if n := conflicts(r); n > 2 {
		t.Errorf("%d polls met another one", n)
	}
	t.Logf("the longer take-over took %v", longest.Round(time.Millisecond))
}

// One bridge delivers at a time, and each sees what the other accepts.
func TestTwoBridgesAreOne(t *testing.T) {
	t.Parallel()
	r := pair(t)
	for i := range 20 {
		id := string(rune('a' + i))
		r.must("/api/messages", message("mia", id, id))
	}
	r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 && len(r.shown(r.topics("mia")[0].ID)) == 20 })
	if got := strings.Join(r.shown(r.topics("mia")[0].ID), ""); got != "abcdefghijklmnopqrst" {
		t.Errorf("the topic shows %s", got)
	}
	r.telegram.Say(r.chat, 0, r.ana.ID, "/online")
	for _, p := range r.processes() {
		r.until("both know that Ana is online", func() bool {
			resp, err := r.client.Post(p.base+"/api/messages", "application/json", strings.NewReader(message("mia", "same", "once")))
			if err != nil {
				return false
			}
			defer func() { _ = resp.Body.Close() }()
			body := make([]byte, 200)
			n, _ := resp.Body.Read(body)
			return strings.Contains(string(body[:n]), `"operatorOnline":true`)
		})
	}
	waiting := 0
	for _, p := range r.processes() {
		resp, err := r.client.Get(p.base + "/readyz?verbose")
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 4096)
		n, _ := resp.Body.Read(body)
		_ = resp.Body.Close()
		waiting += strings.Count(string(body[:n]), `"state":"waiting"`)
	}
	if waiting != 2 {
		t.Errorf("%d of four lanes are another's; each has one owner of two bridges", waiting)
	}
}

// ids returns the ids of the events that a stream told, as they came.
func (l *listener) ids() []string {
	var out []string
	for line := range strings.Lines(l.heard()) {
		if id, ok := strings.CutPrefix(line, "id: "); ok && strings.HasSuffix(id, "\n") { // the last one may be cut off
			out = append(out, strings.TrimSpace(id))
		}
	}
	return out
}

// A stream tells everything, whichever bridge it is of, and whichever bridge accepts, delivers or is killed.
func TestStreamsOfTwoBridges(t *testing.T) {
	t.Parallel()
	r := pair(t, "PRESENCE_ON_REPLY=false") // of waiting statuses a callback is sent the last one alone
	killed, kept := r.processes()[0], r.processes()[1]
	cut, whole := r.listenTo(killed, ""), r.listenTo(kept, "")
	tr := newTraffic(r)
	tr.allow(300)
	r.until("at work", func() bool { return tr.sent() >= 200 && len(cut.ids()) > 0 })
	killed.Kill()
	<-cut.ended
	r.replace(0)
	late := r.listenTo(r.process(), "")
	tr.allow(100)
	tr.end(1)

	var told []string
	r.eventually(func() bool {
		told = told[:0]
		for _, kind := range []string{"operator_message", "message_delivered"} {
			for _, e := range r.app.of(kind) {
				told = append(told, e.ID)
			}
		}
		slices.Sort(told)
		got, last := whole.ids(), late.ids()
		return slices.Equal(got, told) && len(got) > 0 && len(last) > 0 && last[len(last)-1] == got[len(got)-1]
	})
	if got := whole.ids(); !slices.Equal(got, told) {
		t.Errorf("the stream told %d events, the callback %d", len(got), len(told))
	}
	for name, l := range map[string]*listener{"killed": cut, "late": late} {
		got := l.ids()
		if len(got) == 0 {
			t.Errorf("the %s bridge's stream told nothing", name)
			continue
		}
		from := slices.Index(told, got[0])
		if from < 0 || from+len(got) > len(told) || !slices.Equal(got, told[from:from+len(got)]) {
			t.Errorf("the %s bridge's stream told %d events that are not those of the other from %s on", name, len(got), got[0])
		}
	}
	t.Logf("%d events: %d before the kill, %d after the restart", len(told), len(cut.ids()), len(late.ids()))
}
