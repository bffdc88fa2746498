package bridge

import (
	"context"
	"time"
)

// ThreadID is a session's place on a platform. Only the platform's adapter makes or reads one.
type ThreadID string

// MessageID is a message's id on a platform. Only the platform's adapter makes or reads one.
type MessageID string

// Platform is a chat platform, as the relay uses it. An adapter makes one attempt, one platform call, and says with a
// *DeliveryError why it failed; it never retries, sleeps or logs an error that it returns. All methods may be called from
// several goroutines.
type Platform interface {
	// Name returns the platform's name on the wire: telegram, discord or slack.
	Name() string
	// Limits returns what the platform bears.
	Limits() Limits
	// Render turns an outgoing message into the parts that are sent one after the other. It is pure, and splits what is too
	// long.
	Render(m Outgoing) []Part
	// OpenThread takes the next step of opening a session's thread. done holds the results of the steps before, oldest
	// first; the relay records each. A step that is not the last returns its result in step and no thread.
	OpenThread(ctx context.Context, s *Session, done []string) (thread ThreadID, step string, err error)
	// Send sends one part and returns the ids of the messages that it became.
	Send(ctx context.Context, thread ThreadID, p Part) ([]MessageID, error)
}

// Limits is what a platform bears. Zero means no limit that we know of.
type Limits struct {
	Concurrency int    // calls at the same time
	Pace        []Pace // all hold
}

// Pace is a limit of Calls in any window of Per.
type Pace struct {
	Calls int
	Per   time.Duration
}

// Outgoing is a message to be shown in a thread.
type Outgoing struct {
	Thread  ThreadID
	Author  string // who wrote it, for messages that are not the visitor's; else empty
	Visitor string // who the visitor is, for places that have no threads
	Text    string
	Files   []Attachment
	ReplyTo MessageID // empty: no reply
	Card    *Session  // the thread's card goes before it; nil: no card
	Kind    Kind      // a notice is silent
}

// Part is one call's worth of a message, in the platform's markup. Plain is the same without markup, for a platform that
// refuses the markup; empty when there is no other form.
type Part struct {
	Text    string
	Plain   string
	Silent  bool
	ReplyTo MessageID
}

// ThreadRenamer is a platform whose threads can get another name.
type ThreadRenamer interface {
	// ThreadName returns the name that the thread of a session has or should have.
	ThreadName(s *Session) string
	RenameThread(ctx context.Context, thread ThreadID, name string) error
}

// ThreadReopener is a platform whose threads can be closed by hand and opened again.
type ThreadReopener interface {
	ReopenThread(ctx context.Context, thread ThreadID) error
}

// Mover is a platform whose chats can get another id.
type Mover interface {
	// Move makes the adapter use the new place, as a DeliveryError named it, from now on.
	Move(to string) error
}

// Listener is a platform that tells us what operators do.
type Listener interface {
	// Listen receives updates and hands each to the inbox, in order, until ctx ends or something fails. It acknowledges an
	// update to the platform only after Accept returned nil. The relay decides when it is called again.
	Listen(ctx context.Context, inbox Inbox) error
}

// Inbox takes updates.
type Inbox interface {
	// Accept returns nil once the update is durable, or needs no attention.
	Accept(ctx context.Context, u Update) error
	// Cursor returns the Cursor of the last accepted update, or nothing.
	Cursor(ctx context.Context) (string, error)
}

// UpdateKind says what an update tells.
type UpdateKind string

const (
	// UpdateNothing moves the cursor only.
	UpdateNothing UpdateKind = ""
	// UpdateMessage is a message of a person.
	UpdateMessage UpdateKind = "message"
)

// Update is what a platform tells us, converted by its adapter.
type Update struct {
	ID      string // the platform's id of the update: the same update, seen again, is recognised by it
	Cursor  string // the receiver's position once the update is accepted
	Kind    UpdateKind
	Thread  ThreadID // where it was written
	Flat    bool     // the place has no threads: who is meant is told by ReplyTo
	Message MessageID
	ReplyTo MessageID
	// ReplyToNumber is ReplyTo as the number that the wire's replyToBridgeMessageId wants; 0 where there is none.
	ReplyToNumber int64
	Author        Author
	Text          string
	Command       *Command // the text is a command in the platform's own form
}

// Author is the person behind an update.
type Author struct {
	ID   string // the platform's user id
	Name string
}

// Command is what an operator asks of the bridge. Name is in lower case, without its mark.
type Command struct {
	Name string
	Args string
}
