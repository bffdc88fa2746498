package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// Read returns the entries after the given one, and waits for the next when there are none. See store.Store.
func (s *Store) Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		grown := s.notifier.next()
		entries, err := s.readFile(ctx, after, max)
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 || wait <= 0 {
			return entries, nil
		}
		select {
		case <-grown:
		case <-timeout.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.closed:
			return nil, fmt.Errorf("%w: it is closed", bridge.ErrUnavailable)
		}
	}
}

func (s *Store) readFile(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error) {
	var entries []bridge.Entry
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		cursor := tx.Bucket([]byte(bucketLog)).Cursor()
		for k, v := cursor.Seek(seqBytes(after + 1)); k != nil && len(entries) < max; k, v = cursor.Next() {
			e, err := store.DecodeEvent(bytes.Clone(v))
			if err != nil {
				return err
			}
			entries = append(entries, bridge.Entry{Seq: seqOf(k), Event: e})
		}
		return nil
	})
	return entries, err
}

// Entry returns one entry.
func (s *Store) Entry(ctx context.Context, seq bridge.Seq) (e bridge.Entry, ok bool, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte(bucketLog)).Get(seqBytes(seq))
		if data == nil {
			return nil
		}
		ev, err := store.DecodeEvent(bytes.Clone(data))
		e, ok = bridge.Entry{Seq: seq, Event: ev}, err == nil
		return err
	})
	return e, ok, err
}

// Last returns the newest Seq ever given.
func (s *Store) Last(ctx context.Context) (last bridge.Seq, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		last = bridge.Seq(tx.Bucket([]byte(bucketLog)).Sequence())
		return nil
	})
	return last, err
}

// LogSize counts the log's entries. It looks at the head of each of the log's pages, a few milliseconds for 100 000 events.
func (s *Store) LogSize(ctx context.Context) (entries int, oldest bridge.Seq, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		log := tx.Bucket([]byte(bucketLog))
		first, _ := log.Cursor().First()
		entries, oldest = log.Stats().KeyN, seqOf(first)
		return nil
	})
	return entries, oldest, err
}

// Claimed returns when a session's claims were taken.
func (s *Store) Claimed(ctx context.Context, session string, keys ...string) ([]bridge.Seq, error) {
	values := make([][]byte, len(keys))
	committing := s.committing.Load() // before pending: what is no longer here is there
	for i, key := range keys {
		values[i] = s.pending.get(claimKey(session, key))
	}
	found := make([]bridge.Seq, len(keys))
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		sessions := tx.Bucket([]byte(bucketSessions))
		now := bridge.SeqAt(s.now())
		for i, key := range keys {
			value := values[i]
			if value == nil {
				value = committing.get(tx, claimKey(session, key))
			}
			if value == nil {
				value = sessions.Get(claimKey(session, key))
			}
			if at := heldOf(value).at; value != nil && (session != "" || !expired(at, now)) {
				found[i] = at
			}
		}
		return nil
	})
	return found, err
}

// Lanes returns the names of all lanes.
func (s *Store) Lanes(ctx context.Context) (names []string, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketLanes)).ForEach(func(k, _ []byte) error {
			name, _, _ := cutName(k)
			names = append(names, name)
			return nil
		})
	})
	slices.Sort(names) // the keys sort by length first
	return names, err
}

// Lane returns what is kept of a lane.
func (s *Store) Lane(ctx context.Context, name string) (state bridge.LaneState, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		prefix := lanePrefix(name)
		cursor := tx.Bucket([]byte(bucketLanes)).Get(prefix)
		state.Known, state.Cursor = cursor != nil, seqOf(cursor)
		marks := tx.Bucket([]byte(bucketDone)).Cursor()
		first := markKey(name, bridge.Mark{Seq: state.Cursor + 1}) // some from before may not have gone yet
		for k, _ := marks.Seek(first); bytes.HasPrefix(k, prefix); k, _ = marks.Next() {
			rest := k[len(prefix):]
			state.Done = append(state.Done, bridge.Mark{Seq: seqOf(rest), Target: string(rest[8:])})
		}
		return nil
	})
	return state, err
}
