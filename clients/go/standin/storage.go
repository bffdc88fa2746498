package standin

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// Storage keeps sessions and messages.
type Storage interface {
	CreateSession(ctx context.Context, session *Session) error
	GetSession(ctx context.Context, sessionID string) (*Session, error)
	GetSessionByVisitorID(ctx context.Context, visitorID string) (*Session, error)
	UpdateSession(ctx context.Context, session *Session) error
	DeleteSession(ctx context.Context, sessionID string) error
	SaveMessage(ctx context.Context, message *Message) error
	UpdateMessage(ctx context.Context, message *Message) error
	GetMessages(ctx context.Context, sessionID string, after string, limit int) ([]Message, error)
	GetMessage(ctx context.Context, messageID string) (*Message, error)
	CleanupOldSessions(ctx context.Context, olderThan time.Time) (int, error)
}

// MemoryStorage hands out what it keeps. Its messages are by their session, from the oldest.
type MemoryStorage struct {
	mu       sync.RWMutex
	sessions map[string]*Session
	messages map[string][]*Message
	byID     map[string]*Message
	file     string
}

// NewMemoryStorage makes one that is gone with the process.
func NewMemoryStorage() *MemoryStorage {
	return &MemoryStorage{sessions: map[string]*Session{}, messages: map[string][]*Message{}, byID: map[string]*Message{}}
}

// NewFileStorage makes one that is written to a file at each change, as a database would keep it.
func NewFileStorage(file string) (*MemoryStorage, error) {
	m := NewMemoryStorage()
	m.file = file
	text, err := os.ReadFile(file) //nolint:gosec // a file of the test's
	if os.IsNotExist(err) {
		return m, nil
	}
	var kept struct {
		Sessions []*Session
		Messages []*Message
	}
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	for _, s := range kept.Sessions {
		m.sessions[s.ID] = s
	}
	for _, one := range kept.Messages {
		m.messages[one.SessionID] = append(m.messages[one.SessionID], one)
		m.byID[one.ID] = one
	}
	return m, err
}

// written keeps the state. The caller holds the lock.
func (m *MemoryStorage) written() error {
	if m.file == "" {
		return nil
	}
	var kept struct {
		Sessions []*Session
		Messages []*Message
	}
	for _, s := range m.sessions {
		kept.Sessions = append(kept.Sessions, s)
		kept.Messages = append(kept.Messages, m.messages[s.ID]...)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.file+".part", text, 0o600); err != nil {
		return err
	}
	return os.Rename(m.file+".part", m.file)
}

// CreateSession keeps a session.
func (m *MemoryStorage) CreateSession(_ context.Context, s *Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[s.ID] = s
	return m.written()
}

// GetSession finds a session.
func (m *MemoryStorage) GetSession(_ context.Context, id string) (*Session, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copied(m.sessions[id]), nil
}

// GetSessionByVisitorID finds a visitor's newest session.
func (m *MemoryStorage) GetSessionByVisitorID(_ context.Context, id string) (*Session, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var last *Session
	for _, s := range m.sessions {
		if s.VisitorID == id && (last == nil || s.CreatedAt.After(last.CreatedAt)) {
			last = s
		}
	}
	return copied(last), nil
}

// copied is what is given out of the storage. The SDK's own gives out what it keeps, so that two of its requests at once are a race; here a
// race is the client's.
func copied[T any](kept *T) *T {
	if kept == nil {
		return nil
	}
	out := *kept
	return &out
}

// UpdateSession keeps a session's change.
func (m *MemoryStorage) UpdateSession(ctx context.Context, s *Session) error {
	return m.CreateSession(ctx, s)
}

// DeleteSession forgets a session.
func (m *MemoryStorage) DeleteSession(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, id)
	delete(m.messages, id)
	return m.written()
}

// SaveMessage keeps a message, or its change.
func (m *MemoryStorage) SaveMessage(_ context.Context, one *Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.byID[one.ID]; known != nil {
		*known = *one
		return m.written()
	}
	m.messages[one.SessionID] = append(m.messages[one.SessionID], one)
	m.byID[one.ID] = one
	return m.written()
}

// UpdateMessage puts a message in the place of the one with its id.
func (m *MemoryStorage) UpdateMessage(_ context.Context, one *Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.messages[one.SessionID]
	for i := range all {
		if all[i].ID == one.ID {
			all[i] = one
		}
	}
	m.byID[one.ID] = one
	return m.written()
}

// GetMessages returns a session's messages behind the one with an id, from the oldest.
func (m *MemoryStorage) GetMessages(_ context.Context, session, after string, limit int) ([]Message, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if limit <= 0 {
		limit = 50
	}
	out := []Message{}
	begins := 0
	for i, one := range m.messages[session] {
		if after != "" && one.ID == after {
			begins = i + 1
		}
	}
	for _, one := range m.messages[session][begins:] {
		if len(out) < limit {
			out = append(out, *one)
		}
	}
	return out, nil
}

// GetMessage finds a message.
func (m *MemoryStorage) GetMessage(_ context.Context, id string) (*Message, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copied(m.byID[id]), nil
}

// CleanupOldSessions forgets nothing.
func (m *MemoryStorage) CleanupOldSessions(context.Context, time.Time) (int, error) { return 0, nil }
