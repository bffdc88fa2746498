// Package standin stands in for the PocketPing Go SDK in tests and in the example: the same methods and types by name, and the
// same habits where a client can stumble. Each bridge is called in a goroutine of its own with the request's context and its
// errors are dropped, the stored objects are handed out and changed later, operatorOnline has no lock, and the broadcasts of a
// session come from several goroutines.
package standin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Sender is who wrote a message.
type Sender string

// MessageStatus is how far a message is.
type MessageStatus string

// Who writes, and how far a message is.
const (
	SenderVisitor  Sender = "visitor"
	SenderOperator Sender = "operator"
	SenderAI       Sender = "ai"

	StatusSent      MessageStatus = "sent"
	StatusDelivered MessageStatus = "delivered"
	StatusRead      MessageStatus = "read"
)

// The SDK's errors.
var (
	ErrSessionNotFound = errors.New("session not found")
	ErrMessageNotFound = errors.New("message not found")
	ErrUnauthorized    = errors.New("unauthorized: can only edit/delete own messages")
	ErrContentTooLong  = errors.New("message content exceeds maximum length")
	ErrScore           = errors.New("CSAT score must be an integer 1-5")
)

type (
	// Attachment is a file.
	Attachment struct {
		ID           string    `json:"id"`
		MessageID    string    `json:"messageId,omitempty"`
		Filename     string    `json:"filename"`
		MimeType     string    `json:"mimeType"`
		Size         int64     `json:"size"`
		URL          string    `json:"url"`
		Status       string    `json:"status"`
		CreatedAt    time.Time `json:"createdAt"`
		UploadedFrom string    `json:"uploadedFrom,omitempty"`
	}
	// Metadata is a struct: keys that it does not know are lost.
	Metadata struct {
		URL       string `json:"url,omitempty"`
		PageTitle string `json:"pageTitle,omitempty"`
		UserAgent string `json:"userAgent,omitempty"`
		Language  string `json:"language,omitempty"`
		IP        string `json:"ip,omitempty"`
	}
	// Identity is who the visitor says to be.
	Identity struct {
		ID    string `json:"id"`
		Email string `json:"email,omitempty"`
		Name  string `json:"name,omitempty"`
	}
	// Csat is a session's rating.
	Csat struct {
		Pending     bool       `json:"pending,omitempty"`
		Score       *int       `json:"score,omitempty"`
		Comment     *string    `json:"comment,omitempty"`
		RequestedAt *time.Time `json:"requestedAt,omitempty"`
		RespondedAt *time.Time `json:"respondedAt,omitempty"`
	}
	// Session is a visitor's conversation.
	Session struct {
		ID             string    `json:"id"`
		VisitorID      string    `json:"visitorId"`
		CreatedAt      time.Time `json:"createdAt"`
		LastActivity   time.Time `json:"lastActivity"`
		OperatorOnline bool      `json:"operatorOnline"`
		AIActive       bool      `json:"aiActive"`
		Metadata       *Metadata `json:"metadata,omitempty"`
		Identity       *Identity `json:"identity,omitempty"`
		UserPhone      string    `json:"userPhone,omitempty"`
		Csat           *Csat     `json:"csat,omitempty"`
	}
	// Message is what somebody wrote.
	Message struct {
		ID          string         `json:"id"`
		SessionID   string         `json:"sessionId"`
		Content     string         `json:"content"`
		Sender      Sender         `json:"sender"`
		Timestamp   time.Time      `json:"timestamp"`
		ReplyTo     string         `json:"replyTo,omitempty"`
		Metadata    map[string]any `json:"metadata,omitempty"`
		Attachments []Attachment   `json:"attachments,omitempty"`
		Status      MessageStatus  `json:"status,omitempty"`
		DeliveredAt *time.Time     `json:"deliveredAt,omitempty"`
		ReadAt      *time.Time     `json:"readAt,omitempty"`
		EditedAt    *time.Time     `json:"editedAt,omitempty"`
		DeletedAt   *time.Time     `json:"deletedAt,omitempty"`
	}
	// CustomEvent is an event of a page's.
	CustomEvent struct {
		Name      string         `json:"name"`
		Data      map[string]any `json:"data,omitempty"`
		Timestamp time.Time      `json:"timestamp"`
		SessionID string         `json:"sessionId,omitempty"`
	}
	// WebSocketEvent is what sockets are sent.
	WebSocketEvent struct {
		Type string `json:"type"`
		Data any    `json:"data"`
	}
	// WebSocketConn is a socket.
	WebSocketConn interface {
		WriteJSON(v interface{}) error
		Close() error
	}
	// AIProvider answers for people.
	AIProvider interface {
		GenerateResponse(ctx context.Context, messages []Message, prompt string) (string, error)
	}
)

type (
	// ConnectRequest is one of the SDK's requests and answers.
	ConnectRequest struct {
		VisitorID string    `json:"visitorId"`
		SessionID string    `json:"sessionId,omitempty"`
		Metadata  *Metadata `json:"metadata,omitempty"`
		Identity  *Identity `json:"identity,omitempty"`
	}
	// ConnectResponse is one of the SDK's requests and answers.
	ConnectResponse struct {
		SessionID      string    `json:"sessionId"`
		VisitorID      string    `json:"visitorId"`
		OperatorOnline bool      `json:"operatorOnline"`
		Messages       []Message `json:"messages"`
	}
	// SendMessageRequest is one of the SDK's requests and answers.
	SendMessageRequest struct {
		SessionID     string       `json:"sessionId"`
		Content       string       `json:"content"`
		Sender        Sender       `json:"sender"`
		ReplyTo       string       `json:"replyTo,omitempty"`
		AttachmentIDs []string     `json:"attachmentIds,omitempty"`
		Attachments   []Attachment `json:"attachments,omitempty"`
	}
	// SendMessageResponse is one of the SDK's requests and answers.
	SendMessageResponse struct {
		MessageID string    `json:"messageId"`
		Timestamp time.Time `json:"timestamp"`
	}
	// TypingRequest is one of the SDK's requests and answers.
	TypingRequest struct {
		SessionID string `json:"sessionId"`
		Sender    Sender `json:"sender"`
		IsTyping  bool   `json:"isTyping"`
	}
	// PresenceResponse is one of the SDK's requests and answers.
	PresenceResponse struct {
		Online bool `json:"online"`
	}
	// EditMessageRequest is one of the SDK's requests and answers.
	EditMessageRequest struct {
		SessionID string `json:"sessionId"`
		MessageID string `json:"messageId"`
		Content   string `json:"content"`
	}
	// EditedMessage is one of the SDK's requests and answers.
	EditedMessage struct {
		ID       string    `json:"id"`
		Content  string    `json:"content"`
		EditedAt time.Time `json:"editedAt"`
	}
	// EditMessageResponse is one of the SDK's requests and answers.
	EditMessageResponse struct {
		Message EditedMessage `json:"message"`
	}
	// DeleteMessageRequest is one of the SDK's requests and answers.
	DeleteMessageRequest struct {
		SessionID string `json:"sessionId"`
		MessageID string `json:"messageId"`
	}
	// DeleteMessageResponse is one of the SDK's requests and answers.
	DeleteMessageResponse struct {
		Deleted bool `json:"deleted"`
	}
	// ReadRequest is one of the SDK's requests and answers.
	ReadRequest struct {
		SessionID  string        `json:"sessionId"`
		MessageIDs []string      `json:"messageIds"`
		Status     MessageStatus `json:"status,omitempty"`
	}
	// ReadResponse is one of the SDK's requests and answers.
	ReadResponse struct {
		Updated int `json:"updated"`
	}
	// IdentifyRequest is one of the SDK's requests and answers.
	IdentifyRequest struct {
		SessionID string    `json:"sessionId"`
		Identity  *Identity `json:"identity"`
	}
	// IdentifyResponse is one of the SDK's requests and answers.
	IdentifyResponse struct {
		OK bool `json:"ok"`
	}
	// CsatRequest is one of the SDK's requests and answers.
	CsatRequest struct {
		SessionID string `json:"sessionId"`
		Score     int    `json:"score"`
		Comment   string `json:"comment,omitempty"`
	}
	// CsatResponse is one of the SDK's requests and answers.
	CsatResponse struct {
		OK           bool `json:"ok"`
		AlreadyRated bool `json:"alreadyRated,omitempty"`
	}
	// UploadRequest is one of the SDK's requests and answers.
	UploadRequest struct {
		SessionID string `json:"sessionId"`
		Filename  string `json:"filename"`
		MimeType  string `json:"mimeType"`
		Size      int64  `json:"size"`
	}
	// UploadResponse is one of the SDK's requests and answers.
	UploadResponse struct {
		AttachmentID string    `json:"attachmentId"`
		UploadURL    string    `json:"uploadUrl"`
		ExpiresAt    time.Time `json:"expiresAt"`
	}
)

// Bridge is told of what happens.
type Bridge interface {
	Name() string
	Init(ctx context.Context, pp *PocketPing) error
	OnNewSession(ctx context.Context, session *Session) error
	OnVisitorMessage(ctx context.Context, message *Message, session *Session) error
	OnOperatorMessage(ctx context.Context, message *Message, session *Session, sourceBridge string, operatorName string) error
	OnTyping(ctx context.Context, sessionID string, isTyping bool) error
	OnMessageRead(ctx context.Context, sessionID string, messageIDs []string, status MessageStatus) error
	OnCustomEvent(ctx context.Context, event CustomEvent, session *Session) error
	OnIdentityUpdate(ctx context.Context, session *Session) error
	Destroy(ctx context.Context) error
}

// EditDeleteBridge is a bridge that edits and deletes.
type EditDeleteBridge interface {
	Bridge
	OnMessageEdit(ctx context.Context, sessionID, messageID, content string, editedAt time.Time) (*struct{}, error)
	OnMessageDelete(ctx context.Context, sessionID, messageID string, deletedAt time.Time) error
}

// NotifyBridge is a bridge that shows a line.
type NotifyBridge interface {
	Bridge
	Notify(ctx context.Context, session *Session, message string) error
}

// Config is the SDK's configuration.
type Config struct {
	Storage       Storage
	Bridges       []Bridge
	AIProvider    AIProvider
	UploadBaseURL string
	OnMessage     func(*Message, *Session)
}

// PocketPing is the SDK.
type PocketPing struct {
	config         Config
	storage        Storage
	bridges        []Bridge
	operatorOnline bool

	mu      sync.RWMutex
	sockets map[string]map[WebSocketConn]struct{}
	files   map[string]*Attachment
}

// New makes one.
func New(c Config) *PocketPing {
	if c.Storage == nil {
		c.Storage = NewMemoryStorage()
	}
	return &PocketPing{
		config: c, storage: c.Storage, bridges: c.Bridges,
		sockets: make(map[string]map[WebSocketConn]struct{}), files: make(map[string]*Attachment),
	}
}

var (
	lastID   int64
	lastIDMu sync.Mutex
)

func newID() string {
	lastIDMu.Lock()
	defer lastIDMu.Unlock()
	lastID = max(lastID+1, time.Now().UnixNano())
	return fmt.Sprintf("%x-%x", lastID/1_000_000, lastID%1_000_000)
}

// AddBridge adds a bridge, and calls its Init.
func (pp *PocketPing) AddBridge(ctx context.Context, b Bridge) error {
	if err := b.Init(ctx, pp); err != nil {
		return err
	}
	pp.bridges = append(pp.bridges, b)
	return nil
}

// Start calls the Init of all bridges, of those that were added too.
func (pp *PocketPing) Start(ctx context.Context) error {
	for _, b := range pp.bridges {
		if err := b.Init(ctx, pp); err != nil {
			return err
		}
	}
	return nil
}

func (pp *PocketPing) each(call func(Bridge)) {
	for _, b := range pp.bridges {
		go call(b)
	}
}

// HandleConnect finds or makes a session.
func (pp *PocketPing) HandleConnect(ctx context.Context, r ConnectRequest) (*ConnectResponse, error) {
	var s *Session
	var err error
	if r.SessionID != "" {
		if s, err = pp.storage.GetSession(ctx, r.SessionID); err != nil {
			return nil, err
		}
	}
	if s == nil {
		if s, err = pp.storage.GetSessionByVisitorID(ctx, r.VisitorID); err != nil {
			return nil, err
		}
	}
	if s == nil {
		s = &Session{
			ID: newID(), VisitorID: r.VisitorID, CreatedAt: time.Now(), LastActivity: time.Now(), OperatorOnline: pp.operatorOnline,
			Metadata: r.Metadata, Identity: r.Identity,
		}
		if err := pp.storage.CreateSession(ctx, s); err != nil {
			return nil, err
		}
		pp.each(func(b Bridge) { _ = b.OnNewSession(ctx, s) })
	} else if r.Metadata != nil || r.Identity != nil {
		if r.Metadata != nil {
			s.Metadata = r.Metadata
		}
		if r.Identity != nil {
			s.Identity = r.Identity
		}
		s.LastActivity = time.Now()
		if err := pp.storage.UpdateSession(ctx, s); err != nil {
			return nil, err
		}
	}
	messages, err := pp.storage.GetMessages(ctx, s.ID, "", 50)
	return &ConnectResponse{s.ID, s.VisitorID, pp.operatorOnline, messages}, err
}

// HandleMessage takes a message.
func (pp *PocketPing) HandleMessage(ctx context.Context, r SendMessageRequest) (*SendMessageResponse, error) {
	if len(r.Content) > 4000 {
		return nil, ErrContentTooLong
	}
	s, err := pp.session(ctx, r.SessionID)
	if err != nil {
		return nil, err
	}
	m := &Message{
		ID: newID(), SessionID: s.ID, Content: r.Content, Sender: r.Sender, Timestamp: time.Now(), ReplyTo: r.ReplyTo, Status: StatusSent,
		Attachments: append(r.Attachments, pp.link(r.AttachmentIDs)...),
	}
	if err := pp.storage.SaveMessage(ctx, m); err != nil {
		return nil, err
	}
	s.LastActivity = m.Timestamp
	if r.Sender == SenderOperator && s.AIActive {
		s.AIActive = false
	}
	if err := pp.storage.UpdateSession(ctx, s); err != nil {
		return nil, err
	}
	if r.Sender == SenderVisitor {
		pp.each(func(b Bridge) { _ = b.OnVisitorMessage(ctx, m, s) })
	}
	pp.BroadcastToSession(s.ID, WebSocketEvent{"message", m})
	if pp.config.OnMessage != nil {
		pp.config.OnMessage(m, s)
	}
	if r.Sender == SenderVisitor {
		pp.answerByAI(ctx, s)
	}
	return &SendMessageResponse{m.ID, m.Timestamp}, nil
}

func (pp *PocketPing) answerByAI(ctx context.Context, s *Session) {
	if pp.config.AIProvider == nil || pp.operatorOnline {
		return
	}
	messages, _ := pp.storage.GetMessages(ctx, s.ID, "", 50)
	text, err := pp.config.AIProvider.GenerateResponse(ctx, messages, "")
	if err != nil || text == "" {
		return
	}
	s.AIActive = true
	m := &Message{ID: newID(), SessionID: s.ID, Content: text, Sender: SenderAI, Timestamp: time.Now(), Status: StatusSent}
	if pp.storage.UpdateSession(ctx, s) != nil || pp.storage.SaveMessage(ctx, m) != nil {
		return
	}
	pp.BroadcastToSession(s.ID, WebSocketEvent{"message", m})
	pp.each(func(b Bridge) { _ = b.OnOperatorMessage(ctx, m, s, "ai", "AI") })
}

func (pp *PocketPing) session(ctx context.Context, id string) (*Session, error) {
	s, err := pp.storage.GetSession(ctx, id)
	if err == nil && s == nil {
		err = ErrSessionNotFound
	}
	return s, err
}

// HandleTyping tells the session's sockets.
func (pp *PocketPing) HandleTyping(_ context.Context, r TypingRequest) error {
	pp.BroadcastToSession(r.SessionID, WebSocketEvent{"typing", map[string]any{
		"sessionId": r.SessionID, "sender": r.Sender, "isTyping": r.IsTyping,
	}})
	return nil
}

// HandlePresence says who is there.
func (pp *PocketPing) HandlePresence(context.Context) *PresenceResponse {
	return &PresenceResponse{pp.operatorOnline}
}

func (pp *PocketPing) own(ctx context.Context, session, id string) (*Message, error) {
	if _, err := pp.session(ctx, session); err != nil {
		return nil, err
	}
	m, err := pp.storage.GetMessage(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case m == nil || m.SessionID != session:
		return nil, ErrMessageNotFound
	case m.Sender != SenderVisitor:
		return nil, ErrUnauthorized
	}
	return m, nil
}

// HandleEditMessage edits a visitor's message.
func (pp *PocketPing) HandleEditMessage(ctx context.Context, r EditMessageRequest) (*EditMessageResponse, error) {
	m, err := pp.own(ctx, r.SessionID, r.MessageID)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(r.Content) == "" || m.DeletedAt != nil {
		return nil, ErrMessageNotFound
	}
	now := time.Now()
	m.Content, m.EditedAt = r.Content, &now
	if err := pp.storage.UpdateMessage(ctx, m); err != nil {
		return nil, err
	}
	pp.each(func(b Bridge) {
		if b, ok := b.(EditDeleteBridge); ok {
			_, _ = b.OnMessageEdit(ctx, r.SessionID, r.MessageID, r.Content, now)
		}
	})
	pp.BroadcastToSession(r.SessionID, WebSocketEvent{"message_edited", map[string]any{
		"messageId": r.MessageID, "content": r.Content, "editedAt": now.Format(time.RFC3339),
	}})
	return &EditMessageResponse{EditedMessage{m.ID, m.Content, now}}, nil
}

// HandleDeleteMessage deletes a visitor's message.
func (pp *PocketPing) HandleDeleteMessage(ctx context.Context, r DeleteMessageRequest) (*DeleteMessageResponse, error) {
	m, err := pp.own(ctx, r.SessionID, r.MessageID)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	pp.each(func(b Bridge) {
		if b, ok := b.(EditDeleteBridge); ok {
			_ = b.OnMessageDelete(ctx, r.SessionID, r.MessageID, now)
		}
	})
	m.DeletedAt = &now
	if err := pp.storage.UpdateMessage(ctx, m); err != nil {
		return nil, err
	}
	pp.BroadcastToSession(r.SessionID, WebSocketEvent{"message_deleted", map[string]any{
		"messageId": r.MessageID, "deletedAt": now.Format(time.RFC3339),
	}})
	return &DeleteMessageResponse{true}, nil
}

// HandleRead takes a visitor's receipts.
func (pp *PocketPing) HandleRead(ctx context.Context, r ReadRequest) (*ReadResponse, error) {
	if _, err := pp.session(ctx, r.SessionID); err != nil {
		return nil, err
	}
	if r.Status == "" {
		r.Status = StatusRead
	}
	now, updated := time.Now(), 0
	for _, id := range r.MessageIDs {
		m, err := pp.storage.GetMessage(ctx, id)
		if err != nil || m == nil || m.SessionID != r.SessionID {
			continue
		}
		m.Status, m.DeliveredAt = r.Status, &now
		if r.Status == StatusRead {
			m.ReadAt = &now
		}
		if pp.storage.SaveMessage(ctx, m) == nil {
			updated++
		}
	}
	if updated > 0 {
		pp.BroadcastToSession(r.SessionID, WebSocketEvent{"read", map[string]any{
			"sessionId": r.SessionID, "messageIds": r.MessageIDs, "status": r.Status, "readAt": now.Format(time.RFC3339),
		}})
		pp.each(func(b Bridge) { _ = b.OnMessageRead(ctx, r.SessionID, r.MessageIDs, r.Status) })
	}
	return &ReadResponse{updated}, nil
}

// HandleIdentify takes who the visitor is.
func (pp *PocketPing) HandleIdentify(ctx context.Context, r IdentifyRequest) (*IdentifyResponse, error) {
	s, err := pp.session(ctx, r.SessionID)
	if err != nil {
		return nil, err
	}
	if r.Identity == nil || r.Identity.ID == "" {
		return nil, errors.New("identity.id is required")
	}
	s.Identity, s.LastActivity = r.Identity, time.Now()
	if err := pp.storage.UpdateSession(ctx, s); err != nil {
		return nil, err
	}
	pp.each(func(b Bridge) { _ = b.OnIdentityUpdate(ctx, s) })
	return &IdentifyResponse{true}, nil
}

// RequestCsat asks for a rating.
func (pp *PocketPing) RequestCsat(ctx context.Context, id string) error {
	s, err := pp.session(ctx, id)
	if err != nil {
		return err
	}
	now := time.Now()
	if s.Csat == nil {
		s.Csat = &Csat{}
	}
	s.Csat.Pending, s.Csat.RequestedAt = true, &now
	if err := pp.storage.UpdateSession(ctx, s); err != nil {
		return err
	}
	pp.BroadcastToSession(id, WebSocketEvent{"csat_request", map[string]any{"requestedAt": now.Format(time.RFC3339)}})
	return nil
}

// HandleCsat takes a rating.
func (pp *PocketPing) HandleCsat(ctx context.Context, r CsatRequest) (*CsatResponse, error) {
	s, err := pp.session(ctx, r.SessionID)
	if err != nil {
		return nil, err
	}
	if r.Score < 1 || r.Score > 5 {
		return nil, ErrScore
	}
	if s.Csat != nil && s.Csat.RespondedAt != nil {
		return &CsatResponse{true, true}, nil
	}
	now := time.Now()
	if s.Csat == nil {
		s.Csat = &Csat{}
	}
	s.Csat.Pending, s.Csat.Score, s.Csat.RespondedAt = false, &r.Score, &now
	if r.Comment != "" {
		s.Csat.Comment = &r.Comment
	}
	if err := pp.storage.UpdateSession(ctx, s); err != nil {
		return nil, err
	}
	for _, b := range pp.bridges {
		if b, ok := b.(NotifyBridge); ok {
			_ = b.Notify(ctx, s, fmt.Sprintf("⭐ %d/5", r.Score))
		}
	}
	return &CsatResponse{OK: true}, nil
}

// HandleCustomEvent takes an event of a page's.
func (pp *PocketPing) HandleCustomEvent(ctx context.Context, id string, e CustomEvent) error {
	s, err := pp.session(ctx, id)
	if err != nil {
		return err
	}
	e.SessionID = id
	pp.each(func(b Bridge) { _ = b.OnCustomEvent(ctx, e, s) })
	return nil
}

// TriggerEvent is an event of the app's.
func (pp *PocketPing) TriggerEvent(ctx context.Context, id, name string, data map[string]any) error {
	return pp.HandleCustomEvent(ctx, id, CustomEvent{Name: name, Data: data, Timestamp: time.Now()})
}

// SendOperatorMessage is an operator's word from the app, or from another bridge.
func (pp *PocketPing) SendOperatorMessage(ctx context.Context, id, content, source, name string) (*Message, error) {
	r, err := pp.HandleMessage(ctx, SendMessageRequest{SessionID: id, Content: content, Sender: SenderOperator})
	if err != nil {
		return nil, err
	}
	m := &Message{ID: r.MessageID, SessionID: id, Content: content, Sender: SenderOperator, Timestamp: r.Timestamp}
	if s, err := pp.storage.GetSession(ctx, id); err == nil && s != nil {
		pp.each(func(b Bridge) { _ = b.OnOperatorMessage(ctx, m, s, source, name) })
	}
	return m, nil
}

// GetSession finds a session; nil when there is none.
func (pp *PocketPing) GetSession(ctx context.Context, id string) (*Session, error) {
	return pp.storage.GetSession(ctx, id)
}

// GetStorage returns the storage.
func (pp *PocketPing) GetStorage() Storage { return pp.storage }

// SetOperatorOnline sets the team's status, and tells every socket.
func (pp *PocketPing) SetOperatorOnline(online bool) {
	pp.operatorOnline = online
	pp.mu.RLock()
	var ids []string
	for id := range pp.sockets {
		ids = append(ids, id)
	}
	pp.mu.RUnlock()
	for _, id := range ids {
		pp.BroadcastToSession(id, WebSocketEvent{"presence", map[string]any{"online": online}})
	}
}

// IsOperatorOnline is the team's status.
func (pp *PocketPing) IsOperatorOnline() bool { return pp.operatorOnline }

// RegisterWebSocket adds a socket.
func (pp *PocketPing) RegisterWebSocket(id string, c WebSocketConn) {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if pp.sockets[id] == nil {
		pp.sockets[id] = make(map[WebSocketConn]struct{})
	}
	pp.sockets[id][c] = struct{}{}
}

// UnregisterWebSocket removes a socket.
func (pp *PocketPing) UnregisterWebSocket(id string, c WebSocketConn) {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	if delete(pp.sockets[id], c); len(pp.sockets[id]) == 0 {
		delete(pp.sockets, id)
	}
}

// BroadcastToSession sends an event to a session's sockets.
func (pp *PocketPing) BroadcastToSession(id string, e WebSocketEvent) {
	pp.mu.RLock()
	var all []WebSocketConn
	for c := range pp.sockets[id] {
		all = append(all, c)
	}
	pp.mu.RUnlock()
	for _, c := range all {
		if c.WriteJSON(e) != nil {
			pp.UnregisterWebSocket(id, c)
		}
	}
}

// HandleUploadRequest announces a file.
func (pp *PocketPing) HandleUploadRequest(ctx context.Context, r UploadRequest) (*UploadResponse, error) {
	if _, err := pp.session(ctx, r.SessionID); err != nil {
		return nil, err
	}
	a := &Attachment{
		ID: newID(), Filename: r.Filename, MimeType: r.MimeType, Size: r.Size, Status: "pending", CreatedAt: time.Now(), UploadedFrom: "widget",
	}
	a.URL = strings.TrimRight(pp.config.UploadBaseURL, "/") + "/" + a.ID
	pp.mu.Lock()
	defer pp.mu.Unlock()
	pp.files[a.ID] = a
	return &UploadResponse{a.ID, a.URL, time.Now().Add(15 * time.Minute)}, nil
}

// HandleUploadComplete marks a file as there.
func (pp *PocketPing) HandleUploadComplete(_ context.Context, id string) (*Attachment, error) {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	a := pp.files[id]
	if a == nil {
		return nil, errors.New("attachment not found")
	}
	a.Status = "ready"
	c := *a
	return &c, nil
}

func (pp *PocketPing) link(ids []string) []Attachment {
	pp.mu.Lock()
	defer pp.mu.Unlock()
	var out []Attachment
	for _, id := range ids {
		if a := pp.files[id]; a != nil {
			out = append(out, *a)
		}
	}
	return out
}
