package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

// operator is a message that every stream is told of, and body is what makes it a long one.
func operator(session string, n, length int) bridge.Event {
	return event(bridge.TypeOperatorMessage, "telegram", session, fmt.Sprintf(`{"n":%d,"content":%q}`, n, strings.Repeat("x", length)))
}

func operators(session string, n int) []bridge.Event {
	out := make([]bridge.Event, n)
	for i := range out {
		out[i] = operator(session, i, 1)
	}
	return out
}

// newClockDesk is a desk whose log has the clock's ids.
func newClockDesk() *desk {
	d := newDesk()
	d.feed.clock = true
	return d
}

// ids returns the next n events' ids.
func (l lines) ids(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for len(out) < n {
		line := l.next(t)
		if line == ": heartbeat" {
			continue
		}
		id, ok := strings.CutPrefix(line, "id: ")
		if data := l.next(t); !ok || !strings.HasPrefix(data, "data: ") {
			t.Fatalf("not an event: %s %s", line, data)
		}
		out = append(out, id)
	}
	return out
}

func idsOf(entries []bridge.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Seq.String())
	}
	return out
}

func same(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%.2000s", diff)
	}
}

func TestReplay(t *testing.T) {
	d := newClockDesk()
	forOne := operator("s1", 0, 1)
	forOne.Callback = "web-1"
	d.feed.add(
		operator("s1", 0, 1), // 0
		event(bridge.TypeVisitorMessage, bridge.OriginApp, "s1", `{}`),
		operator("s1", 2, 1), // 2
		operator("s2", 3, 1), // 3
		event(bridge.TypeAnswer, bridge.OriginBridge, "s1", `{}`), // 4
		forOne,               // 5
		operator("s1", 6, 1), // 6
		event(bridge.TypeOperatorStatus, bridge.OriginBridge, "", `{"online":true}`), // 7
	)
	url := serve(t, d.options(t)) + "/api/events/stream"
	log := d.feed.all()
	id := func(i int) string { return log[i].Seq.String() }
	for _, test := range []struct {
		name, query string
		header      []string
		want        []int
	}{
		{"by header", "", []string{"Last-Event-ID", id(0)}, []int{2, 3, 6, 7, 8, 9}},
		{"by query", "?lastEventId=" + id(2), nil, []int{3, 6, 7, 8, 9}},
		{"the header is newer", "?lastEventId=" + id(0), []string{"Last-Event-ID", id(6)}, []int{7, 8, 9}},
		{"from an entry that is not told", "", []string{"Last-Event-ID", id(4)}, []int{6, 7, 8, 9}},
		{"from the newest", "", []string{"Last-Event-ID", id(7)}, []int{8, 9}},
		{"narrowed", "?sessionId=s1&lastEventId=" + id(0), nil, []int{2, 6, 7, 8}},
		{"narrowed to the other", "?sessionId=s2", []string{"Last-Event-ID", id(0)}, []int{3, 7, 9}},
		{"without", "", nil, []int{8, 9}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.feed.change(func() { d.feed.entries, d.feed.newest = d.feed.entries[:8:8], log[7].Seq })
			open := listen(t, url+test.query, test.header...)
			open.want(t, ": open")
			d.feed.add(operator("s1", 8, 1), operator("s2", 9, 1))
			now := d.feed.all()
			var want []string
			for _, i := range test.want {
				want = append(want, now[i].Seq.String())
			}
			same(t, want, open.ids(t, len(want)))
		})
	}
}

// TestReplayBeyondMemory: what is no longer in memory comes from the store, and the seam does not show.
func TestReplayBeyondMemory(t *testing.T) {
	d := newClockDesk()
	d.feed.window = 1000
	d.feed.add(operators("s", 20_000)...) // far more than a live stream may be behind
	log := d.feed.all()
	open := listen(t, serve(t, d.options(t))+"/api/events/stream", "Last-Event-ID", log[9].Seq.String())
	open.want(t, ": open")
	got := open.ids(t, 5000)
	d.feed.add(operators("s", 500)...)
	got = append(got, open.ids(t, 15_490)...)
	same(t, idsOf(d.feed.all()[10:]), got)
	if d.feed.reads == 0 {
		t.Error("the store was not read")
	}
}

// gapAt reads a gap and returns from where the stream goes on.
func (l lines) gapAt(t *testing.T, last bridge.Seq) bridge.Seq {
	t.Helper()
	l.want(t, "event: gap")
	line := l.next(t)
	rest, ok := strings.CutPrefix(line, fmt.Sprintf(`data: {"lastEventId":"%s","from":"`, last))
	from, valid := bridge.ParseSeq(strings.TrimSuffix(rest, `"}`))
	if !ok || !valid {
		t.Fatalf("a gap's data: %s", line)
	}
	return from
}

func TestGap(t *testing.T) {
	const hour = time.Hour
	for _, test := range []struct {
		name string
		log  func(f *feed) (last bridge.Seq)
		gap  bool
		want func(f *feed) []bridge.Entry // what is shown again
		from func(f *feed) bridge.Seq
	}{
		{name: "older than an hour", gap: true,
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 2)...)
				<-time.After(hour / 2)
				f.add(operators("s", 3)...)
				<-time.After(hour/2 + time.Second)
				return f.all()[0].Seq
			},
			want: func(f *feed) []bridge.Entry { return f.all()[2:] },
			from: func(*feed) bridge.Seq { return bridge.SeqAt(time.Now().Add(-hour)) }},
		{name: "just an hour old",
			log: func(f *feed) bridge.Seq {
				f.add(operator("s", 0, 1))
				<-time.After(hour)
				f.add(operators("s", 3)...)
				return f.all()[0].Seq
			},
			want: func(f *feed) []bridge.Entry { return f.all()[1:] }},
		{name: "old, and nothing came after it",
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 3)...)
				<-time.After(9 * hour)
				return f.Newest()
			}},
		{name: "old, its entry gone, and nothing came after it",
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 3)...)
				<-time.After(9 * hour)
				f.change(func() { f.entries = nil })
				return f.Newest()
			}},
		{name: "the log no longer reaches it", gap: true,
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 10)...)
				last := f.all()[4].Seq
				f.change(func() { f.entries = f.entries[7:] })
				return last
			},
			want: func(f *feed) []bridge.Entry { return f.all() },
			from: func(f *feed) bridge.Seq { return f.all()[0].Seq }},
		{name: "the log has nothing left", gap: true,
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 10)...)
				last := f.all()[4].Seq
				f.change(func() { f.entries = nil })
				return last
			},
			from: func(f *feed) bridge.Seq { return f.Newest() + 1 }},
		{name: "the oldest of the log",
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 10)...)
				f.change(func() { f.entries = f.entries[7:] })
				return f.all()[0].Seq
			},
			want: func(f *feed) []bridge.Entry { return f.all()[1:] }},
		{name: "ahead of the log", gap: true,
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 3)...)
				return f.Newest() + 5
			},
			from: func(f *feed) bridge.Seq { return f.Newest() + 1 }},
		{name: "ahead of an old log", gap: true,
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 3)...)
				<-time.After(2 * hour)
				return f.Newest() + 5
			},
			from: func(f *feed) bridge.Seq { return f.Newest() + 1 }},
		{name: "an empty log", gap: true,
			log:  func(*feed) bridge.Seq { return 7 },
			from: func(*feed) bridge.Seq { return 1 }},
		{name: "ahead for a moment: another bridge has it",
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", 3)...)
				last := f.Newest() + 1
				go func() {
					<-time.After(time.Second)
					f.change(func() {
						f.entries, f.newest = append(f.entries, bridge.Entry{Seq: last, Event: operator("s", 9, 1)}), last
					})
				}()
				return last
			}},
		{name: "more than may be shown again", gap: true,
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", replayEvents+701)...)
				return f.all()[0].Seq
			},
			want: func(f *feed) []bridge.Entry { return f.all()[701:710] },
			from: func(f *feed) bridge.Seq { return f.all()[700].Seq + 1 }},
		{name: "as much as may be shown again",
			log: func(f *feed) bridge.Seq {
				f.add(operators("s", replayEvents+1)...)
				return f.all()[0].Seq
			},
			want: func(f *feed) []bridge.Entry { return f.all()[1:10] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newClockDesk()
				p := bubble(t, d.options(t))
				last := test.log(d.feed)
				open := p.follow(t, "", "Last-Event-ID", last.String())
				open.want(t, ": open")
				synctest.Wait()
				if test.gap {
					if from, want := open.gapAt(t, last), test.from(d.feed); from != want {
						t.Errorf("it goes on from %s, not %s", from, want)
					}
				}
				var want []string
				if test.want != nil {
					want = idsOf(test.want(d.feed))
				}
				same(t, want, open.ids(t, len(want)))
				if len(want) < 9 { // it is at the end
					<-time.After(5 * time.Second)
					d.feed.add(operator("s", 99, 1))
					same(t, []string{d.feed.Newest().String()}, open.ids(t, 1))
				}
			})
		})
	}
}

// TestReplayOutlastsTheStore: a store that fails for a while holds a replay up and does not end it.
func TestReplayOutlastsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		d.feed.add(operators("s", 3)...)
		d.feed.fail(bridge.ErrUnavailable)
		open := bubble(t, d.options(t)).follow(t, "", "Last-Event-ID", d.feed.all()[0].Seq.String())
		open.want(t, ": open")
		for range 2 {
			if got := <-open; got != ": heartbeat" {
				t.Fatal(got)
			}
		}
		d.feed.fail(nil)
		same(t, idsOf(d.feed.all()[1:]), open.ids(t, 2))

		d.feed.fail(errors.New("defect"))
		open.wantEnd(t)
	})
}

// conn opens a stream by hand on a pipe, where nothing is buffered on the reader's side, and returns what follows the opening.
func (p *pipes) conn(t *testing.T, header string) *bufio.Reader {
	t.Helper()
	conn := p.dial()
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /api/events/stream HTTP/1.1\r\nHost: b\r\nConnection: close\r\n"+header+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	read := bufio.NewReaderSize(resp.Body, 16)
	if line, err := read.ReadString('\n'); line != ": open\n" {
		t.Fatalf("%q %v", line, err)
	}
	return read
}

// rest reads a stream to its end: the events' ids, and the id that an overflow tells, if the stream ends with one.
func rest(t *testing.T, from io.Reader) (ids []string, last string, err error) {
	t.Helper()
	text, err := io.ReadAll(from)
	frames := strings.Split(strings.TrimPrefix(string(text), "\n"), "\n\n")
	for i, frame := range frames {
		switch {
		case i == len(frames)-1: // nothing, or what was cut
		case strings.HasPrefix(frame, "id: "):
			id, _, _ := strings.Cut(frame[4:], "\n")
			ids = append(ids, id)
		case strings.HasPrefix(frame, "event: overflow\n"):
			if i != len(frames)-2 {
				t.Errorf("an overflow is not the last word")
			}
			if _, err := fmt.Sscanf(frame, "event: overflow\nid: %s", &last); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("event: overflow\nid: %s\ndata: {\"lastEventId\":%q}", last, last); frame != want {
				t.Errorf("got %s", frame)
			}
		case !strings.HasPrefix(frame, ":"):
			t.Errorf("frame %q", frame)
		}
	}
	return ids, last, err
}

// TestOverflow: a reader that is too slow is told so with its last word, and then misses nothing when it comes again.
func TestOverflow(t *testing.T) {
	for _, test := range []struct {
		name  string
		add   int
		sleep time.Duration
	}{
		{"a write that takes long", 100, streamSlow + time.Second},
		{"far behind the live end", streamBehind + 3*streamPage, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newClockDesk()
				p := bubble(t, d.options(t))
				read := p.conn(t, "")
				synctest.Wait()
				d.feed.add(operator("s", 0, 10_000)) // it fills all buffers
				synctest.Wait()
				for i := range test.add {
					e := operator("s", i, 1)
					if i%3 == 0 {
						e.Origin = bridge.OriginApp
					}
					d.feed.add(e)
				}
				<-time.After(test.sleep)
				got, last, err := rest(t, read)
				if err != nil || last == "" || len(got) == 0 || len(got) > 2*streamPage {
					t.Fatalf("%d events, overflow at %q: %v", len(got), last, err)
				}

				again := p.follow(t, "", "Last-Event-ID", last)
				again.want(t, ": open")
				shown := slices.DeleteFunc(d.feed.all(), func(e bridge.Entry) bool { return !tells(e.Event, "") })
				got = append(got, again.ids(t, len(shown)-len(got))...)
				same(t, idsOf(shown), got)
			})
		})
	}
}

// TestSlowReplayIsNoOverflow: a reader that catches up may be as far behind as it was, as long as it reads.
func TestSlowReplayIsNoOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		d.feed.add(operators("s", 3*streamBehind)...)
		open := bubble(t, d.options(t)).follow(t, "", "Last-Event-ID", d.feed.all()[0].Seq.String())
		open.want(t, ": open")
		var got []string
		for len(got) < 3*streamBehind-1 {
			got = append(got, open.ids(t, 1)...)
			if len(got)%1000 == 0 {
				<-time.After(streamSlow / 2)
				d.feed.add(operators("s", 2)...)
			}
		}
		same(t, idsOf(d.feed.all()[1:3*streamBehind]), got)
	})
}

// TestSlowReaderOfAnOldLog: a reader is so slow that the log has lost what it would have got next.
func TestSlowReaderOfAnOldLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		p := bubble(t, d.options(t))
		d.feed.add(operators("s", 3*streamPage)...)
		log := d.feed.all()
		read := p.conn(t, "Last-Event-ID: "+log[0].Seq.String()+"\r\n")
		synctest.Wait()
		d.feed.change(func() { d.feed.entries = d.feed.entries[2*streamPage:] })
		got, last, err := rest(t, read)
		if err != nil || last != log[streamPage].Seq.String() {
			t.Fatalf("overflow at %q: %v", last, err)
		}
		same(t, idsOf(log[1:1+streamPage]), got)

		again := p.follow(t, "", "Last-Event-ID", last)
		again.want(t, ": open")
		if from := again.gapAt(t, log[streamPage].Seq); from != log[2*streamPage].Seq {
			t.Errorf("it goes on from %s", from)
		}
		same(t, idsOf(log[2*streamPage:]), again.ids(t, streamPage))
	})
}

// TestLogLosesItsEnd: what is left is not told again to who has seen it, and what is appended then is told.
func TestLogLosesItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		p := bubble(t, d.options(t))
		d.feed.add(operators("s", 10)...)
		log := d.feed.all()
		lost := log[9].Seq
		live := p.follow(t, "")
		live.want(t, ": open")
		synctest.Wait()
		d.feed.change(func() { d.feed.entries, d.feed.newest = d.feed.entries[:4:4], log[3].Seq })
		resumed := p.follow(t, "", "Last-Event-ID", lost.String())
		resumed.want(t, ": open")
		if from := resumed.gapAt(t, lost); from != log[3].Seq+1 {
			t.Errorf("it goes on from %s", from)
		}
		d.feed.add(operator("s", 99, 1))
		for _, reader := range []lines{live, resumed} {
			same(t, []string{d.feed.Newest().String()}, reader.ids(t, 1))
		}
	})
}

func TestDeadReaderIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		read := bubble(t, d.options(t)).conn(t, "")
		synctest.Wait()
		d.feed.add(operator("s", 0, 100_000))
		<-time.After(streamOneWrite + time.Second) // by the bubble's clock
		ids, last, err := rest(t, read)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(ids) > 0 || last != "" {
			t.Errorf("%d events, overflow at %q: %v", len(ids), last, err)
		}
	})
}

// TestClosingDoesNotWaitForReaders: a stream whose reader does not read ends soon too.
func TestClosingDoesNotWaitForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newClockDesk()
		o := d.options(t)
		closing := make(chan struct{})
		o.Closing = closing
		ended := make(chan time.Time, 1)
		handler := New(o)
		p := bubbleOf(t, o.Logger, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(w, r)
			ended <- time.Now()
		}))
		p.conn(t, "")
		synctest.Wait()
		d.feed.add(operators("s", 1000)...)
		<-time.After(time.Second)
		start := time.Now()
		close(closing)
		if took := (<-ended).Sub(start); took > streamLastWrite {
			t.Errorf("it took %s", took)
		}
	})
}
