package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pocketping/bridge/internal/bridge"
)

// header is an event without its body, with the same names.
type header struct {
	Type     bridge.Type `json:"type"`
	Origin   string      `json:"origin"`
	Session  string      `json:"session,omitempty"`
	Message  string      `json:"message,omitempty"`
	Callback string      `json:"callback,omitempty"`
	Opens    bool        `json:"opens,omitempty"`
}

// EncodeEvent returns the event as both stores keep it: one JSON object, with the body as the last field and byte for byte
// as it came. The second result is the body's place in the first. A body that is not JSON is an error, since it would stop
// everyone who reads the log later.
func EncodeEvent(e bridge.Event) (data, body []byte, err error) {
	if len(e.Body) > 0 && !json.Valid(e.Body) {
		return nil, nil, errors.New("the event's body is not JSON")
	}
	head, err := json.Marshal(header{e.Type, e.Origin, e.Session, e.Message, e.Callback, e.Opens})
	if err != nil {
		return nil, nil, fmt.Errorf("encode the event: %w", err)
	}
	if len(e.Body) == 0 {
		return head, nil, nil
	}
	const field = `,"body":`
	data = make([]byte, 0, len(head)+len(field)+len(e.Body))
	data = append(data, head[:len(head)-1]...)
	data = append(data, field...)
	start := len(data)
	data = append(data, e.Body...)
	end := len(data)
	data = append(data, '}')
	return data, data[start:end:end], nil
}

// DecodeEvent reads what EncodeEvent wrote. The event keeps nothing of data.
func DecodeEvent(data []byte) (bridge.Event, error) {
	var e bridge.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return bridge.Event{}, fmt.Errorf("an entry of the log cannot be read: %w", err)
	}
	return e, nil
}

// Claims returns the batch's claims with those that its events imply: an event that opens a session makes it known.
func Claims(b bridge.Batch) []bridge.Claim {
	claims := b.Claims
	for _, e := range b.Events {
		if e.Opens && e.Session != "" {
			claims = append(claims[:len(claims):len(claims)], bridge.Claim{Session: e.Session, Key: "session", Soft: true})
		}
	}
	return claims
}
