package store

import (
	"context"
	"errors"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Kind says what an Item is of a store.
type Kind string

// All that a store keeps, but its leases.
const (
	KindLast     Kind = "last"  // Seq: the newest ever given
	KindLane     Kind = "lane"  // Lane, Seq: its cursor
	KindMark     Kind = "mark"  // Lane, Seq, Target: finished beyond the cursor
	KindLastWord Kind = "word"  // Session, Seq: its last word
	KindClaim    Kind = "claim" // Session (or empty), Key, Seq: when it was taken, Appended, Sum
	KindRow      Kind = "row"   // Table, Key, Session: its owner or empty, Value
	KindEntry    Kind = "entry" // Seq, Value: an event of the log, as EncodeEvent writes it
)

// Item is one thing that a store keeps, on its way to another store.
type Item struct {
	Kind     Kind
	Session  string
	Table    string
	Key      string
	Lane     string
	Target   string
	Seq      bridge.Seq
	Appended bool // of a claim: its batch appended events
	Sum      string
	Value    []byte
}

// Cut says how a store is exported.
type Cut struct {
	// Final closes the store: nothing is written any more after the moment of which the export is, by anybody, unless it fails. Then
	// who holds a lease is asked to end first.
	Final bool
	// Leases begins the names of the leases that a final export waits for until they are given back or have ended.
	Leases string
}

// Movable is a store that can be carried to another.
type Movable interface {
	// Export calls take with everything that the store keeps, as it was at one moment. Items come once or, some, again as they were.
	// What take returns ends it. Only one export is made at a time, else the error is ErrExporting.
	Export(ctx context.Context, c Cut, take func(Item) error) error
	// Moved says when a final export has closed the store; ok is false when none has.
	Moved(ctx context.Context) (at time.Time, ok bool, err error)
	// Reopen takes a final export back.
	Reopen(ctx context.Context) error
}

// The faults of moving.
var (
	ErrExporting = errors.New("another export is under way")
	// ErrMoving is what Acquire answers while a final export waits: a lease that is held is renewed all the same, and none is had anew.
	// Who holds one ends what is under way and gives it back.
	ErrMoving = bridge.ErrMoving
	// ErrMoved means that a final export has closed the store. It is wrapped with bridge.ErrUnavailable.
	ErrMoved = errors.New("what it keeps was exported for good, and nothing is written here any more")
	// ErrNotEmpty means that an import found something in its place.
	ErrNotEmpty = errors.New("it is not empty: a bridge has accepted events there")
	// ErrInUse means that a bridge runs where an import was to be.
	ErrInUse = errors.New("a bridge works on it; stop it, and a few seconds later import again")
)

// The pace of waiting for leases, and for how long: a call of a lane has some seconds to end, and then its record is written.
const (
	drainEvery  = 50 * time.Millisecond
	drainWithin = 90 * time.Second // more than any lease of a lane lasts
)

// Drained waits until nothing is held.
func Drained(ctx context.Context, held func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, drainWithin, errors.New("what is being delivered does not come to its end; try again"))
	defer cancel()
	for {
		if some, err := held(ctx); err != nil || !some {
			return err
		}
		bridge.Sleep(ctx, drainEvery)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
