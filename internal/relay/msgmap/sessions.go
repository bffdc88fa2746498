package msgmap

import (
	"context"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const (
	tableSessions = "sessions" // session → the session as last told, for threads that are opened by others' words
	tableBindings = "bindings" // session → the id of the callback that it is bound to
	// Silence is the table of the open conversations and the sessions whose thread was opened before their first message, those that are
	// silent for longest first: key as SilenceKey makes it, value nothing.
	Silence = "by-silence"
)

// Session returns a session as it was last told; of one that was not, only the id is known, and ok is false.
func Session(ctx context.Context, s Store, id string) (session *bridge.Session, ok bool, err error) {
	session = &bridge.Session{ID: id, VisitorID: id}
	if id == "" {
		return session, false, nil
	}
	ok, err = get(ctx, s, tableSessions, id, session)
	return session, ok, err
}

// SessionRow keeps a session as it was told.
func SessionRow(id string, s *bridge.Session) bridge.Row {
	return bridge.Row{Table: tableSessions, Key: id, Value: bridge.MustJSON(s), Session: id}
}

// Bound returns the callback that a session is bound to; empty: to none.
func Bound(ctx context.Context, s Store, session string) (string, error) {
	value, err := s.Get(ctx, tableBindings, session)
	return string(value), err
}

// AllBound is Bound for several sessions.
func AllBound(ctx context.Context, s Store, sessions ...string) ([]string, error) {
	values, err := s.GetAll(ctx, tableBindings, sessions...)
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = string(value)
	}
	return out, err
}

// BindingRow binds a session to a callback.
func BindingRow(session, callback string) bridge.Row {
	return bridge.Row{Table: tableBindings, Key: session, Value: []byte(callback), Session: session}
}

// BindingOf reads such a row; ok is false for any other.
func BindingOf(row bridge.Row) (session, callback string, ok bool) {
	return row.Key, string(row.Value), row.Table == tableBindings
}

// SilenceKey is <time of the last word>/<session>.
func SilenceKey(session string, last time.Time) string {
	return last.UTC().Format(time.RFC3339) + "/" + session
}

// SilenceRow keeps since when a session is silent.
func SilenceRow(session string, last time.Time) bridge.Row {
	return bridge.Row{Table: Silence, Key: SilenceKey(session, last), Value: []byte{}, Session: session}
}
