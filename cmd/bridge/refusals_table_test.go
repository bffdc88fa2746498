//go:build refusals

package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// What waits and what goes on when a call of one session is refused. "Others" are words of other sessions in threads that are there;
// "next" is the refused session's next word.
const (
	allWait   = "all"     // the lane is paused, and /readyz says why
	opensWait = "opens"   // what needs a thread opened, or opened again, waits, and /readyz says why; others go on
	itWaits   = "waits"   // it is tried again and its text shown once, and its session waits behind it; others go on
	repeated  = "twice"   // likewise; it is shown twice
	buried    = "dead"    // it is a dead letter, its thread is told if a visitor wrote it; others and next go on
	dropped   = "drops"   // it is left out without a dead letter; others and next go on
	plainly   = "plain"   // it is sent without markup at once; others and next go on
	asLink    = "link"    // the file is shown as a line of text; others and next go on
	neutral   = "neutral" // the thread is opened by the visitor's id instead of the name; others and next go on
	mainPlace = "main"    // the session is shown in the main place; others and next go on
	anew      = "new"     // the session gets another thread; others and next go on
	instead   = "instead" // it is shown as a message of its own; others and next go on
)

// refusalColumns are the refusals of the tables below; a dash is one that there is not.
//
//	token    the token is not valid
//	right    the right for this operation is missing
//	403      a 403 that nobody knows, for one message
//	content  what was sent is refused, in every form
//	markup   what was sent is refused once
//	gone     the thread is gone, or what is to be changed
//	pace     429, with a time
//	wrapped  429 inside of a 400
//	500      for one session
//	500s     for all sessions
//	lost     the call had its effect, the answer is lost
const refusalColumns = "token right 403 content markup gone pace wrapped 500 500s lost"

// refusalTables are the tables by platform: a line for each operation.
var refusalTables = map[string]string{
	"telegram": `
open    all  opens  waits  main   neutral  -        all    all    waits  all  waits
word    all  all    waits  dead   plain    new      all    all    waits  all  twice
edit    all  all    waits  dead   plain    instead  all    all    waits  all  waits
delete  all  instead waits dead   -        drops    all    -      waits  -    waits
sign    all  drops  drops  drops  -        drops    drops  drops  waits  -    waits
type    drops drops drops  drops  -        drops    drops  drops  drops  -    drops
upload  all  link   waits  link   -        new      all    all    waits  -    twice
rename  all  drops  drops  drops  -        new      all    -      waits  -    waits
close   all  drops  waits  drops  -        drops    all    -      waits  -    waits
reopen  all  opens  waits  new    -        new      all    -      waits  -    waits
`,
	"discord text": `
card    all  opens  waits  main   neutral  -        waits  all    waits  all  waits
open    all  opens  waits  main   neutral  waits    waits  all    waits  all  waits
word    all  all    waits  dead   -        new      waits  all    waits  all  waits
edit    all  all    waits  dead   -        instead  waits  all    waits  all  waits
delete  all  dead   waits  dead   -        drops    waits  all    waits  -    waits
sign    all  drops  drops  drops  -        drops    drops  all    waits  -    waits
type    drops drops drops  drops  -        drops    drops  all    drops  -    drops
upload  all  all    waits  link   -        new      waits  all    waits  -    waits
rename  all  drops  drops  drops  -        new      waits  all    waits  -    waits
close   all  drops  waits  drops  -        drops    waits  all    waits  -    waits
reopen  all  new    waits  new    -        new      waits  all    waits  -    waits
`,
	"discord forum": `
open    all  opens  waits  -      neutral  -        waits  all    waits  all  waits
word    all  all    waits  dead   -        new      waits  -      waits  all  waits
edit    all  all    waits  dead   -        instead  waits  -      waits  all  waits
delete  all  dead   waits  dead   -        drops    waits  -      waits  -    waits
upload  all  all    waits  link   -        new      waits  -      waits  -    waits
rename  all  drops  drops  drops  -        new      waits  -      waits  -    waits
close   all  drops  waits  drops  -        drops    waits  -      waits  -    waits
reopen  all  new    waits  new    -        new      waits  -      waits  -    waits
`,
	"slack": `
open    all  opens  -      main   neutral  -        all    -      waits  all  waits
word    all  all    -      dead   plain    new      all    -      waits  all  waits
edit    all  all    -      dead   plain    instead  waits  -      waits  all  waits
delete  all  dead   -      dead   -        drops    waits  -      waits  -    waits
sign    all  drops  -      drops  -        drops    drops  -      waits  -    waits
upload  all  link   -      link   -        new      waits  -      waits  -    waits
rename  all  all    -      drops  -        new      waits  -      waits  -    waits
close   all  drops  -      drops  -        drops    waits  -      waits  -    waits
reopen  all  drops  -      drops  -        new      waits  -      waits  -    waits
`,
}

// refusalAnswers are the answers that refuse, by platform and column; "column/operation" is one operation's.
func refusalAnswers(on string) map[string]stage.Action {
	lost := stage.Action{DropAfter: true}
	switch {
	case on == "telegram":
		wrapped := telegram.Fail(http.StatusBadRequest,
			`Bad Request: failed to send message #1 with the error message "Too Many Requests: retry after 1"`)
		manage := telegram.Fail(http.StatusBadRequest, "Bad Request: not enough rights to manage topics")
		changeGone := telegram.Fail(http.StatusBadRequest, "Bad Request: MESSAGE_ID_INVALID")
		return map[string]stage.Action{
			"token":      telegram.Fail(http.StatusUnauthorized, "Unauthorized"),
			"right":      telegram.Fail(http.StatusBadRequest, "Bad Request: not enough rights to send text messages to the chat"),
			"right/open": manage, "right/rename": manage, "right/close": manage, "right/reopen": manage,
			"right/edit":   telegram.Fail(http.StatusBadRequest, "Bad Request: CHAT_WRITE_FORBIDDEN"),
			"right/delete": telegram.Fail(http.StatusBadRequest, "Bad Request: MESSAGE_DELETE_FORBIDDEN"),
			"right/sign":   telegram.Fail(http.StatusBadRequest, "Bad Request: CHAT_ADMIN_REQUIRED"),
			"right/upload": telegram.Fail(http.StatusBadRequest, "Bad Request: not enough rights to send documents to the chat"),
			"403":          telegram.Fail(http.StatusForbidden, "Forbidden: not for this one"),
			"content":      telegram.Fail(http.StatusBadRequest, "Bad Request: NOT_OF_ANY_KIND"),
			"markup":       telegram.Fail(http.StatusBadRequest, "Bad Request: can't parse entities"),
			"gone":         telegram.Fail(http.StatusBadRequest, "Bad Request: message thread not found"),
			"gone/edit":    changeGone, "gone/sign": changeGone,
			"gone/delete": telegram.Fail(http.StatusBadRequest, "Bad Request: message to delete not found"),
			"pace":        telegram.FloodWait(1), "wrapped": wrapped,
			"500":  telegram.Fail(http.StatusInternalServerError, "Internal Server Error"),
			"500s": telegram.Fail(http.StatusInternalServerError, "Internal Server Error"), "lost": lost,
		}
	case strings.HasPrefix(on, "discord"):
		return map[string]stage.Action{
			"token":     discord.Fail(http.StatusUnauthorized, 0, "401: Unauthorized"),
			"right":     discord.Fail(http.StatusForbidden, 50013, "Missing Permissions"),
			"403":       discord.Fail(http.StatusForbidden, 999999, "Not for this one"),
			"content":   discord.Fail(http.StatusBadRequest, 50035, "Invalid Form Body"),
			"markup":    discord.Fail(http.StatusBadRequest, 50035, "Invalid Form Body"),
			"gone":      discord.Fail(http.StatusNotFound, 10003, "Unknown Channel"),
			"gone/edit": discord.Fail(http.StatusNotFound, 10008, "Unknown Message"),
			"gone/sign": discord.Fail(http.StatusNotFound, 10008, "Unknown Message"),
			"gone/open": discord.Fail(http.StatusNotFound, 10008, "Unknown Message"),
			"pace":      discord.RateLimited(time.Second), "wrapped": discord.GlobalLimited(time.Second),
			"500":  discord.Fail(http.StatusInternalServerError, 0, "500: Internal Server Error"),
			"500s": discord.Fail(http.StatusInternalServerError, 0, "500: Internal Server Error"), "lost": lost,
		}
	default:
		return map[string]stage.Action{
			"token": slack.Fail("invalid_auth"), "right": slack.Fail("missing_scope"),
			"right/open": slack.Fail("restricted_action_thread_only_channel"),
			"content":    slack.Fail("not_of_any_kind"), "markup": slack.Fail("invalid_blocks"), "gone": slack.Fail("thread_not_found"),
			"gone/edit": slack.Fail("message_not_found"), "gone/delete": slack.Fail("message_not_found"), "gone/sign": slack.Fail("message_not_found"),
			"pace": slack.RateLimited(1), "500": stage.Page(http.StatusInternalServerError),
			"500s": stage.Page(http.StatusInternalServerError), "lost": lost,
		}
	}
}

// refusalCells reads a platform's table.
func refusalCells(t *testing.T, on string) []*refusal {
	t.Helper()
	answers := refusalAnswers(on)
	columns := strings.Fields(refusalColumns)
	var out []*refusal
	for line := range strings.Lines(refusalTables[on]) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != len(columns)+1 {
			t.Fatalf("%s: %q has %d fields", on, line, len(fields))
		}
		for i, want := range fields[1:] {
			if want == "-" {
				continue
			}
			answer, ok := answers[columns[i]+"/"+fields[0]]
			if !ok {
				answer, ok = answers[columns[i]]
			}
			if !ok {
				t.Fatalf("%s: no answer for %s", on, columns[i])
			}
			c := &refusal{on: on, op: fields[0], column: columns[i], want: want, answer: answer}
			c.session = c.op + "-" + c.column + "-x"
			out = append(out, c)
		}
	}
	return out
}

// TestRefusals has each operation of each platform refused in each way, and looks at what waits and what goes on.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, on := range slices.Sorted(maps.Keys(refusalTables)) {
		var together, apart []*refusal
		for _, c := range refusalCells(t, on) {
			// A destination that asked for time is called slowly for long, and what opens threads is tried again late.
			// One that asked for time for a sign or an indicator is shown none for long.
			limited := (c.column == "pace" || c.column == "wrapped") && (c.want == allWait || c.op == "sign" || c.op == "type")
			if limited || c.want == opensWait {
				apart = append(apart, c)
			} else {
				together = append(together, c)
			}
		}
		slices.SortStableFunc(together, func(a, b *refusal) int { // what pauses the lane comes last
			switch {
			case a.want == allWait && b.want != allWait:
				return 1
			case a.want != allWait && b.want == allWait:
				return -1
			}
			return 0
		})
		t.Run(on, func(t *testing.T) {
			t.Parallel()
			refuseAll(t, on, together)
		})
		for _, c := range apart {
			t.Run(on+"/"+c.op+"/"+c.column, func(t *testing.T) {
				t.Parallel()
				refuseAll(t, on, []*refusal{c})
			})
		}
	}
}
