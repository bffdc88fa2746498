// Package msgmap is what the store keeps of where each session and each message is shown: a session's thread on a platform, the
// session of a thread, what a message became and what a platform's message is. It has the rows that several rooms of the relay read
// or write, each with its own type, so that no other package knows their tables, keys or values. It knows the log and the store's
// rows, and neither lanes nor platforms.
package msgmap

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Store is what the map needs of the store; package store says what each method promises.
type Store interface {
	Get(ctx context.Context, table, key string) ([]byte, error)
	GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error)
	Claimed(ctx context.Context, session string, keys ...string) ([]bridge.Seq, error)
	Now(ctx context.Context) (time.Time, error)
}

// Row reads a row whose value is a T; nil: there is none. raw is the value itself, by which a batch can be held to what was read.
func Row[T any](ctx context.Context, s Store, table, key string) (row *T, raw []byte, err error) {
	if raw, err = s.Get(ctx, table, key); err != nil || raw == nil {
		return nil, nil, err
	}
	row = new(T)
	return row, raw, json.Unmarshal(raw, row)
}

// get reads a row's value into v, and says whether there is one.
func get(ctx context.Context, s Store, table, key string, v any) (ok bool, err error) {
	value, err := s.Get(ctx, table, key)
	if err != nil || value == nil {
		return false, err
	}
	if err := json.Unmarshal(value, v); err != nil {
		return false, fmt.Errorf("row %q of table %s: %w", key, table, err)
	}
	return true, nil
}
