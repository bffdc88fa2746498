package slack

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
)

const defaultRetryAfter = 5 * time.Second // of a 429 that names no time

// rule says what a refusal means. The first rule that fits counts.
type rule struct {
	says   []string
	ops    []string // empty: any
	reason bridge.Reason
	scope  bridge.Scope
	advice string // what to do about it, added to the detail
}

// rules is the table of Slack's refusals, by the words that its definition gives to the methods that are called here.
func rules() []rule {
	const (
		destination = bridge.ScopeDestination
		operation   = bridge.ScopeOperation

		renewBot   = "check SLACK_BOT_TOKEN, or install the app into the workspace again"
		renewApp   = "check SLACK_APP_TOKEN: it is an app-level token with the scope connections:write"
		addBot     = "check SLACK_CHANNEL_ID, and invite the app to the channel: /invite @<the app's name>"
		unarchive  = "the channel is archived: unarchive it, or set SLACK_CHANNEL_ID to another one"
		setting    = "a setting of the workspace forbids it: an administrator can allow it"
		migration  = "the workspace is being moved by Slack, which ends by itself"
		uploads    = "a setting of the workspace forbids it, or its storage is full"
		reinstall  = "add the scope under OAuth & Permissions of the app, and install it again"
		fileScopes = "the app may lack the scope files:read"
	)
	on := func(ops ...string) []string { return ops }
	all := func(words ...string) []string { return words }
	return []rule{
		{says: all("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type",
			"missing_args", "forbidden_team"), ops: on(opSocket), reason: bridge.ReasonAuth, scope: destination, advice: renewApp},
		{says: all("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type",
			"is_bot", "app_access_restricted", "enterprise_is_restricted"),
			reason: bridge.ReasonAuth, scope: destination, advice: renewBot},

		// A right that only embellishments need is not worth holding the whole channel up.
		{says: all("missing_scope", "no_permission", "access_denied"), ops: on(opPost, opEdit, opHistory, opReplies, opSocket, opMe),
			reason: bridge.ReasonAuth, scope: destination, advice: reinstall},
		{says: all("missing_scope", "no_permission", "access_denied"), reason: bridge.ReasonRejected, advice: reinstall},

		// The channel.
		{says: all("channel_not_found", "not_in_channel", "channel_is_limited_access", "invalid_channel"),
			reason: bridge.ReasonAuth, scope: destination, advice: addBot},
		{says: all("method_not_supported_for_channel_type", "too_many_members"), ops: on(opJoin),
			reason: bridge.ReasonAuth, scope: destination, advice: addBot},
		{says: all("is_archived"), ops: on(opReact, opUnreact), reason: bridge.ReasonRejected},
		{says: all("is_archived"), reason: bridge.ReasonAuth, scope: destination, advice: unarchive},
		// “Cannot post top-level messages into a thread-only channel”: replies are taken.
		{says: all("restricted_action_thread_only_channel"), ops: on(opPost), reason: bridge.ReasonAuth, scope: operation, advice: setting},
		{says: all("restricted_action", "restricted_action_read_only_channel",
			"restricted_action_non_threadable_channel", "posting_to_channel_denied", "messages_tab_disabled", "ekm_access_denied",
			"accesslimited", "two_factor_setup_required", "team_not_found", "metadata_must_be_sent_from_app"),
			ops: on(opPost, opHistory, opReplies, opMe, opSocket), reason: bridge.ReasonAuth, scope: destination, advice: setting},

		// The thread and the message.
		{says: all("thread_not_found", "cannot_reply_to_message", "restricted_action_thread_locked", "thread_locked"),
			reason: bridge.ReasonThreadGone},
		{says: all("message_not_found", "bad_timestamp"), reason: bridge.ReasonMessageGone},
		{says: all("cant_update_message", "edit_window_closed", "is_inactive", "block_mismatch", "streaming_state_conflict"),
			ops: on(opEdit), reason: bridge.ReasonTooLate},

		// What passes.
		{says: all("service_unavailable", "request_timeout", "update_failed", "file_update_failed"),
			reason: bridge.ReasonTransient, scope: destination},
		{says: all("team_added_to_org", "org_login_required", "external_channel_migrating"),
			reason: bridge.ReasonTransient, scope: destination, advice: migration},
		// “It's possible some aspect of the operation succeeded before the error was raised.”
		{says: all("fatal_error", "internal_error"), ops: on(opPost, opComplete), reason: bridge.ReasonUnconfirmed},
		{says: all("fatal_error", "internal_error"), reason: bridge.ReasonTransient, scope: bridge.ScopeUnclear},

		// Files.
		{says: all("file_not_found", "file_deleted", "not_visible"), ops: on(opFile, opDownload), reason: bridge.ReasonRejected,
			advice: fileScopes},
		{says: all("file_uploads_disabled", "file_uploads_except_images_disabled", "file_type_not_allowed",
			"file_upload_size_restricted", "storage_limit_reached", "blocked_file_type"), reason: bridge.ReasonRejected, advice: uploads},

		// All else is of this content: too long, empty, blocks that Slack does not take, and what is not known here.
	}
}

// classify says what the failure of a call means. What it returns carries neither a secret nor anything that was sent.
func classify(op string, err error, x *outbound.Exchange, secrets ...bridge.Secret) *bridge.DeliveryError {
	if d, ok := errors.AsType[*bridge.DeliveryError](err); ok {
		return d
	}
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		return outbound.Failure(op, err, x, secrets...)
	}
	d := &bridge.DeliveryError{Op: op, Detail: describe(r), Reason: bridge.ReasonRejected}
	switch {
	case r.Status == 429 || r.Says == "ratelimited" || r.Says == "rate_limited" || r.Says == "message_limit_exceeded":
		d.Reason = bridge.ReasonRateLimited
		// Each method has a limit of its own. That of posting is of the channel, and all that is shown goes there.
		if op == opPost || op == opHook {
			d.Scope = bridge.ScopeDestination
		}
		if x != nil {
			d.RetryAfter = x.RetryAfter
		}
		if d.RetryAfter == 0 {
			d.RetryAfter = defaultRetryAfter
		}
	case r.Opaque && r.Status < 500:
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeDestination
		d.Detail += "; check that SLACK_API_URL is the address of Slack's Web API"
	case r.Opaque, r.Says == "":
		// A 5xx does not say whether the message was posted. Nearly always it was not: Slack's front servers answer so when the
		// ones behind them are gone. It is tried again like any fault that passes. Nor does it say whether it is this message's fault.
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeUnclear
	default:
		for _, rule := range rules() {
			if slices.Contains(rule.says, r.Says) && (len(rule.ops) == 0 || slices.Contains(rule.ops, op)) {
				d.Reason, d.Scope = rule.reason, rule.scope
				if rule.advice != "" {
					d.Detail += "; " + rule.advice
				}
				break
			}
		}
	}
	return d
}

// describe returns what Slack said.
func describe(r *refusal) string {
	switch {
	case r.Opaque:
		return "HTTP " + strconv.Itoa(r.Status) + " without an answer of the Web API"
	case r.Says == "":
		return "an answer that is not ok and names no error"
	case r.Says == "missing_scope" && r.Needed != "":
		return "missing_scope: the app lacks " + r.Needed
	}
	return r.Says
}
