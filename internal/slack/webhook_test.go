package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// signed is a request as Slack signs it.
func signed(secret, kind, body string, at time.Time) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhooks/slack", strings.NewReader(body))
	stamp := strconv.FormatInt(at.Unix(), 10)
	r.Header.Set("Content-Type", kind)
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", sandbox.Sign(secret, stamp, []byte(body)))
	return r
}

const jsonType, formType = "application/json", "application/x-www-form-urlencoded"

// said is a message of Ana's as an event.
func (p *place) said(ts, text string) string {
	return fmt.Sprintf(`{"type":"event_callback","event_id":"Ev%s","event":{"type":"message","channel":%q,"user":%q,"ts":%q,"event_ts":%q,"text":%q}}`,
		ts, p.channel, p.ana, ts, ts, text)
}

func ask(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// What does not prove that it is Slack's is refused, and nothing comes of it: no update, and no call to anybody.
func TestForged(t *testing.T) {
	r := startRequested(t, sandbox.Options{})
	secret := r.server.SigningSecret()
	event := r.said("1700000000.000100", "x")
	command := "command=%2Fbridge&text=online&channel_id=" + r.channel + "&user_id=" + r.ana + "&trigger_id=1"
	now := time.Now()
	change := func(q *http.Request, header, value string) *http.Request {
		if value == "" {
			q.Header.Del(header)
		} else {
			q.Header.Set(header, value)
		}
		return q
	}
	inbox := bridgetest.NewInbox("")
	h := r.Webhook(inbox)
	calls := len(r.server.Calls())
	for name, q := range map[string]*http.Request{
		"unsigned":          change(signed(secret, jsonType, event, now), "X-Slack-Signature", ""),
		"no time":           change(signed(secret, jsonType, event, now), "X-Slack-Request-Timestamp", ""),
		"other secret":      signed("another secret of 32 characters!", jsonType, event, now),
		"empty secret":      signed("", jsonType, event, now),
		"stale":             signed(secret, jsonType, event, now.Add(-301*time.Second)),
		"from the future":   signed(secret, jsonType, event, now.Add(302*time.Second)),
		"other time":        change(signed(secret, jsonType, event, now), "X-Slack-Request-Timestamp", strconv.FormatInt(now.Unix()-1, 10)),
		"no number":         change(signed(secret, jsonType, event, now), "X-Slack-Request-Timestamp", "now"),
		"other version":     change(signed(secret, jsonType, event, now), "X-Slack-Signature", "v1=00"),
		"no hex":            change(signed(secret, jsonType, event, now), "X-Slack-Signature", "v0=zz"),
		"short":             change(signed(secret, jsonType, event, now), "X-Slack-Signature", "v0="),
		"command":           signed("another secret of 32 characters!", formType, command, now),
		"challenge":         signed("another secret of 32 characters!", jsonType, `{"type":"url_verification","challenge":"c"}`, now),
		"long and unsigned": change(signed(secret, jsonType, strings.Repeat("x", maxEvent+1), now), "X-Slack-Signature", ""),
	} {
		resp := ask(h, q)
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	body := signed(secret, jsonType, event, now)
	body.Body = http.NoBody
	two := signed(secret, jsonType, event, now)
	two.Header.Add("X-Slack-Signature", "v0="+strings.Repeat("0", 64))
	for _, q := range []*http.Request{body, two} {
		resp := ask(h, q)
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d", resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	if n := len(inbox.All()); n != 0 {
		t.Errorf("%d updates", n)
	}
	if n := len(r.server.Calls()); n != calls {
		t.Errorf("%d calls", n-calls)
	}
	resp := ask(h, signed(secret, jsonType, event, now.Add(-4*time.Minute)))
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK || len(inbox.Messages()) != 1 {
		t.Errorf("a genuine request: %d", resp.StatusCode)
	}
}

// An event is answered with 2xx only when it is accepted, or is none of ours.
func TestAnswers(t *testing.T) {
	r := startRequested(t, sandbox.Options{})
	secret := r.server.SigningSecret()
	inbox := bridgetest.NewInbox("")
	full := true
	inbox.Before = func(context.Context, bridge.Update) error {
		if full {
			return errors.New("the store is full")
		}
		return nil
	}
	h := r.Webhook(inbox)
	post := func(kind, body string, retry bool) int {
		q := signed(secret, kind, body, time.Now())
		if retry {
			q.Header.Set("X-Slack-Retry-Num", "1")
		}
		resp := ask(h, q)
		defer resp.Body.Close()
		if (resp.StatusCode == http.StatusServiceUnavailable) != (resp.Header.Get("Retry-After") != "") {
			t.Errorf("%d with Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		return resp.StatusCode
	}
	command := "command=%2Fbridge&text=online&channel_id=" + r.channel + "&user_id=" + r.ana + "&trigger_id=1"
	event := r.said("1700000000.000100", "x")
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"event":            {jsonType, event, 503},
		"command":          {formType, command, 503},
		"other channel":    {jsonType, strings.ReplaceAll(event, r.channel, "C0OTHER"), 200},
		"no JSON":          {jsonType, "junk", 200},
		"another wrapping": {jsonType, `{"type":"hologram"}`, 200},
		"certificate":      {formType, "ssl_check=1&token=x", 200},
		"too long":         {jsonType, strings.Repeat("x", maxEvent+1), 413},
	} {
		if got := post(c.kind, c.body, false); got != c.status {
			t.Errorf("%s: %d", name, got)
		}
	}
	full = false
	for range 3 {
		if got := post(jsonType, event, true) + post(formType, command, false); got != 400 {
			t.Errorf("%d", got)
		}
	}
	if all := inbox.All(); len(all) != 2 {
		t.Errorf("%+v", all)
	}
	if !strings.Contains(r.logs.String(), "was not accepted") || strings.Contains(r.logs.String(), "4711") {
		t.Error("it is not said that an event was not accepted")
	}
}

// Requests wait while what was said before them is being read, but not for ever.
func TestRequestsWait(t *testing.T) {
	r := startRequested(t, sandbox.Options{RetryPauses: soon()})
	thread := bridgetest.Open(t, r, visitor())
	began := tsOf(time.Now())
	inbox := bridgetest.NewInbox(position{at: began, began: began}.String())
	r.server.Lose(true)
	for i := range 3 {
		r.say(thread, strconv.Itoa(i), "")
	}
	r.server.Lose(false)
	hold := make(chan struct{})
	r.server.Next(opHistory, stage.Action{Hold: hold})
	received := r.server.Await(stage.Received, opHistory)
	_, stop := listening(t, r, inbox)
	<-received
	r.say(thread, "3", "")
	q := signed(r.server.SigningSecret(), jsonType, r.said(tsOf(time.Now()), "impatient"), time.Now())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	resp := ask(r.Webhook(inbox), q.WithContext(ctx))
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", resp.StatusCode)
	}
	close(hold)
	got := texts(inbox.Wait(t, 4))
	_ = stop()
	if strings.Join(got, " ") != "0 1 2 3" {
		t.Errorf("%q", got)
	}
}

// Where nobody listens yet, or elsewhere, the first request reads what was missed before it; so does the next one after a refusal.
func TestRequestsInOrder(t *testing.T) {
	r := startRequested(t, sandbox.Options{RetryPauses: []time.Duration{time.Hour}})
	thread := bridgetest.Open(t, r, visitor())
	until(t, "acknowledgements", func() bool { return r.server.Pending() == 0 })
	r.Slack, r.logs = adapter(t, r.config) // a process that has just begun
	began := tsOf(time.Now())
	cursor := position{at: began, began: began}.String()
	inbox := bridgetest.NewInbox(cursor)
	r.server.Lose(true)
	for i := range 3 {
		r.say(thread, strconv.Itoa(i), "")
	}
	r.server.Lose(false)
	r.serve(keeps{inbox})
	r.server.Next(opHistory, stage.Page(502)) // at the second attempt
	r.say(thread, "3", "")
	until(t, "a refusal", func() bool { return strings.Contains(r.logs.String(), "was not accepted") })
	r.say(thread, "4", "")
	inbox.Wait(t, 5)
	history := r.server.Count(opHistory)
	r.say(thread, "5", "")
	inbox.Wait(t, 6)
	if n := r.server.Count(opHistory); n != history {
		t.Errorf("each request reads what was missed")
	}

	full := true
	inbox.Before = func(_ context.Context, u bridge.Update) error {
		if full && u.Text == "6" {
			full = false
			return errors.New("the store is full")
		}
		return nil
	}
	r.say(thread, "6", "")
	r.say(thread, "7", "")
	if got := strings.Join(texts(inbox.Wait(t, 8)), " "); got != "0 1 2 3 4 5 6 7" {
		t.Errorf("%q", got)
	}
	if now, _ := inbox.Cursor(t.Context(), ""); now != cursor {
		t.Errorf("the cursor has moved to %q", now)
	}
}

// keeps is an inbox that keeps its cursor where an update has none, as the relay does.
type keeps struct{ *bridgetest.Inbox }

func (k keeps) Accept(ctx context.Context, u bridge.Update) error {
	if u.Cursor == "" {
		u.Cursor, _ = k.Cursor(ctx, "")
	}
	return k.Inbox.Accept(ctx, u)
}

// Where it cannot be read what was missed, requests are taken all the same in the end.
func TestRequestsWithoutHistory(t *testing.T) {
	r := startRequested(t, sandbox.Options{RetryPauses: soon()})
	began := tsOf(time.Now())
	inbox := bridgetest.NewInbox(position{at: began, began: began}.String())
	r.server.On(opHistory, func(stage.Call) stage.Action { return stage.Page(502) })
	r.serve(keeps{inbox})
	r.say(mainThread(r.channel), "!help", "")
	inbox.Wait(t, 1)
	if n := r.server.Count(opHistory); n != maxFailed {
		t.Errorf("%d attempts", n)
	}
}

// What no request brought is found by looking for it: now and then, and soon after there was a sign of it. The cursor moves.
func TestReconcile(t *testing.T) {
	for _, sign := range []string{"none", "a limit", "a repetition"} {
		t.Run(sign, func(t *testing.T) {
			r := startRequested(t, sandbox.Options{RetryPauses: soon()})
			if r.reconcile = 50 * time.Millisecond; sign != "none" {
				r.reconcile = time.Hour
			}
			r.missedPause = time.Millisecond
			thread := bridgetest.Open(t, r, visitor())
			inbox := bridgetest.NewInbox("")
			_, stop := listening(t, r, inbox)
			r.begun(t)
			before, _ := inbox.Cursor(t.Context(), "")
			r.say(thread, "heard", "")
			inbox.Wait(t, 1)
			if now, _ := inbox.Cursor(t.Context(), ""); now != before && sign != "none" {
				t.Errorf("a request moved the cursor from %q to %q", before, now)
			}
			r.server.Lose(true)
			missed := r.say(thread, "missed", "")
			r.server.Lose(false)
			switch sign {
			case "a limit":
				r.server.PushPayload(map[string]any{"type": "app_rate_limited", "minute_rate_limited": 1, "team_id": "T", "api_app_id": "A"})
			case "a repetition":
				r.server.Redeliver(2)
				r.server.React(r.message(missed), r.ana, "eyes")
			}
			got := inbox.Wait(t, 2)
			if got[1].Text != "missed" {
				t.Errorf("%q", texts(got))
			}
			until(t, "the cursor", func() bool { now, _ := inbox.Cursor(t.Context(), ""); return strings.HasPrefix(now, string(missed)) })
			_ = stop()
			if all := inbox.Messages(); len(all) != 2 {
				t.Errorf("%q", texts(all))
			}
		})
	}
}

// A bridge on which nobody listens takes requests, too, and knows who the bot is.
func TestRequestsAlone(t *testing.T) {
	r := startRequested(t, sandbox.Options{})
	inbox := bridgetest.NewInbox("")
	r.serve(inbox)
	r.say(mainThread(r.channel), "@bridge status", "")
	u := inbox.Wait(t, 1)[0]
	if u.Command == nil || u.Command.Name != "status" || u.Cursor != "" {
		t.Errorf("%+v", u)
	}
	until(t, "acknowledgements", func() bool { return r.server.Pending() == 0 }) // of the mention, too
	// Even where Slack does not say who that is but with the event.
	other, _ := adapter(t, r.config)
	r.Slack = other
	r.server.On(opMe, func(stage.Call) stage.Action { return stage.Page(503) })
	r.serve(inbox)
	r.say(mainThread(r.channel), "@bridge id", "")
	if u := inbox.Wait(t, 2)[1]; u.Command == nil || u.Command.Name != "id" {
		t.Errorf("%+v", u)
	}
}
