package site_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// onEachWay runs a test by socket, stream and polls, with the page on the door's origin and on another.
func onEachWay(t *testing.T, test func(t *testing.T, r *rig, o sitetest.Options)) {
	for _, way := range []string{"socket", "sse", "poll"} {
		for _, foreign := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s foreign=%t", way, foreign), func(t *testing.T) {
				t.Parallel()
				test(t, newRig(t).serve(), sitetest.Options{Way: way, Only: true, Foreign: foreign})
			})
		}
	}
}

// A visitor and an operator talk: every message, edit, deletion and receipt reaches the page, by each way.
func TestTalk(t *testing.T) {
	t.Parallel()
	onEachWay(t, func(t *testing.T, r *rig, o sitetest.Options) {
		w := r.page(o, nil)
		if len(w.Session()) < 26 {
			t.Errorf("the session's id is %q", w.Session())
		}
		first, err := w.Send("is anyone there?", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		r.shows(w, "that it is delivered", func(s sitetest.State) bool { m, _ := s.Find("is anyone there?"); return m.Status == "delivered" })
		r.answers(w.Session(), "50", "yes")
		r.shows(w, "the answer", func(s sitetest.State) bool { _, ok := s.Find("yes"); return ok })
		r.operator(w.Session(), bridge.Update{Kind: bridge.UpdateEdit, Message: "50", Text: "yes, I am"})
		r.shows(w, "the edit", func(s sitetest.State) bool { _, ok := s.Find("yes, I am"); return ok })
		r.answers(w.Session(), "51", "a slip")
		r.shows(w, "another", func(s sitetest.State) bool { _, ok := s.Find("a slip"); return ok })
		r.operator(w.Session(), bridge.Update{Kind: bridge.UpdateDelete, Message: "51"})
		r.shows(w, "that it is deleted", func(s sitetest.State) bool { return slices.Contains(s.Texts(), "[deleted]") })
		r.until("read", func() bool {
			for _, e := range r.log(bridge.TypeMessageRead) {
				if strings.Contains(string(e.Event.Body), `"status":"read"`) && strings.Contains(string(e.Event.Body), "telegram:50") {
					return true
				}
			}
			return false
		})
		r.operator(w.Session(), bridge.Update{Kind: bridge.UpdateReaction, Message: shownAs(r, w.Session(), "is anyone there?")})
		r.shows(w, "that it is read", func(s sitetest.State) bool { m, _ := s.Find("is anyone there?"); return m.Status == "read" })
		if err := w.Edit(first, "is someone there?"); err != nil {
			t.Fatal(err)
		}
		second, err := w.Send("never mind", nil, "telegram:50")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Delete(second); err != nil {
			t.Fatal(err)
		}
		want := []string{"is someone there?", "yes, I am", "[deleted]", "[deleted]"}
		r.shows(w, "all of it once", func(s sitetest.State) bool { return slices.Equal(s.Texts(), want) })
		r.until("on the platform", func() bool {
			text := strings.Join(r.platform.Texts(r.thread(w.Session())), "\n")
			return strings.Contains(text, "is someone there?") && !strings.Contains(text, "never mind")
		})

		again := r.page(o, storageOf(w))
		if again.Session() != w.Session() || !slices.Equal(again.State().Texts(), want) {
			t.Errorf("after a reload %s shows %q", again.Session(), again.State().Texts())
		}
		if n := len(w.State().Messages); w.State().Lost != 0 || n != len(want) {
			t.Errorf("%d messages, %d lost", n, w.State().Lost)
		}
	})
}

// shownAs is the platform's id of what it shows of a text.
func shownAs(r *rig, session, text string) bridge.MessageID {
	r.t.Helper()
	for _, m := range r.platform.Shown(r.thread(session)) {
		if strings.HasSuffix(m.Text, text) {
			return m.ID
		}
	}
	r.t.Fatalf("%q is not shown", text)
	return ""
}

// storageOf is the storage of a browser that holds what a page's does.
func storageOf(w *sitetest.Widget) *sitetest.Storage {
	return &sitetest.Storage{VisitorID: "mabc-123", Session: w.Session()}
}
