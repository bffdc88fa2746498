// Package bridgetest holds what the tests of several packages share: one suite that every platform's adapter passes, and a
// chat platform in memory for the tests of what stands behind the adapters. It knows the words of package bridge and no
// platform; it is imported by tests only.
package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// The calls of a Platform, as Call.Op, Fail, Hook and Hold name them.
const (
	OpOpenThread   = "OpenThread"
	OpSend         = "Send"
	OpRenameThread = "RenameThread"
	OpReopenThread = "ReopenThread"
	OpMove         = "Move"
	OpCloseThread  = "CloseThread"
	OpEdit         = "Edit"
	OpDelete       = "Delete"
	OpUpload       = "Upload"
	OpReact        = "React"
	OpShowTyping   = "ShowTyping"
	OpOpenFile     = "OpenFile"
	OpListen       = "Listen"
)

// Call is one call that a Platform got.
type Call struct {
	Op      string
	Session string          // of OpenThread
	Steps   []string        // of OpenThread: the results of the steps before
	Thread  bridge.ThreadID // given to the call; of OpenThread: its result
	Part    bridge.Part     // of Send, Edit and Upload
	Text    string          // of Send and Edit: Part.Text; of OpenThread and RenameThread: the name; of Move: the place; of React: the sign
	IDs     []bridge.MessageID
	At      time.Time // when it began
	Ended   bool
	Err     error // its answer
}

// Platform is a chat platform in memory: it keeps what it was sent, records every call in the order in which they began and
// fails as the test says. It is a Platform with all optional interfaces; wrap it in a struct{ bridge.Platform } for one
// without. The fields are set before it is used; all methods may be called from several goroutines.
type Platform struct {
	Called    string        // its name; NewPlatform sets it
	Bears     bridge.Limits // what Limits returns
	OpenSteps int           // calls of OpenThread that a thread takes; 0 is 1
	PartSize  int           // Render splits a text after as many characters; 0: never
	Caption   int           // how many characters a text has at most that goes with a file; 0: none does
	Markup    bool          // Render wraps texts in asterisks, and gives the plain form beside it
	Flat      bool          // it has no threads: OpenThread names a place and its updates are flat

	mu      sync.Mutex
	changed chan struct{} // closed and renewed at every change
	calls   []*Call
	running int
	most    int
	queued  map[string][]error
	hooks   map[string]func(context.Context, Call) error
	threads map[bridge.ThreadID]*threadState
	opened  int
	sent    int
	files   map[string][]byte
	signs   map[bridge.MessageID]bridge.Sign
	updates []bridge.Update
	acked   int
}

type threadState struct {
	name         string
	gone, closed bool
	shown        []Shown
}

var (
	_ bridge.Platform       = (*Platform)(nil)
	_ bridge.ThreadRenamer  = (*Platform)(nil)
	_ bridge.ThreadReopener = (*Platform)(nil)
	_ bridge.Mover          = (*Platform)(nil)
	_ bridge.Listener       = (*Platform)(nil)
	_ bridge.ThreadCloser   = (*Platform)(nil)
	_ bridge.Editor         = (*Platform)(nil)
	_ bridge.Deleter        = (*Platform)(nil)
	_ bridge.Uploader       = (*Platform)(nil)
	_ bridge.Reactor        = (*Platform)(nil)
	_ bridge.Typer          = (*Platform)(nil)
	_ bridge.FileSource     = (*Platform)(nil)
	_ bridge.MainPlace      = (*Platform)(nil)
	_ bridge.FlatPlace      = (*Platform)(nil)
)

// NewPlatform returns a platform on which everything works.
func NewPlatform(name string) *Platform {
	return &Platform{
		Called:  name,
		changed: make(chan struct{}),
		queued:  map[string][]error{},
		hooks:   map[string]func(context.Context, Call) error{},
		threads: map[bridge.ThreadID]*threadState{"main": {}},
		files:   map[string][]byte{},
		signs:   map[bridge.MessageID]bridge.Sign{},
	}
}

// Fail makes the next calls of op end with these errors, one call each, in this order; a nil is a call that works. Such a
// call has no effect, unless its error is one of After.
func (p *Platform) Fail(op string, errs ...error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued[op] = append(p.queued[op], errs...)
}

// After returns err as the answer of a call that took effect all the same: its answer was lost on the way.
func After(err error) error { return &afterEffect{err} }

type afterEffect struct{ err error }

func (a *afterEffect) Error() string { return a.err.Error() }

// Hook calls f at the beginning of every call of op, in the goroutine of the call; it may block, and a non-nil error is the
// call's answer. A nil f takes the hook away.
func (p *Platform) Hook(op string, f func(ctx context.Context, c Call) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f == nil {
		delete(p.hooks, op)
		return
	}
	p.hooks[op] = f
}

// Hold makes every call of op wait until release is called, or its context ends; then it is unconfirmed. release may be
// called more than once. It replaces the hook of op.
func (p *Platform) Hold(op string) (release func()) {
	open := make(chan struct{})
	p.Hook(op, func(ctx context.Context, _ Call) error {
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return &bridge.DeliveryError{Reason: bridge.ReasonUnconfirmed, Op: op, Detail: "cancelled while it was held"}
		}
	})
	return sync.OnceFunc(func() {
		p.Hook(op, nil)
		close(open)
	})
}

// Calls returns the calls so far, of the named ops or of all but Listen, in the order in which they began.
func (p *Platform) Calls(ops ...string) []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.callsLocked(ops)
}

func (p *Platform) callsLocked(ops []string) []Call {
	var out []Call
	for _, c := range p.calls {
		if len(ops) == 0 && c.Op != OpListen || slices.Contains(ops, c.Op) {
			out = append(out, *c)
		}
	}
	return out
}

// Texts returns the texts that a thread shows, in their order.
func (p *Platform) Texts(id bridge.ThreadID) []string {
	var out []string
	for _, s := range p.Shown(id) {
		out = append(out, s.Text)
	}
	return out
}

// Shown returns what a thread shows, also of one that is gone.
func (p *Platform) Shown(id bridge.ThreadID) []Shown {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.threads[id]; t != nil {
		return slices.Clone(t.shown)
	}
	return nil
}

// Threads returns the threads of a session, oldest first, gone ones too.
func (p *Platform) Threads(session string) []bridge.ThreadID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []bridge.ThreadID
	for _, c := range p.calls {
		if c.Op == OpOpenThread && c.Thread != "" && c.Session == session && !slices.Contains(out, c.Thread) {
			out = append(out, c.Thread)
		}
	}
	return out
}

// NameOf returns a thread's present name.
func (p *Platform) NameOf(id bridge.ThreadID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.threads[id]; t != nil {
		return t.name
	}
	return ""
}

// DeleteThread deletes a thread by hand: calls to it fail with thread_gone.
func (p *Platform) DeleteThread(id bridge.ThreadID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.threads[id]; t != nil {
		t.gone = true
	}
}

// ShutThread closes a thread by hand: sends to it fail with closed.
func (p *Platform) ShutThread(id bridge.ThreadID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.threads[id]; t != nil {
		t.closed = true
	}
}

// Most returns how many calls, other than Listen, were under way at the same time at most.
func (p *Platform) Most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

// WaitFor returns once cond holds for the calls so far (all but Listen); it looks again after every beginning and end of a
// call and every acknowledgement. It fails the test when that takes longer than within.
func (p *Platform) WaitFor(t testing.TB, within time.Duration, cond func(calls []Call) bool) {
	t.Helper()
	end := time.NewTimer(within)
	defer end.Stop()
	for {
		p.mu.Lock()
		calls, changed := p.callsLocked(nil), p.changed
		p.mu.Unlock()
		if cond(calls) {
			return
		}
		select {
		case <-changed:
		case <-end.C:
			for _, c := range calls {
				t.Logf("call %s session %q thread %q text %q ended %t err %v", c.Op, c.Session, c.Thread, c.Text, c.Ended, c.Err)
			}
			t.Fatal("what was waited for did not happen")
		}
	}
}

// WaitSent returns once n sends have succeeded.
func (p *Platform) WaitSent(t testing.TB, within time.Duration, n int) {
	t.Helper()
	p.WaitFor(t, within, func(calls []Call) bool {
		done := 0
		for _, c := range calls {
			if c.Op == OpSend && c.Ended && c.Err == nil {
				done++
			}
		}
		return done >= n
	})
}

// Tell queues what an operator did. An empty ID or Cursor is filled with the update's number; Listen hands updates to the
// inbox in this order.
func (p *Platform) Tell(u bridge.Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := strconv.Itoa(len(p.updates) + 1)
	if u.ID == "" {
		u.ID = p.Called + ":" + n
	}
	if u.Cursor == "" {
		u.Cursor = n
	}
	p.updates = append(p.updates, u)
	p.changeLocked()
}

// Say queues a message that an operator wrote in a thread and returns its id on the platform.
func (p *Platform) Say(id bridge.ThreadID, author, text string) bridge.MessageID {
	return p.say(id, author, text, "")
}

func (p *Platform) say(id bridge.ThreadID, author, text string, replyTo bridge.MessageID) bridge.MessageID {
	p.mu.Lock()
	p.sent++
	message := bridge.MessageID(strconv.Itoa(p.sent))
	p.mu.Unlock()
	p.Tell(bridge.Update{Kind: bridge.UpdateMessage, Thread: id, Flat: p.Flat, Message: message, ReplyTo: replyTo,
		Author: bridge.Author{ID: "u-" + author, Name: author}, Text: text})
	return message
}

// Acknowledged returns how many updates were acknowledged.
func (p *Platform) Acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

// Rewind forgets all acknowledgements but the first n, as a platform does that did not learn of them.
func (p *Platform) Rewind(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = min(n, p.acked)
	p.changeLocked()
}

func (p *Platform) changeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// call records a call and runs do, unless the test wants it to fail.
func (p *Platform) call(ctx context.Context, c Call, do func(*Call) error) error {
	p.mu.Lock()
	c.At = time.Now()
	rec := &c
	p.calls = append(p.calls, rec)
	if c.Op != OpListen {
		p.running++
		p.most = max(p.most, p.running)
	}
	hook := p.hooks[c.Op]
	seen := c
	p.changeLocked()
	p.mu.Unlock()

	var err error
	panicked := true
	defer func() {
		if panicked && c.Op != OpListen {
			p.mu.Lock()
			p.running--
			p.mu.Unlock()
		}
	}()
	if hook != nil {
		err = hook(ctx, seen)
	}
	panicked = false

	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		if q := p.queued[c.Op]; len(q) > 0 {
			err, p.queued[c.Op] = q[0], q[1:]
		}
	}
	lost, took := errors.AsType[*afterEffect](err)
	switch {
	case took:
		if err = do(rec); err == nil {
			err = lost.err
		}
	case err == nil:
		err = do(rec)
	}
	rec.Ended, rec.Err = true, err
	if c.Op != OpListen {
		p.running--
	}
	p.changeLocked()
	return err
}

// Name implements bridge.Platform.
func (p *Platform) Name() string { return p.Called }

// Limits implements bridge.Platform.
func (p *Platform) Limits() bridge.Limits { return p.Bears }

// Render implements bridge.Platform: the card is a first line, [card <visitor>], an author or a visitor stands before the
// text, a quote, [quote <text>], before that, and links follow as lines, [file <name>]. Each file is a part of its own, but that a short
// text goes with the first.
func (p *Platform) Render(m bridge.Outgoing) (all []bridge.Part) {
	var b strings.Builder
	if m.Card != nil {
		fmt.Fprintf(&b, "[card %s]\n", m.Card.DisplayName())
	}
	if (p.Flat || isFlat(m.Thread)) && m.Visitor != "" {
		b.WriteString(m.Visitor + ": ")
	}
	if m.Author != "" {
		b.WriteString(m.Author + ": ")
	}
	if m.Quote != nil {
		fmt.Fprintf(&b, "[quote %s]", m.Quote.Text)
	}
	for _, id := range m.Mention {
		fmt.Fprintf(&b, "@%s ", id)
	}
	b.WriteString(m.Text)
	for _, f := range m.Links {
		fmt.Fprintf(&b, "\n[file %s]", f.Filename)
	}
	var parts []bridge.Part
	defer func() {
		files := m.Files
		if len(parts) == 1 && len(files) > 0 && !m.Apart && m.Card == nil && utf8.RuneCountInString(parts[0].Text) <= p.Caption {
			parts[0].Files, parts[0].Caption, files = files[:1], true, files[1:]
		}
		for _, f := range files {
			part := bridge.Part{Files: []bridge.Attachment{f}, Silent: m.Kind == bridge.KindNotice}
			if len(parts) == 0 {
				part.ReplyTo = m.ReplyTo
			}
			parts = append(parts, part)
		}
		all = parts
	}()
	if b.Len() == 0 && len(m.Files) > 0 {
		return nil
	}
	for rest := []rune(b.String()); ; {
		n := len(rest)
		if p.PartSize > 0 {
			n = min(n, p.PartSize)
		}
		if m.Caption {
			n = min(n, p.Caption)
		}
		part := bridge.Part{Text: string(rest[:n]), Silent: m.Kind == bridge.KindNotice, Mention: m.Mention, Caption: m.Caption}
		if p.Markup {
			part.Text, part.Plain = "*"+part.Text+"*", part.Text
		}
		if len(parts) == 0 {
			part.ReplyTo, part.Excerpt = m.ReplyTo, m.Excerpt
		}
		parts = append(parts, part)
		if rest = rest[n:]; len(rest) == 0 {
			return parts
		}
	}
}

// OpenThread implements bridge.Platform. A step that is not the last gives step-<n>; a thread's id tells its session and
// how many were opened before it.
func (p *Platform) OpenThread(ctx context.Context, s *bridge.Session, o bridge.Opening) (bridge.ThreadID, string, error) {
	var id bridge.ThreadID
	var step string
	err := p.call(ctx, Call{Op: OpOpenThread, Session: s.ID, Steps: slices.Clone(o.Done), Text: p.ThreadName(s)}, func(c *Call) error {
		if len(o.Done)+1 < p.OpenSteps {
			step = "step-" + strconv.Itoa(len(o.Done)+1)
			return nil
		}
		p.opened++
		id = bridge.ThreadID("thread-" + s.ID + "-" + strconv.Itoa(p.opened))
		p.threads[id] = &threadState{name: p.ThreadName(s)}
		c.Thread = id
		return nil
	})
	if err != nil {
		return "", "", err
	}
	return id, step, nil
}

// Send implements bridge.Platform. An unknown thread is thread_gone.
func (p *Platform) Send(ctx context.Context, id bridge.ThreadID, part bridge.Part) ([]bridge.MessageID, error) {
	var ids []bridge.MessageID
	err := p.call(ctx, Call{Op: OpSend, Thread: id, Part: part, Text: part.Text}, func(c *Call) error {
		t := p.threads[id]
		if t == nil && isFlat(id) {
			t = &threadState{}
			p.threads[id] = t
		}
		switch {
		case t == nil || t.gone:
			return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: OpSend, Detail: "there is no such thread"}
		case t.closed:
			return &bridge.DeliveryError{Reason: bridge.ReasonClosed, Op: OpSend, Detail: "the thread is closed"}
		}
		p.sent++
		ids = []bridge.MessageID{bridge.MessageID(strconv.Itoa(p.sent))}
		c.IDs = ids
		t.shown = append(t.shown, Shown{ID: ids[0], Text: part.Text, ReplyTo: part.ReplyTo, Excerpt: part.Excerpt, Silent: part.Silent, Pings: part.Mention})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// FlatThread implements bridge.FlatPlace: a place of its own, which only a session without a thread has.
func (p *Platform) FlatThread(session string) bridge.ThreadID {
	return bridge.ThreadID("flat-" + session)
}

// FlatReply implements bridge.FlatPlace.
func (p *Platform) FlatReply(u bridge.Update) bridge.MessageID {
	if u.Thread != p.MainThread() {
		return ""
	}
	return u.ReplyTo
}

func isFlat(id bridge.ThreadID) bool { return strings.HasPrefix(string(id), "flat-") }

// ThreadName implements bridge.ThreadRenamer.
func (p *Platform) ThreadName(s *bridge.Session) string { return s.DisplayName() }

// RenameThread implements bridge.ThreadRenamer.
func (p *Platform) RenameThread(ctx context.Context, id bridge.ThreadID, name string) error {
	return p.call(ctx, Call{Op: OpRenameThread, Thread: id, Text: name}, func(*Call) error {
		t := p.threads[id]
		if t == nil || t.gone {
			return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: OpRenameThread, Detail: "there is no such thread"}
		}
		t.name = name
		return nil
	})
}

// ReopenThread implements bridge.ThreadReopener.
func (p *Platform) ReopenThread(ctx context.Context, id bridge.ThreadID) error {
	return p.call(ctx, Call{Op: OpReopenThread, Thread: id}, func(*Call) error {
		t := p.threads[id]
		if t == nil || t.gone {
			return &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: OpReopenThread, Detail: "there is no such thread"}
		}
		t.closed = false
		return nil
	})
}

// Move implements bridge.Mover.
func (p *Platform) Move(to string) error {
	return p.call(context.Background(), Call{Op: OpMove, Text: to}, func(*Call) error { return nil })
}

// Listen implements bridge.Listener. It begins behind the update whose Cursor the inbox has, or with the first that is not
// acknowledged; it ends with ctx.Err(), with the error of Fail or Hook, or with what Accept returned.
func (p *Platform) Listen(ctx context.Context, inbox bridge.Inbox) error {
	if err := p.call(ctx, Call{Op: OpListen}, func(*Call) error { return nil }); err != nil {
		return err
	}
	cursor, err := inbox.Cursor(ctx, "")
	if err != nil {
		return err
	}
	p.mu.Lock()
	next := p.acked
	for i, u := range p.updates {
		if u.Cursor == cursor && cursor != "" {
			next = max(next, i+1)
		}
	}
	p.mu.Unlock()
	for {
		p.mu.Lock()
		var u *bridge.Update
		if next = min(next, len(p.updates)); next < len(p.updates) {
			u = &p.updates[next]
		}
		changed := p.changed
		p.mu.Unlock()
		if u == nil {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
			}
			continue
		}
		if err := inbox.Accept(ctx, *u); err != nil {
			return err
		}
		next++
		p.mu.Lock()
		p.acked = max(p.acked, next)
		p.changeLocked()
		p.mu.Unlock()
	}
}
