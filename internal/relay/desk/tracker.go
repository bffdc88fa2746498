package desk

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

const (
	// tableOpen holds the conversations that are open: key session, value conversation. It follows from the log up to the
	// cursor in tableTracker.
	tableOpen = "open"
	// tableTracker holds, under cursor, the place in the log up to which the conversations are known, and under ordered, that
	// tableWaits and msgmap.Silence have all of them.
	tableTracker   = "watch"
	trackerCursor  = "cursor"
	trackerOrdered = "ordered"
)

// conversation is an open one, from its first message until it is closed, or silent for long.
type conversation struct {
	Last   time.Time  `json:"last"`             // its last message is not later, and not much earlier
	Waits  bridge.Seq `json:"waits,omitempty"`  // the first of the visitor's messages since the last answer; 0: none
	Calls  int        `json:"calls,omitempty"`  // how often operators were called to it since
	Called time.Time  `json:"called,omitzero"`  // the last time
	Words  string     `json:"words,omitempty"`  // how the visitor's last message begins
	Said   string     `json:"said,omitempty"`   // its id
	Told   bool       `json:"told,omitempty"`   // app servers were told that the visitor waits
	Unread []string   `json:"unread,omitempty"` // the visitor's messages that no operator has marked as read, the last ones
}

// maxUnread is how many messages of a conversation can be marked as read at once.
const maxUnread = 50

// transition is what an event does to its conversation.
type transition int

const (
	transitionNone   transition = iota
	transitionAsks              // the visitor's message
	transitionAnswer            // an operator's, or the AI's
	transitionRead
	transitionClose
	transitionOpen
	transitionBlock // nobody has to answer the visitor any more
)

func transitionOf(e bridge.Event) transition {
	if e.Blocked {
		return transitionNone
	}
	switch e.Type {
	case bridge.TypeVisitorMessage:
		switch {
		case e.BySystem():
			return transitionNone
		case e.ByAnother():
			return transitionAnswer
		}
		return transitionAsks
	case bridge.TypeOperatorMessage:
		return transitionAnswer
	case bridge.TypeMessageRead:
		if e.Origin != bridge.OriginApp {
			return transitionRead
		}
	case bridge.TypeSessionClosed:
		return transitionClose
	case bridge.TypeSessionReopened:
		return transitionOpen
	case bridge.TypeVisitorBlocked:
		var body bridge.VisitorBlocked
		if json.Unmarshal(e.Body, &body) == nil && body.Blocked {
			return transitionBlock
		}
	}
	return transitionNone
}

// silent says whether nothing is said by it: it neither begins a conversation nor keeps one open.
func (t transition) silent() bool { return t == transitionRead || t == transitionBlock }

// apply moves the conversation on by an event that is one of its transitions, and says whether it has changed. lag is how much later
// than it was the last message may be said to be. It may be called again with an event.
func (c *conversation) apply(e bridge.Entry, lag time.Duration) (changed bool) {
	at := e.Seq.Time()
	t := transitionOf(e.Event)
	if !t.silent() && at.After(c.Last) {
		c.Last, changed = at.Add(lag).Truncate(time.Second).Add(time.Second), true
	}
	switch t {
	case transitionAsks:
		if c.Waits == 0 {
			c.Waits, changed = e.Seq, true
		}
		if id := e.Event.Message; id != "" && !slices.Contains(c.Unread, id) {
			if len(c.Unread) == maxUnread {
				c.Unread = slices.Delete(c.Unread, 0, 1)
			}
			c.Unread, changed = append(c.Unread, id), true
		}
		if words := wordsOf(e.Event); c.Said != e.Event.Message || c.Words != words {
			c.Said, c.Words, changed = e.Event.Message, words, true
		}
	case transitionAnswer, transitionBlock:
		if c.Waits != 0 {
			c.Waits, c.Calls, c.Called, c.Told, changed = 0, 0, time.Time{}, false, true
		}
	case transitionRead:
		var read bridge.Read
		if json.Unmarshal(e.Event.Body, &read) == nil {
			before := len(c.Unread)
			c.Unread = slices.DeleteFunc(slices.Clone(c.Unread), func(id string) bool { return slices.Contains(read.MessageIDs, id) })
			changed = changed || len(c.Unread) != before
		}
	}
	return changed
}

// conversation returns a session's conversation as it is now: the row, and what has happened since.
func (r *Desk) conversation(ctx context.Context, session string) (conversation, error) {
	var c conversation
	after, err := readCursor(ctx, r.store)
	if err != nil {
		return c, err
	}
	raw, err := r.store.Get(ctx, tableOpen, session)
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return c, err
	}
	for {
		entries, err := r.store.Read(ctx, after, readPage, 0)
		if err != nil || len(entries) == 0 {
			return c, err
		}
		for _, e := range entries {
			after = e.Seq
			switch {
			case e.Event.Session != session:
			case transitionOf(e.Event) == transitionClose:
				c = conversation{}
			default:
				c.apply(e, 0)
			}
		}
	}
}

func readCursor(ctx context.Context, s Store) (bridge.Seq, error) {
	raw, err := s.Get(ctx, tableTracker, trackerCursor)
	if err != nil || raw == nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	return bridge.Seq(n), err
}

// The times and measures of the tracker.
const (
	trackerPause   = 50 * time.Millisecond // between two looks at the log, so that under load each finds much at once
	trackerEntries = 4096                  // of the log, at each
	trackerEvery   = time.Second           // the rows are written no more often
	trackerCursors = 30 * time.Second      // the cursor alone
	trackerEnd     = 2 * time.Second       // for the last write
	trackerPage    = 100                   // rows of one write, about
	trackerLook    = time.Minute           // at least so often who waits is looked at, where somebody may be timed away
	// Silence is known no more exactly than to a part of the time after which it counts, so that not every message is a write.
	silencePart = 100
	closeAtOnce = 20 // threads that are closed for their silence, each watchEvery
)

// idleLook is how often the conversations are looked at where nothing asks for it.
const idleLook = 30 * time.Minute

// conversationTracker follows the log to know which visitors wait for an answer, calls operators to them, reopens what visitors write to
// again, and closes what is silent. One process of several does so, the owner of the callbacks' lane; it works on from the
// cursor of the one before. Accepting an event costs nothing for it. However many conversations are open, it reads those that
// something happens to, and those whose time has come.
type conversationTracker struct {
	desk       *Desk
	lane       Lane
	unanswered time.Duration // until operators are called; 0: never
	timeout    time.Duration // until who should have answered is away; 0: never
	autoClose  time.Duration // of silence; 0: never

	after         bridge.Seq
	saved         bridge.Seq // the cursor in the store
	conversations *conversations
	flushed       time.Time
	due           time.Time       // when to look at who waits; zero: when something happens
	called        time.Time       // when that was done last
	toldTo        bridge.Seq      // up to which of those who wait app servers were told; 0: it is looked for
	lateFrom      string          // where to go on looking for those who have waited for too long; empty: from the beginning
	lateAt        time.Time       // and when
	silence       time.Time       // when to look for silence
	remindersDue  time.Time       // when to look who wanted to be reminded; zero: when somebody does
	ordering      *ordering       // what is left to be put in order; nil: nothing
	offset        time.Duration   // of the store's clock
	indexed       map[string]bool // sessions that are known to be found
}

// run works until ctx ends. A store that fails is tried again every second, and said once.
func (w *conversationTracker) run(ctx context.Context) {
	failing, loaded := false, false
	defer func() {
		if loaded {
			w.end(ctx)
		}
	}()
	for ctx.Err() == nil {
		err := bridge.Protect(w.desk.log, "watch", func() error {
			if !loaded {
				if err := w.load(ctx); err != nil {
					return err
				}
				loaded = true
			}
			return w.round(ctx)
		})
		switch {
		case err == nil:
			failing = false
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, bridge.ErrLeaseLost):
			loaded = false // it is another's now
			<-ctx.Done()
			return
		case !failing:
			w.desk.log.Error("who waits for an answer cannot be followed; trying on", "op", "watch", "err", err)
		}
		failing, loaded = true, false // what is in memory may be ahead of the store
		bridge.Sleep(ctx, time.Second)
	}
}

// end writes what is known, while the lease is held: who comes after has the less to find out.
func (w *conversationTracker) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trackerEnd)
	defer cancel()
	for w.after < w.desk.events.Newest() {
		entries, err := w.desk.events.Next(ctx, w.after, trackerEntries)
		if err != nil {
			return
		}
		if w.followAll(ctx, entries) != nil {
			return
		}
	}
	if len(w.conversations.dirty) > 0 || w.after > w.saved {
		_ = w.flush(ctx) // else it is found out again
	}
}

// load begins where the one before has ended.
func (w *conversationTracker) load(ctx context.Context) error {
	s := w.desk.store
	after, err := readCursor(ctx, s)
	if err != nil {
		return err
	}
	ordered, err := s.Get(ctx, tableTracker, trackerOrdered)
	if err != nil {
		return err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	w.offset = time.Until(now)
	w.after, w.saved = after, after
	w.conversations, w.indexed = newConversations(s), map[string]bool{}
	if w.ordering = nil; ordered == nil {
		w.ordering = &ordering{table: tableOpen}
	}
	w.due, w.silence, w.lateFrom, w.remindersDue = w.now(), w.now(), "", w.now()
	return nil
}

// now is the store's time, as far as it is known without asking.
func (w *conversationTracker) now() time.Time { return time.Now().Add(w.offset) }

// round waits for what happens next, and does what it asks for.
func (w *conversationTracker) round(ctx context.Context) error {
	until := w.now().Add(idleLook)
	if w.ordering != nil {
		until = w.now()
	}
	for _, job := range w.jobs() {
		if !job.at.IsZero() {
			until = earlier(until, job.at)
		}
	}
	waiting, cancel := context.WithTimeout(ctx, max(until.Sub(w.now()), 0))
	entries, err := w.desk.events.Next(waiting, w.after, trackerEntries)
	over := waiting.Err() != nil
	cancel()
	if err != nil && !over {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := w.followAll(ctx, entries); err != nil {
		return err
	}
	switch {
	case len(entries) > 0:
		bridge.Sleep(ctx, trackerPause)
	case w.ordering != nil:
		bridge.Sleep(ctx, orderPause)
	}
	if w.ordering != nil {
		if err := w.putInOrder(ctx); err != nil {
			return err
		}
	}
	return w.onTime(ctx)
}

// job is what the tracker does at a time; zero: there is nothing to do.
type job struct {
	at time.Time
	do func(ctx context.Context) error
}

// jobs are the tracker's, in the order in which they are done.
func (w *conversationTracker) jobs() []job {
	var write, look time.Time
	switch {
	case len(w.conversations.dirty) > 0:
		write = w.flushed.Add(trackerEvery)
	case w.after > w.saved:
		write = w.flushed.Add(trackerCursors)
	}
	if !w.due.IsZero() {
		look = later(w.due, w.called.Add(trackerEvery))
	}
	return []job{{write, w.flush}, {look, w.remind}, {w.remindersDue, w.sendReminders}, {w.silence, w.closeIdle}}
}

// onTime does what the time has come for.
func (w *conversationTracker) onTime(ctx context.Context) error {
	now := w.now()
	for _, job := range w.jobs() {
		if !job.at.IsZero() && !now.Before(job.at) {
			if err := job.do(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// followAll follows events of the log.
func (w *conversationTracker) followAll(ctx context.Context, entries []bridge.Entry) error {
	var sessions []string
	closes := map[string]bool{}
	for _, e := range entries {
		t := transitionOf(e.Event)
		if t != transitionNone && e.Event.Session != "" {
			sessions = append(sessions, e.Event.Session)
		}
		if t == transitionClose && e.Event.Origin != bridge.OriginApp {
			closes[e.Event.Session] = true
		}
	}
	loaded, err := w.conversations.load(ctx, sessions...)
	if err != nil {
		return err
	}
	for _, c := range loaded {
		c.closed = c.closed && !closes[c.session] // else its time comes
	}
	if err := w.indexAll(ctx, entries); err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.follow(ctx, e); err != nil {
			return err
		}
		w.after = e.Seq
	}
	return nil
}

// follow follows one event.
func (w *conversationTracker) follow(ctx context.Context, e bridge.Entry) error {
	session := e.Event.Session
	if e.Event.Type == bridge.TypeOperatorStatus {
		w.soon(w.now()) // who waits may have somebody to be answered by
		return nil
	}
	if isReminder(e.Event) {
		w.remindersDue = w.now()
	}
	t := transitionOf(e.Event)
	if t == transitionNone || session == "" {
		return nil
	}
	c, err := w.conversations.get(ctx, session)
	if err != nil {
		return err
	}
	switch {
	case t == transitionClose:
		c.closed = c.closed || e.Event.Origin != bridge.OriginApp
		if c.open {
			w.conversations.drop(c)
		}
		return nil
	case t == transitionOpen:
		c.closed = false
	case t == transitionAsks && c.closed:
		if err := w.reopen(ctx, e, c); err != nil {
			return err
		}
	}
	if !c.open {
		if t.silent() {
			return nil
		}
		c.open = true
		if w.autoClose > 0 && w.silence.IsZero() {
			w.silence = w.now().Add(w.autoClose)
		}
	}
	waited := c.Waits
	if c.apply(e, w.lag()) {
		w.conversations.changed(c)
	}
	if c.Waits == 0 || c.Waits == waited {
		return nil
	}
	if at := w.remindAt(c.conversation); !at.IsZero() {
		w.soon(at)
	}
	if w.timeout > 0 {
		w.soon(c.Waits.Time().Add(w.timeout))
	}
	return nil
}

// lag is how much later than it was a conversation's last message may be said to be.
func (w *conversationTracker) lag() time.Duration {
	if w.autoClose <= 0 {
		return time.Hour
	}
	return w.autoClose / silencePart
}

// soon makes who waits be looked at, no later than at the given time.
func (w *conversationTracker) soon(at time.Time) {
	if w.due.IsZero() || at.Before(w.due) {
		w.due = at
	}
}

// flush writes the rows that have changed, and the cursor.
func (w *conversationTracker) flush(ctx context.Context) error {
	b := bridge.Batch{Lease: w.lane.Lease()}
	var written []*tracked
	write := func() error {
		_, err := w.desk.commit(ctx, b)
		if err == nil {
			w.conversations.written(written...)
			written, b.Rows = nil, nil
		}
		return err
	}
	for _, c := range w.conversations.dirty {
		b.Rows, written = append(b.Rows, c.rows(w.ordering != nil)...), append(written, c)
		if len(b.Rows) >= trackerPage {
			if err := write(); err != nil {
				return err
			}
		}
	}
	// The cursor goes with the last ones: what is ahead of it is found again.
	cursor := []byte(strconv.FormatUint(uint64(w.after), 10))
	b.Rows = append(b.Rows, bridge.Row{Table: tableTracker, Key: trackerCursor, Value: cursor})
	if err := write(); err != nil {
		return err
	}
	w.saved, w.flushed = w.after, w.now()
	return nil
}

// reopen tells that a visitor has written to a session that an operator had closed.
func (w *conversationTracker) reopen(ctx context.Context, e bridge.Entry, of *tracked) error {
	session := e.Event.Session
	c, raw, err := msgmap.Row[closedBy](ctx, w.desk.store, tableClosed, session)
	if err != nil {
		return err
	}
	if c != nil {
		if !c.At.Before(e.Seq.Time()) {
			return nil // it was closed again since
		}
		_, err = w.desk.commit(ctx, bridge.Batch{
			Claims: []bridge.Claim{{Key: "reopened/" + e.Seq.String()}},
			If:     []bridge.Row{{Table: tableClosed, Key: session, Value: raw}},
			Lease:  w.lane.Lease(),
			Rows:   []bridge.Row{{Table: tableClosed, Key: session}},
			Events: []bridge.Event{{
				Type: bridge.TypeSessionReopened, Origin: bridge.OriginBridge, Session: session,
				Body: bridge.MustJSON(bridge.SessionClosed{SessionID: session, SourceBridge: "api"}), // the visitor came by it
			}},
		})
		if err != nil && !errors.Is(err, bridge.ErrChanged) { // an operator was faster
			return err
		}
	}
	of.closed = false
	return nil
}
