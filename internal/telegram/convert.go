package telegram

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
	"github.com/pocketping/bridge/internal/words"
)

// update is what is read of one of Telegram's updates. Fields whose mere presence tells something stay raw: nothing that
// Telegram adds to them can make an update unreadable.
type update struct {
	Message  *message        `json:"message"`
	Edited   *message        `json:"edited_message"`
	Reaction *reactionUpdate `json:"message_reaction"`
	Member   *memberUpdate   `json:"my_chat_member"`
	Press    *callbackQuery  `json:"callback_query"`
}

// reactionUpdate is a change of one person's reactions to a message. It does not tell the message's topic.
type reactionUpdate struct {
	Chat    chat              `json:"chat"`
	Message int64             `json:"message_id"`
	Date    int64             `json:"date"` // Unix seconds
	User    *user             `json:"user"`
	Actor   *chat             `json:"actor_chat"` // in place of the user, of an anonymous administrator
	Old     []json.RawMessage `json:"old_reaction"`
	New     []json.RawMessage `json:"new_reaction"`
}

type memberUpdate struct {
	Chat chat `json:"chat"`
	New  struct {
		Status string `json:"status"`
	} `json:"new_chat_member"`
}

type chat struct {
	ID      int64  `json:"id"`
	Type    string `json:"type"` // private, group, supergroup or channel
	Title   string `json:"title"`
	IsForum bool   `json:"is_forum"`
}

type user struct {
	ID              int64  `json:"id"`
	IsBot           bool   `json:"is_bot"`
	FirstName       string `json:"first_name"`
	LastName        string `json:"last_name"`
	Username        string `json:"username"`
	TopicsInPrivate bool   `json:"has_topics_enabled"` // of getMe
}

type message struct {
	ID              int64    `json:"message_id"`
	ThreadID        int64    `json:"message_thread_id"` // also set by replies outside topics
	InTopic         bool     `json:"is_topic_message"`
	Chat            chat     `json:"chat"`
	From            *user    `json:"from"`
	SenderChat      *chat    `json:"sender_chat"`
	Signature       string   `json:"author_signature"`
	AutoForward     bool     `json:"is_automatic_forward"`
	Album           string   `json:"media_group_id"`
	ReplyTo         *replied `json:"reply_to_message"`
	Quote           *quoted  `json:"quote"`
	MovedTo         int64    `json:"migrate_to_chat_id"`
	MovedFrom       int64    `json:"migrate_from_chat_id"`
	Date            int64    `json:"date"`      // Unix seconds
	EditDate        int64    `json:"edit_date"` // likewise
	Text            string   `json:"text"`
	Caption         string   `json:"caption"`
	Entities        []entity `json:"entities"`
	CaptionEntities []entity `json:"caption_entities"`

	Photo     media `json:"photo"` // also of a live photo
	Video     media `json:"video"`
	VideoNote media `json:"video_note"`
	Animation media `json:"animation"`
	Voice     media `json:"voice"`
	Audio     media `json:"audio"`
	Document  media `json:"document"`
	Sticker   media `json:"sticker"`

	TopicEdited *struct {
		Name string `json:"name"` // empty: it is what it was
	} `json:"forum_topic_edited"`

	Forwarded json.RawMessage `json:"forward_origin"`
	ForwardAt json.RawMessage `json:"forward_date"` // of servers older than Bot API 7.0
	LivePhoto json.RawMessage `json:"live_photo"`
	PaidMedia json.RawMessage `json:"paid_media"`
	Story     json.RawMessage `json:"story"`
	Rich      json.RawMessage `json:"rich_message"`
	Giveaway  json.RawMessage `json:"giveaway"`
	Winners   json.RawMessage `json:"giveaway_winners"`
	Invoice   *titled         `json:"invoice"`
	Game      *titled         `json:"game"`
	Checklist *checklist      `json:"checklist"`
	Contact   *contact        `json:"contact"`
	Dice      *dice           `json:"dice"`
	Poll      *poll           `json:"poll"`
	Venue     *venue          `json:"venue"`
	Location  *location       `json:"location"`
}

type replied struct {
	ID           int64           `json:"message_id"`
	From         *user           `json:"from"`
	TopicCreated json.RawMessage `json:"forum_topic_created"`
}

// quoted is the part of a message that a reply to it means.
type quoted struct {
	Position int `json:"position"` // UTF-16 units
}

type entity struct {
	Type   string `json:"type"`
	Offset int    `json:"offset"`
	Length int    `json:"length"` // UTF-16 units; a command's characters are all of one
	URL    string `json:"url"`    // of a text_link
}

type titled struct {
	Title string `json:"title"`
}

type checklist struct {
	Title string   `json:"title"`
	Tasks []listed `json:"tasks"`
}

// listed is an item of a checklist, or an answer of a poll.
type listed struct {
	Text string `json:"text"`
}

type contact struct {
	Phone     string `json:"phone_number"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
}

type dice struct {
	Emoji string `json:"emoji"`
	Value int    `json:"value"`
}

type poll struct {
	Question string   `json:"question"`
	Options  []listed `json:"options"`
}

type venue struct {
	Title   string `json:"title"`
	Address string `json:"address"`
}

type location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Live      int64   `json:"live_period"` // seconds for which it follows its sender; edits tell where to
}

// view is what must be known to read an update.
type view struct {
	chats    map[int64]bool // the operators' chat, and the ids that it had or will have
	me       user           // the bot; the zero user while it is not known
	testBots map[string]bool
	now      time.Time
}

// converted is an update in the bridge's words, and what else it told.
type converted struct {
	bridge.Update
	movedTo int64  // the chat's new id, or 0
	member  string // the bot's new status in the chat, or empty
	strange int64  // the supergroup that it is from, if that is not the operators' chat as far as is known; or 0
}

// updateID reads an update's id alone.
func updateID(raw json.RawMessage) (int64, bool) {
	var u struct {
		ID *int64 `json:"update_id"`
	}
	if json.Unmarshal(raw, &u) != nil || u.ID == nil || *u.ID < 0 {
		return 0, false
	}
	return *u.ID, true
}

// nothing is an update that needs no attention.
func nothing(id int64, now time.Time) bridge.Update {
	n := strconv.FormatInt(id, 10)
	return bridge.Update{ID: "telegram:" + n, Cursor: n + " " + strconv.FormatInt(now.Unix(), 10)}
}

// convert turns the update with the given id into the bridge's words. What is nothing that a person did in the operators' chat
// is UpdateNothing: other chats, bots, service messages, reactions taken back. An error means that it could not be read.
func convert(raw json.RawMessage, id int64, v view) (converted, error) {
	var u update
	err := json.Unmarshal(raw, &u)
	if _, partly := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !partly {
		return converted{Update: nothing(id, v.now)}, err
	}
	// A field of another type than it should have is left out; the rest may still make a message.
	out := interpret(&u, id, v)
	if out.Kind != bridge.UpdateNothing {
		err = nil
	}
	return out, err
}

func interpret(u *update, id int64, v view) converted {
	out := converted{Update: nothing(id, v.now)}
	if u.Member != nil && v.chats[u.Member.Chat.ID] {
		out.member = u.Member.New.Status
	}
	switch {
	case u.Message != nil && u.Message.TopicEdited != nil:
		out.fromRename(u.Message, v)
	case u.Message != nil:
		if out.fromMessage(u.Message, v) {
			out.Kind = bridge.UpdateMessage
			out.name("message", u.Message.Chat, u.Message.ID, u.Message.Date)
		}
	case u.Edited != nil:
		// A location changes by itself alone, with every move of whoever shares it.
		if moves := u.Edited.Location != nil && u.Edited.Venue == nil; !moves && out.fromMessage(u.Edited, v) {
			out.Kind, out.Edited = bridge.UpdateEdit, v.now
			if u.Edited.EditDate > 0 {
				out.Edited = time.Unix(u.Edited.EditDate, 0).UTC()
			}
			now := []string{out.Text}
			for _, f := range out.Files {
				now = append(now, f.ID)
			}
			out.name("edit", u.Edited.Chat, u.Edited.ID, u.Edited.EditDate, now...)
		}
	case u.Reaction != nil:
		out.fromReaction(u.Reaction, v)
	case u.Press != nil:
		out.fromPress(u.Press, v)
	}
	return out
}

// fromMessage takes over what a person wrote, and says whether it is that.
func (out *converted) fromMessage(m *message, v view) bool {
	switch {
	case v.chats[m.Chat.ID] && m.MovedTo != 0:
		out.movedTo = m.MovedTo
		return false
	case v.chats[m.MovedFrom] && m.MovedFrom != 0:
		out.movedTo = m.Chat.ID
		return false
	case !v.chats[m.Chat.ID]:
		out.noteOtherChat(m.Chat)
		return false
	case m.AutoForward, m.ID <= 0:
		return false
	}
	author, ok := authorOf(m.From, m.SenderChat, m.Chat, m.Signature, v)
	if !ok {
		return false
	}
	c, ok := contentOf(m)
	if !ok {
		return false
	}
	if there(m.Forwarded) || there(m.ForwardAt) {
		// What somebody else said is no command of whoever passes it on.
		c.text, c.entities = platform.Joined(" ", "[forwarded]", c.text), nil
	}
	name, args, other, isCommand := command(c.text, c.entities, v.me.Username)
	if other {
		return false
	}

	out.Thread, out.Flat = placeOfMessage(m, v)
	out.Message = messageID(m.Chat.ID, m.ID)
	if r := m.ReplyTo; r != nil && r.ID > 0 && len(r.TopicCreated) == 0 && (!m.InTopic || r.ID != m.ThreadID) {
		out.ReplyTo, out.ReplyToNumber = messageID(m.Chat.ID, r.ID), r.ID
		if m.Quote != nil {
			out.Quotes, out.ReplyAt = true, m.Quote.Position
		}
	}
	out.Author, out.Text, out.Files, out.Album, out.Hint = author, c.text, c.files, m.Album, c.hint
	if isCommand {
		out.Command = &bridge.Command{Name: name, Args: args}
	}
	return true
}

// fromRename takes over the name that a person gave a topic.
func (out *converted) fromRename(m *message, v view) {
	author, ok := authorOf(m.From, m.SenderChat, m.Chat, m.Signature, v)
	if !ok || !v.chats[m.Chat.ID] || !m.InTopic || m.TopicEdited.Name == "" {
		return
	}
	out.Kind, out.Author, out.Text = bridge.UpdateRename, author, m.TopicEdited.Name
	out.Thread, _ = placeOfMessage(m, v)
	out.name("rename", m.Chat, m.ID, m.Date)
}

// fromReaction takes over a person's new reaction. One that is taken back is none, and neither is a bot's.
func (out *converted) fromReaction(r *reactionUpdate, v view) {
	if !v.chats[r.Chat.ID] {
		out.noteOtherChat(r.Chat)
		return
	}
	added := slices.ContainsFunc(r.New, func(n json.RawMessage) bool {
		return !slices.ContainsFunc(r.Old, func(o json.RawMessage) bool { return string(o) == string(n) })
	})
	author, ok := authorOf(r.User, r.Actor, r.Chat, "", v)
	if !added || !ok || r.Message <= 0 {
		return
	}
	out.Kind, out.Author, out.Message = bridge.UpdateReaction, author, messageID(r.Chat.ID, r.Message)
	out.name("reaction", r.Chat, r.Message, r.Date, author.ID)
}

// name says when something was done, and names it as every bot in the chat would. In a supergroup all are told of the same message
// ids; elsewhere each bot has its own.
func (out *converted) name(kind string, c chat, message, date int64, more ...string) {
	if date <= 0 {
		return
	}
	out.At = time.Unix(date, 0).UTC()
	if c.Type == "supergroup" {
		out.Act = fmt.Sprintf("%s %d %d %d %q", kind, c.ID, message, date, more)
	}
}

// noteOtherChat notes a chat that is not the operators' as far as is known.
func (out *converted) noteOtherChat(c chat) {
	if c.Type == "supergroup" {
		out.strange = c.ID
	}
}

// placeOfMessage returns where a message was written. A place is flat when its chat has no topics; so is the General topic
// for a reply to the bot, since that is where the sessions go on that began before the topics were turned on.
func placeOfMessage(m *message, v view) (thread bridge.ThreadID, flat bool) {
	if m.InTopic && m.ThreadID > 0 {
		return topicThread(m.Chat.ID, m.ThreadID), false
	}
	flat = !m.Chat.IsForum
	if m.Chat.Type == "private" {
		flat = !v.me.TopicsInPrivate
	}
	if r := m.ReplyTo; r != nil && r.From != nil && r.From.ID == v.me.ID && v.me.ID != 0 {
		flat = true
	}
	return generalThread(m.Chat.ID), flat
}

// authorOf returns who did something, a user or in the name of a chat; ok is false for those who are no operators: bots, and the
// bridge itself.
func authorOf(u *user, s *chat, where chat, signature string, v view) (a bridge.Author, ok bool) {
	if s != nil {
		// Telegram puts a fake bot into from. The group itself stands for its anonymous administrators, another chat for a
		// person who writes in its name.
		if s.ID == where.ID {
			return bridge.Author{ID: "anonymous", Name: platform.FirstOf(signature, bridge.Nameless)}, true
		}
		return bridge.Author{ID: strconv.FormatInt(s.ID, 10), Name: platform.FirstOf(s.Title, signature, bridge.Nameless)}, true
	}
	if u == nil || u.ID == 0 || u.ID == v.me.ID {
		return bridge.Author{}, false
	}
	id := strconv.FormatInt(u.ID, 10)
	if u.IsBot && !v.testBots[id] {
		return bridge.Author{}, false
	}
	return bridge.Author{
		ID: id, Name: platform.FirstOf(u.FirstName+" "+u.LastName, u.Username, bridge.Nameless), Handle: u.Username,
	}, true
}

// content is what a message says.
type content struct {
	text     string
	entities []entity // Telegram's marks in the text; only a command's, at its beginning, are in their place
	files    []bridge.Attachment
	hint     string // see bridge.Update
}

// contentOf returns what was typed, exactly but for links, and the files, or a line that says what was sent instead. ok is false
// for service messages, and for kinds of messages that this adapter has never heard of: the two cannot be told apart.
func contentOf(m *message) (c content, ok bool) {
	text, entities := m.Text, m.Entities
	if text == "" {
		text, entities = m.Caption, m.CaptionEntities
	}
	c.text, c.entities = withLinks(text, entities), entities
	label, say := "", words.Get()
	if kind, f, found := fileOf(m); found {
		switch {
		case f.ID == "":
			label = platform.Bracketed(kind.label, f.Name)
		case f.Size > maxDownload:
			label = say.TooBig.With(platform.Joined(": ", kind.label, f.Name), platform.SizeOf(f.Size))
			c.hint = say.FileTooBigForBot
			if c.text != "" {
				c.text += "\n" + label
			}
		default:
			c.files = []bridge.Attachment{attachment(kind, f, m.ID)}
		}
		if label == "" || f.ID == "" {
			label = platform.FirstOf(f.Emoji, label)
		}
	} else {
		label = labelOf(m)
		switch label {
		case say.PaidMedia, say.Story, say.Formatted, say.PhotoOnly, say.Giveaway:
			c.hint = say.VisitorSeesNoMore.With(label)
		}
		if m.Location != nil && m.Location.Live > 0 {
			c.hint = say.LiveLocation
		}
	}
	if c.text == "" {
		c.text, c.entities = label, nil
	}
	return c, c.text != "" || len(c.files) > 0
}

// labelOf returns a line that stands for a message without a text or a file, or nothing.
func labelOf(m *message) string {
	label, say := "", words.Get()
	switch {
	case m.Venue != nil: // has a location too
		label = platform.Bracketed(say.Place, platform.Joined(", ", m.Venue.Title, m.Venue.Address))
	case m.Location != nil:
		label = say.Named.With(say.Location, fmt.Sprintf("%.6f, %.6f", m.Location.Latitude, m.Location.Longitude))
	case m.Contact != nil:
		label = platform.Bracketed(say.Contact, platform.Joined(", ", platform.Joined(" ", m.Contact.FirstName, m.Contact.LastName), m.Contact.Phone))
	case m.Poll != nil:
		label = listOf(say.Poll, m.Poll.Question, m.Poll.Options)
	case m.Checklist != nil:
		label = listOf(say.Checklist, m.Checklist.Title, m.Checklist.Tasks)
	case m.Dice != nil:
		label = strings.TrimSpace(m.Dice.Emoji + " " + strconv.Itoa(m.Dice.Value))
	case m.Game != nil:
		label = platform.Bracketed(say.Game, m.Game.Title)
	case m.Invoice != nil:
		label = platform.Bracketed(say.Invoice, m.Invoice.Title)
	case there(m.PaidMedia):
		label = say.PaidMedia
	case there(m.Story):
		label = say.Story
	case there(m.Rich):
		label = platform.FirstOf(richText(m.Rich), say.Formatted)
	case there(m.LivePhoto):
		label = say.PhotoOnly
	case there(m.Giveaway), there(m.Winners):
		label = say.Giveaway
	}
	return label
}

func listOf(what, title string, items []listed) string {
	var texts []string
	for _, one := range items {
		texts = append(texts, one.Text)
	}
	return platform.Bracketed(what, platform.Joined(" ", title, platform.InBrackets(strings.Join(texts, " / "))))
}

func there(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// command reads /name, /name@bot and what follows, behind a blank, at the beginning of a text. other is true for a command of
// another bot. Telegram's own mark of a command counts; where there is none the text is read by Telegram's rule.
func command(text string, entities []entity, username string) (name, args string, other, ok bool) {
	if !strings.HasPrefix(text, "/") {
		return "", "", false, false
	}
	end := commandEnd(text)
	for _, e := range entities {
		if e.Type == "bot_command" && e.Offset == 0 && e.Length > 1 && e.Length <= len(text) && isASCII(text[:e.Length]) {
			end = e.Length
		}
	}
	if end == 0 {
		return "", "", false, false
	}
	name, bot, addressed := strings.Cut(text[1:end], "@")
	if name == "" || name[0]|0x20 < 'a' || name[0]|0x20 > 'z' {
		return "", "", false, false // Telegram takes /5 for a command; people do not
	}
	// While our own name is not known every command counts as ours: it would be lost otherwise.
	if addressed && username != "" && !strings.EqualFold(bot, username) {
		return "", "", true, false
	}
	if next, _ := utf8.DecodeRuneInString(text[end:]); end < len(text) && !unicode.IsSpace(next) {
		return "", "", false, false // /note:text may have been meant as something else
	}
	return strings.ToLower(name), strings.TrimSpace(text[end:]), false, true
}

// commandEnd returns where the command ends with which text begins, 0 when it begins with none: a name of letters, digits
// and underscores, perhaps @ and a bot's name, and then no letter, slash or angle bracket (/usr/bin is no command).
func commandEnd(text string) int {
	end := nameEnd(text, 1)
	if end == 1 || end > 65 {
		return 0
	}
	if end < len(text) && text[end] == '@' {
		if bot := nameEnd(text, end+1); bot > end+1 {
			end = bot
		}
	}
	next, _ := utf8.DecodeRuneInString(text[end:])
	if end < len(text) && (unicode.IsLetter(next) || unicode.IsDigit(next) || strings.ContainsRune("/<>", next)) {
		return 0
	}
	return end
}

// nameEnd returns where the letters, digits and underscores end that stand in a text from a byte on, as in the names of bots and users.
func nameEnd(s string, from int) int {
	for from < len(s) && (s[from] == '_' || s[from] >= '0' && s[from] <= '9' || s[from]|0x20 >= 'a' && s[from]|0x20 <= 'z') {
		from++
	}
	return from
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
