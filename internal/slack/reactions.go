package slack

import (
	"context"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
)

// signEmoji returns the emoji of a sign, and that of the other one.
func signEmoji(sign bridge.Sign) (name, other string) {
	if sign == bridge.SignRead {
		return "eyes", "white_check_mark"
	}
	return "white_check_mark", "eyes"
}

// React implements bridge.Reactor. Taking a reaction away is the scarcer call, 20 a minute: it is not made for the first sign of
// a message, as long as this process has not put another one there.
func (s *Slack) React(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, sign bridge.Sign) error {
	if _, fault := s.place(thread, opReact); fault != nil {
		return fault
	}
	if !isTS(string(id)) {
		return nil
	}
	s.mu.Lock()
	before := s.signs[id]
	s.mu.Unlock()
	name, other := signEmoji(sign)
	if err := s.addReaction(ctx, string(id), name); err != nil {
		return err
	}
	if before != sign && (before != "" || sign == bridge.SignRead) {
		if err := s.removeReaction(ctx, string(id), other); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.signs) >= maxSigns {
		clear(s.signs)
	}
	s.signs[id] = sign
	return nil
}

func (s *Slack) addReaction(ctx context.Context, ts, name string) error {
	return s.makeSo(ctx, opReact, func(ctx context.Context) error {
		return s.api.AddReactionContext(ctx, name, slackapi.NewRefToMessage(s.channel, ts))
	}, "already_reacted")
}

func (s *Slack) removeReaction(ctx context.Context, ts, name string) error {
	return s.makeSo(ctx, opUnreact, func(ctx context.Context) error {
		return s.api.RemoveReactionContext(ctx, name, slackapi.NewRefToMessage(s.channel, ts))
	}, "no_reaction")
}
