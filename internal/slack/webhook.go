package slack

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	maxEvent = 1 << 20 // bytes of a request's body
	// acceptTimeout is how long an event may take to be accepted. Slack waits for 3 seconds and then sends it again, which is
	// recognised; our own server waits for 30.
	acceptTimeout = 20 * time.Second
	// gateTimeout is how long a request waits for what was said before it; then Slack has to send it again.
	gateTimeout = 2500 * time.Millisecond
)

// Webhook implements bridge.Webhook: events and slash commands as Slack's requests. It returns nil without a signing secret.
func (s *Slack) Webhook(inbox bridge.Inbox) http.Handler {
	if s.config.SigningSecret == "" {
		return nil
	}
	return &ingressHandler{slack: s, inbox: inbox}
}

// ingressHandler takes Slack's requests.
type ingressHandler struct {
	slack *Slack
	inbox bridge.Inbox
}

// ServeHTTP takes one request. An event that is not answered with 2xx is sent again: at once, after a minute and after five.
func (h *ingressHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Without the headers, or too long ago, nothing is read at all.
	verifier, err := slackapi.NewSecretsVerifier(r.Header, h.slack.config.SigningSecret.Reveal())
	if err != nil || len(r.Header.Values("X-Slack-Signature")) != 1 || len(r.Header.Values("X-Slack-Request-Timestamp")) != 1 {
		platform.Refuse(w, http.StatusUnauthorized)
		return
	}
	body, ok := platform.ReadRequest(w, r, maxEvent)
	if !ok {
		return
	}
	if _, err := verifier.Write(body); err != nil || verifier.Ensure() != nil {
		platform.Refuse(w, http.StatusUnauthorized)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), acceptTimeout)
	defer cancel()
	if r.Header.Get("X-Slack-Retry-Num") != "" {
		h.slack.noteMissed()
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/x-www-form-urlencoded" {
		h.serveForm(ctx, w, body)
		return
	}
	h.serveEvent(ctx, w, body)
}

// notNow has Slack send a request again.
func (h *ingressHandler) notNow(w http.ResponseWriter, err error) {
	h.slack.log.Warn("an event was not accepted; Slack sends it again", "op", opEvents, "err", err)
	platform.NotNow(w)
}

func (h *ingressHandler) serveEvent(ctx context.Context, w http.ResponseWriter, body []byte) {
	var o outer
	if err := decode(body, &o); err == nil && o.Type == "url_verification" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, o.Challenge)
		return
	}
	err := h.slack.afterMissed(ctx, h.inbox)
	if err == nil {
		err = h.slack.handle(ctx, h.inbox, body, false)
	}
	if err != nil {
		h.slack.noteRefusal()
		h.notNow(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

var errCatchingUp = errors.New("what was said before is not accepted yet")

// afterMissed waits until what was said before is accepted. Slack repeats a request that was not taken after a minute, behind all
// that comes meanwhile: so after a refusal, and in a process that has just begun, the next request reads what was missed, and
// others wait for that.
func (s *Slack) afterMissed(ctx context.Context, inbox bridge.Inbox) error {
	timer := time.NewTimer(gateTimeout)
	defer timer.Stop()
	for {
		s.mu.Lock()
		gate, resume := s.gate, func() {}
		looks := gate == nil && s.looked < s.refused
		if looks {
			resume = s.pauseIngressLocked()
		}
		s.mu.Unlock()
		switch {
		case looks:
			err := s.lookBack(ctx, inbox)
			resume()
			return err
		case gate == nil:
			return nil
		}
		select {
		case <-gate:
		case <-timer.C:
			return errCatchingUp
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// noteRefusal notes that a request was not taken.
func (s *Slack) noteRefusal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
}

// lookBack reads what was missed, for a request. It goes on when Slack has given the request up, which is after 3 seconds. Without
// a position nothing was ever accepted.
func (s *Slack) lookBack(ctx context.Context, inbox bridge.Inbox) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
	defer cancel()
	s.mu.Lock()
	at, refused := s.at, s.refused
	s.mu.Unlock()
	var err error
	if at.at == "" {
		var cursor string
		if cursor, err = inbox.Cursor(ctx, ""); err != nil {
			return err
		}
		at, _ = parsePosition(cursor)
	}
	if at.at != "" {
		// The position is moved by Listen alone, which may run elsewhere.
		err = s.catchUpFrom(ctx, inbox, at, span{overlap, threadReach, false}, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.looked, s.failed = refused, 0
		return nil
	}
	if _, unread := errors.AsType[*bridge.DeliveryError](err); !unread {
		return err // the inbox takes nothing
	}
	if s.failed++; s.failed >= maxFailed {
		s.log.Warn("what was missed cannot be read; replies may come out of their order", "op", opHistory, "err", err)
		s.looked, s.failed = s.refused+1, 0 // this request's refusal counts, too
	}
	return err
}

// maxFailed is how often it is tried to read what was missed before requests are taken without.
const maxFailed = 3

// serveForm takes a slash command or the press of a button. Slack sends neither again: whoever gave it is told when it failed.
func (h *ingressHandler) serveForm(ctx context.Context, w http.ResponseWriter, body []byte) {
	form, err := url.ParseQuery(string(body))
	if payload := form.Get("payload"); err == nil && payload != "" {
		if err := h.slack.press(ctx, h.inbox, []byte(payload)); err != nil {
			h.notNow(w, err)
			return
		}
	}
	if err != nil || form.Get("command") == "" {
		// A press, a check of our certificate, or what is not asked for.
		w.WriteHeader(http.StatusOK)
		return
	}
	said := func(field string) string { return strings.ToValidUTF8(form.Get(field), "\uFFFD") } // a form can say any bytes
	reply, err := h.slack.command(ctx, h.inbox, &slash{
		Command: said("command"), Text: said("text"), Channel: said("channel_id"), User: said("user_id"),
		UserName: said("user_name"), ResponseURL: said("response_url"), TriggerID: said("trigger_id"),
	})
	if err != nil {
		h.notNow(w, err)
		return
	}
	if reply != "" {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(ephemeral(reply))
		return
	}
	w.WriteHeader(http.StatusOK)
}
