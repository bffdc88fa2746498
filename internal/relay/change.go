package relay

import (
	"context"
	"errors"

	"github.com/pocketping/bridge/internal/bridge"
)

// update looks among the events that wait behind a message for the last word on it: what was edited meanwhile is shown as it
// is now, and gone says that the message was deleted. One that may be shown already, as it was, is changed there.
func (d *threads) update(ctx context.Context, it *item, e bridge.Entry, w *wish) (gone bool, err error) {
	doubtful := !it.since.IsZero()
	var seqs []bridge.Seq
	if !doubtful {
		if seqs = d.lane.changesBehind(it); len(seqs) == 0 {
			return false, nil
		}
	}
	p, err := d.progress(ctx, e)
	switch {
	case err != nil:
		return false, err
	case p.Sent > 0 && p.Edit != 0: // what was begun is ended first, as it was begun
		seqs = []bridge.Seq{p.Edit}
	case p.Sent > 0, doubtful:
		return false, nil
	}
	for _, seq := range seqs {
		later, ok, err := d.lane.relay.tail.entry(ctx, seq)
		if err != nil {
			return false, err
		}
		if !ok || refOf(later.Event) != refOf(e.Event) {
			continue
		}
		change, err := read(later)
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
func (d *threads) change(ctx context.Context, it *item, e bridge.Entry, t *thread, w wish) (result, error) {
	row, ok, err := d.shown(ctx, e.Event.Session, w.changes)
	switch {
	case err != nil:
		return result{}, err
	case !ok || row.Gone:
		return result{done: true, idle: true, note: "what it changes is not shown here"}, nil
	case !w.deletes && (w.edited.Before(row.Edited) || w.edited.Equal(row.Edited) && e.Seq <= row.EditSeq):
		return result{done: true, idle: true}, nil // it is shown already, or is older than what is shown
	case e.Event.Origin == d.name: // by hand: what is quoted of it follows
		row = d.afterChange(row, w, row.IDs)
		return result{done: true, idle: true, batch: bridge.Batch{Rows: []bridge.Row{shownRow(d.name, e.Event.Session, w.changes, row)}}}, nil
	}
	p, err := d.progress(ctx, e)
	if err != nil {
		return result{}, err
	}
	s, err := d.sessionOf(ctx, e, w)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
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
func (d *threads) inPlace(it *item, e bridge.Entry, t *thread, s *bridge.Session, w wish, row shown) []step {
	deleter, deletes := d.platform.(bridge.Deleter)
	remove := func(id bridge.MessageID) step {
		return step{opDelete, func(ctx context.Context) ([]bridge.MessageID, error) { return nil, deleter.Delete(ctx, t.ID, id) }}
	}
	var steps []step
	editor, edits := d.platform.(bridge.Editor)
	if w.deletes {
		if !deletes || row.Card && !edits {
			return nil
		}
		ids := row.IDs
		if row.Card { // which stays
			part := d.platform.Render(d.again(t, s, shown{Card: true}, ""))[0]
			id := ids[0]
			steps = append(steps, step{opEdit, func(ctx context.Context) ([]bridge.MessageID, error) {
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
	parts := d.platform.Render(d.again(t, s, row, w.text))
	for i, part := range parts {
		if i >= len(row.IDs) {
			steps = append(steps, d.sending(it, e, t, part, i))
			continue
		}
		id := row.IDs[i]
		steps = append(steps, step{opEdit, func(ctx context.Context) ([]bridge.MessageID, error) {
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
func (d *threads) instead(it *item, e bridge.Entry, t *thread, s *bridge.Session, w wish, row shown) []step {
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

func (d *threads) sending(it *item, e bridge.Entry, t *thread, part bridge.Part, n int) step {
	return step{opSend, func(ctx context.Context) ([]bridge.MessageID, error) {
		part.Key, part.Since = partKey(e, n), it.since
		return d.platform.Send(ctx, t.ID, d.form(it, part))
	}}
}

// form is the part as it is sent now: without markup where the platform refused the markup.
func (d *threads) form(it *item, part bridge.Part) bridge.Part {
	it.markup = part.Plain != ""
	if it.plain && part.Plain != "" {
		part.Text, part.Plain = part.Plain, ""
	}
	return part
}

// takeStep makes the next call of a change and records it.
func (d *threads) takeStep(ctx context.Context, e bridge.Entry, t *thread, w wish, row shown, p progress, steps []step) (result, error) {
	op := ""
	if p.Sent < len(steps) {
		op = steps[p.Sent].op
		ids, err := steps[p.Sent].do(ctx)
		if err != nil {
			return result{op: op}, err
		}
		p.IDs, p.Sent = append(p.IDs, ids...), p.Sent+1
	}
	if p.Sent < len(steps) {
		return result{op: op, batch: bridge.Batch{Rows: []bridge.Row{d.progressRow(e, &p)}}}, nil
	}
	if row = d.afterChange(row, w, p.IDs); !w.deletes {
		row.Card = row.Card && !p.Instead
	}
	session := e.Event.Session
	rows := append(shownRows(d.name, session, w.changes, row), d.progressRow(e, nil))
	return result{op: op, idle: op == "", done: true, batch: bridge.Batch{Rows: rows}}, nil
}

// afterChange is what is kept of a message after its change. Of one that was deleted there is nothing left but, where it carried the
// card, the card.
func (d *threads) afterChange(row shown, w wish, ids []bridge.MessageID) shown {
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
