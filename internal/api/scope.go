package api

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Scope is what a narrow key may do, as API_KEY has it before the key's own text.
type Scope string

// The scopes of narrow keys. A key without one may do everything.
const (
	ScopeEvents Scope = "events" // send events
	ScopeRead   Scope = "read"   // presence, transcripts, deliveries, streams, stats and metrics
	ScopeDraft  Scope = "draft"  // propose answers, which people send, and read
	ScopeReply  Scope = "reply"  // send operator_message, propose answers, and read
)

// Scopes returns all scopes.
func Scopes() []Scope { return []Scope{ScopeEvents, ScopeRead, ScopeDraft, ScopeReply} }

// NarrowKey is an API key that may not do everything.
type NarrowKey struct {
	Secret bridge.Secret
	Scope  Scope
}

// narrowRoutes returns which narrow keys a route takes. What is not here takes keys without a scope alone, so that a new route is
// closed to them until somebody decides. POST /api/events takes a reply key's operator_message and none of its other events.
func narrowRoutes() map[string][]Scope {
	events, read := []Scope{ScopeEvents}, []Scope{ScopeRead, ScopeDraft, ScopeReply}
	return map[string][]Scope{
		"POST " + pathEvents:                {ScopeEvents, ScopeReply},
		"POST /api/sessions":                events,
		"POST /api/messages":                events,
		"POST /api/operator/status":         events,
		"POST /api/custom-events":           events,
		"POST /api/disconnect":              events,
		"GET " + pathStream:                 read,
		"GET /api/presence":                 read,
		"GET /api/sessions/:id/messages":    read,
		"POST /api/sessions/:id/transcript": read,
		"POST /api/sessions/:id/drafts":     {ScopeDraft, ScopeReply},
		"GET /api/deliveries":               read,
		"GET /api/v1/stats":                 read,
		"GET /stats":                        read,
		"GET " + pathMetrics:                read,
	}
}

// keepNarrow holds a narrow key to its routes. What is no route is answered as for every key.
func (s *server) keepNarrow(c echo.Context, scope Scope) error {
	if scope == "" {
		return nil
	}
	route := c.Request().Method + " " + c.Path()
	if s.served[route] && !slices.Contains(s.narrow[route], scope) {
		return tooNarrow()
	}
	c.Set(contextScope, scope)
	return nil
}

// contextScope is where a request has its narrow key's scope. A request without one has a key that may do everything, or none was
// asked for.
const contextScope = "scope"

// mayTell says whether the request's key may send an event of a type. Its route has been asked about before.
func mayTell(c echo.Context, t bridge.Type) error {
	if scope, _ := c.Get(contextScope).(Scope); scope == ScopeReply && t != bridge.TypeOperatorMessage {
		return tooNarrow()
	}
	return nil
}

func tooNarrow() *problem {
	return &problem{status: http.StatusForbidden, code: "key_too_narrow", text: "this API key may not do that; use one with another scope"}
}
