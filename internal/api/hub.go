package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/pocketping/bridge/internal/bridge"
)

// hub reads the log once for all open streams, and wakes those alone that an entry is for: what others are told of costs a stream nothing.
// It hands no entries on. It notes from where to where a stream has to read, so that a slow reader keeps nothing in memory.
type hub struct {
	feed    bridge.Feed
	log     *slog.Logger
	closing <-chan struct{}

	mu     sync.Mutex
	run    *hubRun                       // nil: no stream is open, or the log cannot be read
	at     bridge.Seq                    // the log has been looked at up to here
	looked int                           // entries so far
	open   map[string]map[*listener]bool // the streams by the only session that they tell of; those of all by ""
}

// hubRun is the hub at work, from the first stream until the last one is gone.
type hubRun struct {
	cancel func() // called under the hub's lock: a run that is ended changes nothing any more
	work   sync.WaitGroup
}

// listener is a stream as the hub knows it.
type listener struct {
	wanted string        // the only session that is told of, or empty
	wake   chan struct{} // has one place; something is there when the stream has to look what is due
	cut    func()        // ends the stream, and soon a write that is under way

	// Under the hub's lock.
	due    span
	read   bridge.Seq     // what is in the log up to here is not due any more
	passed []bridge.Entry // told and not kept, for this reader
	err    error          // why the stream cannot go on
}

// span is the part of the log that a stream has to read.
type span struct {
	from     bridge.Seq // an entry that must be there, else something behind it may be gone too; 0: it is not known to be one
	to       bridge.Seq // 0: nothing is due
	before   int        // how many entries the hub had looked at before the first that is not read
	catching bool       // the stream was told to catch up, and has not come to the end yet
}

// streamEphemeral is how much of what is never stored waits for a reader; a slow one misses the rest.
const streamEphemeral = 16

func newHub(feed bridge.Feed, log *slog.Logger, closing <-chan struct{}) *hub {
	return &hub{feed: feed, log: log, closing: closing, open: map[string]map[*listener]bool{}}
}

// add has a stream told of what happens from now on, until leave is called. The stream is not cut after that.
func (h *hub) add(l *listener) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if closed(h.closing) {
		return nil, &problem{status: http.StatusServiceUnavailable, code: "closing", text: "the server is shutting down", retry: storeRetry}
	}
	if h.run == nil {
		h.start()
	}
	l.read = max(h.at, h.feed.Newest()) // the hub may not have come to the log's end yet
	of := h.open[l.wanted]
	if of == nil {
		of = map[*listener]bool{}
		h.open[l.wanted] = of
	}
	of[l] = true
	return func() { h.remove(l) }, nil
}

func (h *hub) remove(l *listener) {
	h.mu.Lock()
	delete(h.open[l.wanted], l)
	if len(h.open[l.wanted]) == 0 {
		delete(h.open, l.wanted)
	}
	var ended *hubRun
	if len(h.open) == 0 && h.run != nil {
		ended, h.run = h.run, nil
		ended.cancel()
	}
	h.mu.Unlock()
	if ended != nil {
		ended.work.Wait()
	}
}

// start is called under the lock.
func (h *hub) start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.run, h.at = &hubRun{cancel: cancel}, h.feed.Newest()
	at := h.at
	h.run.work.Go(func() {
		if err := bridge.Protect(h.log, "streams", func() error { return h.follow(ctx, at) }); err != nil {
			h.fail(ctx, err)
		}
	})
	h.run.work.Go(func() {
		select {
		case <-h.closing:
			h.mu.Lock()
			defer h.mu.Unlock()
			h.all(func(l *listener) { l.cut() })
		case <-ctx.Done():
		}
	})
}

// follow reads the log until ctx ends, or the log cannot be read. A store that is unavailable is waited for.
func (h *hub) follow(ctx context.Context, at bridge.Seq) error {
	var from bridge.Seq
	for {
		entries, err := entriesBehind(ctx, h.feed, at, from)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bridge.ErrUnavailable):
			bridge.Sleep(ctx, streamPause)
			continue
		case err != nil:
			return err
		}
		at = entries[len(entries)-1].Seq
		from = at
		h.note(ctx, entries)
	}
}

// entriesBehind returns what comes next behind a place in the log, and waits for it. from, unless it is 0, is an entry that must still be
// there: what stood behind it may have been removed otherwise, and the error is errCutOff.
func entriesBehind(ctx context.Context, feed bridge.Feed, place, from bridge.Seq) ([]bridge.Entry, error) {
	var entries []bridge.Entry
	if from != 0 && place < feed.Newest() {
		var err error
		if entries, err = feed.Next(ctx, from-1, streamPage+1); err != nil {
			return nil, err
		}
		if len(entries) == 0 || entries[0].Seq != from {
			return nil, fmt.Errorf("%w: the log no longer reaches its place", errCutOff)
		}
		for len(entries) > 0 && entries[0].Seq <= place {
			entries = entries[1:]
		}
	}
	if len(entries) == 0 {
		var err error
		if entries, err = feed.Next(ctx, place, streamPage); err != nil {
			return nil, err
		}
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%w: the log gave nothing", bridge.ErrUnavailable)
	}
	return entries, nil
}

// note has the streams that entries are for read them.
func (h *hub) note(ctx context.Context, entries []bridge.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for _, e := range entries {
		h.concerned(e.Event, func(l *listener) {
			switch {
			case e.Seq <= l.read:
			case l.due.to != 0: // it has been woken
				l.due.to = e.Seq
			default:
				l.due = span{from: e.Seq, to: e.Seq, before: h.looked}
				l.wakeUp()
			}
		})
		h.looked++
		h.at = e.Seq
	}
}

// pass has the streams tell of something that is not in the log.
func (h *hub) pass(e bridge.Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.concerned(e.Event, func(l *listener) {
		if len(l.passed) < streamEphemeral {
			l.passed = append(l.passed, e)
			l.wakeUp()
		}
	})
}

// concerned calls do with each stream whose reader is told of the event. It is called under the lock.
func (h *hub) concerned(e bridge.Event, do func(*listener)) {
	switch {
	case !tells(e, ""):
	case e.Session == "":
		h.all(do)
	default:
		for l := range h.open[""] {
			do(l)
		}
		for l := range h.open[e.Session] {
			do(l)
		}
	}
}

// all calls do with each stream. It is called under the lock.
func (h *hub) all(do func(*listener)) {
	for _, of := range h.open {
		for l := range of {
			do(l)
		}
	}
}

// fail ends all streams: the log cannot be read. The next stream begins anew.
func (h *hub) fail(ctx context.Context, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	h.run.cancel()
	h.run = nil
	h.all(func(l *listener) {
		l.err = err
		l.wakeUp()
	})
}

func (l *listener) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// dueFor returns what a stream has to read, what it is to tell beside the log, and up to where its reader is known to have everything;
// or the error with which the stream ends.
func (h *hub) dueFor(l *listener) (due span, passed []bridge.Entry, place bridge.Seq, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	passed, l.passed = l.passed, nil
	if l.due.to == 0 {
		place = h.at
	}
	err = l.err
	if err == nil && l.due.to != 0 && !l.due.catching && h.looked-l.due.before > streamBehind {
		err = fmt.Errorf("%w: it is more than %d entries behind", errCutOff, streamBehind)
	}
	return l.due, passed, place, err
}

// hasRead notes that a stream has read the next n entries, which end with the given one.
func (h *hub) hasRead(l *listener, n int, end bridge.Seq) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.read = max(l.read, end)
	if l.due.to <= end {
		l.due = span{}
		return
	}
	l.due.from = end
	l.due.before += n
}

// catchUp has a stream go on behind a place, wherever it was.
func (h *hub) catchUp(l *listener, place bridge.Seq) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to := max(l.due.to, l.read)
	l.read, l.due = max(l.read, place), span{}
	if to > place {
		l.due = span{to: to, catching: true}
	}
}
