// Package demo is `bridge demo`: the real bridge as a child process, the sandbox in place of Telegram, an app server with a
// visitor before it, and an operator in the group, all on this machine. It tells what happens as a transcript. It knows the
// bridge from outside only, by its command line, its environment and its HTTP API.
package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// Options says how the demo runs.
type Options struct {
	Command []string // starts the bridge
	Env     []string // NAME=value, in the bridge's environment besides what the demo sets
	Out     io.Writer
	Once    bool // one round trip, then the end
}

// The ports that are taken when they are free; a taken one means the next.
const (
	bridgePort  = 3001
	sandboxPort = 3002
)

const (
	startTimeout = 30 * time.Second
	onceTimeout  = 30 * time.Second
	stopTimeout  = 12 * time.Second
	thinks       = 1500 * time.Millisecond // Ana, before she answers
)

// demo is one run of it.
type demo struct {
	out      transcript
	telegram *telegram.Server
	chat     int64
	operator telegram.User
	bridge   string // URLs
	app      string
	sandbox  string
	secret   bridge.Secret
	client   *http.Client
	replies  chan string // contents of the operator messages that reached the app
	shown    map[int]bool
	hurries  bool // nobody reads along
}

// Run runs the demo until ctx ends, or, with Once, until one round trip is done. It returns nil when all went well.
func Run(ctx context.Context, o Options) error {
	dir, err := os.MkdirTemp("", "bridge-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	d := &demo{
		out:      transcript{w: o.Out},
		telegram: telegram.New(telegram.Options{}),
		secret:   bridge.Secret(rand.Text()),
		client:   &http.Client{Timeout: 10 * time.Second},
		replies:  make(chan string, 64),
		shown:    map[int]bool{},
		hurries:  o.Once,
	}
	defer d.telegram.Close()
	d.chat = d.telegram.AddChat(telegram.Chat{Kind: telegram.Forum, Title: "Shop support"})
	d.operator = d.telegram.AddUser(telegram.User{FirstName: "Ana"})

	end := "Press Ctrl-C to end it."
	if o.Once {
		end = "It ends by itself after one round trip."
	}
	d.out.line("The PocketPing bridge, with stand-ins for everything around it, on this machine alone. " + end)

	var servers sync.WaitGroup
	defer servers.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// A reader that goes, as of a pipe, ends the demo in order: else the bridge would live on alone.
	signal.Ignore(syscall.SIGPIPE)
	d.out.unread = stop
	if d.sandbox, err = d.serve(ctx, &servers, sandboxPort, d.operators()); err != nil {
		return err
	}
	if d.app, err = d.serve(ctx, &servers, 0, http.HandlerFunc(d.callback)); err != nil {
		return err
	}
	child, err := d.startBridge(ctx, o, dir)
	if err != nil {
		return err
	}
	defer child.stop()
	if err := d.ready(ctx, child); err != nil {
		return err
	}
	d.introduce(child, o.Once)
	servers.Go(func() { d.watch(ctx) })
	if o.Once {
		return d.once(ctx)
	}
	return d.play(ctx, child)
}

// serve listens on a port of this machine, or the next free one, until ctx ends, and returns the base URL.
func (d *demo) serve(ctx context.Context, group *sync.WaitGroup, port int, h http.Handler) (string, error) {
	ln, err := listen(ctx, port)
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() { _ = srv.Serve(ln) })
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return "http://" + ln.Addr().String(), nil
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

// child is the bridge's process.
type child struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	err   error // once ended is closed
}

// startBridge starts the bridge with an environment of the demo's own. It is ended when ctx ends.
func (d *demo) startBridge(ctx context.Context, o Options, dir string) (*child, error) {
	ln, err := listen(ctx, bridgePort)
	if err != nil {
		return nil, err
	}
	address := ln.Addr().(*net.TCPAddr)
	if err := ln.Close(); err != nil {
		return nil, err
	}
	d.bridge = "http://" + address.String()
	c := &child{log: filepath.Join(dir, "bridge.log"), ended: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	c.cmd = exec.CommandContext(ctx, o.Command[0], o.Command[1:]...) //nolint:gosec // the command is this very program
	c.cmd.Dir = dir                                                  // no .env of anyone's
	c.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"PORT=" + strconv.Itoa(address.Port), "BIND=127.0.0.1", "DATA_DIR=" + filepath.Join(dir, "data"),
		"TELEGRAM_BOT_TOKEN=" + d.telegram.Token(), "TELEGRAM_CHAT_ID=" + strconv.FormatInt(d.chat, 10),
		"TELEGRAM_API_URL=" + d.sandbox, "TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off",
		"BACKEND_WEBHOOK_URL=" + d.app + "/callback", "BACKEND_WEBHOOK_SECRET=" + d.secret.Reveal(),
	}, o.Env...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = stopTimeout
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() {
		c.err = c.cmd.Wait()
		_ = log.Close()
		close(c.ended)
	}()
	return c, nil
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	<-c.ended
}

// fault is why the child is not as it should be, with what it last said.
func (c *child) fault(what string) error {
	said, _ := os.ReadFile(c.log)
	if len(said) > 4000 {
		said = said[len(said)-4000:]
	}
	return fmt.Errorf("%s; it said:\n%s", what, said)
}

// ready waits until the bridge takes requests.
func (d *demo) ready(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.bridge+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := d.client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return c.fault("the bridge ended at its start")
		case <-ctx.Done():
			return c.fault("the bridge does not get ready")
		}
	}
}

func (d *demo) introduce(c *child, once bool) {
	d.out.line("")
	d.out.line("  the bridge            %s  (process %d)", d.bridge, c.cmd.Process.Pid)
	d.out.line("  Telegram's stand-in   %s  (a group with topics, and Ana in it)", d.sandbox)
	d.out.line("  the app server        %s", d.app)
	d.out.line("")
	if once {
		return
	}
	d.out.line("Play along from another terminal. Be a visitor:")
	d.out.line(`  curl -s %s/api/messages -d '{"message":{"id":"m1","sessionId":"you","content":"Hello?"},"session":{"id":"you","visitorId":"you"}}'`, d.bridge)
	d.out.line("Answer yourself as Ana, in the topic that this opened:")
	d.out.line(`  curl -s %s/say -d '{"topic":"you","text":"How can I help?"}'`, d.sandbox)
	d.out.line("Listen as your site does:")
	d.out.line("  curl -sN %s/api/events/stream", d.bridge)
	d.out.line("")
}

// scene is a short conversation.
type scene struct{ visitor, question, answer string }

func scenes() []scene {
	return []scene{
		{"Mia", "Hi! Do you ship to Norway?", "Hello Mia, yes: three to five days."},
		{"Tom", "Is <b>size 42</b> & up back soon?", "Hi Tom, next Tuesday 👟"},
		{"Zoë", "Can I pay by invoice?", "Of course. Choose it at the last step."},
	}
}

// once does one round trip.
func (d *demo) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, onceTimeout)
	defer cancel()
	began := time.Now()
	s := scenes()[0]
	if err := d.converse(ctx, s, 1); err != nil {
		return err
	}
	d.out.line("")
	d.out.line("One round trip, there and back: %d ms.", time.Since(began).Milliseconds())
	return nil
}

// play goes on until ctx ends.
func (d *demo) play(ctx context.Context, c *child) error {
	pause := 4 * time.Second
	for n := 1; ; n++ {
		all := scenes()
		if err := d.converse(ctx, all[(n-1)%len(all)], n); err != nil {
			if ctx.Err() != nil {
				break
			}
			return err
		}
		select {
		case <-ctx.Done():
		case <-c.ended:
			return c.fault("the bridge ended")
		case <-time.After(pause):
			continue
		}
		break
	}
	d.out.line("")
	d.out.line("The end.")
	return nil
}

// converse lets a visitor ask and Ana answer, and waits until the answer is at the app.
func (d *demo) converse(ctx context.Context, s scene, n int) error {
	session := fmt.Sprintf("%s-%d", strings.ToLower(s.visitor), n)
	d.out.say(s.visitor+", a visitor", "%s", s.question)
	body, err := json.Marshal(map[string]any{
		"session": bridge.Session{
			ID: session, VisitorID: session, Identity: &bridge.Identity{ID: session, Name: s.visitor},
			Metadata: &bridge.Metadata{URL: "https://shop.example/shoes", PageTitle: "Shoes", City: "Oslo", Country: "NO", Browser: "Firefox", DeviceType: "mobile"},
		},
		"message": bridge.Message{ID: "m1", SessionID: session, Content: s.question, Sender: bridge.SenderVisitor},
	})
	if err != nil {
		return err
	}
	if err := d.post(ctx, "/api/messages", body); err != nil {
		return err
	}
	topic, err := d.topicShowing(ctx, s.visitor, s.question)
	if err != nil {
		return err
	}
	if !d.hurries {
		select {
		case <-time.After(thinks):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.out.say("Ana, in the topic", "%s", s.answer)
	d.telegram.Say(d.chat, topic, d.operator.ID, s.answer)
	for {
		select {
		case got := <-d.replies:
			if got == s.answer {
				return nil
			}
		case <-ctx.Done():
			return errors.New("the operator's answer did not reach the app server in time")
		}
	}
}

// post sends what an app server's SDK sends.
func (d *demo) post(ctx context.Context, path string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.bridge+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	d.out.say("the app server", "POST %s: %d %s in %d ms", path, resp.StatusCode, bytes.TrimSpace(answer), time.Since(began).Milliseconds())
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the bridge answers %d to a message", resp.StatusCode)
	}
	return nil
}

// topicShowing waits for the newest topic of that name to show the text.
func (d *demo) topicShowing(ctx context.Context, name, text string) (topic int, err error) {
	err = d.telegram.Wait(ctx, func() bool {
		for _, t := range d.telegram.Topics(d.chat) {
			if t.Name != name {
				continue
			}
			for _, m := range d.telegram.Messages(d.chat, t.ID) {
				if m.Own && strings.Contains(m.Text, text) {
					topic = t.ID
				}
			}
		}
		return topic != 0
	})
	if err != nil {
		return 0, errors.New("the visitor's message did not reach its topic in time")
	}
	return topic, nil
}

// watch tells of everything that the bridge writes in the group.
func (d *demo) watch(ctx context.Context) {
	for {
		changed := d.telegram.Changed()
		for _, t := range d.telegram.Topics(d.chat) {
			d.tell("Telegram, topic “"+t.Name+"”", t.ID)
		}
		d.tell("Telegram, outside topics", 0)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (d *demo) tell(where string, topic int) {
	for _, m := range d.telegram.Messages(d.chat, topic) {
		if m.Own && m.Service == "" && !d.shown[m.ID] {
			d.shown[m.ID] = true
			d.out.say(where, "%s", m.Text)
		}
	}
}

// operators serves the stand-in, and POST /say for whoever wants to answer as Ana.
func (d *demo) operators() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", d.telegram)
	mux.HandleFunc("POST /say", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Topic, Text string }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil || in.Text == "" {
			http.Error(w, `send {"topic":"the topic's name, or nothing for the general one","text":"what Ana says"}`, http.StatusBadRequest)
			return
		}
		topic, names := 0, []string{}
		for _, t := range d.telegram.Topics(d.chat) {
			names = append(names, t.Name)
			if t.Name == in.Topic {
				topic = t.ID
			}
		}
		if in.Topic != "" && topic == 0 {
			http.Error(w, fmt.Sprintf("there is no topic %q; there are %q", in.Topic, names), http.StatusNotFound)
			return
		}
		d.out.say("Ana, in the topic", "%s", in.Text)
		d.telegram.Say(d.chat, topic, d.operator.ID, in.Text)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
