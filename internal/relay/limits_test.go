package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/telegram"
)

// The tests of this file measure how late words are shown under Telegram's documented limits, through the real adapter, on a controlled
// clock. bench/LIMITS.md has the table that they make, beside what a simulation says of the same rules.

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// limited is a bridge with a Telegram group that insists on its documented limits.
type limited struct {
	*house
	telegram *sandbox.Server
	chat     int64
	refused  *refusedCalls
	lists    lists
}

// refusedCalls counts the stand-in's 429s.
type refusedCalls struct {
	mu    sync.Mutex
	calls int
	n     int
}

func underLimits(t *testing.T, test func(t *testing.T, l *limited)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := sandbox.New(sandbox.Options{})
		chat := server.AddChat(sandbox.Chat{Kind: sandbox.Forum})
		server.SetLimits(sandbox.DocumentedLimits())
		refused := &refusedCalls{}
		listener := newPipes()
		web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			counting := &statusWriter{ResponseWriter: w}
			server.ServeHTTP(counting, r)
			if strings.HasSuffix(r.URL.Path, "/getUpdates") {
				return
			}
			refused.mu.Lock()
			defer refused.mu.Unlock()
			refused.calls++
			if counting.status == http.StatusTooManyRequests {
				refused.n++
			}
		})}
		served := make(chan struct{})
		go func() { _ = web.Serve(listener); close(served) }()
		tg, err := telegram.New(telegram.Config{
			Token: bridge.Secret(server.Token()), ChatID: chat, APIURL: "http://telegram.test", Rate: 20, GlobalRate: 30, Dial: listener.Dial,
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		h := newHouse(t, tg)
		l := &limited{house: h, telegram: server, chat: chat, refused: refused, lists: lists{at: map[string]time.Time{}}}
		h.start()
		following, stop := context.WithCancel(context.Background())
		followed := make(chan struct{})
		go func() { defer close(followed); l.follow(following) }()
		defer func() {
			stop()
			<-followed
			h.stop()
			_ = listener.Close()
			_ = web.Close()
			server.Close()
			<-served
		}()
		test(t, l)
	})
}

// statusWriter keeps the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// numbers are times in seconds.
type numbers []float64

func (n numbers) at(part float64) float64 {
	if len(n) == 0 {
		return 0
	}
	all := slices.Sorted(slices.Values(n))
	return all[min(int(part*float64(len(all))), len(all)-1)]
}

// measured is what one run came to.
type measured struct {
	late, first, talk numbers
	calls, refused    int
	exchanged         int
}

func (m *measured) add(other measured) {
	m.late, m.first, m.talk = append(m.late, other.late...), append(m.first, other.first...), append(m.talk, other.talk...)
	m.calls, m.refused, m.exchanged = m.calls+other.calls, m.refused+other.refused, m.exchanged+other.exchanged
}

const (
	visitors = 60
	inputFor = 10 * time.Minute
)

// say lets a visitor write; one message in ten has a file.
func (l *limited) say(random *rand.Rand, visitor, n int) string {
	id := fmt.Sprint("m", n)
	body := message(fmt.Sprint("visitor", visitor), id, fmt.Sprintf("message %d of visitor %d, and some words more", n, visitor))
	if random.IntN(10) == 0 {
		body = strings.Replace(body, `"content"`, `"attachments":[{"id":"f","filename":"f.pdf","mimeType":"application/pdf","size":9,"url":"https://a.example/f.pdf"}],"content"`, 1)
	}
	l.ingest(body)
	return id
}

// arrivals lets so many messages a minute come from visitors at random, and measures when they are shown. known says that all
// visitors have threads already.
func (l *limited) arrivals(random *rand.Rand, rate int, known bool) (m measured) {
	n := 0
	if known {
		for v := range visitors {
			l.ingest(message(fmt.Sprint("visitor", v), "hello", "hello"))
		}
		time.Sleep(15 * time.Minute)
	}
	l.refused.mu.Lock()
	calls, refused := l.refused.calls, l.refused.n
	l.refused.mu.Unlock()
	start := time.Now()
	times := make([]time.Duration, rate*int(inputFor/time.Minute))
	for i := range times {
		times[i] = time.Duration(random.Int64N(int64(inputFor)))
	}
	slices.Sort(times)
	for _, at := range times {
		time.Sleep(time.Until(start.Add(at)))
		n++
		l.say(random, random.IntN(visitors), n)
	}
	time.Sleep(30 * time.Minute)
	accepted, shown := l.moments()
	first := map[string]time.Time{}
	for key, at := range accepted {
		session, id, _ := strings.Cut(key, " ")
		if id == "hello" {
			continue
		}
		done, ok := shown[key]
		if !ok {
			l.t.Errorf("%s is not shown", key)
			continue
		}
		m.late = append(m.late, done.Sub(at).Seconds())
		if f, ok := first[session]; !ok || at.Before(f) {
			first[session] = at
		}
	}
	l.lists.mu.Lock()
	defer l.lists.mu.Unlock()
	for session, at := range first {
		seen := time.Time{}
		for key, done := range shown {
			if s, id, _ := strings.Cut(key, " "); s == session && id != "hello" && (seen.IsZero() || done.Before(seen)) {
				seen = done
			}
		}
		if listed, ok := l.lists.at[session]; ok && !known && listed.Before(seen) {
			seen = listed
		}
		m.first = append(m.first, max(seen.Sub(at).Seconds(), 0))
	}
	l.refused.mu.Lock()
	defer l.refused.mu.Unlock()
	m.calls, m.refused = l.refused.calls-calls, l.refused.n-refused
	return m
}

// moments are when each visitor's message was accepted, and when it was told to be shown.
func (l *limited) moments() (accepted, shown map[string]time.Time) {
	accepted, shown = map[string]time.Time{}, map[string]time.Time{}
	for _, e := range l.events() {
		key := e.Event.Session + " " + e.Event.Message
		switch e.Event.Type {
		case bridge.TypeVisitorMessage:
			accepted[key] = e.Seq.Time()
		case bridge.TypeMessageDelivered:
			shown[key] = e.Seq.Time()
		}
	}
	return accepted, shown
}

// lists are when visitors were listed in the group, by their sessions.
type lists struct {
	mu sync.Mutex
	at map[string]time.Time
}

// follow looks at the group every second.
func (l *limited) follow(ctx context.Context) {
	for ctx.Err() == nil {
		for _, m := range l.telegram.Messages(l.chat, 0) {
			if !m.Own || !strings.HasPrefix(m.Text, "🆕") {
				continue
			}
			for line := range strings.Lines(m.Text) {
				name, _, ok := strings.Cut(strings.TrimPrefix(line, "• v-"), ":")
				name, _, _ = strings.Cut(name, " (")
				l.lists.mu.Lock()
				if _, known := l.lists.at[name]; ok && !known {
					l.lists.at[name] = time.Now()
				}
				l.lists.mu.Unlock()
			}
		}
		bridge.Sleep(ctx, time.Second)
	}
}

// talks has as many visitors talk as write so many messages a minute if nothing is late: each writes one to three messages, waits until all
// are seen, and a minute more for the answer.
func (l *limited) talks(random *rand.Rand, rate int) (m measured) {
	people := rate / 2
	for v := range people {
		l.ingest(message(fmt.Sprint("visitor", v), "hello", "hello"))
	}
	time.Sleep(15 * time.Minute)
	l.refused.mu.Lock()
	calls, refused := l.refused.calls, l.refused.n
	l.refused.mu.Unlock()
	start := time.Now()
	type turn struct {
		at      time.Time
		waiting []string
	}
	turns := make([]turn, people)
	for v := range turns {
		turns[v].at = start.Add(time.Duration(random.Int64N(int64(time.Minute))))
	}
	n := 0
	seen := map[string]bool{}
	cursor := bridge.Seq(0)
	for time.Since(start) < inputFor {
		entries, err := l.store.Read(l.t.Context(), cursor, 10_000, 0)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, e := range entries {
			cursor = e.Seq
			if e.Event.Type == bridge.TypeMessageDelivered {
				seen[e.Event.Session+" "+e.Event.Message] = true
			}
		}
		for v := range turns {
			t := &turns[v]
			if len(t.waiting) > 0 {
				if t.waiting = slices.DeleteFunc(t.waiting, func(id string) bool { return seen[id] }); len(t.waiting) == 0 {
					t.at = time.Now().Add(time.Minute)
				}
				continue
			}
			if time.Now().Before(t.at) {
				continue
			}
			for range 1 + random.IntN(3) {
				n++
				t.waiting = append(t.waiting, fmt.Sprint("visitor", v)+" "+l.say(random, v, n))
			}
		}
		time.Sleep(250 * time.Millisecond)
	}
	l.refused.mu.Lock()
	m.calls, m.refused = l.refused.calls-calls, l.refused.n-refused
	l.refused.mu.Unlock()
	time.Sleep(30 * time.Minute)
	accepted, shown := l.moments()
	for key, at := range accepted {
		if done, ok := shown[key]; ok && !strings.HasSuffix(key, " hello") {
			m.talk = append(m.talk, done.Sub(at).Seconds())
			if done.Sub(start) <= inputFor {
				m.exchanged++
			}
		}
	}
	return m
}

// What Telegram's limits cost: how late words are shown, and how late a new visitor's first word is seen, for so many messages a minute.
func TestUnderTelegramsLimits(t *testing.T) {
	t.Parallel()
	rates, seeds := []int{30}, 1
	if soak.Asked() {
		rates, seeds = []int{10, 30, 60, 120}, 5
	}
	var table strings.Builder
	table.WriteString("| msgs/min | new topics: p50 / p90 / max | first sight p50 / p90 | calls | existing: p50 / p90 / max | calls | talk: p50 / p90 / max | exchanged | 429s |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, rate := range rates {
		var news, known, talk measured
		for seed := range seeds {
			run := func(into *measured, do func(l *limited, random *rand.Rand) measured) {
				underLimits(t, func(t *testing.T, l *limited) {
					one := do(l, rand.New(rand.NewPCG(uint64(seed), uint64(rate))))
					into.add(one)
					if one.refused > 1 {
						t.Errorf("%d calls were refused for their pace", one.refused)
					}
				})
			}
			run(&news, func(l *limited, random *rand.Rand) measured { return l.arrivals(random, rate, false) })
			if !soak.Asked() { // the rest takes its time
				continue
			}
			run(&known, func(l *limited, random *rand.Rand) measured { return l.arrivals(random, rate, true) })
			run(&talk, func(l *limited, random *rand.Rand) measured { return l.talks(random, rate) })
		}
		three := func(n numbers) string { return fmt.Sprintf("%.0f / %.0f / %.0f", n.at(0.5), n.at(0.9), n.at(1)) }
		fmt.Fprintf(&table, "| %d | %s | %.0f / %.0f | %d | %s | %d | %s | %d | %d |\n", rate, three(news.late), news.first.at(0.5), news.first.at(0.9),
			news.calls/seeds, three(known.late), known.calls/seeds, three(talk.talk), talk.exchanged/seeds, news.refused+known.refused+talk.refused)
		// A quarter more than the simulation of the same rules says.
		goals := map[string][2]float64{}
		switch rate {
		case 30:
			goals = map[string][2]float64{"existing topics": {known.late.at(0.5), 80}, "first sight": {news.first.at(0.5), 25}, "talk": {talk.talk.at(0.5), 14}}
		case 60:
			goals = map[string][2]float64{"existing topics": {known.late.at(0.5), 155}}
		case 120:
			goals = map[string][2]float64{"first sight": {news.first.at(0.5), 52}}
		}
		for what, goal := range goals {
			if goal[0] > goal[1] {
				t.Errorf("at %d messages a minute, %s: half wait for more than %.0f s, %.0f are allowed", rate, what, goal[0], goal[1])
			}
		}
	}
	t.Log("\n" + table.String())
	if name := os.Getenv("LIMITS_TABLE"); name != "" {
		if err := os.WriteFile(name, []byte(table.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
