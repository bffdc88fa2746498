package filter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"

func TestUserAgents(t *testing.T) {
	for _, c := range []struct {
		mode         Mode
		block, allow []string
		bots         bool
		agent        string
		blocked      bool
	}{
		{Blocklist, nil, nil, true, chrome, false},
		{Blocklist, nil, nil, true, "", false},
		{Blocklist, nil, nil, true, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true},
		{Blocklist, nil, nil, false, "Mozilla/5.0 (compatible; Googlebot/2.1)", false},
		{Blocklist, nil, nil, true, "curl/8.5.0", true},
		{Blocklist, []string{"BadThing"}, nil, false, "x badthing/1", true},
		{Blocklist, []string{`/^bad-\d{1,3}$/`}, nil, false, "BAD-12", true},
		{Blocklist, []string{`/^bad-\d{1,3}$/`}, nil, false, "bad-1234", false},
		{Blocklist, []string{"bad"}, []string{"bad"}, false, "bad", true},
		{Allowlist, nil, []string{"Firefox"}, true, chrome, true},
		{Allowlist, nil, []string{"/chrome/"}, true, chrome, false},
		{Allowlist, nil, []string{"chrome"}, true, "", false},
		{Allowlist, []string{"chrome"}, []string{"chrome"}, true, chrome, false},
		{Both, nil, []string{"my-monitor"}, true, "my-monitor curl/8", false},
		{Both, nil, []string{"my-monitor"}, true, "curl/8", true},
		{Both, nil, []string{"my-monitor"}, true, chrome, false},
		{Blocklist, []string{"end"}, nil, false, strings.Repeat("x", 4000) + "end", false}, // is not looked at
	} {
		u, err := NewUserAgents(c.mode, c.block, c.allow, c.bots)
		if err != nil {
			t.Fatal(err)
		}
		if rule, got := u.Blocks(c.agent); got != c.blocked {
			t.Errorf("%+v: %v, by %q", c, got, rule)
		}
	}
}

// A pattern that is made to take long takes no longer than any other.
func TestPatternsAreBounded(t *testing.T) {
	u, err := NewUserAgents(Blocklist, []string{"/^(a+)+$/", `/(x*)*y/`, "/(.*a){20}b/"}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 100 {
		u.Blocks(strings.Repeat("a", 100_000) + "!")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("100 User-Agents took %s", took)
	}
	for _, bad := range [][]string{
		{"/(/"}, {"/a{2000}/"}, {"/(?=x)/"}, {strings.Repeat("x", MaxPattern+1)}, strings.Split(strings.Repeat("x,", MaxPatterns), ","),
	} {
		if _, err := NewUserAgents(Blocklist, bad, nil, false); err == nil {
			t.Errorf("%.40q is taken", bad)
		}
	}
}

func TestAddresses(t *testing.T) {
	ranges := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	block, allow := ranges("203.0.113.0/24", "2001:db8::/32"), ranges("203.0.113.7/32", "198.51.100.0/24")
	for _, c := range []struct {
		mode    Mode
		ip      string
		blocked bool
	}{
		{Blocklist, "203.0.113.9", true},
		{Blocklist, "203.0.113.7", true},
		{Blocklist, "::ffff:203.0.113.9", true},
		{Blocklist, "203.0.113.9:4711", true},
		{Blocklist, "203.0.113.9, 10.0.0.1", true},
		{Blocklist, "2001:db8:1::1", true},
		{Blocklist, "[2001:db8:1::1]:80", true},
		{Blocklist, "2001:db8::1%eth0", true},
		{Blocklist, "192.0.2.1", false},
		{Blocklist, "", false},
		{Blocklist, "unknown", false},
		{Allowlist, "198.51.100.3", false},
		{Allowlist, "192.0.2.1", true},
		{Allowlist, "", false},
		{Both, "203.0.113.7", false},
		{Both, "203.0.113.8", true},
		{Both, "192.0.2.1", false},
	} {
		if _, got := NewAddresses(c.mode, block, allow).Blocks(c.ip); got != c.blocked {
			t.Errorf("%s, %q: %v", c.mode, c.ip, got)
		}
	}
}

func TestBots(t *testing.T) {
	bots, err := NewBots([]byte("# data centres\n\n192.0.2.0/24 # one\r\n2001:db8::/32\n198.51.100.7\n"))
	if err != nil {
		t.Fatal(err)
	}
	for metadata, want := range map[string]bool{
		`{"userAgent":"` + chrome + `"}`: false,
		`{"userAgent":"` + strings.ReplaceAll(chrome, "Chrome", "HeadlessChrome") + `"}`: true,
		`{"ip":"192.0.2.9"}`: true, `{"ip":"198.51.100.7"}`: true, `{"ip":"198.51.100.8"}`: false, `{"ip":"2001:db8::9"}`: true,
		`{"botSignals":{"webdriver":true}}`: true, `{"botSignals":{"webdriver":false}}`: false, `{"botSignals":{"webdriver":"true"}}`: false,
		`{"botSignals":[]}`: false, `{"botSignals":7,"ip":5}`: false, `{}`: false, `[]`: false,
	} {
		if got := bots.Suspects(bridge.Event{Body: []byte(`{"type":"new_session","session":{"id":"s","metadata":` + metadata + `}}`)}); got != want {
			t.Errorf("%s: %v", metadata, got)
		}
	}
	if (*Bots)(nil).Suspects(bridge.Event{Body: []byte(`{"session":{"metadata":{"botSignals":{"webdriver":true}}}}`)}) {
		t.Error("who is not looked for is suspected")
	}
	for _, bad := range []string{"10.0.0.0/33", "example.com", "::ffff:10.0.0.0/104", "fe80::1%eth0"} {
		if _, err := NewBots([]byte("192.0.2.0/24\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// taker counts what gets through.
type taker struct{ taken int }

func (t *taker) Ingest(context.Context, bridge.Inbound) (bridge.Accepted, error) {
	t.taken++
	return bridge.Accepted{}, nil
}

func TestFilter(t *testing.T) {
	agents, err := NewUserAgents(Blocklist, []string{"bad"}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	var said strings.Builder
	stored := map[string]*bridge.Session{"s": {ID: "s", Metadata: &bridge.Metadata{UserAgent: "bad"}}, "good": {ID: "good", Metadata: &bridge.Metadata{UserAgent: "good"}}}
	fault := errors.New("away")
	f := New(Options{
		UserAgents: agents, Addresses: NewAddresses(Blocklist, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, nil),
		Sessions: func(_ context.Context, id string) (*bridge.Session, bool, error) {
			if id == "fault" {
				return nil, false, fault
			}
			return stored[id], stored[id] != nil, nil
		},
		Count: func(by string) { counts[by]++ }, Log: slog.New(slog.NewTextHandler(&said, nil)),
	})
	with := func(t bridge.Type, agent, ip string) *bridge.AppEvent {
		return &bridge.AppEvent{Type: t, Session: &bridge.Session{ID: "x", Metadata: &bridge.Metadata{UserAgent: agent, IP: ip}}}
	}
	next := &taker{}
	around := f.Around(next)
	for i, c := range []struct {
		event *bridge.AppEvent
		want  error
	}{
		{with(bridge.TypeNewSession, "good", "192.0.2.1"), nil},
		{with(bridge.TypeNewSession, "a bad one", "192.0.2.1"), bridge.ErrFiltered},
		{with(bridge.TypeVisitorMessage, "good", "203.0.113.9"), bridge.ErrFiltered},
		{with(bridge.TypeVisitorMessage, "", ""), nil},
		{&bridge.AppEvent{Type: bridge.TypeVisitorMessage, Session: &bridge.Session{ID: "s"}}, nil}, // it carries a session, which says nothing
		{with(bridge.TypeOperatorMessage, "bad", "203.0.113.9"), nil},
		{&bridge.AppEvent{Type: bridge.TypeOperatorStatus}, nil},
		{&bridge.AppEvent{Type: bridge.TypeVisitorEdited, SessionID: "s"}, bridge.ErrFiltered},
		{&bridge.AppEvent{Type: bridge.TypeVisitorTyping, SessionID: "s"}, bridge.ErrFiltered},
		{&bridge.AppEvent{Type: bridge.TypeVisitorEdited, SessionID: "good"}, nil},
		{&bridge.AppEvent{Type: bridge.TypeVisitorEdited, SessionID: "unknown"}, nil},
		{&bridge.AppEvent{Type: bridge.TypeVisitorEdited, SessionID: "fault"}, fault},
	} {
		before := next.taken
		_, err := around.Ingest(t.Context(), bridge.Inbound{Event: c.event})
		if !errors.Is(err, c.want) || (next.taken == before+1) != (c.want == nil) {
			t.Errorf("%d: %v, %d taken", i, err, next.taken-before)
		}
	}
	if err := f.Address("203.0.113.1"); !errors.Is(err, bridge.ErrFiltered) || f.Address("192.0.2.1") != nil || f.Address("") != nil {
		t.Errorf("an address: %v", err)
	}
	if f.Blocked() != 5 || counts[byAgent] != 3 || counts[byAddress] != 2 {
		t.Errorf("%d, %v", f.Blocked(), counts)
	}
	if text := said.String(); strings.Count(text, "kept out") != 5 || strings.Contains(text, "203.0.113") || strings.Contains(text, "a bad one") {
		t.Error(text)
	}
	if off := New(Options{}); off.On() || off.Around(next) != bridge.Ingester(next) || off.Address("203.0.113.1") != nil {
		t.Error("without lists something is looked at")
	}
}

// The documentation has the default bots, all and no other.
func TestDocsListDefaultBots(t *testing.T) {
	data, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "\n### The default bots\n")
	text, _, _ = strings.Cut(text, "\n#")
	listed := map[string]bool{}
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			listed[part] = true
		}
	}
	for _, bot := range DefaultBots() {
		if !listed[bot] {
			t.Errorf("%s is not listed", bot)
		}
		delete(listed, bot)
		if bot != strings.ToLower(bot) {
			t.Errorf("%s is not in lower case", bot)
		}
	}
	if len(listed) > 0 {
		t.Error(fmt.Sprint("listed, and no default bots: ", listed))
	}
}

func FuzzBotsAndLists(f *testing.F) {
	f.Add("192.0.2.0/24\n#", "/a(b/", "1.2.3.4:5", `{"session":{"metadata":{"ip":"1.2.3.4"}}}`)
	f.Fuzz(func(t *testing.T, list, pattern, ip, body string) {
		if bots, err := NewBots([]byte(list)); err == nil {
			bots.Suspects(bridge.Event{Body: []byte(body)})
		}
		if agents, err := NewUserAgents(Both, []string{pattern}, []string{pattern}, false); err == nil {
			if _, blocked := agents.Blocks(ip); blocked && ip == "" {
				t.Error("who says nothing is kept out")
			}
		}
		NewAddresses(Both, nil, nil).Blocks(ip)
	})
}
