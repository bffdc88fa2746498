package bridge

import "bytes"

// BySystem says whether a visitor_message is a notice of the app's own. Most do not even have the word.
func (e Event) BySystem() bool {
	return e.mayHave(`"system"`) && e.sender() == SenderSystem
}

// ByAnother says whether a visitor_message is the AI's or an operator's.
func (e Event) ByAnother() bool {
	if !e.mayHave(`"ai"`) && !e.mayHave(`"operator"`) {
		return false
	}
	by := e.sender()
	return by == SenderAI || by == SenderOperator
}

// ByAI says whether a message that an app server has sent is the AI's.
func (e Event) ByAI() bool { return e.mayHave(`"ai"`) && e.sender() == SenderAI }

// mayHave says whether the event's body has a word, or it need not be read for what it says.
func (e Event) mayHave(word string) bool {
	return e.Summary != nil || bytes.Contains(e.Body, []byte(word))
}

// sender returns who has written the message of an app server's event; nobody where that cannot be read.
func (e Event) sender() Sender {
	s, err := e.InShort()
	if err != nil {
		return ""
	}
	return s.Sender
}
