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
	CardSide Side            `json:"cardSide,omitempty"` // whose that is
	CardSum  string          `json:"cardSum,omitempty"`  // of what the card shows
	Identity string          `json:"identity,omitempty"` // who the visitor is, as it was last shown
	Closed   bool            `json:"shut,omitempty"`     // we have closed it
	Lost     int             `json:"lost,omitempty"`     // how many there were before it
	GoneAt   time.Time       `json:"goneAt,omitzero"`    // when the one before it went
	Gone     []time.Time     `json:"gone,omitempty"`     // when those before it went, within the hour before the last
	Flat     bool            `json:"flat,omitempty"`     // there is none: the session is shown in the main place
	Rung     time.Time       `json:"rung,omitzero"`      // when everybody was called to it last
}

// GoneWithin returns when the session's threads went within the last time of that length.
func (t *Thread) GoneWithin(last time.Duration, now time.Time) []time.Time {
	gone := t.Gone
	if len(gone) == 0 && !t.GoneAt.IsZero() { // of a version that kept the last time alone
		gone = []time.Time{t.GoneAt}
	}
	return slices.DeleteFunc(slices.Clone(gone), func(at time.Time) bool { return now.Sub(at) >= last })
}

// Shown is what a message became on a platform, and what is needed to show it anew. A card that stands alone is kept in the
// same way, under no message's name.
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
	Card    bool                `json:"card,omitempty"`   // its first part carries the card
	Links   []bridge.Attachment `json:"links,omitempty"`
	Quote   *bridge.Quote       `json:"quote,omitempty"`
	More    string              `json:"more,omitempty"` // the line that names files that were not fetched
	// Refiled says that an edit has given it other files.
	Refiled bool   `json:"refiled,omitempty"`
	Text    string `json:"text,omitempty"` // whole where it carries the card, its beginning where the platform quotes
	// Of is the message that shows others and stood for this one, too, until an edit made this one too long for it.
	Of bridge.MessageID `json:"of,omitempty"`
	// Merged says that its one id is that of a message which shows others, too: see Map.Merged.
	Merged bool        `json:"merged,omitempty"`
	Stamp  string      `json:"stamp,omitempty"` // when it was written, where that is shown
	Sign   bridge.Sign `json:"sign,omitempty"`  // that it carries
}

// Origin is what a platform's message is.
type Origin struct {
	Session string `json:"session"`
	Message string `json:"message"`
	Side    Side   `json:"side,omitempty"` // of the message
	// Merged says that the platform's message is several: see Map.Merged. Then this is the last of them.
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

// SessionAt returns the session of a thread; empty: it is no session's.
func (m Map) SessionAt(ctx context.Context, t bridge.ThreadID) (string, error) {
	value, err := m.store.Get(ctx, tablePlaces+m.platform, string(t))
	return string(value), err
}

// PlaceRow keeps whose a thread is.
func (m Map) PlaceRow(t bridge.ThreadID, session string) bridge.Row {
	return bridge.Row{Table: tablePlaces + m.platform, Key: string(t), Value: []byte(session), Session: session}
}

// NoPlace keeps that a thread is no session's any more.
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

// shownEarlier returns the row of a message that a version which knew no sides has shown; nil for none, and for one that is the
// other side's.
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

// ShownRows keep what a message became, and what each of its parts and files is.
func (m Map) ShownRows(session string, message Ref, s Shown) []bridge.Row {
	rows := []bridge.Row{m.ShownRow(session, message, s)}
	return append(rows, m.OriginRows(session, message, s.IDs, s.Files)...)
}

// OriginRows keep what the platform's messages of some ids are.
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

// NoOrigin forgets what a message on the platform is: no edit of it is taken any more.
func (m Map) NoOrigin(id bridge.MessageID) bridge.Row {
	return bridge.Row{Table: tableOrigins + m.platform, Key: string(id)}
}

// Origin returns what a message on the platform is; nothing for one that is not of a session.
func (m Map) Origin(ctx context.Context, id bridge.MessageID) (Origin, error) {
	var o Origin
	if _, err := get(ctx, m.store, tableOrigins+m.platform, string(id), &o); err != nil {
		return o, err
	}
	ref, err := WithSide(ctx, m.store, o.Session, Ref{o.Side, o.Message})
	o.Side = ref.Side
	return o, err
}

// AskedAbout returns the message that a question of the bridge's is about; empty: the message is no question.
func (m Map) AskedAbout(ctx context.Context, question bridge.MessageID) (bridge.MessageID, error) {
	value, err := m.store.Get(ctx, tableQuestions+m.platform, string(question))
	return bridge.MessageID(value), err
}

// QuestionRow keeps what a question is about.
func (m Map) QuestionRow(question bridge.MessageID, q bridge.Question) bridge.Row {
	return bridge.Row{Table: tableQuestions + m.platform, Key: string(question), Value: []byte(q.Message), Session: q.Session}
}

// Named says whether a person gave a session's thread its name: then it stays.
func (m Map) Named(ctx context.Context, session string) (bool, error) {
	value, err := m.store.Get(ctx, tableNamed+m.platform, session)
	return value != nil, err
}

// NamedRow keeps that a person gave a session's thread its name.
func (m Map) NamedRow(session, name string) bridge.Row {
	return bridge.Row{Table: tableNamed + m.platform, Key: session, Value: []byte(name), Session: session}
}

// OriginID returns the message on a platform that a row is kept of; ok is false for any other row.
func OriginID(row bridge.Row, platform string) (id bridge.MessageID, ok bool) {
	return bridge.MessageID(row.Key), row.Table == tableOrigins+platform
}

// IsShown says whether a row keeps what a message became on a platform.
func IsShown(row bridge.Row, platform string) bool { return row.Table == tableShown+platform }
