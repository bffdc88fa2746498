package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/deploy"
	"github.com/pocketping/bridge/internal/bridge"
)

// How long a platform is asked, and somebody's message is waited for.
const (
	setupInspect = 30 * time.Second
	setupFind    = time.Minute
	setupGlance  = 3 * time.Second // where nobody can be asked to write something
)

// setup is bridge init at work.
type setup struct {
	ctx      context.Context //nolint:containedctx // of the one command
	terminal *terminal       // nil: nobody can be asked
	out      io.Writer
	values   map[string]string // by the settings' names
	wrong    []string          // what is missing or wrong and cannot be asked for
	err      error             // ends it all
}

func (s *setup) say(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

// question asks, and returns nothing where that is not possible.
func (s *setup) question(text string, secret bool) string {
	if s.terminal == nil || s.err != nil {
		return ""
	}
	answer, err := s.terminal.ask(s.ctx, text, secret)
	if err != nil {
		s.err = err
	}
	return answer
}

// need asks for a setting, until there is one; read makes a value of what is answered.
func (s *setup) need(name, text string, secret bool, read func(string) string) {
	for s.values[name] == "" && s.err == nil {
		if s.terminal == nil {
			s.wrong = append(s.wrong, name+": is not given; give it by -set "+name+"=… or in the environment")
			return
		}
		s.values[name] = read(s.question("\n"+text+"\n"+name+":", secret))
	}
}

func asItIs(text string) string { return text }

// config is what the settings come to.
func (s *setup) config() (Config, error) {
	return loadConfig(func(name string) string { return s.values[name] }, func(string) ([]byte, error) { return nil, fs.ErrNotExist })
}

// open opens a platform, by its own settings alone and with others in place of those that are not known yet.
func (s *setup) open(platform string, instead map[string]string) (bridge.Platform, error) {
	getenv := func(name string) string {
		if !strings.HasPrefix(name, strings.ToUpper(platform)+"_") {
			return ""
		}
		if value := s.values[name]; value != "" {
			return value
		}
		return instead[name]
	}
	c, err := loadConfig(getenv, func(string) ([]byte, error) { return nil, fs.ErrNotExist })
	if err != nil {
		return nil, err
	}
	platforms, err := openPlatforms(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if len(platforms) != 1 {
		return nil, fmt.Errorf("%d platforms are configured", len(platforms))
	}
	return platforms[0], nil
}

// inspect asks a platform, opened with these settings.
func (s *setup) inspect(platform string, instead map[string]string) bridge.Inspection {
	p, err := s.open(platform, instead)
	if err != nil {
		return bridge.Inspection{Lacks: linesOf(err)}
	}
	asked, ok := p.(bridge.Inspector)
	if !ok {
		return bridge.Inspection{}
	}
	ctx, cancel := context.WithTimeout(s.ctx, setupInspect)
	defer cancel()
	return asked.Inspect(ctx, false)
}

// known asks for a bot's token, or another that is enough to know it by, until the platform knows it. What is lacking beside that comes later.
func (s *setup) known(platform, name string, instead map[string]string) (in bridge.Inspection) {
	for s.err == nil && s.values[name] != "" {
		in = s.inspect(platform, instead)
		bad := slices.DeleteFunc(slices.Clone(in.Lacks), func(lack string) bool {
			return !strings.HasPrefix(lack, name+":") && !strings.HasPrefix(lack, strings.ToUpper(platform)+"_API_URL:") || in.Bot != ""
		})
		if len(bad) == 0 {
			return in
		}
		if s.terminal == nil {
			s.wrong = append(s.wrong, bad...)
			return in
		}
		s.say("  ✗ %s", strings.Join(bad, "\n  ✗ "))
		s.values[name] = ""
		s.need(name, "Once more:", true, asItIs)
	}
	return in
}

// settle looks at a platform until all is well with it, or the person goes on as it is.
func (s *setup) settle(platform string, read map[string]func(string) string) {
	for s.err == nil {
		in := s.inspect(platform, nil)
		if len(in.Lacks) == 0 {
			s.say("  ✓ the bot %s writes in %s", in.Bot, in.Place)
			return
		}
		if s.terminal == nil {
			s.wrong = append(s.wrong, in.Lacks...)
			return
		}
		s.say("  ✗ %s", strings.Join(in.Lacks, "\n  ✗ "))
		name, _, _ := strings.Cut(in.Lacks[0], ":")
		other := ""
		if read[name] != nil {
			other = ", or give another " + name
		}
		switch answer := s.question("Enter looks again, skip goes on as it is"+other+":", false); {
		case answer == "":
		case answer == "skip":
			return
		case read[name] != nil:
			s.values[name] = read[name](answer)
		}
	}
}

// platforms asks which there are to be, and sets up each.
func (s *setup) platforms() {
	names := []string{"telegram", "discord", "slack"}
	var chosen []string
	for _, name := range names {
		if s.values[strings.ToUpper(name)+"_BOT_TOKEN"] != "" {
			chosen = append(chosen, name)
		}
	}
	for len(chosen) == 0 && s.err == nil {
		if s.terminal == nil {
			s.wrong = append(s.wrong, "no chat platform is given: TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, DISCORD_BOT_TOKEN and DISCORD_CHANNEL_ID, or "+
				"SLACK_BOT_TOKEN, SLACK_APP_TOKEN and SLACK_CHANNEL_ID, each by -set NAME=value or in the environment")
			return
		}
		for word := range strings.FieldsFuncSeq(s.question("Where does your team answer? 1 Telegram, 2 Discord, 3 Slack\nOne or more, with commas:", false), func(r rune) bool {
			return r == ',' || r == ' '
		}) {
			if n, err := strconv.Atoi(word); err == nil && n >= 1 && n <= len(names) {
				chosen = append(chosen, names[n-1])
			} else if word = strings.ToLower(word); slices.Contains(names, word) {
				chosen = append(chosen, word)
			}
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(chosen))) {
		switch name {
		case "telegram":
			s.telegram()
		case "discord":
			s.discord()
		case "slack":
			s.slack()
		}
	}
}

func (s *setup) telegram() {
	const token, chat = "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID" //nolint:gosec // names
	s.need(token, "Telegram. Write /newbot to https://t.me/BotFather, and paste the token that it answers with; it is not shown here.", true, asItIs)
	in := s.known("telegram", token, map[string]string{chat: "1"})
	if s.values[chat] == "" && in.Bot != "" {
		s.findChat(in)
	}
	s.need(chat, "The group's number, such as -1001234567890:", false, asItIs)
	if in.Bot != "" && s.values[chat] != "" {
		s.settle("telegram", map[string]func(string) string{chat: asItIs})
	}
}

// findChat has somebody write in the group, and reads its number there.
func (s *setup) findChat(in bridge.Inspection) {
	wait := setupGlance
	if s.terminal != nil {
		s.say("\nThe bot is %s. Now\n  1. make a group for your team, and turn Topics on in its settings;\n  2. open %s and choose the group;\n"+
			"  3. write /id%s in the group.", in.Bot, in.Invite, in.Bot)
		s.question("Enter when that is done:", false)
		wait = setupFind
	}
	p, err := s.open("telegram", map[string]string{"TELEGRAM_CHAT_ID": "1"})
	finder, ok := p.(bridge.Finder)
	if err != nil || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, wait)
	defer cancel()
	chats, err := finder.Chats(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		s.say("  ✗ what was written cannot be read: %v", err)
	case len(chats) == 0:
		s.say("  ✗ nobody has written to the bot in a group")
	case len(chats) == 1 || s.terminal != nil:
		chosen := chats[len(chats)-1] // the newest
		s.say("  ✓ it is the group %q, %s", chosen.Title, chosen.ID)
		s.values["TELEGRAM_CHAT_ID"] = chosen.ID
	}
}

// A number or an id at the end of a link.
var (
	discordLink = regexp.MustCompile(`^https?://.*/([0-9]+)/?$`)
	slackLink   = regexp.MustCompile(`^https?://.*/([CG][A-Z0-9]{5,})/?$`)
)

// ofLink takes what a link ends with.
func ofLink(link *regexp.Regexp) func(string) string {
	return func(text string) string {
		if m := link.FindStringSubmatch(text); m != nil {
			return m[1]
		}
		return text
	}
}

func (s *setup) discord() {
	const token, channel = "DISCORD_BOT_TOKEN", "DISCORD_CHANNEL_ID" //nolint:gosec // names
	s.need(token, "Discord. At https://discord.com/developers/applications make an application; under Bot turn Message Content Intent on, choose Reset Token, and "+
		"paste the token; it is not shown here.", true, asItIs)
	in := s.known("discord", token, map[string]string{channel: "1"})
	if in.Invite != "" && s.values[channel] == "" {
		s.say("\nOpen %s and choose your server.", in.Invite)
	}
	s.need(channel, "The channel for visitors, text or forum: right-click it, Copy Link, and paste that.", false, ofLink(discordLink))
	s.values[channel] = ofLink(discordLink)(s.values[channel])
	if in.Bot != "" && s.values[channel] != "" {
		s.settle("discord", map[string]func(string) string{channel: ofLink(discordLink)})
	}
}

func (s *setup) slack() {
	const bot, app, channel = "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_CHANNEL_ID"
	if s.values[bot] == "" {
		s.need(bot, "Slack. Open\n\n"+manifestLink()+"\n\nchoose your workspace, Create and Install to Workspace. OAuth & Permissions shows the Bot User OAuth Token, xoxb-…; it is not shown here.",
			true, asItIs)
	}
	in := s.known("slack", bot, map[string]string{channel: "C00000000", app: "xapp-1-A00000000-0-0"})
	if s.values["SLACK_SIGNING_SECRET"] == "" {
		s.need(app, "Under Basic Information, App-Level Tokens, make one with the scope connections:write, xapp-…; it is not shown here.", true, asItIs)
	}
	s.need(channel, "The channel for visitors: right-click it, Copy Link, and paste that. In a private one, write /invite "+in.Bot+" first.", false, ofLink(slackLink))
	s.values[channel] = ofLink(slackLink)(s.values[channel])
	if in.Bot != "" && s.values[channel] != "" {
		s.settle("slack", map[string]func(string) string{channel: ofLink(slackLink), app: asItIs})
	}
}

// manifestLink is where Slack makes an app of the manifest, without the manifest's comments.
func manifestLink() string {
	var lines []string
	for line := range strings.Lines(deploy.SlackManifest) {
		line, _, _ = strings.Cut(line, " #")
		if line = strings.TrimRight(line, " \n"); strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return "https://api.slack.com/apps?new_app=1&manifest_yaml=" + url.QueryEscape(strings.Join(lines, "\n"))
}

// site asks whether pages speak to the bridge themselves.
func (s *setup) site() {
	const name = "WIDGET_ORIGINS"
	if s.values[name] != "" || s.terminal == nil {
		return
	}
	for s.err == nil {
		s.values[name] = s.question("\nDo the pages of your site speak to the bridge themselves, without an app server? Then give the site's address, such as "+
			"https://www.example.com; else Enter.\n"+name+":", false)
		_, err := s.config()
		if err == nil || s.err != nil {
			return
		}
		mine := slices.DeleteFunc(linesOf(err), func(line string) bool { return !strings.HasPrefix(line, name+":") })
		if len(mine) == 0 {
			return
		}
		s.say("  ✗ %s", strings.Join(mine, "\n  ✗ "))
	}
}
