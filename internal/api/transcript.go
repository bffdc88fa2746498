package api

import (
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// The sizes of a page of a transcript, in messages.
const (
	transcriptPage = 100
	transcriptMost = 200
)

// messages answers with a page of a session's transcript, oldest first.
func (s *server) messages(c echo.Context) error {
	if s.o.Transcripts == nil {
		return &problem{status: http.StatusNotFound, code: "no_transcripts", text: "transcripts are not kept here; set TRANSCRIPTS=on"}
	}
	q := bridge.TranscriptQuery{Limit: transcriptPage}
	var err error
	if q.Session, err = pathID(c); err != nil {
		return err
	}
	limit := ""
	for name, value := range map[string]*string{"before": &q.Before, "limit": &limit} {
		if err := one(c, name, value); err != nil {
			return err
		}
	}
	if q.Before != "" && !bridge.PrintableID(q.Before) {
		return &bridge.FieldError{Field: "before", Problem: "must be the id of a message"}
	}
	if limit != "" {
		if q.Limit, err = strconv.Atoi(limit); err != nil || q.Limit < 1 || q.Limit > transcriptMost {
			return &bridge.FieldError{Field: "limit", Problem: "must be 1 to " + strconv.Itoa(transcriptMost)}
		}
	}
	page, err := s.o.Transcripts.Transcript(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Messages []bridge.TranscriptMessage `json:"messages"`
		More     bool                       `json:"more"`
	}{append([]bridge.TranscriptMessage{}, page.Messages...), page.More})
}
