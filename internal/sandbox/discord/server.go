package discord

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// Options are what a Server can be told when it is made. The zero value is good.
type Options struct {
	// Token is the bot's, without the word Bot. Empty: one of the sandbox's own.
	Token string
	// Username is the bot's; empty: bridge_sandbox.
	Username string
	Logger   *slog.Logger // nil: silence
	// KeepCalls is how many calls are kept at least, the last ones; 0: all.
	KeepCalls int
	// NoMessageContent leaves the MESSAGE_CONTENT intent off in the application's settings: to ask for it is 4014, and what other
	// people write comes without its content.
	NoMessageContent bool
	// Heartbeat is the interval that hello tells; 0: 41.25 s, as the real one.
	Heartbeat time.Duration
	// SessionLife is how long a session without a connection can be resumed; 0: 3 min. ("will remain active and timeout after a
	// few minutes".)
	SessionLife time.Duration
	// SessionStarts is how often the bot may identify in 24 h; 0: 1000.
	SessionStarts int
	// ActiveThreads is how many threads of a guild may be active; 0: 1000.
	ActiveThreads int
	// NonceLife is how long an enforced nonce is remembered; 0: 3 min. ("in the past few minutes".)
	NonceLife time.Duration
	// FileLife is how long a file's address holds; 0: 24 h.
	FileLife time.Duration
	// MaxUpload is the largest file, in bytes; 0: 10 MiB, the limit of a guild without boosts.
	MaxUpload int
	// InteractionClient posts interactions to an endpoint; nil: one that follows no redirects.
	InteractionClient *http.Client
}

// Server is one bot's view of Discord. All methods may be called from several goroutines; those that the hooks given to On and
// Observe call, too.
type Server struct {
	*stage.Stage
	back     stage.Backstage
	options  Options
	log      *slog.Logger
	checker  checker
	finder   finder
	handlers map[string]func(*request) (any, error)
	key      ed25519.PrivateKey
	secret   []byte // signs files' addresses
	began    time.Time
	appID    snowflake
	bot      *User // read-only

	mu           sync.Mutex // guards what follows
	base         string     // the server's address, as whoever is spoken to calls it
	listens      bool       // base is the listener's
	revoked      bool
	privileged   int // the privileged intents that the application may ask for
	lastID       snowflake
	users        map[snowflake]*User
	guilds       []*guild
	channels     map[snowflake]*channel // threads, too
	files        map[snowflake]*file
	fileAge      int // addresses given out before it grew do not hold
	webhooks     map[snowflake]*webhook
	nonces       map[nonceKey]nonceUse
	nonceOrder   []nonceKey
	commands     map[snowflake][]json.RawMessage // by guild
	interactions []*interaction
	endpoint     string // for interactions; empty: the gateway
	limits       limiter
	gateway      gateway
}

// New returns a server with a bot, a guild and nobody else.
func New(options Options) *Server {
	if options.Token == "" {
		options.Token = "MTAwMDAwMDAwMDAwMDAwMDAx.Gsandb.sandbox-sandbox-sandbox-sandbox-sandbo"
	}
	if options.Username == "" {
		options.Username = "bridge_sandbox"
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.InteractionClient == nil {
		options.InteractionClient = &http.Client{
			Transport:     &http.Transport{Proxy: nil},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	options.Heartbeat = or(options.Heartbeat, 41250*time.Millisecond)
	options.SessionLife = or(options.SessionLife, 3*time.Minute)
	options.SessionStarts = or(options.SessionStarts, 1000)
	options.ActiveThreads = or(options.ActiveThreads, 1000)
	options.NonceLife = or(options.NonceLife, 3*time.Minute)
	options.FileLife = or(options.FileLife, 24*time.Hour)
	options.MaxUpload = or(options.MaxUpload, 10<<20)
	s := &Server{
		options: options, log: options.Logger, checker: newChecker(), finder: newFinder(), began: time.Now(),
		key:    ed25519.NewKeyFromSeed(random(ed25519.SeedSize)),
		secret: random(32),
		bot:    &User{Name: options.Username, Bot: true},
		users:  make(map[snowflake]*User), channels: make(map[snowflake]*channel), files: make(map[snowflake]*file),
		webhooks: make(map[snowflake]*webhook), nonces: make(map[nonceKey]nonceUse),
		commands: make(map[snowflake][]json.RawMessage),
	}
	s.Stage, s.back = stage.New(stage.Options{
		Name: "discord sandbox", Handler: s, Logger: options.Logger, KeepCalls: options.KeepCalls,
	})
	if !options.NoMessageContent {
		s.privileged = intentMessageContent
	}
	s.handlers = s.handlerTable()
	s.gateway.starts = options.SessionStarts
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appID = s.newID()
	id := s.newID()
	s.bot.ID = id.String()
	s.users[id] = s.bot
	s.addGuild("Support")
	return s
}

func or[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

// Token returns the bot's token.
func (s *Server) Token() string { return s.options.Token }

// Bot returns the bot's user.
func (s *Server) Bot() User { return *s.bot }

// Application returns the application's id, which is not the bot's.
func (s *Server) Application() string { return s.appID.String() }

// PublicKey returns the key that signed interactions are checked with, in hexadecimal digits as the developer portal shows it.
func (s *Server) PublicKey() string {
	public, _ := s.key.Public().(ed25519.PublicKey)
	return hex.EncodeToString(public)
}

// Listen serves on an address until Close, and returns the base URL: the API is at the base URL and /v10, or /api/v10. An empty
// address is a free port of 127.0.0.1.
func (s *Server) Listen(ctx context.Context, address string) (string, error) {
	base, err := s.Stage.Listen(ctx, address)
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, wrong := url.Parse(base); err == nil && wrong == nil {
		// From a listener on all addresses nobody learns by which it is called.
		ip := net.ParseIP(u.Hostname())
		s.base, s.listens = base, ip != nil && !ip.IsUnspecified()
	}
	return base, err
}

// Close ends waiting calls, the gateway's connections and what Listen began, and returns when nothing of it runs any more. What
// was held or delayed is dropped. It must not be called from a function given to On or Observe.
func (s *Server) Close() {
	s.Stage.Close()
	s.options.InteractionClient.CloseIdleConnections()
}

// fault keeps a fault.
func (s *Server) fault(format string, args ...any) { s.back.Fault(fmt.Sprintf(format, args...)) }

// refusal is an error in Discord's form.
type refusal struct {
	status int
	code   int
	text   string
	errors object // what is wrong with which field
	retry  *verdict
}

func (r *refusal) Error() string { return r.text }

func refuse(status, code int, text string) *refusal {
	return &refusal{status: status, code: code, text: text}
}

// The refusals that are needed in several places. The wording is that of real answers, which differs here and there from the
// table in the docs; the codes are what counts.
func errUnauthorized() *refusal { return refuse(http.StatusUnauthorized, 0, "401: Unauthorized") }
func errNotFound() *refusal     { return refuse(http.StatusNotFound, 0, "404: Not Found") }
func errUnknown(code int, what string) *refusal {
	return refuse(http.StatusNotFound, code, "Unknown "+what)
}
func errChannel() *refusal { return errUnknown(10003, "Channel") }
func errMessage() *refusal { return errUnknown(10008, "Message") }
func errAccess() *refusal  { return refuse(http.StatusForbidden, 50001, "Missing Access") }
func errPermission() *refusal {
	return refuse(http.StatusForbidden, 50013, "Missing Permissions")
}
func errArchived() *refusal { return refuse(http.StatusBadRequest, 50083, "Thread is archived") }
func errLocked() *refusal   { return refuse(http.StatusBadRequest, 160005, "Thread is locked") }
func errEmpty() *refusal {
	return refuse(http.StatusBadRequest, 50006, "Cannot send an empty message")
}
func errWebhookToken() *refusal {
	return refuse(http.StatusUnauthorized, 50027, "Invalid Webhook Token")
}
func errThreads() *refusal {
	return refuse(http.StatusBadRequest, 160006, "Maximum number of active threads reached")
}

// request is a request of the HTTP API after its check.
type request struct {
	op      *operation
	vars    map[string]string // the path's parameters
	query   map[string]string
	body    json.RawMessage
	uploads []upload
	base    string
}

// id returns an id among the path's parameters.
func (q *request) id(name string) snowflake { return flake(q.vars[name]) }

// decode reads the body; the check has seen to its form.
func (q *request) decode(into any) error {
	if len(q.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(q.body, into); err != nil {
		return stage.Faultf("%s: the body cannot be read: %v", q.op.Name, err)
	}
	return nil
}

// reply is a result with a status of its own.
type reply struct {
	status int
	value  any
}

// ServeHTTP answers a call of the API, a connection to the gateway, or the loading of a file.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.back.Enter() {
		stage.Write(w, http.StatusServiceUnavailable, []byte(errorBody(0, "503: Service Unavailable")))
		return
	}
	defer s.back.Leave()
	path := r.URL.EscapedPath()
	switch rest, api := apiPath(path); {
	case api:
		s.serveAPI(w, r, rest)
	case strings.HasPrefix(path, "/attachments/"):
		s.serveFile(w, r)
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		s.serveGateway(w, r)
	default:
		s.answer(w, nil, errNotFound())
	}
}

// address returns the server's address as a client calls it. One that was redirected below HTTP still says discord.com.
func (s *Server) address(r *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Host == "" || r.Host == "discord.com" {
		return s.base
	}
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	if !s.listens {
		s.base = base
	}
	return base
}

// apiPath returns what stands behind the version in a path of the API. A webhook's own address has no version.
func apiPath(path string) (string, bool) {
	for _, version := range []string{"/v10/", "/v9/"} {
		if _, rest, ok := strings.Cut(path, version); ok {
			return "/" + rest, true
		}
	}
	if i := strings.Index(path, "/api/webhooks/"); i >= 0 {
		return path[i+len("/api"):], true
	}
	return "", false
}

// serveAPI finds and checks the operation, and takes the call through its moments.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, path string) {
	op, vars, known, allowed := s.checker.find(r.Method, path)
	switch {
	case !known:
		s.fault("the sandbox does not serve %s %s", r.Method, path)
		s.answer(w, nil, errNotFound())
		return
	case !allowed:
		s.fault("the sandbox does not serve %s for %s", r.Method, path)
		s.answer(w, nil, refuse(http.StatusMethodNotAllowed, 0, "405: Method Not Allowed"))
		return
	}
	// "Clients using the HTTP API must provide a valid User Agent [...] DiscordBot ($url, $versionNumber)"; without one they "may be
	// blocked and return a Cloudflare error".
	if agent := r.UserAgent(); !strings.HasPrefix(agent, "DiscordBot (") {
		s.fault("%s: the User-Agent %q is not DiscordBot (url, version)", op.Name, agent)
		s.answer(w, nil, refuse(http.StatusForbidden, 40333, "internal network error"))
		return
	}
	q := &request{op: op, vars: vars}
	if !op.Public {
		s.mu.Lock()
		revoked := s.revoked
		s.mu.Unlock()
		if revoked || r.Header.Get("Authorization") != "Bot "+s.options.Token {
			s.answer(w, nil, errUnauthorized())
			return
		}
	}
	if err := s.checker.read(r, q, s.options.MaxUpload); err != nil {
		if s.back.Keep(err) {
			err = refuse(http.StatusBadRequest, 50035, "Invalid Form Body")
		}
		s.answer(w, nil, err)
		return
	}
	q.base = s.address(r)
	s.mu.Lock()
	call := s.call(q)
	s.mu.Unlock()
	var pace verdict
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		defer s.back.Change()
		defer func(base string) { s.base = base }(s.base)
		s.base = q.base
		pace = s.pace(q)
		if pace.over {
			return nil, &refusal{status: http.StatusTooManyRequests, retry: &pace}
		}
		return s.handlers[op.Name](q)
	}, func(w http.ResponseWriter, result any, err error) int {
		pace.headers(w.Header())
		if err == nil {
			if _, replied := result.(reply); !replied && len(op.Codes) > 0 {
				result = reply{op.Codes[0], result}
			}
		}
		return s.answer(w, result, err)
	})
}

// call describes a request for Calls.
func (s *Server) call(q *request) Call {
	c := Call{Method: q.op.Name, Params: make(map[string]string, len(q.vars)+len(q.query))}
	for name, value := range q.vars {
		c.Params[name] = value
	}
	for name, value := range q.query {
		c.Params[name] = value
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(q.body, &body) == nil {
		for name, raw := range body {
			c.Params[name] = string(raw)
			var text string
			if json.Unmarshal(raw, &text) == nil {
				c.Params[name] = text
			}
		}
	}
	place := flake(c.Params["thread_id"])
	if place == 0 {
		place = q.id("channel_id")
	}
	if h := s.webhooks[q.id("webhook_id")]; place == 0 && h != nil {
		place = h.channel.id
	}
	c.Place = place.show()
	if at := s.channels[place]; at != nil && at.parent != nil {
		c.Place, c.Thread = at.parent.id.String(), at.id.String()
	}
	for _, name := range []string{"content", "name", "thread_name"} {
		if c.Text == "" {
			c.Text = c.Params[name]
		}
	}
	if message := c.Params["message"]; message != "" { // a forum's post
		var first struct{ Content string }
		if json.Unmarshal([]byte(message), &first) == nil && first.Content != "" {
			c.Text = first.Content
		}
	}
	return c
}

// answer writes an answer in Discord's form, and returns its status.
func (s *Server) answer(w http.ResponseWriter, result any, err error) int {
	status, body := http.StatusOK, []byte(nil)
	r, refused := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		if own, ok := result.(reply); ok {
			status, result = own.status, own.value
		}
		if status != http.StatusNoContent {
			body, err = json.Marshal(result)
		}
	case refused && r.retry != nil:
		status = r.status
		body = []byte(limitBody(w.Header(), r.retry.after, r.retry.scope))
		r.retry.headers(w.Header())
	case refused:
		status = r.status
		o := object{"message": r.text, "code": r.code}
		o.set("errors", r.errors, len(r.errors) > 0)
		body, err = json.Marshal(o)
	default:
		status, body, err = http.StatusBadRequest, []byte(errorBody(50035, "Invalid Form Body")), nil
	}
	if err != nil && body == nil {
		status, body = http.StatusInternalServerError, []byte(errorBody(0, "500: Internal Server Error"))
	}
	scope := ""
	if r != nil && r.retry != nil {
		scope = r.retry.scope
	}
	s.limits.note(status, scope)
	if len(body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	stage.Write(w, status, body)
	return status
}

// newToken returns a token for a webhook or an interaction.
func newToken(n int) string { return base64.RawURLEncoding.EncodeToString(random(n)) }

// webSocketURL returns the gateway's address for clients that call the server at base.
func webSocketURL(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	u.Scheme = map[string]string{"http": "ws", "https": "wss"}[u.Scheme]
	return u.String()
}

// sorted returns the ids of a map in their order.
func sorted[T any](m map[snowflake]T) []snowflake {
	out := make([]snowflake, 0, len(m))
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
