package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
)

// words keeps of what happened what the visitor's app is told of messages.
func words(effects []string) []string {
	var out []string
	for _, e := range effects {
		if !strings.HasPrefix(e, "operator_status") {
			out = append(out, e)
		}
	}
	return out
}

// effectsOf is do without the answer.
func (tm *team) effectsOf(platform string, u bridge.Update) []string {
	tm.t.Helper()
	_, effects := tm.do(platform, u)
	return effects
}

// questionOn returns the id of the bridge's question about an update.
func (tm *team) questionOn(platform string, u bridge.Update) bridge.MessageID {
	tm.t.Helper()
	for _, s := range tm.places[platform].Shown(u.Thread) {
		if s.ReplyTo == u.Message && strings.HasPrefix(s.Text, "❓ ") {
			return s.ID
		}
	}
	tm.t.Fatalf("%s asks nothing about %q", platform, u.Text)
	return ""
}

// onEachPlatform runs a test in a session's thread on each platform.
func onEachPlatform(t *testing.T, test func(t *testing.T, tm *team, on string, at bridge.ThreadID)) {
	for _, on := range platformNames {
		t.Run(on, func(t *testing.T) {
			inTeam(t, nil, func(t *testing.T, tm *team) {
				tm.ingest(message("s", "m1", "hello"))
				synctest.Wait()
				test(t, tm, on, tm.thread(on, "s"))
			})
		})
	}
}

// What looks like a command is held and asked about, in one line; /send sends it with its files, once, and its writer's alone.
func TestHeldAndSent(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		u := tm.update(at, "Ana", "!noet he is a known cheat", "")
		u.Files = []bridge.Attachment{{Filename: "a.png", BridgeFileID: "f1", Size: 3}}
		answer, effects := tm.do(on, u)
		for _, part := range []string{"❓ Not sent to the visitor: there is no command !noet. Did you mean ", "note?", "send sends it as it is"} {
			if !strings.Contains(answer, part) || strings.Contains(answer, "\n") {
				t.Errorf("%q", answer)
			}
		}
		if hint := strings.Contains(answer, "“yes”"); hint == (on == "slack") {
			t.Errorf("%q", answer)
		}
		want(t, words(effects))
		tm.shows(map[string]string{"telegram": "discord", "discord": "slack", "slack": "telegram"}[on], "s", "hello")

		// Another operator's /send is about what they wrote.
		if answer, effects = tm.say(on, at, "Ben", "!send"); !strings.HasPrefix(answer, "Nothing that you wrote here waits") || len(effects) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		tm.again(time.Second) // it survives a restart
		_, effects = tm.say(on, at, "Ana", "!send")
		want(t, words(effects), "operator_message attachments=[map[bridgeFileId:f1 filename:a.png id:"+fileIDOf(effects)+
			" size:3 status:ready uploadedFrom:"+on+"]] content=!noet he is a known cheat operatorName=Ana sourceBridge="+on)
		if got := tm.of(bridge.TypeOperatorMessage)[0].Event.Message; got != on+":"+string(u.Message) {
			t.Errorf("it was sent as %s", got)
		}
		if answer, effects = tm.say(on, at, "Ana", "!send"); !strings.HasPrefix(answer, "Nothing that you wrote here waits") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}

		// After a day it is too late.
		tm.say(on, at, "Ana", "/weather is fine")
		time.Sleep(24*time.Hour + time.Minute)
		if answer, effects = tm.say(on, at, "Ana", "!send"); !strings.HasPrefix(answer, "Nothing that you wrote here waits") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
	})
}

func fileIDOf(effects []string) string {
	_, rest, _ := strings.Cut(strings.Join(effects, " "), " id:")
	id, _, _ := strings.Cut(rest, " ")
	return id
}

// The last of several is sent; one that was deleted is not.
func TestLastHeld(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		tm.say(on, at, "Ana", "!first")
		tm.say(on, at, "Ana", "!second")
		_, effects := tm.say(on, at, "Ana", "!send")
		want(t, words(effects), "operator_message content=!second operatorName=Ana sourceBridge="+on)
		if answer, effects := tm.say(on, at, "Ana", "!send"); len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		u := tm.update(at, "Ana", "!third", "")
		tm.do(on, u)
		tm.do(on, bridge.Update{Kind: bridge.UpdateDelete, Thread: at, Message: u.Message})
		if answer, effects := tm.say(on, at, "Ana", "!send"); len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
	})
}

// “yes” in reply to the question, or to the message, sends it, where there are replies; elsewhere, and in reply to anything else, it
// is a word. “no” is not for the visitor either.
func TestYes(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		u := tm.update(at, "Ana", "!noet x", "")
		tm.do(on, u)
		question := tm.questionOn(on, u)
		if on == "slack" {
			_, effects := tm.do(on, tm.update(at, "Ana", "yes", question))
			want(t, words(effects), "operator_message content=yes operatorName=Ana sourceBridge=slack")
			return
		}
		visitors := tm.places[on].Shown(at)[0].ID
		_, effects := tm.do(on, tm.update(at, "Ana", "Yes", visitors))
		want(t, words(effects), "operator_message content=Yes operatorName=Ana sourceBridge="+on)
		_, effects = tm.say(on, at, "Ana", "yes")
		want(t, words(effects), "operator_message content=yes operatorName=Ana sourceBridge="+on)
		for who, said := range map[string]string{"Ana": "no", "Ben": "yes"} {
			answer, effects := tm.do(on, tm.update(at, who, said, question))
			if want(t, words(effects)); answer == "" {
				t.Errorf("%s is not answered", who)
			}
		}
		_, effects = tm.do(on, tm.update(at, "Ana", "Yes!", question))
		want(t, words(effects), "operator_message content=!noet x operatorName=Ana sourceBridge="+on)
		if answer, effects := tm.do(on, tm.update(at, "Ana", "yes", question)); !strings.HasPrefix(answer, "Nothing that you wrote") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		u = tm.update(at, "Ana", "!noet y", "")
		tm.do(on, u)
		_, effects = tm.do(on, tm.update(at, "Ana", "yes", u.Message))
		want(t, words(effects), "operator_message content=!noet y operatorName=Ana sourceBridge="+on)
	})
}

func editedTo(u bridge.Update, text string) bridge.Update {
	u.Kind, u.Text, u.Command, u.Edited = bridge.UpdateEdit, text, nil, time.Now()
	return u
}

// A held edit leaves what the visitor sees until it is sent; an edit of what is held is what was to be sent.
func TestHeldEdits(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		sent := tm.update(at, "Ana", "Good morning", "")
		tm.do(on, sent)
		answer, effects := tm.do(on, editedTo(sent, "!noet he cheats"))
		if want(t, words(effects)); !strings.HasPrefix(answer, "❓ The visitor still sees what it was before: there is no command !noet.") {
			t.Errorf("%q", answer)
		}
		if answer, effects = tm.do(on, editedTo(sent, "!noet he cheats")); strings.Count(answer, "❓") != 1 || len(effects) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		_, effects = tm.say(on, at, "Ana", "!send")
		want(t, words(effects), "operator_message_edited content=!noet he cheats")

		// One that is taken back is not sent later.
		tm.do(on, editedTo(sent, "!noet again"))
		_, effects = tm.do(on, editedTo(sent, "Good evening"))
		want(t, words(effects), "operator_message_edited content=Good evening")
		if answer, effects = tm.say(on, at, "Ana", "!send"); !strings.HasPrefix(answer, "Nothing that you wrote") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}

		u := tm.update(at, "Ana", "/tracking is 5", "")
		tm.do(on, u)
		_, effects = tm.do(on, editedTo(u, "tracking is 5"))
		want(t, words(effects), "operator_message content=tracking is 5 operatorName=Ana sourceBridge="+on)
		u = tm.update(at, "Ana", "!noet x", "")
		tm.do(on, u)
		_, effects = tm.do(on, editedTo(u, "!note x"))
		want(t, words(effects))
		tm.shows(on, "s", fmt.Sprintf("📝 Ana (%s), not for the visitor: x", strings.ToUpper(on[:1])+on[1:]))
		if answer, effects = tm.say(on, at, "Ana", "!send"); !strings.HasPrefix(answer, "Nothing that you wrote") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
	})
}

// An album whose caption is not for the visitor is not sent in part, and is sent whole.
func TestHeldAlbum(t *testing.T) {
	t.Parallel()
	inTeam(t, nil, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		at := tm.thread("telegram", "s")
		album := func(name string, captions ...string) []string {
			var all []string
			for i, caption := range captions {
				u := tm.update(at, "Ana", caption, "")
				u.Album, u.Files = name, []bridge.Attachment{{ID: fmt.Sprint(name, i), Filename: fmt.Sprint(name, i), BridgeFileID: fmt.Sprint("ref", name, i)}}
				_, effects := tm.do("telegram", u)
				all = append(all, words(effects)...)
			}
			return all
		}
		for _, caption := range []string{"!noet see", "/note see"} {
			want(t, album(caption, caption, "", ""))
		}
		_, effects := tm.say("telegram", at, "Ana", "/send")
		sent := words(effects)
		if len(sent) != 1 || !strings.Contains(sent[0], "refnoet") && strings.Count(sent[0], "bridgeFileId:") != 3 || !strings.Contains(sent[0], "content=!noet see") {
			t.Errorf("%q", sent)
		}
		if all := album("plain", "see", ""); len(all) != 2 {
			t.Errorf("%q", all)
		}
		if all := album("as it is", "/r see", ""); len(all) != 2 || !strings.Contains(all[0], "content=see") {
			t.Errorf("%q", all)
		}
	})
}

// A command to another bot is neither sent nor asked about.
func TestOtherBots(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		u := tm.update(at, "Ana", "", "")
		u.Text = "/deploy@other_bot now"
		if answer, effects := tm.do(on, u); answer != "" || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		sent := tm.update(at, "Ana", "hi", "")
		tm.do(on, sent)
		if answer, effects := tm.do(on, editedTo(sent, u.Text)); answer != "" || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
	})
}

// Where all is talk among operators, nothing is held: it is a note.
func TestNothingIsHeldInside(t *testing.T) {
	t.Parallel()
	inTeam(t, func(o *relay.Options, _ *people.Options) { o.Internal = true }, func(t *testing.T, tm *team) {
		tm.ingest(message("s", "m1", "hello"))
		synctest.Wait()
		at := tm.thread("telegram", "s")
		visitors := tm.places["telegram"].Shown(at)[0].ID
		for _, replyTo := range []bridge.MessageID{"", visitors} {
			if answer, effects := tm.do("telegram", tm.update(at, "Ana", "!noet x", replyTo)); answer != "" || len(words(effects)) > 0 {
				t.Errorf("%q, %q", answer, effects)
			}
		}
		sent := tm.update(at, "Ana", "hi", visitors)
		tm.do("telegram", sent)
		if answer, effects := tm.do("telegram", editedTo(sent, "!noet x")); !strings.Contains(answer, "does not become a note") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
		if answer, effects := tm.say("telegram", at, "Ana", "/send"); !strings.HasPrefix(answer, "Nothing that you wrote") || len(words(effects)) > 0 {
			t.Errorf("%q, %q", answer, effects)
		}
	})
}

// An edit that changes nothing is told to nobody: platforms tell of a first reaction, or a preview, as of an edit.
func TestEditsThatChangeNothing(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		tm.say("slack", "main", "Ana", "!canned add bye Goodbye!")
		file := bridge.Attachment{ID: "u1", Filename: "a.png", BridgeFileID: "f1"}
		for _, text := range []string{"Your order ships today", "!r as it was", "!bye", "!send /as it is"} {
			u := tm.update(at, "Ana", text, "")
			u.Files = []bridge.Attachment{file}
			if _, effects := tm.do(on, u); len(words(effects)) != 1 {
				t.Fatalf("%s: %q", text, effects)
			}
			before, _ := tm.do(on, bridge.Update{Thread: at, Message: u.Message})
			same := editedTo(u, text)
			same.Files = []bridge.Attachment{{ID: "u1", Filename: "a.png", BridgeFileID: "another way to it"}}
			if answer, effects := tm.do(on, same); answer != before || len(effects) > 0 {
				t.Errorf("%s: %q, %q", text, answer, effects)
			}
		}
		for _, other := range platformNames {
			if n := len(tm.places[other].Calls(bridgetest.OpEdit)); n > 0 {
				t.Errorf("%s is called %d times", other, n)
			}
		}
		// Of a message that an older bridge has sent it is not known what it said.
		u := tm.update(at, "Ana", "of old", "")
		tm.do(on, u)
		key := "s\n" + on + ":" + string(u.Message)
		if _, err := tm.store.Commit(t.Context(), bridge.Batch{Rows: []bridge.Row{{Table: "said", Key: key}}}); err != nil {
			t.Fatal(err)
		}
		_, effects := tm.do(on, editedTo(u, "of old"))
		want(t, words(effects), "operator_message_edited content=of old")
	})
}

// Files that are replaced or removed are told to the app and shown elsewhere, and the operator is told; a message of which nothing is
// left was deleted.
func TestEditsOfFiles(t *testing.T) {
	t.Parallel()
	onEachPlatform(t, func(t *testing.T, tm *team, on string, at bridge.ThreadID) {
		file := func(id string) []bridge.Attachment {
			return []bridge.Attachment{{ID: id, Filename: id + ".png", BridgeFileID: "ref-" + id, Size: 3}}
		}
		u := tm.update(at, "Ana", "see", "")
		u.Files = file("old")
		tm.do(on, u)
		next := editedTo(u, "see")
		next.Files = file("new")
		answer, effects := tm.do(on, next)
		want(t, words(effects), "operator_message_edited attachments=[map[bridgeFileId:ref-new filename:new.png id:new size:3 status:ready uploadedFrom:"+
			on+"]] content=see")
		if !strings.HasPrefix(answer, "The visitor's app was told which files this message has now.") {
			t.Errorf("%q", answer)
		}
		for _, other := range platformNames {
			if other == on {
				continue
			}
			all := strings.Join(tm.places[other].Texts(tm.thread(other, "s")), "\n")
			if !strings.Contains(all, "new.png") || strings.Contains(all, "old.png") {
				t.Errorf("%s shows %q", other, all)
			}
		}
		next.Files = nil
		_, effects = tm.do(on, editedTo(next, "see"))
		want(t, words(effects), "operator_message_edited attachments=[] content=see")

		u = tm.update(at, "Ana", "caption", "")
		u.Files = file("kept")
		tm.do(on, u)
		_, effects = tm.do(on, editedTo(u, "")) // what is left is a file without a text: the app is told which
		want(t, words(effects), "operator_message_edited attachments=[map[bridgeFileId:ref-kept filename:kept.png id:kept size:3 status:ready uploadedFrom:"+
			on+"]] content=")
		u.Files = nil
		_, effects = tm.do(on, editedTo(u, ""))
		want(t, words(effects), "operator_message_deleted")
	})
}
