package main

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/discord"
	"github.com/pocketping/bridge/internal/files"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/slack"
	"github.com/pocketping/bridge/internal/telegram"
	"github.com/pocketping/bridge/internal/words"
)

// Config is the environment, read and checked. Everything that must not be printed is a bridge.Secret.
type Config struct {
	filesIn        time.Duration   // how long a text waits for its files; 0: as long as is good for people. Nothing of the environment
	Listen         string          // host:port; an empty host is every address of the machine
	Loopback       bool            // Listen is reached from this machine only
	APIKeys        []bridge.Secret // each opens everything
	NarrowKeys     []api.NarrowKey // each opens what its scope says. No key of either kind: none is asked for
	FirstKey       bridge.Secret   // of all keys, as they were written; it goes out with the backend's webhook
	PublicURL      string          // without a slash at its end, or empty
	LogLevel       slog.Level
	LogJSON        bool
	CORSOrigins    []string       // as browsers send them; the one "*" is any, none is no CORS at all
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	MaxBody        int64          // bytes
	StreamsMax     int            // open streams of events
	RateLimit      float64        // events a second and API key; 0 is no limit
	MetricsAddr    string         // host:port of the metrics, without a key; empty: with the API, behind its keys

	RedisURL  bridge.Secret // empty: the embedded store under DataDir
	RedisWait int           // replicas that must have a write before it counts
	DataDir   string
	Retention time.Duration

	Site        siteConfig
	Transcripts bool // what is said in sessions is kept with them

	Telegram   *telegram.Config // nil: not configured
	Discord    *discord.Config  // nil: not configured; without a token it is a webhook
	Slack      *slack.Config    // nil: not configured; without a token it is a webhook
	OpenThread string           // auto, message or session
	Language   string           // of what operators and visitors read, as package words has it
	Operators  operators
	Filter     filterConfig
	Hide       *bridge.Hidden // fields that operators are not shown; nil: none
	MaskCards  bool
	SecretsKey bridge.Secret // seals the secrets in the store; empty: they are plain

	MaxFile int64         // of a visitor's attachment, in bytes
	LinkTTL time.Duration // of a link to an operator's file

	BackendURL    bridge.Secret // empty: no such callback
	BackendSecret bridge.Secret // empty: not signed
	BackendEvents []bridge.Type // that the backend is told of; none: all
	EventsURL     bridge.Secret // of the events webhook; empty: there is none
	EventsSecret  bridge.Secret // empty: not signed

	PrivateCallbacks string // which private addresses registered callbacks may lead to, as outbound.NewGuard reads it

	Misspelt []string // names that are set and are no setting's, with the setting that is most likely meant; a sentence each
	Warnings []string // what works otherwise than one might think; a sentence each, none with a secret
}

const (
	envFile = ".env" // in the working directory

	minKey  = 16       // characters
	minBody = 1 << 10  // less would refuse every session
	maxBody = 64 << 20 // a body is held in memory and kept in the log
)

// servedKeys are the variables that this version reads. Those that are secrets can be given as NAME_FILE too.
func servedKeys() (keys, secrets []string) {
	return []string{
			"PORT", "BIND", "API_KEY", "PUBLIC_URL", "LOG_LEVEL", "LOG_FORMAT", "CORS_ORIGINS", "TRUSTED_PROXIES", "MAX_BODY",
			"RATE_LIMIT", "STREAMS_MAX", "METRICS_ADDR", "REDIS_URL", "REDIS_WAIT", "DATA_DIR", "RETENTION_DAYS", "TRANSCRIPTS", "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID",
			"TELEGRAM_WEBHOOK_SECRET", "TELEGRAM_API_URL", "TELEGRAM_RATE", "TELEGRAM_GLOBAL_RATE",
			"DISCORD_BOT_TOKEN", "DISCORD_CHANNEL_ID", "DISCORD_ENABLE_GATEWAY", "DISCORD_PUBLIC_KEY", "DISCORD_WEBHOOK_URL",
			"DISCORD_NOTIFY", "SLACK_NOTIFY", "DISCORD_USERNAME", "DISCORD_AVATAR_URL", "DISCORD_API_URL", "DISCORD_RATE", "SLACK_BOT_TOKEN", "SLACK_CHANNEL_ID",
			"SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_WEBHOOK_URL", "SLACK_USERNAME", "SLACK_ICON_EMOJI", "SLACK_API_URL",
			"SLACK_RATE", "MAX_FILE", "FILE_LINK_TTL", "OPEN_THREAD", "LANGUAGE", "AUTO_CLOSE", "BRIDGE_TEST_BOT_IDS", "OPERATORS", "PUBLIC_OPERATOR_NAME", "PRESENCE_TIMEOUT",
			"PRESENCE_ON_REPLY", "BUSINESS_HOURS", "TIMEZONE", "HOLIDAYS", "UNANSWERED_AFTER", "ANSWER_TIMEOUT", "INTERNAL_BY_DEFAULT",
			"BACKEND_WEBHOOK_URL", "BACKEND_WEBHOOK_SECRET", "BACKEND_WEBHOOK_EVENTS", "EVENTS_WEBHOOK_URL", "EVENTS_WEBHOOK_SECRET", "ALLOW_PRIVATE_CALLBACKS",
			"WIDGET_ORIGINS", "WIDGET_PATH", "WIDGET_WELCOME", "WIDGET_OPERATOR_NAME", "WIDGET_OPERATOR_AVATAR", "WIDGET_OPERATOR_COLOR", "WIDGET_PRECHAT",
			"WIDGET_IDENTITY", "WIDGET_IDENTITY_SECRET", "WIDGET_SOCKETS_MAX", "UPLOADS_DIR", "MAX_UPLOAD", "UPLOADS_PER_DAY",
			"UA_FILTER_ENABLED", "UA_FILTER_MODE", "UA_FILTER_USE_DEFAULT_BOTS", "UA_FILTER_LOG_BLOCKED", "UA_FILTER_BLOCKLIST", "UA_FILTER_ALLOWLIST",
			"IP_FILTER_ENABLED", "IP_FILTER_MODE", "IP_FILTER_BLOCKLIST", "IP_FILTER_ALLOWLIST", "BOT_HEURISTICS_ENABLED", "BOT_RANGES_FILE",
			"HIDE_FIELDS", "MASK_CARDS", "SECRETS_KEY",
		}, []string{
			"API_KEY", "REDIS_URL", "TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET", "DISCORD_BOT_TOKEN", "DISCORD_WEBHOOK_URL",
			"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_WEBHOOK_URL", "BACKEND_WEBHOOK_URL",
			"BACKEND_WEBHOOK_SECRET", "EVENTS_WEBHOOK_URL", "EVENTS_WEBHOOK_SECRET", "WIDGET_IDENTITY_SECRET", "SECRETS_KEY",
		}
}

// faults is all that is wrong with the environment, a line each: the variable, what is wrong, how to get it right.
type faults []string

func (f faults) Error() string {
	return "the configuration is not usable:\n  " + strings.Join(f, "\n  ")
}

// loadConfig reads the environment, the .env file behind it, and the files that NAME_FILE variables point to. What is wrong
// comes back in one error with a line for each fault; neither it nor a warning holds the value of a secret. A variable that
// is empty counts as not set.
func loadConfig(getenv func(string) string, readFile func(name string) ([]byte, error)) (Config, error) {
	e := &environment{getenv: getenv, readFile: readFile}
	e.readEnvFile()
	e.quotes()

	var c Config
	e.server(&c)
	e.store(&c)
	e.telegram(&c)
	e.discord(&c)
	e.slack(&c)
	e.files(&c)
	if c.Telegram == nil && c.Discord == nil && c.Slack == nil && len(e.faults) == 0 {
		c.Warnings = append(c.Warnings, "no chat platform is configured: events are accepted and reach nobody; set TELEGRAM_BOT_TOKEN and "+
			"TELEGRAM_CHAT_ID, DISCORD_BOT_TOKEN and DISCORD_CHANNEL_ID, or SLACK_BOT_TOKEN and SLACK_CHANNEL_ID")
	}
	e.operators(&c)
	e.callbacks(&c)
	e.site(&c)
	e.filters(&c)
	e.privacy(&c)
	e.unknown(&c)

	if len(e.faults) > 0 {
		return Config{}, e.faults
	}
	return c, nil
}

func (e *environment) server(c *Config) {
	e.apiKeys(c)
	port := e.integer("PORT", 3001, 0, math.MaxUint16, "a port number")
	host := e.bind(c.keyed())
	c.Listen = net.JoinHostPort(host, strconv.Itoa(port))
	ip, err := netip.ParseAddr(host)
	c.Loopback = host == "localhost" || err == nil && ip.Unmap().IsLoopback()
	switch {
	case c.keyed():
	case c.Loopback:
		c.Warnings = append(c.Warnings, "API_KEY is not set: the API asks for no key and is open to this machine only")
	default:
		c.Warnings = append(c.Warnings,
			"API_KEY is not set and BIND opens the API to other machines: whoever reaches it can write to operators and read their answers")
	}

	c.PublicURL = e.url("PUBLIC_URL", "", "https://bridge.example.com")
	if !c.keyed() && !loopbackURL(c.PublicURL) && !e.failed("PUBLIC_URL") && !e.failed("API_KEY") {
		e.fault("API_KEY", "is not set, but PUBLIC_URL is where others reach the bridge, and they could write to operators and read their "+
			"answers; make a key with: openssl rand -hex 32")
	}
	_ = c.LogLevel.UnmarshalText([]byte(e.choice("LOG_LEVEL", "info", "debug", "warn", "error"))) // reads each of these words
	c.LogJSON = e.choice("LOG_FORMAT", "text", "json") == "json"
	c.CORSOrigins = e.origins("CORS_ORIGINS")
	if !c.keyed() && slices.Contains(c.CORSOrigins, "*") {
		c.Warnings = append(c.Warnings, "CORS_ORIGINS is * and API_KEY is not set: every page that a browser in reach of the bridge opens can "+
			"write to operators and read their answers")
	}
	c.TrustedProxies = e.prefixes("TRUSTED_PROXIES", "addresses or ranges, such as 10.0.0.0/8,192.168.1.7")
	c.MaxBody = e.size("MAX_BODY", 1<<20)
	c.RateLimit = e.rate("RATE_LIMIT")
	c.StreamsMax = e.integer("STREAMS_MAX", api.DefaultStreamsMax, 1, 1_000_000, "a number of open streams")
	c.MetricsAddr = e.address("METRICS_ADDR")
	if host, _, err := net.SplitHostPort(c.MetricsAddr); err == nil && everyAddress(host) {
		c.Warnings = append(c.Warnings, "METRICS_ADDR is every address of this machine, and no key is asked for there: whoever reaches it can read the "+
			"metrics; name one address, such as 127.0.0.1:9090")
	}
}

// everyAddress says whether listening on a host is listening on every address of the machine.
func everyAddress(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// loopbackURL says whether a URL leads to this machine alone, or nowhere.
func loopbackURL(text string) bool {
	u, err := url.Parse(text)
	if text == "" || err != nil {
		return text == ""
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// bind returns the host to listen on: with an API key every address, without one this machine's own, and always what BIND
// says.
func (e *environment) bind(keyed bool) string {
	const how = "give an address without a port, such as 127.0.0.1, 0.0.0.0 or ::, and the port in PORT"
	text := e.text("BIND")
	if text == "" {
		if keyed {
			return ""
		}
		return "127.0.0.1"
	}
	host := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if !plainHost(host) {
		e.fault("BIND", "%s is no address of a machine; %s", quote(text), how)
	}
	return host
}

// plainHost says whether the text is an address or a name of a machine, without a port.
func plainHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`).MatchString(text)
}

func (e *environment) store(c *Config) {
	c.RedisURL = e.secret("REDIS_URL")
	if c.RedisURL != "" {
		// The store reads the rest: it may name several hosts.
		scheme, rest, _ := strings.Cut(c.RedisURL.Reveal(), "://")
		schemes := []string{"redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster", "unix"}
		if rest == "" || !slices.Contains(schemes, scheme) {
			e.fault("REDIS_URL", "is no Redis URL; write redis://[user:password@]host:6379/0, rediss://… for TLS, unix:///path/to/socket, "+
				"redis+sentinel://host,host/master or redis+cluster://host,host")
		}
	}
	c.RedisWait = e.integer("REDIS_WAIT", 0, 0, 100, "a number of replicas, 0 for none")
	if c.RedisWait > 0 && c.RedisURL == "" {
		e.fault("REDIS_WAIT", "waits for Redis replicas, but REDIS_URL is not set; set REDIS_URL, or leave REDIS_WAIT out")
	}
	c.DataDir = cmp.Or(e.text("DATA_DIR"), "./data")
	c.Retention = time.Duration(e.integer("RETENTION_DAYS", 30, 1, 3650, "a number of days")) * 24 * time.Hour
}

func (e *environment) telegram(c *Config) {
	t := telegram.Config{
		Rate:       e.pace("TELEGRAM_RATE", 20, "a minute"),
		GlobalRate: e.pace("TELEGRAM_GLOBAL_RATE", 30, "a second"),
		TestBotIDs: e.list("BRIDGE_TEST_BOT_IDS"),
	}
	t.APIURL = parsed(e, "TELEGRAM_API_URL", cmp.Or(e.text("TELEGRAM_API_URL"), telegram.DefaultAPIURL), telegram.ParseAPIURL)
	// Neither value is quoted: a token in the wrong place is a common slip.
	token, chat := e.secret("TELEGRAM_BOT_TOKEN"), e.text("TELEGRAM_CHAT_ID")
	t.Token = parsed(e, "TELEGRAM_BOT_TOKEN", token.Reveal(), telegram.ParseToken)
	if t.Token != "" && t.APIURL == telegram.DefaultAPIURL && !telegram.LooksReal(t.Token) {
		e.fault("TELEGRAM_BOT_TOKEN", "is no bot token of Telegram's; %s", telegram.TokenHow)
	}
	t.ChatID = parsed(e, "TELEGRAM_CHAT_ID", chat, telegram.ParseChatID)
	e.telegramWebhook(c, &t)
	e.together("TELEGRAM_BOT_TOKEN", token != "", "TELEGRAM_CHAT_ID", chat != "", telegram.ChatIDHow)
	e.together("TELEGRAM_CHAT_ID", chat != "", "TELEGRAM_BOT_TOKEN", token != "", telegram.TokenHow)
	e.together("TELEGRAM_WEBHOOK_SECRET", t.WebhookSecret != "", "TELEGRAM_BOT_TOKEN", token != "", telegram.TokenHow)
	if token != "" {
		c.Telegram = &t
	}

	c.OpenThread = e.choice("OPEN_THREAD", "message", "session", "auto")
	c.Language = e.choice("LANGUAGE", words.Names()...)
}

// telegramWebhook reads whether Telegram sends updates to us; else they are fetched. PUBLIC_URL has been read before.
func (e *environment) telegramWebhook(c *Config, t *telegram.Config) {
	const name = "TELEGRAM_WEBHOOK_SECRET"
	if t.WebhookSecret = parsed(e, name, e.secret(name).Reveal(), telegram.ParseWebhookSecret); t.WebhookSecret == "" {
		return
	}
	const how = "Telegram sends updates to PUBLIC_URL/webhooks/telegram; write where the bridge is reached from outside, such as " +
		"https://bridge.example.com, or leave " + name + " out, to fetch updates instead"
	switch {
	case e.failed("PUBLIC_URL"):
	case c.PublicURL == "":
		e.fault("PUBLIC_URL", "is not set, but %s is; %s", name, how)
	default:
		t.WebhookURL = c.PublicURL + "/webhooks/telegram"
		if err := telegram.CheckWebhookURL(t.WebhookURL, t.APIURL); err != nil && !e.failed("TELEGRAM_API_URL") {
			e.fault("PUBLIC_URL", "%v; %s", err, how)
		}
	}
}

func (e *environment) callbacks(c *Config) {
	c.BackendURL, c.BackendSecret = e.webhook("BACKEND_WEBHOOK", "https://app.example.com/pocketping", "the app server's URL")
	c.EventsURL, c.EventsSecret = e.webhook("EVENTS_WEBHOOK", "https://hooks.example.com/catch/123", "the URL that is to be told")

	if u, err := url.Parse(c.BackendURL.Reveal()); err == nil && u.Scheme == "http" && c.FirstKey != "" && !loopbackURL(c.BackendURL.Reveal()) {
		c.Warnings = append(c.Warnings, "BACKEND_WEBHOOK_URL is http://, and the first API key goes there with every event: whoever stands between can read "+
			"it; use https://, or a network that is yours alone")
	}
	c.BackendEvents = e.backendEvents()
	e.together("BACKEND_WEBHOOK_EVENTS", e.text("BACKEND_WEBHOOK_EVENTS") != "", "BACKEND_WEBHOOK_URL", c.BackendURL != "",
		"set it to the app server's URL, or leave the events out")
	c.PrivateCallbacks = e.text(outbound.GuardSetting)
	if c.PrivateCallbacks == "" {
		c.PrivateCallbacks = "off"
		if c.Loopback {
			c.PrivateCallbacks = "on"
		}
	}
	if _, err := outbound.NewGuard(c.PrivateCallbacks); err != nil {
		e.fault(outbound.GuardSetting, "%s is none of its values; write on, off, or ranges such as 10.0.0.0/8,fd00::/8",
			quote(c.PrivateCallbacks))
	}
}

// backendEvents reads which types the backend is told of: by default those of the existing server. None stands for all.
func (e *environment) backendEvents() []bridge.Type {
	const name = "BACKEND_WEBHOOK_EVENTS"
	known := bridge.TeamTypes()
	var out []bridge.Type
	for _, item := range e.list(name) {
		t := bridge.Type(strings.ToLower(item))
		switch {
		case t == "all":
			if len(e.list(name)) > 1 {
				e.fault(name, "has all beside others; write all alone, or names")
			}
			return nil
		case !slices.Contains(known, t):
			names := make([]string, len(known))
			for i, one := range known {
				names[i] = string(one)
			}
			e.fault(name, "%s is no event that an app server can be told of; write all, or some of %s", quote(item), strings.Join(names, ", "))
		case !slices.Contains(out, t):
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return bridge.ExistingTypes()
	}
	return out
}

// webhook reads a URL of the owner's and the secret that signs what goes there.
func (e *environment) webhook(name, example, what string) (where, secret bridge.Secret) {
	where, secret = e.secret(name+"_URL"), e.secret(name+"_SECRET")
	e.checkURL(name+"_URL", where.Reveal(), example, true)
	e.together(name+"_SECRET", secret != "", name+"_URL", where != "", "set it to "+what+", or leave the secret out")
	if key, ok := strings.CutPrefix(secret.Reveal(), "whsec_"); ok {
		if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
			e.fault(name+"_SECRET",
				"starts with whsec_, but what follows is not base64; make one with: echo whsec_$(openssl rand -base64 32)")
		}
	}
	return where, secret
}

// unknown warns of what is set and is no setting.
func (e *environment) unknown(c *Config) {
	known := map[string]bool{}
	keys, secrets := servedKeys()
	for _, name := range keys {
		known[name] = true
	}
	for _, name := range secrets {
		known[name+"_FILE"] = true
	}
	// A name that the file alone has is most likely a slip. What does not look like a name may be a piece of a secret.
	for _, name := range slices.Sorted(maps.Keys(e.file)) {
		switch {
		case known[name]:
		case !regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`).MatchString(name), hide(name, nil) != name:
			c.Warnings = append(c.Warnings, envFile+" sets a name not in capitals, which is no setting of the bridge")
		case !e.misspelt(c, name, envFile, measure.Nearest(name, keys)):
			c.Warnings = append(c.Warnings, envFile+" sets "+name+", which is no setting of the bridge")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(slips)) {
		if e.getenv(name) != "" {
			e.misspelt(c, name, "the environment", slips[name])
		}
	}
}

// slips are names that people give to settings, and what they mean. The environment, where most names are of others, is searched
// for these alone.
var slips = map[string]string{ //nolint:gosec // names of settings, no secrets
	"TELEGRAM_TOKEN": "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT": "TELEGRAM_CHAT_ID", "TELEGRAM_CHATID": "TELEGRAM_CHAT_ID",
	"TELEGRAM_GROUP_ID": "TELEGRAM_CHAT_ID", "DISCORD_TOKEN": "DISCORD_BOT_TOKEN", "DISCORD_CHANNEL": "DISCORD_CHANNEL_ID",
	"SLACK_TOKEN": "SLACK_BOT_TOKEN", "SLACK_CHANNEL": "SLACK_CHANNEL_ID", "SLACK_SECRET": "SLACK_SIGNING_SECRET", "APIKEY": "API_KEY",
	"API_KEYS": "API_KEY", "BRIDGE_API_KEY": "API_KEY", "REDIS_URI": "REDIS_URL", "REDIS_ADDR": "REDIS_URL", "DATADIR": "DATA_DIR",
	"PUBLIC_URI": "PUBLIC_URL", "BACKEND_URL": "BACKEND_WEBHOOK_URL", "BACKEND_WEBHOOK": "BACKEND_WEBHOOK_URL",
	"EVENTS_URL": "EVENTS_WEBHOOK_URL", "EVENTS_WEBHOOK": "EVENTS_WEBHOOK_URL", "LOGLEVEL": "LOG_LEVEL",
}

// misspelt notes a name that is a setting's by mistake, and says whether that one is not set otherwise.
func (e *environment) misspelt(c *Config, name, where, meant string) bool {
	if meant == "" || e.text(meant) != "" || e.text(meant+"_FILE") != "" {
		return false
	}
	c.Misspelt = append(c.Misspelt, fmt.Sprintf("%s sets %s, which is no setting of the bridge; did you mean %s?", where, name, meant))
	return true
}

// quotes finds fault with a value of the environment in quotes, which are a part of it there; a shell and .env take them away.
func (e *environment) quotes() {
	keys, _ := servedKeys()
	for _, name := range keys {
		v := strings.TrimSpace(e.getenv(name))
		if len(v) > 1 && v[0] == v[len(v)-1] && strings.ContainsRune(`"'`, rune(v[0])) {
			e.fault(name, "has quotes around its value, which are taken for a part of it here (docker's --env-file keeps them); leave them out")
		}
	}
}

// files reads how files travel. PUBLIC_URL has been read before.
func (e *environment) files(c *Config) {
	c.MaxFile = e.size("MAX_FILE", files.DefaultMaxFile)
	if c.LinkTTL = e.duration("FILE_LINK_TTL", files.DefaultLinkTTL); c.LinkTTL == 0 && !e.failed("FILE_LINK_TTL") {
		e.fault("FILE_LINK_TTL", "is off, and no link would work; write a time such as 1h or 7d")
	}
	if c.PublicURL == "" && !e.failed("PUBLIC_URL") && (c.Telegram != nil || c.Discord != nil || c.Slack != nil) {
		c.Warnings = append(c.Warnings, "PUBLIC_URL is not set: links to operators' files start with http://localhost, which visitors "+
			"cannot open; set it to where the bridge is reached from outside")
	}
}
