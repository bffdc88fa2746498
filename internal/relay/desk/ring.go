package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

const (
	// answersFor is how long somebody who has answered counts as there of whom it is not known whether they are online: an operator
	// on the site, and everybody where answering does not make online.
	answersFor = 15 * time.Minute
	// calledMost is how many people are called by name to a word.
	calledMost = 10
)

// Whom says who is to be called on a platform to what a session's visitor says: nobody while somebody who takes part is there, else
// whoever has claimed the visitor and is there, else everybody who is. A person is called on the platform that they used last.
func (r *Desk) Whom(ctx context.Context, platform, session string) (bridge.Call, error) {
	answered, err := msgmap.AnsweredBy(ctx, r.store, session)
	if err != nil {
		return bridge.Call{}, err
	}
	call := bridge.Call{Answered: answered.Last()}
	if n := len(answered.By); n > 0 && answered.By[n-1].ID == msgmap.AnswererAI {
		return call, nil // whoever waits for a person in spite of it is reminded of
	}
	people, err := r.presence.People(ctx)
	if err != nil {
		return call, err
	}
	now, err := r.store.Now(ctx)
	if err != nil {
		return call, err
	}
	if slices.ContainsFunc(answered.By, func(a msgmap.Answerer) bool { return isThere(a, people, now) }) {
		return call, nil
	}
	assigned, err := r.assignedTo(ctx, session)
	if err != nil {
		return call, err
	}
	here := slices.DeleteFunc(people, func(p bridge.Person) bool { return p.Status != bridge.StatusOnline })
	if i := slices.IndexFunc(here, func(p bridge.Person) bool { return assigned != "" && p.Has(assigned) }); i >= 0 {
		call.Users = calledOn(platform, here[i:i+1])
		call.Needed = len(call.Users) > 0
		return call, nil
	}
	call.Users = calledOn(platform, here)
	call.Needed = len(call.Users) > 0 || !slices.ContainsFunc(here, func(p bridge.Person) bool { return accountOn(platform, p) != "" })
	return call, nil
}

// isThere says whether somebody who has answered is there to read what is said next.
func isThere(a msgmap.Answerer, people []bridge.Person, now time.Time) bool {
	if i := slices.IndexFunc(people, func(p bridge.Person) bool { return p.Has(a.ID) }); i >= 0 && people[i].Reason != "" {
		return people[i].Status == bridge.StatusOnline
	}
	return a.ID != msgmap.AnswererAI && now.Sub(a.At) < answersFor
}

// assignedTo returns the id of whoever takes care of a session; empty: nobody does.
func (r *Desk) assignedTo(ctx context.Context, session string) (string, error) {
	raw, err := r.store.Get(ctx, msgmap.TableAssignments, session)
	if err != nil || raw == nil {
		return "", err
	}
	var c assignment
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", fmt.Errorf("row %s of session %s: %w", msgmap.TableAssignments, session, err)
	}
	return c.ID, nil
}

// calledOn returns the ids on a platform of those people who are called there.
func calledOn(platform string, people []bridge.Person) []string {
	var ids []string
	for _, p := range people {
		if id, ok := strings.CutPrefix(calledBy(p), platform+":"); ok && len(ids) < calledMost {
			ids = append(ids, id)
		}
	}
	return ids
}

// accountOn returns the id that a person has on a platform; empty: none.
func accountOn(platform string, p bridge.Person) string {
	for _, a := range p.Accounts {
		if a.Platform == platform {
			return a.ID
		}
	}
	return ""
}

// calledBy returns the account by which a person is called: the one on the platform that they used last. Empty: the app's own operator.
func calledBy(p bridge.Person) string {
	if len(p.Accounts) == 0 {
		return ""
	}
	if id := accountOn(p.Platform, p); id != "" {
		return bridge.Account{Platform: p.Platform, ID: id}.Key()
	}
	return p.Accounts[0].Key()
}

// oncePerPerson returns the accounts by which some people are called to who waits for long. Who has the same name on another platform and
// came later is taken for the same person.
func oncePerPerson(people []bridge.Person) []string {
	var keys []string
	for _, p := range people {
		later := func(q bridge.Person) bool { return isSamePerson(p, q) && q.Since.After(p.Since) }
		if key := calledBy(p); key != "" && !slices.ContainsFunc(people, later) {
			keys = append(keys, key)
		}
	}
	return keys
}

// isSamePerson says whether two operators who have not linked their accounts are likely one person: they have one name, and no platform
// in common.
func isSamePerson(p, q bridge.Person) bool {
	return p.ID != q.ID && p.Called != bridge.Nameless && strings.EqualFold(p.Called, q.Called) && len(q.Accounts) > 0 &&
		!slices.ContainsFunc(q.Accounts, func(a bridge.Account) bool { return accountOn(a.Platform, p) != "" })
}

// accountKeys names all of a person's accounts.
func accountKeys(p bridge.Person) []string {
	keys := make([]string, 0, len(p.Accounts))
	for _, a := range p.Accounts {
		keys = append(keys, a.Key())
	}
	return keys
}
