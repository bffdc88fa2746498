package sealed

import (
	"bytes"
	"testing"
)

// FuzzOpen opens values as a damaged store may have them: what was not sealed with the key for this row is an error, never a value.
func FuzzOpen(f *testing.F) {
	s, err := newStore(nil, aKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("callbacks", "a", []byte(`{"id":"a"}`), uint16(3))
	f.Add("keys", "", []byte{}, uint16(0))
	f.Add("keys", "b", []byte(mark), uint16(9))
	f.Fuzz(func(t *testing.T, table, key string, value []byte, at uint16) {
		if plain, err := s.open(table, key, value); err == nil && !bytes.Equal(plain, value) {
			t.Fatalf("%q is opened as %q", value, plain)
		}
		raw := s.seal(table, key, value)
		if plain, err := s.open(table, key, raw); err != nil || !bytes.Equal(plain, value) {
			t.Fatalf("%q is opened as %q: %v", value, plain, err)
		}
		if _, err := s.open(table, key+"x", raw); err == nil {
			t.Fatal("another row's secret is taken")
		}
		changed := bytes.Clone(raw)
		changed[len(mark)+int(at)%(len(raw)-len(mark))] ^= 1
		if _, err := s.open(table, key, changed); err == nil {
			t.Fatal("a changed secret is taken")
		}
	})
}
