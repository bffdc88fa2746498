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
	"strings"
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
			c.Unread = append(c.Unread[max(0, len(c.Unread)-maxUnread+1):len(c.Unread):len(c.Unread)], id)
			changed = true
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
	Longest []waiting `json:"longest,omitempty"`
}

type waiting struct {
	Session string     `json:"session"`
	Since   bridge.Seq `json:"since"`
}

// The times and measures of the watch.
const (
	watchEvery   = time.Second      // the rows are written no more often
	watchCursors = 30 * time.Second // the cursor alone
	watchPage    = 256              // rows of one write
	watchLook    = time.Minute      // at least so often who waits is looked at, where somebody may be timed away
	sumLongest   = 5
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
			<-ctx.Done()
			return
		case !failing:
			w.relay.log.Error("who waits for an answer cannot be followed; trying on", "op", "watch", "err", err)
		}
		failing, loaded = true, false // what is in memory may be ahead of the store
		sleep(ctx, time.Second)
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
	w.after, w.saved = min(after, w.relay.tail.Newest()), after // a log that lost its end goes on behind it
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
	w.due, w.silence, w.tidied = w.now(), w.now(), w.now()
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
	entries, err := w.relay.tail.Next(waiting, w.after, tailPage)
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
	rows = append(rows, w.sum(), bridge.Row{Table: tableWatch, Key: watchCursor, Value: []byte(strconv.FormatUint(uint64(w.after), 10))})
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

// callAt returns when operators are to be called to a conversation; zero: never again.
func (w *watch) callAt(c *followed) time.Time {
	switch {
	case w.unanswered <= 0:
		return time.Time{}
	case c.Calls == 0:
		return c.Waits.Time().Add(w.unanswered)
	case c.Calls == 1:
		again := c.Waits.Time().Add(2 * w.unanswered)
		if late := c.Called.Add(w.unanswered); late.After(again) {
			return late
		}
		return again
	default:
		return time.Time{}
	}
}

// call looks at everybody who waits: whose time has come is made known to the operators who are online, and who should have
// answered and did not is away.
func (w *watch) call(ctx context.Context) error {
	now, err := w.relay.store.Now(ctx)
	if err != nil {
		return err
	}
	w.offset = time.Until(now)
	w.due, w.called = time.Time{}, now
	if len(w.waiting) == 0 || w.unanswered <= 0 && w.timeout <= 0 {
		return nil
	}
	people, err := w.relay.presence.People(ctx)
	if err != nil {
		return err
	}
	here := slices.DeleteFunc(people, func(p bridge.Person) bool { return p.Status != bridge.StatusOnline })
	if len(here) == 0 {
		return nil // whoever comes is seen in the log
	}
	if w.timeout > 0 {
		w.soon(now.Add(watchLook))
	}
	var calls, late []string
	for session := range w.waiting {
		c := w.open[session]
		switch at := w.callAt(c); {
		case at.IsZero():
		case at.After(now):
			w.soon(at)
		default:
			calls = append(calls, session)
		}
		switch at := c.Waits.Time().Add(w.timeout); {
		case w.timeout <= 0:
		case at.After(now):
			w.soon(at)
		default:
			late = append(late, session)
		}
	}
	if len(calls)+len(late) == 0 {
		return nil
	}
	claims, err := w.claims(ctx)
	if err != nil {
		return err
	}
	for _, session := range w.longestFirst(calls) {
		if err := w.callTo(ctx, session, claims[session], here, now); err != nil {
			return err
		}
		if c := w.open[session]; c != nil {
			if at := w.callAt(c); at.After(now) {
				w.soon(at)
			}
		}
	}
	for _, session := range w.longestFirst(late) {
		if w.open[session] == nil {
			continue // it was forgotten
		}
		retired, err := w.retire(ctx, session, claims[session], here, now)
		if err != nil {
			return err
		}
		if retired {
			w.soon(now) // with those who are left
			return nil
		}
	}
	return nil
}

func (w *watch) longestFirst(sessions []string) []string {
	slices.SortFunc(sessions, func(a, b string) int { return cmp.Compare(w.open[a].Waits, w.open[b].Waits) })
	return sessions
}

// claims returns who takes care of which session.
func (w *watch) claims(ctx context.Context) (map[string]*claimant, error) {
	rows, err := w.relay.store.List(ctx, tableClaims)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*claimant, len(rows))
	for _, row := range rows {
		c := &claimant{}
		if err := json.Unmarshal(row.Value, c); err != nil {
			return nil, fmt.Errorf("row %s of session %s: %w", tableClaims, row.Key, err)
		}
		out[row.Key] = c
	}
	return out, nil
}

// forgotten says whether the store knows a session no more; then it is dropped.
func (w *watch) forgotten(ctx context.Context, session string) (bool, error) {
	seqs, err := w.relay.store.Claimed(ctx, session, sessionClaim)
	if err != nil || seqs[0] != 0 {
		return false, err
	}
	delete(w.open, session)
	delete(w.waiting, session)
	return true, nil
}

// callTo calls operators to a conversation: whoever takes care of it, if they are there, and the second time all who are.
func (w *watch) callTo(ctx context.Context, session string, has *claimant, here []bridge.Person, now time.Time) error {
	c := w.open[session]
	var whom []string
	for _, p := range here {
		mine := has != nil && p.Has(has.ID)
		if mine && c.Calls == 0 {
			whom = accountKeys(p)
			break
		}
		whom = append(whom, accountKeys(p)...)
	}
	if len(whom) == 0 {
		return nil // the app alone is online, which has its own ways
	}
	if gone, err := w.forgotten(ctx, session); err != nil || gone {
		return err
	}
	text := "⏰ This visitor has waited for an answer for " + lasting(now.Sub(c.Waits.Time())) + "."
	if c.Calls > 0 {
		text = "⏰ This visitor has waited for " + lasting(now.Sub(c.Waits.Time())) + ", and nobody has answered yet."
	}
	if err := w.whole(ctx, session, c); err != nil {
		return err
	}
	next := c.conversation
	next.Calls, next.Called = c.Calls+1, now.UTC()
	_, err := w.relay.commit(ctx, bridge.Batch{
		Claims: []bridge.Claim{{Key: fmt.Sprintf("called/%s/%s/%d", digest([]byte(session)), c.Waits, next.Calls)}},
		Lease:  w.lane.held(),
		Events: []bridge.Event{everywhere(session, text, whom...)},
		Rows:   []bridge.Row{{Table: tableOpen, Key: session, Value: mustJSON(next), Session: session}},
	})
	if err == nil {
		c.conversation = next
	}
	return err
}

func accountKeys(p bridge.Person) []string {
	keys := make([]string, 0, len(p.Accounts))
	for _, a := range p.Accounts {
		keys = append(keys, a.Key())
	}
	return keys
}

// retire makes away who should have answered a conversation and did not: whoever takes care of it, else the only one who is
// online. They have the whole time from when they came online.
func (w *watch) retire(ctx context.Context, session string, has *claimant, here []bridge.Person, now time.Time) (retired bool, err error) {
	i := slices.IndexFunc(here, func(p bridge.Person) bool { return has != nil && p.Has(has.ID) })
	if has == nil && len(here) == 1 {
		i = 0
	}
	if i < 0 || len(here[i].Accounts) == 0 {
		return false, nil
	}
	who := here[i]
	if from := who.Since.Add(w.timeout); from.After(now) {
		w.soon(from)
		return false, nil
	}
	if gone, err := w.forgotten(ctx, session); err != nil || gone {
		return false, err
	}
	text := fmt.Sprintf("%s, you are away now: this visitor has waited for an answer for %s. /online says that you are back.",
		who.Called, lasting(now.Sub(w.open[session].Waits.Time())))
	_, err = w.relay.presence.Retire(ctx, who.ID, bridge.PresenceWrite{
		Also: func(change bridge.PresenceChange) bridge.Batch {
			if change.Fault != "" {
				return bridge.Batch{}
			}
			return bridge.Batch{Lease: w.lane.held(), Events: []bridge.Event{everywhere(session, text, accountKeys(who)...)}}
		},
		Commit: w.relay.commit,
	})
	return err == nil, err
}

// lasting is a time as people say it.
func lasting(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d hours %d minutes", int(d.Hours()), int(d.Minutes())%60), " 0 minutes")
	default:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	}
}

// hush closes the threads of conversations that are silent, a few at a time.
func (w *watch) hush(ctx context.Context) error {
	now := w.now()
	w.silence = time.Time{}
	if w.autoClose <= 0 {
		return nil
	}
	next := now.Add(w.autoClose)
	var silent []string
	for session, c := range w.open {
		if at := c.Last.Add(w.autoClose); at.After(now) {
			next = earlier(next, at)
		} else {
			silent = append(silent, session)
		}
	}
	rows, err := w.relay.store.List(ctx, tableAnnounced)
	if err != nil {
		return err
	}
	var heard []bridge.Row
	for _, row := range rows {
		at, err := time.Parse(time.RFC3339, string(row.Value))
		switch at = at.Add(w.autoClose); {
		case w.open[row.Key] != nil:
			heard = append(heard, bridge.Row{Table: tableAnnounced, Key: row.Key})
		case err == nil && at.After(now):
			next = earlier(next, at)
		case !slices.Contains(silent, row.Key):
			silent = append(silent, row.Key)
		}
	}
	more := len(silent) > closeAtOnce
	for page := range slices.Chunk(heard, watchPage) {
		if _, err := w.relay.commit(ctx, bridge.Batch{Lease: w.lane.held(), Rows: page}); err != nil {
			return err
		}
	}
	for _, session := range silent[:min(len(silent), closeAtOnce)] {
		b := bridge.Batch{
			Lease: w.lane.held(),
			Rows:  []bridge.Row{{Table: tableOpen, Key: session}, {Table: tableAnnounced, Key: session}},
		}
		known, err := w.relay.store.Claimed(ctx, session, sessionClaim)
		if err != nil {
			return err
		}
		if known[0] != 0 {
			b.Events = []bridge.Event{{
				Type: bridge.TypeAnswer, Origin: bridge.OriginBridge, Session: session,
				Body: mustJSON(bridge.Answer{Session: session, Close: true}),
			}}
			b.Claims = []bridge.Claim{{Key: "hushed/" + digest([]byte(session)) + "/" + now.Format(time.DateTime)}}
		}
		if _, err := w.relay.commit(ctx, b); err != nil {
			return err
		}
		w.drop(session)
		delete(w.dirty, session)
		w.dirty[""] = true // the sum has changed
	}
	if w.silence = next; more {
		w.silence = now.Add(watchEvery)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
