package threads

import (
	"cmp"
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
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

// ring has a message ring for those for whom it has to, and for nobody else.
func (d *Sink) ring(ctx context.Context, it *attempt, out *bridge.Outgoing, p *progress) error {
	late := it.want.late
	switch {
	case it.want.answer != nil:
		out.Silent = len(it.want.mention) == 0
		return nil
	case it.want.author != "", late != nil && (!late.Visitor || !late.Alone):
		out.Silent = true
		return nil
	case late != nil, it.Kind != bridge.KindMessage, it.Entry.Event.Type != bridge.TypeVisitorMessage, d.max.Rings, d.callees == nil:
		return nil
	}
	switch {
	case p.Sent > 0:
	case !it.PossiblySent.IsZero() && it.called: // where the text is cut follows from who is called with it: it goes as it went
		p.Call = it.call
	default:
		var err error
		if p.Call, err = d.whom(ctx, it); err != nil {
			return err
		}
		it.call, it.called = p.Call, true
	}
	if p.Call == nil {
		return nil
	}
	out.Mention, out.Notify, out.Broadcast = p.Call.Users, p.Call.Notify, p.Call.Broadcast
	if measure.IsBlank(out.Text) && len(out.Links) == 0 && len(out.Files) > 0 { // who is called is called in a text
		all := it.want.messageFiles(it.Entry)
		for i := range all {
			all[i].Filename = cmp.Or(all[i].Filename, words.Get().File)
		}
		out.Text = "📎 " + namesOf(all)
	}
	return nil
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
