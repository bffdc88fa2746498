package api

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Health is how the bridge does.
type Health interface {
	// Platforms returns the names of the platforms that are configured.
	Platforms() []string
	// Checks looks at everything without which no event can be accepted, the store above all.
	Checks(ctx context.Context) []Check
	// Lanes tells how each lane does. A lane that is held up does not make the bridge unready.
	Lanes() []bridge.LaneHealth
}

// Check is one of the things that must work. Cause says why it does not, and is empty when it does: in words of our own, since
// anyone may read it. Detail is what an error said, addresses too; only who has an API key is shown it.
type Check struct {
	Name   string
	Cause  string
	Detail string
}

const checkTimeout = 5 * time.Second

// healthy says who we are. As existing clients expect it, a process that answers is ok.
func (s *server) healthy(c echo.Context) error {
	return reply(c, http.StatusOK, struct {
		Status   string   `json:"status"`
		Bridges  []string `json:"bridges"`
		Version  string   `json:"version"`
		Protocol int      `json:"protocol"`
	}{"ok", append([]string{}, s.o.Health.Platforms()...), s.o.Version, Protocol})
}

func (s *server) live(c echo.Context) error {
	return c.String(http.StatusOK, "ok")
}

type readiness struct {
	Status string          `json:"status"` // ok, unavailable or closing
	Checks []checkResult   `json:"checks,omitempty"`
	Lanes  []laneReadiness `json:"lanes,omitempty"`
}

type checkResult struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok or failed
	Cause  string `json:"cause,omitempty"`
	Detail string `json:"detail,omitempty"` // only with an API key
}

type laneReadiness struct {
	bridge.LaneHealth
	Oldest float64 `json:"oldest"` // seconds
}

// ready says whether events can be accepted now.
func (s *server) ready(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	_, verbose := c.QueryParams()["verbose"]
	index, keyed := s.keys.find(c.Request())
	keyed = keyed && s.keys[index].scope != ScopeEvents
	answer := readiness{Status: "ok"}
	for _, check := range s.o.Health.Checks(ctx) {
		result := checkResult{Name: check.Name, Status: "ok", Cause: check.Cause}
		if check.Cause != "" {
			result.Status, answer.Status = "failed", "unavailable"
		}
		if keyed {
			result.Detail = check.Detail
		}
		if verbose {
			answer.Checks = append(answer.Checks, result)
		}
	}
	if verbose {
		for _, lane := range s.o.Health.Lanes() {
			answer.Lanes = append(answer.Lanes, laneReadiness{lane, lane.Oldest.Seconds()})
		}
	}
	if closed(s.o.Closing) {
		answer.Status = "closing"
	}
	if answer.Status != "ok" {
		return reply(c, http.StatusServiceUnavailable, answer)
	}
	return reply(c, http.StatusOK, answer)
}

// whoIsThere shows the team.
func (s *server) whoIsThere(c echo.Context) error {
	operators, err := s.o.Presence.Operators(c.Request().Context())
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, bridge.OperatorStatus{
		Online: s.o.Presence.Online(), Operators: append([]bridge.Operator{}, operators...),
	})
}
