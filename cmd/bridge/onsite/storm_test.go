package onsite

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// While a visitor with two tabs and an operator write two hundred messages, the bridge is killed, ended and started again, after 0.3 seconds
// and after four. Nothing is lost that was answered, nothing is shown twice, and the order of each side is kept; what a page says while
// nobody listens is the widget's to lose, and is counted.
func TestStorm(t *testing.T) {
	t.Parallel()
	type setting struct {
		store, way string
		clock      time.Duration
	}
	cases := []setting{{"bolt", "socket", 0}, {"redis", "poll", 10 * time.Minute}}
	if soak.Asked() {
		cases = append(cases, setting{"redis", "socket", 10 * time.Minute}, setting{"bolt", "sse", 0}, setting{"bolt", "poll", -10 * time.Minute},
			setting{"redis", "sse", -10 * time.Minute})
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s %s clock=%s", c.store, c.way, c.clock), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.store)
			running := r.start(r.port)
			storage := &sitetest.Storage{}
			page := r.page(sitetest.Options{Way: c.way, Clock: c.clock, Pace: 2, Foreign: true}, storage)
			if err := page.Load(nil); err != nil {
				t.Fatal(err)
			}
			if _, err := page.Send("begin", nil, ""); err != nil {
				t.Fatal(err)
			}
			other := r.page(sitetest.Options{Way: c.way, Clock: c.clock, Pace: 2, Shut: true}, storage)
			if err := other.Load(nil); err != nil {
				t.Fatal(err)
			}
			desk := r.telegramDesk()
			if !r.until(func() bool { return desk.times("begin") == 1 }) {
				t.Fatal("the thread does not open")
			}

			const each = 100
			taken := []string{"begin"}
			var answers []string
			var work sync.WaitGroup
			gate := make([]chan bool, 4) // how far the visitor is, in quarters
			for i := range gate {
				gate[i] = make(chan bool)
			}
			work.Go(func() {
				for i := range each {
					if i%25 == 0 {
						close(gate[i/25])
					}
					text := fmt.Sprintf("visitor %d", i)
					if _, err := page.Send(text, nil, ""); err == nil {
						taken = append(taken, text)
					}
					<-time.After(60 * time.Millisecond)
				}
			})
			work.Go(func() {
				for i := range each {
					text := fmt.Sprintf("operator %d", i)
					desk.say(text)
					answers = append(answers, text)
					<-time.After(60 * time.Millisecond)
				}
			})
			<-gate[1]
			running.Kill()
			running = r.start(r.port)
			<-gate[2]
			running.Exit()
			<-time.After(300 * time.Millisecond)
			running = r.start(r.port)
			<-gate[3]
			running.Kill()
			<-time.After(4 * time.Second)
			r.start(r.port)
			work.Wait()
			if _, err := page.Send("end", nil, ""); err == nil {
				taken = append(taken, "end")
			}

			for name, w := range map[string]*sitetest.Widget{"the page": page, "the other tab": other} {
				whole := func(s sitetest.State) bool {
					texts := s.Texts()
					return contains(texts, taken) && contains(texts, answers)
				}
				if !w.Until(hung, whole) {
					t.Errorf("%s, by %q, does not show all of what was taken: %q", name, w.Way(), w.State().Texts())
				}
				texts := slices.Sorted(slices.Values(w.State().Texts()))
				if len(slices.Compact(slices.Clone(texts))) != len(texts) {
					t.Errorf("%s shows a message twice: %q", name, texts)
				}
				if got := of(w.State().Texts(), answers); !slices.Equal(got, answers) {
					t.Errorf("%s shows the answers as %q", name, got)
				}
				if got := of(w.State().Texts(), taken); name == "the page" && !slices.Equal(got, taken) {
					t.Errorf("%s shows what was taken as %q", name, got)
				}
			}
			if !r.until(func() bool { return desk.times(taken[len(taken)-1]) >= 1 }) {
				t.Error("the platform does not show the last message")
			}
			var shown []string
			for _, text := range taken {
				if desk.times(text) > 0 {
					shown = append(shown, text)
				}
			}
			if !slices.Equal(shown, taken) {
				t.Errorf("the platform shows %q of %q", shown, taken)
			}
			t.Logf("%d of the visitor's messages were taken, %d lost by the widget; it ends by %q", len(taken), page.State().Lost, page.Way())
		})
	}
}

// contains says whether all are among some texts.
func contains(texts, all []string) bool {
	have := map[string]bool{}
	for _, text := range texts {
		have[text] = true
	}
	for _, text := range all {
		if !have[text] {
			return false
		}
	}
	return true
}

// of are those of some texts that are among others, in their order.
func of(texts, among []string) (out []string) {
	for _, text := range texts {
		if slices.Contains(among, text) {
			out = append(out, text)
		}
	}
	return out
}
