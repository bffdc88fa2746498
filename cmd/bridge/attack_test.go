//go:build attack

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/telegram"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

// Who attacks, as docs/security.md names them.
const (
	visitor  = "a visitor"
	stranger = "a stranger in the chat"
	webPage  = "a web page"
	neighbor = "a neighbour on the network"
	receiver = "a receiver of callbacks"
	impostor = "an impostor of a platform"
	thief    = "a thief of a key or link"
	reader   = "a reader of logs"
	rogue    = "an operator gone rogue"
	obedient = "an AI that obeys a visitor"
)

func actors() []string {
	return []string{visitor, stranger, webPage, neighbor, receiver, impostor, thief, reader, rogue, obedient}
}

// Where they come in.
const (
	atAPI   = "the API"
	atPages = "the pages' door"
	atHooks = "the webhooks"
	atFiles = "the file links"
	atChat  = "the chat"
	atCalls = "the callbacks"
	atLogs  = "the log and the health pages"
)

func entries() []string { return []string{atAPI, atPages, atHooks, atFiles, atChat, atCalls, atLogs} }

// impossible says why an actor has no attack of their own at an entry.
func impossible() map[string]map[string]string {
	const (
		noKey  = "without a key they are a neighbour there"
		noHook = "they would be an impostor of a platform there"
		noLink = "without a link they are a visitor there, who may guess"
		noTalk = "they are not in the chat; who is, is a stranger or an operator"
		noCall = "the bridge calls receivers, and nobody else"
		noLog  = "what others can read there, a neighbour can"
		noPage = "at the door everybody is a visitor, or a page"
	)
	return map[string]map[string]string{
		visitor:  {atHooks: noHook, atCalls: noCall, atLogs: noLog},
		stranger: {atAPI: noKey, atPages: noPage, atHooks: noHook, atFiles: noLink, atCalls: noCall, atLogs: noLog},
		webPage:  {atHooks: noHook, atFiles: noLink, atChat: noTalk, atCalls: noCall, atLogs: noLog},
		neighbor: {atPages: noPage, atHooks: noHook, atFiles: noLink, atChat: noTalk, atCalls: noCall},
		receiver: {atPages: noPage, atHooks: noHook, atFiles: noLink, atChat: noTalk, atLogs: noLog, atAPI: noKey},
		impostor: {atAPI: noKey, atPages: noPage, atFiles: noLink, atChat: "what a platform says of its chat is proved at the webhooks", atCalls: noCall, atLogs: noLog},
		thief:    {atPages: "a session's id is its visitor's", atHooks: noHook, atChat: noTalk, atCalls: noCall, atLogs: noLog},
		reader:   {atAPI: noKey, atPages: noPage, atHooks: noHook, atFiles: noLink, atChat: noTalk, atCalls: noCall},
		rogue:    {atAPI: noKey, atPages: noPage, atHooks: noHook, atFiles: noLink, atCalls: noCall, atLogs: noLog},
		obedient: {atPages: noPage, atHooks: noHook, atFiles: noLink, atChat: noTalk, atCalls: noCall, atLogs: noLog},
	}
}

// The secrets of the program that is attacked, and a visitor's words.
const (
	attackKey     = "attack-bare-key-1c7e"
	attackDraft   = "attack-draft-key-2d8f"
	attackRead    = "attack-read-key-3e90"
	attackReply   = "attack-reply-key-4fa1"
	attackEvents  = "attack-events-key-5ab2"
	attackSigning = "0123456789abcdef0123456789abcdef"
	attackWords   = "attack-words-of-a-visitor"
	attackPage    = "https://shop.example.com"
)

// attacked is the program, with everything around it.
type attacked struct {
	*rig
	t        *testing.T
	stranger telegram.User
	inside   *httptest.Server // must never be called
	calls    atomic.Int32     // that it got
}

// attack is one row of the table: what is done, and what must not happen, which do returns; nothing: it did not.
type attack struct {
	actor, entry, what string
	do                 func(a *attacked) (happened string)
}

// request sends one, and returns the answer's status and body.
func (a *attacked) request(method, path, body string, header ...string) (int, string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.process().base+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.client.Transport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, ""
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// with asks with a key.
func (a *attacked) with(key, method, path, body string) (int, string) {
	a.t.Helper()
	return a.request(method, path, body, "Authorization", "Bearer "+key)
}

// unless says what happened when a status is none of those that are right.
func unless(code int, body string, right ...int) string {
	if slices.Contains(right, code) {
		return ""
	}
	return fmt.Sprintf("it is answered with %d %.200s", code, body)
}

// apiPaths are paths under keys, with a body that would be taken.
func apiPaths() [][3]string {
	const session = `"session":{"id":"s","visitorId":"s"}`
	return [][3]string{
		{"POST", "/api/events", `{"type":"operator_message",` + session + `,"message":{"id":"x","sessionId":"s","content":"attack"}}`},
		{"POST", "/api/messages", `{` + session + `,"message":{"id":"x","sessionId":"s","content":"attack"}}`},
		{"POST", "/api/sessions", `{"id":"x","visitorId":"x"}`}, {"POST", "/api/operator/status", `{"online":true}`},
		{"POST", "/api/custom-events", `{` + session + `,"event":{"name":"attack"}}`}, {"POST", "/api/disconnect", `{` + session + `}`},
		{"POST", "/api/sessions/s/events", `{"name":"attack"}`}, {"PUT", "/api/callbacks/evil", `{"url":"https://evil.example.com/"}`},
		{"POST", "/api/callbacks", `{"url":"https://evil.example.com/"}`}, {"DELETE", "/api/callbacks/web", ""}, {"POST", "/api/callbacks/web/rotate", ""},
		{"POST", "/api/callbacks/web/test", ""}, {"POST", "/api/deliveries/retry?lane=telegram", ""}, {"GET", "/api/callbacks", ""},
		{"POST", "/api/export?final=true", ""},
		{"GET", "/api/presence", ""}, {"GET", "/api/deliveries", ""}, {"GET", "/api/sessions/s/messages", ""}, {"GET", "/api/events/stream", ""},
		{"GET", "/metrics", ""}, {"GET", "/stats", ""}, {"GET", "/api", ""}, {"GET", "/api/%2e%2e/api/presence", ""}, {"GET", "//api//presence/", ""},
	}
}

func attacks() []attack {
	return slices.Concat(attacksOnDoors(), attacksFromInside())
}

// attacksOnDoors are those of people who have no part in it.
func attacksOnDoors() []attack {
	connect := `{"visitorId":"ana","sessionId":null,"metadata":{}}`
	return []attack{
		{neighbor, atAPI, "every path without a key, and with a wrong one", func(a *attacked) string {
			for _, p := range apiPaths() {
				if code, body := a.request(p[0], p[1], p[2]); code != 401 {
					return p[1] + ": " + unless(code, body, 401)
				}
				if code, body := a.with("attack-bare-key-1c7f", p[0], p[1], p[2]); code != 401 && code != 429 {
					return p[1] + " with a wrong key: " + unless(code, body, 401)
				}
			}
			return ""
		}},
		{neighbor, atAPI, "200 guesses of a key: slowed, and the right key is not", func(a *attacked) string {
			slowed := 0
			for i := range 200 {
				if code, _ := a.with("guess-"+strconv.Itoa(i), "GET", "/api/presence", ""); code == 429 {
					slowed++
				}
			}
			code, body := a.with(attackKey, "GET", "/api/presence", "")
			if slowed < 100 {
				return fmt.Sprintf("only %d are slowed", slowed)
			}
			return unless(code, body, 200)
		}},
		{neighbor, atLogs, "/health, /livez, /readyz?verbose, /openapi.yaml without a key", func(a *attacked) string {
			for _, path := range []string{"/health", "/livez", "/readyz?verbose", "/openapi.yaml"} {
				code, body := a.request("GET", path, "")
				if said := unless(code, body, 200); said != "" {
					return path + ": " + said
				}
				for _, secret := range a.secrets() {
					if strings.Contains(body, secret) {
						return path + " shows " + secret
					}
				}
			}
			return ""
		}},
		{webPage, atAPI, "a page of another origin calls, also through the visitor's browser", func(a *attacked) string {
			code, body := a.request("POST", "/api/events", `{"type":"operator_status","online":true}`, "Origin", "https://evil.example.com")
			if said := unless(code, body, 401, 403); said != "" {
				return said
			}
			req, _ := http.NewRequestWithContext(a.t.Context(), "OPTIONS", a.process().base+"/api/events", nil)
			req.Header.Set("Origin", "https://evil.example.com")
			req.Header.Set("Access-Control-Request-Method", "POST")
			resp, err := a.client.Transport.RoundTrip(req)
			if err != nil {
				return err.Error()
			}
			_ = resp.Body.Close()
			if allowed := resp.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
				return "its origin is allowed: " + allowed
			}
			return ""
		}},
		{webPage, atPages, "a page of another origin, of none, or of null connects", func(a *attacked) string {
			for _, origin := range []string{"https://evil.example.com", "null", attackPage + ".evil.example.com", "http://shop.example.com"} {
				if code, body := a.request("POST", "/pocketping/connect", connect, "Origin", origin); code != 403 {
					return origin + ": " + unless(code, body, 403)
				}
			}
			code, body := a.request("POST", "/pocketping/connect", connect)
			return unless(code, body, 403)
		}},
		{visitor, atPages, "another's session by the visitor's id, or by an id of one's own", func(a *attacked) string {
			var first, second struct {
				SessionID string `json:"sessionId"`
				Messages  []any  `json:"messages"`
			}
			_, body := a.request("POST", "/pocketping/connect", connect, "Origin", attackPage)
			if json.Unmarshal([]byte(body), &first) != nil || first.SessionID == "" {
				return "no page can connect: " + body
			}
			send := func(session, text string) (int, string) {
				return a.request("POST", "/pocketping/message", `{"sessionId":"`+session+`","content":"`+text+`","sender":"visitor"}`, "Origin", attackPage)
			}
			if code, body := send(first.SessionID, attackWords); code != 200 {
				return unless(code, body, 200)
			}
			_, body = a.request("POST", "/pocketping/connect", connect, "Origin", attackPage)
			if json.Unmarshal([]byte(body), &second) != nil || second.SessionID == first.SessionID || len(second.Messages) > 0 {
				return "the visitor's id resumes a session"
			}
			for _, guess := range []string{"s", "AAAAAAAAAAAAAAAAAAAAAAAAAA", first.SessionID[:25] + "A"} {
				if code, body := send(guess, "attack"); code == 200 && guess != first.SessionID {
					return guess + ": " + unless(code, body, 404)
				}
				if code, body := a.request("GET", "/pocketping/messages?sessionId="+guess, ""); code == 200 && guess != first.SessionID {
					return guess + " is read: " + body
				}
			}
			return ""
		}},
		{visitor, atAPI, "bodies that are no events: depth, repeats, sizes, wrong types, other encodings", func(a *attacked) string {
			for _, body := range []string{
				strings.Repeat(`{"a":`, 5000) + strings.Repeat("}", 5000), `{"type":"session_closed","sessionId":"a","sessionID":"b"}`, "{", "null", "[]", "\xff\xfe{",
				`{"type":"visitor_message","session":{"id":"s","visitorId":"s"},"message":{"id":"x","sessionId":"s","content":"` + strings.Repeat("x", 70_000) + `"}}`,
				`{"type":"` + strings.Repeat("x", 2<<20) + `"}`,
			} {
				if code, said := a.with(attackKey, "POST", "/api/events", body); code != 400 && code != 413 {
					return fmt.Sprintf("%.40q: %s", body, unless(code, said, 400, 413))
				}
			}
			code, said := a.request("POST", "/api/events", "x", "Authorization", "Bearer "+attackKey, "Content-Encoding", "zstd")
			return unless(code, said, 415)
		}},
		{visitor, atFiles, "links that are guessed or bent", func(a *attacked) string {
			for _, path := range []string{"/files/x", "/files/..%2f..%2fetc%2fpasswd", "/files/" + strings.Repeat("A", 300), "/pocketping/files/../../bridge.db/x", "/pocketping/files/x/y"} {
				if code, body := a.request("GET", path, ""); code == 200 {
					return path + ": " + body
				}
			}
			return ""
		}},
		{impostor, atHooks, "Slack's and Discord's requests without, with a wrong, and with an old proof", func(a *attacked) string {
			body := `{"type":"event_callback","event":{"type":"message","text":"attack"}}`
			old := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
			for _, header := range [][]string{
				nil,
				{"X-Slack-Signature", "v0=00", "X-Slack-Request-Timestamp", strconv.FormatInt(time.Now().Unix(), 10)},
				{"X-Slack-Signature", "v0=" + hex.EncodeToString([]byte(attackSigning)), "X-Slack-Request-Timestamp", old},
			} {
				if code, said := a.request("POST", "/webhooks/slack", body, header...); code != 401 && code != 404 {
					return "Slack: " + unless(code, said, 401)
				}
				if code, said := a.request("POST", "/webhooks/telegram", `{"update_id":1}`, header...); code != 401 && code != 404 {
					return "Telegram: " + unless(code, said, 404)
				}
			}
			code, said := a.request("POST", "/webhooks/discord", `{"type":1}`, "X-Signature-Ed25519", strings.Repeat("00", 64), "X-Signature-Timestamp", old)
			return unless(code, said, 401, 404)
		}},
		{impostor, atHooks, "an address in the middle of another", func(a *attacked) string {
			code, said := a.request("POST", "/webhooks/telegram/../../api/events", `{"type":"operator_status","online":true}`)
			return unless(code, said, 401, 404)
		}},
	}
}

// attacksFromInside are those of people who have a part in it.
func attacksFromInside() []attack {
	return []attack{
		{thief, atAPI, "narrow keys do more than they may", func(a *attacked) string {
			reads := []string{"/api/presence", "/api/deliveries", "/api/sessions/s/messages", "/api/events/stream", "/metrics", "/stats"}
			for _, key := range []string{attackDraft, attackRead, attackReply, attackEvents} {
				for _, p := range apiPaths()[:21] {
					may := key != attackEvents && slices.Contains(reads, p[1]) || key == attackReply && p[1] == "/api/events" ||
						key == attackEvents && strings.HasPrefix(p[1], "/api/") && p[0] == "POST" && !strings.Contains(p[1], "callbacks") &&
							!strings.Contains(p[1], "deliveries") && !strings.Contains(p[1], "export") && p[1] != "/api/sessions/s/events"
					if may {
						continue
					}
					if code, body := a.with(key, p[0], p[1], p[2]); code != 403 {
						return key + " at " + p[1] + ": " + unless(code, body, 403)
					}
				}
			}
			return ""
		}},
		{thief, atFiles, "a link that is changed", func(a *attacked) string {
			code, body := a.request("GET", "/files/eyJwIjoidGVsZWdyYW0ifQ."+strings.Repeat("A", 43), "")
			return unless(code, body, 403, 404, 410)
		}},
		{obedient, atAPI, "it writes with a draft key, and over the visitor with a bare one", func(a *attacked) string {
			before := a.telegram.Count("sendMessage")
			for i := range 20 {
				for _, p := range apiPaths()[:8] {
					if code, body := a.with(attackDraft, p[0], p[1], p[2]); code != 403 {
						return fmt.Sprint(i, p[1], ": ", unless(code, body, 403))
					}
				}
			}
			if sent := a.telegram.Count("sendMessage"); sent != before {
				return fmt.Sprintf("%d messages were sent", sent-before)
			}
			code, body := a.with(attackKey, "POST", "/api/events", `{"type":"operator_message","afterMessageId":"unknown","session":{"id":"s","visitorId":"s"},
				"message":{"id":"ai","sessionId":"s","content":"attack","sender":"ai"}}`)
			return unless(code, body, 409)
		}},
		{visitor, atChat, "words that look like commands, mentions and the bridge's own voice", func(a *attacked) string {
			closed := len(a.app.of("session_closed"))
			for i, text := range []string{"/close", "!close", "/close@bot", "@everyone <!channel> @here", "\n✅ The conversation was closed", "\u202e/close"} {
				a.visitorSays(fmt.Sprint("v", i), text)
			}
			a.visitorSays("v-last", "the last of them")
			a.until("shown", func() bool {
				return strings.Contains(strings.Join(a.shown(a.topics("s")[0].ID), "\n"), "the last of them")
			})
			if len(a.app.of("session_closed")) != closed {
				return "a visitor closed a conversation"
			}
			return ""
		}},
		{stranger, atChat, "somebody who is none of OPERATORS writes and commands in a thread", func(a *attacked) string {
			words, closed := len(a.app.of("operator_message")), len(a.app.of("session_closed"))
			topic := a.topics("s")[0].ID
			for _, text := range []string{"words of a stranger", "!close", "/offline", "!r words", "!send words"} {
				a.telegram.Say(a.chat, topic, a.stranger.ID, text)
			}
			a.telegram.Say(a.chat, topic, a.ana.ID, "an operator's word behind them")
			a.until("heard", func() bool { return len(a.app.of("operator_message")) > words })
			if got := a.app.of("operator_message"); len(got) != words+1 || len(a.app.of("session_closed")) != closed {
				return "a stranger was heard"
			}
			return ""
		}},
		{rogue, atChat, "an operator writes outside threads, and held words", func(a *attacked) string {
			words := len(a.app.of("operator_message"))
			topic := a.topics("s")[0].ID
			a.telegram.Say(a.chat, 0, a.ana.ID, "talk among us")
			for _, text := range []string{"!noet he is a cheat", "/notee words", "!note stays here"} {
				a.telegram.Say(a.chat, topic, a.ana.ID, text)
			}
			a.telegram.Say(a.chat, topic, a.ana.ID, "a word for the visitor")
			a.until("heard", func() bool { return len(a.app.of("operator_message")) > words })
			got := a.app.of("operator_message")
			if len(got) != words+1 || got[words].SessionID != "s" || got[words].Content != "a word for the visitor" {
				return fmt.Sprintf("%d words went to visitors", len(got)-words)
			}
			return ""
		}},
		{receiver, atCalls, "a receiver leads elsewhere, and private addresses are registered", func(a *attacked) string {
			for _, to := range []string{
				"http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://0.0.0.0:1/", "http://127.0.0.1:1/", "http://10.0.0.1/", "http://2130706433/",
				"http://[::ffff:127.0.0.1]/", "http://localhost/", "file:///etc/passwd", "http://u:p@example.com/", "gopher://example.com/",
			} {
				if code, body := a.with(attackKey, "PUT", "/api/callbacks/evil", `{"url":"`+to+`"}`); code != 400 && code != 422 {
					return to + ": " + unless(code, body, 400)
				}
			}
			if n := a.calls.Load(); n > 0 {
				return fmt.Sprintf("a redirect was followed %d times", n)
			}
			return ""
		}},
		{reader, atLogs, "the log at debug level", func(a *attacked) string {
			said := a.process().Output()
			for _, secret := range append(a.secrets(), attackWords) {
				if strings.Contains(said, secret) {
					return "the log shows " + secret
				}
			}
			return ""
		}},
	}
}

// secrets are what nobody is to be shown.
func (a *attacked) secrets() []string {
	_, token, _ := strings.Cut(a.telegram.Token(), ":")
	return []string{attackKey, attackDraft, attackRead, attackReply, attackEvents, attackSigning, token, keptQuery}
}

// visitorSays has the app tell a visitor's words.
func (a *attacked) visitorSays(id, text string) {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{
		"message": map[string]any{"id": id, "sessionId": "s", "content": text, "sender": "visitor"}, "session": map[string]any{"id": "s", "visitorId": "s"},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	if code, said := a.with(attackKey, "POST", "/api/messages", string(body)); code != 200 {
		a.t.Fatalf("%d %s", code, said)
	}
}

// beAttacked starts the program with a conversation in it.
func beAttacked(t *testing.T, store string) *attacked {
	a := &attacked{rig: newRig(t), t: t}
	a.inside = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { a.calls.Add(1) }))
	t.Cleanup(a.inside.Close)
	slack := newSlackBoard(t, false)
	for name, value := range slack.env() {
		a.env[name] = value
	}
	a.stranger = a.telegram.AddUser(telegram.User{FirstName: "Eve"})
	for name, value := range map[string]string{
		"API_KEY": attackKey + ",draft=" + attackDraft + ",read=" + attackRead + ",reply=" + attackReply + ",events=" + attackEvents,
		"BIND":    "127.0.0.1", "LOG_LEVEL": "debug", "DATA_DIR": t.TempDir(), "WIDGET_ORIGINS": attackPage, "ALLOW_PRIVATE_CALLBACKS": "off",
		"OPERATORS": "telegram:" + strconv.FormatInt(a.ana.ID, 10), "SECRETS_KEY": strings.Repeat("s", 32), "SLACK_SIGNING_SECRET": attackSigning,
		"EVENTS_WEBHOOK_URL": a.app.url + "/hook?key=" + keptQuery,
	} {
		a.env[name] = value
	}
	if store == "redis" {
		a.env["REDIS_URL"] = redistest.Start(t).URL()
	}
	redirects := httptest.NewServer(http.RedirectHandler(a.inside.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	a.env["EVENTS_WEBHOOK_URL"] = redirects.URL + "/?key=" + keptQuery
	a.start()
	a.visitorSays("v", "hello")
	a.until("shown", func() bool { return len(a.topics("s")) == 1 })
	return a
}

// Every attack of the table does nothing, on both stores; and every actor has one at every entry, or a reason why not.
func TestAttacks(t *testing.T) {
	for _, actor := range actors() {
		for _, entry := range entries() {
			has := slices.ContainsFunc(attacks(), func(row attack) bool { return row.actor == actor && row.entry == entry })
			if why := impossible()[actor][entry]; has == (why != "") {
				t.Errorf("%s at %s: an attack %v, a reason %q", actor, entry, has, why)
			}
		}
	}
	for _, store := range []string{"bolt", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			a := beAttacked(t, store)
			for _, row := range attacks() {
				if happened := row.do(a); happened != "" {
					t.Errorf("%s, %s, %s: %s", row.actor, row.entry, row.what, happened)
				}
			}
			if code, body := a.with(attackKey, "GET", "/api/presence", ""); code != 200 {
				t.Errorf("after all of it: %d %s", code, body)
			}
		})
	}
}
