package slack

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// FuzzConvert reads what Slack tells, and the name of somebody in it: nothing of another channel, of nobody or of the bridge itself becomes
// an operator's words, and no name can make reading go on for ever.
func FuzzConvert(f *testing.F) {
	const in = `{"type":"message","channel":"C1","user":"U1","ts":"5.1","event_ts":"5.1","thread_ts":"1.5"`
	for _, fields := range []string{
		`,"text":"Tom &amp; &lt;b&gt; :tada: <@U1> <https://x.y|here> *b* _i_ ~s~ ` + "`c`" + `"`, `,"text":"<@UBOT> online 2h"`,
		`,"blocks":[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x"},{"type":"user","user_id":"U1"}]}]},` + aTable + `]`,
		`,"files":[{"id":"F1","name":"../a","size":3},{"id":"F2","mode":"external","url_private":"x"},{"mode":"tombstone"}],"subtype":"file_share"`,
		`,"attachments":[{"is_share":true,"text":"x"},{"is_msg_unfurl":true,"text":"secret"}],"text":"y"`, `,"bot_id":"B9","text":"x"`,
		`,"blocks":[{"type":"section","text":{"type":"mrkdwn","text":"x"}}]`, `,"edited":{"ts":"6.1"},"text":"x"`, `,"text":"🔔\u0000\ufffd"`,
	} {
		f.Add([]byte(in+fields+"}"), "Ana")
		f.Add([]byte(`{"type":"message","subtype":"message_changed","channel":"C1","ts":"9.9","message":`+in+fields+`},"previous_message":`+in+`}}`), "Ana")
	}
	f.Add([]byte(`{"type":"reaction_added","user":"U1","reaction":"+1","item":{"type":"message","channel":"C1","ts":"7.7"},"event_ts":"8.1"}`), "")
	f.Add([]byte(`{"type":"message","subtype":"message_deleted","channel":"C1","deleted_ts":"5.1","ts":"9.9","previous_message":`+in+`}}`), "x")
	f.Add([]byte(in+`,"text":"<@U1>"}`), "*_~`<>&:tada:@")
	f.Add([]byte(in+`,"text":"<@U1> `+"`x`"+`"}`), "\U000f0000\U000f0001")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		if !utf8.ValidString(name) {
			return // names come in JSON
		}
		var e message
		if decode(raw, &e) != nil {
			return
		}
		v := testView()
		v.names["U1"] = name
		for _, u := range []bridge.Update{convert(&e, v).Update, editOf(&e, nil, v).Update, removalOf(&e, nil, v, e.TS).Update} {
			checkUpdate(t, u, v, len(raw)+len(raw)*len(name))
		}
		if n := len(named(&e)); n > maxNamed {
			t.Fatalf("%d are named", n)
		}
	})
}

func checkUpdate(t *testing.T, u bridge.Update, v view, most int) {
	t.Helper()
	if u.ID == "" {
		if u.Kind != "" || u.Text != "" || u.Command != nil || u.Thread != "" {
			t.Fatalf("nothing, and yet %+v", u)
		}
		return
	}
	if u.Message == "" || u.Author.ID == v.me.user || u.Author.ID == v.me.bot {
		t.Fatalf("no message's, or our own: %+v", u)
	}
	if u.Kind != bridge.UpdateDelete && (u.Author.ID == "" || u.Author.Name == "" && v.names[u.Author.ID] != "") {
		t.Fatalf("nobody's: %+v", u)
	}
	if u.Kind == bridge.UpdateMessage || u.Kind == bridge.UpdateEdit {
		if channel, _, _ := strings.Cut(string(u.Thread), "/"); channel != v.channel {
			t.Fatalf("of another channel: %+v", u)
		}
	}
	if u.Kind == bridge.UpdateMessage && u.Text == "" && len(u.Files) == 0 && u.Command == nil && !u.ToBot {
		t.Fatalf("an empty message: %+v", u)
	}
	if !utf8.ValidString(u.Text) || len(u.Text) > 1000+64*most {
		t.Fatalf("the text has %d bytes: %q", len(u.Text), u.Text)
	}
	if c := u.Command; c != nil {
		if _, known := bridge.FindCommand(c.Name); !known && !u.Slash { // whoever gives a slash command is told that there is none of that name
			t.Fatalf("the command %+v", c)
		}
	}
	for _, file := range u.Files {
		if file.BridgeFileID == "" || file.Filename == "" {
			t.Fatalf("the file %+v", file)
		}
	}
}

// FuzzSlash reads what stands behind a slash command, which is the desk's to know; its text is one as people read it.
func FuzzSlash(f *testing.F) {
	f.Add("/bridge", "online 2h", "U1", "https://hooks.slack.com/commands/1/2", "Ana")
	f.Add("/note", "<@U1|ana> &lt;x&gt;", "U2", "https://evil.example/", "\n")
	f.Add("/", " ", "", "", "")
	f.Fuzz(func(t *testing.T, command, text, user, address, name string) {
		now := time.Unix(1_700_000_000, 0)
		got := slashOf(&slash{Command: command, Text: text, User: user, UserName: name, ResponseURL: address, TriggerID: "1"}, testView(), now)
		if got.ID == "" {
			if user != "" && command != "" {
				t.Fatal("it is lost")
			}
			return
		}
		if got.Command == nil || got.Command.Name == "" || strings.ContainsAny(got.Command.Name, " \n\t") || got.Author.ID == "" || got.Author.Name == "" || !got.Slash {
			t.Fatalf("%+v", got.Update)
		}
		s := &Slack{base: "https://slack.com/api/"}
		if to := s.responseURL(got.Message, now); to != nil && (to.Scheme != "https" || !s.trusted(to)) {
			t.Fatalf("an answer would go to %s", to)
		}
	})
}

// FuzzRender writes what a visitor says, is called and sends: it is shown as it was typed, within Slack's limits, and as text and links
// alone, so that it calls nobody.
func FuzzRender(f *testing.F) {
	f.Add("<!channel> <@U1> *b* :smile: &amp; https://a.test/x|y", "<@U1>", "a_<!here>.pdf", "https://f.test/a?x=1", uint8(0))
	f.Add("<!subteam^S1>", "@here", "[x](y)", "javascript:alert(1)", uint8(1))
	f.Add("see (https://a.test/b). https://, http://[::1", "*x*\n", "", "data:,x", uint8(6))
	f.Fuzz(func(t *testing.T, text, name, file, address string, how uint8) {
		for _, s := range []string{text, name, file, address} {
			if !utf8.ValidString(s) || len(s) > 20_000 {
				return // acceptance takes neither
			}
		}
		m := bridge.Outgoing{Text: text, Foreign: true, Kind: bridge.KindMessage, Links: []bridge.Attachment{{Filename: file, URL: address, Size: 5}}}
		if how&1 != 0 {
			m.Visitor = name
		}
		if how&2 != 0 {
			m.Author, m.Kind = name, bridge.KindNotice
		}
		if how&4 != 0 {
			m.Quote = &bridge.Quote{Author: name, Text: text}
			m.Card = &bridge.Session{ID: file, VisitorID: name, Identity: &bridge.Identity{Name: text, Email: file}, Metadata: &bridge.Metadata{URL: address, PageTitle: name}}
		}
		said := ""
		for _, p := range render(m, how&1 != 0) {
			if measure.IsBlank(p.Plain) || !utf8.ValidString(p.Plain) || len(p.Mention) > 0 {
				t.Fatalf("%+v", p)
			}
			if n := measure.Units(p.Plain); n > maxPart+maxQuote+platform.MaxLine+10+measure.Units(platform.BlankMark()) {
				t.Fatalf("a part of %d units", n)
			}
			aside := fallback(p.Plain)
			if utf8.RuneCountInString(aside) > maxFallback || strings.ContainsAny(aside, "<>") {
				t.Fatalf("beside the blocks stands %q", aside)
			}
			for _, e := range elementsOf(t, p.Markup) {
				if e.Type != "text" && e.Type != "link" && e.Type != "" || e.Type == "link" && (e.URL != e.Text || !strings.HasPrefix(e.URL, "http")) {
					t.Fatalf("an element %+v of %q", e, p.Plain)
				}
			}
			said += strings.TrimPrefix(p.Plain, platform.BlankMark())
		}
		if how&7 == 0 && !strings.HasPrefix(said, text) && !measure.IsBlank(text) {
			t.Fatalf("%q is shown as %q", text, said)
		}
	})
}

// FuzzIngress sends requests as Slack does, and such as it does not: what is not signed is refused and comes to nobody, what is signed
// never fails, and an answer is never a page.
func FuzzIngress(f *testing.F) {
	const secret = "0123456789abcdef0123456789abcdef"
	event := `{"type":"event_callback","event_id":"Ev1","event":{"type":"message","channel":"C0123456789","user":"U1","ts":"5.1","event_ts":"5.1","text":"x"}}`
	for _, body := range []string{
		event, `{"type":"url_verification","challenge":"<script>"}`, `{"type":"app_rate_limited"}`, `{"type":"event_callback","event":7}`, `null`, `[`, "",
		`command=%2Fbridge&text=online&channel_id=C0123456789&user_id=U1&trigger_id=1`, `payload=%7B%22type%22%3A%22block_actions%22%7D`, `command=%2Fx&channel_id=C9`, `%`,
	} {
		for _, kind := range []string{jsonType, formType, "text/html; charset"} {
			f.Add(body, kind, true)
		}
		f.Add(body, jsonType, false)
	}
	f.Fuzz(func(t *testing.T, body, kind string, genuine bool) {
		s, err := New(Config{BotToken: "xoxb-1", ChannelID: "C0123456789", SigningSecret: secret}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s.calls.Transport = nowhere{}
		inbox := bridgetest.NewInbox("")
		r := signed(secret, kind, body, time.Now())
		if !genuine {
			r.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("0", 64))
		}
		resp := ask(&ingressHandler{slack: s, inbox: inbox}, r)
		defer func() { _ = resp.Body.Close() }()
		if !genuine {
			if resp.StatusCode != http.StatusUnauthorized || len(inbox.All()) > 0 {
				t.Fatalf("%d, and %+v", resp.StatusCode, inbox.All())
			}
			return
		}
		if resp.StatusCode == http.StatusInternalServerError || strings.Contains(resp.Header.Get("Content-Type"), "html") {
			t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if resp.StatusCode >= 300 {
			t.Fatalf("%q is answered %d, so that it comes again", body, resp.StatusCode)
		}
		for _, u := range inbox.All() {
			checkUpdate(t, u, view{channel: "C0123456789"}, len(body))
		}
	})
}

// nowhere is a network without Slack.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network")
}

// FuzzPosition reads the cursor that is stored.
func FuzzPosition(f *testing.F) {
	for _, seed := range []string{"", "1700000000.000100", "x", "1 2 3", "1.1 1700000000", "-1.0 5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, ok := parsePosition(cursor)
		if !ok {
			return
		}
		if again, ok := parsePosition(p.String()); !ok || again.String() != p.String() {
			t.Fatalf("%q is %+v, and that is %+v", cursor, p, again)
		}
		if at := timeOf(p.at); !at.IsZero() && !timeOf(tsOf(at)).Equal(at) {
			t.Fatalf("%q is at %s, and that at %s", cursor, at, timeOf(tsOf(at)))
		}
	})
}
