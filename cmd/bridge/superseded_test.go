package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// aiMessage is an AI's answer to a message.
func aiMessage(session, id, after string) string {
	return fmt.Sprintf(`{"type":"operator_message","afterMessageId":%q,"message":{"id":%q,"sessionId":%[3]q,"content":"answer %[2]s","sender":"ai"},
		"session":{"id":%[3]q,"visitorId":%[3]q}}`, after, id, session)
}

// races has an AI answer a message while the visitor writes the next one, again and again: the answer is before the visitor's next word,
// or it is refused.
func races(t *testing.T, r *rig) {
	n := 100
	if soak.Asked() {
		n = 1000
	}
	before, refused := 0, 0
	r.must("/api/messages", message("s", "v0", "question"))
	for i := range n {
		var ai, visitor accepted
		var codes [2]int
		var errs [2]error
		var both sync.WaitGroup
		both.Go(func() {
			codes[0], ai, errs[0] = r.post("/api/events", aiMessage("s", fmt.Sprint("a", i), fmt.Sprint("v", i)))
		})
		both.Go(func() {
			codes[1], visitor, errs[1] = r.post("/api/messages", message("s", fmt.Sprint("v", i+1), "question"))
		})
		both.Wait()
		if errs[0] != nil || errs[1] != nil || codes[1] != http.StatusOK {
			t.Fatalf("%v, %v, %d", errs[0], errs[1], codes[1])
		}
		switch {
		case codes[0] == http.StatusOK && ai.ID < visitor.ID:
			before++
		case codes[0] == http.StatusConflict:
			refused++
		default:
			t.Fatalf("%d: the AI's answer %d %+v, the visitor's word %s", i, codes[0], ai, visitor.ID)
		}
	}
	soak.Row(t, "%d races of an AI's answer with the visitor's next word: %d came before it, %d were refused, none came behind it", n, before, refused)
}

func TestSupersededRaces(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		r.start()
		races(t, r)
	})
}

func TestSupersededRacesOfTwo(t *testing.T) {
	t.Parallel()
	races(t, pair(t))
}

// An AI's answer is refused when a person has written in chat since, and a refused one is shown nowhere.
func TestSupersededByAPerson(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		r.start()
		r.must("/api/messages", message("s", "v1", "question"))
		r.until("shown", func() bool { return len(r.topics("s")) == 1 })
		r.must("/api/events", aiMessage("s", "a1", "v1"))
		r.must("/api/events", aiMessage("s", "a2", "a1"))
		topic := r.topics("s")[0].ID
		r.telegram.Say(r.chat, topic, r.ana.ID, "a person's word")
		r.until("told", func() bool { return len(r.app.of("operator_message")) == 1 })
		for _, after := range []string{"v1", "a1", "a2", "unknown"} {
			if code, a, err := r.post("/api/events", aiMessage("s", "a3-"+after, after)); err != nil || code != http.StatusConflict {
				t.Errorf("after %s: %d %+v %v", after, code, a, err)
			}
		}
		if a := r.must("/api/events", aiMessage("s", "a2", "a1")); !a.Duplicate {
			t.Errorf("a repeat of what was accepted: %+v", a)
		}
		r.must("/api/events", aiMessage("s", "a4", r.app.of("operator_message")[0].MessageID))
		shown := func() string { return strings.Join(r.shown(topic), "\n") }
		r.until("shown", func() bool { return strings.Contains(shown(), "answer a4") })
		if text := shown(); strings.Contains(text, "answer a3-") {
			t.Errorf("shown:\n%s", text)
		}
	})
}
