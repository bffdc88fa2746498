package discord

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

func (s *Server) wireWebhook(h *webhook) object {
	o := object{
		"id": h.id, "type": 1, "name": h.name, "avatar": nil, "channel_id": h.channel.id, "guild_id": h.channel.guild.id,
		"application_id": nil,
	}
	o.set("application_id", s.appID, h.own)
	o["token"] = h.token
	o["url"] = s.base + "/api/webhooks/" + h.id.String() + "/" + h.token
	return o
}

func (s *Server) listWebhooks(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	switch {
	case err != nil:
		return nil, err
	case !c.may(ManageWebhooks):
		return nil, errPermission()
	}
	out := make([]object, 0)
	for _, id := range sorted(s.webhooks) {
		if h := s.webhooks[id]; h.channel == c {
			out = append(out, s.wireWebhook(h))
		}
	}
	return out, nil
}

func (s *Server) createWebhook(q *request) (any, error) {
	c, err := s.channel(q.id("channel_id"))
	if err != nil {
		return nil, err
	}
	var body struct {
		Name string `json:"name"`
	}
	if err := q.decode(&body); err != nil {
		return nil, err
	}
	name := strings.TrimSpace(body.Name)
	switch {
	case c.kind.thread() || c.kind == Category:
		return nil, refuse(http.StatusBadRequest, 50024, "Cannot execute action on this channel type")
	case !c.may(ManageWebhooks):
		return nil, errPermission()
	case name == "":
		return nil, invalidForm(missing("name"))
	}
	if r := webhookName(name, "name"); r != nil {
		return nil, r
	}
	n := 0
	for _, h := range s.webhooks {
		if h.channel == c {
			n++
		}
	}
	if n >= 15 {
		return nil, refuse(http.StatusBadRequest, 30007, "Maximum number of webhooks reached (15)")
	}
	return s.wireWebhook(s.addWebhook(c, name, true)), nil
}

// webhookName refuses what a webhook, or one of its messages, cannot be called: "It does not contain the substrings clyde or
// discord (case-insensitive)".
func webhookName(name, field string) *refusal {
	for _, word := range []string{"discord", "clyde"} {
		if strings.Contains(strings.ToLower(name), word) {
			return invalidForm(problem{[]string{field}, "USERNAME_INVALID_CONTAINS", `Username cannot contain "` + word + `"`})
		}
	}
	return nil
}

// caller returns the webhook or the use of a command that the path's token stands for. The token of a command's use is good for
// 15 minutes.
func (s *Server) caller(q *request) (*webhook, *interaction, error) {
	token := q.vars["webhook_token"]
	if q.id("webhook_id") == s.appID {
		for _, i := range s.interactions {
			switch {
			case i.token != token:
			case time.Since(i.at) > 15*time.Minute:
				return nil, nil, errWebhookToken()
			case i.state == unanswered:
				return nil, nil, errUnknown(10015, "Webhook") // nothing can follow what was not answered
			default:
				return nil, i, nil
			}
		}
		return nil, nil, errUnknown(10015, "Webhook")
	}
	h := s.webhooks[q.id("webhook_id")]
	switch {
	case h == nil:
		return nil, nil, errUnknown(10015, "Webhook")
	case h.token != token:
		return nil, nil, errWebhookToken()
	}
	return h, nil, nil
}

// executeWebhook writes as a webhook, or follows up on a command.
func (s *Server) executeWebhook(q *request) (any, error) {
	h, i, err := s.caller(q)
	if err != nil {
		return nil, err
	}
	var f form
	if err := q.decode(&f); err != nil {
		return nil, err
	}
	if q.query["with_components"] == "true" {
		return nil, stage.Faultf("execute_webhook: the sandbox does not serve components")
	}
	if i != nil {
		m, err := s.followUp(i, &f, q)
		if err != nil {
			return nil, err
		}
		return s.wireMessage(m, true), nil // "functions the same as Execute Webhook, but wait is always true"
	}
	name := h.name
	if f.Username != nil {
		name = strings.TrimSpace(*f.Username)
		if r := webhookName(name, "username"); r != nil {
			return nil, r
		}
		if name == "" {
			return nil, invalidForm(problem{[]string{"username"}, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 80 in length."})
		}
	}
	m, err := s.webhookMessage(h, &User{ID: h.id.String(), Name: name, Bot: true}, &f, q)
	if err != nil {
		return nil, err
	}
	if q.query["wait"] != "true" {
		return reply{http.StatusNoContent, nil}, nil
	}
	return s.wireMessage(m, true), nil
}

// webhookMessage writes as a webhook into its channel, a thread of it, or a new post.
func (s *Server) webhookMessage(h *webhook, author *User, f *form, q *request) (*message, error) {
	c, name, inThread := h.channel, text(f.ThreadName), q.query["thread_id"] != ""
	switch {
	case inThread && name != "":
		return nil, refuse(http.StatusBadRequest, 220002, "Webhooks can only create threads or post in an existing one")
	case name != "" && c.kind != Forum:
		return nil, refuse(http.StatusBadRequest, 220003, "Webhooks can only create threads in forum channels")
	case !inThread && name == "" && c.kind == Forum:
		return nil, refuse(http.StatusBadRequest, 220001, "Webhooks posted to forum channels must have a thread_name or thread_id")
	case name != "":
		_, m, err := s.createPost(c, author, h, &maker{Name: name, Tags: f.AppliedTags, Message: f}, q)
		return m, err
	case inThread:
		if c = s.channels[flake(q.query["thread_id"])]; c == nil || c.parent != h.channel {
			return nil, errChannel()
		}
	}
	if err := s.open(c); err != nil {
		return nil, err
	}
	m := &message{author: author, webhook: h}
	var err error
	if m.flags, err = f.flags(q.op.Name, flagNoEmbeds|flagSilent); err != nil {
		return nil, err
	}
	if err := s.fill(m, f, q.uploads); err != nil {
		return nil, err
	}
	m.pings = s.pings(m, c, f.AllowedMentions, false)
	s.publish(c, m)
	return m, nil
}

// webhookOwn returns the message that a path names, if the webhook or the command's use wrote it. One in a thread is found only
// with the thread's id.
func (s *Server) webhookOwn(q *request) (*message, *interaction, error) {
	h, i, err := s.caller(q)
	if err != nil {
		return nil, nil, err
	}
	id, named := q.vars["message_id"]
	if i != nil {
		if !named {
			if i.original == nil {
				return nil, nil, errMessage()
			}
			return i.original, i, nil
		}
		for _, m := range i.answers {
			if m.id == flake(id) {
				return m, i, nil
			}
		}
		return nil, nil, errMessage()
	}
	c := h.channel
	if thread := q.query["thread_id"]; thread != "" {
		if c = s.channels[flake(thread)]; c == nil || c.parent != h.channel {
			return nil, nil, errChannel()
		}
	}
	if m := c.find(flake(id)); m != nil && m.webhook == h {
		return m, nil, nil
	}
	return nil, nil, errMessage()
}

func (s *Server) updateWebhookMessage(q *request) (any, error) {
	m, i, err := s.webhookOwn(q)
	switch {
	case err != nil:
		return nil, err
	case m.channel.archived && i == nil:
		return nil, errArchived()
	}
	if err := s.edit(m, q); err != nil {
		return nil, err
	}
	return s.wireMessage(m, true), nil
}

func (s *Server) removeWebhookMessage(q *request) (any, error) {
	m, i, err := s.webhookOwn(q)
	if err != nil {
		return nil, err
	}
	if i != nil {
		i.forget(m)
	}
	if m.flags&flagEphemeral != 0 {
		s.dropFiles(m.files)
		return nil, nil
	}
	s.deleteMessage(m)
	return nil, nil
}

// commandName reads what the controls need of a command's registration.
type commandName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type *int   `json:"type"`
}

func commandOf(raw json.RawMessage) commandName {
	var c commandName
	if json.Unmarshal(raw, &c) != nil {
		return commandName{} // it has been checked when it came
	}
	return c
}
