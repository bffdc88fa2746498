package api

import (
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"
)

// Whoever tries keys is slowed: so many wrong ones a second are answered for each address, the others with 429. A request with a right
// key is never held to this, wherever it comes from.
const (
	guessesPerSecond = 10
	guessersMost     = 10_000 // addresses that are remembered
)

// guesses are the paces of addresses that wrong keys came from.
type guesses struct {
	mu   sync.Mutex
	from map[netip.Prefix]*rate.Limiter
}

// next counts a wrong key, and says how long its address has to wait until another one is answered; 0: not at all.
func (g *guesses) next(address string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.from == nil || len(g.from) >= guessersMost {
		g.from = map[netip.Prefix]*rate.Limiter{} // who guesses on is slowed again at once
	}
	key := networkOf(address)
	pace := g.from[key]
	if pace == nil {
		pace = rate.NewLimiter(guessesPerSecond, guessesPerSecond)
		g.from[key] = pace
	}
	reservation := pace.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// guessed says how long the client has to wait that sent a wrong key. One that sent none has guessed nothing.
func (s *server) guessed(c echo.Context) time.Duration {
	if len(c.Request().Header["Authorization"]) == 0 {
		return 0
	}
	return s.guesses.next(c.RealIP(), time.Now())
}

// networkOf is whose an address is: of IPv6 everybody has a network of 64 bits at least. What is no address counts as one.
func networkOf(address string) netip.Prefix {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return netip.PrefixFrom(ip, 32)
	}
	p, _ := ip.Prefix(64)
	return p
}
