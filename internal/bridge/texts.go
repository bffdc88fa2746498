package bridge

import (
	"unicode"
	"unicode/utf8"
)

// How much of what a site, a visitor or an operator says is shown in a line of the bridge's own, in UTF-16 units: it is one line,
// so that nobody speaks in the bridge's voice.
const (
	ShownField  = 200 // a name, a title, an address
	ShownReason = 500 // a comment, a reason
)

// ShownName is how long a name that visitors see may be, in characters.
const ShownName = 60

// Title is a platform's name as people write it.
func Title(platform string) string {
	if platform == "" {
		return platform
	}
	first, size := utf8.DecodeRuneInString(platform)
	return string(unicode.ToUpper(first)) + platform[size:]
}

// SessionNotice is the event by which the bridge says something in all threads of a session. With mentions, keys of accounts, it
// is for those people, and rings.
func SessionNotice(session, text string, mention ...string) Event {
	return Event{
		Type: TypeAnswer, Origin: OriginBridge, Session: session,
		Body: MustJSON(Answer{Session: session, Text: text, Mention: mention}),
	}
}
