package store

import (
	"bytes"
	"encoding/json"
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
	By       string      `json:"by,omitempty"`
	Opens    bool        `json:"opens,omitempty"`
	Blocked  bool        `json:"blocked,omitempty"`
}

// EncodeEvent returns the event as both stores keep it: a line of JSON without the body, and the body byte for byte as it
// came.
func EncodeEvent(e bridge.Event) ([]byte, error) {
	const names = len(`{"type":"","origin":"","session":"","message":"","callback":"","by":"","opens":true,"blocked":true}`)
	data := make([]byte, 0, names+len(e.Type)+len(e.Origin)+len(e.Session)+len(e.Message)+len(e.Callback)+len(e.By)+1+len(e.Body))
	data, plain := append(data, '{'), true
	for _, f := range [...]struct{ name, value string }{
		{`"type":`, string(e.Type)}, {`,"origin":`, e.Origin}, {`,"session":`, e.Session}, {`,"message":`, e.Message},
		{`,"callback":`, e.Callback}, {`,"by":`, e.By},
	} {
		if f.value != "" || f.name[0] == '"' {
			data = append(append(append(append(data, f.name...), '"'), f.value...), '"')
			plain = plain && needsNoEscape(f.value)
		}
	}
	if e.Opens {
		data = append(data, `,"opens":true`...)
	}
	if e.Blocked {
		data = append(data, `,"blocked":true`...)
	}
	if data = append(data, '}'); !plain {
		head, err := json.Marshal(header{e.Type, e.Origin, e.Session, e.Message, e.Callback, e.By, e.Opens, e.Blocked})
		if err != nil {
			return nil, fmt.Errorf("encode the event: %w", err)
		}
		data = append(data[:0], head...)
	}
	return append(append(data, '\n'), e.Body...), nil
}

// needsNoEscape says whether a text stands in JSON as it is, as nearly every id does.
func needsNoEscape(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// DecodeEvent reads what EncodeEvent wrote. The event's body is a part of data.
func DecodeEvent(data []byte) (bridge.Event, error) {
	head, body, _ := bytes.Cut(data, []byte{'\n'}) // in JSON as it is encoded, a line feed is escaped
	var h header
	if err := json.Unmarshal(head, &h); err != nil {
		return bridge.Event{}, fmt.Errorf("an entry of the log cannot be read: %w", err)
	}
	e := bridge.Event{
		Type: h.Type, Origin: h.Origin, Session: h.Session, Message: h.Message, Callback: h.Callback, By: h.By, Opens: h.Opens, Blocked: h.Blocked,
	}
	if len(body) > 0 {
		e.Body = body
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
