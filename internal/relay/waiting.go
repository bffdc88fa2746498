package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	// tableOpen holds the conversations that are open: key session, value conversation. It follows from the log up to the
	// cursor in tableWatch.
	tableOpen = "open"
	// tableWatch holds, under cursor, the place in the log up to which the conversations are known, and under sum, what
	// operators are told of all of them.
	tableWatch  = "watch"
	watchCursor = "cursor"
	watchSum    = "sum"
	// tableAnnounced holds the sessions whose thread was opened before their first message: key session, value when.
	tableAnnounced = "announced"
)

// conversation is an open one, from its first message until it is closed, or silent for long.
type conversation struct {
	Last   time.Time  `json:"last"`             // its last message is not later, and not much earlier
	Waits  bridge.Seq `json:"waits,omitempty"`  // the first of the visitor's messages since the last answer; 0: none
	Calls  int        `json:"calls,omitempty"`  // how often operators were called to it since
	Called time.Time  `json:"called,omitzero"`  // the last time
	Unread []string   `json:"unread,omitempty"` // the visitor's messages that no operator has marked as read, the last ones
}

// maxUnread is how many messages of a conversation can be marked as read at once.
const maxUnread = 50

// turn is what an event does to its conversation.
type turn int

const (
	turnNone   turn = iota
	turnAsks        // the visitor's message
	turnAnswer      // an operator's, or the AI's
	turnRead
	turnClose
	turnOpen
)

func turnOf(e bridge.Event) turn {
	switch e.Type {
	case bridge.TypeVisitorMessage:
		if byAnother(e.Body) {
			return turnAnswer
		}
		return turnAsks
	case bridge.TypeOperatorMessage:
		return turnAnswer
	case bridge.TypeMessageRead:
		if e.Origin != bridge.OriginApp {
			return turnRead
		}
	case bridge.TypeSessionClosed:
		return turnClose
	case bridge.TypeSessionReopened:
		return turnOpen
	}
	return turnNone
}

// byAnother says whether a visitor_message is not the visitor's. Most do not even have the word.
func byAnother(body []byte) bool {
	if !bytes.Contains(body, []byte(`"ai"`)) && !bytes.Contains(body, []byte(`"operator"`)) {
		return false
	}
	var e bridge.AppEvent
	return json.Unmarshal(body, &e) == nil && e.Message != nil &&
		(e.Message.Sender == bridge.SenderAI || e.Message.Sender == bridge.SenderOperator)
}

// take moves the conversation on by an event that is one of its turns, and says whether it has changed. lag is how much later
// than it was the last message may be said to be. It may be called again with an event.
func (c *conversation) take(e bridge.Entry, lag time.Duration) (changed bool) {
	at := e.Seq.Time()
	t := turnOf(e.Event)
	if t != turnRead && at.After(c.Last) {
		c.Last, changed = at.Add(lag).Truncate(time.Second).Add(time.Second), true
	}
	switch t {
	case turnAsks:
		if c.Waits == 0 {
			c.Waits, changed = e.Seq, true
		}
		if id := e.Event.Message; id != "" && !slices.Contains(c.Unread, id) {
			if len(c.Unread) == maxUnread {
				copy(c.Unread, c.Unread[1:])
				c.Unread = c.Unread[:maxUnread-1]
			}
			c.Unread, changed = append(c.Unread, id), true
		}
	case turnAnswer:
		if c.Waits != 0 {
			c.Waits, c.Calls, c.Called, changed = 0, 0, time.Time{}, true
		}
	case turnRead:
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
func (r *Relay) conversation(ctx context.Context, session string) (conversation, error) {
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
		entries, err := r.store.Read(ctx, after, tailPage, 0)
		if err != nil || len(entries) == 0 {
			return c, err
		}
		for _, e := range entries {
			after = e.Seq
			switch {
			case e.Event.Session != session:
			case turnOf(e.Event) == turnClose:
				c = conversation{}
			default:
				c.take(e, 0)
			}
		}
	}
}

func readCursor(ctx context.Context, s Store) (bridge.Seq, error) {
	raw, err := s.Get(ctx, tableWatch, watchCursor)
	if err != nil || raw == nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	return bridge.Seq(n), err
}

// sum is what operators are told of all conversations.
type sum struct {
	Open    int       `json:"open"`
	Waiting int       `json:"waiting"`
	Longest []waiting `json:"longest,omitempty"` // first; not all
}

type waiting struct {
	Session string     `json:"session"`
	Since   bridge.Seq `json:"since"`
}

// The times and measures of the watch.
const (
	watchPause   = 50 * time.Millisecond // between two looks at the log, so that under load each finds much at once
	watchEntries = 4096                  // of the log, at each
	watchEvery   = time.Second           // the rows are written no more often
	watchCursors = 30 * time.Second      // the cursor alone
	watchEnd     = 2 * time.Second       // for the last write
	watchPage    = 256                   // rows of one write
	watchLook    = time.Minute           // at least so often who waits is looked at, where somebody may be timed away
	sumLongest   = 50                    // conversations that the sum names
	sumShown     = 5                     // and that operators are told of
	// Silence is known no more exactly than to a part of the time after which it counts, so that not every message is a write.
	silencePart = 100
	closeAtOnce = 20 // threads that are closed for their silence, each watchEvery
)

// watch follows the log to know which visitors wait for an answer, calls operators to them, reopens what visitors write to
// again, and closes what is silent. One process of several does so, the owner of the callbacks' lane; it works on from the
// cursor of the one before. Accepting an event costs nothing for it.
type watch struct {
	relay      *Relay
	lane       *lane
	unanswered time.Duration // until operators are called; 0: never
	timeout    time.Duration // until who should have answered is away; 0: never
	autoClose  time.Duration // of silence; 0: never

	after   bridge.Seq
	saved   bridge.Seq // the cursor in the store
	open    map[string]*followed
	waiting map[string]bool // of open, those that wait
	closed  map[string]bool // sessions that operators have closed
	dirty   map[string]bool // sessions whose row is not what the store has
	flushed time.Time
	due     time.Time // when to look at who waits; zero: when something happens
	called  time.Time // when that was done last
	silence time.Time // when to look for silence
	tidied  time.Time
	offset  time.Duration // of the store's clock
}

// followed is a conversation in memory. The unread messages of one that is quiet are in the store alone.
type followed struct {
	conversation
	parked bool
}

// run works until ctx ends. A store that fails is tried again every second, and said once.
func (w *watch) run(ctx context.Context) {
	failing, loaded := false, false
	defer func() {
		if loaded {
			w.end(ctx)
		}
	}()
	for ctx.Err() == nil {
		err := error(nil)
		if !loaded {
			err = w.load(ctx)
			loaded = err == nil
		}
		if err == nil {
			err = w.round(ctx)
		}
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
			w.relay.log.Error("who waits for an answer cannot be followed; trying on", "op", "watch", "err", err)
		}
		failing, loaded = true, false // what is in memory may be ahead of the store
		sleep(ctx, time.Second)
	}
}

// end writes what is known, while the lease is held: who comes after has the less to find out.
func (w *watch) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watchEnd)
	defer cancel()
	for w.after < w.relay.tail.Newest() {
		entries, err := w.relay.tail.Next(ctx, w.after, watchEntries)
		if err != nil {
			return
		}
		for _, e := range entries {
			if w.take(ctx, e) != nil {
				return
			}
			w.after = e.Seq
		}
	}
	if len(w.dirty) > 0 || w.after > w.saved {
		_ = w.flush(ctx) // else it is found out again
	}
}

// load reads what is known up to the cursor.
func (w *watch) load(ctx context.Context) error {
	s := w.relay.store
	after, err := readCursor(ctx, s)
	if err != nil {
		return err
	}
	rows, err := s.List(ctx, tableOpen)
	if err != nil {
		return err
	}
	shut, err := s.List(ctx, tableClosed)
	if err != nil {
		return err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	w.offset = time.Until(now)
	w.after, w.saved = after, after
	w.open, w.waiting = make(map[string]*followed, len(rows)), map[string]bool{}
	w.closed, w.dirty = make(map[string]bool, len(shut)), map[string]bool{}
	for _, row := range rows {
		c := &followed{}
		if err := json.Unmarshal(row.Value, &c.conversation); err != nil {
			return fmt.Errorf("row %s of session %s: %w", tableOpen, row.Key, err)
		}
		w.open[row.Key] = c
		if c.Waits != 0 {
			w.waiting[row.Key] = true
		}
	}
	for _, row := range shut {
		w.closed[row.Key] = true
	}
	if err := w.notYetClosed(ctx); err != nil {
		return err
	}
	w.due, w.silence, w.tidied = w.now(), w.now(), w.now()
	return nil
}

// notYetClosed takes out of the closed sessions those that are closed behind the cursor: their time comes.
func (w *watch) notYetClosed(ctx context.Context) error {
	for after := w.after; len(w.closed) > 0; {
		entries, err := w.relay.store.Read(ctx, after, tailPage, 0)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if after = e.Seq; turnOf(e.Event) == turnClose && e.Event.Origin != bridge.OriginApp {
				delete(w.closed, e.Event.Session)
			}
		}
	}
	return nil
}

// now is the store's time, as far as it is known without asking.
func (w *watch) now() time.Time { return time.Now().Add(w.offset) }

// round waits for what happens next, and does what it asks for.
func (w *watch) round(ctx context.Context) error {
	until := w.tidied.Add(tidyEvery)
	if !w.due.IsZero() {
		until = earlier(until, later(w.due, w.called.Add(watchEvery)))
	}
	if !w.silence.IsZero() {
		until = earlier(until, w.silence)
	}
	if len(w.dirty) > 0 {
		until = earlier(until, w.flushed.Add(watchEvery))
	}
	if w.after > w.saved {
		until = earlier(until, w.flushed.Add(watchCursors))
	}
	waiting, cancel := context.WithTimeout(ctx, max(until.Sub(w.now()), 0))
	entries, err := w.relay.tail.Next(waiting, w.after, watchEntries)
	over := waiting.Err() != nil
	cancel()
	if err != nil && !over {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range entries {
		if err := w.take(ctx, e); err != nil {
			return err
		}
		w.after = e.Seq
	}
	if len(entries) > 0 {
		sleep(ctx, watchPause)
	}
	now := w.now()
	if len(w.dirty) > 0 && !now.Before(w.flushed.Add(watchEvery)) || w.after > w.saved && !now.Before(w.flushed.Add(watchCursors)) {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if !w.due.IsZero() && !now.Before(later(w.due, w.called.Add(watchEvery))) {
		if err := w.call(ctx); err != nil {
			return err
		}
	}
	if !w.silence.IsZero() && !now.Before(w.silence) {
		if err := w.hush(ctx); err != nil {
			return err
		}
	}
	if !now.Before(w.tidied.Add(tidyEvery)) {
		w.tidy(now)
	}
	return nil
}

// take follows one event.
func (w *watch) take(ctx context.Context, e bridge.Entry) error {
	session := e.Event.Session
	if e.Event.Type == bridge.TypeOperatorStatus {
		w.soon(w.now()) // who waits may have somebody to be answered by
		return nil
	}
	t := turnOf(e.Event)
	if t == turnNone || session == "" {
		return nil
	}
	if t == turnClose {
		if e.Event.Origin != bridge.OriginApp {
			w.closed[session] = true
		}
		w.drop(session)
		return nil
	}
	if t == turnOpen {
		delete(w.closed, session)
	}
	if t == turnAsks && w.closed[session] {
		if err := w.reopen(ctx, e); err != nil {
			return err
		}
	}
	c := w.open[session]
	if c == nil {
		if t == turnRead {
			return nil
		}
		c = &followed{}
		w.open[session] = c
		if w.autoClose > 0 && w.silence.IsZero() {
			w.silence = w.now().Add(w.autoClose)
		}
	}
	if err := w.whole(ctx, session, c); err != nil {
		return err
	}
	if c.take(e, w.lag()) {
		w.dirty[session] = true
	}
	if c.Waits == 0 {
		delete(w.waiting, session)
		return nil
	}
	if !w.waiting[session] {
		w.waiting[session] = true
		if at := w.callAt(c); !at.IsZero() {
			w.soon(at)
		}
		if w.timeout > 0 {
			w.soon(c.Waits.Time().Add(w.timeout))
		}
	}
	return nil
}

// lag is how much later than it was a conversation's last message may be said to be.
func (w *watch) lag() time.Duration {
	if w.autoClose <= 0 {
		return time.Hour
	}
	return w.autoClose / silencePart
}

// soon makes who waits be looked at, no later than at the given time.
func (w *watch) soon(at time.Time) {
	if w.due.IsZero() || at.Before(w.due) {
		w.due = at
	}
}

// drop ends a conversation.
func (w *watch) drop(session string) {
	if w.open[session] != nil {
		delete(w.open, session)
		delete(w.waiting, session)
		w.dirty[session] = true
	}
}

// whole gets the unread messages of a conversation that was quiet.
func (w *watch) whole(ctx context.Context, session string, c *followed) error {
	if !c.parked {
		return nil
	}
	raw, err := w.relay.store.Get(ctx, tableOpen, session)
	var row conversation
	if err == nil && raw != nil {
		err = json.Unmarshal(raw, &row)
	}
	if err != nil {
		return err
	}
	c.Unread, c.parked = row.Unread, false
	return nil
}

// tidy drops from memory what is hardly needed: the unread messages of the quiet, and sessions that the store has forgotten.
func (w *watch) tidy(now time.Time) {
	w.tidied = now
	open := make(map[string]*followed, len(w.open)) // a map only ever grows
	for session, c := range w.open {
		quiet := now.Sub(c.Last)
		switch {
		case w.dirty[session]:
		case w.relay.kept > 0 && quiet > max(w.relay.kept, silentFor):
			delete(w.waiting, session)
			continue
		case quiet > tidyEvery && len(c.Unread) > 0:
			c.Unread, c.parked = nil, true
		}
		open[session] = c
	}
	w.open = open
}

// flush writes the rows that have changed, the cursor, and the sum.
func (w *watch) flush(ctx context.Context) error {
	var rows []bridge.Row
	for session := range w.dirty {
		if session == "" {
			continue // the sum alone has changed
		}
		row := bridge.Row{Table: tableOpen, Key: session, Session: session}
		if c := w.open[session]; c != nil {
			if err := w.whole(ctx, session, c); err != nil {
				return err
			}
			row.Value = mustJSON(c.conversation)
		}
		rows = append(rows, row)
	}
	cursor := []byte(strconv.FormatUint(uint64(w.after), 10))
	rows = append(rows, w.sum(), bridge.Row{Table: tableWatch, Key: watchCursor, Value: cursor})
	// The cursor goes with the last ones: what is ahead of it is found again.
	for page := range slices.Chunk(rows, watchPage) {
		if _, err := w.relay.commit(ctx, bridge.Batch{Lease: w.lane.held(), Rows: page}); err != nil {
			return err
		}
	}
	clear(w.dirty)
	w.saved, w.flushed = w.after, w.now()
	return nil
}

func (w *watch) sum() bridge.Row {
	s := sum{Open: len(w.open), Waiting: len(w.waiting)}
	for session := range w.waiting {
		s.Longest = append(s.Longest, waiting{Session: session, Since: w.open[session].Waits})
	}
	slices.SortFunc(s.Longest, func(a, b waiting) int { return cmp.Compare(a.Since, b.Since) })
	s.Longest = s.Longest[:min(len(s.Longest), sumLongest)]
	return bridge.Row{Table: tableWatch, Key: watchSum, Value: mustJSON(s)}
}

// held is the lane's lease, as this process holds it.
func (l *lane) held() bridge.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lease
}

// reopen tells that a visitor has written to a session that an operator had closed.
func (w *watch) reopen(ctx context.Context, e bridge.Entry) error {
	session := e.Event.Session
	raw, err := w.relay.store.Get(ctx, tableClosed, session)
	if err != nil {
		return err
	}
	var c closure
	if raw != nil {
		if err := json.Unmarshal(raw, &c); err != nil {
			return err
		}
		if c.At.After(e.Seq.Time()) {
			return nil // it was closed again since
		}
		_, err = w.relay.commit(ctx, bridge.Batch{
			Claims: []bridge.Claim{{Key: "reopened/" + e.Seq.String()}},
			If:     []bridge.Row{{Table: tableClosed, Key: session, Value: raw}},
			Lease:  w.lane.held(),
			Rows:   []bridge.Row{{Table: tableClosed, Key: session}},
			Events: []bridge.Event{{
				Type: bridge.TypeSessionReopened, Origin: bridge.OriginBridge, Session: session,
				Body: mustJSON(sessionClosed{SessionID: session, SourceBridge: "api"}), // the visitor came by it
			}},
		})
		if err != nil && !errors.Is(err, bridge.ErrChanged) { // an operator was faster
			return err
		}
	}
	delete(w.closed, session)
	return nil
}
