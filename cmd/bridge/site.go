package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/files"
	"github.com/pocketping/bridge/internal/filter"
	"github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/site"
	"github.com/pocketping/bridge/internal/store"
)

// openDoor returns what serves pages; nil where none are served.
func openDoor(ctx context.Context, c Config, st store.Store, r *relay.Relay, visitors *filter.Filter, people *presence.Presence, carried *fileService, meter site.Meter,
	log *slog.Logger, closing <-chan struct{},
) (*site.Door, error) {
	if len(c.Site.Origins) == 0 {
		return nil, nil
	}
	return site.New(ctx, site.Options{
		Ingester: visitors.Around(r), Screen: visitors.Address, MaskCards: c.MaskCards, Feed: r.Feed(), Ephemeral: r.Ephemeral, Transcripts: r, Store: st, Uploads: carried.uploads, Presence: people, FileLink: carried.Link,
		Meter: meter, Address: func(req *http.Request) string { return files.ClientOf(req, c.TrustedProxies) }, Waiting: r.AnswerWaiting,
		Origins: c.Site.Origins, Path: c.Site.Path, Look: c.Site.Look, PreChat: c.Site.PreChat, Identity: c.Site.Identity, Secret: c.Site.Secret,
		PublicURL: c.PublicURL, SocketsMax: c.Site.SocketsMax, Several: c.RedisURL != "", PublicName: c.Operators.PublicName,
		Log: log, Closing: closing,
	})
}

// withDoor puts the door beside the API: what is the door's is held to the door's own rules.
func withDoor(door *site.Door, rest http.Handler) http.Handler {
	if door == nil {
		return rest
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if door.Serves(r.URL.Path) {
			door.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	})
}

// pagesOf is the door as the API sees it; nil where pages are not served.
func pagesOf(door *site.Door) func(ctx context.Context, session string, e bridge.CustomEvent) error {
	if door == nil {
		return nil
	}
	return func(ctx context.Context, session string, e bridge.CustomEvent) error {
		err := door.TellPages(ctx, session, e)
		if errors.Is(err, site.ErrNoSession) {
			return api.ErrNoPages
		}
		return err
	}
}
