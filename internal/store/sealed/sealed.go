// Package sealed keeps the secrets of a store encrypted in it: callbacks' registrations, with what signs for them, and the keys that
// links and sessions are signed with. Everything else is the store's as it is.
package sealed

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
)

// tables are those whose values are secrets.
func tables() []string { return []string{"callbacks", "keys"} }

func isSecret(table string) bool { return slices.Contains(tables(), table) }

const (
	// tableSealing has one row, a known text that the key has sealed: by it a wrong key is known.
	tableSealing = "sealing"
	keyProof     = "proof"
	proof        = "the store's secrets are sealed"

	// mark begins every sealed value; behind it stand the nonce and what AES-256-GCM makes of the value, with the table and the row's key as
	// its additional data.
	mark = "sealed1:"

	rowsMost = 100_000 // of a table of secrets, of which there are some thousand
)

// The faults of a key.
var (
	ErrNoKey    = errors.New("the secrets in the store are sealed; set SECRETS_KEY to the key that sealed them")
	ErrWrongKey = errors.New("SECRETS_KEY is not the key that sealed the secrets in the store; set it to that one")
)

// Open returns a store whose secrets are sealed with a key, of whatever length, and seals those that are plain yet. Without a key the
// store is returned as it is, unless it has sealed secrets. An error is ErrNoKey, ErrWrongKey or the store's.
func Open(ctx context.Context, st store.Store, key bridge.Secret) (store.Store, error) {
	raw, err := st.Get(ctx, tableSealing, keyProof)
	if err != nil {
		return nil, err
	}
	if key == "" {
		if raw != nil {
			return nil, ErrNoKey
		}
		return st, nil
	}
	s, err := newStore(st, key)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		row := bridge.Row{Table: tableSealing, Key: keyProof}
		absent := row
		row.Value = s.seal(row.Table, row.Key, []byte(proof))
		if _, err = st.Commit(ctx, bridge.Batch{If: []bridge.Row{absent}, Rows: []bridge.Row{row}}); err != nil && !errors.Is(err, bridge.ErrChanged) {
			return nil, err
		}
		if raw, err = st.Get(ctx, tableSealing, keyProof); err != nil { // another bridge may have been first
			return nil, err
		}
	}
	if text, err := s.open(tableSealing, keyProof, raw); err != nil || string(text) != proof {
		return nil, ErrWrongKey
	}
	return s, s.sealAll(ctx)
}

func newStore(st store.Store, key bridge.Secret) (*Store, error) {
	secret, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, "pocketping bridge: secrets in the store", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	s := &Store{Store: st, seen: map[string]seen{}}
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

// Store seals what is written to its tables of secrets, and opens what is read from them. Values that were written before are read as
// they are.
type Store struct {
	store.Store
	aead cipher.AEAD

	mu   sync.Mutex
	seen map[string]seen // table and key → the value as it was read last: a condition on it is one on what the store has
}

type seen struct{ plain, raw []byte }

// Exclusive is the inner store's.
func (s *Store) Exclusive() bool {
	e, ok := s.Store.(interface{ Exclusive() bool })
	return ok && e.Exclusive()
}

// Compact is the inner store's, where it has one: it says whether the file is without what was ever in it.
func (s *Store) Compact(ctx context.Context) (done bool, err error) {
	c, ok := s.Store.(interface {
		Compact(ctx context.Context) (bool, error)
	})
	if !ok {
		return true, nil // there is no file
	}
	return c.Compact(ctx)
}

func (s *Store) seal(table, key string, plain []byte) []byte {
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce) // ends the program rather than return an error
	return s.aead.Seal(append([]byte(mark), nonce...), nonce, plain, []byte(table+"\x00"+key))
}

// open returns a value as it was before it was sealed; one that is not sealed is returned as it is.
func (s *Store) open(table, key string, raw []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(raw, []byte(mark))
	if !ok {
		return raw, nil
	}
	if len(sealed) < s.aead.NonceSize() {
		return nil, fmt.Errorf("a secret in the store (table %s) is cut short", table)
	}
	plain, err := s.aead.Open(nil, sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():], []byte(table+"\x00"+key))
	if err != nil {
		return nil, fmt.Errorf("a secret in the store (table %s) was sealed with another key, or changed", table)
	}
	if plain == nil {
		plain = []byte{}
	}
	return plain, nil
}

// read opens a value and remembers how it stands in the store.
func (s *Store) read(table, key string, raw []byte) ([]byte, error) {
	if !isSecret(table) || raw == nil {
		return raw, nil
	}
	plain, err := s.open(table, key, raw)
	if err == nil {
		s.mu.Lock()
		s.seen[table+"\x00"+key] = seen{bytes.Clone(plain), bytes.Clone(raw)}
		s.mu.Unlock()
	}
	return plain, err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, table, key string) ([]byte, error) {
	raw, err := s.Store.Get(ctx, table, key)
	if err != nil {
		return nil, err
	}
	return s.read(table, key, raw)
}

// GetAll implements store.Store.
func (s *Store) GetAll(ctx context.Context, table string, keys ...string) ([][]byte, error) {
	values, err := s.Store.GetAll(ctx, table, keys...)
	if err != nil || !isSecret(table) {
		return values, err
	}
	for i, raw := range values {
		if values[i], err = s.read(table, keys[i], raw); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, table, after string, max int) ([]bridge.Row, error) {
	rows, err := s.Store.List(ctx, table, after, max)
	if err != nil {
		return nil, err
	}
	return rows, s.readRows(table, rows)
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, table, place string, max int) ([]bridge.Row, string, error) {
	rows, next, err := s.Store.Scan(ctx, table, place, max)
	if err != nil {
		return nil, "", err
	}
	return rows, next, s.readRows(table, rows)
}

func (s *Store) readRows(table string, rows []bridge.Row) (err error) {
	if !isSecret(table) {
		return nil
	}
	for i := range rows {
		if rows[i].Value, err = s.read(table, rows[i].Key, rows[i].Value); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	b.Rows = s.change(b.Rows, s.seal)
	b.If = s.change(b.If, func(table, key string, plain []byte) []byte {
		s.mu.Lock()
		defer s.mu.Unlock()
		if was, ok := s.seen[table+"\x00"+key]; ok && bytes.Equal(was.plain, plain) {
			return was.raw
		}
		return plain
	})
	return s.Store.Commit(ctx, b)
}

// change returns rows with the values of those in the tables of secrets changed.
func (s *Store) change(rows []bridge.Row, to func(table, key string, value []byte) []byte) []bridge.Row {
	out := slices.Clone(rows)
	for i, row := range out {
		if isSecret(row.Table) && row.Value != nil {
			out[i].Value = to(row.Table, row.Key, row.Value)
		}
	}
	return out
}

// sealAll seals what is plain yet. What others change meanwhile they seal themselves.
func (s *Store) sealAll(ctx context.Context) error {
	for _, table := range tables() {
		rows, err := s.Store.List(ctx, table, "", rowsMost)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if bytes.HasPrefix(row.Value, []byte(mark)) {
				continue
			}
			sealed := bridge.Row{Table: table, Key: row.Key, Value: s.seal(table, row.Key, row.Value)}
			before := bridge.Row{Table: table, Key: row.Key, Value: row.Value}
			_, err := s.Store.Commit(ctx, bridge.Batch{If: []bridge.Row{before}, Rows: []bridge.Row{sealed}})
			if err != nil && !errors.Is(err, bridge.ErrChanged) {
				return err
			}
		}
	}
	return nil
}
