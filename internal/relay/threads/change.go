package threads

import (
	"context"
	"errors"

	"github.com/pocketping/bridge/internal/relay/engine"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// update looks among the events that wait behind a message for the last word on it: what was edited meanwhile is shown as it
// is now, and gone says that the message was deleted. One that may be shown already, as it was, is changed there.
func (d *Sink) update(ctx context.Context, it *attempt, e bridge.Entry, w *intent) (gone bool, err error) {
	doubtful := !it.PossiblySent.IsZero()
	var changes []bridge.Entry
	if !doubtful {
		if changes, err = it.peek.ChangesBehind(ctx); err != nil || len(changes) == 0 {
			return false, err
		}
	}
	p, err := d.progress(ctx, e)
	switch {
	case err != nil:
		return false, err
	case p.Sent > 0 && p.Edit != 0: // what was begun is ended first, as it was begun
		begun, ok, err := d.entries.Entry(ctx, p.Edit)
		if err != nil {
			return false, err
		}
		if changes = nil; ok {
			changes = []bridge.Entry{begun}
		}
	case p.Sent > 0, doubtful:
		return false, nil
	}
	for _, later := range changes {
		if msgmap.RefOf(later.Event) != msgmap.RefOf(e.Event) {
			continue
		}
		change, err := decodeIntent(later)
		switch {
		case err != nil: // its own delivery will say so
		case change.deletes:
			return true, nil
		case !change.edited.Before(w.edited):
			w.text, w.edited, w.edit = change.text, change.edited, later.Seq
			if change.refiles {
				w.files, w.hasWhole = change.files, false
			}
			w.whole(change.all)
		}
	}
	return false, nil
}

// change shows that a message was edited or deleted, a call at a time.
func (d *Sink) change(ctx context.Context, it *attempt, e bridge.Entry, t *msgmap.Thread, w intent) (engine.Result, error) {
	row, ok, err := d.messages.Shown(ctx, e.Event.Session, w.changes)
	switch {
	case err != nil:
		return engine.Result{}, err
	case !ok || row.Gone:
		return engine.Result{Done: true, Idle: true, Note: "what it changes is not shown here"}, nil
	case !w.deletes && (w.edited.Before(row.Edited) || w.edited.Equal(row.Edited) && e.Seq <= row.EditSeq):
		return engine.Result{Done: true, Idle: true}, nil // it is shown already, or is older than what is shown
	case e.Event.Origin == d.name: // by hand: what is quoted of it follows
		row = d.afterChange(row, w, row.IDs)
		return engine.Result{Done: true, Idle: true, Batch: bridge.Batch{Rows: []bridge.Row{d.messages.ShownRow(e.Event.Session, w.changes, row)}}}, nil
	}
	p, err := d.progress(ctx, e)
	if err != nil {
		return engine.Result{}, err
	}
	s, err := d.sessionOf(ctx, e, w)
	if err != nil {
		return engine.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	steps := d.inPlace(it, e, t, s, w, row)
	if steps == nil {
		p.Instead = true
	} else {
		steps = append(steps, d.uploadWhole(e, t, w)...)
	}
	if !p.Instead {
		res, err := d.takeStep(ctx, e, t, w, row, p, steps)
		if err == nil || !late(err) {
			return res, err
		}
		p = progress{Instead: true}
	}
	return d.takeStep(ctx, e, t, w, row, p, append(d.instead(it, e, t, s, w, row), d.uploadWhole(e, t, w)...))
}

// step is one call of a change.
type step struct {
	op string
	do func(ctx context.Context) ([]bridge.MessageID, error) // returns the ids of what is shown thereby
}

// inPlace are the calls that change a message where it stands; nil when the platform cannot.
func (d *Sink) inPlace(it *attempt, e bridge.Entry, t *msgmap.Thread, s *bridge.Session, w intent, row msgmap.Shown) []step {
	deleter, deletes := d.platform.(bridge.Deleter)
	remove := func(id bridge.MessageID) step {
		return step{engine.OpDelete, func(ctx context.Context) ([]bridge.MessageID, error) { return nil, deleter.Delete(ctx, t.ID, id) }}
	}
	var steps []step
	editor, edits := d.platform.(bridge.Editor)
	if w.deletes {
		if !deletes || row.Card && !edits {
			return nil
		}
		ids := row.IDs
		if row.Card { // which stays
			part := d.platform.Render(d.anew(t, s, msgmap.Shown{Card: true}, ""))[0]
			id := ids[0]
			steps = append(steps, step{engine.OpEdit, func(ctx context.Context) ([]bridge.MessageID, error) {
				return nil, editor.Edit(ctx, t.ID, id, d.form(it, part))
			}})
			ids = ids[1:]
		}
		for _, id := range append(ids[:len(ids):len(ids)], row.Files...) {
			steps = append(steps, remove(id))
		}
		return steps
	}
	if !edits {
		return nil
	}
	if w.refiles {
		row.More = ""
		row.Links = w.files // what is there now is shown as links: an uploaded file cannot be replaced
	}
	parts := d.platform.Render(d.anew(t, s, row, w.text))
	for i, part := range parts {
		if i >= len(row.IDs) {
			steps = append(steps, d.sending(it, e, t, part, i))
			continue
		}
		id := row.IDs[i]
		steps = append(steps, step{engine.OpEdit, func(ctx context.Context) ([]bridge.MessageID, error) {
			return []bridge.MessageID{id}, editor.Edit(ctx, t.ID, id, d.form(it, part))
		}})
	}
	for i := len(parts); i < len(row.IDs) && deletes; i++ {
		steps = append(steps, remove(row.IDs[i]))
	}
	if w.refiles && deletes {
		for _, id := range row.Files {
			steps = append(steps, remove(id))
		}
	}
	return steps
}

// instead are the calls that show a change as a message of its own, which names the old one.
func (d *Sink) instead(it *attempt, e bridge.Entry, t *msgmap.Thread, s *bridge.Session, w intent, row msgmap.Shown) []step {
	out := bridge.Outgoing{
		Thread: t.ID, Author: row.Author, Visitor: s.DisplayName(), Text: "✏️ " + w.text, Kind: bridge.KindNotice, Foreign: true,
	}
	if w.refiles {
		out.Links = w.files
	}
	if w.deletes {
		out.Text = "🗑 This message was deleted."
	}
	switch {
	case d.max.Quotes && row.Text != "":
		out.Quote = &bridge.Quote{Author: row.Author, Text: row.Text}
	case !d.max.Quotes && len(row.IDs) > 0:
		out.ReplyTo = row.IDs[0]
	}
	var steps []step
	for i, part := range d.platform.Render(out) {
		steps = append(steps, d.sending(it, e, t, part, i))
	}
	return steps
}

func (d *Sink) sending(it *attempt, e bridge.Entry, t *msgmap.Thread, part bridge.Part, n int) step {
	return step{engine.OpSend, func(ctx context.Context) ([]bridge.MessageID, error) {
		part.Key, part.Since = partKey(e, n), it.PossiblySent
		return d.platform.Send(ctx, t.ID, d.form(it, part))
	}}
}

// form is the part as it is sent now: without markup where the platform refused the markup.
func (d *Sink) form(it *attempt, part bridge.Part) bridge.Part {
	it.markup = part.Plain != ""
	if it.plain && part.Plain != "" {
		part.Text, part.Plain = part.Plain, ""
	}
	return part
}

// takeStep makes the next call of a change and records it.
func (d *Sink) takeStep(ctx context.Context, e bridge.Entry, t *msgmap.Thread, w intent, row msgmap.Shown, p progress, steps []step) (engine.Result, error) {
	op := ""
	if p.Sent < len(steps) {
		op = steps[p.Sent].op
		ids, err := steps[p.Sent].do(ctx)
		if err != nil {
			return engine.Result{Op: op}, err
		}
		p.IDs, p.Sent = append(p.IDs, ids...), p.Sent+1
	}
	if p.Sent < len(steps) {
		return engine.Result{Op: op, Batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(e, &p)}}}, nil
	}
	if row = d.afterChange(row, w, p.IDs); !w.deletes {
		row.Card = row.Card && !p.Instead
	}
	session := e.Event.Session
	rows := append(d.messages.ShownRows(session, w.changes, row), d.progressRow(e, nil))
	return engine.Result{Op: op, Idle: op == "", Done: true, Batch: bridge.Batch{Rows: rows}}, nil
}

// afterChange is what is kept of a message after its change. Of one that was deleted there is nothing left but, where it carried the
// card, the card.
func (d *Sink) afterChange(row msgmap.Shown, w intent, ids []bridge.MessageID) msgmap.Shown {
	if w.deletes {
		row.Gone, row.Text, row.Links, row.Quote, row.Files = true, "", nil, nil, nil
		if row.IDs = row.IDs[:min(1, len(row.IDs))]; !row.Card {
			row.IDs = nil
		}
		return row
	}
	row.IDs, row.Edited, row.EditSeq, row.Text = ids, w.edited, w.edit, d.textKept(w.text, w.files, row.Card)
	if w.refiles {
		row.Links, row.Files, row.More, row.Refiled = w.files, nil, "", true
	}
	return row
}

// late says whether a message can no longer be changed where it stands.
func late(err error) bool {
	fault, ok := errors.AsType[*bridge.DeliveryError](err)
	return ok && (fault.Reason == bridge.ReasonMessageGone || fault.Reason == bridge.ReasonTooLate)
}
