package slack

import (
	"context"

	"github.com/pocketping/bridge/internal/bridge"
)

var _ bridge.ThreadEraser = (*Slack)(nil)

// EraseThread implements bridge.ThreadEraser: what the bot has written in the thread is deleted, with its files, and the thread's head
// last. What people have written is theirs: no app may delete it.
func (s *Slack) EraseThread(ctx context.Context, thread bridge.ThreadID) (left int, err error) {
	parent, fault := s.place(thread, opDelete)
	if fault != nil || parent == "" {
		return 0, &bridge.DeliveryError{Reason: bridge.ReasonRejected, Op: opDelete, Detail: "it is no thread of the present channel"}
	}
	var own []bridge.MessageID
	err = s.messages(ctx, query{Timestamp: parent}, func(m *message) bool {
		switch {
		case m.TS == parent, m.Subtype == "tombstone":
		case s.own(m):
			for _, f := range m.Files {
				own = append(own, bridge.MessageID(fileID+f.ID))
			}
			own = append(own, bridge.MessageID(m.TS))
		default:
			left++
		}
		return true
	})
	if err != nil {
		if d := bridge.AsDelivery(err, opReplies, ""); d.Reason == bridge.ReasonThreadGone || d.Reason == bridge.ReasonMessageGone {
			return 0, nil
		}
		return 0, err
	}
	for _, id := range append(own, bridge.MessageID(parent)) {
		if err := s.Delete(ctx, thread, id); err != nil {
			return left, err
		}
	}
	return left, nil
}
