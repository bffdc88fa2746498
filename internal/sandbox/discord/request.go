package discord

import (
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
	"time"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// maxBody is the longest body without files that is read, in bytes. No operation that is served needs more.
const maxBody = 1 << 20

// upload is a file of a multipart request.
type upload struct {
	index   string // the n of files[n]
	name    string
	kind    string
	content []byte
}

// shape is a type of the tables, read: one of several alternatives.
type shape []alternative

type alternative struct {
	name      string // of a scalar, an object or a list of values; empty for an array
	element   shape  // of an array
	low, high float64
	bounded   [2]bool // whether low and high are there
}

// readShape reads a type as the tables write it.
func readShape(text string) shape {
	var out shape
	for _, one := range splitOutside(text, " | ") {
		var a alternative
		if inner, ok := strings.CutPrefix(one, "["); ok {
			end := strings.LastIndex(inner, "]")
			a.element = readShape(inner[:end])
			one = inner[end+1:]
		}
		name, bounds, bounded := strings.Cut(one, "(")
		a.name = name
		if low, high, ok := strings.Cut(strings.TrimSuffix(bounds, ")"), ".."); bounded && ok {
			for i, text := range []string{low, high} {
				n, err := strconv.ParseFloat(text, 64)
				a.bounded[i] = err == nil
				if i == 0 {
					a.low = n
				} else {
					a.high = n
				}
			}
		}
		out = append(out, a)
	}
	return out
}

// splitOutside splits a text where no bracket is open.
func splitOutside(text, by string) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range text {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0 && strings.HasPrefix(text[i:], by):
			out = append(out, text[from:i])
			from = i + len(by)
		}
	}
	return append(out, text[from:])
}

// problem is what is wrong with a field of a form, in Discord's words.
type problem struct {
	path []string
	code string
	text string
}

// invalidForm is the refusal of a form with its problems
// (https://docs.discord.com/developers/reference#error-messages).
func invalidForm(problems ...problem) *refusal {
	root := make(object)
	for _, p := range problems {
		at := root
		for _, name := range p.path {
			next, ok := at[name].(object)
			if !ok {
				next = make(object)
				at[name] = next
			}
			at = next
		}
		list, _ := at["_errors"].([]object)
		at["_errors"] = append(list, object{"code": p.code, "message": p.text})
	}
	return &refusal{status: http.StatusBadRequest, code: 50035, text: "Invalid Form Body", errors: root}
}

func tooLong(high int, path ...string) problem {
	return problem{path, "BASE_TYPE_MAX_LENGTH", fmt.Sprintf("Must be %d or fewer in length.", high)}
}

func missing(path ...string) problem {
	return problem{path, "BASE_TYPE_REQUIRED", "This field is required"}
}

// checker holds the definition in a form for looking up.
type checker struct {
	operations []operation
	segments   [][]string // of the operations' paths
	types      map[string]definition
	values     map[string][]string
	unions     map[string][]string
	shapes     map[string]shape // by their text
}

func newChecker() checker {
	c := checker{
		operations: operationTable(), types: make(map[string]definition), values: valueTable(), unions: unionTable(),
		shapes: make(map[string]shape),
	}
	read := func(fields []field) {
		for _, f := range fields {
			c.shapes[f.Type] = readShape(f.Type)
		}
	}
	for _, o := range c.operations {
		c.segments = append(c.segments, strings.Split(o.Path, "/"))
		c.shapes[o.Body] = readShape(o.Body)
		read(o.Query)
	}
	for _, t := range typeTable() {
		c.types[t.Name] = t
		read(t.Fields)
	}
	return c
}

// find returns the operation for a path and its parameters; known is whether there is one for the path, allowed whether it is
// for the method. Of two that fit, the first in the table is meant.
func (c checker) find(method, path string) (op *operation, vars map[string]string, known, allowed bool) {
	given := strings.Split(path, "/")
	for i, segments := range c.segments {
		vars, fits := match(segments, given)
		if !fits {
			continue
		}
		known = true
		if c.operations[i].Method == method {
			return &c.operations[i], vars, true, true
		}
	}
	return nil, nil, known, false
}

func match(segments, given []string) (map[string]string, bool) {
	if len(segments) != len(given) {
		return nil, false
	}
	vars := make(map[string]string)
	for i, segment := range segments {
		text, err := url.PathUnescape(given[i])
		if err != nil {
			return nil, false
		}
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			vars[strings.TrimSuffix(name, "}")] = text
		} else if text != segment {
			return nil, false
		}
	}
	return vars, true
}

// read reads a request and holds it against the definition. What differs from it is a fault; a length, number or list out of its
// bounds is refused in Discord's words.
func (c checker) read(r *http.Request, q *request, maxFile int) error {
	for name, value := range q.vars {
		if strings.HasSuffix(name, "_id") && !isSnowflake(value) {
			return stage.Faultf("%s: %s %q is no snowflake", q.op.Name, name, value)
		}
	}
	var problems []problem
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return stage.Faultf("%s: the query cannot be read: %v", q.op.Name, err)
	}
	q.query = make(map[string]string, len(query))
	for name, list := range query {
		i := slices.IndexFunc(q.op.Query, func(f field) bool { return f.Name == name })
		if i < 0 || len(list) > 1 {
			return stage.Faultf("%s has no query parameter %q, or it is given %d times", q.op.Name, name, len(list))
		}
		if err := c.text(q.op.Query[i].Type, name, list[0], &problems); err != nil {
			return stage.Faultf("%s: query parameter %s %v", q.op.Name, name, err)
		}
		q.query[name] = list[0]
	}
	if err := c.readBody(r, q, maxFile); err != nil {
		return err
	}
	switch {
	case q.op.Body == "" && len(bytes.TrimSpace(q.body)) > 0:
		return stage.Faultf("%s takes no body", q.op.Name)
	case q.op.Body == "" && len(problems) > 0:
		return invalidForm(problems...)
	case q.op.Body == "":
		return nil
	case len(bytes.TrimSpace(q.body)) == 0:
		return stage.Faultf("%s needs a body", q.op.Name)
	}
	decoder := json.NewDecoder(bytes.NewReader(q.body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil || decoder.More() {
		return stage.Faultf("%s: the body is no JSON", q.op.Name) // the decoder's own words could quote a message
	}
	if err := c.value(c.shapes[q.op.Body], value, nil, &problems); err != nil {
		return stage.Faultf("%s: the body %v", q.op.Name, err)
	}
	if len(problems) > 0 {
		return invalidForm(problems...)
	}
	return nil
}

func isSnowflake(text string) bool {
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil && (text == "0" || text[0] != '0')
}

// text checks a parameter of the query.
func (c checker) text(kind, name, text string, problems *[]problem) error {
	var value any = text
	switch c.shapes[kind][0].name {
	case "integer":
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return errors.New("is no integer")
		}
		value = json.Number(text)
	case "boolean":
		if text != "true" && text != "false" {
			return errors.New("is no boolean")
		}
		value = text == "true"
	}
	return c.value(c.shapes[kind], value, []string{name}, problems)
}

// readBody reads JSON, or the parts of a multipart body: payload_json and files[n]
// (https://docs.discord.com/developers/reference#uploading-files).
func (c checker) readBody(r *http.Request, q *request, maxFile int) error {
	limit := int64(maxBody)
	kind, options, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	multi := err == nil && kind == "multipart/form-data"
	if multi {
		limit += 11 * int64(maxFile)
	}
	body := io.LimitReader(r.Body, limit+1)
	if multi {
		if !q.op.Multipart {
			return stage.Faultf("%s takes no files", q.op.Name)
		}
		return readParts(body, options["boundary"], q, maxFile)
	}
	raw, err := io.ReadAll(body)
	switch {
	case err != nil:
		return fmt.Errorf("read the body: %w", err)
	case int64(len(raw)) > limit:
		return errTooLarge()
	case len(raw) > 0 && kind != "application/json":
		return stage.Faultf("%s: the sandbox does not take a body of type %q", q.op.Name, r.Header.Get("Content-Type"))
	}
	q.body = raw
	return nil
}

func errTooLarge() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, 40005, "Request entity too large")
}

func readParts(body io.Reader, boundary string, q *request, maxFile int) error {
	parts := multipart.NewReader(body, boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			if q.body == nil {
				q.body = json.RawMessage("{}")
			}
			if len(q.uploads) > 10 {
				return invalidForm(tooLong(10, "attachments"))
			}
			return nil
		}
		if err != nil {
			return stage.Faultf("%s: the multipart body cannot be read: %v", q.op.Name, err)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return stage.Faultf("%s: the multipart body cannot be read: %v", q.op.Name, err)
		}
		name := part.FormName()
		index, file := strings.CutPrefix(strings.TrimSuffix(name, "]"), "files[")
		switch {
		case name == "payload_json" && q.body == nil:
			q.body = content
		case file && part.FileName() != "":
			if len(content) > maxFile {
				return errTooLarge()
			}
			q.uploads = append(q.uploads, upload{index, part.FileName(), part.Header.Get("Content-Type"), content})
		default:
			return stage.Faultf("%s: the sandbox does not serve the part %q", q.op.Name, name)
		}
	}
}

// value checks a decoded JSON value against a type. An error says what no client may send; what is out of bounds becomes a
// problem.
func (c checker) value(s shape, v any, path []string, problems *[]problem) error {
	var worst error
	for _, a := range s {
		var found []problem
		err := c.one(a, v, path, &found)
		if err == nil {
			*problems = append(*problems, found...)
			return nil
		}
		if worst == nil || errors.As(worst, new(unservedError)) || len(err.Error()) > len(worst.Error()) && a.name != "null" {
			worst = err // what says most
		}
	}
	return worst
}

// unservedError names an object type that the sandbox does not serve.
type unservedError string

func (e unservedError) Error() string {
	return "is a " + string(e) + ", which the sandbox does not serve"
}

func (c checker) one(a alternative, v any, path []string, problems *[]problem) error {
	if a.element != nil {
		list, ok := v.([]any)
		if !ok {
			return errors.New("is no array")
		}
		a.bounds(float64(len(list)), "length", path, problems)
		for i, one := range list {
			if err := c.value(a.element, one, extend(path, strconv.Itoa(i)), problems); err != nil {
				return fmt.Errorf("[%d] %w", i, err)
			}
		}
		return nil
	}
	if list, ok := c.values[a.name]; ok {
		if v == nil {
			return errors.New("is null")
		}
		if !slices.Contains(list, fmt.Sprint(v)) {
			*problems = append(*problems, problem{path, "BASE_TYPE_CHOICES", "Value must be one of {" + strings.Join(list, ", ") + "}."})
		}
		return nil
	}
	if names, ok := c.unions[a.name]; ok {
		return c.value(readShape(strings.Join(names, " | ")), v, path, problems)
	}
	ok := false
	switch a.name {
	case "null":
		ok = v == nil
	case "boolean":
		_, ok = v.(bool)
	case "object":
		_, ok = v.(map[string]any)
	case "string":
		var text string
		if text, ok = v.(string); ok {
			a.bounds(float64(utf8.RuneCountInString(text)), "length", path, problems)
		}
	case "date-time":
		var text string
		if text, ok = v.(string); ok {
			_, err := time.Parse(time.RFC3339, text)
			ok = err == nil
		}
	case "snowflake":
		text, is := v.(string)
		if n, number := v.(json.Number); number { // an id as a number is read too
			text, is = n.String(), true
		}
		ok = is && isSnowflake(text)
	case "number", "integer", "Int53Type":
		n, is := v.(json.Number)
		f, err := n.Float64()
		if ok = is && err == nil && (a.name == "number" || !strings.ContainsAny(n.String(), ".eE")); ok {
			a.bounds(f, "value", path, problems)
		}
	default:
		return c.object(a.name, v, path, problems)
	}
	if !ok {
		return errors.New("is no " + a.name)
	}
	return nil
}

func extend(path []string, name string) []string { return append(slices.Clone(path), name) }

// bounds holds a length or a value against its bounds.
func (a alternative) bounds(n float64, what string, path []string, problems *[]problem) {
	low, high := a.bounded[0] && n < a.low, a.bounded[1] && n > a.high
	if !low && !high {
		return
	}
	p := problem{path: path}
	switch {
	case what == "value" && low:
		p.code, p.text = "NUMBER_TYPE_MIN", fmt.Sprintf("Value should be greater than or equal to %.0f.", a.low)
	case what == "value":
		p.code, p.text = "NUMBER_TYPE_MAX", fmt.Sprintf("Value should be less than or equal to %.0f.", a.high)
	case a.bounded[0] && a.bounded[1] && a.low > 0:
		p.code, p.text = "BASE_TYPE_BAD_LENGTH", fmt.Sprintf("Must be between %.0f and %.0f in length.", a.low, a.high)
	case low:
		p.code, p.text = "BASE_TYPE_MIN_LENGTH", fmt.Sprintf("Must be %.0f or more in length.", a.low)
	default:
		p = tooLong(int(a.high), path...)
	}
	*problems = append(*problems, p)
}

func (c checker) object(kind string, v any, path []string, problems *[]problem) error {
	fields, ok := v.(map[string]any)
	if !ok {
		return errors.New("is no " + kind)
	}
	t, ok := c.types[kind]
	if !ok {
		return unservedError(kind)
	}
	for name, value := range fields {
		if !slices.ContainsFunc(t.Fields, func(f field) bool { return f.Name == name }) && !tolerated(kind, name, value) {
			return fmt.Errorf("%s has no field %q", kind, name)
		}
	}
	for _, f := range t.Fields {
		v, ok := fields[f.Name]
		switch {
		case !ok && f.Need == required:
			return fmt.Errorf("%s needs the field %q", kind, f.Name)
		case !ok || f.Need == unserved && silent(v):
			continue
		case f.Need == unserved:
			return fmt.Errorf("%s: the sandbox does not serve the field %q", kind, f.Name)
		}
		if err := c.value(c.shapes[f.Type], v, extend(path, f.Name), problems); err != nil {
			return fmt.Errorf("%s.%s %w", kind, f.Name, err)
		}
	}
	return nil
}

// silent says whether a value says nothing. Client libraries send such in fields that do not belong, and Discord does not care.
func silent(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		return v == "0"
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// tolerated says whether a field beyond the definition is let through: what says nothing, and what github.com/bwmarrin/discordgo
// v0.29.0 sends in addition. Discord ignores it.
func tolerated(kind, name string, value any) bool {
	switch kind {
	case "MessageEditRequestPartial":
		if name == "ID" || name == "Channel" {
			return true
		}
	case "MessageAttachmentRequest":
		if slices.Contains([]string{"url", "proxy_url", "content_type", "size", "width", "height"}, name) {
			return true
		}
	}
	return silent(value)
}
