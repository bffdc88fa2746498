package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hung only ends a test that hangs.
const hung = 2 * time.Minute

// took is a request that the bridge took.
type took struct {
	Method, Path, Key, Callback string
	Body                        map[string]any
}

// rig is a demo with its page and its stand-ins, and with something that answers in the bridge's place.
type rig struct {
	*demo
	t      *testing.T
	page   *httptest.Server
	out    *syncBuffer
	bridge *httptest.Server

	mu     sync.Mutex
	got    []took
	status int // what the bridge answers
	change chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, out: &syncBuffer{}, status: http.StatusOK, change: make(chan struct{})}
	r.bridge = httptest.NewServer(http.HandlerFunc(r.take))
	r.demo = newDemo(Options{Out: r.out, Command: []string{"/nonexistent"}}, t.TempDir())
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	r.life = ctx
	if err := r.open(ctx, &group); err != nil {
		t.Fatal(err)
	}
	r.demo.bridge = r.bridge.URL
	group.Go(func() { r.sendAll(ctx) })
	r.page = httptest.NewServer(r.handler())
	t.Cleanup(func() {
		stop()
		r.page.Close()
		r.bridge.Close()
		r.close()
		group.Wait()
		for _, a := range r.apps {
			for _, fault := range a.faults() {
				t.Errorf("%s: %s", a.name(), fault)
			}
		}
	})
	return r
}

// take is the bridge.
func (r *rig) take(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	one := took{Method: req.Method, Path: req.URL.Path, Key: req.Header.Get("Idempotency-Key"), Callback: req.Header.Get("X-PocketPing-Callback")}
	_ = json.Unmarshal(body, &one.Body)
	r.mu.Lock()
	status := r.status
	r.got = append(r.got, one)
	close(r.change)
	r.change = make(chan struct{})
	r.mu.Unlock()
	if strings.HasPrefix(req.URL.Path, "/files/") {
		_, _ = io.WriteString(w, "an operator's file")
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"ok":true}`)
}

func (r *rig) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// await waits until the bridge has been sent what is asked for, and returns it.
func (r *rig) await(what func(took) bool) took {
	r.t.Helper()
	deadline := time.After(hung)
	for {
		r.mu.Lock()
		i, change := slices.IndexFunc(r.got, what), r.change
		var found took
		if i >= 0 {
			found = r.got[i]
		}
		r.mu.Unlock()
		if i >= 0 {
			return found
		}
		select {
		case <-change:
		case <-deadline:
			r.t.Fatal("the bridge is not sent it")
		}
	}
}

// until waits until the state is so.
func (r *rig) until(so func() bool) {
	r.t.Helper()
	deadline := time.After(hung)
	for {
		change := r.changes()
		if so() {
			return
		}
		select {
		case <-change:
		case <-deadline:
			r.t.Fatal("it does not come to this")
		}
	}
}

// ask makes a request to the page and returns the answer's status and body.
func (r *rig) ask(method, path, body string) (int, map[string]any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.page.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.page.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var said map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, said
}

// does makes a request that has to be granted.
func (r *rig) does(method, path, body string) map[string]any {
	r.t.Helper()
	status, said := r.ask(method, path, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s %s: %d %v", method, path, body, status, said)
	}
	return said
}

func (r *rig) enters(name string) string {
	r.t.Helper()
	id, _ := r.does("POST", "/demo/visitors", `{"name":"`+name+`"}`)["id"].(string)
	return id
}

// chat returns a visitor as the page shows it.
func (r *rig) chat(session string) visitor {
	r.demo.mu.Lock()
	defer r.demo.mu.Unlock()
	v, err := r.visitorOf(session)
	if err != nil {
		r.t.Fatal(err)
	}
	shown := *v
	shown.Messages = slices.Clone(v.Messages)
	return shown
}

// calls is a callback of the bridge's, signed as the contract says, but for what change does to it.
func (r *rig) calls(id string, event map[string]any, change func(h http.Header)) int {
	r.t.Helper()
	body, err := json.Marshal(event)
	if err != nil {
		r.t.Fatal(err)
	}
	mac := func(parts ...string) []byte {
		m := hmac.New(sha256.New, []byte(r.secret.Reveal()))
		for _, p := range parts {
			_, _ = io.WriteString(m, p)
		}
		return m.Sum(nil)
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req := httptest.NewRequest(http.MethodPost, "/callback", bytes.NewReader(body))
	req.Header.Set("X-PocketPing-Event", fmt.Sprint(event["type"]))
	req.Header.Set("X-PocketPing-Signature", "sha256="+hex.EncodeToString(mac(string(body))))
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac(id, ".", at, ".", string(body))))
	if change != nil {
		change(req.Header)
	}
	w := httptest.NewRecorder()
	r.backend().ServeHTTP(w, req)
	return w.Code
}

func TestVisitorActs(t *testing.T) {
	r := newRig(t)
	id := r.enters("  Kit   K ")
	first := r.await(func(x took) bool { return x.Path == "/api/sessions" })
	if name := r.chat(id).Name; name != "Kit K" || first.Callback != callbackID || first.Body["id"] != id || first.Key == "" {
		t.Errorf("%q enters as %+v", name, first)
	}
	if again := r.chat(r.enters("kit k")).Name; again != "kit k 2" {
		t.Errorf("a second one of the name is called %q", again)
	}

	m, _ := r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"Hello"}`)["id"].(string)
	sent := r.await(func(x took) bool { return x.Path == "/api/messages" })
	message, _ := sent.Body["message"].(map[string]any)
	if message["id"] != m || message["content"] != "Hello" || message["sessionId"] != id {
		t.Errorf("sent is %v", message)
	}
	r.until(func() bool { return r.chat(id).Messages[0].Accepted })

	// What the bridge does not take is sent again, the same, and in order.
	r.answer(http.StatusServiceUnavailable)
	r.does("PUT", "/demo/visitors/"+id+"/messages/"+m, `{"text":"Hello!"}`)
	r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"Second","replyTo":"`+m+`"}`)
	edit := r.await(func(x took) bool { return x.Body["type"] == "visitor_message_edited" })
	r.answer(http.StatusOK)
	r.await(func(x took) bool {
		message, _ := x.Body["message"].(map[string]any)
		return x.Path == "/api/messages" && message["content"] == "Second" && message["replyTo"] == m
	})
	r.mu.Lock()
	edits := slices.DeleteFunc(slices.Clone(r.got), func(x took) bool { return x.Body["type"] != "visitor_message_edited" })
	r.mu.Unlock()
	for _, x := range edits {
		if diff := cmp.Diff(edit, x); diff != "" {
			t.Errorf("a repeat differs: %s", diff)
		}
	}
	if len(edits) < 2 || edit.Body["content"] != "Hello!" || edit.Body["messageId"] != m {
		t.Errorf("of the edit there are %d, the first %v", len(edits), edit.Body)
	}

	r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"","file":{"name":"C:\\pictures\\a.txt","type":"text/plain","data":"aGk="}}`)
	with := r.await(func(x took) bool { return strings.Contains(fmt.Sprint(x.Body["message"]), "a.txt") })
	message, _ = with.Body["message"].(map[string]any)
	files, _ := message["attachments"].([]any)
	file, _ := files[0].(map[string]any)
	resp, err := http.Get(fmt.Sprint(file["url"]))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if content, _ := io.ReadAll(resp.Body); string(content) != "hi" || file["filename"] != "a.txt" || file["size"] != 2.0 {
		t.Errorf("the file is %v, its content %q", file, content)
	}

	r.does("DELETE", "/demo/visitors/"+id+"/messages/"+m, `{}`)
	r.await(func(x took) bool { return x.Body["type"] == "visitor_message_deleted" && x.Body["messageId"] == m })
	if got := r.chat(id).Messages[0]; !got.Deleted || got.Text != "" {
		t.Errorf("deleted is %+v", got)
	}
	r.does("POST", "/demo/visitors/"+id+"/typing", `{"typing":true}`)
	r.await(func(x took) bool { return x.Body["type"] == "visitor_typing" && x.Body["isTyping"] == true })
	r.does("POST", "/demo/visitors/"+id+"/burst", `{"count":3}`)
	r.await(func(x took) bool { return strings.Contains(fmt.Sprint(x.Body["message"]), "Message 3 of 3") })
	r.does("DELETE", "/demo/visitors/"+id, `{}`)
	r.await(func(x took) bool { return x.Path == "/api/disconnect" && x.Body["reason"] == "page_unload" })
	if status, _ := r.ask("POST", "/demo/visitors/"+id+"/messages", `{"text":"x"}`); status != http.StatusNotFound {
		t.Errorf("who has left writes with %d", status)
	}
}

// What the bridge refuses for good is shown, and what comes after it goes on.
func TestRefusedByTheBridge(t *testing.T) {
	r := newRig(t)
	id := r.enters("")
	r.until(func() bool { r.demo.mu.Lock(); defer r.demo.mu.Unlock(); return len(r.outbox) == 0 })
	r.answer(http.StatusBadRequest)
	r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"x"}`)
	r.until(func() bool { return len(r.chat(id).Messages[0].Failed) > 0 })
	r.answer(http.StatusOK)
	r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"y"}`)
	r.until(func() bool { return r.chat(id).Messages[1].Accepted })
}

func TestCallbacks(t *testing.T) {
	r := newRig(t)
	id := r.enters("Kit")
	m, _ := r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"Hello"}`)["id"].(string)
	reply := map[string]any{
		"type": "operator_message", "sessionId": id, "messageId": "slack:1", "content": "Yes", "operatorName": "Cleo", "sourceBridge": "slack",
		"replyToMessageId": m, "attachments": []any{
			map[string]any{"filename": "a.pdf", "size": 5, "url": r.bridge.URL + "/files/abc"},
			map[string]any{"filename": "b.pdf", "size": 5, "url": "https://elsewhere.example/files/abc"},
		},
	}
	for _, test := range []struct {
		name   string
		change func(http.Header)
	}{
		{"no signature", func(h http.Header) { h.Del("X-PocketPing-Signature") }},
		{"another signature", func(h http.Header) { h.Set("X-PocketPing-Signature", "sha256="+strings.Repeat("0", 64)) }},
		{"no standard signature", func(h http.Header) { h.Del("Webhook-Signature") }},
		{"another id", func(h http.Header) { h.Set("Webhook-Id", "evt_0") }},
		{"an old one", func(h http.Header) { h.Set("Webhook-Timestamp", "1700000000") }},
	} {
		if status := r.calls("evt_1", reply, test.change); status != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", test.name, status)
		}
	}
	if n := len(r.chat(id).Messages); n != 1 {
		t.Fatalf("the chat has %d messages", n)
	}
	r.does("PUT", "/demo/switches/callback-down", `{"on":true}`)
	if status := r.calls("evt_2", reply, nil); status != http.StatusServiceUnavailable || len(r.chat(id).Messages) != 1 {
		t.Errorf("while it is down it answers %d", status)
	}
	r.does("PUT", "/demo/switches/callback-down", `{"on":false}`)
	for range 2 { // the second is a repeat
		if status := r.calls("evt_2", reply, nil); status != http.StatusNoContent {
			t.Errorf("answered %d", status)
		}
	}
	got := r.chat(id).Messages
	if len(got) != 2 || got[1].Text != "Yes" || got[1].Author != "Cleo" || got[1].App != "slack" || got[1].ReplyTo != m {
		t.Fatalf("the chat has %+v", got)
	}
	if f := got[1].Files; len(f) != 2 || f[0].URL == "" || f[1].URL != "" {
		t.Errorf("the files are %+v", f)
	} else if resp, err := r.page.Client().Get(r.page.URL + f[0].URL); err != nil {
		t.Error(err)
	} else {
		content, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(content) != "an operator's file" || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("the file is %q with %v", content, resp.Header)
		}
	}
	r.demo.mu.Lock()
	last := r.received[len(r.received)-1]
	r.demo.mu.Unlock()
	if last.Attempts != 3 || !last.Genuine || last.Status != http.StatusNoContent || last.Visitor != "Kit" || len(last.Headers) != 5 {
		t.Errorf("received is %+v", last)
	}

	n := 10
	call := func(event map[string]any) {
		t.Helper()
		event["sessionId"] = id
		if status := r.calls(fmt.Sprintf("evt_%d", n), event, nil); status != http.StatusNoContent {
			t.Errorf("%v is answered %d", event, status)
		}
		n++
	}
	call(map[string]any{"type": "operator_message_edited", "messageId": "slack:1", "content": "Yes!"})
	call(map[string]any{"type": "message_delivered", "messageId": m, "sourceBridge": "discord"})
	call(map[string]any{"type": "message_read", "messageIds": []string{m}, "status": "read", "sourceBridge": "discord"})
	call(map[string]any{"type": "message_failed", "messageId": m, "sourceBridge": "slack", "reason": "rejected"})
	call(map[string]any{"type": "operator_typing", "isTyping": true, "sourceBridge": "discord"})
	call(map[string]any{"type": "csat_request"})
	call(map[string]any{"type": "session_closed", "operatorName": "Cleo"})
	call(map[string]any{"type": "ai_toggle", "enabled": true})
	v := r.chat(id)
	own := v.Messages[0]
	if v.Messages[1].Text != "Yes!" || !v.Messages[1].Edited || !slices.Equal(own.Apps, []string{"discord"}) || !own.Read || own.ReadIn != "discord" ||
		!slices.Equal(own.Failed, []string{"slack: rejected"}) || v.Typing != "discord" || v.Rating != "asked" || !v.Closed ||
		v.Messages[2].Text != "Cleo closed the conversation" || v.Messages[3].From != "note" {
		t.Errorf("the chat is %+v", v)
	}
	call(map[string]any{"type": "session_reopened"})
	call(map[string]any{"type": "operator_message_deleted", "messageId": "slack:1"})
	call(map[string]any{"type": "something_new"})
	if v = r.chat(id); v.Closed || !v.Messages[1].Deleted || v.Messages[1].Text != "" {
		t.Errorf("the chat is %+v", v)
	}
	if status, _ := r.ask("POST", "/demo/visitors/"+id+"/rating", `{"score":6}`); status != http.StatusBadRequest {
		t.Errorf("a rating of 6 is answered %d", status)
	}
	r.does("POST", "/demo/visitors/"+id+"/rating", `{"score":4,"comment":"fine"}`)
	r.await(func(x took) bool { return x.Body["type"] == "csat_submitted" && x.Body["score"] == 4.0 })
	if status, _ := r.ask("POST", "/demo/visitors/"+id+"/rating", `{"score":4}`); status != http.StatusConflict {
		t.Errorf("a second rating is answered %d", status)
	}
	if status := r.calls("evt_99", map[string]any{"type": "operator_status", "online": true,
		"operators": []any{map[string]any{"name": "Ana", "platform": "telegram", "status": "online"}}}, nil); status != http.StatusNoContent || !r.online {
		t.Errorf("online is %v", r.online)
	}
}

func TestVisitorReads(t *testing.T) {
	r := newRig(t)
	id := r.enters("Kit")
	r.calls("evt_1", map[string]any{"type": "operator_message", "sessionId": id, "messageId": "telegram:7", "content": "Hi"}, nil)
	r.does("POST", "/demo/visitors/"+id+"/read", `{}`)
	read := r.await(func(x took) bool { return x.Body["type"] == "message_read" })
	if diff := cmp.Diff([]any{"telegram:7"}, read.Body["messageIds"]); diff != "" {
		t.Error(diff)
	}
	r.does("POST", "/demo/visitors/"+id+"/read", `{}`)
	r.does("POST", "/demo/visitors/"+id+"/messages", `{"text":"ok"}`)
	r.await(func(x took) bool { return x.Path == "/api/messages" })
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(slices.DeleteFunc(slices.Clone(r.got), func(x took) bool { return x.Body["type"] != "message_read" })); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

func TestRegister(t *testing.T) {
	r := newRig(t)
	if err := r.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.await(func(x took) bool { return x.Path == "/api/callbacks/demo" })
	if got.Method != http.MethodPut || got.Body["url"] != r.app+"/callback" || got.Body["secret"] != r.secret.Reveal() {
		t.Errorf("it registers with %+v", got)
	}
	r.answer(http.StatusBadRequest)
	if err := r.register(t.Context()); err == nil || strings.Contains(err.Error(), r.secret.Reveal()) {
		t.Errorf("a refusal is %v", err)
	}
}
