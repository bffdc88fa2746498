package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joho/godotenv"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/discord"
	"github.com/pocketping/bridge/internal/slack"
	"github.com/pocketping/bridge/internal/telegram"
)

// load runs loadConfig on an environment and files made of maps.
func load(env, files map[string]string) (Config, error) {
	return loadConfig(func(name string) string { return env[name] }, func(name string) ([]byte, error) {
		data, ok := files[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return []byte(data), nil
	})
}

func TestConfigDefaults(t *testing.T) {
	got, err := load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen:           "127.0.0.1:3001",
		Loopback:         true,
		LogLevel:         slog.LevelInfo,
		MaxBody:          1 << 20,
		StreamsMax:       1000,
		DataDir:          "./data",
		Retention:        30 * 24 * time.Hour,
		Site:             noSite("data"),
		OpenThread:       "message",
		Language:         "en",
		MaxFile:          25 << 20,
		LinkTTL:          7 * 24 * time.Hour,
		Operators:        usualOperators(),
		PrivateCallbacks: "on",
		BackendEvents:    bridge.ExistingTypes(),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Warnings", "Filter"), cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	wantWarnings(t, got, "API_KEY", "TELEGRAM_BOT_TOKEN")
}

func TestConfigAll(t *testing.T) {
	got, err := load(map[string]string{
		"PORT": "8080", "BIND": "::1", "API_KEY": " new-key-0123456789 , old-key-0123456789,,new-key-0123456789",
		"PUBLIC_URL": "https://bridge.example.com/base/", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json",
		"CORS_ORIGINS": "https://Example.com:443/, http://localhost:8080", "TRUSTED_PROXIES": "10.1.2.3/8, 192.168.1.7,fd00::/8",
		"MAX_BODY": "2 MiB", "RATE_LIMIT": "12.5", "METRICS_ADDR": "127.0.0.1:9090", "REDIS_URL": "rediss://user:pa%24s@redis:6380/2", "REDIS_WAIT": "1",
		"DATA_DIR": "/var/lib/bridge", "RETENTION_DAYS": "7", "TELEGRAM_BOT_TOKEN": "123456:ABC-def_1", "TELEGRAM_CHAT_ID": "-1001234567890",
		"TELEGRAM_WEBHOOK_SECRET": "s-3_C", "TELEGRAM_API_URL": "http://localhost:8081/", "TELEGRAM_RATE": "off", "TELEGRAM_GLOBAL_RATE": "25", "OPEN_THREAD": "session", "LANGUAGE": "FR",
		"BRIDGE_TEST_BOT_IDS": "42, 43", "BACKEND_WEBHOOK_URL": "https://app.example.com/hook?key=1",
		"BACKEND_WEBHOOK_EVENTS": "operator_message, Message_Delayed,operator_message", "BACKEND_WEBHOOK_SECRET": "whsec_c2VjcmV0", "EVENTS_WEBHOOK_URL": "https://hooks.example.com/catch/1?x=2", "EVENTS_WEBHOOK_SECRET": "s",
		"ALLOW_PRIVATE_CALLBACKS": "10.0.0.0/8,fd00::1", "MAX_FILE": "1MiB", "FILE_LINK_TTL": "12h",
		"DISCORD_BOT_TOKEN": "Bot discord.token", "DISCORD_CHANNEL_ID": "1234567890123456789", "DISCORD_ENABLE_GATEWAY": "false",
		"DISCORD_PUBLIC_KEY": strings.Repeat("ab", 32), "DISCORD_API_URL": "http://localhost:8082/api/", "DISCORD_RATE": "12",
		"DISCORD_NOTIFY": "81384788765712384", "SLACK_NOTIFY": "S0123456789",
		"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL_ID": "C0123456789", "SLACK_APP_TOKEN": "xapp-1", "SLACK_SIGNING_SECRET": "0123456789abcdef",
		"SLACK_USERNAME": "Support", "SLACK_ICON_EMOJI": "wave", "SLACK_API_URL": "http://localhost:8083/api", "SLACK_RATE": "3",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen:         "[::1]:8080",
		Loopback:       true,
		APIKeys:        []bridge.Secret{"new-key-0123456789", "old-key-0123456789"},
		FirstKey:       "new-key-0123456789",
		PublicURL:      "https://bridge.example.com/base",
		LogLevel:       slog.LevelDebug,
		LogJSON:        true,
		CORSOrigins:    []string{"https://example.com", "http://localhost:8080"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.1.7/32"), netip.MustParsePrefix("fd00::/8")},
		MaxBody:        2 << 20,
		StreamsMax:     1000,
		RateLimit:      12.5,
		MetricsAddr:    "127.0.0.1:9090",
		RedisURL:       "rediss://user:pa%24s@redis:6380/2",
		RedisWait:      1,
		DataDir:        "/var/lib/bridge",
		Retention:      7 * 24 * time.Hour,
		Site:           noSite("/var/lib/bridge"),
		Telegram: &telegram.Config{
			Token: "123456:ABC-def_1", ChatID: -1001234567890, APIURL: "http://localhost:8081", Rate: 0, GlobalRate: 25,
			TestBotIDs: []string{"42", "43"}, WebhookURL: "https://bridge.example.com/base/webhooks/telegram", WebhookSecret: "s-3_C",
		},
		Discord: &discord.Config{
			Token: "discord.token", ChannelID: "1234567890123456789", PublicKey: strings.Repeat("ab", 32), EnableGateway: false,
			APIURL: "http://localhost:8082/api", Rate: 12, TestBotIDs: []string{"42", "43"}, Notify: "&81384788765712384",
		},
		Slack: &slack.Config{
			BotToken: "xoxb-1", ChannelID: "C0123456789", AppToken: "xapp-1", SigningSecret: "0123456789abcdef", Username: "Support",
			IconEmoji: ":wave:", APIURL: "http://localhost:8083/api/", Rate: 3, TestBotIDs: []string{"42", "43"}, Notify: "S0123456789",
		},
		MaxFile:          1 << 20,
		LinkTTL:          12 * time.Hour,
		OpenThread:       "session",
		Language:         "fr",
		Operators:        usualOperators(),
		BackendURL:       "https://app.example.com/hook?key=1",
		BackendSecret:    "whsec_c2VjcmV0",
		BackendEvents:    []bridge.Type{bridge.TypeOperatorMessage, bridge.TypeMessageDelayed},
		EventsURL:        "https://hooks.example.com/catch/1?x=2",
		EventsSecret:     "s",
		PrivateCallbacks: "10.0.0.0/8,fd00::1",
		Warnings: []string{
			"DISCORD_ENABLE_GATEWAY is false: in Discord only slash commands are heard, and visitors are answered with /reply",
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Filter"), cmpopts.IgnoreUnexported(Config{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// someKey is long enough for an API key.
const someKey = "0123456789abcdef"

// realToken has the shape of Telegram's own.
const realToken = "123456789:AAF0123456789012345678901234567890ab"

func TestConfigTelegramDefaults(t *testing.T) {
	got, err := load(map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &telegram.Config{Token: realToken, ChatID: -5, APIURL: "https://api.telegram.org", Rate: 20, GlobalRate: 30}
	if diff := cmp.Diff(want, got.Telegram); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestConfigListens(t *testing.T) {
	tests := []struct {
		name, key, bind string
		listen          string
		loopback        bool
		warns           bool
	}{
		{"no key", "", "", "127.0.0.1:3001", true, true},
		{"key", someKey, "", ":3001", false, false},
		{"no key, open", "", "0.0.0.0", "0.0.0.0:3001", false, true},
		{"no key, open, IPv6", "", "[::]", "[::]:3001", false, true},
		{"key, loopback", someKey, "127.0.0.2", "127.0.0.2:3001", true, false},
		{"key, mapped loopback", someKey, "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:3001", true, false},
		{"key, localhost", someKey, "localhost", "localhost:3001", true, false},
		{"key, name", someKey, "bridge.internal", "bridge.internal:3001", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := load(map[string]string{"API_KEY": tt.key, "BIND": tt.bind}, nil)
			if err != nil {
				t.Fatal(err)
			}
			warns := slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, "API_KEY") })
			if c.Listen != tt.listen || c.Loopback != tt.loopback || warns != tt.warns {
				t.Errorf("listen %q loopback %v warns %v, want %q %v %v", c.Listen, c.Loopback, warns, tt.listen, tt.loopback, tt.warns)
			}
			if allowed := c.PrivateCallbacks == "on"; allowed != tt.loopback {
				t.Errorf("private callbacks are %s, want them allowed: %v", c.PrivateCallbacks, tt.loopback)
			}
		})
	}
}

// What others reach needs a key; what leads to this machine alone does not.
func TestConfigPublicURLNeedsAKey(t *testing.T) {
	for text, needs := range map[string]bool{
		"https://bridge.example.com": true, "http://10.0.0.1:3001": true, "https://localhost.example.com": true, "https://[2001:db8::1]": true,
		"http://localhost:3001": false, "http://127.0.0.1:3001": false, "http://[::1]:3001": false, "http://bridge.localhost": false, "": false,
	} {
		_, err := load(map[string]string{"PUBLIC_URL": text}, nil)
		if !needs {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		wantFaults(t, err, "API_KEY: is not set, but PUBLIC_URL is")
		if err != nil && !strings.Contains(err.Error(), "openssl rand -hex 32") {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := load(map[string]string{"PUBLIC_URL": text, "API_KEY": someKey}, nil); err != nil {
			t.Errorf("%s with a key: %v", text, err)
		}
	}
}

func TestConfigBackendEvents(t *testing.T) {
	for text, want := range map[string][]bridge.Type{
		"": bridge.ExistingTypes(), "all": nil, "ALL": nil, " , ": bridge.ExistingTypes(),
		"message_failed,session_closed": {bridge.TypeMessageFailed, bridge.TypeSessionClosed},
	} {
		c, err := load(map[string]string{"BACKEND_WEBHOOK_URL": "http://app", "BACKEND_WEBHOOK_EVENTS": text}, nil)
		if err != nil || !slices.Equal(c.BackendEvents, want) {
			t.Errorf("%q: %v, %v", text, c.BackendEvents, err)
		}
	}
	for _, text := range []string{"operator_messages", "all,operator_message", "visitor_message", "test"} {
		_, err := load(map[string]string{"BACKEND_WEBHOOK_URL": "http://app", "BACKEND_WEBHOOK_EVENTS": text}, nil)
		wantFaults(t, err, "BACKEND_WEBHOOK_EVENTS: ")
	}
}

func TestConfigBooleans(t *testing.T) {
	for text, want := range map[string]bool{
		"true": true, "1": true, "yes": true, "on": true, "TRUE": true, " Yes ": true, "": true,
		"false": false, "0": false, "no": false, "off": false, "False": false, "OFF": false,
	} {
		c, err := load(map[string]string{
			"DISCORD_BOT_TOKEN": "a.b.c", "DISCORD_CHANNEL_ID": "123", "DISCORD_API_URL": "http://localhost:1", "DISCORD_ENABLE_GATEWAY": text,
			"PRESENCE_ON_REPLY": text, "INTERNAL_BY_DEFAULT": text,
		}, nil)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if c.Discord.EnableGateway != want || c.Operators.Presence.OnReply != want || c.Operators.Internal != (want && text != "") {
			t.Errorf("%q is read as %v, %v, %v", text, c.Discord.EnableGateway, c.Operators.Presence.OnReply, c.Operators.Internal)
		}
	}
	for _, name := range []string{"DISCORD_ENABLE_GATEWAY", "PRESENCE_ON_REPLY", "INTERNAL_BY_DEFAULT"} {
		for _, text := range []string{"maybe", "2", "y", "t"} {
			env := map[string]string{name: text}
			_, err := load(env, nil)
			wantFaults(t, err, name+": ")
		}
	}
}

func TestConfigSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"1024": 1024, "2048B": 2048, "64kB": 64_000, "64KiB": 65_536, "3mb": 3_000_000, "64MiB": 64 << 20, " 1 MiB ": 1 << 20,
	} {
		c, err := load(map[string]string{"MAX_BODY": text}, nil)
		if err != nil || c.MaxBody != want {
			t.Errorf("%q: %d, %v, want %d", text, c.MaxBody, err, want)
		}
	}
}

// Each value is one fault, in a line that names the variable and says how to get it right.
func TestConfigFaults(t *testing.T) {
	tests := []struct {
		name, value string
		says        string
	}{
		{"PORT", "http", "65535"},
		{"PORT", "65536", "65535"},
		{"PORT", "-1", "65535"},
		{"BIND", "0.0.0.0:3001", "PORT"},
		{"BIND", "*", "0.0.0.0"},
		{"BIND", "http://localhost", "127.0.0.1"},
		{"API_KEY", " , ", "openssl"},
		{"API_KEY", "two words", "openssl"},
		{"API_KEY", "a", "openssl rand -hex 32"},
		{"API_KEY", "0123456789abcde", "openssl rand -hex 32"},
		{"API_KEY", "0123456789abcdef,0123456789", "openssl rand -hex 32"},
		{"API_KEY", "0123456789abcdeé0", "openssl rand -hex 32"},
		{"API_KEY", "good,schlüssel", "openssl"},
		{"PUBLIC_URL", "bridge.example.com", "https://"},
		{"PUBLIC_URL", "ftp://bridge.example.com", "https://"},
		{"PUBLIC_URL", "https://u:p@bridge.example.com", "password"},
		{"PUBLIC_URL", "https://bridge.example.com/?x=1", "behind ?"},
		{"LOG_LEVEL", "loud", "debug"},
		{"LOG_FORMAT", "xml", "json"},
		{"CORS_ORIGINS", "example.com", "https://example.com"},
		{"CORS_ORIGINS", "https://example.com/path", "https://example.com"},
		{"CORS_ORIGINS", "*,https://example.com", "alone"},
		{"TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/8"},
		{"TRUSTED_PROXIES", "proxy", "10.0.0.0/8"},
		{"TRUSTED_PROXIES", "::ffff:10.0.0.0/104", "10.0.0.0/8"},
		{"MAX_BODY", "1M", "MiB"},
		{"MAX_BODY", "1.5MiB", "MiB"},
		{"MAX_BODY", "MiB", "MiB"},
		{"MAX_BODY", "-1", "MiB"},
		{"MAX_BODY", "0", "64MiB"},
		{"MAX_BODY", "99999999999999MiB", "64MiB"},
		{"RATE_LIMIT", "-1", "0 for no limit"},
		{"RATE_LIMIT", "NaN", "0 for no limit"},
		{"RATE_LIMIT", "10/s", "0 for no limit"},
		{"METRICS_ADDR", "9090", "127.0.0.1:9090"},
		{"METRICS_ADDR", "localhost", "127.0.0.1:9090"},
		{"METRICS_ADDR", "localhost:65536", "127.0.0.1:9090"},
		{"METRICS_ADDR", "localhost:http", "127.0.0.1:9090"},
		{"METRICS_ADDR", "http://localhost:9090", "127.0.0.1:9090"},
		{"METRICS_ADDR", "::1:9090", "127.0.0.1:9090"},
		{"REDIS_URL", "redis:6379", "redis://"},
		{"REDIS_URL", "http://redis:6379", "redis://"},
		{"REDIS_URL", "redis://", "redis://"},
		{"REDIS_URL", "unix+cluster:///x", "redis://"},
		{"REDIS_WAIT", "1", "REDIS_URL"},
		{"RETENTION_DAYS", "0", "days"},
		{"RETENTION_DAYS", "7d", "days"},
		{"TELEGRAM_API_URL", "localhost:8081", "https://"},
		{"TELEGRAM_RATE", "0", "off"},
		{"TELEGRAM_RATE", "20/min", "off"},
		{"TELEGRAM_GLOBAL_RATE", "-3", "off"},
		{"OPEN_THREAD", "never", "session"},
		{"LANGUAGE", "klingon", "en, de, es, fr"},
		{"BACKEND_WEBHOOK_URL", "app.example.com", "https://"},
		{"BACKEND_WEBHOOK_URL", "https://app.example.com/#x", "behind ?"},
		{"EVENTS_WEBHOOK_URL", "hooks.example.com", "https://"},
		{"EVENTS_WEBHOOK_URL", "https://user:pw@hooks.example.com/", "password"},
		{"ALLOW_PRIVATE_CALLBACKS", "maybe", "off"},
		{"ALLOW_PRIVATE_CALLBACKS", "10.0.0.0/8,home", "off"},
	}
	for _, tt := range tests {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			_, err := load(map[string]string{tt.name: tt.value}, nil)
			wantFaults(t, err, tt.name+": ")
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
		})
	}
}

func TestConfigHalfSet(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want string
	}{
		{"token alone", map[string]string{"TELEGRAM_BOT_TOKEN": realToken}, "TELEGRAM_CHAT_ID: is not set, but TELEGRAM_BOT_TOKEN is"},
		{"chat alone", map[string]string{"TELEGRAM_CHAT_ID": "-5"}, "TELEGRAM_BOT_TOKEN: is not set, but TELEGRAM_CHAT_ID is"},
		{"bad token", map[string]string{"TELEGRAM_BOT_TOKEN": "abc", "TELEGRAM_CHAT_ID": "-5"}, "TELEGRAM_BOT_TOKEN: is no bot token"},
		{"several chats", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5,-6"}, "TELEGRAM_CHAT_ID: holds several ids"},
		{"chat's name", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "@team"}, "TELEGRAM_CHAT_ID: is a name"},
		{"chat zero", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "0"}, "TELEGRAM_CHAT_ID: is 0"},
		{"webhook's secret alone", map[string]string{"TELEGRAM_WEBHOOK_SECRET": "s", "PUBLIC_URL": "https://b"},
			"TELEGRAM_BOT_TOKEN: is not set, but TELEGRAM_WEBHOOK_SECRET is"},
		{
			"webhook without a place", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5", "TELEGRAM_WEBHOOK_SECRET": "s"},
			"PUBLIC_URL: is not set, but TELEGRAM_WEBHOOK_SECRET is",
		},
		{
			"webhook without TLS", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5", "TELEGRAM_WEBHOOK_SECRET": "s",
				"PUBLIC_URL": "http://bridge.example.com"},
			"PUBLIC_URL: begins with http://",
		},
		{
			"webhook at a port", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5", "TELEGRAM_WEBHOOK_SECRET": "s",
				"PUBLIC_URL": "https://bridge.example.com:3001"},
			"PUBLIC_URL: names a port",
		},
		{
			"webhook's secret", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5", "TELEGRAM_WEBHOOK_SECRET": "a b",
				"PUBLIC_URL": "https://bridge.example.com"},
			"TELEGRAM_WEBHOOK_SECRET: has a character",
		},
		{
			"webhook at no URL", map[string]string{"TELEGRAM_BOT_TOKEN": realToken, "TELEGRAM_CHAT_ID": "-5", "TELEGRAM_WEBHOOK_SECRET": "s",
				"PUBLIC_URL": "bridge.example.com"},
			"PUBLIC_URL: is no http",
		},
		{"events alone", map[string]string{"BACKEND_WEBHOOK_EVENTS": "all"}, "BACKEND_WEBHOOK_URL: is not set, but BACKEND_WEBHOOK_EVENTS is"},
		{"secret alone", map[string]string{"BACKEND_WEBHOOK_SECRET": "s"}, "BACKEND_WEBHOOK_URL: is not set, but BACKEND_WEBHOOK_SECRET is"},
		{"events' secret alone", map[string]string{"EVENTS_WEBHOOK_SECRET": "s"}, "EVENTS_WEBHOOK_URL: is not set, but EVENTS_WEBHOOK_SECRET is"},
		{
			"no base64", map[string]string{"BACKEND_WEBHOOK_URL": "http://app", "BACKEND_WEBHOOK_SECRET": "whsec_?"},
			"BACKEND_WEBHOOK_SECRET: starts with whsec_",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := maps.Clone(tt.env)
			env["API_KEY"] = someKey
			_, err := load(env, nil)
			wantFaults(t, err, tt.want)
		})
	}
}

func TestConfigSaysAllFaultsAtOnce(t *testing.T) {
	_, err := load(map[string]string{
		"PORT": "x", "LOG_LEVEL": "x", "MAX_BODY": "x", "TELEGRAM_CHAT_ID": "x", "API_KEY": "a", "API_KEY_FILE": "b", "REDIS_URL": "x",
	}, map[string]string{".env": "OPEN_THREAD=x\nBACKEND_WEBHOOK_URL_FILE=/nowhere\nBACKEND_WEBHOOK_SECRET=s\n"})
	wantFaults(t, err, "API_KEY: ", "PORT: ", "LOG_LEVEL: ", "MAX_BODY: ", "REDIS_URL: ", "TELEGRAM_CHAT_ID: is no",
		"TELEGRAM_BOT_TOKEN: is not set", "OPEN_THREAD: ", "BACKEND_WEBHOOK_URL_FILE: ")
}

// No fault and no printed configuration shows a secret, however it is wrong.
func TestConfigPrintsNoSecret(t *testing.T) {
	const secret = "5ecr3t0123456789ab"
	bad := map[string]string{
		"API_KEY":                 secret + " " + secret,
		"REDIS_URL":               "redis+other://:" + secret + "%zz@host",
		"TELEGRAM_BOT_TOKEN":      secret,
		"TELEGRAM_CHAT_ID":        "123456:" + secret,
		"TELEGRAM_WEBHOOK_SECRET": secret + ".",
		"BACKEND_WEBHOOK_URL":     "ftp://" + secret,
		"BACKEND_WEBHOOK_SECRET":  "whsec_" + secret + "?",
		"EVENTS_WEBHOOK_URL":      "ftp://" + secret,
		"EVENTS_WEBHOOK_SECRET":   "whsec_" + secret + "?",
		"PUBLIC_URL":              "https://user:" + secret + "@host",
		"TELEGRAM_API_URL":        "https://user:" + secret + "@host",
		"DISCORD_BOT_TOKEN":       secret + " " + secret,
		"DISCORD_WEBHOOK_URL":     "https://discord.com/" + secret,
		"DISCORD_API_URL":         "https://user:" + secret + "@host",
		"SLACK_BOT_TOKEN":         "xapp-" + secret,
		"SLACK_APP_TOKEN":         "xoxb-" + secret,
		"SLACK_SIGNING_SECRET":    "xoxb-" + secret,
		"SLACK_WEBHOOK_URL":       secret,
		"SLACK_API_URL":           "https://user:" + secret + "@host",
	}
	_, err := load(bad, nil)
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("the faults are %v", err)
	}
	for name, value := range bad {
		for _, file := range []string{
			name + "='" + value + "\n",
			"API_KEY=good\n" + value + "\n",
			"API_KEY=good\n" + value,
			"§" + value + "\n",
		} {
			_, err := load(nil, map[string]string{".env": file})
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf(".env %q: the faults are %v", file, err)
			}
		}
	}

	c, err := load(map[string]string{
		"API_KEY": secret, "REDIS_URL": "redis://:" + secret + "@host", "TELEGRAM_BOT_TOKEN": "123:" + secret + strings.Repeat("a", 35), "TELEGRAM_CHAT_ID": "-1",
		"TELEGRAM_WEBHOOK_SECRET": secret, "PUBLIC_URL": "https://host",
		"BACKEND_WEBHOOK_URL": "https://host/" + secret, "BACKEND_WEBHOOK_SECRET": secret,
		"EVENTS_WEBHOOK_URL": "https://host/" + secret, "EVENTS_WEBHOOK_SECRET": secret,
		"DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/123/" + secret, "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/" + secret,
	}, map[string]string{".env": secret + "=" + secret})
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", *c.Telegram), fmt.Sprintf("%#v", c), string(asJSON)} {
		if strings.Contains(text, secret) {
			t.Errorf("printed as %s", text)
		}
	}
}

func TestConfigEnvFile(t *testing.T) {
	c, err := load(map[string]string{"PORT": "4000", "BIND": " ", "API_KEY_FILE": "/run/key"}, map[string]string{
		".env": "\ufeff# a comment\r\nPORT=5000\r\nBIND=127.0.0.3\r\nexport LOG_LEVEL=\"warn\"\r\nAPI_KEY='shadowed'\r\n" +
			"REDIS_URL_FILE=/run/redis\r\nBACKEND_WEBHOOK_URL=https://app/a\r\nBACKEND_WEBHOOK_SECRET='pa$$ # word'\r\nTELEGRAM_TOKEN=1:a\r\nlower=1\r\n",
		"/run/key":   "key-from-file-0123\r\n",
		"/run/redis": "redis://redis\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Listen: "127.0.0.3:4000", Loopback: true, APIKeys: []bridge.Secret{"key-from-file-0123"}, FirstKey: "key-from-file-0123", LogLevel: slog.LevelWarn, MaxBody: 1 << 20, StreamsMax: 1000,
		RedisURL: "redis://redis", DataDir: "./data", Retention: 30 * 24 * time.Hour, Site: noSite("data"), OpenThread: "message", Language: "en",
		MaxFile: 25 << 20, LinkTTL: 7 * 24 * time.Hour, Operators: usualOperators(),
		BackendURL: "https://app/a", BackendSecret: "pa$$ # word", BackendEvents: bridge.ExistingTypes(), PrivateCallbacks: "on",
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreFields(Config{}, "Warnings", "Misspelt", "Filter"), cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(c.Misspelt) != 1 || !strings.HasPrefix(c.Misspelt[0], ".env sets TELEGRAM_TOKEN") {
		t.Errorf("misspelt: %q", c.Misspelt)
	}
	wantWarnings(t, c, "no chat platform", ".env sets a name not in capitals")
}

func TestConfigBadEnvFile(t *testing.T) {
	for file, want := range map[string]string{
		"PORT=1\nwhat is this\n":                   ".env: line 2 ",
		"PORT=1\n\n# x\nAPI_KEY='open\n":           ".env: line 4 ",
		"PORT=1\nBIND='a\nb'\n=\nMORE=1":           ".env: line 4 ",
		"PORT=1\nno-equals-sign-and-the-file-ends": ".env: line 2 ",
		"PORT": ".env: line 1 ",
		"PORT=1\nLOG_LEVEL=info\nA-B=1\nLOG_FORMAT=text\n": ".env: line 3 ",
	} {
		_, err := load(nil, map[string]string{".env": file})
		wantFaults(t, err, want)
	}
}

func TestConfigUnreadableEnvFile(t *testing.T) {
	_, err := loadConfig(func(string) string { return "" }, func(name string) ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	})
	wantFaults(t, err, ".env: cannot be read (permission denied)")
}

func TestConfigSecretFiles(t *testing.T) {
	_, secrets := servedKeys()
	for _, name := range secrets {
		for what, tt := range map[string]struct {
			env, files map[string]string
			want       string
		}{
			"both":    {map[string]string{name: "x", name + "_FILE": "/f"}, map[string]string{"/f": "x"}, name + ": is set, and " + name + "_FILE too"},
			"missing": {map[string]string{name + "_FILE": "/f"}, nil, name + "_FILE: \"/f\" cannot be read (file does not exist)"},
			"empty":   {map[string]string{name + "_FILE": "/f"}, map[string]string{"/f": "\n"}, name + "_FILE: \"/f\" is empty"},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				_, err := load(tt.env, tt.files)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
			})
		}
	}
}

// A platform is on when its token is set; half of one stops the start, and what will not work as one might think is said.
func TestConfigPlatforms(t *testing.T) {
	const hook, slackHook = "https://discord.com/api/webhooks/123/abc", "https://hooks.slack.com/services/T/B/x"
	realDiscord := strings.Repeat("M", 24) + ".Gabcde." + strings.Repeat("x", 38)
	for _, tt := range []struct {
		env  map[string]string
		want string // a fault, or a warning behind a +
	}{
		{map[string]string{"DISCORD_BOT_TOKEN": realDiscord}, "DISCORD_CHANNEL_ID: is not set, but DISCORD_BOT_TOKEN is"},
		{map[string]string{"DISCORD_CHANNEL_ID": "123"}, "DISCORD_BOT_TOKEN: is not set, but DISCORD_CHANNEL_ID is"},
		{map[string]string{"DISCORD_BOT_TOKEN": "short", "DISCORD_CHANNEL_ID": "123"}, "DISCORD_BOT_TOKEN: is no bot token of Discord's"},
		{map[string]string{"DISCORD_BOT_TOKEN": realDiscord, "DISCORD_CHANNEL_ID": "#support"}, "DISCORD_CHANNEL_ID: is a mention or a name"},
		{map[string]string{"DISCORD_BOT_TOKEN": realDiscord, "DISCORD_CHANNEL_ID": "1", "DISCORD_WEBHOOK_URL": hook}, "DISCORD_WEBHOOK_URL: is set beside"},
		{map[string]string{"DISCORD_PUBLIC_KEY": "ab"}, "DISCORD_PUBLIC_KEY: is 2 characters long"},
		{map[string]string{"DISCORD_BOT_TOKEN": realDiscord, "DISCORD_CHANNEL_ID": "1", "DISCORD_NOTIFY": "@support"}, "DISCORD_NOTIFY: is neither here, nor off"},
		{map[string]string{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL_ID": "C0123456789", "SLACK_NOTIFY": "@support"}, "SLACK_NOTIFY: is neither here, nor off"},
		{map[string]string{"DISCORD_PUBLIC_KEY": strings.Repeat("ab", 32)}, "DISCORD_BOT_TOKEN: is not set, but DISCORD_PUBLIC_KEY is"},
		{map[string]string{"DISCORD_RATE": "-1"}, "DISCORD_RATE: "},
		{map[string]string{"DISCORD_ENABLE_GATEWAY": "maybe"}, "DISCORD_ENABLE_GATEWAY: "},
		{map[string]string{"DISCORD_WEBHOOK_URL": hook}, "+Discord is served by a webhook, which only sends"},
		{map[string]string{"DISCORD_BOT_TOKEN": realDiscord, "DISCORD_CHANNEL_ID": "1", "DISCORD_ENABLE_GATEWAY": "false"}, "+operators in Discord are not heard"},
		{map[string]string{
			"DISCORD_BOT_TOKEN": realDiscord, "DISCORD_CHANNEL_ID": "1", "DISCORD_ENABLE_GATEWAY": "false",
			"DISCORD_PUBLIC_KEY": strings.Repeat("ab", 32),
		}, "+visitors are answered with /reply"},
		{map[string]string{"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_CHANNEL_ID: is not set, but SLACK_BOT_TOKEN is"},
		{map[string]string{"SLACK_APP_TOKEN": "xapp-1"}, "SLACK_BOT_TOKEN: is not set, but SLACK_APP_TOKEN is"},
		{map[string]string{"SLACK_SIGNING_SECRET": "0123456789abcdef"}, "SLACK_BOT_TOKEN: is not set, but SLACK_SIGNING_SECRET is"},
		{map[string]string{"SLACK_BOT_TOKEN": "xapp-1", "SLACK_CHANNEL_ID": "C0123456789"}, "SLACK_BOT_TOKEN: is an app-level token"},
		{map[string]string{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL_ID": "#support"}, "SLACK_CHANNEL_ID: is a name"},
		{map[string]string{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL_ID": "C0123456789", "SLACK_WEBHOOK_URL": slackHook}, "SLACK_WEBHOOK_URL: is set beside"},
		{map[string]string{"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL_ID": "C0123456789"}, "+neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set"},
		{map[string]string{"SLACK_WEBHOOK_URL": slackHook}, "+Slack is served by a webhook, which only sends"},
		{map[string]string{"SLACK_ICON_EMOJI": "Not One"}, "SLACK_ICON_EMOJI: "},
		{map[string]string{"MAX_FILE": "lots"}, "MAX_FILE: "},
		{map[string]string{"FILE_LINK_TTL": "off"}, "FILE_LINK_TTL: is off"},
	} {
		c, err := load(tt.env, nil)
		if warning, ok := strings.CutPrefix(tt.want, "+"); ok {
			if err != nil || !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, warning) }) {
				t.Errorf("%v: %v, %q, want the warning %q", tt.env, err, c.Warnings, warning)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.env, err, tt.want)
		}
	}
}

// The example holds every variable that works and no other, is readable, and is good as it stands.
func TestEnvExample(t *testing.T) {
	data, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	example, err := godotenv.Parse(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := servedKeys()
	slices.Sort(keys)
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(example))); diff != "" {
		t.Errorf("variables: -served +.env.example\n%s", diff)
	}
	got, err := load(nil, map[string]string{".env": string(data)})
	if err != nil {
		t.Fatal(err)
	}
	want, err := load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Config{}, "Filter"), cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("-defaults +.env.example\n%s", diff)
	}
}

// The table of the documentation lists every variable that works and no other, and marks those that are secrets.
func TestDocsListVariables(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, marked []string
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(line, "|"); strings.HasPrefix(line, "| `") {
			name := strings.Trim(cells[1], " `")
			listed = append(listed, name)
			if strings.HasPrefix(cells[3], " * ") {
				marked = append(marked, name)
			}
		}
	}
	keys, secrets := servedKeys()
	for _, list := range [][]string{listed, marked, keys, secrets} {
		slices.Sort(list)
	}
	if diff := cmp.Diff(keys, listed); diff != "" {
		t.Errorf("variables: -served +docs/configuration.md\n%s", diff)
	}
	if diff := cmp.Diff(secrets, marked); diff != "" {
		t.Errorf("secrets: -served +docs/configuration.md\n%s", diff)
	}
}

// wantFaults says whether the error has exactly these faults, by how their lines begin.
func wantFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	f, ok := errors.AsType[faults](err)
	if !ok {
		t.Fatalf("got error %v, want faults %q", err, want)
	}
	if !slices.EqualFunc(f, want, strings.HasPrefix) {
		t.Errorf("got faults\n  %s\nwant\n  %s", strings.Join(f, "\n  "), strings.Join(want, "\n  "))
	}
}

// wantWarnings says whether the configuration has exactly these warnings, by a part of each.
func wantWarnings(t *testing.T, c Config, want ...string) {
	t.Helper()
	if !slices.EqualFunc(c.Warnings, want, strings.Contains) {
		t.Errorf("got warnings\n  %s\nwant\n  %s", strings.Join(c.Warnings, "\n  "), strings.Join(want, "\n  "))
	}
}

// A setting under a wrong name, in quotes, or a folder that cannot be written to, does not pass the check.
func TestCheckFindsSlips(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, value, want string }{
		{"TELEGRAM_TOKEN", "1:a", "the environment sets TELEGRAM_TOKEN, which is no setting of the bridge; did you mean TELEGRAM_BOT_TOKEN?"},
		{"DISCORD_TOKEN", "1", "did you mean DISCORD_BOT_TOKEN?"},
		{"SLACK_TOKEN", "1", "did you mean SLACK_BOT_TOKEN?"},
		{"SLACK_CHANNEL", "1", "did you mean SLACK_CHANNEL_ID?"},
		{"APIKEY", "1", "did you mean API_KEY?"},
		{"REDIS_URI", "1", "did you mean REDIS_URL?"},
		{"API_KEY", `"0123456789abcdef"`, "API_KEY: has quotes around its value"},
		{"LOG_LEVEL", "'debug'", "LOG_LEVEL: has quotes around its value"},
		{"DATA_DIR", taken, "is a file; name a folder"},
		{"DATA_DIR", filepath.Join(taken, "data"), "not a directory"},
	} {
		code, _, stderr := command(t, map[string]string{tt.name: tt.value}, "check")
		if code != 1 || !strings.Contains(stderr, tt.want) || strings.Contains(stderr, "0123456789") {
			t.Errorf("%s=%s ends with %d and says:\n%s", tt.name, tt.value, code, stderr)
		}
	}
	for name := range slips {
		if code, _, stderr := command(t, map[string]string{name: "1"}, "check"); code != 1 || !strings.Contains(stderr, "did you mean") {
			t.Errorf("%s ends with %d and says:\n%s", name, code, stderr)
		}
	}
	dir := filepath.Join(t.TempDir(), "is", "made", "later")
	if code, _, stderr := command(t, map[string]string{"DATA_DIR": dir}, "check"); code != 0 {
		t.Errorf("a folder that is not there yet ends with %d and says:\n%s", code, stderr)
	}
}
