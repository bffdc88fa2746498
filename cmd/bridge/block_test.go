package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
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

// A visitor is handed over, and somebody reminded, through two bridges of which the one that heard of it is killed.
func TestHandedOverThroughTwoBridges(t *testing.T) {
	t.Parallel()
	r := pair(t)
	ben := r.telegram.AddUser(telegram.User{FirstName: "Ben", LastName: "Berg", Username: "bbb"})
	r.must("/api/messages", message("mia", "m1", "hello"))
	r.until("open", func() bool { return len(r.topics("mia")) == 1 })
	topic := r.topics("mia")[0].ID
	says := func(text string) func() bool {
		return func() bool {
			return slices.ContainsFunc(r.telegram.Messages(r.chat, topic), func(m telegram.Message) bool { return m.Own && strings.Contains(m.Text, text) })
		}
	}
	r.telegram.Say(r.chat, topic, ben.ID, "/online")
	r.until("Ben is known", says("You are online."))
	r.telegram.Say(r.chat, topic, r.ana.ID, "/remind 1m call back")
	r.until("to be reminded", says("You are reminded here at "))
	r.telegram.Say(r.chat, topic, r.ana.ID, "/assign @bbb")
	r.until("asked", says("🤝 Ana (Telegram) asks Ben Berg to take care of this visitor."))
	r.process().Kill()
	r.replace(0)
	r.telegram.Say(r.chat, topic, r.ana.ID, "/ok")
	r.until("refused", says("Ben Berg is asked to take care of this visitor, and not you."))
	r.telegram.Say(r.chat, topic, ben.ID, "/ok")
	r.until("taken", says("✋ Ben Berg (Telegram) takes care of this visitor."))
	r.until("told", func() bool { return len(r.app.of("conversation_assigned")) == 1 })
	body := string(r.app.of("conversation_assigned")[0].body)
	if want := fmt.Sprintf(`"operatorId":"telegram:%d","operatorName":"Ben Berg"`, ben.ID); !strings.Contains(body, want) {
		t.Errorf("the app is told %s", body)
	}
	r.until("reminded", says("⏰ You wanted to be reminded of this visitor: call back"))
}
