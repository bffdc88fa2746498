package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Deliveries are the events on their way to their destinations, and those that were given up, the dead letters.
type Deliveries interface {
	// Deliveries returns one page. An error is a *bridge.FieldError for what was asked, or the store's.
	Deliveries(ctx context.Context, q bridge.DeliveryQuery) (bridge.DeliveryPage, error)
	// Retry delivers a dead letter again. An error is bridge.ErrNoDelivery, bridge.ErrNoLane or the store's.
	Retry(ctx context.Context, id string) error
	// RetryAll delivers a lane's dead letters again, so many at most, and returns how many, and how many are left. An error is
	// bridge.ErrNoLane or the store's.
	RetryAll(ctx context.Context, lane string) (retried, left int, err error)
	// Discard removes a dead letter for good. An error is bridge.ErrNoDelivery or the store's.
	Discard(ctx context.Context, id string) error
}

// The sizes of a page of deliveries.
const (
	deliveriesPage = 50
	deliveriesMost = 200
)

func (s *server) listDeliveries(c echo.Context) error {
	q := bridge.DeliveryQuery{Max: deliveriesPage}
	for _, p := range []struct {
		name  string
		value *string
	}{{"state", &q.State}, {"lane", &q.Lane}, {"after", &q.After}} {
		if err := one(c, p.name, p.value); err != nil {
			return err
		}
	}
	if q.State != "" && q.State != "waiting" && q.State != "failed" {
		return &bridge.FieldError{Field: "state", Problem: "must be waiting or failed"}
	}
	limit := ""
	if err := one(c, "limit", &limit); err != nil {
		return err
	}
	if limit != "" {
		var err error
		if q.Max, err = strconv.Atoi(limit); err != nil || q.Max < 1 || q.Max > deliveriesMost {
			return &bridge.FieldError{Field: "limit", Problem: "must be 1 to " + strconv.Itoa(deliveriesMost)}
		}
	}
	page, err := s.o.Deliveries.Deliveries(c.Request().Context(), q)
	if err != nil {
		return err
	}
	return reply(c, http.StatusOK, struct {
		Deliveries []bridge.Delivery `json:"deliveries"`
		Next       string            `json:"next,omitempty"`
	}{append([]bridge.Delivery{}, page.Deliveries...), page.Next})
}

// maxParameter is the longest value of a parameter, in bytes.
const maxParameter = 1024

// one reads a parameter that may be there once. An empty one is as good as none.
func one(c echo.Context, name string, value *string) error {
	switch values := c.QueryParams()[name]; {
	case len(values) == 0:
		return nil
	case len(values) > 1 || len(values[0]) > maxParameter:
		return &bridge.FieldError{Field: name, Problem: "must be given once, and not be longer than 1024 bytes"}
	default:
		*value = values[0]
		return nil
	}
}

func (s *server) retryDelivery(c echo.Context) error {
	id, err := deliveryID(c)
	if err != nil {
		return err
	}
	if err := s.o.Deliveries.Retry(c.Request().Context(), id); err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, struct {
		OK bool   `json:"ok"`
		ID string `json:"id"`
	}{true, id})
}

func (s *server) retryDeliveries(c echo.Context) error {
	lane := ""
	if err := one(c, "lane", &lane); err != nil {
		return err
	}
	if lane == "" {
		return &bridge.FieldError{Field: "lane", Problem: "is required"}
	}
	retried, left, err := s.o.Deliveries.RetryAll(c.Request().Context(), lane)
	if errors.Is(err, bridge.ErrNoLane) {
		return &bridge.FieldError{Field: "lane", Problem: "is no lane that is configured"}
	}
	if err != nil {
		return err
	}
	return reply(c, http.StatusAccepted, struct {
		OK      bool `json:"ok"`
		Retried int  `json:"retried"`
		Left    int  `json:"left"`
	}{true, retried, left})
}

func (s *server) discardDelivery(c echo.Context) error {
	id, err := deliveryID(c)
	if err != nil {
		return err
	}
	if err := s.o.Deliveries.Discard(c.Request().Context(), id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// deliveryID returns the id in the path. One that cannot be one is the id of nothing.
func deliveryID(c echo.Context) (string, error) {
	id, err := pathID(c)
	if err != nil {
		return "", bridge.ErrNoDelivery
	}
	return id, nil
}
