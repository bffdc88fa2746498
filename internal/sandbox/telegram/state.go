package telegram

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// User is a person or a bot.
type User struct {
	ID        int64 // 0: the sandbox gives one
	FirstName string
	LastName  string
	Username  string
	Bot       bool
}

// Kind is a kind of chat.
type Kind int

const (
	// Forum is a supergroup with topics.
	Forum Kind = iota
	// Supergroup is one without topics.
	Supergroup
	// Group is a basic group; it has no topics, and becomes a supergroup by Upgrade.
	Group
	// Private is a user's chat with the bot. It has topics if Options.PrivateTopics is on.
	Private
)

// Chat is a chat to be made. In a group the bot begins as an administrator with every right.
type Chat struct {
	ID       int64 // 0: the sandbox gives one of the kind's range; for a private chat it is the user's
	Kind     Kind
	Title    string
	Username string // makes a supergroup public
	User     int64  // of a private chat
}

// The standings of a member, as ChatMember names them.
const (
	Administrator = "administrator"
	Member        = "member"
	Left          = "left"
	Kicked        = "kicked"
)

// BotRights is what the bot may do in a group.
type BotRights struct {
	Status         string // Administrator, Member, Left or Kicked
	ManageTopics   bool   // administrators only
	DeleteMessages bool   // administrators only
	Muted          bool   // members only: the group lets nobody but administrators write
}

// Gone is how the real server speaks of a deleted topic.
type Gone int

const (
	// GoneNotFound is "message thread not found", the common answer.
	GoneNotFound Gone = iota
	// GoneDeleted is "TOPIC_DELETED": the Telegram server's own word, which gets through while the Bot API server still believes
	// in the topic (github.com/TediCross/TediCross/issues/243).
	GoneDeleted
	// GoneSilent sends to the chat outside its topics and says nothing, as private chats did for a time
	// (github.com/tdlib/telegram-bot-api/issues/854). Only the missing message_thread_id of the result tells.
	GoneSilent
)

// Topic is a topic of a forum, as Topics returns it.
type Topic struct {
	ID      int // message_thread_id
	Name    string
	Closed  bool
	Creator int64
}

// Message is a message, as the controls and Messages return it.
type Message struct {
	ID        int
	Chat      int64
	Topic     int // 0: General, or a chat without topics
	From      User
	Signature string // of an anonymous administrator
	Own       bool   // the bot under test sent it
	Text      string // of a file: its caption
	Entities  []Entity
	File      *File
	Album     string // media_group_id
	ReplyTo   int    // the message it replies to; a topic's root is none
	Quote     string // of the message it replies to; empty: all of it is meant
	QuoteAt   int    // where that stands there, in UTF-16 units
	Service   string // the service field it carries, such as forum_topic_created; empty for an ordinary message
	Silent    bool   // sent with disable_notification
	Edited    bool
	Date      time.Time
	Reactions []string   // the bot's
	Buttons   [][]Button // of its inline keyboard, row by row
}

type chat struct {
	Chat
	rights   BotRights
	movedTo  int64 // a basic group that became this supergroup
	lastID   int   // supergroups number their own messages
	topics   map[int]*topic
	messages map[int]*message
	paced    []time.Time // when messages were sent, for the limits
}

type topic struct {
	Topic
	icon int
	gone bool
	says Gone
}

type message struct {
	Message
	chat      *chat
	anonymous bool
	root      int            // outside topics: the message at which its chain of replies begins
	external  *message       // what it replies to in another topic or chat
	extra     map[string]any // further fields on the wire
	protected bool
	edited    time.Time
	preview   json.RawMessage // link_preview_options
	reactions map[int64][]string
}

// groupAnonymousBot is the user in whose name anonymous administrators write ("the field contains a fake sender user in
// non-channel chats", Message.from); its id is group_anonymous_bot_user_id of the Bot API server.
func groupAnonymousBot() User {
	return User{ID: 1087968824, FirstName: "Group", Username: "GroupAnonymousBot", Bot: true}
}

func (c *chat) supergroup() bool { return c.Kind == Forum || c.Kind == Supergroup }

func (c *chat) administrator() bool { return c.Kind == Private || c.rights.Status == Administrator }

func (c *chat) present() bool {
	return c.Kind == Private || c.rights.Status == Administrator || c.rights.Status == Member
}

// manages says whether the bot may edit, close and write to a topic whatever its state: "the bot must be an administrator in
// the chat [...] and must have the can_manage_topics administrator rights, unless it is the creator of the topic".
func (s *Server) manages(c *chat, t *topic) bool {
	return c.administrator() && c.rights.ManageTopics || t != nil && t.Creator == s.bot.ID || c.Kind == Private
}

func (c *chat) hasTopics(s *Server) bool {
	return c.Kind == Forum || c.Kind == Private && s.options.PrivateTopics
}

// add gives the message an id and puts it into its chat. Supergroups number their messages; private chats and basic groups
// share the numbers of the bot's account.
func (s *Server) add(m *message) *message {
	if m.chat.supergroup() {
		m.chat.lastID++
		m.ID = m.chat.lastID
	} else {
		s.lastID++
		m.ID = s.lastID
	}
	m.Chat, m.Date, m.Own = m.chat.ID, time.Now(), m.From.ID == s.bot.ID
	m.chat.messages[m.ID] = m
	if m.Topic == 0 && m.ReplyTo != 0 && m.chat.supergroup() {
		if to := m.chat.messages[m.ReplyTo]; to != nil {
			m.root = to.root
			if m.root == 0 {
				m.root = to.ID
			}
		}
	}
	return m
}

// service adds a service message by a user.
func (s *Server) service(c *chat, topic int, by User, name string, value any) *message {
	return s.add(&message{
		Message: Message{Topic: topic, From: by, Service: name}, chat: c, extra: map[string]any{name: value},
	})
}

// show returns a message for whoever inspects the sandbox.
func (m *message) show(bot int64) Message {
	out := m.Message
	out.Entities = slices.Clone(m.Entities)
	out.Edited = !m.edited.IsZero()
	out.Reactions = slices.Clone(m.reactions[bot])
	return out
}

// inTopic returns the messages of a topic, oldest first.
func (c *chat) inTopic(topic int) []*message {
	var out []*message
	for _, id := range slices.Sorted(maps.Keys(c.messages)) {
		if m := c.messages[id]; m.Topic == topic {
			out = append(out, m)
		}
	}
	return out
}

// object is a JSON object on its way out.
type object map[string]any

// set keeps a field that is not empty.
func (o object) set(name string, value any, there bool) {
	if there {
		o[name] = value
	}
}

func (u User) wire() object {
	o := object{"id": u.ID, "is_bot": u.Bot, "first_name": u.FirstName}
	o.set("last_name", u.LastName, u.LastName != "")
	o.set("username", u.Username, u.Username != "")
	o.set("language_code", "en", !u.Bot)
	return o
}

func (s *Server) wireChat(c *chat) object {
	o := object{"id": c.ID}
	o.set("username", c.Username, c.Username != "")
	switch c.Kind {
	case Private:
		u := s.users[c.User]
		o["type"], o["first_name"] = "private", u.FirstName
		o.set("last_name", u.LastName, u.LastName != "")
		o.set("username", u.Username, u.Username != "")
	case Group:
		o["type"], o["title"] = "group", c.Title
	case Forum:
		o["type"], o["title"], o["is_forum"] = "supergroup", c.Title, true
	case Supergroup:
		o["type"], o["title"] = "supergroup", c.Title
	}
	return o
}

func (s *Server) wireEntities(entities []Entity) []object {
	out := make([]object, 0, len(entities))
	for _, e := range entities {
		o := object{"type": e.Type, "offset": e.Offset, "length": e.Length}
		o.set("url", e.URL, e.URL != "")
		o.set("language", e.Language, e.Language != "")
		o.set("custom_emoji_id", e.EmojiID, e.EmojiID != "")
		o.set("user", s.users[e.UserID].wire(), e.UserID != 0)
		out = append(out, o)
	}
	return out
}

// wire returns a message as the Bot API shows it. A replied message is shown without its own reply ("the Message object in this
// field will not contain further reply_to_message fields even if it itself is a reply").
func (s *Server) wire(m *message, withReply bool) object {
	o := object{"message_id": m.ID, "date": m.Date.Unix(), "chat": s.wireChat(m.chat), "from": m.From.wire()}
	if m.anonymous {
		o["sender_chat"] = s.wireChat(m.chat)
		o.set("author_signature", m.Signature, m.Signature != "")
	}
	switch {
	case m.Topic != 0:
		o["message_thread_id"], o["is_topic_message"] = m.Topic, true
	case m.root != 0:
		// In a supergroup, and in a forum's General, a reply names the root of its chain of replies as its thread although that is
		// no topic, and no message can be sent to it (github.com/tdlib/telegram-bot-api/issues/356).
		o["message_thread_id"] = m.root
	}
	if withReply {
		to := m.ReplyTo
		if to == 0 && m.Topic != m.ID {
			// A topic's messages that reply to nothing else carry its root as the message they reply to
			// (get_same_chat_reply_to_message_id in the Bot API server's Client.cpp falls back to the thread).
			to = m.Topic
		}
		if replied := m.chat.messages[to]; replied != nil && to != 0 {
			o["reply_to_message"] = s.wire(replied, false)
		}
		o.set("quote", object{"text": m.Quote, "position": m.QuoteAt, "is_manual": true}, m.Quote != "")
		if m.external != nil {
			o["external_reply"] = object{
				"origin":     object{"type": "user", "date": m.external.Date.Unix(), "sender_user": m.external.From.wire()},
				"chat":       s.wireChat(m.external.chat),
				"message_id": m.external.ID,
			}
		}
	}
	o.set("edit_date", m.edited.Unix(), !m.edited.IsZero())
	o.set("has_protected_content", true, m.protected)
	text, entities := m.textFields()
	o.set(text, m.Text, m.Text != "")
	o.set(entities, s.wireEntities(m.Entities), len(m.Entities) > 0)
	o.set("media_group_id", m.Album, m.Album != "")
	if m.File != nil {
		m.fileWire(o)
	}
	o.set("link_preview_options", m.preview, len(m.preview) > 0)
	o.set("reply_markup", wireKeyboard(m.Buttons), len(m.Buttons) > 0)
	maps.Copy(o, m.extra)
	return o
}

// wireMember returns a ChatMember.
func (s *Server) wireMember(c *chat, u User, status string, rights BotRights) object {
	o := object{"status": status, "user": u.wire()}
	switch status {
	case Kicked:
		o["until_date"] = 0
	case Administrator:
		o["can_be_edited"], o["is_anonymous"] = false, false
		for _, right := range []string{
			"can_manage_chat", "can_manage_video_chats", "can_restrict_members", "can_promote_members", "can_change_info",
			"can_invite_users", "can_post_stories", "can_edit_stories", "can_delete_stories", "can_pin_messages",
		} {
			o[right] = right != "can_promote_members"
		}
		o["can_delete_messages"] = rights.DeleteMessages
		o.set("can_manage_topics", rights.ManageTopics, c.supergroup()) // "for supergroups only"
	}
	return o
}

// sees says whether the bot is told of a message that somebody else wrote. With the privacy mode on, a bot that is no
// administrator is told of commands meant for it, of replies to itself and of service messages
// (https://core.telegram.org/bots/features#privacy-mode).
func (s *Server) sees(m *message) bool {
	c := m.chat
	switch {
	case !c.present():
		return false
	case c.administrator() || s.options.ReadsAll || m.Service != "":
		return true
	}
	if to := c.messages[m.ReplyTo]; to != nil && to.Own {
		return true
	}
	for _, e := range m.Entities {
		if e.Type == "bot_command" && e.Offset == 0 {
			name, _, _ := strings.Cut(m.Text, " ")
			_, bot, named := strings.Cut(name, "@")
			return !named || strings.EqualFold(bot, s.bot.Username)
		}
	}
	return false
}
