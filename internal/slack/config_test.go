package slack

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

func secretParser(parse func(string) (bridge.Secret, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		s, err := parse(text)
		return s.Reveal(), err
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		what      string
		parse     func(string) (string, error)
		in, out   string
		complains string // empty: it is good
	}{
		{"bot token", secretParser(ParseBotToken), " xoxb-s3cr3t-1\n", "xoxb-s3cr3t-1", ""},
		{"bot token", secretParser(ParseBotToken), "xoxe.xoxb-1-s3cr3t", "xoxe.xoxb-1-s3cr3t", ""},
		{"bot token", secretParser(ParseBotToken), "a-stand-in's-s3cr3t", "a-stand-in's-s3cr3t", ""},
		{"bot token", secretParser(ParseBotToken), " ", "", "xoxb-"},
		{"bot token", secretParser(ParseBotToken), "xapp-1-s3cr3t", "", "SLACK_APP_TOKEN"},
		{"bot token", secretParser(ParseBotToken), "xoxp-s3cr3t", "", "person's token"},
		{"bot token", secretParser(ParseBotToken), "xoxc-s3cr3t", "", "browser's"},
		{"bot token", secretParser(ParseBotToken), "xoxb-s3cr3t xoxb-2", "", "white space"},
		{"bot token", secretParser(ParseBotToken), "xoxb-s3cr3té", "", "character"},
		{"bot token", secretParser(ParseBotToken), "https://hooks.slack.com/services/s3cr3t", "", "URL"},
		{"app token", secretParser(ParseAppToken), "xapp-1-s3cr3t", "xapp-1-s3cr3t", ""},
		{"app token", secretParser(ParseAppToken), "xoxb-s3cr3t", "", "connections:write"},
		{"app token", secretParser(ParseAppToken), "", "", "xapp-"},
		{"channel", ParseChannelID, " C0123456789 ", "C0123456789", ""},
		{"channel", ParseChannelID, "G0123456789", "G0123456789", ""},
		{"channel", ParseChannelID, "", "", "empty"},
		{"channel", ParseChannelID, "#support", "", "is a name"},
		{"channel", ParseChannelID, "support", "", "not a channel's id"},
		{"channel", ParseChannelID, "C0123456789,C1", "", "several"},
		{"channel", ParseChannelID, "U0123456789", "", "person"},
		{"channel", ParseChannelID, "https://x.slack.com/archives/C0123456789", "", "link"},
		{"signing secret", secretParser(ParseSigningSecret), "5a6d8b0c7e9f4a1b8c2d3e4f5a6b7s3cr3t", "5a6d8b0c7e9f4a1b8c2d3e4f5a6b7s3cr3t", ""},
		{"signing secret", secretParser(ParseSigningSecret), "", "", "Signing Secret"},
		{"signing secret", secretParser(ParseSigningSecret), "s3cr3t", "", "too short"},
		{"signing secret", secretParser(ParseSigningSecret), "5a6d8b0c7e9f4a1b s3cr3t", "", "character"},
		{"signing secret", secretParser(ParseSigningSecret), "xoxb-5a6d8b0c7e9f4a1b-s3cr3t", "", "token"},
		{"webhook", secretParser(ParseWebhookURL), " https://hooks.slack.com/services/T/B/s3cr3t", "https://hooks.slack.com/services/T/B/s3cr3t", ""},
		{"webhook", secretParser(ParseWebhookURL), "http://127.0.0.1:3/services/T/B/s3cr3t", "http://127.0.0.1:3/services/T/B/s3cr3t", ""},
		{"webhook", secretParser(ParseWebhookURL), "http://hooks.slack.com/services/T/B/s3cr3t", "", "https://"},
		{"webhook", secretParser(ParseWebhookURL), "xoxb-s3cr3t", "", "not a webhook's URL"},
		{"webhook", secretParser(ParseWebhookURL), "https://hooks.slack.com/", "", "host alone"},
		{"webhook", secretParser(ParseWebhookURL), "", "", "Incoming Webhooks"},
		{"API", ParseAPIURL, "", DefaultAPIURL, ""},
		{"API", ParseAPIURL, "https://slack.com/api", DefaultAPIURL, ""},
		{"API", ParseAPIURL, "http://127.0.0.1:9/api//", "http://127.0.0.1:9/api/", ""},
		{"API", ParseAPIURL, "slack.com/api", "", "http"},
		{"API", ParseAPIURL, "https://u:s3cr3t@x/", "", "password"},
		{"API", ParseAPIURL, "https://x/?token=s3cr3t", "", "query"},
		{"API", ParseAPIURL, "://s3cr3t", "", "not a URL"},
		{"icon", ParseIconEmoji, "speech_balloon", ":speech_balloon:", ""},
		{"icon", ParseIconEmoji, ":+1::skin-tone-3:", ":+1::skin-tone-3:", ""},
		{"icon", ParseIconEmoji, "", "", ""},
		{"icon", ParseIconEmoji, "https://x/s3cr3t.png", "", "speech_balloon"},
		{"name", ParseUsername, " Shop ", "Shop", ""},
		{"name", ParseUsername, strings.Repeat("é", 81), "", "too long"},
		{"name", ParseUsername, "a\tb", "", "control"},
	} {
		got, err := c.parse(c.in)
		switch {
		case c.complains == "" && (err != nil || got != c.out):
			t.Errorf("%s %q: %q, %v", c.what, c.in, got, err)
		case c.complains != "" && (err == nil || !strings.Contains(err.Error(), c.complains)):
			t.Errorf("%s %q: %v", c.what, c.in, err)
		case err != nil && strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("%s: the error shows the value: %v", c.what, err)
		}
	}
}

func TestNewFaults(t *testing.T) {
	good := Config{BotToken: "xoxb-s3cr3t", ChannelID: "C0123456789"}
	for says, change := range map[string]func(*Config){
		"bot token":      func(c *Config) { c.BotToken = "xapp-s3cr3t" },
		"channel id":     func(c *Config) { c.ChannelID = "#x" },
		"app token":      func(c *Config) { c.AppToken = "xoxb-s3cr3t" },
		"signing secret": func(c *Config) { c.SigningSecret = "s3cr3t" },
		"API URL":        func(c *Config) { c.APIURL = "s3cr3t" },
		"user name":      func(c *Config) { c.Username = "\x00" },
		"icon":           func(c *Config) { c.IconEmoji = "🤖" },
		"rate":           func(c *Config) { c.Rate = -1 },
	} {
		c := good
		change(&c)
		_, err := New(c, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := New(good, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if _, err := NewWebhook(Config{WebhookURL: "s3cr3t"}, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("webhook: %v", err)
	}
}

func TestLimits(t *testing.T) {
	c := Config{BotToken: "xoxb-1", ChannelID: "C0123456789", Rate: 3}
	s, _ := adapter(t, c)
	if l := s.Limits(); len(l.Pace) != 1 || l.Pace[0].Calls != 3 || l.Pace[0].Per.Seconds() != 1 || !l.Quotes || l.MaxFile != maxFile {
		t.Errorf("%+v", l)
	}
	c.Rate = 0
	s, _ = adapter(t, c)
	if l := s.Limits(); len(l.Pace) != 0 {
		t.Errorf("%+v", l)
	}
}

func TestTrusted(t *testing.T) {
	s, _ := adapter(t, Config{BotToken: "xoxb-1", ChannelID: "C0123456789", APIURL: "http://127.0.0.1:99/api/"})
	for address, want := range map[string]bool{
		"https://files.slack.com/x": true, "https://slack.com/": true, "https://hooks.SLACK.com/x": true, "https://a.slack-gov.com/": true,
		"http://files.slack.com/x": false, "https://evilslack.com/": false, "https://slack.com.evil.test/": false,
		"https://u@files.slack.com/": false, "http://127.0.0.1:99/files": true, "http://127.0.0.1:98/files": false, "https://127.0.0.1:99/": false,
		"/x": false,
	} {
		u, err := url.Parse(address)
		if err != nil || s.trusted(u) != want {
			t.Errorf("%s: %t %v", address, !want, err)
		}
	}
}
