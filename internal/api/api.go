// Package api is the bridge as app servers see it: it reads their requests, asks who they are, holds them to the contract,
// and shows them what happens on the operators' side. It knows HTTP and the wire's words; it does not know what becomes of an
// event once it is taken, nor of any store or platform. What it needs of the other rooms are the small interfaces below.
package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/pocketping/bridge/internal/bridge"
)

// Protocol is the version of the wire contract that this server speaks.
const Protocol = 1

// Defaults of Options.
const (
	DefaultMaxBody   = 1 << 20
	DefaultHeartbeat = 30 * time.Second
)

// Presence is who answers visitors.
type Presence interface {
	// Online says whether anyone is. It is asked by every stream and registration and must not wait.
	Online() bool
	// Operators lists the operators, those who are offline included.
	Operators(ctx context.Context) ([]bridge.Operator, error)
}

// Options is what the API is made of. The interfaces are required; everything else may be left out.
type Options struct {
	Ingester bridge.Ingester
	Feed     bridge.Feed
	// Ephemeral has tell called with what is told and never stored, until end is called. tell does not wait. nil: there is none.
	Ephemeral  func(tell func(bridge.Entry)) (end func())
	Callbacks  Callbacks
	Deliveries Deliveries
	// Transcripts are the sessions' transcripts; nil: none are kept.
	Transcripts bridge.Transcripts
	// Proposer takes drafts of answers; nil: nobody does.
	Proposer bridge.Proposer
	// TellPages tells the pages of a session that pages are served of an event; it returns ErrNoPages for any other. nil: none are.
	TellPages func(ctx context.Context, session string, e bridge.CustomEvent) error
	Presence  Presence
	Stats     bridge.StatsSource
	Eraser    bridge.Eraser
	Exporter  Exporter
	Health    Health
	Meter     Meter        // nil: nothing is counted
	Metrics   http.Handler // answers GET /metrics; nil: there is no such path
	// Webhooks take the platforms' own requests, POST /webhooks/<name>. Each asks for its platform's proof; no API key is asked
	// for. A nil one is not served.
	Webhooks map[string]http.Handler
	Files    http.Handler // hands out operators' files, GET and HEAD /files/<signed>, without a key; nil: there are none

	APIKeys        []bridge.Secret // any of them opens /api, /stats and /metrics; without any key all are open
	NarrowKeys     []NarrowKey     // each opens what its scope says
	MaxBody        int64           // bytes of a request's body; DefaultMaxBody if 0
	PublicURL      string          // where the bridge is reached from outside, or empty; without keys its host is answered to
	CORSOrigins    []string        // origins whose pages may call; * stands for all
	StreamsMax     int             // open streams; DefaultStreamsMax if 0
	MaskCards      bool            // of card numbers in events, the last four digits are kept
	RateLimit      float64         // events a second for each API key; 0: no limit
	TrustedProxies []netip.Prefix  // whose X-Forwarded-For is believed; none: the peer's address counts
	Version        string          // told by /health
	Logger         *slog.Logger
	Heartbeat      time.Duration   // between a stream's comments; DefaultHeartbeat if 0
	Closing        <-chan struct{} // closed at shutdown: streams end, /readyz says no
}

// server answers the requests. It holds no state but the rate limits, a counter, and which streams are open.
type server struct {
	o Options // with its defaults

	keys    keys
	keyless *keyless // nil: there are keys
	cors    origins
	narrow  map[string][]Scope // which narrow keys a route takes
	served  map[string]bool    // the routes that there are, method and path
	limits  limits
	guesses guesses
	streams *streams
	hub     *hub

	counts      counts
	eventRoutes map[string]bridge.Type // the paths that take events, and the type that each stands for

	idPrefix string // of the request ids of this process
	idCount  atomic.Uint64
}

// New returns the handler of all paths. It may be used by several goroutines.
func New(o Options) http.Handler {
	o.Ingester, o.Callbacks, o.Deliveries = timeoutIngester{o.Ingester}, timeoutCallbacks{o.Callbacks}, timeoutDeliveries{o.Deliveries}
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &server{
		o: o, keys: newKeys(o.APIKeys, o.NarrowKeys), cors: newOrigins(o.CORSOrigins), narrow: narrowRoutes(), served: map[string]bool{},
		counts: newCounts(o.Meter), eventRoutes: map[string]bridge.Type{}, idPrefix: rand.Text()[:10] + "-",
	}
	s.limits, s.streams = newLimits(o.RateLimit, len(s.keys)), newStreams(o.StreamsMax, len(s.keys))
	if len(s.keys) == 0 {
		s.keyless = newKeyless(o.PublicURL, s.cors)
	}
	s.hub = newHub(o.Feed, o.Logger, o.Closing)
	if o.Ephemeral != nil {
		o.Ephemeral(s.hub.pass) // for as long as there is the server
	}
	return s.routes()
}

func (s *server) routes() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard) // what is worth saying is said to slog
	e.IPExtractor = extractor(s.o.TrustedProxies)
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.fail(c, err) }
	e.Pre(withoutExtraSlashes)
	e.Use(s.middleware)

	route := func(path string, t bridge.Type, read reader) {
		s.eventRoutes[path] = t
		e.POST(path, s.accept(t, read, &bridge.AppEvent{}))
	}
	route(pathEvents, typeOther, decodeAny)
	s.eventRoutes["/api/sessions"] = bridge.TypeNewSession
	e.POST("/api/sessions", s.accept(bridge.TypeNewSession, session, &bridge.Session{}))
	route("/api/messages", bridge.TypeVisitorMessage, decodeAs(bridge.TypeVisitorMessage))
	route("/api/operator/status", bridge.TypeOperatorStatus, decodeAs(bridge.TypeOperatorStatus))
	route("/api/custom-events", bridge.TypeCustomEvent, decodeAs(bridge.TypeCustomEvent))
	route("/api/disconnect", bridge.TypeVisitorDisconnect, decodeAs(bridge.TypeVisitorDisconnect))

	e.GET(pathStream, s.stream)
	e.GET("/api/presence", s.whoIsThere)
	e.DELETE("/api/sessions/:id", s.eraseSession)
	e.GET("/api/erasures/:id", s.erasure)
	e.POST("/api/export", s.export)
	e.GET("/stats", s.statistics)
	e.GET("/api/v1/stats", s.statistics)
	e.GET("/api/sessions/:id/messages", s.messages)
	e.POST("/api/sessions/:id/transcript", s.transcriptFile)
	e.POST("/api/sessions/:id/events", s.pageEvent)
	e.POST("/api/sessions/:id/drafts", s.propose)

	e.PUT("/api/callbacks/:id", s.putCallback)
	e.POST("/api/callbacks", s.addCallback)
	e.GET("/api/callbacks", s.listCallbacks)
	e.GET("/api/callbacks/:id", s.getCallback)
	e.DELETE("/api/callbacks/:id", s.deleteCallback)
	e.POST("/api/callbacks/:id/rotate", s.rotateCallback)
	e.POST("/api/callbacks/:id/test", s.testCallback)

	e.GET("/api/deliveries", s.listDeliveries)
	e.POST("/api/deliveries/retry", s.retryDeliveries)
	e.POST("/api/deliveries/:id/retry", s.retryDelivery)
	e.DELETE("/api/deliveries/:id", s.discardDelivery)

	for name, h := range s.o.Webhooks {
		if h != nil {
			e.POST("/webhooks/"+name, echo.WrapHandler(h))
		}
	}

	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if s.o.Files != nil {
			e.Add(method, "/files/:signed", echo.WrapHandler(s.o.Files))
		}
		e.Add(method, "/health", s.healthy)
		e.Add(method, "/livez", s.live)
		e.Add(method, "/readyz", s.ready)
	}
	e.GET("/openapi.yaml", s.describe)
	if s.o.Metrics != nil {
		e.GET(pathMetrics, echo.WrapHandler(s.o.Metrics))
	}
	s.counts.serve(e.Routes())
	for _, r := range e.Routes() {
		s.served[r.Method+" "+r.Path] = true
	}
	return e
}

// The paths that more than their route knows of.
const (
	pathEvents  = "/api/events"
	pathStream  = "/api/events/stream"
	pathMetrics = "/metrics"
)

// middleware is around every request: its id, who may ask, what is said when it fails, what is counted, and the line in the log.
// It is one middleware because each costs every request an allocation.
func (s *server) middleware(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		defer s.counts.request(c, time.Now())
		if s.o.Logger.Enabled(c.Request().Context(), slog.LevelDebug) {
			defer s.logAccess(c, time.Now())
		}
		defer s.recover(c)
		s.requestID(c)
		if err := s.authorize(c, next); err != nil {
			s.fail(c, err)
			s.linger(c)
		}
		return nil
	}
}

func (s *server) authorize(c echo.Context, next echo.HandlerFunc) error {
	r := c.Request()
	if s.cors.answer(c.Response().Header(), r) {
		return c.NoContent(http.StatusNoContent)
	}
	if s.keyless != nil {
		if p := s.keyless.check(r); p != nil {
			return p
		}
	}
	if err := checkProtocol(r); err != nil {
		return err
	}
	if guarded(r.URL.Path) && len(s.keys) > 0 {
		index, ok := s.keys.find(r)
		if !ok {
			s.countRefused(c, resultUnauthorized)
			if wait := s.guessed(c); wait > 0 {
				return &problem{status: http.StatusTooManyRequests, code: "too_many_wrong_keys", text: "too many wrong API keys come from this address", retry: wait}
			}
			return &problem{status: http.StatusUnauthorized, code: "unauthorized", text: "a valid API key is required"}
		}
		if err := s.keepNarrow(c, s.keys[index].scope); err != nil {
			s.countRefused(c, resultForbidden)
			return err
		}
	}
	return next(c)
}

// countRefused counts an event that was not read, for its key.
func (s *server) countRefused(c echo.Context, result string) {
	if t, takes := s.eventRoutes[c.Path()]; takes && c.Request().Method == http.MethodPost {
		s.counts.accept(t, result)
	}
}

const headerRequestID = "X-Request-Id" // in the canonical form, for direct use with http.Header

// requestID gives the answer the request's own id, or a new one.
func (s *server) requestID(c echo.Context) {
	id := c.Request().Header.Get(headerRequestID)
	if !plainID(id) {
		id = s.idPrefix + strconv.FormatUint(s.idCount.Add(1), 10)
	}
	c.Response().Header()[headerRequestID] = []string{id}
}

func requestID(c echo.Context) string { return c.Response().Header().Get(headerRequestID) }

// plainID says whether a request id of others may go into our log and answer.
func plainID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

func (s *server) logAccess(c echo.Context, start time.Time) {
	r := c.Request()
	s.o.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("method", r.Method), slog.String("route", c.Path()),
		slog.Int("status", c.Response().Status), slog.Duration("duration", time.Since(start)), slog.String("request", requestID(c)))
}

// recover turns a panic into an answer. What was already sent cannot be taken back: then the connection is cut, so that the
// client does not take the half for the whole.
func (s *server) recover(c echo.Context) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it in the same way
		panic(cause)
	}
	what := fmt.Sprintf("a value of type %T", cause) // whose text may hold anything
	switch known := cause.(type) {
	case runtime.Error:
		what = known.Error()
	case string:
		what = known
	}
	s.o.Logger.Error("a request's handler panicked",
		"err", what, "route", c.Path(), "request", requestID(c), "stack", string(debug.Stack()))
	if c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	s.answer(c, internal())
}

// extractor says whose address a client has: the peer's, or the last one in X-Forwarded-For that no trusted proxy wrote.
func extractor(proxies []netip.Prefix) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		trust = append(trust, echo.TrustIPRange(&net.IPNet{
			IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func reply(c echo.Context, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Blob(status, echo.MIMEApplicationJSON, text)
}

// Limits of a connection. No answer but a stream's takes long, and a stream moves its own deadline.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 45 * time.Second // more than readTimeout, so that a body that does not arrive is still answered
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Server returns the HTTP server for the handler, with its limits set. Its Shutdown first calls closing, which is to close
// Options.Closing: the streams end, and what is being accepted comes to its end undisturbed. Close cuts what is left.
func Server(h http.Handler, log *slog.Logger, closing func()) *http.Server {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if closing != nil {
		srv.RegisterOnShutdown(closing)
	}
	return srv
}
