package telegram

import (
	"cmp"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	defaultRetryAfter = 5 * time.Second // of a 429 that names no time

	// webhookSet ends the detail of a poll that is refused for a webhook.
	webhookSet = "a webhook is set for this bot"
)

// rule says what a refusal means. The first rule that fits counts.
type rule struct {
	code   int
	ops    []string // nil: any
	says   []string // parts of the description of which it has one, in lower case; nil: any
	reason bridge.Reason
	scope  bridge.Scope
	advice string // what to do about it, added to the detail
}

// rules is the table of Telegram's refusals. The texts are those of the Bot API server and of the servers behind it (in
// capitals there); the API promises none of them, only the codes.
func rules() []rule {
	const (
		session     = bridge.ScopeSession
		destination = bridge.ScopeDestination
		operation   = bridge.ScopeOperation
		unclear     = bridge.ScopeUnclear

		newToken    = "check TELEGRAM_BOT_TOKEN, or get a new token from @BotFather"
		addBot      = "add the bot to the operators' chat again, and check TELEGRAM_CHAT_ID"
		topicsRight = "the bot lacks the right “Manage Topics” (can_manage_topics): make it an administrator of the group with it"
		sendRight   = "the bot lacks the right “Send Messages” (can_send_messages): allow it in the group's permissions"
		fileRight   = "the group lets the bot send no such files: allow it in the group's permissions"
		adminRight  = "the bot lacks an administrator's rights: make it an administrator of the group"
		otherPoller = "another program receives updates with this bot's token; stop it, or use a bot of its own"
		notTheAPI   = "check that TELEGRAM_API_URL is the address of a Bot API server"
		deletable   = "Telegram lets bots delete what is less than 48 hours old"
		publicURL   = "check PUBLIC_URL: Telegram must be able to send updates to what lies under it"
	)
	on := func(ops ...string) []string { return ops }
	all := func(texts ...string) []string { return texts }
	return []rule{
		{code: 401, reason: bridge.ReasonAuth, scope: destination, advice: newToken},
		{code: 404, says: all("method not found"), reason: bridge.ReasonRejected, scope: session, advice: "the Bot API server is too old"},
		{code: 404, reason: bridge.ReasonAuth, scope: destination, advice: newToken},
		{code: 400, says: all("logged out"), reason: bridge.ReasonAuth, scope: destination, advice: notTheAPI},

		// Only getUpdates meets a conflict; it ends by itself when the other program does.
		{code: 409, says: all("webhook"), reason: bridge.ReasonTransient, scope: destination, advice: webhookSet},
		{code: 409, reason: bridge.ReasonTransient, scope: destination, advice: otherPoller},
		{code: 400, ops: on(opHook), reason: bridge.ReasonRejected, scope: destination, advice: publicURL},

		// Topics. A topic of a very busy group becomes "not found" by age; it is treated as deleted.
		{code: 400, says: all("message thread not found", "topic_deleted", "topic_id_invalid"), reason: bridge.ReasonThreadGone},
		{code: 400, says: all("topic_closed"), reason: bridge.ReasonClosed},
		// The group's topics were turned off. For createForumTopic the adapter has an answer of its own.
		{code: 400, ops: on(opRename, opReopen, opClose), says: all("not a forum"), reason: bridge.ReasonThreadGone},

		// Messages that are to be changed; what is said of a text is said of a caption, too.
		{code: 400, ops: on(opEdit, opBeside), says: all("message to edit not found", "message_id_invalid"), reason: bridge.ReasonMessageGone},
		{code: 400, ops: on(opEdit, opBeside), says: all("message can't be edited", "message_edit_time_expired", "no text in the message",
			"no caption in the message"), reason: bridge.ReasonTooLate},
		{code: 400, ops: on(opDelete), says: all("message can't be deleted", "message_delete_forbidden"),
			reason: bridge.ReasonTooLate, advice: deletable},
		{code: 400, ops: on(opReact), says: all("message to react not found", "message_id_invalid"), reason: bridge.ReasonMessageGone},

		// Rights. A topic's name or state, a sign and a file are not worth holding the whole chat up.
		{code: 400, ops: on(opRename, opClose), says: all("not enough rights", "chat_admin_required"),
			reason: bridge.ReasonRejected, advice: topicsRight},
		{code: 400, ops: on(opReact), says: all("rights", "chat_admin_required"), reason: bridge.ReasonRejected, advice: adminRight},
		{code: 400, ops: on(opSend), says: all("not enough rights"), reason: bridge.ReasonAuth, scope: destination, advice: sendRight},
		{code: 400, says: all("not enough rights to send text"), reason: bridge.ReasonAuth, scope: destination, advice: sendRight},
		{code: 400, says: all("not enough rights to send"), reason: bridge.ReasonRejected, advice: fileRight},
		// Without the right to make topics (akshettrj/watgbridge#60), what has one goes on.
		{code: 400, says: all("not enough rights"), reason: bridge.ReasonAuth, scope: operation, advice: topicsRight},
		{code: 400, ops: on(opOpen, opReopen), says: all("admin"), reason: bridge.ReasonAuth, scope: operation, advice: topicsRight},
		{code: 400, says: all("have no rights to send", "chat_write_forbidden", "chat_send_plain_forbidden"),
			reason: bridge.ReasonAuth, scope: destination, advice: sendRight},
		{code: 400, says: all("chat_send_"), reason: bridge.ReasonRejected, advice: fileRight},
		{code: 400, says: all("chat_restricted"), reason: bridge.ReasonAuth, scope: destination, advice: sendRight},
		{code: 400, says: all("need administrator rights", "chat_admin_required"), reason: bridge.ReasonAuth, scope: destination, advice: adminRight},

		// The chat.
		{code: 403, says: all("kicked", "not a member", "chat was deleted", "blocked by the user", "user is deactivated"),
			reason: bridge.ReasonAuth, scope: destination, advice: addBot},
		{code: 403, reason: bridge.ReasonAuth, scope: unclear, advice: addBot},
		{code: 400, says: all("chat not found", "peer_id_invalid", "channel_private", "bot was kicked", "chat was deleted", "chat was deactivated"),
			reason: bridge.ReasonAuth, scope: destination, advice: addBot},

		// The content: can't parse entities (the plain form is taken), too long, empty, and all that is not known here.
		{code: 400, reason: bridge.ReasonRejected},
	}
}

// classify says what the failure of a call means. What it returns carries neither a secret nor anything that was sent.
func (t *Telegram) classify(op string, err error, x *outbound.Exchange) *bridge.DeliveryError {
	d := classify(op, err, x, t.secrets...)
	if d.Reason == bridge.ReasonMoved {
		d.MovedTo = strconv.FormatInt(t.home, 10) + movedTo + d.MovedTo // only the configured chat can move: once, and then no more
	}
	return d
}

func classify(op string, err error, x *outbound.Exchange, secrets ...bridge.Secret) *bridge.DeliveryError {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return outbound.Failure(op, err, x, secrets...)
	}
	d := &bridge.DeliveryError{Op: op, Detail: describe(r, secrets)}
	wrapped, isWrapped := wrappedLimit(r)
	switch {
	case r.Code == http.StatusTooManyRequests || isWrapped:
		d.Reason, d.Scope = bridge.ReasonRateLimited, bridge.ScopeDestination
		if d.RetryAfter = max(r.RetryAfter, wrapped); d.RetryAfter == 0 && x != nil {
			d.RetryAfter = x.RetryAfter
		}
		d.RetryAfter = cmp.Or(d.RetryAfter, defaultRetryAfter)
	case r.MovedTo != 0:
		d.Reason, d.Scope, d.MovedTo = bridge.ReasonMoved, bridge.ScopeDestination, strconv.FormatInt(r.MovedTo, 10)
	case r.Code == http.StatusRequestEntityTooLarge:
		// Said by the servers in front of the Bot API, too, in words of their own.
		d.Reason, d.Scope = bridge.ReasonRejected, bridge.ScopeSession
	case r.Opaque && r.Code < 500:
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeDestination
		d.Detail += "; check that TELEGRAM_API_URL is the address of a Bot API server"
	case r.Code >= 500 || r.Code < 400:
		// A 5xx does not say whether the message was sent. Nearly always it was not: Telegram's front servers answer so when
		// the ones behind them are gone. It is tried again like any fault that passes, and in the rare other case shows twice. Nor
		// does it say whether it is this message's fault.
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeUnclear
	default:
		d.Reason, d.Scope = bridge.ReasonRejected, bridge.ScopeSession
		for _, rule := range rules() {
			if rule.code == r.Code && (rule.ops == nil || slices.Contains(rule.ops, op)) && (rule.says == nil || says(r, rule.says...)) {
				d.Reason, d.Scope = rule.reason, rule.scope
				if rule.advice != "" {
					d.Detail += "; " + rule.advice
				}
				break
			}
		}
	}
	if d.Reason == bridge.ReasonRateLimited && (op == opReact || op == opAction) {
		// Signs and indicators have limits of their own, as far as others have seen (opencrabs#1211).
		d.Scope = bridge.ScopeOperation
	}
	return d
}

// tooMany is how a refusal for pace reads when it comes inside another one.
var tooMany = regexp.MustCompile(`(?i)too many requests: retry after (\d+)`)

// wrappedLimit recognises a refusal for pace that comes as a 400, and returns the time that it names. Telegram answers so for
// an album of which one message was refused (rubenlagus/TelegramBots#1520: 400 "failed to send message #1 with the error
// message "Too Many Requests: retry after 8""), and now and then for other calls (tdlib/td#3003).
func wrappedLimit(r *refusal) (time.Duration, bool) {
	if r.Code != http.StatusBadRequest {
		return 0, false
	}
	found := tooMany.FindStringSubmatch(r.Description)
	if found == nil {
		return 0, false
	}
	seconds, _ := strconv.Atoi(found[1]) // of what is too large, the most
	return time.Duration(min(seconds, maxWrappedWait)) * time.Second, true
}

// maxWrappedWait is the longest time that is taken from the text of a refusal, in seconds: a day, as for Retry-After.
const maxWrappedWait = 86400

// describe returns what Telegram said, without what it quotes.
func describe(r *refusal, secrets []bridge.Secret) string {
	if r.Opaque {
		return "HTTP " + strconv.Itoa(r.Code) + " without an answer of the Bot API"
	}
	return strconv.Itoa(r.Code) + " " + cmp.Or(platform.Plainly(r.Description, secrets), "no description")
}

// says tells whether err is a refusal whose description has one of the given texts, in lower case.
func says(err error, texts ...string) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(r.Description), text) })
}
