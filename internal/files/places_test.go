package files

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// However many read one link slowly, another visitor's file is handed out at once.
func TestOneLinkStarvesNoOther(t *testing.T) {
	release, held := make(chan struct{}), make(chan struct{}, 100)
	var free atomic.Bool
	s := &source{open: func(ctx context.Context, _ int64) (*bridge.Content, error) {
		if !free.Load() {
			held <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return &bridge.Content{Body: io.NopCloser(strings.NewReader("x")), Size: 1}, nil
	}}
	l, base := serveLinks(t, s, LinkOptions{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	l.slotIn = 20 * time.Millisecond
	done := make(chan int, 100)
	one := base + l.Link("telegram", attachment("a", "", 1))
	for i := range 40 { // each of another client
		go func() {
			resp, _, _ := ask(t, http.MethodGet, one, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
			done <- resp.StatusCode
		}()
	}
	for range perLink {
		<-held
	}
	for range 40 - perLink {
		if code := <-done; code != http.StatusServiceUnavailable {
			t.Errorf("of one link beyond its share: %d", code)
		}
	}
	if n := l.places.taken(); n != perLink {
		t.Errorf("one link has %d places", n)
	}
	free.Store(true)
	if resp, _, _ := ask(t, http.MethodGet, base+l.Link("telegram", attachment("b", "", 2))); resp.StatusCode != http.StatusOK {
		t.Errorf("another file: %d", resp.StatusCode)
	}
	close(release)
	for range perLink {
		if code := <-done; code != http.StatusOK {
			t.Errorf("%d", code)
		}
	}
}

func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(20)
		for i := range perClient {
			if !p.enter(t.Context(), fmt.Sprint("file", i), "ana", time.Second) {
				t.Fatalf("there is no place for %d of a client", i)
			}
		}
		if began := time.Now(); p.enter(t.Context(), "file", "ana", time.Second) || time.Since(began) != time.Second {
			t.Error("a client has more than its share")
		}
		if !p.enter(t.Context(), "file0", "ben", time.Second) || !p.enter(t.Context(), "file0", "", time.Second) {
			t.Error("another client has no place")
		}
		go func() {
			time.Sleep(time.Second / 2)
			p.leave("file1", "ana")
		}()
		if !p.enter(t.Context(), "file", "ana", time.Second) {
			t.Error("a place that became free is not given")
		}
		if p.taken() != perClient+2 {
			t.Errorf("%d are taken", p.taken())
		}
	})
}

func TestClientOf(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		peer, passed, want string
		proxies            []netip.Prefix
	}{
		{"192.0.2.1:5", "", "192.0.2.1", nil},
		{"192.0.2.1:5", "198.51.100.1", "192.0.2.1", nil},
		{"127.0.0.1:5", "", "127.0.0.1", nil},
		{"127.0.0.1:5", "198.51.100.1", "", nil},
		{"10.0.0.1:5", "198.51.100.1", "", nil},
		{"10.0.0.1:5", "198.51.100.1", "198.51.100.1", proxies},
		{"10.0.0.1:5", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1", proxies},
		{"10.0.0.1:5", "nonsense", "10.0.0.1", proxies},
		{"192.0.2.1:5", "198.51.100.1", "192.0.2.1", proxies},
		{"?", "", "", nil},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if r.RemoteAddr = c.peer; c.passed != "" {
			r.Header.Set("X-Forwarded-For", c.passed)
		}
		if got := ClientOf(r, c.proxies); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
