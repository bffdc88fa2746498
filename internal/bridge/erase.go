package bridge

import (
	"context"
	"time"
)

// TypeErased is what is left of an event that was erased, and tells with a digest in its body that a session's are. It is of use to
// nobody: it goes to no platform, no app server and no stream.
const TypeErased Type = "erased"

// Erased is what stands in the place of an event that was erased.
func Erased() Event { return Event{Type: TypeErased, Origin: OriginApp, Body: []byte(`{}`)} }

// The states of an Erasure.
const (
	ErasureRunning = "running"
	ErasureDone    = "done"
)

// Erasure is what became of a session's erasure. It names the session by a digest alone.
type Erasure struct {
	ID          string        `json:"id"`
	State       string        `json:"state"` // running or done
	Session     string        `json:"sessionDigest"`
	Platforms   bool          `json:"platforms"` // in the chats, too
	StartedAt   time.Time     `json:"startedAt"`
	FinishedAt  time.Time     `json:"finishedAt,omitzero"`
	Events      int           `json:"events"`      // of the log, overwritten
	DeadLetters int           `json:"deadLetters"` // removed
	Threads     int           `json:"threads"`     // taken out of chats whole
	Left        []ErasureLeft `json:"left,omitempty"`
	Compact     string        `json:"compact,omitempty"` // the command that clears the store's file of what was overwritten
}

// ErasureLeft is what could not be erased.
type ErasureLeft struct {
	Where    string `json:"where"` // a platform or a lane
	Messages int    `json:"messages,omitempty"`
	Reason   string `json:"reason"`
}

// Eraser takes sessions away. It may be asked by several goroutines.
type Eraser interface {
	// Erase begins to take a session away, out of the chats too if that is asked for; it is durable when it returns.
	Erase(ctx context.Context, session string, platforms bool) (id string, err error)
	// Erasure tells what became of it; ok is false for an unknown id.
	Erasure(ctx context.Context, id string) (e Erasure, ok bool, err error)
}
