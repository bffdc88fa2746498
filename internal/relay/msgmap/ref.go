package msgmap

import (
	"context"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// A message is named by its author's side and its id: a visitor's "1" and an operator's "1" are two. The side is told by the event
// that brought the message, since that is what edits and deletions of it are told by, too.

// Side is on whose side a message was written.
type Side string

// The sides.
const (
	Visitors  Side = "visitor"
	Operators Side = "operator"
)

// Ref names a message of a session. The zero Ref names none.
type Ref struct {
	Side Side
	ID   string
}

// Visitor names a visitor's message.
func Visitor(id string) Ref { return Ref{Visitors, id} }

// DraftMark stands before a draft's key in the name of what shows it: no message on the wire is called so, since those of platforms begin
// with the platform's name, and an app's are not shown under it.
const DraftMark = "\x00draft/"

// Draft names what shows a draft.
func Draft(key string) Ref { return Ref{Operators, DraftMark + key} }

// Operator names an operator's message.
func Operator(id string) Ref { return Ref{Operators, id} }

// Key is the message's key in a table of messages: session, line feed, side, line feed, id. That of none is session, line feed.
func (m Ref) Key(session string) string {
	if m.ID == "" {
		return session + "\n"
	}
	return session + "\n" + string(m.Side) + "\n" + m.ID
}

// earlierKey is the key by which versions that knew no sides kept a message.
func (m Ref) earlierKey(session string) string { return session + "\n" + m.ID }

// RefOf is the message that an event brings, edits or deletes, or tells of an operator's that it has arrived.
func RefOf(e bridge.Event) Ref {
	switch e.Type {
	case bridge.TypeVisitorMessage, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted:
		return Visitor(e.Message)
	case bridge.TypeOperatorMessage, bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted, bridge.TypeOperatorMessageAcked:
		return Operator(e.Message)
	default:
		return Ref{}
	}
}

// Replied are the messages that a reply by somebody of a side may mean, the likelier first: the other side's where both have the
// id.
func Replied(by Side, id string) []Ref {
	switch {
	case id == "":
		return nil
	case by == Visitors:
		return []Ref{Operator(id), Visitor(id)}
	default:
		return []Ref{Visitor(id), Operator(id)}
	}
}

// WithSide completes the name of a message that was kept without its side. Its id tells the side where it is of a platform's form;
// else it is the visitor's where the visitor's app has ever sent one of that id.
func WithSide(ctx context.Context, s Store, session string, m Ref) (Ref, error) {
	if m.Side != "" || m.ID == "" {
		return m, nil
	}
	platform, _, formed := strings.Cut(m.ID, ":")
	if formed && (platform == "telegram" || platform == "discord" || platform == "slack") {
		return Operator(m.ID), nil
	}
	seqs, err := s.Claimed(ctx, session, bridge.VisitorMessageKey(m.ID))
	if err != nil || len(seqs) == 0 || seqs[0] == 0 {
		return Operator(m.ID), err
	}
	return Visitor(m.ID), nil
}
