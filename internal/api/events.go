package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// The headers of an event's request, in the canonical form of http.Header.
const (
	headerCallback       = "X-Pocketping-Callback"
	headerIdempotencyKey = "Idempotency-Key"
)

const maxIdempotencyKey = 255 // characters

// reader turns a body into an event whose type is known, and into the JSON object that is kept of it. An event that comes
// with an error is only good for its type.
type reader func(body []byte) (*bridge.AppEvent, []byte, error)

// accept answers a request that carries an event, of the type that its path stands for or of its own. It is answered with
// 200 only after the event is durable, and waits for nothing else. shape is of the type that the body is of.
func (s *server) accept(t bridge.Type, read reader, shape any) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		r := c.Request()
		t, result := t, resultFailed // unless it gets further; a panic is a fault of ours too
		defer func() {
			if err != nil && result == resultFailed {
				result = resultOf(r.Context(), err)
			}
			s.counts.accept(t, result)
		}()
		if err := s.allow(r); err != nil {
			return err
		}
		callback, key, err := named(r)
		if err != nil {
			return err
		}
		body, err := s.body(c)
		if err != nil {
			return err
		}
		body = s.masked(body, shape)
		in := bridge.Inbound{Callback: callback}
		in.Event, in.Body, err = read(body)
		if in.Event != nil {
			t = in.Event.Type
			if narrow := mayTell(c, t); narrow != nil {
				return narrow
			}
		}
		if err != nil {
			return err
		}
		if key != "" {
			sum := sha256.Sum256(body)
			in.IdempotencyKey, in.Sum = c.Path()+" "+key, hex.EncodeToString(sum[:])
		}
		done, err := s.o.Ingester.Ingest(r.Context(), in)
		if err != nil {
			return err
		}
		if result = resultAccepted; done.Duplicate {
			result = resultDuplicate
		}
		answer := accepted{OK: true, ID: done.ID, OperatorOnline: done.OperatorOnline, Duplicate: done.Duplicate}
		if done.CallbackUnknown {
			answer.Callback = "unknown"
		}
		return reply(c, http.StatusOK, answer)
	}
}

// masked is a body with card numbers masked, where that is asked for.
func (s *server) masked(body []byte, shape any) []byte {
	if !s.o.MaskCards {
		return body
	}
	return bridge.MaskCardsJSON(body, shape)
}

type accepted struct {
	OK             bool   `json:"ok"`
	ID             string `json:"id,omitempty"`
	OperatorOnline bool   `json:"operatorOnline"`
	Duplicate      bool   `json:"duplicate,omitempty"`
	Callback       string `json:"callback,omitempty"`
}

// named returns the callback and the key that the request's headers name.
func named(r *http.Request) (callback, key string, err error) {
	if v, there := r.Header[headerCallback]; there {
		if len(v) != 1 || !bridge.PrintableID(v[0]) {
			return "", "", &bridge.FieldError{Field: "X-PocketPing-Callback", Problem: "must be 1 to 128 printable characters"}
		}
		callback = v[0]
	}
	if v, there := r.Header[headerIdempotencyKey]; there {
		if len(v) != 1 || !printableKey(v[0]) {
			return "", "", &bridge.FieldError{Field: "Idempotency-Key", Problem: "must be 1 to 255 printable characters"}
		}
		key = v[0]
	}
	return callback, key, nil
}

func printableKey(key string) bool {
	return key != "" && utf8.ValidString(key) && utf8.RuneCountInString(key) <= maxIdempotencyKey &&
		!strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) })
}

// decodeAny reads an event that says itself what it is.
func decodeAny(body []byte) (*bridge.AppEvent, []byte, error) {
	e, err := bridge.DecodeAppEvent(body)
	if err != nil {
		return nil, nil, err
	}
	return checked(e, body)
}

// decodeAs reads an event of the one type that its path stands for. A type in the body is ignored, and one that says something
// else is not kept.
func decodeAs(t bridge.Type) reader {
	return func(body []byte) (*bridge.AppEvent, []byte, error) {
		e, err := bridge.DecodeAppEvent(body)
		fault, _ := errors.AsType[*bridge.FieldError](err)
		if fault != nil && fault.Field == "type" && fault.Problem != bridge.ProblemRepeated || err == nil && e.Type != "" && e.Type != t {
			if body, err = withoutType(body); err == nil {
				e, err = bridge.DecodeAppEvent(body)
			}
		}
		if err != nil {
			return nil, nil, err
		}
		e.Type = t
		return checked(e, body)
	}
}

// withoutType returns a JSON object without the field type, in whatever spelling the decoder takes for it.
func withoutType(body []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if strings.EqualFold(name, "type") {
			delete(fields, name)
		}
	}
	return json.Marshal(fields)
}

// session reads a body that is itself the session of a new_session. A fault names the field as the body has it.
func session(body []byte) (*bridge.AppEvent, []byte, error) {
	s := new(bridge.Session)
	if err := bridge.DecodeObject(body, s); err != nil {
		return nil, nil, err
	}
	whole := slices.Concat([]byte(`{"session":`), bytes.TrimSpace(body), []byte{'}'})
	e, whole, err := checked(&bridge.AppEvent{Type: bridge.TypeNewSession, Session: s}, whole)
	if fault, ok := errors.AsType[*bridge.FieldError](err); ok {
		err = &bridge.FieldError{Field: strings.TrimPrefix(fault.Field, "session."), Problem: fault.Problem}
	}
	return e, whole, err
}

func checked(e *bridge.AppEvent, body []byte) (*bridge.AppEvent, []byte, error) {
	if err := e.Validate(); err != nil {
		return e, nil, err
	}
	e.Trim()
	return e, bytes.TrimSpace(body), nil
}
