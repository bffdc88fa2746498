package discord

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Window lets so many calls through in each span of time; the zero value lets all through.
type Window struct {
	Calls int
	Per   time.Duration
}

// Limits are the paces that the server insists on. What is not given has no limit.
type Limits struct {
	// Global is over all operations but interactions'.
	Global Window
	// Routes are by operation, each counted for itself in each channel, guild and webhook; Otherwise is for those not named.
	Routes    map[string]Window
	Otherwise Window
	// Renames is a limit inside update_channel, for calls that change a channel's or thread's name.
	Renames Window
	// Webhooks is over all messages that webhooks send to a channel and its threads; no header tells it.
	Webhooks Window
	// IdentifyEvery is the time between two identifies of the gateway; sooner ones get an invalid session (max_concurrency 1).
	IdentifyEvery time.Duration
}

// UsualLimits returns what bots read off Discord's headers as a rule, and the two documented figures: 50 calls a second over all
// (https://docs.discord.com/developers/topics/rate-limits#global-rate-limit) and one identify in 5 s. The docs give no others:
// "rate limits should not be hard coded into your app". Two renames in ten minutes are known from
// github.com/discord/discord-api-docs/issues/1900, 30 messages a minute of a channel's webhooks from issues/367 there.
func UsualLimits() Limits {
	five := Window{5, 5 * time.Second}
	return Limits{
		Global: Window{50, time.Second},
		Routes: map[string]Window{
			"create_message":             five,
			"update_message":             five,
			"delete_message":             {5, time.Second},
			"add_my_message_reaction":    {1, 250 * time.Millisecond},
			"delete_my_message_reaction": {1, 250 * time.Millisecond},
			"trigger_typing_indicator":   five,
			"execute_webhook":            {5, 2 * time.Second},
			"update_webhook_message":     {5, 2 * time.Second},
			"update_channel":             {5, 15 * time.Second},
		},
		Otherwise:     Window{10, 10 * time.Second},
		Renames:       Window{2, 10 * time.Minute},
		Webhooks:      Window{30, time.Minute},
		IdentifyEvery: 5 * time.Second,
	}
}

// limiter counts calls. invalid is read and written without the server's lock, the rest under it.
type limiter struct {
	invalid atomic.Int64
	Limits
	on      bool
	buckets map[string]*bucket
	global  bucket
	early   map[string]int
}

// bucket is a window that is open: it closes per after its first call.
type bucket struct {
	used int
	ends time.Time
}

// verdict is what the limits say of a call.
type verdict struct {
	over      bool
	scope     string
	after     time.Duration // until the window is new
	bucket    string
	limit     int
	remaining int
	ends      time.Time
}

// SetLimits turns limits on. The zero Limits turns them off.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.Limits = l
	s.limits.on = l.Global.Calls > 0 || len(l.Routes) > 0 || l.Otherwise.Calls > 0 || l.Renames.Calls > 0 || l.Webhooks.Calls > 0
	s.limits.buckets, s.limits.global = make(map[string]*bucket), bucket{}
}

// TooEarly returns how many calls of an operation came while their window was closed, and were refused for it; of all operations
// if the name is empty.
func (s *Server) TooEarly(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if operation != "" {
		return s.limits.early[operation]
	}
	n := 0
	for _, of := range s.limits.early {
		n += of
	}
	return n
}

// Invalid returns how many answers were 401, 403 or 429, those of shared limits aside: Discord shuts out who has 10 000 of them
// in 10 minutes. Answers that an Action gave are not counted.
func (s *Server) Invalid() int { return int(s.limits.invalid.Load()) }

// note counts an answer for Invalid.
func (l *limiter) note(status int, scope string) {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		if scope != "shared" {
			l.invalid.Add(1)
		}
	}
}

// take counts a call in, or says that the window is closed.
func (b *bucket) take(w Window, now time.Time) bool {
	if !now.Before(b.ends) {
		b.used, b.ends = 0, now.Add(w.Per)
	}
	if b.used >= w.Calls {
		return false
	}
	b.used++
	return true
}

// pace counts a call, or finds it too early. The caller holds the lock.
func (s *Server) pace(q *request) verdict {
	l, now, name := &s.limits, time.Now(), q.op.Name
	v := verdict{bucket: name, limit: 1000, remaining: 999, after: time.Second, ends: now.Add(time.Second)}
	if !l.on {
		return v
	}
	early := func(scope string, b *bucket) verdict {
		if l.early == nil {
			l.early = make(map[string]int)
		}
		l.early[name]++
		v.over, v.scope, v.after, v.ends, v.remaining = true, scope, b.ends.Sub(now), b.ends, 0
		return v
	}
	window, named := l.Routes[name]
	if !named {
		window = l.Otherwise
	}
	if window.Calls > 0 {
		major := q.vars["channel_id"] + q.vars["guild_id"] + q.vars["webhook_id"] + q.vars["webhook_token"]
		b := l.bucket(name + "/" + major)
		v.limit = window.Calls
		if !b.take(window, now) {
			return early("user", b)
		}
		v.remaining, v.after, v.ends = window.Calls-b.used, b.ends.Sub(now), b.ends
	}
	if l.Renames.Calls > 0 && name == "update_channel" && s.renames(q) {
		if b := l.bucket("rename/" + q.vars["channel_id"]); !b.take(l.Renames, now) {
			return early("user", b)
		}
	}
	if h := s.webhooks[q.id("webhook_id")]; h != nil && l.Webhooks.Calls > 0 && name == "execute_webhook" {
		if b := l.bucket("webhooks/" + h.channel.id.String()); !b.take(l.Webhooks, now) {
			return early("shared", b)
		}
	}
	// "Interaction endpoints are not bound to the bot's Global Rate Limit."
	interaction := name == "create_interaction_response" || q.id("webhook_id") == s.appID
	if l.Global.Calls > 0 && !interaction && !l.global.take(l.Global, now) {
		return early("global", &l.global)
	}
	return v
}

func (l *limiter) bucket(key string) *bucket {
	b := l.buckets[key]
	if b == nil {
		b = new(bucket)
		l.buckets[key] = b
	}
	return b
}

// renames says whether a call gives a channel another name.
func (s *Server) renames(q *request) bool {
	var body struct{ Name *string }
	c := s.channels[q.id("channel_id")]
	return q.decode(&body) == nil && body.Name != nil && c != nil && c.name != *body.Name
}

// headers sets the headers that go with every answer.
func (v verdict) headers(h http.Header) {
	if v.bucket == "" || v.scope == "global" {
		return
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(v.limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(v.remaining))
	h.Set("X-RateLimit-Reset", epochSeconds(v.ends))
	h.Set("X-RateLimit-Reset-After", strconv.FormatFloat(float64(v.after.Milliseconds()+1)/1000, 'f', 3, 64))
	h.Set("X-RateLimit-Bucket", bucketName(v.bucket))
}

// bucketName returns a name for a bucket that says as little as Discord's do.
func bucketName(operation string) string {
	letters := []byte(strings.ReplaceAll(operation, "_", ""))
	slices.Reverse(letters)
	var sum uint64 = 14695981039346656037
	for _, c := range letters {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return strconv.FormatUint(sum, 16)
}
