package msgmap

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// The tables of a platform; the platform's name follows the slash.
const (
	tableThreads = "threads/" // session → Thread
	tablePlaces  = "places/"  // thread id → session
	tableShown   = "shown/"   // as Ref.Key says → Shown
	tableOrigins = "origins/" // message id on the platform → Origin
	tableNamed   = "named/"   // session → the name that a person gave its thread
	// tableQuestions holds the bridge's questions: key the question's message id, value the id of the message that it is about.
	tableQuestions = "questions/"
)

// Thread is what is kept of a session's place on a platform.
type Thread struct {
	ID       bridge.ThreadID `json:"id,omitempty"`    // empty: not open yet
	Steps    []string        `json:"steps,omitempty"` // of opening it
	Name     string          `json:"name,omitempty"`
	Names    []string        `json:"names,omitempty"`    // that we gave it before
	Card     bool            `json:"card,omitempty"`     // the card has been shown
	CardOf   string          `json:"cardOf,omitempty"`   // the message that carries the card; empty: it stands alone
	CardSide Side            `json:"cardSide,omitempty"` // whose message that is
	CardSum  string          `json:"cardSum,omitempty"`  // of what the card shows
	Identity string          `json:"identity,omitempty"` // who the visitor is, as it was last shown
	Closed   bool            `json:"shut,omitempty"`     // we have closed it
	Lost     int             `json:"lost,omitempty"`     // how many threads of the session were lost before this one
	GoneAt   time.Time       `json:"goneAt,omitzero"`    // when the last of them was lost
	Gone     []time.Time     `json:"gone,omitempty"`     // when earlier ones were lost, within the hour before GoneAt
	Flat     bool            `json:"flat,omitempty"`     // the session has no thread; it is shown in the main chat
	Rung     time.Time       `json:"rung,omitzero"`      // when everybody was called to it last
}

// GoneWithin returns the times at which threads of the session were lost, as far as they are no longer ago than that.
func (t *Thread) GoneWithin(last time.Duration, now time.Time) []time.Time {
	gone := t.Gone
	if len(gone) == 0 && !t.GoneAt.IsZero() { // written by a version that kept only the last time
		gone = []time.Time{t.GoneAt}
	}
	return slices.DeleteFunc(slices.Clone(gone), func(at time.Time) bool { return now.Sub(at) >= last })
}

// Shown describes how a message is shown on a platform, with what is needed to show it again. A card that no message carries is kept in the
// same way, with an empty message id.
type Shown struct {
	IDs   []bridge.MessageID `json:"ids"`             // of its text, part by part
	Files []bridge.MessageID `json:"files,omitempty"` // of its files
	// Caption says that the text stands beside files, in one message with them.
	Caption bool      `json:"caption,omitempty"`
	Edited  time.Time `json:"edited,omitzero"` // of the edit that is shown
	// EditSeq is the edit that is shown: of two with one time the later accepted wins. 0: none, or a version before kept none.
	EditSeq bridge.Seq          `json:"editSeq,omitempty"`
	Gone    bool                `json:"gone,omitempty"`   // it was deleted
	Author  string              `json:"author,omitempty"` // empty: the visitor
	Own     bool                `json:"own,omitempty"`    // the bridge's own, or the app's: it is nobody's word
	Card    bool                `json:"card,omitempty"`   // its first part carries the card
	Links   []bridge.Attachment `json:"links,omitempty"`
	Quote   *bridge.Quote       `json:"quote,omitempty"`
	More    string              `json:"more,omitempty"` // the line that names files that were not fetched
	// Refiled says that an edit has given it other files.
	Refiled bool   `json:"refiled,omitempty"`
	Text    string `json:"text,omitempty"` // whole where it carries the card, its beginning where the platform quotes
	// Of is the merged message that showed this one as well, until an edit made this one too long for it.
	Of bridge.MessageID `json:"of,omitempty"`
	// Merged says that its id is that of a merged message, which shows several: see Map.Merged.
	Merged bool        `json:"merged,omitempty"`
	Stamp  string      `json:"stamp,omitempty"` // when it was written, where that is shown
	Sign   bridge.Sign `json:"sign,omitempty"`  // that it carries
}

// Origin says which message of ours a platform's message shows.
type Origin struct {
	Session string `json:"session"`
	Message string `json:"message"`
	Side    Side   `json:"side,omitempty"` // of the message
	// Merged says that the platform's message shows several: see Map.Merged. Message is then the last of them.
	Merged bool `json:"merged,omitempty"`
}

// Map is what is kept of one platform. Its methods may be called from several goroutines.
type Map struct {
	platform string
	store    Store
}

// Of returns the map of a platform.
func Of(platform string, s Store) Map { return Map{platform: platform, store: s} }

// Thread returns what is kept of a session's thread; the zero Thread where nothing is.
func (m Map) Thread(ctx context.Context, session string) (Thread, error) {
	var t Thread
	_, err := get(ctx, m.store, tableThreads+m.platform, session, &t)
	return t, err
}

// Threads is Thread for several sessions.
func (m Map) Threads(ctx context.Context, sessions ...string) ([]Thread, error) {
	values, err := m.store.GetAll(ctx, tableThreads+m.platform, sessions...)
	out := make([]Thread, len(values))
	for i, value := range values {
		if value != nil {
			err = errors.Join(err, json.Unmarshal(value, &out[i]))
		}
	}
	return out, err
}

// ThreadRow keeps a session's thread.
func (m Map) ThreadRow(session string, t *Thread) bridge.Row {
	return bridge.Row{Table: tableThreads + m.platform, Key: session, Value: bridge.MustJSON(t), Session: session}
}

// SessionAt returns the session of a thread; empty when the thread belongs to none.
func (m Map) SessionAt(ctx context.Context, t bridge.ThreadID) (string, error) {
	value, err := m.store.Get(ctx, tablePlaces+m.platform, string(t))
	return string(value), err
}

// PlaceRow keeps to which session a thread belongs.
func (m Map) PlaceRow(t bridge.ThreadID, session string) bridge.Row {
	return bridge.Row{Table: tablePlaces + m.platform, Key: string(t), Value: []byte(session), Session: session}
}

// NoPlace removes what PlaceRow keeps.
func (m Map) NoPlace(t bridge.ThreadID) bridge.Row {
	return bridge.Row{Table: tablePlaces + m.platform, Key: string(t)}
}

// Shown returns what a message became on this platform; ok is false for one that is not shown.
func (m Map) Shown(ctx context.Context, session string, message Ref) (row Shown, ok bool, err error) {
	value, err := m.store.Get(ctx, tableShown+m.platform, message.Key(session))
	if err == nil && value == nil && message.ID != "" {
		value, err = m.shownEarlier(ctx, session, message)
	}
	if err != nil || value == nil {
		return row, false, err
	}
	err = json.Unmarshal(value, &row)
	return row, err == nil, err
}

// shownEarlier returns the row of a message that was written by a version without sides. It is nil when there is none, or when the message
// is of the other side.
func (m Map) shownEarlier(ctx context.Context, session string, message Ref) ([]byte, error) {
	value, err := m.store.Get(ctx, tableShown+m.platform, message.earlierKey(session))
	if err != nil || value == nil {
		return nil, err
	}
	kept, err := WithSide(ctx, m.store, session, Ref{ID: message.ID})
	if err != nil || kept != message {
		return nil, err
	}
	return value, nil
}

// ShownRow is one direction of the map, ShownRows are both.
func (m Map) ShownRow(session string, message Ref, s Shown) bridge.Row {
	return bridge.Row{Table: tableShown + m.platform, Key: message.Key(session), Value: bridge.MustJSON(s), Session: session}
}

// ShownRows keep how a message is shown, and the origin of each of its parts and files.
func (m Map) ShownRows(session string, message Ref, s Shown) []bridge.Row {
	rows := []bridge.Row{m.ShownRow(session, message, s)}
	return append(rows, m.OriginRows(session, message, s.IDs, s.Files)...)
}

// OriginRows keep the origin of the platform's messages with these ids.
func (m Map) OriginRows(session string, message Ref, ids ...[]bridge.MessageID) []bridge.Row {
	var rows []bridge.Row
	for _, id := range slices.Concat(ids...) {
		rows = append(rows, bridge.Row{
			Table: tableOrigins + m.platform, Key: string(id), Session: session,
			Value: bridge.MustJSON(Origin{Session: session, Message: message.ID, Side: message.Side}),
		})
	}
	return rows
}

// NoOrigin removes the origin of a platform's message: edits of it are ignored from then on.
func (m Map) NoOrigin(id bridge.MessageID) bridge.Row {
	return bridge.Row{Table: tableOrigins + m.platform, Key: string(id)}
}

// Origin returns the origin of a platform's message; the zero Origin when it belongs to no session.
func (m Map) Origin(ctx context.Context, id bridge.MessageID) (Origin, error) {
	var o Origin
	if _, err := get(ctx, m.store, tableOrigins+m.platform, string(id), &o); err != nil {
		return o, err
	}
	ref, err := WithSide(ctx, m.store, o.Session, Ref{o.Side, o.Message})
	o.Side = ref.Side
	return o, err
}

// AskedAbout returns the id of the message that a question of the bridge is about; empty when the message is no question.
func (m Map) AskedAbout(ctx context.Context, question bridge.MessageID) (bridge.MessageID, error) {
	value, err := m.store.Get(ctx, tableQuestions+m.platform, string(question))
	return bridge.MessageID(value), err
}

// QuestionRow keeps which message a question is about.
func (m Map) QuestionRow(question bridge.MessageID, q bridge.Question) bridge.Row {
	return bridge.Row{Table: tableQuestions + m.platform, Key: string(question), Value: []byte(q.Message), Session: q.Session}
}

// Named says whether a person renamed a session's thread. The bridge then leaves its name alone.
func (m Map) Named(ctx context.Context, session string) (bool, error) {
	value, err := m.store.Get(ctx, tableNamed+m.platform, session)
	return value != nil, err
}

// NamedRow keeps the name that a person gave a session's thread.
func (m Map) NamedRow(session, name string) bridge.Row {
	return bridge.Row{Table: tableNamed + m.platform, Key: session, Value: []byte(name), Session: session}
}

// OriginID returns the message on a platform that a row is kept of; ok is false for any other row.
func OriginID(row bridge.Row, platform string) (id bridge.MessageID, ok bool) {
	return bridge.MessageID(row.Key), row.Table == tableOrigins+platform
}

// IsShown says whether a row keeps what a message became on a platform.
func IsShown(row bridge.Row, platform string) bool { return row.Table == tableShown+platform }
