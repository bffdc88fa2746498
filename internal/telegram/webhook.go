package telegram

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/go-telegram/bot"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	// headerSecret carries the secret_token of setWebhook; in the canonical form, for direct use with http.Header.
	headerSecret = "X-Telegram-Bot-Api-Secret-Token" //nolint:gosec // a header's name
	maxUpdate    = 1 << 20                           // bytes of a request's body
	// acceptTimeout is how long an update may take to be accepted. Telegram waits for 60 seconds, our own server for 30.
	acceptTimeout = 20 * time.Second

	// hookCheck is how long another program's webhook may go unnoticed.
	hookCheck = 3 * time.Minute
	// hookConnections is how many requests Telegram may make at once. With one, updates come in their order.
	hookConnections = 1

	meTimeout = 3 * time.Second
	meAgain   = 30 * time.Second // between two attempts to learn who we are while requests wait for it
)

// Webhook implements bridge.Webhook. It returns nil when updates are polled.
func (t *Telegram) Webhook(inbox bridge.Inbox) http.Handler {
	if t.hookURL == "" {
		return nil
	}
	return &ingressHandler{telegram: t, inbox: inbox, secret: sha256.Sum256([]byte(t.hookSecret.Reveal()))}
}

// ingressHandler takes Telegram's requests.
type ingressHandler struct {
	telegram *Telegram
	inbox    bridge.Inbox
	secret   [sha256.Size]byte // its hash: hashes have one length, so that a comparison tells nothing
}

// ServeHTTP takes one update. Whatever is not 2xx has Telegram send it again, for up to 24 hours.
func (h *ingressHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.genuine(r.Header[headerSecret]) {
		platform.Refuse(w, http.StatusUnauthorized)
		return
	}
	body, ok := platform.ReadRequest(w, r, maxUpdate)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), acceptTimeout)
	defer cancel()
	if err := h.accept(ctx, body); err != nil {
		h.telegram.log.Warn("an update was not accepted; Telegram sends it again", "op", opHook, "err", err)
		platform.NotNow(w)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// genuine says whether a request proves that it is Telegram's.
func (h *ingressHandler) genuine(values []string) bool {
	if len(values) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(values[0]))
	return subtle.ConstantTimeCompare(sum[:], h.secret[:]) == 1
}

// accept hands an update to the inbox. One that cannot be read is accepted as nothing, so that it does not come for ever.
func (h *ingressHandler) accept(ctx context.Context, raw json.RawMessage) error {
	t := h.telegram
	id, ok := updateID(raw)
	if !ok {
		t.log.Warn("a request without an update's id is skipped", "op", opHook)
		return h.inbox.Accept(ctx, bridge.Update{})
	}
	t.ensureIdentity(ctx)
	u, err := t.read(ctx, opHook, raw, id, time.Now())
	if err != nil {
		return err
	}
	// A position is for polls: Telegram itself keeps what was not taken here, and a position behind it would let a poll, after
	// the webhook's time, acknowledge that unseen.
	u.Cursor = ""
	return h.inbox.Accept(ctx, u)
}

// ensureIdentity learns who the bot is where nobody listens: of several bridges one does, and any may be sent an update. Without it a
// command to another bot would count as one to us.
func (t *Telegram) ensureIdentity(ctx context.Context) {
	now := time.Now()
	t.mu.Lock()
	asks := t.me.Username == "" && !now.Before(t.askMe)
	if asks {
		t.askMe = now.Add(meAgain)
	}
	t.mu.Unlock()
	if !asks {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, meTimeout)
	defer cancel()
	if err := t.learnIdentity(ctx); err != nil {
		t.log.Warn("the bot's own name is not known yet", "op", opMe, "err", err)
	}
}

// hookInfo is what is read of getWebhookInfo's answer.
type hookInfo struct {
	URL       string `json:"url"`
	Pending   int    `json:"pending_update_count"`
	LastError string `json:"last_error_message"`
	LastFault int64  `json:"last_error_date"` // Unix seconds
}

// keepHook has Telegram send updates to the webhook, and looks every few minutes whether it still does, until ctx ends. The
// webhook stays then: what is told meanwhile waits at Telegram until a bridge is there again.
func (t *Telegram) keepHook(ctx context.Context) error {
	if err := t.setWebhook(ctx); err != nil {
		return err
	}
	t.log.Info("Telegram sends updates to the webhook", "op", opHook, "url", t.hookURL)
	said := ""
	for {
		var info hookInfo
		if err := t.ask(ctx, opHooked, &info, func(ctx context.Context) error { return only(t.api.GetWebhookInfo(ctx)) }); err != nil {
			return err
		}
		if info.URL != t.hookURL {
			t.log.Error("the webhook was taken away by another program, and is set again; stop that program, or give the bridge a "+
				"bot of its own", "op", opHooked, "host", hostOf(info.URL))
			if err := t.setWebhook(ctx); err != nil {
				return err
			}
		}
		if info.LastError != said && info.LastError != "" {
			t.log.Warn("Telegram could not send an update to the webhook", "op", opHooked, "detail", platform.Plainly(info.LastError, t.secrets),
				"at", time.Unix(info.LastFault, 0).UTC(), "waiting", info.Pending)
		}
		said = info.LastError
		if err := platform.Wait(ctx, t.hookCheck); err != nil {
			return err
		}
	}
}

func (t *Telegram) setWebhook(ctx context.Context) error {
	return t.ask(ctx, opHook, nil, func(ctx context.Context) error {
		return only(t.api.SetWebhook(ctx, &bot.SetWebhookParams{
			URL: t.hookURL, SecretToken: t.hookSecret.Reveal(), MaxConnections: hookConnections, AllowedUpdates: wanted(),
		}))
	})
}

// hostOf returns the host of a webhook: the rest of its URL may be a secret of others.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if text == "" || err != nil {
		return "none"
	}
	return u.Host
}
