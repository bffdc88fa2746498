// Package bench measures the bridge from outside, as a process under load, beside a reference in the same run. See
// RESULTS.md for what it says and how to repeat it.
package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// asReference in the environment makes this program the reference server.
const asReference = "BRIDGE_BENCH_REFERENCE"

func TestMain(m *testing.M) {
	if store := os.Getenv(asReference); store != "" {
		if err := reference(store, os.Getenv("REFERENCE_TARGET")); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if url := os.Getenv(asPoster); url != "" {
		if err := poster(url); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(asSender); text != "" {
		var s sender
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			err = s.run()
		}
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	connections = 64
	rounds      = 5
)

// result is one round's.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       float64 // microseconds that the server and its store worked for one accept
}

// target is a server under load.
type target struct {
	address string
	pids    []int // of the server and its store
}

// worked returns how long the target's processes have worked; 0 where /proc does not tell.
func (t target) worked() time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	var sum time.Duration
	for _, pid := range t.pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, field := range fields[11:13] { // utime and stime
			n, _ := strconv.Atoi(field)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// BenchmarkAccepts measures how many events a second are accepted: the bridge, with Telegram configured at its documented
// pace, beside a bare Echo handler that decodes the same JSON and keeps the body with one XADD, or with a claim and an append in a
// grouped bbolt transaction. Rounds alternate; the table has the medians. BESIDE names another build of the bridge, which takes its turns with them.
func BenchmarkAccepts(b *testing.B) {
	binary := build(b)
	for _, store := range []string{"redis", "bolt"} {
		b.Run(store, func(b *testing.B) { compare(b, binary, store) }) // one pass, whatever b.N: it has rounds of its own
	}
}

func compare(b *testing.B, binary, store string) {
	span := span(b)
	servers := []*measured{{name: "bridge", target: startBridge(b, binary, store)}}
	if other := os.Getenv("BESIDE"); other != "" {
		servers = append(servers, &measured{name: "bridge beside", target: startBridge(b, other, store)})
	}
	servers = append(servers, &measured{name: "bare Echo", target: startReference(b, store)})
	for _, s := range servers {
		load(b, s.target, span/2) // warm up
	}
	for range rounds {
		for _, s := range servers {
			s.rounds = append(s.rounds, load(b, s.target, span))
		}
	}
	a, r := median(servers[0].rounds), median(servers[len(servers)-1].rounds)
	var table strings.Builder
	for _, s := range servers {
		m := median(s.rounds)
		_, _ = fmt.Fprintf(&table, "| %s | %s | %.0f | %.2f | %.2f | %.1f | %.2f |\n", store, s.name, m.perSecond,
			float64(m.p50)/1e6, float64(m.p99)/1e6, m.cpu, m.perSecond/r.perSecond)
	}
	b.Logf("| store | server | accepts/s | p50 ms | p99 ms | CPU µs/accept | ratio |\n%s", table.String())
	b.ReportMetric(a.perSecond, "accepts/s")
	b.ReportMetric(r.perSecond, "reference/s")
	b.ReportMetric(a.perSecond/r.perSecond, "ratio")
	b.ReportMetric(0, "ns/op")
}

// measured is a server and its rounds.
type measured struct {
	name   string
	target target
	rounds []result
}

func median(all []result) result {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b result) int { return int(a.perSecond - b.perSecond) })
	m := all[len(all)/2]
	slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.cpu, b.cpu) })
	m.cpu = all[len(all)/2].cpu
	slices.SortFunc(all, func(a, b result) int { return int(a.p50 - b.p50) })
	m.p50 = all[len(all)/2].p50
	slices.SortFunc(all, func(a, b result) int { return int(a.p99 - b.p99) })
	m.p99 = all[len(all)/2].p99
	return m
}

// build returns the bridge's program: BRIDGE names one that is built already.
func build(b *testing.B) string {
	b.Helper()
	if built := os.Getenv("BRIDGE"); built != "" {
		return built
	}
	binary := filepath.Join(b.TempDir(), "bridge")
	out, err := exec.Command("go", "build", "-o", binary, "../cmd/bridge").CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return binary
}

var address = regexp.MustCompile(`address=([0-9.:]+)`)

// start runs a server until the benchmark ends, and returns the address that it says it listens on.
func start(b *testing.B, command string, env ...string) target {
	b.Helper()
	t, _ := launch(b, command, env...)
	return t
}

// launch is start of a server that can be ended before.
func launch(b *testing.B, command string, env ...string) (t target, end func()) {
	b.Helper()
	cmd := exec.Command(command)
	cmd.Dir = b.TempDir()
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b.Cleanup(end)
	lines := bufio.NewScanner(out)
	var said bytes.Buffer
	for lines.Scan() {
		said.Write(append(lines.Bytes(), '\n'))
		if m := address.FindSubmatch(lines.Bytes()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return target{string(m[1]), []int{cmd.Process.Pid}}, end
		}
	}
	b.Fatalf("it does not start:\n%s", said.String())
	return target{}, end
}

func startBridge(b *testing.B, binary, store string) target {
	s := surround(b, store)
	s.chat.SetLimits(telegram.DocumentedLimits())
	t := start(b, binary, s.env...)
	t.pids = append(t.pids, s.pids...)
	return t
}

// surroundings are what a bridge works with: Telegram's stand-in with a group, and a store.
type surroundings struct {
	chat   *telegram.Server
	group  int64
	env    []string // has the bridge use them
	pids   []int    // the store's processes
	base   string   // of Telegram's API
	redis  *redistest.Server
	folder string // of the embedded store, where that is used
}

func surround(b *testing.B, store string) surroundings {
	s := surroundings{chat: telegram.New(telegram.Options{})}
	b.Cleanup(s.chat.Close)
	base, err := s.chat.Listen(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	s.base, s.group = base, s.chat.AddChat(telegram.Chat{Kind: telegram.Forum})
	s.env = []string{
		"PORT=0", "LOG_LEVEL=info", "TELEGRAM_BOT_TOKEN=" + s.chat.Token(), "TELEGRAM_API_URL=" + base,
		"TELEGRAM_CHAT_ID=" + strconv.FormatInt(s.group, 10),
	}
	if store == "bolt" {
		s.folder = b.TempDir()
		s.env = append(s.env, "DATA_DIR="+s.folder)
		return s
	}
	s.redis = redistest.Start(b)
	s.env, s.pids = append(s.env, "REDIS_URL="+s.redis.URL()), []int{s.redis.PID()}
	return s
}

// aside is what has another bridge use the same, with a store of its own.
func (s surroundings) aside(b *testing.B) []string {
	b.Helper()
	if s.redis == nil {
		return append(slices.Clone(s.env), "DATA_DIR="+b.TempDir())
	}
	return append(slices.Clone(s.env), "REDIS_URL="+s.redis.Database(1))
}

func startReference(b *testing.B, store string) target {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	if store == "bolt" {
		return start(b, self, asReference+"="+store, "REFERENCE_TARGET="+filepath.Join(b.TempDir(), "reference.db"))
	}
	server := redistest.Start(b)
	t := start(b, self, asReference+"="+store, "REFERENCE_TARGET="+server.URL())
	t.pids = append(t.pids, server.PID())
	return t
}

var run atomic.Int64 // so that no message id comes twice

// load posts messages over all connections for a time: each connection those of a session of its own, or of those that are picked.
func load(b *testing.B, t target, span time.Duration, picked ...func() string) result {
	b.Helper()
	id := run.Add(1)
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	began, worked := time.Now(), t.worked()
	for c := range connections {
		wg.Go(func() {
			name := fmt.Sprintf("%d-%d", id, c)
			session := func() string { return name }
			if len(picked) > 0 {
				session = picked[0]
			}
			own, err := drive(t.address, name, session, began.Add(span))
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			if err != nil {
				b.Errorf("connection %d: %v", c, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if len(times) == 0 {
		b.Fatal("nothing was accepted")
	}
	slices.Sort(times)
	return result{
		float64(len(times)) / took.Seconds(), times[len(times)/2], times[len(times)*99/100],
		float64((t.worked() - worked).Microseconds()) / float64(len(times)),
	}
}

// drive posts one message after the other over one connection. It speaks HTTP itself, so that the machine's time goes to the
// servers.
func drive(address, name string, picked func() string, until time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(until.Add(30 * time.Second)); err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	var times []time.Duration
	for i := 0; i == 0 || time.Now().Before(until); i++ { // one in any case: on a busy machine a short round is over at once
		session := picked()
		body := fmt.Sprintf(`{"message":{"id":"m%s-%d","sessionId":%q,"content":"Hello, is the blue one in size 42 still in stock?",`+
			`"sender":"visitor","timestamp":"2026-11-22T10:00:00.000Z","status":"sending"},"session":{"id":%q,"visitorId":"visitor-1",`+
			`"createdAt":"2026-11-22T09:59:00.000Z","lastActivity":"2026-11-22T10:00:00.000Z","operatorOnline":false,"aiActive":false,`+
			`"metadata":{"url":"https://shop.example/shoes","pageTitle":"Shoes","userAgent":"Mozilla/5.0","language":"en"}}}`, name, i, session, session)
		sent := time.Now()
		if _, err := fmt.Fprintf(conn, "POST /api/messages HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(body), body); err != nil {
			return times, err
		}
		if err := answer(in); err != nil {
			return times, err
		}
		times = append(times, time.Since(sent))
	}
	return times, nil
}

// answer reads one answer, which has to be a 200.
func answer(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok, length := bytes.HasPrefix(line, []byte("HTTP/1.1 200")), 0
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("answered: %s", body)
	}
	return nil
}
