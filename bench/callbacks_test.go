package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// asPoster in the environment makes this program the bare loop that callbacks are compared with; it holds the receiver's URL, and
// asPosterEach how many it gets of each session.
const (
	asPoster     = "BRIDGE_BENCH_POSTER"
	asPosterEach = "BRIDGE_BENCH_POSTER_EACH"
)

// callbackSessions is how many sessions have events.
const callbackSessions = 64

// callbackSize returns how many rounds there are, how many events each session has in one, and how many times from an operator's update to the
// callback are taken.
func callbackSize(b *testing.B) (rounds, each, samples int) {
	b.Helper()
	if span(b) < time.Second {
		return 1, 15, 30
	}
	return 3, 150, 300
}

// posted is one round's result.
type posted struct {
	perSecond float64
	cpu       float64 // microseconds that the poster, and its store if it has one, worked for one callback
}

// callbackBody is as long as what is posted for an operator's message.
const callbackBody = `{"type":"operator_message","id":"evt_1767268800000000","timestamp":"2026-01-01T12:00:00.000Z","sessionId":"bench-63",` +
	`"messageId":"telegram:123456","content":"149","sourceBridge":"telegram","operatorName":"Ana","operatorId":"telegram:1000001"}`

// poster posts as much as a round of the bridge does, over the client that the bridge has.
func poster(url string) error {
	each, err := strconv.Atoi(os.Getenv(asPosterEach))
	if err != nil {
		return err
	}
	client := outbound.NewClient(outbound.Options{Timeout: 10 * time.Second, IdleConnsPerHost: callbackSessions})
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range callbackSessions {
		wg.Go(func() {
			for range each {
				if err := postOnce(client, url); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func postOnce(client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, strings.NewReader(callbackBody))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// sink takes callbacks.
type sink struct {
	url   string
	count atomic.Int64
	first atomic.Int64 // of this round, unix nanoseconds
	last  atomic.Int64
	seen  chan time.Time // when each arrived, while it is wanted
	tell  atomic.Bool
}

func newSink(b *testing.B) *sink {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &sink{url: "http://" + listener.Addr().String() + "/callback", seen: make(chan time.Time, 1)}
	srv := &http.Server{Handler: s}
	go func() { _ = srv.Serve(listener) }()
	b.Cleanup(func() { _ = srv.Close() })
	return s
}

func (s *sink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, r.Body)
	s.first.CompareAndSwap(0, now.UnixNano())
	s.last.Store(now.UnixNano())
	s.count.Add(1)
	if s.tell.Load() {
		s.seen <- now
	}
}

// reset begins a new round.
func (s *sink) reset() { s.count.Store(0); s.first.Store(0) }

// perSecond waits for the round's requests and returns how many a second there were.
func (s *sink) perSecond(b *testing.B, n int64) float64 {
	b.Helper()
	waitFor(b, "all callbacks", func() bool { return s.count.Load() >= n })
	return float64(n-1) / (time.Duration(s.last.Load() - s.first.Load()).Seconds())
}

func waitFor(b *testing.B, what string, cond func() bool) {
	b.Helper()
	end := time.Now().Add(2 * time.Minute)
	for tick := time.NewTicker(time.Millisecond); !cond(); <-tick.C {
		if time.Now().After(end) {
			b.Fatalf("not in time: %s", what)
		}
	}
}

// BenchmarkCallbacks measures how long after an operator's update its callback arrives, one at a time, and how many callbacks a
// second 64 sessions get when many wait, beside a bare loop that posts the same with the same client. What waits was said in
// chat while there was no callback, with Telegram at its documented pace; the clock runs from the first request to the last.
// Rounds alternate; the table has medians.
func BenchmarkCallbacks(b *testing.B) {
	binary := build(b)
	for _, store := range []string{"redis", "bolt"} {
		b.Run(store, func(b *testing.B) { callbacks(b, binary, store) })
	}
}

func callbacks(b *testing.B, binary, store string) {
	around := surround(b, store)
	chat, group := around.chat, around.group
	ana := chat.AddUser(telegram.User{FirstName: "Ana"})
	env := append(around.env, "OPEN_THREAD=message")
	first, end := launch(b, binary, append(slices.Clone(env), "TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off")...)
	topics := openTopics(b, "http://"+first.address, chat, group)
	end()
	under := start(b, binary, env...)
	under.pids = append(under.pids, around.pids...)
	bridge := "http://" + under.address
	waitFor(b, "the lanes taken over", func() bool { return owned(b, bridge) })
	to := newSink(b)

	rounds, each, samples := callbackSize(b)

	// One at a time.
	register(b, bridge, to.url)
	to.tell.Store(true)
	var times []time.Duration
	for i := range samples {
		said := time.Now()
		chat.Say(group, topics[i%len(topics)], ana.ID, fmt.Sprint(i))
		times = append(times, (<-to.seen).Sub(said))
	}
	to.tell.Store(false)
	slices.Sort(times)
	p50, p99 := times[len(times)/2], times[len(times)*99/100]

	// Many at once.
	n := callbackSessions * each
	var ours, bare []posted
	for range rounds {
		unregister(b, bridge)
		for i := range each {
			for _, topic := range topics {
				chat.Say(group, topic, ana.ID, fmt.Sprint(i))
			}
		}
		waitFor(b, "all said", func() bool { return waiting(b, bridge, "callbacks") >= n })
		to.reset()
		worked := under.worked()
		register(b, bridge, to.url)
		rate := to.perSecond(b, int64(n))
		ours = append(ours, posted{rate, float64((under.worked() - worked).Microseconds()) / float64(n)})
		bare = append(bare, loop(b, to, each))
	}
	us, ref := middle(ours), middle(bare)
	b.Logf("| store | update → callback p50 ms | p99 ms | callbacks/s | CPU µs each | bare loop/s | CPU µs each | ratio |\n"+
		"| %s | %.2f | %.2f | %.0f | %.1f | %.0f | %.1f | %.2f |", store, float64(p50)/1e6, float64(p99)/1e6,
		us.perSecond, us.cpu, ref.perSecond, ref.cpu, us.perSecond/ref.perSecond)
	b.ReportMetric(float64(p50)/1e6, "p50-ms")
	b.ReportMetric(float64(p99)/1e6, "p99-ms")
	b.ReportMetric(us.perSecond, "callbacks/s")
	b.ReportMetric(ref.perSecond, "reference/s")
	b.ReportMetric(us.perSecond/ref.perSecond, "ratio")
	b.ReportMetric(0, "ns/op")
}

// middle returns the medians.
func middle(all []posted) posted {
	slices.SortFunc(all, func(a, b posted) int { return cmp.Compare(a.cpu, b.cpu) })
	m := all[len(all)/2]
	slices.SortFunc(all, func(a, b posted) int { return cmp.Compare(a.perSecond, b.perSecond) })
	m.perSecond = all[len(all)/2].perSecond
	return m
}

// openTopics lets visitors write, and returns their topics.
func openTopics(b *testing.B, bridge string, chat *telegram.Server, group int64) []int {
	b.Helper()
	for i := range callbackSessions {
		id := fmt.Sprint("bench-", i)
		request(b, http.MethodPost, bridge+"/api/messages", fmt.Sprintf(
			`{"message":{"id":"m","sessionId":%q,"content":"hello"},"session":{"id":%q,"visitorId":%q}}`, id, id, id), http.StatusOK)
	}
	waitFor(b, "all topics", func() bool {
		return len(chat.Topics(group)) == callbackSessions && chat.Count("sendMessage") >= callbackSessions
	})
	var out []int
	for _, t := range chat.Topics(group) {
		out = append(out, t.ID)
	}
	return out
}

func register(b *testing.B, bridge, url string) {
	b.Helper()
	request(b, http.MethodPut, bridge+"/api/callbacks/bench", fmt.Sprintf(`{"url":%q,"events":["operator_message"]}`, url), http.StatusCreated)
}

func unregister(b *testing.B, bridge string) {
	b.Helper()
	request(b, http.MethodDelete, bridge+"/api/callbacks/bench", "", http.StatusNoContent)
}

func request(b *testing.B, method, url, body string, want int) []byte {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		b.Fatalf("%s %s: %d %s %v", method, url, resp.StatusCode, said, err)
	}
	return said
}

// laneHealth is how a lane does.
type laneHealth struct {
	Lane, State string
	Waiting     int
}

func lanes(b *testing.B, bridge string) []laneHealth {
	b.Helper()
	var ready struct{ Lanes []laneHealth }
	if err := json.Unmarshal(request(b, http.MethodGet, bridge+"/readyz?verbose", "", http.StatusOK), &ready); err != nil {
		b.Fatal(err)
	}
	return ready.Lanes
}

// waiting returns how many events wait in a lane.
func waiting(b *testing.B, bridge, lane string) int {
	b.Helper()
	for _, l := range lanes(b, bridge) {
		if l.Lane == lane {
			return l.Waiting
		}
	}
	b.Fatalf("there is no lane %s", lane)
	return 0
}

// owned says whether all lanes are worked by this bridge.
func owned(b *testing.B, bridge string) bool {
	b.Helper()
	return !slices.ContainsFunc(lanes(b, bridge), func(l laneHealth) bool { return l.State == "waiting" })
}

// loop runs the bare loop in a process of its own, as the bridge is one.
func loop(b *testing.B, to *sink, each int) posted {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	to.reset()
	cmd := exec.Command(self)
	cmd.Env = []string{asPoster + "=" + to.url, asPosterEach + "=" + strconv.Itoa(each)}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v\n%s", err, out.String())
	}
	n := callbackSessions * each
	worked := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return posted{to.perSecond(b, int64(n)), float64(worked.Microseconds()) / float64(n)}
}
