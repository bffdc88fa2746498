package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// propose takes a draft of an answer. It is shown to operators, and goes to the visitor when one of them sends it.
func (s *server) propose(c echo.Context) error {
	session, err := pathID(c)
	if err != nil {
		return err
	}
	if s.o.Proposer == nil {
		return bridge.ErrNoSession
	}
	if err := s.allow(c.Request()); err != nil {
		return err
	}
	_, key, err := named(c.Request())
	if err != nil {
		return err
	}
	body, err := s.body(c)
	if err != nil {
		return err
	}
	var d bridge.Draft
	body = s.masked(body, &d)
	if err := bridge.DecodeObject(body, &d); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	sum := ""
	if key != "" {
		digest := sha256.Sum256(body)
		key, sum = c.Path()+" "+session+" "+key, hex.EncodeToString(digest[:])
	}
	done, err := s.o.Proposer.Propose(c.Request().Context(), session, d, key, sum)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, accepted{OK: true, ID: done.ID, OperatorOnline: done.OperatorOnline, Duplicate: done.Duplicate})
}
