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
	// tableDenied holds who has been told that they are no operator: key session, line feed, account.
	tableDenied = "strangers"
	// tableAuthors holds who wrote an operator's message: key session, line feed, message id, value the person's id.
	tableAuthors = "authors"
)

// account is the author of an update.
func (in *inbox) account(u bridge.Update) bridge.Account {
	return bridge.Account{Platform: in.platform, ID: u.Author.ID, Name: cmp.Or(measure.OneLine(u.Author.Name, bridge.ShownField), bridge.Nameless), Handle: u.Author.Handle}
}

// notAllowed says whether the author of an update is none of those who may answer and command. An update without an author, as
// deletions may be, is nobody's.
func (in *inbox) notAllowed(u bridge.Update) bool {
	return len(in.desk.operators) > 0 && u.Author.ID != "" && !slices.Contains(in.desk.operators, in.account(u).Key())
}

// deny takes a stranger's message for what it is: nothing happens, and that is said once in each session, and once outside
// them.
func (in *inbox) deny(ctx context.Context, u bridge.Update, session string, b bridge.Batch) (bridge.Result, error) {
	who := in.account(u)
	row := bridge.Row{Table: tableDenied, Key: session + "\n" + who.Key(), Value: []byte("1"), Session: session}
	told, err := in.desk.store.Get(ctx, row.Table, row.Key)
	if err != nil {
		return bridge.Result{}, err
	}
	if !u.Slash && (told != nil || session == "" && u.Command == nil && !u.Flat) {
		return in.commit(ctx, b)
	}
	b.Rows = append(b.Rows, row)
	say := in.say()
	text := say.NotOperator
	if session != "" && u.Kind != bridge.UpdatePress {
		text = say.NotOperatorText.With(who.Name)
	}
	b.Events = append(slices.Clone(b.Events), in.answer(u, text+" "+say.NotOperatorHint.With(who.Key())))
	return in.commit(ctx, b)
}

// commitWithPresence writes a batch with a sign of life of the update's author.
func (in *inbox) commitWithPresence(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	if u.Author.ID == "" {
		return in.commit(ctx, b)
	}
	return in.desk.presence.Seen(ctx, in.account(u), false, in.writes(func(bridge.PresenceChange) bridge.Batch { return b }))
}

// writes is how a batch is written with a change of presence.
func (in *inbox) writes(also func(bridge.PresenceChange) bridge.Batch) bridge.PresenceWrite {
	return bridge.PresenceWrite{Also: also, Commit: in.commit}
}

// handleOperatorMessage takes what an operator wrote in a session: it goes to the visitor, unless it is talk among operators, a stranger's, stands
// for a canned reply, or looks like a command that there is not.
func (in *inbox) handleOperatorMessage(ctx context.Context, u bridge.Update, m marked, session string, b bridge.Batch) (bridge.Result, error) {
	if in.notAllowed(u) {
		return in.deny(ctx, u, session, b)
	}
	if res, ok, err := in.ofDraft(ctx, u, session, b); ok || err != nil {
		in.desk.typing.ends(in.typist(u), false)
		return res, err
	}
	typed := u.Text
	if text, ok, err := in.cannedReply(ctx, u, m); err != nil || ok {
		if err != nil {
			return bridge.Result{}, err
		}
		b.Events = append(b.Events, in.answer(u, in.say().SentText.With(text)))
		u.Text = text
		return in.send(ctx, u, typed, session, b)
	}
	for _, settle := range []func(context.Context, bridge.Update, string, bridge.Batch) (bridge.Result, bool, error){in.ofAlbum, in.confirms} {
		if res, ok, err := settle(ctx, u, session, b); ok || err != nil {
			return res, err
		}
	}
	switch {
	case m.other:
		in.desk.typing.ends(in.typist(u), false)
		return in.commitWithPresence(ctx, u, b)
	case doubtful(u, m):
		in.desk.typing.ends(in.typist(u), false)
		return in.withhold(ctx, u, m, session, b)
	}
	if in.desk.internal {
		forVisitor, err := in.toVisitor(ctx, u, session)
		if err != nil {
			return bridge.Result{}, err
		}
		if !forVisitor {
			return in.commitWithPresence(ctx, u, b)
		}
	}
	return in.send(ctx, u, typed, session, b)
}

// toVisitor says whether a message is a reply to one of the visitor's.
func (in *inbox) toVisitor(ctx context.Context, u bridge.Update, session string) (bool, error) {
	if u.ReplyTo == "" {
		return false, nil
	}
	o, err := in.originAwaitingSends(ctx, u.ReplyTo)
	return err == nil && o.Session == session && o.Message != "" && o.Side == msgmap.Visitors, err
}

// send sends an update's text and files to the visitor, and to the other platforms' threads. typed is what the operator wrote. A
// conversation that an operator has closed is open again with it.
func (in *inbox) send(ctx context.Context, u bridge.Update, typed, session string, b bridge.Batch) (bridge.Result, error) {
	in.desk.typing.ends(in.typist(u), true)
	return tried(errBusyConversation, func() (bridge.Result, error) { return in.sendOnce(ctx, u, typed, session, b) })
}

func (in *inbox) sendOnce(ctx context.Context, u bridge.Update, typed, session string, b bridge.Batch) (bridge.Result, error) {
	m := bridge.OperatorMessage{
		SessionID: session, MessageID: in.platform + ":" + in.messageOf(u), Content: u.Text,
		SourceBridge: in.platform, Attachments: in.attachments(u),
	}
	other, err := in.otherAnswers(ctx, in.account(u), session)
	if err != nil {
		return bridge.Result{}, err
	}
	b.Rows, b.Events = slices.Concat(b.Rows, other.Rows), slices.Concat(b.Events, other.Events)
	if u.Hint != "" {
		b.Events = append(slices.Clone(b.Events), in.answer(u, u.Hint))
	}
	if u.ReplyTo != "" {
		if u.ReplyToNumber != 0 {
			m.ReplyToBridgeMessageID = &u.ReplyToNumber
		}
		o, err := in.originAwaitingSends(ctx, u.ReplyTo)
		if err == nil && o.Merged && u.Quotes {
			o, err = in.memberAt(ctx, u, o)
		}
		if err != nil {
			return bridge.Result{}, err
		}
		if o.Session == session && !strings.HasPrefix(o.Message, msgmap.DraftMark) {
			m.ReplyToMessageID = o.Message
		}
	}
	answered, err := msgmap.AnsweredBy(ctx, in.desk.store, session)
	if err != nil {
		return bridge.Result{}, err
	}
	closed, err := in.desk.store.Get(ctx, tableClosed, session)
	if err != nil {
		return bridge.Result{}, err
	}
	return in.desk.presence.Seen(ctx, in.account(u), true, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		m.OperatorName, m.OperatorID = c.Person.Name, c.Person.ID
		by := cmp.Or(c.Person.Called, in.account(u).Name)
		out := in.reopening(b, session, closed, m.OperatorName)
		out.Events = slices.Concat(out.Events, []bridge.Event{{
			Type: bridge.TypeOperatorMessage, Origin: in.platform, Session: session, Message: m.MessageID, By: by, Body: bridge.MustJSON(m),
		}}, b.Events)
		out.Rows = append(slices.Clone(out.Rows), bridge.Row{
			Table: tableAuthors, Key: session + "\n" + m.MessageID, Value: []byte(c.Person.ID), Session: session,
		}, msgmap.AnsweredRow(session, answered.With(c.Person.ID, time.Now())))
		if !u.Slash {
			row := msgmap.Shown{IDs: []bridge.MessageID{u.Message}, Author: by}
			if in.chat.Limits().Quotes {
				row.Text = msgmap.Excerpt(u.Text, u.Files)
			}
			out.Rows = append(out.Rows, in.messages.ShownRows(session, msgmap.Operator(m.MessageID), row)...)
			out.Rows = append(out.Rows, saidRow(session, m.MessageID, saidOf(typed, u.Text, u.Files)))
		}
		return out
	}))
}

// reopening is a batch without its events, by which a conversation that is closed, as the row of tableClosed says, is open again.
func (in *inbox) reopening(b bridge.Batch, session string, closed []byte, name string) bridge.Batch {
	b.Events = nil
	b.If = append(slices.Clone(b.If), bridge.Row{Table: tableClosed, Key: session, Value: closed})
	if closed != nil {
		b.Rows = append(slices.Clone(b.Rows), bridge.Row{Table: tableClosed, Key: session})
		b.Events = []bridge.Event{{
			Type: bridge.TypeSessionReopened, Origin: in.platform, Session: session,
			Body: bridge.MustJSON(bridge.SessionClosed{SessionID: session, SourceBridge: in.platform, OperatorName: name}),
		}}
	}
	return b
}

// memberAt is the one of several messages which are one on the platform that a reply means by what it quotes.
func (in *inbox) memberAt(ctx context.Context, u bridge.Update, o msgmap.Origin) (msgmap.Origin, error) {
	all, ok, err := in.messages.Merged(ctx, u.ReplyTo)
	if err != nil || !ok {
		return o, err
	}
	if m, ok := all.At(u.ReplyAt); ok {
		o.Message, o.Side = m.ID, m.Side
	}
	return o, nil
}

// messagesOf are all messages of the visitor's that one on the platform shows.
func (in *inbox) messagesOf(ctx context.Context, id bridge.MessageID, o msgmap.Origin) ([]string, error) {
	if !o.Merged {
		return []string{o.Message}, nil
	}
	all, ok, err := in.messages.Merged(ctx, id)
	if err != nil || !ok {
		return []string{o.Message}, err
	}
	var out []string
	for _, m := range all.Live() {
		if m.Side == msgmap.Visitors {
			out = append(out, m.ID)
		}
	}
	return out, nil
}

// messageOf is the part of a message's id that the platform gives.
func (in *inbox) messageOf(u bridge.Update) string {
	if u.Slash {
		return "command-" + bridge.Digest([]byte(u.ID))
	}
	return string(u.Message)
}
