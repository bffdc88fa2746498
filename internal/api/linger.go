package api

import (
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// A client that is still sending when it is refused often reads the answer only when it has sent everything, and loses it when the
// connection is cut before. So what it sends is read on for a while, and thrown away.
const (
	lingerFor   = 2 * time.Second
	lingerBytes = 80 << 20
	lingerFrom  = 256 << 10 // what net/http reads on by itself
)

// linger reads on after an answer that came before the end of the request's body.
func (s *server) linger(c echo.Context) {
	r := c.Request()
	if r.Body == nil || r.ContentLength >= 0 && r.ContentLength <= lingerFrom || r.Header.Get("Expect") != "" ||
		c.Response().Status == http.StatusRequestTimeout {
		return
	}
	rc := http.NewResponseController(c.Response())
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(lingerFor)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, r.Body, lingerBytes)
}
