package telegram

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// DefaultAPIURL is Telegram's own Bot API server.
const DefaultAPIURL = "https://api.telegram.org"

// Config is what the adapter needs to know. The zero values of all but Token and ChatID are good.
type Config struct {
	Token      bridge.Secret
	ChatID     int64    // the operators' chat
	APIURL     string   // a server that speaks the Bot API; empty: DefaultAPIURL
	Rate       int      // calls a minute to the chat; 0: no pace of our own
	GlobalRate int      // calls a second of the bot; 0: no pace of our own
	TestBotIDs []string // user ids of bots whose messages count as a person's

	// WebhookURL is where Telegram is to send updates, with WebhookSecret as the proof that it is Telegram. Both or neither:
	// without them updates are polled.
	WebhookURL    string
	WebhookSecret bridge.Secret

	Timeout time.Duration // of a call, other than a poll; 0: 30 seconds

	// Dial makes the connections to the server; nil: over the network. It is for tests on a controlled clock.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// tokenShape is what BotFather hands out: the bot's id, a colon, 35 characters and more.
var tokenShape = regexp.MustCompile(`^[0-9]{3,}:[A-Za-z0-9_-]{35,}$`)

// ParseToken reads a bot token; white space around it is taken off. It takes more than BotFather hands out, since a stand-in
// may have tokens of its own; LooksReal is stricter. Its errors do not show the token.
func ParseToken(text string) (bridge.Secret, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("is empty; " + TokenHow)
	case strings.ContainsFunc(text, unicode.IsSpace):
		return "", errors.New("holds white space; copy the token of @BotFather alone")
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", errors.New("holds a control character; copy the token of @BotFather again")
	case strings.Contains(text, "/"):
		return "", errors.New("holds a slash: give the token alone, such as 123456:ABC…, not a URL")
	}
	return bridge.Secret(text), nil
}

// LooksReal says whether a token has the shape of Telegram's own.
func LooksReal(token bridge.Secret) bool { return tokenShape.MatchString(token.Reveal()) }

// How to get the two values that only Telegram knows.
const (
	TokenHow  = "@BotFather gives it with /newbot or /token, and it looks like 123456789:AAF…"
	ChatIDHow = "with the bot in the group, write something there and open <TELEGRAM_API_URL>/bot<token>/getUpdates: " +
		"it stands under message.chat.id and looks like -1001234567890"
)

// ParseChatID reads the id of one chat.
func ParseChatID(text string) (int64, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, errors.New("is empty; " + ChatIDHow)
	}
	if strings.ContainsAny(text, ",; \t\r\n") {
		return 0, errors.New("holds several ids; the operators' chat is one")
	}
	if strings.HasPrefix(text, "@") || strings.Contains(text, "t.me/") {
		return 0, errors.New("is a name; the numeric id is needed: " + ChatIDHow)
	}
	id, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("is not a chat's id: the number is too large")
	case err != nil:
		return 0, errors.New("is not a number: " + ChatIDHow)
	case id == 0:
		return 0, errors.New("is 0, which is no chat's id; " + ChatIDHow)
	}
	return id, nil
}

// check completes the configuration. Its errors do not show the token.
func (c Config) check() (Config, error) {
	token, err := ParseToken(c.Token.Reveal())
	if err != nil {
		return c, fmt.Errorf("the bot token %w", err)
	}
	c.Token = token
	if c.ChatID == 0 {
		return c, errors.New("the chat id is missing")
	}
	if c.Rate < 0 || c.GlobalRate < 0 {
		return c, errors.New("a rate is negative")
	}
	if c.APIURL, err = ParseAPIURL(c.APIURL); err != nil {
		return c, fmt.Errorf("the API URL %w", err)
	}
	if (c.WebhookURL == "") != (c.WebhookSecret == "") {
		return c, errors.New("a webhook needs a URL and a secret")
	}
	if c.WebhookURL != "" {
		if c.WebhookSecret, err = ParseWebhookSecret(c.WebhookSecret.Reveal()); err != nil {
			return c, fmt.Errorf("the webhook's secret %w", err)
		}
		if err := CheckWebhookURL(c.WebhookURL, c.APIURL); err != nil {
			return c, fmt.Errorf("the webhook's URL %w", err)
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = sendTimeout
	}
	return c, nil
}

// maxWebhookSecret is the longest secret that Telegram sends along, in characters.
const maxWebhookSecret = 256

// ParseWebhookSecret reads the secret that Telegram is to send with every update; white space around it is taken off. Its
// errors do not show the secret.
func ParseWebhookSecret(text string) (bridge.Secret, error) {
	const how = "Telegram takes 1 to 256 of the characters A-Z, a-z, 0-9, _ and -; make one with: openssl rand -hex 32"
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("is empty; " + how)
	case len(text) > maxWebhookSecret:
		return "", errors.New("is too long; " + how)
	case strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}):
		return "", errors.New("has a character that it cannot have; " + how)
	}
	return bridge.Secret(text), nil
}

// CheckWebhookURL finds fault with a URL to which the Bot API server at apiURL will not send updates. Telegram's own takes
// https on four ports alone; another one may be told to take anything. Its errors do not show the URL.
func CheckWebhookURL(text, apiURL string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return errors.New("is no http:// or https:// URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("must have neither a user nor a part behind ? or #")
	case apiURL != DefaultAPIURL:
		return nil
	case u.Scheme != "https":
		return errors.New("begins with http://, but Telegram sends updates over https:// alone; put a proxy with TLS in front")
	}
	switch u.Port() {
	case "", "443", "80", "88", "8443":
		return nil
	}
	return errors.New("names a port that Telegram does not send to; it takes 443, 80, 88 and 8443")
}

// ParseAPIURL reads the base URL of a Bot API server; empty is Telegram's own. Its errors do not show the URL.
func ParseAPIURL(text string) (string, error) { return platform.ParseAPIURL(text, DefaultAPIURL) }
