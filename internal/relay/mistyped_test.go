package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pocketping/bridge/internal/bridge"
)

// A word that is no command is answered in one line on every platform, with either mark, in the platform's own form or as text; in a
// visitor's thread it is held besides. What is no word, or another bot's, is talk.
func TestMistypedWordsEverywhere(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		tm.say("discord", "main", "Ana", "!canned add hours We are here from 9 to 18.")
		for _, platform := range platformNames {
			mark := map[bool]string{true: "!", false: "/"}[platform == "slack"]
			unknown := fmt.Sprintf("I do not know %[1]sonlien. Did you mean %[1]sonline? %[1]shelp lists all commands.", mark)
			held := "❓ Not sent to the visitor: there is no command %sonlien. Did you mean " + mark + "online?"
			for _, c := range []struct {
				typed           string
				isCommand       bool // in the platform's own form
				main, inSession string
			}{
				{"!onlien", false, unknown, fmt.Sprintf(held, "!")},
				{"/onlien", false, unknown, fmt.Sprintf(held, "/")},
				{"/onlien", true, unknown, fmt.Sprintf(held, "/")},
				{"! onlien please", false, unknown, fmt.Sprintf(held, "!")},
				{"!hours", false, asOn(platform, "/hours is about a visitor: write it in the visitor's thread."), "Sent to the visitor: We are here from 9 to 18."},
				{"!!", false, "", ""},
				{"/usr/bin", false, "", ""},
				{"/onlien@other", false, "", ""},
				{"hello", false, "", ""},
			} {
				for place, want := range map[bridge.ThreadID]string{"main": c.main, tm.thread(platform, "s"): c.inSession} {
					u := tm.update(place, "Ana", c.typed, "")
					if !c.isCommand {
						u.Command = nil
					}
					answer, effects := tm.do(platform, u)
					synctest.Wait()
					if !strings.HasPrefix(answer, want) || want == "" && answer != "" || strings.Contains(answer, "\n") {
						t.Errorf("%s, %s, %q: answered %q, want %q", platform, place, c.typed, answer, want)
					}
					if place == "main" && len(effects) > 0 {
						t.Errorf("%s, main, %q: %q", platform, c.typed, effects)
					}
				}
			}
		}
	})
}
