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
	for range commandTries {
		res, err := in.dispatch(ctx, o)
		if !errors.Is(err, bridge.ErrChanged) {
			return res, err
		}
	}
	return bridge.Result{}, fmt.Errorf("%w: others change what /%s wants to change", bridge.ErrUnavailable, info.Name)
}

// commandTries is how often a command is tried whose rows others change meanwhile.
const commandTries = 10

// dispatch does a command that is as it should be. The error is bridge.ErrChanged when somebody else was faster.
func (in *inbox) dispatch(ctx context.Context, o commandContext) (bridge.Result, error) {
	switch o.info.Name {
	case "online":
		return in.online(ctx, o)
	case "away":
		return in.away(ctx, o)
	case "offline":
		return in.offline(ctx, o)
	case "status":
		text, err := in.statusText(ctx)
		if err != nil {
			return bridge.Result{}, err
		}
		return in.replyTo(ctx, o, text)
	case "name":
		return in.rename(ctx, o)
	case "link":
		return in.linkAccounts(ctx, o)
	case "unlink":
		return in.unlinkAccount(ctx, o)
	case "id":
		return in.ids(ctx, o)
	case "canned":
		return in.canned(ctx, o)
	case "info":
		return in.info(ctx, o)
	case "r":
		return in.reply(ctx, o)
	case "send":
		return in.sendCommand(ctx, o)
	case "note":
		return in.note(ctx, o)
	case "claim":
		return in.claim(ctx, o)
	case "assign":
		return in.askToTake(ctx, o)
	case "ok":
		return in.take(ctx, o)
	case "find":
		return in.find(ctx, o)
	case "history":
		return in.history(ctx, o)
	case "transcript":
		return in.transcript(ctx, o)
	case "remind":
		return in.remindLater(ctx, o)
	case "unclaim":
		return in.unassign(ctx, o)
	case "block":
		return in.block(ctx, o)
	case "unblock":
		return in.unblock(ctx, o)
	case "blocked":
		return in.blocked(ctx, o)
	case "close":
		return in.close(ctx, o)
	case "reopen":
		return in.reopen(ctx, o)
	case "read":
		return in.read(ctx, o)
	case "delete":
		return in.delete(ctx, o)
	case "csat":
		return in.rate(ctx, o)
	case "ai":
		return in.ai(ctx, o)
	default:
		return in.help(ctx, o)
	}
}

// argumentFault says what is wrong with what stands behind a command, or nothing.
func (in *inbox) argumentFault(info bridge.CommandInfo, args string) string {
	switch {
	case info.Argument == "" && args != "":
		return in.say().TakesNothing.With(info.Name)
	case info.Required && args == "":
		return in.say().WantsSomething.With(info.Name, in.usage(info))
	}
	for _, choice := range info.Choices {
		if strings.EqualFold(choice, args) {
			return ""
		}
	}
	if len(info.Choices) > 0 {
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

// replyOnly answers where something was written.
func (in *inbox) replyOnly(ctx context.Context, u bridge.Update, b bridge.Batch, text string) (bridge.Result, error) {
	b.Events = append(b.Events[:len(b.Events):len(b.Events)], in.answer(u, text))
	return in.commit(ctx, b)
}

// replyTo answers a command that changes nothing, which is a sign of life all the same; a stranger's is none.
func (in *inbox) replyTo(ctx context.Context, o commandContext, text string) (bridge.Result, error) {
	if in.notAllowed(o.u) {
		return in.replyOnly(ctx, o.u, o.b, text)
	}
	o.b.Events = append(o.b.Events[:len(o.b.Events):len(o.b.Events)], in.answer(o.u, text))
	return in.commitWithPresence(ctx, o.u, o.b)
}

// answered is the command's batch with an answer.
func (in *inbox) answered(o commandContext, text string) bridge.Batch {
	b := o.b
	b.Events = append(b.Events[:len(b.Events):len(b.Events)], in.answer(o.u, text))
	return b
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
