package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// answers is the HTTP client as the library sees it. It reads the answer before the library does: that takes an answer which is
// not ok for one that is where no error is named, and fails on a 429 without Retry-After.
type answers struct{ client *http.Client }

func (a answers) Do(req *http.Request) (*http.Response, error) {
	resp, err := a.client.Do(req) //nolint:gosec // the URL is the configuration's own
	if err != nil {
		return nil, err
	}
	body, err := readAnswer(resp)
	if err != nil {
		return nil, err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// do makes one call through the library, and says in the bridge's words why it failed.
func (s *Slack) do(ctx context.Context, op string, call func(context.Context) error) error {
	ctx, x := outbound.Trace(ctx)
	if err := call(ctx); err != nil {
		return s.classify(op, err, x)
	}
	return nil
}

// read makes one call that only reads, without the library: that drops a whole page of messages for one block in it that it
// cannot read, and tells nothing of the scopes. Its errors are *bridge.DeliveryErrors.
func (s *Slack) read(ctx context.Context, op string, params url.Values, dest any) error {
	_, err := s.readWithHeader(ctx, op, params, dest)
	return err
}

func (s *Slack) readWithHeader(ctx context.Context, op string, params url.Values, dest any) (http.Header, error) {
	ctx, x := outbound.Trace(ctx)
	header, err := s.get(ctx, op, params, dest)
	if says(err, "not_in_channel") && s.join(ctx) == nil {
		header, err = s.get(ctx, op, params, dest)
	}
	if err == nil {
		return header, nil
	}
	return nil, platform.Repeatable(s.classify(op, err, x))
}

func (s *Slack) get(ctx context.Context, op string, params url.Values, dest any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+op, strings.NewReader(params.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+s.token.Reveal())
	resp, err := s.calls.Do(req) //nolint:bodyclose // readAnswer closes it
	if err != nil {
		return nil, err
	}
	body, err := readAnswer(resp)
	if err != nil || dest == nil {
		return resp.Header, err
	}
	if err := json.Unmarshal(body, dest); err != nil && isSyntax(err) {
		return nil, err
	}
	return resp.Header, nil
}
