package main

import (
	"context"
	"log/slog"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/filter"
	"github.com/pocketping/bridge/internal/metrics"
)

// newFilter returns what keeps visitors out. sessions returns a session as it was last told.
func newFilter(c Config, sessions func(context.Context, string) (*bridge.Session, bool, error), meter *metrics.Metrics, log *slog.Logger) *filter.Filter {
	o := filter.Options{UserAgents: c.Filter.UserAgents, Addresses: c.Filter.Addresses, Sessions: sessions, Count: meter.Filtered}
	if c.Filter.LogBlocked {
		o.Log = log
	}
	return filter.New(o)
}
