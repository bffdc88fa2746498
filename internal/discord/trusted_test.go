package discord

import (
	"net/url"
	"testing"
)

// The token goes to the gateway that the API names: only to Discord's own, over TLS, or to the host whose API was called.
func TestTrustedGateway(t *testing.T) {
	for _, c := range []struct {
		address, api string
		want         bool
	}{
		{"wss://gateway.discord.gg", "discord.com", true},
		{"wss://gateway-us-east1-b.discord.gg/?v=10", "discord.com", true},
		{"wss://GATEWAY.discord.gg", "discord.com", true},
		{"ws://gateway.discord.gg", "discord.com", false},
		{"wss://discord.gg.evil.example", "discord.com", false},
		{"wss://evildiscord.gg", "discord.com", false},
		{"wss://evil.example/.discord.gg", "discord.com", false},
		{"wss://gateway.discord.gg@evil.example", "discord.com", false},
		{"ws://127.0.0.1:4000", "discord.com", false},
		{"ws://discord.com", "discord.com", false},
		{"ws://127.0.0.1:4000", "127.0.0.1", true},
		{"wss://gateway.discord.gg", "127.0.0.1", true},
		{"ws://10.0.0.1", "127.0.0.1", false},
	} {
		u, err := url.Parse(c.address)
		if err != nil {
			t.Fatal(err)
		}
		if got := trustedGateway(u, c.api); got != c.want {
			t.Errorf("%s of %s: %v", c.address, c.api, got)
		}
	}
}
