package files

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pocketping/bridge/internal/bridge"
)

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, keySize) }

// clock is a time that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newLinks(t testing.TB, o LinkOptions) *Links {
	t.Helper()
	if o.Key == nil {
		o.Key = testKey(1)
	}
	l, err := NewLinks(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLink(t *testing.T) {
	now := &clock{now: time.Unix(1_800_000_000, 0)}
	l := newLinks(t, LinkOptions{Base: "https://bridge.test/sub/", TTL: time.Hour, Now: now.Now})
	a := bridge.Attachment{Filename: "Rechnung ä/1.pdf", MimeType: "Application/PDF; x=y", Size: 12345, BridgeFileID: "BQACAgQ-x"}
	text, ok := strings.CutPrefix(l.Link("telegram", a), "https://bridge.test/sub/files/")
	if !ok || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Fatalf("%q", text)
	}
	got, err := l.read(text)
	want := link{platform: "telegram", ref: "BQACAgQ-x", name: "Rechnung ä_1.pdf", typ: "application/pdf", size: 12345, until: 1_800_003_600}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(link{})); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	// Another bridge with the same key reads it, one with another key does not.
	if got, err = newLinks(t, LinkOptions{Now: now.Now}).read(text); err != nil || got != want {
		t.Errorf("%+v %v", got, err)
	}
	if _, err = newLinks(t, LinkOptions{Key: testKey(2), Now: now.Now}).read(text); !errors.Is(err, errForged) {
		t.Errorf("%v", err)
	}
	now.pass(time.Hour - time.Second)
	if _, err := l.read(text); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	now.pass(time.Second)
	if _, err := l.read(text); !errors.Is(err, errExpired) {
		t.Errorf("at its end: %v", err)
	}
	if _, err := NewLinks(LinkOptions{Key: make([]byte, 16)}); err == nil {
		t.Error("a short key is taken")
	}
	for _, none := range []bridge.Attachment{{}, {BridgeFileID: strings.Repeat("x", 1025)}} {
		if got := l.Link("telegram", none); got != "" {
			t.Errorf("%q", got)
		}
	}
	long := l.Link(strings.Repeat("p", 127), bridge.Attachment{Filename: strings.Repeat("n", 999), MimeType: "a/" + strings.Repeat("b", 999),
		BridgeFileID: strings.Repeat("r", 1024), Size: -1})
	if got, err := l.read(strings.TrimPrefix(long, "https://bridge.test/sub/files/")); err != nil || got.size != 0 || got.typ != "" || len(got.name) != maxName {
		t.Errorf("%+v %v", got, err)
	}
}

// No change of a link makes another one that works.
func TestForged(t *testing.T) {
	l := newLinks(t, LinkOptions{})
	for _, name := range []string{"a.png", "ab.png", "abc.png"} { // of all three remainders that base64 has
		text := strings.TrimPrefix(l.Link("telegram", bridge.Attachment{Filename: name, BridgeFileID: "x"}), "/files/")
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		forged := []string{"", ".", "x", text + "A", text + "=", "A" + text, text[:len(text)-1], text + "\n", text[:10] + "\n" + text[10:],
			base64.StdEncoding.EncodeToString(raw), strings.Repeat("A", maxSigned+1)}
		for i := range raw {
			changed := bytes.Clone(raw)
			changed[i] ^= 1
			forged = append(forged, base64.RawURLEncoding.EncodeToString(changed), base64.RawURLEncoding.EncodeToString(raw[:i]))
		}
		// The last character may have bits to spare.
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			forged = append(forged, text[:len(text)-1]+string(c))
		}
		for _, f := range forged {
			if got, err := l.read(f); err == nil && f != text {
				t.Errorf("%q is %+v", f, got)
			}
		}
	}
	// What is signed and makes no sense is no link either.
	for _, b := range []string{"", "\x02", "\x01", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\x7f\x00\xff\x01", "\x01\x7f\x00\x01\xff\x01r\x00\x00",
		"\x01\xff\xff\xff\xff\x7f\x00\x01p\x01r\x00\x00more"} {
		if got, err := l.read(base64.RawURLEncoding.EncodeToString(append([]byte(b), l.sum([]byte(b))...))); err == nil {
			t.Errorf("%q is %+v", b, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	l := newLinks(f, LinkOptions{Now: func() time.Time { return time.Unix(1_000, 0) }})
	f.Add(strings.TrimPrefix(l.Link("telegram", bridge.Attachment{Filename: "ä.png", MimeType: "image/png", Size: 5, BridgeFileID: "x"}), "/files/"), true)
	f.Add("\x01\xe8\x07\x00\x01p\x01r\x00\x00", false)
	f.Add("AQ", true)
	f.Fuzz(func(t *testing.T, text string, whole bool) {
		if !whole { // what stands below the signature is looked at too
			text = base64.RawURLEncoding.EncodeToString(append([]byte(text), l.sum([]byte(text))...))
		}
		got, err := l.read(text)
		if err != nil {
			if got != (link{}) || !errors.Is(err, errForged) && !errors.Is(err, errExpired) {
				t.Fatalf("%+v %v", got, err)
			}
			return
		}
		if again, err := l.read(l.sign(got)); err != nil || again != got {
			t.Fatalf("%+v, read again %+v: %v", got, again, err)
		}
	})
}

// memory keeps rows as a store does.
type memory struct {
	mu    sync.Mutex
	rows  map[string][]byte
	fault error
	first func() // called once, before the first commit
}

func (m *memory) Get(_ context.Context, table, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[table+"/"+key], m.fault
}

func (m *memory) Commit(_ context.Context, b bridge.Batch) (bridge.Result, error) {
	if first := m.first; first != nil {
		m.first = nil
		first()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range b.If {
		if !bytes.Equal(m.rows[row.Table+"/"+row.Key], row.Value) {
			return bridge.Result{}, bridge.ErrChanged
		}
	}
	for _, row := range b.Rows {
		m.rows[row.Table+"/"+row.Key] = row.Value
	}
	return bridge.Result{}, nil
}

func TestLoadKey(t *testing.T) {
	m := &memory{rows: map[string][]byte{}}
	var all sync.WaitGroup
	keys := make(chan string, 8)
	for range cap(keys) {
		all.Go(func() {
			key, err := LoadKey(t.Context(), m)
			keys <- fmt.Sprint(string(key), err)
		})
	}
	all.Wait()
	one := <-keys
	for range cap(keys) - 1 {
		if other := <-keys; other != one {
			t.Error("two bridges have two keys")
		}
	}
	if len(m.rows) != 1 || len(m.rows["keys/file links"]) != keySize {
		t.Errorf("%d rows", len(m.rows))
	}

	late := &memory{rows: map[string][]byte{}}
	late.first = func() { late.rows["keys/file links"] = testKey(7) } // another bridge, in between
	if key, err := LoadKey(t.Context(), late); err != nil || !bytes.Equal(key, testKey(7)) {
		t.Errorf("%x %v", key, err)
	}
	if _, err := LoadKey(t.Context(), &memory{rows: map[string][]byte{"keys/file links": []byte("short")}}); err == nil {
		t.Error("a short key is taken")
	}
	if _, err := LoadKey(t.Context(), &memory{fault: bridge.ErrUnavailable}); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
