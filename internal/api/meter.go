package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Meter counts requests. What it returns is called from several goroutines, with every request, and must not wait.
type Meter interface {
	// Accepts returns the counter of one outcome of requests with a type of event.
	Accepts(t, result string) func()
	// Requests returns what is told of a route's requests: how they were answered, and how long it took.
	Requests(route string) func(status int, took time.Duration)
	StreamOpened()
	StreamClosed()
}

// What becomes of an event's request.
const (
	resultAccepted     = "accepted"
	resultDuplicate    = "duplicate"
	resultInvalid      = "invalid"      // it is not as the contract wants it
	resultUnauthorized = "unauthorized" // no key, or a wrong one
	resultForbidden    = "forbidden"    // a key too narrow
	resultFiltered     = "filtered"     // a filter keeps the visitor out
	resultSuperseded   = "superseded"   // an AI's, and the visitor or a person has written since
	resultConflict     = "conflict"     // its key was used for another content
	resultRateLimited  = "rate_limited"
	resultUnavailable  = "unavailable" // the store did not take it
	resultCanceled     = "canceled"    // the client went before the answer; it may have been accepted
	resultFailed       = "failed"      // a fault of ours
)

// typeOther stands for a type that the contract does not have, or that was not read.
const typeOther bridge.Type = "other"

// counts are the counters of one server, all resolved when it is made.
type counts struct {
	accepts  map[bridge.Type]map[string]func()
	requests map[string]func(int, time.Duration)
	meter    Meter
}

func newCounts(m Meter) counts {
	if m == nil {
		m = unmetered{}
	}
	c := counts{accepts: map[bridge.Type]map[string]func(){}, requests: map[string]func(int, time.Duration){}, meter: m}
	for _, t := range []bridge.Type{
		bridge.TypeNewSession, bridge.TypeVisitorMessage, bridge.TypeVisitorEdited, bridge.TypeVisitorDeleted, bridge.TypeVisitorTyping,
		bridge.TypeVisitorDisconnect, bridge.TypeCustomEvent, bridge.TypeIdentityUpdate, bridge.TypeAITakeover, bridge.TypeCSATSubmitted,
		bridge.TypeOperatorMessage, bridge.TypeOperatorStatus, bridge.TypeMessageRead, bridge.TypeSessionClosed, typeOther,
	} {
		c.accepts[t] = map[string]func(){}
		for _, result := range []string{
			resultAccepted, resultDuplicate, resultInvalid, resultUnauthorized, resultForbidden, resultFiltered, resultSuperseded, resultConflict, resultRateLimited,
			resultUnavailable, resultCanceled, resultFailed,
		} {
			c.accepts[t][result] = m.Accepts(string(t), result)
		}
	}
	return c
}

// serve resolves the routes. A stream's time says nothing, and is not told.
func (c counts) serve(routes []*echo.Route) {
	for _, r := range routes {
		if r.Path != pathStream && c.requests[r.Path] == nil {
			c.requests[r.Path] = c.meter.Requests(r.Path)
		}
	}
}

func (c counts) accept(t bridge.Type, result string) {
	of := c.accepts[t]
	if of == nil {
		of = c.accepts[typeOther]
	}
	of[result]()
}

// request tells of a request that has been answered. What has no route is none of ours.
func (c counts) request(e echo.Context, begun time.Time) {
	if told := c.requests[e.Path()]; told != nil {
		told(e.Response().Status, time.Since(begun))
	}
}

// resultOf is what an error makes of an event.
func resultOf(ctx context.Context, err error) string {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return resultCanceled
	}
	switch status := problemOf(err).status; {
	case status == http.StatusUnauthorized:
		return resultUnauthorized
	case errors.Is(err, bridge.ErrSuperseded):
		return resultSuperseded
	case errors.Is(err, bridge.ErrFiltered):
		return resultFiltered
	case status == http.StatusForbidden:
		return resultForbidden
	case errors.Is(err, bridge.ErrConflict):
		return resultConflict
	case status == http.StatusTooManyRequests:
		return resultRateLimited
	case status == http.StatusServiceUnavailable:
		return resultUnavailable
	case status < http.StatusInternalServerError:
		return resultInvalid
	default:
		return resultFailed
	}
}

// unmetered is the meter of a server that was given none.
type unmetered struct{}

func (unmetered) Accepts(string, string) func()            { return func() {} }
func (unmetered) Requests(string) func(int, time.Duration) { return func(int, time.Duration) {} }
func (unmetered) StreamOpened()                            {}
func (unmetered) StreamClosed()                            {}
