package bridge

import (
	"context"
	"time"
)

// Inspector is a platform that can be asked whether it will do what the bridge needs, before the first visitor finds out.
type Inspector interface {
	// Inspect asks and changes nothing. It may be called at any time, beside all other methods. receives says that Listen runs or is about to,
	// here or at another bridge: what Listen asks for, and the platform gives seldom, is then left to it.
	Inspect(ctx context.Context, receives bool) Inspection
}

// Inspection is what a platform says of itself and of what we are there. None of it holds a secret.
type Inspection struct {
	Bot   string        // who the bot is, as people see it; empty: it is not known
	Place string        // where sessions are shown
	Hears string        // how operators are heard; empty: they are not
	Clock time.Duration // by how much our clock differs from the platform's; 0 where that is not known
	// Invite is the address at which a person lets the bot into a place, with the rights that it needs; empty: there is none.
	Invite string
	// Lacks is what is missing, a line each: the setting, what is wrong, how it is mended.
	Lacks []string
	// Advice is what would be better, though nothing is missing without it; empty: nothing.
	Advice string
}

// Finder is a platform that can be asked in which chats somebody has written to the bot.
type Finder interface {
	// Chats waits until there is one, or ctx ends. It acknowledges nothing: whoever receives is told of it again.
	Chats(ctx context.Context) ([]Chat, error)
}

// Chat is a place in which people talk.
type Chat struct {
	ID    string // as the configuration wants it
	Title string
}
