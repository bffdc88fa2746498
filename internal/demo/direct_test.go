//go:build browser

package demo_test

import (
	"fmt"
	"image/color"
	"testing"

	"github.com/chromedp/chromedp"
)

// byServer has the page go to a visitor whose page talks to the app server, or to one whose page talks to the bridge.
func (p *tab) byServer(on bool) {
	p.t.Helper()
	p.look("shop")
	p.until(`document.querySelector("#shop .guest.current")`)
	var is bool
	if p.eval(`document.getElementById("switch-server").checked`, &is); is != on {
		p.do(chromedp.Click(chromedp.CSS("#switch-server")))
	}
	path := map[bool]string{true: "your page → your server → bridge", false: "your page → bridge"}[on]
	p.until(fmt.Sprintf(`document.getElementById("switch-server").checked === %t && document.querySelector("#shop .path").textContent === %s`, on, quote(path)))
}

// direct is the walk of a visitor whose page talks to the bridge itself.
func direct(t *testing.T, p *tab) {
	p.byServer(false)
	name := p.visitor()
	p.shows("#shop .path", "your page → bridge")
	p.write("shop", "Is the river mug <b>dishwasher</b> safe?")
	p.shows("#shop .message.visitor .tick", "Delivered")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+"-title", name)
		p.shows("#"+app+" .message .body", "Is the river mug <b>dishwasher</b> safe?")
		p.write(app, "Yes, says "+app)
		p.look("shop")
		p.shows("#shop .message.operator", "Yes, says "+app)
	}
	p.shows("#shop .presence", "online")
	p.look("events") // the app server is told, too
	p.shows("#events li", "Yes, says slack")
	directChanges(p)
	directFiles(p)
	directEnd(p)
	directSigns(p, name)
	directCrash(t, p)
	// What was written while the bridge was dead stands in the bridge's order after that.
	const texts = `[...document.querySelectorAll("#shop .message p")].map((e) => e.textContent).sort().join("\n")`
	var before string
	p.eval(texts, &before)
	p.do(chromedp.Reload())
	p.until(`document.body.dataset.live`)
	p.look("shop")
	p.shows(".guest.current", name)
	p.until(texts + ` === ` + quote(before))
	p.byServer(true)
	p.byServer(false)
	p.shows(".guest.current", name)
	if p.screen.narrow() {
		return
	}
	// More at once than the bridge takes of one page: what it refuses is sent again.
	p.do(chromedp.Click(chromedp.CSS("#control .burst")))
	p.shows("#telegram .message .body", "Message 30 of 30")
}

func directChanges(p *tab) {
	p.write("shop", "I need twelfe mugs")
	p.menu("shop", "twelfe", "Edit")
	p.clear("#shop-text")
	p.write("shop", "I need twelve mugs")
	p.look("slack")
	p.shows("#slack .message .body", "I need twelve mugs")
	p.hides("#slack .message .body", "twelfe")
	p.menu("discord", "I need twelve mugs", "Reply")
	p.write("discord", "That maks 288 euros")
	p.look("shop")
	p.shows("#shop .message.operator blockquote", "I need twelve mugs")
	p.menu("discord", "That maks", "Edit")
	p.clear("#discord-text")
	p.write("discord", "That makes 288 euros")
	p.look("shop")
	p.shows("#shop .message.operator", "That makes 288 euros")
	p.menu("discord", "That makes 288 euros", "Delete")
	p.look("shop")
	p.hides("#shop .message.operator", "That makes 288 euros")
	p.menu("shop", "Yes, says telegram", "Reply")
	p.write("shop", "Then I take one")
	p.shows("#shop .message.visitor blockquote", "Yes, says telegram")
	p.write("shop", "Never mind")
	p.menu("shop", "Never mind", "Delete")
	p.hides("#shop .message.visitor", "Never mind")
	p.look("telegram")
	p.shows("#telegram .message .body", "Then I take one")
	p.hides("#telegram .message .body", "Never mind")
}

func directFiles(p *tab) {
	p.attach("shop", drawing(p.t, "crack.png", color.RGBA{190, 120, 90, 255}), "It came with this crack")
	p.seen("#shop .message.visitor")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+" .message .body", "It came with this crack")
		p.seen("#" + app)
	}
	p.attach("slack", drawing(p.t, "new.png", color.RGBA{90, 120, 190, 255}), "The new one")
	p.look("shop")
	p.shows("#shop .message.operator", "The new one")
	p.seen("#shop .message.operator")
}

func directEnd(p *tab) {
	p.write("shop", "Thank you, that is all")
	p.menu("discord", "Thank you, that is all", "React with 👍")
	p.look("shop")
	p.shows("#shop .message.visitor .tick", "Read")
	p.write("telegram", "/csat")
	p.look("shop")
	p.until(`!document.querySelector("#shop .rating").hidden`)
	p.do(chromedp.Click(chromedp.CSS(`#shop .rating [aria-label="5 of 5"]`)))
	p.shows("#shop .rating", "Thank you for 5 of 5")
	p.look("slack")
	p.shows("#slack .message .body", "rates the conversation 5 of 5")
}

// directSigns is what travels beside the words: who types, reads, is there, and that a conversation ends and goes on.
func directSigns(p *tab, name string) {
	p.types("discord", "shop", "is typing")
	p.write("discord", "Wait")
	p.look("shop")
	p.shows("#shop .message.operator", "Wait")
	p.types("shop", "telegram", name+" is typing")
	p.write("shop", "I do")
	p.shows("#shop .message.visitor .tick", "Delivered")
	p.write("slack", "!read")
	p.look("shop")
	p.until(`[...document.querySelectorAll("#shop .message.visitor")].at(-1).querySelector(".tick").textContent.includes("Read")`)
	p.write("telegram", "A slip")
	p.menu("telegram", "A slip", "Delete at the visitor")
	p.look("shop")
	p.hides("#shop .message.operator", "A slip")
	for _, app := range apps() {
		p.write(app, map[string]string{"telegram": "/offline", "discord": "/offline", "slack": "!offline"}[app])
	}
	p.look("shop")
	p.hides("#shop .presence", "online")
	p.write("discord", "/online")
	p.look("shop")
	p.shows("#shop .presence", "online")
	p.hides("#shop .message.operator", "line") // commands are not for the visitor
	p.write("slack", "!close")
	p.look("telegram")
	p.shows("#telegram .sub", "closed")
	p.write("shop", "One more thing")
	p.look("telegram")
	p.shows("#telegram .message .body", "One more thing")
	p.hides("#telegram .sub", "closed")
}

// types types in a part of the page until another shows it: who has typed a moment ago is not told of again. Then the field is empty.
func (p *tab) types(part, at, text string) {
	p.t.Helper()
	p.look(at)
	p.until(`(() => {
		const e = document.getElementById("` + part + `-text");
		e.value += ".";
		e.dispatchEvent(new Event("input", { bubbles: true }));
		return document.querySelector("#` + at + ` .typing").innerText.includes(` + quote(text) + `);
	})()`)
	p.look(part)
	p.clear("#" + part + "-text")
}

// directCrash kills the bridge: what is written meanwhile, on both sides, is there once when it runs again.
func directCrash(t *testing.T, p *tab) {
	p.look("control")
	p.do(chromedp.Click(chromedp.CSS("#power")))
	p.shows("#control .process", "Dead")
	p.write("shop", "While it is dead")
	p.shows("#shop .message.visitor .tick", "Waiting for the bridge")
	p.write("telegram", "Answered while it was dead")
	p.look("control")
	p.do(chromedp.Click(chromedp.CSS("#power")))
	p.shows("#control .process", "Running")
	p.look("shop")
	p.shows("#shop .message.operator", "Answered while it was dead")
	p.shows("#shop .message.visitor .tick", "Delivered")
	for _, app := range apps() {
		p.look(app)
		p.shows("#"+app+" .message .body", "While it is dead")
	}
	p.look("shop")
	for _, one := range [][2]string{
		{"#shop .message", "While it is dead"}, {"#shop .message", "Answered while it was dead"}, {"#telegram .message", "While it is dead"},
		{"#discord .message", "While it is dead"}, {"#slack .message", "While it is dead"},
	} {
		var n int
		p.eval(`[...document.querySelectorAll(`+quote(one[0])+`)].filter((e) => e.textContent.includes(`+quote(one[1])+`)).length`, &n)
		if n != 1 {
			t.Errorf("%s shows %q %d times", one[0], one[1], n)
		}
	}
}
