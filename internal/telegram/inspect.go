package telegram

import (
	"context"
	"strconv"
	"time"

	"github.com/go-telegram/bot"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

var _ bridge.Inspector = (*Telegram)(nil)

// Inspect implements bridge.Inspector: who the bot is, what the chat is, and what the bot may do there.
func (t *Telegram) Inspect(ctx context.Context, _ bool) (in bridge.Inspection) {
	in.Hears = "polling"
	if t.hookURL != "" {
		in.Hears = "webhook"
	}
	var me struct {
		user
		ReadsAll bool `json:"can_read_all_group_messages"`
	}
	if err := t.ask(ctx, opMe, &me, func(ctx context.Context) error { return only(t.api.GetMe(ctx)) }); err != nil {
		in.Lacks = append(in.Lacks, t.lack("TELEGRAM_BOT_TOKEN", err, "is not known to Telegram; "+TokenHow))
		return in
	}
	in.Bot = "@" + me.Username
	in.Invite = "https://t.me/" + me.Username + "?startgroup&admin=manage_topics"
	chatID, _ := t.place()
	var c struct {
		chat
		Permissions struct {
			Sends *bool `json:"can_send_messages"`
		} `json:"permissions"` // of those who are no administrators
	}
	err := t.ask(ctx, opChat, &c, func(ctx context.Context) error { return only(t.api.GetChat(ctx, &bot.GetChatParams{ChatID: chatID})) })
	if err != nil {
		in.Lacks = append(in.Lacks, t.lack("TELEGRAM_CHAT_ID", err, "is no chat that "+in.Bot+" is in; add the bot to the group, and: "+ChatIDHow))
		return in
	}
	in.Place = c.title()
	if c.Type != "private" {
		if !c.IsForum {
			in.Lacks = append(in.Lacks, "TELEGRAM_CHAT_ID: "+in.Place+" has no topics, and all visitors are shown in one stream; turn on Topics in the "+
				"group's settings")
		}
		mute := c.Permissions.Sends != nil && !*c.Permissions.Sends
		in.Lacks = append(in.Lacks, t.rights(ctx, member{chatID, me.ID, me.ReadsAll, c.IsForum, mute}, in)...)
	}
	if t.hookURL != "" {
		in.Lacks = append(in.Lacks, t.hookLacks(ctx)...)
	}
	return in
}

// title names a chat for people.
func (c *chat) title() string {
	if c.Title == "" {
		return "the private chat " + strconv.FormatInt(c.ID, 10)
	}
	return "the group " + strconv.Quote(c.Title)
}

// member is the bot in its group.
type member struct {
	chat, bot       int64
	readsAll        bool // its privacy mode is off
	forum           bool // the group has topics
	membersAreMuted bool
}

// rights returns what the bot may not do in its group.
func (t *Telegram) rights(ctx context.Context, of member, in bridge.Inspection) []string {
	var m struct {
		Status string `json:"status"`
		Topics bool   `json:"can_manage_topics"`
		Sends  *bool  `json:"can_send_messages"` // of a member with restrictions
	}
	err := t.ask(ctx, opMember, &m, func(ctx context.Context) error {
		return only(t.api.GetChatMember(ctx, &bot.GetChatMemberParams{ChatID: of.chat, UserID: of.bot}))
	})
	const where = "TELEGRAM_CHAT_ID: "
	switch {
	case err != nil:
		return []string{t.lack("TELEGRAM_CHAT_ID", err, in.Bot+" may not look at "+in.Place+"; add it to the group again")}
	case m.Status == "left", m.Status == "kicked":
		return []string{where + in.Bot + " is not in " + in.Place + "; add it to the group, as an administrator with the right Manage topics"}
	case m.Status == "creator":
		return nil
	case m.Status == "administrator" && of.forum && !m.Topics:
		return []string{where + in.Bot + " may not open topics in " + in.Place + "; give it the right Manage topics, under Administrators"}
	case m.Status == "administrator":
		return nil
	}
	var lacks []string
	if m.Status == "restricted" && m.Sends != nil && !*m.Sends || m.Status == "member" && of.membersAreMuted {
		lacks = append(lacks, where+in.Bot+" may not write in "+in.Place+"; make it an administrator, with the right Manage topics")
	}
	if of.forum {
		lacks = append(lacks, where+in.Bot+" is no administrator of "+in.Place+" and may not open topics; make it one, with the right Manage topics")
	}
	if !of.readsAll {
		lacks = append(lacks, where+in.Bot+" does not hear what operators write in "+in.Place+"; make it an administrator, or turn its privacy "+
			"mode off with /setprivacy of @BotFather and add it anew")
	}
	return lacks
}

// hookLacks returns what Telegram says of its last deliveries to the webhook.
func (t *Telegram) hookLacks(ctx context.Context) []string {
	var info hookInfo
	err := t.ask(ctx, opHooked, &info, func(ctx context.Context) error { return only(t.api.GetWebhookInfo(ctx)) })
	if err != nil || info.URL != t.hookURL || info.LastError == "" {
		return nil // another URL is put right at the start
	}
	return []string{"PUBLIC_URL: Telegram could not send an update there at " + time.Unix(info.LastFault, 0).UTC().Format(time.RFC3339) + ": " +
		platform.Plainly(info.LastError, t.secrets) + "; see that the internet reaches PUBLIC_URL/webhooks/telegram, by https with a certificate that holds"}
}

// lack says why something could not be asked for: Telegram refuses it, or cannot be reached.
func (t *Telegram) lack(setting string, err error, refused string) string {
	d := bridge.AsDelivery(err, "", "it could not be asked")
	switch d.Reason {
	case bridge.ReasonTransient, bridge.ReasonRateLimited, bridge.ReasonUnconfirmed:
		return "TELEGRAM_API_URL: Telegram cannot be asked (" + d.Detail + "); see that this machine reaches " + hostOf(t.base)
	}
	return setting + ": " + refused + " (" + d.Detail + ")"
}
