package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Exporter writes all that the bridge keeps.
type Exporter interface {
	// Export writes it as of one moment. A final one has the bridge accept nothing more from then on, unless it fails. The error is
	// ErrExporting while another is under way.
	Export(ctx context.Context, w io.Writer, final bool) error
}

// ErrExporting means that another export is under way.
var ErrExporting = errors.New("another export is under way")

// export answers with all that the bridge keeps. What fails in the middle cuts the connection.
func (s *server) export(c echo.Context) error {
	text, final := "", false
	err := one(c, "final", &text)
	if err == nil && text != "" {
		if final, err = strconv.ParseBool(text); err != nil {
			err = &bridge.FieldError{Field: "final", Problem: "must be true or false"}
		}
	}
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "application/x-ndjson")
	h.Set("Content-Disposition", `attachment; filename="bridge-export.ndjson"`)
	out := exportWriter{c.Response(), http.NewResponseController(c.Response())}
	err = s.o.Exporter.Export(c.Request().Context(), out, final)
	if err != nil && c.Response().Committed {
		s.o.Logger.Error("an export was cut off", "err", err, "request", requestID(c))
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		h.Del(echo.HeaderContentType)
		h.Del("Content-Disposition")
	}
	return err
}

// exportWriter gives each write its time.
type exportWriter struct {
	w  io.Writer
	rc *http.ResponseController
}

func (e exportWriter) Write(data []byte) (int, error) {
	if err := e.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return e.w.Write(data)
}
