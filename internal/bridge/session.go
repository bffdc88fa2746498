package bridge

import (
	"strings"
	"time"
)

// Session is a visitor's conversation as the app server tells it. Fields that the contract does not name stay in the
// event's body. Times are kept as they came; Time reads them.
type Session struct {
	ID               string    `json:"id"`
	VisitorID        string    `json:"visitorId"`
	CreatedAt        string    `json:"createdAt,omitempty"`
	LastActivity     string    `json:"lastActivity,omitempty"`
	OperatorOnline   bool      `json:"operatorOnline,omitempty"`
	AIActive         bool      `json:"aiActive,omitempty"`
	Metadata         *Metadata `json:"metadata,omitempty"`
	Identity         *Identity `json:"identity,omitempty"`
	UserPhone        string    `json:"userPhone,omitempty"`        // E.164
	UserPhoneCountry string    `json:"userPhoneCountry,omitempty"` // ISO 3166 alpha-2
	CSAT             *CSAT     `json:"csat,omitempty"`
}

// Metadata is what the widget knows of the visitor's page and device.
type Metadata struct {
	URL              string `json:"url,omitempty"`
	Referrer         string `json:"referrer,omitempty"`
	PageTitle        string `json:"pageTitle,omitempty"`
	UserAgent        string `json:"userAgent,omitempty"`
	Timezone         string `json:"timezone,omitempty"`
	Language         string `json:"language,omitempty"`
	ScreenResolution string `json:"screenResolution,omitempty"`
	IP               string `json:"ip,omitempty"`
	Country          string `json:"country,omitempty"`
	City             string `json:"city,omitempty"`
	DeviceType       string `json:"deviceType,omitempty"` // desktop, mobile or tablet
	Browser          string `json:"browser,omitempty"`
	OS               string `json:"os,omitempty"`
}

// Identity is who the app says the visitor is.
type Identity struct {
	ID    string `json:"id"`
	Email string `json:"email,omitempty"`
	Name  string `json:"name,omitempty"`
	// Verified says whether it is proved; nil: nobody looked.
	Verified *bool `json:"verified,omitempty"`
}

// CSAT is a visitor's rating.
type CSAT struct {
	Pending     bool   `json:"pending,omitempty"`
	Score       *int   `json:"score,omitempty"` // 1 to 5
	Comment     string `json:"comment,omitempty"`
	RequestedAt string `json:"requestedAt,omitempty"`
	RespondedAt string `json:"respondedAt,omitempty"`
}

// DisplayName says who the visitor is in a few words: the identity's name, else its e-mail's local part, else the
// visitor's id.
func (s *Session) DisplayName() string {
	if s.Identity != nil {
		if name := strings.TrimSpace(s.Identity.Name); name != "" {
			return name
		}
		if local, _, _ := strings.Cut(strings.TrimSpace(s.Identity.Email), "@"); local != "" {
			return local
		}
	}
	return s.VisitorID
}

// Sender is who wrote a message.
type Sender string

const (
	SenderVisitor  Sender = "visitor"
	SenderOperator Sender = "operator"
	SenderAI       Sender = "ai"
	SenderSystem   Sender = "system" // the app itself: shown as a notice
)

// Message is one message of a session. Content is at most MaxContent characters.
type Message struct {
	ID          string       `json:"id"`
	SessionID   string       `json:"sessionId"`
	Content     string       `json:"content"`
	Sender      Sender       `json:"sender,omitempty"`
	Timestamp   string       `json:"timestamp,omitempty"`
	ReplyTo     string       `json:"replyTo,omitempty"` // a message id
	Attachments []Attachment `json:"attachments,omitempty"`
	Status      string       `json:"status,omitempty"`
	DeliveredAt string       `json:"deliveredAt,omitempty"`
	ReadAt      string       `json:"readAt,omitempty"`
	EditedAt    string       `json:"editedAt,omitempty"`
	DeletedAt   string       `json:"deletedAt,omitempty"`

	AfterMessageID string `json:"afterMessageId,omitempty"` // see AppEvent
}

// The limits of the contract, in characters but for receipts.
const (
	MaxContent   = 64_000 // of a message
	MaxShown     = 4000   // of a message that is shown whole; of a longer one the beginning is, and all of it goes as a file
	MaxEventName = 200
	MaxReason    = 2000 // of comments and reasons
	MaxReceipts  = 1000 // message ids in one message_read
)

// Attachment is a file of a message. Size is in bytes.
type Attachment struct {
	ID           string `json:"id,omitempty"`
	Filename     string `json:"filename,omitempty"`
	MimeType     string `json:"mimeType,omitempty"`
	Size         int64  `json:"size,omitempty"`
	URL          string `json:"url,omitempty"`
	ThumbnailURL string `json:"thumbnailUrl,omitempty"`
	Status       string `json:"status,omitempty"`
	UploadedFrom string `json:"uploadedFrom,omitempty"`
	BridgeFileID string `json:"bridgeFileId,omitempty"`
}

// The limits of a message's attachments.
const (
	MaxAttachments   = 50   // of a message
	MaxAttachmentURL = 8192 // bytes of a URL that is no data: URL; those may be as long as the request
)

// HasData says whether the attachment's URL is the file itself, a data: URL.
func (a *Attachment) HasData() bool { return len(a.URL) >= 5 && strings.EqualFold(a.URL[:5], "data:") }

// CustomEvent is an event of the app's own.
type CustomEvent struct {
	Name      string    `json:"name"`
	Data      EventData `json:"data,omitempty"`
	Timestamp string    `json:"timestamp,omitempty"`
	SessionID string    `json:"sessionId,omitempty"`
}

// Time reads a time of the contract, RFC 3339 with any offset. The second result is false for an empty or other text, and for the
// year 1, which is how Go writes no time.
func Time(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UTC(), err == nil && t.Year() > 1
}
