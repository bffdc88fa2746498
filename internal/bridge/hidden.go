package bridge

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Hidden are the fields of visitors that operators, and programs that are told of everything, are not to see. A nil Hidden hides
// nothing. It may be used by several goroutines.
type Hidden struct {
	names    []string // in lower case
	cutQuery bool     // of page and referrer
}

// hiddenWith are the fields that a word of HIDE_FIELDS stands for, in lower case.
func hiddenWith(name string) []string {
	switch name {
	case "phone":
		return []string{"phone", "userphone", "userphonecountry"}
	case "url":
		return []string{"url", "referrer"}
	default:
		return []string{name}
	}
}

var fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// NewHidden reads which fields are hidden: ip, email, phone, url (page and referrer), url.query, and keys of metadata.
func NewHidden(names []string) (*Hidden, error) {
	if len(names) == 0 {
		return nil, nil
	}
	h := &Hidden{}
	for _, name := range names {
		if !fieldName.MatchString(name) {
			return nil, fmt.Errorf("has a name that no field can have")
		}
		if name = strings.ToLower(name); name == "url.query" {
			h.cutQuery = true
			continue
		}
		h.names = append(h.names, hiddenWith(name)...)
	}
	return h, nil
}

// Hides says whether a field is hidden, whatever the case of its name.
func (h *Hidden) Hides(name string) bool {
	return h != nil && slices.Contains(h.names, strings.ToLower(name))
}

// Session returns a session without its hidden fields. The one that is given stays as it is.
func (h *Hidden) Session(s *Session) *Session {
	if h == nil || s == nil {
		return s
	}
	var out Session
	if json.Unmarshal(h.session(MustJSON(s)), &out) != nil { // what was written here is read here
		return &Session{ID: s.ID, VisitorID: s.VisitorID}
	}
	return &out
}

// Event returns an event without the hidden fields of its session and of what an app tells with it. The words that people wrote stay.
func (h *Hidden) Event(e Event) Event {
	if h == nil || len(e.Body) == 0 {
		return e
	}
	e.Summary = nil
	e.Body = h.object(e.Body, func(name string, value json.RawMessage) json.RawMessage {
		switch strings.ToLower(name) {
		case "session":
			return h.session(value)
		case "event":
			return h.object(value, func(name string, value json.RawMessage) json.RawMessage {
				if strings.EqualFold(name, "data") {
					return h.object(value, nil)
				}
				return value
			})
		case "email":
			if h.Hides("email") { // of an answer that waits
				return nil
			}
		}
		return value
	})
	return e
}

// session hides the fields of a session in JSON.
func (h *Hidden) session(text json.RawMessage) json.RawMessage {
	return h.object(text, func(name string, value json.RawMessage) json.RawMessage {
		switch lower := strings.ToLower(name); {
		case lower == "metadata", lower == "identity":
			return h.object(value, nil)
		case lower == "userphone" && h.Hides(lower), lower == "userphonecountry" && h.Hides(lower):
			return nil
		}
		return value
	})
}

// object returns a JSON object with its values as change says; nil takes one away. Without change the object is a visitor's or an app's
// own, whose keys may be hidden ones. What is no object stays as it is.
func (h *Hidden) object(text json.RawMessage, change func(name string, value json.RawMessage) json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil || all == nil {
		return text
	}
	for name, value := range all {
		var next json.RawMessage
		switch {
		case change != nil:
			next = change(name, value)
		case !h.Hides(name):
			next = h.withoutQuery(name, value)
		}
		if next == nil {
			delete(all, name)
		} else {
			all[name] = next
		}
	}
	return MustJSON(all)
}

// withoutQuery cuts what stands behind ? or # in a page's or referrer's address, where that is hidden.
func (h *Hidden) withoutQuery(name string, value json.RawMessage) json.RawMessage {
	var address string
	if !h.cutQuery || !strings.EqualFold(name, "url") && !strings.EqualFold(name, "referrer") || json.Unmarshal(value, &address) != nil {
		return value
	}
	if i := strings.IndexAny(address, "?#"); i >= 0 {
		address = address[:i]
	}
	return MustJSON(address)
}
