package slack

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// run gives a call its effect and returns its result. The caller holds the lock.
func (s *Server) run(name string, p params) (any, error) {
	switch name {
	case "apps.connections.open":
		return s.openConnection(), nil
	case "auth.test":
		return s.authTest(), nil
	case "chat.delete":
		return s.chatDelete(p)
	case "chat.postMessage":
		return s.postMessage(p)
	case "chat.update":
		return s.chatUpdate(p)
	case "conversations.history":
		return s.history(p)
	case "conversations.info":
		c, err := s.channelOf(p["channel"], true, "read")
		if err != nil {
			return nil, err
		}
		return object{"channel": s.wireChannel(c, p.is("include_num_members"))}, nil
	case "conversations.join":
		return s.join(p)
	case "conversations.replies":
		return s.replies(p)
	case "files.completeUploadExternal":
		return s.completeUpload(p)
	case "files.delete":
		return s.filesDelete(p)
	case "files.getUploadURLExternal":
		return s.getUploadURL(p)
	case "files.info":
		return s.filesInfo(p)
	case "reactions.add":
		return s.reactionsAdd(p)
	case "reactions.remove":
		return s.reactionsRemove(p)
	case "users.info":
		u, ok := s.users[p["user"]]
		if !ok {
			return nil, refuse("user_not_found")
		}
		return object{"user": s.wireUser(u)}, nil
	}
	return nil, refuse("unknown_method")
}

func (s *Server) authTest() object {
	return object{
		"url": "https://" + domain + ".slack.com/", "team": "Sandbox", "user": s.bot.Name, "team_id": teamID, "user_id": botUser,
		"bot_id": botID, "is_enterprise_install": false,
	}
}

// channelOf finds the channel that a call names, by its id or, where messages are posted, by its name. absent says that the bot
// may be outside; of a private channel it then knows nothing. scope is the part of channels:<scope> that is needed for this
// kind of channel, or nothing.
func (s *Server) channelOf(id string, absent bool, scope string) (*channel, error) {
	c := s.channels[id]
	if c == nil || c.absent && c.isPrivate() {
		return nil, refuse("channel_not_found")
	}
	if scope != "" {
		if needed := c.scope(scope); !slices.Contains(s.scopes, needed) {
			return nil, &refusal{says: "missing_scope", needed: needed}
		}
	}
	if c.absent && !absent {
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

func (c *channel) scope(what string) string {
	switch c.Kind {
	case Private:
		return "groups:" + what
	case Direct:
		return "im:" + what
	}
	return "channels:" + what
}

// postTo finds the channel to post to: its id, or its name with or without the mark. With chat:write.public the bot need not be
// in a public channel.
func (s *Server) postTo(p params) (*channel, error) {
	id := p["channel"]
	if s.channels[id] == nil {
		for _, c := range s.channels {
			if c.Name != "" && c.Name == strings.TrimPrefix(id, "#") {
				id = c.ID
			}
		}
	}
	c, err := s.channelOf(id, slices.Contains(s.scopes, "chat:write.public"), "")
	if err == nil && c.archived {
		return nil, refuse("is_archived")
	}
	return c, err
}

// body reads what a message says into m: text, blocks, and whom they ping. Text that is too long is cut, as
// chat.postMessage does; most is where a method refuses it instead.
func (s *Server) body(m *message, p params, most int) error {
	blocks, pings, err := s.readBlocks(p["blocks"])
	if err != nil {
		return err
	}
	text := p["text"]
	if text == "" && blocks == "" {
		return refuse("no_text")
	}
	if n := utf8.RuneCountInString(text); most > 0 && n > most {
		return refuse("msg_too_long")
	} else if n > maxText {
		text = string([]rune(text)[:maxText])
	}
	m.text, m.blocks = s.store(text, linkingOf(p)), blocks
	m.quiet = p["mrkdwn"] == "false" || p["mrkdwn"] == "0"
	// A text beside blocks is what the notification says; it counts here as if it pinged, which Slack does not promise.
	pings = s.pingsOf(m.text, pings)
	if len(pings) > 0 || m.more != nil {
		m.extra().pings = pings
	}
	return nil
}

// maxMetadata is how long metadata may be, in bytes; the definition gives no figure ("Metadata exceeds size limit").
const maxMetadata = 8 << 10

func (m *message) setMetadata(p params) error {
	raw, ok := p["metadata"]
	if !ok {
		return nil
	}
	var fields map[string]json.RawMessage
	var data Metadata
	switch {
	case json.Unmarshal([]byte(raw), &fields) != nil:
		return refuse("invalid_metadata_format")
	case len(fields) == 0:
		m.metadata = "" // "To remove previous metadata, include an empty object for this field"
		return nil
	case len(raw) > maxMetadata:
		return refuse("metadata_too_large")
	case json.Unmarshal([]byte(raw), &data) != nil || data.EventType == "" || data.EventPayload == nil:
		return refuse("invalid_metadata_schema")
	}
	out, err := json.Marshal(data)
	m.metadata = string(out)
	return err
}

// by returns whom a call posts as. Without chat:write.customize the name and the icon are ignored
// (github.com/papercups-io/papercups/pull/522); with them the message is a bot_message without a user.
func (s *Server) by(p params) (*author, string) {
	icon := p.first("icon_emoji", "icon_url")
	if p["username"] == "" && icon == "" || !slices.Contains(s.scopes, "chat:write.customize") {
		return s.author(author{user: botUser, bot: botID}), ""
	}
	return s.author(author{bot: botID, username: cmp.Or(p["username"], s.bot.Name), icon: icon}), "bot_message"
}

func (s *Server) postMessage(p params) (any, error) {
	c, err := s.postTo(p)
	if err != nil {
		return nil, err
	}
	m := &message{in: c, links: p.is("unfurl_links"), media: p["unfurl_media"] == "" || p.is("unfurl_media")}
	m.by, m.subtype = s.by(p)
	if err := s.body(m, p, 0); err != nil {
		return nil, err
	}
	if err := m.setMetadata(p); err != nil {
		return nil, err
	}
	if err := m.joinThread(p); err != nil {
		return nil, err
	}
	s.tellMessage(s.add(m))
	o := s.wire(m, true)
	return object{"channel": c.ID, "ts": stamp(m.ts), "message": o}, nil
}

// joinThread puts a message into the thread that a call names. Where there is no such message any more, it lands in the channel,
// and only the answer tells (github.com/slack-go/slack/issues/1571). A tombstone still heads its thread. The ts of a reply leads
// to the thread that it is in: "Avoid using a reply's ts value; use its parent instead" is a fault here.
func (m *message) joinThread(p params) error {
	ts := p["thread_ts"]
	if ts == "" {
		return nil
	}
	if _, ok := unstamp(ts); !ok || !strings.Contains(ts, ".") {
		return stage.Faultf("thread_ts %q is no ts", ts)
	}
	parent := m.in.find(ts)
	if parent == nil {
		return nil
	}
	if parent.thread != 0 {
		return stage.Faultf("thread_ts %s is a reply's; its thread is %s", ts, stamp(parent.thread))
	}
	m.thread = parent.ts
	if p.is("reply_broadcast") {
		m.broadcast, m.subtype = true, "thread_broadcast"
	}
	return nil
}

// whisper shows a message to one user. It is kept apart from the channel.
func (s *Server) whisper(m *message, user string) {
	m.ts = s.tick()
	m.extra().to = user
	m.in.ephemeral = append(m.in.ephemeral, m)
	s.back.Change()
}

func (s *Server) chatUpdate(p params) (any, error) {
	c, err := s.channelOf(p["channel"], true, "")
	if err != nil {
		return nil, err
	}
	m := c.find(p["ts"])
	switch {
	case m == nil || m.subtype == "tombstone":
		return nil, refuse("message_not_found")
	case m.by.bot != botID:
		return nil, refuse("cant_update_message")
	case c.archived:
		return nil, refuse("is_inactive")
	}
	next := *m
	if m.more != nil {
		copied := *m.more
		next.more = &copied
	}
	// What is not given stays: a text alone does not change what people see of a message with blocks, although the answer is ok;
	// an empty list takes the blocks away (github.com/slackapi/python-slack-sdk/issues/523).
	_, text := p["text"]
	_, blocks := p["blocks"]
	full := maps.Clone(p)
	if !blocks {
		full["blocks"] = m.blocks
	}
	if err := s.body(&next, full, maxUpdate); err != nil {
		return nil, err
	}
	if !text {
		next.text = m.text
	}
	if err := next.setMetadata(p); err != nil {
		return nil, err
	}
	before := s.wire(m, false)
	changed := next.text != m.text || next.blocks != m.blocks
	*m = next
	if changed {
		m.edited, m.extra().editor = s.tick(), cmp.Or(m.by.user, botUser)
		s.tellChanged(m, before)
	}
	return object{"channel": c.ID, "ts": stamp(m.ts), "text": m.text, "message": s.wire(m, true)}, nil
}

func (s *Server) chatDelete(p params) (any, error) {
	c, err := s.channelOf(p["channel"], true, "")
	if err != nil {
		return nil, err
	}
	m := c.find(p["ts"])
	switch {
	case m == nil || m.subtype == "tombstone":
		return nil, refuse("message_not_found")
	case m.by.bot != botID || c.archived:
		return nil, refuse("cant_delete_message")
	}
	s.remove(m)
	return object{"channel": c.ID, "ts": stamp(m.ts)}, nil
}

// remove deletes a message. A parent with replies leaves a tombstone, of which the app is told as of a change
// (github.com/42wim/matterbridge/issues/600, github.com/openclaw/openclaw/pull/22035); the tombstone goes with its last reply
// (github.com/slack-edge/slack-edge/pull/10).
func (s *Server) remove(m *message) {
	c, before := m.in, s.wire(m, false)
	if m.thread == 0 && len(c.threads[m.ts]) > 0 {
		*m = message{
			ts: m.ts, in: c, by: s.author(author{user: slackbot}), subtype: "tombstone", text: "This message was deleted.",
		}
		s.tellChanged(m, before)
		return
	}
	c.drop(m)
	s.tellDeleted(m, before)
	parent := c.messages[m.thread]
	if parent != nil && parent.subtype == "tombstone" && len(c.threads[m.thread]) == 0 {
		before := s.wire(parent, false)
		c.drop(parent)
		s.tellDeleted(parent, before)
	}
}

// span reads oldest, latest and inclusive.
func (p params) span() (oldest, latest int64, err error) {
	latest = 1 << 62
	var ok bool
	if p["oldest"] != "" {
		if oldest, ok = unstamp(p["oldest"]); !ok {
			return 0, 0, refuse("invalid_ts_oldest")
		}
		if !p.is("inclusive") {
			oldest++
		}
	}
	if p["latest"] != "" {
		if latest, ok = unstamp(p["latest"]); !ok {
			return 0, 0, refuse("invalid_ts_latest")
		}
		if !p.is("inclusive") {
			latest--
		}
	}
	return oldest, latest, nil
}

// cursor reads where a page begins. Cursors are opaque; these hold a ts or an id.
func (p params) cursor(kind string) (string, error) {
	if p["cursor"] == "" {
		return "", nil
	}
	raw, err := base64.StdEncoding.DecodeString(p["cursor"])
	from, ok := strings.CutPrefix(string(raw), kind+":")
	if err != nil || !ok {
		return "", refuse("invalid_cursor")
	}
	return from, nil
}

func nextCursor(o object, kind, from string, more bool) object {
	text := ""
	if more {
		text = base64.StdEncoding.EncodeToString([]byte(kind + ":" + from))
	}
	o["response_metadata"] = object{"next_cursor": text}
	return o
}

// history returns a page of a channel, the newest first; replies are in their threads, unless they were broadcast.
func (s *Server) history(p params) (any, error) {
	c, err := s.channelOf(p["channel"], false, "history")
	if err != nil {
		return nil, err
	}
	oldest, latest, err := p.span()
	if err != nil {
		return nil, err
	}
	from, err := p.cursor("next_ts")
	if err != nil {
		return nil, err
	}
	if from != "" {
		n, _ := unstamp(from)
		latest = min(latest, n-1)
	}
	limit := min(max(p.integer("limit", 100), 1), 999)
	page, more := []object{}, false
	last := int64(0)
	for _, m := range slices.Backward(c.top) {
		if m.ts > latest {
			continue
		}
		if m.ts < oldest {
			break
		}
		if len(page) == limit {
			more = true
			break
		}
		page, last = append(page, s.wire(m, p.is("include_all_metadata"))), m.ts
	}
	o := object{"messages": page, "has_more": more, "pin_count": 0}
	if more {
		return nextCursor(o, "next_ts", stamp(last), true), nil
	}
	return o, nil
}

// replies returns a page of a thread, the oldest first. The parent leads every page, whatever was asked for
// (github.com/rusq/slackdump: "slack returns the thread starter as the first message with every call"). A reply's own ts leads
// to that reply alone.
func (s *Server) replies(p params) (any, error) {
	c, err := s.channelOf(p["channel"], false, "history")
	if err != nil {
		return nil, err
	}
	oldest, latest, err := p.span()
	if err != nil {
		return nil, err
	}
	from, err := p.cursor("next_ts")
	if err != nil {
		return nil, err
	}
	if from != "" {
		n, _ := unstamp(from)
		oldest = max(oldest, n+1)
	}
	parent := c.find(p["ts"])
	if parent == nil {
		return nil, refuse("thread_not_found")
	}
	metadata := p.is("include_all_metadata")
	limit := min(max(p.integer("limit", 1000), 1), 1000)
	page, more := []object{s.wire(parent, metadata)}, false
	last := int64(0)
	if parent.thread == 0 {
		for _, m := range c.threads[parent.ts] {
			if m.ts < oldest || m.ts > latest {
				continue
			}
			if len(page) > limit {
				more = true
				break
			}
			page, last = append(page, s.wire(m, metadata)), m.ts
		}
	}
	o := object{"messages": page, "has_more": more}
	if more {
		return nextCursor(o, "next_ts", stamp(last), true), nil
	}
	return o, nil
}

func (s *Server) join(p params) (any, error) {
	c, err := s.channelOf(p["channel"], true, "")
	switch {
	case err != nil:
		return nil, err
	case c.Kind != Public:
		return nil, refuse("method_not_supported_for_channel_type")
	case c.archived:
		return nil, refuse("is_archived")
	}
	o := object{"channel": s.wireChannel(c, false)}
	if !c.absent {
		return warned{o, "already_in_channel"}, nil
	}
	c.absent = false
	o["channel"] = s.wireChannel(c, false)
	s.joined(c, botUser, s.author(author{user: botUser, bot: botID}))
	return o, nil
}

// reacted finds the message that a call of reactions.* means.
func (s *Server) reacted(p params) (*message, error) {
	if p["channel"] == "" || p["timestamp"] == "" {
		return nil, refuse("no_item_specified")
	}
	c, err := s.channelOf(p["channel"], false, "")
	if err != nil {
		return nil, err
	}
	if _, ok := unstamp(p["timestamp"]); !ok {
		return nil, refuse("bad_timestamp")
	}
	m := c.find(p["timestamp"])
	if m == nil || m.subtype == "tombstone" {
		return nil, refuse("message_not_found")
	}
	return m, nil
}

// maxReactions: "The limit for distinct reactions (i.e emoji) on the item has been reached"; Slack's help gives 23 emoji of one
// person and 50 in all.
const maxReactions = 50

func (s *Server) reactionsAdd(p params) (any, error) {
	m, err := s.reacted(p)
	if err != nil {
		return nil, err
	}
	name := p["name"]
	switch {
	case m.in.archived:
		return nil, refuse("is_archived")
	case !s.emojiKnown(name):
		return nil, refuse("invalid_name")
	case m.reactors(name, botUser):
		return nil, refuse("already_reacted")
	case len(m.peek().reactions) >= maxReactions:
		return nil, refuse("too_many_emoji")
	}
	s.react(m, botUser, name)
	return nil, nil
}

// emojiKnown says whether there may be such an emoji: Slack knows thousands, and names have no colons, but before a skin tone.
func (s *Server) emojiKnown(name string) bool {
	if base, tone, ok := strings.Cut(name, "::skin-tone-"); ok && len(tone) == 1 && tone >= "2" && tone <= "6" {
		name = base
	}
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789+-_'") == ""
}

func (s *Server) reactionsRemove(p params) (any, error) {
	m, err := s.reacted(p)
	if err != nil {
		return nil, err
	}
	switch {
	case m.in.archived:
		return nil, refuse("is_archived")
	case !s.emojiKnown(p["name"]):
		return nil, refuse("invalid_name")
	case !m.reactors(p["name"], botUser):
		return nil, refuse("no_reaction")
	}
	s.unreact(m, botUser, p["name"])
	return nil, nil
}

// reactors says whether the user has put the emoji there.
func (m *message) reactors(name, user string) bool {
	return slices.ContainsFunc(m.peek().reactions, func(r Reaction) bool {
		return r.Name == name && slices.Contains(r.Users, user)
	})
}

func (s *Server) react(m *message, user, name string) {
	x := m.extra()
	i := slices.IndexFunc(x.reactions, func(r Reaction) bool { return r.Name == name })
	if i < 0 {
		x.reactions, i = append(x.reactions, Reaction{Name: name}), len(x.reactions)
	}
	x.reactions[i].Users = append(x.reactions[i].Users, user)
	s.tellReaction("reaction_added", m, user, name)
}

func (s *Server) unreact(m *message, user, name string) {
	x := m.extra()
	for i := range x.reactions {
		if x.reactions[i].Name == name {
			users := slices.Clone(x.reactions[i].Users)
			x.reactions[i].Users = slices.DeleteFunc(users, func(u string) bool { return u == user })
		}
	}
	x.reactions = slices.DeleteFunc(x.reactions, func(r Reaction) bool { return len(r.Users) == 0 })
	s.tellReaction("reaction_removed", m, user, name)
}
