package bridge

import (
	"encoding/json"
	"time"
)

// Type is an event's type as the wire spells it. Some types go both ways; an event's Origin tells which way it went.
type Type string

const (
	// From the app server.
	TypeNewSession        Type = "new_session"
	TypeVisitorMessage    Type = "visitor_message"
	TypeVisitorEdited     Type = "visitor_message_edited"
	TypeVisitorDeleted    Type = "visitor_message_deleted"
	TypeVisitorTyping     Type = "visitor_typing"
	TypeVisitorDisconnect Type = "visitor_disconnect"
	TypeCustomEvent       Type = "custom_event"
	TypeIdentityUpdate    Type = "identity_update"
	TypeAITakeover        Type = "ai_takeover"
	TypeCSATSubmitted     Type = "csat_submitted"

	// Both ways.
	TypeOperatorMessage Type = "operator_message"
	TypeOperatorStatus  Type = "operator_status"
	TypeMessageRead     Type = "message_read"
	TypeSessionClosed   Type = "session_closed"

	// From the operators' side, or from the bridge itself.
	TypeMessageDelivered Type = "message_delivered"
	TypeMessageFailed    Type = "message_failed"
	TypeMessageDelayed   Type = "message_delayed"
	TypeOperatorEdited   Type = "operator_message_edited"
	TypeOperatorDeleted  Type = "operator_message_deleted"
	TypeOperatorTyping   Type = "operator_typing"
	TypeSessionReopened  Type = "session_reopened"
	TypeCSATRequest      Type = "csat_request"
	TypeAIToggle         Type = "ai_toggle"
	TypeAnswerWaiting    Type = "answer_waiting"
	TypeVisitorWaiting   Type = "visitor_waiting"
	TypeVisitorBlocked   Type = "visitor_blocked"

	TypeConversationAssigned Type = "conversation_assigned"
	TypeDraftSent            Type = "draft_sent"
	TypeDraftDropped         Type = "draft_dropped"

	// TypePageEvent is an event of the app's own for the session's pages: it goes to them alone. Its body is that of a custom_event.
	TypePageEvent Type = "page_event"

	// TypeOperatorMessageAcked says that the visitor's app has an operator's message, for the platform that it came from alone.
	TypeOperatorMessageAcked Type = "reached"

	// TypeAnswer is the bridge's answer to an operator, shown where the operator asked; it leaves the bridge for that
	// platform alone.
	TypeAnswer Type = "answer"
)

// The origins that are not a platform's name.
const (
	OriginApp    = "app"    // an app server's request
	OriginBridge = "bridge" // the bridge itself
)

// Event is what happened, as the log keeps it.
type Event struct {
	Type     Type   `json:"type"`
	Origin   string `json:"origin"`             // OriginApp, OriginBridge or a platform's name
	Session  string `json:"session,omitempty"`  // the session it is of
	Message  string `json:"message,omitempty"`  // the message it is or refers to
	Callback string `json:"callback,omitempty"` // from the app: the instance that sent it; else the only one that is told
	Opens    bool   `json:"opens,omitempty"`    // it carries its session, and so makes it known
	By       string `json:"by,omitempty"`       // the operator who did it, as colleagues know them; the app is told another name, it may be
	Blocked  bool   `json:"blocked,omitempty"`  // its visitor was blocked when it was accepted: no platform shows it
	// Pressed says that an operator did it by a button: where the platform itself shows that it was done, nothing else does.
	Pressed bool            `json:"pressed,omitempty"`
	Body    json.RawMessage `json:"body"` // a JSON object with the wire's fields of the type
	// Summary is what the body of an app's event says, where that is known already; nil: InShort reads it. It is kept nowhere.
	Summary *Summary `json:"-"`
}

// AppEvent is the union of the fields of the events that app servers send, by type as the contract lists them.
type AppEvent struct {
	Type         Type         `json:"type"`
	Session      *Session     `json:"session"`
	Message      *Message     `json:"message"`
	Event        *CustomEvent `json:"event"`
	SessionID    string       `json:"sessionId"`
	MessageID    string       `json:"messageId"`
	MessageIDs   []string     `json:"messageIds"`
	Content      string       `json:"content"`
	EditedAt     string       `json:"editedAt"`
	DeletedAt    string       `json:"deletedAt"`
	ReadAt       string       `json:"readAt"`
	DeliveredAt  string       `json:"deliveredAt"`
	RespondedAt  string       `json:"respondedAt"`
	Status       string       `json:"status"`
	Online       *bool        `json:"online"`
	IsTyping     *bool        `json:"isTyping"`
	Reason       string       `json:"reason"`
	Duration     *float64     `json:"duration"` // seconds
	Score        *int         `json:"score"`    // 1 to 5
	Comment      string       `json:"comment"`
	SourceBridge string       `json:"sourceBridge"`
	OperatorName string       `json:"operatorName"`
	// AfterMessageID is the message that an AI answers: it is refused when the visitor or a person has written since.
	AfterMessageID string `json:"afterMessageId"`
}

// SessionOf returns the id of the session that the event is of, or nothing.
func (e *AppEvent) SessionOf() string {
	if e.Session != nil {
		return e.Session.ID
	}
	return e.SessionID
}

// MessageOf returns the id of the message that the event is or refers to, or nothing.
func (e *AppEvent) MessageOf() string {
	if e.Message != nil {
		return e.Message.ID
	}
	return e.MessageID
}

// OperatorMessage is the body of an operator_message from a platform.
type OperatorMessage struct {
	SessionID              string       `json:"sessionId"`
	MessageID              string       `json:"messageId"` // <platform>:<platform's message id>
	Content                string       `json:"content"`
	SourceBridge           string       `json:"sourceBridge"`
	OperatorName           string       `json:"operatorName"`
	OperatorID             string       `json:"operatorId,omitempty"`
	Attachments            []Attachment `json:"attachments,omitempty"`
	ReplyToBridgeMessageID *int64       `json:"replyToBridgeMessageId,omitempty"` // Telegram only
	ReplyToMessageID       string       `json:"replyToMessageId,omitempty"`
}

// OperatorStatus is the body of an operator_status to app servers.
type OperatorStatus struct {
	Online    bool       `json:"online"`
	Operators []Operator `json:"operators"`
}

// OperatorEdited is the body of operator_message_edited.
type OperatorEdited struct {
	SessionID string `json:"sessionId"`
	MessageID string `json:"messageId"`
	Content   string `json:"content"`
	EditedAt  string `json:"editedAt"`
	// Attachments are all files that the message has now; nil: they are what they were.
	Attachments []Attachment `json:"attachments,omitzero"`
}

// OperatorDeleted is the body of operator_message_deleted.
type OperatorDeleted struct {
	SessionID string `json:"sessionId"`
	MessageID string `json:"messageId"`
	DeletedAt string `json:"deletedAt"`
}

// SessionClosed is the body of a session_closed and of a session_reopened from a platform.
type SessionClosed struct {
	SessionID    string `json:"sessionId"`
	SourceBridge string `json:"sourceBridge"`
	OperatorName string `json:"operatorName,omitempty"`
}

// Read is the body of a message_read from a platform: an operator has seen the visitor's messages.
type Read struct {
	SessionID    string   `json:"sessionId"`
	MessageIDs   []string `json:"messageIds"`
	Status       string   `json:"status"` // read
	SourceBridge string   `json:"sourceBridge"`
}

// AnswerWaiting is the body of an answer_waiting: no page has taken these messages of operators.
type AnswerWaiting struct {
	SessionID  string   `json:"sessionId"`
	MessageIDs []string `json:"messageIds"`
	Email      string   `json:"email,omitempty"` // the visitor's, where it is known
}

// VisitorBlocked is the body of visitor_blocked: an operator has blocked a session's visitor, or no longer does.
type VisitorBlocked struct {
	SessionID    string `json:"sessionId"`
	Blocked      bool   `json:"blocked"`
	OperatorName string `json:"operatorName,omitempty"`
}

// VisitorWaiting is the body of a visitor_waiting: nobody has answered the visitor for so long.
type VisitorWaiting struct {
	SessionID string `json:"sessionId"`
	Seconds   int    `json:"seconds"`
}

// ConversationAssigned is the body of conversation_assigned: who takes care of a session now; without an id, nobody.
type ConversationAssigned struct {
	SessionID    string `json:"sessionId"`
	OperatorID   string `json:"operatorId"`
	OperatorName string `json:"operatorName"`
}

// OperatorTyping is the body of operator_typing.
type OperatorTyping struct {
	SessionID    string `json:"sessionId"`
	IsTyping     bool   `json:"isTyping"`
	SourceBridge string `json:"sourceBridge"`
}

// Receipt is the body of message_delivered and message_failed.
type Receipt struct {
	SessionID    string `json:"sessionId"`
	MessageID    string `json:"messageId"`
	SourceBridge string `json:"sourceBridge"`
	Reason       string `json:"reason,omitempty"`
}

// Delayed is the body of message_delayed: visitors' messages wait for a platform.
type Delayed struct {
	SessionID    string   `json:"sessionId"`
	MessageIDs   []string `json:"messageIds"`
	SourceBridge string   `json:"sourceBridge"`
	Seconds      int      `json:"seconds"` // for how long the first of them has waited
}

// Answer is the body of TypeAnswer: what the bridge says to operators, and where.
type Answer struct {
	Platform string    `json:"platform,omitempty"`
	Thread   ThreadID  `json:"thread,omitempty"`  // where it was asked
	ReplyTo  MessageID `json:"replyTo,omitempty"` // the message that asked
	Text     string    `json:"text"`
	Foreign  bool      `json:"foreign,omitempty"` // the text quotes what a visitor has said

	// Session is set in place of Platform and Thread for what is said in every thread of a session. It opens no thread and
	// reopens none.
	Session string `json:"session,omitempty"`
	// Mention are operators' accounts, as Account.Key names them, who are called by name. With some, of a session's threads only
	// those get it where one of them is; and it rings.
	Mention []string `json:"mention,omitempty"`
	// All is set where all of a session's threads get what calls somebody in some of them; elsewhere it is a notice.
	All bool `json:"all,omitempty"`
	// Remind is set where somebody has asked to be reminded.
	Remind bool `json:"remind,omitempty"`
	// Close asks that the threads be closed.
	Close bool `json:"close,omitempty"`
	// Removes are messages of the place that go, so that nothing is left to be answered; where one of them cannot, the answer is given.
	Removes []MessageID `json:"removes,omitempty"`
	// Asks is set where the answer asks about a message that is held.
	Asks *Question `json:"asks,omitempty"`
	// Buttons stand under it, row by row.
	Buttons [][]Button `json:"buttons,omitempty"`
	// Draft names the draft of an answer that it shows; with Changes, what is shown of it in the session's threads is another text.
	Draft   string `json:"draft,omitempty"`
	Changes bool   `json:"changes,omitempty"`
}

// Question is what a message that is held is asked about: the message and its session.
type Question struct {
	Session string    `json:"session"`
	Message MessageID `json:"message"`
}

// Status is an operator's presence.
type Status string

const (
	StatusOnline  Status = "online"
	StatusAway    Status = "away"
	StatusOffline Status = "offline"
)

// Operator is a person who answers visitors, and whether they are there. ID is <platform>:<platform's user id>, or app.
type Operator struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Platform string    `json:"platform"`
	Status   Status    `json:"status"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"`
	Reason   string    `json:"reason,omitempty"` // what set it: command, reply, time-out, hours, api
}

// Wire returns the event as app servers see it (type, id, timestamp and the body's fields in one object).
func (e Entry) Wire() []byte {
	body := []byte(e.Event.Body)
	out := make([]byte, 0, len(body)+96)
	out = append(out, `{"type":"`...)
	out = append(out, e.Event.Type...)
	out = append(out, `","id":"`...)
	out = append(out, e.Seq.String()...)
	out = append(out, `","timestamp":"`...)
	out = e.Seq.Time().AppendFormat(out, wireTime)
	out = append(out, '"')
	if len(body) > 2 {
		out = append(out, ',')
		return append(out, body[1:]...)
	}
	return append(out, '}')
}

// FromOperators says whether app servers are told of the event: it happened on the operators' side, or to the bridge.
func (e Event) FromOperators() bool {
	return e.Origin != OriginApp && e.Type != TypeAnswer && e.Type != TypeOperatorMessageAcked
}

// Kind says how urgent an event is on the operators' side.
type Kind uint8

const (
	// KindNone is of no use to a platform.
	KindNone Kind = iota
	// KindNotice is told silently, in a thread that exists.
	KindNotice
	// KindMessage is a person's word: it rings, comes first, and opens a thread.
	KindMessage
)
