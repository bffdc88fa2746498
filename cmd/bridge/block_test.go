package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A block counts at both of two bridges and survives the death of one: what the visitor does is taken and not shown, until the block ends.
func TestBlockedThroughTwoBridges(t *testing.T) {
	t.Parallel()
	r := pair(t)
	r.must("/api/messages", message("mia", "m1", "hello"))
	r.until("open", func() bool { return len(r.topics("mia")) == 1 })
	topic := r.topics("mia")[0].ID
	block := func(command string) {
		t.Helper()
		streams := []*listener{r.listenTo(r.processes()[0], ""), r.listenTo(r.processes()[1], "")}
		r.telegram.Say(r.chat, topic, r.ana.ID, command)
		for _, l := range streams {
			r.until("told: "+command, func() bool { return strings.Contains(l.heard(), `"type":"visitor_blocked"`) })
		}
	}
	block("/block sells things")
	for i := range 20 {
		r.must("/api/messages", message("mia", fmt.Sprint("h", i), "hidden"))
	}
	r.process().Kill()
	r.replace(0)
	for i := range 10 {
		r.must("/api/messages", message("mia", fmt.Sprint("k", i), "hidden"))
	}
	block("/unblock")
	r.must("/api/messages", message("mia", "m2", "sorry"))
	r.until("shown again", func() bool { return slices.Contains(r.shown(topic), "sorry") })
	for _, text := range r.shown(topic) {
		if strings.Contains(text, "hidden") {
			t.Errorf("the thread shows %q", r.shown(topic))
			break
		}
	}
	r.until("the app is told", func() bool { return len(r.app.of("visitor_blocked")) == 2 })
}
