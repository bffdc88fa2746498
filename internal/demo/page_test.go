package demo

import (
	"bufio"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPageIsItsOwn(t *testing.T) {
	r := newRig(t)
	get := func(path, host string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Host = host
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, req)
		return w
	}
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/demo/page.css": "text/css; charset=utf-8", "/demo/main.js": "text/javascript; charset=utf-8",
		"/demo/icon.svg": "image/svg+xml", "/demo/state": "application/json",
	} {
		resp := get(path, "localhost:3002")
		policy := resp.Header().Get("Content-Security-Policy")
		if resp.Code != http.StatusOK || resp.Header().Get("Content-Type") != kind || resp.Header().Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(policy, "default-src 'none'; script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %d %v", path, resp.Code, resp.Header())
		}
	}
	for _, path := range []string{"/demo/", "/demo/none.js", "/demo/page", "/demo/%2e%2e/demo.go", "/demo/../page.go", "/other", "/bot/getMe"} {
		if resp := get(path, "localhost"); resp.Code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
	for host, status := range map[string]int{
		"localhost": 200, "localhost:80": 200, "127.0.0.1:3002": 200, "[::1]:3002": 200, "127.9.9.9": 200,
		"evil.example": 421, "localhost.evil.example:3002": 421, "192.168.1.7:3002": 421, "0.0.0.0:3002": 421, "": 421,
	} {
		if resp := get("/demo/state", host); resp.Code != status {
			t.Errorf("as %q it answers %d, want %d", host, resp.Code, status)
		}
	}
}

// Nothing in the page needs what its policy forbids, and nothing leads elsewhere.
func TestAssetsAreStrict(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:|<script(\s*>|[^>]*>[^<])|<style|\sstyle=|\son[a-z]+="|setAttribute\("style|@import|\burl\(`)
	elsewhere := regexp.MustCompile(`https?://[^"'\s)]+`)
	total := 0
	err := fs.WalkDir(assets, "page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(assets, path)
		if err != nil {
			return err
		}
		total += len(content)
		for _, found := range forbidden.FindAll(content, -1) {
			t.Errorf("%s has %q", path, found)
		}
		for _, found := range elsewhere.FindAllString(string(content), -1) {
			if found != "http://www.w3.org/2000/svg" {
				t.Errorf("%s leads to %s", path, found)
			}
		}
		return nil
	})
	if err != nil || total < 10_000 {
		t.Errorf("%d bytes of page, %v", total, err)
	}
}

func TestOnlyThisPageActs(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		name, kind string
		header     map[string]string
		status     int
	}{
		{"the page", "application/json", map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"the page, in an older browser", "application/json", map[string]string{"Origin": "http://localhost:3002"}, 200},
		{"a terminal", "application/json; charset=utf-8", nil, 200},
		{"another site", "application/json", map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		{"another port", "application/json", map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:9000"}, 403},
		{"another site, in an older browser", "application/json", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a form", "text/plain", map[string]string{"Sec-Fetch-Site": "none"}, 415},
		{"nothing told", "", nil, 415},
	} {
		req := httptest.NewRequest(http.MethodPost, "/demo/visitors", strings.NewReader(`{}`))
		req.Host = "localhost:3002"
		req.Header.Set("Content-Type", test.kind)
		for name, value := range test.header {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, req)
		if w.Code != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, w.Code, w.Body, test.status)
		}
	}
}

func TestBadInput(t *testing.T) {
	r := newRig(t)
	id := r.enters("Kit")
	m, _ := r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"Hello"}`)["id"].(string)
	at := "/demo/visitors/" + id
	long := strings.Repeat("ä", 4001)
	for _, test := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/demo/visitors", ``, 400, "not a JSON object"},
		{"POST", "/demo/visitors", `[]`, 400, "not a JSON object"},
		{"POST", "/demo/visitors", `{"name":"a"} {}`, 400, "one JSON object"},
		{"POST", "/demo/visitors", "{\"name\":\"\xff\"}", 400, "UTF-8"},
		{"POST", "/demo/visitors", `{"name":7}`, 400, "name: a JSON number"},
		{"POST", "/demo/visitors", `{"nam":"a"}`, 400, `no field "nam"`},
		{"POST", "/demo/visitors", `{"name":"` + long + `"}`, 400, "name: at most 40"},
		{"POST", "/demo/visitors", `{"name":"a\u0000b"}`, 400, "printable"},
		{"POST", "/demo/visitors/none/messages", `{"text":"x"}`, 404, `no visitor "none"`},
		{"POST", at + "/messages", `{"text":" "}`, 400, "text: write something"},
		{"POST", at + "/messages", `{"text":"` + long + `"}`, 400, "text: at most 4000"},
		{"POST", at + "/messages", `{"text":"x","thread":"1"}`, 400, "thread: visitors have none"},
		{"POST", at + "/messages", `{"text":"x","replyTo":"none"}`, 404, "replyTo: there is no message"},
		{"POST", at + "/messages", `{"file":{"name":"","data":"aGk="}}`, 400, "file.name"},
		{"POST", at + "/messages", `{"file":{"name":"a\u0007","data":"aGk="}}`, 400, "file.name"},
		{"POST", at + "/messages", `{"file":{"name":"a","data":""}}`, 400, "file.data: the file is empty"},
		{"POST", at + "/messages", `{"file":{"name":"a","data":"*"}}`, 400, ""},
		{"POST", at + "/messages", `{"file":{"name":"a","data":"` + strings.Repeat("A", maxBody) + `"}}`, 413, "at most 8 MiB"},
		{"PUT", at + "/messages/none", `{"text":"x"}`, 404, "no message"},
		{"PUT", at + "/messages/" + m, `{"text":""}`, 400, "text: 1 to 4000"},
		{"DELETE", at + "/messages/none", `{}`, 404, "no message"},
		{"POST", at + "/rating", `{"score":3}`, 409, "no rating was asked for"},
		{"POST", at + "/rating", `{"score":0}`, 400, "score: 1 to 5"},
		{"POST", at + "/burst", `{"count":101}`, 400, "count: 1 to 100"},
		{"POST", "/demo/rush", `{"visitors":40,"each":3}`, 400, "at most 100 messages in all"},
		{"POST", "/demo/rush", `{"visitors":0,"each":3}`, 400, "visitors, each: 1 or more"},
		{"POST", "/demo/visitors/none/typing", `{"typing":true}`, 404, "no visitor"},
		{"POST", "/demo/visitors/none/read", `{}`, 404, "no visitor"},
		{"DELETE", "/demo/visitors/none", `{}`, 404, "no visitor"},
		{"POST", "/demo/apps/irc/messages", `{"text":"x"}`, 404, `no app "irc"`},
		{"POST", "/demo/apps/telegram/messages", `{"text":""}`, 400, "text: write something"},
		{"POST", "/demo/apps/telegram/messages", `{"text":"x","thread":"99"}`, 404, `no topic "99"`},
		{"POST", "/demo/apps/telegram/messages", `{"text":"x","thread":"x"}`, 404, `no topic "x"`},
		{"POST", "/demo/apps/telegram/messages", `{"text":"x","replyTo":"99"}`, 404, "no message"},
		{"POST", "/demo/apps/telegram/messages", `{"text":"` + long + long + `"}`, 400, "at most 4096"},
		{"POST", "/demo/apps/discord/messages", `{"text":"x","thread":"99"}`, 404, "no thread"},
		{"POST", "/demo/apps/discord/messages", `{"text":"` + long + `"}`, 400, "at most 2000"},
		{"POST", "/demo/apps/discord/messages", `{"text":"/nonsense"}`, 400, "/nonsense"},
		{"POST", "/demo/apps/slack/messages", `{"text":"x","thread":"1.2"}`, 404, "no thread"},
		{"POST", "/demo/apps/slack/messages", `{"text":"x","replyTo":"1.2"}`, 400, "no replies"},
		{"PUT", "/demo/apps/slack/messages/1.2", `{"text":"x"}`, 404, "no message"},
		{"PUT", "/demo/apps/slack/messages/1.2", `{"text":""}`, 400, "text"},
		{"DELETE", "/demo/apps/discord/messages/1", `{}`, 404, "no message"},
		{"POST", "/demo/apps/discord/messages/1/reactions", `{"emoji":"👍"}`, 404, "no message"},
		{"POST", "/demo/apps/discord/messages/1/reactions", `{"emoji":""}`, 400, "emoji"},
		{"PUT", "/demo/apps/irc/down", `{"on":true}`, 404, "no app"},
		{"PUT", "/demo/switches/none", `{"on":true}`, 404, "no switch"},
		{"PUT", "/demo/switches/limits", `{"on":1}`, 400, "on: a JSON number"},
		{"POST", "/demo/bridge", `{"do":"dance"}`, 400, `"kill" or "start"`},
		{"POST", "/demo/bridge", `{"do":"kill"}`, 409, "not running"},
	} {
		status, said := r.ask(test.method, test.path, test.body)
		text, _ := said["error"].(string)
		if status != test.status || text == "" || !strings.Contains(text, test.says) {
			t.Errorf("%s %s %.60s: %d %q, want %d and %q", test.method, test.path, test.body, status, text, test.status, test.says)
		}
	}
	if status, said := r.ask("POST", "/demo/bridge", `{"do":"start"}`); status != http.StatusBadGateway || !strings.Contains(said["error"].(string), "does not start") {
		t.Errorf("a bridge that does not start: %d %v", status, said)
	}
}

// What operators do, in each app. The bridge is not there: its messages are not either.
func TestOperatorsAct(t *testing.T) {
	for _, name := range []string{"telegram", "discord", "slack"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			at := "/demo/apps/" + name
			i := slices.IndexFunc(r.apps, func(a app) bool { return a.name() == name })
			last := func() appMessage {
				all := r.apps[i].look().Main.Messages
				if len(all) == 0 {
					return appMessage{}
				}
				return all[len(all)-1]
			}
			r.does("POST", at+"/messages", `{"text":"Lunch? https://example.com/menu"}`)
			m := last()
			if plainOf(m.Text) != "Lunch? https://example.com/menu" || m.Raw == "" || !m.Mine || m.Bot || m.At.IsZero() || m.ID == "" {
				t.Fatalf("written is %+v", m)
			}
			if !slices.ContainsFunc(m.Text, func(s span) bool { return s.URL == "https://example.com/menu" }) {
				t.Errorf("the address is no link: %+v", m.Text)
			}
			r.does("PUT", at+"/messages/"+m.ID, `{"text":"Dinner?"}`)
			if got := last(); plainOf(got.Text) != "Dinner?" || !got.Edited || got.ID != m.ID {
				t.Errorf("edited is %+v", got)
			}
			r.does("POST", at+"/messages/"+m.ID+"/reactions", `{"emoji":"👍"}`)
			if got := last().Reactions; !slices.Equal(got, []reaction{{"👍", 1, true}}) {
				t.Errorf("the reactions are %+v", got)
			}
			r.does("POST", at+"/messages/"+m.ID+"/reactions", `{"emoji":"👍"}`)
			if got := last().Reactions; len(got) != 0 {
				t.Errorf("the reactions are still %+v", got)
			}
			r.does("POST", at+"/typing", `{}`)
			if name != "slack" {
				r.does("POST", at+"/messages", `{"text":"At eight","replyTo":"`+m.ID+`"}`)
				if got := last(); got.ReplyTo != m.ID {
					t.Errorf("the reply is %+v", got)
				}
			}
			r.does("POST", at+"/messages", `{"text":"See","file":{"name":"<menu>.svg","data":"PHN2Zy8+"}}`)
			files := last().Files
			if len(files) != 1 || files[0].Size != 6 || files[0].Image || plainOf(last().Text) != "See" {
				t.Fatalf("the upload is %+v", last())
			}
			resp, err := r.page.Client().Get(r.page.URL + files[0].URL)
			if err != nil {
				t.Fatal(err)
			}
			content, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			h := resp.Header
			if string(content) != "<svg/>" || h.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") ||
				!strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("the file is served as %q with %v", content, h)
			}
			if status, _ := r.ask("GET", at+"/files/none", ""); status != http.StatusNotFound {
				t.Errorf("no file is answered %d", status)
			}
			r.does("DELETE", at+"/messages/"+m.ID, `{}`)
			if slices.ContainsFunc(r.apps[i].look().Main.Messages, func(x appMessage) bool { return x.ID == m.ID && x.Service == "" }) {
				t.Error("it is still there")
			}
		})
	}
}

func TestGate(t *testing.T) {
	r := newRig(t)
	call := func() error {
		resp, err := http.Get(r.telegram.url)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	open, err := net.Dial("tcp", strings.TrimPrefix(r.telegram.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := io.WriteString(open, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(open).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	r.does("PUT", "/demo/apps/telegram/down", `{"on":true}`)
	if rest, err := io.ReadAll(open); err == nil && len(rest) == 0 {
		t.Log("closed in order")
	}
	if err := call(); err == nil || !r.telegram.look().Down {
		t.Errorf("it is reached while it is down: %v", err)
	}
	r.does("PUT", "/demo/apps/telegram/down", `{"on":false}`)
	if err := call(); err != nil || r.telegram.look().Down {
		t.Errorf("it is not reached again: %v", err)
	}
}

// The stream begins with everything, and goes on with what has changed.
func TestStream(t *testing.T) {
	r := newRig(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.page.URL+"/demo/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.page.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	next := func() map[string]json.RawMessage {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				var patch map[string]json.RawMessage
				if err := json.Unmarshal([]byte(data), &patch); err != nil {
					t.Fatal(err)
				}
				return patch
			}
		}
	}
	all := slices.Sorted(maps.Keys(next()))
	if want := []string{"bridge", "discord", "faults", "page", "received", "shop", "slack", "steps", "switches", "telegram"}; !slices.Equal(all, want) {
		t.Errorf("it begins with %q", all)
	}
	r.does("PUT", "/demo/switches/limits", `{"on":true}`)
	if patch := next(); len(patch) != 1 || string(patch["switches"]) != `{"limits":true,"callbackDown":false}` {
		t.Errorf("it goes on with %s", patch)
	}
	r.does("POST", "/demo/apps/slack/messages", `{"text":"hm"}`)
	if patch := next(); len(patch) != 1 || !strings.Contains(string(patch["slack"]), `"hm"`) {
		t.Errorf("it goes on with %s", patch)
	}
	if secret := r.secret.Reveal(); strings.Contains(r.out.String(), secret) {
		t.Error("the transcript shows the secret")
	}
}

func TestSay(t *testing.T) {
	r := newRig(t)
	topic := r.telegram.OpenTopic(r.telegram.chat, r.telegram.ana.ID, "Mia")
	post := func(body string) int {
		resp, err := r.page.Client().Post(r.page.URL+"/say", "application/x-www-form-urlencoded", strings.NewReader(body)) // as curl -d
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := []int{post(`{"topic":"Mia","text":"Hi"}`), post(`{"topic":"Tom","text":"Hi"}`), post(`{}`), post(`x`)}; !slices.Equal(got, []int{204, 404, 400, 400}) {
		t.Errorf("it answers %v", got)
	}
	if said := r.telegram.Messages(r.telegram.chat, topic.ID); len(said) == 0 || said[len(said)-1].Text != "Hi" {
		t.Errorf("said is %v", said)
	}
}
