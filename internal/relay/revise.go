package relay

import (
	"context"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// revise takes what a person does to a message that is there: edits it, deletes it, reacts to it. Messages that are of no
// session, or not theirs to change, stay as they are.
func (in *inbox) revise(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	find := in.origin
	if u.Kind == bridge.UpdateReaction {
		find = in.named
	}
	o, err := find(ctx, u.Message)
	if err != nil {
		return bridge.Result{}, err
	}
	ev := bridge.Event{Origin: in.platform, Session: o.Session, Message: o.Message}
	own := o.Side == operators && strings.HasPrefix(o.Message, in.platform+":")
	switch {
	case u.Kind == bridge.UpdateEdit && o.Session == "":
		return in.editOfHeld(ctx, u, b)
	case u.Kind == bridge.UpdateEdit && own:
		return in.edit(ctx, u, o, b)
	case u.Kind == bridge.UpdateDelete:
		if b, err = in.withoutHeld(ctx, u, b); err != nil {
			return bridge.Result{}, err
		}
	}
	switch {
	case o.Session == "" || o.Message == "":
		return in.relay.commit(ctx, b)
	case u.Kind == bridge.UpdateDelete && own:
		ev.Type = bridge.TypeOperatorDeleted
		ev.Body = mustJSON(bridge.OperatorDeleted{SessionID: o.Session, MessageID: o.Message, DeletedAt: wireTime(time.Now())})
	case u.Kind == bridge.UpdateReaction && o.Side == visitors:
		ev.Type = bridge.TypeMessageRead
		ev.Body = mustJSON(bridge.Read{
			SessionID: o.Session, MessageIDs: []string{o.Message}, Status: "read", SourceBridge: in.platform,
		})
	default:
		return in.relay.commit(ctx, b)
	}
	b.Events = []bridge.Event{ev}
	return in.alive(ctx, u, b)
}

// withoutHeld adds to a batch that a message which was deleted is not held any more.
func (in *inbox) withoutHeld(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Batch, error) {
	h, raw, err := in.heldMessage(ctx, u.Message)
	if err != nil || h == nil {
		return b, err
	}
	return in.dropHeld(ctx, u.Message, h, raw, b)
}

func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
