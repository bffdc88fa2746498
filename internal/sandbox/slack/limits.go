package slack

import (
	"math"
	"net/http"
	"slices"
	"time"
)

// Limits are the paces that the server insists on. Zero is no limit.
type Limits struct {
	PostsPerSecond int // chat.postMessage, in one channel
	// HooksPerSecond is for one incoming webhook.
	HooksPerSecond int
	// TierPerMinute are the calls a minute of one method of each tier, 1 to 4; the first entry is not used.
	TierPerMinute [5]int
}

// DocumentedLimits returns the documented figures: one message a second in a channel, one a second by a webhook, and 1, 20, 50
// and 100 calls a minute of a method of tier 1 to 4 (https://docs.slack.dev/apis/web-api/rate-limits).
func DocumentedLimits() Limits {
	return Limits{PostsPerSecond: 1, HooksPerSecond: 1, TierPerMinute: [5]int{0, 1, 20, 50, 100}}
}

// SetLimits turns limits on or off. Windows that are closed open.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
	clear(s.windows)
}

// Hasty returns how many calls came into a closed window: after a 429 and before its Retry-After was over.
func (s *Server) Hasty() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasty
}

// window is what one limit has let through.
type window struct {
	passed []time.Time // the last ones
	closed time.Time   // until when it lets nothing through
}

// pace counts one more call, or refuses it. A refused call does not count.
func (s *Server) pace(m method, channel string) error {
	if m.Name == "chat.postMessage" {
		return s.pass("chat.postMessage "+channel, s.limits.PostsPerSecond, time.Second)
	}
	return s.pass(m.Name, s.limits.TierPerMinute[m.Tier], time.Minute)
}

func (s *Server) pass(key string, limit int, per time.Duration) error {
	if limit <= 0 {
		return nil
	}
	now, w := time.Now(), s.windows[key]
	if w == nil {
		w = &window{}
		s.windows[key] = w
	}
	if now.Before(w.closed) {
		s.hasty++
		return slow(w.closed.Sub(now))
	}
	w.passed = slices.DeleteFunc(w.passed, func(t time.Time) bool { return now.Sub(t) >= per })
	if len(w.passed) >= limit {
		// Retry-After has whole seconds: the window stays closed for what was said.
		wait := per - now.Sub(w.passed[0])
		wait = time.Duration(math.Ceil(wait.Seconds())) * time.Second
		w.closed = now.Add(wait)
		return slow(wait)
	}
	w.passed = append(w.passed, now)
	return nil
}

func slow(wait time.Duration) *refusal {
	return &refusal{
		says: "ratelimited", status: http.StatusTooManyRequests, retryAfter: max(int(math.Ceil(wait.Seconds())), 1),
	}
}
