package slack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// maxBody is the longest request that is read, in bytes, uploads apart. No method that is served needs more.
const maxBody = 1 << 20

// params are a request's arguments: strings as they are, numbers and booleans as their text, anything else as JSON. The token is
// none of them.
type params map[string]string

// given is an argument as it came. In a form everything is text; in a JSON body a value keeps its type.
type given struct {
	text string
	json json.RawMessage // nil in a form
}

// plain returns an argument as params keep it.
func (g given) plain() string {
	if g.json == nil {
		return g.text
	}
	var text string
	if json.Unmarshal(g.json, &text) == nil {
		return text
	}
	return string(g.json)
}

// readRequest returns the arguments and the token. The token is an argument of a form, or a bearer; arguments are a query, a
// form, or, with a bearer, JSON (https://docs.slack.dev/apis/web-api#methods_supporting_json).
func readRequest(r *http.Request) (map[string]given, string, error) {
	out := make(map[string]given)
	keep := func(values url.Values) error {
		for name, list := range values {
			if len(list) > 1 {
				return stage.Faultf("argument %q is given %d times", name, len(list))
			}
			out[name] = given{text: list[0]}
		}
		return nil
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	err := keep(r.URL.Query())
	if err == nil && r.Method == http.MethodPost {
		err = readBody(r, out, keep)
	}
	if t, ok := out["token"]; ok {
		delete(out, "token")
		if bearer && t.plain() != token {
			return nil, "", stage.Faultf("two tokens are given")
		}
		token = t.plain()
		if r.URL.Query().Has("token") {
			return nil, "", stage.Faultf("the token is in the query, which logs on the way keep")
		}
	}
	return out, token, err
}

func readBody(r *http.Request, out map[string]given, keep func(url.Values) error) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the body: %w", err)
	case len(body) > maxBody:
		return stage.Faultf("the body is longer than the sandbox reads")
	case len(body) == 0:
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return stage.Faultf("Content-Type %q cannot be read", r.Header.Get("Content-Type"))
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return stage.Faultf("the form cannot be read: %v", err)
		}
		return keep(form)
	case "application/json":
		var object map[string]json.RawMessage
		if err := json.Unmarshal(body, &object); err != nil {
			return stage.Faultf("the body is no JSON object: %v", err)
		}
		if _, ok := object["token"]; ok {
			return stage.Faultf("the token is in a JSON body, where Slack does not look for it")
		}
		for name, raw := range object {
			if string(raw) != "null" {
				out[name] = given{json: raw}
			}
		}
		return nil
	}
	return stage.Faultf("the sandbox does not take a body of type %q", kind)
}

// checker holds the definition in a form for looking up.
type checker struct{ methods map[string]method }

func newChecker() checker {
	c := checker{methods: make(map[string]method)}
	for _, m := range methodTable() {
		c.methods[m.Name] = m
	}
	return c
}

// knows says whether the table has an error for the method.
func (m method) knows(says string) bool {
	return slices.Contains(m.Errors, says) || slices.Contains(m.Seen, says) || slices.Contains(commonErrors(), says)
}

// check holds a request against the definition. What differs from it is a fault.
func (c checker) check(m method, in map[string]given) error {
	for name := range in {
		if !slices.ContainsFunc(m.Args, func(a argument) bool { return a.Name == name }) {
			return stage.Faultf("%s has no argument %q", m.Name, name)
		}
	}
	for _, a := range m.Args {
		g, ok := in[a.Name]
		switch {
		case !ok && a.Need == required:
			return stage.Faultf("%s needs the argument %q", m.Name, a.Name)
		case !ok:
			continue
		case a.Need == unserved && g.plain() == "":
			continue // clients send some without a value
		case a.Need == unserved:
			return stage.Faultf("%s: the sandbox does not serve the argument %q", m.Name, a.Name)
		}
		if err := a.check(g); err != nil {
			return stage.Faultf("%s: argument %s %v", m.Name, a.Name, err)
		}
	}
	return nil
}

func (a argument) check(g given) error {
	text := g.plain()
	if !utf8.ValidString(text) {
		return errors.New("is no UTF-8")
	}
	var wrong error
	for kind := range strings.SplitSeq(a.Type, " or ") {
		if wrong = checkKind(kind, text); wrong == nil {
			return nil
		}
	}
	return wrong
}

func checkKind(kind, text string) error {
	switch kind {
	case "boolean":
		// Forms write 1 and 0, too.
		if !slices.Contains([]string{"true", "false", "1", "0"}, text) {
			return errors.New("is no boolean")
		}
	case "number", "integer":
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return errors.New("is no number")
		}
	case "array":
		var list []json.RawMessage
		if json.Unmarshal([]byte(text), &list) != nil {
			return errors.New("is no array")
		}
	case "channel", "user", "file":
		if text == "" {
			return errors.New("is empty")
		}
	}
	return nil
}

func (p params) is(name string) bool { return p[name] == "true" || p[name] == "1" }

// integer returns a number that the check has let through, or none.
func (p params) integer(name string, none int) int {
	n, err := strconv.Atoi(p[name])
	if err != nil {
		return none
	}
	return n
}

// first returns the first of the arguments that is not empty.
func (p params) first(names ...string) string {
	for _, name := range names {
		if p[name] != "" {
			return p[name]
		}
	}
	return ""
}
