package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

// refusal is an answer of the server that is not ok.
type refusal struct {
	Status   int    // HTTP
	Says     string // Slack's word for what is wrong; empty: there was none
	Needed   string // the scopes that are missing
	Provided string
	Opaque   bool // not an answer of the Web API at all, such as a proxy's page
}

// Error tells no more than is safe to show.
func (r *refusal) Error() string {
	if r.Says != "" {
		return "the server answered " + r.Says
	}
	return fmt.Sprintf("the server answered %d", r.Status)
}

// says tells whether err is a refusal by one of the words.
func says(err error, words ...string) bool {
	r, ok := errors.AsType[*refusal](err)
	for _, word := range words {
		if ok && r.Says == word {
			return true
		}
	}
	return false
}

// readAnswer reads an answer to its end, closes it and returns it; one that is not ok is a *refusal.
func readAnswer(resp *http.Response) ([]byte, error) {
	body, err := platform.ReadAnswer(resp)
	if err != nil {
		return nil, err
	}
	var a struct {
		OK       *bool  `json:"ok"`
		Error    string `json:"error"`
		Needed   string `json:"needed"`
		Provided string `json:"provided"`
	}
	if err := json.Unmarshal(body, &a); a.OK == nil || err != nil && isSyntax(err) {
		return nil, &refusal{Status: resp.StatusCode, Opaque: true}
	}
	if *a.OK && resp.StatusCode < 300 {
		return body, nil
	}
	return nil, &refusal{Status: resp.StatusCode, Says: word(a.Error), Needed: word(a.Needed), Provided: word(a.Provided)}
}

// isSyntax says whether a text is no JSON at all, and not merely other than was expected.
func isSyntax(err error) bool {
	_, otherType := errors.AsType[*json.UnmarshalTypeError](err)
	return !otherType
}

// word returns what Slack says in a form that may be logged: its errors and scopes are words of these characters.
func word(text string) string {
	const longest = 200
	if len(text) > longest || strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && r != ':' && r != '.' && r != ',' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return "an unknown error"
	}
	return text
}

// answer is what came back of one call; of several, of the last.
type answer struct {
	header http.Header
	body   []byte // nil: no answer that is ok
}

type answerKey struct{}

// answers is the HTTP client as the library sees it. It reads an answer before the library does: that takes one which is not ok for
// one that is where no error is named, fails on a 429 without Retry-After, and on a whole message, or a page of them, for one block in
// it that it cannot read.
type answers struct{ client *http.Client }

func (c answers) Do(req *http.Request) (*http.Response, error) {
	a, _ := req.Context().Value(answerKey{}).(*answer)
	if a == nil {
		a = new(answer)
	}
	*a = answer{}
	resp, err := c.client.Do(req) //nolint:gosec // the URL is the configuration's own
	if err != nil {
		return nil, err
	}
	a.header = resp.Header
	if a.body, err = readAnswer(resp); err != nil {
		return nil, err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(a.body)), int64(len(a.body))
	return resp, nil
}

// do makes one call through the library, reads its answer into dest unless that is nil, and says in the bridge's words why it failed.
func (s *Slack) do(ctx context.Context, op string, dest any, call func(context.Context) error) error {
	_, err := s.doWithHeader(ctx, op, dest, call)
	return err
}

func (s *Slack) doWithHeader(ctx context.Context, op string, dest any, call func(context.Context) error) (http.Header, error) {
	ctx, x := outbound.Trace(ctx)
	a := new(answer)
	err := call(context.WithValue(ctx, answerKey{}, a))
	if a.body != nil {
		err = nil // whatever the library makes of it
		if dest != nil {
			err = decode(a.body, dest)
		}
	}
	if err != nil {
		return nil, classify(op, err, x, s.secrets...)
	}
	return a.header, nil
}

// read is do for a call that only reads the channel, and may be made again at any time. Its errors are *bridge.DeliveryErrors.
func (s *Slack) read(ctx context.Context, op string, dest any, call func(context.Context) error) error {
	return repeatable(s.do(ctx, op, dest, s.joining(call)))
}

// makeSo is do for a change that may be made again at any time. Its words are Slack's for that it was made before.
func (s *Slack) makeSo(ctx context.Context, op string, call func(context.Context) error, before ...string) error {
	return repeatable(s.do(ctx, op, nil, func(ctx context.Context) error {
		err := call(ctx)
		if says(err, before...) {
			return nil
		}
		return err
	}))
}

// joining is a call that is made again as a member of the channel, where the bot is none.
func (s *Slack) joining(call func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := call(ctx)
		if says(err, "not_in_channel") && s.join(ctx) == nil {
			err = call(ctx)
		}
		return err
	}
}

// only leaves of what the library returns the error: results are read from the answers.
func only[T any](_ T, err error) error { return err }
