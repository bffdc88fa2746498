package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// feed is a log: the newest entries are in memory, the others in a store.
type feed struct {
	mu      sync.Mutex
	entries []bridge.Entry
	newest  bridge.Seq
	changed chan struct{}
	fault   error
	clock   bool // ids are of the clock, else they count from 1
	window  int  // how many entries are in memory; 0: all
	reads   int  // of the store
	asked   int  // how often Next began to look
}

func newFeed() *feed { return &feed{changed: make(chan struct{})} }

func (f *feed) add(events ...bridge.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.newest++
		if f.clock {
			f.newest = max(f.newest, bridge.SeqAt(time.Now()))
		}
		f.entries = append(f.entries, bridge.Entry{Seq: f.newest, Event: e})
	}
	f.tell()
}

// change does with the feed what it likes.
func (f *feed) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	f.tell()
}

func (f *feed) fail(err error) { f.change(func() { f.fault = err }) }

func (f *feed) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// all returns what the log has.
func (f *feed) all() []bridge.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.entries)
}

func (f *feed) Newest() bridge.Seq {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

func (f *feed) Next(ctx context.Context, after bridge.Seq, most int) ([]bridge.Entry, error) {
	for {
		f.mu.Lock()
		f.asked++
		i := sort.Search(len(f.entries), func(i int) bool { return f.entries[i].Seq > after })
		rest, changed, fault := f.entries[i:], f.changed, f.fault
		if f.window > 0 && len(rest) > f.window {
			f.reads++
			rest = slices.Clone(rest[:min(most, len(rest))])
		}
		f.mu.Unlock()
		if fault != nil {
			return nil, fault
		}
		if len(rest) > 0 {
			return rest[:min(most, len(rest))], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lines are a stream's lines that are not empty; it is closed when the stream ends.
type lines chan string

func listen(t *testing.T, url string, header ...string) lines {
	t.Helper()
	return follow(t, &http.Transport{DisableKeepAlives: true}, url, header...)
}

func follow(t *testing.T, transport *http.Transport, url string, header ...string) lines {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := transport.RoundTrip(r) //nolint:bodyclose // the goroutine that reads it closes it
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	ch := make(lines)
	ctx := t.Context()
	go func() {
		defer close(ch)
		defer func() { _ = resp.Body.Close() }()
		scan := bufio.NewScanner(resp.Body)
		for scan.Scan() {
			if scan.Text() == "" {
				continue
			}
			select {
			case ch <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch
}

const hung = 2 * time.Minute

func (l lines) next(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-l:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return line
	case <-time.After(hung):
		t.Fatal("nothing came")
		return ""
	}
}

func (l lines) want(t *testing.T, want string) {
	t.Helper()
	if got := l.next(t); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func (l lines) wantEnd(t *testing.T) {
	t.Helper()
	select {
	case line, ok := <-l:
		if ok {
			t.Fatalf("not the end: %s", line)
		}
	case <-time.After(hung):
		t.Fatal("the stream goes on")
	}
}

func event(t bridge.Type, origin, session, body string) bridge.Event {
	return bridge.Event{Type: t, Origin: origin, Session: session, Body: json.RawMessage(body)}
}

func TestStream(t *testing.T) {
	d := newDesk()
	d.feed.add(event(bridge.TypeOperatorMessage, "telegram", "s1", `{"content":"before"}`))
	url := serve(t, d.options(t)) + "/api/events/stream"
	all, one := listen(t, url), listen(t, url+"?sessionId=s1")
	all.want(t, ": open")
	one.want(t, ": open")

	forOne := event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", `{"online":true}`)
	forOne.Callback = "web-1"
	d.feed.add(
		event(bridge.TypeVisitorMessage, bridge.OriginApp, "s1", `{"content":"the app's own"}`),
		event(bridge.TypeAnswer, bridge.OriginBridge, "s1", `{"text":"for an operator"}`),
		forOne,
		event(bridge.TypeOperatorMessage, "telegram", "s1", "{\n\"content\":\"first\"}"),
		event(bridge.TypeOperatorMessage, "slack", "s2", `{"content":"another's"}`),
		event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", `{"online":true}`),
	)
	first := `data: {"type":"operator_message","id":"evt_0000000000000005","timestamp":"1970-01-01T00:00:00.000Z", "content":"first"}`
	second := `data: {"type":"operator_message","id":"evt_0000000000000006","timestamp":"1970-01-01T00:00:00.000Z","content":"another's"}`
	status := `data: {"type":"operator_status","id":"evt_0000000000000007","timestamp":"1970-01-01T00:00:00.000Z","online":true}`
	for _, want := range []string{"id: evt_0000000000000005", first, "id: evt_0000000000000006", second, "id: evt_0000000000000007", status} {
		all.want(t, want)
	}
	for _, want := range []string{"id: evt_0000000000000005", first, "id: evt_0000000000000007", status} {
		one.want(t, want)
	}
}

func TestStreamHeadersAndFaults(t *testing.T) {
	d := newDesk()
	closing := make(chan struct{})
	o := d.options(t)
	o.Closing = closing
	url := serve(t, o) + "/api/events/stream"
	open := listen(t, url)
	open.want(t, ": open")
	close(closing)
	open.wantEnd(t)
	if got := ask(t, "GET", url, ""); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("while closing: %d", got.status)
	}
}

func TestStreamEndsWithTheLog(t *testing.T) {
	d := newDesk()
	open := listen(t, serve(t, d.options(t))+"/api/events/stream")
	open.want(t, ": open")
	d.feed.fail(errors.New("defect"))
	open.wantEnd(t)
}

// pipes is a listener whose connections stay in memory, where synctest's clock counts.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.conns <- there
	return here
}

// follow reads a stream, each line when it is asked for: nothing is read ahead but what fits into two small buffers.
func (p *pipes) follow(t *testing.T, query string, header ...string) lines {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return p.dial(), nil
	}}
	return follow(t, transport, "http://bridge/api/events/stream"+query, header...)
}

// bubble serves the API in the present bubble.
func bubble(t *testing.T, o Options) *pipes { return bubbleOf(t, o.Logger, New(o)) }

func bubbleOf(t *testing.T, log *slog.Logger, h http.Handler) *pipes {
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := Server(h, log, nil)
	go func() { _ = srv.Serve(p) }()
	t.Cleanup(func() { _ = srv.Close() })
	return p
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		p := bubble(t, d.options(t))
		start := time.Now()
		open := p.follow(t, "")
		open.want(t, ": open")
		d.feed.add(event(bridge.TypeVisitorMessage, bridge.OriginApp, "s", `{}`)) // of which it says nothing
		for i := range 3 {                                                        // well beyond the server's write timeout
			if got := (<-open); got != ": heartbeat" {
				t.Fatal(got)
			}
			if took := time.Since(start); took != time.Duration(i+1)*DefaultHeartbeat {
				t.Fatalf("heartbeat %d after %s", i, took)
			}
		}
		// A store that fails for a while does not end the stream.
		d.feed.fail(bridge.ErrUnavailable)
		if got := (<-open); got != ": heartbeat" {
			t.Fatal(got)
		}
		d.feed.fail(nil)
		d.feed.add(event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", `{}`))
		if got := (<-open); got != "id: evt_0000000000000002" {
			t.Fatal(got)
		}
		<-open
	})
}

// What is never stored is told at once, without an id that a reader could come back with.
func TestStreamTellsWhatPasses(t *testing.T) {
	d := newDesk()
	o := d.options(t)
	var mu sync.Mutex
	listeners := map[int]func(bridge.Entry){}
	o.Ephemeral = func(tell func(bridge.Entry)) func() {
		mu.Lock()
		defer mu.Unlock()
		n := len(listeners)
		listeners[n] = tell
		return func() {}
	}
	url := serve(t, o) + "/api/events/stream"
	all := listen(t, url)
	all.want(t, ": open")
	other := listen(t, url+"?sessionId=s2")
	other.want(t, ": open")
	mu.Lock()
	for _, tell := range listeners {
		tell(bridge.Entry{Seq: 7, Event: event(bridge.TypeOperatorTyping, "discord", "s1", `{"sessionId":"s1"}`)})
	}
	mu.Unlock()
	all.want(t, `data: {"type":"operator_typing","id":"evt_0000000000000007","timestamp":"1970-01-01T00:00:00.000Z","sessionId":"s1"}`)
	d.feed.add(event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", `{"online":true}`))
	all.want(t, "id: evt_0000000000000001")
	other.want(t, "id: evt_0000000000000001")
}
