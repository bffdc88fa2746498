package desk

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
)

// What a button's data says: a word and, behind pressColon, what it is about. The message under which the button stands tells the session.
// All of it is in the data, so that a press means the same after a restart, and at another bridge. A platform's app can be made to send
// other data than a button has: it can ask for no more than its user could type.
const (
	pressColon   = ":"
	pressClaim   = "claim"
	pressClose   = "close"
	pressBlock   = "block"
	pressAway    = "away" // for so long
	pressHand    = "handover"
	pressAssign  = "assign" // to the person of this id
	pressCanned  = "canned" // the reply of this name
	pressAwayFor = "30m"

	// personMark stands before a person's id where a press names somebody: no name begins so.
	personMark = "\x00"
)

const (
	cannedButtons = 4 // under a card
	peopleButtons = 9 // to whom a visitor can be handed over
	peopleRow     = 3
)

// button is a button; ok is false where its data is too long for a button.
func button(label, what, about string) (b bridge.Button, ok bool) {
	data := what
	if about != "" {
		data += pressColon + about
	}
	b = bridge.Button{Label: measure.OneLine(label, bridge.MaxButtonLabel), Data: data}
	return b, len(data) <= bridge.MaxButtonData && b.Label != ""
}

// CardButtons are those under the card of a session. None of them shows what a visitor or a site says.
func (r *Desk) CardButtons(ctx context.Context) ([][]bridge.Button, error) {
	say := words.Get()
	rows := [][]bridge.Button{
		{{Label: say.ButtonClaim, Data: pressClaim}, {Label: say.ButtonHandOver, Data: pressHand}, {Label: say.ButtonClose, Data: pressClose}},
		{{Label: say.ButtonAway, Data: pressAway + pressColon + pressAwayFor}, {Label: say.ButtonBlock, Data: pressBlock, Grave: true}},
	}
	canned, err := r.store.List(ctx, tableCanned, "", cannedButtons)
	if err != nil {
		return nil, err
	}
	var replies []bridge.Button
	for _, row := range canned {
		if b, ok := button("💬 "+row.Key, pressCanned, row.Key); ok {
			replies = append(replies, b)
		}
	}
	if len(replies) > 0 {
		rows = append(rows, replies)
	}
	return rows, nil
}

// press does what the button stands for: the command, by whoever pressed it, which is answered for their eyes alone.
func (in *inbox) press(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	o := commandContext{u: u, who: in.account(u), b: b}
	if in.notAllowed(u) {
		return in.deny(ctx, u, "", b)
	}
	what, about, _ := strings.Cut(u.Press, pressColon)
	switch what {
	case pressClaim, pressClose, pressBlock:
		return in.command(ctx, u, &bridge.Command{Name: what}, b)
	case pressAway:
		return in.command(ctx, u, &bridge.Command{Name: "away", Args: about}, b)
	case pressAssign:
		return in.command(ctx, u, &bridge.Command{Name: "assign", Args: personMark + about}, b)
	}
	session, err := in.sessionOf(ctx, u)
	if err != nil {
		return bridge.Result{}, err
	}
	o.session = session
	switch {
	case session == "":
		return in.replyTo(ctx, o, nothingDone(in.say().NoSuchVisitor))
	case what == pressHand:
		return in.offerPeople(ctx, o)
	case what == pressCanned:
		return in.pressCanned(ctx, o, about)
	case what == pressSend, what == pressEdit, what == pressDrop:
		return in.pressDraft(ctx, o, what, about)
	}
	return in.replyTo(ctx, o, nothingDone(in.say().NoSuchButton))
}

// pressCanned sends a canned reply. Those in the thread where it was pressed see what was sent, as they do where it is typed.
func (in *inbox) pressCanned(ctx context.Context, o commandContext, name string) (bridge.Result, error) {
	text, err := in.desk.store.Get(ctx, tableCanned, name)
	if err != nil {
		return bridge.Result{}, err
	}
	if text == nil {
		return in.replyTo(ctx, o, nothingDone(in.say().NoSuchCanned.With(shortened(name))))
	}
	o.u.Text, o.u.ReplyTo = string(text), ""
	who, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	o.b = in.answered(o, in.say().SentToVisitor)
	o.b.Events = append(o.b.Events, in.hereNotice(o.session, in.say().SentFor.With(who, o.u.Text)))
	return in.send(ctx, o.u, o.u.Text, o.session, o.b)
}

// hereNotice is said in the session's thread on this platform alone.
func (in *inbox) hereNotice(session, text string) bridge.Event {
	return bridge.Event{
		Type: bridge.TypeAnswer, Origin: in.platform, Session: session,
		Body: bridge.MustJSON(bridge.Answer{Session: session, Text: text, Foreign: true}),
	}
}

// offerPeople asks whoever pressed to whom the visitor is to be handed over: a button for each colleague, those who are online first.
func (in *inbox) offerPeople(ctx context.Context, o commandContext) (bridge.Result, error) {
	people, err := in.desk.presence.People(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	people = slices.DeleteFunc(people, func(p bridge.Person) bool { return len(p.Accounts) == 0 || p.Has(o.who.Key()) })
	rank := []bridge.Status{bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline}
	slices.SortStableFunc(people, func(a, b bridge.Person) int {
		return cmp.Or(cmp.Compare(slices.Index(rank, a.Status), slices.Index(rank, b.Status)), strings.Compare(a.Called, b.Called))
	})
	var all []bridge.Button
	for _, p := range people {
		if b, ok := button(p.Called, pressAssign, p.ID); ok && len(all) < peopleButtons {
			all = append(all, b)
		}
	}
	if len(all) == 0 {
		return in.replyTo(ctx, o, in.say().NoOtherOperator)
	}
	answer := in.answerOf(o.u, in.say().WhoIsAsked)
	answer.Asks = &bridge.Question{Session: o.session, Message: bridge.MessageID(aboutAssignment + o.session)}
	answer.Buttons = slices.Collect(slices.Chunk(all, peopleRow))
	o.b.Events = append(slices.Clone(o.b.Events), in.answerEvent(answer))
	return in.commitWithPresence(ctx, o.u, o.b)
}

// askPressed is askToTake for somebody whom a button names.
func (in *inbox) askPressed(ctx context.Context, o commandContext, id string) (bridge.Result, error) {
	people, err := in.desk.presence.People(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	for _, p := range people {
		if p.Has(id) && len(p.Accounts) > 0 {
			return in.askPerson(ctx, o, p)
		}
	}
	return in.replyTo(ctx, o, nothingDone(in.say().NoSuchOperator))
}

// pressAnswer is what whoever pressed a button is told of it, on a platform where that is no message.
type pressAnswer struct {
	id   bridge.MessageID
	text string
}

type pressKey struct{}

// answersPress returns a context in which what is written for a press is answered as the platform answers presses. answered is called
// when it is written, or could not be: a button shows that it waits until it has an answer, if only an empty one.
func (in *inbox) answersPress(ctx context.Context, u bridge.Update) (_ context.Context, answered func(err error)) {
	p, ok := in.chat.(bridge.PressAnswerer)
	if !ok || u.Kind != bridge.UpdatePress {
		return ctx, func(error) {}
	}
	a := &pressAnswer{id: u.Message}
	return context.WithValue(ctx, pressKey{}, a), func(err error) {
		if err != nil {
			return // the press comes again
		}
		tell := func(ctx context.Context) {
			if err := p.AnswerPress(ctx, a.id, a.text); err != nil {
				in.desk.log.Info("a press was not answered", "platform", in.platform, "op", "press", "err", err)
			}
		}
		if in.desk.soon == nil {
			tell(context.WithoutCancel(ctx))
			return
		}
		in.desk.soon(tell)
	}
}

// commit writes a batch. An answer to a press that is no message is no delivery; one with buttons is said in the thread.
func (in *inbox) commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	told, ok := ctx.Value(pressKey{}).(*pressAnswer)
	if !ok {
		return in.desk.commit(ctx, b)
	}
	text := ""
	var events []bridge.Event
	for _, e := range b.Events {
		var a bridge.Answer
		if e.Type != bridge.TypeAnswer || json.Unmarshal(e.Body, &a) != nil || a.ReplyTo != told.id {
			events = append(events, e)
			continue
		}
		if len(a.Buttons) > 0 && a.Asks != nil {
			a.Session, a.Platform, a.Thread, a.ReplyTo = a.Asks.Session, "", "", ""
			e.Session, e.Body = a.Session, bridge.MustJSON(a)
			events = append(events, e)
			continue
		}
		text = a.Text
	}
	b.Events = events
	res, err := in.desk.commit(ctx, b)
	if err == nil && !res.Duplicate {
		told.text = text
	}
	return res, err
}

func nothingDone(text string) string { return text + " " + words.Get().NothingDone }
