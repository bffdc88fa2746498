package bridgeclient

import (
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// settleFor is how long what comes first of a session is put in order: a hook of the SDK's may run late.
const settleFor = 100 * time.Millisecond

// ownData marks what we send to a session's sockets, so that we know it when we see it there.
type ownData map[string]any

// watched is a session of the SDK's: a socket of the session's, as the SDK sees it, that sees what its handlers send.
type watched struct {
	id        string
	since     time.Time // the socket was there
	send      func(SiteEvent)
	broadcast func(any)
	heard     atomic.Int64 // nanoseconds since 1970

	mu       sync.Mutex // guards what follows
	last     map[string]any
	ai       bool // the AI spoke last
	settling bool
	held     []heldEvents
	ids      map[string]bool // of the messages that are held or came while settling
}

// heldEvents are events that wait for their place.
type heldEvents struct {
	at     time.Time
	events []SiteEvent
}

// WriteJSON is called by the SDK for each event to the session's sockets.
func (w *watched) WriteJSON(v interface{}) error {
	defer func() { _ = recover() }() // nothing may be thrown into a visitor's request
	w.heard.Store(time.Now().UnixNano())
	w.broadcast(v)
	return nil
}

// Close is called by nobody.
func (w *watched) Close() error { return nil }

func (w *watched) settle() {
	w.settling, w.ids = true, make(map[string]bool)
	time.AfterFunc(settleFor, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		slices.SortStableFunc(w.held, func(a, b heldEvents) int { return a.at.Compare(b.at) })
		for _, h := range w.held {
			for _, e := range h.events {
				w.send(e)
			}
		}
		w.settling, w.held = false, nil
	})
}

// seen takes events of the session. A message, known by its id, is taken once, whether it comes from its handler's goroutine or
// from a hook.
func (w *watched) seen(id string, at time.Time, events ...SiteEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id != "" && w.ids[id] {
		return
	}
	if id != "" && (w.settling || at.Before(w.since)) {
		w.ids[id] = true
	}
	if w.settling {
		w.held = append(w.held, heldEvents{at, events})
		return
	}
	for _, e := range events {
		w.send(e)
	}
}

func (w *watched) remember(state map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = state
}

// state is the session as it was last seen.
func (w *watched) state() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		return map[string]any{"id": w.id, "visitorId": w.id}
	}
	return w.last
}

func (w *watched) known() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last != nil
}

func (w *watched) human() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ai = false
}

func (w *watched) takesOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := !w.ai
	w.ai = true
	return first
}

// What follows reads the SDK's values by the names of their fields.

func deref(v reflect.Value) reflect.Value {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		v = v.Elem()
	}
	return v
}

// field returns a field's value; nil when there is none or it is a nil pointer.
func field(v reflect.Value, name string) any {
	v = deref(v)
	if !v.IsValid() || v.Kind() != reflect.Struct {
		return nil
	}
	f := v.FieldByName(name)
	if !f.IsValid() || !f.CanInterface() || f.Kind() == reflect.Pointer && f.IsNil() {
		return nil
	}
	return f.Interface()
}

func stringOf(v reflect.Value, name string) string {
	f := reflect.ValueOf(field(v, name))
	if !f.IsValid() || f.Kind() != reflect.String {
		return ""
	}
	return f.String()
}

func timeOf(v reflect.Value, name string) time.Time {
	t, _ := field(v, name).(time.Time)
	return t
}

// plain is a value as JSON has it.
func plain(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return out
}

// copyFields reads the named fields, and no others, into a map by their JSON names.
func copyFields(v reflect.Value, names ...string) map[string]any {
	out := make(map[string]any)
	v = deref(v)
	if !v.IsValid() || v.Kind() != reflect.Struct {
		return out
	}
	for _, name := range names {
		f, ok := v.Type().FieldByName(name)
		if !ok {
			continue
		}
		value := v.FieldByIndex(f.Index)
		if value.IsZero() {
			continue
		}
		if t, ok := value.Interface().(time.Time); ok {
			out[jsonName(f)] = t.UTC().Format(time.RFC3339Nano)
			continue
		}
		out[jsonName(f)] = plain(value.Interface())
	}
	return out
}

func jsonName(f reflect.StructField) string {
	for i, c := range f.Tag.Get("json") {
		if c == ',' {
			return f.Tag.Get("json")[:i]
		}
	}
	if tag := f.Tag.Get("json"); tag != "" {
		return tag
	}
	return f.Name
}

// sessionState copies what no message changes: lastActivity, operatorOnline and aiActive are written by other handlers at any
// time, without a lock.
func sessionState(session reflect.Value) map[string]any {
	return copyFields(session, "ID", "VisitorID", "CreatedAt", "Metadata", "Identity", "UserPhone", "UserPhoneCountry")
}

// messageFields copies what the bridge needs of a message.
func messageFields(message reflect.Value) map[string]any {
	m := copyFields(message, "ID", "SessionID", "Content", "Sender", "Timestamp", "ReplyTo", "Metadata", "Attachments")
	if m["content"] == nil {
		m["content"] = ""
	}
	files, _ := m["attachments"].([]any)
	for _, f := range files {
		if a, ok := f.(map[string]any); ok && a["createdAt"] == "0001-01-01T00:00:00Z" {
			delete(a, "createdAt")
		}
	}
	return m
}
