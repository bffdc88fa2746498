package bridge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// encoding/json takes the last of several keys, and takes a key in any case for a field's. What was checked could then be another value
// than one that a reader of the body takes. So a body may name each known field once.

// ProblemRepeated is what is wrong with a field that a body has more than once, in whatever case.
const ProblemRepeated = "is there more than once"

// known are the fields of a struct by their names in JSON; 64 at most.
type known struct {
	names  []string
	types  []reflect.Type
	places map[string]int
	index  []int // of each in the struct; in the part of it that has it, where it is a part's
}

// fieldsOf returns a struct's fields. Its types are few.
func fieldsOf(t reflect.Type) *known {
	if k, ok := knownTypes.Load(t); ok {
		return k.(*known)
	}
	k := &known{places: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			inner := fieldsOf(f.Type)
			for j, name := range inner.names {
				k.add(name, inner.types[j], inner.index[j])
			}
			continue
		case name == "":
			name = f.Name
		}
		k.add(name, f.Type, i)
	}
	knownTypes.Store(t, k)
	return k
}

var knownTypes sync.Map // reflect.Type → *known

func (k *known) add(name string, t reflect.Type, index int) {
	if _, there := k.places[name]; there {
		return
	}
	k.places[name] = len(k.names)
	k.names, k.types, k.index = append(k.names, name), append(k.types, t), append(k.index, index)
}

// place returns the field that encoding/json takes a key for, which is given as it stands in the text; -1: for none. exact says that it
// is the field's name itself.
func (k *known) place(quoted []byte) (place int, exact bool) {
	if place, ok := k.places[string(quoted[1:len(quoted)-1])]; ok {
		return place, true
	}
	return k.find(plain(quoted))
}

// find is place of a key as it is.
func (k *known) find(text string) (place int, exact bool) {
	if place, ok := k.places[text]; ok {
		return place, true
	}
	for i, name := range k.names {
		if len(text) >= len(name) && strings.EqualFold(name, text) { // a fold may take more bytes
			return i, name == text
		}
	}
	return -1, false
}

// freeForm are the structs whose keys are an app's own: they are taken as written.
var freeForm = map[reflect.Type]bool{reflect.TypeFor[Metadata](): true, reflect.TypeFor[Identity](): true}

// repeated returns a known field that valid JSON has more than once, for what is decoded into a type; nil: there is none.
func repeated(body []byte, t reflect.Type) *FieldError {
	s := scanner{text: body}
	return s.value(t)
}

// scanner goes through JSON that is known to be valid.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\t' || s.text[s.at] == '\r') {
		s.at++
	}
}

// quoted goes over a string, and returns it as it stands there, quotes included.
func (s *scanner) quoted() []byte {
	from := s.at
	for s.at++; s.at < len(s.text) && s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
	return s.text[from:min(s.at, len(s.text))]
}

// plain returns a string without its quotes and escapes.
func plain(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var text string
	_ = json.Unmarshal(quoted, &text) // it has been read before
	return text
}

// value goes over a value. t is what it is decoded into, nil where nobody looks into it.
func (s *scanner) value(t reflect.Type) *FieldError {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s.space()
	if s.at >= len(s.text) {
		return nil
	}
	switch s.text[s.at] {
	case '{':
		return s.object(t)
	case '[':
		if t != nil && t.Kind() == reflect.Slice {
			t = t.Elem()
		} else {
			t = nil
		}
		for s.at++; ; s.at++ {
			if s.space(); s.at >= len(s.text) || s.text[s.at] == ']' {
				s.at++
				return nil
			}
			if fault := s.value(t); fault != nil {
				return fault
			}
			if s.space(); s.at >= len(s.text) || s.text[s.at] != ',' {
				s.at++
				return nil
			}
		}
	case '"':
		s.quoted()
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]} \n\t\r", rune(s.text[s.at])) {
			s.at++
		}
	}
	return nil
}

// object goes over an object.
func (s *scanner) object(t reflect.Type) *FieldError {
	var fields *known
	if t != nil && t.Kind() == reflect.Struct && !freeForm[t] {
		fields = fieldsOf(t)
	}
	var seen uint64
	for s.at++; ; s.at++ {
		if s.space(); s.at >= len(s.text) || s.text[s.at] != '"' {
			s.at++
			return nil
		}
		key := s.quoted()
		s.space()
		s.at++ // the colon
		var inner reflect.Type
		place := -1
		if fields != nil {
			if place, _ = fields.place(key); place >= 0 {
				if seen&(1<<place) != 0 {
					return &FieldError{fields.names[place], ProblemRepeated}
				}
				seen, inner = seen|1<<place, fields.types[place]
			}
		}
		if fault := s.value(inner); fault != nil {
			fault.Field = fields.names[place] + "." + fault.Field
			return fault
		}
		if s.space(); s.at >= len(s.text) || s.text[s.at] != ',' {
			s.at++
			return nil
		}
	}
}

// exactKeys returns an object without keys that encoding/json would take for a field of a struct though they are others: there, keys
// are taken as written. The text is valid JSON.
func exactKeys(text []byte, t reflect.Type) []byte {
	fields, s := fieldsOf(t), scanner{text: text}
	if s.space(); s.at >= len(text) || text[s.at] != '{' {
		return text
	}
	exact := true
	for s.at++; exact; s.at++ {
		if s.space(); s.at >= len(text) || text[s.at] != '"' {
			break
		}
		place, same := fields.place(s.quoted())
		exact = place < 0 || same
		s.space()
		s.at++
		_ = s.value(nil)
		if s.space(); s.at >= len(text) || text[s.at] != ',' {
			break
		}
	}
	if exact {
		return text
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return text
	}
	for key := range all {
		if place, same := fields.place(MustJSON(key)); place >= 0 && !same {
			delete(all, key)
		}
	}
	return MustJSON(all)
}
