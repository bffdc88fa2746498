package telegram

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/pocketping/bridge/internal/sandbox/stage"
)

// Call is a call of a method, as it came. Its Place and Thread are chat_id and message_thread_id.
type Call struct {
	stage.Call
	Chat  int64 // chat_id, or 0
	Topic int   // message_thread_id, or 0
}

// Stage is a moment of a call.
type Stage = stage.Moment

// The moments of a call.
const (
	Received  = stage.Received
	Processed = stage.Processed
	Answered  = stage.Answered
	Dropped   = stage.Dropped
)

// Action is what is to happen to a call instead of an ordinary answer.
type Action = stage.Action

// Reporter is the part of testing.TB that FailOnFaults needs.
type Reporter = stage.Reporter

// Page answers with an HTML page, as a proxy on the way does.
func Page(code int) Action { return stage.Page(code) }

// Redirect answers with a redirect to another place.
func Redirect(code int, location string) Action { return stage.Redirect(code, location) }

// Fail answers with an error of the Bot API, such as 400 and "Bad Request: chat not found".
func Fail(code int, description string) Action {
	return Action{
		Status: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: `{"ok":false,"error_code":` + strconv.Itoa(code) + `,"description":` + strconv.Quote(description) + `}`,
	}
}

// FloodWait answers with 429.
func FloodWait(seconds int) Action {
	a := Fail(http.StatusTooManyRequests, "Too Many Requests: retry after "+strconv.Itoa(seconds))
	a.Body = strings.TrimSuffix(a.Body, "}") + `,"parameters":{"retry_after":` + strconv.Itoa(seconds) + `}}`
	a.Header.Set("Retry-After", strconv.Itoa(seconds))
	return a
}

// The controls of the stage below are those of its own, with the calls of the Bot API.

// On has the function decide about each call of a method, or of all methods if the name is empty. The last one given is asked
// first, and the first that decides on something is obeyed. It runs in the call's own goroutine and may call the server.
func (s *Server) On(method string, decide func(Call) Action) {
	s.Stage.On(method, func(c stage.Call) Action { return decide(callOf(c)) })
}

// Observe tells the function of each stage of each call, in the call's own goroutine: the call does not go on before it
// returns.
func (s *Server) Observe(see func(Stage, Call)) {
	s.Stage.Observe(func(m Stage, c stage.Call) { see(m, callOf(c)) })
}

// Await returns a channel that gets the next call of the method to reach the stage, once.
func (s *Server) Await(moment Stage, method string) <-chan Call {
	told, out := s.Stage.Await(moment, method), make(chan Call, 1)
	s.back.Go(func() {
		select {
		case c := <-told:
			out <- callOf(c)
		case <-s.back.Closed():
		}
	})
	return out
}

// Calls returns the calls so far, in the order in which they came.
func (s *Server) Calls() []Call {
	all := s.Stage.Calls()
	out := make([]Call, 0, len(all))
	for _, c := range all {
		out = append(out, callOf(c))
	}
	return out
}

func callOf(c stage.Call) Call {
	p := params(c.Params)
	return Call{Call: c, Chat: p.integer("chat_id", 0), Topic: p.number("message_thread_id", 0)}
}

// serve takes a checked request through its stages.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, method string, p params, files map[string]*File) {
	text := p["text"]
	if text == "" {
		text = p["name"]
	}
	call := stage.Call{Method: method, Place: p["chat_id"], Thread: p["message_thread_id"], Text: text, Params: p}
	run := func(ctx context.Context) (any, error) { return s.run(ctx, method, p, files) }
	s.back.Serve(w, r, call, run, func(w http.ResponseWriter, result any, err error) int {
		if c, ok := result.(content); ok {
			return c.write(w, r)
		}
		return s.answer(w, result, err)
	})
}
