package slack

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"strconv"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

// Incoming posts to an incoming webhook, which is all that it can do: there are no threads, no ids, no changes and no replies.
// Each message says who the visitor is.
type Incoming struct {
	log    *slog.Logger
	calls  *http.Client
	config Config // checked
}

var _ bridge.Platform = (*Incoming)(nil)

// NewWebhook returns the adapter for an incoming webhook. It calls nobody. Its errors do not show the URL.
func NewWebhook(c Config, log *slog.Logger) (*Incoming, error) {
	c, err := c.checkWebhook()
	if err != nil {
		return nil, err
	}
	return &Incoming{
		log: log.With("platform", "slack"), calls: outbound.NewClient(outbound.Options{Timeout: c.Timeout}), config: c,
	}, nil
}

// Name implements bridge.Platform.
func (w *Incoming) Name() string { return "slack" }

// Limits implements bridge.Platform.
func (w *Incoming) Limits() bridge.Limits {
	return bridge.Limits{Concurrency: concurrency, Pace: paceOf(w.config), Allowed: allowedRate, Quotes: true}
}

// Render implements bridge.Platform.
func (w *Incoming) Render(m bridge.Outgoing) []bridge.Part { return render(m, true) }

// OpenThread implements bridge.Platform: all sessions share the webhook's channel, so that nothing is called.
func (w *Incoming) OpenThread(_ context.Context, s *bridge.Session, _ bridge.Opening) (bridge.ThreadID, string, error) {
	return bridge.ThreadID(hookThread + s.ID), "", nil
}

const hookThread = "webhook/"

// Send implements bridge.Platform. Slack gives no id; the one that is returned stands for the message and leads nowhere.
func (w *Incoming) Send(ctx context.Context, _ bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	off := false
	blocks, plain := blocksOf(p, "")
	message := slackapi.WebhookMessage{
		Username: w.config.Username, IconEmoji: w.config.IconEmoji, Text: fallback(plain), Parse: "none", UnfurlLinks: &off, UnfurlMedia: &off,
	}
	if blocks != nil {
		message.Blocks = &slackapi.Blocks{BlockSet: blocks}
	}
	if _, err := postJSON(ctx, w.calls, opHook, w.config.WebhookURL.Reveal(), message, w.config.WebhookURL); err != nil {
		return nil, err
	}
	return []bridge.MessageID{bridge.MessageID(hookThread + rand.Text())}, nil
}

// hookRefusal says what a webhook's refusal means: a word of Slack's as the whole answer.
func hookRefusal(status int, text string) *bridge.DeliveryError {
	said := word(text)
	if text == "" {
		said = "no word"
	}
	d := &bridge.DeliveryError{
		Reason: bridge.ReasonRejected, Op: opHook, Detail: "HTTP " + strconv.Itoa(status) + " " + said,
	}
	const renew = "; check SLACK_WEBHOOK_URL, or make a new incoming webhook"
	switch said {
	case "invalid_payload", "invalid_blocks", "invalid_blocks_format", "no_text", "too_many_attachments", "msg_too_long",
		"msg_blocks_too_long", "invalid_form_data":
	case "channel_is_archived", "channel_not_found", "no_service", "no_service_id", "no_team", "team_disabled", "invalid_token",
		"user_not_found", "action_prohibited", "posting_to_general_channel_denied", "no_active_hooks":
		d.Reason, d.Scope, d.Detail = bridge.ReasonAuth, bridge.ScopeDestination, d.Detail+renew
	default:
		switch {
		case status >= 300 && status < 400:
			d.Reason, d.Scope, d.Detail = bridge.ReasonTransient, bridge.ScopeDestination, "HTTP "+strconv.Itoa(status)+renew
		case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusGone:
			d.Reason, d.Scope, d.Detail = bridge.ReasonAuth, bridge.ScopeDestination, d.Detail+renew
		}
	}
	return d
}
