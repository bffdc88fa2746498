package discord

import (
	"cmp"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

const maxBuckets = 5000

// bucket is a limit of Discord's, as its last answer told it.
type bucket struct {
	limit   int // calls in a window; 0: not known
	left    int // calls that may be sent until reset
	reset   time.Time
	running int
}

// acquire takes a place in the call's window, or says how long the window is closed.
func (r *rest) acquire(c call, now time.Time) (*bucket, *bridge.DeliveryError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	usedUp := func(opens time.Duration, scope bridge.Scope, what string) (*bucket, *bridge.DeliveryError) {
		return nil, &bridge.DeliveryError{
			Reason: bridge.ReasonRateLimited, Scope: scope, Op: c.op, RetryAfter: opens, Detail: "the limit of " + what + " is reached; not sent",
		}
	}
	if d := r.global.Sub(now); d > 0 && c.pathToken == "" {
		return usedUp(d, bridge.ScopeDestination, "calls")
	}
	b := r.bucketOf(c, now)
	if !now.Before(b.reset) {
		b.left, b.reset = b.limit, time.Time{} // a new window; the answer tells when it ends
	}
	if b.left <= 0 && !b.reset.IsZero() {
		return usedUp(b.reset.Sub(now), bridge.ScopeSession, "calls of this kind")
	}
	if b.limit > 0 && b.reset.IsZero() && b.running >= b.limit {
		// As many as a window takes are under way, and none has told yet when it ends.
		return usedUp(250*time.Millisecond, bridge.ScopeSession, "calls of this kind")
	}
	b.left--
	b.running++
	return b, nil
}

// release gives the place back and reads what the answer tells of the limit; nothing from a refusal that is of another one.
func (r *rest) release(c call, b *bucket, header http.Header, other bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.running--
	if header == nil {
		return
	}
	now := r.now()
	if at, err := http.ParseTime(header.Get("Date")); err == nil {
		// A date has whole seconds, so Discord's clock is up to a second ahead of this.
		r.skew = at.Sub(now)
	}
	limit, err := strconv.Atoi(header.Get("X-RateLimit-Limit"))
	if err != nil || limit <= 0 || other {
		return
	}
	left, err := strconv.Atoi(header.Get("X-RateLimit-Remaining"))
	if err != nil {
		return
	}
	after := seconds(header.Get("X-RateLimit-Reset-After"))
	if name := header.Get("X-RateLimit-Bucket"); name != "" {
		b = r.rename(c, b, name)
	}
	// The answer does not know of the calls that are under way.
	b.limit, b.left, b.reset = limit, left-b.running, now.Add(after)
}

// rename moves a call's bucket to the name that Discord gives it, under which other routes may count too, and returns the one that
// is there now. Called under the lock.
func (r *rest) rename(c call, b *bucket, name string) *bucket {
	route, owner := routeOf(c)
	if r.names[route] != name && len(r.names) < maxBuckets {
		r.names[route] = name
		delete(r.buckets, route+" "+owner)
	}
	key := r.names[route] + " " + owner
	if known := r.buckets[key]; known != nil {
		return known
	}
	r.buckets[key] = b
	return b
}

// noteRefusal notes a refusal for pace.
func (r *rest) noteRefusal(b *bucket, limited *bridge.DeliveryError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := r.now().Add(limited.RetryAfter)
	if limited.Scope == bridge.ScopeDestination {
		r.global = later(r.global, until)
		return
	}
	b.left, b.reset = 0, later(b.reset, until)
	b.limit = max(b.limit, 1)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// bucketOf returns the bucket of a call. Called under the lock.
func (r *rest) bucketOf(c call, now time.Time) *bucket {
	route, owner := routeOf(c)
	key := cmp.Or(r.names[route], route) + " " + owner
	b := r.buckets[key]
	if b == nil {
		if len(r.buckets) >= maxBuckets {
			maps.DeleteFunc(r.buckets, func(_ string, b *bucket) bool { return b.running == 0 && !now.Before(b.reset) })
		}
		b = &bucket{}
		r.buckets[key] = b
	}
	return b
}

// routeOf returns what Discord counts a call under, and for whom ("Per-route rate limits" of its documentation): the call with
// names in place of ids, and the channel, server or webhook that it is of.
func routeOf(c call) (route, owner string) {
	parts := strings.Split(strings.TrimPrefix(c.path, "/"), "/")
	for i, p := range parts {
		switch {
		case i == 0:
		case i == 1 || i == 2 && (parts[0] == "webhooks" || parts[0] == "interactions"):
			owner += "/" + p
			parts[i] = ":"
		case parts[i-1] == "reactions":
			parts[i] = ":emoji"
		default:
			if _, isID := parseSnowflake(p); isID {
				parts[i] = ":"
			}
		}
	}
	return c.method + " " + strings.Join(parts, "/"), parts[0] + owner
}
