package discord

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// said is what a visitor said, as the relay has it shown.
func said(thread bridge.ThreadID, text string) bridge.Outgoing {
	return bridge.Outgoing{Thread: thread, Visitor: "Mar*ia", Text: text, Foreign: true, Kind: bridge.KindMessage, Face: bridge.Face{Name: "Mar*ia", Seed: "v"}}
}

// Where the bot speaks for a visitor, the name stands first and in bold: without the webhook, beyond its pace, and in a reply. An edit keeps it.
// Under the webhook's name it is not said again.
func TestTheBotNamesWhoSpeaks(t *testing.T) {
	t.Parallel()
	const named = `**Mar\*ia:** `
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Mar*ia"))
	say := func(m bridge.Outgoing) bridge.MessageID {
		t.Helper()
		part := p.Render(m)[0]
		part.Key = m.Text
		return shows(t, p, thread, part)
	}
	id := say(said(thread, "hello"))
	if got := p.last(t, thread); got.Webhook != "" || got.Text != named+"hello" {
		t.Errorf("without the webhook it is %q", got.Text)
	}
	if err := p.Edit(t.Context(), thread, id, p.Render(said(thread, "hello!"))[0]); err != nil {
		t.Fatal(err)
	}
	if got := p.last(t, thread); got.Text != named+"hello!" {
		t.Errorf("edited it is %q", got.Text)
	}
	long := p.Render(said(thread, strings.Repeat("long ", 500)))
	if len(long) != 2 || !strings.HasPrefix(long[0].Text, named) || strings.Contains(long[1].Text, named) {
		t.Errorf("a long one has %d parts", len(long))
	}
	alone := said(thread, "")
	alone.Files = []bridge.Attachment{{Filename: "a.png"}}
	if got := p.Render(alone); len(got) != 1 || got[0].Text != `**Mar\*ia:**` || *got[0].Faced != "" {
		t.Errorf("a file alone is %+v", got)
	}
	alone.ReplyTo = id // as a file that came after its text does
	if got := p.Render(alone); len(got) != 1 || got[0].Text != "" {
		t.Errorf("a file below its text is %+v", got)
	}
	flat := p.Render(said(p.MainThread(), "hello"))[0]
	if strings.Count(flat.Text, "Mar") != 1 {
		t.Errorf("without a thread it is %q", flat.Text)
	}

	p.server.Allow("", sandbox.ManageWebhooks)
	p.faces.until = time.Time{}
	id = say(said(thread, "with a face"))
	if got := p.last(t, thread); got.Webhook == "" || got.Text != "with a face" {
		t.Fatalf("with a face it is %+v", got)
	}
	if err := p.Edit(t.Context(), thread, id, p.Render(said(thread, "and edited"))[0]); err != nil {
		t.Fatal(err)
	}
	if got := p.last(t, thread); got.Text != "and edited" {
		t.Errorf("with a face an edit is %q", got.Text)
	}
	reply := said(thread, "to that")
	reply.ReplyTo = id
	say(reply)
	if got := p.last(t, thread); got.Webhook != "" || got.Text != named+"to that" {
		t.Errorf("a reply is %q", got.Text)
	}
	for range hookCalls {
		p.faces.sent = append(p.faces.sent, p.rest.now())
	}
	say(said(thread, "beyond the pace"))
	if got := p.last(t, thread); got.Webhook != "" || got.Text != named+"beyond the pace" {
		t.Errorf("beyond the webhook's pace it is %q", got.Text)
	}
}

// What was said and not confirmed is found in either form, the webhook's and the bot's, and shown once.
func TestWhatWasSaidIsFoundInBothForms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call   string
		answer sandbox.Action
		face   bool
	}{
		"the webhook's, made":     {"execute_webhook", sandbox.Action{DropAfter: true}, true},
		"the webhook's, not made": {"execute_webhook", sandbox.Action{DropBefore: true}, true},
		"the bot's, made":         {"create_message", sandbox.Action{DropAfter: true}, false},
		"the bot's, not made":     {"create_message", sandbox.Action{DropBefore: true}, false},
	} {
		for after, gone := range map[string]bool{"as it was": false, "the webhook gone since": true} {
			t.Run(name+", "+after, func(t *testing.T) {
				t.Parallel()
				p, thread := faced(t, sandbox.Text)
				if !c.face {
					p.server.Deny("", sandbox.ManageWebhooks)
				}
				began := time.Now()
				part := p.Render(said(thread, "is it there?"))[0]
				part.Key = "k"
				p.server.Next(c.call, c.answer)
				if _, err := p.Send(t.Context(), thread, part); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
					t.Fatalf("the error is %v", err)
				}
				if gone {
					p.server.Deny("", sandbox.ManageWebhooks)
					p.faces.until = time.Now().Add(time.Hour)
				}
				now := began.Add(20 * time.Minute) // Discord has forgotten the nonce
				p.rest.now = func() time.Time { return now }
				part.Since = began
				shows(t, p, thread, part)
				n := 0
				_, place, _ := strings.Cut(string(thread), "/")
				for _, m := range p.server.Messages(place) {
					if strings.Contains(m.Text, "is it there?") {
						n++
					}
				}
				if n != 1 {
					t.Errorf("it is shown %d times", n)
				}
			})
		}
	}
}

// inside answers calls from a stand-in without a network, so that both live by one controlled clock.
type inside struct{ server *sandbox.Server }

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	i.server.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// wordsOfAMinute has a visitor say 60 words in a minute, one a second, at Discord's usual limits, and returns after which time each is shown.
// As the relay does, it says nothing more of a session before a word is shown, and waits where it is asked to.
func wordsOfAMinute(t *testing.T, faces bool) (after []time.Duration, underFaces int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := sandbox.New(sandbox.Options{})
		defer server.Close()
		if faces {
			server.Allow("", sandbox.ManageWebhooks)
		}
		channel := server.AddChannel(sandbox.Channel{Kind: sandbox.Text, Name: "support"})
		d, _ := adapter(t, Config{Token: bridge.Secret(server.Token()), ChannelID: channel, APIURL: "http://sandbox.test/api"})
		d.rest.client.Transport = recorder{inside{server}}
		thread, err := bridge.ThreadID(""), error(nil)
		for o := (bridge.Opening{Key: "o"}); thread == ""; {
			var step string
			if thread, step, err = d.OpenThread(t.Context(), session("1", "Maria"), o); err != nil {
				t.Fatal(err)
			}
			o.Done = append(o.Done, step)
		}
		server.SetLimits(sandbox.UsualLimits())
		began := time.Now()
		for i := range 60 {
			time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second)))
			part := d.Render(said(thread, "word "+strconv.Itoa(i)))[0]
			part.Key = strconv.Itoa(i)
			for {
				_, err := d.Send(t.Context(), thread, part)
				fault := bridge.AsDelivery(err, opSend, "")
				if fault == nil {
					break
				}
				if fault.Reason != bridge.ReasonRateLimited {
					t.Fatal(fault)
				}
				time.Sleep(max(fault.RetryAfter, time.Millisecond))
			}
			after = append(after, time.Since(began.Add(time.Duration(i)*time.Second)))
		}
		_, place, _ := strings.Cut(string(thread), "/")
		for _, m := range server.Messages(place) {
			if m.Webhook != "" {
				underFaces++
			}
		}
	})
	return after, underFaces
}

// 60 words a minute are shown with faces, each no later than without: what the webhook would show late is the bot's.
func TestFacesMakeNoWordLate(t *testing.T) {
	t.Parallel()
	with, under := wordsOfAMinute(t, true)
	without, none := wordsOfAMinute(t, false)
	if under < hookCalls/2 || none != 0 {
		t.Errorf("%d words have faces, and %d where there are none", under, none)
	}
	var latest time.Duration
	for i := range with {
		if latest = max(latest, with[i]); with[i] > without[i] {
			t.Errorf("word %d is shown after %s, and without faces after %s", i, with[i], without[i])
		}
	}
	t.Logf("%d of 60 words under faces; the latest after %s, without faces %s", under, latest, slices.Max(without))
}
