package desk

import (
	"context"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
)

// AnswerWaiting tells that no page of a session has taken operators' messages: in the session's threads, and to app servers, so that
// mail can be sent. It does so once for messages that begin with the same one, whichever bridge finds it first.
func (r *Desk) AnswerWaiting(ctx context.Context, session string, messages []string, email string) error {
	if len(messages) == 0 {
		return nil
	}
	text := words.Get().PageClosed
	if shown := measure.OneLine(email, bridge.ShownField); shown != "" && !r.hide.Hides("email") {
		text = words.Get().PageClosedEmail.With(shown)
	}
	_, err := r.commit(ctx, bridge.Batch{
		Claims: []bridge.Claim{{Key: "answer-waiting/" + bridge.Digest([]byte(session+"\n"+messages[0]))}},
		Events: []bridge.Event{
			{
				Type: bridge.TypeAnswerWaiting, Origin: bridge.OriginBridge, Session: session,
				Body: bridge.MustJSON(bridge.AnswerWaiting{SessionID: session, MessageIDs: messages, Email: email}),
			},
			bridge.SessionNotice(session, text),
		},
	})
	return err
}
