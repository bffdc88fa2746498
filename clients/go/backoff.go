package bridgeclient

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	firstPause = 250 * time.Millisecond
	longPause  = 5 * time.Second
	maxPause   = time.Minute // that an answer may ask for
)

// backoff is how long to wait before the next try.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: firstPause} }

// pause waits, at least as long as was asked for, and says whether to go on.
func (b *backoff) pause(ctx context.Context, asked time.Duration) bool {
	wait := b.next/2 + rand.N(b.next/2) //nolint:gosec // it spreads tries, it hides nothing
	b.next = min(2*b.next, longPause)
	timer := time.NewTimer(max(wait, min(asked, maxPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryAfter is what the answer's Retry-After asks for, in whole seconds.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}
