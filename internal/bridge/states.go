package bridge

import (
	"slices"
	"time"
)

// How long what only tells of a state is worth telling.
const (
	fleetingLife = time.Minute
	receiptLife  = 24 * time.Hour
)

// StateLife says whether an event only tells of a state, and for how long after its acceptance that is worth telling; 0: until
// the next event of its type. Such an event holds up nothing and is never a dead letter.
func (t Type) StateLife() (life time.Duration, state bool) {
	switch t {
	case TypeOperatorTyping, TypeMessageDelayed:
		return fleetingLife, true
	case TypeOperatorStatus:
		return 0, true
	case TypeMessageDelivered, TypeMessageRead:
		return receiptLife, true
	default:
		return 0, false
	}
}

// HoldsUpNothing says whether an app server may be told of what happened after an event of the type before it is told of that:
// what only tells of a state, and what became of a message.
func (t Type) HoldsUpNothing() bool {
	_, state := t.StateLife()
	return state || t == TypeMessageFailed
}

// MayBeUnknown says whether a receiver that was made for the existing server does not know the type: it answers 404, 405 or 501 to
// it, if not 500.
func (t Type) MayBeUnknown() bool {
	return slices.Contains(newTypes(), t)
}

// ExistingTypes returns the types that the existing server tells an app server of.
func ExistingTypes() []Type {
	return []Type{
		TypeOperatorMessage, TypeOperatorEdited, TypeOperatorDeleted, TypeOperatorTyping, TypeSessionClosed, TypeCSATRequest,
	}
}

// newTypes returns the types that the existing server does not have.
func newTypes() []Type {
	return []Type{
		TypeOperatorStatus, TypeSessionReopened, TypeAIToggle, TypeMessageDelivered, TypeMessageFailed, TypeMessageDelayed,
		TypeMessageRead, TypeAnswerWaiting, TypeVisitorBlocked, TypeVisitorWaiting, TypeDraftSent, TypeDraftDropped, TypeConversationAssigned,
	}
}

// TeamTypes returns all types that app servers may be told of.
func TeamTypes() []Type { return append(ExistingTypes(), newTypes()...) }

// Wanted says whether a receiver that asked for some types is told of one; none: it asked for all. What waits for a platform is told
// only to who names it.
func Wanted(asked []Type, t Type) bool {
	if len(asked) == 0 {
		return t != TypeMessageDelayed
	}
	return slices.Contains(asked, t)
}
