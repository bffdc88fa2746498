package demo

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/slack"
)

// slackApp is a channel with threads, and Cleo in it.
type slackApp struct {
	*slack.Server
	gate    *gate
	url     string
	channel string
	cleo    slack.User
}

func newSlack() *slackApp {
	a := &slackApp{Server: slack.New(slack.Options{Name: "bridge"})}
	a.channel = a.AddChannel(slack.Channel{Name: "support"})
	a.cleo = a.AddUser(slack.User{Name: "cleo", RealName: "Cleo"})
	return a
}

func (a *slackApp) name() string { return "slack" }

func (a *slackApp) env() []string {
	return []string{
		"SLACK_BOT_TOKEN=" + a.BotToken(), "SLACK_CHANNEL_ID=" + a.channel, "SLACK_APP_TOKEN=" + a.AppToken(),
		"SLACK_API_URL=" + a.url + "/api/", "SLACK_RATE=off",
	}
}

// slackEmoji are the short names of what one reacts with, by how it looks.
func slackEmoji() [][2]string {
	return [][2]string{
		{"👍", "+1"}, {"👀", "eyes"}, {"✅", "white_check_mark"}, {"❤", "heart"}, {"🎉", "tada"}, {"📬", "mailbox_with_mail"},
		{"☑️", "ballot_box_with_check"}, {"📨", "incoming_envelope"}, {"👌", "ok_hand"}, {"🔒", "lock"}, {"✔️", "heavy_check_mark"},
	}
}

func emojiLook(name string) string {
	for _, e := range slackEmoji() {
		if e[1] == name {
			return e[0]
		}
	}
	return ":" + name + ":"
}

// look shows each parent as a thread; a parent's own name is its first line.
func (a *slackApp) look() appView {
	v := appView{
		Name: "slack", Label: "Slack", Place: "support", Operator: a.cleo.RealName, Thread: "thread", Emoji: []string{"👍", "👀", "✅", "🎉"},
		Down: a.gate.isShut(), Main: appThread{Name: "support", Messages: []appMessage{}}, Threads: []appThread{},
	}
	for _, m := range tail(a.Messages(a.channel, ""), maxMessages) {
		if m.ThreadTS != "" || m.Replies == 0 && !isCard(m) {
			v.Main.Messages = append(v.Main.Messages, a.show(m))
			continue
		}
		t := appThread{ID: m.TS, Name: cardName(m), Closed: closedMark(m), Messages: []appMessage{}}
		for _, reply := range tail(a.Messages(a.channel, m.TS), maxMessages) {
			t.Messages = append(t.Messages, a.show(reply))
		}
		v.Threads = append(v.Threads, t)
	}
	v.Threads = tail(v.Threads, maxThreads)
	for _, m := range a.Ephemerals(a.channel, a.cleo.ID) {
		shown := a.show(m)
		shown.Private = true
		at := &v.Main
		for i := range v.Threads {
			if v.Threads[i].ID == m.ThreadTS {
				at = &v.Threads[i]
			}
		}
		at.Messages = append(at.Messages, shown)
		slices.SortStableFunc(at.Messages, func(x, y appMessage) int { return x.At.Compare(y.At) })
	}
	slices.SortStableFunc(v.Main.Messages, func(x, y appMessage) int { return x.At.Compare(y.At) })
	return v
}

// isCard says whether the bridge opened a visitor's thread with the message.
func isCard(m slack.Message) bool { return m.Own && strings.HasPrefix(m.Plain, "👤") }

// cardName is who a card is of.
func cardName(m slack.Message) string {
	line, _, _ := strings.Cut(m.Plain, "\n")
	line, _, _ = strings.Cut(line, " · ")
	name := strings.TrimSpace(strings.TrimPrefix(line, "👤"))
	if utf8.RuneCountInString(name) > 40 {
		name = string([]rune(name)[:40]) + "…"
	}
	return name
}

// closedMark says whether the card shows that its conversation is closed. Slack's threads themselves cannot be.
func closedMark(m slack.Message) bool {
	return slices.ContainsFunc(m.Reactions, func(r slack.Reaction) bool { return r.Name == "lock" })
}

func (a *slackApp) show(m slack.Message) appMessage {
	out := appMessage{
		ID: m.TS, Author: m.Author, Bot: m.Own, Mine: m.User == a.cleo.ID, Edited: m.Edited, At: slackTime(m.TS), Private: m.Ephemeral != "",
	}
	if strings.HasPrefix(m.Subtype, "channel_") {
		out.Service = m.Plain
		return out
	}
	if m.Subtype == "tombstone" {
		out.Service = "This message was deleted."
		return out
	}
	text, ok := slackBlocks(m.Blocks, a.person, emojiLook)
	if !ok {
		text = plainText(m.Plain)
	}
	out.Text = text
	if out.Mine {
		out.Raw = m.Plain
	}
	out.Rings = m.Own && slices.ContainsFunc(m.Pings, func(who string) bool {
		return who == a.cleo.ID || slices.Contains([]string{"!here", "!channel", "!everyone"}, who)
	})
	if len(m.Buttons) > 0 {
		out.Buttons = [][]button{nil}
		for _, b := range m.Buttons {
			out.Buttons[0] = append(out.Buttons[0], button{b.Text, b.Value})
		}
	}
	for _, f := range m.Files {
		out.Files = append(out.Files, fileShown("slack", f.ID, f.Name, f.Mimetype, int64(len(f.Content)), false))
	}
	for _, r := range m.Reactions {
		out.Reactions = append(out.Reactions, reaction{emojiLook(r.Name), len(r.Users), slices.Contains(r.Users, a.cleo.ID)})
	}
	return out
}

func (a *slackApp) person(id string) string {
	switch id {
	case a.cleo.ID:
		return a.cleo.RealName
	case a.Bot().ID:
		return a.Bot().RealName
	}
	return id
}

// slackTime reads a ts.
func slackTime(ts string) time.Time {
	whole, part, _ := strings.Cut(ts, ".")
	seconds, _ := strconv.ParseInt(whole, 10, 64)
	micros, _ := strconv.ParseInt(part, 10, 64)
	return time.Unix(seconds, micros*1000).UTC()
}

func (a *slackApp) message(id string) (slack.Message, error) {
	m, ok := a.Message(a.channel, id)
	if !ok || m.Subtype == "tombstone" || strings.HasPrefix(m.Subtype, "channel_") {
		return slack.Message{}, refuse(http.StatusNotFound, "Slack has no message %q", id)
	}
	return m, nil
}

func (a *slackApp) say(thread, text, replyTo string, f *file) error {
	if thread != "" {
		if parent, err := a.message(thread); err != nil || parent.ThreadTS != "" {
			return refuse(http.StatusNotFound, "Slack has no thread %q", thread)
		}
	}
	if replyTo != "" {
		return refuse(http.StatusBadRequest, "replyTo: Slack has no replies inside a thread")
	}
	if utf8.RuneCountInString(text) > 12_000 {
		return refuse(http.StatusBadRequest, "text: a message in Slack has at most 12000 characters")
	}
	if command, rest, _ := strings.Cut(text, " "); strings.HasPrefix(command, "/") && len(command) > 1 && f == nil {
		if thread != "" {
			return refuse(http.StatusBadRequest, "%s is not supported in threads, says Slack; write !%s", command, command[1:])
		}
		a.Slash(a.channel, a.cleo.ID, command, rest)
		return nil
	}
	post := slack.Post{Channel: a.channel, ThreadTS: thread, User: a.cleo.ID, Text: text}
	if f == nil {
		a.Send(post)
		return nil
	}
	a.Upload(slack.Attachment{Post: post, Name: f.Name, Mimetype: f.mediaType(), Content: f.Data})
	return nil
}

func (a *slackApp) edit(id, text string) error {
	m, err := a.own(id)
	if err == nil {
		a.Edit(m, text)
	}
	return err
}

func (a *slackApp) remove(id string) error {
	m, err := a.own(id)
	if err == nil {
		a.Delete(m)
	}
	return err
}

func (a *slackApp) own(id string) (slack.Message, error) {
	m, err := a.message(id)
	if err == nil && m.User != a.cleo.ID {
		err = refuse(http.StatusForbidden, "one can change one's own messages only")
	}
	return m, err
}

func (a *slackApp) react(id, emoji string) error {
	m, err := a.message(id)
	if err != nil {
		return err
	}
	name := ""
	for _, e := range slackEmoji() {
		if e[0] == emoji {
			name = e[1]
		}
	}
	if name == "" {
		return refuse(http.StatusBadRequest, "emoji: %q is none of those that this Slack has", emoji)
	}
	for _, r := range m.Reactions {
		if r.Name == name && slices.Contains(r.Users, a.cleo.ID) {
			a.Unreact(m, a.cleo.ID, name)
			return nil
		}
	}
	a.React(m, a.cleo.ID, name)
	return nil
}

// press presses a button, of a message that Cleo alone sees, too.
func (a *slackApp) press(id, key string) (string, error) {
	m, err := a.message(id)
	for _, whispered := range a.Ephemerals(a.channel, a.cleo.ID) {
		if whispered.TS == id {
			m, err = whispered, nil
		}
	}
	if err != nil {
		return "", err
	}
	if shown := a.show(m); !shown.pressable(key) {
		return "", refuse(http.StatusNotFound, "the message has no such button")
	}
	a.Press(m, a.cleo.ID, key)
	return "", nil
}

// typing does nothing: Slack tells apps of nobody's typing.
func (a *slackApp) typing(string) error { return nil }

func (a *slackApp) file(id string) (file, bool) {
	for _, f := range a.Files() {
		if f.ID == id {
			return file{Name: f.Name, Type: f.Mimetype, Data: f.Content}, true
		}
	}
	return file{}, false
}

func (a *slackApp) limit(on bool) {
	limits := slack.Limits{}
	if on {
		limits = slack.DocumentedLimits()
	}
	a.SetLimits(limits)
}

func (a *slackApp) faults() []string         { return a.Faults() }
func (a *slackApp) changed() <-chan struct{} { return a.Changed() }
func (a *slackApp) close()                   { a.Close() }
