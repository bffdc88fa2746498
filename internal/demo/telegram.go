package demo

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// telegramApp is a group with topics, and Ana in it.
type telegramApp struct {
	*telegram.Server
	gate *gate
	url  string
	chat int64
	ana  telegram.User

	mu        sync.Mutex // guards what follows
	reactions map[int][]string
	typed     map[int]time.Time // when the bridge was last seen typing, by topic
}

func newTelegram() *telegramApp {
	a := &telegramApp{
		Server:    telegram.New(telegram.Options{KeepFile: maxFile}),
		reactions: make(map[int][]string), typed: make(map[int]time.Time),
	}
	a.chat = a.AddChat(telegram.Chat{Kind: telegram.Forum, Title: "Kiln & Co. support"})
	a.ana = a.AddUser(telegram.User{FirstName: "Ana"})
	a.Observe(func(stage telegram.Stage, c telegram.Call) {
		if stage == telegram.Processed && c.Method == "sendChatAction" {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.typed[c.Topic] = time.Now()
		}
	})
	return a
}

func (a *telegramApp) name() string { return "telegram" }

func (a *telegramApp) env() []string {
	return []string{
		"TELEGRAM_BOT_TOKEN=" + a.Token(), "TELEGRAM_CHAT_ID=" + strconv.FormatInt(a.chat, 10), "TELEGRAM_API_URL=" + a.url,
		"TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off",
	}
}

func (a *telegramApp) look() appView {
	v := appView{
		Name: "telegram", Label: "Telegram", Place: "Kiln & Co. support", Operator: a.ana.FirstName, Thread: "topic",
		Emoji: []string{"👍", "❤", "👀", "🎉"}, Down: a.gate.isShut(),
		Main: appThread{Name: "General", Messages: a.messages(0)}, Threads: []appThread{},
	}
	for _, t := range tail(a.Topics(a.chat), maxThreads) {
		v.Threads = append(v.Threads, appThread{
			ID: strconv.Itoa(t.ID), Name: t.Name, Closed: t.Closed, Messages: a.messages(t.ID),
		})
		a.mu.Lock()
		at := a.typed[t.ID]
		a.mu.Unlock()
		v.Threads[len(v.Threads)-1].showTyping(at)
	}
	return v
}

func (a *telegramApp) messages(topic int) []appMessage {
	out := []appMessage{}
	for _, m := range tail(a.Messages(a.chat, topic), maxMessages) {
		shown := appMessage{
			ID: strconv.Itoa(m.ID), Author: m.From.FirstName, Bot: m.Own, Mine: m.From.ID == a.ana.ID, Silent: m.Silent,
			Edited: m.Edited, At: m.Date, Text: telegramText(m.Text, m.Entities),
		}
		switch m.Service {
		case "":
		case "forum_topic_created":
			shown.Service = "topic created"
		case "forum_topic_closed":
			shown.Service = "topic closed"
		case "forum_topic_reopened":
			shown.Service = "topic reopened"
		case "forum_topic_edited":
			shown.Service = "topic renamed"
		default:
			shown.Service = m.Service
		}
		if m.ReplyTo != 0 {
			shown.ReplyTo = strconv.Itoa(m.ReplyTo)
		}
		if shown.Mine {
			shown.Raw = m.Text
		}
		// A message rings in Telegram unless it says otherwise.
		shown.Rings = m.Own && !m.Silent && m.Service == ""
		shown.Buttons = telegramButtons(m)
		if m.File != nil {
			shown.Files = []fileView{fileShown("telegram", m.File.ID, m.File.Name, m.File.Type, m.File.Size, m.File.Kind == "photo")}
		}
		a.mu.Lock()
		mine := a.reactions[m.ID]
		a.mu.Unlock()
		for _, emoji := range m.Reactions {
			shown.Reactions = append(shown.Reactions, reaction{Emoji: emoji, Count: 1})
		}
		for _, emoji := range mine {
			if i := slices.IndexFunc(shown.Reactions, func(r reaction) bool { return r.Emoji == emoji }); i >= 0 {
				shown.Reactions[i].Count, shown.Reactions[i].Mine = 2, true
				continue
			}
			shown.Reactions = append(shown.Reactions, reaction{Emoji: emoji, Count: 1, Mine: true})
		}
		out = append(out, shown)
	}
	return out
}

func telegramButtons(m telegram.Message) [][]button {
	var out [][]button
	for _, row := range m.Buttons {
		var line []button
		for _, b := range row {
			line = append(line, button{b.Text, b.Data})
		}
		out = append(out, line)
	}
	return out
}

// fileShown describes a file whose content the page's server has.
func fileShown(app, id, name, mediaType string, size int64, image bool) fileView {
	if name == "" {
		name = "photo"
	}
	v := fileView{Name: name, Size: size, URL: "/demo/apps/" + app + "/files/" + id}
	f := file{Name: name, Type: mediaType}
	v.Image = image || picture(f.mediaType())
	return v
}

// thread reads a topic's id; 0 is outside the topics.
func (a *telegramApp) thread(id string) (int, error) {
	if id == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(id)
	if err != nil || !slices.ContainsFunc(a.Topics(a.chat), func(t telegram.Topic) bool { return t.ID == n }) {
		return 0, refuse(http.StatusNotFound, "Telegram has no topic %q", id)
	}
	return n, nil
}

// message finds a message that is no service message.
func (a *telegramApp) message(id string) (telegram.Message, error) {
	topics := append(a.Topics(a.chat), telegram.Topic{})
	for _, t := range topics {
		for _, m := range a.Messages(a.chat, t.ID) {
			if strconv.Itoa(m.ID) == id && m.Service == "" {
				return m, nil
			}
		}
	}
	return telegram.Message{}, refuse(http.StatusNotFound, "Telegram has no message %q", id)
}

func (a *telegramApp) say(thread, text, replyTo string, f *file) error {
	topic, err := a.thread(thread)
	if err != nil {
		return err
	}
	limit, what := 4096, "message"
	if f != nil {
		limit, what = 1024, "caption"
	}
	if utf8.RuneCountInString(text) > limit {
		return refuse(http.StatusBadRequest, "text: a %s in Telegram has at most %d characters", what, limit)
	}
	reply := 0
	if replyTo != "" {
		to, err := a.message(replyTo)
		if err != nil {
			return err
		}
		reply = to.ID
	}
	if f == nil {
		a.Send(telegram.Post{Chat: a.chat, Topic: topic, User: a.ana.ID, Text: text, ReplyTo: reply})
		return nil
	}
	kind := ""
	if picture(f.mediaType()) {
		kind = "photo"
	}
	a.Upload(telegram.Upload{
		Chat: a.chat, Topic: topic, User: a.ana.ID, ReplyTo: reply, Kind: kind, Name: f.Name, Type: f.mediaType(), Caption: text, Content: f.Data,
	})
	return nil
}

func (a *telegramApp) edit(id, text string) error {
	m, err := a.own(id)
	if err == nil {
		a.Edit(m, text)
	}
	return err
}

func (a *telegramApp) remove(id string) error {
	m, err := a.message(id) // as an administrator Ana can delete the bot's, too
	if err == nil {
		a.Remove(m)
	}
	return err
}

func (a *telegramApp) own(id string) (telegram.Message, error) {
	m, err := a.message(id)
	if err == nil && m.From.ID != a.ana.ID {
		err = refuse(http.StatusForbidden, "one can edit one's own messages only")
	}
	return m, err
}

// react sets the reaction, or takes the same one back. In Telegram one has one reaction to a message.
func (a *telegramApp) react(id, emoji string) error {
	m, err := a.message(id)
	if err != nil {
		return err
	}
	a.mu.Lock()
	next := []string{emoji}
	if slices.Equal(a.reactions[m.ID], next) {
		next = nil
	}
	a.reactions[m.ID] = next
	a.mu.Unlock()
	a.React(m, a.ana.ID, next...)
	return nil
}

// pressIn is how long Telegram shows a clock on a button that was pressed, until it shows an answer.
const pressIn = 5 * time.Second

// press presses a button. Its answer is a notice above the chat.
func (a *telegramApp) press(id, key string) (string, error) {
	m, err := a.message(id)
	if err != nil {
		return "", err
	}
	if shown := (appMessage{Buttons: telegramButtons(m)}); !shown.pressable(key) {
		return "", refuse(http.StatusNotFound, "the message has no such button")
	}
	pressed := a.Press(m, a.ana.ID, key).ID
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(pressIn); time.Now().Before(end); <-tick.C {
		for _, p := range a.Presses() {
			if p.ID == pressed && p.Answered {
				return p.Text, nil
			}
		}
	}
	return "", nil
}

// typing does nothing: Telegram tells bots of nobody's typing.
func (a *telegramApp) typing(string) error { return nil }

func (a *telegramApp) file(id string) (file, bool) {
	for _, t := range append(a.Topics(a.chat), telegram.Topic{}) {
		for _, m := range a.Messages(a.chat, t.ID) {
			if m.File != nil && m.File.ID == id && m.File.Content != nil {
				name := m.File.Name
				if name == "" {
					name = "photo"
				}
				return file{Name: name, Type: m.File.Type, Data: m.File.Content}, true
			}
		}
	}
	return file{}, false
}

func (a *telegramApp) limit(on bool) {
	limits := telegram.Limits{}
	if on {
		limits = telegram.DocumentedLimits()
	}
	a.SetLimits(limits)
}

func (a *telegramApp) faults() []string         { return a.Faults() }
func (a *telegramApp) changed() <-chan struct{} { return a.Changed() }
func (a *telegramApp) close()                   { a.Close() }
