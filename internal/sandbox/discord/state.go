package discord

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// snowflake is an id of Discord's: the milliseconds since the first second of 2015, shifted by 22, and a counter.
type snowflake uint64

// epoch is Discord's, in milliseconds since 1970.
const epoch = 1_420_070_400_000

func (f snowflake) String() string { return strconv.FormatUint(uint64(f), 10) }

func (f snowflake) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// flake reads an id; what is none becomes 0, which names nothing.
func flake(s string) snowflake {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return snowflake(n)
}

// or returns the id, or null for JSON where there is none.
func (f snowflake) or() any {
	if f == 0 {
		return nil
	}
	return f
}

// show returns the id as the controls name it: nothing where there is none.
func (f snowflake) show() string {
	if f == 0 {
		return ""
	}
	return f.String()
}

// newID returns the next id. Ids grow even where the clock stands still, or stands before Discord's epoch as a synctest bubble's
// does. The caller holds the lock.
func (s *Server) newID() snowflake {
	at := snowflake(max(time.Now().UnixMilli()-epoch, 1)) << 22
	s.lastID = max(s.lastID+1, at)
	return s.lastID
}

// User is a person or a bot.
type User struct {
	ID      string // empty: the sandbox gives one
	Name    string // the username
	Display string // global_name, what people see; empty: none
	Nick    string // in the guild
	Bot     bool
	Roles   []string
}

// Shown returns the name that people see.
func (u User) Shown() string {
	switch {
	case u.Nick != "":
		return u.Nick
	case u.Display != "":
		return u.Display
	}
	return u.Name
}

// Kind is the type of a channel, as Discord counts them.
type Kind int

// The kinds of channel that the sandbox knows. Text is the zero value.
const (
	Text               Kind = 0
	Voice              Kind = 2
	Category           Kind = 4
	Announcement       Kind = 5
	AnnouncementThread Kind = 10
	PublicThread       Kind = 11
	PrivateThread      Kind = 12
	Forum              Kind = 15
)

func (k Kind) thread() bool {
	return k == AnnouncementThread || k == PublicThread || k == PrivateThread
}

// Channel is a channel to be made.
type Channel struct {
	ID    string // empty: the sandbox gives one
	Guild string // empty: the first guild
	Kind  Kind
	Name  string
	// Tags are a forum's; RequireTag has each of its posts carry one.
	Tags       []Tag
	RequireTag bool
}

// Tag is a forum's tag.
type Tag struct {
	ID   string // empty: the sandbox gives one
	Name string
	// Moderated tags are for those who may Manage Threads (https://docs.discord.com/developers/resources/channel#forum-tag-object).
	Moderated bool
}

// Thread is a thread or a forum's post, as Threads returns it.
type Thread struct {
	ID          string
	Parent      string
	Name        string
	Owner       string
	Kind        Kind
	Archived    bool
	Locked      bool
	AutoArchive int // minutes
	Tags        []string
	Created     time.Time
	ArchivedAt  time.Time // archive_timestamp: when it was last archived, unarchived, or given another auto_archive_duration
	Last        string    // the last message, which may be deleted
}

// Permission is a set of rights, with Discord's bits.
type Permission uint64

// The permissions that the sandbox looks at.
const (
	AddReactions          Permission = 1 << 6
	ManageChannels        Permission = 1 << 4
	ViewChannel           Permission = 1 << 10
	SendMessages          Permission = 1 << 11
	ManageMessages        Permission = 1 << 13
	EmbedLinks            Permission = 1 << 14
	AttachFiles           Permission = 1 << 15
	ReadMessageHistory    Permission = 1 << 16
	MentionEveryone       Permission = 1 << 17
	ManageWebhooks        Permission = 1 << 29
	ManageThreads         Permission = 1 << 34
	CreatePublicThreads   Permission = 1 << 35
	CreatePrivateThreads  Permission = 1 << 36
	SendMessagesInThreads Permission = 1 << 38
)

const allPermissions = AddReactions | ManageChannels | ViewChannel | SendMessages | ManageMessages | EmbedLinks | AttachFiles |
	ReadMessageHistory | MentionEveryone | ManageWebhooks | ManageThreads | CreatePublicThreads | CreatePrivateThreads |
	SendMessagesInThreads

// The types of message that the sandbox writes, as Discord counts them.
const (
	Ordinary        = 0
	RecipientAdd    = 1 // somebody added somebody else to a thread
	Renamed         = 4 // channel or thread
	Pinned          = 6
	MemberJoined    = 7
	ThreadCreated   = 18 // in the channel above
	ReplyMessage    = 19
	CommandAnswer   = 20
	ThreadStarter   = 21 // the first message of a thread that began at a message
	flagCrossposted = 1 << 0
	flagNoEmbeds    = 1 << 2
	flagHasThread   = 1 << 5
	flagEphemeral   = 1 << 6
	flagLoading     = 1 << 7
	flagSilent      = 1 << 12
)

// Message is a message, as the controls and Messages return it.
type Message struct {
	ID        string
	Channel   string // the channel or thread where it is
	Author    User   // of a webhook's message: the webhook, with the name that the message gave it
	Webhook   string // the webhook that wrote it
	Own       bool   // the bot under test wrote it, itself or by a webhook of its own
	Kind      int
	Text      string
	Embeds    []Embed
	Files     []File
	ReplyTo   string
	Thread    string // the thread that began at it
	Reactions []Reaction
	Pings     []string // whom it pings: ids of users and roles, everyone, here
	Flags     int
	Silent    bool // SUPPRESS_NOTIFICATIONS
	Edited    bool
	Pinned    bool
	Nonce     string
	Date      time.Time
	Buttons   [][]Button // row by row
	// Ephemeral messages answer a command and are seen only by who used it: For.
	Ephemeral bool
	For       string
}

// Embed is an embed, in Discord's own form.
type Embed struct {
	Title       string       `json:"title,omitempty"`
	Description string       `json:"description,omitempty"`
	URL         string       `json:"url,omitempty"`
	Color       int          `json:"color,omitempty"`
	Timestamp   string       `json:"timestamp,omitempty"`
	Author      *EmbedAuthor `json:"author,omitempty"`
	Footer      *EmbedFooter `json:"footer,omitempty"`
	Image       *EmbedImage  `json:"image,omitempty"`
	Thumbnail   *EmbedImage  `json:"thumbnail,omitempty"`
	Fields      []EmbedField `json:"fields,omitempty"`
}

// EmbedAuthor is the line above an embed's title.
type EmbedAuthor struct {
	Name    string `json:"name"`
	URL     string `json:"url,omitempty"`
	IconURL string `json:"icon_url,omitempty"`
}

// EmbedFooter is the line below an embed.
type EmbedFooter struct {
	Text    string `json:"text"`
	IconURL string `json:"icon_url,omitempty"`
}

// EmbedImage is a picture of an embed.
type EmbedImage struct {
	URL string `json:"url"`
}

// EmbedField is a field of an embed.
type EmbedField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline"`
}

// File is an attachment.
type File struct {
	ID          string // empty in a file to be uploaded
	Name        string
	Type        string // its content type; empty: by its name
	Description string
	Content     []byte
	URL         string // where it can be loaded for the time being
}

// Reaction is an emoji at a message and who gave it.
type Reaction struct {
	Emoji string // 👀, or name:id for a custom one
	Users []string
}

// Webhook is a channel's webhook.
type Webhook struct {
	ID      string
	Token   string
	Channel string
	Name    string
	// Path is what stands behind the API's base address, such as /webhooks/1/abc.
	Path string
}

type guild struct {
	id      snowflake
	name    string
	roles   map[snowflake]role
	allowed Permission // what the bot may do
	active  int        // threads that are not archived
	left    bool       // the bot is no member any more
}

type role struct {
	name        string
	mentionable bool
}

// channel is a channel or a thread.
type channel struct {
	id       snowflake
	kind     Kind
	guild    *guild
	name     string
	topic    string
	position int
	denied   Permission // what the bot may not do here
	messages []*message // by id
	last     snowflake
	typed    int // how often the bot was seen typing

	tags       []tag // a forum's
	requireTag bool

	parent      *channel // a thread's
	owner       snowflake
	archived    bool
	locked      bool
	autoArchive int
	slow        int
	created     time.Time
	archivedAt  time.Time
	applied     []snowflake
	total       int
	members     map[snowflake]time.Time
}

type tag struct {
	id        snowflake
	name      string
	moderated bool
}

type message struct {
	id        snowflake
	channel   *channel
	author    *User
	webhook   *webhook
	kind      int
	flags     int
	text      string
	embeds    []Embed
	buttons   [][]Button
	files     []*file
	reference *reference
	reactions []reaction
	pings     []string
	nonce     string
	number    bool // the nonce was a number
	thread    snowflake
	edited    time.Time
	pinned    bool
	from      *interaction   // the use of a command that it answers
	extra     map[string]any // further fields on the wire
}

type reference struct {
	channel, message snowflake
}

type reaction struct {
	emoji string
	users []snowflake
}

type file struct {
	id          snowflake
	channel     snowflake
	name        string
	kind        string
	description string
	content     []byte
	ephemeral   bool
}

type webhook struct {
	id      snowflake
	token   string
	channel *channel
	name    string
	own     bool // the bot's application made it
}

// may says whether the bot has all of the permissions in a channel. A thread has its channel's.
func (c *channel) may(p Permission) bool {
	has := c.guild.allowed &^ c.denied
	if c.parent != nil {
		has &^= c.parent.denied
	}
	return !c.guild.left && has&p == p
}

// find returns a message of a channel, or nil.
func (c *channel) find(id snowflake) *message {
	if i, ok := c.index(id); ok {
		return c.messages[i]
	}
	return nil
}

func (c *channel) index(id snowflake) (int, bool) {
	return slices.BinarySearchFunc(c.messages, id, func(m *message, id snowflake) int {
		switch {
		case m.id < id:
			return -1
		case m.id > id:
			return 1
		}
		return 0
	})
}

func (c *channel) remove(m *message) {
	if i, ok := c.index(m.id); ok {
		c.messages = slices.Delete(c.messages, i, i+1)
	}
}

// add puts a message into a channel. Its id is made here unless it has one.
func (s *Server) add(c *channel, m *message) *message {
	if m.id == 0 {
		m.id = s.newID()
	}
	m.channel, c.last = c, m.id
	c.messages = append(c.messages, m)
	if c.parent != nil && m.kind != ThreadStarter {
		c.total++
	}
	for _, f := range m.files {
		f.channel = c.id
		s.files[f.id] = f
	}
	return m
}

// drop deletes a message with its files.
func (s *Server) drop(m *message) {
	m.channel.remove(m)
	s.dropFiles(m.files)
}

func (s *Server) dropFiles(files []*file) {
	for _, f := range files {
		delete(s.files, f.id)
	}
}

// own says whether the bot under test wrote a message, itself or by a webhook of its own.
func (s *Server) own(m *message) bool {
	return m.author == s.bot || m.webhook != nil && m.webhook.own
}

// show returns a message for whoever inspects the sandbox.
func (s *Server) show(m *message) Message {
	out := Message{
		ID: m.id.String(), Channel: m.channel.id.String(), Author: *m.author, Own: s.own(m), Kind: m.kind, Text: m.text,
		Embeds: slices.Clone(m.embeds), Buttons: slices.Clone(m.buttons), Thread: m.thread.show(), Pings: slices.Clone(m.pings), Flags: m.flags,
		Silent: m.flags&flagSilent != 0, Edited: !m.edited.IsZero(), Pinned: m.pinned, Nonce: m.nonce, Date: m.date(),
		Ephemeral: m.flags&flagEphemeral != 0,
	}
	if m.webhook != nil {
		out.Webhook = m.webhook.id.String()
	}
	if m.reference != nil && m.kind == ReplyMessage {
		out.ReplyTo = m.reference.message.show()
	}
	if m.from != nil && out.Ephemeral {
		out.For = m.from.user.ID
	}
	for _, f := range m.files {
		out.Files = append(out.Files, File{
			ID: f.id.String(), Name: f.name, Type: f.kind, Description: f.description, Content: f.content, URL: s.fileURL(f),
		})
	}
	for _, r := range m.reactions {
		users := make([]string, 0, len(r.users))
		for _, u := range r.users {
			users = append(users, u.String())
		}
		out.Reactions = append(out.Reactions, Reaction{Emoji: r.emoji, Users: users})
	}
	return out
}

// date is when a message was written, from its id as everywhere in Discord.
func (m *message) date() time.Time {
	return m.id.when()
}

func (c *channel) show() Thread {
	out := Thread{
		ID: c.id.String(), Parent: c.parent.id.String(), Name: c.name, Owner: c.owner.String(), Kind: c.kind, Archived: c.archived,
		Locked: c.locked, AutoArchive: c.autoArchive, Created: c.created, ArchivedAt: c.archivedAt, Last: c.last.show(),
	}
	for _, t := range c.applied {
		out.Tags = append(out.Tags, t.String())
	}
	return out
}

// object is a JSON object on its way out.
type object map[string]any

// set keeps a field that is there.
func (o object) set(name string, value any, there bool) {
	if there {
		o[name] = value
	}
}

// stamp writes a time as Discord does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

func (s *Server) wireUser(u *User) object {
	o := object{
		"id": u.ID, "username": u.Name, "discriminator": "0", "global_name": nil, "avatar": nil, "public_flags": 0, "flags": 0,
		"primary_guild": nil,
	}
	o.set("global_name", u.Display, u.Display != "")
	o.set("bot", true, u.Bot)
	return o
}

// wireMember returns a member of a guild; in messages and events it stands without its user.
func (s *Server) wireMember(u *User, withUser bool) object {
	roles := slices.Clone(u.Roles)
	if roles == nil {
		roles = []string{}
	}
	o := object{
		"nick": nil, "avatar": nil, "banner": nil, "roles": roles, "joined_at": stamp(s.began), "premium_since": nil, "pending": false,
		"mute": false, "deaf": false, "flags": 0, "communication_disabled_until": nil,
	}
	o.set("nick", u.Nick, u.Nick != "")
	o.set("user", s.wireUser(u), withUser)
	return o
}

func (s *Server) wireEmoji(emoji string) object {
	if name, id, custom := strings.Cut(emoji, ":"); custom {
		return object{"id": id, "name": name}
	}
	return object{"id": nil, "name": emoji}
}

// wireChannel returns a channel or a thread. A thread that the bot is a member of says so.
func (s *Server) wireChannel(c *channel) object {
	o := object{
		"id": c.id, "type": int(c.kind), "guild_id": c.guild.id, "name": c.name, "last_message_id": c.last.or(), "flags": 0,
		"rate_limit_per_user": c.slow,
	}
	if !c.kind.thread() {
		o["position"], o["parent_id"], o["permission_overwrites"], o["nsfw"] = c.position, nil, []object{}, false
		if c.denied != 0 {
			o["permission_overwrites"] = []object{{
				"id": s.bot.ID, "type": 1, "allow": "0", "deny": strconv.FormatUint(uint64(c.denied), 10),
			}}
		}
		o["topic"] = nil
		o.set("topic", c.topic, c.topic != "")
		if c.kind == Forum {
			tags := make([]object, 0, len(c.tags))
			for _, t := range c.tags {
				tags = append(tags, object{"id": t.id, "name": t.name, "moderated": t.moderated, "emoji_id": nil, "emoji_name": nil})
			}
			o["available_tags"], o["default_reaction_emoji"], o["default_sort_order"], o["default_forum_layout"] = tags, nil, nil, 0
			o.set("flags", 1<<4, c.requireTag) // REQUIRE_TAG
		}
		return o
	}
	o["parent_id"], o["owner_id"] = c.parent.id, c.owner
	o["message_count"], o["total_message_sent"], o["member_count"] = len(c.messages), c.total, min(len(c.members), 50)
	meta := object{
		"archived": c.archived, "archive_timestamp": stamp(c.archivedAt), "auto_archive_duration": c.autoArchive, "locked": c.locked,
		"create_timestamp": stamp(c.created),
	}
	meta.set("invitable", true, c.kind == PrivateThread)
	o["thread_metadata"] = meta
	if c.parent.kind == Forum {
		o["applied_tags"] = append([]snowflake{}, c.applied...)
	}
	if at, in := c.members[flake(s.bot.ID)]; in {
		o["member"] = object{"id": c.id, "user_id": s.bot.ID, "join_timestamp": stamp(at), "flags": 1}
	}
	return o
}

func (s *Server) wireFile(f *file) object {
	url := s.fileURL(f)
	o := object{
		"id": f.id, "filename": f.name, "size": len(f.content), "url": url, "proxy_url": url, "content_type": f.kind,
	}
	o.set("description", f.description, f.description != "")
	o.set("ephemeral", true, f.ephemeral)
	return o
}

// wireMessage returns a message as the HTTP API shows it, without the fields that only events have. A message that another one
// replies to is shown without its own ("the referenced_message" is one level deep).
func (s *Server) wireMessage(m *message, deep bool) object {
	o := object{
		"id": m.id, "type": m.kind, "channel_id": m.channel.id, "author": s.wireAuthor(m), "content": m.text,
		"timestamp": stamp(m.date()), "edited_timestamp": nil, "tts": false, "mention_everyone": false, "mention_roles": []string{},
		"pinned": m.pinned, "flags": m.flags, "components": wireButtons(m.buttons),
	}
	o.set("edited_timestamp", stamp(m.edited), !m.edited.IsZero())
	embeds := make([]object, 0, len(m.embeds))
	if m.flags&flagNoEmbeds == 0 {
		for _, e := range m.embeds {
			embeds = append(embeds, wireEmbed(e))
		}
	}
	files := make([]object, 0, len(m.files))
	for _, f := range m.files {
		files = append(files, s.wireFile(f))
	}
	o["embeds"], o["attachments"] = embeds, files
	mentions, roles := make([]object, 0), make([]string, 0)
	for _, id := range m.pings {
		switch u := s.users[flake(id)]; {
		case id == "everyone" || id == "here":
			o["mention_everyone"] = true
		case u != nil:
			mentions = append(mentions, s.wireUser(u))
		default:
			roles = append(roles, id)
		}
	}
	o["mentions"], o["mention_roles"] = mentions, roles
	if m.webhook != nil {
		o["webhook_id"] = m.webhook.id
		o.set("application_id", s.appID, m.webhook.own)
	}
	if m.from != nil {
		o["webhook_id"], o["application_id"] = s.appID, s.appID
		o["interaction_metadata"] = object{
			"id": m.from.id, "type": m.from.kind, "user": s.wireUser(m.from.user), "authorizing_integration_owners": object{"0": m.channel.guild.id},
		}
		if m.from.kind == 2 {
			o["interaction"] = object{"id": m.from.id, "type": 2, "name": m.from.name, "user": s.wireUser(m.from.user)}
		} else {
			o["interaction_metadata"].(object)["interacted_message_id"] = m.from.pressed.id
		}
	}
	if len(m.reactions) > 0 {
		o["reactions"] = s.wireReactions(m)
	}
	if r := m.reference; r != nil {
		ref := object{"type": 0, "channel_id": r.channel, "guild_id": m.channel.guild.id}
		ref.set("message_id", r.message, r.message != 0)
		o["message_reference"] = ref
		if deep && r.message != 0 && (m.kind == ReplyMessage || m.kind == ThreadStarter) {
			o["referenced_message"] = nil
			if c := s.channels[r.channel]; c != nil && c.find(r.message) != nil {
				o["referenced_message"] = s.wireMessage(c.find(r.message), false)
			}
		}
	}
	if t := s.channels[m.thread]; t != nil && m.thread != 0 && deep {
		o["thread"] = s.wireChannel(t)
	}
	maps.Copy(o, m.extra)
	return o
}

func (s *Server) wireAuthor(m *message) object {
	o := s.wireUser(m.author)
	o.set("discriminator", "0000", m.webhook != nil)
	return o
}

func (s *Server) wireReactions(m *message) []object {
	out := make([]object, 0, len(m.reactions))
	for _, r := range m.reactions {
		out = append(out, object{
			"emoji": s.wireEmoji(r.emoji), "count": len(r.users), "count_details": object{"burst": 0, "normal": len(r.users)},
			"burst_colors": []string{}, "me_burst": false, "me": slices.Contains(r.users, flake(s.bot.ID)),
		})
	}
	return out
}

func wireEmbed(e Embed) object {
	raw, err := json.Marshal(e)
	o := make(object)
	if err == nil {
		err = json.Unmarshal(raw, &o)
	}
	if err != nil {
		o = make(object) // an Embed is strings and numbers
	}
	o["type"] = "rich"
	return o
}

// contentless takes from a message what an application without the MESSAGE_CONTENT intent does not see: "Fields affected by the
// intent: content, embeds, attachments, components, poll". Messages of its own, and those that mention it, are left whole.
func (s *Server) contentless(m *message, o object) object {
	if s.own(m) || m.from != nil || slices.Contains(m.pings, s.bot.ID) {
		return o
	}
	o = maps.Clone(o)
	o["content"], o["embeds"], o["attachments"], o["components"] = "", []object{}, []object{}, []object{}
	if to, ok := o["referenced_message"].(object); ok {
		if c := s.channels[m.reference.channel]; c != nil {
			o["referenced_message"] = s.contentless(c.find(m.reference.message), to)
		}
	}
	return o
}
