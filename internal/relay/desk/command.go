package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// commandContext is a command on its way: what was asked, by whom and where.
type commandContext struct {
	info    bridge.CommandInfo
	args    string
	u       bridge.Update
	who     bridge.Account
	session string       // of a command that is of a session
	b       bridge.Batch // what is written whatever comes of it
}

// command does what an operator asks. Its claim, its effect and its answer are one write; the answer is then a delivery.
func (in *inbox) command(ctx context.Context, u bridge.Update, cmd *bridge.Command, b bridge.Batch) (bridge.Result, error) {
	o := commandContext{args: strings.TrimSpace(cmd.Args), u: u, who: in.account(u), b: b}
	info, _ := bridge.FindCommand(cmd.Name)
	o.info = info
	if in.notAllowed(u) && info.Name != "id" && info.Name != "help" {
		session, err := in.sessionOf(ctx, u)
		if err != nil {
			return bridge.Result{}, err
		}
		u.Command = cmd
		return in.deny(ctx, u, session, b)
	}
	var err error
	if o, err = in.withAlbum(ctx, o); err != nil {
		return bridge.Result{}, err
	}
	if wrong := in.argumentFault(info, o.args); wrong != "" {
		return in.replyTo(ctx, o, wrong+" "+in.say().NothingDone)
	}
	if info.Thread {
		session, err := in.sessionOf(ctx, u)
		if err != nil {
			return bridge.Result{}, err
		}
		if o.session = session; session == "" {
			return in.replyTo(ctx, o, in.wrongPlaceText(o))
		}
	}
	busy := fmt.Errorf("%w: others change what /%s wants to change", bridge.ErrUnavailable, info.Name)
	return tried(busy, func() (bridge.Result, error) { return in.dispatch(ctx, o) })
}

// commandTries is how often something is tried whose rows others change meanwhile.
const commandTries = 10

// What others do who are faster each time.
var (
	errBusyMessage      = fmt.Errorf("%w: others change the same message", bridge.ErrUnavailable)
	errBusyConversation = fmt.Errorf("%w: others open and close the conversation", bridge.ErrUnavailable)
	errBusyDraft        = fmt.Errorf("%w: others do something with the same draft", bridge.ErrUnavailable)
	errBusyWithheld     = fmt.Errorf("%w: others change what is held", bridge.ErrUnavailable)
)

// tried does something until nobody else was faster; busy is the error where somebody always is.
func tried(busy error, do func() (bridge.Result, error)) (bridge.Result, error) {
	for range commandTries {
		if res, err := do(); !errors.Is(err, bridge.ErrChanged) {
			return res, err
		}
	}
	return bridge.Result{}, busy
}

// commands is what is done for each command; for one that is not here, help is given.
var commands = map[string]func(in *inbox, ctx context.Context, o commandContext) (bridge.Result, error){
	"online":     (*inbox).online,
	"away":       (*inbox).away,
	"offline":    (*inbox).offline,
	"status":     (*inbox).status,
	"name":       (*inbox).rename,
	"link":       (*inbox).linkAccounts,
	"unlink":     (*inbox).unlinkAccount,
	"id":         (*inbox).ids,
	"canned":     (*inbox).canned,
	"info":       (*inbox).info,
	"r":          (*inbox).reply,
	"send":       (*inbox).sendCommand,
	"note":       (*inbox).note,
	"claim":      (*inbox).claim,
	"assign":     (*inbox).askToTake,
	"ok":         (*inbox).take,
	"find":       (*inbox).find,
	"history":    (*inbox).history,
	"transcript": (*inbox).transcript,
	"remind":     (*inbox).remindLater,
	"unclaim":    (*inbox).unassign,
	"block":      (*inbox).block,
	"unblock":    (*inbox).unblock,
	"blocked":    (*inbox).blocked,
	"close":      (*inbox).close,
	"reopen":     (*inbox).reopen,
	"read":       (*inbox).read,
	"delete":     (*inbox).delete,
	"csat":       (*inbox).rate,
	"ai":         (*inbox).ai,
}

// dispatch does a command that is as it should be. The error is bridge.ErrChanged when somebody else was faster.
func (in *inbox) dispatch(ctx context.Context, o commandContext) (bridge.Result, error) {
	if do := commands[o.info.Name]; do != nil {
		return do(in, ctx, o)
	}
	return in.help(ctx, o)
}

// argumentFault says what is wrong with what stands behind a command, or nothing.
func (in *inbox) argumentFault(info bridge.CommandInfo, args string) string {
	switch {
	case info.Argument == "" && args != "":
		return in.say().TakesNothing.With(info.Name)
	case info.Required && args == "":
		return in.say().WantsSomething.With(info.Name, in.usage(info))
	case len(info.Choices) > 0 && !slices.ContainsFunc(info.Choices, func(choice string) bool { return strings.EqualFold(choice, args) }):
		return in.say().DoesNotTake.With(info.Name, in.usage(info))
	}
	return ""
}

// wrongPlaceText says where a command of a session is to be given.
func (in *inbox) wrongPlaceText(o commandContext) string {
	switch {
	case o.u.Flat && o.u.ReplyTo == "":
		return in.say().GiveInReply.With(o.info.Name)
	case o.u.Flat:
		return in.say().UnknownReply.With(o.info.Name)
	default:
		return in.say().GiveInThread.With(o.info.Name)
	}
}

// unknown answers a command that there is not, where it is no message for a visitor. A canned reply is told from one.
func (in *inbox) unknown(ctx context.Context, o commandContext, m marked) (bridge.Result, error) {
	_, isCanned, err := in.cannedReply(ctx, o.u, m)
	if err != nil {
		return bridge.Result{}, err
	}
	if o.info.Name = m.name; isCanned {
		return in.replyTo(ctx, o, in.wrongPlaceText(o))
	}
	return in.replyTo(ctx, o, in.unknownText(m.name))
}

// nearest returns the command, or one of the other names, that a mistyped one comes nearest to, or nothing when none is near.
func nearest(name string, others []string) string {
	if len(name) > maxCannedName {
		return "" // longer than any
	}
	return measure.Nearest(name, append(slices.Clone(others), commandNames()...))
}

// replyTo answers a command that changes nothing, which is a sign of life all the same; a stranger's is none.
func (in *inbox) replyTo(ctx context.Context, o commandContext, text string) (bridge.Result, error) {
	b := in.answered(o, text)
	if in.notAllowed(o.u) {
		return in.commit(ctx, b)
	}
	return in.commitWithPresence(ctx, o.u, b)
}

// answered is the command's batch with an answer.
func (in *inbox) answered(o commandContext, text string) bridge.Batch {
	o.b.Events = append(slices.Clone(o.b.Events), in.answer(o.u, text))
	return o.b
}

func (in *inbox) online(ctx context.Context, o commandContext) (bridge.Result, error) {
	return in.present(ctx, o, bridge.StatusOnline, func(c bridge.PresenceChange, until string) string {
		say := in.say()
		switch {
		case until != "":
			return say.YouAreOnlineUntil.With(until)
		case c.Closed:
			return say.YouAreOnline + " " + say.OnlineAfterHours
		}
		return say.YouAreOnline
	})
}

func (in *inbox) away(ctx context.Context, o commandContext) (bridge.Result, error) {
	return in.present(ctx, o, bridge.StatusAway, func(_ bridge.PresenceChange, until string) string {
		if until != "" {
			return in.say().YouAreAwayUntil.With(until)
		}
		return in.say().YouAreAway
	})
}

func (in *inbox) offline(ctx context.Context, o commandContext) (bridge.Result, error) {
	return in.present(ctx, o, bridge.StatusOffline, func(bridge.PresenceChange, string) string { return in.say().YouAreOffline })
}

// present gives the author of a command a status, perhaps for a while.
func (in *inbox) present(
	ctx context.Context, o commandContext, s bridge.Status, text func(c bridge.PresenceChange, until string) string,
) (bridge.Result, error) {
	people := in.desk.presence
	var until time.Time
	if o.args != "" {
		at, ok, err := people.Moment(ctx, o.args)
		if err != nil {
			return bridge.Result{}, err
		}
		if !ok {
			return in.replyTo(ctx, o, in.say().CannotReadTime.With(shortened(o.args), o.info.Name))
		}
		until = at
	}
	end := ""
	if !until.IsZero() {
		now, err := in.desk.store.Now(ctx)
		if err != nil {
			return bridge.Result{}, err
		}
		end = people.Clock(until, now)
	}
	return people.Set(ctx, o.who, s, until, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		return in.answered(o, text(c, end))
	}))
}

// shortened is a text that somebody typed, as it is shown to them again.
func shortened(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return text
}

func (in *inbox) rename(ctx context.Context, o commandContext) (bridge.Result, error) {
	say, name := in.say(), measure.OneLine(o.args, len(o.args))
	if len([]rune(name)) > bridge.ShownName {
		return in.replyTo(ctx, o, say.Of(say.NameTooLong, bridge.ShownName))
	}
	if o.args != "" && name == "" {
		return in.replyTo(ctx, o, say.NothingToSee)
	}
	return in.desk.presence.Rename(ctx, o.who, name, in.writes(func(c bridge.PresenceChange) bridge.Batch {
		if c.Fault != "" {
			return in.answered(o, c.Fault)
		}
		text := say.VisitorsSeeYou.With(c.Person.Name)
		if name == "" {
			text += " " + say.NameChangeHint
		}
		if name != "" && c.Person.Name != name {
			text = say.NameIsHidden.With(name, c.Person.Name)
		}
		return in.answered(o, text)
	}))
}

// ids answers with all that OPERATORS, the configuration of a chat, or a question to whoever runs the bridge may want.
func (in *inbox) ids(ctx context.Context, o commandContext) (bridge.Result, error) {
	who := []string{o.who.Key()}
	people, err := in.desk.presence.People(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	say := in.say()
	lines := []string{say.YouAre.With(o.who.Name)}
	for _, p := range people {
		if p.Has(o.who.Key()) && len(p.Accounts) > 1 {
			lines = []string{say.YouAreOne.With(p.Called, accounts(p), p.ID)}
			who = accountKeys(p)
		}
	}
	lines = append(lines, "OPERATORS="+strings.Join(who, ","))
	if h, ok := in.chat.(bridge.Home); ok {
		name, value := h.HomeSetting()
		lines = append(lines, name+"="+value)
	}
	lines = append(lines, say.LabelThread+say.Colon+string(o.u.Thread))
	if !in.notAllowed(o.u) {
		session, err := in.sessionOf(ctx, o.u)
		if err != nil {
			return bridge.Result{}, err
		}
		if session != "" {
			lines = append(lines, say.LabelSession+say.Colon+session)
		}
	}
	return in.replyTo(ctx, o, strings.Join(lines, "\n"))
}
