package bridge

import (
	"cmp"
	"context"
	"errors"
)

// Draft is an answer to a visitor that a program proposes. Only a person can send it.
type Draft struct {
	ID      string `json:"id"`
	Content string `json:"content"` // at most MaxDraft characters
	Author  string `json:"author"`  // who proposes it, for operators; empty: the AI
}

// MaxDraft is how long a draft may be, in characters: its name and its buttons stand with it, and it is read on a phone.
const MaxDraft = 3500

// Check says whether a draft is as it has to be. Every error is a *FieldError.
func (d Draft) Check() error {
	switch {
	case !PrintableID(d.ID):
		return &FieldError{Field: "id", Problem: "must be 1 to 128 printable characters"}
	case d.Content == "":
		return &FieldError{Field: "content", Problem: "is required"}
	}
	if fault := cmp.Or(short("content", d.Content, MaxDraft), short("author", d.Author, ShownField)); fault != nil {
		return fault
	}
	return nil
}

// DraftDone is the body of a draft_sent and of a draft_dropped: what an operator did with a draft.
type DraftDone struct {
	SessionID    string `json:"sessionId"`
	DraftID      string `json:"draftId"`
	OperatorName string `json:"operatorName"`
}

// Proposer takes drafts.
type Proposer interface {
	// Propose returns when the draft is durable, or had been before. key is the request's own with its path, or empty, and sum is of its
	// body. The error is ErrConflict, ErrNoSession or ErrUnavailable.
	Propose(ctx context.Context, session string, d Draft, key, sum string) (Accepted, error)
}

// ErrNoSession means that nothing is known of a session.
var ErrNoSession = errors.New("there is no such session")
