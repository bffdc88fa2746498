// Package stage is what all stand-ins share: an HTTP server, the calls that came to it, the moments of each call, the actions
// by which a test spoils an answer, the faults that a test can fail on, and waiting for changes. It knows no platform.
//
// A stand-in embeds the *Stage, so that its own Server has the controls, and keeps the Backstage to itself. The state behind
// the calls is the stand-in's and has a lock of its own; no method here calls the stand-in with a lock held, so all of them
// may be called under it, except Wait, Close, and Backstage.Serve.
//
// Time is the time package's, so all of it can run in a synctest bubble.
package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Options say what a Stage serves.
type Options struct {
	// Name goes before each fault that a test reads: "discord sandbox".
	Name string
	// Handler answers what comes to Listen: the stand-in itself.
	Handler http.Handler
	Logger  *slog.Logger // nil: silence
	// KeepCalls is how many calls are kept at least, the last ones; 0: all. N and Count go on counting.
	KeepCalls int
}

// Stage has the controls that are the same for every stand-in. All methods may be called from several goroutines; those that
// the functions given to On and Observe call, too.
type Stage struct {
	options Options
	log     *slog.Logger
	closed  chan struct{}
	servers sync.WaitGroup
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	http    []*http.Server
	changed chan struct{} // closed, and made anew, at each change
	calls   []*Call
	counts  map[string]int
	faults  []string
	rules   rules
}

// Backstage is the stand-in's own side of a Stage.
type Backstage struct{ s *Stage }

// New returns a stage with nothing on it.
func New(options Options) (*Stage, Backstage) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Stage{
		options: options, log: options.Logger, closed: make(chan struct{}), changed: make(chan struct{}),
		counts: make(map[string]int),
	}
	return s, Backstage{s}
}

// Listen serves on an address until Close, and returns the base URL, such as http://127.0.0.1:4000. An empty address is a free
// port of 127.0.0.1.
func (s *Stage) Listen(ctx context.Context, address string) (string, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: s.options.Handler, ReadHeaderTimeout: 10 * time.Second}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() {
		_ = listener.Close()
		return "", http.ErrServerClosed
	}
	s.http = append(s.http, server)
	s.servers.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the sandbox stopped serving", "err", err)
		}
	})
	return "http://" + listener.Addr().String(), nil
}

// Close ends waiting calls and what Listen began, and returns when nothing of it runs any more. What was held or delayed is
// dropped. It must not be called from a function given to On or Observe.
func (s *Stage) Close() {
	s.mu.Lock()
	if !s.isClosed() {
		close(s.closed)
	}
	servers := s.http
	s.http = nil
	s.change()
	s.mu.Unlock()
	for _, server := range servers {
		_ = server.Close()
	}
	s.running.Wait()
	s.servers.Wait()
}

func (s *Stage) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// change wakes whoever waits for a change. The caller holds the lock.
func (s *Stage) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of anything that can be inspected.
func (s *Stage) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Wait returns nil as soon as the condition holds. It is asked now and after each change.
func (s *Stage) Wait(ctx context.Context, condition func() bool) error {
	for {
		changed := s.Changed()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return http.ErrServerClosed
		}
	}
}

// Faults returns what was asked of the stand-in that the platform's definition does not allow, or that it does not serve.
func (s *Stage) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

// Reporter is the part of testing.TB that FailOnFaults needs.
type Reporter interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
}

// FailOnFaults fails the test at its end for each fault.
func (s *Stage) FailOnFaults(t Reporter) {
	t.Helper()
	t.Cleanup(func() {
		t.Helper()
		for _, text := range s.Faults() {
			t.Errorf("%s: %s", s.options.Name, text)
		}
	})
}

// FaultError is what the platform's definition does not allow, or the stand-in does not serve. Backstage.Keep puts it among
// the faults.
type FaultError struct{ Text string }

func (e *FaultError) Error() string { return e.Text }

// Faultf makes a FaultError.
func Faultf(format string, args ...any) error { return &FaultError{fmt.Sprintf(format, args...)} }

// Fault keeps a fault.
func (b Backstage) Fault(text string) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.faults = append(b.s.faults, text)
	b.s.log.Warn("fault at the sandbox") // the text can quote a message
	b.s.change()
}

// Keep keeps an error that is a FaultError, and says whether it is.
func (b Backstage) Keep(err error) bool {
	f, ok := errors.AsType[*FaultError](err)
	if ok {
		b.Fault(f.Text)
	}
	return ok
}

// Change wakes whoever waits for a change.
func (b Backstage) Change() {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.change()
}

// Closed returns a channel that is closed when Close begins.
func (b Backstage) Closed() <-chan struct{} { return b.s.closed }

// Enter counts a request in and says whether the stage is open. One that was let in is counted out by Leave; Close waits for
// it.
func (b Backstage) Enter() bool {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.s.isClosed() {
		return false
	}
	b.s.running.Add(1)
	return true
}

// Leave counts out what Enter let in.
func (b Backstage) Leave() { b.s.running.Done() }

// Go runs a function that Close waits for; the function has to end by Closed. It does not run on a closed stage.
func (b Backstage) Go(run func()) {
	if !b.Enter() {
		return
	}
	go func() {
		defer b.Leave()
		run()
	}()
}

// Pause waits, and returns the context's error, or http.ErrServerClosed, if that ends meanwhile.
func (b Backstage) Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.s.closed:
		return http.ErrServerClosed
	}
}

// Hold waits for a channel, if there is one, and says whether to go on.
func (b Backstage) Hold(ctx context.Context, until <-chan struct{}) bool {
	if until == nil {
		return true
	}
	select {
	case <-until:
		return true
	case <-ctx.Done():
	case <-b.s.closed:
	}
	return false
}

// Write writes an answer so that the client has all of it when Write returns.
func Write(w http.ResponseWriter, code int, body []byte) {
	if code != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(code)
	_, _ = w.Write(body)
	_ = http.NewResponseController(w).Flush()
}
