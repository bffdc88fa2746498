package discord

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// The menu is the table of all commands, within Discord's own rules ("Application Command Structure" of its documentation): names,
// descriptions, numbers of options and choices, what is required first, and all texts of a command together.
func TestMenu(t *testing.T) {
	name := regexp.MustCompile(`^[-_a-z0-9]{1,32}$`)
	shown, all := menu(), bridge.Commands()
	if len(shown) != len(all) || len(shown) > 100 {
		t.Fatalf("%d of %d commands", len(shown), len(all))
	}
	seen := map[string]bool{}
	for i, c := range shown {
		of := all[i]
		if found, ok := bridge.FindCommand(c.Name); !ok || found.Name != of.Name || seen[c.Name] {
			t.Errorf("%s stands for /%s", c.Name, of.Name)
		}
		seen[c.Name] = true
		texts := c.Name + c.Description
		if !name.MatchString(c.Name) || c.Description != of.Help || measure.Units(c.Description) > 100 || len(c.Options) > 25 {
			t.Errorf("the command %+v", c)
		}
		if len(c.Options) != len(of.Options) || (of.Argument != "") != (len(of.Options) > 0) {
			t.Fatalf("/%s %s has the options %+v", of.Name, of.Argument, c.Options)
		}
		required := true
		for n, o := range c.Options {
			want, is := of.Options[n], 3
			if want.Person {
				is = 6
			}
			if o.Name != want.Name || o.Description != want.Help || o.Required != want.Required || int(o.Type) != is || o.Required && !required {
				t.Errorf("/%s: %+v is not %+v", of.Name, o, want)
			}
			required = o.Required
			if !name.MatchString(o.Name) || o.Description == "" || measure.Units(o.Description) > 100 || len(o.Choices) > 25 {
				t.Errorf("the option %+v of %s", o, c.Name)
			}
			texts += o.Name + o.Description
			var choices []string
			for _, choice := range o.Choices {
				choices, texts = append(choices, choice.Name), texts+choice.Name+choice.Value.(string)
				if choice.Value != choice.Name || choice.Name == "" || measure.Units(choice.Name) > 100 {
					t.Errorf("/%s: the choice %+v", of.Name, choice)
				}
			}
			if !slices.Equal(choices, want.Choices) {
				t.Errorf("/%s: the choices %q are not %q", of.Name, choices, want.Choices)
			}
		}
		if of.Required != (len(of.Options) > 0 && of.Options[0].Required) || measure.Units(texts) > 8000 {
			t.Errorf("/%s: %+v", of.Name, of.Options)
		}
	}
}

// The commands are registered when they are others than they should be, and only then.
func TestMenuIsSetOnce(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	for range 3 {
		l := listen(t, p.Discord, bridgetest.NewInbox(p.now()))
		p.until(t, func() bool { return p.server.Connected() == 1 })
		_ = l.stop()
	}
	if n := p.server.Count("bulk_set_guild_application_commands"); n != 1 {
		t.Errorf("the commands were set %d times", n)
	}
	if got := p.server.Commands(p.server.Guild()); len(got) != len(menu()) || !slices.Contains(got, "reply") {
		t.Errorf("registered are %q", got)
	}
	// Without the right to it the rest works.
	other := p.again(t)
	p.server.Next("list_guild_application_commands", sandbox.Fail(http.StatusForbidden, 50001, "Missing Access"))
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, other.Discord, inbox)
	p.say(p.threadID(""), "0", "")
	checkOnce(t, inbox, 1)
	_ = l.stop()
	if !strings.Contains(other.logs.String(), "slash commands could not be set") {
		t.Error("nothing is said about it")
	}
}

// commands returns the commands among what was accepted.
func commands(inbox *bridgetest.Inbox) []bridge.Update {
	return slices.DeleteFunc(inbox.Messages(), func(u bridge.Update) bool { return u.Command == nil })
}

func waitForCommand(t *testing.T, inbox *bridgetest.Inbox, n int) bridge.Update {
	t.Helper()
	return inbox.WaitFor(t, n, func(u bridge.Update) bool { return u.Command != nil })[n-1]
}

// A slash command by the gateway, from its use to its answer, which the operator alone sees.
func TestSlashCommands(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	inbox := bridgetest.NewInbox(p.now())
	l := listen(t, p.Discord, inbox)
	p.until(t, func() bool { return p.server.Connected() == 1 })

	use := func(channel, name string, options map[string]any) string {
		return p.server.UseCommand(channel, p.ana, name, options).ID
	}
	find := func(id string) sandbox.Interaction {
		for _, i := range p.server.Interactions() {
			if i.ID == id {
				return i
			}
		}
		return sandbox.Interaction{}
	}
	id := use(p.thread(thread), "reply", map[string]any{"message": "hello *you*"})
	u := waitForCommand(t, inbox, 1)
	if u.Command.Name != "r" || u.Command.Args != "hello *you*" || u.Thread != thread || u.Author.Name != "Ana" || u.Author.ID != p.ana || !u.Slash ||
		u.Kind != bridge.UpdateMessage || u.ID == "" {
		t.Errorf("the command is %+v %+v", u, u.Command)
	}
	if !isInteraction(u.Message) || strings.Contains(string(u.Message), find(id).Token) {
		t.Errorf("the message is %q", u.Message)
	}
	// The answer may be ready before the first answer was given.
	ids := bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: "Sent <@1> *so*.", ReplyTo: u.Message, Kind: bridge.KindMessage})
	if got := find(id); len(got.Answers) != 1 || got.Answers[0].ID != string(ids[0]) || shown(got.Answers[0].Text) != "Sent <@1> *so*." ||
		!got.Answers[0].Ephemeral || got.Failed || got.Deferred || len(got.Answers[0].Pings) > 0 {
		t.Errorf("the interaction is %+v", got)
	}

	// In the channel itself; a long answer has several parts.
	id = use(p.room, "status", nil)
	u = waitForCommand(t, inbox, 2)
	if u.Command.Name != "status" || u.Command.Args != "" || u.Thread != p.MainThread() {
		t.Errorf("the command is %+v %+v", u, u.Command)
	}
	bridgetest.Deliver(t, p.Discord, u.Thread, bridge.Outgoing{Text: strings.Repeat("status ", 600), ReplyTo: u.Message, Kind: bridge.KindMessage})
	if got := find(id); len(got.Answers) != 3 || !got.Answers[2].Ephemeral {
		t.Errorf("the interaction is %+v", got)
	}

	// Elsewhere it says where.
	id = use(p.server.AddChannel(sandbox.Channel{Name: "elsewhere"}), "offline", nil)
	p.until(t, func() bool { return find(id).Answered })
	if got := find(id); len(got.Answers) != 1 || !strings.Contains(got.Answers[0].Text, "<#"+p.room+">") || !got.Answers[0].Ephemeral {
		t.Errorf("the interaction is %+v", got)
	}
	if n := len(commands(inbox)); n != 2 {
		t.Errorf("%d commands were accepted", n)
	}
	if len(p.shown(thread)) > 0 {
		t.Errorf("the thread shows %+v", p.shown(thread))
	}
	_ = l.stop()
	p.checkSafe(t)
	for _, i := range p.server.Interactions() {
		if strings.Contains(p.logs.String(), i.Token) {
			t.Error("an interaction's token is in the log")
		}
	}
}

// What the inbox refuses is not acknowledged, and ends Listen. What Discord refuses is one command's matter.
func TestSlashCommandsAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	inbox := bridgetest.NewInbox(p.now())
	refusal := errors.New("the store is full")
	var full atomic.Bool
	inbox.Before = func(context.Context, bridge.Update) error {
		if full.Load() {
			return refusal
		}
		return nil
	}
	l := listen(t, p.Discord, inbox)
	p.until(t, func() bool { return p.server.Connected() == 1 })
	p.server.Next("create_interaction_response", sandbox.Fail(http.StatusNotFound, 10062, "Unknown interaction"))
	p.server.UseCommand(p.room, p.ana, "status", nil)
	u := waitForCommand(t, inbox, 1)
	p.until(t, func() bool { return p.server.Count("create_interaction_response") == 1 })
	// It is too old by Discord's clock: the answer is an ordinary message.
	other := p.again(t)
	other.rest.now = func() time.Time { return time.Now().Add(time.Minute) }
	bridgetest.Deliver(t, other.Discord, u.Thread, bridge.Outgoing{Text: "all well", ReplyTo: u.Message, Kind: bridge.KindMessage})
	if got := shownOf(p.server.Messages(p.room), ""); len(got) != 1 || got[0].Text != "all well" {
		t.Errorf("the channel shows %+v", got)
	}

	full.Store(true)
	i := p.server.UseCommand(p.room, p.ana, "status", nil)
	if err := await(t, l.ended); !errors.Is(err, refusal) {
		t.Errorf("Listen ended with %v", err)
	}
	for _, got := range p.server.Interactions() {
		if got.ID == i.ID && got.Answered {
			t.Error("a command was acknowledged that was not accepted")
		}
	}
}

// An answer that comes too late for its interaction, or to one that is unknown, is an ordinary message; one that comes too early
// is tried again.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	interactionAt := func(at time.Time) bridge.MessageID {
		return p.seal(&interaction{ID: snowflakeAt(at).String(), ApplicationID: p.server.Application(), Token: "a-token-of-an-interaction"})
	}
	shownNow := func() int { return len(p.shown(thread)) }
	for _, c := range []struct {
		name string
		ref  bridge.MessageID
	}{
		{"expired", interactionAt(time.Now().Add(-20 * time.Minute))},
		{"unknown and old", interactionAt(time.Now().Add(-time.Minute))},
		{"not ours", "interaction/1/2/bm90IHNlYWxlZA"},
		{"torn", "interaction/1"},
		{"changed", interactionAt(time.Now()) + "x"},
	} {
		before := shownNow()
		ids := bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: c.name, ReplyTo: c.ref, Kind: bridge.KindMessage})
		if shownNow() != before+1 || ids[0] != p.shown(thread)[before].ID {
			t.Errorf("%s: the thread shows %+v", c.name, p.shown(thread))
		}
	}
	before := shownNow()
	for _, answer := range []sandbox.Action{
		sandbox.Fail(404, 10062, "Unknown interaction"), sandbox.Fail(401, 50027, "Invalid Webhook Token"), sandbox.Fail(404, 10015, "Unknown Webhook"),
		sandbox.Fail(404, 10008, "Unknown Message"),
	} {
		p.server.Next("update_original_webhook_message", answer)
		_, err := p.Send(t.Context(), thread, bridge.Part{Text: "x", ReplyTo: interactionAt(time.Now())})
		if d := bridge.AsDelivery(err, "", ""); platform.ReasonOf(err) != bridge.ReasonTransient || d.Scope != bridge.ScopeSession {
			t.Errorf("an answer to an interaction that is not known yet: %v", err)
		}
		p.checkSafe(t, err)
	}
	if shownNow() != before {
		t.Error("an answer that came too early is shown in the thread")
	}
	// Faults on the way show no token.
	for _, answer := range []sandbox.Action{sandbox.Page(502), {DropBefore: true}, sandbox.Fail(400, 50035, "a-token-of-an-interaction")} {
		p.server.Next("update_original_webhook_message", answer)
		_, err := p.Send(t.Context(), thread, bridge.Part{Text: "x", ReplyTo: interactionAt(time.Now())})
		if err == nil || strings.Contains(err.Error(), "a-token-of-an-interaction") {
			t.Errorf("the error is %v", err)
		}
	}
}

// endpoint serves an adapter's webhook as the bridge does, and has the stand-in call it.
func (p *place) endpoint(t *testing.T, inbox bridge.Inbox) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(p.Webhook(inbox))
	t.Cleanup(server.Close)
	return server
}

// Slash commands by HTTP: Discord's own check is passed, and a command is answered after it was accepted.
func TestInteractionsByHTTP(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Forum)
	p.gateway = false
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	inbox := bridgetest.NewInbox("")
	var full atomic.Bool
	inbox.Before = func(context.Context, bridge.Update) error {
		if full.Load() {
			return bridge.ErrUnavailable
		}
		return nil
	}
	l := listen(t, p.Discord, inbox)
	p.until(t, func() bool { return len(p.server.Commands(p.server.Guild())) > 0 })
	server := p.endpoint(t, inbox)
	if err := p.server.SetInteractionsEndpoint(t.Context(), server.URL); err != nil {
		t.Fatal(err)
	}
	find := func(n int) sandbox.Interaction { return p.server.Interactions()[n] }
	p.server.UseCommand(p.thread(thread), p.ana, "away", map[string]any{"duration": "2h"})
	u := waitForCommand(t, inbox, 1)
	if u.Command.Name != "away" || u.Command.Args != "2h" || u.Thread != thread || u.Author.Name != "Ana" || u.Cursor != "" || !u.Slash {
		t.Errorf("the command is %+v", u)
	}
	p.until(t, func() bool { return find(0).Deferred })
	bridgetest.Deliver(t, p.Discord, thread, bridge.Outgoing{Text: "You are away.", ReplyTo: u.Message, Kind: bridge.KindMessage})
	if got := find(0); len(got.Answers) != 1 || got.Answers[0].Text != "You are away." || !got.Answers[0].Ephemeral {
		t.Errorf("the interaction is %+v", got)
	}
	// Another bridge on the same store may be the one that answers.
	p.server.UseCommand(p.thread(thread), p.ana, "status", nil)
	u = waitForCommand(t, inbox, 2)
	p.until(t, func() bool { return find(1).Deferred })
	bridgetest.Deliver(t, p.again(t).Discord, thread, bridge.Outgoing{Text: "all well", ReplyTo: u.Message, Kind: bridge.KindMessage})
	if got := find(1); len(got.Answers) != 1 || got.Answers[0].Text != "all well" {
		t.Errorf("the interaction is %+v", got)
	}

	full.Store(true)
	p.server.UseCommand(p.thread(thread), p.ana, "status", nil)
	p.until(t, func() bool { return find(2).Failed })
	if n := len(commands(inbox)); n != 2 {
		t.Errorf("%d commands were accepted", n)
	}
	_ = l.stop()
}

// Whatever does not prove that it is Discord's, and of now, is refused, and nothing of it is taken.
func TestForgedInteractions(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.key = public
	now := time.Unix(1_800_000_000, 0)
	p.clock.now = func() time.Time { return now }
	inbox := bridgetest.NewInbox("")
	server := p.endpoint(t, inbox)
	command := func(fields map[string]any) []byte {
		body := map[string]any{
			"id": "1200", "application_id": "9", "type": 2, "token": "tok", "guild_id": p.server.Guild(), "channel_id": p.room,
			"member": map[string]any{"user": map[string]any{"id": p.ana, "username": "ana"}}, "data": map[string]any{"name": "Who"},
		}
		for k, v := range fields {
			body[k] = v
		}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := command(nil)
	sign := func(key ed25519.PrivateKey, at time.Time, body []byte) http.Header {
		stamp := strconv.FormatInt(at.Unix(), 10)
		return http.Header{"X-Signature-Timestamp": {stamp}, "X-Signature-Ed25519": {hex.EncodeToString(ed25519.Sign(key, append([]byte(stamp), body...)))}}
	}
	with := func(h http.Header, name string, values ...string) http.Header {
		h = h.Clone()
		h[name] = values
		return h
	}
	ok := sign(private, now, good)
	huge := append(append([]byte(`{"type":1,"x":"`), bytes.Repeat([]byte("x"), maxInteraction)...), `"}`...)
	for _, c := range []struct {
		name   string
		header http.Header
		body   []byte
		status int
		taken  bool
	}{
		{"genuine", ok, good, 200, true},
		{"five minutes early", sign(private, now.Add(5*time.Minute), good), good, 200, true},
		{"five minutes late", sign(private, now.Add(-5*time.Minute), good), good, 200, true},
		{"ping", sign(private, now, []byte(`{"type":1}`)), []byte(`{"type":1}`), 200, false},
		{"stale", sign(private, now.Add(-301*time.Second), good), good, 401, false},
		{"of the future", sign(private, now.Add(301*time.Second), good), good, 401, false},
		{"of another key", sign(stranger, now, good), good, 401, false},
		{"another body", ok, command(map[string]any{"id": "1201"}), 401, false},
		{"another time", with(ok, "X-Signature-Timestamp", strconv.FormatInt(now.Unix()+1, 10)), good, 401, false},
		{"no time", with(ok, "X-Signature-Timestamp"), good, 401, false},
		{"time that is none", with(ok, "X-Signature-Timestamp", "now"), good, 401, false},
		{"no signature", with(ok, "X-Signature-Ed25519"), good, 401, false},
		{"two signatures", with(ok, "X-Signature-Ed25519", ok.Get("X-Signature-Ed25519"), ok.Get("X-Signature-Ed25519")), good, 401, false},
		{"short signature", with(ok, "X-Signature-Ed25519", "abcd"), good, 401, false},
		{"signature that is none", with(ok, "X-Signature-Ed25519", strings.Repeat("z", 128)), good, 401, false},
		{"unsigned", http.Header{}, good, 401, false},
		{"too long", sign(private, now, huge), huge, 413, false},
		{"no JSON", sign(private, now, []byte("x")), []byte("x"), 400, false},
		{"a button", sign(private, now, command(map[string]any{"type": 3})), command(map[string]any{"type": 3}), 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(commands(inbox))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = c.header
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("the status is %d", resp.StatusCode)
			}
			if taken := len(commands(inbox)) > before; taken != c.taken {
				t.Errorf("taken: %t", taken)
			}
		})
	}
	if got := commands(inbox)[0]; got.Command.Name != "status" {
		t.Errorf("an alias is the command %+v", got.Command)
	}
	p.key = nil
	if p.Webhook(inbox) != nil {
		t.Error("without a key interactions are taken")
	}
}
