package site_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/site/sitetest"
)

// The widget makes one of two answers with the same text within two seconds; files without a text would show the last alone.
func TestEqualAnswersAreKeptApart(t *testing.T) {
	t.Parallel()
	onEachWay(t, func(t *testing.T, r *rig, o sitetest.Options) {
		w := r.page(o, nil)
		if _, err := w.Send("hello", nil, ""); err != nil {
			t.Fatal(err)
		}
		for i, text := range []string{"ok", "ok", "", "", ""} {
			u := bridge.Update{Kind: bridge.UpdateMessage, Message: bridge.MessageID(fmt.Sprint(50 + i)), Text: text}
			if text == "" {
				u.Files = []bridge.Attachment{{Filename: fmt.Sprintf("%d.png", i), MimeType: "image/png", BridgeFileID: fmt.Sprint("f", i), Size: 3}}
			}
			r.operator(w.Session(), u)
		}
		shows := func(s sitetest.State) bool {
			files := 0
			for _, m := range s.Messages {
				files += len(m.Attachments)
			}
			return slices.Equal(s.Texts(), []string{"hello", "ok", "ok", "", "", ""}) && files == 3
		}
		r.shows(w, "each of them", shows)
		if again := r.page(o, storageOf(w)); !shows(again.State()) {
			t.Errorf("after a reload: %+v", again.State().Messages)
		}
	})
}

// What was said between connect's answer and the socket's opening, or while the socket was away, is pushed when it opens, once and in
// order.
func TestMissedIsPushed(t *testing.T) {
	t.Parallel()
	r := newRig(t).serve()
	storage := &sitetest.Storage{}
	first := r.page(sitetest.Options{}, storage)
	if _, err := first.Send("hello", nil, ""); err != nil {
		t.Fatal(err)
	}
	r.answers(first.Session(), "50", "one")
	r.shows(first, "one", func(s sitetest.State) bool { return len(s.Messages) == 2 })
	first.Stop()
	r.answers(first.Session(), "51", "two")
	r.operator(first.Session(), bridge.Update{Kind: bridge.UpdateEdit, Message: "50", Text: "one, changed"})
	r.answers(first.Session(), "52", "three")
	r.until("there", func() bool { return len(r.log(bridge.TypeOperatorMessage)) == 3 })
	// A page that holds what the first one did, and whose socket opens now.
	late := r.pageOf(sitetest.Options{}, storage)
	late.Resume(first)
	r.shows(late, "what it missed", func(s sitetest.State) bool {
		return slices.Equal(s.Texts(), []string{"hello", "one, changed", "two", "three"})
	})
}

// Own messages reach the visitor's other tabs, with their status, and are not doubled in the one that sends them.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	onEachWay(t, func(t *testing.T, r *rig, o sitetest.Options) {
		one := r.page(o, nil)
		two := r.page(o, storageOf(one))
		for i := range 5 {
			from := []*sitetest.Widget{one, two}[i%2]
			if _, err := from.Send(fmt.Sprint("text ", i), nil, ""); err != nil {
				t.Fatal(err)
			}
			for _, w := range []*sitetest.Widget{one, two} {
				r.shows(w, fmt.Sprint(i+1, " messages with their status"), func(s sitetest.State) bool {
					return len(s.Messages) == i+1 && !slices.ContainsFunc(s.Messages, func(m sitetest.Message) bool { return m.Status == "sending" })
				})
			}
		}
	})
}

// History carries statuses, else the badge counts what was read, and the widget asks again on every page.
func TestHistoryCarriesTheStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t).serve()
	w := r.page(sitetest.Options{}, nil)
	if _, err := w.Send("hello", nil, ""); err != nil {
		t.Fatal(err)
	}
	r.answers(w.Session(), "50", "yes")
	r.until("read", func() bool {
		found, err := r.relay.TranscriptOf(t.Context(), w.Session(), "telegram:50")
		return err == nil && len(found) == 1 && found[0].Status == "read"
	})
	receipts := len(r.log(bridge.TypeMessageRead))
	again := r.page(sitetest.Options{}, storageOf(w))
	for _, m := range again.State().Messages {
		if m.Sender == "operator" && m.Status != "read" || m.Sender == "visitor" && m.Status != "delivered" {
			t.Errorf("after a reload %q is %s", m.Content, m.Status)
		}
	}
	for range 3 {
		if got, err := again.Post("/read", map[string]any{"messageIds": []string{"telegram:50"}, "status": "read"}); err != nil || got["updated"] != 0.0 {
			t.Errorf("read again: %v %v", got, err)
		}
	}
	if n := len(r.log(bridge.TypeMessageRead)); n != receipts {
		t.Errorf("%d receipts, %d before", n, receipts)
	}
}

// The text of a deleted message is not in any answer.
func TestDeletedTextIsNotHandedOut(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		mine := r.says(id, "a secret of mine")
		settle()
		r.answers(id, "50", "a secret of theirs")
		settle()
		r.operator(id, bridge.Update{Kind: bridge.UpdateDelete, Message: "50"})
		if got := r.asked("DELETE", "/message/"+mine+"?sessionId="+id, ""); got["deleted"] != true {
			t.Errorf("deleted: %v", got)
		}
		settle()
		page := r.hears(id)
		for what, text := range map[string]string{
			"connect": r.ask("POST", "/connect", `{"visitorId":"v1","sessionId":"`+id+`"}`).Body.String(),
			"a poll":  r.ask("GET", "/messages?sessionId="+id, "").Body.String(),
			"a page":  page.text.String(),
		} {
			if strings.Contains(text, "secret") || strings.Count(text, "deletedAt") < 2 {
				t.Errorf("%s gives %s", what, text)
			}
		}
		if got := r.ask("PATCH", "/message/"+mine, `{"sessionId":"`+id+`","content":"back"}`); got.Code != 409 {
			t.Errorf("an edit of what was deleted: %d", got.Code)
		}
	})
}

// A reply carries what it replies to: the widget shows nothing for an id that it does not hold.
func TestReplyIsQuoted(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.says(id, "which size?")
		settle()
		r.operator(id, bridge.Update{Kind: bridge.UpdateMessage, Message: "50", Text: "medium", ReplyTo: shownAs(r, id, "which size?")})
		settle()
		text := r.ask("GET", "/messages?sessionId="+id, "").Body.String()
		if !strings.Contains(text, `"content":"which size?","sender":"visitor"}`) {
			t.Errorf("the reply is %s", text)
		}
	})
}

// No text is too long for a visitor to send, and every word of it arrives.
func TestLongText(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		long := strings.Repeat("é", 64_000) + strings.Repeat("z", 10_000)
		r.says(id, long)
		settle()
		page, err := r.relay.Transcript(t.Context(), bridge.TranscriptQuery{Session: id, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, m := range page.Messages {
			got.WriteString(m.Content)
		}
		if got.String() != long || len(page.Messages) != 2 {
			t.Errorf("%d messages with %d bytes of %d", len(page.Messages), got.Len(), len(long))
		}
		for _, text := range []string{"", "  \n"} {
			if got := r.ask("POST", "/message", fmt.Sprintf(`{"sessionId":%q,"content":%q,"attachmentIds":[]}`, id, text)); got.Code != 400 {
				t.Errorf("nothing: %d", got.Code)
			}
		}
	})
}

// Ids go into paths as they are.
func TestMessageIDsFitIntoPaths(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		for range 5 {
			if mine := r.says(id, "x"); !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(mine) {
				t.Errorf("the id is %q", mine)
			}
		}
	})
}

// The widget takes a 2xx without JSON for a failure, and an error keeps the page from nothing but that call.
func TestEveryAnswerIsJSON(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		mine := r.says(id, "hello")
		session := `{"sessionId":"` + id + `"`
		for _, c := range []struct {
			method, path, body string
			status             int
		}{
			{"POST", "/typing", session + `,"sender":"visitor","isTyping":true}`, 200},
			{"POST", "/read", session + `,"messageIds":["telegram:1"],"status":"read"}`, 200},
			{"POST", "/read", session + `,"messageIds":[]}`, 200},
			{"PATCH", "/message/" + mine, session + `,"content":"hello!"}`, 200},
			{"PATCH", "/message/" + mine, session + `,"content":" "}`, 400},
			{"PATCH", "/message/unknown", session + `,"content":"x"}`, 404},
			{"DELETE", "/message/" + mine + "?sessionId=" + id, "", 200},
			{"DELETE", "/message/" + mine + "?sessionId=" + id, "", 200},
			{"DELETE", "/message/unknown?sessionId=" + id, "", 404},
			{"GET", "/messages?sessionId=" + id, "", 200},
			{"GET", "/presence", "", 200},
			{"POST", "/identify", session + `,"identity":{"id":"u1","name":"Ada"}}`, 200},
			{"POST", "/identify", session + `}`, 400},
			{"POST", "/prechat", session + `,"email":"a@example.com","phone":"+33123456789","phoneCountry":"FR"}`, 200},
			{"POST", "/csat", session + `,"score":5}`, 200},
			{"POST", "/disconnect", session + `,"duration":3,"reason":"page_unload"}`, 200},
			{"POST", "/visibility", session + `,"state":"hidden","timestamp":1}`, 200},
			{"GET", "/screenshot/requests?sessionId=" + id, "", 200},
			{"GET", "/nothing", "", 404},
			{"GET", "/connect", "", 404},
			{"POST", "/connect", `{`, 400},
			{"POST", "/connect", `{"visitorId":7}`, 400},
			{"POST", "/connect", `{"visitorId":""}`, 400},
			{"GET", "/stream?sessionId=unknown", "", 404},
			{"POST", "//typing/", session + `,"isTyping":true}`, 200},
		} {
			got := r.ask(c.method, c.path, c.body)
			if got.Code != c.status || !json.Valid(got.Body.Bytes()) || got.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s %s %s: %d %q", c.method, c.path, c.body, got.Code, got.Body)
			}
			if got.Header().Get("Access-Control-Allow-Origin") != origin || got.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s %s: headers %v", c.method, c.path, got.Header())
			}
		}
		if got := r.asked("GET", "/screenshot/requests?sessionId="+id, ""); len(got["requests"].([]any)) != 0 {
			t.Errorf("screenshots are asked for: %v", got)
		}
	})
}

// A browser lets a page have an answer only with the right headers; beacons are sent with credentials.
func TestCORS(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		for _, c := range []struct {
			name, method, path, origin string
			status                     int
			allowed                    bool
		}{
			{"preflight", "OPTIONS", "/connect", origin, 204, true},
			{"preflight of another", "OPTIONS", "/connect", "https://evil.example.com", 204, false},
			{"call", "POST", "/disconnect", origin, 404, true},
			{"call of another", "POST", "/disconnect", "https://evil.example.com", 403, false},
			{"of a page without an origin", "POST", "/disconnect", "null", 403, false},
			{"of a name that begins so", "POST", "/disconnect", origin + ".evil.com", 403, false},
			{"of no browser", "POST", "/disconnect", "", 403, false},
			{"of the word for none", "POST", "/disconnect", "none", 403, false},
			{"read from the same origin", "GET", "/presence", "", 200, false},
			{"read of another", "GET", "/presence", "https://evil.example.com", 403, false},
			{"in capitals", "POST", "/disconnect", strings.ToUpper(origin), 404, true},
		} {
			got := r.ask(c.method, c.path, `{"sessionId":"x"}`, "Origin", c.origin)
			h := got.Header()
			allowed := h.Get("Access-Control-Allow-Origin") == c.origin && c.origin != "" && h.Get("Access-Control-Allow-Credentials") == "true"
			if got.Code != c.status || allowed != c.allowed || h.Get("Vary") != "Origin" {
				t.Errorf("%s: %d %v", c.name, got.Code, h)
			}
			if c.method == "OPTIONS" && c.allowed && (h.Get("Access-Control-Allow-Methods") != "GET, POST, PATCH, DELETE, PUT" ||
				h.Get("Access-Control-Allow-Headers") != "Content-Type, X-PocketPing-Version" || h.Get("Access-Control-Max-Age") == "") {
				t.Errorf("%s: %v", c.name, h)
			}
		}
	})
}

// Requests without an origin are taken where that is said.
func TestNoOrigin(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		if got := r.ask("POST", "/connect", `{"visitorId":"v"}`, "Origin", ""); got.Code != 200 {
			t.Errorf("%d %s", got.Code, got.Body)
		}
		if got := r.ask("POST", "/connect", `{"visitorId":"v"}`, "Origin", "none"); got.Code != 403 {
			t.Errorf("the word itself: %d", got.Code)
		}
	}, func(o *site.Options) { o.Origins = append(o.Origins, "none") })
}

func TestProtocolVersion(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		if got := r.ask("POST", "/connect", `{"visitorId":"v"}`, "X-PocketPing-Protocol", "1"); got.Code != 200 {
			t.Errorf("1: %d", got.Code)
		}
		got := r.ask("POST", "/connect", `{"visitorId":"v"}`, "X-PocketPing-Protocol", "2")
		if got.Code != http.StatusUpgradeRequired || !strings.Contains(got.Body.String(), `"code":"protocol","supported":[1]`) {
			t.Errorf("2: %d %s", got.Code, got.Body)
		}
	})
}

// A session's id is the only proof: a visitorId gives nothing, and an id that the door has not made is unknown to it.
func TestResume(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.says(id, "private")
		settle()
		connect := func(visitor, session string) (string, string, string) {
			got := r.ask("POST", "/connect", fmt.Sprintf(`{"visitorId":%q,"sessionId":%s}`, visitor, session))
			var v struct{ SessionID, VisitorID string }
			if err := json.Unmarshal(got.Body.Bytes(), &v); err != nil || got.Code != 200 {
				t.Fatalf("%d %s", got.Code, got.Body)
			}
			return v.SessionID, v.VisitorID, got.Body.String()
		}
		for _, unknown := range []string{"null", `""`, `"guessed"`, `"AAAAAAAAAAAAAAAAAAAAAAAAAA"`, `"` + id[:25] + `"`, `"app-session-0123456789012345"`} {
			if got, _, text := connect("v1", unknown); got == id || strings.Contains(text, "private") {
				t.Errorf("with the session %s a known visitor is given %s", unknown, text)
			}
		}
		if got, visitor, text := connect("someone-else", `"`+id+`"`); got != id || visitor != "v1" || !strings.Contains(text, "private") {
			t.Errorf("the session's own id gives %s", text)
		}
		// A session that an app server has made is unknown here, whatever its id.
		app := "app-session-0123456789012345"
		body := `{"type":"visitor_message","session":{"id":"` + app + `","visitorId":"v1"},"message":{"id":"1","sessionId":"` + app + `","content":"private"}}`
		e, err := bridge.DecodeAppEvent([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.relay.Ingest(t.Context(), bridge.Inbound{Event: e, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/messages?sessionId=", "/stream?sessionId="} {
			if got := r.ask("GET", path+app, ""); got.Code != 404 {
				t.Errorf("GET %s of an app's session: %d", path, got.Code)
			}
		}
		if _, _, text := connect("v1", `"`+app+`"`); strings.Contains(text, "private") {
			t.Errorf("an app's session is resumed: %s", text)
		}
		if strings.Contains(r.said.String(), id) {
			t.Error("the session's id is logged")
		}
	})
}

// The sender is the visitor, whatever the page says.
func TestForgedSender(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		r.asked("POST", "/message", `{"sessionId":"`+id+`","content":"send money","sender":"operator","attachmentIds":[]}`)
		settle()
		if n := len(r.log(bridge.TypeOperatorMessage)); n != 0 {
			t.Errorf("%d operators' messages", n)
		}
		e := r.log(bridge.TypeVisitorMessage)
		if len(e) != 1 || !bytes.Contains(e[0].Event.Body, []byte(`"sender":"visitor"`)) {
			t.Errorf("the event is %s", e[0].Event.Body)
		}
		mine := r.says(id, "mine")
		r.answers(id, "50", "theirs")
		for _, other := range []string{"telegram:50", mine} {
			stranger := r.connected("", "X-Forwarded-For", "192.0.2.9")
			if got := r.ask("PATCH", "/message/"+other, `{"sessionId":"`+stranger+`","content":"changed"}`); got.Code != 404 {
				t.Errorf("an edit of another's %s: %d", other, got.Code)
			}
		}
		if got := r.ask("PATCH", "/message/telegram:50", `{"sessionId":"`+id+`","content":"changed"}`); got.Code != 404 {
			t.Errorf("an edit of an operator's: %d", got.Code)
		}
	})
}

// A page connects once: it is answered also while nothing can be stored, and what it says then is taken as soon as it can be.
func TestConnectAnswersAlways(t *testing.T) {
	t.Parallel()
	c := &counted{away: true}
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		if got := r.ask("POST", "/message", `{"sessionId":"`+id+`","content":"x"}`); got.Code != 503 || got.Header().Get("Retry-After") == "" {
			t.Errorf("what cannot be stored: %d %v", got.Code, got.Header())
		}
		c.mu.Lock()
		c.away = false
		c.mu.Unlock()
		r.says(id, "hello")
		settle()
		r.answers(id, "50", "hi")
		settle()
		same(t, "the talk", r.polled(id, ""), "hello", "hi")
		if got, _ := r.asked("POST", "/connect", `{"visitorId":"v9","sessionId":"`+id+`"}`)["sessionId"].(string); got != id {
			t.Errorf("the next page has the session %s", got)
		}
		forged := id[:len(id)-1] + map[bool]string{true: "A", false: "B"}[id[len(id)-1] != 'A']
		if got := r.ask("POST", "/message", `{"sessionId":"`+forged+`","content":"x"}`); got.Code != 404 {
			t.Errorf("an id that was not made here: %d", got.Code)
		}
	}, func(o *site.Options) { c.Ingester, o.Ingester = o.Ingester, c })
}

// Who asks too much is answered all the same, and announced only with a message; others are not held up.
func TestManyConnects(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		var last string
		for range 10_000 {
			last = r.connected("", "X-Forwarded-For", "192.0.2.1")
		}
		if n := len(r.log(bridge.TypeNewSession)); n != 20 {
			t.Errorf("%d sessions are announced", n)
		}
		r.connected("", "X-Forwarded-For", "192.0.2.2")
		if n := len(r.log(bridge.TypeNewSession)); n != 21 {
			t.Errorf("another's is not: %d", n)
		}
		for i := range 30 {
			r.connected("", "X-Forwarded-For", fmt.Sprintf("2001:db8:1:2::%x", i))
		}
		if n := len(r.log(bridge.TypeNewSession)); n != 41 {
			t.Errorf("of one customer's network %d", n-21)
		}
		r.says(last, "a real visitor")
		settle()
		if text := strings.Join(r.platform.Texts(r.thread(last)), "\n"); !strings.Contains(text, "a real visitor") {
			t.Errorf("the thread shows %q", text)
		}
	})
}

// A visitor may say a lot at once, and then one thing a second.
func TestManyMessages(t *testing.T) {
	t.Parallel()
	inTime(t, func(t *testing.T, r *rig) {
		id := r.connected("")
		body := `{"sessionId":"` + id + `","content":"x","attachmentIds":[]}`
		for range 20 {
			r.asked("POST", "/message", body)
		}
		got := r.ask("POST", "/message", body)
		if got.Code != 429 || got.Header().Get("Retry-After") != "1" {
			t.Errorf("the next: %d %v", got.Code, got.Header())
		}
		settle()
		r.asked("POST", "/message", body)
		other := r.connected("")
		r.asked("POST", "/message", `{"sessionId":"`+other+`","content":"x","attachmentIds":[]}`)
	})
}
