package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/pocketping/bridge/internal/api/apitest"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/callback"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// network is a network in memory, so that a test's clock can stand in for time. Its names lead to addresses, of which each may
// be asked of a guard, and its addresses to servers.
type network struct {
	guard *outbound.Guard

	mu      sync.Mutex
	leads   map[string]string // name → address
	servers map[string]*pipes // address → who listens
	dialled []string
}

// pipes is a listener.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial is what the bridge's clients connect with. The guard sees the address, as it does on a real network.
func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	at, ok := n.leads[host]
	if !ok {
		at = host
	}
	server := n.servers[at]
	n.mu.Unlock()
	addr, err := netip.ParseAddr(at)
	if err != nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if err := n.guard.CheckAddr(addr); err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.dialled = append(n.dialled, at)
	n.mu.Unlock()
	if server == nil {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	select {
	case server.conns <- theirs:
		return ours, nil
	case <-server.closed:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lead makes a name lead to an address.
func (n *network) lead(name, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leads[name] = address
}

// serve lets a handler listen at an address, until down is called.
func (n *network) serve(t *testing.T, address string, h http.Handler) (down func()) {
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	n.mu.Lock()
	n.servers[address] = listener
	n.mu.Unlock()
	return sync.OnceFunc(func() {
		n.mu.Lock()
		delete(n.servers, address)
		n.mu.Unlock()
		_ = srv.Close()
		<-ended
	})
}

// post is a callback's request as its receiver saw it.
type post struct {
	at      time.Time
	session string
	text    string
	id      string // webhook-id
	took    bool
}

// shop is an app server in memory.
type shop struct {
	mu      sync.Mutex
	trouble http.HandlerFunc // how it answers now; nil: it takes everything
	posts   []post
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var e received
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	s.mu.Lock()
	trouble := s.trouble
	if e.Type == "operator_message" {
		s.posts = append(s.posts, post{time.Now(), e.SessionID, e.Content, r.Header.Get("webhook-id"), trouble == nil})
	}
	s.mu.Unlock()
	if trouble != nil {
		trouble(w, r)
	}
}

func (s *shop) set(trouble http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = trouble
}

// taken returns the first arrivals of each session that were taken, in order. Repeats must carry the id of the first, and no
// other event that id.
func (s *shop) taken(t *testing.T, all bool) map[string][]string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	out, ids := map[string][]string{}, map[string]string{}
	for _, p := range s.posts {
		what := p.session + "/" + p.text
		if known, ok := ids[p.id]; ok && known != what {
			t.Errorf("%s is the id of %s and of %s", p.id, known, what)
		}
		ids[p.id] = what
		if (all || p.took) && !slices.Contains(out[p.session], p.text) {
			out[p.session] = append(out[p.session], p.text)
		}
	}
	if len(slices.Compact(slices.Sorted(maps.Values(ids)))) != len(ids) {
		t.Errorf("an event came with two ids: %v", ids)
	}
	return out
}

// street is the bridge between a chat in memory and app servers in memory, on a clock of the test's own.
type street struct {
	*network
	relay    *relay.Relay
	registry *callback.Registry
	chat     *bridgetest.Platform
	end      func()
}

func newStreet(t *testing.T) *street {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	st, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	s := &street{
		network: &network{guard: outbound.Strict(), leads: map[string]string{}, servers: map[string]*pipes{}},
		chat:    bridgetest.NewPlatform("telegram"),
	}
	s.chat.Bears.Concurrency = 8
	s.registry = callback.New(callback.Options{Store: st, Guard: s.guard, UserAgent: "test", Log: log, Dial: s.dial})
	people := presence.New(st, presence.Options{})
	s.relay = relay.New(relay.Options{
		Store: st, Presence: people, Receivers: s.registry, Platforms: []bridge.Platform{s.chat}, OpenThread: relay.OpenOnMessage,
		Retention: 30 * 24 * time.Hour, Log: log,
	})
	if err := errors.Join(s.registry.Reload(t.Context()), s.relay.Start(t.Context()), people.Load(t.Context())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { s.relay.Run(ctx) })
	work.Go(func() { s.registry.Run(ctx) })
	s.end = sync.OnceFunc(func() {
		cancel()
		work.Wait()
		s.registry.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// register registers a callback at http://<id>.example/.
func (s *street) register(t *testing.T, id, address string) {
	t.Helper()
	s.lead(id+".example", address)
	_, _, _, err := s.registry.Put(t.Context(), bridge.RegisterRequest{
		ID: id, URL: "http://" + address + "/", Events: []bridge.Type{bridge.TypeOperatorMessage}, TTL: 48 * time.Hour,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// visit lets a visitor write, by an instance or by none.
func (s *street) visit(t *testing.T, session, id, by string) {
	t.Helper()
	body := message(session, id, "hello")
	e, err := bridge.DecodeAppEvent([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	e.Type = bridge.TypeVisitorMessage
	if _, err := s.relay.Ingest(t.Context(), bridge.Inbound{Event: e, Body: []byte(body), Callback: by}); err != nil {
		t.Fatal(err)
	}
}

// A receiver that is in trouble for ten minutes gets everything in the end, in order, and the other one at once.
func TestReceiversInTrouble(t *testing.T) {
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	const sessions, messages = 3, 10
	for _, c := range []struct {
		name    string
		trouble http.HandlerFunc
		begin   func(s *street, down func())           // instead of trouble
		over    func(t *testing.T, s *street, w *shop) // what ends it
		refused bool                                   // what came meanwhile is given up at once
		took    bool                                   // it is taken all the same
		pause   time.Duration                          // that a session's attempts lie apart at least
		calls   int                                    // that reach it in ten minutes at most
	}{
		{name: "500", trouble: status(500), calls: 90},
		{name: "404 during a deployment", trouble: status(404), calls: 90},
		{name: "401", trouble: status(401), calls: 90},
		{name: "429 with Retry-After", trouble: status(429, "Retry-After", "120"), pause: 2 * time.Minute, calls: 15},
		{name: "503 with Retry-After", trouble: status(503, "Retry-After", "200"), pause: 200 * time.Second, calls: 9},
		{name: "422", trouble: status(422), refused: true, calls: sessions * messages},
		{name: "413", trouble: status(413), refused: true, calls: sessions * messages},
		{name: "redirect to a private address", trouble: status(307, "Location", "http://10.0.0.1/"), calls: 90},
		{name: "hangs", trouble: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, pause: 15 * time.Second, calls: 60},
		{name: "breaks off", trouble: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, calls: 90},
		{name: "answers without an end", took: true, calls: sessions * messages, trouble: func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 8<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}},
		{name: "answers a byte a second", took: true, calls: sessions * messages, trouble: func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
		{name: "is down", begin: func(_ *street, down func()) { down() }, over: func(t *testing.T, s *street, w *shop) {
			t.Cleanup(s.serve(t, "93.184.0.1", w))
		}},
		{name: "its name leads to a private address", begin: func(s *street, _ func()) { s.lead("93.184.0.1", "10.0.0.1") },
			over: func(_ *testing.T, s *street, _ *shop) { s.lead("93.184.0.1", "93.184.0.1") }},
		{name: "its name leads nowhere", begin: func(s *street, _ func()) { s.lead("93.184.0.1", "nowhere") },
			over: func(_ *testing.T, s *street, _ *shop) { s.lead("93.184.0.1", "93.184.0.1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreet(t)
				web, other := &shop{}, &shop{}
				down := s.serve(t, "93.184.0.1", web)
				t.Cleanup(s.serve(t, "93.184.0.2", other))
				t.Cleanup(s.serve(t, "10.0.0.1", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody inside was called") })))
				t.Cleanup(func() { down(); s.end() })
				s.register(t, "web", "93.184.0.1")
				s.register(t, "other", "93.184.0.2")
				for i := range sessions {
					s.visit(t, fmt.Sprint("s", i), "m", "")
				}
				synctest.Wait()
				began := time.Now()
				web.set(c.trouble)
				if c.begin != nil {
					s.registry.Close() // kept connections go with what they led to
					c.begin(s, down)
				}
				var want []string
				for i := range messages {
					for session := range sessions {
						s.chat.Say(s.chat.Threads(fmt.Sprint("s", session))[0], "Ana", fmt.Sprint(i))
					}
					want = append(want, fmt.Sprint(i))
					time.Sleep(time.Minute)
					for session, texts := range other.taken(t, false) {
						if !slices.Equal(texts, want) {
							t.Errorf("after %v the other one has of %s %v", time.Since(began), session, texts)
						}
					}
				}
				web.mu.Lock()
				calls := len(web.posts)
				last := map[string]post{}
				for _, p := range web.posts {
					if before, ok := last[p.session]; ok && p.at.Sub(before.at) < c.pause && before.text == p.text {
						t.Errorf("%s was tried again after %v", p.session, p.at.Sub(before.at))
					}
					last[p.session] = p
				}
				web.mu.Unlock()
				if calls > c.calls {
					t.Errorf("%d calls in ten minutes", calls)
				}
				if web.set(nil); c.over != nil {
					c.over(t, s, web)
				}
				time.Sleep(6 * time.Minute)
				page, err := s.relay.Deliveries(t.Context(), bridge.DeliveryQuery{Lane: "callbacks", Max: 100})
				if err != nil {
					t.Fatal(err)
				}
				if letters := len(page.Deliveries); c.refused != (letters == sessions*messages) || !c.refused && letters > 0 {
					t.Errorf("%d dead letters", letters)
				}
				if c.refused {
					if n, left, err := s.relay.RetryAll(t.Context(), "callbacks"); n != sessions*messages || left != 0 || err != nil {
						t.Errorf("%d retried, %d left, %v", n, left, err)
					}
					time.Sleep(time.Minute)
				}
				got := web.taken(t, c.took)
				for session := range sessions {
					if texts := got[fmt.Sprint("s", session)]; !slices.Equal(texts, want) {
						t.Errorf("s%d: %v", session, texts)
					}
				}
				for _, address := range s.dialled {
					if address == "10.0.0.1" {
						t.Error("a private address was called")
					}
				}
			})
		})
	}
}

// A bound session is its instance's alone; while that one has been failing for a minute all stand in for it, and when it is
// back it has missed nothing.
func TestBoundInstanceInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(t)
		shops := map[string]*shop{"a": {}, "b": {}, "c": {}}
		for i, id := range slices.Sorted(maps.Keys(shops)) {
			address := fmt.Sprint("93.184.0.", i+1)
			t.Cleanup(s.serve(t, address, shops[id]))
			s.register(t, id, address)
		}
		t.Cleanup(s.end)
		say := func(text string) { s.chat.Say(s.chat.Threads("mia")[0], "Ana", text) }
		has := func(id string, want ...string) {
			t.Helper()
			if got := shops[id].taken(t, false)["mia"]; !slices.Equal(got, want) {
				t.Errorf("%s has %v, want %v", id, got, want)
			}
		}
		s.visit(t, "mia", "1", "a")
		synctest.Wait()
		say("one")
		time.Sleep(time.Second)
		has("a", "one")
		has("b")
		shops["a"].set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		say("two")
		time.Sleep(50 * time.Second)
		say("three")
		has("b")
		time.Sleep(5 * time.Minute)
		has("b", "two", "three")
		has("c", "two", "three")
		say("four")
		time.Sleep(time.Second)
		has("b", "two", "three", "four")
		shops["a"].set(nil)
		time.Sleep(6 * time.Minute)
		has("a", "one", "two", "three", "four")
		say("five")
		time.Sleep(time.Second)
		has("a", "one", "two", "three", "four", "five")
		has("b", "two", "three", "four")
		// Another instance takes the visitor over while the first one is down: what waits goes there at once.
		shops["a"].set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		say("six")
		time.Sleep(10 * time.Second)
		s.visit(t, "mia", "2", "c")
		time.Sleep(time.Second)
		has("c", "two", "three", "four", "six")
		has("b", "two", "three", "four")
	})
}

// instance is an instance of an app server, with a callback of its own.
type instance struct {
	id   string
	url  string
	seed uint64

	mu    sync.Mutex
	fails int // in a hundred
	tried int
	got   map[string][]string // session → first arrivals of texts that were taken, in order
	taken map[string]int      // session/text → how often
	ids   map[string]string   // session/text → webhook-id
	wrong []string
}

func newInstance(t *testing.T, id string, fails int) *instance {
	a := &instance{id: id, fails: fails, seed: rand.Uint64(), got: map[string][]string{}, taken: map[string]int{}, ids: map[string]string{}}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	a.url = srv.URL + "/" + id
	t.Logf("%s fails by seed %d", id, a.seed)
	return a
}

func (a *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var e received
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	a.mu.Lock()
	a.tried++
	random := rand.New(rand.NewPCG(a.seed, uint64(a.tried)))
	fails, how := random.IntN(100) < a.fails, random.IntN(4)
	if e.Type == "operator_message" {
		key := e.SessionID + "/" + e.Content
		id := r.Header.Get("webhook-id")
		if before, ok := a.ids[key]; ok && before != id || id != e.ID {
			a.wrong = append(a.wrong, fmt.Sprintf("%s came as %s and %s, with %s in it", key, before, id, e.ID))
		}
		a.ids[key] = id
		if !fails || how == 3 {
			if a.taken[key]++; a.taken[key] == 1 {
				a.got[e.SessionID] = append(a.got[e.SessionID], e.Content)
			}
		}
	}
	a.mu.Unlock()
	if !fails {
		return
	}
	switch how {
	case 0:
		w.WriteHeader(http.StatusInternalServerError)
	case 1:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case 2:
		w.WriteHeader(http.StatusBadGateway)
	default:
		panic(http.ErrAbortHandler) // after it was taken: it comes again
	}
}

// of returns the first arrivals of a session, in order.
func (a *instance) of(session string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got[session])
}

// has adds what the instance has of the sessions to seen.
func (a *instance) has(seen map[string]bool, of func(session string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for session, texts := range a.got {
		if of(session) {
			for _, text := range texts {
				seen[session+"/"+text] = true
			}
		}
	}
}

// register registers the instance, as it does when it starts.
func (r *rig) register(a *instance) {
	r.t.Helper()
	code, said := r.ask(http.MethodPut, "/api/callbacks/"+a.id, "", fmt.Sprintf(`{"url":%q,"events":["operator_message"]}`, a.url))
	if code != http.StatusCreated && code != http.StatusOK {
		r.t.Fatalf("PUT of %s: %s", a.id, said)
	}
}

// arrive lets a visitor write by an instance, or by none.
func (r *rig) arrive(session, id string, by *instance) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.next().base+"/api/messages", strings.NewReader(message(session, id, id)))
	if err != nil {
		r.t.Fatal(err)
	}
	if by != nil {
		req.Header.Set("X-PocketPing-Callback", by.id)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || strings.Contains(string(text), "unknown") {
		r.t.Fatalf("%s by %v: %d %s %v", session, by, resp.StatusCode, text, err)
	}
}

// Many sessions, several instances of which each fails one time in five, and one of them replaced in the middle: each has each
// event of its sessions, in order, and no other's.
func TestManySessionsAndCallbacks(t *testing.T) {
	sessions, events := 100, 800
	if soak.Asked() {
		sessions, events = 200, 10_000
	}
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel() // it mostly waits for pauses to end
		r.start()
		instances := []*instance{newInstance(t, "web-0", 20), newInstance(t, "web-1", 20), newInstance(t, "web-2", 20)}
		for _, a := range instances {
			r.register(a)
		}
		// Of four sessions three are bound, and one is everybody's.
		owner := func(s int) *instance {
			if s%4 == 3 {
				return nil
			}
			return instances[s%4]
		}
		var wg sync.WaitGroup
		for s := range sessions {
			wg.Go(func() { r.arrive(fmt.Sprint("v", s), "hello", owner(s)) })
		}
		wg.Wait()
		topics := map[string]int{}
		r.until("in their topics", func() bool {
			clear(topics)
			for _, topic := range r.telegram.Topics(r.chat) {
				topics[topic.Name] = topic.ID
			}
			return len(topics) == sessions
		})
		each := events / sessions
		say := func(from, to int) {
			for i := from; i < to; i++ {
				for s := range sessions {
					r.telegram.Say(r.chat, topics[fmt.Sprint("v", s)], r.ana.ID, fmt.Sprint(i))
				}
			}
		}
		say(0, each/2)
		// web-2 is replaced, as by a rolling deployment: it is gone, and its visitors come by the new one, one by one.
		old, fresh := instances[2], newInstance(t, "web-3", 20)
		some := func() bool {
			old.mu.Lock()
			defer old.mu.Unlock()
			return old.tried > sessions
		}
		r.until("some of it at web-2", some)
		r.register(fresh)
		if code, said := r.ask(http.MethodDelete, "/api/callbacks/web-2", "", ""); code != http.StatusNoContent {
			t.Fatalf("%d %s", code, said)
		}
		instances[2] = fresh
		for s := range sessions {
			if owner(s) == fresh {
				wg.Go(func() { r.arrive(fmt.Sprint("v", s), "still here", fresh) })
			}
		}
		say(each/2, each)
		wg.Wait()

		var want []string
		for i := range each {
			want = append(want, fmt.Sprint(i))
		}
		everywhere := append(slices.Clone(instances), old)
		var moved int
		for s := range sessions {
			if owner(s) == fresh {
				moved++
			}
		}
		ofOthers := func(session string) bool { return !ofInstance(session, 2) }
		there := func() bool {
			for _, a := range instances[:2] {
				seen := map[string]bool{}
				if a.has(seen, ofOthers); len(seen) < (sessions/4+sessions/4)*each {
					return false
				}
			}
			seen := map[string]bool{}
			for _, a := range everywhere {
				a.has(seen, func(session string) bool { return ofInstance(session, 2) })
			}
			return len(seen) == moved*each
		}
		// complete returns what is wrong.
		complete := func() (wrong []string) {
			for s := range sessions {
				session := fmt.Sprint("v", s)
				switch a := owner(s); a {
				case nil:
					for _, a := range instances[:2] {
						if got := a.of(session); !slices.Equal(got, want) {
							wrong = append(wrong, fmt.Sprintf("%s has of %s %v", a.id, session, got))
						}
					}
				case fresh: // between the old one's end and its visitor's next word all stand in
					seen := map[string]bool{}
					for _, a := range everywhere {
						got := a.of(session)
						if !inOrder(got, want) {
							wrong = append(wrong, fmt.Sprintf("%s has of %s %v", a.id, session, got))
						}
						for _, text := range got {
							seen[text] = true
						}
					}
					if len(seen) != len(want) {
						wrong = append(wrong, fmt.Sprintf("of %s there are %d of %d", session, len(seen), len(want)))
					}
				default:
					if got := a.of(session); !slices.Equal(got, want) {
						wrong = append(wrong, fmt.Sprintf("%s has of %s %v", a.id, session, got))
					}
				}
			}
			return wrong
		}
		r.until("every event at its callbacks", there)
		for _, what := range complete() {
			t.Error(what)
		}
		tried, taken := 0, 0
		for _, a := range everywhere {
			if len(a.wrong) > 0 {
				t.Errorf("%s: %v", a.id, a.wrong[:min(len(a.wrong), 3)])
			}
			tried += a.tried
			for _, n := range a.taken {
				taken += n
			}
			for session := range a.got {
				var s int
				_, _ = fmt.Sscanf(session, "v%d", &s)
				if own := owner(s); own != nil && own != a && own != fresh {
					t.Errorf("%s was told of %s, which is %s's", a.id, session, own.id)
				}
			}
		}
		if code, said := r.ask(http.MethodGet, "/api/deliveries?state=failed", "", ""); code != http.StatusOK || !strings.Contains(said, `"deliveries":[]`) {
			t.Errorf("dead letters: %s", said)
		}
		soak.Row(t, "%d events of %d sessions: %d calls to callbacks, of which one in five failed, %d taken", each*sessions, sessions, tried, taken)
	})
}

// ofInstance says whether a session is one of those that are bound to the instance of the number.
func ofInstance(session string, number int) bool {
	var s int
	_, err := fmt.Sscanf(session, "v%d", &s)
	return err == nil && s%4 == number
}

// inOrder says whether the texts are some of all, in their order.
func inOrder(texts, all []string) bool {
	for _, text := range texts {
		i := slices.Index(all, text)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// Where a callback may not lead is said at its registration: why, and which setting would allow it. Nobody is called.
func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.env["ALLOW_PRIVATE_CALLBACKS"] = "off"
	p := r.start()
	var calls atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range apitest.RefusedAddresses() {
		host := c.Host
		if !strings.HasSuffix(host, "8080") && host != "" {
			host += ":" + port
		}
		for _, method := range []string{http.MethodPut, http.MethodPost} {
			path := "/api/callbacks"
			if method == http.MethodPut {
				path += fmt.Sprint("/web-", i)
			}
			code, said := r.ask(method, path, "", fmt.Sprintf(`{"url":%q}`, "http://"+host+"/hook"))
			var answer struct{ Error, Code, Field string }
			if err := json.Unmarshal([]byte(said[strings.LastIndex(said, "\r\n\r\n")+4:]), &answer); err != nil {
				t.Fatalf("%v in %s", err, said)
			}
			if code != http.StatusBadRequest || answer.Field != "url" || !strings.Contains(answer.Error, c.Because) ||
				strings.Contains(answer.Error, "ALLOW_PRIVATE_CALLBACKS") == c.Never {
				t.Errorf("%s %s: %d %+v", method, c.Host, code, answer)
			}
		}
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("%d were called", n)
	}
	if code, said := r.ask(http.MethodGet, "/readyz", "", ""); code != http.StatusOK || p.says("level=ERROR") {
		t.Errorf("afterwards: %s\n%s", said, lastLines(p.Output(), 20))
	}
}

// answer is the body of an answer of the API.
func (r *rig) answer(method, path, body string, code int, into any) {
	r.t.Helper()
	got, said := r.ask(method, path, "", body)
	if got != code {
		r.t.Fatalf("%s %s: %d, want %d: %s", method, path, got, code, said)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(said[strings.LastIndex(said, "\r\n\r\n")+4:]), into); err != nil {
		r.t.Fatalf("%v in %s", err, said)
	}
}

// listed is GET /api/deliveries.
type listed struct {
	Deliveries []struct{ ID, State, Lane, Target, EventID, Type, SessionID, MessageID, Reason, Detail string }
	Next       string
}

// What was refused can be delivered after all, with the id that it had, also through a crash; or be removed.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		r.env["BACKEND_WEBHOOK_URL"], r.env["BACKEND_WEBHOOK_EVENTS"] = "", ""
		r.start()
		web := newInstance(t, "web 1/x", 0)
		var refuse atomic.Int32
		var seen sync.Map // webhook-id → attempts
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			n, _ := seen.LoadOrStore(req.Header.Get("webhook-id"), new(atomic.Int32))
			n.(*atomic.Int32).Add(1)
			if code := refuse.Load(); code != 0 {
				w.WriteHeader(int(code))
				return
			}
			web.ServeHTTP(w, req)
		}))
		defer srv.Close()
		r.answer(http.MethodPut, "/api/callbacks/web-1", fmt.Sprintf(`{"url":%q,"events":["operator_message"]}`, srv.URL), http.StatusCreated, nil)
		r.must("/api/messages", message("mia", "m1", "hello"))
		r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
		topic := r.topics("mia")[0].ID
		refuse.Store(http.StatusUnprocessableEntity)
		for _, text := range []string{"one", "two", "three"} {
			r.telegram.Say(r.chat, topic, r.ana.ID, text)
		}
		var all listed
		r.until("given up", func() bool {
			r.answer(http.MethodGet, "/api/deliveries?state=failed&lane=callbacks", "", http.StatusOK, &all)
			return len(all.Deliveries) == 3
		})
		first := all.Deliveries[0]
		if first.Lane != "callbacks" || first.Target != "web-1" || first.State != "failed" || first.Reason != "rejected" || first.SessionID != "mia" ||
			first.Type != "operator_message" || !strings.Contains(first.Detail, "422") || first.ID != "callbacks:"+first.EventID+":web-1" {
			t.Errorf("%+v", first)
		}
		var page listed
		r.answer(http.MethodGet, "/api/deliveries?state=failed&limit=2", "", http.StatusOK, &page)
		if len(page.Deliveries) != 2 || page.Next == "" {
			t.Errorf("a page of two: %+v", page)
		}
		next := page.Next
		page = listed{}
		r.answer(http.MethodGet, "/api/deliveries?state=failed&limit=2&after="+url.QueryEscape(next), "", http.StatusOK, &page)
		if len(page.Deliveries) != 1 || page.Deliveries[0].ID != all.Deliveries[2].ID || page.Next != "" {
			t.Errorf("the next page: %+v", page)
		}

		refuse.Store(0)
		retry := "/api/deliveries/" + url.PathEscape(first.ID) + "/retry"
		r.answer(http.MethodPost, retry, "", http.StatusAccepted, nil)
		r.until("delivered after all", func() bool { return slices.Equal(web.of("mia"), []string{"one"}) })
		if n, ok := seen.Load(first.EventID); !ok || n.(*atomic.Int32).Load() != 2 {
			t.Errorf("%s came otherwise than twice", first.EventID)
		}
		r.answer(http.MethodPost, retry, "", http.StatusNotFound, nil)
		r.answer(http.MethodDelete, "/api/deliveries/"+url.PathEscape(all.Deliveries[1].ID), "", http.StatusNoContent, nil)
		r.answer(http.MethodDelete, "/api/deliveries/"+url.PathEscape(all.Deliveries[1].ID), "", http.StatusNotFound, nil)
		r.answer(http.MethodPost, "/api/deliveries/retry?lane=nowhere", "", http.StatusBadRequest, nil)
		r.answer(http.MethodGet, "/api/deliveries?lane=nowhere", "", http.StatusBadRequest, nil)
		r.answer(http.MethodGet, "/api/deliveries?after=nonsense", "", http.StatusBadRequest, nil)

		// The last one is on its way when the bridge is killed.
		refuse.Store(http.StatusBadGateway)
		var done struct{ Retried, Left int }
		r.answer(http.MethodPost, "/api/deliveries/retry?lane=callbacks", "", http.StatusAccepted, &done)
		if done.Retried != 1 || done.Left != 0 {
			t.Errorf("%+v", done)
		}
		r.process().Kill()
		r.start()
		var waiting listed
		r.answer(http.MethodGet, "/api/deliveries?state=waiting&lane=callbacks", "", http.StatusOK, &waiting)
		if len(waiting.Deliveries) != 1 || waiting.Deliveries[0].ID != all.Deliveries[2].ID {
			t.Errorf("waiting after the crash: %+v", waiting)
		}
		refuse.Store(0)
		r.until("delivered after the crash", func() bool { return slices.Equal(web.of("mia"), []string{"one", "three"}) })
		r.until("nothing left", func() bool {
			var left listed
			r.answer(http.MethodGet, "/api/deliveries", "", http.StatusOK, &left)
			return len(left.Deliveries) == 0
		})
	})
}

// The events webhook is told of both directions, signed so that the specification's own library takes it; a callback and the
// webhook can be tested, and secrets rotated.
func TestEventsWebhook(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		judge, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		type event struct {
			Type   string
			Data   map[string]json.RawMessage
			SentAt time.Time
		}
		var mu sync.Mutex
		var got []event
		hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			var e event
			if err = errors.Join(err, judge.Verify(body, req.Header), json.Unmarshal(body, &e)); err != nil || req.Header.Get("X-PocketPing-Event") != e.Type {
				t.Errorf("%v in %s", err, body)
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, e)
		}))
		defer hook.Close()
		r.env["EVENTS_WEBHOOK_URL"], r.env["EVENTS_WEBHOOK_SECRET"] = hook.URL+"/catch?key="+keptQuery, secret
		p := r.start()
		r.must("/api/messages", message("mia", "m1", "hello"))
		r.until("in the topic", func() bool { return len(r.topics("mia")) == 1 })
		r.telegram.Say(r.chat, r.topics("mia")[0].ID, r.ana.ID, "hi")
		r.must("/api/disconnect", `{"session":{"id":"mia","visitorId":"mia"},"duration":3,"reason":"manual"}`)
		kinds := func() (out []string) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range got {
				fields := slices.Sorted(maps.Keys(e.Data))
				out = append(out, e.Type+" "+strings.Join(fields, ","))
			}
			return out
		}
		for _, want := range []string{
			"visitor_message message,session,sessionId,visitorId", "message_delivered event", "operator_message event", "visitor_disconnect duration,reason,session",
		} {
			r.until("told of "+want, func() bool { return slices.Contains(kinds(), want) })
		}
		var tested struct {
			OK       bool
			Status   int
			Duration float64
			Answer   string
			Error    string
		}
		for _, id := range []string{"webhook", "backend"} {
			r.answer(http.MethodPost, "/api/callbacks/"+id+"/test", "", http.StatusOK, &tested)
			if !tested.OK || tested.Status != http.StatusOK || tested.Duration <= 0 || tested.Error+tested.Answer != "" {
				t.Errorf("%s: %+v", id, tested)
			}
		}
		if all := kinds(); !slices.Contains(all, "test ") {
			t.Errorf("told %q", all)
		}
		if len(r.app.of("test")) != 1 {
			t.Error("the backend was not tested")
		}
		r.answer(http.MethodPost, "/api/callbacks/none/test", "", http.StatusNotFound, nil)
		r.answer(http.MethodPost, "/api/callbacks/none/rotate", "", http.StatusNotFound, nil)
		r.answer(http.MethodPost, "/api/callbacks/backend/rotate", "", http.StatusBadRequest, nil)
		r.answer(http.MethodDelete, "/api/callbacks/backend", "", http.StatusBadRequest, nil)
		r.answer(http.MethodPut, "/api/callbacks/webhook", `{"url":"http://127.0.0.1:1/"}`, http.StatusBadRequest, nil)

		var made, rotated struct{ Secret string }
		r.answer(http.MethodPut, "/api/callbacks/web-1", fmt.Sprintf(`{"url":%q}`, r.app.url+"/web"), http.StatusCreated, &made)
		r.answer(http.MethodPost, "/api/callbacks/web-1/rotate", "", http.StatusOK, &rotated)
		r.answer(http.MethodPost, "/api/callbacks/web-1/test", "", http.StatusOK, nil)
		tests := r.app.of("test")
		for _, secret := range []string{made.Secret, rotated.Secret} {
			judge, err := standardwebhooks.NewWebhook(secret)
			if err == nil {
				err = judge.Verify(tests[len(tests)-1].body, tests[len(tests)-1].header)
			}
			if err != nil || made.Secret == rotated.Secret {
				t.Errorf("signed otherwise: %v", err)
			}
		}
		var list struct{ Callbacks []map[string]any }
		r.answer(http.MethodGet, "/api/callbacks", "", http.StatusOK, &list)
		if len(list.Callbacks) != 2 || list.Callbacks[0]["id"] != "backend" || list.Callbacks[0]["expiresAt"] != nil ||
			!strings.HasSuffix(fmt.Sprint(list.Callbacks[0]["url"]), "/…") {
			t.Errorf("%v", list)
		}
		// When it is gone its URL is said nowhere.
		hook.Close()
		r.must("/api/messages", message("mia", "m2", "hello"))
		r.until("said to fail", func() bool { return p.says("an attempt failed") && p.says("lane=webhook") })
		if code, said := r.ask(http.MethodPost, "/api/callbacks/webhook/test", "", ""); code != http.StatusOK ||
			!strings.Contains(said, `"error":"connection refused"`) || strings.Contains(said, keptQuery) {
			t.Errorf("a test of what is gone: %d %s", code, said)
		}
		if said := p.Output(); strings.Contains(said, keptQuery) || strings.Contains(said, hook.URL) || strings.Contains(said, secret) {
			t.Errorf("the log shows the webhook's URL or secret:\n%s", said)
		}
		if code, said := r.ask(http.MethodGet, "/openapi.yaml", "", ""); code != http.StatusOK || !strings.Contains(said, "openapi: 3.1") {
			t.Errorf("the description: %d", code)
		}
	})
}
