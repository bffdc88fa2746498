package onsite

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// Two bridges on one Redis serve the two tabs of a visitor, one each, and are started anew one after the other: each tab shows what is said
// through either, once and in order.
func TestRolling(t *testing.T) {
	t.Parallel()
	r := newRig(t, "redis")
	ports := [2]string{r.port, program.FreePort(t)}
	var bridges [2]*program.Process
	var tabs [2]*sitetest.Widget
	storage := &sitetest.Storage{}
	for i, port := range ports {
		bridges[i] = r.start(port)
		tabs[i] = r.page(sitetest.Options{Endpoint: "http://127.0.0.1:" + port + "/pocketping", Pace: 2, Foreign: true}, storage)
		if err := tabs[i].Load(nil); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := tabs[0].Send("begin", nil, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tabs[0].Session() != tabs[1].Session() {
		t.Fatal("the other bridge does not know the session")
	}
	desk := r.telegramDesk()
	if !r.until(func() bool { return desk.times("begin") == 1 }) {
		t.Fatal("the thread does not open")
	}
	var answers, taken []string
	say := func(n int) {
		for i := range n {
			text := fmt.Sprintf("operator %d", len(answers))
			desk.say(text)
			answers = append(answers, text)
			text = fmt.Sprintf("visitor %d", len(answers))
			if _, err := tabs[i%2].Send(text, nil, ""); err == nil {
				taken = append(taken, text)
			}
		}
	}
	say(10)
	for i, port := range ports {
		bridges[i].Exit()
		say(5)
		<-time.After(300 * time.Millisecond)
		bridges[i] = r.start(port)
		say(10)
	}
	for i, w := range tabs {
		if !w.Until(hung, func(s sitetest.State) bool { return contains(s.Texts(), taken) && contains(s.Texts(), answers) }) {
			t.Errorf("tab %d, by %q, shows %q", i, w.Way(), w.State().Texts())
		}
		texts := w.State().Texts()
		if got := of(texts, answers); !slices.Equal(got, answers) {
			t.Errorf("tab %d shows the answers as %q", i, got)
		}
		sorted := slices.Sorted(slices.Values(texts))
		if len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
			t.Errorf("tab %d shows a message twice: %q", i, sorted)
		}
	}
	if !r.until(func() bool {
		for _, text := range taken {
			if desk.times(text) != 1 {
				return false
			}
		}
		return true
	}) {
		t.Error("the platform does not show each message once")
	}
	t.Logf("%d of the visitor's messages taken, %d and %d lost by the widget", len(taken), tabs[0].State().Lost, tabs[1].State().Lost)
}
