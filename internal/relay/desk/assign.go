package desk

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

const (
	// tableAsked holds who is asked to take a session over: key session, value asked.
	tableAsked = "asked"
	// tableOtherAnswers holds of whom it was said that they have answered what somebody else takes care of: key session, line feed,
	// person's id, value when that one took it.
	tableOtherAnswers = "otheranswers"
	// aboutAssignment stands before a session in what a question is about that asks somebody to take the session over.
	aboutAssignment = "assign/"
)

// asked is who is asked to take a session over.
type asked struct {
	ID   string    `json:"id"`
	Name string    `json:"name"` // by which colleagues know them
	By   string    `json:"by"`   // the id of who asked
	At   time.Time `json:"at"`
}

// operatorNamed finds the operator whom a text names: as @name, as a platform mentions them, by their account's name there, or by how
// that begins. fault says why nobody is.
func (in *inbox) operatorNamed(ctx context.Context, text string) (who bridge.Person, fault string, err error) {
	people, err := in.desk.presence.People(ctx)
	if err != nil {
		return who, "", err
	}
	people = slices.DeleteFunc(people, func(p bridge.Person) bool { return len(p.Accounts) == 0 }) // the app's
	id := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(text, "<@"), "!"), ">")
	name := strings.ToLower(measure.OneLine(strings.TrimPrefix(text, "@"), len(text)))
	var exact, begins []bridge.Person
	for _, p := range people {
		names := []string{p.Called, p.Name}
		for _, a := range p.Accounts {
			if a.Platform == in.platform && a.ID == id {
				return p, "", nil
			}
			names = append(names, a.Name, a.Handle)
		}
		named := func(good func(known string) bool) bool {
			return slices.ContainsFunc(names, func(n string) bool { return n != "" && good(strings.ToLower(n)) })
		}
		switch {
		case named(func(known string) bool { return known == name }):
			exact = append(exact, p)
		case name != "" && named(func(known string) bool { return strings.HasPrefix(known, name) }):
			begins = append(begins, p)
		}
	}
	for _, found := range [][]bridge.Person{exact, begins} {
		if len(found) == 1 {
			return found[0], "", nil
		}
		if len(found) > 1 {
			people = found
			break
		}
	}
	known := make([]string, 0, len(people))
	for _, p := range people {
		known = append(known, p.Called)
	}
	if len(known) == 0 {
		return who, in.say().NoOtherOperator, nil
	}
	slices.Sort(known)
	return who, in.say().WhoIs.With(shortened(text), strings.Join(known, ", ")), nil
}

// claim is /claim: the author takes care of the visitor, or with a name behind it somebody else is asked to.
func (in *inbox) claim(ctx context.Context, o commandContext) (bridge.Result, error) {
	if o.args != "" {
		return in.askToTake(ctx, o)
	}
	return in.assign(ctx, o)
}

// askToTake asks a colleague to take care of a visitor: in all threads, by name where they are.
func (in *inbox) askToTake(ctx context.Context, o commandContext) (bridge.Result, error) {
	if id, pressed := strings.CutPrefix(o.args, personMark); pressed && o.u.Kind == bridge.UpdatePress {
		return in.askPressed(ctx, o, id)
	}
	who, fault, err := in.operatorNamed(ctx, o.args)
	if err != nil {
		return bridge.Result{}, err
	}
	if fault != "" {
		return in.replyTo(ctx, o, fault)
	}
	return in.askPerson(ctx, o, who)
}

// askPerson is askToTake for somebody who is known.
func (in *inbox) askPerson(ctx context.Context, o commandContext, who bridge.Person) (bridge.Result, error) {
	if who.Has(o.who.Key()) {
		return in.assign(ctx, o)
	}
	has, _, err := in.desk.assignmentOf(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if has != nil && who.Has(has.ID) {
		return in.replyTo(ctx, o, in.say().AlreadyTakes.With(who.Called))
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	row := bridge.Row{Table: tableAsked, Key: o.session, Session: o.session, Value: bridge.MustJSON(asked{
		ID: who.ID, Name: who.Called, By: o.who.Key(), At: now.UTC().Truncate(time.Millisecond),
	})}
	asks := &bridge.Question{Session: o.session, Message: bridge.MessageID(aboutAssignment + o.session)}
	text := in.say().AsksToTake.With(in.byline(name), who.Called)
	ask := bridge.SessionNotice(o.session, "")
	ask.Body = bridge.MustJSON(bridge.Answer{Session: o.session, Text: text, Asks: asks, Mention: accountKeys(who), All: true})
	o = in.withPrivateReply(o, in.say().IsAskedToTake.With(who.Called))
	o.b.Rows = append(slices.Clone(o.b.Rows), row)
	o.b.Events = append(slices.Clone(o.b.Events), ask)
	return in.commitWithPresence(ctx, o.u, o.b)
}

// take is /ok: who was asked takes care of the visitor.
func (in *inbox) take(ctx context.Context, o commandContext) (bridge.Result, error) {
	a, raw, err := msgmap.Row[asked](ctx, in.desk.store, tableAsked, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if a == nil {
		return in.replyTo(ctx, o, in.say().NobodyAsked)
	}
	mine, err := in.isPerson(ctx, o.who, a.ID)
	if err != nil {
		return bridge.Result{}, err
	}
	if !mine {
		return in.replyTo(ctx, o, in.say().OtherIsAsked.With(a.Name))
	}
	_, had, err := in.desk.assignmentOf(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	o.b.If = append(slices.Clone(o.b.If), bridge.Row{Table: tableAsked, Key: o.session, Value: raw})
	return in.assignTo(ctx, o, had)
}

// takeByReaction does what /ok does for a reaction to the question that asked for it; ok is false for a reaction to anything else.
func (in *inbox) takeByReaction(ctx context.Context, u bridge.Update, b bridge.Batch) (res bridge.Result, ok bool, err error) {
	about, err := in.messages.AskedAbout(ctx, u.Message)
	session, ok := strings.CutPrefix(string(about), aboutAssignment)
	if err != nil || !ok {
		return res, false, err
	}
	o := commandContext{u: u, who: in.account(u), session: session, b: b}
	a, _, err := msgmap.Row[asked](ctx, in.desk.store, tableAsked, session)
	if err != nil || a == nil {
		return res, false, err
	}
	if mine, err := in.isPerson(ctx, o.who, a.ID); err != nil || !mine {
		return res, false, err
	}
	res, err = in.take(ctx, o)
	return res, true, err
}

// assignTo makes the author the one who takes care of a session, in place of whoever did; had is that one's row.
func (in *inbox) assignTo(ctx context.Context, o commandContext, had []byte) (bridge.Result, error) {
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	o = in.withPrivateReply(o, in.say().YouTakeCare)
	return in.desk.presence.Seen(ctx, o.who, false, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		b := o.b.Swap(had, bridge.Row{
			Table: msgmap.TableAssignments, Key: o.session, Session: o.session,
			Value: bridge.MustJSON(assignment{ID: c.Person.ID, Name: name, At: now.UTC().Truncate(time.Millisecond)}),
		})
		b.Rows = append(b.Rows, bridge.Row{Table: tableAsked, Key: o.session})
		b.Events = append(slices.Clone(b.Events),
			bridge.SessionNotice(o.session, in.say().TakesCare.With(in.byline(name))),
			in.assigned(o.session, c.Person.ID, c.Person.Name))
		return b
	}))
}

// assigned is the event that tells the app who takes care of a session; without an id, nobody does.
func (in *inbox) assigned(session, id, name string) bridge.Event {
	return bridge.Event{
		Type: bridge.TypeConversationAssigned, Origin: in.platform, Session: session,
		Body: bridge.MustJSON(bridge.ConversationAssigned{SessionID: session, OperatorID: id, OperatorName: name}),
	}
}

// isPerson says whether an account is a person's, whom an id or an account names.
func (in *inbox) isPerson(ctx context.Context, who bridge.Account, id string) (bool, error) {
	if who.Key() == id {
		return true, nil
	}
	people, err := in.desk.presence.People(ctx)
	return slices.ContainsFunc(people, func(p bridge.Person) bool { return p.Has(who.Key()) && p.Has(id) }), err
}

// otherAnswers returns what is to be said, once, when somebody answers a visitor of whom somebody else takes care; nothing where that is
// not so.
func (in *inbox) otherAnswers(ctx context.Context, who bridge.Account, session string) (b bridge.Batch, err error) {
	has, _, err := in.desk.assignmentOf(ctx, session)
	if err != nil || has == nil {
		return b, err
	}
	if mine, err := in.isPerson(ctx, who, has.ID); err != nil || mine {
		return b, err
	}
	row := bridge.Row{
		Table: tableOtherAnswers, Key: session + "\n" + who.Key(), Session: session, Value: has.At.AppendFormat(nil, time.RFC3339Nano),
	}
	said, err := in.desk.store.Get(ctx, row.Table, row.Key)
	if err != nil || string(said) == string(row.Value) {
		return b, err
	}
	name, err := in.nameOf(ctx, who)
	if err != nil {
		return b, err
	}
	text := in.say().OtherAnswers.With(in.byline(name), cmp.Or(has.Name, has.ID))
	return bridge.Batch{Rows: []bridge.Row{row}, Events: []bridge.Event{bridge.SessionNotice(session, text)}}, nil
}

// aboutSession returns the session that a question is about which asks somebody to take it over.
func aboutSession(about bridge.MessageID) (session string, ok bool) {
	return strings.CutPrefix(string(about), aboutAssignment)
}
