package presence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// own returns where the person behind an account is among the people, made if they are nobody yet, and notes a sign of life.
func (d *deed) own(who bridge.Account) *record {
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

// set gives a person a status.
func (d *deed) set(r *record, s bridge.Status, until time.Time, reason string) {
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
	return p.change(ctx, w, func(d *deed) error {
		d.set(d.own(who), s, until, reasonCommand)
		return nil
	})
}

// SetApp sets the status of the app's own operator, which belongs to no platform.
func (p *Presence) SetApp(ctx context.Context, online bool, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *deed) error {
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
	return p.change(ctx, w, func(d *deed) error {
		comes := answers && p.o.OnReply && p.o.Hours.Open(d.now)
		if d.who = who.Key(); find(d.people, d.who) < 0 && !comes {
			d.guest = record{ID: d.who, Platform: who.Platform, Called: who.Name}
			return nil
		}
		if r := d.own(who); comes && r.Status != bridge.StatusOnline {
			d.set(r, bridge.StatusOnline, time.Time{}, reasonReply)
		}
		return nil
	})
}

// Retire makes an online person away, since they did not answer; key is their id, or an account. One who is not online stays
// as they are, which is a fault.
func (p *Presence) Retire(ctx context.Context, key string, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *deed) error {
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
	return p.change(ctx, w, func(d *deed) error {
		me := d.own(who)
		if has := d.called(name, me.ID); has != "" {
			d.fault = "Visitors could take you for " + has + ", who is called that already. Nothing was done."
			return nil
		}
		me.Public = name
		return nil
	})
}

// called says who else is called by a name, as colleagues know them; nothing: nobody.
func (d *deed) called(name, but string) string {
	sounds := strings.ToLower(oneLine(name))
	switch sounds {
	case "":
		return ""
	case "ai":
		return "the AI"
	}
	for _, other := range d.people {
		for _, known := range []string{other.Public, other.Called} {
			if other.ID != but && strings.ToLower(oneLine(known)) == sounds {
				return oneLine(cmp.Or(other.Called, other.ID)) + " (" + other.Platform + ")"
			}
		}
	}
	return ""
}

// The codes of links.
const (
	tableLinks = "links" // code → link
	linkFor    = 10 * time.Minute
	codeLength = 6 // of 32 letters each: a thousand million codes, of which hardly any is good, for ten minutes
)

// link is a link that was begun.
type link struct {
	Account bridge.Account `json:"account"`
	Until   time.Time      `json:"until"`
}

// Begin begins a link: whoever types its code as Join wants it, within ten minutes, once, is the same person.
func (p *Presence) Begin(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error) {
	code := rand.Text()[:codeLength]
	old, err := p.store.List(ctx, tableLinks, "", rowsMost)
	if err != nil {
		return bridge.Result{}, err
	}
	return p.change(ctx, w, func(d *deed) error {
		d.own(who)
		d.code = code
		value, err := json.Marshal(link{Account: who, Until: d.now.Add(linkFor)})
		d.also = bridge.Batch{Rows: []bridge.Row{{Table: tableLinks, Key: code, Value: value}}}
		for _, row := range old {
			var l link
			if json.Unmarshal(row.Value, &l) != nil || l.Until.Before(d.now) || l.Account.Key() == who.Key() {
				d.also.Rows = append(d.also.Rows, bridge.Row{Table: tableLinks, Key: row.Key})
			}
		}
		return err
	})
}

// Join makes the person behind an account the same as the one who has begun the link. A fault says why not.
func (p *Presence) Join(ctx context.Context, who bridge.Account, code string, w bridge.PresenceWrite) (bridge.Result, error) {
	code = strings.ToUpper(strings.TrimSpace(code))
	return p.change(ctx, w, func(d *deed) error {
		value, err := p.store.Get(ctx, tableLinks, code)
		if err != nil {
			return err
		}
		var l link
		d.own(who)
		if value == nil || json.Unmarshal(value, &l) != nil || l.Until.Before(d.now) {
			d.fault = "I do not know this code. One is good for ten minutes, and once: /link gives another."
			return nil
		}
		i, j := find(d.people, l.Account.Key()), find(d.people, who.Key())
		switch {
		case i < 0:
			d.fault = "I do not know who has begun this link any more."
			return nil
		case i == j:
			d.fault = "Type this code on another platform: it is for your account there."
			return nil
		}
		for _, a := range d.people[j].Accounts {
			if slices.ContainsFunc(d.people[i].Accounts, func(b bridge.Account) bool { return a.Platform == b.Platform }) {
				d.fault = fmt.Sprintf("%s has an account on this platform already, or on one of yours. /unlink takes it out.",
					cmp.Or(d.people[i].Called, d.people[i].ID))
				return nil
			}
		}
		d.also = bridge.Batch{
			If:   []bridge.Row{{Table: tableLinks, Key: code, Value: value}},
			Rows: []bridge.Row{{Table: tableLinks, Key: code}},
		}
		d.merge(i, j)
		return nil
	})
}

// merge makes one person of two: the first one's id, and the status of whoever is online, else of whoever had it set last.
func (d *deed) merge(i, j int) {
	a, b := d.people[i], d.people[j]
	a.Accounts = append(slices.Clone(a.Accounts), b.Accounts...)
	here := func(r record) bool { return r.Status == bridge.StatusOnline }
	if here(b) && !here(a) || here(a) == here(b) && b.Said.After(a.Said) {
		a.Status, a.Since, a.Until, a.Reason, a.Said = b.Status, b.Since, b.Until, b.Reason, b.Said
	}
	a.Public = cmp.Or(a.Public, b.Public)
	a.Seen = latest(a.Seen, b.Seen)
	d.people[i] = a
	d.people = slices.Delete(d.people, j, j+1)
}

// Leave makes an account a person of its own again, who is offline. A fault says why not.
func (p *Presence) Leave(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *deed) error {
		left := d.own(who)
		if len(left.Accounts) < 2 {
			d.fault = "This account is joined with no other."
			return nil
		}
		left.Accounts = slices.DeleteFunc(left.Accounts, func(a bridge.Account) bool { return a.Key() == d.who })
		if left.ID == d.who {
			left.ID, left.Platform, left.Called = left.Accounts[0].Key(), left.Accounts[0].Platform, left.Accounts[0].Name
		}
		d.own(who)
		return nil
	})
}

func check(s bridge.Status) error {
	switch s {
	case bridge.StatusOnline, bridge.StatusAway, bridge.StatusOffline:
		return nil
	}
	return &bridge.FieldError{Field: "status", Problem: "must be online, away or offline"}
}
