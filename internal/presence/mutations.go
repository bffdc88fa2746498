package presence

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// own returns where the person behind an account is among the people, made if they are nobody yet, and notes a sign of life.
func (d *mutation) own(who bridge.Account) *record {
	d.who = who.Key()
	i := find(d.people, d.who)
	if i < 0 {
		d.people = append(d.people, record{
			ID: d.who, Platform: who.Platform, Status: bridge.StatusOffline, Since: d.now, Reason: reasonCommand,
			Accounts: []bridge.Account{who},
		})
		i = len(d.people) - 1
	}
	r := &d.people[i]
	r.Accounts = slices.Clone(r.Accounts)
	if n := slices.IndexFunc(r.Accounts, func(a bridge.Account) bool { return a.Key() == d.who }); n >= 0 {
		if who.Name == bridge.Nameless { // it was known before
			who.Name = r.Accounts[n].Name
		}
		who.Handle = cmp.Or(who.Handle, r.Accounts[n].Handle)
		r.Accounts[n] = who
	} else {
		r.Accounts = append(r.Accounts, who)
	}
	if who.Platform == r.Platform || r.Called == "" {
		r.Called = who.Name
	}
	r.Seen = d.now
	return r
}

// sign notes a sign of life of an account. Nobody becomes an operator by it.
func (d *mutation) sign(who bridge.Account) {
	if d.who = who.Key(); find(d.people, d.who) >= 0 {
		d.own(who)
		return
	}
	d.visitor = record{ID: d.who, Platform: who.Platform, Called: who.Name}
}

// set gives a person a status.
func (d *mutation) set(r *record, s bridge.Status, until time.Time, reason string) {
	if r.Status != s {
		r.Since = d.now
	}
	if r.Status != s || !r.Until.Equal(until) || s == bridge.StatusAway {
		r.Reason = reason
	}
	r.Status, r.Until, r.Said = s, until.UTC().Truncate(time.Millisecond), d.now
}

// Set gives the person behind an account a status, until some time or for as long as nothing else is said.
func (p *Presence) Set(
	ctx context.Context, who bridge.Account, s bridge.Status, until time.Time, w bridge.PresenceWrite,
) (bridge.Result, error) {
	if err := check(s); err != nil {
		return bridge.Result{}, err
	}
	return p.change(ctx, w, func(d *mutation) error {
		d.set(d.own(who), s, until, reasonCommand)
		return nil
	})
}

// SetApp sets the status of the app's own operator, which belongs to no platform.
func (p *Presence) SetApp(ctx context.Context, online bool, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *mutation) error {
		d.who = appID
		i := find(d.people, appID)
		if i < 0 {
			d.people = append(d.people, record{ID: appID, Platform: appID, Called: appName})
			i = len(d.people) - 1
		}
		s := bridge.StatusOffline
		if online {
			s = bridge.StatusOnline
		}
		d.set(&d.people[i], s, time.Time{}, reasonAPI)
		return nil
	})
}

// Seen notes a sign of life. Who answers a visitor by it is online, if that is wanted and it is within business hours; nobody
// else becomes an operator by it.
func (p *Presence) Seen(ctx context.Context, who bridge.Account, answers bool, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *mutation) error {
		comes := answers && p.o.OnReply && p.o.Hours.Open(d.now)
		if !comes {
			d.sign(who)
			return nil
		}
		if r := d.own(who); r.Status != bridge.StatusOnline {
			d.set(r, bridge.StatusOnline, time.Time{}, reasonReply)
		}
		return nil
	})
}

// MarkAway makes an online person away, since they did not answer; key is their id, or an account. One who is not online stays
// as they are, which is a fault.
func (p *Presence) MarkAway(ctx context.Context, key string, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *mutation) error {
		d.who = key
		i := find(d.people, key)
		if i < 0 || d.people[i].Status != bridge.StatusOnline {
			d.fault = "they are not online"
			return nil
		}
		d.set(&d.people[i], bridge.StatusAway, time.Time{}, reasonTimeout)
		return nil
	})
}

// Rename gives a person the name that visitors see; an empty one takes it away. One that a colleague has, or that stands for
// somebody who is no person, is a fault.
func (p *Presence) Rename(ctx context.Context, who bridge.Account, name string, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *mutation) error {
		me := d.own(who)
		if has := d.called(name, me.ID); has != "" {
			d.fault = words.Get().NameIsTaken.With(has)
			return nil
		}
		me.Public = name
		return nil
	})
}

// called says who else is called by a name, as colleagues know them; nothing: nobody.
func (d *mutation) called(name, but string) string {
	sounds := strings.ToLower(oneLine(name))
	switch sounds {
	case "":
		return ""
	case "ai":
		return words.Get().TheAI
	}
	for _, other := range d.people {
		for _, known := range []string{other.Public, other.Called} {
			if other.ID != but && strings.ToLower(oneLine(known)) == sounds {
				return words.Get().OnPlatform.With(oneLine(cmp.Or(other.Called, other.ID)), bridge.Title(other.Platform))
			}
		}
	}
	return ""
}

func check(s bridge.Status) error {
	switch s {
	case bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline:
		return nil
	}
	return &bridge.FieldError{Field: "status", Problem: "must be online, away or offline"}
}
