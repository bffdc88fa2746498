package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// problem is an answer that is not the one that was hoped for. Its text is for the client.
type problem struct {
	status int
	code   string
	text   string
	field  string        // the path of the field that is wrong, or empty
	retry  time.Duration // when to come again, or 0

	supported []int // the versions of the protocol that are served, where it was asked for another
}

func (p *problem) Error() string { return p.text }

// storeRetry is how long a client is asked to wait for a store that could not take an event.
const storeRetry = 2 * time.Second

// problemOf is the one table of errors and their statuses. What is not in it is our own fault.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if f, ok := errors.AsType[*bridge.FieldError](err); ok {
		if f.Field == "" {
			return &problem{status: http.StatusBadRequest, code: "bad_json", text: f.Problem}
		}
		return &problem{status: http.StatusBadRequest, code: "invalid_field", text: f.Error(), field: f.Field}
	}
	if long, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{status: http.StatusRequestEntityTooLarge, code: "too_large",
			text: fmt.Sprintf("the body must be at most %d bytes", long.Limit)}
	}
	if h, ok := errors.AsType[*echo.HTTPError](err); ok { // the router's
		text := http.StatusText(h.Code)
		return &problem{status: h.Code, code: strings.ReplaceAll(strings.ToLower(text), " ", "_"), text: strings.ToLower(text)}
	}
	switch {
	case errors.Is(err, bridge.ErrConflict):
		return &problem{status: http.StatusUnprocessableEntity, code: "conflict", text: "this key was used before for another content"}
	case errors.Is(err, bridge.ErrSuperseded):
		return &problem{status: http.StatusConflict, code: "superseded", text: "the visitor or a person has written since the message that is answered"}
	case errors.Is(err, bridge.ErrFiltered):
		return &problem{status: http.StatusForbidden, code: "filtered", text: "this visitor is kept out by a filter"}
	case errors.Is(err, bridge.ErrTooManyCallbacks):
		return &problem{status: http.StatusUnprocessableEntity, code: "too_many_callbacks", text: "there are too many callbacks"}
	case errors.Is(err, ErrExporting):
		return &problem{status: http.StatusConflict, code: "exporting", text: "another export is under way", retry: storeRetry}
	case errors.Is(err, ErrNoPages):
		return &problem{status: http.StatusNotFound, code: "unknown_session", text: "no pages are served of this session"}
	case errors.Is(err, bridge.ErrNoSession):
		return &problem{status: http.StatusNotFound, code: "unknown_session", text: "nothing is known of this session yet"}
	case errors.Is(err, bridge.ErrNoDelivery):
		return &problem{status: http.StatusNotFound, code: "not_found",
			text: "there is no such dead letter; what still waits is tried again by itself"}
	case errors.Is(err, bridge.ErrNoLane):
		return &problem{status: http.StatusUnprocessableEntity, code: "no_lane", text: "its lane is not configured any more, and would not deliver it"}
	case errors.Is(err, bridge.ErrUnavailable):
		return &problem{status: http.StatusServiceUnavailable, code: "unavailable",
			text: "this could not be stored now; please send it again", retry: storeRetry}
	default:
		return internal()
	}
}

func internal() *problem {
	return &problem{status: http.StatusInternalServerError, code: "internal", text: "something went wrong here"}
}

// fail answers a request that failed. A client that has gone is no fault, and nothing follows an answer that has begun.
func (s *server) fail(c echo.Context, err error) {
	p := problemOf(err)
	if p.status == http.StatusInternalServerError {
		if gone := c.Request().Context().Err(); gone != nil && errors.Is(err, context.Canceled) {
			p = &problem{status: http.StatusServiceUnavailable, code: "canceled", text: "the request was given up"}
		} else {
			s.o.Logger.Error("a request failed", "err", err, "route", c.Path(), "request", requestID(c))
		}
	}
	if !c.Response().Committed {
		s.answer(c, p)
	}
}

// answer writes a problem. That it cannot be written is the client's matter.
func (s *server) answer(c echo.Context, p *problem) {
	h := c.Response().Header()
	switch p.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusRequestTimeout:
		h.Set("Connection", "close")
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	if c.Request().Method == http.MethodHead {
		_ = c.NoContent(p.status)
		return
	}
	_ = reply(c, p.status, struct {
		Error     string `json:"error"`
		Code      string `json:"code"`
		Field     string `json:"field,omitempty"`
		Supported []int  `json:"supported,omitempty"`
	}{p.text, p.code, p.field, p.supported})
}
