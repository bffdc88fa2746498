package discord

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// handlerTable returns what each operation does. They run with the lock held.
func (s *Server) handlerTable() map[string]func(*request) (any, error) {
	return map[string]func(*request) (any, error){
		"get_gateway":                         s.getGateway, // by discordgo, which the stand-in is tested with
		"get_bot_gateway":                     s.getBotGateway,
		"get_my_user":                         s.getMyUser,
		"get_my_application":                  s.getApplication,
		"list_guild_application_commands":     s.listCommands,
		"bulk_set_guild_application_commands": s.setCommands,
		"get_guild":                           s.getGuild,
		"get_guild_member":                    s.getMember,
		"get_active_guild_threads":            s.activeThreads,
		"get_channel":                         s.getChannel,
		"update_channel":                      s.updateChannel,
		"delete_channel":                      s.removeChannel,
		"list_messages":                       s.listMessages,
		"create_message":                      s.createMessage,
		"get_message":                         s.getMessage,
		"update_message":                      s.updateMessage,
		"delete_message":                      s.removeMessage,
		"add_my_message_reaction":             func(q *request) (any, error) { return s.ownReaction(q, true) },
		"delete_my_message_reaction":          func(q *request) (any, error) { return s.ownReaction(q, false) },
		"create_thread_from_message":          s.createThreadAt,
		"create_thread":                       s.createThread,
		"list_public_archived_threads":        s.archivedThreads,
		"trigger_typing_indicator":            s.typing,
		"list_channel_webhooks":               s.listWebhooks,
		"create_webhook":                      s.createWebhook,
		"execute_webhook":                     s.executeWebhook,
		"update_original_webhook_message":     s.updateWebhookMessage,
		"update_webhook_message":              s.updateWebhookMessage,
		"delete_webhook_message":              s.removeWebhookMessage,
		"create_interaction_response":         s.createResponse,
	}
}

func (s *Server) getMyUser(*request) (any, error) {
	o := s.wireUser(s.bot)
	o["mfa_enabled"], o["locale"], o["verified"], o["email"] = true, "en-US", true, nil
	return o, nil
}

// appFlags returns GATEWAY_MESSAGE_CONTENT_LIMITED, which an application in few guilds has with the intent.
func (s *Server) appFlags() int {
	if s.privileged&intentMessageContent != 0 {
		return 1 << 19
	}
	return 0
}

func (s *Server) getApplication(*request) (any, error) {
	flags := s.appFlags()
	o := object{
		"id": s.appID, "name": s.bot.Name, "icon": nil, "description": "", "type": nil, "bot": s.wireUser(s.bot), "bot_public": false,
		"bot_require_code_grant": false, "verify_key": s.PublicKey(), "flags": flags, "flags_new": strconv.Itoa(flags),
		"redirect_uris": []string{}, "interactions_endpoint_url": nil, "role_connections_verification_url": nil,
		"owner": s.wireUser(s.bot), "approximate_guild_count": len(s.guilds), "approximate_user_install_count": 0,
		"approximate_user_authorization_count": 0, "explicit_content_filter": 0, "team": nil, "eligible_oauth2_scopes": []string{},
	}
	o.set("interactions_endpoint_url", s.endpoint, s.endpoint != "")
	return o, nil
}

// guildFor returns a guild that the bot is in. Of others it learns nothing.
func (s *Server) guildFor(q *request) (*guild, error) {
	g := s.guildOf(q.vars["guild_id"])
	switch {
	case g == nil:
		return nil, errUnknown(10004, "Guild")
	case g.left:
		return nil, errAccess()
	}
	return g, nil
}

func (s *Server) getGuild(q *request) (any, error) {
	g, err := s.guildFor(q)
	if err != nil {
		return nil, err
	}
	o := s.wireGuild(g)
	o.set("approximate_member_count", len(s.users), q.query["with_counts"] == "true")
	o.set("approximate_presence_count", 1, q.query["with_counts"] == "true")
	return o, nil
}

func (s *Server) wireGuild(g *guild) object {
	everyone := s.wireRole(g.id, role{name: "@everyone"})
	everyone["permissions"] = strconv.FormatUint(uint64(g.allowed), 10)
	roles := []object{everyone}
	for _, id := range sorted(g.roles) {
		roles = append(roles, s.wireRole(id, g.roles[id]))
	}
	return object{
		"id": g.id, "name": g.name, "icon": nil, "description": nil, "home_header": nil, "splash": nil, "discovery_splash": nil,
		"features": []string{"COMMUNITY"}, "banner": nil, "owner_id": g.id, "application_id": nil, "region": "deprecated",
		"afk_channel_id": nil, "afk_timeout": 300, "system_channel_id": nil, "system_channel_flags": 0, "widget_enabled": false,
		"widget_channel_id": nil, "verification_level": 0, "roles": roles, "default_message_notifications": 1, "mfa_level": 0,
		"explicit_content_filter": 0, "max_presences": nil, "max_members": 500000, "max_stage_video_channel_users": 50,
		"max_video_channel_users": 25, "vanity_url_code": nil, "premium_tier": 0, "premium_subscription_count": 0,
		"preferred_locale": "en-US", "rules_channel_id": nil, "safety_alerts_channel_id": nil, "public_updates_channel_id": nil,
		"premium_progress_bar_enabled": false, "nsfw": false, "nsfw_level": 0, "emojis": []object{}, "stickers": []object{},
		"incidents_data": nil,
	}
}

func (s *Server) wireRole(id snowflake, r role) object {
	return object{
		"id": id, "name": r.name, "permissions": strconv.FormatUint(uint64(allPermissions), 10), "position": 0, "color": 0,
		"colors": object{"primary_color": 0, "secondary_color": nil, "tertiary_color": nil}, "hoist": false, "managed": false,
		"mentionable": r.mentionable, "icon": nil, "unicode_emoji": nil, "flags": 0,
	}
}

// wireGuildCreate returns what GUILD_CREATE adds to a guild: its channels and active threads.
func (s *Server) wireGuildCreate(g *guild) object {
	o := s.wireGuild(g)
	channels, threads := make([]object, 0), make([]object, 0)
	for _, id := range sorted(s.channels) {
		switch c := s.channels[id]; {
		case c.guild != g || !c.may(ViewChannel):
		case c.parent == nil:
			channels = append(channels, s.wireChannel(c))
		case !c.archived:
			threads = append(threads, s.wireChannel(c))
		}
	}
	o["channels"], o["threads"], o["members"] = channels, threads, []object{s.wireMember(s.bot, true)}
	o["member_count"], o["joined_at"], o["large"], o["unavailable"] = len(s.users), stamp(s.began), false, false
	o["voice_states"], o["presences"], o["stage_instances"] = []object{}, []object{}, []object{}
	o["guild_scheduled_events"], o["soundboard_sounds"] = []object{}, []object{}
	return o
}

func (s *Server) getMember(q *request) (any, error) {
	if _, err := s.guildFor(q); err != nil {
		return nil, err
	}
	if u := s.users[q.id("user_id")]; u != nil {
		return s.wireMember(u, true), nil
	}
	return nil, errUnknown(10007, "Member")
}

// channel returns a channel or thread that the bot can see.
func (s *Server) channel(id snowflake) (*channel, error) {
	c := s.channels[id]
	switch {
	case c == nil:
		return nil, errChannel()
	case !c.may(ViewChannel):
		return nil, errAccess()
	}
	return c, nil
}

func (s *Server) getChannel(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	return s.wireChannel(c), nil
}

func (s *Server) updateChannel(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	if c.parent != nil {
		return s.updateThread(c, q)
	}
	var body struct {
		Name     *string `json:"name"`
		Topic    *string `json:"topic"`
		Slow     *int    `json:"rate_limit_per_user"`
		Archived any     `json:"archived"`
		Locked   any     `json:"locked"`
		Tags     any     `json:"applied_tags"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	switch {
	case body.Archived != nil || body.Locked != nil || body.Tags != nil:
		return nil, stage.Faultf("update_channel: fields of a thread for a channel of type %d", c.kind)
	case !c.may(ManageChannels):
		return nil, errPermission()
	}
	if body.Name != nil {
		c.name = *body.Name
		if c.kind == Text { // "lowercase with hyphens", as the app does it too
			c.name = strings.ToLower(strings.Join(strings.Fields(c.name), "-"))
		}
	}
	c.topic = cmp.Or(text(body.Topic), c.topic)
	if body.Slow != nil {
		c.slow = *body.Slow
	}
	s.tellOf(c, "CHANNEL_UPDATE", intentGuilds, s.wireChannel(c))
	return s.wireChannel(c), nil
}

// updateThread changes a thread (https://docs.discord.com/developers/resources/channel#modify-channel, "JSON Params (Thread)").
func (s *Server) updateThread(t *channel, q *request) (any, error) {
	var body struct {
		Name     *string   `json:"name"`
		Archived *bool     `json:"archived"`
		Locked   *bool     `json:"locked"`
		Auto     *int      `json:"auto_archive_duration"`
		Slow     *int      `json:"rate_limit_per_user"`
		Tags     *[]string `json:"applied_tags"`
		Topic    any       `json:"topic"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	manages, owns := t.may(ManageThreads), t.owner == flake(s.bot.ID)
	unarchives := body.Archived != nil && !*body.Archived
	changes := body.Name != nil || body.Auto != nil || body.Slow != nil || body.Tags != nil || body.Locked != nil
	switch {
	case body.Topic != nil:
		return nil, stage.Faultf("update_channel: a thread has no topic")
	case t.archived && changes && !unarchives:
		// "Requires the thread to have archived set to false or be set to false in the request."
		return nil, errArchived()
	case (body.Locked != nil || body.Slow != nil) && !manages,
		(body.Name != nil || body.Auto != nil || body.Tags != nil || body.Archived != nil && *body.Archived) && !manages && !owns,
		unarchives && t.locked && !manages,
		t.locked && changes && !manages,
		unarchives && !t.may(SendMessagesInThreads):
		return nil, errPermission()
	case unarchives && t.archived && t.guild.active >= s.options.ActiveThreads:
		return nil, errThreads()
	}
	if body.Name != nil && strings.TrimSpace(*body.Name) == "" {
		return nil, invalidForm(problem{[]string{"name"}, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length."})
	}
	var applied []snowflake
	if body.Tags != nil {
		var err error
		if applied, err = t.parent.tagged(*body.Tags); err != nil {
			return nil, err
		}
		t.applied = applied
	}
	renamed := false
	if body.Name != nil {
		renamed, t.name = t.name != strings.TrimSpace(*body.Name), strings.TrimSpace(*body.Name)
	}
	if body.Locked != nil {
		t.locked = *body.Locked
	}
	if body.Slow != nil {
		t.slow = *body.Slow
	}
	if body.Auto != nil && *body.Auto != t.autoArchive {
		t.autoArchive, t.archivedAt = *body.Auto, time.Now()
	}
	if body.Archived != nil && *body.Archived != t.archived {
		s.setArchived(t, *body.Archived)
	} else {
		s.tellOf(t, "THREAD_UPDATE", intentGuilds, s.wireChannel(t))
	}
	if renamed && t.parent.kind != Forum {
		s.tellMessage("MESSAGE_CREATE", s.add(t, &message{author: s.bot, kind: Renamed, text: t.name}))
	}
	return s.wireChannel(t), nil
}

// tagged reads the tags of a forum's post.
func (c *channel) tagged(ids []string) ([]snowflake, error) {
	out := make([]snowflake, 0, len(ids))
	for _, id := range ids {
		at := slices.IndexFunc(c.tags, func(t tag) bool { return t.id == flake(id) })
		switch {
		case at < 0:
			return nil, errUnknown(10087, "tag")
		case c.tags[at].moderated && !c.may(ManageThreads):
			return nil, errPermission()
		}
		out = append(out, flake(id))
	}
	if c.requireTag && len(out) == 0 {
		return nil, refuse(http.StatusBadRequest, 40067, "A tag is required to create a forum post in this channel")
	}
	return out, nil
}

func (s *Server) removeChannel(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	need := ManageChannels
	if c.parent != nil {
		need = ManageThreads
	}
	if !c.may(need) {
		return nil, errPermission()
	}
	o := s.wireChannel(c)
	s.deleteChannel(c)
	return o, nil
}

// deleteChannel deletes a channel or thread with all that is in it.
func (s *Server) deleteChannel(c *channel) {
	for _, t := range s.channels {
		if t.parent == c && c.parent == nil {
			s.forget(t)
		}
	}
	for id, h := range s.webhooks {
		if h.channel == c {
			delete(s.webhooks, id)
		}
	}
	s.forget(c)
	if c.parent == nil {
		s.tellOf(c, "CHANNEL_DELETE", intentGuilds, s.wireChannel(c))
		return
	}
	s.tellOf(c, "THREAD_DELETE", intentGuilds, object{
		"id": c.id, "guild_id": c.guild.id, "parent_id": c.parent.id, "type": int(c.kind),
	})
}

func (s *Server) forget(c *channel) {
	delete(s.channels, c.id)
	for _, m := range c.messages {
		s.dropFiles(m.files)
	}
	if c.parent != nil && !c.archived {
		c.guild.active--
	}
}

// listMessages returns messages, the newest first. around, before and after exclude each other.
func (s *Server) listMessages(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	limit := 50
	if n, err := strconv.Atoi(q.query["limit"]); err == nil {
		limit = n
	}
	all := c.messages
	if !c.may(ReadMessageHistory) {
		all = nil // "If the user is missing the READ_MESSAGE_HISTORY permission, then no messages will be returned."
	}
	from, to := max(len(all)-limit, 0), len(all)
	point := func(name string) (int, bool) {
		if q.query[name] == "" || all == nil {
			return 0, false
		}
		return (&channel{messages: all}).index(flake(q.query[name]))
	}
	asked := 0
	for _, name := range []string{"around", "before", "after"} {
		if q.query[name] == "" {
			continue
		}
		asked++
		i, there := point(name)
		switch name {
		case "before":
			from, to = max(i-limit, 0), i
		case "after":
			if there {
				i++
			}
			from, to = i, min(i+limit, len(all))
		case "around":
			from, to = max(i-limit/2, 0), min(i+limit-limit/2, len(all))
		}
	}
	if asked > 1 {
		return nil, stage.Faultf("list_messages: only one of around, before and after can be given")
	}
	out := make([]object, 0, to-from)
	for i := to - 1; i >= from; i-- {
		out = append(out, s.seen(all[i]))
	}
	return out, nil
}

// seen returns a message as the bot sees it: an application without the MESSAGE_CONTENT intent does not see contents by the HTTP
// API either.
func (s *Server) seen(m *message) object {
	o := s.wireMessage(m, true)
	if s.privileged&intentMessageContent == 0 {
		o = s.contentless(m, o)
	}
	return o
}

// message returns a channel that the bot can see and a message of it.
func (s *Server) message(q *request) (*channel, *message, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, nil, err
	}
	m := c.find(q.id("message_id"))
	switch {
	case m == nil:
		return nil, nil, errMessage()
	case !c.may(ReadMessageHistory):
		return nil, nil, errPermission()
	}
	return c, m, nil
}

func (s *Server) getMessage(q *request) (any, error) {
	_, m, err := s.message(q)
	if err != nil {
		return nil, err
	}
	return s.seen(m), nil
}

func (s *Server) createMessage(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	var f form
	if err := q.decode(&f); err != nil {
		return nil, err
	}
	nonce, number := f.given()
	if f.EnforceNonce && nonce != "" {
		if first := s.repeated(nonceKey(nonce)); first != nil {
			return s.withNonce(first), nil
		}
	}
	if err := s.sendable(c); err != nil {
		return nil, err
	}
	m := &message{author: s.bot, nonce: nonce, number: number}
	if m.flags, err = f.flags(q.op.Name, flagNoEmbeds|flagSilent); err != nil {
		return nil, err
	}
	if err := s.fill(m, &f, q.uploads); err != nil {
		return nil, err
	}
	if err := s.refer(m, c, &f); err != nil {
		return nil, err
	}
	if len(m.embeds) > 0 && !c.may(EmbedLinks) || len(m.files) > 0 && !c.may(AttachFiles) {
		return nil, errPermission()
	}
	m.pings = s.pings(m, c, f.AllowedMentions, true)
	s.publish(c, m)
	if nonce != "" {
		s.remember(nonceKey(nonce), m)
	}
	return s.withNonce(m), nil
}

// refer makes a message a reply (https://docs.discord.com/developers/resources/message#message-reference-structure). One to a
// message that is gone is an ordinary message if fail_if_not_exists is false.
func (s *Server) refer(m *message, c *channel, f *form) error {
	if f.Reference == nil {
		return nil
	}
	if !c.may(ReadMessageHistory) {
		return refuse(http.StatusBadRequest, 160002, "Cannot reply without permission to read message history")
	}
	to := c.find(flake(f.Reference.Message))
	if named := text(f.Reference.Channel); named != "" && flake(named) != c.id {
		to = nil // a reply stays in its channel
	}
	switch {
	case to == nil && f.Reference.FailIfNone != nil && !*f.Reference.FailIfNone:
		return nil
	case to == nil:
		return invalidForm(problem{[]string{"message_reference"}, "REPLIES_UNKNOWN_MESSAGE", "Unknown message"})
	case to.kind != Ordinary && to.kind != ReplyMessage && to.kind != CommandAnswer:
		return invalidForm(problem{
			[]string{"message_reference"}, "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE", "Cannot reply to a system message",
		})
	}
	m.kind, m.reference = ReplyMessage, &reference{c.id, to.id}
	return nil
}

func (s *Server) updateMessage(q *request) (any, error) {
	c, m, err := s.message(q)
	switch {
	case err != nil:
		return nil, err
	case m.author != s.bot:
		return nil, refuse(http.StatusForbidden, 50005, "Cannot edit a message authored by another user")
	case system(m):
		return nil, refuse(http.StatusForbidden, 50021, "Cannot execute action on a system message")
	case c.archived:
		return nil, errArchived()
	case c.locked && !c.may(ManageThreads):
		return nil, errLocked()
	}
	if err := s.edit(m, q); err != nil {
		return nil, err
	}
	return s.wireMessage(m, true), nil
}

// edit changes a message as a request says.
func (s *Server) edit(m *message, q *request) error {
	var f form
	if err := q.decode(&f); err != nil {
		return err
	}
	if isNull(q.body, "content") {
		f.Content = new(string) // null takes the content away
	}
	if isNull(q.body, "embeds") {
		f.Embeds = new([]Embed)
	}
	if isNull(q.body, "components") {
		f.Components = new([]component)
	}
	flags, err := f.flags(q.op.Name, flagNoEmbeds|m.flags)
	if err != nil {
		return err
	}
	changed := *m
	if err := s.fill(&changed, &f, q.uploads); err != nil {
		return err
	}
	*m = changed
	if f.Flags != nil {
		m.flags = m.flags&^flagNoEmbeds | flags&flagNoEmbeds
	}
	m.edited, m.flags = time.Now(), m.flags&^flagLoading
	if m.flags&flagEphemeral == 0 {
		s.tellMessage("MESSAGE_UPDATE", m)
	}
	return nil
}

func isNull(body json.RawMessage, name string) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(body, &fields) == nil && string(fields[name]) == "null"
}

func system(m *message) bool {
	return m.kind != Ordinary && m.kind != ReplyMessage && m.kind != CommandAnswer
}

// removeMessage deletes a message; in an archived thread too: "The only operation that should happen within an archived thread is
// messages being deleted."
func (s *Server) removeMessage(q *request) (any, error) {
	c, m, err := s.message(q)
	switch {
	case err != nil:
		return nil, err
	case m.kind == RecipientAdd || m.kind == Renamed || m.kind == ThreadStarter:
		// the table of message types says which can be deleted
		return nil, refuse(http.StatusForbidden, 50021, "Cannot execute action on a system message")
	case m.author != s.bot && !c.may(ManageMessages):
		return nil, errPermission()
	case c.locked && c.archived && !c.may(ManageThreads):
		return nil, errArchived()
	}
	s.deleteMessage(m)
	return nil, nil
}

func (s *Server) deleteMessage(m *message) {
	s.drop(m)
	s.tellOf(m.channel, "MESSAGE_DELETE", intentMessages, object{
		"id": m.id, "channel_id": m.channel.id, "guild_id": m.channel.guild.id,
	})
}

// ownReaction adds or removes the bot's reaction.
func (s *Server) ownReaction(q *request, add bool) (any, error) {
	c, m, err := s.message(q)
	if err != nil {
		return nil, err
	}
	emoji := q.vars["emoji_name"]
	fresh := !slices.ContainsFunc(m.reactions, func(r reaction) bool { return r.emoji == emoji })
	switch {
	case !isEmoji(emoji):
		return nil, refuse(http.StatusBadRequest, 10014, "Unknown Emoji")
	case c.archived:
		return nil, errArchived()
	case add && fresh && !c.may(AddReactions):
		return nil, errPermission()
	case add && fresh && len(m.reactions) >= 20:
		return nil, refuse(http.StatusBadRequest, 30010, "Maximum number of reactions reached (20)")
	}
	s.setReaction(m, s.bot, emoji, add) // what is so already is no error
	return nil, nil
}

// isEmoji says whether a text can be an emoji: name:id, or something that is not plain letters.
func isEmoji(text string) bool {
	if name, id, custom := strings.Cut(text, ":"); custom {
		return name != "" && isSnowflake(id)
	}
	return len(text) <= 40 && strings.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxLatin1 || c == '©' || c == '®' })
}

// setReaction gives a message a user's reaction or takes it away, and tells of it. It returns false if it is so already.
func (s *Server) setReaction(m *message, u *User, emoji string, add bool) bool {
	i := slices.IndexFunc(m.reactions, func(r reaction) bool { return r.emoji == emoji })
	if i < 0 && add {
		i = len(m.reactions)
		m.reactions = append(m.reactions, reaction{emoji: emoji})
	}
	if i < 0 || slices.Contains(m.reactions[i].users, flake(u.ID)) == add {
		return false
	}
	o := object{
		"user_id": u.ID, "channel_id": m.channel.id, "message_id": m.id, "guild_id": m.channel.guild.id, "emoji": s.wireEmoji(emoji),
		"burst": false, "type": 0,
	}
	r := &m.reactions[i]
	if add {
		r.users = append(r.users, flake(u.ID))
		o["member"] = s.wireMember(u, true)
		o.set("message_author_id", m.author.ID, m.webhook == nil)
		s.tellOf(m.channel, "MESSAGE_REACTION_ADD", intentReactions, o)
		return true
	}
	r.users = slices.DeleteFunc(r.users, func(id snowflake) bool { return id == flake(u.ID) })
	if len(r.users) == 0 {
		m.reactions = slices.Delete(m.reactions, i, i+1)
	}
	s.tellOf(m.channel, "MESSAGE_REACTION_REMOVE", intentReactions, o)
	return true
}

func (s *Server) typing(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	need := SendMessages
	if c.kind.thread() {
		need = SendMessagesInThreads
	}
	switch {
	case !c.may(need):
		return nil, errPermission()
	case c.kind == Forum || c.kind == Category:
		return nil, refuse(http.StatusBadRequest, 50008, "Cannot send messages in a non-text channel")
	}
	c.typed++
	return reply{http.StatusNoContent, nil}, nil
}

// maker is the body of a call that makes a thread.
type maker struct {
	Name string   `json:"name"`
	Auto *int     `json:"auto_archive_duration"`
	Slow *int     `json:"rate_limit_per_user"`
	Type *Kind    `json:"type"`
	Tags []string `json:"applied_tags"`
	// Message is the first message of a forum's post.
	Message *form `json:"message"`
}

func (b *maker) auto() int {
	if b.Auto == nil {
		return 4320 // the default of a channel that has none of its own
	}
	return *b.Auto
}

func (s *Server) createThreadAt(q *request) (any, error) {
	c, m, err := s.message(q)
	if err != nil {
		return nil, err
	}
	var body maker
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	switch {
	case c.kind != Text && c.kind != Announcement:
		return nil, refuse(http.StatusBadRequest, 50024, "Cannot execute action on this channel type")
	case !c.may(CreatePublicThreads):
		return nil, errPermission()
	case m.thread != 0:
		return nil, refuse(http.StatusBadRequest, 160004, "A thread has already been created for this message")
	case system(m):
		return nil, refuse(http.StatusBadRequest, 50068, "Invalid message type")
	case c.guild.active >= s.options.ActiveThreads:
		return nil, errThreads()
	case strings.TrimSpace(body.Name) == "":
		return nil, invalidForm(missing("name"))
	}
	return s.wireChannel(s.threadAt(m, s.bot, body.Name, body.auto())), nil
}

// threadAt makes a thread at a message. It has the message's id, and begins with a message that refers to it.
func (s *Server) threadAt(m *message, by *User, name string, auto int) *channel {
	kind := PublicThread
	if m.channel.kind == Announcement {
		kind = AnnouncementThread
	}
	t := s.makeThread(m.id, m.channel, by, name, kind, auto)
	m.thread, m.flags = t.id, m.flags|flagHasThread
	s.tellThread(t)
	s.tellMessage("MESSAGE_UPDATE", m)
	s.tellMessage("MESSAGE_CREATE", s.add(t, &message{
		author: m.author, webhook: m.webhook, kind: ThreadStarter, reference: &reference{m.channel.id, m.id},
	}))
	return t
}

// newThread makes a thread with an id of its own.
func (s *Server) newThread(parent *channel, by *User, name string, kind Kind, auto int) *channel {
	return s.makeThread(s.newID(), parent, by, name, kind, auto)
}

func (s *Server) makeThread(id snowflake, parent *channel, by *User, name string, kind Kind, auto int) *channel {
	t := &channel{
		id: id, kind: kind, guild: parent.guild, name: strings.TrimSpace(name), parent: parent, owner: flake(by.ID), autoArchive: auto,
		created: time.Now(), archivedAt: time.Now(), members: map[snowflake]time.Time{flake(by.ID): time.Now()},
	}
	parent.guild.active++
	parent.last = max(parent.last, id)
	s.channels[t.id] = t
	return t
}

// join makes a user a member of a thread, as writing to it does.
func (s *Server) join(c *channel, u *User) {
	if c.parent == nil {
		return
	}
	if _, in := c.members[flake(u.ID)]; !in && s.users[flake(u.ID)] != nil {
		c.members[flake(u.ID)] = time.Now()
	}
}

func (s *Server) createThread(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	var body maker
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	switch {
	case c.kind != Text && c.kind != Announcement && c.kind != Forum:
		return nil, refuse(http.StatusBadRequest, 50024, "Cannot execute action on this channel type")
	case strings.TrimSpace(body.Name) == "":
		return nil, invalidForm(missing("name"))
	case c.kind == Forum && body.Message == nil:
		return nil, invalidForm(missing("message"))
	case c.kind != Forum && (body.Message != nil || len(q.uploads) > 0 || len(body.Tags) > 0):
		return nil, stage.Faultf("create_thread: only a forum's post has a message or tags")
	case c.kind == Forum:
		t, first, err := s.createPost(c, s.bot, nil, &body, q)
		if err != nil {
			return nil, err
		}
		o := s.wireChannel(t)
		o["message"] = s.wireMessage(first, true)
		return o, nil
	}
	// "type currently defaults to PRIVATE_THREAD", for the sake of those who wrote to the first documentation.
	kind := PrivateThread
	if body.Type != nil {
		kind = *body.Type
	}
	need := CreatePublicThreads
	if kind == PrivateThread {
		need = CreatePrivateThreads
	}
	switch {
	case !kind.thread():
		return nil, invalidForm(problem{[]string{"type"}, "BASE_TYPE_CHOICES", "Value must be one of {10, 11, 12}."})
	case !c.may(need):
		return nil, errPermission()
	case c.guild.active >= s.options.ActiveThreads:
		return nil, errThreads()
	}
	t := s.newThread(c, s.bot, body.Name, kind, body.auto())
	s.tellThread(t)
	if kind != PrivateThread {
		s.announceThread(t, s.bot)
	}
	return s.wireChannel(t), nil
}

// createPost makes a post in a forum: a thread whose first message has its id.
func (s *Server) createPost(c *channel, author *User, hook *webhook, body *maker, q *request) (*channel, *message, error) {
	prefix := []string{"message"}
	if hook != nil {
		prefix = nil
	}
	switch {
	case hook == nil && !c.may(SendMessages):
		return nil, nil, errPermission()
	case c.guild.active >= s.options.ActiveThreads:
		return nil, nil, errThreads()
	}
	applied, err := c.tagged(body.Tags)
	if err != nil {
		return nil, nil, err
	}
	m := &message{author: author, webhook: hook}
	if m.flags, err = body.Message.flags(q.op.Name, flagNoEmbeds|flagSilent); err != nil {
		return nil, nil, err
	}
	if err := s.fill(m, body.Message, q.uploads, prefix...); err != nil {
		return nil, nil, err
	}
	t := s.newThread(c, author, body.Name, PublicThread, body.auto())
	t.applied = applied
	m.id = t.id
	m.pings = s.pings(m, t, body.Message.AllowedMentions, hook == nil)
	s.tellThread(t)
	s.tellMessage("MESSAGE_CREATE", s.add(t, m))
	return t, m, nil
}

// announceThread writes the system message that the channel gets for a thread without a message.
func (s *Server) announceThread(t *channel, by *User) {
	s.tellMessage("MESSAGE_CREATE", s.add(t.parent, &message{
		author: by, kind: ThreadCreated, text: t.name, reference: &reference{channel: t.id},
	}))
}

// setArchived archives a thread or opens it again.
func (s *Server) setArchived(t *channel, archived bool) {
	if t.archived == archived {
		return
	}
	t.archived, t.archivedAt = archived, time.Now()
	if archived {
		t.guild.active--
	} else {
		t.guild.active++
	}
	s.tellOf(t, "THREAD_UPDATE", intentGuilds, s.wireChannel(t))
}

func (s *Server) activeThreads(q *request) (any, error) {
	g, err := s.guildFor(q)
	if err != nil {
		return nil, err
	}
	var list []*channel
	for _, t := range s.channels {
		if t.guild == g && t.parent != nil && !t.archived && t.may(ViewChannel) {
			list = append(list, t)
		}
	}
	// "Threads are ordered by their id, in descending order."
	slices.SortFunc(list, func(a, b *channel) int { return cmp.Compare(b.id, a.id) })
	return s.wireThreads(list, false), nil
}

func (s *Server) wireThreads(list []*channel, more bool) object {
	threads, members := make([]object, 0, len(list)), make([]any, 0)
	for _, t := range list {
		o := s.wireChannel(t)
		if member, in := o["member"]; in {
			members = append(members, member)
			delete(o, "member")
		}
		threads = append(threads, o)
	}
	return object{"threads": threads, "members": members, "has_more": more}
}

// archivedThreads returns a channel's archived public threads, the last archived first.
func (s *Server) archivedThreads(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	switch {
	case err != nil:
		return nil, err
	case !c.may(ReadMessageHistory):
		return nil, errPermission()
	case c.kind != Text && c.kind != Announcement && c.kind != Forum:
		return nil, refuse(http.StatusBadRequest, 50024, "Cannot execute action on this channel type")
	}
	before := time.Time{}
	if q.query["before"] != "" {
		if before, err = time.Parse(time.RFC3339, q.query["before"]); err != nil {
			return nil, stage.Faultf("list_public_archived_threads: before is no time")
		}
	}
	limit := 50 // the docs name no default
	if n, err := strconv.Atoi(q.query["limit"]); err == nil {
		limit = n
	}
	var list []*channel
	for _, t := range s.channels {
		if t.parent == c && t.archived && t.kind != PrivateThread && (before.IsZero() || t.archivedAt.Before(before)) {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *channel) int {
		return cmp.Or(b.archivedAt.Compare(a.archivedAt), cmp.Compare(b.id, a.id))
	})
	more := len(list) > limit
	return s.wireThreads(list[:min(limit, len(list))], more), nil
}
