package files

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// FuzzClientOf finds out who a client is: nobody but a trusted proxy may say that it is somebody else.
func FuzzClientOf(f *testing.F) {
	f.Add("192.0.2.7:1", "198.51.100.1", "10.0.0.2")
	f.Add("10.0.0.1:1", "198.51.100.1, 10.0.0.2", "x")
	f.Add("[::ffff:10.0.0.1]:1", "::1,,%", "")
	f.Add("127.0.0.1:1", "", "198.51.100.1")
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {first, second}}}
		proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		got := ClientOf(r, proxies)
		if got == "" {
			return
		}
		at, err := netip.ParseAddr(got)
		if err != nil || at != at.Unmap() {
			t.Fatalf("%q is no address", got)
		}
		ap, err := netip.ParseAddrPort(peer)
		if err != nil {
			return // a zone, or a name of a service
		}
		if from := ap.Addr().Unmap(); !proxies[0].Contains(from) && at != from {
			t.Fatalf("%s, who is no proxy, counts as %s", from, at)
		}
		if before := strings.TrimSpace(second); before != "" && proxies[0].Contains(ap.Addr().Unmap()) {
			if last, err := netip.ParseAddr(before); err == nil && !proxies[0].Contains(last.Unmap()) && at != last.Unmap() {
				t.Fatalf("behind the proxy stands %s, and it counts as %s", last, at)
			}
		}
	})
}

// FuzzRange reads the part of a file that is asked for.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-", "bytes=5-9", "bytes=-5", "bytes=9-5", "bytes=0-1,2-3", "bytes=99999999999999999999-", "x", "bytes=+1-", "bytes= 1-2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for _, size := range []int64{0, 1, 10, 1 << 62} {
			first, last, ok := parseRange(header).within(size)
			if ok && (first < 0 || last < first || last >= size) {
				t.Fatalf("%q of %d bytes is from %d to %d", header, size, first, last)
			}
		}
	})
}
