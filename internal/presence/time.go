package presence

import (
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// next returns what time does to an operator next, and when; zero: nothing.
func (p *Presence) next(who record) (at time.Time, to record) {
	to = who
	switch {
	case who.Status == bridge.StatusOnline && !who.Until.IsZero():
		at, to.Status, to.Reason = who.Until, bridge.StatusAway, reasonTimeout
		if !p.o.Hours.Open(at) {
			to.Reason = reasonHours
		}
	case who.Status == bridge.StatusOnline:
		if p.o.Timeout > 0 && who.ID != appID {
			at, to.Status, to.Reason = latest(who.Since, who.Seen).Add(p.o.Timeout), bridge.StatusAway, reasonTimeout
		}
		// Who says that they are here while it is closed, is, until it closes the next time.
		if closes := p.o.Hours.NextClose(latest(who.Since, who.Said)); !closes.IsZero() && (at.IsZero() || !closes.After(at)) {
			at, to.Status, to.Reason = closes, bridge.StatusAway, reasonHours
		}
	case who.Status == bridge.StatusAway && !who.Until.IsZero():
		at, to.Status, to.Reason = who.Until, bridge.StatusOnline, reasonCommand
		if !p.o.Hours.Open(at) {
			to.Status, to.Reason = bridge.StatusAway, reasonHours
		}
	case who.Status == bridge.StatusAway && who.Reason == reasonHours:
		at, to.Status = p.o.Hours.NextOpen(who.Since), bridge.StatusOnline
	}
	to.Until = time.Time{}
	to.Since = at.UTC().Truncate(time.Millisecond)
	return at, to
}

// upTo returns the operator as time has made them by now.
func (p *Presence) upTo(who record, now time.Time) record {
	for {
		at, to := p.next(who)
		if at.IsZero() || at.After(now) {
			return who
		}
		who = to
	}
}

// due returns when time changes somebody next; zero: nobody.
func (p *Presence) due(people []record) time.Time {
	var first time.Time
	for _, who := range people {
		if at, _ := p.next(who); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
