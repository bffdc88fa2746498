package api

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// ErrNoPages is what TellPages answers for a session of which no pages are served.
var ErrNoPages = errors.New("no pages are served of this session")

// pageEvent takes an event of the app's own for a session's pages. 202: it is told to those that are open, and to nobody else.
func (s *server) pageEvent(c echo.Context) error {
	session, err := pathID(c)
	if err != nil {
		return err
	}
	text, err := s.body(c)
	if err != nil {
		return err
	}
	var e bridge.CustomEvent
	if err := bridge.DecodeObject(s.masked(text, &e), &e); err != nil {
		return err
	}
	switch {
	case e.Name == "":
		return &bridge.FieldError{Field: "name", Problem: "is required"}
	case len([]rune(e.Name)) > bridge.MaxEventName:
		return &bridge.FieldError{Field: "name", Problem: "is too long"}
	case s.o.TellPages == nil:
		return ErrNoPages
	}
	if err := s.o.TellPages(c.Request().Context(), session, e); err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, struct {
		OK bool `json:"ok"`
	}{true})
}
