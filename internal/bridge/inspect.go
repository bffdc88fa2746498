package bridge

import (
	"context"
	"time"
)

// Inspector is a platform that can be asked whether it will do what the bridge needs, before the first visitor finds out.
type Inspector interface {
	// Inspect asks and changes nothing. It may be called at any time, beside all other methods.
	Inspect(ctx context.Context) Inspection
}

// Inspection is what a platform says of itself and of what we are there. None of it holds a secret.
type Inspection struct {
	Bot   string        // who the bot is, as people see it; empty: it is not known
	Place string        // where sessions are shown
	Hears string        // how operators are heard; empty: they are not
	Clock time.Duration // by how much our clock differs from the platform's; 0 where that is not known
	// Lacks is what is missing, a line each: the setting, what is wrong, how it is mended.
	Lacks []string
}
