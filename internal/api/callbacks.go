package api

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Callbacks are the registered callbacks of SDK instances. A fault in what a client sent is a *bridge.FieldError.
type Callbacks interface {
	// Put registers a callback, or refreshes it; without an id it makes one. made is the secret that the bridge made for it,
	// empty when the client brought one or there is one already. An error is a *bridge.FieldError, bridge.ErrTooManyCallbacks or
	// the store's.
	Put(ctx context.Context, w bridge.RegisterRequest) (reg bridge.Registration, made bridge.Secret, created bool, err error)
	// Get returns a registration; ok is false when there is none.
	Get(ctx context.Context, id string) (reg bridge.Registration, ok bool, err error)
	// List returns the registrations. What the configuration names has no times.
	List(ctx context.Context) ([]bridge.Registration, error)
	// Delete removes a registration, and says whether there was one.
	Delete(ctx context.Context, id string) (bool, error)
	// Rotate gives a registration a new secret; ok is false when there is none. The one before is used beside it for a day.
	Rotate(ctx context.Context, id string) (reg bridge.Registration, made bridge.Secret, ok bool, err error)
	// Test sends a test event and returns what came of it; ok is false when there is nothing of this id.
	Test(ctx context.Context, id string) (result bridge.TestResult, ok bool, err error)
}

// registration is a callback as clients see it. Secret is only there in the answer to the request for which it was made, the
// times only for one that was registered.
type registration struct {
	ID             string        `json:"id"`
	URL            string        `json:"url"`
	Events         []bridge.Type `json:"events,omitempty"`
	CreatedAt      time.Time     `json:"createdAt,omitzero"`
	ExpiresAt      time.Time     `json:"expiresAt,omitzero"`
	Secret         string        `json:"secret,omitempty"`
	OperatorOnline *bool         `json:"operatorOnline,omitempty"`
}

func shown(reg bridge.Registration) registration {
	return registration{ID: reg.ID, URL: reg.URL, Events: reg.Events, CreatedAt: reg.CreatedAt, ExpiresAt: reg.ExpiresAt}
}

// answering is a registration in the answer to a request for it alone.
func (s *server) answering(reg bridge.Registration, made bridge.Secret) registration {
	r := shown(reg)
	r.Secret, r.OperatorOnline = made.Reveal(), new(s.o.Presence.Online())
	return r
}

func (s *server) putCallback(c echo.Context) error {
	id, err := pathID(c)
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
	asked, err := readRegistration(body)
	if err != nil {
		return err
	}
	asked.ID = id
	reg, made, created, err := s.o.Callbacks.Put(c.Request().Context(), asked)
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
	return reply(c, status, s.answering(reg, made))
}

func (s *server) getCallback(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	reg, ok, err := s.o.Callbacks.Get(c.Request().Context(), id)
	if err := found(ok, err); err != nil {
		return err
	}
	return reply(c, http.StatusOK, s.answering(reg, ""))
}

func (s *server) listCallbacks(c echo.Context) error {
	all, err := s.o.Callbacks.List(c.Request().Context())
	if err != nil {
		return err
	}
	out := make([]registration, 0, len(all))
	for _, reg := range all {
		out = append(out, shown(reg))
	}
	return reply(c, http.StatusOK, struct {
		Callbacks []registration `json:"callbacks"`
	}{out})
}

// rotateCallback gives a callback a new secret, which is shown this once.
func (s *server) rotateCallback(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	reg, made, ok, err := s.o.Callbacks.Rotate(c.Request().Context(), id)
	if err := found(ok, err); err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return reply(c, http.StatusOK, s.answering(reg, made))
}

// testCallback sends a test event and tells how the receiver took it. The request waits for the receiver: that is what it is
// for. A receiver that fails is no fault of the request's.
func (s *server) testCallback(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	result, ok, err := s.o.Callbacks.Test(c.Request().Context(), id)
	if err := found(ok, err); err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		OK       bool    `json:"ok"`
		Status   int     `json:"status,omitempty"`
		Duration float64 `json:"duration"` // seconds
		Answer   string  `json:"answer,omitempty"`
		Error    string  `json:"error,omitempty"`
	}{result.Fault == "", result.Status, result.Took.Seconds(), result.Answer, result.Fault})
}

func (s *server) deleteCallback(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := found(s.o.Callbacks.Delete(c.Request().Context(), id)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// found is the error of a call that says whether there is such a callback: its own, or that there is none.
func found(ok bool, err error) error {
	if err == nil && !ok {
		return &problem{status: http.StatusNotFound, code: "not_found", text: "there is no such callback"}
	}
	return err
}

// pathID returns the id in the path. Echo leaves it as it was written when the path is written in an unusual way.
func pathID(c echo.Context) (string, error) {
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

// readRegistration reads a registration's body, and refuses what a bridge.RegisterRequest could not tell from nothing. Whether the rest will do,
// whether the URL may be called above all, is for the callbacks to say.
func readRegistration(body []byte) (bridge.RegisterRequest, error) {
	var asked struct {
		URL    string         `json:"url"`
		Secret string         `json:"secret"`
		Events *[]bridge.Type `json:"events"`
		TTL    *int64         `json:"ttl"` // seconds
	}
	if err := bridge.DecodeObject(body, &asked); err != nil {
		return bridge.RegisterRequest{}, err
	}
	spec := bridge.RegisterRequest{URL: asked.URL, Secret: bridge.Secret(asked.Secret)}
	if spec.URL == "" {
		return spec, &bridge.FieldError{Field: "url", Problem: "is required"}
	}
	if asked.Events != nil {
		spec.Events = *asked.Events
		if len(spec.Events) == 0 {
			return spec, &bridge.FieldError{Field: "events", Problem: "must name at least one event; leave it out for all"}
		}
	}
	if asked.TTL != nil {
		if *asked.TTL < 1 {
			return spec, &bridge.FieldError{Field: "ttl", Problem: "must be at least 1 second"}
		}
		spec.TTL = time.Duration(min(*asked.TTL, math.MaxInt64/int64(time.Second))) * time.Second // what is too long is refused later
	}
	return spec, nil
}
