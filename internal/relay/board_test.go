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
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// mainTexts are what the main place shows.
func mainTexts(p *bridgetest.Platform) []string { return p.Texts(p.MainThread()) }

// Visitors of whom nothing is shown yet are listed in the main place when several have to wait, each once; when they have their threads
// the list says so. Who answers the list is told that nobody sees that.
func TestListOfVisitorsWhoWait(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		for i := range 12 {
			h.ingest(message(fmt.Sprint("v", i), "1", fmt.Sprintf("question %d\nof mine", i)))
		}
		h.ingest(message("v11", "2", "and more"))
		time.Sleep(35 * time.Second)
		shown := mainTexts(p)
		list := slices.IndexFunc(shown, func(text string) bool { return strings.HasPrefix(text, "🆕") })
		if list < 0 || !strings.Contains(shown[list], "• v-v11 (2 messages): question 11 of mine") {
			t.Fatalf("the main place shows %q", shown)
		}
		id := p.Shown(p.MainThread())[list].ID
		if p.Shown(p.MainThread())[list].Silent {
			t.Error("the list does not ring")
		}
		p.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: p.MainThread(), Message: "901", ReplyTo: id, Author: bridge.Author{ID: "u", Name: "Ana"}, Text: "hi"})
		time.Sleep(5 * time.Minute)
		shown = mainTexts(p)
		if !slices.ContainsFunc(shown, func(text string) bool { return strings.HasPrefix(text, "Not sent: the list is nobody's thread.") }) {
			t.Errorf("the answer to the list is not answered: %q", shown)
		}
		all := p.Shown(p.MainThread())
		if text := all[slices.IndexFunc(all, func(s bridgetest.Shown) bool { return s.ID == id })].Text; !strings.HasPrefix(text, "✅ These visitors had to wait") || !strings.Contains(text, "• v-v11") {
			t.Errorf("in the end the list is %q", text)
		}
		times := 0
		for _, c := range p.Calls(bridgetest.OpSend) {
			times += strings.Count(c.Text, "• v-v11")
		}
		if times != 1 {
			t.Errorf("one visitor was listed %d times", times)
		}
		if n := len(h.of(bridge.TypeOperatorMessage)); n != 0 {
			t.Errorf("%d operators' messages were sent", n)
		}
		for i := range 12 {
			if got := strings.Join(texts(p, fmt.Sprint("v", i)), " "); !strings.HasPrefix(got, fmt.Sprintf("question %d\nof mine", i)) {
				t.Errorf("v%d shows %q", i, got)
			}
		}
	})
}

// One silent notice says how much waits, is edited once a minute at most, is known to the next process, and goes when nothing waits. App
// servers that ask for it are told which messages wait, each once.
func TestNoticeOfWhatWaits(t *testing.T) {
	t.Parallel()
	narrow(t, 10, func(t *testing.T, h *house, p *bridgetest.Platform) {
		busy(h, 20)
		time.Sleep(70 * time.Second)
		notice := func() (found []bridgetest.Shown) {
			for _, s := range p.Shown(p.MainThread()) {
				if strings.HasPrefix(s.Text, "⏳") {
					found = append(found, s)
				}
			}
			return found
		}
		all := notice()
		if len(all) != 1 || !all[0].Silent || !strings.Contains(all[0].Text, "visitors wait for Telegram's limit (10 calls a minute); the oldest since 2000-01-01T00:00:00Z.") {
			t.Fatalf("the notice is %+v", all)
		}
		first := all[0].Text
		h.stop()
		h.start()
		time.Sleep(75 * time.Second)
		if all = notice(); len(all) != 1 || all[0].Text == first {
			t.Errorf("then the notice is %+v", all)
		}
		time.Sleep(10 * time.Minute)
		if all = notice(); len(all) != 0 {
			t.Errorf("in the end there is %+v", all)
		}
		edits := 0
		for _, c := range p.Calls(bridgetest.OpEdit, bridgetest.OpSend) {
			if strings.HasPrefix(c.Text, "⏳") {
				edits++
			}
		}
		if edits > 8 {
			t.Errorf("the notice was shown %d times", edits)
		}
		told := map[string]int{}
		for _, e := range h.of(bridge.TypeMessageDelayed) {
			var d bridge.Delayed
			if err := json.Unmarshal(e.Event.Body, &d); err != nil || d.Seconds < 30 || d.SourceBridge != "telegram" || d.SessionID != e.Event.Session {
				t.Errorf("%s: %v", e.Event.Body, err)
			}
			for _, id := range d.MessageIDs {
				told[d.SessionID+" "+id]++
			}
		}
		if len(told) < 10 || told["busy19 1"] == 0 {
			t.Errorf("told: %v", told)
		}
		synctest.Wait()
	})
}

// So are visitors whose session was announced just before, as a page that opens does.
func TestListOfAnnouncedVisitors(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		for i := range 30 {
			h.ingest(message("before", fmt.Sprint(i), "a word"))
		}
		for i := range 12 {
			session := fmt.Sprint("v", i)
			h.ingest(announce(session))
			h.ingest(message(session, "1", "a question"))
		}
		time.Sleep(35 * time.Second)
		if shown := mainTexts(p); !slices.ContainsFunc(shown, func(text string) bool { return strings.Contains(text, "• v-v9: a question") }) {
			t.Errorf("the main place shows %q", shown)
		}
	})
}

// An idle bridge shows no notice, no list, and tells of no delay.
func TestNothingWaits(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		for i := range 10 {
			h.ingest(message(fmt.Sprint("v", i), "1", "hello"))
			time.Sleep(15 * time.Second)
		}
		time.Sleep(time.Minute)
		want(t, mainTexts(p))
		if n := len(h.of(bridge.TypeMessageDelayed)); n != 0 {
			t.Errorf("%d delays were told", n)
		}
	})
}

// With auto, the page views of visitors who say who they are open threads, as long as nothing waits and not many of them.
func TestOpenThreadAuto(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		announced, busy, opened int
	}{{1, 0, 1}, {6, 0, 2}, {1, 20, 0}} {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.open = relay.OpenAuto
			p.Bears.Pace = []bridge.Pace{{Calls: 20, Per: time.Minute}}
			h.start()
			time.Sleep(time.Minute)
			busy(h, c.busy)
			synctest.Wait()
			for i := range c.announced {
				h.ingest(fmt.Sprintf(`{"type":"new_session","session":{"id":"s%d","visitorId":"v","identity":{"id":"u%d","name":"Mia"}}}`, i, i))
			}
			time.Sleep(10 * time.Second)
			opened := 0
			for i := range c.announced {
				opened += len(p.Threads(fmt.Sprint("s", i)))
			}
			if opened != c.opened {
				t.Errorf("of %d announced beside %d others %d have threads, not %d", c.announced, c.busy, opened, c.opened)
			}
		})
	}
}

// Once its visitors have their threads, the list says for an hour how each stands: every ten seconds at most, with a tenth of the pace, over a
// restart too. What a visitor deletes does not stay in it, and neither does one who was erased.
func TestListFollowsItsVisitors(t *testing.T) {
	t.Parallel()
	narrow(t, 20, func(t *testing.T, h *house, p *bridgetest.Platform) {
		for i := range 12 {
			h.ingest(message(fmt.Sprint("v", i), "1", fmt.Sprint("question ", i)))
		}
		time.Sleep(35 * time.Second)
		list := func() string {
			all := p.Shown(p.MainThread())
			return all[slices.IndexFunc(all, func(s bridgetest.Shown) bool {
				return strings.HasPrefix(s.Text, "🆕") || strings.HasPrefix(s.Text, "✅")
			})].Text
		}
		if text := list(); !strings.HasPrefix(text, "🆕") || !strings.Contains(text, "• v-v11: question 11") {
			t.Fatalf("the list is %q", text)
		}
		h.ingest(`{"type":"visitor_message_deleted","sessionId":"v11","messageId":"1"}`)
		time.Sleep(time.Minute)
		if text := list(); strings.Contains(text, "question 11") {
			t.Errorf("what was deleted stays: %q", text)
		}
		time.Sleep(4 * time.Minute)
		if text := list(); !strings.HasPrefix(text, "✅") || !strings.Contains(text, ": question 10 (Nobody has answered yet)") {
			t.Fatalf("with all threads the list is %q", text)
		}
		h.stop()
		h.start()
		time.Sleep(time.Minute)
		edits := len(p.Calls(bridgetest.OpEdit))
		began := time.Now()
		for i := range 60 {
			h.ingest(message("v10", fmt.Sprint("more", i), fmt.Sprint("more ", i)))
			time.Sleep(5 * time.Second)
		}
		p.Say(p.Threads("v10")[0], "Ana", "hello")
		time.Sleep(2 * time.Minute)
		if text := list(); !strings.Contains(text, ": more 59 (Answers: An operator)") {
			t.Errorf("then the list is %q", text)
		}
		if n := len(p.Calls(bridgetest.OpEdit)) - edits; n == 0 || n > int(time.Since(began)/(30*time.Second))+1 {
			t.Errorf("the list was edited %d times in %s", n, time.Since(began))
		}
		edits = len(p.Calls(bridgetest.OpEdit))
		time.Sleep(5 * time.Minute)
		if n := len(p.Calls(bridgetest.OpEdit)) - edits; n != 0 {
			t.Errorf("nothing changed, and the list was edited %d times", n)
		}
		if _, err := h.relay.Erase(t.Context(), "v10", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if text := list(); strings.Contains(text, "v10") || strings.Contains(text, "more 59") {
			t.Errorf("of the erased visitor there is %q", text)
		}
		row, err := h.store.Get(t.Context(), "board", "telegram")
		if err != nil || strings.Contains(string(row), `"v10"`) {
			t.Errorf("the store has %s: %v", row, err)
		}
	})
}
