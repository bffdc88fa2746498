package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// surroundings are all that a bridge stands on, as they must be.
type surroundings struct {
	t        *testing.T
	telegram *telegram.Server
	chat     int64
	discord  *discord.Server
	channel  string
	slack    *slack.Server
	place    string
	app      int // the status with which the app server answers
	env      map[string]string
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + program.FreePort(t)
}

// listen serves a stand-in until the test ends.
func listen(t *testing.T, on func(context.Context, string) (string, error), end func()) string {
	t.Helper()
	base, err := on(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	return base
}

func newSurroundings(t *testing.T) *surroundings {
	t.Helper()
	s := &surroundings{
		t: t, telegram: telegram.New(telegram.Options{}), discord: discord.New(discord.Options{}), slack: slack.New(slack.Options{}), app: http.StatusOK,
	}
	s.chat = s.telegram.AddChat(telegram.Chat{Kind: telegram.Forum, Title: "Support"})
	s.channel = s.discord.AddChannel(discord.Channel{Name: "visitors"})
	s.place = s.slack.AddChannel(slack.Channel{Kind: slack.Public, Name: "visitors"})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(s.app)
	}))
	t.Cleanup(app.Close)
	port := closedPort(t)
	_, number, _ := strings.Cut(port, ":")
	s.env = map[string]string{
		"PORT": number, "PUBLIC_URL": "http://" + port, "DATA_DIR": t.TempDir(), "BACKEND_WEBHOOK_URL": app.URL + "/callback",
		"TELEGRAM_BOT_TOKEN": s.telegram.Token(), "TELEGRAM_CHAT_ID": strconv.FormatInt(s.chat, 10),
		"TELEGRAM_API_URL":  listen(t, s.telegram.Listen, s.telegram.Close),
		"DISCORD_BOT_TOKEN": s.discord.Token(), "DISCORD_CHANNEL_ID": s.channel,
		"DISCORD_API_URL": listen(t, s.discord.Listen, s.discord.Close) + "/api",
		"SLACK_BOT_TOKEN": s.slack.BotToken(), "SLACK_APP_TOKEN": s.slack.AppToken(), "SLACK_CHANNEL_ID": s.place,
		"SLACK_API_URL": listen(t, s.slack.Listen, s.slack.Close) + "/api/",
	}
	return s
}

// redis runs a Redis for the store.
func (s *surroundings) redis(args ...string) (*redistest.Server, *goredis.Client) {
	r := redistest.Start(s.t, args...)
	delete(s.env, "DATA_DIR")
	s.env["REDIS_URL"] = r.URL()
	client := goredis.NewClient(&goredis.Options{Addr: r.Addr})
	s.t.Cleanup(func() { _ = client.Close() })
	return r, client
}

// check runs bridge check -online.
func (s *surroundings) check() (said string, code int) {
	var out, errs bytes.Buffer
	code = run(s.t.Context(), []string{"check", "-online"}, func(name string) string { return s.env[name] }, &out, &errs)
	return out.String() + errs.String(), code
}

// late is a proxy in front of a stand-in whose clock is an hour behind.
func (s *surroundings) late(name string) {
	to, err := url.Parse(s.env[name])
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: to.Scheme, Host: to.Host})
			r.Out.Host = to.Host
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	s.t.Cleanup(server.Close)
	s.env[name] = server.URL + to.Path
}

// fault is something that is not as it must be; the line that tells of it names the setting and the way out.
type fault struct {
	name string
	make func(s *surroundings)
	want []string
}

func platformFaults() []fault {
	token := func(text string) string { return strings.Repeat("A", 8) + text }
	return []fault{
		{"telegram: another token", func(s *surroundings) { s.env["TELEGRAM_BOT_TOKEN"] = "7000000001:" + token(strings.Repeat("x", 30)) },
			[]string{"TELEGRAM_BOT_TOKEN", "BotFather"}},
		{"telegram: revoked", func(s *surroundings) { s.telegram.Revoke() }, []string{"TELEGRAM_BOT_TOKEN", "BotFather"}},
		{"telegram: no such chat", func(s *surroundings) { s.env["TELEGRAM_CHAT_ID"] = "-1009999999999" }, []string{"TELEGRAM_CHAT_ID", "add the bot"}},
		{"telegram: left", func(s *surroundings) { s.telegram.SetBot(s.chat, telegram.BotRights{Status: telegram.Left}) },
			[]string{"TELEGRAM_CHAT_ID", "add "}},
		{"telegram: kicked", func(s *surroundings) { s.telegram.SetBot(s.chat, telegram.BotRights{Status: telegram.Kicked}) },
			[]string{"TELEGRAM_CHAT_ID", "add the bot"}},
		{"telegram: no right to topics", func(s *surroundings) { s.telegram.SetBot(s.chat, telegram.BotRights{Status: telegram.Administrator}) },
			[]string{"TELEGRAM_CHAT_ID", "Manage topics"}},
		{"telegram: no administrator", func(s *surroundings) { s.telegram.SetBot(s.chat, telegram.BotRights{Status: telegram.Member}) },
			[]string{"does not hear", "administrator"}},
		{"telegram: muted", func(s *surroundings) {
			s.telegram.SetBot(s.chat, telegram.BotRights{Status: telegram.Member, Muted: true})
		},
			[]string{"may not write", "administrator"}},
		{"telegram: no topics", func(s *surroundings) {
			s.env["TELEGRAM_CHAT_ID"] = strconv.FormatInt(s.telegram.AddChat(telegram.Chat{Kind: telegram.Supergroup, Title: "Plain"}), 10)
		}, []string{"TELEGRAM_CHAT_ID", "Plain", "turn on Topics"}},
		{"telegram: away", func(s *surroundings) { s.env["TELEGRAM_API_URL"] = "http://" + closedPort(s.t) }, []string{"TELEGRAM_API_URL", "reaches"}},

		{"discord: another token", func(s *surroundings) { s.env["DISCORD_BOT_TOKEN"] = "MTAwMDAwMDAwMDAwMDAwMDAx.other." + token("other") },
			[]string{"DISCORD_BOT_TOKEN", "reset the token"}},
		{"discord: no content", func(s *surroundings) { s.discord.SetPrivilegedIntents(0) }, []string{"DISCORD_BOT_TOKEN", "Message Content Intent"}},
		{"discord: no such channel", func(s *surroundings) { s.env["DISCORD_CHANNEL_ID"] = "1000000000000000001" },
			[]string{"DISCORD_CHANNEL_ID", "member of its server"}},
		{"discord: a voice channel", func(s *surroundings) {
			s.env["DISCORD_CHANNEL_ID"] = s.discord.AddChannel(discord.Channel{Kind: discord.Voice, Name: "talk"})
		}, []string{"DISCORD_CHANNEL_ID", "a channel of text"}},
		{"discord: a right in the channel", func(s *surroundings) { s.discord.Deny(s.channel, discord.ManageThreads|discord.AddReactions) },
			[]string{"DISCORD_CHANNEL_ID", "Manage Threads, Add Reactions"}},
		{"discord: a right in the server", func(s *surroundings) { s.discord.Deny("", discord.CreatePublicThreads) },
			[]string{"DISCORD_CHANNEL_ID", "Create Public Threads"}},
		{"discord: kicked", func(s *surroundings) { s.discord.Kick("") }, []string{"DISCORD_CHANNEL_ID"}},
		{"discord: another public key", func(s *surroundings) { s.env["DISCORD_PUBLIC_KEY"] = strings.Repeat("ab", 32) },
			[]string{"DISCORD_PUBLIC_KEY", "General Information"}},
		{"discord: away", func(s *surroundings) { s.env["DISCORD_API_URL"] = "http://" + closedPort(s.t) + "/api" },
			[]string{"DISCORD_API_URL", "reaches"}},

		{"slack: another token", func(s *surroundings) { s.env["SLACK_BOT_TOKEN"] = "xoxb-" + token("other") }, []string{"SLACK_BOT_TOKEN", "install"}},
		{"slack: a scope", func(s *surroundings) { s.slack.RemoveScope("files:write") }, []string{"SLACK_BOT_TOKEN", "files:write", "install it again"}},
		{"slack: no such channel", func(s *surroundings) { s.env["SLACK_CHANNEL_ID"] = "C09999999" }, []string{"SLACK_CHANNEL_ID", "/invite"}},
		{"slack: outside a private channel", func(s *surroundings) {
			s.env["SLACK_CHANNEL_ID"] = s.slack.AddChannel(slack.Channel{Kind: slack.Private, Name: "quiet"})
			s.slack.RemoveBot(s.env["SLACK_CHANNEL_ID"])
		}, []string{"SLACK_CHANNEL_ID", "/invite"}},
		{"slack: outside, and cannot join", func(s *surroundings) {
			s.slack.RemoveBot(s.place)
			s.slack.RemoveScope("channels:join")
		}, []string{"SLACK_CHANNEL_ID", "/invite"}},
		{"slack: archived", func(s *surroundings) { s.slack.Archive(s.place, s.slack.AddUser(slack.User{Name: "ana"}).ID) },
			[]string{"SLACK_CHANNEL_ID", "archive"}},
		{"slack: another app token", func(s *surroundings) { s.env["SLACK_APP_TOKEN"] = "xapp-1-" + token("other") },
			[]string{"SLACK_APP_TOKEN", "connections:write"}},
		{"slack: away", func(s *surroundings) { s.env["SLACK_API_URL"] = "http://" + closedPort(s.t) + "/api/" }, []string{"SLACK_API_URL", "reaches"}},
		{"the clock", func(s *surroundings) { s.late("SLACK_API_URL") }, []string{"the clock", "NTP"}},
	}
}

func otherFaults() []fault {
	return []fault{
		{"redis: away", func(s *surroundings) { s.env["REDIS_URL"] = "redis://" + closedPort(s.t) }, []string{"REDIS_URL", "see that Redis runs"}},
		{"redis: throws away", func(s *surroundings) { s.redis("--maxmemory-policy", "allkeys-lru") }, []string{"REDIS_URL", "noeviction"}},
		{"redis: persists nothing", func(s *surroundings) {
			_, c := s.redis()
			s.must(c.ConfigSet(s.t.Context(), "appendonly", "no").Err(), c.ConfigSet(s.t.Context(), "save", "").Err())
		}, []string{"REDIS_URL", "appendonly yes"}},
		{"redis: a user with too few rights", func(s *surroundings) {
			r, c := s.redis()
			s.must(c.Do(s.t.Context(), "ACL", "SETUSER", "few", "on", ">few-few-few", "~*", "+@all", "-eval", "-evalsha").Err())
			s.env["REDIS_URL"] = "redis://few:few-few-few@" + r.Addr
		}, []string{"REDIS_URL", "needs the commands"}},
		{"redis: another password", func(s *surroundings) {
			r, _ := s.redis("--requirepass", "right-right-right")
			s.env["REDIS_URL"] = "redis://:wrong-wrong@" + r.Addr
		}, []string{"REDIS_URL", "password"}},
		{"redis: TLS to a plain port", func(s *surroundings) {
			r, _ := s.redis()
			s.env["REDIS_URL"] = "rediss://" + r.Addr + "?dial_timeout=200ms"
		}, []string{"REDIS_URL", "without TLS"}},
		{"redis: no replicas", func(s *surroundings) {
			s.redis()
			s.env["REDIS_WAIT"] = "1"
		}, []string{"REDIS_WAIT", "replicas"}},
		{"the file is damaged", func(s *surroundings) {
			s.must(os.WriteFile(filepath.Join(s.env["DATA_DIR"], "bridge.db"), bytes.Repeat([]byte("no store "), 5000), 0o600))
		}, []string{"DATA_DIR", "bridge.db"}},
		{"the folder is a file", func(s *surroundings) {
			s.env["DATA_DIR"] = filepath.Join(s.env["DATA_DIR"], "file")
			s.must(os.WriteFile(s.env["DATA_DIR"], nil, 0o600))
		}, []string{"DATA_DIR", "name a folder"}},
		{"PUBLIC_URL leads nowhere", func(s *surroundings) { s.env["PUBLIC_URL"] = "http://" + closedPort(s.t) }, []string{"PUBLIC_URL", "PORT"}},
		{"PUBLIC_URL leads elsewhere", func(s *surroundings) {
			s.env["PUBLIC_URL"] = strings.TrimSuffix(s.env["BACKEND_WEBHOOK_URL"], "/callback")
		}, []string{"PUBLIC_URL", "something else"}},
		{"the app server is away", func(s *surroundings) { s.env["BACKEND_WEBHOOK_URL"] = "http://" + closedPort(s.t) + "/callback" },
			[]string{"BACKEND_WEBHOOK_URL", "start the app server"}},
		{"the app server knows no such path", func(s *surroundings) { s.app = http.StatusNotFound }, []string{"BACKEND_WEBHOOK_URL", "path"}},
		{"the app server takes another secret", func(s *surroundings) { s.app = http.StatusUnauthorized },
			[]string{"BACKEND_WEBHOOK_URL", "BACKEND_WEBHOOK_SECRET"}},
		{"the events webhook fails", func(s *surroundings) {
			s.env["EVENTS_WEBHOOK_URL"] = s.env["BACKEND_WEBHOOK_URL"]
			delete(s.env, "BACKEND_WEBHOOK_URL")
			s.app = http.StatusInternalServerError
		}, []string{"EVENTS_WEBHOOK_URL", "500"}},
		{"a misspelt setting", func(s *surroundings) {
			s.env["TELEGRAM_TOKEN"], s.env["TELEGRAM_BOT_TOKEN"] = s.env["TELEGRAM_BOT_TOKEN"], ""
		},
			[]string{"TELEGRAM_BOT_TOKEN"}},
	}
}

func (s *surroundings) must(errs ...error) {
	s.t.Helper()
	for _, err := range errs {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestCheckOnline: each of many faults is named with the way out of it, in a line of its own, beside all that is well; nothing shows a
// secret.
func TestCheckOnline(t *testing.T) {
	t.Parallel()
	for _, f := range append(platformFaults(), otherFaults()...) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newSurroundings(t)
			f.make(s)
			said, code := s.check()
			if code != 1 {
				t.Fatalf("it ends with %d:\n%s", code, said)
			}
			found := false
			for line := range strings.Lines(said) {
				all := !strings.HasPrefix(line, "ok ")
				for _, want := range f.want {
					all = all && strings.Contains(line, want)
				}
				found = found || all
			}
			if !found {
				t.Errorf("no line has %q:\n%s", f.want, said)
			}
			for name, value := range s.env {
				if (strings.Contains(name, "TOKEN") || strings.Contains(name, "SECRET")) && value != "" && strings.Contains(said, value) {
					t.Errorf("%s is shown:\n%s", name, said)
				}
			}
		})
	}
}

// TestCheckOnlineWell: where all is well, it says so, of each part.
func TestCheckOnlineWell(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		s := newSurroundings(t)
		for _, inUse := range []bool{false, true} {
			if inUse {
				st, err := bolt.Open(filepath.Join(s.env["DATA_DIR"], "bridge.db"), bolt.Options{})
				s.must(err)
				defer func() { _ = st.Close() }()
			}
			said, code := s.check()
			if advised := strings.Contains(said, "with Manage Webhooks visitors would speak under their own names"); advised == inUse {
				t.Errorf("without the permission, and then with it: advised %t:\n%s", advised, said)
			}
			s.discord.Allow("", discord.ManageWebhooks)
			if code != 0 || !strings.Contains(said, "all is well") || strings.Contains(said, "WRONG") || strings.Contains(said, "in use") != inUse {
				t.Errorf("it ends with %d:\n%s", code, said)
			}
			for _, part := range []string{"ok    store", `@bridge_sandbox_bot writes in the group "Support"`, "#visitors and hears by gateway", "by socket",
				"ok    public_url", "ok    backend_webhook_url"} {
				if !strings.Contains(said, part) {
					t.Errorf("nothing is said of %q:\n%s", part, said)
				}
			}
		}
		s.telegram.FailOnFaults(t)
		s.discord.FailOnFaults(t)
		s.slack.FailOnFaults(t)
	})
	t.Run("redis", func(t *testing.T) {
		s := newSurroundings(t)
		_, c := s.redis()
		if said, code := s.check(); code != 0 {
			t.Errorf("it ends with %d:\n%s", code, said)
		}
		keys, err := c.Keys(t.Context(), "*check*").Result()
		if err != nil || len(keys) != 0 {
			t.Errorf("it leaves %q, %v", keys, err)
		}
	})
}

// TestStartSaysWhatItFinds: the start says of each part what it found, before the first visitor does, and of what is missing how to
// mend it.
func TestStartSaysWhatItFinds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stores()["bolt"](t, r.env)
	p := r.start()
	r.until("said", func() bool { return strings.Contains(p.Output(), "hears by polling") })
	p.Exit()
	r.telegram.SetBot(r.chat, telegram.BotRights{Status: telegram.Administrator})
	p = r.start()
	r.until("said", func() bool { return strings.Contains(p.Output(), "give it the right Manage topics") })
}
