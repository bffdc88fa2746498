package main

import (
	"cmp"

	"github.com/pocketping/bridge/internal/discord"
	"github.com/pocketping/bridge/internal/slack"
)

// parsed reads a variable that one of the platforms knows to read; one that is not set is left out.
func parsed[T any](e *environment, name, text string, parse func(string) (T, error)) T {
	var none T
	if text == "" {
		return none
	}
	value, err := parse(text)
	if err != nil {
		e.fault(name, "%v", err)
		return none
	}
	return value
}

// together finds fault with a variable that is set without the one that it needs.
func (e *environment) together(name string, set bool, needed string, there bool, how string) {
	if set && !there && !e.failed(needed) {
		e.fault(needed, "is not set, but %s is; %s", name, how)
	}
}

func (e *environment) discord(c *Config) {
	d := discord.Config{
		Rate: e.pace("DISCORD_RATE", discord.DefaultRate, "a second"), TestBotIDs: e.list("BRIDGE_TEST_BOT_IDS"),
	}
	token, hook := e.secret("DISCORD_BOT_TOKEN"), e.secret("DISCORD_WEBHOOK_URL")
	channel, key := e.text("DISCORD_CHANNEL_ID"), e.text("DISCORD_PUBLIC_KEY")
	d.APIURL = parsed(e, "DISCORD_API_URL", cmp.Or(e.text("DISCORD_API_URL"), discord.DefaultAPIURL), discord.ParseAPIURL)
	d.Token = parsed(e, "DISCORD_BOT_TOKEN", token.Reveal(), discord.ParseToken)
	if d.Token != "" && d.APIURL == discord.DefaultAPIURL && !discord.LooksReal(d.Token) {
		e.fault("DISCORD_BOT_TOKEN", "is no bot token of Discord's; %s", discord.TokenHow)
	}
	d.ChannelID = parsed(e, "DISCORD_CHANNEL_ID", channel, discord.ParseChannelID)
	parsed(e, "DISCORD_PUBLIC_KEY", key, discord.ParsePublicKey)
	d.PublicKey = key
	d.Notify = parsed(e, "DISCORD_NOTIFY", cmp.Or(e.text("DISCORD_NOTIFY"), "here"), discord.ParseNotify)
	d.EnableGateway = e.boolean("DISCORD_ENABLE_GATEWAY", true)
	if d.WebhookURL = hook; hook != "" {
		if err := discord.CheckWebhookURL(hook); err != nil {
			e.fault("DISCORD_WEBHOOK_URL", "%v", err)
		}
	}
	d.Username = parsed(e, "DISCORD_USERNAME", e.text("DISCORD_USERNAME"), discord.ParseUsername)
	d.AvatarURL = e.text("DISCORD_AVATAR_URL")
	if err := discord.CheckAvatarURL(d.AvatarURL); err != nil {
		e.fault("DISCORD_AVATAR_URL", "%v", err)
	}

	if hook != "" && token != "" {
		e.fault("DISCORD_WEBHOOK_URL", "is set beside DISCORD_BOT_TOKEN; a webhook only sends: leave it out, and the bot does both")
	}
	e.together("DISCORD_BOT_TOKEN", token != "", "DISCORD_CHANNEL_ID", channel != "", discord.ChannelIDHow)
	e.together("DISCORD_CHANNEL_ID", channel != "", "DISCORD_BOT_TOKEN", token != "" || hook != "", discord.TokenHow)
	e.together("DISCORD_PUBLIC_KEY", key != "", "DISCORD_BOT_TOKEN", token != "", discord.TokenHow)
	switch {
	case token == "" && hook == "":
		return
	case token == "":
		c.Warnings = append(c.Warnings, "Discord is served by a webhook, which only sends: what operators write there reaches nobody; "+
			"set DISCORD_BOT_TOKEN and DISCORD_CHANNEL_ID to hear them")
	case !d.EnableGateway && key == "":
		c.Warnings = append(c.Warnings, "DISCORD_ENABLE_GATEWAY is false and DISCORD_PUBLIC_KEY is not set: operators in Discord are not heard")
	case !d.EnableGateway:
		c.Warnings = append(c.Warnings, "DISCORD_ENABLE_GATEWAY is false: in Discord only slash commands are heard, "+
			"and visitors are answered with /reply")
	}
	c.Discord = &d
}

func (e *environment) slack(c *Config) {
	s := slack.Config{Rate: e.pace("SLACK_RATE", 1, "a second"), TestBotIDs: e.list("BRIDGE_TEST_BOT_IDS")}
	token, hook := e.secret("SLACK_BOT_TOKEN"), e.secret("SLACK_WEBHOOK_URL")
	app, signing := e.secret("SLACK_APP_TOKEN"), e.secret("SLACK_SIGNING_SECRET")
	channel := e.text("SLACK_CHANNEL_ID")
	s.APIURL = parsed(e, "SLACK_API_URL", cmp.Or(e.text("SLACK_API_URL"), slack.DefaultAPIURL), slack.ParseAPIURL)
	s.BotToken = parsed(e, "SLACK_BOT_TOKEN", token.Reveal(), slack.ParseBotToken)
	s.AppToken = parsed(e, "SLACK_APP_TOKEN", app.Reveal(), slack.ParseAppToken)
	s.SigningSecret = parsed(e, "SLACK_SIGNING_SECRET", signing.Reveal(), slack.ParseSigningSecret)
	s.ChannelID = parsed(e, "SLACK_CHANNEL_ID", channel, slack.ParseChannelID)
	s.WebhookURL = parsed(e, "SLACK_WEBHOOK_URL", hook.Reveal(), slack.ParseWebhookURL)
	s.Username = parsed(e, "SLACK_USERNAME", e.text("SLACK_USERNAME"), slack.ParseUsername)
	s.Notify = parsed(e, "SLACK_NOTIFY", cmp.Or(e.text("SLACK_NOTIFY"), "here"), slack.ParseNotify)
	s.IconEmoji = parsed(e, "SLACK_ICON_EMOJI", e.text("SLACK_ICON_EMOJI"), slack.ParseIconEmoji)

	if hook != "" && token != "" {
		e.fault("SLACK_WEBHOOK_URL", "is set beside SLACK_BOT_TOKEN; a webhook only sends: leave it out, and the bot does both")
	}
	e.together("SLACK_BOT_TOKEN", token != "", "SLACK_CHANNEL_ID", channel != "", slack.ChannelIDHow)
	for _, other := range []struct {
		name string
		set  bool
	}{{"SLACK_CHANNEL_ID", channel != "" && hook == ""}, {"SLACK_APP_TOKEN", app != ""}, {"SLACK_SIGNING_SECRET", signing != ""}} {
		e.together(other.name, other.set, "SLACK_BOT_TOKEN", token != "", slack.BotTokenHow)
	}
	switch {
	case token == "" && hook == "":
		return
	case token == "":
		c.Warnings = append(c.Warnings, "Slack is served by a webhook, which only sends: what operators write there reaches nobody; "+
			"set SLACK_BOT_TOKEN, SLACK_CHANNEL_ID and SLACK_APP_TOKEN to hear them")
	case app == "" && signing == "":
		c.Warnings = append(c.Warnings, "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set: what operators write in Slack reaches "+
			"nobody; set SLACK_APP_TOKEN (Socket Mode: nothing has to be reachable from outside), or SLACK_SIGNING_SECRET with the Events API "+
			"at PUBLIC_URL/webhooks/slack")
	}
	c.Slack = &s
}
