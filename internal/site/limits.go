package site

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What one address, or one session, may do. An address that cannot be told from others' has no limits of its own.
const (
	connectBurst   = 20               // sessions of an address that are announced at once,
	connectEvery   = 10 * time.Second // and one more in this time
	messageBurst   = 20               // messages of a session at once,
	messageEvery   = time.Second      // and one more in this time
	addressBurst   = 60               // messages of an address at once,
	addressEvery   = time.Second      // and one more in this time
	pagesOfAddress = 50               // sockets and streams

	limitsKnown = 20_000 // sessions or addresses of which a pace is kept
)

// limits are the paces of sessions and addresses.
type limits struct {
	connects, sessions, addresses *paces

	mu    sync.Mutex
	pages map[string]int
}

func newLimits() *limits {
	return &limits{
		connects:  newPaces(connectEvery, connectBurst),
		sessions:  newPaces(messageEvery, messageBurst),
		addresses: newPaces(addressEvery, addressBurst),
		pages:     map[string]int{},
	}
}

// connect says whether a new session of an address is announced. It is answered either way.
func (l *limits) connect(address string) bool { return l.connects.spend(address, time.Now()) == 0 }

// message returns when a message may be sent, 0: now.
func (l *limits) message(session, address string, now time.Time) time.Duration {
	if wait := l.addresses.spend(address, now); wait > 0 {
		return wait
	}
	return l.sessions.spend(session, now)
}

// open counts a socket or stream of an address; false: it has too many.
func (l *limits) open(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if address == "" {
		return true
	}
	if l.pages[address] >= pagesOfAddress {
		return false
	}
	l.pages[address]++
	return true
}

func (l *limits) close(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pages[address]--; l.pages[address] <= 0 {
		delete(l.pages, address)
	}
}

// paces are limiters by key. Of more than there is room for, those that were not used lately are forgotten.
type paces struct {
	every rate.Limit
	burst int

	mu         sync.Mutex
	now, older map[string]*rate.Limiter
}

func newPaces(every time.Duration, burst int) *paces {
	return &paces{every: rate.Every(every), burst: burst, now: map[string]*rate.Limiter{}}
}

// spend takes one out of a key's pace, or returns when there is one; an empty key has no pace.
func (p *paces) spend(key string, at time.Time) time.Duration { return p.spendN(key, at, 1) }

func (p *paces) spendN(key string, at time.Time, n int) time.Duration {
	if key == "" {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.now[key]
	if l == nil {
		if l = p.older[key]; l == nil {
			l = rate.NewLimiter(p.every, p.burst)
		}
		if len(p.now) >= limitsKnown {
			p.now, p.older = map[string]*rate.Limiter{}, p.now
		}
		p.now[key] = l
	}
	reservation := l.ReserveN(at, n)
	if !reservation.OK() { // it is more than the pace ever has
		return time.Hour
	}
	wait := reservation.DelayFrom(at)
	if wait > 0 {
		reservation.CancelAt(at)
	}
	return wait
}

// clientIP is a client's address, or nothing where it cannot be told from others'.
func (d *Door) clientIP(r *http.Request) string {
	if d.o.Address == nil {
		return ""
	}
	ip := d.o.Address(r)
	if ip == "" && r.Header.Get("X-Forwarded-For") != "" {
		d.unknownProxy.Do(func() {
			d.log.Warn("pages come through a proxy that is not named in TRUSTED_PROXIES: visitors' addresses are not known and have no limits")
		})
	}
	return ip
}

// address is what a client counts as: its address, or of IPv6 the network of it that one customer has.
func (d *Door) address(r *http.Request) string {
	ip := d.clientIP(r)
	at, err := netip.ParseAddr(ip)
	if err != nil || at.Unmap().Is4() {
		return ip
	}
	network, err := at.Prefix(64)
	if err != nil {
		return ip
	}
	return network.String()
}
