package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/store/bolt"
)

// inTeam runs a test with a team on a bubble's clock.
func inTeam(t *testing.T, adjust func(*relay.Options, *people.Options), test func(t *testing.T, tm *team)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tm := newTeam(t, adjust)
		defer func() { tm.stop() }()
		test(t, tm)
	})
}

// again ends the bridge, and begins it anew after a while.
func (tm *team) again(after time.Duration) {
	tm.t.Helper()
	tm.stop()
	time.Sleep(after)
	tm.start()
	synctest.Wait()
}

// shows fails the test unless a session's thread on a platform ends with these texts.
func (tm *team) shows(platform, session string, want ...string) {
	tm.t.Helper()
	got := texts(tm.places[platform], session)
	if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
		tm.t.Errorf("%s shows %q, want %q at the end", platform, got, want)
	}
}

// pings are the users whom a session's thread on a platform has called by name, message by message.
func (tm *team) pings(platform, session string) []string {
	var out []string
	for _, id := range tm.places[platform].Threads(session) {
		for _, s := range tm.places[platform].Shown(id) {
			if len(s.Pings) > 0 {
				out = append(out, strings.Join(s.Pings, "+"))
			}
		}
	}
	return out
}

func TestUnansweredIsCalledOut(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Unanswered = 5 * time.Minute }, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("discord", "main", "Ben", "/online")
		tm.say("slack", "main", "Cem", "/away")
		tm.ingest(message("s", "m1", "hello?"))
		tm.ingest(message("answered", "m1", "hello"))
		synctest.Wait()
		tm.say("telegram", tm.thread("telegram", "answered"), "Ana", "hi")
		time.Sleep(4 * time.Minute)
		tm.ingest(message("s", "m2", "are you there?"))
		time.Sleep(59 * time.Second)
		if got := tm.pings("telegram", "s"); len(got) > 0 {
			t.Errorf("called too early: %q", got)
		}
		time.Sleep(3 * time.Second)
		want(t, tm.pings("telegram", "s"), "u-Ana")
		want(t, tm.pings("discord", "s"), "u-Ben")
		want(t, tm.pings("slack", "s"))
		tm.shows("telegram", "s", "are you there?", "@u-Ana ⏰ v-s has waited for an answer for 5 min: “are you there?”")
		tm.shows("slack", "s", "are you there?")
		tm.again(time.Minute)
		time.Sleep(5 * time.Minute)
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
		tm.shows("telegram", "s", "@u-Ana ⏰ v-s has waited for 10 min, and nobody has answered yet: “are you there?”")
		tm.again(time.Minute)
		time.Sleep(time.Hour)
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
		want(t, tm.pings("telegram", "answered"))

		// An answer begins it anew.
		tm.say("discord", tm.thread("discord", "s"), "Ben", "sorry, here I am")
		tm.ingest(message("s", "m3", "thanks"))
		time.Sleep(5*time.Minute + 2*time.Second)
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana", "u-Ana")
		if n := len(tm.of(bridge.TypeAnswer)); n != 3+3 {
			t.Errorf("%d answers of the bridge", n)
		}
	})
}

// Nobody is online: who comes is called to who has waited.
func TestUnansweredWaitsForSomebody(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Unanswered = 5 * time.Minute }, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello?"))
		if _, err := tm.people.SetApp(t.Context(), true, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		for _, p := range platformNames {
			want(t, tm.pings(p, "s"))
		}
		tm.again(time.Minute)
		tm.say("slack", "main", "Cem", "/online")
		time.Sleep(2 * time.Second)
		want(t, tm.pings("slack", "s"), "u-Cem")
		want(t, tm.pings("telegram", "s"))
		time.Sleep(5*time.Minute + 2*time.Second)
		want(t, tm.pings("slack", "s"), "u-Cem", "u-Cem")
	})
}

// Whoever has claimed a visitor is called first, and alone.
func TestClaimantIsCalledFirst(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Unanswered = 5 * time.Minute }, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("telegram", "main", "Ben", "/online")
		tm.ingest(message("s", "m1", "hello?"))
		synctest.Wait()
		tm.say("telegram", tm.thread("telegram", "s"), "Ben", "/claim")
		if answer, _ := tm.say("discord", tm.thread("discord", "s"), "Dea", "/claim"); !strings.Contains(answer, "Ben takes care of this visitor, since ") {
			t.Error(answer)
		}
		time.Sleep(2 * time.Second)
		if answer, _ := tm.say("discord", "main", "Dea", "/status"); !strings.Contains(answer, "claimed by Ben") {
			t.Error(answer)
		}
		time.Sleep(5 * time.Minute)
		want(t, tm.pings("telegram", "s"), "u-Ben")
		time.Sleep(5 * time.Minute)
		want(t, tm.pings("telegram", "s"), "u-Ben", "u-Ana+u-Ben")
		tm.say("discord", tm.thread("discord", "s"), "Dea", "!unclaim")
		tm.shows("telegram", "s", "👐 Dea (Discord) has freed this visitor from Ben: who takes care of them?")
		if _, effects := tm.say("discord", tm.thread("discord", "s"), "Dea", "/claim"); oneOf(effects) != "conversation_assigned operatorName=Dea" {
			t.Errorf("app servers are told: %q", effects)
		}
		tm.shows("slack", "s", "✋ Dea (Discord) takes care of this visitor.")
	})
}

func TestAnswerTimeout(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.AnswerTimeout = 10 * time.Minute }, func(t *testing.T, tm *team) {
		statuses := func() string {
			all, err := tm.people.People(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, p := range all {
				out = append(out, fmt.Sprintf("%s %s %s", p.Called, p.Status, p.Reason))
			}
			return strings.Join(out, ", ")
		}
		status := func(want string) {
			t.Helper()
			if got := statuses(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("telegram", "main", "Ben", "/online")
		tm.ingest(message("s", "m1", "hello?"))
		time.Sleep(time.Hour)
		status("Ana online command, Ben online command") // who of them should have answered?
		tm.say("telegram", "main", "Ben", "/offline")
		time.Sleep(2 * time.Second)
		status("Ana away time-out, Ben offline command")
		tm.shows("telegram", "s", "@u-Ana 🌙 Ana is away now: this visitor has waited for an answer for 60 min. !online when you are back.")

		// Who comes back has the whole time again.
		tm.say("telegram", "main", "Ana", "/online")
		time.Sleep(9 * time.Minute)
		status("Ana online command, Ben offline command")
		tm.again(0)
		time.Sleep(time.Minute + 2*time.Second)
		status("Ana away time-out, Ben offline command")

		// Who claims is meant, whoever else is there.
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("telegram", tm.thread("telegram", "s"), "Ben", "sorry")
		status("Ana online command, Ben online reply")
		tm.ingest(message("s", "m2", "well?"))
		synctest.Wait()
		tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/claim")
		time.Sleep(10*time.Minute + 2*time.Second)
		status("Ana away time-out, Ben online reply")
		time.Sleep(time.Hour)
		status("Ana away time-out, Ben online reply") // Ana has claimed it, and Ben is not meant
	})
}

// Which conversations wait is known whatever happens in between, and shown by /status.
func TestStatusShowsWhoWaits(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		for i := range 8 {
			tm.ingest(announce(fmt.Sprint("s", i)))
			tm.ingest(message(fmt.Sprint("s", i), "m1", "hello"))
			time.Sleep(time.Minute)
		}
		tm.say("telegram", tm.thread("telegram", "s0"), "Ana", "hi")
		tm.say("telegram", tm.thread("telegram", "s1"), "Ana", "/note talk is no answer")
		tm.say("telegram", tm.thread("telegram", "s7"), "Ana", "/close")
		tm.ingest(`{"type":"operator_message","session":{"id":"s2","visitorId":"v"},"message":{"id":"a1","sessionId":"s2","content":"I am the AI","sender":"ai"}}`)
		tm.ingest(`{"type":"visitor_message","session":{"id":"s3","visitorId":"v"},"message":{"id":"a1","sessionId":"s3","content":"me too","sender":"ai"}}`)
		const waiting = `7 open conversations, 4 waiting for an answer
⏳ v-s1: for 7 min · “hello”
⏳ v-s4: for 4 min · “hello”
⏳ v-s5: for 3 min · “hello”
⏳ v-s6: for 2 min · “hello”
`
		status := func(want string) {
			t.Helper()
			answer, _ := tm.say("discord", "main", "Dea", "/status")
			if !strings.Contains(answer, want) {
				t.Errorf("got %s, want %s in it", answer, want)
			}
			for _, lane := range []string{"Telegram: delivering", "Discord: delivering", "Slack: delivering", "Ana (Telegram): online since"} {
				if !strings.Contains(answer, lane) {
					t.Errorf("got %s, want %s in it", answer, lane)
				}
			}
		}
		status(waiting) // before it is written anywhere
		time.Sleep(2 * time.Second)
		status(waiting)
		tm.again(0)
		status(waiting)
		for i := range 6 {
			tm.ingest(message(fmt.Sprint("more", i), "m1", "hello"))
		}
		status("13 open conversations, 10 waiting for an answer\n⏳ v-s1: for 7 min · “hello”\n")
		status("… and 5 more\n")

		// A platform in trouble shows with its backlog.
		release := tm.places["slack"].Hold(bridgetest.OpSend)
		tm.ingest(message("s0", "m2", "more"))
		time.Sleep(3 * time.Second)
		answer, _ := tm.say("discord", "main", "Dea", "/status")
		if !strings.Contains(answer, "Slack: delivering, 1 waiting, for up to 3 s") {
			t.Error(answer)
		}
		release()
	})
}

// read is what a /read marks.
func (tm *team) read(platform, session string) []string {
	tm.t.Helper()
	before := tm.last()
	tm.say(platform, tm.thread(platform, session), "Ana", "/read")
	entries, err := tm.store.Read(tm.t.Context(), before, 100, 0)
	if err != nil {
		tm.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Event.Type == bridge.TypeMessageRead {
			var r bridge.Read
			if err := json.Unmarshal(e.Event.Body, &r); err != nil || r.SessionID != session || r.SourceBridge != platform {
				tm.t.Errorf("%s, %v", e.Event.Body, err)
			}
			return r.MessageIDs
		}
	}
	return nil
}

func TestReadMarksWhatIsNotMarked(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		for i := range 3 {
			tm.ingest(message("s", fmt.Sprint("m", i), "hello"))
		}
		synctest.Wait() // and not until it is written anywhere
		want(t, tm.read("telegram", "s"), "m0", "m1", "m2")
		want(t, tm.read("discord", "s"))
		tm.ingest(message("s", "m3", "more"))
		tm.ingest(`{"type":"message_read","sessionId":"s","messageIds":["m3"],"status":"read"}`) // the visitor's own is of no interest
		tm.ingest(message("other", "m9", "elsewhere"))
		synctest.Wait()
		tm.again(0)
		want(t, tm.read("slack", "s"), "m3")
		tm.ingest(message("s", "m4", "more"))
		time.Sleep(3 * time.Hour) // what is quiet is not kept in memory
		tm.ingest(message("s", "m5", "more"))
		time.Sleep(2 * time.Second)
		tm.again(0)
		want(t, tm.read("slack", "s"), "m4", "m5")
		for i := range 60 {
			tm.ingest(message("s", fmt.Sprint("n", i), "more"))
		}
		synctest.Wait()
		if got := tm.read("slack", "s"); len(got) != 50 || got[49] != "n59" {
			t.Errorf("%d are marked: %q", len(got), got)
		}
	})
}

func TestAutoClose(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) {
		o.AutoClose = 7 * time.Hour
		o.OpenThread = relay.OpenOnSession
	}, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		tm.ingest(announce("quiet"))
		synctest.Wait()
		closed := func(session string) string {
			n := ""
			for _, name := range platformNames {
				shut := 0
				for _, c := range tm.places[name].Calls(bridgetest.OpCloseThread) {
					if c.Thread == tm.thread(name, session) {
						shut++
					}
				}
				n += fmt.Sprint(shut)
			}
			return n
		}
		time.Sleep(4 * time.Hour)
		tm.say("telegram", tm.thread("telegram", "s"), "Ana", "hi")
		time.Sleep(3*time.Hour + 3*time.Minute)
		if closed("s") != "000" || closed("quiet") != "111" {
			t.Errorf("after 7 hours, %s and %s are closed", closed("s"), closed("quiet"))
		}
		tm.again(time.Hour)
		time.Sleep(3*time.Hour + 5*time.Minute)
		if closed("s") != "111" || closed("quiet") != "111" {
			t.Errorf("after 7 hours of silence, %s and %s are closed", closed("s"), closed("quiet"))
		}
		if n := len(tm.of(bridge.TypeSessionClosed)); n != 0 {
			t.Errorf("app servers are told of %d closings", n)
		}
		if got, want := tm.places["discord"].Texts(tm.thread("discord", "s")), 2; len(got) != want {
			t.Errorf("the thread shows %q", got)
		}
		tm.again(0) // that they are closed is known in the store

		// The visitor's next message opens it again, once; a notice does not.
		tm.ingest(`{"type":"custom_event","session":{"id":"s","visitorId":"v-s"},"event":{"name":"page"}}`)
		tm.ingest(message("s", "m2", "one more thing"))
		synctest.Wait()
		for _, name := range platformNames {
			tm.shows(name, "s", "one more thing")
			if n := len(tm.places[name].Calls(bridgetest.OpReopenThread)); n != 1 {
				t.Errorf("%s: reopened %d times", name, n)
			}
			for _, text := range texts(tm.places[name], "s") {
				if strings.Contains(text, "page") {
					t.Errorf("%s shows %q", name, text)
				}
			}
		}
		if n := len(tm.of(bridge.TypeSessionReopened)); n != 0 {
			t.Errorf("app servers are told of %d reopenings", n)
		}
		time.Sleep(8 * time.Hour)
		if closed("s") != "222" {
			t.Errorf("%s are closed", closed("s"))
		}
	})
}

// Many silent threads are closed a few at a time, and each once.
func TestAutoCloseOfMany(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.AutoClose = 24 * time.Hour }, func(t *testing.T, tm *team) {
		const many = 60
		for i := range many {
			tm.ingest(message(fmt.Sprint("s", i), "m1", "hello"))
		}
		time.Sleep(30 * time.Hour)
		for _, name := range platformNames {
			if n := len(tm.places[name].Calls(bridgetest.OpCloseThread)); n != many {
				t.Errorf("%s: %d are closed", name, n)
			}
		}
		if answer, _ := tm.say("discord", "main", "Dea", "/status"); !strings.Contains(answer, "0 open conversations, 0 waiting") {
			t.Error(answer)
		}
	})
}

func TestCloseAndReopen(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		at := func(platform string) bridge.ThreadID { return tm.thread(platform, "s") }
		calls := func(op string) string {
			n := ""
			for _, name := range platformNames {
				n += fmt.Sprint(len(tm.places[name].Calls(op)))
			}
			return n
		}
		_, effects := tm.say("discord", at("discord"), "Ana", "/close")
		want(t, effects, "session_closed operatorName=Ana sourceBridge=discord")
		for _, name := range platformNames {
			tm.shows(name, "s", "hello", "✅ Ana (Discord) has closed the conversation.")
		}
		if calls(bridgetest.OpCloseThread) != "111" {
			t.Errorf("closed: %s", calls(bridgetest.OpCloseThread))
		}
		// A thread that is closed takes no messages here: it is opened for the answer.
		answer, effects := tm.say("slack", at("slack"), "Ben", "/close")
		if len(effects) != 0 || !strings.HasPrefix(answer, "The conversation is closed already, by Ana") {
			t.Errorf("closed twice: %q, %q", answer, effects)
		}
		_, effects = tm.say("slack", at("slack"), "Ben", "/reopen")
		want(t, effects, "session_reopened operatorName=Ben sourceBridge=slack")
		for _, name := range platformNames {
			tm.shows(name, "s", "↩️ Ben (Slack) has opened the conversation again.")
		}
		if calls(bridgetest.OpReopenThread) != "112" {
			t.Errorf("reopened: %s", calls(bridgetest.OpReopenThread))
		}

		// The visitor's next message opens what an operator has closed, and app servers are told, once.
		tm.say("telegram", at("telegram"), "Ana", "/close")
		tm.again(time.Hour)
		before := tm.last()
		tm.ingest(message("s", "m2", "one more thing"))
		tm.ingest(message("s", "m3", "and another"))
		time.Sleep(2 * time.Second)
		want(t, tm.effects(before), "session_reopened sourceBridge=api")
		for _, name := range platformNames {
			tm.shows(name, "s", "one more thing", "and another")
		}
		if calls(bridgetest.OpReopenThread) != "223" {
			t.Errorf("reopened: %s", calls(bridgetest.OpReopenThread))
		}

		// What the app has closed, the visitor opens again without a word of it.
		tm.ingest(`{"type":"session_closed","sessionId":"s"}`)
		synctest.Wait()
		tm.shows("slack", "s", "✅ The conversation was closed in the app.")
		before = tm.last()
		tm.ingest(message("s", "m4", "still here"))
		time.Sleep(2 * time.Second)
		want(t, tm.effects(before))
		tm.shows("slack", "s", "still here")
		if calls(bridgetest.OpCloseThread) != "333" || calls(bridgetest.OpReopenThread) != "334" {
			t.Errorf("closed %s, reopened %s", calls(bridgetest.OpCloseThread), calls(bridgetest.OpReopenThread))
		}
		want(t, tm.threadsOf("s"), "1", "1", "1")
	})
}

// threadsOf is how many threads a session has had on each platform.
func (tm *team) threadsOf(session string) []string {
	var out []string
	for _, name := range platformNames {
		out = append(out, fmt.Sprint(len(tm.places[name].Threads(session))))
	}
	return out
}

// A crash between the notice and the closing shows the notice once, and closes the thread.
func TestCloseInTwoSteps(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		p := tm.places["telegram"]
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		release := p.Hold(bridgetest.OpCloseThread)
		defer release()
		tm.say("discord", tm.thread("discord", "s"), "Ana", "/close")
		tm.again(time.Minute)
		release()
		time.Sleep(time.Minute)
		tm.shows("telegram", "s", "hello", "✅ Ana (Discord) has closed the conversation.")
		if calls := p.Calls(bridgetest.OpCloseThread); calls[len(calls)-1].Err != nil {
			t.Errorf("%+v", calls)
		}
		// What cannot be closed is left open, and nothing is a dead letter for it.
		tm.ingest(message("s", "m2", "more"))
		synctest.Wait()
		p.Fail(bridgetest.OpCloseThread, fault(bridge.ReasonRejected, bridge.ScopeSession))
		tm.say("discord", tm.thread("discord", "s"), "Ana", "/close")
		tm.ingest(message("s", "m3", "and more"))
		synctest.Wait()
		tm.shows("telegram", "s", "✅ Ana (Discord) has closed the conversation.", "and more")
		rows, err := tm.store.List(t.Context(), "dead", "", 1<<20)
		if err != nil || len(rows) > 0 {
			t.Errorf("%d dead letters, %v", len(rows), err)
		}
	})
}

func TestCannedReplies(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		tm.say("telegram", "main", "Ana", "/canned add Hours We are here from 9 to 18.\nAlways.")
		if answer, _ := tm.say("slack", "main", "Ben", "!canned"); !strings.Contains(answer, "\n!hours – We are here from 9 to 18. Always.") {
			t.Error(answer)
		}
		at := tm.thread("discord", "s")
		answer, effects := tm.say("discord", at, "Ben", "!HOURS ")
		if answer != "Sent to the visitor: We are here from 9 to 18.\nAlways." {
			t.Error(answer)
		}
		want(t, effects, "operator_message content=We are here from 9 to 18.\nAlways. operatorName=Ben sourceBridge=discord",
			"operator_status Ben=online,reply")
		tm.shows("telegram", "s", "Ben (Discord): We are here from 9 to 18.\nAlways.")
		for typed, want := range map[string]string{
			"!hours are long": "❓ Not sent to the visitor: !hours sends a canned reply where nothing stands after it.",
			"!huors":          "❓ Not sent to the visitor: there is no command !huors. Did you mean !hours?",
		} {
			if answer, effects := tm.say("discord", at, "Ben", typed); !strings.HasPrefix(answer, want) || len(effects) > 0 {
				t.Errorf("%s: %q, %q", typed, answer, effects)
			}
		}
		blank := tm.update(at, "Ben", "! hours", "")
		if blank.Text = "/ hours"; len(words(tm.effectsOf("discord", blank))) != 1 {
			t.Error("a blank after the mark counts")
		}
		sent := tm.update(at, "Ben", "plain", "")
		tm.do("discord", sent)
		edit := tm.update(at, "Ben", "!hours", "")
		edit.Kind, edit.Message = bridge.UpdateEdit, sent.Message
		if answer, effects = tm.do("discord", edit); len(effects) != 0 || !strings.Contains(answer, "does not become a command") {
			t.Errorf("%q, %q", answer, effects)
		}
		if answer, effects = tm.say("discord", "main", "Ben", "!hours"); len(effects) != 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		tm.say("discord", at, "Ben", "/canned add hours Never.")
		if answer, _ = tm.say("telegram", "main", "Ana", "/canned remove HOURS"); answer != "!hours is no canned reply any more. It was: Never." {
			t.Error(answer)
		}
		if answer, _ = tm.say("telegram", "main", "Ana", "/canned"); !strings.HasPrefix(answer, "There are no canned replies.") {
			t.Error(answer)
		}
	})
}

func TestInternalByDefault(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Internal = true }, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		at := tm.thread("telegram", "s")
		visitors := tm.places["telegram"].Shown(at)[0].ID
		answer, effects := tm.say("telegram", at, "Ana", "secret-talk: shall we answer?")
		if answer != "" || len(effects) != 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		tm.shows("discord", "s", "hello")
		if tm.people.Online() {
			t.Error("talk is taken for an answer")
		}
		reply := tm.update(at, "Ana", "yes, hello!", visitors)
		_, effects = tm.do("telegram", reply)
		want(t, effects, "operator_message content=yes, hello! operatorName=Ana sourceBridge=telegram", "operator_status Ana=online,reply")
		_, effects = tm.do("telegram", tm.update(at, "Ana", "secret-talk", reply.Message)) // a reply to a colleague
		want(t, effects)
		_, effects = tm.say("telegram", at, "Ana", "/r how can I help?")
		want(t, effects, "operator_message content=how can I help? operatorName=Ana sourceBridge=telegram")
		tm.shows("discord", "s", "Ana (Telegram): how can I help?")
		tm.say("telegram", "main", "Ana", "/canned add bye Goodbye!")
		_, effects = tm.say("telegram", at, "Ana", "!bye")
		want(t, effects, "operator_message content=Goodbye! operatorName=Ana sourceBridge=telegram")
		edit := tm.update(at, "Ana", "yes, hi!", "")
		edit.Kind, edit.Message = bridge.UpdateEdit, reply.Message
		_, effects = tm.do("telegram", edit)
		want(t, effects, "operator_message_edited content=yes, hi!")
		tm.secret()
	})
}

// A person on three platforms is one operator: with one name, one status, and one right to delete.
func TestOnePerson(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("telegram", "main", "Ana", "/name Anastasia")
		for _, name := range []string{"discord", "slack"} {
			code := tm.code("telegram", "Ana")
			tm.says(name, "Anna", "!link "+strings.ToLower(code), "Ana (Telegram) is asked: ")
			tm.says("telegram", "Ana", "/link yes", "You are one person now: Ana on Telegram, Anna on Discord")
			tm.says(name, "Eve", "/link "+code, "I do not know this code.")
		}
		_, effects := tm.say("slack", tm.thread("slack", "s"), "Anna", "hi")
		want(t, effects, "operator_message content=hi operatorName=Anastasia sourceBridge=slack")
		_, effects = tm.say("discord", "main", "Anna", "/offline")
		want(t, effects, "operator_status Anastasia=offline,command")
		var m bridge.OperatorMessage
		if err := json.Unmarshal(tm.of(bridge.TypeOperatorMessage)[0].Event.Body, &m); err != nil || m.OperatorID != "telegram:u-Ana" {
			t.Errorf("%+v, %v", m, err)
		}
		// What she wrote in Slack she deletes in Telegram, where it is shown.
		at := tm.thread("telegram", "s")
		copied := tm.places["telegram"].Shown(at)
		if answer, effects := tm.do("telegram", tm.update(at, "Ana", "/delete", copied[len(copied)-1].ID)); len(effects) != 1 {
			t.Errorf("%q, %q", answer, effects)
		}
		deleted := tm.of(bridge.TypeOperatorDeleted)
		if len(deleted) != 1 || deleted[0].Event.Message != m.MessageID || deleted[0].Event.Origin != "telegram" {
			t.Errorf("%+v", deleted)
		}
		tm.shows("discord", "s", "hello")
		if answer, _ := tm.say("telegram", "main", "Ana", "/id"); !strings.Contains(answer, "your id among operators is telegram:u-Ana") {
			t.Error(answer)
		}
		_, effects = tm.say("discord", "main", "Anna", "/unlink")
		want(t, effects, "operator_status Anna=offline,command Anastasia=offline,command")
	})
}

func TestPublicName(t *testing.T) {
	t.Parallel()
	inTeam(t, func(_ *relay.Options, p *people.Options) { p.PublicName, p.OnReply = "Support", false }, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		_, effects := tm.say("telegram", tm.thread("telegram", "s"), "Ana", "hi")
		want(t, effects, "operator_message content=hi operatorName=Support sourceBridge=telegram")
		answer, effects := tm.say("telegram", "main", "Ana", "/name Anastasia")
		if !strings.Contains(answer, "visitors see everybody as Support: PUBLIC_OPERATOR_NAME") {
			t.Error(answer)
		}
		want(t, effects, "operator_status Support=offline,command")
		_, effects = tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/close")
		want(t, effects, "session_closed operatorName=Support sourceBridge=telegram")
	})
}

// A stranger is told once in each thread, and hears of nothing else; what they do to messages that are there counts for nothing.
func TestStrangers(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Operators = []string{"telegram:u-Ana"} }, func(t *testing.T, tm *team) {
		tm.ingest(message("s1", "m1", "hello"))
		tm.ingest(message("s2", "m1", "hello"))
		synctest.Wait()
		p := tm.places["telegram"]
		for i, c := range []struct{ platform, session, author, want string }{
			{"telegram", "s1", "Eve", "This was not sent to the visitor, Eve"},
			{"telegram", "s1", "Eve", ""},
			{"telegram", "s2", "Eve", "This was not sent to the visitor, Eve"},
			{"telegram", "s1", "Eli", "This was not sent to the visitor, Eli"},
			{"discord", "s1", "Ana", "put discord:u-Ana into OPERATORS"}, // of the same name, on another platform
		} {
			answer, effects := tm.say(c.platform, tm.thread(c.platform, c.session), c.author, "hi")
			if !strings.Contains(answer, c.want) || c.want == "" && answer != "" || len(effects) > 0 {
				t.Errorf("%d: %q, %q", i, answer, effects)
			}
		}
		if answer, effects := tm.say("telegram", "main", "Eve", "just talk"); answer != "" || len(effects) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		at := tm.thread("telegram", "s1")
		visitors := p.Shown(at)[0].ID
		reaction := bridge.Update{Kind: bridge.UpdateReaction, Thread: at, Message: visitors, Author: bridge.Author{ID: "u-Eve", Name: "Eve"}}
		if _, effects := tm.do("telegram", reaction); len(effects) > 0 {
			t.Errorf("%q", effects)
		}
		reaction.Author = bridge.Author{ID: "u-Ana", Name: "Ana"}
		if _, effects := tm.do("telegram", reaction); len(effects) != 1 {
			t.Errorf("%q", effects)
		}
		if _, effects := tm.say("telegram", at, "Ana", "hi"); len(effects) != 2 {
			t.Errorf("%q", effects)
		}
	})
}

func TestMistypedCommands(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		for typed, want := range map[string]string{
			"onlin": "online", "onlien": "online", "ofline": "offline", "clos": "close", "raed": "read", "unclame": "unclaim", "stauts": "status",
			"delet": "delete", "cannned": "canned", "comands": "commands", "xyzzy": "", "q": "", "weather": "", "ping": "",
		} {
			answer, effects := tm.say("telegram", "main", "Ana", "/"+typed+" please")
			suggestion := ""
			if want != "" {
				suggestion = " Did you mean /" + want + "?"
			}
			if answer != "I do not know /"+typed+"."+suggestion+" /help lists all commands." || len(effects) > 0 {
				t.Errorf("/%s: %q, %q", typed, answer, effects)
			}
		}
	})
}

// Two people who claim at once, and two who close at once: one does, and the other is told.
func TestOneOfTwoIsFaster(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		for _, command := range []string{"/claim", "/close"} {
			before := tm.last()
			for i := range 20 {
				name := platformNames[i%3]
				tm.places[name].Tell(tm.update(tm.thread(name, "s"), fmt.Sprint("op", i), command, ""))
			}
			synctest.Wait()
			entries, err := tm.store.Read(context.Background(), before, 1000, 0)
			if err != nil {
				t.Fatal(err)
			}
			did := 0
			for _, e := range entries {
				if e.Event.Session == "s" && (e.Event.Type == bridge.TypeSessionClosed || e.Event.Type == bridge.TypeAnswer) {
					did++
				}
			}
			if did != 1 {
				t.Errorf("%s is done %d times", command, did)
			}
		}
	})
}

// What happened while nobody followed is judged by its order: a message before the closing does not open the conversation again,
// one after it does.
func TestReopenedByWhatCameAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		closedAfter time.Duration // the message
		want        []string
	}{
		"before": {time.Minute, nil}, "after": {-time.Minute, []string{"session_reopened sourceBridge=api"}},
	} {
		t.Run(name, func(t *testing.T) {
			inTeam(t, nil, func(t *testing.T, tm *team) {
				tm.ingest(message("s", "m1", "hello"))
				time.Sleep(time.Minute)
				tm.stop()
				s, err := bolt.Open(tm.path, bolt.Options{})
				if err != nil {
					t.Fatal(err)
				}
				body := message("s", "m2", "more")
				said := bridge.Batch{Events: []bridge.Event{{
					Type: bridge.TypeVisitorMessage, Origin: bridge.OriginApp, Session: "s", Message: "m2", Opens: true, Body: json.RawMessage(body),
				}}}
				closed := bridge.Batch{
					Events: []bridge.Event{{
						Type: bridge.TypeSessionClosed, Origin: "slack", Session: "s",
						Body: json.RawMessage(`{"sessionId":"s","sourceBridge":"slack","operatorName":"Ana"}`),
					}},
					Rows: []bridge.Row{{Table: "closed", Key: "s", Session: "s", Value: fmt.Appendf(nil, `{"platform":"slack","name":"Ana","at":%q}`,
						time.Now().Add(max(c.closedAfter, 0)).UTC().Format(time.RFC3339Nano))}},
				}
				order := []bridge.Batch{said, closed}
				if c.closedAfter < 0 {
					slices.Reverse(order)
				}
				for _, b := range order {
					if _, err := s.Commit(t.Context(), b); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
				}
				last, err := s.Last(t.Context())
				if err = errors.Join(err, s.Close()); err != nil {
					t.Fatal(err)
				}
				tm.start()
				time.Sleep(5 * time.Second)
				want(t, tm.effects(last), c.want...)
			})
		})
	}
}

// A command in a platform's menu is no message: who gave it is answered, whatever the threads are told, and nothing that the
// platform needs for the answer goes anywhere else.
func TestSlashCommands(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Operators = []string{"discord:u-Ana"} }, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		slash := func(author, command, wantAnswer, wantEffect string) {
			t.Helper()
			u := tm.update(tm.thread("discord", "s"), author, command, "")
			u.Slash, u.Message = true, bridge.MessageID(fmt.Sprint("token-", tm.asked))
			answer, effects := tm.do("discord", u)
			if answer != wantAnswer || strings.Join(effects, "; ") != wantEffect {
				t.Errorf("%s: %q, %q", command, answer, effects)
			}
		}
		refused := "This was not sent to the visitor, Eve: you are not one of the operators. Whoever runs the bridge can put discord:u-Eve into OPERATORS."
		slash("Eve", "/close", refused, "")
		slash("Eve", "/close", refused, "")
		slash("Ana", "/claim", "You take care of this visitor.", "conversation_assigned operatorName=Ana")
		slash("Ana", "/unclaim", "Nobody takes care of this visitor now.", "conversation_assigned operatorName=")
		slash("Ana", "/note secret-talk", "It is noted, and not sent to the visitor.", "")
		slash("Ana", "/r hello", "Sent to the visitor: hello", "operator_message content=hello operatorName=Ana sourceBridge=discord; operator_status Ana=online,reply")
		slash("Ana", "/close", "The conversation is closed.", "session_closed operatorName=Ana sourceBridge=discord")
		tm.shows("slack", "s", "📝 Ana (Discord), not for the visitor: secret-talk", "Ana (Discord): hello", "✅ Ana (Discord) has closed the conversation.")
		for _, e := range tm.events() {
			if e.Event.FromOperators() && strings.Contains(string(e.Wire()), "token-") {
				t.Errorf("app servers are told %s", e.Wire())
			}
		}
		tm.secret()
	})
}

// An answer that comes slowly is shown all the same: that of /close before the thread is closed, any other in a thread that is opened
// for it.
func TestAnswersInClosedThreads(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		p, thread := tm.places["discord"], tm.thread("discord", "s")
		p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if c.Text == "The conversation is closed." {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		u := tm.update(thread, "Ana", "/close", "")
		u.Slash, u.Message = true, "token"
		p.Tell(u)
		time.Sleep(time.Minute)
		if !slices.ContainsFunc(p.Shown(thread), func(s bridgetest.Shown) bool { return s.Text == "The conversation is closed." }) {
			t.Error("the answer to /close is lost")
		}
		calls := p.Calls(bridgetest.OpCloseThread)
		if len(calls) != 1 || !strings.HasPrefix(p.Calls(bridgetest.OpSend)[len(p.Calls(bridgetest.OpSend))-1].Text, "✅") {
			t.Errorf("the thread was closed %d times, or something was said after it was", len(calls))
		}
		u = tm.update(thread, "Ana", "!close", "")
		p.Tell(u)
		time.Sleep(time.Minute)
		if !slices.ContainsFunc(p.Shown(thread), func(s bridgetest.Shown) bool {
			return s.ReplyTo == u.Message && strings.HasPrefix(s.Text, "The conversation is closed already, by Ana")
		}) {
			t.Errorf("the answer in a closed thread is lost: %+v", p.Shown(thread))
		}
	})
}

// An answer in a thread that may not be opened is dropped, and others come.
func TestAnswerWhereNothingOpensTheThread(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		tm.ingest(message("s2", "m1", "hello"))
		synctest.Wait()
		p := tm.places["discord"]
		p.Hook(bridgetest.OpReopenThread, func(context.Context, bridgetest.Call) error {
			return &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeOperation, Op: bridgetest.OpReopenThread, Detail: "no right"}
		})
		p.ShutThread(tm.thread("discord", "s"))
		p.Tell(tm.update(tm.thread("discord", "s"), "Ana", "!id", ""))
		time.Sleep(time.Minute)
		if answer, _ := tm.say("discord", tm.thread("discord", "s2"), "Ana", "!id"); !strings.Contains(answer, "Session: s2") {
			t.Errorf("the next answer is %q", answer)
		}
	})
}

// What an operator writes to a conversation that somebody has closed opens it again: for the app, in all threads, and for the list of those
// who wait.
func TestOperatorsWordOpensWhatIsClosed(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello?"))
		synctest.Wait()
		tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/close")
		_, effects := tm.say("discord", tm.thread("discord", "s"), "Ben", "one more thing")
		if len(effects) != 3 || effects[0] != "session_reopened operatorName=Ben sourceBridge=discord" || !strings.HasPrefix(effects[1], "operator_message") {
			t.Errorf("a word: %q", effects)
		}
		if _, effects = tm.say("discord", tm.thread("discord", "s"), "Ben", "/r and another"); len(effects) != 1 {
			t.Errorf("the next: %q", effects)
		}
		if info, _ := tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/info"); strings.Contains(info, "closed") {
			t.Errorf("info says %q", info)
		}
		tm.shows("slack", "s", "↩️ Ben (Discord) has opened the conversation again.", "Ben (Discord): one more thing", "Ben (Discord): and another")
		reopened := tm.of(bridge.TypeSessionReopened)
		if len(reopened) != 1 || reopened[0].Event.Session != "s" {
			t.Errorf("reopened: %v", reopened)
		}
	})
}

// Reminders quote what the last words are now, and call a person once: where they were last, and one of several accounts of one name.
func TestReminderQuotesAndCallsOnce(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Unanswered = 5 * time.Minute }, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		time.Sleep(time.Second)
		tm.say("discord", "main", "Ana", "/online")
		tm.ingest(message("s", "m1", "hello?"))
		tm.ingest(message("s", "m2", "about my /close order"))
		tm.ingest(`{"type":"visitor_message_edited","sessionId":"s","messageId":"m2","content":"about order 7"}`)
		tm.ingest(message("gone", "m1", "never mind"))
		time.Sleep(time.Second) // it is shown before it goes: else nothing of the visitor ever is
		tm.ingest(`{"type":"visitor_message_deleted","sessionId":"gone","messageId":"m1"}`)
		time.Sleep(5*time.Minute + 2*time.Second)
		want(t, tm.pings("telegram", "s"))
		want(t, tm.pings("slack", "s"))
		want(t, tm.pings("discord", "s"), "u-Ana")
		tm.shows("discord", "s", "@u-Ana ⏰ v-s has waited for an answer for 5 min: “about order 7”")
		tm.shows("discord", "gone", "@u-Ana ⏰ v-gone has waited for an answer for 5 min.")
	})
}

// App servers are told once of a visitor who waits, whoever is online, over a restart, and anew after an answer.
func TestVisitorWaitingIsTold(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Unanswered = 5 * time.Minute }, func(t *testing.T, tm *team) {
		told := func() (out []string) {
			for _, e := range tm.of(bridge.TypeVisitorWaiting) {
				var body bridge.VisitorWaiting
				if err := json.Unmarshal(e.Event.Body, &body); err != nil {
					t.Fatal(err)
				}
				out = append(out, fmt.Sprint(body.SessionID, " ", body.Seconds))
			}
			return out
		}
		tm.ingest(message("s", "m1", "hello?"))
		time.Sleep(4 * time.Minute)
		tm.ingest(message("later", "m1", "hello?"))
		want(t, told())
		time.Sleep(time.Minute + 2*time.Second)
		want(t, told(), "s 300")
		tm.again(time.Minute)
		time.Sleep(4 * time.Minute)
		want(t, told(), "s 300", "later 300")
		tm.say("telegram", "main", "Ana", "/online")
		time.Sleep(2 * time.Second)
		tm.say("telegram", tm.thread("telegram", "s"), "Ana", "hi")
		tm.ingest(message("s", "m2", "thanks"))
		time.Sleep(5*time.Minute + 2*time.Second)
		want(t, told(), "s 300", "later 300", "s 300")
		for _, name := range platformNames {
			for _, text := range texts(tm.places[name], "s") {
				if strings.Contains(text, "visitor_waiting") || strings.Contains(text, "seconds") {
					t.Errorf("%s shows %q", name, text)
				}
			}
		}
	})
}
