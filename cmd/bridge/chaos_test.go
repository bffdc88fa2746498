//go:build chaos

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/site/sitetest"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// How much goes on in the chaos.
const (
	chaosVisitors = 24 // at a time, by the API
	chaosPages    = 8  // at a time
	chaosWords    = 25 // of a visitor, before the next one comes in their place
)

// live is a session that goes on.
type live struct {
	record

	mu      sync.Mutex
	threads map[string]string // platform → its thread there
	page    *sitetest.Widget  // nil: it is the API's
	storage *sitetest.Storage
}

func (l *live) add(u utterance) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, u)
}

// copy is what was said so far.
func (l *live) copy() record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return record{l.session, slices.Clone(l.all)}
}

// chaos is people at work while everything fails.
type chaos struct {
	r      *rig
	t      *testing.T
	lasts  time.Duration
	redis  *redistest.Server // nil: the store is a file
	stands []stand
	door   string // where pages come in
	hears  []*moody
	risks  map[string]*risk // by platform
	ends   chan struct{}
	work   sync.WaitGroup
	words  atomic.Int64

	mu     sync.Mutex
	lives  []*live
	asked  map[bool]int // by whether the store was away meanwhile
	taken  map[bool]int // of these
	away   bool         // the store
	backAt time.Time    // when it was in reach again last
	deaths map[string]int
}

// mark makes the next one.
func (c *chaos) mark() string { return fmt.Sprintf("w%07d", c.words.Add(1)) }

// begin adds a session.
func (c *chaos) begin(l *live) *live {
	l.threads = map[string]string{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lives = append(c.lives, l)
	return l
}

// records are all sessions.
func (c *chaos) records() (out []record) {
	c.mu.Lock()
	lives := slices.Clone(c.lives)
	c.mu.Unlock()
	for _, l := range lives {
		out = append(out, l.copy())
	}
	return out
}

// pause waits; false: the chaos has ended.
func (c *chaos) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.ends:
		return false
	}
}

func upTo(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(d) + 1))
}

// visitors are one after the other by the API.
func (c *chaos) visitors(n int, random *rand.Rand) {
	for k := 0; ; k++ {
		l := c.begin(&live{record: record{session: fmt.Sprintf("v%d-%d", n, k)}})
		for range chaosWords {
			if !c.pause(upTo(random, 1500*time.Millisecond)) {
				return
			}
			mark := c.mark()
			body := message(l.session, mark, mark+" "+strings.Repeat("and so on ", random.IntN(4)))
			for !c.ask(body) { // as a client does, until it is taken
				<-time.After(200 * time.Millisecond)
			}
			l.add(utterance{mark, "visitor", true})
		}
	}
}

// ask sends a body to one bridge, and to the next when that refuses, and says whether one took it.
func (c *chaos) ask(body string) bool {
	began := time.Now()
	c.r.mu.Lock()
	c.r.turn++
	first := c.r.turn
	c.r.mu.Unlock()
	all := c.r.processes()
	took := false
	for i := range all {
		code, a, err := c.r.postTo(all[(first+i)%len(all)], "/api/messages", body)
		if took = err == nil && code == http.StatusOK; took {
			break
		}
		if err == nil && code != http.StatusServiceUnavailable {
			c.t.Errorf("a message is answered with %d %s", code, a.Error)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	away := c.away || c.backAt.After(began)
	c.asked[away]++
	if took {
		c.taken[away]++
	}
	return took
}

// pages are one after the other at the door.
func (c *chaos) pages(n int, random *rand.Rand) {
	ways := []string{"socket", "sse", "poll"}
	for k := 0; ; k++ {
		name := fmt.Sprintf("page%d-%d", n, k)
		storage := &sitetest.Storage{VisitorID: name}
		open := func() *sitetest.Widget {
			return sitetest.New(sitetest.Options{
				Endpoint: c.door, Origin: chaosOrigin, Foreign: true, Way: ways[(n+k)%len(ways)], From: fmt.Sprintf("198.51.%d.%d", n, k%250+1),
			}, storage)
		}
		page := open()
		for page.Load(nil) != nil { // its visitor loads it again
			if page.Stop(); !c.pause(time.Second) {
				return
			}
			page = open()
		}
		c.t.Cleanup(page.Stop)
		l := c.begin(&live{record: record{session: name}, page: page, storage: storage})
		for range chaosWords {
			if !c.pause(time.Second + upTo(random, time.Second)) { // the door takes one a second
				return
			}
			mark := c.mark()
			_, err := page.Send(mark+" from a page", nil, "")
			l.add(utterance{mark, "visitor", err == nil})
		}
	}
}

// ana answers in one of the threads of those who were here lately.
func (c *chaos) ana(random *rand.Rand) {
	for c.pause(upTo(random, 500*time.Millisecond)) {
		c.mu.Lock()
		lately := c.lives[max(0, len(c.lives)-2*(chaosVisitors+chaosPages)):]
		l := lately[random.IntN(len(lately))]
		c.mu.Unlock()
		on := c.stands[random.IntN(len(c.stands))]
		thread := l.threads[on.name()] // nobody else asks for it
		if thread == "" {
			threads := on.threads(l.session)
			if len(threads) == 0 {
				continue
			}
			thread = threads[0]
			l.threads[on.name()] = thread
		}
		mark := c.mark()
		l.add(utterance{mark, on.name(), true})
		on.say(thread, mark+" says Ana")
	}
}

// die kills the bridges, one a minute, and the store, and starts them again. In a short run it goes faster.
func (c *chaos) die(random *rand.Rand) {
	period := min(time.Minute, c.lasts/3)
	most := min(3*time.Second, period/6) // that somebody is away
	for i := range int(c.lasts / period) {
		before := upTo(random, period/4)
		c.pause(before)
		n := random.IntN(len(c.r.processes()))
		c.r.processes()[n].Kill()
		c.killed("deaths of a bridge")
		away := upTo(random, most)
		c.pause(away)
		c.r.replace(n)
		middle := upTo(random, period/4)
		c.pause(middle)
		spent := before + away + middle
		if c.redis != nil && i%2 == 0 {
			c.storeAway(true)
			c.redis.Kill()
			away := upTo(random, 500*time.Millisecond)
			c.pause(away)
			c.redis.Restart()
			c.storeAway(false)
			c.killed("deaths of Redis")
			spent += away
		}
		c.pause(period - spent)
	}
}

// storeAway notes that the store is out of reach, or in reach again. The bridges' clients notice within a second: they dial no more often.
func (c *chaos) storeAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away = away; !away {
		c.backAt = time.Now().Add(time.Second)
	}
}

func (c *chaos) killed(who string) {
	for _, k := range c.risks {
		k.killed()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaths[who]++
}

// cut cuts connections, and keeps a platform away for a while.
func (c *chaos) cut(random *rand.Rand, all []*weather) {
	var redis *goredis.Client
	if c.redis != nil {
		redis = goredis.NewClient(&goredis.Options{Addr: c.redis.Addr, MaxRetries: -1})
		defer func() { _ = redis.Close() }()
	}
	d, s := c.r.discordServer(), c.stands[2].(*slackBoard).server
	kinds := map[string]func(){
		"Discord's gateway":          func() { d.CutConnections() },
		"Discord's gateway, by name": func() { d.AskReconnect() },
		"Discord's sessions":         func() { d.ForgetSessions(); d.CutConnections() },
		"Slack's socket":             func() { s.Cut() },
		"Slack's socket, by name":    func() { s.Disconnect("refresh_requested", 0) },
		"Telegram's updates": func() {
			c.r.telegram.Next("getUpdates", telegram.Action{DropAfter: true}, stage.Page(http.StatusBadGateway), telegram.Action{DropBefore: true})
		},
		"a platform": func() {
			w := all[random.IntN(len(all))]
			w.close(true)
			c.pause(upTo(random, min(8*time.Second, c.lasts/6)))
			w.close(false)
		},
	}
	if redis != nil {
		kinds["Redis' connections"] = func() {
			defer c.storeAway(false)
			_ = redis.ClientKillByFilter(c.t.Context(), "TYPE", "normal", "SKIPME", "yes").Err() // it may be away
		}
	}
	names := slices.Sorted(maps.Keys(kinds))
	for c.pause(upTo(random, min(6*time.Second, c.lasts/10))) {
		name := names[random.IntN(len(names))]
		kinds[name]()
		c.mu.Lock()
		c.deaths["cuts of "+name]++
		c.mu.Unlock()
	}
}

// gather is what a platform's threads show.
func (c *chaos) gather(s stand, known map[string]bool) (out []exhibit) {
	add := func(title, thread string) {
		e := exhibit{}
		for _, field := range strings.Fields(title) {
			if known[field] {
				e.session = field
			}
		}
		for _, one := range s.see(thread) {
			if one.Own {
				e.marks = append(e.marks, chaosMarks.FindAllString(one.Text, -1)...)
			}
		}
		out = append(out, e)
	}
	switch b := s.(type) {
	case telegramBoard:
		for _, topic := range b.r.telegram.Topics(b.r.chat) {
			add(topic.Name, strconv.Itoa(topic.ID))
		}
	case *discordBoard:
		for _, thread := range b.server.Threads(b.channel) {
			add(thread.Name, thread.ID)
		}
	case *slackBoard:
		for _, parent := range b.server.Parents(b.channel) {
			add(parent.Plain, parent.TS)
		}
	}
	return out
}

// told is what a receiver of callbacks was told of operators' words, and how many of the events came again.
func (m *moody) told() (out []exhibit, again int) {
	at := map[string]int{}
	for _, e := range m.app.of("operator_message") {
		i, there := at[e.SessionID]
		if !there {
			i = len(out)
			at[e.SessionID] = i
			out = append(out, exhibit{})
		}
		out[i].marks = append(out[i].marks, chaosMarks.FindAllString(e.Content, -1)...)
	}
	m.app.mu.Lock()
	defer m.app.mu.Unlock()
	for _, n := range m.app.ids {
		again += n - 1
	}
	return out, again
}

// shows is what a page shows.
func (l *live) shows() exhibit {
	e := exhibit{session: l.session}
	for _, text := range l.page.State().Texts() {
		e.marks = append(e.marks, chaosMarks.FindAllString(text, -1)...)
	}
	return e
}

// sum waits until all is shown, and holds what is there against what was said.
func (c *chaos) sum(seed uint64) {
	t, records := c.t, c.records()
	known := map[string]bool{}
	for _, r := range records {
		known[r.session] = true
	}
	row := func(where string, v verdict, might int) {
		soak.Row(t, "seed %d, %v, %s: %s: %s, where %d could have been", seed, c.lasts, time.Now().Format(time.DateOnly), where, v.String(), might)
		for _, found := range v.found {
			t.Errorf("%s: %s", where, found)
		}
		if v.repeated > might {
			t.Errorf("%s: %d are repeated, and only %d could have been", where, v.repeated, might)
		}
	}
	for _, s := range c.stands {
		c.r.eventually(func() bool { v := judge(records, c.gather(s, known), s.name()); return v.lost == 0 })
	}
	for _, m := range c.hears {
		c.r.eventually(func() bool { told, _ := m.told(); v := judge(records, told, "visitor"); return v.lost == 0 })
	}
	for _, p := range c.r.processes()[1:] {
		c.r.end(p)
	}
	c.r.mu.Lock()
	c.r.others = nil
	c.r.mu.Unlock()
	c.r.idle() // nothing comes any more, what is repeated neither

	for _, s := range c.stands {
		row(s.name(), judge(records, c.gather(s, known), s.name()), c.risks[s.name()].sum())
	}
	for _, m := range c.hears {
		told, again := m.told()
		v := judge(records, told, "visitor")
		if v.repeated > 0 {
			t.Errorf("the callback %s was told %d words by two events", m.name, v.repeated)
		}
		v.repeated = again // by its id, which the receiver knows again
		row("callback "+m.name, v, c.risks[m.name].sum())
	}
	var pages verdict
	again := c.judgePages(&pages)
	row("pages", pages, 0)
	share := func(away ...bool) float64 {
		asked, taken := 0, 0
		for _, a := range away {
			asked, taken = asked+c.asked[a], taken+c.taken[a]
		}
		return 100 * float64(taken) / float64(max(asked, 1))
	}
	var through []string
	for _, what := range slices.Sorted(maps.Keys(c.deaths)) {
		through = append(through, fmt.Sprint(c.deaths[what], " ", what))
	}
	soak.Row(t, "seed %d, %v, %s: %.3f %% of %d accepts answered, %.3f %% of %d while the store was in reach; %d pages loaded again; through %s", seed,
		c.lasts, time.Now().Format(time.DateOnly), share(true, false), c.asked[true]+c.asked[false], share(false), c.asked[false], again,
		strings.Join(through, ", "))
}

// judgePages holds what the pages show against what was said there. A page that was silenced by too many failures is loaded again.
func (c *chaos) judgePages(v *verdict) (again int) {
	for _, l := range c.lives {
		if l.page == nil {
			continue
		}
		r := l.copy()
		// The widget drops a word whose answer did not come, and shows it at the end if it comes back.
		unsure := map[string]bool{}
		for _, u := range r.all {
			unsure[u.mark] = !u.certain
		}
		r.all = slices.DeleteFunc(r.all, func(u utterance) bool { return unsure[u.mark] })
		look := func() verdict {
			e := l.shows()
			e.marks = slices.DeleteFunc(e.marks, func(mark string) bool { return unsure[mark] })
			return judge([]record{r}, []exhibit{e}, "")
		}
		if !l.page.Until(30*time.Second, func(s sitetest.State) bool { return s.Silenced || look().lost == 0 }) || l.page.State().Silenced {
			again++
			l.page.Stop()
			l.page = sitetest.New(sitetest.Options{Endpoint: c.door, Origin: chaosOrigin, Foreign: true, From: "198.51.100.9"}, l.storage)
			if err := l.page.Load(nil); err != nil {
				c.t.Errorf("%s: %v", l.session, err)
			}
			c.t.Cleanup(l.page.Stop)
		}
		v.add(look())
	}
	return again
}

// newChaos is a store with its bridges and all around them.
func newChaos(t *testing.T, store string, lasts time.Duration, random *rand.Rand) *chaos {
	r := newRig(t)
	r.use("telegram", "discord text", "slack socket")
	// Where no pace is known, the platforms' refusals would teach one that everything waits for.
	maps.Copy(r.env, map[string]string{
		"TELEGRAM_RATE": "6000", "DISCORD_RATE": "1000", "SLACK_RATE": "1000", "WIDGET_ORIGINS": chaosOrigin, "TRUSTED_PROXIES": "127.0.0.1",
		"BIND": "127.0.0.1", "UPLOADS_DIR": t.TempDir(),
	})
	r.client.Timeout = 15 * time.Second
	c := &chaos{
		r: r, t: t, lasts: lasts, ends: make(chan struct{}), asked: map[bool]int{}, taken: map[bool]int{}, deaths: map[string]int{}, risks: map[string]*risk{},
	}
	for _, b := range r.boards {
		c.stands = append(c.stands, b.(stand))
		c.risks[b.name()] = newRisk()
	}
	c.watch()
	for _, name := range []string{"quick", "slow"} {
		m := &moody{name: name, app: r.app, risk: newRisk(), random: rand.New(rand.NewPCG(random.Uint64(), 0))}
		if name == "slow" {
			m.app = newApp(t)
			m.always = 2 * time.Second
		}
		c.hears, c.risks[name] = append(c.hears, m), m.risk
		m.listen(t)
	}
	r.env["BACKEND_WEBHOOK_URL"] = c.hears[0].url
	if store == "redis" {
		c.redis = redistest.Start(t, "--appendfsync", "always") // else a kill may lose what was answered
		r.env["REDIS_URL"] = c.redis.URL()
	} else {
		stores()[store](t, r.env)
	}
	r.start()
	if store == "redis" {
		r.others = []*proc{r.launch()}
	}
	r.answer(http.MethodPut, "/api/callbacks/slow", fmt.Sprintf(`{"url":%q,"events":["operator_message"]}`, c.hears[1].url), http.StatusCreated, nil)
	c.door = balance(t, r) + "/pocketping"
	return c
}

// TestChaos lets everything fail at once for ten minutes, or CHAOS, by the seed SEED: in the end all that was accepted is where it belongs.
func TestChaos(t *testing.T) {
	lasts, seed := 10*time.Minute, rand.Uint64()%1_000_000
	var err error
	if text := os.Getenv("CHAOS"); text != "" {
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d CHAOS=%v", seed, lasts)
	for _, store := range []string{"bolt", "redis"} {
		t.Run(store, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			each := func() *rand.Rand { return rand.New(rand.NewPCG(random.Uint64(), 0)) }
			c := newChaos(t, store, lasts, random)
			c.r.listened(t)
			_, all, calm := c.r.spoil(each(), 20, int(lasts/(3*time.Second)))
			for n := range chaosVisitors {
				mine := each()
				c.work.Go(func() { c.visitors(n, mine) })
			}
			for n := range chaosPages {
				mine := each()
				c.work.Go(func() { c.pages(n, mine) })
			}
			hers, cuts := each(), each()
			c.work.Go(func() { c.ana(hers) })
			c.work.Go(func() { c.cut(cuts, all) })
			c.die(each())
			close(c.ends)
			spoilt := calm()
			for _, m := range c.hears {
				m.calm()
			}
			c.work.Wait()
			c.deaths["spoilt calls"] = spoilt
			c.sum(seed)
			if t.Failed() {
				for i, p := range c.r.processes() {
					t.Logf("bridge %d said:\n%s", i, lastLines(p.Output(), 200))
				}
			}
		})
	}
}
