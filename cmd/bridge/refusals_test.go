//go:build refusals

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// refusal is a cell of the table: an operation for one session that is refused in one way, and what is to come of it.
type refusal struct {
	on, op, column, want string
	answer               stage.Action
	session, second      string // second is another session that does the same, where all are refused
	thread               string // before the refusal; empty where the operation opens it

	r       *refusals
	refused atomic.Int32
	took    atomic.Int32 // calls of the operation that were not refused
}

// refusals is a bridge on one platform, and the cell that is being looked at.
type refusals struct {
	*rig
	board   board
	stage   *stage.Stage
	channel string

	mu    sync.Mutex
	now   *refusal // whose calls are refused
	held  string   // a text whose call is held until free is closed
	free  chan struct{}
	other int
}

func newRefusals(t *testing.T, on string) *refusals {
	t.Helper()
	r := &refusals{rig: newRig(t)}
	r.use(cmp.Or(map[string]string{"slack": "slack socket"}[on], on))
	stores()["bolt"](t, r.env)
	switch b := r.boards[0].(type) {
	case telegramBoard:
		r.stage, r.channel = r.telegram.Stage, fmt.Sprint(r.chat)
	case *discordBoard:
		r.stage, r.channel = b.server.Stage, b.channel
	case *slackBoard:
		r.stage, r.channel = b.server.Stage, b.channel
	}
	r.board = r.boards[0]
	r.stage.On("", r.decide)
	r.start()
	return r
}

// decide is what becomes of a call at the stand-in.
func (r *refusals) decide(c stage.Call) stage.Action {
	r.mu.Lock()
	now, held, free := r.now, r.held, r.free
	r.mu.Unlock()
	switch {
	case held != "" && strings.Contains(c.Text, held):
		return stage.Action{Hold: free}
	case now == nil || !now.meets(c):
		return stage.Action{}
	case now.once() && now.refused.Load() > 0:
		now.took.Add(1)
		return stage.Action{}
	}
	now.refused.Add(1)
	return now.answer
}

// once says whether only the first call is refused.
func (c *refusal) once() bool {
	return c.column == "markup" || c.column == "lost" || c.column == "gone" && c.opens()
}

// methods are the calls of the operations, as the stand-ins name them.
var methods = map[string]map[string]string{
	"telegram": {
		"open": "createForumTopic", "word": "sendMessage", "edit": "editMessageText", "delete": "deleteMessage", "sign": "setMessageReaction",
		"type": "sendChatAction", "upload": "sendDocument", "rename": "editForumTopic", "close": "closeForumTopic", "reopen": "reopenForumTopic",
	},
	"discord text":  discordMethods("create_thread_from_message"),
	"discord forum": discordMethods("create_thread"),
	"slack": {
		"open": "chat.postMessage", "word": "chat.postMessage", "edit": "chat.update", "delete": "chat.delete", "sign": "reactions.add",
		"ticket": "files.getUploadURLExternal", "bytes": "upload", "upload": "files.completeUploadExternal", "rename": "chat.update",
		"close": "reactions.add", "reopen": "reactions.remove",
	},
}

func discordMethods(open string) map[string]string {
	return map[string]string{
		"card": "create_message", "open": open, "word": "create_message", "edit": "update_message", "delete": "delete_message",
		"sign": "add_my_message_reaction", "type": "trigger_typing_indicator", "upload": "create_message", "rename": "update_channel",
		"close": "update_channel", "reopen": "update_channel",
	}
}

// meets says whether a call is one that the cell is about: of its method and, where that can be told, of its session. Deletions, signs
// and indicators name none; of those there are no others meanwhile.
func (c *refusal) meets(call stage.Call) bool {
	if c.column == "500s" {
		return c.writes(call)
	}
	if call.Method != methods[c.on][c.op] {
		return false
	}
	all := fmt.Sprint(call.Text, call.Params)
	named := strings.Contains(all, c.session) || c.column == "content" && strings.Contains(all, "Visitor")
	text := strings.Contains(strings.ReplaceAll(call.Text, `\`, ""), c.text())
	inThread := call.Thread == c.thread || call.Place == c.thread || call.Params["timestamp"] == c.thread
	switch c.op {
	case "card":
		return named && call.Thread == "" && call.Params["embeds"] != ""
	case "open":
		return named && (c.on != "slack" || call.Thread == "" && !text && !strings.Contains(call.Text, c.nextText()))
	case "word":
		return text && (c.column != "gone" || inThread)
	case "edit":
		return text
	case "upload":
		return (call.Method != "create_message" || call.Params["attachments"] != "") && (c.column != "gone" && c.on == "slack" || inThread)
	case "rename":
		return named && (c.on == "slack" || call.Params["name"] != "")
	case "close":
		return inThread && call.Params["archived"] != "false"
	case "reopen":
		return inThread && call.Params["archived"] != "true"
	}
	return true
}

// writes says whether a call shows or changes something.
func (c *refusal) writes(call stage.Call) bool {
	for _, part := range []string{"send", "create", "edit", "delete", "update", "chat.", "reactions.", "files."} {
		if strings.HasPrefix(call.Method, part) {
			return true
		}
	}
	return false
}

func (c *refusal) text() string     { return "refused " + c.session }
func (c *refusal) nextText() string { return "next of " + c.session }

// opens says whether the cell is about a session without a thread.
func (c *refusal) opens() bool { return c.op == "open" || c.op == "card" }

// words says whether the operation shows a visitor's word.
func (c *refusal) words() bool {
	return c.opens() || c.op == "word" || c.op == "upload" || c.op == "reopen"
}

func (r *refusals) arm(c *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = c
}

// word writes a word of a session that has a thread and returns a condition: it is shown there.
func (r *refusals) word(session, text string) (shown func() bool) {
	r.must("/api/messages", message(session, text, text))
	return func() bool { return r.count(session, text) == 1 }
}

// threads returns a session's threads, by whichever of its names.
func (r *refusals) threads(session string) []string {
	return slices.Concat(r.board.threads(session), r.board.threads("Name "+session), r.board.threads(session+" renamed"))
}

// count returns how often a text is shown in a session's threads.
func (r *refusals) count(session, text string) int {
	n := 0
	for _, thread := range r.threads(session) {
		for _, shown := range r.board.shown(thread) {
			if strings.Contains(shown, text) {
				n++
			}
		}
	}
	return n
}

// get reads what the bridge tells of itself.
func (r *refusals) get(path string, into any) {
	r.t.Helper()
	resp, err := r.client.Get(r.process().base + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
}

// lane is what /readyz tells of the platform's lane.
func (r *refusals) lane() (state, reason string, waiting int, refused string) {
	var ready struct {
		Lanes []struct {
			Lane, State, Reason string
			Waiting             int
			Refused             []struct{ Op, Reason string }
		}
	}
	r.get("/readyz?verbose", &ready)
	for _, l := range ready.Lanes {
		if l.Lane == r.board.name() {
			for _, one := range l.Refused {
				refused += one.Op + ": " + one.Reason
			}
			return l.State, l.Reason, l.Waiting, refused
		}
	}
	return "", "", 0, ""
}

// letters returns the details of a session's dead letters.
func (r *refusals) letters(session string) []string {
	var all listed
	r.get("/api/deliveries?state=failed&limit=200", &all)
	var out []string
	for _, d := range all.Deliveries {
		if d.SessionID == session {
			out = append(out, d.Detail)
		}
	}
	return out
}

// event is an event of a session's.
func (r *refusals) event(kind, session string, more map[string]any) {
	body := map[string]any{"type": kind, "sessionId": session}
	for name, value := range more {
		body[name] = value
	}
	raw, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.must("/api/events", string(raw))
}

// does has a session do what the cell is about.
func (r *refusals) does(c *refusal, session string) {
	switch c.op {
	case "open", "card":
		r.must("/api/messages", fmt.Sprintf(`{"message":{"id":"w","sessionId":%q,"content":%q,"sender":"visitor"},`+
			`"session":{"id":%q,"visitorId":%q,"identity":{"id":"u","name":%q}}}`, session, c.text(), session, session, "Name "+session))
	case "word", "reopen":
		r.must("/api/messages", message(session, "w", c.text()))
	case "edit":
		r.event("visitor_message_edited", session, map[string]any{"messageId": "m1", "content": c.text()})
	case "delete":
		r.event("visitor_message_deleted", session, map[string]any{"messageId": "m1"})
	case "sign":
		r.board.say(c.thread, "an answer")
	case "type":
		r.event("visitor_typing", session, map[string]any{"isTyping": true})
	case "upload", "ticket", "bytes":
		body := message(session, "w", c.text())
		r.must("/api/messages", strings.Replace(body, `"sender"`,
			`"attachments":[{"id":"f","filename":"a.txt","mimeType":"text/plain","url":"data:text/plain;base64,aGVsbG8="}],"sender"`, 1))
	case "rename":
		r.event("identity_update", session, map[string]any{
			"session": map[string]any{"id": session, "visitorId": session, "identity": map[string]any{"id": "u", "name": session + " renamed"}},
		})
	case "close":
		r.event("session_closed", session, nil)
	default:
		r.t.Fatalf("no such operation: %s", c.op)
	}
}

// refuseAll takes a platform's cells one after the other on one bridge, and then looks at how all ended.
func refuseAll(t *testing.T, on string, cells []*refusal) {
	r := newRefusals(t, on)
	r.prepare(cells)
	for i, c := range cells {
		if i > 0 && c.want == allWait && cells[i-1].want != allWait { // what works then would end the pause
			r.ended(cells[:i]...)
		}
		t.Run(c.op+"/"+c.column, func(t *testing.T) {
			parent := r.t
			r.t = t
			defer func() { r.arm(nil); r.t = parent }()
			r.refuse(c)
		})
	}
	r.ended(cells...)
}

// prepare gives the sessions what they have before the refusals: threads, messages, closed threads.
func (r *refusals) prepare(cells []*refusal) {
	shown := []func() bool{r.word("other", "first of other"), r.word("keeper", "first of keeper")}
	for _, c := range cells {
		c.r = r
		if c.column == "500s" {
			c.second = c.session + "-too"
		}
		if c.opens() {
			continue
		}
		for _, session := range []string{c.session, c.second} {
			if session == "" {
				continue
			}
			r.must("/api/messages", message(session, "m0", "first of "+session))
			r.must("/api/messages", message(session, "m1", "second of "+session))
			shown = append(shown, func() bool { return r.count(session, "second of "+session) == 1 })
			if c.op == "reopen" {
				r.event("session_closed", session, nil)
			}
		}
	}
	r.until("prepared", func() bool { return !slices.ContainsFunc(shown, func(is func() bool) bool { return !is() }) })
	r.until("idle", func() bool { _, _, waiting, _ := r.lane(); return waiting == 0 })
	for _, c := range cells {
		if !c.opens() {
			c.thread = r.board.threads(c.session)[0]
		}
	}
}

// refuse has a cell's operation refused and looks at what waits and what goes on.
func (r *refusals) refuse(c *refusal) {
	r.other++
	release := func() {}
	if c.want == allWait && c.column != "500s" && c.column != "pace" && c.column != "wrapped" {
		release = r.keep() // ends the pause, which would last half a minute
	}
	r.arm(c)
	r.does(c, c.session)
	if c.second != "" {
		r.does(c, c.second)
	}
	r.until("refused", func() bool { return c.refused.Load() > 0 })
	if c.want != asLink && c.want != dropped && c.want != instead && c.op != "type" {
		r.until("said in the log", func() bool { return len(r.process().lines(`msg="an attempt failed"`, "session="+c.session)) > 0 })
	}
	text := fmt.Sprintf("word %d of other", r.other)
	switch c.want {
	case allWait:
		var reason string
		r.until("paused", func() bool { state, why, _, _ := r.lane(); reason = why; return state == "paused" })
		other := r.word("other", text)
		r.until("waiting", func() bool { _, _, waiting, _ := r.lane(); return waiting > 1 || waiting > 0 && c.op == "type" })
		if state, _, _, _ := r.lane(); state != "paused" || other() {
			r.t.Errorf("the lane is %s, and the other's word is shown: %t", state, other())
		}
		if reason == "" || c.column == "token" && !strings.Contains(reason, "auth: ") {
			r.t.Errorf("/readyz says %q", reason)
		}
		r.arm(nil)
		if release(); c.column != "pace" && c.column != "wrapped" {
			r.until("going on", other)
		}
		if c.second != "" {
			r.until("going on: both", func() bool {
				return r.count(c.session, c.text()) == 1 && r.count(c.second, c.text()) == 1
			})
		}
		return
	case opensWait:
		r.until("refused in /readyz", func() bool { _, _, _, refused := r.lane(); return strings.Contains(refused, "auth: ") })
		r.until("shown: the other's word", r.word("other", text))
		before := c.refused.Load()
		r.must("/api/messages", message("late", "w", "one more that needs a thread"))
		r.until("shown: the other's next word", r.word("other", text+" again"))
		if n := c.refused.Load(); n != before {
			r.t.Errorf("%d more calls were made", n-before)
		}
		if r.count(c.session, c.text()) > 0 || len(r.letters(c.session)) > 0 {
			r.t.Error("what has to wait does not")
		}
		return
	}
	r.until("shown: the other's word", r.word("other", text))
	r.must("/api/messages", message(c.session, "next", c.nextText()))
	if c.want == itWaits && !c.once() {
		r.until("shown: the other's next word", r.word("other", text+" again"))
		if n := r.count(c.session, c.nextText()); n > 0 {
			r.t.Error("the next word did not wait")
		}
	}
	if state, reason, _, refused := r.lane(); state != "delivering" || refused != "" {
		r.t.Errorf("the lane is %s: %s %s", state, reason, refused)
	}
	switch c.want {
	case itWaits, repeated:
		if c.op == "delete" || c.op == "sign" { // whose calls do not name their session
			r.arm(nil)
			r.ended(c)
		}
		return
	}
	r.until("shown: the next word", func() bool {
		return r.count(c.session, c.nextText()) == 1 || c.want == mainPlace && r.inMainPlace(c.nextText())
	})
	r.became(c)
}

// became looks at what became of what was refused and is not tried again.
func (r *refusals) became(c *refusal) {
	letters := r.letters(c.session)
	if (c.want == buried) != (len(letters) > 0) {
		r.t.Errorf("dead letters %q", letters)
	}
	notices := r.count(c.session, "is not shown on")
	if wants := c.want == buried && c.words(); wants && notices != 1 || !wants && notices > 0 {
		r.t.Errorf("the thread is told %d times", notices)
	}
	n := r.count(c.session, c.text())
	threads := r.threads(c.session)
	switch c.want {
	case buried:
		if n > 0 {
			r.t.Error("it is shown all the same")
		}
	case plainly, neutral:
		if n != 1 || c.want == neutral && len(r.board.threads(c.session)) != 1 {
			r.t.Errorf("it is shown %d times in the threads %q", n, threads)
		}
	case dropped:
		if c.op == "reopen" && n != 1 {
			r.t.Errorf("the word is shown %d times", n)
		}
	case mainPlace:
		if !r.inMainPlace(c.text()) {
			r.t.Error("it is not shown in the main place")
		}
	case anew:
		last := threads[len(threads)-1]
		is := func(shown string) bool { return strings.Contains(shown, c.text()) }
		if shown := r.board.shown(last); last == c.thread || c.words() && !slices.ContainsFunc(shown, is) {
			r.t.Errorf("it has the threads %q; the last one shows %q", threads, shown)
		}
	case instead:
		if c.op == "edit" && r.count(c.session, "✏️ "+c.text()) != 1 || c.op == "delete" && r.count(c.session, "🗑") != 1 {
			r.t.Errorf("it is not shown as a message of its own: %q", r.board.shown(c.thread))
		}
	case asLink:
		if r.count(c.session, "a.txt") != 1 {
			r.t.Errorf("no line names the file: %q", r.board.shown(c.thread))
		}
	}
}

// ended waits for what is tried again.
func (r *refusals) ended(cells ...*refusal) {
	for _, c := range cells {
		if c.want != itWaits && c.want != repeated {
			continue
		}
		name := c.op + "/" + c.column + ": "
		r.until(name+"the next word in the end", func() bool { return r.count(c.session, c.nextText()) == 1 })
		if letters := r.letters(c.session); len(letters) > 0 {
			r.t.Errorf("%sdead letters %q", name, letters)
		}
		want := map[string]int{itWaits: 1, repeated: 2}[c.want]
		if n := r.count(c.session, c.text()); (c.words() || c.op == "edit") && n != want {
			r.t.Errorf("%sit is shown %d times in the end", name, n)
		}
	}
}

// keep begins a word's call that ends, and works, when release is called.
func (r *refusals) keep() (release func()) {
	text := fmt.Sprintf("word %d of keeper", r.other)
	free := make(chan struct{})
	r.mu.Lock()
	r.held, r.free = text, free
	r.mu.Unlock()
	r.word("keeper", text)
	r.until("under way", func() bool {
		return slices.ContainsFunc(r.stage.Calls(), func(c stage.Call) bool { return strings.Contains(c.Text, text) })
	})
	return sync.OnceFunc(func() { close(free) })
}

// inMainPlace says whether a text is shown in the main place.
func (r *refusals) inMainPlace(text string) bool {
	var all []string
	switch b := r.board.(type) {
	case telegramBoard:
		all = b.shown("0")
	case *discordBoard:
		all = b.shown(b.channel)
	case *slackBoard:
		for _, m := range b.server.Parents(b.channel) {
			all = append(all, m.Plain)
		}
	}
	return slices.ContainsFunc(all, func(shown string) bool { return strings.Contains(shown, text) })
}
