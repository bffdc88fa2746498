package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/filltest"
	"github.com/pocketping/bridge/internal/store/redis"
)

// accepted by a bridge: what it has in its log of one visitor's message.
func acceptedEvent(t *testing.T) bridge.Event {
	t.Helper()
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.start()
	r.must("/api/messages", message("model-session", "model-message", "model-text"))
	r.until("in the topic", func() bool { return len(r.topics("model-session")) == 1 })
	r.end(r.process())
	s, err := bolt.Open(filepath.Join(r.env["DATA_DIR"], "bridge.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	entries, err := s.Read(t.Context(), 0, 10, 0)
	if err != nil || len(entries) == 0 || entries[0].Event.Type != bridge.TypeVisitorMessage {
		t.Fatalf("the log has %v, %v", entries, err)
	}
	return entries[0].Event
}

const backlogEach = 50 // messages of a session

// drained follows what Telegram shows of a backlog, without keeping it.
type drained struct {
	mu     sync.Mutex
	begun  time.Time
	first  time.Duration // after the start
	next   map[string]int
	shown  int
	calls  int
	faults []string
}

var ofBacklog = regexp.MustCompile(`b([0-9]+)\.`)

// see takes a call that has had its effect.
func (d *drained) see(session, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	for _, m := range ofBacklog.FindAllStringSubmatch(text, -1) {
		if d.first == 0 {
			d.first = time.Since(d.begun)
		}
		if n, _ := strconv.Atoi(m[1]); n != d.next[session] && len(d.faults) < 10 {
			d.faults = append(d.faults, fmt.Sprintf("%s shows %d and not %d", session, n, d.next[session]))
		}
		d.next[session]++
		d.shown++
	}
}

func (d *drained) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shown
}

// follow has what the stand-in for Telegram shows seen. A thread's name is its session's.
func (d *drained) follow(server *telegram.Server) {
	var mu sync.Mutex
	names := map[string]string{}
	server.Observe(func(s telegram.Stage, c telegram.Call) {
		if s != telegram.Processed || c.Method != "sendMessage" && c.Method != "editMessageText" {
			return
		}
		mu.Lock()
		name, known := names[c.Thread]
		mu.Unlock()
		if !known {
			for _, topic := range server.Topics(mustInt(c.Place)) {
				if strconv.Itoa(topic.ID) == c.Thread {
					name = topic.Name
				}
			}
			mu.Lock()
			names[c.Thread] = name
			mu.Unlock()
		}
		d.see(name, c.Text)
	})
}

func mustInt(text string) int64 { n, _ := strconv.ParseInt(text, 10, 64); return n }

// TestLongOutage starts a bridge on a store in which very many messages wait for a Telegram that was away: the first is shown at once, the
// others follow in order, and everybody else goes on as if there were nothing.
func TestLongOutage(t *testing.T) {
	counts := []int{5_000}
	if soak.Asked() {
		counts = []int{20_000, 1_000_000}
	} else {
		t.Parallel()
	}
	model := acceptedEvent(t)
	for _, kind := range []string{"bolt", "redis"} {
		t.Run(kind, func(t *testing.T) {
			if !soak.Asked() {
				t.Parallel()
			}
			for _, n := range counts {
				drain(t, kind, model, n)
			}
		})
	}
}

// waiting fills the store of a rig with messages that wait for Telegram.
func (r *rig) waiting(t *testing.T, kind string, model bridge.Event, n, sessions int) {
	t.Helper()
	r.env["UNANSWERED_AFTER"] = "off"
	stores()[kind](t, r.env)
	var s store.Store
	var err error
	if kind == "bolt" {
		s, err = bolt.Open(filepath.Join(r.env["DATA_DIR"], "bridge.db"), bolt.Options{})
	} else {
		s, err = redis.Open(t.Context(), r.env["REDIS_URL"], redis.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	filltest.Waiting(t, s, model, n, sessions, "telegram", "discord", "callbacks")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOutageTakesPages starts a bridge on a store in which very many messages wait for a Telegram that is away still: all of them are told to
// wait, and what they take in memory does not follow their number.
func TestOutageTakesPages(t *testing.T) {
	t.Parallel()
	counts, each := []int{2_000}, []int{backlogEach}
	if soak.Asked() {
		counts, each = []int{50_000, 200_000}, []int{backlogEach, 1}
	}
	model := acceptedEvent(t)
	for _, of := range each {
		for _, n := range counts {
			r := newRig(t)
			r.waiting(t, "bolt", model, n, n/of)
			gone := func(telegram.Call) telegram.Action { return telegram.Fail(http.StatusBadGateway, "Bad Gateway") }
			r.telegram.On("createForumTopic", gone)
			r.telegram.On("sendMessage", gone)
			p := r.start()
			most := 0
			begun := time.Now()
			r.until("all told", func() bool {
				_, anonymous := resident(t, p)
				most = max(most, anonymous)
				told, _ := r.scrape(p.base, "")
				return told[`bridge_lane_backlog{lane="telegram"}`] >= float64(n)
			})
			soak.Row(t, "%d wait for a platform that is away, %d of a session: told after %.1f s; %d MiB of the bridge's own at most", n, of,
				time.Since(begun).Seconds(), most)
			if code := p.Exit(); code != 0 {
				t.Errorf("it ended with %d:\n%s", code, lastLines(p.Output(), 20))
			}
		}
	}
}

func drain(t *testing.T, kind string, model bridge.Event, n int) {
	r := newRig(t)
	r.use("telegram", "discord text")
	r.waiting(t, kind, model, n, n/backlogEach)
	d := &drained{begun: time.Now(), next: map[string]int{}}
	d.follow(r.telegram)
	p := r.start()
	other := r.boards[1]
	beside := make(chan time.Duration, 1) // the longest that somebody else waits meanwhile
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		var longest time.Duration
		defer func() { beside <- longest }() // also when it fails
		for i := 0; ctx.Err() == nil; i++ {
			text := fmt.Sprint("beside ", i)
			asked := time.Now()
			r.must("/api/messages", message("beside", text, text))
			r.until("shown on Discord", func() bool {
				shown := texts(other, "beside")
				return len(shown) > 0 && shown[len(shown)-1] == text
			})
			longest = max(longest, time.Since(asked))
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	most := 0
	r.until("all shown", func() bool {
		_, anonymous := resident(t, p)
		most = max(most, anonymous)
		return d.count() >= n
	})
	took := time.Since(d.begun)
	stop()
	longest := <-beside
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, fault := range d.faults {
		t.Error(fault)
	}
	if d.shown != n || len(d.next) != n/backlogEach {
		t.Errorf("%d of %d are shown, in %d threads", d.shown, n, len(d.next))
	}
	if got := other.opened(); got != 1 {
		t.Errorf("Discord has %d threads: it was shown what it had", got)
	}
	if d.first > 2*time.Second && soak.Asked() {
		t.Errorf("the first was shown after %v", d.first)
	}
	soak.Row(t, "%d waiting: the first is shown %.2f s after the start, all after %.1f s in %d calls, in order; %d MiB of its own at most; beside it somebody else waits %d ms at most",
		n, d.first.Seconds(), took.Seconds(), d.calls, most, longest.Milliseconds())
	if code := p.Exit(); code != 0 {
		t.Errorf("it ended with %d:\n%s", code, lastLines(p.Output(), 20))
	}
}
