package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// pressed is the press of a button: how whoever pressed it is answered, which comes later.
type pressed func() (text string, answered bool)

// press presses the newest button of a thread, or of its card, whose data begins so. ok is false while there is none.
func (d *desk) press(user, data string) (p pressed, ok bool) {
	switch b := d.b.(type) {
	case *discordBoard:
		messages := slices.Concat(b.server.Messages(b.channel), b.server.Messages(d.thread), b.server.Ephemeral(d.thread), b.server.Ephemeral(b.channel))
		for _, m := range slices.Backward(messages) {
			if m.Channel == b.channel && m.ID != d.thread && !m.Ephemeral {
				continue
			}
			for _, button := range slices.Concat(m.Buttons...) {
				if strings.HasPrefix(button.ID, data) && (!m.Ephemeral || m.For == user) {
					id := b.server.Press(m, user, button.ID).ID
					return func() (string, bool) {
						for _, i := range b.server.Interactions() {
							if i.ID == id && len(i.Answers) > 0 && i.Answers[0].Text != "" {
								return discordPlain(i.Answers[0].Text), true
							}
						}
						return "", false
					}, true
				}
			}
		}
	case *slackBoard:
		messages := slices.Concat(b.server.Messages(b.channel, d.thread), b.server.Ephemerals(b.channel, user))
		for _, m := range slices.Backward(messages) {
			for _, button := range m.Buttons {
				if strings.HasPrefix(button.Value, data) {
					before := len(b.server.Ephemerals(b.channel, user))
					b.server.Press(m, user, button.Value)
					return func() (string, bool) {
						all := b.server.Ephemerals(b.channel, user)
						text := "" // an answer may come twice, where a bridge was killed meanwhile
						for _, m := range all[before:] {
							text += m.Plain + "\n"
						}
						return text, text != ""
					}, true
				}
			}
		}
	default:
		topic, _ := strconv.Atoi(d.thread)
		who, _ := strconv.ParseInt(user, 10, 64)
		for _, m := range slices.Backward(d.r.telegram.Messages(d.r.chat, topic)) {
			for _, button := range slices.Concat(m.Buttons...) {
				if strings.HasPrefix(button.Data, data) {
					id := d.r.telegram.Press(m, who, button.Data).ID
					return func() (string, bool) {
						for _, p := range d.r.telegram.Presses() {
							if p.ID == id {
								return p.Text, p.Answered
							}
						}
						return "", false
					}, true
				}
			}
		}
	}
	return nil, false
}

// presses presses a button as soon as there is one, and waits for the answer, which has to have a text in it.
func (d *desk) presses(user, data, want string) {
	d.r.t.Helper()
	var answer pressed
	d.r.until(fmt.Sprintf("a button %s on %s", data, d.b.name()), func() (ok bool) {
		answer, ok = d.press(user, data)
		return ok
	})
	text := ""
	d.r.until(fmt.Sprintf("answered to %s on %s", data, d.b.name()), func() (ok bool) {
		text, ok = answer()
		return ok && (strings.Contains(text, want) || d.b.name() != "slack")
	})
	if !strings.Contains(text, want) {
		d.r.t.Errorf("%s: %s is answered with %q, not %q", d.b.name(), data, text, want)
	}
}

// sees waits for a text of the bot's in the thread.
func (d *desk) sees(want string) {
	d.r.t.Helper()
	want = strings.ReplaceAll(want, "(P)", "("+d.title()+")")
	d.r.until(fmt.Sprintf("%q on %s", want, d.b.name()), func() bool {
		return slices.ContainsFunc(d.shows(d.thread), func(text string) bool { return strings.Contains(text, want) })
	})
}

func (d *desk) addUser(name string) (id string) {
	switch b := d.b.(type) {
	case *discordBoard:
		return b.server.AddUser(discord.User{Name: strings.ToLower(name), Display: name}).ID
	case *slackBoard:
		return b.server.AddUser(slack.User{Name: strings.ToLower(name), RealName: name}).ID
	default:
		return strconv.FormatInt(d.r.telegram.AddUser(telegram.User{FirstName: name}).ID, 10)
	}
}

// Every button on every platform and in every place, over the real client libraries and stand-ins: what it does, what whoever presses it is
// told, what the others see; pressed by a stranger, twice, by two operators, and after a restart.
func TestButtonsOverAllPlatforms(t *testing.T) {
	t.Parallel()
	for name, places := range map[string][]string{
		"threads": {"telegram", "discord text", "slack socket"}, "posts": {"discord forum", "slack events"}, "group": {"telegram"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if name == "group" {
				r.chat = r.telegram.AddChat(telegram.Chat{Kind: telegram.Group})
			}
			stores()["bolt"](t, r.env)
			r.use(places...)
			var desks []*desk
			var operators []string
			for _, b := range r.boards {
				d := &desk{r: r, b: b.(stand)}
				d.eve, d.ben = d.addUser("Eve"), d.addUser("Ben")
				operators = append(operators, b.name()+":"+d.ana(), b.name()+":"+d.ben)
				desks = append(desks, d)
			}
			r.env["OPERATORS"] = strings.Join(operators, ",")
			r.start()
			for _, d := range desks {
				if d.b.name() != "discord" || name != "posts" { // a forum has no place outside its posts
					d.asked(d.ana(), "", "!canned add hi Hi there!", "in a visitor's thread sends that")
					break
				}
			}
			for _, d := range desks {
				pressAll(t, r, d, name == "group")
			}
		})
	}
}

func pressAll(t *testing.T, r *rig, d *desk, flat bool) {
	t.Helper()
	session := "on-" + d.b.name()
	r.must("/api/messages", message(session, "m1", "hello"))
	if !flat {
		r.until("open on "+d.b.name(), func() bool { return len(d.b.threads(session)) == 1 })
		d.thread = d.b.threads(session)[0]
	}
	d.asked(d.ben, d.thread, "!online", "You are online.")
	counted := func() int {
		n := 0
		for _, method := range []string{"sendMessage", "editMessageText", "closeForumTopic", "editForumTopic", "deleteMessage"} {
			n += r.telegram.Count(method)
		}
		return n
	}
	before, presses := counted(), len(r.telegram.Presses())
	d.presses(d.eve, "claim", "You are not one of the operators")
	d.presses(d.ana(), "claim", "You take care of this visitor.")
	d.sees("✋ Ana (P) takes care of this visitor.")
	d.presses(d.ana(), "claim", "Ana takes care of this visitor, since ")
	d.presses(d.ben, "claim", "Ana takes care of this visitor, since ")
	d.presses(d.ana(), "away:30m", "You are away until ")
	d.presses(d.ana(), "canned:hi", "Sent to the visitor.")
	r.until("sent", func() bool { return slices.Equal(r.app.textsOf(session, "operator_message"), []string{"Hi there!"}) })
	d.sees("💬 Ana to the visitor: Hi there!")
	if n, most := counted()-before, len(r.telegram.Presses())-presses; d.b.name() == "telegram" && n > most {
		t.Errorf("%d presses took %d calls that count", most, n)
	}
	r.process().Kill()
	r.start()
	d.asked(d.ben, d.thread, "!online", "You are online.") // it hears again: Discord keeps no press
	if d.b.name() == "telegram" {                          // where an answer has no buttons: they stand in the thread
		d.presses(d.ana(), "handover", "")
		d.sees("Who is asked to take care of this visitor?")
	} else {
		d.presses(d.ana(), "handover", "Who is asked to take care of this visitor?")
	}
	d.presses(d.ana(), "assign:"+d.b.name()+":"+d.ben, "Ben is asked to take care of this visitor.")
	d.sees("🤝 Ana (P) asks Ben to take care of this visitor.")
	before, presses = counted(), len(r.telegram.Presses())
	d.presses(d.ana(), "block", "The visitor is blocked.")
	d.sees("🚫 Ana (P) has blocked this visitor.")
	d.presses(d.ben, "block", "This visitor is blocked already, by Ana")
	d.presses(d.ana(), "close", "The conversation is closed.")
	r.until("closed", func() bool { return len(r.app.textsOf(session, "session_closed")) == 1 })
	d.presses(d.ben, "close", "The conversation is closed already, by Ana")
	if d.b.name() == "telegram" && !flat {
		topic, _ := strconv.Atoi(d.thread)
		r.until("the topic closed", func() bool {
			return slices.ContainsFunc(r.telegram.Topics(r.chat), func(t telegram.Topic) bool { return t.ID == topic && t.Closed })
		})
		if n, most := counted()-before, len(r.telegram.Presses())-presses; n > most {
			t.Errorf("%d presses took %d calls that count", most, n)
		}
	} else {
		d.sees("✅ Ana (P) has closed the conversation.")
	}
}
