package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
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
	// Token is the bot's; its digits before the colon are the bot's user id. Empty: a token of the sandbox's own.
	Token string
	// Username is the bot's, without its mark; empty: bridge_sandbox_bot.
	Username string
	Logger   *slog.Logger // nil: silence
	// ReadsAll turns the bot's privacy mode off. It matters only where the bot is no administrator.
	ReadsAll bool
	// PrivateTopics turns topics on in the bot's private chats (has_topics_enabled).
	PrivateTopics bool
	// RefuseClosed refuses messages to a closed topic to everybody. By TDLib's word a closed topic still takes them from
	// administrators who may manage topics and from its creator (forumTopicInfo.is_closed in td_api.tl), so that such a bot never
	// reads TOPIC_CLOSED; https://core.telegram.org/constructor/forumTopic says "no messages can be sent to it".
	RefuseClosed bool
	// KeepFile is the longest file of the bot whose content is kept, in bytes; of a longer one there are only its size and its
	// sum. 0: 1 MiB.
	KeepFile int64
	// LocalFiles answers getFile as a Bot API server in its --local mode does: with a path on its own disk, and of files of any
	// size.
	LocalFiles bool
	// FirstUpdateID is the first update's id; 0: one of the size that real ones have.
	FirstUpdateID int
	// WebhookClient posts updates to a webhook; nil: one that follows no redirects.
	WebhookClient *http.Client
	// WebhookPause is the pause that doubles after a webhook's failures; 0: a second, as on the real server.
	WebhookPause time.Duration
}

// Server is one bot's view of Telegram. All methods may be called from several goroutines; those that the hooks given to On and
// Observe call, too.
type Server struct {
	*stage.Stage
	back    stage.Backstage
	options Options
	bot     User
	checker checker
	finder  finder

	mu        sync.Mutex // guards what follows
	revoked   bool
	users     map[int64]User
	chats     map[int64]*chat
	lastID    int // of messages in private chats and basic groups
	lastChat  int64
	lastUser  int64
	inbox     inbox
	limits    Limits
	sent      []time.Time // by the bot, for the limits
	queries   []*query    // presses of buttons
	lastQuery int64
	commands  map[string][]BotCommand
	files     map[string]*File // by file_id
	asked     map[string]*File // by file_path, those that getFile was asked for
	lastFile  int
	lastAlbum int
}

// New returns a server with a bot and nobody else.
func New(options Options) *Server {
	if options.Token == "" {
		options.Token = "7000000001:AAsandbox-sandbox-sandbox-sandbox-0"
	}
	if options.Username == "" {
		options.Username = "bridge_sandbox_bot"
	}
	if options.FirstUpdateID <= 0 {
		options.FirstUpdateID = 727_000_001
	}
	if options.KeepFile <= 0 {
		options.KeepFile = defaultKeep
	}
	if options.WebhookPause <= 0 {
		options.WebhookPause = time.Second
	}
	if options.WebhookClient == nil {
		options.WebhookClient = &http.Client{
			Transport:     &http.Transport{Proxy: nil},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	digits, _, _ := strings.Cut(options.Token, ":")
	id, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || id <= 0 {
		id = 7000000001
	}
	s := &Server{
		options:  options,
		bot:      User{ID: id, FirstName: "Bridge", Username: options.Username, Bot: true},
		checker:  newChecker(),
		finder:   newFinder(),
		users:    make(map[int64]User),
		chats:    make(map[int64]*chat),
		lastUser: 500_000_000,
		inbox:    inbox{nextID: options.FirstUpdateID},
		commands: make(map[string][]BotCommand),
		files:    make(map[string]*File),
		asked:    make(map[string]*File),
	}
	s.Stage, s.back = stage.New(stage.Options{Name: "telegram sandbox", Handler: s, Logger: options.Logger})
	s.users[s.bot.ID] = s.bot
	s.users[groupAnonymousBot().ID] = groupAnonymousBot()
	return s
}

// Token returns the bot's token.
func (s *Server) Token() string { return s.options.Token }

// Bot returns the bot.
func (s *Server) Bot() User { return s.bot }

// Close ends waiting calls, the webhook and what Listen began, and returns when nothing of it runs any more. What was held or
// delayed is dropped. It must not be called from a function given to On or Observe.
func (s *Server) Close() {
	s.Stage.Close()
	s.mu.Lock()
	hook := s.inbox.hook
	s.inbox.hook = nil
	s.mu.Unlock()
	if hook != nil {
		hook.stop()
		<-hook.done
	}
	s.options.WebhookClient.CloseIdleConnections()
}

func (s *Server) isClosed() bool {
	select {
	case <-s.back.Closed():
		return true
	default:
		return false
	}
}

// change wakes whoever waits for a change.
func (s *Server) change() { s.back.Change() }

// pause waits, and returns an error if the caller or the server ends meanwhile.
func (s *Server) pause(ctx context.Context, d time.Duration) error {
	err := s.back.Pause(ctx, d)
	if errors.Is(err, http.ErrServerClosed) {
		return errClosing()
	}
	return err
}

// fault keeps a fault.
func (s *Server) fault(text string) { s.back.Fault(text) }

func errClosing() *refusal {
	return &refusal{code: http.StatusInternalServerError, text: "Internal Server Error: restart"}
}

func errUnauthorized() *refusal {
	return &refusal{code: http.StatusUnauthorized, text: "Unauthorized"}
}

func tooMany(seconds int) *refusal {
	return &refusal{
		code: http.StatusTooManyRequests, text: "Too Many Requests: retry after " + strconv.Itoa(seconds), retryAfter: seconds,
	}
}

// ServeHTTP answers a call of the Bot API, /bot<token>/<method>, or a file, /file/bot<token>/<path>. A download counts as a
// call of the method "file", with the parameters path and range.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.back.Enter() {
		s.answer(w, nil, errClosing())
		return
	}
	defer s.back.Leave()
	s.mu.Lock()
	revoked := s.revoked
	s.mu.Unlock()
	rest, download := strings.CutPrefix(r.URL.Path, "/file")
	rest, ok := strings.CutPrefix(rest, "/bot")
	token, name, cut := strings.Cut(rest, "/")
	switch {
	case !ok || !cut:
		s.answer(w, nil, &refusal{code: http.StatusNotFound, text: "Not Found"})
		return
	case token != s.options.Token || revoked:
		s.answer(w, nil, errUnauthorized())
		return
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		s.answer(w, nil, &refusal{code: http.StatusMethodNotAllowed, text: "Method Not Allowed"})
		return
	}
	if download {
		s.serve(w, r, "file", downloadParams(name, r.Header.Get("Range")), nil)
		return
	}
	m, known := s.checker.method(name)
	if !known {
		s.refuse(w, fault("the sandbox does not serve the method %q", name), http.StatusNotFound)
		return
	}
	in, err := readRequest(r, s.options.KeepFile)
	if err != nil {
		s.refuse(w, err, http.StatusBadRequest)
		return
	}
	p, files, err := s.checker.check(m, in)
	if err != nil {
		s.refuse(w, err, http.StatusBadRequest)
		return
	}
	s.serve(w, r, m.Name, p, files)
}

// refuse answers a request that never became a call.
func (s *Server) refuse(w http.ResponseWriter, err error, code int) {
	if r, ok := errors.AsType[*refusal](err); ok {
		s.answer(w, nil, r)
		return
	}
	text := "Bad Request: " + err.Error()
	s.back.Keep(err)
	if code == http.StatusNotFound {
		text = "Not Found"
	}
	s.answer(w, nil, &refusal{code: code, text: text})
}

// answer writes an answer in the Bot API's form, and returns its code.
func (s *Server) answer(w http.ResponseWriter, result any, err error) int {
	o, code := object{"ok": err == nil}, http.StatusOK
	switch r, ok := errors.AsType[*refusal](err); {
	case err == nil:
		if d, ok := result.(described); ok {
			result, o["description"] = d.result, d.text
		}
		o["result"] = result
	case ok:
		code, o["error_code"], o["description"] = r.code, r.code, r.text
		extra := object{}
		extra.set("migrate_to_chat_id", r.moved, r.moved != 0)
		extra.set("retry_after", r.retryAfter, r.retryAfter > 0)
		o.set("parameters", extra, len(extra) > 0)
		if r.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter)) // HttpConnection::send_response of the Bot API server
		}
	default:
		code = http.StatusBadRequest
		o["error_code"], o["description"] = code, "Bad Request: "+err.Error()
	}
	body, jsonErr := json.Marshal(o)
	if jsonErr != nil {
		code, body = http.StatusInternalServerError, []byte(`{"ok":false,"error_code":500,"description":"Internal Server Error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	stage.Write(w, code, body)
	return code
}

// Limits are the paces that the server insists on. Zero is no limit.
type Limits struct {
	PerSecond      int           // messages of the bot, over all chats
	PerGroupMinute int           // messages to one group, all topics together
	PerChatSecond  int           // messages to one chat
	WebhookEvery   time.Duration // between two setWebhook with a URL
}

// DocumentedLimits returns the documented figures: "avoid sending more than one message per second" in one chat is advice and
// left at none, "bots are not be able to send more than 20 messages per minute" in a group, "about 30 messages per second" in
// all (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this); setWebhook once a second
// (process_set_webhook_query in Client.cpp).
func DocumentedLimits() Limits {
	return Limits{PerSecond: 30, PerGroupMinute: 20, WebhookEvery: time.Second}
}

// SetLimits turns limits on or off.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// pace counts n more messages to a chat, or refuses them. What posts into a group counts: messages, edits, and topics made and
// changed, since each of these posts a service message ("edits share the limit with sends", "creating a forum topic is sending
// a message", the maintainer in github.com/tdlib/td/issues/2592). A refused call does not count.
func (s *Server) pace(c *chat, n int) error {
	now := time.Now()
	wait := max(
		over(s.sent, n, s.limits.PerSecond, time.Second, now),
		over(c.paced, n, s.limits.PerChatSecond, time.Second, now),
	)
	if c.Kind != Private {
		wait = max(wait, over(c.paced, n, s.limits.PerGroupMinute, time.Minute, now))
	}
	if wait > 0 {
		return tooMany(int(math.Ceil(wait.Seconds())))
	}
	old := func(t time.Time) bool { return now.Sub(t) > time.Minute }
	s.sent = append(slices.DeleteFunc(s.sent, old), slices.Repeat([]time.Time{now}, n)...)
	c.paced = append(slices.DeleteFunc(c.paced, old), slices.Repeat([]time.Time{now}, n)...)
	return nil
}

// over returns how long it takes until n more fit into the last per; 0 if they fit now. More than fit at all fit when nothing
// else is there.
func over(sent []time.Time, n, limit int, per time.Duration, now time.Time) time.Duration {
	n = min(n, limit)
	if limit <= 0 || len(sent)+n <= limit {
		return 0
	}
	return max(per-now.Sub(sent[len(sent)+n-limit-1]), 0)
}
