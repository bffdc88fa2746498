package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// Options are what a Server can be told when it is made. The zero value is good.
type Options struct {
	BotToken      string       // xoxb-…; empty: a token of the sandbox's own
	AppToken      string       // xapp-…, for Socket Mode; empty: a token of the sandbox's own
	SigningSecret string       // of the Events API and slash commands; empty: a secret of the sandbox's own
	Name          string       // the bot's handle, without its mark; empty: bridge
	Logger        *slog.Logger // nil: silence
	// Scopes are those of the bot token; nil: all that the served methods and events ask for.
	Scopes []string
	// Events are the subscriptions, such as message.channels; nil: all that the sandbox has.
	Events []string
	// ShareDelay is how long after files.completeUploadExternal the message with the files appears; 0: before it is answered.
	ShareDelay time.Duration
	// AckWithin is how long an event may stay without an answer, on both ways; 0: 3 s, as on Slack.
	AckWithin time.Duration
	// RetryPauses lie before the repetitions of an event that was not answered; nil: none, a minute, five minutes, as on Slack
	// (https://docs.slack.dev/apis/events-api#retries).
	RetryPauses []time.Duration
	// PingEvery is how often an open socket gets a ping; 0: 10 s.
	PingEvery time.Duration
	// RequestClient posts events and slash commands to the app; nil: one without a proxy, that follows two redirects.
	RequestClient *http.Client
	// KeepCalls is how many calls are kept at least, the last ones; 0: all.
	KeepCalls int
}

// Server is one app's view of one Slack workspace. All methods may be called from several goroutines; those that the hooks
// given to On and Observe call, too.
type Server struct {
	*stage.Stage
	back    stage.Backstage
	options Options
	log     *slog.Logger
	bot     User
	checker checker
	text    texts

	mu       sync.Mutex // guards what follows
	base     string     // http://host of this server, as far as it is known
	shut     bool
	users    map[string]User
	channels map[string]*channel
	files    map[string]*file
	uploads  map[string]*file // by ticket, while they wait for their bytes
	webhooks map[string]*webhook
	authors  map[author]*author
	lastID   int
	lastTS   int64
	scopes   []string
	revoked  string // what the bot token is refused with, or nothing
	appGone  string // the same for the app token
	limits   Limits
	windows  map[string]*window
	hasty    int
	outbox   outbox
	sockets  sockets
	requests requests
	slashes  []*slash
	answers  map[string]*slash // by the last part of the response_url
}

const (
	teamID   = "T0SANDBOX"
	appID    = "A0SANDBOX"
	botID    = "B0SANDBOX"
	botUser  = "U0SANDBOX"
	slackbot = "USLACKBOT"
	domain   = "sandbox"
	// verification is the token by which apps knew Slack before signatures.
	verification = "sandbox"
)

// New returns a server with a bot and nobody else.
func New(options Options) *Server {
	if options.BotToken == "" {
		options.BotToken = "xoxb-sandbox-sandbox-sandbox"
	}
	if options.AppToken == "" {
		options.AppToken = "xapp-1-sandbox-sandbox"
	}
	if options.SigningSecret == "" {
		options.SigningSecret = "5a6d8b0c7e9f4a1b8c2d3e4f5a6b7c8d"
	}
	if options.Name == "" {
		options.Name = "bridge"
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Scopes == nil {
		options.Scopes = allScopes()
	}
	if options.Events == nil {
		options.Events = eventTable()
	}
	if options.AckWithin <= 0 {
		options.AckWithin = 3 * time.Second
	}
	if options.RetryPauses == nil {
		options.RetryPauses = []time.Duration{0, time.Minute, 5 * time.Minute}
	}
	if options.PingEvery <= 0 {
		options.PingEvery = 10 * time.Second
	}
	if options.RequestClient == nil {
		options.RequestClient = &http.Client{
			Transport: &http.Transport{Proxy: nil},
			CheckRedirect: func(_ *http.Request, via []*http.Request) error {
				if len(via) > 2 {
					return errTooManyRedirects
				}
				return nil
			},
		}
	}
	s := &Server{
		options:  options,
		log:      options.Logger,
		bot:      User{ID: botUser, Name: options.Name, RealName: options.Name, Bot: true},
		checker:  newChecker(),
		text:     newTexts(),
		users:    make(map[string]User),
		channels: make(map[string]*channel),
		files:    make(map[string]*file),
		uploads:  make(map[string]*file),
		webhooks: make(map[string]*webhook),
		authors:  make(map[author]*author),
		scopes:   slices.Clone(options.Scopes),
		windows:  make(map[string]*window),
		sockets:  sockets{tickets: make(map[string]time.Time)},
		answers:  make(map[string]*slash),
	}
	s.Stage, s.back = stage.New(stage.Options{
		Name: "slack sandbox", Handler: s, Logger: options.Logger, KeepCalls: options.KeepCalls,
	})
	s.users[botUser] = s.bot
	s.users[slackbot] = User{ID: slackbot, Name: "slackbot", RealName: "Slackbot", Bot: true}
	return s
}

// BotToken returns the bot's token.
func (s *Server) BotToken() string { return s.options.BotToken }

// AppToken returns the app-level token, for Socket Mode.
func (s *Server) AppToken() string { return s.options.AppToken }

// SigningSecret returns what events and slash commands are signed with.
func (s *Server) SigningSecret() string { return s.options.SigningSecret }

// Bot returns the bot under test.
func (s *Server) Bot() User { return s.bot }

// Listen serves on an address until Close, and returns the base URL; {base}/api/ stands in place of https://slack.com/api/. An
// empty address is a free port of 127.0.0.1.
func (s *Server) Listen(ctx context.Context, address string) (string, error) {
	base, err := s.Stage.Listen(ctx, address)
	if err == nil {
		s.mu.Lock()
		s.base = base
		s.mu.Unlock()
	}
	return base, err
}

// Close ends waiting calls, the sockets, the posts to the app and what Listen began, and returns when nothing of it runs any
// more. Events that were not acknowledged are dropped. It must not be called from a function given to On or Observe.
func (s *Server) Close() {
	s.mu.Lock()
	s.shut = true
	for _, e := range s.outbox.pending {
		e.stop()
	}
	s.outbox.pending = nil
	for _, c := range s.sockets.open {
		_ = c.ws.NetConn().Close()
	}
	if s.requests.cancel != nil {
		s.requests.cancel()
	}
	s.mu.Unlock()
	s.Stage.Close()
	s.options.RequestClient.CloseIdleConnections()
}

// ServeHTTP answers the Web API at /api/<method>, incoming webhooks at /services/, and what the answers of these point at:
// uploads, downloads, response URLs, and the socket.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.back.Enter() {
		stage.Write(w, http.StatusServiceUnavailable, nil)
		return
	}
	defer s.back.Leave()
	s.mu.Lock()
	if s.base == "" {
		s.base = "http://" + r.Host
	}
	s.mu.Unlock()
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, "/api/"):
		s.serveAPI(w, r, strings.TrimPrefix(path, "/api/"))
	case strings.HasPrefix(path, "/services/"):
		s.serveWebhook(w, r)
	case strings.HasPrefix(path, "/commands/"):
		s.serveResponse(w, r)
	case strings.HasPrefix(path, "/upload/v1/"):
		s.serveUpload(w, r, strings.TrimPrefix(path, "/upload/v1/"))
	case strings.HasPrefix(path, "/files-pri/"):
		s.serveDownload(w, r, strings.TrimPrefix(path, "/files-pri/"))
	case path == "/" && r.URL.Query().Has("redir"):
		s.serveSignIn(w)
	case path == "/link/":
		s.serveSocket(w, r)
	default:
		s.back.Fault(fmt.Sprintf("the sandbox serves nothing at %q", path))
		stage.Write(w, http.StatusNotFound, nil)
	}
}

// refusal is an answer with ok false, in Slack's words.
type refusal struct {
	says       string // the error; empty: none is given
	status     int    // HTTP; 0: 200
	retryAfter int    // seconds
	needed     string // of missing_scope
	messages   []string
}

func (r *refusal) Error() string { return r.says }

func refuse(says string, messages ...string) *refusal {
	return &refusal{says: says, messages: messages}
}

// warned is a result with a warning.
type warned struct {
	result  object
	warning string
}

// serveAPI answers a call of the Web API. The order of the checks is Slack's as far as it can be seen from outside: token,
// scope, pace, arguments.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		s.answer(w, nil, refuse("invalid_post_type"))
		return
	}
	m, known := s.checker.methods[name]
	if !known {
		s.back.Fault(fmt.Sprintf("the sandbox does not serve the method %q", name))
		s.answer(w, nil, refuse("unknown_method"))
		return
	}
	in, token, err := readRequest(r)
	if err != nil {
		s.back.Keep(err)
		s.answer(w, nil, refuse("invalid_form_data"))
		return
	}
	p := make(params, len(in))
	for name, g := range in {
		p[name] = g.plain()
	}
	call := stage.Call{
		Method: name, Place: p.first("channel", "channel_id"), Thread: p["thread_ts"],
		Text: p.first("text", "initial_comment", "name"), Params: p,
	}
	if name == "conversations.replies" {
		call.Thread = p["ts"]
	}
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.admit(m, token); err != nil {
			return nil, err
		}
		if err := s.pace(m, p["channel"]); err != nil {
			return nil, err
		}
		if err := s.checker.check(m, in); err != nil {
			return nil, err
		}
		defer s.back.Change()
		result, err := s.run(m.Name, p)
		if refused, ok := errors.AsType[*refusal](err); ok && !m.knows(refused.says) {
			return nil, stage.Faultf("the sandbox answers %s with %q, which its table does not have", m.Name, refused.says)
		}
		return result, err
	}, s.answer)
}

// admit checks the token and its scopes.
func (s *Server) admit(m method, token string) error {
	says, scopes := s.revoked, s.scopes
	switch {
	case token == "":
		return refuse("not_authed")
	case token == s.options.AppToken && (m.App || m.Any):
		says, scopes = s.appGone, []string{"connections:write"}
	case token == s.options.AppToken || token == s.options.BotToken && m.App:
		return refuse("not_allowed_token_type")
	case token != s.options.BotToken:
		return refuse("invalid_auth")
	}
	if says != "" {
		return refuse(says)
	}
	if len(m.Scopes) > 0 && !slices.ContainsFunc(m.Scopes, func(one string) bool { return slices.Contains(scopes, one) }) {
		return &refusal{says: "missing_scope", needed: m.Scopes[0]}
	}
	return nil
}

// answer writes an answer in the Web API's form, and returns its status.
func (s *Server) answer(w http.ResponseWriter, result any, err error) int {
	o, status := object{"ok": err == nil}, http.StatusOK
	refused, ok := errors.AsType[*refusal](err)
	s.mu.Lock()
	provided := strings.Join(s.scopes, ",")
	s.mu.Unlock()
	switch {
	case err == nil:
		if note, ok := result.(warned); ok {
			o["warning"] = note.warning
			o["response_metadata"] = object{"warnings": []string{note.warning}}
			result = note.result
		}
		if fields, ok := result.(object); ok {
			for name, value := range fields {
				o[name] = value
			}
		}
	case ok:
		o.set("error", refused.says, refused.says != "")
		if refused.status != 0 {
			status = refused.status
		}
		if refused.says == "missing_scope" {
			o["needed"], o["provided"] = refused.needed, provided
		}
		if len(refused.messages) > 0 {
			o["errors"] = refused.messages
			o["response_metadata"] = object{"messages": prefixed("[ERROR] ", refused.messages)}
		}
		if refused.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
		}
	default:
		// What Slack answers to an argument that it cannot use.
		o["error"] = "invalid_arguments"
		o["response_metadata"] = object{"messages": []string{"[ERROR] " + err.Error()}}
	}
	w.Header().Set("X-OAuth-Scopes", provided)
	return writeJSON(w, status, o)
}

func prefixed(prefix string, list []string) []string {
	out := make([]string, 0, len(list))
	for _, one := range list {
		out = append(out, prefix+one)
	}
	return out
}

func writeJSON(w http.ResponseWriter, status int, v any) int {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"ok":false,"error":"internal_error"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	stage.Write(w, status, body)
	return status
}

// Fail answers with an error of the Web API, such as channel_not_found, and HTTP 200.
func Fail(says string) stage.Action {
	body := `{"ok":false}`
	if says != "" {
		body = `{"ok":false,"error":` + strconv.Quote(says) + `}`
	}
	return stage.Action{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: body,
	}
}

// RateLimited answers with 429. Without seconds there is no Retry-After, as proxies on the way answer.
func RateLimited(seconds int) stage.Action {
	a := Fail("ratelimited")
	a.Status = http.StatusTooManyRequests
	if seconds > 0 {
		a.Header.Set("Retry-After", strconv.Itoa(seconds))
	}
	return a
}
