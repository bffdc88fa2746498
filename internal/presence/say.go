package presence

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
)

// longestMoment is how far from now a moment may be that an operator names by a duration.
const longestMoment = 31 * 24 * time.Hour

// Moment reads until when an operator says to be here or away: a duration such as 2h, 30m or 1h30m, or until 14:00, in the
// zone of the business hours, today or else tomorrow. ok is false for anything else, and for less than a minute or more than
// longestMoment.
func (p *Presence) Moment(ctx context.Context, text string) (until time.Time, ok bool, err error) {
	now, err := p.store.Now(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 2 && (words[0] == "until" || words[0] == "till") || len(words) == 1 && strings.Contains(words[0], ":") {
		minute := minuteOf(words[len(words)-1])
		if minute < 0 {
			return time.Time{}, false, nil
		}
		today := now.In(p.o.Hours.Location())
		until = time.Date(today.Year(), today.Month(), today.Day(), 0, minute, 0, 0, today.Location())
		if !until.After(now) {
			until = time.Date(today.Year(), today.Month(), today.Day()+1, 0, minute, 0, 0, today.Location())
		}
		return until.UTC(), true, nil
	}
	if len(words) > 1 && words[0] == "for" {
		words = words[1:]
	}
	const digits = "0123456789"
	d := time.Duration(0)
	for text := strings.Join(words, ""); text != ""; {
		rest := strings.TrimLeft(text, digits)
		n, err := strconv.Atoi(strings.TrimSuffix(text, rest))
		if err != nil || len(text)-len(rest) > 6 {
			return time.Time{}, false, nil
		}
		text = strings.TrimLeftFunc(rest, func(r rune) bool { return !strings.ContainsRune(digits, r) })
		var unit time.Duration
		switch strings.TrimSuffix(rest, text) {
		case "m", "min", "minute", "minutes":
			unit = time.Minute
		case "h", "hour", "hours":
			unit = time.Hour
		case "d", "day", "days":
			unit = 24 * time.Hour
		default:
			return time.Time{}, false, nil
		}
		if time.Duration(n) > longestMoment/unit { // looked at before it is multiplied, which could go beyond what a number holds
			return time.Time{}, false, nil
		}
		if d += time.Duration(n) * unit; d > longestMoment {
			return time.Time{}, false, nil
		}
	}
	if d < time.Minute {
		return time.Time{}, false, nil
	}
	return now.Add(d), true, nil
}

// Clock shows a moment in the zone of the business hours, without its date if it is of today.
func (p *Presence) Clock(t, now time.Time) string {
	return words.Get().Clock(t.In(p.o.Hours.Location()), now)
}

// Summary says who is online, away and offline, since and until when, and why: one line each, as the store has it now.
func (p *Presence) Summary(ctx context.Context) (string, error) {
	r, err := p.read(ctx)
	if err != nil {
		return "", err
	}
	if len(r.people) == 0 {
		return words.Get().NobodyYet, nil
	}
	now, err := p.store.Now(ctx)
	if err != nil {
		return "", err
	}
	for i, who := range r.people {
		r.people[i] = p.admitted(p.upTo(who, now), now)
	}
	rank := []bridge.Status{bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline}
	slices.SortStableFunc(r.people, func(a, b record) int {
		return cmp.Or(cmp.Compare(slices.Index(rank, a.Status), slices.Index(rank, b.Status)),
			cmp.Compare(strings.ToLower(a.Called), strings.ToLower(b.Called)))
	})
	lines := make([]string, 0, len(r.people)+1)
	for _, who := range r.people {
		lines = append(lines, p.line(who, now))
	}
	if !p.o.Hours.Open(now) {
		text := words.Get().OutsideHours
		if opens := p.o.Hours.NextOpen(now); !opens.IsZero() {
			text = words.Get().OutsideHoursUntil.With(p.Clock(opens, now))
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n"), nil
}

func (p *Presence) line(who record, now time.Time) string {
	op, say := p.operator(who), words.Get()
	text := oneLine(cmp.Or(who.Called, who.ID))
	if public := oneLine(op.Name); public != "" && public != text {
		text += ", " + say.ForVisitors.With(public)
	}
	var platforms []string
	for _, a := range who.Accounts {
		platforms = append(platforms, bridge.Title(a.Platform))
	}
	if len(platforms) > 0 {
		text = say.OnPlatform.With(text, strings.Join(platforms, ", "))
	}
	text = say.StatusSince.With(text, say.Status(string(op.Status)), p.Clock(op.Since, now))
	if !op.Until.IsZero() {
		text += ", " + say.StatusUntil.With(p.Clock(op.Until, now))
	}
	if why := why(op.Reason); why != "" {
		text += ", " + why
	}
	return text
}

// why puts what set a status into words.
func why(reason string) string {
	say := words.Get()
	return cmp.Or(map[string]string{
		reasonCommand: say.ByCommand, reasonReply: say.ByAnswering, reasonTimeout: say.ByTimeout,
		reasonHours: say.ByHours, reasonAPI: say.ByApp, reasonRemoved: say.ByRemoval,
	}[reason], reason)
}

// oneLine keeps a name that somebody chose from looking like more than one line, or like another one.
func oneLine(name string) string { return measure.OneLine(name, len(name)) }
