package relay_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	people "github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/sandbox/soak"
	table "github.com/pocketping/bridge/internal/words"
)

// A scene is played on every platform, in every language. Its lines are what people do, each as "who, how: what":
//
//	new: {"name":"Mia"}        a visitor comes, who is the one of all lines that follow; again: the same visitor, in another conversation
//	visitor: hello             they say something
//	wait: 5m                   time passes
//	Ana: hello                 an operator writes in the visitor's thread
//	Ana, at main: /status      in the main place
//	Ana, by menu: /claim       a command from the platform's menu, which is answered in private
//	Ana, flat: hello           in a chat that has no threads
//	Ana, to own: /delete       in reply to the author's last message; visitor, other, draft, list and last are those of the
//	                           visitor, of somebody else, of a program, a list of visitors, and what the thread shows last
//	Ana, edits: hello          another text of the author's last message
//	Ana, presses: claim        a button; at main presses: one that is in the main place
//	canned: 200                there are so many canned replies
//	Ben, elsewhere: /offline   on another platform, in its main place
//	draft: d1 hello            a program proposes an answer
//	event: {...}               the app tells something else of the session
//	crowd: 12                  so many visitors come at once and say something
//	answer: waits              no page has taken the operators' answers; waits mia@example.org: of a visitor with an address
//	app: fails                 app servers take nothing; refuses: one thing; works: everything again
//	platform, elsewhere: fails the other platform takes nothing; locks out, refuses, asks to wait, opens nothing, loses threads, keeps
//	                           messages, works
//
// SESSION stands for the conversation, and CODE for the last one that /link gave.
type scene struct {
	title  string
	places []string // where it is played; nil: withMenus
	adjust func(*relay.Options, *people.Options)
	script string
}

// stage is where a scene is played.
type stage struct {
	*team
	platform, other string
	session         string
	visitors        int
	sessions        int
	code            string
	own             map[string]bridge.MessageID // the last message of each author
	written         strings.Builder
}

var (
	linkCode = regexp.MustCompile(`([/!]link )([A-Z0-9]{6})\b`)
	// byChance are spans between attempts whose pauses are random.
	byChance = regexp.MustCompile(`[0-9]+ (s|min)\b`)
	// howMany are numbers of what waits. listed are lines of a list, all but the last.
	howMany = regexp.MustCompile(`\b[0-9]{1,2} ([^U])`)
	listed  = regexp.MustCompile(`(\n• [^\n]*)+\n•`)
)

// shows writes what is new in a place, and what is another text now; u is what it may answer. An answer stands first.
func (s *stage) shows(platform string, at bridge.ThreadID, before []bridgetest.Shown, u bridge.Update) {
	var answers, others []string
	for _, m := range s.places[platform].Shown(at) {
		if code := linkCode.FindStringSubmatch(m.Text); code != nil {
			s.code = code[2]
		}
		was := slices.IndexFunc(before, func(b bridgetest.Shown) bool { return b.ID == m.ID })
		text := s.asWritten(m.Text)
		switch {
		case was >= 0 && before[was].Text != m.Text:
			others = append(others, "  ✎ "+text)
		case was >= 0:
		case m.ReplyTo == u.Message && u.Message != "":
			answers = append(answers, "  → "+text)
		default:
			others = append(others, "  · "+text)
		}
	}
	for _, text := range append(answers, others...) {
		s.written.WriteString(text + "\n")
	}
}

// asWritten is a text without what is by chance, or differs between platforms by their names alone.
func (s *stage) asWritten(text string) string {
	text = linkCode.ReplaceAllString(text, "${1}CODE")
	for _, name := range []string{s.platform, s.other} {
		as := map[bool]string{true: "Here", false: "There"}[name == s.platform]
		text = strings.ReplaceAll(text, "("+bridge.Title(name)+")", "("+as+")")
		text = strings.ReplaceAll(text, name+":u-", strings.ToLower(as)+":u-")
	}
	if strings.HasPrefix(text, "⚠️") || strings.HasPrefix(text, "✅") {
		text = byChance.ReplaceAllString(strings.ReplaceAll(text, bridge.Title(s.other), "There"), "N $1")
	}
	if strings.HasPrefix(text, "⏳") || strings.Contains(text, "\n• ") { // how many wait at a moment
		text = listed.ReplaceAllString(howMany.ReplaceAllString(text, "N $1"), "\n•")
	}
	return strings.ReplaceAll(text, "\n", "\n    ")
}

func (s *stage) at() bridge.ThreadID {
	if s.session == "" {
		return "main"
	}
	return s.thread(s.platform, s.session)
}

// play plays a line, and writes down what is shown for it.
func (s *stage) play(line string) {
	s.t.Helper()
	head, what, _ := strings.Cut(line, ": ")
	who, how, _ := strings.Cut(head, ", ")
	s.written.WriteString(brief(line) + "\n")
	platform, at := s.platform, s.at()
	if how == "elsewhere" {
		platform = s.other
	}
	if strings.Contains(how, "main") || how == "elsewhere" || how == "flat" || who == "new" || who == "again" || who == "canned" {
		at = "main"
	}
	before, main, other := s.places[platform].Shown(at), s.places[s.platform].Shown("main"), s.places[s.other].Shown("main")
	u := s.does(who, how, what, at, platform)
	synctest.Wait()
	if who == "canned" {
		return
	}
	if who == "new" || who == "again" {
		s.shows(s.platform, s.at(), nil, u)
		return
	}
	s.shows(platform, at, before, u)
	if at != "main" || platform != s.platform {
		s.shows(s.platform, "main", main, u)
	}
	if strings.HasPrefix(what, "/link") && platform != s.other {
		s.shows(s.other, "main", other, u)
	}
}

// brief is a line as it is written down: of a long one the beginning.
func brief(line string) string {
	if r := []rune(line); len(r) > 200 {
		return string(r[:100]) + "…"
	}
	return line
}

// does does what a line says. It returns the update, where there is one.
func (s *stage) does(who, how, what string, at bridge.ThreadID, platform string) (u bridge.Update) {
	s.t.Helper()
	switch who {
	case "new", "again":
		if who == "new" {
			s.visitors++
		}
		s.sessions++
		s.session = fmt.Sprint("session-", s.sessions)
		s.asked++
		s.ingest(fmt.Sprintf(`{"type":"visitor_message","session":{"id":%q,"visitorId":"visitor-%d","identity":%s},`+
			`"message":{"id":"m%d","sessionId":%q,"content":"hello"}}`, s.session, s.visitors, what, s.asked, s.session))
		return u
	case "visitor":
		s.asked++
		s.ingest(message(s.session, fmt.Sprint("m", s.asked), what))
		return u
	case "crowd":
		n, err := strconv.Atoi(what)
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range n {
			s.ingest(message(fmt.Sprint("crowd-", i), "1", fmt.Sprint("question ", i+1)))
		}
		s.ingest(message(fmt.Sprint("crowd-", n-1), "2", "are you there?"))
		return u
	case "event":
		s.ingest(strings.ReplaceAll(what, "SESSION", s.session))
		return u
	case "wait":
		d, err := time.ParseDuration(what)
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d)
		return u
	case "canned":
		n, err := strconv.Atoi(what)
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range n {
			s.places[platform].Tell(s.update("main", "Ana", fmt.Sprint("!canned add reply", i, " hello"), ""))
		}
		synctest.Wait()
		return u
	case "draft":
		id, text, _ := strings.Cut(what, " ")
		if _, err := s.relay.Propose(s.t.Context(), s.session, bridge.Draft{ID: id, Content: text, Author: "Bot"}, "", ""); err != nil {
			s.t.Fatal(err)
		}
		return u
	case "answer":
		if err := s.relay.AnswerWaiting(s.t.Context(), s.session, []string{"a1"}, strings.TrimSpace(strings.TrimPrefix(what, "waits"))); err != nil {
			s.t.Fatal(err)
		}
		return u
	case "app":
		s.receivers.change(func() {
			clear(s.receivers.fails)
			if err := broken(what); err != nil {
				s.receivers.fails["app"] = err
			}
		})
		return u
	case "platform":
		if what == "refuses" { // with its card, and without
			s.places[platform].Fail(bridgetest.OpSend, broken(what), broken(what))
			return u
		}
		s.places[platform].Hook(bridgetest.OpOpenThread, func(context.Context, bridgetest.Call) error {
			if what == "opens nothing" {
				return broken(what)
			}
			return nil
		})
		s.places[platform].Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if what == "keeps messages" || what == "opens nothing" || what == "loses threads" && !strings.HasPrefix(string(c.Thread), "thread-") {
				return nil
			}
			return broken(what)
		})
		s.places[platform].Hook(bridgetest.OpDelete, func(context.Context, bridgetest.Call) error { return broken(what) })
		return u
	}
	what = strings.ReplaceAll(what, "CODE", s.code)
	if s.places[platform].Bears.Quotes && strings.HasPrefix(what, "/") { // as it is typed there
		what = "!" + what[1:]
	}
	u = s.update(at, who, what, "")
	var reply string
	if _, err := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(how, "flat "), "at main "), "to %s", &reply); err == nil {
		u.ReplyTo = s.replies(reply, who, at)
	}
	switch {
	case how == "by menu":
		u.Slash, u.Text = true, "/"+strings.TrimLeft(what, "/!")
	case strings.HasPrefix(how, "flat"):
		u.Flat = true
	case how == "edits":
		u.Kind, u.Message, u.Edited = bridge.UpdateEdit, s.own[who], time.Now()
	case strings.HasSuffix(how, "presses"):
		key := bridge.Digest([]byte(s.session + "\nd1"))
		u.Kind, u.Text, u.Slash, u.Press = bridge.UpdatePress, "", true, strings.ReplaceAll(what, "d1", key)
	default:
		s.own[who] = u.Message
	}
	s.places[platform].Tell(u)
	return u
}

// broken is how something answers that works no more.
func broken(how string) error {
	switch how {
	case "locks out":
		return &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeDestination, Op: "send", Detail: "HTTP 401"}
	case "keeps messages":
		return &bridge.DeliveryError{Reason: bridge.ReasonRejected, Scope: bridge.ScopeSession, Op: engine.OpDelete, Detail: "HTTP 403"}
	case "fails":
		return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: "send", Detail: "HTTP 503"}
	case "refuses":
		return &bridge.DeliveryError{Reason: bridge.ReasonRejected, Scope: bridge.ScopeSession, Op: "send", Detail: "HTTP 422"}
	case "asks to wait":
		return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeDestination, Op: "send", Detail: "HTTP 429", RetryAfter: 3 * time.Minute}
	case "opens nothing":
		return &bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeOperation, Op: engine.OpOpenThread, Detail: "HTTP 403"}
	case "loses threads":
		return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Scope: bridge.ScopeSession, Op: "send", Detail: "HTTP 404"}
	}
	return nil
}

// replies returns the message that a word of a line names.
func (s *stage) replies(to, author string, at bridge.ThreadID) bridge.MessageID {
	shown := s.places[s.platform].Shown(s.at())
	switch to {
	case "own":
		return s.own[author]
	case "visitor":
		return shown[0].ID
	case "draft":
		return shown[slices.IndexFunc(shown, func(m bridgetest.Shown) bool { return strings.HasPrefix(m.Text, "📝") })].ID
	case "list":
		return shown[slices.IndexFunc(shown, func(m bridgetest.Shown) bool { return strings.HasPrefix(m.Text, "🆕") })].ID
	case "last":
		return shown[len(shown)-1].ID
	}
	for who, id := range s.own {
		if who != author {
			return id
		}
	}
	s.t.Fatalf("nobody else has written at %s", at)
	return ""
}

// playOn plays a scene on a platform, and returns what is written of it.
func playOn(t *testing.T, sc scene, platform string) (written string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tm := newTeam(t, func(o *relay.Options, p *people.Options) {
			o.Log = slog.New(slog.DiscardHandler)
			o.Operators = []string{platform + ":u-Ana", platform + ":u-Ben"}
			for _, name := range platformNames {
				if name != platform {
					o.Operators = append(o.Operators, name+":u-Ben", name+":u-Ana")
				}
			}
			if sc.adjust != nil {
				sc.adjust(o, p)
			}
		})
		defer func() { tm.stop() }()
		other := platformNames[(slices.Index(platformNames, platform)+1)%len(platformNames)]
		s := &stage{team: tm, platform: platform, other: other, own: map[string]bridge.MessageID{}}
		for line := range strings.SplitSeq(strings.TrimSpace(sc.script), "\n") {
			s.play(strings.TrimSpace(line))
		}
		written = s.written.String()
	})
	return written
}

// placesOf are the platforms that a scene is played on. With SOAK=1 each is played everywhere.
func placesOf(sc scene) []string {
	switch {
	case sc.places != nil:
		return sc.places
	case soak.Asked():
		return platformNames
	}
	return withMenus
}

// playAll plays all scenes in a language, beside each other. What differs between platforms is written for each.
func playAll(t *testing.T, language string) string {
	t.Helper()
	all := scenes()
	written := make([]map[string]string, len(all)) // by platform
	t.Run(language, func(t *testing.T) {
		for i, sc := range all {
			written[i] = map[string]string{}
			t.Run(sc.title, func(t *testing.T) {
				t.Parallel()
				for _, platform := range placesOf(sc) {
					written[i][platform] = playOn(t, sc, platform)
				}
			})
		}
	})
	var b strings.Builder
	for i, sc := range all {
		var order []string
		on := map[string][]string{}
		for _, platform := range placesOf(sc) {
			text := written[i][platform]
			if on[text] == nil {
				order = append(order, text)
			}
			on[text] = append(on[text], platform)
		}
		for _, text := range order {
			fmt.Fprintf(&b, "# %s", sc.title)
			if sc.places != nil || len(order) > 1 {
				fmt.Fprintf(&b, " (%s)", strings.Join(on[text], ", "))
			}
			b.WriteString("\n" + text + "\n")
		}
	}
	return b.String()
}

// TestWhatPeopleAreTold: what people are told, as they read it, stands in a file for each language; UPDATE_GOLDEN=1 writes it anew. The language is
// the process's, so that nothing else runs beside.
func TestWhatPeopleAreTold(t *testing.T) {
	defer table.Use(table.Default)
	for _, language := range table.Names() {
		table.Use(language)
		got, path := playAll(t, language), filepath.Join("testdata", "answers."+language+".golden")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		differ(t, path, string(want), got)
	}
}

// differ says where two texts begin to differ.
func differ(t *testing.T, path, want, got string) {
	t.Helper()
	was, is := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(was), len(is)) {
		if i >= len(was) || i >= len(is) || was[i] != is[i] {
			t.Errorf("%s:%d: %q is now %q", path, i+1, was[min(i, len(was)-1)], is[min(i, len(is)-1)])
			return
		}
	}
}
