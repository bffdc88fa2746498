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
		err := s.transact(func(w *writer) error {
			var keys [][]byte
			cursor := w.log.Cursor()
			for k, _ := cursor.First(); k != nil && seqOf(k) < before && len(keys) < chunk; k, _ = cursor.Next() {
				keys = append(keys, k)
			}
			more = len(keys) == chunk
			for _, k := range keys {
				w.delete(w.log, k)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetLane removes a lane and its marks.
func (s *Store) ForgetLane(ctx context.Context, name string, l bridge.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	lost := false
	err := s.transact(func(w *writer) error {
		if lost = l != (bridge.Lease{}) && !s.holds(l); lost {
			return errUnwritten
		}
		lane := lanePrefix(name)
		w.delete(w.lanes, lane)
		for _, k := range keysUntil(w.done, lane, append(bytes.Clone(lane), bytes.Repeat([]byte{0xff}, 9)...)) {
			w.delete(w.done, k)
		}
		return nil
	})
	if lost {
		return bridge.ErrLeaseLost
	}
	return err
}

func deleteAll(b *bbolt.Bucket, keys [][]byte) error {
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes old claims and old sessions. A large file that is nearly empty then is compacted.
func (s *Store) Forget(ctx context.Context, lastWordBefore bridge.Seq) (int, error) {
	// Those that have never been in their place are looked for too.
	if err := s.update(ctx, func(*bbolt.Tx) error { return nil }); err != nil {
		return 0, err
	}
	if err := s.forgetClaims(ctx); err != nil {
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
			err := s.update(ctx, func(tx *bbolt.Tx) error {
				for removed := 0; len(old) > 0 && removed < chunk; old = old[1:] {
					// It may have spoken since.
					word := tx.Bucket([]byte(bucketSessions)).Get(wordKey(old[0]))
					if word == nil || seqOf(word) >= lastWordBefore {
						continue
					}
					n, err := forgetSession(tx, old[0])
					if err != nil {
						return err
					}
					removed += n
					went++
				}
				return nil
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
		if len(rest) == 1 && rest[0] == kindWord && seqOf(v) < before {
			old = append(old, session)
		}
		k, v = cursor.Seek(append(sessionPrefix(session), 0xff))
	}
	return old, nil
}

// forgetClaims removes the claims without a session that no longer count.
func (s *Store) forgetClaims(ctx context.Context) error {
	prefix := claimKey("", "")
	from := prefix
	for from != nil {
		var old [][]byte
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			now := bridge.SeqAt(s.now())
			cursor := tx.Bucket([]byte(bucketSessions)).Cursor()
			k, v := cursor.Seek(from)
			for seen := 0; seen < chunk && bytes.HasPrefix(k, prefix); seen++ {
				if expired(heldOf(v).at, now) {
					old = append(old, bytes.Clone(k))
				}
				k, v = cursor.Next()
			}
			if from = nil; bytes.HasPrefix(k, prefix) {
				from = bytes.Clone(k)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(old) == 0 {
			continue
		}
		err = s.update(ctx, func(tx *bbolt.Tx) error {
			now := bridge.SeqAt(s.now())
			sessions := tx.Bucket([]byte(bucketSessions))
			for _, k := range old {
				// It may have been taken anew.
				if v := sessions.Get(k); v == nil || !expired(heldOf(v).at, now) {
					continue
				}
				if err := sessions.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetSession removes a session.
func (s *Store) ForgetSession(ctx context.Context, session string) error {
	if session == "" {
		return nil
	}
	return s.update(ctx, func(tx *bbolt.Tx) error {
		_, err := forgetSession(tx, session)
		return err
	})
}

// forgetSession removes everything of a session and returns how many keys went.
func forgetSession(tx *bbolt.Tx, session string) (int, error) {
	sessions, rows := tx.Bucket([]byte(bucketSessions)), tx.Bucket([]byte(bucketRows))
	prefix := sessionPrefix(session)
	keys := keysUntil(sessions, prefix, append(bytes.Clone(prefix), 0xff))
	removed := len(keys)
	for _, k := range keys {
		if rest := k[len(prefix):]; rest[0] == kindRow {
			// The rest is the row's own key.
			if err := rows.Delete(rest[1:]); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, deleteAll(sessions, keys)
}
