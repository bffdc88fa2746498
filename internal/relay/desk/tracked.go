package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// Two tables have the open conversations in the order of time, so that those whose time has come are found without looking at
// the others. Their rows are written together with those of tableOpen.
const (
	// tableWaits holds those in which the visitor waits for an answer: key as waitKey makes it, value when operators were called.
	tableWaits = "by-wait"
	// tableAnnounced is where an earlier version kept the latter: key session, value when.
	tableAnnounced = "announced"
)

// remindersMost is how often operators are called to a conversation.
const remindersMost = 2

// waitKey is <calls so far>/<the first message that waits>/<session>, so that those who are called next, and in each such group
// those who wait longest, come first. It is empty when nobody waits.
func waitKey(session string, c conversation) string {
	if c.Waits == 0 {
		return ""
	}
	return fmt.Sprintf("%s%020d/%s", waitPrefix(c.Calls), uint64(c.Waits), session)
}

func waitPrefix(calls int) string { return strconv.Itoa(min(calls, remindersMost)) + "/" }

// waitRow reads a row of tableWaits.
func waitRow(row bridge.Row) (session string, c conversation, ok bool) {
	calls, rest, _ := strings.Cut(row.Key, "/")
	since, session, ok := strings.Cut(rest, "/")
	n, err := strconv.Atoi(calls)
	at, err2 := strconv.ParseUint(since, 10, 64)
	if !ok || err != nil || err2 != nil {
		return "", c, false
	}
	c.Calls, c.Waits = n, bridge.Seq(at)
	c.Called, _ = time.Parse(time.RFC3339Nano, string(row.Value)) // nothing: never
	return session, c, true
}

// silenceRow reads a row of msgmap.Silence.
func silenceRow(row bridge.Row) (session string, last time.Time, ok bool) {
	text, session, _ := strings.Cut(row.Key, "/")
	last, err := time.Parse(time.RFC3339, text)
	return session, last, err == nil
}

// tracked is a session in memory.
type tracked struct {
	conversation
	session string
	open    bool          // the conversation is
	stored  *conversation // what the store has of it, without what is unread; nil: nothing
	closed  bool          // an operator has closed it
}

// rows are what has to be written so that the store has the conversation as it is now, in all tables. whole says that the tables
// in order may not have it yet.
func (c *tracked) rows(whole bool) []bridge.Row {
	row := bridge.Row{Table: tableOpen, Key: c.session, Session: c.session}
	if c.open {
		row.Value = bridge.MustJSON(c.conversation)
	}
	return append(c.orderedRows(whole), row)
}

// orderedRows are rows, of the tables that are in order.
func (c *tracked) orderedRows(whole bool) []bridge.Row {
	var was, is conversation
	var silent, silentNow string
	if c.stored != nil {
		was, silent = *c.stored, msgmap.SilenceKey(c.session, c.stored.Last)
	}
	if c.open {
		is, silentNow = c.conversation, msgmap.SilenceKey(c.session, c.Last)
	}
	called := []byte{}
	if !is.Called.IsZero() {
		called = is.Called.AppendFormat(nil, time.RFC3339Nano)
	}
	return append(c.moved(tableWaits, waitKey(c.session, was), waitKey(c.session, is), called, whole),
		c.moved(msgmap.Silence, silent, silentNow, []byte{}, whole)...)
}

// moved takes a row from one key of a table to another; either may be empty.
func (c *tracked) moved(table, from, to string, value []byte, whole bool) (rows []bridge.Row) {
	if from != "" && from != to {
		rows = append(rows, bridge.Row{Table: table, Key: from, Session: c.session})
	}
	if to != "" && (from != to || whole) {
		rows = append(rows, bridge.Row{Table: table, Key: to, Value: value, Session: c.session})
	}
	return rows
}

// knownConversations is how many sessions are kept in memory, twice at most, besides those that are not written yet.
const knownConversations = 8192

// conversations are the sessions that something happened to lately. The others are in the store alone.
type conversations struct {
	store Store
	known map[string]*tracked
	older map[string]*tracked // known before the last turn, and not used since
	dirty map[string]*tracked // not written yet
}

func newConversations(s Store) *conversations {
	return &conversations{store: s, known: map[string]*tracked{}, dirty: map[string]*tracked{}}
}

// find returns a session that is in memory.
func (cs *conversations) find(session string) *tracked {
	if c := cs.known[session]; c != nil {
		return c
	}
	c := cmp.Or(cs.dirty[session], cs.older[session])
	if c != nil {
		cs.remember(c)
	}
	return c
}

func (cs *conversations) remember(c *tracked) {
	if len(cs.known) >= knownConversations {
		cs.known, cs.older = map[string]*tracked{}, cs.known
	}
	cs.known[c.session] = c
}

// get returns a session.
func (cs *conversations) get(ctx context.Context, session string) (*tracked, error) {
	if c := cs.find(session); c != nil {
		return c, nil
	}
	if _, err := cs.load(ctx, session); err != nil {
		return nil, err
	}
	return cs.known[session], nil
}

// load reads those of the sessions that are not in memory, and returns them.
func (cs *conversations) load(ctx context.Context, sessions ...string) (loaded []*tracked, err error) {
	missing := map[string]bool{}
	for _, session := range sessions {
		if cs.find(session) == nil {
			missing[session] = true
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	keys := slices.Collect(maps.Keys(missing))
	open, err := cs.store.GetAll(ctx, tableOpen, keys...)
	if err != nil {
		return nil, err
	}
	closed, err := cs.store.GetAll(ctx, tableClosed, keys...)
	if err != nil {
		return nil, err
	}
	for i, session := range keys {
		c := &tracked{session: session, closed: closed[i] != nil}
		if open[i] != nil {
			if err := json.Unmarshal(open[i], &c.conversation); err != nil {
				return nil, fmt.Errorf("row %s of session %s: %w", tableOpen, session, err)
			}
			c.open = true
			c.keepStored()
		}
		cs.remember(c)
		loaded = append(loaded, c)
	}
	return loaded, nil
}

// keepStored notes that the store has the conversation as it is.
func (c *tracked) keepStored() {
	if c.stored = nil; c.open {
		stored := c.conversation
		stored.Unread = nil
		c.stored = &stored
	}
}

// drop ends a conversation.
func (cs *conversations) drop(c *tracked) {
	c.open, c.conversation = false, conversation{}
	cs.changed(c)
}

// changed notes that a conversation has to be written.
func (cs *conversations) changed(c *tracked) { cs.dirty[c.session] = c }

// written notes that the store has conversations as they are.
func (cs *conversations) written(all ...*tracked) {
	for _, c := range all {
		c.keepStored()
		delete(cs.dirty, c.session)
	}
}

// orderPage is how many rows of an earlier version are put in order at once, orderPause what is left to others in between.
const (
	orderPage  = 60
	orderPause = 15 * time.Millisecond
)

// ordering is how far the rows of an earlier version, which had no tables in order, are put into them. It is done once for a
// store, some rows at a time, while everything else goes on.
type ordering struct{ table, place string }

// putInOrder puts some rows in order.
func (w *conversationTracker) putInOrder(ctx context.Context) error {
	o := w.ordering
	rows, next, err := w.desk.store.Scan(ctx, o.table, o.place, orderPage)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(rows, orderPage) {
		if err := w.orderRows(ctx, page); err != nil {
			return err
		}
	}
	switch {
	case next != "":
		o.place = next
	case o.table == tableOpen:
		w.ordering = &ordering{table: tableAnnounced}
	default:
		if err := w.flush(ctx); err != nil { // of what was passed over
			return err
		}
		_, err := w.desk.commit(ctx, bridge.Batch{Lease: w.lane.Lease(), Rows: []bridge.Row{
			{Table: tableTracker, Key: trackerOrdered, Value: []byte("1")}, {Table: tableTracker, Key: "sum"},
		}})
		if err != nil {
			return err
		}
		w.ordering, w.due, w.silence = nil, w.now(), w.now()
	}
	return nil
}

// orderRows writes what stands for rows of an earlier version. They may have gone meanwhile, with their sessions: then those that
// are left are done one by one.
func (w *conversationTracker) orderRows(ctx context.Context, rows []bridge.Row) error {
	b := bridge.Batch{Lease: w.lane.Lease()}
	for _, row := range rows {
		c := tracked{session: row.Key, open: true}
		switch {
		case row.Table == tableAnnounced:
			b.Rows = append(b.Rows, bridge.Row{Table: tableAnnounced, Key: row.Key})
			if at, err := time.Parse(time.RFC3339, string(row.Value)); err == nil {
				b.Rows = append(b.Rows, msgmap.SilenceRow(row.Key, at))
			}
		case w.conversations.dirty[row.Key] != nil || json.Unmarshal(row.Value, &c.conversation) != nil:
			continue // it is written soon, or is unreadable
		default:
			b.Rows = append(b.Rows, c.orderedRows(true)...)
		}
		b.If = append(b.If, row)
	}
	_, err := w.desk.commit(ctx, b)
	if !errors.Is(err, bridge.ErrChanged) {
		return err
	}
	if len(rows) == 1 {
		return nil
	}
	for _, row := range rows {
		if err := w.orderRows(ctx, []bridge.Row{row}); err != nil {
			return err
		}
	}
	return nil
}
