package telegram

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

// refusal is an answer of the server that is not ok.
type refusal struct {
	Code        int    // the answer's error_code, else the HTTP status
	Description string // what Telegram says; may quote what it was sent
	RetryAfter  time.Duration
	MovedTo     int64 // the chat's new id
	Opaque      bool  // not an answer of the Bot API at all, such as a proxy's page
}

// Error tells the code alone, since a description may quote what was sent; classify shows what of it is safe.
func (r *refusal) Error() string { return fmt.Sprintf("the server answered %d", r.Code) }

// envelope is what every answer of the Bot API looks like.
type envelope struct {
	OK          *bool           `json:"ok"`
	Result      json.RawMessage `json:"result"`
	ErrorCode   int             `json:"error_code"`
	Description string          `json:"description"`
	Parameters  struct {
		RetryAfter float64 `json:"retry_after"` // seconds
		MigrateTo  int64   `json:"migrate_to_chat_id"`
	} `json:"parameters"`
}

// readAnswer reads an answer to its end, closes it and returns its result; an answer that is not ok is a *refusal.
func readAnswer(resp *http.Response) (json.RawMessage, error) {
	body, err := platform.ReadAnswer(resp)
	if err != nil {
		return nil, err
	}
	return parseAnswer(resp.StatusCode, body)
}

func parseAnswer(status int, body []byte) (json.RawMessage, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil || e.OK == nil {
		return nil, &refusal{Code: status, Opaque: true}
	}
	if *e.OK {
		return append(json.RawMessage{}, e.Result...), nil
	}
	return nil, &refusal{
		Code:        cmp.Or(e.ErrorCode, status),
		Description: e.Description,
		RetryAfter:  time.Duration(min(max(e.Parameters.RetryAfter, 0), 86400) * float64(time.Second)),
		MovedTo:     e.Parameters.MigrateTo,
	}
}

// answer is what came back of one call.
type answer struct {
	result json.RawMessage // of an answer that is ok; nil: there is none
	err    error
}

type answerKey struct{}

// answers is the HTTP client as the library sees it. It keeps an answer before the library reads it: that turns most refusals into
// bare texts, prints foreign bodies into its errors, and fails on a whole message, one that was sent, for one tag in it that it does
// not know.
type answers struct{ sends, files *http.Client }

// streamKey marks the context of a call whose body is a file: it is sent while it is read.
type streamKey struct{}

func (c answers) Do(req *http.Request) (*http.Response, error) {
	client := c.files
	if req.Context().Value(streamKey{}) == nil {
		client = c.sends
		// The library's body is a pipe. A body that can be read again lets the transport repeat a request by itself that met a
		// connection which the server had closed.
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	resp, err := client.Do(req) //nolint:gosec // the URL is the configuration's own
	if err != nil {
		return nil, err
	}
	raw, err := platform.ReadAnswer(resp)
	if err != nil {
		return nil, err
	}
	if a, ok := req.Context().Value(answerKey{}).(*answer); ok {
		a.result, a.err = parseAnswer(resp.StatusCode, raw)
	}
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	return resp, nil
}

// through makes a call through the library and reads its result into dest, unless that is nil. Its error is a *refusal, or that of a
// call without an answer.
func through(ctx context.Context, dest any, call func(context.Context) error) error {
	a := new(answer)
	err := call(context.WithValue(ctx, answerKey{}, a))
	switch {
	case a.err != nil:
		return a.err
	case a.result == nil:
		return err
	case dest == nil:
		return nil
	}
	return json.Unmarshal(a.result, dest)
}

// only leaves of what the library returns the error: results are read from the answers.
func only[T any](_ T, err error) error { return err }

// do makes a call through the library. A refusal that says one of the texts in fine counts as success.
func (t *Telegram) do(ctx context.Context, op string, dest any, call func(context.Context) error, fine ...string) error {
	ctx, x := outbound.Trace(ctx)
	err := through(ctx, dest, call)
	if err == nil || says(err, fine...) {
		return nil
	}
	return t.classify(op, err, x)
}

// ask makes a call through the library that may be made again at any time. Its errors are *bridge.DeliveryErrors.
func (t *Telegram) ask(ctx context.Context, op string, dest any, call func(context.Context) error) error {
	ctx, x := outbound.Trace(ctx)
	return t.asked(op, through(ctx, dest, call), x)
}

// asked is the failure of a call that may be made again at any time; nil for none.
func (t *Telegram) asked(op string, err error, x *outbound.Exchange) error {
	if err == nil {
		return nil
	}
	d := platform.Repeatable(t.classify(op, err, x))
	if d.Reason == bridge.ReasonTransient || d.Scope == bridge.ScopeUnclear {
		d.Scope = bridge.ScopeDestination // they are of no session
	}
	return d
}
