// Package engine carries the events of one durable log along lanes: it follows the log, keeps each lane's queue, pace and cursor,
// decides what becomes of a failed attempt, records what was done, and keeps what was given up. A lane has one owner at a time.
// What a lane delivers to is a Sink; the engine knows no platform, no app server and nothing of what an event says.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pocketping/bridge/internal/bridge"
)

// Store is what the engine needs of the store; package store says what each method promises.
type Store interface {
	Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error)
	Read(ctx context.Context, after bridge.Seq, max int, wait time.Duration) ([]bridge.Entry, error)
	Entry(ctx context.Context, seq bridge.Seq) (bridge.Entry, bool, error)
	Last(ctx context.Context) (bridge.Seq, error)
	Get(ctx context.Context, table, key string) ([]byte, error)
	List(ctx context.Context, table, after string, max int) ([]bridge.Row, error)
	Lane(ctx context.Context, name string) (bridge.LaneState, error)
	Lanes(ctx context.Context) ([]string, error)
	ForgetLane(ctx context.Context, name string, l bridge.Lease) error
	Trim(ctx context.Context, before bridge.Seq) error
	Forget(ctx context.Context, lastWordBefore bridge.Seq) (int, error)
	Acquire(ctx context.Context, l bridge.Lease, ttl time.Duration) (bool, error)
	Release(ctx context.Context, l bridge.Lease) error
	Now(ctx context.Context) (time.Time, error)
}

// Exclusive is implemented by a store that one process alone has open. What others append, and who holds a lease, need not be asked
// for all the time.
type Exclusive interface {
	Exclusive() bool
}

func exclusive(s Store) bool {
	e, ok := s.(Exclusive)
	return ok && e.Exclusive()
}

// Companion has rows that are written in the commit of the events that they follow from.
type Companion interface {
	// Rows returns the rows, and what must stand in the store for them to be right.
	Rows(ctx context.Context, events []bridge.Event) (rows, before []bridge.Row, err error)
}

// Claimer has claims that are taken in the commit of the events that they follow from.
type Claimer interface {
	Claims(ctx context.Context, events []bridge.Event) ([]bridge.Claim, error)
}

// Presenter brings the event of a dead letter up to what its message is now.
type Presenter interface {
	// Present returns when the message was edited last, zero: never, and whether it is gone.
	Present(ctx context.Context, e *bridge.Entry) (edited time.Time, gone bool, err error)
}

// Options is what an engine is made of.
type Options struct {
	Store      Store
	Companions []Companion
	Presenter  Presenter // nil: dead letters are delivered again as they were
	// Former stands for the sink of a lane that is no longer configured; nil: what waits there is of no use.
	Former func(lane string) Former
	// Observe is called with every event of the log, in order; nil: nothing is.
	Observe func(e bridge.Entry)
	// Retention is how long a session is kept after its last word, and a dead letter; a day at least. 0: everything is kept for
	// ever, the log too.
	Retention time.Duration
	// ReadAhead is how many unfinished events of a lane with one target are in memory; 0: readAheadMost.
	ReadAhead int
	Meter     Meter // nil: nothing is counted
	Log       *slog.Logger
}

// Engine is the lanes of one process. It is made by NewEngine, given its lanes, set up by Start and works during Run; its other methods
// may be called from several goroutines in between.
type Engine struct {
	store      Store
	companions []Companion
	claimers   []Claimer
	presenter  Presenter
	former     func(lane string) Former
	retention  time.Duration // see EngineOptions.Retention
	readAhead  int           // likewise
	meter      Meter
	log        *slog.Logger
	tail       *tail
	lanes      []*Lane
}

// New returns an engine without lanes.
func New(o Options) *Engine {
	e := &Engine{
		store: o.Store, companions: o.Companions, presenter: o.Presenter, former: o.Former, retention: o.Retention, meter: o.Meter, log: o.Log,
		readAhead: cmp.Or(o.ReadAhead, readAheadMost), tail: newTail(o.Store, o.Log),
	}
	if e.meter == nil {
		e.meter = unmetered{}
	}
	if o.Observe != nil {
		e.tail.observer = o.Observe
	}
	e.tail.onLoss = func() {
		for _, l := range e.lanes {
			l.restate()
		}
	}
	return e
}

// LaneLog returns the logger of a lane.
func (r *Engine) LaneLog(name string) *slog.Logger { return r.log.With("lane", name) }

// AddCompanion adds rows to what is committed from now on. It is called before Start.
func (r *Engine) AddCompanion(c Companion) { r.companions = append(r.companions, c) }

// AddClaimer adds claims to what is committed from now on. It is called before Start.
func (r *Engine) AddClaimer(c Claimer) { r.claimers = append(r.claimers, c) }

// AddLane gives the engine a lane more. It is called before Start.
func (r *Engine) AddLane(o LaneOptions) *Lane {
	l := newLane(o, r)
	r.lanes = append(r.lanes, l)
	return l
}

// Start prepares what must be there before the first event is accepted: where the log ends, and every lane's place in it.
func (r *Engine) Start(ctx context.Context) error {
	if err := r.tail.start(ctx); err != nil {
		return err
	}
	for _, l := range r.lanes {
		if err := l.register(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Commit writes a batch, and shows what it appended to those who follow the log.
func (r *Engine) Commit(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	res, err := r.write(ctx, b)
	if len(b.Events) > 0 && errors.Is(err, bridge.ErrUnavailable) {
		r.tail.noteUnknownCommit()
	}
	if err == nil && len(res.Seqs) > 0 {
		entries := make([]bridge.Entry, len(res.Seqs))
		for i, seq := range res.Seqs {
			entries[i] = bridge.Entry{Seq: seq, Event: b.Events[i]}
		}
		r.tail.offer(res.After, entries)
	}
	return res, err
}

// commitTries is how often a batch is written whose companions' rows others change meanwhile.
const commitTries = 10

// write is the store's Commit of a batch with the claims and rows that go with its events.
func (r *Engine) write(ctx context.Context, b bridge.Batch) (bridge.Result, error) {
	for _, c := range r.claimers {
		more, err := c.Claims(ctx, b.Events)
		if err != nil {
			return bridge.Result{}, err
		}
		b.Claims = append(b.Claims[:len(b.Claims):len(b.Claims)], more...)
	}
	for range commitTries {
		var rows, before []bridge.Row
		for _, c := range r.companions {
			more, was, err := c.Rows(ctx, b.Events)
			if err != nil {
				return bridge.Result{}, err
			}
			rows, before = append(rows, more...), append(before, was...)
		}
		if len(rows) == 0 {
			return r.store.Commit(ctx, b)
		}
		next := b
		next.Rows = append(b.Rows[:len(b.Rows):len(b.Rows)], rows...)
		next.If = append(b.If[:len(b.If):len(b.If)], before...)
		res, err := r.store.Commit(ctx, next)
		if !errors.Is(err, bridge.ErrChanged) {
			return res, err
		}
		if changed, rerr := r.changed(ctx, before); rerr != nil || !changed {
			return res, errors.Join(err, rerr) // another condition does not hold
		}
	}
	return bridge.Result{}, fmt.Errorf("%w: others change the same message", bridge.ErrUnavailable)
}

// changed says whether one of some rows is not what it was.
func (r *Engine) changed(ctx context.Context, before []bridge.Row) (bool, error) {
	for _, row := range before {
		value, err := r.store.Get(ctx, row.Table, row.Key)
		if err != nil || string(value) != string(row.Value) || (value == nil) != (row.Value == nil) {
			return err == nil, err
		}
	}
	return false, nil
}

// Feed returns the log as it grows, for as long as Run runs. It is for streams: that there are any is noted.
func (r *Engine) Feed() bridge.Feed { return &streamed{tail: r.tail, store: r.store} }

// streamed is the tail as streams see it.
type streamed struct {
	*tail
	store Store
	noted atomic.Bool
}

// Next implements bridge.Feed.
func (f *streamed) Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error) {
	if !f.noted.Load() {
		_, err := f.store.Commit(ctx, bridge.Batch{Rows: []bridge.Row{{Table: tableLanes, Key: noteStreams, Value: []byte("1")}}})
		f.noted.Store(err == nil) // else the next call tries again
	}
	return f.tail.Next(ctx, after, max)
}

// Newest returns the last event of the log that this process has seen.
func (r *Engine) Newest() bridge.Seq { return r.tail.Newest() }

// Next returns up to max events of the log behind a place. It waits for the first.
func (r *Engine) Next(ctx context.Context, after bridge.Seq, max int) ([]bridge.Entry, error) {
	return r.tail.Next(ctx, after, max)
}

// Entry returns one event of the log; ok is false for one that is not there any more.
func (r *Engine) Entry(ctx context.Context, seq bridge.Seq) (e bridge.Entry, ok bool, err error) {
	return r.tail.entry(ctx, seq)
}

// Run works until ctx ends: then receivers stop, running calls end and are recorded within 8 seconds, and leases are given
// back.
func (r *Engine) Run(ctx context.Context) {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work, tail sync.WaitGroup
	tail.Go(func() { r.tail.run(following) })
	for _, l := range r.lanes {
		work.Go(func() { l.run(ctx) })
	}
	if r.retention > 0 {
		work.Go(func() { r.retain(ctx) })
	}
	work.Wait()
	stop()
	tail.Wait()
}

// Health tells how each lane does.
func (r *Engine) Health() []bridge.LaneHealth {
	out := make([]bridge.LaneHealth, 0, len(r.lanes))
	for _, l := range r.lanes {
		out = append(out, l.health())
	}
	return out
}

// lane returns the lane of a name; nil: it is not configured here.
func (r *Engine) lane(name string) *Lane {
	if i := slices.IndexFunc(r.lanes, func(l *Lane) bool { return l.name == name }); i >= 0 {
		return r.lanes[i]
	}
	return nil
}

// kindAt says of what use an event is to a lane, which may not be configured.
func (r *Engine) kindAt(name string, e bridge.Entry) bridge.Kind {
	if l := r.lane(name); l != nil {
		return l.sink.Kind(e)
	}
	if r.former == nil {
		return bridge.KindNone
	}
	return r.former(name).Kind(e)
}

// givenUpAt returns the events that tell of a dead letter of a lane, which may not be configured.
func (r *Engine) givenUpAt(name string, e bridge.Entry, cause *bridge.DeliveryError) []bridge.Event {
	if l := r.lane(name); l != nil {
		return l.givenUp(e, cause)
	}
	if r.former == nil {
		return nil
	}
	return r.former(name).GivenUp(e, cause)
}
