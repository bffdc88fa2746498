package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
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
)

// Listen implements bridge.Listener. It ends with ctx.Err(), with what the inbox returned, or with a *bridge.DeliveryError.
// An update counts as acknowledged when the poll after it is sent: that poll's offset is behind it.
func (t *Telegram) Listen(ctx context.Context, inbox bridge.Inbox) error {
	if err := t.introduce(ctx); err != nil {
		return ended(ctx, err)
	}
	cursor, err := inbox.Cursor(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	pos := parsePosition(cursor)
	unhooked := false
	for {
		began := time.Now()
		batch, err := t.poll(ctx, pos.offset(began))
		if err != nil {
			if !unhooked && saysWebhook(err) {
				unhooked = true
				if err := t.unhook(ctx); err != nil {
					return ended(ctx, err)
				}
				continue
			}
			return ended(ctx, err)
		}
		moved := false
		for _, raw := range batch {
			id, ok := updateID(raw)
			if !ok {
				t.log.Warn("an update without an id is skipped", "op", opPoll)
				continue
			}
			now := time.Now()
			if err := inbox.Accept(ctx, t.read(raw, id, now)); err != nil {
				return ended(ctx, err)
			}
			pos, moved = position{id: id, at: now, known: true}, true
		}
		switch {
		case moved:
		case len(batch) > 0:
			return &bridge.DeliveryError{Reason: bridge.ReasonTransient, Scope: bridge.ScopeDestination, Op: opPoll,
				Detail: "the server sent updates without ids"}
		default:
			if err := wait(ctx, pollPause-time.Since(began)); err != nil {
				return err
			}
		}
	}
}

// ended prefers the end of ctx to the error that it caused.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
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
	if err != nil || id < 0 {
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

// read converts an update; one that cannot be read needs no attention.
func (t *Telegram) read(raw json.RawMessage, id int64, now time.Time) bridge.Update {
	t.mu.Lock()
	v := view{chats: make(map[int64]bool, len(t.chats)), me: t.me, testBots: t.testBots, now: now}
	for id := range t.chats {
		v.chats[id] = true
	}
	t.mu.Unlock()
	c, err := convert(raw, id, v)
	if err != nil {
		t.log.Warn("an update cannot be read and is skipped", "op", opPoll, "update", id)
	}
	if c.movedTo != 0 {
		t.follow(c.movedTo)
	}
	switch c.member {
	case "left", "kicked", "restricted":
		t.log.Warn("the bot lost its place in the chat or a right there; add it again", "op", opPoll, "reason", c.member)
	}
	return c.Update
}

func (t *Telegram) follow(to int64) {
	if err := t.Move(strconv.FormatInt(to, 10)); err == nil {
		t.log.Warn("the Telegram group has a new id; set TELEGRAM_CHAT_ID to it", "chat", to)
	}
}

// poll asks for updates. Its errors are *bridge.DeliveryErrors.
func (t *Telegram) poll(ctx context.Context, offset int64) ([]json.RawMessage, error) {
	var batch []json.RawMessage
	err := t.ask(ctx, opPoll, struct {
		Offset  int64    `json:"offset,omitempty"`
		Limit   int      `json:"limit"`
		Timeout int      `json:"timeout"` // seconds
		Allowed []string `json:"allowed_updates"`
	}{offset, pollLimit, int(t.pollFor / time.Second), []string{"message", "edited_message", "my_chat_member"}}, &batch)
	return batch, err
}

func (t *Telegram) unhook(ctx context.Context) error {
	t.log.Warn("the bot has a webhook; it is removed, since updates are polled", "op", opUnhook)
	return t.ask(ctx, opUnhook, struct {
		Drop bool `json:"drop_pending_updates"`
	}{}, nil)
}

// ask makes one call that may be made again at any time. Its errors are *bridge.DeliveryErrors.
func (t *Telegram) ask(ctx context.Context, op string, params, dest any) error {
	ctx, x := outbound.Trace(ctx)
	client := t.sends
	if op == opPoll {
		client = t.polls
	}
	err := t.call(ctx, client, op, params, dest)
	if err == nil {
		return nil
	}
	d := t.classify(op, err, x)
	if d.Reason == bridge.ReasonUnconfirmed {
		// Nothing shows twice when these calls are repeated.
		d.Reason, d.Scope = bridge.ReasonTransient, bridge.ScopeDestination
	}
	return d
}

// introduce learns who the bot is and what the chat is, and sets the bot's menu. Only a token that is not accepted ends it:
// everything else is worth a warning, and updates are received all the same.
func (t *Telegram) introduce(ctx context.Context) error {
	var me user
	if err := t.ask(ctx, opMe, struct{}{}, &me); err != nil {
		if isAuth(err) || ctx.Err() != nil {
			return err
		}
		t.complain(opMe, err)
	} else if me.ID != 0 {
		t.mu.Lock()
		t.me = me
		t.mu.Unlock()
	}

	if err := t.ask(ctx, opMenu, struct {
		Commands []menuEntry `json:"commands"`
	}{menu()}, nil); err != nil {
		if isAuth(err) || ctx.Err() != nil {
			return err
		}
		t.complain(opMenu, err)
	}

	chatID, _ := t.place(time.Now())
	var c chat
	err := t.ask(ctx, opChat, struct {
		Chat int64 `json:"chat_id"`
	}{chatID}, &c)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		t.complain(opChat, err)
		return nil
	}
	switch {
	case c.Type == "group":
		t.setFlat(true)
		return t.moved(ctx, chatID)
	case c.Type == "supergroup" && !c.IsForum:
		t.setFlat(false)
	case c.IsForum:
		t.setForum()
	}
	return nil
}

// moved finds out whether a basic group has become a supergroup while nobody listened. getChat does not tell; a call that
// writes does, and this one writes nothing.
func (t *Telegram) moved(ctx context.Context, chatID int64) error {
	err := t.ask(ctx, opAction, struct {
		Chat   int64  `json:"chat_id"`
		Action string `json:"action"`
	}{chatID, "typing"}, nil)
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if d, ok := errors.AsType[*bridge.DeliveryError](err); ok && d.Reason == bridge.ReasonMoved {
		if to, err := ParseChatID(d.MovedTo); err == nil {
			t.follow(to)
			return nil
		}
	}
	t.complain(opAction, err)
	return nil
}

func (t *Telegram) complain(op string, err error) {
	t.log.Warn("a call at the start of receiving failed", "op", op, "err", err)
}

type menuEntry struct {
	Command     string `json:"command"`
	Description string `json:"description"`
}

// menu is what Telegram offers when an operator types a slash.
func menu() []menuEntry {
	return []menuEntry{
		{"online", "You are here: visitors see the team online"},
		{"offline", "You are gone"},
		{"status", "Who is online, and how the platforms do"},
		{"id", "The ids of this thread and of you"},
		{"help", "All commands"},
	}
}

func isAuth(err error) bool {
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && d.Reason == bridge.ReasonAuth
}

func saysWebhook(err error) bool {
	d, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && strings.HasSuffix(d.Detail, webhookSet)
}
