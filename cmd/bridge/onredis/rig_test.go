// Package onredis runs the whole program on real Redis servers that move, fail over, lose what they had, or hold what is not
// ours: what was accepted is shown, in order, and what was recorded is not shown again.
package onredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// bridge is the program, built once.
var bridge string

func TestMain(m *testing.M) { os.Exit(program.Main(m, "..", &bridge)) }

// hung only ends a test that hangs.
const hung = 5 * time.Minute

// rig is a store's URL with what stands around the bridges on it: Telegram's stand-in, and an app server that counts.
type rig struct {
	t        *testing.T
	telegram *telegram.Server
	chat     int64
	env      []string
	client   *http.Client

	mu        sync.Mutex
	bridges   []*process
	turn      int
	callbacks map[string]int // webhook-id → how often it came
}

func newRig(t *testing.T, url string) *rig {
	t.Helper()
	r := &rig{
		t: t, telegram: telegram.New(telegram.Options{}), callbacks: map[string]int{},
		client: &http.Client{Timeout: hung, Transport: &http.Transport{MaxIdleConnsPerHost: 128}},
	}
	base, err := r.telegram.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	r.chat = r.telegram.AddChat(telegram.Chat{Kind: telegram.Forum})
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.callbacks[req.Header.Get("webhook-id")]++
	}))
	r.env = []string{
		"PORT=0", "LOG_LEVEL=info", "OPEN_THREAD=message", "REDIS_URL=" + url,
		"TELEGRAM_BOT_TOKEN=" + r.telegram.Token(), "TELEGRAM_CHAT_ID=" + strconv.FormatInt(r.chat, 10), "TELEGRAM_API_URL=" + base,
		"TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off", "BACKEND_WEBHOOK_URL=" + app.URL, "BACKEND_WEBHOOK_EVENTS=all",
	}
	t.Cleanup(func() {
		for _, p := range r.bridges {
			p.Kill()
		}
		app.Close()
		r.telegram.Close()
		r.telegram.FailOnFaults(t)
	})
	return r
}

// process is one bridge.
type process struct {
	*program.Process
	base string
}

func (p *process) says(text string) bool { return strings.Contains(p.Output(), text) }

// start starts another bridge, and returns when it listens.
func (r *rig) start() *process {
	r.t.Helper()
	cmd := exec.Command(bridge)
	cmd.Env = r.env
	p := &process{Process: program.Start(r.t, cmd, program.Listens, hung)}
	if p.Ready == "" {
		r.t.Fatalf("the bridge ended at its start:\n%s", p.Output())
	}
	p.base = "http://" + p.Ready
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bridges = append(r.bridges, p)
	return p
}

// post sends a message to the bridge whose turn it is, once.
func (r *rig) post(session, text string) (int, error) {
	r.mu.Lock()
	r.turn++
	p := r.bridges[r.turn%len(r.bridges)]
	r.mu.Unlock()
	body := fmt.Sprintf(`{"message":{"id":%q,"sessionId":%q,"content":%q,"sender":"visitor"},"session":{"id":%q,"visitorId":%q}}`,
		text, session, text, session, session)
	resp, err := r.client.Post(p.base+"/api/messages", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// must sends a message as an SDK does, until it is taken.
func (r *rig) must(session, text string) {
	r.t.Helper()
	r.until("taken", func() bool {
		code, err := r.post(session, text)
		return err == nil && code == http.StatusOK
	})
}

// until waits for something to be so. To look takes a fifth of a processor at most, since what is waited for needs it.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), hung)
	defer cancel()
	for {
		began := time.Now()
		if is() {
			return
		}
		select {
		case <-time.After(min(max(20*time.Millisecond, 5*time.Since(began)), 2*time.Second)):
		case <-ctx.Done():
			for i, p := range r.bridges {
				lines := strings.Split(p.Output(), "\n")
				r.t.Logf("bridge %d said:\n%s", i, strings.Join(lines[max(0, len(lines)-40):], "\n"))
			}
			r.t.Fatalf("never: %s", what)
		}
	}
}

// shown returns what is shown of each session, in its order.
func (r *rig) shown() map[string][]string {
	out := map[string][]string{}
	for _, topic := range r.telegram.Topics(r.chat) {
		for _, m := range r.telegram.Messages(r.chat, topic.ID) {
			if m.Own && m.Service == "" {
				lines := strings.Split(m.Text, "\n")
				out[topic.Name] = append(out[topic.Name], lines[len(lines)-1])
			}
		}
	}
	return out
}

// count returns how many different messages are shown.
func (r *rig) count() int {
	n := 0
	for _, texts := range r.shown() {
		slices.Sort(texts)
		n += len(slices.Compact(texts))
	}
	return n
}

// repeated returns how many messages were shown again, and how many callbacks came again.
func (r *rig) repeated() (messages, callbacks int) {
	r.t.Helper()
	for session, texts := range r.shown() {
		for i, text := range texts {
			if slices.Contains(texts[:i], text) {
				messages++
				r.t.Logf("session %s shows %s again, at place %d of %q", session, text, i, texts)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.callbacks {
		callbacks += n - 1
	}
	return messages, callbacks
}

// quiet waits until every callback that the shown messages bring about has come.
func (r *rig) quiet(messages int) {
	r.t.Helper()
	r.until("every message's sign of delivery", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.callbacks) >= messages
	})
}

// traffic is messages of many visitors, each of whom sends the next when the one before it is taken.
type traffic struct {
	r    *rig
	stop chan struct{}
	all  sync.WaitGroup

	mu        sync.Mutex
	accepted  map[string][]string // by session, in order
	asked     int
	refused   int
	lastTaken time.Time
	longest   time.Duration // without anything being taken
}

// begin has so many sessions send so many messages a second, until end. They come in bursts, as many as there are sessions. The
// first of each comes by itself, and something is done behind it.
func (r *rig) begin(sessions, perSecond int, behind func()) *traffic {
	tr := &traffic{r: r, stop: make(chan struct{}), accepted: map[string][]string{}}
	for s := range sessions {
		tr.send(fmt.Sprint("v", s), "m0")
		behind()
	}
	tr.longest, tr.lastTaken = 0, time.Now()
	due := make(chan struct{}, sessions)
	tr.all.Go(func() {
		tick := time.NewTicker(time.Second * time.Duration(sessions) / time.Duration(perSecond))
		defer tick.Stop()
		defer close(due)
		for {
			select {
			case <-tick.C:
				for range sessions {
					select {
					case due <- struct{}{}:
					default: // all are waiting for an answer
					}
				}
			case <-tr.stop:
				return
			}
		}
	})
	for s := range sessions {
		session := fmt.Sprint("v", s)
		tr.all.Go(func() {
			for i := 1; ; i++ {
				if _, more := <-due; !more {
					return
				}
				tr.send(session, fmt.Sprint("m", i))
			}
		})
	}
	return tr
}

func (tr *traffic) send(session, text string) {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		code, err := tr.r.post(session, text)
		tr.mu.Lock()
		tr.asked++
		if err == nil && code == http.StatusOK {
			now := time.Now()
			tr.longest, tr.lastTaken = max(tr.longest, now.Sub(tr.lastTaken)), now
			tr.accepted[session] = append(tr.accepted[session], text)
			tr.mu.Unlock()
			return
		}
		tr.refused++
		tr.mu.Unlock()
		timer := time.NewTimer(wait)
		<-timer.C
	}
}

// taken returns how many messages were accepted so far.
func (tr *traffic) taken() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	n := 0
	for _, texts := range tr.accepted {
		n += len(texts)
	}
	return n
}

// end stops, waits until everything is shown, and checks that it is, in order.
func (tr *traffic) end() {
	tr.r.t.Helper()
	close(tr.stop)
	tr.all.Wait()
	n := tr.taken()
	tr.r.until(fmt.Sprintf("all %d shown", n), func() bool { return tr.r.count() >= n })
	shown := tr.r.shown()
	for session, want := range tr.accepted {
		var got []string
		for _, text := range shown[session] {
			if !slices.Contains(got, text) { // a repeat may come late; the first time counts
				got = append(got, text)
			}
		}
		if !slices.Equal(got, want) {
			tr.r.t.Errorf("session %s shows %d of %d, or in another order:\n%s\n%s", session, len(got), len(want), got, want)
		}
	}
}
