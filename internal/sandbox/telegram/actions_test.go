package telegram

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// post sends a message over the network and returns the status, or an error where there is no answer.
func post(ctx context.Context, t *testing.T, o *office, base, text string) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/bot"+o.Token()+"/sendMessage",
		strings.NewReader(form("chat_id", "-1001", "text", text).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r) // a client would follow redirects
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestActions(t *testing.T) {
	opened := make(chan struct{})
	close(opened)
	tests := map[string]struct {
		action Action
		code   int // 0: no answer
		body   string
		exists bool
	}{
		"nothing":     {Action{}, 200, `"text":"x"`, true},
		"fail":        {Fail(400, "Bad Request: x"), 400, `{"ok":false,"error_code":400,"description":"Bad Request: x"}`, false},
		"flood":       {FloodWait(7), 429, `"parameters":{"retry_after":7}}`, false},
		"page":        {Page(502), 502, "<h1>502 Bad Gateway</h1>", false},
		"redirect":    {Redirect(302, "https://elsewhere.example/"), 302, "", false},
		"delay":       {Action{Delay: time.Millisecond}, 200, `"text":"x"`, true},
		"hold":        {Action{Hold: opened}, 200, `"text":"x"`, true},
		"drop before": {Action{DropBefore: true}, 0, "", false},
		"drop after":  {Action{DropAfter: true}, 0, "", true},
		"late lie":    {Action{Status: 500, Body: "oops", After: true}, 500, "oops", true},
		"hold answer": {Action{HoldAnswer: opened}, 200, `"text":"x"`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, Options{})
			base, err := o.Listen(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			o.Next("sendMessage", tt.action)
			code, body, err := post(t.Context(), t, o, base, "x")
			if code != tt.code || (err == nil) != (tt.code != 0) || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q %v", code, body, err)
			}
			if exists := len(o.Messages(o.chat, 0)) == 1; exists != tt.exists {
				t.Errorf("the message exists: %v", exists)
			}
			if code, _, err := post(t.Context(), t, o, base, "again"); code != 200 {
				t.Errorf("the next call: %d %v", code, err)
			}
			calls := o.Calls()
			if len(calls) != 2 || calls[0].Text != "x" || calls[0].Chat != -1001 || calls[1].N != 2 || o.Count("sendMessage") != 2 {
				t.Errorf("%+v", calls)
			}
			if err := o.Wait(t.Context(), func() bool { return o.Calls()[0].Code == tt.code && o.Calls()[1].Code == 200 }); err != nil {
				t.Errorf("%+v: %v", o.Calls(), err)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	o := newOffice(t, Options{})
	base, err := o.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	o.On("sendMessage", func(c Call) Action { return Action{Silence: c.Text == "x"} })
	ctx, cancel := context.WithCancel(t.Context())
	received, dropped := o.Await(Received, "sendMessage"), o.Await(Dropped, "sendMessage")
	result := make(chan error, 1)
	go func() {
		_, _, err := post(ctx, t, o, base, "x")
		result <- err
	}()
	<-received
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-dropped
	if code, _, err := post(t.Context(), t, o, base, "y"); code != 200 {
		t.Errorf("%d %v", code, err)
	}
	if n := len(o.Messages(o.chat, 0)); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// TestStages kills the client between the effect of its call and the answer, as a test of the bridge does.
func TestStages(t *testing.T) {
	o := newOffice(t, Options{})
	base, err := o.Listen(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var stages []Stage
	ctx, kill := context.WithCancel(t.Context())
	o.Observe(func(s Stage, c Call) {
		stages = append(stages, s) // one call at a time
		if s == Processed && c.N == 2 {
			kill()
		}
	})
	if code, _, err := post(ctx, t, o, base, "a"); code != 200 {
		t.Fatalf("%d %v", code, err)
	}
	if err := o.Wait(t.Context(), func() bool { return o.Calls()[0].Code == 200 }); err != nil {
		t.Fatal(err)
	}
	o.Next("sendMessage", Action{HoldAnswer: make(chan struct{})})
	dropped := o.Await(Dropped, "sendMessage")
	if _, _, err := post(ctx, t, o, base, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-dropped
	o.Close()
	if len(o.Messages(o.chat, 0)) != 2 {
		t.Error("the second message does not exist")
	}
	want := []Stage{Received, Processed, Answered, Received, Processed, Dropped}
	if len(stages) != len(want) {
		t.Fatalf("stages %v", stages)
	}
	for i := range want {
		if stages[i] != want[i] {
			t.Fatalf("stages %v", stages)
		}
	}
}

func TestControlsFault(t *testing.T) {
	o := newOffice(t, Options{})
	topic := o.OpenTopic(o.chat, o.user, "x")
	o.DeleteTopic(o.chat, topic.ID, GoneNotFound)
	for name, do := range map[string]func(){
		"chat":  func() { o.Say(-9, 0, o.user, "x") },
		"user":  func() { o.Say(o.chat, 0, 9, "x") },
		"topic": func() { o.Say(o.chat, topic.ID, o.user, "x") },
		"reply": func() { o.Reply(Message{Chat: o.chat, ID: 999}, o.user, "x") },
		"edit":  func() { o.Edit(Message{Chat: o.chat, ID: 999}, "x") },
		"close": func() { o.CloseTopic(o.chat, topic.ID, o.user) },
		"open":  func() { o.OpenTopic(-9, o.user, "x") },
		"group": func() { o.Upgrade(o.chat) },
		"html":  func() { o.Send(Post{Chat: o.chat, User: o.user, Text: "<x>", HTML: true}) },
	} {
		before := len(o.Faults())
		do()
		if len(o.Faults()) != before+1 {
			t.Errorf("%s: %v", name, o.Faults()[before:])
		}
	}
}
