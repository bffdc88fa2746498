package bridge

// Summary is what those who follow the log need of an app server's event. Who accepts an event has decoded it, and hands the summary on
// with it, so that nobody has to decode it again. Nothing of it is written to, and what is kept of it is copied: its texts are parts of
// the whole body.
type Summary struct {
	Message, Session bool // there is one
	Sender           Sender
	Content          string
	Attachments      []Attachment
	Sent             string // the message's own time
	CreatedAt        string // of the session
	SourceBridge     string
	RespondedAt      string
	Score            *int
}

// InShort returns the event's summary.
func (e *AppEvent) InShort() *Summary {
	s := &Summary{SourceBridge: e.SourceBridge, RespondedAt: e.RespondedAt, Score: e.Score}
	if m := e.Message; m != nil {
		s.Message, s.Sender, s.Content, s.Attachments, s.Sent = true, m.Sender, m.Content, m.Attachments, m.Timestamp
	}
	if e.Session != nil {
		s.Session, s.CreatedAt = true, e.Session.CreatedAt
	}
	return s
}

// InShort returns the summary of an app server's event: the one that was handed on with it, or what its body says.
func (e Event) InShort() (*Summary, error) {
	if e.Summary != nil {
		return e.Summary, nil
	}
	a, err := ReadAppEvent(e.Body)
	if err != nil {
		return nil, err
	}
	return a.InShort(), nil
}
