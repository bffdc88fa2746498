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
	own := strings.HasPrefix(o.Message, in.platform+":")
	asked := false
	if u.Kind == bridge.UpdateEdit && own {
		if u, asked, err = in.asEdited(ctx, u); err != nil {
			return bridge.Result{}, err
		}
	}
	switch {
	case o.Session == "" || o.Message == "":
		return in.relay.commit(ctx, b)
	case asked:
		b.Events = []bridge.Event{in.answer(u, "A message that was sent does not become a command. The visitor still sees what it was before.")}
		return in.alive(ctx, u, b)
	case u.Kind == bridge.UpdateEdit && own:
		ev.Type = bridge.TypeOperatorEdited
		ev.Body = mustJSON(bridge.OperatorEdited{
			SessionID: o.Session, MessageID: o.Message, Content: u.Text, EditedAt: wireTime(u.Edited),
		})
	case u.Kind == bridge.UpdateDelete && own:
		ev.Type = bridge.TypeOperatorDeleted
		ev.Body = mustJSON(bridge.OperatorDeleted{SessionID: o.Session, MessageID: o.Message, DeletedAt: wireTime(time.Now())})
	case u.Kind == bridge.UpdateReaction && !in.relay.byOperators(o.Message):
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

// byOperators says whether a message's id is one that a platform's messages get.
func (r *Relay) byOperators(message string) bool {
	platform, _, _ := strings.Cut(message, ":")
	for _, in := range r.inboxes {
		if in.platform == platform {
			return true
		}
	}
	return false
}

func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }
