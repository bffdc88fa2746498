package discord

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	defaultRetryAfter = 5 * time.Second // of a 429 that names no time
	bannedRetryAfter  = time.Minute     // of a 429 that is Cloudflare's: thousands of calls went wrong within minutes
)

// The codes of Discord's answers that discordgo has no names for.
const (
	codeForumMessage = 40058 // a message where only threads may be
	codeNoOpenTag    = 40066
	codeTagNeeded    = 40067
	codeCloudflare   = 40333
	codeBlockedText  = 200000
	codeBlockedTitle = 200001
	codeForumNoName  = 220001 // a webhook's message to a forum without a thread
	codeNotAForum    = 220003 // a webhook's new thread in a channel of text
	codeBlockedLink  = 240000
	codeNoUploads    = 400001
)

// refusal is an answer that is not a success.
type refusal struct {
	status     int
	code       int    // Discord's own; 0: none
	message    string // what Discord says
	fields     string // which fields are wrong and how, by their codes
	retryAfter time.Duration
	global     bool
	opaque     bool // not an answer of Discord's API at all, such as a proxy's page
}

// readRefusal reads an answer that is not a success.
func readRefusal(status int, header http.Header, answer []byte) *refusal {
	f := &refusal{status: status, retryAfter: seconds(header.Get("Retry-After")), global: header.Get("X-RateLimit-Scope") == "global"}
	var body struct {
		Message    *string         `json:"message"`
		Code       json.RawMessage `json:"code"`
		RetryAfter *float64        `json:"retry_after"` // seconds
		Global     bool            `json:"global"`
		Errors     json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(answer, &body); err != nil || body.Message == nil {
		f.opaque = true
		return f
	}
	f.message = *body.Message
	f.code, _ = strconv.Atoi(string(body.Code))
	f.fields = strings.Join(wrongFields("", body.Errors, nil), ", ")
	f.global = f.global || body.Global
	if body.RetryAfter != nil {
		f.retryAfter = seconds(strconv.FormatFloat(*body.RetryAfter, 'f', -1, 64))
	}
	return f
}

// wrongFields lists what an answer finds wrong in a request ("Error Messages" of the documentation): paths and codes, and nothing
// of what was sent.
func wrongFields(path string, raw json.RawMessage, found []string) []string {
	const enough = 3
	var level map[string]json.RawMessage
	if len(found) >= enough || json.Unmarshal(raw, &level) != nil {
		return found
	}
	var faults []struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(level["_errors"], &faults) == nil {
		for _, fault := range faults {
			found = append(found, strings.TrimPrefix(path, ".")+" "+fault.Code)
		}
	}
	delete(level, "_errors")
	for _, name := range slices.Sorted(maps.Keys(level)) {
		found = wrongFields(path+"."+name, level[name], found)
	}
	return found[:min(len(found), enough)]
}

// refused is a DeliveryError with the code of the answer that it is of.
type refused struct {
	*bridge.DeliveryError
	code int
}

func (r refused) Unwrap() error { return r.DeliveryError }

// codeOf returns the code of Discord's answer that an error is of, 0 for none.
func codeOf(err error) int {
	r, ok := errors.AsType[refused](err)
	if !ok {
		return 0
	}
	return r.code
}

// What to do about a refusal.
const (
	adviseToken   = "check DISCORD_BOT_TOKEN, or reset the token in the developer portal, under Bot" //nolint:gosec // no token
	adviseHook    = "the webhook is gone: make a new one in the channel's settings, and set DISCORD_WEBHOOK_URL to it"
	adviseChannel = "check DISCORD_CHANNEL_ID, and that the bot is a member of its server and may see the channel"
	adviseAccess  = "the bot may not see the channel: give its role View Channel there"
	adviseHistory = "the bot lacks the permission Read Message History in the channel"
	adviseKind    = "DISCORD_CHANNEL_ID must be a channel of text or announcements, or a forum"
	adviseTag     = "the forum wants a tag on each post, and has none that the bot may set: add one that is for everybody, give the bot the " +
		"permission Manage Threads, or turn that off"
	adviseURL    = "check that DISCORD_API_URL is the address of Discord's API"
	adviseFull   = "the server has as many active threads as Discord allows"
	adviseRights = "the bot lacks a permission in the channel; it needs View Channel, Send Messages, Create Public Threads, " +
		"Send Messages in Threads, Manage Threads, Embed Links, Attach Files, Read Message History and Add Reactions"
)

// rule says what a refusal means. The first rule that fits counts.
type rule struct {
	codes         []int
	ops           []string // nil: any
	isHomeChannel bool     // only of calls about the operators' channel itself
	reason        bridge.Reason
	scope         bridge.Scope
	advice        string
}

// rules is the table of Discord's refusals, by the codes of its documentation ("JSON Error Codes").
func rules() []rule {
	const (
		destination = bridge.ScopeDestination
		operation   = bridge.ScopeOperation
	)
	webhook := []string{opExecute, opHookEdit, opHookDelete}
	all := func(codes ...int) []int { return codes }
	return []rule{
		{codes: all(discordgo.ErrCodeUnknownChannel), isHomeChannel: true, reason: bridge.ReasonAuth, scope: destination, advice: adviseChannel},
		{codes: all(discordgo.ErrCodeUnknownChannel), reason: bridge.ReasonThreadGone},
		{codes: all(discordgo.ErrCodeUnknownGuild), reason: bridge.ReasonAuth, scope: destination, advice: adviseChannel},
		{codes: all(discordgo.ErrCodeUnknownMessage), ops: []string{opThread}, reason: bridge.ReasonThreadGone},
		// With a nonce that it knows Discord returns the message of before; this one was deleted since.
		{codes: all(discordgo.ErrCodeUnknownMessage), ops: []string{opSend, opUpload}, reason: bridge.ReasonRejected,
			advice: "the message was sent before, and somebody deleted it"},
		{codes: all(discordgo.ErrCodeUnknownMessage), reason: bridge.ReasonMessageGone},
		{codes: all(discordgo.ErrCodeUnknownWebhook, discordgo.ErrCodeInvalidWebhookTokenProvided), ops: webhook,
			reason: bridge.ReasonAuth, scope: destination, advice: adviseHook},
		{codes: all(discordgo.ErrCodeUnauthorized, discordgo.ErrCodeInvalidAuthenticationToken),
			reason: bridge.ReasonAuth, scope: destination, advice: adviseToken},

		{codes: all(discordgo.ErrCodeMissingAccess), reason: bridge.ReasonAuth, scope: destination, advice: adviseAccess},
		// A sign, or a message that stays, is not worth holding the whole channel up.
		{codes: all(discordgo.ErrCodeMissingPermissions), ops: []string{opReact, opUnreact, opDelete, opRename}, reason: bridge.ReasonRejected,
			advice: adviseRights},
		// To begin threads, and to write in the channel where their cards stand, are rights of their own: threads that are there go on.
		{codes: all(discordgo.ErrCodeMissingPermissions), ops: []string{opThread, opPost}, reason: bridge.ReasonAuth, scope: operation,
			advice: adviseRights},
		{codes: all(discordgo.ErrCodeMissingPermissions), ops: []string{opSend}, isHomeChannel: true, reason: bridge.ReasonAuth, scope: operation,
			advice: adviseRights},
		{codes: all(discordgo.ErrCodeMissingPermissions), reason: bridge.ReasonAuth, scope: destination, advice: adviseRights},
		// A reply; the same message can be sent as none.
		{codes: all(discordgo.ErrCodeCannotReplyWithoutPermissionToReadMessageHistory), reason: bridge.ReasonRejected, advice: adviseHistory},
		{codes: all(codeForumMessage, discordgo.ErrCodeCannotSendMessagesInVoiceChannel, discordgo.ErrCodeCannotExecuteActionOnThisChannelType),
			isHomeChannel: true, reason: bridge.ReasonAuth, scope: destination, advice: adviseKind},
		{codes: all(codeTagNeeded, codeNoOpenTag), reason: bridge.ReasonAuth, scope: operation, advice: adviseTag},

		{codes: all(discordgo.ErrCodePerformedOperationOnArchivedThread, discordgo.ErrCodeThreadIsLocked), reason: bridge.ReasonClosed},
		{codes: all(discordgo.ErrCodeMaximumNumberOfActiveThreadsReached, discordgo.ErrCodeMaximumNumberOfActiveAnnouncementThreadsReached),
			reason: bridge.ReasonTransient, advice: adviseFull},
		{codes: all(discordgo.ErrCodeMaximumNumberOfEditsToMessagesOlderThanOneHourReached), reason: bridge.ReasonTooLate},
		{codes: all(discordgo.ErrCodeThisActionCannotBePerformedDueToSlowmodeRateLimit), reason: bridge.ReasonRateLimited},

		{codes: all(codeCloudflare, discordgo.ErrCodeSendMessagesHasBeenTemporarilyDisabled, discordgo.ErrCodeFeatureTemporarilyDisabledServerSide,
			discordgo.ErrCodeAPIResourceIsCurrentlyOverloaded), reason: bridge.ReasonTransient, scope: destination},

		// The content, and what else no repetition cures.
		{codes: all(codeBlockedText, codeBlockedTitle), reason: bridge.ReasonRejected, advice: "let AutoMod leave the bot's role alone"},
		{codes: all(discordgo.ErrCodeRequestEntityTooLarge, codeNoUploads, codeBlockedLink, discordgo.ErrCodeCannotEditFromAnotherUser,
			discordgo.ErrCodeTooManyReactions, discordgo.ErrCodeReactionBlocked), reason: bridge.ReasonRejected},
	}
}

// classify says what a refusal means. What it returns carries neither a secret nor anything that was sent.
func classify(c call, f *refusal, secrets []bridge.Secret) error {
	d := &bridge.DeliveryError{Op: c.op, Detail: describe(f, secrets)}
	advise := func(advice string) {
		if advice != "" {
			d.Detail += "; " + advice
		}
	}
	switch {
	case f.status == http.StatusTooManyRequests && f.opaque:
		d.Reason, d.Scope, d.RetryAfter = bridge.ReasonRateLimited, bridge.ScopeDestination, cmp.Or(f.retryAfter, bannedRetryAfter)
		advise("Cloudflare keeps this address from Discord for a while")
	case f.status == http.StatusTooManyRequests && f.code != discordgo.ErrCodeMaximumNumberOfEditsToMessagesOlderThanOneHourReached:
		d.Reason = bridge.ReasonRateLimited
		if f.global {
			d.Scope = bridge.ScopeDestination
		}
	case f.status == http.StatusUnauthorized && strings.HasPrefix(c.path, "/webhooks/"):
		d.Reason, d.Scope = bridge.ReasonAuth, bridge.ScopeDestination
		advise(adviseHook)
	case f.status == http.StatusUnauthorized:
		d.Reason, d.Scope = bridge.ReasonAuth, bridge.ScopeDestination
		advise(adviseToken)
	case f.status == http.StatusRequestEntityTooLarge:
		d.Reason = bridge.ReasonRejected // from Discord, or from what stands before it
	case f.status >= 500:
		// A 5xx does not say whether the message was sent. Where a nonce goes with it, it shows once all the same. Nor does it say
		// whether it is this message's fault.
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeUnclear
	case f.opaque || f.status < 400 || f.status == http.StatusMethodNotAllowed || f.status == http.StatusNotFound && f.code == 0:
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeDestination
		advise(adviseURL)
	default:
		d.Reason = bridge.ReasonRejected
		if f.status == http.StatusForbidden {
			d.Reason, d.Scope = bridge.ReasonAuth, bridge.ScopeUnclear
		}
		for _, rule := range rules() {
			if slices.Contains(rule.codes, f.code) && (rule.ops == nil || slices.Contains(rule.ops, c.op)) && (c.isHomeChannel || !rule.isHomeChannel) {
				d.Reason, d.Scope = rule.reason, rule.scope
				advise(rule.advice)
				break
			}
		}
	}
	if d.Reason == bridge.ReasonRateLimited {
		d.RetryAfter = cmp.Or(d.RetryAfter, f.retryAfter, defaultRetryAfter)
	}
	return refused{d, f.code}
}

// failed says what a call without an answer means.
func failed(c call, err error, x *outbound.Exchange, secrets []bridge.Secret) error {
	if c.stream != nil {
		if fault, _ := c.stream.Stop(); fault != "" && (x == nil || x.Sent) {
			// Discord never got the whole of it, and so made nothing of it.
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: c.op, Detail: fault}
		}
	}
	if errors.Is(err, platform.ErrTooLong) {
		return unreadable(c)
	}
	d := outbound.Failure(c.op, err, x, secrets...)
	if d.Reason == bridge.ReasonUnconfirmed && c.idempotent {
		d.Reason = bridge.ReasonTransient
	}
	return d
}

// unreadable is the error of a call that worked and whose answer cannot be read.
func unreadable(c call) error {
	d := &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: c.op, Detail: "the answer cannot be read"}
	if c.idempotent {
		d.Reason = bridge.ReasonTransient
	}
	return d
}

// describe returns what Discord said, without what it quotes.
func describe(f *refusal, secrets []bridge.Secret) string {
	if f.opaque {
		return "HTTP " + strconv.Itoa(f.status) + " without an answer of Discord's API"
	}
	message := cmp.Or(platform.Plainly(f.message, secrets), "no description")
	if f.fields != "" {
		message += " (" + platform.Plainly(f.fields, secrets) + ")"
	}
	return fmt.Sprintf("%d %d %s", f.status, f.code, message)
}
