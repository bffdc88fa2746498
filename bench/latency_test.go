package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// The measures of a round of latencies.
const (
	latencyEvery = 2 * time.Millisecond // between two messages under load: 500 a second
	latencyMost  = 300                  // one at a time
)

// span returns how long a round takes.
func span(b *testing.B) time.Duration {
	b.Helper()
	text := os.Getenv("BENCHTIME")
	if text == "" {
		return time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkLatency measures what the bridge adds: from a visitor's request until the message's call is there at Telegram's stand-in, and
// from an operator's message, which can be fetched there, until it is read from the event stream. One at a time, and 500 a second;
// Telegram's paces are off.
func BenchmarkLatency(b *testing.B) {
	binary := build(b)
	for _, store := range []string{"redis", "bolt"} {
		b.Run(store, func(b *testing.B) { latencies(b, binary, store) })
	}
}

// arrivals are when marked texts were sent, and how long after that they were seen.
type arrivals struct {
	mu    sync.Mutex
	sent  map[string]time.Time
	took  []time.Duration
	count int
}

var marker = regexp.MustCompile(`mark-\d+-`)

// next makes a mark that is sent now.
func (a *arrivals) next() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	mark := fmt.Sprintf("mark-%d-", a.count)
	a.sent[mark] = time.Now()
	return mark
}

// look finds marks.
func (a *arrivals) look(text []byte) {
	now := time.Now()
	for _, mark := range marker.FindAll(text, -1) {
		a.mu.Lock()
		if at, ok := a.sent[string(mark)]; ok {
			delete(a.sent, string(mark))
			a.took = append(a.took, now.Sub(at))
		}
		a.mu.Unlock()
	}
}

func (a *arrivals) missing() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sent)
}

// quantiles returns the median and the 99th of 100, and forgets what they were of.
func (a *arrivals) quantiles() (p50, p99 time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.took)
	p50, p99 = a.took[len(a.took)/2], a.took[len(a.took)*99/100]
	a.took = nil
	return p50, p99
}

// way is one of the two ways; send sends a marked text.
type way struct {
	name string
	send func(i int, mark string)
	*arrivals
}

func latencies(b *testing.B, binary, store string) {
	around := surround(b, store)
	chat, group := around.chat, around.group
	ana := chat.AddUser(telegram.User{FirstName: "Ana"})
	env := append(around.env, "OPEN_THREAD=message", "TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off")
	bridge := "http://" + start(b, binary, env...).address
	topics := openTopics(b, bridge, chat, group)

	there := &arrivals{sent: map[string]time.Time{}}
	chat.Observe(func(at telegram.Stage, c telegram.Call) {
		if at == telegram.Received && c.Method == "sendMessage" {
			there.look([]byte(c.Text))
		}
	})
	back := &arrivals{sent: map[string]time.Time{}}
	listen(b, bridge, back)

	var table bytes.Buffer
	for _, w := range []way{
		{"visitor → chat", func(i int, mark string) {
			id := fmt.Sprint("bench-", i%callbackSessions)
			request(b, http.MethodPost, bridge+"/api/messages", fmt.Sprintf(
				`{"message":{"id":%q,"sessionId":%q,"content":%q},"session":{"id":%q,"visitorId":%q}}`, mark, id, mark, id, id), http.StatusOK)
		}, there},
		{"operator → stream", func(i int, mark string) { chat.Say(group, topics[i%len(topics)], ana.ID, mark) }, back},
	} {
		idle50, idle99 := w.oneByOne(b)
		busy50, busy99, n := w.underLoad(b)
		_, _ = fmt.Fprintf(&table, "| %s | %s | %.2f | %.2f | %.2f | %.2f | %d |\n", store, w.name,
			float64(idle50)/1e6, float64(idle99)/1e6, float64(busy50)/1e6, float64(busy99)/1e6, n)
	}
	b.Logf("| store | way | idle p50 ms | p99 ms | at 500/s p50 ms | p99 ms | of |\n%s", table.String())
	b.ReportMetric(0, "ns/op")
}

// oneByOne sends each when the one before has arrived.
func (w way) oneByOne(b *testing.B) (p50, p99 time.Duration) {
	b.Helper()
	end := time.Now().Add(span(b))
	for i := 0; i < latencyMost && (i < 10 || time.Now().Before(end)); i++ {
		w.send(i, w.next())
		waitFor(b, w.name, func() bool { return w.missing() == 0 })
	}
	return w.quantiles()
}

// underLoad sends one each latencyEvery, and says how many those were.
func (w way) underLoad(b *testing.B) (p50, p99 time.Duration, n int) {
	b.Helper()
	var sending sync.WaitGroup
	began := time.Now()
	for n = 0; n < 100 || time.Since(began) < 2*span(b); n++ {
		time.Sleep(time.Until(began.Add(time.Duration(n) * latencyEvery)))
		i, mark := n, w.next()
		sending.Go(func() { w.send(i, mark) })
	}
	sending.Wait()
	waitFor(b, w.name, func() bool { return w.missing() == 0 })
	p50, p99 = w.quantiles()
	return p50, p99, n
}

// listen reads the event stream until the benchmark ends.
func listen(b *testing.B, bridge string, to *arrivals) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, bridge+"/api/events/stream", nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			to.look(lines.Bytes())
		}
	})
	b.Cleanup(func() {
		_ = resp.Body.Close()
		reading.Wait()
	})
}
