package main

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the zones of TIMEZONE, whatever the machine has
	"unicode"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/presence"
)

// operators is how operators work with the bridge.
type operators struct {
	Accounts   []string // who may answer and command, as bridge.Account.Key names them; none: everybody in the chats
	PublicName string   // replaces every operator's name where visitors see it; empty: nothing does
	Presence   presence.Options
	Unanswered time.Duration // until operators are called to who waits; 0: they are not
	Timeout    time.Duration // until who should have answered is away; 0: they are not
	AutoClose  time.Duration // of silence; 0: threads are not closed by themselves
	Internal   bool          // what is written in a thread is talk among operators
}

func (e *environment) operators(c *Config) {
	o := &c.Operators
	for _, item := range e.list("OPERATORS") {
		account, ok := accountOf(item)
		if !ok {
			e.fault("OPERATORS", "%s is no operator; write what /id says in the chat, such as telegram:123456789, "+
				"discord:81384788765712384 or slack:U012AB3CD", quote(item))
			continue
		}
		if !slices.Contains(o.Accounts, account) {
			o.Accounts = append(o.Accounts, account)
		}
	}
	o.PublicName = strings.Join(strings.Fields(e.text("PUBLIC_OPERATOR_NAME")), " ")
	if len([]rune(o.PublicName)) > 60 || strings.ContainsFunc(o.PublicName, func(r rune) bool { return !unicode.IsPrint(r) }) {
		e.fault("PUBLIC_OPERATOR_NAME", "%s is no name that visitors can be shown; write up to 60 characters, such as Support",
			quote(o.PublicName))
	}
	o.Presence = presence.Options{
		Timeout: e.duration("PRESENCE_TIMEOUT", 4*time.Hour), OnReply: e.boolean("PRESENCE_ON_REPLY", true),
		PublicName: o.PublicName, Operators: o.Accounts, Hours: e.hours(),
	}
	o.Unanswered = e.duration("UNANSWERED_AFTER", 5*time.Minute)
	o.Timeout = e.duration("ANSWER_TIMEOUT", 0)
	o.AutoClose = e.duration("AUTO_CLOSE", 7*24*time.Hour)
	o.Internal = e.boolean("INTERNAL_BY_DEFAULT", false)
}

// accountOf reads <platform>:<user id>, or a user id whose form is one platform's alone: Discord's have 17 to 20 digits,
// Telegram's fewer, Slack's begin with U or W.
func accountOf(text string) (string, bool) {
	platform, id, ok := strings.Cut(text, ":")
	if !ok {
		platform, id = "", text
	}
	for _, form := range []struct{ platform, named, bare string }{
		{"telegram", `-?[0-9]{1,15}|anonymous`, `[0-9]{4,15}`},
		{"discord", `[0-9]{17,20}`, `[0-9]{17,20}`},
		{"slack", `[A-Z][A-Z0-9]{2,}`, `[UW][A-Z0-9]{6,}`},
	} {
		pattern := form.bare
		if ok {
			pattern = form.named
		}
		if (!ok || strings.EqualFold(platform, form.platform)) && regexp.MustCompile(`^(`+pattern+`)$`).MatchString(id) {
			return bridge.Account{Platform: form.platform, ID: id}.Key(), true
		}
	}
	return "", false
}

// hours reads the business hours.
func (e *environment) hours() presence.Hours {
	const how = "write a place such as Europe/Paris, or UTC"
	zone := time.UTC
	if name := e.text("TIMEZONE"); name != "" {
		loaded, err := time.LoadLocation(name)
		switch {
		case strings.EqualFold(name, "local"), err != nil:
			e.fault("TIMEZONE", "%s is no time zone that is known; %s", quote(name), how)
		default:
			zone = loaded
		}
	}
	h, err := presence.ParseHours(e.text("BUSINESS_HOURS"), e.text("HOLIDAYS"), zone)
	if fault, ok := errors.AsType[*presence.HoursError](err); ok {
		if fault.Holiday {
			e.fault("HOLIDAYS", "%s %s; write days such as 2026-12-25 2026-12-26", quote(fault.Text), fault.Problem)
		} else {
			e.fault("BUSINESS_HOURS", "%s %s; write them like Mon-Fri 09:00-12:00 13:00-18:00; Sat 10:00-14:00",
				quote(fault.Text), fault.Problem)
		}
	}
	return h
}

// maxDuration is the longest time that a setting may be.
const maxDuration = 366 * 24 * time.Hour

// duration returns a time such as 30s, 5m, 4h or 7d; 0 for off.
func (e *environment) duration(name string, unset time.Duration) time.Duration {
	text := strings.ToLower(e.text(name))
	switch text {
	case "":
		return unset
	case "0", "off":
		return 0
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, bad := strconv.Atoi(days)
		d, err = time.Duration(min(n, 100_000))*24*time.Hour, bad
	}
	if err != nil || d < time.Second || d > maxDuration {
		e.fault(name, "%s is no time from 1s to 366d; write one such as 30m, 4h or 7d, or off", quote(text))
		return unset
	}
	return d
}
