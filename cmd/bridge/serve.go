package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pocketping/bridge/internal/api"
	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/callback"
	"github.com/pocketping/bridge/internal/discord"
	"github.com/pocketping/bridge/internal/filter"
	"github.com/pocketping/bridge/internal/metrics"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/presence"
	"github.com/pocketping/bridge/internal/relay"
	"github.com/pocketping/bridge/internal/slack"
	"github.com/pocketping/bridge/internal/store"
	"github.com/pocketping/bridge/internal/store/bolt"
	"github.com/pocketping/bridge/internal/store/redis"
	"github.com/pocketping/bridge/internal/store/sealed"
	"github.com/pocketping/bridge/internal/telegram"
	"github.com/pocketping/bridge/internal/words"
)

// httpTimeout is how long requests under way may take at the end.
const httpTimeout = 5 * time.Second

// serve runs the bridge, configured by the environment, until ctx ends.
func serve(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	c, err := loadConfig(getenv, os.ReadFile)
	if err != nil {
		return err
	}
	tune(ctx, getenv)
	return serveConfig(ctx, c, stdout)
}

// serveConfig makes everything in the order of dependence and, when ctx ends, ends it in the reverse one: /readyz says no,
// receivers stop, running calls end and are recorded, leases go back, streams close, HTTP ends, the store.
func serveConfig(ctx context.Context, c Config, stdout io.Writer) (err error) {
	words.Use(c.Language)
	log := newLogger(c, stdout)
	// net/http's client prints there what a server says unasked, which may be anything, a request with its token too. Nothing
	// else uses it.
	stdlog.SetOutput(io.Discard)
	for _, warning := range append(c.Misspelt, c.Warnings...) {
		log.Warn(warning) //nolint:sloglint // the configuration's own sentences
	}
	st, moved, err := openStore(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	guard, registry, err := openRegistry(ctx, c, st, log)
	if err != nil {
		return err
	}
	c.Operators.Presence.Log = log
	people := presence.New(st, c.Operators.Presence)
	platforms, err := openPlatforms(c, log)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("PORT or BIND: %w", err)
	}
	defer func() { _ = listener.Close() }() // the server has closed it, unless it was never served
	carried, err := newFileService(ctx, c, st, guard, listener.Addr(), platforms, log)
	if err != nil {
		return err
	}
	defer carried.depot.Close()
	meter := metrics.New(buildVersion())
	var r *relay.Relay
	visitors := newFilter(c, func(ctx context.Context, id string) (*bridge.Session, bool, error) { return r.Session(ctx, id) }, meter, log)
	r = relay.New(relayOptions(c, relay.Options{
		Store: st, Presence: people, Receivers: registry, Platforms: platforms, Files: carried, Depot: carried.depot, Meter: meter, Others: othersOn(moved.store, log), Log: log,
	}, registry, visitors))
	meter.WatchLanes(r.Health)
	meter.WatchLog(st.LogSize)
	if err := r.Start(ctx); err != nil {
		return err
	}
	if err := people.Load(ctx); err != nil { // after Start: what changes from here on is seen in the log
		return err
	}
	state := &state{store: st, relay: r, platforms: namesOf(platforms)}
	closing, endStreams := context.WithCancel(context.Background())
	defer endStreams()
	scrapes, apart, err := scrapesOf(ctx, c, meter, log)
	if err != nil {
		return err
	}
	defer apart()
	door, err := openDoor(ctx, c, st, r, visitors, people, carried, meter, log, closing.Done())
	if err != nil {
		return err
	}
	handler := api.New(apiOptions(c, api.Options{
		TellPages: pagesOf(door),
		Ingester:  visitors.Around(r), Feed: r.Feed(), Ephemeral: r.Ephemeral, Callbacks: callback.Registrations{Registry: registry, Team: people}, Deliveries: r, Presence: people, Stats: r, Eraser: r, Exporter: moved, Health: state,
		Meter: meter, Metrics: scrapes, Webhooks: webhooksOf(platforms, r), Files: carried.links, Logger: log, Closing: closing.Done(),
	}, r))
	server := api.Server(withDoor(door, handler), log, endStreams)

	run := []func(context.Context){r.Run, registry.Run, people.Run, func(ctx context.Context) { sayFound(ctx, c, platforms, log) }}
	if door != nil {
		run = append(run, door.Run)
	}
	log.Info("the bridge listens", "address", listener.Addr().String(), "version", buildVersion(), "platforms", state.platforms)
	return work(ctx, log, server, listener, run, state, func() {
		if door != nil {
			endStreams()
			door.Wait()
		}
	})
}

// work serves, and runs what runs beside it, until ctx ends or serving fails. Then it ends all in order, and calls last.
func work(
	ctx context.Context, log *slog.Logger, server *http.Server, listener net.Listener, run []func(context.Context), state *state, last func(),
) (err error) {
	// What follows the log has to run as long as requests are taken.
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var work sync.WaitGroup
	for _, do := range run {
		work.Go(func() { do(working) })
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
		log.Info("the bridge ends")
	case err = <-served:
	}
	state.ending.Store(true)
	stopWork()
	work.Wait()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpTimeout)
	defer cancel()
	if server.Shutdown(ending) != nil {
		err = errors.Join(err, server.Close())
	}
	last()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// openRegistry returns the app servers' callbacks, and which addresses others' words may lead to.
func openRegistry(ctx context.Context, c Config, st store.Store, log *slog.Logger) (*outbound.Guard, *callback.Registry, error) {
	guard, err := outbound.NewGuard(c.PrivateCallbacks)
	if err != nil {
		return nil, nil, err
	}
	registry := newRegistry(c, st, guard, log)
	return guard, registry, registry.Reload(ctx)
}

// newRegistry returns the app servers' callbacks, of which none but the configuration's are known yet.
func newRegistry(c Config, st store.Store, guard *outbound.Guard, log *slog.Logger) *callback.Registry {
	return callback.New(callback.Options{
		Store: st, Guard: guard, BackendURL: c.BackendURL, BackendSecret: c.BackendSecret, BackendEvents: c.BackendEvents, APIKey: c.FirstKey,
		EventsURL: c.EventsURL, EventsSecret: c.EventsSecret,
		UserAgent: "pocketping-bridge/" + buildVersion(), Log: log,
	})
}

// relayOptions adds what the environment says to the relay's rooms.
func relayOptions(c Config, o relay.Options, registry *callback.Registry, visitors *filter.Filter) relay.Options {
	if c.EventsURL != "" {
		o.Webhook = registry
	}
	o.OpenThread, o.Retention, o.Transcripts = relay.OpenThread(c.OpenThread), c.Retention, c.Transcripts
	o.Operators, o.Internal, o.Unanswered = c.Operators.Accounts, c.Operators.Internal, c.Operators.Unanswered
	o.AnswerTimeout, o.AutoClose = c.Operators.Timeout, c.Operators.AutoClose
	o.Hide, o.MaskCards, o.FilesIn = c.Hide, c.MaskCards, c.filesIn
	if visitors.On() {
		o.Filtered = visitors.Blocked
	}
	if c.Filter.Bots != nil {
		o.Suspects = c.Filter.Bots.Suspects
	}
	return o
}

// apiOptions adds what the environment says to the API's rooms.
func apiOptions(c Config, o api.Options, r *relay.Relay) api.Options {
	if c.Transcripts {
		o.Transcripts = r
	}
	o.Proposer = r
	o.APIKeys, o.NarrowKeys, o.PublicURL, o.MaxBody, o.CORSOrigins = c.APIKeys, c.NarrowKeys, c.PublicURL, c.MaxBody, c.CORSOrigins
	o.RateLimit, o.MaskCards, o.StreamsMax = c.RateLimit, c.MaskCards, c.StreamsMax
	o.TrustedProxies, o.Version = c.TrustedProxies, buildVersion()
	return o
}

// scrapesOf returns what answers scrapes beside the API, nil where they are answered at an address of their own until end is called.
func scrapesOf(ctx context.Context, c Config, meter *metrics.Metrics, log *slog.Logger) (scrapes http.Handler, end func(), err error) {
	scrapes = meter.Handler(log)
	if c.MetricsAddr == "" {
		return scrapes, func() {}, nil
	}
	if !c.keyed() {
		scrapes = api.WithoutKey(scrapes, c.PublicURL, c.CORSOrigins)
	}
	end, err = serveMetrics(ctx, c.MetricsAddr, scrapes, log)
	return nil, end, err
}

func namesOf(platforms []bridge.Platform) []string {
	var names []string
	for _, p := range platforms {
		names = append(names, p.Name())
	}
	return names
}

// webhooksOf returns what takes the requests of platforms that send their updates.
func webhooksOf(platforms []bridge.Platform, r *relay.Relay) map[string]http.Handler {
	out := map[string]http.Handler{}
	for _, p := range platforms {
		w, sends := p.(bridge.Webhook)
		if inbox, ok := r.Inbox(p.Name()); ok && sends {
			out[p.Name()] = w.Webhook(inbox)
		}
	}
	return out
}

// serveMetrics answers scrapes at an address of their own, without a key, until end is called.
func serveMetrics(ctx context.Context, address string, scrapes http.Handler, log *slog.Logger) (end func(), err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("METRICS_ADDR: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrapes)
	server := api.Server(mux, log, nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "err", err)
		}
	}()
	log.Info("metrics are served apart", "address", listener.Addr().String())
	return func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close()
		}
		<-ended
	}, nil
}

// openStore returns the store, with its secrets sealed where there is a key for that, and as it can be moved. One that was exported
// for good is an error.
func openStore(ctx context.Context, c Config, log *slog.Logger) (store.Store, exporter, error) {
	plain, kind, err := openPlainStore(ctx, c, log)
	if err != nil {
		return nil, exporter{}, err
	}
	st := store.Store(plain)
	if err = errClosed(ctx, plain); err == nil {
		st, err = sealed.Open(ctx, plain, c.SecretsKey)
	}
	if err != nil {
		return nil, exporter{}, errors.Join(err, plain.Close())
	}
	return st, exporter{plain, kind, log}, nil
}

// othersOn are the bridges that share a store; nil where it is this one's alone.
func othersOn(st store.Movable, log *slog.Logger) relay.Others {
	if shared, ok := st.(*redis.Store); ok {
		return shared.Aside(log)
	}
	return nil
}

func openPlainStore(ctx context.Context, c Config, log *slog.Logger) (movable, string, error) {
	st, kind, err := openMovable(ctx, c, redis.Options{Wait: c.RedisWait, Logger: log}, bolt.Options{Logger: log})
	if err == nil && c.RedisURL != "" {
		warnOfFile(ctx, c, st, log)
	}
	return st, kind, err
}

// warnOfFile says that a Redis that is empty does not know what the embedded store's file does.
func warnOfFile(ctx context.Context, c Config, st store.Store, log *slog.Logger) {
	last, err := st.Last(ctx)
	if err == nil && last == 0 && bolt.HasSessions(storeFile(c)) {
		log.Warn("this Redis is empty, and there is a file with sessions, which are not carried over: their visitors get new threads; to carry them over "+
			"stop this bridge, then: bridge export -store file -final -to FILE, bridge import -from FILE, and start it again; to go on with the file "+
			"leave REDIS_URL out", "file", storeFile(c))
	}
}

// storeFile is where the embedded store is.
func storeFile(c Config) string { return filepath.Join(c.DataDir, "bridge.db") }

// openPlatforms returns the platforms that are configured. It calls none of them.
func openPlatforms(c Config, log *slog.Logger) (platforms []bridge.Platform, err error) {
	add := func(p bridge.Platform, failed error) {
		platforms = append(platforms, p)
		if err == nil {
			err = failed
		}
	}
	if c.Telegram != nil {
		add(telegram.New(*c.Telegram, log))
	}
	switch d := c.Discord; {
	case d == nil:
	case d.WebhookURL != "":
		add(discord.NewWebhook(*d, log))
	default:
		add(discord.New(*d, log))
	}
	switch s := c.Slack; {
	case s == nil:
	case s.WebhookURL != "":
		add(slack.NewWebhook(*s, log))
	default:
		add(slack.New(*s, log))
	}
	if err != nil {
		return nil, err
	}
	return platforms, nil
}

// state is how the bridge does, for /health and /readyz.
type state struct {
	store     store.Store
	relay     *relay.Relay
	platforms []string
	ending    atomic.Bool
}

func (s *state) Platforms() []string { return s.platforms }

func (s *state) Lanes() []bridge.LaneHealth { return s.relay.Health() }

func (s *state) Checks(ctx context.Context) []api.Check {
	checks := []api.Check{{Name: "store"}}
	if err := s.store.Ping(ctx); err != nil {
		checks[0].Cause, checks[0].Detail = storeCause(err), err.Error()
	}
	if s.ending.Load() {
		checks = append(checks, api.Check{Name: "process", Cause: "the bridge is ending"})
	}
	return checks
}
