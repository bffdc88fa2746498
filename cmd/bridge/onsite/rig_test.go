// Package onsite walks through a whole conversation with the program as it is: a page with the existing widget's stand-in on one side,
// operators on the stand-ins of Telegram, Discord and Slack on the other, while bridges are killed and started again.
package onsite

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/site/sitetest"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// bridge is the program, built once.
var bridge string

func TestMain(m *testing.M) { os.Exit(program.Main(m, "..", &bridge)) }

// hung only ends a test that hangs.
const hung = 3 * time.Minute

const (
	origin = "https://shop.example.com"
	apiKey = "0123456789abcdef"
)

// rig is a site with its bridges, and the operators' platforms.
type rig struct {
	t        *testing.T
	env      []string
	port     string
	telegram *telegram.Server
	chat     int64
	ana      telegram.User
	discord  *discord.Server
	channel  string
	dana     string
	slack    *slack.Server
	room     string
	sana     string
	bridges  []*program.Process
}

func newRig(t *testing.T, store string) *rig {
	t.Helper()
	r := &rig{t: t, telegram: telegram.New(telegram.Options{}), discord: discord.New(discord.Options{}), slack: slack.New(slack.Options{})}
	var bases [3]string
	for i, listen := range []func() (string, error){
		func() (string, error) { return r.telegram.Listen(t.Context(), "") },
		func() (string, error) { return r.discord.Listen(t.Context(), "") },
		func() (string, error) { return r.slack.Listen(t.Context(), "") },
	} {
		var err error
		if bases[i], err = listen(); err != nil {
			t.Fatal(err)
		}
	}
	r.chat = r.telegram.AddChat(telegram.Chat{Kind: telegram.Forum})
	r.ana = r.telegram.AddUser(telegram.User{FirstName: "Ana"})
	r.channel, r.dana = r.discord.AddChannel(discord.Channel{Kind: discord.Text}), r.discord.AddUser(discord.User{Name: "dana", Display: "Dana"}).ID
	r.sana = r.slack.AddUser(slack.User{Name: "sana", RealName: "Sana"}).ID
	r.room = r.slack.AddChannel(slack.Channel{})
	place := "DATA_DIR=" + t.TempDir()
	if store == "redis" {
		place = "REDIS_URL=" + redistest.Start(t).URL()
	}
	r.port = program.FreePort(t)
	r.env = []string{
		"LOG_LEVEL=info", "OPEN_THREAD=message", place, "API_KEY=" + apiKey,
		"BIND=127.0.0.1", "TRUSTED_PROXIES=127.0.0.1", "WIDGET_ORIGINS=" + origin, "UPLOADS_DIR=" + t.TempDir(),
		"TELEGRAM_BOT_TOKEN=" + r.telegram.Token(), "TELEGRAM_CHAT_ID=" + strconv.FormatInt(r.chat, 10), "TELEGRAM_API_URL=" + bases[0],
		"TELEGRAM_RATE=off", "TELEGRAM_GLOBAL_RATE=off",
		"DISCORD_BOT_TOKEN=" + r.discord.Token(), "DISCORD_CHANNEL_ID=" + r.channel, "DISCORD_API_URL=" + bases[1], "DISCORD_RATE=off",
		"SLACK_BOT_TOKEN=" + r.slack.BotToken(), "SLACK_APP_TOKEN=" + r.slack.AppToken(), "SLACK_CHANNEL_ID=" + r.room,
		"SLACK_API_URL=" + bases[2] + "/api/", "SLACK_RATE=off",
	}
	t.Cleanup(func() {
		for _, p := range r.bridges {
			p.Kill()
		}
		r.telegram.Close()
		r.discord.Close()
		r.slack.Close()
	})
	return r
}

// start starts a bridge on a port, and returns when it listens.
func (r *rig) start(port string) *program.Process {
	r.t.Helper()
	cmd := exec.Command(bridge)
	cmd.Env = append(slices.Clone(r.env), "PORT="+port)
	p := program.Start(r.t, cmd, program.Listens, hung)
	if p.Ready == "" {
		r.t.Fatalf("the bridge ended at its start:\n%s", p.Output())
	}
	r.bridges = append(r.bridges, p)
	return p
}

// until waits for something to be so; false: it never is.
func (r *rig) until(is func() bool) bool {
	end := time.NewTimer(hung)
	defer end.Stop()
	for {
		began := time.Now()
		if is() {
			return true
		}
		select {
		case <-time.After(min(max(10*time.Millisecond, 5*time.Since(began)), 2*time.Second)): // what is waited for needs the processor
		case <-end.C:
			return false
		}
	}
}

// page is a page of the site that is not loaded yet.
func (r *rig) page(o sitetest.Options, s *sitetest.Storage) *sitetest.Widget {
	if o.Endpoint == "" {
		o.Endpoint = "http://127.0.0.1:" + r.port + "/pocketping"
	}
	o.Origin = origin
	o.Log = r.t.Logf
	w := sitetest.New(o, s)
	r.t.Cleanup(w.Stop)
	return w
}

// said is a message on a platform.
type said struct {
	text, replyTo, id string
	own               bool
	files             [][]byte
	reactions         int
}

// desk is a platform as its operator has it before them: the one visitor's thread.
type desk struct {
	name   string
	all    func() []said
	say    func(text string) (id string)
	reply  func(to, text string)
	edit   func(id, text string)
	remove func(id string)
	file   func(name string, content []byte)
	types  func()
	title  func() string
}

// desks are the three platforms' in the order of the walk.
func (r *rig) desks() []desk { return []desk{r.telegramDesk(), r.discordDesk(), r.slackDesk()} }

func (r *rig) telegramDesk() desk {
	topic := func() telegram.Topic {
		if all := r.telegram.Topics(r.chat); len(all) > 0 {
			return all[0]
		}
		return telegram.Topic{}
	}
	find := func(id string) telegram.Message {
		for _, m := range r.telegram.Messages(r.chat, topic().ID) {
			if strconv.Itoa(m.ID) == id {
				return m
			}
		}
		return telegram.Message{}
	}
	return desk{
		name: "Telegram",
		all: func() (out []said) {
			if topic().ID == 0 {
				return nil
			}
			for _, m := range r.telegram.Messages(r.chat, topic().ID) {
				if m.Service != "" {
					continue
				}
				s := said{text: m.Text, id: strconv.Itoa(m.ID), own: m.Own, reactions: len(m.Reactions)}
				if m.ReplyTo != 0 {
					s.replyTo = strconv.Itoa(m.ReplyTo)
				}
				if m.File != nil {
					s.files = [][]byte{m.File.Content}
				}
				out = append(out, s)
			}
			return out
		},
		say:   func(text string) string { return strconv.Itoa(r.telegram.Say(r.chat, topic().ID, r.ana.ID, text).ID) },
		reply: func(to, text string) { r.telegram.Reply(find(to), r.ana.ID, text) },
		edit:  func(id, text string) { r.telegram.Edit(find(id), text) },
		remove: func(id string) { // a bot is never told of it there: by a command
			r.telegram.Reply(find(id), r.ana.ID, "/delete")
		},
		file: func(name string, content []byte) {
			r.telegram.Upload(telegram.Upload{Chat: r.chat, Topic: topic().ID, User: r.ana.ID, Name: name, Type: "application/pdf", Content: content})
		},
		types: func() {},
		title: func() string { return topic().Name },
	}
}

func (r *rig) discordDesk() desk {
	thread := func() discord.Thread {
		if all := r.discord.Threads(r.channel); len(all) > 0 {
			return all[0]
		}
		return discord.Thread{}
	}
	find := func(id string) discord.Message {
		for _, m := range r.discord.Messages(thread().ID) {
			if m.ID == id {
				return m
			}
		}
		return discord.Message{}
	}
	return desk{
		name: "Discord",
		all: func() (out []said) {
			if thread().ID == "" {
				return nil
			}
			for _, m := range r.discord.Messages(thread().ID) {
				s := said{text: strings.ReplaceAll(m.Text, `\`, ""), id: m.ID, own: m.Own, replyTo: m.ReplyTo, reactions: len(m.Reactions)}
				for _, f := range m.Files {
					s.files = append(s.files, f.Content)
				}
				out = append(out, s)
			}
			return out
		},
		say:    func(text string) string { return r.discord.Say(thread().ID, r.dana, text).ID },
		reply:  func(to, text string) { r.discord.Reply(find(to), r.dana, text) },
		edit:   func(id, text string) { r.discord.Edit(find(id), text) },
		remove: func(id string) { r.discord.Delete(find(id)) },
		file: func(name string, content []byte) {
			r.discord.Upload(thread().ID, r.dana, "", discord.File{Name: name, Content: content})
		},
		types: func() { r.discord.Typing(thread().ID, r.dana) },
		title: func() string { return thread().Name },
	}
}

func (r *rig) slackDesk() desk {
	parent := func() slack.Message {
		if all := r.slack.Parents(r.room); len(all) > 0 {
			return all[0]
		}
		return slack.Message{}
	}
	find := func(id string) slack.Message {
		m, _ := r.slack.Message(r.room, id)
		return m
	}
	return desk{
		name: "Slack",
		all: func() (out []said) {
			if parent().TS == "" {
				return nil
			}
			for _, m := range r.slack.Messages(r.room, parent().TS) {
				if m.Subtype == "tombstone" {
					continue
				}
				s := said{text: m.Plain, id: m.TS, own: m.Own, reactions: len(m.Reactions)}
				for _, f := range m.Files {
					s.files = append(s.files, f.Content)
				}
				out = append(out, s)
			}
			return out
		},
		say:    func(text string) string { return r.slack.Say(r.room, parent().TS, r.sana, text).TS },
		reply:  func(to, text string) { r.slack.Reply(find(to), r.sana, text) },
		edit:   func(id, text string) { r.slack.Edit(find(id), text) },
		remove: func(id string) { r.slack.Delete(find(id)) },
		file: func(name string, content []byte) {
			r.slack.Upload(slack.Attachment{
				Post: slack.Post{Channel: r.room, ThreadTS: parent().TS, User: r.sana}, Name: name, Content: content,
			})
		},
		types: func() {},
		title: func() string { return parent().Plain },
	}
}

// shows says whether a message with a text is shown by the bot, and which.
func (d desk) shows(text string) (said, bool) {
	for _, m := range d.all() {
		if m.own && strings.Contains(m.text, text) {
			return m, true
		}
	}
	return said{}, false
}

// times is how often the bot shows a text as a message's last line.
func (d desk) times(text string) (n int) {
	for _, m := range d.all() {
		lines := strings.Split(strings.TrimSpace(m.text), "\n")
		said := strings.TrimSpace(lines[len(lines)-1])
		if strings.HasPrefix(said, "**") { // the bot names whom it speaks for
			_, said, _ = strings.Cut(said, ":** ")
		}
		if m.own && said == text {
			n++
		}
	}
	return n
}
