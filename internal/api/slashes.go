package api

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"
)

// withoutExtraSlashes has a path served as if its slashes were single and none stood at its end: a base URL that ends with a slash
// makes such paths.
func withoutExtraSlashes(next echo.HandlerFunc) echo.HandlerFunc {
	several := regexp.MustCompile(`//+`)
	single := func(path string) string {
		if strings.Contains(path, "//") {
			path = several.ReplaceAllString(path, "/")
		}
		if len(path) > 1 {
			path = strings.TrimSuffix(path, "/")
		}
		return path
	}
	return func(c echo.Context) error {
		u := c.Request().URL
		if u.RawPath == "" {
			u.Path = single(u.Path)
			return next(c)
		}
		raw := single(u.RawPath) // a slash that is written as %2F is part of a name
		if path, err := url.PathUnescape(raw); err == nil {
			u.Path, u.RawPath = path, raw
		}
		return next(c)
	}
}
