package threads

import (
	"context"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// notifyAgain is how long those whom the platform's setting names are left in peace after a call: somebody who writes in ten pieces
// calls everybody once.
const notifyAgain = time.Minute

// Callees says who is to be called to what a session's visitor says.
type Callees interface {
	Whom(ctx context.Context, platform, session string) (bridge.Call, error)
}

// calling is who is called with a message. It is kept with how far the message is: its first part has them.
type calling struct {
	Users     []string `json:"users,omitempty"`
	Notify    bool     `json:"notify,omitempty"`
	Broadcast bool     `json:"broadcast,omitempty"`
}

// decideCall decides who is called with a message, before its first call. A message that may have been sent is sent again with those whom
// it called: where its text is cut follows from them.
func (d *Sink) decideCall(ctx context.Context, it *attempt, p *progress) (err error) {
	inDoubt := !it.PossiblySent.IsZero()
	switch {
	case p.Sent > 0 || !d.calls(it):
		return nil
	case inDoubt && p.Called:
	case inDoubt && it.called:
		p.Call = it.call
	default:
		p.Call, err = d.whom(ctx, it)
	}
	p.Called = err == nil
	it.call, it.called = p.Call, p.Called
	return err
}

// calls says whether an event is a word that calls people on the platform.
func (d *Sink) calls(it *attempt) bool {
	return it.want.answer == nil && it.want.author == "" && it.want.late == nil && it.Kind == bridge.KindMessage &&
		it.Entry.Event.Type == bridge.TypeVisitorMessage && !d.max.Rings && d.callees != nil
}

// ring has a message ring for those for whom it has to, and for nobody else.
func (d *Sink) ring(it *attempt, out *bridge.Outgoing, call *calling) {
	late := it.want.late
	switch {
	case it.want.answer != nil:
		out.Silent = len(it.want.mention) == 0
		return
	case it.want.author != "", late != nil && (!late.Visitor || !late.Alone):
		out.Silent = true
		return
	case !d.calls(it) || call == nil:
		return
	}
	out.Mention, out.Notify, out.Broadcast = call.Users, call.Notify, call.Broadcast
	if measure.IsBlank(out.Text) && len(out.Links) == 0 && len(out.Files) > 0 { // who is called is called in a text
		out.Text = "📎 " + namesOf(it.want.messageFiles(it.Entry))
	}
}

// equal says whether two messages call the same people in the same way.
func (c *calling) equal(o *calling) bool {
	if c == nil || o == nil {
		return c == o
	}
	return slices.Equal(c.Users, o.Users) && c.Notify == o.Notify && c.Broadcast == o.Broadcast
}

// whom returns who is called with a visitor's message; nil: nobody.
func (d *Sink) whom(ctx context.Context, it *attempt) (*calling, error) {
	call, err := d.callees.Whom(ctx, d.name, it.Entry.Event.Session)
	if err != nil || !call.Needed {
		return nil, err
	}
	rung := it.thread.Rung
	c := &calling{Users: call.Users, Broadcast: rung.IsZero() || rung.Before(call.Answered)}
	c.Notify = len(call.Users) == 0 && (c.Broadcast || time.Since(rung) >= notifyAgain)
	if len(c.Users) == 0 && !c.Notify {
		return nil, nil
	}
	return c, nil
}
