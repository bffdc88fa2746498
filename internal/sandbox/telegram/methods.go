package telegram

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// run gives a call its effect and returns its result.
func (s *Server) run(ctx context.Context, method string, p params, files map[string]*File) (any, error) {
	switch method {
	case "getUpdates":
		return s.getUpdates(ctx, p)
	case "setWebhook":
		return s.setWebhook(p, false)
	case "deleteWebhook":
		return s.setWebhook(p, true)
	case "file":
		return s.download(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.change()
	switch method {
	case "getMe":
		return s.getMe(), nil
	case "getWebhookInfo":
		return s.getWebhookInfo(), nil
	case "getChat":
		return s.getChat(p)
	case "getChatMember":
		return s.getChatMember(p)
	case "sendMessage":
		return s.sendMessage(p)
	case "sendPhoto":
		return s.sendOne("photo", p, files)
	case "sendDocument":
		return s.sendOne("document", p, files)
	case "sendMediaGroup":
		return s.sendMediaGroup(p, files)
	case "getFile":
		return s.getFile(p)
	case "editMessageText":
		return s.editMessageText(p)
	case "editMessageCaption":
		return s.editMessageCaption(p)
	case "deleteMessage":
		return s.deleteMessage(p)
	case "createForumTopic":
		return s.createForumTopic(p)
	case "editForumTopic":
		return s.editForumTopic(p)
	case "closeForumTopic":
		return s.toggleForumTopic(p, true)
	case "reopenForumTopic":
		return s.toggleForumTopic(p, false)
	case "deleteForumTopic":
		return s.deleteForumTopic(p)
	case "sendChatAction":
		return s.sendChatAction(p)
	case "setMessageReaction":
		return s.setMessageReaction(p)
	case "setMyCommands":
		return s.setMyCommands(p)
	case "answerCallbackQuery":
		return s.answerCallbackQuery(p)
	}
	return nil, &refusal{code: http.StatusNotFound, text: "Not Found"}
}

func (s *Server) getMe() object {
	o := s.bot.wire()
	o["can_join_groups"] = true
	o["can_read_all_group_messages"] = s.options.ReadsAll
	for _, name := range []string{
		"supports_guest_queries", "supports_inline_queries", "can_connect_to_business", "has_main_web_app",
		"allows_users_to_create_topics", "can_manage_bots", "supports_join_request_queries",
	} {
		o[name] = false
	}
	o["has_topics_enabled"] = s.options.PrivateTopics
	return o
}

// access is what a call wants of a chat: AccessRights of the Bot API server.
type access int

const (
	read access = iota
	edit
	write
)

// chatOf finds the chat that a call names, and refuses it in the order and words of check_chat and check_chat_access
// (Client.cpp).
func (s *Server) chatOf(id string, want access) (*chat, error) {
	if id == "" {
		return nil, badRequest("chat_id is empty")
	}
	var c *chat
	if name, ok := strings.CutPrefix(id, "@"); ok {
		for _, one := range s.chats {
			if one.supergroup() && strings.EqualFold(one.Username, name) {
				c = one
			}
		}
	} else if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		c = s.chats[n]
	}
	if c == nil {
		return nil, badRequest("chat not found")
	}
	forbidden := func(text string) (*chat, error) {
		return nil, &refusal{code: http.StatusForbidden, text: "Forbidden: " + text}
	}
	switch c.Kind {
	case Private:
	case Group:
		switch {
		case c.movedTo != 0 && want == write:
			return nil, &refusal{
				code: http.StatusBadRequest, text: "Bad Request: group chat was upgraded to a supergroup chat", moved: c.movedTo,
			}
		case c.movedTo == 0 && c.rights.Status == Kicked && want != read:
			return forbidden("bot was kicked from the group chat")
		case c.movedTo == 0 && c.rights.Status == Left && want != read:
			return forbidden("bot is not a member of the group chat")
		}
	case Forum, Supergroup:
		switch {
		case c.rights.Status == Kicked:
			return forbidden("bot was kicked from the supergroup chat")
		case c.rights.Status == Left && (want != read || c.Username == ""):
			return forbidden("bot is not a member of the supergroup chat")
		}
	}
	return c, nil
}

// getChatMember tells of the bot itself, which is all that it is asked about here.
func (s *Server) getChatMember(p params) (any, error) {
	c, err := s.chatOf(p["chat_id"], read)
	if err != nil {
		return nil, err
	}
	if p["user_id"] != strconv.FormatInt(s.bot.ID, 10) {
		return nil, fault("the sandbox tells of the bot's own membership alone")
	}
	if c.Kind == Private {
		return s.wireMember(c, s.bot, Member, c.rights), nil
	}
	return s.wireMember(c, s.bot, c.rights.Status, c.rights), nil
}

func (s *Server) getChat(p params) (any, error) {
	c, err := s.chatOf(p["chat_id"], read)
	if err != nil {
		return nil, err
	}
	o := s.wireChat(c)
	o["accent_color_id"], o["max_reaction_count"] = 0, 11
	o["accepted_gift_types"] = object{
		"unlimited_gifts": false, "limited_gifts": false, "unique_gifts": false, "premium_subscription": false,
		"gifts_from_channels": false,
	}
	if c.Kind != Private {
		may := c.rights.Status != Member || !c.rights.Muted
		permissions := object{}
		for _, name := range []string{
			"can_send_messages", "can_send_audios", "can_send_documents", "can_send_photos", "can_send_videos",
			"can_send_video_notes", "can_send_voice_notes", "can_send_polls", "can_send_other_messages",
			"can_add_web_page_previews", "can_invite_users",
		} {
			permissions[name] = may
		}
		permissions["can_change_info"], permissions["can_pin_messages"], permissions["can_manage_topics"] = false, false, false
		o["permissions"] = permissions
	}
	if c.supergroup() {
		o.set("active_usernames", []string{c.Username}, c.Username != "")
		o["has_visible_history"] = true
	}
	return o, nil
}

// textOf reads text, parse_mode and entities.
func (s *Server) textOf(p params) (string, []Entity, error) {
	text := p["text"]
	if text == "" {
		return "", nil, badRequest("message text is empty")
	}
	var entities []Entity
	switch strings.ToLower(p["parse_mode"]) {
	case "", "none":
		var err error
		if entities, err = entitiesOf(p); err != nil {
			return "", nil, err
		}
	case "html":
		var err error
		if text, entities, err = parseHTML(text); err != nil {
			return "", nil, badRequest("can't parse entities: " + err.Error())
		}
	case "markdown", "markdownv2":
		return "", nil, fault("the sandbox does not serve the parse mode %s", p["parse_mode"])
	default:
		return "", nil, badRequest("unsupported parse_mode")
	}
	for i, e := range entities {
		if _, known := s.users[e.UserID]; e.Type == "text_mention" && !known {
			entities[i].Length = 0 // a mention of somebody whom the bot has never met is dropped
		}
	}
	text, entities = tidy(text, entities)
	if text == "" {
		return "", nil, badRequest("text must be non-empty")
	}
	return text, s.finder.find(text, entities), nil
}

// entitiesOf reads the entities parameter. Kinds that Telegram finds by itself are ignored there.
func entitiesOf(p params) ([]Entity, error) {
	var all, entities []Entity
	if err := p.decode("entities", &all); err != nil {
		return nil, err
	}
	for _, e := range all {
		switch e.Type {
		case "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number":
			continue
		case "bold", "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote", "code", "pre":
		case "text_link":
			link, ok := checkedLink(e.URL)
			if !ok {
				continue
			}
			e.URL = link
		default:
			return nil, fault("the sandbox does not serve entities of type %q", e.Type)
		}
		entities = append(entities, e)
	}
	return entities, nil
}

// replyParameters is ReplyParameters, with quotes of plain text.
type replyParameters struct {
	MessageID int             `json:"message_id"`
	ChatID    json.RawMessage `json:"chat_id"`
	AllowNone bool            `json:"allow_sending_without_reply"`
	Quote     string          `json:"quote"`
	Position  int             `json:"quote_position"`
}

// repliedTo finds the message that a call wants to reply to, nil for none (check_reply_parameters in Client.cpp).
func (s *Server) repliedTo(p params, c *chat) (*message, error) {
	var reply replyParameters
	if err := p.decode("reply_parameters", &reply); err != nil || reply.MessageID <= 0 {
		return nil, err
	}
	from := c
	if id := strings.Trim(string(reply.ChatID), `"`); id != "" && id != p["chat_id"] {
		var err error
		if from, err = s.chatOf(id, read); err != nil {
			return nil, err
		}
	}
	m := from.messages[reply.MessageID]
	if m == nil && !reply.AllowNone {
		return nil, badRequest("message to be replied not found")
	}
	if m != nil && reply.Quote != "" && !strings.Contains(m.Text, reply.Quote) {
		return nil, badRequest("QUOTE_TEXT_INVALID") // "exact substring of the message to be replied to": ReplyParameters.quote
	}
	return m, nil
}

// threadOf returns the topic that a message is to go to, nil for none. Only a topic's id will do: neither General's 1 nor the
// root of a chain of replies is a thread to write to.
func (s *Server) threadOf(p params, c *chat, replied *message) (*topic, error) {
	id := p.number("message_thread_id", 0)
	if id == 0 {
		// A reply without a thread goes where the replied message is.
		if replied != nil && replied.chat == c {
			return c.topics[replied.Topic], nil
		}
		return nil, nil
	}
	t := c.topics[id]
	if t == nil || !c.hasTopics(s) {
		return nil, badRequest("message thread not found")
	}
	if !t.gone {
		return t, nil
	}
	switch t.says {
	case GoneDeleted:
		return nil, badRequest("TOPIC_DELETED")
	case GoneSilent:
		return nil, nil
	default:
		return nil, badRequest("message thread not found")
	}
}

// place is where a message is to go.
type place struct {
	chat    *chat
	topic   *topic
	replied *message
}

// destination finds where a call wants to send to.
func (s *Server) destination(p params) (at place, err error) {
	if at.chat, err = s.chatOf(p["chat_id"], write); err != nil {
		return at, err
	}
	if at.replied, err = s.repliedTo(p, at.chat); err != nil {
		return at, err
	}
	at.topic, err = s.threadOf(p, at.chat, at.replied)
	return at, err
}

// admit says whether the bot may send something there.
func (s *Server) admit(at place, what string) error {
	if at.chat.rights.Status == Member && at.chat.rights.Muted {
		return badRequest("not enough rights to send " + what + " to the chat")
	}
	if at.topic != nil && at.topic.Closed && (s.options.RefuseClosed || !s.manages(at.chat, at.topic)) {
		return badRequest("TOPIC_CLOSED")
	}
	return nil
}

// put sends a message of the bot's.
func (s *Server) put(at place, p params, m *message) *message {
	m.From, m.Silent, m.chat, m.protected = s.bot, p.is("disable_notification"), at.chat, p.is("protect_content")
	if at.topic != nil {
		m.Topic = at.topic.ID
	}
	if at.replied != nil {
		// A reply to a message of another topic or chat is told as an external one.
		if at.replied.chat == at.chat && at.replied.Topic == m.Topic {
			m.ReplyTo = at.replied.ID
			var reply replyParameters
			if err := p.decode("reply_parameters", &reply); err == nil {
				m.Quote, m.QuoteAt = reply.Quote, reply.Position
			}
		} else {
			m.external = at.replied
		}
	}
	return s.add(m)
}

func (s *Server) sendMessage(p params) (any, error) {
	text, entities, err := s.textOf(p)
	if err != nil {
		return nil, err
	}
	at, err := s.destination(p)
	if err != nil {
		return nil, err
	}
	if err := s.checkLength(text); err != nil {
		return nil, err
	}
	if err := s.admit(at, "text messages"); err != nil {
		return nil, err
	}
	rows, err := keyboardOf(p)
	if err != nil {
		return nil, err
	}
	if err := s.pace(at.chat, 1); err != nil {
		return nil, err
	}
	m := &message{Message: Message{Text: text, Entities: entities, Buttons: rows}, preview: json.RawMessage(p["link_preview_options"])}
	return s.wire(s.put(at, p, m), true), nil
}

func (s *Server) checkLength(text string) error {
	if len([]rune(text)) > maxText {
		return badRequest("message is too long")
	}
	return nil
}

// messageOf finds a message by chat_id and message_id (check_message in Client.cpp).
func (s *Server) messageOf(p params, want access, what string) (*message, error) {
	c, err := s.chatOf(p["chat_id"], want)
	if err != nil {
		return nil, err
	}
	m := c.messages[p.number("message_id", 0)]
	if m == nil {
		return nil, badRequest(what + " not found")
	}
	return m, nil
}

func (s *Server) editMessageText(p params) (any, error) {
	text, entities, err := s.textOf(p)
	if err != nil {
		return nil, err
	}
	m, err := s.editable(p)
	if err != nil {
		return nil, err
	}
	if m.File != nil {
		return nil, badRequest("there is no text in the message to edit")
	}
	if err := s.checkLength(text); err != nil {
		return nil, err
	}
	rows, err := keyboardOf(p)
	if err != nil {
		return nil, err
	}
	preview := json.RawMessage(p["link_preview_options"])
	same := slices.EqualFunc(rows, m.Buttons, slices.Equal)
	if text == m.Text && slices.Equal(entities, m.Entities) && string(preview) == string(m.preview) && same {
		return nil, notModified()
	}
	if err := s.pace(m.chat, 1); err != nil {
		return nil, err
	}
	// An edit without reply_markup takes the keyboard away.
	m.Text, m.Entities, m.preview, m.Buttons, m.edited = text, entities, preview, rows, time.Now()
	return s.wire(m, true), nil
}

// editMessageCaption changes what a message says beside its file, or says nothing there any more.
func (s *Server) editMessageCaption(p params) (any, error) {
	now := media{Caption: p["caption"], ParseMode: p["parse_mode"]}
	if err := s.caption(&now); err != nil {
		return nil, err
	}
	m, err := s.editable(p)
	if err != nil {
		return nil, err
	}
	if m.File == nil {
		return nil, badRequest("there is no caption in the message to edit")
	}
	if now.Caption == m.Text && slices.Equal(now.entities, m.Entities) {
		return nil, notModified()
	}
	if err := s.pace(m.chat, 1); err != nil {
		return nil, err
	}
	m.Text, m.Entities, m.edited = now.Caption, now.entities, time.Now()
	return s.wire(m, true), nil
}

// editable finds a message that the bot may edit.
func (s *Server) editable(p params) (*message, error) {
	if p["message_id"] == "" {
		return nil, badRequest("message identifier is not specified")
	}
	m, err := s.messageOf(p, edit, "message to edit")
	if err == nil && (!m.Own || m.Service != "") {
		return nil, badRequest("message can't be edited")
	}
	return m, err
}

func notModified() error {
	return badRequest("message is not modified: specified new message content and reply markup are exactly the same as a " +
		"current content and reply markup of the message")
}

func (s *Server) deleteMessage(p params) (any, error) {
	m, err := s.messageOf(p, write, "message to delete")
	if err != nil {
		return nil, err
	}
	right := m.Own || m.chat.Kind == Private || m.chat.administrator() && (m.chat.rights.DeleteMessages || m.chat.Kind == Group)
	// "A message can only be deleted if it was sent less than 48 hours ago"; "service messages about a supergroup, channel, or
	// forum topic creation can't be deleted".
	if !right || m.Service == "forum_topic_created" || time.Since(m.Date) >= 48*time.Hour {
		return nil, badRequest("message can't be deleted")
	}
	delete(m.chat.messages, m.ID)
	return true, nil
}

// maxTopicName is the most characters of a topic's name: "1-128 characters".
const maxTopicName = 128

// topicName checks a topic's name. The real server cuts a longer one without a word (create_forum_topic in TDLib's
// ForumTopicManager.cpp); the definition does not allow it, so it is a fault here.
func topicName(name string) (string, error) {
	if len([]rune(name)) > maxTopicName {
		return "", fault("the topic's name has %d characters; 1-%d are allowed", len([]rune(name)), maxTopicName)
	}
	name = cleanName(name, maxTopicName)
	if name == "" {
		return "", badRequest("title must be non-empty")
	}
	return name, nil
}

func (s *Server) createForumTopic(p params) (any, error) {
	c, err := s.chatOf(p["chat_id"], write)
	if err != nil {
		return nil, err
	}
	if !c.hasTopics(s) {
		return nil, badRequest("the chat is not a forum")
	}
	if !s.manages(c, nil) {
		return nil, badRequest("not enough rights to create a topic")
	}
	name, err := topicName(p["name"])
	if err != nil {
		return nil, err
	}
	colors := []int{7322096, 16766590, 13338331, 9367192, 16749490, 16478047}
	icon := p.number("icon_color", colors[0])
	if !slices.Contains(colors, icon) {
		return nil, fault("icon_color %d is not one of those listed", icon)
	}
	if err := s.pace(c, 1); err != nil {
		return nil, err
	}
	return s.openTopic(c, s.bot, name, icon).wire(), nil
}

// openTopic makes a topic. Its id is that of the service message that announces it, and the bot is told of that message even if
// it made the topic itself.
func (s *Server) openTopic(c *chat, by User, name string, icon int) *topic {
	m := s.service(c, 0, by, "forum_topic_created", object{"name": name, "icon_color": icon})
	m.Topic, m.root = m.ID, 0
	t := &topic{Topic: Topic{ID: m.ID, Name: name, Creator: by.ID}, icon: icon}
	c.topics[t.ID] = t
	s.tellMessage("message", m)
	s.change()
	return t
}

func (t *topic) wire() object {
	return object{"message_thread_id": t.ID, "name": t.Name, "icon_color": t.icon}
}

// topicOf finds the topic that a call wants to change. A topic that is not there is the Telegram server's TOPIC_ID_INVALID
// (https://core.telegram.org/method/messages.editForumTopic).
func (s *Server) topicOf(p params) (*chat, *topic, error) {
	c, err := s.chatOf(p["chat_id"], write)
	if err != nil {
		return nil, nil, err
	}
	if !c.hasTopics(s) {
		return nil, nil, badRequest("the chat is not a forum")
	}
	t := c.topics[p.number("message_thread_id", 0)]
	if t == nil || t.gone {
		return nil, nil, badRequest("TOPIC_ID_INVALID")
	}
	return c, t, nil
}

func (s *Server) editForumTopic(p params) (any, error) {
	c, t, err := s.topicOf(p)
	if err != nil {
		return nil, err
	}
	if !s.manages(c, t) {
		return nil, badRequest("not enough rights to edit the topic")
	}
	if p["name"] == "" {
		return true, nil // "If not specified or empty, the current name of the topic will be kept"
	}
	name, err := topicName(p["name"])
	if err != nil {
		return nil, err
	}
	if name == t.Name {
		return nil, badRequest("TOPIC_NOT_MODIFIED")
	}
	if err := s.pace(c, 1); err != nil {
		return nil, err
	}
	s.renameTopic(c, t, s.bot, name)
	return true, nil
}

func (s *Server) renameTopic(c *chat, t *topic, by User, name string) {
	t.Name = name
	s.tellMessage("message", s.service(c, t.ID, by, "forum_topic_edited", object{"name": name}))
	s.change()
}

func (s *Server) toggleForumTopic(p params, closed bool) (any, error) {
	c, t, err := s.topicOf(p)
	if err != nil {
		return nil, err
	}
	if c.Kind == Private {
		return nil, badRequest("the chat is not a forum") // closing is for supergroups alone
	}
	if !s.manages(c, t) {
		return nil, badRequest("not enough rights to close or open the topic")
	}
	if t.Closed == closed {
		return nil, badRequest("TOPIC_NOT_MODIFIED")
	}
	if err := s.pace(c, 1); err != nil {
		return nil, err
	}
	s.closeTopic(c, t, s.bot, closed)
	return true, nil
}

// deleteForumTopic is for those who may delete messages; not the right to manage topics counts.
func (s *Server) deleteForumTopic(p params) (any, error) {
	c, t, err := s.topicOf(p)
	if err != nil {
		return nil, err
	}
	if c.rights.Status == Administrator && !c.rights.DeleteMessages || c.rights.Status == Member {
		return nil, badRequest("not enough rights to delete a topic")
	}
	s.removeTopic(c, t, GoneNotFound)
	s.change()
	return true, nil
}

func (s *Server) closeTopic(c *chat, t *topic, by User, closed bool) {
	t.Closed = closed
	name := "forum_topic_reopened"
	if closed {
		name = "forum_topic_closed"
	}
	s.tellMessage("message", s.service(c, t.ID, by, name, object{}))
	s.change()
}

// removeTopic deletes a topic with its messages. Bots are not told of deletions.
func (s *Server) removeTopic(c *chat, t *topic, says Gone) {
	t.gone, t.says = true, says
	for _, m := range c.inTopic(t.ID) {
		delete(c.messages, m.ID)
	}
	s.change()
}

func (s *Server) sendChatAction(p params) (any, error) {
	switch p["action"] {
	case "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice", "upload_document",
		"choose_sticker", "find_location", "record_video_note", "upload_video_note":
	default:
		return nil, badRequest("wrong parameter action in request")
	}
	// The thread is not looked at: the answer is true for a deleted topic too (github.com/tdlib/telegram-bot-api/issues/732).
	if _, err := s.chatOf(p["chat_id"], write); err != nil {
		return nil, err
	}
	return true, nil
}

func (s *Server) setMessageReaction(p params) (any, error) {
	m, err := s.messageOf(p, write, "message to react")
	if err != nil {
		return nil, err
	}
	var reactions []struct {
		Type  string `json:"type"`
		Emoji string `json:"emoji"`
	}
	if err := p.decode("reaction", &reactions); err != nil {
		return nil, err
	}
	if len(reactions) > 1 {
		return nil, badRequest("REACTIONS_TOO_MANY") // "bots can set up to one reaction per message"
	}
	var emoji []string
	for _, r := range reactions {
		if r.Type != "emoji" || !slices.Contains(reactionEmoji(), r.Emoji) {
			return nil, badRequest("REACTION_INVALID")
		}
		emoji = append(emoji, r.Emoji)
	}
	m.react(s.bot.ID, emoji)
	return true, nil
}

func (m *message) react(user int64, emoji []string) {
	if m.reactions == nil {
		m.reactions = make(map[int64][]string)
	}
	m.reactions[user] = emoji
}

// BotCommand is an entry of the bot's command menu.
type BotCommand struct {
	Command     string `json:"command"`
	Description string `json:"description"`
}

func (s *Server) setMyCommands(p params) (any, error) {
	var commands []BotCommand
	if err := p.decode("commands", &commands); err != nil {
		return nil, err
	}
	if len(commands) > 100 {
		return nil, badRequest("BOT_COMMANDS_TOO_MUCH")
	}
	for _, c := range commands {
		invalid := func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }
		if c.Command == "" || len(c.Command) > 32 || strings.ContainsFunc(c.Command, invalid) {
			return nil, badRequest("BOT_COMMAND_INVALID")
		}
		if n := len([]rune(c.Description)); n < 1 || n > 256 {
			return nil, badRequest("BOT_COMMAND_DESCRIPTION_INVALID")
		}
	}
	var scope struct {
		Type   string `json:"type"`
		ChatID any    `json:"chat_id"`
	}
	if err := p.decode("scope", &scope); err != nil {
		return nil, err
	}
	if scope.Type == "" {
		scope.Type = "default"
	}
	s.commands[scope.Type+p["language_code"]] = commands
	return true, nil
}
