package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// The tests of this file show all that travels between the visitor's app and the platforms, and from one platform to the others:
// what people see is compared exactly. The table of docs/guarantees.md is held against what was shown.

// The directions, as that table names them.
const (
	fromVisitor = "From the visitor, shown in the thread"
	toVisitor   = "From an operator, told to the visitor"
	elsewhere   = "From an operator on another platform, shown in the thread"
)

// otherEvents is the row for what happens in the app besides.
const otherEvents = "Identity, custom events, AI, ratings, leaving"

// works is what was shown to work: direction, feature, platform.
type works map[string]map[string]map[string]bool

func (w works) note(direction, feature string, did map[string]bool) {
	if w[direction] == nil {
		w[direction] = map[string]map[string]bool{}
	}
	if w[direction][feature] == nil {
		w[direction][feature] = map[string]bool{}
	}
	for platform, does := range did {
		before, known := w[direction][feature][platform]
		w[direction][feature][platform] = does && (before || !known)
	}
}

// crossing is a row of the table: something that somebody does in a session of their own, and what everybody sees of it.
type crossing struct {
	feature string
	variety string // where a feature has several rows
	// quiet: it is done while nothing else is on its way. What nobody waits for gives way to what is.
	quiet bool
	// visitor is what the visitor does. It returns the platforms on which that is not to be seen.
	visitor func(j *journey) (not []string, err error)
	// operator is what Ana does on a stand. not says that the platform keeps it to itself; alone, that the other threads do not
	// show it.
	operator func(j *journey, on stand) (not, alone bool, err error)
}

// journey is a session on its way.
type journey struct {
	r       *rig
	name    string // of the session and its visitor
	stands  []stand
	threads map[string]string // platform → the session's thread
	files   *fileServer

	last map[string]func() string // what has to hold in the end
}

// newJourney is a session of a test's own.
func (r *rig) newJourney(name string) *journey {
	j := &journey{r: r, name: name, threads: map[string]string{}, files: newFileServer(r.t), last: map[string]func() string{}}
	for _, b := range r.boards {
		j.stands = append(j.stands, b.(stand))
	}
	return j
}

// stand returns the journey's stand on a platform.
func (j *journey) stand(name string) stand {
	return j.stands[slices.IndexFunc(j.stands, func(s stand) bool { return s.name() == name })]
}

// no ends the test with an error.
func no(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sessionJSON is the session as the app tells it.
func (j *journey) sessionJSON() string {
	return fmt.Sprintf(`{"id":%q,"visitorId":%q}`, j.name, j.name)
}

// post sends an event.
func (j *journey) post(route string, body any) error {
	raw, ok := body.(string)
	if !ok {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		raw = string(text)
	}
	code, a, err := j.r.post(route, raw)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("POST %s: %d %s %s", route, code, a.Error, a.Field)
	}
	return err
}

// event sends an event about the session.
func (j *journey) event(kind string, fields map[string]any) error {
	body := map[string]any{"type": kind, "sessionId": j.name}
	maps.Copy(body, fields)
	return j.post("/api/events", body)
}

// writes lets the visitor write. more are further fields of the message.
func (j *journey) writes(id, text string, more map[string]any) error {
	m := map[string]any{"id": id, "sessionId": j.name, "content": text, "sender": "visitor"}
	maps.Copy(m, more)
	return j.post("/api/messages", map[string]any{"message": m, "session": json.RawMessage(j.sessionJSON())})
}

// holds waits until a check finds nothing, and has it made once more when everything is over.
func (j *journey) holds(key string, check func() string) error {
	j.last[key] = check
	var found string
	if !j.r.eventually(func() bool { found = check(); return found == "" }) {
		return fmt.Errorf("%s: %s", key, found)
	}
	return nil
}

// begin lets the visitor say hello, and waits for the threads.
func (j *journey) begin() error {
	if err := j.writes("m0", "hello", nil); err != nil {
		return err
	}
	return j.opened()
}

func (j *journey) opened() error {
	return j.holds("a thread everywhere", func() string {
		for _, s := range j.stands {
			all := s.threads(j.name)
			if len(all) != 1 {
				return fmt.Sprintf("%d threads on %s", len(all), s.name())
			}
			j.threads[s.name()] = all[0]
		}
		return ""
	})
}

// hello is the visitor's first message, as it is seen.
func hello() sight { return sight{Own: true, Text: "hello"} }

// view is a thread as text: ids are places in it, counted from 0.
func view(sights []sight) string {
	place := map[string]string{"": ""}
	for i, s := range sights {
		if s.ID != "" {
			place[s.ID] = fmt.Sprint("#", i)
		}
	}
	var lines []string
	for _, s := range sights {
		if s.Own && s.Text == "" && len(s.Files) > 0 {
			s.ReplyTo, s.Quote = "", "" // on a slow machine files come late, and then as a reply to their text
		}
		if strings.HasPrefix(s.ReplyTo, "#") { // it is a place
			place[s.ReplyTo] = s.ReplyTo
		}
		if p, ok := place[s.ReplyTo]; ok {
			s.ReplyTo = p
		} else {
			s.ReplyTo = "something unknown"
		}
		s.Text = strings.TrimSpace(s.Text)
		who := "somebody: "
		if s.Own {
			who = "bot: "
			if len(s.pings) > 0 {
				who = fmt.Sprintf("bot, calling %v: ", s.pings)
			}
		}
		lines = append(lines, who+s.String())
	}
	return strings.Join(lines, "\n")
}

// shows waits until every stand's thread shows what is wanted of it.
func (j *journey) shows(want func(s stand) []sight) error {
	return j.holds("the threads", func() string {
		for _, s := range j.stands {
			if got, want := view(s.see(j.threads[s.name()])), view(want(s)); got != want {
				return fmt.Sprintf("%s shows\n%s\nand not\n%s", s.name(), got, want)
			}
		}
		return ""
	})
}

// mine says what is seen of Ana's message on the platform where she wrote it, and elsewhere.
func mine(on, s stand, text string) sight {
	if on.name() == s.name() {
		return sight{Text: text, signs: []string{delivered(s)}}
	}
	return sight{Own: true, Text: "Ana (" + capital(on.name()) + "): " + text}
}

// delivered is the sign of a message that the visitor's app has.
func delivered(s stand) string {
	if s.name() == "telegram" {
		return "👌"
	}
	return "✅"
}

func capital(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// quotes makes a reply to the message at a place what it is on a stand.
func replying(s stand, m sight, place, author, text string) sight {
	if s.name() == "slack" {
		m.Quote = author + ": " + text
	} else {
		m.ReplyTo = place
	}
	return m
}

// news is an operator's event as the app server got it.
type news struct {
	Type             string   `json:"type"`
	MessageID        string   `json:"messageId"`
	MessageIDs       []string `json:"messageIds"`
	Content          string   `json:"content"`
	SourceBridge     string   `json:"sourceBridge"`
	OperatorName     string   `json:"operatorName"`
	ReplyToMessageID string   `json:"replyToMessageId"`
	ReplyToNumber    int      `json:"replyToBridgeMessageId"` // of Telegram alone
	Reason           string   `json:"reason"`
	Attachments      []struct {
		Filename     string `json:"filename"`
		MimeType     string `json:"mimeType"`
		Size         int64  `json:"size"`
		URL          string `json:"url"`
		UploadedFrom string `json:"uploadedFrom"`
	} `json:"attachments"`
}

// heard returns what the app server was told of a session.
func heard(a *app, session, kind string) []news {
	var out []news
	for _, e := range a.of(kind) {
		var one news
		if e.SessionID == session && json.Unmarshal(e.body, &one) == nil {
			out = append(out, one)
		}
	}
	return out
}

// hears waits until the app server was told what is wanted, each as text by show.
func (j *journey) hears(kind string, show func(news) string, want ...string) error {
	return j.holds("the app's "+kind, func() string {
		var got []string
		for _, e := range heard(j.r.app, j.name, kind) {
			got = append(got, show(e))
		}
		if !slices.Equal(got, want) {
			return fmt.Sprintf("it was told %q, not %q", got, want)
		}
		return ""
	})
}

func asMessage(e news) string {
	out := e.MessageID + " of " + e.OperatorName + ": " + e.Content
	if e.ReplyToMessageID != "" {
		out += " in reply to " + e.ReplyToMessageID
	}
	if n := len(e.Attachments); n > 0 {
		out += fmt.Sprintf(" with %d files", n)
	}
	return out
}

func asChange(e news) string { return e.MessageID + ": " + e.Content }

func asRead(e news) string { return strings.Join(e.MessageIDs, " ") + " on " + e.SourceBridge }

// bare is a message's id on its platform.
func bare(id string) string {
	_, id, _ = strings.Cut(id, ":")
	return id
}

// fileServer is where the visitors' app keeps what they attach.
type fileServer struct {
	url   string
	mu    sync.Mutex
	files map[string]upload
	n     int
}

func newFileServer(t *testing.T) *fileServer {
	f := &fileServer{files: map[string]upload{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		u, ok := f.files[path.Dir(r.URL.Path)]
		f.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", u.typ)
		_, _ = w.Write(u.content)
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// attachment keeps a file and returns what a message says of it.
func (f *fileServer) attachment(u upload) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	dir := fmt.Sprint("/", f.n)
	f.files[dir] = u
	return map[string]any{
		"id": fmt.Sprint("a", f.n), "filename": u.name, "mimeType": u.typ, "size": len(u.content), "url": f.url + dir + "/" + u.name,
		"status": "ready", "uploadedFrom": "widget",
	}
}

// picture is a PNG file that no other one is like.
func picture(n int) upload {
	img := image.NewNRGBA(image.Rect(0, 0, 40+n, 30))
	for x := range img.Rect.Dx() {
		img.Set(x, n%30, color.NRGBA{R: uint8(7 * n), G: uint8(x), A: 255})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, img) // a buffer takes everything
	return upload{kind: "photo", name: fmt.Sprintf("shot-%d.png", n), typ: "image/png", content: b.Bytes()}
}

func paper() upload {
	return upload{kind: "document", name: "offer.pdf", typ: "application/pdf", content: []byte("%PDF-1.7\n% an offer that nobody can refuse\n%%EOF\n")}
}

func voice() upload {
	return upload{kind: "voice", name: "voice.ogg", typ: "audio/ogg", content: append([]byte("OggS\x00\x02"), bytes.Repeat([]byte("la "), 99)...)}
}

// longText is a text of 4000 characters.
func longText() string {
	var b strings.Builder
	for i := range 666 {
		fmt.Fprintf(&b, "w%04d ", i)
	}
	return b.String() + "end!"
}

const (
	emoji   = "😀👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️‍🔥 𝕏 é"
	rtl     = "שלום, עולם (123)! مرحبا، كيف الحال؟ and back"
	code    = "see:\n```go\nfmt.Println(\"<hi> & *you*\", a_b_c)\n```\nand `inline`"
	special = "<b>&amp;_*~|>@everyone"
	// markup is what means something on one platform or another, and nothing in a visitor's message.
	markup = special + " <!channel> <@U0SANDBOX> :smile: **b** __u__ ~~s~~ ||h|| [a](https://b.example) <a href=\"x\">\n> quote\n- item\n1. one\n# head\n" +
		"https://a.example/x_y_z?q=1&r=*2* @here @bridge_sandbox_bot \\_ end"
)

// ofText is a row for a text of each side.
func ofText(feature, variety, visitors, operators string) crossing {
	return crossing{
		feature: feature, variety: variety,
		visitor: func(j *journey) ([]string, error) {
			if err := j.writes("m1", visitors, nil); err != nil {
				return nil, err
			}
			return nil, j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: visitors}} })
		},
		operator: func(j *journey, on stand) (bool, bool, error) {
			id := on.say(j.threads[on.name()], operators)
			return false, false, errors.Join(
				j.hears("operator_message", asMessage, id+" of Ana: "+operators),
				j.shows(func(s stand) []sight {
					m := mine(on, s, operators)
					if sights := s.see(j.threads[s.name()]); s == on && len(sights) > 1 {
						m.Text = sights[1].Text // how the platform shows what she typed herself is its own affair
					}
					return []sight{hello(), m}
				}),
			)
		},
	}
}

// whole waits until every stand shows a long text behind the hello, in so many messages.
func (j *journey) whole(from int, parts map[string]int, text func(s stand) string) error {
	return j.holds("the long text", func() string {
		for _, s := range j.stands {
			sights := s.see(j.threads[s.name()])
			var pieces []string
			for _, one := range sights[min(from, len(sights)):] {
				if name, rest, ok := strings.Cut(one.Text, "): "); ok && len(pieces) > 0 && strings.HasPrefix(pieces[0], name+"): ") {
					one.Text = rest // a part that a webhook shows has the name above it again
				}
				pieces = append(pieces, one.Text)
			}
			got, want := strings.Fields(strings.Join(pieces, " ")), strings.Fields(text(s))
			if len(pieces) != parts[s.name()] || !slices.Equal(got, want) {
				return fmt.Sprintf("%s shows %d words of %d in %d messages", s.name(), len(got), len(want), len(pieces))
			}
		}
		return ""
	})
}

// ofFiles is a row for files.
func ofFiles(variety string, files ...upload) crossing {
	return crossing{
		feature: "Photos, documents, voice messages, albums", variety: variety,
		visitor: func(j *journey) ([]string, error) {
			var list []any
			var sums []string
			for _, f := range files {
				list, sums = append(list, j.files.attachment(f)), append(sums, sum(f.content))
			}
			if err := j.writes("m1", "look", map[string]any{"attachments": list}); err != nil {
				return nil, err
			}
			return nil, j.shows(func(s stand) []sight {
				return append([]sight{hello()}, withFiles(s, sight{Own: true, Text: "look"}, sums)...)
			})
		},
		operator: func(j *journey, on stand) (bool, bool, error) {
			ids := on.send(j.threads[on.name()], "look", files...)
			var want []string
			var sums []string
			for _, f := range files {
				sums = append(sums, sum(f.content))
			}
			for i, id := range ids {
				text := "look"
				if i > 0 {
					text = ""
				}
				want = append(want, fmt.Sprintf("%s:%s of Ana: %s with %d files", on.name(), id, text, len(files)/len(ids)))
			}
			if err := j.hears("operator_message", asMessage, want...); err != nil {
				return false, false, err
			}
			return false, false, errors.Join(j.downloads(files, on), j.shows(func(s stand) []sight {
				out := []sight{hello()}
				for i := range ids {
					part := sums[i*len(files)/len(ids) : (i+1)*len(files)/len(ids)]
					one := mine(on, s, map[bool]string{true: "look"}[i == 0])
					if on.name() == s.name() {
						one.Files = part
						out = append(out, one)
						continue
					}
					if i > 0 && s.name() != "slack" {
						one.Text = strings.TrimSpace(one.Text) // nothing stands behind the name
					}
					out = append(out, withFiles(s, one, part)...)
				}
				return out
			}))
		},
	}
}

// asFiles is how files are seen: on Telegram each in a message of its own.
func asFiles(s stand, sums []string) []sight {
	if s.name() != "telegram" {
		return []sight{{Own: true, Files: sums}}
	}
	var out []sight
	for _, one := range sums {
		out = append(out, sight{Own: true, Files: []string{one}})
	}
	return out
}

// withFiles is how a text and its files are seen: as one message, with those on Telegram that have one of their own behind it.
func withFiles(s stand, one sight, sums []string) []sight {
	if s.name() != "telegram" {
		one.Files = sums
		return []sight{one}
	}
	one.Files = sums[:1]
	return append([]sight{one}, asFiles(s, sums[1:])...)
}

// fetch gets what an address has.
func (r *rig) fetch(address string) (status int, content []byte, err error) {
	resp, err := r.client.Get(address)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err = io.ReadAll(resp.Body)
	return resp.StatusCode, content, err
}

// downloads gets an operator's files as the visitor's app does.
func (j *journey) downloads(files []upload, on stand) error {
	n := 0
	for _, e := range heard(j.r.app, j.name, "operator_message") {
		for _, a := range e.Attachments {
			f := files[n]
			n++
			var status int
			var got []byte
			var err error
			j.r.eventually(func() bool { // a busy machine's platform may be too late to answer, once
				status, got, err = j.r.fetch(a.URL)
				return err != nil || status != http.StatusGatewayTimeout
			})
			typ := f.typ
			if on.name() == "telegram" && f.kind == "photo" {
				typ = "image/jpeg" // Telegram makes every photo one
			}
			switch {
			case err != nil:
				return err
			case status != http.StatusOK || !bytes.Equal(got, f.content):
				return fmt.Errorf("GET %s: %d, %d bytes", f.name, status, len(got))
			case a.MimeType != typ || a.Size != int64(len(f.content)) || a.UploadedFrom != on.name() || a.Filename == "":
				return fmt.Errorf("%s is told as %+v", f.name, a)
			}
		}
	}
	if n != len(files) {
		return fmt.Errorf("%d files, not %d", n, len(files))
	}
	return nil
}

// crossings are the rows of the table.
func crossings() []crossing {
	return []crossing{
		ofText("Text", "", "Is it in stock?", "Yes, it is."),
		ofText("Text", "with emoji", emoji, emoji),
		ofText("Text", "from right to left", rtl, rtl),
		ofText("Text", "with code", code, code),
		ofText("Text", "with signs", special, special),
		ofText("Text", "with markup", markup, "1 < 2 && 3 > 2 \"quoted\" & more"),
		{
			feature: "Text", variety: "of 4000 characters",
			visitor: func(j *journey) ([]string, error) {
				if err := j.writes("m1", longText(), nil); err != nil {
					return nil, err
				}
				return nil, j.whole(1, map[string]int{"telegram": 1, "discord": 3, "slack": 2}, func(stand) string { return longText() })
			},
			operator: func(j *journey, on stand) (bool, bool, error) {
				id := on.say(j.threads[on.name()], longText())
				parts := map[string]int{"telegram": 1, "discord": 3, "slack": 2}
				parts[on.name()] = 1
				return false, false, errors.Join(j.hears("operator_message", asMessage, id+" of Ana: "+longText()),
					j.whole(1, parts, func(s stand) string { return mine(on, s, longText()).Text }))
			},
		},
		{
			feature: "Edits",
			visitor: func(j *journey) ([]string, error) {
				if err := j.writes("m1", "wrong", nil); err != nil {
					return nil, err
				}
				if err := j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: "wrong"}} }); err != nil {
					return nil, err
				}
				return nil, errors.Join(
					j.event("visitor_message_edited", map[string]any{"messageId": "m1", "content": markup, "editedAt": "2026-01-01T12:00:00Z"}),
					j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: markup, Edited: true}} }))
			},
			operator: func(j *journey, on stand) (bool, bool, error) {
				id := on.say(j.threads[on.name()], "wrong")
				if err := j.shows(func(s stand) []sight { return []sight{hello(), mine(on, s, "wrong")} }); err != nil {
					return false, false, err
				}
				on.edit(j.threads[on.name()], bare(id), special)
				return false, false, errors.Join(
					j.hears("operator_message_edited", asChange, id+": "+special),
					j.shows(func(s stand) []sight {
						m := mine(on, s, special)
						m.Edited = true
						return []sight{hello(), m}
					}))
			},
		},
		{
			feature: "Edits", variety: "of a long text, to a short one and back",
			visitor: func(j *journey) ([]string, error) {
				parts := map[string]int{"telegram": 1, "discord": 3, "slack": 2}
				if err := errors.Join(j.writes("m1", longText(), nil), j.whole(1, parts, func(stand) string { return longText() })); err != nil {
					return nil, err
				}
				delete(j.last, "the long text")
				if err := errors.Join(
					j.event("visitor_message_edited", map[string]any{"messageId": "m1", "content": "short"}),
					j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: "short", Edited: true}} })); err != nil {
					return nil, err
				}
				delete(j.last, "the threads")
				return nil, errors.Join(
					j.event("visitor_message_edited", map[string]any{"messageId": "m1", "content": longText()[6:] + " more"}),
					j.whole(1, map[string]int{"telegram": 1, "discord": 3, "slack": 2}, func(stand) string { return longText()[6:] + " more" }))
			},
		},
		{
			feature: "Edits", variety: "of the message that carries the card",
			visitor: func(j *journey) ([]string, error) {
				return nil, errors.Join(
					j.event("visitor_message_edited", map[string]any{"messageId": "m0", "content": "good day"}),
					j.shows(func(stand) []sight { return []sight{{Own: true, Text: "good day", Edited: true}} }), j.carded())
			},
		},
		{
			feature: "Deletions",
			visitor: func(j *journey) ([]string, error) {
				err := errors.Join(j.writes("m1", "secret", nil), j.writes("m2", "after it", nil),
					j.shows(func(stand) []sight {
						return []sight{hello(), {Own: true, Text: "secret"}, {Own: true, Text: "after it"}}
					}))
				if err != nil {
					return nil, err
				}
				return nil, errors.Join(j.event("visitor_message_deleted", map[string]any{"messageId": "m1"}),
					j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: "after it"}} }))
			},
			operator: func(j *journey, on stand) (bool, bool, error) {
				id := on.say(j.threads[on.name()], "secret")
				if err := j.shows(func(s stand) []sight { return []sight{hello(), mine(on, s, "secret")} }); err != nil {
					return false, false, err
				}
				on.remove(j.threads[on.name()], bare(id))
				if on.name() != "telegram" {
					return false, false, errors.Join(j.hears("operator_message_deleted", asChange, id+": "),
						j.shows(func(stand) []sight { return []sight{hello()} }))
				}
				// Telegram tells no bot of it: what is said later comes, and nothing before it.
				on.say(j.threads[on.name()], "later")
				return true, false, errors.Join(
					j.shows(func(s stand) []sight {
						out := []sight{hello(), mine(on, s, "secret"), mine(on, s, "later")}
						if s.name() == on.name() {
							out = slices.Delete(out, 1, 2)
						}
						return out
					}), j.hears("operator_message_deleted", asChange))
			},
		},
		{
			feature: "Deletions", variety: "of a message with files",
			visitor: func(j *journey) ([]string, error) {
				pic := picture(7)
				err := errors.Join(
					j.writes("m1", "look", map[string]any{"attachments": []any{j.files.attachment(pic), j.files.attachment(paper())}}),
					j.shows(func(s stand) []sight {
						return append([]sight{hello()}, withFiles(s, sight{Own: true, Text: "look"}, []string{sum(pic.content), sum(paper().content)})...)
					}))
				if err != nil {
					return nil, err
				}
				return nil, errors.Join(j.event("visitor_message_deleted", map[string]any{"messageId": "m1"}),
					j.shows(func(stand) []sight { return []sight{hello()} }))
			},
		},
		{
			feature: "Deletions", variety: "of a message of three days ago",
			visitor: func(j *journey) ([]string, error) {
				err := errors.Join(j.writes("m1", "secret", nil),
					j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: "secret"}} }))
				if err != nil {
					return nil, err
				}
				for _, s := range j.stands {
					if b, ok := s.(telegramBoard); ok {
						b.r.telegram.Backdate(b.find(j.threads["telegram"], s.see(j.threads["telegram"])[1].ID), 72*time.Hour)
					}
				}
				return nil, errors.Join(j.event("visitor_message_deleted", map[string]any{"messageId": "m1"}),
					j.shows(func(s stand) []sight {
						if s.name() != "telegram" {
							return []sight{hello()}
						}
						return []sight{hello(), {Own: true, Text: "secret"}, {Own: true, Text: "🗑 This message was deleted.", ReplyTo: "#1"}}
					}))
			},
		},
		{
			feature: "Deletions", variety: "of the message that carries the card",
			visitor: func(j *journey) ([]string, error) {
				err := errors.Join(j.writes("m1", "after it", nil),
					j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: "after it"}} }))
				if err != nil {
					return nil, err
				}
				return nil, errors.Join(j.event("visitor_message_deleted", map[string]any{"messageId": "m0"}),
					j.shows(func(stand) []sight { return []sight{{Own: true, Text: "after it"}} }), j.carded())
			},
		},
		{
			feature: "Replies to a message",
			visitor: func(j *journey) ([]string, error) {
				if err := j.writes("m1", "again", map[string]any{"replyTo": "m0"}); err != nil {
					return nil, err
				}
				return nil, j.shows(func(s stand) []sight {
					return []sight{hello(), replying(s, sight{Own: true, Text: "again"}, "#0", "Visitor", "hello")}
				})
			},
			operator: func(j *journey, on stand) (bool, bool, error) {
				first := ""
				for _, s := range on.see(j.threads[on.name()]) {
					first = s.ID
				}
				id := on.reply(j.threads[on.name()], first, "to that")
				want := on.name() + ":" + id + " of Ana: to that"
				native := on.name() != "slack"
				if native {
					want += " in reply to m0"
				}
				number := 0
				if on.name() == "telegram" {
					number, _ = strconv.Atoi(first)
				}
				return !native, false, errors.Join(j.hears("operator_message", func(e news) string {
					return asMessage(e) + map[bool]string{true: " with another number"}[e.ReplyToNumber != number]
				}, want), j.shows(func(s stand) []sight {
					m := mine(on, s, "to that")
					switch {
					case !native:
					case on.name() == s.name():
						m.ReplyTo = "#0"
					default:
						m = replying(s, m, "#0", "Visitor", "hello")
					}
					return []sight{hello(), m}
				}))
			},
		},
		{
			feature: "Replies to a message", variety: "of an operator",
			visitor: func(j *journey) ([]string, error) {
				on := j.stands[0]
				id := on.say(j.threads[on.name()], "which one?")
				if err := j.shows(func(s stand) []sight { return []sight{hello(), mine(on, s, "which one?")} }); err != nil {
					return nil, err
				}
				return nil, errors.Join(j.writes("m1", "the red one", map[string]any{"replyTo": id}), j.shows(func(s stand) []sight {
					m := mine(on, s, "which one?")
					author := "Ana (" + capital(on.name()) + ")"
					return []sight{hello(), m, replying(s, sight{Own: true, Text: "the red one"}, "#1", author, "which one?")}
				}))
			},
			operator: func(j *journey, on stand) (bool, bool, error) {
				if on.name() == "slack" {
					return true, false, nil
				}
				id := on.say(j.threads[on.name()], "first")
				second := on.reply(j.threads[on.name()], bare(id), "second")
				return false, false, errors.Join(
					j.hears("operator_message", asMessage, id+" of Ana: first", on.name()+":"+second+" of Ana: second in reply to "+id),
					j.shows(func(s stand) []sight {
						m := mine(on, s, "second")
						if s.name() == on.name() {
							m.ReplyTo = "#1"
						} else {
							m = replying(s, m, "#1", "Ana ("+capital(on.name())+")", "first")
						}
						return []sight{hello(), mine(on, s, "first"), m}
					}))
			},
		},
		ofFiles("a photo", picture(1)),
		ofFiles("a document", paper()),
		ofFiles("a voice message", voice()),
		ofFiles("an album", picture(2), picture(3)),
		{
			feature: "Delivered and read, as signs",
			visitor: func(j *journey) ([]string, error) {
				var ids []any
				said := map[string]string{}
				for _, s := range j.stands {
					said[s.name()] = "from " + s.name()
					ids = append(ids, s.say(j.threads[s.name()], said[s.name()]))
					if err := j.holds("its sign", func() string {
						for _, one := range s.see(j.threads[s.name()]) {
							if one.Text == said[s.name()] && slices.Equal(one.signs, []string{delivered(s)}) {
								return ""
							}
						}
						return "no sign of delivery on " + s.name()
					}); err != nil {
						return nil, err
					}
				}
				delete(j.last, "its sign")
				return nil, errors.Join(j.event("message_read", map[string]any{"messageIds": ids, "status": "read"}),
					j.holds("the signs", func() string {
						for _, s := range j.stands {
							for _, one := range s.see(j.threads[s.name()]) {
								want := []string{"👀"}
								if one.Own {
									want = nil
								}
								if !slices.Equal(one.signs, want) {
									return fmt.Sprintf("%s shows the signs %q at %q", s.name(), one.signs, one.Text)
								}
							}
						}
						return ""
					}))
			},
		},
		{
			feature: "Reactions, as read",
			operator: func(j *journey, on stand) (bool, bool, error) {
				on.react(j.threads[on.name()], on.see(j.threads[on.name()])[0].ID)
				return false, true, errors.Join(j.hears("message_read", asRead, "m0 on "+on.name()),
					j.shows(func(stand) []sight { return []sight{hello()} }))
			},
		},
		{
			feature: "Edits", variety: "right behind the message",
			visitor: func(j *journey) ([]string, error) {
				if err := j.writes("m1", "wrong", nil); err != nil {
					return nil, err
				}
				<-time.After(time.Millisecond)
				return nil, errors.Join(j.event("visitor_message_edited", map[string]any{"messageId": "m1", "content": "right"}), j.once("right"))
			},
		},
		{
			feature: "Edits", variety: "before the message",
			visitor: func(j *journey) ([]string, error) {
				return nil, errors.Join(
					j.event("visitor_message_edited", map[string]any{"messageId": "m1", "content": "right", "editedAt": "2026-01-01T12:00:00Z"}),
					j.writes("m1", "wrong", nil), j.once("right"))
			},
		},
		{
			feature: otherEvents, variety: "identity",
			visitor: func(j *journey) ([]string, error) {
				delete(j.last, "a thread everywhere") // they are found by their names
				session := fmt.Sprintf(`{"id":%q,"visitorId":%q,"identity":{"id":"u7","name":"Mia Li","email":"mia@b.example"}}`, j.name, j.name)
				return nil, errors.Join(j.post("/api/events", `{"type":"identity_update","session":`+session+`}`),
					j.holds("the card", func() string {
						for _, s := range j.stands {
							if card := s.card(j.threads[s.name()]); !strings.Contains(card, "Mia Li") || !strings.Contains(card, "mia@b.example") {
								return fmt.Sprintf("%s shows the card %q", s.name(), card)
							}
							if name := j.title(s); name != "Mia Li" && s.name() != "slack" { // whose threads have no names
								return fmt.Sprintf("%s calls the thread %q", s.name(), name)
							}
						}
						return ""
					}),
					j.shows(func(s stand) []sight {
						m := hello()
						m.Edited = s.name() == "telegram" // where it carries the card
						return []sight{m}
					}))
			},
		},
		{
			feature: otherEvents, variety: "one after the other",
			visitor: func(j *journey) ([]string, error) {
				session := j.sessionJSON()
				lines := []struct{ body, text string }{
					{`{"type":"custom_event","event":{"name":"order","data":{"total":42}},"session":` + session + `}`, "⚡ order · total: 42"},
					{`{"type":"ai_takeover","session":` + session + `,"reason":"nobody is there"}`, "🤖 The AI answers from here on: nobody is there"},
					{`{"type":"operator_message","session":` + session + `,"message":{"id":"ai1","sessionId":"` + j.name +
						`","content":"I am the AI.","sender":"ai"}}`, "AI: I am the AI."},
					{`{"type":"operator_message","session":` + session + `,"operatorName":"Ben","message":{"id":"in1","sessionId":"` + j.name +
						`","content":"From the inbox.","sender":"operator"}}`, "Ben (site): From the inbox."},
					{`{"type":"csat_submitted","session":` + session + `,"score":4,"comment":"quick"}`, "⭐ The visitor rates the conversation 4 of 5: quick"},
					{`{"type":"visitor_disconnect","session":` + session + `,"duration":95,"reason":"page_unload"}`, "👋 The visitor left after 95 s."},
				}
				want := []sight{hello()}
				for _, line := range lines {
					if err := j.post("/api/events", line.body); err != nil {
						return nil, err
					}
					want = append(want, sight{Own: true, Text: line.text})
				}
				return nil, errors.Join(j.shows(func(stand) []sight { return want }), j.holds("silence", func() string {
					for _, s := range j.stands {
						for _, one := range s.see(j.threads[s.name()]) {
							word := one.Text == "hello"                    // a colleague's copy and the AI's are silent
							if s.name() != "slack" && one.silent == word { // Slack has no silent messages
								return fmt.Sprintf("%s shows %q, silent: %v", s.name(), one.Text, one.silent)
							}
						}
					}
					return ""
				}))
			},
		},
		{
			feature: "Typing", quiet: true,
			visitor: func(j *journey) ([]string, error) {
				return []string{"slack"}, errors.Join(j.event("visitor_typing", map[string]any{"isTyping": true}),
					j.holds("typing", func() string {
						for _, s := range j.stands {
							if n := s.typings(j.threads[s.name()]); (n == 1) != (s.name() != "slack") {
								return fmt.Sprintf("%s shows typing %d times", s.name(), n)
							}
						}
						return ""
					}))
			},
			operator: func(j *journey, on stand) (bool, bool, error) {
				if !on.types(j.threads[on.name()]) {
					return true, true, nil
				}
				return false, true, errors.Join(
					j.hears("operator_typing", func(e news) string { return e.SourceBridge }, on.name()),
					j.holds("the other threads", func() string {
						for _, s := range j.stands {
							if n := s.typings(j.threads[s.name()]); n != 0 {
								return s.name() + " shows typing"
							}
						}
						return ""
					}))
			},
		},
	}
}

// once waits until every stand shows a message behind the hello once, edited or not.
func (j *journey) once(text string) error {
	return j.holds("the message", func() string {
		for _, s := range j.stands {
			sights := s.see(j.threads[s.name()])
			if len(sights) != 2 || sights[1].Text != text {
				return fmt.Sprintf("%s shows\n%s", s.name(), view(sights))
			}
		}
		return ""
	})
}

// title is the name of the session's thread.
func (j *journey) title(s stand) string {
	switch b := s.(type) {
	case telegramBoard:
		for _, topic := range b.r.telegram.Topics(b.r.chat) {
			if strconv.Itoa(topic.ID) == j.threads["telegram"] {
				return topic.Name
			}
		}
	case *discordBoard:
		thread, _ := b.server.Thread(j.threads["discord"])
		return thread.Name
	}
	return ""
}

// carded waits until the thread of a session whose first message is changed shows who the visitor is.
func (j *journey) carded() error {
	return j.holds("the card", func() string {
		for _, s := range j.stands {
			if card := s.card(j.threads[s.name()]); !strings.Contains(card, j.name) {
				return fmt.Sprintf("%s shows the card %q", s.name(), card)
			}
		}
		return ""
	})
}

// trip is a row, done by somebody.
type trip struct {
	crossing
	on  stand // nil: by the visitor
	j   *journey
	err error
	not []string
	// unheard and alone are what the crossing's operator returned.
	unheard, alone bool
}

func (tr *trip) name() string {
	who := "visitor"
	if tr.on != nil {
		who = tr.on.name()
	}
	return strings.TrimSpace(tr.feature+" "+tr.variety) + " by " + who
}

func (tr *trip) run() {
	if tr.err = tr.j.begin(); tr.err != nil {
		return
	}
	if tr.on == nil {
		tr.not, tr.err = tr.visitor(tr.j)
		return
	}
	tr.unheard, tr.alone, tr.err = tr.operator(tr.j, tr.on)
}

// note keeps what the trip has shown.
func (tr *trip) note(w works) {
	did := map[string]bool{}
	for _, s := range tr.j.stands {
		did[s.name()] = !slices.Contains(tr.not, s.name())
		if tr.on != nil {
			did[s.name()] = !tr.alone
		}
	}
	switch {
	case tr.on == nil:
		w.note(fromVisitor, tr.feature, did)
	case tr.unheard:
		w.note(toVisitor, tr.feature, map[string]bool{tr.on.name(): false})
		if tr.alone { // there is nothing that could be shown
			delete(did, tr.on.name())
			w.note(elsewhere, tr.feature, did)
		}
	default:
		w.note(toVisitor, tr.feature, map[string]bool{tr.on.name(): true})
		delete(did, tr.on.name())
		w.note(elsewhere, tr.feature, did)
	}
}

// tripsOf are all rows, done by the visitor and on each stand.
func tripsOf(r *rig, files *fileServer) []*trip {
	var stands []stand
	for _, b := range r.boards {
		stands = append(stands, b.(stand))
	}
	var out []*trip
	add := func(c crossing, on stand) {
		out = append(out, &trip{crossing: c, on: on, j: &journey{
			r: r, name: fmt.Sprint("trip-", len(out)), stands: stands, threads: map[string]string{}, files: files,
			last: map[string]func() string{},
		}})
	}
	for _, c := range crossings() {
		if c.visitor != nil {
			add(c, nil)
		}
		for _, on := range stands {
			if c.operator != nil {
				add(c, on)
			}
		}
	}
	return out
}

func TestAllThatTravels(t *testing.T) {
	shown := works{}
	for _, on := range [][]string{{"telegram", "discord text", "slack socket"}, {"discord forum", "slack events"}} {
		t.Run(strings.Join(on, ", "), func(t *testing.T) {
			r := newRig(t)
			r.use(on...)
			stores()["bolt"](t, r.env)
			faces := r.discordServer()
			faces.Allow("", discord.ManageWebhooks)
			r.start()
			r.listened(t)
			trips := tripsOf(r, newFileServer(t))
			var wg sync.WaitGroup
			for _, tr := range trips {
				if !tr.quiet {
					wg.Go(tr.run)
				}
			}
			wg.Wait()
			r.allLooked()
			if faces.Count("execute_webhook") == 0 {
				t.Error("nobody had a face on Discord")
			}
			faces.Deny("", discord.ManageWebhooks) // and all goes on
			for _, tr := range trips {
				if tr.quiet {
					tr.run()
					r.allLooked()
				}
			}
			for _, tr := range trips {
				t.Run(tr.name(), func(t *testing.T) {
					if tr.err != nil {
						t.Fatal(tr.err)
					}
					for key, check := range tr.j.last { // nothing came of it later
						if found := check(); found != "" {
							t.Errorf("in the end, %s: %s", key, found)
						}
					}
					tr.note(shown)
				})
			}
			if t.Failed() {
				t.Log(lastLines(r.process().Output(), 60))
			}
		})
	}
	if !t.Failed() {
		compareTable(t, shown)
	}
}

// A reply to a message that is shown but not recorded yet, since Telegram's answer is still on its way, is known as one.
func TestReplyAtOnce(t *testing.T) {
	r := newRig(t)
	stores()["bolt"](t, r.env)
	r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	b := j.stand("telegram")
	topic := j.threads["telegram"]
	held := make(chan struct{})
	r.telegram.Next("sendMessage", telegram.Action{HoldAnswer: held})
	no(t, j.writes("m1", "which one?", nil), j.shows(func(stand) []sight { return []sight{hello(), {Own: true, Text: "which one?"}} }))
	r.until("listening", r.telegram.Polling)
	b.reply(topic, b.see(topic)[1].ID, "the red one")
	b.react(topic, b.see(topic)[1].ID)
	r.until("at the bridge", func() bool { return !r.telegram.Polling() })
	close(held)
	no(t, j.holds("the reply", func() string {
		got := heard(r.app, j.name, "operator_message")
		return map[bool]string{false: "it is not known as one"}[len(got) == 1 && got[0].ReplyToMessageID == "m1"]
	}), j.hears("message_read", asRead, "m1 on telegram"))
}

// listened waits until the bridge hears what is done on every stand: what is done before cannot all be caught up on.
func (r *rig) listened(t *testing.T) {
	t.Helper()
	j := r.newJourney("first")
	no(t, j.begin())
	for i, s := range j.stands {
		s.say(j.threads[s.name()], "here")
		no(t, j.holds("what Ana says", func() string {
			return map[bool]string{false: "it did not come"}[len(heard(r.app, j.name, "operator_message")) > i]
		}))
	}
}

// compareTable holds the table of docs/guarantees.md against what was shown.
func compareTable(t *testing.T, shown works) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(raw), "\n## What travels\n")
	if !ok {
		t.Fatal("docs/guarantees.md has no section of what travels")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	said := works{}
	direction := ""
	var platforms []string
	for line := range strings.SplitSeq(section, "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch name := strings.Trim(cells[0], "*"); {
		case cells[0] == "":
			platforms = cells[1:]
		case name != cells[0]:
			direction = name
		default:
			for i, cell := range cells[1:] {
				said.note(direction, name, map[string]bool{strings.ToLower(platforms[i]): strings.HasPrefix(cell, "✓")})
			}
		}
	}
	for _, pair := range []struct {
		a, b works
		what string
	}{{shown, said, "docs/guarantees.md does not say so"}, {said, shown, "it was not shown"}} {
		for direction, features := range pair.a {
			for feature, on := range features {
				for platform, does := range on {
					if other, ok := pair.b[direction][feature][platform]; !ok || other != does {
						t.Errorf("%s: %s, %s: %v, and %s", direction, feature, platform, does, pair.what)
					}
				}
			}
		}
	}
}
