package discord

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	goodToken   = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz012345678901"
	goodChannel = "1234567890123456789"
	goodKey     = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)

func TestConfig(t *testing.T) {
	good := Config{Token: goodToken, ChannelID: goodChannel}
	for _, c := range []struct {
		name  string
		with  func(*Config)
		fault string // part of it; empty: none
	}{
		{"good", func(*Config) {}, ""},
		{"everything", func(c *Config) { c.PublicKey, c.Rate, c.APIURL = goodKey, 50, "http://127.0.0.1:1/api/" }, ""},
		{"spaces around", func(c *Config) { c.Token, c.ChannelID = " Bot "+goodToken+"\n", " "+goodChannel+" " }, ""},
		{"no token", func(c *Config) { c.Token = "" }, "bot token is empty"},
		{"two tokens", func(c *Config) { c.Token = goodToken + " " + goodToken }, "white space"},
		{"webhook as a token", func(c *Config) { c.Token = "https://discord.com/api/webhooks/1/x" }, "DISCORD_WEBHOOK_URL"},
		{"typographic token", func(c *Config) { c.Token = goodToken + "…" }, "no token has"},
		{"no channel", func(c *Config) { c.ChannelID = "" }, "channel id is empty"},
		{"name", func(c *Config) { c.ChannelID = "#support" }, "numeric id"},
		{"word", func(c *Config) { c.ChannelID = "support" }, "not a channel's id"},
		{"zero", func(c *Config) { c.ChannelID = "0" }, "not a channel's id"},
		{"plus", func(c *Config) { c.ChannelID = "+5" }, "not a channel's id"},
		{"link", func(c *Config) { c.ChannelID = "https://discord.com/channels/1/2" }, "last number"},
		{"two channels", func(c *Config) { c.ChannelID = "1,2" }, "several"},
		{"key", func(c *Config) { c.PublicKey = "abc" }, "not hexadecimal"},
		{"short key", func(c *Config) { c.PublicKey = "abcd" }, "4 characters long, not 64"},
		{"api", func(c *Config) { c.APIURL = "discord.com" }, "http"},
		{"api with a version", func(c *Config) { c.APIURL = "https://discord.com/api/v10" }, "version"},
		{"api with a password", func(c *Config) { c.APIURL = "https://a:b@discord.com/api" }, "password"},
		{"api with a query", func(c *Config) { c.APIURL = "https://discord.com/api?x" }, "query"},
		{"rate", func(c *Config) { c.Rate = -1 }, "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := good
			c.with(&config)
			d, err := New(config, slog.New(slog.DiscardHandler))
			if c.fault == "" {
				if err != nil || d == nil {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("the error is %v, not one about %q", err, c.fault)
			}
			if strings.Contains(err.Error(), goodToken) || config.Token != "" && strings.Contains(err.Error(), config.Token.Reveal()) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestWebhookConfig(t *testing.T) {
	const token = "secretsecretsecret-webhook_token"
	for _, c := range []struct {
		name  string
		c     Config
		base  string
		fault string
	}{
		{"discord's", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token}, "https://discord.com/api", ""},
		{"with a version", Config{WebhookURL: "https://discord.com/api/v10/webhooks/123/" + token}, "https://discord.com/api", ""},
		{"of a stand-in", Config{WebhookURL: " http://127.0.0.1:9/x/webhooks/123/" + token + "/ "}, "http://127.0.0.1:9/x", ""},
		{"named", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token, Username: "Support", AvatarURL: "https://example.test/a.png"},
			"https://discord.com/api", ""},
		{"none", Config{}, "", "is empty"},
		{"no scheme", Config{WebhookURL: "discord.com/api/webhooks/123/" + token}, "", "http"},
		{"no token", Config{WebhookURL: "https://discord.com/api/webhooks/123"}, "", "not the URL of a webhook"},
		{"no id", Config{WebhookURL: "https://discord.com/api/webhooks/x/" + token}, "", "not the URL of a webhook"},
		{"channel", Config{WebhookURL: "https://discord.com/channels/1/2?" + token}, "", "? or #"},
		{"thread", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token + "?thread_id=1"}, "", "thread"},
		{"slack", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token + "/slack"}, "", "/slack"},
		{"name", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token, Username: "Discord Support"}, "", "discord or clyde"},
		{"long name", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token, Username: strings.Repeat("x", 81)}, "", "longer"},
		{"picture", Config{WebhookURL: "https://discord.com/api/webhooks/123/" + token, AvatarURL: "a.png"}, "", "picture's URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := NewWebhook(c.c, slog.New(slog.DiscardHandler))
			if c.fault == "" {
				if err != nil {
					t.Fatal(err)
				}
				if h.rest.base != c.base+"/v9" || h.id != "123" || h.token != token {
					t.Errorf("the webhook is %q at %q", h.id, h.rest.base)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("the error is %v, not one about %q", err, c.fault)
			}
			if strings.Contains(err.Error(), token) {
				t.Errorf("the error shows the webhook's token: %v", err)
			}
		})
	}
}

func TestLooksReal(t *testing.T) {
	if !LooksReal(goodToken) {
		t.Error("a token of Discord's shape does not look real")
	}
	for _, other := range []string{"", "123456:AAF", "token"} {
		if LooksReal(bridge.Secret(other)) {
			t.Errorf("%q looks real", other)
		}
	}
}

func TestSnowflakes(t *testing.T) {
	// The example of the documentation: 175928847299117063 was made at 2016-04-30 11:18:25.796 UTC.
	id, ok := parseSnowflake("175928847299117063")
	at := time.Date(2016, 4, 30, 11, 18, 25, 796_000_000, time.UTC)
	if !ok || !id.time().Equal(at) || id.String() != "175928847299117063" {
		t.Errorf("%v was made at %v", id, id.time().UTC())
	}
	if first := snowflakeAt(at); first > id || first.time() != id.time() {
		t.Errorf("the lowest id of that time is %v", first)
	}
	for _, text := range []string{"", "0", "-1", "+1", "1.5", "abc", "99999999999999999999999"} {
		if id, ok := parseSnowflake(text); ok {
			t.Errorf("%q is the id %v", text, id)
		}
	}
}
