package discord

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// What Discord answers, on the wire, and what it means.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const (
		session     = bridge.ScopeSession
		destination = bridge.ScopeDestination
		words       = "the visitor's own words 4711"
	)
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, visitor())
	id := bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: "there", Kind: bridge.KindMessage})[0]
	part := bridge.Part{Text: words}
	send := func(ctx context.Context) error { _, err := p.Send(ctx, thread, part); return err }
	toMain := func(ctx context.Context) error { _, err := p.Send(ctx, p.MainThread(), part); return err }
	edit := func(ctx context.Context) error { return p.Edit(ctx, thread, id, part) }
	react := func(ctx context.Context) error { return p.React(ctx, thread, id, bridge.SignDelivered) }
	rename := func(ctx context.Context) error { return p.RenameThread(ctx, thread, words) }
	begin := func(ctx context.Context) error {
		_, _, err := p.OpenThread(ctx, visitor(), bridge.Opening{Done: []string{"5"}})
		return err
	}
	list := func(ctx context.Context) error {
		_, err := p.messagesAfter(ctx, p.thread(thread), false, 1)
		return err
	}
	form := `{"message":"Invalid Form Body","code":50035,"errors":{"content":{"_errors":[{"code":"BASE_TYPE_MAX_LENGTH","message":"` + words +
		`"}]},"embeds":{"0":{"title":{"_errors":[{"code":"X"}]}}}}}`
	for _, c := range []struct {
		name   string
		call   func(context.Context) error
		op     string // the stand-in's name
		answer sandbox.Action
		reason bridge.Reason
		scope  bridge.Scope
		says   string
	}{
		{"unknown channel", send, "create_message", sandbox.Fail(404, 10003, "Unknown Channel"), bridge.ReasonThreadGone, session, "10003"},
		{"unknown channel of ours", toMain, "create_message", sandbox.Fail(404, 10003, "Unknown Channel"), bridge.ReasonAuth, destination,
			"DISCORD_CHANNEL_ID"},
		{"unknown message", edit, "update_message", sandbox.Fail(404, 10008, "Unknown Message"), bridge.ReasonMessageGone, session, ""},
		{"unknown message to begin at", begin, "create_thread_from_message", sandbox.Fail(404, 10008, "Unknown Message"), bridge.ReasonThreadGone,
			session, ""},
		{"deleted since", send, "create_message", sandbox.Fail(404, 10008, "Unknown Message"), bridge.ReasonRejected, session, "somebody deleted"},
		{"missing access", send, "create_message", sandbox.Fail(403, 50001, "Missing Access"), bridge.ReasonAuth, destination, "View Channel"},
		{"missing permissions", send, "create_message", sandbox.Fail(403, 50013, "Missing Permissions"), bridge.ReasonAuth, destination,
			"Send Messages in Threads"},
		{"no sign", react, "add_my_message_reaction", sandbox.Fail(403, 50013, "Missing Permissions"), bridge.ReasonRejected, session,
			"Add Reactions"},
		{"no new name", rename, "update_channel", sandbox.Fail(403, 50013, "Missing Permissions"), bridge.ReasonRejected, session, "Manage Threads"},
		{"too many signs", react, "add_my_message_reaction", sandbox.Fail(400, 30010, "Maximum number of reactions reached (20)"),
			bridge.ReasonRejected, session, ""},
		{"form", send, "create_message", sandbox.Action{Status: 400, Body: form}, bridge.ReasonRejected, session,
			"content BASE_TYPE_MAX_LENGTH, embeds.0.title X"},
		{"empty", send, "create_message", sandbox.Fail(400, 50006, "Cannot send an empty message"), bridge.ReasonRejected, session, ""},
		{"archived", edit, "update_message", sandbox.Fail(400, 50083, "Thread is archived"), bridge.ReasonClosed, session, ""},
		{"locked", send, "create_message", sandbox.Fail(403, 160005, "Thread is locked"), bridge.ReasonClosed, session, ""},
		{"full", begin, "create_thread_from_message", sandbox.Fail(400, 160006, "Maximum number of active threads reached"),
			bridge.ReasonTransient, session, "active threads"},
		{"old edits", edit, "update_message", sandbox.Fail(429, 30046, "Maximum number of edits to messages older than 1 hour reached. Try again later"),
			bridge.ReasonTooLate, session, ""},
		{"not ours", edit, "update_message", sandbox.Fail(403, 50005, "Cannot edit a message authored by another user"), bridge.ReasonTooLate,
			session, ""},
		{"AutoMod", send, "create_message", sandbox.Fail(403, 200000, "Message was blocked by automatic moderation"), bridge.ReasonRejected, session,
			"AutoMod"},
		{"forum by now", toMain, "create_message", sandbox.Fail(400, 40058, "Cannot send a message in a forum channel"), bridge.ReasonAuth,
			destination, "DISCORD_CHANNEL_ID"},
		{"unknown 403", send, "create_message", sandbox.Fail(403, 0, "403: Forbidden"), bridge.ReasonAuth, bridge.ScopeUnclear, "403"},
		{"unknown 400", send, "create_message", sandbox.Fail(400, 0, "400: Bad Request"), bridge.ReasonRejected, session, "400"},
		{"too large", send, "create_message", sandbox.Fail(413, 40005, "Request entity too large"), bridge.ReasonRejected, session, ""},
		{"too large for a proxy", send, "create_message", sandbox.Page(413), bridge.ReasonRejected, session, "413"},
		{"overloaded", send, "create_message", sandbox.Fail(503, 130000, "API resource is currently overloaded"), bridge.ReasonTransient,
			bridge.ScopeUnclear, ""},
		{"401", send, "create_message", sandbox.Fail(401, 0, "401: Unauthorized"), bridge.ReasonAuth, destination, "DISCORD_BOT_TOKEN"},
		{"500", send, "create_message", sandbox.Fail(500, 0, "500: Internal Server Error"), bridge.ReasonTransient, bridge.ScopeUnclear, "500"},
		{"502 page", send, "create_message", sandbox.Page(502), bridge.ReasonTransient, bridge.ScopeUnclear, "HTTP 502"},
		{"403 page", send, "create_message", sandbox.Page(403), bridge.ReasonTransient, destination, "DISCORD_API_URL"},
		{"404 of the server", send, "create_message", sandbox.Fail(404, 0, "404: Not Found"), bridge.ReasonTransient, destination,
			"DISCORD_API_URL"},
		{"redirect", send, "create_message", sandbox.Redirect(302, "https://elsewhere.test/secret"), bridge.ReasonTransient, destination, "302"},
		{"answer that is none", send, "create_message", sandbox.Action{Status: 200, Body: "<html>"}, bridge.ReasonUnconfirmed, session, "cannot be read"},
		{"answer without an id", send, "create_message", sandbox.Action{Status: 200, Body: "{}"}, bridge.ReasonUnconfirmed, session, "cannot be read"},
		{"cut before", send, "create_message", sandbox.Action{DropBefore: true}, bridge.ReasonUnconfirmed, session, "connection closed"},
		{"cut after", send, "create_message", sandbox.Action{DropAfter: true}, bridge.ReasonUnconfirmed, session, "connection closed"},
		{"cut edit", edit, "update_message", sandbox.Action{DropAfter: true}, bridge.ReasonTransient, session, "connection closed"},
		{"cut reading", list, "list_messages", sandbox.Action{DropAfter: true}, bridge.ReasonTransient, session, ""},
		{"quote", send, "create_message", sandbox.Fail(400, 50035, `Value "`+words+`" is wrong`), bridge.ReasonRejected, session, "Value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.server.Next(c.op, c.answer)
			err := c.call(t.Context())
			if err == nil {
				t.Fatal("it worked")
			}
			d := bridge.AsDelivery(err, "", "")
			if d.Reason != c.reason || d.Scope != c.scope || !strings.Contains(d.Detail, c.says) || d.Op == "" || d.Detail == "" {
				t.Errorf("the error is %s %d: %v", d.Reason, d.Scope, d)
			}
			for _, secret := range []string{words, p.server.Token(), p.base, "elsewhere.test"} {
				if printed := fmt.Sprintf("%v %+v %#v", err, *d, *d); strings.Contains(printed, secret) {
					t.Errorf("the error shows %q: %s", secret, printed)
				}
			}
		})
	}
	t.Run("time-out", func(t *testing.T) {
		p.server.Next("create_message", sandbox.Action{Silence: true})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := send(ctx); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		gone, _ := adapter(t, Config{Token: "t", ChannelID: p.room, APIURL: "http://127.0.0.1:1/api"})
		_, err := gone.Send(t.Context(), thread, part)
		if d := bridge.AsDelivery(err, "", ""); d.Reason != bridge.ReasonTransient || d.Scope != destination {
			t.Errorf("the error is %v", err)
		}
	})
}

// A refusal for pace says how long it holds and for whom; a window that is known to be closed is not knocked at.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer sandbox.Action
		scope  bridge.Scope
		after  time.Duration
	}{
		{"route", sandbox.RateLimited(40 * time.Millisecond), bridge.ScopeSession, 40 * time.Millisecond},
		{"shared", sandbox.SharedLimited(40 * time.Millisecond), bridge.ScopeSession, 40 * time.Millisecond},
		{"global", sandbox.GlobalLimited(40 * time.Millisecond), bridge.ScopeDestination, 40 * time.Millisecond},
		{"Cloudflare", sandbox.Banned(3 * time.Second), bridge.ScopeDestination, 3 * time.Second},
		{"Cloudflare without a time", sandbox.Page(http.StatusTooManyRequests), bridge.ScopeDestination, bannedRetryAfter},
		{"no time", sandbox.Fail(http.StatusTooManyRequests, 0, "You are being rate limited."), bridge.ScopeSession, defaultRetryAfter},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, sandbox.Options{}, sandbox.Text)
			one, two := bridgetest.Open(t, p.Discord, session("1", "Maria")), bridgetest.Open(t, p.Discord, session("2", "Eva"))
			at := time.Now()
			p.rest.now = func() time.Time { return at }
			p.server.Next("create_message", c.answer)
			calls := len(p.server.Calls())
			for range 2 {
				_, err := p.Send(t.Context(), one, bridge.Part{Text: "x"})
				d := bridge.AsDelivery(err, "", "")
				if platform.ReasonOf(err) != bridge.ReasonRateLimited || d.Scope != c.scope || d.RetryAfter != c.after {
					t.Fatalf("the error is %v, scope %d, after %v", err, d.Scope, d.RetryAfter)
				}
			}
			if n := len(p.server.Calls()) - calls; n != 1 {
				t.Errorf("%d calls were made", n)
			}
			_, err := p.Send(t.Context(), two, bridge.Part{Text: "x"})
			if open := c.scope == bridge.ScopeSession; open != (err == nil) {
				t.Errorf("another thread: %v", err)
			}
			at = at.Add(c.after)
			if _, err := p.Send(t.Context(), one, bridge.Part{Text: "x"}); err != nil {
				t.Errorf("after the time: %v", err)
			}
		})
	}
}

// Discord's headers are kept to: no call comes too early, and every one comes in the end.
func TestBuckets(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	const per = 60 * time.Millisecond
	threads := []bridge.ThreadID{bridgetest.Open(t, p.Discord, session("1", "Maria")), bridgetest.Open(t, p.Discord, session("2", "Eva"))}
	p.server.SetLimits(sandbox.Limits{Routes: map[string]sandbox.Window{"create_message": {Calls: 3, Per: per}}})
	sent := 0
	for sent < 20 {
		_, err := p.Send(t.Context(), threads[sent%2], bridge.Part{Text: "x"})
		if err == nil {
			sent++
			continue
		}
		d, ok := limitOf(err)
		if !ok || d.RetryAfter <= 0 || d.RetryAfter > per+5*time.Millisecond {
			t.Fatalf("the error is %v after %v", err, d)
		}
		<-time.After(d.RetryAfter)
	}
	if n := p.server.TooEarly(""); n > 0 {
		t.Errorf("%d calls came too early", n)
	}
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct{ method, path, route, owner string }{
		{"GET", "/channels/12/messages/34", "GET channels/:/messages/:", "channels/12"},
		{"PUT", "/channels/12/messages/34/reactions/%F0%9F%91%80/@me", "PUT channels/:/messages/:/reactions/:emoji/@me", "channels/12"},
		{"POST", "/webhooks/5/secret", "POST webhooks/:/:", "webhooks/5/secret"},
		{"PATCH", "/webhooks/5/secret/messages/@original", "PATCH webhooks/:/:/messages/@original", "webhooks/5/secret"},
		{"GET", "/guilds/7/threads/active", "GET guilds/:/threads/active", "guilds/7"},
		{"GET", "/gateway/bot", "GET gateway/:", "gateway/bot"},
		{"GET", "/users/@me", "GET users/:", "users/@me"},
	} {
		if route, owner := routeOf(call{method: c.method, path: c.path}); route != c.route || owner != c.owner {
			t.Errorf("%s %s is of %q for %q", c.method, c.path, route, owner)
		}
	}
}
