package bolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pocketping/bridge/internal/bridge"
)

// filled makes a store with some pages of everything, and returns its path. killed leaves it as a kill does: without its list
// of free pages.
func filled(t *testing.T, killed bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bridge.db")
	s := open(t, path, Options{pendingKeys: 100})
	for i := range 200 {
		session := fmt.Sprint("s", i)
		b := bridge.Batch{
			Claims: []bridge.Claim{{Session: session, Key: "m"}},
			Events: []bridge.Event{message(session, strings.Repeat("x", 300))},
			Rows:   []bridge.Row{{Table: "t", Key: session, Value: []byte(strings.Repeat("y", 300)), Session: session}},
		}
		if _, err := s.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if killed {
		s.group.Close()
		s.closeOnce.Do(func() { close(s.closed) })
		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// isDamage says whether an error is one that a person can do something with.
func isDamage(t *testing.T, what, path string, err error) {
	t.Helper()
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "put a backup of it in its place") ||
		strings.Contains(err.Error(), "goroutine") {
		t.Errorf("%s: %v", what, err)
	}
}

// spoil writes over a part of the file.
func spoil(t *testing.T, path string, offset int64, what []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(what, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedAtStart opens files that are not what was left.
func TestDamagedAtStart(t *testing.T) {
	page := int64(os.Getpagesize())
	junk := []byte(strings.Repeat("junk", int(page)/4))
	for name, hurt := range map[string]func(t *testing.T, path string){
		"empty":      func(t *testing.T, path string) { truncate(t, path, 0) },
		"one byte":   func(t *testing.T, path string) { truncate(t, path, 1) },
		"two pages":  func(t *testing.T, path string) { truncate(t, path, 2*page) },
		"a half":     func(t *testing.T, path string) { truncate(t, path, size(t, path)/2/page*page) },
		"no metas":   func(t *testing.T, path string) { spoil(t, path, 0, append(junk, junk...)) },
		"not a file": func(t *testing.T, path string) { spoil(t, path, 0, []byte(strings.Repeat("x", int(size(t, path))))) },
	} {
		for _, killed := range []bool{true, false} {
			path := filled(t, killed)
			hurt(t, path)
			_, err := Open(path, Options{})
			isDamage(t, fmt.Sprint(name, killed), path, err)
			_, _, err = Compact(path)
			isDamage(t, fmt.Sprint("compact: ", name, killed), path, err)
		}
	}
	// Any page of all, after a kill.
	path := filled(t, true)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damages := 0
	for at := 2 * page; at < int64(len(whole)); at += page {
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		spoil(t, path, at, junk)
		s, err := Open(path, Options{})
		if err != nil {
			damages++
			isDamage(t, fmt.Sprint("page ", at/page), path, err)
			continue
		}
		if err := s.Close(); err != nil { // it was a free one
			t.Error(err)
		}
	}
	if damages < 20 {
		t.Errorf("%d pages were missed when they were damaged", damages)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedInUse damages every page that is in use while the store is open, but for those in which everything begins.
func TestDamagedInUse(t *testing.T) {
	path := filled(t, false)
	s := open(t, path, Options{})
	page := int64(os.Getpagesize())
	spoil(t, path, 2*page, []byte(strings.Repeat("junk", int(size(t, path)-2*page)/4)))
	_, err := s.List(t.Context(), "t", "", 1000)
	isDamage(t, "List", path, err)
	if !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("List: %v", err)
	}
	_, err = s.Commit(t.Context(), bridge.Batch{Events: []bridge.Event{message("s", "x")}})
	isDamage(t, "Commit", path, err)
	isDamage(t, "Ping", path, s.Ping(t.Context()))
	if !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Commit: %v", err)
	}
	_ = s.Close() // it ends
}

// TestNewStore makes a store where none is, whole or not at all.
func TestNewStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "bridge.db")
	s := open(t, path, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 || files[0].Name() != "bridge.db" {
		t.Errorf("there are %v, %v", files, err)
	}
}

// TestFreelistIsKept: a file that was closed in peace is opened without a look at all of it.
func TestFreelistIsKept(t *testing.T) {
	for _, killed := range []bool{true, false} {
		path := filled(t, killed)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		w := &walker{file: f, size: size(t, path)}
		if err := w.walk(); err != nil || (w.seen != nil) != killed {
			t.Errorf("killed %v: %d pages, %v", killed, len(w.seen), err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		s := open(t, path, Options{})
		if rows, err := s.List(t.Context(), "t", "", 1000); err != nil || len(rows) != 200 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
