package discord

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	"github.com/pocketping/bridge/internal/platform"
	sandbox "github.com/pocketping/bridge/internal/sandbox/discord"
)

// faced is a place in which visitors have faces, with a thread of a visitor's.
func faced(t *testing.T, kind sandbox.Kind) (*place, bridge.ThreadID) {
	t.Helper()
	p := start(t, sandbox.Options{}, kind)
	p.server.Allow("", sandbox.ManageWebhooks)
	return p, bridgetest.Open(t, p.Discord, session("1", "Maria"))
}

// last returns the newest message of a thread, as the sandbox shows it.
func (p *place) last(t *testing.T, thread bridge.ThreadID) sandbox.Message {
	t.Helper()
	_, id, _ := strings.Cut(string(thread), "/")
	all := p.server.Messages(id)
	if len(all) == 0 {
		t.Fatal("the thread is empty")
	}
	return all[len(all)-1]
}

func says(text, name string) bridge.Part {
	return bridge.Part{Text: text, Key: text, Face: bridge.Face{Name: name, Seed: name}}
}

func shows(t *testing.T, p *place, thread bridge.ThreadID, part bridge.Part) bridge.MessageID {
	t.Helper()
	ids, err := p.Send(t.Context(), thread, part)
	if err != nil || len(ids) != 1 {
		t.Fatalf("%q: %v, %v", part.Text, ids, err)
	}
	return ids[0]
}

// A visitor speaks under their name, edits and deletions are the webhook's, and replies are the bot's.
func TestFaces(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]sandbox.Kind{"text": sandbox.Text, "forum": sandbox.Forum} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, thread := faced(t, kind)
			id := shows(t, p, thread, says("hello", "Maria"))
			m := p.last(t, thread)
			if m.Text != "hello" || m.Webhook == "" || m.Author.Name != platform.AnimalOf("Maria").Sign+" Maria" || !m.Own {
				t.Fatalf("shown as %+v", m)
			}
			if err := p.Edit(t.Context(), thread, id, says("hello there", "Maria")); err != nil {
				t.Fatal(err)
			}
			if m = p.last(t, thread); m.Text != "hello there" {
				t.Errorf("after the edit: %q", m.Text)
			}
			reply := says("to that", "Maria")
			reply.ReplyTo = id
			shows(t, p, thread, reply)
			if m = p.last(t, thread); m.Webhook != "" || m.Text != "to that" {
				t.Errorf("a reply is shown as %+v", m)
			}
			withFile := says("look", "Maria")
			withFile.Key = "with a file"
			file := []bridge.File{{Name: "a.txt", Type: "text/plain", Size: 5, Body: strings.NewReader("words")}}
			if ids, err := p.Upload(t.Context(), thread, withFile, file); err != nil || len(ids) != 1 {
				t.Fatalf("with a file: %v, %v", ids, err)
			}
			if m = p.last(t, thread); m.Webhook == "" || m.Text != "look" || len(m.Files) != 1 || string(m.Files[0].Content) != "words" {
				t.Errorf("with a file it is shown as %+v", m)
			}
			album := p.Render(bridge.Outgoing{
				Thread: thread, Author: "Ana (Slack)", Files: []bridge.Attachment{{Filename: "b.txt"}}, Face: bridge.Face{Name: "Ana (Slack)", Seed: "Ana"},
			})
			file[0].Body = strings.NewReader("other")
			if _, err := p.Upload(t.Context(), thread, album[0], file); err != nil {
				t.Fatal(err)
			}
			if m = p.last(t, thread); m.Webhook == "" || m.Text != "" || len(m.Files) != 1 {
				t.Errorf("a file alone is shown as %+v", m)
			}
			if err := p.Delete(t.Context(), thread, id); err != nil {
				t.Fatal(err)
			}
			_, place, _ := strings.Cut(string(thread), "/")
			for _, m := range p.server.Messages(place) {
				if m.ID == string(id) {
					t.Error("it is there still")
				}
			}
			copied := p.Render(bridge.Outgoing{Thread: thread, Author: "Ana (Slack)", Text: "a copy", Face: bridge.Face{Name: "Ana (Slack)", Seed: "Ana"}})
			copied[0].Key = "copy"
			shows(t, p, thread, copied[0])
			if m = p.last(t, thread); m.Text != "a copy" || !strings.HasSuffix(m.Author.Name, " Ana (Slack)") {
				t.Errorf("a copy is shown as %+v", m)
			}
		})
	}
}

// Without the permission, with names that Discord takes in no webhook, and after somebody deleted the webhook, everything is shown.
func TestFacesAreNoCondition(t *testing.T) {
	t.Parallel()
	p := start(t, sandbox.Options{}, sandbox.Text)
	thread := bridgetest.Open(t, p.Discord, session("1", "Maria"))
	shows(t, p, thread, says("one", "Maria"))
	if m := p.last(t, thread); m.Webhook != "" || m.Text != "one" {
		t.Errorf("without the permission it is shown as %+v", m)
	}
	p.server.Allow("", sandbox.ManageWebhooks)
	p.faces.until = time.Time{} // ten minutes later
	for i, name := range []string{"Discord Team", "everyone", "@here", "  ", "Clyde"} {
		shows(t, p, thread, says("n"+strconv.Itoa(i), name))
		if m := p.last(t, thread); m.Text != "n"+strconv.Itoa(i) {
			t.Errorf("%q is shown as %+v", name, m)
		}
	}
	id := shows(t, p, thread, says("two", "Maria"))
	hook := p.last(t, thread).Webhook
	if hook == "" {
		t.Fatal("no face")
	}
	p.server.Deny("", sandbox.ManageWebhooks) // in the middle: the token is good still
	shows(t, p, thread, says("three", "Maria"))
	if m := p.last(t, thread); m.Webhook != hook {
		t.Errorf("with the token it is shown as %+v", m)
	}
	p.server.RemoveWebhook(hook)
	shows(t, p, thread, says("four", "Maria"))
	if m := p.last(t, thread); m.Webhook != "" || m.Text != "four" {
		t.Errorf("without the webhook it is shown as %+v", m)
	}
	if err := p.Edit(t.Context(), thread, id, says("two!", "Maria")); platform.ReasonOf(err) != bridge.ReasonTooLate {
		t.Errorf("an edit of what the webhook wrote: %v", err)
	}
	if strings.Contains(p.logs.String(), p.faces.token.Reveal()) && p.faces.token != "" {
		t.Error("the log shows the webhook's token")
	}
}

// A call of the webhook's whose answer was lost shows once: it is looked for, and if it is not there, the bot says it.
func TestLostFacesShowOnce(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]sandbox.Action{
		"made, no answer": {DropAfter: true}, "not made, no answer": {DropBefore: true}, "5xx": {Status: 502, Body: "<html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, thread := faced(t, sandbox.Text)
			shows(t, p, thread, says("yes", "Maria"))
			began := time.Now()
			again := says("yes", "Maria")
			again.Key = "another"
			p.server.Next("execute_webhook", answer)
			if _, err := p.Send(t.Context(), thread, again); platform.ReasonOf(err) != bridge.ReasonUnconfirmed {
				t.Fatalf("the error is %v", err)
			}
			again.Since = began
			shows(t, p, thread, again)
			n := 0
			_, place, _ := strings.Cut(string(thread), "/")
			for _, m := range p.server.Messages(place) {
				if m.Text == "yes" {
					n++
				}
			}
			if n != 2 {
				t.Errorf("shown %d times", n)
			}
		})
	}
}

// What the webhook would show late is the bot's: 60 words in a minute, none of which is refused or waits.
func TestFacesKeepThePace(t *testing.T) {
	t.Parallel()
	p, thread := faced(t, sandbox.Text)
	limits := sandbox.UsualLimits()
	limits.Routes["create_message"], limits.Routes["execute_webhook"] = sandbox.Window{}, sandbox.Window{Calls: 5, Per: 2 * time.Second}
	limits.Otherwise, limits.Global = sandbox.Window{}, sandbox.Window{}
	shows(t, p, thread, says("first", "Maria")) // the webhook is there
	p.server.SetLimits(limits)
	now := time.Now()
	p.rest.now = func() time.Time { return now }
	under := 0
	for i := range 60 {
		now = now.Add(time.Second)
		shows(t, p, thread, says("word "+strconv.Itoa(i), "Maria"))
		if p.last(t, thread).Webhook != "" {
			under++
		}
	}
	if under == 0 || under > hookCalls {
		t.Errorf("%d of 60 words in a minute have a face", under)
	}
	if early := p.server.TooEarly("create_message"); early > 0 {
		t.Errorf("%d calls were refused for their pace", early)
	}
}
