package slack

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// takeAway deletes a message that landed where it does not belong.
func (s *Slack) takeAway(ctx context.Context, ts string) {
	err := s.do(ctx, opDelete, nil, func(ctx context.Context) error {
		_, _, err := s.api.DeleteMessageContext(ctx, s.channel, ts)
		return err
	})
	if err != nil {
		s.log.Warn("a message that landed outside its thread stays in the channel", "op", opDelete, "message", ts, "err", err)
	}
}

// post posts a part, in a thread or in the channel, and returns its ts and the thread that it landed in.
func (s *Slack) post(ctx context.Context, parent string, p bridge.Part, kind, key string) (ts, landed string, err error) {
	options := append(s.body(p, buttonMark(parent, p.Buttons)), slackapi.MsgOptionDisableLinkUnfurl(), slackapi.MsgOptionDisableMediaUnfurl())
	if parent != "" {
		options = append(options, slackapi.MsgOptionTS(parent))
		if p.Broadcast {
			options = append(options, slackapi.MsgOptionBroadcast())
		}
	}
	if key != "" {
		options = append(options, slackapi.MsgOptionMetadata(slackapi.SlackMetadata{EventType: kind, EventPayload: map[string]any{"key": key}}))
	}
	name, icon := s.shownUnder(p.Face)
	if name != "" {
		options = append(options, slackapi.MsgOptionUsername(name))
	}
	if icon != "" {
		options = append(options, slackapi.MsgOptionIconEmoji(icon))
	}
	var sent struct {
		TS      string  `json:"ts"`
		Message message `json:"message"`
	}
	err = s.do(ctx, opPost, &sent, s.joining(func(ctx context.Context) error {
		_, _, err := s.api.PostMessageContext(ctx, s.channel, options...)
		return err
	}))
	ts, landed = sent.TS, sent.Message.ThreadTS
	if err == nil && ts == "" {
		err = &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: opPost, Detail: "the answer names no message"}
	}
	if landed == ts {
		landed = "" // it heads a thread of its own
	}
	return ts, landed, err
}

// body is what a part says. mark is what its buttons tell of the thread.
func (s *Slack) body(p bridge.Part, mark string) []slackapi.MsgOption {
	blocks, plain := blocksOf(p, mark)
	options := []slackapi.MsgOption{slackapi.MsgOptionText(fallback(plain), false), slackapi.MsgOptionParse(false)}
	if blocks == nil {
		return append(options, slackapi.MsgOptionDisableMarkdown())
	}
	return append(options, slackapi.MsgOptionBlocks(blocks...))
}

// blocksOf returns a part's blocks and its plain text; there are no blocks in a part that is plain itself.
func blocksOf(p bridge.Part, mark string) ([]slackapi.Block, string) {
	if p.Plain == "" {
		return nil, p.Text
	}
	blocks, _ := p.Markup.([]slackapi.Block)
	return slices.Concat(blocks, buttonBlocks(p.Buttons, mark)), p.Plain
}

// join makes the bot a member of the channel, which it may do by itself in a public one.
func (s *Slack) join(ctx context.Context) error {
	_, _, _, err := s.api.JoinConversationContext(ctx, s.channel)
	return err
}

// find looks for what a call has posted whose answer was lost, by its mark, and returns its ts or nothing.
func (s *Slack) find(ctx context.Context, parent, kind, key string, since time.Time) (string, error) {
	oldest := tsOf(since.Add(-clockSlack))
	var found string
	look := func(m *message) bool {
		if m.Metadata != nil && m.Metadata.EventType == kind && m.Metadata.Payload.Key == key && s.own(m) {
			found = m.TS
		}
		return found == ""
	}
	err := s.messages(ctx, query{Timestamp: parent, Oldest: oldest, IncludeAllMetadata: true}, look)
	switch d, _ := errors.AsType[*bridge.DeliveryError](err); {
	case err == nil:
		return found, nil
	case d.Reason == bridge.ReasonThreadGone:
		// The message may have landed in the channel.
		if ts, err := s.find(ctx, "", kind, key, since); err == nil && ts != "" {
			s.takeAway(ctx, ts)
		}
		return "", err
	case d.Reason == bridge.ReasonRejected, d.Reason == bridge.ReasonAuth && strings.HasPrefix(d.Detail, "missing_scope"):
		s.once("lookup", "it cannot be looked whether a message is shown already, so that it may be shown twice", "op", d.Op, "err", err)
		return "", nil
	}
	return "", err
}

// own says whether we have posted a message. Who we are may not be known: others have no reason to use our marks.
func (s *Slack) own(m *message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.BotID != "" && (s.me.bot == "" || m.BotID == s.me.bot)
}

// query asks for messages: of a thread, by the Timestamp of its first one, or of the channel without.
type query = slackapi.GetConversationRepliesParameters

// messages reads a thread, oldest first, or the channel, newest first, until each returns false or maxPages are read. Of a
// thread the first message comes with every page.
func (s *Slack) messages(ctx context.Context, q query, each func(*message) bool) (err error) {
	for range maxPages {
		if q.Cursor, err = s.page(ctx, q, each); err != nil || q.Cursor == "" {
			return err
		}
	}
	return nil
}

// page reads a page of messages, and returns where the next one begins; nothing for the last, or when each has returned false. A message
// that cannot be read is left out.
func (s *Slack) page(ctx context.Context, q query, each func(*message) bool) (next string, err error) {
	q.ChannelID, q.Limit = s.channel, pageSize
	op, call := opReplies, func(ctx context.Context) error {
		_, _, _, err := s.api.GetConversationRepliesContext(ctx, &q)
		return err
	}
	if q.Timestamp == "" {
		op, call = opHistory, func(ctx context.Context) error {
			return only(s.api.GetConversationHistoryContext(ctx, &slackapi.GetConversationHistoryParameters{
				ChannelID: q.ChannelID, Cursor: q.Cursor, Limit: q.Limit, Oldest: q.Oldest, IncludeAllMetadata: q.IncludeAllMetadata,
			}))
		}
	}
	var page struct {
		Messages []json.RawMessage `json:"messages"`
		Meta     struct {
			Next string `json:"next_cursor"`
		} `json:"response_metadata"`
	}
	if err := s.read(ctx, op, &page, call); err != nil {
		return "", err
	}
	for _, raw := range page.Messages {
		var m message
		if decode(raw, &m) == nil && m.TS != "" && !each(&m) {
			return "", nil
		}
	}
	return page.Meta.Next, nil
}

func (s *Slack) update(ctx context.Context, ts, mark string, p bridge.Part) error {
	err := s.do(ctx, opEdit, nil, func(ctx context.Context) error {
		blocks, plain := blocksOf(p, mark)
		if blocks == nil {
			// chat.update takes no mrkdwn, and without blocks keeps those of before.
			_, _, _, err := s.api.UpdateMessageContext(ctx, s.channel, ts,
				slackapi.MsgOptionText(fallback(plain), false), slackapi.MsgOptionParse(false), slackapi.MsgOptionBlocks())
			return err
		}
		_, _, _, err := s.api.UpdateMessageContext(ctx, s.channel, ts, s.body(p, mark)...)
		return err
	})
	return repeatable(err)
}

// repeatable is the failure of a change that comes to the same when it is made again.
func repeatable(err error) error {
	if d, ok := errors.AsType[*bridge.DeliveryError](err); ok {
		return platform.Repeatable(d)
	}
	return err
}

// ofParent is the failure of a change of the message that heads a thread.
func ofParent(err error) error {
	if d, ok := errors.AsType[*bridge.DeliveryError](err); ok && d.Reason == bridge.ReasonMessageGone {
		d.Reason = bridge.ReasonThreadGone
	}
	return err
}
