package slack

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// DefaultAPIURL is Slack's own Web API.
const DefaultAPIURL = "https://slack.com/api/"

// Config is what the adapters need to know: New all but WebhookURL, NewWebhook that instead of BotToken and ChannelID. The zero
// values of the rest are good.
type Config struct {
	BotToken  bridge.Secret
	ChannelID string // the operators' channel

	// How operators are heard: AppToken by Socket Mode, SigningSecret by requests of the Events API. Neither: not at all.
	AppToken      bridge.Secret
	SigningSecret bridge.Secret

	WebhookURL bridge.Secret // an incoming webhook's; whoever has it can post

	// Username and IconEmoji are what messages are shown under; empty: the app's own. They need the scope chat:write.customize.
	Username  string
	IconEmoji string

	// Notify is whom a visitor's word calls while no operator is known to be there, as ParseNotify returns it; empty: nobody.
	Notify string

	APIURL     string   // a server that speaks the Web API; empty: DefaultAPIURL
	Rate       int      // messages a second to the channel; 0: no pace of our own
	TestBotIDs []string // bot ids or user ids of bots whose messages count as a person's

	Timeout time.Duration // of a call; 0: 30 seconds
}

// How to get the values that only Slack knows.
const (
	BotTokenHow = "https://api.slack.com/apps, your app, OAuth & Permissions shows it as “Bot User OAuth Token”, " +
		"and it begins with xoxb-"
	AppTokenHow = "https://api.slack.com/apps, your app, Basic Information, App-Level Tokens makes one with the scope " +
		"connections:write, and it begins with xapp-"
	ChannelIDHow = "in Slack, the channel's details show it at their end (“Copy channel ID”), and it looks like C0123456789"
	SigningHow   = "https://api.slack.com/apps, your app, Basic Information shows it as “Signing Secret”, and it has 32 characters"
	WebhookHow   = "https://api.slack.com/apps, your app, Incoming Webhooks shows it, and it looks like " +
		"https://hooks.slack.com/services/T…/B…/…"
)

// ParseBotToken reads the token of the app's bot; white space around it is taken off. It takes more than Slack hands out, since
// a stand-in may have tokens of its own. Its errors do not show the token.
func ParseBotToken(text string) (bridge.Secret, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(text, "xapp-"):
		return "", errors.New("is an app-level token, which belongs into SLACK_APP_TOKEN; " + BotTokenHow)
	case strings.HasPrefix(text, "xoxp-"), strings.HasPrefix(text, "xoxe.xoxp-"):
		return "", errors.New("is a person's token, and all would be written in that person's name; " + BotTokenHow)
	case strings.HasPrefix(text, "xoxc-"), strings.HasPrefix(text, "xoxd-"):
		return "", errors.New("is a browser's token; " + BotTokenHow)
	}
	return parseToken(text, BotTokenHow)
}

// ParseAppToken reads the app-level token for Socket Mode. Its errors do not show the token.
func ParseAppToken(text string) (bridge.Secret, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "xoxb-") || strings.HasPrefix(text, "xoxp-") {
		return "", errors.New("is a token of the workspace, not of the app; " + AppTokenHow)
	}
	return parseToken(text, AppTokenHow)
}

func parseToken(text, how string) (bridge.Secret, error) {
	switch {
	case text == "":
		return "", errors.New("is empty; " + how)
	case strings.Contains(text, "://"):
		return "", errors.New("is a URL, not a token; " + how)
	case strings.ContainsFunc(text, unicode.IsSpace):
		return "", errors.New("holds white space; copy the token alone: " + how)
	case strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' }):
		return "", errors.New("holds a character that no token has; copy it again: " + how)
	}
	return bridge.Secret(text), nil
}

var (
	channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{5,}$`)
	emojiName = regexp.MustCompile(`^[a-z0-9_+'-]+(::skin-tone-[2-6])?$`)
)

// ParseChannelID reads the id of one channel.
func ParseChannelID(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("is empty; " + ChannelIDHow)
	case strings.ContainsAny(text, ",; \t\r\n"):
		return "", errors.New("holds several ids; the operators' channel is one")
	case strings.HasPrefix(text, "#"):
		return "", errors.New("is a name; the id is needed: " + ChannelIDHow)
	case strings.Contains(text, "/"):
		return "", errors.New("is a link; the id alone is needed: " + ChannelIDHow)
	case strings.HasPrefix(text, "U"), strings.HasPrefix(text, "T"):
		return "", errors.New("is the id of a person or a workspace, not of a channel; " + ChannelIDHow)
	case !channelID.MatchString(text):
		return "", errors.New("is not a channel's id; " + ChannelIDHow)
	}
	return text, nil
}

// ParseNotify reads whom a visitor's word calls while no operator is known to be there: a user group's id, here, or off.
func ParseNotify(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch word := strings.ToLower(strings.TrimPrefix(text, "@")); {
	case word == notifyHere:
		return notifyHere, nil
	case word == "off":
		return "", nil
	case !groupID.MatchString(text) || len(text) < 6:
		return "", errors.New("is neither here, nor off, nor a user group's id: in Slack, under People & user groups, the group's menu " +
			"copies it, and it looks like S0123456789")
	}
	return text, nil
}

// ParseSigningSecret reads the secret with which Slack signs its requests. Its errors do not show the secret.
func ParseSigningSecret(text string) (bridge.Secret, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("is empty; " + SigningHow)
	case strings.HasPrefix(text, "xoxb-"), strings.HasPrefix(text, "xapp-"):
		return "", errors.New("is a token; " + SigningHow)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("has a character that it cannot have; " + SigningHow)
	case len(text) < 16:
		return "", errors.New("is too short; " + SigningHow)
	}
	return bridge.Secret(text), nil
}

// ParseWebhookURL reads the URL of an incoming webhook. Its errors do not show the URL.
func ParseWebhookURL(text string) (bridge.Secret, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", errors.New("is empty; " + WebhookHow)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
		return "", errors.New("is not a webhook's URL; " + WebhookHow)
	case isSlackHost(u.Hostname()) && (u.Scheme != "https" || !strings.HasPrefix(u.Path, "/")):
		return "", errors.New("must begin with https://; " + WebhookHow)
	case strings.Trim(u.Path, "/") == "":
		return "", errors.New("names a host alone; " + WebhookHow)
	}
	return bridge.Secret(text), nil
}

// ParseAPIURL reads the base URL of a Web API; empty is Slack's own. It ends with a slash, whether or not the text does. Its errors
// do not show the URL.
func ParseAPIURL(text string) (string, error) {
	text, err := platform.ParseAPIURL(text, DefaultAPIURL)
	if err != nil {
		return "", err
	}
	return text + "/", nil
}

// maxUsername is the longest name that a message may be shown under, in characters.
const maxUsername = 80

// ParseUsername reads the name that messages are shown under; empty is the app's own.
func ParseUsername(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case utf8.RuneCountInString(text) > maxUsername:
		return "", errors.New("is too long; 80 characters are the most")
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", errors.New("holds a control character")
	}
	return text, nil
}

// ParseIconEmoji reads an emoji's name, with or without its colons; empty is the app's own icon.
func ParseIconEmoji(text string) (string, error) {
	name := strings.Trim(strings.TrimSpace(text), ":")
	if name == "" {
		return "", nil
	}
	if !emojiName.MatchString(name) {
		return "", errors.New("is not an emoji's name, such as speech_balloon")
	}
	return ":" + name + ":", nil
}

// check completes the configuration of New. Its errors show no secret.
func (c Config) check() (Config, error) {
	var err error
	if c.BotToken, err = ParseBotToken(c.BotToken.Reveal()); err != nil {
		return c, fmt.Errorf("the bot token %w", err)
	}
	if c.ChannelID, err = ParseChannelID(c.ChannelID); err != nil {
		return c, fmt.Errorf("the channel id %w", err)
	}
	if c.AppToken != "" {
		if c.AppToken, err = ParseAppToken(c.AppToken.Reveal()); err != nil {
			return c, fmt.Errorf("the app token %w", err)
		}
	}
	if c.SigningSecret != "" {
		if c.SigningSecret, err = ParseSigningSecret(c.SigningSecret.Reveal()); err != nil {
			return c, fmt.Errorf("the signing secret %w", err)
		}
	}
	return c.checkCommon()
}

// checkWebhook completes the configuration of NewWebhook.
func (c Config) checkWebhook() (Config, error) {
	var err error
	if c.WebhookURL, err = ParseWebhookURL(c.WebhookURL.Reveal()); err != nil {
		return c, fmt.Errorf("the webhook's URL %w", err)
	}
	return c.checkCommon()
}

func (c Config) checkCommon() (Config, error) {
	var err error
	if c.APIURL, err = ParseAPIURL(c.APIURL); err != nil {
		return c, fmt.Errorf("the API URL %w", err)
	}
	if c.Username, err = ParseUsername(c.Username); err != nil {
		return c, fmt.Errorf("the user name %w", err)
	}
	if c.IconEmoji, err = ParseIconEmoji(c.IconEmoji); err != nil {
		return c, fmt.Errorf("the icon %w", err)
	}
	if c.Rate < 0 {
		return c, errors.New("the rate is negative")
	}
	if c.Timeout <= 0 {
		c.Timeout = callTimeout
	}
	return c, nil
}

// isSlackHost says whether a host is Slack's own, for files and for answers to commands. Others never see the token.
func isSlackHost(host string) bool {
	host = strings.ToLower(host)
	for _, domain := range []string{"slack.com", "slack-gov.com"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

// trusted says whether a URL that Slack told us may be called: it is Slack's over TLS, or of the server whose Web API we call.
func (s *Slack) trusted(u *url.URL) bool {
	if u.User != nil {
		return false
	}
	if u.Scheme == "https" && isSlackHost(u.Hostname()) {
		return true
	}
	api, err := url.Parse(s.base)
	return err == nil && u.Scheme == api.Scheme && strings.EqualFold(u.Host, api.Host)
}
