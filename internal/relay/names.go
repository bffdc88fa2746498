package relay

import (
	"context"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
)

// A message is named by its author's side and its id: a visitor's "1" and an operator's "1" are two. The side is told by the event
// that brought the message, since that is what edits and deletions of it are told by, too.

// side is on whose side a message was written.
type side string

const (
	visitors  side = "visitor"
	operators side = "operator"
)

// ref names a message of a session. The zero ref names none.
type ref struct {
	side side
	id   string
}

// key is the message's key in a table of messages: session, line feed, side, line feed, id. That of none is session, line feed.
func (m ref) key(session string) string {
	if m.id == "" {
		return session + "\n"
	}
	return session + "\n" + string(m.side) + "\n" + m.id
}

// earlierKey is the key by which versions that knew no sides kept a message.
func (m ref) earlierKey(session string) string { return session + "\n" + m.id }

// refOf is the message that an event brings, edits or deletes, or tells of an operator's that it has arrived.
func refOf(e bridge.Event) ref {
	switch e.Type {
	case bridge.TypeVisitorMessage, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted:
		return ref{visitors, e.Message}
	case bridge.TypeOperatorMessage, bridge.TypeOperatorEdited, bridge.TypeOperatorDeleted, bridge.TypeReached:
		return ref{operators, e.Message}
	default:
		return ref{}
	}
}

// replied are the messages that a reply by somebody of a side may mean, the likelier first: the other side's where both have the
// id.
func replied(by side, id string) []ref {
	switch {
	case id == "":
		return nil
	case by == visitors:
		return []ref{{operators, id}, {visitors, id}}
	default:
		return []ref{{visitors, id}, {operators, id}}
	}
}

// earlierSide is whose a message is that was kept without its side. Its id tells where it is of a platform's form; else it is the
// visitor's where the visitor's app has ever sent one of that id.
func earlierSide(ctx context.Context, s Store, session, id string) (side, error) {
	platform, _, formed := strings.Cut(id, ":")
	if formed && (platform == "telegram" || platform == "discord" || platform == "slack") {
		return operators, nil
	}
	seqs, err := s.Claimed(ctx, session, visitorMessage(id))
	if err != nil || len(seqs) == 0 || seqs[0] == 0 {
		return operators, err
	}
	return visitors, nil
}

// visitorMessage is the natural key of a visitor's message.
func visitorMessage(id string) string { return string(bridge.TypeVisitorMessage) + "/" + id }
