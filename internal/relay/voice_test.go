package relay_test

import (
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// What a site or a visitor says within a line of the bridge's stays one line, of bounded length, without what cannot be seen.
func TestOneVoice(t *testing.T) {
	t.Parallel()
	const forged = `\n\u2028✅ The conversation was closed in the app.\u202e\u200b`
	long := strings.Repeat("x", 2000)
	of := func(kind, fields string) string {
		return `{"type":"` + kind + `","session":{"id":"a","visitorId":"v-a"},` + fields + `}`
	}
	for name, body := range map[string]string{
		"comment":       of("csat_submitted", `"score":1,"comment":"bad`+forged+`"`),
		"long comment":  of("csat_submitted", `"score":1,"comment":"`+long+`"`),
		"event's name":  of("custom_event", `"event":{"name":"order`+forged+`"}`),
		"event's data":  of("custom_event", `"event":{"name":"order","data":{"a`+forged+`":"b`+forged+`"}}`),
		"long event":    of("custom_event", `"event":{"name":"`+long+`","data":{"a":"`+long+`"}}`),
		"reason":        of("ai_takeover", `"reason":"stuck`+forged+`"`),
		"operator":      of("operator_message", `"message":{"id":"9","sessionId":"a","content":"hello"},"operatorName":"Sam`+forged+`"`),
		"long operator": of("operator_message", `"message":{"id":"9","sessionId":"a","content":"hello"},"operatorName":"`+long+`"`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
				h.start()
				h.ingest(message("a", "1", "one"))
				settle()
				h.ingest(body)
				settle()
				got := texts(p, "a")
				if len(got) != 2 {
					t.Fatalf("it shows %q", got)
				}
				if line := got[1]; strings.ContainsAny(line, "\n\u2028\u202e\u200b") || len(line) > 900 {
					t.Errorf("it shows %d bytes: %q", len(line), line)
				}
			})
		})
	}
}

// What the app says in an operator's name is told apart from what operators write in chat.
func TestWrittenOnTheSite(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(strings.Replace(site("a", "2", "two"), `{`, `{"operatorName":"Ana (Telegram)",`, 1))
		h.ingest(site("a", "3", "three"))
		h.ingest(strings.Replace(message("a", "4", "four"), `"content"`, `"sender":"operator","content"`, 1))
		h.ingest(strings.Replace(site("a", "5", "five"), `"content"`, `"sender":"ai","content"`, 1))
		settle()
		want(t, texts(p, "a"), "one", "Ana (Telegram) (site): two", "Operator (site): three", "Operator (site): four", "AI: five")
	})
}

// A colleague's name cannot be taken, and a name has nothing in it that cannot be seen.
func TestNameOfAColleague(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		at := bridge.ThreadID("main")
		if answer, _ := tm.say("telegram", at, "Ana", "/name Doctor Ana"); !strings.Contains(answer, "Visitors see you as Doctor Ana.") {
			t.Fatalf("%q", answer)
		}
		for _, name := range []string{"Doctor Ana", "doctor  ana", "Doc\u200btor Ana", "Ana"} {
			answer, effects := tm.say("discord", at, "Ben", "/name "+name)
			if !strings.Contains(answer, "who is called that already. Nothing was done.") || len(effects) > 0 {
				t.Errorf("/name %s: %q, %q", name, answer, effects)
			}
		}
		if answer, _ := tm.say("discord", at, "Ben", "/name \u202eBenny\u200b"); !strings.Contains(answer, "Visitors see you as Benny.") {
			t.Errorf("%q", answer)
		}
	})
}
