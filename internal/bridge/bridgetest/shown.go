package bridgetest

import "github.com/pocketping/bridge/internal/bridge"

// Shown is a message as a platform shows it.
type Shown struct {
	ID      bridge.MessageID
	Text    string // what a person reads, without markup
	ReplyTo bridge.MessageID
	Silent  bool
}
