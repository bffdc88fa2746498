package telegram

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// ourTags matches the markup that render writes, and no other.
var ourTags = regexp.MustCompile(`<(?:/?[bi]|/a|a href="(?:tg://user\?id=[0-9]+|https?://[^"<>]*)")>`)

// FuzzRender writes what a visitor says, is called and sends: it is shown as it was typed, within Telegram's limits, and nothing of it is
// markup, the name of somebody or a command that can be touched.
func FuzzRender(f *testing.F) {
	f.Add("<b>&amp;_*~|>@everyone /close \"q\" @ana", "@boss <a href=\"x\">", "a<b>.pdf", "https://f.test/a?x=1&y=\"2\"", uint8(0))
	f.Add("https://m.test/@ana/post?q=\"1\"", "/close", "/offline", "javascript:alert(1)", uint8(1))
	f.Add("tg://user?id=5", "\n", "</b>", "data:,x", uint8(6))
	f.Add(strings.Repeat("@ana ", 90), "x", "", "http://[", uint8(2))
	f.Fuzz(func(t *testing.T, text, name, file, address string, how uint8) {
		for _, s := range []string{text, name, file, address} {
			if !utf8.ValidString(s) || len(s) > 20_000 {
				return // acceptance takes neither
			}
		}
		m := bridge.Outgoing{Thread: "-1/7", Text: text, Foreign: true, Kind: bridge.KindMessage, Links: []bridge.Attachment{{Filename: file, URL: address, Size: 5}}}
		if how&1 != 0 {
			m.Thread, m.Visitor = "-1/flat/s", name
		}
		if how&2 != 0 {
			m.Author, m.Kind = name, bridge.KindNotice
		}
		if how&4 != 0 {
			m.Card = &bridge.Session{ID: file, VisitorID: name, Identity: &bridge.Identity{Name: text, Email: file}, Metadata: &bridge.Metadata{URL: address, PageTitle: name}}
		}
		said := ""
		for _, p := range render(m) {
			if n := measure.Units(p.Plain); n == 0 || n > maxText || measure.IsBlank(p.Plain) || !utf8.ValidString(p.Text) {
				t.Fatalf("a part has %d units: %q", n, p.Plain)
			}
			bare := ourTags.ReplaceAllString(p.Text, "")
			if strings.ContainsAny(bare, "<>") {
				t.Fatalf("markup that is not ours: %q", p.Text)
			}
			shown := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(bare)
			if without(shown, "\u2060") != without(p.Plain, "\u2060") {
				t.Fatalf("%q is shown as %q", p.Plain, shown)
			}
			if strings.Contains(p.Text, "tg://user") && !strings.Contains(p.Plain, "tg://user") || len(p.Mention) > 0 {
				t.Fatalf("it calls somebody: %q", p.Text)
			}
			said += strings.TrimPrefix(p.Plain, platform.BlankMark())
		}
		if tapped := tappable.FindString(untappable(text)); tapped != "" {
			t.Fatalf("of %q the command %q can be touched", text, tapped)
		}
		if how&7 == 0 && !measure.IsBlank(text) && !strings.HasPrefix(without(said, "\u2060"), without(text, "\u2060")) {
			t.Fatalf("%q is shown as %q", text, said)
		}
	})
}

// tappable matches what Telegram's apps show as a command.
var tappable = regexp.MustCompile(`(?:^|[^\pL\pN_/<>])/[a-zA-Z0-9_]{1,64}`)

func without(text, sign string) string { return strings.ReplaceAll(text, sign, "") }

// nowhere is a network without Telegram.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("there is no network")
}

// FuzzIngress sends requests as Telegram does, and such as it does not: what does not carry the secret comes to nobody, what does is never
// answered so that it would come for ever.
func FuzzIngress(f *testing.F) {
	for _, body := range []string{
		inForum(`,"text":"hello"`), inForum(`,"text":"/online@ourbot 2h"`), `{"update_id":1}`, `{}`, `[`, "null", "", `{"update_id":1e99}`, `{"update_id":"1"}`,
		`{"update_id":5,"callback_query":{"id":"1","data":"x"}}`, `{"update_id":5,"my_chat_member":{}}`, reacted(`"user":{"id":500}`, "", "👍"),
	} {
		f.Add([]byte(body), testSecret.Reveal())
		f.Add([]byte(body), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, secret string) {
		tg, err := New(Config{
			Token: "1:a", ChatID: -1000000000100, WebhookURL: "https://chat.example.com/webhooks/telegram", WebhookSecret: testSecret,
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		tg.sends.Transport = nowhere{}
		inbox := bridgetest.NewInbox("")
		r := httptest.NewRequest(http.MethodPost, "/webhooks/telegram", strings.NewReader(string(body)))
		r.Header[headerSecret] = []string{secret}
		w := httptest.NewRecorder()
		tg.Webhook(inbox).ServeHTTP(w, r)
		got := inbox.All()
		if secret != testSecret.Reveal() {
			if w.Code != http.StatusUnauthorized || len(got) > 0 {
				t.Fatalf("%d, and %+v", w.Code, got)
			}
			return
		}
		if w.Code != http.StatusOK && w.Code != http.StatusServiceUnavailable || w.Body.Len() > 200 {
			t.Fatalf("%q is answered %d", body, w.Code)
		}
		for _, u := range got {
			if u.Cursor != "" || u.Kind == bridge.UpdateMessage && (u.Author.ID == "" || u.Thread == "" || u.Text == "" && len(u.Files) == 0 && u.Command == nil) {
				t.Fatalf("%+v", u)
			}
		}
	})
}

// FuzzPlaces reads what is stored of places and positions: what is read is written as it was.
func FuzzPlaces(f *testing.F) {
	for _, seed := range []string{"", "-100/7", "-100/", "-100/flat/s", "5/-1", "5 1700000000", "-5 1", "x", "-100/5/6", "9223372036854775808/1", "9223372036854775807 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p := parsePosition(text); p.known && (p.id < 0 || p.offset(p.at) <= 0) {
			t.Fatalf("%q is %+v, from which updates are asked for from %d", text, p, p.offset(p.at))
		}
		if _, topic, ok := parseThread(bridge.ThreadID(text)); ok && topic < 0 {
			t.Fatalf("%q is the topic %d", text, topic)
		}
		for _, chat := range []int64{5, -100, -1_000_000_000_100} {
			if n, ok := parseMessage(bridge.MessageID(text), chat); ok && (n <= 0 || isBasic(chat) && !strings.HasPrefix(text, "-100/")) {
				t.Fatalf("%q is the message %d of %d", text, n, chat)
			}
		}
	})
}
