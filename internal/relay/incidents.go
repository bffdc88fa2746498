package relay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// What operators are told of a platform, besides kinds of calls that it refuses.
const (
	incidentFlat  = "flat"  // sessions go without a thread, since theirs go as soon as they are opened
	incidentAuth  = "auth"  // it takes nothing at all any more: a person has to do something
	incidentLimit = "limit" // it asked for much time
)

const (
	flatCalm    = time.Hour   // without another such session, and nobody is told any more that it is over
	outageAfter = time.Minute // of a platform that takes nothing, until the others' operators are told
)

// incidents are what operators are told of a platform: what it refuses, in its own main place too; and that it takes nothing, on
// the other platforms. Its methods may be called from several goroutines.
type incidents struct {
	lane    *lane
	partial *troubles
	outages *troubles
}

func newIncidents(l *lane, places func() []place, log *slog.Logger) *incidents {
	in := &incidents{lane: l, partial: newTroubles(l.name, places, log)}
	in.partial.after, in.partial.words, in.partial.apart = 0, incidentWords(l.name), true
	in.outages = newTroubles("outage:"+l.name, func() []place {
		return slices.DeleteFunc(places(), func(p place) bool { return p.platform == l.name })
	}, log)
	in.outages.after, in.outages.words, in.outages.apart = outageAfter, incidentWords(l.name), true
	return in
}

func (in *incidents) load(ctx context.Context, s Store) error {
	if err := in.partial.load(ctx, s); err != nil {
		return err
	}
	return in.outages.load(ctx, s)
}

// news tells what is new, one thing at a time.
func (in *incidents) news(now time.Time) news {
	refused, outages := in.lane.refusals()
	in.partial.compare(refused, func(target string) bool { return target == incidentFlat })
	in.outages.compare(outages, func(string) bool { return false })
	calm := now.Sub(in.partial.lastOf(incidentFlat)) >= flatCalm
	n := in.partial.news(now, func(target string) bool { return target != incidentFlat || !calm })
	if n.written == nil {
		n = in.outages.news(now, func(string) bool { return true })
	}
	n.unsure = nil // they are looked at, not asked
	return n
}

// flat notes that a session goes without a thread.
func (in *incidents) flat(cause *bridge.DeliveryError) {
	in.partial.note(context.Background(), incidentFlat, bridge.TypeAnswer, &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: cause.Op, Detail: cause.Detail})
}

// compare notes what fails now, and that everything else does not, but for what is kept.
func (ts *troubles) compare(failing map[string]*bridge.DeliveryError, keeps func(target string) bool) {
	ts.mu.Lock()
	over := make([]string, 0, len(ts.of))
	for target := range ts.of {
		if failing[target] == nil && !keeps(target) {
			over = append(over, target)
		}
	}
	ts.mu.Unlock()
	for _, target := range over {
		ts.note(context.Background(), target, bridge.TypeAnswer, nil)
	}
	for target, cause := range failing {
		ts.note(context.Background(), target, bridge.TypeAnswer, cause)
	}
}

// lastOf returns when a target failed last.
func (ts *troubles) lastOf(target string) time.Time {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.of[target]; t != nil {
		return t.Last
	}
	return time.Time{}
}

// refusals returns which kinds of calls the destination refuses, and why it takes nothing at all.
func (l *lane) refusals() (kinds, outages map[string]*bridge.DeliveryError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds, outages = map[string]*bridge.DeliveryError{}, map[string]*bridge.DeliveryError{}
	for op, p := range l.refused {
		kinds[op] = p.cause
	}
	if cause := l.pause.cause; cause != nil && cause.Reason == bridge.ReasonAuth {
		outages[incidentAuth] = cause
	}
	if cause := l.caution.cause; cause != nil && !l.caution.failing().IsZero() {
		outages[incidentLimit] = cause
	}
	return kinds, outages
}

// incidentWords are the sentences about the platform of that name.
type incidentWords string

func (platform incidentWords) down(targets []string, long time.Duration, detail string) string {
	name := title(string(platform))
	switch targets[0] {
	case incidentFlat:
		return fmt.Sprintf("On %s, threads go as soon as they are opened (%s). Conversations that lost three within an hour are shown here "+
			"without one: each line says whose it is, and a reply to it goes to that visitor.", name, detail)
	case incidentAuth:
		return fmt.Sprintf("%s has taken nothing for %s: %s. What is for it waits.", name, ago(long), detail)
	case incidentLimit:
		return fmt.Sprintf("%s has asked the bridge to wait, for more than a minute: %s. What is for it waits.", name, detail)
	case opOpenThread:
		return fmt.Sprintf("%s lets the bridge open no threads: %s. Visitors who have none wait, all others are served.", name, detail)
	case opReopenThread:
		return fmt.Sprintf("%s lets the bridge open no closed threads again: %s. Visitors whose thread is closed wait, all others are "+
			"served.", name, detail)
	}
	return fmt.Sprintf("%s refuses calls of the kind %s: %s.", name, strings.Join(targets, ", "), detail)
}

func (platform incidentWords) back(targets []string, after time.Duration) string {
	name := title(string(platform))
	switch targets[0] {
	case incidentAuth, incidentLimit:
		return fmt.Sprintf("%s takes messages again, after %s.", name, ago(after))
	case opOpenThread, opReopenThread:
		return fmt.Sprintf("%s lets the bridge open threads again, after %s.", name, ago(after))
	}
	return fmt.Sprintf("%s takes such calls again, after %s.", name, ago(after))
}
