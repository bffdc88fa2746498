package bridge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxID is the longest id of the contract, in characters.
const MaxID = 128

// DecodeAppEvent reads the body of a request: one JSON object in valid UTF-8 and nothing behind it, whose known fields have
// the types of the contract, are there once, in whatever case, and whose ids are printable. Unknown fields are accepted, null counts as absent. What the type
// requires is Validate's matter.
//
// Every error is a *FieldError. One without a Field is about the body as a whole.
func DecodeAppEvent(body []byte) (*AppEvent, error) {
	e := readQuickly(body)
	if e == nil {
		e = new(AppEvent)
		if fault := decode(body, e); fault != nil {
			return nil, fault
		}
	}
	if fault := e.checkIDs(); fault != nil {
		return nil, fault
	}
	return e, nil
}

// DecodeObject is DecodeAppEvent for a body of another kind: v points to the struct that it fills. Ids are not looked at.
func DecodeObject(body []byte, v any) error {
	if fault := decode(body, v); fault != nil {
		return fault
	}
	return nil
}

// Validate says whether the event has what its type requires and whether that is of the right form. Fields that the type
// does not use are not looked at. Every error is a *FieldError with a Field.
func (e *AppEvent) Validate() error {
	if fault := e.check(); fault != nil {
		return fault
	}
	return nil
}

// Trim removes the session, message and ids that the type does not use, which nobody checked, so that SessionOf and MessageOf
// return nothing but what Validate has seen.
func (e *AppEvent) Trim() {
	var session, message, event, sessionID, messageID, messageIDs bool
	switch e.Type {
	case TypeVisitorMessage, TypeOperatorMessage:
		session, message = true, true
	case TypeVisitorEdited, TypeVisitorDeleted:
		sessionID, messageID = true, true
	case TypeMessageRead:
		sessionID, messageIDs = true, true
	case TypeVisitorTyping, TypeSessionClosed:
		sessionID = true
	case TypeCustomEvent:
		session, event = true, true
	case TypeNewSession, TypeIdentityUpdate, TypeAITakeover, TypeVisitorDisconnect, TypeCSATSubmitted:
		session = true
	}
	if !session {
		e.Session = nil
	}
	if !message {
		e.Message = nil
	}
	if !event {
		e.Event = nil
	}
	if !sessionID {
		e.SessionID = ""
	}
	if !messageID {
		e.MessageID = ""
	}
	if !messageIDs {
		e.MessageIDs = nil
	}
}

// PrintableID says whether text is an id as the contract has them: 1 to 128 printable characters.
func PrintableID(text string) bool { return text != "" && printable(text, MaxID) }

// check is the table of what each type requires.
func (e *AppEvent) check() *FieldError {
	switch e.Type {
	case TypeNewSession, TypeIdentityUpdate:
		return e.Session.check()
	case TypeAITakeover:
		return cmp.Or(e.Session.check(), short("reason", e.Reason, MaxReason))
	case TypeVisitorMessage, TypeOperatorMessage:
		if fault := cmp.Or(e.Message.check(), e.Session.check()); fault != nil {
			return fault
		}
		if e.Message.SessionID != e.Session.ID {
			return &FieldError{"message.sessionId", "must be the id of the session"}
		}
		return nil
	case TypeVisitorEdited:
		return cmp.Or(wantID("sessionId", e.SessionID), wantID("messageId", e.MessageID), want("content", e.Content != ""),
			content("content", e.Content), moment("editedAt", e.EditedAt))
	case TypeVisitorDeleted:
		return cmp.Or(wantID("sessionId", e.SessionID), wantID("messageId", e.MessageID), moment("deletedAt", e.DeletedAt),
			short("reason", e.Reason, MaxReason))
	case TypeMessageRead:
		return cmp.Or(wantID("sessionId", e.SessionID), want("messageIds", len(e.MessageIDs) > 0), ids("messageIds", e.MessageIDs),
			atMost("messageIds", len(e.MessageIDs), MaxReceipts, "ids"), moment("readAt", e.ReadAt), moment("deliveredAt", e.DeliveredAt))
	case TypeOperatorStatus:
		return want("online", e.Online != nil)
	case TypeCustomEvent:
		return cmp.Or(e.Event.check(), e.Session.check())
	case TypeCSATSubmitted:
		return cmp.Or(e.Session.check(), want("score", e.Score != nil), score("score", e.Score),
			short("comment", e.Comment, MaxReason))
	case TypeVisitorDisconnect:
		if e.Duration != nil && *e.Duration < 0 {
			return &FieldError{"duration", "must not be negative"}
		}
		return cmp.Or(e.Session.check(), short("reason", e.Reason, MaxReason))
	case TypeVisitorTyping:
		return cmp.Or(wantID("sessionId", e.SessionID), want("isTyping", e.IsTyping != nil))
	case TypeSessionClosed:
		return cmp.Or(wantID("sessionId", e.SessionID), short("reason", e.Reason, MaxReason))
	case "":
		return want("type", false)
	default:
		return oneOf("type", string(e.Type), string(TypeNewSession), string(TypeVisitorMessage), string(TypeVisitorEdited),
			string(TypeVisitorDeleted), string(TypeMessageRead), string(TypeOperatorStatus), string(TypeCustomEvent),
			string(TypeIdentityUpdate), string(TypeAITakeover), string(TypeCSATSubmitted), string(TypeVisitorDisconnect),
			string(TypeVisitorTyping), string(TypeSessionClosed), string(TypeOperatorMessage))
	}
}

func (s *Session) check() *FieldError {
	if s == nil {
		return want("session", false)
	}
	fault := cmp.Or(wantID("session.id", s.ID), wantID("session.visitorId", s.VisitorID),
		moment("session.createdAt", s.CreatedAt), moment("session.lastActivity", s.LastActivity))
	if i := s.Identity; i != nil && *i != (Identity{}) && fault == nil { // an empty one says nothing
		fault = wantID("session.identity.id", i.ID)
	}
	if c := s.CSAT; c != nil && fault == nil {
		fault = cmp.Or(score("session.csat.score", c.Score), moment("session.csat.requestedAt", c.RequestedAt))
	}
	return fault
}

func (m *Message) check() *FieldError {
	if m == nil {
		return want("message", false)
	}
	fault := cmp.Or(
		wantID("message.id", m.ID), wantID("message.sessionId", m.SessionID),
		want("message.content", m.Content != "" || len(m.Attachments) > 0), content("message.content", m.Content),
		oneOf("message.sender", string(m.Sender), string(SenderVisitor), string(SenderOperator), string(SenderAI), string(SenderSystem)),
		mayID("message.replyTo", m.ReplyTo),
		moment("message.timestamp", m.Timestamp), moment("message.deliveredAt", m.DeliveredAt), moment("message.readAt", m.ReadAt),
		moment("message.editedAt", m.EditedAt), moment("message.deletedAt", m.DeletedAt))
	if fault == nil && len(m.Attachments) > MaxAttachments {
		fault = &FieldError{"message.attachments", fmt.Sprintf("must be at most %d", MaxAttachments)}
	}
	for i := range m.Attachments {
		if fault != nil {
			break
		}
		if fault = m.Attachments[i].check(); fault != nil {
			fault.Field = strings.TrimSuffix(fmt.Sprintf("message.attachments[%d].%s", i, fault.Field), ".")
		}
	}
	return fault
}

func (a *Attachment) check() *FieldError {
	if *a == (Attachment{}) {
		return &FieldError{"", "must not be empty"}
	}
	if len(a.URL) > MaxAttachmentURL && !a.HasData() {
		return &FieldError{"url", fmt.Sprintf("must be at most %d bytes, unless it is a data: URL", MaxAttachmentURL)}
	}
	return mayID("id", a.ID)
}

func (c *CustomEvent) check() *FieldError {
	if c == nil {
		return want("event", false)
	}
	return cmp.Or(want("event.name", c.Name != ""), short("event.name", c.Name, MaxEventName), mayID("event.sessionId", c.SessionID))
}

// checkIDs holds every id that a key may be made of to its form, whichever type the event turns out to be.
func (e *AppEvent) checkIDs() *FieldError {
	fault := cmp.Or(mayID("sessionId", e.SessionID), mayID("messageId", e.MessageID), ids("messageIds", e.MessageIDs),
		mayID("afterMessageId", e.AfterMessageID))
	if e.Session != nil && fault == nil {
		fault = cmp.Or(mayID("session.id", e.Session.ID), mayID("session.visitorId", e.Session.VisitorID))
	}
	if e.Message != nil && fault == nil {
		fault = cmp.Or(mayID("message.id", e.Message.ID), mayID("message.sessionId", e.Message.SessionID),
			mayID("message.replyTo", e.Message.ReplyTo), mayID("message.afterMessageId", e.Message.AfterMessageID))
	}
	return fault
}

func want(field string, there bool) *FieldError {
	if there {
		return nil
	}
	return &FieldError{field, "is required"}
}

func wantID(field, id string) *FieldError {
	if id == "" {
		return want(field, false)
	}
	return mayID(field, id)
}

func mayID(field, id string) *FieldError {
	if printable(id, MaxID) {
		return nil
	}
	return &FieldError{field, "must be 1 to 128 printable characters"}
}

func ids(field string, all []string) *FieldError {
	for i, id := range all {
		if !PrintableID(id) {
			return mayID(fmt.Sprintf("%s[%d]", field, i), cmp.Or(id, "\x00"))
		}
	}
	return nil
}

// printable takes U+FFFD for what it mostly is, the remainder of a broken text: two ids that differ only there are not told
// apart.
func printable(text string, most int) bool {
	if len(text) > most*utf8.UTFMax {
		return false
	}
	n := 0
	for _, r := range text {
		if n++; n > most || r < ' ' || r == 0x7f {
			return false
		}
		if r >= utf8.RuneSelf && (r == utf8.RuneError || !unicode.IsPrint(r)) {
			return false
		}
	}
	return true
}

func content(field, text string) *FieldError { return short(field, text, MaxContent) }

// short finds fault with a text of more than a number of characters.
func short(field, text string, most int) *FieldError {
	if len(text) <= most {
		return nil
	}
	return atMost(field, utf8.RuneCountInString(text), most, "characters")
}

func atMost(field string, n, most int, what string) *FieldError {
	if n <= most {
		return nil
	}
	return &FieldError{field, fmt.Sprintf("must be at most %d %s", most, what)}
}

func moment(field, text string) *FieldError {
	if text == "" {
		return nil
	}
	if _, err := time.Parse(time.RFC3339Nano, text); err == nil { // the year 1 too: it is none
		return nil
	}
	return &FieldError{field, "must be RFC 3339, such as 2026-01-31T12:00:00Z"}
}

func score(field string, n *int) *FieldError {
	if n == nil || 1 <= *n && *n <= 5 {
		return nil
	}
	return &FieldError{field, "must be 1 to 5"}
}

func oneOf(field, text string, allowed ...string) *FieldError {
	if text == "" || slices.Contains(allowed, text) {
		return nil
	}
	return &FieldError{field, "must be one of " + strings.Join(allowed, ", ")}
}

// decode reads one JSON object into v, which points to a struct. Texts are for the client: no name of a Go type is in them.
func decode(body []byte, v any) *FieldError {
	if !utf8.Valid(body) {
		return &FieldError{"", fmt.Sprintf("the body is not valid UTF-8 (at byte %d)", firstInvalid(body))}
	}
	err := json.Unmarshal(body, v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &FieldError{"", fmt.Sprintf("the body is not valid JSON: %s (at byte %d)", syntax, syntax.Offset)}
	}
	if !isObject(body) {
		return &FieldError{"", "the body must be a JSON object"}
	}
	if fault := repeated(body, reflect.TypeOf(v)); fault != nil {
		return fault
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &FieldError{wrong.Field, expected(wrong)}
	}
	if err != nil {
		return &FieldError{"", "the body cannot be read"}
	}
	return nil
}

func expected(wrong *json.UnmarshalTypeError) string {
	switch wrong.Field { // the lists, whose name stands for their elements too
	case "messageIds", "events":
		return "must be a list of strings"
	case "message.attachments":
		return "must be a list of objects"
	}
	switch wrong.Type.Kind() {
	case reflect.String:
		return "must be a string"
	case reflect.Bool:
		return "must be true or false"
	case reflect.Int, reflect.Int64:
		return "must be a whole number"
	case reflect.Float64:
		if strings.HasPrefix(wrong.Value, "number") {
			return "is a number too large"
		}
		return "must be a number"
	default:
		return "must be an object"
	}
}

func isObject(body []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte{'{'}) }

func firstInvalid(body []byte) int {
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(body)
}
