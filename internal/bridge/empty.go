package bridge

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// PHP writes an empty array for an empty object. Where an object of the app's own is wanted, [] is read as {}.

// emptyList says whether a JSON value is a list of nothing.
func emptyList(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) >= 2 && text[0] == '[' && text[len(text)-1] == ']' && len(bytes.TrimSpace(text[1:len(text)-1])) == 0
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Metadata) UnmarshalJSON(text []byte) error {
	type plain Metadata
	if emptyList(text) {
		return nil
	}
	return json.Unmarshal(exactKeys(text, reflect.TypeFor[plain]()), (*plain)(m))
}

// UnmarshalJSON implements json.Unmarshaler.
func (i *Identity) UnmarshalJSON(text []byte) error {
	type plain Identity
	if emptyList(text) {
		return nil
	}
	return json.Unmarshal(exactKeys(text, reflect.TypeFor[plain]()), (*plain)(i))
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *CSAT) UnmarshalJSON(text []byte) error {
	type plain CSAT
	if emptyList(text) {
		return nil
	}
	return json.Unmarshal(text, (*plain)(c))
}

// EventData is what an app tells with an event of its own.
type EventData map[string]any

// UnmarshalJSON implements json.Unmarshaler.
func (d *EventData) UnmarshalJSON(text []byte) error {
	if emptyList(text) {
		*d = nil
		return nil
	}
	return json.Unmarshal(text, (*map[string]any)(d))
}
