package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/pocketping/bridge/internal/bridge"
)

// limits are the paces of the API keys, one each; without keys there is one for all. Empty: no limit.
type limits []*rate.Limiter

func newLimits(perSecond float64, keys int) limits {
	if perSecond <= 0 {
		return nil
	}
	l := make(limits, max(keys, 1))
	for i := range l {
		l[i] = rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(perSecond)))
	}
	return l
}

// allow counts one event of the request's key, or says when there will be room for it.
func (s *server) allow(r *http.Request) error {
	if len(s.limits) == 0 {
		return nil
	}
	key, _ := s.keys.find(r)
	now := time.Now()
	reservation := s.limits[key].ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	reservation.CancelAt(now)
	return &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: "too many events for this API key", retry: wait}
}

// body reads the request's body to its end, at most MaxBody bytes of it, as they came and when they are decoded. What it returns is
// without a byte order mark and belongs to the caller.
func (s *server) body(c echo.Context) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > s.o.MaxBody {
		c.Response().Header().Set("Connection", "close")
		return nil, &http.MaxBytesError{Limit: s.o.MaxBody}
	}
	// The writer itself, not Echo's wrapping: net/http closes the connection of a body that is too long.
	from, err := decoded(r, http.MaxBytesReader(c.Response().Writer, r.Body, s.o.MaxBody))
	if err != nil {
		return nil, bodyFault(err)
	}
	from = &most{from: from, left: s.o.MaxBody, max: s.o.MaxBody}
	// A length that is only announced is believed up to 64 KiB.
	text := make([]byte, 0, min(max(r.ContentLength+1, 512), 64<<10))
	for {
		n, err := from.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case errors.Is(err, io.EOF):
			if text, err = plainJSON(text); err != nil {
				return nil, err
			}
			return text, shallow(text)
		case err != nil:
			return nil, bodyFault(err)
		}
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
	}
}

// bodyFault says why a body could not be read.
func bodyFault(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &problem{status: http.StatusRequestTimeout, code: "timeout", text: "the body did not arrive in time"}
	}
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return err
	}
	if known, ok := errors.AsType[*problem](err); ok {
		return known
	}
	return &problem{status: http.StatusBadRequest, code: "bad_body", text: "the body could not be read to its end, or is not what its Content-Encoding says"}
}

// maxDepth is how deep a body may be nested. What is deeper could be read here, but no longer once it is put into another
// object, nor by many who are told of it: parsers commonly stop somewhere from 64 to 1000.
const maxDepth = 100

// shallow returns an error for a body that is nested too deeply. Of a body that is no JSON anything may be said.
func shallow(text []byte) error {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= maxDepth {
		return nil
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"':
			quoted = !quoted
		case quoted && b == '\\':
			i++ // what stands behind it ends nothing
		case quoted:
		case b == '{', b == '[':
			if depth++; depth > maxDepth {
				return &bridge.FieldError{Problem: fmt.Sprintf("the body must be nested at most %d deep", maxDepth)}
			}
		case b == '}', b == ']':
			depth--
		}
	}
	return nil
}
