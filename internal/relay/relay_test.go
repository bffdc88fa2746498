package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/files"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/relay/sinks"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// house is a relay at work on the embedded store, with platforms in memory, inside a synctest bubble.
type house struct {
	t         *testing.T
	path      string
	store     *bolt.Store
	relay     *relay.Relay
	platforms []bridge.Platform
	receivers *receivers
	presence  *presence
	open      relay.OpenThread
	kept      time.Duration // Options.Retention
	meter     relay.Meter   // nil: nothing is counted
	webhook   sinks.Webhook // nil: there is none
	hangs     *hanging      // instead of the receivers, unless nil
	files     relay.Files   // nil: they are links
	depot     *files.Depot  // where they come to
	// adjust sets further options, and returns what runs beside the relay, or nothing. nil: there is nothing further.
	adjust func(*relay.Options) func(context.Context)
	said   transcript
	keeps  store.Store // where nothing works, instead of store
	stop   func()
}

func newHouse(t *testing.T, platforms ...bridge.Platform) *house {
	return &house{
		t: t, path: filepath.Join(t.TempDir(), "bridge.db"), platforms: platforms, open: relay.OpenOnMessage,
		receivers: newReceivers(), presence: &presence{},
	}
}

// openStore opens the store while nothing works.
func (h *house) openStore() {
	h.t.Helper()
	s, err := bolt.Open(h.path, bolt.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.store = s
}

// start opens the store and lets the relay work, until stop or the end of the test.
func (h *house) start() *house {
	h.t.Helper()
	log := slog.New(slog.NewTextHandler(io.MultiWriter(testWriter{h.t}, &h.said), &slog.HandlerOptions{Level: slog.LevelInfo}))
	s, err := bolt.Open(h.path, bolt.Options{Logger: log})
	if err != nil {
		h.t.Fatal(err)
	}
	h.store = s
	h.presence.store = s
	var told relay.Receivers = h.receivers
	if h.hangs != nil {
		told = h.hangs
	}
	h.depot = files.NewDepot(files.DepotOptions{Dir: filepath.Dir(h.path), Log: log})
	o := relay.Options{
		Depot: h.depot,
		Store: s, Presence: h.presence, Receivers: told, Platforms: h.platforms, OpenThread: h.open, Retention: h.kept,
		Webhook: h.webhook, Meter: h.meter, Files: h.files, Log: log,
	}
	beside := func(context.Context) {}
	if h.adjust != nil {
		if more := h.adjust(&o); more != nil {
			beside = more
		}
	}
	h.relay = relay.New(o)
	if err := h.relay.Start(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		var work sync.WaitGroup
		work.Go(func() { beside(ctx) })
		h.relay.Run(ctx)
		work.Wait()
		close(done)
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		h.depot.Close()
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return h
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (h *house) ingest(body string) bridge.Accepted {
	h.t.Helper()
	out, err := h.try(body)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *house) try(body string) (bridge.Accepted, error) {
	var e bridge.AppEvent
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return bridge.Accepted{}, err
	}
	return h.relay.Ingest(context.Background(), bridge.Inbound{Event: &e, Body: []byte(body), Callback: h.receivers.from})
}

func message(session, id, text string) string {
	return fmt.Sprintf(`{"type":"visitor_message","session":{"id":%q,"visitorId":"v-%s"},"message":{"id":%q,"sessionId":%q,"content":%q}}`,
		session, session, id, session, text)
}

func announce(session string) string {
	return fmt.Sprintf(`{"type":"new_session","session":{"id":%q,"visitorId":"v-%s"}}`, session, session)
}

// events returns the whole log.
func (h *house) events() []bridge.Entry {
	h.t.Helper()
	entries, err := h.store.Read(context.Background(), 0, 100_000, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return entries
}

func (h *house) of(t bridge.Type) []bridge.Entry {
	var out []bridge.Entry
	for _, e := range h.events() {
		if e.Event.Type == t {
			out = append(out, e)
		}
	}
	return out
}

func fault(reason bridge.Reason, scope bridge.Scope) error {
	return &bridge.DeliveryError{Reason: reason, Scope: scope, Op: "send", Detail: "as the test says"}
}

// refused are the answers by which a first message is refused for good: with its card, and without.
func refused() []error {
	return []error{fault(bridge.ReasonRejected, bridge.ScopeSession), fault(bridge.ReasonRejected, bridge.ScopeSession)}
}

// stamp is when a late message was written, as the tests' clock shows it.
var stamp = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z · `)

// texts returns what a session's threads show, in order; cards, and when late messages were written, are cut off.
func texts(p *bridgetest.Platform, session string) []string {
	var out []string
	for _, id := range p.Threads(session) {
		for _, text := range p.Texts(id) {
			if _, rest, ok := strings.Cut(text, "]\n"); ok && strings.HasPrefix(text, "[card") {
				text = rest
			}
			out = append(out, stamp.ReplaceAllString(text, ""))
		}
	}
	return out
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// presence stands in for the real one: it writes what it is given and remembers who is online.
type presence struct {
	store  store.Store
	online bool
	who    bridge.Person // who was seen last
}

func (p *presence) Set(ctx context.Context, _ bridge.Account, s bridge.Status, _ time.Time, w bridge.PresenceWrite) (bridge.Result, error) {
	p.online = s == bridge.StatusOnline
	return p.write(ctx, w)
}
func (p *presence) SetApp(ctx context.Context, online bool, w bridge.PresenceWrite) (bridge.Result, error) {
	p.online = online
	return p.write(ctx, w)
}
func (p *presence) Seen(ctx context.Context, who bridge.Account, _ bool, w bridge.PresenceWrite) (bridge.Result, error) {
	p.who = bridge.Person{Operator: bridge.Operator{ID: who.Key(), Name: who.Name}, Called: who.Name, Accounts: []bridge.Account{who}}
	return p.write(ctx, w)
}
func (p *presence) MarkAway(ctx context.Context, _ string, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.write(ctx, w)
}
func (p *presence) Rename(ctx context.Context, _ bridge.Account, _ string, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.write(ctx, w)
}
func (p *presence) Begin(ctx context.Context, _ bridge.LinkEnd, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.write(ctx, w)
}
func (p *presence) Join(ctx context.Context, _ bridge.LinkEnd, _ string, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.write(ctx, w)
}
func (p *presence) Confirm(ctx context.Context, _ bridge.Account, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.write(ctx, w)
}
func (p *presence) Leave(ctx context.Context, _ bridge.Account, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.write(ctx, w)
}
func (p *presence) write(ctx context.Context, w bridge.PresenceWrite) (bridge.Result, error) {
	b := bridge.Batch{}
	if w.Also != nil {
		b = w.Also(bridge.PresenceChange{Person: p.who})
	}
	if w.Commit != nil {
		return w.Commit(ctx, b)
	}
	return p.store.Commit(ctx, b)
}
func (p *presence) People(context.Context) ([]bridge.Person, error) { return nil, nil }
func (p *presence) Online() bool                                    { return p.online }
func (p *presence) Status() bridge.OperatorStatus {
	return bridge.OperatorStatus{Online: p.online, Operators: []bridge.Operator{}}
}
func (p *presence) Moment(context.Context, string) (time.Time, bool, error) {
	return time.Time{}, false, nil
}
func (p *presence) Clock(t, _ time.Time) string             { return t.Format(time.RFC3339) }
func (p *presence) Summary(context.Context) (string, error) { return "everyone is here", nil }
func (p *presence) Observe(bridge.Entry)                    {}

// receivers are callbacks in memory.
type receivers struct {
	from     string        // the instance that requests name
	unwanted []bridge.Type // that none of them asked for
	// answers is what a receiver says to an event, in its time; nil: it takes everything that fails does not refuse.
	answers func(ctx context.Context, target string, e bridge.Entry) error

	mu      sync.Mutex
	ids     []string
	fails   map[string]error
	got     map[string][]bridge.Entry
	dead    map[string]bool // failing for so long that bindings to it do not count
	changes chan struct{}
}

func newReceivers(ids ...string) *receivers {
	return &receivers{ids: ids, fails: map[string]error{}, got: map[string][]bridge.Entry{}, dead: map[string]bool{}, changes: make(chan struct{})}
}

func (r *receivers) Targets(e bridge.Entry, bound string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.unwanted, e.Event.Type) {
		return nil
	}
	if only := e.Event.Callback; only != "" {
		if slices.Contains(r.ids, only) {
			return []string{only}
		}
		return nil
	}
	if slices.Contains(r.ids, bound) && !r.dead[bound] {
		return []string{bound}
	}
	return slices.Clone(r.ids)
}

func (r *receivers) Post(ctx context.Context, target string, e bridge.Entry) error {
	if r.answers != nil {
		if err := r.answers(ctx, target, e); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fails[target]; err != nil {
		return err
	}
	r.got[target] = append(r.got[target], e)
	return nil
}

func (r *receivers) Touch(_ context.Context, id string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.ids, id), nil
}

func (r *receivers) Registered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ids) > 0
}

func (r *receivers) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changes
}

func (r *receivers) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changes)
	r.changes = make(chan struct{})
}

// entries are those that a target has got so far.
func (r *receivers) entries(target string) []bridge.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[target])
}

func (r *receivers) messages(target string) []string {
	var out []string
	for _, e := range r.entries(target) {
		if e.Event.Type == bridge.TypeOperatorMessage {
			var m bridge.OperatorMessage
			_ = json.Unmarshal(e.Event.Body, &m)
			out = append(out, m.Content)
		}
	}
	return out
}

// bubble runs a test on a controlled clock with a platform that works.
func bubble(t *testing.T, test func(t *testing.T, h *house, p *bridgetest.Platform)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := bridgetest.NewPlatform("telegram")
		p.Bears.Concurrency = 8
		h := newHouse(t, p)
		defer func() {
			if h.stop != nil {
				h.stop()
			}
		}()
		test(t, h, p)
	})
}

func TestMessagesReachOneThreadPerSession(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		for i := range 20 {
			for _, s := range []string{"a", "b", "c"} {
				h.ingest(message(s, fmt.Sprint("m", i), fmt.Sprint(s, i)))
			}
		}
		synctest.Wait()
		for _, s := range []string{"a", "b", "c"} {
			if n := len(p.Threads(s)); n != 1 {
				t.Errorf("session %s has %d threads", s, n)
			}
			var expect []string
			for i := range 20 {
				expect = append(expect, fmt.Sprint(s, i))
			}
			want(t, texts(p, s), expect...)
		}
		if n := len(h.of(bridge.TypeMessageDelivered)); n != 60 {
			t.Errorf("%d receipts", n)
		}
	})
}

func TestPlatformThatNeverAnswers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		release := p.Hold(bridgetest.OpOpenThread)
		h.start()
		for i := range 1000 {
			h.ingest(message(fmt.Sprint("s", i%50), fmt.Sprint("m", i), fmt.Sprint(i)))
		}
		synctest.Wait()
		if n := len(p.Calls()); n > 8 {
			t.Errorf("%d calls for a concurrency of 8", n)
		}
		release()
		time.Sleep(5 * time.Minute) // on the bubble's clock
		for s := range 50 {
			var expect []string
			for i := s; i < 1000; i += 50 {
				expect = append(expect, fmt.Sprint(i))
			}
			want(t, texts(p, fmt.Sprint("s", s)), expect...)
		}
	})
}

func TestOneDeadPlatformHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dead, alive := bridgetest.NewPlatform("telegram"), bridgetest.NewPlatform("discord")
		release := dead.Hold(bridgetest.OpOpenThread)
		defer release()
		h := newHouse(t, dead, alive).start()
		defer h.stop()
		defer release()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		want(t, texts(alive, "a"), "hello")
		if len(texts(dead, "a")) != 0 {
			t.Error("the dead one answered")
		}
	})
}

func TestRepeatIsRecognised(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		var wg sync.WaitGroup
		var mu sync.Mutex
		fresh := 0
		ids := map[string]bool{}
		for range 16 {
			wg.Go(func() {
				out, err := h.try(message("a", "1", "once"))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if !out.Duplicate {
					fresh++
				}
				ids[out.ID] = true
			})
		}
		wg.Wait()
		if out := h.ingest(message("a", "1", "once")); !out.Duplicate {
			t.Error("the repeat was not recognised")
		}
		synctest.Wait()
		want(t, texts(p, "a"), "once")
		if fresh != 1 || len(ids) != 1 {
			t.Errorf("%d were taken as new, under %d ids", fresh, len(ids))
		}
	})
}

func TestFaultsOfPlatforms(t *testing.T) {
	t.Parallel()
	session, destination := bridge.ScopeSession, bridge.ScopeDestination
	tests := []struct {
		name  string
		fail  func(p *bridgetest.Platform)
		after time.Duration
		check func(t *testing.T, h *house, p *bridgetest.Platform)
	}{
		{"transient", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, fault(bridge.ReasonTransient, session), fault(bridge.ReasonTransient, session))
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) { want(t, texts(p, "a"), "one", "two") }},
		{"transient for the whole platform", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, fault(bridge.ReasonTransient, destination), fault(bridge.ReasonTransient, destination))
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) { want(t, texts(p, "a"), "one", "two") }},
		{"rate limited", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: destination, RetryAfter: 40 * time.Second})
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) {
			want(t, texts(p, "a"), "one", "two")
			calls := p.Calls(bridgetest.OpSend)
			if d := calls[1].At.Sub(calls[0].At); d < 42*time.Second {
				t.Errorf("a call went after %v, into the window that is closed, or less than a twentieth of its time behind it", d)
			}
		}},
		{"answer lost, sent all the same", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, bridgetest.After(fault(bridge.ReasonUnconfirmed, session)))
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) { want(t, texts(p, "a"), "one", "one", "two") }},
		{"thread gone", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, fault(bridge.ReasonThreadGone, session))
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) {
			want(t, texts(p, "a"), "one", "two")
			if n := len(p.Threads("a")); n != 2 {
				t.Errorf("%d threads", n)
			}
		}},
		{"markup refused", func(p *bridgetest.Platform) {
			p.Markup = true
			p.Fail(bridgetest.OpSend, fault(bridge.ReasonRejected, session))
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) {
			calls := p.Calls(bridgetest.OpSend)
			if calls[0].Part.Plain == "" || calls[1].Part.Plain != "" || calls[1].Text != calls[0].Part.Plain {
				t.Errorf("sent %+v, then %+v", calls[0].Part, calls[1].Part)
			}
			if len(texts(p, "a")) != 2 {
				t.Error("not both are shown")
			}
		}},
		{"content refused", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, refused()...)
		}, time.Minute, func(t *testing.T, h *house, p *bridgetest.Platform) {
			want(t, warned(t, texts(p, "a"), "as the test says"), "two")
			failed := h.of(bridge.TypeMessageFailed)
			if len(failed) != 1 || failed[0].Event.Message != "1" {
				t.Errorf("told of %v", failed)
			}
			rows, err := h.store.List(t.Context(), "dead", "", 1<<20)
			if err != nil || len(rows) != 1 {
				t.Errorf("dead letters: %v, %v", rows, err)
			}
		}},
		{"token refused for an hour", func(p *bridgetest.Platform) {
			until := time.Now().Add(time.Hour)
			p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
				if time.Now().Before(until) {
					return fault(bridge.ReasonAuth, destination)
				}
				return nil
			})
		}, 61 * time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) {
			want(t, texts(p, "a"), "one", "two")
			if n := len(p.Calls(bridgetest.OpSend)); n > 125 {
				t.Errorf("%d probes in an hour", n)
			}
		}},
		{"moved", func(p *bridgetest.Platform) {
			p.Fail(bridgetest.OpSend, &bridge.DeliveryError{Reason: bridge.ReasonMoved, MovedTo: "new"})
		}, time.Minute, func(t *testing.T, _ *house, p *bridgetest.Platform) {
			want(t, texts(p, "a"), "one", "two")
			if moves := p.Calls(bridgetest.OpMove); len(moves) != 1 || moves[0].Text != "new" {
				t.Errorf("moves: %v", moves)
			}
		}},
		{"a panic", func(p *bridgetest.Platform) {
			first := true
			p.Hook(bridgetest.OpSend, func(context.Context, bridgetest.Call) error {
				if first {
					first = false
					panic("as the test says")
				}
				return nil
			})
		}, time.Minute, func(t *testing.T, h *house, p *bridgetest.Platform) {
			want(t, warned(t, texts(p, "a"), "a defect in the bridge"), "two")
			if len(h.of(bridge.TypeMessageFailed)) != 1 {
				t.Error("nobody was told")
			}
		}},
		{"two days away", func(p *bridgetest.Platform) {
			p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error { return fault(bridge.ReasonTransient, destination) })
		}, 48 * time.Hour, func(t *testing.T, h *house, p *bridgetest.Platform) {
			want(t, texts(p, "a"))
			if n := len(h.of(bridge.TypeMessageFailed)); n != 2 {
				t.Errorf("told of %d", n)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				test.fail(p)
				h.start()
				h.ingest(message("a", "1", "one"))
				h.ingest(message("a", "2", "two"))
				time.Sleep(test.after)
				synctest.Wait()
				test.check(t, h, p)
			})
		})
	}
}

func TestClosedThreadIsReopenedForWordsOnly(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		p.ShutThread(p.Threads("a")[0])
		h.ingest(`{"type":"custom_event","session":{"id":"a","visitorId":"v-a"},"event":{"name":"click"}}`)
		time.Sleep(time.Minute)
		if n := len(p.Calls(bridgetest.OpReopenThread)); n != 0 {
			t.Error("a notice reopened the thread")
		}
		h.ingest(message("a", "2", "two"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "one", "two")
	})
}

// A platform that takes calls and answers none is asked by one session at a time, and not too often.
func TestSilentPlatformIsProbed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		release := p.Hold(bridgetest.OpOpenThread)
		h.start()
		for s := range 50 {
			h.ingest(message(fmt.Sprint("s", s), "1", "hello"))
		}
		time.Sleep(time.Hour)
		if n := len(p.Calls(bridgetest.OpOpenThread)); n > 120 { // eight at a time would be 960
			t.Errorf("%d calls in an hour", n)
		}
		release()
		time.Sleep(10 * time.Minute)
		for s := range 50 {
			want(t, texts(p, fmt.Sprint("s", s)), "hello")
		}
	})
}

func TestOneFailingSessionHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for _, scope := range []bridge.Scope{bridge.ScopeSession, bridge.ScopeDestination} {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			p.Bears.Concurrency = 1
			p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
				if strings.Contains(c.Text, "poison") {
					return fault(bridge.ReasonTransient, scope)
				}
				return nil
			})
			h.start()
			h.ingest(message("bad", "1", "poison"))
			for i := range 20 {
				h.ingest(message("good", fmt.Sprint(i), fmt.Sprint(i)))
			}
			time.Sleep(10 * time.Minute)
			if n := len(texts(p, "good")); n != 20 {
				t.Errorf("scope %d: %d of 20 arrived beside a session that always fails", scope, n)
			}
		})
	}
}

func TestOpenThread(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode    relay.OpenThread
		busy    bool
		leaves  bool
		threads int
	}{
		{relay.OpenOnMessage, false, false, 0},
		{relay.OpenOnSession, false, false, 1},
		{relay.OpenOnSession, true, false, 1},
		{relay.OpenOnSession, true, true, 0},
		{relay.OpenAuto, false, false, 0}, // nobody knows who it is
		{"", false, false, 0},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s busy=%v leaves=%v", test.mode, test.busy, test.leaves), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				h.open = test.mode
				p.Bears.Pace = []bridge.Pace{{Calls: 4, Per: time.Minute}}
				p.Bears.Concurrency = 1
				h.start()
				if test.busy {
					for i := range 6 {
						h.ingest(message("busy", fmt.Sprint(i), "x"))
					}
					synctest.Wait()
				}
				h.ingest(announce("a"))
				if test.leaves {
					h.ingest(`{"type":"visitor_disconnect","session":{"id":"a","visitorId":"v-a"},"duration":3,"reason":"page_unload"}`)
				}
				time.Sleep(70 * time.Second)
				if test.mode == relay.OpenOnSession {
					time.Sleep(3 * time.Minute)
				}
				if n := len(p.Threads("a")); n != test.threads {
					t.Errorf("%d threads, want %d", n, test.threads)
				}
				h.ingest(message("a", "1", "hello"))
				time.Sleep(5 * time.Minute)
				if n := len(p.Threads("a")); n != 1 || !slices.Contains(texts(p, "a"), "hello") {
					t.Errorf("after a message: %d threads showing %q", n, texts(p, "a"))
				}
			})
		})
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	edit := func(id, text string) string {
		return fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":"a","messageId":%q,"content":%q}`, id, text)
	}
	t.Run("an edit that overtakes its message", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "0", "zero"))
			h.ingest(edit("1", "better"))
			h.ingest(message("a", "2", "two"))
			time.Sleep(50 * time.Second)
			want(t, texts(p, "a"), "zero", "two")
			h.ingest(message("a", "1", "one"))
			time.Sleep(time.Second)
			want(t, texts(p, "a"), "zero", "two", "better")
		})
	})
	t.Run("an edit of nothing", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "0", "zero"))
			h.ingest(edit("1", "better"))
			time.Sleep(61 * time.Second)
			h.ingest(message("a", "1", "one"))
			time.Sleep(time.Minute)
			want(t, texts(p, "a"), "zero", "one")
		})
	})
	t.Run("however late the lane is", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			until := time.Now().Add(3 * time.Hour)
			p.Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
				if time.Now().Before(until) {
					return fault(bridge.ReasonTransient, bridge.ScopeDestination)
				}
				return nil
			})
			h.start()
			h.ingest(message("a", "0", "zero"))
			h.ingest(edit("1", "better")) // in time
			h.ingest(edit("2", "late"))
			time.Sleep(30 * time.Second)
			h.ingest(message("a", "1", "one"))
			time.Sleep(31 * time.Second)
			h.ingest(message("a", "2", "two"))
			time.Sleep(4 * time.Hour)
			want(t, texts(p, "a"), "zero", "better", "two")
		})
	})
}

// A 429 closes the window for all calls, also when others that were under way succeed after it.
func TestClosedWindowStaysClosed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		began := time.Now()
		p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if strings.Contains(c.Text, "slow") {
				time.Sleep(2 * time.Second)
				return nil
			}
			if time.Since(began) < 30*time.Second {
				return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, RetryAfter: 30 * time.Second}
			}
			return nil
		})
		h.start()
		h.ingest(message("a", "1", "slow"))
		time.Sleep(time.Second)
		h.ingest(message("b", "1", "quick"))
		time.Sleep(2 * time.Second)
		h.ingest(message("c", "1", "later"))
		time.Sleep(time.Minute)
		for _, c := range p.Calls(bridgetest.OpSend) {
			if at := c.At.Sub(began); at > time.Second && at < 31*time.Second {
				t.Errorf("a call went into the closed window after %v", at)
			}
		}
		want(t, texts(p, "c"), "later")
	})
}

// What the site's own inbox or its AI says is shown; what came from a chat of ours is not shown again.
func TestOperatorMessagesOfTheApp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		other := bridgetest.NewPlatform("discord")
		h.platforms = append(h.platforms, other)
		h.start()
		for id, source := range map[string]string{"1": "telegram", "2": "discord", "3": "inbox"} {
			h.ingest(fmt.Sprintf(`{"type":"operator_message","session":{"id":"a","visitorId":"v"},"sourceBridge":%q,"operatorName":"Ana",`+
				`"message":{"id":%q,"sessionId":"a","content":%q,"sender":"operator"}}`, source, id, "from "+source))
		}
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "Ana (site): from inbox")
		want(t, texts(other, "a"), "Ana (site): from inbox")
	})
}

// warned takes the one warning out of a thread's texts, which says why.
func warned(t *testing.T, shown []string, why string) []string {
	t.Helper()
	rest := slices.DeleteFunc(slices.Clone(shown), func(text string) bool {
		return strings.Contains(text, "⚠️") && strings.Contains(text, why)
	})
	if len(shown)-len(rest) != 1 {
		t.Errorf("%q has not one warning: %s", shown, why)
	}
	return rest
}

// A body that cannot be read any more, such as one that is nested too deep to be marshalled, ends as a dead letter and holds
// up nothing.
func TestUnreadableBody(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		deep := strings.Repeat("[", 11_000) + strings.Repeat("]", 11_000)
		_, err := h.store.Commit(context.Background(), bridge.Batch{Events: []bridge.Event{{
			Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: "a", Message: "0", Body: []byte(`{"x":` + deep + `}`),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		h.ingest(message("a", "1", "one"))
		time.Sleep(time.Minute)
		want(t, warned(t, texts(p, "a"), "exceeded max depth"), "one")
		if rows, err := h.store.List(t.Context(), "dead", "", 1<<20); err != nil || len(rows) != 1 {
			t.Errorf("dead letters: %d, %v", len(rows), err)
		}
	})
}

func TestManyIDsAreOneClaim(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.start()
		ids := strings.Repeat(`"a-rather-long-message-id",`, 60_000) + `"x"`
		body := `{"type":"message_read","sessionId":"a","status":"read","messageIds":[` + ids + `]}`
		if h.ingest(body).Duplicate || !h.ingest(body).Duplicate {
			t.Error("the repeat is not told from the first")
		}
	})
}

func TestRestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.PartSize = 4
		h.start()
		h.ingest(message("a", "1", "one"))
		synctest.Wait()
		h.stop()

		// Stopped with a message in the middle of its parts, and another behind it.
		sent := 0
		p.Hook(bridgetest.OpSend, func(ctx context.Context, c bridgetest.Call) error {
			if sent++; sent == 2 {
				<-ctx.Done()
				return fault(bridge.ReasonTransient, bridge.ScopeSession)
			}
			return nil
		})
		h.start()
		h.ingest(message("a", "2", "aaaabbbbcccc"))
		h.ingest(message("a", "3", "end"))
		synctest.Wait()
		h.stop()

		p.Hook(bridgetest.OpSend, nil)
		h.start()
		synctest.Wait()
		all := p.Texts(p.Threads("a")[0])
		want(t, all[len(all)-4:], "aaaa", "bbbb", "cccc", "end")
		if n := len(p.Threads("a")); n != 1 {
			t.Errorf("%d threads", n)
		}
	})
}

func TestOperatorsAnswer(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		other := bridgetest.NewPlatform("discord")
		h.platforms = append(h.platforms, other)
		h.receivers.ids = []string{"x"}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		p.Say(p.Threads("a")[0], "Ana", "hi there")
		p.Say("nowhere", "Ana", "among ourselves")
		p.Say(p.Threads("a")[0], "Ana", "!status")
		p.Say(p.Threads("a")[0], "Ana", "!!! is a word")
		synctest.Wait()
		want(t, h.receivers.messages("x"), "hi there", "!!! is a word")
		want(t, texts(other, "a"), "hello", "Ana (Telegram): hi there", "Ana (Telegram): !!! is a word")
		got := texts(p, "a")
		if len(got) != 2 || !strings.HasPrefix(got[1], "everyone is here") {
			t.Errorf("the asking thread shows %q", got)
		}
		m := h.of(bridge.TypeOperatorMessage)[0].Event
		if m.Session != "a" || !strings.HasPrefix(m.Message, "telegram:") {
			t.Errorf("event %+v", m)
		}
	})
}

// An update that comes while the thread it names is being made waits for it, unacknowledged.
func TestAnswerOvertakesTheThread(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		release := p.Hold(bridgetest.OpOpenThread)
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		p.Say("thread-a-1", "Ana", "quick")
		synctest.Wait()
		if n := p.Acknowledged(); n != 0 {
			t.Errorf("%d updates were acknowledged", n)
		}
		release()
		time.Sleep(time.Minute)
		id := p.Threads("a")[0]
		if id != "thread-a-1" {
			t.Fatalf("the platform names its thread %s", id)
		}
		want(t, h.receivers.messages("x"), "quick")
	})
}

func TestUpdateSeenAgainIsOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.receivers.ids = []string{"x"}
		h.start()
		h.ingest(message("a", "1", "hello"))
		synctest.Wait()
		for i := range 5 {
			p.Say(p.Threads("a")[0], "Ana", fmt.Sprint(i))
		}
		synctest.Wait()
		p.Rewind(0)
		time.Sleep(time.Minute)
		want(t, h.receivers.messages("x"), "0", "1", "2", "3", "4")
	})
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	say := func(h *house, p *bridgetest.Platform, session, text string) {
		p.Say(p.Threads(session)[0], "Ana", text)
		synctest.Wait()
	}
	t.Run("wait for the first", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "1", "hello"))
			synctest.Wait()
			say(h, p, "a", "early")
			time.Sleep(23 * time.Hour)
			h.receivers.change(func() { h.receivers.ids = []string{"x"} })
			synctest.Wait()
			want(t, h.receivers.messages("x"), "early")
		})
	})
	t.Run("but not longer than a day", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "1", "hello"))
			synctest.Wait()
			say(h, p, "a", "early")
			time.Sleep(25 * time.Hour)
			h.receivers.change(func() { h.receivers.ids = []string{"x"} })
			synctest.Wait()
			want(t, h.receivers.messages("x"))
		})
	})
	t.Run("bound, failing, replaced", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.receivers.ids = []string{"x", "y"}
			h.receivers.from = "x"
			h.start()
			h.ingest(message("a", "1", "hello"))
			synctest.Wait()
			say(h, p, "a", "one")
			want(t, h.receivers.messages("y"))
			h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession)
			say(h, p, "a", "two")
			say(h, p, "a", "three")
			// A rolling deploy: the visitor's next request comes by the other instance.
			h.receivers.from = "y"
			h.ingest(message("a", "2", "still there?"))
			time.Sleep(10 * time.Minute)
			want(t, h.receivers.messages("x"), "one")
			want(t, h.receivers.messages("y"), "two", "three")
		})
	})
	t.Run("events that none of them wants are not kept", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.receivers.ids = []string{"x"}
			h.receivers.unwanted = []bridge.Type{bridge.TypeMessageDelivered}
			h.start()
			h.ingest(message("a", "1", "hello"))
			synctest.Wait()
			for _, l := range h.relay.Health() {
				if l.Waiting > 0 {
					t.Errorf("%d events wait in lane %s", l.Waiting, l.Lane)
				}
			}
		})
	})
	t.Run("the binding survives a restart", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.receivers.ids = []string{"x", "y"}
			h.receivers.from = "y"
			h.start()
			h.ingest(message("a", "1", "hello"))
			synctest.Wait()
			h.stop()
			h.start()
			say(h, p, "a", "one")
			want(t, h.receivers.messages("x"))
			want(t, h.receivers.messages("y"), "one")
		})
	})
	t.Run("a failing one keeps its order and holds up no other", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.receivers.ids = []string{"x", "y"}
			h.start()
			h.ingest(message("a", "1", "hello"))
			synctest.Wait()
			h.receivers.fails["x"] = fault(bridge.ReasonTransient, bridge.ScopeSession)
			for i := range 5 {
				say(h, p, "a", fmt.Sprint(i))
			}
			want(t, h.receivers.messages("y"), "0", "1", "2", "3", "4")
			want(t, h.receivers.messages("x"))
			h.receivers.change(func() { delete(h.receivers.fails, "x") })
			time.Sleep(10 * time.Minute)
			want(t, h.receivers.messages("x"), "0", "1", "2", "3", "4")
		})
	})
}

func TestWordsGoBeforeNotices(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears.Pace = []bridge.Pace{{Calls: 2, Per: time.Minute}}
		p.Bears.Concurrency = 1
		h.start()
		h.ingest(message("a", "1", "first")) // takes the window: a thread and a message
		synctest.Wait()
		for i := range 3 {
			h.ingest(fmt.Sprintf(`{"type":"custom_event","session":{"id":"a","visitorId":"v-a"},"event":{"name":"n%d"}}`, i))
		}
		h.ingest(message("b", "1", "urgent"))
		time.Sleep(110 * time.Second)
		want(t, texts(p, "b"), "urgent")
		want(t, texts(p, "a"), "first")
		time.Sleep(5 * time.Minute)
		want(t, texts(p, "a"), "first", "⚡ n0", "⚡ n1", "⚡ n2")
	})
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.start()
		h.stop()
		if _, err := h.try(message("a", "1", "hello")); !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("a closed store answers %v", err)
		}
	})
}

// What a process accepted that was killed before it recorded anything is delivered by the next one: its platform's lane is not
// new to it.
func TestKilledBeforeTheFirstRecord(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		log := slog.New(slog.DiscardHandler)
		s, err := bolt.Open(h.path, bolt.Options{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		h.presence.store = s
		killed := relay.New(relay.Options{Store: s, Presence: h.presence, Receivers: h.receivers, Platforms: h.platforms, Log: log})
		if err := killed.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.relay = killed
		h.ingest(message("a", "1", "one"))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		h.start()
		settle()
		want(t, texts(p, "a"), "one")
	})
}

// What is for one callback waits until this process knows of it, which another one may have registered, and not for ever.
func TestStatusForANewCallback(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, _ *bridgetest.Platform) {
		h.receivers.ids = []string{"old"}
		h.start()
		h.ingest(message("a", "1", "one"))
		settle()
		for _, id := range []string{"new", "never"} {
			if _, err := h.store.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{{
				Type: bridge.TypeOperatorStatus, Origin: bridge.OriginBridge, Callback: id, Body: []byte(`{"online":false}`),
			}}}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		h.receivers.change(func() { h.receivers.ids = append(h.receivers.ids, "new") })
		settle()
		if n := len(h.receivers.entries("new")); n == 0 {
			t.Error("the new callback was not told")
		}
		time.Sleep(time.Minute)
		for _, health := range h.relay.Health() {
			if health.Waiting > 0 {
				t.Errorf("lane %s waits for %d events", health.Lane, health.Waiting)
			}
		}
	})
}
