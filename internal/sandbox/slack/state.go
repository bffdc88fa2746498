package slack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// User is a person or a bot.
type User struct {
	ID          string // empty: the sandbox gives one
	Name        string // the handle, without its mark
	RealName    string
	DisplayName string // empty: the real name is shown
	Bot         bool   // of another app
}

// botOf returns the bot_id of another app's bot, which is not its user's id.
func botOf(u User) string { return "B" + strings.TrimPrefix(u.ID, "U") }

// Kind is a kind of conversation.
type Kind int

const (
	// Public is a channel that everybody may read.
	Public Kind = iota
	// Private is a channel that only its members know.
	Private
	// Direct is a user's conversation with the bot.
	Direct
)

// Channel is a conversation to be made. The bot begins as a member.
type Channel struct {
	ID   string // empty: the sandbox gives one of the kind's range
	Kind Kind
	Name string // without its mark
	User string // of a direct conversation
}

// Message is a message, as the controls and Messages return it.
type Message struct {
	TS       string
	Channel  string
	ThreadTS string // of the message that it is a reply to; nothing in the channel itself
	User     string // who wrote it; nothing where Slack does not say, as with a bot under another name
	BotID    string
	Author   string // the name that people see
	Username string // the name that a bot gave itself for this message
	Icon     string // icon_emoji or icon_url
	Own      bool   // the bot under test sent it
	Subtype  string // such as file_share, thread_broadcast, tombstone; empty for an ordinary message
	Text     string // on the wire, with Slack's escapes and marks
	Plain    string // what a person sees: of the blocks if there are any, else of the text
	Blocks   json.RawMessage
	Files    []File
	Metadata *Metadata
	// Pings are those whom the message notifies: !channel, !here, !everyone, the ids of users and user groups.
	Pings     []string
	Reactions []Reaction
	Edited    bool
	Broadcast bool // a reply that is shown in the channel, too
	Replies   int
	// UnfurlLinks and UnfurlMedia say whether Slack may add previews.
	UnfurlLinks, UnfurlMedia bool
	Buttons                  []Button // in their order
	// Ephemeral is for one user, whose id it is; such a message is not in the channel.
	Ephemeral string
}

// Metadata is what an app hangs on a message for itself.
type Metadata struct {
	EventType    string         `json:"event_type"`
	EventPayload map[string]any `json:"event_payload"`
}

// Reaction is an emoji under a message, with everybody who put it there.
type Reaction struct {
	Name  string
	Users []string
}

// File is a file, as Messages and Files return it.
type File struct {
	ID       string
	Name     string
	Title    string
	Mimetype string
	User     string
	Alt      string
	Content  []byte
	Deleted  bool
	// Partner says that the file is of another workspace in Slack Connect: messages tell its id alone, files.info the rest
	// (https://docs.slack.dev/reference/objects/file-object, file_access: check_file_info).
	Partner bool
}

type channel struct {
	Channel
	absent    bool // the bot is no member
	archived  bool
	topic     string
	created   time.Time
	members   []string // users
	messages  map[int64]*message
	top       []*message           // in the channel, oldest first; of replies those that were broadcast
	threads   map[int64][]*message // replies, oldest first, by the ts of the parent
	ephemeral []*message
}

// author is whoever a message is by. Messages share them.
type author struct{ user, bot, username, icon string }

// message is kept small: a test may post hundreds of thousands.
type message struct {
	ts, thread int64 // microseconds since 1970, which a ts on the wire is; thread is 0 in the channel itself
	edited     int64
	by         *author
	in         *channel
	subtype    string
	text       string
	blocks     string // JSON
	metadata   string // JSON
	more       *more
	quiet      bool // mrkdwn=false: the text has no marks
	broadcast  bool
	links      bool
	media      bool
}

// more is what few messages have.
type more struct {
	files     []*file
	pings     []string
	reactions []Reaction
	fields    map[string]any // further fields on the wire
	editor    string
	to        string // of an ephemeral message
}

func (m *message) extra() *more {
	if m.more == nil {
		m.more = &more{}
	}
	return m.more
}

// peek is extra for reading.
func (m *message) peek() more {
	if m.more == nil {
		return more{}
	}
	return *m.more
}

// stamp writes a ts.
func stamp(ts int64) string { return fmt.Sprintf("%010d.%06d", ts/1e6, ts%1e6) }

// unstamp reads a ts. Slack takes fewer digits behind the point.
func unstamp(text string) (int64, bool) {
	whole, part, _ := strings.Cut(text, ".")
	if len(part) > 6 {
		part = part[:6]
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", 6-len(part)), 10, 64)
	return n, err == nil && n >= 0 && whole != ""
}

// tick returns a ts that no message has. On Slack it is unique in its channel; here in the workspace.
func (s *Server) tick() int64 {
	s.lastTS = max(time.Now().UnixMicro(), s.lastTS+1)
	return s.lastTS
}

// id returns an id of a kind: its first letter says which.
func (s *Server) id(letter string) string {
	s.lastID++
	return fmt.Sprintf("%s0%08d", letter, s.lastID)
}

func (s *Server) author(a author) *author {
	if known := s.authors[a]; known != nil {
		return known
	}
	s.authors[a] = &a
	return &a
}

func (c *channel) isPrivate() bool { return c.Kind != Public }

// find returns a message of the channel by its ts, nil for none.
func (c *channel) find(ts string) *message {
	n, ok := unstamp(ts)
	if !ok {
		return nil
	}
	return c.messages[n]
}

// add gives a message its ts and puts it into its channel.
func (s *Server) add(m *message) *message {
	m.ts = s.tick()
	c := m.in
	c.messages[m.ts] = m
	if m.thread != 0 {
		c.threads[m.thread] = append(c.threads[m.thread], m)
	}
	if m.thread == 0 || m.broadcast {
		c.top = append(c.top, m)
	}
	return m
}

// drop takes a message out of its channel.
func (c *channel) drop(m *message) {
	delete(c.messages, m.ts)
	c.top = without(c.top, m)
	if m.thread != 0 {
		if c.threads[m.thread] = without(c.threads[m.thread], m); len(c.threads[m.thread]) == 0 {
			delete(c.threads, m.thread)
		}
	}
}

// without takes a message out of a list that is ordered by ts.
func without(list []*message, m *message) []*message {
	i, found := slices.BinarySearchFunc(list, m.ts, func(one *message, ts int64) int { return cmp.Compare(one.ts, ts) })
	if !found {
		return list
	}
	return slices.Delete(list, i, i+1)
}

// shown returns the name of a message's author, as people see it.
func (s *Server) shown(by *author) string {
	if by.username != "" {
		return by.username
	}
	u := s.users[by.user]
	return cmp.Or(u.DisplayName, u.RealName, u.Name)
}

// show returns a message for whoever inspects the sandbox.
func (s *Server) show(m *message) Message {
	x := m.peek()
	out := Message{
		TS: stamp(m.ts), Channel: m.in.ID, User: m.by.user, BotID: m.by.bot, Author: s.shown(m.by), Username: m.by.username,
		Icon: m.by.icon, Own: m.by.bot == botID, Subtype: m.subtype, Text: m.text, Plain: s.plain(m), Pings: slices.Clone(x.pings),
		Edited: m.edited != 0, Broadcast: m.broadcast, Replies: len(m.in.threads[m.ts]), UnfurlLinks: m.links,
		UnfurlMedia: m.media, Ephemeral: x.to,
	}
	if m.thread != 0 {
		out.ThreadTS = stamp(m.thread)
	}
	if m.blocks != "" {
		out.Blocks = json.RawMessage(m.blocks)
		out.Buttons = s.buttonsOf(out.Blocks)
	}
	if m.metadata != "" {
		out.Metadata = &Metadata{}
		_ = json.Unmarshal([]byte(m.metadata), out.Metadata) // it was checked when it came
	}
	for _, f := range x.files {
		out.Files = append(out.Files, f.show())
	}
	for _, r := range x.reactions {
		out.Reactions = append(out.Reactions, Reaction{r.Name, slices.Clone(r.Users)})
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

// wire returns a message as Slack shows it, in answers and in events.
func (s *Server) wire(m *message, metadata bool) object {
	x := m.peek()
	o := object{"type": "message", "ts": stamp(m.ts), "text": m.text, "team": teamID}
	o.set("subtype", m.subtype, m.subtype != "")
	o.set("user", m.by.user, m.by.user != "")
	if m.by.bot != "" {
		o["bot_id"] = m.by.bot
		if m.by.bot == botID {
			o["app_id"] = appID
			o.set("bot_profile", s.botProfile(), m.by.user != "")
		}
	} else if m.subtype == "" && m.by.user != slackbot {
		o["client_msg_id"] = fmt.Sprintf("00000000-0000-4000-8000-%012x", m.ts&0xffffffffffff)
	}
	o.set("username", m.by.username, m.by.username != "")
	if icon := m.by.icon; strings.HasPrefix(icon, "http") {
		o["icons"] = object{"image_48": icon}
	} else if icon != "" {
		o["icons"] = object{"emoji": icon}
	}
	if m.blocks != "" {
		o["blocks"] = json.RawMessage(m.blocks)
	} else if m.by.bot == "" && m.text != "" && (m.subtype == "" || m.subtype == "file_share" || m.subtype == "thread_broadcast") {
		o["blocks"] = s.text.rich(m.text)
	}
	if metadata {
		o.set("metadata", json.RawMessage(m.metadata), m.metadata != "")
	}
	if m.edited != 0 {
		o["edited"] = object{"user": x.editor, "ts": stamp(m.edited)}
	}
	if len(x.files) > 0 {
		files := make([]object, 0, len(x.files))
		for _, f := range x.files {
			files = append(files, s.wireFile(f, false))
		}
		o["files"], o["upload"], o["display_as_bot"] = files, m.subtype == "file_share", false
	}
	o.set("reactions", wireReactions(x.reactions), len(x.reactions) > 0)
	if m.thread != 0 {
		o["thread_ts"] = stamp(m.thread)
		if parent := m.in.messages[m.thread]; parent != nil {
			o["parent_user_id"] = parent.by.user
			if m.broadcast {
				o["root"] = s.wire(parent, false)
			}
		}
	} else if replies := m.in.threads[m.ts]; len(replies) > 0 || m.subtype == "tombstone" {
		// The fields of a parent, also of a deleted one (github.com/hackclub/toriel/pull/238); one that has lost its last reply
		// has the latest_reply of github.com/slack-edge/slack-edge/pull/10.
		latest, users := "0000000000.000000", []string{}
		for _, reply := range replies {
			latest = stamp(reply.ts)
			if who := cmp.Or(reply.by.user, reply.by.bot); !slices.Contains(users, who) {
				users = append(users, who)
			}
		}
		o["thread_ts"], o["reply_count"], o["reply_users_count"] = stamp(m.ts), len(replies), len(users)
		o["latest_reply"], o["reply_users"] = latest, users[:min(len(users), 5)]
		o["is_locked"], o["subscribed"] = false, false
		o.set("parent_user_id", m.by.user, m.subtype == "tombstone")
	}
	o.set("hidden", true, m.subtype == "tombstone")
	maps.Copy(o, x.fields)
	return o
}

func wireReactions(list []Reaction) []object {
	out := make([]object, 0, len(list))
	for _, r := range list {
		out = append(out, object{"name": r.Name, "users": slices.Clone(r.Users), "count": len(r.Users)})
	}
	return out
}

func (s *Server) botProfile() object {
	return object{
		"id": botID, "deleted": false, "name": s.bot.Name, "updated": 1700000000, "app_id": appID, "user_id": botUser,
		"icons": object{"image_36": "https://a.slack-edge.com/bot_36.png"}, "team_id": teamID,
	}
}

func (s *Server) wireUser(u User) object {
	profile := object{
		"real_name": u.RealName, "real_name_normalized": u.RealName, "display_name": u.DisplayName,
		"display_name_normalized": u.DisplayName, "image_24": "https://secure.gravatar.com/avatar/0", "team": teamID,
	}
	o := object{
		"id": u.ID, "team_id": teamID, "name": u.Name, "deleted": false, "color": "9f69e7", "real_name": u.RealName,
		"tz": "Europe/Berlin", "tz_label": "Central European Time", "tz_offset": 3600, "profile": profile, "is_admin": false,
		"is_owner": false, "is_primary_owner": false, "is_restricted": false, "is_ultra_restricted": false, "is_bot": u.Bot,
		"is_app_user": false, "updated": 1700000000, "is_email_confirmed": !u.Bot,
	}
	if u.ID == botUser {
		profile["api_app_id"], profile["bot_id"] = appID, botID
	}
	return o
}

func (s *Server) wireChannel(c *channel, members bool) object {
	o := object{
		"id": c.ID, "created": c.created.Unix(), "is_archived": c.archived, "is_im": c.Kind == Direct, "is_mpim": false,
		"is_channel": c.Kind == Public, "is_group": false, "is_private": c.isPrivate(), "is_org_shared": false,
		"context_team_id": teamID, "updated": c.created.UnixMilli(),
	}
	if c.Kind == Direct {
		o["user"] = c.User
		return o
	}
	o["name"], o["name_normalized"], o["is_member"], o["is_general"] = c.Name, c.Name, !c.absent, false
	o["is_shared"], o["is_ext_shared"], o["is_pending_ext_shared"], o["unlinked"] = false, false, false, 0
	o["creator"], o["pending_shared"], o["previous_names"] = slackbot, []string{}, []string{}
	o["topic"] = object{"value": c.topic, "creator": "", "last_set": 0}
	o["purpose"] = object{"value": "", "creator": "", "last_set": 0}
	o.set("num_members", len(s.membersOf(c)), members)
	return o
}

func (s *Server) membersOf(c *channel) []string {
	out := slices.Clone(c.members)
	if !c.absent {
		out = append(out, botUser)
	}
	slices.Sort(out)
	return out
}
