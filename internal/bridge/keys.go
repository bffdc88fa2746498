package bridge

// SessionKey is the key of the claim that the store takes when a session becomes known.
const SessionKey = "session"

// SaidKey is the key of a session's claim that moves with every message of the visitor or a person: it tells when the last one was
// accepted.
const SaidKey = "said"

// NaturalKey is the key by which an event that brings a message is known within its session; empty for any other event.
func (e Event) NaturalKey() string {
	switch e.Type {
	case TypeVisitorMessage, TypeOperatorMessage:
		return string(e.Type) + "/" + e.Message
	default:
		return ""
	}
}

// OperatorMessageKey is the natural key of a message of the operators' side that an app server has sent.
func OperatorMessageKey(id string) string { return string(TypeOperatorMessage) + "/" + id }

// VisitorMessageKey is the natural key of a visitor's message.
func VisitorMessageKey(id string) string { return string(TypeVisitorMessage) + "/" + id }
