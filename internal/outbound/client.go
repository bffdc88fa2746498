// Package outbound holds the HTTP clients with which the bridge calls others: time-outs, no redirects, a guard against
// addresses that a stranger's URL has no business with, and errors that carry no URL. It knows transports and addresses, and
// nothing of any platform's API or of what is sent.
package outbound

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	connectTimeout   = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// Load balancers drop idle connections after 60 seconds and more; ours go first, so that few calls meet a dead one.
	idleTimeout = 55 * time.Second
	// An HTTP/2 connection that has been silent is asked whether it lives, so that a long poll does not hang on a dead one.
	pingAfter    = 30 * time.Second
	pingTimeout  = 10 * time.Second
	maxHeader    = 64 << 10 // bytes
	maxIdle      = 100
	idlePerHost  = 16
	maxRetryWait = 24 * time.Hour
)

// Options says how a client calls.
type Options struct {
	Timeout          time.Duration // of a whole call, its body included; 0: only the context's
	Guard            *Guard        // which addresses may be called; nil: all
	MaxConnsPerHost  int           // 0: no limit
	IdleConnsPerHost int           // connections kept for the next calls; 0: 16
	TLS              *tls.Config   // nil: the system's roots
	// Dial connects in the place of the network, for tests that have one of their own. The guard does not see where it leads.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewClient returns a client with a transport of its own. It follows no redirect: the answer that redirects is the answer.
// A guarded client uses no proxy, since a proxy would connect where the guard cannot see; others use the environment's.
func NewClient(o Options) *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout}
	proxy := http.ProxyFromEnvironment
	if o.Guard != nil {
		dialer.ControlContext = o.Guard.control
		proxy = nil
	}
	dial := dialer.DialContext
	if o.Dial != nil {
		dial = o.Dial
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		conf = o.TLS.Clone()
	}
	perHost := cmp.Or(o.IdleConnsPerHost, idlePerHost)
	if o.MaxConnsPerHost > 0 {
		perHost = min(perHost, o.MaxConnsPerHost)
	}
	return &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &roundTripper{base: &http.Transport{
			Proxy:                  proxy,
			DialContext:            dial,
			TLSClientConfig:        conf,
			TLSHandshakeTimeout:    handshakeTimeout,
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
			MaxConnsPerHost:        o.MaxConnsPerHost,
			MaxIdleConns:           max(maxIdle, 4*perHost),
			MaxIdleConnsPerHost:    perHost,
			IdleConnTimeout:        idleTimeout,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: maxHeader,
		}},
	}
}

// Exchange is what one call got as far as.
type Exchange struct {
	// Sent means that the request, or a part of it, may have reached the other side: a connection to it was there.
	Sent       bool
	Status     int           // 0 when no answer came
	RetryAfter time.Duration // the answer's Retry-After, at most 24 hours; 0 without one
}

type exchangeKey struct{}

// Trace returns a context for one call and where that call's exchange will stand. It is filled in when the client's call
// returns, and may be read from then on; the answer's body plays no part in it. Only clients of NewClient fill it in.
func Trace(ctx context.Context) (context.Context, *Exchange) {
	x := new(Exchange)
	return context.WithValue(ctx, exchangeKey{}, x), x
}

type roundTripper struct{ base *http.Transport }

func (t *roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	x, _ := req.Context().Value(exchangeKey{}).(*Exchange)
	if x == nil {
		return t.base.RoundTrip(req)
	}
	// The transport may go on calling the hook after it has returned, so the hook does not write to x itself.
	var sent atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	*x = Exchange{Sent: sent.Load() && !closedWhileIdle(err)}
	if err != nil {
		return nil, err
	}
	x.Status = resp.StatusCode
	x.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return resp, nil
}

// CloseIdleConnections is what http.Client's method of the same name calls.
func (t *roundTripper) CloseIdleConnections() { t.base.CloseIdleConnections() }

// closedWhileIdle recognises a kept connection that had been closed before the request was written to it. The transport
// repeats such a call itself where it can read the body again, and has no exported error for where it cannot.
func closedWhileIdle(err error) bool {
	return err != nil && strings.HasSuffix(err.Error(), "http: server closed idle connection")
}

// retryAfter reads seconds or an HTTP date, RFC 9110 section 10.2.3.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		wait = time.Duration(min(seconds, maxRetryWait.Seconds()) * float64(time.Second))
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryWait)
}
