package discord

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// budget keeps identifies within what a token has, whatever goes wrong.
type budget struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	last    time.Time
}

func newBudget() *budget {
	return &budget{limiter: rate.NewLimiter(rate.Every(24*time.Hour/identifiesADay), identifiesAtOnce)}
}

// wait returns how long there is no identify.
func (b *budget) wait(now time.Time, apart time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.last.Add(apart).Sub(now)
	if missing := 1 - b.limiter.TokensAt(now); missing > 0 {
		d = max(d, time.Duration(missing*float64(24*time.Hour/identifiesADay))+time.Millisecond)
	}
	return max(d, 0)
}

// spend takes an identify; false: there is none.
func (b *budget) spend(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.limiter.AllowN(now, 1) {
		return false
	}
	b.last = now
	return true
}

// gatewaySession is the gateway's session, which outlives its connections and Listen itself: events that were not accepted are told again
// when it is resumed.
type gatewaySession struct {
	mu       sync.Mutex
	session  string // empty: there is none
	url      string // where it is resumed
	received int64  // the last event that came
	accepted int64  // the last event that was dealt with
	misses   int    // resumes that failed since one worked
}

func (l *gatewaySession) begin(session, url string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.url, l.received, l.accepted, l.misses = session, url, seq, 0, 0
}

func (l *gatewaySession) drop() { l.begin("", "", 0) }

// rewind goes back to what was accepted: what came after it is lost with the queue that it was in.
func (l *gatewaySession) rewind() (resumes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accepted == 0 {
		l.session = ""
	}
	l.received = l.accepted
	return l.session != ""
}

func (l *gatewaySession) state() (session, url string, received, accepted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session, l.url, l.received, l.accepted
}

func (l *gatewaySession) receive(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.received = max(l.received, seq)
}

func (l *gatewaySession) accept(session string, seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if session == l.session {
		l.accepted = max(l.accepted, seq)
	}
}

// missed notes a resume that failed.
func (l *gatewaySession) missed() {
	l.mu.Lock()
	l.misses++
	spent := l.misses >= resumesToDrop
	l.mu.Unlock()
	if spent {
		l.drop()
	}
}

func (l *gatewaySession) resumed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.misses = 0
}
