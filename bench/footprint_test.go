package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// resident returns how much memory a server holds, of all that it has from the system, in bytes; 0 where /proc does not tell.
func (t target) resident() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.pids[0]))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024
		}
	}
	return 0
}

// BenchmarkFootprint measures how long a start takes until it is ready, and what the process holds, garbage included: with nothing to do,
// for a stream and for a page's websocket that is open, beside a bare net/http handler that keeps as many open, and for sessions that wait for Telegram, which is at
// its documented pace.
func BenchmarkFootprint(b *testing.B) {
	binary := build(b)
	for _, store := range []string{"redis", "bolt"} {
		b.Run(store, func(b *testing.B) { footprint(b, binary, store) })
	}
}

func footprint(b *testing.B, binary, store string) {
	streams, sessions := 1000, 10_000
	if span(b) < time.Second {
		streams, sessions = 200, 2000
	}
	around := surround(b, store)
	around.chat.SetLimits(telegram.DocumentedLimits())
	var starts []time.Duration
	var under target
	for i := range rounds {
		began := time.Now()
		t, end := launch(b, binary, around.env...)
		waitFor(b, "readiness", func() bool { return ready(b, "http://"+t.address) })
		if starts = append(starts, time.Since(began)); i < rounds-1 {
			end()
		}
		under = t
	}
	slices.Sort(starts)
	waitFor(b, "the lanes taken over", func() bool { return owned(b, "http://"+under.address) })
	idle := under.resident()

	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	ours, _ := perStream(b, under, func(int) string { return "/api/events/stream" }, streams)
	bare, _ := perStream(b, start(b, self, asReference+"=streams"), func(int) string { return "/" }, streams)
	site, _ := launch(b, binary, append(slices.Clone(around.aside(b)), "WIDGET_ORIGINS="+pageOrigin, "BIND=127.0.0.1", "TRUSTED_PROXIES=127.0.0.1", littleGarbage)...)
	pages := perSocket(b, site, func(i int) string { return "/pocketping/stream?sessionId=" + connect(b, site, i) }, streams)
	bareSockets := perSocket(b, start(b, self, asReference+"=streams", littleGarbage), func(int) string { return "/socket" }, streams)

	all := target{under.address, append(slices.Clone(under.pids), around.pids...)}
	before, worked := under.resident(), all.worked()
	post(b, "http://"+under.address, sessions)
	each, cpu := (under.resident()-before)/float64(sessions), float64((all.worked()-worked).Microseconds())/float64(sessions)

	b.Logf("| store | start → ready ms | idle MiB | a stream kB | bare net/http kB | ratio | a page's socket kB | bare net/http kB | ratio | 10 000 sessions waiting MiB | CPU s/10 000 events |\n"+
		"| %s | %.0f (%.0f–%.0f) | %.1f | %.1f | %.1f | %.2f | %.1f | %.1f | %.2f | %.1f | %.2f |", store, ms(starts[len(starts)/2]), ms(starts[0]), ms(starts[len(starts)-1]),
		idle/(1<<20), ours/1e3, bare/1e3, ours/bare, pages/1e3, bareSockets/1e3, pages/bareSockets, each*10_000/(1<<20), cpu/100)
	b.ReportMetric(ms(starts[len(starts)/2]), "ready-ms")
	b.ReportMetric(idle/(1<<20), "idle-MiB")
	b.ReportMetric(0, "ns/op")
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func ready(b *testing.B, bridge string) bool {
	b.Helper()
	resp, err := http.Get(bridge + "/readyz")
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// perStream opens streams, and returns by how much the server has grown for each. They stay open until they are closed, or the benchmark ends.
func perStream(b *testing.B, t target, path func(i int) string, n int) (each float64, closeAll func()) {
	b.Helper()
	var open []net.Conn
	closeAll = func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}
	b.Cleanup(func() { closeAll() })
	before := t.resident()
	for i := range n {
		conn, err := net.Dial("tcp", t.address)
		if err != nil {
			b.Fatal(err)
		}
		open = append(open, conn)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: b\r\n\r\n", path(i)); err != nil {
			b.Fatal(err)
		}
		in := bufio.NewReaderSize(conn, 256)
		for said := []byte(nil); !bytes.Contains(said, []byte(": open")); {
			line, err := in.ReadBytes('\n')
			if said = append(said, line...); err != nil {
				b.Fatalf("%s: %v", said, err)
			}
		}
	}
	return (t.resident() - before) / float64(n), closeAll
}

// littleGarbage keeps a process from leaving much of it: else the sockets would be opened in that of the connects before them.
const littleGarbage = "GOGC=20"

// pageOrigin is where the pages are.
const pageOrigin = "https://shop.example.com"

// pageHeader is what a browser on some address says. No address may have many pages open.
func pageHeader(i int) http.Header {
	return http.Header{"Origin": {pageOrigin}, "X-Forwarded-For": {fmt.Sprintf("10.%d.%d.1", i/250, i%250)}}
}

// connect connects a page as the widget does, and returns its session.
func connect(b *testing.B, t target, i int) string {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+t.address+"/pocketping/connect",
		strings.NewReader(fmt.Sprintf(`{"visitorId":"page-%d","sessionId":null}`, i)))
	if err != nil {
		b.Fatal(err)
	}
	req.Header = pageHeader(i)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		SessionID string `json:"sessionId"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.SessionID == "" {
		b.Fatalf("a page's connect: %s, %v", resp.Status, err)
	}
	return answer.SessionID
}

// perSocket opens websockets, and returns by how much the server has grown for each of the last ones: the first use what garbage there is. They
// stay open until the benchmark ends.
func perSocket(b *testing.B, t target, path func(i int) string, n int) float64 {
	b.Helper()
	first := n / 2
	paths := make([]string, first+n)
	for i := range paths { // what the connects take is not the sockets'
		paths[i] = path(i)
	}
	before := 0.0
	for i, path := range paths {
		if i == first {
			before = t.resident()
		}
		conn, resp, err := websocket.DefaultDialer.DialContext(b.Context(), "ws://"+t.address+path, pageHeader(i))
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
		b.Cleanup(func() { _ = conn.Close() })
	}
	return (t.resident() - before) / float64(n)
}

// bareSockets opens a websocket, and reads what comes.
func bareSockets(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
}

// bareStreams says that a stream is open, and keeps it so.
func bareStreams(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if _, err := io.WriteString(w, ": open\n\n"); err == nil && http.NewResponseController(w).Flush() == nil {
		<-r.Context().Done()
	}
}

// post has many visitors write, each for the first time.
func post(b *testing.B, bridge string, sessions int) {
	b.Helper()
	var posting sync.WaitGroup
	for c := range connections {
		posting.Go(func() {
			for i := c; i < sessions; i += connections {
				id := fmt.Sprint("first-", i)
				body := fmt.Sprintf(`{"message":{"id":"m","sessionId":%q,"content":"hello"},"session":{"id":%q,"visitorId":%q}}`, id, id, id)
				resp, err := http.Post(bridge+"/api/messages", "application/json", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
					b.Error(resp.Status)
					return
				}
			}
		})
	}
	posting.Wait()
}
