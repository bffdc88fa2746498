package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// TestOthersEventsWakeNobody: streams look at nothing that others are told of, nor at what nobody is told of.
func TestOthersEventsWakeNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, rounds, each = 1000, 100, 10
		d := newClockDesk()
		o := d.options(t)
		o.Logger = slog.New(slog.DiscardHandler) // without a line for each
		p := bubble(t, o)
		open := make([]lines, streams)
		for i := range open {
			open[i] = p.follow(t, fmt.Sprint("?sessionId=listens-", i))
			open[i].want(t, ": open")
		}
		synctest.Wait()
		before := d.feed.looks()
		for i := range rounds {
			others := operators(fmt.Sprint("other-", i), each)
			for n := range others {
				if n%2 == 0 {
					others[n].Origin = bridge.OriginApp
					others[n].Session = fmt.Sprint("listens-", i)
				}
			}
			d.feed.add(others...)
			synctest.Wait()
		}
		if n := d.feed.looks() - before; n > 3*rounds {
			t.Errorf("the log was looked at %d times for %d times that something came", n, rounds)
		}

		before = d.feed.looks()
		d.feed.add(operator("listens-7", 0, 1))
		same(t, []string{d.feed.Newest().String()}, open[7].ids(t, 1))
		synctest.Wait()
		if n := d.feed.looks() - before; n > 6 {
			t.Errorf("the log was looked at %d times for one stream", n)
		}
		d.feed.add(event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", `{"online":true}`))
		for _, one := range open {
			same(t, []string{d.feed.Newest().String()}, one.ids(t, 1))
		}
	})
}

// looks says how often the log was looked at.
func (f *feed) looks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

// TestStreamsComeAndGo: readers that are cut off at any moment, and come again from where they were, have all that is for them, in order
// and once, whatever else is told meanwhile.
func TestStreamsComeAndGo(t *testing.T) {
	const events, sessions, readers, last = 3000, 5, 24, "the last"
	d := newClockDesk()
	o := d.options(t)
	o.Logger = slog.New(slog.DiscardHandler)
	url := serve(t, o) + "/api/events/stream"
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)

	// visit reads some of a stream, or all up to the last event.
	visit := func(wanted, from string, most int, opened func()) (ids []string, all bool, err error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+wanted, nil)
		if err != nil {
			return nil, false, err
		}
		r.Header.Set("Last-Event-ID", from)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return nil, false, err
		}
		defer func() { _ = resp.Body.Close() }()
		scan := bufio.NewScanner(resp.Body)
		for len(ids) < most && !all && scan.Scan() {
			switch line := scan.Text(); {
			case line == ": open":
				opened()
			case strings.HasPrefix(line, "event: "):
				return nil, false, fmt.Errorf("it was told %s", line)
			case strings.HasPrefix(line, "id: "):
				ids = append(ids, line[4:])
			case strings.HasPrefix(line, "data: "):
				all = strings.Contains(line, last)
			}
		}
		return ids, all, scan.Err()
	}
	got := make([][]string, readers)
	wanted := func(i int) string {
		if i%4 == 0 {
			return ""
		}
		return fmt.Sprint("s", i%sessions)
	}
	d.feed.add(operator("nobody's", 0, 1))
	start := d.feed.Newest().String()
	var reading, opening sync.WaitGroup
	opening.Add(readers)
	for i := range readers {
		reading.Go(func() {
			var once sync.Once
			opened := func() { once.Do(opening.Done) }
			defer opened()
			query, from, random := "", start, rand.New(rand.NewPCG(7, uint64(i)))
			if one := wanted(i); one != "" {
				query = "?sessionId=" + one
			}
			for all := false; !all; {
				var ids []string
				var err error
				if ids, all, err = visit(query, from, 1+random.IntN(100), opened); err != nil {
					t.Error(err)
					return
				}
				if got[i] = append(got[i], ids...); len(ids) > 0 {
					from = ids[len(ids)-1]
				}
			}
		})
	}
	opening.Wait()
	for n := range events {
		e := operator(fmt.Sprint("s", n%(2*sessions)), n, 1)
		switch n % 7 {
		case 0:
			e.Origin = bridge.OriginApp
		case 1:
			e.Session = ""
		}
		d.feed.add(e)
	}
	d.feed.add(event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", fmt.Sprintf(`{"is":%q}`, last)))
	reading.Wait()
	for i := range readers {
		var want []string
		for _, e := range d.feed.all()[1:] {
			if tells(e.Event, wanted(i)) {
				want = append(want, e.Seq.String())
			}
		}
		same(t, want, got[i])
	}
}

// TestPlaceOfAQuietStream: a reader whose session was quiet for long is not sent back to its last event, which is too old to go on from.
func TestPlaceOfAQuietStream(t *testing.T) {
	for _, test := range []struct {
		name   string
		behind int // entries that come while the reader does not read
		missed int // how many of them are for it
		sleep  time.Duration
	}{
		{"a write that takes long", 10, 0, streamSlow + time.Second},
		{"far behind the live end", streamBehind + 3*streamPage, 2, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newClockDesk()
				o := d.options(t)
				var pass func(bridge.Entry)
				o.Ephemeral = func(tell func(bridge.Entry)) func() {
					pass = tell
					return func() {}
				}
				p := bubble(t, o)
				open := p.follow(t, "?sessionId=s1")
				open.want(t, ": open")
				d.feed.add(operator("s1", 0, 1))
				open.ids(t, 1)
				for range 300 { // two and a half hours
					open.want(t, ": heartbeat")
					d.feed.add(operator("s2", 0, 1), event(bridge.TypeVisitorMessage, bridge.OriginApp, "s1", `{}`))
				}
				d.feed.change(func() { d.feed.entries = d.feed.entries[500:] })

				typing := event(bridge.TypeOperatorTyping, "slack", "s1", fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 30_000)))
				for range 2 { // more than fits into all buffers
					pass(bridge.Entry{Seq: bridge.SeqAt(time.Now()), Event: typing})
					synctest.Wait()
				}
				d.feed.add(operators("s2", 1000)...)
				d.feed.add(operators("s1", test.missed)...)
				d.feed.add(operators("s2", test.behind)...)
				all := d.feed.all()
				<-time.After(test.sleep)
				line := open.next(t)
				for strings.HasPrefix(line, "data: ") { // one or both: what passes is not told to who is slow
					line = open.next(t)
				}
				if line != "event: overflow" {
					t.Fatal(line)
				}
				last := open.next(t)
				<-open
				open.wantEnd(t)

				again := p.follow(t, "?sessionId=s1", "Last-Event-ID", strings.TrimPrefix(last, "id: "))
				again.want(t, ": open")
				d.feed.add(operator("s1", 0, 1))
				missed := idsOf(all[len(all)-test.behind-test.missed : len(all)-test.behind])
				same(t, append(missed, d.feed.Newest().String()), again.ids(t, test.missed+1))
			})
		})
	}
}

// TestSlowToOpen: a reader that falls behind before it has heard that the stream is open misses nothing of what came since.
func TestSlowToOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		p := bubble(t, d.options(t))
		d.feed.add(operators("s", 3)...)
		at := d.feed.Newest()
		conn := p.dial()
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, "GET /api/events/stream HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it waits for its first write
		d.feed.add(operators("s", streamBehind+1)...)
		synctest.Wait()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if ids, last, err := rest(t, resp.Body); len(ids) > 0 || last != at.String() || err != nil {
			t.Errorf("%d events, overflow at %q, not %s: %v", len(ids), last, at, err)
		}
	})
}

// TestHubLosesItsPlace: what was removed before it was looked at may have been for any stream.
func TestHubLosesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		p := bubble(t, d.options(t))
		open := p.follow(t, "?sessionId=s1")
		open.want(t, ": open")
		d.feed.add(operator("s2", 0, 1))
		synctest.Wait()
		at := d.feed.Newest()
		d.feed.fail(bridge.ErrUnavailable)
		synctest.Wait()
		d.feed.add(operator("s1", 0, 1))
		d.feed.add(operator("s2", 0, 1))
		d.feed.change(func() { d.feed.entries = d.feed.entries[2:] })
		d.feed.fail(nil)
		open.want(t, "event: overflow")
		open.want(t, "id: "+at.String())
		<-open
		open.wantEnd(t)

		again := p.follow(t, "?sessionId=s1", "Last-Event-ID", at.String())
		again.want(t, ": open")
		if from := again.gapAt(t, at); from != d.feed.Newest() {
			t.Errorf("it goes on from %s", from)
		}
		d.feed.add(operator("s1", 0, 1))
		same(t, []string{d.feed.Newest().String()}, again.ids(t, 1))
	})
}

// heldFeed is a log that lets nobody read before it is released.
type heldFeed struct {
	*feed
	released chan struct{}
}

func (f heldFeed) Next(ctx context.Context, after bridge.Seq, most int) ([]bridge.Entry, error) {
	select {
	case <-f.released:
		return f.feed.Next(ctx, after, most)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestSlowHub: the log's end may be ahead of the hub. What happened before a stream began is not told on it, and what it has read by itself
// is not told again.
func TestSlowHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := heldFeed{newFeed(), make(chan struct{})}
		h := newHub(f, slog.New(slog.DiscardHandler), nil)
		enter := func() *listener {
			l := &listener{wanted: "s", wake: make(chan struct{}, 1)}
			leave, err := h.add(l)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(leave)
			return l
		}
		due := func(l *listener, want span) {
			t.Helper()
			if got, _, _, err := h.dueFor(l); got != want || err != nil {
				t.Errorf("due is %+v, not %+v: %v", got, want, err)
			}
		}
		f.add(operators("s", 3)...)
		first := enter()
		f.add(operators("s", 1)...) // 4
		second, third, fourth := enter(), enter(), enter()
		f.add(operators("s", 1)...) // 5
		h.catchUp(third, 5)
		h.catchUp(fourth, 2)
		f.add(operators("s", 1)...) // 6
		synctest.Wait()
		due(second, span{})
		due(fourth, span{to: 4, catching: true})
		close(f.released)
		synctest.Wait()
		due(first, span{from: 4, to: 6})
		due(second, span{from: 5, to: 6, before: 1})
		due(third, span{from: 6, to: 6, before: 2})
		due(fourth, span{to: 6, catching: true})

		h.hasRead(first, 1, 4)
		due(first, span{from: 4, to: 6, before: 1})
		h.hasRead(first, 4, 8) // it read more than the hub has
		due(first, span{})
		for range 3 {
			f.add(operators("s", 1)...) // 7, 8, 9
			synctest.Wait()
		}
		due(first, span{from: 9, to: 9, before: 5})
	})
}

// TestHubEnds: with the last stream the hub's work ends, and after a fault it begins anew.
func TestHubEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed()
		h := newHub(f, slog.New(slog.DiscardHandler), nil)
		l, other := &listener{wake: make(chan struct{}, 1)}, &listener{wanted: "s", wake: make(chan struct{}, 1)}
		leave, err := h.add(l)
		if err != nil {
			t.Fatal(err)
		}
		defect := errors.New("defect")
		f.fail(defect)
		synctest.Wait()
		if _, _, _, err := h.dueFor(l); !errors.Is(err, defect) {
			t.Errorf("the stream goes on: %v", err)
		}
		f.fail(nil)
		leaveOther, err := h.add(other)
		if err != nil {
			t.Fatal(err)
		}
		leave()
		f.add(operator("s", 0, 1))
		synctest.Wait()
		if due, _, _, err := h.dueFor(other); due.to != 1 || err != nil {
			t.Errorf("due is %+v, %v", due, err)
		}
		leaveOther()
		before := f.looks()
		f.add(operator("s", 0, 1))
		synctest.Wait()
		if n := f.looks() - before; n > 0 || len(h.open) > 0 || h.run != nil {
			t.Errorf("the log is looked at %d times for nobody, and %d streams are open", n, len(h.open))
		}
	})
}
