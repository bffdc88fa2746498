package msgmap

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableRevised holds what a message that was edited or deleted is now: as Ref.Key says → Revision. It is written with the event that
// tells of the change, so that a dead letter which is delivered again long after shows the present, or nothing.
const tableRevised = "revised"

// Revision is a message as it is since its last edit, or its deletion.
type Revision struct {
	Text  string              `json:"text,omitempty"`
	Files []bridge.Attachment `json:"files,omitempty"` // with Filed
	Filed bool                `json:"filed,omitempty"` // the files are others than they were
	At    time.Time           `json:"at"`              // of the edit, as edits are compared
	Gone  bool                `json:"gone,omitempty"`  // it was deleted
}

// revisionOf is what an event makes of a message; ok is false where it changes none. now stands for the event's place in the log.
func revisionOf(e bridge.Event, now time.Time) (next Revision, ok bool) {
	now = bridge.SeqAt(now).Time()
	switch e.Type {
	case bridge.TypeVisitorDeleted, bridge.TypeOperatorDeleted:
		return Revision{Gone: true, At: now}, true
	case bridge.TypeVisitorEdited:
		var a bridge.AppEvent
		if json.Unmarshal(e.Body, &a) != nil {
			return next, false
		}
		next.Text, _ = Shorten(a.Content)
		if next.At = now; a.EditedAt != "" {
			if at, ok := bridge.Time(a.EditedAt); ok {
				next.At = at
			}
		}
		return next, true
	case bridge.TypeOperatorEdited:
		var m bridge.OperatorEdited
		if json.Unmarshal(e.Body, &m) != nil {
			return next, false
		}
		next.Text, _ = Shorten(m.Content)
		next.Files, next.Filed, next.At = m.Attachments, m.Attachments != nil, now
		return next, true
	default:
		return next, false
	}
}

// Revisions keeps what messages are since their last edit. Its methods may be called from several goroutines.
type Revisions struct{ Store Store }

// Rows returns the rows of the revisions that events make, and what stands in their place. Of two edits the later one stays, as it
// does where they are shown.
func (r Revisions) Rows(ctx context.Context, events []bridge.Event) (rows, before []bridge.Row, err error) {
	for _, e := range events {
		m := RefOf(e)
		if m.ID == "" || e.Session == "" {
			continue
		}
		if _, changes := revisionOf(e, time.Time{}); !changes {
			continue
		}
		now, err := r.Store.Now(ctx)
		if err != nil {
			return nil, nil, err
		}
		next, _ := revisionOf(e, now)
		row := bridge.Row{Table: tableRevised, Key: m.Key(e.Session), Session: e.Session}
		old, raw, err := r.at(ctx, e.Session, m)
		if err != nil {
			return nil, nil, err
		}
		if old != nil && (old.Gone || !next.Gone && next.At.Before(old.At)) {
			continue
		}
		if old != nil && old.Filed && !next.Filed && !next.Gone {
			next.Files, next.Filed = old.Files, true
		}
		row.Value = bridge.MustJSON(next)
		rows = append(rows, row)
		before = append(before, bridge.Row{Table: row.Table, Key: row.Key, Value: raw})
	}
	return rows, before, nil
}

// at returns what a message is now; nil: as it was written. raw is the row's value.
func (r Revisions) at(ctx context.Context, session string, m Ref) (now *Revision, raw []byte, err error) {
	return Row[Revision](ctx, r.Store, tableRevised, m.Key(session))
}

// All returns what some messages of a session are now, nil for each that is as it was written.
func (r Revisions) All(ctx context.Context, session string, of []Ref) ([]*Revision, error) {
	keys := make([]string, len(of))
	for i, m := range of {
		keys[i] = m.Key(session)
	}
	values, err := r.Store.GetAll(ctx, tableRevised, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*Revision, len(of))
	for i, value := range values {
		if value == nil {
			continue
		}
		out[i] = &Revision{}
		if err := json.Unmarshal(value, out[i]); err != nil {
			return nil, fmt.Errorf("row %q of table %s: %w", keys[i], tableRevised, err)
		}
	}
	return out, nil
}

// Present brings the event of a dead letter up to what its message is now. edited is when it was edited last, zero: never; gone says
// that it was deleted since. An event that tells of the deletion itself stays as it is.
func (r Revisions) Present(ctx context.Context, e *bridge.Entry) (edited time.Time, gone bool, err error) {
	switch e.Event.Type {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage, bridge.TypeVisitorEdited, bridge.TypeOperatorEdited:
	default:
		return time.Time{}, false, nil
	}
	now, _, err := r.at(ctx, e.Event.Session, RefOf(e.Event))
	switch {
	case err != nil || now == nil:
		return time.Time{}, false, err
	case now.Gone:
		return now.At, true, nil
	}
	fields := map[string]json.RawMessage{"content": bridge.MustJSON(now.Text)}
	if now.Filed {
		fields["attachments"] = bridge.MustJSON(append([]bridge.Attachment{}, now.Files...))
	}
	if e.Event.Type == bridge.TypeVisitorEdited {
		fields["editedAt"] = bridge.MustJSON(bridge.WireTime(now.At))
	}
	e.Event.Summary = nil
	body, within := e.Event.Body, e.Event.Origin == bridge.OriginApp && strings.HasSuffix(string(e.Event.Type), "_message")
	if !within {
		e.Event.Body = replaced(body, fields)
		return now.At, false, nil
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return now.At, false, nil // its delivery will say so
	}
	for name, value := range whole {
		if strings.EqualFold(name, "message") {
			whole[name] = replaced(value, fields)
		}
	}
	e.Event.Body = bridge.MustJSON(whole)
	return now.At, false, nil
}

// replaced is a JSON object with other values for some of its fields, however those are spelt; what is no object stays as it is.
func replaced(object json.RawMessage, fields map[string]json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(object, &all); err != nil {
		return object
	}
	for name, value := range fields {
		for old := range all {
			if strings.EqualFold(old, name) {
				delete(all, old)
			}
		}
		all[name] = value
	}
	return bridge.MustJSON(all)
}
