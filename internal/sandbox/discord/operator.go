package discord

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The controls below are the operators' side: what people do in their Discord apps. One that names a guild, channel, thread,
// message or user that is not there does nothing, returns a zero value, and leaves a fault. Ids are texts, as on the wire.

// AddUser makes a person or a bot known, as a member of every guild, and returns it with its id.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := flake(u.ID)
	if id == 0 {
		id = s.newID()
	}
	u.ID = id.String()
	if u.Name == "" {
		u.Name = "user" + u.ID
	}
	s.users[id] = &u
	s.back.Change()
	return u
}

// Guild returns the id of the guild that a Server begins with.
func (s *Server) Guild() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guilds[0].id.String()
}

func (s *Server) addGuild(name string) *guild {
	g := &guild{id: s.newID(), name: name, allowed: allPermissions &^ ManageWebhooks, roles: make(map[snowflake]role)}
	s.guilds = append(s.guilds, g)
	return g
}

// guildOf returns a guild; the first for an empty id.
func (s *Server) guildOf(id string) *guild {
	if id == "" {
		return s.guilds[0]
	}
	for _, g := range s.guilds {
		if g.id == flake(id) {
			return g
		}
	}
	return nil
}

// AddRole makes a role in the first guild and returns its id.
func (s *Server) AddRole(name string, mentionable bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.newID()
	s.guilds[0].roles[id] = role{name: name, mentionable: mentionable}
	return id.String()
}

// AddChannel makes a channel and returns its id.
func (s *Server) AddChannel(c Channel) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guildOf(c.Guild)
	if g == nil || c.Kind.thread() {
		s.fault("control: no guild %q for a channel of type %d", c.Guild, c.Kind)
		return ""
	}
	made := &channel{
		id: flake(c.ID), kind: c.Kind, guild: g, name: c.Name, requireTag: c.RequireTag, position: len(s.channels), created: time.Now(),
	}
	if made.id == 0 {
		made.id = s.newID()
	}
	if made.name == "" {
		made.name = "support"
	}
	for _, t := range c.Tags {
		id := flake(t.ID)
		if id == 0 {
			id = s.newID()
		}
		made.tags = append(made.tags, tag{id, t.Name, t.Moderated})
	}
	s.channels[made.id] = made
	s.dispatch("CHANNEL_CREATE", intentGuilds, s.wireChannel(made))
	s.back.Change()
	return made.id.String()
}

// Tags returns a forum's tags.
func (s *Server) Tags(channelID string) []Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Tag
	if c := s.channels[flake(channelID)]; c != nil {
		for _, t := range c.tags {
			out = append(out, Tag{t.id.String(), t.name, t.moderated})
		}
	}
	return out
}

// AddWebhook makes a webhook by hand, as a channel's settings do.
func (s *Server) AddWebhook(channelID, name string) Webhook {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[flake(channelID)]
	if c == nil || c.kind.thread() {
		s.fault("control: no channel %q for a webhook", channelID)
		return Webhook{}
	}
	return s.addWebhook(c, name, false).show()
}

func (s *Server) addWebhook(c *channel, name string, own bool) *webhook {
	h := &webhook{id: s.newID(), token: newToken(51), channel: c, name: name, own: own}
	s.webhooks[h.id] = h
	s.back.Change()
	return h
}

func (h *webhook) show() Webhook {
	return Webhook{
		ID: h.id.String(), Token: h.token, Channel: h.channel.id.String(), Name: h.name,
		Path: "/webhooks/" + h.id.String() + "/" + h.token,
	}
}

// RemoveWebhook deletes a webhook by hand.
func (s *Server) RemoveWebhook(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.webhooks[flake(id)] == nil {
		s.fault("control: no webhook %q", id)
		return
	}
	delete(s.webhooks, flake(id))
	s.back.Change()
}

// Deny takes permissions from the bot in a channel and its threads; in all of the first guild if the channel is empty.
func (s *Server) Deny(channelID string, p Permission) { s.permit(channelID, p, false) }

// Allow gives permissions back.
func (s *Server) Allow(channelID string, p Permission) { s.permit(channelID, p, true) }

func (s *Server) permit(channelID string, p Permission, allow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[flake(channelID)]
	switch g := s.guilds[0]; {
	case channelID == "" && allow:
		g.allowed |= p
	case channelID == "":
		g.allowed &^= p
	case c == nil:
		s.fault("control: no channel %q", channelID)
	case allow:
		c.denied &^= p
	default:
		c.denied |= p
	}
	s.back.Change()
}

// Kick removes the bot from a guild, the first if it is empty.
func (s *Server) Kick(guildID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.guildOf(guildID); g != nil && !g.left {
		g.left = true
		s.dispatch("GUILD_DELETE", intentGuilds, object{"id": g.id})
		s.back.Change()
		return
	}
	s.fault("control: the bot is in no guild %q", guildID)
}

// Invite takes Kick back.
func (s *Server) Invite(guildID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.guildOf(guildID); g != nil && g.left {
		g.left = false
		s.dispatch("GUILD_CREATE", intentGuilds, s.wireGuildCreate(g))
		s.back.Change()
		return
	}
	s.fault("control: the bot is not missing in a guild %q", guildID)
}

// Revoke has the token no longer accepted, as a reset in the developer portal does: every call is answered with 401, the
// gateway's connections are closed with 4004. Restore has the same token accepted again.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = true
	s.forgetSessions()
	s.closeConnections(closeAuthentication)
	s.back.Change()
}

// Restore takes Revoke back.
func (s *Server) Restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = false
	s.back.Change()
}

// SetActiveThreads sets how many threads of a guild may be active.
func (s *Server) SetActiveThreads(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.ActiveThreads = n
}

// ForgetNonces has the server know no nonce any more, as it does after some minutes.
func (s *Server) ForgetNonces() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.nonces)
	s.nonceOrder = nil
}

// Post is a message that somebody other than the bot under test writes.
type Post struct {
	Channel string // or thread
	User    string // who writes; a bot is a user with Bot set
	Webhook string // the webhook that writes in place of a user
	Name    string // the name that a webhook's message gives
	Text    string
	ReplyTo string
	Files   []File
	Embeds  []Embed
	// Kind is the type of a system message.
	Kind int
	// Fields are further fields of the message on the wire.
	Fields map[string]any
}

// Send writes a message. Like a person's in Discord it can ping whom it mentions, and it unarchives an archived thread that is
// not locked.
func (s *Server) Send(p Post) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[flake(p.Channel)]
	author, hook := s.users[flake(p.User)], s.webhooks[flake(p.Webhook)]
	if hook != nil {
		name := p.Name
		if name == "" {
			name = hook.name
		}
		author = &User{ID: hook.id.String(), Name: name, Bot: true}
	}
	switch {
	case c == nil || author == nil:
		s.fault("control: no channel %q or no user %q", p.Channel, p.User+p.Webhook)
		return Message{}
	case c.kind == Forum || c.kind == Category:
		s.fault("control: nobody can write to the channel %q of type %d", p.Channel, c.kind)
		return Message{}
	case p.ReplyTo != "" && c.find(flake(p.ReplyTo)) == nil:
		s.fault("control: no message %q in channel %q", p.ReplyTo, p.Channel)
		return Message{}
	case c.archived && c.locked:
		s.fault("control: the thread %q is locked", p.Channel)
		return Message{}
	}
	if c.archived {
		s.setArchived(c, false)
	}
	m := &message{author: author, webhook: hook, kind: p.Kind, text: strings.TrimSpace(p.Text), embeds: p.Embeds, extra: p.Fields}
	if p.ReplyTo != "" {
		m.kind, m.reference = ReplyMessage, &reference{c.id, flake(p.ReplyTo)}
	}
	for _, f := range p.Files {
		m.files = append(m.files, s.newFile(f))
	}
	s.join(c, author)
	m.pings = s.pings(m, c, nil, false)
	s.tellMessage("MESSAGE_CREATE", s.add(c, m))
	s.back.Change()
	return s.show(m)
}

// Say writes a text as a user.
func (s *Server) Say(channelID, user, text string) Message {
	return s.Send(Post{Channel: channelID, User: user, Text: text})
}

// Reply replies to a message where it is.
func (s *Server) Reply(to Message, user, text string) Message {
	return s.Send(Post{Channel: to.Channel, User: user, Text: text, ReplyTo: to.ID})
}

// Upload sends files with a text, which may be empty.
func (s *Server) Upload(channelID, user, text string, files ...File) Message {
	return s.Send(Post{Channel: channelID, User: user, Text: text, Files: files})
}

// Edit gives a message of somebody else another text; the bot is told by MESSAGE_UPDATE.
func (s *Server) Edit(m Message, text string) Message {
	return s.touch(m, func(m *message) bool {
		if m.author == s.bot {
			s.fault("control: message %s is the bot's own", m.id)
			return false
		}
		m.text, m.edited = strings.TrimSpace(text), time.Now()
		s.tellMessage("MESSAGE_UPDATE", m)
		return true
	})
}

// RemoveFiles takes a message's files away, as people can with their own
// (https://docs.discord.com/developers/resources/message#edit-message, attachments); the bot is told by MESSAGE_UPDATE.
func (s *Server) RemoveFiles(m Message) Message {
	return s.touch(m, func(m *message) bool {
		if m.text == "" {
			s.fault("control: message %s would be empty", m.id)
			return false
		}
		m.files, m.edited = nil, time.Now()
		s.tellMessage("MESSAGE_UPDATE", m)
		return true
	})
}

// Unfurl adds a link's preview to a message, as Discord does by itself: a MESSAGE_UPDATE that is no edit.
func (s *Server) Unfurl(m Message, preview Embed) Message {
	return s.touch(m, func(m *message) bool {
		m.embeds = append(slices.Clone(m.embeds), preview)
		s.tellMessage("MESSAGE_UPDATE", m)
		return true
	})
}

// Pin pins a message; the channel gets a system message of it.
func (s *Server) Pin(m Message, user string) Message {
	return s.touch(m, func(m *message) bool {
		u := s.users[flake(user)]
		if u == nil {
			s.fault("control: no user %q", user)
			return false
		}
		m.pinned = true
		s.tellMessage("MESSAGE_UPDATE", m)
		s.tellOf(m.channel, "CHANNEL_PINS_UPDATE", intentGuilds, object{
			"guild_id": m.channel.guild.id, "channel_id": m.channel.id, "last_pin_timestamp": stamp(time.Now()),
		})
		s.tellMessage("MESSAGE_CREATE", s.add(m.channel, &message{
			author: u, kind: Pinned, reference: &reference{m.channel.id, m.id},
		}))
		return true
	})
}

// Delete deletes a message by hand; the bot is told by MESSAGE_DELETE.
func (s *Server) Delete(m Message) {
	s.touch(m, func(m *message) bool {
		s.deleteMessage(m)
		return true
	})
}

// touch does something to a message.
func (s *Server) touch(m Message, do func(*message) bool) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[flake(m.Channel)]
	if c == nil || c.find(flake(m.ID)) == nil {
		s.fault("control: no message %q in channel %q", m.ID, m.Channel)
		return Message{}
	}
	found := c.find(flake(m.ID))
	if !do(found) {
		return Message{}
	}
	s.back.Change()
	return s.show(found)
}

// React adds a user's reaction to a message: 👀, or name:id for a custom emoji.
func (s *Server) React(m Message, user, emoji string) { s.react(m, user, emoji, true) }

// Unreact takes a user's reaction away.
func (s *Server) Unreact(m Message, user, emoji string) { s.react(m, user, emoji, false) }

func (s *Server) react(m Message, user, emoji string, add bool) {
	s.touch(m, func(m *message) bool {
		u := s.users[flake(user)]
		if u == nil {
			s.fault("control: no user %q", user)
			return false
		}
		if !s.setReaction(m, u, emoji, add) {
			s.fault("control: user %q has the reaction to message %s already, or has not", user, m.id)
			return false
		}
		return true
	})
}

// Typing shows a user typing in a channel or thread.
func (s *Server) Typing(channelID, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u := s.channels[flake(channelID)], s.users[flake(user)]
	if c == nil || u == nil {
		s.fault("control: no channel %q or no user %q", channelID, user)
		return
	}
	s.tellTyping(c, u)
}

// OpenThread makes a public thread by hand. The channel gets a system message of it; in a forum it is a post with a text.
func (s *Server) OpenThread(channelID, user, name, text string) Thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u := s.channels[flake(channelID)], s.users[flake(user)]
	if c == nil || u == nil || c.kind != Text && c.kind != Forum && c.kind != Announcement {
		s.fault("control: no channel %q for a thread, or no user %q", channelID, user)
		return Thread{}
	}
	t := s.newThread(c, u, name, PublicThread, 4320)
	s.tellThread(t)
	if c.kind != Forum {
		s.announceThread(t, u)
	}
	if text != "" || c.kind == Forum {
		m := &message{author: u, text: strings.TrimSpace(text)}
		if c.kind == Forum {
			m.id = t.id
		}
		m.pings = s.pings(m, t, nil, false)
		s.tellMessage("MESSAGE_CREATE", s.add(t, m))
	}
	s.back.Change()
	return t.show()
}

// OpenThreadOn makes a thread at a message by hand. The thread has the message's id.
func (s *Server) OpenThreadOn(m Message, user, name string) Thread {
	var t *channel
	s.touch(m, func(m *message) bool {
		u := s.users[flake(user)]
		if u == nil || m.thread != 0 || m.channel.kind.thread() {
			s.fault("control: no user %q, or message %s cannot have a thread", user, m.id)
			return false
		}
		t = s.threadAt(m, u, name, 4320)
		return true
	})
	if t == nil {
		return Thread{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.show()
}

// RenameThread renames a thread by hand; the thread gets a system message of it.
func (s *Server) RenameThread(threadID, user, name string) {
	s.byHand(threadID, user, func(t *channel, u *User) {
		t.name = name
		s.tellOf(t, "THREAD_UPDATE", intentGuilds, s.wireChannel(t))
		s.tellMessage("MESSAGE_CREATE", s.add(t, &message{author: u, kind: Renamed, text: name}))
	})
}

// ArchiveThread archives a thread, by hand or after its time; user may be empty then.
func (s *Server) ArchiveThread(threadID, user string) {
	s.byHand(threadID, user, func(t *channel, _ *User) { s.setArchived(t, true) })
}

// UnarchiveThread opens an archived thread again by hand.
func (s *Server) UnarchiveThread(threadID, user string) {
	s.byHand(threadID, user, func(t *channel, _ *User) { s.setArchived(t, false) })
}

// LockThread locks a thread by hand, with or without archiving it.
func (s *Server) LockThread(threadID, user string, archive bool) {
	s.byHand(threadID, user, func(t *channel, _ *User) {
		t.locked = true
		if archive {
			s.setArchived(t, true)
			return
		}
		s.tellOf(t, "THREAD_UPDATE", intentGuilds, s.wireChannel(t))
	})
}

// UnlockThread unlocks a thread by hand and leaves it archived if it is.
func (s *Server) UnlockThread(threadID, user string) {
	s.byHand(threadID, user, func(t *channel, _ *User) {
		t.locked = false
		s.tellOf(t, "THREAD_UPDATE", intentGuilds, s.wireChannel(t))
	})
}

// DeleteThread deletes a thread with its messages by hand.
func (s *Server) DeleteThread(threadID, user string) {
	s.byHand(threadID, user, func(t *channel, _ *User) { s.deleteChannel(t) })
}

// AddToThread has a user add another one to a thread: a system message that names whom.
func (s *Server) AddToThread(threadID, user, added string) {
	s.byHand(threadID, user, func(t *channel, u *User) {
		if s.users[flake(added)] == nil {
			s.fault("control: no user %q", added)
			return
		}
		t.members[flake(added)] = time.Now()
		s.tellMessage("MESSAGE_CREATE", s.add(t, &message{author: u, kind: RecipientAdd, pings: []string{added}}))
	})
}

func (s *Server) byHand(threadID, user string, do func(*channel, *User)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, u := s.channels[flake(threadID)], s.users[flake(user)]
	if t == nil || t.parent == nil || user != "" && u == nil {
		s.fault("control: no thread %q or no user %q", threadID, user)
		return
	}
	if u == nil {
		u = s.bot
	}
	do(t, u)
	s.back.Change()
}

// DeleteChannel deletes a channel with its threads by hand.
func (s *Server) DeleteChannel(channelID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[flake(channelID)]
	if c == nil || c.parent != nil {
		s.fault("control: no channel %q", channelID)
		return
	}
	s.deleteChannel(c)
	s.back.Change()
}

// ExpireFiles has no address of a file hold that was given out so far, as after a day. New ones come with each message that is
// fetched or told.
func (s *Server) ExpireFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fileAge++
}

// Threads returns a channel's threads, the oldest first, archived ones too; all threads if the channel is empty.
func (s *Server) Threads(channelID string) []Thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Thread
	for _, id := range sorted(s.channels) {
		if t := s.channels[id]; t.parent != nil && (channelID == "" || t.parent.id == flake(channelID)) {
			out = append(out, t.show())
		}
	}
	return out
}

// Thread returns a thread and whether it is there.
func (s *Server) Thread(id string) (Thread, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.channels[flake(id)]
	if t == nil || t.parent == nil {
		return Thread{}, false
	}
	return t.show(), true
}

// Messages returns the messages of a channel or thread, the oldest first, system messages among them; deleted ones are gone.
func (s *Server) Messages(channelID string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	if c := s.channels[flake(channelID)]; c != nil {
		for _, m := range c.messages {
			out = append(out, s.show(m))
		}
	}
	return out
}

// Typings returns how often the bot was seen typing in a channel or thread.
func (s *Server) Typings(channelID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[flake(channelID)]; c != nil {
		return c.typed
	}
	return 0
}

// Webhooks returns the webhooks of a channel, those that the bot made too.
func (s *Server) Webhooks(channelID string) []Webhook {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Webhook
	for _, id := range sorted(s.webhooks) {
		if h := s.webhooks[id]; h.channel.id == flake(channelID) {
			out = append(out, h.show())
		}
	}
	return out
}

// Commands returns the names of the application's commands in a guild.
func (s *Server) Commands(guildID string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, c := range s.commands[flake(guildID)] {
		out = append(out, commandOf(c).Name)
	}
	return out
}

// PushEvent sends a dispatch of any form to every session: kinds that the sandbox has no control for, or what no client can
// read.
func (s *Server) PushEvent(name string, fields map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data := make(object, len(fields))
	maps.Copy(data, fields)
	s.dispatch(name, 0, data)
}

// String shows a message in a test's output.
func (m Message) String() string { return fmt.Sprintf("%s: %q", m.Author.Shown(), m.Text) }
