package main

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// board is a platform's stand-in with a place for visitors and an operator, Ana, as the tests of all platforms see it.
type board interface {
	name() string
	// env is what the bridge has to be told.
	env() map[string]string
	// threads returns a session's threads that show something of it, oldest first. The session is known by its visitor's name.
	threads(session string) []string
	// opened is how many threads there are, empty ones too.
	opened() int
	// sent is how many messages were sent, or tried to be.
	sent() int
	// shown returns the texts that the bot wrote in a thread, without the card.
	shown(thread string) []string
	// say lets Ana write in a thread, and returns the message's id on the wire.
	say(thread, text string) string
	// at calls now in the middle of the twentieth call that sends a message, or opens a thread, and gets to the moment.
	at(moment stage.Moment, opens bool, now func())
	// repeats is how many messages may be shown twice after so many kills.
	repeats(kills int) int
}

// follower is a board that has to be told where the bridge listens.
type follower interface {
	follow(t *testing.T, base string)
}

// boards are the places that the tests of all platforms run on.
func boards() map[string]func(t *testing.T, r *rig) board {
	return map[string]func(*testing.T, *rig) board{
		"telegram":      func(_ *testing.T, r *rig) board { return telegramBoard{r} },
		"discord text":  func(t *testing.T, _ *rig) board { return newDiscordBoard(t, discord.Text) },
		"discord forum": func(t *testing.T, _ *rig) board { return newDiscordBoard(t, discord.Forum) },
		"slack socket":  func(t *testing.T, _ *rig) board { return newSlackBoard(t, true) },
		"slack events":  func(t *testing.T, _ *rig) board { return newSlackBoard(t, false) },
	}
}

// use gives the rig the named places, and no others.
func (r *rig) use(names ...string) {
	for name := range r.telegramEnv() {
		delete(r.env, name)
	}
	r.boards = nil
	for _, name := range names {
		b := boards()[name](r.t, r)
		maps.Copy(r.env, b.env())
		r.boards = append(r.boards, b)
	}
}

// discordServer is the stand-in of the Discord that is used.
func (r *rig) discordServer() *discord.Server {
	for _, b := range r.boards {
		if d, ok := b.(*discordBoard); ok {
			return d.server
		}
	}
	r.t.Fatal("no Discord is used")
	return nil
}

// twentieth calls now at the twentieth call that counts.
func twentieth(now func()) func(counts bool) {
	var mu sync.Mutex
	n := 0
	return func(counts bool) {
		mu.Lock()
		if counts {
			n++
		}
		hit := counts && n == 20
		mu.Unlock()
		if hit {
			now()
		}
	}
}

type telegramBoard struct{ r *rig }

func (b telegramBoard) name() string { return "telegram" }

func (b telegramBoard) env() map[string]string { return b.r.telegramEnv() }

func (b telegramBoard) threads(session string) []string {
	var out []string
	for _, topic := range b.r.topics(session) {
		out = append(out, strconv.Itoa(topic.ID))
	}
	return out
}

func (b telegramBoard) opened() int { return len(b.r.telegram.Topics(b.r.chat)) }

func (b telegramBoard) sent() int { return b.r.telegram.Count("sendMessage") }

func (b telegramBoard) shown(thread string) []string {
	id, _ := strconv.Atoi(thread)
	return b.r.shown(id)
}

func (b telegramBoard) say(thread, text string) string {
	id, _ := strconv.Atoi(thread)
	return "telegram:" + strconv.Itoa(b.r.telegram.Say(b.r.chat, id, b.r.ana.ID, text).ID)
}

func (b telegramBoard) at(moment stage.Moment, opens bool, now func()) {
	count, method := twentieth(now), "sendMessage"
	if opens {
		method = "createForumTopic"
	}
	b.r.telegram.Observe(func(s telegram.Stage, c telegram.Call) {
		count(int(s) == int(moment) && c.Method == method)
	})
}

func (b telegramBoard) repeats(kills int) int { return kills * concurrency }

type discordBoard struct {
	server  *discord.Server
	base    string
	channel string
	forum   bool
	ana     string
}

func newDiscordBoard(t *testing.T, kind discord.Kind) *discordBoard {
	t.Helper()
	b := &discordBoard{server: discord.New(discord.Options{}), forum: kind == discord.Forum}
	base, err := b.server.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.base = base
	b.channel = b.server.AddChannel(discord.Channel{Kind: kind})
	b.ana = b.server.AddUser(discord.User{Name: "ana", Display: "Ana"}).ID
	t.Cleanup(b.server.Close)
	b.server.FailOnFaults(t)
	return b
}

func (b *discordBoard) name() string { return "discord" }

func (b *discordBoard) env() map[string]string {
	return map[string]string{
		"DISCORD_BOT_TOKEN": b.server.Token(), "DISCORD_CHANNEL_ID": b.channel, "DISCORD_API_URL": b.base, "DISCORD_RATE": "off",
	}
}

func (b *discordBoard) threads(session string) []string {
	var out []string
	for _, thread := range b.server.Threads(b.channel) {
		if thread.Name == session && len(b.shown(thread.ID)) > 0 {
			out = append(out, thread.ID)
		}
	}
	return out
}

func (b *discordBoard) opened() int { return len(b.server.Threads(b.channel)) }

func (b *discordBoard) sent() int { return b.server.Count("create_message") }

func (b *discordBoard) shown(thread string) []string {
	var out []string
	for _, m := range b.server.Messages(thread) {
		if m.Own && m.ID != thread && m.Kind != 21 {
			out = append(out, discordPlain(withoutVisitor(withoutCall(m.Text), m.Webhook)))
		}
	}
	return out
}

// discordPlain undoes the escapes of a text that has no other markup.
func discordPlain(text string) string {
	return strings.NewReplacer(`\`, "", "\u2060", "").Replace(text)
}

// calls are the people who are called in front of a text, as Discord and Slack show them.
var calls = regexp.MustCompile(`^(?:(?:<@&?[0-9]+>|@here|@Ana)[ \n])+`)

func withoutCall(text string) string { return calls.ReplaceAllString(text, "") }

func (b *discordBoard) say(thread, text string) string {
	return "discord:" + b.server.Say(thread, b.ana, text).ID
}

func (b *discordBoard) at(moment stage.Moment, opens bool, now func()) {
	count := twentieth(now)
	b.server.Observe(func(m stage.Moment, c stage.Call) {
		if opens {
			count(m == moment && (c.Method == "create_thread" || c.Method == "create_thread_from_message"))
			return
		}
		count(m == moment && c.Method == "create_message" && c.Thread != "")
	})
}

func (b *discordBoard) repeats(int) int { return 0 }

type slackBoard struct {
	server  *slack.Server
	base    string
	channel string
	ana     string
	socket  bool
}

func newSlackBoard(t *testing.T, socket bool, options ...slack.Options) *slackBoard {
	t.Helper()
	// What a busy machine did not take in time comes again while the test still waits for it, and not in five minutes for the last time.
	patient := slack.Options{AckWithin: time.Minute, RetryPauses: slices.Repeat([]time.Duration{time.Second}, 100)}
	b := &slackBoard{server: slack.New(append(options, patient)[0]), socket: socket}
	base, err := b.server.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.base = base
	b.ana = b.server.AddUser(slack.User{Name: "ana", RealName: "Ana"}).ID
	b.channel = b.server.AddChannel(slack.Channel{})
	t.Cleanup(b.server.Close)
	b.server.FailOnFaults(t)
	return b
}

func (b *slackBoard) name() string { return "slack" }

func (b *slackBoard) env() map[string]string {
	env := map[string]string{
		"SLACK_BOT_TOKEN": b.server.BotToken(), "SLACK_CHANNEL_ID": b.channel, "SLACK_API_URL": b.base + "/api/", "SLACK_RATE": "off",
	}
	if b.socket {
		env["SLACK_APP_TOKEN"] = b.server.AppToken()
	} else {
		env["SLACK_SIGNING_SECRET"] = b.server.SigningSecret()
	}
	return env
}

func (b *slackBoard) threads(session string) []string {
	var out []string
	for _, parent := range b.server.Parents(b.channel) {
		if slices.Contains(strings.Fields(parent.Plain), session) && len(b.shown(parent.TS)) > 0 {
			out = append(out, parent.TS)
		}
	}
	return out
}

func (b *slackBoard) opened() int { return len(b.server.Parents(b.channel)) }

func (b *slackBoard) sent() int { return b.server.Count("chat.postMessage") }

func (b *slackBoard) shown(thread string) []string {
	var out []string
	for _, m := range b.server.Messages(b.channel, thread) {
		if m.Own && m.TS != thread {
			out = append(out, withoutCall(m.Plain))
		}
	}
	return out
}

func (b *slackBoard) say(thread, text string) string {
	return "slack:" + b.server.Say(b.channel, thread, b.ana, text).TS
}

func (b *slackBoard) at(moment stage.Moment, opens bool, now func()) {
	count := twentieth(now)
	b.server.Observe(func(m stage.Moment, c stage.Call) {
		count(m == moment && c.Method == "chat.postMessage" && opens == (c.Thread == ""))
	})
}

func (b *slackBoard) follow(t *testing.T, base string) {
	t.Helper()
	if b.socket {
		return
	}
	if err := b.server.SetRequestURL(t.Context(), base+"/webhooks/slack"); err != nil {
		t.Errorf("Slack does not take the request URL: %v", err)
	}
	b.server.SetInteractivityURL(base + "/webhooks/slack")
}

// repeats: a message that Slack takes from a killed bridge only after the next one has looked for it is shown twice.
func (b *slackBoard) repeats(kills int) int { return kills }
