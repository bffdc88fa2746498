package relay_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
)

// wrote lists the calls that write, in their order.
func wrote(p *bridgetest.Platform) []string {
	var out []string
	for _, c := range p.Calls(bridgetest.OpSend, bridgetest.OpEdit, bridgetest.OpDelete) {
		out = append(out, strings.TrimSpace(c.Op+" "+c.Text))
	}
	return out
}

// A message whose answer was lost is there already: it is sent again as it was, so that it is found, and changed then.
func TestChangeOfWhatMayBeThere(t *testing.T) {
	t.Parallel()
	for change, want2 := range map[string]string{edited("1", "uno", 1): bridgetest.OpEdit + " uno", deleted("1"): bridgetest.OpDelete} {
		pair(t, func(t *testing.T, h *house, p, _ *bridgetest.Platform) {
			h.start()
			h.ingest(message("a", "0", "zero"))
			settle()
			p.Fail(bridgetest.OpSend, bridgetest.After(fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)))
			h.ingest(message("a", "1", "one"))
			synctest.Wait()
			h.ingest(change)
			time.Sleep(time.Minute)
			want(t, wrote(p)[1:], bridgetest.OpSend+" one", bridgetest.OpSend+" one", want2)
		})
	}
}

// A message of several parts that was begun as it was edited is ended so, though an answer is lost and the process ends meanwhile.
func TestEndedAsBegun(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, p, other *bridgetest.Platform) {
		p.PartSize = 4
		h.start()
		h.ingest(message("a", "0", "zero"))
		settle()
		release := p.Hold(bridgetest.OpSend)
		h.ingest(message("a", "1", "held"))
		h.ingest(message("a", "2", "aaaabbbbcccc"))
		h.ingest(edited("2", "wwwwxxxxyyyyzzzz", 1))
		synctest.Wait()
		release()
		lost := false
		p.Hook(bridgetest.OpSend, func(_ context.Context, c bridgetest.Call) error {
			if c.Text == "xxxx" && !lost {
				lost = true
				return fault(bridge.ReasonUnconfirmed, bridge.ScopeSession)
			}
			return nil
		})
		synctest.Wait()
		h.stop()
		h.start()
		time.Sleep(time.Minute)
		all := texts(p, "a")
		want(t, all[len(all)-5:], "held", "wwww", "xxxx", "yyyy", "zzzz")
		want(t, texts(other, "a"), "zero", "held", "wwwwxxxxyyyyzzzz")
		want(t, h.letterIDs(""))
	})
}

// flaky are files that cannot be had so many times.
type flaky struct {
	someFiles
	left *int
}

func (f flaky) Fetch(ctx context.Context, a bridge.Attachment, max int64) (bridge.File, io.Closer, error) {
	if *f.left--; *f.left >= 0 {
		return bridge.File{}, nil, fault(bridge.ReasonTransient, bridge.ScopeDestination)
	}
	return f.someFiles.Fetch(ctx, a, max)
}

// A file that cannot be had for a moment is asked for again, and is a link if that goes on. The platform is not to blame.
func TestFileThatCannotBeHadForAMoment(t *testing.T) {
	t.Parallel()
	for failures, shown := range map[int][]string{2: {"see", ""}, 3: {"see\n[file one]"}} {
		bubble(t, func(t *testing.T, h *house, p *bridgetest.Platform) {
			p.Bears.MaxFile = 100
			h.files = flaky{someFiles{"u1": "a picture"}, &failures}
			h.start()
			h.ingest(`{"type":"visitor_message","session":{"id":"a","visitorId":"v"},"message":{"id":"1","sessionId":"a","content":"see",` +
				`"attachments":[{"id":"f1","filename":"one","url":"u1"}]}}`)
			time.Sleep(10 * time.Second)
			want(t, texts(p, "a"), shown...)
			for _, lane := range h.relay.Health() {
				if lane.Lane == "telegram" && (lane.State != "delivering" || lane.Waiting > 0) {
					t.Errorf("the lane is %+v", lane)
				}
			}
		})
	}
}

// Where an operator wrote a message, it is said that the app did not take it.
func TestRefusedByTheApp(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, discord *bridgetest.Platform) {
		h.start()
		h.ingest(message("a", "1", "one"))
		settle()
		thread := telegram.Threads("a")[0]
		h.receivers.mu.Lock()
		h.receivers.fails["app"] = fault(bridge.ReasonRejected, bridge.ScopeSession)
		h.receivers.mu.Unlock()
		telegram.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: thread, Message: "77", Author: bridge.Author{ID: "u", Name: "Ana"}, Text: "hi"})
		settle()
		telegram.Tell(bridge.Update{Kind: bridge.UpdateEdit, Thread: thread, Message: "77", Author: bridge.Author{ID: "u", Name: "Ana"}, Text: "ho"})
		settle()
		want(t, texts(discord, "a"), "one", "Ana (Telegram): ho")
		said := telegram.Shown(thread)
		if len(said) != 3 || said[1].ReplyTo != "77" || said[2].ReplyTo != "77" || !said[1].Silent ||
			!strings.Contains(said[1].Text, "does not see this message") || !strings.Contains(said[2].Text, "as it was") {
			t.Errorf("Telegram shows %+v", said)
		}
		for _, e := range h.receivers.entries("app") {
			if e.Event.Type == bridge.TypeAnswer {
				t.Errorf("the app was told %s", e.Event.Body)
			}
		}
	})
}

// What was deleted is neither quoted nor replied to.
func TestReplyToWhatIsGone(t *testing.T) {
	t.Parallel()
	pair(t, func(t *testing.T, h *house, telegram, slack *bridgetest.Platform) {
		slack.Bears.Quotes = true
		h.start()
		h.ingest(message("a", "1", "one"))
		h.ingest(message("a", "2", "secret"))
		settle()
		slack.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: slack.Threads("a")[0], Message: "77", Author: bridge.Author{ID: "u", Name: "Ana"},
			Text: "first"})
		settle()
		slack.Tell(bridge.Update{Kind: bridge.UpdateEdit, Thread: slack.Threads("a")[0], Message: "77", Author: bridge.Author{ID: "u", Name: "Ana"},
			Text: "second"})
		h.ingest(deleted("2"))
		reply := func(id, to string) {
			h.ingest(strings.Replace(message("a", id, "re "+to), `"content"`, `"replyTo":"`+to+`","content"`, 1))
		}
		reply("3", "2")
		reply("4", "1")
		reply("5", "discord:77")
		settle()
		if got := texts(slack, "a"); !slices.Equal(got, []string{"one", "re 2", "[quote one]re 1", "[quote second]re discord:77"}) {
			t.Errorf("it is shown %q", got)
		}
		for _, s := range telegram.Shown(telegram.Threads("a")[0]) {
			if s.Text == "re 2" && s.ReplyTo != "" {
				t.Errorf("%+v replies to what is gone", s)
			}
		}
	})
}
