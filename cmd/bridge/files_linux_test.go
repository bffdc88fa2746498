package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
	"github.com/pocketping/bridge/internal/sandbox/telegram"
)

// highWater returns the most memory that a process has had, in bytes.
func highWater(t *testing.T, p *proc) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+([0-9]+) kB`).FindSubmatch(raw)
	if m == nil {
		t.Fatalf("no VmHWM in %s", raw)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// raced says whether the race detector is in this program; then its memory says nothing.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// blob is so many bytes that look like nothing.
func blob(seed uint64, size int) []byte {
	out := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), 1}).Read(out)
	return out
}

// answered is what a request was answered with.
type answered struct {
	code int
	head http.Header
	sum  string
	size int64
	body []byte // its beginning
}

// get asks for a file, or for a part of it, and keeps nothing of it but its sum and its beginning.
func (j *journey) get(t *testing.T, address, span string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	no(t, err)
	if span != "" {
		req.Header.Set("Range", span)
	}
	resp, err := j.r.client.Do(req)
	no(t, err)
	defer func() { _ = resp.Body.Close() }()
	var head bytes.Buffer
	h := sha256.New()
	n, err := io.CopyN(io.MultiWriter(h, &head), resp.Body, 4096)
	if err == nil {
		var more int64
		more, err = io.Copy(h, resp.Body)
		n += more
	}
	if err != nil && err != io.EOF { //nolint:errorlint // io.CopyN returns io.EOF itself
		t.Fatal(err)
	}
	return answered{resp.StatusCode, resp.Header, fmt.Sprintf("%x", h.Sum(nil)[:6]), n, head.Bytes()}
}

// Large files go both ways and through no more memory than small ones.
func TestLargeFiles(t *testing.T) {
	const big, less = 20_000_000, 9_500_000
	r := newRig(t, telegram.Options{KeepFile: 1})
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	p := r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	// What a first file needs is there before the measurement begins.
	small := upload{name: "small.bin", typ: "application/octet-stream", content: blob(1, 100_000)}
	no(t, j.writes("small", "small", map[string]any{"attachments": []any{j.files.attachment(small)}}),
		j.shows(func(s stand) []sight {
			return append([]sight{hello()}, withFiles(s, sight{Own: true, Text: "small"}, []string{sum(small.content)})...)
		}))
	before := highWater(t, p)
	grown := func(what string) {
		t.Helper()
		now := highWater(t, p)
		t.Logf("%s: %.1f MB of memory at most, %.1f MB before", what, float64(now)/1e6, float64(before)/1e6)
		if now-before >= 16<<20 && !raced() {
			t.Errorf("%s: the most memory has grown from %d to %d bytes", what, before, now)
		}
	}

	one := upload{name: "backup.bin", typ: "application/octet-stream", content: blob(2, big)}
	two := upload{name: "log.bin", typ: "application/octet-stream", content: blob(3, less)}
	first, second := j.files.attachment(one), j.files.attachment(two)
	no(t, j.writes("large", "large", map[string]any{"attachments": []any{first, second}}),
		j.shows(func(s stand) []sight {
			out := append([]sight{hello()}, withFiles(s, sight{Own: true, Text: "small"}, []string{sum(small.content)})...)
			if s.name() == "discord" {
				line := fmt.Sprintf("large\n📎 backup.bin (20.0 MB): %s", first["url"])
				return append(out, withFiles(s, sight{Own: true, Text: line}, []string{sum(two.content)})...)
			}
			return append(out, withFiles(s, sight{Own: true, Text: "large"}, []string{sum(one.content), sum(two.content)})...)
		}))
	grown("up")

	for _, c := range []struct {
		on   string
		size int
		typ  string
	}{{"telegram", big, "application/zip"}, {"slack", big, "application/zip"}, {"discord", less, "application/zip"}} {
		on, before := j.stand(c.on), len(heard(r.app, j.name, "operator_message"))
		file := upload{kind: "document", name: "export.zip", typ: c.typ, content: blob(uint64(len(c.on)), c.size)}
		on.send(j.threads[c.on], "", file)
		no(t, j.holds("the operator's file", func() string {
			return map[bool]string{false: "it did not come"}[len(heard(r.app, j.name, "operator_message")) == before+1]
		}))
		a := heard(r.app, j.name, "operator_message")[before].Attachments[0]
		if got := j.get(t, a.URL, ""); got.code != http.StatusOK || got.sum != sum(file.content) || got.size != int64(c.size) {
			t.Errorf("from %s came %d, %d bytes", c.on, got.code, got.size)
		}
		from, to := c.size/2+1, c.size/2+1_000_000
		got := j.get(t, a.URL, fmt.Sprintf("bytes=%d-%d", from, to))
		if got.code != http.StatusPartialContent || got.sum != sum(file.content[from:to+1]) ||
			got.head.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", from, to, c.size) {
			t.Errorf("of a part from %s came %d, %d bytes, %q", c.on, got.code, got.size, got.head.Get("Content-Range"))
		}
		grown("back from " + c.on)
	}
	// Meanwhile they went across, too: whole, or as a line where they are too big.
	no(t, j.holds("the operators' files elsewhere", func() string {
		for _, s := range j.stands {
			n := 0
			for _, one := range s.see(j.threads[s.name()]) {
				if one.Own {
					n += len(one.Files)
				}
			}
			lines := strings.Count(view(s.see(j.threads[s.name()])), "export.zip (20.0 MB): http://localhost:")
			if want := map[string][2]int{"telegram": {5, 0}, "slack": {5, 0}, "discord": {2, 2}}[s.name()]; n != want[0] || lines != want[1] {
				return fmt.Sprintf("%s shows %d files and %d lines", s.name(), n, lines)
			}
		}
		return ""
	}))
	grown("across")
}

// What cannot be uploaded is a line with name, size and link, and the message is shown all the same.
func TestFilesThatStayBehind(t *testing.T) {
	r := newRig(t)
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	attachment := func(name, url string, size int) map[string]any {
		return map[string]any{"id": name, "filename": name, "mimeType": "application/pdf", "size": size, "url": url}
	}
	huge := attachment("huge.pdf", j.files.url+"/huge", 3_000_000_000)
	long := j.files.attachment(upload{name: "long.bin", typ: "application/octet-stream", content: make([]byte, 26<<20+1)})
	long["size"] = 1000 // which is not so
	gone := attachment("gone.pdf", j.files.url+"/gone", 1234)
	nobody := attachment("nobody.pdf", "http://127.0.0.1:1/nobody.pdf", 5000)
	secret := attachment("secret.pdf", "http://169.254.169.254/latest/meta-data", 100)
	fine := paper()
	no(t, j.writes("m1", "see", map[string]any{"attachments": []any{huge, long, gone, nobody, secret, j.files.attachment(fine)}}),
		j.shows(func(s stand) []sight {
			lines := fmt.Sprintf("see\n📎 huge.pdf (3.0 GB): %s\n📎 long.bin (1 kB): %s\n📎 gone.pdf (1 kB): %s\n"+
				"📎 nobody.pdf (5 kB): http://127.0.0.1:1/nobody.pdf\n📎 secret.pdf (100 B): http://169.254.169.254/latest/meta-data",
				huge["url"], long["url"], gone["url"])
			return append([]sight{hello()}, withFiles(s, sight{Own: true, Text: lines}, []string{sum(fine.content)})...)
		}))
	// An edit leaves none of the lines out.
	no(t, j.event("visitor_message_edited", map[string]any{"messageId": "m1", "content": "look"}),
		j.holds("the lines", func() string {
			for _, s := range j.stands {
				text := view(s.see(j.threads[s.name()]))
				for _, part := range []string{`"look\n`, "huge.pdf (3.0 GB)", "long.bin (", "gone.pdf (", "nobody.pdf (", "secret.pdf ("} {
					if strings.Count(text, part) != 1 {
						return fmt.Sprintf("%s shows\n%s", s.name(), text)
					}
				}
			}
			return ""
		}))
	// An operator's file that Telegram gives to no bot is told by its name.
	tg := j.stand("telegram").(telegramBoard)
	topic, _ := strconv.Atoi(j.threads["telegram"])
	m := r.telegram.Upload(telegram.Upload{Chat: r.chat, Topic: topic, User: r.ana.ID, Name: "film.mov", Type: "video/quicktime",
		Caption: "the film", Reader: bytes.NewReader(nil), Size: 25 << 20})
	no(t, j.hears("operator_message", asMessage, fmt.Sprintf("%s:%d of Ana: the film\n[file: film.mov, too big to pass on (26.2 MB)]", tg.name(), m.ID)))
	if strings.Contains(r.process().Output(), "169.254.169.254") {
		t.Error("the log shows the file's address")
	}
}

// secrets are what nobody outside may read: tokens, and the addresses of files at their platforms.
func (r *rig) secrets() []string {
	out := []string{r.telegram.Token(), r.telegramURL, "/file/bot", "/files-pri/", "/attachments/", "xoxb-", "xapp-"}
	for _, b := range r.boards {
		switch b := b.(type) {
		case *discordBoard:
			out = append(out, b.server.Token(), b.base)
		case *slackBoard:
			out = append(out, b.server.BotToken(), b.server.AppToken(), b.base)
		}
	}
	return out
}

// showsNo looks for what nobody may read.
func (r *rig) showsNo(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range r.secrets() {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows %q:\n%s", where, secret, text)
		}
	}
}

// A link to an operator's file says what it is good for and no more, and whatever becomes of it, no token and no address of a
// platform is shown.
func TestFileLinks(t *testing.T) {
	r := newRig(t)
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	var links []string
	for i, s := range j.stands {
		s.send(j.threads[s.name()], "", upload{kind: "document", name: "page.html", typ: "text/html", content: []byte("<script>alert(1)</script>")})
		no(t, j.holds("the file", func() string {
			return map[bool]string{false: "it did not come"}[len(heard(r.app, j.name, "operator_message")) == i+1]
		}))
		got := heard(r.app, j.name, "operator_message")[i]
		links = append(links, got.Attachments[0].URL)
	}
	for _, e := range r.app.of("operator_message") {
		r.showsNo(t, "the callback", string(e.body))
	}
	for i, link := range links {
		on := j.stands[i].name()
		signed := path.Base(link)
		raw, err := base64.RawURLEncoding.DecodeString(signed)
		no(t, err)
		r.showsNo(t, "the link", string(raw))
		got := j.get(t, link, "")
		if got.code != http.StatusOK || string(got.body) != "<script>alert(1)</script>" || got.head.Get("Content-Type") != "application/octet-stream" ||
			!strings.HasPrefix(got.head.Get("Content-Disposition"), "attachment") || got.head.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("a page from %s: %d %v", on, got.code, got.head)
		}
		base := strings.TrimSuffix(link, signed)
		forged := bytes.Clone(raw)
		forged[3] ^= 1
		for name, address := range map[string]string{
			"changed": base + base64.RawURLEncoding.EncodeToString(forged), "cut": link[:len(link)-4], "empty": base + "x",
			"long": base + strings.Repeat("A", 5000),
		} {
			if got := j.get(t, address, ""); got.code != http.StatusForbidden || got.head.Get("Content-Type") != "application/json" {
				t.Errorf("a %s link of %s: %d %s", name, on, got.code, got.body)
			}
		}
	}
	// The platforms fail in every way, and are asked again each time.
	faults := []stage.Action{
		stage.Page(http.StatusInternalServerError), stage.Page(http.StatusNotFound), stage.Redirect(http.StatusFound, r.telegramURL+"/file/bot"),
		{DropBefore: true}, {DropAfter: true}, {Status: http.StatusUnauthorized, Body: "no " + r.telegram.Token()},
	}
	for _, a := range faults {
		for _, method := range []string{"file", "getFile"} {
			r.telegram.Next(method, a)
		}
		j.stand("discord").(*discordBoard).server.Next("attachment", a)
		j.stand("slack").(*slackBoard).server.Next("download", a)
		for i, link := range links {
			got := j.get1(t, link)
			if got.code == http.StatusOK && j.stands[i].name() == "telegram" {
				t.Errorf("%s answered with %d", j.stands[i].name(), got.code)
			}
			r.showsNo(t, "an answer", fmt.Sprint(got.head, string(got.body)))
		}
	}
	for _, link := range links { // getFile's faults are used up before those of the file itself
		for range faults {
			_ = j.get1(t, link)
		}
		if got := j.get(t, link, ""); got.code != http.StatusOK {
			t.Errorf("in the end %d", got.code)
		}
	}
	// What was deleted at the platform is not there any more.
	sl := j.stand("slack").(*slackBoard)
	for _, f := range sl.server.Files() {
		sl.server.DeleteFile(f.ID)
	}
	for _, one := range j.stand("discord").see(j.threads["discord"]) {
		if !one.Own {
			j.stand("discord").remove(j.threads["discord"], one.ID)
		}
	}
	for i, link := range links[1:] {
		if got := j.get(t, link, ""); got.code != http.StatusNotFound {
			t.Errorf("a deleted file of %s: %d %s", j.stands[i+1].name(), got.code, got.body)
		}
	}
	log := r.process().Output()
	r.showsNo(t, "the log", log)
	for _, link := range links {
		if strings.Contains(log, path.Base(link)) {
			t.Error("the log shows a link")
		}
	}
	if !strings.Contains(log, "an operator's file cannot be handed out") {
		t.Error("the log does not tell of the faults")
	}

	// A link does not work for ever.
	r.env["FILE_LINK_TTL"] = "1s"
	r.process().Kill()
	r.start()
	j.stand("telegram").send(j.threads["telegram"], "", paper())
	no(t, j.holds("another file", func() string {
		return map[bool]string{false: "it did not come"}[len(heard(r.app, j.name, "operator_message")) == len(links)+1]
	}))
	last := heard(r.app, j.name, "operator_message")[len(links)].Attachments[0].URL
	r.until("expired", func() bool { return j.get(t, last, "").code == http.StatusGone })
	if got := j.get(t, r.process().base+"/files/"+path.Base(links[0]), ""); got.code != http.StatusOK {
		t.Errorf("a link from before the restart: %d %s", got.code, got.body)
	}
}

// get1 is get where the answer may break off.
func (j *journey) get1(t *testing.T, address string) answered {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	no(t, err)
	resp, err := j.r.client.Do(req)
	if err != nil {
		return answered{}
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body) // as far as it came
	return answered{code: resp.StatusCode, head: resp.Header, body: body}
}

// Of a visitor's message that a platform refuses the app is told, and the operators everywhere; of an operator's message that the
// app refuses, the operator is told where it was written.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.use("telegram", "discord text", "slack socket")
	stores()["bolt"](t, r.env)
	refusing := newGate(t, r.app)
	r.env["BACKEND_WEBHOOK_URL"] = refusing.url
	r.start()
	j := r.newJourney("mia")
	no(t, j.begin())
	asReceipt := func(e news) string {
		return e.MessageID + " on " + e.SourceBridge + map[bool]string{true: ": " + e.Reason}[e.Reason != ""]
	}
	sorted := func(kind string, want ...string) error {
		return j.holds("the app's "+kind, func() string {
			var got []string
			for _, e := range heard(r.app, j.name, kind) {
				got = append(got, asReceipt(e))
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Sprintf("it was told %q, not %q", got, want)
			}
			return ""
		})
	}
	no(t, sorted("message_delivered", "m0 on discord", "m0 on slack", "m0 on telegram"))

	sl := j.stand("slack").(*slackBoard)
	sl.server.On("chat.postMessage", func(c stage.Call) stage.Action {
		if strings.Contains(c.Params["text"], "cursed") {
			return slack.Fail("restricted_action_thread_locked_by_a_test")
		}
		return stage.Action{}
	})
	refused := func(s stand) []sight {
		warning := sight{Own: true, Text: "⚠️ A message of the visitor's is not shown on Slack (restricted_action_thread_locked_by_a_test). " +
			"Read it in the app; whoever runs the bridge can send it again."}
		if s.name() == "slack" {
			return []sight{hello(), warning}
		}
		return []sight{hello(), {Own: true, Text: "cursed words"}, warning}
	}
	no(t, j.writes("m1", "cursed words", nil), j.shows(refused))
	no(t, j.writes("m2", "after them", nil), j.shows(func(s stand) []sight {
		return append(refused(s), sight{Own: true, Text: "after them"})
	}))
	no(t, sorted("message_failed", "m1 on slack: rejected: restricted_action_thread_locked_by_a_test"),
		sorted("message_delivered", "m0 on discord", "m0 on slack", "m0 on telegram", "m1 on discord", "m1 on telegram",
			"m2 on discord", "m2 on slack", "m2 on telegram"))

	for _, on := range j.stands {
		quiet := r.newJourney("for-" + on.name())
		no(t, quiet.begin())
		text := "refuse this from " + on.name()
		refusing.refuse(text)
		id := on.say(quiet.threads[on.name()], text)
		no(t, quiet.shows(func(s stand) []sight {
			m := mine(on, s, text)
			if s.name() != on.name() {
				return []sight{hello(), m}
			}
			m.signs = nil // the visitor's app does not have it
			warning := replying(s, sight{Own: true, Text: "⚠️ The visitor does not see this message: the app did not take it " +
				"(the receiver answered 422). Write it in another way, or ask whoever runs the app."}, "#1", "Ana", text)
			return []sight{hello(), m, warning}
		}))
		refusing.refuse("changed")
		on.edit(quiet.threads[on.name()], bare(id), "changed")
		no(t, quiet.holds("the second warning", func() string {
			got := view(on.see(quiet.threads[on.name()]))
			return map[bool]string{false: got}[strings.Contains(got, "may still see this message as it was")]
		}))
	}
	r.allLooked()
	if n := len(heard(r.app, j.name, "answer")); n != 0 {
		t.Errorf("the app was told of %d warnings", n)
	}
}

// gate is in front of an app server and refuses what it is told to.
type gate struct {
	url string

	mu      sync.Mutex
	refused []string
}

func newGate(t *testing.T, a *app) *gate {
	g := &gate{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var e news
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		g.mu.Lock()
		refused := err == nil && slices.Contains(g.refused, e.Content)
		g.mu.Unlock()
		if refused {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		a.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	g.url = srv.URL
	return g
}

// refuse has a content refused from now on.
func (g *gate) refuse(content string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = append(g.refused, content)
}
