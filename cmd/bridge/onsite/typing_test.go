package onsite

import (
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// Of two bridges on one Redis one hears the operators. A page of either is shown that one of them types.
func TestTypingAtTheOtherBridge(t *testing.T) {
	t.Parallel()
	r := newRig(t, "redis")
	var tabs []*sitetest.Widget
	storage := &sitetest.Storage{}
	for _, port := range []string{r.port, program.FreePort(t)} {
		r.start(port)
		w := r.page(sitetest.Options{Endpoint: "http://127.0.0.1:" + port + "/pocketping", Foreign: true}, storage)
		if err := w.Load(nil); err != nil {
			t.Fatal(err)
		}
		tabs = append(tabs, w)
	}
	if _, err := tabs[0].Send("is anyone there?", nil, ""); err != nil {
		t.Fatal(err)
	}
	desk := r.discordDesk()
	if !r.until(func() bool { return desk.times("is anyone there?") == 1 }) {
		t.Fatal("the thread does not open")
	}
	for i, w := range tabs {
		// It is never stored: who does not listen at that moment is not told, and whoever types goes on doing so.
		if !r.until(func() bool { desk.types(); return w.State().Dots }) {
			t.Errorf("tab %d, by %q, is not shown that somebody types", i, w.Way())
		}
	}
}
