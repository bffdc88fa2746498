package desk

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
)

// foundMost is how many sessions /find and /history show.
const foundMost = 10

// find answers with the newest sessions whose visitor's name, e-mail, id or card has words that begin as is asked.
func (in *inbox) find(ctx context.Context, o commandContext) (bridge.Result, error) {
	var terms []string
	for _, word := range strings.Fields(strings.ToLower(measure.OneLine(o.args, valueMost))) {
		if r := []rune(word); len(r) > wordMost {
			word = string(r[:wordMost])
		}
		terms = append(terms, word)
	}
	if len(terms) == 0 {
		return in.replyTo(ctx, o, in.say().NothingToFind)
	}
	found, err := in.desk.search(ctx, terms, foundMost)
	if err != nil {
		return bridge.Result{}, err
	}
	if len(found) == 0 {
		return in.replyTo(ctx, o, in.say().NobodyFound.With(shortened(o.args)))
	}
	return in.listFound(ctx, o, in.say().FoundBy.With(shortened(o.args)), found)
}

// history answers with the earlier sessions of a thread's visitor.
func (in *inbox) history(ctx context.Context, o commandContext) (bridge.Result, error) {
	s, err := in.desk.session(ctx, o.session)
	if err != nil {
		return bridge.Result{}, err
	}
	found, err := in.desk.earlierOf(ctx, s, foundMost)
	if err != nil {
		return bridge.Result{}, err
	}
	if len(found) == 0 {
		return in.replyTo(ctx, o, in.say().FirstVisit)
	}
	return in.listFound(ctx, o, in.say().OtherVisits, found)
}

// listFound answers with a line for each session: who, when, and the link of its thread here.
func (in *inbox) listFound(ctx context.Context, o commandContext, head string, all []found) (bridge.Result, error) {
	now, err := in.desk.store.Now(ctx)
	if err != nil {
		return bridge.Result{}, err
	}
	lines := []string{head}
	for _, one := range all {
		s, err := in.desk.session(ctx, one.session)
		if err != nil {
			return bridge.Result{}, err
		}
		line := "🔎 " + measure.OneLine(s.DisplayName(), bridge.ShownField)
		if s.Identity != nil && s.Identity.Email != "" {
			line += " · " + measure.OneLine(s.Identity.Email, bridge.ShownField)
		}
		line += " · " + in.desk.presence.Clock(timeOf(one.age), now)
		if line, err = in.withLink(ctx, line, one.session); err != nil {
			return bridge.Result{}, err
		}
		lines = append(lines, line)
	}
	return in.replyTo(ctx, o, strings.Join(lines, "\n"))
}

// timeOf is what ageOf was given, as a time.
func timeOf(age string) time.Time {
	n, _ := strconv.ParseUint(age, 10, 64) // it is one, else it had not been found
	return bridge.Seq(^uint64(0) - n).Time()
}
