package relay_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
)

// inCalledTeam runs a test with a team on platforms where a word calls those who are to hear it.
func inCalledTeam(t *testing.T, test func(t *testing.T, tm *team)) {
	t.Helper()
	inTeam(t, func(o *relay.Options, _ *people.Options) {
		for _, p := range o.Platforms {
			p.(*bridgetest.Platform).Bears.Rings = false
		}
	}, test)
}

// Everybody who is online is called until somebody answers, and again when nobody of those who have answered is there any more.
func TestWordsCallWhoeverIsThere(t *testing.T) {
	t.Parallel()
	inCalledTeam(t, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("discord", "main", "Ben", "/online")
		tm.say("slack", "main", "Cem", "/away")
		tm.ingest(message("s", "m1", "hello?"))
		tm.ingest(message("s", "m2", "are you there?"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
		want(t, tm.pings("discord", "s"), "u-Ben", "u-Ben")
		want(t, tm.pings("slack", "s"))

		tm.say("telegram", tm.thread("telegram", "s"), "Ana", "hi")
		tm.ingest(message("s", "m3", "thanks"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
		want(t, tm.pings("discord", "s"), "u-Ben", "u-Ben")

		tm.say("telegram", "main", "Ana", "/offline")
		tm.ingest(message("s", "m4", "and?"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
		want(t, tm.pings("discord", "s"), "u-Ben", "u-Ben", "u-Ben")
	})
}

// Whoever has claimed a visitor is called alone, on their platform alone.
func TestWordsCallWhoeverHasClaimed(t *testing.T) {
	t.Parallel()
	inCalledTeam(t, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		tm.say("discord", "main", "Ben", "/online")
		tm.ingest(message("s", "m1", "hello?"))
		synctest.Wait()
		tm.say("discord", tm.thread("discord", "s"), "Ben", "/claim")
		tm.ingest(message("s", "m2", "are you there?"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana")
		want(t, tm.pings("discord", "s"), "u-Ben", "u-Ben")
		tm.say("discord", "main", "Ben", "/offline")
		tm.ingest(message("s", "m3", "hello?"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
		want(t, tm.pings("discord", "s"), "u-Ben", "u-Ben")
	})
}

// What the AI answers calls nobody, until an operator says that it shall not; an answer on the site counts for a quarter of an hour.
func TestAnswersElsewhereCallNobody(t *testing.T) {
	t.Parallel()
	inCalledTeam(t, func(t *testing.T, tm *team) {
		tm.say("telegram", "main", "Ana", "/online")
		tm.ingest(`{"type":"ai_takeover","session":{"id":"s","visitorId":"v"}}`)
		tm.ingest(message("s", "m1", "hello?"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"))
		tm.say("telegram", tm.thread("telegram", "s"), "Ana", "/ai off")
		tm.ingest(message("s", "m2", "a person, please"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana")
		tm.ingest(`{"type":"operator_message","message":{"id":"o1","sessionId":"s","content":"hi","sender":"operator"},` +
			`"session":{"id":"s","visitorId":"v"},"sourceBridge":"api","operatorName":"Zoe"}`)
		tm.ingest(message("s", "m3", "thanks"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana")
		time.Sleep(16 * time.Minute)
		tm.ingest(message("s", "m4", "one more"))
		synctest.Wait()
		want(t, tm.pings("telegram", "s"), "u-Ana", "u-Ana")
	})
}

// Visitors are told that an operator types words, and not that a command is typed.
func TestTypingIsToldForWords(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello?"))
		synctest.Wait()
		var mu sync.Mutex
		var told []bool
		defer tm.relay.Ephemeral(func(e bridge.Entry) {
			var body bridge.OperatorTyping
			if e.Event.Type != bridge.TypeOperatorTyping || json.Unmarshal(e.Event.Body, &body) != nil || body.SessionID != "s" {
				t.Errorf("told %+v", e)
			}
			mu.Lock()
			defer mu.Unlock()
			told = append(told, body.IsTyping)
		})()
		since := func() []bool {
			mu.Lock()
			defer mu.Unlock()
			out := told
			told = nil
			return out
		}
		types := func() {
			ana := bridge.Author{ID: "u-Ana", Name: "Ana"}
			tm.places["discord"].Tell(bridge.Update{Kind: bridge.UpdateTyping, Thread: tm.thread("discord", "s"), Author: ana})
			synctest.Wait()
		}
		for _, c := range []struct {
			typed string
			lasts time.Duration
			told  []bool
		}{
			{"/info", 2 * time.Second, nil},
			{"hello", 2 * time.Second, nil},
			{"hello", 5 * time.Second, []bool{true}},
			{"/note call him", 5 * time.Second, []bool{true, false}},
			{"/maybe no command", 5 * time.Second, []bool{true, false}},
		} {
			types()
			time.Sleep(c.lasts)
			tm.say("discord", tm.thread("discord", "s"), "Ana", c.typed)
			synctest.Wait()
			if got := since(); !slices.Equal(got, c.told) {
				t.Errorf("%q typed for %s: told %v, want %v", c.typed, c.lasts, got, c.told)
			}
			time.Sleep(time.Minute)
		}
		types()
		time.Sleep(8 * time.Second)
		types()
		if got := since(); !slices.Equal(got, []bool{true, true}) {
			t.Errorf("a long text: %v", got)
		}
	})
}
