package slack

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// webhook is an incoming webhook.
type webhook struct {
	path string
	bot  string
	in   *channel
}

// AddWebhook makes an incoming webhook of a channel and returns its URL, which is its secret. Before Listen, or a first request,
// the URL has no host.
func (s *Server) AddWebhook(channelID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channels[channelID]
	if c == nil {
		s.back.Fault("control: no channel " + channelID)
		return ""
	}
	bot := s.id("B")
	hook := &webhook{path: "/services/" + teamID + "/" + bot + "/" + "sandboxsandboxsandbox", bot: bot, in: c}
	s.webhooks[hook.path] = hook
	return s.base + hook.path
}

// RemoveWebhook takes an incoming webhook away: no_service.
func (s *Server) RemoveWebhook(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.webhooks, "/services/"+address[strings.Index(address, "/services/")+len("/services/"):])
}

// serveWebhook takes a message for a webhook's channel: as JSON, or as JSON in the form's payload. The errors and their statuses
// are those of https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors.
func (s *Server) serveWebhook(w http.ResponseWriter, r *http.Request) {
	in, err := readWebhook(r)
	call := stage.Call{Method: "webhook", Place: r.URL.Path, Text: in.Text, Thread: in.ThreadTS, Params: in.params()}
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		defer s.back.Change()
		hook := s.webhooks[r.URL.Path]
		switch {
		case r.Method != http.MethodPost:
			return nil, &refusal{says: "invalid_payload", status: http.StatusBadRequest}
		case hook == nil:
			return nil, &refusal{says: "no_service", status: http.StatusNotFound}
		case err != nil:
			return nil, err
		case hook.in.archived:
			return nil, &refusal{says: "channel_is_archived", status: http.StatusGone}
		}
		if err := s.pass("webhook "+hook.path, s.limits.HooksPerSecond, time.Second); err != nil {
			return nil, &refusal{says: "rate_limited", status: http.StatusTooManyRequests, retryAfter: 1}
		}
		return nil, s.byWebhook(hook, in)
	}, func(w http.ResponseWriter, _ any, err error) int {
		w.Header().Set("Content-Type", "text/html")
		if err == nil {
			stage.Write(w, http.StatusOK, []byte("ok"))
			return http.StatusOK
		}
		status := http.StatusBadRequest
		if refused, ok := errors.AsType[*refusal](err); ok {
			if refused.status != 0 {
				status = refused.status
			}
			if refused.retryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
			}
		} else {
			err = refuse("invalid_payload")
		}
		stage.Write(w, status, []byte(err.Error()))
		return status
	})
}

func readWebhook(r *http.Request) (reply, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return reply{}, err
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return reply{}, &refusal{says: "invalid_payload", status: http.StatusBadRequest}
		}
		body = []byte(form.Get("payload"))
	}
	var in reply
	if json.Unmarshal(body, &in) != nil {
		return reply{}, &refusal{says: "invalid_payload", status: http.StatusBadRequest}
	}
	return in, nil
}

// byWebhook posts a message. Name and icon are taken, as custom integrations take them; a webhook of an app ignores them.
func (s *Server) byWebhook(hook *webhook, in reply) error {
	if len(in.Attachments) > 0 && string(in.Attachments) != "null" {
		return stage.Faultf("webhook: the sandbox does not serve attachments")
	}
	m := &message{in: hook.in, subtype: "bot_message", links: in.UnfurlLinks != nil && *in.UnfurlLinks}
	m.media = in.UnfurlMedia == nil || *in.UnfurlMedia
	name := in.Username
	if name == "" {
		name = "incoming-webhook"
	}
	icon := in.IconEmoji
	if icon == "" {
		icon = in.IconURL
	}
	m.by = s.author(author{bot: hook.bot, username: name, icon: icon})
	p := in.params()
	if err := s.body(m, p, 0); err != nil {
		return err
	}
	if err := m.joinThread(p); err != nil {
		return err
	}
	s.tellMessage(s.add(m))
	return nil
}
