package discord

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

// askAgain is how long a webhook's channel counts as none with posts before the next new thread tries again.
const askAgain = 10 * time.Minute

// WebhookSender is the adapter for an incoming webhook: it shows sessions and hears nothing. In a forum each session has a post; elsewhere
// all share the channel, and each message says whose it is. Discord knows no nonce for webhooks: a message whose answer was lost may
// show twice. All its methods may be called from several goroutines.
type WebhookSender struct {
	log      *slog.Logger
	rest     *rest
	id       string
	token    bridge.Secret
	username string
	avatar   string
	pace     []bridge.Pace

	mu        sync.Mutex
	flatUntil time.Time // until when new threads are flat without asking
	forum     bool      // the channel is known to be one: it has posts and nothing else
}

var (
	_ bridge.Platform   = (*WebhookSender)(nil)
	_ bridge.CardEditor = (*WebhookSender)(nil)
	_ bridge.Editor     = (*WebhookSender)(nil)
	_ bridge.Deleter    = (*WebhookSender)(nil)
	_ bridge.Uploader   = (*WebhookSender)(nil)
	_ bridge.FlatPlace  = (*WebhookSender)(nil)
)

// NewWebhook returns the adapter for an incoming webhook. It calls nobody. Its errors do not show the URL.
func NewWebhook(c Config, log *slog.Logger) (*WebhookSender, error) {
	c, a, err := c.checkWebhook()
	if err != nil {
		return nil, err
	}
	rest, err := newRest(c, a.base, "", a.token, c.WebhookURL)
	if err != nil {
		return nil, err
	}
	return &WebhookSender{
		log:      log.With("platform", "discord"),
		rest:     rest,
		id:       a.id,
		token:    a.token,
		username: c.Username,
		avatar:   c.AvatarURL,
		pace:     paceOf(c),
	}, nil
}

// Name implements bridge.Platform.
func (h *WebhookSender) Name() string { return "discord" }

// Limits implements bridge.Platform.
func (h *WebhookSender) Limits() bridge.Limits {
	return bridge.Limits{Concurrency: concurrency, Pace: h.pace, MaxFile: maxUpload}
}

// Render implements bridge.Platform.
func (h *WebhookSender) Render(m bridge.Outgoing) []bridge.Part { return render(m) }

// OpenThread implements bridge.Platform: one message with the session's card. In a forum it begins a post; whether the channel is
// one, Discord tells a webhook only by taking or refusing that.
func (h *WebhookSender) OpenThread(ctx context.Context, s *bridge.Session, _ bridge.Opening) (bridge.ThreadID, string, error) {
	card := h.signed(cardPost(s, nil))
	if !h.isFlat() {
		named := card
		named.ThreadName = platform.ThreadName(s, maxName)
		sent, err := h.execute(ctx, call{op: opExecute, body: named, isHomeChannel: true}, "")
		switch codeOf(err) {
		case 0:
			if err != nil {
				return "", "", err
			}
			h.mu.Lock()
			h.forum = true
			h.mu.Unlock()
			return h.threadID(sent.ChannelID), "", nil
		case codeNotAForum:
			h.setFlat(h.rest.now().Add(askAgain))
		default:
			return "", "", err
		}
	}
	sent, err := h.execute(ctx, call{op: opExecute, body: card, isHomeChannel: true}, "")
	if codeOf(err) == codeForumNoName {
		h.setFlat(time.Time{}) // it is a forum by now: the next attempt begins a post
		err = &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opExecute, Detail: "the channel has become a forum"}
	}
	if err != nil {
		return "", "", err
	}
	return h.threadID(flatMark + sent.ID), "", nil
}

// FlatThread implements bridge.FlatPlace: the channel, unless it is a forum.
func (h *WebhookSender) FlatThread(string) bridge.ThreadID {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.forum && !h.rest.now().Before(h.flatUntil) {
		return ""
	}
	return h.threadID(flatMark + noCard)
}

// FlatReply implements bridge.FlatPlace: a webhook hears nothing.
func (h *WebhookSender) FlatReply(bridge.Update) bridge.MessageID { return "" }

func (h *WebhookSender) isFlat() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rest.now().Before(h.flatUntil)
}

func (h *WebhookSender) setFlat(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.flatUntil.IsZero() && !until.IsZero() {
		h.log.Info("the webhook's channel is no forum: all sessions share it", "op", opExecute)
	}
	h.flatUntil = until
}

// hookPost is a message as a webhook sends it: discordgo's, with attachments that have no more than Discord asks for.
type hookPost struct {
	discordgo.WebhookParams
	Attachments []attached `json:"attachments,omitempty"`
}

// signed returns a message as the webhook's, with its name and picture. A webhook cannot reply.
func (h *WebhookSender) signed(m post) hookPost {
	return hookPost{WebhookParams: discordgo.WebhookParams{
		Content: m.Content, Embeds: m.Embeds, AllowedMentions: m.AllowedMentions, Flags: m.Flags, Username: h.username, AvatarURL: h.avatar,
	}}
}

// executed is what is read of a message that was sent.
type executed struct {
	ID        string `json:"id"`
	ChannelID string `json:"channel_id"`
}

// execute sends a message, to a thread or to the channel itself.
func (h *WebhookSender) execute(ctx context.Context, c call, thread string) (executed, error) {
	query := url.Values{"wait": {"true"}} // else the answer would not tell the message
	if thread != "" {
		query.Set("thread_id", thread)
	}
	c.method, c.path, c.query = http.MethodPost, h.path(), query.Encode()
	var sent executed
	if err := h.rest.do(ctx, c, &sent); err != nil {
		return sent, err
	}
	if flake(sent.ID) == 0 || flake(sent.ChannelID) == 0 {
		return sent, unreadable(c)
	}
	return sent, nil
}

func (h *WebhookSender) path() string { return "/webhooks/" + h.id + "/" + h.token.Reveal() }

// Send implements bridge.Platform.
func (h *WebhookSender) Send(ctx context.Context, thread bridge.ThreadID, p bridge.Part) ([]bridge.MessageID, error) {
	return h.Upload(ctx, thread, p, nil)
}

// lockedIsGone takes a thread that takes no messages for one that is gone: a webhook cannot open it again.
func lockedIsGone(err error) error {
	if platform.ReasonOf(err) != bridge.ReasonClosed {
		return err
	}
	gone := *bridge.AsDelivery(err, "", "")
	gone.Reason = bridge.ReasonThreadGone
	return &gone
}

// Upload implements bridge.Uploader; without files it sends the part alone.
func (h *WebhookSender) Upload(ctx context.Context, thread bridge.ThreadID, p bridge.Part, files []bridge.File) ([]bridge.MessageID, error) {
	place, _, fault := h.find(thread, opExecute)
	if fault != nil {
		return nil, fault
	}
	m := h.signed(postOf(p))
	m.Attachments = attachedAll(files)
	c := call{op: opExecute, isHomeChannel: place == ""}
	c.setMessage(m, files)
	sent, err := h.execute(ctx, c, place)
	return messageIDs(sent.ID), lockedIsGone(err)
}

// EditCard implements bridge.CardEditor.
func (h *WebhookSender) EditCard(ctx context.Context, thread bridge.ThreadID, c bridge.Card, _ [][]bridge.Button) error {
	place, card, fault := h.find(thread, opHookEdit)
	if fault != nil || card == "" {
		return platform.OrNil(fault)
	}
	return h.change(ctx, opHookEdit, http.MethodPatch, place, card, cardEdit(c, nil))
}

// Edit implements bridge.Editor.
func (h *WebhookSender) Edit(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, p bridge.Part) error {
	place, _, fault := h.find(thread, opHookEdit)
	if fault != nil {
		return fault
	}
	f, ok := parseSnowflake(string(id))
	if !ok {
		return &bridge.DeliveryError{Reason: bridge.ReasonMessageGone, Op: opHookEdit, Detail: "it is no message of Discord's"}
	}
	return h.change(ctx, opHookEdit, http.MethodPatch, place, f.String(), textEdit(p, ""))
}

// change edits or deletes a message.
func (h *WebhookSender) change(ctx context.Context, op, method, place, message string, body any) error {
	c := call{op: op, method: method, path: h.path() + "/messages/" + message, body: body, isHomeChannel: place == "", idempotent: true}
	if place != "" {
		c.query = url.Values{"thread_id": {place}}.Encode()
	}
	return h.rest.do(ctx, c, nil)
}

// Delete implements bridge.Deleter.
func (h *WebhookSender) Delete(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID) error {
	place, _, fault := h.find(thread, opHookDelete)
	f, ok := parseSnowflake(string(id))
	if fault != nil || !ok {
		return nil
	}
	return goneIsDone(h.change(ctx, opHookDelete, http.MethodDelete, place, f.String(), nil))
}

// A webhook's thread is <webhook>/<thread>, or <webhook>/flat/<message> in a channel without posts, after the session's card, or
// <webhook>/flat/- where there is no card either.

const (
	flatMark = "flat/"
	noCard   = "-"
)

func isFlat(thread bridge.ThreadID) bool { return strings.Contains(string(thread), "/"+flatMark) }

func (h *WebhookSender) threadID(rest string) bridge.ThreadID {
	return bridge.ThreadID(h.id + "/" + rest)
}

// find returns which thread a message goes to, nothing for the channel itself, and which message the card is. A thread of another
// webhook is gone: that webhook may be of another channel.
func (h *WebhookSender) find(thread bridge.ThreadID, op string) (place, card string, fault *bridge.DeliveryError) {
	rest, ok := strings.CutPrefix(string(thread), h.id+"/")
	id, flat := strings.CutPrefix(rest, flatMark)
	if ok && flat && id == noCard {
		return "", "", nil
	}
	f, isID := parseSnowflake(id)
	if !ok || !isID {
		return "", "", &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: op, Detail: "the thread is of another webhook"}
	}
	if flat {
		return "", f.String(), nil
	}
	return f.String(), f.String(), nil
}
