package desk

import (
	"context"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// revise takes what a person does to a message that is there: edits it, deletes it, reacts to it. Messages that are of no
// session, or not theirs to change, stay as they are.
func (in *inbox) revise(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	find := in.messages.Origin
	if u.Kind == bridge.UpdateReaction {
		find = in.originAwaitingSends
	}
	o, err := find(ctx, u.Message)
	if err != nil {
		return bridge.Result{}, err
	}
	if u.Kind == bridge.UpdateReaction && o.Session == "" {
		if res, ok, err := in.takeByReaction(ctx, u, b); ok || err != nil {
			return res, err
		}
	}
	ev := bridge.Event{Origin: in.platform, Session: o.Session, Message: o.Message}
	own := o.Side == msgmap.Operators && strings.HasPrefix(o.Message, in.platform+":")
	switch {
	case u.Kind == bridge.UpdateEdit && o.Session == "":
		return in.editOfWithheld(ctx, u, b)
	case u.Kind == bridge.UpdateEdit && own:
		return in.edit(ctx, u, o, b)
	case u.Kind == bridge.UpdateDelete:
		if b, err = in.withoutWithheld(ctx, u, b); err != nil {
			return bridge.Result{}, err
		}
	}
	switch {
	case o.Session == "" || o.Message == "":
		return in.commit(ctx, b)
	case u.Kind == bridge.UpdateDelete && own:
		ev.Type = bridge.TypeOperatorDeleted
		ev.Body = bridge.MustJSON(bridge.OperatorDeleted{SessionID: o.Session, MessageID: o.Message, DeletedAt: bridge.WireTime(time.Now())})
	case u.Kind == bridge.UpdateReaction && o.Side == msgmap.Visitors:
		ids, err := in.messagesOf(ctx, u.Message, o)
		if err != nil {
			return bridge.Result{}, err
		}
		ev.Type = bridge.TypeMessageRead
		ev.Body = bridge.MustJSON(bridge.Read{
			SessionID: o.Session, MessageIDs: ids, Status: "read", SourceBridge: in.platform,
		})
	default:
		return in.commit(ctx, b)
	}
	b.Events = []bridge.Event{ev}
	return in.commitWithPresence(ctx, u, b)
}

// withoutWithheld adds to a batch that a message which was deleted is not held any more.
func (in *inbox) withoutWithheld(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Batch, error) {
	h, raw, err := in.withheldMessage(ctx, u.Message)
	if err != nil || h == nil {
		return b, err
	}
	return in.dropWithheld(ctx, u.Message, h, raw, b)
}
