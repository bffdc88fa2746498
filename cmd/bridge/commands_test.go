package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/words"
)

// desk is a platform as the table of commands sees it: a visitor's thread, and the place outside.
type desk struct {
	r      *rig
	b      stand
	eve    string // a stranger's id
	ben    string // a second operator's, where there is one
	thread string
}

func (d *desk) title() string { return bridge.Title(d.b.name()) }

// say lets somebody write; an empty thread is the place outside.
func (d *desk) say(user, thread, text string) (id string) {
	switch b := d.b.(type) {
	case *discordBoard:
		if thread == "" {
			thread = b.channel
		}
		return b.server.Say(thread, user, text).ID
	case *slackBoard:
		return b.server.Say(b.channel, thread, user, text).TS
	default:
		topic, _ := strconv.Atoi(thread)
		id, _ := strconv.ParseInt(user, 10, 64)
		return strconv.Itoa(d.r.telegram.Say(d.r.chat, topic, id, text).ID)
	}
}

func (d *desk) ana() string {
	switch b := d.b.(type) {
	case *discordBoard:
		return b.ana
	case *slackBoard:
		return b.ana
	default:
		return strconv.FormatInt(d.r.ana.ID, 10)
	}
}

// shows returns what the bot has written in a thread, or outside.
func (d *desk) shows(thread string) []string {
	var out []string
	switch b := d.b.(type) {
	case *discordBoard:
		if thread == "" {
			thread = b.channel
		}
		for _, m := range b.server.Messages(thread) {
			if m.Author.ID == b.server.Bot().ID {
				out = append(out, discordPlain(m.Text))
			}
		}
	case *slackBoard:
		messages := b.server.Parents(b.channel)
		if thread != "" {
			messages = b.server.Messages(b.channel, thread)
		}
		for _, m := range messages {
			if m.Own {
				out = append(out, m.Plain)
			}
		}
	default:
		topic, _ := strconv.Atoi(thread)
		for _, m := range d.r.telegram.Messages(d.r.chat, topic) {
			if m.Own && m.Service == "" {
				out = append(out, m.Text)
			}
		}
	}
	return out
}

// asked lets somebody write and waits for an answer with a text in it, which it returns.
func (d *desk) asked(user, thread, text, want string) (answer string) {
	d.r.t.Helper()
	before := len(d.shows(thread))
	d.say(user, thread, text)
	d.r.until(fmt.Sprintf("answered on %s: %s by %q", d.b.name(), text, want), func() bool {
		all := d.shows(thread)
		for _, one := range all[min(before, len(all)):] {
			if strings.Contains(one, want) {
				answer = one
				return true
			}
		}
		return false
	})
	return answer
}

// deskRow is a command, what is answered in a visitor's thread, and outside; P is the platform. Empty: as in a thread.
type deskRow struct{ text, thread, outside string }

const giveIt = "is about a visitor: write it in the visitor's thread."

// deskRows are what an operator asks, in this order.
func deskRows() []deskRow {
	return []deskRow{
		{"send", "Nothing that you wrote here waits to be sent.", giveIt}, // before anything is held
		{"online 2h", "You are online until ", ""},
		{"online soon", `I cannot read “soon” as a time.`, ""},
		{"away 30m", "You are away until ", ""},
		{"away until 25:00", `I cannot read “until 25:00” as a time.`, ""},
		{"offline", "You are offline.", ""},
		{"offline 2h", "takes nothing after it. Nothing was done.", ""},
		{"status", "4 open conversations, ", ""},
		{"who", "4 open conversations, ", ""},
		{"info", "Visitor: ", giveIt},
		{"r", "needs something after it", ""},
		{"note hidden", "📝 Ana (P), not for the visitor: hidden", giveIt},
		{"claim", "✋ Ana (P) takes care of this visitor.", giveIt},
		{"claim", "Ana takes care of this visitor, since ", giveIt},
		{"unclaim", "👐 Ana (P) does not take care of this visitor any more", giveIt},
		{"assign nobody", `Who is “nobody”? I know Ana`, giveIt},
		{"assign", "needs something after it: /assign @name.", ""},
		{"claim @nobody", `Who is “@nobody”? I know Ana`, giveIt},
		{"ok", "Nobody is asked to take care of this visitor.", giveIt},
		{"find on- tele", "🔎 on-telegram · ", ""},
		{"find hidden", `Nobody is found by “hidden”.`, ""},
		{"history", "This is the first conversation with this visitor.", giveIt},
		{"transcript", "Conversations are not kept here: TRANSCRIPTS=on", giveIt},
		{"remind 2h hidden", "You are reminded here at ", giveIt},
		{"remind hidden", "I cannot read a time in “hidden”.", giveIt},
		{"block hidden", "🚫 Ana (P) has blocked this visitor: hidden.", giveIt},
		{"blocked", "by Ana (P) since ", ""},
		{"unblock", "👌 Ana (P) has ended the block of this visitor.", giveIt + " Or write the visitor's id after it"},
		{"unblock nobody", "This visitor is not blocked.", ""},
		{"canned add hi hidden", " in a visitor's thread sends that", ""},
		{"canned", "hi – hidden", ""},
		{"canned remove hi", "is no canned reply any more", "There is no canned reply"},
		{"read", "The visitor's message is marked as read.", giveIt},
		{"delete", "Write /delete in reply to the message of yours", giveIt},
		{"csat", "The visitor is asked for a rating.", giveIt},
		{"ai off", "The AI does not answer this visitor any more.", giveIt},
		{"ai perhaps", "does not take that: /ai on|off.", ""},
		{"name", "Visitors see you as ", ""},
		{"link nosuch", "I do not know this code.", ""},
		{"unlink", "This account is not linked with another.", ""},
		{"id", "OPERATORS=", ""},
		{"help", "What you write here goes to the visitor.", "What you write here goes to nobody."},
		{"help away", "you are away for a while", ""},
		{"close", "✅ Ana (P) has closed the conversation.", giveIt},
		{"reopen", "Ana (P) has opened the conversation again.", giveIt},
	}
}

// newDesks starts a bridge with all platforms, a visitor for each, and a stranger on each. Ana alone is an operator.
func newDesks(t *testing.T) (*rig, []*desk) {
	t.Helper()
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.use("telegram", "discord text", "slack socket")
	desks := make([]*desk, 0, len(r.boards))
	var operators []string
	for _, b := range r.boards {
		d := &desk{r: r, b: b.(stand)}
		switch b := b.(type) {
		case *discordBoard:
			d.eve = b.server.AddUser(discord.User{Name: "eve", Display: "Eve"}).ID
		case *slackBoard:
			d.eve = b.server.AddUser(slack.User{Name: "eve", RealName: "Eve"}).ID
		default:
			d.eve = strconv.FormatInt(r.telegram.AddUser(telegram.User{FirstName: "Eve"}).ID, 10)
		}
		operators = append(operators, b.name()+":"+d.ana())
		desks = append(desks, d)
	}
	r.env["OPEN_THREAD"], r.env["OPERATORS"] = "message", strings.Join(operators, ",")
	r.start()
	r.must("/api/messages", message("someone", "m1", "hello"))
	for _, d := range desks {
		session := "on-" + d.b.name()
		r.must("/api/messages", message(session, "m1", "hello"))
		r.until("open on "+d.b.name(), func() bool { return len(d.b.threads(session)) == 1 })
		d.thread = d.b.threads(session)[0]
	}
	return r, desks
}

// Every command on every platform, in a visitor's thread and outside, over the real client libraries and stand-ins: what it answers;
// mistyped, it is asked about and nothing happens; from a stranger nothing happens. The visitor's app is told of none of it that is among
// operators.
func TestCommandsOverAllPlatforms(t *testing.T) {
	t.Parallel()
	r, desks := newDesks(t)
	for _, d := range desks {
		marks := []string{"!", "/"}
		if d.b.name() == "slack" { // which keeps what begins with a slash
			marks = marks[:1]
		}
		mistyped := map[string]bool{}
		for i, row := range deskRows() {
			mark := marks[i%len(marks)]
			inThread := strings.ReplaceAll(row.thread, "(P)", "("+d.title()+")")
			outside := strings.ReplaceAll(row.outside, "(P)", "("+d.title()+")")
			if outside == "" {
				outside = inThread
			}
			if d.b.name() == "slack" { // no /name works in its threads
				inThread, outside = words.Marked(inThread, "!"), words.Marked(outside, "!")
			}
			d.asked(d.ana(), d.thread, mark+row.text, inThread)
			if row.text == "blocked" || row.text == "unblock" { // what was blocked is blocked no more
				outside = map[string]string{"blocked": inThread, "unblock": outside}[row.text]
			}
			d.asked(d.ana(), "", mark+row.text, outside)
			name, _, _ := strings.Cut(row.text, " ")
			if wrong := name[:1] + "q" + name[1:]; !mistyped[name] && len(name) > 2 {
				mistyped[name] = true
				d.asked(d.ana(), d.thread, mark+wrong+" hidden", "❓ Not sent to the visitor: there is no command "+mark+wrong+". Did you mean ")
				if d.b.name() == "telegram" { // of the others a text outside is talk
					answer := d.asked(d.ana(), "", "/"+wrong, "I do not know /"+wrong+". Did you mean /")
					if strings.Contains(answer, "\n") {
						t.Errorf("%s: an unknown command outside is answered with %q", d.b.name(), answer)
					}
				}
			}
		}
		told := len(r.app.of(""))
		d.asked(d.eve, d.thread, "!close", "This was not sent to the visitor, Eve: you are not one of the operators.")
		before := len(d.shows(d.thread))
		for _, c := range bridge.Commands() {
			if c.Name != "help" && c.Name != "id" {
				d.say(d.eve, d.thread, "!"+strings.TrimPrefix(c.Usage(), "/"))
			}
		}
		d.asked(d.eve, d.thread, "!id", "OPERATORS="+d.b.name()+":"+d.eve)
		if now := d.shows(d.thread); len(now) != before+1 || len(r.app.of("")) != told {
			t.Errorf("%s: a stranger's commands came to %q", d.b.name(), now[before:])
		}
	}
	if n := len(r.app.of("operator_message")); n != 0 {
		t.Errorf("visitors are sent %d messages", n)
	}
	r.app.mu.Lock()
	defer r.app.mu.Unlock()
	for _, e := range r.app.got {
		if strings.Contains(string(e.body), "hidden") || e.Type == "answer" {
			t.Errorf("the app is told %s", e.body)
		}
	}
}

// What answers have in them works: ids can be pasted into the configuration, links lead to threads, help fits one screen, a deletion
// leaves nothing behind, and a name that was given by hand stays.
func TestAnswersAreOfUse(t *testing.T) {
	t.Parallel()
	r, desks := newDesks(t)
	for _, d := range desks {
		name := d.b.name()
		env := maps.Clone(r.env)
		for line := range strings.Lines(d.asked(d.ana(), "", "!id", "OPERATORS=")) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				env[key] = value
				if key != "OPERATORS" && value != r.env[key] {
					t.Errorf("%s says %s, not %s", name, line, r.env[key])
				}
			}
		}
		if c, err := load(env, nil); err != nil || !slices.Equal(c.Operators.Accounts, []string{name + ":" + d.ana()}) {
			t.Errorf("%s: what /id says is refused: %v", name, err)
		}
		link := map[string]string{
			"telegram": "https://t.me/c/" + strings.TrimPrefix(strconv.FormatInt(r.chat, 10), "-100") + "/" + d.thread,
			"discord":  "<#" + d.thread + ">", "slack": "/archives/" + r.env["SLACK_CHANNEL_ID"] + "/p" + strings.ReplaceAll(d.thread, ".", ""),
		}[name]
		d.asked(d.ana(), d.thread, "!claim", "takes care of this visitor")
		if line := d.asked(d.ana(), "", "!find on-"+name, "🔎 on-"+name); !strings.HasSuffix(line, " · "+link) && !strings.HasSuffix(line, link) {
			t.Errorf("%s: %q has not %q", name, line, link)
		}
		status := d.asked(d.ana(), "", "!status", "⏳ on-"+name)
		i := strings.Index(status, "⏳ on-"+name)
		if line, _, _ := strings.Cut(status[i:], "\n"); !strings.Contains(line, ", claimed by Ana · “hello” · ") || !strings.HasSuffix(line, link) {
			t.Errorf("%s: %q has not %q", name, line, link)
		}
		if d, ok := d.b.(*discordBoard); ok { // where an escape would be shown
			if !slices.ContainsFunc(d.server.Messages(d.channel), func(m discord.Message) bool { return strings.Contains(m.Text, " "+link) }) {
				t.Error("the link of a thread is none")
			}
		}
		for _, at := range []string{d.thread, ""} {
			help := d.asked(d.ana(), at, "!help", "What you write here goes to ")
			if n := len([]rune(help)); strings.Count(help, "\n") > 9 || n > 900 {
				t.Errorf("%s: help has %d characters: %s", name, n, help)
			}
		}
	}
	for _, d := range desks {
		switch b := d.b.(type) {
		case *discordBoard:
			b.server.RenameThread(d.thread, b.ana, "VIP")
		case *slackBoard:
			continue
		default:
			topic, _ := strconv.Atoi(d.thread)
			r.telegram.RenameTopic(r.chat, topic, r.ana.ID, "VIP")
			d.asked(d.ana(), d.thread, "!info", "Visitor: ") // it is known now
		}
	}
	for i, d := range desks {
		for _, session := range []string{"on-" + d.b.name(), "someone"} {
			r.must("/api/events", fmt.Sprintf(`{"type":"identity_update","session":{"id":%q,"visitorId":%q,"identity":{"id":"i","name":"New %d"}}}`, session, session, i))
		}
		sent := d.say(d.ana(), d.thread, "a slip")
		told := func() int { return len(r.app.of("operator_message_deleted")) }
		before := told()
		r.until("sent", func() bool { return slices.Contains(r.app.textsOf("on-"+d.b.name(), "operator_message"), "a slip") })
		d.b.reply(d.thread, sent, "!delete")
		r.until("deleted", func() bool { return told() == before+1 || d.b.name() == "slack" })
		left := func() bool {
			return slices.ContainsFunc(d.b.see(d.thread), func(s sight) bool {
				return s.Text == "a slip" || s.Text == "!delete" || strings.Contains(s.Text, "does not see the message any more")
			})
		}
		if d.b.name() != "slack" { // where a reply names no message, and nobody may take another's away
			r.until("nothing left on "+d.b.name(), func() bool { return !left() })
		}
	}
	named := func() []string {
		var out []string
		for _, b := range r.boards {
			switch b := b.(type) {
			case *discordBoard:
				for _, thread := range b.server.Threads(b.channel) {
					out = append(out, "discord "+thread.Name)
				}
			case telegramBoard:
				for _, topic := range r.telegram.Topics(r.chat) {
					out = append(out, "telegram "+topic.Name)
				}
			}
		}
		return out
	}
	r.until("the others have their new names", func() bool {
		return slices.Contains(named(), "telegram New 2") && slices.Contains(named(), "telegram New 1") && slices.Contains(named(), "discord New 0")
	})
	for _, want := range []string{"telegram VIP", "discord VIP"} {
		if !slices.Contains(named(), want) {
			t.Errorf("the threads are %q", named())
		}
	}
}
