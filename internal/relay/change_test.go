package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/relay"
)

// pair runs a test with two platforms that work and a callback.
func pair(t *testing.T, test func(t *testing.T, h *house, telegram, discord *bridgetest.Platform)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		one, two := bridgetest.NewPlatform("telegram"), bridgetest.NewPlatform("discord")
		one.Bears.Concurrency, two.Bears.Concurrency = 8, 8
		h := newHouse(t, one, two)
		h.receivers = newReceivers("app")
		defer func() {
			if h.stop != nil {
				h.stop()
			}
		}()
		test(t, h, one, two)
	})
}

func edited(id, text string, at int) string {
	stamp := ""
	if at > 0 {
		stamp = fmt.Sprintf(`,"editedAt":"2026-01-01T00:00:%02dZ"`, at)
	}
	return fmt.Sprintf(`{"type":"visitor_message_edited","sessionId":"a","messageId":%q,"content":%q%s}`, id, text, stamp)
}

func deleted(id string) string {
	return fmt.Sprintf(`{"type":"visitor_message_deleted","sessionId":"a","messageId":%q}`, id)
}

// settle lets everything that can happen at once happen.
func settle() {
	synctest.Wait()
	time.Sleep(time.Second)
	synctest.Wait()
}

func TestVisitorEdits(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "two"))
		settle()
		h.ingest(edited("1", "uno", 5))
		h.ingest(edited("1", "older", 4))
		h.ingest(deleted("2"))
		h.ingest(edited("2", "too late", 9))
		settle()
		for _, p := range []*bridgetest.Platform{telegram, discord} {
			want(t, texts(p, "a"), "uno")
			if n := len(p.Calls(bridgetest.OpEdit)); n != 1 {
				t.Errorf("%s: %d edits", p.Called, n)
			}
		}
	})
}

func TestEditOfWhatStillWaits(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, _ *bridgetest.Platform) {
		release := telegram.Hold(bridgetest.OpOpenThread)
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "two"))
		h.ingest(message("a", "3", "three"))
		h.ingest(edited("2", "dos", 1))
		h.ingest(edited("2", "deux", 2))
		h.ingest(deleted("3"))
		h.ingest(message("a", "4", "four"))
		settle()
		release()
		settle()
		want(t, texts(telegram, "a"), "one", "deux", "four")
		if calls := telegram.Calls(bridgetest.OpEdit, bridgetest.OpDelete); len(calls) > 0 {
			t.Errorf("what was never shown was changed: %v", calls)
		}
	})
}

func TestEditThatCannotBeShownInPlace(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "two"))
		settle()
		telegram.Fail(bridgetest.OpEdit, fault(bridge.ReasonTooLate, bridge.ScopeSession))
		telegram.Fail(bridgetest.OpDelete, fault(bridge.ReasonTooLate, bridge.ScopeSession))
		h.ingest(edited("1", "uno", 1))
		h.ingest(deleted("2"))
		settle()
		want(t, texts(telegram, "a"), "one", "two", "✏️ uno", "🗑 This message was deleted.")
		want(t, texts(discord, "a"), "uno")
		shown := telegram.Shown(telegram.Threads("a")[0])
		if shown[2].ReplyTo != shown[0].ID || shown[3].ReplyTo != shown[1].ID {
			t.Errorf("the new messages do not name the old ones: %+v", shown)
		}
		// The next edit is of the new message.
		h.ingest(edited("1", "ein", 2))
		settle()
		want(t, texts(telegram, "a"), "one", "two", "ein", "🗑 This message was deleted.")
	})
}

func TestEditOfSplitMessage(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		telegram.PartSize, discord.PartSize = 20, 20
		h.start()
		h.ingest(message("a", "0", "0"))
		h.ingest(message("a", "1", strings.Repeat("x", 50)))
		settle()
		telegram.Fail(bridgetest.OpEdit, nil, fault(bridge.ReasonTransient, bridge.ScopeSession), bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)))
		h.ingest(edited("1", strings.Repeat("y", 70), 1))
		time.Sleep(10 * time.Minute)
		settle()
		if got := strings.Join(texts(telegram, "a")[1:], ""); got != strings.Repeat("y", 70) {
			t.Errorf("shown %q", got)
		}
		h.ingest(edited("1", "short", 2))
		settle()
		want(t, texts(telegram, "a")[1:], "short")
		h.ingest(deleted("1"))
		settle()
		if got := texts(discord, "a"); len(got) != 1 {
			t.Errorf("shown %q", got)
		}
	})
}

func TestOperatorEditsAndDeletes(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		settle()
		thread := telegram.Threads("a")[0]
		hi := telegram.Say(thread, "Ana", "hi")
		bye := telegram.Say(thread, "Ana", "bye")
		settle()
		edit := func(id bridge.MessageID, text string) {
			telegram.Tell(bridge.Update{Kind: bridge.UpdateEdit, Thread: thread, Message: id, Text: text, Edited: time.Now(),
				Author: bridge.Author{ID: "u-Ana", Name: "Ana"}})
		}
		edit(hi, "hello")
		edit(bye, "!offline")
		edit("987", "of nobody")
		edit(telegram.Shown(thread)[0].ID, "not hers")
		telegram.Tell(bridge.Update{Kind: bridge.UpdateDelete, Thread: thread, Message: bye})
		telegram.Tell(bridge.Update{Kind: bridge.UpdateDelete, Thread: thread, Message: "987"})
		settle()
		want(t, texts(discord, "a"), "one", "Ana (Telegram): hello")
		want(t, texts(telegram, "a"), "one", "A message that was sent does not become a command. The visitor still sees what it was before.")
		var got []string
		for _, e := range h.receivers.entries("app") {
			if e.Event.Message != "1" {
				got = append(got, string(e.Event.Type)+" "+e.Event.Message)
			}
		}
		want(t, got, "operator_message telegram:"+string(hi), "operator_message telegram:"+string(bye),
			"operator_message_edited telegram:"+string(hi), "operator_message_deleted telegram:"+string(bye))
	})
}

func TestSigns(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		settle()
		thread := telegram.Threads("a")[0]
		hi := telegram.Say(thread, "Ana", "hi")
		settle()
		want(t, telegram.Signs(hi), "delivered")
		h.ingest(fmt.Sprintf(`{"type":"message_read","sessionId":"a","messageIds":["1","telegram:%s","telegram:999","x"],"status":"read"}`, hi))
		settle()
		want(t, telegram.Signs(hi), "read")
		h.ingest(fmt.Sprintf(`{"type":"message_read","sessionId":"a","messageIds":["telegram:%s"],"status":"delivered"}`, hi))
		h.ingest(fmt.Sprintf(`{"type":"message_read","sessionId":"b","messageIds":["telegram:%s"],"status":"delivered"}`, hi))
		settle()
		want(t, telegram.Signs(hi), "read")
		if calls := discord.Calls(bridgetest.OpReact); len(calls) > 0 {
			t.Errorf("a sign on a platform that the message is not of: %v", calls)
		}

		ours := telegram.Shown(thread)[0].ID
		telegram.Tell(bridge.Update{Kind: bridge.UpdateReaction, Message: ours, Author: bridge.Author{ID: "u", Name: "Ana"}})
		telegram.Tell(bridge.Update{Kind: bridge.UpdateReaction, Message: hi, Author: bridge.Author{ID: "u", Name: "Ana"}})
		telegram.Tell(bridge.Update{Kind: bridge.UpdateReaction, Message: "999", Author: bridge.Author{ID: "u", Name: "Ana"}})
		settle()
		var reads []string
		for _, e := range h.receivers.entries("app") {
			if e.Event.Type == bridge.TypeMessageRead {
				reads = append(reads, string(e.Event.Body))
			}
		}
		want(t, reads, `{"sessionId":"a","messageIds":["1"],"status":"read","sourceBridge":"telegram"}`)
	})
}

// someFiles stand in for where files come from.
type someFiles map[string]string

func (f someFiles) Fetch(_ context.Context, a bridge.Attachment, max int64) (bridge.File, io.Closer, error) {
	content, ok := f[a.URL]
	if !ok || int64(len(content)) > max {
		return bridge.File{}, nil, errors.New("it cannot be had")
	}
	return bridge.File{Name: a.Filename, Size: int64(len(content)), Body: strings.NewReader(content)}, io.NopCloser(nil), nil
}

func (someFiles) Link(platform string, a bridge.Attachment) string {
	return "https://b/" + platform + "/" + a.BridgeFileID
}

var _ relay.Files = someFiles{}

func TestFilesTravel(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		telegram.Bears.MaxFile, discord.Bears.MaxFile = 100, 10
		h.files = someFiles{"u1": "a picture", "u2": strings.Repeat("z", 50)}
		h.start()
		h.ingest(`{"type":"visitor_message","session":{"id":"a","visitorId":"v"},"message":{"id":"1","sessionId":"a","content":"see",` +
			`"attachments":[{"id":"f1","filename":"one","url":"u1"},{"id":"f2","filename":"two","url":"u2"},{"id":"f3","filename":"three","url":"u3"}]}}`)
		settle()
		for _, c := range []struct {
			p     *bridgetest.Platform
			files string
			texts []string
		}{
			{telegram, "one=a picture two=" + strings.Repeat("z", 50) + " ", []string{"see\n[file three]", "", ""}},
			{discord, "one=a picture ", []string{"see\n[file two]\n[file three]", ""}},
		} {
			want(t, texts(c.p, "a"), c.texts...)
			var got strings.Builder
			for _, s := range c.p.Shown(c.p.Threads("a")[0]) {
				for _, f := range s.Files {
					fmt.Fprintf(&got, "%s=%s ", f.Name, f.Content)
				}
			}
			if got.String() != c.files {
				t.Errorf("%s shows the files %q", c.p.Called, got.String())
			}
		}

		telegram.Keep("ref", []byte("a voice"))
		telegram.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: telegram.Threads("a")[0], Message: "77",
			Author: bridge.Author{ID: "u", Name: "Ana"}, Files: []bridge.Attachment{{Filename: "v.ogg", Size: 7, BridgeFileID: "ref"}}})
		settle()
		shown := discord.Shown(discord.Threads("a")[0])
		if last := shown[len(shown)-1]; len(last.Files) != 1 || !bytes.Equal(last.Files[0].Content, []byte("a voice")) {
			t.Errorf("the operator's file is shown elsewhere as %+v", last)
		}
		if e := h.of(bridge.TypeOperatorMessage); len(e) != 1 || !strings.Contains(string(e[0].Event.Body), `"url":"https://b/telegram/ref"`) {
			t.Errorf("the operator's message is %+v", e)
		}
		h.ingest(deleted("1"))
		settle()
		left := discord.Shown(discord.Threads("a")[0])
		if len(left) != 3 || !strings.HasPrefix(left[0].Text, "[card v]") || strings.Contains(left[0].Text, "see") {
			t.Errorf("after the deletion %+v is shown", left)
		}
	})
}

// What may have been shown already is sent with the time since when.
func TestDoubt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
		since := func(call int) time.Time { return p.Calls(bridgetest.OpSend)[call].Part.Since }
		h.start()
		began := time.Now()
		h.ingest(message("a", "1", "one"))
		settle()
		if !since(0).IsZero() {
			t.Errorf("a first call is in doubt since %v", since(0))
		}
		p.Fail(bridgetest.OpSend, bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)))
		h.ingest(message("a", "2", "two"))
		time.Sleep(time.Minute)
		if got := since(2); got.IsZero() || got.After(time.Now()) {
			t.Errorf("a repeat is in doubt since %v", got)
		}
		h.ingest(message("a", "3", "three"))
		settle()
		if !since(3).IsZero() {
			t.Errorf("the call behind the repeat is in doubt since %v", since(3))
		}
		release := p.Hold(bridgetest.OpSend)
		h.ingest(message("a", "4", "four"))
		h.ingest(message("a", "5", "five"))
		settle()
		h.stop()
		release()
		h.start()
		settle()
		calls := p.Calls(bridgetest.OpSend)
		calls = calls[len(calls)-2:]
		if calls[0].Part.Since.IsZero() || calls[0].Part.Since.Before(began.Add(-2*time.Minute)) || !calls[1].Part.Since.IsZero() {
			t.Errorf("after a restart: %v, %v", calls[0].Part.Since, calls[1].Part.Since)
		}
		keys := map[string]bool{}
		for _, c := range p.Calls(bridgetest.OpSend) {
			keys[c.Part.Key] = true
		}
		if len(keys) != 5 || keys[""] {
			t.Errorf("the keys are %v", keys)
		}
	})
}

func TestTyping(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		settle()
		for range 5 {
			h.ingest(`{"type":"visitor_typing","sessionId":"a","isTyping":true}`)
			h.ingest(`{"type":"visitor_typing","sessionId":"unknown","isTyping":true}`)
			h.ingest(`{"type":"visitor_typing","sessionId":"a","isTyping":false}`)
			time.Sleep(2 * time.Second)
		}
		for _, p := range []*bridgetest.Platform{telegram, discord} {
			if n := len(p.Calls(bridgetest.OpShowTyping)); n != 3 {
				t.Errorf("%s: typing was shown %d times", p.Called, n)
			}
		}
		ephemeral := make(chan bridge.Entry, 1)
		defer h.relay.Ephemeral(func(e bridge.Entry) { ephemeral <- e })()
		discord.Tell(bridge.Update{Kind: bridge.UpdateTyping, Thread: discord.Threads("a")[0], Author: bridge.Author{ID: "u", Name: "Ana"}})
		e := <-ephemeral
		settle()
		if e.Event.Type != bridge.TypeOperatorTyping || e.Event.Session != "a" {
			t.Errorf("told %+v", e)
		}
		if !slices.ContainsFunc(h.receivers.entries("app"), func(e bridge.Entry) bool { return e.Event.Type == bridge.TypeOperatorTyping }) {
			t.Error("the callback is not told")
		}
		for _, e := range h.events() {
			if e.Event.Type == bridge.TypeOperatorTyping || e.Event.Type == bridge.TypeVisitorTyping {
				t.Errorf("it is in the log: %+v", e)
			}
		}
	})
}

func TestCards(t *testing.T) {
	t.Parallel()
	identity := `{"type":"identity_update","session":{"id":"a","visitorId":"v","identity":{"id":"u","name":"Ada"}}}`
	t.Run("that stands alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newCarded("slack")
			h := newHouse(t, p)
			h.open = relay.OpenOnSession
			h.start()
			defer h.stop()
			h.ingest(announce("a"))
			settle()
			want(t, texts(p.Platform, "a"))
			h.ingest(message("a", "1", "one"))
			h.ingest(identity)
			settle()
			want(t, texts(p.Platform, "a"), "one")
			want(t, p.shown("a"), "Ada | one | Nobody has answered yet")
		})
	})
	t.Run("in a message", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "1", "one"))
			h.ingest(identity)
			settle()
			want(t, p.Texts(p.Threads("a")[0]), "[card Ada]\none")
			h.ingest(edited("1", "uno", 1))
			settle()
			want(t, p.Texts(p.Threads("a")[0]), "[card Ada]\nuno")
			// The message goes, and who it is from stays.
			h.ingest(message("a", "2", "two"))
			h.ingest(deleted("1"))
			settle()
			want(t, p.Texts(p.Threads("a")[0]), "[card Ada]\n", "two")
			h.ingest(strings.Replace(identity, "Ada", "Eva", 1))
			h.ingest(edited("1", "ein", 2))
			settle()
			want(t, p.Texts(p.Threads("a")[0]), "[card Eva]\n", "two")
		})
	})
}

// A sign that is refused for its pace is left out, and the log says so; words go on.
func TestSignsAreLeftOutForTheirPace(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, _ *bridgetest.Platform) {
		var mu sync.Mutex
		var said bytes.Buffer
		h.adjust = func(o *relay.Options) func(context.Context) {
			o.Log = slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				return said.Write(b)
			}), nil))
			return nil
		}
		h.start()
		h.ingest(message("a", "1", "one"))
		settle()
		var refused atomic.Int32
		telegram.Hook(bridgetest.OpReact, func(context.Context, bridgetest.Call) error {
			refused.Add(1)
			return &bridge.DeliveryError{Reason: bridge.ReasonRateLimited, Scope: bridge.ScopeOperation, Op: "react", RetryAfter: time.Second}
		})
		hi := telegram.Say(telegram.Threads("a")[0], "Ana", "hi")
		settle()
		h.ingest(message("a", "2", "two"))
		time.Sleep(time.Minute)
		want(t, telegram.Signs(hi))
		want(t, texts(telegram, "a"), "one", "two")
		mu.Lock()
		defer mu.Unlock()
		if n := strings.Count(said.String(), "signs are left out"); refused.Load() != 1 || n != 1 {
			t.Errorf("refused %d times, said %d times:\n%s", refused.Load(), n, said.String())
		}
	})
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }
