package bridge

import (
	"bytes"
	"encoding/json"
)

// BySystem says whether a visitor_message is a notice of the app's own. Most do not even have the word.
func (e Event) BySystem() bool {
	return bytes.Contains(e.Body, []byte(`"system"`)) && e.sender() == SenderSystem
}

// ByAnother says whether a visitor_message is the AI's or an operator's.
func (e Event) ByAnother() bool {
	if !bytes.Contains(e.Body, []byte(`"ai"`)) && !bytes.Contains(e.Body, []byte(`"operator"`)) {
		return false
	}
	by := e.sender()
	return by == SenderAI || by == SenderOperator
}

// ByAI says whether a message that an app server has sent is the AI's.
func (e Event) ByAI() bool { return bytes.Contains(e.Body, []byte(`"ai"`)) && e.sender() == SenderAI }

// sender returns who has written the message of an app server's event; nobody where that cannot be read.
func (e Event) sender() Sender {
	var a AppEvent
	if json.Unmarshal(e.Body, &a) != nil || a.Message == nil {
		return ""
	}
	return a.Message.Sender
}
