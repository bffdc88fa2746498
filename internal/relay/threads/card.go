package threads

import (
	"context"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

// cardSum is of everything of a session that its card shows.
func cardSum(s *bridge.Session) string {
	return bridge.Digest(bridge.MustJSON(struct {
		Visitor  string
		Identity *bridge.Identity
		Metadata *bridge.Metadata
		Phone    string
	}{s.VisitorID, s.Identity, s.Metadata, s.UserPhone}))
}

// retell brings the thread's name and card up to date with a session that was told anew, a call at a time. called is false
// when there is nothing to do.
func (d *Sink) retell(ctx context.Context, it *attempt) (res engine.Result, called bool, err error) {
	next := *it.thread
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	if r, ok := d.platform.(bridge.ThreadRenamer); ok {
		if next.Name = r.ThreadName(it.want.session); next.Name != it.thread.Name {
			if res, stays, called, err := d.named(ctx, it, r); called || err != nil {
				return res, true, err
			} else if stays {
				next.Name = it.thread.Name
			}
		}
		if next.Name != it.thread.Name {
			if err := r.RenameThread(ctx, it.thread.ID, next.Name); err != nil && !isRefused(err) {
				return engine.Result{Op: engine.OpRenameThread}, true, err
			}
			next.CardSum, next.Names = it.thread.CardSum, append(slices.Clone(it.thread.Names), it.thread.Name)
			next.Names = next.Names[max(0, len(next.Names)-namesKept):]
			return d.retold(it, engine.OpRenameThread, next, false), true, nil
		}
	}
	if next.CardSum = cardSum(it.want.session); next.CardSum == it.thread.CardSum || !it.thread.Card && !d.opensWithCard() {
		return engine.Result{}, false, nil
	}
	if it.want.announces && !it.peek.Room() {
		return engine.Result{}, false, nil // a page view is not worth what people's words wait for
	}
	if d.opensWithCard() {
		return d.retellHead(ctx, it, next)
	}
	if err = d.editCard(ctx, it, it.want.session); err != nil && !isRefused(err) {
		return engine.Result{Op: engine.OpEditCard}, true, err
	}
	return d.retold(it, engine.OpEditCard, next, true), true, nil
}

// retellHead is retell for a card that heads its thread, which shows how the session stands as well. One that was edited a moment ago is left
// for later.
func (d *Sink) retellHead(ctx context.Context, it *attempt, next msgmap.Thread) (res engine.Result, called bool, err error) {
	session := it.Entry.Event.Session
	shown, card, err := d.standing(ctx, session, it.thread)
	if err != nil {
		return res, false, err
	}
	if shown.Of == next.CardSum {
		return res, false, nil
	}
	now := time.Now().UTC()
	if now.Sub(shown.At) < cardEvery || now.Sub(d.cards.lastEdit(session)) < cardEvery {
		d.cards.mark(session, false)
		next.CardSum = "" // the row of the card says what it shows
		res = d.retold(it, "", next, true)
		res.Idle = true
		return res, true, nil
	}
	d.cards.editing(session, now)
	card.Session = it.want.session
	err = d.platform.(bridge.CardEditor).EditCard(ctx, it.thread.ID, card, d.cardButtons(ctx))
	if err != nil && !isRefused(err) {
		return engine.Result{Op: engine.OpEditCard}, true, err
	}
	res = d.retold(it, engine.OpEditCard, next, true)
	res.Batch.Rows = append(res.Batch.Rows,
		d.cardRow(session, cardShown{At: now, Of: next.CardSum, Sum: stateSum(card.Words, card.Answers), Refused: err != nil}))
	return res, true, nil
}

// namesKept is how many names that a thread had are kept.
const namesKept = 8

// named says whether a person gave the thread its name, which then stays. Where the platform does not tell of that it is asked, once.
func (d *Sink) named(ctx context.Context, it *attempt, r bridge.ThreadRenamer) (res engine.Result, stays, called bool, err error) {
	session := it.Entry.Event.Session
	if stays, err = d.messages.Named(ctx, session); err != nil || stays {
		return res, stays, false, err
	}
	n, can := d.platform.(bridge.ThreadNamer)
	if !can || it.asked {
		return res, false, false, nil
	}
	res = engine.Result{Op: engine.OpRenameThread}
	name, err := n.NameOf(ctx, it.thread.ID)
	if err != nil {
		return res, false, true, err
	}
	it.asked = true
	before, _, err := msgmap.Session(ctx, d.store, session)
	if err != nil {
		return res, false, true, err
	}
	before = d.hide.Session(before)
	for plainer := range uint8(decorationsMost + 1) {
		if name == r.ThreadName(plainerSession(before, plainer)) {
			return res, false, true, nil
		}
	}
	if name != it.thread.Name && !slices.Contains(it.thread.Names, name) { // Discord may keep an earlier one
		res.Batch.Rows = append(res.Batch.Rows, d.messages.NamedRow(session, name))
	}
	return res, false, true, nil
}

// isRefused says whether a name or a card was refused: it stays as it is, and what it embellishes goes on.
func isRefused(err error) bool {
	fault := bridge.AsDelivery(err, engine.OpEditCard, "unexpected fault")
	switch fault.Reason {
	case bridge.ReasonMessageGone, bridge.ReasonTooLate, bridge.ReasonRejected:
		return true
	case bridge.ReasonAuth:
		return fault.Scope != bridge.ScopeDestination
	}
	return false
}

// retold records that the thread's name or card is up to date.
func (d *Sink) retold(it *attempt, op string, next msgmap.Thread, done bool) engine.Result {
	next.Identity = identityOf(it.want.session)
	b := d.keepSession(it.Entry, it.want)
	b.Rows = append(b.Rows, d.keepThread(it.Entry.Event.Session, &next))
	return engine.Result{Op: op, Batch: b, Done: done}
}

// editCard shows the card anew where it stands.
func (d *Sink) editCard(ctx context.Context, it *attempt, s *bridge.Session) error {
	editor, ok := d.platform.(bridge.Editor)
	if !ok {
		return nil
	}
	card, err := msgmap.WithSide(ctx, d.store, it.Entry.Event.Session, msgmap.Ref{Side: it.thread.CardSide, ID: it.thread.CardOf})
	if err != nil {
		return err
	}
	row, ok, err := d.messages.Shown(ctx, it.Entry.Event.Session, card)
	if err != nil || !ok || !row.Card || len(row.IDs) == 0 {
		return err
	}
	text := row.Text
	if row.Merged {
		all, _, err := d.messages.Merged(ctx, row.IDs[0])
		if err != nil {
			return err
		}
		if row.Gone = len(all.Live()) == 0; !row.Gone {
			row.Author, row.Quote, row.Stamp, text = all.Author, all.Quote, "", all.Text()
		}
	}
	parts := d.platform.Render(d.anew(ctx, it.thread, s, row, text))
	part := parts[0]
	part.Key = partKey(it.Entry, 0)
	return editor.Edit(ctx, it.thread.ID, row.IDs[0], part)
}

// anew is a shown message as it is shown anew.
func (d *Sink) anew(ctx context.Context, t *msgmap.Thread, s *bridge.Session, row msgmap.Shown, text string) bridge.Outgoing {
	out := bridge.Outgoing{
		Thread: t.ID, Author: row.Author, Visitor: s.DisplayName(), Text: withLine(msgmap.Stamped(row.Stamp, text), row.More), Links: row.Links, Quote: row.Quote,
		Kind: bridge.KindMessage, Foreign: true, Caption: row.Caption,
	}
	if row.Card {
		out.Card, out.Buttons = s, d.cardButtons(ctx)
	}
	if row.Author == "" && !row.Own {
		out.Face = visitorFace(s)
	}
	return out
}

// cardButtons are the buttons under a card; nil where the platform shows none. A card without them is better than none.
func (d *Sink) cardButtons(ctx context.Context) [][]bridge.Button {
	if p, ok := d.platform.(bridge.Presser); !ok || !p.Presses() || d.buttons == nil {
		return nil
	}
	rows, err := d.buttons(ctx)
	if err != nil {
		d.log.Warn("a card is shown without its buttons", "op", engine.OpEditCard, "err", err)
		return nil
	}
	return rows
}
