package threads

import (
	"context"
	"errors"
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// update looks among the events that wait behind a message for the last word on it: what was edited meanwhile is shown as it
// is now, and gone says that the message was deleted. One that may be shown already, as it was, is changed there.
func (d *Sink) update(ctx context.Context, it *attempt) (gone bool, err error) {
	doubtful := !it.PossiblySent.IsZero()
	deleted := false
	var changes []bridge.Entry
	if !doubtful {
		if changes, err = it.peek.ChangesBehind(ctx); err != nil {
			return false, err
		}
		if deleted, err = it.peek.Deleted(ctx, it.Entry); err != nil || len(changes) == 0 && !deleted {
			return false, err
		}
	}
	p, err := d.progress(ctx, it.Entry)
	switch {
	case err != nil:
		return false, err
	case p.Group != nil: // it is shown as it was decided
		return false, nil
	case (p.Sent > 0 || doubtful) && p.Edit != 0: // what was begun is ended first, as it was begun
		begun, ok, err := d.entries.Entry(ctx, p.Edit)
		if err != nil {
			return false, err
		}
		if changes = nil; ok {
			changes = []bridge.Entry{begun}
		}
	case p.Sent > 0, doubtful:
		return false, nil
	case deleted:
		return true, nil
	}
	for _, later := range changes {
		if msgmap.RefOf(later.Event) != msgmap.RefOf(it.Entry.Event) {
			continue
		}
		change, err := decodeIntent(later)
		switch {
		case err != nil: // its own delivery will say so
		case change.deletes:
			return true, nil
		case !change.edited.Before(it.want.edited):
			it.want.text, it.want.edited, it.want.edit = change.text, change.edited, later.Seq
			if change.refiles {
				it.want.files, it.want.hasWhole = change.files, false
			}
			it.want.whole(change.all)
		}
	}
	return false, nil
}

// change shows that a message was edited or deleted, a call at a time.
func (d *Sink) change(ctx context.Context, it *attempt) (engine.Result, error) {
	row, ok, err := d.messages.Shown(ctx, it.Entry.Event.Session, it.want.changes)
	switch {
	case err != nil:
		return engine.Result{}, err
	case !ok || row.Gone:
		return engine.Result{Done: true, Idle: true, Note: "what it changes is not shown here"}, nil
	case !it.want.deletes && outdated(row, it.want, it.Entry.Seq):
		return engine.Result{Done: true, Idle: true}, nil // it is shown already, or is older than what is shown
	case it.Entry.Event.Origin == d.name: // by hand: what is quoted of it follows
		row = d.afterChange(row, it.want, row.IDs)
		return engine.Result{Done: true, Idle: true, Batch: bridge.Batch{Rows: []bridge.Row{d.messages.ShownRow(it.Entry.Event.Session, it.want.changes, row)}}}, nil
	}
	p, err := d.progress(ctx, it.Entry)
	if err != nil {
		return engine.Result{}, err
	}
	s, err := d.sessionOf(ctx, it.Entry, it.want)
	if err != nil {
		return engine.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	steps, err := d.stepsInPlace(ctx, it, s, &row, p)
	if err != nil {
		return engine.Result{}, err
	}
	if steps == nil {
		p.Instead = true
	}
	if !p.Instead {
		res, err := d.nextStep(ctx, it, row, p, steps)
		if err == nil || !late(err) {
			return res, err
		}
		p = progress{Instead: true}
	}
	steps = append(d.instead(it, s, row), d.uploadWhole(it)...)
	if !it.want.deletes {
		row.Merged = false
		d.leaveCaption(&row)
	}
	return d.nextStep(ctx, it, row, p, steps)
}

// stepsInPlace are all calls that change a message where it stands, with what goes beside it; nil when the platform cannot.
func (d *Sink) stepsInPlace(ctx context.Context, it *attempt, s *bridge.Session, row *msgmap.Shown, p progress) ([]step, error) {
	if row.Merged && len(row.IDs) > 0 {
		return d.mergedSteps(ctx, it, s, row, p)
	}
	steps := d.inPlace(ctx, it, s, *row)
	if row.Caption && len(row.IDs) > 0 {
		steps = d.captionSteps(ctx, it, s, row)
	}
	if steps == nil {
		return nil, nil
	}
	above, err := d.withoutBelow(ctx, it, s, *row)
	return append(append(steps, d.uploadWhole(it)...), above...), err
}

// step is one call of a change.
type step struct {
	op   string
	do   func(ctx context.Context) ([]bridge.MessageID, error) // returns the ids of what is shown thereby
	rows []bridge.Row                                          // that are others once it is made
}

// inPlace are the calls that change a message where it stands; nil when the platform cannot.
func (d *Sink) inPlace(ctx context.Context, it *attempt, s *bridge.Session, row msgmap.Shown) []step {
	var steps []step
	_, deletes := d.platform.(bridge.Deleter)
	_, edits := d.platform.(bridge.Editor)
	if it.want.deletes {
		if !deletes || row.Card && !edits {
			return nil
		}
		ids := row.IDs
		if row.Card { // which stays
			part := d.platform.Render(d.anew(ctx, it.thread, s, msgmap.Shown{Card: true}, ""))[0]
			steps = append(steps, d.editing(it, ids[0], part).withoutIDs())
			ids = ids[1:]
		}
		return append(steps, d.deleting(it, slices.Concat(ids, row.Files)...)...)
	}
	if !edits {
		return nil
	}
	if it.want.refiles {
		row.More = ""
		row.Links = it.want.files // what is there now is shown as links: an uploaded file cannot be replaced
	}
	out := d.anew(ctx, it.thread, s, row, it.want.text)
	if it.want.answer != nil { // which may have buttons no more
		out.Buttons, out.Kind, out.Face = append([][]bridge.Button{}, it.want.answer.Buttons...), it.Kind, bridge.Face{}
	}
	parts := d.platform.Render(out)
	for i, part := range parts {
		if i < len(row.IDs) {
			steps = append(steps, d.editing(it, row.IDs[i], part))
		} else {
			steps = append(steps, d.sending(it, part, i))
		}
	}
	if deletes {
		steps = append(steps, d.deleting(it, row.IDs[min(len(parts), len(row.IDs)):]...)...)
	}
	if deletes && it.want.refiles {
		steps = append(steps, d.deleting(it, row.Files...)...)
	}
	return steps
}

// instead are the calls that show a change as a message of its own, which names the old one.
func (d *Sink) instead(it *attempt, s *bridge.Session, row msgmap.Shown) []step {
	out := bridge.Outgoing{
		Thread: it.thread.ID, Author: row.Author, Visitor: s.DisplayName(), Text: "✏️ " + it.want.text, Kind: bridge.KindNotice, Foreign: true,
	}
	if it.want.refiles {
		out.Links = it.want.files
	}
	if it.want.deletes {
		out.Text = words.Get().WasDeleted
	}
	switch {
	case d.max.Quotes && row.Text != "":
		out.Quote = &bridge.Quote{Author: row.Author, Text: row.Text}
	case !d.max.Quotes && len(row.IDs) > 0:
		out.ReplyTo = row.IDs[0]
	}
	var steps []step
	for i, part := range d.platform.Render(out) {
		steps = append(steps, d.sending(it, part, i))
	}
	return steps
}

// editing is the call that shows a message of the platform's as a part, on a platform that can.
func (d *Sink) editing(it *attempt, id bridge.MessageID, part bridge.Part) step {
	return step{op: engine.OpEdit, do: func(ctx context.Context) ([]bridge.MessageID, error) {
		return []bridge.MessageID{id}, d.platform.(bridge.Editor).Edit(ctx, it.thread.ID, id, d.form(it, part))
	}}
}

// deleting are the calls that take messages away, on a platform that can.
func (d *Sink) deleting(it *attempt, ids ...bridge.MessageID) (steps []step) {
	for _, id := range ids {
		steps = append(steps, step{op: engine.OpDelete, do: func(ctx context.Context) ([]bridge.MessageID, error) {
			return nil, d.platform.(bridge.Deleter).Delete(ctx, it.thread.ID, id)
		}})
	}
	return steps
}

// withoutIDs is a step of which no message of the platform is kept.
func (s step) withoutIDs() step {
	do := s.do
	s.do = func(ctx context.Context) ([]bridge.MessageID, error) {
		_, err := do(ctx)
		return nil, err
	}
	return s
}

func (d *Sink) sending(it *attempt, part bridge.Part, n int) step {
	return step{op: engine.OpSend, do: func(ctx context.Context) ([]bridge.MessageID, error) {
		part.Key, part.Since = partKey(it.Entry, n), it.PossiblySent
		return d.platform.Send(ctx, it.thread.ID, d.form(it, part))
	}}
}

// form is the part as it is sent now: without markup where the platform refused the markup.
func (d *Sink) form(it *attempt, part bridge.Part) bridge.Part {
	it.markup = part.Plain != ""
	if it.plain && part.Plain != "" {
		part.Text, part.Plain, part.Faced = part.Plain, "", nil
	}
	return part
}

// nextStep makes the next call of a change and records it.
func (d *Sink) nextStep(ctx context.Context, it *attempt, row msgmap.Shown, p progress, steps []step) (engine.Result, error) {
	op := ""
	var made []bridge.Row
	if p.Sent < len(steps) {
		op, made = steps[p.Sent].op, steps[p.Sent].rows
		ids, err := steps[p.Sent].do(ctx)
		if err != nil {
			return engine.Result{Op: op}, err
		}
		p.IDs, p.Sent = append(p.IDs, ids...), p.Sent+1
	}
	if p.Sent < len(steps) {
		return engine.Result{Op: op, Batch: bridge.Batch{Rows: append(made, d.progressRow(it.Entry, &p))}}, nil
	}
	if row = d.afterChange(row, it.want, p.IDs); !it.want.deletes {
		row.Card = row.Card && !p.Instead
	}
	session := it.Entry.Event.Session
	rows := append(append(made, d.shownRows(session, it.want.changes, row)...), d.progressRow(it.Entry, nil))
	return engine.Result{Op: op, Idle: op == "", Done: true, Batch: bridge.Batch{Rows: rows}}, nil
}

// shownRows are msgmap's, but of a message that is one with others: what that is stays as it is.
func (d *Sink) shownRows(session string, message msgmap.Ref, row msgmap.Shown) []bridge.Row {
	if row.Merged {
		return []bridge.Row{d.messages.ShownRow(session, message, row)}
	}
	return d.messages.ShownRows(session, message, row)
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
