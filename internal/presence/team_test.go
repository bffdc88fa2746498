package presence

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Who is no operator any more is told offline at the start, whatever they said before, and counts at no bridge; the others stay as
// they are, and so does the app.
func TestRemovedOperator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		before := New(m, Options{})
		set := func(p *Presence, who bridge.Account, s bridge.Status, until time.Time) {
			t.Helper()
			if _, err := p.Set(t.Context(), who, s, until, bridge.PresenceWrite{}); err != nil {
				t.Fatal(err)
			}
		}
		set(before, account("ana"), bridge.StatusOnline, time.Time{})
		set(before, account("ben"), bridge.StatusAway, time.Now().Add(time.Hour)) // he would come back by himself
		set(before, account("cem"), bridge.StatusOnline, time.Time{})
		if _, err := before.SetApp(t.Context(), true, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}

		only := Options{Operators: []string{"telegram:cem"}}
		one, two := New(m, only), New(m, only)
		for _, p := range []*Presence{one, two} {
			if err := p.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		events := len(m.entries(t))
		got := m.said(t)
		for _, want := range []string{"online, App online api", "ana offline removed", "ben offline removed", "cem online command"} {
			if !strings.Contains(got, want) {
				t.Errorf("the app is told %s, not %s", got, want)
			}
		}
		time.Sleep(2 * time.Hour)
		for _, p := range []*Presence{one, two} {
			if _, err := p.look(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(m.entries(t)); n != events {
			t.Errorf("%d more events: %s", n-events, m.said(t))
		}
		set(one, account("cem"), bridge.StatusOffline, time.Time{})
		if _, err := one.SetApp(t.Context(), false, bridge.PresenceWrite{}); err != nil {
			t.Fatal(err)
		}
		if team, err := two.FreshStatus(t.Context()); err != nil || team.Online {
			t.Errorf("the team is %+v, %v", team, err)
		}
		// Whoever is an operator again says so.
		set(New(m, Options{}), account("ana"), bridge.StatusOnline, time.Time{})
		if team, err := two.FreshStatus(t.Context()); err != nil || !team.Online {
			t.Errorf("the team is %+v, %v", team, err)
		}
	})
}

// Nobody takes a colleague's name, nor one that only looks like it.
func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		p := New(m, Options{})
		rename := func(who bridge.Account, name string) (fault, called string) {
			t.Helper()
			_, err := p.Rename(t.Context(), who, name, bridge.PresenceWrite{Also: func(c bridge.PresenceChange) bridge.Batch {
				fault, called = c.Fault, c.Person.Name
				return bridge.Batch{}
			}})
			if err != nil {
				t.Fatal(err)
			}
			return fault, called
		}
		ana, ben := account("Ana"), on("discord", "Ben")
		if fault, called := rename(ana, "Ana-Maria"); fault != "" || called != "Ana-Maria" {
			t.Fatalf("%q, called %s", fault, called)
		}
		for _, name := range []string{"Ana-Maria", "ana-maria", " Ana-Maria ", "ANA", "AI", "Ana-\u200bMaria", "\u202eAna-Maria"} {
			fault, called := rename(ben, name)
			if fault == "" || called != "" && called != "Ben" {
				t.Errorf("as %q: %q, called %s", name, fault, called)
			}
			if name != "AI" && !strings.Contains(fault, "Ana (Telegram)") {
				t.Errorf("as %q: %q", name, fault)
			}
		}
		for _, name := range []string{"Anna", "", "Ben"} {
			if fault, _ := rename(ben, name); fault != "" {
				t.Errorf("as %q: %s", name, fault)
			}
		}
		if fault, called := rename(ana, "Ana"); fault != "" || called != "Ana" { // what is one's own
			t.Errorf("%q, called %s", fault, called)
		}
		if fault, called := rename(ben, "Ana-Maria"); fault != "" || called != "Ana-Maria" { // which is free now
			t.Errorf("%q, called %s", fault, called)
		}
	})
}
