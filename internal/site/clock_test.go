package site_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
)

// inTime runs a test on a clock of its own, with a door that no net is before.
func inTime(t *testing.T, test func(t *testing.T, r *rig), adjust ...func(*site.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, adjust...)
		defer r.stop()
		test(t, r)
	})
}

// settle lets everything that can happen at once happen.
func settle() {
	synctest.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
}

// stream is a page that hears by server-sent events, without a net.
type stream struct {
	mu     sync.Mutex
	header http.Header
	text   strings.Builder
	status int
	end    func()
}

func (s *stream) Header() http.Header { return s.header }

func (s *stream) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *stream) Flush() {}

// hears opens a stream of a session, and waits until it has been told what there is.
func (r *rig) hears(session string) *stream {
	s := r.opens(session)
	settle()
	return s
}

// opens opens a stream of a session.
func (r *rig) opens(session string) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{header: http.Header{}}
	req := httptest.NewRequest("GET", "/pocketping/stream?sessionId="+session, nil).WithContext(ctx)
	req.Header.Set("Origin", origin)
	var work sync.WaitGroup
	work.Go(func() { r.door.ServeHTTP(s, req) })
	s.end = func() { cancel(); work.Wait() }
	r.t.Cleanup(s.end)
	synctest.Wait()
	return s
}

// socket is a page that hears by a socket, and answers its pings, without a net.
type socket struct {
	*websocket.Conn
	over chan struct{}
}

// hijacked is a request's connection that a socket takes over.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
	from *bufio.Reader
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(h.from, bufio.NewWriter(h.conn)), nil
}

func (r *rig) socket(session string) *socket {
	r.t.Helper()
	here, there := net.Pipe()
	go func() {
		from := bufio.NewReader(there)
		if req, err := http.ReadRequest(from); err == nil {
			r.door.ServeHTTP(hijacked{httptest.NewRecorder(), there, from}, req)
		}
	}()
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil }}
	conn, _, err := dialer.Dial("ws://chat.example.com/pocketping/stream?sessionId="+session, http.Header{"Origin": {origin}}) //nolint:bodyclose // the answer to an upgrade has none
	if err != nil {
		r.t.Fatal(err)
	}
	s := &socket{conn, make(chan struct{})}
	go func() {
		defer close(s.over)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	r.t.Cleanup(func() { _ = conn.Close(); <-s.over })
	settle()
	return s
}

func (s *socket) ended() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// frames are what a page was told, of a type, as JSON.
func (s *stream) frames(kind string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.SplitSeq(s.text.String(), "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		var f struct {
			Type string          `json:"type"`
			Data json.RawMessage `json:"data"`
		}
		if ok && json.Unmarshal([]byte(data), &f) == nil && f.Type == kind {
			out = append(out, string(f.Data))
		}
	}
	return out
}

// contents are the texts of the messages that a page was told.
func (s *stream) contents() (out []string) {
	for _, text := range s.frames("message") {
		var m struct{ Content string }
		_ = json.Unmarshal([]byte(text), &m)
		out = append(out, m.Content)
	}
	return out
}

func (r *rig) says(session, text string) string {
	r.t.Helper()
	id, _ := r.asked("POST", "/message", fmt.Sprintf(`{"sessionId":%q,"content":%q,"sender":"visitor","attachmentIds":[]}`, session, text))["messageId"].(string)
	return id
}

// polled are the contents of what a poll gives.
func (r *rig) polled(session, after string) (out []string) {
	r.t.Helper()
	got := r.asked("GET", "/messages?sessionId="+session+"&after="+url.QueryEscape(after), "")
	list, _ := got["messages"].([]any)
	for _, m := range list {
		m := m.(map[string]any)
		out = append(out, m["content"].(string))
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// The widget never ends the dots of an operator who types: the door does, and so does an answer.
func TestDotsEnd(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.says(id, "hello")
		settle()
		page := r.hears(id)
		r.operator(id, bridge.Update{Kind: bridge.UpdateTyping})
		time.Sleep(3 * time.Second) // no command has come of it
		settle()
		same(t, "at once", page.frames("typing"), `{"isTyping":true,"sender":"operator"}`)
		time.Sleep(8 * time.Second)
		settle()
		same(t, "later", page.frames("typing"), `{"isTyping":true,"sender":"operator"}`, `{"isTyping":false,"sender":"operator"}`)
	})
}

// The card that asks for a rating is only in a page's memory: a page that opens later is asked too, until the rating is there. A rating
// counts once.
func TestRatingIsAskedForAgain(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.says(id, "hello")
		settle()
		first := r.hears(id)
		r.operator(id, bridge.Update{Kind: bridge.UpdateMessage, Message: "60", Text: "!csat"})
		settle()
		if n := len(first.frames("csat_request")); n != 1 {
			t.Errorf("an open page is asked %d times", n)
		}
		if n := len(r.hears(id).frames("csat_request")); n != 1 {
			t.Errorf("a page that opens later is asked %d times", n)
		}
		if got := r.asked("POST", "/csat", `{"sessionId":"`+id+`","score":4,"comment":"fine"}`); got["alreadyRated"] != false {
			t.Errorf("the first rating: %v", got)
		}
		if got := r.asked("POST", "/csat", `{"sessionId":"`+id+`","score":1}`); got["alreadyRated"] != true {
			t.Errorf("the second rating: %v", got)
		}
		if n := len(r.hears(id).frames("csat_request")); n != 0 {
			t.Errorf("a page is asked %d times for what is there", n)
		}
		if n := len(r.log(bridge.TypeCSATSubmitted)); n != 1 {
			t.Errorf("%d ratings", n)
		}
		for _, score := range []string{"0", "6", "null", `"5"`} {
			if got := r.ask("POST", "/csat", `{"sessionId":"`+id+`","score":`+score+`}`); got.Code != 400 {
				t.Errorf("score %s: %d", score, got.Code)
			}
		}
	})
}

// A poll's after is the newest time that the page holds, one of which may be its own clock's: nothing is missed with a clock that is
// ahead, or behind, and what was said while nobody asked is there.
func TestClocks(t *testing.T) {
	t.Parallel()
	for _, clock := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
		t.Run(clock.String(), func(t *testing.T) {
			t.Parallel()
			inTime(t, func(t *testing.T, r *rig) {
				id := r.connected("")
				r.says(id, "hello")
				settle()
				after := func() string { return time.Now().Add(clock).UTC().Format("2006-01-02T15:04:05.000Z") }
				for i := range 40 {
					text := fmt.Sprint("answer ", i)
					r.answers(id, fmt.Sprint(100+i), text)
					time.Sleep(2 * time.Second)
					if got := r.polled(id, after()); !slices.Contains(got, text) {
						t.Fatalf("a poll gives %q, and not %q", got, text)
					}
				}
				time.Sleep(time.Hour)
				r.answers(id, "200", "after an hour")
				time.Sleep(20 * time.Minute) // longer than the clock is wrong
				held := time.Now().Add(-80*time.Minute + clock).UTC().Format("2006-01-02T15:04:05.000Z")
				if got := r.polled(id, held); !slices.Contains(got, "after an hour") {
					t.Errorf("a page that slept is given %q", got)
				}
				time.Sleep(10 * time.Minute)
				for range 8 { // nobody says anything: what was said ages out
					r.polled(id, time.Now().Add(-10*time.Minute).UTC().Format(time.RFC3339Nano))
					time.Sleep(time.Minute)
				}
				same(t, "when all is quiet", r.polled(id, time.Now().UTC().Format(time.RFC3339Nano)))
			})
		})
	}
}

// Widgets before 1.2 ask for what came after a message's id; and a page may ask for all.
func TestOlderWidgets(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		first := r.says(id, "one")
		time.Sleep(time.Minute)
		r.says(id, "two")
		time.Sleep(time.Minute)
		same(t, "after an id", r.polled(id, first)[len(r.polled(id, first))-1:], "two")
		same(t, "after an unknown id", r.polled(id, "gone"), "one", "two")
		same(t, "without", r.polled(id, ""), "one", "two")
	})
}

// A poll that shows the visitor's own message before its request is answered doubles it in the list.
func TestPollsLeaveOutWhatIsBeingSent(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.says(id, "mine")
		same(t, "at once", r.polled(id, ""))
		settle()
		same(t, "a moment later", r.polled(id, ""), "mine")
	})
}

// Whoever closes the page has left, once a visit, and half a minute after the last sign.
func TestLeaving(t *testing.T) {
	t.Parallel()
	beacon := func(r *rig, id string) {
		r.asked("POST", "/disconnect", `{"sessionId":"`+id+`","duration":42,"reason":"page_unload"}`)
	}
	again := func(r *rig, id string) {
		r.asked("POST", "/connect", `{"visitorId":"v1","sessionId":"`+id+`","metadata":{"url":"https://shop.example.com/"}}`)
	}
	for name, c := range map[string]struct {
		do   func(r *rig, id string)
		left int
	}{
		"closes the page": {func(r *rig, id string) {
			page := r.hears(id)
			time.Sleep(10 * time.Second)
			beacon(r, id)
			page.end()
		}, 1},
		"closes the page without a beacon": {func(r *rig, id string) { r.hears(id).end() }, 1},
		"closes it twice in one visit": {func(r *rig, id string) {
			r.hears(id).end()
			time.Sleep(time.Minute)
			r.hears(id).end()
		}, 1},
		"comes again and leaves again": {func(r *rig, id string) {
			r.hears(id).end()
			time.Sleep(time.Minute)
			again(r, id)
			r.hears(id).end()
		}, 2},
		"reloads": {func(r *rig, id string) {
			page := r.hears(id)
			time.Sleep(10 * time.Second)
			beacon(r, id)
			page.end()
			again(r, id)
			r.hears(id)
		}, 0},
		"reloads, and the beacon comes after the connect": {func(r *rig, id string) {
			page := r.hears(id)
			time.Sleep(10 * time.Second)
			again(r, id)
			beacon(r, id)
			page.end()
			r.hears(id)
		}, 0},
		"reloads in a hidden tab, and the beacon comes after the connect": {func(r *rig, id string) {
			time.Sleep(10 * time.Second)
			again(r, id)
			beacon(r, id)
			time.Sleep(time.Minute) // a hidden page's next call
			r.polled(id, "")
		}, 0},
		"closes one of two tabs": {func(r *rig, id string) {
			r.hears(id)
			two := r.hears(id)
			time.Sleep(10 * time.Second)
			beacon(r, id)
			two.end()
		}, 0},
		"downloads a file": {func(r *rig, id string) {
			r.hears(id)
			time.Sleep(10 * time.Second)
			beacon(r, id)
		}, 0},
		"polls in a hidden tab": {func(r *rig, id string) {
			for range 6 {
				time.Sleep(time.Minute)
				r.polled(id, "")
			}
		}, 0},
		"polls, and stops": {func(r *rig, id string) {
			time.Sleep(10 * time.Second)
			r.polled(id, "")
			time.Sleep(4 * time.Minute)
		}, 1},
		"polls, and leaves": {func(r *rig, id string) {
			time.Sleep(10 * time.Second)
			r.polled(id, "")
			beacon(r, id)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(t *testing.T, r *rig) {
				id := r.connected("")
				r.says(id, "hello")
				settle()
				c.do(r, id)
				time.Sleep(35 * time.Second)
				synctest.Wait()
				if n := len(r.log(bridge.TypeVisitorDisconnect)); n != c.left {
					t.Errorf("%d times it is told that the visitor left, want %d", n, c.left)
				}
			})
		})
	}
}

// A page that was left may keep its socket, for the visitor's way back. It has left all the same when both its beacons came, in whichever
// order; the other tab's socket is opened again.
func TestLeavingWithTheSocketOpen(t *testing.T) {
	t.Parallel()
	left := func(r *rig, id string) { r.asked("POST", "/disconnect", `{"sessionId":"`+id+`","duration":42}`) }
	hidden := func(r *rig, id string) {
		r.asked("POST", "/visibility", `{"sessionId":"`+id+`","state":"hidden","timestamp":1}`)
	}
	seen := func(r *rig, id string) {
		r.asked("POST", "/visibility", `{"sessionId":"`+id+`","state":"visible","timestamp":1}`)
	}
	for name, c := range map[string]struct {
		open time.Duration // how long the socket has been open
		do   []func(r *rig, id string)
		ends bool
	}{
		"left, hidden":          {time.Minute, []func(*rig, string){left, hidden}, true},
		"hidden, left":          {time.Minute, []func(*rig, string){hidden, left}, true},
		"downloads a file":      {time.Minute, []func(*rig, string){left}, false},
		"another tab is looked": {time.Minute, []func(*rig, string){hidden}, false},
		"seen, hidden":          {time.Minute, []func(*rig, string){seen, hidden}, false},
		"later hidden":          {time.Minute, []func(*rig, string){left, func(*rig, string) { time.Sleep(10 * time.Second) }, hidden}, false},
		"reloaded":              {time.Second, []func(*rig, string){left, hidden}, false}, // it is the page before that says so
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(t *testing.T, r *rig) {
				id := r.connected("")
				r.says(id, "hello")
				time.Sleep(time.Minute)
				page := r.socket(id)
				time.Sleep(c.open)
				for _, do := range c.do {
					do(r, id)
				}
				time.Sleep(35 * time.Second)
				synctest.Wait()
				if page.ended() != c.ends {
					t.Errorf("its socket is ended: %v", page.ended())
				}
				if n := len(r.log(bridge.TypeVisitorDisconnect)); (n == 1) != c.ends {
					t.Errorf("%d times it is told that the visitor left", n)
				}
			})
		})
	}
}

// Of an answer that no page took for two minutes the operators are told, once, with the visitor's address.
func TestAnswerWaiting(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.says(id, "hello")
		r.asked("POST", "/prechat", `{"sessionId":"`+id+`","email":"ada@example.com"}`)
		settle()
		page := r.hears(id)
		r.answers(id, "50", "taken")
		settle()
		page.end()
		time.Sleep(3 * time.Minute)
		if n := len(r.log(bridge.TypeAnswerWaiting)); n != 0 {
			t.Errorf("of an answer that a page has: told %d times", n)
		}
		r.answers(id, "51", "not taken")
		r.answers(id, "52", "nor this")
		time.Sleep(10 * time.Minute)
		told := r.log(bridge.TypeAnswerWaiting)
		if len(told) != 1 || !strings.Contains(string(told[0].Event.Body), `["telegram:51","telegram:52"]`) ||
			!strings.Contains(string(told[0].Event.Body), "ada@example.com") {
			t.Errorf("told %+v", told)
		}
		lines := 0
		for _, text := range r.platform.Texts(r.thread(id)) {
			lines += strings.Count(text, "📭")
		}
		if lines != 1 {
			t.Errorf("%d lines in the thread: %q", lines, r.platform.Texts(r.thread(id)))
		}
		same(t, "who comes back", r.hears(id).contents(), "hello", "taken", "not taken", "nor this")
	})
}

// counted counts the events that the door hands over.
type counted struct {
	bridge.Ingester
	mu   sync.Mutex
	n    map[bridge.Type]int
	away bool // it can take nothing
}

func (c *counted) Ingest(ctx context.Context, in bridge.Inbound) (bridge.Accepted, error) {
	c.mu.Lock()
	if c.n == nil {
		c.n = map[bridge.Type]int{}
	}
	c.n[in.Event.Type]++
	away := c.away
	c.mu.Unlock()
	if away {
		return bridge.Accepted{}, bridge.ErrUnavailable
	}
	return c.Ingester.Ingest(ctx, in)
}

func (c *counted) of(t bridge.Type) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[t]
}

// The widget tells of every key, and never that it is over.
func TestTypingIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	c := &counted{}
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		for range 40 { // keys in ten seconds
			r.asked("POST", "/typing", `{"sessionId":"`+id+`","sender":"visitor","isTyping":true}`)
			time.Sleep(250 * time.Millisecond)
		}
		if n := c.of(bridge.TypeVisitorTyping); n != 4 {
			t.Errorf("told %d times", n)
		}
		if got := r.ask("POST", "/typing", `{"sessionId":"unknown","isTyping":true}`); got.Code != 404 {
			t.Errorf("of an unknown session: %d", got.Code)
		}
	}, func(o *site.Options) { c.Ingester, o.Ingester = o.Ingester, c })
}

// Where several bridges serve a visitor, one does not take them for gone who has a page open on another, and their leaving is told once.
func TestLeavingOfSeveralBridges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(one, two *rig, id string)
		left int
	}{
		"a page on each, one closes": {func(one, two *rig, id string) {
			page := one.hears(id)
			two.hears(id)
			time.Sleep(20 * time.Second)
			page.end()
		}, 0},
		"a page on each, both close": {func(one, two *rig, id string) {
			a, b := one.hears(id), two.hears(id)
			time.Sleep(20 * time.Second)
			a.end()
			b.end()
		}, 1},
		"one closes, and the next opens on the other": {func(one, two *rig, id string) {
			one.hears(id).end()
			time.Sleep(5 * time.Second)
			two.asked("POST", "/connect", `{"visitorId":"v1","sessionId":"`+id+`"}`)
			two.hears(id)
		}, 0},
		"leaves, comes, and leaves within a second": {func(one, _ *rig, id string) {
			one.hears(id).end()
			settle()
			one.asked("POST", "/connect", `{"visitorId":"v1","sessionId":"`+id+`"}`)
			one.opens(id).end()
		}, 1},
		"polls by turns": {func(one, two *rig, id string) {
			for i := range 6 {
				time.Sleep(time.Minute)
				[]*rig{one, two}[i/3].asked("GET", "/messages?sessionId="+id, "")
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(t *testing.T, one *rig) {
				two := *one
				var err error
				if two.door, err = site.New(t.Context(), one.options); err != nil {
					t.Fatal(err)
				}
				ctx, end := context.WithCancel(context.Background())
				var work sync.WaitGroup
				work.Go(func() { two.door.Run(ctx) })
				defer work.Wait()
				defer end()
				id := one.connected("")
				one.says(id, "hello")
				settle()
				c.do(one, &two, id)
				time.Sleep(70 * time.Second)
				synctest.Wait()
				if n := len(one.log(bridge.TypeVisitorDisconnect)); n != c.left {
					t.Errorf("%d times it is told that the visitor left, want %d", n, c.left)
				}
			}, func(o *site.Options) { o.Several = true })
		})
	}
}
