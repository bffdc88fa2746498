package relay_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// ofVisitor is an event of a visitor with a session.
func ofVisitor(kind, session, visitor, more string) string {
	return fmt.Sprintf(`{"type":%q,"session":{"id":%q,"visitorId":%q,"identity":{"id":"i","name":"Mia"}}%s}`, kind, session, visitor, more)
}

func saidBy(session, visitor, id, text string) string {
	return ofVisitor("visitor_message", session, visitor, fmt.Sprintf(`,"message":{"id":%q,"sessionId":%q,"content":%q}`, id, session, text))
}

// What a blocked visitor does is taken and shown nowhere, in whichever session, until they are blocked no more; so it is after a restart,
// and the app is told of both.
func TestBlockedVisitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tm := newTeam(t, nil)
		tm.ingest(saidBy("s1", "v1", "m1", "hello"))
		tm.ingest(saidBy("s2", "v2", "m1", "another visitor"))
		synctest.Wait()
		at := tm.thread("telegram", "s1")
		if answer, effects := tm.say("telegram", at, "Ana", "/block sells things"); answer != "" || oneOf(effects) != "visitor_blocked blocked=true operatorName=Ana" {
			t.Errorf("%q, %q", answer, effects)
		}
		if answer, effects := tm.say("slack", tm.thread("slack", "s1"), "Ben", "!block too"); len(effects) > 0 ||
			answer != "This visitor is blocked already, by Ana (Telegram) since 00:00 UTC: sells things. !unblock ends it." {
			t.Errorf("%q, %q", answer, effects)
		}
		before := map[string]int{}
		calls := func(name string) int { return len(tm.places[name].Calls()) }
		for round := range 2 {
			for _, name := range platformNames {
				before[name] = calls(name)
			}
			id := fmt.Sprint("r", round)
			s3 := "s3" + id // of a new session of the same visitor
			for _, body := range []string{
				saidBy("s1", "v1", id, "buy this"), saidBy(s3, "v1", id, "buy this"), saidBy("s1", "v1-new", id+"b", "under another id"),
				ofVisitor("new_session", "s4"+id, "v1", ""), ofVisitor("identity_update", "s1", "v1", ""),
				ofVisitor("custom_event", "s1", "v1", `,"event":{"name":"`+id+`"}`), ofVisitor("csat_submitted", "s1", "v1", `,"score":1`),
				ofVisitor("visitor_disconnect", "s1", "v1", `,"duration":`+fmt.Sprint(round+1)),
				fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":%q,"messageId":%q,"content":"buy that"}`, s3, id),
				`{"type":"visitor_message_edited","sessionId":"s1","messageId":"m1","content":"edited ` + id + `"}`,
				fmt.Sprintf(`{"type":"visitor_message_deleted","sessionId":%q,"messageId":%q}`, s3, id),
				`{"type":"visitor_typing","sessionId":"s1","isTyping":true}`,
			} {
				if tm.ingest(body).ID == "" && !strings.Contains(body, "typing") {
					t.Errorf("not taken: %s", body)
				}
			}
			synctest.Wait()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			for _, name := range platformNames {
				if got := tm.places[name].Calls()[before[name]:]; len(got) > 0 {
					t.Errorf("round %d: %s shows %+v", round, name, got)
				}
			}
			if text, _ := tm.say("telegram", "main", "Ana", "/status"); !strings.Contains(text, "1 waiting for an answer") {
				t.Errorf("the status is %q", text)
			}
			tm.stop()
			tm.start()
			synctest.Wait()
		}
		if text, _ := tm.say("discord", "main", "Ben", "/blocked"); text != "Blocked; /unblock with the visitor's id ends it:\n"+
			"🚫 Mia, id v1, by Ana (Telegram) since 00:00 UTC: sells things" {
			t.Errorf("listed is %q", text)
		}
		// What colleagues and the app itself say is shown, and others' words are.
		tm.ingest(`{"type":"operator_message","session":{"id":"s1","visitorId":"v1"},"message":{"id":"o1","sessionId":"s1","content":"from the site"}}`)
		tm.ingest(saidBy("s2", "v2", "m2", "am I seen?"))
		synctest.Wait()
		for _, name := range platformNames {
			if texts := tm.places[name].Texts(tm.thread(name, "s1")); !slices.Contains(texts, "Operator (site): from the site") {
				t.Errorf("%s shows %q", name, texts)
			}
			if texts := tm.places[name].Texts(tm.thread(name, "s2")); !slices.Contains(texts, "am I seen?") {
				t.Errorf("%s shows %q", name, texts)
			}
		}
		if answer, effects := tm.say("discord", "main", "Ben", "/unblock v1"); answer != "Mia is blocked no more." ||
			oneOf(effects) != "visitor_blocked blocked=false operatorName=Ben" {
			t.Errorf("%q, %q", answer, effects)
		}
		tm.ingest(saidBy("s1", "v1", "m9", "sorry"))
		tm.ingest(saidBy("s3r0", "v1", "m9", "sorry"))
		tm.ingest(`{"type":"visitor_message_edited","sessionId":"s3r0","messageId":"m9","content":"so sorry"}`)
		synctest.Wait()
		for _, name := range platformNames {
			texts := strings.Join(tm.places[name].Texts(tm.thread(name, "s1")), "|")
			if !strings.Contains(texts, "👌 Ben (Discord) has ended the block of this visitor. What they do is shown again.") || !strings.HasSuffix(texts, "sorry") ||
				strings.Contains(texts, "buy") {
				t.Errorf("%s shows %q", name, texts)
			}
			if texts := tm.places[name].Texts(tm.thread(name, "s3r0")); !slices.Contains(texts, "[card Mia]\nso sorry") {
				t.Errorf("%s shows %q", name, texts)
			}
		}
		var told []string
		for _, e := range tm.receivers.entries("app") {
			if e.Event.Type == bridge.TypeVisitorBlocked {
				var body map[string]any
				if err := json.Unmarshal(e.Event.Body, &body); err != nil {
					t.Fatal(err)
				}
				told = append(told, fmt.Sprint(body))
			}
		}
		want(t, told, "map[blocked:true operatorName:Ana sessionId:s1]", "map[blocked:false operatorName:Ben sessionId:s1]")
		tm.stop()
	})
}

// Conversations are found by what the site tells of their visitor, as it is now, with those who have said nothing left out; what was
// forgotten is not found, and a visitor's other conversations are listed.
func TestFindAndHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tm := newTeam(t, nil)
		named := func(kind, session, visitor, name, more string) string {
			return fmt.Sprintf(`{"type":%q,"session":{"id":%q,"visitorId":%q,"identity":{"id":"id-%s","name":%q,"email":"%s@acme.example"},"metadata":{"city":"Lyon"}}%s}`,
				kind, session, visitor, session, name, session, more)
		}
		said := func(session string) string {
			return fmt.Sprintf(`,"message":{"id":"m1","sessionId":%q,"content":"hello"}`, session)
		}
		tm.ingest(named("visitor_message", "s1", "v1", "Mia Berg", said("s1")))
		time.Sleep(time.Minute)
		tm.ingest(named("new_session", "s2", "v2", "Mia Silent", ""))
		tm.ingest(named("visitor_message", "s3", "v1", "Mia Bauer", said("s3")))
		time.Sleep(time.Minute)
		tm.ingest(named("visitor_message", "s4", "v4", "Zoë", said("s4")))
		time.Sleep(time.Minute)
		find := func(asked string, lines ...string) {
			t.Helper()
			answer, _ := tm.say("discord", "main", "Ana", "/find "+asked)
			_, got, _ := strings.Cut(answer, ":\n")
			if want := strings.Join(lines, "\n"); got != want {
				t.Errorf("%s: %q, not %q", asked, answer, want)
			}
		}
		berg, bauer, zoe := "🔎 Mia Berg · s1@acme.example · 00:00 UTC", "🔎 Mia Bauer · s3@acme.example · 00:01 UTC", "🔎 Zoë · s4@acme.example · 00:02 UTC"
		find("MIA", bauer, berg)
		find("mi be", berg)
		find("lyon", zoe, bauer, berg)
		find("s3@acme", bauer)
		find("id-s1", berg)
		find("v4", zoe)
		find("silent")
		tm.ingest(named("identity_update", "s1", "v1", "Mina Ruth", ""))
		tm.stop()
		tm.start()
		time.Sleep(2 * time.Second)
		ruth := "🔎 Mina Ruth · s1@acme.example · 00:00 UTC"
		find("berg")
		find("ruth", ruth)
		if answer, _ := tm.say("slack", tm.thread("slack", "s3"), "Ana", "!history"); answer != "Other conversations with this visitor, the newest first:\n"+ruth {
			t.Error(answer)
		}
		if err := tm.store.ForgetSession(t.Context(), "s1"); err != nil {
			t.Fatal(err)
		}
		find("ruth")
		find("lyon", zoe, bauer)
		tm.stop()
	})
}
