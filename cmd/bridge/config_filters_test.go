package main

import (
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

func TestConfigFilters(t *testing.T) {
	c, err := load(map[string]string{
		"API_KEY": someKey, "UA_FILTER_ENABLED": "1", "UA_FILTER_BLOCKLIST": `evil, /^x{1,3}$/ ,/a/b/,/open`, "UA_FILTER_USE_DEFAULT_BOTS": "no", "UA_FILTER_LOG_BLOCKED": "off",
		"IP_FILTER_ENABLED": "true", "IP_FILTER_MODE": "Both", "IP_FILTER_BLOCKLIST": "203.0.113.0/24,2001:db8::1", "IP_FILTER_ALLOWLIST": "203.0.113.7",
		"BOT_RANGES_FILE": "/ranges",
	}, map[string]string{"/ranges": "192.0.2.0/24\n"})
	if err != nil {
		t.Fatal(err)
	}
	for agent, want := range map[string]bool{"Evil/1": true, "xx": true, "xxxx": false, "a/b": true, "/open": true, "Googlebot": false} {
		if _, got := c.Filter.UserAgents.Blocks(agent); got != want {
			t.Errorf("%s: %v", agent, got)
		}
	}
	for ip, want := range map[string]bool{"203.0.113.8": true, "203.0.113.7": false, "2001:db8::1": true, "2001:db8::2": false} {
		if _, got := c.Filter.Addresses.Blocks(ip); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
	if c.Filter.LogBlocked || !c.Filter.Bots.Suspects(bridge.Event{Body: []byte(`{"session":{"metadata":{"ip":"192.0.2.1"}}}`)}) {
		t.Errorf("%+v", c.Filter)
	}
	c, err = load(map[string]string{"API_KEY": someKey, "BOT_HEURISTICS_ENABLED": "false", "UA_FILTER_BLOCKLIST": "x", "IP_FILTER_ALLOWLIST": "10.0.0.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Filter; f.UserAgents != nil || f.Addresses != nil || f.Bots != nil {
		t.Errorf("nothing is on, but %+v", f)
	}
	for _, name := range []string{"UA_FILTER", "IP_FILTER"} {
		if text := strings.Join(c.Warnings, "\n"); !strings.Contains(text, name+"_ENABLED is not true") {
			t.Errorf("%s: not warned in %s", name, text)
		}
	}
}

func TestConfigFilterFaults(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"UA_FILTER_ENABLED": "maybe"}, "UA_FILTER_ENABLED: "},
		{map[string]string{"UA_FILTER_MODE": "none"}, "UA_FILTER_MODE: "},
		{map[string]string{"UA_FILTER_BLOCKLIST": "/(/"}, "UA_FILTER_BLOCKLIST: has a regular expression"},
		{map[string]string{"UA_FILTER_ALLOWLIST": strings.Repeat("x", 600)}, "UA_FILTER_ALLOWLIST: has a pattern of more than 512 bytes"},
		{map[string]string{"UA_FILTER_ENABLED": "on", "UA_FILTER_MODE": "allowlist"}, "UA_FILTER_ALLOWLIST: is empty"},
		{map[string]string{"IP_FILTER_ENABLED": "on", "IP_FILTER_MODE": "allowlist"}, "IP_FILTER_ALLOWLIST: is empty"},
		{map[string]string{"IP_FILTER_BLOCKLIST": "example.com"}, "IP_FILTER_BLOCKLIST: "},
		{map[string]string{"BOT_RANGES_FILE": "/none"}, `BOT_RANGES_FILE: "/none" cannot be read`},
		{map[string]string{"BOT_RANGES_FILE": "/bad"}, `BOT_RANGES_FILE: "/bad": line 2 `},
	} {
		_, err := load(tt.env, map[string]string{"/bad": "10.0.0.0/8\nx\n"})
		wantFaults(t, err, tt.want)
	}
}
