package api

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// FuzzBody reads bodies as they come: encoded or not, of events and of registrations. Nothing grows beyond its bound, and an error is a
// field's, which quotes no name of ours.
func FuzzBody(f *testing.F) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(bytes.Repeat([]byte("x"), 100_000))
	_ = z.Close()
	f.Add(zipped.Bytes(), "gzip")
	f.Add(zipped.Bytes()[:20], "x-gzip")
	for _, body := range []string{
		`{"url":"https://app.example.com/hook","secret":"whsec_c2VjcmV0","events":["operator_message"],"ttl":3600}`, `{"url":1}`, `{"url":"u","ttl":9223372036854775807}`,
		`{"url":"u","events":[]}`, `{"url":"u","events":null,"ttl":-1}`, `{"URL":"a","url":"b"}`, "\xef\xbb\xbf{}", "\xff\xfe{\x00}\x00", `[]`, `{"url":"u","events":["x",null]}`,
		`{"type":"visitor_message","session":{"id":"s","visitorId":"v"},"message":{"id":"m","sessionId":"s","content":"x","sender":"visitor","timestamp":"2026-01-01T00:00:00Z"}}`,
	} {
		f.Add([]byte(body), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, coding string) {
		const bound = 50_000
		r := &http.Request{Header: http.Header{"Content-Encoding": {coding}}}
		in, err := decoded(r, bytes.NewReader(body))
		if err != nil {
			return
		}
		text, err := io.ReadAll(&most{from: in, left: bound, max: bound})
		if len(text) > bound {
			t.Fatalf("%d bytes", len(text))
		}
		if err != nil {
			return
		}
		if text, err = plainJSON(text); err != nil {
			return
		}
		spec, err := readRegistration(text)
		if err == nil && (spec.URL == "" || spec.TTL < 0 || spec.Events != nil && len(spec.Events) == 0) {
			t.Fatalf("%+v", spec)
		}
		fieldError(t, err)
		e, kept, err := decodeAny(text)
		fieldError(t, err)
		if err == nil && (e.Validate() != nil || len(kept) > 2*len(text)+100) {
			t.Fatalf("taken: %q", text)
		}
		for _, kind := range []bridge.Type{bridge.TypeNewSession, bridge.TypeVisitorMessage, bridge.TypeCustomEvent} {
			e, kept, err := decodeAs(kind)(text)
			fieldError(t, err)
			if err != nil {
				continue
			}
			if again, err := bridge.DecodeAppEvent(kept); err != nil || again.Type != "" && again.Type != kind || e.Type != kind {
				t.Fatalf("%q is kept as %q: %v", text, kept, err)
			}
		}
	})
}

func fieldError(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	fault, ok := errors.AsType[*bridge.FieldError](err)
	if !ok || strings.Contains(fault.Problem, "api.") || strings.Contains(fault.Problem, "json:") {
		t.Fatalf("%v", err)
	}
}

// FuzzHeaders reads what anybody sends along: which event was seen last, whence and for whom the request is, and who the client is.
func FuzzHeaders(f *testing.F) {
	f.Add("evt_0000000000000001", "evt_1", "example.com", "https://evil.example", "cross-site", "10.0.0.1, 192.0.2.1", "192.0.2.7:1")
	f.Add("", "", "127.0.0.1:80", "null", "", "::1, x", "[fe80::1%lo]:1")
	f.Add("", "", "", "", "", "", "[::%]]:1")
	f.Add("evt_99999999999999999999", "-1", "a.internal.evil.example", "", "CROSS-SITE", "", "10.1.1.1:2")
	f.Fuzz(func(t *testing.T, header, query, host, origin, site, forwarded, peer string) {
		r := &http.Request{
			Header: http.Header{"Last-Event-Id": {header}, "Origin": {origin}, "Sec-Fetch-Site": {site}, "X-Forwarded-For": {forwarded}},
			URL:    &url.URL{Path: "/api/events", RawQuery: "lastEventId=" + url.QueryEscape(query)}, Host: host, RemoteAddr: peer,
		}
		last, said := lastSeen(r)
		if said != (header != "" || query != "") {
			t.Fatalf("%q %q: %v", header, query, said)
		}
		if seen, ours := bridge.ParseSeq(header); header != "" && (ours && last != seen || !ours && last != oldestSeen) {
			t.Fatalf("%q is read as %d", header, last)
		}
		k := newKeyless("https://bridge.example.com", newOrigins([]string{"https://good.example.com"}))
		if !strings.EqualFold(origin, "https://good.example.com") && k.check(r) == nil {
			t.Fatalf("a page of %q may ask", origin)
		}
		r.Header.Del("Origin")
		name := host
		if n, _, err := net.SplitHostPort(host); err == nil {
			name = n
		}
		if name = strings.ToLower(strings.TrimRight(name, ".")); strings.HasSuffix(name, ".example") && k.ourHost(host) {
			t.Fatalf("the Host %q is ours", host)
		}
		from, err := netip.ParseAddrPort(peer)
		if _, _, split := net.SplitHostPort(peer); err != nil || split != nil {
			return // it is the server who says that, and never so
		}
		direct := from.Addr().WithZone("")
		is := func(said string) bool {
			at, err := netip.ParseAddr(said)
			return err == nil && at.Unmap() == direct.Unmap()
		}
		if got := extractor(nil)(r); !is(got) {
			t.Fatalf("%q is %q without proxies", peer, got)
		}
		proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		got := extractor(proxies)(r)
		if !is(got) && !proxies[0].Contains(direct.Unmap()) && !proxies[1].Contains(direct) {
			t.Fatalf("%q, who is no proxy, counts as %q", peer, got)
		}
		if p := networkOf(got); p.IsValid() && p.Bits() != 32 && p.Bits() != 64 {
			t.Fatalf("%q is of %s", got, p)
		}
		var g guesses
		if wait := g.next(got, time.Unix(1_700_000_000, 0)); wait < 0 || wait > time.Hour {
			t.Fatalf("%q waits %s", got, wait)
		}
	})
}
