package threads

import (
	"context"

	"github.com/pocketping/bridge/internal/relay/engine"

	"github.com/pocketping/bridge/internal/bridge"
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
func (d *Sink) retell(ctx context.Context, it *attempt, e bridge.Entry, t *msgmap.Thread, w intent) (res engine.Result, called bool, err error) {
	next := *t
	ctx, cancel := context.WithTimeout(ctx, engine.CallTimeout)
	defer cancel()
	if r, ok := d.platform.(bridge.ThreadRenamer); ok {
		if next.Name = r.ThreadName(w.session); next.Name != t.Name {
			if err := r.RenameThread(ctx, t.ID, next.Name); err != nil && !isRefused(err) {
				return engine.Result{Op: engine.OpRenameThread}, true, err
			}
			next.CardSum = t.CardSum
			return d.retold(engine.OpRenameThread, e, w, next, false), true, nil
		}
	}
	if next.CardSum = cardSum(w.session); next.CardSum == t.CardSum || !t.Card && !d.opensWithCard() {
		return engine.Result{}, false, nil
	}
	if w.announces && !it.peek.Room() {
		return engine.Result{}, false, nil // a page view is not worth what people's words wait for
	}
	if err = d.editCard(ctx, e, t, w.session); err != nil && !isRefused(err) {
		return engine.Result{Op: engine.OpEditCard}, true, err
	}
	return d.retold(engine.OpEditCard, e, w, next, true), true, nil
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
func (d *Sink) retold(op string, e bridge.Entry, w intent, next msgmap.Thread, done bool) engine.Result {
	next.Identity = identityOf(w.session)
	b := d.keepSession(e, w)
	b.Rows = append(b.Rows, d.keepThread(e.Event.Session, &next))
	return engine.Result{Op: op, Batch: b, Done: done}
}

// editCard shows the card anew where it stands.
func (d *Sink) editCard(ctx context.Context, e bridge.Entry, t *msgmap.Thread, s *bridge.Session) error {
	if c, ok := d.platform.(bridge.CardEditor); ok {
		return c.EditCard(ctx, t.ID, s)
	}
	editor, ok := d.platform.(bridge.Editor)
	if !ok {
		return nil
	}
	card, err := msgmap.WithSide(ctx, d.store, e.Event.Session, msgmap.Ref{Side: t.CardSide, ID: t.CardOf})
	if err != nil {
		return err
	}
	row, ok, err := d.messages.Shown(ctx, e.Event.Session, card)
	if err != nil || !ok || !row.Card || len(row.IDs) == 0 {
		return err
	}
	parts := d.platform.Render(d.anew(t, s, row, row.Text))
	part := parts[0]
	part.Key = partKey(e, 0)
	return editor.Edit(ctx, t.ID, row.IDs[0], part)
}

// anew is a shown message as it is shown anew.
func (d *Sink) anew(t *msgmap.Thread, s *bridge.Session, row msgmap.Shown, text string) bridge.Outgoing {
	out := bridge.Outgoing{
		Thread: t.ID, Author: row.Author, Visitor: s.DisplayName(), Text: withLine(text, row.More), Links: row.Links, Quote: row.Quote,
		Kind: bridge.KindWord, Foreign: true,
	}
	if row.Card {
		out.Card = s
	}
	return out
}
