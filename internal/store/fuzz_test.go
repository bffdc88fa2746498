package store

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

// FuzzEvent reads entries as a damaged store may have them, and writes events and reads them again.
func FuzzEvent(f *testing.F) {
	f.Add([]byte("{\"type\":\"x\",\"origin\":\"app\"}\n{}"), "visitor_message", "app", "s\n1", "m\"", "", true)
	f.Add([]byte("{}"), "", "", "", "", "\u2028", false)
	f.Add([]byte("\n\n"), "x", "y", "\\", "\x7f", "ü", true)
	f.Fuzz(func(t *testing.T, raw []byte, kind, origin, session, message, by string, opens bool) {
		if e, err := DecodeEvent(raw); err == nil {
			roundTrip(t, e)
		}
		for _, s := range []string{kind, origin, session, message, by} {
			if !utf8.ValidString(s) {
				return // no id of the contract
			}
		}
		roundTrip(t, bridge.Event{Type: bridge.Type(kind), Origin: origin, Session: session, Message: message, By: by, Opens: opens, Body: raw})
	})
}

func roundTrip(t *testing.T, e bridge.Event) {
	t.Helper()
	data, err := EncodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeEvent(data)
	if err != nil || !bytes.Equal(got.Body, e.Body) {
		t.Fatalf("%+v is read as %+v: %v", e, got, err)
	}
	if got.Body, e.Body = nil, nil; got.Type != e.Type || got.Origin != e.Origin || got.Session != e.Session || got.Message != e.Message ||
		got.Callback != e.Callback || got.By != e.By || got.Opens != e.Opens || got.Blocked != e.Blocked {
		t.Fatalf("%+v is read as %+v", e, got)
	}
}
