package desk

import (
	"context"
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
)

// nameOf returns the one name by which colleagues know the person behind an account, on whichever platform they write.
func (in *inbox) nameOf(ctx context.Context, who bridge.Account) (string, error) {
	people, err := in.desk.presence.People(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range people {
		if p.Has(who.Key()) && p.Called != "" {
			return p.Called, nil
		}
	}
	return who.Name, nil
}

// byline is how colleagues are told who did something: by name, and where.
func (in *inbox) byline(name string) string { return name + " (" + bridge.Title(in.platform) + ")" }

// renamed keeps that a person gave a session's thread its name. What the site tells of the visitor changes it no more.
func (in *inbox) renamed(ctx context.Context, u bridge.Update, b bridge.Batch) (bridge.Result, error) {
	session, err := in.sessionOf(ctx, u)
	if err != nil {
		return bridge.Result{}, err
	}
	if session != "" {
		b.Rows = append(slices.Clone(b.Rows), in.messages.NamedRow(session, u.Text))
	}
	return in.commit(ctx, b)
}
