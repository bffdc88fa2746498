package discord

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	maxRepeats    = 4 // repetitions of a call while receiving, before the relay is told that it failed
	longestRefuse = 10 * time.Minute
)

// Listen implements bridge.Listener: it keeps a connection to the gateway, and reads over HTTP what was written while there was
// none. It ends with ctx.Err(), with what the inbox returned, or with a *bridge.DeliveryError.
func (d *Discord) Listen(ctx context.Context, inbox bridge.Inbox) error {
	return platform.Ended(ctx, d.listen(ctx, inbox))
}

func (d *Discord) listen(ctx context.Context, inbox bridge.Inbox) error {
	if _, err := d.me(ctx); err != nil {
		return err
	}
	h, err := d.where(ctx)
	if err != nil {
		return err
	}
	if err := d.setMenu(ctx, h); err != nil {
		if ctx.Err() != nil {
			return err
		}
		d.log.Warn("the slash commands could not be set; !name works all the same", "op", opSetMenu, "err", err)
	}
	if !d.gateway {
		d.log.Warn("the gateway is off: what operators write in threads is not heard, slash commands alone are", "op", opGateway)
		<-ctx.Done()
		return ctx.Err()
	}
	r := &receiver{d: d, inbox: inbox}
	if err := r.begin(ctx, h); err != nil {
		return err
	}
	return r.run(ctx)
}

// receiver is one run of Listen.
type receiver struct {
	d     *Discord
	inbox bridge.Inbox
	// pos is what was accepted. Only the goroutine that takes from the queue uses it.
	pos   position
	moved bool // since it was written
}

// begin reads the cursor. Where there is none, everything before Discord came to be served counts as accepted: what operators
// write in the first threads may come before the first connection.
func (r *receiver) begin(ctx context.Context, h homeChannel) error {
	cursor, err := r.inbox.Cursor(ctx, "")
	if err != nil {
		return err
	}
	var ok bool
	if r.pos, ok = parsePosition(cursor); ok {
		return nil
	}
	begun, err := r.inbox.Begun(ctx)
	if err != nil {
		return err
	}
	err = r.d.patiently(ctx, func() error {
		newest, err := r.d.newest(ctx, h)
		r.pos.upTo = min(newest, snowflakeAt(r.d.rest.clock().Add(-r.d.clock.now().Sub(begun))))
		return err
	})
	if err != nil {
		return err
	}
	return r.inbox.Accept(ctx, bridge.Update{Cursor: r.pos.String()})
}

// newest returns the id of the last message in the operators' channel and its threads.
func (d *Discord) newest(ctx context.Context, h homeChannel) (snowflake, error) {
	c, err := d.homeNow(ctx)
	if err != nil {
		return 0, err
	}
	threads, err := d.threadsSince(ctx, h, snowflakeAt(d.rest.clock().Add(-time.Hour)))
	if err != nil {
		return 0, err
	}
	last := max(flake(d.channel), flake(c.Last))
	for _, t := range threads {
		last = max(last, flake(t.ID), flake(t.Last))
	}
	return last, nil
}

// run receives until ctx ends or something fails.
func (r *receiver) run(ctx context.Context) error {
	in, commands := newEventQueue(r.d.waiting), newEventQueue(r.d.waiting)
	if r.d.session.rewind() {
		// What was not accepted of the session of before is told again; what was lost besides is read first.
		in.push(item{gap: true})
	}
	// The connection ends when we say so, and not before: it is told whether for good.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		err := bridge.Protect(r.d.log, opGateway, func() error { return r.d.connect(inner, in, commands) })
		in.end(err)
		commands.end(err)
	})
	failed := make(chan error, 1)
	working, stop := context.WithCancelCause(ctx)
	running.Go(func() {
		err := bridge.Protect(r.d.log, opCallback, func() error { return r.d.handleCommands(working, commands, r.inbox) })
		if err != nil {
			failed <- err
			stop(err)
		}
	})
	err := bridge.Protect(r.d.log, opGateway, func() error { return r.acceptAll(working, in) })
	select {
	case cause := <-failed:
		err = cause
	default:
	}
	if ctx.Err() != nil {
		in.finish()
	}
	stop(nil)
	cancel()
	running.Wait()
	return err
}

// acceptAll takes what comes from the gateway, one after the other.
func (r *receiver) acceptAll(ctx context.Context, in *eventQueue) error {
	for {
		it, none, err := in.next(ctx, r.d.times.flush)
		switch {
		case err != nil:
			return err
		case none:
			err = r.flush(ctx)
		case it.gap:
			err = r.catchUp(ctx)
		default:
			err = r.event(ctx, it)
		}
		if err != nil {
			return err
		}
		if !none && !it.gap {
			r.d.session.accept(it.session, it.seq)
		}
	}
}

// flush writes the position where it has moved without an update: past messages that are nobody's news, the bridge's own above
// all. A restart would read them again.
func (r *receiver) flush(ctx context.Context) error {
	if !r.moved {
		return nil
	}
	return r.accept(ctx, bridge.Update{})
}

// accept hands an update to the inbox, unless it was accepted by this process already.
func (r *receiver) accept(ctx context.Context, u bridge.Update) error {
	pos := r.pos
	if u.Kind == bridge.UpdateMessage {
		pos = pos.with(flake(string(u.Message)))
	}
	if _, known := r.d.accepted.get(u.ID); u.ID != "" && known {
		r.skip(string(u.Message))
		return nil
	}
	if u.Kind != bridge.UpdateTyping {
		u.Cursor = pos.String()
	}
	if err := r.inbox.Accept(ctx, u); err != nil {
		return err
	}
	r.pos, r.moved = pos, r.moved && u.Cursor == ""
	if u.ID != "" {
		r.d.accepted.put(u.ID, struct{}{})
	}
	return nil
}

// skip notes a message that needs no attention.
func (r *receiver) skip(id string) {
	if f, ok := parseSnowflake(id); ok && !r.pos.has(f) {
		r.pos, r.moved = r.pos.with(f), true
	}
}

// event takes one event of the gateway. What cannot be read needs no attention.
func (r *receiver) event(ctx context.Context, it item) error {
	if it.data == nil {
		return nil
	}
	var at struct {
		GuildID   string `json:"guild_id"`
		ChannelID string `json:"channel_id"`
	}
	h, err := r.d.whereNow(ctx)
	if err != nil {
		return err
	}
	if json.Unmarshal(it.data, &at) != nil || at.GuildID != h.guild {
		return nil
	}
	thread, ours, err := r.d.threadOf(ctx, at.ChannelID)
	if err != nil || !ours {
		return err
	}
	r.d.silent.heard(at.ChannelID)
	updates, err := r.convert(ctx, it, thread, h)
	if err != nil {
		return err
	}
	for _, u := range updates {
		if err := r.accept(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// convert turns an event of a thread into updates.
func (r *receiver) convert(ctx context.Context, it item, thread bridge.ThreadID, h homeChannel) ([]bridge.Update, error) {
	var (
		m     message
		gone  deletion
		given reaction
		types typing
		u     bridge.Update
		ok    bool
	)
	v := r.d.view(thread)
	read := func(into any) bool {
		if err := json.Unmarshal(it.data, into); err != nil && !partly(err) {
			r.d.log.Warn("an event cannot be read and is skipped", "op", opGateway, "event", it.kind)
			return false
		}
		return true
	}
	switch {
	case it.kind == "MESSAGE_CREATE" && read(&m):
		v.name = r.d.nameOf(ctx, &m, h.guild)
		if u, ok = convertMessage(&m, v); !ok {
			r.skip(m.ID)
		}
	case it.kind == "MESSAGE_UPDATE" && read(&m):
		if _, edited := m.editedAt(); edited && (m.Author == nil || m.Content == nil) {
			// Discord says that it tells the whole message; it has not always done so.
			whole, err := r.d.whole(ctx, &m)
			if err != nil || whole == nil {
				return nil, err
			}
			m = *whole
		}
		v.name = r.d.nameOf(ctx, &m, h.guild)
		u, ok = convertEdit(&m, v)
	case (it.kind == "MESSAGE_DELETE" || it.kind == "MESSAGE_DELETE_BULK") && read(&gone):
		return convertDelete(&gone, thread), nil
	case it.kind == "MESSAGE_REACTION_ADD" && read(&given):
		u, ok = convertReaction(&given, v)
	case it.kind == "TYPING_START" && read(&types):
		u, ok = convertTyping(&types, v)
	}
	if !ok {
		return nil, nil
	}
	return []bridge.Update{u}, nil
}

// partly says whether an error of reading concerns a field alone: it is left out, and the rest may still make sense.
func partly(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

// whole reads a message anew; nil where it is gone.
func (d *Discord) whole(ctx context.Context, m *message) (*message, error) {
	var all message
	path := "/channels/" + flake(m.ChannelID).String() + "/messages/" + flake(m.ID).String()
	err := d.patiently(ctx, func() error { return d.get(ctx, opMessage, path, false, &all) })
	switch platform.ReasonOf(err) {
	case "":
		return &all, err
	case bridge.ReasonMessageGone, bridge.ReasonThreadGone, bridge.ReasonClosed:
		return nil, nil
	}
	return nil, err
}

func (d *Discord) view(thread bridge.ThreadID) view {
	d.mu.Lock()
	self := d.self
	d.mu.Unlock()
	return view{thread: thread, self: self, testBots: d.testBots, resolver: d.resolver()}
}

// whereNow is where, for receiving.
func (d *Discord) whereNow(ctx context.Context) (h homeChannel, err error) {
	err = d.patiently(ctx, func() error {
		h, err = d.where(ctx)
		return err
	})
	return h, err
}

// patiently makes a call that is needed for receiving, again and again where that can help.
func (d *Discord) patiently(ctx context.Context, do func() error) error {
	for tries := 1; ; tries++ {
		err := do()
		var pause time.Duration
		switch limited, ok := limitOf(err); {
		case err == nil:
			return nil
		case ok && limited.RetryAfter <= longestRefuse:
			pause = limited.RetryAfter
			tries--
		case platform.ReasonOf(err) == bridge.ReasonTransient && tries <= maxRepeats:
			pause = d.pause(tries)
		default:
			return err
		}
		if err := d.clock.wait(ctx, pause); err != nil {
			return err
		}
	}
}

// source is a place whose messages are read since the position.
type source struct {
	place  string
	thread bridge.ThreadID
	isHome bool
	page   []message // those that are next
	after  snowflake
	more   bool // there may be others behind the page
}

// fill reads the next page, unless there is one. A place that cannot be read any more has no messages.
func (s *source) fill(ctx context.Context, d *Discord) error {
	if len(s.page) > 0 || !s.more {
		return nil
	}
	err := d.patiently(ctx, func() (err error) {
		s.page, err = d.messagesAfter(ctx, s.place, s.isHome, s.after)
		return err
	})
	if err != nil && (platform.ReasonOf(err) == bridge.ReasonThreadGone || !s.isHome && platform.ReasonOf(err) == bridge.ReasonAuth && codeOf(err) != 0) {
		d.log.Warn("a thread cannot be read and is passed over", "op", opMessages, "thread", s.place, "err", err)
		s.page, s.more = nil, false
		return nil
	}
	if err != nil {
		return err
	}
	s.more = len(s.page) == pageOfMessages
	if n := len(s.page); n > 0 {
		s.after = flake(s.page[n-1].ID)
	}
	return nil
}

// catchUp reads what was written since the position, in the order in which it was written, while what comes from the gateway
// waits. What it reads and the gateway tells too is recognised.
func (r *receiver) catchUp(ctx context.Context) error {
	h, err := r.d.whereNow(ctx)
	if err != nil {
		return err
	}
	sources, err := r.sources(ctx, h)
	if err != nil {
		return err
	}
	// The position moves while the sources are read.
	done := r.pos
	for {
		for _, s := range sources {
			if err := s.fill(ctx, r.d); err != nil {
				return err
			}
		}
		sources = slices.DeleteFunc(sources, func(s *source) bool { return len(s.page) == 0 })
		if len(sources) == 0 {
			return nil
		}
		s := slices.MinFunc(sources, func(a, b *source) int { return cmp.Compare(flake(a.page[0].ID), flake(b.page[0].ID)) })
		m := s.page[0]
		if err := r.caughtUp(ctx, &m, s.thread, h, done.has(flake(m.ID))); err != nil {
			return err
		}
		s.page = s.page[1:]
	}
}

// caughtUp takes a message that was read. One that was accepted already may have been edited since.
func (r *receiver) caughtUp(ctx context.Context, m *message, thread bridge.ThreadID, h homeChannel, accepted bool) error {
	v := r.d.view(thread)
	v.name = r.d.nameOf(ctx, m, h.guild)
	u, ok := convertMessage(m, v)
	if accepted {
		u, ok = convertEdit(m, v)
	}
	if !ok {
		r.skip(m.ID)
		return nil
	}
	return r.accept(ctx, u)
}

// sources returns the places in which something was written since the position: the channel itself, and those of its threads that
// are active, or were archived since.
func (r *receiver) sources(ctx context.Context, h homeChannel) ([]*source, error) {
	var threads []channel
	var main channel
	err := r.d.patiently(ctx, func() (err error) {
		if !h.forum {
			main, err = r.d.homeNow(ctx)
		}
		if err == nil {
			threads, err = r.d.threadsSince(ctx, h, r.pos.upTo)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []*source
	if flake(main.Last) > r.pos.upTo {
		out = append(out, &source{place: r.d.channel, thread: r.d.threadID(""), isHome: true, after: r.pos.upTo, more: true})
	}
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	for _, t := range threads {
		r.d.known.add(t, r.d.channel)
		if flake(t.Last) > r.pos.upTo {
			out = append(out, &source{place: t.ID, thread: r.d.threadID(t.ID), after: r.pos.upTo, more: true})
		}
	}
	return out, nil
}
