package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/pocketping/bridge/internal/bridge"
)

// Call is one commit on its way to the writer: Payload is what the writer needs, Result and Err are the writer's answer.
type Call[P any] struct {
	Payload P
	Result  bridge.Result
	Err     error

	size  int
	state atomic.Int32
	done  chan struct{}
}

const (
	callWaits int32 = iota
	callTaken
	callWithdrawn
)

// Group lets many goroutines commit through one writer. The writer takes all calls that wait, up to a limit, writes them at
// once, answers them, and takes what has come meanwhile: one write is under way at a time, calls keep their order, and
// nobody waits for a timer.
type Group[P any] struct {
	write           func([]*Call[P])
	maxCalls, bytes int

	mu      sync.Mutex
	waiting []*Call[P]
	closed  bool
	wake    chan struct{} // holds one token when there may be something to do
	ended   chan struct{}
}

// NewGroup starts a writer. write is called by one goroutine, with at least one call and at most maxCalls, whose sizes come
// to maxBytes at most unless it is one call alone. It sets Result and Err of each and must not keep them.
func NewGroup[P any](maxCalls, maxBytes int, write func([]*Call[P])) *Group[P] {
	g := &Group[P]{
		write:    write,
		maxCalls: maxCalls,
		bytes:    maxBytes,
		wake:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	go g.run()
	return g
}

// Commit hands the payload to the writer and waits for the answer. When ctx ends before the writer took it, nothing is
// written and the error is ctx's; when it ends after, the error is bridge.ErrUnavailable. The writer may then still be
// reading the payload.
func (g *Group[P]) Commit(ctx context.Context, payload P, size int) (bridge.Result, error) {
	if err := ctx.Err(); err != nil {
		return bridge.Result{}, err
	}
	c := &Call[P]{Payload: payload, size: size, done: make(chan struct{})}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return bridge.Result{}, fmt.Errorf("%w: it is closed", bridge.ErrUnavailable)
	}
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	g.nudge()

	select {
	case <-c.done:
		return c.Result, c.Err
	case <-ctx.Done():
		if c.state.CompareAndSwap(callWaits, callWithdrawn) {
			return bridge.Result{}, ctx.Err()
		}
		return bridge.Result{}, fmt.Errorf("%w: the caller left before the answer: %w", bridge.ErrUnavailable, ctx.Err())
	}
}

// Close refuses further calls, waits until those that wait are answered, and ends the writer. It may be called again.
func (g *Group[P]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.nudge()
	<-g.ended
}

func (g *Group[P]) nudge() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *Group[P]) run() {
	defer close(g.ended)
	var calls []*Call[P]
	for {
		var closed bool
		calls, closed = g.take(calls[:0])
		switch {
		case len(calls) > 0:
			g.write(calls)
			for _, c := range calls {
				close(c.done)
			}
			clear(calls)
			// Those who were answered come first: their next calls make the next group a full one.
			runtime.Gosched()
		case closed:
			return
		default:
			<-g.wake
		}
	}
}

// take moves the next calls into the empty slice. It returns none only when none wait.
func (g *Group[P]) take(calls []*Call[P]) (_ []*Call[P], closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, 0
	for ; n < len(g.waiting) && len(calls) < g.maxCalls; n++ {
		c := g.waiting[n]
		if len(calls) > 0 && size+c.size > g.bytes {
			break
		}
		if c.state.CompareAndSwap(callWaits, callTaken) {
			calls = append(calls, c)
			size += c.size
		}
	}
	left := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[left:])
	g.waiting = g.waiting[:left]
	return calls, g.closed
}
