package threads

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/engine"
	"github.com/pocketping/bridge/internal/relay/incident"
	"github.com/pocketping/bridge/internal/words"
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

type incidents struct {
	partial *incident.Tracker
	outages *incident.Tracker
}

func newIncidents(platform string, places func() []incident.Place, log *slog.Logger) *incidents {
	return &incidents{
		partial: incident.New(incident.Options{Name: platform, Places: places, Words: incidentWords(platform), Apart: true, Log: log}),
		outages: incident.New(incident.Options{
			Name: "outage:" + platform,
			Places: func() []incident.Place {
				return slices.DeleteFunc(places(), func(p incident.Place) bool { return p.Platform == platform })
			},
			After: outageAfter, Words: incidentWords(platform), Apart: true, Log: log,
		}),
	}
}

func (in *incidents) load(ctx context.Context, s Store) error {
	if err := in.partial.Load(ctx, s); err != nil {
		return err
	}
	return in.outages.Load(ctx, s)
}

// notice tells what is new, one thing at a time.
func (in *incidents) notice(now time.Time, r engine.Refusals) engine.Notice {
	outages := map[string]*bridge.DeliveryError{}
	if r.Auth != nil {
		outages[incidentAuth] = r.Auth
	}
	if r.Limit != nil {
		outages[incidentLimit] = r.Limit
	}
	in.partial.Compare(r.Kinds, func(target string) bool { return target == incidentFlat })
	in.outages.Compare(outages, func(string) bool { return false })
	calm := now.Sub(in.partial.LastOf(incidentFlat)) >= flatCalm
	n := in.partial.Notice(now, func(target string) bool { return target != incidentFlat || !calm })
	if n.Acked == nil {
		n = in.outages.Notice(now, func(string) bool { return true })
	}
	n.RetryNow = nil // they are looked at, not asked
	return n
}

// flat notes that a session goes without a thread.
func (in *incidents) flat(cause *bridge.DeliveryError) {
	in.partial.Note(context.Background(), incidentFlat, bridge.TypeAnswer, &bridge.DeliveryError{Reason: bridge.ReasonThreadGone, Op: cause.Op, Detail: cause.Detail})
}

// incidentWords are the sentences about the platform of that name.
type incidentWords string

func (platform incidentWords) Down(targets []string, long time.Duration, detail string) string {
	name, say := bridge.Title(string(platform)), words.Get()
	switch targets[0] {
	case incidentFlat:
		return say.ThreadsGo.With(name, detail)
	case incidentAuth:
		return say.TakesNoMessages.With(name, say.Lasting(long), detail)
	case incidentLimit:
		return say.AsksToWait.With(name, detail)
	case engine.OpOpenThread:
		return say.OpensNoThreads.With(name, detail)
	case engine.OpReopenThread:
		return say.ReopensNoThreads.With(name, detail)
	}
	return say.RefusesCalls.With(name, strings.Join(targets, ", "), detail)
}

func (platform incidentWords) Back(targets []string, after time.Duration) string {
	name, say := bridge.Title(string(platform)), words.Get()
	switch targets[0] {
	case incidentAuth, incidentLimit:
		return say.TakesAgain.With(name, say.Lasting(after))
	case engine.OpOpenThread, engine.OpReopenThread:
		return say.OpensAgain.With(name, say.Lasting(after))
	}
	return say.CallsAgain.With(name, say.Lasting(after))
}
