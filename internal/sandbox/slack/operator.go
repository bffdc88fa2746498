package slack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The controls below are the operators' side: what people do in their Slack apps. One that names a channel, message or user
// that is not there does nothing, returns a zero value, and leaves a fault.

// AddUser makes a person or another app's bot known and returns it with its id. It is a member of all channels there are.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == "" {
		u.ID = s.id("U")
	}
	if u.Name == "" {
		u.Name = strings.ToLower(u.ID)
	}
	if u.RealName == "" {
		u.RealName = u.Name
	}
	s.users[u.ID] = u
	for _, c := range s.channels {
		if c.Kind != Direct {
			c.members = append(c.members, u.ID)
		}
	}
	s.back.Change()
	return u
}

// AddChannel makes a conversation and returns its id. The users there are are members, and so is the bot.
func (s *Server) AddChannel(c Channel) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.users[c.User]; c.Kind == Direct && !known {
		s.back.Fault(fmt.Sprintf("control: no user %s for a direct conversation", c.User))
		return ""
	}
	if c.ID == "" {
		c.ID = s.id(map[Kind]string{Public: "C", Private: "C", Direct: "D"}[c.Kind])
	}
	if c.Name == "" && c.Kind != Direct {
		c.Name = "support"
	}
	made := &channel{
		Channel: c, created: time.Now(), messages: make(map[int64]*message), threads: make(map[int64][]*message),
	}
	for id := range s.users {
		if c.Kind != Direct && id != botUser && id != slackbot {
			made.members = append(made.members, id)
		}
	}
	if c.Kind == Direct {
		made.members = []string{c.User}
	}
	s.channels[c.ID] = made
	s.back.Change()
	return c.ID
}

// Post is a message that somebody other than the bot under test writes.
type Post struct {
	Channel  string
	ThreadTS string // the parent's; empty: in the channel
	User     string // who writes; a bot is a user with Bot set
	// Text is as it is typed: @name mentions, addresses become links, emoji their short names. Marks such as *this* are typed stars,
	// not bold: Slack's editor makes those, and they come with blocks, for which there is Fields.
	Text string
	Raw  bool // Text stands on the wire as it is
	// Broadcast shows a reply in the channel, too.
	Broadcast bool
	// Subtype is for messages that nobody writes, such as channel_purpose.
	Subtype string
	// Fields are further fields on the wire.
	Fields map[string]any
}

// Send writes a message.
func (s *Server) Send(p Post) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.draft(p)
	if m == nil {
		return Message{}
	}
	s.tellMessage(s.add(m))
	return s.show(m)
}

// draft makes the message that a post describes, nil with a fault if there is no such place or person.
func (s *Server) draft(p Post) *message {
	c, u := s.channels[p.Channel], s.users[p.User]
	if c == nil || u.ID == "" {
		s.back.Fault(fmt.Sprintf("control: no channel %s or no user %s", p.Channel, p.User))
		return nil
	}
	m := &message{in: c, subtype: p.Subtype, text: p.Text, links: true, media: true, broadcast: p.Broadcast}
	if !p.Raw {
		m.text = s.typed(p.Text)
	}
	m.by = s.author(author{user: u.ID})
	if u.Bot {
		m.by = s.author(author{user: u.ID, bot: botOf(u)})
	}
	if pings := s.pingsOf(m.text, nil); len(pings) > 0 {
		m.extra().pings = pings
	}
	if len(p.Fields) > 0 {
		m.extra().fields = maps.Clone(p.Fields)
	}
	if p.ThreadTS != "" {
		parent := c.find(p.ThreadTS)
		if parent == nil || parent.thread != 0 {
			s.back.Fault(fmt.Sprintf("control: no thread %s in channel %s", p.ThreadTS, p.Channel))
			return nil
		}
		m.thread = parent.ts
		if p.Broadcast {
			m.subtype = "thread_broadcast"
		}
	}
	return m
}

// Say writes a text as a user, in a thread, or with no threadTS in the channel.
func (s *Server) Say(channelID, threadTS, user, text string) Message {
	return s.Send(Post{Channel: channelID, ThreadTS: threadTS, User: user, Text: text})
}

// Reply writes in the thread of a message, and begins one if there is none.
func (s *Server) Reply(to Message, user, text string) Message {
	thread := to.ThreadTS
	if thread == "" {
		thread = to.TS
	}
	return s.Send(Post{Channel: to.Channel, ThreadTS: thread, User: user, Text: text})
}

// Attachment is a file that a user sends.
type Attachment struct {
	Post                // its text is the comment, which may be empty
	Name     string     // of the file
	Mimetype string     // empty: by the name
	Content  []byte     // of the file
	More     []FileData // further files in the same message
	Partner  bool       // see File
}

// FileData is a further file of a message.
type FileData struct {
	Name    string
	Content []byte
}

// Upload sends files as a user.
func (s *Server) Upload(a Attachment) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.draft(a.Post)
	if m == nil {
		return Message{}
	}
	m.subtype = "file_share"
	add := func(name, kind string, content []byte) {
		f := s.newFile(File{
			Name: name, Title: name, Mimetype: kind, User: a.User, Content: slices.Clone(content), Partner: a.Partner,
		}, len(content))
		f.ready = true
		m.extra().files = append(m.extra().files, f)
	}
	add(a.Name, a.Mimetype, a.Content)
	for _, f := range a.More {
		add(f.Name, "", f.Content)
	}
	s.share(m)
	return s.show(m)
}

// DeleteFile deletes a file by hand.
func (s *Server) DeleteFile(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.fileOf(id)
	if err != nil {
		s.back.Fault("control: no file " + id)
		return
	}
	s.deleteFile(f)
	s.back.Change()
}

// of finds the message that a control names, nil with a fault if it is gone.
func (s *Server) of(m Message) *message {
	if c := s.channels[m.Channel]; c != nil {
		if found := c.find(m.TS); found != nil && found.subtype != "tombstone" {
			return found
		}
	}
	s.back.Fault(fmt.Sprintf("control: no message %s in channel %s", m.TS, m.Channel))
	return nil
}

// Edit gives a message another text, as if it were typed.
func (s *Server) Edit(m Message, text string) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	edited := s.of(m)
	if edited == nil {
		return Message{}
	}
	before := s.wire(edited, false)
	edited.text = s.typed(text)
	edited.edited = s.tick()
	edited.extra().editor = edited.by.user
	edited.more.pings = s.pingsOf(edited.text, nil)
	s.tellChanged(edited, before)
	return s.show(edited)
}

// Unfurl adds the preview of an address to a message, which Slack tells of as of a change: the text is as before, and there is
// no mark of an edit.
func (s *Server) Unfurl(m Message, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unfurled := s.of(m)
	if unfurled == nil {
		return
	}
	before := s.wire(unfurled, false)
	x := unfurled.extra()
	x.fields = maps.Clone(x.fields)
	if x.fields == nil {
		x.fields = make(map[string]any)
	}
	x.fields["attachments"] = []object{{
		"id": 1, "from_url": address, "original_url": address, "service_name": "Example", "title": "A page", "title_link": address,
		"text": "What is on the page", "fallback": "A page",
	}}
	s.tellChanged(unfurled, before)
}

// Delete deletes a message by hand: one of a user, or, as an administrator may, the bot's.
func (s *Server) Delete(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gone := s.of(m); gone != nil {
		s.remove(gone)
	}
}

// React puts a user's emoji under a message; the name has no colons.
func (s *Server) React(m Message, user, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.of(m)
	switch {
	case at == nil:
	case at.reactors(name, user):
		s.back.Fault(fmt.Sprintf("control: %s has reacted with %s already", user, name))
	default:
		s.react(at, user, name)
	}
}

// Unreact takes a user's emoji away.
func (s *Server) Unreact(m Message, user, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.of(m)
	switch {
	case at == nil:
	case !at.reactors(name, user):
		s.back.Fault(fmt.Sprintf("control: %s has not reacted with %s", user, name))
	default:
		s.unreact(at, user, name)
	}
}

// within runs a function for a channel.
func (s *Server) within(channelID string, do func(*channel)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channelID]
	if c == nil {
		s.back.Fault("control: no channel " + channelID)
		return
	}
	do(c)
	s.back.Change()
}

// Join has a user come into a channel.
func (s *Server) Join(channelID, user string) {
	s.within(channelID, func(c *channel) {
		if !slices.Contains(c.members, user) {
			c.members = append(c.members, user)
		}
		s.joined(c, user, s.author(author{user: user}))
	})
}

// SetTopic has a user set a channel's topic.
func (s *Server) SetTopic(channelID, user, topic string) {
	s.within(channelID, func(c *channel) {
		c.topic = topic
		s.system(c, user, "channel_topic", "<@"+user+"> set the channel topic: "+topic, map[string]any{"topic": topic})
	})
}

// system adds a message that Slack writes in a user's name; private channels have names of their own for some.
func (s *Server) system(c *channel, user, subtype, text string, fields map[string]any) {
	if c.Kind == Private {
		subtype = strings.Replace(subtype, "channel_", "group_", 1)
	}
	m := &message{in: c, by: s.author(author{user: user}), subtype: subtype, text: text}
	if fields != nil {
		m.extra().fields = fields
	}
	s.tellMessage(s.add(m))
}

// Archive archives a channel: it can be read, and no longer written to.
func (s *Server) Archive(channelID, user string) {
	s.within(channelID, func(c *channel) {
		s.system(c, user, "channel_archive", "<@"+user+"> archived the channel", nil)
		c.archived = true
	})
}

// Unarchive takes Archive back.
func (s *Server) Unarchive(channelID, user string) {
	s.within(channelID, func(c *channel) {
		c.archived = false
		s.system(c, user, "channel_unarchive", "<@"+user+"> un-archived the channel", nil)
	})
}

// RemoveBot removes the bot from a channel.
func (s *Server) RemoveBot(channelID string) {
	s.within(channelID, func(c *channel) {
		c.absent = true
		kind := "channel_left"
		if c.Kind == Private {
			kind = "group_left"
		}
		s.tell(kind, c, c.scope("read"), object{"type": kind, "channel": c.ID, "actor_id": slackbot})
	})
}

// Revoke has the bot token no longer accepted: every call is answered with what it says, token_revoked if that is empty.
// account_inactive and invalid_auth are what Slack says when the app was removed, or later on. Events no longer come.
func (s *Server) Revoke(says string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if says == "" {
		says = "token_revoked"
	}
	s.tell("tokens_revoked", nil, "", object{
		"type": "tokens_revoked", "tokens": object{"oauth": []string{}, "bot": []string{botUser}},
	})
	s.revoked = says
	s.back.Change()
}

// Restore takes Revoke back.
func (s *Server) Restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = ""
	s.back.Change()
}

// RevokeApp has the app token no longer accepted, as Revoke does with the bot's; sockets that are open stay so.
func (s *Server) RevokeApp(says string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if says == "" {
		says = "token_revoked"
	}
	s.appGone = says
	s.back.Change()
}

// RemoveScope takes a scope away from the bot token, such as chat:write.
func (s *Server) RemoveScope(scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes = slices.DeleteFunc(s.scopes, func(one string) bool { return one == scope })
	s.back.Change()
}

// AddScope gives a scope to the bot token.
func (s *Server) AddScope(scope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.scopes, scope) {
		s.scopes = append(s.scopes, scope)
	}
	s.back.Change()
}

func allScopes() []string {
	return []string{
		"app_mentions:read", "channels:history", "channels:join", "channels:read", "chat:write", "chat:write.customize",
		"commands", "emoji:read", "files:read", "files:write", "groups:history", "groups:read", "im:history", "im:read",
		"reactions:read", "reactions:write", "users:read",
	}
}

// Messages returns what can be read in a place, the oldest first: in the channel itself with an empty threadTS, else the
// parent, if it is there, and its replies.
func (s *Server) Messages(channelID, threadTS string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channelID]
	if c == nil {
		return nil
	}
	list := c.top
	if threadTS != "" {
		ts, _ := unstamp(threadTS)
		list = nil
		if parent := c.messages[ts]; parent != nil {
			list = append(list, parent)
		}
		list = append(list, c.threads[ts]...)
	}
	out := make([]Message, 0, len(list))
	for _, m := range list {
		out = append(out, s.show(m))
	}
	return out
}

// Message returns a message by its ts, and whether it is there.
func (s *Server) Message(channelID, ts string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channels[channelID]; c != nil {
		if m := c.find(ts); m != nil {
			return s.show(m), true
		}
	}
	return Message{}, false
}

// Parents returns the messages of a channel that are, or could become, the head of a thread, the oldest first: no replies, and
// nothing that Slack itself wrote but tombstones.
func (s *Server) Parents(channelID string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	if c := s.channels[channelID]; c != nil {
		for _, m := range c.top {
			system := strings.HasPrefix(m.subtype, "channel_") || strings.HasPrefix(m.subtype, "group_")
			if m.thread == 0 && !system {
				out = append(out, s.show(m))
			}
		}
	}
	return out
}

// Ephemerals returns the messages of a channel that one user alone can see, the oldest first.
func (s *Server) Ephemerals(channelID, user string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	if c := s.channels[channelID]; c != nil {
		for _, m := range c.ephemeral {
			if m.more.to == user {
				out = append(out, s.show(m))
			}
		}
	}
	return out
}

// Files returns the files of the workspace that are there, by their ids.
func (s *Server) Files() []File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []File
	for _, id := range slices.Sorted(maps.Keys(s.files)) {
		if f := s.files[id]; f.ready && !f.Deleted {
			out = append(out, f.show())
		}
	}
	return out
}
