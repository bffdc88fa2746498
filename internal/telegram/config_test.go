package telegram

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

const testToken = bridge.Secret("123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQrr")

func TestParseToken(t *testing.T) {
	for in, want := range map[string]string{
		testToken.Reveal() + "\n": testToken.Reveal(),
		"  stand-in%?#  ":         "stand-in%?#",
	} {
		if got, err := ParseToken(in); err != nil || got.Reveal() != want {
			t.Errorf("%q: %q %v", in, got.Reveal(), err)
		}
	}
	for in, want := range map[string]string{
		"":                              "empty",
		" \n":                           "empty",
		"secret-a secret-b":             "white space",
		"secret\x01x":                   "control character",
		"https://api.test/botsecret:ab": "slash",
	} {
		_, err := ParseToken(in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", in, err)
		}
	}
	if !LooksReal(testToken) || LooksReal("stand-in") || LooksReal("12:short") {
		t.Error("LooksReal")
	}
}

func TestParseChatID(t *testing.T) {
	if id, err := ParseChatID(" -1001234567890\n"); err != nil || id != -1001234567890 {
		t.Errorf("%d %v", id, err)
	}
	for in, want := range map[string]string{
		"":                                   "empty",
		"-1001,-1002":                        "several",
		"-1001 -1002":                        "several",
		"@mygroup":                           "is a name",
		"https://t.me/mygroup":               "is a name",
		"abc":                                "not a number",
		"-100123456789012345678901234567890": "too large",
		"0":                                  "is 0",
	} {
		if _, err := ParseChatID(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Token: testToken, ChatID: -100, APIURL: "http://127.0.0.1:1"}
	for name, change := range map[string]func(*Config){
		"no token":           func(c *Config) { c.Token = "" },
		"token with newline": func(c *Config) { c.Token = "123:sec\nret" },
		"no chat":            func(c *Config) { c.ChatID = 0 },
		"negative rate":      func(c *Config) { c.Rate = -1 },
		"no scheme":          func(c *Config) { c.APIURL = "api.telegram.org" },
		"wrong scheme":       func(c *Config) { c.APIURL = "ftp://api.telegram.org" },
		"query":              func(c *Config) { c.APIURL = "https://api.test?x=" + testToken.Reveal() },
		"user":               func(c *Config) { c.APIURL = "https://" + testToken.Reveal() + "@api.test" },
		"not a URL":          func(c *Config) { c.APIURL = "http://\x7f" + testToken.Reveal() },
	} {
		c := good
		change(&c)
		_, err := New(c, slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "AAbb") || strings.Contains(err.Error(), "sec\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		rate, global int
		want         []bridge.Pace
	}{
		{20, 30, []bridge.Pace{{Calls: 20, Per: time.Minute}, {Calls: 30, Per: time.Second}}},
		{0, 30, []bridge.Pace{{Calls: 30, Per: time.Second}}},
		{0, 0, nil},
	} {
		tg, err := New(Config{Token: testToken, ChatID: -100, Rate: c.rate, GlobalRate: c.global}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bridge.Limits{Concurrency: 8, Pace: c.want, Merge: 3500, FilesCount: true, ShowsClosing: true, Rings: true, MaxFile: 50_000_000}, tg.Limits()); diff != "" {
			t.Error(diff)
		}
	}
}
