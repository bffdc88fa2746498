package bridgetest

import "github.com/pocketping/bridge/internal/bridge"

// Shown is a message as a platform shows it.
type Shown struct {
	ID      bridge.MessageID
	Text    string // what a person reads, without markup
	ReplyTo bridge.MessageID
	Excerpt *bridge.Excerpt // the part of that message that is meant, where the platform was told
	Silent  bool
	Pings   []string // the user ids of whom it pings
	Files   []ShownFile
}

// ShownFile is a file of a shown message.
type ShownFile struct {
	Name    string
	Content []byte
}
