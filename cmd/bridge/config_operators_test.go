package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/presence"
)

// usualOperators is how operators work with a bridge that says nothing of it.
func usualOperators() operators {
	return operators{
		Presence:   presence.Options{Timeout: 4 * time.Hour, OnReply: true},
		Unanswered: 5 * time.Minute, AutoClose: 7 * 24 * time.Hour,
	}
}

func TestConfigOperators(t *testing.T) {
	got, err := load(map[string]string{
		"OPERATORS":            "telegram:42, Slack:U012AB3CD,81384788765712384,123456789,U0ABCDEFG,telegram:-1001234567890,telegram:anonymous,discord:81384788765712384",
		"PUBLIC_OPERATOR_NAME": " The  Support ", "PRESENCE_TIMEOUT": "90m", "PRESENCE_ON_REPLY": "False",
		"BUSINESS_HOURS": "Mon-Fri 09:00-12:00 13:00-18:00; Sat 10:00-14:00", "TIMEZONE": "Europe/Paris", "HOLIDAYS": "2026-12-25 2026-12-26",
		"UNANSWERED_AFTER": "off", "ANSWER_TIMEOUT": "1h30m", "AUTO_CLOSE": "30d", "INTERNAL_BY_DEFAULT": "true",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	hours, err := presence.ParseHours("Mon-Fri 09:00-12:00 13:00-18:00; Sat 10:00-14:00", "2026-12-25 2026-12-26", zone)
	if err != nil {
		t.Fatal(err)
	}
	want := operators{
		Accounts: []string{
			"telegram:42", "slack:U012AB3CD", "discord:81384788765712384", "telegram:123456789", "slack:U0ABCDEFG",
			"telegram:-1001234567890", "telegram:anonymous",
		},
		PublicName: "The Support",
		Presence:   presence.Options{Timeout: 90 * time.Minute, PublicName: "The Support", Hours: hours},
		Timeout:    90 * time.Minute, AutoClose: 30 * 24 * time.Hour, Internal: true,
	}
	want.Presence.Operators = want.Accounts
	if diff := cmp.Diff(want, got.Operators); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got, err := load(map[string]string{"PRESENCE_TIMEOUT": "0", "AUTO_CLOSE": "OFF"}, nil); err != nil || got.Operators.Presence.Timeout != 0 ||
		got.Operators.AutoClose != 0 {
		t.Errorf("%+v, %v", got.Operators, err)
	}
}

func TestConfigOperatorsFaults(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"OPERATORS", "ana", `OPERATORS: "ana" is no operator; write what /id says`},
		{"OPERATORS", "telegram:ana", `OPERATORS: "telegram:ana" is no operator; write`},
		{"OPERATORS", "matrix:42", `OPERATORS: "matrix:42" is no operator; write`},
		{"OPERATORS", "discord:42", `OPERATORS: "discord:42" is no operator; write`},
		{"OPERATORS", "12", `OPERATORS: "12" is no operator; write`},
		{"PUBLIC_OPERATOR_NAME", strings.Repeat("x", 61), `PUBLIC_OPERATOR_NAME: "xxx`},
		{"PRESENCE_TIMEOUT", "4", `PRESENCE_TIMEOUT: "4" is no time from 1s to 366d; write one such as 30m, 4h or 7d, or off`},
		{"PRESENCE_TIMEOUT", "-4h", `PRESENCE_TIMEOUT: "-4h" is no time`},
		{"UNANSWERED_AFTER", "soon", `UNANSWERED_AFTER: "soon" is no time`},
		{"ANSWER_TIMEOUT", "1.5d", `ANSWER_TIMEOUT: "1.5d" is no time`},
		{"AUTO_CLOSE", "999999999999999d", `AUTO_CLOSE: "999999999999999d" is no time`},
		{"AUTO_CLOSE", "400d", `AUTO_CLOSE: "400d" is no time`},
		{"PRESENCE_ON_REPLY", "perhaps", `PRESENCE_ON_REPLY: "perhaps" is neither true nor false`},
		{"INTERNAL_BY_DEFAULT", "2", `INTERNAL_BY_DEFAULT: "2" is neither true nor false`},
		{"BUSINESS_HOURS", "Mon-Fri 9-18", `BUSINESS_HOURS: "9-18" is no time from and to; write them like Mon-Fri 09:00-12:00`},
		{"TIMEZONE", "Paris", `TIMEZONE: "Paris" is no time zone that is known; write a place such as Europe/Paris, or UTC`},
		{"TIMEZONE", "Local", `TIMEZONE: "Local" is no time zone`},
		{"HOLIDAYS", "25.12.", `HOLIDAYS: "25.12." is no date; write days such as 2026-12-25 2026-12-26`},
	} {
		_, err := load(map[string]string{c.name: c.value}, nil)
		wantFaults(t, err, c.want)
	}
}
