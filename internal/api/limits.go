package api

import (
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"
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

// take counts one event of the request's key, or says when there will be room for it.
func (s *server) take(r *http.Request) error {
	if len(s.limits) == 0 {
		return nil
	}
	key, _ := s.keys.find(r)
	now := time.Now()
	turn := s.limits[key].ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	turn.CancelAt(now)
	return &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: "too many events for this API key", retry: wait}
}

// body reads the request's body to its end, at most MaxBody bytes of it. What it returns belongs to the caller.
func (s *server) body(c echo.Context) ([]byte, error) {
	r := c.Request()
	if r.ContentLength > s.maxBody {
		return nil, &http.MaxBytesError{Limit: s.maxBody}
	}
	// The writer itself, not Echo's wrapping: net/http closes the connection of a body that is too long.
	from := http.MaxBytesReader(c.Response().Writer, r.Body, s.maxBody)
	// A length that is only announced is believed up to 64 KiB.
	text := make([]byte, 0, min(max(r.ContentLength+1, 512), 64<<10))
	for {
		n, err := from.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case err == io.EOF:
			return text, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &problem{status: http.StatusRequestTimeout, code: "timeout", text: "the body did not arrive in time"}
		case err != nil:
			if _, long := errors.AsType[*http.MaxBytesError](err); long {
				return nil, err
			}
			return nil, &problem{status: http.StatusBadRequest, code: "bad_body", text: "the body could not be read to its end"}
		}
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
	}
}
