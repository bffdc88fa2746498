package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// statistics answers with how the team does, in a window of whole days (UTC): the last 7 or 30, the present one included, or those from
// one moment to another.
func (s *server) statistics(c echo.Context) error {
	from, to, err := window(c, time.Now())
	if err != nil {
		return err
	}
	told, err := timed(c.Request().Context(), func(ctx context.Context) (bridge.Stats, error) { return s.o.Stats.Stats(ctx, from, to) })
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, told)
}

// window reads which days are asked for. Without a word it is the last seven.
func window(c echo.Context, now time.Time) (from, to time.Time, err error) {
	var period, begins, ends string
	for name, value := range map[string]*string{"period": &period, "from": &begins, "to": &ends} {
		if err := one(c, name, value); err != nil {
			return from, to, err
		}
	}
	fault := func(field, format string, a ...any) error {
		return &bridge.FieldError{Field: field, Problem: fmt.Sprintf(format, a...)}
	}
	if begins == "" && ends == "" {
		switch period {
		case "", "7d":
			return now.AddDate(0, 0, -6), now, nil
		case "30d":
			return now.AddDate(0, 0, -29), now, nil
		}
		return from, to, fault("period", "must be 7d or 30d; any other window has from and to")
	}
	if period != "" {
		return from, to, fault("period", "must be left out where from or to is given")
	}
	if begins == "" {
		return from, to, fault("from", "must be given with to")
	}
	var ok, day bool
	if from, _, ok = moment(begins); !ok {
		return from, to, fault("from", "must be a time such as 2026-01-31T00:00:00Z, or a day such as 2026-01-31")
	}
	to = now
	if ends != "" {
		if to, day, ok = moment(ends); !ok {
			return from, to, fault("to", "must be a time such as 2026-01-31T00:00:00Z, or a day such as 2026-01-31")
		}
		if day { // it is in the window
			to = to.AddDate(0, 0, 1)
		}
	}
	switch oldest := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -bridge.StatsDays); {
	case from.Before(oldest):
		return from, to, fault("from", "must not be before %s: statistics are kept for %d days", oldest.Format(time.DateOnly), bridge.StatsDays)
	case from.After(now):
		return from, to, fault("from", "must not be in the future")
	case !to.After(from):
		return from, to, fault("to", "must be after from")
	case to.After(now):
		to = now
	}
	return from, to, nil
}

// moment reads a time, or the beginning of a day. A plus sign that was not escaped arrives as a blank.
func moment(text string) (at time.Time, day, ok bool) {
	if at, ok = bridge.Time(strings.ReplaceAll(text, " ", "+")); ok {
		return at, false, true
	}
	at, err := time.Parse(time.DateOnly, text)
	return at, true, err == nil
}
