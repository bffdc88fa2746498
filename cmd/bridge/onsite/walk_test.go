package onsite

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// walk is a conversation with all that can be in one, row by row. What fails is said at the end, with its number.
type walk struct {
	*rig
	t      *testing.T
	page   *sitetest.Widget
	desks  []desk
	failed []string
	judged int
}

// row judges one row of the walk.
func (w *walk) row(number, what string, ok bool) {
	w.t.Helper()
	w.judged++
	if !ok {
		w.failed = append(w.failed, number+" "+what)
		w.t.Errorf("row %s: not: %s; the page shows %q", number, what, w.page.State().Texts())
		for _, d := range w.desks {
			var texts []string
			for _, m := range d.all() {
				texts = append(texts, m.text)
			}
			w.t.Logf("%s shows %q", d.name, texts)
		}
	}
}

// sees says whether the page comes to show something.
func (w *walk) sees(shows func(sitetest.State) bool) bool { return w.page.Until(hung, shows) }

func (w *walk) seesText(text string) bool {
	return w.sees(func(s sitetest.State) bool { _, ok := s.Find(text); return ok })
}

// everywhere says whether all platforms but one come to show a text.
func (w *walk) everywhere(text string, but int) bool {
	return w.until(func() bool {
		for i, d := range w.desks {
			if _, ok := d.shows(text); !ok && i != but {
				return false
			}
		}
		return true
	})
}

// api asks the bridge as an app server does.
func (w *walk) api(method, path, body string) int {
	req, err := http.NewRequest(method, "http://127.0.0.1:"+w.port+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// The whole walk, by each way, on each store, with the page on the door's origin and on another; all of these together where the long
// runs are asked for.
func TestWalk(t *testing.T) {
	t.Parallel()
	type setting struct {
		store, way string
		foreign    bool
	}
	cases := []setting{{"bolt", "socket", true}, {"redis", "socket", false}, {"redis", "sse", true}, {"bolt", "poll", false}}
	if soak.Asked() {
		cases = nil
		for _, store := range []string{"bolt", "redis"} {
			for _, way := range []string{"socket", "sse", "poll"} {
				cases = append(cases, setting{store, way, false}, setting{store, way, true})
			}
		}
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s %s foreign=%t", c.store, c.way, c.foreign), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.store)
			r.start(r.port)
			w := &walk{rig: r, t: t, desks: r.desks()}
			w.page = r.page(sitetest.Options{Way: c.way, Only: true, Foreign: c.foreign, Pace: 10}, &sitetest.Storage{})
			w.talk()
			w.changes()
			w.files()
			w.signs(c.way)
			w.ends(c.way, c.foreign)
			t.Logf("%d rows judged, %d failed", w.judged, len(w.failed))
		})
	}
}

// talk is what is said: rows 1 to 11.
func (w *walk) talk() {
	if err := w.page.Load(nil); err != nil {
		w.t.Fatalf("row 1: the page does not connect: %v", err)
	}
	w.row("1", "the page connects", w.page.Session() != "")
	_, err := w.page.Send("is anyone there?", nil, "")
	w.row("3", "the visitor's message is on all platforms", err == nil && w.everywhere("is anyone there?", -1))
	w.row("4", "it is delivered", w.sees(func(s sitetest.State) bool { m, _ := s.Find("is anyone there?"); return m.Status == "delivered" }))
	w.row("11a", "nobody is online yet", !w.page.State().Online)
	for i, d := range w.desks {
		text := "answer from " + d.name
		d.say(text)
		w.row(fmt.Sprint(5+2*i), "the visitor sees the "+text, w.seesText(text))
		w.row(fmt.Sprint(6+2*i), "the other platforms show the "+text, w.everywhere(text, i))
	}
	online := func() bool {
		got, err := w.page.Get("/presence")
		return err == nil && got["online"] == true
	}
	w.row("11", "who answered is online", w.until(online))
}

// changes are edits, deletions and replies: rows 12 to 22.
func (w *walk) changes() {
	for i, d := range w.desks {
		id := d.say("a tpyo on " + d.name)
		w.seesText("a tpyo on " + d.name)
		d.edit(id, "a typo on "+d.name)
		w.row(fmt.Sprint(12+i), "the edit on "+d.name, w.seesText("a typo on "+d.name))
	}
	for i, n := range []int{1, 2, 0} { // Discord, Slack, Telegram by /delete
		d := w.desks[n]
		id := d.say("a slip on " + d.name)
		w.seesText("a slip on " + d.name)
		d.remove(id)
		w.row(fmt.Sprint(15+i), "the deletion on "+d.name, w.sees(func(s sitetest.State) bool {
			_, there := s.Find("a slip on " + d.name)
			return !there && slices.Contains(s.Texts(), "[deleted]")
		}))
	}
	for i, d := range w.desks[:2] {
		to, _ := d.shows("is anyone there?")
		text := "a reply on " + d.name
		d.reply(to.id, text)
		w.row(fmt.Sprint(18+i), text, w.sees(func(s sitetest.State) bool {
			m, ok := s.Find(text)
			return ok && bytes.Contains(m.ReplyTo, []byte("is anyone there?"))
		}))
	}
	answer, _ := w.page.State().Find("answer from Telegram")
	id, err := w.page.Send("thank you", nil, answer.ID)
	w.row("20", "the visitor's reply is one on the platforms", err == nil && w.everywhere("thank you", -1) && w.until(func() bool {
		on, _ := w.desks[0].shows("thank you")
		off, _ := w.desks[1].shows("thank you")
		return on.replyTo != "" && off.replyTo != ""
	}))
	err = w.page.Edit(id, "thank you all")
	w.row("21", "the visitor's edit", err == nil && w.everywhere("thank you all", -1))
	err = w.page.Delete(id)
	w.row("22", "the visitor's deletion", err == nil && w.until(func() bool {
		for _, d := range w.desks {
			if _, there := d.shows("thank you all"); there {
				return false
			}
		}
		return true
	}))
}

// files go both ways: rows 23 to 26.
func (w *walk) files() {
	content := []byte("%PDF-1.4 a letter")
	id, err := w.page.Upload("letter.pdf", "application/pdf", content)
	if err == nil {
		_, err = w.page.Send("my letter", []string{id}, "")
	}
	w.row("23", "the visitor's file is on all platforms", err == nil && w.until(func() bool {
		for _, d := range w.desks {
			if !slices.ContainsFunc(d.all(), func(m said) bool {
				return m.own && slices.ContainsFunc(m.files, func(f []byte) bool { return bytes.Equal(f, content) })
			}) {
				return false
			}
		}
		return true
	}))
	for i, d := range w.desks {
		content := []byte("%PDF-1.4 from " + d.name)
		d.file("from-"+d.name+".pdf", content)
		var url string
		seen := w.sees(func(s sitetest.State) bool {
			for _, m := range s.Messages {
				for _, a := range m.Attachments {
					if a["filename"] == "from-"+d.name+".pdf" {
						url, _ = a["url"].(string)
						return true
					}
				}
			}
			return false
		})
		w.row(fmt.Sprint(24+i), "the file from "+d.name, seen && bytes.Equal(fetched(url), content))
	}
}

func fetched(url string) []byte {
	resp, err := http.Get(url)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	return text
}

// signs are receipts, typing, presence and who the visitor is: rows 27 to 35.
func (w *walk) signs(way string) {
	w.row("27", "what the visitor has read is marked on Telegram", w.until(func() bool {
		return slices.ContainsFunc(w.desks[0].all(), func(m said) bool { return !m.own && m.text == "answer from Telegram" && m.reactions > 0 })
	}))
	w.desks[0].say("!read")
	w.row("28", "read by an operator", w.sees(func(s sitetest.State) bool { m, _ := s.Find("is anyone there?"); return m.Status == "read" }))
	typed := w.discord.Typings(w.discordThread())
	w.row("29", "the visitor types", w.page.Key() == nil && w.until(func() bool { return w.discord.Typings(w.discordThread()) > typed }))
	if way != "poll" {
		w.desks[1].types()
		w.row("30", "an operator types", w.sees(func(s sitetest.State) bool { return s.Dots }))
	}
	for _, d := range w.desks {
		d.say("!offline")
	}
	online := func(want bool) bool {
		if way == "poll" {
			return w.until(func() bool { got, err := w.page.Get("/presence"); return err == nil && got["online"] == want })
		}
		return w.sees(func(s sitetest.State) bool { return s.Online == want })
	}
	w.row("31", "all are offline", online(false))
	w.desks[0].say("!online")
	w.row("32", "one is online", online(true))
	got, err := w.page.Get("/presence")
	w.row("33", "presence", err == nil && got["online"] == true)
	w.row("34", "no command is shown to the visitor", !slices.ContainsFunc(w.page.State().Texts(), func(text string) bool {
		return strings.HasPrefix(text, "!") || strings.HasPrefix(text, "/")
	}))
	err = w.page.Identify(map[string]any{"id": "u1", "name": "Ada Lovelace", "email": "ada@example.com"})
	w.row("35", "the threads have the visitor's name", err == nil && w.until(func() bool {
		return strings.Contains(w.desks[0].title(), "Ada Lovelace") && strings.Contains(w.desks[1].title(), "Ada Lovelace")
	}))
}

func (r *rig) discordThread() string {
	if all := r.discord.Threads(r.channel); len(all) > 0 {
		return all[0].ID
	}
	return ""
}

// ends are events, the rating, closing, reloading and leaving: rows 36 to 43.
func (w *walk) ends(way string, foreign bool) {
	if way == "socket" {
		err := w.page.Trigger("cart_opened", map[string]any{"items": 2})
		w.row("36", "the page's event is on the platforms", err == nil && w.everywhere("cart_opened", -1))
	}
	status := w.api("POST", "/api/sessions/"+w.page.Session()+"/events", `{"name":"discount","data":{"percent":10}}`)
	if way != "poll" {
		w.row("37", "the app's event is on the page", status == 202 && w.sees(func(s sitetest.State) bool {
			return len(s.Events) == 1 && strings.Contains(s.Events[0], `"percent":10`)
		}))
		w.desks[0].say("!csat")
		w.row("38", "the card for a rating", w.sees(func(s sitetest.State) bool { return s.Asked == 1 }))
	}
	_, err := w.page.Post("/csat", map[string]any{"score": 5, "comment": "quick"})
	w.row("39", "the rating is on the platforms", err == nil && w.everywhere("quick", -1))
	w.desks[0].say("!close")
	w.row("40", "the close is told", w.everywhere("has closed the conversation", -1))
	_, err = w.page.Send("one more thing", nil, "")
	w.row("41", "writing after the close goes on", err == nil && w.everywhere("one more thing", -1))
	// Until all that is under way has come.
	w.row("41a", "it is delivered", w.sees(func(s sitetest.State) bool {
		m, _ := s.Find("one more thing")
		return m.Status != "sent" && m.Status != ""
	}))
	before := w.page.State()
	again := w.rig.page(sitetest.Options{Way: way, Only: true, Foreign: foreign, Pace: 10}, &sitetest.Storage{VisitorID: "mabc-1", Session: w.page.Session()})
	left := w.page.Leave()
	err = again.Load(nil)
	state := again.State()
	w.row("42", "a reload shows all once", left == nil && err == nil && again.Session() == w.page.Session() &&
		slices.Equal(slices.Sorted(slices.Values(state.Texts())), slices.Sorted(slices.Values(before.Texts()))))
	w.page = again
	w.row("42a", "the page hears", w.sees(func(s sitetest.State) bool { return s.Way == way && (way == "poll" || s.Frames["message"] > 0) }))
	left = again.Leave()
	told := time.Now()
	w.row("43", "leaving is told once", left == nil && w.until(func() bool {
		if way == "poll" && time.Since(told) > time.Second { // just after a connect a beacon counts as the page's before
			told = time.Now()
			_ = again.Beacon()
		}
		for _, d := range w.desks {
			n := 0
			for _, m := range d.all() {
				n += strings.Count(m.text, "👋")
			}
			if n != 1 {
				return false
			}
		}
		return true
	}))
}
