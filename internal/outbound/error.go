package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/pocketping/bridge/internal/bridge"
)

// Describe says in a few words why a call failed. The words are its own, never the error's: the errors of net, net/http and
// the platforms' libraries carry URLs, and so tokens. Secrets are redacted all the same. It returns nothing for nil.
func Describe(err error, secrets ...bridge.Secret) string {
	if err == nil {
		return ""
	}
	return bridge.Redact(describe(err), secrets...)
}

func describe(err error) string {
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return r.Reason
	}
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	if text := describeTLS(err); text != "" {
		return text
	}
	if d, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case d.IsTimeout:
			return "time-out while looking up the host"
		case d.IsNotFound:
			return "no such host"
		}
		return "the host could not be looked up"
	}
	if isTimeout(err) {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return "time-out while connecting"
		}
		return "time-out"
	}
	for _, known := range []struct {
		fault error
		text  string
	}{
		{syscall.ECONNREFUSED, "connection refused"},
		{syscall.ECONNRESET, "connection reset"},
		{syscall.EPIPE, "connection reset"},
		{syscall.ECONNABORTED, "connection aborted"},
		{syscall.EHOSTUNREACH, "host unreachable"},
		{syscall.ENETUNREACH, "network unreachable"},
		{syscall.EADDRNOTAVAIL, "no local address or port is free"},
		{syscall.EMFILE, "too many open files"},
		{syscall.ENFILE, "too many open files"},
		{http.ErrSchemeMismatch, "the other side does not speak TLS"},
		{net.ErrClosed, "connection closed"},
		{io.EOF, "connection closed without an answer"},
		{io.ErrUnexpectedEOF, "connection closed in the middle of the answer"},
	} {
		if errors.Is(err, known.fault) {
			return known.text
		}
	}
	if _, ok := errors.AsType[*net.AddrError](err); ok {
		return "the address is not valid"
	}
	return describeRequest(err)
}

func describeTLS(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "certificate is not valid for this host"
	}
	if c, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if c.Reason == x509.Expired {
			return "certificate has expired or is not yet valid"
		}
		return "certificate is not valid"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "certificate is signed by an unknown authority"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate is not valid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the other side does not speak TLS"
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return "the other side refused the TLS handshake"
	}
	return ""
}

// describeRequest recognises by their beginnings what the standard library has no types for; the rest of such a text is
// never shown.
func describeRequest(err error) string {
	inner := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Op == "parse" {
			return "the URL is not valid"
		}
		inner = u.Err
	}
	text := inner.Error()
	for _, known := range []struct{ part, text string }{
		{"unsupported protocol scheme", "the URL must begin with http:// or https://"},
		{"no Host in request URL", "the URL has no host"},
		{"invalid header field", "a header cannot be sent, since it holds a character that is not allowed"},
		{"invalid Host header", "the URL's host is not valid"},
		{"malformed HTTP", "the answer is not HTTP"},
		{"malformed MIME header", "the answer is not HTTP"},
		{"response headers exceeded", "the answer's headers are too long"},
		{"server closed idle connection", "connection closed without an answer"},
		{"connection broken", "connection closed without an answer"},
		{"GOAWAY", "connection closed by the other side"},
		{"http2:", "HTTP/2 fault"},
		{"stream error:", "HTTP/2 fault"},
		{"tls:", "TLS fault"},
		{"x509:", "certificate is not valid"},
	} {
		if strings.Contains(text, known.part) {
			return known.text
		}
	}
	for next := inner; next != nil; next = errors.Unwrap(next) {
		inner = next
	}
	return fmt.Sprintf("the call failed (%T)", inner)
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return true
	}
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// Failure turns the error of a call that got no usable answer into a reason. x is the call's exchange; without one the
// request counts as sent.
//
// Nothing sent (no address, no connection, no TLS, refused by the guard) is transient and the destination's fault: every
// other call would meet the same. Sent and not answered (time-out, reset, cut off) is unconfirmed, and this session's alone:
// one lost answer says little of the others' calls, and a destination that is really gone shows with the next connection.
// A call that the caller cancelled is transient and says nothing of the destination either.
func Failure(op string, err error, x *Exchange, secrets ...bridge.Secret) *bridge.DeliveryError {
	d := &bridge.DeliveryError{
		Reason: bridge.ReasonTransient,
		Scope:  bridge.ScopeDestination,
		Op:     op,
		Detail: Describe(err, secrets...),
	}
	switch {
	case errors.Is(err, context.Canceled):
		d.Scope = bridge.ScopeSession
	case x == nil || x.Sent:
		d.Reason, d.Scope = bridge.ReasonUnconfirmed, bridge.ScopeSession
	}
	return d
}
