package site

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/bridge"
)

type messageRequest struct {
	SessionID     string   `json:"sessionId"`
	Content       string   `json:"content"`
	AttachmentIDs []string `json:"attachmentIds"`
	ReplyTo       any      `json:"replyTo"`
}

type messageAnswer struct {
	MessageID   string       `json:"messageId"`
	Timestamp   string       `json:"timestamp"`
	Attachments []attachment `json:"attachments"`
}

// message takes what a visitor says. A widget whose message is refused loses its text, so that it is taken whenever it can be stored.
// Until it is answered, and for a moment more, polls do not show it: the widget would show it twice.
func (d *Door) message(w http.ResponseWriter, r *http.Request) {
	answer, done, err := d.say(r)
	d.reply(w, r, answer, err)
	if done != nil {
		done()
	}
}

func (d *Door) say(r *http.Request) (answer messageAnswer, done func(), err error) {
	var req messageRequest
	ctx := r.Context()
	v, err := d.asked(r, maxMessageBody, &req, &req.SessionID)
	if err != nil {
		return answer, nil, err
	}
	if wait := d.limits.message(v.ID, d.address(r), time.Now()); wait > 0 {
		return answer, nil, &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: "too many messages", retry: wait}
	}
	files, err := d.filesOf(ctx, v, req.AttachmentIDs)
	if err != nil {
		return answer, nil, err
	}
	if strings.TrimSpace(req.Content) == "" && len(files) == 0 {
		return answer, nil, bad("content", "is required")
	}
	for i := range files {
		files[i].URL = d.fileURL(r, files[i].ID, files[i].Filename)
	}
	replyTo, _ := req.ReplyTo.(string)
	if !bridge.PrintableID(replyTo) {
		replyTo = ""
	}
	var ids []string
	for i, text := range parts(req.Content) {
		m := bridge.Message{
			ID: rand.Text(), SessionID: v.ID, Content: text, Sender: bridge.SenderVisitor, Timestamp: bridge.WireTime(time.Now()),
		}
		if i == 0 {
			m.ReplyTo, m.Attachments = replyTo, files
			answer = messageAnswer{MessageID: m.ID, Timestamp: m.Timestamp, Attachments: d.attachments(r, files)}
		}
		ids = append(ids, m.ID)
		d.hub.posting(v.ID, m.ID)
		if err = d.sayOne(ctx, v, m, files); err != nil && i == 0 {
			d.hub.posted(v.ID, ids...)
			return messageAnswer{}, nil, err
		}
	}
	return answer, func() { time.AfterFunc(postedAfter, func() { d.hub.posted(v.ID, ids...) }) }, nil
}

// postedAfter is how long after its answer a message is left out of polls: the page may have the answer later than a poll's.
const postedAfter = time.Second

// sayOne hands a message over. With the first message of a session that is not stored yet, the session is.
func (d *Door) sayOne(ctx context.Context, v *visitor, m bridge.Message, files []bridge.Attachment) error {
	event := func(v *visitor) map[string]any {
		return map[string]any{"type": bridge.TypeVisitorMessage, "message": m, "session": v.session()}
	}
	if v.raw != nil {
		return d.ingest(ctx, event(v), func(in *bridge.Inbound) { in.Rows = d.sentRows(v.ID, files) })
	}
	_, err := d.change(ctx, v.ID, func(v *visitor) (map[string]any, []bridge.Row, bool) {
		if v.Created.IsZero() {
			v.Created = time.Now().UTC()
			v.Connected = v.Created
		}
		return event(v), d.sentRows(v.ID, files), true
	})
	return err
}

// parts cuts a text that is longer than one message may be.
func parts(text string) []string {
	var out []string
	for utf8.RuneCountInString(text) > bridge.MaxContent {
		cut := 0
		for range bridge.MaxContent {
			_, n := utf8.DecodeRuneInString(text[cut:])
			cut += n
		}
		out, text = append(out, text[:cut]), text[cut:]
	}
	return append(out, text)
}

// own returns a message of the visitor's that the session has.
func (d *Door) own(ctx context.Context, session, id string) (*bridge.TranscriptMessage, error) {
	if !bridge.PrintableID(id) {
		return nil, bad("messageId", "must be the id of a message")
	}
	found, err := d.o.Transcripts.TranscriptOf(ctx, session, id)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].Sender == bridge.SenderVisitor {
			return &found[i], nil
		}
	}
	return nil, &problem{status: http.StatusNotFound, code: "unknown_message", text: "the visitor has written no such message"}
}

func (d *Door) edit(r *http.Request) (any, error) {
	var req messageRequest
	v, err := d.asked(r, maxMessageBody, &req, &req.SessionID)
	if err != nil {
		return nil, err
	}
	if wait := d.limits.message(v.ID, d.address(r), time.Now()); wait > 0 {
		return nil, &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: "too many messages", retry: wait}
	}
	m, err := d.own(r.Context(), v.ID, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(req.Content)
	switch {
	case m.DeletedAt != "":
		return nil, &problem{status: http.StatusConflict, code: "deleted", text: "the message was deleted"}
	case text == "":
		return nil, bad("content", "is required")
	case utf8.RuneCountInString(text) > bridge.MaxContent:
		return nil, bad("content", "is too long")
	}
	at := bridge.WireTime(time.Now())
	err = d.ingest(r.Context(), map[string]any{
		"type": bridge.TypeVisitorEdited, "sessionId": v.ID, "messageId": m.ID, "content": text, "editedAt": at,
	})
	type edited struct {
		ID       string `json:"id"`
		Content  string `json:"content"`
		EditedAt string `json:"editedAt"`
	}
	return struct {
		Message edited `json:"message"`
	}{edited{m.ID, text, at}}, err
}

func (d *Door) remove(r *http.Request) (any, error) {
	v, err := d.known(r.Context(), r.URL.Query().Get("sessionId"))
	if err != nil {
		return nil, err
	}
	m, err := d.own(r.Context(), v.ID, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if m.DeletedAt == "" {
		err = d.ingest(r.Context(), map[string]any{
			"type": bridge.TypeVisitorDeleted, "sessionId": v.ID, "messageId": m.ID, "deletedAt": bridge.WireTime(time.Now()),
		})
		if err == nil {
			d.dropFiles(r.Context(), v.ID, m.Attachments)
		}
	}
	return struct {
		Deleted bool `json:"deleted"`
	}{true}, err
}

// typing is called with every key, and is never an error for a session that there is.
func (d *Door) typing(r *http.Request) (any, error) {
	var req struct {
		SessionID string `json:"sessionId"`
		IsTyping  bool   `json:"isTyping"`
	}
	if err := d.body(r, maxBody, &req); err != nil {
		return nil, err
	}
	if !d.hub.typingDue(req.SessionID, time.Now()) { // it was known a moment ago
		return ok{true}, nil
	}
	v, err := d.known(r.Context(), req.SessionID)
	if err != nil {
		return nil, err
	}
	d.hub.typed(v.ID, time.Now())
	if !req.IsTyping {
		return ok{true}, nil
	}
	return ok{true}, d.ingest(r.Context(), map[string]any{"type": bridge.TypeVisitorTyping, "sessionId": v.ID, "isTyping": true})
}

// read notes which operators' messages the visitor has seen. A widget asks for all that it holds as not read, again and again; what is
// read already is not told again.
func (d *Door) read(r *http.Request) (any, error) {
	var req struct {
		SessionID  string   `json:"sessionId"`
		MessageIDs []string `json:"messageIds"`
		Status     string   `json:"status"`
	}
	v, err := d.asked(r, maxBody, &req, &req.SessionID)
	if err != nil {
		return nil, err
	}
	status := "read"
	if req.Status == "delivered" {
		status = req.Status
	}
	n, err := d.receipt(r.Context(), v.ID, status, req.MessageIDs)
	return struct {
		Updated int `json:"updated"`
	}{n}, err
}

// receipt tells that operators' messages have come to be delivered or read, of those for which it is new.
func (d *Door) receipt(ctx context.Context, session, status string, ids []string) (int, error) {
	var asked []string
	for _, id := range ids {
		if bridge.PrintableID(id) && len(asked) < bridge.MaxReceipts {
			asked = append(asked, id)
		}
	}
	if len(asked) == 0 {
		return 0, nil
	}
	found, err := d.o.Transcripts.TranscriptOf(ctx, session, asked...)
	if err != nil {
		return 0, err
	}
	var fresh []string
	for _, m := range found {
		if m.Sender != bridge.SenderVisitor && m.Status != "read" && m.Status != status {
			fresh = append(fresh, m.ID)
		}
	}
	if len(fresh) == 0 {
		return 0, nil
	}
	return len(fresh), d.ingest(ctx, map[string]any{
		"type": bridge.TypeMessageRead, "sessionId": session, "messageIds": fresh, "status": status,
		status + "At": bridge.WireTime(time.Now()),
	})
}

// poll gives what was said or changed since a time that the widget takes from the messages that it holds. One of those times may be its
// own clock's, so that it is capped, and rather too much is given than too little: what comes twice has the same id.
func (d *Door) poll(r *http.Request) (any, error) {
	q := r.URL.Query()
	ctx, now := r.Context(), time.Now()
	session := q.Get("sessionId")
	v, err := d.known(ctx, session)
	if err != nil {
		return nil, err
	}
	d.visits.sign(v.ID, now)
	after, err := d.after(ctx, v.ID, q.Get("after"), now)
	if err != nil {
		return nil, err
	}
	type answer struct {
		Messages []message `json:"messages"`
		HasMore  bool      `json:"hasMore"`
	}
	out := answer{Messages: []message{}}
	if d.hub.unchanged(v.ID, after) {
		d.hub.answered(v.ID, now)
		return out, nil
	}
	page, err := d.o.Transcripts.Transcript(ctx, bridge.TranscriptQuery{Session: v.ID, Limit: historyPage})
	if err != nil {
		return nil, err
	}
	waiting := d.hub.posts(v.ID)
	var delivered []string
	shaped := d.shape(ctx, v.ID, r, page.Messages)
	for i, m := range shown(page.Messages) {
		if !m.Changed.After(after) || waiting[m.ID] ||
			d.o.Several && m.Sender == bridge.SenderVisitor && now.Sub(m.Accepted) < 3*time.Second {
			continue
		}
		out.Messages = append(out.Messages, shaped[i])
		if m.Sender != bridge.SenderVisitor && m.Status == "sent" {
			delivered = append(delivered, m.ID)
		}
	}
	d.hub.answered(v.ID, now)
	if len(delivered) > 0 {
		_, _ = d.receipt(ctx, v.ID, "delivered", delivered) // what could not be noted now is with the next poll
	}
	return out, nil
}

// after is what a poll's answer goes back to. Widgets before 1.2 name a message in place of a time.
func (d *Door) after(ctx context.Context, session, asked string, now time.Time) (time.Time, error) {
	if asked == "" {
		return time.Time{}, nil
	}
	at, ok := bridge.Time(asked)
	if !ok {
		if !bridge.PrintableID(asked) {
			return time.Time{}, nil
		}
		found, err := d.o.Transcripts.TranscriptOf(ctx, session, asked)
		if err != nil || len(found) == 0 {
			return time.Time{}, err
		}
		at = found[len(found)-1].Accepted
	}
	answered := d.hub.answeredBefore(session, now)
	for _, bound := range []time.Time{answered, now} {
		if at.After(bound) {
			at = bound
		}
	}
	return at.Add(-pollMargin), nil
}

// pollMargin is how much further back a poll's answer goes, for what was accepted while the one before it was given.
const pollMargin = 5 * time.Second
