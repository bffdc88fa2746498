package slack

import (
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/bridge/bridgetest"
	sandbox "github.com/pocketping/bridge/internal/sandbox/slack"
)

// A partner's file, of which an event tells the id alone, has a name, a type and a size, live and caught up; one that is removed is
// told as an edit.
func TestPartnersFile(t *testing.T) {
	p := start(t, sandbox.Options{}, nil)
	thread := bridgetest.Open(t, p, visitor())
	send := func() sandbox.Message {
		return p.server.Upload(sandbox.Attachment{Post: sandbox.Post{Channel: p.channel, ThreadTS: parentOf(thread), User: p.ana, Text: "see"},
			Name: "pic.png", Content: []byte("thirteen byte"), Partner: true})
	}
	inbox := bridgetest.NewInbox("")
	_, stop := listening(t, p, inbox)
	p.begun(t)
	live := send()
	got := inbox.Wait(t, 1)
	_ = stop()
	missed := send()
	_, stop = listening(t, p, inbox)
	got = append(got, inbox.Wait(t, 2)[1])
	p.begun(t)
	p.server.DeleteFile(missed.Files[0].ID)
	removed := inbox.WaitFor(t, 1, func(u bridge.Update) bool { return u.Kind == bridge.UpdateEdit })[0]
	_ = stop()
	for i, m := range []sandbox.Message{live, missed} {
		want := bridge.Attachment{Filename: "pic.png", MimeType: "image/png", Size: 13, BridgeFileID: m.Files[0].ID}
		if u := got[i]; len(u.Files) != 1 || u.Files[0] != want {
			t.Errorf("message %d: %+v", i, u)
		}
	}
	if removed.Kind != bridge.UpdateEdit || removed.Message != bridge.MessageID(missed.TS) || removed.Text != "see" || len(removed.Files) > 0 {
		t.Errorf("%+v", removed)
	}
}
