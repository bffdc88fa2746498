package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// told is an operator_status as it came, whether by a stream or a callback.
type told struct {
	ID        string            `json:"id"`
	Online    bool              `json:"online"`
	Operators []bridge.Operator `json:"operators"`
}

// line is the team in a line, for comparing.
func (s told) line() string {
	var all []string
	for _, op := range s.Operators {
		all = append(all, fmt.Sprintf("%s %s %s %s", op.Name, op.Status, op.Since.Format(time.RFC3339Nano), op.Reason))
	}
	return fmt.Sprint(s.Online, " ", strings.Join(all, ", "))
}

// statuses returns what a stream told of the team.
func (l *listener) statuses(t *testing.T) []told {
	t.Helper()
	var out []told
	for line := range strings.Lines(l.heard()) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || !strings.HasSuffix(line, "\n") || !strings.Contains(data, `"type":"operator_status"`) {
			continue
		}
		var s told
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// presence is what GET /api/presence says at a bridge.
func (r *rig) presence(p *proc) told {
	r.t.Helper()
	resp, err := r.client.Get(p.base + "/api/presence")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var s told
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatal(resp.StatusCode, err)
	}
	return s
}

// Two bridges on one Redis, and commands through either: every change of the team is told once on every stream, at most once to
// every callback, and the last thing told is true.
func TestOperatorsOfTwoBridges(t *testing.T) {
	t.Parallel()
	changes := 300
	if soak.Asked() {
		changes = 1000
	}
	r := newRig(t)
	stores()["redis"](t, r.env)
	f := r.withWebhook()
	f.before = func(n int32) { // Telegram's updates come to the bridges by turns
		if all := r.processes(); len(all) > 1 {
			f.target.Store(all[n%2])
		}
	}
	r.hooked(f)
	r.others = []*proc{r.launch()}
	streams := []*listener{r.listenTo(r.processes()[0], ""), r.listenTo(r.processes()[1], "")}
	extra := newApp(t)
	r.callback("extra", extra)

	users := map[int64]string{}
	last := map[string]string{}
	for i := range 5 {
		u := r.telegram.AddUser(telegram.User{FirstName: fmt.Sprint("Op", i)})
		users[u.ID] = u.FirstName
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var work sync.WaitGroup
	work.Go(func() {
		random := rand.New(rand.NewPCG(seed, 1))
		ids := slices.Sorted(maps.Keys(users))
		for range changes * 2 / 3 {
			id := ids[random.IntN(len(ids))]
			command := []string{"online", "away", "offline"}[random.IntN(3)]
			r.telegram.Say(r.chat, 0, id, "/"+command)
			last[users[id]] = command
		}
	})
	isOnline := false
	work.Go(func() {
		random := rand.New(rand.NewPCG(seed, 2))
		for i := range changes / 3 {
			isOnline = random.IntN(2) == 0
			if code, _, err := r.post("/api/operator/status", fmt.Sprintf(`{"online":%t}`, isOnline)); err != nil || code != http.StatusOK {
				t.Errorf("%d, %v", code, err)
			}
			if i%10 == 0 {
				r.callback("extra", extra) // it is told of the team each time
			}
		}
	})
	work.Wait()
	r.until("all updates taken", func() bool { return r.telegram.Pending() == 0 })
	want := map[string]string{"App": "offline"}
	if isOnline {
		want["App"] = "online"
	}
	maps.Copy(want, last)
	state := func(s told) map[string]string {
		out := map[string]string{}
		for _, op := range s.Operators {
			out[op.Name] = string(op.Status)
		}
		return out
	}
	r.until("the team as it was told last", func() bool {
		return maps.Equal(state(r.presence(r.processes()[0])), want) && maps.Equal(state(r.presence(r.processes()[1])), want)
	})
	final := r.presence(r.process()).line()
	for _, l := range streams {
		r.until("told on the stream", func() bool {
			all := l.statuses(t)
			return len(all) > 0 && all[len(all)-1].line() == final
		})
	}
	one, two := streams[0].statuses(t), streams[1].statuses(t)
	if !slices.EqualFunc(one, two, func(a, b told) bool { return a.ID == b.ID && a.line() == b.line() }) {
		t.Errorf("the streams tell %d and %d changes", len(one), len(two))
	}
	before := map[string]bridge.Status{}
	for i, s := range one {
		different := 0
		for _, op := range s.Operators {
			if before[op.ID] != op.Status {
				different++
			}
			before[op.ID] = op.Status
		}
		if online := slices.ContainsFunc(s.Operators, func(op bridge.Operator) bool { return op.Status == bridge.StatusOnline }); different != 1 || s.Online != online {
			t.Fatalf("change %d: %d operators are different, online is %v: %s", i, different, s.Online, s.line())
		}
	}
	for name, a := range map[string]*app{"backend": r.app, "extra": extra} {
		r.until("told to "+name, func() bool {
			all := a.of("operator_status")
			return len(all) > 0 && lineOf(t, all[len(all)-1]) == final
		})
		ids := map[string]bool{}
		for _, e := range a.of("operator_status") {
			if ids[e.ID] {
				t.Errorf("%s is told of %s twice", name, e.ID)
			}
			ids[e.ID] = true
		}
		own := 0
		for _, s := range one {
			delete(ids, s.ID)
		}
		if name == "extra" {
			own = 2 * (1 + (changes/3+9)/10) // what this bridge did not know of the team when it was registered is told after it
		}
		if len(ids) > own {
			t.Errorf("%s is told %d times of what is no change, at most %d were registrations and what corrects them", name, len(ids), own)
		}
	}
	soak.Row(t, "%d commands through two bridges made %d changes of the team, each told once on every stream", changes, len(one))
}

func lineOf(t *testing.T, e received) string {
	t.Helper()
	var s told
	if err := json.Unmarshal(e.body, &s); err != nil {
		t.Fatal(err)
	}
	return s.line()
}

// callback registers an app server.
func (r *rig) callback(id string, a *app) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPut, r.next().base+"/api/callbacks/"+id, strings.NewReader(fmt.Sprintf(`{"url":%q}`, a.url+"/x")))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		r.t.Fatalf("PUT a callback: %d", resp.StatusCode)
	}
}

// Killed and started again: who was there is there, what was due meanwhile has happened, once, and who waits is not forgotten.
func TestPresenceOutlivesTheProgram(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		r.env["PRESENCE_TIMEOUT"], r.env["UNANSWERED_AFTER"] = "12s", "2s" // longer than a restart takes
		ben := r.telegram.AddUser(telegram.User{FirstName: "Ben"})
		cem := r.telegram.AddUser(telegram.User{FirstName: "Cem"})
		r.start()
		r.must("/api/messages", message("mia", "m1", "hello?"))
		r.must("/api/operator/status", `{"online":true}`) // the app is online for ever, and nobody to be called
		topic := r.one("mia")
		r.telegram.Say(r.chat, 0, ben.ID, "/online 2h")
		r.telegram.Say(r.chat, 0, cem.ID, "/away until 00:00")
		r.telegram.Say(r.chat, topic, cem.ID, "/claim")
		r.telegram.Say(r.chat, 0, cem.ID, "/canned add bye Goodbye!")
		r.telegram.Say(r.chat, 0, r.ana.ID, "/online")
		r.until("all there", func() bool { return len(r.presence(r.process()).Operators) == 4 })
		before := r.presence(r.process())
		r.process().Kill()
		r.start()
		if after := r.presence(r.process()); after.line() != before.line() {
			t.Errorf("after a restart %s, before %s", after.line(), before.line())
		}
		r.process().Kill()
		ended := time.Now()
		for time.Since(ended) < 12*time.Second { // until Ana's time is over
			<-time.After(100 * time.Millisecond)
		}
		n := len(r.app.of("operator_status"))
		r.start()
		after := r.presence(r.process())
		for i, op := range after.Operators {
			was := before.Operators[i]
			switch {
			case op.Name == "Ana" && (op.Status != bridge.StatusAway || op.Reason != "time-out" || op.Since.Before(was.Since.Add(12*time.Second))):
				t.Errorf("Ana is %+v", op)
			case op.Name != "Ana" && op != was:
				t.Errorf("%s is %+v, and was %+v", op.Name, op, was)
			}
		}
		r.until("told", func() bool {
			all := r.app.of("operator_status")
			return len(all) > n && lineOf(t, all[len(all)-1]) == after.line()
		})
		if all := r.app.of("operator_status"); len(all) != n+1 {
			t.Errorf("told %d times of one change", len(all)-n)
		}
		texts := func() string {
			var all []string
			for _, m := range r.telegram.Messages(r.chat, topic) {
				all = append(all, m.Text)
			}
			return strings.Join(all, "\n")
		}
		r.until("called", func() bool { return strings.Contains(texts(), "⏰ mia has waited for an answer for ") })
		r.telegram.Say(r.chat, topic, r.ana.ID, "/claim")
		r.until("claimed", func() bool { return strings.Contains(texts(), "Cem takes care of this visitor, since ") })
		r.telegram.Say(r.chat, topic, r.ana.ID, "!bye")
		r.until("answered", func() bool { return slices.Equal(r.answers("mia"), []string{"Goodbye!"}) })
		r.until("back", func() bool {
			return slices.ContainsFunc(r.presence(r.process()).Operators, func(op bridge.Operator) bool {
				return op.Name == "Ana" && op.Status == bridge.StatusOnline && op.Reason == "reply"
			})
		})
	})
}

// What operators say to the bridge, through the real program and Telegram's own ways: nothing of it reaches the visitor but what
// is meant for them.
func TestOperatorsInTelegram(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, r *rig) {
		r.env["BUSINESS_HOURS"], r.env["TIMEZONE"] = "Mon-Sun 00:00-24:00", "Asia/Kathmandu"
		r.env["OPERATORS"] = fmt.Sprintf("telegram:%d, %s", r.ana.ID, "81384788765712384")
		eve := r.telegram.AddUser(telegram.User{FirstName: "Eve"})
		bot := r.telegram.AddUser(telegram.User{FirstName: "Botty", Bot: true})
		r.start()
		r.must("/api/sessions", `{"id":"mia","visitorId":"mia","metadata":{"city":"Lyon","url":"https://shop.example/cart"}}`)
		r.must("/api/messages", message("mia", "m1", "hello"))
		topic := r.one("mia")
		last := func() telegram.Message {
			all := r.telegram.Messages(r.chat, topic)
			return all[len(all)-1]
		}
		says := func(text string) {
			t.Helper()
			r.until("said: "+text, func() bool {
				return slices.ContainsFunc(r.telegram.Messages(r.chat, topic), func(m telegram.Message) bool {
					return m.Own && strings.Contains(m.Text, text)
				})
			})
		}
		r.telegram.Say(r.chat, topic, bot.ID, "/close")
		r.telegram.Say(r.chat, topic, bot.ID, "I am a bot")
		r.telegram.Say(r.chat, topic, eve.ID, "hi there, this is Eve")
		says("This was not sent to the visitor, Eve: you are not one of the operators.")
		r.telegram.Say(r.chat, topic, eve.ID, "/close")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/id")
		says(fmt.Sprintf("OPERATORS=telegram:%d\nTELEGRAM_CHAT_ID=%d\n", r.ana.ID, r.chat))
		r.telegram.Say(r.chat, topic, r.ana.ID, "/info")
		says("Place: Lyon")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/note secret-talk about the visitor")
		says("not for the visitor: secret-talk")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/clsoe")
		says("Did you mean /close?")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/read")
		says("The visitor's message is marked as read.")
		r.telegram.Say(r.chat, 0, r.ana.ID, "/name Anastasia")
		sent := r.telegram.Say(r.chat, topic, r.ana.ID, "how can I help?")
		r.until("answered", func() bool { return len(r.answers("mia")) == 1 })
		r.telegram.Edit(sent, "/close")
		says("A message that was sent does not become a command.")
		r.telegram.Reply(sent, r.ana.ID, "/delete")
		r.until("deleted, and nothing left of it", func() bool {
			return len(r.app.of("operator_message_deleted")) == 1 && !slices.ContainsFunc(r.telegram.Messages(r.chat, topic), func(m telegram.Message) bool {
				return m.ID == sent.ID || m.Text == "/delete"
			})
		})
		r.telegram.Say(r.chat, topic, r.ana.ID, "/away 1h")
		says("You are away until ")
		if text := last().Text; !strings.Contains(text, "+0545") {
			t.Errorf("the time is not Kathmandu's: %s", text)
		}
		r.telegram.Say(r.chat, topic, r.ana.ID, "/rate")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/ai on")
		r.telegram.Say(r.chat, topic, r.ana.ID, "/close")
		closed := func() bool {
			i := slices.IndexFunc(r.telegram.Topics(r.chat), func(t telegram.Topic) bool { return t.ID == topic })
			return r.telegram.Topics(r.chat)[i].Closed
		}
		r.until("closed", closed)
		r.must("/api/messages", message("mia", "m2", "one more thing"))
		r.until("open again", func() bool { return !closed() && len(r.app.of("session_reopened")) == 1 })
		var types []string
		for _, kind := range []string{
			"message_read", "operator_message", "operator_message_edited", "operator_message_deleted", "session_closed", "session_reopened", "csat_request", "ai_toggle",
		} {
			types = append(types, fmt.Sprint(len(r.app.of(kind))))
			for _, e := range r.app.of(kind) {
				if strings.Contains(string(e.body), "secret-talk") || strings.Contains(string(e.body), "Eve") || strings.Contains(string(e.body), "bot") {
					t.Errorf("the app is told %s", e.body)
				}
			}
		}
		if got := strings.Join(types, " "); got != "1 1 0 1 1 1 1 1" {
			t.Errorf("the app is told of %s", got)
		}
		if body := string(r.app.of("operator_message")[0].body); !strings.Contains(body, `"operatorName":"Anastasia"`) {
			t.Error(body)
		}
	})
}

// Commands on the real programs' ways to every platform: what one operator says in one of them is seen in all, and the visitor's
// app is told of what matters to it, and of no more.
func TestCommandsOnEveryPlatform(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.use("telegram", "discord forum", "slack socket")
	r.env["OPEN_THREAD"], r.env["OPERATORS"] = "message", ""
	r.start()
	r.must("/api/messages", message("mia", "m1", "hello"))
	threads := map[string]string{}
	for _, b := range r.boards {
		r.until("open on "+b.name(), func() bool { return len(b.threads("mia")) == 1 })
		threads[b.name()] = b.threads("mia")[0]
	}
	shows := func(b board, text string) bool {
		all := b.shown(threads[b.name()])
		if b.name() == "telegram" { // the board cuts the card off, and more with it
			for _, topic := range r.topics("mia") {
				for _, m := range r.telegram.Messages(r.chat, topic.ID) {
					all = append(all, m.Text)
				}
			}
		}
		return slices.ContainsFunc(all, func(shown string) bool { return strings.Contains(shown, text) })
	}
	everywhere := func(text string) {
		t.Helper()
		for _, b := range r.boards {
			r.until("said on "+b.name()+": "+text, func() bool { return shows(b, text) })
		}
	}
	closed := 0
	for _, b := range r.boards {
		at, name := threads[b.name()], strings.ToUpper(b.name()[:1])+b.name()[1:]
		here := func(text string) {
			t.Helper()
			r.until("answered on "+b.name()+": "+text, func() bool { return shows(b, text) })
		}
		b.say(at, "!claim")
		everywhere("✋ Ana (" + name + ") takes care of this visitor.")
		b.say(at, "!note secret-talk")
		everywhere("Ana (" + name + "), not for the visitor: secret-talk")
		b.say(at, "!status")
		here("1 open conversation, ")
		b.say(at, "!online 2h")
		here("You are online until ")
		b.say(at, "!online soon")
		here(`I cannot read “soon” as a time.`)
		b.say(at, "!info")
		here("Session: mia")
		b.say(at, "!read")
		here("marked as read.")
		b.say(at, "!unclaim")
		everywhere("👐 Ana (" + name + ") does not take care of this visitor any more")
		b.say(at, "!close")
		everywhere("✅ Ana (" + name + ") has closed the conversation.")
		closed++
		text := fmt.Sprintf("more, since %s was closed", name)
		r.until("the app knows it", func() bool { return len(r.app.of("session_closed")) == closed })
		r.must("/api/messages", message("mia", "more"+name, text))
		everywhere(text)
		r.until("the app knows that it is open", func() bool { return len(r.app.of("session_reopened")) == closed })
	}
	if n := len(r.app.of("operator_message")); n != 0 {
		t.Errorf("the visitor is sent %d messages", n)
	}
	if n := len(r.app.of("message_read")); n != len(r.boards) {
		t.Errorf("messages are read %d times", n)
	}
	r.app.mu.Lock()
	defer r.app.mu.Unlock()
	for _, e := range r.app.got {
		if strings.Contains(string(e.body), "secret-talk") || e.Type == "answer" {
			t.Errorf("the app is told %s", e.body)
		}
	}
	for _, b := range r.boards {
		if n := len(b.threads("mia")); n != 1 {
			t.Errorf("%s has %d threads", b.name(), n)
		}
	}
}

// Two accounts are joined through two bridges, one of which is killed in between: the code is seen by the one who asked for it
// alone, and nobody but them confirms.
func TestLinkOnTwoBridges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stores()["redis"](t, r.env)
	r.use("discord text", "slack socket")
	r.start()
	r.others = []*proc{r.launch()}
	r.listened(t)
	d, s := r.boards[0].(*discordBoard), r.boards[1].(*slackBoard)
	eve := d.server.AddUser(discord.User{Name: "eve", Display: "Eve"}).ID
	shows := func(what string) func() bool {
		return func() bool {
			return slices.ContainsFunc(d.server.Messages(d.channel), func(m discord.Message) bool { return strings.Contains(discordPlain(m.Text), what) })
		}
	}
	private := func(code string) (answer string) {
		options := map[string]any{}
		if code != "" {
			options["code"] = code
		}
		id := d.server.UseCommand(d.channel, d.ana, "link", options).ID
		r.until("answered /link "+code, func() bool {
			for _, i := range d.server.Interactions() {
				if i.ID == id && len(i.Answers) == 1 && !i.Deferred && i.Answers[0].Ephemeral {
					answer = discordPlain(i.Answers[0].Text)
				}
			}
			return answer != ""
		})
		return answer
	}
	r.until("the menu", func() bool { return len(d.server.Commands(d.server.Guild())) > 0 })
	code := strings.Fields(private(""))[2]
	s.server.Slash(s.channel, s.ana, "/link", code)
	r.until("asked for", func() bool {
		return slices.ContainsFunc(s.server.Ephemerals(s.channel, s.ana), func(m slack.Message) bool {
			return strings.HasPrefix(m.Plain, "Ana (Discord) is asked")
		})
	})
	r.until("asked about", shows("Ana (Slack) wants to be linked with you: /link yes confirms"))
	r.process().Kill()
	r.replace(0)
	d.server.Say(d.channel, eve, "!link yes")
	r.until("refused", shows("Nobody has asked to be linked with this account"))
	if got := private("yes"); !strings.HasPrefix(got, "You are one person now: Ana on Discord, Ana on Slack.") {
		t.Error(got)
	}
	r.until("told on Slack", func() bool {
		return slices.ContainsFunc(s.server.Parents(s.channel), func(m slack.Message) bool {
			return strings.Contains(m.Plain, "You are one person with Ana (Discord) now.") && slices.Contains(m.Pings, s.ana)
		})
	})
	if shows(code)() {
		t.Error("everybody sees the code")
	}
}
