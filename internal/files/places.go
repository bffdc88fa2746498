package files

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	perLink   = 8  // downloads of one file at the same time; a browser opens six connections
	perClient = 16 // downloads of one client at the same time
)

// places are the downloads under way, counted for all, for each file and for each client.
type places struct {
	most int

	mu    sync.Mutex
	all   int
	of    map[string]int
	freed chan struct{} // closed and renewed when one ends
}

func newPlaces(most int) *places {
	return &places{most: most, of: map[string]int{}, freed: make(chan struct{})}
}

// enter waits for a place, at most for so long; false: there is none. An empty client has no limit of its own.
func (p *places) enter(ctx context.Context, file, client string, atMost time.Duration) bool {
	late := time.NewTimer(atMost)
	defer late.Stop()
	for {
		p.mu.Lock()
		if p.all < p.most && p.of["file "+file] < min(perLink, p.most) && (client == "" || p.of["client "+client] < perClient) {
			p.count(file, client, 1)
			p.mu.Unlock()
			return true
		}
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (p *places) leave(file, client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(file, client, -1)
	close(p.freed)
	p.freed = make(chan struct{})
}

// count is called under the lock.
func (p *places) count(file, client string, by int) {
	p.all += by
	keys := []string{"file " + file}
	if client != "" {
		keys = append(keys, "client "+client)
	}
	for _, key := range keys {
		if p.of[key] += by; p.of[key] == 0 {
			delete(p.of, key)
		}
	}
}

// taken returns how many downloads are under way.
func (p *places) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all
}

// ClientOf returns a client's address: the peer's, or the last one in X-Forwarded-For that no trusted proxy wrote; nothing for a
// proxy on this machine or network that is not known as one, behind which there may be many.
func ClientOf(r *http.Request, proxies []netip.Prefix) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	at = at.Unmap()
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	passed := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if !trusted(at) {
		if passed[0] != "" && (at.IsLoopback() || at.IsPrivate()) {
			return ""
		}
		return at.String()
	}
	for i := len(passed) - 1; i >= 0 && trusted(at); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(passed[i]))
		if err != nil {
			break
		}
		at = next.Unmap()
	}
	return at.String()
}
