package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/telegram"
)

// listening runs Listen with an inbox that has a cursor. stop ends it and returns its error.
func listening(t *testing.T, p *place, cursor string) (inbox *bridgetest.Inbox, ended <-chan error, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	inbox = bridgetest.NewInbox(cursor)
	done := make(chan error, 1)
	go func() { done <- p.Listen(ctx, inbox) }()
	return inbox, done, func() error { cancel(); return <-done }
}

// failed returns the error with which Listen ended by itself.
func failed(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("Listen goes on")
		return nil
	}
}

func TestListenIntroduces(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	p.say(generalThread(p.chat), "/status@bridge_sandbox_bot now", "")
	p.say(generalThread(p.chat), "/status@another_bot", "")
	p.say(generalThread(p.chat), "done", "")
	inbox, _, stop := listening(t, p, "")
	got := inbox.Wait(t, 2)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if c := got[0].Command; c == nil || c.Name != "status" || c.Args != "now" {
		t.Errorf("%+v", got[0])
	}
	if got[1].Text != "done" || len(inbox.All()) != 3 {
		t.Errorf("%+v", got)
	}
	set, all := p.server.Commands("default"), bridge.Commands()
	if len(set) != len(all) || len(set) > 100 {
		t.Fatalf("the menu has %d of %d commands", len(set), len(all))
	}
	name := regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
	for i, c := range set {
		if n := utf8.RuneCountInString(c.Description); c.Command != all[i].Name || c.Description != all[i].Help || !name.MatchString(c.Command) || n < 1 || n > 256 {
			t.Errorf("%+v stands for %+v", c, all[i])
		}
	}
}

// What is asked at the start is worth a warning; only the token is worth stopping for.
func TestListenStartFailures(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	for _, op := range []string{opMe, opMenu, opChat} {
		p.server.Next(op, sandbox.Page(502))
	}
	p.say(generalThread(p.chat), "hello", "")
	inbox, _, stop := listening(t, p, "")
	inbox.Wait(t, 1)
	_ = stop()

	for _, op := range []string{opMe, opMenu} {
		p.server.Next(op, sandbox.Fail(401, "Unauthorized"))
		_, ended, _ := listening(t, p, "")
		if d := reason(t, failed(t, ended)); d.Reason != bridge.ReasonAuth || d.Op != op {
			t.Errorf("%s: %v", op, d)
		}
	}
}

func TestListenRefusals(t *testing.T) {
	for _, c := range []struct {
		action sandbox.Action
		reason bridge.Reason
		detail string
	}{
		{sandbox.Fail(401, "Unauthorized"), bridge.ReasonAuth, "TELEGRAM_BOT_TOKEN"},
		{sandbox.Fail(404, "Not Found"), bridge.ReasonAuth, "TELEGRAM_BOT_TOKEN"},
		{sandbox.FloodWait(9), bridge.ReasonRateLimited, "retry after 9"},
		{sandbox.Page(502), bridge.ReasonTransient, "502"},
		{sandbox.Action{DropBefore: true}, bridge.ReasonTransient, "closed"},
		{sandbox.Action{Status: 200, Body: `{"ok":true,"result":{}}`}, bridge.ReasonTransient, ""},
	} {
		p := start(t, sandbox.Options{}, sandbox.Chat{})
		p.server.Next(opPoll, c.action)
		_, ended, _ := listening(t, p, "")
		d := reason(t, failed(t, ended))
		if d.Reason != c.reason || d.Scope != bridge.ScopeDestination || d.Op != opPoll || !strings.Contains(d.Detail, c.detail) {
			t.Errorf("%+v", d)
		}
		if c.reason == bridge.ReasonRateLimited && d.RetryAfter != 9*time.Second {
			t.Errorf("RetryAfter %v", d.RetryAfter)
		}
	}
}

// A webhook that somebody set is removed once, without what waits in it.
func TestListenRemovesWebhook(t *testing.T) {
	const conflict = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	p.say(generalThread(p.chat), "hello", "")
	p.server.Next(opPoll, sandbox.Fail(409, conflict))
	inbox, _, stop := listening(t, p, "")
	inbox.Wait(t, 1)
	_ = stop()
	if n := p.server.Count(opUnhook); n != 1 {
		t.Errorf("deleteWebhook was called %d times", n)
	}
	for _, c := range p.server.Calls() {
		if c.Method == opUnhook && c.Params["drop_pending_updates"] == "true" {
			t.Error("what waits is dropped")
		}
	}

	p = start(t, sandbox.Options{}, sandbox.Chat{})
	p.server.Next(opPoll, sandbox.Fail(409, conflict), sandbox.Fail(409, conflict))
	_, ended, _ := listening(t, p, "")
	if d := reason(t, failed(t, ended)); d.Reason != bridge.ReasonTransient || !strings.Contains(d.Detail, "webhook") {
		t.Errorf("%v", d)
	}
}

// An update that cannot be read is skipped and said; those after it are not held up.
func TestListenPoison(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	p.server.PushUpdate(map[string]any{"message": []int{1}})
	p.server.PushUpdate(map[string]any{"message": map[string]any{"message_id": "x", "chat": map[string]any{"id": p.chat}, "text": 5}})
	p.server.PushUpdate(map[string]any{"from_the_future": map[string]any{"x": 1}})
	p.say(generalThread(p.chat), "hello", "")
	inbox, _, stop := listening(t, p, "")
	inbox.Wait(t, 1)
	_ = stop()
	if got := inbox.All(); len(got) != 4 || got[0].Kind != bridge.UpdateNothing || got[0].ID == "" || got[0].Cursor == "" {
		t.Errorf("%+v", got)
	}
	if n := strings.Count(p.logs.String(), "cannot be read"); n != 2 {
		t.Errorf("%d warnings", n)
	}
}

func TestOffset(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) string { return fmt.Sprintf("41 %d", now.Add(-d).Unix()) }
	for cursor, want := range map[string]int64{
		"": 0, "41": 0, "x y": 0, "-3 1": 0, "41 x": 0,
		at(0): 42, at(5 * 24 * time.Hour): 42, at(6*24*time.Hour + time.Second): 0, at(400 * 24 * time.Hour): 0,
	} {
		if got := parsePosition(cursor).offset(now); got != want {
			t.Errorf("%q: %d, not %d", cursor, got, want)
		}
	}
	if got := parsePosition(nothing(41, now).Cursor).offset(now); got != 42 {
		t.Errorf("an own cursor gives %d", got)
	}
}

// Each poll's offset is behind what was accepted, and never behind what was not. A server that does not hold polls is not
// asked in a tight loop.
func TestListenOffsets(t *testing.T) {
	var mu sync.Mutex
	var offsets []int64
	polls := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, opPoll) {
			_, _ = fmt.Fprint(w, `{"ok":false,"error_code":500}`)
			return
		}
		var q struct {
			Offset  int64    `json:"offset"`
			Timeout int      `json:"timeout"`
			Allowed []string `json:"allowed_updates"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Timeout != 50 || len(q.Allowed) != 5 {
			t.Errorf("%+v %v", q, err)
		}
		mu.Lock()
		defer mu.Unlock()
		offsets = append(offsets, q.Offset)
		polls <- struct{}{}
		if len(offsets) == 1 {
			_, _ = fmt.Fprint(w, `{"ok":true,"result":[{"update_id":7},{"update_id":8}]}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"ok":true,"result":[]}`)
	}))
	defer srv.Close()
	tg, _ := adapter(t, Config{Token: testToken, ChatID: -100, APIURL: srv.URL})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- tg.Listen(ctx, bridgetest.NewInbox("")) }()
	for range 4 {
		<-polls
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(offsets[:4]) != "[0 9 9 9]" {
		t.Errorf("offsets %v", offsets)
	}
	if took := time.Since(began); took < 2*pollPause {
		t.Errorf("four polls took %v", took)
	}
}

func TestListenWithoutIDs(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	p.server.Next(opPoll, sandbox.Action{Status: 200, Body: `{"ok":true,"result":[{"message":{}},5]}`})
	_, ended, _ := listening(t, p, "")
	if d := reason(t, failed(t, ended)); d.Reason != bridge.ReasonTransient {
		t.Errorf("%v", d)
	}
}

func TestListenCursorFails(t *testing.T) {
	p := start(t, sandbox.Options{}, sandbox.Chat{})
	if err := p.Listen(t.Context(), badInbox{}); !errors.Is(err, bridge.ErrUnavailable) {
		t.Error(err)
	}
}

type badInbox struct{}

func (badInbox) Accept(context.Context, bridge.Update) error    { return nil }
func (badInbox) Cursor(context.Context, string) (string, error) { return "", bridge.ErrUnavailable }
func (badInbox) Begun(context.Context) (time.Time, error)       { return time.Time{}, bridge.ErrUnavailable }
