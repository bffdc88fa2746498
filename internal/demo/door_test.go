package demo

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A visitor whose page talks to the bridge itself: the demo keeps who they are and which session they have, and sends nothing for them.
func TestDirectVisitor(t *testing.T) {
	r := newRig(t)
	id, _ := r.does("POST", "/demo/visitors", `{"name":"Kit","direct":true}`)["id"].(string)
	at := "/demo/visitors/" + id
	for _, test := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", at + "/messages", `{"text":"x"}`, 409, "talks to the bridge itself"},
		{"POST", at + "/burst", `{"count":3}`, 409, "talks to the bridge itself"},
		{"POST", at + "/typing", `{"typing":true}`, 409, "talks to the bridge itself"},
		{"PUT", at + "/session", `{"session":""}`, 400, "session: an id"},
		{"PUT", "/demo/visitors/none/session", `{"session":"x"}`, 404, "no visitor"},
		{"PUT", "/demo/visitors/" + r.enters("Ada") + "/session", `{"session":"x"}`, 409, "talks to the app server"},
		{"POST", at + "/wrote", `{"text":" "}`, 400, "text: 1 to"},
	} {
		status, said := r.ask(test.method, test.path, test.body)
		text, _ := said["error"].(string)
		if status != test.status || !strings.Contains(text, test.says) {
			t.Errorf("%s %s %s: %d %q", test.method, test.path, test.body, status, text)
		}
	}
	// The tabs of a browser share the session that the first of them was given.
	for _, given := range []string{"first", "second"} {
		if got := r.does("PUT", at+"/session", `{"session":"`+given+`"}`)["session"]; got != "first" {
			t.Errorf("after %s the session is %v", given, got)
		}
	}
	r.does("POST", at+"/wrote", `{"text":"Hello by the page"}`)
	if !strings.Contains(r.out.String(), "Kit, a visitor") || !strings.Contains(r.out.String(), "Hello by the page") {
		t.Errorf("the terminal does not tell it: %s", r.out.String())
	}
	// The app server is told of the visitor, too, by name, and has no chat of theirs.
	told := map[string]any{"type": "operator_message", "sessionId": "first", "messageId": "o1", "content": "Hi Kit", "operatorName": "Ana"}
	if status := r.calls("e1", told, nil); status != http.StatusNoContent {
		t.Fatalf("a callback is answered with %d", status)
	}
	r.demo.mu.Lock()
	last := r.received[len(r.received)-1]
	v, err := r.directVisitor(id)
	messages := len(v.Messages)
	r.demo.mu.Unlock()
	if err != nil || last.Visitor != "Kit" || messages != 0 {
		t.Errorf("%v: the callback is of %q, and there are %d messages", err, last.Visitor, messages)
	}
	r.does("DELETE", at, `{}`)
	r.await(func(one took) bool { return one.Path == "/api/sessions" && one.Body["identity"] != nil })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.got {
		if one.Body["visitorId"] == v.Direct.VisitorID || one.Path == "/api/disconnect" {
			t.Errorf("the app server sends %s for them: %v", one.Path, one.Body)
		}
	}
}

// The opening scene's question goes as a page's would.
func TestSpeaksAsPage(t *testing.T) {
	r := newRig(t)
	id, err := r.enterDirectly("Mia")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.speak(t.Context(), id, question); err == nil {
		t.Error("a session without an id is taken")
	}
	if _, err := r.settle(id, "s1"); err != nil {
		t.Fatal(err)
	}
	hello := r.await(func(one took) bool { return one.Path == "/pocketping/connect" })
	want := map[string]any{"id": "visitor-1", "name": "Mia"}
	if diff := cmp.Diff(want, hello.Body["identity"]); diff != "" {
		t.Error(diff)
	}
	r.answer(http.StatusForbidden)
	if err := r.speak(t.Context(), id, question); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a refusal is %v", err)
	}
}
