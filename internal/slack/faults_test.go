package slack

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// TestFaults has what is known to go wrong with Slack happen to real calls, and looks at what the relay is told.
func TestFaults(t *testing.T) {
	const (
		session     = bridge.ScopeSession
		destination = bridge.ScopeDestination
	)
	next := func(op string, a stage.Action) func(*place, bridge.ThreadID) {
		return func(p *place, _ bridge.ThreadID) { p.server.Next(op, a) }
	}
	refused := func(op, word string) func(*place, bridge.ThreadID) { return next(op, sandbox.Fail(word)) }
	always := func(op, word string) func(*place, bridge.ThreadID) {
		return func(p *place, _ bridge.ThreadID) {
			p.server.On(op, func(stage.Call) stage.Action { return sandbox.Fail(word) })
		}
	}
	type fault struct {
		name    string
		arrange func(*place, bridge.ThreadID)
		call    string // empty: opPost
		part    bridge.Part
		reason  bridge.Reason // empty: it works
		scope   bridge.Scope
		detail  string
		wait    time.Duration
	}
	faults := []fault{
		{name: "429", arrange: next(opPost, sandbox.RateLimited(7)), reason: bridge.ReasonRateLimited, scope: destination, wait: 7 * time.Second},
		{name: "429 without a time", arrange: next(opPost, sandbox.RateLimited(0)), reason: bridge.ReasonRateLimited, scope: destination, wait: defaultRetryAfter},
		{name: "rate_limited with 200", arrange: refused(opPost, "rate_limited"), reason: bridge.ReasonRateLimited, scope: destination, wait: defaultRetryAfter},
		{name: "429 page", arrange: next(opPost, stage.Page(429)), reason: bridge.ReasonRateLimited, scope: destination, wait: defaultRetryAfter},
		{name: "429 of a reaction", arrange: next(opReact, sandbox.RateLimited(7)), call: opReact, reason: bridge.ReasonRateLimited, scope: session, wait: 7 * time.Second},

		{name: "channel gone", arrange: refused(opPost, "channel_not_found"), reason: bridge.ReasonAuth, scope: destination, detail: "SLACK_CHANNEL_ID"},
		{name: "archived", arrange: func(p *place, _ bridge.ThreadID) { p.server.Archive(p.channel, p.ana) }, reason: bridge.ReasonAuth, scope: destination, detail: "unarchive"},
		{name: "removed, and back by itself", arrange: func(p *place, _ bridge.ThreadID) { p.server.RemoveBot(p.channel) }},
		{name: "removed for good", arrange: always(opPost, "not_in_channel"), reason: bridge.ReasonAuth, scope: destination, detail: "invite the app"},
		{name: "invalid_auth", arrange: func(p *place, _ bridge.ThreadID) { p.server.Revoke("invalid_auth") }, reason: bridge.ReasonAuth, scope: destination, detail: "SLACK_BOT_TOKEN"},
		{name: "token_revoked", arrange: func(p *place, _ bridge.ThreadID) { p.server.Revoke("") }, reason: bridge.ReasonAuth, scope: destination, detail: "token_revoked"},
		{name: "account_inactive", arrange: func(p *place, _ bridge.ThreadID) { p.server.Revoke("account_inactive") }, reason: bridge.ReasonAuth, scope: destination},
		{name: "missing scope", arrange: func(p *place, _ bridge.ThreadID) { p.server.RemoveScope("chat:write") }, reason: bridge.ReasonAuth, scope: destination,
			detail: "the app lacks chat:write; add the scope"},
		{name: "missing scope of a reaction", arrange: func(p *place, _ bridge.ThreadID) { p.server.RemoveScope("reactions:write") }, call: opReact,
			reason: bridge.ReasonRejected, detail: "the app lacks reactions:write"},
		{name: "setting", arrange: refused(opPost, "restricted_action"), reason: bridge.ReasonAuth, scope: destination, detail: "administrator"},

		{name: "too long", arrange: refused(opPost, "msg_too_long"), reason: bridge.ReasonRejected},
		{name: "no text", part: bridge.Part{Text: "", Plain: ""}, arrange: refused(opPost, "no_text"), reason: bridge.ReasonRejected},
		{name: "blocks", arrange: refused(opPost, "invalid_blocks"), reason: bridge.ReasonRejected},
		{name: "unknown", arrange: refused(opPost, "a_new_error"), reason: bridge.ReasonRejected, detail: "a_new_error"},
		{name: "quoting", arrange: next(opPost, stage.Action{Status: 200, Body: `{"ok":false,"error":"cannot post \"4711\" xoxb-1"}`}), reason: bridge.ReasonRejected,
			detail: "an unknown error"},
		{name: "thread gone", arrange: refused(opPost, "thread_not_found"), reason: bridge.ReasonThreadGone},
		{name: "thread locked", arrange: refused(opPost, "restricted_action_thread_locked"), reason: bridge.ReasonThreadGone},

		{name: "internal_error", arrange: refused(opPost, "internal_error"), reason: bridge.ReasonUnconfirmed},
		{name: "fatal_error", arrange: refused(opPost, "fatal_error"), reason: bridge.ReasonUnconfirmed},
		{name: "fatal_error of an edit", arrange: refused(opEdit, "fatal_error"), call: opEdit, reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear},
		{name: "service_unavailable", arrange: refused(opPost, "service_unavailable"), reason: bridge.ReasonTransient, scope: destination},
		{name: "no error named", arrange: refused(opPost, ""), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear, detail: "names no error"},
		{name: "503 page", arrange: next(opPost, stage.Page(503)), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear, detail: "HTTP 503"},
		{name: "200 page", arrange: next(opPost, stage.Page(200)), reason: bridge.ReasonTransient, scope: destination, detail: "SLACK_API_URL"},
		{name: "redirect", arrange: next(opPost, stage.Redirect(302, "https://x.test/xoxb-1")), reason: bridge.ReasonTransient, scope: destination, detail: "SLACK_API_URL"},
		{name: "half an answer", arrange: next(opPost, stage.Action{Status: 200, Body: `{"ok":true,"ts":`}), reason: bridge.ReasonTransient, scope: destination},
		{name: "no ts", arrange: next(opPost, stage.Action{Status: 200, Body: `{"ok":true}`}), reason: bridge.ReasonUnconfirmed, detail: "names no message"},
		{name: "no answer", arrange: next(opPost, stage.Action{Silence: true}), reason: bridge.ReasonUnconfirmed, detail: "time-out"},
		{name: "cut before", arrange: next(opPost, stage.Action{DropBefore: true}), reason: bridge.ReasonUnconfirmed, detail: "connection closed"},
		{name: "cut after", arrange: next(opPost, stage.Action{DropAfter: true}), reason: bridge.ReasonUnconfirmed, detail: "connection closed"},
		{name: "cut, of a reaction", arrange: next(opReact, stage.Action{DropAfter: true}), call: opReact, reason: bridge.ReasonTransient, scope: destination},
		{name: "not reachable", arrange: func(p *place, _ bridge.ThreadID) { p.server.Close(); p.calls.CloseIdleConnections() },
			reason: bridge.ReasonTransient, scope: destination, detail: "connection refused"},

		{name: "edit of a stranger's", arrange: refused(opEdit, "cant_update_message"), call: opEdit, reason: bridge.ReasonTooLate},
		{name: "edit too late", arrange: refused(opEdit, "edit_window_closed"), call: opEdit, reason: bridge.ReasonTooLate},
		{name: "edit of what is gone", arrange: refused(opEdit, "message_not_found"), call: opEdit, reason: bridge.ReasonMessageGone},
		{name: "edit too long", arrange: refused(opEdit, "msg_too_long"), call: opEdit, reason: bridge.ReasonRejected},
		{name: "reacted already", arrange: refused(opReact, "already_reacted"), call: opReact},
		{name: "nothing to take away", arrange: refused(opUnreact, "no_reaction"), call: opUnreact},
		{name: "close what is gone", arrange: refused(opReact, "message_not_found"), call: "close", reason: bridge.ReasonThreadGone},
		{name: "card of what is gone", arrange: refused(opEdit, "message_not_found"), call: "card", reason: bridge.ReasonThreadGone},
		{name: "delete what is gone", arrange: refused(opDelete, "message_not_found"), call: opDelete},
		{name: "delete what is not ours", arrange: refused(opDelete, "cant_delete_message"), call: opDelete, reason: bridge.ReasonRejected},
		{name: "opening, archived", arrange: refused(opPost, "is_archived"), call: "open", reason: bridge.ReasonAuth, scope: destination},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{}, nil)
			thread := bridgetest.Open(t, p, visitor())
			ids := bridgetest.Deliver(t, p, thread, bridge.Outgoing{Text: "before", Kind: bridge.KindMessage})
			f.arrange(p, thread)
			if f.detail == "time-out" {
				c := p.config
				c.Timeout = 3 * time.Second // for the call to be there, on a busy machine too
				p.Slack, _ = adapter(t, c)
			}
			part := p.Render(bridge.Outgoing{Thread: thread, Text: "4711", Kind: bridge.KindMessage})[0]
			op := f.call
			var err error
			switch f.call {
			case "open":
				op = opPost
				_, _, err = p.OpenThread(t.Context(), visitor(), bridge.Opening{Key: "k"})
			case opEdit:
				err = p.Edit(t.Context(), thread, ids[0], part)
			case opDelete:
				err = p.Delete(t.Context(), thread, ids[0])
			case opReact:
				err = p.React(t.Context(), thread, ids[0], bridge.SignDelivered)
			case opUnreact:
				err = p.React(t.Context(), thread, ids[0], bridge.SignRead)
			case "close":
				op = opReact
				err = p.CloseThread(t.Context(), thread)
			case "card":
				op = opEdit
				err = p.EditCard(t.Context(), thread, bridge.Card{Session: visitor()}, nil)
			default:
				op = opPost
				_, err = p.Send(t.Context(), thread, part)
			}
			if f.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it works")
			}
			d := reason(t, err)
			if d.Reason != f.reason || d.Scope != f.scope || d.Op != op || !strings.Contains(d.Detail, f.detail) || d.Detail == "" {
				t.Errorf("%+v", *d)
			}
			if d.RetryAfter != f.wait {
				t.Errorf("retry after %v", d.RetryAfter)
			}
			for _, secret := range []string{"xoxb-", "4711", "127.0.0.1", "http"} {
				if strings.Contains(strings.ReplaceAll(d.Detail, "HTTP", ""), secret) {
					t.Errorf("the error shows %q: %s", secret, d.Detail)
				}
			}
		})
	}
}

// Every word that Slack's definition has for the methods called here has a meaning of its own, or is of the content.
func TestRulesAreReachable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules() {
		ops := r.ops
		if len(ops) == 0 {
			ops = []string{"other"}
		}
		for _, word := range r.says {
			for _, op := range ops {
				if seen[word+" "+op] || seen[word+" other"] && op != "other" {
					t.Errorf("%s of %s never counts", word, op)
				}
				seen[word+" "+op] = true
				x := classify(op, &refusal{Status: 200, Says: word}, nil)
				if x.Reason != r.reason || x.Scope != r.scope {
					t.Errorf("%s of %s is %v", word, op, x)
				}
			}
		}
	}
}

func TestHookRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		reason bridge.Reason
		scope  bridge.Scope
	}{
		{403, "action_prohibited", bridge.ReasonAuth, bridge.ScopeDestination},
		{404, "no_service", bridge.ReasonAuth, bridge.ScopeDestination},
		{404, "channel_not_found", bridge.ReasonAuth, bridge.ScopeDestination},
		{410, "channel_is_archived", bridge.ReasonAuth, bridge.ScopeDestination},
		{403, "invalid_token", bridge.ReasonAuth, bridge.ScopeDestination},
		{404, "<html>https://hooks.slack.com/services/s3cr3t</html>", bridge.ReasonAuth, bridge.ScopeDestination},
		{400, "invalid_payload", bridge.ReasonRejected, bridge.ScopeSession},
		{400, "no_text", bridge.ReasonRejected, bridge.ScopeSession},
		{400, "", bridge.ReasonRejected, bridge.ScopeSession},
		{302, "", bridge.ReasonTransient, bridge.ScopeDestination},
		{429, "", bridge.ReasonRateLimited, bridge.ScopeDestination},
		{500, "rollup_error", bridge.ReasonTransient, bridge.ScopeUnclear},
	} {
		server := stageServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		})
		w, err := NewWebhook(Config{WebhookURL: bridge.Secret(server + "/services/s3cr3t")}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Send(t.Context(), "webhook/s1", bridge.Part{Text: "x"})
		d := reason(t, err)
		if d.Reason != c.reason || d.Scope != c.scope || strings.Contains(d.Detail, "s3cr3t") {
			t.Errorf("%d %s: %+v", c.status, c.body, *d)
		}
		w.calls.CloseIdleConnections()
	}
}

// What is sent is shown as it was typed, pings nobody, and brings no previews; under the name that is configured.
func TestSendAsAsked(t *testing.T) {
	p := start(t, sandbox.Options{}, func(c *Config) { c.Username, c.IconEmoji = "Shop", ":robot_face:" })
	thread := bridgetest.Open(t, p, visitor())
	bridgetest.Deliver(t, p, thread, bridge.Outgoing{Text: "<!channel> @here *x* https://x.test", Kind: bridge.KindMessage})
	if _, err := p.Send(t.Context(), thread, bridge.Part{Text: "plain <!channel> *x* <@" + p.ana + ">"}); err != nil {
		t.Fatal(err)
	}
	all := p.server.Messages(p.channel, parentOf(thread))
	if len(all) != 3 || all[1].Plain != "<!channel> @here *x* https://x.test" || all[2].Plain != "plain <!channel> *x* <@"+p.ana+">" {
		t.Fatalf("shown %+v", all)
	}
	for _, c := range p.server.Calls() {
		if c.Method == opPost && (c.Params["unfurl_links"] != "false" || c.Params["unfurl_media"] != "false" || c.Params["link_names"] != "") {
			t.Errorf("%v", c.Params)
		}
	}
	for _, m := range all {
		if len(m.Pings) > 0 || m.UnfurlLinks || m.UnfurlMedia || m.Username != "Shop" || m.Icon != ":robot_face:" || m.Broadcast {
			t.Errorf("%+v", m)
		}
	}
}

// The head of a thread can be deleted by hand. What is then sent lands in the channel; it is taken away again and said.
func TestThreadsHeadGone(t *testing.T) {
	for _, lost := range []bool{false, true} {
		p := start(t, sandbox.Options{}, nil)
		thread := bridgetest.Open(t, p, visitor())
		p.server.Delete(p.message(bridge.MessageID(parentOf(thread))))
		part := p.Render(bridge.Outgoing{Thread: thread, Text: "where am I", Kind: bridge.KindMessage})[0]
		part.Key = "evt_1/0"
		if lost {
			began := time.Now()
			p.server.Next(opPost, stage.Action{DropAfter: true})
			if _, err := p.Send(t.Context(), thread, part); reason(t, err).Reason != bridge.ReasonUnconfirmed {
				t.Fatal(err)
			}
			part.Since = began
		}
		_, err := p.Send(t.Context(), thread, part)
		if d := reason(t, err); d.Reason != bridge.ReasonThreadGone || d.Scope != bridge.ScopeSession {
			t.Errorf("lost %t: %v", lost, err)
		}
		if left := p.server.Parents(p.channel); len(left) != 0 {
			t.Errorf("lost %t: in the channel stands %q", lost, left[0].Plain)
		}
	}
	p := start(t, sandbox.Options{}, nil)
	if _, err := p.Send(t.Context(), "C0OTHER/1.2", bridge.Part{Text: "x"}); reason(t, err).Reason != bridge.ReasonThreadGone {
		t.Errorf("a thread of another channel: %v", err)
	}
}

// An opening whose answer is lost is not shown twice, and neither is a message in the channel itself.
func TestLostOpening(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	for i := range 3 { // others that are there
		bridgetest.Open(t, p, &bridge.Session{ID: string(rune('a' + i)), VisitorID: "v"})
	}
	began := time.Now()
	p.server.Next(opPost, stage.Action{DropAfter: true})
	if _, _, err := p.OpenThread(t.Context(), visitor(), bridge.Opening{Key: "s1/0"}); reason(t, err).Reason != bridge.ReasonUnconfirmed {
		t.Fatal(err)
	}
	thread, _, err := p.OpenThread(t.Context(), visitor(), bridge.Opening{Key: "s1/0", Since: began})
	parents := p.server.Parents(p.channel)
	if err != nil || len(parents) != 4 || parentOf(thread) != parents[3].TS {
		t.Errorf("%q %v; %d in the channel", thread, err, len(parents))
	}
	again, _, err := p.OpenThread(t.Context(), visitor(), bridge.Opening{Key: "s1/1", Since: began})
	if err != nil || again == thread {
		t.Errorf("another opening is taken for this one: %v", err)
	}

	p.server.Next(opPost, stage.Action{DropAfter: true})
	part := bridge.Part{Text: "to all", Key: "evt_9"}
	if _, err := p.Send(t.Context(), p.MainThread(), part); reason(t, err).Reason != bridge.ReasonUnconfirmed {
		t.Fatal(err)
	}
	part.Since = began
	ids, err := p.Send(t.Context(), p.MainThread(), part)
	if all := p.server.Parents(p.channel); err != nil || len(all) != 6 || string(ids[0]) != all[5].TS {
		t.Errorf("%q %v; %d in the channel", ids, err, len(all))
	}
}

// A lost answer is found on any page, and where it cannot be looked for, the message is sent again rather than never.
func TestLostAnswerFarBack(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	began := time.Now()
	p.server.Next(opPost, stage.Action{DropAfter: true})
	part := bridge.Part{Text: "once", Key: "evt_1"}
	_, err := p.Send(t.Context(), thread, part)
	if reason(t, err).Reason != bridge.ReasonUnconfirmed {
		t.Fatal(err)
	}
	for range 450 {
		p.say(thread, "talk", "")
	}
	part.Since = began
	if _, err := p.Send(t.Context(), thread, part); err != nil || len(p.shown(thread)) != 1 {
		t.Errorf("%d are shown, %v", len(p.shown(thread)), err)
	}
	part.Key = "evt_2"
	if _, err := p.Send(t.Context(), thread, part); err != nil || len(p.shown(thread)) != 2 {
		t.Errorf("%d are shown, %v", len(p.shown(thread)), err)
	}
	p.server.Next(opReplies, stage.Page(502))
	if _, err := p.Send(t.Context(), thread, part); reason(t, err).Reason != bridge.ReasonTransient || len(p.shown(thread)) != 2 {
		t.Errorf("what could not be looked for: %v", err)
	}
	p.server.RemoveScope("channels:history")
	if _, err := p.Send(t.Context(), thread, part); err != nil || len(p.shown(thread)) != 3 || !strings.Contains(p.logs.String(), "may be shown twice") {
		t.Errorf("%d are shown, %v", len(p.shown(thread)), err)
	}
}

// The signs cost as few of the scarce calls as possible.
func TestSignsAreCheap(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	for range 3 {
		id := p.say(thread, "hello", "")
		for _, sign := range []bridge.Sign{bridge.SignDelivered, bridge.SignRead} {
			if err := p.React(t.Context(), thread, id, sign); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := p.server.Count(opUnreact); n != 3 {
		t.Errorf("%d calls to take signs away", n)
	}
	if err := p.React(t.Context(), thread, "file:F1", bridge.SignRead); err != nil {
		t.Errorf("a sign on a file: %v", err)
	}
}

// A closed thread carries a lock on its card; a new card keeps it.
func TestLock(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	head := bridge.MessageID(parentOf(thread))
	if err := p.CloseThread(t.Context(), thread); err != nil {
		t.Fatal(err)
	}
	if err := p.EditCard(t.Context(), thread, bridge.Card{Session: &bridge.Session{ID: "s1", VisitorID: "other"}}, nil); err != nil {
		t.Fatal(err)
	}
	m := p.message(head)
	if len(m.Reactions) != 1 || m.Reactions[0].Name != lockEmoji || !strings.Contains(m.Plain, "other") || m.Metadata != nil && m.Metadata.EventType != markThread {
		t.Errorf("%+v", m)
	}
	p.server.React(m, p.ana, lockEmoji)
	if err := p.ReopenThread(t.Context(), thread); err != nil {
		t.Fatal(err)
	}
	if m := p.message(head); len(m.Reactions) != 1 || len(m.Reactions[0].Users) != 1 || m.Reactions[0].Users[0] != p.ana {
		t.Errorf("%+v", m.Reactions)
	}
	if err := p.CloseThread(t.Context(), p.MainThread()); err != nil {
		t.Errorf("the channel itself: %v", err)
	}
}

// What is cancelled says nothing of Slack.
func TestCancelled(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	ctx, cancel := context.WithCancel(t.Context())
	p.server.On(opPost, func(stage.Call) stage.Action { cancel(); return stage.Action{Silence: true} })
	_, err := p.Send(ctx, thread, bridge.Part{Text: "x"})
	if d := reason(t, err); d.Scope != bridge.ScopeSession {
		t.Errorf("%+v", *d)
	}
}
