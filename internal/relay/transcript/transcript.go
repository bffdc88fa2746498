// Package transcript keeps what is said in a session with it, where that is asked for: written in the commit of the event that says
// it, read by the site's widget and by app servers. It is the session's own and goes when the session goes. It knows events and
// rows, and neither lanes nor platforms.
package transcript

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/relay/msgmap"
)

const (
	// tableTranscript holds the messages: as msgmap.Ref.Key says → transcribed. Beside a message stand moments, when something became of it: the
	// message's key with one of the endings below → time.
	tableTranscript = "transcript"
	// tableOrder has a session's messages in order, the newest first: key as orderKey makes it, value nothing.
	tableOrder = "by-transcript"

	wasDelivered = "\ndelivered"
	wasRead      = "\nread"
	wasChanged   = "\nchanged" // edited or deleted
)

// transcribed is a message as it was accepted; of one that was deleted, without its text and files.
type transcribed struct {
	At        uint64              `json:"at"` // its place among the session's, microseconds
	ID        string              `json:"id"`
	Sender    bridge.Sender       `json:"sender"`
	Content   string              `json:"content,omitempty"`
	Timestamp string              `json:"timestamp,omitempty"` // its author's, where that is told
	ReplyTo   string              `json:"replyTo,omitempty"`
	Files     []bridge.Attachment `json:"files,omitempty"`

	OperatorName string `json:"operatorName,omitempty"`
	OperatorID   string `json:"operatorId,omitempty"`
	SourceBridge string `json:"sourceBridge,omitempty"`
}

// orderKey is session, line feed, a number that is the smaller the later the message is, line feed, the message's side, line feed,
// its id.
func orderKey(session string, at uint64, m msgmap.Ref) string {
	const most = 9_999_999_999_999_999 // 16 digits
	return fmt.Sprintf("%s\n%016d\n%s\n%s", session, most-min(at, most), m.Side, m.ID)
}

// orderRow reads a row of tableOrder; ok is false for one of another session.
func orderRow(key, session string) (m msgmap.Ref, ok bool) {
	rest, ok := strings.CutPrefix(key, session+"\n")
	_, rest, found := strings.Cut(rest, "\n")
	by, id, whole := strings.Cut(rest, "\n")
	return msgmap.Ref{Side: msgmap.Side(by), ID: id}, ok && found && whole
}

// Store is what transcripts need of the store; package store says what each method promises.
type Store interface {
	msgmap.Store
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
}

// Transcripts writes and reads what is said. Its methods may be called from several goroutines.
type Transcripts struct {
	store     Store
	revisions msgmap.Revisions
	writes    bool
	platforms []string
	newest    func() bridge.Seq

	mu   sync.Mutex
	last uint64 // the place that was given last
}

// New returns the transcripts of a store. writes: what is said is kept from now on; without it, what was kept can be read still.
// newest is the last event of the log that this process has seen.
func New(s Store, writes bool, platforms []string, newest func() bridge.Seq) *Transcripts {
	return &Transcripts{store: s, revisions: msgmap.Revisions{Store: s}, writes: writes, platforms: platforms, newest: newest}
}

// next gives a message its place among all: by the store's clock, after all that this process has seen of the log and all that it
// gave before.
func (r *Transcripts) next(now time.Time) uint64 {
	newest := r.newest()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last+1, uint64(bridge.SeqAt(now)), uint64(newest)+1)
	return r.last
}

// Rows returns the rows by which events are in the transcripts, and what those must find that take something away.
func (r *Transcripts) Rows(ctx context.Context, events []bridge.Event) (rows, before []bridge.Row, err error) {
	if !r.writes {
		return nil, nil, nil
	}
	for _, e := range events {
		if e.Session == "" {
			continue
		}
		m := msgmap.RefOf(e)
		var more, was []bridge.Row
		switch e.Type {
		case bridge.TypeVisitorMessage, bridge.TypeOperatorMessage:
			more, err = r.transcribeMessage(ctx, e, m)
		case bridge.TypeVisitorEdited, bridge.TypeOperatorEdited:
			more, err = r.moments(ctx, e.Session, wasChanged, m)
		case bridge.TypeVisitorDeleted, bridge.TypeOperatorDeleted:
			more, was, err = r.transcribeDeleted(ctx, e, m)
		case bridge.TypeMessageDelivered:
			more, err = r.moments(ctx, e.Session, wasDelivered, msgmap.Visitor(e.Message))
		case bridge.TypeOperatorMessageAcked:
			more, err = r.moments(ctx, e.Session, wasDelivered, m)
		case bridge.TypeMessageRead:
			more, err = r.transcribeRead(ctx, e)
		}
		if err != nil {
			return nil, nil, err
		}
		rows, before = append(rows, more...), append(before, was...)
	}
	return rows, before, nil
}

// transcribeMessage returns the rows of a new message. One that an app repeats from a platform is there already.
func (r *Transcripts) transcribeMessage(ctx context.Context, e bridge.Event, m msgmap.Ref) ([]bridge.Row, error) {
	var w transcribed
	if e.Type == bridge.TypeOperatorMessage && e.Origin != bridge.OriginApp {
		var o bridge.OperatorMessage
		if err := json.Unmarshal(e.Body, &o); err != nil {
			return nil, nil //nolint:nilerr // its delivery will say so
		}
		w = transcribed{
			Sender: bridge.SenderOperator, Content: o.Content, ReplyTo: o.ReplyToMessageID, Files: o.Attachments,
			OperatorName: o.OperatorName, OperatorID: o.OperatorID, SourceBridge: o.SourceBridge,
		}
	} else {
		a, err := bridge.ReadAppEvent(e.Body)
		if err != nil || a.Message == nil || slices.Contains(r.platforms, a.SourceBridge) {
			return nil, nil //nolint:nilerr // as above
		}
		w = transcribed{
			Sender: a.Message.Sender, Content: a.Message.Content, ReplyTo: a.Message.ReplyTo, Files: a.Message.Attachments,
			Timestamp: a.Message.Timestamp, OperatorName: a.OperatorName, SourceBridge: a.SourceBridge,
		}
		if w.Sender == "" {
			w.Sender = bridge.Sender(m.Side)
		}
	}
	now, err := r.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	w.ID, w.At = m.ID, r.next(now)
	return []bridge.Row{
		{Table: tableTranscript, Key: m.Key(e.Session), Value: bridge.MustJSON(w), Session: e.Session},
		{Table: tableOrder, Key: orderKey(e.Session, w.At, m), Value: []byte{}, Session: e.Session},
	}, nil
}

// transcribeDeleted returns the rows of a message without its text and files.
func (r *Transcripts) transcribeDeleted(ctx context.Context, e bridge.Event, m msgmap.Ref) (rows, before []bridge.Row, err error) {
	rows, err = r.moments(ctx, e.Session, wasChanged, m)
	if err != nil {
		return nil, nil, err
	}
	w, raw, err := msgmap.Row[transcribed](ctx, r.store, tableTranscript, m.Key(e.Session))
	if err != nil || w == nil {
		return rows, nil, err
	}
	row := bridge.Row{Table: tableTranscript, Key: m.Key(e.Session), Value: raw, Session: e.Session}
	before = []bridge.Row{row}
	w.Content, w.Files = "", nil
	row.Value = bridge.MustJSON(w)
	return append(rows, row), before, nil
}

// transcribeRead returns the rows of what a message_read tells: a platform's is of the visitor's messages; an app's is of the
// operators', unless it tells that messages have arrived which only the visitor has.
func (r *Transcripts) transcribeRead(ctx context.Context, e bridge.Event) ([]bridge.Row, error) {
	var told bridge.AppEvent
	if err := json.Unmarshal(e.Body, &told); err != nil {
		return nil, nil //nolint:nilerr // its delivery will say so
	}
	by := msgmap.Visitors
	if e.Origin == bridge.OriginApp {
		by = msgmap.Operators
	}
	refs := make([]msgmap.Ref, len(told.MessageIDs))
	for i, id := range told.MessageIDs {
		refs[i] = msgmap.Ref{Side: by, ID: id}
	}
	if told.Status == "read" {
		return r.moments(ctx, e.Session, wasRead, refs...)
	}
	if by == msgmap.Operators {
		keys := make([]string, len(refs))
		for i, m := range refs {
			keys[i] = m.Key(e.Session)
		}
		there, err := r.store.GetAll(ctx, tableTranscript, keys...)
		if err != nil {
			return nil, err
		}
		for i := range refs {
			if there[i] == nil {
				refs[i].Side = msgmap.Visitors
			}
		}
	}
	return r.moments(ctx, e.Session, wasDelivered, refs...)
}

// moments returns the rows that say when something became of messages: now.
func (r *Transcripts) moments(ctx context.Context, session, what string, of ...msgmap.Ref) ([]bridge.Row, error) {
	now, err := r.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]bridge.Row, 0, len(of))
	for _, m := range of {
		if m.ID != "" {
			rows = append(rows, bridge.Row{
				Table: tableTranscript, Key: m.Key(session) + what, Value: now.UTC().AppendFormat(nil, time.RFC3339Nano), Session: session,
			})
		}
	}
	return rows, nil
}

// Transcript implements bridge.Transcripts.
func (r *Transcripts) Transcript(ctx context.Context, q bridge.TranscriptQuery) (page bridge.TranscriptPage, err error) {
	from := q.Session + "\n"
	if q.Before != "" {
		if from, err = r.placeOf(ctx, q.Session, q.Before); err != nil || from == "" {
			return page, err
		}
	}
	rows, err := r.store.List(ctx, tableOrder, from, q.Limit+1)
	if err != nil {
		return page, err
	}
	var refs []msgmap.Ref
	for _, row := range rows {
		m, ok := orderRow(row.Key, q.Session)
		if !ok {
			break
		}
		refs = append(refs, m)
	}
	if page.More = len(refs) > q.Limit; page.More {
		refs = refs[:q.Limit]
	}
	slices.Reverse(refs)
	page.Messages, err = r.readMessages(ctx, q.Session, refs)
	return page, err
}

// placeOf is a message's key in tableOrder; of two of the same id that of the later one; empty: there is none.
func (r *Transcripts) placeOf(ctx context.Context, session, id string) (key string, err error) {
	for _, m := range msgmap.Replied(msgmap.Visitors, id) {
		raw, err := r.store.Get(ctx, tableTranscript, m.Key(session))
		if err != nil {
			return "", err
		}
		var w transcribed
		if raw == nil || json.Unmarshal(raw, &w) != nil {
			continue
		}
		if k := orderKey(session, w.At, m); key == "" || k < key {
			key = k
		}
	}
	return key, nil
}

// TranscriptOf implements bridge.Transcripts.
func (r *Transcripts) TranscriptOf(ctx context.Context, session string, messages ...string) ([]bridge.TranscriptMessage, error) {
	var refs []msgmap.Ref
	for _, id := range messages {
		refs = append(refs, msgmap.Replied(msgmap.Visitors, id)...)
	}
	return r.readMessages(ctx, session, refs)
}

// readMessages returns those of some messages that there are, as they are now.
func (r *Transcripts) readMessages(ctx context.Context, session string, refs []msgmap.Ref) ([]bridge.TranscriptMessage, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	var all []string
	for _, m := range refs {
		key := m.Key(session)
		all = append(all, key, key+wasDelivered, key+wasRead, key+wasChanged)
	}
	found, err := r.store.GetAll(ctx, tableTranscript, all...)
	if err != nil {
		return nil, err
	}
	revised, err := r.revisions.All(ctx, session, refs)
	if err != nil {
		return nil, err
	}
	var out []bridge.TranscriptMessage
	for i := range refs {
		row := found[4*i : 4*i+4]
		if row[0] == nil {
			continue
		}
		m, err := readMessage(session, row, revised[i])
		if err != nil {
			return nil, fmt.Errorf("row %s of session %s: %w", tableTranscript, session, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// readMessage puts a message together: as it was written, the moments of its being delivered, read and changed, and what it was
// changed to.
func readMessage(session string, row [][]byte, now *msgmap.Revision) (m bridge.TranscriptMessage, err error) {
	var w transcribed
	if err := json.Unmarshal(row[0], &w); err != nil {
		return m, err
	}
	m.Accepted = bridge.Seq(w.At).Time()
	m.Changed = m.Accepted
	m.Message = bridge.Message{
		ID: w.ID, SessionID: session, Content: w.Content, Sender: w.Sender, Timestamp: w.Timestamp, ReplyTo: w.ReplyTo, Attachments: w.Files,
		Status: "sent",
	}
	if _, ok := bridge.Time(m.Timestamp); !ok {
		m.Timestamp = bridge.WireTime(m.Accepted)
	}
	if w.OperatorName != "" || w.OperatorID != "" || w.SourceBridge != "" {
		m.Metadata = &bridge.MessageMetadata{OperatorName: w.OperatorName, OperatorID: w.OperatorID, SourceBridge: w.SourceBridge}
	}
	var at [3]time.Time
	for i, raw := range row[1:4] {
		if raw == nil {
			continue
		}
		if at[i], err = time.Parse(time.RFC3339Nano, string(raw)); err != nil {
			return m, err
		}
		if at[i].After(m.Changed) {
			m.Changed = at[i]
		}
	}
	if !at[0].IsZero() {
		m.Status, m.DeliveredAt = "delivered", bridge.WireTime(at[0])
	}
	if !at[1].IsZero() {
		m.Status, m.ReadAt = "read", bridge.WireTime(at[1])
	}
	if now == nil {
		return m, nil
	}
	if now.Gone {
		m.Content, m.Attachments, m.DeletedAt = "", nil, bridge.WireTime(now.At)
		return m, nil
	}
	m.Content, m.EditedAt = now.Text, bridge.WireTime(now.At)
	if now.Filed {
		m.Attachments = now.Files
	}
	return m, nil
}
