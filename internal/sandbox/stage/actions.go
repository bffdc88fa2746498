package stage

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Call is a call of a method, as it came.
type Call struct {
	Method string // as the platform's definition spells it
	N      int    // the how many-th of its method, from 1
	Place  string // the chat or channel that it names, or nothing
	Thread string // the topic or thread that it names, or nothing
	Text   string // the text or the name that it carries
	Params map[string]string
	At     time.Time
	// Code is the HTTP status that was answered; 0 while the call runs, and for a call that was never answered.
	Code int
}

// Moment is a moment of a call.
type Moment int

const (
	// Received: the request is there, nothing has been done yet.
	Received Moment = iota
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
	observers []func(Moment, Call)
	awaited   []awaited
}

type rule struct {
	method string
	decide func(Call) Action
}

type awaited struct {
	moment Moment
	method string
	told   chan Call
}

// On has the function decide about each call of a method, or of all methods if the name is empty. The last one given is asked
// first, and the first that decides on something is obeyed. It runs in the call's own goroutine and may call the server.
func (s *Stage) On(method string, decide func(Call) Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules.on = append([]rule{{method, decide}}, s.rules.on...)
}

// Next lines actions up for the next calls of a method, one for each. They come before what On decides.
func (s *Stage) Next(method string, actions ...Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules.queued == nil {
		s.rules.queued = make(map[string][]Action)
	}
	s.rules.queued[method] = append(s.rules.queued[method], actions...)
}

// Observe tells the function of each moment of each call, in the call's own goroutine: the call does not go on before it
// returns.
func (s *Stage) Observe(see func(Moment, Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules.observers = append(s.rules.observers, see)
}

// Await returns a channel that gets the next call of the method to reach the moment, once.
func (s *Stage) Await(moment Moment, method string) <-chan Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := make(chan Call, 1)
	s.rules.awaited = append(s.rules.awaited, awaited{moment, method, told})
	return told
}

// Calls returns the calls so far, in the order in which they came.
func (s *Stage) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Call, 0, len(s.calls))
	for _, c := range s.calls {
		out = append(out, *c)
	}
	return out
}

// Count returns how many calls of a method came.
func (s *Stage) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

// record keeps a new call.
func (s *Stage) record(c *Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[c.Method]++
	c.N, c.At, c.Code = s.counts[c.Method], time.Now(), 0
	s.calls = append(s.calls, c)
	if keep := s.options.KeepCalls; keep > 0 && len(s.calls) > 2*keep {
		s.calls = slices.Clone(s.calls[len(s.calls)-keep:])
	}
	s.change()
}

// reach tells the observers of a moment, then whoever awaits it. code is the answer's, 0 before it.
func (s *Stage) reach(moment Moment, c *Call, code int) {
	s.mu.Lock()
	c.Code = code
	seen, observers := *c, s.rules.observers
	s.mu.Unlock()
	for _, see := range observers {
		see(moment, seen)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules.awaited = slices.DeleteFunc(s.rules.awaited, func(a awaited) bool {
		if a.moment != moment || a.method != c.Method {
			return false
		}
		a.told <- seen // there is room: it is told once
		return true
	})
	s.change()
}

// decide returns what is to happen to a call.
func (s *Stage) decide(c *Call) Action {
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

// Serve takes a checked request through its moments, between Enter and Leave. Of the call, N, At and Code are filled in. run
// gives it its effect; an error of it that is a FaultError is kept, one that is the context's own ends the call without an
// answer. answer writes what run returned and says with which status.
//
// A dropped call panics with http.ErrAbortHandler, as net/http asks for.
func (b Backstage) Serve(w http.ResponseWriter, r *http.Request, call Call, run func(context.Context) (any, error),
	answer func(http.ResponseWriter, any, error) int) {
	s, ctx, c := b.s, r.Context(), &call
	s.record(c)
	s.reach(Received, c, 0)
	a := s.decide(c)
	if a.Silence {
		b.Hold(ctx, make(chan struct{}))
		s.drop(c)
	}
	if b.Pause(ctx, a.Delay) != nil || !b.Hold(ctx, a.Hold) || a.DropBefore {
		s.drop(c)
	}
	var result any
	var err error
	if a.Status == 0 || a.After {
		result, err = run(ctx)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			s.drop(c) // a call that waited for something, and whose client has gone
		}
		b.Keep(err)
		s.reach(Processed, c, 0)
	}
	if !b.Hold(ctx, a.HoldAnswer) || a.DropAfter || ctx.Err() != nil {
		s.drop(c)
	}
	code := a.Status
	if code != 0 {
		for name, values := range a.Header {
			w.Header()[name] = values
		}
		Write(w, code, []byte(a.Body))
	} else {
		code = answer(w, result, err)
	}
	s.log.Debug("the sandbox answered", "op", c.Method)
	s.reach(Answered, c, code)
}

// drop ends the call and its connection. It does not return.
func (s *Stage) drop(c *Call) {
	s.reach(Dropped, c, 0)
	panic(http.ErrAbortHandler)
}
