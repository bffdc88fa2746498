package slack

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
)

// A row of buttons is a block whose id tells of the thread: the ts of its first message, or that it is the button's own message, as
// with a card, and with what is shown in the channel without a thread.
const (
	markBlock = "pocketping"
	markHere  = "here"
)

func buttonMark(parent string, buttons [][]bridge.Button) string {
	if buttons == nil {
		return ""
	}
	return cmp.Or(parent, markHere)
}

// buttonBlocks are buttons as Slack shows them.
func buttonBlocks(rows [][]bridge.Button, mark string) []slackapi.Block {
	var out []slackapi.Block
	for i, row := range rows {
		var elements []slackapi.BlockElement
		for _, b := range row {
			e := slackapi.NewButtonBlockElement(b.Data, b.Data, slackapi.NewTextBlockObject(slackapi.PlainTextType, b.Label, false, false))
			if b.Grave {
				e.Style = slackapi.StyleDanger
			}
			elements = append(elements, e)
		}
		out = append(out, slackapi.NewActionBlock(markBlock+"/"+mark+"/"+strconv.Itoa(i), elements...))
	}
	return out
}

// cardPart is a session's card.
func cardPart(c bridge.Card, buttons [][]bridge.Button) bridge.Part {
	p := partOf(quotation{}, nil, cardOf(c))
	p.Buttons = buttons
	return p
}

// Presses implements bridge.Presser: they come as events do.
func (s *Slack) Presses() bool { return s.config.AppToken != "" || s.config.SigningSecret != "" }

// blockActions is what is read of a press. The message is missing where one person alone sees it.
type blockActions struct {
	Type      string `json:"type"`
	TriggerID string `json:"trigger_id"`
	User      struct {
		ID       string `json:"id"`
		Username string `json:"username"`
		Name     string `json:"name"`
	} `json:"user"`
	Channel struct {
		ID string `json:"id"`
	} `json:"channel"`
	Container struct {
		MessageTS string `json:"message_ts"`
		ThreadTS  string `json:"thread_ts"`
	} `json:"container"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		BlockID  string `json:"block_id"`
		Value    string `json:"value"`
		ActionTS string `json:"action_ts"`
	} `json:"actions"`
}

// press takes a press of a button of ours; any other is none of ours.
func (s *Slack) press(ctx context.Context, inbox bridge.Inbox, payload []byte) error {
	var p blockActions
	if err := decode(payload, &p); err != nil {
		s.log.Warn("a press cannot be read and is skipped", "op", opEvents)
		return nil
	}
	if p.Type != "block_actions" || p.Channel.ID != s.channel || p.User.ID == "" || len(p.Actions) == 0 || p.Actions[0].Value == "" {
		return nil
	}
	v := s.view()
	v.names = s.lookUp(ctx, []string{p.User.ID})
	return s.accept(ctx, inbox, pressOf(&p, v, time.Now()), false)
}

// pressOf converts a press. What answers it is for the eyes of whoever pressed.
func pressOf(p *blockActions, v view, now time.Time) converted {
	action := p.Actions[0]
	parent := p.Container.MessageTS
	switch mark := strings.Split(action.BlockID, "/"); {
	case len(mark) == 3 && isTS(mark[1]):
		parent = mark[1]
	case isTS(p.Container.ThreadTS):
		parent = p.Container.ThreadTS
	}
	return converted{Update: bridge.Update{
		ID: "press " + cmp.Or(p.TriggerID, action.ActionTS+" "+p.User.ID), Kind: bridge.UpdatePress, Thread: threadID(v.channel, parent),
		Message: responseID(p.ResponseURL, now), ReplyTo: bridge.MessageID(p.Container.MessageTS), Slash: true, Press: action.Value,
		Author: bridge.Author{ID: p.User.ID, Name: cmp.Or(v.names[p.User.ID], p.User.Username, p.User.Name, bridge.Nameless)},
	}}
}
