package bridgetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Inbox is a bridge.Inbox in memory: it keeps what it accepted, and its last cursor. Its methods may be called from several
// goroutines.
type Inbox struct {
	// Before is called at the beginning of Accept, in its goroutine; an error refuses the update. It may block.
	Before func(ctx context.Context, u bridge.Update) error

	// Began is what Begun returns; NewInbox sets it to now.
	Began time.Time

	mu       sync.Mutex
	cursor   string
	accepted []bridge.Update
	changed  chan struct{}
}

// NewInbox returns an empty inbox with a cursor, which may be empty.
func NewInbox(cursor string) *Inbox {
	return &Inbox{Began: time.Now(), cursor: cursor, changed: make(chan struct{})}
}

// Accept implements bridge.Inbox.
func (i *Inbox) Accept(ctx context.Context, u bridge.Update) error {
	if i.Before != nil {
		if err := i.Before(ctx, u); err != nil {
			return err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.accepted = append(i.accepted, u)
	i.cursor = u.Cursor
	close(i.changed)
	i.changed = make(chan struct{})
	return nil
}

// Cursor implements bridge.Inbox.
func (i *Inbox) Cursor(context.Context, string) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cursor, nil
}

// Begun implements bridge.Inbox.
func (i *Inbox) Begun(context.Context) (time.Time, error) { return i.Began, nil }

// All returns what was accepted, also what needs no attention.
func (i *Inbox) All() []bridge.Update {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.accepted)
}

// Messages returns the messages that were accepted.
func (i *Inbox) Messages() []bridge.Update {
	return slices.DeleteFunc(i.All(), func(u bridge.Update) bool { return u.Kind != bridge.UpdateMessage })
}

// Wait returns the accepted messages once there are n. It fails the test when that takes too long.
func (i *Inbox) Wait(t testing.TB, n int) []bridge.Update {
	t.Helper()
	return i.WaitFor(t, n, func(u bridge.Update) bool { return u.Kind == bridge.UpdateMessage })
}

// WaitFor returns the accepted updates that are wanted once there are n. It fails the test when that takes too long.
func (i *Inbox) WaitFor(t testing.TB, n int, wanted func(bridge.Update) bool) []bridge.Update {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		i.mu.Lock()
		changed := i.changed
		i.mu.Unlock()
		got := slices.DeleteFunc(i.All(), func(u bridge.Update) bool { return !wanted(u) })
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-end.C:
			t.Fatalf("%d of %d updates arrived", len(got), n)
		}
	}
}
