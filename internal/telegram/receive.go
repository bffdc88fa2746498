package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-telegram/bot"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	pollTimeout = 50 * time.Second
	// pollGrace is how much longer than the server holds a poll we wait for its answer.
	pollGrace = 15 * time.Second
	pollLimit = 100 // updates; the most there is

	// maxOffsetAge is how old a position may be. Update ids start anew, at random, after a week without an update; an offset
	// from before that could be above all new ids and acknowledge them unseen.
	maxOffsetAge = 6 * 24 * time.Hour

	// pollPause is the least time between two polls of which the first told nothing, should a server not hold them.
	pollPause = 250 * time.Millisecond

	// conflictWait is the pause after the first poll of a spell that another program's ended; it doubles up to rivalWaitMax.
	conflictWait    = 2 * time.Second
	conflictWaitMax = time.Minute
	conflictCalm    = 3 * time.Minute
)

// Listen implements bridge.Listener: it polls, or sees to it that Telegram sends updates to the webhook. It ends with
// ctx.Err(), with what the inbox returned, or with a *bridge.DeliveryError.
func (t *Telegram) Listen(ctx context.Context, inbox bridge.Inbox) error {
	if err := t.prepare(ctx); err != nil {
		return platform.Ended(ctx, err)
	}
	if t.hookURL != "" {
		return platform.Ended(ctx, t.keepHook(ctx))
	}
	return t.pollAll(ctx, inbox)
}

// pollAll polls for updates. One counts as acknowledged when the poll after it is sent: that poll's offset is behind it.
func (t *Telegram) pollAll(ctx context.Context, inbox bridge.Inbox) error {
	cursor, err := inbox.Cursor(ctx, t.bot)
	if err != nil {
		return platform.Ended(ctx, err)
	}
	pos := parsePosition(cursor)
	unhooked := false
	var r conflictTracker
	for {
		began := time.Now()
		batch, err := t.poll(ctx, pos.offset(began))
		if err != nil {
			if !unhooked && saysWebhook(err) {
				unhooked = true
				if err := t.unhook(ctx); err != nil {
					return platform.Ended(ctx, err)
				}
				continue
			}
			if saysConflict(err) && !saysWebhook(err) {
				if err := platform.Wait(ctx, t.conflict(&r, time.Now())); err != nil {
					return err
				}
				continue
			}
			return platform.Ended(ctx, err)
		}
		t.noConflict(&r, time.Now())
		moved := false
		for _, raw := range batch {
			id, ok := updateID(raw)
			if !ok {
				t.log.Warn("an update without an id is skipped", "op", opPoll)
				continue
			}
			now := time.Now()
			u, err := t.read(ctx, opPoll, raw, id, now)
			if err == nil {
				err = inbox.Accept(ctx, u)
			}
			if err != nil {
				return platform.Ended(ctx, err)
			}
			pos, moved = position{id: id, at: now, known: true}, true
		}
		switch {
		case moved:
		case len(batch) > 0:
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opPoll,
				Detail: "the server sent updates without ids"}
		default:
			if err := platform.Wait(ctx, pollPause-time.Since(began)); err != nil {
				return err
			}
		}
	}
}

// conflictTracker is another program that polls with our token, as far as its conflicts with us tell.
type conflictTracker struct {
	conflicts int // of this spell
	last      time.Time
	said      bool
}

// conflict notes a conflict and returns how long to leave the other program alone. The first is no news: when one bridge takes
// over from another, Telegram may still hold the poll of the one that went. The next says so, once in a spell.
func (t *Telegram) conflict(r *conflictTracker, now time.Time) time.Duration {
	r.conflicts++
	r.last = now
	if r.conflicts > 1 && !r.said {
		r.said = true
		t.log.Error("another program receives updates with this bot's token, and takes some of them away; stop it, or give the "+
			"bridge a bot of its own", "op", opPoll)
	}
	return min(t.conflictWait<<min(r.conflicts-1, 10), conflictWaitMax)
}

// noConflict notes a poll without a conflict.
func (t *Telegram) noConflict(r *conflictTracker, now time.Time) {
	if r.conflicts == 0 || now.Sub(r.last) < t.conflictCalm {
		return
	}
	if r.said {
		t.log.Info("no other program receives updates with this bot's token any more", "op", opPoll)
	}
	*r = conflictTracker{}
}

// position is the last accepted update and when it was accepted.
type position struct {
	id    int64
	at    time.Time
	known bool
}

// parsePosition reads a cursor, "<update id> <unix seconds>". Anything else is no position.
func parsePosition(cursor string) position {
	first, second, _ := strings.Cut(cursor, " ")
	id, err := strconv.ParseInt(first, 10, 64)
	if err != nil || id < 0 || id == math.MaxInt64 {
		return position{}
	}
	at, err := strconv.ParseInt(second, 10, 64)
	if err != nil {
		return position{}
	}
	return position{id: id, at: time.Unix(at, 0), known: true}
}

// offset returns the id from which on updates are wanted, 0 for the oldest that Telegram has.
func (p position) offset(now time.Time) int64 {
	if !p.known || now.Sub(p.at) > maxOffsetAge {
		return 0
	}
	return p.id + 1
}

// read converts an update; one that cannot be read needs no attention. op is the call that it came with. An error means that it
// cannot be said yet whose update it is.
func (t *Telegram) read(ctx context.Context, op string, raw json.RawMessage, id int64, now time.Time) (bridge.Update, error) {
	c, err := convert(raw, id, t.view(now))
	if c.strange != 0 {
		ours, asked := t.becameThat(ctx, c.strange)
		if asked != nil {
			return bridge.Update{}, asked
		}
		if ours {
			c, err = convert(raw, id, t.view(now))
		}
	}
	if err != nil {
		t.log.Warn("an update cannot be read and is skipped", "op", op, "update", id)
	}
	if c.movedTo != 0 {
		t.expect(c.movedTo)
	}
	switch c.member {
	case "left", "kicked", "restricted":
		t.log.Warn("the bot lost its place in the chat or a right there; add it again", "op", op, "reason", c.member)
	}
	c.Bot = t.bot
	return c.Update, nil
}

func (t *Telegram) view(now time.Time) view {
	t.mu.Lock()
	defer t.mu.Unlock()
	return view{chats: maps.Clone(t.chats), me: t.me, testBots: t.testBots, now: now}
}

// expect takes a chat for what ours has become, as far as updates go. Messages go on to the old one until Telegram refuses one
// of them with the new id: that is how the relay learns of it and keeps it.
func (t *Telegram) expect(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.chats[id] {
		t.chats[id] = true
		t.log.Info("the Telegram group becomes another one", "chat", id)
	}
}

// becameThat finds out whether our basic group has become the supergroup of which there is news: another bridge may have been
// told of it, or nobody. A supergroup that ours is not when it has news will never be it.
func (t *Telegram) becameThat(ctx context.Context, id int64) (bool, error) {
	t.mu.Lock()
	asks := isBasic(t.home) && t.chat == t.home && !t.strange[id]
	t.mu.Unlock()
	if !asks {
		return false, nil
	}
	to, err := t.successor(ctx)
	switch reason := platform.ReasonOf(err); {
	case reason == bridge.ReasonAuth, reason == bridge.ReasonRejected: // the same call would come to the same
		return false, nil
	case err != nil:
		return false, err
	case to == id:
		return true, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.strange) >= maxStrange {
		clear(t.strange)
	}
	t.strange[id] = true
	return false, nil
}

// maxStrange is how many chats are remembered that have nothing to do with the bridge.
const maxStrange = 1000

// poll asks for updates. Its errors are *bridge.DeliveryErrors.
func (t *Telegram) poll(ctx context.Context, offset int64) ([]json.RawMessage, error) {
	params, err := json.Marshal(struct {
		Offset  int64    `json:"offset,omitempty"`
		Limit   int      `json:"limit"`
		Timeout int      `json:"timeout"` // seconds
		Allowed []string `json:"allowed_updates"`
	}{offset, pollLimit, int(t.pollFor / time.Second), wanted()})
	if err != nil {
		return nil, err
	}
	ctx, x := outbound.Trace(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+opPoll, bytes.NewReader(params))
	if err != nil {
		return nil, t.asked(opPoll, err, x)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.polls.Do(req) //nolint:bodyclose // readAnswer closes it
	if err != nil {
		return nil, t.asked(opPoll, err, x)
	}
	var batch []json.RawMessage
	result, err := readAnswer(resp)
	if err == nil {
		err = json.Unmarshal(result, &batch)
	}
	return batch, t.asked(opPoll, err, x)
}

// wanted are the kinds of updates that are asked for.
func wanted() []string {
	return []string{"message", "edited_message", "message_reaction", "my_chat_member", "callback_query"}
}

func (t *Telegram) unhook(ctx context.Context) error {
	t.log.Warn("the bot has a webhook; it is removed, since updates are polled", "op", opUnhook)
	return t.ask(ctx, opUnhook, nil, func(ctx context.Context) error {
		return only(t.api.DeleteWebhook(ctx, &bot.DeleteWebhookParams{}))
	})
}

// prepare learns who the bot is and what the chat is, and sets the bot's menu. Only a token that is not accepted ends it:
// everything else is worth a warning, and updates are received all the same.
func (t *Telegram) prepare(ctx context.Context) error {
	if err := t.finalError(ctx, opMe, t.learnIdentity(ctx), bridge.ReasonAuth); err != nil {
		return err
	}

	err := t.ask(ctx, opMenu, nil, func(ctx context.Context) error {
		return only(t.api.SetMyCommands(ctx, &bot.SetMyCommandsParams{Commands: menu()}))
	})
	if err := t.finalError(ctx, opMenu, err, bridge.ReasonAuth); err != nil {
		return err
	}

	chatID, _ := t.place()
	var c chat
	err = t.ask(ctx, opChat, &c, func(ctx context.Context) error { return only(t.api.GetChat(ctx, &bot.GetChatParams{ChatID: chatID})) })
	if err != nil {
		return t.finalError(ctx, opChat, err)
	}
	switch {
	case c.Type == "group":
		t.setFlat(true)
		_, err = t.successor(ctx)
	case c.Type == "supergroup" && !c.IsForum:
		t.setFlat(false)
	case c.IsForum:
		t.setForum()
	}
	return t.finalError(ctx, opAction, err)
}

// learnIdentity learns who the bot is.
func (t *Telegram) learnIdentity(ctx context.Context) error {
	var me user
	err := t.ask(ctx, opMe, &me, func(ctx context.Context) error { return only(t.api.GetMe(ctx)) })
	if err == nil && me.ID != 0 {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.me = me
	}
	return err
}

// successor finds out whether our basic group has become a supergroup, and which; 0: it has not. getChat does not tell; a call
// that writes does, and this one writes nothing. Its errors are *bridge.DeliveryErrors.
func (t *Telegram) successor(ctx context.Context) (int64, error) {
	err := t.ask(ctx, opAction, nil, t.typing(t.home, 0))
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	if !ok || d.Reason != bridge.ReasonMoved {
		return 0, err
	}
	_, text, _ := strings.Cut(d.MovedTo, movedTo)
	to, err := ParseChatID(text)
	if err != nil {
		return 0, nil
	}
	t.expect(to)
	return to, nil
}

// finalError returns the error of a call at the start of receiving where that ends it: with ctx, and for a final reason. Of any other
// error it warns.
func (t *Telegram) finalError(ctx context.Context, op string, err error, final ...bridge.Reason) error {
	if err == nil || ctx.Err() != nil || slices.Contains(final, platform.ReasonOf(err)) {
		return err
	}
	t.log.Warn("a call at the start of receiving failed", "op", op, "err", err)
	return nil
}

// saysConflict recognises the end of a poll by another one's or by a webhook.
func saysConflict(err error) bool {
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && strings.HasPrefix(d.Detail, "409 ")
}

func saysWebhook(err error) bool {
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && strings.HasSuffix(d.Detail, webhookSet)
}
