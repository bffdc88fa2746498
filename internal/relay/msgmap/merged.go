package msgmap

import (
	"context"
	"slices"
	"strings"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/measure"
	"github.com/pocketping/bridge/internal/words"
)

// tableMerged holds what several messages that are one on the platform are made of; the platform's name follows the slash. Key: the
// message's id on the platform, value Merged. Each of the messages has its row of Shown, too.
const tableMerged = "merged/"

// Merged is several messages of one author that are one on the platform.
type Merged struct {
	Author  string        `json:"author,omitempty"` // empty: the visitor
	Card    bool          `json:"card,omitempty"`   // it carries the thread's card
	Quote   *bridge.Quote `json:"quote,omitempty"`
	Members []Member      `json:"members"`
}

// Member is one of several messages that are one on the platform.
type Member struct {
	Side  Side   `json:"side"`
	ID    string `json:"id"`
	Text  string `json:"text"`
	Stamp string `json:"stamp,omitempty"` // when it was written, where that is shown
	Gone  bool   `json:"gone,omitempty"`  // it was deleted
	Below bool   `json:"below,omitempty"` // its present text stands in a message of its own
	From  int    `json:"from"`            // where its text begins in the platform's message, in UTF-16 units; -1: nowhere
	Units int    `json:"units"`           // of its text
}

// Ref names the member.
func (m Member) Ref() Ref { return Ref{m.Side, m.ID} }

// Shown is the member as it is shown.
func (m Member) Shown() string {
	text := m.Text
	if m.Below {
		text = words.Get().TextBelow // it has become too long for the message
	}
	return Stamped(m.Stamp, text)
}

// Stamped is a text with the time at which it was written; no stamp: the text alone.
func Stamped(stamp, text string) string {
	if stamp == "" {
		return text
	}
	return stamp + " · " + text
}

// Text is the members' texts, with an empty line between.
func (m Merged) Text() string {
	var texts []string
	for _, member := range m.Live() {
		texts = append(texts, member.Shown())
	}
	return strings.Join(texts, "\n\n")
}

// Live are the members that were not deleted.
func (m Merged) Live() []Member {
	return slices.DeleteFunc(slices.Clone(m.Members), func(one Member) bool { return one.Gone })
}

// Index is where a message stands among the members; -1: it is none.
func (m Merged) Index(message Ref) int {
	return slices.IndexFunc(m.Members, func(one Member) bool { return one.Ref() == message })
}

// Placed notes where the members' texts stand in what the platform shows.
func (m Merged) Placed(shown string) Merged {
	m.Members = slices.Clone(m.Members)
	shown = strings.ReplaceAll(shown, "\u00a0", " ")
	from, base := 0, 0
	for i := range m.Members {
		one := &m.Members[i]
		one.From, one.Units = -1, 0
		if one.Gone {
			continue
		}
		begin, end := find(shown[from:], one.Shown())
		if begin < 0 {
			continue
		}
		one.From = base + measure.Units(shown[from:from+begin])
		one.Units = measure.Units(shown[from+begin : from+end])
		base, from = one.From+one.Units, from+end
	}
	return m
}

// find returns where a text stands in another one, which may have word joiners between its characters; -1: nowhere.
func find(shown, text string) (begin, end int) {
	const joiner = "\u2060"
	if i := strings.Index(shown, text); i >= 0 {
		return i, i + len(text)
	}
	plain := strings.ReplaceAll(shown, joiner, "")
	i := strings.Index(plain, strings.ReplaceAll(text, joiner, ""))
	if i < 0 {
		return -1, -1
	}
	// at is the byte of shown that stands at a byte of plain.
	at := func(n int) int {
		for j := 0; j < len(shown); {
			if strings.HasPrefix(shown[j:], joiner) {
				j += len(joiner)
				continue
			}
			if n == 0 {
				return j
			}
			n--
			j++
		}
		return len(shown)
	}
	return at(i), at(i + len(strings.ReplaceAll(text, joiner, "")))
}

// At is the member that a place in the platform's message is of, in UTF-16 units: the last one that begins at or before it. Below 0,
// it is the last of all.
func (m Merged) At(place int) (Member, bool) {
	live := m.Live()
	if len(live) == 0 {
		return Member{}, false
	}
	out := live[len(live)-1]
	if place < 0 {
		return out, true
	}
	out = live[0]
	for _, one := range live {
		if one.From >= 0 && one.From <= place {
			out = one
		}
	}
	return out, true
}

// Merged returns what a message on the platform is made of; ok is false for one that is not several.
func (m Map) Merged(ctx context.Context, id bridge.MessageID) (row Merged, ok bool, err error) {
	ok, err = get(ctx, m.store, tableMerged+m.platform, string(id), &row)
	return row, ok, err
}

// MergedRow keeps what a message on the platform is made of.
func (m Map) MergedRow(session string, id bridge.MessageID, row Merged) bridge.Row {
	return bridge.Row{Table: tableMerged + m.platform, Key: string(id), Value: bridge.MustJSON(row), Session: session}
}

// tableLists holds the lists of visitors who wait; the platform's name follows the slash. Key: the message's id on the platform, value the
// sessions in it.
const tableLists = "lists/"

// Listed returns the sessions in a list of visitors who wait; none: the message is no such list.
func (m Map) Listed(ctx context.Context, id bridge.MessageID) (sessions []string, err error) {
	_, err = get(ctx, m.store, tableLists+m.platform, string(id), &sessions)
	return sessions, err
}

// ListRow keeps which sessions are in a list. It is forgotten with the first of them.
func (m Map) ListRow(id bridge.MessageID, sessions []string) bridge.Row {
	return bridge.Row{Table: tableLists + m.platform, Key: string(id), Value: bridge.MustJSON(sessions), Session: sessions[0]}
}

// OriginOfMerged keeps that a message on the platform is several; who asks what it is gets the last of them.
func (m Map) OriginOfMerged(session string, id bridge.MessageID, row Merged) bridge.Row {
	o := Origin{Session: session, Merged: true}
	if last, ok := row.At(-1); ok {
		o.Message, o.Side = last.ID, last.Side
	}
	return bridge.Row{Table: tableOrigins + m.platform, Key: string(id), Session: session, Value: bridge.MustJSON(o)}
}
