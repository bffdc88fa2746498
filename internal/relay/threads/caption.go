package threads

import (
	"context"
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// A text and its files are one message where the platform can show that. The message's id is then the text's, and stands first in its
// row: an edit of the text changes what is said beside the file, and with the message its file goes, too.

// cardKey is what stands in the key of a card that is sent before a message.
const cardKey = "/card"

// cardAlone sends a thread's card by itself where the message that would carry it stands beside files: the card stays when these are
// deleted. sent is false where there is no such card.
func (d *Sink) cardAlone(ctx context.Context, it *attempt, p *progress) (res engine.Result, sent bool, err error) {
	if p.Sent > 0 || len(p.Plan.Now) == 0 || it.thread.Card || d.opensWithCard() || it.want.late != nil || it.decorationsDropped > 0 {
		return res, false, nil
	}
	out, err := d.outgoing(ctx, it, it.Kind)
	if err != nil {
		return res, false, err
	}
	d.addFiles(it, &out, p.Plan)
	if parts := d.platform.Render(out); len(parts) == 0 || !parts[0].Caption {
		return res, false, nil
	}
	session, err := d.sessionOf(ctx, it.Entry, it.want)
	if err != nil {
		return res, false, err
	}
	part := d.platform.Render(bridge.Outgoing{Thread: it.thread.ID, Visitor: out.Visitor, Card: session, Silent: true, Kind: bridge.KindMessage})[0]
	part.Key, part.Since = it.Entry.Seq.String()+cardKey, it.PossiblySent
	it.decorated = true // without it the message is shown as well
	var of progress
	if res, err = d.sendText(ctx, it, part, &of); err != nil {
		return res, true, err
	}
	it.plain = false
	next := *it.thread
	next.Card, next.CardOf, next.CardSide, next.CardSum = true, "", "", cardSum(session)
	res.Next = true
	res.Batch.Rows = append(d.messages.ShownRows(it.Entry.Event.Session, msgmap.Ref{}, msgmap.Shown{IDs: of.IDs, Card: true}),
		d.keepThread(it.Entry.Event.Session, &next))
	return res, true, nil
}

// captionSteps are the calls that change a text which stands beside files. One that has become too long for that stands below, as a reply.
// nil: the platform cannot.
func (d *Sink) captionSteps(ctx context.Context, it *attempt, s *bridge.Session, row *msgmap.Shown) []step {
	_, edits := d.platform.(bridge.Editor)
	_, deletes := d.platform.(bridge.Deleter)
	if !edits || !deletes {
		return nil
	}
	id, others := row.IDs[0], row.IDs[1:]
	switch {
	case it.want.deletes:
		return d.deleting(it, slices.Concat(row.IDs, row.Files)...)
	case it.want.refiles: // no file leaves a message: it goes, and what is there now is shown in its place
		steps := d.deleting(it, slices.Concat(row.IDs, row.Files)...)
		row.Caption, row.More, row.Links = false, "", it.want.files
		out := d.anew(ctx, it.thread, s, *row, it.want.text)
		out.Silent = true
		for i, part := range d.platform.Render(out) {
			steps = append(steps, d.sending(it, part, i))
		}
		return steps
	}
	var steps []step
	if part, fits := d.onePart(ctx, it, s, *row, it.want.text); fits {
		steps = []step{d.editing(it, id, part)}
	} else {
		if part, fits = d.onePart(ctx, it, s, *row, words.Get().TextBelow); !fits {
			return nil
		}
		steps = append([]step{d.editing(it, id, part).withoutIDs()}, d.instead(it, s, *row)...)
		d.leaveCaption(row)
	}
	return append(steps, d.deleting(it, others...)...)
}

// onePart is a message as it is shown anew; ok is false where it is not one any more: beside files, the text does not fit there.
func (d *Sink) onePart(ctx context.Context, it *attempt, s *bridge.Session, row msgmap.Shown, text string) (part bridge.Part, ok bool) {
	parts := d.platform.Render(d.anew(ctx, it.thread, s, row, text))
	if len(parts) != 1 {
		return part, false
	}
	return parts[0], true
}

// leaveCaption has a message's text stand in messages of its own from now on: the one beside the files is theirs alone.
func (d *Sink) leaveCaption(row *msgmap.Shown) {
	if row.Caption && len(row.IDs) > 0 {
		row.Caption, row.Files = false, slices.Concat(row.IDs[:1], row.Files)
	}
}
