package bridgeclient

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// bridge answers events as told, and notes what it took.
type bridge struct {
	mu     sync.Mutex
	answer func(n int) int // the status of the n-th request
	n      int
	bodies []map[string]any
	keys   []string
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		_, _ = io.WriteString(w, `{"status":"ok","bridges":["telegram"],"version":"1.2.3","protocol":1}`)
		return
	}
	if r.URL.Path != "/api/events" {
		http.NotFound(w, r)
		return
	}
	text, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	status := b.answer(b.n)
	b.n++
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	if status == http.StatusOK {
		var body map[string]any
		_ = json.Unmarshal(text, &body)
		b.bodies = append(b.bodies, body)
	}
	b.keys = append(b.keys, r.Header.Get("Idempotency-Key"))
	w.WriteHeader(status)
	if status == http.StatusUpgradeRequired {
		_, _ = io.WriteString(w, `{"error":"no","code":"protocol","supported":[2]}`)
		return
	}
	_, _ = io.WriteString(w, `{"ok":true}`)
}

func serve(t *testing.T, answer func(int) int) (*bridge, string) {
	t.Helper()
	b := &bridge{answer: answer}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	return b, srv.URL
}

func flushed(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// What fails is sent again with the same key until it is taken, in order; what is refused is told and dropped.
func TestOutbox(t *testing.T) {
	statuses := []int{503, 0, 429, 200, 400, 401, 426, 200}
	b, url := serve(t, func(n int) int { return statuses[min(n, len(statuses)-1)] })
	var mu sync.Mutex
	var told []error
	c, err := New(Config{URL: url, OnError: func(err error) { mu.Lock(); defer mu.Unlock(); told = append(told, err) }})
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]any{"plan": "gold"}
	for i := range 3 {
		text["n"] = i
		if err := c.Send(CustomEvent{Event: CustomEventData{Name: "e", Data: text}, Session: Session{ID: "s", VisitorID: "v"}}); err != nil {
			t.Fatal(err)
		}
	}
	text["n"] = "changed later"
	flushed(t, c)
	if len(b.bodies) != 2 {
		t.Fatalf("%d were taken", len(b.bodies))
	}
	for i, want := range []float64{0, 2} {
		event, _ := b.bodies[i]["event"].(map[string]any)
		data, _ := event["data"].(map[string]any)
		if b.bodies[i]["type"] != "custom_event" || data["n"] != want {
			t.Errorf("in place %d is %v", i, b.bodies[i])
		}
	}
	if b.keys[0] == "" || b.keys[0] != b.keys[2] || b.keys[2] == b.keys[3] {
		t.Errorf("the keys are %v", b.keys)
	}
	mu.Lock()
	defer mu.Unlock()
	refused, protocol := 0, 0
	for _, err := range told {
		if errors.Is(err, ErrRefused) {
			refused++
		}
		if errors.Is(err, ErrProtocol) {
			protocol++
		}
	}
	if refused != 1 || protocol != 1 {
		t.Errorf("told %v", told)
	}
	if s := c.Stats(); s.Sent != 2 || s.Dropped != 1 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := c.Send(SessionClosed{"s"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Receipts go in hundreds, and a queue has an end.
func TestLimits(t *testing.T) {
	open := make(chan struct{})
	b, url := serve(t, func(int) int { <-open; return 200 })
	c, err := New(Config{URL: url, MaxQueue: 4})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 250)
	for i := range ids {
		ids[i] = fmt.Sprint("m", i)
	}
	if err := c.Send(MessageRead{SessionID: "s", MessageIDs: ids, Status: "read"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(SessionClosed{"s"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(SessionClosed{"other"}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("the fifth: %v", err)
	}
	close(open)
	flushed(t, c)
	var counts []int
	for _, body := range b.bodies {
		if list, ok := body["messageIds"].([]any); ok {
			counts = append(counts, len(list))
		}
	}
	if fmt.Sprint(counts) != "[100 100 50]" {
		t.Errorf("parts of %v", counts)
	}
	_ = c.Close(context.Background())
}

// What a client could not send is sent by the next one with the same spool.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	gone, err := New(Config{URL: "http://127.0.0.1:1", Spool: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := gone.Send(VisitorMessageDeleted{SessionID: "s", MessageID: strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := gone.Close(ended); err != nil {
		t.Fatal(err)
	}
	b, url := serve(t, func(int) int { return 200 })
	for range 2 {
		c, err := New(Config{URL: url, Spool: dir})
		if err != nil {
			t.Fatal(err)
		}
		flushed(t, c)
		_ = c.Close(context.Background())
	}
	if len(b.bodies) != 3 {
		t.Fatalf("%d were taken", len(b.bodies))
	}
	for i, body := range b.bodies {
		if body["messageId"] != strconv.Itoa(i) {
			t.Errorf("in place %d is %v", i, body)
		}
	}
}

func TestGenuine(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	body := []byte(`{"type":"test"}`)
	sign := func(key []byte, at string) string {
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "evt_1.%s.%s", at, body)
		return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	at := "1700000000"
	good := sign([]byte("plain secret"), at)
	tests := []struct {
		name, secret, at, signature string
		want                        bool
	}{
		{"plain", "plain secret", at, good, true},
		{"whsec", "whsec_" + base64.StdEncoding.EncodeToString([]byte("k")), at, sign([]byte("k"), at), true},
		{"one of two", "plain secret", at, "v1,AAAA " + good, true},
		{"wrong", "plain secret", at, "v1,AAAA", false},
		{"none", "plain secret", at, "", false},
		{"no secret", "", at, sign(nil, at), false},
		{"old", "plain secret", "1699999699", sign([]byte("plain secret"), "1699999699"), false},
		{"ahead", "plain secret", "1700000301", sign([]byte("plain secret"), "1700000301"), false},
		{"another time", "plain secret", "1700000001", good, false},
	}
	for _, test := range tests {
		h := http.Header{}
		h.Set("webhook-id", "evt_1")
		h.Set("webhook-timestamp", test.at)
		h.Set("webhook-signature", test.signature)
		if got := genuine(test.secret, h, body, now); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A stream goes on behind the last event, a repeat is dropped, and a gap is told.
func TestStream(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/events/stream" {
			http.NotFound(w, r)
			return
		}
		mu.Lock()
		asked = append(asked, r.Header.Get("Last-Event-Id"))
		n := len(asked)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		frame := func(id string) {
			_, _ = fmt.Fprintf(w, "id: %s\ndata: {\"type\":\"session_closed\",\"id\":%q,\"sessionId\":\"s\"}\n\n", id, id)
		}
		switch n {
		case 1:
			_, _ = io.WriteString(w, "event: gap\ndata: {}\n\n") // of our own asking
			frame("evt_2")
		case 2:
			_, _ = io.WriteString(w, "event: gap\ndata: {}\n\n")
			frame("evt_2")
			frame("evt_3")
		default:
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer srv.Close()
	gaps := make(chan error, 10)
	c, err := New(Config{URL: srv.URL, OnError: func(err error) {
		if errors.Is(err, ErrGap) {
			gaps <- err
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	go func() {
		_ = c.Listen(context.Background(), func(_ context.Context, e Event) error { got <- e.ID; return nil })
	}()
	for _, want := range []string{"evt_2", "evt_3"} {
		select {
		case id := <-got:
			if id != want {
				t.Errorf("%s in place of %s", id, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing comes")
		}
	}
	if err := <-gaps; !errors.Is(err, ErrGap) {
		t.Error(err)
	}
	_ = c.Close(context.Background())
	mu.Lock()
	defer mu.Unlock()
	if asked[0] != noEvent || asked[1] != "evt_2" || len(gaps) != 0 {
		t.Errorf("asked behind %v, %d more gaps", asked, len(gaps))
	}
}
