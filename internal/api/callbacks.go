package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Callbacks are the registered callbacks of SDK instances. A fault in what a client sent is a *bridge.FieldError.
type Callbacks interface {
	// Put registers a callback, or refreshes it; without an id it makes one. made is the secret that the bridge made for it,
	// empty when the client brought one or there is one already. An error is a *bridge.FieldError, ErrTooManyCallbacks or
	// the store's.
	Put(ctx context.Context, id string, spec CallbackSpec) (reg bridge.Registration, made bridge.Secret, created bool, err error)
	// Get returns a registration; ok is false when there is none.
	Get(ctx context.Context, id string) (reg bridge.Registration, ok bool, err error)
	List(ctx context.Context) ([]bridge.Registration, error)
	// Delete removes a registration, and says whether there was one.
	Delete(ctx context.Context, id string) (bool, error)
}

// CallbackSpec is what a client asks for. Zero values were not given.
type CallbackSpec struct {
	URL    string
	Secret bridge.Secret
	Events []bridge.Type // none: all
	TTL    time.Duration
}

// ErrTooManyCallbacks means that no more can be registered.
var ErrTooManyCallbacks = errors.New("there are too many callbacks")

const maxTTL = 365 * 24 * 60 * 60 // seconds

// registration is a callback as clients see it. Secret is only there in the answer to the request for which it was made.
type registration struct {
	bridge.Registration
	Secret         string `json:"secret,omitempty"`
	OperatorOnline bool   `json:"operatorOnline"`
}

func (s *server) putCallback(c echo.Context) error {
	id, err := callbackID(c)
	if err != nil {
		return err
	}
	return s.register(c, id)
}

func (s *server) addCallback(c echo.Context) error {
	return s.register(c, "")
}

func (s *server) register(c echo.Context, id string) error {
	body, err := s.body(c)
	if err != nil {
		return err
	}
	spec, err := readSpec(body)
	if err != nil {
		return err
	}
	reg, made, created, err := s.callbacks.Put(c.Request().Context(), id, spec)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-store")
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		h.Set("Location", "/api/callbacks/"+url.PathEscape(reg.ID))
	}
	return reply(c, status, registration{reg, made.Reveal(), s.presence.Online()})
}

func (s *server) getCallback(c echo.Context) error {
	id, err := callbackID(c)
	if err != nil {
		return err
	}
	reg, ok, err := s.callbacks.Get(c.Request().Context(), id)
	if err != nil {
		return err
	}
	if !ok {
		return noCallback()
	}
	return reply(c, http.StatusOK, registration{Registration: reg, OperatorOnline: s.presence.Online()})
}

func (s *server) listCallbacks(c echo.Context) error {
	all, err := s.callbacks.List(c.Request().Context())
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Callbacks []bridge.Registration `json:"callbacks"`
	}{append([]bridge.Registration{}, all...)})
}

func (s *server) deleteCallback(c echo.Context) error {
	id, err := callbackID(c)
	if err != nil {
		return err
	}
	ok, err := s.callbacks.Delete(c.Request().Context(), id)
	if err != nil {
		return err
	}
	if !ok {
		return noCallback()
	}
	return c.NoContent(http.StatusNoContent)
}

func noCallback() error {
	return &problem{status: http.StatusNotFound, code: "not_found", text: "there is no such callback"}
}

// callbackID returns the id in the path. Echo leaves it as it was written when the path is written in an unusual way.
func callbackID(c echo.Context) (string, error) {
	id := c.Param("id")
	if c.Request().URL.RawPath != "" {
		var err error
		if id, err = url.PathUnescape(id); err != nil {
			id = ""
		}
	}
	if !bridge.PrintableID(id) {
		return "", &bridge.FieldError{Field: "id", Problem: "must be 1 to 128 printable characters"}
	}
	return id, nil
}

// readSpec reads a registration's body, and refuses what a CallbackSpec could not tell from nothing. Whether the rest will do,
// whether the URL may be called above all, is for the callbacks to say.
func readSpec(body []byte) (CallbackSpec, error) {
	var wish struct {
		URL    string         `json:"url"`
		Secret string         `json:"secret"`
		Events *[]bridge.Type `json:"events"`
		TTL    *int64         `json:"ttl"` // seconds
	}
	if err := bridge.DecodeObject(body, &wish); err != nil {
		return CallbackSpec{}, err
	}
	spec := CallbackSpec{URL: wish.URL, Secret: bridge.Secret(wish.Secret)}
	if spec.URL == "" {
		return spec, &bridge.FieldError{Field: "url", Problem: "is required"}
	}
	if wish.Events != nil {
		spec.Events = *wish.Events
		if len(spec.Events) == 0 {
			return spec, &bridge.FieldError{Field: "events", Problem: "must name at least one event; leave it out for all"}
		}
	}
	if wish.TTL != nil {
		if *wish.TTL < 1 || *wish.TTL > maxTTL {
			return spec, &bridge.FieldError{Field: "ttl", Problem: "must be 1 to 31536000 seconds"}
		}
		spec.TTL = time.Duration(*wish.TTL) * time.Second
	}
	return spec, nil
}
