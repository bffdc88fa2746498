package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pocketping/bridge/internal/bridge"
)

// Everything of a session lies under one prefix, side by side: an accept then dirties one page for the claim and the last
// word together, and a session is forgotten by removing one range. Claims without a session have the empty one's prefix.
const (
	kindLastWord = 0 // the Seq of the last word
	kindClaim    = 1 // then the claim's key: when it was taken, by whom, of what
	kindRow      = 2 // then the table and the key of a row that the session owns: nothing
)

// maxName is the longest name of anything in a key. bbolt takes 32 KiB for a whole key.
const maxName = 8 << 10

var errName = errors.New("a name is too long for the store")

// checkBatch refuses what could not be written later, so that one batch cannot fail the others of its group.
func checkBatch(b *bridge.Batch) error {
	for _, c := range b.Claims {
		if len(c.Session) > maxName || len(c.Key) > maxName || len(c.Sum) > maxName {
			return fmt.Errorf("claim: %w", errName)
		}
	}
	for _, t := range b.IfTaken {
		if len(t.Session) > maxName || len(t.Key) > maxName {
			return fmt.Errorf("condition: %w", errName)
		}
	}
	for _, e := range b.Events {
		if len(e.Session) > maxName {
			return fmt.Errorf("event: %w", errName)
		}
	}
	for _, r := range b.Rows {
		if len(r.Table) > maxName || len(r.Key) > maxName || len(r.Session) > maxName {
			return fmt.Errorf("row: %w", errName)
		}
	}
	if len(b.Progress.Lane) > maxName {
		return fmt.Errorf("lane: %w", errName)
	}
	for _, m := range b.Progress.Done {
		if len(m.Target) > maxName {
			return fmt.Errorf("mark: %w", errName)
		}
	}
	return nil
}

// appendName appends a name with its length before it, so that no name can run into the next.
func appendName(key []byte, name string) []byte {
	key = binary.BigEndian.AppendUint16(key, uint16(len(name)))
	return append(key, name...)
}

// cutName undoes appendName.
func cutName(key []byte) (name string, rest []byte, ok bool) {
	if len(key) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(key))
	if len(key) < 2+n {
		return "", nil, false
	}
	return string(key[2 : 2+n]), key[2+n:], true
}

func sessionPrefix(session string) []byte {
	return appendName(make([]byte, 0, len(session)+80), session)
}

func wordKey(session string) []byte { return append(sessionPrefix(session), kindLastWord) }

func claimKey(session, key string) []byte {
	return append(append(sessionPrefix(session), kindClaim), key...)
}

func ownedKey(session, table, key string) []byte {
	return append(appendName(append(sessionPrefix(session), kindRow), table), key...)
}

func rowKey(table, key string) []byte {
	return append(appendName(make([]byte, 0, len(table)+len(key)+2), table), key...)
}

// rowValue keeps a row's owner before its value.
func rowValue(r bridge.Row) []byte {
	return append(appendName(make([]byte, 0, len(r.Session)+len(r.Value)+2), r.Session), r.Value...)
}

func lanePrefix(lane string) []byte { return appendName(make([]byte, 0, len(lane)+40), lane) }

// markKey sorts a lane's marks by Seq, then by target.
func markKey(lane string, m bridge.Mark) []byte {
	return append(binary.BigEndian.AppendUint64(lanePrefix(lane), uint64(m.Seq)), m.Target...)
}

func seqBytes(s bridge.Seq) []byte { return binary.BigEndian.AppendUint64(nil, uint64(s)) }

// seqOf reads what seqBytes wrote; what is too short is 0.
func seqOf(b []byte) bridge.Seq {
	if len(b) < 8 {
		return 0
	}
	return bridge.Seq(binary.BigEndian.Uint64(b))
}

// held is a claim as it is kept.
type held struct {
	at       bridge.Seq // the first Seq of the batch that took it, or the time then
	appended bool       // that batch appended events
	sum      string
}

func (h held) bytes() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 9+len(h.sum)), uint64(h.at))
	if h.appended {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return append(b, h.sum...)
}

func heldOf(b []byte) held {
	if len(b) < 9 {
		return held{}
	}
	return held{at: seqOf(b), appended: b[8] == 1, sum: string(b[9:])}
}
