package files

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	keySize  = 32 // bytes
	keyTable = "keys"
	keyRow   = "file links"
)

// Store is what LoadKey needs of the store; its methods promise what those of the same names promise there.
type Store interface {
	Get(ctx context.Context, table, key string) ([]byte, error)
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
}

// LoadKey returns the key that links are signed with, and makes it if there is none: all bridges on one store get the same. An
// error is the store's.
func LoadKey(ctx context.Context, s Store) ([]byte, error) {
	for {
		key, err := s.Get(ctx, keyTable, keyRow)
		if err != nil {
			return nil, err
		}
		if key != nil {
			if len(key) != keySize {
				return nil, errors.New("the store has a key for file links that is none")
			}
			return bytes.Clone(key), nil
		}
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // ends the program rather than return an error
		_, err = s.Commit(ctx, bridge.Batch{
			If:   []bridge.Row{{Table: keyTable, Key: keyRow}},
			Rows: []bridge.Row{{Table: keyTable, Key: keyRow, Value: key}},
		})
		if err != nil && !errors.Is(err, bridge.ErrChanged) {
			return nil, err
		}
		// Another bridge may have been first. What is in the store is the key.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}
