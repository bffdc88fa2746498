package slack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// outbox is what the app has not acknowledged.
type outbox struct {
	pending []*event // oldest first
	lastID  int
	times   int  // how often each event is delivered at first
	losing  bool // what happens now is never told
	lost    int  // given up after the last repetition
}

// event is something to tell the app: an event of the Events API or a slash command. It goes out by a socket, or by a request,
// whatever the app has.
type event struct {
	id      string // event_id; of a command, that of its envelope
	kind    string // events_api, slash_commands or interactive
	payload json.RawMessage
	slash   *slash
	tries   int // how often it was sent, or should have been
	retry   int // how many of the pauses are over
	times   int // how often it is still to be sent at once
	on      *connection
	timer   *time.Timer
	done    bool
	failure error // of the post before
}

func (e *event) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

// tell sends an event, if the app has subscribed to it, may see it, and is where it happens. c is the channel, nil for events
// without one.
func (s *Server) tell(subscription string, c *channel, scope string, fields object) {
	switch {
	case s.outbox.losing || s.revoked != "", !slices.Contains(s.options.Events, subscription):
		return
	case scope != "" && !slices.Contains(s.scopes, scope):
		return
	case c != nil && c.absent && subscription != "channel_left" && subscription != "group_left":
		return
	}
	if _, ok := fields["event_ts"]; !ok {
		fields["event_ts"] = stamp(s.tick())
	}
	s.sendEvent(fields)
}

func (s *Server) sendEvent(fields any) string {
	s.outbox.lastID++
	id := fmt.Sprintf("Ev0%08d", s.outbox.lastID)
	s.dispatch(id, object{
		"token": verification, "team_id": teamID, "context_team_id": teamID, "context_enterprise_id": nil,
		"api_app_id": appID, "event": fields, "type": "event_callback", "event_id": id, "event_time": time.Now().Unix(),
		"authorizations": []object{{
			"enterprise_id": nil, "team_id": teamID, "user_id": botUser, "is_bot": true, "is_enterprise_install": false,
		}},
		"is_ext_shared_channel": false, "event_context": "4-" + id,
	})
	return id
}

// dispatch puts a payload of the Events API on its way.
func (s *Server) dispatch(id string, payload object) {
	body, err := json.Marshal(payload)
	if err != nil {
		s.back.Fault(fmt.Sprintf("an event cannot be written: %v", err))
		return
	}
	s.post(&event{id: id, kind: "events_api", payload: body, times: max(s.outbox.times, 1)})
}

func (s *Server) post(e *event) {
	if s.shut {
		return
	}
	s.outbox.pending = append(s.outbox.pending, e)
	s.back.Change()
	byRequest := map[string]string{"slash_commands": s.requests.commands, "events_api": s.requests.events, "interactive": s.requests.actions}
	if byRequest[e.kind] != "" {
		s.requests.queue(e)
		return
	}
	s.offer(e)
}

// finish takes an event out of the outbox.
func (s *Server) finish(e *event) {
	e.stop()
	e.done = true
	s.outbox.pending = slices.DeleteFunc(s.outbox.pending, func(one *event) bool { return one == e })
	s.back.Change()
}

// failed plans the next repetition of an event that was not acknowledged, or gives it up. again sends it once more.
func (s *Server) failed(e *event, again func()) {
	if e.slash != nil {
		// A command is not repeated; whoever typed it reads that it failed.
		e.slash.Error = "operation_timeout"
		s.finish(e)
		return
	}
	if e.retry >= len(s.options.RetryPauses) {
		s.outbox.lost++
		s.finish(e)
		return
	}
	pause := s.options.RetryPauses[e.retry]
	e.retry++
	s.later(e, pause, again)
}

// later runs a function with the lock held, unless the event has been acknowledged by then.
func (s *Server) later(e *event, pause time.Duration, run func()) {
	e.stop()
	e.timer = time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !e.done && !s.shut {
			run()
		}
	})
}

// subscription returns what the app must have subscribed to for a channel's messages.
func (c *channel) subscription() (name, scope string) {
	switch c.Kind {
	case Private:
		return "message.groups", "groups:history"
	case Direct:
		return "message.im", "im:history"
	}
	return "message.channels", "channels:history"
}

func (c *channel) typeOf() string {
	switch c.Kind {
	case Private:
		return "group"
	case Direct:
		return "im"
	}
	return "channel"
}

// tellMessage tells of a new message; the app is told of its own, too. A mention of the bot comes a second time, as an
// app_mention, but for one by the bot itself.
func (s *Server) tellMessage(m *message) {
	s.back.Change()
	subscription, scope := m.in.subscription()
	o := s.wire(m, false)
	o["channel"], o["channel_type"], o["event_ts"] = m.in.ID, m.in.typeOf(), stamp(m.ts)
	s.tell(subscription, m.in, scope, o)
	if m.by.bot != botID && m.in.Kind != Direct && strings.Contains(m.text, "<@"+botUser) {
		mention := object{"type": "app_mention"}
		for _, name := range []string{
			"user", "text", "ts", "thread_ts", "parent_user_id", "team", "blocks", "files", "client_msg_id", "bot_id",
		} {
			if value, ok := o[name]; ok {
				mention[name] = value
			}
		}
		mention["channel"], mention["event_ts"] = m.in.ID, stamp(m.ts)
		s.tell("app_mention", m.in, "app_mentions:read", mention)
	}
}

// tellHidden tells of what happened to a message.
func (s *Server) tellHidden(c *channel, subtype string, fields object) {
	s.back.Change()
	now := stamp(s.tick())
	o := object{
		"type": "message", "subtype": subtype, "channel": c.ID, "channel_type": c.typeOf(), "hidden": true, "ts": now,
		"event_ts": now,
	}
	maps.Copy(o, fields)
	subscription, scope := c.subscription()
	s.tell(subscription, c, scope, o)
}

func (s *Server) tellChanged(m *message, before object) {
	s.tellHidden(m.in, "message_changed", object{"message": s.wire(m, false), "previous_message": before})
}

func (s *Server) tellDeleted(m *message, before object) {
	s.tellHidden(m.in, "message_deleted", object{"deleted_ts": stamp(m.ts), "previous_message": before})
}

// tellReaction tells of a reaction. A message of a bot without a user has no item_user: "reaction_added events related to these
// messages will not include an item_user".
func (s *Server) tellReaction(kind string, m *message, user, name string) {
	s.back.Change()
	o := object{
		"type": kind, "user": user, "reaction": name, "item": object{"type": "message", "channel": m.in.ID, "ts": stamp(m.ts)},
	}
	o.set("item_user", m.by.user, m.by.user != "")
	s.tell(kind, m.in, "reactions:read", o)
}

// joined adds the message that a user has come into the channel, and tells of it twice, as Slack does.
func (s *Server) joined(c *channel, user string, by *author) {
	s.tellMessage(s.add(&message{in: c, by: by, subtype: "channel_join", text: "<@" + user + "> has joined the channel"}))
	s.tell("member_joined_channel", c, c.scope("read"), object{
		"type": "member_joined_channel", "user": user, "channel": c.ID, "team": teamID,
		"channel_type": cmp.Or(map[Kind]string{Private: "G"}[c.Kind], "C"),
	})
}

// Redeliver has each event from now on delivered that many times at once, with the same event_id, the second time on as a
// repetition. 1 is once, as from the beginning.
func (s *Server) Redeliver(times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox.times = times
}

// Lose turns on that the app is told nothing of what happens, neither now nor later: what Slack does with events in a long
// outage.
func (s *Server) Lose(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox.losing = on
}

// Pending returns how many events and commands the app has not acknowledged.
func (s *Server) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outbox.pending)
}

// GivenUp returns how many events were repeated to the end and never acknowledged.
func (s *Server) GivenUp() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outbox.lost
}

// PushEvent sends an event of any form in the ordinary wrapping, and returns its event_id: kinds that the sandbox has no
// control for, or blocks that no client can read.
func (s *Server) PushEvent(event map[string]any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendEvent(event)
}

// PushPayload sends a payload of any form by the ordinary ways, such as app_rate_limited, which has another wrapping than
// events.
func (s *Server) PushPayload(payload map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbox.lastID++
	s.dispatch(fmt.Sprintf("Ev0%08d", s.outbox.lastID), payload)
}
