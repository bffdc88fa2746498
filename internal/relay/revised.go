package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableRevised holds what a message that was edited or deleted is now: as ref.key says → revision. It is written with the event that
// tells of the change, so that a dead letter which is delivered again long after shows the present, or nothing.
const tableRevised = "revised"

// revision is a message as it is since its last edit, or its deletion.
type revision struct {
	Text  string              `json:"text,omitempty"`
	Files []bridge.Attachment `json:"files,omitempty"` // with Filed
	Filed bool                `json:"filed,omitempty"` // the files are others than they were
	At    time.Time           `json:"at"`              // of the edit, as edits are compared
	Gone  bool                `json:"gone,omitempty"`  // it was deleted
}

// revisionOf is what an event makes of a message; ok is false where it changes none. now stands for the event's place in the log.
func revisionOf(e bridge.Event, now time.Time) (next revision, ok bool) {
	switch e.Type {
	case bridge.TypeVisitorDeleted, bridge.TypeOperatorDeleted:
		return revision{Gone: true, At: now}, true
	case bridge.TypeVisitorEdited, bridge.TypeOperatorEdited:
		w, err := read(bridge.Entry{Seq: bridge.SeqAt(now), Event: e})
		return revision{Text: w.text, Files: w.files, Filed: w.refiles, At: w.edited}, err == nil
	default:
		return next, false
	}
}

// write is the store's Commit of a batch with the revisions that its events make, and what they are in the transcripts. Of two edits the later one stays, as it does where
// they are shown.
func (r *Relay) write(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	for range commandTries {
		rows, before, err := r.revise(ctx, b.Events)
		if err != nil {
			return bridge.Result{}, err
		}
		more, was, err := r.transcribe(ctx, b.Events)
		if err != nil {
			return bridge.Result{}, err
		}
		rows, before = append(rows, more...), append(before, was...)
		if len(rows) == 0 {
			return r.store.Commit(ctx, b)
		}
		next := b
		next.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], rows...)
		next.If = append(b.If[:len(b.If):len(b.If)], before...)
		res, err := r.store.Commit(ctx, next)
		if !errors.Is(err, bridge.ErrChanged) {
			return res, err
		}
		if changed, rerr := r.changed(ctx, before); rerr != nil || !changed {
			return res, errors.Join(err, rerr) // another condition does not hold
		}
	}
	return bridge.Result{}, fmt.Errorf("%w: others change the same message", bridge.ErrUnavailable)
}

// revise returns the rows of the revisions that events make, and what stands in their place.
func (r *Relay) revise(ctx context.Context, events []bridge.Event) (rows, before []bridge.Row, err error) {
	for _, e := range events {
		m := refOf(e)
		if m.id == "" || e.Session == "" {
			continue
		}
		if _, changes := revisionOf(e, time.Time{}); !changes {
			continue
		}
		now, err := r.store.Now(ctx)
		if err != nil {
			return nil, nil, err
		}
		next, _ := revisionOf(e, now)
		row := bridge.Row{Table: tableRevised, Key: m.key(e.Session), Session: e.Session}
		old, raw, err := r.revisionAt(ctx, e.Session, m)
		if err != nil {
			return nil, nil, err
		}
		if old != nil && (old.Gone || !next.Gone && next.At.Before(old.At)) {
			continue
		}
		if old != nil && old.Filed && !next.Filed && !next.Gone {
			next.Files, next.Filed = old.Files, true
		}
		row.Value = mustJSON(next)
		rows = append(rows, row)
		before = append(before, bridge.Row{Table: row.Table, Key: row.Key, Value: raw})
	}
	return rows, before, nil
}

// changed says whether one of some rows is not what it was.
func (r *Relay) changed(ctx context.Context, before []bridge.Row) (bool, error) {
	for _, row := range before {
		value, err := r.store.Get(ctx, row.Table, row.Key)
		if err != nil || string(value) != string(row.Value) || (value == nil) != (row.Value == nil) {
			return err == nil, err
		}
	}
	return false, nil
}

// revisionAt returns what a message is now; nil: as it was written. raw is the row's value.
func (r *Relay) revisionAt(ctx context.Context, session string, m ref) (now *revision, raw []byte, err error) {
	if raw, err = r.store.Get(ctx, tableRevised, m.key(session)); err != nil || raw == nil {
		return nil, nil, err
	}
	now = &revision{}
	return now, raw, json.Unmarshal(raw, now)
}

// present brings the event of a dead letter up to what its message is now, which is nil where it was never changed. An event that
// tells of the deletion itself stays as it is.
func (r *Relay) present(ctx context.Context, e *bridge.Entry) (now *revision, err error) {
	m := refOf(e.Event)
	switch e.Event.Type {
	case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage, bridge.TypeVisitorEdited, bridge.TypeOperatorEdited:
	default:
		return nil, nil
	}
	now, _, err = r.revisionAt(ctx, e.Event.Session, m)
	if err != nil || now == nil || now.Gone {
		return now, err
	}
	fields := map[string]json.RawMessage{"content": mustJSON(now.Text)}
	if now.Filed {
		fields["attachments"] = mustJSON(append([]bridge.Attachment{}, now.Files...))
	}
	if e.Event.Type == bridge.TypeVisitorEdited {
		fields["editedAt"] = mustJSON(wireTime(now.At))
	}
	body, within := e.Event.Body, e.Event.Origin == bridge.OriginApp && strings.HasSuffix(string(e.Event.Type), "_message")
	if within {
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(body, &whole); err != nil {
			return now, nil // its delivery will say so
		}
		for name, value := range whole {
			if strings.EqualFold(name, "message") {
				whole[name] = replaced(value, fields)
			}
		}
		e.Event.Body = mustJSON(whole)
		return now, nil
	}
	e.Event.Body = replaced(body, fields)
	return now, nil
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
	return mustJSON(all)
}
