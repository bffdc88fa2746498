package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/filltest"
	"github.com/pocketping/bridge/internal/store/redis"
)

// scene is what there is already when something is measured.
type scene struct{ stored, waiting, streams int }

// growth is what grows, and to what.
type growth struct {
	name   string
	levels []int
	scene  func(level int) scene
}

// fewStored is how many sessions are stored where something else grows.
const fewStored = 1000

// growths are all of them, up to BENCH_MAX; a brief run looks at the least levels alone.
func growths(b *testing.B) []growth {
	b.Helper()
	most := 1_000_000
	if text := os.Getenv("BENCH_MAX"); text != "" {
		var err error
		if most, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	all := []growth{
		{"stored sessions", []int{1000, 10_000, 100_000, 1_000_000}, func(n int) scene { return scene{stored: n, streams: 1} }},
		{"waiting events", []int{0, 1000, 10_000, 100_000}, func(n int) scene { return scene{stored: fewStored, waiting: max(n, 1), streams: 1} }},
		{"open streams", []int{1, 100, 1000, 10_000}, func(n int) scene { return scene{stored: fewStored, streams: n} }},
	}
	for i, g := range all {
		g.levels = slices.DeleteFunc(g.levels, func(n int) bool { return n > most })
		if span(b) < time.Second {
			g.levels = g.levels[:min(len(g.levels), 2)]
		}
		all[i] = g
	}
	return all
}

// costs are what the bridge and its Redis worked for one of each, in microseconds.
type costs struct {
	accept float64 // of a visitor's message, of a stored session, which has to wait for Telegram's pace
	shown  float64 // of a visitor's message, from the request until Telegram has it
	word   float64 // of an operator's, until a stream has it
}

func (c costs) each() []float64 { return []float64{c.accept, c.shown, c.word} }

// flat is what was measured of one growth.
type flat struct {
	store, grows string
	levels       []int
	costs        []costs
}

// BenchmarkFlat measures what an accept, a delivery and an operator's word cost with ever more sessions stored, events waiting for another
// platform, which is away, and streams open, each of a session of its own. It writes a table, and FLAT.svg unless the run is a brief one.
func BenchmarkFlat(b *testing.B) {
	binary := build(b)
	like, rest, model := leftBehind(b, binary)
	var all []flat
	for _, kind := range []string{"redis", "bolt"} {
		for _, g := range growths(b) {
			b.Run(kind+"/"+strings.ReplaceAll(g.name, " ", "_"), func(b *testing.B) {
				f := flat{store: kind, grows: g.name, levels: g.levels}
				for _, level := range g.levels {
					f.costs = append(f.costs, g.scene(level).measure(b, binary, kind, like, rest, model))
				}
				all = append(all, f)
				b.ReportMetric(0, "ns/op")
			})
		}
	}
	var table strings.Builder
	for _, f := range all {
		for i, c := range f.costs {
			base := f.costs[0]
			_, _ = fmt.Fprintf(&table, "| %s | %s | %d | %.0f (%.2f) | %.0f (%.2f) | %.0f (%.2f) |\n", f.store, f.grows, f.levels[i],
				c.accept, c.accept/base.accept, c.shown, c.shown/base.shown, c.word, c.word/base.word)
		}
	}
	b.Logf("| store | grows | to | CPU µs/accept | CPU µs/message shown | CPU µs/operator's word |\n%s", table.String())
	b.ReportMetric(0, "ns/op")
	name := "FLAT.svg"
	if span(b) < time.Second { // it says nothing
		name = filepath.Join(b.TempDir(), name)
	}
	if err := os.WriteFile(name, plot(all, measuredOn(b)), 0o644); err != nil {
		b.Fatal(err)
	}
}

// measuredOn says where and when, in lines.
func measuredOn(b *testing.B) []string {
	b.Helper()
	said := func(command string, args ...string) string {
		out, err := exec.Command(command, args...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	cpu := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(info), "model name\t: "); ok {
			cpu, _, _ = strings.Cut(rest, "\n")
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return []string{
		fmt.Sprintf("%s, commit %s, %s, %d × %s, load at the end %s; medians of %d rounds of %v.", time.Now().UTC().Format(time.DateOnly),
			said("git", "rev-parse", "--short", "HEAD"), runtime.Version(), runtime.NumCPU(), cpu, load, flatRounds(b), span(b)),
		"What the bridge and its Redis worked (user and system time, ticks of 10 ms), beside that at the least level. Load, stand-ins and Redis run on the same",
		"machine. Stored sessions: what a bridge leaves of three messages each. Waiting: for a platform that is away. Streams: each of a session of its own.",
	}
}

func flatRounds(b *testing.B) int {
	b.Helper()
	if span(b) < time.Second {
		return 1
	}
	return 3
}

// leftBehind has a bridge serve two sessions and returns what it leaves of them, what it leaves besides, and one event of its log.
func leftBehind(b *testing.B, binary string) (like []filltest.Session, rest []bridge.Row, model bridge.Event) {
	b.Helper()
	around := surround(b, "redis")
	ana := around.chat.AddUser(telegram.User{FirstName: "Ana"})
	t, end := launch(b, binary, append(around.env, "OPEN_THREAD=message", "TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off")...)
	ids := []string{"model-answered", "model-waiting"}
	for _, id := range ids {
		for i := range 3 {
			request(b, http.MethodPost, "http://"+t.address+"/api/messages", fmt.Sprintf(
				`{"message":{"id":"model-message-%d","sessionId":%q,"content":"model-text and a question about what is in stock"},"session":{"id":%q,"visitorId":%q}}`,
				i, id, id, id), http.StatusOK)
		}
		waitFor(b, "all shown", func() bool { return around.chat.Count("sendMessage") >= 3 })
	}
	waitFor(b, "two topics", func() bool {
		return len(around.chat.Topics(around.group)) == 2 && around.chat.Count("sendMessage") >= 6
	})
	to := &arrivals{sent: map[string]time.Time{}}
	listen(b, "http://"+t.address, to)
	around.chat.Say(around.group, around.chat.Topics(around.group)[0].ID, ana.ID, to.next())
	waitFor(b, "the answer", func() bool { return to.missing() == 0 })
	waitFor(b, "the conversations' order", func() bool { return filltest.InOrder(b, around.redis.Addr) })
	waitFor(b, "nothing on its way", func() bool { return waiting(b, "http://"+t.address, "telegram") == 0 })
	end()
	s, err := redis.Open(b.Context(), around.redis.URL(), redis.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	entries, err := s.Read(b.Context(), 0, 1, 0)
	if err != nil || len(entries) == 0 || entries[0].Event.Type != bridge.TypeVisitorMessage {
		b.Fatalf("the log has %v, %v", entries, err)
	}
	like, rest = filltest.Left(b, around.redis.Addr, ids...)
	return like, rest, entries[0].Event
}

// fill puts into the store what there is in the scene.
func (s scene) fill(b *testing.B, around surroundings, like []filltest.Session, rest []bridge.Row, model bridge.Event) {
	b.Helper()
	var into store.Store
	var put filltest.Put
	var err error
	if around.redis != nil {
		if into, err = redis.Open(b.Context(), around.redis.URL(), redis.Options{}); err != nil {
			b.Fatal(err)
		}
		client := goredis.NewClient(&goredis.Options{Addr: around.redis.Addr, ReadTimeout: time.Minute})
		defer func() { _ = client.Close() }()
		put = filltest.Piping(client)
	} else {
		if into, err = bolt.Open(filepath.Join(around.folder, "bridge.db"), bolt.Options{}); err != nil {
			b.Fatal(err)
		}
		put = filltest.Committing(into)
	}
	filltest.Fill(b, into, put, s.stored, like, rest)
	if s.waiting > 0 {
		filltest.Waiting(b, into, model, s.waiting, max(s.waiting/50, 1), "discord", "telegram", "callbacks")
	}
	if err := into.Close(); err != nil {
		b.Fatal(err)
	}
}

// measure measures the costs in a scene.
func (s scene) measure(b *testing.B, binary, kind string, like []filltest.Session, rest []bridge.Row, model bridge.Event) costs {
	b.Helper()
	around := surround(b, kind)
	s.fill(b, around, like, rest, model)
	env := append(around.env, "OPEN_THREAD=message", "UNANSWERED_AFTER=24h", "STREAMS_MAX=20000")
	if s.waiting > 0 { // a Discord that is away
		d := discord.New(discord.Options{})
		b.Cleanup(d.Close)
		env = append(env, "DISCORD_BOT_TOKEN="+d.Token(), "DISCORD_CHANNEL_ID=1000000000000000001", "DISCORD_API_URL=http://127.0.0.1:1")
	}
	all := []costs{}
	t, end := launch(b, binary, append(slices.Clone(env), "TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off")...)
	t.pids = append(t.pids, around.pids...)
	url := "http://" + t.address
	ana := around.chat.AddUser(telegram.User{FirstName: "Ana"})
	topics := openTopics(b, url, around.chat, around.group)
	there, back := &arrivals{sent: map[string]time.Time{}}, &arrivals{sent: map[string]time.Time{}}
	around.chat.Observe(func(at telegram.Stage, c telegram.Call) {
		if at == telegram.Received && c.Method == "sendMessage" {
			there.look([]byte(c.Text))
		}
	})
	listen(b, url, back)
	s.settle(b, url)
	streams := func(i int) string { return fmt.Sprint("/api/events/stream?sessionId=listens-", i) }
	_, closeAll := perStream(b, t, streams, s.streams)
	n := max(128, int(2000*span(b).Seconds()))
	for range flatRounds(b) {
		shown := perOne(b, t, n, there, func(i int, mark string) {
			id := fmt.Sprint("bench-", i%callbackSessions)
			request(b, http.MethodPost, url+"/api/messages", fmt.Sprintf(
				`{"message":{"id":%q,"sessionId":%q,"content":%q},"session":{"id":%q,"visitorId":%q}}`, mark, id, mark, id, id), http.StatusOK)
		})
		word := perOne(b, t, n, back, func(i int, mark string) { around.chat.Say(around.group, topics[i%len(topics)], ana.ID, mark) })
		all = append(all, costs{shown: shown, word: word})
	}
	end()
	closeAll()
	// Accepts by themselves: Telegram is at its documented pace, so that next to nothing is delivered beside them.
	around.chat.SetLimits(telegram.DocumentedLimits())
	t, end = launch(b, binary, env...)
	defer end()
	t.pids = append(t.pids, around.pids...)
	waitFor(b, "the lanes taken over", func() bool { return owned(b, "http://"+t.address) })
	s.settle(b, "http://"+t.address)
	perStream(b, t, streams, s.streams)
	load(b, t, span(b)/4, anyOf(s.stored)) // warm up
	for i := range all {
		all[i].accept = load(b, t, span(b), anyOf(s.stored)).cpu
	}
	return middleCosts(all)
}

// settle waits until the lane that is behind has read all that waits: that it has to is not the cost of what comes next.
func (s scene) settle(b *testing.B, url string) {
	b.Helper()
	if s.waiting > 0 {
		waitFor(b, "all that waits read", func() bool { return waiting(b, url, "discord") >= s.waiting })
	}
}

// perOne sends so many marked texts, some at a time, and returns what the server worked for each, in microseconds.
func perOne(b *testing.B, t target, n int, to *arrivals, send func(i int, mark string)) float64 {
	b.Helper()
	worked := t.worked()
	var sending sync.WaitGroup
	for c := range 16 {
		sending.Go(func() {
			for i := c; i < n; i += 16 {
				send(i, to.next())
			}
		})
	}
	sending.Wait()
	waitFor(b, "all arrivals", func() bool { return to.missing() == 0 })
	return float64((t.worked() - worked).Microseconds()) / float64(n)
}

// middleCosts are the medians of each.
func middleCosts(all []costs) costs {
	median := func(of func(costs) float64) float64 {
		sorted := slices.SortedFunc(slices.Values(all), func(a, b costs) int { return cmp.Compare(of(a), of(b)) })
		return of(sorted[len(sorted)/2])
	}
	return costs{
		median(func(c costs) float64 { return c.accept }), median(func(c costs) float64 { return c.shown }), median(func(c costs) float64 { return c.word }),
	}
}

// plot draws what was measured: a row for each store, a column for what grows, each line beside its own beginning.
func plot(all []flat, notes []string) []byte {
	const (
		width, height  = 300, 190
		left, top, gap = 60, 60, 50
		lowest         = 0.5
	)
	names, colours := []string{"accept", "message shown", "operator's word"}, []string{"#0072b2", "#d55e00", "#009e73"}
	var out bytes.Buffer
	write := func(format string, args ...any) { _, _ = fmt.Fprintf(&out, format+"\n", args...) }
	text := func(x, y float64, anchor, s string) {
		write(`<text x="%.0f" y="%.0f" text-anchor="%s">%s</text>`, x, y, anchor, strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s))
	}
	highest := 2.0 // a power of two, as are the lines across
	for _, f := range all {
		for _, c := range f.costs {
			for i, v := range c.each() {
				for v/max(f.costs[0].each()[i], 1e-9) > highest && highest < 1024 {
					highest *= 2
				}
			}
		}
	}
	columns := 3
	rows := (len(all) + columns - 1) / columns
	all1, down := left+columns*(width+gap), top+rows*(height+gap)+20*len(notes)+10
	write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`, all1, down)
	write(`<rect width="%d" height="%d" fill="#fff"/>`, all1, down)
	text(left, 20, "start", "What one costs, beside what it costs at the least level (1.0); the goal is 1.3 at most")
	for i, name := range names {
		write(`<rect x="%d" y="30" width="14" height="4" fill="%s"/>`, left+i*150, colours[i])
		text(float64(left+i*150+20), 36, "start", name)
	}
	for i, f := range all {
		x0, y0 := float64(left+i%columns*(width+gap)), float64(top+i/columns*(height+gap))
		y := func(v float64) float64 {
			return y0 + height*(1-math.Log2(min(max(v, lowest), highest)/lowest)/math.Log2(highest/lowest))
		}
		x := func(i int) float64 { return x0 + width*(float64(i)+0.5)/float64(max(len(f.levels), 1)) }
		text(x0+4, y0+14, "start", f.store+": "+f.grows)
		write(`<rect x="%.0f" y="%.0f" width="%d" height="%d" fill="none" stroke="#999"/>`, x0, y0, width, height)
		for v := lowest; v <= highest; v *= 2 {
			text(x0-6, y(v)+4, "end", strconv.FormatFloat(v, 'f', -1, 64))
			write(`<path d="M%.0f %.1f h%d" stroke="#ddd"/>`, x0, y(v), width)
		}
		write(`<path d="M%.0f %.1f h%d" stroke="#999" stroke-dasharray="4 4"/>`, x0, y(1.3), width)
		for j, level := range f.levels {
			text(x(j), y0+height+16, "middle", strconv.Itoa(level))
		}
		for line, colour := range colours {
			var points []string
			for j, c := range f.costs {
				v := c.each()[line] / max(f.costs[0].each()[line], 1e-9)
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(j), y(v)))
				write(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %.0f µs</title></circle>`, x(j), y(v), colour, names[line], c.each()[line])
			}
			write(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(points, " "), colour)
		}
	}
	for i, note := range notes {
		text(left, float64(top+rows*(height+gap)+20*i), "start", note)
	}
	write(`</svg>`)
	return out.Bytes()
}

// anyOf picks one of so many stored sessions for each message.
func anyOf(stored int) func() string {
	return func() string { return filltest.ID(rand.IntN(stored)) }
}
