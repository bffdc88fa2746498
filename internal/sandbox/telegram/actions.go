package telegram

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is a call of a method, as it came.
type Call struct {
	Method string // as the Bot API spells it
	N      int    // the how many-th of its method, from 1
	Chat   int64  // chat_id, or 0
	Topic  int    // message_thread_id, or 0
	Text   string // text or name
	Params map[string]string
	At     time.Time
	// Code is the HTTP status that was answered; 0 while the call runs, and for a call that was never answered.
	Code int
}

// Stage is a moment of a call.
type Stage int

const (
	// Received: the request is there, nothing has been done yet.
	Received Stage = iota
	// Processed: it has had its effect, nothing has been answered yet.
	Processed
	// Answered: the client has the whole answer.
	Answered
	// Dropped: the connection is about to be cut without an answer.
	Dropped
)

// Action is what is to happen to a call instead of an ordinary answer. The zero value is nothing of the kind. The fields
// combine: first Delay and Hold, then DropBefore, then the effect of the call unless Status is set and After is not, then
// HoldAnswer, DropAfter or the answer.
type Action struct {
	Delay time.Duration
	// Hold keeps the call from being processed until the channel is closed or yields.
	Hold <-chan struct{}
	// DropBefore cuts the connection: the call has no effect.
	DropBefore bool
	// Status, Header and Body answer in place of the real answer.
	Status int
	Header http.Header
	Body   string
	// After lets the call have its effect although Status is set.
	After bool
	// HoldAnswer keeps the answer back, of a call that has had its effect.
	HoldAnswer <-chan struct{}
	// DropAfter cuts the connection when the call has had its effect: the message exists, the answer is lost.
	DropAfter bool
	// Silence never answers, and the call has no effect, until the client gives up.
	Silence bool
}

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

// Page answers with an HTML page, as a proxy on the way does.
func Page(code int) Action {
	text := strconv.Itoa(code) + " " + http.StatusText(code)
	return Action{
		Status: code, Header: http.Header{"Content-Type": {"text/html"}},
		Body: "<html>\r\n<head><title>" + text + "</title></head>\r\n<body><center><h1>" + text + "</h1></center></body>\r\n" +
			"</html>\r\n",
	}
}

// Redirect answers with a redirect to another place.
func Redirect(code int, location string) Action {
	return Action{Status: code, Header: http.Header{"Location": {location}}}
}

// rules are the actions and observers that have been asked for.
type rules struct {
	on        []rule
	queued    map[string][]Action
	observers []func(Stage, Call)
	awaited   []awaited
}

type rule struct {
	method string
	decide func(Call) Action
}

type awaited struct {
	stage  Stage
	method string
	told   chan Call
}

// On has the function decide about each call of a method, or of all methods if the name is empty. The last one given is asked
// first, and the first that decides on something is obeyed. It runs in the call's own goroutine and may call the server.
func (s *Server) On(method string, decide func(Call) Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules.on = append([]rule{{method, decide}}, s.rules.on...)
}

// Next lines actions up for the next calls of a method, one for each. They come before what On decides.
func (s *Server) Next(method string, actions ...Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules.queued == nil {
		s.rules.queued = make(map[string][]Action)
	}
	s.rules.queued[method] = append(s.rules.queued[method], actions...)
}

// Observe tells the function of each stage of each call, in the call's own goroutine: the call does not go on before it
// returns.
func (s *Server) Observe(see func(Stage, Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules.observers = append(s.rules.observers, see)
}

// Await returns a channel that gets the next call of the method to reach the stage, once.
func (s *Server) Await(stage Stage, method string) <-chan Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := make(chan Call, 1)
	s.rules.awaited = append(s.rules.awaited, awaited{stage, method, told})
	return told
}

// Calls returns the calls so far, in the order in which they came.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, 0, len(s.calls))
	for _, c := range s.calls {
		out = append(out, *c)
	}
	return out
}

// Count returns how many calls of a method came.
func (s *Server) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count(method)
}

func (s *Server) count(method string) int {
	n := 0
	for _, c := range s.calls {
		if c.Method == method {
			n++
		}
	}
	return n
}

// record keeps a new call.
func (s *Server) record(method string, p params) *Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := p["text"]
	if text == "" {
		text = p["name"]
	}
	c := &Call{
		Method: method, N: s.count(method) + 1, Chat: p.integer("chat_id", 0), Topic: p.number("message_thread_id", 0),
		Text: text, Params: p, At: time.Now(),
	}
	s.calls = append(s.calls, c)
	s.change()
	return c
}

// reach tells the observers of a stage, then whoever awaits it. code is the answer's, 0 before it.
func (s *Server) reach(stage Stage, c *Call, code int) {
	s.mu.Lock()
	c.Code = code
	seen, observers := *c, s.rules.observers
	s.mu.Unlock()
	for _, see := range observers {
		see(stage, seen)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules.awaited = slices.DeleteFunc(s.rules.awaited, func(a awaited) bool {
		if a.stage != stage || a.method != c.Method {
			return false
		}
		a.told <- seen // there is room: it is told once
		return true
	})
	s.change()
}

// decide returns what is to happen to a call.
func (s *Server) decide(c *Call) Action {
	s.mu.Lock()
	seen, on := *c, s.rules.on
	if list := s.rules.queued[c.Method]; len(list) > 0 {
		s.rules.queued[c.Method] = list[1:]
		s.mu.Unlock()
		return list[0]
	}
	s.mu.Unlock()
	for _, r := range on {
		if r.method != "" && r.method != c.Method {
			continue
		}
		if a := r.decide(seen); !a.none() {
			return a
		}
	}
	return Action{}
}

func (a Action) none() bool {
	return a.Delay == 0 && a.Hold == nil && !a.DropBefore && a.Status == 0 && a.HoldAnswer == nil && !a.DropAfter && !a.Silence
}

// serve takes a checked request through its stages.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, method string, p params, files map[string]*File) {
	ctx := r.Context()
	c := s.record(method, p)
	s.reach(Received, c, 0)
	a := s.decide(c)
	if a.Silence {
		s.wait(ctx, make(chan struct{}))
		s.drop(c)
	}
	if s.pause(ctx, a.Delay) != nil || !s.wait(ctx, a.Hold) || a.DropBefore {
		s.drop(c)
	}
	var result any
	var err error
	if a.Status == 0 || a.After {
		result, err = s.run(ctx, method, p, files)
		if err != nil && errors.Is(err, ctx.Err()) {
			s.drop(c) // a getUpdates whose client has gone
		}
		s.keepFault(err)
		s.reach(Processed, c, 0)
	}
	if !s.wait(ctx, a.HoldAnswer) || a.DropAfter || ctx.Err() != nil {
		s.drop(c)
	}
	code := a.Status
	if code != 0 {
		for name, values := range a.Header {
			w.Header()[name] = values
		}
		writeAll(w, code, []byte(a.Body))
	} else if c, ok := result.(content); ok {
		code = c.write(w, r)
	} else {
		code = s.answer(w, result, err)
	}
	s.log.Debug("telegram sandbox answered", "op", method)
	s.reach(Answered, c, code)
}

// wait waits for a channel, if there is one, and says whether the call is to go on.
func (s *Server) wait(ctx context.Context, until <-chan struct{}) bool {
	if until == nil {
		return true
	}
	select {
	case <-until:
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}

// drop ends the call and its connection. It does not return.
func (s *Server) drop(c *Call) {
	s.reach(Dropped, c, 0)
	panic(http.ErrAbortHandler)
}
