package bridge

import (
	"context"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/words"
)

// TranscriptMessage is a message as its session's transcript has it: with its last text, its files and what became of it. Of one
// that was deleted nothing is left but that it was there.
type TranscriptMessage struct {
	Message
	Metadata *MessageMetadata `json:"metadata,omitempty"`

	Accepted time.Time `json:"-"` // by the log's clock
	Changed  time.Time `json:"-"` // when it last became other than it was, by the log's clock; never before Accepted
}

// Line is the message as a text has it: when, who, what, and its files, each in a line. at is when, as the text's readers read times.
func (m TranscriptMessage) Line(at string) string {
	say := words.Get()
	who := say.Visitor
	switch m.Sender {
	case SenderAI:
		who = "AI"
	case SenderSystem:
		who = say.TranscriptNotice
	case SenderOperator:
		if who = say.Operator; m.Metadata != nil && m.Metadata.OperatorName != "" {
			who = m.Metadata.OperatorName
		}
	}
	text := m.Content
	switch {
	case m.DeletedAt != "":
		text = say.TranscriptDeleted
	case m.EditedAt != "":
		text += " " + say.TranscriptEdited
	}
	// Lines of a message stand in, so that none of them looks like another message.
	line := at + " " + strings.Join(strings.Fields(who), " ") + say.Colon + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
	for _, f := range m.Attachments {
		url := f.URL
		if f.HasData() {
			url = ""
		}
		line += strings.TrimRight("    "+say.TranscriptFile+" "+strings.Join(strings.Fields(f.Filename+" "+url), " "), " ") + "\n"
	}
	return line
}

// MessageMetadata is what is known of who wrote a message that is not the visitor's.
type MessageMetadata struct {
	OperatorName string `json:"operatorName,omitempty"`
	OperatorID   string `json:"operatorId,omitempty"`
	SourceBridge string `json:"sourceBridge,omitempty"`
}

// TranscriptQuery asks for a page of a session's transcript: at most Limit messages, the newest or those before the message that
// Before names.
type TranscriptQuery struct {
	Session string
	Before  string // a message's id, or empty
	Limit   int
}

// TranscriptPage is some messages of a session, oldest first. More says that there are older ones.
type TranscriptPage struct {
	Messages []TranscriptMessage
	More     bool
}

// Transcripts are the sessions' transcripts. Their methods may be called from several goroutines.
type Transcripts interface {
	// Transcript returns a page, an empty one of a session that has no transcript or where Before is not in it. An error is the
	// store's.
	Transcript(ctx context.Context, q TranscriptQuery) (TranscriptPage, error)
	// TranscriptOf returns those of the named messages that the transcript has, of both sides, in no order.
	TranscriptOf(ctx context.Context, session string, messages ...string) ([]TranscriptMessage, error)
}
