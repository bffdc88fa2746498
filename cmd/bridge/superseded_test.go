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

// races has an AI answer a message while somebody else writes, n times: the answer is before their word, or it is refused. rival writes it, and
// returns its event's id.
func races(t *testing.T, r *rig, n int, session, who string, rival func(i int) string) {
	t.Helper()
	if soak.Asked() {
		n = 1000
	}
	before, refused := 0, 0
	for i := range n {
		question := fmt.Sprint("q", i)
		r.must("/api/messages", message(session, question, "question"))
		var ai accepted
		var code int
		var err error
		var answer sync.WaitGroup
		answer.Go(func() { code, ai, err = r.post("/api/events", aiMessage(session, fmt.Sprint("a", i), question)) })
		word := rival(i)
		answer.Wait()
		switch {
		case code == http.StatusOK && ai.ID < word:
			before++
		case code == http.StatusConflict:
			refused++
		default:
			t.Fatalf("%d: the AI's answer %d %+v %v, the word of %s %s", i, code, ai, err, who, word)
		}
	}
	soak.Row(t, "%d races of an AI's answer with the word of %s: %d came before it, %d were refused, none came behind it", n, who, before, refused)
}

// visitorRaces are races with the visitor's next word.
func visitorRaces(t *testing.T, r *rig) {
	t.Helper()
	races(t, r, 100, "s", "the visitor", func(i int) string { return r.must("/api/messages", message("s", fmt.Sprint("w", i), "more")).ID })
}

func TestSupersededRaces(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		t.Parallel()
		r.start()
		visitorRaces(t, r)
	})
}

// The AI asks two bridges on one Redis by turns; a person writes in the app, or in chat, which one of the two hears.
func TestSupersededRacesOfTwo(t *testing.T) {
	t.Parallel()
	r := pair(t)
	visitorRaces(t, r)
	races(t, r, 15, "app", "a person in the app", func(i int) string {
		return r.must("/api/events", fmt.Sprintf(`{"type":"operator_message","operatorName":"Zoe","sourceBridge":"api",
			"message":{"id":"w%d","sessionId":"app","content":"a word","sender":"operator"},"session":{"id":"app","visitorId":"app"}}`, i)).ID
	})
	r.must("/api/messages", message("chat", "v", "hello"))
	r.until("shown", func() bool { return len(r.topics("chat")) == 1 })
	topic := r.topics("chat")[0].ID
	races(t, r, 15, "chat", "a person in chat", func(i int) (id string) {
		text := fmt.Sprintf("word %d.", i)
		r.telegram.Say(r.chat, topic, r.ana.ID, text)
		r.until("told", func() bool {
			told := r.app.of("operator_message")
			if n := len(told); n > 0 && strings.Contains(string(told[n-1].body), text) {
				id = told[n-1].ID
			}
			return id != ""
		})
		return id
	})
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
