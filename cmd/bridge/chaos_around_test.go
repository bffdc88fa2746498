//go:build chaos

package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// chaosOrigin is where the pages are.
const chaosOrigin = "https://shop.example.com"

// recently is how long before a bridge's death an answer may have come that is not recorded yet.
const recently = time.Second

// risk counts the texts that may be there twice: those of calls whose answers were lost, or came to nobody.
type risk struct {
	mu    sync.Mutex
	open  map[string]int // calls that are under way, with how many texts
	done  []landed       // lately
	might int
}

type landed struct {
	at    time.Time
	texts int
}

func newRisk() *risk { return &risk{open: map[string]int{}} }

func (k *risk) begin(call string, texts int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[call] = texts
}

// end ends a call: with an answer, or without one.
func (k *risk) end(call string, lost bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	texts, now := k.open[call], time.Now()
	if delete(k.open, call); lost {
		k.might += texts
		return
	}
	for len(k.done) > 0 && now.Sub(k.done[0].at) > recently {
		k.done = k.done[1:]
	}
	k.done = append(k.done, landed{now, texts})
}

// killed counts what was under way when a bridge, or what it records in, died.
func (k *risk) killed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, texts := range k.open {
		k.might += texts
	}
	for _, a := range k.done {
		if time.Since(a.at) <= recently {
			k.might += a.texts
		}
	}
	k.done = nil
}

func (k *risk) sum() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.might
}

// see follows one moment of a call on a platform.
func (k *risk) see(moment stage.Moment, method string, n int, text string) {
	texts := len(chaosMarks.FindAllString(text, -1))
	if texts == 0 {
		return
	}
	call := method + strconv.Itoa(n)
	switch moment {
	case stage.Received:
		k.begin(call, texts)
	case stage.Answered, stage.Dropped:
		k.end(call, moment == stage.Dropped)
	}
}

// watch follows the calls on all platforms.
func (c *chaos) watch() {
	c.r.telegram.Observe(func(m telegram.Stage, call telegram.Call) {
		c.risks["telegram"].see(m, call.Method, call.N, call.Text)
	})
	for _, s := range c.stands {
		see := func(m stage.Moment, call stage.Call) { c.risks[s.name()].see(m, call.Method, call.N, call.Text) }
		switch b := s.(type) {
		case *discordBoard:
			b.server.Observe(see)
		case *slackBoard:
			b.server.Observe(see)
		}
	}
}

// close keeps a platform's calls from arriving, or lets them again.
func (w *weather) close(so bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = so
}

// moody is a receiver of callbacks that refuses some, takes its time for others, and cuts a connection now and then when it has taken the event.
type moody struct {
	name   string
	app    *app
	url    string
	risk   *risk
	always time.Duration // it takes up to so long for each

	mu     sync.Mutex
	random *rand.Rand
	n      int
	well   bool
}

func (m *moody) listen(t *testing.T) {
	srv := httptest.NewServer(m)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(srv.Close)
	m.url = srv.URL + "/callback"
}

// calm has it take everything at once from now on.
func (m *moody) calm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.well = true
}

// mood says what is to happen to a request.
func (m *moody) mood() (n int, wait time.Duration, refuse, cut bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n++; m.well {
		return m.n, 0, false, false
	}
	wait = upTo(m.random, m.always)
	switch m.random.IntN(25) {
	case 0:
		refuse = true
	case 1:
		cut = true
	case 2:
		wait += upTo(m.random, 4*time.Second)
	}
	return m.n, wait, refuse, cut
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, wait, refuse, cut := m.mood()
	if refuse {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	call := strconv.Itoa(n)
	m.risk.begin(call, 1)
	m.app.ServeHTTP(w, r)
	<-time.After(wait)
	lost := cut || r.Context().Err() != nil
	if m.risk.end(call, lost); lost {
		panic(http.ErrAbortHandler)
	}
}

// balancer sends requests to one bridge after the other, and to the next one where nobody listens.
type balancer struct{ r *rig }

func (b balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	var err error
	if req.Body != nil {
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	for range b.r.processes() {
		again := req.Clone(req.Context())
		again.URL.Host = strings.TrimPrefix(b.r.next().base, "http://")
		if req.Body != nil {
			again.Body = io.NopCloser(bytes.NewReader(body))
		}
		var resp *http.Response
		if resp, err = b.r.client.Transport.RoundTrip(again); err == nil {
			return resp, nil
		}
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" { // it may have been taken
			break
		}
	}
	return nil, err
}

// balance listens for pages in front of the bridges, and returns where.
func balance(t *testing.T, r *rig) string {
	quiet := log.New(io.Discard, "", 0)
	srv := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.Host = "http", p.In.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
		},
		Transport: balancer{r}, ErrorLog: quiet,
	})
	srv.Config.ErrorLog = quiet
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}
