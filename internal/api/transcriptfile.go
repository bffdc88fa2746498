package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// transcriptLongest is how many messages a transcript's file has at most, the newest.
const transcriptLongest = 10_000

// transcriptFile answers with what was said in a session as a file of text, a message after the other, oldest first.
func (s *server) transcriptFile(c echo.Context) error {
	if s.o.Transcripts == nil {
		return &problem{status: http.StatusNotFound, code: "no_transcripts", text: "transcripts are not kept here; set TRANSCRIPTS=on"}
	}
	session, err := pathID(c)
	if err != nil {
		return err
	}
	var all []bridge.TranscriptMessage // the newest page first, each page the oldest message first
	for before, more := "", true; more && len(all) < transcriptLongest; {
		q := bridge.TranscriptQuery{Session: session, Before: before, Limit: transcriptMost}
		page, err := s.o.Transcripts.Transcript(c.Request().Context(), q)
		if err != nil {
			return err
		}
		if len(page.Messages) == 0 || page.Messages[0].ID == before {
			break
		}
		before, more = page.Messages[0].ID, page.More
		slices.Reverse(page.Messages)
		all = append(all, page.Messages...)
	}
	if len(all) == 0 {
		return &problem{status: http.StatusNotFound, code: "unknown_session", text: "nothing is kept of this session"}
	}
	slices.Reverse(all)
	var b strings.Builder
	for _, m := range all {
		b.WriteString(m.Line(m.Timestamp))
	}
	c.Response().Header().Set("Content-Disposition", `attachment; filename="transcript.txt"`)
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", []byte(b.String()))
}
