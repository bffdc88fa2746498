package slack

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

var errTooManyRedirects = errors.New("too many redirects")

// requests are the posts to the app: events at its request URL, slash commands and presses at theirs.
type requests struct {
	events, commands, actions string
	waiting                   []*event
	wake                      chan struct{}
	cancel                    context.CancelFunc
}

// queue lines an event up for its first post. First posts go one after the other, so that a test reads them in order; on Slack
// they are not ordered. Repetitions go on their own.
func (r *requests) queue(e *event) {
	r.waiting = append(r.waiting, e)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// SetRequestURL has events posted to the app instead of sent by sockets, when the URL has answered the challenge that Slack
// begins with; an empty one takes that back. Commands go to SetCommandURL's.
func (s *Server) SetRequestURL(ctx context.Context, target string) error {
	if target != "" {
		challenge := "challenge-" + strconv.FormatInt(time.Now().UnixNano(), 36)
		body, err := json.Marshal(object{"token": verification, "challenge": challenge, "type": "url_verification"})
		if err != nil {
			return fmt.Errorf("write the challenge: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, s.options.AckWithin)
		defer cancel()
		header, answer, err := s.request(ctx, target, "application/json", body, nil)
		if err != nil {
			return fmt.Errorf("the URL did not answer the challenge: %w", err)
		}
		if !answersChallenge(header.Get("Content-Type"), answer, challenge) {
			return errors.New("the URL did not answer with the value of the challenge")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.events = target
	s.startRequests()
	return nil
}

// answersChallenge: "Respond with the challenge attribute value", as plain text, a form or JSON
// (https://docs.slack.dev/reference/events/url_verification).
func answersChallenge(kind string, answer []byte, challenge string) bool {
	kind, _, _ = mime.ParseMediaType(kind)
	text := string(answer)
	switch kind {
	case "application/json":
		var o struct{ Challenge string }
		_ = json.Unmarshal(answer, &o)
		text = o.Challenge
	case "application/x-www-form-urlencoded":
		values, _ := url.ParseQuery(text)
		text = values.Get("challenge")
	}
	return strings.TrimSpace(text) == challenge
}

// SetCommandURL has slash commands posted to the app instead of sent by sockets; an empty one takes that back.
func (s *Server) SetCommandURL(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.commands = target
	s.startRequests()
}

func (s *Server) startRequests() {
	if s.requests.cancel != nil || s.shut {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.requests.wake, s.requests.cancel = make(chan struct{}, 1), cancel
	s.back.Go(func() { s.runRequests(ctx) })
}

func (s *Server) runRequests(ctx context.Context) {
	for {
		s.mu.Lock()
		var e *event
		if list := s.requests.waiting; len(list) > 0 {
			e, s.requests.waiting = list[0], list[1:]
		}
		s.mu.Unlock()
		if e != nil {
			s.attempt(ctx, e)
			continue
		}
		select {
		case <-s.requests.wake:
		case <-ctx.Done():
			return
		}
	}
}

// attempt posts an event, as often as Redeliver says, and sees to its repetition.
func (s *Server) attempt(ctx context.Context, e *event) {
	for {
		s.mu.Lock()
		if e.done {
			s.mu.Unlock()
			return
		}
		target, kind, body := s.requests.events, "application/json", []byte(e.payload)
		if e.slash != nil && e.slash.press != nil {
			target = s.requests.actions
		} else if e.slash != nil {
			target = s.requests.commands
		}
		if e.slash != nil {
			kind, body = "application/x-www-form-urlencoded", []byte(e.slash.form().Encode())
		}
		header := http.Header{}
		if e.tries > 0 {
			header.Set("X-Slack-Retry-Num", strconv.Itoa(e.tries))
			header.Set("X-Slack-Retry-Reason", e.reason())
		}
		e.tries++
		e.times--
		s.mu.Unlock()
		limited, cancel := context.WithTimeout(ctx, s.options.AckWithin)
		got, answer, err := s.request(limited, target, kind, body, header)
		cancel()
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		if err == nil && e.times > 0 {
			s.mu.Unlock()
			continue
		}
		s.settle(ctx, e, got, answer, err)
		s.mu.Unlock()
		return
	}
}

func (s *Server) settle(ctx context.Context, e *event, got http.Header, answer []byte, err error) {
	e.failure = err
	switch {
	case err == nil && e.slash != nil:
		e.slash.Acked = true
		s.finish(e)
		s.answerSlash(e.slash, slashAnswer(got.Get("Content-Type"), answer))
	case err == nil:
		s.finish(e)
	case got.Get("X-Slack-No-Retry") == "1":
		s.outbox.lost++
		s.finish(e)
	default:
		s.failed(e, func() { s.back.Go(func() { s.attempt(ctx, e) }) })
	}
}

// reason says in Slack's words why an event comes again.
func (e *event) reason() string {
	var status *statusError
	switch {
	case errors.Is(e.failure, errTooManyRedirects):
		return "too_many_redirects"
	case errors.As(e.failure, &status):
		return "http_error"
	case e.failure == nil || errors.Is(e.failure, context.DeadlineExceeded):
		return "http_timeout"
	case isDial(e.failure):
		return "connection_failed"
	}
	return "unknown_error"
}

func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

type statusError struct{ code int }

func (e *statusError) Error() string { return "HTTP " + strconv.Itoa(e.code) }

// request posts a signed body and returns the answer; what is not 2xx is an error.
func (s *Server) request(ctx context.Context, target, kind string, body []byte, header http.Header) (http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("bad URL: %w", err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", kind)
	r.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	r.Header.Set("X-Slack-Request-Timestamp", at)
	r.Header.Set("X-Slack-Signature", Sign(s.options.SigningSecret, at, body))
	response, err := s.options.RequestClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return response.Header, nil, err
	}
	if response.StatusCode/100 != 2 {
		return response.Header, nil, &statusError{response.StatusCode}
	}
	return response.Header, answer, nil
}

// Sign returns the signature that Slack puts on a request (https://docs.slack.dev/authentication/verifying-requests-from-slack).
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + timestamp + ":"))
	mac.Write(body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// slash is a command that somebody typed, or a button that somebody pressed.
type slash struct {
	Command
	press   json.RawMessage // of a button: what the app is told; nil: a command
	pressed *message        // of a button: the message that has it
	by      User
	in      *channel
	url     string
	uses    int
	made    time.Time
}

// Command is a slash command that somebody typed, as Commands returns it.
type Command struct {
	ID      string
	Command string // with its slash; of a button: its action_id
	Text    string
	Channel string
	User    string
	Acked   bool
	Error   string // what the user reads of it if the app did not answer
}

const (
	// answersPerCommand and answersFor: "can be used up to 5 times within 30 minutes"
	// (https://docs.slack.dev/interactivity/handling-user-interaction#message_responses).
	answersPerCommand = 5
	answersFor        = 30 * time.Minute
)

func (c *slash) form() url.Values {
	v := url.Values{}
	if c.press != nil {
		return url.Values{"payload": {string(c.press)}}
	}
	for name, value := range c.fields() {
		v.Set(name, value)
	}
	return v
}

func (c *slash) fields() map[string]string {
	name := c.in.Name
	if c.in.Kind == Direct {
		name = "directmessage"
	}
	return map[string]string{
		"token": verification, "team_id": teamID, "team_domain": domain, "channel_id": c.in.ID, "channel_name": name,
		"user_id": c.by.ID, "user_name": c.by.Name, "command": c.Command.Command, "text": c.Text, "api_app_id": appID,
		"is_enterprise_install": "false", "response_url": c.url, "trigger_id": "1." + c.ID,
	}
}

// Slash has a user type a command, such as /online, with a text behind it, and returns it. Slack takes commands in channels
// alone: "/x is not supported in threads".
func (s *Server) Slash(channelID, user, command, text string) Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, u := s.channels[channelID], s.users[user]
	if c == nil || u.ID == "" || !strings.HasPrefix(command, "/") {
		s.back.Fault(fmt.Sprintf("control: no channel %s, no user %s, or no command %q", channelID, user, command))
		return Command{}
	}
	made := &slash{in: c, by: u, made: time.Now(), Command: Command{
		ID: s.id("Cmd"), Command: command, Text: s.typedCommand(text), Channel: channelID, User: user,
	}}
	made.url = s.base + "/commands/" + teamID + "/" + made.ID + "/secret"
	s.slashes = append(s.slashes, made)
	s.answers[made.ID] = made
	body, err := json.Marshal(made.fields())
	if err != nil {
		s.back.Fault(fmt.Sprintf("a command cannot be written: %v", err))
		return Command{}
	}
	s.post(&event{id: made.ID, kind: "slash_commands", payload: body, slash: made, times: 1})
	return made.Command
}

// Commands returns the slash commands that were typed and the buttons that were pressed, the oldest first.
func (s *Server) Commands() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Command, 0, len(s.slashes))
	for _, c := range s.slashes {
		out = append(out, c.Command)
	}
	return out
}

// slashAnswer makes JSON of what the app answered to the post of a command: JSON, plain text, or nothing.
func slashAnswer(kind string, answer []byte) json.RawMessage {
	if kind, _, _ := mime.ParseMediaType(kind); kind == "application/json" || len(bytes.TrimSpace(answer)) == 0 {
		return answer
	}
	out, err := json.Marshal(object{"text": string(answer)})
	if err != nil {
		return nil
	}
	return out
}

// reply is an answer to a command, and what an incoming webhook takes.
type reply struct {
	Text            string          `json:"text"`
	Blocks          json.RawMessage `json:"blocks"`
	Attachments     json.RawMessage `json:"attachments"`
	ThreadTS        string          `json:"thread_ts"`
	ResponseType    string          `json:"response_type"`
	ReplaceOriginal bool            `json:"replace_original"`
	DeleteOriginal  bool            `json:"delete_original"`
	Mrkdwn          *bool           `json:"mrkdwn"`
	UnfurlLinks     *bool           `json:"unfurl_links"`
	UnfurlMedia     *bool           `json:"unfurl_media"`
	Parse           string          `json:"parse"`
	LinkNames       any             `json:"link_names"`
	Username        string          `json:"username"`
	IconEmoji       string          `json:"icon_emoji"`
	IconURL         string          `json:"icon_url"`
	Channel         string          `json:"channel"`
	ReplyBroadcast  bool            `json:"reply_broadcast"`
}

func (r reply) params() params {
	p := params{"text": r.Text, "parse": r.Parse, "thread_ts": r.ThreadTS}
	if len(r.Blocks) > 0 && string(r.Blocks) != "null" {
		p["blocks"] = string(r.Blocks)
	}
	if r.Mrkdwn != nil && !*r.Mrkdwn {
		p["mrkdwn"] = "false"
	}
	if r.LinkNames == true || r.LinkNames == float64(1) {
		p["link_names"] = "1"
	}
	if r.ReplyBroadcast {
		p["reply_broadcast"] = "true"
	}
	return p
}

// answerSlash shows what the app answered to a command; nothing is no answer.
func (s *Server) answerSlash(c *slash, raw json.RawMessage) {
	if len(bytes.TrimSpace(raw)) == 0 || string(raw) == "null" || string(raw) == "{}" {
		return
	}
	var r reply
	if err := json.Unmarshal(raw, &r); err != nil {
		s.back.Fault("the answer to a command is no JSON object")
		return
	}
	if err := s.respond(c, r); err != nil {
		s.back.Fault(fmt.Sprintf("the answer to a command is refused: %v", err))
	}
}

// respond shows an answer to the user who typed the command, or with in_channel to everybody.
func (s *Server) respond(c *slash, r reply) error {
	if r.ReplaceOriginal || r.DeleteOriginal {
		return stage.Faultf("the sandbox replaces no message by a response_url")
	}
	m := &message{in: c.in, by: s.author(author{user: botUser, bot: botID})}
	if err := s.body(m, r.params(), maxText); err != nil {
		return err
	}
	if err := m.joinThread(r.params()); err != nil {
		return err
	}
	switch r.ResponseType {
	case "in_channel":
		s.tellMessage(s.add(m))
	case "", "ephemeral":
		s.whisper(m, c.User)
	default:
		return stage.Faultf("response_type %q", r.ResponseType)
	}
	return nil
}

// serveResponse takes an answer at a response_url.
func (s *Server) serveResponse(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/commands/"), "/")
	id := ""
	if len(parts) == 3 && parts[0] == teamID && parts[2] == "secret" {
		id = parts[1]
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	var in reply
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	call := stage.Call{Method: "response_url", Place: id, Text: in.Text, Params: map[string]string{"text": in.Text}}
	s.back.Serve(w, r, call, func(context.Context) (any, error) {
		if err != nil {
			return nil, &refusal{says: "invalid_payload", status: http.StatusBadRequest}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c := s.answers[id]
		if c == nil || c.uses >= answersPerCommand || time.Since(c.made) > answersFor {
			return nil, &refusal{says: "used_url", status: http.StatusNotFound}
		}
		c.uses++
		return nil, s.respond(c, in)
	}, s.answer)
}
