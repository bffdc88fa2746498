package site

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// message is a message as the widget knows it.
type message struct {
	ID          string       `json:"id"`
	SessionID   string       `json:"sessionId"`
	Content     string       `json:"content"`
	Sender      string       `json:"sender"`
	Timestamp   string       `json:"timestamp"`
	Status      string       `json:"status"`
	DeliveredAt string       `json:"deliveredAt,omitempty"`
	ReadAt      string       `json:"readAt,omitempty"`
	EditedAt    string       `json:"editedAt,omitempty"`
	DeletedAt   string       `json:"deletedAt,omitempty"`
	ReplyTo     *replyTo     `json:"replyTo,omitempty"`
	Attachments []attachment `json:"attachments,omitempty"`
}

// replyTo is what a message replies to, as the widget quotes it.
type replyTo struct {
	ID             string `json:"id"`
	Content        string `json:"content"`
	Sender         string `json:"sender"`
	Deleted        bool   `json:"deleted,omitempty"`
	HasAttachment  bool   `json:"hasAttachment,omitempty"`
	AttachmentType string `json:"attachmentType,omitempty"`
}

// attachment is a file as the widget shows it. Its type is always a text, its URL always whole.
type attachment struct {
	ID           string `json:"id"`
	Filename     string `json:"filename"`
	MimeType     string `json:"mimeType"`
	Size         int64  `json:"size"`
	URL          string `json:"url"`
	ThumbnailURL string `json:"thumbnailUrl,omitempty"`
	Status       string `json:"status"`
}

// shown are the messages that are for the visitor.
func shown(all []bridge.TranscriptMessage) []bridge.TranscriptMessage {
	return slices.DeleteFunc(slices.Clone(all), func(m bridge.TranscriptMessage) bool {
		return m.Sender != bridge.SenderVisitor && m.Sender != bridge.SenderOperator && m.Sender != bridge.SenderAI
	})
}

// mergedWithin is how near to each other two answers with the same text are one for the widget.
const mergedWithin = 2 * time.Second

// spacing keeps answers with the same text apart for the widget: photos of an album have none, and only the last would be shown.
type spacing map[string]time.Time

func (s spacing) at(m *bridge.TranscriptMessage) time.Time {
	at := m.Accepted.Truncate(time.Millisecond)
	key := string(m.Sender) + "\n" + m.Content
	last, there := s[key]
	if there && at.Sub(last) <= mergedWithin {
		at = last.Add(mergedWithin + time.Millisecond)
	}
	s[key] = at
	return at
}

// shape returns those of some messages of a session that are for the visitor, in the widget's form.
func (d *Door) shape(ctx context.Context, session string, r *http.Request, all []bridge.TranscriptMessage) []message {
	return d.shapeAfter(ctx, session, r, all, spacing{})
}

func (d *Door) shapeAfter(ctx context.Context, session string, r *http.Request, all []bridge.TranscriptMessage, apart spacing) []message {
	replies := d.replies(ctx, session, all)
	visible := shown(all)
	out := make([]message, 0, len(visible))
	for i := range visible {
		m := &visible[i]
		w := message{
			ID: m.ID, SessionID: session, Content: m.Content, Sender: string(m.Sender), Timestamp: m.Timestamp, Status: m.Status,
			DeliveredAt: m.DeliveredAt, ReadAt: m.ReadAt, EditedAt: m.EditedAt, DeletedAt: m.DeletedAt,
			Attachments: d.attachments(r, m.Attachments), ReplyTo: replies[m.ID],
		}
		if m.Sender != bridge.SenderVisitor {
			w.Timestamp = bridge.WireTime(apart.at(m))
		}
		out = append(out, w)
	}
	return out
}

// replies returns what messages reply to, by their ids. What cannot be found is not shown.
func (d *Door) replies(ctx context.Context, session string, all []bridge.TranscriptMessage) map[string]*replyTo {
	known := map[string]*bridge.TranscriptMessage{}
	for i := range all {
		known[all[i].ID] = &all[i]
	}
	var missing []string
	for _, m := range all {
		if m.ReplyTo != "" && known[m.ReplyTo] == nil {
			missing = append(missing, m.ReplyTo)
		}
	}
	if len(missing) > 0 {
		if found, err := d.o.Transcripts.TranscriptOf(ctx, session, missing...); err == nil {
			for i := range found {
				known[found[i].ID] = &found[i]
			}
		}
	}
	out := map[string]*replyTo{}
	for _, m := range all {
		of := known[m.ReplyTo]
		if m.ReplyTo == "" || of == nil {
			continue
		}
		quote := &replyTo{ID: of.ID, Content: of.Content, Sender: string(of.Sender), Deleted: of.DeletedAt != "", HasAttachment: len(of.Attachments) > 0}
		if quote.HasAttachment {
			quote.AttachmentType = of.Attachments[0].MimeType
		}
		out[m.ID] = quote
	}
	return out
}

// attachments are files in the widget's form. Links to operators' files expire, so that they are made anew; visitors' files are the
// door's own.
func (d *Door) attachments(r *http.Request, files []bridge.Attachment) []attachment {
	out := make([]attachment, 0, len(files))
	for _, f := range files {
		url := f.URL
		if d.o.FileLink != nil && f.BridgeFileID != "" && f.UploadedFrom != fromWidget {
			url = d.o.FileLink(f.UploadedFrom, f)
		}
		if f.UploadedFrom == fromWidget && url == "" {
			url = d.fileURL(r, f.ID, f.Filename)
		}
		out = append(out, attachment{
			ID: f.ID, Filename: cmp.Or(f.Filename, "file"), MimeType: cmp.Or(f.MimeType, "application/octet-stream"), Size: f.Size, URL: url,
			ThumbnailURL: f.ThumbnailURL, Status: "ready",
		})
	}
	return out
}

// fromWidget marks the files that visitors have uploaded here.
const fromWidget = "widget"

// base is the door's own address, absolute: the widget takes every other URL as relative to its page.
func (d *Door) base(r *http.Request) string {
	if d.o.PublicURL != "" || r == nil {
		return d.o.PublicURL + d.o.Path
	}
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + r.Host + d.o.Path
}
