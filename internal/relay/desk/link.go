package desk

import (
	"context"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// linkAccounts joins an operator's accounts. A code from the first account is typed with the second, and the first confirms: in a group
// without private answers everybody can read the code.
func (in *inbox) linkAccounts(ctx context.Context, o commandContext) (bridge.Result, error) {
	people, say := in.desk.presence, in.say()
	switch {
	case o.args == "":
		return people.Begin(ctx, in.linkEnd(o), in.writes(func(c bridge.PresenceChange) bridge.Batch {
			return in.answered(o, say.LinkCode.With(c.Code))
		}))
	case strings.EqualFold(o.args, "yes"):
		return people.Confirm(ctx, o.who, in.writes(func(c bridge.PresenceChange) bridge.Batch {
			if c.Fault != "" {
				return in.answered(o, words.Marked(c.Fault, in.mark()))
			}
			b := in.answered(o, say.LinkDone.With(accounts(c.Person), say.Status(string(c.Person.Status))))
			b.Events = append(b.Events, noticeTo(c.Link.Second, in.sayOn(c.Link.Second.Account.Platform).LinkDoneOther.With(called(c.Link.First))))
			return b
		}))
	}
	return people.Join(ctx, in.linkEnd(o), o.args, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		switch {
		case c.Link == nil:
			return in.answered(o, words.Marked(c.Fault, in.mark()))
		case c.Fault != "":
			b := in.answered(o, words.Marked(c.Fault, in.mark()))
			b.Events = append(b.Events, noticeTo(c.Link.First, in.sayOn(c.Link.First.Account.Platform).LinkTriedOther.With(called(in.linkEnd(o)), called(c.Link.Second))))
			return b
		}
		b := in.answered(o, say.LinkAsked.With(called(c.Link.First)))
		b.Events = append(b.Events, noticeTo(c.Link.First, in.sayOn(c.Link.First.Account.Platform).LinkWanted.With(called(c.Link.Second))))
		return b
	}))
}

// linkEnd is the author of a command, and where they are told of a link. A slash command has an answer already, which a second
// one would replace.
func (in *inbox) linkEnd(o commandContext) bridge.LinkEnd {
	at := bridge.Answer{Platform: in.platform, Thread: o.u.Thread}
	if !o.u.Slash {
		at.ReplyTo = o.u.Message
	}
	return bridge.LinkEnd{Account: o.who, At: at}
}

// noticeTo is the event by which one end of a link is told something, by name.
func noticeTo(e bridge.LinkEnd, text string) bridge.Event {
	e.At.Text, e.At.Mention = text, []string{e.Account.Key()}
	return bridge.Event{Type: bridge.TypeAnswer, Origin: e.At.Platform, Body: bridge.MustJSON(e.At)}
}

// called is how one end of a link is called for the other.
func called(e bridge.LinkEnd) string {
	return words.Get().OnPlatform.With(e.Account.Name, bridge.Title(e.Account.Platform))
}

func (in *inbox) unlinkAccount(ctx context.Context, o commandContext) (bridge.Result, error) {
	return in.desk.presence.Leave(ctx, o.who, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		if c.Fault != "" {
			return in.answered(o, words.Marked(c.Fault, in.mark()))
		}
		return in.answered(o, in.say().Unlinked)
	}))
}

// accounts names a person's accounts.
func accounts(p bridge.Person) string {
	names := make([]string, 0, len(p.Accounts))
	for _, a := range p.Accounts {
		names = append(names, words.Get().AccountOn.With(a.Name, bridge.Title(a.Platform)))
	}
	return strings.Join(names, ", ")
}
