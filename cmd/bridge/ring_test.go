package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// ringer hears what the bridge sends to the three platforms, as it is on the wire.
type ringer struct {
	*rig
	discord *discordBoard
	slack   *slackBoard

	mu   sync.Mutex
	sent map[string][]map[string]string // platform → the parameters of what was sent, in order
}

// newRinger returns one whose operators are reminded of who waits after a time.
func newRinger(t *testing.T, unanswered string) *ringer {
	t.Helper()
	r := &ringer{rig: newRig(t), sent: map[string][]map[string]string{}}
	r.use("telegram", "discord text", "slack socket")
	r.env["DATA_DIR"], r.env["UNANSWERED_AFTER"] = t.TempDir(), unanswered
	r.discord, r.slack = r.boards[1].(*discordBoard), r.boards[2].(*slackBoard)
	r.hear()
	r.start()
	return r
}

// hear notes what is sent from here on.
func (r *ringer) hear() {
	note := func(platform, method string, m stage.Moment, c stage.Call) {
		if m == stage.Processed && c.Method == method {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sent[platform] = append(r.sent[platform], c.Params)
		}
	}
	r.telegram.Observe(func(m telegram.Stage, c telegram.Call) { note("telegram", "sendMessage", m, c.Call) })
	r.discord.server.Observe(func(m stage.Moment, c stage.Call) { note("discord", "create_message", m, c) })
	r.slack.server.Observe(func(m stage.Moment, c stage.Call) { note("slack", "chat.postMessage", m, c) })
}

func (r *ringer) has(platform, text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.sent[platform], func(p map[string]string) bool { return strings.Contains(p["text"]+p["content"], text) })
}

// wire returns what rings in the one message with a text on a platform, by the names of the wire's fields.
func (r *ringer) wire(platform, text string) string {
	r.t.Helper()
	var found map[string]string
	r.until(fmt.Sprintf("%q on %s", text, platform), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, p := range r.sent[platform] {
			if strings.Contains(p["text"]+p["content"]+p["blocks"], text) {
				found = p
			}
		}
		return found != nil
	})
	switch platform {
	case "telegram":
		if strings.Contains(found["text"], "tg://user?id="+fmt.Sprint(r.ana.ID)) {
			return "rings for the group, calls Ana"
		}
		if found["disable_notification"] == "true" {
			return "disable_notification"
		}
		return "rings for the group"
	case "discord":
		return r.named(discordRings(r.t, found))
	default:
		return r.named(slackRings(r.t, found))
	}
}

func (r *ringer) named(rings string) string {
	return strings.NewReplacer(r.discord.ana, "Ana", r.slack.ana, "Ana").Replace(rings)
}

func discordRings(t *testing.T, p map[string]string) string {
	var m struct{ Parse, Users, Roles []string }
	if err := json.Unmarshal([]byte(p["allowed_mentions"]), &m); err != nil {
		t.Errorf("allowed_mentions: %v", err)
	}
	var out []string
	if p["flags"] == fmt.Sprint(1<<12|1<<2) {
		out = append(out, "SUPPRESS_NOTIFICATIONS")
	}
	for _, id := range m.Users {
		if strings.Contains(p["content"], "<@"+id+">") {
			out = append(out, "users "+id)
		}
	}
	if len(m.Parse)+len(m.Roles) > 0 {
		out = append(out, strings.Join(append(m.Parse, m.Roles...), ","))
	}
	return strings.Join(out, " + ")
}

func slackRings(t *testing.T, p map[string]string) string {
	var out []string
	if p["reply_broadcast"] == "true" {
		out = append(out, "reply_broadcast")
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			switch v["type"] {
			case "user":
				out = append(out, fmt.Sprint("user ", v["user_id"]))
			case "broadcast":
				out = append(out, fmt.Sprint("broadcast ", v["range"]))
			case "usergroup":
				out = append(out, fmt.Sprint("usergroup ", v["usergroup_id"]))
			}
			walk(v["elements"])
		}
	}
	var blocks any
	if p["blocks"] != "" {
		if err := json.Unmarshal([]byte(p["blocks"]), &blocks); err != nil {
			t.Error(err)
		}
	}
	walk(blocks)
	return strings.Join(out, " + ")
}

// everywhere lets Ana say something in the main place of every platform.
func (r *ringer) everywhere(text string) {
	r.telegram.Say(r.chat, 0, r.ana.ID, text)
	r.discord.server.Say(r.discord.channel, r.discord.ana, text)
	r.slack.server.Say(r.slack.channel, "", r.slack.ana, text)
}

func (r *ringer) online(status string) {
	r.everywhere("!" + status)
	r.until("everybody "+status, func() bool {
		told := r.app.of("operator_status")
		return len(told) > 0 && strings.Count(string(told[len(told)-1].body), `"status":"`+status+`"`) == 3
	})
}

// rings is how a text notifies people on each platform, by its calls.
type rings struct{ what, text, telegram, discord, slack string }

func (r *ringer) check(rows ...rings) {
	r.t.Helper()
	for _, w := range rows {
		for platform, want := range map[string]string{"telegram": w.telegram, "discord": w.discord, "slack": w.slack} {
			if got := r.wire(platform, w.text); got != want {
				r.t.Errorf("%s on %s: %q, want %q", w.what, platform, got, want)
			}
		}
	}
}

// Who is notified of what, by which field on the wire, with the real programs' libraries.
func TestWhatRings(t *testing.T) {
	t.Parallel()
	r := newRinger(t, "2s")
	type row = rings
	check := r.check
	visitor := func(session, id, text string) { r.must("/api/messages", message(session, id, text)) }

	nobody := "Anybody? @everyone @here <!channel> <@" + r.discord.ana + "> <@" + r.slack.ana + "> everyone-1"
	visitor("early", "m1", nobody)
	check(row{"the first word, nobody online", "everyone-1", "rings for the group", "everyone", "reply_broadcast + broadcast here"})
	for _, m := range r.discord.server.Messages(r.discord.threads("early")[0]) {
		if strings.Contains(m.Text, "everyone-1") && !slices.Equal(m.Pings, []string{"here"}) {
			t.Errorf("Discord pings %q", m.Pings)
		}
	}
	for _, m := range r.slack.server.Messages(r.slack.channel, r.slack.threads("early")[0]) {
		if strings.Contains(m.Plain, "everyone-1") && !slices.Equal(m.Pings, []string{"!here"}) {
			t.Errorf("Slack pings %q", m.Pings)
		}
	}
	visitor("early", "m2", "Hello? nobody-2")
	check(row{"the second word within a minute, nobody online", "nobody-2", "rings for the group", "", ""})

	r.online("online")
	visitor("mia", "m1", "First mia-1")
	visitor("mia", "m2", "Second mia-2")
	check(
		row{"the first word", "mia-1", "rings for the group", "users Ana", "reply_broadcast + user Ana"},
		row{"the second word before an answer", "mia-2", "rings for the group", "users Ana", "user Ana"},
	)
	r.until("the reminder where Ana was last", func() bool {
		return slices.ContainsFunc([]string{"telegram", "discord", "slack"}, func(on string) bool { return r.has(on, "mia has waited") })
	})
	for platform, want := range map[string]string{"telegram": "rings for the group, calls Ana", "discord": "users Ana", "slack": "user Ana"} {
		if r.has(platform, "mia has waited") {
			if got := r.wire(platform, "mia has waited"); got != want {
				t.Errorf("the reminder on %s: %q, want %q", platform, got, want)
			}
		}
	}
	r.boards[0].say(r.boards[0].threads("mia")[0], "Answer copy-1")
	r.until("an answer at the app", func() bool { return len(r.app.of("operator_message")) == 1 }) // of two at once one may not count as an answer
	r.discord.say(r.discord.threads("mia")[0], "Answer copy-2")
	r.until("both answers at the app", func() bool { return len(r.app.of("operator_message")) == 2 })
	visitor("mia", "m3", "Thanks mia-3")
	r.must("/api/custom-events", `{"event":{"name":"notice-1"},"session":{"id":"mia","visitorId":"mia"}}`)
	for _, b := range r.boards {
		b.say(b.threads("mia")[0], "!info")
	}
	check(row{"a word after an answer", "mia-3", "rings for the group", "", ""},
		row{"a notice", "notice-1", "disable_notification", "SUPPRESS_NOTIFICATIONS", ""},
		row{"the answer to a command", "Visitor id", "disable_notification", "SUPPRESS_NOTIFICATIONS", ""})
	for platform, copied := range map[string]string{"telegram": "copy-2", "discord": "copy-1", "slack": "copy-1"} {
		want := map[string]string{"telegram": "disable_notification", "discord": "SUPPRESS_NOTIFICATIONS"}[platform]
		if got := r.wire(platform, copied); got != want {
			t.Errorf("a colleague's copy on %s: %q, want %q", platform, got, want)
		}
	}

	// On Slack whoever speaks has a face of their own, and the bridge has the app's.
	for text, name := range map[string]string{"mia-1": "mia", "copy-1": "Ana (Telegram)", "notice-1": "", "Visitor id": ""} {
		r.mu.Lock()
		for _, p := range r.sent["slack"] {
			if strings.Contains(p["text"], text) && (p["username"] != name || (p["icon_emoji"] == "") != (name == "")) {
				t.Errorf("%q is shown under %q %q, want %q", text, p["username"], p["icon_emoji"], name)
			}
		}
		r.mu.Unlock()
	}

	r.online("offline")
	visitor("mia", "m4", "One more thing mia-4")
	check(row{"the next morning", "mia-4", "rings for the group", "everyone", "reply_broadcast + broadcast here"})
}

// A visitor of whom somebody takes care calls them alone. Nobody is reminded meanwhile: who does not answer in time is made away.
func TestClaimedVisitorRings(t *testing.T) {
	t.Parallel()
	r := newRinger(t, "24h")
	r.online("online")
	r.must("/api/messages", message("early", "m1", "Hello early-1"))
	r.check(rings{"the first word", "early-1", "rings for the group", "users Ana", "reply_broadcast + user Ana"})
	r.slack.say(r.slack.threads("early")[0], "!claim")
	r.until("the claim in all threads", func() bool {
		return slices.ContainsFunc(r.discord.shown(r.discord.threads("early")[0]), func(s string) bool { return strings.Contains(s, "takes care") })
	})
	r.must("/api/messages", message("early", "m2", "Somebody? claimed-1"))
	r.check(rings{"a claimed visitor's word", "claimed-1", "rings for the group", "", "user Ana"})
}

// DISCORD_NOTIFY and SLACK_NOTIFY name a role and a group, or nobody.
func TestWhomNotifyNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ discord, slack, rings, broadcasts string }{
		{"81384788765712384", "S0123456789", "81384788765712384", "reply_broadcast + usergroup S0123456789"}, {"off", "off", "", "reply_broadcast"},
	} {
		r := &ringer{rig: newRig(t), sent: map[string][]map[string]string{}}
		r.use("discord forum", "slack events")
		r.env["DATA_DIR"], r.env["DISCORD_NOTIFY"], r.env["SLACK_NOTIFY"] = t.TempDir(), c.discord, c.slack
		r.discord, r.slack = r.boards[0].(*discordBoard), r.boards[1].(*slackBoard)
		r.hear()
		r.start()
		r.must("/api/messages", message("mia", "m1", "First mia-1"))
		if got := r.wire("discord", "mia-1"); got != c.rings {
			t.Errorf("Discord: %q, want %q", got, c.rings)
		}
		if got := r.wire("slack", "mia-1"); got != c.broadcasts {
			t.Errorf("Slack: %q, want %q", got, c.broadcasts)
		}
	}
}
