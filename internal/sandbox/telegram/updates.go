package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// keepUpdates: "Incoming updates are stored on the server until the bot receives them either way, but they will not be kept
	// longer than 24 hours".
	keepUpdates = 24 * time.Hour
	// restartIDs: "If there are no new updates for at least a week, then identifier of the next update will be chosen randomly
	// instead of sequentially" (Update.update_id).
	restartIDs = 7 * 24 * time.Hour
	// maxLongPoll is LONG_POLL_MAX_TIMEOUT of the Bot API server: a longer timeout is cut to it.
	maxLongPoll = 50 * time.Second
	// conflictPause: conflicts that follow each other within it are answered late (fail_query_conflict in Client.cpp).
	conflictPause = 3 * time.Second
	// webhookPatience is how long a webhook may take to answer.
	webhookPatience = 60 * time.Second
	// maxWebhookPause is WEBHOOK_MAX_RESEND_TIMEOUT of the Bot API server.
	maxWebhookPause = 60 * time.Second
)

type update struct {
	id   int
	date time.Time
	body json.RawMessage
}

// inbox is the queue of updates and the ways out of it.
type inbox struct {
	queue   []update // oldest first
	nextID  int
	last    time.Time       // when the last update came
	allowed map[string]bool // nil: the default
	poll    *poll           // the getUpdates that waits

	offset        int       // of the getUpdates before
	asked         time.Time // when that was
	conflictUntil time.Time

	hook       *webhook
	hookSetAt  time.Time
	hookFailed time.Time
	hookError  string
}

// poll is a waiting getUpdates. gone is closed to end it with a refusal.
type poll struct {
	gone chan struct{}
	with *refusal
}

type webhook struct {
	url, secret string
	connections int
	stop        context.CancelFunc
	done        chan struct{}
}

// tell puts an update into the queue, if the bot wants its kind. "message_reaction", "chat_member" and "message_reaction_count"
// have to be asked for by name.
func (s *Server) tell(kind string, value any) {
	in := &s.inbox
	wanted := in.allowed[kind]
	if in.allowed == nil {
		wanted = kind != "chat_member" && kind != "message_reaction" && kind != "message_reaction_count"
	}
	if !wanted {
		return
	}
	s.push(object{kind: value})
}

func (s *Server) push(fields object) int {
	in, now := &s.inbox, time.Now()
	if !in.last.IsZero() && now.Sub(in.last) >= restartIDs {
		// Random on the real server; lower than before is what a client must be ready for.
		in.nextID = max(in.nextID/2, 1)
	}
	id := in.nextID
	in.nextID++
	in.last = now
	fields["update_id"] = id
	body, err := json.Marshal(fields)
	if err != nil {
		s.fault(fmt.Sprintf("an update cannot be written: %v", err))
		return 0
	}
	in.queue = append(in.queue, update{id, now, body})
	s.change()
	return id
}

// tellMessage tells the bot of a message. Its own messages are no updates, but its own service messages about topics and the
// chat are (need_skip_update_message in Client.cpp).
func (s *Server) tellMessage(kind string, m *message) {
	if m.Own && m.Service == "" || !s.sees(m) {
		return
	}
	s.tell(kind, s.wire(m, true))
}

// expire drops what is too old to be kept.
func (in *inbox) expire(now time.Time) {
	in.queue = slices.DeleteFunc(in.queue, func(u update) bool { return now.Sub(u.date) >= keepUpdates })
}

// take confirms what lies before the offset and returns what follows (do_get_updates in Client.cpp, TQueue in TDLib). A
// negative offset keeps that many from the end and forgets the rest. An offset more than ten beyond the next id is not
// believed: it confirms nothing.
func (s *Server) take(offset, limit int) []update {
	in := &s.inbox
	before := len(in.queue)
	in.expire(time.Now())
	switch {
	case offset < 0:
		in.queue = in.queue[max(len(in.queue)+offset, 0):]
	case offset > 0 && offset <= in.nextID+10:
		in.queue = slices.DeleteFunc(in.queue, func(u update) bool { return u.id < offset })
	}
	if len(in.queue) != before {
		s.change()
	}
	return slices.Clone(in.queue[:min(limit, len(in.queue))])
}

func (s *Server) getUpdates(ctx context.Context, p params) (any, error) {
	offset := p.number("offset", 0)
	limit := min(max(p.number("limit", 100), 1), 100) // get_integer_arg of the Bot API server clamps
	wait := min(max(time.Duration(p.number("timeout", 0))*time.Second, 0), maxLongPoll)

	s.mu.Lock()
	in := &s.inbox
	if in.hook != nil {
		pause := s.conflict()
		s.mu.Unlock()
		return nil, s.late(ctx, pause, "Conflict: can't use getUpdates method while webhook is active; "+
			"use deleteWebhook to delete the webhook first")
	}
	if err := s.allow(p); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	// Whoever asks again from the same place at once is slowed down and given one update (process_get_updates_query).
	now := time.Now()
	if offset == in.offset && now.Before(in.asked.Add(3*time.Second)) {
		wait = max(wait, 3*time.Second)
		if now.Before(in.asked.Add(time.Second / 2)) {
			limit = 1
		}
	}
	in.offset, in.asked = offset, now

	updates := s.take(offset, limit)
	if len(updates) > 0 || wait == 0 {
		s.mu.Unlock()
		return wireUpdates(updates), nil
	}
	// Only a call that is going to wait ends the one that waits already.
	s.endPoll(conflict("terminated by other getUpdates request; make sure that only one bot instance is running"))
	mine := &poll{gone: make(chan struct{})}
	in.poll = mine
	s.change()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		changed := s.Changed()
		s.mu.Unlock()
		over := false
		select {
		case <-changed:
		case <-timer.C:
			over = true
		case <-mine.gone:
			if mine.with.code != http.StatusConflict {
				return nil, mine.with
			}
			s.mu.Lock()
			pause := s.conflict()
			s.mu.Unlock()
			return nil, s.late(ctx, pause, mine.with.text)
		case <-s.back.Closed():
			return nil, errClosing()
		case <-ctx.Done():
			s.mu.Lock()
			if in.poll == mine {
				in.poll = nil
			}
			s.mu.Unlock()
			return nil, ctx.Err()
		}
		s.mu.Lock()
		if in.poll != mine {
			continue // gone is closed, or about to be seen
		}
		if updates := s.take(offset, limit); len(updates) > 0 || over {
			in.poll = nil
			s.mu.Unlock()
			return wireUpdates(updates), nil
		}
	}
}

func wireUpdates(updates []update) []json.RawMessage {
	out := make([]json.RawMessage, 0, len(updates))
	for _, u := range updates {
		out = append(out, u.body)
	}
	return out
}

// endPoll ends the getUpdates that waits, if one does.
func (s *Server) endPoll(with *refusal) {
	if in := &s.inbox; in.poll != nil {
		in.poll.with = with
		close(in.poll.gone)
		in.poll = nil
	}
}

// conflict returns how long the answer about a conflict has to wait.
func (s *Server) conflict() time.Duration {
	now := time.Now()
	if now.Before(s.inbox.conflictUntil) {
		return conflictPause
	}
	s.inbox.conflictUntil = now.Add(conflictPause)
	return 0
}

func conflict(text string) *refusal {
	return &refusal{code: http.StatusConflict, text: "Conflict: " + text}
}

func (s *Server) late(ctx context.Context, pause time.Duration, text string) error {
	if err := s.pause(ctx, pause); err != nil {
		return err
	}
	return &refusal{code: http.StatusConflict, text: text}
}

// allow keeps allowed_updates if it is given; else what was given before stays. An empty list is the default.
func (s *Server) allow(p params) error {
	if _, ok := p["allowed_updates"]; !ok {
		return nil
	}
	var kinds []string
	if err := p.decode("allowed_updates", &kinds); err != nil {
		return err
	}
	known := updateKinds()
	allowed := make(map[string]bool)
	for _, kind := range kinds {
		if !slices.Contains(known, kind) {
			return fault("allowed_updates names the unknown %q", kind) // ignored by the real server
		}
		allowed[kind] = true
	}
	s.inbox.allowed = allowed
	if len(kinds) == 0 {
		s.inbox.allowed = nil
	}
	return nil
}

// described is a result with the description that the Bot API server adds to it.
type described struct {
	result any
	text   string
}

// setWebhook serves setWebhook and, with remove, deleteWebhook.
func (s *Server) setWebhook(p params, remove bool) (any, error) {
	target := p["url"]
	if remove {
		target = ""
	}
	if err := checkWebhook(target, p["secret_token"]); err != nil {
		return nil, err
	}
	s.mu.Lock()
	in := &s.inbox
	if per := s.limits.WebhookEvery; target != "" && per > 0 {
		if time.Now().Before(in.hookSetAt.Add(per)) {
			s.mu.Unlock()
			return nil, tooMany(1)
		}
		in.hookSetAt = time.Now()
	}
	old := in.hook
	if p.is("drop_pending_updates") {
		in.queue = nil
	}
	if err := s.allow(p); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	connections := min(max(p.number("max_connections", 40), 1), 100)
	if old != nil && old.url == target && old.secret == p["secret_token"] && old.connections == connections {
		s.mu.Unlock()
		return described{true, "Webhook is already set"}, nil
	}
	if s.isClosed() {
		s.mu.Unlock()
		return nil, errClosing()
	}
	in.hookError, in.hookFailed = "", time.Time{}
	// Whoever asks meanwhile is told of the new one; its updates come when those to the old one have ended.
	said := "Webhook was deleted"
	if in.hook = nil; target != "" {
		said = "Webhook was set"
		s.endPoll(conflict("terminated by setWebhook request"))
		ctx, stop := context.WithCancel(context.Background())
		hook := &webhook{url: target, secret: p["secret_token"], connections: connections, stop: stop, done: make(chan struct{})}
		in.hook = hook
		go func() {
			if old != nil {
				<-old.done
			}
			s.runWebhook(ctx, hook)
		}()
	} else if old == nil {
		said = "Webhook is already deleted"
	}
	s.change()
	s.mu.Unlock()
	if old != nil {
		old.stop()
		<-old.done
	}
	return described{true, said}, nil
}

// checkWebhook refuses what the Bot API server refuses. Plain HTTP is for its --local mode alone; here a loopback address may
// use it.
func checkWebhook(target, secret string) error {
	if target == "" {
		return nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return badRequest("invalid webhook URL specified")
	}
	if host := u.Hostname(); u.Scheme != "https" && host != "127.0.0.1" && host != "::1" && host != "localhost" {
		return badRequest("bad webhook: An HTTPS URL must be provided for webhook")
	}
	if len(secret) > 256 {
		return badRequest("secret token is too long")
	}
	for _, c := range []byte(secret) {
		if c != '_' && c != '-' && !alnum(c) {
			return badRequest("secret token contains unallowed characters")
		}
	}
	return nil
}

func (s *Server) getWebhookInfo() object {
	in := &s.inbox
	in.expire(time.Now())
	o := object{"url": "", "has_custom_certificate": false, "pending_update_count": len(in.queue)}
	if in.hook != nil {
		o["url"], o["max_connections"] = in.hook.url, in.hook.connections
		o.set("last_error_date", in.hookFailed.Unix(), in.hookError != "")
		o.set("last_error_message", in.hookError, in.hookError != "")
	}
	if in.allowed != nil {
		kinds := make([]string, 0, len(in.allowed))
		for _, kind := range updateKinds() {
			if in.allowed[kind] {
				kinds = append(kinds, kind)
			}
		}
		o["allowed_updates"] = kinds
	}
	return o
}

// runWebhook posts the updates one after the other, each until it is taken. The real server posts those of different chats at
// the same time, and keeps the order within a chat.
func (s *Server) runWebhook(ctx context.Context, hook *webhook) {
	defer close(hook.done)
	defer hook.stop()
	fails := 0
	pause := s.options.WebhookPause
	for {
		s.mu.Lock()
		s.inbox.expire(time.Now())
		var next update
		if len(s.inbox.queue) > 0 {
			next = s.inbox.queue[0]
		}
		changed := s.Changed()
		s.mu.Unlock()
		if next.id == 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		after, err := s.postUpdate(ctx, hook, next)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		if err == nil {
			s.inbox.queue = slices.DeleteFunc(s.inbox.queue, func(u update) bool { return u.id == next.id })
			fails, pause = 0, s.options.WebhookPause
		} else {
			s.inbox.hookError, s.inbox.hookFailed = err.Error(), time.Now()
			fails++
			// The first repetition comes at once, then the pause doubles (on_update_error in WebhookActor.cpp).
			if after == 0 && fails > 1 {
				pause = min(pause*2, maxWebhookPause)
				after = pause
			}
		}
		s.change()
		s.mu.Unlock()
		if s.pause(ctx, after) != nil {
			return
		}
	}
}

// postUpdate posts one update and returns, with an error, how long the receiver wants to be left alone.
func (s *Server) postUpdate(ctx context.Context, hook *webhook, u update) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, webhookPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.url, bytes.NewReader(u.body))
	if err != nil {
		return 0, fmt.Errorf("bad webhook URL")
	}
	request.Header.Set("Content-Type", "application/json")
	if hook.secret != "" {
		request.Header.Set("X-Telegram-Bot-Api-Secret-Token", hook.secret)
	}
	response, err := s.options.WebhookClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("Webhook connection closed")
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
	if response.StatusCode/100 == 2 {
		return 0, nil
	}
	seconds, _ := strconv.Atoi(strings.TrimSpace(response.Header.Get("Retry-After")))
	return time.Duration(min(max(seconds, 0), 3600)) * time.Second,
		fmt.Errorf("Wrong response from the webhook: %s", response.Status) //nolint:staticcheck // Telegram's words
}
