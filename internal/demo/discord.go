package demo

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/discord"
)

// discordApp is a channel with threads, and Ben in it.
type discordApp struct {
	*discord.Server
	gate    *gate
	url     string
	channel string
	ben     discord.User

	mu    sync.Mutex // guards what follows
	typed map[string]seenTyping
}

// commandOption is the name of the option that carries a command's argument.
const commandOption = "text"

// seenTyping is how often the bridge was seen typing in a thread, and when last.
type seenTyping struct {
	count int
	at    time.Time
}

func newDiscord() *discordApp {
	a := &discordApp{Server: discord.New(discord.Options{Username: "bridge"}), typed: make(map[string]seenTyping)}
	a.channel = a.AddChannel(discord.Channel{Name: "support"})
	a.ben = a.AddUser(discord.User{Name: "ben", Display: "Ben"})
	a.Allow("", discord.ManageWebhooks) // visitors speak under their own names
	return a
}

func (a *discordApp) name() string { return "discord" }

func (a *discordApp) env() []string {
	return []string{
		"DISCORD_BOT_TOKEN=" + a.Token(), "DISCORD_CHANNEL_ID=" + a.channel, "DISCORD_API_URL=" + a.url + "/api", "DISCORD_RATE=off",
	}
}

func (a *discordApp) look() appView {
	v := appView{
		Name: "discord", Label: "Discord", Place: "support", Operator: a.ben.Display, Thread: "thread", Emoji: []string{"👍", "👀", "✅", "🎉"},
		Down: a.gate.isShut(), Main: appThread{Name: "support", Messages: a.messages(a.channel)}, Threads: []appThread{},
	}
	// A message at which a thread began is shown in the thread, as Discord does.
	began := make(map[string]string)
	for _, m := range a.Messages(a.channel) {
		if m.Thread != "" {
			began[m.ID] = m.Thread
		}
	}
	first := make(map[string]appMessage)
	v.Main.Messages = slices.DeleteFunc(v.Main.Messages, func(m appMessage) bool {
		if began[m.ID] != "" {
			first[began[m.ID]] = m
		}
		return began[m.ID] != ""
	})
	for _, t := range tail(a.Threads(a.channel), maxThreads) {
		messages := a.messages(t.ID)
		if m, ok := first[t.ID]; ok {
			messages = append([]appMessage{m}, messages...)
		}
		v.Threads = append(v.Threads, appThread{
			ID: t.ID, Name: t.Name, Closed: t.Archived || t.Locked, Messages: messages,
		})
		v.Threads[len(v.Threads)-1].showTyping(a.typedAt(t.ID))
	}
	return v
}

// typedAt returns when the bridge was last seen typing in a thread, as far as somebody has looked.
func (a *discordApp) typedAt(thread string) time.Time {
	count := a.Typings(thread)
	a.mu.Lock()
	defer a.mu.Unlock()
	if seen := a.typed[thread]; seen.count != count {
		a.typed[thread] = seenTyping{count, time.Now()}
	}
	return a.typed[thread].at
}

func (a *discordApp) messages(channel string) []appMessage {
	out := []appMessage{}
	for _, m := range append(tail(a.Messages(channel), maxMessages), a.Ephemeral(channel)...) {
		if m.For != "" && m.For != a.ben.ID || m.Kind == discord.ThreadStarter {
			continue // somebody else's, or what stands for the message above the thread
		}
		out = append(out, a.show(m))
	}
	slices.SortStableFunc(out, func(x, y appMessage) int { return x.At.Compare(y.At) })
	return out
}

func (a *discordApp) show(m discord.Message) appMessage {
	out := appMessage{
		ID: m.ID, Author: m.Author.Shown(), Bot: m.Own, Mine: m.Author.ID == a.ben.ID, Edited: m.Edited, Silent: m.Silent, At: m.Date,
		Private: m.Ephemeral, ReplyTo: m.ReplyTo, Text: discordText(m.Text, a.person),
	}
	if service, is := serviceText(m); is {
		out.Service = service
		return out
	}
	if out.Mine {
		out.Raw = m.Text
	}
	for _, e := range m.Embeds {
		c := &card{Title: plainOf(discordText(e.Title, a.person)), Text: discordText(e.Description, a.person)}
		if e.Footer != nil {
			c.Footer = e.Footer.Text
		}
		out.Card = c
	}
	out.Rings = m.Own && !m.Silent && slices.ContainsFunc(m.Pings, func(who string) bool { return who == a.ben.ID || who == "here" || who == "everyone" })
	for _, row := range m.Buttons {
		var line []button
		for _, b := range row {
			line = append(line, button{b.Label, b.ID})
		}
		out.Buttons = append(out.Buttons, line)
	}
	for _, f := range m.Files {
		out.Files = append(out.Files, fileShown("discord", f.ID, f.Name, f.Type, int64(len(f.Content)), false))
	}
	for _, r := range m.Reactions {
		out.Reactions = append(out.Reactions, reaction{r.Emoji, len(r.Users), slices.Contains(r.Users, a.ben.ID)})
	}
	return out
}

// serviceText is what Discord itself says in a system message.
func serviceText(m discord.Message) (string, bool) {
	switch m.Kind {
	case discord.Renamed:
		return "thread renamed to " + m.Text, true
	case discord.ThreadCreated:
		return m.Author.Shown() + " started a thread: " + m.Text, true
	case discord.Pinned:
		return m.Author.Shown() + " pinned a message", true
	case discord.RecipientAdd:
		return m.Author.Shown() + " added somebody to the thread", true
	}
	return "", false
}

func plainOf(spans []span) string {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(s.Text)
	}
	return b.String()
}

func (a *discordApp) person(id string) string {
	switch id {
	case a.ben.ID:
		return a.ben.Display
	case a.Bot().ID:
		return a.Bot().Name
	}
	return id
}

// thread returns the channel's or the thread's id.
func (a *discordApp) thread(id string) (string, error) {
	if id == "" {
		return a.channel, nil
	}
	if t, ok := a.Thread(id); ok && t.Parent == a.channel {
		return id, nil
	}
	return "", refuse(http.StatusNotFound, "Discord has no thread %q", id)
}

// press presses a button, of a message that Ben alone sees, too.
func (a *discordApp) press(id, key string) (string, error) {
	m, err := a.message(id)
	if err != nil {
		for _, place := range a.placesOf() {
			for _, whispered := range a.Ephemeral(place) {
				if whispered.ID == id && whispered.For == a.ben.ID {
					m, err = whispered, nil
				}
			}
		}
	}
	if err != nil {
		return "", err
	}
	if shown := a.show(m); !shown.pressable(key) {
		return "", refuse(http.StatusNotFound, "the message has no such button")
	}
	if t, ok := a.Thread(m.Channel); ok && t.Archived && t.Locked {
		return "", refuse(http.StatusConflict, "the thread is locked")
	}
	a.Press(m, a.ben.ID, key)
	return "", nil
}

// placesOf are the channel and its threads.
func (a *discordApp) placesOf() []string {
	places := []string{a.channel}
	for _, t := range a.Threads(a.channel) {
		places = append(places, t.ID)
	}
	return places
}

func (a *discordApp) message(id string) (discord.Message, error) {
	for _, place := range a.placesOf() {
		for _, m := range a.Messages(place) {
			if _, service := serviceText(m); m.ID == id && !service {
				return m, nil
			}
		}
	}
	return discord.Message{}, refuse(http.StatusNotFound, "Discord has no message %q", id)
}

func (a *discordApp) say(thread, text, replyTo string, f *file) error {
	channel, err := a.thread(thread)
	if err != nil {
		return err
	}
	if utf8.RuneCountInString(text) > 2000 {
		return refuse(http.StatusBadRequest, "text: a message in Discord has at most 2000 characters")
	}
	if t, ok := a.Thread(thread); ok && t.Locked && t.Archived {
		return refuse(http.StatusConflict, "the thread is locked")
	}
	if name, args, _ := strings.Cut(text, " "); strings.HasPrefix(name, "/") && len(name) > 1 && f == nil {
		return a.command(channel, name[1:], strings.TrimSpace(args))
	}
	post := discord.Post{Channel: channel, User: a.ben.ID, Text: text}
	if replyTo != "" {
		to, err := a.message(replyTo)
		if err != nil {
			return err
		}
		if to.Channel != channel {
			return refuse(http.StatusBadRequest, "replyTo: it is in another thread")
		}
		post.ReplyTo = to.ID
	}
	if f != nil {
		post.Files = []discord.File{{Name: f.Name, Type: f.mediaType(), Content: f.Data}}
	}
	a.Send(post)
	return nil
}

// command uses an application command, as one does who types a slash. Those that the bridge has registered are known; the text
// behind the name is the command's one option.
func (a *discordApp) command(channel, name, args string) error {
	name = strings.ToLower(name)
	if !slices.Contains(a.Commands(a.Guild()), name) {
		return refuse(http.StatusBadRequest, "Discord knows no command /%s here; try !%s", name, name)
	}
	options := map[string]any{}
	if args != "" {
		options[commandOption] = args
	}
	a.UseCommand(channel, a.ben.ID, name, options)
	return nil
}

func (a *discordApp) edit(id, text string) error {
	m, err := a.own(id)
	if err == nil {
		a.Edit(m, text)
	}
	return err
}

func (a *discordApp) remove(id string) error {
	m, err := a.message(id) // with Manage Messages Ben can delete the bot's, too
	if err == nil {
		a.Delete(m)
	}
	return err
}

func (a *discordApp) own(id string) (discord.Message, error) {
	m, err := a.message(id)
	if err == nil && m.Author.ID != a.ben.ID {
		err = refuse(http.StatusForbidden, "one can edit one's own messages only")
	}
	return m, err
}

func (a *discordApp) react(id, emoji string) error {
	m, err := a.message(id)
	if err != nil {
		return err
	}
	for _, r := range m.Reactions {
		if r.Emoji == emoji && slices.Contains(r.Users, a.ben.ID) {
			a.Unreact(m, a.ben.ID, emoji)
			return nil
		}
	}
	a.React(m, a.ben.ID, emoji)
	return nil
}

func (a *discordApp) typing(thread string) error {
	channel, err := a.thread(thread)
	if err == nil {
		a.Typing(channel, a.ben.ID)
	}
	return err
}

func (a *discordApp) file(id string) (file, bool) {
	places := []string{a.channel}
	for _, t := range a.Threads(a.channel) {
		places = append(places, t.ID)
	}
	for _, place := range places {
		for _, m := range a.Messages(place) {
			for _, f := range m.Files {
				if f.ID == id {
					return file{Name: f.Name, Type: f.Type, Data: f.Content}, true
				}
			}
		}
	}
	return file{}, false
}

func (a *discordApp) limit(on bool) {
	limits := discord.Limits{}
	if on {
		limits = discord.UsualLimits()
	}
	a.SetLimits(limits)
}

func (a *discordApp) faults() []string         { return a.Faults() }
func (a *discordApp) changed() <-chan struct{} { return a.Changed() }
func (a *discordApp) close()                   { a.Close() }
