//go:build browser

package demo_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// intruder is in all that the foreign page tries, and in nothing that the bridge has.
const intruder = "intruder"

// attacks is what a page does to reach the bridge and the demo: each promise says what it could read. Whether anything was done is
// seen at the bridge.
const attacks = `async (bridge, page) => {
	const message = (id) => JSON.stringify({session: {id: "intruder", visitorId: "intruder"}, message: {id, sessionId: "intruder", content: "intruder"}});
	const read = [];
	const attempt = async (name, url, init) => {
		try {
			const answer = await fetch(url, init);
			if (answer.type !== "opaque" && answer.ok) read.push(name + ": " + (await answer.text()).slice(0, 200));
		} catch {}
	};
	const simple = (body) => ({method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body});
	await attempt("simple message", bridge + "/api/messages", simple(message("i1")));
	await attempt("simple event", bridge + "/api/events", simple(JSON.stringify({type: "visitor_message", ...JSON.parse(message("i2"))})));
	await attempt("simple status", bridge + "/api/operator/status", simple('{"online":true}'));
	await attempt("simple callback", bridge + "/api/callbacks", simple('{"url":"https://intruder.example/"}'));
	await attempt("message", bridge + "/api/messages", {method: "POST", headers: {"Content-Type": "application/json"}, body: message("i3")});
	await attempt("callback", bridge + "/api/callbacks/intruder", {method: "PUT", body: '{"url":"https://intruder.example/"}'});
	await attempt("callbacks", bridge + "/api/callbacks");
	await attempt("presence", bridge + "/api/presence");
	await attempt("metrics", bridge + "/metrics");
	await attempt("deliveries", bridge + "/api/deliveries");
	await attempt("secret", bridge + "/api/callbacks/demo/rotate", {method: "POST"});
	await attempt("secret, simple", bridge + "/api/callbacks/demo/rotate", simple(""));
	await attempt("answer", page + "/say", simple('{"text":"intruder"}'));
	await attempt("answer, JSON", page + "/say", {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"text":"intruder"}'});
	await attempt("demo", page + "/demo/state");
	navigator.sendBeacon(bridge + "/api/messages", message("i4"));
	for (const origin of ["", "allow-forms allow-scripts"]) { // of this page, and of none at all
		const frame = document.createElement("iframe");
		frame.name = "f" + Math.random();
		if (origin) frame.sandbox = origin;
		frame.srcdoc = "<form method=post enctype=text/plain action='" + bridge + "/api/messages'><input name='" +
			message(origin ? "i5" : "i6").slice(0, -1) + ",\"x\":\"' value='\"}'></form><scr" + "ipt>document.forms[0].submit()</scr" + "ipt>";
		const loaded = new Promise((done) => { let n = 0; frame.onload = () => { if (++n > 1) done(); }; setTimeout(done, 1000); });
		document.body.append(frame);
		await loaded;
	}
	await new Promise((done) => {
		const stream = new EventSource(bridge + "/api/events/stream");
		stream.onopen = () => { read.push("stream: it is open"); stream.close(); done(); };
		stream.onerror = () => { stream.close(); done(); };
	});
	await new Promise((done) => {
		const image = new Image();
		image.onload = image.onerror = done;
		image.src = bridge + "/api/presence";
	});
	return read;
}`

// A page of another origin, and one whose own name leads to this machine, can make neither the bridge nor the demo do anything.
func TestForeignPage(t *testing.T) {
	page, bridge := startDemoAndBridge(t)
	// As a page's own name leads to this machine at its second look-up (DNS rebinding), these two do from the first.
	b := browser{startBrowser(t, chromedp.Flag("host-resolver-rules", "MAP foreign.example 127.0.0.1, MAP rebound.example 127.0.0.1")), page}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Elsewhere</title><body></body>")
	}))
	defer site.Close()
	before := get(t, bridge+"/api/callbacks")
	portOf := func(base string) string {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		return u.Port()
	}
	for _, from := range []struct{ name, address, bridge, page string }{
		{"another name", "http://foreign.example:" + portOf(site.URL), bridge, page},
		{"another port", site.URL, bridge, page},
		{"another port, by the name localhost", "http://localhost:" + portOf(site.URL), "http://localhost:" + portOf(bridge), "http://localhost:" + portOf(page)},
		{"rebinding to the bridge", "http://rebound.example:" + portOf(bridge) + "/health", "http://rebound.example:" + portOf(bridge), page},
		{"rebinding to the demo", "http://rebound.example:" + portOf(page), bridge, "http://rebound.example:" + portOf(page)},
	} {
		t.Run(from.name, func(t *testing.T) {
			ctx, end := chromedp.NewContext(b.ctx)
			defer end()
			p := &tab{t, ctx, from.address, screens()[0]}
			p.do(chromedp.Steps())
			p.do(chromedp.Navigate(from.address))
			var read []string
			p.eval("("+attacks+")("+quote(from.bridge)+", "+quote(from.page)+")", &read)
			if len(read) > 0 {
				t.Errorf("the page could read %q", read)
			}
		})
	}
	// What the bridge took before this one is shown before it.
	request(t, http.MethodPost, bridge+"/api/messages", `{"session":{"id":"last","visitorId":"last"},"message":{"id":"l1","sessionId":"last","content":"the last one"}}`)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(hung); !strings.Contains(get(t, page+"/demo/state"), "the last one"); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the last message is not shown")
		}
	}
	if state := get(t, page+"/demo/state"); strings.Contains(state, intruder) {
		t.Errorf("a page of another origin wrote into the apps: %s", state)
	}
	if after := get(t, bridge+"/api/callbacks"); after != before {
		t.Errorf("the callbacks are %s, and were %s", after, before)
	}
	var team struct{ Operators []struct{ ID string } }
	if err := json.Unmarshal([]byte(get(t, bridge+"/api/presence")), &team); err != nil {
		t.Fatal(err)
	}
	for _, o := range team.Operators {
		if o.ID == "app" {
			t.Error("a page of another origin made the team online")
		}
	}
}

func get(t *testing.T, address string) string {
	t.Helper()
	return request(t, http.MethodGet, address, "")
}

// request asks as a program does, and wants it done.
func request(t *testing.T, method, address, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, address, resp.StatusCode, text, err)
	}
	return string(text)
}
