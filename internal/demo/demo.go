// Package demo is `bridge demo`: the real bridge as a child process, stand-ins in place of Telegram, Discord and Slack, and an
// app server with a shop before it, all on this machine. A page shows all of it side by side, and a transcript tells what
// happens. It knows the bridge from outside only, by its command line, its environment and its HTTP API; a bridge that serves
// has nothing of it.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Options says how the demo runs.
type Options struct {
	Command []string // starts the bridge
	Env     []string // NAME=value, in the bridge's environment besides what the demo sets
	Out     io.Writer
	Once    bool // one round trip without a page, then the end
	Version string
}

// The ports that are taken when they are free; a taken one means the next.
const (
	bridgePort = 3001
	pagePort   = 3002
)

const (
	onceTimeout = 30 * time.Second
	thinks      = 1500 * time.Millisecond // Ana, before she answers
	looksEvery  = 300 * time.Millisecond  // the page, at the bridge's lanes

	registersEvery = 2000 // looks
)

// demo is one run of it.
type demo struct {
	options  Options
	out      transcript
	id       string // of this run
	dir      string
	life     context.Context //nolint:containedctx // a bridge that the page starts lives as long as the demo, not as the request
	apps     []app
	telegram *telegramApp // one of the apps
	gates    map[string]*gate
	bridge   string // URLs
	app      string
	page     string
	version  string
	secret   bridge.Secret
	client   *http.Client
	replies  chan string // contents of the operator messages that reached the app
	wake     chan struct{}
	began    time.Time
	shown    map[string]bool // what watch has told
	power    sync.Mutex      // held by whoever kills or starts the bridge

	mu          sync.Mutex    // guards what follows
	change      chan struct{} // closed, and made anew, at each change
	child       *child
	killed      bool // by us
	process     bridgeState
	visitors    []*visitor
	names       []string // of all visitors there have been
	entered     int
	outbox      []post
	sent        int
	uploads     map[string]file
	uploadOrder []string
	links       map[string]bridge.Attachment // operators' files, by a number
	linked      int
	received    []received
	called      int
	seen        map[string]bool // ids of the events that were taken
	online      bool
	operators   []bridge.Operator
	switches    switches
	steps       steps
	opened      bool // the opening scene is over: what happens now is of whoever looks at the page
}

func newDemo(o Options, dir string) *demo {
	d := &demo{
		options: o, out: transcript{w: o.Out}, id: strings.ToLower(rand.Text()), dir: dir, version: o.Version,
		telegram: newTelegram(), gates: make(map[string]*gate),
		secret: bridge.Secret(rand.Text()), client: &http.Client{Timeout: 10 * time.Second}, replies: make(chan string, 64),
		wake: make(chan struct{}, 1), began: time.Now(), shown: make(map[string]bool), change: make(chan struct{}),
		uploads: make(map[string]file), links: make(map[string]bridge.Attachment), seen: make(map[string]bool),
		process: bridgeState{Lanes: []lane{}},
	}
	d.apps = []app{d.telegram, newDiscord(), newSlack()}
	return d
}

// Run runs the demo until ctx ends, or, with Once, until one round trip is done. It returns nil when all went well.
func Run(ctx context.Context, o Options) error {
	dir, err := os.MkdirTemp("", "bridge-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d := newDemo(o, dir)
	defer d.close()

	end := "Press Ctrl-C to end it."
	if o.Once {
		end = "It ends by itself after one round trip."
	}
	d.out.line("The PocketPing bridge, with stand-ins for everything around it, on this machine alone. " + end)

	var group sync.WaitGroup
	defer group.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d.life = ctx
	// A reader that goes, as of a pipe, ends the demo in order: else the bridge would live on alone.
	signal.Ignore(syscall.SIGPIPE)
	d.out.unread = stop
	if err := d.open(ctx, &group); err != nil {
		return err
	}
	c, err := d.run(ctx)
	defer d.stopChild()
	if err != nil {
		return err
	}
	d.introduce(c)
	group.Go(func() { d.sendAll(ctx) })
	for _, a := range d.apps {
		group.Go(func() { d.watch(ctx, a) })
	}
	if o.Once {
		return d.once(ctx)
	}
	group.Go(func() { d.lookAtLanes(ctx) })
	return d.play(ctx)
}

// open serves everything around the bridge.
func (d *demo) open(ctx context.Context, group *sync.WaitGroup) error {
	for _, a := range d.apps {
		if err := d.standIn(ctx, group, a); err != nil {
			return err
		}
	}
	var err error
	if d.app, err = d.serve(ctx, group, d.backend()); err != nil {
		return err
	}
	if d.options.Once {
		return d.reserve(ctx)
	}
	ln, err := listen(ctx, pagePort)
	if err != nil {
		return err
	}
	d.page = "http://" + ln.Addr().String()
	if err := d.reserve(ctx); err != nil {
		return errors.Join(err, ln.Close())
	}
	d.serveOn(ctx, group, ln, d.handler())
	return nil
}

func (d *demo) close() {
	for _, a := range d.apps {
		a.close()
	}
}

// stopChild ends the bridge in order, if it runs.
func (d *demo) stopChild() {
	d.mu.Lock()
	c := d.child
	d.killed = true
	d.mu.Unlock()
	if c != nil {
		c.stop()
	}
}

// standIn serves a stand-in behind a gate.
func (d *demo) standIn(ctx context.Context, group *sync.WaitGroup, a app) error {
	ln, err := listen(ctx, 0)
	if err != nil {
		return err
	}
	g, base := newGate(ln), "http://"+ln.Addr().String()
	d.gates[a.name()] = g
	var h http.Handler
	switch a := a.(type) {
	case *telegramApp:
		a.gate, a.url, h = g, base, a.Server
	case *discordApp:
		a.gate, a.url, h = g, base, a.Server
	case *slackApp:
		a.gate, a.url, h = g, base, a.Server
	}
	d.serveOn(ctx, group, g, h)
	group.Go(func() { // what changes in the app changes the page
		for {
			select {
			case <-a.changed():
				d.update(func() {})
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// serve listens on a free port of this machine until ctx ends, and returns the base URL.
func (d *demo) serve(ctx context.Context, group *sync.WaitGroup, h http.Handler) (string, error) {
	ln, err := listen(ctx, 0)
	if err != nil {
		return "", err
	}
	d.serveOn(ctx, group, ln, h)
	return "http://" + ln.Addr().String(), nil
}

func (d *demo) serveOn(ctx context.Context, group *sync.WaitGroup, ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() { _ = srv.Serve(ln) })
	context.AfterFunc(ctx, func() { _ = srv.Close() })
}

// listen takes the port, or the next one that is free; 0 is any.
func listen(ctx context.Context, port int) (net.Listener, error) {
	var config net.ListenConfig
	for next := port; ; next++ {
		ln, err := config.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(next))
		if err == nil || port == 0 || !errors.Is(err, syscall.EADDRINUSE) || next >= port+100 {
			return ln, err
		}
	}
}

func (d *demo) introduce(c *child) {
	d.out.line("")
	if d.page != "" {
		d.out.line("  open this page        %s", address(d.page))
		d.out.line("")
	}
	d.out.line("  the bridge            %s  (process %d)", d.bridge, c.cmd.Process.Pid)
	d.out.line("  the app server        %s", d.app)
	d.out.line("  Telegram's stand-in   %s  (a group with topics, and Ana in it)", d.telegram.url)
	for _, a := range d.apps {
		switch a := a.(type) {
		case *discordApp:
			d.out.line("  Discord's stand-in    %s  (a channel, and Ben in it)", a.url)
		case *slackApp:
			d.out.line("  Slack's stand-in      %s  (a channel, and Cleo in it)", a.url)
		}
	}
	d.out.line("")
	if d.page == "" {
		return
	}
	d.out.line("Or play along from another terminal. Be a visitor:")
	d.out.line(`  curl -s %s/api/messages -d '{"message":{"id":"m1","sessionId":"you","content":"Hello?"},"session":{"id":"you","visitorId":"you"}}'`, d.bridge)
	d.out.line("Answer yourself as Ana, in the topic that this opened:")
	d.out.line(`  curl -s %s/say -d '{"topic":"you","text":"How can I help?"}'`, d.page)
	d.out.line("Listen as your site does:")
	d.out.line("  curl -sN %s/api/events/stream", d.bridge)
	d.out.line("")
}

// The opening scene, so that there is something to look at.
const (
	question = "Hi! Do you ship to Norway?"
	reply    = "Hello Mia, yes: three to five days."
)

// once does one round trip.
func (d *demo) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	began := time.Now()
	if err := d.converse(ctx, 0); err != nil {
		return err
	}
	d.out.line("")
	d.out.line("One round trip, there and back: %d ms.", time.Since(began).Milliseconds())
	return nil
}

// play shows the opening scene and then leaves the page to whoever looks at it, until ctx ends.
func (d *demo) play(ctx context.Context) error {
	if err := d.converse(ctx, thinks); err != nil && ctx.Err() == nil {
		d.out.line("The opening scene stopped: %v.", err)
	}
	d.update(func() { d.opened = true })
	<-ctx.Done()
	d.out.line("")
	d.out.line("The end.")
	return nil
}

// converse lets Mia ask and Ana answer, and waits until the answer is at the app.
func (d *demo) converse(ctx context.Context, pause time.Duration) error {
	if err := d.ask(ctx); err != nil {
		return err
	}
	topic, err := d.topicShowing(ctx, people()[0].Name, question)
	if err != nil {
		return err
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return ctx.Err()
	}
	d.out.say("Ana, in the topic", "%s", reply)
	if err := d.telegram.say(topic, reply, "", nil); err != nil {
		return err
	}
	for {
		select {
		case got := <-d.replies:
			if got == reply {
				return nil
			}
		case <-ctx.Done():
			return errors.New("the operator's answer did not reach the app server in time")
		}
	}
}

// ask has Mia ask: by her page, or by the app server where there is no page.
func (d *demo) ask(ctx context.Context) error {
	if d.page != "" {
		id, err := d.enterDirectly("")
		if err != nil {
			return err
		}
		return d.speak(ctx, id, question)
	}
	session, err := d.enter("")
	if err != nil {
		return err
	}
	_, err = d.write(session, question, "", nil)
	return err
}

// topicShowing waits for the topic of that name to show the text.
func (d *demo) topicShowing(ctx context.Context, name, text string) (topic string, err error) {
	err = d.telegram.Wait(ctx, func() bool {
		for _, t := range d.telegram.look().Threads {
			if t.Name == name && slices.ContainsFunc(t.Messages, func(m appMessage) bool { return m.Bot && strings.Contains(plainOf(m.Text), text) }) {
				topic = t.ID
			}
		}
		return topic != ""
	})
	if err != nil {
		return "", errors.New("the visitor's message did not reach its topic in time")
	}
	return topic, nil
}

// watch tells of everything that the bridge writes in an app.
func (d *demo) watch(ctx context.Context, a app) {
	for {
		changed := a.changed()
		v := a.look()
		for _, t := range v.Threads {
			d.tell(v, fmt.Sprintf("%s, %s “%s”", v.Label, v.Thread, t.Name), t)
		}
		d.tell(v, v.Label+", outside "+v.Thread+"s", v.Main)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (d *demo) tell(v appView, where string, t appThread) {
	for _, m := range t.Messages {
		text := plainOf(m.Text)
		if m.Card != nil {
			text = strings.TrimSpace(m.Card.Title + "\n" + plainOf(m.Card.Text) + "\n" + text)
		}
		for _, f := range m.Files {
			text = strings.TrimSpace(text + "\n[file " + f.Name + "]")
		}
		if !m.Bot || m.Service != "" || text == "" { // without a text: it is being thought about
			continue
		}
		key := v.Name + " " + m.ID
		d.mu.Lock()
		known := d.shown[key]
		d.shown[key] = true
		d.mu.Unlock()
		if known {
			continue
		}
		d.out.say(where, "%s", text)
	}
}

// lookAtLanes keeps how far the bridge is, as it tells itself.
func (d *demo) lookAtLanes(ctx context.Context) {
	tick := time.NewTicker(looksEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		status, body, err := d.call(ctx, http.MethodGet, "/readyz?verbose", nil, "")
		var told struct{ Lanes []lane }
		if err == nil && json.Unmarshal(body, &told) == nil && told.Lanes != nil {
			for i := range told.Lanes {
				told.Lanes[i].Oldest = float64(int(told.Lanes[i].Oldest))
			}
			ready := status == http.StatusOK
			d.mu.Lock()
			if d.process.Ready != ready || !slices.Equal(d.process.Lanes, told.Lanes) {
				d.process.Lanes, d.process.Ready = told.Lanes, ready
				d.changedLocked()
			}
			d.mu.Unlock()
		}
		if n%registersEvery == registersEvery-1 {
			_ = d.register(ctx) // refreshed, so that it does not expire; the next time does as well
		}
		if n%7 == 0 {
			var letters struct{ Deliveries []json.RawMessage }
			if status, body, err := d.call(ctx, http.MethodGet, "/api/deliveries?state=failed&limit=200", nil, ""); err == nil &&
				status == http.StatusOK && json.Unmarshal(body, &letters) == nil {
				d.update(func() { d.process.Failed = len(letters.Deliveries) })
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
