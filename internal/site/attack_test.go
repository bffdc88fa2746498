package site_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// dial opens a socket as a page of an origin would.
func (r *rig) dial(session, from, address string) (*websocket.Conn, int) {
	r.t.Helper()
	header := http.Header{"X-Forwarded-For": {address}}
	if from != "" {
		header.Set("Origin", from)
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(r.t.Context(), strings.Replace(r.url, "http", "ws", 1)+"/stream?sessionId="+session, header)
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		if resp == nil {
			r.t.Fatal(err)
		}
		return nil, resp.StatusCode
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn, resp.StatusCode
}

// Sockets of other origins, of unknown sessions, and too many of one address or session are refused; others' are not held up.
func TestSocketsAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t).serve()
	id := r.connected("")
	for _, c := range []struct {
		name, session, origin string
		status                int
	}{
		{"its own", id, origin, 101},
		{"of another origin", id, "https://evil.example.com", 403},
		{"without an origin", id, "", 403},
		{"of no session", "AAAAAAAAAAAAAAAAAAAAAAAAAA", origin, 404},
	} {
		if _, status := r.dial(c.session, c.origin, "192.0.2.50"); status != c.status {
			t.Errorf("%s: %d", c.name, status)
		}
	}
	for range 4 {
		r.dial(id, origin, "192.0.2.51")
	}
	if _, status := r.dial(id, origin, "192.0.2.52"); status != 503 {
		t.Errorf("a sixth of one session: %d", status)
	}

	opened := 0
	for i := range 1000 {
		if _, status := r.dial(r.connected("", "X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", i/250, i%250)), origin, "192.0.2.1"); status == 101 {
			opened++
		}
	}
	if opened != 50 {
		t.Errorf("%d sockets of one address", opened)
	}
	w := r.page(sitetest.Options{From: "192.0.2.2"}, nil)
	if _, err := w.Send("hello", nil, ""); err != nil {
		t.Fatal(err)
	}
	r.answers(w.Session(), "50", "hi")
	r.shows(w, "the answer by socket", func(s sitetest.State) bool { _, ok := s.Find("hi"); return ok && s.Way == "socket" })
}

// Beyond the sockets that there is room for, pages poll.
func TestNoRoomForSockets(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *site.Options) { o.SocketsMax = 1 }).serve()
	r.dial(r.connected(""), origin, "192.0.2.1")
	w := r.page(sitetest.Options{}, nil)
	if _, err := w.Send("hello", nil, ""); err != nil {
		t.Fatal(err)
	}
	r.answers(w.Session(), "50", "hi")
	r.shows(w, "the answer by polls", func(s sitetest.State) bool { _, ok := s.Find("hi"); return ok && s.Way == "poll" })
}

// A page's frames are bounded in size and pace, and only its own events count.
func TestFramesOfPages(t *testing.T) {
	t.Parallel()
	r := newRig(t).serve()
	id := r.connected("")
	conn, _ := r.dial(id, origin, "192.0.2.1")
	for _, text := range []string{`nonsense`, `{"type":"message","data":{"content":"x"}}`, `{"type":"inspector_select","data":{"selector":"a"}}`, `{"type":"event","data":{}}`} {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for i := range 200 {
		_ = conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"event","data":{"name":"n%d","data":{"i":%d}}}`, i, i))
	}
	r.until("some taken", func() bool { return len(r.log(bridge.TypeCustomEvent)) >= 10 })
	_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"event","data":{"name":"`+strings.Repeat("x", 20<<10)+`"}}`))
	for {
		if _, _, err := conn.ReadMessage(); err != nil { // too long: it is cut off
			break
		}
	}
	if n, most := len(r.log(bridge.TypeCustomEvent)), 40+int(10*time.Since(began).Seconds()); n > most {
		t.Errorf("%d of 200 events at once are taken, and not %d at most", n, most)
	}
	if n := len(r.log(bridge.TypeVisitorMessage)); n != 0 {
		t.Errorf("%d messages come of frames", n)
	}
}

// A card number in a page's event is masked before it is in the log.
func TestCardsInFramesOfPages(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *site.Options) { o.MaskCards = true }).serve()
	conn, _ := r.dial(r.connected(""), origin, "192.0.2.1")
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"event","data":{"name":"paid","data":{"with":"4111111111111111"}}}`)); err != nil {
		t.Fatal(err)
	}
	r.until("taken", func() bool { return len(r.log(bridge.TypeCustomEvent)) == 1 })
	if body := string(r.log(bridge.TypeCustomEvent)[0].Event.Body); !strings.Contains(body, "••••••••••••1111") {
		t.Errorf("the log has %s", body)
	}
}

// An event of the app's own reaches the session's pages and no platform.
func TestPageEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t).serve()
	w := r.page(sitetest.Options{}, nil)
	if _, err := w.Send("hello", nil, ""); err != nil {
		t.Fatal(err)
	}
	r.shows(w, "a socket", func(s sitetest.State) bool { return s.Way == "socket" && s.Frames["message"] > 0 })
	if err := r.door.TellPages(t.Context(), w.Session(), bridge.CustomEvent{Name: "discount", Data: bridge.EventData{"percent": 10}}); err != nil {
		t.Fatal(err)
	}
	r.shows(w, "the event", func(s sitetest.State) bool {
		return len(s.Events) == 1 && strings.Contains(s.Events[0], `"percent":10`)
	})
	if err := r.door.TellPages(t.Context(), "unknown", bridge.CustomEvent{Name: "x"}); err == nil {
		t.Error("of an unknown session there is no error")
	}
	if text := strings.Join(r.platform.Texts(r.thread(w.Session())), "\n"); strings.Contains(text, "discount") {
		t.Errorf("the platform shows %q", text)
	}
}

// Who comes through a proxy that nobody named is not told from others: they do not count as one address, and it is said once.
func TestUnknownProxy(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		for range 100 {
			id := r.connected("", "X-Forwarded-For", "192.0.2.1")
			r.asked("POST", "/message", `{"sessionId":"`+id+`","content":"x","attachmentIds":[]}`, "X-Forwarded-For", "192.0.2.1")
		}
		if n := len(r.log(bridge.TypeNewSession)); n != 100 {
			t.Errorf("%d of 100 sessions are announced", n)
		}
		if n := strings.Count(r.said.String(), "TRUSTED_PROXIES"); n != 1 {
			t.Errorf("it is said %d times", n)
		}
	}, func(o *site.Options) { o.Address = func(*http.Request) string { return "" } })
}
