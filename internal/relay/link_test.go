package relay_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
)

// code asks for a link's code.
func (tm *team) code(platform, author string) string {
	tm.t.Helper()
	answer, _ := tm.say(platform, "main", author, "/link")
	words := strings.Fields(answer)
	if len(words) < 3 || words[1] != "/link" {
		tm.t.Fatalf("no code: %q", answer)
	}
	return words[2]
}

// says fails the test unless the bridge answers what an author writes with a text that begins so.
func (tm *team) says(platform, author, text, want string) {
	tm.t.Helper()
	if answer, _ := tm.say(platform, "main", author, text); !strings.HasPrefix(answer, want) {
		tm.t.Errorf("%s is answered to %s: %q, want %q", author, text, answer, want)
	}
}

// said fails the test unless this is what the bridge said last in a platform's main place, and whom it called by name.
func (tm *team) said(platform, want string, pings ...string) {
	tm.t.Helper()
	all := tm.places[platform].Shown("main")
	if len(all) == 0 {
		tm.t.Errorf("%s shows nothing", platform)
		return
	}
	if last := all[len(all)-1]; !strings.Contains(last.Text, want) || !slices.Equal(last.Pings, pings) {
		tm.t.Errorf("%s shows %q to %q, want %q to %q", platform, last.Text, last.Pings, want, pings)
	}
}

// persons are the accounts that are joined, a person each.
func (tm *team) persons() []string {
	tm.t.Helper()
	all, err := tm.people.People(tm.t.Context())
	if err != nil {
		tm.t.Fatal(err)
	}
	var out []string
	for _, p := range all {
		var keys []string
		for _, a := range p.Accounts {
			keys = append(keys, a.Key())
		}
		if len(keys) > 1 {
			out = append(out, strings.Join(keys, "+"))
		}
	}
	return out
}

// A code that stands in the open group is used by somebody else there: nothing is joined unless the one who asked for it agrees.
func TestStolenLinkCode(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		code := tm.code("telegram", "Ana")
		_, effects := tm.say("discord", "main", "Eve", "/link "+code)
		want(t, effects)
		want(t, tm.persons())
		tm.said("telegram", "Eve (Discord) wants to be linked with you: /link yes confirms, within ten minutes.", "u-Ana")

		// Whose code it was then takes another one, and Eve's request is no more.
		next := tm.code("telegram", "Ana")
		tm.says("discord", "Ben", "/link "+next, "Ana (Telegram) is asked")
		tm.says("telegram", "Ana", "/link yes", "You are one person now: Ana on Telegram, Ben on Discord.")
		want(t, tm.persons(), "telegram:u-Ana+discord:u-Ben")
	})
}

// Nobody confirms but the account that asked for the code, and of two who type it the later one gets nothing.
func TestLinkIsConfirmedByTheFirstAccount(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		code := tm.code("telegram", "Ana")
		tm.says("telegram", "Ana", "/link yes", "Nobody has asked")
		tm.says("discord", "Ben", "/link "+code, "Ana (Telegram) is asked")
		tm.says("discord", "Ben", "/link "+code, "Ana has been asked already")
		tm.says("slack", "Eve", "!link "+code, "Somebody else has typed this code already.")
		tm.said("telegram", "Eve (Slack) has typed your code, too, and is not linked: /link yes confirms Ben (Discord) alone.", "u-Ana")
		for platform, names := range map[string][]string{"telegram": {"Eve", "Anna"}, "discord": {"Eve", "Ana"}, "slack": {"Ana", "Eve"}} {
			for _, name := range names {
				tm.says(platform, name, "/link yes", "Nobody has asked to be linked with this account")
			}
		}
		tm.says("discord", "Ben", "/link yes", "Ana confirms this, with the account that asked for the code.")
		want(t, tm.persons())
		tm.says("telegram", "Ana", "!link YES", "You are one person now: Ana on Telegram, Ben on Discord.")
		tm.said("discord", "You are one person with Ana (Telegram) now.", "u-Ben")
		want(t, tm.persons(), "telegram:u-Ana+discord:u-Ben")
		tm.says("telegram", "Ana", "/link yes", "Nobody has asked")
		tm.says("slack", "Eve", "/link "+code, "I do not know this code.")

		// Nor does another account of the same person.
		code = tm.code("telegram", "Ana")
		tm.says("slack", "Cem", "/link "+code, "Ana (Telegram) is asked")
		tm.says("discord", "Ben", "/link yes", "Nobody has asked to be linked with this account")
		want(t, tm.persons(), "telegram:u-Ana+discord:u-Ben")
	})
}

func TestLinkRequestExpires(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		late := tm.code("telegram", "Ana")
		time.Sleep(10*time.Minute + time.Second)
		tm.says("discord", "Ben", "/link "+late, "I do not know this code.")

		code := tm.code("telegram", "Ana")
		time.Sleep(9 * time.Minute)
		tm.says("discord", "Ben", "/link "+code, "Ana (Telegram) is asked")
		time.Sleep(10*time.Minute + time.Second)
		tm.says("telegram", "Ana", "/link yes", "Nobody has asked")
		tm.says("slack", "Eve", "/link "+code, "I do not know this code.")
		want(t, tm.persons())
	})
}

// What was asked before the bridge ended can be confirmed when it is back, by somebody who has become a person meanwhile, too.
func TestLinkOutlivesTheBridge(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		code := tm.code("telegram", "Ana")
		tm.again(time.Minute)
		tm.says("discord", "Ben", "/link "+code, "Ana (Telegram) is asked")
		tm.again(8 * time.Minute)
		tm.says("discord", "Ben", "/online", "You are online.")
		tm.says("telegram", "Ana", "/link yes", "You are one person now: Ana on Telegram, Ben on Discord. You are online.")
		want(t, tm.persons(), "telegram:u-Ana+discord:u-Ben")
	})
}

// A code that was asked for in a slash command's private answer is confirmed in the open: the question has nothing secret, and the
// private answer with the code stays.
func TestLinkBySlashCommand(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Operators = []string{"discord:u-Ana", "slack:u-Ben"} }, func(t *testing.T, tm *team) {
		slash := func(platform, author, text string) string {
			t.Helper()
			u := tm.update("main", author, text, "")
			u.Slash = true
			answer, _ := tm.do(platform, u)
			return answer
		}
		private := slash("discord", "Ana", "/link")
		code := strings.Fields(private)[2]
		tm.says("telegram", "Eve", "/link "+code, "You are not one of the operators")
		if answer := slash("slack", "Ben", "/link "+code); !strings.HasPrefix(answer, "Ana (Discord) is asked") {
			t.Error(answer)
		}
		all := tm.places["discord"].Shown("main")
		if last := all[len(all)-1]; last.ReplyTo != "" || strings.Contains(last.Text, code) || !slices.Equal(last.Pings, []string{"u-Ana"}) {
			t.Errorf("%+v", last)
		}
		if answer := slash("discord", "Ana", "/link yes"); !strings.HasPrefix(answer, "You are one person now: Ana on Discord, Ben on Slack.") {
			t.Error(answer)
		}
		synctest.Wait()
		want(t, tm.persons(), "discord:u-Ana+slack:u-Ben")
	})
}
