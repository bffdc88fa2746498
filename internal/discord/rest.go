package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	apiVersion = "/v9"
	userAgent  = "DiscordBot (https://github.com/pocketping/bridge, 1)" // of the form that Discord asks for
	maxBuckets = 5000
)

// call is one call of the API.
type call struct {
	op     string // its name in errors
	method string
	path   string // behind the version; what Discord counts per channel, server or webhook stands in front
	query  string
	body   any            // JSON; nil: none
	stream *platform.Body // with files, instead of body
	// bare is a call whose path is its own proof, with this token in it: the bot's is not sent along, and the limit over all calls
	// does not count ("Interaction endpoints are not bound to the bot's Global Rate Limit").
	bare bridge.Secret
	// home says that it is about the operators' channel itself, and not about a thread of it.
	home bool
	// apart says that it has a narrow limit of its own besides, which the headers do not tell: a refusal says nothing of the others.
	apart bool
	// again says that the call may be made again at any time: nothing shows twice.
	again bool
}

// rest makes calls, one request each: it neither repeats nor waits. discordgo's own caller does both, without regard to the
// context, and its errors carry URLs and so the tokens of webhooks and interactions.
//
// It keeps to the limits that Discord tells with every answer: a call into a window that is known to be used up is refused here
// as it would be there. All methods may be called from several goroutines.
type rest struct {
	client  *http.Client
	files   *http.Client  // for what may take long
	stall   time.Duration // without a byte of a file, or an answer, until a transfer is given up
	base    string        // of all URLs, with the version
	token   bridge.Secret // the bot's; empty: none
	secrets []bridge.Secret
	now     func() time.Time

	mu      sync.Mutex
	names   map[string]string  // route → the name that Discord gives its bucket
	buckets map[string]*bucket // name and what it is counted for → bucket
	global  time.Time          // until when no call may be made
	skew    time.Duration      // of Discord's clock against ours
}

// bucket is a limit of Discord's, as its last answer told it.
type bucket struct {
	limit   int // calls in a window; 0: not known
	left    int // calls that may be sent until reset
	reset   time.Time
	running int
}

func newRest(c Config, base string, token bridge.Secret, secrets ...bridge.Secret) *rest {
	return &rest{
		client: outbound.NewClient(outbound.Options{Timeout: c.Timeout}), files: outbound.NewClient(outbound.Options{}), stall: 2 * c.Timeout,
		base: base + apiVersion, token: token, secrets: secrets, now: time.Now,
		names: map[string]string{}, buckets: map[string]*bucket{},
	}
}

// do makes a call and reads its answer into dest unless that is nil. Its errors are *bridge.DeliveryErrors, as refusal or not.
func (r *rest) do(ctx context.Context, c call, dest any) error {
	secrets := r.secrets
	if c.bare != "" {
		secrets = append(secrets[:len(secrets):len(secrets)], c.bare)
	}
	began := r.now()
	b, wait := r.enter(c, began)
	if wait.d > 0 {
		return wait.error(c.op)
	}
	tracked, x := outbound.Trace(ctx)
	answer, header, status, err := r.transfer(tracked, c)
	r.leave(c, b, header, c.apart && status == http.StatusTooManyRequests)
	if err != nil {
		return failed(c, err, x, secrets)
	}
	if status >= 200 && status < 300 {
		if dest == nil || len(answer) == 0 {
			return nil
		}
		if err := json.Unmarshal(answer, dest); err != nil {
			return unreadable(c)
		}
		return nil
	}
	err = classify(c, readRefusal(status, header, answer), secrets)
	if limited, ok := limitOf(err); ok && (!c.apart || limited.Scope == bridge.ScopeDestination) {
		r.close(b, limited)
	}
	return err
}

// transfer makes the request, with a client that suits it. What has files in it may take as long as it goes on.
func (r *rest) transfer(ctx context.Context, c call) (answer []byte, header http.Header, status int, err error) {
	if c.stream == nil {
		return r.send(ctx, r.client, c)
	}
	ctx, stall := platform.WatchStall(ctx, r.stall)
	defer stall.End()
	c.stream.Moving(stall.Moved)
	answer, header, status, err = r.send(ctx, r.files, c)
	c.stream.Stop()
	return answer, header, status, stall.Cause(err)
}

// send makes the request. The header is nil when no answer came.
func (r *rest) send(ctx context.Context, client *http.Client, c call) (answer []byte, header http.Header, status int, err error) {
	url := r.base + c.path
	if c.query != "" {
		url += "?" + c.query
	}
	req, err := http.NewRequestWithContext(ctx, c.method, url, nil)
	if err != nil {
		return nil, nil, 0, err
	}
	switch {
	case c.stream != nil:
		req.Body, req.ContentLength = io.NopCloser(c.stream), c.stream.Size
		req.Header.Set("Content-Type", c.stream.Type)
	case c.body != nil:
		body, err := json.Marshal(c.body)
		if err != nil {
			return nil, nil, 0, err
		}
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", userAgent)
	if c.bare == "" && r.token != "" {
		req.Header.Set("Authorization", "Bot "+r.token.Reveal())
	}
	resp, err := client.Do(req) //nolint:bodyclose // ReadAnswer closes it
	if err != nil {
		return nil, nil, 0, err
	}
	answer, err = platform.ReadAnswer(resp)
	return answer, resp.Header, resp.StatusCode, err
}

// closed is a window that is used up.
type closed struct {
	d      time.Duration // until it opens
	global bool
}

func (w closed) error(op string) error {
	e := &bridge.DeliveryError{
		Reason: bridge.ReasonRateLimited, Op: op, RetryAfter: w.d, Detail: "the limit of calls of this kind is reached; not sent",
	}
	if w.global {
		e.Scope, e.Detail = bridge.ScopeDestination, "the limit of calls is reached; not sent"
	}
	return e
}

// enter takes a place in the call's window, or says how long the window is closed.
func (r *rest) enter(c call, now time.Time) (*bucket, closed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.bare == "" {
		if d := r.global.Sub(now); d > 0 {
			return nil, closed{d, true}
		}
	}
	b := r.bucketOf(c, now)
	switch {
	case b.limit == 0 && b.reset.IsZero():
	case !now.Before(b.reset):
		b.left, b.reset = b.limit, time.Time{} // a new window; the answer tells when it ends
	}
	if b.left <= 0 && !b.reset.IsZero() {
		return nil, closed{d: b.reset.Sub(now)}
	}
	if b.limit > 0 && b.reset.IsZero() && b.running >= b.limit {
		// As many as a window takes are under way, and none has told yet when it ends.
		return nil, closed{d: 250 * time.Millisecond}
	}
	b.left--
	b.running++
	return b, closed{}
}

// leave gives the place back and reads what the answer tells of the limit; nothing from a refusal that is of another one.
func (r *rest) leave(c call, b *bucket, header http.Header, other bool) {
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

// close notes a refusal for pace.
func (r *rest) close(b *bucket, limited *bridge.DeliveryError) {
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
	name := r.names[route]
	if name == "" {
		name = route
	}
	key := name + " " + owner
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

// clock returns the time by Discord's clock, as far as it is known: up to a second early, and not late.
func (r *rest) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now().Add(r.skew)
}

// seconds reads a number of seconds; what is none is none.
func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return time.Duration(min(max(n, 0), 86400) * float64(time.Second))
}
