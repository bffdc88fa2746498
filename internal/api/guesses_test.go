package api

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Wrong keys are slowed for each address, and right ones never, from the same address too.
func TestGuessesAreSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newDesk().options(t)
		o.APIKeys, o.TrustedProxies = []bridge.Secret{"0123456789abcdef"}, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} // httptest's peer
		h := New(o)
		ask := func(key, from string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/presence", nil)
			r.Header.Set("Authorization", "Bearer "+key)
			r.Header.Set("X-Forwarded-For", from)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		count := func(n int, from string) (refused, slowed int) {
			for range n {
				switch w := ask("wrong", from); {
				case w.Code == http.StatusUnauthorized:
					refused++
				case w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "" && strings.Contains(w.Body.String(), "too_many_wrong_keys"):
					slowed++
				default:
					t.Fatalf("%d %s", w.Code, w.Body)
				}
				if w := ask("0123456789abcdef", from); w.Code != http.StatusOK {
					t.Fatalf("a right key: %d", w.Code)
				}
			}
			return refused, slowed
		}
		if refused, slowed := count(100, "203.0.113.1"); refused != 10 || slowed != 90 {
			t.Errorf("%d refused, %d slowed", refused, slowed)
		}
		if refused, _ := count(5, "203.0.113.2"); refused != 5 {
			t.Errorf("another address: %d", refused)
		}
		if refused, _ := count(20, "2001:db8::1"); refused != 10 {
			t.Errorf("IPv6: %d", refused)
		}
		if refused, _ := count(5, "2001:db8::2"); refused != 0 {
			t.Errorf("the same network: %d", refused)
		}
		time.Sleep(time.Second)
		if refused, slowed := count(100, "203.0.113.1"); refused != 10 || slowed != 90 {
			t.Errorf("a second later %d refused, %d slowed", refused, slowed)
		}
	})
}

func TestGuessersAreForgotten(t *testing.T) {
	var g guesses
	for i := range 3 * guessersMost {
		g.next(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), time.Now())
	}
	if len(g.from) > guessersMost {
		t.Errorf("%d addresses are remembered", len(g.from))
	}
}

func TestStreamsOfAKey(t *testing.T) {
	full := func(s *streams, key int) string {
		end, err := s.begin(key)
		if err != nil {
			p := problemOf(err)
			return http.StatusText(p.status)
		}
		_ = end
		return ""
	}
	one := newStreams(3, 1)
	end, err := one.begin(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "", "Service Unavailable"} {
		if got := full(one, 0); got != want {
			t.Errorf("%d: %q", i, got)
		}
	}
	end()
	if got := full(one, 0); got != "" {
		t.Errorf("after one has ended: %q", got)
	}
	several := newStreams(4, 2)
	for i, c := range []struct {
		key  int
		want string
	}{{0, ""}, {0, ""}, {0, "Too Many Requests"}, {1, ""}, {1, ""}, {1, "Too Many Requests"}, {2, "Service Unavailable"}} {
		if got := full(several, c.key); got != c.want {
			t.Errorf("%d: %q", i, got)
		}
	}
}

// A stream beyond the most is refused, and has room again when another one has ended.
func TestStreamsMax(t *testing.T) {
	o := newDesk().options(t)
	o.StreamsMax = 1
	base := serve(t, o)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+pathStream, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	got := ask(t, http.MethodGet, base+pathStream, "")
	if code, _ := got.problem(t); got.status != http.StatusServiceUnavailable || code != "too_many_streams" || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if err := first.Body.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); statusWith(t, http.MethodGet, base+pathStream, "") != http.StatusOK; {
		if time.Now().After(end) {
			t.Fatal("there is no room again")
		}
	}
}
