// Package stats counts sessions, messages, answers and ratings by the day, for a team that wants to know how it does. It follows the
// log behind everything else, so that accepting an event costs nothing for it: what is counted is written together with the place in the
// log up to which it is, and so each event counts once, whatever breaks off. What is asked for is told up to the log's end. It knows
// events and rows, and neither lanes nor platforms.
package stats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	// tableDays holds a row for each day of the last ones: key the day, value day. Under keyCursor it has the place in the log up to
	// which everything is counted.
	tableDays = "stats"
	keyCursor = "cursor"
	// tableSessions holds the sessions with messages or ratings, and those that began on another day than that on which they became known:
	// key session, value tally.
	tableSessions = "stats-sessions"
	// tableUnanswered, followed by a day, holds the sessions that began on it whose last message is the visitor's: key session, value
	// nothing. It is there to be counted.
	tableUnanswered = "unanswered/"
)

// The times and measures of the follower.
const (
	every       = time.Second      // rows are written no more often, unless there are very many
	lookEvery   = every / 5        // the log is read no more often: its newest events are in memory for about as long at the most that is accepted
	cursorEvery = 30 * time.Second // the place alone
	readMost    = 4096             // events of the log, at once
	writeMost   = 256              // of one write
	knownMost   = 8192             // sessions in memory
	lookups     = 16               // at once
)

// Store is what statistics need of the store; package store says what each method promises.
type Store interface {
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error)
	Get(ctx context.Context, table, key string) ([]byte, error)
	GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error)
	Scan(ctx context.Context, table, place string, max int) (rows []bridge.Row, next string, err error)
	Count(ctx context.Context, table string) (int, error)
	Claimed(ctx context.Context, session string, keys ...string) ([]bridge.Seq, error)
	Now(ctx context.Context) (time.Time, error)
}

// Log is the log as it grows.
type Log interface {
	// Next returns up to max events behind a place. It waits for the first.
	Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error)
}

// Counts are the statistics of a store. Its methods may be called from several goroutines.
type Counts struct {
	store     Store
	platforms []string
	log       *slog.Logger
}

// New returns the statistics of a store. platforms are the names of the chat platforms: what an app repeats from one of them counts
// once.
func New(s Store, platforms []string, log *slog.Logger) *Counts {
	return &Counts{store: s, platforms: platforms, log: log}
}

// follower counts what comes. There is one for a store at a time: it works under a lease.
type follower struct {
	*counter
	of     *Counts
	after  bridge.Seq
	cursor []byte // as the store has it; nil: there is none
	saved  time.Time
}

// Follow counts until ctx ends. lease is held by this process meanwhile. A store that fails is tried again every second, and said
// once.
func (c *Counts) Follow(ctx context.Context, log Log, lease func() bridge.Lease) {
	failing := false
	var f *follower
	for ctx.Err() == nil {
		err := bridge.Protect(c.log, "stats", func() (err error) {
			if f == nil {
				f, err = c.load(ctx)
			}
			if err == nil {
				err = f.round(ctx, log, lease())
			}
			return err
		})
		switch {
		case err == nil:
			failing = false
			continue
		case ctx.Err() != nil:
			return
		case errors.Is(err, bridge.ErrLeaseLost):
			<-ctx.Done()
			return
		case !failing && !errors.Is(err, bridge.ErrChanged):
			c.log.Error("statistics cannot be kept; trying on", "op", "stats", "err", err)
		}
		failing, f = true, nil // what is in memory may be ahead of the store
		bridge.Sleep(ctx, time.Second)
	}
}

// load begins where the store is.
func (c *Counts) load(ctx context.Context) (*follower, error) {
	f := &follower{counter: newCounter(c.platforms), of: c}
	var err error
	// First: whoever finds it unchanged afterwards has read rows that go with it.
	if f.cursor, err = c.store.Get(ctx, tableDays, keyCursor); err != nil {
		return nil, err
	}
	f.after = cursorOf(f.cursor)
	for place := ""; ; {
		rows, next, err := c.store.Scan(ctx, tableDays, place, 100)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if row.Key == keyCursor {
				continue
			}
			d := &day{}
			if err := json.Unmarshal(row.Value, d); err != nil {
				return nil, fmt.Errorf("row %s of table %s: %w", row.Key, tableDays, err)
			}
			f.days[row.Key] = d
		}
		if place = next; place == "" {
			return f, nil
		}
	}
}

// cursorOf reads a place in the log; nothing is the beginning.
func cursorOf(row []byte) bridge.Seq {
	n, err := strconv.ParseUint(string(row), 10, 64)
	if err != nil {
		return 0
	}
	return bridge.Seq(n)
}

// round waits for what comes next, no longer than until what is counted has to be written, and counts it.
func (f *follower) round(ctx context.Context, log Log, lease bridge.Lease) error {
	entries, err := f.next(ctx, log)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return f.write(ctx, lease)
	}
	for page := range slices.Chunk(entries, writeMost) {
		if err := f.of.prepare(ctx, f.counter, page); err != nil {
			return err
		}
		for _, e := range page {
			f.apply(e)
			f.after = e.Seq
		}
		if err := f.write(ctx, lease); err != nil {
			return err
		}
	}
	if len(entries) < readMost {
		bridge.Sleep(ctx, lookEvery)
	}
	return nil
}

// next returns what comes next; nothing when what is counted has to be written first.
func (f *follower) next(ctx context.Context, log Log) ([]bridge.Entry, error) {
	if !f.changed() {
		return log.Next(ctx, f.after, readMost)
	}
	wait, done := context.WithDeadline(ctx, f.saved.Add(every))
	defer done()
	entries, err := log.Next(wait, f.after, readMost)
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return entries, err
}

// changed says whether anything is counted that is not written.
func (f *follower) changed() bool { return len(f.changedDays)+len(f.changedSessions) > 0 }

// write writes what has changed, with the place up to which it is counted, when it is time.
func (f *follower) write(ctx context.Context, lease bridge.Lease) error {
	wait := cursorEvery
	if f.changed() {
		wait = every
	}
	if len(f.changedSessions) < writeMost && time.Since(f.saved) < wait {
		return nil
	}
	b := bridge.Batch{Lease: lease, If: []bridge.Row{{Table: tableDays, Key: keyCursor, Value: f.cursor}}}
	for name := range f.changedDays {
		b.Rows = append(b.Rows, bridge.Row{Table: tableDays, Key: name, Value: bridge.MustJSON(f.days[name])})
	}
	old := dayOf(f.after.Time().AddDate(0, 0, -bridge.StatsDays))
	for name := range f.days {
		if name < old {
			b.Rows = append(b.Rows, bridge.Row{Table: tableDays, Key: name})
			delete(f.days, name)
		}
	}
	for session := range f.changedSessions {
		t := f.sessions[session]
		b.Rows = append(b.Rows, bridge.Row{Table: tableSessions, Key: session, Value: bridge.MustJSON(t), Session: session})
		if t.Asks != t.asked {
			row := bridge.Row{Table: tableUnanswered + t.Day, Key: session, Session: session}
			if t.Asks {
				row.Value = []byte{}
			}
			b.Rows = append(b.Rows, row)
		}
		t.stored, t.asked = true, t.Asks
	}
	cursor := []byte(strconv.FormatUint(uint64(f.after), 10))
	b.Rows = append(b.Rows, bridge.Row{Table: tableDays, Key: keyCursor, Value: cursor})
	if _, err := f.of.store.Commit(ctx, b); err != nil {
		return err
	}
	f.cursor, f.saved = cursor, time.Now()
	clear(f.changedDays)
	clear(f.changedSessions)
	if len(f.sessions) > knownMost {
		clear(f.sessions)
	}
	return nil
}

// prepare loads the sessions of events that are not in memory.
func (c *Counts) prepare(ctx context.Context, into *counter, entries []bridge.Entry) error {
	missing := map[string]bool{}
	for _, e := range entries {
		if counts(e.Event) && into.sessions[e.Event.Session] == nil {
			missing[e.Event.Session] = true
		}
	}
	if len(missing) == 0 {
		return nil
	}
	sessions := slices.Collect(maps.Keys(missing))
	rows, err := c.store.GetAll(ctx, tableSessions, sessions...)
	if err != nil {
		return err
	}
	var unknown []*tally
	var ids []string
	for i, session := range sessions {
		t := &tally{}
		if rows[i] != nil {
			if err := json.Unmarshal(rows[i], t); err != nil {
				return fmt.Errorf("row %s of session %s: %w", tableSessions, session, err)
			}
			t.stored, t.asked = true, t.Asks
		} else {
			unknown, ids = append(unknown, t), append(ids, session)
		}
		into.sessions[session] = t
	}
	return c.lookUp(ctx, unknown, ids)
}

// lookUp finds out since when sessions are known, some at once.
func (c *Counts) lookUp(ctx context.Context, of []*tally, sessions []string) error {
	var work sync.WaitGroup
	var mu sync.Mutex
	var failed error
	places := make(chan struct{}, lookups)
	for i, session := range sessions {
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			seqs, err := c.store.Claimed(ctx, session, "session")
			mu.Lock()
			defer mu.Unlock()
			if failed = errors.Join(failed, err); err == nil {
				of[i].opened = seqs[0]
			}
		})
	}
	work.Wait()
	return failed
}
