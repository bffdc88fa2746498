package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

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
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil || e.OK == nil {
		return nil, &refusal{Code: resp.StatusCode, Opaque: true}
	}
	if *e.OK {
		return e.Result, nil
	}
	r := &refusal{
		Code:        e.ErrorCode,
		Description: e.Description,
		RetryAfter:  time.Duration(min(max(e.Parameters.RetryAfter, 0), 86400) * float64(time.Second)),
		MovedTo:     e.Parameters.MigrateTo,
	}
	if r.Code == 0 {
		r.Code = resp.StatusCode
	}
	return nil, r
}

// answers is the HTTP client as the library sees it. It reads the answer before the library does, since the library turns
// most refusals into bare texts, prints foreign bodies into its errors, and fails on a whole message, one that was sent, for
// one tag in it that it does not know.
type answers struct{ client *http.Client }

func (a answers) Do(req *http.Request) (*http.Response, error) {
	// The library's body is a pipe. A body that can be read again lets the transport repeat a request by itself that met a
	// connection which the server had closed.
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	resp, err := a.client.Do(req) //nolint:gosec // the URL is the configuration's own
	if err != nil {
		return nil, err
	}
	result, err := readAnswer(resp)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(append(append([]byte(`{"ok":true,"result":`), slim(result)...), '}')))
	resp.ContentLength = -1
	return resp, nil
}

// slim leaves of a result what the calls made through the library need: a message's or topic's ids and name.
func slim(result json.RawMessage) []byte {
	var r struct {
		MessageID int64  `json:"message_id,omitempty"`
		ThreadID  int64  `json:"message_thread_id,omitempty"`
		Name      string `json:"name,omitempty"`
	}
	if len(result) == 0 {
		return []byte("null")
	}
	if json.Unmarshal(result, &r) != nil {
		return result
	}
	out, err := json.Marshal(r)
	if err != nil {
		return result
	}
	return out
}

// call makes one call in plain JSON, without the library, and reads its result into dest unless that is nil.
func (t *Telegram) call(ctx context.Context, client *http.Client, method string, params, dest any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return err
	}
	//nolint:gosec // the URL is the configuration's own
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req) //nolint:bodyclose,gosec // readAnswer closes it; the URL is the configuration's own
	if err != nil {
		return err
	}
	result, err := readAnswer(resp)
	if err != nil || dest == nil {
		return err
	}
	return json.Unmarshal(result, dest)
}
