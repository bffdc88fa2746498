package sealed

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/redis/redistest"
)

const aKey, anotherKey = bridge.Secret("0123456789abcdef0123456789abcdef"), bridge.Secret("fedcba9876543210fedcba9876543210")

func put(t *testing.T, s store.Store, table, key, value string, before ...bridge.Row) error {
	t.Helper()
	_, err := s.Commit(t.Context(), bridge.Batch{If: before, Rows: []bridge.Row{{Table: table, Key: key, Value: []byte(value)}}})
	return err
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSealed(t *testing.T) {
	stores := map[string]func(t *testing.T) store.Store{
		"bolt": func(t *testing.T) store.Store {
			s, err := bolt.Open(filepath.Join(t.TempDir(), "bridge.db"), bolt.Options{})
			check(t, err)
			return s
		},
		"redis": func(t *testing.T) store.Store {
			s, err := redis.Open(t.Context(), redistest.Start(t).URL(), redis.Options{})
			check(t, err)
			return s
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := open(t)
			t.Cleanup(func() { check(t, inner.Close()) })
			ctx := t.Context()
			check(t, put(t, inner, "callbacks", "old", "plain secret"))
			check(t, put(t, inner, "sessions", "s", "no secret"))
			if s, err := Open(ctx, inner, ""); err != nil || s != inner {
				t.Fatalf("without a key: %v", err)
			}
			s, err := Open(ctx, inner, aKey)
			check(t, err)
			raw, err := inner.Get(ctx, "callbacks", "old")
			check(t, err)
			if bytes.Contains(raw, []byte("plain secret")) {
				t.Error("what was plain is plain still")
			}
			check(t, put(t, s, "callbacks", "new", "new secret"))
			check(t, put(t, inner, "callbacks", "late", "from a bridge without a key")) // one that runs still
			want := map[string]string{"old": "plain secret", "new": "new secret", "late": "from a bridge without a key"}
			rows, err := s.List(ctx, "callbacks", "", 10)
			check(t, err)
			scanned, _, err := s.Scan(ctx, "callbacks", "", 10)
			check(t, err)
			got, err := s.GetAll(ctx, "callbacks", "old", "new", "late", "none")
			check(t, err)
			if len(rows) != 3 || len(scanned) != 3 || got[3] != nil {
				t.Errorf("%d rows, %d, %q", len(rows), len(scanned), got[3])
			}
			for _, row := range append(rows, scanned...) {
				if string(row.Value) != want[row.Key] {
					t.Errorf("%s is %q", row.Key, row.Value)
				}
			}
			for i, key := range []string{"old", "new", "late"} {
				if string(got[i]) != want[key] {
					t.Errorf("%s is %q", key, got[i])
				}
				// A condition is on the value, whether it is sealed or not.
				if err := put(t, s, "callbacks", key, "changed", bridge.Row{Table: "callbacks", Key: key, Value: []byte("other")}); !errors.Is(err, bridge.ErrChanged) {
					t.Errorf("%s: another value: %v", key, err)
				}
				check(t, put(t, s, "callbacks", key, "changed", bridge.Row{Table: "callbacks", Key: key, Value: []byte(want[key])}))
			}
			if value, err := s.Get(ctx, "sessions", "s"); err != nil || string(value) != "no secret" {
				t.Errorf("%q %v", value, err)
			}
			if _, err := Open(ctx, inner, anotherKey); !errors.Is(err, ErrWrongKey) {
				t.Errorf("another key: %v", err)
			}
			if _, err := Open(ctx, inner, ""); !errors.Is(err, ErrNoKey) {
				t.Errorf("no key: %v", err)
			}
			again, err := Open(ctx, inner, aKey)
			check(t, err)
			if value, err := again.Get(ctx, "callbacks", "late"); err != nil || string(value) != "changed" {
				t.Errorf("%q %v", value, err)
			}
			// A value that was moved to another row, or changed, is none.
			moved, err := inner.Get(ctx, "callbacks", "old")
			check(t, err)
			check(t, put(t, inner, "callbacks", "moved", string(moved)))
			check(t, put(t, inner, "callbacks", "cut", string(moved[:20])))
			for _, key := range []string{"moved", "cut"} {
				if value, err := s.Get(ctx, "callbacks", key); err == nil {
					t.Errorf("%s is %q", key, value)
				}
			}
		})
	}
}

// Nothing of what is written to a store with a key is in its file in clear.
func TestFileHasNoSecret(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bridge.db")
	inner, err := bolt.Open(name, bolt.Options{})
	check(t, err)
	s, err := Open(context.Background(), inner, aKey)
	check(t, err)
	check(t, put(t, s, "callbacks", "c", "a-secret-of-a-callback"))
	check(t, put(t, s, "keys", "k", "a-key-of-links"))
	check(t, s.Close())
	data, err := os.ReadFile(name)
	check(t, err)
	for _, secret := range []string{"a-secret-of-a-callback", "a-key-of-links", aKey.Reveal()} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the file has %s", secret)
		}
	}
}
