package outbound

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const token = bridge.Secret("123456:AAbbCCddEEff")

func get(ctx context.Context, t *testing.T, client *http.Client, rawURL string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, rawURL, strings.NewReader("body"))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// raw serves one connection after the other with f.
func raw(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return "http://" + ln.Addr().String()
}

func refused(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return "http://" + ln.Addr().String()
}

func tlsServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func roots(srv *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// Whatever goes wrong, the reason is right and neither the token nor anything of the URL is in what is said about it.
func TestFailures(t *testing.T) {
	gone := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-gone:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(gone)
	secure := tlsServer(t, http.NotFoundHandler())
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	cut := raw(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	closed := raw(t, func(c net.Conn) { _, _ = http.ReadRequest(bufio.NewReader(c)) })
	noise := raw(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "SSH-2.0-"+token.Reveal()+"\r\n\r\n")
	})
	reset := raw(t, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	const (
		transient   = bridge.ReasonTransient
		unconfirmed = bridge.ReasonUnconfirmed
		session     = bridge.ScopeSession
		destination = bridge.ScopeDestination
	)
	path := "/bot" + token.Reveal() + "/sendMessage?key=" + token.Reveal()
	for _, c := range []struct {
		name   string
		base   string
		path   string
		header string
		ctx    context.Context
		limit  time.Duration
		opts   Options
		reason bridge.Reason
		scope  bridge.Scope
		status int
		detail string
	}{
		{name: "refused", base: refused(t), reason: transient, scope: destination, detail: "connection refused"},
		{name: "no such host", base: "http://bridge.invalid", reason: transient, scope: destination, detail: "host"},
		{name: "client time-out", base: slow.URL, opts: Options{Timeout: 2 * time.Second}, reason: unconfirmed, scope: session,
			detail: "time-out"},
		{name: "caller's deadline", base: slow.URL, limit: 2 * time.Second, reason: unconfirmed, scope: session, detail: "time-out"},
		{name: "caller cancels", base: slow.URL, ctx: cancelled, reason: transient, scope: session, detail: "cancelled"},
		{name: "unknown authority", base: secure.URL, reason: transient, scope: destination, detail: "certificate is signed by"},
		{name: "wrong host", base: strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), opts: Options{TLS: roots(secure)},
			reason: transient, scope: destination, detail: "certificate is not valid for this host"},
		{name: "no TLS", base: strings.Replace(plain.URL, "http:", "https:", 1), reason: transient, scope: destination,
			detail: "does not speak TLS"},
		{name: "cut off", base: cut, reason: unconfirmed, scope: session, status: 200, detail: "in the middle"},
		{name: "closed", base: closed, reason: unconfirmed, scope: session, detail: "without an answer"},
		{name: "reset", base: reset, reason: unconfirmed, scope: session, detail: "connection reset"},
		{name: "not HTTP", base: noise, reason: unconfirmed, scope: session, detail: "not HTTP"},
		{name: "bad scheme", base: "htp://127.0.0.1", reason: transient, scope: destination, detail: "http://"},
		{name: "no scheme", base: "127.0.0.1", reason: transient, scope: destination, detail: "the URL"},
		{name: "no host", base: "http://", reason: transient, scope: destination, detail: "no host"},
		{name: "control character", base: plain.URL, path: path + "\n", reason: transient, scope: destination,
			detail: "the URL is not valid"},
		{name: "token with newline in a header", base: plain.URL, header: "Bearer " + token.Reveal() + "\n", reason: transient,
			scope: destination, detail: "header"},
		{name: "bad port", base: "http://127.0.0.1:99999", reason: transient, scope: destination, detail: "address is not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := NewClient(c.opts)
			defer client.CloseIdleConnections()
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if c.limit > 0 {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, c.limit)
				defer stop()
			}
			ctx, x := Trace(ctx)
			if c.path == "" {
				c.path = path
			}
			err := func() error {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+c.path, strings.NewReader("body"))
				if err != nil {
					return err
				}
				if c.header != "" {
					req.Header.Set("Authorization", c.header)
				}
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				defer func() { _ = resp.Body.Close() }()
				_, err = io.ReadAll(resp.Body)
				return err
			}()
			if err == nil {
				t.Fatal("no error")
			}
			for _, err := range []error{err, fmt.Errorf("error do request for method sendMessage, %w", err)} {
				d := Failure("sendMessage", err, x, token)
				if d.Reason != c.reason || d.Scope != c.scope || x.Status != c.status || !strings.Contains(d.Detail, c.detail) {
					t.Errorf("got %s, scope %d, status %d: %q", d.Reason, d.Scope, x.Status, d.Detail)
				}
				safe(t, d.Error(), "AAbb", "/bot", "key=", "127.0.0.1", "localhost", "bridge.invalid", "SSH", "Bearer")
			}
		})
	}
}

func safe(t *testing.T, text string, not ...string) {
	t.Helper()
	for _, s := range not {
		if strings.Contains(text, s) {
			t.Errorf("%q carries %q", text, s)
		}
	}
}

func TestFailureWithoutExchange(t *testing.T) {
	if d := Failure("op", io.EOF, nil); d.Reason != bridge.ReasonUnconfirmed {
		t.Errorf("without an exchange: %s, want unconfirmed", d.Reason)
	}
	if got := Describe(nil); got != "" {
		t.Errorf("Describe(nil) = %q", got)
	}
	for _, err := range []error{
		errors.New("POST https://x.example/" + token.Reveal()),
		fmt.Errorf("wrapped %s: %w", token.Reveal(), errors.New(token.Reveal())),
		&net.OpError{Op: "dial", Net: "tcp", Err: errors.New(token.Reveal())},
	} {
		safe(t, Describe(err), "AAbb", "x.example")
	}
}

func TestRedirectIsTheAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/first" {
			t.Errorf("the redirect was followed to %s", r.URL.Path)
		}
		http.Redirect(w, r, "/second", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	client := NewClient(Options{})
	defer client.CloseIdleConnections()
	ctx, x := Trace(t.Context())
	if err := get(ctx, t, client, srv.URL+"/first"); err != nil {
		t.Fatal(err)
	}
	if x.Status != http.StatusTemporaryRedirect || !x.Sent {
		t.Errorf("%+v", x)
	}
}

func TestHTTP2(t *testing.T) {
	proto := make(chan int, 1)
	srv := tlsServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto <- r.ProtoMajor }))
	client := NewClient(Options{TLS: roots(srv)})
	defer client.CloseIdleConnections()
	ctx, x := Trace(t.Context())
	if err := get(ctx, t, client, srv.URL); err != nil {
		t.Fatal(err)
	}
	if got := <-proto; got != 2 || x.Status != 200 || !x.Sent {
		t.Errorf("HTTP/%d, %+v", got, x)
	}
}

// A kept connection that the server closed meanwhile is no sent request, even where the body cannot be read again.
func TestClosedWhileIdle(t *testing.T) {
	err := fmt.Errorf("error: %w", errors.New("http: server closed idle connection"))
	if !closedWhileIdle(err) || closedWhileIdle(io.EOF) || closedWhileIdle(nil) {
		t.Error("closedWhileIdle")
	}
}

func TestConnectionsAreReused(t *testing.T) {
	opened := make(chan struct{}, 10)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened <- struct{}{}
		}
	}
	srv.Start()
	defer srv.Close()
	client := NewClient(Options{MaxConnsPerHost: 1})
	defer client.CloseIdleConnections()
	for range 5 {
		if err := get(t.Context(), t, client, srv.URL); err != nil {
			t.Fatal(err)
		}
	}
	if len(opened) != 1 {
		t.Errorf("%d connections for 5 calls", len(opened))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"30":                            30 * time.Second,
		"1.5":                           1500 * time.Millisecond,
		"-5":                            0,
		"nan":                           0,
		"inf":                           24 * time.Hour,
		"99999999999999999999":          24 * time.Hour,
		"soon":                          0,
		"Sun, 22 Nov 2026 12:01:00 GMT": time.Minute,
		"Sun, 22 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer srv.Close()
	client := NewClient(Options{})
	defer client.CloseIdleConnections()
	ctx, x := Trace(t.Context())
	if err := get(ctx, t, client, srv.URL); err != nil {
		t.Fatal(err)
	}
	if *x != (Exchange{Sent: true, Status: 429, RetryAfter: 7 * time.Second}) {
		t.Errorf("%+v", x)
	}
}

// A context of one call may be cancelled while the transport still works; the race detector is the judge here.
func TestExchangeMayBeReadAfterTheCall(t *testing.T) {
	arrived := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	client := NewClient(Options{})
	defer client.CloseIdleConnections()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		ctx, x := Trace(ctx)
		go func() { <-arrived; cancel() }()
		if err := get(ctx, t, client, srv.URL); !errors.Is(err, context.Canceled) || !x.Sent {
			t.Fatalf("%v, %+v", err, x)
		}
	}
	var buf bytes.Buffer
	_, _ = fmt.Fprintf(&buf, "%v", Failure("op", context.Canceled, &Exchange{Sent: true}))
	if want := "op: transient: cancelled"; buf.String() != want {
		t.Errorf("%q, want %q", buf.String(), want)
	}
}
