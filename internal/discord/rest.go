package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/pocketping/bridge/internal/bridge"
	"github.com/pocketping/bridge/internal/outbound"
	"github.com/pocketping/bridge/internal/platform"
)

const (
	apiVersion = "/v9"
	userAgent  = "DiscordBot (https://github.com/pocketping/bridge, 1)" // of the form that Discord asks for
)

// call is one call of the API.
type call struct {
	op     string // its name in errors
	method string
	path   string // behind the version; what Discord counts per channel, server or webhook stands in front
	query  string
	body   any            // JSON; nil: none
	stream *platform.Body // with files, instead of body
	// pathToken is a call whose path is its own proof, with this token in it: the bot's is not sent along, and the limit over all calls
	// does not count ("Interaction endpoints are not bound to the bot's Global Rate Limit").
	pathToken bridge.Secret
	// isHomeChannel says that it is about the operators' channel itself, and not about a thread of it.
	isHomeChannel bool
	// separateLimit says that it has a narrow limit of its own besides, which the headers do not tell: a refusal says nothing of the others.
	separateLimit bool
	// idempotent says that the call may be made idempotent at any time: nothing shows twice.
	idempotent bool
}

// rest makes calls through discordgo, one request each: it neither repeats nor waits.
//
// It keeps to the limits that Discord tells with every answer: a call into a window that is known to be used up is refused here
// as it would be there. All methods may be called from several goroutines.
type rest struct {
	session *discordgo.Session
	client  *http.Client
	files   *http.Client  // for what may take long
	stall   time.Duration // without a byte of a file, or an answer, until a transfer is given up
	base    string        // of all URLs, with the version
	secrets []bridge.Secret
	now     func() time.Time

	mu      sync.Mutex
	names   map[string]string  // route → the name that Discord gives its bucket
	buckets map[string]*bucket // name and what it is counted for → bucket
	global  time.Time          // until when no call may be made
	skew    time.Duration      // of Discord's clock against ours
}

// newRest returns what makes calls with a bot's token; without one, calls whose paths are their own proofs.
func newRest(c Config, base string, token bridge.Secret, secrets ...bridge.Secret) (*rest, error) {
	authorization := ""
	if token != "" {
		authorization = "Bot " + token.Reveal()
	}
	session, err := discordgo.New(authorization)
	if err != nil {
		return nil, errors.New("discordgo does not take the token")
	}
	r := &rest{
		session: session,
		client:  outbound.NewClient(outbound.Options{Timeout: c.Timeout}), files: outbound.NewClient(outbound.Options{}), stall: 2 * c.Timeout,
		base: base + apiVersion, secrets: secrets, now: time.Now,
		names: map[string]string{}, buckets: map[string]*bucket{},
	}
	for _, client := range []*http.Client{r.client, r.files} {
		client.Transport = recorder{client.Transport}
	}
	session.Client, session.UserAgent = r.client, userAgent
	session.ShouldRetryOnRateLimit, session.MaxRestRetries = false, 0
	session.LogLevel = discordgo.LogError - 1 // it would print; what matters is returned
	return r, nil
}

// answer is what came back of one call.
type answer struct {
	status int // 0: nothing
	header http.Header
	body   []byte
}

type answerKey struct{}

// recorder keeps the answers of the calls whose contexts ask for it. discordgo's errors carry URLs, and so the tokens of webhooks and
// interactions; of some refusals they tell neither the status nor the headers, and a 429 of Cloudflare's they take for broken JSON.
type recorder struct{ base http.RoundTripper }

func (t recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	a, _ := req.Context().Value(answerKey{}).(*answer)
	if err != nil || a == nil {
		return resp, err
	}
	a.header = resp.Header
	if a.body, err = platform.ReadAnswer(resp); err != nil {
		return nil, err
	}
	a.status = resp.StatusCode
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	return resp, nil
}

// CloseIdleConnections is what http.Client's method of the same name calls.
func (t recorder) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// do makes a call and reads its answer into dest unless that is nil. Its errors are *bridge.DeliveryErrors, as refusal or not.
func (r *rest) do(ctx context.Context, c call, dest any) error {
	secrets := r.secrets
	if c.pathToken != "" {
		secrets = append(secrets[:len(secrets):len(secrets)], c.pathToken)
	}
	b, usedUp := r.acquire(c, r.now())
	if usedUp != nil {
		return usedUp
	}
	tracked, x := outbound.Trace(ctx)
	a := new(answer)
	err := r.request(context.WithValue(tracked, answerKey{}, a), c)
	r.release(c, b, a.header, c.separateLimit && a.status == http.StatusTooManyRequests)
	switch {
	case a.status == 0:
		return failed(c, err, x, secrets)
	case a.status < 200 || a.status > 299:
		err = classify(c, readRefusal(a.status, a.header, a.body), secrets)
		if limited, ok := limitOf(err); ok && (!c.separateLimit || limited.Scope == bridge.ScopeDestination) {
			r.noteRefusal(b, limited)
		}
		return err
	case dest == nil || len(a.body) == 0:
		return nil
	}
	if err := json.Unmarshal(a.body, dest); err != nil {
		return unreadable(c)
	}
	return nil
}

// request makes the request through discordgo. What it returns matters only where no answer was recorded.
func (r *rest) request(ctx context.Context, c call) error {
	url := r.base + c.path
	if c.query != "" {
		url += "?" + c.query
	}
	var body []byte
	if c.body != nil {
		var err error
		if body, err = discordgo.Marshal(c.body); err != nil {
			return err
		}
	}
	var options []discordgo.RequestOption
	if c.pathToken != "" {
		options = append(options, func(cfg *discordgo.RequestConfig) { cfg.Request.Header.Del("Authorization") })
	}
	if c.stream == nil {
		return r.send(ctx, c.method, url, body, options...)
	}
	// What has files in it may take as long as it goes on.
	ctx, stall := platform.WatchStall(ctx, r.stall)
	defer stall.End()
	defer c.stream.Stop()
	c.stream.Moving(stall.Moved)
	options = append(options, discordgo.WithClient(r.files), func(cfg *discordgo.RequestConfig) {
		cfg.Request.Body, cfg.Request.GetBody = io.NopCloser(c.stream), nil
		cfg.Request.ContentLength = c.stream.Size
		cfg.Request.Header.Set("Content-Type", c.stream.Type)
	})
	return stall.Cause(r.send(ctx, c.method, url, nil, options...))
}

// send makes a request with a bucket of its own. Those of the session would have it wait with a lock held, whatever the context: for
// others of the same route, and for as long as Discord says.
func (r *rest) send(ctx context.Context, method, url string, body []byte, options ...discordgo.RequestOption) error {
	bucket := discordgo.NewRatelimiter().GetBucket("") // a bare Bucket panics at the header X-RateLimit-Global
	bucket.Lock()                                      // the session unlocks it
	options = append([]discordgo.RequestOption{discordgo.WithContext(ctx)}, options...)
	_, err := r.session.RequestWithLockedBucket(method, url, "application/json", body, bucket, 0, options...)
	return err
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

// get asks for something; home says that it is about the operators' channel itself.
func (d *Discord) get(ctx context.Context, op, path string, home bool, dest any) error {
	return d.rest.do(ctx, call{op: op, method: http.MethodGet, path: path, isHomeChannel: home, idempotent: true}, dest)
}
