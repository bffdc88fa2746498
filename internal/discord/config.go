package discord

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// DefaultAPIURL is Discord's own API, without a version.
const DefaultAPIURL = "https://discord.com/api"

// DefaultRate is how many calls a second Discord bears of one bot ("Global Rate Limit" of its documentation).
const DefaultRate = 50

const defaultTimeout = 30 * time.Second

// Config is what the adapters need to know. A bot needs Token and ChannelID, a webhook WebhookURL; the zero values of all
// others are good.
type Config struct {
	Token     bridge.Secret
	ChannelID string // the operators' channel: of text, of announcements, or a forum
	// PublicKey proves that an interaction comes from Discord, in hexadecimal; empty: interactions come by the gateway alone.
	PublicKey string
	// Notify is whom a visitor's word calls while no operator is known to be there, as ParseNotify returns it; empty: nobody.
	Notify string
	// EnableGateway has the bot hear what operators write. Without it only slash commands by HTTP come in.
	EnableGateway bool

	WebhookURL bridge.Secret // of an incoming webhook, for NewWebhook
	Username   string        // what a webhook's messages are shown under; empty: the webhook's own name
	AvatarURL  string        // their picture; empty: the webhook's own

	APIURL     string        // a server that speaks Discord's API, without a version; empty: DefaultAPIURL
	Rate       int           // calls a second; 0: no pace of our own
	TestBotIDs []string      // user ids of bots whose messages count as a person's
	Timeout    time.Duration // of a call; 0: 30 seconds
}

// tokenShape is what the developer portal hands out: the bot's id in base64, a time and a signature.
var tokenShape = regexp.MustCompile(`^[A-Za-z0-9_-]{18,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{27,}$`)

// How to get the values that only Discord knows.
const (
	TokenHow = "at https://discord.com/developers/applications, under Bot, Reset Token shows it once" //nolint:gosec // no token

	ChannelIDHow = "turn on Developer Mode in Discord's advanced settings, right-click the channel and choose Copy Channel ID: " +
		"it looks like 1234567890123456789"

	PublicKeyHow = "at https://discord.com/developers/applications it stands under General Information, 64 characters of 0-9 and a-f"

	WebhookHow = "in the channel's settings, under Integrations, Webhooks, Copy Webhook URL gives it: " +
		"https://discord.com/api/webhooks/<id>/<token>"
)

// ParseToken reads a bot token; white space around it and the word Bot before it are taken off. It takes more than Discord hands
// out, since a stand-in may have tokens of its own; LooksReal is stricter. Its errors do not show the token.
func ParseToken(text string) (bridge.Secret, error) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "Bot "); ok {
		text = strings.TrimSpace(rest)
	}
	switch {
	case text == "":
		return "", errors.New("is empty; " + TokenHow)
	case strings.ContainsFunc(text, unicode.IsSpace):
		return "", errors.New("holds white space; copy the bot's token alone")
	case strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' }):
		return "", errors.New("holds a character that no token has; copy the bot's token again")
	case strings.Contains(text, "/"):
		return "", errors.New("holds a slash: give the bot's token alone; the URL of a webhook belongs into DISCORD_WEBHOOK_URL")
	}
	return bridge.Secret(text), nil
}

// LooksReal says whether a token has the shape of Discord's own.
func LooksReal(token bridge.Secret) bool { return tokenShape.MatchString(token.Reveal()) }

// ParseChannelID reads the id of one channel.
func ParseChannelID(text string) (string, error) {
	text = strings.TrimSpace(text)
	id, isNumber := parseSnowflake(text)
	switch {
	case text == "":
		return "", errors.New("is empty; " + ChannelIDHow)
	case strings.ContainsAny(text, ",; \t\r\n"):
		return "", errors.New("holds several ids; the operators' channel is one")
	case strings.Contains(text, "/"):
		return "", errors.New("is a link; give the channel's id alone, the last number in it")
	case strings.HasPrefix(text, "#") || strings.HasPrefix(text, "<"):
		return "", errors.New("is a mention or a name; the numeric id is needed: " + ChannelIDHow)
	case !isNumber:
		return "", errors.New("is not a channel's id: " + ChannelIDHow)
	}
	return id.String(), nil
}

// ParseNotify reads whom a visitor's word calls while no operator is known to be there: a role's id, here, or off.
func ParseNotify(text string) (string, error) {
	text = strings.TrimSpace(text)
	id, isNumber := parseSnowflake(text)
	switch word := strings.ToLower(strings.TrimPrefix(text, "@")); {
	case word == notifyHere:
		return notifyHere, nil
	case word == "off":
		return "", nil
	case !isNumber:
		return "", errors.New("is neither here, nor off, nor a role's id: with Developer Mode on, the server's settings give it, " +
			"under Roles, Copy Role ID")
	}
	return roleMark + id.String(), nil
}

// ParsePublicKey reads the application's public key.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	text = strings.TrimSpace(text)
	key, err := hex.DecodeString(text)
	switch {
	case text == "":
		return nil, errors.New("is empty; " + PublicKeyHow)
	case err != nil:
		return nil, errors.New("is not hexadecimal; " + PublicKeyHow)
	case len(key) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("is %d characters long, not %d; %s", len(text), 2*ed25519.PublicKeySize, PublicKeyHow)
	}
	return key, nil
}

// ParseAPIURL reads the base URL of a server that speaks Discord's API, without a version; empty is Discord's own. Its errors do not
// show the URL.
func ParseAPIURL(text string) (string, error) {
	text, err := platform.ParseAPIURL(text, DefaultAPIURL)
	if u, _ := url.Parse(text); err == nil && versioned(u.Path) {
		return "", errors.New("must not end in a version, which is appended; it looks like " + DefaultAPIURL)
	}
	return text, err
}

// versioned says whether a path ends in a version of the API, such as /v10.
func versioned(path string) bool {
	last := path[strings.LastIndexByte(path, '/')+1:]
	n, ok := strings.CutPrefix(last, "v")
	_, err := strconv.Atoi(n)
	return ok && err == nil
}

// address is what an incoming webhook's URL says.
type address struct {
	base  string // the API's URL without a version
	id    string
	token bridge.Secret
}

// CheckWebhookURL finds fault with the URL of an incoming webhook. Its errors do not show the URL.
func CheckWebhookURL(text bridge.Secret) error {
	_, err := parseWebhookURL(text)
	return err
}

// parseWebhookURL reads <base>/webhooks/<id>/<token>, where the base may end in a version.
func parseWebhookURL(text bridge.Secret) (address, error) {
	trimmed := strings.TrimRight(strings.TrimSpace(text.Reveal()), "/")
	if trimmed == "" {
		return address{}, errors.New("is empty; " + WebhookHow)
	}
	u, err := url.Parse(trimmed)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return address{}, errors.New("must begin with http:// or https:// and a host; " + WebhookHow)
	case u.User != nil:
		return address{}, errors.New("must not have a user or a password in it; " + WebhookHow)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return address{}, errors.New("must not have a part behind ? or #: the bridge chooses the thread itself")
	}
	before, after, found := strings.Cut(u.EscapedPath(), "/webhooks/")
	id, token, _ := strings.Cut(after, "/")
	if _, ok := parseSnowflake(id); !found || !ok || token == "" {
		return address{}, errors.New("is not the URL of a webhook; " + WebhookHow)
	}
	if strings.Contains(token, "/") {
		return address{}, errors.New("has more behind the webhook's token; take off /slack or /github; " + WebhookHow)
	}
	if versioned(before) {
		before = before[:strings.LastIndexByte(before, '/')]
	}
	return address{base: u.Scheme + "://" + u.Host + before, id: id, token: bridge.Secret(token)}, nil
}

const (
	maxUsername = 80   // characters of a webhook's name
	maxAvatar   = 2048 // characters of a picture's URL
)

// ParseUsername reads the name that a webhook's messages are shown under. Discord refuses some, such as those with its own name
// in them ("Usernames and Nicknames" of its documentation).
func ParseUsername(text string) (string, error) {
	text = strings.TrimSpace(text)
	lower := strings.ToLower(text)
	switch {
	case measure.Units(text) > maxUsername:
		return "", fmt.Errorf("is longer than %d characters", maxUsername)
	case strings.Contains(lower, "discord") || strings.Contains(lower, "clyde"):
		return "", errors.New("holds discord or clyde, which Discord does not allow in a name")
	case lower == "everyone" || lower == "here":
		return "", errors.New("is a name that Discord does not allow")
	}
	return text, nil
}

// CheckAvatarURL finds fault with the URL of a webhook's picture; empty is none.
func CheckAvatarURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("must begin with http:// or https:// and a host")
	case len(text) > maxAvatar:
		return fmt.Errorf("is longer than %d characters", maxAvatar)
	}
	return nil
}

// check completes the configuration of a bot. Its errors do not show the token.
func (c Config) check() (Config, error) {
	token, err := ParseToken(c.Token.Reveal())
	if err != nil {
		return c, fmt.Errorf("the bot token %w", err)
	}
	c.Token = token
	if c.ChannelID, err = ParseChannelID(c.ChannelID); err != nil {
		return c, fmt.Errorf("the channel id %w", err)
	}
	if c.APIURL, err = ParseAPIURL(c.APIURL); err != nil {
		return c, fmt.Errorf("the API URL %w", err)
	}
	if c.PublicKey = strings.TrimSpace(c.PublicKey); c.PublicKey != "" {
		if _, err := ParsePublicKey(c.PublicKey); err != nil {
			return c, fmt.Errorf("the public key %w", err)
		}
	}
	return c.common()
}

// checkWebhook completes the configuration of a webhook. Its errors do not show the URL.
func (c Config) checkWebhook() (Config, address, error) {
	a, err := parseWebhookURL(c.WebhookURL)
	if err != nil {
		return c, a, fmt.Errorf("the webhook's URL %w", err)
	}
	if c.Username, err = ParseUsername(c.Username); err != nil {
		return c, a, fmt.Errorf("the username %w", err)
	}
	c.AvatarURL = strings.TrimSpace(c.AvatarURL)
	if err := CheckAvatarURL(c.AvatarURL); err != nil {
		return c, a, fmt.Errorf("the picture's URL %w", err)
	}
	c, err = c.common()
	return c, a, err
}

func (c Config) common() (Config, error) {
	if c.Rate < 0 {
		return c, errors.New("the rate is negative")
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return c, nil
}
