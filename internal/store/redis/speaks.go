package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"
)

// speaksWithin bounds how long it is looked what a port speaks.
const speaksWithin = 5 * time.Second

// otherWay says in a sentence that a host speaks TLS where the URL is for a plain port, or the other way round; nothing where it does not,
// or cannot be seen. Asked in the wrong way, both stay silent: one waits for the rest of a line, the other for a handshake.
func (t *target) otherWay(ctx context.Context) string {
	if t.options.Network == "unix" {
		return ""
	}
	host := t.options.Addr
	if len(t.hosts) > 0 {
		host = t.hosts[0]
	}
	ctx, cancel := context.WithTimeout(ctx, speaksWithin)
	defer cancel()
	switch {
	case t.options.TLSConfig != nil && speaksPlainly(ctx, host):
		return "this port of Redis speaks without TLS, and the URL begins with rediss: write redis, or name the port of Redis's tls-port"
	case t.options.TLSConfig == nil && speaksTLS(ctx, host):
		return "this port of Redis speaks TLS, and the URL begins with redis: write rediss"
	}
	return ""
}

// speaksPlainly says whether a port answers as a Redis without TLS, with or without a password.
func speaksPlainly(ctx context.Context, host string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	until, _ := ctx.Deadline()
	_ = conn.SetDeadline(until)
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-"))
}

// speaksTLS says whether a port takes a TLS handshake. Whom it shows itself to be does not matter: nothing is told it.
func speaksTLS(ctx context.Context, host string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	shake := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // nothing is sent
	return shake.HandshakeContext(ctx) == nil
}
