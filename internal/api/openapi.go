package api

import (
	_ "embed"
	"net/http"

	"github.com/labstack/echo/v4"
)

// description is the contract of all paths in OpenAPI 3.1. A test holds it to the routes and to the answers.
//
//go:embed openapi.yaml
var description []byte

func (s *server) describe(c echo.Context) error {
	return c.Blob(http.StatusOK, "text/yaml; charset=utf-8", description)
}
