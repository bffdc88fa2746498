package stats

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// tellTries is how often a question is begun again because more has been counted meanwhile.
const tellTries = 20

// Stats implements bridge.StatsSource.
func (c *Counts) Stats(ctx context.Context, from, to time.Time) (bridge.Stats, error) {
	now, err := c.store.Now(ctx)
	if err != nil {
		return bridge.Stats{}, err
	}
	var days []string
	for at := startOf(from); at.Before(to); at = at.AddDate(0, 0, 1) {
		days = append(days, dayOf(at))
	}
	until := startOf(to.Add(-1)).AddDate(0, 0, 1)
	if until.After(now) {
		until = now
	}
	for range tellTries {
		f, err := c.load(ctx)
		if err != nil {
			return bridge.Stats{}, err
		}
		unanswered, err := c.unanswered(ctx, f, days)
		if err != nil {
			return bridge.Stats{}, err
		}
		moved, err := c.catchUp(ctx, f)
		if err != nil {
			return bridge.Stats{}, err
		}
		if moved {
			continue
		}
		out := f.sum(days)
		out.From, out.To = bridge.WireTime(startOf(from)), bridge.WireTime(until)
		out.UnansweredNow = unanswered + f.asking(days)
		return out, nil
	}
	return bridge.Stats{}, fmt.Errorf("%w: statistics change faster than they can be read", bridge.ErrUnavailable)
}

// startOf is the beginning of a moment's day.
func startOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// unanswered counts the sessions of some days whose last message is the visitor's, as the store has them.
func (c *Counts) unanswered(ctx context.Context, f *follower, days []string) (n int, err error) {
	for _, name := range days {
		if f.days[name] == nil {
			continue
		}
		of, err := c.store.Count(ctx, tableUnanswered+name)
		if err != nil {
			return 0, err
		}
		n += of
	}
	return n, nil
}

// catchUp counts in memory what the follower has not come to yet. moved says that it has come to more meanwhile, so that some of it
// may have been counted twice.
func (c *Counts) catchUp(ctx context.Context, f *follower) (moved bool, err error) {
	for {
		entries, err := c.store.Read(ctx, f.after, readMost, 0)
		if err != nil {
			return false, err
		}
		if err := c.prepare(ctx, f.counter, entries); err != nil {
			return false, err
		}
		for _, e := range entries {
			f.apply(e)
			f.after = e.Seq
		}
		if len(entries) < readMost {
			break
		}
	}
	cursor, err := c.store.Get(ctx, tableDays, keyCursor)
	return string(cursor) != string(f.cursor), err
}

// asking is by how many sessions of some days, whose last message is the visitor's, what is in memory goes beyond what is stored.
func (f *follower) asking(days []string) (n int) {
	for session := range f.changedSessions {
		t := f.sessions[session]
		switch {
		case !slices.Contains(days, t.Day):
		case t.Asks && !t.asked:
			n++
		case !t.Asks && t.asked:
			n--
		}
	}
	return n
}

// sum adds some days.
func (f *follower) sum(days []string) bridge.Stats {
	out := bridge.Stats{Sparkline: make([]int, len(days))}
	answered, good, scores := 0, 0, 0
	first, people, next := durations{}, durations{}, durations{}
	for i, name := range days {
		d := f.days[name]
		if d == nil {
			continue
		}
		out.Sparkline[i] = d.Sessions
		out.Conversations += d.Sessions
		answered += d.Answered
		for _, of := range days {
			out.Messages += d.Messages[of]
		}
		first.merge(d.First)
		people.merge(d.People)
		next.merge(d.Next)
		out.CSAT.Responses += d.Ratings
		good += d.Good
		scores += d.Scores
	}
	if out.Conversations > 0 {
		out.ResponseRate = min(float64(answered)/float64(out.Conversations), 1)
	}
	out.MedianFirstResponse = first.median()
	out.People = bridge.PeopleStats{
		FirstResponse: bridge.Quantiles{P50: people.median(), P90: people.ninetieth()},
		NextResponse:  bridge.Quantiles{P50: next.median(), P90: next.ninetieth()},
	}
	if n := float64(out.CSAT.Responses); n > 0 {
		percent, average := float64(good)/n, float64(scores)/n
		out.CSAT.Percent, out.CSAT.Average = &percent, &average
	}
	return out
}
