package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// eraseSession begins to take a session away. A session that nobody knows is gone already, and the answer is the same.
func (s *server) eraseSession(c echo.Context) error {
	session, err := pathID(c)
	if err != nil {
		return err
	}
	text, platforms := "", false
	if err := one(c, "platforms", &text); err != nil {
		return err
	}
	if text != "" {
		if platforms, err = strconv.ParseBool(text); err != nil {
			return &bridge.FieldError{Field: "platforms", Problem: "must be true or false"}
		}
	}
	id, err := timed(c.Request().Context(), func(ctx context.Context) (string, error) { return s.o.Eraser.Erase(ctx, session, platforms) })
	if err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, struct {
		ID string `json:"id"`
	}{id})
}

// erasure tells what became of an erasure.
func (s *server) erasure(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	var told bridge.Erasure
	var ok bool
	err = inTime(c.Request().Context(), func(ctx context.Context) (err error) {
		told, ok, err = s.o.Eraser.Erasure(ctx, id)
		return err
	})
	if err != nil {
		return err
	}
	if !ok {
		return &problem{status: http.StatusNotFound, code: "unknown_erasure", text: "there is no such erasure"}
	}
	return reply(c, http.StatusOK, told)
}
