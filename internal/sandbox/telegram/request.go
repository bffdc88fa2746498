package telegram

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// maxBody is the longest request that is read but for its files, in bytes. No method that is served needs more.
const maxBody = 1 << 20

// refusal is an answer with ok false, in the words of the real server.
type refusal struct {
	code       int // HTTP status and error_code: they are the same
	text       string
	moved      int64 // migrate_to_chat_id
	retryAfter int   // seconds
}

func (r *refusal) Error() string { return r.text }

func badRequest(text string) *refusal {
	return &refusal{code: http.StatusBadRequest, text: "Bad Request: " + text}
}

// fault is what the Bot API's definition does not allow, or the sandbox does not serve. It ends in Faults.
func fault(format string, args ...any) error { return stage.Faultf(format, args...) }

// params are a request's parameters after their check: strings as they are, numbers and booleans as their text, anything else
// as JSON.
type params map[string]string

// given is a parameter as it came. In a form everything is text; in a JSON body a value keeps its type.
type given struct {
	text string
	json json.RawMessage // nil in a form
	file *File           // nil for what is no file
}

// readRequest returns the parameters as they came, from the query and the body: GET or POST, a URL's query,
// application/x-www-form-urlencoded, application/json or multipart/form-data
// (https://core.telegram.org/bots/api#making-requests). Of a file not more than the given number of bytes is held.
func readRequest(r *http.Request, keep int64) (map[string]given, error) {
	out := make(map[string]given)
	take := func(values url.Values) error {
		for name, list := range values {
			if len(list) > 1 {
				return fault("parameter %q is given %d times", name, len(list))
			}
			out[name] = given{text: list[0]}
		}
		return nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault("the query cannot be read: %v", err)
	}
	if err := take(query); err != nil || r.Method == http.MethodGet {
		return out, err
	}
	// A client may announce a multipart body and send nothing: github.com/go-telegram/bot does for calls without parameters, and
	// the real server takes it.
	stream := bufio.NewReader(r.Body)
	if _, err := stream.Peek(1); errors.Is(err, io.EOF) {
		return out, nil
	}
	kind, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, fault("Content-Type %q cannot be read", r.Header.Get("Content-Type"))
	}
	if kind == "multipart/form-data" {
		return out, readMultipart(stream, options["boundary"], keep, out)
	}
	body, err := readShort(stream)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, fault("the form cannot be read: %v", err)
		}
		return out, take(form)
	case "application/json":
		var object map[string]json.RawMessage
		if err := json.Unmarshal(body, &object); err != nil {
			return nil, fault("the body is no JSON object: %v", err)
		}
		for name, raw := range object {
			out[name] = given{json: raw}
		}
		return out, nil
	default:
		return nil, fault("the Bot API does not take a body of type %q", kind)
	}
}

// readShort reads to the end what must not be longer than maxBody.
func readShort(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if len(body) > maxBody {
		return nil, tooLarge()
	}
	return body, nil
}

func tooLarge() *refusal {
	return &refusal{code: http.StatusRequestEntityTooLarge, text: "Request Entity Too Large"}
}

func readMultipart(body io.Reader, boundary string, keep int64, out map[string]given) error {
	left := int64(maxRequest)
	parts := multipart.NewReader(body, boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault("the multipart body cannot be read: %v", err)
		}
		if _, ok := out[part.FormName()]; ok {
			return fault("parameter %q is given twice", part.FormName())
		}
		var one given
		if part.FileName() == "" {
			text, err := readShort(part)
			if err != nil {
				return err
			}
			one.text, left = string(text), left-int64(len(text))
		} else {
			one.file, err = receive(part, min(left, maxRequest), keep)
			if err != nil {
				return err
			}
			one.file.Name, left = part.FileName(), left-one.file.Size
		}
		out[part.FormName()] = one
	}
}

// checker holds the definition in a form for looking up.
type checker struct {
	methods map[string]definition // by the name in lower case
	types   map[string]definition
	unions  map[string][]string
}

func newChecker() checker {
	c := checker{methods: make(map[string]definition), types: make(map[string]definition), unions: unionTable()}
	for _, m := range methodTable() {
		c.methods[strings.ToLower(m.Name)] = m
	}
	for _, t := range typeTable() {
		c.types[t.Name] = t
	}
	return c
}

// method finds a method; the Bot API does not care for the case of its name ("All methods in the Bot API are
// case-insensitive").
func (c checker) method(name string) (definition, bool) {
	m, ok := c.methods[strings.ToLower(name)]
	return m, ok
}

// check holds a request against the definition. What differs from it is a fault, a required parameter that is missing too; one
// that is there and empty is left to the method, which refuses it in the real server's words. A file stands among the
// parameters as attach://<its part's name>, and itself among the files.
func (c checker) check(m definition, in map[string]given) (params, map[string]*File, error) {
	files := make(map[string]*File)
	for name, v := range in {
		if v.file != nil {
			files[name] = v.file
		}
		if v.file != nil && m.attaches() {
			continue
		}
		if !slices.ContainsFunc(m.Fields, func(f field) bool { return f.Name == name }) {
			return nil, nil, fault("%s has no parameter %q", m.Name, name)
		}
	}
	out, err := c.parameters(m, in)
	return out, files, err
}

// attaches says whether a method's parameters may name files that stand in parts of their own.
func (d definition) attaches() bool {
	return slices.ContainsFunc(d.Fields, func(f field) bool { return strings.Contains(f.Type, "InputMedia") })
}

func (c checker) parameters(m definition, in map[string]given) (params, error) {
	out := make(params)
	for _, f := range m.Fields {
		v, ok := in[f.Name]
		switch {
		case !ok && f.Need == required:
			return nil, fault("%s needs the parameter %q", m.Name, f.Name)
		case !ok:
			continue
		case f.Need == unserved:
			return nil, fault("%s: the sandbox does not serve the parameter %q", m.Name, f.Name)
		case v.file != nil && strings.HasPrefix(f.Type, "InputFile"):
			out[f.Name] = attach + f.Name
			continue
		case v.file != nil:
			return nil, fault("%s: parameter %q is a file", m.Name, f.Name)
		case strings.HasPrefix(f.Type, "InputFile"):
			return nil, fault("%s: parameter %q is no file, and the sandbox knows no other way to send one", m.Name, f.Name)
		}
		text, err := c.parameter(f.Type, v)
		if err != nil {
			return nil, fault("%s: parameter %s: %v", m.Name, f.Name, err)
		}
		if !utf8.ValidString(text) {
			// The Bot API server says so to any string (clean_input_string in TDLib).
			return nil, badRequest("strings must be encoded in UTF-8")
		}
		out[f.Name] = text
	}
	return out, nil
}

// parameter checks one parameter and returns it as params keep it.
func (c checker) parameter(kind string, v given) (string, error) {
	if v.json == nil && scalar(kind) {
		return v.text, checkText(kind, v.text)
	}
	raw := []byte(v.text)
	if v.json != nil {
		raw = v.json
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "", errors.New("is no JSON") // the decoder's own text could quote a message
	}
	if decoder.More() {
		return "", errors.New("has more than one JSON value")
	}
	if err := c.value(kind, value); err != nil {
		return "", err
	}
	switch value := value.(type) {
	case string:
		return value, nil
	case json.Number:
		return value.String(), nil
	case bool:
		return strconv.FormatBool(value), nil
	}
	return string(raw), nil
}

// scalar says whether a type is written as plain text in a form.
func scalar(kind string) bool {
	for one := range strings.SplitSeq(kind, " or ") {
		switch one {
		case "Integer", "String", "Boolean", "Float":
		default:
			return false
		}
	}
	return true
}

func checkText(kind, text string) error {
	switch kind {
	case "Integer":
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return errors.New("is no Integer")
		}
	case "Boolean":
		// to_bool of the Bot API server also reads "yes"; the documented words are enough.
		if text != "true" && text != "false" {
			return errors.New("is no Boolean")
		}
	}
	return nil
}

// value checks a decoded JSON value against a type of the definition.
func (c checker) value(kind string, v any) error {
	if alternatives := strings.Split(kind, " or "); len(alternatives) > 1 {
		if strings.Count(kind, "Array of ") == len(alternatives) {
			// The page says "Array of A, B and C": the elements may differ. Its machine-readable form has lost that.
			return c.value("Array of "+strings.ReplaceAll(kind, "Array of ", ""), v)
		}
		if element, ok := strings.CutPrefix(kind, "Array of "); ok {
			return c.list(element, v)
		}
		return c.anyOf(alternatives, v)
	}
	if element, ok := strings.CutPrefix(kind, "Array of "); ok {
		return c.list(element, v)
	}
	ok := false
	switch kind {
	case "String":
		_, ok = v.(string)
	case "Boolean":
		_, ok = v.(bool)
	case "Float":
		_, ok = v.(json.Number)
	case "Integer":
		var n json.Number
		if n, ok = v.(json.Number); ok {
			_, err := n.Int64()
			ok = err == nil
		}
	default:
		if variants, union := c.unions[kind]; union {
			return c.anyOf(variants, v)
		}
		return c.object(kind, v)
	}
	if !ok {
		return errors.New("is no " + kind)
	}
	return nil
}

func (c checker) list(element string, v any) error {
	list, ok := v.([]any)
	if !ok {
		return errors.New("is no Array")
	}
	for i, one := range list {
		if err := c.value(element, one); err != nil {
			return fmt.Errorf("[%d] %w", i, err)
		}
	}
	return nil
}

func (c checker) anyOf(kinds []string, v any) error {
	var last error
	for _, kind := range kinds {
		if last = c.value(kind, v); last == nil {
			return nil
		}
	}
	return fmt.Errorf("is none of %s: %w", strings.Join(kinds, ", "), last)
}

func (c checker) object(kind string, v any) error {
	object, ok := v.(map[string]any)
	if !ok {
		return errors.New("is no " + kind)
	}
	t, ok := c.types[kind]
	if !ok {
		return fmt.Errorf("is a %s, which the sandbox does not serve", kind)
	}
	for name := range object {
		if !slices.ContainsFunc(t.Fields, func(f field) bool { return f.Name == name }) {
			return fmt.Errorf("%s has no field %q", kind, name)
		}
	}
	for _, f := range t.Fields {
		v, ok := object[f.Name]
		switch {
		case !ok && f.Need == required:
			return fmt.Errorf("%s needs the field %q", kind, f.Name)
		case !ok:
			continue
		case f.Need == unserved:
			return fmt.Errorf("%s: the sandbox does not serve the field %q", kind, f.Name)
		}
		if err := c.value(f.Type, v); err != nil {
			return fmt.Errorf("%s.%s %w", kind, f.Name, err)
		}
	}
	return nil
}

// integer returns a number that the check has let through, or none.
func (p params) integer(name string, none int64) int64 {
	n, err := strconv.ParseInt(p[name], 10, 64)
	if err != nil {
		return none
	}
	return n
}

// number is integer for what fits 32 bits, as message and topic ids do; what does not fit is no valid id.
func (p params) number(name string, none int) int {
	n := p.integer(name, int64(none))
	if n != int64(int32(n)) {
		return -1
	}
	return int(n)
}

func (p params) is(name string) bool { return p[name] == "true" }

// decode reads a parameter that is an object or a list; the check has seen to its form.
func (p params) decode(name string, into any) error {
	if p[name] == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(p[name]), into); err != nil {
		return fault("parameter %s: %v", name, err)
	}
	return nil
}
