package discord

import (
	"path"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

// view is what must be known to read a message.
type view struct {
	thread   bridge.ThreadID // where it was written
	self     string          // the bot's user id
	testBots map[string]bool
	name     string // of its author, as the server shows it; empty: as the message says
	resolver resolver
}

// convertMessage turns a message into the bridge's words. ok is false for what is no message of a person: bots, webhooks, the
// bridge itself, and what Discord writes.
func convertMessage(m *message, v view) (u bridge.Update, ok bool) {
	if m.Author == nil || m.WebhookID != "" {
		return u, false
	}
	author, ok := person(m.Author, v)
	id, isID := parseSnowflake(m.ID)
	if !ok || !isID || m.Type != discordgo.MessageTypeDefault && m.Type != discordgo.MessageTypeReply {
		return u, false
	}
	u = bridge.Update{
		ID:      "message:" + id.String(),
		Kind:    bridge.UpdateMessage,
		Thread:  v.thread,
		Message: bridge.MessageID(id.String()),
		Author:  author,
		Text:    textOf(m, v.resolver),
	}
	if none := words.Get().NoText; u.Text == none {
		u.Hint = words.Get().VisitorSeesNoMore.With(none)
	}
	for _, a := range m.files() {
		u.Files = append(u.Files, bridge.Attachment{
			Filename: a.name(), MimeType: a.Type, Size: a.Size, UploadedFrom: "discord",
			BridgeFileID: fileID(m.ChannelID, m.ID, a.ID),
		})
	}
	if r := m.Reference; r != nil && m.Type == discordgo.MessageTypeReply {
		if to, isID := parseSnowflake(r.MessageID); isID {
			u.ReplyTo = bridge.MessageID(to.String())
		}
	}
	return u, true
}

// convertEdit turns a change of a message into the bridge's words. ok is false where the message is no person's, and where its
// author changed nothing: Discord tells of previews, pins and threads as of changes too.
func convertEdit(m *message, v view) (u bridge.Update, ok bool) {
	at, edited := m.editedAt()
	if !edited || m.Content == nil {
		return u, false
	}
	if u, ok = convertMessage(m, v); !ok {
		return u, false
	}
	u.ID = "edit:" + string(u.Message) + ":" + at.Format(time.RFC3339Nano)
	u.Kind, u.Edited = bridge.UpdateEdit, at
	return u, true
}

// convertDelete says which messages are gone.
func convertDelete(d *deletion, thread bridge.ThreadID) []bridge.Update {
	ids := d.Messages
	if d.ID != "" {
		ids = append(ids, d.ID)
	}
	var out []bridge.Update
	for _, text := range ids {
		if id, ok := parseSnowflake(text); ok {
			out = append(out, bridge.Update{
				ID: "delete:" + id.String(), Kind: bridge.UpdateDelete, Thread: thread, Message: bridge.MessageID(id.String()),
			})
		}
	}
	return out
}

// convertReaction turns a reaction into the bridge's words; ok is false for one of a bot.
func convertReaction(r *reaction, v view) (u bridge.Update, ok bool) {
	id, isID := parseSnowflake(r.MessageID)
	author, ok := memberOf(r.UserID, r.Member, v)
	if !ok || !isID {
		return u, false
	}
	return bridge.Update{
		// The same sign, taken off and put on again, tells nothing new.
		ID:   "reaction:" + id.String() + ":" + author.ID + ":" + platform.FirstOf(r.Emoji.ID, r.Emoji.Name),
		Kind: bridge.UpdateReaction, Thread: v.thread, Message: bridge.MessageID(id.String()), Author: author,
		Text: platform.FirstOf(r.Emoji.Name, r.Emoji.ID),
	}, true
}

// convertTyping turns the news that somebody types into the bridge's words; ok is false for a bot. It has no id and no cursor: it is
// never stored.
func convertTyping(t *typing, v view) (u bridge.Update, ok bool) {
	author, ok := memberOf(t.UserID, t.Member, v)
	if !ok {
		return u, false
	}
	return bridge.Update{Kind: bridge.UpdateTyping, Thread: v.thread, Author: author}, true
}

// memberOf is person for what comes with a member of the server.
func memberOf(id string, m *member, v view) (bridge.Author, bool) {
	u := user{ID: id}
	if m != nil {
		if m.User != nil {
			u = *m.User
			u.ID = id
		}
		v.name = platform.FirstOf(m.Nick, v.name)
	}
	return person(&u, v)
}

// person returns who did something; ok is false for those who are no operators.
func person(u *user, v view) (bridge.Author, bool) {
	id, ok := parseSnowflake(u.ID)
	if !ok || u.ID == v.self || u.Bot && !v.testBots[u.ID] {
		return bridge.Author{}, false
	}
	return bridge.Author{ID: id.String(), Name: platform.FirstOf(v.name, u.GlobalName, u.Name, bridge.Nameless)}, true
}

// name returns a file's name as it was given: Discord changes names with other characters than it likes, and keeps the first one,
// without its extension, as a title.
func (a attachment) name() string {
	title, extension := platform.FirstOf(a.Title), path.Ext(a.Filename)
	if title == "" || strings.EqualFold(path.Ext(title), extension) {
		return platform.FirstOf(title, a.Filename)
	}
	return title + extension
}

// files returns a message's attachments, and those of what it passes on.
func (m *message) files() []attachment {
	out := m.Attachments
	for _, s := range m.Snapshots {
		out = append(out[:len(out):len(out)], s.Message.Attachments...)
	}
	return out
}

// textOf returns what a person reads of a message: its text, and a line for what is no text.
func textOf(m *message, b resolver) string {
	b = m.naming(b)
	var out []string
	say := words.Get()
	if text := readable(m.content(), b); text != "" {
		out = append(out, text)
	}
	if m.Reference != nil && m.Reference.Type == discordgo.MessageReferenceTypeForward {
		for _, s := range m.Snapshots {
			out = append(out, platform.Joined(" ", say.Forwarded, textOf(&s.Message, b)))
		}
	}
	if p := m.Poll; p != nil {
		var answers []string
		for _, a := range p.Answers {
			if a.Media != nil {
				answers = append(answers, a.Media.Text)
			}
		}
		out = append(out, platform.Bracketed(say.Poll, platform.Joined(" ", p.Question.Text, platform.InBrackets(strings.Join(answers, " / ")))))
	}
	for _, s := range m.Stickers {
		out = append(out, platform.Bracketed(say.Sticker, s.Name))
	}
	if len(out) == 0 && strings.TrimSpace(m.content()) == "" {
		// Embeds beside a text are previews of its links, which nobody wrote.
		for _, e := range m.Embeds {
			if line := platform.Joined("\n", readable(e.Title, b), readable(e.Description, b), e.URL); line != "" {
				out = append(out, line)
			}
		}
	}
	if len(out) == 0 && len(m.files()) == 0 {
		return say.NoText
	}
	return strings.Join(out, "\n")
}

// naming returns a resolver that knows the people whom the message mentions, too.
func (m *message) naming(b resolver) resolver {
	if b.user == nil {
		b.user = nobody
	}
	if b.role == nil {
		b.role = nobody
	}
	if b.channel == nil {
		b.channel = nobody
	}
	known := b.user
	b.user = func(id string) string {
		for _, u := range m.Mentions {
			if u.ID != id {
				continue
			}
			if u.Member != nil && u.Member.Nick != "" {
				return u.Member.Nick
			}
			return platform.FirstOf(known(id), u.GlobalName, u.Name)
		}
		return known(id)
	}
	return b
}
