package site_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// counts are what is counted.
type counts struct {
	mu     sync.Mutex
	open   map[string]int
	most   map[string]int
	pushed int
	codes  map[string]int
}

func (c *counts) PageOpened(way string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[way]++
	c.most[way] = max(c.most[way], c.open[way])
}

func (c *counts) PageClosed(way string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[way]--
}

func (c *counts) Pushed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pushed++
}

func (c *counts) Refused(code string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[code]++
}

// Open pages, what they are told and what is refused are counted.
func TestPagesAreCounted(t *testing.T) {
	t.Parallel()
	c := &counts{open: map[string]int{}, most: map[string]int{}, codes: map[string]int{}}
	r := newRig(t, func(o *site.Options) { o.Meter = c }).serve()
	var pages []*sitetest.Widget
	for _, way := range []string{"socket", "sse"} {
		w := r.page(sitetest.Options{Way: way, Only: true}, nil)
		if _, err := w.Send("hello by "+way, nil, ""); err != nil {
			t.Fatal(err)
		}
		r.answers(w.Session(), way, "hi")
		r.shows(w, "the answer", func(s sitetest.State) bool { _, ok := s.Find("hi"); return ok })
		pages = append(pages, w)
	}
	r.ask(http.MethodPost, "/typing", `{"sessionId":"AAAAAAAAAAAAAAAAAAAAAAAAAA"}`)
	r.ask(http.MethodPost, "/connect", `{}`, "Origin", "https://evil.example.com")
	for range 25 {
		r.connected("", "X-Forwarded-For", "192.0.2.9")
	}
	for _, w := range pages {
		w.Stop()
	}
	r.until("closed", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.open["socket"] == 0 && c.open["stream"] == 0
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most["socket"] != 1 || c.most["stream"] != 1 {
		t.Errorf("open were at most %v", c.most)
	}
	if c.pushed < 4 { // to each its own words, and the answer
		t.Errorf("%d pushes", c.pushed)
	}
	if c.codes["unknown_session"] != 1 || c.codes["origin"] != 1 || c.codes["connects"] != 5 {
		t.Errorf("%v", c.codes)
	}
}
