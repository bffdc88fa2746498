package desk

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/relay/msgmap"
	"github.com/pocketping/bridge/internal/words"
)

// tableClosed holds which sessions operators have closed, and nobody has reopened since: key session, value closedBy.
const tableClosed = "closed"

// assignment is who takes care of a session: the value in msgmap.TableAssignments.
type assignment struct {
	ID   string    `json:"id"`
	Name string    `json:"name"` // by which colleagues know them
	At   time.Time `json:"at"`
}

// closedBy is how a session came to be closed.
type closedBy struct {
	Platform string    `json:"platform"`
	Name     string    `json:"name"`
	At       time.Time `json:"at"`
}

// happens writes what an operator did to a session: what there is of the batch, and an event, whose body is made of the name that
// visitors see.
func (in *inbox) happens(
	ctx context.Context, o commandContext, t bridge.Type, message string, body func(name string) any,
) (bridge.Result, error) {
	b := o.b
	return in.desk.presence.Seen(ctx, o.who, false, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		out := b
		out.Events = append(b.Events[:len(b.Events):len(b.Events)], bridge.Event{
			Type: t, Origin: in.platform, Session: o.session, Message: message, By: cmp.Or(c.Person.Called, o.who.Name), Pressed: o.u.Kind == bridge.UpdatePress,
			Body: bridge.MustJSON(body(c.Person.Name)),
		})
		return out
	}))
}

func (in *inbox) reply(ctx context.Context, o commandContext) (bridge.Result, error) {
	typed := o.u.Text
	o.u.Text = o.args
	o = in.withPrivateReply(o, in.say().SentText.With(o.args))
	return in.send(ctx, o.u, typed, o.session, o.b)
}

// withPrivateReply adds an answer to a command that nobody else sees: what all threads are told answers the others.
func (in *inbox) withPrivateReply(o commandContext, text string) commandContext {
	if o.u.Slash {
		o.b = in.answered(o, text)
	}
	return o
}

func (in *inbox) note(ctx context.Context, o commandContext) (bridge.Result, error) {
	o = in.withPrivateReply(o, in.say().Noted)
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	o.b.Events = append(o.b.Events, bridge.SessionNotice(o.session, in.say().NoteText.With(in.byline(name), o.args)))
	return in.commitWithPresence(ctx, o.u, o.b)
}

// assignmentOf returns who takes care of a session; nil: nobody. raw is the row's value.
func (r *Desk) assignmentOf(ctx context.Context, session string) (c *assignment, raw []byte, err error) {
	return msgmap.Row[assignment](ctx, r.store, msgmap.TableAssignments, session)
}

func (in *inbox) assign(ctx context.Context, o commandContext) (bridge.Result, error) {
	has, _, err := in.desk.assignmentOf(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	if has != nil {
		return in.replyTo(ctx, o, in.say().TakenSince.With(has.Name, in.desk.presence.Clock(has.At, now)))
	}
	return in.assignTo(ctx, o, nil)
}

func (in *inbox) unassign(ctx context.Context, o commandContext) (bridge.Result, error) {
	has, raw, err := in.desk.assignmentOf(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if has == nil {
		return in.replyTo(ctx, o, in.say().NotClaimed)
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	say := in.say()
	text := say.TakesCareNoMore.With(in.byline(name))
	if has.Name != name {
		text = say.FreedFrom.With(in.byline(name), has.Name)
	}
	o = in.withPrivateReply(o, say.VisitorIsFree)
	o.b.Events = append(slices.Clone(o.b.Events), bridge.SessionNotice(o.session, text), in.assigned(o.session, "", ""))
	o.b = o.b.Swap(raw, bridge.Row{Table: msgmap.TableAssignments, Key: o.session})
	return in.commitWithPresence(ctx, o.u, o.b)
}

func (in *inbox) close(ctx context.Context, o commandContext) (bridge.Result, error) {
	c, _, err := msgmap.Row[closedBy](ctx, in.desk.store, tableClosed, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	if c != nil {
		return in.replyTo(ctx, o, in.say().ClosedAlready.With(c.Name, in.desk.presence.Clock(c.At, now)))
	}
	name, err := in.nameOf(ctx, o.who)
	if err != nil {
		return bridge.Result{}, err
	}
	o.b = o.b.Swap(nil, bridge.Row{
		Table: tableClosed, Key: o.session, Session: o.session,
		Value: bridge.MustJSON(closedBy{Platform: in.platform, Name: name, At: now.UTC()}),
	})
	o.b.Rows = append(o.b.Rows, bridge.Row{Table: msgmap.TableAssignments, Key: o.session})
	if o.u.Slash { // the answer is of the session, so that it comes before its thread is closed and takes no more messages
		answer := in.answer(o.u, in.say().IsClosed)
		answer.Session = o.session
		o.b.Events = append(slices.Clone(o.b.Events), answer)
	}
	return in.happens(ctx, o, bridge.TypeSessionClosed, "", func(name string) any {
		return bridge.SessionClosed{SessionID: o.session, SourceBridge: in.platform, OperatorName: name}
	})
}

func (in *inbox) reopen(ctx context.Context, o commandContext) (bridge.Result, error) {
	raw, err := in.desk.store.Get(ctx, tableClosed, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if raw == nil {
		closed, err := in.threadClosed(ctx, o.session)
		if err != nil {
			return bridge.Result{}, err
		}
		if !closed {
			return in.replyTo(ctx, o, in.say().IsOpen)
		}
	}
	o.b = o.b.Swap(raw, bridge.Row{Table: tableClosed, Key: o.session})
	return in.happens(ctx, in.withPrivateReply(o, in.say().ReopenedAnswer), bridge.TypeSessionReopened, "", func(name string) any {
		return bridge.SessionClosed{SessionID: o.session, SourceBridge: in.platform, OperatorName: name}
	})
}

// threadClosed says whether a thread of the session was closed on a platform, by the app or for its silence.
func (in *inbox) threadClosed(ctx context.Context, session string) (bool, error) {
	for _, other := range in.desk.inboxes {
		t, err := other.messages.Thread(ctx, session)
		if err != nil || t.Closed {
			return t.Closed, err
		}
	}
	return false, nil
}

func (in *inbox) read(ctx context.Context, o commandContext) (bridge.Result, error) {
	c, err := in.desk.conversation(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if len(c.Unread) == 0 {
		return in.replyTo(ctx, o, in.say().NothingUnread)
	}
	say := in.say()
	o.b = in.answered(o, say.Of(say.MarkedRead, len(c.Unread)))
	return in.happens(ctx, o, bridge.TypeMessageRead, "", func(string) any {
		return bridge.Read{SessionID: o.session, MessageIDs: c.Unread, Status: "read", SourceBridge: in.platform}
	})
}

func (in *inbox) delete(ctx context.Context, o commandContext) (bridge.Result, error) {
	if o.u.ReplyTo == "" {
		return in.replyTo(ctx, o, in.say().DeleteHow)
	}
	at, err := in.messages.Origin(ctx, o.u.ReplyTo)
	if err != nil {
		return bridge.Result{}, err
	}
	author := []byte(nil)
	if at.Session == o.session && at.Message != "" && at.Side == msgmap.Operators {
		if author, err = in.desk.store.Get(ctx, tableAuthors, at.Session+"\n"+at.Message); err != nil {
			return bridge.Result{}, err
		}
	}
	own, err := in.isPerson(ctx, o.who, string(author))
	if err != nil {
		return bridge.Result{}, err
	}
	switch {
	case author == nil:
		return in.replyTo(ctx, o, in.say().DeleteNotYours)
	case !own:
		return in.replyTo(ctx, o, in.say().DeleteOfOther)
	}
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	answer := in.answerOf(o.u, in.say().Deleted)
	if !o.u.Slash {
		answer.Removes = []bridge.MessageID{o.u.ReplyTo, o.u.Message}
	}
	o.b.Events = append(slices.Clone(o.b.Events), in.answerEvent(answer))
	o.b = o.b.Swap(author, bridge.Row{Table: tableAuthors, Key: at.Session + "\n" + at.Message})
	// Without its origin no edit of it is taken any more.
	o.b.Rows = append(o.b.Rows, in.messages.NoOrigin(o.u.ReplyTo))
	return in.happens(ctx, o, bridge.TypeOperatorDeleted, at.Message, func(string) any {
		return bridge.OperatorDeleted{SessionID: at.Session, MessageID: at.Message, DeletedAt: bridge.WireTime(now)}
	})
}

func (in *inbox) rate(ctx context.Context, o commandContext) (bridge.Result, error) {
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	o.b = in.answered(o, in.say().RatingAsked)
	return in.happens(ctx, o, bridge.TypeCSATRequest, "", func(string) any {
		return struct {
			SessionID   string `json:"sessionId"`
			RequestedAt string `json:"requestedAt"`
		}{o.session, bridge.WireTime(now)}
	})
}

func (in *inbox) ai(ctx context.Context, o commandContext) (bridge.Result, error) {
	on := strings.EqualFold(o.args, "on")
	text := in.say().AIOn
	if !on {
		text = in.say().AIOff
		answered, err := msgmap.AnsweredBy(ctx, in.desk.store, o.session)
		if err != nil {
			return bridge.Result{}, err
		}
		o.b.Rows = append(slices.Clone(o.b.Rows), msgmap.AnsweredRow(o.session, answered.Without(msgmap.AnswererAI)))
	}
	o.b = in.answered(o, text)
	return in.happens(ctx, o, bridge.TypeAIToggle, "", func(string) any {
		return struct {
			SessionID string `json:"sessionId"`
			Enabled   bool   `json:"enabled"`
		}{o.session, on}
	})
}

// info answers with what is known of the visitor.
func (in *inbox) info(ctx context.Context, o commandContext) (bridge.Result, error) {
	r := in.desk
	now, err := r.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	s, err := r.session(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	lines, say := known(s), in.say()
	if at, ok := bridge.Time(s.CreatedAt); ok {
		lines = append(lines, say.HereSince.With(r.presence.Clock(at, now)))
	}
	has, _, err := r.assignmentOf(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if has != nil {
		lines = append(lines, say.ClaimedSince.With(has.Name, r.presence.Clock(has.At, now)))
	}
	c, err := r.conversation(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	if c.Waits != 0 {
		lines = append(lines, say.WaitsSince.With(r.presence.Clock(c.Waits.Time(), now)))
	}
	if raw, err := r.store.Get(ctx, tableClosed, o.session); err != nil {
		return bridge.Result{}, err
	} else if raw != nil {
		lines = append(lines, say.IsClosed)
	}
	return in.replyTo(ctx, o, strings.Join(lines, "\n"))
}

// known is what an app has told of a session, a line each.
func known(s *bridge.Session) []string {
	var lines []string
	add := func(what string, texts ...string) {
		var there []string
		for _, text := range texts {
			if text = measure.OneLine(text, bridge.ShownReason); text != "" {
				there = append(there, text)
			}
		}
		if len(there) > 0 {
			lines = append(lines, what+words.Get().Colon+strings.Join(there, ", "))
		}
	}
	say := words.Get()
	add(say.LabelVisitor, s.DisplayName())
	if id := s.Identity; id != nil {
		add(say.LabelEmail, id.Email)
		add(say.LabelKnownAs, id.ID)
	}
	add(say.LabelPhone, s.UserPhone, s.UserPhoneCountry)
	if m := s.Metadata; m != nil {
		add(say.LabelPage, m.PageTitle, m.URL)
		add(say.LabelCameFrom, m.Referrer)
		add(say.LabelPlace, m.City, m.Country)
		add(say.LabelAddress, m.IP)
		add(say.LabelDevice, m.DeviceType, m.Browser, m.OS, m.ScreenResolution)
		add(say.LabelLanguage, m.Language)
		add(say.LabelTimeZone, m.Timezone)
	}
	if c := s.CSAT; c != nil && c.Score != nil {
		add(say.LabelRating, say.RatingOf.With(strconv.Itoa(*c.Score)), c.Comment)
	}
	add(say.LabelVisitorID, s.VisitorID)
	add(say.LabelSession, s.ID)
	return lines
}
