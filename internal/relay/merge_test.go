package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/sandbox/soak"
)

// narrow is a platform that takes few calls, and shows several words in one message.
func narrow(t *testing.T, calls int, test func(t *testing.T, h *house, p *bridgetest.Platform)) {
	t.Helper()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears.Pace, p.Bears.Merge = []bridge.Pace{{Calls: calls, Per: time.Minute}}, 3500
		h.start()
		test(t, h, p)
	})
}

// busy has the platform show so many words of sessions of their own, so that what comes next waits.
func busy(h *house, sessions int) {
	for i := range sessions {
		h.ingest(message(fmt.Sprint("busy", i), "1", "hello"))
	}
}

// delivered are the ids of a session's messages that are told to be shown, in order.
func delivered(h *house, session string) []string {
	var out []string
	for _, e := range h.of(bridge.TypeMessageDelivered) {
		if e.Event.Session == session {
			out = append(out, e.Event.Message)
		}
	}
	return out
}

// Words that wait for the pace are shown in one message, and told to be shown each by itself. Where nothing waits, each is a message.
func TestWordsThatWaitAreMerged(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.ingest(message("a", "0", "zero"))
		settle()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "two"))
		synctest.Wait()
		want(t, texts(p, "a"), "zero", "one", "two")
		busy(h, 5)
		synctest.Wait()
		for i := range 3 {
			h.ingest(message("a", fmt.Sprint("m", i), fmt.Sprint("word ", i)))
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		shown := texts(p, "a")
		want(t, shown[3:], "word 0\n\nword 1\n\nword 2")
		want(t, delivered(h, "a"), "0", "1", "2", "m0", "m1", "m2")
		want(t, h.letterIDs(""))
	})
}

// merged makes words of a session one message, and returns its thread and that message.
func merged(t *testing.T, h *house, p *bridgetest.Platform, words ...string) (bridge.ThreadID, bridgetest.Shown) {
	t.Helper()
	h.ingest(message("a", "0", "zero"))
	settle()
	busy(h, 5)
	synctest.Wait()
	for i, w := range words {
		h.ingest(message("a", fmt.Sprint("m", i), w))
	}
	time.Sleep(3 * time.Minute)
	thread := p.Threads("a")[0]
	all := p.Shown(thread)
	if len(all) != 2 || all[1].Text != strings.Join(words, "\n\n") {
		t.Fatalf("it shows %+v", all)
	}
	return thread, all[1]
}

// An edit of one of several words is one call, several that wait are one, and the last deletion takes the message away.
func TestChangesOfMergedWords(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		merged(t, h, p, "one", "two", "three")
		time.Sleep(time.Minute) // what is said of what waits is over
		calls := len(p.Calls(bridgetest.OpEdit))
		h.ingest(edited("m1", "TWO", 1))
		settle()
		want(t, texts(p, "a"), "zero", "one\n\nTWO\n\nthree")
		release := p.Hold(bridgetest.OpEdit)
		h.ingest(edited("m0", "ONE", 1))
		synctest.Wait()
		h.ingest(edited("m1", "zwei", 2))
		h.ingest(edited("m2", "drei", 3))
		h.ingest(deleted("m1"))
		synctest.Wait()
		release()
		settle()
		want(t, texts(p, "a"), "zero", "ONE\n\ndrei")
		if n := len(p.Calls(bridgetest.OpEdit)) - calls; n != 3 {
			t.Errorf("%d edits were made", n)
		}
		h.ingest(edited("m2", "old", 2)) // is older than what is shown
		h.ingest(deleted("m0"))
		settle()
		want(t, texts(p, "a"), "zero", "drei")
		h.ingest(deleted("m2"))
		time.Sleep(time.Minute)
		want(t, texts(p, "a"), "zero")
		want(t, h.letterIDs(""))
	})
}

// What is edited or deleted while it waits is shown as it is then.
func TestChangesOfWordsThatWait(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.ingest(message("a", "0", "zero"))
		settle()
		busy(h, 5)
		synctest.Wait()
		for i := range 4 {
			h.ingest(message("a", fmt.Sprint("m", i), fmt.Sprint("word ", i)))
		}
		h.ingest(edited("m1", "changed", 1))
		h.ingest(deleted("m2"))
		h.ingest(edited("m0", "first", 1))
		time.Sleep(3 * time.Minute)
		want(t, texts(p, "a"), "zero", "first\n\nchanged\n\nword 3")
		for _, c := range p.Calls(bridgetest.OpEdit, bridgetest.OpDelete) {
			if c.Thread != p.MainThread() {
				t.Errorf("a change was made: %+v", c)
			}
		}
		want(t, delivered(h, "a"), "0", "m0", "m1", "m3")
	})
}

// An edit that makes a word too long for its message is shown below, and changed and deleted there.
func TestEditThatHasNoRoom(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.PartSize = 100
		thread, message := merged(t, h, p, "one", "two two two two")
		long := strings.TrimSpace(strings.Repeat("long ", 18))
		h.ingest(edited("m0", long, 1))
		settle()
		shown := p.Shown(thread)
		want(t, texts(p, "a"), "zero", "✏️ below\n\ntwo two two two", "✏️ "+long)
		if shown[2].ReplyTo != message.ID {
			t.Errorf("it replies to %q", shown[2].ReplyTo)
		}
		h.ingest(deleted("m0"))
		settle()
		want(t, texts(p, "a"), "zero", "two two two two")
	})
}

// A group whose answer was lost is shown again as it was, also by the next process; what came meanwhile goes into the next.
func TestGroupWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.ingest(message("a", "0", "zero"))
			settle()
			busy(h, 5)
			synctest.Wait()
			h.ingest(message("a", "1", "one"))
			h.ingest(message("a", "2", "two"))
			var lost atomic.Bool
			p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
				if c.Text == "one\n\ntwo" && lost.CompareAndSwap(false, true) {
					h.ingest(message("a", "3", "three"))
					h.ingest(message("a", "4", "four"))
					return bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession))
				}
				return nil
			})
			for i := 0; !lost.Load() && i < 300; i++ {
				time.Sleep(time.Second)
			}
			if restart {
				h.stop()
				h.start()
			}
			time.Sleep(5 * time.Minute)
			got := texts(p, "a")
			want(t, got[:min(3, len(got))], "zero", "one\n\ntwo", "one\n\ntwo")
			if text := strings.Join(got[3:], "|"); text != "three\n\nfour" && text != "three|four" {
				t.Errorf("then it shows %q", text)
			}
			want(t, delivered(h, "a"), "0", "1", "2", "3", "4")
		})
	}
}

// A word that overtook what stands in front of it, and whose answer was lost, is known by the next process as one that may have been sent,
// though there it does not overtake.
func TestOvertakingWordWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.ingest(message("a", "0", "zero"))
		settle()
		busy(h, 30)
		synctest.Wait()
		h.ingest(`{"type":"identity_update","session":{"id":"a","visitorId":"v-a","identity":{"id":"u","name":"Ada"}}}`)
		h.ingest(message("a", "1", "one"))
		isOne := func(c bridgetest.Call) bool { return strings.HasSuffix(c.Text, "one") } // there may be a time in front of it
		var lost atomic.Bool
		p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if isOne(c) && lost.CompareAndSwap(false, true) {
				return bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession))
			}
			return nil
		})
		for i := 0; !lost.Load() && i < 3000; i++ {
			time.Sleep(100 * time.Millisecond)
		}
		h.stop()
		if n := len(p.Calls(bridgetest.OpRenameThread)); n != 0 {
			t.Fatal("the word has overtaken nothing")
		}
		time.Sleep(5 * time.Minute) // the next one has room
		h.start()
		time.Sleep(5 * time.Minute)
		var again []bool
		for _, c := range p.Calls(bridgetest.OpSend) {
			if isOne(c) {
				again = append(again, !c.Part.Since.IsZero())
			}
		}
		if !slices.Equal(again, []bool{false, true}) || len(p.Calls(bridgetest.OpRenameThread)) != 1 {
			t.Errorf("sent as perhaps sent before: %v, and renamed by %d calls", again, len(p.Calls(bridgetest.OpRenameThread)))
		}
	})
}

// Words that are refused together go one by one.
func TestGroupThatIsRefused(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if strings.Contains(c.Text, "bad") {
				return fault(bridge.ReasonRejected, bridge.ScopeSession)
			}
			return nil
		})
		h.ingest(message("a", "0", "zero"))
		settle()
		busy(h, 5)
		synctest.Wait()
		for i, w := range []string{"one", "bad", "three", "four"} {
			h.ingest(message("a", fmt.Sprint(i+1), w))
		}
		time.Sleep(5 * time.Minute)
		got := texts(p, "a")
		want(t, got[:4], "zero", "one", "three", "four")
		if letters := h.letterIDs(""); len(letters) != 1 {
			t.Errorf("dead letters: %v", letters)
		}
	})
}

// Who replies to a message of several means the one that is quoted, else the last; a visitor's reply quotes the one that it means; a
// reaction is to all.
func TestRepliesToMergedWords(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		thread, at := merged(t, h, p, "one", "two", "three")
		say := func(id string, u bridge.Update) {
			u.Kind, u.Thread, u.Message, u.ReplyTo, u.Text = bridge.UpdateMessage, thread, bridge.MessageID(id), at.ID, "answer"
			u.Author = bridge.Author{ID: "u", Name: "Ana"}
			p.Tell(u)
			settle()
		}
		say("901", bridge.Update{})
		say("902", bridge.Update{Quotes: true, ReplyAt: 1})
		say("903", bridge.Update{Quotes: true, ReplyAt: len("one\n\n") + 1})
		p.Tell(bridge.Update{Kind: bridge.UpdateReaction, Thread: thread, Message: at.ID, Author: bridge.Author{ID: "u", Name: "Ana"}})
		settle()
		var got []string
		for _, e := range h.of(bridge.TypeOperatorMessage) {
			var m bridge.OperatorMessage
			if err := json.Unmarshal(e.Event.Body, &m); err != nil {
				t.Fatal(err)
			}
			got = append(got, m.ReplyToMessageID)
		}
		want(t, got, "m2", "m0", "m1")
		read := h.of(bridge.TypeMessageRead)
		if len(read) != 1 || !strings.Contains(string(read[0].Event.Body), `["m0","m1","m2"]`) {
			t.Errorf("read: %+v", read)
		}
		h.ingest(strings.Replace(message("a", "re", "mine"), `"content"`, `"replyTo":"m1","content"`, 1))
		settle()
		shown := p.Shown(thread)
		last := shown[len(shown)-1]
		if last.ReplyTo != at.ID || last.Excerpt == nil || last.Excerpt.Text != "two" || last.Excerpt.From != len("one\n\n") {
			t.Errorf("the visitor's reply is %+v %+v", last, last.Excerpt)
		}
	})
}

// A message that was held for a minute says when it was written, also after an edit, and so does one that was written a minute after the
// one above it.
func TestLateWordsSayWhen(t *testing.T) {
	t.Parallel()
	narrow(t, 4, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.ingest(message("a", "0", "zero"))
		time.Sleep(5 * time.Minute)
		busy(h, 5)
		synctest.Wait()
		h.ingest(message("a", "1", "one")) // at 00:05:00
		time.Sleep(61 * time.Second)
		h.ingest(message("a", "2", "two"))
		time.Sleep(10 * time.Minute)
		const one, two = "2000-01-01T00:05:00Z · one", "2000-01-01T00:06:01Z · two"
		thread := p.Threads("a")[0]
		all := p.Texts(thread)
		if all = all[1:]; strings.Join(all, "\n\n") != one+"\n\n"+two {
			t.Errorf("it shows %q", all)
		}
		h.ingest(edited("1", "uno", 1))
		time.Sleep(time.Minute)
		if got := strings.Join(p.Texts(thread)[1:], "\n\n"); got != strings.Replace(one+"\n\n"+two, "one", "uno", 1) {
			t.Errorf("then it shows %q", got)
		}
	})
}

// Of those who write while calls are few, every second one who is shown is one of whom nothing was shown before; edits wait for words,
// but not for more than a minute; and what nobody waits for comes last.
func TestTurns(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		p.Bears.Concurrency = 1
		for i := range 6 {
			h.ingest(message(fmt.Sprint("old", i), "0", "hello"))
		}
		time.Sleep(5 * time.Minute)
		before := len(p.Calls())
		h.ingest(strings.Replace(edited("0", "changed", 1), `"a"`, `"old5"`, 1))
		synctest.Wait()
		busy(h, 3) // takes what may go at once
		synctest.Wait()
		for i := range 5 {
			h.ingest(message(fmt.Sprint("old", i), "1", "again"))
		}
		for i := range 2 { // more would be listed
			h.ingest(message(fmt.Sprint("new", i), "1", "new here"))
		}
		h.ingest(strings.Replace(edited("0", "late", 1), `"a"`, `"old0"`, 1))
		time.Sleep(5 * time.Minute)
		var got []string
		for _, c := range p.Calls()[before:] {
			switch {
			case c.Op == bridgetest.OpSend && strings.HasSuffix(c.Text, "again"):
				got = append(got, "old")
			case c.Op == bridgetest.OpOpenThread && strings.HasPrefix(c.Session, "new"):
				got = append(got, "open")
			case c.Op == bridgetest.OpSend && strings.HasSuffix(c.Text, "new here"):
				got = append(got, "new")
			case c.Op == bridgetest.OpEdit && c.Text != "[card v-old5]\nchanged":
				got = append(got, "edit")
			}
		}
		pairs := strings.Join(got, " ")
		if strings.Count(pairs, "open new") != 2 || !strings.Contains(pairs, "old open new old open new") {
			t.Errorf("the turns were %q", pairs)
		}
	})
}

// A burst of new visitors who all write at once is shown whole and in order, in at most a third of the calls that its words would take
// one by one.
func TestBurst(t *testing.T) {
	t.Parallel()
	sessions, words := 60, 5
	if soak.Asked() {
		sessions = 2000
	}
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		var all sync.WaitGroup
		for s := range sessions {
			all.Go(func() {
				for w := range words {
					h.ingest(message(fmt.Sprint("s", s), fmt.Sprint(w), fmt.Sprintf("word %d of %d", w, s)))
				}
			})
		}
		all.Wait()
		time.Sleep(time.Duration(sessions*4/20+10) * time.Minute)
		sends := 0
		for _, c := range p.Calls(bridgetest.OpSend) {
			if c.Thread != p.MainThread() {
				sends++
			}
		}
		for s := range sessions {
			var want []string
			for w := range words {
				want = append(want, fmt.Sprintf("word %d of %d", w, s))
			}
			if got := strings.Join(texts(p, fmt.Sprint("s", s)), "\n\n"); got != strings.Join(want, "\n\n") {
				t.Fatalf("s%d shows %q", s, got)
			}
		}
		if sends*3 > sessions*words {
			t.Errorf("%d calls for %d words", sends, sessions*words)
		}
		soak.Row(t, "%d words of %d new visitors at once are shown in order by %d calls", sessions*words, sessions, sends)
		want(t, h.letterIDs(""))
	})
}

// While calls are few, a word does not wait for what is told silently before it in its own session, and several names become one.
func TestWordsOvertakeNotices(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		h.ingest(message("a", "0", "zero"))
		settle()
		busy(h, 5)
		synctest.Wait()
		before := len(p.Calls(bridgetest.OpRenameThread))
		h.ingest(`{"type":"custom_event","session":{"id":"a","visitorId":"v-a"},"event":{"name":"click"}}`)
		for _, name := range []string{"Ada", "Bea", "Cleo"} {
			h.ingest(fmt.Sprintf(`{"type":"identity_update","session":{"id":"a","visitorId":"v-a","identity":{"id":"u","name":%q}}}`, name))
		}
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "two"))
		time.Sleep(3 * time.Minute)
		want(t, texts(p, "a"), "zero", "one\n\ntwo", "⚡ click")
		if n := len(p.Calls(bridgetest.OpRenameThread)) - before; n != 1 || p.NameOf(p.Threads("a")[0]) != "Cleo" {
			t.Errorf("%d calls for the name %q", n, p.NameOf(p.Threads("a")[0]))
		}
	})
}
