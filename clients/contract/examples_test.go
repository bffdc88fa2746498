//go:build clients && examples

package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/pocketping/bridge/internal/sandbox/discord"
	"github.com/pocketping/bridge/internal/sandbox/program"
	"github.com/pocketping/bridge/internal/sandbox/slack"
)

// The scripts: what they send arrives in order although the bridge is away in between, and they get what operators answer, once.
func TestScripts(t *testing.T) {
	p := build(t)
	for _, language := range []string{"php", "python"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, p, "")
			r.startBridge()
			port := program.FreePort(t)
			dir, err := filepath.Abs("../../examples/" + language)
			if err != nil {
				t.Fatal(err)
			}
			base, spool := "http://127.0.0.1:"+port, filepath.Join(t.TempDir(), "spool")
			env := []string{"BRIDGE_URL=" + r.proxy.url, "BRIDGE_API_KEY=" + apiKey, "SPOOL=" + spool, "PORT=" + port}
			command, ready := []string{"python3", "bridge.py"}, "listening"
			if language == "php" {
				command, ready = []string{"php", "-S", "127.0.0.1:" + port, "bridge.php"}, "started"
			}
			start(t, ready, env, dir, command...)
			if language == "php" {
				registers := exec.Command("php", "bridge.php", "register", base+"/pocketping/callback")
				registers.Dir, registers.Env = dir, append(os.Environ(), env...)
				if out, err := registers.CombinedOutput(); err != nil {
					t.Fatalf("it cannot be registered: %v %s", err, out)
				}
				resp, err := http.Post(base+"/pocketping/callback", "application/json", strings.NewReader(`{"type":"operator_message"}`))
				if err != nil {
					t.Fatal(err)
				}
				if _ = resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("a callback without a signature is answered with %d", resp.StatusCode)
				}
			}
			s := &scene{rig: r, t: t, session: "visitor-" + language, visitor: "visitor-" + language, base: base, app: &program.Process{}}
			post := func(path, body string) map[string]any {
				t.Helper()
				resp, err := http.Post(base+path, "application/json", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				text, _ := io.ReadAll(resp.Body)
				var out map[string]any
				if resp.StatusCode != http.StatusOK || json.Unmarshal(text, &out) != nil {
					t.Fatalf("POST %s: %d %s", path, resp.StatusCode, text)
				}
				return out
			}
			say := func(text string) string {
				id, _ := post("/message", fmt.Sprintf(`{"session":%q,"text":%q}`, s.session, text))["id"].(string)
				return id
			}
			id := say("one")
			post("/edit", fmt.Sprintf(`{"session":%q,"id":%q,"text":"one, edited"}`, s.session, id))
			post("/edit", fmt.Sprintf(`{"session":%q,"id":%q,"text":"one, edited twice"}`, s.session, id))
			s.until("in the topic", func() bool { return strings.Contains(s.threadText(), "one, edited twice") })

			r.proxy.set(false, true) // taken, and the answer is lost
			say("two")
			r.proxy.set(true, false)
			say("three")
			r.proxy.set(false, false)
			say("four")
			s.until("all of it accepted", func() bool { return len(r.proxy.accepted(s.session)) >= 6 })
			var got []string
			for _, e := range r.proxy.accepted(s.session) {
				got = append(got, fmt.Sprint(asMap(e["message"])["content"], e["content"]))
			}
			want := []string{
				"one<nil>", "<nil>one, edited", "<nil>one, edited twice", "two<nil>", "three<nil>", "four<nil>",
			}
			if !slices.Equal(got, want) {
				t.Errorf("the bridge took %q", got)
			}

			answers := func() (out []map[string]any) {
				resp, err := http.Get(base + "/answers")
				if err == nil {
					defer func() { _ = resp.Body.Close() }()
					_ = json.NewDecoder(resp.Body).Decode(&out)
				}
				return out
			}
			r.telegram.Say(r.chat, s.findTopic(), r.ana, "An answer")
			s.until("the answer is there", func() bool { return len(answers()) == 1 })
			r.telegram.Say(r.chat, s.findTopic(), r.ana, "Another")
			s.until("the other is there", func() bool { return len(answers()) == 2 })
			if a := answers(); a[0]["text"] != "An answer" || a[1]["text"] != "Another" || a[0]["session"] != s.session {
				t.Errorf("the answers are %v", a)
			}
		})
	}
}

// tab is a page in a browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func (p *tab) eval(js string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, hung)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => String(await ("+js+")))()", chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return out
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) until(what, js string) {
	p.t.Helper()
	until(p.t, what, func() string { return p.eval("document.body.innerText") }, func() bool {
		return p.eval("(() => { try { return !!("+js+") } catch { return false } })()") == "true" // what is looked at may not be there yet
	})
}

func (p *tab) shows(text string) {
	p.t.Helper()
	p.until("on the page: "+text, "[...document.querySelectorAll('#messages li')].some((e) => e.innerText.includes("+strconv.Quote(text)+"))")
}

// write types a message as a visitor does, and sends it.
func (p *tab) write(text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), text))
	p.eval("document.querySelector('#write').requestSubmit()")
}

// press presses a button of the message that shows a text.
// The platforms may show a message before the page that wrote it does: its own request is answered last.
func (p *tab) press(text, button string) {
	p.t.Helper()
	found := "[...document.querySelectorAll('#messages li')].find((e) => e.querySelector('.text').innerText === " + strconv.Quote(text) +
		").querySelector('button." + button + "')"
	p.until("the button "+button+" of: "+text, found)
	p.eval(found + ".click()")
}

// The example with a page, in a browser: three apps show what the visitor writes, and the visitor sees what each answers.
func TestPages(t *testing.T) {
	p := build(t, "example go")
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox does not run as root
	}
	browser, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	browser, end = chromedp.NewContext(browser)
	t.Cleanup(end)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("no Chromium: %v\nmake test-examples installs it, or says how", err)
	}
	for _, example := range []string{"express", "go"} {
		t.Run(example, func(t *testing.T) {
			r := newRig(t, p, "")
			r.addSlack()
			r.startBridge()
			port := program.FreePort(t)
			dir, err := filepath.Abs("../../examples/" + example)
			if err != nil {
				t.Fatal(err)
			}
			command := p.apps["example go"]
			if example == "express" {
				command = []string{"node", "server.mjs"}
			}
			base := "http://127.0.0.1:" + port
			app := start(t, "the shop is at", []string{"BRIDGE_URL=" + r.proxy.url, "BRIDGE_API_KEY=" + apiKey, "PORT=" + port, "BASE_URL=" + base}, dir, command...)
			ctx, end := chromedp.NewContext(browser)
			t.Cleanup(end)
			page := &tab{t, ctx}
			page.do(chromedp.Navigate(base + "/?name=Mia-" + example))
			page.until("connected", "document.body.dataset.ready")
			s := &scene{rig: r, t: t, visitor: "Mia-" + example, base: base, app: app}
			s.session = page.eval("localStorage.session")
			walk(s, page)
			latency(s, page)
			page.do(chromedp.Navigate("about:blank")) // leaving
			s.until("left", func() bool {
				return slices.ContainsFunc(r.proxy.accepted(s.session), func(e map[string]any) bool { return e["type"] == "visitor_disconnect" })
			})
			app.Exit()
			if code := app.Cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("it ended with %d: %s", code, app.Output())
			}
		})
	}
}

func (s *scene) discordText() string {
	var out strings.Builder
	for _, m := range s.discord.Messages(s.thread()) {
		out.WriteString(m.Text + "\n")
		for _, f := range m.Files {
			out.WriteString("[" + f.Name + "]\n")
		}
	}
	return strings.ReplaceAll(out.String(), `\`, "")
}

// slackThread is the visitor's thread on Slack.
func (s *scene) slackThread() (ts string) {
	s.until("a thread on Slack", func() bool {
		for _, m := range s.slack.Parents(s.room) {
			if strings.Contains(m.Plain, s.visitor) {
				ts = m.TS
			}
		}
		return ts != ""
	})
	return ts
}

func (s *scene) slackText() string {
	var out strings.Builder
	for _, m := range s.slack.Messages(s.room, s.slackThread()) {
		out.WriteString(m.Plain + "\n")
	}
	return out.String()
}

func (s *scene) three(text string) {
	s.t.Helper()
	s.until("on Telegram: "+text, func() bool { return strings.Contains(s.threadText(), text) })
	s.until("on Discord: "+text, func() bool { return strings.Contains(s.discordText(), text) })
	s.until("on Slack: "+text, func() bool { return strings.Contains(s.slackText(), text) })
}

func (s *scene) took(kind string) {
	s.t.Helper()
	s.until("taken: "+kind, func() bool {
		return slices.ContainsFunc(s.proxy.accepted(s.session), func(e map[string]any) bool { return e["type"] == kind })
	})
}

func walk(s *scene, page *tab) {
	s.t.Helper()
	page.write("Do you ship to Norway?")
	s.three("Do you ship to Norway?")
	s.took("visitor_typing")
	page.until("delivered", "document.querySelector('li.visitor').dataset.status === 'delivered'")

	s.telegram.Say(s.chat, s.findTopic(), s.ana, "From Telegram: yes")
	page.shows("From Telegram: yes")
	question := s.discord.Say(s.thread(), s.ben, "From Discord: where to?")
	page.shows("From Discord: where to?")
	answer := s.slack.Send(slack.Post{Channel: s.room, ThreadTS: s.slackThread(), User: s.cleo, Text: "From Slack: three days"})
	page.shows("From Slack: three days")
	s.three("From Slack: three days")
	page.until("somebody is there", "document.querySelector('#presence').innerText === 'Active now'")
	s.took("message_read")

	page.press("From Discord: where to?", "reply")
	page.write("To Oslo")
	s.three("To Oslo")
	replied := slices.ContainsFunc(s.discord.Messages(s.thread()), func(m discord.Message) bool {
		return m.ReplyTo == question.ID && strings.Contains(m.Text, "To Oslo")
	})
	if !replied {
		s.t.Error("on Discord the reply is none")
	}
	page.press("To Oslo", "edit")
	page.eval("document.querySelector('#text').value = ''")
	page.write("To Bergen")
	s.three("To Bergen")
	page.shows("To Bergen edited")
	page.write("Never mind")
	s.three("Never mind")
	page.press("Never mind", "delete")
	page.shows("Message deleted")
	s.until("gone on Discord", func() bool { return !strings.Contains(s.discordText(), "Never mind") })
	s.until("gone on Slack", func() bool { return !strings.Contains(s.slackText(), "Never mind") })

	s.discord.Edit(question, "From Discord: where to, exactly?")
	page.shows("From Discord: where to, exactly?")
	s.slack.Delete(answer)
	page.until("gone on the page", "![...document.querySelectorAll('li.operator')].some((e) => e.innerText.includes('three days'))")
	s.discord.Typing(s.thread(), s.ben)
	page.until("typing", "!document.querySelector('#typing').hidden")

	page.eval(`(() => { const all = new DataTransfer(); all.items.add(new File(['hello'], 'address.txt', { type: 'text/plain' }));
		document.querySelector('#file').files = all.files; document.querySelector('#write').requestSubmit(); })()`)
	page.shows("address.txt")
	s.until("the file on Discord", func() bool { return strings.Contains(s.discordText(), "address.txt") })
	s.discord.Upload(s.thread(), s.ben, "The label", discord.File{Name: "label.txt", Content: []byte("a label")})
	page.shows("label.txt")
	resp, err := http.Get(page.eval("[...document.querySelectorAll('li.operator a')].find((a) => a.innerText === 'label.txt').href"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if data, _ := io.ReadAll(resp.Body); string(data) != "a label" {
		s.t.Errorf("the operator's file is %d %s", resp.StatusCode, data)
	}

	s.telegram.Say(s.chat, s.findTopic(), s.ana, "/csat")
	page.until("asked for a rating", "!document.querySelector('#rating').hidden")
	page.eval("document.querySelector('#rating button[value=\"5\"]').click()")
	s.took("csat_submitted")
	s.until("the rating on Telegram", func() bool { return strings.Contains(s.threadText(), "5") })
}

// latency measures both ways between the page and the apps.
func latency(s *scene, page *tab) {
	s.t.Helper()
	const rounds = 11
	var out, in []time.Duration
	for i := range rounds {
		text := fmt.Sprint("out ", i)
		began := time.Now()
		page.eval("document.querySelector('#text').value = " + strconv.Quote(text) + ", document.querySelector('#write').requestSubmit()")
		s.three(text)
		out = append(out, time.Since(began))
		text = fmt.Sprint("in ", i)
		began = time.Now()
		s.discord.Say(s.thread(), s.ben, text)
		page.shows(text)
		in = append(in, time.Since(began))
	}
	slices.Sort(out)
	slices.Sort(in)
	s.t.Logf("median of %d: visitor to all three apps %s, operator to the page %s", rounds, out[rounds/2].Round(time.Millisecond), in[rounds/2].Round(time.Millisecond))
	limit := 10 * time.Second
	if os.Getenv("TIMING") != "" {
		limit = 300 * time.Millisecond
	}
	if out[rounds/2] > limit || in[rounds/2] > limit {
		s.t.Errorf("it is too slow: more than %s", limit)
	}
}
