package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// Two operators on two platforms press or type the same at once: one of them does it, and the other is told who did. The platforms' inboxes are
// read beside each other, as two bridges read them: what decides is the store.
func TestRacesOfTwoOperators(t *testing.T) {
	t.Parallel()
	n := 15
	if soak.Asked() {
		n = 1000
	}
	inTeam(t, nil, func(t *testing.T, tm *team) {
		for i := range n {
			session := fmt.Sprint("s", i)
			tm.ingest(message(session, "m1", "hello"))
			if _, err := tm.relay.Propose(t.Context(), session, bridge.Draft{ID: "d1", Content: "a draft", Author: "Bot"}, "", ""); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			draft := bridge.Digest([]byte(session + "\nd1"))
			for _, race := range []struct{ press, did, other string }{
				{"claim", "✋ %s takes care of this visitor.", "%s takes care of this visitor, since "},
				{"send:" + draft, "📤 %s has sent the draft by Bot: a draft", "%s has sent this draft already."},
				{"close", "✅ %s has closed the conversation.", "The conversation is closed already, by %s "},
			} {
				tm.race(session, race.press, race.did, race.other, i)
			}
			if sent := of(tm, session, bridge.TypeOperatorMessage); sent != 1 {
				t.Errorf("%s: the draft was sent %d times", session, sent)
			}
		}
	})
	soak.Row(t, "%d races of two operators for a claim, a draft and a close each: one winner, and the other is told", n)
}

// race lets Ana and Ben press the same on two platforms.
func (tm *team) race(session, press, did, other string, turn int) {
	tm.t.Helper()
	who := map[string]string{"Ana": platformNames[turn%3], "Ben": platformNames[(turn+1)%3]}
	pressed := map[string]bridge.Update{}
	for name, platform := range who {
		u := tm.update(tm.thread(platform, session), name, "", "")
		u.Kind, u.Slash, u.Press = bridge.UpdatePress, true, press
		pressed[name] = u
	}
	for name, u := range pressed { // in whatever order
		tm.places[who[name]].Tell(u)
	}
	time.Sleep(time.Second)
	synctest.Wait()
	var winners []string
	for name, platform := range who {
		title := name + " (" + bridge.Title(platform) + ")"
		everywhere := 0
		for _, p := range platformNames {
			if slices.Contains(tm.places[p].Texts(tm.thread(p, session)), fmt.Sprintf(did, title)) {
				everywhere++
			}
		}
		switch everywhere {
		case len(platformNames):
			winners = append(winners, name)
		case 0:
		default:
			tm.t.Errorf("%s, %s: %d platforms show that %s has done it", session, press, everywhere, name)
		}
	}
	if len(winners) != 1 {
		tm.t.Errorf("%s, %s: done by %q", session, press, winners)
		return
	}
	loser := map[string]string{"Ana": "Ben", "Ben": "Ana"}[winners[0]]
	answer := ""
	for _, s := range tm.places[who[loser]].Shown(pressed[loser].Thread) {
		if s.ReplyTo == pressed[loser].Message {
			answer += s.Text
		}
	}
	if told := strings.TrimSuffix(fmt.Sprintf(other, winners[0]), " "); !strings.HasPrefix(strings.ReplaceAll(answer, " ("+bridge.Title(who[winners[0]])+")", ""), told) {
		tm.t.Errorf("%s, %s: %s is told %q, not %q", session, press, loser, answer, told)
	}
}

// of counts a session's events of a type.
func of(tm *team, session string, t bridge.Type) (n int) {
	for _, e := range tm.of(t) {
		if e.Event.Session == session {
			n++
		}
	}
	return n
}
