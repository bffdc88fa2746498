package bridge

import (
	"context"
	"slices"
)

// Nameless is what somebody is called whose name is not known. An id is no name, and visitors see it.
const Nameless = "Team"

// Account is a person on one platform.
type Account struct {
	Platform string `json:"platform"`
	ID       string `json:"id"` // the platform's user id
	Name     string `json:"name"`
	Handle   string `json:"handle,omitempty"` // by which people there mention them, without the @; empty: by their name
}

// Key returns the account's name among all accounts, <platform>:<platform's user id>.
func (a Account) Key() string { return a.Platform + ":" + a.ID }

// Person is an operator as the bridge itself knows them: one person, with at most one account on each platform.
type Person struct {
	Operator           // as app servers are told of them; Name is what visitors see
	Called   string    // the name by which colleagues know them
	Accounts []Account // none of the app
}

// Has says whether the person is meant by a key: their id, or one of their accounts.
func (p Person) Has(key string) bool {
	return p.ID == key || slices.ContainsFunc(p.Accounts, func(a Account) bool { return a.Key() == key })
}

// LinkEnd is one of two accounts that are to be one person's, and where it is told of that.
type LinkEnd struct {
	Account Account `json:"account"`
	At      Answer  `json:"at"` // with no text yet
}

// Link is two accounts that are to be one person's: First has asked for the code and confirms, Second has typed the code.
type Link struct{ First, Second LinkEnd }

// PresenceChange is what a change of presence came to.
type PresenceChange struct {
	Person  Person // as they are after it; without a status for somebody who is no operator yet
	Changed bool   // app servers are told
	Closed  bool   // it is outside business hours
	Code    string // of a link that was begun
	Link    *Link  // that was asked for or confirmed
	Fault   string // why nothing was changed, for the person; empty: it was
}

// PresenceWrite is how a change of presence is written.
type PresenceWrite struct {
	// Also returns what else is in the batch; nil: nothing. It is called again when somebody else was faster.
	Also func(PresenceChange) Batch
	// Commit writes the batch; nil: the store does.
	Commit func(context.Context, Batch) (Result, error)
}
