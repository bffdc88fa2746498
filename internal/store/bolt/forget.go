package bolt

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"

	"github.com/pocketping/bridge/internal/bridge"
)

// chunk is how many keys one transaction looks at or removes, so that commits never wait long for it. A session goes whole.
const chunk = 500

// Trim removes the entries before the given one. It has nothing to do with sessions, so what of them is pending stays so.
func (s *Store) Trim(ctx context.Context, before bridge.Seq) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.transact(func(w *writer) {
			keys := keysUntil(w.log, nil, seqBytes(before), chunk)
			w.deleteAll(w.log, keys)
			more = len(keys) == chunk
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetLane removes a lane's marks, some at a time, and then the lane.
func (s *Store) ForgetLane(ctx context.Context, name string, l bridge.Lease) error {
	lost := false
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.transact(func(w *writer) {
			if lost = l != (bridge.Lease{}) && !s.holds(l); lost {
				return
			}
			lane := lanePrefix(name)
			marks := keysUntil(w.done, lane, append(bytes.Clone(lane), bytes.Repeat([]byte{0xff}, 9)...), chunk)
			w.deleteAll(w.done, marks)
			if more = len(marks) == chunk; !more {
				w.delete(w.lanes, lane)
			}
		})
		if err != nil {
			return err
		}
		if lost {
			return bridge.ErrLeaseLost
		}
	}
	return nil
}

func (w *writer) deleteAll(b *bbolt.Bucket, keys [][]byte) {
	for _, k := range keys {
		w.delete(b, k)
	}
}

// Forget removes old claims and old sessions. A large file that is nearly empty then is compacted.
func (s *Store) Forget(ctx context.Context, lastWordBefore bridge.Seq) (int, error) {
	// Those that have never been in their place are looked for too.
	if err := s.settled(ctx, func(*writer) {}); err != nil {
		return 0, err
	}
	if _, err := s.forgetClaims(ctx, func(_, value []byte) bool { return expired(heldOf(value).at, bridge.SeqAt(s.now())) }); err != nil {
		return 0, err
	}
	gone := 0
	from := sessionPrefix("\x00") // after everything of the empty session
	for from != nil {
		var old []string
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			old, from = oldSessions(tx.Bucket([]byte(bucketSessions)), from, lastWordBefore)
			return nil
		})
		if err != nil {
			return gone, err
		}
		for len(old) > 0 {
			went := 0
			err := s.settled(ctx, func(w *writer) {
				for left := chunk; len(old) > 0 && left > 0 && w.err == nil; {
					// It may have spoken since.
					if word := w.sessions.Get(wordKey(old[0])); word != nil && seqOf(word) < lastWordBefore {
						removed, whole := w.forget(old[0], left)
						if left -= removed; !whole {
							return
						}
						went++
					}
					old = old[1:]
				}
			})
			if err != nil {
				return gone, err
			}
			gone += went
		}
	}
	s.tighten()
	return gone, nil
}

// oldSessions looks at some sessions from the key on. It returns the old ones among them, and where to go on, nil at the end.
func oldSessions(b *bbolt.Bucket, from []byte, before bridge.Seq) (old []string, next []byte) {
	cursor := b.Cursor()
	k, v := cursor.Seek(from)
	for seen := 0; k != nil; seen++ {
		if seen == chunk {
			return old, bytes.Clone(k)
		}
		session, rest, _ := cutName(k)
		if len(rest) == 1 && rest[0] == kindLastWord && seqOf(v) < before {
			old = append(old, session)
		}
		k, v = cursor.Seek(append(sessionPrefix(session), 0xff))
	}
	return old, nil
}

// forgetClaims removes those claims without a session that match, by their keys and what is kept of them, and returns how many they were.
// What is pending is not looked at.
func (s *Store) forgetClaims(ctx context.Context, match func(key, value []byte) bool) (n int, err error) {
	prefix := claimKey("", "")
	for from := prefix; from != nil; {
		var found [][]byte
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			cursor := tx.Bucket([]byte(bucketSessions)).Cursor()
			k, v := cursor.Seek(from)
			for seen := 0; seen < chunk && bytes.HasPrefix(k, prefix); seen++ {
				if match(k[len(prefix):], v) {
					found = append(found, bytes.Clone(k))
				}
				k, v = cursor.Next()
			}
			if from = nil; bytes.HasPrefix(k, prefix) {
				from = bytes.Clone(k)
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		if len(found) == 0 {
			continue
		}
		err = s.settled(ctx, func(w *writer) {
			for _, k := range found {
				// It may have been taken anew.
				if v := w.sessions.Get(k); v != nil && match(k[len(prefix):], v) {
					w.delete(w.sessions, k)
				}
			}
		})
		if err != nil {
			return n, err
		}
		n += len(found)
	}
	return n, nil
}

// ForgetSession removes a session.
func (s *Store) ForgetSession(ctx context.Context, session string) error {
	for whole := session == ""; !whole; {
		if err := s.settled(ctx, func(w *writer) { _, whole = w.forget(session, chunk) }); err != nil {
			return err
		}
	}
	return nil
}

// forget removes up to most keys of a session: what it owns first, then its claims, and last its last word, by which the rest is
// found again. whole says that nothing of it is left.
func (w *writer) forget(session string, most int) (removed int, whole bool) {
	prefix := sessionPrefix(session)
	of := func(kind byte) []byte { return append(bytes.Clone(prefix), kind) }
	keys := keysUntil(w.sessions, of(kindRow), of(0xff), most)
	for _, k := range keys {
		row := k[len(prefix)+1:] // the rest is the row's own key
		if table, _, ok := cutName(row); ok && w.rows.Get(row) != nil {
			w.counts[table]--
		}
		w.delete(w.rows, row)
	}
	if len(keys) < most {
		keys = append(keys, keysUntil(w.sessions, of(kindClaim), of(kindRow), most-len(keys))...)
	}
	whole = len(keys) < most
	w.deleteAll(w.sessions, keys)
	if whole {
		w.delete(w.sessions, wordKey(session))
	}
	return len(keys) + 1, whole
}
