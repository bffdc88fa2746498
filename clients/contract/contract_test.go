//go:build clients

package contract

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// A contractCase is one of ../cases.json, which says what its steps are.
type contractCase struct {
	Name  string          `json:"name"`
	App   map[string]bool `json:"app"` // storage, spool, callback
	Steps []map[string]any
}

func TestClients(t *testing.T) {
	text, err := os.ReadFile("../cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []contractCase }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("cases.json: %v", err)
	}
	p := build(t, strings.Split(os.Getenv("CLIENTS"), ",")...)
	for client := range p.apps {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, p, client)
			r.startBridge()
			for i, c := range all.Cases {
				t.Run(c.Name, func(t *testing.T) {
					shared := *r // the bridge that a case starts is the next one's too
					defer func() { r.bridge = shared.bridge }()
					s := &scene{rig: &shared, t: t, n: i, env: c.App, vars: map[string]any{}, dir: t.TempDir(), client: client}
					s.proxy.set(false, false)
					s.startApp()
					for n, step := range c.Steps {
						s.step(n, step)
					}
					s.stopApp()
				})
			}
		})
	}
}

// scene is a case as it runs.
type scene struct {
	*rig
	t      *testing.T
	client string
	n      int
	env    map[string]bool
	dir    string
	vars   map[string]any // what steps have saved

	app     *program.Process
	base    string
	port    string
	second  *program.Process
	session string
	visitor string
	topic   int
	page    *page
	sent    int // events of the session that were looked at
	shown   int // frames of the page that were looked at
	marks   int
}

const callbackSecret = "whsec_Y29udHJhY3QtY2FzZXMtc2VjcmV0LTAx"

func (s *scene) appEnv(port string) []string {
	env := []string{"APP_PORT=" + port, "BRIDGE_URL=" + s.proxy.url, "BRIDGE_KEY=" + apiKey}
	if s.env["storage"] {
		env = append(env, "APP_STORAGE="+filepath.Join(s.dir, "app.json"))
	}
	if s.env["spool"] {
		env = append(env, "APP_SPOOL="+filepath.Join(s.dir, "spool"))
	}
	if s.env["callback"] {
		env = append(env, "APP_CALLBACK_SECRET="+callbackSecret)
	}
	return env
}

func (s *scene) startApp() {
	s.t.Helper()
	if s.port == "" {
		s.port = program.FreePort(s.t)
	}
	s.base = "http://127.0.0.1:" + s.port
	s.app = start(s.t, "listening", s.appEnv(s.port), s.dir, s.command...)
	s.until("connected to the bridge", func() bool {
		stats, _ := s.state()["stats"].(map[string]any)
		return stats["connected"] == true || s.proxy.isAway()
	})
}

func (p *proxy) isAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away
}

// stopApp ends the app in order: a data race found in it makes it fail.
func (s *scene) stopApp() {
	s.t.Helper()
	if s.page != nil {
		s.page.end()
	}
	s.app.Exit()
	if strings.Contains(s.app.Output(), "DATA RACE") {
		s.t.Errorf("a data race:\n%s", s.app.Output())
	} else if code := s.app.Cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("the app ended with %d:\n%s", code, s.app.Output())
	}
}

func (s *scene) until(what string, cond func() bool) {
	s.t.Helper()
	until(s.t, what, func() string {
		return fmt.Sprintf("sent: %s\npage: %s\nstate: %s\nbridge: %s\napp: %s", pretty(s.proxy.accepted(s.session)), pretty(s.frames()),
			pretty(s.state()), s.bridge.Output(), s.app.Output())
	}, cond)
}

func (s *scene) frames() []map[string]any {
	if s.page == nil {
		return nil
	}
	return s.page.seen()
}

func (s *scene) state() map[string]any {
	var out map[string]any
	resp, err := http.Get(s.base + "/control/state")
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	_ = json.NewDecoder(resp.Body).Decode(&out)
	return out
}

// fill puts what was saved in the place of $name.
func (s *scene) fill(v any) any {
	switch v := v.(type) {
	case string:
		if name, ok := strings.CutPrefix(v, "$"); ok {
			switch value, there := s.vars[name]; {
			case there:
				return value
			case v == "$session":
				return s.session
			}
		}
		return v
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = s.fill(value)
		}
		return out
	case []any:
		out := []any{}
		for _, value := range v {
			out = append(out, s.fill(value))
		}
		return out
	}
	return v
}

func (s *scene) step(n int, raw map[string]any) {
	s.t.Helper()
	step, _ := s.fill(raw).(map[string]any)
	text := func(name string) string { out, _ := step[name].(string); return out }
	fail := func(format string, args ...any) {
		s.t.Helper()
		s.t.Fatalf("step %d, %s: %s", n, pretty(raw), fmt.Sprintf(format, args...))
	}
	save := func(value any) {
		if name := text("save"); name != "" {
			s.vars[name] = value
		}
	}
	switch text("do") {
	case "connect":
		s.connect(step)
	case "reload":
		s.openPage()
	case "call":
		status, answer, took := s.call(text("route"), step["body"], step["query"], nil)
		want, _ := step["status"].(float64)
		if want == 0 {
			want = http.StatusOK
		}
		if float64(status) != want || step["answer"] != nil && !has(answer, step["answer"]) {
			fail("%d %s", status, pretty(answer))
		}
		if limit := quickly(); took > limit && step["quick"] == true {
			fail("it took %s", took)
		}
		for name, field := range asMap(step["keep"]) {
			s.vars[name] = answer[fmt.Sprint(field)]
		}
	case "control":
		s.control(text("what"), step["body"])
	case "sent":
		s.until("sent: "+pretty(step["event"]), func() bool { return len(s.proxy.accepted(s.session)) > s.sent })
		got := s.proxy.accepted(s.session)[s.sent]
		if s.sent++; !has(any(got), step["event"]) {
			fail("it was %s", pretty(got))
		}
		for name, field := range asMap(step["keep"]) {
			s.vars[name] = got[fmt.Sprint(field)]
		}
	case "page":
		s.until("shown on the page: "+pretty(step["frame"]), func() bool {
			for _, f := range s.frames()[s.shown:] {
				if s.shown++; has(any(f), step["frame"]) {
					return true
				}
			}
			return false
		})
	case "quiet":
		s.quiet(fail)
	case "presence":
		s.until("the team's presence is "+pretty(step["online"]), func() bool {
			_, answer, _ := s.call("GET presence", nil, nil, nil)
			return answer["online"] == step["online"]
		})
	case "telegram", "discord":
		save(s.operator(text("do"), text("act"), step))
	case "threads":
		s.until("in the thread: "+text("text"), func() bool { return strings.Contains(s.threadText(), text("text")) })
	case "bridge":
		s.fault(text("act"))
	case "app":
		s.restart(text("act"))
	case "callback":
		status, _ := s.callback(step)
		if want, _ := step["status"].(float64); float64(status) != want {
			fail("it is answered with %d", status)
		}
	case "told":
		s.until("the app is told: "+text("type"), func() bool {
			events, _ := s.state()["events"].([]any)
			return slices.Contains(events, step["type"])
		})
	case "state":
		s.until("so: "+pretty(step["expect"]), func() bool { return has(any(s.state()), step["expect"]) })
	case "messages":
		s.until("in the storage: "+pretty(step["expect"]), func() bool {
			_, answer, _ := s.call("GET messages", nil, map[string]any{"sessionId": s.session, "after": "2020-01-01T00:00:00Z"}, nil)
			return has(answer["messages"], step["expect"])
		})
	case "pause":
		seconds, _ := step["seconds"].(float64)
		if full, ok := step["soak"].(float64); ok && soak.Asked() {
			seconds = full
		}
		wait(s.t, time.Duration(seconds*float64(time.Second)))
	case "load":
		s.load(step, fail)
	case "many":
		count, _ := step["count"].(float64)
		for i := range int(count) {
			if status, answer, _ := s.call("POST message", map[string]any{"sessionId": s.session, "content": fmt.Sprint("number ", i)}, nil, nil); status != 200 {
				fail("%d %s", status, pretty(answer))
			}
		}
		s.sent += int(count)
		s.until("all sent", func() bool { return len(s.proxy.accepted(s.session)) >= s.sent })
	case "history":
		s.history(step, fail)
	default:
		fail("there is no such step")
	}
}

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }

// quickly is how long a visitor's POST may take, whatever the bridge does. With TIMING set it is what is promised, on a machine
// that does nothing else; without, what shows that a POST waits for the bridge.
func quickly() time.Duration {
	if os.Getenv("TIMING") != "" {
		return 100 * time.Millisecond
	}
	return 3 * time.Second
}

// wait is for what a clock alone can bring about.
func wait(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func (s *scene) connect(step map[string]any) {
	s.t.Helper()
	s.visitor = fmt.Sprintf("visitor-%s-%d", s.client, s.n)
	body := map[string]any{"visitorId": s.visitor, "sessionId": nil, "metadata": map[string]any{
		"url": "https://shop.example/mug", "userAgent": "Mozilla/5.0", "pageTitle": "Mug", "language": "en",
	}}
	for name, value := range asMap(step["body"]) {
		body[name] = value
	}
	status, answer, _ := s.call("POST connect", body, nil, nil)
	id, _ := answer["sessionId"].(string)
	if status != http.StatusOK || id == "" {
		s.t.Fatalf("connect: %d %s", status, pretty(answer))
	}
	s.session = id
	s.openPage()
}

func (s *scene) openPage() {
	s.t.Helper()
	if s.page != nil {
		s.page.end()
	}
	s.page, s.shown = openPage(s.t, s.base, s.session), 0
}

func (s *scene) call(route string, body, query any, header http.Header) (int, map[string]any, time.Duration) {
	s.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	for name, value := range s.vars {
		path = strings.ReplaceAll(path, "{"+name+"}", fmt.Sprint(value))
	}
	target := s.base + "/pocketping/" + path
	if strings.HasPrefix(path, "http") {
		target = path
	}
	mark := "?"
	for name, value := range asMap(query) {
		target += mark + name + "=" + fmt.Sprint(value)
		mark = "&"
	}
	var data []byte
	if text, ok := body.(string); ok {
		data = []byte(text)
	} else if body != nil {
		data, _ = json.Marshal(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, target, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-PocketPing-Version", "2.8.0")
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	took := time.Since(began)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", route, err, s.app.Output())
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	var answer map[string]any
	_ = json.Unmarshal(text, &answer)
	return resp.StatusCode, answer, took
}

func (s *scene) control(what string, body any) {
	s.t.Helper()
	data, _ := json.Marshal(body)
	resp, err := http.Post(s.base+"/control/"+what, "application/json", bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("control %s: %d", what, resp.StatusCode)
	}
}

// quiet sends a mark through the app's queue and sees that nothing went before it.
func (s *scene) quiet(fail func(string, ...any)) {
	s.t.Helper()
	s.marks++
	name := fmt.Sprint("mark ", s.marks)
	s.control("trigger", map[string]any{"sessionId": s.session, "name": name})
	s.until("marked", func() bool { return len(s.proxy.accepted(s.session)) > s.sent })
	got := s.proxy.accepted(s.session)[s.sent]
	if s.sent++; !has(any(got), map[string]any{"type": "custom_event", "event": map[string]any{"name": name}}) {
		fail("something went back: %s", pretty(got))
	}
}

func (s *scene) findTopic() int {
	if s.topic == 0 {
		s.until("a topic of "+s.visitor, func() bool {
			for _, topic := range s.telegram.Topics(s.chat) {
				if topic.Name == s.visitor {
					s.topic = topic.ID
				}
			}
			return s.topic != 0
		})
	}
	return s.topic
}

func (s *scene) threadText() string {
	var out strings.Builder
	for _, m := range s.telegram.Messages(s.chat, s.findTopic()) {
		out.WriteString(m.Text + "\n")
	}
	return out.String()
}

func (s *scene) thread() string {
	id := ""
	s.until("a thread of "+s.visitor, func() bool {
		for _, thread := range s.discord.Threads(s.channel) {
			if thread.Name == s.visitor {
				id = thread.ID
			}
		}
		return id != ""
	})
	return id
}

// operator lets Ana, on Telegram, or Ben, on Discord, do something in the session's thread. The value is the id of a message as
// the bridge tells it.
func (s *scene) operator(platform, act string, step map[string]any) any {
	s.t.Helper()
	text, _ := step["text"].(string)
	on, _ := step["on"].(string)
	_, number, _ := strings.Cut(on, ":")
	if platform == "discord" {
		thread := s.thread()
		switch act {
		case "say":
			return "discord:" + s.discord.Say(thread, s.ben, text).ID
		case "type":
			s.discord.Typing(thread, s.ben)
			return nil
		case "delete", "edit":
			for _, m := range s.discord.Messages(thread) {
				if m.ID == number {
					if act == "delete" {
						s.discord.Delete(m)
					} else {
						s.discord.Edit(m, text)
					}
					return on
				}
			}
		}
		s.t.Fatalf("Discord: %s %s", act, on)
	}
	topic := s.findTopic()
	find := func(match func(telegram.Message) bool) (found telegram.Message) {
		s.until("in the topic", func() bool {
			for _, m := range s.telegram.Messages(s.chat, topic) {
				if match(m) {
					found = m
				}
			}
			return found.ID != 0
		})
		return found
	}
	byText := func(m telegram.Message) bool { return m.Own && strings.Contains(m.Text, fmt.Sprint(step["shows"])) }
	byNumber := func(m telegram.Message) bool { return strconv.Itoa(m.ID) == number }
	switch act {
	case "say":
		return "telegram:" + strconv.Itoa(s.telegram.Say(s.chat, topic, s.ana, text).ID)
	case "reply":
		return "telegram:" + strconv.Itoa(s.telegram.Reply(find(byText), s.ana, text).ID)
	case "edit":
		s.telegram.Edit(find(byNumber), text)
	case "react":
		s.telegram.React(find(byText), s.ana, "👍")
	case "refuse":
		s.telegram.Next("sendMessage", telegram.Fail(400, "Bad Request: chat not found"), telegram.Fail(400, "Bad Request: chat not found"))
	default:
		s.t.Fatalf("Telegram: %s", act)
	}
	return on
}

func (s *scene) fault(act string) {
	s.t.Helper()
	switch act {
	case "kill":
		s.bridge.Kill()
	case "start":
		s.startBridge()
	case "away":
		s.proxy.set(true, false)
	case "lost":
		s.proxy.set(false, true)
	case "back":
		s.proxy.set(false, false)
	}
}

func (s *scene) restart(act string) {
	s.t.Helper()
	switch act {
	case "kill":
		s.page.end()
		s.app.Kill()
	case "start":
		s.startApp()
	case "second": // another process of the app, with the same storage
		port := program.FreePort(s.t)
		base := s.base
		s.second = s.app
		s.base = "http://127.0.0.1:" + port
		s.app = start(s.t, "listening", s.appEnv(port), s.dir, s.command...)
		s.until("connected", func() bool { return has(any(s.state()), map[string]any{"stats": map[string]any{"connected": true}}) })
		s.vars["first"], s.vars["second"] = base, s.base
	case "swap":
		s.app, s.second = s.second, s.app
		if s.base == s.vars["first"] {
			s.base, _ = s.vars["second"].(string)
		} else {
			s.base, _ = s.vars["first"].(string)
		}
	case "close second":
		s.second.Exit()
		if strings.Contains(s.second.Output(), "DATA RACE") {
			s.t.Errorf("a data race:\n%s", s.second.Output())
		}
	}
}

// callback sends the app an event as the bridge does, or worse.
func (s *scene) callback(step map[string]any) (int, string) {
	s.t.Helper()
	body, _ := json.Marshal(step["event"])
	id, _ := asMap(step["event"])["id"].(string)
	at := time.Now()
	if offset, ok := step["clock"].(float64); ok {
		at = at.Add(time.Duration(offset) * time.Second)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(callbackSecret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	signature := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	switch step["sign"] {
	case "wrong":
		signature = "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	case "other body":
		body = bytes.Replace(body, []byte("}"), []byte(` }`), 1)
	case "two":
		signature = "v1,AAAA " + signature
	}
	req, _ := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.base+"/pocketping/callback", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	if step["sign"] != "none" {
		req.Header.Set("webhook-signature", signature)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// load has the visitor write at a pace, while the bridge is killed and started, or out of reach; all must arrive once and in
// order, and no POST may wait.
func (s *scene) load(step map[string]any, fail func(string, ...any)) {
	s.t.Helper()
	number := func(name string) int { n, _ := step[name].(float64); return int(n) }
	count, pace := number("count"), time.Second/time.Duration(number("perSecond"))
	var slowest time.Duration
	over := 0
	tick := time.NewTicker(pace)
	defer tick.Stop()
	down := make(chan struct{})
	for i := range count {
		if i == number("from") {
			if step["kill"] == true {
				s.bridge.Kill()
			} else {
				s.proxy.set(true, false)
			}
		}
		if i == number("to") {
			go func() {
				defer close(down)
				if step["kill"] == true {
					s.startBridge()
				} else {
					s.proxy.set(false, false)
				}
			}()
		}
		<-tick.C
		status, answer, took := s.call("POST message", map[string]any{
			"sessionId": s.session, "content": fmt.Sprint("load ", i), "sender": "visitor", "attachmentIds": []any{},
		}, nil, nil)
		if status != http.StatusOK {
			fail("message %d: %d %s", i, status, pretty(answer))
		}
		if slowest = max(slowest, took); took > 100*time.Millisecond {
			over++
		}
	}
	<-down
	s.until("all accepted", func() bool { return len(s.proxy.accepted(s.session)) >= s.sent+count })
	for i, e := range s.proxy.accepted(s.session)[s.sent:] {
		if got := asMap(e["message"])["content"]; got != fmt.Sprint("load ", i) {
			fail("in place %d is %v", i, got)
		}
	}
	s.sent += count
	// Telegram cannot be asked what it took from a bridge that is killed, and may show that again; Discord knows repeats.
	s.shows("Discord", count, false, fail, func() []string {
		var out []string
		for _, m := range s.discord.Messages(s.thread()) {
			if m.Own {
				out = append(out, m.Text)
			}
		}
		return out
	})
	s.shows("Telegram", count, step["kill"] == true, fail, func() []string {
		var out []string
		for _, m := range s.telegram.Messages(s.chat, s.findTopic()) {
			out = append(out, m.Text)
		}
		return out
	})
	s.t.Logf("%d messages, 0 lost, 0 doubled, in order; the slowest POST took %s, %d of them more than 100 ms", count, slowest.Round(time.Millisecond), over)
	if slowest > quickly() {
		fail("the slowest POST took %s", slowest)
	}
}

// shows sees that a platform shows all messages of a load, once and in order.
func (s *scene) shows(platform string, count int, again bool, fail func(string, ...any), texts func() []string) {
	s.t.Helper()
	numbers := func() []int {
		var out []int
		for _, line := range strings.Split(strings.Join(texts(), "\n"), "\n") {
			if strings.HasPrefix(line, "**") { // Discord's bot names whom it speaks for
				_, line, _ = strings.Cut(line, ":** ")
			}
			if text, ok := strings.CutPrefix(line, "load "); ok {
				n, _ := strconv.Atoi(text)
				out = append(out, n)
			}
		}
		return out
	}
	s.until("all on "+platform, func() bool { return slices.Contains(numbers(), count-1) })
	last := -1
	for _, n := range numbers() {
		switch {
		case n == last+1:
			last = n
		case n != last || !again:
			fail("behind %d %s shows %d", last, platform, n)
		}
	}
}

// history looks at what a page is shown when it is loaded: no message twice, the newest among them.
func (s *scene) history(step map[string]any, fail func(string, ...any)) {
	s.t.Helper()
	status, answer, _ := s.call("POST connect", map[string]any{"visitorId": s.visitor, "sessionId": s.session}, nil, nil)
	messages, _ := answer["messages"].([]any)
	seen := map[any]bool{}
	for _, m := range messages {
		id := asMap(m)["id"]
		if seen[id] {
			fail("message %v is there twice", id)
		}
		seen[id] = true
	}
	last := asMap(append([]any{nil}, messages...)[len(messages)])
	if want, _ := step["count"].(float64); status != http.StatusOK || float64(len(messages)) != want || !has(any(last), step["last"]) {
		fail("%d messages, the last is %s", len(messages), pretty(last))
	}
}
