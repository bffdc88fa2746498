package slack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
)

// message is what is read of one of Slack's messages, as events and histories show them, and of the events about them.
type message struct {
	Type     string            `json:"type"`
	Subtype  string            `json:"subtype"`
	Channel  string            `json:"channel"`
	User     string            `json:"user"`
	BotID    string            `json:"bot_id"`
	Username string            `json:"username"` // the name that a bot gave itself
	Text     string            `json:"text"`
	TS       string            `json:"ts"`
	ThreadTS string            `json:"thread_ts"` // also its own ts, of a message with replies
	EventTS  string            `json:"event_ts"`
	Blocks   []json.RawMessage `json:"blocks"`
	Files    []file            `json:"files"`
	Attached []attached        `json:"attachments"`
	Edited   *edited           `json:"edited"`
	Profile  *profile          `json:"user_profile"` // of its author, where that is of another workspace

	// Of message_changed and message_deleted.
	Message   *message `json:"message"`
	Previous  *message `json:"previous_message"`
	DeletedTS string   `json:"deleted_ts"`

	// Of reaction_added.
	Reaction string `json:"reaction"`
	Item     *item  `json:"item"`

	// Of histories.
	LatestReply string    `json:"latest_reply"`
	Metadata    *metadata `json:"metadata"`
}

type edited struct {
	User string `json:"user"`
	TS   string `json:"ts"`
}

type item struct {
	Type    string `json:"type"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

type metadata struct {
	EventType string `json:"event_type"`
	Payload   struct {
		Key string `json:"key"`
	} `json:"event_payload"`
}

// attached is what hangs below a message: one that is passed on, the preview of a link, or a table.
type attached struct {
	Text      string            `json:"text"`
	Fallback  string            `json:"fallback"`
	Blocks    []json.RawMessage `json:"blocks"`
	Files     []file            `json:"files"`
	Share     bool              `json:"is_share"` // somebody passes it on
	Unfurl    bool              `json:"is_msg_unfurl"`
	AppUnfurl bool              `json:"is_app_unfurl"`
	From      string            `json:"from_url"`
	Original  string            `json:"original_url"`
}

// isPreview says whether Slack, or an app, added it by itself for an address in the text.
func (a attached) isPreview() bool {
	return !a.Share && (a.Unfurl || a.AppUnfurl || a.From != "" || a.Original != "")
}

// profile is what an event tells of its author.
type profile struct {
	DisplayName string `json:"display_name"`
	RealName    string `json:"real_name"`
	Name        string `json:"name"`
}

func (p *profile) name() string {
	if p == nil {
		return ""
	}
	return firstName(p.DisplayName, p.RealName, p.Name)
}

// outer is what the Events API wraps an event into, over either way.
type outer struct {
	Type           string          `json:"type"`
	Challenge      string          `json:"challenge"`
	EventID        string          `json:"event_id"`
	Event          json.RawMessage `json:"event"`
	Authorizations []struct {
		UserID string `json:"user_id"`
		IsBot  bool   `json:"is_bot"`
	} `json:"authorizations"`
}

// slash is a slash command as Slack tells it.
type slash struct {
	Command     string `json:"command"`
	Text        string `json:"text"`
	Channel     string `json:"channel_id"`
	User        string `json:"user_id"`
	UserName    string `json:"user_name"`
	ResponseURL string `json:"response_url"`
	TriggerID   string `json:"trigger_id"`
}

// identity is who the bot is.
type identity struct{ user, bot string }

// view is what must be known to read an event.
type view struct {
	channel  string
	shares   map[string]bridge.MessageID // of the messages that are shares of our files, as far as they are known
	me       identity                    // zero while it is not known
	testBots map[string]bool
	names    map[string]string // of the users and channels that the event names, as far as they are known
	files    map[string]file   // of which the event does not tell all, as far as that is known
}

// converted is an update in the bridge's words.
type converted struct {
	bridge.Update
	at string // when it happened, by Slack's clock
}

// decode reads JSON. What has another type than was expected stays empty: nothing that Slack adds or changes makes the rest
// unreadable.
func decode(raw []byte, dest any) error {
	if err := json.Unmarshal(raw, dest); err != nil && isSyntax(err) {
		return err
	}
	return nil
}

// convert reads an event. What needs no attention has no kind and no id.
func convert(e *message, v view) converted {
	switch {
	case e.Type == "reaction_added":
		return reactionOf(e, v)
	case e.Type != "message" && e.Type != "app_mention" || e.Channel != v.channel:
		return converted{}
	case e.Subtype == "message_changed":
		return changeOf(e, v)
	case e.Subtype == "message_deleted":
		return deletionOf(e, v)
	}
	return messageOf(e, v)
}

// messageOf converts a message, from an event or from a history: both give it the same id.
func messageOf(m *message, v view) converted {
	c := updateOf(m, v, bridge.UpdateMessage, "message", m.TS)
	if c.Text != "" || len(c.Files) > 0 {
		return c
	}
	if !c.ToBot {
		return converted{}
	}
	c.Command, c.ToBot = &bridge.Command{Name: "help"}, false // nothing but our name
	return c
}

// editOf converts a message that was edited. An edit is told by its time, and by another content where the one before is known: Slack
// also tells as a change that it has added the preview of a link.
func editOf(m, previous *message, v view) converted {
	if m.Edited == nil || m.Edited.TS == "" || previous != nil && sameContent(previous, m, v) {
		return converted{}
	}
	return changed(m, v, "edit "+m.Edited.TS, m.Edited.TS)
}

// removalOf converts a message of which files were removed, which is no edit to Slack; at is when.
func removalOf(m, previous *message, v view, at string) converted {
	gone := ""
	for _, f := range m.Files {
		if f.Mode == "tombstone" {
			gone += " " + f.ID
		}
	}
	if gone == "" || previous != nil && sameContent(previous, m, v) {
		return converted{}
	}
	return changed(m, v, "removal"+gone, at)
}

// changed is a message with what it says now.
func changed(m *message, v view, what, at string) converted {
	c := updateOf(m, v, bridge.UpdateEdit, what, at)
	if c.ID != "" {
		c.Edited = timeOf(at)
	}
	return c
}

// updateOf is a message as an update. what tells it from other updates of the message.
func updateOf(m *message, v view, kind bridge.UpdateKind, what, at string) converted {
	author, ok := authorOf(m, v)
	if !ok || m.TS == "" {
		return converted{}
	}
	u := bridge.Update{
		ID: v.channel + " " + m.TS + " " + what, Kind: kind, Thread: threadOf(m, v), Message: bridge.MessageID(m.TS), Author: author,
	}
	var toMe bool
	if u.Text, u.Files, toMe = textAndFiles(m, v); toMe {
		u.Command = commandOf(u.Text)
		u.ToBot = u.Command == nil
	}
	return converted{Update: u, at: at}
}

// sameContent says whether two versions of a message say the same.
func sameContent(a, b *message, v view) bool {
	one, files, _ := textAndFiles(a, v)
	two, others, _ := textAndFiles(b, v)
	return one == two && slices.EqualFunc(files, others, func(x, y bridge.Attachment) bool { return x.BridgeFileID == y.BridgeFileID })
}

func changeOf(e *message, v view) converted {
	if e.Message == nil {
		return converted{}
	}
	if e.Message.Subtype == "tombstone" {
		// A message with replies was deleted.
		gone := *e
		gone.DeletedTS = e.Message.TS
		return deletionOf(&gone, v)
	}
	before := e.Previous
	sameEdit := before != nil && before.Edited != nil && e.Message.Edited != nil && before.Edited.TS == e.Message.Edited.TS
	if c := editOf(e.Message, before, v); c.ID != "" && !sameEdit {
		return c
	}
	return removalOf(e.Message, before, v, cmp.Or(e.EventTS, e.TS))
}

func deletionOf(e *message, v view) converted {
	previous := cmp.Or(e.Previous, &message{})
	author, ok := authorOf(previous, v)
	if e.DeletedTS == "" || !ok && (previous.BotID != "" || previous.User != "" || previous.Subtype != "") {
		return converted{}
	}
	return converted{Update: bridge.Update{
		ID: v.channel + " " + e.DeletedTS + " delete", Kind: bridge.UpdateDelete, Thread: threadOf(previous, v),
		Message: bridge.MessageID(e.DeletedTS), Author: author,
	}, at: cmp.Or(e.EventTS, e.TS)}
}

// reactionOf converts a person's reaction. Slack does not say in which thread the message is.
func reactionOf(e *message, v view) converted {
	if e.Item == nil || e.Item.Type != "message" || e.Item.Channel != v.channel || e.Item.TS == "" || e.User == "" || e.User == v.me.user {
		return converted{}
	}
	shown := cmp.Or(v.shares[e.Item.TS], bridge.MessageID(e.Item.TS))
	return converted{Update: bridge.Update{
		ID:   v.channel + " " + e.Item.TS + " reaction " + e.User + " " + e.Reaction + " " + e.EventTS,
		Kind: bridge.UpdateReaction, Message: shown, Author: bridge.Author{ID: e.User, Name: cmp.Or(v.names[e.User], bridge.Nameless)},
	}, at: e.EventTS}
}

// slashOf converts a slash command: /bridge online, or /online where the app has such a command too. It comes from no message;
// the id stands for where it is to be answered.
func slashOf(c *slash, v view, now time.Time) converted {
	if c.User == "" || c.Command == "" {
		return converted{}
	}
	p := plain{names: v.names}
	text := strings.TrimSpace(p.mrkdwn(c.Text))
	name, args := cutWord(text)
	own := strings.TrimPrefix(c.Command, "/")
	if _, known := bridge.FindCommand(own); known {
		name, args = own, text
	}
	return converted{Update: bridge.Update{
		ID: "command " + cmp.Or(c.TriggerID, c.ResponseURL), Kind: bridge.UpdateMessage, Thread: mainThread(v.channel),
		Message: responseID(c.ResponseURL, now), Slash: true,
		Author:  bridge.Author{ID: c.User, Name: cmp.Or(v.names[c.User], c.UserName, bridge.Nameless)},
		Text:    strings.TrimSpace(c.Command + " " + text),
		Command: &bridge.Command{Name: cmp.Or(strings.ToLower(name), "help"), Args: args},
	}}
}

// cutWord returns a text's first word and the rest.
func cutWord(text string) (first, rest string) {
	text = strings.TrimSpace(text)
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		return text[:i], strings.TrimSpace(text[i:])
	}
	return text, ""
}

// authorOf returns who wrote a message; ok is false for one that nobody wrote, or a bot.
func authorOf(m *message, v view) (author bridge.Author, ok bool) {
	switch m.Subtype {
	case "", "file_share", "thread_broadcast", "me_message", "bot_message":
	default:
		return author, false // a message of Slack's own, such as that somebody has joined
	}
	id := cmp.Or(m.User, m.BotID)
	switch {
	case id == "", id == "USLACKBOT":
		return author, false
	case m.User != "" && m.User == v.me.user, m.BotID != "" && m.BotID == v.me.bot:
		return author, false
	case m.BotID != "" && !v.testBots[m.BotID] && !v.testBots[m.User]:
		return author, false
	}
	return bridge.Author{ID: id, Name: cmp.Or(m.Username, v.names[id], m.Profile.name(), bridge.Nameless)}, true
}

// threadOf returns where a message was written: the thread of its parent, or the channel.
func threadOf(m *message, v view) bridge.ThreadID {
	if m.ThreadTS == "" || m.ThreadTS == m.TS {
		return mainThread(v.channel)
	}
	return threadID(v.channel, m.ThreadTS)
}

// commandOf returns the command that a text to the bot is; nil for other text. Slack has no menu for it, so that it is one only
// where its first word is a command's name.
func commandOf(text string) *bridge.Command {
	name, args := cutWord(text)
	name = strings.ToLower(strings.TrimLeft(name, "!/"))
	if _, known := bridge.FindCommand(name); !known {
		return nil
	}
	return &bridge.Command{Name: name, Args: args}
}

var (
	mention = regexp.MustCompile(`<[@#]([A-Z0-9]+)`)
	inBlock = regexp.MustCompile(`"(?:user_id|channel_id)":\s*"([A-Z0-9]+)"`)
)

// named returns the ids of those whom an event names: its author, and whom it mentions. There are not more than maxNamed.
func named(e *message) []string {
	var out []string
	add := func(id string) {
		if id != "" && !slices.Contains(out, id) && len(out) < maxNamed {
			out = append(out, id)
		}
	}
	var visit func(*message)
	visit = func(m *message) {
		if m == nil {
			return
		}
		if m.Username == "" {
			add(m.User)
		}
		visit(m.Message)
		texts := []string{m.Text}
		for _, a := range m.Attached {
			if a.Share {
				texts = append(texts, a.Text)
			}
		}
		for _, found := range mention.FindAllStringSubmatch(strings.Join(texts, " "), -1) {
			add(found[1])
		}
		for _, block := range m.Blocks {
			for _, found := range inBlock.FindAllSubmatch(block, -1) {
				add(string(found[1]))
			}
		}
	}
	visit(e)
	return out
}

// maxNamed is how many ids of one message are looked up. More names in one are no conversation.
const maxNamed = 20

// timeOf reads a ts: seconds and microseconds since 1970. Anything else is the zero time.
func timeOf(ts string) time.Time {
	const endOfTime = 253_402_300_800 // the year 10000, which RFC 3339 cannot write
	seconds, micros, _ := strings.Cut(ts, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s < 0 || s >= endOfTime {
		return time.Time{}
	}
	us, err := strconv.ParseInt((micros + "000000")[:6], 10, 64)
	if err != nil || us < 0 {
		us = 0
	}
	return time.Unix(s, us*1000).UTC()
}

// tsOf writes a time as a ts.
func tsOf(t time.Time) string {
	us := max(t.UnixMicro(), 0)
	return fmt.Sprintf("%d.%06d", us/1e6, us%1e6)
}

// later says whether one ts is after another. An empty one is before all.
func later(a, b string) bool { return timeOf(a).After(timeOf(b)) }
