package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// handOver is a team of two with a visitor, whom Ana on Telegram asks Ben on Discord to take care of.
func handOver(t *testing.T, ask string) *team {
	t.Helper()
	tm := newTeam(t, nil)
	tm.ingest(message("s", "m1", "hello"))
	synctest.Wait()
	tm.say("discord", "main", "Ben", "/offline") // the bridge knows him from now on
	tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/claim")
	answer, effects := tm.say("telegram", tm.thread("telegram", "s"), "Ana", ask)
	if answer != "" || len(effects) > 0 {
		t.Errorf("%s: %q, %q", ask, answer, effects)
	}
	const text = "🤝 Ana (Telegram) asks Ben to take care of this visitor. !ok or a reaction to this takes it."
	for _, name := range platformNames {
		texts := tm.places[name].Texts(tm.thread(name, "s"))
		want := text
		if name == "discord" {
			want = "@u-Ben " + text
		}
		if texts[len(texts)-1] != want {
			t.Errorf("%s shows %q", name, texts)
		}
	}
	return tm
}

// A colleague is asked to take a visitor over and is called by name; they take it by /ok, by a reaction or by /claim's other form, and
// nobody else does; the app is told who takes care of the visitor.
func TestConversationIsHandedOver(t *testing.T) {
	t.Parallel()
	for _, ask := range []string{"/assign @Ben", "/claim Ben", "/assign be", "!assign <@u-Ben>"} {
		for _, by := range []string{"/ok", "reaction"} {
			synctest.Test(t, func(t *testing.T) {
				if strings.Contains(ask, "<@") && by == "/ok" {
					return // that form is Discord's
				}
				if strings.Contains(ask, "<@") {
					ask = "/assign BEN"
				}
				tm := handOver(t, ask)
				at := tm.thread("discord", "s")
				if answer, effects := tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/ok"); len(effects) > 0 ||
					answer != "Ben is asked to take care of this visitor, and not you. Nothing was done." {
					t.Errorf("%q, %q", answer, effects)
				}
				tm.stop()
				tm.start() // what was asked is not forgotten
				synctest.Wait()
				var effects []string
				if by == "/ok" {
					_, effects = tm.say("discord", at, "Ben", "/ok")
				} else {
					shown := tm.places["discord"].Shown(at)
					i := slices.IndexFunc(shown, func(s bridgetest.Shown) bool { return strings.Contains(s.Text, "🤝") })
					before := tm.last()
					for _, who := range []string{"Eve", "Ben"} {
						tm.places["discord"].Tell(bridge.Update{
							Kind: bridge.UpdateReaction, Message: shown[i].ID, Thread: at, Author: bridge.Author{ID: "u-" + who, Name: who},
						})
					}
					synctest.Wait()
					effects = tm.effects(before)
				}
				if oneOf(effects) != "conversation_assigned operatorName=Ben" {
					t.Errorf("%s, %s: %q", ask, by, effects)
				}
				for _, name := range platformNames {
					if texts := tm.places[name].Texts(tm.thread(name, "s")); !slices.Contains(texts, "✋ Ben (Discord) takes care of this visitor.") {
						t.Errorf("%s shows %q", name, texts)
					}
				}
				// Ana answers all the same, and both are told, once.
				for i := range 3 {
					if _, effects := tm.say("telegram", tm.thread("telegram", "s"), "Ana", fmt.Sprint("answer ", i)); !strings.Contains(oneOf(effects), "operator_message content=answer") {
						t.Errorf("%q", effects)
					}
				}
				tm.say("discord", at, "Ben", "my answer")
				for _, name := range platformNames {
					n := 0
					for _, text := range tm.places[name].Texts(tm.thread(name, "s")) {
						if strings.HasPrefix(text, "ℹ️") {
							n++
							if text != "ℹ️ Ana (Telegram) has answered; Ben takes care of this visitor." {
								t.Error(text)
							}
						}
					}
					if n != 1 {
						t.Errorf("%s says it %d times", name, n)
					}
				}
				tm.stop()
			})
		}
	}
}

// Who wants to be reminded is called in the thread when the time has come, once, also when the bridge was started anew in between or was
// away at the time; and where the thread was closed meanwhile.
func TestReminders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tm := newTeam(t, nil)
		tm.ingest(message("s", "m1", "hello"))
		tm.ingest(message("other", "m1", "hello"))
		synctest.Wait()
		at := tm.thread("slack", "s")
		reminded := func(platform, session string) []string {
			return slices.DeleteFunc(tm.places[platform].Texts(tm.thread(platform, session)), func(text string) bool { return !strings.Contains(text, "⏰ You wanted") })
		}
		begin := time.Now()
		tm.say("slack", at, "Ana", "!remind 2h call *her* back")
		tm.say("discord", tm.thread("discord", "other"), "Ben", "/remind 1h 30m")
		tm.say("telegram", tm.thread("telegram", "other"), "Ana", "/remind 3h")
		time.Sleep(time.Hour)
		tm.stop()
		tm.start()
		time.Sleep(29 * time.Minute)
		if got := slices.Concat(reminded("slack", "s"), reminded("discord", "other")); len(got) > 0 {
			t.Errorf("after %s: %q", time.Since(begin), got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want(t, reminded("discord", "other"), "@u-Ben ⏰ You wanted to be reminded of this visitor")
		tm.say("slack", at, "Ben", "!close")
		tm.stop()
		time.Sleep(time.Hour) // it is away when the time comes
		tm.start()
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, reminded("slack", "s"), "@u-Ana ⏰ You wanted to be reminded of this visitor: call *her* back")
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		want(t, reminded("telegram", "other"), "@u-Ana ⏰ You wanted to be reminded of this visitor")
		for _, where := range [][2]string{{"telegram", "s"}, {"discord", "s"}, {"slack", "other"}} {
			if got := reminded(where[0], where[1]); len(got) > 0 {
				t.Errorf("%v: %q", where, got)
			}
		}
		if got := len(reminded("slack", "s")) + len(reminded("discord", "other")); got != 2 {
			t.Errorf("%d reminders, not 2", got)
		}
		tm.stop()
	})
}
