package discord

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"
)

// What is read of Discord's objects. Most of discordgo's own types are not read into: they fail on the whole of a message for one
// component that they do not know, and on the whole of a channel, role or member for a permission above the 63rd, which Discord
// writes as a text of any length. Fields whose mere presence tells something stay raw.

type user struct {
	ID         string `json:"id"`
	Name       string `json:"username"`
	GlobalName string `json:"global_name"`
	Bot        bool   `json:"bot"`
}

type member struct {
	User *user  `json:"user"`
	Nick string `json:"nick"`
}

type channel struct {
	ID      string                    `json:"id"`
	Type    discordgo.ChannelType     `json:"type"`
	GuildID string                    `json:"guild_id"`
	Parent  string                    `json:"parent_id"`
	Owner   string                    `json:"owner_id"`
	Name    string                    `json:"name"`
	Last    string                    `json:"last_message_id"`
	Flags   discordgo.ChannelFlags    `json:"flags"`
	Tags    []discordgo.ForumTag      `json:"available_tags"`
	Thread  *discordgo.ThreadMetadata `json:"thread_metadata"`
}

// firstTag returns the first of a forum's tags that is for everybody, else the first: those for moderators want the permission Manage
// Threads, which the bot should have.
func (c channel) firstTag() string {
	for _, t := range c.Tags {
		if !t.Moderated {
			return t.ID
		}
	}
	if len(c.Tags) == 0 {
		return ""
	}
	return c.Tags[0].ID
}

type threadList struct {
	Threads []channel `json:"threads"`
	More    bool      `json:"has_more"`
}

type attachment struct {
	ID       string `json:"id"`
	Filename string `json:"filename"`
	Title    string `json:"title"` // the name as it was, where Discord has changed it
	Type     string `json:"content_type"`
	Size     int64  `json:"size"`
	URL      string `json:"url"`
}

type embed struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Footer      *struct {
		Text string `json:"text"`
	} `json:"footer"`
}

type message struct {
	ID        string                `json:"id"`
	Type      discordgo.MessageType `json:"type"`
	ChannelID string                `json:"channel_id"`
	WebhookID string                `json:"webhook_id"`
	Author    *user                 `json:"author"`
	Member    *member               `json:"member"`
	Content   *string               `json:"content"`
	Edited    *string               `json:"edited_timestamp"`
	Nonce     json.RawMessage       `json:"nonce"` // a text or a number
	Mentions  []struct {
		user
		Member *member `json:"member"`
	} `json:"mentions"`
	Attachments []attachment                `json:"attachments"`
	Embeds      []embed                     `json:"embeds"`
	Stickers    []discordgo.StickerItem     `json:"sticker_items"`
	Poll        *poll                       `json:"poll"`
	Reference   *discordgo.MessageReference `json:"message_reference"`
	Snapshots   []struct {
		Message message `json:"message"`
	} `json:"message_snapshots"`
}

type poll struct {
	Question discordgo.PollMedia    `json:"question"`
	Answers  []discordgo.PollAnswer `json:"answers"`
}

// nonce returns a message's nonce as a text.
func (m *message) nonce() string { return strings.Trim(string(m.Nonce), `"`) }

func (m *message) content() string {
	if m.Content == nil {
		return ""
	}
	return *m.Content
}

// editedAt returns when a message was given another text; false for one that never was.
func (m *message) editedAt() (time.Time, bool) {
	if m.Edited == nil {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, *m.Edited)
	return at.UTC(), err == nil
}

// deletion is MESSAGE_DELETE, and MESSAGE_DELETE_BULK with its list.
type deletion struct {
	discordgo.MessageDeleteBulk
	ID string `json:"id"`
}

// reaction is MESSAGE_REACTION_ADD.
type reaction struct {
	discordgo.MessageReaction
	Member *member `json:"member"`
}

// typing is TYPING_START.
type typing struct {
	discordgo.TypingStart
	Member *member `json:"member"`
}

type role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// interaction is what a slash command, or the press of a button, brings about.
type interaction struct {
	ID            string                    `json:"id"`
	ApplicationID string                    `json:"application_id"`
	Type          discordgo.InteractionType `json:"type"`
	Token         string                    `json:"token"`
	GuildID       string                    `json:"guild_id"`
	ChannelID     string                    `json:"channel_id"`
	Member        *member                   `json:"member"`
	User          *user                     `json:"user"`
	Data          struct {
		Name     string   `json:"name"`
		Options  []option `json:"options"`
		CustomID string   `json:"custom_id"` // of a button that was pressed
	} `json:"data"`
	Message *struct { // that has the button
		ID string `json:"id"`
	} `json:"message"`
}

// option is a field of a command that was filled in.
type option struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}
