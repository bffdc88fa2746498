//go:build browser

package demo_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// These tests need a Chromium; make test-browser sees to it. They run the program as it is, `bridge demo`, and use its page as
// people do. All of them share one demo and one browser, each in a tab and with a visitor of its own.

// hung only ends a test that hangs.
const hung = 2 * time.Minute

// screen is what somebody looks at the page with.
type screen struct {
	width, height int64
	scheme        string // light or dark
}

func (s screen) String() string { return fmt.Sprintf("%d×%d %s", s.width, s.height, s.scheme) }
func (s screen) narrow() bool   { return s.width < 760 }

func screens() []screen {
	return []screen{{1280, 800, "light"}, {390, 844, "dark"}, {390, 844, "light"}, {1280, 800, "dark"}}
}

func TestPage(t *testing.T) {
	b := browser{startBrowser(t), startDemo(t)}
	tests := []struct {
		name string
		test func(*testing.T, *tab)
	}{
		{"round trip", roundTrip}, {"edits and deletions", changes}, {"files", files}, {"reactions, rating and closing", closing},
		{"kill -9", crash}, {"unreachable", unreachable}, {"reload", reload}, {"by thumb", thumbs},
	}
	for i, test := range tests {
		// The round trip is done on each screen, the rest on one or two of them: else it would take minutes.
		for j, s := range screens() {
			if i > 1 && j != i%2 || i == 1 && j > 1 {
				continue
			}
			t.Run(test.name+" at "+s.String(), func(t *testing.T) { test.test(t, b.open(t, s)) })
		}
	}
	t.Run("by the page itself", func(t *testing.T) {
		for _, s := range screens()[:2] {
			t.Run("at "+s.String(), func(t *testing.T) { direct(t, b.openDirect(t, s)) })
		}
	})
	t.Run("keyboard alone", func(t *testing.T) { keyboard(t, b.open(t, screens()[0])) })
	t.Run("accessible", func(t *testing.T) {
		for _, s := range screens() {
			t.Run("at "+s.String(), func(t *testing.T) {
				t.Parallel() // axe takes its time
				accessible(t, b.open(t, s))
			})
		}
	})
	t.Run("limits", func(t *testing.T) { limits(t, b.open(t, screens()[0])) })
	t.Run("first paint", func(t *testing.T) { firstPaint(t, b.open(t, screens()[0])) })
	t.Run("the stand-ins found no fault", func(t *testing.T) {
		p := b.open(t, screens()[0])
		if found := p.text(`#control .half .trouble:not([hidden])`); found != "" {
			t.Error(found)
		}
	})
}

// startDemo builds the program and runs its demo, and returns the page's address once the opening scene is over.
func startDemo(t *testing.T) string {
	t.Helper()
	page, _ := startDemoAndBridge(t)
	return page
}

// startDemoAndBridge is startDemo, and returns the bridge's address too.
func startDemoAndBridge(t *testing.T) (page, bridge string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bridge")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/bridge")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(program, "demo")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	var mu sync.Mutex
	address, ended := make(chan [2]string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		page, bridge := "", ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			said.WriteString(lines.Text() + "\n")
			mu.Unlock()
			if found := regexp.MustCompile(`open this page +(http://\S+)`).FindStringSubmatch(lines.Text()); found != nil {
				page = found[1]
			}
			if found := regexp.MustCompile(`the bridge +(http://\S+)`).FindStringSubmatch(lines.Text()); found != nil {
				bridge = found[1]
			}
			if strings.Contains(lines.Text(), "gets operator_message") && page != "" {
				address <- [2]string{page, bridge}
				page = ""
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ended: %v", err)
		}
		if t.Failed() {
			t.Logf("the demo said:\n%s", said.String())
		}
	})
	select {
	case both := <-address:
		return both[0], both[1]
	case <-ended:
		t.Fatalf("the demo ended; it said:\n%s", said.String())
	case <-time.After(hung):
		t.Fatal("the demo does not begin")
	}
	return "", ""
}

func startBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options, more...)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox does not run as root
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, end = chromedp.NewContext(ctx)
	t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("no Chromium: %v\nmake test-browser installs it, or says how", err)
	}
	return ctx
}

// browser is a running one, and the page that it is to show.
type browser struct {
	ctx  context.Context
	page string
}

// tab is a tab of the browser with the page in it.
type tab struct {
	t      *testing.T
	ctx    context.Context
	page   string
	screen screen
}

// open opens the page in a tab of its own, with a visitor whose page talks to the app server.
func (b browser) open(t *testing.T, s screen) *tab {
	t.Helper()
	p := b.openDirect(t, s)
	p.byServer(true)
	return p
}

// openDirect opens the page in a tab of its own, with a visitor whose page talks to the bridge. What the browser complains of, and what the
// page loads from elsewhere than the demo and the bridge, fails the test.
func (b browser) openDirect(t *testing.T, s screen) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(b.ctx)
	p := &tab{t, ctx, b.page, s}
	p.do(chromedp.Steps())
	var mu sync.Mutex
	var complaints []string
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			// A page that talks to the bridge itself tries again where the bridge was killed, or takes no more at once.
			again := strings.Contains(m.String(), "net::ERR_CONNECTION_") || strings.Contains(m.String(), "WebSocket connection to") ||
				strings.Contains(m.String(), "429 (Too Many Requests)")
			if m.Type != "log" && m.Type != "info" && m.Type != "debug" && !again {
				mu.Lock()
				complaints = append(complaints, m.String())
				mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		defer end()
		if t.Failed() {
			p.failure()
		}
		var loaded []string
		p.eval(`performance.getEntriesByType("resource").map((e) => e.name)
			.filter((n) => !n.startsWith(location.origin + "/") && !/^http:\/\/127\.0\.0\.1:\d+\/(pocketping|files)\//.test(n))`, &loaded)
		mu.Lock()
		defer mu.Unlock()
		if len(complaints) > 0 {
			t.Errorf("the browser complains: %q", complaints)
		}
		if len(loaded) > 0 {
			t.Errorf("the page loads from elsewhere: %q", loaded)
		}
	})
	var mobile []chromedp.EmulateViewportOption
	if s.narrow() {
		mobile = append(mobile, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.do(chromedp.EmulateViewport(s.width, s.height, mobile...))
	scheme := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: s.scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, scheme); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(b.page))
	p.until(`document.body.dataset.live`)
	return p
}

// failure keeps a picture of a test that failed.
func (p *tab) failure() {
	picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return
	}
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(p.t.Name(), "-")
	path := filepath.Join(os.TempDir(), name+".png")
	if os.WriteFile(path, picture, 0o600) == nil {
		p.t.Logf("a picture of it: %s", path)
	}
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, hung)
	defer cancel()
	if chromedp.FromContext(p.ctx).Target == nil {
		ctx = p.ctx // the first use binds the tab to its context
	}
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns what a JavaScript expression comes to.
func (p *tab) eval(js string, into any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, hung)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => JSON.stringify(await ("+js+") ?? null))()", chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	if err := json.Unmarshal([]byte(raw), into); err != nil {
		p.t.Fatalf("%s: %s: %v", js, raw, err)
	}
}

// until waits for a JavaScript expression to be true.
func (p *tab) until(js string) {
	p.t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(hung); ; <-tick.C {
		var so bool
		// What is looked at may not be there yet.
		if p.eval("(() => { try { return !!("+js+") } catch { return false } })()", &so); so {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("it does not come to this: %s", js)
		}
	}
}

func quote(text string) string {
	raw, _ := json.Marshal(text)
	return string(raw)
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	var text string
	p.eval(`document.querySelector(`+quote(selector)+`)?.innerText ?? ""`, &text)
	return text
}

// shows waits until a part of the page shows a text.
func (p *tab) shows(selector, text string) {
	p.t.Helper()
	p.until(`[...document.querySelectorAll(` + quote(selector) + `)].some((e) => e.innerText.includes(` + quote(text) + `))`)
}

// hides waits until no part of the page of the selector shows a text.
func (p *tab) hides(selector, text string) {
	p.t.Helper()
	p.until(`![...document.querySelectorAll(` + quote(selector) + `)].some((e) => e.innerText.includes(` + quote(text) + `))`)
}

// look goes to a part of the page, as one has to on a narrow screen.
func (p *tab) look(part string) {
	p.t.Helper()
	if p.screen.narrow() {
		p.do(chromedp.Click(chromedp.CSS(`.tabs [data-to="` + part + `"]`)))
	}
}

// enter presses Enter as a keyboard does: chromedp's own one types another line behind what the page did with it.
func (p *tab) enter() {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		key := input.DispatchKeyEventParams{
			Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13,
		}
		if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, key); err != nil {
			return err
		}
		key.Type, key.Text = input.DispatchKeyEventTypeKeyUp, ""
		_, err := cdp.Call(ctx, t, input.DispatchKeyEvent, key)
		return err
	}))
}

// write writes a text where one writes in a part of the page, and sends it.
func (p *tab) write(part, text string) {
	p.t.Helper()
	p.look(part)
	p.do(chromedp.SendKeys(chromedp.CSS("#"+part+"-text"), text))
	p.enter()
	p.until(`document.getElementById("` + part + `-text").value === ""`)
}

// clear empties a field.
func (p *tab) clear(selector string) {
	p.t.Helper()
	var done bool
	p.eval(`(() => { const e = document.querySelector(`+quote(selector)+`); e.focus(); e.select(); return true; })()`, &done)
	p.do(chromedp.KeyEvent(kb.Delete))
}

// visitor opens a tab for another visitor, whom all apps follow from there on.
func (p *tab) visitor() string {
	p.t.Helper()
	name := "Visitor of " + strings.ToLower(strings.NewReplacer("TestPage/", "", "_", " ", "×", "x").Replace(p.t.Name()))
	if r := []rune(name); len(r) > 40 {
		name = strings.TrimSpace(string(r[len(r)-40:]))
	}
	p.visitorNamed(name)
	return name
}

func (p *tab) visitorNamed(name string) {
	p.t.Helper()
	p.look("shop")
	p.do(chromedp.Click(chromedp.CSS(`[popovertarget="new-visitor"]`)), chromedp.WaitVisible(chromedp.CSS("#visitor-name")))
	p.do(chromedp.SetValue(chromedp.CSS("#visitor-name"), name), chromedp.Focus(chromedp.CSS("#visitor-name")))
	p.enter()
	p.shows(".guest.current", strings.TrimSpace(name))
}

// menu chooses from the menu of the message that shows a text.
func (p *tab) menu(part, message, item string) {
	p.t.Helper()
	p.look(part)
	p.shows("#"+part+" .message .body", message)
	var found bool
	p.eval(`(() => {
		const li = [...document.querySelectorAll("#`+part+` .message")].findLast((e) => e.innerText.includes(`+quote(message)+`));
		li.scrollIntoView({ block: "nearest" });
		document.querySelectorAll("[data-aim]").forEach((e) => delete e.dataset.aim);
		li.querySelector(".more").click(); // not by the mouse: what comes meanwhile moves it away
		return true;
	})()`, &found)
	p.do(chromedp.WaitVisible(chromedp.CSS("#menu")))
	p.eval(`(() => {
		const b = [...document.querySelectorAll("#menu [role=menuitem]")].find((e) => (e.getAttribute("aria-label") ?? e.innerText).includes(`+quote(item)+`));
		if (b) b.dataset.aim = "item";
		return !!b;
	})()`, &found)
	if !found {
		p.t.Fatalf("the menu of %q in %s has no %q", message, part, item)
	}
	p.do(chromedp.Click(chromedp.CSS(`#menu [data-aim="item"]`)))
	p.until(`!document.querySelector("#menu:popover-open")`)
}

func apps() []string { return []string{"telegram", "discord", "slack"} }

func roundTrip(t *testing.T, p *tab) {
	name := p.visitor()
	p.write("shop", "Is the river mug <b>dishwasher</b> safe?")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+"-title", name)
		p.shows("#"+app+" .message .body", "Is the river mug <b>dishwasher</b> safe?")
		p.write(app, "Yes, says "+app)
		p.look("shop")
		p.shows("#shop .message.operator", "Yes, says "+app)
	}
	for _, app := range apps() { // what one operator writes is seen by the others
		p.look(app)
		for _, other := range apps() {
			p.shows("#"+app+" .message .body", "Yes, says "+other)
		}
	}
	p.look("shop")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.look("events")
	p.shows("#events li", "operator_message")
	var wrong int
	p.eval(`document.querySelectorAll("#events .invalid").length`, &wrong)
	if wrong != 0 {
		t.Errorf("%d callbacks are not taken", wrong)
	}
	for _, part := range append(apps(), "shop", "events", "control") {
		p.look(part)
		var wide bool
		p.eval(`document.documentElement.scrollWidth > innerWidth`, &wide)
		if wide {
			t.Errorf("%s is wider than the screen", part)
		}
	}
}

func changes(_ *testing.T, p *tab) {
	p.visitor()
	p.write("shop", "I need twelfe mugs")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.menu("shop", "twelfe", "Edit")
	p.clear("#shop-text")
	p.write("shop", "I need twelve mugs")
	p.shows("#shop .message.visitor", "edited")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+" .message .body", "I need twelve mugs")
		p.hides("#"+app+" .message .body", "twelfe")
	}
	p.write("discord", "That maks 288 euros")
	p.look("shop")
	p.shows("#shop .message.operator", "That maks")
	p.menu("discord", "That maks", "Edit")
	p.clear("#discord-text")
	p.write("discord", "That makes 288 euros")
	p.look("shop")
	p.shows("#shop .message.operator", "That makes 288 euros")
	for _, app := range []string{"telegram", "slack"} {
		p.look(app)
		p.shows("#"+app+" .message .body", "That makes 288 euros")
	}
	p.menu("discord", "I need twelve mugs", "Reply")
	p.write("discord", "Twelve: shall I pack them in two boxes?")
	p.look("shop")
	p.shows("#shop .message.operator blockquote", "I need twelve mugs")
	p.menu("discord", "That makes 288 euros", "Delete")
	p.look("shop")
	p.shows("#shop .message.operator", "Message deleted")
	p.hides("#shop .message.operator", "That makes 288 euros")
	p.menu("telegram", "Twelve: shall I", "React with 👍")
	p.write("telegram", "I am wrong here")
	p.look("shop")
	p.shows("#shop .message.operator", "I am wrong here")
	p.menu("telegram", "I am wrong here", "Delete at the visitor")
	p.look("shop")
	p.hides("#shop .message.operator", "I am wrong here")
	p.write("shop", "Never mind")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.menu("shop", "Never mind", "Delete")
	p.look("discord")
	p.hides("#discord .message .body", "Never mind")
}

// drawing is a picture of some size.
func drawing(t *testing.T, name string, tint color.RGBA) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 320, 200))
	for i := range 320 * 200 {
		x, y := i%320, i/320
		img.SetRGBA(x, y, color.RGBA{tint.R - uint8(x/8), tint.G - uint8(y/4), tint.B, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// seen waits until a picture in a part of the page has been loaded.
func (p *tab) seen(selector string) {
	p.t.Helper()
	p.until(`[...document.querySelectorAll(` + quote(selector+" .picture img") + `)].some((i) => i.complete && i.naturalWidth === 320)`)
}

func (p *tab) attach(part, path, text string) {
	p.t.Helper()
	p.look(part)
	p.do(chromedp.SetUploadFiles(chromedp.CSS("#"+part+"-file"), []string{path}))
	p.shows("#"+part+" .about", filepath.Base(path))
	p.do(chromedp.SendKeys(chromedp.CSS("#"+part+"-text"), text))
	p.enter()
	p.until(`document.querySelector("#` + part + ` .about").hidden`)
}

func files(t *testing.T, p *tab) {
	p.visitor()
	p.attach("shop", drawing(t, "crack.png", color.RGBA{190, 120, 90, 255}), "It came with this crack")
	p.seen("#shop .message.visitor")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+" .message .body", "It came with this crack")
		p.seen("#" + app)
	}
	for _, app := range apps() {
		p.attach(app, drawing(t, app+".png", color.RGBA{90, 120, 190, 255}), "The new one, from "+app)
		p.look("shop")
		p.shows("#shop .message.operator", "The new one, from "+app)
	}
	p.until(`[...document.querySelectorAll("#shop .message.operator .picture img")].filter((i) => i.complete && i.naturalWidth === 320).length === 3`)
	sheet := filepath.Join(t.TempDir(), "invoice.txt")
	if err := os.WriteFile(sheet, []byte("12 mugs, 288 euros\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.attach("slack", sheet, "And the invoice")
	p.look("shop")
	p.shows("#shop .message.operator a.file", "invoice.txt")
	var body string
	p.eval(`fetch([...document.querySelectorAll("#shop a.file")].at(-1).href).then((r) => r.text())`, &body)
	if body != "12 mugs, 288 euros\n" {
		t.Errorf("the visitor gets %q", body)
	}
}

func closing(_ *testing.T, p *tab) {
	p.visitor()
	p.write("shop", "Thank you, that is all")
	p.menu("discord", "Thank you, that is all", "React with 👍")
	p.look("shop")
	p.shows("#shop .message.visitor .tick", "Read in Discord")
	p.write("telegram", "/csat")
	p.look("shop")
	p.until(`!document.querySelector("#shop .rating").hidden`)
	p.do(chromedp.Click(chromedp.CSS(`#shop .rating [aria-label="5 of 5"]`)))
	p.shows("#shop .rating", "Thank you for 5 of 5")
	p.write("slack", "!close")
	p.look("shop")
	p.shows("#shop .message.note", "closed")
	p.look("telegram")
	p.shows("#telegram .sub", "closed")
	p.write("shop", "One more thing!")
	p.shows("#shop .message.note", "open again")
	p.look("telegram")
	p.shows("#telegram .message .body", "One more thing!")
	// Commands of one's own go outside the threads.
	for _, app := range apps() {
		p.look(app)
		p.do(chromedp.Click(chromedp.CSS("#" + app + " .back")))
		p.write(app, map[string]string{"telegram": "/online", "discord": "/online", "slack": "/bridge online"}[app])
		p.shows("#"+app+" .message.bot .body", "You are online")
	}
	p.look("shop")
	p.shows("#shop .presence", "Ana, Ben and Cleo are online")
}

// key presses a button under the newest message of an app that has it.
func (p *tab) key(app, label string) {
	p.t.Helper()
	p.look(app)
	p.until(`(() => {
		document.querySelectorAll("[data-aim]").forEach((e) => delete e.dataset.aim);
		const b = [...document.querySelectorAll("#` + app + ` .keys button")].findLast((e) => e.innerText.endsWith(` + quote(label) + `));
		if (b) b.dataset.aim = "key";
		return !!b;
	})()`)
	p.do(chromedp.ScrollIntoView(chromedp.CSS(`[data-aim="key"]`)), chromedp.Click(chromedp.CSS(`[data-aim="key"]`)))
}

// language has operators read another one, and waits until the bridge has started again with it.
func (p *tab) language(name string) {
	p.t.Helper()
	p.look("control")
	p.restarts(func() {
		var done bool
		p.eval(`(() => {
			const e = document.getElementById("language");
			e.value = `+quote(name)+`;
			e.dispatchEvent(new Event("change"));
			return true;
		})()`, &done)
	})
}

// thumbs is an operator's day with a thumb: the phone rings, one presses buttons, in one's own language.
func thumbs(_ *testing.T, p *tab) {
	p.visitor()
	p.write("shop", "Is anybody there?")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+" .message .body", "Is anybody there?")
		p.until(`!document.querySelector("#` + app + ` .bell").hidden && document.querySelector("#` + app + ` .rang")`)
	}
	p.key("slack", "Claim")
	p.shows("#slack .message.private .body", "You take care of this visitor")
	p.until(`document.querySelector("#slack .bell").hidden`)
	p.key("telegram", "Claim")
	p.shows("#toast", "Cleo takes care of this visitor")
	p.language("de")
	p.key("telegram", "Claim")
	p.shows("#toast", "Cleo kümmert sich") // Telegram keeps a press until the bridge asks for it
	p.language("en")
}

func crash(t *testing.T, p *tab) {
	p.visitor()
	p.write("shop", "Before the crash")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.look("control")
	p.do(chromedp.Click(chromedp.CSS("#power")))
	p.shows("#control .process", "Dead")
	p.write("shop", "While it is dead")
	p.shows("#shop .message.visitor .tick", "Waiting for the bridge")
	for _, app := range apps() {
		p.write(app, "Answered while it was dead, in "+app)
	}
	p.look("control")
	p.do(chromedp.Click(chromedp.CSS("#power")))
	p.shows("#control .process", "Running")
	p.look("shop")
	for _, app := range apps() {
		p.shows("#shop .message.operator", "Answered while it was dead, in "+app)
	}
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+" .message .body", "While it is dead")
	}
	p.look("shop")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	count := func(selector, text string) (n int) {
		p.eval(`[...document.querySelectorAll(`+quote(selector)+`)].filter((e) => e.textContent.includes(`+quote(text)+`)).length`, &n)
		return n
	}
	for _, app := range apps() {
		if n := count("#"+app+" .message", "While it is dead"); n != 1 {
			t.Errorf("%s shows it %d times", app, n)
		}
		if n := count("#shop .message.operator", "Answered while it was dead, in "+app); n != 1 {
			t.Errorf("the visitor sees the answer from %s %d times", app, n)
		}
	}
	p.until(`document.getElementById("step-3").classList.contains("done")`)
}

// toggle turns a switch.
func (p *tab) toggle(name string) {
	p.t.Helper()
	p.look("control")
	p.do(chromedp.ScrollIntoView(chromedp.CSS("#switch-"+name)), chromedp.Click(chromedp.CSS("#switch-"+name)))
}

func unreachable(t *testing.T, p *tab) {
	p.visitor()
	p.toggle("telegram")
	p.until(`document.getElementById("telegram").classList.contains("is-down")`)
	p.write("shop", "Is anybody there?")
	p.look("slack")
	p.shows("#slack .message .body", "Is anybody there?") // the others do not wait
	p.look("control")
	p.shows("#control .lanes li:is(.busy, .held)", "Telegram") // one session that fails holds itself up, and no lane
	p.toggle("telegram")
	p.look("telegram")
	p.shows("#telegram .message .body", "Is anybody there?")

	p.toggle("callback-down")
	p.write("slack", "We are, in a minute")
	p.look("events")
	p.shows("#events .refused", "503, comes again")
	p.look("shop")
	if got := p.text("#shop .log"); strings.Contains(got, "in a minute") {
		t.Errorf("the visitor sees what the server did not take: %s", got)
	}
	p.toggle("callback-down")
	p.look("shop")
	p.shows("#shop .message.operator", "We are, in a minute")
}

// limits is the last of those that write: what waits for Telegram does so for minutes.
//
// limits has 60 messages come where Telegram takes 20 calls a minute: words are shown together, visitors who wait are listed, a notice tells
// how much waits, and each lane how late it is. What operators write meanwhile arrives.
func limits(_ *testing.T, p *tab) {
	p.rush("Ida")
	p.write("slack", "One after the other, Ida")
	p.shows("#shop .message.operator", "One after the other, Ida")
	p.shows("#discord .message .body", "Message 30 of 30")
	p.limit(false)
}

// limit turns the documented limits on or off, and waits until the bridge has started again with them.
func (p *tab) limit(on bool) {
	p.t.Helper()
	p.restarts(func() { p.toggle("limits") })
	p.until(fmt.Sprintf(`document.getElementById("switch-limits").checked === %t`, on))
}

// restarts does something and waits until the bridge has started again.
func (p *tab) restarts(do func()) {
	p.t.Helper()
	before := p.text("#control .process div span")
	do()
	p.until(`document.querySelector("#control .process b").textContent === "Running" &&
		document.querySelector("#control .process div span").textContent !== ` + quote(before))
}

// rush turns the documented limits on, has 60 messages come, half of them of one visitor, and waits until the page shows what becomes of them.
func (p *tab) rush(name string) {
	p.t.Helper()
	p.visitorNamed(name)
	p.limit(true)
	p.do(chromedp.Click(chromedp.CSS("#control .burst")), chromedp.Click(chromedp.CSS("#control .rush")))
	p.until(`[...document.querySelectorAll("#control .lanes .count")].some((e) => Number(e.textContent) > 5)`)
	p.until(`[...document.querySelectorAll("#slack .message .body")].some((e) => /Message \d+ of 30[^]*Message \d+ of 30/.test(e.innerText))`)
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("#telegram .back").click()`))
	p.shows("#telegram .message .body", "⏳")
	p.shows("#telegram .message .body", "• ")
	p.shows("#control .lanes li", "s late")
}

func reload(t *testing.T, p *tab) {
	name := p.visitor()
	p.write("shop", "I shall be back")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.do(chromedp.SendKeys(chromedp.CSS("#shop-text"), "half a sent"))
	p.look("discord")
	p.shows("#discord .message .body", "I shall be back")
	p.do(chromedp.Reload())
	p.until(`document.body.dataset.live`)
	p.shows("#discord .message .body", "I shall be back")
	p.shows("#discord-title", name)
	p.look("shop")
	p.shows(".guest.current", name)
	p.shows("#shop .message.visitor", "I shall be back")
	var draft string
	if p.eval(`document.getElementById("shop-text").value`, &draft); draft != "half a sent" {
		t.Errorf("the draft is %q", draft)
	}
}

// keys presses keys, with nothing but what has the focus.
func (p *tab) keys(keys string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	text, enter := strings.CutSuffix(keys, kb.Enter)
	if text != "" {
		p.do(chromedp.KeyEvent(text, chromedp.KeyModifiers(modifiers...)))
	}
	if enter {
		p.enter()
	}
}

// reach presses Tab until an element has the focus that the selector matches. Every element on the way has to show that it has it.
func (p *tab) reach(selector string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	for range 80 {
		var here, outlined bool
		p.eval(`document.activeElement.matches(`+quote(selector)+`)`, &here)
		p.eval(`(() => {
			const e = document.activeElement;
			if (e === document.body) return true;
			const ring = (one) => getComputedStyle(one).outlineStyle !== "none" || getComputedStyle(one).boxShadow !== "none";
			return ring(e) || ring(e.closest(".field") ?? e);
		})()`, &outlined)
		if !outlined {
			var what string
			p.eval(`document.activeElement.outerHTML.slice(0, 200)`, &what)
			p.t.Errorf("nothing shows that this has the focus: %s", what)
		}
		if here {
			return
		}
		p.keys(kb.Tab, modifiers...)
	}
	p.t.Fatalf("Tab does not lead to %s", selector)
}

func keyboard(_ *testing.T, p *tab) {
	p.keys(kb.Tab)
	p.reach(`.skips a[href="#shop-text"]`)
	p.keys(kb.Enter)
	p.until(`document.activeElement.id === "shop-text"`)

	// Another visitor, who writes, edits and takes something back.
	p.reach(`[popovertarget="new-visitor"]`, chromedp.ModifierShift)
	p.keys(kb.Enter)
	p.until(`document.activeElement.id === "visitor-name"`)
	p.clear("#visitor-name")
	p.keys("Kit" + kb.Enter)
	p.until(`document.activeElement.id === "shop-text"`)
	p.shows(".guest.current", "Kit")
	p.keys("Do you ship to Icelan?" + kb.Enter)
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.reach("#shop .message.visitor .more", chromedp.ModifierShift)
	p.keys(kb.Enter)
	p.until(`document.activeElement.textContent === "Reply"`)
	p.keys(kb.ArrowDown + kb.Enter)
	p.until(`document.activeElement.id === "shop-text" && document.activeElement.value !== ""`)
	p.keys(kb.Backspace + "d?" + kb.Enter)
	p.shows("#shop .message.visitor", "Do you ship to Iceland?")

	// An operator in each app answers, and reacts.
	for _, app := range apps() {
		p.reach("#" + app + "-text")
		p.keys("Yes, says " + app + kb.Enter)
		p.shows("#shop .message.operator", "Yes, says "+app)
	}
	p.shows("#discord .message.bot:last-child .body", "Yes, says slack")
	p.reach("#discord-text", chromedp.ModifierShift)
	p.reach("#discord .message.bot:last-child .more", chromedp.ModifierShift)
	p.keys(kb.Enter)
	p.until(`document.activeElement.matches("#menu [role=menuitem]")`)
	p.keys(kb.Escape)
	p.until(`document.activeElement.matches("#discord .more")`)
	p.keys(kb.Enter)
	p.until(`document.activeElement.matches("#menu [role=menuitem]")`)
	p.keys(kb.Enter)
	p.shows("#discord .reactions", "👍")

	// Outside the threads, and back.
	p.reach("#discord .back", chromedp.ModifierShift)
	p.keys(kb.Enter)
	p.until(`document.activeElement.matches("#discord .threads button")`)
	p.keys(kb.Enter)
	p.until(`document.activeElement.id === "discord-text"`)

	// What the server received, and the bridge's controls.
	p.reach("#events summary")
	p.keys(kb.Enter)
	p.shows("#events details[open] pre", "webhook-signature: v1,")
	p.keys(kb.ArrowDown)
	p.until(`document.activeElement.matches("#events li:nth-child(2) summary")`)
	p.reach("#power")
	p.keys(kb.Enter)
	p.shows("#control .process", "Dead")
	p.until(`document.activeElement.id === "power"`)
	p.keys(kb.Enter)
	p.shows("#control .process", "Running")
	p.reach("#switch-limits")
	p.restarts(func() { p.keys(" ") })
	p.until(`document.getElementById("switch-limits").checked`)
	p.restarts(func() { p.keys(" ") })
	p.until(`!document.getElementById("switch-limits").checked`)
}

// audit looks for what keeps people out.
func (p *tab) audit(where string) {
	p.t.Helper()
	var found []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	p.eval(`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.filter((v) => v.impact === "serious" || v.impact === "critical")
		.map((v) => ({ ID: v.id, Impact: v.impact, Help: v.help, Nodes: v.nodes.slice(0, 4).map((n) => n.html.slice(0, 160) + " " + n.failureSummary) })))`, &found)
	for _, v := range found {
		p.t.Errorf("%s: %s (%s): %s\n\t%s", where, v.ID, v.Impact, v.Help, strings.Join(v.Nodes, "\n\t"))
	}
}

func accessible(t *testing.T, p *tab) {
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[chromedp.Void](string(axe)+"\n;0")(ctx, target)
		return err
	}))
	p.visitor()
	p.write("shop", "May I **return** it? <https://example.com>")
	p.shows("#shop .message.visitor .tick", "Telegram, Discord and Slack")
	p.write("telegram", "Of course, within 30 days")
	p.look("shop")
	p.shows("#shop .message.operator", "Of course")
	parts := []string{"shop"}
	if p.screen.narrow() {
		parts = append(parts, apps()...)
		parts = append(parts, "events", "control")
	}
	for _, part := range parts {
		p.look(part)
		p.audit(part)
	}
	p.menu("telegram", "Of course", "Edit")
	for _, app := range apps() { // the lists
		p.look(app)
		p.do(chromedp.Click(chromedp.CSS("#" + app + " .back")))
	}
	p.look("discord")
	p.audit("the lists")
	p.look("events")
	p.do(chromedp.Click(chromedp.CSS("#events summary")))
	p.audit("a callback in full")
	p.look("shop")
	p.do(chromedp.Click(chromedp.CSS("#shop .message .more")), chromedp.WaitVisible(chromedp.CSS("#menu")))
	p.audit("a menu")
	p.keys(kb.Escape)
	p.do(chromedp.Click(chromedp.CSS(`[popovertarget="new-visitor"]`)), chromedp.WaitVisible(chromedp.CSS("#visitor-name")))
	p.audit("a new visitor")
}

func firstPaint(t *testing.T, p *tab) {
	var times []float64
	for range 3 {
		p.do(chromedp.Navigate(p.page))
		p.until(`performance.getEntriesByName("first-contentful-paint").length > 0 && document.body.dataset.live`)
		var ms float64
		p.eval(`performance.getEntriesByName("first-contentful-paint")[0].startTime`, &ms)
		times = append(times, ms)
	}
	t.Logf("first paint after %.0f ms", times)
	if slices.Min(times) > 1000 {
		t.Error("that is more than a second")
	}
}
