package slack

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Button is a button of a block of actions.
type Button struct {
	Text   string
	Action string // its action_id
	Value  string
	Block  string // the block_id of its block
}

// The limits of a button (https://docs.slack.dev/reference/block-kit/block-elements/button-element).
const (
	maxActionID = 255
	maxValue    = 2000
)

// button checks a button. "Each action_id should be unique among all other action_ids in the containing block".
func (r *reader) button(e block, at string) {
	shown, ok := r.text(e["text"], at+"/text", maxButton, "plain_text")
	action, isText := e["action_id"].(string)
	value, isValue := e["value"].(string)
	style, styled := e["style"].(string)
	switch {
	case !ok:
		return
	case e["action_id"] != nil && !isText || utf8.RuneCountInString(action) > maxActionID:
		r.fail(tooLongMessage, maxActionID+1, at+"/action_id")
	case r.actions[action] && action != "":
		r.fail("`action_id` already exists [json-pointer:%s/action_id]", at)
	case e["value"] != nil && !isValue || utf8.RuneCountInString(value) > maxValue:
		r.fail(tooLongMessage, maxValue+1, at+"/value")
	case e["style"] != nil && (!styled || style != "primary" && style != "danger"):
		r.fail("invalid style [json-pointer:%s/style]", at)
	}
	for name := range e {
		if !slices.Contains([]string{"type", "text", "action_id", "value", "style", "url", "accessibility_label"}, name) {
			r.fail("invalid additional property: %s [json-pointer:%s]", name, at)
		}
	}
	r.actions[action] = true
	r.buttons = append(r.buttons, Button{Text: shown, Action: action, Value: value})
}

// buttonsOf returns the buttons of stored blocks.
func (s *Server) buttonsOf(raw json.RawMessage) []Button {
	var blocks []block
	if json.Unmarshal(raw, &blocks) != nil {
		return nil
	}
	r := &reader{s: s, ids: make(map[string]bool)}
	for _, b := range blocks {
		before := len(r.buttons)
		r.block(b, "")
		for i := before; i < len(r.buttons); i++ {
			r.buttons[i].Block, _ = b["block_id"].(string)
		}
	}
	return r.buttons
}

// SetInteractivityURL has presses posted to the app instead of sent by sockets; an empty one takes that back.
func (s *Server) SetInteractivityURL(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.actions = target
	s.startRequests()
}

// Press has a user press the button of a message that has the value, and returns it as a command. The app is told by an interactive
// envelope or a request with a payload (https://docs.slack.dev/reference/interaction-payloads/block_actions-payload).
func (s *Server) Press(m Message, user, value string) Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u := s.channels[m.Channel], s.users[user]
	if c == nil || u.ID == "" {
		s.back.Fault(fmt.Sprintf("control: no channel %s or no user %s", m.Channel, user))
		return Command{}
	}
	at := c.find(m.TS)
	for _, whispered := range c.ephemeral {
		if stamp(whispered.ts) == m.TS && whispered.more.to == user {
			at = whispered
		}
	}
	var button Button
	if at != nil { // people may press what their client still shows, and the message has no more
		for _, b := range slices.Concat(m.Buttons, s.buttonsOf(json.RawMessage(at.blocks))) {
			if b.Value == value {
				button = b
			}
		}
	}
	if button.Value == "" {
		s.back.Fault(fmt.Sprintf("control: no message %s with a button %q", m.TS, value))
		return Command{}
	}
	made := &slash{in: c, by: u, made: time.Now(), pressed: at, Command: Command{
		ID: s.id("Act"), Command: button.Action, Text: value, Channel: m.Channel, User: user,
	}}
	made.url = s.base + "/commands/" + teamID + "/" + made.ID + "/secret"
	var err error
	if made.press, err = json.Marshal(s.blockActions(made, button)); err != nil {
		s.back.Fault(fmt.Sprintf("a press cannot be written: %v", err))
		return Command{}
	}
	s.slashes = append(s.slashes, made)
	s.answers[made.ID] = made
	s.post(&event{id: made.ID, kind: "interactive", payload: made.press, slash: made, times: max(s.outbox.times, 1)})
	return made.Command
}

// blockActions is the payload of a press. An ephemeral message is told by its container alone.
func (s *Server) blockActions(c *slash, b Button) object {
	at := c.pressed
	whispered := at.more != nil && at.more.to != ""
	container := object{"type": "message", "message_ts": stamp(at.ts), "channel_id": c.in.ID, "is_ephemeral": whispered}
	container.set("thread_ts", stamp(at.thread), at.thread != 0)
	o := object{
		"type": "block_actions", "user": object{"id": c.by.ID, "username": c.by.Name, "name": c.by.Name, "team_id": teamID},
		"api_app_id": appID, "token": verification, "container": container, "trigger_id": "1." + c.ID,
		"team": object{"id": teamID, "domain": domain}, "enterprise": nil, "is_enterprise_install": false,
		"channel": object{"id": c.in.ID, "name": c.in.Name}, "response_url": c.url, "state": object{"values": object{}},
		"actions": []object{{
			"action_id": b.Action, "block_id": b.Block, "text": object{"type": "plain_text", "text": b.Text, "emoji": true},
			"value": b.Value, "type": "button", "action_ts": stamp(s.tick()),
		}},
	}
	if !whispered {
		o["message"] = s.wire(at, false)
	}
	return o
}
