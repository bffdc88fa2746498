package telegram

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
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
}

// tokenShape is what BotFather hands out: the bot's id, a colon, 35 characters and more.
const tokenShape = `^[0-9]{3,}:[A-Za-z0-9_-]{35,}$` //nolint:gosec // tells what a token looks like

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
func LooksReal(token bridge.Secret) bool {
	ok, err := regexp.MatchString(tokenShape, token.Reveal())
	return ok && err == nil
}

// How to get the two values that only Telegram knows.
const (
	TokenHow  = "@BotFather gives it with /newbot or /token, and it looks like 123456789:AAF…"
	ChatIDHow = "with the bot in the group, write something there and open <TELEGRAM_API_URL>/bot<token>/getUpdates: " +
		"it stands under message.chat.id and looks like -1001234567890"
)

// ParseChatID reads the id of one chat.
func ParseChatID(text string) (int64, error) {
	const how = ChatIDHow
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, errors.New("is empty; " + how)
	}
	if strings.ContainsAny(text, ",; \t\r\n") {
		return 0, errors.New("holds several ids; the operators' chat is one")
	}
	if strings.HasPrefix(text, "@") || strings.Contains(text, "t.me/") {
		return 0, errors.New("is a name; the numeric id is needed: " + how)
	}
	id, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errors.New("is not a chat's id: the number is too large")
	case err != nil:
		return 0, errors.New("is not a number: " + how)
	case id == 0:
		return 0, errors.New("is 0, which is no chat's id; " + how)
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
	return c, nil
}

// ParseAPIURL reads the base URL of a Bot API server; empty is Telegram's own. A slash at its end is taken off. Its errors do
// not show the URL, which may carry a token by mistake.
func ParseAPIURL(text string) (string, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "/")
	if text == "" {
		return DefaultAPIURL, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "", errors.New("is not a URL; it looks like " + DefaultAPIURL)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", errors.New("must begin with http:// or https:// and a host; it looks like " + DefaultAPIURL)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", errors.New("must not have a query or a fragment; it looks like " + DefaultAPIURL)
	case u.User != nil:
		return "", errors.New("must not have a user or a password in it")
	}
	return text, nil
}
