package bridgetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The fake passes the suite itself.
func TestSuiteOnFake(t *testing.T) {
	Run(t, func(*testing.T) *Harness {
		p := NewPlatform("fake")
		p.Markup, p.Bears.MaxFile, p.Caption = true, 1<<20, 1024
		edits := 0
		fail := func(e *bridge.DeliveryError) func(bridge.ThreadID) {
			e.Op, e.Detail = OpSend, "as the test says"
			return func(bridge.ThreadID) { p.Fail(OpSend, e) }
		}
		return &Harness{
			Platform: fakeForSuite{p},
			Shown: func(id bridge.ThreadID) []Shown {
				shown := p.Shown(id)
				for i, s := range shown {
					if n := len(s.Text); n > 1 && s.Text[0] == '*' && s.Text[n-1] == '*' {
						shown[i].Text = s.Text[1 : n-1]
					}
				}
				return shown
			},
			RepeatsShow: true,
			AnaID:       "u-Ana",
			Signs:       func(_ bridge.ThreadID, id bridge.MessageID) []string { return p.Signs(id) },
			Edit: func(id bridge.ThreadID, m bridge.MessageID, text string) {
				edits++
				p.Tell(bridge.Update{Kind: bridge.UpdateEdit, Thread: id, Message: m, Text: text,
					Edited: time.Unix(int64(edits), 0), Author: bridge.Author{ID: "u-Ana", Name: "Ana"}})
			},
			Delete: func(id bridge.ThreadID, m bridge.MessageID) {
				p.Tell(bridge.Update{Kind: bridge.UpdateDelete, Thread: id, Message: m})
			},
			React: func(id bridge.ThreadID, m bridge.MessageID) {
				p.Tell(bridge.Update{Kind: bridge.UpdateReaction, Thread: id, Message: m, Author: bridge.Author{ID: "u-Ana", Name: "Ana"}})
			},
			Upload: func(id bridge.ThreadID, name, mediaType string, content []byte) bridge.MessageID {
				p.Keep("ref", content)
				p.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: id, Message: "f1", Author: bridge.Author{ID: "u-Ana", Name: "Ana"},
					Files: []bridge.Attachment{{Filename: name, MimeType: mediaType, Size: int64(len(content)), BridgeFileID: "ref"}}})
				return "f1"
			},
			Say: func(id bridge.ThreadID, text string, replyTo bridge.MessageID) bridge.MessageID {
				return p.say(id, "Ana", text, replyTo)
			},
			Waiting: func() int {
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.updates) - p.acked
			},
			Faults: map[Fault]func(bridge.ThreadID){
				FaultRateLimit:    fail(&bridge.DeliveryError{Reason: bridge.ReasonRateLimited, RetryAfter: 1}),
				FaultServer:       fail(&bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeUnclear}),
				FaultUnauthorised: fail(&bridge.DeliveryError{Reason: bridge.ReasonAuth, Scope: bridge.ScopeDestination}),
				FaultMarkup:       fail(&bridge.DeliveryError{Reason: bridge.ReasonRejected}),
				FaultCut: func(bridge.ThreadID) {
					p.Fail(OpSend, After(&bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: OpSend, Detail: "cut"}))
				},
				FaultThreadGone:   p.DeleteThread,
				FaultThreadClosed: p.ShutThread,
			},
		}
	})
}

// fakeForSuite shows of a card and a blank text what a real platform has to.
type fakeForSuite struct{ *Platform }

func (f fakeForSuite) Render(m bridge.Outgoing) []bridge.Part {
	if m.Card != nil {
		s := m.Card
		card := s.DisplayName()
		if s.Identity != nil {
			card += " " + s.Identity.Email
		}
		if d := s.Metadata; d != nil {
			card += " " + d.URL + " " + d.PageTitle + " " + d.City + " " + d.Country + " " + d.DeviceType + " " + d.Browser + " " + d.OS
		}
		m.Text, m.Card = card+" "+s.UserPhone+"\n"+m.Text, nil
	}
	if withoutInvisible(m.Text) == "" && len(m.Links)+len(m.Files) == 0 {
		m.Text = "(blank)"
	}
	return f.Platform.Render(m)
}

func (f fakeForSuite) Send(ctx context.Context, id bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	if err := ctx.Err(); err != nil {
		return nil, &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: OpSend, Detail: "cancelled"}
	}
	return f.Platform.Send(ctx, id, p)
}

func (f fakeForSuite) ThreadName(s *bridge.Session) string {
	if name := f.Platform.ThreadName(s); withoutInvisible(name) != "" {
		return name
	}
	return s.VisitorID
}

func TestFakeScripts(t *testing.T) {
	p := NewPlatform("fake")
	p.OpenSteps = 2
	s := &bridge.Session{ID: "s1", VisitorID: "v1"}
	thread := Open(t, p, s)
	if got := p.Threads("s1"); !slices.Equal(got, []bridge.ThreadID{thread}) {
		t.Errorf("Threads: %q", got)
	}

	fault := errors.New("no")
	p.Fail(OpSend, fault, nil, After(fault))
	for i, want := range []error{fault, nil, fault, nil} {
		if _, err := p.Send(t.Context(), thread, bridge.Part{Text: string(rune('a' + i))}); !errors.Is(err, want) {
			t.Errorf("send %d: %v", i, err)
		}
	}
	if got := p.Texts(thread); !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("shown %q", got)
	}

	release := p.Hold(OpSend)
	done := make(chan error)
	for range 2 {
		go func() {
			_, err := p.Send(t.Context(), thread, bridge.Part{Text: "held"})
			done <- err
		}()
	}
	p.WaitFor(t, patience, func(calls []Call) bool { return len(calls) == 8 })
	release()
	release()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
	p.WaitSent(t, patience, 4)
	if p.Most() != 2 || len(p.Calls(OpSend)) != 6 || len(p.Calls(OpOpenThread)) != 2 {
		t.Errorf("most %d, calls %d, %d", p.Most(), len(p.Calls(OpSend)), len(p.Calls(OpOpenThread)))
	}
}

func TestFakeRewind(t *testing.T) {
	p := NewPlatform("fake")
	p.Say("x", "Ana", "one")
	p.Say("x", "Ana", "two")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		inbox := NewInbox("")
		done := make(chan error, 1)
		go func() { done <- p.Listen(ctx, inbox) }()
		inbox.Wait(t, 2)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if p.Acknowledged() < 1 {
			t.Error("nothing is acknowledged")
		}
		p.Rewind(0)
	}
}
