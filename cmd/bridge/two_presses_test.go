package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// Two operators press the same button at once, and one press comes to one bridge and the next to another on the same Redis: one of them does it,
// and the other is told who did; the visitor is sent a draft once, and app servers are told of one claim.
func TestPressesAtTwoBridges(t *testing.T) {
	t.Parallel()
	n := 8
	if soak.Asked() {
		n = 50
	}
	r := newRig(t)
	stores()["redis"](t, r.env)
	f := r.withWebhook()
	var gate sync.RWMutex // held: nothing comes to the bridges
	f.before = func(n int32) {
		gate.RLock()
		defer gate.RUnlock()
		if all := r.processes(); len(all) > 1 { // by turns
			f.target.Store(all[n%2])
		}
	}
	r.hooked(f)
	r.others = []*proc{r.launch()}
	ben := r.telegram.AddUser(telegram.User{FirstName: "Ben"})
	// both lets both press the newest button of a session whose data begins so, and returns how they are answered.
	both := func(session, data string) (one, other string) {
		var m telegram.Message
		r.until("a button "+data, func() bool {
			for _, topic := range r.topics(session) {
				for _, m = range slices.Backward(r.telegram.Messages(r.chat, topic.ID)) {
					for _, button := range slices.Concat(m.Buttons...) {
						if whole, ok := strings.CutPrefix(button.Data, data); ok {
							data += whole
							return true
						}
					}
				}
			}
			return false
		})
		gate.Lock()
		ids := []string{r.telegram.Press(m, r.ana.ID, data).ID, r.telegram.Press(m, ben.ID, data).ID}
		gate.Unlock()
		answers := map[string]string{}
		r.until("both answered", func() bool {
			for _, p := range r.telegram.Presses() {
				if p.Answered && slices.Contains(ids, p.ID) {
					answers[p.ID] = p.Text
				}
			}
			return len(answers) == 2
		})
		return answers[ids[0]], answers[ids[1]]
	}
	check := func(session, data, loser string) {
		one, other := both(session, data)
		if strings.Contains(one, loser) == strings.Contains(other, loser) {
			t.Errorf("%s, %s: answered with %q and %q", session, data, one, other)
		}
	}
	for i := range n {
		session := fmt.Sprint("mia-", i)
		r.must("/api/messages", message(session, "m1", "hello"))
		check(session, "claim", "takes care of this visitor, since ")
		r.propose(session, "d1", "a draft")
		check(session, "send:", "has sent this draft already.")
	}
	finals := 0
	for i := range n { // what came before it in a session is told before it
		topics := r.topics(fmt.Sprint("mia-", i))
		r.telegram.Say(r.chat, topics[0].ID, r.ana.ID, "the last answer")
	}
	counts := map[string]int{}
	r.until("told of all", func() bool {
		clear(counts)
		finals = 0
		told := map[string]bool{} // by its id: a callback may come twice
		for _, kind := range []string{"operator_message", "conversation_assigned", "draft_sent"} {
			for _, e := range r.app.of(kind) {
				if told[e.ID] {
					continue
				}
				if told[e.ID] = true; strings.Contains(string(e.body), "the last answer") {
					finals++
					continue
				}
				counts[kind]++
			}
		}
		return finals == n
	})
	for kind, times := range counts {
		if times != n {
			t.Errorf("%s is told %d times, not %d", kind, times, n)
		}
	}
	if len(counts) != 3 {
		t.Errorf("told of %v", counts)
	}
	soak.Row(t, "%d times two operators press a claim and a draft at two bridges on one Redis: one does it, the other is told", n)
}
