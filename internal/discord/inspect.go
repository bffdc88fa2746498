package discord

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
)

var _ bridge.Inspector = (*Discord)(nil)

// Permissions are those that the bot is invited with: what it needs, to call people to a visitor whom nobody has answered, and to show who speaks
// under their own names.
const Permissions = discordgo.PermissionViewChannel | discordgo.PermissionSendMessages | discordgo.PermissionSendMessagesInThreads |
	discordgo.PermissionManageThreads | discordgo.PermissionEmbedLinks | discordgo.PermissionAttachFiles | discordgo.PermissionReadMessageHistory |
	discordgo.PermissionAddReactions | discordgo.PermissionCreatePublicThreads | discordgo.PermissionMentionEveryone |
	discordgo.PermissionManageWebhooks

// permission is a permission, and what people call it.
type permission struct {
	bit  int64
	name string
}

// needed are the permissions that the bot must have in the operators' channel.
func needed(forum bool) []permission {
	all := []permission{
		{discordgo.PermissionViewChannel, "View Channel"},
		{discordgo.PermissionSendMessages, "Send Messages"},
		{discordgo.PermissionSendMessagesInThreads, "Send Messages in Threads"},
		{discordgo.PermissionManageThreads, "Manage Threads"},
		{discordgo.PermissionEmbedLinks, "Embed Links"},
		{discordgo.PermissionAttachFiles, "Attach Files"},
		{discordgo.PermissionReadMessageHistory, "Read Message History"},
		{discordgo.PermissionAddReactions, "Add Reactions"},
	}
	if !forum { // a forum's posts are begun with Send Messages
		all = append(all, permission{discordgo.PermissionCreatePublicThreads, "Create Public Threads"})
	}
	return all
}

// Inspect implements bridge.Inspector: who the bot is, what its application may hear, and what it may do in the channel.
func (d *Discord) Inspect(ctx context.Context, _ bool) (in bridge.Inspection) {
	var app struct {
		ID        string `json:"id"`
		Flags     int64  `json:"flags"`
		VerifyKey string `json:"verify_key"`
		Endpoint  string `json:"interactions_endpoint_url"`
		Bot       user   `json:"bot"`
	}
	if err := d.get(ctx, opApp, "/applications/@me", false, &app); err != nil {
		in.Lacks = []string{d.lack("DISCORD_BOT_TOKEN", err)}
		return in
	}
	in.Bot, in.Clock = app.Bot.Name, d.rest.now().Sub(d.rest.clock())
	in.Invite = fmt.Sprintf("https://discord.com/oauth2/authorize?client_id=%s&scope=bot+applications.commands&permissions=%d", url.QueryEscape(app.ID), Permissions)
	if d.gateway {
		in.Hears = "gateway"
		const content = 1<<18 | 1<<19 // GATEWAY_MESSAGE_CONTENT and its limited form
		if app.Flags&content == 0 {
			in.Lacks = append(in.Lacks, "DISCORD_BOT_TOKEN: the application may not read what operators write; turn on Message Content Intent in the "+
				"developer portal, under Bot")
		}
	} else if d.key != nil {
		in.Hears = "slash commands"
	}
	switch {
	case d.key != nil && !strings.EqualFold(app.VerifyKey, hex.EncodeToString(d.key)):
		in.Lacks = append(in.Lacks, "DISCORD_PUBLIC_KEY: it is another application's than the token's; copy the public key from the developer portal, "+
			"under General Information")
	case d.key == nil && app.Endpoint != "":
		in.Lacks = append(in.Lacks, "DISCORD_PUBLIC_KEY: Discord sends slash commands to the application's Interactions Endpoint URL, and they do not "+
			"get here; remove that URL in the developer portal, or set DISCORD_PUBLIC_KEY and put PUBLIC_URL/webhooks/discord there")
	}
	var c struct {
		channel
		Overwrites []overwrite `json:"permission_overwrites"`
	}
	if err := d.get(ctx, opChannel, "/channels/"+d.channel, true, &c); err != nil {
		in.Lacks = append(in.Lacks, d.lack("DISCORD_CHANNEL_ID", err))
		return in
	}
	in.Place = "#" + c.Name
	h, fault := homeOf(c.channel)
	if fault != nil {
		in.Lacks = append(in.Lacks, "DISCORD_CHANNEL_ID: "+in.Place+" is of another kind: "+fault.Detail)
		return in
	}
	missing, faces, err := d.missing(ctx, h, app.Bot.ID, c.Overwrites)
	if err == nil && !faces {
		in.Advice = "with Manage Webhooks visitors would speak under their own names"
	}
	switch {
	case err != nil:
		in.Lacks = append(in.Lacks, d.lack("DISCORD_CHANNEL_ID", err))
	case len(missing) > 0:
		in.Lacks = append(in.Lacks, "DISCORD_CHANNEL_ID: the bot "+in.Bot+" lacks "+strings.Join(missing, ", ")+" in "+in.Place+
			"; give them to its role, in the channel's or the server's settings, or invite it anew by "+in.Invite)
	}
	return in
}

// overwrite is what a channel changes of the permissions of a role or a member.
type overwrite struct {
	ID    string `json:"id"`
	Allow string `json:"allow"`
	Deny  string `json:"deny"`
}

// missing returns which of the needed permissions the bot does not have in the channel, and whether people can have faces there, computed as
// Discord says (https://docs.discord.com/developers/topics/permissions#permission-overwrites).
func (d *Discord) missing(ctx context.Context, h homeChannel, self string, overwrites []overwrite) (names []string, faces bool, err error) {
	var g struct {
		Owner string `json:"owner_id"`
		Roles []struct {
			ID          string `json:"id"`
			Permissions string `json:"permissions"`
		} `json:"roles"`
	}
	var m struct {
		Roles []string `json:"roles"`
	}
	if err := d.get(ctx, opGuild, "/guilds/"+flake(h.guild).String(), true, &g); err != nil {
		return nil, false, err
	}
	if err := d.get(ctx, opMember, "/guilds/"+flake(h.guild).String()+"/members/"+flake(self).String(), true, &m); err != nil {
		return nil, false, err
	}
	if g.Owner == self {
		return nil, true, nil
	}
	mine := func(id string) bool { return slices.Contains(m.Roles, id) }
	has := int64(0)
	for _, r := range g.Roles {
		if mine(r.ID) || r.ID == h.guild { // the role for everyone has the server's id
			has |= bits(r.Permissions)
		}
	}
	if has&discordgo.PermissionAdministrator != 0 {
		return nil, true, nil
	}
	change := func(applies func(id string) bool) {
		allow, deny := int64(0), int64(0)
		for _, o := range overwrites {
			if applies(o.ID) {
				allow, deny = allow|bits(o.Allow), deny|bits(o.Deny)
			}
		}
		has = has&^deny | allow
	}
	change(func(id string) bool { return id == h.guild })
	change(mine)
	change(func(id string) bool { return id == self })
	for _, p := range needed(h.forum) {
		if has&p.bit == 0 {
			names = append(names, p.name)
		}
	}
	return names, has&discordgo.PermissionManageWebhooks != 0, nil
}

func bits(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// lack says why something could not be asked for: Discord refuses it, or cannot be reached.
func (d *Discord) lack(setting string, err error) string {
	fault := bridge.AsDelivery(err, "", "it could not be asked")
	switch fault.Reason {
	case bridge.ReasonTransient, bridge.ReasonRateLimited, bridge.ReasonUnconfirmed:
		host := d.rest.base
		if u, err := url.Parse(host); err == nil {
			host = u.Host
		}
		return "DISCORD_API_URL: Discord cannot be asked (" + fault.Detail + "); see that this machine reaches " + host
	}
	return setting + ": " + fault.Detail
}
