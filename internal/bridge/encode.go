package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// MustJSON marshals what cannot fail to be marshalled: our own structs of plain fields.
func MustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("%T does not marshal: %v", v, err))
	}
	return out
}

// Digest is 32 characters that stand for a text of any length in a key.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// WireTime is a moment as app servers are told of it.
func WireTime(t time.Time) string { return t.UTC().Format(wireTime) }

const wireTime = "2006-01-02T15:04:05.000Z07:00"
