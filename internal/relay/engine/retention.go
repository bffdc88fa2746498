package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The times and measures of retention.
const (
	retainEvery = time.Minute      // how often the log is trimmed
	retainLease = 3 * time.Minute  // of one round
	forgetEvery = time.Hour        // how often old sessions and claims are looked for
	TidyEvery   = 30 * time.Minute // how often this process's memory of sessions is
	replayFor   = time.Hour        // how long the log is kept for streams that come again,
	replayMost  = 100_000          // and how much of it at most
	removeAfter = 24 * time.Hour   // a lane that is not configured waits so long for being so again
	removePage  = 256              // events of it that are looked at for one write
	// silentFor is the least time for which a silent session is kept, however short the retention: by then all its events are
	// delivered or given up, and no process remembers anything of it.
	silentFor = GiveUpAfter + forgetEvery + 2*TidyEvery
)

// tableLanes holds what retention has to know of a lane besides its cursor: key lane, value laneNote.
const tableLanes = "lanes"

// laneNote is what is noted of a lane.
type laneNote struct {
	Since  time.Time `json:"since,omitzero"`   // when it was first found to be configured nowhere
	Served bool      `json:"served,omitempty"` // of the callbacks' lane: there has been a callback
}

func (n laneNote) row(lane string) bridge.Row {
	return bridge.Row{Table: tableLanes, Key: lane, Value: bridge.MustJSON(n)}
}

func readNote(ctx context.Context, s Getter, lane string) (n laneNote, err error) {
	value, err := s.Get(ctx, tableLanes, lane)
	if err != nil || value == nil {
		return n, err
	}
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("row %s of lane %s: %w", tableLanes, lane, err)
	}
	return n, nil
}

// janitor removes what nobody needs any more. One process at a time does so for the store; each does for its own memory.
type janitor struct {
	engine *Engine
	lease  bridge.Lease
	forget time.Time // when to look for old sessions again
	tidy   time.Time // when to tidy this process's memory again
}

// retain keeps until ctx ends.
func (r *Engine) retain(ctx context.Context) {
	k := &janitor{engine: r, lease: bridge.Lease{Name: "retention", Token: rand.Text()}}
	bridge.Every(ctx, retainEvery, nil, func(ctx context.Context) error {
		k.remember(time.Now())
		return k.round(ctx)
	}, func(err error) {
		r.log.Warn("what is old cannot be removed; trying on", "op", "retention", "err", err)
	})
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = r.store.Release(ending, k.lease) // else it ends by itself
}

// remember drops from this process's memory what it hardly needs.
func (k *janitor) remember(now time.Time) {
	k.engine.tail.forget(bridge.SeqAt(now.Add(-replayFor)))
	if now.Before(k.tidy) {
		return
	}
	k.tidy = now.Add(TidyEvery)
	for _, l := range k.engine.lanes {
		l.tidy(now)
	}
}

// round removes what the store has to keep no longer.
func (k *janitor) round(ctx context.Context) error {
	s := k.engine.store
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	if ok, err := s.Acquire(ctx, k.lease, retainLease); err != nil || !ok {
		return err
	}
	slowest, err := k.slowest(ctx, now)
	if err != nil {
		return err
	}
	before := max(bridge.SeqAt(now.Add(-replayFor)), k.engine.tail.beyondReplay())
	if err := s.Trim(ctx, min(before, slowest+1)); err != nil {
		return err
	}
	if now.Before(k.forget) {
		return nil
	}
	// A session of which something still has to be delivered is not old.
	gone, err := s.Forget(ctx, min(bridge.SeqAt(now.Add(-max(k.engine.retention, silentFor))), slowest+1))
	if err != nil {
		return err
	}
	if gone > 0 {
		k.engine.log.Info("old sessions and dead letters were removed", "op", "retention", "count", gone)
	}
	k.forget = now.Add(forgetEvery)
	return nil
}

// slowest returns the lowest cursor of all lanes, those that other bridges work and those that nobody works any more included.
// It gives up what waits in the latter when their time is over.
func (k *janitor) slowest(ctx context.Context, now time.Time) (bridge.Seq, error) {
	names, err := k.engine.store.Lanes(ctx)
	if err != nil {
		return 0, err
	}
	lowest := bridge.Seq(math.MaxUint64 - 1)
	for _, l := range k.engine.lanes {
		if !slices.Contains(names, l.name) {
			return 0, nil // it begins at the log's beginning
		}
	}
	for _, name := range names {
		gone, err := k.configured(ctx, name, now)
		if err != nil {
			return 0, err
		}
		if gone {
			continue
		}
		state, err := k.engine.store.Lane(ctx, name)
		if err != nil {
			return 0, err
		}
		lowest = min(lowest, state.Cursor)
	}
	return lowest, nil
}

// configured looks whether a lane is configured, here or at another bridge, which then holds its lease. One that has not been for
// a day is retired; gone says so.
func (k *janitor) configured(ctx context.Context, name string, now time.Time) (gone bool, err error) {
	s := k.engine.store
	note, err := readNote(ctx, s, name)
	if err != nil {
		return false, err
	}
	free := k.engine.lane(name) == nil
	lease := bridge.Lease{Name: leaseOf(name), Token: k.lease.Token}
	if free {
		if free, err = s.Acquire(ctx, lease, leaseTTL); err != nil {
			return false, err
		}
	}
	if !free {
		if note.Since.IsZero() {
			return false, nil
		}
		k.engine.log.Info("a lane is configured again", "lane", name)
		note.Since = time.Time{}
		return false, k.writeRow(ctx, note.row(name))
	}
	defer func() {
		if lost := s.Release(ctx, lease); err == nil {
			err = lost
		}
	}()
	switch {
	case note.Since.IsZero():
		k.engine.log.Warn("a lane is no longer configured; what waits in it is given up in a day", "lane", name)
		note.Since = now.UTC()
		return false, k.writeRow(ctx, note.row(name))
	case now.Sub(note.Since) < removeAfter:
		return false, nil
	}
	switch err := k.removeLane(ctx, name, lease, now); {
	case errors.Is(err, bridge.ErrLeaseLost): // to a bridge that has the lane configured
		return false, nil
	case err != nil:
		return false, err
	}
	return true, k.writeRow(ctx, bridge.Row{Table: tableLanes, Key: name})
}

func (k *janitor) writeRow(ctx context.Context, row bridge.Row) error {
	_, err := k.engine.store.Commit(ctx, bridge.Batch{Rows: []bridge.Row{row}})
	return err
}

// removeLane makes dead letters of what a lane never delivered, and removes it.
func (k *janitor) removeLane(ctx context.Context, name string, lease bridge.Lease, now time.Time) error {
	s := k.engine.store
	state, err := s.Lane(ctx, name)
	if err != nil {
		return err
	}
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	done := map[bridge.Seq]bool{}
	for _, m := range state.Done {
		done[m.Seq] = true
	}
	cause := &bridge.DeliveryError{Reason: bridge.ReasonTransient, Op: opAttempt, Detail: name + " is no longer configured"}
	count := 0
	for after := state.Cursor; after < last; {
		entries, err := s.Read(ctx, after, removePage, 0)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			break
		}
		after = entries[len(entries)-1].Seq
		b := bridge.Batch{Lease: lease, Progress: bridge.Progress{Lane: name, Cursor: after}}
		for _, e := range entries {
			finished := done[e.Seq]
			if e.Event.Type == TypeRedelivered {
				var mine bool
				if e, _, mine = unwrap(e, name); !mine {
					continue
				}
			}
			if !finished && k.engine.kindAt(name, e) != bridge.KindNone {
				b.Rows = append(b.Rows, deadLetter(name, "", e, cause, now))
				b.Events = append(b.Events, k.engine.givenUpAt(name, e, cause)...)
			}
		}
		if _, err := s.Acquire(ctx, lease, leaseTTL); err != nil { // one that is lost is found by the commit
			return err
		}
		if _, err := k.engine.Commit(ctx, b); err != nil {
			return err
		}
		for range b.Rows {
			k.engine.meter.DeadLettered(name, cause.Reason)
		}
		count += len(b.Rows)
	}
	if err := s.ForgetLane(ctx, name, lease); err != nil {
		return err
	}
	k.engine.log.Error("a lane that is no longer configured is removed, and what it never delivered is given up",
		"lane", name, "count", count)
	return nil
}

// Getter reads a row.
type Getter interface {
	Get(ctx context.Context, table, key string) ([]byte, error)
}

// noteStreams is the key of a row in tableLanes that is there once anybody has followed the events of this project by a stream.
const noteStreams = "streams"

// StreamsFollow says whether anybody has ever followed the events of this project by a stream.
func StreamsFollow(ctx context.Context, s Getter) (bool, error) {
	value, err := s.Get(ctx, tableLanes, noteStreams)
	return value != nil, err
}

// EverServed says whether a lane is known to have had a target.
func EverServed(ctx context.Context, s Getter, lane string) (bool, error) {
	note, err := readNote(ctx, s, lane)
	return note.Served, err
}

// ServedRow notes that a lane has had a target.
func ServedRow(lane string) bridge.Row { return laneNote{Served: true}.row(lane) }

// IsServedRow says whether a row is such a note.
func IsServedRow(row bridge.Row) bool { return row.Table == tableLanes }
