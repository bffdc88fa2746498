package msgmap

import (
	"context"
	"slices"

	"github.com/pocketping/bridge/internal/bridge"
)

// tableWords is where an earlier version kept who had the last word in a session: session → earlierWords.
const tableWords = "words"

// earlierWords is the last message of a visitor or a person in a session, and the AI's behind it, as an earlier version kept it.
type earlierWords struct {
	Side Side     `json:"side"`
	ID   string   `json:"id"`
	AI   []string `json:"ai,omitempty"` // ids, oldest first; not all
}

// saidOnPlatform is the key of a session's claim that tells when an operator's message came from a platform.
func saidOnPlatform(id string) string { return bridge.SaidKey + "/" + id }

// LastWords keeps when the visitor or a person had the last word in a session, so that an AI's answer can be committed on the condition
// that nobody has written since. Its methods may be called from several goroutines.
type LastWords struct{ Store Store }

// Claims returns what the messages among events claim.
func (l LastWords) Claims(ctx context.Context, events []bridge.Event) (claims []bridge.Claim, err error) {
	for _, e := range events {
		by := speaker(e)
		if by == "" || by == bridge.SenderAI || e.Session == "" {
			continue
		}
		if by == bridge.SenderOperator {
			if e.Origin != bridge.OriginApp {
				claims = append(claims, bridge.Claim{Session: e.Session, Key: saidOnPlatform(e.Message), Soft: true})
			} else if seqs, err := l.Store.Claimed(ctx, e.Session, saidOnPlatform(e.Message)); err != nil || seqs[0] != 0 {
				if err != nil {
					return nil, err
				}
				continue // what an app repeats from a platform was said before
			}
		}
		claims = append(claims, bridge.Claim{Session: e.Session, Key: bridge.SaidKey, Moves: true})
	}
	return claims, nil
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

// Since says whether the visitor or a person has written after a message of the session, as far as is known: a message that is not
// known counts as one before others. still is what must still be so when what follows from the answer is committed.
func (l LastWords) Since(ctx context.Context, session, message string) (written bool, still bridge.Taken, err error) {
	var earlier earlierWords
	if _, err := get(ctx, l.Store, tableWords, session, &earlier); err != nil {
		return false, still, err
	}
	of := bridge.VisitorMessageKey
	if earlier.Side == Operators {
		of = bridge.OperatorMessageKey
	}
	seqs, err := l.Store.Claimed(ctx, session, bridge.SaidKey, bridge.VisitorMessageKey(message), bridge.OperatorMessageKey(message),
		saidOnPlatform(message), of(earlier.ID))
	if err != nil {
		return false, still, err
	}
	still = bridge.Taken{Session: session, Key: bridge.SaidKey, At: seqs[0]}
	last, visitors, operators := max(seqs[0], seqs[4]), seqs[1], max(seqs[2], seqs[3])
	switch {
	case last == 0 && earlier.ID != "": // on a platform, which the earlier version kept no time of
		return earlier.ID != message && !slices.Contains(earlier.AI, message), still, nil
	case operators > last: // it is the AI's
		return false, still, nil
	case visitors != 0: // of two with the id, of either side, the visitor's is meant
		return visitors < last, still, nil
	case operators != 0:
		return operators < last, still, nil
	default:
		return true, still, nil
	}
}
