package telegram

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The controls below are the operators' side: what people do in their Telegram apps. One that names a chat, topic, message or
// user that is not there does nothing, returns a zero value, and leaves a fault.

// AddUser makes a person or a bot known and returns it with its id.
func (s *Server) AddUser(u User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.ID == 0 {
		s.lastUser++
		u.ID = s.lastUser
	}
	if u.FirstName == "" {
		u.FirstName = fmt.Sprintf("User %d", u.ID)
	}
	s.users[u.ID] = u
	s.change()
	return u
}

// AddChat makes a chat and returns its id. Ids have the ranges of real ones: supergroups below -10^12, basic groups below 0.
func (s *Server) AddChat(c Chat) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.users[c.User]; c.Kind == Private && !known {
		s.fault(fmt.Sprintf("control: no user %d for a private chat", c.User))
		return 0
	}
	s.addChat(&c)
	return c.ID
}

func (s *Server) addChat(c *Chat) *chat {
	if c.ID == 0 {
		s.lastChat++
		switch c.Kind {
		case Private:
			c.ID = c.User
		case Group:
			c.ID = -4_200_000_000 - s.lastChat
		default:
			c.ID = -1_002_200_000_000 - s.lastChat
		}
	}
	if c.Title == "" && c.Kind != Private {
		c.Title = "Support"
	}
	made := &chat{
		Chat: *c, rights: BotRights{Status: Administrator, ManageTopics: true, DeleteMessages: true},
		topics: make(map[int]*topic), messages: make(map[int]*message),
	}
	if c.Kind != Private {
		made.lastID = 1 // the service message that the group was made
	}
	s.chats[c.ID] = made
	s.change()
	return made
}

// SetBot sets what the bot is and may do in a group, as an administrator of it does; the bot is told by my_chat_member.
func (s *Server) SetBot(chatID int64, rights BotRights) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[chatID]
	if c == nil || c.Kind == Private {
		s.fault(fmt.Sprintf("control: no group %d", chatID))
		return
	}
	before := c.rights
	c.rights = rights
	s.tell("my_chat_member", object{
		"chat": s.wireChat(c), "from": groupAnonymousBot().wire(), "date": time.Now().Unix(),
		"old_chat_member": s.wireMember(c, s.bot, before.Status, before),
		"new_chat_member": s.wireMember(c, s.bot, rights.Status, rights),
	})
	s.change()
}

// Revoke has the token no longer accepted, as /revoke at @BotFather does: every call is answered with 401, one that waits for
// updates too. There is no new token; Restore has the same one accepted again.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = true
	s.endPoll(errUnauthorized())
	s.change()
}

// Restore takes Revoke back.
func (s *Server) Restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = false
	s.change()
}

// Upgrade turns a basic group into a supergroup, as Telegram does by itself when one of many settings is changed, and returns
// the new chat's id. Messages stay in the old one.
func (s *Server) Upgrade(chatID int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.chats[chatID]
	if from == nil || from.Kind != Group || from.movedTo != 0 {
		s.fault(fmt.Sprintf("control: no basic group %d", chatID))
		return 0
	}
	to := s.addChat(&Chat{Kind: Supergroup, Title: from.Title})
	to.rights = from.rights
	to.rights.ManageTopics = false
	from.movedTo = to.ID
	by := groupAnonymousBot()
	s.tellMessage("message", s.service(from, 0, by, "migrate_to_chat_id", to.ID))
	s.tellMessage("message", s.service(to, 0, by, "migrate_from_chat_id", from.ID))
	s.change()
	return to.ID
}

// TurnOnTopics turns a supergroup into a forum.
func (s *Server) TurnOnTopics(chatID int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[chatID]
	if c == nil || !c.supergroup() {
		s.fault(fmt.Sprintf("control: no supergroup %d", chatID))
		return
	}
	c.Kind = Forum
	c.rights.ManageTopics = c.administrator()
	s.change()
}

// Post is a message that somebody other than the bot under test writes.
type Post struct {
	Chat    int64
	Topic   int   // 0: General, or a chat without topics
	User    int64 // who writes; a bot is a user with Bot set
	Text    string
	HTML    bool // Text has markup
	ReplyTo int
	Quote   string // the part of that message that is meant; empty: all of it
	QuoteAt int    // where it stands there, in UTF-16 units
	// Anonymous writes as an anonymous administrator: from is GroupAnonymousBot, the sender is the group. Signature is the
	// administrator's title.
	Anonymous bool
	Signature string
	// Fields are further fields of the message on the wire: a location, a contact, a poll, a service message's field.
	Fields map[string]any
	Album  string // media_group_id

	file *File
	// Service is the name of the service field among Fields, if the message is one.
	Service string
}

// Send writes a message. Bots' messages are told to the bot like people's, so that what sorts them out is put to the test;
// Telegram itself hides them from most bots
// (https://core.telegram.org/bots/faq#why-doesn-39t-my-bot-see-messages-from-other-bots).
func (s *Server) Send(p Post) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[p.Chat]
	user, known := s.users[p.User]
	if p.Anonymous {
		user, known = groupAnonymousBot(), true
	}
	t := s.live(c, p.Topic)
	switch {
	case c == nil || !known:
		s.fault(fmt.Sprintf("control: no chat %d or no user %d", p.Chat, p.User))
		return Message{}
	case p.Topic != 0 && t == nil:
		s.fault(fmt.Sprintf("control: no topic %d in chat %d", p.Topic, p.Chat))
		return Message{}
	case p.ReplyTo != 0 && c.messages[p.ReplyTo] == nil:
		s.fault(fmt.Sprintf("control: no message %d in chat %d", p.ReplyTo, p.Chat))
		return Message{}
	}
	m := &message{
		Message: Message{From: user, Topic: p.Topic, ReplyTo: p.ReplyTo, Quote: p.Quote, QuoteAt: p.QuoteAt, Signature: p.Signature, Service: p.Service},
		chat:    c, anonymous: p.Anonymous, extra: p.Fields,
	}
	m.File, m.Album = p.file, p.Album
	if !s.write(m, p.Text, p.HTML) {
		return Message{}
	}
	if m.File != nil {
		for _, f := range append([]*File{m.File}, m.File.sizes...) {
			s.enter(f)
		}
	}
	s.tellMessage("message", s.add(m))
	s.change()
	return m.show(s.bot.ID)
}

// write gives a message its text. It reports a fault and false if the text cannot be read.
func (s *Server) write(m *message, text string, html bool) bool {
	var entities []Entity
	if html {
		var err error
		if text, entities, err = parseHTML(text); err != nil {
			s.fault("control: " + err.Error())
			return false
		}
	}
	text, entities = tidy(text, entities)
	m.Text, m.Entities = text, s.finder.find(text, entities)
	return true
}

func (s *Server) live(c *chat, id int) *topic {
	if c == nil || c.topics[id] == nil || c.topics[id].gone {
		return nil
	}
	return c.topics[id]
}

// Say writes a text as a user.
func (s *Server) Say(chatID int64, thread int, user int64, text string) Message {
	return s.Send(Post{Chat: chatID, Topic: thread, User: user, Text: text})
}

// Reply replies to a message where it is.
func (s *Server) Reply(to Message, user int64, text string) Message {
	return s.Send(Post{Chat: to.Chat, Topic: to.Topic, User: user, Text: text, ReplyTo: to.ID})
}

// Edit gives a message of a user another text, or its file another caption; the bot is told by edited_message.
func (s *Server) Edit(m Message, text string) Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[m.Chat]
	if c == nil || c.messages[m.ID] == nil || c.messages[m.ID].Own {
		s.fault(fmt.Sprintf("control: no message %d of a user in chat %d", m.ID, m.Chat))
		return Message{}
	}
	edited := c.messages[m.ID]
	if !s.write(edited, text, false) {
		return Message{}
	}
	edited.edited = time.Now()
	s.tellMessage("edited_message", edited)
	s.change()
	return edited.show(s.bot.ID)
}

// changeMessage changes a message of a user; the bot is told by edited_message.
func (s *Server) changeMessage(m Message, do func(*message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[m.Chat]
	if c == nil || c.messages[m.ID] == nil || c.messages[m.ID].Own {
		s.fault(fmt.Sprintf("control: no message %d of a user in chat %d", m.ID, m.Chat))
		return
	}
	changed := c.messages[m.ID]
	do(changed)
	changed.edited = time.Now()
	s.tellMessage("edited_message", changed)
	s.change()
}

// Move moves a live location: a message with the field location, which has a live_period
// (https://core.telegram.org/bots/api#editmessagelivelocation; each move is an edited_message).
func (s *Server) Move(m Message, latitude, longitude float64) {
	s.changeMessage(m, func(m *message) {
		place := maps.Clone(m.extra)
		place["location"] = object{"latitude": latitude, "longitude": longitude, "live_period": 900}
		m.extra = place
	})
}

// Remove deletes a message by hand. Bots are not told.
func (s *Server) Remove(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.chats[m.Chat]; c != nil {
		delete(c.messages, m.ID)
		s.change()
	}
}

// Backdate makes a message older than it is.
func (s *Server) Backdate(m Message, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.chats[m.Chat]; c != nil && c.messages[m.ID] != nil {
		c.messages[m.ID].Date = c.messages[m.ID].Date.Add(-by)
		return
	}
	s.fault(fmt.Sprintf("control: no message %d in chat %d", m.ID, m.Chat))
}

// React sets a user's reactions to a message. The bot is told if it is an administrator and asked for message_reaction; the
// update does not say in which topic the message is.
func (s *Server) React(m Message, user int64, emoji ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[m.Chat]
	if c == nil || c.messages[m.ID] == nil {
		s.fault(fmt.Sprintf("control: no message %d in chat %d", m.ID, m.Chat))
		return
	}
	at := c.messages[m.ID]
	wire := func(list []string) []object {
		out := make([]object, 0, len(list))
		for _, one := range list {
			out = append(out, object{"type": "emoji", "emoji": one})
		}
		return out
	}
	before := wire(at.reactions[user])
	at.react(user, emoji)
	if c.administrator() {
		s.tell("message_reaction", object{
			"chat": s.wireChat(c), "message_id": m.ID, "user": s.users[user].wire(), "date": time.Now().Unix(),
			"old_reaction": before, "new_reaction": wire(emoji),
		})
	}
	s.change()
}

// OpenTopic makes a topic by hand.
func (s *Server) OpenTopic(chatID, user int64, name string) Topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[chatID]
	if c == nil || !c.hasTopics(s) {
		s.fault(fmt.Sprintf("control: no forum %d", chatID))
		return Topic{}
	}
	return s.openTopic(c, s.users[user], cleanName(name, maxTopicName), 7322096).Topic
}

// RenameTopic renames a topic by hand.
func (s *Server) RenameTopic(chatID int64, thread int, user int64, name string) {
	s.byHand(chatID, thread, func(c *chat, t *topic) {
		s.renameTopic(c, t, s.users[user], cleanName(name, maxTopicName))
	})
}

// CloseTopic closes a topic by hand.
func (s *Server) CloseTopic(chatID int64, thread int, user int64) {
	s.byHand(chatID, thread, func(c *chat, t *topic) { s.closeTopic(c, t, s.users[user], true) })
}

// DeleteTopic deletes a topic with its messages by hand. Bots are not told; says is how they find out.
func (s *Server) DeleteTopic(chatID int64, thread int, says Gone) {
	s.byHand(chatID, thread, func(c *chat, t *topic) { s.removeTopic(c, t, says) })
}

func (s *Server) byHand(chatID int64, thread int, do func(*chat, *topic)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.chats[chatID]
	t := s.live(c, thread)
	if t == nil {
		s.fault(fmt.Sprintf("control: no topic %d in chat %d", thread, chatID))
		return
	}
	do(c, t)
}

// PushUpdate puts an update of any form into the queue and returns its id: kinds that the sandbox has no control for, or what
// no client can read.
func (s *Server) PushUpdate(fields map[string]any) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	update := make(object, len(fields)+1)
	maps.Copy(update, fields)
	return s.push(update)
}

// Pending returns how many updates the bot has not confirmed.
func (s *Server) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbox.expire(time.Now())
	return len(s.inbox.queue)
}

// Polling says whether a getUpdates of the bot's waits for updates.
func (s *Server) Polling() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox.poll != nil
}

// Webhook returns the URL that updates are posted to, or nothing.
func (s *Server) Webhook() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inbox.hook == nil {
		return ""
	}
	return s.inbox.hook.url
}

// Topics returns a chat's topics, the oldest first, without General.
func (s *Server) Topics(chatID int64) []Topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Topic
	if c := s.chats[chatID]; c != nil {
		for _, id := range slices.Sorted(maps.Keys(c.topics)) {
			if t := c.topics[id]; !t.gone {
				out = append(out, t.Topic)
			}
		}
	}
	return out
}

// Messages returns the messages of a topic, the oldest first, service messages among them; topic 0 is General, and all there is
// in a chat without topics.
func (s *Server) Messages(chatID int64, topic int) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	if c := s.chats[chatID]; c != nil {
		for _, m := range c.inTopic(topic) {
			out = append(out, m.show(s.bot.ID))
		}
	}
	return out
}

// Commands returns the bot's command menu of a scope, such as default or all_group_chats.
func (s *Server) Commands(scope string) []BotCommand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands[scope])
}
