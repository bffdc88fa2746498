package presence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/words"
)

// The codes of links.
const (
	tableLinks = "links" // code → link
	linkFor    = 10 * time.Minute
	codeLength = 6 // of 32 letters each: a thousand million codes, of which hardly any is good, for ten minutes
)

// link is a link that was begun, by the account that is to confirm it. Versions before this one wrote neither At nor Second.
type link struct {
	bridge.LinkEnd
	Until  time.Time       `json:"until"`            // of the code; once Second is set, of the confirmation
	Second *bridge.LinkEnd `json:"second,omitempty"` // who has typed the code; no other account can any more
}

// readLink reads a link's row; ok is false for one that is no longer good.
func (d *mutation) readLink(value []byte) (l link, ok bool) {
	return l, value != nil && json.Unmarshal(value, &l) == nil && l.At.Platform != "" && !l.Until.Before(d.now)
}

// Begin begins a link. Whoever types its code as Join wants it, within ten minutes, once, asks to be the same person as first.
// An earlier code of the same account is good no longer, nor is what was asked with it.
func (p *Presence) Begin(ctx context.Context, first bridge.LinkEnd, w bridge.PresenceWrite) (bridge.Result, error) {
	code := rand.Text()[:codeLength]
	return p.change(ctx, w, func(d *mutation) error {
		d.own(first.Account)
		d.code = code
		old, err := p.store.List(ctx, tableLinks, "", rowsMost)
		if err != nil {
			return err
		}
		begun := link{LinkEnd: first, Until: d.now.Add(linkFor)}
		d.also = bridge.Batch{Rows: []bridge.Row{{Table: tableLinks, Key: code, Value: bridge.MustJSON(begun)}}}
		for _, row := range old {
			if l, ok := d.readLink(row.Value); !ok || l.Account.Key() == first.Account.Key() {
				d.also = d.also.Swap(row.Value, bridge.Row{Table: tableLinks, Key: row.Key})
			}
		}
		return nil
	})
}

// Join asks that two people be one: the one behind an account and the one who has begun the link. Confirm then makes them so. A
// fault says why not. The change's Link is set when the first account is to be told of it, also where somebody else has typed the
// code before.
func (p *Presence) Join(ctx context.Context, second bridge.LinkEnd, code string, w bridge.PresenceWrite) (bridge.Result, error) {
	code = strings.ToUpper(strings.TrimSpace(code))
	return p.change(ctx, w, func(d *mutation) error {
		value, err := p.store.Get(ctx, tableLinks, code)
		if err != nil {
			return err
		}
		d.sign(second.Account)
		l, ok := d.readLink(value)
		if !ok {
			d.fault = words.Get().LinkUnknownCode
			return nil
		}
		if d.fault = d.unjoinable(l.Account, second.Account); d.fault != "" {
			return nil
		}
		switch {
		case l.Second == nil:
		case l.Second.Account.Key() == second.Account.Key():
			d.fault = words.Get().LinkAskedAlready.With(l.Account.Name)
			return nil
		default:
			d.fault = words.Get().LinkCodeTaken
			d.link = &bridge.Link{First: l.LinkEnd, Second: *l.Second}
			return nil
		}
		d.link = &bridge.Link{First: l.LinkEnd, Second: second}
		l.Second, l.Until = &second, d.now.Add(linkFor)
		d.also = bridge.Batch{}.Swap(value, bridge.Row{Table: tableLinks, Key: code, Value: bridge.MustJSON(l)})
		return nil
	})
}

// Confirm joins the two people of a link that was asked for. Only the account that has begun the link can confirm it: not even
// another account of the same person. A fault says why not.
func (p *Presence) Confirm(ctx context.Context, who bridge.Account, w bridge.PresenceWrite) (bridge.Result, error) {
	return p.change(ctx, w, func(d *mutation) error {
		all, err := p.store.List(ctx, tableLinks, "", rowsMost)
		if err != nil {
			return err
		}
		d.sign(who)
		d.fault = words.Get().LinkNotAsked
		for _, row := range all {
			l, ok := d.readLink(row.Value)
			switch {
			case !ok || l.Second == nil:
			case l.Second.Account.Key() == who.Key():
				d.fault = words.Get().LinkOtherAsks.With(l.Account.Name)
			case l.Account.Key() == who.Key():
				if d.fault = d.unjoinable(l.Account, l.Second.Account); d.fault != "" {
					return nil
				}
				d.also = bridge.Batch{If: []bridge.Row{row}, Rows: []bridge.Row{{Table: tableLinks, Key: row.Key}}}
				d.link = &bridge.Link{First: l.LinkEnd, Second: *l.Second}
				if find(d.people, l.Second.Account.Key()) < 0 {
					d.own(l.Second.Account)
				}
				d.own(who)
				d.merge(find(d.people, who.Key()), find(d.people, l.Second.Account.Key()))
				return nil
			}
		}
		return nil
	})
}

// unjoinable says why the people behind two accounts cannot be one person; nothing: they can.
func (d *mutation) unjoinable(first, second bridge.Account) string {
	i, j := find(d.people, first.Key()), find(d.people, second.Key())
	accounts := []bridge.Account{second}
	switch {
	case i < 0:
		return words.Get().LinkBeginnerGone
	case i == j:
		return words.Get().LinkSamePerson
	case j >= 0:
		accounts = d.people[j].Accounts
	}
	for _, a := range accounts {
		if slices.ContainsFunc(d.people[i].Accounts, func(b bridge.Account) bool { return a.Platform == b.Platform }) {
			return words.Get().LinkHasAccount.With(cmp.Or(d.people[i].Called, d.people[i].ID))
		}
	}
	return ""
}

// merge makes one person of two: the first one's id, and the status of whoever is online, else of whoever had it set last.
func (d *mutation) merge(i, j int) {
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
	return p.change(ctx, w, func(d *mutation) error {
		left := d.own(who)
		if len(left.Accounts) < 2 {
			d.fault = words.Get().LinkNone
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
