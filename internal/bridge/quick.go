package bridge

import (
	"bytes"
	"encoding/json"
	"reflect"
	"unicode/utf8"
)

// Nearly every event is plain: objects, strings and booleans under the names of the contract, each once. quick reads those in one go,
// where encoding/json takes two and the look for repeated fields a third. What is anything else, or is wrong, it leaves to them: it has
// no errors of its own, and what it reads they would read in the same way.
type quick struct {
	text  []byte
	whole string // text; what is read are parts of it
	at    int
	depth int
}

// quickDepth is how deep objects and lists may lie in one another here.
const quickDepth = 100

// ReadAppEvent reads the body of an event that was accepted, as json.Unmarshal does.
func ReadAppEvent(body []byte) (*AppEvent, error) {
	if e := readQuickly(body); e != nil {
		return e, nil
	}
	e := new(AppEvent)
	return e, json.Unmarshal(body, e)
}

// readQuickly reads the body of a request; nil: it has to be read otherwise.
func readQuickly(body []byte) *AppEvent {
	if !utf8.Valid(body) {
		return nil
	}
	e := new(AppEvent)
	q := quick{text: body, whole: string(body)}
	if q.space(); !q.object(reflect.ValueOf(e).Elem()) {
		return nil
	}
	if q.space(); q.at != len(q.text) {
		return nil
	}
	return e
}

// now returns the next byte; 0 at the end, which no JSON has outside of strings.
func (q *quick) now() byte {
	if q.at < len(q.text) {
		return q.text[q.at]
	}
	return 0
}

// is goes over a byte, if it is the next one.
func (q *quick) is(b byte) bool {
	if q.now() != b {
		return false
	}
	q.at++
	return true
}

func (q *quick) space() {
	for q.at < len(q.text) && (q.text[q.at] == ' ' || q.text[q.at] == '\n' || q.text[q.at] == '\t' || q.text[q.at] == '\r') {
		q.at++
	}
}

// word goes over a literal.
func (q *quick) word(literal string) bool {
	if !bytes.HasPrefix(q.text[q.at:], []byte(literal)) {
		return false
	}
	q.at += len(literal)
	return true
}

// quoted goes over a string, and says whether it has escapes.
func (q *quick) quoted() (from, to int, escapes, ok bool) {
	if !q.is('"') {
		return 0, 0, false, false
	}
	for from = q.at; q.at < len(q.text); q.at++ {
		switch c := q.text[q.at]; {
		case c == '"':
			q.at++
			return from, q.at - 1, escapes, true
		case c < ' ':
			return 0, 0, false, false
		case c == '\\':
			escapes = true
			if q.at++; !q.escape() {
				return 0, 0, false, false
			}
		}
	}
	return 0, 0, false, false
}

// escape goes over what stands behind a backslash, but for its last byte.
func (q *quick) escape() bool {
	if q.now() != 'u' {
		return bytes.IndexByte([]byte(`"\/bfnrt`), q.now()) >= 0 && q.now() != 0
	}
	for range 4 {
		q.at++
		if c := q.now(); (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// members goes over an object's members: of each its key, without quotes and escapes, and a value for which each is called.
func (q *quick) members(each func(key string) bool) bool {
	if q.depth++; q.depth > quickDepth || !q.is('{') {
		return false
	}
	defer func() { q.depth-- }()
	if q.space(); q.is('}') {
		return true
	}
	for {
		from, to, escapes, ok := q.quoted()
		if q.space(); !ok || escapes || !q.is(':') {
			return false
		}
		if q.space(); !each(q.whole[from:to]) {
			return false
		}
		if q.space(); !q.is(',') {
			return q.is('}')
		}
		q.space()
	}
}

// object reads an object into a struct. Those of AppEvent that read themselves read an object in no other way.
func (q *quick) object(v reflect.Value) bool {
	fields := fieldsOf(v.Type())
	var seen uint64
	return q.members(func(key string) bool {
		place, exact := fields.find(key)
		switch {
		case place < 0:
			return q.skip()
		case !exact || seen&(1<<place) != 0:
			return false
		}
		seen |= 1 << place
		return q.field(v.Field(fields.index[place]))
	})
}

// field reads a value into a struct's field.
func (q *quick) field(v reflect.Value) bool {
	c := q.now()
	switch {
	case c == 'n':
		return q.word("null")
	case c == '"' && v.Kind() == reflect.String:
		at := q.at
		from, to, escapes, ok := q.quoted()
		switch {
		case !ok:
			return false
		case escapes:
			v.SetString(plain(q.text[at:q.at]))
		default:
			v.SetString(q.whole[from:to])
		}
		return true
	case c == 't' && v.Kind() == reflect.Bool:
		v.SetBool(true)
		return q.word("true")
	case c == 'f' && v.Kind() == reflect.Bool:
		return q.word("false")
	case c == '{' && v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		v.Set(reflect.New(v.Type().Elem()))
		return q.object(v.Elem())
	case c == '[' && v.Kind() == reflect.Slice:
		q.at++
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		q.space()
		return q.is(']')
	default:
		return false
	}
}

// skip goes over a value that nobody looks into.
func (q *quick) skip() bool {
	switch q.now() {
	case '{':
		return q.members(func(string) bool { return q.skip() })
	case '[':
		return q.list()
	case '"':
		_, _, _, ok := q.quoted()
		return ok
	case 't':
		return q.word("true")
	case 'f':
		return q.word("false")
	case 'n':
		return q.word("null")
	default:
		from := q.at
		for q.at < len(q.text) && bytes.IndexByte([]byte("+-.0123456789Ee"), q.text[q.at]) >= 0 {
			q.at++
		}
		return q.at > from && json.Valid(q.text[from:q.at])
	}
}

// list goes over a list that nobody looks into.
func (q *quick) list() bool {
	if q.depth++; q.depth > quickDepth {
		return false
	}
	defer func() { q.depth-- }()
	q.at++
	if q.space(); q.is(']') {
		return true
	}
	for {
		if q.space(); !q.skip() {
			return false
		}
		if q.space(); !q.is(',') {
			return q.is(']')
		}
	}
}
