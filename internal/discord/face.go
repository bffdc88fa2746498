package discord

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/platform"
)

// A visitor, and a colleague from another platform, speaks under a name and a sign of their own by a webhook of the bridge's in the
// channel, which takes the permission Manage Webhooks. The bot shows what the webhook would show late, what is a reply, which a webhook
// cannot, and everything where there is no webhook. Its token is kept in memory alone: Discord tells it again.
const (
	opHooks   = "list_channel_webhooks"
	opNewHook = "create_webhook"

	hookName = "PocketPing"

	// hookCalls is how many messages a minute a channel's webhooks send ("30 requests per 60 seconds per channel",
	// https://github.com/discord/discord-api-docs/issues/367). No header tells it.
	hookCalls = 30
	hookPer   = time.Minute + 2*time.Second // what is counted by Discord's clock

	hookAgain   = 10 * time.Minute // until a webhook is asked for again that could not be had
	maxHookName = 80               // of a webhook's message, in characters
)

// faceWebhook is the webhook under which others than the bot are shown. It is used under the adapter's lock.
type faceWebhook struct {
	id     string // empty: it is not known
	token  bridge.Secret
	asking bool
	until  time.Time   // until when it is not used, nor asked for
	sent   []time.Time // the calls of the last minute
}

// hookInfo is a webhook. Of those that people or other applications made, Discord tells no application, or no token.
type hookInfo struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Token       string  `json:"token"`
	Application *string `json:"application_id"`
}

// notInNames are words that Discord takes in no webhook's name ("Usernames and Nicknames" of the documentation).
var notInNames = regexp.MustCompile(`(?i)discord|clyde|@|#|:|` + "```")

// faceName returns the name that a message is shown under, or nothing where Discord takes none of the kind.
func faceName(f bridge.Face) string {
	name := strings.TrimSpace(notInNames.ReplaceAllString(measure.OneLine(f.Name, maxHookName-10), ""))
	switch strings.ToLower(name) {
	case "", "everyone", "here":
		return ""
	}
	return platform.AnimalOf(f.Seed).Sign + " " + name
}

// hookFor takes a place in the webhook's pace. ok is false where the bot is to speak.
func (d *Discord) hookFor(ctx context.Context) (id string, token bridge.Secret, ok bool) {
	now := d.rest.now()
	d.mu.Lock()
	if d.faces.asking || now.Before(d.faces.until) {
		d.mu.Unlock()
		return "", "", false
	}
	if d.faces.id == "" {
		d.faces.asking = true
		d.mu.Unlock()
		made, err := d.findHook(ctx)
		d.mu.Lock()
		d.faces.asking = false
		if err != nil || made.Token == "" {
			first := d.faces.until.IsZero()
			d.faces.until = now.Add(hookAgain)
			d.mu.Unlock()
			if first {
				d.log.Info("visitors have no faces: the bot cannot have a webhook in the channel", "op", opNewHook,
					"cause", bridge.AsDelivery(err, opNewHook, "").Detail)
			}
			return "", "", false
		}
		d.faces.id, d.faces.token = flake(made.ID).String(), bridge.Secret(made.Token)
	}
	defer d.mu.Unlock()
	sent := d.faces.sent
	for len(sent) > 0 && now.Sub(sent[0]) >= hookPer {
		sent = sent[1:]
	}
	if d.faces.sent = sent; len(sent) >= hookCalls {
		return "", "", false
	}
	d.faces.sent = append(d.faces.sent, now)
	return d.faces.id, d.faces.token, true
}

// findHook returns the bridge's webhook of the channel, and makes it where there is none.
func (d *Discord) findHook(ctx context.Context) (hookInfo, error) {
	var all []hookInfo
	path := "/channels/" + d.channel + "/webhooks"
	if err := d.get(ctx, opHooks, path, true, &all); err != nil {
		return hookInfo{}, err
	}
	for _, h := range all {
		if h.Application != nil && h.Token != "" && h.Name == hookName {
			return h, nil
		}
	}
	var made hookInfo
	c := call{op: opNewHook, method: http.MethodPost, path: path, body: map[string]string{"name": hookName}, isHomeChannel: true}
	err := d.rest.do(ctx, c, &made)
	return made, err
}

// sayAs shows a part under the name of whoever speaks. said is false where nothing was sent and the bot is to show it: a reply, what was
// perhaps sent before, and what the webhook does not take now. Every refusal is the webhook's affair alone.
func (d *Discord) sayAs(ctx context.Context, place string, isHome bool, p bridge.Part, m post, files []bridge.File) (id string, said bool, err error) {
	name := faceName(p.Face)
	if name == "" || isHome || p.ReplyTo != "" || len(p.Buttons) > 0 || !p.Since.IsZero() {
		return "", false, nil
	}
	hookID, token, ok := d.hookFor(ctx)
	if !ok {
		return "", false, nil
	}
	body := hookPost{WebhookParams: discordgo.WebhookParams{
		Content: facedText(p), AllowedMentions: m.AllowedMentions, Flags: m.Flags, Username: name,
	}, Attachments: attachedAll(files)}
	c := call{
		op: opExecute, method: http.MethodPost, path: "/webhooks/" + hookID + "/" + token.Reveal(), pathToken: token,
		query: url.Values{"wait": {"true"}, "thread_id": {place}}.Encode(),
	}
	c.setMessage(body, files)
	var sent executed
	err = d.rest.do(ctx, c, &sent)
	if err == nil && flake(sent.ID) == 0 {
		err = unreadable(c)
	}
	if err == nil {
		id = flake(sent.ID).String()
		d.remember(id, m.Nonce)
		d.faced.put(id, struct{}{})
		return id, true, nil
	}
	fault := *bridge.AsDelivery(err, opExecute, "")
	switch {
	case fault.Reason == bridge.ReasonUnconfirmed:
		return "", true, err
	case fault.Reason == bridge.ReasonTransient && fault.Scope == bridge.ScopeUnclear: // a 5xx: it may be there
		fault.Reason = bridge.ReasonUnconfirmed
		return "", true, &fault
	case ctx.Err() != nil:
		return "", true, err
	}
	d.hookRefused(err, &fault)
	return "", false, nil
}

// facedText is a part's text without the name of who says it.
func facedText(p bridge.Part) string {
	if p.Faced != nil {
		return *p.Faced
	}
	return p.Text
}

// hookRefused notes what a refusal says of the webhook.
func (d *Discord) hookRefused(err error, fault *bridge.DeliveryError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case fault.Reason == bridge.ReasonRateLimited:
		d.faces.until = later(d.faces.until, d.rest.now().Add(fault.RetryAfter))
	case codeOf(err) == discordgo.ErrCodeUnknownWebhook || codeOf(err) == discordgo.ErrCodeInvalidWebhookTokenProvided:
		d.faces.id, d.faces.token = "", "" // somebody deleted it: the next word has another
	}
}

// hookWrote says whether a message is known to be the webhook's.
func (d *Discord) hookWrote(id bridge.MessageID) bool {
	_, ok := d.faced.get(string(id))
	return ok
}

// byHook changes or deletes a message of the webhook's. done is false where there is no webhook.
func (d *Discord) byHook(ctx context.Context, op, method string, thread bridge.ThreadID, id bridge.MessageID, body any) (done bool, err error) {
	place, _, fault := d.find(thread, op)
	if fault != nil {
		return true, fault
	}
	d.mu.Lock()
	hookID, token := d.faces.id, d.faces.token
	d.mu.Unlock()
	if hookID == "" {
		var ok bool
		if hookID, token, ok = d.hookFor(ctx); !ok {
			return false, nil
		}
	}
	err = d.rest.do(ctx, call{
		op: op, method: method, path: "/webhooks/" + hookID + "/" + token.Reveal() + "/messages/" + flake(string(id)).String(), pathToken: token,
		query: url.Values{"thread_id": {place}}.Encode(), body: body, idempotent: true,
	}, nil)
	switch codeOf(err) {
	case discordgo.ErrCodeUnknownWebhook, discordgo.ErrCodeInvalidWebhookTokenProvided:
		d.hookRefused(err, bridge.AsDelivery(err, op, ""))
		return false, nil
	}
	return true, err
}

// editFaced edits a message that the webhook wrote. Without the webhook it cannot be: it is shown in another way.
func (d *Discord) editFaced(ctx context.Context, thread bridge.ThreadID, id bridge.MessageID, p bridge.Part) error {
	edit := discordgo.WebhookEdit{Content: new(facedText(p)), AllowedMentions: allowed(p.Mention)}
	done, err := d.byHook(ctx, opHookEdit, http.MethodPatch, thread, id, edit)
	if !done {
		return &bridge.DeliveryError{Reason: bridge.ReasonTooLate, Op: opHookEdit, Detail: "the webhook that wrote the message is gone"}
	}
	return err
}
