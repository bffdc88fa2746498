package bridgeclient

import (
	"bytes"
	"encoding/json"
	"time"
)

// Session is a visitor's conversation.
type Session struct {
	ID               string         `json:"id"`
	VisitorID        string         `json:"visitorId"`
	CreatedAt        string         `json:"createdAt,omitempty"` // RFC 3339, as all times here
	LastActivity     string         `json:"lastActivity,omitempty"`
	Metadata         map[string]any `json:"metadata,omitempty"` // url, pageTitle, userAgent, country, … any keys
	Identity         map[string]any `json:"identity,omitempty"` // id, name, email, … any keys
	UserPhone        string         `json:"userPhone,omitempty"`
	UserPhoneCountry string         `json:"userPhoneCountry,omitempty"`
}

// Message is what somebody wrote.
type Message struct {
	ID          string         `json:"id"`
	SessionID   string         `json:"sessionId"`
	Content     string         `json:"content"`
	Sender      string         `json:"sender"` // visitor, operator or ai
	Timestamp   string         `json:"timestamp,omitempty"`
	ReplyTo     string         `json:"replyTo,omitempty"`
	Attachments []Attachment   `json:"attachments,omitempty"`
	Metadata    map[string]any `json:"metadata,omitempty"`
}

// Attachment is a file of a message. The bridge fetches a visitor's from URL; an operator's is at URL, a signed link.
type Attachment struct {
	ID           string `json:"id"`
	Filename     string `json:"filename"`
	MimeType     string `json:"mimeType"`
	Size         int64  `json:"size"` // bytes
	URL          string `json:"url"`
	ThumbnailURL string `json:"thumbnailUrl,omitempty"`
	Status       string `json:"status,omitempty"` // pending, uploading, ready or failed
	UploadedFrom string `json:"uploadedFrom,omitempty"`
}

// SiteEvent is what happened on the site: one of the types below.
type SiteEvent interface {
	// about returns the event's type and the session whose order it keeps.
	about() (kind, session string)
}

// The events of the site.
type (
	// NewSession announces a visitor, or tells that their page or data changed.
	NewSession struct {
		Session Session `json:"session"`
	}
	// VisitorMessage is what a visitor wrote.
	VisitorMessage struct {
		Message Message `json:"message"`
		Session Session `json:"session"`
	}
	// VisitorMessageEdited is a visitor's message with another text.
	VisitorMessageEdited struct {
		SessionID string `json:"sessionId"`
		MessageID string `json:"messageId"`
		Content   string `json:"content"`
		EditedAt  string `json:"editedAt,omitempty"`
	}
	// VisitorMessageDeleted is a visitor's message that was taken back.
	VisitorMessageDeleted struct {
		SessionID string `json:"sessionId"`
		MessageID string `json:"messageId"`
		DeletedAt string `json:"deletedAt,omitempty"`
	}
	// VisitorTyping is never kept and never sent twice.
	VisitorTyping struct {
		SessionID string `json:"sessionId"`
		IsTyping  bool   `json:"isTyping"`
	}
	// MessageRead tells that the visitor's side has, or has read, operators' messages. More than a hundred ids are sent in parts.
	MessageRead struct {
		SessionID  string   `json:"sessionId"`
		MessageIDs []string `json:"messageIds"`
		Status     string   `json:"status"` // delivered or read
		ReadAt     string   `json:"readAt,omitempty"`
	}
	// CustomEvent is an event of the app's own.
	CustomEvent struct {
		Event   CustomEventData `json:"event"`
		Session Session         `json:"session"`
	}
	// IdentityUpdate tells who the visitor is.
	IdentityUpdate struct {
		Session Session `json:"session"`
	}
	// AITakeover tells that an AI answers from now on.
	AITakeover struct {
		Session Session `json:"session"`
		Reason  string  `json:"reason,omitempty"`
	}
	// CSATSubmitted is the visitor's rating.
	CSATSubmitted struct {
		Session     Session `json:"session"`
		Score       int     `json:"score"` // 1 to 5
		Comment     string  `json:"comment,omitempty"`
		RespondedAt string  `json:"respondedAt,omitempty"`
	}
	// VisitorDisconnect tells that the visitor left.
	VisitorDisconnect struct {
		Session  Session `json:"session"`
		Duration float64 `json:"duration,omitempty"` // seconds
		Reason   string  `json:"reason,omitempty"`   // page_unload, inactivity or manual
	}
	// OperatorMessage is an answer that was not written in a chat app: the site's own inbox, or an AI.
	OperatorMessage struct {
		Message      Message `json:"message"`
		Session      Session `json:"session"`
		SourceBridge string  `json:"sourceBridge,omitempty"`
		OperatorName string  `json:"operatorName,omitempty"`
	}
	// SessionClosed tells that the conversation is over.
	SessionClosed struct {
		SessionID string `json:"sessionId"`
	}
	// SetOperatorStatus is the team's status as the site sees it.
	SetOperatorStatus struct {
		Online bool `json:"online"`
	}
)

// CustomEventData is what a CustomEvent says.
type CustomEventData struct {
	Name      string         `json:"name"`
	Data      map[string]any `json:"data,omitempty"`
	Timestamp string         `json:"timestamp,omitempty"`
}

func (e NewSession) about() (string, string)           { return "new_session", e.Session.ID }
func (e VisitorMessage) about() (string, string)       { return "visitor_message", e.Session.ID }
func (e VisitorMessageEdited) about() (string, string) { return "visitor_message_edited", e.SessionID }
func (e VisitorMessageDeleted) about() (string, string) {
	return "visitor_message_deleted", e.SessionID
}
func (e VisitorTyping) about() (string, string)     { return typeVisitorTyping, e.SessionID }
func (e MessageRead) about() (string, string)       { return "message_read", e.SessionID }
func (e CustomEvent) about() (string, string)       { return "custom_event", e.Session.ID }
func (e IdentityUpdate) about() (string, string)    { return "identity_update", e.Session.ID }
func (e AITakeover) about() (string, string)        { return "ai_takeover", e.Session.ID }
func (e CSATSubmitted) about() (string, string)     { return "csat_submitted", e.Session.ID }
func (e VisitorDisconnect) about() (string, string) { return "visitor_disconnect", e.Session.ID }
func (e OperatorMessage) about() (string, string)   { return "operator_message", e.Session.ID }
func (e SessionClosed) about() (string, string)     { return "session_closed", e.SessionID }
func (e SetOperatorStatus) about() (string, string) { return "operator_status", "" }

// rawEvent is an event whose fields come from the SDK as they are.
type rawEvent struct {
	kind, session string
	fields        map[string]any
}

func (e rawEvent) about() (string, string)      { return e.kind, e.session }
func (e rawEvent) MarshalJSON() ([]byte, error) { return json.Marshal(e.fields) }

// body is the event as it is sent: its fields behind its type.
func body(e SiteEvent) ([]byte, error) {
	fields, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	kind, _ := e.about()
	var out bytes.Buffer
	out.WriteString(`{"type":"` + kind + `"`)
	if rest := bytes.TrimPrefix(fields, []byte("{")); len(rest) > 1 {
		out.WriteByte(',')
		out.Write(rest)
	} else {
		out.WriteByte('}')
	}
	return out.Bytes(), nil
}

// Event is what happened on the operators' side. The fields of other types than Type are empty; Raw has everything.
type Event struct {
	Type      string `json:"type"`
	ID        string `json:"id"` // evt_…; empty on what is never stored, such as operator_typing
	Timestamp string `json:"timestamp"`
	SessionID string `json:"sessionId"`

	MessageID        string       `json:"messageId"`  // operator_message and its changes, message_delivered, message_failed
	MessageIDs       []string     `json:"messageIds"` // message_read, message_delayed
	Content          string       `json:"content"`
	SourceBridge     string       `json:"sourceBridge"`
	OperatorName     string       `json:"operatorName"`
	OperatorID       string       `json:"operatorId"`
	ReplyToMessageID string       `json:"replyToMessageId"`
	Attachments      []Attachment `json:"attachments"`
	EditedAt         string       `json:"editedAt"`
	DeletedAt        string       `json:"deletedAt"`
	IsTyping         bool         `json:"isTyping"`
	Online           bool         `json:"online"`
	Enabled          bool         `json:"enabled"` // ai_toggle
	Reason           string       `json:"reason"`
	RequestedAt      string       `json:"requestedAt"`

	Raw json.RawMessage `json:"-"`
}

func parseEvent(data []byte) (Event, error) {
	var e Event
	err := json.Unmarshal(data, &e)
	e.Raw = append(json.RawMessage(nil), data...)
	return e, err
}

// at is when the event was accepted; the zero time where it does not say.
func (e Event) at() time.Time {
	t, _ := time.Parse(time.RFC3339, e.Timestamp)
	return t
}
