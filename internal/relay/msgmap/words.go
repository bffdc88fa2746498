package msgmap

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableWords holds who had the last word in a session: session → Words. It is written with the message, so that an AI's answer can be
// committed on the condition that nobody has written since.
const tableWords = "words"

// Words is the last message of a visitor or a person in a session, and the AI's behind it.
type Words struct {
	Side Side     `json:"side"`
	ID   string   `json:"id"`
	AI   []string `json:"ai,omitempty"` // ids, oldest first; not all
}

// wordsOfAI is how many of the AI's messages are kept behind the last word of others.
const wordsOfAI = 16

// LastWords keeps who had the last word. Its methods may be called from several goroutines.
type LastWords struct{ Store Store }

// Rows returns the rows of the messages among events, and what must stand in the store for an AI's.
func (l LastWords) Rows(ctx context.Context, events []bridge.Event) (rows, before []bridge.Row, err error) {
	for _, e := range events {
		by := speaker(e)
		if by == "" || e.Session == "" {
			continue
		}
		row := bridge.Row{Table: tableWords, Key: e.Session, Session: e.Session}
		words := Words{Side: RefOf(e).Side, ID: e.Message}
		if by != bridge.SenderVisitor && e.Origin == bridge.OriginApp {
			was, raw, err := l.Last(ctx, e.Session)
			if err != nil {
				return nil, nil, err
			}
			// A repeat is not written either, and what an app repeats from a platform was said before.
			if slices.Contains(was.AI, e.Message) || was.Side == words.Side && was.ID == e.Message {
				continue
			}
			if by == bridge.SenderOperator {
				row.Value = bridge.MustJSON(words)
				rows = append(rows, row)
				continue
			}
			words = was
			words.AI = append(words.AI[max(0, len(words.AI)-wordsOfAI+1):], e.Message)
			before = append(before, bridge.Row{Table: tableWords, Key: e.Session, Value: raw})
		}
		row.Value = bridge.MustJSON(words)
		rows = append(rows, row)
	}
	return rows, before, nil
}

// speaker is who has written the message that an event brings: the visitor, an operator or the AI; empty where it brings none.
func speaker(e bridge.Event) bridge.Sender {
	switch {
	case e.Type != bridge.TypeVisitorMessage && e.Type != bridge.TypeOperatorMessage || e.Message == "":
		return ""
	case e.Type == bridge.TypeOperatorMessage && e.Origin != bridge.OriginApp:
		return bridge.SenderOperator
	case e.BySystem():
		return ""
	case e.ByAI():
		return bridge.SenderAI
	case e.Type == bridge.TypeOperatorMessage || e.ByAnother():
		return bridge.SenderOperator
	default:
		return bridge.SenderVisitor
	}
}

// Last returns who had the last word in a session, and the row's value, nil where nobody had one yet.
func (l LastWords) Last(ctx context.Context, session string) (w Words, raw []byte, err error) {
	if raw, err = l.Store.Get(ctx, tableWords, session); err != nil || raw == nil {
		return w, nil, err
	}
	if err = json.Unmarshal(raw, &w); err != nil {
		err = fmt.Errorf("row %q of table %s: %w", session, tableWords, err)
	}
	return w, raw, err
}

// Since says whether the visitor or a person has written after a message of the session, as far as is known: a message that is not
// known counts as one before others. still is the row that must still be the same when what follows from the answer is committed.
func (l LastWords) Since(ctx context.Context, session, message string) (written bool, still bridge.Row, err error) {
	words, raw, err := l.Last(ctx, session)
	still = bridge.Row{Table: tableWords, Key: session, Value: raw}
	if err != nil || slices.Contains(words.AI, message) {
		return false, still, err
	}
	if words.ID == message && words.Side == Visitors {
		return false, still, nil
	}
	// Both sides may have an id; of two the visitor's is meant, which is then not the last.
	seqs, err := l.Store.Claimed(ctx, session, bridge.VisitorMessageKey(message), bridge.OperatorMessageKey(message))
	if err != nil {
		return false, still, err
	}
	if words.ID == message {
		return seqs[0] != 0, still, nil
	}
	// Where nobody had a word since words are kept, the message was written before.
	return words.ID != "" || seqs[0] == 0 && seqs[1] == 0, still, nil
}
